"""The queries of one JSOC host (address, records, positions), and the route "drms", which submits export requests.

Addresses are composed by the drms package; its answers, and those of two CGIs that it lacks, are fetched here, so that
each one is bounded in time and size and checked against its schema. Every fault becomes an exception of retry.py.

References
----------
http://jsoc.stanford.edu/jsocwiki/AjaxJsocConnect (the CGIs and their answers).
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import IntEnum
from http.client import HTTPMessage, HTTPResponse
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import drms
from drms.config import ServerConfig
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from general_code.jsoc import export_requests
from general_code.jsoc.export_requests import CutoutRequest, Passage, Position, SummaryPositions
from general_code.jsoc.retry import (
    BlockedError,
    OutageError,
    PendingRequestError,
    RefusedError,
    RetryPolicy,
    TransientError,
    network_step,
    with_retries,
)
from general_code.stage.files import LONGEST_MESSAGE, UserError, printable

REGION_TABLE = "jsoc.noaa_active_regions"
REQUEST_ID = re.compile(r"JSOC_\d{8}_\d{3,9}(?:_X)?(?:_IN)?", re.ASCII)
USER_AGENT = "Magnetogram-Active-Regions-downloader"
CHUNK_BYTES = 1 << 20
LARGEST_ANSWER = 32 << 20  # [bytes]: the index of 60,000 records has ten million

# what status 4 means is in its text
UNKNOWN_REQUEST_TEXT = "invalid export DRMS record"  # newer servers: in place of status 6
TRANSIENT_TEXT = "save new export-request hash"  # passes by itself
ADDRESS_TEXT = re.compile("neither validated nor registered|not a valid email|registration is pending", re.IGNORECASE)
CHECK_TEXT = "Cannot process your request"  # JSOC could not check the address: may pass


class Status(IntEnum):
    """Status codes of an export request."""

    SUCCESS = 0
    PROCESSING = 1
    QUEUED = 2
    TOO_LARGE = 3
    FAILED = 4
    EXPIRED = 5
    NOT_FOUND = 6
    PENDING = 7
    QUEUED_FOR_TEST = 12


IN_WORK = (Status.PROCESSING, Status.QUEUED, Status.QUEUED_FOR_TEST)


# ---------------------------------------------------------------------------- answers and their schemas


def _plain_text(value: Any) -> Any:
    """Return a text of JSOC's as one printable line of bounded length that every encoding holds; null is empty."""
    if not isinstance(value, str):
        return "" if value is None else value
    line = " ".join(value[:10 * LONGEST_MESSAGE].encode("utf-8", "replace").decode().split())
    return printable(line[:LONGEST_MESSAGE])


_Text = Annotated[str, BeforeValidator(_plain_text), AfterValidator(_plain_text)]


class _Keyword(BaseModel):
    """Values of one keyword, as text."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    name: str
    values: list[_Text]


class _Answer(BaseModel):
    """Any answer of JSOC's: a number may be written as text and vice versa, fields other than these are ignored."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    status: int
    error: _Text = ""
    msg: _Text = ""
    requestid: _Text = ""
    tarfile: _Text = ""
    keywords: list[_Keyword] | _Text = []  # of a query, nothing without records; a remark in an export


class SeriesRecord(NamedTuple):
    """A record of the full-disk series: time (TAI) and QUALITY (signed; None where the table has no number)."""

    time: datetime
    quality: int | None


class ExportStatus(NamedTuple):
    """What JSOC says about a request: status code (Status), address of the tar ("" without), the text."""

    code: int
    tar_url: str
    text: str


def signed_quality(text: str) -> int | None:
    """Return QUALITY as a signed 32-bit number, negative for records without image; None for MISSING and the like."""
    # bit 31, see http://jsoc.stanford.edu/doc/data/hmi/Quality_Bits/QUALITY.txt
    try:
        value = int(text, 0)
    except ValueError:
        return None
    return value - 2**32 if value >= 2**31 else value


# ---------------------------------------------------------------------------- the network


class _WebRedirects(HTTPRedirectHandler):
    """Follows redirections to web addresses only; Python's own also lead on to ftp."""

    def redirect_request(self, request: Request, answer: HTTPResponse, code: int, message: str, headers: HTTPMessage,
                         new_url: str) -> Request | None:
        """Return the request for the new address."""
        return super().redirect_request(request, answer, code, message, headers,
                                        newurl=export_requests.check_web_address(new_url))


def open_url(url: str, timeout_seconds: float) -> HTTPResponse:
    """Return the answer at a web address, to be closed; raises what the network raises."""
    request = Request(export_requests.check_web_address(url), headers={"User-Agent": USER_AGENT})
    return build_opener(_WebRedirects).open(request, timeout=timeout_seconds)


