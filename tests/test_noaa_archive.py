"""Folders of reports: what is found, what is missing, and numbers that recur."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from general_code.noaa_archive import (
    find_reports,
    first_passages,
    missing_days,
    read_event_archive,
    read_summary_archive,
)

SUMMARY = """:Issued: {issued} UTC
I.  Regions with Sunspots.  Locations Valid at 31/2400Z
Nmbr Location  Lo  Area  Z   LL   NN Mag Type
{rows}
IA. H-alpha Plages without Spots.
None
II. Regions Due to Return
None
"""
ROW = "{region} N19W{west:02d}   108  0070 Hsx  01   01 Alpha"


def write_summary(folder: Path, day: str, *regions: str, west: int = 10, clock: str = "0030") -> None:
    """Write a summary of a day."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(ROW.format(region=region, west=west) for region in regions) or "None"
    issued = f"{pd.Timestamp(day):%Y %b %d} {clock}"
    (folder / f"{day}SRS.txt").write_text(SUMMARY.format(issued=issued, rows=rows))


def test_reports_are_found_in_folders_of_any_depth(tmp_path: Path):
    write_summary(tmp_path / "2012_SRS", "20120102", "1001")
    write_summary(tmp_path, "20120101", "1001")
    (tmp_path / "20120230SRS.txt").write_text("x")
    (tmp_path / "README").write_text("x")
    (tmp_path / "20120101events.txt").write_text("of the other kind")
    found, problems = find_reports(tmp_path, "SRS")
    assert [day for day, _ in found] == [date(2012, 1, 1), date(2012, 1, 2)]
    assert [(problem.input, problem.detail[:20]) for problem in problems] == [
        ("20120230SRS.txt", "there is no date 201"), ("README", "the name is not like")]


def test_bad_file_is_listed_and_the_rest_read(tmp_path: Path):
    write_summary(tmp_path, "20120101", "1001", "1002")
    (tmp_path / "20120102SRS.txt").write_bytes(b"\x00\x01\x02")
    (tmp_path / "20120103SRS.txt").write_bytes(b"")
    archive = read_summary_archive(tmp_path)
    assert archive.table["region"].tolist() == ["1001", "1002"]
    assert archive.days == [date(2012, 1, 1)]
    assert [problem.reason for problem in archive.problems] == ["unreadable report"] * 2


def test_the_time_of_issue_of_each_row(tmp_path: Path):
    write_summary(tmp_path, "20120101", "1001", "1002", clock="0045")
    write_summary(tmp_path, "20120102", "1001", clock="2530")  # a clock that does not exist
    issued = read_summary_archive(tmp_path).table["issued"]
    assert issued.isna().tolist() == [False, False, True]
    assert (issued[:2] == pd.Timestamp("2012-01-01 00:45")).all()


def test_of_two_summaries_of_a_day_the_later_issue_is_used(tmp_path: Path):
    write_summary(tmp_path / "a", "20120101", "1001", west=10, clock="0045")
    write_summary(tmp_path / "b", "20120101", "1001", west=20, clock="0030")
    archive = read_summary_archive(tmp_path)
    assert archive.table["longitude"].tolist() == [10]
    assert [problem.reason for problem in archive.problems] == ["second report of a day"]
    assert archive.problems[0].input == str(Path("b/20120101SRS.txt"))


@pytest.mark.parametrize(("days", "expected"), [
    ([1, 2, 3, 4], []),
    ([1, 3, 4], [("20120102SRS.txt", "1 day without a report")]),
    ([3], [("20120101SRS.txt to 20120102SRS.txt", "2 days without a report"),
           ("20120104SRS.txt", "1 day without a report")]),
])
def test_missing_days_are_joined_to_runs(days, expected):
    problems = missing_days([date(2012, 1, day) for day in days], date(2012, 1, 1), date(2012, 1, 4), "SRS")
    assert [(problem.input, problem.detail) for problem in problems] == expected


@pytest.mark.parametrize(("gap_days", "kept"), [(1, 2), (60, 2), (61, 1), (10000, 1)])
def test_number_that_returns_after_more_than_sixty_days_is_another_region(gap_days, kept):
    start = pd.Timestamp("2002-06-24")
    table = pd.DataFrame({"region": ["0001", "0001", "0001"], "date": [start, start + pd.Timedelta(days=gap_days),
                                                                      start + pd.Timedelta(days=gap_days + 1)]})
    first, problems = first_passages(table)
    assert len(first) == (3 if kept == 2 else 1)
    assert len(problems) == (0 if kept == 2 else 1)
    assert all("returns on" in problem.detail for problem in problems)


def test_first_and_last_day_bound_what_is_read(tmp_path: Path):
    for day in ("20120101", "20120102", "20120103"):
        write_summary(tmp_path, day, "1001")
    assert read_summary_archive(tmp_path, date(2012, 1, 2), date(2012, 1, 2)).days == [date(2012, 1, 2)]


def test_empty_folder(tmp_path: Path):
    archive = read_summary_archive(tmp_path)
    assert archive.table.empty
    assert archive.days == archive.problems == []
    assert read_event_archive(tmp_path) == ([], [])


def test_the_whole_archive_is_read_without_a_problem(noaa_archive: Path):
    archive = read_summary_archive(noaa_archive / "SRS")
    assert (len(archive.days), len(archive.table), archive.problems) == (3166, 11743, [])
    assert not archive.table.drop(columns=["region", "date"]).isna().any(axis=None)
    events = read_event_archive(noaa_archive / "Events")
    assert (len(events.reports), events.problems) == (3167, [])
    assert sum(len(report.rows) for report in events.reports) == 8509


def test_links_to_folders_are_followed_once(tmp_path: Path):
    write_summary(tmp_path / "disk" / "2012_SRS", "20120101", "1001")
    folder = tmp_path / "SRS"
    write_summary(folder, "20120102", "1001")
    (folder / "2012_SRS").symlink_to(tmp_path / "disk" / "2012_SRS")
    (folder / "again").symlink_to(tmp_path / "disk" / "2012_SRS")
    (tmp_path / "disk" / "2012_SRS" / "back").symlink_to(folder)
    found, problems = find_reports(folder, "SRS")
    assert [(day.day, str(path.relative_to(folder))) for day, path in found] == [
        (1, str(Path("2012_SRS/20120101SRS.txt"))), (2, "20120102SRS.txt")]
    assert problems == []
