"""Which images belong to a data set, by the default rule and as published."""

import numpy as np
import pandas as pd
import pytest

from general_code.dataset_selection import add_positions, as_published_selection, within_limits


class Run:
    """Keeps exclusions."""

    def __init__(self):
        self.exclusions, self.counts = [], {}

    def count(self, name, number):
        self.counts[name] = number

    def exclude(self, *row):
        self.exclusions.append(row)


def images(*times: str, region: str = "1158") -> pd.DataFrame:
    """Return images of a region."""
    return pd.DataFrame({"source": list(times), "region": pd.Series([region] * len(times), dtype="str"),
                         "time": np.array(times, dtype="datetime64[s]"), "camera": np.int8(1)})


ROWS = pd.DataFrame({"region": pd.Series(["1158"] * 3, dtype="str"),
                     "date": np.array(["2011-02-12", "2011-02-14", "2011-02-15"], "datetime64[s]"),
                     "latitude": [-20.0, -20.0, -20.0], "longitude": [-59.0, -33.0, 60.0],
                     "carrington_longitude": [3.0, 3.0, 83.0]})


@pytest.mark.parametrize(("latitude", "longitude", "kept"), [
    (60, 60, False), (59.9, -59.9, True), (0, 0, True), (60.1, 0, False), (-60, 0, False), (0, 60, False),
    (0, -60, False), (0, 75, False),
])
def test_limits_themselves_are_out(latitude, longitude, kept):
    frame = images("2011-02-14T06:00").assign(latitude=float(latitude), longitude=float(longitude), has_row=True)
    run = Run()
    assert len(within_limits(frame, 60.0, 60.0, run)) == kept
    assert [reason for _, reason, _ in run.exclusions] == ([] if kept else ["outside the limits"])


def test_hole_is_interpolated_and_outside_the_passage_there_is_no_position():
    times = ("2011-02-11T23:48", "2011-02-12T00:00", "2011-02-13T12:00", "2011-02-14T12:00", "2011-02-15T12:00",
             "2011-02-16T00:00")
    run = Run()
    kept = within_limits(add_positions(images(*times), ROWS), 60.0, 60.0, run)
    assert kept["source"].tolist() == list(times[1:4])
    assert kept["has_row"].tolist() == [True, False, True]
    assert kept["longitude"][1] == pytest.approx(-46.1, abs=0.1)
    assert [(source, reason) for source, reason, _ in run.exclusions] == [
        (times[0], "no position"), (times[5], "no position"), (times[4], "outside the limits")]
    assert run.counts == {"images_without_position": 2, "images_outside_by_interpolated_position": 0}


def test_as_published_keeps_days_without_a_row_and_drops_a_last_midnight():
    times = ("2011-02-11T23:48", "2011-02-13T12:00", "2011-02-14T00:00", "2011-02-15T12:00", "2011-02-16T00:00")
    run = Run()
    kept = as_published_selection(add_positions(images(*times), ROWS), 60.0, 60.0, run)
    assert kept["source"].tolist() == list(times[:3])
    assert [(source, reason) for source, reason, _ in run.exclusions] == [
        (times[4], "last image of a region, at 00:00:00"), (times[3], "outside the limits")]


def test_as_published_the_interpolated_position_of_a_hole_does_not_bind():
    rows = ROWS.assign(longitude=[-80.0, -70.0, 0.0], carrington_longitude=[342.0, 326.0, 23.0])
    frame = add_positions(images("2011-02-13T12:00"), rows)
    assert abs(frame["longitude"][0]) > 60
    assert len(as_published_selection(frame, 60.0, 60.0, Run())) == 1
    run = Run()
    assert len(within_limits(frame, 60.0, 60.0, run)) == 0
    assert run.counts == {"images_without_position": 0, "images_outside_by_interpolated_position": 1}


@pytest.mark.parametrize(("last", "kept"), [("2011-02-14T00:00:00", 1), ("2011-02-14T00:12:00", 2),
                                            ("2011-02-13T23:48:00", 2)])
def test_as_published_only_a_last_midnight_record_goes(last, kept):
    frame = add_positions(images("2011-02-13T12:00", last), ROWS)
    assert len(as_published_selection(frame, 60.0, 60.0, Run())) == kept


def test_as_published_each_region_has_its_last():
    frame = pd.concat([images("2011-02-14T00:00"), images("2011-02-14T00:00", "2011-02-14T00:12", region="1159")])
    kept = as_published_selection(add_positions(frame.reset_index(drop=True), ROWS), 60.0, 60.0, Run())
    assert kept["region"].tolist() == ["1159", "1159"]
