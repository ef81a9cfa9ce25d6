"""Stage 2 by the route "drms": every fault of the service and of the tar, each with its proper end."""

import dataclasses
import re
import threading

import pytest
from jsoc_lab import IMAGES_A_REGION, be_quick, excluded, images, ledger_line, settings, simulator

from general_code.JSOC_Driver import main
from general_code.simulated_faults import Faults


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    be_quick(monkeypatch)


# ---------------------------------------------------------------------------- faults that pass

PASSING = {
    "HTTP 502 now and then": Faults(bad_gateway_every=3),
    "HTTP 502 at the start": Faults(bad_gateway=2),
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


def test_stalled_download_is_tried_again(tmp_path, monkeypatch):
    be_quick(monkeypatch, timeout_seconds=0.5)
    monkeypatch.setattr("general_code.simulate_jsoc.STALL_SECONDS", 1.5)
    with simulator(Faults(tar_stalled=1, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
    assert ledger_line(user).state == "done"


def test_restart_of_jsoc_is_waited_for(tmp_path, capsys):
    with simulator(Faults(delay_seconds=0.3)) as jsoc:
        user = settings(tmp_path, jsoc.url, max_attempts=2)
        stop, start = threading.Timer(0.15, jsoc.stop), threading.Timer(1.5, jsoc.start)
        for timer in (stop, start):
            timer.start()
        main(user)
        for timer in (stop, start):
            timer.join()
    assert ledger_line(user).state == "done"
    assert capsys.readouterr().out.count("next try in") > 2  # more tries than max_attempts: nobody answered


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
    "surplus member": (Faults(hostile_member="surplus"), "failed", "surplus: the request can have 7 images"),
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
        assert len(jsoc.submissions()) <= user.max_attempts
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
    ("odd_name", "name is not one of the series")])
def test_one_bad_image_does_not_cost_the_others(member, reason, tmp_path):
    with simulator(Faults(hostile_member=member, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
    assert ledger_line(user).files_received == IMAGES_A_REGION - 1
    reasons = [row[1] for row in excluded(user)]
    assert reasons.count(reason) == 1
    assert reasons.count("not among the images received") == 1


def test_failure_of_one_region_does_not_stop_the_next(tmp_path):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1111,20110213,1\n1158,20110213,1\n")  # JSOC's table does not have 1111
    with simulator() as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        main(user)
    assert (ledger_line(user, "1111").state, ledger_line(user).state) == ("failed", "done")


def test_later_start_gets_what_was_not_ready(tmp_path):
    with simulator(Faults(tar_not_found=3, delay_seconds=0.0)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        with pytest.raises(SystemExit):
            main(user)
        main(user)
        assert len(jsoc.submissions()) == 1
    assert ledger_line(user).state == "done"


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
