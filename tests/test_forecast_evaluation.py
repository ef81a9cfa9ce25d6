"""The judge of all forecasts: calibration, empty splits, baselines; the test set chooses nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from general_code import forecast_evaluation as fe
from general_code.flares import EventList
from general_code.skill_scores import skill_scores

START = np.datetime64("2014-01-01T00:00:00")


def image_names(n_regions=30, images=20, first=1900):
    """File names of `images` two-hourly magnetograms of each region."""
    stamps = pd.to_datetime(START + np.arange(images) * np.timedelta64(2, "h")).strftime("%Y%m%d_%H%M%S")
    return [f"{first + r}_hmi.M_720s.{stamp}_TAI.1.magnetogram.fits" for r in range(n_regions) for stamp in stamps]


def make_rows(seed=0, skill=2.0):
    """A forecast of some skill over 30 regions: 18 training, 6 validation, 6 test."""
    names, rng = image_names(), np.random.default_rng(seed)
    truth = (np.repeat(rng.random(30), 20) > 0.6).astype(int)
    truth[rng.random(600) < 0.1] ^= 1
    score = skill * (truth - 0.5) + rng.normal(0, 1, 600)
    split = np.repeat(["training"] * 18 + ["validation"] * 6 + ["test"] * 6, 20)
    return fe.forecast_rows(names, truth, score, score > 0, split)


def make_events():
    """One C5 flare of region 1924 (first of the test regions) at 10:30, one C5 long before."""
    times = np.array(["2013-12-20T00:00:00", "2014-01-01T10:30:00", "2014-02-01T00:00:00"], "datetime64[s]")
    return EventList(times, np.array(["1924"] * 3), np.array(["C5.0"] * 3), np.full(3, 5e-6), times)


def evaluate(rows, events=None, **settings):
    rows, calibration = fe.calibrate(rows)
    return fe.evaluate_forecast(rows, "linear SVM", "decision at 0", calibration, "C1.0", events, draws=50, **settings)


def test_rows_take_region_and_time_from_the_name():
    rows = make_rows()
    assert rows["region"].iloc[0] == "1900" and rows["time"].iloc[1] == np.datetime64("2014-01-01T02:00:00")
    name = rows["filename"][0]
    assert fe.forecast_rows(["1900/" + name], [1], [0.1], [1], "test")["filename"][0] == name


@pytest.mark.parametrize(("change", "message"), [
    ({"filenames": ["x.fits"]}, "x.fits: the name gives no region and time"),
    ({"split": "train"}, "split: expected one of"),
    ({"score": [np.nan]}, "score: expected finite"),
])
def test_bad_rows_are_refused(change, message):
    good = {"filenames": image_names(1, 1), "truth": [1], "score": [0.5], "decision": [1], "split": "test"}
    with pytest.raises(ValueError, match=message):
        fe.forecast_rows(**good | change)


def test_calibration_recovers_a_known_sigmoid():
    rng = np.random.default_rng(1)
    score = rng.normal(0, 2, 200_000)
    truth = (rng.random(score.size) < 1 / (1 + np.exp(-(0.7 * score - 1.2)))).astype(int)
    found = fe.fit_calibration(truth, score)
    assert found.slope == pytest.approx(0.7, abs=0.02)
    assert found.intercept == pytest.approx(-1.2, abs=0.03)


def test_calibration_of_separable_scores_stays_finite():
    found = fe.fit_calibration([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0])
    assert 0 < found.slope < 50
    assert found.probability([-2.0])[0] > 0 and found.probability([2.0])[0] < 1


def test_score_that_falls_with_flares_gives_the_constant_rate():
    found = fe.fit_calibration([1, 1, 0, 0, 0, 0], [-3.0, -2.0, 1.0, 2.0, 3.0, 2.0])
    assert found.slope == 0
    assert found.probability([-5.0, 5.0]) == pytest.approx([1 / 3, 1 / 3], abs=0.06)


def test_calibration_needs_two_classes_and_leaves_the_decision_alone():
    rows = make_rows()
    calibrated, calibration = fe.calibrate(rows)
    assert calibration.slope > 0
    assert (calibrated["decision"] == rows["decision"]).all()
    assert calibrated["probability"].between(0, 1).all()
    one_class = rows.assign(**{"class": rows["class"].where(rows["split"] != "validation", 0)})
    calibrated, calibration = fe.calibrate(one_class)
    assert calibration is None and calibrated["probability"].isna().all()


def test_the_test_rows_choose_nothing():
    rows = make_rows()
    changed = rows.copy()
    changed.loc[changed["split"] == "test", "class"] ^= 1
    changed.loc[changed["split"] == "test", "score"] *= -3
    one, other = evaluate(rows), evaluate(changed)
    for name in ("climatology", "validation_threshold", "calibration"):
        assert one[name] == other[name]
    assert one["splits"]["test"] != other["splits"]["test"]
    assert str(one["splits"]["training"]) == str(other["splits"]["training"])


def test_rows_of_the_table():
    rows = make_rows()
    report = evaluate(rows, make_events())
    for split in fe.SPLITS:
        part, forecasts = rows[rows["split"] == split], report["splits"][split]["forecasts"]
        assert list(forecasts) == ["linear SVM, decision at 0", "linear SVM, threshold chosen on validation",
                                   "climatology", "persistence 24 h", "persistence 48 h"]
        assert forecasts["linear SVM, decision at 0"]["TSS"] == skill_scores(part["class"], part["decision"])["TSS"]
        assert forecasts["climatology"]["TSS"] == 0
        assert report["splits"][split]["images"] == len(part)
    assert report["splits"]["training"]["forecasts"]["climatology"]["BSS"] == pytest.approx(0)
    validation = report["splits"]["validation"]["forecasts"]
    assert (validation["linear SVM, threshold chosen on validation"]["TSS"]
            >= validation["linear SVM, decision at 0"]["TSS"])


def test_persistence_row_counts_the_region_s_past_flares():
    rows = make_rows()
    test = rows[rows["split"] == "test"]
    flared = (test["region"] == "1924") & (test["time"] >= np.datetime64("2014-01-01T10:30:00"))
    day = flared & (test["time"] < np.datetime64("2014-01-02T10:30:00"))
    forecasts = evaluate(rows, make_events())["splits"]["test"]["forecasts"]
    assert forecasts["persistence 24 h"]["TPR"] == skill_scores(test["class"], day)["TPR"]
    assert forecasts["persistence 48 h"]["TNR"] == skill_scores(test["class"], flared)["TNR"]
    assert "AUC" not in forecasts["persistence 24 h"]


def test_without_an_event_list_persistence_is_not_available():
    report = evaluate(make_rows())
    assert report["splits"]["test"]["forecasts"]["persistence 48 h"] == "not available"
    assert report["images_outside_event_list"] is None


def test_images_that_the_event_list_cannot_cover_are_counted():
    rows = make_rows()
    late = replace(make_events(), time=make_events().time + np.timedelta64(3650, "D"))
    assert evaluate(rows, make_events())["images_outside_event_list"] == 0
    assert evaluate(rows, late)["images_outside_event_list"] == len(rows)


@pytest.mark.parametrize("left_out", ["validation", "test", "training"])
def test_an_empty_split_defines_nothing(left_out):
    report = evaluate(make_rows().query("split != @left_out"), make_events())
    for name, forecast in report["splits"][left_out]["forecasts"].items():
        assert np.isnan(forecast["TSS"]), name
    own = report["splits"]["test" if left_out != "test" else "training"]["forecasts"]["linear SVM, decision at 0"]
    assert np.isfinite(own["TSS"])
    if left_out == "validation":
        assert np.isnan(report["validation_threshold"]) and report["calibration"] is None and np.isnan(own["BSS"])
    if left_out == "training":
        assert np.isnan(report["climatology"]) and np.isnan(own["BSS"]) and np.isfinite(own["Brier"])
