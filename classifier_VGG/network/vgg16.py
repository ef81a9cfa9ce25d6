"""VGG16 as a fixed map from grey levels to features, a softmax head, the two joined to one model, and its forecasts.

Every model is float32 outside; images are (n, 224, 224, 1) grey levels 0..255, so that a saved model carries its own
preprocessing: the channel three times, minus the means of ImageNet (Keras' "caffe" mode).

Keras is imported inside the functions: `--help` does not wait for it, and `prepare_keras` decides how it is set up.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from classifier_VGG.network.inputs import INPUT_PIXELS, InputBatch, InputSettings, input_batches
from general_code.evaluation.evaluate import flare_text
from general_code.evaluation.scores import Calibration
from general_code.images.magnetograms import report_remarks
from general_code.stage.files import UserError, describe, require_file, require_free_space
from general_code.stage.run import StageRun, read_sidecar

if TYPE_CHECKING:
    import keras

FEATURES = 4096  # outputs of fc2
CLASSES = 2  # no flare, flare
PARAMETERS = 134_268_738  # of VGG16 with two classes
IMAGENET_MEANS = (103.939, 116.779, 123.68)  # blue, green, red: keras.applications.vgg16.preprocess_input
GREY_SPREAD = 64.0  # of grey levels minus means: random weights divide by it, so that features are of order 1
DRAW_VERSION = 2  # of random weights: a change of their numbers makes caches void
BATCHES_A_CALL = 16  # of cached features: 2 ms of work are not worth a call of their own

KERAS_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{KERAS_FILE}"
KERAS_MD5 = "64373286793e3c8b2b4e3219cbf3544b"  # as Keras 3.15.1 expects
KERAS_BYTES = 553_467_096
IMAGES_A_BATCH = 32  # of a forecast
LONGEST_REASON = 200  # of an error of Keras', which may list all layers [characters]
MEANINGLESS = "THE WEIGHTS ARE RANDOM: THIS IS A TRIAL, ITS SCORES AND FORECASTS MEAN NOTHING"


# ---------------------------------------------------------------------------- Keras


def prepare_keras(backend: str = "tensorflow") -> str:
    """Import Keras set up for this project, whatever `~/.keras/keras.json` and the environment say.

    Must run before anything else imports Keras. A GPU's memory is taken as it is needed, not all at once.

    Parameters
    ----------
    backend : str, optional
        What Keras computes with.

    Returns
    -------
    str
        Versions and devices, for people.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # both are read when TensorFlow is imported
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    users = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("KERAS_")}
    # Keras finds no configuration of another project in that "folder", and can write none there
    os.environ.update(KERAS_HOME=os.devnull, KERAS_BACKEND=backend)
    try:
        import keras
    finally:
        del os.environ["KERAS_HOME"], os.environ["KERAS_BACKEND"]
        os.environ.update(users)
    # once more for a Keras that was imported before
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    devices = ", ".join(keras.distribution.list_devices("gpu")) or "the CPU"
    return f"Keras {keras.__version__} with {keras.config.backend()} on {devices}"


# ---------------------------------------------------------------------------- network


def build_backbone(source: "WeightSource", dtype: str = "float32") -> "keras.Model":
    """Build the frozen network from grey levels to the outputs of fc2.

    Parameters
    ----------
    source : WeightSource
        From `weight_source`.
    dtype : {"float32", "bfloat16"}, optional
        Of weights and arithmetic.

    Returns
    -------
    keras.Model
        (n, 224, 224, 1) grey levels 0..255 to (n, 4096) float32; not trainable.

    Raises
    ------
    UserError
        When the weights cannot be read.
    """
    import keras

    grey = keras.Input((INPUT_PIXELS, INPUT_PIXELS, 1), name="grey_levels")
    colour = keras.layers.Concatenate(name="three_channels")([grey, grey, grey])
    colour = keras.layers.Rescaling(1.0, [-mean for mean in IMAGENET_MEANS], name="minus_means")(colour)
    keras.config.set_dtype_policy(dtype)
    try:
        published = keras.applications.VGG16(weights=None, input_tensor=colour, classes=CLASSES)
    finally:
        keras.config.set_dtype_policy("float32")
    features = keras.layers.Activation("linear", name="features")(published.get_layer("fc2").output)
    backbone = keras.Model(grey, features, name="VGG16")
    source.fill(backbone)
    backbone.trainable = False
    avoid_xla(backbone)
    return backbone


