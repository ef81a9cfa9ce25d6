"""Patience with faults: which are tried again, how often, and when it ends."""

import itertools
import json
from urllib.error import HTTPError

import pytest
from jsoc_lab import QUICK

from general_code.jsoc_faults import (
    BlockedError,
    OutageError,
    Patience,
    RefusedError,
    ServiceDownError,
    TransientError,
    network_step,
    persist,
)


def test_default_patience_is_polite():
    patience = Patience()
    assert list(itertools.islice(patience.polls(), 5)) == [10, 20, 40, 60, 60]
    assert list(itertools.islice(patience.pauses(submission=True), 3)) == [30, 60, 120]
    assert list(itertools.islice(patience.pauses(), 9)) == [2, 4, 8, 16, 32, 64, 128, 256, 300]


class Step:
    """A step that fails as told, then succeeds."""

    def __init__(self, *faults: Exception) -> None:
        self.faults, self.calls = list(faults), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return "done"


def test_transient_faults_are_tried_again():
    said, step = [], Step(TransientError("one"), OutageError("two"))
    assert persist(step, QUICK, said.append) == "done"
    assert [text.split(";")[0] for text in said] == ["one", "two"]


def test_tries_end():
    step = Step(*[TransientError("again")] * 9)
    with pytest.raises(TransientError, match="again"):
        persist(step, QUICK, print)
    assert step.calls == QUICK.max_attempts


def test_tries_of_a_step_within_a_step_do_not_multiply():
    step = Step(*[TransientError("again")] * 99)
    with pytest.raises(TransientError, match="again"):
        persist(lambda: persist(step, QUICK, print), QUICK, print)
    assert step.calls == QUICK.max_attempts


@pytest.mark.parametrize(("fault", "kind"), [
    (HTTPError("http://a", 403, "Forbidden", {}, None), BlockedError),
    (HTTPError("http://a", 404, "Not Found", {}, None), TransientError),
    (HTTPError("http://a", 429, "Too Many Requests", {}, None), OutageError),
    (HTTPError("http://a", 500, "Internal Server Error", {}, None), OutageError),
    (json.JSONDecodeError("no", "<html>", 0), OutageError), (TimeoutError("timed out"), OutageError)])
def test_what_a_network_can_do(fault, kind):
    with pytest.raises((BlockedError, TransientError)) as caught, network_step("query"):
        raise fault
    assert type(caught.value) is kind
    assert str(caught.value).startswith("query: ")


def test_refusals_are_not_tried_again():
    step = Step(RefusedError("no"))
    with pytest.raises(RefusedError):
        persist(step, QUICK, print)
    assert step.calls == 1


def test_tries_are_not_counted_while_nobody_answers():
    step, answers = Step(*[OutageError("down")] * 6), iter([False] * 5 + [True] * 9)
    assert persist(step, QUICK, lambda text: None, lambda: next(answers)) == "done"
    assert step.calls == 7


def test_outage_does_not_last_for_ever():
    step = Step(*[OutageError("down")] * 999)
    with pytest.raises(ServiceDownError, match="has not answered for 0.0 hours .down.; .*start again later"):
        persist(step, Patience(0.01, 3, outage_seconds=0.1), lambda text: None, lambda: False)
