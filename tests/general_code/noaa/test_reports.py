"""Region summaries and event reports: every variant of the formats by table, and every original file at hand."""

from contextlib import nullcontext
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from general_code.noaa.reports import (
    MADE_EARLY,
    Day,
    OptionalDay,
    Report,
    decode_report,
    parse_day,
    parse_event_report,
    parse_region_summary,
    report_date,
)
from general_code.stage.files import UserError
from general_code.stage.run import Settings

DAY = date(2015, 1, 1)


def read_summary(lines: list[str]) -> Report:
    """Return the summary of these lines."""
    return parse_region_summary("\n".join([*lines, ""]), DAY, "20150101SRS.txt")


def read_events(lines: list[str], end: str = "\n") -> Report:
    """Return the event report of these lines."""
    return parse_event_report("\n".join(lines) + end, DAY, "20150101events.txt")


def reasons(report: Report) -> list[str]:
    """Return the reasons of a report's problems."""
    return [problem.reason for problem in report.problems]


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("20120101SRS.txt", "", date(2012, 1, 1)), ("20120229events.txt", "", date(2012, 2, 29)),
    ("19960106srs.TXT", "", date(1996, 1, 6)), ("20120101SRS.txt.gz", "", date(2012, 1, 1)),
    ("0102SRS.txt", ":Issued: 2015 Jan 02 0030 UTC\n", date(2015, 1, 2)),
    ("0301events.txt", ":Created: 2016 Mar 01 0357 UT\n:Date: 2015 03 01\n", date(2015, 3, 1)),
    ("20110229SRS.txt", "", "there is no date 20110229"), ("20111301events.txt", "", "there is no date 20111301"),
    ("0101SRS.txt", ":Issued: 2015 Jan 02 0030 UTC\n", "no year, and no line of its header names a day 01-01"),
    ("0101SRS.txt", "", "no year")])
def test_report_date(name, text, expected):
    with nullcontext() if isinstance(expected, date) else pytest.raises(ValueError, match=expected):
        assert report_date(name, text) == expected


@pytest.mark.parametrize(("content", "text"), [
    (b"a\nb\n", "a\nb\n"), (b"a\r\nb", "a\nb"), (b"a\rb\r", "a\nb\n"), (b"\xef\xbb\xbfa\n", "a\n"),
    (b"caf\xe9\n", "caf\xe9\n"), (b"a\n\x1a", "a\n\x1a")])
def test_texts_whatever_their_line_ends(content, text):
    assert decode_report(content) == text


@pytest.mark.parametrize(("content", "message"), [
    (b"", "empty"), (b" \n\n", "empty"), (b"\x1f\x8b\x08\x00\x01", "not a text file"), (b"\x89PNG\x00", "not a text")])
def test_what_is_no_text(content, message):
    with pytest.raises(ValueError, match=message):
        decode_report(content)


@pytest.mark.parametrize(("header", "day", "stamp"), [
    (":Issued: 2010 Jun 21 0045 UTC", date(2010, 6, 21), "20100621 0045"), (":Date: 2014 07 31", date(2014, 7, 31), ""),
    ("EDITED EVENTS for 1997 Jan 21", date(1997, 1, 21), ""),
    ("#                            Edited Events for 2014 Jul 31", date(2014, 7, 31), ""),
    (":Date: 2015 03 01\n:Created: 2015 Mar 04 0357 UT", date(2015, 3, 1), "20150304 0357")])
def test_a_header_that_names_another_day_than_the_name_is_reported(header, day, stamp):
    text = f"\n{header}\n#Event  Begin\n"
    agreeing = parse_event_report(text, day, "x")
    assert agreeing.stamp == stamp and not set(reasons(agreeing)) - {MADE_EARLY}
    problem, = parse_event_report(text, date(2001, 1, 1), "20010101events.txt").problems
    assert problem.reason == "header names another day"
    assert "20010101events.txt, line 2" in problem.detail


