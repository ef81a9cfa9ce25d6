"""A trained classifier as files: a pickle for Python users, and a plain JSON with the same numbers for everyone.

The pickle holds a dict: `estimator` (scikit-learn), `scaler` (`Scaling`), `feature_names`, `extra_feature_names`,
`typical`, `calibration`, `validation_threshold`, `class_type`, `flare_size`, `flare_window_hours`, `image_format`,
`flare_sources`, `versions`. A pickle can run any code when it is opened: it is only opened where the user names it. The
JSON cannot, and serves all purposes.

`scaler`, and the linear estimator, are classes of this repository. To open the pickle in a program of your own, type
before `pickle.load`:

    import sys; sys.path.insert(0, "/path/to/this/repository")
"""

import json
import pickle
import platform
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from classifier_SVM.activity_sources import SOURCE_KEYS
from classifier_SVM.FeaturesetTools import FEATURE_NAMES
from classifier_SVM.machines import CLASS_TYPES, Machine, machine_from_numbers, machine_to_numbers, plain_machine
from classifier_SVM.scaling import Scaling
from general_code.flares import peak_flux
from general_code.forecast_calibration import Calibration
from general_code.forecast_evaluation import flare_text
from general_code.stage_files import UserError, atomic_write, describe

FORMAT = "active-region flare classifier, 1"
PACKAGES = ("numpy", "scikit-learn")
PICKLES = (".pickle", ".pkl")
IMAGE_FORMATS = ("", "fits", "png")


