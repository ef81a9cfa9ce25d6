"""Region summaries and event reports: every variant of the formats by table, and every original file at hand."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from general_code.noaa_reports import (
    parse_event_report,
    parse_location,
    parse_region_summary,
    read_event_report,
    read_region_summary,
)

DAY = date(2015, 1, 1)
NAN = np.nan


def summary(*rows: str, title: str = "I.  Regions with Sunspots.  Locations Valid at 31/2400Z ",
            columns: str = "Nmbr Location  Lo  Area  Z   LL   NN Mag Type") -> list[str]:
    """Return a summary's lines with rows from line 4 on."""
    return [":Issued: 2015 Jan 01 0030 UTC", title, columns, *rows,
            "IA. H-alpha Plages without Spots.  Locations Valid at 31/2400Z Dec", "Nmbr  Location  Lo",
            "2245  N09W76   128", "II. Regions Due to Return 01 Jan to 03 Jan", "Nmbr Lat    Lo", "2235 S08    286"]


ROWS = [
    ("2246 N19W56   108  0070 Hsx  01   01 Alpha", ("2246", 19, 56, 108, 70, "Hsx", 1, 1, "Alpha")),
    ("7938  N12W41  187  0270 DSI  09  026 BETA", ("7938", 12, 41, 187, 270, "Dsi", 9, 26, "Beta")),
    ("1158 S20E00   034  0600 Ekc  16  118 Beta-Gamma-Delta",
     ("1158", -20, 0, 34, 600, "Ekc", 16, 118, "Beta-Gamma-Delta")),
    ("8421 N27W27   171  0670 EKC  15   55 BETA-GAMMA-DELTA",
     ("8421", 27, 27, 171, 670, "Ekc", 15, 55, "Beta-Gamma-Delta")),
    ("0001 N21W48   351  0150 Cko  05   06 Beta", ("0001", 21, 48, 351, 150, "Cko", 5, 6, "Beta")),
    ("2293 N05W53   342  0065 Cao  10   09 Beta", ("2293", 5, 53, 342, 65, "Cao", 10, 9, "Beta")),
    ("1233 S18W43   027  0000 Axx  01   01 Alpha", ("1233", -18, 43, 27, 0, "Axx", 1, 1, "Alpha")),
    ("4327 S20W21   360  0010 Bxo  02   02 Beta", ("4327", -20, 21, 360, 10, "Bxo", 2, 2, "Beta")),
    ("9169 N11W92   082  0230 DKO  09   05 BETA", ("9169", 11, 92, 82, 230, "Dko", 9, 5, "Beta")),
    ("2127 S08E48   249  0250 Dkc  05   06 Beta-Delta", ("2127", -8, -48, 249, 250, "Dkc", 5, 6, "Beta-Delta")),
    ("12192 S13W30  250  2750 Fkc  18   65 Beta-Gamma-Delta",
     ("2192", -13, 30, 250, 2750, "Fkc", 18, 65, "Beta-Gamma-Delta")),
    ("2246 N19W56   108  0070 Hsx  01   01 Alpha   ", ("2246", 19, 56, 108, 70, "Hsx", 1, 1, "Alpha")),
]


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_row_of_section_one(row, expected):
    parsed = parse_region_summary(summary(row), DAY, "20150101SRS.txt")
    assert parsed.problems == []
    assert len(parsed.rows) == 1
    region, *values = parsed.rows[0]
    assert (region, *values[1:-1]) == expected
    assert (values[0], values[-1]) == (DAY, 4)


