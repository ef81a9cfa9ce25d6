"""Requests that JSOC does not know, leftovers of killed runs. The steps themselves: test_JSOC_Driver.py."""

from datetime import date

import pytest

from general_code.cutout_requests import CutoutRequest, Passage
from general_code.download_ledger import DownloadLedger
from general_code.jsoc_export import ExportStatus
from general_code.region_download import is_unknown, remove_leftovers

REQUEST = CutoutRequest(Passage("1158", date(2011, 2, 13), 1))


@pytest.mark.parametrize(("status", "unknown"), [
    (ExportStatus(6, "", ""), True), (ExportStatus(4, "", "invalid export DRMS record for ID `%s`JSOC_1"), True),
    (ExportStatus(4, "", "Export program failed"), False), (ExportStatus(2, "", ""), False)])
def test_unknown_requests(status, unknown):
    assert is_unknown(status) is unknown


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
