"""What is asked of JSOC for an active region: the list of regions, record sets, processing arguments, size and time.

Nothing here talks to anybody: text and dates in, text and dates out. Times are TAI.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from general_code.noaa_text import region_number
from general_code.stage_files import UserError

LONGEST_PASSAGE_DAYS = 31  # a disk passage takes 14 days; a longer one in the list is a mistake
QUALITY_CLAUSE = "[? QUALITY >= 0 ?]"  # signed: leaves out the records that have no image (bit 31)
FILE_NAME_FORMAT = "{series}.{{T_REC:A}}.{{CAMERA}}.{{segment}}"
BYTES_PER_PIXEL = 1.13  # 570 GB for the 1.41 million 600x600 cut-outs of 2010-2018
EXPORT_SECONDS_PER_RECORD = 240 / 1800  # JSOC takes about 4 minutes for 1,800 records
DOWNLOAD_BYTES_PER_SECOND = 0.5e6  # a slow day's rate
_LIST_LINE = re.compile(r"\s*(\d{4,5})\s*,\s*(\d{8})\s*,\s*(\d{1,4})\s*")
_SERIES = re.compile(r"[A-Za-z]\w*\.M_(\d+)s(?:_\w+)?", re.IGNORECASE)  # of line-of-sight magnetograms


class Passage(NamedTuple):
    """A region's passage over the disk: NOAA number (four digits), first day, number of days."""

    region: str
    first_day: date
    days: int


class Position(NamedTuple):
    """Where a region is, as the export page fills it in.

    Attributes
    ----------
    t_ref : str
        Time of the position, e.g. `2014.01.07_23:59:59Z`.
    x, y : str
        Stonyhurst longitude and latitude [deg], as text; west and north positive.
    """

    t_ref: str
    x: str
    y: str


@dataclass(frozen=True)
class CutoutRequest:
    """The export request of one region: from its first day 00:00 to (first day + days) 00:00, both included.

    Attributes
    ----------
    passage : Passage
        Region, first day and length.
    series : str
        JSOC's name of the full-disk series; its cadence stands in the name.
    patch_pixels : int
        Width and height of the cut-outs.
    """

    passage: Passage
    series: str = "hmi.M_720s"
    patch_pixels: int = 600

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
        """Time from record to record [s]."""
        return cadence_of(self.series)

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
        """Record set of the images that exist; also what the ledger knows a request by."""
        return self.time_range + QUALITY_CLAUSE

    @property
    def file_name_format(self) -> str:
        """JSOC's pattern for the names of the files in the tar."""
        return FILE_NAME_FORMAT.format(series=self.series)

    def process(self, position: Position, first_record: datetime, last_record: datetime) -> dict[str, str]:
        """Return the arguments of im_patch in the order in which the export page sends them.

        Parameters
        ----------
        position : Position
            Of the region, at any time of its passage.
        first_record, last_record : datetime
            Of the record set.

        Returns
        -------
        dict of str to str
            Tracked (t=0), not resampled (r=0), not cropped at the limb (c=0).

        References
        ----------
        im_patch of JSOC, http://jsoc.stanford.edu/doxygen_html/group__im__patch.html
        """
        size = str(self.patch_pixels)
        return {"t_start": record_time(first_record), "t_stop": record_time(last_record), "t": "0", "r": "0", "c": "0",
                "cadence": f"{self.cadence_seconds}s", "locunits": "stony", "boxunits": "pixels",
                "t_ref": position.t_ref, "x": position.x, "y": position.y, "width": size, "height": size}


def cadence_of(series: str) -> int:
    """Return the cadence that a series of line-of-sight magnetograms has in its name.

    Parameters
    ----------
    series : str
        JSOC's name, like `hmi.M_720s`.

    Returns
    -------
    int
        From record to record [s]; 720 for `hmi.M_720s`.

    Raises
    ------
    UserError
        When the name has none, or is not of line-of-sight magnetograms: the segment `magnetogram` is asked for, and
        other series have none.
    """
    match = _SERIES.fullmatch(series)
    if match is None or not int(match[1]) or 86400 % int(match[1]):
        raise UserError(f"series: expected line-of-sight magnetograms, with their cadence in the name like hmi.M_720s, "
                        f"got '{series}'")
    return int(match[1])


def record_time(time: datetime) -> str:
    """Return a time as JSOC writes T_REC.

    Parameters
    ----------
    time : datetime
        TAI, to the second.

    Returns
    -------
    str
        Like `2014.01.07_00:00:00_TAI`.
    """
    return f"{time:%Y.%m.%d_%H:%M:%S}_TAI"


