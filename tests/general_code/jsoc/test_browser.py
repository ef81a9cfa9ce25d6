"""The route "browser": a real headless Chromium on the simulated export page."""

import dataclasses
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from general_code.jsoc import browser as chromium
from general_code.jsoc.browser import BrowserRoute
from general_code.jsoc.client import DrmsRoute, JsocService
from general_code.jsoc.download import RegionDownload
from general_code.jsoc.export_requests import CutoutRequest, Passage, SummaryPositions
from general_code.jsoc.ledger import DownloadLedger
from general_code.jsoc.retry import PendingRequestError, RefusedError, TransientError
from general_code.JSOC_Driver import main
from general_code.simulator.series import Faults
from general_code.stage.files import UserError
from tests import jsoc_lab as lab

HAS_CHROMIUM = bool(shutil.which("chromium") and shutil.which("chromedriver"))
WITHOUT = "chromium and chromedriver are not installed (make browser)"
needs_chromium = pytest.mark.skipif(not HAS_CHROMIUM, reason=WITHOUT)
REQUEST = CutoutRequest(Passage("1158", *lab.PASSAGES["1158"]), patch_pixels=lab.PIXELS)


class Bench:
    """One browser for many tests; each has its own simulated JSOC and folder."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        service = JsocService(lab.NOWHERE, "me@inst.edu", lab.QUICK)
        self.route = BrowserRoute(service, SummaryPositions(Path("")), self.said.append, folder)

    def prepare(self, folder: Path, url: str) -> Self:
        """Turn to another host."""
        self.said.clear()
        self.route.service = JsocService(url, "me@inst.edu", dataclasses.replace(lab.QUICK, not_found_polls=2))
        self.route.page.timeout_seconds = lab.QUICK.timeout_seconds
        self.route.page.evidence = folder
        self.route.summaries, self.route._status_number = SummaryPositions(Path("")), ""
        self.ledger = DownloadLedger(folder)
        self.ledger.plan([REQUEST])
        return self

    def download(self, report: Callable[[str], None] | None = None) -> bool:
        """Download region 1158."""
        return RegionDownload("1158", {"1158": REQUEST}, self.route.service, self.route, ledger=self.ledger,
                              report=report or self.said.append).download()

    def submit(self) -> str:
        """Submit on the page only."""
        return self.route.submit(REQUEST, self.route.service.records(REQUEST), "", lambda options: None)


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory):
    if not HAS_CHROMIUM:
        pytest.skip(WITHOUT)
    bench = Bench(tmp_path_factory.mktemp("browser"))
    with bench.route:
        yield bench


@pytest.fixture
def bench(shared_bench, tmp_path):
    @contextmanager
    def start(faults=None):
        with lab.simulator(faults) as jsoc:
            yield jsoc, shared_bench.prepare(tmp_path, jsoc.url)

    return start


# ---------------------------------------------------------------------------- the whole stage


@needs_chromium
def test_whole_stage_under_the_name_of_jsoc(tmp_path, monkeypatch):
    """From plain http on a name that is not the loopback a browser blocks downloads: ours does not depend on it."""
    faults = Faults(delay_seconds=0.5)
    with lab.started(tmp_path, faults, base_url="http://jsoc.stanford.edu", route="browser") as (jsoc, user):
        # the name leads to the simulator in the browser, and by a proxy's first line in Python; nowhere else
        monkeypatch.setenv("http_proxy", jsoc.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")  # the driver of the browser
        monkeypatch.setattr("urllib.request._opener", None)  # made for the proxies of before
        rules = f"--host-resolver-rules=MAP jsoc.stanford.edu 127.0.0.1:{jsoc.port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        mapped = partial(chromium.start_chromium, arguments=[rules, "--no-proxy-server"])
        monkeypatch.setattr(chromium, "start_chromium", mapped)
        lab.be_quick(monkeypatch)
        main(user)
        (sent,) = jsoc.submissions()
    assert (lab.ledger_line(user).state, lab.ledger_line(user).files_received) == ("done", lab.IMAGES_A_REGION)
    assert len(lab.images(user)) == lab.IMAGES_A_REGION
    assert not list(tmp_path.rglob("*.crdownload"))
    assert lab.ledger_line(user).process == sent["process"].removeprefix("n=0|im_patch,")
    check_form(sent, requestor="")


def test_page_of_2018(bench):
    with bench(Faults(page_version="2018", delay_seconds=0.3)) as (jsoc, here):
        assert here.download(), here.said
        (sent,) = jsoc.submissions()
    assert here.ledger["1158"].files_received == lab.IMAGES_A_REGION
    check_form(sent, requestor="none")


def check_form(sent: dict[str, str], requestor: str) -> None:
    """Compare a submitted form, to the letter, with what JSOC's pages of 2018 and 2021 send."""
    assert sent["process"] == (
        "n=0|im_patch,t_start=2011.02.13_00:00:00_TAI,t_stop=2011.02.14_00:00:00_TAI,t=0,r=0,c=0,cadence=720.000000s,"
        "locunits=stony,boxunits=pixels,t_ref=2011.02.13_23:59:59Z,x=-7,y=-30,width=24,height=24")
    assert sent["ds"] == "hmi.M_720s[2011.02.13_00:00:00_TAI-2011.02.14_00:00:00_TAI][? QUALITY >= 0 ?]"
    assert float(sent["sizeratio"]) == lab.PIXELS**2 / 4096**2
    assert (sent["method"], sent["protocol"], sent["dbhost"]) == ("url-tar", "FITS,compress Rice", "hmidb2")
    assert sent["requestor"] == requestor
    assert sent["filenamefmt"] == "hmi.M_720s.{T_REC:A}.{CAMERA}.{segment}"