@pytest.mark.parametrize(("row", "fault"), [
    ("2246 N1XW30   108  0070 Hsx  01   01 Alpha", "location 'N1XW30' is not like N12W30; row skipped"),
    ("2246 N95W30   108  0070 Hsx  01   01 Alpha", "location 'N95W30' is not like"),
    ("224 N19W30   108  0070 Hsx  01   01 Alpha", "is not a row like"),
    ("99999", "is not a row like"),
    ("2246", "is not a row like"),
    ("2246 W30N19   108  0070 Hsx  01   01 Alpha", "is not like N12W30"),
])
def test_row_that_cannot_be_placed_is_skipped_and_reported(row, fault):
    good = "2248 S19W29   081  0060 Hsx  02   02 Alpha"
    parsed = parse_region_summary(summary(row, good), DAY, "20150101SRS.txt")
    assert [each.region for each in parsed.rows] == ["2248"]
    assert len(parsed.problems) == 1
    assert parsed.problems[0].reason == "row does not parse"
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
])
def test_field_that_cannot_be_read_is_left_empty_and_reported(row, field, fault):
    parsed = parse_region_summary(summary(row), DAY, "20150101SRS.txt")
    values = parsed.rows[0]._asdict()
    empty = {name for name, value in values.items() if value == "" or value != value}
    assert empty == {field}
    assert [problem.reason for problem in parsed.problems] == ["field does not parse"]
    assert fault in parsed.problems[0].detail
    assert "line 4" in parsed.problems[0].detail


def test_row_with_a_field_missing_keeps_number_and_location_only():
    parsed = parse_region_summary(summary("1260 N19E34   327  0250 Dao  10"), DAY, "20150101SRS.txt")
    row = parsed.rows[0]
    assert (row.region, row.latitude, row.longitude) == ("1260", 19, -34)
    assert np.isnan([row.carrington_longitude, row.area, row.extent, row.spots]).all()
    assert "6 fields, expected 8" in parsed.problems[0].detail


@pytest.mark.parametrize("title", [
    "I. REGIONS WITH SUNSPOTS. LOCATIONS VALID AT 05/2400Z JANUARY",
    "I.  REGIONS WITH SUNSPOTS.  LOCATIONS VALID AT 08/2400Z",
    "I.  Regions with Sunspots.  Locations Valid at 27/2400Z",
])
@pytest.mark.parametrize("columns", ["NMBR LOCATION  LO  AREA  Z   LL   NN MAG TYPE",
                                     "Nmbr Location  Lo  Area  Z   LL   NN Mag Type"])
def test_titles_of_all_years(title, columns):
    lines = summary("2246 N19W56   108  0070 Hsx  01   01 Alpha", title=title, columns=columns)
    assert [row.region for row in parse_region_summary(lines, DAY, "x").rows] == ["2246"]


def test_row_joined_to_the_column_titles_is_read():
    titles = "NMBR LOCATION  LO  AREA  Z   LL   NN MAG TYPE8003 S30E10   354  0010 BXO  04   04 BETA"
    parsed = parse_region_summary(summary(columns=titles), DAY, "x")
    assert [(row.region, row.line) for row in parsed.rows] == [("8003", 3)]


@pytest.mark.parametrize("nothing", ["None", "NONE", "none "])
def test_day_without_spots(nothing):
    parsed = parse_region_summary(summary(nothing), DAY, "x")
    assert (parsed.rows, parsed.problems) == ([], [])


def test_text_behind_section_two_is_passed_over():
    lines = summary("2246 N19W56   108  0070 Hsx  01   01 Alpha") + [
        "COMMENT:", "1234 N10W10   100  0070 Hsx  01   01 Alpha", "99999", "", "NNN"]
    parsed = parse_region_summary(lines, DAY, "x")
    assert [row.region for row in parsed.rows] == ["2246"]
    assert parsed.problems == []


def test_truncated_summary_is_reported_and_its_rows_used():
    lines = summary("2246 N19W56   108  0070 Hsx  01   01 Alpha")[:4]
    parsed = parse_region_summary(lines, DAY, "20150101SRS.txt")
    assert [row.region for row in parsed.rows] == ["2246"]
    assert parsed.problems[0].reason == "truncated region summary"
    assert "line 4" in parsed.problems[0].detail
    assert parse_region_summary(lines[:1], DAY, "x").problems[0].reason == "truncated region summary"


def test_region_listed_twice_is_used_once():
    row = "2246 N19W56   108  0070 Hsx  01   01 Alpha"
    parsed = parse_region_summary(summary(row, row.replace("W56", "W57")), DAY, "x")
    assert [each.longitude for each in parsed.rows] == [56]
    assert "stands on line 4 already" in parsed.problems[0].detail