def read_chunks(answer: HTTPResponse, step: str, longest_seconds: float) -> Iterator[bytes]:
    """Yield the pieces of an answer's body as they arrive, however slowly: OutageError when it takes too long."""
    start = time.monotonic()
    while True:
        with network_step(step, blocked=False):
            chunk = answer.read1(CHUNK_BYTES)
        if not chunk:
            return
        if time.monotonic() - start > longest_seconds:
            raise OutageError(f"{step}: the answer is not complete after {longest_seconds:,.0f} s")
        yield chunk


# ---------------------------------------------------------------------------- queries


class JsocService(drms.HttpJsonClient):
    """The queries of one JSOC host, on behalf of a registered address; `note` gets export requests as they are sent."""

    def __init__(self, base_url: str, email: str, policy: RetryPolicy) -> None:
        self.base_url = base_url.rstrip("/") + "/"
        self.email, self.policy = email, policy
        self.note: Callable[[str], object] = lambda text: None
        self.cgi_url = urljoin(self.base_url, "cgi-bin/ajax/")
        super().__init__(ServerConfig(
            name="JSOC-Driver", cgi_baseurl=self.cgi_url, cgi_show_series="show_series", cgi_jsoc_info="jsoc_info",
            cgi_jsoc_fetch="jsoc_fetch", cgi_check_address="checkAddress.sh", http_download_baseurl=self.base_url))

    def _json_request(self, url: str) -> SimpleNamespace:
        """Fetch an answer for drms, whose methods compose the address and return `data`."""
        step = urlsplit(url).path.rpartition("/")[2]
        if "op=exp_request" in url:
            self.note(f"sending {url}")
        try:
            return SimpleNamespace(data=_Answer.model_validate(json.loads(self.get_text(url))))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, fault["loc"])) or "the whole"
            raise TransientError(f"{step}: the answer is not one of JSOC's ({place}: {fault['msg']})") from None
        except (ValueError, RecursionError):  # also a number of thousands of digits
            raise OutageError(f"{step}: the answer is not JSON (a web page of a proxy or of maintenance?)") from None

    def get_text(self, url: str) -> str:
        """Return what is at an address."""
        step, content = urlsplit(url).path.rpartition("/")[2], b""
        with network_step(step):
            answer = open_url(url, self.policy.timeout_seconds)
        with answer:
            for chunk in read_chunks(answer, step, 10 * self.policy.timeout_seconds):
                content += chunk
                if len(content) > LARGEST_ANSWER:
                    raise OutageError(f"{step}: the answer has more than {LARGEST_ANSWER:,} bytes")
        return content.decode("latin-1")

    def is_up(self) -> bool:
        """Tell whether the service works: only a proper answer on the user's address counts, whatever it says."""
        try:
            self.check_address(self.email)
        except TransientError:
            return False
        return True

    def require_registered_address(self, report: Callable[[str], None]) -> None:
        """Raise UserError, with what to do, unless the host answers and knows the address; registers nobody."""
        try:
            answer = with_retries(lambda: self.check_address(self.email), self.policy, report)
        except (TransientError, RefusedError) as error:
            raise UserError(f"base_url: JSOC at {self.base_url} does not answer as expected ({error}); check the "
                            "address and the network, and start again later") from None
        if answer.status != 2:
            todo = ("confirm the mail that JSOC has sent and start again" if answer.status == 3 else
                    f"register it once at {self.base_url}ajax/register_email.html, or correct --email")
            raise UserError(f"email: {self.email} is not registered for exports: JSOC says "
                            f"'{answer.msg or 'nothing'}' (status {answer.status}); {todo}")

    def pending_request(self) -> str:
        """Return the number of the address's pending request; "" for none, or when the service cannot tell."""
        query = urlencode({"address": self.email, "operation": "check", "H": "hmidb2"})
        try:
            answer = self._json_request(f"{self.cgi_url}manage-request.sh?{query}").data
        except OutageError:
            raise
        except (TransientError, BlockedError, RefusedError):  # a service without this CGI tells at the submission
            return ""
        found = REQUEST_ID.search(answer.msg)
        return found[0] if answer.status == 2 and found else ""

    def records(self, request: CutoutRequest) -> list[SeriesRecord]:
        """Return the full-disk records in a request's range, in order of time; of two cameras one with an image."""
        table = self._query(request.time_range, "T_REC,QUALITY")
        records: dict[datetime, SeriesRecord] = {}
        for text, quality in zip(table.get("T_REC", ()), table.get("QUALITY", ()), strict=False):
            try:
                record = SeriesRecord(export_requests.parse_record_time(text), signed_quality(quality))
            except ValueError:
                continue  # MISSING
            other = records.setdefault(record.time, record)
            if other.quality is not None and other.quality < 0:
                records[record.time] = record
        return [records[record_time] for record_time in sorted(records)]

    def position(self, region: str) -> Position | None:
        """Return a region's position from the service's table of active regions; None when it lacks the region."""
        keys = ["ObservationTime", "LongitudeCM", "LatitudeHG"]
        table = self._query(f"{REGION_TABLE}[][{export_requests.table_number(region)}]", ",".join(keys))
        columns = [table.get(key, ()) for key in keys]
        return export_requests.nearest_to_meridian(Position(*row) for row in zip(*columns, strict=False))

    def _query(self, record_set: str, keys: str) -> dict[str, list[str]]:
        """Return keyword values as text; drms itself turns QUALITY into NaN or an unsigned number."""
        answer = self.rs_list(record_set, key=keys)
        if answer.status != 0:
            raise RefusedError(f"query of {record_set}: {answer.error or 'no reason given'} [status {answer.status}]")
        keywords = answer.keywords if isinstance(answer.keywords, list) else ()
        return {keyword.name: keyword.values for keyword in keywords}

    def find_position(self, summaries: SummaryPositions, passage: Passage, report: Callable[[str], None],
                      wait: bool = True) -> Position:
        """Return a region's position from the service's table or the summaries; `wait` for a service that is down."""
        fault: Exception = RefusedError(f"no position of region {passage.region} in JSOC's table of active regions nor "
                                        "in the region summaries (srs_dir)")
        try:
            position = with_retries(lambda: self.position(passage.region), self.policy, report,
                                    self.is_up if wait else None)
            if position is not None:
                return position
        except RefusedError as error:
            report(f"{passage.region}: {error}")
        except (TransientError, BlockedError) as error:  # a table that is not public also answers HTTP status 403
            fault = error
        position = summaries.position(passage)
        if position is None:
            raise fault
        report(f"{passage.region}: position from the region summaries, since JSOC's table did not give it")
        return position


