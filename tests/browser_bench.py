"""One browser for many tests of the route "browser"."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import jsoc_lab
import pytest
from jsoc_lab import PIXELS, QUICK

from general_code.cutout_requests import CutoutRequest, Passage
from general_code.download_ledger import DownloadLedger
from general_code.export_positions import SummaryPositions
from general_code.jsoc_page import BrowserRoute
from general_code.jsoc_service import JsocService
from general_code.region_download import RegionDownload

needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="chromium and chromedriver are not installed (make browser)")

REQUEST = CutoutRequest(Passage("1158", *jsoc_lab.PASSAGES["1158"]), patch_pixels=PIXELS)


class Bench:
    """One browser for many tests; each has its own simulated JSOC and folder."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        service = JsocService("http://127.0.0.1:9", "me@inst.edu", QUICK)
        self.route = BrowserRoute(service, SummaryPositions(Path("")), self.said.append, folder)

    def prepare(self, folder: Path, url: str, **patience) -> "Bench":
        """Turn to another host."""
        self.said.clear()
        self.route.service = JsocService(url, "me@inst.edu", dataclasses.replace(QUICK, not_found_polls=2, **patience))
        self.route.page.timeout_seconds = self.route.service.patience.timeout_seconds
        self.route.page.evidence, self.folder = folder, folder
        self.route.summaries, self.route._status_number = SummaryPositions(Path("")), ""
        self.ledger = DownloadLedger(folder / "download_ledger.csv")
        self.ledger.plan([REQUEST])
        return self

    def bring(self, say: Callable[[str], None] | None = None) -> bool:
        """Bring region 1158."""
        download = RegionDownload(self.route.service, self.route, self.ledger, self.folder, {"1158": REQUEST},
                                  say or self.said.append)
        return download.bring(REQUEST)

    def submit(self) -> str:
        """Submit on the page only; what was about to be sent is in `options`."""
        self.options = ""

        def submitting(options: str) -> None:
            self.options = options

        return self.route.submit(REQUEST, self.route.service.records(REQUEST), "", submitting)
