"""Forecasts of single images: what is written, what is refused and why, the figure, models of other kinds."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classifier_SVM import Forecast_AR
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, concatVals
from classifier_SVM.Forecast_AR import UserDefinitions, main
from classifier_SVM.machines import LinearMachine, fit_machine
from classifier_SVM.model_file import FlareModel, current_versions, save_model
from classifier_SVM.scaling import Scaling
from general_code.forecast_evaluation import Calibration
from general_code.magnetograms import write_magnetogram, write_png

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "hmi.M_720s.20110215_000000_TAI.1.magnetogram.fits"


def bipole(strength=800.0, shape=(60, 80)):
    """Two spots of opposite sign on weak noise [G], whole tenths."""
    y, x = np.indices(shape)
    spots = [np.exp(-((x - x0)**2 + (y - shape[0] / 2)**2) / 60) for x0 in (shape[1] / 2 - 7, shape[1] / 2 + 7)]
    noise = np.random.default_rng(0).normal(0, 5, shape)
    return np.rint(10 * (strength * (spots[0] - spots[1]) + noise)) / 10


def write_model(folder, image_format="fits", extra=(), features=FEATURE_NAMES, flare_sources=None):
    """A linear model that forecasts a flare where the unsigned flux is above that of a 500 G bipole."""
    count = len(features) + len(extra)
    middle = concatVals(bipole(500.0)) if features else np.empty(0)
    scale = np.maximum(np.abs(middle), 1.0) * 10
    scaling = Scaling(np.append(middle - scale, np.zeros(len(extra))), np.append(middle + scale, np.ones(len(extra))))
    weights = np.zeros(count)
    weights[len(features) - 1 if features else 0] = 8.0
    model = FlareModel("linear", LinearMachine(weights, -4.0), scaling, tuple(features), tuple(extra),
                       np.full(count, 0.5), Calibration(2.0, -1.0), 0.1, "C1.0", 24.0, image_format,
                       flare_sources or {}, current_versions())
    rows = np.random.default_rng(0).random((50, count))
    save_model(folder / "model", model, fit_machine("linear", rows, np.arange(50) % 2, 1.0, 0))
    return folder / "model.json"


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder of a strong and a weak bipole."""
    monkeypatch.chdir(tmp_path)
    for region, strength in (("1158", 900.0), ("1429", 200.0)):
        Path("images", region).mkdir(parents=True)
        write_magnetogram(Path("images", region, NAME), bipole(strength))
    return Path("images")


def forecast(**settings):
    """Run; return the rows of the CSV by folder."""
    main(UserDefinitions(**{"n_jobs": 1} | settings))
    with Path("results/forecast.csv").open(newline="") as file:
        return {Path(row["filename"]).parent.name: row for row in csv.DictReader(file)}


def test_forecast_of_a_folder(images, tmp_path):
    rows = forecast(model=write_model(tmp_path), images=(images,))
    assert [rows[region]["decision"] for region in ("1158", "1429")] == ["1", "0"]
    assert rows["1158"]["region"] == "1158" and rows["1158"]["time"] == "2011-02-15T00:00:00"
    value = float(rows["1158"]["decision_value"])
    assert float(rows["1158"]["probability"]) == pytest.approx(1 / (1 + np.exp(-(2 * value - 1))))
    assert not Path("results/forecast.png").exists()


def test_one_image_has_a_figure(images, tmp_path):
    forecast(model=write_model(tmp_path), images=(images / "1158" / NAME,))
    assert Path("results/forecast.png").read_bytes().startswith(b"\x89PNG")


def test_figure_of_an_earlier_image_goes_but_never_one_of_the_user(images, tmp_path):
    model = write_model(tmp_path)
    forecast(model=model, images=(images / "1158" / NAME,))
    forecast(model=model, images=(images,))
    assert not Path("results/forecast.png").exists(), "it would stand beside a table that it does not belong to"
    Path("results/forecast.png").write_bytes(b"mine")
    forecast(model=model, images=(images,))
    assert Path("results/forecast.png").read_bytes() == b"mine"


