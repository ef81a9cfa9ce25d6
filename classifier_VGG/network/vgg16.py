"""VGG16 as a fixed map from grey levels to features, a softmax head, the two joined to one model, and its forecasts.

Every model is float32 outside; images are (n, 224, 224, 1) grey levels 0..255, so that a saved model carries its own
preprocessing: the channel three times, minus the means of ImageNet (Keras' "caffe" mode).

Keras is imported inside the functions: `--help` does not wait for it, and `prepare_keras` decides how it is set up.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, ValidationError

from classifier_VGG.network.inputs import INPUT_PIXELS, InputSettings, reported_batches
from general_code.evaluation.evaluate import flare_text
from general_code.evaluation.scores import Calibration
from general_code.stage.files import UserError, counted, describe, require_file, require_free_space
from general_code.stage.run import StageRun, read_sidecar, require_address_space

if TYPE_CHECKING:
    import keras

FEATURES = 4096  # outputs of fc2
CLASSES = 2  # no flare, flare
PARAMETERS = 134_268_738  # of VGG16 with two classes
IMAGENET_MEANS = (103.939, 116.779, 123.68)  # blue, green, red: keras.applications.vgg16.preprocess_input
GREY_SPREAD = 64.0  # of grey levels minus means: random weights divide by it, so that features are of order 1
DRAW_VERSION = 2  # of random weights: a change of their numbers makes caches void
BATCHES_A_CALL = 16  # of cached features: 2 ms of work are not worth a call of their own
BACKENDS = ("tensorflow", "torch", "jax")
QUIET = "2"  # TensorFlow's log level of errors
REMARKS = (b"I0000 ", b"WARNING: All log messages before absl::InitializeLog()")
ADDRESS_SPACE = 10e9  # that a backend reserves on two cores [bytes]

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
    backend : {"tensorflow", "torch", "jax"}, optional
        What Keras computes with.

    Returns
    -------
    str
        Versions and devices, for people.

    Raises
    ------
    UserError
        When the backend is not installed or does not work, or this process uses another one already.
    """
    require_address_space(ADDRESS_SPACE)
    if find_spec(backend) is None:
        raise UserError(f"backend: {backend} is not installed in this Python, only "
                        f"{', '.join(filter(find_spec, BACKENDS)) or 'none of them'}; set --backend, or install it as "
                        "requirements-gpu.txt says")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # both are read when the backend is imported
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    users = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("KERAS_")}
    # Keras finds no configuration of another project in that "folder", and can write none there
    os.environ.update(KERAS_HOME=os.devnull, KERAS_BACKEND=backend)
    try:
        with _without_log_of_tensorflow() if backend == "tensorflow" else nullcontext():
            import keras

            device = str(keras.ops.zeros(1).device).rpartition("device:")[2]
    except Exception as error:  # each backend raises its own where a library does not fit or a GPU has no memory
        raise UserError(f"backend: {backend} is installed, but does not work here ({describe(error)})") from error
    finally:
        del os.environ["KERAS_HOME"], os.environ["KERAS_BACKEND"]
        os.environ.update(users)
    if keras.config.backend() != backend:
        raise UserError(f"backend: this process uses {keras.config.backend()} already; start a new one for {backend}")
    # once more for a Keras that was imported before
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    return f"Keras {keras.__version__} with {backend} on {'the CPU' if 'cpu' in device.lower() else device}"


