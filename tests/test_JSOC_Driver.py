"""Stage 2 by the route "drms": the real drms package against the simulated JSOC."""

import dataclasses
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import jsoc_lab
import numpy as np
import pytest
from jsoc_lab import (
    IMAGES_A_REGION,
    at_state,
    be_quick,
    excluded,
    images,
    ledger_line,
    settings,
    simulator,
)

from general_code import JSOC_Driver
from general_code.image_inventory import find_images
from general_code.JSOC_Driver import main
from general_code.magnetograms import read_magnetogram
from general_code.simulated_faults import Faults

SCRIPT = Path(JSOC_Driver.__file__)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    be_quick(monkeypatch)


# ---------------------------------------------------------------------------- what a run leaves


def test_two_regions_are_brought_and_accounted_for(tmp_path, capsys):
    user = settings(tmp_path, "")
    user.ar_list.write_text("11158,20110213,1\n1429,20120303,1\n")
    with simulator(missing=[jsoc_lab.slot(4)], bad=[jsoc_lab.slot(8)]) as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        main(user)
    printed = capsys.readouterr().out
    assert "To do: 2 regions, up to 242 images: about" in printed and "of disk and" in printed
    assert "2 of 2 regions done, 12 images" in printed
    names = list(images(user))
    assert names[0] == "hmi.M_720s.20110213_000000_TAI.1.magnetogram.fits"
    assert len(names) == IMAGES_A_REGION - 2
    assert all(name.endswith(".fits") for name in names)
    missing = (user.image_dir / "1158_missing_records.csv").read_text().splitlines()
    assert missing[0] == "record,reason,detail"
    assert "2011.02.13_04:00:00_TAI,no record at JSOC," in missing
    assert len(find_images(user.image_dir)[0]) == 12
    assert find_images(user.image_dir)[1] == []  # stage 3 takes none of the driver's own files for a foreign one
    field = read_magnetogram(user.image_dir / "1158" / names[0])
    assert field.shape == (24, 24)
    assert np.isfinite(field).all()
    assert field.max() > 300
    line = ledger_line(user)
    assert (line.state, line.files_expected, line.files_received, line.attempts) == ("done", 5, 5, 1)
    assert re.fullmatch("[0-9a-f]{64}", line.tar_sha256)
    assert not (user.image_dir / ".incoming").exists()
    rows = excluded(user)
    assert ["1158 2011.02.13_08:00:00_TAI", "record without image at JSOC", "QUALITY 0x80000000"] in rows
    assert ["1158 2011.02.13_04:00:00_TAI", "no record at JSOC", ""] in rows
    assert len(rows) == 242 - 12
    counts = json.loads((user.image_dir / "download_ledger.csv.json").read_text())["counts"]
    assert counts["images"] == 12


def test_every_record_of_a_day_at_full_cadence(tmp_path):
    with simulator(cadence=timedelta(seconds=720)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
    assert ledger_line(user).files_received == 121  # 120 a day and the last midnight
    assert excluded(user) == []


def test_request_is_as_jsoc_expects_it(tmp_path):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
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
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
        left_out, asked = excluded(user), len(jsoc.received)
        main(user)
        assert len(jsoc.received) == asked  # not a single request
    assert "nothing to do" in capsys.readouterr().out
    assert excluded(user) == left_out


def test_region_whose_images_were_removed_is_brought_again(tmp_path, capsys):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
        before = images(user)
        (user.image_dir / "1158" / next(iter(before))).unlink()
        main(user)
    assert images(user) == before
    assert f"{IMAGES_A_REGION - 1} of {IMAGES_A_REGION} images are there" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["size", "dates"])
def test_images_of_two_requests_are_not_mixed(change, tmp_path, capsys):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
        before = images(user), ledger_line(user)
        if change == "dates":
            user.ar_list.write_text("1158,20110214,1\n")
        other = dataclasses.replace(user, patch_pixels=16 if change == "size" else user.patch_pixels)
        with pytest.raises(SystemExit, match=r"the images of 1 regions \(1158\) were made for other dates, series or "
                                             "size .*move those folders away"):
            main(other)
        assert (images(user), ledger_line(user)) == before
        (user.image_dir / "1158").rename(tmp_path / "old")
        main(other)
    assert "was made for other dates, series or size" in capsys.readouterr().out
    shape = (16, 16) if change == "size" else (24, 24)
    assert {read_magnetogram(user.image_dir / "1158" / name).shape for name in images(user)} == {shape}


