"""One region from its line in the ledger to images in place: submit, wait, download, unpack, list what is missing.

Both routes are driven by this; after any end of the program it continues where the ledger says.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPResponse
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_exponential

from general_code.jsoc.client import IN_WORK, JsocService, Route, SeriesRecord, Status, open_url, read_chunks
from general_code.jsoc.cutouts import Unpacked, most_tar_bytes, put_in_place, time_in_name, unpack_cutouts
from general_code.jsoc.export_requests import CutoutRequest, record_time
from general_code.jsoc.ledger import IN_FLIGHT, DownloadLedger
from general_code.jsoc.retry import (
    DamagedTarError,
    OutageError,
    PendingRequestError,
    RefusedError,
    TransientError,
    UnknownRequestError,
    network_step,
    with_retries,
)
from general_code.stage.files import describe, flush, require_free_space

LONGEST_DOWNLOAD_SECONDS = 86400.0


@dataclass
class RegionDownload:
    """The download of one region, one request in flight at a time; every step is entered in the ledger."""

    region: str
    requests: Mapping[str, CutoutRequest]  # all of this run, by region
    service: JsocService
    route: Route
    ledger: DownloadLedger
    report: Callable[[str], None]  # gets one line for every step
    records: list[SeriesRecord] = field(default_factory=list)  # that JSOC has of the region

    def __post_init__(self) -> None:
        self.request, self.policy = self.requests[self.region], self.service.policy
        self._with_retries = partial(with_retries, policy=self.policy, report=self.report,
                                     is_up=lambda: self.service.is_up() and self.route.is_up())

    def download(self) -> bool:
        """Take all steps that are left and tell whether the images are in place; faults go to the ledger."""
        try:
            self._take_steps()
        except RefusedError as error:
            self.ledger.update(self.region, state="failed", last_error=describe(error))
            self.report(f"{self.region}: given up: {describe(error)}")
            return False
        except TransientError as error:  # the state stays: a later start continues from it
            self.ledger.update(self.region, last_error=describe(error))
            self.report(f"{self.region}: left for a later start: {describe(error)}")
            return False
        return True

    def _take_steps(self) -> None:
        """Submit and fetch, as far as that is left; a request that JSOC has lost is made again."""
        self.records = self._with_retries(lambda: self.service.records(self.request))
        if not self._usable():
            raise RefusedError(f"JSOC has no images in {self.request.record_set} ({len(self.records)} records without "
                               "image)")
        line = self.ledger.update(self.region, files_expected=len(self._usable()))
        if line.state in IN_FLIGHT:
            self.report(f"{self.region}: continuing with request {line.request_id or '(number not known)'}, "
                        f"{line.state}")
        for _ in range(self.policy.max_attempts):
            if self.ledger[self.region].state in ("planned", "failed", "submitting"):
                self._submit()
            try:
                return self._fetch()
            except UnknownRequestError as error:
                fault = error
                self.report(f"{self.region}: {error}; it is requested again")
                self.ledger.update(self.region, state="planned", request_id="", last_error=describe(error))
        raise RefusedError(f"{fault}; {self.policy.max_attempts} requests ended so")

    def _usable(self) -> list[SeriesRecord]:
        """Return the records with an image."""
        return [record for record in self.records if record.quality is None or record.quality >= 0]

    # ------------------------------------------------------------------------ submission

    def _submit(self) -> None:
        """Send the request once no other is pending for the address."""
        waiting = Retrying(
            retry=retry_if_exception_type(PendingRequestError), reraise=True,
            stop=lambda state: state.idle_for > self.policy.foreign_seconds,
            wait=wait_exponential(min(60.0, 6 * self.policy.poll_seconds), max=300.0),
            before_sleep=lambda state: self.report(f"{self.region}: {state.outcome.exception()}; it is left alone, "
                                                   f"next attempt in {state.upcoming_sleep:.3g} s"))
        try:
            number = waiting(self._submit_if_free)
        except PendingRequestError as error:
            raise TransientError(f"another request did not end within {self.policy.foreign_seconds / 60:.0f} minutes: "
                                 f"{error}") from None
        self.ledger.update(self.region, state="requested", request_id=number)
        self.report(f"{self.region}: request {number}, {len(self._usable())} records")

    def _submit_if_free(self) -> str:
        """Send the request, after a pending one of our own is finished; PendingRequestError for that of another."""
        try:
            pending = self._with_retries(self.service.pending_request)
            if pending:
                raise PendingRequestError(pending, f"request {pending} is pending for {self.service.email}")
            return self._with_retries(self._send, submission=True)
        except PendingRequestError as error:
            if not self._finish_own(error.request_id):
                raise
        return self._submit_if_free()

    def _send(self) -> str:
        """Send the request once; a repetition is identical, so that JSOC finds the first."""
        line = self.ledger[self.region]

        def submitting(process: str) -> None:
            self.ledger.update(self.region, state="submitting", process=process, request_id="", route=self.route.name,
                               submitted=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", attempts=line.attempts + 1)

        process = line.process if line.state == "submitting" else ""
        return self.route.submit(self.request, self._usable(), process, submitting)

    def _finish_own(self, number: str) -> bool:
        """Download the region that a pending request of our own belongs to; tell whether there was one."""
        owner = self.ledger.owner_of(number)
        if owner is None or owner.region == self.region or owner.region not in self.requests:
            return False
        self.report(f"{self.region}: first region {owner.region}, whose request {number} is pending")
        return replace(self, region=owner.region).download()

    # ------------------------------------------------------------------------ waiting and download

    def _fetch(self) -> None:
        """Wait for the request, download its tar and unpack it, as far as that is still to do."""
        # each step has its own retries: one within the other, they would multiply
        line = self.ledger[self.region]
        if line.state == "downloaded" and sha256_of(self.ledger.tar_path(self.region)) != line.tar_sha256:
            line = self.ledger.update(self.region, state="requested", tar_sha256="",
                                      last_error="the downloaded tar is not there any more")
        if line.state == "downloaded":
            with suppress(DamagedTarError):  # it was cut short at its source: another download may help
                return self._use_tar()
        url = self._wait_for_tar(line.request_id)
        return with_retries(lambda: self._download_tar(url), self.policy, self.report,
                            lambda: self.service.is_up() and host_is_up(url, self.policy.timeout_seconds))

    def _wait_for_tar(self, number: str) -> str:
        """Look at a request until it is complete; return the address of its tar."""
        seen: Counter[int] = Counter()

        def look() -> str:
            status = self._with_retries(lambda: self.route.status(number))
            seen[status.code] += 1
            if status.code == Status.SUCCESS and not status.tar_url and seen[status.code] >= self.policy.max_attempts:
                raise UnknownRequestError(f"request {number} is complete, but has no tar")
            if seen[Status.NOT_FOUND] > self.policy.not_found_polls:
                raise UnknownRequestError(f"JSOC does not know request {number}: {status.text}")
            if status.code == Status.EXPIRED:
                raise UnknownRequestError(f"request {number} has been deleted at JSOC: {status.text}")
            if status.code not in (Status.SUCCESS, Status.NOT_FOUND, *IN_WORK):
                raise RefusedError(f"request {number} failed at JSOC: {status.text} [status {status.code}]")
            if seen[status.code] == 1 and not status.tar_url:
                state = ("complete, but its tar is not named yet" if status.code == Status.SUCCESS else
                         Status(status.code).name.replace("_", " ").lower())
                self.report(f"{self.region}: request {number}: {state}; checking again at growing intervals")
            return status.tar_url

        looks = Retrying(retry=retry_if_result(lambda url: not url), wait=self.policy.poll_pause(),
                         stop=stop_after_delay(self.policy.request_seconds))
        try:
            return looks(look)
        except RetryError:
            raise TransientError(f"request {number} is not complete after {self.policy.request_seconds / 3600:.1f} "
                                 "hours") from None

    def _download_tar(self, url: str) -> None:
        """Download the tar and unpack it."""
        self.report(f"{self.region}: downloading {url}")
        self.ledger.incoming.mkdir(exist_ok=True)
        most_bytes = most_tar_bytes(self.request)
        digest = download_tar(url, self.ledger.tar_path(self.region), most_bytes, self.policy.timeout_seconds)
        self.ledger.update(self.region, state="downloaded", tar_sha256=digest)
        self._use_tar()

    # ------------------------------------------------------------------------ unpacking

    def _use_tar(self) -> None:
        """Unpack the tar on disk; one that cannot be used is removed."""
        try:
            self._unpack()
        except (DamagedTarError, RefusedError) as error:
            self.ledger.tar_path(self.region).unlink(missing_ok=True)
            self.ledger.update(self.region, state="requested", tar_sha256="", last_error=describe(error))
            raise

    def _unpack(self) -> None:
        """Check the images of the tar, put them in place and list what is missing."""
        tar_path, staging = self.ledger.tar_path(self.region), self.ledger.incoming / self.region
        shutil.rmtree(staging, ignore_errors=True)
        try:
            unpacked = unpack_cutouts(tar_path, staging, self.request)
            if not unpacked.images:
                name, reason, detail = (unpacked.rejected or [("", "no images", "")])[0]
                raise RefusedError(f"none of the {len(unpacked.rejected)} images of the tar passed; {name}: {reason}, "
                                   f"{detail}")
            put_in_place(unpacked, self.ledger.image_dir / self.region, self.request.series)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        missing = missing_records(self.request, self.records, unpacked)
        self.ledger.write_missing_records(self.region, missing)
        self.ledger.update(self.region, state="done", files_received=len(unpacked.images), last_error="")
        tar_path.unlink(missing_ok=True)
        self.report(f"{self.region}: {len(unpacked.images)} of {len(self._usable())} images in place, {len(missing)} "
                    "records without an image")


# ---------------------------------------------------------------------------- the tar


def download_tar(url: str, path: Path, most_bytes: int, timeout_seconds: float) -> str:
    """Download a tar, through `<path>.part`, to disk, checked against Content-Length; return its sha256."""
    step, part = f"download of {path.name}", path.with_name(path.name + ".part")
    digest, received = hashlib.sha256(), 0
    with network_step(step, blocked=False):
        answer = open_url(url, timeout_seconds)
    try:
        with answer, part.open("wb") as file:
            announced = _announced_bytes(answer, most_bytes)
            require_free_space(path.parent, 2 * (announced or 0), f"{path.name} and its images")
            for chunk in read_chunks(answer, step, LONGEST_DOWNLOAD_SECONDS):
                received += len(chunk)
                if received > most_bytes:
                    raise RefusedError(f"{path.name}: more than the {most_bytes:,} bytes that the request can have")
                file.write(chunk)
                digest.update(chunk)
        if announced is not None and received != announced:
            raise DamagedTarError(f"{path.name}: {received:,} of {announced:,} bytes arrived")
        flush(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return digest.hexdigest()


def _announced_bytes(answer: HTTPResponse, most_bytes: int) -> int | None:
    """Return the Content-Length of an answer, None without; refuse web pages and what is too large."""
    if "html" in answer.headers.get("Content-Type", "").lower():
        raise OutageError("a web page came in place of the tar (of a proxy or of maintenance?)")
    text = answer.headers.get("Content-Length", "")
    if not text.isdecimal() or len(text) > 20:
        return None
    if int(text) > most_bytes:
        raise RefusedError(f"the tar has {int(text):,} bytes, the request can have at most {most_bytes:,}")
    return int(text)


def host_is_up(url: str, timeout_seconds: float) -> bool:
    """Tell whether the host of a tar works: False when nobody answers, or with HTTP status 5xx, 408 or 429."""
    # the tar itself is asked for, so that a redirection to another host is followed
    try:
        with network_step("host of the tar", blocked=False), open_url(url, timeout_seconds):
            return True
    except OutageError:
        return False
    except (TransientError, RefusedError):
        return True


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal; "" when there is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing_records(request: CutoutRequest, records: Sequence[SeriesRecord],
                    unpacked: Unpacked) -> list[tuple[str, str, str]]:
    """Return (record, reason, detail) of the slots without an image, in order of time, then of other rejected files."""
    missing = dict.fromkeys(request.slots, ("no record at JSOC", ""))
    for time, quality in records:
        missing[time] = ("not among the images received", "")
        if (quality or 0) < 0:
            missing[time] = ("record without image at JSOC", f"QUALITY {quality & 0xFFFFFFFF:#010x}")
    missing = {time: why for time, why in missing.items() if time not in unpacked.images}
    others, explained = [], set()
    for name, reason, detail in unpacked.rejected:
        time = time_in_name(name, request.series)
        if time in missing and time not in explained:
            missing[time] = (reason, f"{name}: {detail}")
            explained.add(time)
        else:
            others.append((name, reason, detail))
    return [(record_time(time), *missing[time]) for time in sorted(missing)] + sorted(others)
