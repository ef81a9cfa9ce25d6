"""The evaluation of all forecasts: calibration, empty splits, baselines; the test set chooses nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from general_code.evaluation import evaluate as fe
from general_code.evaluation.scores import score_forecast, skill_scores
from general_code.images.label_file import FlareTarget
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


def report_of(rows, events=None, target=None, **settings):
    rows, calibration = fe.calibrate(rows)
    return fe.evaluate_forecast(rows, "linear SVM", "decision at 0", calibration, target or FlareTarget("C1.0"), events,
                                **{"draws": 50} | settings)


def make_summaries(rows, classes=("Axx", "Fkc")):
    """Summaries of every region and day, the flaring regions of one class and the others of another."""
    flaring = rows.groupby("region")["class"].mean() > 0.5
    days = pd.date_range("2013-12-31", "2014-01-03").to_numpy("datetime64[s]")
    return pd.DataFrame([{"region": region, "date": day, "issued": day, "mcintosh": classes[int(flares)]}
                         for region, flares in flaring.items() for day in days])


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
    forecasts = one["splits"]["training"]["forecasts"]
    assert forecasts["climatology"]["BSS"] == pytest.approx(0)
    assert np.isnan(forecasts[OWN]["intervals"]["TSS"]).all(), "fitted to them: no interval"


@pytest.mark.parametrize("split", ["test", "validation"])
def test_rows_of_a_split_and_their_paired_differences_to_persistence(split):
    rows, events = make_rows(), make_events()
    part, evaluated = rows[rows["split"] == split], report_of(rows, events)["splits"][split]
    forecasts, found = evaluated["forecasts"], evaluated["differences"]
    assert list(forecasts) == [OWN, CHOSEN, "climatology", *found]
    assert evaluated["images"] == len(part) and forecasts["climatology"]["TSS"] == 0
    assert split != "validation" or forecasts[CHOSEN]["TSS"] >= forecasts[OWN]["TSS"]
    own = forecasts[OWN]["TSS"]
    assert own == skill_scores(part["class"], part["decision"])["TSS"]
    assert list(found) == ["persistence 24 h", "persistence 48 h", fe.COUNT_RATE, fe.CLASS_RATE]
    assert found[fe.CLASS_RATE] == "not available" and {"TSS", "BSS"} < set(found[fe.COUNT_RATE])
    for hours, row in ((24, "persistence 24 h"), (48, "persistence 48 h")):
        flared = persistence(part["region"].to_numpy(), part["time"].to_numpy(), events, hours, "C1.0").astype(int)
        scores = skill_scores(part["class"], flared)
        assert {name: forecasts[row][name] for name in scores} == scores and "AUC" not in forecasts[row]
        assert found[row]["TSS"] == own - scores["TSS"]
        one, other = (score_forecast(part["class"], part["region"], decision, draws=50) for decision in
                      (part["decision"], flared))
        assert found[row]["intervals"]["TSS"] == one.difference(other, "TSS")[1:]


def test_without_an_event_list_persistence_is_not_available_and_remarks_are_kept():
    report = report_of(make_rows(), target=FlareTarget("C1.0", 24.0, 30.0), remarks=("THIS IS A TRIAL",))
    assert next(iter(report)) == "remarks" and report["remarks"] == ["THIS IS A TRIAL"]
    assert report["flare_window_hours"] == 24.0 and report["latency_minutes"] == 30.0 and report["best_rule"] is None
    assert report["splits"]["test"]["forecasts"]["persistence 48 h"] == "not available"
    assert report["images_outside_event_list"] is None
    assert set(report["splits"]["test"]["differences"].values()) == {"not available"}


@pytest.mark.parametrize("missing", ["validation", "test", "training"])
def test_an_empty_split_defines_nothing(missing):
    report = report_of(make_rows().query("split != @missing"), make_events())
    for name, forecast in report["splits"][missing]["forecasts"].items():
        assert forecast == "not available" or np.isnan(forecast["TSS"]), name
    own = report["splits"]["test" if missing != "test" else "validation"]["forecasts"][OWN]
    assert np.isfinite(own["TSS"])
    if missing == "validation":
        assert np.isnan(report["validation_threshold"]) and report["calibration"] is None and np.isnan(own["BSS"])
        assert own["intervals"]["AUC"][0] < own["AUC"] < own["intervals"]["AUC"][1], "the score still ranks the images"
    if missing == "training":
        assert np.isnan(report["climatology"]) and np.isnan(own["BSS"]) and np.isfinite(own["Brier"])


# ---- rules without an image

def columns_of(rows):
    return rows["region"].to_numpy(), rows["time"].to_numpy(), (rows["split"] == "training").to_numpy(), rows["class"]


def test_rules_of_each_size():
    rows, names = make_rows(), ["climatology", "persistence 24 h", "persistence 48 h", fe.COUNT_RATE, fe.CLASS_RATE]
    smaller = [f"a flare >= C1.0 in the past {hours} h" for hours in (24, 48)]
    for size, expected in (("C1.0", names), ("", names), ("B5.0", names), ("M1.0", [*names[:3], *smaller, *names[3:]])):
        found = fe.baselines(*columns_of(rows), target=FlareTarget(size))
        assert list(found) == expected
        assert {name for name, rule in found.items() if rule is None} == set(expected[1:]), "no events, no summaries"
    found = fe.baselines(*columns_of(rows), target=FlareTarget("M1.0"), events=make_events())
    assert not found["persistence 24 h"].decision.any() and found[smaller[0]].decision.any()


def test_nothing_is_fitted_but_on_training_rows():
    rows = make_rows()
    summaries = make_summaries(rows)
    changed = rows.assign(**{"class": rows["class"].where(rows["split"] == "training", 1 - rows["class"])})
    one, other = (fe.baselines(*columns_of(table), FlareTarget("C1.0"), make_events(), summaries)
                  for table in (rows, changed))
    for name, rule in one.items():
        for mine, its in zip(rule, other[name], strict=True):
            assert (mine is None) == (its is None) and np.array_equal(mine, its), name
    empty = fe.baselines(*columns_of(rows.assign(split="test")), FlareTarget("C1.0"), make_events(), summaries)
    assert empty["climatology"] == empty[fe.COUNT_RATE] == empty[fe.CLASS_RATE] == fe.Baseline()


def test_rate_by_number_of_past_flares():
    """Four images after no flare, one flaring; four after 3 flares, three flaring: the logistic fit passes both."""
    number, truth = np.array([0] * 4 + [3] * 4 + [1]), np.array([1, 0, 0, 0, 1, 1, 1, 0, 1])
    training = np.array([True] * 8 + [False])
    rate = fe._count_rate(number, truth, training)
    assert rate[:8] == pytest.approx([0.25] * 4 + [0.75] * 4, abs=1e-3) and rate[8] == pytest.approx(0.5, abs=1e-3)
    assert (fe._count_rate(number, np.zeros(9, int), training) == 0).all(), "one class only"


def test_rare_mcintosh_classes_take_the_rate_of_their_letter():
    classes = pd.Series(["Dko"] * 400 + ["Dai"] + ["Axx"] * 400 + ["", "Fkc"])
    truth = np.array([1, 0] * 200 + [0] + [0] * 400 + [0, 0])
    regions, training = np.repeat("1", len(truth)).astype(object), np.ones(len(truth), bool)
    regions[:] = [str(i // 10) for i in range(len(truth))]
    training[-1] = False
    rate = fe._class_rate(classes, regions, truth, training)
    weight = 5 * 802 / 81  # five regions' images
    letter = (200 + weight * 200 / 802) / (401 + weight)
    assert rate[0] == pytest.approx((200 + weight * letter) / (400 + weight))
    assert rate[400] == pytest.approx(weight * letter / (1 + weight)), "seen once"
    assert rate[-1] == pytest.approx(200 / 802), "never seen: climatology"
    assert rate[401] < 0.05 < rate[-1]


@pytest.mark.parametrize(("region", "time", "expected"), [
    ("1900", "2014-01-02T00:29:59", "Axx"), ("1900", "2014-01-02T00:30:00", "Dko"),  # issued at 00:30
    ("1901", "2014-01-02T05:59:59", ""), ("1901", "2014-01-02T06:00:00", "Fkc"),  # issued late
    ("1900", "2014-03-03T00:00:00", "Dko"), ("1900", "2014-03-04T00:00:00", ""),  # another region's after 60 days
    ("1902", "2014-01-02T12:00:00", ""), ("1900", "NaT", ""), ("1900", "2013-12-31T00:00:00", ""),
])
def test_mcintosh_class_is_that_of_the_last_public_summary(region, time, expected):
    table = pd.DataFrame({"region": ["1900", "1901", "1900", "1902"], "mcintosh": ["Dko", "Fkc", "Axx", None],
                          "date": np.array(["2014-01-02"] * 2 + ["2014-01-01", "2014-01-02"], "datetime64[s]"),
                          "issued": np.array(["NaT", "2014-01-02T06:00", "2014-01-01T00:20", "NaT"], "datetime64[s]")})
    assert list(fe._mcintosh_classes([region], np.array([time], "datetime64[s]"), table)) == [expected]


def test_best_rule_is_chosen_without_the_test_rows():
    rows = make_rows()
    report = report_of(rows, make_events(), summaries=make_summaries(rows))
    assert report["best_rule"] == fe.CLASS_RATE, "it knows the flaring regions"
    assert report["images_outside_event_list"] == 0
    late = replace(make_events(), time=make_events().time + np.timedelta64(3650, "D"))
    assert report_of(rows, late, draws=0)["images_outside_event_list"] == len(rows)
    changed = rows.assign(**{"class": rows["class"].where(rows["split"] != "test", 1 - rows["class"])})
    assert report_of(changed, make_events(), summaries=make_summaries(rows))["best_rule"] == fe.CLASS_RATE
    gain = report["splits"]["test"]["differences"][fe.CLASS_RATE]
    own, rule = (report["splits"]["test"]["forecasts"][name] for name in (OWN, fe.CLASS_RATE))
    assert gain["TSS"] == own["TSS"] - rule["TSS"] and gain["BSS"] == own["BSS"] - rule["BSS"]
    assert own["BSS over flare count"] > 0 and rule["AUC"] > 0.8
    quick = report_of(rows, make_events(), draws=0)["splits"]["test"]
    assert quick["forecasts"][OWN]["TSS"] == own["TSS"] and np.isnan(quick["forecasts"][OWN]["intervals"]["TSS"]).all()


# ---- splits

@pytest.mark.parametrize("spelling", ["Validation_Data_by_AR_png_224.csv", "Validation_data_by_AR_png_224.csv"])
def test_the_file_of_a_split_is_found_in_either_spelling(tmp_path, spelling):
    (tmp_path / spelling).write_text("")
    assert fe.split_file(tmp_path, "validation", "_png_224").samefile(tmp_path / spelling)
    assert fe.split_file(tmp_path, "training") == tmp_path / "Train_Data_by_AR.csv"
