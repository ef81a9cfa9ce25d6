"""The model file: pickle and JSON give the same forecasts; foreign and damaged ones are refused in words."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_linear_svm import complexity_like_rows

from classifier_SVM import machines, model_file
from classifier_SVM.FeaturesetTools import FEATURE_NAMES
from classifier_SVM.machines import fit_machine, plain_machine
from classifier_SVM.model_file import FlareModel, load_model, save_model
from classifier_SVM.scaling import fit_scaling
from general_code.forecast_evaluation import Calibration
from general_code.stage_files import UserError

SOURCES = {"events_dir": True, "event_list": False, "event_list_delay_minutes": 60.0, "smallest_flare": "C1.0"}


def make_model(class_type="linear", image_format="fits"):
    """A fitted model with one extra feature, its estimator, and unscaled rows."""
    rows, classes = complexity_like_rows(300, columns=30)
    rows = rows * np.arange(1, 31) - 3
    scaling = fit_scaling(rows)
    estimator = fit_machine(class_type, scaling.apply(rows), classes, 1.0, 0)
    model = FlareModel(class_type, plain_machine(estimator), scaling, FEATURE_NAMES, ("hours",),
                       scaling.apply(rows).mean(axis=0), Calibration(1.5, -0.5), 0.25, "C1.0", 24.0, image_format,
                       SOURCES, model_file.current_versions())
    return model, estimator, rows


@pytest.fixture
def saved(tmp_path):
    model, estimator, _ = make_model()
    save_model(tmp_path / "m", model, estimator)
    return tmp_path / "m.json"


@pytest.mark.parametrize("class_type", list(machines.CLASS_TYPES))
@pytest.mark.parametrize("extension", ["pickle", "json"])
def test_both_files_give_the_same_forecast(tmp_path, monkeypatch, class_type, extension):
    monkeypatch.setitem(machines.BOOSTING, "max_iter", 10)
    model, estimator, rows = make_model(class_type)
    save_model(tmp_path / "m", model, estimator)
    read, remarks = load_model(tmp_path / f"m.{extension}")
    assert remarks == []
    assert read.decision_function(rows) == pytest.approx(model.decision_function(rows), abs=1e-9)
    assert read.probability(np.array([0.0])) == pytest.approx(1 / (1 + np.exp(0.5)))
    for name in ("class_type", "feature_names", "extra_feature_names", "flare_size", "flare_window_hours",
                 "flare_sources", "image_format", "versions", "validation_threshold", "calibration"):
        assert getattr(read, name) == getattr(model, name), name
    assert np.array_equal(read.scaling.maximum, model.scaling.maximum) and np.array_equal(read.typical, model.typical)


def test_pickle_holds_what_users_expect(saved):
    content = pickle.loads(saved.with_suffix(".pickle").read_bytes())
    assert {"estimator", "scaler", "feature_names", "versions", "calibration"} <= set(content)
    assert content["estimator"].coef_.shape == (1, 30)


def test_undefined_calibration_threshold_and_horizon(tmp_path):
    model, estimator, _ = make_model()
    save_model(tmp_path / "m", replace(model, calibration=None, validation_threshold=np.nan,
                                       flare_window_hours=np.nan), estimator)
    for extension in ("pickle", "json"):
        read, _ = load_model(tmp_path / f"m.{extension}")
        assert read.calibration is None and np.isnan([read.validation_threshold, read.flare_window_hours]).all()
        assert np.isnan(read.probability(np.zeros(2))).all()


def test_loading_the_json_opens_no_pickle(saved, monkeypatch):
    saved.with_suffix(".pickle").write_bytes(b"not a pickle")
    monkeypatch.setattr(pickle, "load", lambda file: pytest.fail("a pickle was opened"))
    load_model(saved)


def test_other_versions_are_said(saved):
    content = json.loads(saved.read_text())
    content["versions"] |= {"scikit-learn": "0.1", "feature definitions": "0"}
    saved.write_text(json.dumps(content))
    _, remarks = load_model(saved)
    assert any("trained with scikit-learn 0.1, this is" in remark for remark in remarks)
    assert any("feature definitions 0" in remark for remark in remarks)


def damaged(content, change):
    """The JSON's content with one fault."""
    if change == "other features":
        content["feature_names"][3] = "shear angle"
    elif change == "another order":
        content["feature_names"] = content["feature_names"][::-1]
    elif change == "scaling too short":
        content["scaling"] = {name: numbers[:-1] for name, numbers in content["scaling"].items()}
    elif change == "maximum too short":
        content["scaling"]["maximum"].pop()
    elif change == "typical too short":
        content["typical"].pop()
    elif change == "weight too few":
        content["machine"]["weights"].pop()
    elif change == "other sources":
        content["flare_sources"] = {"moon": True}
    elif change == "weight missing":
        del content["machine"]["weights"]
    else:
        content["format"] = "something else"
    return content


