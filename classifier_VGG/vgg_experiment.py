"""The steps of stage 7, in order: images, weights, a mode of the network, training, forecast, and last the model.

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
from classifier_VGG.image_rows import InputSettings
from classifier_VGG.training_checkpoints import Checkpoints, best_epoch, head_digest
from classifier_VGG.vgg16_network import assemble, build_backbone, new_head
from classifier_VGG.vgg16_weights import DENSE_WIDTH
from classifier_VGG.vgg_modes import CachedFeatures, EndToEnd
from classifier_VGG.weight_source import MEANINGLESS, WeightSource, weight_source
from general_code.forecast_evaluation import SPLITS, forecast_rows
from general_code.region_splits import say_splits
from general_code.skill_scores import format_score
from general_code.stage_files import UserError, atomic_path, require_free_space
from general_code.stage_run import StageRun, read_sidecar, resolve_jobs

if TYPE_CHECKING:
    from classifier_VGG.VGG_transfer_learning import UserDefinitions

SAVED_OVERHEAD = 1.1  # of a saved model's size over that of its weights, generously


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
    source = weight_source(user.weights, user.seed, user.cache_dir / "weights.json", run.say)
    width, note = source.note.width, source.note
    published = "" if width == DENSE_WIDTH else f" (the published network has {DENSE_WIDTH:,})"
    run.say(f"Weights of VGG16: {source.description}; fc1 and fc2 of {width:,} outputs{published}")
    if source.random:
        run.say(MEANINGLESS)
    run.counts |= {"weights": source.description, "weights_digest": note.digest, "scores_mean_nothing": source.random}
    return source


def require_model_space(source: WeightSource, path: Path) -> None:
    """Raise unless the disk has room for the assembled model; before the long work, when there is none yet.

    Parameters
    ----------
    source : WeightSource
        Of the backbone.
    path : Path
        The model to be.

    Raises
    ------
    UserError
        Says how much is needed, free and missing.
    """
    if not path.exists():
        require_free_space(path.parent, SAVED_OVERHEAD * source.note.n_bytes, "the model")


@contextmanager
def open_mode(user: "UserDefinitions", images: pd.DataFrame, source: WeightSource,
              run: StageRun) -> Iterator[CachedFeatures | EndToEnd]:
    """Make what trains and forecasts as `mode` says; the cache stays open and locked meanwhile.

    Parameters
    ----------
    user : UserDefinitions
        mode, dtypes and the settings of the input.
    images : pandas.DataFrame
        filename, class.
    source : WeightSource
        Of the backbone; loaded when there is something to compute.
    run : StageRun
        Told of progress and of images left out.

    Yields
    ------
    CachedFeatures or EndToEnd
        With the images that can be used.
    """
    def backbone() -> keras.Model:
        return build_backbone(source.load(), user.extract_dtype)

    settings = _input_settings(user)
    if user.mode == "cached":
        identity = {"kind": "features", **_network_identity(user, source)}
        with RowCache(user.cache_dir, identity, source.note.width, user.cache_dtype) as cache:
            yield CachedFeatures(images, cache, settings, backbone, run)
    elif user.image_format == "png":
        yield EndToEnd(images, None, settings, backbone, run)
    else:
        identity = {"kind": "inputs", **settings.preprocessing}
        with RowCache(user.cache_dir, identity, INPUT_PIXELS**2, "float32") as cache:
            yield EndToEnd(images, cache, settings, backbone, run)


def _input_settings(user: "UserDefinitions") -> InputSettings:
    """Return how images are read."""
    return InputSettings(user.dataset_dir, user.image_format, user.gauss_range, user.batch_size,
                         resolve_jobs(user.n_jobs))


def _network_identity(user: "UserDefinitions", source: WeightSource) -> dict[str, Any]:
    """Return what the features of an image depend on."""
    return {"weights": source.note.digest, **_input_settings(user).preprocessing, "extract_dtype": user.extract_dtype}


def usable_images(images: pd.DataFrame, mode: CachedFeatures | EndToEnd, run: StageRun) -> pd.DataFrame:
    """Keep the images that can be used; the index says their places among all.

    Parameters
    ----------
    images : pandas.DataFrame
        filename, class, split, region.
    mode : CachedFeatures or EndToEnd
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
    images = images[mode.usable]
    say_splits(images["region"], images["class"], images["split"], run)
    _require_both_classes(images, int((~mode.usable).sum()))
    return images


def _require_both_classes(images: pd.DataFrame, left_out: int) -> None:
    """Raise UserError unless there are training images with and without a flare."""
    training = images["class"][images["split"] == "training"]
    if training.nunique() < 2:
        raise UserError(f"train_file: expected usable images with and without a flare, got {training.sum():,} with and "
                        f"{(training == 0).sum():,} without ({left_out:,} of all images left out); check train_file, "
                        "dataset_dir and image_format")


