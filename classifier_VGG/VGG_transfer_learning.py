"""Forecast flares from magnetograms by VGG16, or another Keras application, with a new last layer (transfer learning).

Reads
    train_file, validation_file, test_file    header `filename,class`; `NNNN/name` and 0/1, of stage 6
    dataset_dir        NNNN/*.fits [gauss] or NNNN/*.png (8-bit grey), rectangles from 32x32 pixels on
    weights            Keras' own ImageNet file, a Keras model or weight file (VGG16's with fc1, fc2), or random numbers
    event_list         `YYYY MM DD,HHMM,NNNN,C5.7`, for the persistence rows; without it they are "not available"

Writes to `output_dir`
    VGG_model{suffix}.keras         (n, 224, 224, 1) grey levels 0..255 to the probabilities of no flare, flare
    VGG_model{suffix}.keras.json    settings (gauss_range!) and counts, for whoever uses the model
    VGG_training{suffix}/*/         head_epoch_NNN.keras and history.csv of each training, named by its settings
    history{suffix}.csv             epoch,loss,TPR,TNR,TSS,HSS,val_loss,val_TPR,val_TNR,val_TSS,val_HSS
    VGGClassifierStats_trainvaltest{suffix}.txt, .json      scores of test, validation, training beside the baselines
    predictions_VGG{suffix}.csv     filename,class,probability,decision,split
    training_curves{suffix}.png, scores_VGG{suffix}.png, roc_..., reliability_...
    cache_dir/features_*/, forecasts_*/         features of images (VGG16: 4096 each); in mode end_to_end log odds
    write_features                  `filename,backbone_0001,...`, sorted: stage 5 reads it as extra_feature_file

Input: FITS in gauss, resized to 224x224 (bilinear, anti-aliased), -gauss_range..gauss_range to 0..255, clipped; PNG
levels resized the same way; another backbone has its own size and preprocessing. mode cached: the frozen network once
per image, then the head alone. mode end_to_end: images through the whole network in each epoch, as published. Both
train the same head. Adam, cross-entropy, class weights 1 and N0/N1. The epoch of largest validation TSS is taken; the
test images choose nothing.

Usage
    python classifier_VGG/VGG_transfer_learning.py
    python classifier_VGG/VGG_transfer_learning.py --weights random --epochs 2
    python classifier_VGG/VGG_transfer_learning.py --backbone ResNet50 --suffix _ResNet50 --write-features emb.csv

References
    Simonyan and Zisserman 2015, arXiv:1409.1556 (VGG16); Boucheron et al. 2023, Scientific Data 10, 825.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, NonNegativeInt, PositiveFloat, PositiveInt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from classifier_VGG.network.inputs import PREPROCESSING_VERSION, InputSettings, RowCache, fill_rows, image_reader
from classifier_VGG.network.training import Checkpoints, HeadTrainer, best_epoch, training_figure
from classifier_VGG.network.vgg16 import (
    MEANINGLESS,
    VGG16,
    FrozenNetwork,
    WeightSource,
    assemble,
    build_backbone,
    find_backbone,
    flare_log_odds,
    head_digest,
    new_head,
    prepare_keras,
    weight_source,
)
from general_code.evaluation.evaluate import calibrate, evaluate_forecast, forecast_rows, split_file
from general_code.evaluation.report import FigureFormat, report_splits, save_figure, write_evaluation
from general_code.evaluation.scores import format_score
from general_code.images.label_file import label_counts, label_target, match_images, read_image_lists
from general_code.noaa.flares import optional_event_list
from general_code.stage.files import (
    UserError,
    atomic_path,
    atomic_write,
    counted,
    is_set,
    refuse_inputs,
    require_folder,
    require_free_space,
    require_output,
)
from general_code.stage.run import (
    Jobs,
    OptionalPath,
    Seed,
    Settings,
    StageRun,
    Suffix,
    command_line,
    read_sidecar,
    resolve_jobs,
    stage_main,
    stage_run,
)

if TYPE_CHECKING:  # Keras takes seconds to import: the functions of the network import it when it is set up
    import keras

PathText = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]
MODEL_BYTES = 4.4  # of the saved model, a parameter
FEATURE_BYTES = 12  # of a feature as text
ROWS_A_TIME = 4096  # of features to write


## User Definitions
class UserDefinitions(Settings):
    train_file: OptionalPath = ""  # images to train on; "": the list in output_dir, with its suffix
    validation_file: OptionalPath = ""  # images that choose the epoch; "": the list in output_dir
    test_file: OptionalPath = ""  # images that only evaluate; "": the list in output_dir
    dataset_dir: Path = "data/dataset"  # folder of NNNN/name
    image_format: Literal["fits", "png"] = "fits"  # extension of the images
    suffix: Suffix = ""  # added to the names of the outputs
    backbone: str = "VGG16"  # an application of Keras by name, as ResNet50 or EfficientNetV2B0, cut before its classes
    weights: PathText = "imagenet"  # backbone: imagenet, path of a file, or random (scores mean nothing)
    mode: Literal["cached", "end_to_end"] = "cached"  # network once per image, or in every epoch as published
    backend: Literal["tensorflow", "torch", "jax"] = "tensorflow"  # what Keras computes with: requirements-gpu.txt
    extract_dtype: Literal["float32", "bfloat16"] = "float32"  # arithmetic of the frozen network
    extract_batch: NonNegativeInt = 0  # images through the frozen network at a time; 0: 64 on a CPU, 256 on a GPU
    cache_dtype: Literal["float32", "float16"] = "float32"  # mode cached only: 16 or 8 kB an image on disk
    write_features: OptionalPath = ""  # mode cached only: file for the features, to train stage 5 with; "": none
    event_list: OptionalPath = "data/eventList.txt"  # flares for the persistence rows; "": none
    output_dir: Path = "results/VGG"  # folder of all outputs
    cache_dir: Path = "results/VGG/cache"  # folder of features, or of the log odds of a forecast
    epochs: PositiveInt = 5  # passes over the training images
    batch_size: PositiveInt = 64  # images a step
    learning_rate: PositiveFloat = 0.001  # step size of Adam
    seed: Seed = 0  # random numbers of head, order, bootstrap and weights
    gauss_range: PositiveFloat = 5978.7  # FITS only: field that becomes 255; minus it becomes 0 [G]
    n_jobs: Jobs = -1  # threads that read images; -1: all cores
    figure_format: FigureFormat = "png"  # png, pdf or svg; figures that earlier runs left in another format stay
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    lists, outputs = list_files(user), output_files(user)
    inputs = [*lists.values(), user.dataset_dir, user.event_list]
    inputs += [Path(user.weights).expanduser()] if user.weights not in ("imagenet", "random") else []
    refuse_inputs(outputs.values(), inputs)
    if is_set(user.write_features):
        require_feature_file(user, inputs, outputs)
    with stage_run(user, output=outputs["model"], inputs=inputs) as run:
        images = read_images(user, lists, run)
        run.report(prepare_keras(user.backend))
        run.report(settings_text(user))
        source = choose_weights(user, run)
        if not outputs["model"].exists():
            require_free_space(user.output_dir, MODEL_BYTES * source.backbone.parameters, "the model")
        network = FrozenNetwork(lambda: build_backbone(source, user.extract_dtype), user.extract_batch, run.report)
        with open_mode(user, images, source, network, run) as (trainer, usable):
            images = images[usable]
            report_splits(images["region"], images["class"], images["split"], run)
            require_both_classes(images, int((~usable).sum()))
            checkpoints = train(user, images, source, trainer, run)
            best, choice = best_epoch(checkpoints.history)
            run.report(choice)
            head = checkpoints.load(best)
            rows = forecast(user, head, images, source, trainer=trainer, run=run)
        checkpoints.write_history(outputs["history"])
        title = "\n".join([*[MEANINGLESS] * source.random, choice.replace("; the", "\nThe", 1)])
        save_figure(training_figure(checkpoints.history, best, title), outputs["training_curves"])
        evaluate(user, rows, source, train_file=lists["training"], choice=choice, run=run)
        run.count("best_epoch", best)
        # last: until the sidecar is written at the end of the run, the earlier calibration stands beside the model
        save_model(user, source, head, outputs["model"], run)


# ---------------------------------------------------------------------------- files


def list_files(user: UserDefinitions) -> dict[str, Path]:
    """Return the list of each split: training, validation, test."""
    named = {"training": user.train_file, "validation": user.validation_file, "test": user.test_file}
    return {split: path if is_set(path) else split_file(user.output_dir, split, user.suffix)
            for split, path in named.items()}


def output_files(user: UserDefinitions) -> dict[str, Path]:
    """Return the outputs but the heads, by what they hold."""
    suffix = user.suffix
    names = {"model": f"VGG_model{suffix}.keras", "history": f"history{suffix}.csv",
             "training_curves": f"training_curves{suffix}.{user.figure_format}",
             "statistics": f"VGGClassifierStats_trainvaltest{suffix}.txt",
             "statistics JSON": f"VGGClassifierStats_trainvaltest{suffix}.json",
             "predictions": f"predictions_VGG{suffix}.csv"}
    names |= {figure: f"{figure}_VGG{suffix}.{user.figure_format}" for figure in ("scores", "roc", "reliability")}
    return {key: user.output_dir / name for key, name in names.items()}


def require_feature_file(user: UserDefinitions, inputs: list[Path], outputs: dict[str, Path]) -> None:
    """Raise UserError, hours before the features are there, unless they can be written to `write_features`."""
    if user.mode != "cached":
        raise UserError("write_features: mode end_to_end keeps no features; set --mode cached")
    require_output(user.write_features, inputs)
    if os.path.realpath(user.write_features) in map(os.path.realpath, outputs.values()):
        raise UserError(f"write_features: '{user.write_features}' is another output of this stage; name another file")


def settings_text(user: UserDefinitions) -> str:
    """Return a line that names the settings of this run."""
    images = f"FITS images (+-{user.gauss_range:g} G)" if user.image_format == "fits" else "PNG images"
    kept = f", features kept in {user.cache_dtype} in {user.cache_dir}" if user.mode == "cached" else ""
    return (f"Mode {user.mode}: {images}, {user.backbone} in {user.extract_dtype}{kept}; {user.epochs} epochs of Adam "
            f"in batches of {user.batch_size}, learning rate {user.learning_rate:g}, seed {user.seed}")


# ---------------------------------------------------------------------------- images and weights


def read_images(user: UserDefinitions, lists: dict[str, Path], run: StageRun) -> pd.DataFrame:
    """Read the three lists and find their images: filename, class, split, region, source, bytes, modified_ns."""
    require_folder(user.dataset_dir, "dataset_dir")
    images = read_image_lists(lists, run)
    for split, path in lists.items():
        run.report(f"{split} images: {int((images['split'] == split).sum()):,} in {path}")
    run.report(f"Flares: {label_target(lists['training']).text()}")
    run.counts |= label_counts(lists["training"])
    require_both_classes(images, 0)  # before the long way through the network, and again after it
    images = match_images(images, user.dataset_dir, user.image_format, run)
    found = images["source"] != ""
    for name in images["listed"][~found]:
        run.exclude(name, "image missing", f"not in {user.dataset_dir}", subject="images")
    if not found.any():
        raise UserError(f"dataset_dir: none of the {len(images):,} images in the lists is a {user.image_format} image "
                        f"in '{user.dataset_dir}'; set --dataset-dir or --image-format")
    images = images[found].reset_index(drop=True)
    return images.assign(filename=images["source"].str.rpartition("/")[2])


def require_both_classes(images: pd.DataFrame, excluded: int) -> None:
    """Raise UserError unless there are training images with and without a flare."""
    training = images["class"][images["split"] == "training"]
    if training.nunique() < 2:
        raise UserError(f"train_file: expected usable images with and without a flare, got {training.sum():,} with and "
                        f"{(training == 0).sum():,} without ({excluded:,} of all images excluded); check train_file, "
                        "dataset_dir and image_format")


def choose_weights(user: UserDefinitions, run: StageRun) -> WeightSource:
    """Find the backbone's weights, and warn when they are random."""
    source = weight_source(user.weights, user.seed, run.report, find_backbone(user.backbone))
    run.report(f"Weights of {user.backbone}: {source.description}")
    if source.random:
        run.report(MEANINGLESS)
    run.counts |= {"weights": source.description, "weights_digest": source.digest,
                   "scores_mean_nothing": source.random}
    return source