def test_days_in_settings():
    class Dates(Settings):
        first: Day = "20100501"
        last: OptionalDay = ""

    assert parse_day("") is None and parse_day("20120229") == date(2012, 2, 29)
    assert Dates(first=20120229).first == "20120229"
    for settings, message in (({"first": ""}, "first: expected a date like 20100501"),
                              ({"last": "20120230"}, "last: there is no date 20120230"),
                              ({"last": "2012-01-01"}, "last: expected a date"), ({"last": "１" * 8}, "expected")):
        with pytest.raises(UserError, match=message):
            Dates(**settings)


GOOD = "2246 N19W56   108  0070 Hsx  01   01 Alpha"


def summary(*rows: str, title: str = "I.  Regions with Sunspots.  Locations Valid at 31/2400Z ",
            columns: str = "Nmbr Location  Lo  Area  Z   LL   NN Mag Type") -> list[str]:
    """Return a summary's lines with rows from line 4 on."""
    return [":Issued: 2015 Jan 01 0030 UTC", title, columns, *rows,
            "IA. H-alpha Plages without Spots.  Locations Valid at 31/2400Z Dec", "Nmbr  Location  Lo",
            "2245  N09W76   128", "II. Regions Due to Return 01 Jan to 03 Jan", "Nmbr Lat    Lo", "2235 S08    286"]


@pytest.mark.parametrize(("text", "expected"), [
    (GOOD, "2246 19 56 108 70 Hsx 1 1 Alpha"), (f"{GOOD}   ", "2246 19 56 108 70 Hsx 1 1 Alpha"),
    ("7938  N12W41  187  0270 DSI  09  026 BETA", "7938 12 41 187 270 Dsi 9 26 Beta"),
    ("1158 S20E00   034  0600 Ekc  16  118 Beta-Gamma-Delta", "1158 -20 0 34 600 Ekc 16 118 Beta-Gamma-Delta"),
    ("0001 S00W101  351  0150 Cko  05   06 Beta", "0001 0 101 351 150 Cko 5 6 Beta"),
    ("1233 S18W43   027  0000 Axx  01   01 Alpha", "1233 -18 43 27 0 Axx 1 1 Alpha"),
    ("4327 S20W21   360  0010 Bxo  02   02 Beta", "4327 -20 21 360 10 Bxo 2 2 Beta"),
    ("9169 N11W92   082  0230 DKO  09   05 BETA", "9169 11 92 82 230 Dko 9 5 Beta"),
    ("2127 S08E48   249  0250 Dkc  05   06 Beta-Delta", "2127 -8 -48 249 250 Dkc 5 6 Beta-Delta"),
    ("12192 S13W30  250  2750 Fkc  18   65 Beta-Gamma-Delta", "2192 -13 30 250 2750 Fkc 18 65 Beta-Gamma-Delta")])
def test_row_of_section_one(text, expected):
    parsed = read_summary(summary(text))
    assert parsed.problems == []
    row, = parsed.rows
    values = (row.region, *row[2:-1])
    assert " ".join(f"{value:g}" if isinstance(value, float) else value for value in values) == expected
    assert (row.date, row.line) == (DAY, 4)


@pytest.mark.parametrize(("row", "fault"), [
    ("2246 N1XW30   108  0070 Hsx  01   01 Alpha", "location 'N1XW30' is not like N12W30; row skipped"),
    ("2246 N95W30   108  0070 Hsx  01   01 Alpha", "location 'N95W30' is not like"),
    ("2246 W30N19   108  0070 Hsx  01   01 Alpha", "is not like N12W30"),
    ("224 N19W30   108  0070 Hsx  01   01 Alpha", "is not a row like"), ("99999", "is not a row like"),
    ("2246", "is not a row like"), ("2245  N09W76   128", "is not a row like")])  # a region without spots
def test_row_that_cannot_be_placed_is_skipped_and_reported(row, fault):
    parsed = read_summary(summary(row, GOOD))
    assert [each.region for each in parsed.rows] == ["2246"]
    assert reasons(parsed) == ["row does not parse"]
    assert parsed.problems[0].detail.startswith("20150101SRS.txt, line 4: ")
    assert fault in parsed.problems[0].detail


