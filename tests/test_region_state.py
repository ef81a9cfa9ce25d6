"""What the summaries say at an image's time: values by hand, time of issue, place on the disk."""

from datetime import date

import numpy as np
import pytest
from activity_lab import HOUR, THREE_DAYS, T, features, summary, table_of

from classifier_SVM.activity_features import activity_names
from classifier_SVM.region_state import OLDEST_H, rotation_rate


def test_the_summary_by_hand():
    found = features()
    assert found["zurich_rank"] == 7 and found["zurich_F"] == 1 and found["zurich_E"] == 0
    assert found["penumbra_k"] == found["compactness_c"] == found["magnetic_beta_gamma_delta"] == 1
    assert found[["penumbra_rank", "compactness_rank", "magnetic_rank"]].tolist() == [6, 4, 5]
    assert [found[f"log_{name}"] for name in ("area", "extent", "spots")] == pytest.approx(np.log1p([200, 12, 30]))
    assert [found["change_1_area"], found["change_2_area"]] == pytest.approx(np.log1p([90, 190]))
    assert found["change_1_zurich"] == 6 - 4 and found["change_2_magnetic"] == 4
    assert found["has_summary_1_before"] == found["has_summary_2_before"] == 1
    assert found["latitude"] == 10 and found["longitude"] == pytest.approx(-14 + rotation_rate(10) / 2)
    assert found["centre_distance"] == pytest.approx(
        np.degrees(np.arccos(np.cos(np.radians(10)) * np.cos(np.radians(found["longitude"])))), rel=1e-5)
    assert found["first_longitude"] == -40 and found["emerged_on_disk"] == 1
    assert found["summary_age_h"] == 12 and found["region_age_h"] == 2 * 24 + 11.5 and found["first_day"] == 0
    assert found["log_sun_regions"] == pytest.approx(np.log(2)) and found["log_sun_area"] == pytest.approx(np.log(201))
    assert found["log_sun_area_27d"] == pytest.approx(np.log1p((110 + 110 + 200) / 3))


def test_rotation_carries_a_region_across_the_disk_in_two_weeks():
    assert rotation_rate(0) == pytest.approx(13.73, abs=0.01)
    assert rotation_rate(30) == rotation_rate(-30) < rotation_rate(0)


def test_a_region_without_a_row_today_keeps_its_last_one():
    found = features(region="2002")
    assert found["has_summary"] == 1 and found["summary_age_h"] == 60
    assert found["log_area"] == pytest.approx(np.log(101))
    assert found["has_summary_1_before"] == 0 and found["change_1_area"] == 0
    late = features(region="2002", time=T + 1000 * HOUR)
    assert late["summary_age_h"] == late["region_age_h"] == OLDEST_H


def test_an_unknown_region_has_zeros():
    found = features(region="2003")
    own = found[list(activity_names())[activity_names().index("has_summary"):activity_names().index("log_sun_regions")]]
    assert (own == 0).all() and found["log_sun_regions"] > 0


def test_fields_that_a_summary_leaves_empty():
    found = features(summaries=table_of(summary(date(2014, 3, 10), "2001 N10E14   100  0200 Qxx  12   30 Strange")))
    assert found["zurich_rank"] == found["penumbra_rank"] == found["magnetic_rank"] == 0
    assert found["log_area"] == pytest.approx(np.log(201))


# ---------------------------------------------------------------------------- time of issue


@pytest.mark.parametrize("clock, area", [("00:29", 110), ("00:30", 200), ("00:31", 200)])
def test_a_summary_counts_from_its_issue(clock, area):
    found = features(time=np.datetime64(f"2014-03-10T{clock}", "s"))
    assert found["log_area"] == pytest.approx(np.log1p(area)) == found["log_sun_area"]


def test_before_its_first_summary_a_region_is_unknown():
    assert features(time=np.datetime64("2014-03-08T00:29", "s"))["has_summary"] == 0
    assert features(time=np.datetime64("2014-03-08T00:30", "s"))["has_summary"] == 1


@pytest.mark.parametrize("clock, area", [("00:30", 110), ("00:44", 110), ("00:45", 200)])
def test_a_corrected_summary_counts_from_its_own_issue(clock, area):
    found = features(time=np.datetime64(f"2014-03-10T{clock}", "s"), summaries=table_of(*THREE_DAYS, issued="00:45"))
    assert found["log_area"] == pytest.approx(np.log1p(area)) == found["log_sun_area"]


def test_no_summary_counts_before_half_past_midnight():
    early = table_of(*THREE_DAYS, issued="00:05")
    assert features(time=np.datetime64("2014-03-10T00:29", "s"), summaries=early)["log_area"] == np.float32(np.log(111))


def test_a_summary_waits_for_that_of_the_day_before():
    (table, days), late = table_of(*THREE_DAYS), np.datetime64("2014-03-10T08:00", "s")
    issued = np.where(table["date"] == np.datetime64("2014-03-09"), late, np.datetime64("NaT", "s"))
    for hours, area in ((-1, 10), (0, 200)):
        found = features(time=late + hours * HOUR, summaries=(table.assign(issued=issued), days))
        assert found["log_area"] == pytest.approx(np.log1p(area))
        assert found["log_sun_area"] == pytest.approx(np.log1p(area if hours == 0 else 110))


def test_the_age_of_a_region_counts_from_the_issue_of_its_first_summary():
    found = features(summaries=table_of(THREE_DAYS[0], issued="03:00"))
    assert found["region_age_h"] == 2 * 24 + 9 and found["summary_age_h"] == 60


# ---------------------------------------------------------------------------- place on the disk


@pytest.mark.parametrize("longitude, emerged", [("E61", 0), ("E60", 0), ("E59", 1), ("W10", 1)])
def test_a_region_first_seen_west_of_60_east_emerged_on_the_disk(longitude, emerged):
    days = (summary(date(2014, 3, 9), f"2001 N10{longitude}   100  0110 Dso  05   08 Beta"), THREE_DAYS[2])
    assert features(summaries=table_of(*days))["emerged_on_disk"] == emerged


@pytest.mark.parametrize("longitude, east", [("E50", 10), ("E40", 0), ("W50", 0)])
def test_degrees_east_of_40(longitude, east):
    today = table_of(summary(date(2014, 3, 10), f"2001 N10{longitude}   100  0110 Dso  05   08 Beta"))
    found = features(time=np.datetime64("2014-03-10T00:30", "s"), summaries=today)
    turned = rotation_rate(10) / 48  # since 00:00
    assert found["east_of_40"] == pytest.approx(max(east - turned, 0), abs=1e-5)
