"""NOAA/SWPC texts: daily Solar Region Summaries (SRS) and edited event reports, 1996 to today.

What a line says is taken or, with file and line, reported; no value is guessed. Dates are those of the file
names: a summary's locations are valid at 00:00 UTC of that date, an event report lists what began on it.
"""

import re
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

from general_code.noaa_flare_rows import FlareRow, parse_flare_row
from general_code.noaa_text import (
    Problem,
    date_stamp,
    header_problems,
    read_lines,
    read_text,
    region_number,
    report_date,
    split_lines,
)

TRUNCATED_REPORT = "truncated event report"
UNREADABLE_ROW, IMPOSSIBLE_RISE = "row does not parse", "maximum before begin"
ROW_COLUMNS = 80
LOST_FLARES = {TRUNCATED_REPORT, UNREADABLE_ROW, IMPOSSIBLE_RISE}  # faults of an event report that cost a flare
LONGEST_RISE = np.timedelta64(12, "h")  # from begin to maximum, or on to the end; 5.4 h is the longest of 2010-2018
MAGNETIC_TYPES = ("Alpha", "Beta", "Gamma", "Delta", "Beta-Gamma", "Beta-Delta", "Gamma-Delta", "Beta-Gamma-Delta")

NO_EVENTS = "NO EVENT REPORTS."
ROW_OF_SECTION_IA = 3  # fields: a region without spots has number, location and longitude

_LOCATION = re.compile(r"(?P<ns>[NS])(?P<latitude>\d{2})(?P<ew>[EW])(?P<longitude>\d{2,3})", re.IGNORECASE)
_MCINTOSH = re.compile(r"[A-H][XRSAHK][XOIC]", re.IGNORECASE)
_SECTION_I = re.compile(r"\s*I\.\s*REGIONS\s+WITH\s+SUNSPOTS", re.IGNORECASE)
_NEXT_SECTION = re.compile(r"\s*(IA|II|III)\b", re.IGNORECASE)
_COLUMN_TITLES = re.compile(r"\s*NMBR\s+LOCATION.*?MAG\s+TYPE(?P<rest>.*)", re.IGNORECASE)


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


class EventReport(NamedTuple):
    """A day's X-ray flares, when the report was made ("" if it does not say), and what could not be read."""

    date: date
    created: str
    rows: list[FlareRow]
    problems: list[Problem]

    @property
    def whole(self) -> bool:
        """Whether no flare of the report is known to be lost."""
        return not any(problem.reason in LOST_FLARES for problem in self.problems)


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
            problems.append(Problem(name, UNREADABLE_ROW, f"{name}, line {number}: {error}; row skipped"))
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
    if len(fields) in (0, 1, ROW_OF_SECTION_IA) or not re.fullmatch(r"\d{4,5}", fields[0]):
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
        the begin, or an end before the maximum, is on the next day; where that makes more than `LONGEST_RISE` it is
        no time after midnight but a mistake: the row, or its end, is not used, and reported. So is a last line
        without a line end: it may be cut off.

    Raises
    ------
    ValueError
        When the name gives no date, or the file is empty or not a text.
    OSError
        When it cannot be opened.
    """
    text = read_text(path)
    return parse_event_report(split_lines(text), report_date(path.name), path.name, text.rstrip("\x1a")[-1:] in "\r\n")


def parse_event_report(lines: list[str], day: date, name: str, ended: bool = True) -> EventReport:
    """Parse the lines of an event report.

    Parameters
    ----------
    lines : list of str
        Of the file.
    day : datetime.date
        By the file's name.
    name : str
        Of the file, for the problems.
    ended : bool, optional
        Whether the last line has its line end.

    Returns
    -------
    EventReport
        See `read_event_report`.
    """
    problems = header_problems(lines, day, name)
    if not ended and lines[-1].strip().upper() not in ("", NO_EVENTS) and not _fills_its_columns(lines[-1]):
        problems.append(Problem(name, TRUNCATED_REPORT, f"{name}, line {len(lines)}: '{lines[-1].strip()[:40]}' has no "
                                "line end; it is not used"))
        lines = lines[:-1]
    rows: list[FlareRow] = []
    reported = False
    for number, text in enumerate(lines, start=1):
        reported = reported or bool(re.match(r"#?Event\s+Begin", text, re.IGNORECASE))
        if text.startswith("#") or not re.search(r"\bXRA\b", text):
            continue
        try:
            row = parse_flare_row(text, day, number)
        except ValueError as error:
            problems.append(Problem(name, "row does not parse", f"{name}, line {number}: {error}; row skipped"))
            continue
        fault, row = _check_order(row)
        if fault:
            problems.append(Problem(name, fault, f"{name}, line {number}: '{text.strip()}'; "
                                    f"{'row' if row is None else 'its end'} not used"))
        rows += [row] if row else []
    if not reported and not rows:
        problems.append(Problem(name, TRUNCATED_REPORT, f"{name}, line {len(lines)}: no line 'Event Begin Max "
                                "End ...'; nothing to use"))
    return EventReport(day, date_stamp(lines), rows, problems)


def _fills_its_columns(line: str) -> bool:
    """Tell whether a row is whole though its line end is missing: the region, in its last columns, is there."""
    return len(line.rstrip()) == ROW_COLUMNS and line.rstrip()[-4:].isdigit()


def _check_order(row: FlareRow) -> tuple[str, FlareRow | None]:
    """Return what is wrong with the order of a row's times, and what of the row can be used."""
    if _moved_too_far(row.begin, row.maximum):
        return IMPOSSIBLE_RISE, None
    if _moved_too_far(row.begin if np.isnat(row.maximum) else row.maximum, row.end):
        return "end before maximum", row._replace(end=np.datetime64("NaT", "s"))
    return "", row


def _moved_too_far(earlier: np.datetime64, later: np.datetime64) -> bool:
    """Tell whether a time was put on the next day without being one shortly after midnight; False without a time."""
    next_day = later.astype("datetime64[D]") > earlier.astype("datetime64[D]")
    return bool(next_day and later - earlier > LONGEST_RISE)