def backbone_outputs(backbone: "keras.Model", grey: np.ndarray) -> np.ndarray:
    """Return the features of a batch.

    Parameters
    ----------
    backbone : keras.Model
        From `build_backbone`.
    grey : numpy.ndarray
        float32, shape (n, 224, 224): grey levels 0..255, not rounded.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, 4096); (0, 4096) for no image.

    Raises
    ------
    UserError
        When all of them are 0.
    """
    if not len(grey):
        return np.empty((0, backbone.output_shape[-1]), np.float32)
    features = np.asarray(backbone.predict_on_batch(grey[..., np.newaxis]))
    if not features.any():
        raise UserError(f"the network gives 0 for each of {features.shape[1]:,} features of {len(grey):,} images: its "
                        "weights are unusable; take another file (--weights)")
    return features


def new_head(width: int, seed: int, learning_rate: float) -> "keras.Model":
    """Make the trainable layer that takes the place of VGG16's last one.

    Parameters
    ----------
    width : int
        Number of features.
    seed : int
        Of the first weights (Glorot uniform).
    learning_rate : float
        Of Adam.

    Returns
    -------
    keras.Model
        (n, width) to the probabilities (no flare, flare); compiled, its Adam built.
    """
    import keras

    layer = keras.layers.Dense(CLASSES, activation="softmax", name="flare",
                               kernel_initializer=keras.initializers.GlorotUniform(seed))
    head = keras.Sequential([keras.Input((width,), name="features_in"), layer], name="head")
    compile_model(head, keras.optimizers.Adam(learning_rate), BATCHES_A_CALL)
    head.optimizer.build(head.trainable_variables)
    return head


def load_head(path: Path) -> "keras.Model":
    """Return a head that was saved, with the state of its Adam."""
    import keras

    head = keras.saving.load_model(path)
    compile_model(head, head.optimizer, BATCHES_A_CALL)
    return head


def compile_model(model: "keras.Model", optimizer: "keras.Optimizer", batches_a_call: int = 1) -> None:
    """Give a model the experiment's loss and the rates of flares and quiet images that it classifies correctly."""
    import keras

    rates = [keras.metrics.Recall(class_id=label, name=name) for label, name in ((1, "TPR"), (0, "TNR"))]
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=rates,
                  steps_per_execution=batches_a_call)
    avoid_xla(model)


def avoid_xla(model: "keras.Model") -> None:
    """Run TensorFlow's own kernels: XLA, Keras' choice, takes a quarter longer and compiles for each batch size."""
    import keras

    if keras.config.backend() == "tensorflow":
        model.jit_compile = False


def assemble(backbone: "keras.Model", head: "keras.Model") -> "keras.Model":
    """Join backbone and head to one model that shares their variables.

    Parameters
    ----------
    backbone, head : keras.Model
        As built here.

    Returns
    -------
    keras.Model
        (n, 224, 224, 1) grey levels 0..255 to the probabilities (no flare, flare); compiled with the head's optimizer.
    """
    import keras

    model = keras.Model(backbone.input, head.get_layer("flare")(backbone.output), name="VGG16_flares")
    compile_model(model, head.optimizer)
    return model


def head_digest(head: "keras.Layer") -> str:
    """Return a hash of a head's weights.

    Parameters
    ----------
    head : keras.Layer
        From features to two probabilities: a model of that one layer, or the last layer of an assembled model.

    Returns
    -------
    str
        Equal for heads that forecast alike.
    """
    return hashlib.sha256(b"".join(array.tobytes() for array in head.get_weights())).hexdigest()


# ---------------------------------------------------------------------------- weights


class WeightSource(NamedTuple):
    """Where the backbone's weights come from."""

    description: str  # for people
    digest: str  # another one for other weights: what is computed with them depends on it
    fill: Callable[["keras.Model"], None]  # sets the weights of a network
    random: bool  # scores mean nothing


def weight_source(weights: str, seed: int, report: Callable[[str], None]) -> WeightSource:
    """Return the source that the setting `weights` names.

    Parameters
    ----------
    weights : str
        "imagenet", "random", or the path of a whole model (`.keras`, `.h5`) or of weights (`.h5`, `.weights.h5`).
    seed : int
        Of the random weights.
    report : callable
        Takes a line about a download.

    Returns
    -------
    WeightSource
        A file is only read when a network is filled.

    Raises
    ------
    UserError
        When there is no such file, or Keras' own file is neither in its place nor available.
    """
    if weights == "random":
        return WeightSource(f"random, seed {seed}", f"random-{DRAW_VERSION}-{seed}", partial(_draw, seed=seed), True)
    if weights == "imagenet":
        path = _imagenet_file(report)
        return WeightSource(f"ImageNet, {path}", KERAS_MD5, partial(_read, path=path), False)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(f"weights: expected \"imagenet\", \"random\" or a file, got '{weights}', which does not exist "
                        f"(from {Path.cwd()})")
    return WeightSource(str(path), _md5(path), partial(_read, path=path), False)


