"""Forecasts for images: their features, the archives' activity features, refusals, the figure of one image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from classifier_SVM.FeaturesetTools import concatVals
from classifier_SVM.machines import feature_effects
from classifier_SVM.magnetogram_figure import SHOWN_FIELD, plot_magnetogram, strong_neutral_line
from classifier_SVM.model_file import FlareModel
from classifier_SVM.weight_figure import plot_effects
from general_code.image_names import parse_image_names
from general_code.magnetograms import read_magnetogram
from general_code.skill_figures import save_figure
from general_code.stage_files import UserError
from general_code.stage_run import StageRun

EXTENSIONS = (".fits", ".png")
SHOWN_FEATURES = 12


def find_image_files(images: Sequence[Path]) -> list[Path]:
    """Return the image files that a user named.

    Parameters
    ----------
    images : sequence of Path
        Files of any name, and folders, whose FITS and PNG files count, those in their subfolders included.

    Returns
    -------
    list of Path
        Sorted, each once; a file that does not exist is returned too, to be refused by name.

    Raises
    ------
    UserError
        When no image is named, or a folder holds none.
    """
    if not images:
        raise UserError("images: expected FITS or PNG files, or folders of them, got none; set --images x.fits y.fits")
    files: set[Path] = set()
    for path in images:
        inside = [file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS] if path.is_dir() else [path]
        if not inside:
            raise UserError(f"images: no FITS or PNG file in the folder '{path}'")
        files.update(inside)
    return sorted(files)


def features_of_file(path: Path, image_format: str) -> tuple[np.ndarray | None, str]:
    """Return the 29 features of an image file, or why there are none.

    Parameters
    ----------
    path : Path
        `.fits` or `.png`.
    image_format : str
        What the classifier was trained on, "fits" or "png"; "" where that is not known: then either.

    Returns
    -------
    features : ndarray or None
        Shape (29,).
    refusal : str
        "" when there are features.
    """
    extension = path.suffix.lower().removeprefix(".")
    if image_format and extension != image_format:
        return None, f"the model was trained on .{image_format} images, whose features have another unit"
    try:
        return concatVals(read_magnetogram(path)), ""
    except ValueError as error:
        return None, str(error).removeprefix(f"{path}: ")


def forecast_images(model: FlareModel, features: np.ndarray) -> pd.DataFrame:
    """Forecast from features.

    Parameters
    ----------
    model : FlareModel
        As `load_model` returns it.
    features : ndarray, shape (n, d)
        In their own units: image features, then extra ones.

    Returns
    -------
    pandas.DataFrame
        `probability` (NaN where the calibration is not defined), `decision` (0/1), `decision_value`,
        `outside_training_range` (names of features, joined by "; ").
    """
    names = np.array([*model.feature_names, *model.extra_feature_names])
    scores = model.decision_function(features)
    outside = ["; ".join(names[row]) for row in model.scaling.outside(features)]
    return pd.DataFrame({"probability": model.probability(scores), "decision": (scores > 0).astype(int),
                         "decision_value": scores, "outside_training_range": pd.Series(outside, dtype="str")})


def activity_of_images(files: Sequence[Path], names: Sequence[str], srs_dir: Path, events_dir: Path, event_list: Path,
                       event_list_delay_minutes: float, run: StageRun) -> tuple[np.ndarray, list[str]]:
    """Return the activity features of images by region and time in their names.

    Parameters
    ----------
    files : sequence of Path, length n
        `NNNN_hmi…` or `NNNN/hmi…`.
    names : sequence of str
        Columns that the model was trained with.
    srs_dir : Path
        Region summaries.
    events_dir, event_list : Path
        Event reports, and flares besides those of the reports; see `read_flares`.
    event_list_delay_minutes : float
        A listed flare is known so long after its maximum [min].
    run : StageRun
        Told what is read.

    Returns
    -------
    features : ndarray, shape (n, d)
        NaN for an image that is refused.
    refusals : list of str, length n
        "" where there are features.

    Raises
    ------
    UserError
        When the archives are missing, or a column is not one of `activity_names()`.
    """
    from classifier_SVM.activity_features import activity_features, activity_names, rounded
    from classifier_SVM.activity_sources import read_flares, read_summaries

    foreign = [name for name in names if name not in activity_names()]
    if foreign:
        raise UserError(f"model: trained with the extra feature '{foreign[0]}', which this program cannot compute for "
                        "an image; it computes those of BuildActivityFeatures.py")
    parsed = parse_image_names([str(path) for path in files])
    placed = ((parsed["region"] != "") & parsed["time"].notna()).to_numpy()
    features = np.full((len(files), len(names)), np.nan)
    if placed.any():
        summaries = read_summaries(srs_dir, run)
        flares = read_flares(events_dir, event_list, event_list_delay_minutes, run)
        table = activity_features(parsed["region"][placed], parsed["time"][placed].to_numpy(), flares, summaries.table,
                                  summaries.days)
        features[placed] = rounded(table[list(names)].to_numpy())  # as stage 5 read them
    refusal = "the activity features need region and time, as in NNNN_hmi.M_720s.YYYYMMDD_HHMMSS_TAI.1.magnetogram.fits"
    return features, ["" if known else refusal for known in placed]


# ---------------------------------------------------------------------------- figure


def write_image_figure(path: Path, image: Path, model: FlareModel, features: np.ndarray, forecast: pd.Series) -> None:
    """Write the figure of one image: magnetogram, neutral line, probability, the features for and against.

    Parameters
    ----------
    path : Path
        The PNG to be.
    image : Path
        The image file.
    model : FlareModel
        The classifier.
    features : ndarray, shape (d,)
        Of the image, in their own units.
    forecast : pandas.Series
        Its row of `forecast_images`.
    """
    effects = feature_effects(model.machine, model.scaling.apply(features[None]), model.typical)[0]
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    field, image_format = read_magnetogram(image), image.suffix.lower().removeprefix(".")
    plot_magnetogram(left, field, strong_neutral_line(field), image_format)
    figure.colorbar(left.images[0], ax=left, label=f"line-of-sight field [{SHOWN_FIELD[image_format][1]}]", shrink=0.8,
                    extend="both")
    left.set(xlabel="x [pixels]", ylabel="y [pixels]")
    left.set_title(f"{image.name}\norange: strong neutral line", fontsize="small")
    names = (*model.feature_names, *model.extra_feature_names)
    plot_effects(right, names, effects, SHOWN_FEATURES)
    right.set_xlabel("against a flare  <  0  <  for a flare\n[decision value beside that of the mean training image]")
    outside = [name for name in forecast["outside_training_range"].split("; ") if name]
    right.set_title(f"outside the range of the training images: {len(outside)} features\n"
                    + ", ".join(outside[:4]) + (", …" if len(outside) > 4 else ""), fontsize="small")
    chance = forecast["probability"]
    probability = f"{chance:.0%}" if np.isfinite(chance) else "not defined"
    decision = "yes" if forecast["decision"] else "no"
    figure.suptitle(f"Flares {model.flares}: probability {probability}, decision {decision}")
    save_figure(figure, path)