@pytest.mark.parametrize(("row", "field", "fault"), [
    ("1260 N19E34   327  0250 Dao  10   15 pha", "magnetic_type", "Mag Type 'Pha'"),
    ("1260 N19E34   361  0250 Dao  10   15 Beta", "carrington_longitude", "Lo '361'"),
    ("1260 N19E34   3?7  0250 Dao  10   15 Beta", "carrington_longitude", "Lo '3?7'"),
    ("1260 N19E34   327  02x0 Dao  10   15 Beta", "area", "Area '02x0'"),
    ("1260 N19E34   327  0250 Qao  10   15 Beta", "mcintosh", "Z 'Qao'"),
    ("1260 N19E34   327  0250 Dao  -1   15 Beta", "extent", "LL '-1'"),
    ("1260 N19E34   327  0250 Dao  10   1e Beta", "spots", "NN '1e'"),
    ("1260 N19E34   327  0250 Dao  10", "carrington_longitude area mcintosh extent spots magnetic_type",
     "6 fields, expected 8")])
def test_field_that_cannot_be_read_is_left_empty_and_reported(row, field, fault):
    parsed = read_summary(summary(row))
    empty = [name for name, value in parsed.rows[0]._asdict().items() if value == "" or value != value]
    assert empty == field.split()
    assert reasons(parsed) == ["field does not parse"]
    assert "line 4" in parsed.problems[0].detail and fault in parsed.problems[0].detail


@pytest.mark.parametrize("title", ["I. REGIONS WITH SUNSPOTS. LOCATIONS VALID AT 05/2400Z JANUARY",
                                   "I.  REGIONS WITH SUNSPOTS.  LOCATIONS VALID AT 08/2400Z",
                                   "I.  Regions with Sunspots.  Locations Valid at 27/2400Z"])
@pytest.mark.parametrize("columns", ["NMBR LOCATION  LO  AREA  Z   LL   NN MAG TYPE",
                                     "Nmbr Location  Lo  Area  Z   LL   NN Mag Type"])
def test_titles_of_all_years(title, columns):
    assert [row.region for row in read_summary(summary(GOOD, title=title, columns=columns)).rows] == ["2246"]
    joined = read_summary(summary(title=title, columns=columns + GOOD))
    assert [(row.region, row.line) for row in joined.rows] == [("2246", 3)]


@pytest.mark.parametrize(("nothing", "title"), [
    ("None", "IA.H-alpha Plages without Spots."), ("NONE", "IA H-ALPHA PLAGES WITHOUT SPOTS"), ("none ", "IA."),
    ("None", "II.Regions Due to Return"), ("NONE", "II REGIONS DUE TO RETURN")])
def test_day_without_spots_and_the_next_section_however_its_title_is_spelled(nothing, title):
    assert read_summary(summary(nothing))[2:] == ([], [])
    parsed = read_summary([*summary(GOOD)[:4], title, "2245  N09W76   128"])
    assert ([row.region for row in parsed.rows], parsed.problems) == (["2246"], [])


def test_text_behind_section_two_is_skipped():
    parsed = read_summary([*summary(GOOD), "COMMENT:", GOOD.replace("2246", "1234"), "99999", "", "NNN"])
    assert ([row.region for row in parsed.rows], parsed.problems) == (["2246"], [])


def test_truncated_summary_is_reported_and_its_rows_used():
    parsed = read_summary(summary(GOOD)[:4])
    assert [row.region for row in parsed.rows] == ["2246"]
    assert reasons(parsed) == reasons(read_summary(summary()[:1])) == ["truncated region summary"]
    assert "line 4" in parsed.problems[0].detail


def test_region_listed_twice_is_used_once():
    parsed = read_summary(summary(GOOD, GOOD.replace("W56", "W57")))
    assert [each.longitude for each in parsed.rows] == [56]
    assert "stands on line 4 already" in parsed.problems[0].detail


HEAD = [":Product: 20150301events.txt", ":Date: 2015 01 01",
        "#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#"]
XRA = "4080       0158   0210      0232  G15  5   XRA  1-8A      C1.0    1.9E-03   2290"


