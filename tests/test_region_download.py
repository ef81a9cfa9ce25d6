"""Our own request that is pending, patience with one request, leftovers. The steps: test_JSOC_Driver.py."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from jsoc_lab import PASSAGES, PIXELS, QUICK, simulator

from general_code.cutout_requests import CutoutRequest, Passage
from general_code.download_ledger import DownloadLedger
from general_code.export_positions import SummaryPositions
from general_code.jsoc_export import DrmsRoute, ExportStatus
from general_code.jsoc_faults import TransientError
from general_code.jsoc_service import JsocService
from general_code.region_download import RegionDownload, remove_leftovers
from general_code.simulated_faults import Faults

REQUEST = CutoutRequest(Passage("1158", date(2011, 2, 13), 1))


def test_pending_request_of_our_own_is_brought_first(tmp_path):
    requests = {region: CutoutRequest(Passage(region, *passage), patch_pixels=PIXELS)
                for region, passage in PASSAGES.items()}
    ledger = DownloadLedger(tmp_path / "download_ledger.csv")
    ledger.plan(requests.values())
    with simulator(Faults(delay_seconds=999)) as jsoc:
        service, said = JsocService(jsoc.url, "me@inst.edu", QUICK), []

        def say(text: str) -> None:
            said.append(text)
            if "first region 1429" in text:
                jsoc.faults.delay_seconds = 0.0

        route = DrmsRoute(service, SummaryPositions(Path("")), say, say)
        other = requests["1429"]
        number = route.submit(other, service.records(other), "", lambda options: None)
        ledger.update("1429", state="requested", request_id=number)
        assert RegionDownload(service, route, ledger, tmp_path, requests, say).bring(requests["1158"])
        assert len(jsoc.submissions()) == 2
    assert f"1158: first region 1429, whose request {number} is pending" in said
    assert [line.state for line in ledger] == ["done", "done"]


def test_looks_at_a_request_do_not_multiply(tmp_path):
    with simulator() as jsoc:
        service, looks = JsocService(jsoc.url, "me@inst.edu", QUICK), []
        route = DrmsRoute(service, SummaryPositions(Path("")), print, print)

        def look(number: str) -> ExportStatus:
            looks.append(number)
            raise TransientError("the page says 'no'")

        route.status = look
        request = CutoutRequest(Passage("1158", *PASSAGES["1158"]), patch_pixels=PIXELS)
        ledger = DownloadLedger(tmp_path / "download_ledger.csv")
        ledger.plan([request])
        assert not RegionDownload(service, route, ledger, tmp_path, {"1158": request}, print).bring(request)
    assert len(looks) == QUICK.max_attempts
    assert ledger["1158"].state == "requested"


def test_request_that_does_not_end_is_waited_for_once(tmp_path):
    with simulator(Faults(delay_seconds=999)) as jsoc:
        service = JsocService(jsoc.url, "me@inst.edu", replace(QUICK, request_seconds=0.05))
        route = DrmsRoute(service, SummaryPositions(Path("")), print, print)
        request, said = CutoutRequest(Passage("1158", *PASSAGES["1158"]), patch_pixels=PIXELS), []
        ledger = DownloadLedger(tmp_path / "download_ledger.csv")
        ledger.plan([request])
        assert not RegionDownload(service, route, ledger, tmp_path, {"1158": request}, said.append).bring(request)
    assert sum("is not complete after" in text for text in said) == 1


def test_leftovers_go_but_a_tar_that_waits_stays(tmp_path):
    ledger = DownloadLedger(tmp_path / "download_ledger.csv")
    ledger.plan([REQUEST])
    incoming = tmp_path / ".incoming"
    (incoming / "1158").mkdir(parents=True)
    for name in ("1158_JSOC_20110213_001.tar", "1158_JSOC_20110213_002.tar", "1158_JSOC_20110213_001.tar.part"):
        (incoming / name).write_text("x")
    ledger.update("1158", state="downloaded", request_id="JSOC_20110213_001")
    remove_leftovers(tmp_path, ledger)
    assert [path.name for path in incoming.iterdir()] == ["1158_JSOC_20110213_001.tar"]
    ledger.update("1158", state="done")
    remove_leftovers(tmp_path, ledger)
    remove_leftovers(tmp_path, ledger)
    assert not incoming.exists()
