"""The route "browser": faults of the service and of the page, in a real headless Chromium."""

import dataclasses
import time

import pytest
from browser_bench import REQUEST, Bench, needs_chromium
from jsoc_lab import IMAGES_A_REGION, simulator

from general_code.chromium import PageChangedError
from general_code.jsoc_export import DrmsRoute
from general_code.jsoc_faults import PendingRequestError, RefusedError, TransientError
from general_code.simulated_faults import Faults
from general_code.stage_files import UserError

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("browser"))
    with bench.route:
        yield bench


@pytest.fixture
def bench(shared_bench, tmp_path):
    return lambda jsoc, **patience: shared_bench.prepare(tmp_path, jsoc.url, **patience)


PASSING = {  # faults, number of exports that JSOC makes
    "all that costs a look only": (Faults(not_found_polls=1, test_mode=True, no_tarfile=1, tar_truncated=1,
                                          absolute_links=True, delay_seconds=0.3), 1),
    "answer to the request lost": (Faults(lost_answers=1, delay_seconds=0.3), 1),
    "request forgotten": (Faults(lost_requests=1, not_found_text=True, delay_seconds=0.0), 2),
    "request deleted": (Faults(expired=1, delay_seconds=0.0), 2),
}


@pytest.mark.parametrize("fault", PASSING)
def test_fault_that_passes(fault, bench):
    faults, accepted = PASSING[fault]
    with simulator(dataclasses.replace(faults)) as jsoc:
        here = bench(jsoc)
        assert here.bring(), here.said
        assert len(jsoc.exports.exports) == accepted
    assert here.ledger["1158"].files_received == IMAGES_A_REGION


def test_http_502_at_the_submission(bench, monkeypatch):
    with simulator() as jsoc:
        here = bench(jsoc)
        update = here.ledger.update

        def break_gateway_once(region: str, **changes):
            jsoc.faults.bad_gateway = int(changes.get("state") == "submitting" and changes["attempts"] == 1)
            return update(region, **changes)

        monkeypatch.setattr(here.ledger, "update", break_gateway_once)
        assert here.bring(), here.said
        assert len(jsoc.submissions()) == 2
        assert len(jsoc.exports.exports) == 1
    assert "[ GetExport ] Something went wrong" in here.said[0]


def test_refusals_of_the_submission(bench):
    with simulator() as jsoc:
        here = bench(jsoc)
        here.route._open()
        here.route._enter_record_set(REQUEST)
        here.route._enter_patch(REQUEST)
        here.route._enter_address()
        for switch, value, kind, text in (
                ("refusal", "Can not open RecordSet, bad query", RefusedError, "Can not open RecordSet, bad query"),
                ("too_large", True, RefusedError, "too large for one request.*Needs Intervention, size=.*100000MB"),
                ("offline_files", True, RefusedError, "files are offline"),
                ("hash_errors", 1, TransientError, "Cant save new export-request hash"),
                ("busy_host", 1, PendingRequestError, "Request Rejected There are too many requests from")):
            setattr(jsoc.faults, switch, value)
            if here.route.page.label("ExportButton") != "Wait":
                here.route._check(REQUEST)
            with pytest.raises(kind, match=text):
                here.route._click_submit()
            setattr(jsoc.faults, switch, type(value)())
        assert jsoc.exports.exports == {}


def test_regions_that_the_page_does_not_find(bench):
    with simulator() as jsoc:
        here = bench(jsoc)
        here.route._open()
        here.route._enter_record_set(REQUEST)
        for switch, value, text in (("region_unknown", True, r"\('11158 noRecords'\)"),
                                    ("longitude_unknown", True, r"\('11158 noRegion'\)"),
                                    ("cgi_missing", "jsoc_info_jsoc2", "no position of region 1158")):
            setattr(jsoc.faults, switch, value)
            with pytest.raises(RefusedError, match=text):
                here.route._enter_patch(REQUEST)
            setattr(jsoc.faults, switch, type(value)())


def test_texts_of_the_status_form(bench):
    with simulator(Faults(delay_seconds=60)) as jsoc:
        here = bench(jsoc)
        number = DrmsRoute(here.route.service, here.route.summaries, print, print).submit(
            REQUEST, here.route.service.records(REQUEST), "", lambda options: None)
        for changes, code, text in (
                ({}, 2, "waiting for processing"), ({}, 1, "is being processed"),
                ({"delay_seconds": 0.0, "export_fails": True}, 4, "Export program failed"),
                ({"export_fails": False, "no_tarfile": 1}, 0, "Success"),
                ({"not_found_polls": 99}, 6, "RequestID not found"),
                ({"not_found_text": True}, 4, "invalid export DRMS record"),
                ({"not_found_polls": 0, "expired": 1}, 5, "too old")):
            for switch, value in changes.items():
                setattr(jsoc.faults, switch, value)
            status = here.route.status(number)
            assert (status.code, status.tar_url) == (code, "")
            assert text in status.text
        jsoc.faults.bad_gateway = 1
        with pytest.raises(TransientError, match=r"\[ GetStatus \] Something went wrong"):
            here.route.status(number)


