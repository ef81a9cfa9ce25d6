"""NOAA's archives of daily texts: every report found and read once a day, what is missing, and what cannot be used.

A folder holds `YYYYMMDDSRS.txt` (or `YYYYMMDDevents.txt`), in folders of any depth, compressed (`.txt.gz`), named by
month and day alone (`0101SRS.txt`, the year is in the text), or packed by year (`2014_SRS.tar.gz`), or all of these.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
import pandas as pd

from general_code.noaa.reports import (
    REPORT_NAME,
    Report,
    SummaryRow,
    decode_report,
    parse_event_report,
    parse_region_summary,
    report_date,
)
from general_code.stage.files import UserError, describe, is_set, require_folder
from general_code.stage.run import Problem, StageRun

DEFAULT_SRS_DIR = Path("data/SRS")  # need not exist where a stage can do without; another one has to
DEFAULT_EVENTS_DIR = Path("data/Events")  # likewise
RECURRENCE_DAYS = 60  # a number seen again after a longer gap is another region, 10,000 later
KINDS = {"SRS": ("srs_dir", "region summaries"), "events": ("events_dir", "event reports")}
MAX_REPORT_BYTES, MAX_ARCHIVE_BYTES = 4_000_000, 500_000_000  # unpacked; a report has 10 kB, thirty years 300 MB
_PACKED = re.compile(r".+\.(tar|tgz|tar\.(gz|bz2|xz))", re.IGNORECASE)
_OPENERS = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, ValueError, RecursionError)


class SummaryArchive(NamedTuple):
    """Section I of many summaries, first passages of region numbers only."""

    table: pd.DataFrame  # a row a region and day, by date, then as listed: `SummaryRow`, `issued` (UTC, or NaT)
    days: list[date]  # days whose summary was read, in order
    problems: list[Problem]  # files and rows that were excluded or not used whole, and missing days


class EventArchive(NamedTuple):
    """The event reports of many days, by date, and what was excluded."""

    reports: list[Report]
    problems: list[Problem]


def read_summary_archive(folder: Path, first: date | None = None, last: date | None = None,
                         expected: tuple[date, date] | None = None, required: bool = True) -> SummaryArchive:
    """Read all region summaries in a folder.

    Parameters
    ----------
    folder : Path
        Of summaries, in any of the forms above.
    first, last : datetime.date, optional
        Days outside are skipped.
    expected : tuple of datetime.date, optional
        First and last of the days of which a missing one is a problem; else those from `first` to `last`, or from the
        first summary to the last.
    required : bool, optional
        False: a folder without a usable row is no error.

    Returns
    -------
    SummaryArchive
        Of two summaries of one day the one issued last is used.

    Raises
    ------
    UserError
        When there is no folder, no row of section I to use, or the folder holds event reports instead.
    """
    summaries, problems = _read_all(folder, "SRS", parse_region_summary, first, last)
    rows = [row for summary in summaries for row in summary.rows]
    if required and not rows:
        period = f" from {first or 'the first'} to {last or 'the last'}" if first or last else ""
        first_problem = f"; {problems[0].input}: {problems[0].reason}, {problems[0].detail}" if problems else ""
        raise UserError(f"srs_dir: no region in section I of {len(summaries):,} summaries (YYYYMMDDSRS.txt or "
                        f"YYYY_SRS.tar.gz) in {folder}{period}{first_problem}; set --srs-dir"
                        f"{' or the dates' if period else ''}")
    table = pd.DataFrame(rows, columns=SummaryRow._fields).astype({"region": "str", "date": "datetime64[s]"})
    table["issued"] = np.array([summary.made for summary in summaries for _ in summary.rows], dtype="datetime64[s]")
    table, recurrences = first_passages(table)
    days = [summary.date for summary in summaries]
    problems += recurrences + missing_days(days, "SRS", *(expected or (first, last)))
    return SummaryArchive(table, days, problems)


def optional_summaries(srs_dir: Path, run: StageRun) -> pd.DataFrame | None:
    """Read the region summaries that a stage can do without, and report them.

    Parameters
    ----------
    srs_dir, run : Path, StageRun
        The setting, empty for none; reports the period, or what follows from having none.

    Returns
    -------
    pandas.DataFrame or None
        The table of `read_summary_archive`; None where the default folder is empty or missing. UserError when another
        one is, or what is there are no summaries.
    """
    nothing = not srs_dir.exists() or srs_dir.is_dir() and not any(srs_dir.iterdir())
    if not is_set(srs_dir) or srs_dir == DEFAULT_SRS_DIR and nothing:
        at = f" in {srs_dir}" if is_set(srs_dir) else ""
        run.report(f"No region summaries{at}: the rate of the McIntosh class is not available")
        return None
    archive = read_summary_archive(srs_dir)
    unused = f"; gaps and rows not used: {len(archive.problems):,}" if archive.problems else ""
    run.report(f"{len(archive.days):,} summaries of {archive.days[0]} to {archive.days[-1]}, {srs_dir}{unused}")
    return archive.table


def read_event_archive(folder: Path) -> EventArchive:
    """Read all event reports in a folder.

    Parameters
    ----------
    folder : Path
        Of event reports, in any of the forms above.

    Returns
    -------
    EventArchive
        Of two reports of one day the one created last is used.

    Raises
    ------
    UserError
        When there is no folder, or it holds region summaries instead, or one that is not the default holds no report.
    """
    reports, problems = _read_all(folder, "events", parse_event_report)
    if not reports and folder != DEFAULT_EVENTS_DIR:
        first = f" ({problems[0].input}: {problems[0].reason})" if problems else ""
        raise UserError(f"events_dir: expected event reports (YYYYMMDDevents.txt or YYYY_events.tar.gz) in '{folder}' "
                        f"(from {Path.cwd()}), found none{first}; set --events-dir, to \"\" for an event list alone")
    return EventArchive(reports, problems + missing_days([report.date for report in reports], "events"))


def missing_days(days: list[date], kind: str, first: date | None = None, last: date | None = None) -> list[Problem]:
    """Return the runs of days without a report, from the first day to the last or from the first report to the last."""
    if not days:
        return []
    present = {day.toordinal() for day in days}
    period = range((first or days[0]).toordinal(), (last or days[-1]).toordinal() + 1)
    problems = []
    for _, group in groupby(enumerate(day for day in period if day not in present), lambda item: item[1] - item[0]):
        run = [date.fromordinal(day) for _, day in group]
        names = f"{run[0]:%Y%m%d}{kind}.txt" + (f" to {run[-1]:%Y%m%d}{kind}.txt" if len(run) > 1 else "")
        problems.append(Problem(names, "missing day", f"{len(run)} day{'s' * (len(run) > 1)} without a report",
                                "spans of days"))
    return problems


def first_passages(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Keep each region number's first passage in a table by date: after a gap of 60 days it is another region's."""
    gap = table.groupby("region")["date"].diff() > np.timedelta64(RECURRENCE_DAYS, "D")
    later = gap.groupby(table["region"]).cummax()
    problems = [Problem(f"region {row.region}", "region number used again", f"returns on {row.date:%Y%m%d} after more "
                        f"than {RECURRENCE_DAYS} days; the first passage is kept", "regions")
                for row in table[later & ~later.groupby(table["region"]).shift(fill_value=False)].itertuples()]
    return table[~later].reset_index(drop=True), problems