def clock(hhmm: str, day: int = 1) -> np.datetime64:
    """Return a time of a day; NaT for `////`."""
    return np.datetime64("NaT" if "/" in hhmm else f"2015-01-{day:02d}T{hhmm[:2]}:{hhmm[2:]}", "s")


@pytest.mark.parametrize(("row", "expected"), [
    (XRA, "0158 0210 0232 C1.0 2290"),
    ("7170 +     1433   1459      1520  G18  5   XRA  1-8A      C6.0    1.1E-02   4485", "1433 1459 1520 C6.0 4485"),
    ("3820       0204   0208      0210  G15  5   XRA  1-8A      C1.3    2.7E-04       ", "0204 0208 0210 C1.3 "),
    ("3820       0204   0208      0210  G15  5   XRA  1-8A      C1.3    2.7E-04", "0204 0208 0210 C1.3 "),
    ("4120      B0605   ////     B0655  G15  3   XRA  1-8A      C2.4    2.7E-04   2289", "0605 //// 0655 C2.4 2289"),
    ("4120      B0605  U0620     A0655  G15  3   XRA  1-8A      C2.4    2.7E-04   2289", "0605 0620 0655 C2.4 2289"),
    ("4120       0605             0655  G15  3   XRA  1-8A      C2.4    2.7E-04   2289", "0605 //// 0655 C2.4 2289"),
    ("8010       1152   1202      1210  G10  5   XRA  1-8A      X17.2   1.8E+00   0486", "1152 1202 1210 X17.2 0486"),
    ("  80       1152   1202      1210  SDO  5   XRA  1-8A      M2.0              12673", "1152 1202 1210 M2.0 2673"),
    ("8010       1152   1202      1210  G13  5   XRA  1-8A      X1.3    5.7E01    2673", "1152 1202 1210 X1.3 2673")])
def test_xray_row(row, expected):
    report = read_events([*HEAD, "", row])
    assert report.problems == []
    *times, flare_class, region = expected.split(" ")
    flare, = report.rows
    assert str(list(flare[:3])) == str([clock(time) for time in times])
    assert flare[3:] == (flare_class, region, DAY, 5, row[34:37])


@pytest.mark.parametrize(("times", "days"), [
    (("2350", "2358", "0010"), (1, 1, 2)), (("2350", "0023", "0040"), (1, 2, 2)), (("0000", "0001", "0002"), (1, 1, 1)),
    (("1200", "1200", "1200"), (1, 1, 1)), (("2350", "////", "0010"), (1, 1, 2))])
def test_times_after_midnight_are_on_the_next_day(times, days):
    row = XRA.replace("0158   0210      0232", "{}   {}      {}".format(*times))
    assert str(list(read_events([*HEAD, row]).rows[0][:3])) == str(list(map(clock, times, days)))


@pytest.mark.parametrize("row", [
    "4150      B0957  U0959     A1001  SVI  3   FLA  N18W72    SF                2290",
    "4120      B0605   ////     B0655  LEA  3   EPL  ////      0.24              2289",
    "7230       1110   ////      0010  SAG  C   RSP  025-180   VI/2                  ",
    "5060       0021   ////      0021  LEA  C   RSP  055-07    III/1", f"#{XRA}", "NO EVENT REPORTS.", ""])
def test_other_rows_are_skipped(row):
    assert read_events([*HEAD, row])[2:] == ([], [])


@pytest.mark.parametrize(("row", "fault"), [
    (XRA.replace("C1.0", "Z1.0"), "is not an XRA row"), (XRA.replace("0210", "0260"), "there is no time 0260"),
    (XRA.replace("0210", "02?0"), "is not an XRA row"), (XRA[:52], "is not an XRA row"),
    (XRA[:-2], "is not an XRA row"), (XRA.replace("C1.0", "C6  "), "is not"), (XRA.replace("C1.0", "C6. "), "is not"),
    (XRA.replace("C1.0 ", "C6.85"), "is not an XRA row"), (XRA.replace("C1.0  ", "X100.0"), "is not an XRA row")])
