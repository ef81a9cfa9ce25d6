"""The script that compares forecasts: its outputs, the truth from labels, files that contradict it, settings."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from classifier_SVM import Compare_Forecasts as compare
from classifier_SVM.comparison.forecasts import COLUMNS
from general_code.evaluation import splits
from general_code.noaa.event_list import event_line
from general_code.stage.files import UserError
from general_code.stage.run import StageRun
from tests.classifier_SVM.comparison import test_full_disk as disk
from tests.classifier_SVM.comparison.test_forecasts import EVENTS, IMAGES, IN_SPLIT, SPLITS, forecast

pytestmark = pytest.mark.usefixtures("few_regions")

LISTS = splits.RegionLists(**{split: tuple(map(str, regions)) for split, regions in SPLITS.items()})
LABELS = Path("data/Labels.txt")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with labels, lists of regions and an event list."""
    monkeypatch.chdir(tmp_path)
    LABELS.parent.mkdir()
    LABELS.write_text("".join(f"{image}.fits,{name}\n" for image, name in IMAGES["class"].items()))
    for split, regions in LISTS.items():
        (LABELS.parent / splits.LISTS[split]).write_text("\n".join(regions) + "\n")
    flares = zip(EVENTS.time, EVENTS.region, EVENTS.flare_class, strict=True)
    (LABELS.parent / "eventList.txt").write_text("".join(f"{event_line(*flare)}\n" for flare in flares))
    return tmp_path


def read_images():
    return compare.read_images(LABELS, ("C1.0", "M1.0"), LISTS, StageRun(io.StringIO()))


def write_predictions(path, rows):
    """Write a forecast as another user's program would: folders, PNG, no decision where there is none."""
    rows.dropna(axis="columns").set_axis([f"1003/{stem}_224.PNG" for stem in rows.index]).rename_axis(
        "filename").to_csv(path)


def test_the_script_compares_the_files_of_any_user(place):
    write_predictions("a.csv", forecast(noise=0.3).rows)
    write_predictions("b.csv", forecast(noise=0.5, decision=False).rows)
    write_predictions("m.csv", forecast(size="M1.0").rows)
    command = [sys.executable, compare.__file__, "--predictions", "good=a.csv", "other=b.csv", "large@M1.0=m.csv",
               "--bootstrap-samples", "50"]
    # as from a notebook, whose backend is not installed
    notebook = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    result = subprocess.run(command, capture_output=True, text=True, env=notebook)
    assert result.returncode == 0, result.stderr
    assert "384 images of 8 regions" in result.stdout and "without a label" not in result.stdout
    assert "Regions of each split: data/List_of_AR_in_Test_Data_by_AR.csv, " in result.stdout
    rows, pairs = (pd.read_csv(f"results/comparison{end}.csv", dtype="str", keep_default_na=False)
                   for end in ("", "_differences"))
    assert tuple(rows) == COLUMNS and (rows != "").all(axis=None), "no cell is empty"
    all_images = rows[(rows["flare_size"] == "C1.0") & (rows["subset"] == "all")]
    assert all_images["forecast"].tolist()[5:] == ["good", "other"]
    assert rows.loc[rows["forecast"] == "good", "decision_rule"].tolist() == ["decision of the file"] * 3
    assert rows.loc[rows["forecast"] == "other", "decision_rule"].str.contains("validation").all()
    assert pairs.iloc[0, :4].tolist() == ["C1.0", "all", "other", "good"] and (pairs["flare_size"] == "C1.0").all()
    assert Path("results/comparison.png").stat().st_size > 10000
    assert "**>= M1.0, all test images**" in Path("results/comparison.md").read_text()
    first = Path("results/comparison.csv").read_bytes()
    subprocess.run(command, capture_output=True, env=notebook)
    assert Path("results/comparison.csv").read_bytes() == first


def test_the_truth_comes_from_the_labels(place):
    columns = ["region", "time", "split", "peak_flux"]
    pd.testing.assert_frame_equal(read_images()[columns], IMAGES[columns], check_names=False)


