"""Folders of reports: what is found, what is missing, and numbers that recur."""

import gzip
import io
import os
import tarfile
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from general_code.noaa import archive as archive_module
from general_code.noaa.archive import (
    find_reports,
    first_passages,
    missing_days,
    optional_summaries,
    read_event_archive,
    read_summary_archive,
)
from general_code.stage.files import UserError

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


class Reports:
    """Keeps what a run reports."""

    def __init__(self):
        self.lines = []

    def report(self, text):
        self.lines.append(text)


def write_summary(folder: Path, day: str, *regions: str, west: int = 10, clock: str = "0030") -> None:
    """Write a summary of a day, of regions' numbers or of whole rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(region if " " in region else ROW.format(region=region, west=west) for region in regions) or "None"
    issued = f"{pd.Timestamp(day):%Y %b %d} {clock}"
    (folder / f"{day}SRS.txt").write_text(SUMMARY.format(issued=issued, rows=rows))


def test_of_folders_of_any_depth_all_is_read_or_listed(tmp_path: Path):
    write_summary(tmp_path / "2012_SRS", "20120102", "1001", "1002")
    write_summary(tmp_path, "20120101", "1001")
    for name, content in (("20120230SRS.txt", b"x"), ("README", b"x"), ("20120101events.txt", b"of the other kind"),
                          ("20120103SRS.txt", b"\x00\x01"), ("20120104SRS.txt", b""), (".DS_Store", b"Mac")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "20120105SRS.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "20120106SRS.txt")
    archive = read_summary_archive(tmp_path)
    assert archive.days == [date(2012, 1, 1), date(2012, 1, 2)]
    assert archive.table["region"].tolist() == ["1001", "1001", "1002"]
    problems = {problem.input: problem for problem in archive.problems}
    assert {name: problem.reason for name, problem in problems.items()} == {
        "README": "not named YYYYMMDDSRS.txt"} | dict.fromkeys(
        ("20120230SRS.txt", *(f"2012010{day}SRS.txt" for day in (3, 4, 5, 6))), "unreadable report")
    assert "there is no date 20120230" in problems["20120230SRS.txt"].detail


def test_the_time_of_issue_and_of_two_summaries_of_a_day_the_later_one(tmp_path: Path):
    write_summary(tmp_path / "a", "20120101", "1001", "1002", west=10, clock="0045")
    write_summary(tmp_path / "b", "20120101", "1001", west=20, clock="0030")
    write_summary(tmp_path, "20120102", "1001", clock="2530")  # a clock that does not exist
    archive = read_summary_archive(tmp_path)
    assert archive.table["longitude"].tolist() == [10, 10, 10]
    assert archive.table["issued"].isna().tolist() == [False, False, True]
    assert (archive.table["issued"][:2] == pd.Timestamp("2012-01-01 00:45")).all()
    assert [problem[:2] for problem in archive.problems] == [
        (str(Path("b/20120101SRS.txt")), "second report of a day")]


@pytest.mark.parametrize(("days", "expected"), [
    ([1, 2, 3, 4], []), ([1, 3, 4], [("20120102SRS.txt", "1 day without a report")]),
    ([3], [("20120101SRS.txt to 20120102SRS.txt", "2 days without a report"),
           ("20120104SRS.txt", "1 day without a report")])])
def test_missing_days_are_joined_to_runs(days, expected):
    problems = missing_days([date(2012, 1, day) for day in days], "SRS", date(2012, 1, 1), date(2012, 1, 4))
    assert [(problem.input, problem.detail) for problem in problems] == expected


@pytest.mark.parametrize(("gap_days", "kept"), [(1, 3), (60, 3), (61, 1), (10000, 1)])
def test_number_that_returns_after_more_than_sixty_days_is_another_region(gap_days, kept):
    dates = pd.Timestamp("2002-06-24") + pd.to_timedelta([0, gap_days, gap_days + 1], unit="D")
    first, problems = first_passages(pd.DataFrame({"region": "0001", "date": dates}))
    assert (len(first), len(problems)) == (kept, int(kept == 1))
    assert all("returns on" in problem.detail for problem in problems)


def test_empty_folder(tmp_path: Path):
    archive = read_summary_archive(tmp_path, required=False)
    assert archive.table.empty and archive.days == archive.problems == []
    with pytest.raises(UserError, match="events_dir: expected event reports .* found none; set --events-dir"):
        read_event_archive(tmp_path)


def test_summaries_that_a_stage_can_do_without(tmp_path: Path, monkeypatch, run, capsys):
    monkeypatch.chdir(tmp_path)
    for path, where in ((Path(""), ""), (archive_module.DEFAULT_SRS_DIR, " in data/SRS")):
        assert optional_summaries(path, run) is None
        assert capsys.readouterr().out == (
            f"No region summaries{where}: the rate of the McIntosh class is not available\n")
    with pytest.raises(UserError, match="srs_dir"):
        optional_summaries(tmp_path / "nowhere", run)
    (tmp_path / "data/SRS").mkdir(parents=True)
    assert optional_summaries(archive_module.DEFAULT_SRS_DIR, run) is None, "it is empty"
    capsys.readouterr()
    write_summary(tmp_path / "data/SRS", "20140101", "1900")
    write_summary(tmp_path / "data/SRS", "20140103", "1900")
    assert len(optional_summaries(archive_module.DEFAULT_SRS_DIR, run)) == 2
    assert capsys.readouterr().out == "2 summaries of 2014-01-01 to 2014-01-03, data/SRS; gaps and rows not used: 1\n"


def test_the_whole_archive_is_read_without_a_problem(noaa_archive: Path):
    archive = read_summary_archive(noaa_archive / "SRS")
    assert (len(archive.days), len(archive.table)) == (3166, 11743)
    assert [problem[:2] for problem in archive.problems] == [("20120101SRS.txt", "missing day")]
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
    found, others, problems = find_reports(folder, "SRS")
    assert [where for where, _, _ in found] == ["20120102SRS.txt", "2012_SRS/20120101SRS.txt"]
    assert (others, problems) == (0, [])


def pack(path: Path, *files: Path, mode: str = "w:gz", **members: bytes) -> None:
    """Write a tar of files, in a folder as NOAA's are, and of members made up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for file in files:
            tar.add(file, f"{path.name.split('.')[0]}/{file.name}")
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_forms(folder: Path, files: list[Path]) -> None:
    """Write folders that hold the same texts in every form."""
    texts = {f"{form}/{place}": file.read_bytes() for file in files for form, place in (
        ("texts", file.name), ("years", f"{file.name[:4]}_SRS/{file.name}"), ("gz", f"{file.name}.gz"),
        ("dates", f"{file.name[:4]}/{file.name[4:]}"))}
    texts[f"mixed/{files[0].name}"] = files[0].read_bytes()  # unpacked, and the archive kept beside it
    texts["mixed/.2012_SRS.tar.gz.part"] = b"half"
    for place, text in texts.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(gzip.compress(text) if place.endswith(".txt.gz") else text)
    for name, mode in (("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar", "w"), ("tar.xz", "w:xz")):
        pack(folder / name / f"2012_SRS.{name}", *files, mode=mode)
    pack(folder / "mixed" / "2012_SRS.tar.gz", *files)