@pytest.mark.parametrize(("change", "message"), [
    ("other features", "other image features than this program computes .'shear angle'"),
    ("another order", "their order"), ("other sources", "flare_sources of moon, expected events_dir"),
    ("scaling too short", "scaling of 29 features, names of 30"),
    ("maximum too short", "scaling of 29 features, names of 30"),
    ("weight too few", "not one of 30 features"),
    ("typical too short", "typical image of 29 features"), ("weight missing", "is damaged"),
    ("another format", "is not a model file"),
])
def test_other_models_are_refused(saved, change, message):
    saved.write_text(json.dumps(damaged(json.loads(saved.read_text()), change)))
    with pytest.raises(UserError, match=message):
        load_model(saved)


@pytest.mark.parametrize(("part", "number", "message"), [
    (("scaling", "minimum", 3), np.nan, "scaling has a number that is not finite"),
    (("scaling", "maximum", 0), np.inf, "scaling has a number that is not finite"),
    (("scaling", "maximum", 5), -1e9, "a maximum below its minimum"),
    (("typical", 7), np.nan, "typical has a number that is not finite"),
    (("calibration", "slope"), np.inf, "calibration has a number that is not finite"),
    (("calibration", "intercept"), np.nan, "calibration has a number that is not finite"),
    (("validation_threshold",), np.inf, "validation_threshold inf"),
    (("flare_window_hours",), 0.0, "flare_window_hours 0.0"), (("flare_size",), "large", "'large'"),
    (("class_type",), "forest", "class_type 'forest', expected one of linear, rbf"),
    (("image_format",), "jpg", "image_format 'jpg', expected fits, png or none"),
])
def test_numbers_that_would_forecast_in_silence_are_refused(saved, part, number, message):
    content = json.loads(saved.read_text())
    inner = content
    for key in part[:-1]:
        inner = inner[key]
    inner[part[-1]] = number
    saved.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load_model(saved)


def test_pickles_are_checked_as_well_and_may_be_called_pkl(saved):
    content = pickle.loads(saved.with_suffix(".pickle").read_bytes())
    saved.with_suffix(".pkl").write_bytes(pickle.dumps(content))
    assert load_model(saved.with_suffix(".pkl"))[0].class_type == "linear"
    content["estimator"].coef_[0, 2] = np.nan
    saved.with_suffix(".pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="linear machine decides by nan, expected a number"):
        load_model(saved.with_suffix(".pkl"))
    content["typical"][0] = np.nan
    saved.with_suffix(".pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="typical has a number"):
        load_model(saved.with_suffix(".pkl"))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("m.model", b"x", "expected a name that ends in .json, .pickle or .pkl, got"),
    ("m.json", b"{", "not a readable JSON"), ("m.json", b"\xff\xfe\x81", "not a readable JSON"),
    ("m.json", b"[]", "is not a model file"), ("m.pickle", b"", "cannot be opened as a pickle"),
    ("m.pickle", b"garbage", "cannot be opened as a pickle"), ("m.pickle", pickle.dumps([1]), "but a list"),
    ("m.pickle", pickle.dumps({"estimator": 1}), "is not a model of AR_Classifier_weighted"),
    ("m.pickle", b"cno_such_module\nThing\n.", "cannot be opened as a pickle"),
])
def test_files_that_are_no_models(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / name)


def test_no_file():
    with pytest.raises(UserError, match="model: no file at 'nowhere.json'"):
        load_model(Path("nowhere.json"))