def test_xray_row_that_cannot_be_read_is_reported(row, fault):
    report = read_events([*HEAD, row, XRA])
    assert (len(report.rows), reasons(report), report.whole) == (1, ["row does not parse"], False)
    assert fault in report.problems[0].detail and "20150101events.txt, line 4" in report.problems[0].detail
    assert read_events([*HEAD, XRA]).whole


@pytest.mark.parametrize(("made", "until"), [
    ("2015 Jan 01 1002", "2015-01-01T10:02"), ("2015 Jan 03 0302", "2015-01-02T00:00"),
    ("2015 Jan 02 0000", "2015-01-02T00:00")])
def test_a_report_made_before_the_end_of_its_day_does_not_tell_of_the_rest(made, until):
    report = read_events([f":Created: {made} UT", *HEAD[1:], XRA])
    assert report.until == np.datetime64(until) and report.whole is until.endswith("02T00:00")
    assert np.isnat(read_events([f":Created: {made} UT", *HEAD[1:], XRA.replace("0210", "0260")]).until)


@pytest.mark.parametrize(("row", "cut"), [
    (XRA[:60], True), (XRA[:61], True), (XRA, False), (XRA[:79], True), ("4150      B0957  U09", True),
    ("NO EVENT REPORTS.", False), ("   ", False), ("NO EVENT REPORTS.\n", False), (f"{XRA}\n", False),
    (f"{XRA}\n\x1a", False)])
def test_last_line_without_an_end_is_not_used(row, cut):
    report = read_events([*HEAD, XRA.replace("C1.0", "C6.0"), row], end="")
    assert len(report.rows) == (1 if cut else 1 + (XRA in row))
    assert reasons(report) == (["truncated event report"] if cut else [])
    assert report.whole is not cut
    assert not cut or "20150101events.txt, line 5" in report.problems[0].detail
    assert reasons(read_events(["<html>", "404 Not Found"])) == ["truncated event report"]


@pytest.mark.parametrize(("times", "reason", "end"), [
    (("0158", "0150", "0232"), "maximum before begin", None), (("1200", "1159", "1210"), "maximum before begin", None),
    (("0158", "0210", "0200"), "end before maximum", ""), (("0158", "////", "0150"), "end before maximum", ""),
    (("1400", "0200", "0210"), "", "0210"), (("0010", "0020", "2359"), "", "2359")])
def test_a_time_before_another_is_after_midnight_or_a_mistake(times, reason, end):
    report = read_events([*HEAD, XRA.replace("0158   0210      0232", "{}   {}      {}".format(*times))])
    assert reasons(report) == ([reason] if reason else [])
    assert not reason or report.problems[0].detail.startswith("20150101events.txt, line 4: ")
    assert [str(flare.end)[11:16].replace(":", "") for flare in report.rows] == ([] if end is None else [end])


@pytest.mark.parametrize(("folder", "parse", "files", "rows", "of_file"), [
    ("SRS", parse_region_summary, 40, 160,
     {"19960106": 2, "19960430": 0, "19961209": 1, "20020624": 8, "20100228": 2, "20100621": 1, "20140730": 10,
      "20181122": 0, "20181128": 0, "20251219": 7}),
    ("Events", parse_event_report, 14, 37,
     {"19970115": 0, "19970121": 0, "20140731": 2, "20150301": 4, "20190114": 0, "20251219": 4, "20251220": 8,
      "20251221": 1, "20251223": 2, "20251224": 1, "20251227": 6, "20251228": 0, "20251229": 6, "20260710": 3})])
def test_every_original_file_is_read_without_a_problem(shared_data: Path, folder, parse, files, rows, of_file):
    reports = {}
    for path in (shared_data / "noaa_raw" / folder).rglob("*.txt"):
        text = decode_report(path.read_bytes())
        reports[path.name[:8]] = parse(text, report_date(path.name, text), path.name)
    assert (len(reports), sum(len(each.rows) for each in reports.values())) == (files, rows)
    assert not any(set(reasons(each)) - {MADE_EARLY} for each in reports.values())
    assert {day: len(reports[day].rows) for day in of_file} == of_file
    if folder == "SRS":
        assert all(row.mcintosh and row.magnetic_type and row.area == row.area
                   for each in reports.values() for row in each.rows)
