"""The 29 magnetic-complexity features of a magnetogram.

HMI fields are whole tenths of a gauss and PNG images whole grey levels; these are computed in whole numbers, so that
sums are exact and ties at level 0 are decided alike on every machine; other images in float64. The compiled kernels
(numba, at the end) are held to the plain versions of tests/plain_features.py.

References
----------
Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825.
Al-Ghraibah, Boucheron and McAteer 2015, A&A 579, A64.
Lorensen and Cline 1987, Computer Graphics 21(4), 163 (marching squares).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from general_code.images.magnetograms import Pixels, compile_decoder, kernel

SMALLEST_SIDE = 32  # pixels; 5 wavelet levels
WAVELET_LEVELS = 5
STRONGEST_FIELD = 1e30  # beyond it the fourth moment leaves the range of float64
STRONG = 0.2  # share of the largest gradient on the neutral line from which a pixel counts
LARGEST_WHOLE = 500_000  # with it the sums over the coarsest wavelet block (1024 pixels) fit an int32
TENTHS_TOLERANCE = 1e-6  # farthest from a whole tenth that still counts as one, so that a box sum of zero is zero
EXACT_TOLERANCE = 1e-10  # rounding of 0.1 k for any k below LARGEST_WHOLE
_SAMPLE, _RANKS_AROUND = 4096, 128  # the median lies within 4 standard deviations of a random sample's
_IN_UNITS = np.r_[0:5, 20:29]  # features that scale with the field, unlike counts, angles and shapes

# Angle of the step between neighbouring pixels, by 3 * (row step + 1) + column step + 1: atan(column / row step); in a
# row 3 pi / 2 to the left, else pi / 2
STEP_ANGLES = math.pi * np.array([0.25, 0, -0.25, 1.5, 0.5, 0.5, -0.25, 0, 0.25])

COMPILING = "Compiling the feature kernels: once on this computer, about half a minute"


class Field(NamedTuple):
    """An image in the units that its features are computed in."""

    pixels: np.ndarray  # int32 (whole tenths of a gauss, whole grey levels) or float64, shape (ny, nx)
    per_unit: float  # number of them in a unit of the image: 10 for tenths of a gauss, else 1
    smoothable: np.ndarray  # what the neutral line's box sum adds up: `pixels` or, where near to them, whole tenths


def image_features(image: np.ndarray | Pixels) -> np.ndarray:
    """Return the 29 features of an image, in the order of `FeaturesetTools.FEATURE_NAMES`.

    Parameters
    ----------
    image : numpy.ndarray or Pixels
        Line-of-sight field [G], or grey levels minus 128; any rectangle from 32x32 on. `Pixels` as they were read give
        the same numbers sooner.

    Returns
    -------
    numpy.ndarray
        float64, shape (29,), finite. ValueError for an image that is not 2-D, not numbers, empty, smaller than 32x32 or
        constant, and for NaN, infinite, too small or too large values.
    """
    field = _prepare(image)
    features = np.concatenate((gradient_features(field.pixels), neutral_line_features(field.smoothable, field.pixels),
                               wavelet_features(field.pixels), flux_features(field.pixels)))
    features[_IN_UNITS] /= field.per_unit
    if not np.isfinite(features).all():
        raise ValueError("features not finite: the field's values are too small or too large to take their powers")
    return features


def strong_neutral_line(image: np.ndarray) -> np.ndarray:
    """Return the pixels of the neutral line that feature 8 ("NL length") counts: the rest fills the quiet Sun.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (ny, nx): field [G], or grey levels minus 128; ValueError for one without features, see `image_features`.

    Returns
    -------
    numpy.ndarray
        bool, shape (ny, nx): where the gradient is at least 0.2 times the largest on the line; no pixel without a line.
    """
    field = _prepare(image)
    pixels, _ = _trace_neutral_line(field.smoothable, True)
    mask = np.zeros(image.shape, dtype=bool)
    if pixels.size:
        on_line = _gradients(field.pixels, pixels)
        pixels = pixels[on_line >= STRONG * on_line.max()]
    mask.reshape(-1)[pixels] = True
    return mask


def compile_kernels(announce: Callable[[str], object] = str) -> None:
    """Compile all kernels, or load those for whole numbers from the disk, by using each once.

    Parameters
    ----------
    announce : callable, optional
        Called with one line before a compilation; not called where the compiled code is on the disk.
    """
    first_use = not getattr(_flux_sums, "signatures", True)  # as plain Python (NUMBA_DISABLE_JIT=1) it has none
    _flux_sums(np.eye(2, dtype=np.int32))  # the smallest of them shows whether all have to be compiled
    missing = first_use and _flux_sums.stats.cache_misses
    if missing:
        announce(COMPILING)
    ramp = np.sin(np.arange(SMALLEST_SIDE**2)).reshape(SMALLEST_SIDE, SMALLEST_SIDE)
    image_features(Pixels(np.rint(1000 * ramp).astype(np.int32), 0))
    if missing:  # else loaded at their first use: hardly an image has pixels of this kind
        image_features(ramp)
    compile_decoder()


# ---------------------------------------------------------------------------- checks and units


def _prepare(image: np.ndarray | Pixels) -> Field:
    """Check an image, as `image_features` says, and bring it to whole numbers where it has them."""
    if isinstance(image, Pixels):
        tenths = np.ascontiguousarray(image.values)
        # a first row of whole gauss may belong to an image that is computed in these, as from float64
        if (tenths.dtype == np.int32 and min(tenths.shape) >= SMALLEST_SIDE and (tenths[0] % 10).any()
                and -LARGEST_WHOLE <= tenths.min() < tenths.max() <= LARGEST_WHOLE):
            return Field(tenths, 10.0, tenths)
        image = image.field()
    image = np.asarray(image)
    if image.ndim != 2 or image.dtype.kind not in "fiub":
        raise ValueError(f"not a 2-D image of numbers: got {image.dtype} of shape {image.shape}")
    if not image.size:
        raise ValueError(f"empty image: got shape {image.shape}")
    if min(image.shape) < SMALLEST_SIDE:
        raise ValueError(f"smaller than {SMALLEST_SIDE}x{SMALLEST_SIDE}: got {image.shape[0]}x{image.shape[1]} pixels")
    image = np.ascontiguousarray(image, dtype=np.float64)
    whole = np.empty(image.shape, np.int32)
    grey_levels = bool((image[0] == np.rint(image[0])).all())
    for factor in (1.0, 10.0) if grey_levels else (10.0,):
        near, exact, same = _whole_numbers(image, factor, whole)
        if exact:
            break
    if not near:
        _require_finite(image)
    if same:
        raise ValueError(f"constant image: all {image.size} pixels are {image[0, 0]:g}")
    if exact and near:
        return Field(whole, factor, whole)
    return Field(image, 1.0, whole if near else _rounded_tenths(image))


def _require_finite(image: np.ndarray) -> None:
    """Raise ValueError for pixels that are not finite numbers, or too large to take their fourth power."""
    for name, wrong in (("NaN", np.isnan(image)), ("infinite", np.isinf(image))):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(f"{name} pixels: {wrong.sum()} of {image.size}, the first at row {row}, column {column}")
    if np.abs(image).max() > STRONGEST_FIELD:
        raise ValueError(f"values too large: got up to {np.abs(image).max():g}, expected below {STRONGEST_FIELD:g}")


def _rounded_tenths(image: np.ndarray) -> np.ndarray:
    """Return whole tenths too large for the kernels' integers as float64, which holds them exactly; else the image."""
    tenths = np.rint(10 * image)
    return tenths if (np.abs(10 * image - tenths) < TENTHS_TOLERANCE).all() else image


