"""The judge of all forecasts: calibration, empty splits, baselines; the test set chooses nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from general_code import forecast_evaluation as fe
from general_code.flares import EventList, persistence
from general_code.region_bootstrap import paired_bootstrap
from general_code.skill_scores import roc_auc, skill_scores

pytestmark = pytest.mark.usefixtures("few_regions")

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


@pytest.mark.parametrize(("size", "hours", "text"), [
    ("C1.0", 24.0, "C1.0 or larger within 24 h"), ("M1.0", 0.5, "M1.0 or larger within 0.5 h"),
    ("C1.0", np.nan, "C1.0 or larger"), ("", 24.0, "any labelled size within 24 h"),
])
def test_what_is_forecast_in_words(size, hours, text):
    assert fe.flare_text(size, hours) == text


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


def test_area_under_the_curve_needs_no_calibration():
    """Without validation rows there are no probabilities, but the score still ranks the images."""
    rows = make_rows().query("split != 'validation'")
    test = rows[rows["split"] == "test"]
    own = evaluate(rows)["splits"]["test"]["forecasts"]["linear SVM, decision at 0"]
    assert own["AUC"] == roc_auc(test["class"], test["score"])
    low, high = own["intervals"]["AUC"]
    assert low < own["AUC"] < high and np.isnan(own["Brier"]) and np.isnan(own["intervals"]["Brier"][0])


@pytest.mark.parametrize("split", fe.SPLITS)
def test_differences_to_persistence_are_paired(split):
    rows, events = make_rows(), make_events()
    part, judged = rows[rows["split"] == split], evaluate(rows, events)["splits"][split]
    found = judged["differences"]
    assert list(found) == ["persistence 24 h", "persistence 48 h"]
    own = judged["forecasts"]["linear SVM, decision at 0"]["TSS"]
    assert found["persistence 24 h"]["TSS"] == own - judged["forecasts"]["persistence 24 h"]["TSS"]
    flared = persistence(part["region"].to_numpy(), part["time"].to_numpy(), events, 24, "C1.0").astype(int)
    expected = paired_bootstrap(part["class"], part["region"], {"decision": part["decision"]}, {"decision": flared},
                                draws=50, seed=0)
    assert found["persistence 24 h"]["intervals"]["TSS"] == expected["TSS"]


def test_remarks_and_horizon_are_kept():
    report = evaluate(make_rows(), remarks=("THIS IS A TRIAL",), window_hours=24.0)
    assert next(iter(report)) == "remarks" and report["remarks"] == ["THIS IS A TRIAL"]
    assert report["flare_window_hours"] == 24.0
    assert report["splits"]["test"]["differences"] == dict.fromkeys(("persistence 24 h", "persistence 48 h"),
                                                                    "not available")


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
