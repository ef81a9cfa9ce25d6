"""The simulated JSOC's archive: records of the full-disk series, the table of active regions, cut-outs, and its faults.

Either the cut-outs of a folder `NNNN/*.fits` are served, or small ones are made up for regions that are named.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
from pydantic.dataclasses import dataclass

from general_code.images.magnetograms import write_magnetogram
from general_code.images.names import list_images
from general_code.jsoc.export_requests import Position, SummaryPositions, record_time
from general_code.noaa.regions import region_number
from general_code.stage.files import is_set

HostileMember = Literal["", "parent", "absolute", "symlink", "hardlink", "device", "surplus", "repeated", "bomb",
                        "other_time", "not_fits", "html", "primary_unit", "odd_name", "folders"]
HTTP_STATUS = {"forbidden": 403, "too_many_requests": 429, "server_errors": 500, "bad_gateway": 502}  # by switch
_COUNTING = threading.Lock()  # requests are answered in threads
CADENCE = timedelta(seconds=720)
NO_IMAGE = -(2**31)  # QUALITY with bit 31: the record has no image
DEGREES_PER_DAY = 13.2  # of solar rotation as seen from the Earth
_RECORD_SET = re.compile(r"(?P<series>[\w.]+)(?P<filters>(?:\[[^\]]*\])*)(?:\{(?P<segments>[^}]*)\})?")
_TIME = r"\d{4}\.\d\d?\.\d\d?_\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:_TAI)?"
_TIMES = re.compile(rf"(?P<start>{_TIME})(?:-(?P<stop>{_TIME})|/(?P<length>\d+[smhd])(?:@(?P<step>\d+[smhd]))?)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass
class Faults:
    """One switch for every failure that users report; a number counts down: so many times, then all is well."""

    # the service
    forbidden: int = 0  # CGI answers that are HTTP 403
    too_many_requests: int = 0  # CGI answers that are HTTP 429
    server_errors: int = 0  # CGI answers that are HTTP 500
    bad_gateway: int = 0  # CGI answers that are HTTP 502
    bad_gateway_every: int = 0  # every so many-th CGI answer is HTTP 502; 0 = none
    cgi_stalled: int = 0  # CGI answers that come after a long silence
    html_answers: int = 0  # CGI answers that are a web page
    cgi_missing: str = ""  # name of a CGI that is HTTP 404 for good
    unregistered: bool = False  # no address is registered
    address_pending: bool = False  # registrations are waiting for their confirmation
    # submission
    lost_answers: int = 0  # requests that are accepted, but the connection ends without an answer
    hash_errors: int = 0  # status 4 "Cant save new export-request hash."
    foreign_pending: int = 0  # times that the address has a pending request of another program
    busy_host: int = 0  # status 7 without a number: too many requests from this machine
    too_large: bool = False  # status 3
    refusal: str = ""  # status 4 with this text
    offline_files: bool = False  # status 25
    test_mode: bool = False  # status 12 in place of 2
    # status
    delay_seconds: float = 0.2  # until a request is complete
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
    tar_empty: int = 0  # no byte
    tar_cut_at_source: int = 0  # cut short, with a Content-Length to match
    tar_moved: bool = False  # HTTP 302 to another path
    tar_host_down: int = 0  # HTTP 302 to this port of the machine, where nobody may answer; 0 = none
    absolute_links: bool = False  # the page links the tar with another host's name
    # the tar's content
    hostile_member: HostileMember = ""  # a member that must not be used
    full_disk: bool = False  # whole images in place of cut-outs
    bad_quality_served: bool = False  # records with bit 31 of QUALITY are served
    # series and table
    missing_slots: int = 0  # the first records of a range are not there
    bad_records: int = 0  # the last records of a range have bit 31 of QUALITY set: no image
    missing_values: int = 0  # records, from the second of a range, whose keywords are MISSING in a query
    both_cameras: bool = False  # a record of each camera at each time
    empty_series: bool = False  # no record in any range
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

    def http_status(self, number: int) -> int:
        """Return the HTTP status of failure that the CGI answer of this number, from 1, is to have; 0 for none."""
        if self.bad_gateway_every > 0 and number % self.bad_gateway_every == 0:
            return 502
        return next((status for name, status in HTTP_STATUS.items() if self.take(name)), 0)


# ---------------------------------------------------------------------------- record sets


class Record(NamedTuple):
    """A record of the series: time (TAI), camera, QUALITY (signed)."""

    time: datetime
    camera: int
    quality: int


class RecordSet(NamedTuple):
    """What a record-set specification asks for: series, time range, step, and whether QUALITY >= 0 is asked for."""

    series: str
    start: datetime
    stop: datetime
    step: timedelta
    usable_only: bool
    filters: list[str]


def parse_record_set(text: str) -> RecordSet:
    """Parse a record set like `hmi.M_720s[t1-t2][1][? QUALITY >= 0 ?]{magnetogram}`; ValueError for anything else.

    Times are `t`, `t1-t2` (both included), `t/15d`, `t/15d@1h` or nothing for all.
    """
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
    start = _parse_time(match["start"])
    step = _duration(match["step"]) if match["step"] else CADENCE
    if match["length"]:
        return start, start + _duration(match["length"]) - timedelta(seconds=1), step
    return start, _parse_time(match["stop"]) if match["stop"] else start, step


def _parse_time(text: str) -> datetime:
    """Return a time, with or without seconds and time scale."""
    text = text.removesuffix("_TAI").partition(".000")[0]
    return datetime.strptime(text, "%Y.%m.%d_%H:%M:%S" if text.count(":") == 2 else "%Y.%m.%d_%H:%M")


def _duration(text: str) -> timedelta:
    """Return the length of `15d`, `1h`, `12m` or `720s`."""
    return timedelta(seconds=int(text[:-1]) * _SECONDS[text[-1]])


# ---------------------------------------------------------------------------- the archive


class SimulatedSeries:
    """Records, regions and cut-outs of the simulated archive.

    Parameters
    ----------
    image_dir : Path, optional
        Folder of `NNNN/*.fits` to serve; the empty path: images are made up.
    srs_dir : Path, optional
        Region summaries that fill the table of active regions; the empty path: positions are made up.
    passages : mapping of str to (date, int), optional
        Regions to make up: first day and number of days.
    cadence : timedelta, optional
        From one made-up record to the next.
    missing, bad : sequence of datetime, optional
        Times without a record, and with a record without image.
    """

    def __init__(self, image_dir: Path = Path(""), srs_dir: Path = Path(""),
                 passages: Mapping[str, tuple[date, int]] | None = None, cadence: timedelta = CADENCE,
                 missing: Sequence[datetime] = (), bad: Sequence[datetime] = ()) -> None:
        self.passages = {region_number(region): passage for region, passage in (passages or {}).items()}
        self.cadence = cadence
        self.missing, self.bad = set(missing), set(bad)
        self.files = _index_images(image_dir) if is_set(image_dir) else {}  # by region, then by time and camera
        self.table = _table_of_summaries(srs_dir) if is_set(srs_dir) else self._made_up_table()

    def records(self, wanted: RecordSet) -> list[Record]:
        """Return the records of a set, in order of time."""
        records = [Record(time, camera, NO_IMAGE if time in self.bad else 0) for time, camera in self._times(wanted)
                   if time not in self.missing and (time - wanted.start) % wanted.step == timedelta(0)]
        return [record for record in records if record.quality >= 0 or not wanted.usable_only]

    def _times(self, wanted: RecordSet) -> list[tuple[datetime, int]]:
        """Return time and camera of the slots in a range that have a record."""
        if self.files:
            return sorted({key for images in self.files.values() for key in images
                           if wanted.start <= key[0] <= wanted.stop})
        days = [datetime.combine(first, datetime.min.time()) + timedelta(days=offset)
                for first, length in self.passages.values() for offset in (0, length)]
        start, stop = max(wanted.start, min(days)), min(wanted.stop, max(days))
        start += (datetime(2010, 1, 1) - start) % self.cadence
        count = (stop - start) // self.cadence + 1
        return [(start + number * self.cadence, 1) for number in range(max(0, count))]

    def region_at(self, position: Position) -> str | None:
        """Return the region that the table has at a place and time: of several, one with images; None without a row."""
        place = float(position.x), float(position.y)
        found = [region for region, rows in self.table.items() for row in rows
                 if row.t_ref == position.t_ref and (float(row.x), float(row.y)) == place]
        return max(found, key=lambda region: region in self.files, default=None)

    def cutout(self, region: str, record: Record, pixels: int) -> bytes | None:
        """Return the FITS file of a region in a record: the folder's, None if it has none, or one made up."""
        if self.files:
            path = self.files.get(region, {}).get((record.time, record.camera))
            return path.read_bytes() if path else None
        return made_up_cutout(region, record, pixels)

    def _made_up_table(self) -> dict[str, list[Position]]:
        """Return daily positions of which no two regions share one: the latitude goes by the region's rank."""
        spans = dict(self.passages)
        for region, images in self.files.items():
            first, last = min(images)[0].date(), max(images)[0].date()
            spans[region] = (first, (last - first).days + 1)
        table = {}
        for rank, (region, (first, days)) in enumerate(sorted(spans.items())):
            table[region] = [Position(f"{first + timedelta(days=day):%Y.%m.%d}_23:59:59Z",
                                      f"{round(DEGREES_PER_DAY * (day - days / 2))}", f"{rank % 61 - 30}")
                             for day in range(days)]
        return table


