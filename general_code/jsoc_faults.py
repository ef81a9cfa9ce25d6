"""How the faults of a distant service are borne: which may pass, how often a step is tried again, and after what pause.

Every fault of the network or of JSOC becomes one of the exceptions below; `persist` repeats what may pass.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import TypeVar
from urllib.error import HTTPError, URLError

from general_code.stage_files import UserError, describe

LONGEST_PAUSE_SECONDS = 300
Result = TypeVar("Result")


class TransientError(Exception):
    """May pass: the same step is tried again, unless its tries are used up (`spent`)."""

    spent = False


class OutageError(TransientError):
    """No answer from the service at all, or one that is not its own (HTTP 5xx, a page of maintenance)."""


class DamagedTarError(TransientError):
    """The tar is not whole: another download may help."""


class RefusedError(Exception):
    """Will not pass: the region is given up for this run."""


class UnknownRequestError(RefusedError):
    """JSOC has no such request, or no longer has its files: a new request may help."""


class PendingRequestError(Exception):
    """The address has another request pending."""

    def __init__(self, request_id: str, message: str) -> None:
        super().__init__(message)
        self.request_id = request_id


class BlockedError(UserError):
    """The service refuses this machine: the run ends, before it asks once for each region."""


class ServiceDownError(UserError):
    """The service has not answered for too long: the run ends, the ledger keeps its place."""


@dataclass(frozen=True)
class Patience:
    """How often and how long to try.

    Attributes
    ----------
    poll_seconds : float
        First pause between two looks at a request [s]; doubles up to `longest_poll_seconds`.
    max_attempts : int
        Tries of one step before a region is given up.
    longest_poll_seconds, outage_seconds, request_seconds, foreign_seconds, timeout_seconds : float
        Caps [s]: of a poll's pause; of waiting for a service that is down; for a request; for another's
        request to end (JSOC forgets them after an hour); of one silent connection.
    not_found_polls : int
        Looks at a new request that JSOC may not know yet.
    """

    poll_seconds: float = 10.0
    max_attempts: int = 5
    longest_poll_seconds: float = 60.0
    outage_seconds: float = 86400.0
    request_seconds: float = 86400.0
    foreign_seconds: float = 4200.0
    timeout_seconds: float = 60.0
    not_found_polls: int = 5

    def polls(self) -> Iterator[float]:
        """Return the pauses between looks at a request.

        Returns
        -------
        iterator of float
            [s], without end: `poll_seconds`, doubling up to `longest_poll_seconds`.
        """
        return doubling(self.poll_seconds, max(self.poll_seconds, self.longest_poll_seconds))

    def pauses(self, submission: bool = False) -> Iterator[float]:
        """Return the pauses between tries of a step that failed.

        Parameters
        ----------
        submission : bool, optional
            Longer pauses: JSOC holds a refused request against its address for a while.

        Returns
        -------
        iterator of float
            [s], without end: 2, 4, 8 … 300, from 30 for a submission; shorter first ones with short polls.
        """
        first = min(30.0, 3 * self.poll_seconds) if submission else min(2.0, self.poll_seconds)
        return doubling(first, LONGEST_PAUSE_SECONDS)


def doubling(first: float, largest: float) -> Iterator[float]:
    """Yield pauses that double up to a largest one.

    Parameters
    ----------
    first, largest : float
        [s].

    Yields
    ------
    float
        first, 2 first, 4 first … and then `largest` for ever [s].
    """
    pause = first
    while True:
        yield min(pause, largest)
        pause = min(2 * pause, largest)


@contextmanager
def network_step(step: str, blocked: bool = True) -> Iterator[None]:
    """Turn what a network can do to a step into TransientError or OutageError.

    Parameters
    ----------
    step : str
        What is being done, for the message.
    blocked : bool, optional
        Whether HTTP status 403 means that this machine is refused; else it is about what was asked for alone.

    Yields
    ------
    None
        While the step is done.

    Raises
    ------
    BlockedError
        With HTTP status 403, if `blocked`.
    OutageError
        When nobody answers, with HTTP status 5xx, 408 or 429, and for an answer that is not JSON.
    TransientError
        For another HTTP status that is a failure.
    """
    try:
        yield
    except HTTPError as error:
        error.close()
        if error.code == 403 and blocked:
            raise BlockedError(f"{step}: HTTP status 403: the service refuses this machine's address, or what is "
                               "between does; what is done is kept: ask jsoc_help@jsoc.stanford.edu (the network's "
                               "office for a proxy), then start again") from None
        kind = OutageError if error.code >= 500 or error.code in (408, 429) else TransientError
        raise kind(f"{step}: HTTP status {error.code}") from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise OutageError(f"{step}: the answer is not JSON (a web page of a proxy or of maintenance?)") from None
    except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise OutageError(f"{step}: {describe(reason) if isinstance(reason, Exception) else reason}") from None


def persist(step: Callable[[], Result], patience: Patience, say: Callable[[str], None],
            answers: Callable[[], bool] | None = None, submission: bool = False) -> Result:
    """Run a step until it succeeds, with growing pauses after faults that may pass.

    Parameters
    ----------
    step : callable
        Without arguments; raises TransientError when it may be tried again. One that is `spent` has been tried often
        enough within the step and is passed on.
    patience : Patience
        Gives up after `max_attempts` tries.
    say : callable
        Told of each failed try, in one line.
    answers : callable, optional
        Tells whether the service answers at all; asked after an OutageError. While it does not, tries are not counted
        for `outage_seconds`.
    submission : bool, optional
        Longer pauses.

    Returns
    -------
    object
        What the step returns.

    Raises
    ------
    TransientError
        The last one, `spent`, when the tries are used up.
    ServiceDownError
        When the service is down for too long.
    """
    failed, down_since = 0, None
    for pause in patience.pauses(submission):
        try:
            return step()
        except TransientError as error:
            if error.spent:
                raise
            fault = error
        if answers is not None and isinstance(fault, OutageError) and not answers():
            down_since = down_since or time.monotonic()
            if time.monotonic() - down_since > patience.outage_seconds:
                hours = patience.outage_seconds / 3600
                raise ServiceDownError(f"JSOC has not answered for {hours:.1f} hours ({fault}); what is done is kept: "
                                       "start again later to go on") from None
        else:
            failed, down_since = failed + 1, None
            if failed >= patience.max_attempts:
                fault.spent = True
                raise fault
        say(f"{fault}; next try in {pause:.3g} s")
        time.sleep(pause)
    raise AssertionError("the pauses never end")
