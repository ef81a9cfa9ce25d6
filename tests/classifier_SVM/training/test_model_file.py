"""The model file: .skops and pickle give the stage's forecasts; foreign, old and damaged ones are refused in words."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import skops.io

from classifier_SVM.FeaturesetTools import FEATURE_NAMES, fit_scaling
from classifier_SVM.training import classifiers
from classifier_SVM.training.classifiers import fit_classifier
from classifier_SVM.training.model_file import TRUSTED, FlareModel, load_model, save_model
from general_code.evaluation.scores import Calibration
from general_code.stage.files import UserError
from tests.classifier_SVM.training.test_linear_svm import complexity_like_rows

SOURCES = {"events_dir": True, "event_list": False, "event_list_delay_minutes": 60.0, "smallest_flare": "C1.0"}


def make_model(class_type="linear"):
    """A fitted model with one extra feature, and unscaled rows."""
    rows, classes = complexity_like_rows(300, columns=30)
    rows = rows * np.arange(1, 31) - 3
    scaling = fit_scaling(rows)
    estimator = fit_classifier(class_type, scaling.apply(rows), classes, 1.0, 0)
    return FlareModel(
        class_type=class_type, estimator=estimator, scaling=scaling, feature_names=FEATURE_NAMES,
        extra_feature_names=("hours",), typical=scaling.apply(rows).mean(axis=0), calibration=Calibration(1.5, -0.5),
        validation_threshold=0.25, flare_size="C1.0", flare_window_hours=24.0, image_format="fits",
        limits={"max_latitude_deg": 60.0}, flare_sources=SOURCES), rows


@pytest.fixture
def saved(tmp_path):
    """A function that writes a linear model, its content changed by the function given."""
    def write(change=lambda content: None, name="m.skops"):
        save_model(tmp_path / "saved", make_model()[0])
        changed = pickle.loads((tmp_path / "saved.pickle").read_bytes())
        change(changed)
        (tmp_path / name).write_bytes(skops.io.dumps(changed) if name.endswith("skops") else pickle.dumps(changed))
        return tmp_path / name

    return write


@pytest.mark.parametrize("class_type", list(classifiers.CLASS_TYPES))
def test_both_files_give_the_stages_own_forecast_to_the_last_digit(tmp_path, monkeypatch, class_type):
    monkeypatch.setitem(classifiers.BOOSTING, "max_iter", 10)
    model, rows = make_model(class_type)
    save_model(tmp_path / "m", model)
    for extension in ("skops", "pickle"):
        read, remarks = load_model(tmp_path / f"m.{extension}")
        assert remarks == []
        assert np.array_equal(read.decision_function(rows), model.decision_function(rows))
        assert read.probability(np.array([0.0])) == pytest.approx(1 / (1 + np.exp(0.5)))
        for name in set(vars(model)) - {"estimator", "scaling", "typical"}:
            assert getattr(read, name) == getattr(model, name), name
        assert np.array_equal(read.scaling.maximum, model.scaling.maximum)
        assert np.array_equal(read.typical, model.typical)


@pytest.mark.parametrize("name", ["m.skops", "m.pickle"])
def test_latency_and_scale_are_noted_and_a_model_without_them_has_the_published_ones(tmp_path, saved, name):
    save_model(tmp_path / "m", replace(make_model()[0], latency_minutes=60.0, flare_scale="modern",
                                       flare_sources=SOURCES | {"flare_scale": "modern"}))
    model, _ = load_model(tmp_path / name)
    assert model.flares == "C1.0 or larger within 24 h, from 60 min after the image, modern scale"
    assert model.feature_scale == "modern"
    older, _ = load_model(saved(lambda content: [content.pop(field) for field in ("latency_minutes", "flare_scale")],
                                name))
    assert older.target == ("C1.0", 24.0, 0.0, "as_reported") and older.feature_scale == "as_reported"


def test_undefined_calibration_threshold_and_horizon(tmp_path):
    save_model(tmp_path / "m", replace(make_model()[0], calibration=None, validation_threshold=np.nan,
                                       flare_window_hours=np.nan))
    for extension in ("skops", "pickle"):
        read, _ = load_model(tmp_path / f"m.{extension}")
        assert read.calibration is None and np.isnan([read.validation_threshold, read.flare_window_hours]).all()
        assert np.isnan(read.probability(np.zeros(2))).all()


def test_loading_a_skops_file_opens_no_pickle_and_runs_nothing(tmp_path, saved, monkeypatch):
    path = saved()
    monkeypatch.setattr(pickle, "load", lambda file: pytest.fail("a pickle was opened"))
    load_model(path)
    path.write_bytes(skops.io.dumps({"format": "x", "estimator": json.JSONEncoder()}))
    with pytest.raises(UserError, match="holds objects that no model .* has; it was not opened.*JSONEncoder"):
        load_model(path)


def test_trusted_types_are_those_that_the_models_need(tmp_path, monkeypatch):
    monkeypatch.setitem(classifiers.BOOSTING, "max_iter", 2)
    needed = set()
    for class_type in classifiers.CLASS_TYPES:
        save_model(tmp_path / "m", make_model(class_type)[0])
        needed |= set(skops.io.get_untrusted_types(file=tmp_path / "m.skops"))
    assert needed == set(TRUSTED)


@pytest.mark.parametrize(("column", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 30)])
def test_trees_that_lead_out_of_themselves_are_refused(tmp_path, monkeypatch, column, value):
    monkeypatch.setitem(classifiers.BOOSTING, "max_iter", 2)
    model, _ = make_model("gradient_boosting")
    model.estimator._predictors[1][0].nodes[column][0] = value
    save_model(tmp_path / "m", model)
    with pytest.raises(UserError, match="a tree whose nodes do not fit together"):
        load_model(tmp_path / "m.skops")


def test_other_versions_are_reported(saved):
    _, remarks = load_model(saved(lambda content: content["versions"].update(
        {"scikit-learn": "0.1", "feature definitions": "0"})))
    assert "trained with scikit-learn 0.1, this is" in remarks[0] and "feature definitions 0" in remarks[1]


def put(key, value):
    """Return a function that puts a value into a model's content."""
    return lambda content: content.update({key: value})