@needs_chromium
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_sigterm_ends_the_browser_too(tmp_path):
    with lab.started(tmp_path, Faults(delay_seconds=999)) as (jsoc, user):
        run = lab.start_script(user, "--route", "browser")
        try:
            lab.wait_for_look(jsoc)
            os.kill(run.pid, signal.SIGTERM)
            _, errors = run.communicate(timeout=60)
            assert run.returncode == 128 + signal.SIGTERM, errors
            assert "Traceback" not in errors
            assert "Retrying" not in errors
            lab.wait_until(lambda: not group_lives(run.pid))
        finally:
            if group_lives(run.pid):
                os.killpg(run.pid, signal.SIGKILL)
    assert lab.ledger_line(user).state == "requested"


def group_lives(group: int) -> bool:
    """Tell whether a group of processes has any that runs; one that has ended may wait for its parent."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, its_group = path.read_text().rpartition(") ")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False


# ---------------------------------------------------------------------------- the two traps


def test_trap_1_no_full_disk_export_after_a_late_change_of_the_record_set(bench, monkeypatch):
    with bench() as (jsoc, here):
        enter_address = here.route._enter_address

        def change_record_set_late() -> None:
            """As older instructions say: append the clause on quality last."""
            page = here.route.page
            page.type_in("ExportRecordSet", REQUEST.time_range)
            page.until(lambda: page.label("RSCountPlace").isdigit(), "a count")
            page.type_in("ExportRecordSet", REQUEST.record_set)
            page.until(lambda: page.label("RSCountPlace").isdigit(), "a count")
            enter_address()

        monkeypatch.setattr(here.route, "_enter_address", change_record_set_late)
        with pytest.raises(TransientError, match=r"nothing was submitted: the page would send 'n=0\|no_op'"):
            here.submit()
        assert jsoc.submissions() == []
        # the page itself would have exported the whole disk
        here.route.page.element("ExportButton").click()
        here.route.page.until(lambda: here.route.page.label("RequestIdPlace").startswith("JSOC_"), "a number")
        (sent,) = jsoc.submissions()
        assert (sent["process"], sent["sizeratio"]) == ("n=0|no_op", "1")


def test_trap_2_the_text_beside_the_button_is_not_success_and_a_pending_request_is_never_cancelled(bench):
    with bench(Faults(delay_seconds=60)) as (jsoc, here):
        number = here.submit()
        assert re.fullmatch(r"JSOC_\d{8}_001", number)
        with pytest.raises(PendingRequestError, match="An export request is pending"):
            here.submit()
        assert len(jsoc.submissions()) == 1
        assert all(arguments.get("operation") != "cancel" for _, arguments in jsoc.received)
        assert jsoc.exports.pending("me@inst.edu") == number
        status = here.route.status(number)
        assert here.route.page.label("StatusButtonMsg") == "Please only click once for status request."
        assert (status.code, status.tar_url) == (2, "")
        assert here.route.status(number).code == 1
        jsoc.faults.delay_seconds = 0.0
        assert here.route.status(number) == (0, f"{jsoc.url}/SUM94/D000000001/S00000/{number}.tar",
                                             "Success Data Ready, size=1MB")


def test_faults_that_cost_a_look_only(bench):
    with bench(Faults(not_found_polls=1, test_mode=True, no_tarfile=1, tar_truncated=1, absolute_links=True,
                      delay_seconds=0.3)) as (jsoc, here):
        assert here.download(), here.said
        assert len(jsoc.exports.exports) == 1
    assert here.ledger["1158"].files_received == lab.IMAGES_A_REGION


def test_number_that_was_not_learnt(bench):
    with bench(Faults(lost_answers=1, delay_seconds=0.3)) as (jsoc, here):
        assert here.download(), here.said
        assert len(jsoc.submissions()) == 2
        assert len(jsoc.exports.exports) == 1
    assert "[ GetExport ] Something went wrong" in here.said[0]


def test_refusals_of_the_submission(bench):
    with bench() as (jsoc, here):
        here.route._open()
        here.route._enter_record_set(REQUEST)
        here.route._enter_patch(REQUEST)
        here.route._enter_address()
        for switch, value, kind, text in (
                ("refusal", "Can not open RecordSet, bad query", RefusedError, "Can not open RecordSet, bad query"),
                ("too_large", True, RefusedError, "too large for one request.*Needs Intervention, size=.*100000MB"),
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
    with bench() as (jsoc, here):
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
    with bench(Faults(delay_seconds=60)) as (jsoc, here):
        number = DrmsRoute(here.route.service, here.route.summaries, print).submit(
            REQUEST, here.route.service.records(REQUEST), "", lambda options: None)
        for changes, code, text in (
                ({}, 2, "waiting for processing"), ({}, 1, "is being processed"),
                ({"delay_seconds": 0.0, "export_fails": True}, 4, "Export program failed"),
                ({"export_fails": False, "no_tarfile": 1}, 0, "Success"),
                ({"not_found_polls": 99}, 6, "RequestID not found"),
                ({"not_found_text": True}, 6, "invalid export DRMS record"),
                ({"not_found_polls": 0, "expired": 1}, 5, "too old")):
            for switch, value in changes.items():
                setattr(jsoc.faults, switch, value)
            status = here.route.status(number)
            assert (status.code, status.tar_url) == (code, "")
            assert text in status.text
        jsoc.faults.http_errors = 1
        with pytest.raises(TransientError, match=r"\[ GetStatus \] Something went wrong"):
            here.route.status(number)


def test_status_7_is_not_known_to_the_page_of_2018(bench, monkeypatch):
    with bench(Faults(busy_host=1, page_version="2018")) as (jsoc, here):
        click = here.route._click_submit

        def click_at_once() -> str:
            here.route.page.timeout_seconds = 1
            return click()

        monkeypatch.setattr(here.route, "_click_submit", click_at_once)
        with pytest.raises(TransientError, match="did not come to a number of the request"):
            here.submit()


def test_unregistered_address_is_not_registered_by_us(bench):
    with bench(Faults(address_status=4)) as (jsoc, here):
        with pytest.raises(UserError, match="email: the export page says UNREGISTERED of me@inst.edu"):
            here.submit()
        assert all(arguments["checkonly"] == "1" for path, arguments in jsoc.received if "checkAddress" in path)


def test_position_from_the_summaries_when_the_page_finds_none(bench):
    with bench(Faults(region_unknown=True)) as (jsoc, here):
        position = jsoc.exports.series.table["1158"][0]
        here.route.summaries.position = lambda passage: position
        assert here.download(), here.said
        (sent,) = jsoc.submissions()
    assert "t_ref=2011.02.13_23:59:59Z,x=-7,y=-30" in sent["process"]


@pytest.mark.parametrize("element", ["ResetPageButton", "ImNOAA"])
def test_another_page_names_the_element_it_lacks(element, bench, tmp_path):
    with bench(Faults(page_without=element)) as (jsoc, here):
        with pytest.raises(UserError, match=f"has no element '{element}'"):
            here.download()
        assert jsoc.submissions() == []
    assert (tmp_path / f"export_page_{element}.png").read_bytes().startswith(b"\x89PNG")
    assert "<table" in (tmp_path / f"export_page_{element}.html").read_text()


def test_page_of_maintenance_in_its_place_is_waited_for(bench):
    with bench(Faults(page_html=999)) as (jsoc, here):

        def end_maintenance(text: str) -> None:
            here.said.append(text)
            if sum("another page came in place of the one at" in text for text in here.said) == 2:
                jsoc.faults.page_html = 0

        here.route.service.policy = dataclasses.replace(lab.QUICK, max_attempts=1)
        assert here.download(end_maintenance), here.said
        assert sum("another page" in text for text in here.said) == 2  # more than max_attempts
    assert here.ledger["1158"].state == "done"


def test_button_that_turns_to_cancel_is_not_clicked(bench, monkeypatch):
    with bench() as (jsoc, here):
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
    with bench() as (jsoc, here):
        jsoc.stop()
        with pytest.raises(TransientError, match="ERR_CONNECTION_REFUSED"):
            here.route.status("JSOC_20110213_001")
        jsoc.start()


def test_browser_that_died_is_started_again(bench):
    with bench() as (jsoc, here):
        here.route.page.browser.quit()
        assert here.download(), here.said


@pytest.mark.parametrize(("on_the_path", "setting", "message"), [
    (["chromium"], "", "found nothing at 'chromedriver on the PATH'; install Chromium and its driver"),
    (["chromium", "chromedriver"], "my/driver", "chromedriver: expected a program, found nothing at 'my/driver'"),
    (["chromedriver"], "", "no Chromium on the PATH .looked for chromium, .*apt-get install chromium")])
def test_driver_or_browser_that_is_missing(on_the_path, setting, message, tmp_path, monkeypatch):
    monkeypatch.setattr(chromium.shutil, "which", dict.fromkeys(on_the_path, "/usr/bin/program").get)
    with pytest.raises(UserError, match=message):
        chromium.start_chromium(setting, True, tmp_path)


@pytest.mark.skipif(not shutil.which("false"), reason="needs a program that ends at once")
def test_driver_that_is_none(tmp_path, monkeypatch):
    program = shutil.which("false")
    monkeypatch.setattr(chromium.shutil, "which", lambda name: program)
    with pytest.raises(UserError, match="does not start .*; install Chromium and its driver"):
        chromium.start_chromium("", True, tmp_path)