# ---------------------------------------------------------------------------- training


def input_settings(user: UserDefinitions, source: WeightSource, batch_size: int) -> InputSettings:
    """Return how images are read."""
    return InputSettings(user.dataset_dir, user.image_format, user.gauss_range, batch_size, resolve_jobs(user.n_jobs),
                         pixels=source.backbone.pixels)


def network_settings(user: UserDefinitions, source: WeightSource) -> dict[str, Any]:
    """Return what the features of an image depend on."""
    settings = {"weights": source.digest, "image_format": user.image_format,
                "preprocessing_version": PREPROCESSING_VERSION, "extract_dtype": user.extract_dtype}
    if user.image_format == "fits":
        settings["gauss_range"] = user.gauss_range
    if source.backbone != VGG16:  # what was computed before there was a choice stays valid
        settings["backbone"] = source.backbone.name
    return settings


@contextmanager
def open_mode(user: UserDefinitions, images: pd.DataFrame, source: WeightSource, network: FrozenNetwork,
              run: StageRun) -> Iterator[tuple[HeadTrainer, np.ndarray]]:
    """Yield what trains and forecasts as `mode` says, and which images can be used (bool, one an image).

    The cache stays open and locked meanwhile; the network is only built when there is something to compute.
    """
    settings, classes = input_settings(user, source, network.images), images["class"].to_numpy()
    if user.mode == "cached":
        identity = {"kind": "features", **network_settings(user, source)}
        with RowCache(user.cache_dir, identity, source.backbone.features, user.cache_dtype) as cache:
            rows = fill_rows(images, cache, settings, network, run)
            values = cache.values()
            if is_set(user.write_features):
                write_feature_file(user.write_features, images["filename"], values, rows, run)
            yield HeadTrainer(lambda places: values[rows[places]], classes, user.batch_size, run), rows >= 0
    else:
        read, usable = image_reader(images, settings, run)
        yield HeadTrainer(read, classes, user.batch_size, run, network), usable