def test_every_form_of_an_archive_holds_the_same(tmp_path: Path):
    for day, regions in (("20111231", ["1001"]), ("20120101", ["1001", "1002"]), ("20120102", [])):
        write_summary(tmp_path / "made", day, *regions)
    write_forms(tmp_path / "forms", sorted((tmp_path / "made").iterdir()))
    expected = read_summary_archive(tmp_path / "made")
    assert len(expected.table) == 3 and len(expected.days) == 3
    places = list((tmp_path / "forms").iterdir())
    assert len(places) == 9
    for place in places:
        found = read_summary_archive(place)
        assert found.table.equals(expected.table), place
        assert (found.days, found.problems) == (expected.days, []), place
        bounded = read_summary_archive(place, date(2012, 1, 1), date(2012, 1, 1))
        assert bounded.days == [date(2012, 1, 1)], place


def test_what_an_archive_holds_besides_is_listed(tmp_path: Path):
    write_summary(tmp_path / "made", "20120101", "1001")
    pack(tmp_path / "2012_SRS.tar.gz", *(tmp_path / "made").iterdir(), **{
        "2012_SRS/20120102SRS.txt": b"\0", "2012_SRS/README": b"x", "2012_SRS/20120103events.txt": b"x",
        "2012_SRS/._20120101SRS.txt": b"Mac", "2012_SRS/20120104SRS.txt.gz": b"not packed"})
    (tmp_path / "2013_SRS.zip").write_bytes(b"PK")
    (tmp_path / "2014_SRS.tar.gz").write_bytes((tmp_path / "2012_SRS.tar.gz").read_bytes()[:150])
    found = read_summary_archive(tmp_path)
    assert found.days == [date(2012, 1, 1)]
    assert sorted((problem.reason, problem.input) for problem in found.problems) == [
        ("not named YYYYMMDDSRS.txt", "2012_SRS.tar.gz/README"), ("not named YYYYMMDDSRS.txt", "2013_SRS.zip"),
        ("unreadable archive", "2014_SRS.tar.gz"), ("unreadable report", "20120102SRS.txt"),
        ("unreadable report", "2012_SRS.tar.gz/20120104SRS.txt.gz")]
    assert "unpacked" in next(each.detail for each in found.problems if each.input == "2013_SRS.zip")


