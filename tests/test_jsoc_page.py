"""The route "browser": a real headless Chromium on the simulated export page."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from browser_bench import REQUEST, Bench, needs_chromium
from jsoc_lab import IMAGES_A_REGION, PIXELS, be_quick, images, ledger_line, run_killed, settings, simulator

from general_code import JSOC_Driver
from general_code.JSOC_Driver import main
from general_code.jsoc_faults import TransientError
from general_code.simulated_faults import Faults

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("browser"))
    with bench.route:
        yield bench


@pytest.fixture
def bench(shared_bench, tmp_path):
    return lambda jsoc, **patience: shared_bench.prepare(tmp_path, jsoc.url, **patience)


# ---------------------------------------------------------------------------- the whole stage


def test_whole_stage_on_the_page_of_2021(tmp_path, monkeypatch):
    be_quick(monkeypatch)
    with simulator(Faults(delay_seconds=0.5)) as jsoc:
        user = settings(tmp_path, jsoc.url, route="browser")
        main(user)
        (sent,) = jsoc.submissions()
    assert (ledger_line(user).state, ledger_line(user).files_received) == ("done", IMAGES_A_REGION)
    assert len(images(user)) == IMAGES_A_REGION
    assert ledger_line(user).process == sent["process"].removeprefix("n=0|im_patch,")
    check_form(sent, requestor="")


def test_page_of_2018(bench):
    with simulator(Faults(page_version="2018", delay_seconds=0.3)) as jsoc:
        here = bench(jsoc)
        assert here.bring(), here.said
        (sent,) = jsoc.submissions()
    assert here.ledger["1158"].files_received == IMAGES_A_REGION
    check_form(sent, requestor="none")


def check_form(sent: dict[str, str], requestor: str) -> None:
    """Compare a submitted form, to the letter, with what JSOC's pages of 2018 and 2021 send."""
    assert sent["process"] == (
        "n=0|im_patch,t_start=2011.02.13_00:00:00_TAI,t_stop=2011.02.14_00:00:00_TAI,t=0,r=0,c=0,cadence=720.000000s,"
        "locunits=stony,boxunits=pixels,t_ref=2011.02.13_23:59:59Z,x=-7,y=-30,width=24,height=24")
    assert sent["ds"] == "hmi.M_720s[2011.02.13_00:00:00_TAI-2011.02.14_00:00:00_TAI][? QUALITY >= 0 ?]"
    assert float(sent["sizeratio"]) == PIXELS**2 / 4096**2
    assert (sent["method"], sent["protocol"], sent["dbhost"]) == ("url-tar", "FITS,compress Rice", "hmidb2")
    assert sent["requestor"] == requestor
    assert sent["filenamefmt"] == "hmi.M_720s.{T_REC:A}.{CAMERA}.{segment}"


def test_mapped_host_name(tmp_path, monkeypatch):
    """From plain http on a name that is not the loopback a browser blocks downloads: ours does not depend on it."""
    from general_code import jsoc_page

    with simulator() as jsoc:
        # the name leads to the simulator in the browser, and by a proxy's first line in Python; nowhere else
        monkeypatch.setenv("http_proxy", jsoc.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")  # the driver of the browser
        monkeypatch.setattr("urllib.request._opener", None)  # made for the proxies of before
        start = jsoc_page.start_chromium
        rules = f"--host-resolver-rules=MAP jsoc.stanford.edu 127.0.0.1:{jsoc.port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        monkeypatch.setattr(jsoc_page, "start_chromium", lambda driver, headless, arguments: start(
            driver, headless, [rules, "--no-proxy-server"]))
        be_quick(monkeypatch)
        user = settings(tmp_path, "http://jsoc.stanford.edu", route="browser")
        main(user)
        assert len(jsoc.exports.exports) == 1
    assert ledger_line(user).state == "done"
    assert not list(tmp_path.rglob("*.crdownload"))


def test_kill_and_resume_when_the_number_was_not_learnt(tmp_path, monkeypatch):
    be_quick(monkeypatch)
    with simulator(Faults(delay_seconds=0.5)) as jsoc:
        user = settings(tmp_path, jsoc.url, route="browser")
        assert run_killed(user, "before", "requested") == -signal.SIGKILL
        main(user)
        assert len(jsoc.exports.exports) == 1
    assert ledger_line(user).state == "done"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_sigterm_ends_the_browser_too(tmp_path):
    with simulator(Faults(delay_seconds=999)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        run = subprocess.Popen(
            [sys.executable, JSOC_Driver.__file__, "--ar-list", str(user.ar_list), "--image-dir", str(user.image_dir),
             "--email", "me@inst.edu", "--base-url", jsoc.url, "--patch-pixels", "24", "--route", "browser"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            wait_until(lambda: any(arguments.get("op") == "exp_status" for _, arguments in jsoc.received))
            os.kill(run.pid, signal.SIGTERM)
            _, errors = run.communicate(timeout=60)
            assert run.returncode == 128 + signal.SIGTERM, errors
            assert "Traceback" not in errors
            assert "Retrying" not in errors
            wait_until(lambda: not group_lives(run.pid))
        finally:
            if group_lives(run.pid):
                os.killpg(run.pid, signal.SIGKILL)
    assert ledger_line(user).state == "requested"


def group_lives(group: int) -> bool:
    """Tell whether a group of processes has any that runs; one that has ended may wait for its parent."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, its_group = path.read_text().rpartition(") ")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False


def wait_until(condition) -> None:
    """Wait until a condition holds, at most two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---------------------------------------------------------------------------- the two traps


def test_trap_1_no_full_disk_export_after_a_late_change_of_the_record_set(bench, monkeypatch):
    with simulator() as jsoc:
        here = bench(jsoc)
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


def test_trap_1_did_not_exist_in_2018(bench):
    with simulator(Faults(page_version="2018", delay_seconds=0.0)) as jsoc:
        here = bench(jsoc)
        here.route._open()
        page = here.route.page
        here.route._enter_record_set(REQUEST)
        page.type_in("ExportRecordSet", REQUEST.time_range)
        page.until(lambda: page.label("RSCountPlace").isdigit(), "a count")
        assert page.element("OptionImPatch").is_selected()


def test_trap_2_the_text_beside_the_button_is_not_success(bench):
    with simulator(Faults(delay_seconds=60)) as jsoc:
        here = bench(jsoc)
        number = here.submit()
        assert re.fullmatch(r"JSOC_\d{8}_001", number)
        status = here.route.status(number)
        assert here.route.page.label("StatusButtonMsg") == "Please only click once for status request."
        assert (status.code, status.tar_url) == (2, "")
        assert here.route.status(number).code == 1
        jsoc.faults.delay_seconds = 0.0
        assert here.route.status(number) == (0, f"{jsoc.url}/SUM94/D000000001/S00000/{number}.tar",
                                             "Success Data Ready, size=1MB")
