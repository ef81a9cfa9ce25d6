"""Queries of the simulated JSOC, the route "drms", and what becomes of their faults."""

from contextlib import suppress
from types import SimpleNamespace
from urllib.request import Request

import pytest

from general_code.jsoc import client
from general_code.jsoc.export_requests import CutoutRequest, Passage, Position
from general_code.jsoc.retry import BlockedError, OutageError, PendingRequestError, RefusedError, TransientError
from general_code.simulator.series import Faults
from general_code.stage.files import UserError
from tests import jsoc_lab
from tests.jsoc_lab import NOWHERE, QUICK, simulator

REQUEST = CutoutRequest(Passage("1158", *jsoc_lab.PASSAGES["1158"]), patch_pixels=24)


@pytest.mark.parametrize(("text", "value"), [
    ("0x00000000", 0), ("0x00000400", 1024), ("0x80000000", -(2**31)), ("2147483648", -(2**31)),
    ("-2147483648", -(2**31)), ("66560", 66560), ("MISSING", None), ("", None), ("nan", None)])
def test_quality_is_signed(text, value):
    assert client.signed_quality(text) == value


SLOW_CLOCK = SimpleNamespace(monotonic=iter(range(0, 10**9, 3600)).__next__)  # goes on by an hour at each look


def ask(jsoc, address: str = "me@inst.edu") -> client.JsocService:
    """Return the queries of a simulated JSOC."""
    return client.JsocService(jsoc if isinstance(jsoc, str) else jsoc.url, address, QUICK)


def summaries(found: Position | None = None) -> SimpleNamespace:
    """Return summaries with one position, or none."""
    return SimpleNamespace(position=lambda passage: found)


@pytest.mark.parametrize(("faults", "error", "message"), [
    (Faults(series_unknown=True), RefusedError, "series not found"), (Faults(html_answers=1), OutageError, "not JSON"),
    (Faults(http_errors=1), OutageError, "HTTP status 502"),
    (Faults(http_errors=1, http_status=403), BlockedError, "HTTP status 403: the service, or a proxy on the way"),
    (Faults(cgi_missing="jsoc_info"), TransientError, "HTTP status 404")])
def test_faults_of_a_query(faults, error, message):
    with simulator(faults) as jsoc, pytest.raises(error, match=message):
        ask(jsoc).records(REQUEST)


NASTY = {
    "nothing": "", "null": "null", "a list": "[]", "a number": "1e999", "no status": "{}", "deep": "[" * 100_000,
    "null status": '{"status": null}', "digits": '{"status": %s}' % ("9" * 5000), "bytes": "\x00\xff\xfe",
    "text of digits": '{"status": "%s"}' % ("9" * 5000), "a list of statuses": '{"status": [0]}',
    "surrogates": r'{"status": 4, "error": "\ud800\u001b[31m"}', "keywords": '{"status": 0, "keywords": 7}',
    "long": '{"status": 4, "error": "%s"}' % ("e,\\n" * 100_000),
    "null values": '{"status": 0, "keywords": [{"name": "T_REC", "values": [null, 3, "2011.02.13_00:00:00_TAI"]}, '
                   '{"name": "QUALITY", "values": [null]}]}',
    "nested values": '{"status": 0, "keywords": [{"name": "T_REC", "values": [["x"]]}]}'}


@pytest.mark.parametrize("answer", NASTY)
def test_answers_that_are_not_jsocs(answer, monkeypatch):
    service = ask(NOWHERE)
    monkeypatch.setattr(service, "get_text", lambda url: NASTY[answer])
    route = client.DrmsRoute(service, summaries(), print)
    for query in (lambda: service.records(REQUEST), lambda: service.position("1158"), service.pending_request,
                  lambda: route.submit(REQUEST, [], "x=1", print), lambda: route.status("JSOC_20110213_001"),
                  service.is_up):
        with suppress(TransientError, RefusedError):  # and nothing else
            query()


@pytest.mark.parametrize(("minutes", "quality", "expected"), [
    (("00", None, "12"), ("MISSING", "0x0", "0x0"), [None, 0]),
    (("00", "00", "12", "12", "24", "24"), ("0x80000000", "0x400", "0x0") + ("0x80000000",) * 3, [1024, 0, -(2**31)])])
def test_missing_values_and_two_cameras(minutes, quality, expected, monkeypatch):
    times = [f"2011.02.13_00:{minute}:00_TAI" if minute else "MISSING" for minute in minutes]
    service = ask(NOWHERE)
    monkeypatch.setattr(service, "_query", lambda record_set, keys: {"T_REC": times, "QUALITY": quality})
    assert [record.quality for record in service.records(REQUEST)] == expected


@pytest.mark.parametrize("address", ["me@inst.edu", "me+hmi@inst.edu", "a%b@inst.edu", "me@inst.observatory"])
def test_address_arrives_as_it_is(address):
    with simulator() as jsoc:
        ask(jsoc, address).require_registered_address(print)
        assert ask(jsoc, address).is_up()
        assert jsoc.received[0][1]["checkonly"] == "1"


def test_address_that_jsoc_does_not_accept():
    with simulator() as jsoc, pytest.raises(UserError, match=r"'Not a valid email address.' \(status -2\)"):
        ask(jsoc, "me@inst").require_registered_address(print)


def test_host_that_is_up_and_one_that_is_down(monkeypatch):
    with simulator(Faults(html_answers=1, address_status=4)) as jsoc:
        service = ask(jsoc)
        assert not service.is_up()  # a page of maintenance
        assert service.is_up()
        monkeypatch.setattr(jsoc.exports, "answer", lambda cgi, arguments: {"msg": "maintenance"})
        assert not service.is_up()
    assert not service.is_up()


