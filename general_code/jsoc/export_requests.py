"""What is asked of JSOC for an active region: the list of regions, record sets, processing arguments, size and time.

Nothing here uses the network: text and dates in, text and dates out. Times are TAI.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator

from general_code.noaa.archive import read_summary_archive
from general_code.noaa.regions import region_number
from general_code.stage.files import UserError, counted, is_set, read_lines
from general_code.stage.run import Problem

LONGEST_PASSAGE_DAYS = 31  # a disk passage takes 14 days; a longer one in the list is an error
QUALITY_CLAUSE = "[? QUALITY >= 0 ?]"  # signed: excludes the records that have no image (bit 31)
BYTES_PER_PIXEL = 1.13  # 570 GB for the 1.41 million 600x600 cut-outs of 2010-2018
EXPORT_SECONDS_PER_RECORD = 240 / 1800  # JSOC takes about 4 minutes for 1,800 records
DOWNLOAD_BYTES_PER_SECOND = 0.5e6  # on a slow day
UNKNOWN_LONGITUDE = 999.0  # [deg] from here on: JSOC's table marks an unknown position so
FIRST_OF_OLD_NUMBERS = 7000  # the export page adds 10,000 to numbers below this
_SERIES = re.compile(r"[A-Za-z]\w*\.M_(\d+)s(?:_\w+)?", re.IGNORECASE | re.ASCII)  # line-of-sight magnetograms
_LIST_LINE = re.compile(r"(\d{4,5})\s*[,;]\s*(\d{8})\s*[,;]\s*(\d{1,4})[\s,;]*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*", re.ASCII)
_RECORD_TIME = re.compile(r"(\d{4}\.\d\d\.\d\d_\d\d:\d\d:\d\d)(?:\.\d+)?_TAI", re.ASCII)


# ---------------------------------------------------------------------------- settings


def _check_email(text: str) -> str:
    """Return an e-mail address without surrounding blanks; it may be empty."""
    address = text.strip()
    if address and not re.fullmatch(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", address):
        raise ValueError(f"expected an address registered with JSOC, like me@inst.edu, got '{text}'")
    return address


def check_web_address(text: str) -> str:
    """Return a web address without surrounding blanks; ValueError when it can be none."""
    address = text.strip()
    try:
        url = urlsplit(address)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # a port that is no number, or beyond 65535
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", address):
        raise ValueError(f"expected an address like http://jsoc.stanford.edu, got '{text}'")
    return address


def _check_series(text: str) -> str:
    """Return a series' name without surrounding blanks; other series than magnetograms lack the segment of them."""
    match = _SERIES.fullmatch(text.strip())
    if match is None or not int(match[1]) or 86400 % int(match[1]):
        raise ValueError("expected a series of line-of-sight magnetograms with the cadence in its name, like "
                         f"hmi.M_720s, got '{text}'")
    return text.strip()


Email = Annotated[str, AfterValidator(_check_email)]
WebAddress = Annotated[str, AfterValidator(check_web_address)]
Series = Annotated[str, AfterValidator(_check_series)]


# ---------------------------------------------------------------------------- one request


class Passage(NamedTuple):
    """A region's passage over the disk: NOAA number (four digits), first day, number of days."""

    region: str
    first_day: date
    days: int


class Position(NamedTuple):
    """Where a region is, as text, as the export page fills it in."""

    t_ref: str  # time of the position, like 2014.01.07_23:59:59Z
    x: str  # Stonyhurst longitude [deg], west positive
    y: str  # latitude [deg], north positive


