"""Every record of a request is accounted for: an image, or a line that says why there is none."""

from datetime import date, datetime
from pathlib import Path

from general_code.cutout_archive import Unpacked
from general_code.cutout_requests import CutoutRequest, Passage
from general_code.jsoc_service import SeriesRecord
from general_code.missing_records import missing_records, read_missing_records, write_missing_records

REQUEST = CutoutRequest(Passage("1158", date(2011, 2, 13), 1))


def test_every_slot_is_accounted_for():
    records = [SeriesRecord(time, 0) for time in REQUEST.slots if time.hour != 5]
    records[3] = records[3]._replace(quality=-(2**31) + 0x400)
    records[4] = records[4]._replace(quality=None)
    images = {record.time: Path("x") for record in records if record.time.hour != 7 and record.quality == 0}
    missing = missing_records(REQUEST, records, Unpacked(images, [("b.fits", "wrong size", ""), ("a.fits", "x", "y")]))
    assert len(missing) == 121 - len(images) + 2
    assert missing[0] == ("2011.02.13_00:36:00_TAI", "record without image at JSOC", "QUALITY 0x80000400")
    assert missing[1] == ("2011.02.13_00:48:00_TAI", "not among the images received", "")
    assert [row[1] for row in missing[2:7]] == ["no record at JSOC"] * 5
    assert [row[0] for row in missing[-2:]] == ["a.fits", "b.fits"]


def test_one_row_a_record_with_a_rejected_image():
    records = [SeriesRecord(time, 0) for time in REQUEST.slots]
    images = {time: Path("x") for time in REQUEST.slots[2:]}
    name = "hmi.M_720s.20110213_{}_TAI.{}.magnetogram.fits"
    rejected = [(name.format("001200", 1), "wrong size", "expected 2x2, got 3x3"), ("notes.fits", "name", "…"),
                (name.format("002400", 3), "second image of one time", "…"),
                (name.format("001200", 3), "QUALITY below 0", "…")]
    assert missing_records(REQUEST, records, Unpacked(images, rejected)) == [
        ("2011.02.13_00:00:00_TAI", "not among the images received", ""),
        ("2011.02.13_00:12:00_TAI", "wrong size", f"{name.format('001200', 1)}: expected 2x2, got 3x3"),
        rejected[3], rejected[2], rejected[1]]


def test_record_off_the_grid_is_accounted_for_too():
    odd = SeriesRecord(datetime(2011, 2, 13, 0, 1), 0)
    records = [SeriesRecord(time, 0) for time in REQUEST.slots] + [odd]
    images = {time: Path("x") for time in REQUEST.slots}
    assert missing_records(REQUEST, records, Unpacked(images)) == [
        ("2011.02.13_00:01:00_TAI", "not among the images received", "")]


def test_file_beside_the_regions_folder(tmp_path):
    rows = [("2011.02.13_00:36:00_TAI", "record without image at JSOC", "QUALITY 0x80000400"), ("a, b.fits", "x", "")]
    write_missing_records(tmp_path, "1158", rows)
    assert [path.name for path in tmp_path.iterdir()] == ["1158_missing_records.csv"]
    assert read_missing_records(tmp_path, "1158") == rows
    assert read_missing_records(tmp_path, "1159") == []
