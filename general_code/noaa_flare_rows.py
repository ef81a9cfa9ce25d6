"""Rows of NOAA's edited event reports: the X-ray flares (type XRA) of the GOES satellites."""

import re
from datetime import date
from typing import NamedTuple

import numpy as np

from general_code.noaa_text import region_number

_CLOCK = r"(?P<{0}_flag>[ABU]?)(?P<{0}>\d{{4}}|////)"
_XRAY_ROW = re.compile(
    r"\s*(?P<number>\d{1,4})?\s*(?P<plus>\+)?\s+" + r"\s+".join(_CLOCK.format(c) for c in ("begin", "max", "end"))
    + r"\s+(?P<observatory>\S{2,3})\s+(?:\S\s+)?XRA\s+(?:\d\S*-\S+\s+)?(?P<flare_class>[ABCMX]\d{1,2}\.\d)"
    r"(?:\s+\d\S*E\S*)?(?:\s+(?P<region>\d{4,5}))?\s*", re.IGNORECASE)


class FlareRow(NamedTuple):
    """A GOES X-ray flare: one XRA row of an event report.

    Attributes
    ----------
    begin, maximum, end : numpy.datetime64
        UTC, to the second, on their right days; NaT where the row has `////`.
    flare_class : str
        Like `C5.7`.
    region : str
        NOAA number, four digits; "" for a flare that is attributed to no region.
    report_date : datetime.date
        Of the file: the day on which the flare began.
    line : int
        Of the file, from 1.
    """

    begin: np.datetime64
    maximum: np.datetime64
    end: np.datetime64
    flare_class: str
    region: str
    report_date: date
    line: int


def parse_flare_row(text: str, day: date, line: int) -> FlareRow:
    """Parse an XRA row of an event report.

    Parameters
    ----------
    text : str
        The row.
    day : datetime.date
        Of the report.
    line : int
        Of the file, from 1.

    Returns
    -------
    FlareRow
        A maximum before the begin, or an end before the maximum, is on the next day.

    Raises
    ------
    ValueError
        When the row is not like NOAA's.
    """
    if text[43:46] == "XRA":  # a blank time in its column is a missing one
        for column in (11, 18, 28):
            if not text[column:column + 4].strip():
                text = f"{text[:column]}////{text[column + 4:]}"
    match = _XRAY_ROW.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text.strip()}' is not an XRA row of begin, max, end, class and region")
    midnight = np.datetime64(day, "s")
    begin = _clock_time(match["begin"], midnight)
    maximum = _not_before(_clock_time(match["max"], midnight), begin)
    end = _not_before(_clock_time(match["end"], midnight), begin if np.isnat(maximum) else maximum)
    region = region_number(match["region"]) if match["region"] else ""
    return FlareRow(begin, maximum, end, match["flare_class"].upper(), region, day, line)


def _clock_time(clock: str, midnight: np.datetime64) -> np.datetime64:
    """Return HHMM of a day; NaT for `////`; ValueError for a time that does not exist."""
    if clock == "////":
        return np.datetime64("NaT", "s")
    hours, minutes = int(clock[:2]), int(clock[2:])
    if hours > 24 or minutes > 59 or (hours == 24 and minutes):
        raise ValueError(f"there is no time {clock}")
    return midnight + np.timedelta64(hours * 3600 + minutes * 60, "s")


def _not_before(time: np.datetime64, earlier: np.datetime64) -> np.datetime64:
    """Return a time that is not before an earlier one, a day later where it has to be."""
    return time + np.timedelta64(86400, "s") if time < earlier else time  # False where either is NaT