def test_full_disk_images_are_not_taken(bench):
    with simulator(Faults(full_disk=True, delay_seconds=0.0)) as jsoc:
        here = bench(jsoc)
        assert not here.bring()
    assert here.ledger["1158"].state == "failed"
    assert "wrong size, expected 24x24 pixels, got 64x64" in here.ledger["1158"].last_error


def test_status_7_is_not_known_to_the_page_of_2018(bench, monkeypatch):
    with simulator(Faults(busy_host=1, page_version="2018", delay_seconds=0.0)) as jsoc:
        here = bench(jsoc)
        click = here.route._click_submit

        def click_without_patience() -> str:
            here.route.page.timeout_seconds = 1
            return click()

        monkeypatch.setattr(here.route, "_click_submit", click_without_patience)
        with pytest.raises(TransientError, match="did not come to a number of the request"):
            here.submit()


def test_pending_request_is_never_cancelled(bench):
    with simulator(Faults(delay_seconds=60)) as jsoc:
        here = bench(jsoc)
        first = here.submit()
        with pytest.raises(PendingRequestError, match="An export request is pending"):
            here.submit()
        assert len(jsoc.submissions()) == 1
        assert all(arguments.get("operation") != "cancel" for _, arguments in jsoc.received)
        assert jsoc.exports.pending("me@inst.edu") == first


def test_unregistered_address_is_not_registered_by_us(bench):
    with simulator(Faults(unregistered=True)) as jsoc:
        here = bench(jsoc)
        with pytest.raises(UserError, match="email: the export page says UNREGISTERED of me@inst.edu"):
            here.submit()
        assert all(arguments["checkonly"] == "1" for path, arguments in jsoc.received if "checkAddress" in path)


def test_position_from_the_summaries_when_the_page_finds_none(bench):
    with simulator(Faults(region_unknown=True, delay_seconds=0.0)) as jsoc:
        here = bench(jsoc)
        position = jsoc.queries.series.table["1158"][0]
        here.route.summaries.position = lambda passage: position
        assert here.bring(), here.said
        (sent,) = jsoc.submissions()
    assert "t_ref=2011.02.13_23:59:59Z,x=-7,y=-30" in sent["process"]


@pytest.mark.parametrize("element", ["ResetPageButton", "ImNOAA"])
def test_another_page_names_the_element_it_lacks(element, bench, tmp_path):
    with simulator(Faults(page_without=element, delay_seconds=0.0)) as jsoc:
        here = bench(jsoc)
        with pytest.raises(PageChangedError, match=f"has no element '{element}'"):
            here.bring()
        assert jsoc.submissions() == []
    assert (tmp_path / f"export_page_{element}.png").read_bytes().startswith(b"\x89PNG")
    assert "<table" in (tmp_path / f"export_page_{element}.html").read_text()


def test_page_of_maintenance_in_its_place_is_waited_for(bench):
    with simulator(Faults(page_html=999, delay_seconds=0.0)) as jsoc:
        here = bench(jsoc)

        def end_maintenance(text: str) -> None:
            here.said.append(text)
            if sum("another page came in place of the one at" in text for text in here.said) == 5:
                jsoc.faults.page_html = 0

        assert here.bring(end_maintenance), here.said
        assert sum("another page" in text for text in here.said) == 5  # more than max_attempts
    assert here.ledger["1158"].state == "done"


def test_button_that_turns_to_cancel_is_not_clicked(bench, monkeypatch):
    with simulator() as jsoc:
        here = bench(jsoc)
        check = here.route._check

        def check_and_find_pending(request) -> str:
            options = check(request)
            here.route.page.browser.execute_script("showPending()")  # as the page's own look, at this moment
            return options

        monkeypatch.setattr(here.route, "_check", check_and_find_pending)
        with pytest.raises(PendingRequestError, match="An export request is pending"):
            here.submit()
        assert jsoc.submissions() == []
        assert all(arguments.get("operation") != "cancel" for _, arguments in jsoc.received)


def test_page_that_is_not_there(bench):
    with simulator() as jsoc:
        here = bench(jsoc)
        jsoc.stop()
        with pytest.raises(TransientError, match="ERR_CONNECTION_REFUSED"):
            here.route.status("JSOC_20110213_001")
        jsoc.start()


def test_browser_that_died_is_started_anew(bench):
    with simulator() as jsoc:
        here = bench(jsoc)
        here.route.page.browser.quit()
        assert here.bring(), here.said


def test_time_to_submit(bench, record_property):
    with simulator() as jsoc:
        here = bench(jsoc)
        start = time.monotonic()
        here.submit()
        record_property("seconds_to_submit", round(time.monotonic() - start, 2))
        assert len(jsoc.submissions()) == 1
