"""Stage 2 by the route "drms": the real drms package against the simulated JSOC."""

import errno
import fcntl
import json
import os
import re
import signal
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from unittest.mock import Mock, patch

import numpy as np
import pytest

from general_code import JSOC_Driver
from general_code.dataset.contents import find_images
from general_code.images.magnetograms import read_magnetogram
from general_code.jsoc import download as region_download
from general_code.jsoc.client import JsocService
from general_code.jsoc.export_requests import Passage
from general_code.JSOC_Driver import main, select_passages
from general_code.simulator.series import Faults
from general_code.stage.files import UserError
from tests import jsoc_lab as lab


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    lab.be_quick(monkeypatch)


def test_two_regions_are_downloaded_and_accounted_for(tmp_path, capsys):
    with lab.started(tmp_path, Faults(missing_slots=1, bad_records=1), both=True) as (_, user):
        main(user)
    printed = capsys.readouterr().out
    assert "To do: 2 regions, up to 242 images: about" in printed and "of disk and" in printed
    assert "2 of 2 regions done, 10 images" in printed
    names = list(lab.images(user))
    assert names == [lab.NAME.format(lab.slot(hour)) for hour in (4, 8, 12, 16, 20)]
    missing = (user.image_dir / "1158_missing_records.csv").read_text().splitlines()
    assert missing[0] == "record,reason,detail"
    assert "2011.02.13_00:00:00_TAI,no record at JSOC," in missing
    found, foreign = find_images(user.image_dir, "fits")
    assert len(found) == 10
    assert foreign == []  # stage 3 takes none of the driver's own files for a foreign one
    field = read_magnetogram(user.image_dir / "1158" / names[0])
    assert field.shape == (24, 24)
    assert np.isfinite(field).all()
    assert field.max() > 300
    line = lab.ledger_line(user)
    assert (line.state, line.files_expected, line.files_received, line.attempts) == ("done", 5, 5, 1)
    assert re.fullmatch("[0-9a-f]{64}", line.tar_sha256)
    assert not (user.image_dir / ".incoming").exists()
    rows = lab.excluded(user)
    assert ["1158 2011.02.14_00:00:00_TAI", "record without image at JSOC", "QUALITY 0x80000000"] in rows
    assert ["1158 2011.02.13_00:00:00_TAI", "no record at JSOC", ""] in rows
    assert len(rows) == 242 - 10
    counts = json.loads((user.image_dir / "download_ledger.csv.json").read_text())["counts"]
    assert counts["images"] == 10


def test_request_is_as_jsoc_expects_it(tmp_path):
    with lab.started(tmp_path) as (jsoc, user):
        main(user)
        (sent,) = jsoc.submissions()
    assert sent["ds"] == ("hmi.M_720s[2011.02.13_00:00:00_TAI-2011.02.14_00:00:00_TAI][? QUALITY >= 0 ?]{magnetogram}")
    assert sent["process=n"] == (
        "0|im_patch,t_start=2011.02.13_00:00:00_TAI,t_stop=2011.02.14_00:00:00_TAI,t=0,r=0,c=0,cadence=720s,"
        "locunits=stony,boxunits=pixels,t_ref=2011.02.13_23:59:59Z,x=-7,y=-30,width=24,height=24")
    assert (sent["method"], sent["protocol"]) == ("url-tar", "fits")
    assert sent["filenamefmt"] == "hmi.M_720s.{T_REC:A}.{CAMERA}.{segment}"
    assert "process%3Dn=0%7Cim_patch" in (user.image_dir / "download_ledger.csv.log").read_text()


def test_finished_work_is_not_asked_for_again(tmp_path, capsys):
    with lab.started(tmp_path) as (jsoc, user):
        main(user)
        listed, asked = lab.excluded(user), len(jsoc.received)
        main(user)
        assert len(jsoc.received) == asked  # not a single request
    assert "nothing to do" in capsys.readouterr().out
    assert lab.excluded(user) == listed


def test_region_whose_images_are_gone_is_downloaded_again(tmp_path, capsys):
    with lab.started(tmp_path) as (jsoc, user):
        main(user)
        before = lab.images(user)
        removed, lost_in_a_power_cut, *_ = sorted((user.image_dir / "1158").iterdir())
        removed.unlink()
        lost_in_a_power_cut.write_bytes(b"")
        main(user)
    assert lab.images(user) == before
    assert f"{lab.IMAGES_A_REGION - 2} of {lab.IMAGES_A_REGION} images are there" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["size", "dates"])