@pytest.mark.parametrize("name, text, message", [
    ("Labels.txt", f"{IMAGES.index[0]}.fits,1\n", "0 and 1 only"), ("Labels.txt", "some.fits,0\n", "no line"),
    ("Labels.txt", f"0001_{IMAGES.index[0][5:]}.fits,0\n", "none of the 1 region of the images is in the lists"),
    ("Labels.txt", f"{IMAGES.index[0]}.fits,Q2\n", "label_file: no line"),
    ("Labels.txt.json", '{"settings": {"flare_size": "M1.0"}}', "C1.0 is below M1.0, at .*; set --flare-sizes M1.0"),
])
def test_labels_that_give_no_truth_are_refused(place, name, text, message):
    (LABELS.parent / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_images()


def test_the_usual_sizes_below_that_of_the_labels_are_skipped_and_named_ones_are_not(place, capsys):
    sidecar = LABELS.parent / "Labels.txt.json"
    for size, known in (("M1.0", "M1.0"), ("M5.0", "M5.0"), ("C1.0", None)):
        sidecar.write_text(json.dumps({"settings": {"flare_size": size}}))
        user, skipped = compare.with_known_sizes(compare.UserDefinitions())
        assert user.flare_sizes == ((known,) if known else ("C1.0", "M1.0")) and bool(skipped) == bool(known)
        named = compare.UserDefinitions(flare_sizes=("C1.0",))
        assert compare.with_known_sizes(named) == (named, [])
    sidecar.write_text('{"settings": {"flare_size": "M1.0"}}')
    write_predictions("a.csv", forecast("M1.0").rows)
    compare.main(compare.UserDefinitions(predictions=("mine=a.csv",), bootstrap_samples=20))
    assert "Flares >= C1.0 are skipped: the labels are of larger ones only" in capsys.readouterr().out
    assert set(pd.read_csv("results/comparison.csv")["flare_size"]) == {"M1.0"}


@pytest.mark.parametrize("settings, message", [
    ({"comparison_file": "a.txt"}, "comparison_file: expected a name that ends in .csv, got 'a.txt'"),
    ({"flare_sizes": ("C1.0", "C1.0")}, "flare_sizes: expected different sizes like C1.0 M1.0, got C1.0 C1.0"),
    ({"flare_sizes": ("C1.0", "Q")}, "flare_sizes: .*Q"), ({"flare_sizes": ""}, "flare_sizes: expected"),
    ({"seed": -1}, "seed: expected a number from 0, got -1"),
    ({"predictions": ("climatology=a.csv",)}, "taken"), ({"predictions": ("rate of mine=a.csv",)}, "taken"),
    ({"predictions": ("truth=a.csv",)}, "taken"),
    ({"disk_forecasts": ("office=a.csv",)}, "events_dir: expected a folder at 'data/Events'"),
    ({"disk_forecasts": ("office=n.csv",), "events_dir": "."}, "disk_forecasts: expected a file at 'n.csv'"),
    ({"disk_forecasts": ("office=d.csv",), "events_dir": ""}, "events_dir"),
    ({"disk_forecasts": ("x=d.csv",), "events_dir": "."}, "disk_forecasts: the name 'x' is taken"),
    ({"disk_forecasts": ("office=d.csv", "office=d.csv"), "events_dir": "."}, "disk_forecasts: the name 'office' is"),
    ({"disk_forecasts": ("office=a.csv",), "events_dir": "."}, "a.csv, line 1: column issue_time and"),
    ({"disk_forecasts": ("office=d.csv",), "flare_sizes": ("X1.0",), "events_dir": "."}, "flares >= X1.0 over 24 h"),
    ({"disk_forecasts": ("office=d.csv",), "events_dir": "."}, "1: day not after the training and"),
    ({"comparison_file": "a.csv"}, "a.csv' is an input of this stage"),
    ({"predictions": "x=c_differences.csv", "comparison_file": "c.csv"}, "c_differences.csv' is an input"),
    ({"test_ar_list": "x", "label_file": "none.txt", "predictions": ("a=1.csv", "b=2.csv")},
     "label_file: .* 'none.txt' .*predictions: .*'1.csv' .*predictions: .*'2.csv' .*test_ar_list: .* at 'x'"),
    ({"predictions": ("x=b.csv",)}, "no test image has all"),
    ({"event_list": "data"}, "event_list: expected a file at 'data'"),
])
def test_errors_end_in_one_line(place, settings, message, monkeypatch):
    write_predictions("a.csv", forecast().rows)
    Path("b.csv").write_text("filename,probability\nother.fits,0.5\n")
    Path("d.csv").write_text("issue_time,window_hours,flare_size,probability\n2014-03-05T00:00,24,C1.0,10\n")
    monkeypatch.setattr(compare, "read_solar_flares", lambda *_: disk.FLARES)
    with pytest.raises((SystemExit, UserError), match=message) as end:
        compare.main(compare.UserDefinitions(**({"predictions": ("x=a.csv",)} | settings)))
    assert "\n" not in str(end.value)


def test_official_forecasts_are_compared_with_that_of_the_whole_disk(place, monkeypatch):
    names = [f"{name}.fits" for name in disk.IMAGES.index]
    LABELS.write_text("".join(f"{name},0\n" for name in names))
    for split, regions in disk.IMAGES.groupby("split")["region"]:
        if split:
            (LABELS.parent / splits.LISTS[split]).write_text("\n".join(sorted(set(regions))))
    (LABELS.parent / splits.LISTS["validation"]).write_text("")
    disk.FORECAST.rows.rename_axis("filename").to_csv("mine.csv")
    rows = disk.official().rows.assign(flare_size="M1.0")
    rows.to_csv("office.csv", index=False)
    monkeypatch.setattr(compare, "read_solar_flares", lambda *_: disk.FLARES)
    compare.main(compare.UserDefinitions(
        flare_sizes=("C1.0", "M1.0"), predictions=("mine@M1.0=mine.csv",), disk_forecasts=("office=office.csv",),
        events_dir=".", event_list="", bootstrap_samples=50))
    table = pd.read_csv("results/comparison_disk.csv")
    expected = disk.compare(draws=50)
    expected = expected.rows + expected.differences
    assert table["forecast"].tolist() == [row["forecast"] for row in expected]
    assert table["BSS"].tolist() == pytest.approx([row["BSS"] for row in expected], abs=1e-6)
    text = Path("results/comparison.md").read_text()
    assert text.startswith("Split by region: lists data/") and "\n\nForecasts of a flare anywhere on the disk" in text
    assert "\n\nScores of the test images" in text and Path("results/comparison_disk.png").exists()


def test_official_forecasts_of_other_classes_than_the_labels_are_noticed():
    log = io.StringIO()
    for scale in ("as_reported", "modern"):
        compare.report_official([disk.official()], scale, StageRun(log))
    assert log.getvalue().count("office: 639 forecasts, probabilities: percent") == 2
    assert log.getvalue().count("ATTENTION: the labels have the modern scale, but office forecast classes as") == 1


def test_a_file_whose_training_images_are_tested_is_refused():
    mine, run = forecast(), StageRun(io.StringIO())
    mine.rows["split"] = IMAGES["split"]
    compare.check_forecast(mine, IMAGES, run)
    assert not run.counts and not run.exclusions
    mine.rows.loc[IMAGES["region"] == "2021", "split"] = "training"
    with pytest.raises(UserError, match="48 of the 384 test images are no test images of the file .*is training"):
        compare.check_forecast(mine, IMAGES, run)


def test_a_network_of_random_weights_is_named_as_such_everywhere(place, capsys):
    write_predictions("predictions_VGG_x.csv", forecast().rows)
    Path("VGG_model_x.keras.json").write_text('{"counts": {"scores_mean_nothing": true}}')
    compare.main(compare.UserDefinitions(predictions=("VGG=predictions_VGG_x.csv",), bootstrap_samples=2))
    said = capsys.readouterr().out
    assert "ATTENTION: VGG, RANDOM WEIGHTS: its scores mean nothing" in said and "of any labelled size" in said
    for end in ("csv", "md"):
        assert "VGG, RANDOM WEIGHTS" in Path(f"results/comparison.{end}").read_text()


def test_a_file_of_another_flare_size_is_noticed(place, capsys):
    flux = IMAGES["peak_flux"]
    write_predictions("c1.csv", forecast().rows.assign(**{"class": (flux >= 1e-6).astype(int)}))
    compare.main(compare.UserDefinitions(predictions=("x=c1.csv",), bootstrap_samples=2))
    assert "ATTENTION" not in capsys.readouterr().out
    compare.main(compare.UserDefinitions(predictions=("x@M1.0=c1.csv",), bootstrap_samples=2))
    differing = int((IN_SPLIT["test"] & (flux >= 1e-6) & (flux < 1e-5)).sum())
    assert differing and f"differs from the labels at M1.0 in {differing:,} test images" in capsys.readouterr().out
