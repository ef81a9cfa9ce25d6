"""Forecasts of single images: what is written, what is refused and why, the figure, models of other kinds."""

import csv
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier_SVM import Forecast_AR
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, Scaling
from classifier_SVM.Forecast_AR import UserDefinitions, main
from classifier_SVM.FunctionsP3 import image_features
from classifier_SVM.training.linear_svm import WeightedLinearSVC
from classifier_SVM.training.model_file import FlareModel, load_model, save_model
from general_code.evaluation import report
from general_code.evaluation.scores import Calibration
from general_code.images.label_file import label_target
from general_code.images.magnetograms import write_magnetogram, write_png
from general_code.stage.files import UserError
from general_code.stage.run import read_sidecar
from tests.general_code.images.test_names import make_files
from tests.general_code.noaa.test_archive import write_summary

NAME = "hmi.M_720s.20110215_000000_TAI.1.magnetogram.fits"


def bipole(strength=800.0, shape=(60, 80)):
    """Two spots of opposite sign on weak noise [G], whole tenths."""
    y, x = np.indices(shape)
    spots = [np.exp(-((x - x0)**2 + (y - shape[0] / 2)**2) / 60) for x0 in (shape[1] / 2 - 7, shape[1] / 2 + 7)]
    noise = np.random.default_rng(0).normal(0, 5, shape)
    return np.rint(10 * (strength * (spots[0] - spots[1]) + noise)) / 10


