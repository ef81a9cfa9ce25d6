"""Comparison of forecasts: known scores, what a file may lack, subsets, thresholds from validation alone."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier_SVM import Compare_Forecasts as compare
from classifier_SVM.comparison_report import COLUMNS, comparison_figure, comparison_text
from classifier_SVM.forecast_comparison import compare_forecasts
from classifier_SVM.forecast_files import Forecast, check_origin, read_forecast, read_images
from general_code.event_list import event_line
from general_code.flares import persistence, read_event_list
from general_code.image_names import dataset_name
from general_code.region_splits import RegionLists
from general_code.skill_scores import skill_scores
from general_code.stage_files import UserError

pytestmark = pytest.mark.usefixtures("few_regions")

SCRIPT = Path(compare.__file__)
LISTS = RegionLists(("1003", "1004", "1007"), ("1002", "1005"), ("1000", "1001", "1006"))
FLARES = {"1000": [(30, "C2.0"), (45, "C1.5"), (60, "C2.0")], "1002": [(20, "C5.0"), (60, "M1.0")],
          "1003": [(30, "C3.0"), (40, "M2.0")], "1004": [(50, "C1.0")], "1006": [(10, "M5.0"), (70, "C9.9")]}
DAY = np.datetime64("2014-03-01", "s")


def hour(n):
    """Return the time so many hours after the start."""
    return DAY + np.timedelta64(3600 * n, "s")


@pytest.fixture
def place(tmp_path):
    """A folder with labels, lists and an event list of eight regions, an image every 4 h for 4 days."""
    lines = []
    for number in range(1000, 1008):
        region = str(number)
        for n in range(0, 96, 4):
            following = [name for t, name in FLARES.get(region, []) if 0 < t - n < 24]
            largest = max(following, key=lambda name: ("CM".index(name[0]), float(name[1:])), default="0")
            lines.append(f"{dataset_name(region, hour(n), 1, 'fits')},{largest}\n")
    data = tmp_path / "data"
    data.mkdir()
    (data / "Labels.txt").write_text("".join(lines))
    for name, members in (("Test_Data", LISTS.test), ("Validation_data", LISTS.validation),
                          ("Train_Data", LISTS.training)):
        (data / f"List_of_AR_in_{name}_by_AR.csv").write_text("\n".join(members) + "\n")
    events = sorted((hour(t), region, name) for region, flares in FLARES.items() for t, name in flares)
    (data / "eventList.txt").write_text("".join(f"{event_line(*event)}\n" for event in events))
    return tmp_path


@pytest.fixture
def images(place):
    return read_images(place / "data" / "Labels.txt", ("C1.0", "M1.0"), LISTS)[0]


def forecast(images, name="mine", size="C1.0", noise=0.0, decision=True):
    """A forecast that is right up to some noise."""
    truth = (images["peak_flux"] >= (1e-6 if size == "C1.0" else 1e-5)).astype(float)
    values = np.clip(0.1 + 0.8 * truth + noise * np.random.default_rng(0).normal(size=len(truth)), 0, 1)
    rows = pd.DataFrame({"probability": values, "decision": (values > 0.5).astype(float) if decision else np.nan})
    return Forecast(name, size, rows, decision)


def write_predictions(path, images, **options):
    """Write a forecast as another user's program would: bare names, PNG, decision missing."""
    rows = forecast(images, **options).rows
    columns = ["probability", "decision"] if options.get("decision", True) else ["probability"]
    table = rows[columns].set_axis([f"1003/{stem}.PNG" for stem in rows.index]).rename_axis("filename")
    table.to_csv(path)


def rows_of(rows, subset="all"):
    return {row["forecast"]: row for row in rows if row["subset"] == subset}


def run(place, *arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], cwd=place, capture_output=True, text=True)


# ---------------------------------------------------------------------------- scores


