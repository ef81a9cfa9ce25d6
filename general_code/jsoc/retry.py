"""Retry policy for JSOC requests: which faults may pass, how often a step is repeated, and after what pause.

Every fault of the network or of JSOC becomes one of the exceptions below; `with_retries` repeats what may pass.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import TypeVar
from urllib.error import HTTPError, URLError

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from general_code.stage.files import UserError, describe, printable

Result = TypeVar("Result")


class TransientError(Exception):
    """The fault may pass: the step is repeated, unless its attempts are used up (`exhausted`)."""

    exhausted = False


class OutageError(TransientError):
    """The service does not answer, or something else answers in its place (HTTP 5xx, a maintenance page)."""


class DamagedTarError(TransientError):
    """The tar is incomplete or damaged: another download may help."""


class RefusedError(Exception):
    """The fault will not pass: the region is given up."""


class UnknownRequestError(RefusedError):
    """JSOC does not know the request, or no longer has its files: a new request may help."""


class PendingRequestError(Exception):
    """The address has another request pending."""

    def __init__(self, request_id: str, message: str) -> None:
        super().__init__(message)
        self.request_id = request_id


class BlockedError(UserError):
    """The service refuses this computer: the run ends before it asks once for each region."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to try."""

    poll_seconds: float = 10.0  # first pause between two looks at a request [s]; doubles up to longest_poll_seconds
    max_attempts: int = 5  # at one step, before a region is given up
    longest_poll_seconds: float = 60.0
    outage_seconds: float = 86400.0  # of waiting for a service that is down
    request_seconds: float = 86400.0  # of waiting for a request to complete
    foreign_seconds: float = 4200.0  # of waiting for another program's request to end: JSOC forgets it after an hour
    timeout_seconds: float = 60.0  # of silence on one connection
    not_found_polls: int = 5  # looks at a new request that JSOC may not know yet

    def poll_pause(self) -> wait_exponential:
        """Return the pauses between looks at a request."""
        return wait_exponential(self.poll_seconds, max=max(self.poll_seconds, self.longest_poll_seconds))

    def retry_pause(self, submission: bool = False) -> wait_exponential:
        """Return the pauses between attempts: 2, 4, 8 ... 300 s; from 30 s for a submission; less with short polls."""
        # JSOC holds a refused request against its address for a while
        first = min(30.0, 3 * self.poll_seconds) if submission else min(2.0, self.poll_seconds)
        return wait_exponential(first, max=300.0)


@contextmanager
def network_step(step: str, blocked: bool = True) -> Iterator[None]:
    """Turn a network's faults into this module's exceptions; HTTP 403 refuses this computer if `blocked`."""
    try:
        yield
    except HTTPError as error:
        error.close()
        if error.code == 403 and blocked:
            raise BlockedError(f"{step}: HTTP status 403: the service, or a proxy on the way, refuses this computer's "
                               "address; what is done is kept: ask jsoc_help@jsoc.stanford.edu (for a proxy, those who "
                               "run your network), then start again") from None
        if 300 <= error.code < 400:  # redirections are followed, but not in a circle
            raise RefusedError(f"{step}: HTTP status {error.code} ({printable(str(error.reason))})") from None
        kind = OutageError if error.code >= 500 or error.code in (408, 429) else TransientError
        raise kind(f"{step}: HTTP status {error.code}") from None
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        text = describe(reason) if isinstance(reason, Exception) else printable(str(reason))
        raise (RefusedError if _is_permanent(reason) else OutageError)(f"{step}: {text}") from None
    except (ValueError, OverflowError) as error:  # a port beyond 65535, letters that no address has
        raise RefusedError(f"{step}: the address cannot be used ({describe(error)})") from None


def _is_permanent(reason: Exception | str) -> bool:
    """Tell whether what failed a connection stays: the address, a certificate, a host that does not speak HTTP."""
    passing = RemoteDisconnected, IncompleteRead, ssl.SSLEOFError, ssl.SSLZeroReturnError
    lasting = HTTPException, ssl.SSLError, str  # urllib's own words are about the address
    return isinstance(reason, lasting) and not isinstance(reason, passing)


def with_retries(step: Callable[[], Result], policy: RetryPolicy, report: Callable[[str], None],
                 is_up: Callable[[], bool] | None = None, submission: bool = False) -> Result:
    """Run a step until it succeeds, with growing pauses after a TransientError, and return what it returns.

    After `max_attempts` the last one is raised, `exhausted`: a step around this one passes it on. While `is_up` denies
    that anybody answers, attempts are not counted; UserError after `outage_seconds` of that: the run ends.
    """
    failed, down_since = 0, None

    def is_enough(state: RetryCallState) -> bool:
        nonlocal failed, down_since
        fault = state.outcome.exception()
        if is_up is None or not isinstance(fault, OutageError) or is_up():
            failed, down_since = failed + 1, None
            fault.exhausted = failed >= policy.max_attempts
            return fault.exhausted
        down_since = down_since or time.monotonic()
        if time.monotonic() - down_since > policy.outage_seconds:
            raise UserError(f"JSOC has not answered for {policy.outage_seconds / 3600:.1f} hours ({fault}); what is "
                            "done is kept: start again later to continue")
        return False

    attempts = Retrying(
        retry=retry_if_exception(lambda fault: isinstance(fault, TransientError) and not fault.exhausted),
        stop=is_enough, wait=policy.retry_pause(submission), reraise=True,
        before_sleep=lambda state: report(f"{state.outcome.exception()}; next attempt in {state.upcoming_sleep:.3g} s"))
    return attempts(step)