def put_image(region, field, name=NAME):
    """Write an image into the folder of its region; return its path."""
    path = Path("images", region, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_magnetogram(path, field)
    return path


def write_model(folder, extra=(), features=FEATURE_NAMES, **others):
    """A linear model that forecasts a flare where the unsigned flux is above that of a 500 G bipole."""
    count = len(features) + len(extra)
    middle = image_features(bipole(500.0)) if features else np.empty(0)
    scale = np.maximum(np.abs(middle), 1.0) * 10
    scaling = Scaling(np.append(middle - scale, np.zeros(len(extra))), np.append(middle + scale, np.ones(len(extra))))
    estimator = WeightedLinearSVC()
    estimator.coef_, estimator.intercept_ = np.zeros((1, count)), np.array([-4.0])
    estimator.coef_[0, len(features) - 1 if features else 0] = 8.0
    save_model(folder / "model", FlareModel(**{
        "class_type": "linear", "estimator": estimator, "scaling": scaling, "feature_names": tuple(features),
        "extra_feature_names": tuple(extra), "typical": np.full(count, 0.5), "calibration": Calibration(2.0, -1.0),
        "validation_threshold": 0.1, "flare_size": "C1.0", "flare_window_hours": 24.0, "image_format": "fits",
        "flare_sources": {}, "limits": {}} | others))
    return folder / "model.skops"


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder of a strong and a weak bipole."""
    monkeypatch.chdir(tmp_path)
    for region, strength in (("1158", 900.0), ("1429", 200.0)):
        put_image(region, bipole(strength))
    return Path("images")


def forecast(**settings):
    """Run; return the rows of the CSV by folder."""
    main(UserDefinitions(**{"n_jobs": 1} | settings))
    with Path("results/forecast.csv").open(newline="") as file:
        return {Path(row["filename"]).parent.name: row for row in csv.DictReader(file)}


def test_forecast_of_a_folder(images, tmp_path, capsys):
    rows = forecast(model=write_model(tmp_path), images=(images,))
    assert [rows[region]["decision"] for region in ("1158", "1429")] == ["1", "0"]
    assert rows["1158"]["region"] == "1158" and rows["1158"]["time"] == "2011-02-15T00:00:00"
    value = float(rows["1158"]["decision_value"])
    assert float(rows["1158"]["probability"]) == pytest.approx(1 / (1 + np.exp(-(2 * value - 1))))
    assert not Path("results/forecast.png").exists()
    said = capsys.readouterr().out
    assert "Forecast: flares of C1.0 or larger within 24 h; decision 1 where the decision value is above 0" in said
    assert "2 of 2 images forecast, a flare for 1 of them" in said


def test_images_in_near_real_time_have_region_and_time_and_are_reported(images, tmp_path, capsys):
    put_image("2005", bipole(), NAME.replace("720s", "720s_nrt"))
    rows = forecast(model=write_model(tmp_path), images=(images,))
    assert rows["2005"]["region"] == "2005" and rows["2005"]["time"] == "2011-02-15T00:00:00"
    assert "ATTENTION: 1 image of the near-real-time series" in capsys.readouterr().out


def test_figure_of_an_earlier_image_goes_but_never_one_of_the_user(images, tmp_path):
    model = write_model(tmp_path)
    forecast(model=model, images=(images / "1158" / NAME,))
    assert Path("results/forecast.png").read_bytes().startswith(b"\x89PNG")
    forecast(model=model, images=(images,))
    assert not Path("results/forecast.png").exists(), "it would stand beside a table that it does not belong to"
    Path("results/forecast.png").write_bytes(b"mine")
    forecast(model=model, images=(images,))
    assert Path("results/forecast.png").read_bytes() == b"mine"


@pytest.mark.parametrize(("name", "scale", "warned"), [
    (NAME, "as_reported", False), (NAME.replace("20110215", "20191209"), "as_reported", True),
    (NAME.replace("20110215", "20191209"), "modern", False)])
def test_latency_and_scale_are_told_and_where_classes_as_reported_have_changed(tmp_path, monkeypatch, capsys, name,
                                                                               scale, warned):
    monkeypatch.chdir(tmp_path)
    model = write_model(tmp_path, latency_minutes=30.0, flare_scale=scale)
    forecast(model=model, images=(put_image("1158", bipole(), name),))
    said = capsys.readouterr().out
    assert "flares of C1.0 or larger within 24 h, from 30 min after the image" in said
    assert ("1 images of 2019-12-09 or later" in said.replace("1 image of", "1 images of")) == warned
    counts = read_sidecar(Path("results/forecast.csv"))["counts"]
    assert (counts["latency_minutes"], counts["flare_scale"], counts["flare_size"]) == (30.0, scale, "C1.0")


def test_the_forecast_of_a_vgg16_model_has_another_name(images, monkeypatch):
    Path("x.keras").write_bytes(b"a network")
    Path("x.keras.json").write_text('{"counts": {"flare_size": "M1.0", "flare_scale": "modern"}}')
    table = pd.DataFrame({"probability": [0.5] * 2, "decision": 1.0, "decision_value": 0.1,
                          "outside_training_range": "", "refused": ""})
    monkeypatch.setattr("classifier_VGG.network.vgg16.forecast_with_vgg", lambda *arguments: table)
    main(UserDefinitions(model=Path("x.keras"), images=(images,), n_jobs=1))
    assert {path.name.split(".")[0] for path in Path("results").glob("[!.]*")} == {"forecast_VGG"}
    assert label_target(Path("results/forecast_VGG.csv")) == ("M1.0", pytest.approx(np.nan, nan_ok=True), 0.0, "modern")


@pytest.mark.parametrize(("calibration", "text"), [
    (Calibration(2.0, -1.0), "is at a probability of 0.269: flares, though rare, count as much as quiet images"),
    (Calibration(2.0, 1.0), "is at a probability of 0.731"), (None, "no probabilities, as their calibration is"),
    (Calibration(0.0, -1.0), "probability 0.269 for every image, as the validation images showed no skill"),
])
def test_an_explanation_is_given_only_where_it_is_true(tmp_path, calibration, text):
    model, _ = load_model(write_model(tmp_path))
    rule = Forecast_AR.decision_rule(replace(model, calibration=calibration))
    assert text in rule and ("though rare" in rule) == ("though rare" in text)


def test_refusals_name_their_reason_and_do_not_stop_the_rest(images, tmp_path):
    with_nan = bipole()
    with_nan[3, 4] = np.nan
    for region, field in (("2001", with_nan), ("2002", bipole(shape=(20, 20))), ("2003", np.zeros((40, 40)))):
        put_image(region, field)
    put_image("2004", bipole()).write_bytes(b"not a FITS file")
    write_png(images / "2005" / NAME.replace(".fits", ".png"), np.full((40, 40), 128, np.uint8))
    rows = forecast(model=write_model(tmp_path), images=(images, Path("missing.fits")))
    for region, reason in (("2001", "NaN"), ("2002", "smaller than 32x32"), ("2003", "constant"),
                           ("2004", "not a readable FITS"), ("2005", "trained on .fits images"), ("", "no such file")):
        assert reason in rows[region]["refused"], region
        assert rows[region]["probability"] == rows[region]["decision"] == ""
    assert rows["1158"]["decision"] == "1" and rows["1158"]["refused"] == ""
    assert len(Path("results/forecast.csv.excluded.csv").read_text().splitlines()) == 7


def test_a_file_that_is_no_image_by_its_name_is_not_called_one_of_another_format(tmp_path):
    (tmp_path / "page.html").write_text("<html>")
    assert Forecast_AR.features_of_file(tmp_path / "page.html", "fits", {})[1] == (
        "no magnetogram by its name; expected .fits, .fits.gz, .png")


def test_no_forecast_at_all_ends_with_status_1_and_a_complete_table(images, tmp_path):
    (images / "1158" / NAME).write_bytes(b"")
    with pytest.raises(SystemExit, match="Forecast_AR: 0 of 1 images forecast; the reasons are in results"):
        forecast(model=write_model(tmp_path), images=(images / "1158",))
    assert pd.read_csv("results/forecast.csv")["refused"].str.contains("empty").all()
    assert Path("results/forecast.csv.json").is_file() and not Path("results/forecast.png").exists()


def test_beyond_20_lines_the_terminal_tells_how_many_more(images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Forecast_AR, "MOST_LINES", 1)
    missing = tuple(Path(f"{number}.fits") for number in range(4))
    forecast(model=write_model(tmp_path), images=(images, *missing))
    said = capsys.readouterr().out
    assert "... and 1 more forecasts in results/forecast.csv" in said
    assert "... and 3 more refusals in results/forecast.csv" in said
    assert "2 of 6 images forecast, a flare for 1 of them; results/forecast.csv" in said


def test_more_processes_write_the_same_bytes(images, tmp_path):
    for region in range(3000, 3010):
        put_image(str(region), bipole(float(region)))
    model = write_model(tmp_path)
    forecast(model=model, images=(images,))
    one = Path("results/forecast.csv").read_bytes()
    forecast(model=model, images=(images,), n_jobs=2)
    assert Path("results/forecast.csv").read_bytes() == one


@pytest.mark.parametrize(("settings", "message"), [
    ({"images": ()}, "images: expected FITS or PNG files"),
    ({"images": (Path("empty"),)}, "no FITS or PNG file in the folder 'empty'"),
    ({"images": ("empty.txt",)}, "empty.txt"), ({"images": ("none.csv",)}, "images: .* 'none.csv'"),
    ({"model": Path("nowhere.skops")}, "model: expected a file at 'nowhere.skops'"),
    ({"model": Path("nowhere.keras")}, "model: expected a file at 'nowhere.keras'"),
    ({"model": Path("x.csv.json")}, "model: expected a name that ends in .skops, .pickle or .pkl, got 'x.csv.json'"),
    ({"model": ""}, "model: expected a path"), ({"n_jobs": 0}, "n_jobs: .* got 0"),
    ({"event_list_delay_minutes": -1.0}, "event_list_delay_minutes: expected a number from 0, got -1.0"),
    ({"forecast_file": Path("images", "1158", NAME), "images": (Path("images", "1158", NAME),)}, "ends in .csv"),
    ({"forecast_file": Path("forecast.png")}, "forecast_file: expected a name that ends in .csv, got 'forecast.png'"),
    ({"forecast_file": Path("x.csv"), "images": (Path("x.png"),)}, "'x.png' is an input of this stage"),
    ({"images": (Path("images", "1159"),)}, "found nothing at 'images/1159'; set --images"),
    ({"model": ["has_summary"]}, "1 activity features; name the archives"),
    ({"model": ["moon_phase"], "srs_dir": "SRS", "event_list": "events.txt"},
     "'moon_phase', which this program cannot compute"),
])
def test_wrong_settings_and_a_model_that_needs_more_end_in_one_line(images, tmp_path, settings, message):
    Path("empty").mkdir()
    Path("empty.txt").touch()
    Path("x.csv.json").write_bytes(b"{}")
    Path("x.png").touch()
    settings = {"model": [], "images": (images,)} | settings
    if isinstance(settings["model"], list):  # of the names of further features
        settings["model"] = write_model(tmp_path, extra=settings["model"])
    with pytest.raises((SystemExit, UserError), match=message) as end:
        main(UserDefinitions(**settings))
    assert "\n" not in str(end.value)


def archives(last_summary="20110608", last_flare="2011 06 09", region="1226"):
    """Summaries of two regions from 20110604 on, and a list with an M2.5 of region 1226 two days before the images."""
    for day in pd.date_range("20110604", last_summary):
        write_summary(Path("SRS"), f"{day:%Y%m%d}", region, "1227")
    lines = ("2011 06 01,0000,1220,C1.0", "2011 06 06,0641,1226,M2.5", f"{last_flare},0000,1228,C1.0")
    Path("events.txt").write_text("\n".join(lines))
    return {"srs_dir": Path("SRS"), "events_dir": Path(""), "event_list": Path("events.txt")}


@pytest.fixture
def june(tmp_path, monkeypatch):
    """Images of two regions on 2011-06-08, and a model of the activity feature "an M flare before"."""
    monkeypatch.chdir(tmp_path)
    for region in ("1226", "1227"):
        put_image(region, bipole(), NAME.replace("20110215_00", "20110608_12"))
    model = write_model(tmp_path, features=(), extra=["had_M"], image_format="", flare_sources={
        "events_dir": True, "event_list": True, "event_list_delay_minutes": 60.0, "smallest_flare": "B1.0"})
    return {"model": model, "images": (Path("images"),)}


def test_activity_features_are_on_the_scale_of_the_training(june, tmp_path, capsys):
    """An M2.5 of GOES-15 and earlier is M3.6 on the modern scale."""
    features = {}
    for scale in ("as_reported", "modern"):
        june["model"] = write_model(tmp_path, features=(), extra=["log_largest_flux"], image_format="", flare_sources={
            "events_dir": False, "event_list": True, "event_list_delay_minutes": 60.0, "smallest_flare": "C1.0",
            "flare_scale": scale})
        features[scale] = float(forecast(**june, **archives())["1226"]["decision_value"]) / 8 + 0.5
    assert features == pytest.approx({"as_reported": np.log10(2.51e-5), "modern": np.log10(3.61e-5)}, abs=1e-4)
    assert "Modern scale: classes of GOES-15" in capsys.readouterr().out


def test_activity_features_from_the_archives(june, capsys):
    rows = forecast(**june, **archives())
    assert [float(rows[region]["decision_value"]) for region in ("1226", "1227")] == [4, -4]
    said = capsys.readouterr().out
    assert "ATTENTION: trained with event reports, the forecast is made without" in said
    assert "ATTENTION: trained with flares from B1.0 on, the smallest here is C1.0" in said


@pytest.mark.parametrize(("change", "reason"), [
    ({"last_summary": "20110606"}, "latest summary is missing, or more than 48 h older than the image; get the"),
    ({"last_flare": "2011 06 07"}, "do not cover all of the 72 h before the image; get the reports of its days"),
])
def test_archives_that_end_before_the_image_give_no_forecast(june, change, reason):
    with pytest.raises(SystemExit, match="0 of 2 images forecast"):
        forecast(**june, **archives(**change))
    table = pd.read_csv("results/forecast.csv", dtype=str)
    assert table["refused"].str.contains(reason).all() and table["probability"].isna().all()


def test_a_region_without_a_summary_and_an_image_that_is_none_are_refused_and_the_others_are_not(june):
    """A forecast from the archives for an image that is not there, or holds NaN, would mislead."""
    put_image("1228", np.full((60, 80), np.nan), NAME.replace("20110215_00", "20110608_12"))
    rows = forecast(model=june["model"], images=(Path("images"), Path("missing.fits")), **archives(region="1225"))
    assert "latest summary is missing" in rows["1226"]["refused"] and rows["1226"]["decision"] == ""
    assert rows["1227"]["refused"] == "" and float(rows["1227"]["decision_value"]) == -4
    assert "no such file" in rows[""]["refused"] and "NaN" in rows["1228"]["refused"]


FAR, LIMB = {"max_longitude_deg": 60.0}, ("20110215", 70)


@pytest.mark.parametrize(("limits", "summary", "reason", "said"), [
    (FAR | {"max_latitude_deg": 60.0}, None, "", ""), ({"max_longitude_deg": 80.0}, LIMB, "", ""), ({}, LIMB, "", ""),
    (FAR | {"max_latitude_deg": 60.0}, LIMB, "further out on the disk than any", "further out on the disk"),
    (FAR, ("20110214", 40), "", ""), (FAR, ("20110214", 50), "further out on the disk", "further out on the disk"),
    (FAR, ("20110212", 40), "", "no summary tells where"),
    ({"smallest_side": 60.0, "largest_side": 80.0}, None, "", ""),
    ({"smallest_side": 96.0, "largest_side": 96.0}, None,
     "image of 60x80 pixels; the model was trained on .* 96 to 96", "60x80 pixels")])
def test_images_beyond_the_limits_of_the_training_are_refused(images, tmp_path, capsys, limits, summary, reason, said):
    """A region has moved on from its last summary: it is at 53 or 63 degrees a day after 40 or 50."""
    if summary:
        write_summary(Path("SRS"), summary[0], "1158", west=summary[1])
    with pytest.raises(SystemExit) if reason else nullcontext():
        forecast(model=write_model(tmp_path, limits=limits), images=(images / "1158",),
                 srs_dir="SRS" if summary else "")
    refused = pd.read_csv("results/forecast.csv", keep_default_na=False)["refused"][0]
    assert re.search(reason, refused) and bool(refused) == bool(reason)
    assert said in capsys.readouterr().out


def test_names_that_are_no_text_are_written_readably(images, tmp_path):
    put_image("1158", bipole(), NAME.replace("000000", "120000_\udcff\x1b"))
    rows = forecast(model=write_model(tmp_path), images=(images / "1158",))
    assert rows["1158"]["filename"].endswith("120000_\\udcff\\x1b_TAI.1.magnetogram.fits")


def test_a_region_that_the_model_was_trained_on_is_named(images, tmp_path, capsys):
    model = write_model(tmp_path)
    Path("predictions_model.csv").write_text(
        f"filename,class,probability,decision,split\n1158_{NAME},1,.5,1,training\n1429_{NAME},1,.5,1,test\n")
    forecast(model=model, images=(images,))
    assert "trained or calibrated on images of region 1158: those" in capsys.readouterr().out
    Path("predictions_model.csv").rename("predictions_VGG_png.csv")
    assert Forecast_AR.known_regions(Path("VGG_model_png.keras"), pd.Series(["1158", "1429"])) == ["1158"]
    Path("predictions_model.csv").write_text("filename;split\n\0")
    forecast(model=model, images=(images,))
    assert "calibrated" not in capsys.readouterr().out


def test_files_and_folders_are_found_once_in_order(tmp_path):
    make_files(tmp_path, "b/x.fits.gz", "b/y.PNG", "b/notes.txt", "a.fits")
    named = [tmp_path / name for name in ("b", "a.fits", "b/x.fits.gz", "missing.fits")]
    found, _ = Forecast_AR.find_image_files(named, Path(""))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.fits", "b/x.fits.gz", "b/y.PNG", "missing.fits"]


@pytest.mark.parametrize(("line", "where"), [
    ("1158\\{0}\r\n", "images"), ("{0}\r\n", "images/1158"), ("\ufefffilename,class\n1158/{0},C1.0\n\n", "images"),
    ("\"1158/{0}\";0\n", "images"), ("images/1158/{0}\n", "."), ("1158/{0},1\n", "elsewhere"),
])
def test_lists_of_images_as_any_program_writes_them(images, tmp_path, line, where):
    path = Path(where, "mine.csv")
    path.parent.mkdir(exist_ok=True)
    path.write_text(line.format(NAME), encoding="utf-8", newline="")
    rows = forecast(model=write_model(tmp_path), images=(path,), dataset_dir=images)
    assert list(rows) == ["1158"] and rows["1158"]["decision"] == "1"


@pytest.mark.parametrize("image_format", ["fits", ""])
def test_features_are_those_of_stage_4(tmp_path, image_format):
    write_magnetogram(tmp_path / "x.fits", bipole())
    features, refusal, _ = Forecast_AR.features_of_file(tmp_path / "x.fits", image_format, {})
    assert not refusal and (features == image_features(bipole())).all()


def test_forecast_of_rows(tmp_path):
    model, _ = load_model(write_model(tmp_path))
    inside = model.scaling.minimum + 0.5 * model.scaling.width
    beyond = inside.copy()
    beyond[[0, 28]] = model.scaling.maximum[[0, 28]] * 2 + 1
    table = Forecast_AR.forecast_rows(model, np.array([inside, beyond]))
    assert table["decision_value"][0] == pytest.approx(0)
    assert table["outside_training_range"].tolist() == ["", "gradient mean; total unsigned flux"]
    assert table["decision"][1] == 1
    assert len(Forecast_AR.forecast_rows(model, np.empty((0, 29)))) == 0


@pytest.mark.parametrize(("name", "title"), [
    ("9024_hmi.M_720s.20300117_000000_TAI.3.magnetogram.fits", "AR 9024, 2030-01-17 00:00 TAI"),
    ("9024_hmi.M_720s_nrt.20300117_000000_TAI.3.magnetogram.fits",
     "AR 9024, 2030-01-17 00:00 TAI\n(near-real-time image)"), ("x.fits", "region not known")])
def test_the_figure_names_region_and_time(name, title):
    assert Forecast_AR.image_title(Path(name)) == title


@pytest.mark.parametrize("outside", ["", "gradient mean; NL length; total unsigned flux"])
def test_the_figure_has_the_field_with_its_neutral_line_and_adds_up(tmp_path, monkeypatch, outside):
    figures = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: figures.append(figure))
    write_magnetogram(tmp_path / "x.fits", bipole())
    model, _ = load_model(write_model(tmp_path))
    features = image_features(bipole())
    forecast = Forecast_AR.forecast_rows(model, features[None]).iloc[0].to_dict() | {"outside_training_range": outside}
    Forecast_AR.write_image_figure(tmp_path / "x.png", tmp_path / "x.fits", model, features, pd.Series(forecast))
    left, right = figures[0].axes
    assert left.images[0].get_clim() == (-500, 500)
    assert len(left.collections[0].get_offsets()) == features[FEATURE_NAMES.index("NL length")]
    assert "10″" in [text.get_text() for text in left.texts] and "-500 to 500 G" in left.get_xlabel()
    assert left.get_xlabel().endswith("\nx.fits")
    assert "a pixel is 0.5″" in left.get_xlabel(), "without CDELT1 the scale is an assumption"
    assert right.patches[-1].get_width() == pytest.approx(forecast["decision_value"])
    assert f"probability {forecast['probability']:.0%}" in figures[0].get_suptitle()
    assert ("3 of 29 features lie outside" in figures[0].get_supxlabel()) == bool(outside)