def write_feature_file(path: Path, names: pd.Series, values: np.ndarray, rows: np.ndarray, run: StageRun) -> None:
    """Write the features of images (those whose row in `values` is not -1), by name, for stage 5."""
    import pyarrow
    from pyarrow import csv

    chosen, width = names[rows >= 0].sort_values(), values.shape[1]
    run.report(f"Writing {path}: {width:,} features of {counted(len(chosen), 'images')}")
    require_free_space(path.parent, len(chosen) * width * FEATURE_BYTES, "the features")
    columns = [f"backbone_{number:04d}" for number in range(1, width + 1)]
    schema = pyarrow.schema([("filename", pyarrow.string()), *((name, pyarrow.float32()) for name in columns)])
    options = csv.WriteOptions(quoting_style="none", quoting_header="none")
    with atomic_write(path, "wb") as file, csv.CSVWriter(file, schema, write_options=options) as writer:
        for start in range(0, len(chosen), ROWS_A_TIME):
            some = chosen[start:start + ROWS_A_TIME]
            features = values[rows[some.index]].astype(np.float32)
            writer.write_table(pyarrow.table([some.tolist(), *features.T], schema=schema))


def train(user: UserDefinitions, images: pd.DataFrame, source: WeightSource, trainer: HeadTrainer,
          run: StageRun) -> Checkpoints:
    """Train the head epoch by epoch, from where an interrupted run stopped; the index of images are their places."""
    training, validation = (images[images["split"] == split] for split in ("training", "validation"))
    cache = {"cache_dtype": user.cache_dtype} if user.mode == "cached" else {}
    settings = {**network_settings(user, source), "mode": user.mode, **cache, "batch_size": user.batch_size,
                "learning_rate": user.learning_rate, "seed": user.seed, "training images": images_digest(training),
                "validation images": images_digest(validation)}
    if (old := user.output_dir / f"training{user.suffix}.json").exists():
        run.report(f"{old} and its heads: made by version 0.2.0; not used, remove them")
    checkpoints = Checkpoints(user.output_dir / f"VGG_training{user.suffix}", settings)
    head = checkpoints.resume(user.epochs, run)
    head = head or new_head(source.backbone.features, user.seed, user.learning_rate)
    for epoch in range(len(checkpoints.history) + 1, user.epochs + 1):
        record = trainer.record(head, training.index.to_numpy(), validation.index.to_numpy(), user.seed, epoch)
        checkpoints.save(head, record)
        run.report(f"epoch {epoch} of {user.epochs}: loss {format_score(record['loss'], 4)}, TSS "
                   f"{format_score(record['TSS'])}; validation: loss {format_score(record['val_loss'], 4)}, TSS "
                   f"{format_score(record['val_TSS'])}, HSS {format_score(record['val_HSS'])}")
    return checkpoints


