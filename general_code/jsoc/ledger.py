"""The ledger of a download: one line a region, always complete on disk, so that a run can continue after any end.

Reads and writes `download_ledger.csv`: a header, and one line (`LedgerLine`) a region in the order of the list; and
`NNNN_missing_records.csv`: record, reason, detail of the records without an image.
"""

import csv
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, StringConstraints, ValidationError

from general_code.jsoc.export_requests import CutoutRequest
from general_code.stage.files import UserError, atomic_write

STATES = {
    "planned": "nothing has been sent",
    "submitting": "the request is being sent; whether it arrived is not known",
    "requested": "JSOC has the request, its number is known",
    "downloaded": "the tar is on disk, complete",
    "done": "the images are in place",
    "failed": "given up; tried again only when it is asked for",
}
IN_FLIGHT = ("submitting", "requested", "downloaded")
MISSING_HEADER = ("record", "reason", "detail")


class LedgerLine(BaseModel):
    """One region's line; its fields are the columns of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: Annotated[str, StringConstraints(pattern="^[0-9]{4}$")]  # NOAA number
    state: Literal[tuple(STATES)] = "planned"
    request_id: str = ""  # of JSOC, e.g. JSOC_20240107_012; empty until it is known
    record_set: str = ""  # what was asked for; with patch_pixels it distinguishes requests
    patch_pixels: NonNegativeInt = 0  # width and height of the cut-outs
    process: str = ""  # arguments of im_patch as submitted, so that a repetition is identical
    files_expected: NonNegativeInt = 0  # records with an image at JSOC
    files_received: NonNegativeInt = 0  # images that passed their checks and are in place
    tar_sha256: str = ""  # of the tar, as downloaded
    route: str = ""  # drms or browser: the one that submitted it, which alone can repeat it
    submitted: str = ""  # UTC of the submission
    attempts: NonNegativeInt = 0  # submissions of this request
    last_error: str = ""  # the last thing that went wrong; kept until the region is done

    def is_for(self, request: CutoutRequest) -> bool:
        """Tell whether the line was made for this very request: same region, dates, series and size."""
        return (self.region, self.record_set, self.patch_pixels) == (
            request.region, request.record_set, request.patch_pixels)


class DownloadLedger:
    """The ledger of a folder of images, on disk and in memory; every change is on disk before `update` returns."""

    def __init__(self, image_dir: Path) -> None:
        self.image_dir, self.path = image_dir, image_dir / "download_ledger.csv"
        self.incoming = image_dir / ".incoming"  # tars and images on their way
        self._lines = {line.region: line for line in _read_lines(self.path)} if self.path.exists() else {}

    def __iter__(self) -> Iterator[LedgerLine]:
        return iter(list(self._lines.values()))

    def __getitem__(self, region: str) -> LedgerLine:
        return self._lines[region]

    def plan(self, requests: Iterable[CutoutRequest]) -> list[CutoutRequest]:
        """Enter new requests as planned; return those whose region had a line for another request, now dropped."""
        changed = []
        for request in requests:
            line = self._lines.get(request.region)
            if line is not None and line.is_for(request):
                continue
            if line is not None and line.state != "planned":
                changed.append(request)
            self._lines[request.region] = LedgerLine(region=request.region, record_set=request.record_set,
                                                     patch_pixels=request.patch_pixels)
        self._write()
        return changed

    def update(self, region: str, **changes: str | int) -> LedgerLine:
        """Change fields of a region's line, on disk; return the line as it is now."""
        self._lines[region] = LedgerLine(**(dict(self._lines[region]) | changes))
        self._write()
        return self._lines[region]

    def owner_of(self, request_id: str) -> LedgerLine | None:
        """Return the line in flight that a request of JSOC's belongs to; None when it is not of this ledger."""
        return next((line for line in self if line.state in IN_FLIGHT and request_id
                     and line.request_id == request_id), None)

    def tar_path(self, region: str) -> Path:
        """Return where the tar of a region's request is kept until its images are in place."""
        return self.incoming / f"{region}_{self[region].request_id}.tar"

    def remove_leftovers(self) -> None:
        """Remove what killed runs have left of incoming files; a whole tar that waits to be unpacked stays."""
        wanted = [self.tar_path(line.region) for line in self if line.state == "downloaded"]
        for path in self.incoming.glob("*"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path not in wanted:
                path.unlink()
        with suppress(OSError):  # not there, or not empty
            self.incoming.rmdir()

    def write_missing_records(self, region: str, missing: Sequence[tuple[str, str, str]]) -> None:
        """Write record or file name, reason and detail of all that is not among a region's images."""
        with atomic_write(self._missing_path(region)) as file:
            csv.writer(file, lineterminator="\n").writerows([MISSING_HEADER, *missing])

    def missing_records(self, region: str) -> list[tuple[str, str, str]]:
        """Return what was written for a region; nothing when there is no file, or it cannot be read."""
        try:
            with self._missing_path(region).open(encoding="utf-8", newline="") as file:
                return [tuple(row) for row in csv.reader(file) if len(row) == len(MISSING_HEADER)][1:]
        except (OSError, UnicodeDecodeError, csv.Error):
            return []

    def _missing_path(self, region: str) -> Path:
        """Return the path of a region's table; it stands beside the folder, which holds images only."""
        return self.image_dir / f"{region}_missing_records.csv"

    def _write(self) -> None:
        """Put the whole ledger on disk."""
        with atomic_write(self.path) as file:
            writer = csv.DictWriter(file, list(LedgerLine.model_fields), lineterminator="\n")
            writer.writeheader()
            writer.writerows(dict(line) for line in self)


def _read_lines(path: Path) -> list[LedgerLine]:
    """Return the lines of a ledger; UserError when it is not one."""
    names = list(LedgerLine.model_fields)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="surplus")
            if reader.fieldnames not in (names, [name for name in names if name != "route"]):
                raise UserError(f"{path}: not a ledger of downloads (expected the columns {','.join(names)}); move it "
                                "away to start again")
            return [LedgerLine.model_validate({"route": ""} | row) for row in reader]  # version 0.1 noted no route
    except (ValidationError, csv.Error, UnicodeDecodeError):
        raise UserError(f"{path}, line {reader.line_num}: not a line of a ledger of downloads; fix it, or move the "
                        "ledger away to start again") from None