@pytest.mark.parametrize(("text", "expected"), [
    ("N12W30", (12, 30)), ("S08E48", (-8, -48)), ("n00e00", (0, 0)), ("N05W101", (5, 101)),
])
def test_location(text, expected):
    assert parse_location(text) == expected
    assert not np.signbit(parse_location("S00E00")).any()


# ---------------------------------------------------------------------------- event reports

HEAD = [":Product: 20150301events.txt", ":Date: 2015 01 01",
        "#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#"]

XRA = [
    ("4080       0158   0210      0232  G15  5   XRA  1-8A      C1.0    1.9E-03   2290",
     ("0158", "0210", "0232", "C1.0", "2290")),
    ("7170 +     1433   1459      1520  G18  5   XRA  1-8A      C6.0    1.1E-02   4485",
     ("1433", "1459", "1520", "C6.0", "4485")),
    ("3820       0204   0208      0210  G15  5   XRA  1-8A      C1.3    2.7E-04       ",
     ("0204", "0208", "0210", "C1.3", "")),
    ("3820       0204   0208      0210  G15  5   XRA  1-8A      C1.3    2.7E-04", ("0204", "0208", "0210", "C1.3", "")),
    ("4120      B0605   ////     B0655  G15  3   XRA  1-8A      C2.4    2.7E-04   2289",
     ("0605", "", "0655", "C2.4", "2289")),
    ("4120      B0605  U0620     A0655  G15  3   XRA  1-8A      C2.4    2.7E-04   2289",
     ("0605", "0620", "0655", "C2.4", "2289")),
    ("4120       0605             0655  G15  3   XRA  1-8A      C2.4    2.7E-04   2289",
     ("0605", "", "0655", "C2.4", "2289")),
    ("8010       1152   1202      1210  G10  5   XRA  1-8A      X17.2   1.8E+00   0486",
     ("1152", "1202", "1210", "X17.2", "0486")),
    ("8010       1152   1202      1210  G13  5   XRA  1-8A      X9.3    5.7E-01   2673",
     ("1152", "1202", "1210", "X9.3", "2673")),
    ("  80       1152   1202      1210  SDO  5   XRA  1-8A      M2.0              12673",
     ("1152", "1202", "1210", "M2.0", "2673")),
    ("8010       1152   1202      1210  G13  5   XRA  1-8A      X1.3    5.7E01    2673",
     ("1152", "1202", "1210", "X1.3", "2673")),
]


def clock(hhmm: str, day: str = "2015-01-01") -> np.datetime64:
    """Return a time of a day; NaT for ""."""
    return np.datetime64(f"{day}T{hhmm[:2]}:{hhmm[2:]}" if hhmm else "NaT", "s")


@pytest.mark.parametrize(("row", "expected"), XRA)
def test_xray_row(row, expected):
    report = parse_event_report([*HEAD, "", row], DAY, "20150101events.txt")
    assert report.problems == []
    begin, maximum, end, flare_class, region = expected
    flare = report.rows[0]
    assert str((flare.begin, flare.maximum, flare.end)) == str((clock(begin), clock(maximum), clock(end)))
    assert (flare.flare_class, flare.region, flare.line, flare.report_date) == (flare_class, region, 5, DAY)


@pytest.mark.parametrize(("times", "days"), [
    (("2350", "2358", "0010"), (1, 1, 2)), (("2350", "0023", "0040"), (1, 2, 2)), (("0000", "0001", "0002"), (1, 1, 1)),
    (("1200", "1200", "1200"), (1, 1, 1)), (("2350", "////", "0010"), (1, 1, 2)),
])
def test_times_after_midnight_are_on_the_next_day(times, days):
    begin, maximum, end = times
    row = f"4080       {begin}   {maximum}      {end}  G15  5   XRA  1-8A      C1.0    1.9E-03   2290"
    flare = parse_event_report([*HEAD, row], DAY, "x").rows[0]
    expected = [clock("" if "/" in time else time, f"2015-01-{day:02d}") for time, day in zip(times, days, strict=True)]
    assert str(list(flare[:3])) == str(expected)