@contextmanager
def _without_log_of_tensorflow() -> Iterator[None]:
    """Keep TensorFlow's remarks off the screen, but no error, unless the user has set its log level."""
    try:
        screen = os.dup(2)
    except OSError:  # there is none
        screen = None
    if screen is None or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", QUIET) != QUIET:
        yield
        return
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)  # its first lines come whatever the level, and not through Python
        try:
            yield
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            log.seek(0)
            os.write(2, b"".join(line for line in log if not line.startswith(REMARKS)))


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
    """
    if not len(grey):
        return np.empty((0, backbone.output_shape[-1]), np.float32)
    return np.asarray(backbone.predict_on_batch(grey[..., np.newaxis]))


def require_features(features: np.ndarray) -> np.ndarray:
    """Return the features of a batch of the training, unless the network has nothing to say.

    Parameters
    ----------
    features : numpy.ndarray
        Shape (n, 4096).

    Returns
    -------
    numpy.ndarray
        These, as they came.

    Raises
    ------
    UserError
        When those of several images are all 0.
    """
    if len(features) > 1 and not features.any():
        raise UserError(f"the network gives 0 for each of {features.shape[1]:,} features of "
                        f"{counted(len(features), 'images')}: its weights are unusable; take another file (--weights)")
    return features


def new_head(width: int, seed: int, learning_rate: float) -> "keras.Model":
    """Make the trainable layer that takes the place of VGG16's last one.

    Parameters
    ----------
    width : int
        Number of features.
    seed : int
        Of the first weights (Glorot uniform), the same on every backend.
    learning_rate : float
        Of Adam.

    Returns
    -------
    keras.Model
        (n, width) to the probabilities (no flare, flare); compiled, its Adam built.
    """
    import keras

    layer = keras.layers.Dense(CLASSES, activation="softmax", name="flare")
    head = keras.Sequential([keras.Input((width,), name="features_in"), layer], name="head")
    limit = np.sqrt(6 / (width + CLASSES))
    layer.set_weights([np.random.default_rng(seed).uniform(-limit, limit, (width, CLASSES)), np.zeros(CLASSES)])
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

    on_tensorflow = keras.config.backend() == "tensorflow"  # torch takes one batch a call, and JAX gains nothing
    rates = [keras.metrics.Recall(class_id=label, name=name) for label, name in ((1, "TPR"), (0, "TNR"))]
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=rates,
                  steps_per_execution=batches_a_call if on_tensorflow else 1)
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


def flare_log_odds(head: "keras.Layer", features: np.ndarray) -> np.ndarray:
    """Return what a head makes of features.

    Parameters
    ----------
    head : keras.Layer
        From features to two probabilities.
    features : numpy.ndarray
        float16 or float32, shape (n, width).

    Returns
    -------
    numpy.ndarray
        float64, shape (n,): log of the ratio of the probabilities, flare to no flare.
    """
    kernel, bias = (weights.astype(np.float64) for weights in head.get_weights())
    return features.astype(np.float64) @ (kernel[:, 1] - kernel[:, 0]) + (bias[1] - bias[0])


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


class ModelNotes(BaseModel):
    """What a forecast needs of the settings and counts of the run that wrote a model."""

    gauss_range: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    image_format: Literal["fits", "png"]
    backend: Literal[BACKENDS] = "tensorflow"
    weights: str = "unknown"
    scores_mean_nothing: bool = False
    flare_size: str = ""
    flare_window_hours: float = np.nan
    calibration: Calibration | None = None
    model_made_of: dict[str, Any] = {}


def forecast_with_vgg(model_file: Path, paths: Sequence[Path], run: StageRun, n_jobs: int = 1) -> pd.DataFrame:
    """Forecast flares for images.

    Parameters
    ----------
    model_file : Path
        `VGG_model{suffix}.keras`, with its `.json` beside it: that holds gauss_range, image format and backend.
    paths : sequence of Path
        FITS or PNG, as the model was trained on.
    run : StageRun
        Reports what the model is, and warns when its weights are random.
    n_jobs : int, optional
        Threads that read images.

    Returns
    -------
    pandas.DataFrame
        In the order of `paths`: `decision_value` (log odds of a flare), `probability` (calibrated on the validation
        images of the training; nan where that was not defined), `decision` (1 or 0, by the network's own probability),
        `outside_training_range` (""), `refused` (why there is no forecast, else ""). Numbers are nan where refused.

    Raises
    ------
    UserError
        When the model or its `.json` is missing or not one of stage 7, the two are not of one run, or the backend is
        not installed.
    """
    notes = _notes(model_file)
    run.report(prepare_keras(notes.backend))
    import keras

    run.report(f"VGG16 with weights {notes.weights}, trained on {notes.image_format} images, flares "
               f"{flare_text(notes.flare_size, notes.flare_window_hours)}")
    if notes.scores_mean_nothing:
        run.report(MEANINGLESS)
    if len(paths) == 1:
        run.report("No figure is drawn for a VGG16 model: it has no features to show")
    odds, refused = np.full(len(paths), np.nan), {}
    model = _load_model(model_file, notes)
    head = model.layers[-1]
    network = keras.Model(model.input, head.input)  # from the probabilities, log odds would end at 87
    avoid_xla(network)
    reading = InputSettings(Path.cwd(), notes.image_format, notes.gauss_range, IMAGES_A_BATCH, n_jobs)
    endings = (".png",) if notes.image_format == "png" else (".fits", ".fits.gz")
    for path in paths:
        if not path.name.lower().endswith(endings):
            refused[path] = f"image format: the model was trained on {notes.image_format} images"
    fitting = np.flatnonzero([path not in refused for path in paths])
    for batch in reported_batches([str(paths[place]) for place in fitting], reading, run, "VGG16",
                                  lambda name, reason, detail: refused.update({Path(name): detail or reason})):
        odds[fitting[batch.places]] = flare_log_odds(head, backbone_outputs(network, batch.grey))
    probability = notes.calibration.probability(odds) if notes.calibration else np.full(len(paths), np.nan)
    return pd.DataFrame({"decision_value": odds, "probability": probability, "outside_training_range": "",
                         "decision": np.where(np.isnan(odds), np.nan, odds > 0),
                         "refused": [refused.get(path, "") for path in paths]})


def _notes(model_file: Path) -> ModelNotes:
    """Return what the run that wrote a model noted."""
    require_file(model_file, "model")
    notes = read_sidecar(model_file) or {"settings": {}, "counts": {}}
    try:
        return ModelNotes(**notes["settings"] | notes["counts"])
    except ValidationError as error:
        (name, *_), reason = error.errors()[0]["loc"], error.errors()[0]["msg"]
        raise UserError(f"model: '{model_file}.json' is missing or damaged ({name}: {reason}); "
                        "VGG_transfer_learning.py writes it beside the model: keep the two together") from None


def _load_model(model_file: Path, notes: ModelNotes) -> "keras.Model":
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
    if notes.model_made_of.get("head") != head_digest(model.layers[-1]):
        raise UserError(f"model: the head in '{model_file}' is not the one that '{model_file}.json' is about: its "
                        "gauss_range and calibration may be those of another training; start "
                        "VGG_transfer_learning.py again, or copy the two files of one run together")
    return model