@dataclass(frozen=True)
class FlareModel:
    """A trained classifier with all it needs to forecast from features.

    Attributes
    ----------
    class_type : str
        "linear", "rbf", "logistic" or "gradient_boosting".
    machine : Machine
        Gives the decision value of scaled rows.
    scaling : Scaling
        Of all features.
    feature_names, extra_feature_names : tuple of str
        Of the columns: image features (29 or none), then the extra ones.
    typical : ndarray, shape (d,)
        Mean of the scaled training rows.
    calibration : Calibration or None
        None where it was not defined.
    validation_threshold : float
        Decision value of largest validation TSS; NaN where not defined.
    flare_size : str
        Smallest flare that counts; "" where no file told.
    flare_window_hours : float
        Horizon of the forecast: a flare within so many hours counts [h]; NaN where no file told.
    image_format : str
        "fits" or "png", what the image features were computed from; "" without any.
    flare_sources : dict
        What the flares in the extra features were read from, as `activity_sources.read_flares` notes it; empty where no
        file told.
    versions : dict of str to str
        Of Python, packages and the feature definitions at the training.
    """

    class_type: str
    machine: Machine
    scaling: Scaling
    feature_names: tuple[str, ...]
    extra_feature_names: tuple[str, ...]
    typical: np.ndarray
    calibration: Calibration | None
    validation_threshold: float
    flare_size: str
    flare_window_hours: float
    image_format: str
    flare_sources: dict[str, bool | float | str]
    versions: dict[str, str]

    def __post_init__(self):
        """Raise ValueError for what cannot be forecast with: another machine, numbers that are none."""
        if self.class_type not in CLASS_TYPES:
            raise ValueError(f"class_type '{self.class_type}', expected one of {', '.join(CLASS_TYPES)}")
        if self.image_format not in IMAGE_FORMATS:
            raise ValueError(f"image_format '{self.image_format}', expected fits, png or none")
        if self.flare_size:
            peak_flux(self.flare_size)
        if self.flare_window_hours <= 0 or np.isinf([self.flare_window_hours, self.validation_threshold]).any():
            raise ValueError(f"flare_window_hours {self.flare_window_hours}, validation_threshold "
                             f"{self.validation_threshold}, expected numbers, the hours above 0")
        if self.flare_sources and set(self.flare_sources) != set(SOURCE_KEYS):
            raise ValueError(f"flare_sources of {', '.join(self.flare_sources)}, expected {', '.join(SOURCE_KEYS)}")
        sigmoid = [] if self.calibration is None else [self.calibration.slope, self.calibration.intercept]
        for part, numbers in (("scaling", (self.scaling.minimum, self.scaling.maximum)), ("typical", self.typical),
                              ("calibration", sigmoid)):
            if not all(np.isfinite(column).all() for column in numbers):
                raise ValueError(f"{part} has a number that is not finite")

    @property
    def flares(self) -> str:
        """What is forecast, like "C1.0 or larger within 24 h"."""
        return flare_text(self.flare_size, self.flare_window_hours)

    def decision_function(self, values: np.ndarray) -> np.ndarray:
        """Return the decision value of each row.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            In the features' own units: image features, then extra ones.

        Returns
        -------
        ndarray
            Shape (n,); above 0 the decision is a flare.
        """
        return self.machine.decision_function(self.scaling.apply(values))

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Return the calibrated probability of each decision value.

        Parameters
        ----------
        scores : ndarray
            Decision values.

        Returns
        -------
        ndarray
            In 0..1; NaN where the calibration is not defined.
        """
        return np.full(np.shape(scores), np.nan) if self.calibration is None else self.calibration.probability(scores)


def current_versions() -> dict[str, str]:
    """Return the versions that a model depends on.

    Returns
    -------
    dict of str to str
        Python, numpy, scikit-learn, and the feature definitions.
    """
    from classifier_SVM.FunctionsP3 import FEATURE_VERSION  # loads numba

    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES} | {
        "feature definitions": FEATURE_VERSION}


def save_model(stem: Path, model: FlareModel, estimator: Any) -> None:
    """Write `<stem>.pickle` and `<stem>.json`.

    Parameters
    ----------
    stem : Path
        Without extension.
    model : FlareModel
        Its `machine` in plain form, as `plain_machine` returns it.
    estimator : estimator
        The fitted scikit-learn estimator, for the pickle.
    """
    common = {"class_type": model.class_type, "feature_names": list(model.feature_names),
              "extra_feature_names": list(model.extra_feature_names), "flare_size": model.flare_size,
              "flare_window_hours": _or_none(model.flare_window_hours), "image_format": model.image_format,
              "flare_sources": model.flare_sources, "versions": model.versions}
    calibration = None if model.calibration is None else {"slope": model.calibration.slope,
                                                          "intercept": model.calibration.intercept}
    with atomic_write(stem.with_name(stem.name + ".pickle"), "wb") as file:
        pickle.dump(common | {"estimator": estimator, "scaler": model.scaling, "typical": model.typical,
                              "calibration": calibration, "validation_threshold": model.validation_threshold}, file)
    numbers = {"format": FORMAT} | common | {
        "calibration": calibration, "validation_threshold": _or_none(model.validation_threshold),
        "scaling": {"minimum": model.scaling.minimum.tolist(), "maximum": model.scaling.maximum.tolist()},
        "typical": model.typical.tolist(), "machine": machine_to_numbers(model.machine)}
    with atomic_write(stem.with_name(stem.name + ".json")) as file:
        json.dump(numbers, file, indent=1 if model.class_type == "linear" else None, allow_nan=False)
        file.write("\n")


def _or_none(number: float) -> float | None:
    """The number, None where it is NaN: strict JSON has no NaN."""
    return None if np.isnan(number) else number


def load_model(path: Path) -> tuple[FlareModel, list[str]]:
    """Read a model that the user named.

    Parameters
    ----------
    path : Path
        `.json`, or `.pickle` or `.pkl`: those can run any code, so only name one from a source you trust.

    Returns
    -------
    model : FlareModel
        Ready to forecast.
    remarks : list of str
        What differs from the versions that it was trained with.

    Raises
    ------
    UserError
        When there is no such file, it is not such a model, or its features are not those of this program.
    """
    if not path.is_file():
        raise UserError(f"model: no file at '{path}' (from {Path.cwd()}); train one with AR_Classifier_weighted.py or "
                        "set --model")
    if path.suffix not in (".json", *PICKLES):
        raise UserError(f"model: expected a name that ends in .json, {' or '.join(PICKLES)}, got '{path}'; name the "
                        "..._model.json of AR_Classifier_weighted.py")
    content, remarks = _read_pickle(path) if path.suffix in PICKLES else (_read_json(path), [])
    try:
        model = _model(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"model: {path} is not a model of AR_Classifier_weighted.py as this program writes them "
                        f"({describe(error)}); train it again") from None
    if model.feature_names not in ((), FEATURE_NAMES):
        different = next((name for name in model.feature_names if name not in FEATURE_NAMES), "their order")
        raise UserError(f"model: {path} was trained on other image features than this program computes ('{different}', "
                        f"{len(model.feature_names)} in all); train it again")
    _check_parts(model, path)
    return model, remarks + _version_remarks(model.versions)


def _check_parts(model: FlareModel, path: Path) -> None:
    """Raise UserError unless names, scaling, typical image and machine are of the same features and give a number."""
    names = len(model.feature_names) + len(model.extra_feature_names)
    sizes = {"scaling": (model.scaling.minimum.shape, model.scaling.maximum.shape), "typical image": (
        model.typical.shape,)}
    for part, shapes in sizes.items():
        if any(shape != (names,) for shape in shapes):
            raise UserError(f"model: {path}: {part} of {min(shapes)[0] if min(shapes) else 0} features, names of "
                            f"{names}; train it again")
    if (model.scaling.maximum < model.scaling.minimum).any():
        raise UserError(f"model: {path}: scaling with a maximum below its minimum; train it again")
    try:
        value = model.decision_function(model.scaling.minimum[None])
    except (ValueError, IndexError):
        value = np.empty(0)
    if np.shape(value) != (1,):
        raise UserError(f"model: {path}: its {model.class_type} machine is not one of {names} features; train it again")
    if not np.isfinite(value).all():
        raise UserError(f"model: {path}: its {model.class_type} machine decides by {value[0]}, expected a number; "
                        "train it again")


def _read_json(path: Path) -> dict:
    """The content of a model's JSON in the form of the pickle; UserError when it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"model: {path} is not a readable JSON ({describe(error)})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"model: {path} is not a model file (format '{FORMAT}'); expected ..._model.json or .pickle")
    try:
        scaling = Scaling(*(np.array(content["scaling"][name], dtype=float) for name in ("minimum", "maximum")))
        return content | {"machine": machine_from_numbers(content["machine"]), "scaler": scaling}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"model: {path} is damaged ({describe(error)}); train it again") from None


