"""Positions on days with a row, in holes, and outside a region's passage."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from general_code.noaa_archive import read_summary_archive
from general_code.region_positions import disk_centre_longitude, region_positions, wrap_longitude


def table(*rows: tuple) -> pd.DataFrame:
    """Return a table of (region, date, latitude, longitude, carrington_longitude)."""
    frame = pd.DataFrame(rows, columns=["region", "date", "latitude", "longitude", "carrington_longitude"])
    return frame.astype({"date": "datetime64[s]", "region": "str"})


def days(*texts: str) -> np.ndarray:
    """Return times."""
    return np.array(texts, dtype="datetime64[s]")


def test_disk_centre_longitude_of_meeus_example():
    assert disk_centre_longitude(days("1992-10-13")) == pytest.approx([238.63], abs=0.02)  # example 29.a


def test_disk_centre_moves_by_a_rotation():
    centre = disk_centre_longitude(days("2011-02-15", "2011-02-16", "2011-03-14"))
    assert wrap_longitude(centre[1] - centre[0]) == pytest.approx(-13.2, abs=0.1)
    assert wrap_longitude(centre[2] - centre[0]) == pytest.approx(0, abs=6)  # 27.3 days


@pytest.mark.parametrize(("angle", "expected"), [(0, 0), (180, -180), (-180, -180), (359, -1), (-359, 1), (540, -180)])
def test_wrap_longitude(angle, expected):
    assert wrap_longitude(np.array([angle])) == [expected]


def test_row_of_the_day_counts_whatever_the_time_of_day():
    rows = table(("1158", "2011-02-14", -20, 0, 34), ("1158", "2011-02-15", -21, 13, 34))
    positions = region_positions(["1158"] * 3, days("2011-02-14T00:00", "2011-02-14T23:48", "2011-02-15T00:00"), rows)
    assert positions.latitude.tolist() == [-20, -20, -21]
    assert positions.longitude.tolist() == [0, 0, 13]
    assert positions.has_row.all()


def test_hole_is_interpolated_to_midnight_in_carrington_longitude():
    centre = disk_centre_longitude(days("2011-02-14", "2011-02-15", "2011-02-17"))
    lons = wrap_longitude(np.array([40.0, 0, 43.0]) - centre)
    rows = table(("1158", "2011-02-14", -20, lons[0], 40), ("1158", "2011-02-17", -23, lons[2], 43))
    position = region_positions(["1158"], days("2011-02-15T18:00"), rows)
    assert position.latitude[0] == pytest.approx(-21)
    assert position.longitude[0] == pytest.approx(wrap_longitude(41 - centre[1]))
    assert not position.has_row[0]


def test_interpolation_across_carrington_zero_takes_the_short_way():
    centre = disk_centre_longitude(days("2011-02-15"))
    rows = table(("1158", "2011-02-14", 0, 0, 359), ("1158", "2011-02-16", 0, 26, 3))
    assert region_positions(["1158"], days("2011-02-15"), rows).longitude == pytest.approx(wrap_longitude(1 - centre))


def test_row_without_carrington_longitude_gives_it_by_its_location():
    centre = disk_centre_longitude(days("2011-02-14", "2011-02-15"))
    known = wrap_longitude(np.array([50.0]) - centre[0])[0]
    rows = table(("1158", "2011-02-14", 0, known, np.nan), ("1158", "2011-02-16", 0, 0, 50))
    assert region_positions(["1158"], days("2011-02-15"), rows).longitude == pytest.approx(
        wrap_longitude(50 - centre[1]))


@pytest.mark.parametrize(("region", "day"), [
    ("1158", "2011-02-13T23:48"), ("1158", "2011-02-17"), ("1157", "2011-02-15"), ("1159", "2011-02-15"),
    ("", "2011-02-15"),
    ("1158", "NaT"),
])
def test_no_position_outside_the_passage(region, day):
    rows = table(("1158", "2011-02-14", -20, 0, 34), ("1158", "2011-02-16", -20, 26, 34))
    positions = region_positions([region], days(day), rows)
    assert np.isnan(positions.latitude).all()
    assert np.isnan(positions.longitude).all()
    assert not positions.has_row.any()


def test_no_rows_at_all():
    assert np.isnan(region_positions(["1158"], days("2011-02-15"), table()).latitude).all()


def test_left_out_rows_of_the_archive_are_met_within_a_few_degrees(noaa_archive: Path):
    rows = read_summary_archive(noaa_archive / "SRS").table
    place, length = rows.groupby("region").cumcount(), rows.groupby("region")["region"].transform("size")
    hole = (place == 2) & (length > 5)
    positions = region_positions(rows["region"][hole], rows["date"][hole].to_numpy(), rows[~hole])
    error = positions.longitude - rows["longitude"][hole].to_numpy()
    assert hole.sum() > 900
    assert not np.isnan(error).any()
    assert np.median(np.abs(error)) < 1
    assert np.quantile(np.abs(error), 0.98) < 6


def test_before_its_first_row_a_region_has_no_position_from_the_one_before_it_in_the_table():
    rows = table(("1157", "2011-02-14", 10, 0, 34), ("1158", "2011-02-16", -20, 26, 34))
    positions = region_positions(["1158", "1157"], days("2011-02-15", "2011-02-15"), rows)
    assert np.isnan(positions.latitude).all() and np.isnan(positions.longitude).all()
