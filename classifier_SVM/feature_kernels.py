"""Compiled passes over the pixels: units, gradient, wavelet and flux.

Each kernel takes whole numbers (int32) or float64; sums of whole numbers are exact in any order. Sums run per column,
which the compiler turns into vector instructions without reordering any addition (no fastmath). The compiled code is
kept on disk (`cache=True`); NUMBA_DISABLE_JIT=1 runs the same lines in Python. Plain versions: tests/plain_features.py.
"""

import math

import numba
import numpy as np

kernel = numba.njit(cache=True, error_model="numpy", nogil=True)
inlined_kernel = numba.njit(cache=True, error_model="numpy", nogil=True, inline="always")

LARGEST_WHOLE = 500_000  # with it the sums over the coarsest wavelet block (1024 pixels) fit an int32
TENTHS_TOLERANCE = 1e-6  # farthest from a whole tenth that still counts as one, so that a box sum of zero is zero
EXACT_TOLERANCE = 1e-10  # rounding of 0.1 k for any k below LARGEST_WHOLE


@kernel
def whole_numbers(field, factor, whole):
    """Write `rint(factor * field)` to `whole`; tell whether all pixels are near whole, are whole, and are the same.

    Parameters
    ----------
    field : numpy.ndarray
        float64, shape (ny, nx); NaN and infinite pixels are not near whole.
    factor : float
        1 for grey levels, 10 for whole tenths of a gauss.
    whole : numpy.ndarray
        int32, shape (ny, nx); valid where the first answer is True.

    Returns
    -------
    near, exact, same : bool
        All within `TENTHS_TOLERANCE` (and small enough for int32); all within rounding; all pixels equal.
    """
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
def flux_sums(field):
    """Return the sums of the positive and of the negative pixels.

    Parameters
    ----------
    field : numpy.ndarray
        int32 or float64, shape (ny, nx), finite.

    Returns
    -------
    positive, negative : float
        In units of the field; negative is at most 0.
    """
    rows, columns = field.shape
    positive, negative = np.zeros(columns), np.zeros(columns)
    for i in range(rows):
        line = field[i]
        for j in range(columns):
            positive[j] += max(line[j], 0)
            negative[j] += min(line[j], 0)
    return positive.sum(), negative.sum()


@kernel
def sobel_magnitude(field, magnitude):
    """Write the Sobel gradient's magnitude and return its sum, smallest and largest value.

    Parameters
    ----------
    field : numpy.ndarray
        int32 or float64, shape (ny, nx), finite; zero outside.
    magnitude : numpy.ndarray
        float64, shape (ny, nx).

    Returns
    -------
    total, smallest, largest : float
        In units of the field.
    """
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
def central_moments(values, mean, low, high, between):
    """Return the sums of the powers 2, 3, 4 about the mean, and collect the values around the median.

    Parameters
    ----------
    values : numpy.ndarray
        float64, shape (ny, nx).
    mean : float
        Of the values.
    low, high : float
        A bracket that should hold the median.
    between : numpy.ndarray
        float64, shape (ny * nx + 1,); its first `inside` places get the values in low..high.

    Returns
    -------
    second, third, fourth : float
        Sums over all values.
    below, inside : int
        Number of values under `low`, and number collected.
    """
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
def haar_level(field, approximation):
    """Write the 2x2 block sums of a field and return the sum of the absolute details, both not normalized.

    Parameters
    ----------
    field : numpy.ndarray
        int32 or float64, shape (ny, nx). An odd last row or column is repeated once.
    approximation : numpy.ndarray
        Same type, shape ((ny + 1) // 2, (nx + 1) // 2).

    Returns
    -------
    float
        Sum of |horizontal| + |vertical| + |diagonal| detail over all blocks.
    """
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
