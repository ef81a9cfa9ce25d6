"""NOAA/SWPC texts: daily Solar Region Summaries (SRS) and edited event reports, 1996 to today.

What a line says is used or, with file and line, reported; no value is guessed. Dates are those of the file names: a
summary's locations are valid at 00:00 UTC of that date, an event report lists what began on it.
"""

import re
from datetime import date, datetime
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import AfterValidator

from general_code.noaa.regions import is_region, region_number
from general_code.stage.run import Problem

REPORT_NAME = re.compile(r"(?P<date>(?:\d{4})?\d{4})(?P<kind>SRS|events)\.txt(?:\.gz)?", re.IGNORECASE)
UNREADABLE_ROW = "row does not parse"
TRUNCATED_REPORT, IMPOSSIBLE_RISE = "truncated event report", "maximum before begin"
MADE_EARLY = "report made before the end of its day"
LOST_FLARES = {TRUNCATED_REPORT, UNREADABLE_ROW, IMPOSSIBLE_RISE}  # faults of an event report that cost a flare
LONGEST_RISE = np.timedelta64(12, "h")  # from begin to maximum, or on to the end; 5.4 h is the longest of 2010-2018
MAGNETIC_TYPES = ("Alpha", "Beta", "Gamma", "Delta", "Beta-Gamma", "Beta-Delta", "Gamma-Delta", "Beta-Gamma-Delta")
NO_EVENTS = "NO EVENT REPORTS."
ROW_COLUMNS = 80  # of an event report
ROW_OF_SECTION_IA = 3  # fields: a region without spots has number, location and longitude

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE_LINE = re.compile(r"(?::Issued:|:Created:|:Date:|#?\s*EDITED EVENTS for)\s*(?P<year>\d{4})\s+(?P<month>\w{2,3})"
                        r"\s+(?P<day>\d{1,2})(?:\s+(?P<clock>\d{4}))?", re.IGNORECASE)
_CREATED = ":created"  # a line that may name a later day
_LOCATION = re.compile(r"(?P<ns>[NS])(?P<latitude>\d{2})(?P<ew>[EW])(?P<longitude>\d{2,3})", re.IGNORECASE)
_MCINTOSH = re.compile(r"[A-H][XRSAHK][XOIC]", re.IGNORECASE)
_SECTION_I = re.compile(r"\s*I\.\s*REGIONS\s+WITH\s+SUNSPOTS", re.IGNORECASE)
_NEXT_SECTION = re.compile(r"\s*(IA|II|III)\b", re.IGNORECASE)
_COLUMN_TITLES = re.compile(r"\s*NMBR\s+LOCATION.*?MAG\s+TYPE(?P<rest>.*)", re.IGNORECASE)
_CLOCK = r"(?P<{0}_flag>[ABU]?)(?P<{0}>\d{{4}}|////)"
_XRAY_ROW = re.compile(
    r"\s*(?P<number>\d{1,4})?\s*(?P<plus>\+)?\s+" + r"\s+".join(_CLOCK.format(c) for c in ("begin", "max", "end"))
    + r"\s+(?P<observatory>\S{2,3})\s+(?:\S\s+)?XRA\s+(?:\d\S*-\S+\s+)?(?P<flare_class>[ABCMX]\d{1,2}\.\d)"
    r"(?:\s+\d\S*E\S*)?(?:\s+(?P<region>\d{4,5}))?\s*", re.IGNORECASE)


# ---------------------------------------------------------------------------- texts and dates


def decode_report(data: bytes) -> str:
    """Return a report's text with LF line ends; ValueError when it is empty or not a text."""
    if not data.strip():
        raise ValueError("the file is empty")
    if re.search(rb"[\x00-\x08\x0e-\x19\x1b-\x1f]", data):  # a Ctrl-Z at the end is an old end of file
        raise ValueError("not a text file")
    return re.sub("\r\n?", "\n", data.removeprefix(b"\xef\xbb\xbf").decode("latin-1"))


def parse_day(text: str) -> date | None:
    """Return the day that a setting names.

    Parameters
    ----------
    text : str
        YYYYMMDD or "".

    Returns
    -------
    datetime.date or None
        None for "".

    Raises
    ------
    ValueError
        For anything else.
    """
    if not text:
        return None
    if re.fullmatch("[0-9]{8}", text):
        try:
            return datetime.strptime(text, "%Y%m%d").date()
        except ValueError:
            raise ValueError(f"there is no date {text}") from None
    raise ValueError(f"expected a date like 20100501, got '{text}'")


def _check_day(text: str) -> str:
    """Return a setting's day; "" is not one."""
    parse_day(text or "none")
    return text


Day = Annotated[str, AfterValidator(_check_day)]  # type of a setting: YYYYMMDD
OptionalDay = Annotated[str, AfterValidator(lambda text: text and _check_day(text))]  # or ""


