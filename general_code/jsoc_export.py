"""The route "drms": export requests through the drms package, which both submits and looks at them.

drms 0.9 is silent about much: export() does not raise for a refusal, a status code 12 counts as failure,
a short or missing download as success. Here only its requests are used; the answers are judged by us.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urljoin

import drms

from general_code.cutout_requests import CutoutRequest, Passage, Position
from general_code.export_positions import SummaryPositions
from general_code.jsoc_faults import (
    BlockedError,
    PendingRequestError,
    RefusedError,
    TransientError,
    network_step,
    persist,
)
from general_code.jsoc_service import REQUEST_ID, JsocService, SeriesRecord
from general_code.stage_files import UserError, describe

SUCCESS, PROCESSING, QUEUED, TOO_LARGE, FAILED, EXPIRED, NOT_FOUND, PENDING = range(8)
QUEUED_FOR_TEST = 12
UNKNOWN_REQUEST_TEXT = "invalid export DRMS record"  # newer servers: status 4 with this text in place of status 6
TRANSIENT_TEXT = "save new export-request hash"  # status 4 that passes by itself
# status 4 that no region can pass: it is about the address
ADDRESS_TEXT = re.compile("neither validated nor registered|not a valid email|registration is pending", re.IGNORECASE)
CHECK_TEXT = "Cannot process your request"  # status 4 when JSOC could not check the address: may pass


class ExportStatus(NamedTuple):
    """What JSOC says about a request: status code (SUCCESS …), address of the tar ("" without), the text."""

    code: int
    tar_url: str
    text: str


def find_position(service: JsocService, summaries: SummaryPositions, passage: Passage, say: Callable[[str], None],
                  answers: Callable[[], bool] | None = None) -> Position:
    """Return a region's position: from the service's table, or, when that fails, from the region summaries.

    Parameters
    ----------
    service : JsocService
        Has the table of active regions; tried `max_attempts` times.
    summaries : SummaryPositions
        May be empty.
    passage : Passage
        Region and days.
    say : callable
        Told which source was used when it is not the table.
    answers : callable, optional
        As in `persist`: with it a service that is down is waited for.

    Returns
    -------
    Position
        Nearest to the central meridian.

    Raises
    ------
    RefusedError
        When neither has the region.
    BlockedError, TransientError
        When the table cannot be reached and the summaries do not have the region.
    """
    fault: Exception = RefusedError(f"no position of region {passage.region} in JSOC's table of active regions nor in "
                                    "the region summaries (srs_dir)")
    try:
        position = persist(lambda: service.position(passage.region), service.patience, say, answers)
        if position is not None:
            return position
    except RefusedError as error:
        say(f"{passage.region}: {error}")
    except (TransientError, BlockedError) as error:  # a table that is not public says HTTP status 403, too
        fault = error
    position = summaries.position(passage)
    if position is None:
        raise fault
    say(f"{passage.region}: position from the region summaries, since JSOC's table did not give it")
    return position


class DrmsRoute:
    """Submits requests and looks at them with the drms package.

    Parameters
    ----------
    service : JsocService
        The host, and the drms client.
    summaries : SummaryPositions
        Positions for regions that the service's table does not give.
    say, note : callable
        For the user, one line each; for the log: the addresses of requests as sent.
    """

    name = "drms"

    def __init__(self, service: JsocService, summaries: SummaryPositions, say: Callable[[str], None],
                 note: Callable[[str], None]) -> None:
        self.service, self.summaries, self.say, self.note = service, summaries, say, note

    def __enter__(self) -> "DrmsRoute":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def answers(self) -> bool:
        """Tell whether all is there that this route needs besides the service.

        Returns
        -------
        bool
            True: it needs nothing else.
        """
        return True

    def submit(self, request: CutoutRequest, records: Sequence[SeriesRecord], process: str,
               submitting: Callable[[str], object]) -> str:
        """Send one export request.

        Parameters
        ----------
        request : CutoutRequest
            Gives record set and file names.
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

        Raises
        ------
        PendingRequestError
            When the address has another request pending.
        RefusedError, TransientError
            As `judge_submission` and `find_position` say, or the network.
        """
        options = dict(option.split("=", 1) for option in process.split(",")) if process else request.process(
            find_position(self.service, self.summaries, request.passage, self.say, self.service.answers),
            records[0].time, records[-1].time)
        submitting(",".join(f"{name}={value}" for name, value in options.items()))
        with _noted_urls(lambda url: self.note(f"{request.region}: sending {url}")), _drms_step("export request"):
            answer = self.service.client.export(
                request.record_set + "{magnetogram}", method="url-tar", protocol="fits",
                filenamefmt=request.file_name_format, email=self.service.email, process={"im_patch": options})
        return judge_submission(answer.status, answer.id or "", _error_text(answer))

    def status(self, request_id: str) -> ExportStatus:
        """Look at a request once.

        Parameters
        ----------
        request_id : str
            JSOC's number.

        Returns
        -------
        ExportStatus
            See there.

        Raises
        ------
        TransientError
            When there is no proper answer.
        """
        with _drms_step(f"status of {request_id}"):
            answer = self.service.client.export_from_id(request_id)
        tar_path = answer.tarfile if answer.status == SUCCESS else None
        tar_url = urljoin(self.service.base_url, tar_path.lstrip("/")) if tar_path else ""
        return ExportStatus(answer.status, tar_url, _error_text(answer))


def judge_submission(code: int, request_id: str, text: str) -> str:
    """Return the number of a request that was accepted, or raise what its refusal means.

    Parameters
    ----------
    code : int
        JSOC's status code, one of SUCCESS … QUEUED_FOR_TEST.
    request_id : str
        As answered; "VOID" or empty in refusals.
    text : str
        JSOC's error text.

    Returns
    -------
    str
        Like JSOC_20240107_012.

    Raises
    ------
    PendingRequestError
        Status 7: the address, or this machine's, has other requests pending.
    TransientError
        Status 4 that passes by itself; status 6; an accepted request without a number.
    UserError
        The address is not registered (any more).
    RefusedError
        Everything else.
    """
    accepted = code in (SUCCESS, PROCESSING, QUEUED, QUEUED_FOR_TEST)
    if accepted and REQUEST_ID.fullmatch(request_id):
        return request_id
    if accepted or code == NOT_FOUND or TRANSIENT_TEXT in text:
        raise TransientError(f"export request: {text or 'accepted without a number'}")
    if code == PENDING:
        pending = REQUEST_ID.search(text)
        raise PendingRequestError(pending[0] if pending else "", text)
    if ADDRESS_TEXT.search(text):
        raise UserError(f"email: JSOC takes no requests of this address: {text}; register it again, or correct "
                        "--email, and start again: what is done is kept")
    if CHECK_TEXT in text:
        raise TransientError(f"JSOC could not check the address: {text}")
    if code == TOO_LARGE:
        raise RefusedError(f"too large for one request: {text}; shorten the region's line in the list")
    raise RefusedError(f"JSOC refused the request: {text or 'no reason given'}")


def is_unknown(status: ExportStatus) -> bool:
    """Tell whether a status means that JSOC does not know the request, or not yet.

    Parameters
    ----------
    status : ExportStatus
        As answered.

    Returns
    -------
    bool
        True for status 6, and for status 4 with the text that newer servers send in its place.
    """
    return status.code == NOT_FOUND or (status.code == FAILED and UNKNOWN_REQUEST_TEXT in status.text)


def _error_text(answer: drms.client.ExportRequest) -> str:
    """Return the error in an answer; drms shows it only in the exception that its properties raise."""
    if not answer.has_finished(skip_update=True):
        return ""  # the properties would wait
    try:
        answer.tarfile  # noqa: B018 (looked at for its exception)
    except drms.DrmsExportError as error:
        return describe(error)
    return ""


@contextmanager
def _drms_step(step: str) -> Iterator[None]:
    """As `network_step`, for the calls in which drms trusts the answer to have all its fields."""
    try:
        with network_step(step):
            yield
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TransientError(f"{step}: the answer is not one of JSOC's ({describe(error)})") from None


class _noted_urls(logging.Handler):
    """Note the addresses of export requests when drms opens them, which it tells to nobody but its log."""

    def __init__(self, note: Callable[[str], object]) -> None:
        super().__init__()
        self.note = note

    def __enter__(self) -> None:
        self._level, self._propagates = drms.logger.level, drms.logger.propagate
        drms.logger.setLevel(logging.DEBUG)
        drms.logger.propagate = False
        drms.logger.addHandler(self)

    def __exit__(self, *error: object) -> None:
        drms.logger.removeHandler(self)
        drms.logger.setLevel(self._level)
        drms.logger.propagate = self._propagates

    def emit(self, record: logging.LogRecord) -> None:
        """Note the address of an export request."""
        if "op=exp_request" in record.getMessage():
            self.note(record.getMessage().partition("URL for request: ")[2])
