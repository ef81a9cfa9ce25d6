"""Stage 2 by the route "drms": every fault of the service and of the tar, each with its proper end."""

import dataclasses
import re

import pytest
from jsoc_lab import (
    IMAGES_A_REGION,
    at_state,
    be_quick,
    closed_port,
    excluded,
    images,
    ledger_line,
    settings,
    simulator,
)

from general_code.JSOC_Driver import main
from general_code.jsoc_service import JsocService
from general_code.simulated_faults import Faults
from general_code.tar_download import host_answers


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    be_quick(monkeypatch)


# ---------------------------------------------------------------------------- faults that pass

PASSING = {
    "HTTP 502 now and then": Faults(bad_gateway_every=3),
    "HTTP 502 at the start": Faults(bad_gateway=2),
    "HTTP 500": Faults(server_errors=2),
    "HTTP 429": Faults(too_many_requests=2),
    "keywords missing": Faults(missing_values=2),
    "two cameras": Faults(both_cameras=True),
    "web page in place of JSON": Faults(html_answers=2),
    "answer to the request lost": Faults(lost_answers=1, delay_seconds=0.3),
    "hash error": Faults(hash_errors=2),
    "request of another program pending": Faults(foreign_pending=2),
    "too many requests from this machine": Faults(busy_host=2),
    "status 6 after the request": Faults(not_found_polls=5),
    "status 4 in place of 6": Faults(not_found_polls=3, not_found_text=True),
    "request forgotten": Faults(lost_requests=1),
    "request deleted": Faults(expired=1),
    "status 12": Faults(test_mode=True, delay_seconds=0.2),
    "slow export": Faults(delay_seconds=0.5),
    "complete without tar": Faults(no_tarfile=2),
    "tar not found": Faults(tar_not_found=2),
    "tar truncated": Faults(tar_truncated=2),
    "tar empty": Faults(tar_empty=1),
    "web page in place of the tar": Faults(tar_html=1),
    "tar cut at its source": Faults(tar_cut_at_source=1),
    "tar moved": Faults(tar_moved=True),
    "no manage-request": Faults(cgi_missing="manage-request.sh"),
}


@pytest.mark.parametrize("fault", PASSING)
def test_fault_that_passes(fault, tmp_path):
    faults = dataclasses.replace(PASSING[fault])
    if faults.delay_seconds == Faults.delay_seconds:
        faults.delay_seconds = 0.0
    with simulator(faults) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
        accepted = len(jsoc.exports.exports)
    line = ledger_line(user)
    assert (line.state, line.files_received, line.last_error) == ("done", IMAGES_A_REGION, "")
    assert len(images(user)) == IMAGES_A_REGION
    # a request is made anew only when JSOC has lost or deleted the first
    assert accepted == (2 if fault in ("request forgotten", "request deleted") else 1)