def _layers_with_weights(network: "keras.Model") -> "list[keras.Layer]":
    """Return the convolutions, fc1 and fc2, in this order."""
    return [layer for layer in network.layers if layer.weights]


def _draw(network: "keras.Model", seed: int) -> None:
    """Draw weights that keep the size of the signal from layer to layer (He et al. 2015, doi:10.1109/ICCV.2015.123).

    They are the same on every system and backend; biases are 0.
    """
    for place, layer in enumerate(_layers_with_weights(network)):
        kernel = np.random.default_rng([seed, place]).standard_normal(layer.kernel.shape, dtype=np.float32)
        kernel *= np.float32(np.sqrt(2 / np.prod(kernel.shape[:-1])))
        if place == 0:
            kernel /= GREY_SPREAD
        layer.set_weights([kernel, np.zeros(kernel.shape[-1], np.float32)])


def _read(network: "keras.Model", path: Path) -> None:
    """Fill a network from a file, or raise UserError saying what the file lacks."""
    layers = _layers_with_weights(network)
    for layer in layers:  # shows afterwards what the file does not have; and a ReLU would hide NaN of its own
        layer.set_weights([np.full(weight.shape, np.nan, np.float32) for weight in layer.weights])
    expected = f"expected VGG16 with its dense layers fc1 and fc2, as in {KERAS_FILE}"
    try:
        _load(network, path)
    except Exception as error:  # h5py and Keras raise many kinds for a damaged or another file
        raise UserError(f"weights '{path}': {expected}, got a file that Keras cannot use for it "
                        f"({describe(error)[:LONGEST_REASON]})") from error
    unset = [layer.name for layer in layers
             if not all(np.isfinite(np.asarray(weight, np.float32)).all() for weight in layer.get_weights())]
    if unset:
        raise UserError(f"weights '{path}': {expected}, got none, NaN or infinite numbers for {', '.join(unset)}; the "
                        "file lacks these layers or is damaged, use another")


def _load(network: "keras.Model", path: Path) -> None:
    """Set what a file holds for the layers of a network."""
    import keras

    if path.suffix == ".keras":
        found = {layer.name: layer for layer in keras.saving.load_model(path, compile=False)._flatten_layers()}
        for layer in _layers_with_weights(network):
            if layer.name in found:
                layer.set_weights(found[layer.name].get_weights())
    elif path.name.endswith(".weights.h5"):
        network.load_weights(path)
    else:
        network.load_weights(path, by_name=True)


def _imagenet_file(report: Callable[[str], None]) -> Path:
    """Return Keras' own file; Keras is not asked about a damaged one, since it would delete it."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    path = Path(os.path.expanduser(home)) / "models" / KERAS_FILE  # noqa: PTH111  Path's fails without any home
    if not path.exists():
        _download(path, report)
    found = _md5(path)
    if found != KERAS_MD5:
        raise UserError(f"weights \"imagenet\": '{path}' has md5 {found}, expected {KERAS_MD5}; it is left as it is: "
                        "move it away to have it downloaded again, or name it with --weights PATH if it is meant")
    return path


def _download(path: Path, report: Callable[[str], None]) -> None:
    """Let Keras download its weights under another name, then move them into place."""
    import keras

    require_free_space(path.parent, KERAS_BYTES, "the download of the ImageNet weights")
    report(f"Downloading {KERAS_URL} ({KERAS_BYTES / 1e6:.0f} MB)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        got = keras.utils.get_file(f"{KERAS_FILE}.part-{os.getpid()}", KERAS_URL, file_hash=KERAS_MD5,
                                   cache_dir=str(path.parent.parent), cache_subdir="models")
        Path(got).replace(path)
    except Exception as error:  # Keras raises the builtin Exception when there is no network
        raise UserError(f"weights \"imagenet\": the download failed ({describe(error)}); without a network, put the "
                        f"file from {KERAS_URL} at '{path}', or use --weights PATH") from error


def _md5(path: Path) -> str:
    """Return the md5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


# ---------------------------------------------------------------------------- forecasts of a saved model