def test_images_of_two_requests_are_not_mixed(change, tmp_path, capsys):
    with lab.started(tmp_path) as (jsoc, user):
        main(user)
        before = lab.images(user), lab.ledger_line(user)
        if change == "dates":
            user.ar_list.write_text("1158,20110214,1\n")
        other = user.changed(patch_pixels=16 if change == "size" else user.patch_pixels)
        with pytest.raises(SystemExit, match=r"the images of 1 region \(1158\) were made for other dates, series or "
                                             "size .*move those folders away"):
            main(other)
        assert (lab.images(user), lab.ledger_line(user)) == before
        (user.image_dir / "1158").rename(tmp_path / "old")
        with suppress(SystemExit):  # there are no images of 16 pixels
            main(other)
        first, second = jsoc.submissions()
        assert (first["ds"] == second["ds"], "width=16" in second["process=n"]) == (change == "size",) * 2
    assert "was made for other dates, series or size" in capsys.readouterr().out


def test_series_in_near_real_time(tmp_path):
    with lab.started(tmp_path, series="hmi.M_720s_nrt") as (_, user):
        main(user)
    names = [path.name for path in (user.image_dir / "1158").iterdir()]
    assert len(names) == lab.IMAGES_A_REGION and all(name.startswith("hmi.M_720s_nrt.201102") for name in names)


def test_series_that_the_next_stage_does_not_read_is_reported(tmp_path, capsys):
    with lab.simulator(Faults(series_unknown=True)) as jsoc, pytest.raises(SystemExit, match="0 of 1 region"):
        main(lab.settings(tmp_path, jsoc.url, series="hmi.M_45s"))
    assert "series hmi.M_45s: generate_dataset.py reads hmi.M_720s only" in capsys.readouterr().out


def test_regions_in_flight_come_first(tmp_path):
    with lab.started(tmp_path, both=True) as (jsoc, user):
        stop_before_unpacking(user.changed(ar_numbers=("1429",)))
        first = len(jsoc.received)
        main(user)
        asked = [arguments["ds"] for _, arguments in jsoc.received[first:] if arguments.get("op") == "rs_list"]
    assert "2012.03.03" in asked[0]
    assert "2011.02.13" in asked[1]


def stop_before_unpacking(user: JSOC_Driver.UserDefinitions) -> None:
    """Run the driver, and end it once a tar is on disk."""
    stop = Mock(side_effect=UserError("given up"))
    with pytest.raises(SystemExit, match="given up"), patch("general_code.jsoc.download.RegionDownload._use_tar", stop):
        main(user)