def train(user: "UserDefinitions", images: pd.DataFrame, source: WeightSource, mode: CachedFeatures | EndToEnd,
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
    mode : CachedFeatures or EndToEnd
        As `open_mode` gives it.
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
    checkpoints = Checkpoints(user.output_dir, user.suffix, _identity(user, training, validation, source, mode))
    head = checkpoints.resume(user.epochs, run)
    if head is None:
        head = new_head(source.note.width, user.seed, user.learning_rate)
    for epoch in range(len(checkpoints.history) + 1, user.epochs + 1):
        record = mode.train_epoch(head, training.index.to_numpy(), user.seed, epoch)
        after = set_scores(validation["class"].to_numpy(), mode.log_odds(head, validation.index.to_numpy()))
        checkpoints.save(head, record | {f"val_{name}": value for name, value in after.items()})
        run.say(f"epoch {epoch} of {user.epochs}: loss {format_score(record['loss'], 4)}, TSS "
                f"{format_score(record['TSS'])}; validation: loss {format_score(after['loss'], 4)}, TSS "
                f"{format_score(after['TSS'])}, HSS {format_score(after['HSS'])}")
    best, choice = best_epoch(checkpoints.history)
    run.say(choice)
    return checkpoints, best, choice


def _identity(user: "UserDefinitions", training: pd.DataFrame, validation: pd.DataFrame, source: WeightSource,
              mode: CachedFeatures | EndToEnd) -> dict[str, Any]:
    """Return what the heads depend on, other than the number of epochs."""
    cache = {"cache_dtype": user.cache_dtype} if user.mode == "cached" else {}
    return {**_network_identity(user, source), "mode": user.mode, **cache, "batch_size": user.batch_size,
            "learning_rate": user.learning_rate, "seed": user.seed, "training images": _digest(training, mode),
            "validation images": _digest(validation, mode)}


def _digest(images: pd.DataFrame, mode: CachedFeatures | EndToEnd) -> str:
    """Return a hash of files (name, size, modification time) and classes in their order."""
    lines = (f"{tuple(mode.files[place])} {label}\n" for place, label in images["class"].items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def forecast(user: "UserDefinitions", head: keras.Model, images: pd.DataFrame, source: WeightSource,
             mode: CachedFeatures | EndToEnd) -> pd.DataFrame:
    """Forecast all images; a rerun and an interruption in mode end_to_end cost no second pass.

    Parameters
    ----------
    user : UserDefinitions
        cache_dir and the settings of the network.
    head : keras.Model
        Of the chosen epoch.
    images : pandas.DataFrame
        Usable ones.
    source : WeightSource
        Of the backbone.
    mode : CachedFeatures or EndToEnd
        As `open_mode` gives it.

    Returns
    -------
    pandas.DataFrame
        As `forecast_rows`: the score is the log odds of a flare, the decision that of the larger probability.
    """
    places = images.index.to_numpy()
    if isinstance(mode, CachedFeatures):
        log_odds = mode.log_odds(head, places)
    else:
        identity = {"kind": "forecasts", **_network_identity(user, source), "head": head_digest(head)}
        with RowCache(user.cache_dir, identity, 1, "float64") as cache:
            log_odds = mode.kept_log_odds(head, places, cache)
    return forecast_rows(images["filename"].tolist(), images["class"], log_odds, log_odds > 0,
                         images["split"].to_numpy())


def save_model(user: "UserDefinitions", source: WeightSource, head: keras.Model, path: Path, run: StageRun) -> None:
    """Assemble backbone and head to the model that forecasts from images, and write it unless it is there.

    Parameters
    ----------
    user : UserDefinitions
        The settings of the network.
    source : WeightSource
        Of the backbone.
    head : keras.Model
        Of the chosen epoch.
    path : Path
        The `.keras` file to be.
    run : StageRun
        Told; its counts get "model_made_of", by which the next run knows the file.
    """
    made_of = _network_identity(user, source) | {"head": head_digest(head)}
    earlier = (read_sidecar(path) or {}).get("counts", {})
    if path.is_file() and earlier.get("model_made_of") == made_of | _file_state(path):
        run.counts |= {name: earlier[name] for name in ("model_made_of", "parameters")}
        run.say(f"Model in {path}: as it is, of this head and these weights")
        return
    require_free_space(path.parent, SAVED_OVERHEAD * source.note.n_bytes, "the model")
    model = assemble(build_backbone(source.load(), user.extract_dtype), head)
    with atomic_path(path) as temporary:
        model.save(temporary)
    run.counts |= {"model_made_of": made_of | _file_state(path), "parameters": model.count_params()}
    run.say(f"Model of {model.count_params():,} parameters in {path}")


def _file_state(path: Path) -> dict[str, int]:
    """Return what tells whether a file is still the one that was written."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