@pytest.mark.parametrize(("limit", "value", "message"), [
    ("LARGEST_ANSWER", 9, "the answer has more than 9 bytes"), ("time", SLOW_CLOCK, "is not complete after 600 s")])
def test_answers_without_end(limit, value, message, monkeypatch):
    monkeypatch.setattr(f"general_code.jsoc.client.{limit}", value)
    with simulator() as jsoc, pytest.raises(OutageError, match=message):
        ask(jsoc).records(REQUEST)


def test_redirection_to_what_is_not_the_web():
    handler = client._WebRedirects()
    assert handler.redirect_request(Request("http://a/b"), None, 302, "", {}, "https://c/d").full_url == "https://c/d"
    with pytest.raises(ValueError, match="expected an address like http://jsoc.stanford.edu, got 'ftp://c/d'"):
        handler.redirect_request(Request("http://a/b"), None, 302, "", {}, "ftp://c/d")


def test_pending_request():
    with simulator(Faults(foreign_pending=1)) as jsoc:
        service = ask(jsoc)
        assert service.pending_request() == "JSOC_20200101_999"
        assert service.pending_request() == ""
        jsoc.faults.cgi_missing = "manage-request.sh"
        assert service.pending_request() == ""
        jsoc.faults.http_errors = 1
        with pytest.raises(OutageError):
            service.pending_request()


PENDING = ("User ok@example.edu has 1 pending export requests (JSOC_20240107_011); please wait until at least one "
           "request has completed before submitting a new one.")


@pytest.mark.parametrize("code", [0, 1, 2, 12])
def test_accepted(code):
    assert client.interpret_submission(code, "JSOC_20240107_012", "") == "JSOC_20240107_012"
    assert client.interpret_submission(code, "JSOC_20240107_1012_X_IN", "") == "JSOC_20240107_1012_X_IN"


@pytest.mark.parametrize(("code", "number", "text", "error", "message"), [
    (2, "", "", TransientError, "accepted without a number"),
    (2, "VOID", "", TransientError, "accepted without a number"),
    (3, "VOID", "Request exceeds max byte limit of 100000MB", RefusedError, "too large .*100000MB.*shorten"),
    (4, "", "Cant save new export-request hash.", TransientError, "hash"),
    (4, "", "Cannot export series 'x' - it does not exist.\n", RefusedError, "does not exist"),
    (6, "", "", TransientError, "accepted without a number"),
    (7, "", PENDING, PendingRequestError, "JSOC_20240107_011"),
    (4, "", "Cannot process your request. email address has been neither validated nor registered", UserError,
     "email: JSOC takes no requests of this address: .*neither validated nor registered; register it again"),
    (4, "", "Cannot process your request. the database does not answer", TransientError, "could not check the address"),
    (25, "", "One or more data files are offline; …", RefusedError, "offline"),
    (99, "", "", RefusedError, "no reason given")])
def test_refused(code, number, text, error, message):
    with pytest.raises(error, match=message) as caught:
        client.interpret_submission(code, number, text)
    if error is PendingRequestError:
        assert caught.value.request_id == "JSOC_20240107_011"


def test_statuses_through_drms():
    with simulator(Faults(delay_seconds=60)) as jsoc:
        notes, sent = [], []
        route = client.DrmsRoute(ask(jsoc), summaries(), print)
        route.service.note = notes.append
        number = route.submit(REQUEST, ask(jsoc).records(REQUEST), "", sent.append)
        assert sent[0].startswith("t_start=2011.02.13_00:00:00_TAI,")
        assert route.status(number) == (2, "", "")
        jsoc.faults.test_mode = True
        assert route.status(number).code == 12
        jsoc.faults.delay_seconds = 0.0
        assert route.status(number) == (0, f"{jsoc.url}/SUM94/D000000001/S00000/{number}.tar", "")
        jsoc.faults.no_tarfile = 1
        assert route.status(number) == (0, "", "")
        jsoc.faults.export_fails = True
        assert route.status(number).text.startswith("Export program failed")
        assert route.status("JSOC_20110213_999").code == 6
        jsoc.faults.not_found_text = True
        assert route.status("JSOC_20110213_999").code == 6
    with pytest.raises(OutageError):  # noted even when it fails
        route.submit(REQUEST, [], sent[0], sent.append)
    assert notes[1] == notes[0]
    assert notes[0].startswith(f"sending {jsoc.url}/cgi-bin/ajax/jsoc_fetch?op=exp_request")


@pytest.mark.parametrize(("faults", "from_table"), [
    (Faults(), True), (Faults(http_errors=1), True), (Faults(http_errors=99), False),
    (Faults(http_errors=9, http_status=403), False),
    (Faults(region_unknown=True), False), (Faults(longitude_unknown=True), False),
    (Faults(table_unavailable=True), False)])
def test_position_from_table_or_summaries(faults, from_table):
    other = Position("2011.02.13_23:59:59Z", "3", "-20")
    with simulator(faults) as jsoc:
        said = []
        position = ask(jsoc).find_position(summaries(other), REQUEST.passage, said.append, wait=False)
        assert (position == other) is not from_table
        if not from_table:
            assert "position from the region summaries" in said[-1]
            with pytest.raises((RefusedError, TransientError, BlockedError)):
                ask(jsoc).find_position(summaries(), REQUEST.passage, said.append, wait=False)