@pytest.mark.parametrize("row", [
    "4150      B0957  U0959     A1001  SVI  3   FLA  N18W72    SF                2290",
    "4120      B0605   ////     B0655  LEA  3   EPL  ////      0.24              2289",
    "7230       1110   ////      0010  SAG  C   RSP  025-180   VI/2                  ",
    "5060       0021   ////      0021  LEA  C   RSP  055-07    III/1",
    "#4080       0158   0210      0232  G15  5   XRA  1-8A      C1.0    1.9E-03   2290",
    "NO EVENT REPORTS.", "",
])
def test_other_rows_are_passed_over(row):
    report = parse_event_report([*HEAD, row], DAY, "x")
    assert (report.rows, report.problems) == ([], [])


@pytest.mark.parametrize(("row", "fault"), [
    ("4080       0158   0210      0232  G15  5   XRA  1-8A      Z1.0    1.9E-03   2290", "is not an XRA row"),
    ("4080       0158   0260      0232  G15  5   XRA  1-8A      C1.0    1.9E-03   2290", "there is no time 0260"),
    ("4080       0158   02?0      0232  G15  5   XRA  1-8A      C1.0    1.9E-03   2290", "is not an XRA row"),
    ("4080       0158   0210      0232  G15  5   XRA  1-8A", "is not an XRA row"),
    ("4080       0158   0210      0232  G15  5   XRA  1-8A      C1.0    1.9E-03   22", "is not an XRA row"),
])
def test_xray_row_that_cannot_be_read_is_reported(row, fault):
    report = parse_event_report([*HEAD, row, XRA[0][0]], DAY, "20150101events.txt")
    assert len(report.rows) == 1
    assert report.problems[0].reason == "row does not parse"
    assert fault in report.problems[0].detail
    assert "20150101events.txt, line 4" in report.problems[0].detail


CUT_OFF = "4080       0158   0210      0232  G15  5   XRA  1-8A      C6"


@pytest.mark.parametrize(("row", "cut"), [
    (CUT_OFF, True), (f"{CUT_OFF}.", True), (XRA[1][0], False), (XRA[1][0][:79], True), ("4150      B0957  U09", True),
    ("NO EVENT REPORTS.", False), ("   ", False), ("NO EVENT REPORTS.\n", False), (f"{XRA[1][0]}\n", False),
    (f"{XRA[1][0]}\r\n\x1a", False)])
def test_last_line_without_an_end_is_not_used(tmp_path: Path, row, cut):
    path = tmp_path / "20150101events.txt"
    path.write_bytes("\n".join([*HEAD, XRA[0][0], row]).encode())
    report = read_event_report(path)
    assert len(report.rows) == (1 if cut else 1 + (XRA[1][0] in row))
    assert [problem.reason for problem in report.problems] == (["truncated event report"] if cut else [])
    assert report.whole is not cut
    assert not cut or "20150101events.txt, line 5" in report.problems[0].detail


@pytest.mark.parametrize("flare_class", ["C6", "C6.", "C6.85", "X100.0"])
def test_a_class_has_one_decimal(flare_class):
    row = XRA[0][0].replace("C1.0    ", f"{flare_class:<8}")
    assert [problem.reason for problem in parse_event_report([*HEAD, row], DAY, "x").problems] == ["row does not parse"]


@pytest.mark.parametrize(("times", "reason", "end"), [
    (("0158", "0150", "0232"), "maximum before begin", None), (("1200", "1159", "1210"), "maximum before begin", None),
    (("0158", "0210", "0200"), "end before maximum", ""), (("0158", "////", "0150"), "end before maximum", ""),
    (("1400", "0200", "0210"), "", "0210"), (("0010", "0020", "2359"), "", "2359"),
])
def test_a_time_before_another_is_after_midnight_or_a_mistake(times, reason, end):
    row = "4080       {}   {}      {}  G15  5   XRA  1-8A      C1.0    1.9E-03   2290".format(*times)
    report = parse_event_report([*HEAD, row], DAY, "20150101events.txt")
    assert [problem.reason for problem in report.problems] == ([reason] if reason else [])
    assert not reason or report.problems[0].detail.startswith("20150101events.txt, line 4: ")
    assert [str(flare.end)[11:16].replace(":", "") for flare in report.rows] == ([] if end is None else [end])


