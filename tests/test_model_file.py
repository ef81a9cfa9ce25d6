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
from classifier_SVM.split_tables import fit_scaling
from general_code.forecast_evaluation import Calibration
from general_code.stage_files import UserError


def make_model(class_type="linear", image_format="fits"):
    """A fitted model with one extra feature, its estimator, and unscaled rows."""
    rows, classes = complexity_like_rows(300, columns=30)
    rows = rows * np.arange(1, 31) - 3
    scaling = fit_scaling(rows)
    estimator = fit_machine(class_type, scaling.apply(rows), classes, 1.0, 0)
    model = FlareModel(class_type, plain_machine(estimator), scaling, FEATURE_NAMES, ("hours",),
                       scaling.apply(rows).mean(axis=0), Calibration(1.5, -0.5), 0.25, "C1.0", image_format,
                       model_file.current_versions())
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
    for name in ("class_type", "feature_names", "extra_feature_names", "flare_size", "image_format", "versions",
                 "validation_threshold", "calibration"):
        assert getattr(read, name) == getattr(model, name), name
    assert np.array_equal(read.scaling.maximum, model.scaling.maximum) and np.array_equal(read.typical, model.typical)


def test_pickle_holds_what_users_expect(saved):
    content = pickle.loads(saved.with_suffix(".pickle").read_bytes())
    assert {"estimator", "scaler", "feature_names", "versions", "calibration"} <= set(content)
    assert content["estimator"].coef_.shape == (1, 30)


def test_undefined_calibration_and_threshold(tmp_path):
    model, estimator, _ = make_model()
    save_model(tmp_path / "m", replace(model, calibration=None, validation_threshold=np.nan), estimator)
    for extension in ("pickle", "json"):
        read, _ = load_model(tmp_path / f"m.{extension}")
        assert read.calibration is None and np.isnan(read.validation_threshold)
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
    elif change == "weight missing":
        del content["machine"]["weights"]
    else:
        content["format"] = "something else"
    return content


@pytest.mark.parametrize(("change", "message"), [
    ("other features", "other image features than this program computes .'shear angle'"),
    ("another order", "their order"), ("scaling too short", "scaling of 29 features, names of 30"),
    ("maximum too short", "scaling of 29 features, names of 30"),
    ("weight too few", "not one of 30 features"),
    ("typical too short", "typical image of 29 features"), ("weight missing", "is damaged"),
    ("another format", "is not a model file"),
])
def test_other_models_are_refused(saved, change, message):
    saved.write_text(json.dumps(damaged(json.loads(saved.read_text()), change)))
    with pytest.raises(UserError, match=message):
        load_model(saved)


@pytest.mark.parametrize(("name", "content", "message"), [
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