# ---------------------------------------------------------------------------- finding and reading


def find_reports(folder: Path, kind: str) -> tuple[list[tuple[str, str, bytes]], int, list[Problem]]:
    """Return place in the folder, name and content of the reports of a kind, and how many of the other kind there are.

    The problems are files that are no reports, and files and folders that cannot be read.
    """
    found, others, problems = [], 0, []
    for path in _files(folder, problems):
        for where, name, open_text in _texts(path, path.relative_to(folder).as_posix(), problems):
            match = REPORT_NAME.fullmatch(name)
            if match is None:
                problems.append(Problem(where, f"not named YYYYMMDD{kind}.txt", f"nor MMDD{kind}.txt, .txt.gz or "
                                        f"YYYY_{kind}.tar.gz; other packed files have to be unpacked", "files"))
                continue
            if match["kind"].lower() != kind.lower():
                others += 1
                continue
            try:
                found.append((where, name, _read_text(name, open_text)))
            except _DAMAGED as error:
                problems.append(Problem(where, "unreadable report", describe(error), "reports"))
    return found, others, problems


def _files(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """Walk in a fixed order through the files of a folder and of those in it; links are followed, each folder once."""
    seen = set()

    def unreachable(error: OSError) -> None:
        problems.append(Problem(os.path.relpath(error.filename, folder), "unreadable folder", describe(error), "files"))

    for place, folders, names in os.walk(folder, onerror=unreachable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link leads back, or to a folder that was read under its other name
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _texts(path: Path, place: str, problems: list[Problem]) -> Iterator[tuple[str, str, Callable[[], IO[bytes]]]]:
    """Give place, name and opener of a file or, if it is a tar, of each member; nothing is unpacked to the disk."""
    if not _PACKED.fullmatch(path.name):
        yield place, path.name, partial(_open, path)
        return
    try:
        with _open(path) as file, _OPENERS.get(path.suffix.lower(), nullcontext)(file) as unpacked:
            content = io.BytesIO(_bounded(unpacked, MAX_ARCHIVE_BYTES))
        with tarfile.open(fileobj=content) as tar:
            for member in tar:
                if member.size < 0:  # would be met for ever
                    raise tarfile.TarError(f"a member of {member.size} bytes")
                name = PurePosixPath(member.name).name
                if member.isfile() and not name.startswith("."):  # no folders, links, devices
                    yield f"{place}/{name}", name, partial(tar.extractfile, member)
    except _DAMAGED as error:
        problems.append(Problem(place, "unreadable archive", describe(error), "files"))


def _open(path: Path) -> IO[bytes]:
    """Open a file, but no pipe or device, which would wait for its writer."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    return path.open("rb")


def _read_text(name: str, open_text: Callable[[], IO[bytes]]) -> bytes:
    """Return what a text holds, compressed or not."""
    with open_text() as file:
        if not name.lower().endswith(".gz"):
            return _bounded(file, MAX_REPORT_BYTES)
        with gzip.open(file) as unpacked:
            return _bounded(unpacked, MAX_REPORT_BYTES)


def _bounded(file: IO[bytes], limit: int) -> bytes:
    """Return what a file holds, ValueError if that is far more than reports are."""
    data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it holds more than {limit / 1e6:,.0f} MB, which no report does")
    return data


def _read_all(folder: Path, kind: str, parse: Callable[[str, date, str], Report], first: date | None = None,
              last: date | None = None) -> tuple[list[Report], list[Problem]]:
    """Return the reports of a folder, one a day, by date, and the problems of files and lines."""
    found, others, problems = find_reports(require_folder(folder, KINDS[kind][0]), kind)
    if others and not found:
        (setting, expected), (_, got) = KINDS[kind], KINDS["events" if kind == "SRS" else "SRS"]
        raise UserError(f"{setting}: '{folder}' holds {others:,} {got} and no {expected}; srs_dir and events_dir seem "
                        "to be swapped")
    used: dict[date, tuple[str, str, Report]] = {}
    for where, name, data in found:
        try:
            text = decode_report(data)
            day = report_date(name, text)
        except ValueError as error:
            problems.append(Problem(name, "unreadable report", f"{where}: {error}", "reports"))
            continue
        if not (first or date.min) <= day <= (last or date.max):
            continue
        report = parse(text, day, name)
        earlier = used.setdefault(day, (where, text, report))
        if earlier[1] != text:  # two different ones of a day: that issued, created, later
            kept, unused = (where, earlier[0]) if report.stamp > earlier[2].stamp else (earlier[0], where)
            used[day] = (where, text, report) if kept == where else earlier
            problems.append(Problem(unused, "second report of a day", f"{kept}, not made before it, is used",
                                    "reports"))
    reports = [used[day][2] for day in sorted(used)]
    return reports, problems + [problem for report in reports for problem in report.problems]
