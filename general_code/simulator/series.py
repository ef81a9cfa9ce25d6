"""The simulated JSOC's archive: records of the full-disk series, the table of active regions, cut-outs, and its faults.

The cut-outs are those of a folder `NNNN/*.fits`.
"""

import re
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
from pydantic.dataclasses import dataclass

from general_code.images.magnetograms import write_magnetogram
from general_code.images.names import list_images
from general_code.jsoc.export_requests import Position, SummaryPositions
from general_code.stage.files import is_set

_COUNTING = threading.Lock()  # requests are answered in threads
CADENCE = timedelta(seconds=720)
NO_IMAGE = -(2**31)  # QUALITY with bit 31: the record has no image
DEGREES_PER_DAY = 13.2  # of solar rotation as seen from the Earth
_RECORD_SET = re.compile(r"(?P<series>[\w.]+)(?P<filters>(?:\[[^\]]*\])*)(?:\{(?P<segments>[^}]*)\})?")
_TIME = r"\d{4}\.\d\d\.\d\d_\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:_TAI)?"
_TIMES = re.compile(rf"(?P<start>{_TIME})(?:-(?P<stop>{_TIME})|/(?P<length>\d+[smhd])(?:@(?P<step>\d+[smhd]))?)?")


@dataclass
class Faults:
    """One switch for every failure that users report; a number counts down: so many times, then all is well."""

    # the service
    http_errors: int = 0  # CGI answers that are an HTTP error
    http_error_every: int = 0  # every so many-th CGI answer is one, too; 0 = none
    http_status: int = 502  # of these errors
    cgi_stalled: int = 0  # CGI answers that come after a long silence
    html_answers: int = 0  # CGI answers that are a web page
    cgi_missing: str = ""  # name of a CGI that is HTTP 404 for good
    address_status: Literal[2, 3, 4] = 2  # of every address: registered, waiting for its confirmation, not registered
    # submission
    lost_answers: int = 0  # requests that are accepted, but the connection ends without an answer
    hash_errors: int = 0  # status 4 "Cant save new export-request hash."
    foreign_pending: int = 0  # times that the address has a pending request of another program
    busy_host: int = 0  # status 7 without a number: too many requests from this machine
    too_large: bool = False  # status 3
    refusal: str = ""  # status 4 with this text
    test_mode: bool = False  # status 12 in place of 2
    # status
    delay_seconds: float = 0.0  # until a request is complete
    not_found_polls: int = 0  # looks at each request that are answered with status 6
    not_found_text: bool = False  # as newer servers: status 4 in place of 6
    lost_requests: int = 0  # requests that the service forgets
    expired: int = 0  # looks that are answered with status 5
    export_fails: bool = False  # status 4 in place of 0
    no_tarfile: int = 0  # looks at a complete request without the tar's name
    # the tar on its way
    tar_not_found: int = 0  # HTTP 404
    tar_truncated: int = 0  # body shorter than Content-Length
    tar_stalled: int = 0  # silence in mid-body
    tar_html: int = 0  # a web page in place of the tar
    tar_cut_at_source: int = 0  # cut short, with a Content-Length to match
    tar_moved: bool = False  # HTTP 302 to another path
    tar_host_down: int = 0  # HTTP 302 to this port of the machine, where nobody may answer; 0 = none
    absolute_links: bool = False  # the page links the tar with another host's name
    # the tar's content
    first_image: str = ""  # name of the first image, which may lead out of the folder; "" = its own
    full_disk: bool = False  # whole images in place of cut-outs
    # series and table
    missing_slots: int = 0  # the first records of a range are not there
    bad_records: int = 0  # the last records of a range have bit 31 of QUALITY set: no image
    series_unknown: bool = False  # "series not found"
    table_unavailable: bool = False  # the table of active regions cannot be queried
    region_unknown: bool = False  # the table has no row of the region
    longitude_unknown: bool = False  # the table has rows with longitude 999 only
    # the page
    page_version: Literal["2021", "2018"] = "2021"  # which year's behaviour
    page_without: str = ""  # id of an element that the page does not have
    page_html: int = 0  # times that another web page, of maintenance, comes in its place

    def take(self, name: str) -> bool:
        """Return whether the counted fault `name` is due now, and count it down."""
        with _COUNTING:
            left = getattr(self, name)
            if left > 0:
                setattr(self, name, left - 1)
            return left > 0


# ---------------------------------------------------------------------------- record sets


class Record(NamedTuple):
    """A record of the series: time (TAI), camera, QUALITY (signed)."""

    time: datetime
    camera: int
    quality: int

    @property
    def t_rec(self) -> str:
        """The time as JSOC writes it."""
        return f"{self.time:%Y.%m.%d_%H:%M:%S}_TAI"


