"""The ledger of a download: one line a region, always whole on disk, so that a run can go on after any end.

Reads and writes `download_ledger.csv`, header and one line a region in the order of the list:

===============  ================================================================================
region           NOAA number, four digits
state            planned, submitting, requested, downloaded, done or failed (see STATES)
request_id       of JSOC, e.g. JSOC_20240107_012; empty until it is known
record_set       what was asked for; with patch_pixels it tells one request from another
patch_pixels     width and height of the cut-outs
process          arguments of im_patch as submitted, so that a repetition is identical
files_expected   records with an image at JSOC
files_received   images that passed their checks and are in place
tar_sha256       of the tar, as downloaded
route            drms or browser: the one that submitted it, which alone can repeat it
submitted        UTC of the submission
attempts         submissions of this request
last_error       the last thing that went wrong; kept until the region is done
===============  ================================================================================
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from general_code.cutout_requests import CutoutRequest
from general_code.stage_files import UserError, atomic_write

STATES = {
    "planned": "nothing has been sent",
    "submitting": "the request is being sent; whether it arrived is not known",
    "requested": "JSOC has the request, its number is known",
    "downloaded": "the tar is on disk, complete",
    "done": "the images are in place",
    "failed": "given up for this run; a new start tries again",
}
IN_FLIGHT = ("submitting", "requested", "downloaded")


@dataclass(frozen=True)
class LedgerLine:
    """One region's line; see the module's table."""

    region: str
    state: str = "planned"
    request_id: str = ""
    record_set: str = ""
    patch_pixels: int = 0
    process: str = ""
    files_expected: int = 0
    files_received: int = 0
    tar_sha256: str = ""
    route: str = ""
    submitted: str = ""
    attempts: int = 0
    last_error: str = ""

    def is_for(self, request: CutoutRequest) -> bool:
        """Tell whether the line was made for this very request.

        Parameters
        ----------
        request : CutoutRequest
            Compared by region, record set and size.

        Returns
        -------
        bool
            False for other dates, another series or size.
        """
        return (self.region, self.record_set, self.patch_pixels) == (
            request.region, request.record_set, request.patch_pixels)


class DownloadLedger:
    """The ledger on disk and in memory; every change is on disk before `update` returns.

    Parameters
    ----------
    path : Path
        `download_ledger.csv`; need not exist.

    Raises
    ------
    UserError
        When the file is not a ledger: it is not touched then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = {line.region: line for line in _read_lines(path)} if path.exists() else {}

    def __iter__(self) -> Iterator[LedgerLine]:
        return iter(list(self._lines.values()))

    def __getitem__(self, region: str) -> LedgerLine:
        return self._lines[region]

    def plan(self, requests: Iterable[CutoutRequest]) -> list[CutoutRequest]:
        """Enter the requests that the ledger does not know, as planned.

        Parameters
        ----------
        requests : iterable of CutoutRequest
            In the list's order, which the ledger keeps for new lines.

        Returns
        -------
        list of CutoutRequest
            Those whose region had a line for another request (dates, series or size), which is dropped.
        """
        changed = []
        for request in requests:
            line = self._lines.get(request.region)
            if line is not None and line.is_for(request):
                continue
            if line is not None and line.state != "planned":
                changed.append(request)
            self._lines[request.region] = LedgerLine(
                request.region, record_set=request.record_set, patch_pixels=request.patch_pixels)
        self._write()
        return changed

    def update(self, region: str, **changes: str | int) -> LedgerLine:
        """Change fields of a region's line, on disk.

        Parameters
        ----------
        region : str
            With a line.
        **changes
            Fields of LedgerLine and their new values.

        Returns
        -------
        LedgerLine
            The line as it is now.

        Raises
        ------
        ValueError
            For a state that is not one of STATES.
        """
        if changes.get("state", "planned") not in STATES:
            raise ValueError(f"state '{changes['state']}' is not one of {', '.join(STATES)}")
        self._lines[region] = replace(self._lines[region], **changes)
        self._write()
        return self._lines[region]

    def owner_of(self, request_id: str) -> LedgerLine | None:
        """Return the line that a request of JSOC's belongs to.

        Parameters
        ----------
        request_id : str
            JSOC's number.

        Returns
        -------
        LedgerLine or None
            In flight; None when the request is not of this ledger.
        """
        return next((line for line in self if line.state in IN_FLIGHT and request_id
                     and line.request_id == request_id), None)

    def _write(self) -> None:
        """Put the whole ledger on disk."""
        with atomic_write(self.path) as file:
            writer = csv.DictWriter(file, [field.name for field in fields(LedgerLine)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(line) for line in self)


def _read_lines(path: Path) -> list[LedgerLine]:
    """Return the lines of a ledger; UserError when it is not one."""
    names = [field.name for field in fields(LedgerLine)]
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames not in (names, [name for name in names if name != "route"]):
            raise UserError(f"{path}: not a ledger of downloads (expected the columns {','.join(names)}); "
                            "move it away to start anew")
        return [_parse_line({"route": ""} | row, path, reader.line_num) for row in reader]  # version 0.1 noted no route


def _parse_line(row: dict, path: Path, number: int) -> LedgerLine:
    """Return one line of a ledger."""
    numbers = {field.name: row[field.name] for field in fields(LedgerLine) if field.type is int}
    try:
        if row["state"] not in STATES or None in row.values() or None in row:
            raise ValueError
        return LedgerLine(**(row | {name: int(text) for name, text in numbers.items()}))
    except (ValueError, TypeError):
        raise UserError(f"{path}, line {number}: not a line of a ledger of downloads; mend it, or move the ledger "
                        "away to start anew") from None
