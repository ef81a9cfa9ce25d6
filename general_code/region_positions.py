"""Where an active region is on a day, from the rows of the region summaries.

References
----------
Meeus 1998, Astronomical Algorithms, 2nd ed., chapter 29 (heliographic longitude of the disk's centre).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from general_code.noaa_text import region_codes
from general_code.sorted_search import KEY_BITS, region_time_keys

_UNIX_EPOCH_JD = 2440587.5


class Positions(NamedTuple):
    """Heliographic positions at 00:00 of the days asked for; arrays of shape (m,).

    Attributes
    ----------
    latitude, longitude : numpy.ndarray
        [deg], north and west positive, longitude from the central meridian; NaN where the region has no position.
    has_row : numpy.ndarray
        bool, True where the day's summary lists the region, False where the position is interpolated or there is none.
    """

    latitude: np.ndarray
    longitude: np.ndarray
    has_row: np.ndarray


def region_positions(regions: Sequence[str], days: np.ndarray, table: pd.DataFrame) -> Positions:
    """Return the positions of regions on days.

    Parameters
    ----------
    regions : sequence of str, shape (m,)
        NOAA numbers, four digits.
    days : numpy.ndarray, shape (m,)
        datetime64; the time of day is passed over, NaT has no position.
    table : pandas.DataFrame
        Rows of section I: `region`, `date`, `latitude`, `longitude`, `carrington_longitude`.

    Returns
    -------
    Positions
        The row of the day; between two rows latitude and Carrington longitude are interpolated to 00:00 of the day;
        before a region's first row and after its last there is no position (NaN).
    """
    dates = np.asarray(days).astype("datetime64[D]")
    wanted, inverse = np.unique(region_time_keys(region_codes(regions), dates), return_inverse=True)
    rows = table.assign(key=region_time_keys(region_codes(table["region"]), table["date"].to_numpy("datetime64[D]")))
    rows = rows.sort_values("key", kind="stable").drop_duplicates("key")
    if rows.empty:
        nothing = np.full(len(dates), np.nan)
        return Positions(nothing, nothing.copy(), np.zeros(len(dates), dtype=bool))
    positions = _positions_of_keys(wanted, rows)
    return Positions(*(column[inverse] for column in positions))


def disk_centre_longitude(days: np.ndarray) -> np.ndarray:
    """Return the Carrington longitude of the disk's centre, L0, at 00:00 UTC.

    Parameters
    ----------
    days : numpy.ndarray
        datetime64.

    Returns
    -------
    numpy.ndarray
        [deg], 0 to 360, to about 0.01 degrees.

    References
    ----------
    Meeus 1998, chapters 25 (longitude of the Sun) and 29; example 29.a: 238.63 on 1992 October 13.
    """
    julian_day = np.asarray(days).astype("datetime64[D]").astype(np.float64) + _UNIX_EPOCH_JD
    century = (julian_day - 2451545.0) / 36525
    anomaly = np.radians(357.52911 + 35999.05029 * century - 0.0001537 * century**2)
    equation = ((1.914602 - 0.004817 * century) * np.sin(anomaly) + 0.019993 * np.sin(2 * anomaly)
                + 0.000289 * np.sin(3 * anomaly))
    sun = 280.46646 + 36000.76983 * century + 0.0003032 * century**2 + equation - 0.00569  # apparent, no nutation
    node = 73.6667 + 1.3958333 * (julian_day - 2396758) / 36525
    from_node, tilt = np.radians(sun - node), np.radians(7.25)
    eta = np.degrees(np.arctan2(-np.sin(from_node) * np.cos(tilt), -np.cos(from_node)))
    return (eta - (julian_day - 2398220) * 360 / 25.38) % 360


def wrap_longitude(longitude: np.ndarray) -> np.ndarray:
    """Bring angles to -180 (included) to 180 (excluded).

    Parameters
    ----------
    longitude : numpy.ndarray
        [deg].

    Returns
    -------
    numpy.ndarray
        [deg]; NaN stays NaN.
    """
    return (np.asarray(longitude) + 180) % 360 - 180


def _positions_of_keys(wanted: np.ndarray, rows: pd.DataFrame) -> Positions:
    """Return positions for sorted keys of region and midnight; `rows` has one row a key, sorted."""
    keys = rows["key"].to_numpy()
    after = np.clip(np.searchsorted(keys, wanted), 0, len(keys) - 1)
    has_row = keys[after] == wanted
    before = np.where(has_row, after, np.maximum(after - 1, 0))
    region = wanted >> KEY_BITS
    inside = ((keys[before] >> KEY_BITS == region) & (keys[after] >> KEY_BITS == region)
              & (keys[before] <= wanted) & (keys[after] >= wanted))
    share = (wanted - keys[before]) / np.maximum(keys[after] - keys[before], 1)
    latitudes, longitudes = rows["latitude"].to_numpy(float), rows["longitude"].to_numpy(float)
    days, row_days = _key_days(wanted), _key_days(keys)
    carrington = rows["carrington_longitude"].to_numpy(float)
    carrington = np.where(np.isnan(carrington), disk_centre_longitude(row_days) + longitudes, carrington)
    latitude = latitudes[before] + share * (latitudes[after] - latitudes[before])
    between = carrington[before] + share * wrap_longitude(carrington[after] - carrington[before])
    interpolated = wrap_longitude(between - disk_centre_longitude(days))
    longitude = np.where(has_row, longitudes[after], interpolated)
    return Positions(np.where(inside, latitude, np.nan), np.where(inside, longitude, np.nan), has_row)


def _key_days(keys: np.ndarray) -> np.ndarray:
    """Return the days in keys of region and time: datetime64[D]."""
    return (keys & ((1 << KEY_BITS) - 1)).astype("datetime64[s]").astype("datetime64[D]")
