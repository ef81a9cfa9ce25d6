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
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

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


def image_features(image: np.ndarray) -> np.ndarray:
    """Return the 29 features of an image, in the order of `FeaturesetTools.FEATURE_NAMES`.

    Parameters
    ----------
    image : numpy.ndarray
        Line-of-sight field [G], or grey levels minus 128; any rectangle from 32x32 on.

    Returns
    -------
    numpy.ndarray
        float64, shape (29,), finite.

    Raises
    ------
    ValueError
        Not 2-D, not numbers, empty, smaller than 32x32, NaN or infinite pixels, constant, too small or large values.
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
    points, _ = _trace_neutral_line(field.smoothable, True)
    mask = np.zeros(image.shape, dtype=bool)
    pixels = points[:, PIXEL]
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


# ---------------------------------------------------------------------------- checks and units


def _prepare(image: np.ndarray) -> Field:
    """Check an image, as `image_features` says, and bring it to whole numbers where it has them."""
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
    features : numpy.ndarray
        Shape (7,), in units of the pixels (plain Sobel sums); population std and moments, NaN for an even gradient.
    magnitude : numpy.ndarray
        float64, shape (ny, nx).
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
    smoothable : numpy.ndarray
        int32 or float64, shape (ny, nx), in any unit: see `Field`.
    magnitude : numpy.ndarray
        float64, shape (ny, nx): gradient, see `gradient_features`.

    Returns
    -------
    numpy.ndarray
        Shape (13,): three counts; mean, std, median, min, max of all contour points' angles [rad], and of the contours'
        bending energies [rad^2]. Zeros where there is no contour.
    """
    points, firsts = _trace_neutral_line(smoothable, True)
    if not firsts.size:
        return np.zeros(13)
    counts, closing, energies = _walk_contours(points, firsts, smoothable.shape[1])
    angles = np.concatenate((STEP_ANGLES, closing))
    times = np.concatenate((counts, np.ones(closing.size, np.int64)))
    return np.concatenate((_mask_counts(points, magnitude), _summary(angles, times),
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


def _compiler(**options: Any) -> Callable:
    """Return the decorator of the kernels; compiled code is kept where numba finds a folder: NUMBA_CACHE_DIR, here,

    the user's cache, or else among the temporary files, if nobody else can write there: it is executed."""
    kept = _finds_a_folder()
    if not kept:
        user = os.getuid() if hasattr(os, "getuid") else 0
        with suppress(OSError):
            folder = Path(tempfile.gettempdir(), f"numba-{user}")
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.stat().st_uid == user and not folder.stat().st_mode & 0o022:
                numba.config.CACHE_DIR = str(folder)
                kept = _finds_a_folder()
    return numba.njit(cache=kept, error_model="numpy", nogil=True, **options)


def _finds_a_folder() -> bool:
    """Tell whether numba finds a folder where it can keep compiled code."""
    try:
        numba.njit(cache=True)(_finds_a_folder)
    except RuntimeError:
        return False
    return True


kernel = _compiler()
inlined_kernel = _compiler(inline="always")


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
    across, along = np.zeros(columns + 2), np.zeros(columns + 2)  # weights 1, 2, 1 and -1, 0, 1 over the rows
    total, smallest, largest = np.zeros(columns), np.full(columns, np.inf), np.zeros(columns)
    for i in range(rows):
        above = field[i - 1] if i > 0 else nothing
        here = field[i]
        below = field[i + 1] if i + 1 < rows else nothing
        for j in range(columns):
            up, middle, down = float(above[j]), float(here[j]), float(below[j])
            across[j + 1] = up + 2 * middle + down
            along[j + 1] = down - up
        line = magnitude[i]
        for j in range(columns):
            gx = across[j + 2] - across[j]
            gy = along[j] + 2 * along[j + 1] + along[j + 2]
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
PIXEL, NEXT = 0, 1  # columns of `points`
FIRST, LAST, FIRST_NODE, LAST_NODE, ALIVE = range(5)  # columns of `contours`
# A node is where a contour passes: a pixel of exactly zero (kind 0), a horizontal (1) or vertical edge (2) between two
# pixels; its number is 3 * pixel + kind. Only the nodes of two rows are open at a time: tables hold no more.


@kernel
def _trace_neutral_line(field, smooth):
    """Trace the iso-contours at level 0 of a field (int32 or float64, at least 2x2), or of its 10x10 box sum.

    Returns points, shape (n, 2): nearest pixel (row * nx + column) and number of the next point, -1 at the end; and the
    first of each contour, all in the order of `skimage.measure.find_contours(level=0)`, ties included. One sweep
    over the rows does all; the pieces of a contour are linked lists, so that joining two of them costs nothing.
    """
    rows, columns = field.shape
    row_of_nodes, exact = 3 * columns, field.itemsize == 4
    points, contours = np.empty((32768, 2), np.int64), np.empty((1024, 5), np.int64)
    starts, ends = np.full((2 * row_of_nodes, 2), -1, np.int64), np.full((2 * row_of_nodes, 2), -1, np.int64)
    used, crossed = np.zeros(2, np.int64), np.empty(columns + 1, np.int64)
    padded, sums = np.zeros((3, columns + BOX - 1), field.dtype), np.zeros((2, columns), field.dtype)
    above, codes = np.zeros((2, columns), np.uint8), np.zeros((columns + 7) // 8 * 8, np.uint8)
    words = codes.view(np.uint64)
    # crossings on even rows, on odd rows and between the two lie one after the other: looked up without a branch
    nodes, pixels, edges = np.empty(3 * columns, np.int64), np.empty(3 * columns, np.int64), np.empty(4, np.int64)
    for i in range(-1, rows - 1):
        even, odd = i & 1, (i + 1) & 1
        upper, lower, high, low = sums[even], sums[odd], above[even], above[odd]
        if smooth:
            _box_sum_row(field, i + 1, exact, padded, lower)
        else:
            lower[:] = field[i + 1]
        for j in range(columns):
            low[j] = lower[j] > 0
        if i < 0:
            continue
        edges[0], edges[1], edges[2], edges[3] = even * columns, 2 * columns, odd * columns, 2 * columns + 1
        squares = _crossed_squares(high, low, codes, words, crossed)
        _cross_edges(upper, lower, i, codes, crossed[:squares], edges=edges, nodes=nodes, pixels=pixels)
        points, contours = _with_room(points, used[0], 4 * columns), _with_room(contours, used[1], 2 * columns)
        oldest, first_open = row_of_nodes * i, row_of_nodes * (i - even)
        for k in range(squares):
            j = crossed[k]
            case = codes[j]
            for line in range(1 + (case == SADDLES[0] or case == SADDLES[1])):
                start, end = edges[ENTERS[case, line]] + j, edges[LEAVES[case, line]] + j
                _add_segment(nodes[start], nodes[end], pixels[start], pixels[end], oldest=oldest,
                             first_open=first_open, points=points, contours=contours, starts=starts, ends=ends,
                             used=used)
    contours = contours[:used[1]]
    return points[:used[0]], contours[contours[:, ALIVE] == 1, FIRST]


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
def _cross_edges(upper, lower, i, codes, crossed, edges, nodes, pixels):
    """Note the crossings of the edges that the squares of a row have not in common with those seen before."""
    if crossed.size > 0 and crossed[0] == 0 and (codes[0] ^ codes[0] >> 2) & 1:
        _cross_down(upper, lower, i, 0, nodes=nodes, pixels=pixels, place=edges[1])
    for j in crossed:
        code = codes[j]
        if i == 0 and (code ^ code >> 1) & 1:
            _cross_across(upper, i, j, nodes=nodes, pixels=pixels, place=edges[0] + j)
        if (code >> 2 ^ code >> 3) & 1:
            _cross_across(lower, i + 1, j, nodes=nodes, pixels=pixels, place=edges[2] + j)
        if (code >> 1 ^ code >> 3) & 1:
            _cross_down(upper, lower, i, j + 1, nodes=nodes, pixels=pixels, place=edges[3] + j)


@kernel
def _cross_across(line, row, j, nodes, pixels, place):
    """Note node and nearest pixel where level 0 crosses the edge from column j to the next."""
    columns, start = line.size, float(line[j])
    column = j - start / (line[j + 1] - start)
    node = 3 * (row * columns + j)
    nodes[place] = node if column == j else (node + 3 if column == j + 1 else node + 1)
    pixels[place] = row * columns + int(np.rint(column))


@kernel
def _cross_down(upper, lower, row, j, nodes, pixels, place):
    """Note node and nearest pixel where level 0 crosses the edge from a row to the next in column j."""
    columns, start = upper.size, float(upper[j])
    down = row - start / (lower[j] - start)
    node = 3 * (row * columns + j)
    nodes[place] = node if down == row else (node + 3 * columns if down == row + 1 else node + 2)
    pixels[place] = int(np.rint(down)) * columns + j


@inlined_kernel
def _add_segment(start, end, start_pixel, end_pixel, oldest, first_open, points, contours, starts, ends, used):
    """Chain the line from one node to another to the contours that meet it."""
    if start == end:
        return  # a corner of exactly zero: a neighbouring square passes through it
    tail = _look_up(starts, end, _slot(end, first_open, starts.shape[0]))
    head = _look_up(ends, start, _slot(start, first_open, ends.shape[0]))
    if tail >= 0 and head >= 0 and tail != head:
        _join(points, contours, starts, ends, oldest=oldest, first_open=first_open, head=head, tail=tail)
    elif tail >= 0 and head < 0:
        contours[tail, FIRST] = _new_point(points, used, start_pixel, contours[tail, FIRST])
        contours[tail, FIRST_NODE] = start
        _enter(starts, start, oldest, first_open, tail)
    elif head >= 0:
        number = _new_point(points, used, end_pixel, -1)
        points[contours[head, LAST], NEXT] = number
        contours[head, LAST], contours[head, LAST_NODE] = number, end
        if tail < 0:  # else the contour is closed
            _enter(ends, end, oldest, first_open, head)
    else:
        number = _new_contour(points, contours, used, start, end, start_pixel=start_pixel, end_pixel=end_pixel)
        _enter(starts, start, oldest, first_open, number)
        _enter(ends, end, oldest, first_open, number)


@kernel
def _join(points, contours, starts, ends, oldest, first_open, head, tail):
    """Put two contours together under the number of the older one."""
    points[contours[head, LAST], NEXT] = contours[tail, FIRST]
    kept = min(head, tail)
    contours[max(head, tail), ALIVE] = 0
    contours[kept, FIRST], contours[kept, FIRST_NODE] = contours[head, FIRST], contours[head, FIRST_NODE]
    contours[kept, LAST], contours[kept, LAST_NODE] = contours[tail, LAST], contours[tail, LAST_NODE]
    _enter(starts, contours[kept, FIRST_NODE], oldest, first_open, kept)
    _enter(ends, contours[kept, LAST_NODE], oldest, first_open, kept)


@kernel
def _new_contour(points, contours, used, start, end, start_pixel, end_pixel):
    """Append a contour of two points and return its number."""
    number = used[1]
    used[1] = number + 1
    contours[number, LAST] = _new_point(points, used, end_pixel, -1)
    contours[number, FIRST] = _new_point(points, used, start_pixel, contours[number, LAST])
    contours[number, FIRST_NODE], contours[number, LAST_NODE] = start, end
    contours[number, ALIVE] = 1
    return number


@kernel
def _new_point(points, used, pixel, following):
    """Append a point and return its number."""
    number = used[0]
    points[number, PIXEL] = pixel
    points[number, NEXT] = following
    used[0] = number + 1
    return number


@kernel
def _look_up(table, node, slot):
    """Take the contour that begins (or ends) at a node out of the table; -1 where there is none."""
    if table[slot, 0] != node:
        return -1
    table[slot, 0] = -1
    return table[slot, 1]


@kernel
def _enter(table, node, oldest, first_open, contour):
    """Note that a contour begins (or ends) at a node; nodes before the oldest open one are never looked up again."""
    if node >= oldest:
        slot = _slot(node, first_open, table.shape[0])
        table[slot, 0] = node
        table[slot, 1] = contour


@kernel
def _slot(node, first_open, size):
    """Return the place of an open node in the tables, which hold two rows of nodes in turn."""
    slot = node - first_open
    return slot - size if slot >= size else slot


@kernel
def _with_room(rows, used, needed):
    """Return the array, twice as long where fewer than `needed` rows are left."""
    if used + needed <= rows.shape[0]:
        return rows
    longer = np.empty((2 * rows.shape[0] + needed, rows.shape[1]), rows.dtype)
    longer[:used] = rows[:used]
    return longer


@kernel
def _walk_contours(points, firsts, columns):
    """Walk along the contours of an image of at least 4 columns; return how often each of `STEP_ANGLES` comes (closing

    steps excluded), and for each contour the angle of the step from its last point to its first and the bending energy.
    """
    counts = np.zeros(STEP_ANGLES.size, np.int64)
    closing, energies = np.empty(firsts.size), np.empty(firsts.size)
    for k in range(firsts.size):
        pixel = first_pixel = points[firsts[k], PIXEL]
        following = points[firsts[k], NEXT]
        length, energy, first_angle, angle = 1, 0.0, 0.0, 0.0
        while following >= 0:
            step = points[following, PIXEL] - pixel
            down = int(step > 1) - int(step < -1)
            code = 3 * (down + 1) + step - down * columns + 1
            counts[code] += 1
            turned = STEP_ANGLES[code] - angle
            if length == 1:
                turned, first_angle = 0.0, STEP_ANGLES[code]
            energy += turned * turned
            angle = STEP_ANGLES[code]
            pixel, following = points[following, PIXEL], points[following, NEXT]
            length += 1
        closing[k] = _step_angle(first_pixel // columns - pixel // columns, first_pixel % columns - pixel % columns)
        energy += (angle - closing[k]) ** 2 + (closing[k] - first_angle) ** 2
        energies[k] = energy / length
    return counts, closing, energies


@kernel
def _step_angle(down, right):
    """Return the angle of a step: atan(right / down); without a row step 3 pi/2 to the left, else pi/2."""
    if down != 0:
        return math.atan(right / down)
    return 1.5 * math.pi if right < 0 else 0.5 * math.pi


@kernel
def _mask_counts(points, magnitude):
    """Count the mask's pixels of at least 0.2 times its largest gradient, their fragments, and all its pixels."""
    rows, columns = magnitude.shape
    mask = np.zeros((rows + 2) * (columns + 2), np.uint8)  # a frame of zeros spares the tests at the edges
    pixels = np.empty(points.shape[0], np.int64)
    gradients = np.empty(points.shape[0])
    number, largest = 0, 0.0
    for k in range(points.shape[0]):
        i, j = points[k, PIXEL] // columns, points[k, PIXEL] % columns
        framed = (i + 1) * (columns + 2) + j + 1
        if mask[framed] == 0:
            mask[framed] = 1
            pixels[number], gradients[number] = framed, magnitude[i, j]
            largest = max(largest, gradients[number])
            number += 1
    strong = 0
    for k in range(number):
        if gradients[k] >= STRONG * largest:
            mask[pixels[k]] = 2
            pixels[strong] = pixels[k]
            strong += 1
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
