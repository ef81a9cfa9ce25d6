"""The simulated JSOC's archive: records of the full-disk series, the table of active regions, cut-outs.

Either the cut-outs of a folder `NNNN/*.fits` are served, or small ones are made up for regions that are named.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from general_code.cutout_requests import Position, record_time
from general_code.export_positions import SummaryPositions
from general_code.image_names import parse_image_name
from general_code.magnetograms import list_images, write_magnetogram
from general_code.noaa_text import region_number
from general_code.simulated_faults import Faults
from general_code.stage_files import given

CADENCE = timedelta(seconds=720)
NO_IMAGE = -(2**31)  # QUALITY with bit 31: the record has no image
DEGREES_PER_DAY = 13.2  # of solar rotation as seen from the Earth
_RECORD_SET = re.compile(r"(?P<series>[\w.]+)(?P<filters>(?:\[[^\]]*\])*)(?:\{(?P<segments>[^}]*)\})?")
_TIME = r"\d{4}\.\d\d?\.\d\d?_\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:_TAI)?"
_TIMES = re.compile(rf"(?P<start>{_TIME})(?:-(?P<stop>{_TIME})|/(?P<length>\d+[smhd])(?:@(?P<step>\d+[smhd]))?)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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
    """Parse a record set like `hmi.M_720s[t1-t2][1][? QUALITY >= 0 ?]{magnetogram}`.

    Parameters
    ----------
    text : str
        Times as `t`, `t1-t2` (both included), `t/15d`, `t/15d@1h` or nothing for all.

    Returns
    -------
    RecordSet
        See there.

    Raises
    ------
    ValueError
        When it is not of that form.
    """
    match = _RECORD_SET.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid record-set specification `{text}'")
    filters = re.findall(r"\[([^\]]*)\]", match["filters"])
    clauses = [clause for clause in filters if clause.startswith(("?", "!"))]
    start, stop, step = _parse_times(filters[0] if filters and filters[0] not in clauses else "")
    usable = any(re.fullmatch(r"\?\s*quality\s*>=\s*0\s*\?", clause, re.IGNORECASE) for clause in clauses)
    return RecordSet(match["series"], start, stop, step, usable, filters)


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
        self.files = _index_images(image_dir) if given(image_dir) else {}
        self.table = _table_of_summaries(srs_dir) if given(srs_dir) else self._made_up_table()

    def records(self, wanted: RecordSet) -> list[Record]:
        """Return the records of a set.

        Parameters
        ----------
        wanted : RecordSet
            From `parse_record_set`.

        Returns
        -------
        list of Record
            In order of time.
        """
        times = self._times(wanted)
        records = [Record(time, camera, NO_IMAGE if time in self.bad else 0) for time, camera in times
                   if time not in self.missing and (time - wanted.start) % wanted.step == timedelta(0)]
        return [record for record in records if record.quality >= 0 or not wanted.usable_only]

    def region_at(self, position: Position) -> str | None:
        """Return the region that the table has at a place and time.

        Parameters
        ----------
        position : Position
            As a request's im_patch gives it.

        Returns
        -------
        str or None
            Four digits, of several regions one with images; None without a row of that time and place.
        """
        place = float(position.x), float(position.y)
        found = [region for region, rows in self.table.items() for row in rows
                 if row.t_ref == position.t_ref and (float(row.x), float(row.y)) == place]
        return max(found, key=lambda region: region in self.files, default=None)

    def cutout(self, region: str, record: Record, pixels: int) -> bytes | None:
        """Return the cut-out of a region in a record.

        Parameters
        ----------
        region : str
            Four digits.
        record : Record
            Of the series.
        pixels : int
            Width and height, for a made-up image; one of a folder is served as it is.

        Returns
        -------
        bytes or None
            Of the FITS file; None when the folder has none.
        """
        if self.files:
            path = self.files.get(region, {}).get((record.time, record.camera))
            return path.read_bytes() if path else None
        return made_up_cutout(region, record, pixels)

    def full_disk(self, record: Record, pixels: int) -> bytes:
        """Return a made-up full-disk image, which a request without im_patch gets.

        Parameters
        ----------
        record : Record
            Of the series.
        pixels : int
            Width and height.

        Returns
        -------
        bytes
            Of the FITS file.
        """
        return made_up_cutout("0001", record, pixels)

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

    def _made_up_table(self) -> dict[str, list[Position]]:
        """Return daily positions that tell the regions apart: the latitude goes by the region's rank."""
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
    """Return the records of a set, but for what the switches do to them.

    Parameters
    ----------
    series : SimulatedSeries
        The archive.
    wanted : RecordSet
        From `parse_record_set`.
    faults : Faults
        `empty_series`, `missing_slots`, `bad_records`, `both_cameras`.

    Returns
    -------
    list of Record
        In order of time.
    """
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
    for path in list_images(image_dir, "fits"):
        try:
            name, region = parse_image_name(path.name), region_number(path.parent.name)
        except ValueError:
            continue
        images.setdefault(region, {})[name.time.astype(datetime), name.camera] = path
    return images


def _table_of_summaries(srs_dir: Path) -> dict[str, list[Position]]:
    """Return the positions of every region in a folder of summaries, in order of time."""
    return {region: [position for _, position in rows] for region, rows in SummaryPositions(srs_dir).table.items()}


# ---------------------------------------------------------------------------- made-up images


def made_up_cutout(region: str, record: Record, pixels: int) -> bytes:
    """Return a small FITS file as JSOC delivers them: a bipole in noise, the same at all times of a region.

    Parameters
    ----------
    region : str
        Seeds the noise.
    record : Record
        Gives T_REC, CAMERA and QUALITY.
    pixels : int
        Width and height.

    Returns
    -------
    bytes
        Of the file.
    """
    template = _template(region, pixels)
    return (template.replace(b"2000.01.01_00:00:00_TAI", record_time(record.time).encode())
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
