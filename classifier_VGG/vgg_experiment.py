"""The steps of stage 7, in order: images, weights, a way through the network, training, model, judgement.

Imports TensorFlow; the settings are those of `VGG_transfer_learning.py`.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import pandas as pd

from classifier_VGG.backbone_cache import RowCache
from classifier_VGG.head_training import set_scores
from classifier_VGG.image_input import INPUT_PIXELS
from classifier_VGG.image_lists import read_image_lists, setting_of
from classifier_VGG.training_checkpoints import Checkpoints, best_epoch
from classifier_VGG.training_figure import training_figure
from classifier_VGG.vgg16_network import assemble, build_backbone, new_head
from classifier_VGG.vgg16_weights import Weights, WeightSource, weight_source
from classifier_VGG.vgg_ways import CachedFeatures, EndToEnd, InputSettings
from general_code.event_list import optional_event_list
from general_code.forecast_evaluation import SPLITS, calibrate, evaluate_forecast, forecast_rows
from general_code.forecast_report import statistics_text, write_evaluation
from general_code.label_file import STAGE_3_FLARE_SIZE, label_size
from general_code.skill_figures import save_figure
from general_code.stage_files import UserError, atomic_path, atomic_write, require_free_space
from general_code.stage_run import StageRun, resolve_jobs

if TYPE_CHECKING:
    from classifier_VGG.VGG_transfer_learning import UserDefinitions

MEANINGLESS = "THE WEIGHTS ARE RANDOM: THIS IS A TRIAL, ITS SCORES AND FORECASTS MEAN NOTHING"


def prepare_device(run: StageRun) -> None:
    """Say what computes; let TensorFlow take a GPU's memory as it is needed, not all at once.

    Parameters
    ----------
    run : StageRun
        Told.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    run.say(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, on {', '.join(names) or 'the CPU'}")
    run.counts["devices"] = names or ["CPU"]


def read_images(user: "UserDefinitions", run: StageRun) -> pd.DataFrame:
    """Read the three lists.

    Parameters
    ----------
    user : UserDefinitions
        The files and the image format.
    run : StageRun
        Told how many images there are.

    Returns
    -------
    pandas.DataFrame
        filename, class, split, region: training, validation, test.
    """
    files = {split: getattr(user, setting_of(split)) for split in SPLITS[::-1]}
    images = read_image_lists(files, user.image_format, run)
    run.say(", ".join(f"{split}: {int((images['split'] == split).sum()):,} images" for split in files))
    _require_both_classes(images, 0)  # before the long way through the network, and again after it
    return images


def choose_weights(user: "UserDefinitions", run: StageRun) -> WeightSource:
    """Find the backbone's weights, and shout when they are random.

    Parameters
    ----------
    user : UserDefinitions
        weights, seed.
    run : StageRun
        Told.

    Returns
    -------
    WeightSource
        See there.
    """
    source = weight_source(user.weights, user.seed, run.say)
    run.say(f"Weights of VGG16: {source.description}")
    if source.random:
        run.say(MEANINGLESS)
    run.counts |= {"weights": source.description, "weights_digest": source.digest,
                   "scores_mean_nothing": source.random}
    return source


@contextmanager
def open_way(user: "UserDefinitions", images: pd.DataFrame, source: WeightSource, weights: Weights,
             run: StageRun) -> Iterator[CachedFeatures | EndToEnd]:
    """Bring the images through the network as `mode` says.

    Parameters
    ----------
    user : UserDefinitions
        mode, dtypes and the settings of the input.
    images : pandas.DataFrame
        filename, class.
    source : WeightSource
        Of the backbone.
    weights : Weights
        What it loads.
    run : StageRun
        Told of progress and of images left out.

    Yields
    ------
    CachedFeatures or EndToEnd
        The cache stays open and locked meanwhile.
    """
    settings = InputSettings(user.dataset_dir, user.image_format, user.gauss_range, user.batch_size,
                             resolve_jobs(user.n_jobs))
    if user.mode == "cached":
        identity = {"kind": "features", "weights": source.digest, **settings.preprocessing,
                    "extract_dtype": user.extract_dtype}
        with RowCache(user.cache_dir, identity, weights["fc2"][1].size, user.cache_dtype) as cache:
            yield CachedFeatures(images, cache, settings, lambda: build_backbone(weights, user.extract_dtype), run)
        return
    backbone = build_backbone(weights, user.extract_dtype)
    if user.image_format == "png":
        yield EndToEnd(images, None, settings, backbone, run)
        return
    with RowCache(user.cache_dir, {"kind": "inputs", **settings.preprocessing}, INPUT_PIXELS**2, "float32") as cache:
        yield EndToEnd(images, cache, settings, backbone, run)


def usable_images(images: pd.DataFrame, way: CachedFeatures | EndToEnd, run: StageRun) -> pd.DataFrame:
    """Keep the images that can be used; the index says their places in the way.

    Parameters
    ----------
    images : pandas.DataFrame
        filename, class, split, region.
    way : CachedFeatures or EndToEnd
        Made of all of them.
    run : StageRun
        Told what each split holds.

    Returns
    -------
    pandas.DataFrame
        The same columns.

    Raises
    ------
    UserError
        When the training images that are left are not of two classes.
    """
    images = images[way.usable]
    for split in SPLITS:
        part = images[images["split"] == split]
        flares = int(part["class"].sum())
        remark = "" if 0 < flares < len(part) else "; one class only or empty: its scores are not defined"
        run.say(f"{split}: {part['region'].nunique():,} regions, {len(part):,} images, {flares:,} with a flare{remark}")
        run.counts[split] = {"regions": part["region"].nunique(), "images": len(part), "flaring": flares}
    _require_both_classes(images, int((~way.usable).sum()))
    return images


def _require_both_classes(images: pd.DataFrame, left_out: int) -> None:
    """Raise UserError unless there are training images with and without a flare."""
    training = images["class"][images["split"] == "training"]
    if training.nunique() < 2:
        raise UserError(f"train_file: expected usable images with and without a flare, got {training.sum():,} with and "
                        f"{(training == 0).sum():,} without ({left_out:,} of all images left out); check train_file, "
                        "dataset_dir and image_format")


def train(user: "UserDefinitions", images: pd.DataFrame, source: WeightSource, way: CachedFeatures | EndToEnd,
          run: StageRun) -> tuple[Checkpoints, int, str]:
    """Train the head epoch by epoch, from where an interrupted run stopped.

    Parameters
    ----------
    user : UserDefinitions
        epochs, batch_size, learning_rate, seed.
    images : pandas.DataFrame
        Usable ones.
    source : WeightSource
        Of the backbone.
    way : CachedFeatures or EndToEnd
        Through the network.
    run : StageRun
        Told of each epoch.

    Returns
    -------
    Checkpoints
        With the history.
    int
        The best epoch.
    str
        How it was chosen.
    """
    training, validation = (images[images["split"] == split] for split in ("training", "validation"))
    checkpoints = Checkpoints(user.output_dir, user.suffix, _identity(user, training, validation, source, way))
    head = checkpoints.resume(user.epochs, run)
    if head is None:
        head = new_head(way.width, user.seed, user.learning_rate)
    for epoch in range(len(checkpoints.history) + 1, user.epochs + 1):
        record = way.train_epoch(head, training.index.to_numpy(), user.seed, epoch)
        after = set_scores(validation["class"].to_numpy(), way.log_odds(head, validation.index.to_numpy()))
        checkpoints.save(head, record | {f"val_{name}": value for name, value in after.items()})
        run.say(f"epoch {epoch} of {user.epochs}: loss {record['loss']:.4f}, TSS {record['TSS']:.3f}; validation: "
                f"loss {after['loss']:.4f}, TSS {after['TSS']:.3f}, HSS {after['HSS']:.3f}")
    best, choice = best_epoch(checkpoints.history)
    run.say(choice)
    return checkpoints, best, choice


def _identity(user: "UserDefinitions", training: pd.DataFrame, validation: pd.DataFrame, source: WeightSource,
              way: CachedFeatures | EndToEnd) -> dict[str, Any]:
    """Return what the heads depend on, other than the number of epochs."""
    gauss = {"gauss_range": user.gauss_range} if user.image_format == "fits" else {}
    cache = {"cache_dtype": user.cache_dtype} if user.mode == "cached" else {}
    return {"weights": source.digest, "mode": user.mode, "image_format": user.image_format, **gauss, **cache,
            "extract_dtype": user.extract_dtype, "batch_size": user.batch_size, "learning_rate": user.learning_rate,
            "seed": user.seed, "training images": _digest(training, way), "validation images": _digest(validation, way)}


def _digest(images: pd.DataFrame, way: CachedFeatures | EndToEnd) -> str:
    """Return a hash of files (name, size, modification time) and classes in their order."""
    lines = (f"{tuple(way.files[place])} {label}\n" for place, label in images["class"].items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def forecast(head: keras.Model, images: pd.DataFrame, way: CachedFeatures | EndToEnd) -> pd.DataFrame:
    """Forecast all images and calibrate on the validation images.

    Parameters
    ----------
    head : keras.Model
        Of the chosen epoch.
    images : pandas.DataFrame
        Usable ones.
    way : CachedFeatures or EndToEnd
        Through the network.

    Returns
    -------
    pandas.DataFrame
        As `forecast_rows`: the score is the log odds of a flare, the decision that of the larger probability.
    """
    log_odds = way.log_odds(head, images.index.to_numpy())
    return forecast_rows(images["filename"].tolist(), images["class"], log_odds, log_odds > 0,
                         images["split"].to_numpy())


def save_model(user: "UserDefinitions", weights: Weights, head: keras.Model, path: Path, run: StageRun) -> None:
    """Assemble backbone and head to the model that forecasts from images, and write it.

    Parameters
    ----------
    user : UserDefinitions
        extract_dtype.
    weights : Weights
        Of the backbone.
    head : keras.Model
        Of the chosen epoch.
    path : Path
        The `.keras` file to be.
    run : StageRun
        Told.
    """
    size = sum(array.nbytes for pair in weights.values() for array in pair)
    require_free_space(path.parent, 1.1 * size, "the model")
    model = assemble(build_backbone(weights, user.extract_dtype), head)
    with atomic_path(path) as temporary:
        model.save(temporary)
    run.count("parameters", model.count_params())
    run.say(f"Model of {model.count_params():,} parameters in {path}")


def judge(user: "UserDefinitions", rows: pd.DataFrame, source: WeightSource, checkpoints: Checkpoints, best: int,
          choice: str, run: StageRun) -> None:
    """Judge the forecast; write predictions, statistics and figures.

    Parameters
    ----------
    user : UserDefinitions
        output_dir, suffix, event_list, train_file, seed.
    rows : pandas.DataFrame
        As `forecast` returns them.
    source : WeightSource
        Of the backbone.
    checkpoints : Checkpoints
        With the history.
    best : int
        Epoch taken.
    choice : str
        How it was chosen.
    run : StageRun
        Told of the scores.
    """
    run.say("Calibrating on validation, scores with bootstrap over regions")
    rows, calibration = calibrate(rows)
    size = label_size(user.train_file)
    if not size:
        run.say(f"The size of the labelled flares is not known here: persistence counts those >= {STAGE_3_FLARE_SIZE}")
    name = "VGG16, RANDOM WEIGHTS" if source.random else "VGG16"
    report = evaluate_forecast(rows, name, "decision at 0.5", calibration, size or STAGE_3_FLARE_SIZE,
                               optional_event_list(user.event_list, run), seed=user.seed)
    run.counts |= {"flare_size": report["flare_size"], "calibration": report["calibration"], "best_epoch": best}
    statistics = user.output_dir / f"VGGClassifierStats_trainvaltest{user.suffix}.txt"
    write_evaluation(report, rows, statistics, user.output_dir / f"predictions_VGG{user.suffix}.csv",
                     f"VGG{user.suffix}")
    remarks = "".join(line + "\n" for line in (MEANINGLESS, choice)[0 if source.random else 1:])
    with atomic_write(statistics) as file:
        file.write(f"{remarks}\n{statistics_text(report)}")
    title = f"{MEANINGLESS}\n{choice}" if source.random else choice
    save_figure(training_figure(checkpoints.history, best, title.replace("; the", "\nThe", 1)),
                user.output_dir / f"training_curves{user.suffix}.png")
    run.say(statistics_text(report).split("\nvalidation: ")[0].rstrip())
    run.say(f"Scores of all splits in {statistics}")
    if source.random:
        run.say(MEANINGLESS)
