"""Regions' numbers and keys, and positions on days with a row, in holes, and outside a region's passage."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from general_code.noaa.archive import read_summary_archive
from general_code.noaa.regions import (
    KEY_BITS,
    LONGEST_SPAN,
    disk_centre_longitude,
    is_region,
    region_codes,
    region_number,
    region_positions,
    region_time_keys,
    rotation_rate,
    wrap_longitude,
)


@pytest.mark.parametrize(("given", "expected"), [
    ("1158", "1158"), ("11158", "1158"), (1158, "1158"), (11158, "1158"), (" 2673 ", "2673"), ("0005", "0005"),
    (5, "0005"), ("10005", "0005"), (np.int64(12673), "2673")])
def test_region_number_is_four_digits(given, expected):
    assert region_number(given) == expected


@pytest.mark.parametrize("given", ["", "115", "111158", "AR1158", "-158", -5, "11.5", "１１５８", None])
def test_region_number_refuses_anything_else(given):
    with pytest.raises(ValueError, match="not a NOAA number"):
        region_number(given)


def test_region_codes_agree_with_region_number():
    assert region_codes(["1158", "11158", "0005", "", "abc", "158"]).tolist() == [1158, 1158, 5, -1, -1, -1]
    assert region_codes([]).shape == (0,)


@pytest.mark.parametrize(("region", "date", "expected"), [
    ("1158", "2011-02-14", True), ("", "2011-02-14", False), ("0000", "2010-05-03", False),
    ("0000", "2002-06-13", False), ("0000", "2002-06-14", True), ("0000", "2002-08-13", True),
    ("0000", "2002-08-14", False), ("0001", "2002-06-24", True)])
def test_0000_is_a_region_in_the_summer_of_the_roll_over_alone(region, date, expected):
    assert is_region(region, np.datetime64(date)) is expected


def test_keys_sort_by_region_then_time():
    regions = region_codes(["1158", "1158", "11159", "0000"])
    times = np.array(["2011-02-15", "2011-02-14T23:59:59", "1996-01-01", "2100-01-01"], "datetime64[s]")
    keys = region_time_keys(regions, times)
    assert np.argsort(keys).tolist() == [3, 1, 0, 2]
    assert (keys >> KEY_BITS).tolist() == [1158, 1158, 1159, 0]
    assert np.diff(keys[[1, 0]]) == 1


def test_without_region_or_time_a_key_is_far_before_all_others():
    keys = region_time_keys(np.array([-1, 1158, -1, 0]), days("2011-02-15", "NaT", "NaT", "1970-01-01"))
    assert (keys[:3] + LONGEST_SPAN < keys[3]).all()


def table(*rows: tuple) -> pd.DataFrame:
    """Return a table of (region, date, latitude, longitude, carrington_longitude)."""
    frame = pd.DataFrame(rows, columns=["region", "date", "latitude", "longitude", "carrington_longitude"])
    return frame.astype({"date": "datetime64[s]", "region": "str"})


def days(*texts: str) -> np.ndarray:
    """Return times."""
    return np.array(texts, dtype="datetime64[s]")


def test_disk_centre_longitude_of_meeus_example_and_after_a_day_and_a_rotation():
    assert disk_centre_longitude(days("1992-10-13")) == pytest.approx([238.63], abs=0.02)  # example 29.a
    centre = disk_centre_longitude(days("2011-02-15", "2011-02-16", "2011-03-14"))
    assert wrap_longitude(centre[1] - centre[0]) == pytest.approx(-13.2, abs=0.1)
    assert wrap_longitude(centre[2] - centre[0]) == pytest.approx(0, abs=6)  # 27.3 days


def test_wrap_longitude():
    assert wrap_longitude(np.array([0, 180, -180, 359, -359, 540])).tolist() == [0, -180, -180, -1, 1, -180]


def test_row_of_the_day_counts_whatever_the_time_of_day():
    rows = table(("1158", "2011-02-14", -20, 0, 34), ("1158", "2011-02-15", -21, 13, 34))
    positions = region_positions(["1158"] * 3, days("2011-02-14T00:00", "2011-02-14T23:48", "2011-02-15T00:00"), rows)
    assert (positions.latitude.tolist(), positions.longitude.tolist()) == ([-20, -20, -21], [0, 0, 13])
    assert positions.has_row.all()


@pytest.mark.parametrize(("carrington", "end", "day", "expected", "latitude"), [
    ((40, 43), "2011-02-17", "2011-02-15T18:00", 41, -21), ((359, 3), "2011-02-16", "2011-02-15", 1, -21.5),
    ((50, 50), "2011-02-16", "2011-02-15", 50, -21.5)])
@pytest.mark.parametrize("given", [True, False])  # a row without Carrington longitude gives it by its location
def test_hole_is_interpolated_to_midnight_in_carrington_longitude(carrington, end, day, expected, latitude, given):
    first, last = wrap_longitude(np.array(carrington) - disk_centre_longitude(days("2011-02-14", end)))
    rows = table(("1158", "2011-02-14", -20, first, carrington[0] if given else np.nan),
                 ("1158", end, -23, last, carrington[1]))
    position = region_positions(["1158"], days(day), rows)
    assert position.latitude[0] == pytest.approx(latitude)
    assert position.longitude == pytest.approx(wrap_longitude(expected - disk_centre_longitude(days(day))))
    assert not position.has_row[0]


@pytest.mark.parametrize(("region", "day"), [
    ("1158", "2011-02-13T23:48"), ("1158", "2011-02-17"), ("1157", "2011-02-15"), ("1159", "2011-02-15"),
    ("", "2011-02-15"), ("1158", "NaT")])
def test_no_position_outside_the_passage(region, day):
    rows = table(("1158", "2011-02-14", -20, 0, 34), ("1158", "2011-02-16", -20, 26, 34),
                 ("1156", "2011-02-12", 10, 0, 34))
    for known in (rows, table()):
        positions = region_positions([region], days(day), known)
        assert np.isnan([positions.latitude, positions.longitude]).all()
        assert not positions.has_row.any()


def test_removed_rows_of_the_archive_are_met_within_a_few_degrees(noaa_archive: Path):
    rows = read_summary_archive(noaa_archive / "SRS").table
    place, length = rows.groupby("region").cumcount(), rows.groupby("region")["region"].transform("size")
    hole = (place == 2) & (length > 5)
    positions = region_positions(rows["region"][hole], rows["date"][hole].to_numpy(), rows[~hole])
    error = positions.longitude - rows["longitude"][hole].to_numpy()
    assert hole.sum() > 900 and not np.isnan(error).any()
    assert np.median(np.abs(error)) < 1 and np.quantile(np.abs(error), 0.98) < 6


def test_rotation_carries_a_region_across_the_disk_in_two_weeks():
    assert rotation_rate(0) == pytest.approx(13.73, abs=0.01)
    assert rotation_rate(30) == rotation_rate(-30) < rotation_rate(0)