def forecast_with_vgg(model_file: Path, paths: Sequence[Path], run: StageRun, n_jobs: int = 1) -> pd.DataFrame:
    """Forecast flares for images.

    Parameters
    ----------
    model_file : Path
        `VGG_model{suffix}.keras`, with its `.json` beside it: that holds gauss_range and image format.
    paths : sequence of Path
        FITS or PNG, as the model was trained on.
    run : StageRun
        Reports what the model is, and warns when its weights are random.
    n_jobs : int, optional
        Processes that read images.

    Returns
    -------
    pandas.DataFrame
        In the order of `paths`: `decision_value` (log odds of a flare), `probability` (calibrated on the validation
        images of the training; nan where that was not defined), `decision` (1 or 0, by the network's own probability),
        `outside_training_range` (""), `refused` (why there is no forecast, else ""). Numbers are nan where refused.

    Raises
    ------
    UserError
        When the model or its `.json` is missing or not one of stage 7, or the two are not of one run.
    """
    settings, counts = _notes(model_file)
    run.report(prepare_keras())
    flares = flare_text(str(counts.get("flare_size", "")), float(counts.get("flare_window_hours", np.nan)))
    run.report(f"VGG16 with weights {counts.get('weights', 'unknown')}, trained on {settings['image_format']} images, "
               f"flares {flares}")
    if counts.get("scores_mean_nothing"):
        run.report(MEANINGLESS)
    if len(paths) == 1:
        run.report("No figure is drawn for a VGG16 model: it has no features to show")
    odds, refused = np.full(len(paths), np.nan), [""] * len(paths)
    model = _load_model(model_file, counts)
    reading = InputSettings(Path.cwd(), settings["image_format"], settings["gauss_range"], IMAGES_A_BATCH, n_jobs)
    for batch in _batches(paths, reading, refused, run):
        odds[batch.places] = _log_odds(model, batch.grey)
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


def _load_model(model_file: Path, counts: dict[str, Any]) -> "keras.Model":
    """Return the model, or raise UserError unless it is one of stage 7 and the one that the notes are about."""
    import keras

    try:
        model = keras.saving.load_model(model_file, compile=False)
    except Exception as error:  # Keras raises many kinds for a damaged or another file
        raise UserError(f"model: '{model_file}' is not a Keras model ({describe(error)[:LONGEST_REASON]})") from None
    if model.input_shape[1:] != (INPUT_PIXELS, INPUT_PIXELS, 1) or model.output_shape[1:] != (2,):
        raise UserError(f"model: '{model_file}' takes {model.input_shape} and gives {model.output_shape}, expected "
                        f"(n, {INPUT_PIXELS}, {INPUT_PIXELS}, 1) and (n, 2) as of VGG_transfer_learning.py")
    # sizes and times of files say nothing about copies
    if counts.get("model_made_of", {}).get("head") != head_digest(model.layers[-1]):
        raise UserError(f"model: the head in '{model_file}' is not the one that '{model_file}.json' is about: its "
                        "gauss_range and calibration may be those of another training; start "
                        "VGG_transfer_learning.py again, or copy the two files of one run together")
    avoid_xla(model)
    return model


def _batches(paths: Sequence[Path], settings: InputSettings, refused: list[str], run: StageRun) -> Iterator[InputBatch]:
    """Yield the images that can be used, by their places in `paths`; note why the others cannot."""
    endings = (".png",) if settings.image_format == "png" else (".fits", ".fits.gz")
    fitting, remarks = [place for place, path in enumerate(paths) if path.name.lower().endswith(endings)], []
    for place in set(range(len(paths))) - set(fitting):
        refused[place] = f"image format: the model was trained on {settings.image_format} images"
    with run.progress(total=len(fitting), description="VGG16") as bar:
        for batch in input_batches([str(paths[place]) for place in fitting], settings):
            for place, reason, detail in batch.failures:
                refused[fitting[place]] = f"{reason}: {detail}"
            remarks += batch.remarks
            yield batch._replace(places=np.array([fitting[place] for place in batch.places], int))
            bar.update(len(batch.places) + len(batch.failures))
    report_remarks(remarks, run)


def _log_odds(model: "keras.Model", grey: np.ndarray) -> np.ndarray:
    """Return the log odds of a flare of each image."""
    if not len(grey):
        return np.empty(0)
    probability = np.asarray(model.predict_on_batch(grey[..., np.newaxis]), np.float64)
    return np.diff(np.log(np.maximum(probability, np.finfo(np.float32).tiny)), axis=1)[:, 0]