def images_digest(images: pd.DataFrame) -> str:
    """Return a hash of files (name, size, modification time) and classes in their order."""
    columns = images[["source", "bytes", "modified_ns", "class"]]
    return hashlib.sha256(columns.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


# ---------------------------------------------------------------------------- forecast and model


def forecast(user: UserDefinitions, head: "keras.Model", images: pd.DataFrame, source: WeightSource,
             trainer: HeadTrainer, run: StageRun) -> pd.DataFrame:
    """Forecast all images by the log odds of a flare; in mode end_to_end an interruption costs no second pass."""
    if user.mode == "cached":
        log_odds = trainer.log_odds(head, images.index.to_numpy())
    else:
        network = trainer.backbone
        identity = {"kind": "forecasts", **network_settings(user, source), "head": head_digest(head)}
        with RowCache(user.cache_dir, identity, 1, "float64") as cache:
            rows = fill_rows(images, cache, input_settings(user, source, network.images),
                             lambda grey: flare_log_odds(head, network(grey))[:, np.newaxis], run)
            log_odds = cache.values()[rows[rows >= 0], 0]
        lost = images["split"][rows < 0]
        images = images[rows >= 0]
        for split in sorted(set(lost) - set(images["split"])):
            raise UserError(f"dataset_dir: {counted(int((lost == split).sum()), f'{split} images')} could be read when "
                            "this run began, and none of them now; start again")
    return forecast_rows(images["filename"].tolist(), images["class"], log_odds, log_odds > 0,
                         images["split"].to_numpy())


def evaluate(user: UserDefinitions, rows: pd.DataFrame, source: WeightSource, train_file: Path, choice: str,
             run: StageRun) -> None:
    """Evaluate the forecast as every forecast is; write predictions, statistics and figures."""
    run.report("Scores with bootstrap over regions")
    rows, calibration = calibrate(rows)
    target, split = label_target(train_file), (read_sidecar(train_file) or {"counts": {}})["counts"].get("split", "")
    remarks = [text for text in (split, MEANINGLESS * source.random, choice) if text]
    name = f"{user.backbone}, RANDOM WEIGHTS" if source.random else user.backbone
    report = evaluate_forecast(rows, forecast=name, decision_rule="decision at 0.5", calibration=calibration,
                               target=target, remarks=remarks, seed=user.seed,
                               events=optional_event_list(user.event_list, run, flare_scale=target.scale))
    run.counts |= {"flare_size": report["flare_size"], "calibration": report["calibration"], "split": split}
    write_evaluation(report, rows, output_files(user)["statistics"], f"VGG{user.suffix}", run,
                     figure_format=user.figure_format)


def save_model(user: UserDefinitions, source: WeightSource, head: "keras.Model", path: Path, run: StageRun) -> None:
    """Assemble and write the model unless it is there; by "model_made_of" the next run and Forecast_AR know it."""
    made_of = network_settings(user, source) | {"head": head_digest(head)}
    earlier = (read_sidecar(path) or {}).get("counts", {})
    if path.is_file() and earlier.get("model_made_of") == made_of | file_state(path):
        run.counts |= {name: earlier.get(name) for name in ("model_made_of", "parameters")}
        run.report(f"Model in {path}: unchanged, of this head and these weights")
        return
    require_free_space(path.parent, MODEL_BYTES * source.backbone.parameters, "the model")
    model = assemble(build_backbone(source, user.extract_dtype), head)
    with atomic_path(path) as temporary:
        model.save(temporary)
    run.counts |= {"model_made_of": made_of | file_state(path), "parameters": model.count_params()}
    run.report(f"Model of {model.count_params():,} parameters in {path}")


def file_state(path: Path) -> dict[str, int]:
    """Return what tells whether a file is still the one that was written."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
