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
    gradient, magnitude = gradient_features(field.pixels)
    neutral_line = neutral_line_features(field.smoothable, magnitude)
    features = np.concatenate((gradient, neutral_line, wavelet_features(field.pixels), flux_features(field.pixels)))
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
    _, magnitude = gradient_features(field.pixels)
    pixels, _ = _trace_neutral_line(field.smoothable, True)
    mask = np.zeros(image.shape, dtype=bool)
    if pixels.size:
        on_line = magnitude.reshape(-1)[pixels]
        pixels = pixels[on_line >= STRONG * on_line.max()]
    mask.reshape(-1)[pixels] = True
    return mask


def compile_kernels(announce: Callable[[str], object] = str) -> None:
    """Compile the kernels for both kinds of pixels, or load them from the disk, by using each once.

    Parameters
    ----------
    announce : callable, optional
        Called with one line before a compilation; not called where the compiled code is on the disk.
    """
    first_use = not getattr(_flux_sums, "signatures", True)  # as plain Python (NUMBA_DISABLE_JIT=1) it has none
    _flux_sums(np.eye(2, dtype=np.int32))  # the smallest of them shows whether all have to be compiled
    if first_use and _flux_sums.stats.cache_misses:
        announce(COMPILING)
    ramp = np.sin(np.arange(SMALLEST_SIDE**2)).reshape(SMALLEST_SIDE, SMALLEST_SIDE)
    for image in (np.rint(100 * ramp), ramp):
        image_features(image)
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