def _read_pickle(path: Path) -> tuple[dict, list[str]]:
    """The content of a model's pickle, and what scikit-learn remarked on its versions."""
    try:
        with warnings.catch_warnings(record=True) as caught, path.open("rb") as file:
            warnings.simplefilter("always")
            content = pickle.load(file)  # noqa: S301 the user named this file
    except OSError:
        raise
    except Exception as error:  # a foreign or damaged pickle can raise anything
        raise UserError(f"model: {path} cannot be opened as a pickle ({describe(error)}); try the .json beside "
                        "it") from None
    if not isinstance(content, dict) or "estimator" not in content:
        raise UserError(f"model: {path} holds no model of AR_Classifier_weighted.py but a {type(content).__name__}")
    try:
        machine = plain_machine(content["estimator"])
    except (AttributeError, TypeError, IndexError, ValueError) as error:
        raise UserError(f"model: {path} is not a model of AR_Classifier_weighted.py that this scikit-learn can use "
                        f"({describe(error)}); try the .json beside it") from None
    return content | {"machine": machine}, [describe(remark.message) for remark in caught]


def _model(content: dict) -> FlareModel:
    """The model of a pickle's or JSON's content; KeyError, TypeError or ValueError when a part is missing or wrong."""
    calibration = content["calibration"]
    threshold, hours = (np.nan if content[name] is None else float(content[name])
                        for name in ("validation_threshold", "flare_window_hours"))
    return FlareModel(
        class_type=str(content["class_type"]), machine=content["machine"], scaling=content["scaler"],
        feature_names=tuple(content["feature_names"]), extra_feature_names=tuple(content["extra_feature_names"]),
        typical=np.asarray(content["typical"], dtype=float),
        calibration=None if calibration is None else Calibration(float(calibration["slope"]),
                                                                 float(calibration["intercept"])),
        validation_threshold=threshold, flare_size=str(content["flare_size"]), flare_window_hours=hours,
        image_format=str(content["image_format"]), flare_sources=dict(content["flare_sources"]),
        versions=dict(content["versions"]))


def _version_remarks(trained: dict[str, str]) -> list[str]:
    """What differs between the versions at the training and now."""
    return [f"the model was trained with {name} {trained.get(name, 'unknown')}, this is {now}"
            for name, now in current_versions().items() if trained.get(name) != now]