def test_scores_of_every_row_are_those_of_the_definitions(place, images):
    events = read_event_list(place / "data" / "eventList.txt")
    rows = rows_of(compare_forecasts(images, [forecast(images, noise=0.4)], "C1.0", events, draws=50).rows)
    assert list(rows) == ["climatology", "persistence 24 h", "persistence 48 h", "mine"]
    test = images[images["split"] == "test"]
    truth = (test["peak_flux"] >= 1e-6).astype(int).to_numpy()
    mine = forecast(images, noise=0.4).rows.loc[test.index]
    expected = skill_scores(truth, mine["decision"].astype(int))
    assert rows["mine"]["TSS"] == expected["TSS"] and rows["mine"]["HSS"] == expected["HSS"]
    frequency = (images.loc[images["split"] == "training", "peak_flux"] >= 1e-6).mean()
    brier, reference = np.mean((mine["probability"] - truth) ** 2), np.mean((frequency - truth) ** 2)
    assert rows["mine"]["BSS"] == pytest.approx(1 - brier / reference)
    assert rows["climatology"]["TSS"] == 0 and rows["climatology"]["BSS"] == 0 and rows["climatology"]["AUC"] == 0.5
    assert rows["persistence 24 h"]["AUC"] is None and rows["persistence 24 h"]["BSS"] is None
    assert rows["mine"]["TSS_gain"] == pytest.approx(expected["TSS"] - rows[rows["mine"]["baseline"]]["TSS"])
    assert rows["mine"]["TSS_low"] <= rows["mine"]["TSS"] <= rows["mine"]["TSS_high"]