class RecordSet(NamedTuple):
    """What a record-set specification asks for: series, time range, step, and whether QUALITY >= 0 is asked for."""

    series: str
    start: datetime
    stop: datetime
    step: timedelta
    usable_only: bool
    filters: list[str]


def parse_record_set(text: str) -> RecordSet:
    """Parse a record set like `hmi.M_720s[t1-t2][? QUALITY >= 0 ?]{magnetogram}` (or `[t/15d@1h]`); else ValueError."""
    match = _RECORD_SET.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid record-set specification `{text}'")
    filters = re.findall(r"\[([^\]]*)\]", match["filters"])
    clauses = [clause for clause in filters if clause.startswith(("?", "!"))]
    start, stop, step = _parse_times(filters[0] if filters and filters[0] not in clauses else "")
    usable = any(re.fullmatch(r"\?\s*quality\s*>=\s*0\s*\?", clause, re.IGNORECASE) for clause in clauses)
    return RecordSet(series=match["series"], start=start, stop=stop, step=step, usable_only=usable, filters=filters)


def _parse_times(text: str) -> tuple[datetime, datetime, timedelta]:
    """Return first and last time and step of a filter on T_REC."""
    if not text.strip():
        return datetime(1900, 1, 1), datetime(2100, 1, 1), CADENCE
    match = _TIMES.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid record-set specification `{text}'")
    start = parse_time(match["start"])
    step = _duration(match["step"]) if match["step"] else CADENCE
    if match["length"]:
        return start, start + _duration(match["length"]) - timedelta(seconds=1), step
    return start, parse_time(match["stop"]) if match["stop"] else start, step


def parse_time(text: str) -> datetime:
    """Return a time, with or without seconds and time scale."""
    return datetime.fromisoformat(text.removesuffix("_TAI").replace(".", "-", 2).replace("_", "T"))


def _duration(text: str) -> timedelta:
    """Return the length of `15d`, `1h`, `12m` or `720s`."""
    return timedelta(seconds=int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]])


# ---------------------------------------------------------------------------- the archive


class SimulatedSeries:
    """Records, regions and cut-outs of `image_dir`; the positions in `table` are of summaries or, for "", made up."""

    def __init__(self, image_dir: Path, srs_dir: Path = Path("")) -> None:
        self.files: dict[str, dict[tuple[datetime, int], Path]] = {}  # by region, then by time and camera
        files, _ = list_images(image_dir, "fits")
        for file in files[files["time"].notna() & (files["folder"] != "")].itertuples():
            self.files.setdefault(file.folder, {})[file.time.to_pydatetime(), file.camera] = image_dir / file.source
        self.times = sorted(set().union(*self.files.values()))  # with cameras
        if is_set(srs_dir):
            self.table = {region: [position for _, position in rows]
                          for region, rows in SummaryPositions(srs_dir).table.items()}
        else:
            self.table = _made_up_table(self.files)

    def records(self, wanted: RecordSet, missing: int = 0, bad: int = 0) -> list[Record]:
        """Return the records of a set in order of time; the first are `missing`, the last `bad` ones have no image."""
        keys = [key for key in self.times if wanted.start <= key[0] <= wanted.stop
                and (key[0] - wanted.start) % wanted.step == timedelta(0)][missing:]
        good = len(keys) - bad
        records = [Record(*key, 0 if place < good else NO_IMAGE) for place, key in enumerate(keys)]
        return [record for record in records if record.quality >= 0 or not wanted.usable_only]

    def region_at(self, position: Position) -> str | None:
        """Return the region that the table has at a place and time: of several, one with images; None without a row."""
        place = float(position.x), float(position.y)
        found = [region for region, rows in self.table.items() for row in rows
                 if row.t_ref == position.t_ref and (float(row.x), float(row.y)) == place]
        return max(found, key=lambda region: region in self.files, default=None)

    def cutout(self, region: str, record: Record) -> bytes | None:
        """Return the FITS file of a region in a record, None when the folder has none."""
        path = self.files.get(region, {}).get((record.time, record.camera))
        return path.read_bytes() if path else None


def _made_up_table(files: Mapping[str, Iterable[tuple[datetime, int]]]) -> dict[str, list[Position]]:
    """Return daily positions of which no two regions share one: the latitude goes by the region's rank."""
    table = {}
    for rank, (region, images) in enumerate(sorted(files.items())):
        first, last = min(images)[0].date(), max(images)[0].date()
        days = max(1, (last - first).days)
        table[region] = [Position(f"{first + timedelta(days=day):%Y.%m.%d}_23:59:59Z",
                                  f"{round(DEGREES_PER_DAY * (day - days / 2))}", f"{rank % 61 - 30}")
                         for day in range(days)]
    return table


@cache
def full_disk_image() -> bytes:
    """Return a small image that stands for one of the whole disk."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "disk.fits"
        write_magnetogram(path, np.zeros((64, 64)), [])
        return path.read_bytes()