def test_what_is_forecast_and_where_the_decision_lies_are_said(images, tmp_path, capsys):
    forecast(model=write_model(tmp_path), images=(images,))
    said = capsys.readouterr().out
    assert "Forecast: flares of C1.0 or larger within 24 h; decision 1 where the decision value is above 0" in said
    assert "which is at a probability of 0.269: flares, though rare" in said  # 1 / (1 + e)
    assert "2 of 2 images forecast, 1 to flare" in said


def test_models_of_other_versions_are_said_loudly(images, tmp_path, capsys):
    model = write_model(tmp_path)
    content = json.loads(model.read_text())
    content["versions"] |= {"numpy": "0.1", "feature definitions": "0"}
    model.write_text(json.dumps(content))
    forecast(model=model, images=(images,))
    said = capsys.readouterr().out
    assert said.count("ATTENTION: the model was trained with") == 2
    assert f"ATTENTION: the model was trained with numpy 0.1, this is {np.__version__}" in said


def test_model_without_image_features_refuses_the_same_images(images, tmp_path, monkeypatch):
    """Its forecast rests on the archives, but one for an image that is not there, or holds NaN, would mislead."""
    def known(files, names, *rest):
        return np.ones((len(files), 1)), [""] * len(files)

    monkeypatch.setattr(Forecast_AR, "activity_of_images", known)
    model = write_model(tmp_path, features=(), extra=("had_M",), image_format="")
    archives = {"srs_dir": Path("SRS"), "event_list": Path("events.txt")}
    with_nan = bipole()
    with_nan[3, 4] = np.nan
    write_magnetogram(images / "1429" / NAME, with_nan)
    rows = forecast(model=model, images=(images, Path("missing.fits")), **archives)
    assert "no such file" in rows[""]["refused"] and "NaN" in rows["1429"]["refused"]
    assert rows["1158"]["decision_value"] == "4.0" and rows["1158"]["refused"] == ""
    forecast(model=model, images=(images / "1158" / NAME,), **archives)
    assert Path("results/forecast.png").read_bytes().startswith(b"\x89PNG")


def test_features_outside_the_training_range_are_named(images, tmp_path):
    write_magnetogram(images / "1158" / NAME, bipole(20000.0))
    row = forecast(model=write_model(tmp_path), images=(images / "1158",))["1158"]
    assert "total unsigned flux" in row["outside_training_range"].split("; ")
    assert row["decision"] == "1"


def test_refusals_name_their_reason_and_do_not_stop_the_rest(images, tmp_path):
    with_nan = bipole()
    with_nan[3, 4] = np.nan
    for region, field in (("2001", with_nan), ("2002", bipole(shape=(20, 20))), ("2003", np.zeros((40, 40)))):
        (images / region).mkdir()
        write_magnetogram(images / region / NAME, field)
    (images / "2004").mkdir()
    (images / "2004" / NAME).write_bytes(b"not a FITS file")
    (images / "2005").mkdir()
    write_png(images / "2005" / NAME.replace(".fits", ".png"), np.full((40, 40), 128, np.uint8))
    rows = forecast(model=write_model(tmp_path), images=(images, Path("missing.fits")))
    for region, reason in (("2001", "NaN"), ("2002", "smaller than 32x32"), ("2003", "constant"),
                           ("2004", "not a readable FITS"), ("2005", "trained on .fits images"), ("", "no such file")):
        assert reason in rows[region]["refused"], region
        assert rows[region]["probability"] == rows[region]["decision"] == ""
    assert rows["1158"]["decision"] == "1" and rows["1158"]["refused"] == ""
    assert len(Path("results/forecast.csv.excluded.csv").read_text().splitlines()) == 7


def test_all_refused_is_still_a_complete_answer(images, tmp_path):
    (images / "1158" / NAME).write_bytes(b"")
    row = forecast(model=write_model(tmp_path), images=(images / "1158",))["1158"]
    assert "empty" in row["refused"] and not Path("results/forecast.png").exists()


def test_more_processes_write_the_same_bytes(images, tmp_path):
    for region in range(3000, 3010):
        (images / str(region)).mkdir()
        write_magnetogram(images / str(region) / NAME, bipole(float(region)))
    model = write_model(tmp_path)
    forecast(model=model, images=(images,))
    one = Path("results/forecast.csv").read_bytes()
    forecast(model=model, images=(images,), n_jobs=2)
    assert Path("results/forecast.csv").read_bytes() == one