def test_waiting_tar_that_was_changed_is_downloaded_again(tmp_path):
    with lab.started(tmp_path) as (jsoc, user):
        stop_before_unpacking(user)
        assert lab.ledger_line(user).state == "downloaded"
        (tar,) = (user.image_dir / ".incoming").glob("*.tar")
        other = bytearray(tar.read_bytes())
        other[len(other) // 2] ^= 0xFF  # still a whole tar
        tar.write_bytes(other)
        main(user)
        downloads = [path for path, _ in jsoc.received if path.endswith(".tar")]
    assert len(downloads) == 2
    assert lab.ledger_line(user).files_received == lab.IMAGES_A_REGION


def test_submission_is_not_repeated_by_another_route(tmp_path):
    with lab.started(tmp_path, Faults(hash_errors=99)) as (jsoc, user):
        with pytest.raises(SystemExit):
            main(user)
        assert (lab.ledger_line(user).state, lab.ledger_line(user).route) == ("submitting", "drms")
        sent = len(jsoc.received)
        with pytest.raises(SystemExit, match="1158 was being submitted by route drms .* --route drms "
                                             "--ar-numbers 1158, then with --route browser"):
            main(user.changed(route="browser"))
        assert len(jsoc.received) == sent


def test_regions_by_number_and_exclusions_of_the_others_stay_listed(tmp_path):
    with lab.started(tmp_path, both=True) as (jsoc, user):
        main(user.changed(ar_numbers=("11158",)))
        assert not (user.image_dir / "1429").exists()
        main(user.changed(ar_numbers=("1429",)))
    assert len(lab.excluded(user)) == 242 - 2 * lab.IMAGES_A_REGION


def test_regions_are_taken_in_the_order_of_the_list():
    passages = [Passage(region, date(2014, 1, 7), 1) for region in ("1944", "1158", "2673")]
    assert [each.region for each in select_passages(passages, ("2673", "1944"), Path("l"))] == ["1944", "2673"]
    assert select_passages(passages, (), Path("l")) == passages
    with pytest.raises(UserError, match="region 1000, 1001 is not in l"):
        select_passages(passages, ("1001", "1000", "1944"), Path("l"))


def test_dry_run_prints_the_requests_and_sends_none(tmp_path, capsys):
    with lab.started(tmp_path, dry_run=True, email="") as (jsoc, user):
        main(user)
        assert jsoc.submissions() == []
    printed = capsys.readouterr().out
    assert "x=-7,y=-30,width=24,height=24 (121 records)" in printed
    assert not user.image_dir.exists()


def test_dry_run_without_a_service(tmp_path, capsys):
    user = lab.settings(tmp_path, "http://127.0.0.1:9", dry_run=True)
    with user.ar_list.open("a") as file:
        file.write("1158 20110213 8\n")
    main(user)
    printed = capsys.readouterr().out
    assert "im_patch,(no position) (121 records)" in printed
    assert re.search(r"Skipped: ARList.txt, line \d+: line of the list does not parse: '1158 20110213 8' is", printed)


def test_script_runs_from_any_folder_at_full_cadence(tmp_path):
    with lab.simulator(minutes=12) as jsoc:
        user = lab.settings(tmp_path, jsoc.url)
        run = lab.start_script(user, "--poll-seconds", "0.02", "--ar-numbers", "1158")
        printed, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    assert "1 of 1 region done, 121 images in images" in printed  # 120 a day and the last midnight
    assert lab.ledger_line(user).state == "done"
    assert lab.excluded(user) == []


# ---------------------------------------------------------------------------- the user's folders and habits


def test_any_path_is_a_path(tmp_path):
    folder = tmp_path / "load[1] a$HOME" / "Dropbox (Uni) Sonne_\u00fc" / "x*?!"
    with lab.started(tmp_path, image_dir=folder) as (_, user):
        main(user)
    assert len(lab.images(user)) == lab.IMAGES_A_REGION


def test_file_system_without_locks_permissions_and_flush(tmp_path, monkeypatch):
    for module, function, code in ((fcntl, "flock", errno.ENOLCK), (os, "chmod", errno.EPERM),
                                   (os, "link", errno.EPERM), (os, "fsync", errno.EINVAL)):
        monkeypatch.setattr(module, function, Mock(side_effect=OSError(code, os.strerror(code))))
    with lab.started(tmp_path) as (_, user):
        main(user)
    assert lab.ledger_line(user).state == "done"
    assert len(lab.images(user)) == lab.IMAGES_A_REGION


def test_region_given_up_is_tried_again_only_when_asked_for(tmp_path, capsys):
    with lab.started(tmp_path, Faults(export_fails=True), both=True) as (jsoc, user):
        with pytest.raises(SystemExit, match="0 of 2 regions downloaded"):
            main(user)
        jsoc.faults.export_fails, asked = False, len(jsoc.received)
        with pytest.raises(SystemExit, match="0 of 2 regions downloaded"):
            main(user)
        assert len(jsoc.received) == asked
        assert "Given up: 2 regions (1158 1429), which later starts skip" in capsys.readouterr().out
        main(user.changed(ar_numbers=1429))
        assert [lab.ledger_line(user, region).state for region in ("1158", "1429")] == ["failed", "done"]
        main(user.changed(retry_failed=True))
    assert lab.ledger_line(user).state == "done"


# ---------------------------------------------------------------------------- what the user has to fix


@pytest.mark.parametrize(("name", "edited", "meant"), [
    ("ar_numbers", 1158, ("1158",)), ("ar_numbers", 11158, ("1158",)), ("ar_numbers", "1158", ("1158",)),
    ("ar_numbers", ["1158", 11429], ("1158", "1429")), ("ar_numbers", "", ()), ("ar_numbers", (), ()),
    ("email", " me@inst.edu\t", "me@inst.edu"), ("email", "me@inst.observatory", "me@inst.observatory"),
    ("base_url", " http://127.0.0.1:8901/ ", "http://127.0.0.1:8901/"), ("base_url", "https://a", "https://a"),
    ("series", " hmi.M_45s ", "hmi.M_45s"), ("chromedriver", "", Path(""))])
def test_settings_as_users_edit_them(name, edited, meant, tmp_path):
    value = getattr(lab.settings(tmp_path, "http://a", **{name: edited}), name)
    assert (value, type(value)) == (meant, type(meant))


@pytest.mark.parametrize(("name", "edited", "message"), [
    ("email", "me at inst", "expected an address registered with JSOC, like me@inst.edu, got 'me at inst'"),
    ("email", "me@inst", "expected an address"), ("email", "me@inst.edu, you@inst.edu", "expected an address"),
    *[("base_url", address, "expected an address like http://jsoc.stanford.edu, got") for address in (
        "jsoc.stanford.edu", "ftp://a", "", "http://", "http://a:b", "http://a:70000", "http://a:0", "http://a b", 5,
        "http://a/\x07", "file:///etc/passwd")],
    ("ar_numbers", "one", "active region 'one' is not a NOAA number"), ("ar_numbers", "1158,1429", "is not a NOAA"),
    ("ar_numbers", -1158, "is not a NOAA"), ("ar_numbers", ["158"], "is not"), ("ar_numbers", 11.58, "expected a list"),
    *[("series", series, "expected a series of line-of-sight magnetograms .* hmi.M_720s, got") for series in (
        "", "hmi.M", "hmi.M_0s", "hmi.M_7s", "hmi.M_720s[]", "M_720s", "hmi.Ic_720s", "hmi.B_720s")],
    ("route", "web", "expected one of drms, browser, got 'web'"), ("patch_pixels", 0, "a number above 0, got 0"),
    ("max_attempts", -1, "expected a number above 0"), ("poll_seconds", -1, "expected a number above 0, got -1")])
def test_settings_that_cannot_be_meant(name, edited, message, tmp_path):
    with pytest.raises(UserError, match=f"^{name}: .*{message}") as caught:
        lab.settings(tmp_path, "http://a", **{name: edited})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "message"), [
    ({"email": ""}, "email: expected an address registered with JSOC, got ''; set --email"),
    ({"ar_list": Path("nowhere.txt")}, "ar_list: expected a file"),
    ({"ar_numbers": ("1159",)}, r"region 1159 is not in .* \(1 regions\)"),
    ({"patch_pixels": 10**7}, "not enough space")])
