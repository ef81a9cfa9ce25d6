"""Settings, record sets, arguments, list of regions, positions, size and time of a download."""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest

from general_code.jsoc import export_requests
from general_code.jsoc.export_requests import CutoutRequest, Passage, Position
from general_code.stage.files import UserError
from tests.jsoc_lab import write_summary

REQUEST = CutoutRequest(Passage("1944", date(2014, 1, 7), 15))


def test_record_set_of_fifteen_days():
    assert REQUEST.record_set == "hmi.M_720s[2014.01.07_00:00:00_TAI-2014.01.22_00:00:00_TAI][? QUALITY >= 0 ?]"
    slots = REQUEST.slots
    assert len(slots) == REQUEST.slot_count == 1801
    assert (slots[0], slots[-1]) == (datetime(2014, 1, 7), datetime(2014, 1, 22))


@pytest.mark.parametrize(("text", "time"), [
    ("2014.01.07_00:00:00_TAI", datetime(2014, 1, 7)), ("2011.12.17_06:12:00.000_TAI", datetime(2011, 12, 17, 6, 12)),
    ("MISSING", None), ("2014.13.07_00:00:00_TAI", None), ("2014.01.07_00:00:00_UTC", None)])
def test_record_times(text, time):
    if time is None:
        with pytest.raises(ValueError, match="is not like|does not match"):
            export_requests.parse_record_time(text)
    else:
        assert export_requests.parse_record_time(text) == time
        assert export_requests.parse_record_time(export_requests.record_time(time)) == time


@pytest.mark.parametrize(("series", "cadence"), [("hmi.M_720s", 720), ("hmi.M_45s", 45), ("hmi.M_720s_nrt", 720)])
def test_cadence_in_the_name(series, cadence):
    assert replace(REQUEST, series=series).cadence_seconds == cadence


@pytest.mark.parametrize(("line", "detail"), [
    ("1158 20110213 8", "is not like 1158,20110213,8"), ("158,20110213,8", "is not like"),
    ("1158,20110213,0", "expected 1 to 31 days, got 0"), ("1158,20110213,32", "got 32"),
    ("1158,20110231,8", "there is no day 20110231"), ("1158,20110213,8,9", "is not like"), ("x", "is not like")])
def test_malformed_lines_are_listed_and_the_rest_is_used(line, detail, tmp_path):
    path = tmp_path / "ARList.txt"
    path.write_text(f"11064,20100501,3\n\n{line}\n1065 , 20100503, 2\n")
    passages, problems = export_requests.read_passages(path)
    assert passages == [Passage("1064", date(2010, 5, 1), 3), Passage("1065", date(2010, 5, 3), 2)]
    ((where, reason, text, _),) = problems
    assert (where, reason) == ("ARList.txt, line 3", "line of the list does not parse")
    assert detail in text


@pytest.mark.parametrize("content", [
    b"\xef\xbb\xbf1064,20100501,3\r\n1065,20100503,2\r\n", b"region,first,days\n11064,20100501,3\n11065,20100503,2\n",
    b"1064;20100501;3\r1065;20100503;2", b'"1064","20100501","3"\n\n"1065","20100503","2"\n\n',
    b"NOAA number; first day; days (\xfc)\r\n\r\n 1064 ; 20100501 ; 3 ;\r\n1065;20100503;2;;\r\n"])
def test_lists_from_other_hands(content, tmp_path):
    path = tmp_path / "ARList.txt"
    path.write_bytes(content)
    passages, problems = export_requests.read_passages(path)
    assert passages == [Passage("1064", date(2010, 5, 1), 3), Passage("1065", date(2010, 5, 3), 2)]
    assert not problems


def test_list_without_a_usable_line(tmp_path):
    path = tmp_path / "ARList.txt"
    path.write_text("nothing\n")
    with pytest.raises(UserError, match="no line is like 1158,20110213,8"):
        export_requests.read_passages(path)


def test_published_list_is_weeks_and_570_gigabytes(shared_data):
    passages, problems = export_requests.read_passages(shared_data / "published" / "ARList.txt")
    assert problems == []
    requests = [CutoutRequest(passage) for passage in passages]
    assert sum(request.slot_count for request in requests) == 1_411_305
    disk_bytes, effort = export_requests.estimate_effort(requests)
    assert disk_bytes == pytest.approx(575e9, rel=0.01)
    assert effort.startswith("1,665 regions, up to 1,411,305 images: about 574.8")
    assert "15 days" in effort


def test_effort_of_little():
    small = CutoutRequest(Passage("1944", date(2014, 1, 7), 1), patch_pixels=24)
    effort = export_requests.estimate_effort([small])[1]
    assert effort.startswith("1 region, up to 121 images: about 0.00 GB of disk and 0.3 min")
    # 3,602 images of 0.407 MB at 0.5 MB/s, and 8 minutes of export: the waiting tar takes disk, but no time
    assert "56.8 min (" in export_requests.estimate_effort([REQUEST] * 2)[1]
    assert "1.4 h (" in export_requests.estimate_effort([REQUEST] * 3)[1]
    assert export_requests.estimate_effort([])[0] == 0


@pytest.mark.parametrize(("region", "number"), [("1158", 11158), ("6999", 16999), ("7000", 7000), ("0012", 10012)])
def test_number_as_the_page_makes_it(region, number):
    assert export_requests.table_number(region) == number


def rows(*longitudes: str) -> list[Position]:
    """Return rows with these longitudes."""
    return [Position(f"t{row}", longitude, "-15") for row, longitude in enumerate(longitudes)]


@pytest.mark.parametrize(("longitudes", "chosen"), [
    (("-40", "-27", "-1", "12"), "t2"), (("-7", "7"), "t0"), (("999", "-80"), "t1"), (("999", "-999"), None),
    (("MISSING", "Invalid KeyLink", "nan", "3.5"), "t3"), (("-1.0e+1", "20"), "t1"), ((), None)])
def test_row_nearest_to_the_meridian(longitudes, chosen):
    position = export_requests.nearest_to_meridian(rows(*longitudes))
    assert (position and position.t_ref) == chosen


def test_summaries_are_found_and_chosen_as_in_stage_1(tmp_path):
    write_summary(tmp_path / "2011", "20110214SRS.txt", "2011 Feb 14 0030 UTC", "S20W03")
    write_summary(tmp_path / "corrected", "20110214srs.txt", "2011 Feb 14 0530 UTC", "S20W04")
    write_summary(tmp_path, "20110216SRS.txt", "2011 Feb 16 0030 UTC", "S20W30")
    positions = export_requests.SummaryPositions(tmp_path)
    passage = Passage("1158", date(2011, 2, 13), 8)
    assert positions.position(passage) == Position("2011.02.13_23:59:59Z", "4", "-20")  # issued last
    assert positions.position(passage._replace(first_day=date(2011, 2, 15))).x == "30"
    assert positions.position(passage._replace(first_day=date(2011, 2, 5))) is None


@pytest.mark.parametrize("folder", [Path(""), Path("does/not/exist")])
def test_no_summaries(folder):
    assert export_requests.SummaryPositions(folder).position(Passage("1158", date(2011, 2, 13), 8)) is None


def test_unreadable_summary_is_skipped(tmp_path):
    (tmp_path / "20110213SRS.txt").write_bytes(b"\x00\x01")
    (tmp_path / "notesSRS.txt").write_text("x")
    assert export_requests.SummaryPositions(tmp_path).table == {}