def report_date(name: str, text: str) -> date:
    """Return the date of a report: by its name or, where that has no year, by its header, which has to agree."""
    digits = REPORT_NAME.fullmatch(name)["date"]
    if len(digits) == 8:
        return parse_day(digits)
    for _, line, day, _ in _header_dates(text.split("\n")):
        if day and f"{day:%m%d}" == digits and not line.lower().startswith(_CREATED):
            return day
    raise ValueError(f"its name has no year, and no line of its header names a day {digits[:2]}-{digits[2:]}")


def _header_dates(lines: list[str]) -> list[tuple[int, str, date | None, str | None]]:
    """Return number, text, date (None: there is no such date) and clock of the header lines that hold a date."""
    found = []
    for number, line in enumerate(lines[:15], start=1):
        match = _DATE_LINE.match(line)
        if match:
            month = match["month"].lower()
            try:
                day = date(int(match["year"]), int(month) if month.isdigit() else _MONTHS.index(month[:3]) + 1,
                           int(match["day"]))
            except ValueError:
                day = None
            found.append((number, match[0].strip(), day, match["clock"]))
    return found


def _header(lines: list[str], day: date, name: str) -> tuple[str, list[Problem]]:
    """Return when a product was made (`YYYYMMDD HHMM`, "") and the header lines that name another day than its name."""
    dates = _header_dates(lines)
    stamps = [f"{made:%Y%m%d} {clock}" for _, _, made, clock in dates if made and clock]
    others = [(number, line) for number, line, named, _ in dates
              if named != day and not line.lower().startswith(_CREATED)]
    problems = [Problem(name, "header names another day", f"{name}, line {number}: '{line}'; the date of the file name "
                        "is used", "headers") for number, line in others]
    return stamps[0] if stamps else "", problems


class Report(NamedTuple):
    """A day's summary or event report: its rows, when it was made (`YYYYMMDD HHMM` or ""), what could not be read."""

    date: date
    stamp: str
    rows: list
    problems: list[Problem]

    @property
    def whole(self) -> bool:
        """Whether an event report holds its whole day, and no flare is known to be lost."""
        return bool(self.until == np.datetime64(self.date, "s") + np.timedelta64(1, "D"))

    @property
    def until(self) -> np.datetime64:
        """Up to when all flares are known: the end of the day, or when it was made if before; NaT where one is lost."""
        if any(problem.reason in LOST_FLARES for problem in self.problems):
            return np.datetime64("NaT", "s")
        day = np.datetime64(self.date, "s")
        return self.made if self.made.astype("datetime64[D]") == day else day + np.timedelta64(1, "D")

    @property
    def made(self) -> np.datetime64:
        """The moment in `stamp`, NaT where there is none or its clock does not exist."""
        try:
            return np.datetime64(datetime.strptime(self.stamp, "%Y%m%d %H%M"), "s")
        except ValueError:
            return np.datetime64("NaT", "s")


# ---------------------------------------------------------------------------- region summaries


class SummaryRow(NamedTuple):
    """A sunspot region on a day: one row of section I; what it does not say is NaN or "" (not number and location)."""

    region: str  # NOAA number, four digits
    date: date  # the location is valid at 00:00 UTC of it
    latitude: float  # heliographic [deg], north positive
    longitude: float  # from the central meridian [deg], west positive
    carrington_longitude: float  # [deg], 0 to 360
    area: float  # [millionths of the solar hemisphere]
    mcintosh: str  # modified Zurich class, spelled like `Dkc`
    extent: float  # in longitude, column LL [deg]
    spots: float  # number of spots, column NN
    magnetic_type: str  # Mount Wilson class, one of `MAGNETIC_TYPES`
    line: int  # of the file, from 1


def parse_region_summary(text: str, day: date, name: str) -> Report:
    """Parse section I of a Solar Region Summary, whatever its vintage, of the day in the file's name.

    A row whose number or location cannot be read is skipped; another field that cannot be read is left empty (NaN or
    ""). Both are in `problems`, as is a file without section I or cut off before section II.
    """
    lines = text.removesuffix("\n").split("\n")
    stamp, problems = _header(lines, day, name)
    section, complete = _section_one(lines)
    if not complete:
        found = "ends before section II" if section else "no line 'I. Regions with Sunspots'"
        problems.append(Problem(name, "truncated region summary", f"{name}, line {len(lines)}: {found}; "
                                f"{'the rows before it are used' if section else 'nothing to use'}", "reports"))
    rows: dict[str, SummaryRow] = {}
    for number, row_text in section:
        try:
            row, faults = _parse_summary_row(row_text, day, number)
        except ValueError as error:
            problems.append(Problem(name, UNREADABLE_ROW, f"{name}, line {number}: {error}; row skipped", "rows"))
            continue
        if row.region in rows:
            faults.append(f"region {row.region} stands on line {rows[row.region].line} already; row skipped")
        rows.setdefault(row.region, row)
        problems += [Problem(name, "field does not parse", f"{name}, line {number}: {fault}", "fields")
                     for fault in faults]
    return Report(day, stamp, list(rows.values()), problems)


