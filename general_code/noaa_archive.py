"""Folders of NOAA's daily texts: every report found, read once a day, and what is missing or cannot be used."""

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from general_code.noaa_reports import EventReport, RegionSummary, SummaryRow, read_event_report, read_region_summary
from general_code.noaa_text import REPORT_NAME, Problem, report_date

RECURRENCE_DAYS = 60  # a number seen again after a longer gap is another region, 10,000 later

Report = TypeVar("Report", RegionSummary, EventReport)


class SummaryArchive(NamedTuple):
    """Section I of many summaries.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a region and day, by date, then as the summary lists them: the columns of `SummaryRow` (`date` as
        datetime64[s]) and `issued` (datetime64[s], UTC; NaT where the summary does not say). First passages only.
    days : list of datetime.date
        Days whose summary was read.
    problems : list of Problem
        Files and rows that were left out, or not used whole.
    """

    table: pd.DataFrame
    days: list[date]
    problems: list[Problem]


class EventArchive(NamedTuple):
    """The event reports of many days, by date, and what was left out."""

    reports: list[EventReport]
    problems: list[Problem]


def read_summary_archive(folder: Path, first: date | None = None, last: date | None = None) -> SummaryArchive:
    """Read all region summaries in a folder.

    Parameters
    ----------
    folder : Path
        Holds `YYYYMMDDSRS.txt`, or yearly folders of them.
    first, last : datetime.date, optional
        Days outside are passed over.

    Returns
    -------
    SummaryArchive
        Of two summaries of one day the one issued last is used.
    """
    summaries, problems = _read_all(folder, "SRS", read_region_summary, first, last)
    rows = [row for summary in summaries for row in summary.rows]
    table = pd.DataFrame(rows, columns=SummaryRow._fields).astype({"region": "str", "date": "datetime64[s]"})
    table["issued"] = np.array([_moment(summary.issued) for summary in summaries for _ in summary.rows],
                               dtype="datetime64[s]")
    table, recurrences = first_passages(table)
    return SummaryArchive(table, [summary.date for summary in summaries], problems + recurrences)


def _moment(stamp: str) -> np.datetime64:
    """Return the time of a `date_stamp`, NaT where there is none or its clock does not exist."""
    try:
        return np.datetime64(datetime.strptime(stamp, "%Y%m%d %H%M"), "s")
    except ValueError:
        return np.datetime64("NaT", "s")


def read_event_archive(folder: Path, first: date | None = None, last: date | None = None) -> EventArchive:
    """Read all event reports in a folder.

    Parameters
    ----------
    folder : Path
        Holds `YYYYMMDDevents.txt`, or yearly folders of them.
    first, last : datetime.date, optional
        Days outside are passed over.

    Returns
    -------
    EventArchive
        Of two reports of one day the one created last is used.
    """
    return EventArchive(*_read_all(folder, "events", read_event_report, first, last))


def find_reports(folder: Path, kind: str) -> tuple[list[tuple[date, Path]], list[Problem]]:
    """Find the reports of a kind in a folder and the folders in it.

    Parameters
    ----------
    folder : Path
        Where to look, symbolic links to folders included.
    kind : {"SRS", "events"}
        The end of their names.

    Returns
    -------
    list of (datetime.date, Path)
        By date, then path.
    list of Problem
        Files that are none.
    """
    found, problems = [], []
    for path in _files(folder):
        match = REPORT_NAME.fullmatch(path.name)
        if not path.is_file() or (match and match["kind"].lower() != kind.lower()):
            continue
        try:
            found.append((report_date(path.name), path))
        except ValueError as error:
            problems.append(Problem(str(path.relative_to(folder)), f"not named YYYYMMDD{kind}.txt", str(error)))
    return sorted(found), sorted(problems)


def _files(folder: Path) -> Iterator[Path]:
    """Walk through the files of a folder and of those in it, links followed; a folder that comes again gives none."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link leads back, or to a folder that was read under its other name
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(place, name) for name in names)


def missing_days(days: Iterable[date], first: date, last: date, kind: str) -> list[Problem]:
    """Return the runs of days from `first` to `last`, both included, that have no report.

    Parameters
    ----------
    days : iterable of datetime.date
        Days with a report.
    first, last : datetime.date
        Period to look at.
    kind : {"SRS", "events"}
        Of report.

    Returns
    -------
    list of Problem
        One a run.
    """
    present, runs = set(days), []
    day = first
    while day <= last:
        if day not in present:
            if runs and runs[-1][1] == day - timedelta(1):
                runs[-1][1] = day
            else:
                runs.append([day, day])
        day += timedelta(1)
    return [Problem(f"{a:%Y%m%d}{kind}.txt" + (f" to {b:%Y%m%d}{kind}.txt" if b > a else ""), "missing day",
                    f"{(b - a).days + 1} day{'s' * (b > a)} without a report") for a, b in runs]


def first_passages(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Keep each region number's first passage; after a gap of more than 60 days it is another region's.

    Parameters
    ----------
    table : pandas.DataFrame
        `region` and `date`, in order of date.

    Returns
    -------
    pandas.DataFrame
        The rows kept.
    list of Problem
        One a number that returns.
    """
    gap = table.groupby("region")["date"].diff() > np.timedelta64(RECURRENCE_DAYS, "D")
    later = gap.groupby(table["region"]).cummax()
    problems = [Problem(f"region {row.region}", "region number used again", f"returns on {row.date:%Y%m%d} after more "
                        f"than {RECURRENCE_DAYS} days; the first passage is kept")
                for row in table[later & ~later.groupby(table["region"]).shift(fill_value=False)].itertuples()]
    return table[~later].reset_index(drop=True), problems


def _read_all(folder: Path, kind: str, read: Callable[[Path], Report], first: date | None,
              last: date | None) -> tuple[list[Report], list[Problem]]:
    """Return the reports of a folder, one a day, by date, and the problems of files and lines."""
    found, problems = find_reports(folder, kind)
    reports: dict[date, tuple[str, Path, Report]] = {}
    for day, path in found:
        if (first and day < first) or (last and day > last):
            continue
        try:
            report = read(path)
        except (ValueError, OSError) as error:
            problems.append(Problem(path.name, "unreadable report", f"{path.relative_to(folder)}: {error}"))
            continue
        other = reports.get(day)
        if other is None or report[1] > other[0]:  # issued, created
            reports[day] = (report[1], path, report)
        if other is not None:
            used = reports[day][1]
            unused = path if used == other[1] else other[1]
            problems.append(Problem(str(unused.relative_to(folder)), "second report of a day",
                                    f"{used.relative_to(folder)}, not made before it, is used"))
    kept = [report for _, _, report in reports.values()]
    return kept, problems + [problem for report in kept for problem in report.problems]
