"""The ledger of a download."""

from dataclasses import replace
from datetime import date

import pytest

from general_code.jsoc.export_requests import CutoutRequest, Passage
from general_code.jsoc.ledger import DownloadLedger, LedgerLine
from general_code.stage.files import UserError

REQUESTS = [CutoutRequest(Passage(region, date(2011, 2, 13), 8)) for region in ("1158", "1429")]


@pytest.fixture
def ledger(tmp_path):
    ledger = DownloadLedger(tmp_path)
    ledger.plan(REQUESTS)
    return ledger


def test_every_change_is_on_disk(ledger):
    ledger.update("1158", state="requested", request_id="JSOC_20240107_012", process='x=1,"y"', files_expected=961,
                  last_error="a, b")
    again = DownloadLedger(ledger.image_dir)
    assert list(again) == list(ledger)
    assert again["1158"].files_expected == 961
    assert [line.region for line in again] == ["1158", "1429"]
    assert ledger.path.read_text().startswith("region,state,request_id,record_set,")


def test_plan_keeps_lines_of_the_same_request_only(ledger):
    ledger.update("1158", state="done")
    ledger.update("1429", state="requested", request_id="JSOC_20240107_012")
    longer = replace(REQUESTS[1], passage=REQUESTS[1].passage._replace(days=9))
    assert ledger.plan([REQUESTS[0], longer]) == [longer]
    assert (ledger["1158"].state, ledger["1429"].state, ledger["1429"].request_id) == ("done", "planned", "")
    assert ledger.plan([replace(REQUESTS[0], patch_pixels=300)]) == [replace(REQUESTS[0], patch_pixels=300)]
    ledger.update("1429", state="done")
    ledger.plan(REQUESTS[:1])
    assert ledger["1429"].state == "done"  # not in this plan


def test_owner_is_a_line_in_flight(ledger):
    ledger.update("1158", state="requested", request_id="JSOC_20240107_012")
    assert ledger.owner_of("JSOC_20240107_012").region == "1158"
    assert ledger.owner_of("JSOC_20240107_013") is None
    assert ledger.owner_of("") is None
    ledger.update("1158", state="done")
    assert ledger.owner_of("JSOC_20240107_012") is None


def test_state_that_does_not_exist(ledger):
    with pytest.raises(ValueError, match="should be 'planned', 'submitting'"):
        ledger.update("1158", state="lost")
    assert ledger["1158"] == LedgerLine(region="1158", record_set=REQUESTS[0].record_set, patch_pixels=600)


@pytest.mark.parametrize(("text", "message"), [
    ("", "not a ledger of downloads"), ("a,b\n1,2\n", "not a ledger of downloads"),
    ("{header}\n1158,lost,,,600,,0,0,,,0,\n", "line 2: not a line"),
    ("{header}\n1158,done,,,many,,0,0,,,0,\n", "line 2: not a line"),
    ("{header}\n1158,done,,,600,,0,0,,,0\n", "line 2: not a line"),
    ("{header}\n1158,done,,,600,,0,0,,,0,,\n", "line 2: not a line")])
def test_file_that_is_not_a_ledger(text, message, ledger):
    content = text.format(header=ledger.path.read_text().splitlines()[0])
    ledger.path.write_text(content)
    with pytest.raises(UserError, match=message):
        DownloadLedger(ledger.image_dir)
    assert ledger.path.read_text() == content


def test_ledger_saved_by_a_spreadsheet(ledger):
    ledger.path.write_bytes(b"\xef\xbb\xbf" + ledger.path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(DownloadLedger(ledger.image_dir)) == list(ledger)


def test_a_ledger_without_routes_goes_on(ledger):
    ledger.update("1158", state="requested", request_id="JSOC_20240107_012")
    rows = [line.split(",") for line in ledger.path.read_text().splitlines()]
    place = rows[0].index("route")
    ledger.path.write_text("".join(",".join(row[:place] + row[place + 1:]) + "\n" for row in rows))
    line = DownloadLedger(ledger.image_dir)["1158"]
    assert (line.request_id, line.route) == ("JSOC_20240107_012", "")


def test_leftovers_go_but_a_tar_that_waits_stays(ledger):
    (ledger.incoming / "1158").mkdir(parents=True)
    for name in ("1158_JSOC_20110213_001.tar", "1158_JSOC_20110213_002.tar", "1158_JSOC_20110213_001.tar.part"):
        (ledger.incoming / name).write_text("x")
    ledger.update("1158", state="downloaded", request_id="JSOC_20110213_001")
    ledger.remove_leftovers()
    assert [path.name for path in ledger.incoming.iterdir()] == ["1158_JSOC_20110213_001.tar"]
    ledger.update("1158", state="done")
    ledger.remove_leftovers()
    ledger.remove_leftovers()
    assert not ledger.incoming.exists()


def test_file_beside_the_regions_folder(ledger):
    rows = [("2011.02.13_00:36:00_TAI", "record without image at JSOC", "QUALITY 0x80000400"), ("a, b.fits", "x", "")]
    ledger.write_missing_records("1158", rows)
    assert sorted(path.name for path in ledger.image_dir.iterdir()) == ["1158_missing_records.csv", ledger.path.name]
    assert ledger.missing_records("1158") == rows
    assert ledger.missing_records("1159") == []