def test_settings_that_do_not_fit_the_files(changes, message, tmp_path):
    with lab.simulator() as jsoc:
        with pytest.raises(SystemExit, match=message):
            main(lab.settings(tmp_path, jsoc.url, **changes))
        assert jsoc.received == []


@pytest.mark.parametrize(("faults", "message"), [
    (None, "base_url: JSOC at http://127.0.0.1:9/ does not answer"),
    (Faults(address_status=4), "me@inst.edu is not registered for exports.*neither validated.*register it once"),
    (Faults(address_status=3), "confirm the mail"),
    (Faults(cgi_missing="checkAddress.sh"), "does not answer as expected .*HTTP status 404"),
    (Faults(html_answers=99), "does not answer as expected .*not JSON"),
    (Faults(http_errors=1, http_status=403), "HTTP status 403: the service, or a proxy on the way, refuses this"),
])
def test_preflight(faults, message, tmp_path):
    with lab.started(tmp_path, faults) as (jsoc, user):
        with pytest.raises(SystemExit, match=message):
            main(user if faults else user.changed(base_url=lab.NOWHERE))
        assert jsoc.submissions() == []
        assert all(arguments.get("checkonly", "1") == "1" for _, arguments in jsoc.received)  # registers nobody


def test_service_that_stays_down_ends_the_run_with_its_place_kept(tmp_path, monkeypatch):
    lab.be_quick(monkeypatch, outage_seconds=0.3)
    with lab.started(tmp_path, Faults(delay_seconds=60)) as (jsoc, user):
        lab.at_state(monkeypatch, "requested", jsoc.stop)
        with pytest.raises(SystemExit, match="has not answered for .* hours .*start again later"):
            main(user)
        jsoc.start()
    assert lab.ledger_line(user).state == "requested"