def parse_record_time(text: str) -> datetime:
    """Return the time in a T_REC.

    Parameters
    ----------
    text : str
        Like `2014.01.07_00:00:00_TAI` or `2014.01.07_00:00:00.000_TAI`.

    Returns
    -------
    datetime
        TAI, to the second.

    Raises
    ------
    ValueError
        When the text is not of that form.
    """
    match = re.fullmatch(r"(\d{4}\.\d\d\.\d\d_\d\d:\d\d:\d\d)(?:\.\d+)?_TAI", text.strip())
    if match is None:
        raise ValueError(f"record time '{text}' is not like 2014.01.07_00:00:00_TAI")
    return datetime.strptime(match[1], "%Y.%m.%d_%H:%M:%S")


def read_passages(path: Path) -> tuple[list[Passage], list[tuple[str, str, str]]]:
    """Read the list of regions that stage 1 writes.

    Parameters
    ----------
    path : Path
        `NNNN,YYYYMMDD,X` a line: region, first day, number of days.

    Returns
    -------
    passages : list of Passage
        In the list's order; of a region that occurs twice the first.
    problems : list of (input, reason, detail)
        Lines that are left out, for the excluded file.

    Raises
    ------
    UserError
        When no line can be used.
    """
    passages: dict[str, Passage] = {}
    problems = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            passage = _parse_passage(line)
        except ValueError as error:
            problems.append((f"{path.name}, line {number}", "line of the list does not parse", str(error)))
            continue
        if passage.region in passages:
            problems.append((f"{path.name}, line {number}", "region is in the list already",
                             f"{line.strip()}: the first line of region {passage.region} is used"))
        passages.setdefault(passage.region, passage)
    if not passages:
        raise UserError(f"{path}: no line is like 1158,20110213,8 (region, first day, days); make the list with "
                        "general_code/SRS_Parse.py")
    return list(passages.values()), problems


def _parse_passage(line: str) -> Passage:
    """Return the passage in a line; ValueError when it is malformed."""
    match = _LIST_LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"'{line.strip()[:60]}' is not like 1158,20110213,8")
    days = int(match[3])
    if not 1 <= days <= LONGEST_PASSAGE_DAYS:
        raise ValueError(f"'{line.strip()}': expected 1 to {LONGEST_PASSAGE_DAYS} days, got {days}")
    try:
        first_day = datetime.strptime(match[2], "%Y%m%d").date()
    except ValueError:
        raise ValueError(f"'{line.strip()}': there is no day {match[2]}") from None
    return Passage(region_number(match[1]), first_day, days)


def select_passages(passages: Sequence[Passage], ar_numbers: Sequence[str], ar_list: Path) -> list[Passage]:
    """Return the passages of the regions that are asked for, in the list's order.

    Parameters
    ----------
    passages : sequence of Passage
        Of the list.
    ar_numbers : sequence of str
        Four or five digits; none: all.
    ar_list : Path
        For the message.

    Returns
    -------
    list of Passage
        At least one.

    Raises
    ------
    UserError
        For a number that is malformed or not in the list.
    """
    try:
        wanted = [region_number(number) for number in ar_numbers]
    except ValueError as error:
        raise UserError(f"ar_numbers: {error}") from None
    missing = sorted(set(wanted) - {passage.region for passage in passages})
    if missing:
        raise UserError(f"ar_numbers: region {', '.join(missing)} is not in {ar_list} ({len(passages)} regions); "
                        "add its line or leave it out")
    return [passage for passage in passages if not wanted or passage.region in wanted]


def disk_bytes(requests: Sequence[CutoutRequest]) -> float:
    """Return the space that the cut-outs of requests will take, with the one tar that lies beside them.

    Parameters
    ----------
    requests : sequence of CutoutRequest
        May be empty.

    Returns
    -------
    float
        [bytes], for Rice-compressed cut-outs of all records.
    """
    return sum(map(_image_bytes, requests)) + max(map(_image_bytes, requests), default=0.0)


def _image_bytes(request: CutoutRequest) -> float:
    """Return the bytes of all cut-outs of a request."""
    return request.slot_count * request.patch_pixels**2 * BYTES_PER_PIXEL


def describe_effort(requests: Sequence[CutoutRequest]) -> str:
    """Return one line that says how many images, how much disk and how much time a list will take.

    Parameters
    ----------
    requests : sequence of CutoutRequest
        May be empty.

    Returns
    -------
    str
        Without a line end.
    """
    records = sum(request.slot_count for request in requests)
    size = disk_bytes(requests)
    seconds = (records * EXPORT_SECONDS_PER_RECORD
               + sum(map(_image_bytes, requests)) / DOWNLOAD_BYTES_PER_SECOND)
    days, hours = seconds / 86400, seconds / 3600
    duration = f"{hours:.1f} h" if hours >= 1 else f"{seconds / 60:.1f} min"
    if days >= 3:
        duration = f"{days:.0f} days"
    regions = f"{len(requests):,} region{'s' if len(requests) != 1 else ''}"
    return (f"{regions}, up to {records:,} images: about {size / 1e9:.2f} GB of disk and {duration} "
            f"(4 minutes an export of 1,800 records, {DOWNLOAD_BYTES_PER_SECOND / 1e6:g} MB/s)")
