"""The evaluation of all forecasts: calibration, empty splits, baselines; the test set chooses nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from general_code.evaluation import evaluate as fe
from general_code.evaluation.scores import score_forecast, skill_scores
from general_code.noaa.flares import persistence
from tests.general_code.noaa.test_flares import event_list

pytestmark = pytest.mark.usefixtures("few_regions")

START = np.datetime64("2014-01-01T00:00:00")
OWN = "linear SVM, decision at 0"
CHOSEN = "linear SVM, threshold chosen on validation"


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
    return event_list(*((time, "1924", "C5.0") for time in ("2013-12-20", "2014-01-01T10:30", "2014-02-01")))


def report_of(rows, events=None, **settings):
    rows, calibration = fe.calibrate(rows)
    return fe.evaluate_forecast(rows, "linear SVM", "decision at 0", calibration, "C1.0", events, draws=50, **settings)


def test_what_is_forecast_in_words():
    assert fe.flare_text("M1.0", 0.5) == "M1.0 or larger within 0.5 h"
    assert fe.flare_text("C1.0", np.nan) == "C1.0 or larger"
    assert fe.flare_text("", 24.0) == "any labelled size within 24 h"


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
    one, other = report_of(rows), report_of(changed)
    for name in ("climatology", "validation_threshold", "calibration"):
        assert one[name] == other[name]
    assert one["splits"]["test"] != other["splits"]["test"]
    assert str(one["splits"]["training"]) == str(other["splits"]["training"])


@pytest.mark.parametrize("split", fe.SPLITS)
def test_rows_of_a_split_and_their_paired_differences_to_persistence(split):
    rows, events = make_rows(), make_events()
    part, evaluated = rows[rows["split"] == split], report_of(rows, events)["splits"][split]
    forecasts, found = evaluated["forecasts"], evaluated["differences"]
    assert list(forecasts) == [OWN, CHOSEN, "climatology", *found]
    assert evaluated["images"] == len(part) and forecasts["climatology"]["TSS"] == 0
    assert split != "training" or forecasts["climatology"]["BSS"] == pytest.approx(0)
    assert split != "validation" or forecasts[CHOSEN]["TSS"] >= forecasts[OWN]["TSS"]
    own = forecasts[OWN]["TSS"]
    assert own == skill_scores(part["class"], part["decision"])["TSS"]
    assert list(found) == ["persistence 24 h", "persistence 48 h"]
    for hours, row in ((24, "persistence 24 h"), (48, "persistence 48 h")):
        flared = persistence(part["region"].to_numpy(), part["time"].to_numpy(), events, hours, "C1.0").astype(int)
        scores = skill_scores(part["class"], flared)
        assert {name: forecasts[row][name] for name in scores} == scores and "AUC" not in forecasts[row]
        assert found[row]["TSS"] == own - scores["TSS"]
        one, other = (score_forecast(part["class"], part["region"], decision, draws=50) for decision in
                      (part["decision"], flared))
        assert found[row]["intervals"]["TSS"] == one.difference(other, "TSS")[1:]


def test_without_an_event_list_persistence_is_not_available_and_remarks_are_kept():
    report = report_of(make_rows(), remarks=("THIS IS A TRIAL",), window_hours=24.0)
    assert next(iter(report)) == "remarks" and report["remarks"] == ["THIS IS A TRIAL"]
    assert report["flare_window_hours"] == 24.0
    assert report["splits"]["test"]["forecasts"]["persistence 48 h"] == "not available"
    assert report["images_outside_event_list"] is None
    assert report["splits"]["test"]["differences"] == dict.fromkeys(("persistence 24 h", "persistence 48 h"),
                                                                    "not available")


def test_images_that_the_event_list_cannot_cover_are_counted():
    rows = make_rows()
    late = replace(make_events(), time=make_events().time + np.timedelta64(3650, "D"))
    assert report_of(rows, make_events())["images_outside_event_list"] == 0
    assert report_of(rows, late)["images_outside_event_list"] == len(rows)


@pytest.mark.parametrize("missing", ["validation", "test", "training"])
def test_an_empty_split_defines_nothing(missing):
    report = report_of(make_rows().query("split != @missing"), make_events())
    for name, forecast in report["splits"][missing]["forecasts"].items():
        assert np.isnan(forecast["TSS"]), name
    own = report["splits"]["test" if missing != "test" else "training"]["forecasts"][OWN]
    assert np.isfinite(own["TSS"])
    if missing == "validation":
        assert np.isnan(report["validation_threshold"]) and report["calibration"] is None and np.isnan(own["BSS"])
        assert own["intervals"]["AUC"][0] < own["AUC"] < own["intervals"]["AUC"][1], "the score still ranks the images"
    if missing == "training":
        assert np.isnan(report["climatology"]) and np.isnan(own["BSS"]) and np.isfinite(own["Brier"])


# ---- splits

def test_splits_are_reported_and_counted(run, capsys):
    fe.report_splits(["1158", "1158", "1429"], [0, 1, 0], ["training", "training", "test"], run)
    assert capsys.readouterr().out.splitlines() == [
        "training: 1 region, 2 images, 1 with a flare",
        "validation: 0 regions, 0 images, 0 with a flare; no scores",
        "test: 1 region, 1 image, 0 with a flare; one class only: no TSS, HSS or AUC"]
    assert run.counts["training"] == {"regions": 1, "images": 2, "flaring_images": 1}


@pytest.mark.parametrize("spelling", ["Validation_Data_by_AR_png_224.csv", "Validation_data_by_AR_png_224.csv"])
def test_the_file_of_a_split_is_found_in_either_spelling(tmp_path, spelling):
    (tmp_path / spelling).write_text("")
    assert fe.split_file(tmp_path, "validation", "_png_224").samefile(tmp_path / spelling)
    assert fe.split_file(tmp_path, "training") == tmp_path / "Train_Data_by_AR.csv"
