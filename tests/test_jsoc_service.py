"""Queries of the simulated JSOC, and what becomes of their faults."""

from datetime import timedelta

import jsoc_lab
import pytest
from jsoc_lab import QUICK, simulator

from general_code.cutout_requests import CutoutRequest, Passage
from general_code.jsoc_faults import BlockedError, OutageError, RefusedError, TransientError
from general_code.jsoc_service import JsocService, signed_quality
from general_code.simulated_faults import Faults
from general_code.stage_files import UserError

REQUEST = CutoutRequest(Passage("1158", *jsoc_lab.PASSAGES["1158"]), patch_pixels=24)


@pytest.mark.parametrize(("text", "value"), [
    ("0x00000000", 0), ("0x00000400", 1024), ("0x80000000", -(2**31)), ("2147483648", -(2**31)),
    ("-2147483648", -(2**31)), ("66560", 66560), ("MISSING", None), ("", None), ("nan", None)])
def test_quality_is_signed(text, value):
    assert signed_quality(text) == value


def test_records_with_and_without_image():
    with simulator(missing=[jsoc_lab.slot(4)], bad=[jsoc_lab.slot(8)]) as jsoc:
        records = JsocService(jsoc.url, "me@inst.edu", QUICK).records(REQUEST)
    assert [record.time for record in records] == [jsoc_lab.slot(hour) for hour in (0, 8, 12, 16, 20, 24)]
    assert [record.quality for record in records] == [0, -(2**31), 0, 0, 0, 0]


@pytest.mark.parametrize(("faults", "error", "message"), [
    (Faults(series_unknown=True), RefusedError, "series not found"),
    (Faults(html_answers=1), OutageError, "not JSON"),
    (Faults(bad_gateway=1), OutageError, "HTTP status 502"),
    (Faults(server_errors=1), OutageError, "HTTP status 500"),
    (Faults(too_many_requests=1), OutageError, "HTTP status 429"),
    (Faults(forbidden=1), BlockedError, "HTTP status 403: the service refuses this machine's address"),
    (Faults(cgi_missing="jsoc_info"), TransientError, "HTTP status 404")])
def test_faults_of_a_query(faults, error, message):
    with simulator(faults) as jsoc, pytest.raises(error, match=message):
        JsocService(jsoc.url, "me@inst.edu", QUICK).records(REQUEST)


def test_empty_range_is_no_error():
    with simulator(Faults(empty_series=True)) as jsoc:
        assert JsocService(jsoc.url, "me@inst.edu", QUICK).records(REQUEST) == []


def test_values_that_are_missing_are_borne(monkeypatch):
    service = JsocService("http://127.0.0.1:9", "me@inst.edu", QUICK)
    times = ["2011.02.13_00:00:00_TAI", "MISSING", "2011.02.13_00:12:00_TAI"]
    values = {"T_REC": times, "QUALITY": ["MISSING", "0x0", "0x0"]}
    monkeypatch.setattr(service, "_query", lambda record_set, keys: values)
    assert [record.quality for record in service.records(REQUEST)] == [None, 0]


@pytest.mark.parametrize("address", ["me@inst.edu", "me+hmi@inst.edu", "a%b@inst.edu"])
def test_address_arrives_as_it_is(address):
    with simulator() as jsoc:
        service = JsocService(jsoc.url, address, QUICK)
        service.check_address()
        assert service.answers()
        assert jsoc.received[0][1]["checkonly"] == "1"


def test_address_that_jsoc_does_not_accept():
    with simulator() as jsoc, pytest.raises(UserError, match=r"'Not a valid email address.' \(status -2\)"):
        JsocService(jsoc.url, "me@inst", QUICK).check_address()


def test_answers_of_a_host_that_is_up_and_one_that_is_down(monkeypatch):
    with simulator(Faults(html_answers=1, unregistered=True)) as jsoc:
        service = JsocService(jsoc.url, "me@inst.edu", QUICK)
        assert not service.answers()  # a page of maintenance
        assert service.answers()
        monkeypatch.setattr(jsoc, "answer", lambda cgi, arguments: {"msg": "maintenance"})
        assert not service.answers()
    assert not service.answers()


def test_two_cameras_at_one_time_are_one_record_with_an_image(monkeypatch):
    service = JsocService("http://127.0.0.1:9", "me@inst.edu", QUICK)
    times = [f"2011.02.13_00:{minute}:00_TAI" for minute in ("00", "00", "12", "12", "24", "24")]
    values = {"T_REC": times, "QUALITY": ["0x80000000", "0x400", "0x0", "0x80000000", "0x80000000", "0x80000000"]}
    monkeypatch.setattr(service, "_query", lambda record_set, keys: values)
    assert [record.quality for record in service.records(REQUEST)] == [1024, 0, -(2**31)]


def test_pending_request():
    with simulator(Faults(foreign_pending=1)) as jsoc:
        service = JsocService(jsoc.url, "me@inst.edu", QUICK)
        assert service.pending_request() == "JSOC_20200101_999"
        assert service.pending_request() == ""
        jsoc.faults.cgi_missing = "manage-request.sh"
        assert service.pending_request() == ""
        jsoc.faults.bad_gateway = 1
        with pytest.raises(OutageError):
            service.pending_request()


def test_position_of_a_region():
    with simulator(cadence=timedelta(hours=4)) as jsoc:
        service = JsocService(jsoc.url, "me@inst.edu", QUICK)
        assert service.position("1158") == ("2011.02.13_23:59:59Z", "-7", "-30")
        assert service.position("2000") is None