def records_with_faults(series: SimulatedSeries, wanted: RecordSet, faults: Faults) -> list[Record]:
    """Return the records of a set after `empty_series`, `missing_slots`, `bad_records` and `both_cameras`."""
    if faults.empty_series:
        return []
    records = series.records(wanted._replace(usable_only=False))[faults.missing_slots:]
    good = len(records) - faults.bad_records
    records = records[:good] + [record._replace(quality=NO_IMAGE) for record in records[good:]]
    cameras = (1, 3) if faults.both_cameras else ()
    records = [record._replace(camera=camera) for record in records for camera in cameras or (record.camera,)]
    return [record for record in records if record.quality >= 0 or not wanted.usable_only]


def _index_images(image_dir: Path) -> dict[str, dict[tuple[datetime, int], Path]]:
    """Return the images of a folder by region, and by time and camera."""
    images: dict[str, dict[tuple[datetime, int], Path]] = {}
    files, _ = list_images(image_dir, "fits")
    for file in files[files["time"].notna() & (files["folder"] != "")].itertuples():
        images.setdefault(file.folder, {})[file.time.to_pydatetime(), file.camera] = image_dir / file.source
    return images


def _table_of_summaries(srs_dir: Path) -> dict[str, list[Position]]:
    """Return the positions of every region in a folder of summaries, in order of time."""
    return {region: [position for _, position in rows] for region, rows in SummaryPositions(srs_dir).table.items()}


