"""NOAA/SWPC texts: daily Solar Region Summaries (SRS) and edited event reports, 1996 to today.

What a line says is taken or, with file and line, reported; no value is guessed. Dates are those of the file
names: a summary's locations are valid at 00:00 UTC of that date, an event report lists what began on it.
"""

import re
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

from general_code.noaa_text import Problem, date_stamp, header_problems, read_lines, region_number, report_date

MAGNETIC_TYPES = ("Alpha", "Beta", "Gamma", "Delta", "Beta-Gamma", "Beta-Delta", "Gamma-Delta", "Beta-Gamma-Delta")

_LOCATION = re.compile(r"(?P<ns>[NS])(?P<latitude>\d{2})(?P<ew>[EW])(?P<longitude>\d{2,3})", re.IGNORECASE)
_MCINTOSH = re.compile(r"[A-H][XRSAHK][XOIC]", re.IGNORECASE)
_SECTION_I = re.compile(r"\s*I\.\s*REGIONS\s+WITH\s+SUNSPOTS", re.IGNORECASE)
_NEXT_SECTION = re.compile(r"\s*(IA|II|III)\.\s", re.IGNORECASE)
_COLUMN_TITLES = re.compile(r"\s*NMBR\s+LOCATION.*?MAG\s+TYPE(?P<rest>.*)", re.IGNORECASE)
_CLOCK = r"(?P<{0}_flag>[ABU]?)(?P<{0}>\d{{4}}|////)"
_XRAY_ROW = re.compile(
    r"\s*(?P<number>\d{1,4})?\s*(?P<plus>\+)?\s+" + r"\s+".join(_CLOCK.format(c) for c in ("begin", "max", "end"))
    + r"\s+(?P<observatory>\S{2,3})\s+(?:\S\s+)?XRA\s+(?:\d\S*-\S+\s+)?(?P<flare_class>[ABCMX]\d{1,2}(?:\.\d*)?)"
    r"(?:\s+\d\S*E\S*)?(?:\s+(?P<region>\d{4,5}))?\s*", re.IGNORECASE)


class SummaryRow(NamedTuple):
    """A sunspot region on a day: one row of section I.

    Attributes
    ----------
    region : str
        NOAA number, four digits.
    date : datetime.date
        The location is valid at 00:00 UTC of it.
    latitude, longitude : float
        Heliographic [deg], north and west positive; longitude from the central meridian.
    carrington_longitude : float
        [deg], 0 to 360; NaN where the row does not say.
    area : float
        [millionths of the solar hemisphere]; NaN where the row does not say.
    mcintosh : str
        Modified Zurich class, spelled like `Dkc`; "" where the row does not say.
    extent : float
        Longitudinal extent, column LL [deg]; NaN where the row does not say.
    spots : float
        Number of spots, column NN; NaN where the row does not say.
    magnetic_type : str
        Mount Wilson class, one of `MAGNETIC_TYPES`; "" where the row does not say.
    line : int
        Of the file, from 1.
    """

    region: str
    date: date
    latitude: float
    longitude: float
    carrington_longitude: float
    area: float
    mcintosh: str
    extent: float
    spots: float
    magnetic_type: str
    line: int


class RegionSummary(NamedTuple):
    """A daily summary: section I, when it was issued ("" if it does not say), and what could not be read."""

    date: date
    issued: str
    rows: list[SummaryRow]
    problems: list[Problem]


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


class EventReport(NamedTuple):
    """A day's X-ray flares, when the report was made ("" if it does not say), and what could not be read."""

    date: date
    created: str
    rows: list[FlareRow]
    problems: list[Problem]


# ---------------------------------------------------------------------------- region summaries


def read_region_summary(path: Path) -> RegionSummary:
    """Read section I of a Solar Region Summary, whatever its vintage.

    Parameters
    ----------
    path : Path
        Named `YYYYMMDDSRS.txt`.

    Returns
    -------
    RegionSummary
        A row whose number or location cannot be read is left out; another field that cannot be read is left
        empty (NaN or ""). Both are in `problems`, as is a file without section I or cut off before section II.

    Raises
    ------
    ValueError
        When the name gives no date, or the file is empty or not a text.
    OSError
        When it cannot be opened.
    """
    return parse_region_summary(read_lines(path), report_date(path.name), path.name)


def parse_region_summary(lines: list[str], day: date, name: str) -> RegionSummary:
    """Parse the lines of a summary.

    Parameters
    ----------
    lines : list of str
        Of the file.
    day : datetime.date
        By the file's name.
    name : str
        Of the file, for the problems.

    Returns
    -------
    RegionSummary
        See `read_region_summary`.
    """
    problems = header_problems(lines, day, name)
    section, complete = _section_one(lines)
    if not complete:
        found = "ends before section II" if section else "no line 'I. Regions with Sunspots'"
        problems.append(Problem(name, "truncated region summary", f"{name}, line {len(lines)}: {found}; "
                                f"{'the rows before it are used' if section else 'nothing to use'}"))
    rows: dict[str, SummaryRow] = {}
    for number, text in section:
        try:
            row, faults = _parse_summary_row(text, day, number)
        except ValueError as error:
            problems.append(Problem(name, "row does not parse", f"{name}, line {number}: {error}; row skipped"))
            continue
        if row.region in rows:
            faults.append(f"region {row.region} stands on line {rows[row.region].line} already; row skipped")
        rows.setdefault(row.region, row)
        problems += [Problem(name, "field does not parse", f"{name}, line {number}: {fault}") for fault in faults]
    return RegionSummary(day, date_stamp(lines), list(rows.values()), problems)