@pytest.mark.parametrize(("change", "message"), [
    (put("feature_names", (*FEATURE_NAMES[:-1], "shear")), "other image features than this program computes .'shear'"),
    (put("feature_names", FEATURE_NAMES[::-1]), "their order"),
    (put("scaling", {"minimum": np.zeros(30), "maximum": np.ones(29)}), "scaling and typical row of .29, 30. features"),
    (put("typical", np.zeros(29)), "scaling and typical row of .29, 30. features"),
    (lambda content: content.pop("typical"), "damaged, or not as this program writes models .'typical'"),
    (lambda content: content["estimator"].coef_.resize((1, 29), refcheck=False), "is damaged"),
    (lambda content: content["estimator"].__dict__.pop("coef_"), "is damaged"),
    (lambda content: content["estimator"].coef_.fill(np.nan), "its linear SVM decides by .nan., expected one number"),
    (put("format", "something else"), "is not a model of AR_Classifier_weighted.py"),
    (lambda content: content["scaling"]["minimum"].put(3, np.nan), "decides by .nan., expected one number"),
    (put("flare_scale", "old"), "flare_scale 'old' with a latency of 0.0 min"),
    (put("latency_minutes", -1.0), "a latency of -1.0 min"),
    (put("flare_sources", {"flare_scale": "old"}), "is damaged"),
    (put("class_type", "gradient_boosting"), "class_type 'gradient_boosting' with a WeightedLinearSVC"),
])
@pytest.mark.parametrize("name", ["m.skops", "m.pkl"])
def test_damaged_and_other_models_are_refused(saved, change, message, name):
    with pytest.raises(UserError, match=message):
        load_model(saved(change, name))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("m.model", b"x", "expected a name that ends in .skops, .pickle or .pkl, got"),
    ("m.skops", b"{", "is damaged, or no .skops file"), ("m.skops", skops.io.dumps([1]), "is not a model of"),
    ("m.pickle", b"garbage", "cannot be opened as a pickle"), ("m.pickle", pickle.dumps([1]), "is not a model of"),
    ("m.pickle", b"cno_such_module\nThing\n.", "cannot be opened as a pickle"),
    ("m.pickle", b"cclassifier_SVM.scaling\nScaling\n.", "was made by version 0.2.0; run stage 5 again"),
    ("m.pickle", b"cclassifier_SVM.FeaturesetTools\nOldScaling\n.", "was made by version 0.2.0; run stage 5 again"),
    ("m_model.json", b"{}", "was made by version 0.2.0; run stage 5 again"),
])
def test_files_that_are_no_models(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / name)