@pytest.mark.parametrize("fault", ["lost_answers", "hash_errors"])
def test_submission_is_repeated_to_the_letter(fault, tmp_path, monkeypatch):
    with simulator(Faults(**{fault: 1}, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        # the position is not there any more when the request is sent again
        at_state(monkeypatch, "submitting", lambda: setattr(jsoc.faults, "region_unknown", True))
        main(user)
        first, second = jsoc.submissions()
        assert first == second
        assert len(jsoc.exports.exports) == 1
    assert ledger_line(user).state == "done"


def test_request_of_another_program_is_not_waited_for_without_end(tmp_path, monkeypatch):
    be_quick(monkeypatch, foreign_seconds=0.1)
    with simulator(Faults(foreign_pending=4)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        with pytest.raises(SystemExit, match="none of the 1 regions"):
            main(user)
        assert jsoc.submissions() == []
        assert jsoc.faults.foreign_pending == 2  # two looks, a tenth of a second apart
    assert "another request did not end within 0 minutes: request JSOC_20200101_999" in ledger_line(user).last_error


def test_stalled_download_is_tried_again(tmp_path, monkeypatch):
    be_quick(monkeypatch, timeout_seconds=1)
    with simulator(Faults(tar_stalled=1, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
    assert ledger_line(user).state == "done"


def after_looks(monkeypatch, number: int, act) -> None:
    """Let something happen once the driver has found the service down so many times."""
    answers, looks = JsocService.answers, []

    def watched_answers(self):
        answer = answers(self)
        if not answer:
            looks.append(self)
            if len(looks) == number:
                act()
        return answer

    monkeypatch.setattr(JsocService, "answers", watched_answers)


def test_restart_of_jsoc_is_waited_for(tmp_path, capsys, monkeypatch):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url, max_attempts=2)
        at_state(monkeypatch, "requested", jsoc.stop)
        after_looks(monkeypatch, 4, jsoc.start)
        main(user)
    assert ledger_line(user).state == "done"
    assert capsys.readouterr().out.count("next try in") == 4  # more tries than max_attempts: nobody answered


@pytest.mark.parametrize("state", ["submitting", "requested"])
def test_page_of_maintenance_is_waited_for(state, tmp_path, capsys, monkeypatch):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url, max_attempts=2)

        def maintain(answers: int) -> None:
            jsoc.faults.html_answers = answers

        at_state(monkeypatch, state, lambda: maintain(999))
        after_looks(monkeypatch, 4, lambda: maintain(0))
        main(user)
        assert len(jsoc.exports.exports) == 1
    assert ledger_line(user).state == "done"
    assert capsys.readouterr().out.count("not JSON") == 4


def test_host_of_the_tar_that_is_down_is_waited_for(tmp_path, monkeypatch):
    with simulator() as jsoc, closed_port() as port:
        jsoc.faults.tar_host_down = port
        user = settings(tmp_path, jsoc.url, max_attempts=2)
        looks = []

        def watched_host(*arguments) -> bool:
            looks.append(host_answers(*arguments))
            if len(looks) == 4:
                jsoc.faults.tar_host_down = 0
            return looks[-1]

        monkeypatch.setattr("general_code.region_download.host_answers", watched_host)
        main(user)
    assert looks == [False] * 4
    assert ledger_line(user).state == "done"


def test_cgi_that_stalls_is_asked_again(tmp_path, monkeypatch):
    be_quick(monkeypatch, timeout_seconds=1)
    with simulator(Faults(cgi_stalled=1, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
        checks = [path for path, _ in jsoc.received if path.endswith("checkAddress.sh")]
    assert len(checks) >= 2  # the first was left alone before its answer came
    assert ledger_line(user).state == "done"


@pytest.mark.parametrize(("changes", "message"), [
    ({"forbidden": 99}, "HTTP status 403: the service refuses this machine's address"),
    ({"refusal": "Cannot process your request. email address has been neither validated nor registered"},
     "JSOC takes no requests of this address")])
def test_fault_that_no_region_passes_stops_the_run(changes, message, tmp_path, monkeypatch):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1158,20110213,1\n1429,20120303,1\n")
    with simulator() as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        at_state(monkeypatch, "submitting", lambda: [setattr(jsoc.faults, *change) for change in changes.items()])
        with pytest.raises(SystemExit, match=message):
            main(user)
        assert len(jsoc.submissions()) <= 1
    assert (ledger_line(user).state, ledger_line(user, "1429").state) == ("submitting", "planned")


# ---------------------------------------------------------------------------- faults that do not pass

LASTING = {
    "export fails": (Faults(export_fails=True), "failed", "Export program failed"),
    "refused": (Faults(refusal="Can not open RecordSet, bad query"), "failed", "Can not open RecordSet"),
    "too large": (Faults(too_large=True), "failed", "too large.*100000MB.*shorten"),
    "files offline": (Faults(offline_files=True), "failed", "offline"),
    "no records": (Faults(empty_series=True), "failed", "no images in hmi.M_720s"),
    "series unknown": (Faults(series_unknown=True), "failed", "series not found"),
    "hash error for good": (Faults(hash_errors=99), "submitting", "Cant save new export-request hash"),
    "never known": (Faults(not_found_polls=999), "failed", "does not know request JSOC_.*3 requests ended so"),
    "never a tar": (Faults(no_tarfile=999), "failed", "has no tar"),
    "region unknown": (Faults(region_unknown=True), "failed", "no position of region 1158"),
    "longitude unknown": (Faults(longitude_unknown=True), "failed", "no position of region 1158"),
    "table unavailable": (Faults(table_unavailable=True), "failed", "no position of region 1158"),
    "tar never found": (Faults(tar_not_found=99), "requested", "HTTP status 404"),
    "tar always short": (Faults(tar_truncated=99), "requested", r"[\d,]+ of [\d,]+ bytes arrived"),
    "tar always a web page": (Faults(tar_html=99), "requested", "a web page came in place of the tar"),
    "tar always cut": (Faults(tar_cut_at_source=99), "requested", "not a whole tar"),
    "name with ..": (Faults(hostile_member="parent"), "failed", r"'\.\./\.\./hmi.*leads out of the folder"),
    "absolute name": (Faults(hostile_member="absolute"), "failed", "leads out of the folder"),
    "symbolic link": (Faults(hostile_member="symlink"), "failed", "is a link, a device or the like"),
    "hard link": (Faults(hostile_member="hardlink"), "failed", "is a link, a device or the like"),
    "device": (Faults(hostile_member="device"), "failed", "is a link, a device or the like"),
    "surplus member": (Faults(hostile_member="surplus"), "failed", "surplus: the request can have 242 images"),
    "many folders": (Faults(hostile_member="folders"), "failed", "'./folder50' is surplus"),
    "repeated member": (Faults(hostile_member="repeated"), "failed", "surplus"),
    "bomb": (Faults(hostile_member="bomb"), "failed", "unpacks to 67,108,864 bytes, expected at most 266,752"),
    "full disk": (Faults(full_disk=True), "failed", "wrong size, expected 24x24 pixels, got 64x64"),
    "bit 31 served": (Faults(bad_quality_served=True), "failed", "QUALITY below 0, QUALITY 0x80000000"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_fault_that_lasts(fault, tmp_path):
    faults, state, error = LASTING[fault]
    faults = dataclasses.replace(faults, delay_seconds=0.0)
    with simulator(faults) as jsoc:
        user = settings(tmp_path, jsoc.url)
        with pytest.raises(SystemExit, match="none of the 1 regions could be downloaded"):
            main(user)
        # what may pass is tried in a second pass, for the first has brought it further
        assert len(jsoc.submissions()) <= user.max_attempts * (2 if state == "submitting" else 1)
    line = ledger_line(user)
    assert line.state == state
    assert re.search(error, line.last_error), line.last_error
    assert not (user.image_dir / "1158").exists()
    assert not list(tmp_path.rglob("*.part"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ARList.txt", "images"]
    reason = "region given up" if state == "failed" else "region not received yet"
    assert excluded(user) == [["1158", reason, line.last_error]]


@pytest.mark.parametrize(("member", "reason"), [
    ("other_time", "time outside the request"), ("not_fits", "not a readable image"),
    ("html", "not a readable image"), ("primary_unit", "not a readable image"),
    ("odd_name", "name is not one of the series")])
def test_one_bad_image_does_not_cost_the_others(member, reason, tmp_path):
    with simulator(Faults(hostile_member=member, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
    assert ledger_line(user).files_received == IMAGES_A_REGION - 1
    reasons = [row[1] for row in excluded(user)]
    assert reasons.count(reason) == 1
    # a file that is of no record says nothing of the record that is missing
    assert reasons.count("not among the images received") == (member in ("other_time", "odd_name"))
    assert len(reasons) == 121 - IMAGES_A_REGION + 1 + (member in ("other_time", "odd_name"))


def test_records_that_are_not_there_or_have_no_image_are_listed(tmp_path):
    with simulator(Faults(missing_slots=1, bad_records=2, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
    rows = {record: (reason, detail) for record, reason, detail in excluded(user)}
    assert ledger_line(user).files_received == IMAGES_A_REGION - 3
    assert rows["1158 2011.02.13_00:00:00_TAI"] == ("no record at JSOC", "")
    assert rows["1158 2011.02.14_00:00:00_TAI"] == ("record without image at JSOC", "QUALITY 0x80000000")
    assert rows["1158 2011.02.13_20:00:00_TAI"] == ("record without image at JSOC", "QUALITY 0x80000000")


def test_second_camera_is_listed(tmp_path):
    with simulator(Faults(both_cameras=True, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
    assert {name.split(".")[3] for name in images(user)} == {"1"}
    rows = [row for row in excluded(user) if row[1] == "second image of one time"]
    assert len(rows) == IMAGES_A_REGION
    assert rows[0][0] == "1158 hmi.M_720s.20110213_000000_TAI.3.magnetogram.fits"


def test_failure_of_one_region_does_not_stop_the_next(tmp_path):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1111,20110213,1\n1158,20110213,1\n")  # JSOC's table does not have 1111
    with simulator() as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        main(user)
    assert (ledger_line(user, "1111").state, ledger_line(user).state) == ("failed", "done")


def test_region_that_was_left_is_tried_again_after_the_others(tmp_path, capsys):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1158,20110213,1\n1429,20120303,1\n")
    with simulator(Faults(tar_not_found=3, delay_seconds=0.0)) as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        main(user)
        assert len(jsoc.submissions()) == 2
        tars = [path for path, _ in jsoc.received if path.endswith(".tar")]
    assert [tar == tars[0] for tar in tars] == [True, True, True, False, True]
    assert "1 regions are left, which may come now" in capsys.readouterr().out
    assert {ledger_line(user, region).state for region in ("1158", "1429")} == {"done"}


def test_run_that_leaves_a_region_says_so_and_a_later_start_gets_it(tmp_path):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1158,20110213,1\n1429,20120303,1\n")
    with simulator(Faults(delay_seconds=0.0)) as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        main(dataclasses.replace(user, ar_numbers=("1158",)))
        jsoc.faults.tar_not_found = 6  # in a first pass, and in a second
        with pytest.raises(SystemExit, match="1 of the 2 regions are not received yet; .*start the same command again"):
            main(user)
        assert [row for row in excluded(user) if row[0] == "1429"] == [
            ["1429", "region not received yet", ledger_line(user, "1429").last_error]]
        main(user)
        assert len(jsoc.submissions()) == 2
    assert ledger_line(user, "1429").state == "done"


def test_request_of_ours_that_is_pending_is_brought_first(tmp_path, capsys):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1158,20110213,1\n1429,20120303,1\n")
    with simulator(Faults(delay_seconds=60)) as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
            be_quick(patch, request_seconds=0.05)
            main(dataclasses.replace(user, ar_numbers=("1429",)))
        assert ledger_line(user, "1429").state == "requested"
        jsoc.faults.delay_seconds = 0.0
        main(user)
        assert len(jsoc.submissions()) == 2
    assert {ledger_line(user, region).state for region in ("1158", "1429")} == {"done"}


def test_position_from_the_summaries_when_the_table_is_not_there(tmp_path):
    with simulator(Faults(table_unavailable=True, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url, srs_dir=tmp_path / "SRS")
        user.srs_dir.mkdir()
        (user.srs_dir / "20110214SRS.txt").write_text(
            ":Product: 0214SRS.txt\nI.  Regions with Sunspots.  Locations Valid at 13/2400Z\n"
            "Nmbr Location  Lo  Area  Z   LL   NN Mag Type\n1158 S20W03   033  0080 Dsi  06   12 Beta-Gamma\n"
            "IA. H-alpha Plages without Spots.\nII. Regions Due to Return\n")
        with pytest.raises(SystemExit):  # the simulated JSOC has no region at that place
            main(user)
        (sent,) = jsoc.submissions()
    assert "t_ref=2011.02.13_23:59:59Z,x=3,y=-20" in sent["process=n"]