def parse_location(text: str) -> tuple[float, float]:
    """Return where on the disk a location is.

    Parameters
    ----------
    text : str
        Like `N12W30`.

    Returns
    -------
    tuple of float
        Heliographic latitude and longitude [deg], north and west positive.

    Raises
    ------
    ValueError
        When the text is not of that form, or points off the Sun.
    """
    match = _LOCATION.fullmatch(text)
    if match is None or int(match["latitude"]) > 90 or int(match["longitude"]) > 180:
        raise ValueError(f"location '{text}' is not like N12W30")
    latitude = float(match["latitude"]) * (1 if match["ns"].upper() == "N" else -1)
    longitude = float(match["longitude"]) * (1 if match["ew"].upper() == "W" else -1)
    return latitude + 0.0, longitude + 0.0  # 0.0 rather than -0.0 for S00 and E00


def _section_one(lines: list[str]) -> tuple[list[tuple[int, str]], bool]:
    """Return the numbered lines of section I below its title that may be rows, and whether a later section follows."""
    section: list[tuple[int, str]] = []
    inside = False
    for number, text in enumerate(lines, start=1):
        if not inside:
            inside = _SECTION_I.match(text) is not None
            continue
        if _NEXT_SECTION.match(text):
            return section, True
        titles = _COLUMN_TITLES.match(text)
        text = (titles["rest"] if titles else text).strip()  # a row can be joined to the column titles
        if text and not text.startswith("#") and text.upper() != "NONE":
            section.append((number, text))
    return section, False


def _parse_summary_row(text: str, day: date, line: int) -> tuple[SummaryRow, list[str]]:
    """Return a row of section I and what is wrong with its lesser fields; ValueError without number and location."""
    fields = text.split()
    if len(fields) < 2 or not re.fullmatch(r"\d{4,5}", fields[0]):
        raise ValueError(f"'{text[:40]}' is not a row like '2246 N19W56   108  0070 Hsx  01   01 Alpha'")
    region, (latitude, longitude) = region_number(fields[0]), parse_location(fields[1])
    faults: list[str] = []
    if len(fields) != 8:
        faults.append(f"{len(fields)} fields, expected 8; number and location used, the others left empty")
        fields = [*fields[:2], *[""] * 6]
    values = [_numeric_field(fields[column], title, largest, faults)
              for column, title, largest in ((2, "Lo", 360), (3, "Area", 9999), (5, "LL", 180), (6, "NN", 999))]
    mcintosh = _word_field(fields[4].capitalize(), "Z", _MCINTOSH.fullmatch(fields[4]), faults)
    magnetic = _word_field(fields[7].title(), "Mag Type", fields[7].title() in MAGNETIC_TYPES, faults)
    carrington, area, extent, spots = values
    row = SummaryRow(region, day, latitude, longitude, carrington, area, mcintosh, extent, spots, magnetic, line)
    return row, faults


def _numeric_field(text: str, title: str, largest: int, faults: list[str]) -> float:
    """Return a whole number from 0 to `largest`, or NaN, then with a fault unless the field is empty."""
    if text.isascii() and text.isdigit() and int(text) <= largest:
        return float(text)
    if text:
        faults.append(f"{title} '{text}' is not a whole number from 0 to {largest}; field left empty")
    return np.nan


def _word_field(text: str, title: str, known: object, faults: list[str]) -> str:
    """Return a word if it is a known one, else "", then with a fault unless the field is empty."""
    if known:
        return text
    if text:
        faults.append(f"{title} '{text}' is not one of NOAA's classes; field left empty")
    return ""


# ---------------------------------------------------------------------------- event reports


def read_event_report(path: Path) -> EventReport:
    """Read the X-ray flares (XRA rows) of an edited event report, whatever its vintage.

    Parameters
    ----------
    path : Path
        Named `YYYYMMDDevents.txt`.

    Returns
    -------
    EventReport
        An XRA row that cannot be read is in `problems`; other types of event are passed over. A maximum before
        the begin, or an end before the maximum, is on the next day.

    Raises
    ------
    ValueError
        When the name gives no date, or the file is empty or not a text.
    OSError
        When it cannot be opened.
    """
    return parse_event_report(read_lines(path), report_date(path.name), path.name)


def parse_event_report(lines: list[str], day: date, name: str) -> EventReport:
    """Parse the lines of an event report.

    Parameters
    ----------
    lines : list of str
        Of the file.
    day : datetime.date
        By the file's name.
    name : str
        Of the file, for the problems.

    Returns
    -------
    EventReport
        See `read_event_report`.
    """
    problems = header_problems(lines, day, name)
    rows: list[FlareRow] = []
    reported = False
    for number, text in enumerate(lines, start=1):
        reported = reported or bool(re.match(r"#?Event\s+Begin", text, re.IGNORECASE))
        if text.startswith("#") or not re.search(r"\bXRA\b", text):
            continue
        try:
            rows.append(_parse_flare_row(text, day, number))
        except ValueError as error:
            problems.append(Problem(name, "row does not parse", f"{name}, line {number}: {error}; row skipped"))
    if not reported and not rows:
        problems.append(Problem(name, "truncated event report", f"{name}, line {len(lines)}: no line 'Event Begin Max "
                                "End ...'; nothing to use"))
    return EventReport(day, date_stamp(lines), rows, problems)


def _parse_flare_row(text: str, day: date, line: int) -> FlareRow:
    """Return an XRA row; ValueError when it is not like NOAA's."""
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