def test_bad_lines_and_a_region_that_fails_do_not_stop_the_next(tmp_path):
    with lab.started(tmp_path) as (_, user):
        # JSOC's table does not have 1111
        user.ar_list.write_text("1111,20110213,1\n1158,20110213,1\n1158,20110213\n11158,20110213,2\n")
        main(user)
    assert [lab.ledger_line(user, region).state for region in ("1111", "1158")] == ["failed", "done"]
    assert [row[:2] for row in lab.excluded(user) if row[0].startswith("ARList")] == [
        ["ARList.txt, line 3", "line of the list does not parse"],
        ["ARList.txt, line 4", "region is in the list already"]]


# ---------------------------------------------------------------------------- faults that pass

@pytest.mark.parametrize("faults", [
    {"http_error_every": 3}, {"http_errors": 2}, {"html_answers": 2}, {"lost_answers": 1, "delay_seconds": 0.3},
    {"foreign_pending": 2}, {"busy_host": 2}, {"not_found_polls": 5}, {"lost_requests": 1}, {"expired": 1},
    {"test_mode": True, "delay_seconds": 0.2}, {"no_tarfile": 2}, {"tar_not_found": 2}, {"tar_truncated": 2},
    {"tar_html": 1}, {"tar_cut_at_source": 1}, {"tar_moved": True}, {"cgi_missing": "manage-request.sh"}], ids=str)
def test_fault_that_passes(faults, tmp_path):
    with lab.started(tmp_path, Faults(**faults)) as (jsoc, user):
        main(user)
        accepted = len(jsoc.exports.exports)
    line = lab.ledger_line(user)
    assert (line.state, line.files_received, line.last_error) == ("done", lab.IMAGES_A_REGION, "")
    assert len(lab.images(user)) == lab.IMAGES_A_REGION
    # a request is made again only when JSOC has lost or deleted the first
    assert accepted == (2 if {"lost_requests", "expired"} & set(faults) else 1)


@pytest.mark.parametrize("fault", ["lost_answers", "hash_errors"])
def test_submission_is_repeated_to_the_letter(fault, tmp_path, monkeypatch):
    with lab.started(tmp_path, Faults(**{fault: 1})) as (jsoc, user):
        # the position is not there any more when the request is sent again
        lab.at_state(monkeypatch, "submitting", lambda: setattr(jsoc.faults, "region_unknown", True))
        main(user)
        first, second = jsoc.submissions()
        assert first == second
        assert len(jsoc.exports.exports) == 1
    assert lab.ledger_line(user).state == "done"


def test_request_of_another_program_is_not_waited_for_without_end(tmp_path, monkeypatch):
    lab.be_quick(monkeypatch, foreign_seconds=0.1)
    with lab.started(tmp_path, Faults(foreign_pending=4)) as (jsoc, user):
        with pytest.raises(SystemExit, match="0 of 1 region downloaded"):
            main(user)
        assert jsoc.submissions() == []
        assert jsoc.faults.foreign_pending == 2  # two looks, a tenth of a second apart
    assert "another request did not end within 0 minutes: request JSOC_20200101_999" in lab.ledger_line(user).last_error


def at_fourth_look(monkeypatch, owner: object, look: str, act) -> None:
    """Let something happen once the driver has looked four times and found the service down."""
    answers, looks = getattr(owner, look), []

    def watched_answers(*arguments) -> bool:
        answer = answers(*arguments)
        looks.extend([] if answer else [look])
        if not answer and len(looks) == 4:
            act()
        return answer

    monkeypatch.setattr(owner, look, watched_answers)


@pytest.mark.parametrize(("outage", "state", "message"), [
    ("restart", "requested", "next attempt in"), ("maintenance", "submitting", "not JSON"),
    ("maintenance", "requested", "not JSON")])
def test_outage_is_waited_for(outage, state, message, tmp_path, capsys, monkeypatch):
    with lab.started(tmp_path, max_attempts=2) as (jsoc, user):
        answer_in_html = partial(setattr, jsoc.faults, "html_answers")
        begin, end = (jsoc.stop, jsoc.start) if outage == "restart" else (
            partial(answer_in_html, 999), partial(answer_in_html, 0))
        lab.at_state(monkeypatch, state, begin)
        at_fourth_look(monkeypatch, JsocService, "is_up", end)
        main(user)
        assert len(jsoc.exports.exports) == 1
    assert lab.ledger_line(user).state == "done"
    assert capsys.readouterr().out.count(message) == 4  # more tries than max_attempts: nobody answered


