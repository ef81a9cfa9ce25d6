"""Names, dates and lines of NOAA's texts."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from general_code.noaa_text import (
    Problem,
    date_stamp,
    header_problems,
    is_region,
    read_lines,
    region_codes,
    region_number,
    report_date,
)


@pytest.mark.parametrize(("given", "expected"), [
    ("1158", "1158"), ("11158", "1158"), (1158, "1158"), (11158, "1158"), (" 2673 ", "2673"), ("0005", "0005"),
    (5, "0005"), ("10005", "0005"), (np.int64(12673), "2673"),
])
def test_region_number_is_four_digits(given, expected):
    assert region_number(given) == expected


@pytest.mark.parametrize("given", ["", "115", "111158", "AR1158", "-158", -5, "11.5", "１１５８", None])
def test_region_number_refuses_anything_else(given):
    with pytest.raises(ValueError, match="not a NOAA number"):
        region_number(given)


def test_region_codes_agree_with_region_number():
    texts = ["1158", "11158", "0005", "", "abc", "158"]
    assert region_codes(texts).tolist() == [1158, 1158, 5, -1, -1, -1]
    assert region_codes([]).shape == (0,)


@pytest.mark.parametrize(("name", "expected"), [
    ("20120101SRS.txt", date(2012, 1, 1)), ("20120229events.txt", date(2012, 2, 29)),
    ("19960106srs.TXT", date(1996, 1, 6)),
])
def test_report_date(name, expected):
    assert report_date(name) == expected


@pytest.mark.parametrize(("name", "message"), [
    ("20110229SRS.txt", "there is no date 20110229"), ("20111301events.txt", "no date 20111301"),
    ("0101SRS.txt", "not like YYYYMMDDSRS.txt"), ("20110101SRS.txt.gz", "not like"), ("README", "not like"),
])
def test_report_date_names_the_fault(name, message):
    with pytest.raises(ValueError, match=message):
        report_date(name)


@pytest.mark.parametrize(("content", "lines"), [
    (b"a\nb\n", ["a", "b"]), (b"a\r\nb", ["a", "b"]), (b"a\rb\r", ["a", "b"]), (b"\xef\xbb\xbfa\n", ["a"]),
    (b"a\n\n", ["a", ""]), (b"caf\xe9\n", ["caf\xe9"]), (b"a\n\x1a", ["a", "\x1a"]),
])
def test_read_lines_whatever_the_line_ends(tmp_path: Path, content, lines):
    path = tmp_path / "text"
    path.write_bytes(content)
    assert read_lines(path) == lines


@pytest.mark.parametrize(("content", "message"), [
    (b"", "empty"), (b" \n\n", "empty"), (b"\x1f\x8b\x08\x00\x01", "not a text file"),
    ("text".encode("utf-16"), "not a text file"),
])
def test_read_lines_refuses(tmp_path: Path, content, message):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_lines(path)


HEADERS = [
    (":Issued: 2010 Jun 21 0045 UTC", date(2010, 6, 21), "20100621 0045"),
    (":Date: 2014 07 31", date(2014, 7, 31), ""),
    ("EDITED EVENTS for 1997 Jan 21", date(1997, 1, 21), ""),
    ("#                            Edited Events for 2014 Jul 31", date(2014, 7, 31), ""),
]


@pytest.mark.parametrize(("line", "day", "stamp"), HEADERS)
def test_header_dates_that_agree_with_the_name(line, day, stamp):
    assert header_problems(["", line], day, "x") == []
    assert date_stamp(["", line]) == stamp


@pytest.mark.parametrize(("line", "day", "stamp"), HEADERS)
def test_header_that_names_another_day_is_reported_with_its_line(line, day, stamp):
    problems = header_problems(["", line], date(2001, 1, 1), "20010101SRS.txt")
    assert len(problems) == 1
    assert problems[0].reason == "header names another day"
    assert "20010101SRS.txt, line 2" in problems[0].detail


def test_created_line_may_be_of_a_later_day():
    lines = [":Product: 20150301events.txt", ":Created: 2015 Mar 04 0357 UT", ":Date: 2015 03 01"]
    assert header_problems(lines, date(2015, 3, 1), "x") == []
    assert date_stamp(lines) == "20150304 0357"


def test_problem_is_what_exclude_takes():
    assert Problem("a", "b") == ("a", "b", "")


@pytest.mark.parametrize(("region", "date", "expected"), [
    ("1158", "2011-02-14", True), ("", "2011-02-14", False), ("0000", "2010-05-03", False),
    ("0000", "2002-06-13", False), ("0000", "2002-06-14", True), ("0000", "2002-08-13", True),
    ("0000", "2002-08-14", False), ("0001", "2002-06-24", True)])
def test_0000_is_a_region_in_the_summer_of_the_roll_over_alone(region, date, expected):
    assert is_region(region, np.datetime64(date)) is expected
