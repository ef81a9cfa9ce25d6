"""A trained classifier as files: `.skops`, which loads without running code, and the same content as a pickle.

Both hold one dict: the fields of `FlareModel`, and versions. A pickle can run any code when it is opened: only name
one from a source that you trust. The estimator of a linear SVM is a class of this repository; to open its pickle in a
program of your own, first type `import sys; sys.path.insert(0, "/path/to/this/repository")`.
"""

import io
import pickle
import platform
import re
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from classifier_SVM.FeaturesetTools import FEATURE_NAMES, FEATURE_VERSION, Scaling
from classifier_SVM.training.classifiers import CLASS_TYPES, decision_values
from general_code.evaluation.scores import Calibration
from general_code.images.label_file import FlareTarget
from general_code.noaa.flares import AS_REPORTED, FLARE_SCALES
from general_code.stage.files import UserError, atomic_write, describe

FORMAT = "active-region flare classifier, 2"
PICKLES = (".pickle", ".pkl")
LIMITS = ("max_latitude_deg", "max_longitude_deg",  # of the regions: further out none was used [deg]
          "smallest_side", "largest_side")  # of the images [pixels]
TRUSTED = ("classifier_SVM.training.linear_svm.WeightedLinearSVC",
           "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor")  # its nodes: see `_check_trees`
ESTIMATORS = {"linear": "WeightedLinearSVC", "rbf": "SVC", "logistic": "LogisticRegression",
              "gradient_boosting": "HistGradientBoostingClassifier"}
_ADDRESS = re.compile(rb'(?<="__id__": )\d+|\d+(?=\.npy")')  # places in memory, by which skops numbers its parts


@dataclass(frozen=True, kw_only=True)
class FlareModel:
    """A trained classifier with all it needs to forecast from features; d is the number of its columns."""

    class_type: str  # a key of `CLASS_TYPES`
    estimator: Any  # as `fit_classifier` returns it
    scaling: Scaling  # of all columns
    feature_names: tuple[str, ...]  # of the first columns: the 29 image features, or none
    extra_feature_names: tuple[str, ...]  # of the further columns
    typical: np.ndarray  # shape (d,), mean of the scaled training rows
    calibration: Calibration | None  # None where it was not defined
    validation_threshold: float  # decision value of largest validation TSS; NaN where not defined
    flare_size: str  # smallest flare that counts; "" where not known
    flare_window_hours: float  # horizon: a flare within so many hours counts [h]; NaN where not known
    image_format: str  # "fits" or "png", what the image features were computed from; "" without any
    limits: dict[str, float]  # of the training images, as far as known: see `LIMITS`
    flare_sources: dict[str, bool | float | str]  # where the flares of the extra features are from; empty: not known
    latency_minutes: float = 0.0  # from the image to the begin of the window [min]
    flare_scale: str = AS_REPORTED  # of the classes of its labels

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return self.feature_names + self.extra_feature_names

    @property
    def target(self) -> FlareTarget:
        """What is forecast."""
        return FlareTarget(self.flare_size, self.flare_window_hours, self.latency_minutes, self.flare_scale)

    @property
    def feature_scale(self) -> str:
        """The scale of the classes that its extra features count."""
        return self.flare_sources.get("flare_scale", AS_REPORTED)

    @property
    def flares(self) -> str:
        """What is forecast, like "C1.0 or larger within 24 h"."""
        return self.target.text()

    def decision_function(self, values: np.ndarray) -> np.ndarray:
        """Return the decision value, above 0 for a flare, of each row in the features' own units."""
        return decision_values(self.estimator, self.scaling.apply(values))

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Return the calibrated probability of each decision value; NaN where the calibration is not defined."""
        return np.full(np.shape(scores), np.nan) if self.calibration is None else self.calibration.probability(scores)


# ---------------------------------------------------------------------------- writing


def save_model(stem: Path, model: FlareModel) -> None:
    """Write `<stem>.skops` and `<stem>.pickle`, each the same bytes for the same model.

    Parameters
    ----------
    stem, model : Path, FlareModel
        Path without extension, and what to write.
    """
    import skops.io

    content = vars(model) | {"format": FORMAT, "versions": _installed_versions(), "scaling": vars(model.scaling),
                             "calibration": model.calibration and vars(model.calibration)}
    with atomic_write(stem.with_name(stem.name + ".pickle"), "wb") as file:
        pickle.dump(content, file)
    with atomic_write(stem.with_name(stem.name + ".skops"), "wb") as file:
        file.write(_repeatable(skops.io.dumps(content)))


def _repeatable(data: bytes) -> bytes:
    """Number the parts of a skops archive in their order, in place of addresses in memory, and omit the time."""
    numbers: dict[bytes, bytes] = {}
    packed = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as source, ZipFile(packed, "w", ZIP_DEFLATED) as target:
        schema = _ADDRESS.sub(lambda found: numbers.setdefault(found[0], str(len(numbers)).encode()),
                              source.read("schema.json"))
        for name in source.namelist():
            number = numbers.get(name.removesuffix(".npy").encode())
            part = ZipInfo("schema.json" if number is None else f"{number.decode()}.npy")
            part.compress_type = ZIP_DEFLATED
            target.writestr(part, schema if number is None else source.read(name))
    return packed.getvalue()


def _installed_versions() -> dict[str, str]:
    """Return the versions that a model depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("numpy", "scikit-learn")} | {
        "feature definitions": FEATURE_VERSION}