def test_host_of_the_tar_that_is_down_is_waited_for(tmp_path, capsys, monkeypatch):
    with lab.started(tmp_path, max_attempts=2) as (jsoc, user), lab.closed_port() as port:
        jsoc.faults.tar_host_down = port
        at_fourth_look(monkeypatch, region_download, "host_is_up", partial(setattr, jsoc.faults, "tar_host_down", 0))
        main(user)
    assert lab.ledger_line(user).state == "done"
    assert capsys.readouterr().out.count("next attempt in") == 4


@pytest.mark.parametrize("stalled", ["tar_stalled", "cgi_stalled"])
def test_answer_that_stalls_is_asked_for_again(stalled, tmp_path, monkeypatch):
    lab.be_quick(monkeypatch, timeout_seconds=1)
    with lab.started(tmp_path, Faults(**{stalled: 1})) as (jsoc, user):
        main(user)
        assert getattr(jsoc.faults, stalled) == 0
    assert lab.ledger_line(user).state == "done"


@pytest.mark.parametrize(("changes", "message"), [
    ({"http_errors": 99, "http_status": 403}, "HTTP status 403: the service, or a proxy on the way, refuses this"),
    ({"refusal": "Cannot process your request. email address has been neither validated nor registered"},
     "JSOC takes no requests of this address")])
def test_fault_that_no_region_passes_stops_the_run(changes, message, tmp_path, monkeypatch):
    with lab.started(tmp_path, both=True) as (jsoc, user):
        lab.at_state(monkeypatch, "submitting", lambda: [setattr(jsoc.faults, *change) for change in changes.items()])
        with pytest.raises(SystemExit, match=message):
            main(user)
        assert len(jsoc.submissions()) <= 1
    assert (lab.ledger_line(user).state, lab.ledger_line(user, "1429").state) == ("submitting", "planned")


@pytest.mark.parametrize("answer", [r'{"status": 4, "error": "\ud800\u001b[31m"}',
                                    '{"status": 4, "error": "%s"}' % ("e,\\n" * 100_000), '{"status": null}'])
@pytest.mark.parametrize("cgi", ["rs_list", "exp_request", "exp_status", "manage-request"])
def test_answers_that_are_not_jsocs_leave_ledger_and_log_readable(cgi, answer, tmp_path, monkeypatch, capsys):
    get_text = JsocService.get_text
    monkeypatch.setattr(JsocService, "get_text", lambda self, url: answer if cgi in url else get_text(self, url))
    with lab.started(tmp_path, max_attempts=1) as (_, user):
        try:
            main(user)
        except SystemExit as end:
            assert "\n" not in str(end.code)
    line = lab.ledger_line(user)
    assert len(line.last_error) < 400
    assert not re.search(r"[\x00-\x1f\ud800-\udfff]", line.last_error + capsys.readouterr().out.replace("\n", ""))


# ---------------------------------------------------------------------------- faults that do not pass