def test_image_without_a_byte_is_brought_again(tmp_path):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
        main(user)
        before = images(user)
        (user.image_dir / "1158" / next(iter(before))).write_bytes(b"")  # as a machine without power may leave it
        main(user)
    assert images(user) == before


def test_series_that_the_next_stage_does_not_read_is_told(tmp_path, capsys):
    with simulator(Faults(series_unknown=True)) as jsoc, pytest.raises(SystemExit, match="none of the 1 regions"):
        main(settings(tmp_path, jsoc.url, series="hmi.M_45s"))
    assert "series hmi.M_45s: generate_dataset.py reads hmi.M_720s only" in capsys.readouterr().out


def test_regions_in_flight_come_first(tmp_path):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1158,20110213,1\n1429,20120303,1\n")
    with simulator() as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        with pytest.raises(SystemExit, match="given up"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("general_code.region_download.RegionDownload._use_tar", stop_run)
            main(dataclasses.replace(user, ar_numbers=("1429",)))
        first = len(jsoc.received)
        main(user)
        asked = [arguments["ds"] for _, arguments in jsoc.received[first:] if arguments.get("op") == "rs_list"]
    assert "2012.03.03" in asked[0]
    assert "2011.02.13" in asked[1]


def stop_run(*arguments: object) -> None:
    """End the run at this point."""
    raise jsoc_lab.JSOC_Driver.UserError("given up")


def test_waiting_tar_that_was_changed_is_downloaded_again(tmp_path):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
        with pytest.raises(SystemExit, match="given up"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("general_code.region_download.RegionDownload._use_tar", stop_run)
            main(user)
        assert ledger_line(user).state == "downloaded"
        (tar,) = (user.image_dir / ".incoming").glob("*.tar")
        other = bytearray(tar.read_bytes())
        other[len(other) // 2] ^= 0xFF  # still a whole tar
        tar.write_bytes(other)
        main(user)
        downloads = [path for path, _ in jsoc.received if path.endswith(".tar")]
    assert len(downloads) == 2
    assert ledger_line(user).files_received == IMAGES_A_REGION


def test_submission_is_not_repeated_by_another_route(tmp_path):
    with simulator(Faults(hash_errors=99)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        with pytest.raises(SystemExit):
            main(user)
        assert (ledger_line(user).state, ledger_line(user).route) == ("submitting", "drms")
        sent = len(jsoc.received)
        with pytest.raises(SystemExit, match="1158 was being submitted by route drms .* --route drms "
                                             "--ar-numbers 1158, then with --route browser"):
            main(dataclasses.replace(user, route="browser"))
        assert len(jsoc.received) == sent


def test_regions_by_number_and_what_is_left_out_of_the_others_stays_listed(tmp_path):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1158,20110213,1\n1429,20120303,1\n")
    with simulator() as jsoc:
        user = dataclasses.replace(user, base_url=jsoc.url)
        main(dataclasses.replace(user, ar_numbers=("11158",)))
        assert not (user.image_dir / "1429").exists()
        main(dataclasses.replace(user, ar_numbers=("1429",)))
    assert len(excluded(user)) == 242 - 2 * IMAGES_A_REGION


def test_dry_run_prints_the_requests_and_sends_none(tmp_path, capsys):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url, dry_run=True, email="")
        main(user)
        assert jsoc.submissions() == []
    printed = capsys.readouterr().out
    assert "x=-7,y=-30,width=24,height=24 (121 records)" in printed
    assert not user.image_dir.exists()


def test_dry_run_without_a_service(tmp_path, capsys):
    user = settings(tmp_path, "http://127.0.0.1:9", dry_run=True)
    with user.ar_list.open("a") as file:
        file.write("1158;20110213;8\n")
    main(user)
    printed = capsys.readouterr().out
    assert "im_patch,(no position) (121 records)" in printed
    assert re.search(r"Left out: ARList.txt, line \d+: line of the list does not parse: '1158;20110213;8' is", printed)


def test_script_runs_from_any_folder(tmp_path):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "--ar-list", "ARList.txt", "--image-dir", "images", "--email", "me@inst.edu",
             "--base-url", jsoc.url, "--patch-pixels", "24", "--poll-seconds", "0.02", "--ar-numbers", "1158"],
            cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 regions done, 7 images in images" in done.stdout
    assert ledger_line(user).state == "done"


# ---------------------------------------------------------------------------- what the user has to mend


@pytest.mark.parametrize(("changes", "message"), [
    ({"email": ""}, "email: expected an address registered with JSOC, got ''"),
    ({"email": "me at inst"}, "email: expected an address"),
    ({"base_url": "jsoc.stanford.edu"}, "base_url: expected an address like http"),
    ({"ar_list": Path("nowhere.txt")}, "ar_list: expected a file"),
    ({"ar_numbers": ("1159",)}, "region 1159 is not in .* (1 regions)"),
    ({"ar_numbers": ("one",)}, "ar_numbers: "),
    ({"series": "hmi.M"}, "series: expected line-of-sight magnetograms"),
    ({"series": "hmi.Ic_720s"}, "series: expected line-of-sight magnetograms"),
    ({"patch_pixels": 0}, "patch_pixels: expected a number from 1, got 0"),
    ({"max_attempts": 0}, "max_attempts: expected a number from 1"),
    ({"patch_pixels": 10**7}, "not enough space"),
])
def test_setting_that_cannot_be_meant(changes, message, tmp_path):
    with simulator() as jsoc:
        user = dataclasses.replace(settings(tmp_path, jsoc.url), **changes)
        with pytest.raises(SystemExit, match=message.replace("(", r"\(").replace(")", r"\)")):
            main(user)
        assert jsoc.received == []


@pytest.mark.parametrize(("faults", "message"), [
    (Faults(unregistered=True), "me@inst.edu is not registered for exports.*neither validated.*register it once"),
    (Faults(address_pending=True), "confirm the mail"),
    (Faults(cgi_missing="checkAddress.sh"), "does not answer as expected .*HTTP status 404"),
    (Faults(html_answers=99), "does not answer as expected .*not JSON"),
    (Faults(forbidden=1), "HTTP status 403: the service refuses this machine's address"),
])
def test_preflight(faults, message, tmp_path):
    with simulator(faults) as jsoc:
        user = settings(tmp_path, jsoc.url)
        with pytest.raises(SystemExit, match=message):
            main(user)
        assert jsoc.submissions() == []
        assert all(arguments.get("checkonly", "1") == "1" for _, arguments in jsoc.received)  # registers nobody


def test_host_that_does_not_answer(tmp_path):
    with pytest.raises(SystemExit, match="base_url: JSOC at http://127.0.0.1:9/ does not answer"):
        main(settings(tmp_path, "http://127.0.0.1:9"))


def test_service_that_stays_down_ends_the_run_with_its_place_kept(tmp_path, monkeypatch):
    be_quick(monkeypatch, outage_seconds=0.3)
    with simulator(Faults(delay_seconds=60)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        at_state(monkeypatch, "requested", jsoc.stop)
        with pytest.raises(SystemExit, match="has not answered for .* hours .*start again later"):
            main(user)
        jsoc.start()
    assert ledger_line(user).state == "requested"


def test_no_room_for_the_tar(tmp_path, monkeypatch):
    def no_room(folder, needed, purpose):
        if "tar" in purpose and needed > 0:
            raise jsoc_lab.JSOC_Driver.UserError(f"not enough space in {folder} for {purpose}")

    monkeypatch.setattr("general_code.tar_download.require_free_space", no_room)
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
        with pytest.raises(SystemExit, match="not enough space in .* for 1158_JSOC_.*tar and its images"):
            main(user)
    assert ledger_line(user).state == "requested"


def test_list_with_bad_lines(tmp_path, capsys):
    user = settings(tmp_path, "")
    user.ar_list.write_text("1158,20110213,1\n1158,20110213\n1429,20110230,1\n1430,20110213,99\n11158,20110213,2\n")
    with simulator() as jsoc:
        main(dataclasses.replace(user, base_url=jsoc.url))
    rows = [row for row in excluded(user) if row[0].startswith("ARList")]
    assert [row[:2] for row in rows] == [
        ["ARList.txt, line 2", "line of the list does not parse"],
        ["ARList.txt, line 3", "line of the list does not parse"],
        ["ARList.txt, line 4", "line of the list does not parse"],
        ["ARList.txt, line 5", "region is in the list already"]]
    assert "there is no day 20110230" in rows[1][2]


def test_ledger_that_is_not_one_is_not_touched(tmp_path):
    with simulator() as jsoc:
        user = settings(tmp_path, jsoc.url)
        user.image_dir.mkdir()
        path = user.image_dir / "download_ledger.csv"
        path.write_text("my,own,notes\n")
        with pytest.raises(SystemExit, match="not a ledger of downloads"):
            main(user)
        assert path.read_text() == "my,own,notes\n"
