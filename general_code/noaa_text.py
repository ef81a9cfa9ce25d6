"""What NOAA's text products have in common: names, dates in the header, lines, and how problems are reported."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

REPORT_NAME = re.compile(r"(?P<date>\d{8})(?P<kind>SRS|events)\.txt", re.IGNORECASE)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ROLL_OVER = np.datetime64("2002-06-14"), np.datetime64("2002-08-14")  # 0000 was a region (10000) then, else means none
_DATE_LINE = re.compile(r"(?::Issued:|:Created:|:Date:|#?\s*EDITED EVENTS for)\s*(?P<year>\d{4})\s+(?P<month>\w{2,3})"
                        r"\s+(?P<day>\d{1,2})(?:\s+(?P<clock>\d{4}))?", re.IGNORECASE)


class Problem(NamedTuple):
    """An input, or a line of it, that was left out or not used whole; in the order `StageRun.exclude` takes it."""

    input: str
    reason: str
    detail: str = ""


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
    """Tell whether a report's region column names a region.

    Parameters
    ----------
    region : str
        The column; blank and 0000 name none, except in summer 2002, when 0000 was region 10000.
    date : numpy.datetime64
        Of the report.

    Returns
    -------
    bool
        See above.
    """
    return bool(region) and (region != "0000" or bool(ROLL_OVER[0] <= date < ROLL_OVER[1]))


def region_codes(regions: Sequence[str]) -> np.ndarray:
    """Return active regions' numbers as integers, modulo 10,000; many of few at once.

    Parameters
    ----------
    regions : sequence of str, shape (m,)
        Four or five digits.

    Returns
    -------
    numpy.ndarray
        int64, shape (m,); -1 for a text that is no number.
    """
    places, distinct = pd.factorize(np.asarray(regions, dtype=object))
    texts = [str(text) for text in distinct]
    codes = [int(text) % 10000 if re.fullmatch("[0-9]{4,5}", text) else -1 for text in texts]
    return np.array([*codes, -1], dtype=np.int64)[places]  # a missing text has place -1


def report_date(name: str) -> date:
    """Return the date in the name of a summary or report.

    Parameters
    ----------
    name : str
        `YYYYMMDDSRS.txt` or `YYYYMMDDevents.txt`.

    Returns
    -------
    datetime.date
        See above.

    Raises
    ------
    ValueError
        When the name is not of that form, or its date does not exist.
    """
    match = REPORT_NAME.fullmatch(name)
    if match is None:
        raise ValueError("the name is not like YYYYMMDDSRS.txt or YYYYMMDDevents.txt")
    digits = match["date"]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        raise ValueError(f"there is no date {digits}") from None


def read_text(path: Path) -> str:
    """Return what a text file holds.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    str
        As it stands, without a byte order mark.

    Raises
    ------
    ValueError
        When it is empty or not a text.
    OSError
        When it cannot be opened.
    """
    data = path.read_bytes()
    if not data.strip():
        raise ValueError("the file is empty")
    if re.search(rb"[\x00-\x08\x0e-\x19\x1b-\x1f]", data):  # a Ctrl-Z at the end is an old end of file
        raise ValueError("not a text file")
    return data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, whatever its line ends.

    Parameters
    ----------
    text : str
        Of a file.

    Returns
    -------
    list of str
        Without line ends.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def read_lines(path: Path) -> list[str]:
    """Return `split_lines` of `read_text`.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    list of str
        Without line ends.
    """
    return split_lines(read_text(path))


def _date_lines(lines: list[str]) -> list[tuple[int, re.Match[str]]]:
    """Return number and match of the header lines that hold a date."""
    matches = ((number, _DATE_LINE.match(text)) for number, text in enumerate(lines[:15], start=1))
    return [(number, match) for number, match in matches if match]


def _match_date(match: re.Match[str]) -> date | None:
    """Return the date in a header line, None when there is no such date."""
    month = match["month"].lower()
    try:
        return date(int(match["year"]), int(month) if month.isdigit() else MONTHS.index(month[:3]) + 1,
                    int(match["day"]))
    except ValueError:
        return None


def date_stamp(lines: list[str]) -> str:
    """Return when a product was issued or created.

    Parameters
    ----------
    lines : list of str
        Of the file.

    Returns
    -------
    str
        `YYYYMMDD HHMM`, which sorts in time; "" if it does not say.
    """
    for _, match in _date_lines(lines):
        if match["clock"] and _match_date(match):
            return f"{_match_date(match):%Y%m%d} {match['clock']}"
    return ""


def header_problems(lines: list[str], day: date, name: str) -> list[Problem]:
    """Return the header lines that name another day than the file's name does.

    Parameters
    ----------
    lines : list of str
        Of the file.
    day : datetime.date
        By the file's name.
    name : str
        Of the file.

    Returns
    -------
    list of Problem
        One a line; the day a report was created on may be a later one.
    """
    problems = []
    for number, match in _date_lines(lines):
        if match[0].lower().startswith(":created") or _match_date(match) == day:
            continue
        problems.append(Problem(name, "header names another day", f"{name}, line {number}: '{match[0].strip()}'; "
                                "the date of the file name is used"))
    return problems