@dataclass(frozen=True)
class CutoutRequest:
    """The export request of one region: from its first day 00:00 to (first day + days) 00:00, both included."""

    passage: Passage
    series: str = "hmi.M_720s"  # full-disk images, with the cadence in the name
    patch_pixels: int = 600  # width and height of the cut-outs

    @property
    def region(self) -> str:
        """NOAA number, four digits."""
        return self.passage.region

    @property
    def start(self) -> datetime:
        """Time of the first record [TAI]."""
        return datetime.combine(self.passage.first_day, datetime.min.time())

    @property
    def stop(self) -> datetime:
        """Time of the last record [TAI]."""
        return self.start + timedelta(days=self.passage.days)

    @property
    def cadence_seconds(self) -> int:
        """Time between records [s]."""
        return int(_SERIES.fullmatch(self.series)[1])

    @property
    def slot_count(self) -> int:
        """Number of records that the series can have in the range: 120 a day and one, at 12 minutes."""
        return self.passage.days * 86400 // self.cadence_seconds + 1

    @property
    def slots(self) -> list[datetime]:
        """Times of those records."""
        step = timedelta(seconds=self.cadence_seconds)
        return [self.start + slot * step for slot in range(self.slot_count)]

    @property
    def time_range(self) -> str:
        """Record set without the clause on quality."""
        return f"{self.series}[{record_time(self.start)}-{record_time(self.stop)}]"

    @property
    def record_set(self) -> str:
        """Record set of the images that exist; the ledger also identifies a request by it."""
        return self.time_range + QUALITY_CLAUSE

    def process(self, position: Position, first_record: datetime, last_record: datetime) -> str:
        """Return the arguments of im_patch in the order of the export page; the position may be of any time."""
        # t=0 tracks the region, r=0 does not resample, c=0 does not crop at the limb:
        # http://jsoc.stanford.edu/doxygen_html/group__im__patch.html
        return (f"t_start={record_time(first_record)},t_stop={record_time(last_record)},t=0,r=0,c=0,"
                f"cadence={self.cadence_seconds}s,locunits=stony,boxunits=pixels,t_ref={position.t_ref},"
                f"x={position.x},y={position.y},width={self.patch_pixels},height={self.patch_pixels}")


def record_time(time: datetime) -> str:
    """Return a time [TAI] as JSOC writes T_REC, like `2014.01.07_00:00:00_TAI`."""
    return f"{time:%Y.%m.%d_%H:%M:%S}_TAI"


def parse_record_time(text: str) -> datetime:
    """Return the time [TAI, to the second] in a T_REC, with or without fractions of a second; else ValueError."""
    match = _RECORD_TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"record time '{text}' is not like 2014.01.07_00:00:00_TAI")
    return datetime.strptime(match[1], "%Y.%m.%d_%H:%M:%S")


# ---------------------------------------------------------------------------- the list of regions


def read_passages(path: Path) -> tuple[list[Passage], list[Problem]]:
    """Read the list of regions that stage 1 writes.

    Parameters
    ----------
    path : Path
        `NNNN,YYYYMMDD,X` a line: region, first day, number of days. Commas or semicolons, quotes, five-digit numbers
        and a header are accepted; UserError when no line can be used.

    Returns
    -------
    passages, problems : list of Passage, list of Problem
        In the list's order, the first one of a region that occurs twice; lines that are skipped.
    """
    passages: dict[str, Passage] = {}
    problems = []
    lines = [(number, line.replace('"', "").replace("'", "")) for number, line in read_lines(path)]
    for number, line in lines:
        where = f"{path.name}, line {number}"
        try:
            passage = _parse_passage(line)
        except ValueError as error:
            if number > lines[0][0] or re.search(r"\d", line):  # the first line may be a header
                problems.append(Problem(where, "line of the list does not parse", str(error), "rows"))
            continue
        if passage.region in passages:
            problems.append(Problem(where, "region is in the list already",
                                    f"{line}: the first line of region {passage.region} is used", "rows"))
        passages.setdefault(passage.region, passage)
    if not passages:
        raise UserError(f"{path}: no line is like 1158,20110213,8 (region, first day, days); make the list with "
                        "general_code/SRS_Parse.py")
    return list(passages.values()), problems