@pytest.mark.parametrize("title", ["IA.H-alpha Plages without Spots.", "IA H-ALPHA PLAGES WITHOUT SPOTS",
                                   "IA.", "II.Regions Due to Return", "II REGIONS DUE TO RETURN"])
def test_the_next_section_is_known_however_its_title_is_spelled(title):
    lines = [*summary("2246 N19W56   108  0070 Hsx  01   01 Alpha")[:4], title, "2245  N09W76   128"]
    parsed = parse_region_summary(lines, DAY, "x")
    assert ([row.region for row in parsed.rows], parsed.problems) == (["2246"], [])


def test_a_row_of_section_one_a_is_no_sunspot_region():
    parsed = parse_region_summary(summary("2245  N09W76   128"), DAY, "x")
    assert parsed.rows == []
    assert [problem.reason for problem in parsed.problems] == ["row does not parse"]


def test_text_that_is_no_event_report():
    report = parse_event_report(["<html>", "404 Not Found"], DAY, "x")
    assert report.problems[0].reason == "truncated event report"


# ---------------------------------------------------------------------------- original files


def test_every_original_summary_is_read_without_a_problem(shared_data: Path):
    paths = sorted((shared_data / "noaa_raw" / "SRS").rglob("*.txt"))
    summaries = {path.name: read_region_summary(path) for path in paths}
    assert len(summaries) == 40
    assert [each.problems for each in summaries.values()] == [[]] * 40
    assert sum(len(each.rows) for each in summaries.values()) == 160
    counts = {"19960106SRS.txt": 2, "19960430SRS.txt": 0, "19961209SRS.txt": 1, "20020624SRS.txt": 8,
              "20100228SRS.txt": 2, "20100621SRS.txt": 1, "20140730SRS.txt": 10, "20181122SRS.txt": 0,
              "20181128SRS.txt": 0, "20251219SRS.txt": 7}
    assert {name: len(summaries[name].rows) for name in counts} == counts
    rows = [row for each in summaries.values() for row in each.rows]
    assert all(row.mcintosh and row.magnetic_type and row.area == row.area for row in rows)


def test_every_original_event_report_is_read_without_a_problem(shared_data: Path):
    paths = sorted((shared_data / "noaa_raw" / "Events").rglob("*.txt"))
    reports = {path.name: read_event_report(path) for path in paths}
    assert len(reports) == 14
    assert [each.problems for each in reports.values()] == [[]] * 14
    counts = {"19970115": 0, "19970121": 0, "20140731": 2, "20150301": 4, "20190114": 0, "20251219": 4, "20251220": 8,
              "20251221": 1, "20251223": 2, "20251224": 1, "20251227": 6, "20251228": 0, "20251229": 6, "20260710": 3}
    assert {name[:8]: len(report.rows) for name, report in reports.items()} == counts


def test_bad_files_say_why(tmp_path: Path):
    for name, content, message in (("20150101SRS.txt", b"", "empty"), ("20150102SRS.txt", b"\x00\x01", "not a text"),
                                   ("20150230SRS.txt", b"x", "there is no date 20150230")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_region_summary(path)
    path = tmp_path / "20150101events.txt"
    path.write_bytes(b"\x89PNG\x00")
    with pytest.raises(ValueError, match="not a text"):
        read_event_report(path)


def test_a_report_that_lost_a_flare_is_not_whole(tmp_path: Path):
    path = tmp_path / "20150101events.txt"
    for row, whole in ((XRA[0][0], True), (XRA[0][0].replace("C1.0", "C?.0"), False)):
        path.write_text("\n".join([*HEAD, row, ""]))
        assert read_event_report(path).whole is whole