def test_an_archive_from_outside_writes_and_fills_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_REPORT_BYTES", 1000)
    folder = tmp_path / "SRS"
    write_summary(folder, "20120101", "1001")
    pack(folder / "2012_SRS.tar", mode="w", **{"../../20120102SRS.txt": (folder / "20120101SRS.txt").read_bytes(),
                                               "/20120103SRS.txt": b"x" * 1001})
    with tarfile.open(folder / "2012_SRS.tar", "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"2012010{int(kind) + 3}SRS.txt")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    (folder / "20120109SRS.txt.gz").write_bytes(gzip.compress(b"x" * 1_000_000))
    found = read_summary_archive(folder)
    assert found.days == [date(2012, 1, 1), date(2012, 1, 2)]  # read under its last name, in place
    assert {(problem.input, problem.detail[:13]) for problem in found.problems if problem.reason == "unreadable report"
            } == {("2012_SRS.tar/20120103SRS.txt", "it holds more"), ("20120109SRS.txt.gz", "it holds more")}
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "20120101SRS.txt", "20120109SRS.txt.gz", "2012_SRS.tar", "SRS"]
    monkeypatch.setattr(archive_module, "MAX_ARCHIVE_BYTES", 5000)
    assert "unreadable archive" in [problem.reason for problem in read_summary_archive(folder).problems]


@pytest.mark.parametrize("packed", [False, True])
def test_swapped_folders_are_noticed(tmp_path: Path, packed):
    for kind in ("SRS", "events"):
        report = tmp_path / kind / f"20120101{kind}.txt"
        report.parent.mkdir()
        report.write_text("x")
        if packed:
            pack(tmp_path / kind / f"2012_{kind}.tar.gz", report)
            report.unlink()
    with pytest.raises(UserError, match="srs_dir: .* holds 1 event reports and no region summaries; srs_dir and event"):
        read_summary_archive(tmp_path / "events")
    with pytest.raises(UserError, match="events_dir: .* holds 1 region summaries and no event reports"):
        read_event_archive(tmp_path / "SRS")