# ---------------------------------------------------------------------------- groups of features


def gradient_magnitude(pixels: np.ndarray) -> np.ndarray:
    """Return the magnitude of the gradient, by plain Sobel sums.

    Parameters
    ----------
    pixels : numpy.ndarray
        int32 or float64, shape (ny, nx), finite; zero outside.

    Returns
    -------
    numpy.ndarray
        float64, shape (ny, nx), in units of the pixels: eight times the gradient per pixel.
    """
    return _gradients(pixels, np.arange(pixels.size)).reshape(pixels.shape)


def gradient_features(pixels: np.ndarray) -> np.ndarray:
    """Return features 1-7: mean, std, median, min, max, skewness and excess kurtosis of the gradient's magnitude.

    Parameters
    ----------
    pixels : numpy.ndarray
        As for `gradient_magnitude`.

    Returns
    -------
    numpy.ndarray
        Shape (7,), in units of the pixels (plain Sobel sums), with population std and moments, NaN for an even
        gradient.
    """
    number, between = pixels.size, np.empty(pixels.size + 1)
    # most of what one sweep over the image needs to know of it before: about the mean, and where the median lies
    sample = np.sort(_gradients(pixels, np.arange(0, number, max(number // _SAMPLE, 1))))
    middle, about = sample.size // 2, sample.mean()
    bracket = sample[max(middle - _RANKS_AROUND, 0)], sample[min(middle + _RANKS_AROUND, sample.size - 1)]
    for _ in range(2):
        *sums, smallest, largest, below, inside = _gradient_sums(pixels, about, *bracket, between)
        drift, second, third, fourth = (power / number for power in sums)
        about += drift
        if 2 * drift**2 <= second:
            break  # else powers about a value so far from the mean would cancel: again, about the mean
    fourth += drift * (-4 * third + drift * (6 * second - 3 * drift**2))
    third += drift * (2 * drift**2 - 3 * second)
    second -= drift**2
    median = _median(pixels, between[:int(inside)], below)
    shape = (third / second**1.5, fourth / second**2 - 3) if second**2 > 0 else (np.nan, np.nan)
    return np.array([about, np.sqrt(second), median, smallest, largest, *shape])


def neutral_line_features(smoothable: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return features 8-20: the neutral line's pixels, fragments, curvature and bending energy.

    Unlike the published names say, "NL length" counts the mask's pixels of at least 0.2 times the largest gradient on
    it, and "NL gradient-weighted length" all its pixels.

    Parameters
    ----------
    smoothable, pixels : numpy.ndarray
        int32 or float64, both of shape (ny, nx), each in any unit: see `Field`.

    Returns
    -------
    numpy.ndarray
        Shape (13,): three counts; mean, std, median, min, max of all contour points' angles [rad], and of the contours'
        bending energies [rad^2]. Zeros where there is no contour.
    """
    path, ranges = _trace_neutral_line(smoothable, True)
    if not path.size:
        return np.zeros(13)
    counts, closing, energies = _walk_contours(path, ranges, smoothable.shape[1])
    angles = np.concatenate((STEP_ANGLES, closing))
    times = np.concatenate((counts, np.ones(closing.size, np.int64)))
    return np.concatenate((_mask_counts(path, pixels), _summary(angles, times),
                           _summary(energies, np.ones(energies.size, np.int64))))


def wavelet_features(pixels: np.ndarray) -> np.ndarray:
    """Return features 21-25: sums of the absolute Haar detail coefficients, finest level first.

    Parameters
    ----------
    pixels : numpy.ndarray
        int32 or float64, shape (ny, nx), at least 32x32; odd sides are continued by repeating the last pixel.

    Returns
    -------
    numpy.ndarray
        Shape (5,), in units of the pixels.
    """
    energies = np.empty(WAVELET_LEVELS)
    for level in range(WAVELET_LEVELS):
        rows, columns = pixels.shape
        sums = np.empty(((rows + 1) // 2, (columns + 1) // 2), pixels.dtype)
        energies[level] = _haar_level(pixels, sums) / 2 ** (level + 1)
        pixels = sums
    return energies


def flux_features(pixels: np.ndarray) -> np.ndarray:
    """Return features 26-29: total positive, negative, signed and unsigned flux.

    Parameters
    ----------
    pixels : numpy.ndarray
        int32 or float64, shape (ny, nx).

    Returns
    -------
    numpy.ndarray
        Shape (4,), in units of the pixels times pixels.
    """
    positive, negative = _flux_sums(pixels)
    return np.array([positive, negative, positive + negative, positive - negative])


def _median(pixels: np.ndarray, between: np.ndarray, below: int) -> float:
    """Return the median gradient from the values of the bracket, or from all where the bracket missed it."""
    lower, upper = (pixels.size - 1) // 2 - below, pixels.size // 2 - below
    if lower < 0 or upper >= between.size:
        return float(np.median(gradient_magnitude(pixels)))
    between.partition(upper)  # with one rank, numpy does so in vector instructions
    return (between[upper if lower == upper else slice(upper)].max() + between[upper]) / 2


def _summary(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return mean, std, median, min and max of values that come `times` times each."""
    present = times > 0
    values, times = values[present], times[present]
    order = np.argsort(values)
    values, times = values[order], times[order]
    number = times.sum()
    mean = (values * times).sum() / number
    variance = (times * (values - mean) ** 2).sum() / number
    middle = np.searchsorted(np.cumsum(times), [(number - 1) // 2, number // 2], side="right")
    return np.array([mean, np.sqrt(variance), values[middle].sum() / 2, values[0], values[-1]])


# ---------------------------------------------------------------------------- compiled kernels: the pixels
# Each takes whole numbers (int32) or float64. Sums run per column, which the compiler turns into vector instructions
# without reordering any addition (no fastmath). NUMBA_DISABLE_JIT=1 runs the same lines in Python.


@kernel
def _whole_numbers(field, factor, whole):
    """Write `rint(factor * field)` to int32 `whole`; tell whether all pixels are near whole, whole, and the same."""
    rows, columns = field.shape
    far, inexact, different = 0, 0, 0
    first = field[0, 0]
    for i in range(rows):
        for j in range(columns):
            value = factor * field[i, j]
            nearest = np.rint(value)
            deviation = abs(value - nearest)
            far |= not (deviation < TENTHS_TOLERANCE and abs(nearest) <= LARGEST_WHOLE)
            inexact |= not deviation < EXACT_TOLERANCE
            different |= field[i, j] != first
            whole[i, j] = np.int32(nearest) if abs(nearest) <= LARGEST_WHOLE else 0
    return far == 0, inexact == 0, different == 0


@kernel
def _gradients(field, pixels):
    """Return the Sobel gradient's magnitude, zero outside the field, at some pixels (row * nx + column)."""
    rows, columns = field.shape
    flat, magnitudes = field.reshape(-1), np.empty(pixels.size)
    one = np.uint64(1)  # unsigned: no place counts from the end
    for k in range(pixels.size):
        i = _row(pixels[k], columns)
        j = pixels[k] - i * columns
        here = np.uint64(pixels[k])
        if np.uint64(i - 1) < np.uint64(rows - 2) and np.uint64(j - 1) < np.uint64(columns - 2):  # not at an edge
            above, below = here - np.uint64(columns), here + np.uint64(columns)
            a, b, c = flat[above - one], flat[above], flat[above + one]
            d, e, f = flat[below - one], flat[below], flat[below + one]
            gx = float(c + 2 * flat[here + one] + f - (a + 2 * flat[here - one] + d))
            gy = float(d + 2 * e + f - (a + 2 * b + c))
        else:
            gx, gy = 0.0, 0.0
            for step in (-1, 0, 1):
                weight = 2.0 - abs(step)
                gx += weight * (_pixel(field, i + step, j + 1) - _pixel(field, i + step, j - 1))
                gy += weight * (_pixel(field, i + 1, j + step) - _pixel(field, i - 1, j + step))
        magnitudes[k] = math.sqrt(gx * gx + gy * gy)
    return magnitudes


@kernel
def _row(pixel, columns):
    """Return `pixel // columns`, for less than 2**32 of both, sooner than the processor divides whole numbers."""
    return np.int64((pixel + 0.5) * (1.0 / columns))


@kernel
def _pixel(field, i, j):
    """Return a pixel, zero outside the field."""
    return float(field[i, j]) if 0 <= i < field.shape[0] and 0 <= j < field.shape[1] else 0.0


@kernel
def _gradient_sums(field, about, low, high, between):
    """Return sums over the Sobel gradient's magnitude, zero outside the field, in one sweep over the rows.

    They are the sums of the powers 1 to 4 of the difference to a value, smallest and largest magnitude, the number of
    those below `low`, and of those in low..high, which begin `between`: it has one place more than there are pixels.
    """
    rows, columns = field.shape
    nothing = np.zeros(columns, field.dtype)
    # weights 1, 2, 1 and -1, 0, 1 over the rows
    across, along = np.zeros(columns + 2, field.dtype), np.zeros(columns + 2, field.dtype)
    first, second, third, fourth = np.zeros(columns), np.zeros(columns), np.zeros(columns), np.zeros(columns)
    line, extremes, bracket = np.zeros(columns), np.array([np.inf, 0.0]), np.array([low, high])
    # numbers from zero on are in the order of their bits, which are compared in less time
    bits, kept = line.view(np.int64), between.view(np.int64)
    (smallest, largest), (lowest, highest) = extremes.view(np.int64), bracket.view(np.int64)
    below, inside, span = 0, np.uint64(0), np.uint64(highest - lowest)
    for i in range(rows):
        above = field[i - 1] if i > 0 else nothing
        here = field[i]
        under = field[i + 1] if i + 1 < rows else nothing
        for j in range(columns):
            up, middle, down = above[j], here[j], under[j]
            across[j + 1] = up + 2 * middle + down
            along[j + 1] = down - up
        for j in range(columns):
            gx = float(across[j + 2] - across[j])
            gy = float(along[j] + 2 * along[j + 1] + along[j + 2])
            line[j] = math.sqrt(gx * gx + gy * gy)
        for j in range(columns):  # loops of their own: with more arrays in one, the compiler gives up vectors
            d = line[j] - about
            square = d * d
            first[j] += d
            second[j] += square
            third[j] += square * d
            fourth[j] += square * square
        for j in range(columns):
            smallest = min(smallest, bits[j])
            largest = max(largest, bits[j])
            below += bits[j] < lowest
        for j in range(columns):
            kept[inside] = bits[j]  # written always, kept by the count: no branch to mispredict
            inside += np.uint64(np.uint64(bits[j] - lowest) <= span)
    extremes.view(np.int64)[:] = smallest, largest
    return first.sum(), second.sum(), third.sum(), fourth.sum(), extremes[0], extremes[1], below, inside


@kernel
def _haar_level(field, approximation):
    """Write a field's 2x2 block sums, an odd last row or column repeated; return the sum of its absolute details."""
    rows, columns = field.shape
    details = np.zeros(approximation.shape[1])
    for i in range(approximation.shape[0]):
        upper, out = field[2 * i], approximation[i]
        lower = field[min(2 * i + 1, rows - 1)]
        for j in range(columns // 2):
            a, b, c, d = upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]
            out[j] = (a + b) + (c + d)
            details[j] += float(abs((a + b) - (c + d)) + abs((a - b) + (c - d)) + abs((a - b) - (c - d)))
        if columns % 2:
            a, c = upper[columns - 1], lower[columns - 1]
            out[columns // 2] = 2 * (a + c)
            details[columns // 2] += float(abs(2 * (a - c)))
    return details.sum()


@kernel
def _flux_sums(field):
    """Return the sums of the positive and of the negative pixels."""
    rows, columns = field.shape
    positive, negative = np.zeros(columns), np.zeros(columns)
    for i in range(rows):
        line = field[i]
        for j in range(columns):
            positive[j] += max(line[j], 0)
            negative[j] += min(line[j], 0)
    return positive.sum(), negative.sum()


# ---------------------------------------------------------------------------- compiled kernels: the neutral line

BEFORE, BOX = 5, 10  # rows i-5..i+4, as scipy.signal.convolve2d(mode="same") aligns an even box
# A square between four pixels has one of 16 cases: upper left 1, upper right 2, lower left 4, lower right 8, added up
# where above zero. For each: on which edges the line enters and leaves, low values on its left.
LEFT, BOTTOM, RIGHT, TOP = -1, 0, 1, 2  # all but the last: number of the crossing there, less that on the bottom
ENTERS = np.array([0, TOP, RIGHT, RIGHT, LEFT, TOP, RIGHT, RIGHT, BOTTOM, TOP, BOTTOM, BOTTOM, LEFT, TOP, LEFT, 0])
LEAVES = np.array([0, LEFT, TOP, LEFT, BOTTOM, BOTTOM, TOP, BOTTOM, RIGHT, LEFT, TOP, LEFT, RIGHT, RIGHT, TOP, 0])
SADDLES = (6, 9)  # with a second line, left to bottom or bottom to right: low values connect across the diagonal
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1, bitorder="little")
BITS_SET = np.argsort(1 - _BITS, axis=1, kind="stable").astype(np.int32)  # of a byte: their places, then the others
NUMBER_SET = _BITS.sum(axis=1, dtype=np.int64)
START, END = 0, 1  # columns of `segments`: numbers of crossings
NONE, USED = -1, -1  # no contour; a segment that is on the path


def _trace_neutral_line(field: np.ndarray, smooth: bool) -> tuple[np.ndarray, np.ndarray]:
    """Trace the iso-contours at level 0 of a field (int32 or float64, at least 2x2), or of its 10x10 box sum.

    Returns the nearest pixel (row * nx + column) of each point along the contours, and the range of each contour's
    points, shape (n, 2): in the order of `skimage.measure.find_contours(level=0)`, ties included.
    """
    crossings, segments = _segments(field, smooth)
    path, ranges, oldest = _contours(crossings.reshape(-1), segments, field.shape[1])
    return path, ranges[np.argsort(oldest)]


@kernel
def _segments(field, smooth):
    """Return the crossings of edges, see `_cross_edges`, and the segments that connect two of them in a square.

    Squares are taken row by row; to each belong the crossings on its bottom and its right, of even and odd number.
    """
    rows, columns = field.shape
    crossings, segments = np.empty((32768, 2), np.int32), np.empty((32768, 2), np.int32)
    used, lines, crossed = 0, 0, np.empty(columns + 8, np.int32)
    padded, sums = np.zeros((2, columns + BOX - 1), field.dtype), np.zeros((2, columns), field.dtype)
    above, codes = np.zeros((2, columns), np.uint8), np.zeros((2, (columns + 7) // 8 * 8), np.uint8)
    bottoms = np.empty((2, columns), np.int64)  # by column: numbers of the crossings on the last two rows
    for i in range(-1, rows - 1):
        even, odd = i & 1, (i + 1) & 1
        lower, low = sums[odd], above[odd]
        if smooth:
            _box_sum_row(field, i + 1, field.itemsize == 4, padded, lower)
        else:
            lower[:] = field[i + 1]
        for j in range(columns):
            low[j] = lower[j] > 0
        upper, high = (sums[even], above[even]) if i >= 0 else (lower, low)  # above the first row: no line between
        squares = crossed[:_crossed_squares(high, low, codes, crossed)]
        crossings, segments = _with_room(crossings, used, columns), _with_room(segments, lines, 2 * columns)
        _cross_edges(upper, lower, i, squares, crossings[used:])
        for k in range(squares.size):
            bottoms[odd, np.uint32(squares[k])] = 2 * (used + 1 + k)
        if i >= 0:
            lines += _connect(codes[0], squares, bottoms[even], bottoms[odd], segments[lines:])
        used += 1 + squares.size
    return crossings[:used], segments[:lines]


@kernel
def _box_sum_row(field, i, exact, padded, sums):
    """Write row i of the 10x10 box sum: rows i-5..i+4, columns j-5..j+4, zero outside.

    Rows come in order from 0, with the same `padded`, shape (2, nx + 9), zero at first. With `exact` (int32) column
    sums are carried from row to row; else they are made by additions only, so that a sum over zeros is zero.
    """
    rows, columns = field.shape
    single, fours = padded[0], padded[1]
    inner = single[BEFORE:BEFORE + columns]
    first, new = max(i - BEFORE, 0), i - BEFORE + BOX - 1
    if exact and i > 0:
        if i > BEFORE:
            old = field[i - BEFORE - 1]
            for j in range(columns):
                inner[j] -= old[j]
        first = new
    else:
        single[:] = 0
    for k in range(first, min(new + 1, rows)):
        line = field[k]
        for j in range(columns):
            inner[j] += line[j]
    for j in range(columns + 6):
        fours[j] = (single[j] + single[j + 1]) + (single[j + 2] + single[j + 3])
    for j in range(columns):
        sums[j] = fours[j] + fours[j + 4] + (single[j + 8] + single[j + 9])


@kernel
def _crossed_squares(high, low, codes, crossed):
    """List the squares between two rows that the contour crosses; their cases are `codes[0]`."""
    cases, flags = codes[0], codes[1]
    for j in range(high.size - 1):
        cases[j] = high[j] | high[j + 1] << 1 | low[j] << 2 | low[j + 1] << 3
    for j in range(high.size - 1):
        flags[j] = (cases[j] != 0) & (cases[j] != 15)
    number, words = 0, flags.view(np.uint64)
    for w in range(words.size):  # eight squares at a time, without a branch to mispredict
        byte = words[w]  # of 0 or 1 each, which are shifted to the bits of the lowest
        byte |= byte >> np.uint64(7)
        byte |= byte >> np.uint64(14)
        byte = (byte | byte >> np.uint64(28)) & np.uint64(255)
        for k in range(8):  # written always, kept by the count
            crossed[number + k] = np.int32(8 * w) + BITS_SET[byte, k]
        number += NUMBER_SET[byte]
    return number


@kernel
def _cross_edges(upper, lower, i, squares, crossings):
    """Write where the edges of a row of squares, bottom and right, are crossed: first the right of one at column -1.

    That is the nearest pixel (row * nx + column), or its complement when it is exactly there. Edges without a crossing
    are computed, too: no branch to mispredict.
    """
    columns, whole = np.int32(upper.size), upper.itemsize == 4
    row_above, row = np.int32(max(i, 0)) * columns, np.int32(i + 1) * columns
    nearer, exact = _nearest(upper[0], lower[0], i, whole)
    pixel = row_above + columns * nearer
    crossings[0, 0], crossings[0, 1] = 0, ~pixel if exact else pixel
    for k in range(squares.size):
        j = np.uint32(squares[k])
        right = j + np.uint32(1)
        nearer, exact = _nearest(lower[j], lower[right], j, whole)
        pixel = row + np.int32(j) + nearer
        crossings[k + 1, 0] = ~pixel if exact else pixel
        nearer, exact = _nearest(upper[right], lower[right], i, whole)
        pixel = row_above + np.int32(right) + columns * nearer
        crossings[k + 1, 1] = ~pixel if exact else pixel


@kernel
def _nearest(first, second, place, whole):
    """Tell which of two values, at a place and the next, is nearest (0, 1; half to even) to level 0, and if it is 0."""
    if whole:
        a, b = abs(first), abs(second)
        return np.int32((a > b) | ((a == b) & (place & 1 == 1))), (a == 0) | (b == 0)
    crosses = (first > 0) != (second > 0)
    start = first if crosses else 0.0
    position = place - start / (second - start if crosses else 1.0)
    nearest = np.rint(position)
    return np.int32(nearest - place), nearest == position


@kernel
def _connect(cases, squares, tops, bottoms, segments):
    """Write the segments in the crossed squares of a row; return how many."""
    number = 0
    for k in range(squares.size):
        j = np.uint32(squares[k])
        case, bottom = cases[j], bottoms[j]
        to_top = tops[j] - bottom - TOP
        enters, leaves = ENTERS[case], LEAVES[case]
        segments[number, START] = bottom + enters + (enters == TOP) * to_top
        segments[number, END] = bottom + leaves + (leaves == TOP) * to_top
        number += 1
        if case == SADDLES[0] or case == SADDLES[1]:
            segments[number, START] = bottom + (LEFT if case == SADDLES[0] else BOTTOM)
            segments[number, END] = bottom + (BOTTOM if case == SADDLES[0] else RIGHT)
            number += 1
    return number


@kernel
def _with_room(rows, used, needed):
    """Return the array, twice as long where fewer than `needed` rows are left."""
    if used + needed <= rows.shape[0]:
        return rows
    longer = np.empty((2 * rows.shape[0] + needed, rows.shape[1]), rows.dtype)
    longer[:used] = rows[:used]
    return longer


@kernel
def _unite_corners(crossings, columns):
    """Return the crossings' numbers, the same for all that lie exactly on one pixel; leave their pixels alone."""
    numbers = np.arange(crossings.size, dtype=np.int32)
    corners, pixels = np.zeros(2 * columns, np.int32), np.full(2 * columns, -1)  # two rows are open at a time
    for number in range(crossings.size):
        if crossings[number] < 0:
            pixel = ~crossings[number]
            crossings[number] = pixel
            place = pixel % corners.size
            if pixels[place] != pixel:
                pixels[place], corners[place] = pixel, number
            numbers[number] = corners[place]
    return numbers


@kernel
def _contours(crossings, segments, columns):
    """Return the pixels along the contours, the range of each contour, and its oldest segment."""
    numbers = _unite_corners(crossings, columns)
    following, preceding, clear = _link(segments, numbers)
    if not clear:
        following, preceding = _link_in_turn(segments, numbers)
    none = segments.shape[0]
    path, ranges, oldest = np.empty(2 * none, np.int32), np.empty((none, 2), np.int64), np.empty(none, np.int32)
    place, contours = 0, 0
    for n in range(2 * none):  # the open ones by their first segment, then the closed ones by their last
        closed = n >= none
        k = 2 * none - 1 - n if closed else n
        if following[k] == USED or not closed and preceding[k] != none:
            continue
        if closed:
            last, k = k, following[k]
            following[last] = none
        ranges[contours, 0], earliest = place, k
        path[place] = crossings[segments[k, START]]
        while k != none:
            place += 1
            segment = np.uint32(k)  # unsigned: no place counts from the end
            path[place] = crossings[np.uint32(segments[segment, END])]
            earliest = min(earliest, k)
            k, following[segment] = following[segment], USED
        place += 1
        ranges[contours, 1], oldest[contours] = place, earliest
        contours += 1
    return path[:place], ranges[:contours], oldest[:contours]


@kernel
def _link(segments, numbers):
    """Return the segment after each and before each, their number for none, and whether that is clear.

    It is not where two contours begin, or end, at one point at a time. A segment within one point counts as used.
    """
    none = segments.shape[0]
    following, preceding = np.full(none + 1, none, np.int32), np.full(none + 1, none, np.int32)
    waiting = np.full((numbers.size, 2), none, np.int32)  # at each crossing: a segment that starts, one that ends
    unclear = 0
    for k in range(none):  # no branch to mispredict, but for a corner of exactly zero
        start = np.uint32(numbers[np.uint32(segments[k, START])])
        end = np.uint32(numbers[np.uint32(segments[k, END])])
        if start == end:  # a neighbouring square passes through it
            following[k] = USED
            continue
        before = waiting[start, END]
        alone = before == none
        following[np.uint32(before)], preceding[k] = k, before
        unclear += alone & (waiting[start, START] != none)
        waiting[start, START] = k if alone else none
        waiting[start, END] = none
        after = waiting[end, START]
        alone = after == none
        following[k], preceding[np.uint32(after)] = after, k
        unclear += alone & (waiting[end, END] != none)
        waiting[end, END] = k if alone else none
        waiting[end, START] = none
    return following, preceding, unclear == 0


@kernel
def _link_in_turn(segments, numbers):
    """Return the same where that is not clear, by how the contours grow and merge from segment to segment."""
    none = np.int32(segments.shape[0])
    following, preceding = np.full(none + 1, none, np.int32), np.zeros(none + 1, np.int32)
    firsts, lasts = np.empty(segments.shape[0], np.int32), np.empty(segments.shape[0], np.int32)
    starts, ends = np.full(numbers.size, NONE, np.int32), np.full(numbers.size, NONE, np.int32)  # contours by crossing
    number = 0
    for k in range(segments.shape[0]):
        start, end = numbers[segments[k, START]], numbers[segments[k, END]]
        if start == end:
            following[k] = USED
            continue
        head, tail = ends[start], starts[end]
        ends[start], starts[end] = NONE, NONE
        if head == NONE:  # begins before the contour `tail`, or alone
            head = tail
            if tail == NONE:
                head, lasts[number] = number, k
                number += 1
                ends[end] = head
            else:
                following[k] = firsts[tail]
            firsts[head] = k
            starts[start] = head
            continue
        following[lasts[head]], lasts[head] = k, k
        if tail == NONE:
            ends[end] = head
        elif tail != head:
            following[k], lasts[head] = firsts[tail], lasts[tail]
            firsts[tail] = NONE
            starts[numbers[segments[firsts[head], START]]] = head
            ends[numbers[segments[lasts[head], END]]] = head
    for first in firsts[:number]:
        if first != NONE:
            preceding[first] = none
    return following, preceding


@kernel
def _walk_contours(path, ranges, columns):
    """Return how often each of `STEP_ANGLES` comes along the contours of an image of at least 4 columns (closing steps
    excluded), and for each contour the angle of the step from its last point to its first and the bending energy.
    """
    counts = np.zeros(STEP_ANGLES.size, np.int64)
    closing, energies = np.empty(ranges.shape[0]), np.empty(ranges.shape[0])
    for k in range(closing.size):
        first, last = ranges[k, 0], ranges[k, 1] - 1
        energy, first_angle, angle = 0.0, 0.0, 0.0
        for p in range(first, last):
            step = path[p + 1] - path[p]
            down = int(step > 1) - int(step < -1)
            code = 3 * (down + 1) + step - down * columns + 1
            counts[code] += 1
            turned = STEP_ANGLES[code] - angle
            if p == first:
                turned, first_angle = 0.0, STEP_ANGLES[code]
            energy += turned * turned
            angle = STEP_ANGLES[code]
        closing[k] = _step_angle(path[first] // columns - path[last] // columns,
                                 path[first] % columns - path[last] % columns)
        energy += (angle - closing[k]) ** 2 + (closing[k] - first_angle) ** 2
        energies[k] = energy / (last + 1 - first)
    return counts, closing, energies


@kernel
def _step_angle(down, right):
    """Return the angle of a step: atan(right / down); without a row step 3 pi/2 to the left, else pi/2."""
    if down != 0:
        return math.atan(right / down)
    return 1.5 * math.pi if right < 0 else 0.5 * math.pi


@kernel
def _mask_counts(path, field):
    """Count the mask's pixels of at least 0.2 times its largest gradient, their fragments, and all its pixels."""
    rows, columns = field.shape
    mask = np.zeros((rows + 2) * (columns + 2), np.uint8)  # a frame of zeros spares the tests at the edges
    pixels, framed = np.empty(path.size, np.int32), np.empty(path.size, np.uint64)
    number = np.uint64(0)
    for pixel in path:  # written always, kept by the count: no branch to mispredict
        place = np.uint64(pixel + 2 * _row(pixel, columns) + columns + 3)
        pixels[number], framed[number] = pixel, place
        number += np.uint64(1) - np.uint64(mask[place])
        mask[place] = 1
    gradients = _gradients(field, pixels[:number])
    smallest, strong = STRONG * gradients.max(), np.uint64(0)
    for k in range(gradients.size):
        kept = gradients[k] >= smallest
        place = framed[k]
        framed[strong] = place
        mask[place] += kept
        strong += np.uint64(kept)
    return strong, _fragments(mask, framed[:strong], columns + 2), number


@kernel
def _fragments(mask, pixels, stride):
    """Count the 8-connected components of the pixels, which are marked 2, by filling one after the other."""
    fragments = 0
    stack = np.empty(pixels.size, np.int64)
    for pixel in pixels.view(np.int64):
        if mask[pixel] != 2:
            continue
        fragments += 1
        stack[0], waiting, mask[pixel] = pixel, 1, 1
        while waiting > 0:
            waiting -= 1
            center = stack[waiting]
            for above in (-stride, 0, stride):
                for neighbour in range(center + above - 1, center + above + 2):
                    if mask[neighbour] == 2:
                        mask[neighbour] = 1
                        stack[waiting] = neighbour
                        waiting += 1
    return fragments
