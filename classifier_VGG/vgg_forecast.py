"""Forecasts from image files by a model that VGG_transfer_learning.py wrote."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from classifier_VGG.device import prepare_device
from classifier_VGG.image_input import INPUT_PIXELS, InputBatch, input_batches
from general_code.forecast_calibration import Calibration
from general_code.stage_files import UserError, require_file
from general_code.stage_run import StageRun, read_sidecar

IMAGES_A_BATCH = 32


def forecast_with_vgg(model_file: Path, paths: Sequence[Path], run: StageRun, n_jobs: int = 1) -> pd.DataFrame:
    """Forecast flares for images.

    Parameters
    ----------
    model_file : Path
        `VGG_model{suffix}.keras`, with its `.json` beside it: that holds gauss_range and image format.
    paths : sequence of Path
        FITS or PNG, as the model was trained on.
    run : StageRun
        Told what the model is, and shouted at when its weights are random.
    n_jobs : int, optional
        Processes that read FITS.

    Returns
    -------
    pandas.DataFrame
        In the order of `paths`: `decision_value` (log odds of a flare, as the network says), `probability` (calibrated
        on the validation images of the training; nan where that was not defined), `decision` (1 or 0, by the network's
        own probability), `outside_training_range` (""), `refused` (why there is no forecast, else ""). Numbers are
        nan where refused.

    Raises
    ------
    UserError
        When the model or its `.json` is missing or not one of stage 7, or the two are not of one run.
    """
    settings, counts = _notes(model_file)
    prepare_device(run)
    run.say(f"VGG16 with weights {counts.get('weights', 'unknown')}, trained on {settings['image_format']} images, "
            f"flares {counts.get('flare_size', 'unknown')} or larger")
    if counts.get("scores_mean_nothing"):
        run.say("THE MODEL'S WEIGHTS ARE RANDOM: THIS IS A TRIAL, ITS FORECASTS MEAN NOTHING")
    if len(paths) == 1:
        run.say("No figure is drawn for a VGG16 model: it has no features to show")
    odds, refused = np.full(len(paths), np.nan), [""] * len(paths)
    model = _load(model_file)
    _require_noted_head(model, model_file, counts)
    with run.progress(total=len(paths), description="VGG16") as bar:
        for batch in _batches(paths, settings, n_jobs, refused):
            odds[batch.places] = _log_odds(model, batch.grey)
            bar.update(len(batch.places))
    fit = counts.get("calibration")
    probability = np.full(len(paths), np.nan)
    if isinstance(fit, dict):
        probability = Calibration(fit["slope"], fit["intercept"]).probability(odds)
    return pd.DataFrame({"decision_value": odds, "probability": probability, "outside_training_range": "",
                         "decision": np.where(np.isnan(odds), np.nan, odds > 0), "refused": refused})


def _notes(model_file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings and counts of the run that wrote a model."""
    require_file(model_file, "model")
    notes = read_sidecar(model_file) or {}
    settings, counts = notes.get("settings", {}), notes.get("counts", {})
    if not {"gauss_range", "image_format"} <= set(settings):
        raise UserError(f"model: '{model_file}.json' is missing or says no gauss_range and image_format; "
                        "VGG_transfer_learning.py writes it beside the model: keep the two together")
    return settings, counts


def _require_noted_head(model: Any, model_file: Path, counts: dict[str, Any]) -> None:
    """Raise UserError unless the notes are on the head that the model has; sizes and times of copies say nothing."""
    from classifier_VGG.training_checkpoints import head_digest

    if counts.get("model_made_of", {}).get("head") != head_digest(model.layers[-1]):
        raise UserError(f"model: the head in '{model_file}' is not the one that '{model_file}.json' is about: its "
                        "gauss_range and calibration may be those of another training; start "
                        "VGG_transfer_learning.py again, or copy the two files of one run together")


def _batches(paths: Sequence[Path], settings: dict[str, Any], n_jobs: int,
             refused: list[str]) -> Iterator[InputBatch]:
    """Yield the images that can be used, by their places in `paths`; note why the others cannot."""
    wanted = settings["image_format"]
    fitting = [place for place, path in enumerate(paths) if path.suffix.lower() == f".{wanted}"]
    for place in set(range(len(paths))) - set(fitting):
        refused[place] = f"image format: the model was trained on {wanted} images"
    files = [paths[place] for place in fitting]
    for batch in input_batches(files, wanted, settings["gauss_range"], IMAGES_A_BATCH, n_jobs):
        for failure in batch.failures:
            refused[fitting[failure.place]] = f"{failure.reason}: {failure.detail}"
        yield batch._replace(places=np.array([fitting[place] for place in batch.places], int))


def _log_odds(model: Any, grey: np.ndarray) -> np.ndarray:
    """Return the log odds of a flare of each image."""
    if not len(grey):
        return np.empty(0)
    probability = np.asarray(model.predict_on_batch(grey[..., np.newaxis]), np.float64)
    return np.diff(np.log(np.maximum(probability, np.finfo(np.float32).tiny)), axis=1)[:, 0]


def _load(model_file: Path) -> Any:
    """Return the model."""
    import keras

    import classifier_VGG.set_metrics  # noqa: F401  registers the metrics that the model names
    from classifier_VGG.vgg16_network import avoid_xla

    try:
        model = keras.saving.load_model(model_file, compile=False)
    except (ValueError, OSError, TypeError) as error:
        raise UserError(f"model: '{model_file}' is not a Keras model ({str(error).splitlines()[0]})") from None
    if model.input_shape[1:] != (INPUT_PIXELS, INPUT_PIXELS, 1) or model.output_shape[1:] != (2,):
        raise UserError(f"model: '{model_file}' takes {model.input_shape} and gives {model.output_shape}, expected "
                        f"(n, {INPUT_PIXELS}, {INPUT_PIXELS}, 1) and (n, 2) as of VGG_transfer_learning.py")
    avoid_xla(model)
    return model