# ---------------------------------------------------------------------------- made-up images


def made_up_cutout(region: str, record: Record, pixels: int) -> bytes:
    """Return a small FITS file as JSOC delivers them: a bipole in noise, the same at all times of a region."""
    return (_template(region, pixels).replace(b"2000.01.01_00:00:00_TAI", record_time(record.time).encode())
            .replace(b"QUALITY =                    0", b"QUALITY = %20d" % record.quality)
            .replace(b"CAMERA  =                    1", b"CAMERA  = %20d" % record.camera))


@lru_cache(maxsize=32)
def _template(region: str, pixels: int) -> bytes:
    """Return the made-up image of a region with placeholders in its header."""
    y, x = np.mgrid[:pixels, :pixels] / pixels - 0.5
    bipole = 800 * np.exp(-((x - 0.15) ** 2 + y**2) / 0.01) - 800 * np.exp(-((x + 0.15) ** 2 + y**2) / 0.01)
    field = bipole + np.random.default_rng(int(region)).normal(0, 10, (pixels, pixels))
    header = {"T_REC": "2000.01.01_00:00:00_TAI", "QUALITY": 0, "CAMERA": 1, "TELESCOP": "SDO/HMI",
              "CONTENT": "simulated, not observed", "CDELT1": 0.504, "CDELT2": 0.504}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.fits"
        write_magnetogram(path, field, header.items())
        return path.read_bytes()
