"""Positions of regions for the export."""

from datetime import date
from pathlib import Path

import pytest

from general_code.cutout_requests import Passage, Position
from general_code.export_positions import SummaryPositions, nearest_to_meridian, table_number


@pytest.mark.parametrize(("region", "number"), [("1158", 11158), ("6999", 16999), ("7000", 7000), ("0012", 10012)])
def test_number_as_the_page_makes_it(region, number):
    assert table_number(region) == number


def rows(*longitudes: str) -> list[Position]:
    """Return rows with these longitudes."""
    return [Position(f"t{row}", longitude, "-15") for row, longitude in enumerate(longitudes)]


@pytest.mark.parametrize(("longitudes", "chosen"), [
    (("-40", "-27", "-1", "12"), "t2"), (("-7", "7"), "t0"), (("999", "-80"), "t1"), (("999", "-999"), None),
    (("MISSING", "Invalid KeyLink", "nan", "3.5"), "t3"), (("-1.0e+1", "20"), "t1"), ((), None)])
def test_row_nearest_to_the_meridian(longitudes, chosen):
    position = nearest_to_meridian(rows(*longitudes))
    assert (position and position.t_ref) == chosen


def summary(folder: Path, name: str, issued: str, location: str) -> None:
    """Write a region summary with region 1158."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(
        f":Product: {name}\n:Issued: {issued}\nI.  Regions with Sunspots.  Locations Valid at 13/2400Z\n"
        f"Nmbr Location  Lo  Area  Z   LL   NN Mag Type\n1158 {location}   033  0080 Dsi  06   12 Beta-Gamma\n"
        "IA. H-alpha Plages without Spots.\nII. Regions Due to Return\n")


def test_summaries_are_found_and_chosen_as_in_stage_1(tmp_path):
    summary(tmp_path / "2011", "20110214SRS.txt", "2011 Feb 14 0030 UTC", "S20W03")
    summary(tmp_path / "mended", "20110214srs.txt", "2011 Feb 14 0530 UTC", "S20W04")
    summary(tmp_path, "20110216SRS.txt", "2011 Feb 16 0030 UTC", "S20W30")
    positions = SummaryPositions(tmp_path)
    passage = Passage("1158", date(2011, 2, 13), 8)
    assert positions.position(passage) == Position("2011.02.13_23:59:59Z", "4", "-20")  # issued last
    assert positions.position(passage._replace(first_day=date(2011, 2, 15))).x == "30"
    assert positions.position(passage._replace(first_day=date(2011, 2, 5))) is None


def test_positions_of_real_summaries(shared_data, tmp_path):
    for path in sorted((shared_data / "noaa_raw" / "SRS").rglob("201501*SRS.txt")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    positions = SummaryPositions(tmp_path)
    day = date(2015, 1, 1)
    # 2246 N19W56 in 20150101SRS.txt, valid at 24:00 of the day before
    assert positions.position(Passage("2246", day, 3)) == Position("2014.12.31_23:59:59Z", "56", "19")
    assert positions.position(Passage("2246", date(2013, 1, 1), 3)) is None


@pytest.mark.parametrize("folder", [Path(""), Path("does/not/exist")])
def test_no_summaries(folder):
    assert SummaryPositions(folder).position(Passage("1158", date(2011, 2, 13), 8)) is None


def test_unreadable_summary_is_passed_over(tmp_path):
    (tmp_path / "20110213SRS.txt").write_bytes(b"\x00\x01")
    (tmp_path / "notesSRS.txt").write_text("x")
    assert SummaryPositions(tmp_path).table == {}
