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


def test_positions_of_real_summaries(shared_data, tmp_path):
    folder = shared_data / "noaa_raw" / "SRS"
    positions = SummaryPositions(folder)
    day = date(2015, 1, 1)
    regions = dict(positions.rows(day))
    # 2246 N19W56 in 20150101SRS.txt, valid at 24:00 of the day before
    assert regions["2246"] == Position("2014.12.31_23:59:59Z", "56", "19")
    assert positions.position(Passage("2246", day, 3)) == regions["2246"]
    assert positions.position(Passage("2246", date(2013, 1, 1), 3)) is None


@pytest.mark.parametrize("folder", [Path(""), Path("does/not/exist")])
def test_no_summaries(folder):
    positions = SummaryPositions(folder)
    assert positions.days() == []
    assert positions.position(Passage("1158", date(2011, 2, 13), 8)) is None


def test_unreadable_summary_is_passed_over(tmp_path):
    (tmp_path / "20110213SRS.txt").write_bytes(b"\x00\x01")
    (tmp_path / "notesSRS.txt").write_text("x")
    assert SummaryPositions(tmp_path).rows(date(2011, 2, 13)) == []