def test_the_same_forecast_twice_differs_by_nothing(place, images):
    events = read_event_list(place / "data" / "eventList.txt")
    twin = pd.DataFrame({"probability": np.nan, "decision": np.nan}, index=images.index)
    for hours in (24, 48):
        twin["decision"] = persistence(images["region"], images["time"].to_numpy(), events, hours, "C1.0").astype(float)
        rows = rows_of(compare_forecasts(images, [Forecast("twin", "C1.0", twin, True)], "C1.0", events, draws=50).rows)
        if rows["twin"]["baseline"] == f"persistence {hours} h":
            assert [rows["twin"][f"TSS_gain{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]
            return
    pytest.fail("neither of the persistence rows is the baseline")


def test_state_changes_are_told_by_the_past_24_hours(place, images):
    events = read_event_list(place / "data" / "eventList.txt")
    rows = compare_forecasts(images, [forecast(images)], "C1.0", events, draws=20).rows
    first, last = rows_of(rows, "first flare"), rows_of(rows, "last flare")
    assert first["mine"]["images"] + last["mine"]["images"] == rows_of(rows)["mine"]["images"] == 3 * 24
    # flares at 30 h and 40 h (1003) and 50 h (1004), images every 4 h: 32..60 and 52..72 follow one within 24 h
    assert last["mine"]["images"] == 8 + 6
    assert last["mine"]["flaring_images"] == 2, "at 32 h and 36 h region 1003 still has the flare at 40 h before it"
    assert first["mine"]["flaring_images"] == 6 + 6
    assert first["persistence 24 h"]["TSS"] == 0 and last["persistence 24 h"]["TSS"] == 0


def test_a_threshold_comes_from_validation_alone(images):
    mine = forecast(images, noise=0.3, decision=False)
    before = rows_of(compare_forecasts(images, [mine], "C1.0", None, draws=5).rows)["mine"]
    assert before["decision_rule"].startswith("threshold 0.") and before["decision_rule"].endswith("validation")
    changed = mine.rows.copy()
    outside = (images["split"] != "validation").to_numpy()
    changed.loc[outside, "probability"] = 1 - changed.loc[outside, "probability"]
    after = rows_of(compare_forecasts(images, [mine._replace(rows=changed)], "C1.0", None, draws=5).rows)["mine"]
    assert after["decision_rule"] == before["decision_rule"]
    assert after["TSS"] != before["TSS"]


def test_large_flares_have_the_rule_of_the_small_ones_beside_them(place, images):
    events = read_event_list(place / "data" / "eventList.txt")
    rows = compare_forecasts(images, [forecast(images, size="M1.0")], "M1.0", events, ("C1.0",), draws=5).rows
    assert list(rows_of(rows))[3:5] == ["a flare >= C1.0 in the past 24 h", "a flare >= C1.0 in the past 48 h"]


def test_an_empty_probability_costs_AUC_and_BSS_only(images):
    mine = forecast(images)
    mine.rows.loc[images.index[images["split"] == "test"][3], "probability"] = np.nan
    row = rows_of(compare_forecasts(images, [mine], "C1.0", None, draws=5).rows)["mine"]
    assert row["AUC"] is None and row["BSS"] is None and row["TSS"] == 1


def test_images_that_one_forecast_lacks_are_left_out_for_all(images):
    mine, other = forecast(images), forecast(images, "other")
    missing = images.index[images["split"] == "test"][:5]
    other = other._replace(rows=other.rows.drop(missing))
    rows, _, lacking = compare_forecasts(images, [mine, other], "C1.0", None, draws=5)
    assert lacking == {"mine": 0, "other": 5}
    assert {row["images"] for row in rows if row["subset"] == "all"} == {3 * 24 - 5}


def test_without_events_persistence_and_subsets_are_not_available(images):
    found = compare_forecasts(images, [forecast(images)], "C1.0", None, draws=5)
    assert rows_of(found.rows)["persistence 24 h"]["TSS"] == "not available"
    assert rows_of(found.rows)["mine"]["baseline"] == "climatology", "no rule was tried"
    assert list(rows_of(found.rows, "first flare")) == ["not available"]
    text = comparison_text(found)
    assert "| persistence 24 h | the rule itself | not available | not available | - | - | - |" in text
    assert "not available without an event list" in text
    comparison_figure(found).canvas.draw()


def test_one_class_only_is_not_defined(images):
    quiet = images[(images["split"] != "test") | (images["peak_flux"] == 0)]
    row = rows_of(compare_forecasts(quiet, [forecast(quiet)], "C1.0", None, draws=5).rows)["mine"]
    assert np.isnan(row["TSS"]) and np.isnan(row["AUC"])


# ---------------------------------------------------------------------------- files


@pytest.mark.parametrize("text, message", [
    ("filename,prob\na,1\n", "no column probability"),
    ("filename,probability\n", "no row"),
    ("filename,probability\na.fits,0.5\nb.fits,1.5\n", "line 3: probability '1.5' is not from 0 to 1"),
    ("filename,probability\na.fits,much\n", "line 2: probability 'much'"),
    ("filename,probability,decision\na.fits,0.5,2\n", "line 2: decision '2' is not 0 or 1"),
    ("filename,probability\na.fits,0.5\n1003/a.png,0.5\n", "line 3: a second row of a"),
])
def test_a_faulty_file_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_forecast(f"mine={tmp_path / 'p.csv'}", ("C1.0",))


@pytest.mark.parametrize("setting, message", [("p.csv", "is not like"), ("mine=nowhere.csv", "found nothing"),
                                              ("mine@X1.0=p.csv", "flare_sizes has C1.0, M1.0")])
def test_a_faulty_setting_is_named(setting, message):
    with pytest.raises(UserError, match=message):
        read_forecast(setting, ("C1.0", "M1.0"))


def test_a_file_without_decision_and_with_gaps_is_read(tmp_path):
    text = "\ufefffilename, probability ,other\n1003/X.PNG,0.25,a\ny.fits,,b\n"
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    mine = read_forecast(f"mine@M1.0={tmp_path / 'p.csv'}", ("C1.0", "M1.0"))
    assert mine.flare_size == "M1.0" and not mine.has_decision
    assert mine.rows["probability"].tolist()[0] == 0.25 and np.isnan(mine.rows["probability"].iloc[1])
    assert mine.rows.index.tolist() == ["X", "y"]


@pytest.mark.parametrize("text, message", [
    ("1003_hmi.M_720s.20140301_000000_TAI.1.magnetogram.fits,1\n", "0 and 1 only"), ("some.fits,0\n", "no line"),
    ("1003_hmi.M_720s.20140301_000000_TAI.1.magnetogram.fits,Q2\n", "label_file: no line"),
])
def test_labels_that_give_no_truth_are_refused(tmp_path, text, message):
    (tmp_path / "Labels.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_images(tmp_path / "Labels.txt", ("C1.0",), LISTS)


def test_labels_made_at_a_larger_size_are_refused(place):
    (place / "data" / "Labels.txt.json").write_text('{"settings": {"flare_size": "M1.0"}}')
    with pytest.raises(UserError, match="C1.0 is below M1.0"):
        read_images(place / "data" / "Labels.txt", ("C1.0", "M1.0"), LISTS)


# ---------------------------------------------------------------------------- the script


def test_the_script_compares_the_files_of_any_user(place, images):
    write_predictions(place / "a.csv", images, noise=0.3)
    write_predictions(place / "b.csv", images, noise=0.5, decision=False)
    write_predictions(place / "m.csv", images, size="M1.0")
    result = run(place, "--predictions", "good=a.csv", "other=b.csv", "large@M1.0=m.csv", "--bootstrap-samples", 50)
    assert result.returncode == 0, result.stderr
    with (place / "results" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [r["forecast"] for r in rows if (r["flare_size"], r["subset"]) == ("C1.0", "all")][3:] == ["good", "other"]
    assert [r["decision_rule"] for r in rows if r["forecast"] == "good"] == ["decision of the file"] * 3
    assert all("validation" in r["decision_rule"] for r in rows if r["forecast"] == "other")
    assert all(r[name] for r in rows for name in COLUMNS), "no cell is empty"
    assert (place / "results" / "comparison.png").stat().st_size > 10000
    with (place / "results" / "comparison_differences.csv").open(newline="") as file:
        pairs = [(r["flare_size"], r["subset"], r["forecast"], r["against"]) for r in csv.DictReader(file)]
    assert pairs[0] == ("C1.0", "all", "other", "good") and all(size == "C1.0" for size, *_ in pairs)
    assert "**>= M1.0, all test images**" in (place / "results" / "comparison.md").read_text()
    first = (place / "results" / "comparison.csv").read_bytes()
    run(place, "--predictions", "good=a.csv", "other=b.csv", "large@M1.0=m.csv", "--bootstrap-samples", 50)
    assert (place / "results" / "comparison.csv").read_bytes() == first


@pytest.mark.parametrize("settings, message", [
    ({"predictions": ("climatology=a.csv",)}, "taken"),
    ({"comparison_file": Path("a.txt")}, "ends in .csv"),
    ({"flare_sizes": ("C1.0", "C1.0")}, "different sizes"),
    ({"flare_sizes": ("C1.0", "Q")}, "flare_sizes: "),
    ({"comparison_file": Path("a.csv")}, "is an input"),
    ({"test_ar_list": Path("x"), "validation_ar_list": Path("y"), "train_ar_list": Path("z")}, "lists of regions"),
    ({"predictions": ("x=b.csv",)}, "no test image has all"),
    ({"seed": -1}, "seed from 0, got"), ({"event_list": Path("data")}, "'data' is a folder"),
])
def test_mistakes_end_in_one_line(place, images, monkeypatch, settings, message):
    monkeypatch.chdir(place)
    write_predictions(place / "a.csv", images)
    (place / "b.csv").write_text("filename,probability\nother.fits,0.5\n")
    with pytest.raises(SystemExit, match=message) as end:
        compare.main(compare.UserDefinitions(**({"predictions": ("x=a.csv",)} | settings)))
    assert "\n" not in str(end.value)


def test_a_file_whose_training_images_are_tested_is_refused(place, images):
    rows = forecast(images).rows.assign(split=images["split"])
    assert check_origin(Forecast("mine", "C1.0", rows, True), images) == 0
    rows.loc[images.index[images["region"] == "1004"], "split"] = "training"
    with pytest.raises(UserError, match="24 of the 72 test images are no test images of the file .*is training"):
        check_origin(Forecast("mine", "C1.0", rows, True), images)


def test_a_file_of_another_flare_size_is_noticed(place, images, monkeypatch, capsys):
    monkeypatch.chdir(place)
    observed = (images["peak_flux"] >= 1e-6).astype(int).rename("class")
    test = images["split"] == "test"
    forecast(images).rows.join(observed).rename_axis("filename").to_csv("c1.csv")
    compare.main(compare.UserDefinitions(predictions=("x=c1.csv",), bootstrap_samples=2))
    assert "ATTENTION" not in capsys.readouterr().out
    compare.main(compare.UserDefinitions(predictions=("x@M1.0=c1.csv",), bootstrap_samples=2))
    differing = int((test & (images["peak_flux"] >= 1e-6) & (images["peak_flux"] < 1e-5)).sum())
    assert differing and f"differs from the labels at M1.0 in {differing:,} test images" in capsys.readouterr().out


def test_an_output_is_never_an_input(place, images, monkeypatch):
    monkeypatch.chdir(place)
    write_predictions(Path("c_differences.csv"), images)
    with pytest.raises(SystemExit, match="c_differences.csv' is an input of this stage"):
        compare.main(compare.UserDefinitions(predictions=("mine=c_differences.csv",), comparison_file=Path("c.csv")))


def test_the_figure_says_how_many_forecasts_are_better(place, images):
    events = read_event_list(place / "data" / "eventList.txt")
    poor = forecast(images, "poor")
    poor.rows["decision"] = 1 - poor.rows["decision"]
    both = [forecast(images), poor]
    found = compare_forecasts(images, both, "C1.0", events, draws=50)
    title = comparison_figure(found.subset("all")).axes[0].get_title()
    assert "1 of 2 forecasts have a TSS surely above persistence" in title
    alone = compare_forecasts(images[images["split"] == "test"], [forecast(images)], "C1.0", None, draws=5)
    assert "no baseline to compare with" in comparison_figure(alone.subset("all")).axes[0].get_title()
