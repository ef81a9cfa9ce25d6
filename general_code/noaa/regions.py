"""Active regions: their numbers, keys that sort by region and time, and where a region is on a day.

References
----------
Meeus 1998, Astronomical Algorithms, 2nd ed., chapters 25 (longitude of the Sun) and 29 (heliographic coordinates).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

ROLL_OVER = np.datetime64("2002-06-14"), np.datetime64("2002-08-14")  # 0000 was region 10000 then, else it means none
KEY_BITS = 41  # a key of region and time is region * 2**41 + seconds since 1970: room for tens of thousands of years
LONGEST_SPAN = 1 << (KEY_BITS - 1)  # a time plus or minus this stays among the keys of its region [s]
_UNIX_EPOCH_JD = 2440587.5


# ---------------------------------------------------------------------------- numbers


def region_number(number: str | int) -> str:
    """Return an active region's number as NOAA's texts write it.

    Parameters
    ----------
    number : str or int
        Four or five digits, `1158` and `11158` alike; an int may have fewer: 5 is `0005`.

    Returns
    -------
    str
        Four digits.

    Raises
    ------
    ValueError
        For anything else.
    """
    text = f"{number:04d}" if isinstance(number, int | np.integer) and number >= 0 else str(number).strip()
    if not re.fullmatch(r"[0-9]{4,5}", text):
        raise ValueError(f"active region '{number}' is not a NOAA number of four or five digits, like 1158 or 11158")
    return text[-4:]


def is_region(region: str, date: np.datetime64) -> bool:
    """Tell whether a report's region column names one: blank and 0000 do not, but 0000 was region 10000 in 2002."""
    return bool(region) and (region != "0000" or bool(ROLL_OVER[0] <= date < ROLL_OVER[1]))


def region_codes(regions: Sequence[str]) -> np.ndarray:
    """Return active regions' numbers as integers, modulo 10,000.

    Parameters
    ----------
    regions : sequence of str, shape (m,)
        Four or five digits; fast for millions of texts of which few differ.

    Returns
    -------
    numpy.ndarray
        int64, shape (m,); -1 for a text that is no number.
    """
    places, distinct = pd.factorize(np.asarray(regions, dtype=object))
    texts = [str(text) for text in distinct]
    codes = [int(text) % 10000 if re.fullmatch("[0-9]{4,5}", text) else -1 for text in texts]
    return np.array([*codes, -1], dtype=np.int64)[places]  # a missing text has place -1


# ---------------------------------------------------------------------------- keys of region and time


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


def whole_seconds(hours: float, minutes: float = 0.0) -> int:
    """Return the length of a window, before or after an image, in seconds.

    Parameters
    ----------
    hours, minutes : float
        [h] and [min], of any size; their sum counts.

    Returns
    -------
    int
        Up to a whole second, but for rounding errors: times are whole seconds, so nothing lies between. At most
        `LONGEST_SPAN`, which is longer than any record.
    """
    return int(min(np.ceil(round(hours * 3600 + minutes * 60, 6)), LONGEST_SPAN))


# ---------------------------------------------------------------------------- positions


class Positions(NamedTuple):
    """Heliographic positions at 00:00 of days: arrays of shape (m,)."""

    latitude: np.ndarray  # [deg], north positive; NaN where the region has no position
    longitude: np.ndarray  # from the central meridian [deg], west positive; NaN likewise
    has_row: np.ndarray  # bool: the day's summary lists the region; else it is interpolated, or there is none


def region_positions(regions: Sequence[str], days: np.ndarray, table: pd.DataFrame) -> Positions:
    """Return the positions of regions on days.

    Parameters
    ----------
    regions : sequence of str, shape (m,)
        NOAA numbers.
    days : numpy.ndarray, shape (m,)
        datetime64; the time of day does not matter, NaT has no position.
    table : pandas.DataFrame
        Rows of section I: `region`, `date`, `latitude`, `longitude`, `carrington_longitude`.

    Returns
    -------
    Positions
        The row of the day; between two rows latitude and Carrington longitude are interpolated to 00:00 of the day;
        before a region's first row and after its last there is no position (NaN).
    """
    images = pd.DataFrame({"region": region_codes(regions), "date": _midnights(days)})
    wanted = images.drop_duplicates().dropna().sort_values("date")
    day = _midnights(table["date"])
    rows = table.astype(dict.fromkeys(("latitude", "longitude", "carrington_longitude"), float)).assign(
        region=region_codes(table["region"]), date=day, row_date=day)
    rows = rows.sort_values("date", kind="stable").drop_duplicates(["region", "date"])
    by_location = disk_centre_longitude(rows["date"].to_numpy()) + rows["longitude"]
    rows["carrington_longitude"] = rows["carrington_longitude"].fillna(by_location)
    before, after = (pd.merge_asof(wanted, rows, on="date", by="region", direction=direction)
                     for direction in ("backward", "forward"))
    # where one of the two is missing, so is the position
    has_row = before["row_date"] == before["date"]
    share = ((before["date"] - before["row_date"]) / (after["row_date"] - before["row_date"])).fillna(0.0)
    latitude = before["latitude"] + share * (after["latitude"] - before["latitude"])
    turned = wrap_longitude(after["carrington_longitude"] - before["carrington_longitude"])  # the short way
    carrington = before["carrington_longitude"] + share * turned
    longitude = wrap_longitude(carrington - disk_centre_longitude(before["date"].to_numpy()))
    found = before[["region", "date"]].assign(latitude=latitude, has_row=has_row,
                                              longitude=before["longitude"].where(has_row, longitude))
    placed = images.merge(found, how="left", on=["region", "date"])
    return Positions(placed["latitude"].to_numpy(), placed["longitude"].to_numpy(),
                     placed["has_row"].eq(True).to_numpy())


def _midnights(times: Sequence) -> np.ndarray:
    """Return 00:00 of the day of each time, as datetime64[s]."""
    return np.asarray(times).astype("datetime64[D]").astype("datetime64[s]")


def disk_centre_longitude(days: np.ndarray) -> np.ndarray:
    """Return the Carrington longitude of the disk's centre, L0, at 00:00 UTC of days [deg, 0 to 360, to about 0.01].

    References
    ----------
    Meeus 1998, chapters 25 and 29; example 29.a: 238.63 on 1992 October 13.
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
    """Return angles [deg] from -180 (included) to 180 (excluded); NaN stays NaN."""
    return (np.asarray(longitude) + 180) % 360 - 180


def rotation_rate(latitude: np.ndarray) -> np.ndarray:
    """Return the rate at which a region moves in longitude from the central meridian.

    Parameters
    ----------
    latitude : array_like
        Heliographic [deg].

    Returns
    -------
    numpy.ndarray
        Synodic [deg/day], 13.7 at the equator.

    References
    ----------
    Snodgrass & Ulrich 1990, ApJ 351, 309 (sidereal); 0.9856 deg/day is the mean motion of the Earth.
    """
    squared = np.sin(np.radians(latitude)) ** 2
    return 14.713 - 2.396 * squared - 1.787 * squared**2 - 0.9856
