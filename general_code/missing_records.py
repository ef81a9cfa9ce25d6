"""Records of a region without an image, and why: found after its download, kept in a file for the report.

The file is `image_dir/NNNN_missing_records.csv`, beside the region's folder, which holds images only.
"""

import csv
from collections.abc import Container, Sequence
from datetime import datetime
from pathlib import Path

from general_code.cutout_archive import Unpacked
from general_code.cutout_checks import time_in_name
from general_code.cutout_requests import CutoutRequest, record_time
from general_code.jsoc_service import SeriesRecord
from general_code.stage_files import atomic_write

HEADER = ("record", "reason", "detail")


def missing_records(request: CutoutRequest, records: Sequence[SeriesRecord],
                    unpacked: Unpacked) -> list[tuple[str, str, str]]:
    """Return the records of a request for which there is no image in place.

    Parameters
    ----------
    request : CutoutRequest
        All its slots are accounted for.
    records : sequence of SeriesRecord
        That JSOC has, those without image included.
    unpacked : Unpacked
        What came.

    Returns
    -------
    list of (record or file name, reason, detail)
        In order of time, one a record: with a file that did not pass, that file's reason. Then the files that did not
        pass and belong to no record of the request, or to one whose image is in place.
    """
    quality = {record.time: record.quality for record in records}
    missing = []
    unusable = "record without image at JSOC"
    slots = {*request.slots, *quality} - set(unpacked.images)
    rejected, others = _by_record(request, slots, unpacked.rejected)
    for slot in sorted(slots):
        if slot in rejected:
            missing.append((record_time(slot), *rejected[slot]))
        elif slot not in quality:
            missing.append((record_time(slot), "no record at JSOC", ""))
        elif (quality[slot] or 0) < 0:
            missing.append((record_time(slot), unusable, f"QUALITY {quality[slot] & 0xFFFFFFFF:#010x}"))
        else:
            missing.append((record_time(slot), "not among the images received", ""))
    return missing + sorted(others)


def _by_record(request: CutoutRequest, slots: Container[datetime], rejected: Sequence[tuple[str, str, str]]) -> tuple[
        dict[datetime, tuple[str, str]], list[tuple[str, str, str]]]:
    """Return reason and detail of the first rejected file of each of the slots, and the rejected files left over."""
    by_time: dict[datetime, tuple[str, str]] = {}
    others = []
    for name, reason, detail in rejected:
        time = time_in_name(name, request.series)
        if time in slots and time not in by_time:
            by_time[time] = (reason, f"{name}: {detail}")
        else:
            others.append((name, reason, detail))
    return by_time, others


def write_missing_records(image_dir: Path, region: str, missing: Sequence[tuple[str, str, str]]) -> None:
    """Write what `missing_records` found for a region.

    Parameters
    ----------
    image_dir : Path
        Where the file goes.
    region : str
        NOAA number, four digits.
    missing : sequence of (record or file name, reason, detail)
        One line each.
    """
    with atomic_write(_file_of(image_dir, region)) as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *missing])


def read_missing_records(image_dir: Path, region: str) -> list[tuple[str, str, str]]:
    """Return what `missing_records` found for a region.

    Parameters
    ----------
    image_dir : Path
        Holds the file.
    region : str
        NOAA number, four digits.

    Returns
    -------
    list of (record or file name, reason, detail)
        Empty when there is no file for the region.
    """
    try:
        with _file_of(image_dir, region).open(encoding="utf-8", newline="") as file:
            return [tuple(row) for row in csv.reader(file)][1:]
    except FileNotFoundError:
        return []


def _file_of(image_dir: Path, region: str) -> Path:
    """Return the file of a region."""
    return image_dir / f"{region}_missing_records.csv"