def _parse_passage(line: str) -> Passage:
    """Return the passage in a line; ValueError when it is malformed."""
    match = _LIST_LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"'{line[:60]}' is not like 1158,20110213,8")
    days = int(match[3])
    if not 1 <= days <= LONGEST_PASSAGE_DAYS:
        raise ValueError(f"'{line}': expected 1 to {LONGEST_PASSAGE_DAYS} days, got {days}")
    try:
        first_day = datetime.strptime(match[2], "%Y%m%d").date()
    except ValueError:
        raise ValueError(f"'{line}': there is no day {match[2]}") from None
    return Passage(region_number(match[1]), first_day, days)


def estimate_effort(requests: Sequence[CutoutRequest]) -> tuple[float, str]:
    """Estimate what requests take.

    Parameters
    ----------
    requests : sequence of CutoutRequest
        May be empty.

    Returns
    -------
    disk_bytes, text : float, str
        Of the Rice-compressed cut-outs of all records, with the one tar that lies beside them; images, disk and time.
    """
    records = sum(request.slot_count for request in requests)
    sizes = [request.slot_count * request.patch_pixels**2 * BYTES_PER_PIXEL for request in requests]
    disk_bytes = sum(sizes) + max(sizes, default=0.0)
    seconds = records * EXPORT_SECONDS_PER_RECORD + sum(sizes) / DOWNLOAD_BYTES_PER_SECOND
    duration = f"{seconds / 60:.1f} min"
    if seconds >= 3600:
        duration = f"{seconds / 3600:.1f} h"
    if seconds >= 3 * 86400:
        duration = f"{seconds / 86400:.0f} days"
    text = (f"{counted(len(requests), 'regions')}, up to {records:,} images: about {disk_bytes / 1e9:.2f} GB of "
            f"disk and {duration} (4 minutes an export of 1,800 records, {DOWNLOAD_BYTES_PER_SECOND / 1e6:g} MB/s)")
    return disk_bytes, text


# ---------------------------------------------------------------------------- positions


def table_number(region: str) -> int:
    """Return the number under which JSOC's table has a region: 11158 for 1158."""
    number = int(region)
    return number + 10000 if number < FIRST_OF_OLD_NUMBERS else number


def nearest_to_meridian(rows: Iterable[Position]) -> Position | None:
    """Return the first row nearest to the central meridian, None without one that JSOC's export page would use."""
    usable = [row for row in rows if _NUMBER.fullmatch(row.x) and _NUMBER.fullmatch(row.y)
              and abs(float(row.x)) < UNKNOWN_LONGITUDE]
    return min(usable, key=lambda row: abs(float(row.x)), default=None)


class SummaryPositions:
    """Positions of regions from an archive of summaries, read at the first question; "" or no folder holds none."""

    def __init__(self, srs_dir: Path) -> None:
        self.srs_dir = srs_dir

    @cached_property
    def table(self) -> dict[str, list[tuple[date, Position]]]:
        """Days of the summaries' names and positions at their 00:00, in order of time, of every region."""
        table: dict[str, list[tuple[date, Position]]] = {}
        if is_set(self.srs_dir) and self.srs_dir.is_dir():
            for row in read_summary_archive(self.srs_dir, required=False).table.itertuples():
                day = row.date.date()
                # 24:00 of the day before, as JSOC's table writes it
                t_ref = f"{day - timedelta(days=1):%Y.%m.%d}_23:59:59Z"
                position = Position(t_ref, f"{row.longitude:g}", f"{row.latitude:g}")
                table.setdefault(row.region, []).append((day, position))
        return table

    def position(self, passage: Passage) -> Position | None:
        """Return a region's position nearest to the central meridian from its first day to the day after its last."""
        last_day = passage.first_day + timedelta(days=passage.days)
        return nearest_to_meridian(position for day, position in self.table.get(passage.region, ())
                                   if passage.first_day <= day <= last_day)
