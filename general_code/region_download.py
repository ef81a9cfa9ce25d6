"""One region from its line in the ledger to images in place: submit, wait, download, unpack, list what is missing.

Both routes are driven by this; after any end of the program it goes on where the ledger says.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from general_code.cutout_archive import most_tar_bytes, put_in_place, unpack_cutouts
from general_code.cutout_requests import CutoutRequest
from general_code.download_ledger import IN_FLIGHT, DownloadLedger
from general_code.jsoc_export import (
    EXPIRED,
    PROCESSING,
    QUEUED,
    QUEUED_FOR_TEST,
    SUCCESS,
    ExportStatus,
    is_unknown,
)
from general_code.jsoc_faults import (
    DamagedTarError,
    PendingRequestError,
    RefusedError,
    TransientError,
    UnknownRequestError,
    doubling,
    persist,
)
from general_code.jsoc_service import JsocService, SeriesRecord
from general_code.missing_records import missing_records, write_missing_records
from general_code.tar_download import download_tar, host_answers, sha256_of

INCOMING = ".incoming"  # folder below image_dir for tars and images on their way


class Route(Protocol):
    """What a route can do; see `DrmsRoute` and `BrowserRoute`.

    Attributes
    ----------
    name : {"drms", "browser"}
        For the ledger.
    """

    name: str

    def answers(self) -> bool:
        """Tell whether all is there that this route needs besides the service.

        Returns
        -------
        bool
            While it is not, tries are not counted.
        """

    def submit(self, request: CutoutRequest, records: Sequence[SeriesRecord], process: str,
               submitting: Callable[[str], object]) -> str:
        """Send one export request.

        Parameters
        ----------
        request : CutoutRequest
            Record set, region and size.
        records : sequence of SeriesRecord
            Of the record set.
        process : str
            Arguments of im_patch of an earlier try, to repeat them to the letter; "" without one.
        submitting : callable
            Called with the arguments as text just before the request is sent.

        Returns
        -------
        str
            JSOC's number of the request.
        """

    def status(self, request_id: str) -> ExportStatus:
        """Look at a request once.

        Parameters
        ----------
        request_id : str
            JSOC's number.

        Returns
        -------
        ExportStatus
            As JSOC answers now.
        """


class RegionDownload:
    """Brings regions, one request in flight at a time.

    Parameters
    ----------
    service : JsocService
        For queries, and its patience.
    route : Route
        For the export.
    ledger : DownloadLedger
        Every step is entered before and after it is taken.
    image_dir : Path
        The images go to `image_dir/NNNN/`.
    requests : mapping of str to CutoutRequest
        All of this run, by region.
    say : callable
        Told every step, in one line.
    """

    def __init__(self, service: JsocService, route: Route, ledger: DownloadLedger, image_dir: Path,
                 requests: Mapping[str, CutoutRequest], say: Callable[[str], None]) -> None:
        self.service, self.route, self.ledger = service, route, ledger
        self.image_dir, self.requests, self.say = image_dir, requests, say
        self.patience = service.patience

    def bring(self, request: CutoutRequest) -> bool:
        """Bring one region; whatever is wrong with it goes to its line in the ledger.

        Parameters
        ----------
        request : CutoutRequest
            With a line in the ledger.

        Returns
        -------
        bool
            Whether the images are in place.

        Raises
        ------
        UserError
            What the user has to mend before any region can be brought.
        """
        try:
            self._bring(request)
        except RefusedError as error:
            self.ledger.update(request.region, state="failed", last_error=str(error))
            self.say(f"{request.region}: given up: {error}")
            return False
        except TransientError as error:  # the state stays: a later start goes on from it
            self.ledger.update(request.region, last_error=str(error))
            self.say(f"{request.region}: left for a later start: {error}")
            return False
        return True

    def _bring(self, request: CutoutRequest) -> None:
        """Take all steps that are left; a request that JSOC has lost is made again."""
        records = self._persist(lambda: self.service.records(request))
        usable = [record for record in records if record.quality is None or record.quality >= 0]
        if not usable:
            raise RefusedError(f"JSOC has no images in {request.record_set} ({len(records)} records without image)")
        line = self.ledger.update(request.region, files_expected=len(usable))
        if line.state in IN_FLIGHT:
            self.say(f"{request.region}: going on with request {line.request_id or '(number not known)'}, {line.state}")
        fault: Exception = RefusedError("no attempt was allowed (max_attempts)")
        for _ in range(self.patience.max_attempts):
            if self.ledger[request.region].state in ("planned", "failed", "submitting"):
                self._submit(request, usable)
            try:
                self._fetch(request, records, usable)
                return
            except UnknownRequestError as error:
                fault = error
                self.say(f"{request.region}: {error}; it is requested again")
                self.ledger.update(request.region, state="planned", request_id="", last_error=str(error))
        raise RefusedError(f"{fault}; {self.patience.max_attempts} requests ended so")

    def _persist(self, step: Callable, submission: bool = False) -> object:
        """Run a step as `persist` does, with this run's patience."""
        return persist(step, self.patience, self.say, lambda: self.service.answers() and self.route.answers(),
                       submission)

    # ------------------------------------------------------------------------ submission

    def _submit(self, request: CutoutRequest, usable: Sequence[SeriesRecord]) -> None:
        """Send the request once no other is pending for the address."""
        region, waited = request.region, 0.0
        for pause in doubling(min(60.0, 6 * self.patience.poll_seconds), 300.0):
            pending = self._persist(self.service.pending_request)
            text = f"request {pending} is pending for {self.service.email}"
            if not pending:
                try:
                    number = self._persist(lambda: self._send(request, usable), submission=True)
                    break
                except PendingRequestError as error:
                    pending, text = error.request_id, str(error)
            if self._finish_own(pending, region):
                continue
            if waited > self.patience.foreign_seconds:
                raise TransientError(f"another request did not end within {waited / 60:.0f} minutes: {text}")
            self.say(f"{region}: {text}; it is left alone, next try in {pause:.3g} s")
            time.sleep(pause)
            waited += pause
        self.ledger.update(region, state="requested", request_id=number)
        self.say(f"{region}: request {number}, {len(usable)} records")

    def _send(self, request: CutoutRequest, usable: Sequence[SeriesRecord]) -> str:
        """Send the request once; a repetition is identical, so that JSOC finds the first."""
        line = self.ledger[request.region]

        def submitting(options: str) -> None:
            self.ledger.update(request.region, state="submitting", process=options, request_id="",
                               route=self.route.name,
                               submitted=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", attempts=line.attempts + 1)

        return self.route.submit(request, usable, line.process if line.state == "submitting" else "", submitting)

    def _finish_own(self, number: str, region: str) -> bool:
        """Bring the region that a pending request of our own belongs to; tell whether there was one."""
        owner = self.ledger.owner_of(number)
        if owner is None or owner.region == region or owner.region not in self.requests:
            return False
        self.say(f"{region}: first region {owner.region}, whose request {number} is pending")
        return self.bring(self.requests[owner.region])

    # ------------------------------------------------------------------------ waiting, download

    def _fetch(self, request: CutoutRequest, records: Sequence[SeriesRecord], usable: Sequence[SeriesRecord]) -> None:
        """Wait for the request, download its tar and unpack it, as far as that is still to do."""
        # each step has its own patience: one within the other, they would multiply
        line, tar_path = self.ledger[request.region], self._tar_path(request.region)
        if line.state == "downloaded" and sha256_of(tar_path) != line.tar_sha256:
            line = self.ledger.update(request.region, state="requested", tar_sha256="",
                                      last_error="the downloaded tar is not there any more")
        if line.state == "downloaded":
            with suppress(DamagedTarError):  # it was cut short at its source: another download may help
                return self._use_tar(request, records, usable)
        url = self._wait_for_tar(line.request_id, request.region)
        return persist(lambda: self._bring_tar(url, request, records, usable), self.patience, self.say,
                lambda: self.service.answers() and host_answers(url, self.patience.timeout_seconds))

    def _bring_tar(self, url: str, request: CutoutRequest, records: Sequence[SeriesRecord],
                   usable: Sequence[SeriesRecord]) -> None:
        """Download the tar and unpack it."""
        tar_path = self._tar_path(request.region)
        self.say(f"{request.region}: downloading {url}")
        tar_path.parent.mkdir(exist_ok=True)
        digest = download_tar(url, tar_path, most_tar_bytes(request), self.patience.timeout_seconds)
        self.ledger.update(request.region, state="downloaded", tar_sha256=digest)
        self._use_tar(request, records, usable)

    def _use_tar(self, request: CutoutRequest, records: Sequence[SeriesRecord], usable: Sequence[SeriesRecord]) -> None:
        """Unpack the tar on disk; one that cannot be used is removed."""
        try:
            self._unpack(request, records, usable)
        except (DamagedTarError, RefusedError) as error:
            self.ledger.update(request.region, state="requested", tar_sha256="", last_error=str(error))
            self._tar_path(request.region).unlink(missing_ok=True)
            raise

    def _tar_path(self, region: str) -> Path:
        """Return where the tar of a region's request is kept until its images are in place."""
        return self.image_dir / INCOMING / f"{region}_{self.ledger[region].request_id}.tar"

    def _wait_for_tar(self, number: str, region: str) -> str:
        """Look at a request until it is complete; return the address of its tar."""
        unknown, without_tar, told, start = 0, 0, "", time.monotonic()
        for pause in self.patience.polls():
            status = self._persist(lambda: self.route.status(number))
            if status.code == SUCCESS and status.tar_url:
                return status.tar_url
            if status.code == SUCCESS:
                without_tar += 1
                if without_tar >= self.patience.max_attempts:
                    raise UnknownRequestError(f"request {number} is complete, but has no tar")
            elif is_unknown(status):
                unknown += 1
                if unknown > self.patience.not_found_polls:
                    raise UnknownRequestError(f"JSOC does not know request {number}: {status.text}")
            elif status.code == EXPIRED:
                raise UnknownRequestError(f"request {number} has been deleted at JSOC: {status.text}")
            elif status.code not in (PROCESSING, QUEUED, QUEUED_FOR_TEST):
                raise RefusedError(f"request {number} failed at JSOC: {status.text} [status {status.code}]")
            if time.monotonic() - start > self.patience.request_seconds:
                hours = self.patience.request_seconds / 3600
                raise TransientError(f"request {number} is not complete after {hours:.1f} hours")
            if told != (told := f"status {status.code}"):
                self.say(f"{region}: request {number} {told}; looking again in {pause:.3g} s, then less often")
            time.sleep(pause)
        raise AssertionError("the polls never end")

    # ------------------------------------------------------------------------ unpacking

    def _unpack(self, request: CutoutRequest, records: Sequence[SeriesRecord], usable: Sequence[SeriesRecord]) -> None:
        """Check the images of the tar, put them in place and list what is missing."""
        region = request.region
        staging = self.image_dir / INCOMING / region
        shutil.rmtree(staging, ignore_errors=True)
        try:
            unpacked = unpack_cutouts(self._tar_path(region), staging, request)
            if not unpacked.images:
                name, reason, detail = (unpacked.rejected or [("", "no images", "")])[0]
                raise RefusedError(f"none of the {len(unpacked.rejected)} images of the tar passed; {name}: {reason}, "
                                   f"{detail}")
            put_in_place(unpacked, self.image_dir / region, request.series)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        missing = missing_records(request, records, unpacked)
        write_missing_records(self.image_dir, region, missing)
        tar_path = self._tar_path(region)
        self.ledger.update(region, state="done", files_received=len(unpacked.images), last_error="")
        tar_path.unlink(missing_ok=True)
        self.say(f"{region}: {len(unpacked.images)} of {len(usable)} images in place, {len(missing)} records without")


def remove_leftovers(image_dir: Path, ledger: DownloadLedger) -> None:
    """Remove what killed runs have left of incoming files; a whole tar that waits to be unpacked stays.

    Parameters
    ----------
    image_dir : Path
        Holds the folder of incoming files, if there is one.
    ledger : DownloadLedger
        Knows which tars are waiting.
    """
    folder = image_dir / INCOMING
    if not folder.is_dir():
        return
    wanted = {f"{line.region}_{line.request_id}.tar" for line in ledger if line.state == "downloaded"}
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in wanted:
            path.unlink()
    with suppress(OSError):  # not empty
        folder.rmdir()
