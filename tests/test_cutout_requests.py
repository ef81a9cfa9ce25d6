"""Record sets, arguments, list of regions, size and time of a download."""

from datetime import date, datetime
from pathlib import Path

import pytest

from general_code.cutout_requests import (
    CutoutRequest,
    Passage,
    Position,
    cadence_of,
    describe_effort,
    disk_bytes,
    parse_record_time,
    read_passages,
    record_time,
    select_passages,
)
from general_code.stage_files import UserError

REQUEST = CutoutRequest(Passage("1944", date(2014, 1, 7), 15))


def test_record_set_of_fifteen_days():
    assert REQUEST.record_set == "hmi.M_720s[2014.01.07_00:00:00_TAI-2014.01.22_00:00:00_TAI][? QUALITY >= 0 ?]"
    slots = REQUEST.slots
    assert len(slots) == REQUEST.slot_count == 1801
    assert (slots[0], slots[-1]) == (datetime(2014, 1, 7), datetime(2014, 1, 22))
    assert REQUEST.file_name_format == "hmi.M_720s.{T_REC:A}.{CAMERA}.{segment}"


def test_process_has_the_order_of_the_page():
    process = REQUEST.process(Position("2014.01.07_23:59:59Z", "-1", "-15"), REQUEST.start, REQUEST.stop)
    assert ",".join(f"{key}={value}" for key, value in process.items()) == (
        "t_start=2014.01.07_00:00:00_TAI,t_stop=2014.01.22_00:00:00_TAI,t=0,r=0,c=0,cadence=720s,locunits=stony,"
        "boxunits=pixels,t_ref=2014.01.07_23:59:59Z,x=-1,y=-15,width=600,height=600")


@pytest.mark.parametrize(("text", "time"), [
    ("2014.01.07_00:00:00_TAI", datetime(2014, 1, 7)), ("2011.12.17_06:12:00.000_TAI", datetime(2011, 12, 17, 6, 12)),
    ("MISSING", None), ("2014.13.07_00:00:00_TAI", None), ("2014.01.07_00:00:00_UTC", None)])
def test_record_times(text, time):
    if time is None:
        with pytest.raises(ValueError, match="is not like|does not match"):
            parse_record_time(text)
    else:
        assert parse_record_time(text) == time
        assert parse_record_time(record_time(time)) == time


@pytest.mark.parametrize(("series", "cadence"), [("hmi.M_720s", 720), ("hmi.M_45s", 45), ("hmi.M_720s_nrt", 720)])
def test_cadence_in_the_name(series, cadence):
    assert cadence_of(series) == cadence


@pytest.mark.parametrize("series", ["", "hmi.M", "hmi.M_0s", "hmi.M_7s", "hmi.M_720s[]", "M_720s", "hmi.Ic_720s",
                                    "hmi.B_720s"])
def test_series_without_a_cadence_or_without_magnetograms(series):
    with pytest.raises(UserError, match="expected line-of-sight magnetograms, with their cadence .* hmi.M_720s, got"):
        cadence_of(series)


@pytest.mark.parametrize(("line", "detail"), [
    ("1158;20110213;8", "is not like 1158,20110213,8"), ("158,20110213,8", "is not like"),
    ("1158,20110213,0", "expected 1 to 31 days, got 0"), ("1158,20110213,32", "got 32"),
    ("1158,20110231,8", "there is no day 20110231"), ("1158,20110213,8,9", "is not like"), ("x", "is not like")])
def test_malformed_lines_are_told_and_the_rest_is_used(line, detail, tmp_path):
    path = tmp_path / "ARList.txt"
    path.write_text(f"11064,20100501,3\n\n{line}\n1065 , 20100503, 2\n")
    passages, problems = read_passages(path)
    assert passages == [Passage("1064", date(2010, 5, 1), 3), Passage("1065", date(2010, 5, 3), 2)]
    ((where, reason, text),) = problems
    assert (where, reason) == ("ARList.txt, line 3", "line of the list does not parse")
    assert detail in text


def test_list_saved_by_a_spreadsheet(tmp_path):
    path = tmp_path / "ARList.txt"
    path.write_bytes(b"\xef\xbb\xbf1064,20100501,3\r\n1065,20100503,2\r\n")
    passages, problems = read_passages(path)
    assert [passage.region for passage in passages] == ["1064", "1065"]
    assert not problems


def test_list_without_a_usable_line(tmp_path):
    path = tmp_path / "ARList.txt"
    path.write_text("nothing\n")
    with pytest.raises(UserError, match="no line is like 1158,20110213,8"):
        read_passages(path)


def test_regions_are_taken_in_the_order_of_the_list():
    passages = [Passage(region, date(2014, 1, 7), 1) for region in ("1944", "1158", "2673")]
    assert [each.region for each in select_passages(passages, ("12673", "1944"), Path("l"))] == ["1944", "2673"]
    assert select_passages(passages, (), Path("l")) == passages
    with pytest.raises(UserError, match="region 1000, 1001 is not in l"):
        select_passages(passages, ("1001", "1000", "1944"), Path("l"))


def test_published_list_is_weeks_and_570_gigabytes(shared_data):
    passages, problems = read_passages(shared_data / "published" / "ARList.txt")
    assert problems == []
    requests = [CutoutRequest(passage) for passage in passages]
    assert sum(request.slot_count for request in requests) == 1_411_305
    assert disk_bytes(requests) == pytest.approx(575e9, rel=0.01)
    assert describe_effort(requests).startswith("1,665 regions, up to 1,411,305 images: about 574.8")
    assert "15 days" in describe_effort(requests)


def test_effort_of_little():
    small = CutoutRequest(Passage("1944", date(2014, 1, 7), 1), patch_pixels=24)
    assert describe_effort([small]).startswith("1 region, up to 121 images: about 0.00 GB of disk and 0.3 min")
    # 3,602 images of 0.407 MB at 0.5 MB/s, and 8 minutes of export: the waiting tar takes disk, but no time
    assert "56.8 min (" in describe_effort([REQUEST] * 2)
    assert "1.4 h (" in describe_effort([REQUEST] * 3)
    assert disk_bytes([]) == 0