# ---------------------------------------------------------------------------- routes


class Route(AbstractContextManager):
    """A way to submit export requests and to look at them; `name` is for the ledger."""

    name: str

    def __exit__(self, *error: object) -> None:
        pass

    def is_up(self) -> bool:
        """Tell whether all that this route needs besides the service is there; if not, attempts do not count."""
        return True

    def submit(self, request: CutoutRequest, records: Sequence[SeriesRecord], process: str,
               submitting: Callable[[str], object]) -> str:
        """Send one export request and return JSOC's number of it.

        `process` are im_patch's arguments of an earlier attempt, repeated to the letter; "" without one. `submitting`
        is called with the arguments just before they are sent.
        """
        raise NotImplementedError

    def status(self, request_id: str) -> ExportStatus:
        """Look at a request once."""
        raise NotImplementedError


class DrmsRoute(Route):
    """Submits requests and looks at them with the drms package; `summaries` has positions that JSOC does not."""

    name = "drms"

    def __init__(self, service: JsocService, summaries: SummaryPositions, report: Callable[[str], None]) -> None:
        self.service, self.summaries, self.report = service, summaries, report

    def submit(self, request: CutoutRequest, records: Sequence[SeriesRecord], process: str,
               submitting: Callable[[str], object]) -> str:
        """Send one export request; return JSOC's number of it."""
        if not process:
            position = self.service.find_position(self.summaries, request.passage, self.report)
            process = request.process(position, records[0].time, records[-1].time)
        submitting(process)
        answer = self.service.exp_request(
            request.record_set + "{magnetogram}", self.service.email, method="url-tar", protocol="fits",
            filenamefmt=f"{request.series}.{{T_REC:A}}.{{CAMERA}}.{{segment}}",
            process={"im_patch": dict(option.partition("=")[::2] for option in process.split(","))})
        return interpret_submission(answer.status, answer.requestid, answer.error)

    def status(self, request_id: str) -> ExportStatus:
        """Look at a request once."""
        answer = self.service.exp_status(request_id)
        if answer.status == Status.FAILED and UNKNOWN_REQUEST_TEXT in answer.error:
            return ExportStatus(Status.NOT_FOUND, "", answer.error)
        is_complete = answer.status == Status.SUCCESS and answer.tarfile
        tar_url = urljoin(self.service.base_url, answer.tarfile.lstrip("/")) if is_complete else ""
        return ExportStatus(answer.status, tar_url, answer.error)


def interpret_submission(code: int, request_id: str, text: str) -> str:
    """Return the number of a request that was accepted, or raise what JSOC's refusal, by status and text, means."""
    accepted = code in (Status.SUCCESS, *IN_WORK)
    if accepted and REQUEST_ID.fullmatch(request_id):
        return request_id
    if accepted or code == Status.NOT_FOUND or TRANSIENT_TEXT in text:
        raise TransientError(f"export request: {text or 'accepted without a number'}")
    if code == Status.PENDING:
        pending = REQUEST_ID.search(text)
        raise PendingRequestError(pending[0] if pending else "", text)
    if ADDRESS_TEXT.search(text):
        raise UserError(f"email: JSOC takes no requests of this address: {text}; register it again, or correct "
                        "--email, and start again: what is done is kept")
    if CHECK_TEXT in text:
        raise TransientError(f"JSOC could not check the address: {text}")
    if code == Status.TOO_LARGE:
        raise RefusedError(f"too large for one request: {text}; shorten the region's line in the list")
    raise RefusedError(f"JSOC refused the request: {text or 'no reason given'}")