def parse_location(text: str) -> tuple[float, float]:
    """Return heliographic latitude and longitude [deg], north and west positive, of a location like `N12W30`."""
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
    carrington, area, extent, spots = (
        _numeric_field(fields[column], title, largest, faults)
        for column, title, largest in ((2, "Lo", 360), (3, "Area", 9999), (5, "LL", 180), (6, "NN", 999)))
    mcintosh = _word_field(fields[4].capitalize(), "Z", _MCINTOSH.fullmatch(fields[4]), faults)
    magnetic = _word_field(fields[7].title(), "Mag Type", fields[7].title() in MAGNETIC_TYPES, faults)
    row = SummaryRow(region=region, date=day, latitude=latitude, longitude=longitude, carrington_longitude=carrington,
                     area=area, mcintosh=mcintosh, extent=extent, spots=spots, magnetic_type=magnetic, line=line)
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
    if text and not known:
        faults.append(f"{title} '{text}' is not one of NOAA's classes; field left empty")
    return text if known else ""


# ---------------------------------------------------------------------------- event reports


class FlareRow(NamedTuple):
    """A GOES X-ray flare: one XRA row of an event report. Times are UTC on their right days, NaT for `////`."""

    begin: np.datetime64
    maximum: np.datetime64
    end: np.datetime64
    flare_class: str  # like `C5.7`
    region: str  # NOAA number, four digits; "" for a flare that is attributed to no region
    report_date: date  # of the file: the day on which the flare began
    line: int  # of the file, from 1
    satellite: str = ""  # the observatory, like `G15`


def parse_event_report(text: str, day: date, name: str) -> Report:
    """Parse the X-ray flares (XRA rows) of an edited event report, whatever its vintage, of the day in the file's name.

    An XRA row that cannot be read is in `problems`; other types of event are skipped. A maximum before the begin, or an
    end before the maximum, is on the next day; where that makes more than `LONGEST_RISE` it is no time after midnight
    but a mistake: the row, or its end, is not used, and reported. So is a last line without a line end: it may be cut
    off.
    """
    lines = text.removesuffix("\n").split("\n")
    stamp, problems = _header(lines, day, name)
    if stamp[:8] == f"{day:%Y%m%d}":
        problems.append(Problem(name, MADE_EARLY, f"{name}: made {stamp[9:]} of its day, later flares are not in it",
                                "parts of days"))
    if _is_cut_off(text):
        problems.append(Problem(name, TRUNCATED_REPORT, f"{name}, line {len(lines)}: '{lines[-1].strip()[:40]}' has no "
                                "line end; it is not used", "flares"))
        lines = lines[:-1]
    rows: list[FlareRow] = []
    has_titles = False
    for number, line in enumerate(lines, start=1):
        has_titles = has_titles or bool(re.match(r"#?Event\s+Begin", line, re.IGNORECASE))
        if line.startswith("#") or not re.search(r"\bXRA\b", line):
            continue
        try:
            row = _parse_flare_row(line, day, number)
        except ValueError as error:
            problems.append(Problem(name, UNREADABLE_ROW, f"{name}, line {number}: {error}; row skipped", "flares"))
            continue
        fault, row = _check_order(row)
        if fault:
            problems.append(Problem(name, fault, f"{name}, line {number}: '{line.strip()}'; "
                                    f"{'row' if row is None else 'its end'} not used", "flares"))
        rows += [row] if row else []
    if not has_titles and not rows:
        problems.append(Problem(name, TRUNCATED_REPORT, f"{name}, line {len(lines)}: no line 'Event Begin Max "
                                "End ...'; nothing to use", "reports"))
    return Report(day, stamp, rows, problems)


def _is_cut_off(text: str) -> bool:
    """Tell whether the last line may be half of a row: it has no line end, and not the region in its last columns."""
    last = text.split("\n")[-1].strip("\x1a").rstrip()
    return last.strip().upper() not in ("", NO_EVENTS) and not (len(last) == ROW_COLUMNS and last[-4:].isdigit())


def _parse_flare_row(text: str, day: date, line: int) -> FlareRow:
    """Return the flare of an XRA row: a maximum before the begin, or an end before the maximum, is on the next day."""
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
    return FlareRow(begin=begin, maximum=maximum, end=end, flare_class=match["flare_class"].upper(),
                    region=region if is_region(region, midnight) else "", report_date=day, line=line,
                    satellite=match["observatory"].upper())


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
