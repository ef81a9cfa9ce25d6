"""RetryPolicy with faults: which are tried again, how often, and when it ends."""

import socket
import ssl
from http.client import BadStatusLine, IncompleteRead, InvalidURL, RemoteDisconnected
from types import SimpleNamespace
from unittest.mock import Mock
from urllib.error import HTTPError, URLError

import pytest

from general_code.jsoc.retry import (
    BlockedError,
    OutageError,
    RefusedError,
    RetryPolicy,
    TransientError,
    network_step,
    with_retries,
)
from tests.jsoc_lab import QUICK


@pytest.mark.parametrize(("pause", "seconds"), [
    (RetryPolicy().poll_pause(), [10, 20, 40, 60, 60]), (RetryPolicy().retry_pause(submission=True), [30, 60, 120]),
    (RetryPolicy().retry_pause(), [2, 4, 8, 16, 32, 64, 128, 256, 300]), (RetryPolicy(90).poll_pause(), [90, 90])])
def test_pauses_are_polite(pause, seconds):
    assert [pause(SimpleNamespace(attempt_number=number + 1)) for number in range(len(seconds))] == seconds


def test_transient_faults_are_tried_again():
    said, step = [], Mock(side_effect=[TransientError("one"), OutageError("two"), "done"])
    assert with_retries(step, QUICK, said.append) == "done"
    assert [text.split(";")[0] for text in said] == ["one", "two"]


@pytest.mark.parametrize(("fault", "nested", "calls"), [
    (TransientError("again"), False, QUICK.max_attempts),
    (TransientError("again"), True, QUICK.max_attempts),  # tries of a step within a step do not multiply
    (RefusedError("again"), False, 1)])
def test_tries_end(fault, nested, calls):
    step = Mock(side_effect=fault)
    with pytest.raises(type(fault), match="again"):
        with_retries(lambda: with_retries(step, QUICK, print) if nested else step(), QUICK, print)
    assert step.call_count == calls


@pytest.mark.parametrize(("fault", "kind"), [
    (HTTPError("http://a", 403, "Forbidden", {}, None), BlockedError),
    (HTTPError("http://a", 404, "Not Found", {}, None), TransientError),
    (HTTPError("http://a", 429, "Too Many Requests", {}, None), OutageError),
    (HTTPError("http://a", 500, "Internal Server Error", {}, None), OutageError),
    (HTTPError("http://a", 302, "redirected to 'ftp://b'", {}, None), RefusedError),
    (TimeoutError("timed out"), OutageError), (ConnectionResetError(), OutageError), (IncompleteRead(b""), OutageError),
    (URLError(socket.gaierror("Name or service not known")), OutageError), (RemoteDisconnected(), OutageError),
    (URLError(ssl.SSLEOFError()), OutageError), (URLError(ssl.SSLCertVerificationError("expired")), RefusedError),
    (ssl.SSLError("WRONG_VERSION_NUMBER"), RefusedError), (BadStatusLine("SSH-2.0"), RefusedError),
    (InvalidURL("nonnumeric port: 'x'"), RefusedError), (URLError("unknown url type: gopher"), RefusedError),
    (OverflowError("port must be 0-65535."), RefusedError), (UnicodeError("label empty or too long"), RefusedError)])
def test_what_a_network_can_do(fault, kind):
    with pytest.raises((BlockedError, TransientError, RefusedError)) as caught, network_step("query"):
        raise fault
    assert type(caught.value) is kind
    assert str(caught.value).startswith("query: ")