def test_png_model_takes_png_images(images, tmp_path):
    grey = np.clip(np.rint(128 + bipole() / 25), 0, 255).astype(np.uint8)
    write_png(images / "1158" / "x.png", grey)
    model = write_model(tmp_path, image_format="png")
    rows = forecast(model=model, images=(images / "1158" / "x.png",))
    assert rows["1158"]["refused"] == "" and rows["1158"]["region"] == ""


@pytest.mark.parametrize(("settings", "message"), [
    ({"images": ()}, "images: expected FITS or PNG files"),
    ({"images": (Path("empty"),)}, "no FITS or PNG file in the folder 'empty'"),
    ({"model": Path("nowhere.json")}, "model: no file at 'nowhere.json'"),
    ({"model": Path("nowhere.keras")}, "model: no file at 'nowhere.keras'"),
    ({"event_list_delay_minutes": -1.0}, "event_list_delay_minutes: expected 0 or more, got -1.0"),
    ({"forecast_file": Path("images", "1158", NAME), "images": (Path("images", "1158", NAME),)}, "ends in .csv"),
    ({"forecast_file": Path("forecast.png")}, "forecast_file: expected a name that ends in .csv, got 'forecast.png'"),
    ({"forecast_file": Path("x.csv"), "images": (Path("x.png"),)}, "'x.png' is read here and would be overwritten"),
    ({"forecast_file": Path("x.csv"), "model": Path("x.csv.json")}, "'x.csv.json' is read here and would be"),
])
def test_mistakes_end_in_one_line(images, tmp_path, settings, message):
    Path("empty").mkdir()
    model = write_model(tmp_path)
    Path("x.csv.json").write_bytes(model.read_bytes())
    settings = {"model": model, "images": (images,)} | settings
    with pytest.raises(SystemExit, match=message) as end:
        main(UserDefinitions(**settings))
    assert "\n" not in str(end.value)


def test_model_with_activity_features_asks_for_the_archives(images, tmp_path):
    model = write_model(tmp_path, extra=("has_summary",))
    with pytest.raises(SystemExit, match="1 activity features; give the archives"):
        main(UserDefinitions(model=model, images=(images,)))


def test_model_with_foreign_extra_features_is_refused(images, tmp_path):
    model = write_model(tmp_path, extra=("moon_phase",))
    with pytest.raises(SystemExit, match="extra feature 'moon_phase', which this program cannot compute"):
        main(UserDefinitions(model=model, images=(images,), srs_dir=Path("SRS"), event_list=Path("events.txt")))


def test_activity_features_from_the_archives(tmp_path, monkeypatch, shared_data, capsys):
    """2011-06-08: region 1226 had flared (M2.5 on the 7th, the day of a summary that lists both), 1227 had not."""
    monkeypatch.chdir(tmp_path)
    for region in ("1226", "1227"):
        Path("images", region).mkdir(parents=True)
        write_magnetogram(Path("images", region, NAME.replace("20110215", "20110608")), bipole())
    Path("events.txt").write_text("2011 06 07,0641,1226,M2.5\n")
    model = write_model(tmp_path, features=(), extra=("had_M",), image_format="", flare_sources={
        "events_dir": True, "event_list": True, "event_list_delay_minutes": 60.0, "smallest_flare": "B1.0"})
    rows = forecast(model=model, images=(Path("images"),), srs_dir=shared_data / "noaa_raw/SRS", events_dir=Path(""),
                    event_list=Path("events.txt"))
    assert rows["1226"]["decision_value"] == "4.0" and rows["1227"]["decision_value"] == "-4.0"
    said = capsys.readouterr().out
    assert "ATTENTION: trained with event reports, the forecast is made without" in said
    assert "ATTENTION: trained with flares from B1.0 on, the smallest here is M2.5" in said


def test_as_a_user_starts_it(images, tmp_path):
    model = write_model(tmp_path).with_suffix(".pickle")
    result = subprocess.run([sys.executable, REPOSITORY / "classifier_SVM/Forecast_AR.py", "--model", model, "--images",
                             images / "1158" / NAME, images / "1429" / NAME], cwd=tmp_path, capture_output=True,
                            text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "2 of 2 images forecast" in result.stdout
