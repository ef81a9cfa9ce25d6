"""One region's download: its own pending request, limits, leftovers, the tar, missing records."""

import hashlib
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest

from general_code.jsoc import download
from general_code.jsoc.client import DrmsRoute, JsocService, SeriesRecord
from general_code.jsoc.cutouts import Unpacked, most_tar_bytes
from general_code.jsoc.export_requests import CutoutRequest, Passage, SummaryPositions
from general_code.jsoc.ledger import DownloadLedger
from general_code.jsoc.retry import RefusedError, TransientError
from general_code.simulator.series import Faults
from tests.jsoc_lab import PASSAGES, PIXELS, QUICK, closed_port, simulator

REQUEST = CutoutRequest(Passage("1158", date(2011, 2, 13), 1))
REQUESTS = {region: CutoutRequest(Passage(region, *passage), patch_pixels=PIXELS)
            for region, passage in PASSAGES.items()}


def prepare(folder: Path, url: str, report=print, **policy) -> download.RegionDownload:
    """Return the download of region 1158, planned with 1429, from a simulated JSOC."""
    service, ledger = JsocService(url, "me@inst.edu", replace(QUICK, **policy)), DownloadLedger(folder)
    ledger.plan(REQUESTS.values())
    route = DrmsRoute(service, SummaryPositions(Path("")), report)
    return download.RegionDownload("1158", REQUESTS, service, route, ledger=ledger, report=report)


def test_pending_request_of_our_own_is_finished_first(tmp_path):
    with simulator(Faults(delay_seconds=999)) as jsoc:
        said, other = [], REQUESTS["1429"]

        def report(text: str) -> None:
            said.append(text)
            if "first region 1429" in text:
                jsoc.faults.delay_seconds = 0.0

        region = prepare(tmp_path, jsoc.url, report)
        number = region.route.submit(other, region.service.records(other), "", lambda options: None)
        region.ledger.update("1429", state="requested", request_id=number)
        assert region.download()
        assert len(jsoc.submissions()) == 2
    assert f"1158: first region 1429, whose request {number} is pending" in said
    assert [line.state for line in region.ledger] == ["done", "done"]


def test_looks_at_a_request_do_not_multiply(tmp_path):
    with simulator() as jsoc:
        region = prepare(tmp_path, jsoc.url)
        region.route.status = Mock(side_effect=TransientError("the page says 'no'"))
        assert not region.download()
    assert region.route.status.call_count == QUICK.max_attempts
    assert region.ledger["1158"].state == "requested"


def test_request_that_does_not_end_is_waited_for_once(tmp_path):
    with simulator(Faults(delay_seconds=999)) as jsoc:
        said = []
        assert not prepare(tmp_path, jsoc.url, said.append, request_seconds=0.05).download()
    assert sum("is not complete after" in text for text in said) == 1


@pytest.fixture
def tar_url():
    """A complete export's address at a simulated JSOC, and the simulator."""
    with simulator() as jsoc:
        ds = f"{REQUEST.time_range}[? QUALITY >= 0 ?]"
        process = "n=0|im_patch,t_start=2011.02.13_00:00:00_TAI,t_stop=2011.02.14_00:00:00_TAI,t_ref=" \
                  "2011.02.13_23:59:59Z,x=-7,y=-30,width=24,height=24"
        number = jsoc.exports.submit({"ds": ds, "notify": "me@inst.edu", "process": process, "method": "url-tar",
                                      "filenamefmt": "hmi.M_720s.{T_REC:A}.{CAMERA}.{segment}"})["requestid"]
        yield jsoc, jsoc.url + jsoc.exports.status(number)["tarfile"]


def test_download_asks_for_room_and_gives_the_digest(tar_url, tmp_path, monkeypatch):
    path, asked = tmp_path / "a.tar", []
    monkeypatch.setattr(download, "require_free_space", lambda *arguments: asked.append(arguments))
    digest = download.download_tar(tar_url[1], path, most_tar_bytes(REQUEST), 20)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == download.sha256_of(path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    assert download.sha256_of(tmp_path / "b.tar") == ""
    assert asked == [(tmp_path, 2 * path.stat().st_size, "a.tar and its images")]


def test_host_of_a_tar(tar_url):
    jsoc, url = tar_url
    assert download.host_is_up(url, 20)
    jsoc.faults.tar_not_found = 1
    assert download.host_is_up(url, 20)
    with closed_port() as port:
        jsoc.faults.tar_host_down = port  # the address leads on to a host that is down
        assert not download.host_is_up(url, 20)


@pytest.mark.parametrize(("length", "message"), [
    ("announced", "the tar has .* bytes, the request can have at most 1,000"), ("", "more than the 1,000 bytes")])
def test_download_larger_than_the_request_can_be(length, message, tar_url, tmp_path, monkeypatch):
    if not length:
        monkeypatch.setattr("general_code.jsoc.download._announced_bytes", lambda answer, most: None)
    with pytest.raises(RefusedError, match=message):
        download.download_tar(tar_url[1], tmp_path / "a.tar", 1000, 20)
    assert not list(tmp_path.iterdir())


def test_every_slot_and_record_is_accounted_for():
    off_the_grid = datetime(2011, 2, 13, 0, 1)
    records = [SeriesRecord(time, 0) for time in [*REQUEST.slots, off_the_grid] if time.hour != 5]
    records[3] = records[3]._replace(quality=-(2**31) + 0x400)
    records[4] = records[4]._replace(quality=None)
    images = {record.time: Path("x") for record in records[:-1] if record.time.hour != 7 and record.quality == 0}
    unpacked = Unpacked(images, [("b.fits", "wrong size", ""), ("a.fits", "x", "y")])
    missing = download.missing_records(REQUEST, records, unpacked)
    assert len(missing) == 122 - len(images) + 2
    assert missing[:3] == [("2011.02.13_00:01:00_TAI", "not among the images received", ""),
                           ("2011.02.13_00:36:00_TAI", "record without image at JSOC", "QUALITY 0x80000400"),
                           ("2011.02.13_00:48:00_TAI", "not among the images received", "")]
    assert [row[1] for row in missing[3:8]] == ["no record at JSOC"] * 5
    assert [row[0] for row in missing[-2:]] == ["a.fits", "b.fits"]


def test_one_row_a_record_with_a_rejected_image():
    records = [SeriesRecord(time, 0) for time in REQUEST.slots]
    images = {time: Path("x") for time in REQUEST.slots[2:]}
    name = "hmi.M_720s.20110213_{}_TAI.{}.magnetogram.fits"
    rejected = [(name.format("001200", 1), "wrong size", "expected 2x2, got 3x3"), ("notes.fits", "name", "…"),
                (name.format("002400", 3), "second image of one time", "…"),
                (name.format("001200", 3), "QUALITY below 0", "…")]
    assert download.missing_records(REQUEST, records, Unpacked(images, rejected)) == [
        ("2011.02.13_00:00:00_TAI", "not among the images received", ""),
        ("2011.02.13_00:12:00_TAI", "wrong size", f"{name.format('001200', 1)}: expected 2x2, got 3x3"),
        rejected[3], rejected[2], rejected[1]]