# ---------------------------------------------------------------------------- reading


def load_model(path: Path) -> tuple[FlareModel, list[str]]:
    """Read a model that the user named.

    Parameters
    ----------
    path : Path
        An existing `.skops`, or `.pickle` or `.pkl`: those can run any code.

    Returns
    -------
    model, remarks : FlareModel, list of str
        Ready to forecast, and what differs from the versions that it was trained with. UserError when it is not such a
        model, one of version 0.2.0, or its features are not those of this program.
    """
    if path.suffix == ".json" and path.stem.endswith("_model"):
        raise _of_version_020(path)
    if path.suffix not in (".skops", *PICKLES):
        raise UserError(f"model: expected a name that ends in .skops, {' or '.join(PICKLES)}, got '{path}'; name the "
                        "..._model.skops of AR_Classifier_weighted.py")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        content = _read_pickle(path) if path.suffix in PICKLES else _read_skops(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"model: {path} is not a model of AR_Classifier_weighted.py; name its ..._model.skops")
    try:
        trained = content["versions"].items()
        model = _model(content)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"model: {path} is damaged, or not as this program writes models ({describe(error)}); "
                        "run stage 5 again") from None
    if model.feature_names not in ((), FEATURE_NAMES):
        different = next((name for name in model.feature_names if name not in FEATURE_NAMES), "their order")
        raise UserError(f"model: {path} was trained on other image features than this program computes ('{different}', "
                        f"{len(model.feature_names)} in all); run stage 5 again")
    installed = _installed_versions()
    return model, [describe(remark.message) for remark in caught] + [
        f"the model was trained with {name} {then}, this is {installed.get(name, 'unknown')}"
        for name, then in trained if installed.get(name) != then]


def _of_version_020(path: Path) -> UserError:
    """The error for a model whose classes and numbers stand where this version does not look for them."""
    return UserError(f"model: {path} was made by version 0.2.0; run stage 5 again, and name its ..._model.skops")


def _read_skops(path: Path) -> Any:
    """Return the content of a `.skops`: data, and objects of trusted types alone."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=list(TRUSTED))
    except OSError:
        raise
    except UntrustedTypesFoundException as error:
        raise UserError(f"model: {path} holds objects that no model of AR_Classifier_weighted.py has; it was not "
                        f"opened ({describe(error)})") from None
    except Exception as error:  # a damaged archive can raise anything; no code of it has run
        raise UserError(f"model: {path} is damaged, or no .skops file ({describe(error)}); run stage 5 again") from None


def _read_pickle(path: Path) -> Any:
    """Return the content of a pickle."""
    try:
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301 the user named this file
    except OSError:
        raise
    except Exception as error:  # a foreign or damaged pickle can raise anything
        if isinstance(error, ModuleNotFoundError | AttributeError) and "classifier_SVM" in str(error):
            raise _of_version_020(path) from None
        raise UserError(f"model: {path} cannot be opened as a pickle ({describe(error)})") from None


def _model(content: dict) -> FlareModel:
    """Return the model of a file's content; ValueError when its parts do not fit together."""
    content = {"latency_minutes": 0.0, "flare_scale": AS_REPORTED} | content  # which an earlier version did not write
    parts = {name: content[name] for name in FlareModel.__dataclass_fields__}
    model = FlareModel(**parts | {
        "scaling": Scaling(**parts["scaling"]),
        "calibration": parts["calibration"] and Calibration(**parts["calibration"]),
        "feature_names": tuple(parts["feature_names"]), "extra_feature_names": tuple(parts["extra_feature_names"])})
    if not {model.flare_scale, model.feature_scale} <= set(FLARE_SCALES) or not model.latency_minutes >= 0:
        raise ValueError(f"flare_scale '{model.flare_scale}' with a latency of {model.latency_minutes} min")
    if type(model.estimator).__name__ != ESTIMATORS.get(model.class_type):
        raise ValueError(f"class_type '{model.class_type}' with a {type(model.estimator).__name__}")
    sizes = {len(model.names), *map(np.size, (model.scaling.minimum, model.scaling.maximum, model.typical))}
    if len(sizes) > 1:
        raise ValueError(f"names, scaling and typical row of {sizes} features")
    if model.class_type == "gradient_boosting":
        _check_trees(model.estimator, len(model.names))
    value = model.decision_function(model.scaling.minimum[None])
    if np.shape(value) != (1,) or not np.isfinite(value).all():
        raise ValueError(f"its {CLASS_TYPES[model.class_type]} decides by {value}, expected one number")
    return model


def _check_trees(estimator: Any, features: int) -> None:
    """Raise ValueError for nodes that lead out of a tree: scikit-learn follows them without a look at the bounds."""
    for (tree,) in estimator._predictors:
        nodes = tree.nodes
        inner, place = nodes[nodes["is_leaf"] == 0], np.flatnonzero(nodes["is_leaf"] == 0)
        inside = all((place < inner[side]).all() and (inner[side] < len(nodes)).all() for side in ("left", "right"))
        if not len(nodes) or not inside or (inner["feature_idx"] >= features).any() or inner["is_categorical"].any():
            raise ValueError("a tree whose nodes do not fit together")