def gradient_features(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features 1-7: mean, std, median, min, max, skewness and excess kurtosis of the gradient's magnitude.

    Parameters
    ----------
    pixels : numpy.ndarray
        int32 or float64, shape (ny, nx); zero outside.

    Returns
    -------
    features, magnitude : numpy.ndarray
        Shape (7,), in units of the pixels (plain Sobel sums), with population std and moments, NaN for an even
        gradient; float64, shape (ny, nx).
    """
    magnitude = np.empty(pixels.shape)
    number = magnitude.size
    total, smallest, largest = _sobel_magnitude(pixels, magnitude)
    mean = total / number
    low, high = _bracket_of_median(magnitude.reshape(-1))
    between = np.empty(number + 1)
    *powers, below, inside = _central_moments(magnitude, mean, low, high, between)
    second, third, fourth = (power / number for power in powers)
    median = _median(magnitude, between[:inside], below)
    shape = (third / second**1.5, fourth / second**2 - 3) if second**2 > 0 else (np.nan, np.nan)
    return np.array([mean, np.sqrt(second), median, smallest, largest, *shape]), magnitude


def neutral_line_features(smoothable: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Return features 8-20: the neutral line's pixels, fragments, curvature and bending energy.

    Unlike the published names say, "NL length" counts the mask's pixels of at least 0.2 times the largest gradient on
    it, and "NL gradient-weighted length" all its pixels.

    Parameters
    ----------
    smoothable, magnitude : numpy.ndarray
        Both of shape (ny, nx): int32 or float64 in any unit, see `Field`; float64 gradient, see `gradient_features`.

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
    return np.concatenate((_mask_counts(path, magnitude), _summary(angles, times),
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


def _bracket_of_median(values: np.ndarray) -> tuple[float, float]:
    """Return two values with the median between them, all but certainly: from an evenly spaced sample."""
    sample = values[::max(values.size // _SAMPLE, 1)].copy()
    middle = sample.size // 2
    ranks = [max(middle - _RANKS_AROUND, 0), min(middle + _RANKS_AROUND, sample.size - 1)]
    sample.partition(ranks)
    return sample[ranks[0]], sample[ranks[1]]


def _median(values: np.ndarray, between: np.ndarray, below: int) -> float:
    """Return the median from the values of the bracket, or from all where the bracket missed it."""
    ranks = [(values.size - 1) // 2 - below, values.size // 2 - below]
    if ranks[0] < 0 or ranks[1] >= between.size:
        return float(np.median(values))
    between.partition(ranks)
    return (between[ranks[0]] + between[ranks[1]]) / 2


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
def _sobel_magnitude(field, magnitude):
    """Write the Sobel gradient's magnitude, zero outside the field; return its sum, smallest and largest value."""
    rows, columns = field.shape
    nothing = np.zeros(columns, field.dtype)
    # weights 1, 2, 1 and -1, 0, 1 over the rows
    across, along = np.zeros(columns + 2, field.dtype), np.zeros(columns + 2, field.dtype)
    total, smallest, largest = np.zeros(columns), np.full(columns, np.inf), np.zeros(columns)
    for i in range(rows):
        above = field[i - 1] if i > 0 else nothing
        here = field[i]
        below = field[i + 1] if i + 1 < rows else nothing
        for j in range(columns):
            up, middle, down = above[j], here[j], below[j]
            across[j + 1] = up + 2 * middle + down
            along[j + 1] = down - up
        line = magnitude[i]
        for j in range(columns):
            gx = float(across[j + 2] - across[j])
            gy = float(along[j] + 2 * along[j + 1] + along[j + 2])
            line[j] = math.sqrt(gx * gx + gy * gy)
        for j in range(columns):  # a loop of its own: with more arrays in one, the compiler gives up vectors
            m = line[j]
            total[j] += m
            smallest[j] = m if m < smallest[j] else smallest[j]
            largest[j] = m if m > largest[j] else largest[j]
    return total.sum(), smallest.min(), largest.max()


@kernel
def _central_moments(values, mean, low, high, between):
    """Return the sums of the powers 2, 3, 4 about the mean, and the numbers of values below `low` and in low..high.

    The latter begin `between`, which has one place more than there are values."""
    rows, columns = values.shape
    second, third, fourth = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    below, inside = 0, 0
    for i in range(rows):
        line = values[i]
        for j in range(columns):
            d = line[j] - mean
            square = d * d
            second[j] += square
            third[j] += square * d
            fourth[j] += square * square
        for j in range(columns):
            below += line[j] < low
        for j in range(columns):
            between[inside] = line[j]  # written always, kept by the count: no branch to mispredict
            inside += (line[j] >= low) & (line[j] <= high)
    return second.sum(), third.sum(), fourth.sum(), below, inside


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
# Edges of a square: 0 top, 1 left, 2 bottom, 3 right. For each of its 16 cases (sum of upper left 1, upper right 2,
# lower left 4, lower right 8, where above zero): the edges where the line enters and leaves, low values on its left.
SADDLES = (6, 9)  # with a second line: low values connect across the diagonal
ENTERS = np.array([[-1, 0, 3, 3, 1, 0, 3, 3, 2, 0, 2, 2, 1, 0, 1, -1], 6 * [-1] + [1, -1, -1, 2] + 6 * [-1]]).T.copy()
LEAVES = np.array([[-1, 1, 0, 1, 2, 2, 0, 2, 3, 1, 0, 1, 3, 3, 0, -1], 6 * [-1] + [2, -1, -1, 3] + 6 * [-1]]).T.copy()
NONE_ABOVE, ALL_ABOVE = np.uint64(0), np.uint64(0x0F0F0F0F0F0F0F0F)  # eight squares of case 0, of case 15
PIXEL, EXACT = 0, 1  # columns of `crossings`: nearest pixel (row * nx + column), whether exactly there
START, END = 0, 1  # columns of `segments`: numbers of crossings
NONE = -1  # no segment, no contour


def _trace_neutral_line(field: np.ndarray, smooth: bool) -> tuple[np.ndarray, np.ndarray]:
    """Trace the iso-contours at level 0 of a field (int32 or float64, at least 2x2), or of its 10x10 box sum.

    Returns the nearest pixel (row * nx + column) of each point along the contours, and the range of each contour's
    points, shape (n, 2): in the order of `skimage.measure.find_contours(level=0)`, ties included.
    """
    crossings, segments = _segments(field, smooth)
    numbers = _unite_corners(crossings, field.shape[1])
    path, ranges, oldest = _along_contours(crossings, segments, *_link(segments, numbers))
    return path, ranges[np.argsort(oldest)]


@kernel
def _segments(field, smooth):
    """Return the crossings of edges, and the segments that connect two of them in a square."""
    rows, columns = field.shape
    whole = field.itemsize == 4
    crossings, segments = np.empty((32768, 2), np.int32), np.empty((32768, 2), np.int32)
    used, lines, crossed = 0, 0, np.empty(columns + 1, np.int64)
    padded, sums = np.zeros((3, columns + BOX - 1), field.dtype), np.zeros((2, columns), field.dtype)
    above, codes = np.zeros((2, columns), np.uint8), np.zeros((columns + 7) // 8 * 8, np.uint8)
    words = codes.view(np.uint64)
    # crossings on even rows, on odd rows and between the two lie one after the other: looked up without a branch
    numbers, edges = np.empty(3 * columns, np.int32), np.empty(4, np.int64)
    for i in range(-1, rows - 1):
        even, odd = i & 1, (i + 1) & 1
        lower, low = sums[odd], above[odd]
        if smooth:
            _box_sum_row(field, i + 1, whole, padded, lower)
        else:
            lower[:] = field[i + 1]
        for j in range(columns):
            low[j] = lower[j] > 0
        upper, high = (sums[even], above[even]) if i >= 0 else (lower, low)  # above the first row: no line between
        edges[0], edges[1], edges[2], edges[3] = even * columns, 2 * columns, odd * columns, 2 * columns + 1
        squares = crossed[:_crossed_squares(high, low, codes, words, crossed)]
        crossings, segments = _with_room(crossings, used, 2 * columns), _with_room(segments, lines, 2 * columns)
        used = _cross_edges(upper, lower, i, codes, squares, edges=edges, numbers=numbers, crossings=crossings,
                            used=used)
        if i < 0:
            continue
        for j in squares:
            case = codes[j]
            for line in range(1 + (case == SADDLES[0] or case == SADDLES[1])):
                start, end = numbers[edges[ENTERS[case, line]] + j], numbers[edges[LEAVES[case, line]] + j]
                segments[lines, START], segments[lines, END] = start, end
                lines += 1
    return crossings[:used], segments[:lines]


@kernel
def _box_sum_row(field, i, exact, padded, sums):
    """Write row i of the 10x10 box sum: rows i-5..i+4, columns j-5..j+4, zero outside.

    Rows come in order from 0, with the same `padded`, shape (3, nx + 9), zero at first. With `exact` (int32) column
    sums are carried from row to row; else they are made by additions only, so that a sum over zeros is zero.
    """
    rows, columns = field.shape
    single, pairs, fours = padded[0], padded[1], padded[2]
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
    for j in range(columns + 8):
        pairs[j] = single[j] + single[j + 1]
    for j in range(columns + 6):
        fours[j] = pairs[j] + pairs[j + 2]
    for j in range(columns):
        sums[j] = fours[j] + fours[j + 4] + pairs[j + 8]


@kernel
def _crossed_squares(high, low, codes, words, crossed):
    """List the squares between two rows that the contour crosses, after coding each by its corners above zero."""
    for j in range(high.size - 1):
        codes[j] = high[j] | high[j + 1] << 1 | low[j] << 2 | low[j + 1] << 3
    number = 0
    for w in range(words.size):  # eight squares at a time: most are on one side
        if words[w] != NONE_ABOVE and words[w] != ALL_ABOVE:
            for j in range(8 * w, min(8 * w + 8, high.size - 1)):
                crossed[number] = j  # kept by the count: no branch to mispredict
                number += codes[j] != 0 and codes[j] != 15
    return number


@kernel
def _cross_edges(upper, lower, i, codes, crossed, edges, numbers, crossings, used):
    """Number the crossings of the edges that the squares of a row have not in common with those seen before.

    Edges without a crossing are computed, too, and not counted: no branch to mispredict.
    """
    columns = upper.size
    for j in crossed:
        crosses = int(codes[j] >> 2 ^ codes[j] >> 3) & 1
        column = j - _share(lower[j], lower[j + 1], crosses)
        nearest = np.rint(column)
        crossings[used, PIXEL], crossings[used, EXACT] = (i + 1) * columns + int(nearest), nearest == column
        numbers[edges[2] + j] = used
        used += crosses
    for k in range(-1, crossed.size):
        j = crossed[k] + 1 if k >= 0 else 0
        crosses = int((upper[j] > 0) != (lower[j] > 0))
        row = i - _share(upper[j], lower[j], crosses)
        nearest = np.rint(row)
        crossings[used, PIXEL], crossings[used, EXACT] = int(nearest) * columns + j, nearest == row
        numbers[edges[1] + j] = used
        used += crosses
    return used


@kernel
def _share(first, second, crosses):
    """Return minus the part of the way between two values at which level 0 is crossed."""
    start = float(first) if crosses else 0.0
    span = second - start if crosses else 1.0
    return start / span


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
    """Return the crossings' numbers, the same for all that lie exactly on one pixel."""
    numbers = np.arange(crossings.shape[0]).astype(np.int32)
    corners = np.zeros(2 * columns, np.int32)  # two rows are open at a time
    for number in range(numbers.size):
        if crossings[number, EXACT]:
            pixel = crossings[number, PIXEL]
            earlier = corners[pixel % corners.size]
            if crossings[earlier, PIXEL] == pixel and crossings[earlier, EXACT]:
                numbers[number] = earlier
            else:
                corners[pixel % corners.size] = number
    return numbers


@kernel
def _link(segments, numbers):
    """Link the segments one after the other to the contours that begin or end there at that time."""
    following = np.full(segments.shape[0], NONE, np.int32)
    firsts, lasts = np.empty(segments.shape[0], np.int32), np.empty(segments.shape[0], np.int32)
    starts, ends = np.full(numbers.size, NONE, np.int32), np.full(numbers.size, NONE, np.int32)  # contours by crossing
    number = 0
    for k in range(segments.shape[0]):
        start, end = numbers[segments[k, START]], numbers[segments[k, END]]
        if start == end:
            continue  # a corner of exactly zero: a neighbouring square passes through it
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
    firsts = firsts[:number]
    return following, firsts[firsts != NONE]


@kernel
def _along_contours(crossings, segments, following, firsts):
    """Return the pixels along the contours, the range of each contour, and its oldest segment."""
    path = np.empty(2 * segments.shape[0], np.int32)
    ranges, oldest = np.empty((segments.shape[0], 2), np.int64), np.empty(segments.shape[0], np.int32)
    place, contours = 0, 0
    for first in firsts:
        k = first
        ranges[contours, 0], oldest[contours] = place, k
        path[place] = crossings[segments[k, START], PIXEL]
        while k != NONE:
            place += 1
            path[place] = crossings[segments[k, END], PIXEL]
            oldest[contours] = min(oldest[contours], k)
            k = following[k]
        place += 1
        ranges[contours, 1] = place
        contours += 1
    return path[:place], ranges[:contours], oldest[:contours]


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
def _mask_counts(path, magnitude):
    """Count the mask's pixels of at least 0.2 times its largest gradient, their fragments, and all its pixels."""
    rows, columns = magnitude.shape
    magnitudes = magnitude.reshape(-1)
    mask = np.zeros((rows + 2) * (columns + 2), np.uint8)  # a frame of zeros spares the tests at the edges
    pixels, gradients = np.empty(path.size, np.int64), np.empty(path.size)
    number, strong, largest = 0, 0, 0.0
    for pixel in path:  # written always, kept by the count: no branch to mispredict
        framed = pixel + 2 * np.int64(np.uint32(pixel) // np.uint32(columns)) + columns + 3
        pixels[number], gradients[number] = framed, magnitudes[pixel]
        number += mask[framed] == 0
        mask[framed] = 1
    for gradient in gradients[:number]:
        largest = max(largest, gradient)
    for k in range(number):
        pixels[strong] = pixels[k]
        mask[pixels[k]] += gradients[k] >= STRONG * largest
        strong += gradients[k] >= STRONG * largest
    return strong, _fragments(mask, pixels[:strong], columns + 2), number


@kernel
def _fragments(mask, pixels, stride):
    """Count the 8-connected components of the pixels, which are marked 2, by filling one after the other."""
    fragments = 0
    stack = np.empty(pixels.size, np.int64)
    for pixel in pixels:
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
