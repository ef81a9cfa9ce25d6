"""Sorting and bisection in place of nested loops: where the rows of one table stand among those of another.

Flares, images and daily rows are sorted by a key of region and time; a window of time is then a range of places.
"""

import numpy as np

KEY_BITS = 41  # a key of region and time is region * 2**41 + seconds since 1970: room for tens of thousands of years
LONGEST_SPAN = 1 << (KEY_BITS - 1)  # a time plus or minus this stays among the keys of its region [s]


def region_time_keys(regions: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return int64 keys that sort by region, then time: rows of two tables meet by bisection.

    Parameters
    ----------
    regions : numpy.ndarray, shape (m,)
        int64, NOAA numbers 0 to 9999, as `region_codes` gives them; -1 for none.
    times : numpy.ndarray, shape (m,)
        datetime64, 1970 or later.

    Returns
    -------
    numpy.ndarray
        int64, shape (m,): `region << KEY_BITS` plus seconds since 1970. Without a region or a time (NaT) a key that is
        `LONGEST_SPAN` and more before all others.
    """
    numbers = np.asarray(regions, dtype=np.int64)
    seconds = np.asarray(times).astype("datetime64[s]")
    known = (numbers >= 0) & ~np.isnat(seconds)
    return np.where(known, (numbers << KEY_BITS) + seconds.astype(np.int64), np.int64(-2) << KEY_BITS)


def whole_seconds(hours: float) -> int:
    """Return the length of a window, before or after an image, in seconds.

    Parameters
    ----------
    hours : float
        [h], of any size.

    Returns
    -------
    int
        Up to a whole second: times are whole seconds, so nothing lies between. At most `LONGEST_SPAN`, which is longer
        than any record.
    """
    return int(min(np.ceil(hours * 3600), LONGEST_SPAN))


def range_minimum(values: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the minimum of `values[left:right]` for many ranges, by a table of minima over 1, 2, 4, ... values.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
        int64, not negative.
    left, right : numpy.ndarray, shape (m,)
        int64, within 0..n.

    Returns
    -------
    numpy.ndarray
        int64, shape (m,); -1 for an empty range.
    """
    minimum = np.full(len(left), -1, dtype=np.int64)
    length = right - left
    table, span = values, 1
    while span <= length.max(initial=0):
        fits = np.flatnonzero((length >= span) & (length < 2 * span))
        minimum[fits] = np.minimum(table[left[fits]], table[right[fits] - span])
        table, span = np.minimum(table[:-span], table[span:]), 2 * span
    return minimum