LASTING = {
    "export fails": (Faults(export_fails=True), "failed", "Export program failed"),
    "no records": (Faults(missing_slots=99), "failed", "no images in hmi.M_720s"),
    "hash error for good": (Faults(hash_errors=99), "submitting", "Cant save new export-request hash"),
    "never known": (Faults(not_found_polls=999), "failed", "does not know request JSOC_.*3 requests ended so"),
    "never a tar": (Faults(no_tarfile=999), "failed", "has no tar"),
    "region unknown": (Faults(region_unknown=True), "failed", "no position of region 1158"),
    "tar always short": (Faults(tar_truncated=99), "requested", r"[\d,]+ of [\d,]+ bytes arrived"),
    "tar always cut": (Faults(tar_cut_at_source=99), "requested", "not a whole tar"),
    "name with ..": (Faults(first_image="../../a.fits"), "failed", r"'./../../a.fits': the name leads out of the"),
    "full disk": (Faults(full_disk=True), "failed", "wrong size, expected 24x24 pixels, got 64x64"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_fault_that_lasts(fault, tmp_path):
    faults, state, error = LASTING[fault]
    with lab.started(tmp_path, faults) as (jsoc, user):
        with pytest.raises(SystemExit, match="0 of 1 region downloaded"):
            main(user)
        # what may pass is tried in a second pass, for the first has brought it further
        assert len(jsoc.submissions()) <= user.max_attempts * (2 if state == "submitting" else 1)
    line = lab.ledger_line(user)
    assert line.state == state
    assert re.search(error, line.last_error), line.last_error
    assert not (user.image_dir / "1158").exists()
    assert not list(tmp_path.rglob("*.part"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ARList.txt", "images"]
    reason = "region given up" if state == "failed" else "region not received yet"
    assert lab.excluded(user) == [["1158", reason, line.last_error]]


def test_one_bad_image_does_not_cost_the_others(tmp_path):
    with lab.started(tmp_path, Faults(first_image="notes.fits")) as (_, user):
        main(user)
    assert lab.ledger_line(user).files_received == lab.IMAGES_A_REGION - 1
    reasons = [row[1] for row in lab.excluded(user)]
    # a file that is of no record says nothing of the record that is missing
    assert reasons.count("name is not one of the series") == reasons.count("not among the images received") == 1
    assert len(reasons) == 121 - lab.IMAGES_A_REGION + 2


def test_region_that_was_left_is_tried_again_after_the_others(tmp_path, capsys):
    with lab.started(tmp_path, Faults(tar_not_found=3), both=True) as (jsoc, user):
        main(user)
        assert len(jsoc.submissions()) == 2
        tars = [path for path, _ in jsoc.received if path.endswith(".tar")]
    assert [tar == tars[0] for tar in tars] == [True, True, True, False, True]
    assert "1 region left, to be tried again in" in capsys.readouterr().out
    assert {lab.ledger_line(user, region).state for region in ("1158", "1429")} == {"done"}


def test_run_that_leaves_a_region_says_so_and_a_later_start_gets_it(tmp_path):
    with lab.started(tmp_path, both=True) as (jsoc, user):
        main(user.changed(ar_numbers=("1158",)))
        jsoc.faults.tar_not_found = 6  # in a first pass, and in a second
        with pytest.raises(SystemExit, match="1 of 2 regions not received yet; .*start the same command again"):
            main(user)
        assert [row for row in lab.excluded(user) if row[0] == "1429"] == [
            ["1429", "region not received yet", lab.ledger_line(user, "1429").last_error]]
        main(user)
        assert len(jsoc.submissions()) == 2
    assert lab.ledger_line(user, "1429").state == "done"


def test_position_from_the_summaries_when_the_table_is_not_there(tmp_path):
    lab.write_summary(tmp_path / "SRS", "20110214SRS.txt", "2011 Feb 14 0030 UTC", "S20W03")
    with lab.started(tmp_path, Faults(table_unavailable=True), srs_dir=tmp_path / "SRS") as (jsoc, user):
        with pytest.raises(SystemExit):  # the simulated JSOC has no region at that place
            main(user)
        (sent,) = jsoc.submissions()
    assert "t_ref=2011.02.13_23:59:59Z,x=3,y=-20" in sent["process=n"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with lab.started(tmp_path_factory.mktemp("uninterrupted"), Faults(bad_records=1)) as (_, user):
        main(user)
    return lab.images(user), lab.excluded(user)


@pytest.mark.parametrize(("moment", "target"), lab.MOMENTS)
def test_kill_and_resume(moment, target, tmp_path, uninterrupted):
    with lab.started(tmp_path, Faults(delay_seconds=0.1, bad_records=1)) as (jsoc, user):
        assert lab.run_killed(user, moment, target) == -signal.SIGKILL
        main(user)
        # JSOC has made one export, whether or not the driver had learnt its number
        assert len(jsoc.exports.exports) == 1
        if (moment, target) not in lab.MOMENTS[:3]:
            assert len(jsoc.submissions()) == 1
    assert (lab.images(user), lab.excluded(user)) == uninterrupted
    assert not (user.image_dir / ".incoming").exists()


def test_interruption_keeps_the_request(tmp_path):
    with lab.started(tmp_path, Faults(delay_seconds=60)) as (jsoc, user):
        run = lab.start_script(user)
        lab.wait_for_look(jsoc)
        os.kill(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 130, errors
        assert "Traceback" not in errors
        jsoc.faults.delay_seconds = 0.0
        main(user)
        assert len(jsoc.submissions()) == 1
    assert lab.ledger_line(user).state == "done"
