"""VGG16, or another Keras application, as a fixed map from grey levels to features; a softmax head; and its forecasts.

Every model is float32 outside; images are (n, 224, 224, 1) grey levels 0..255, so that a saved model carries its own
preprocessing: the channel three times, then what the application's `preprocess_input` does (for VGG16, minus the means
of ImageNet); 224 is the default size of the application's input. The features are the input of its classifier: fc2 of
VGG16 and VGG19, for most others the last feature maps averaged over the image.

Keras is imported inside the functions: `--help` does not wait for it, and `prepare_keras` decides how it is set up.
"""

import hashlib
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, ValidationError

from classifier_VGG.network.inputs import GREY_LEVELS, InputSettings, reported_batches
from general_code.evaluation.scores import Calibration
from general_code.images.label_file import FlareTarget
from general_code.noaa.flares import AS_REPORTED
from general_code.stage.files import UserError, counted, describe, require_file, require_free_space, size_text
from general_code.stage.run import StageRun, read_sidecar, require_address_space

if TYPE_CHECKING:
    import keras

CLASSES = 2  # no flare, flare
GREY_SPREAD = 64.0  # of grey levels minus means: random weights divide by it, so that features are of order 1
DRAW_VERSION = 2  # of random weights: a change of their numbers makes caches void
BATCHES_A_CALL = 16  # of cached features: 2 ms of work are not worth a call of their own
BACKENDS = ("tensorflow", "torch", "jax")
QUIET = "2"  # TensorFlow's log level of errors
REMARKS = (b"I0000 ", b"WARNING: All log messages before absl::InitializeLog()")
ADDRESS_SPACE = 10e9  # that a backend reserves on two cores [bytes]

FILE_BYTES = 4.13  # of a weight file, a parameter
IMAGES_ON = {"CPU": 64, "GPU": 256}  # images through the network at a time
MEMORY_ERRORS = "RESOURCE_EXHAUSTED|ResourceExhausted|[Oo]ut ?[Oo]f ?[Mm]emory|OUT_OF_MEMORY|ALLOC_FAILED|" \
                "MemoryError|DefaultCPUAllocator"  # in the names or texts of TensorFlow's, PyTorch's, JAX' and CUDA's
MOST_LAYERS = 4  # named in a message
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


def device_kind() -> str:
    """Return what Keras computes on: "CPU", or "GPU" for any accelerator."""
    import keras

    return "CPU" if "cpu" in str(keras.ops.zeros(1).device).lower() else "GPU"


# ---------------------------------------------------------------------------- network


class Backbone(NamedTuple):
    """An application of Keras, cut in front of its classifier, and Keras' file of its weights for ImageNet."""

    name: str  # in keras.applications
    pixels: int  # height and width of its input
    features: int
    parameters: int  # with two classes
    file: str
    url: str
    digest: str  # of the file: md5, or sha256 as of ConvNeXt's; "" where Keras does not know it


_VGG16_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
VGG16 = Backbone(  # as Keras 3.15.1 says; known here, since it takes seconds to ask
    "VGG16", pixels=224, features=4096, parameters=134_268_738, file=_VGG16_FILE,
    url=f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{_VGG16_FILE}",
    digest="64373286793e3c8b2b4e3219cbf3544b")


def find_backbone(name: str) -> Backbone:
    """Return what is to know about an application of Keras.

    Parameters
    ----------
    name : str
        Of a function of keras.applications: VGG16, ResNet50, EfficientNetV2B0, ...

    Returns
    -------
    Backbone
        Its network is built once for that, but for VGG16's.

    Raises
    ------
    UserError
        When there is none of this name.
    """
    import keras

    if name == VGG16.name:
        return VGG16
    known = {each.lower(): each for each in dir(keras.applications) if callable(getattr(keras.applications, each))}
    if name not in known.values():
        near = [known[each] for each in get_close_matches(name.lower(), known, 4, 0.5)] or sorted(known.values())
        raise UserError(f"backbone: expected an application of Keras, got '{name}', which keras.applications of Keras "
                        f"{keras.__version__} does not have; did you mean {', '.join(near)}?")
    published, (file,) = _publish(name)
    classifier = _classifier(published)
    features = classifier.input.shape[-1]
    removed = sum(int(np.prod(weight.shape)) for weight in classifier.weights)
    return Backbone(name, published.input_shape[1] or VGG16.pixels, features,
                    published.count_params() - removed + (features + 1) * CLASSES, *file)


def _publish(name: str, colour: Any = None) -> "tuple[keras.Model, list[tuple[str, str, str]]]":
    """Build an application as for ImageNet's weights (EfficientNetB0 to B7 differ without), but do not load them.

    Returned with it: name, address and hash of their file.
    """
    import keras
    from keras.src.utils import file_utils

    asked = []

    def record(file: str, origin: str, file_hash: str = "", **_: Any) -> str:
        asked.append((file, origin, file_hash))
        return file

    # Keras neither says which file it wants without fetching it, nor leaves a damaged one where it is
    with patch.object(file_utils, "get_file", record), patch.object(keras.Model, "load_weights"), \
            warnings.catch_warnings(action="ignore", category=UserWarning):  # of MobileNetV3's: its size is the default
        published = getattr(keras.applications, name)(weights="imagenet", input_tensor=colour)
    return published, asked


def _classifier(published: "keras.Model") -> "keras.Layer":
    """Return the layer that makes classes of features."""
    return [layer for layer in published.layers if layer.weights][-1]


def _to_colour(name: str, pixels: int) -> "tuple[keras.KerasTensor, keras.KerasTensor]":
    """Return grey levels, and what the application's own `preprocess_input` makes of them: linear in each channel."""
    import keras

    # where the network itself begins with its preprocessing, this function returns what it gets
    preprocess = sys.modules[getattr(keras.applications, name).__module__].preprocess_input
    black, white = (preprocess(np.full((1, 1, 1, 3), level, np.float64))[0, 0, 0] for level in (0.0, GREY_LEVELS))
    grey = keras.Input((pixels, pixels, 1), name="grey_levels")
    colour = keras.layers.Concatenate(name="three_channels")([grey, grey, grey])
    scale = ((white - black) / GREY_LEVELS).tolist()
    return grey, keras.layers.Rescaling(scale, black.tolist(), name="preprocessed")(colour)


def build_backbone(source: "WeightSource", dtype: str = "float32") -> "keras.Model":
    """Build the frozen network from grey levels to features.

    Parameters
    ----------
    source : WeightSource
        From `weight_source`.
    dtype : {"float32", "bfloat16"}, optional
        Of the arithmetic; of VGG16's weights, too. Others keep float32 weights, as their normalization needs.

    Returns
    -------
    keras.Model
        (n, pixels, pixels, 1) grey levels 0..255 to (n, features) float32; not trainable, and nothing is dropped.

    Raises
    ------
    UserError
        When the weights cannot be read.
    """
    import keras

    backbone = source.backbone
    grey, colour = _to_colour(backbone.name, backbone.pixels)
    keras.config.set_dtype_policy(dtype if dtype == "float32" or backbone.name == "VGG16" else f"mixed_{dtype}")
    try:
        published, _ = _publish(backbone.name, colour)
    finally:
        keras.config.set_dtype_policy("float32")
    source.fill(published)
    features = keras.layers.Flatten(name="features")(_classifier(published).input)
    network = keras.Model(grey, features, name=backbone.name)
    for layer in network._flatten_layers():
        for rate in {"rate", "drop_path_rate"} & set(vars(layer)):
            setattr(layer, rate, 0.0)
        if type(layer).__name__ in ("Rescaling", "Normalization"):
            layer.dtype_policy = "float32"  # grey levels in bfloat16 would be rounded to whole ones
    network.trainable = False
    avoid_xla(network)
    return network


def backbone_outputs(backbone: "keras.Model", grey: np.ndarray) -> np.ndarray:
    """Return the features (n, width) of grey levels 0..255 (n, pixels, pixels), both float32; n may be 0."""
    if not len(grey):
        return np.empty((0, backbone.output_shape[-1]), np.float32)
    return np.asarray(backbone.predict_on_batch(grey[..., np.newaxis]))


class FrozenNetwork:
    """A network that is built when it is first needed, and fed with as many images at a time as the device can hold.

    That is `images`, or for 0 64 on a CPU and 256 on another device; `report` takes a line about the memory needed, and
    about fewer images when the device had too little.
    """

    def __init__(self, build: "Callable[[], keras.Model]", images: int, report: Callable[[str], None]) -> None:
        self._build, self._report = build, report
        self._compiled = 0  # images of the largest pass so far
        self.images = images or IMAGES_ON[device_kind()]

    @cached_property
    def model(self) -> "keras.Model":
        """The network; UserError when the device has no memory for its weights."""
        try:
            model = self._build()
        except Exception as error:
            if is_out_of_memory(error):
                raise _too_little_memory("the weights of the network") from error
            raise
        weights, image = memory_needed(model)
        self._report(f"{model.name}: {counted(self.images, 'images')} at a time (extract_batch) take about "
                     f"{size_text(weights + self.images * image)} of memory, {size_text(weights)} of it for weights")
        return model

    def __call__(self, grey: np.ndarray) -> np.ndarray:
        """Return the features of images, as `backbone_outputs` does, in as many passes as it takes.

        UserError when the device has no memory for one image, or those of several images are all 0.
        """
        model, parts, done = self.model, [], 0
        while done < len(grey) or not parts:
            part = grey[done:done + self.images]
            try:
                parts.append(self._pass(model, part))
                done += len(part)
            except Exception as error:  # each backend has its own; the arrays it holds go with it
                if not is_out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise _too_little_memory("one image") from error
                self.images = len(part) // 2
                self._compiled = 0
                self._report(f"extract_batch: the device has no memory for {len(part)} images; going on with "
                             f"{self.images} at a time")
        features = np.concatenate(parts)
        if len(features) > 1 and not features.any():
            raise UserError(f"the network gives 0 for each of {features.shape[1]:,} features of "
                            f"{counted(len(features), 'images')}: its weights are unusable; take another file "
                            "(--weights)")
        return features

    def _pass(self, model: "keras.Model", grey: np.ndarray) -> np.ndarray:
        """Return the features of images; JAX, which compiles for each number of them, always gets as many."""
        import keras

        missing = self._compiled - len(grey) if keras.config.backend() == "jax" and len(grey) else 0
        padded = np.concatenate([grey, np.zeros((missing, *grey.shape[1:]), grey.dtype)]) if missing > 0 else grey
        features = backbone_outputs(model, padded)
        self._compiled = max(self._compiled, len(grey))
        return features[:len(grey)]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of any backend means that there is too little memory."""
    return bool(re.search(MEMORY_ERRORS, f"{type(error).__name__} {error}"))


def _too_little_memory(purpose: str) -> UserError:
    """Return the error that ends a run."""
    device = device_kind()
    return UserError(f"backend: the {device} has no memory for {purpose}; stop other programs on it"
                     + ", or use the CPU (CUDA_VISIBLE_DEVICES=-1)" * (device != "CPU"))


def memory_needed(network: "keras.Model") -> tuple[float, float]:
    """Return the memory that the weights take, and that an image takes [bytes].

    An image takes what is the largest layer's input and output; a device may hold more, for residuals and its own use.
    """
    def size(tensors: Any) -> float:
        each = tensors if isinstance(tensors, list | tuple) else [tensors]
        return sum(np.prod([side or 1 for side in array.shape]) * (2.0 if "16" in str(array.dtype) else 4.0)
                   for array in each)

    return size(network.weights), max(size(layer.input) + size(layer.output) for layer in network.layers)


def new_head(width: int, seed: int, learning_rate: float) -> "keras.Model":
    """Make the trainable layer that takes the place of the network's last one.

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
    compile_model(head, keras.optimizers.Adam(learning_rate))
    head.optimizer.build(head.trainable_variables)
    return head


def compile_model(model: "keras.Model", optimizer: "keras.Optimizer", batches_a_call: int = BATCHES_A_CALL) -> None:
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
        (n, pixels, pixels, 1) grey levels 0..255 to the probabilities of no flare and flare; compiled with the head's
        optimizer.
    """
    import keras

    model = keras.Model(backbone.input, head.get_layer("flare")(backbone.output), name=f"{backbone.name}_flares")
    compile_model(model, head.optimizer, batches_a_call=1)
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

    backbone: Backbone
    description: str  # for people
    digest: str  # another one for other weights: what is computed with them depends on it
    fill: Callable[["keras.Model"], None]  # sets the weights of an application with its classifier
    random: bool  # scores mean nothing


def weight_source(weights: str, seed: int, report: Callable[[str], None], backbone: Backbone = VGG16) -> WeightSource:
    """Return the source that the setting `weights` names.

    Parameters
    ----------
    weights : str
        "imagenet", "random", or the path of a whole model (`.keras`, `.h5`) or of weights (`.h5`, `.weights.h5`).
    seed : int
        Of the random weights.
    report : callable
        Takes a line about a download.
    backbone : Backbone, optional
        The network that they are for.

    Returns
    -------
    WeightSource
        A file is only read when a network is filled; one for EfficientNetB0 to B7 holds the network for ImageNet's
        weights, which rescales its input once more.

    Raises
    ------
    UserError
        When there is no such file, or Keras' own file is neither in its place nor available.
    """
    if weights == "random":
        fill = partial(_draw, seed=seed)
        return WeightSource(backbone, f"random, seed {seed}", f"random-{DRAW_VERSION}-{seed}", fill, True)
    if weights == "imagenet":
        path, digest = _imagenet_file(backbone, report)
        description = f"ImageNet, {path}"
    else:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise UserError(f"weights: expected \"imagenet\", \"random\" or a file, got '{weights}', which is no "
                            f"file (from {Path.cwd()})")
        description, digest = str(path), _digest(path, backbone)
    as_published = weights == "imagenet" or digest == backbone.digest
    fill = partial(_read, path=path, backbone=backbone, as_published=as_published)
    return WeightSource(backbone, description, digest, fill, False)


def _kept_weights(published: "keras.Model") -> "list[keras.Variable]":
    """Return the weights of an application but those of its classifier, in the order of its layers."""
    return published.weights[:-len(_classifier(published).weights)]


def _draw(published: "keras.Model", seed: int) -> None:
    """Draw weights that keep the size of the signal from layer to layer (He et al. 2015, doi:10.1109/ICCV.2015.123).

    They are the same on every system and backend; biases are 0, and normalizations leave alone what they get.
    """
    large = min(published.get_layer("preprocessed").offset) < -GREY_SPREAD  # the first layer gets numbers like 100
    kernels = [weight for weight in _kept_weights(published) if len(weight.shape) > 1]
    for place, weight in enumerate(kernels):
        kernel = np.random.default_rng([seed, place]).standard_normal(weight.shape, dtype=np.float32)
        depthwise = weight.shape[-1] == 1 and len(weight.shape) == 4
        kernel *= np.float32(np.sqrt(2 / np.prod(weight.shape[:2] if depthwise else weight.shape[:-1])))
        if place == 0 and large:
            kernel /= GREY_SPREAD
        weight.assign(kernel)


def _read(published: "keras.Model", path: Path, backbone: Backbone, as_published: bool) -> None:
    """Fill an application from a file, or raise UserError saying what the file lacks."""
    kept = [weight for weight in _kept_weights(published) if "int" not in str(weight.dtype)]
    for weight in kept:  # shows afterwards what the file does not have; and a ReLU would hide NaN of its own
        weight.assign(np.full(weight.shape, np.nan, np.float32))
    dense = " with its dense layers fc1 and fc2" if backbone.name.startswith("VGG") else ""
    expected = f"expected {backbone.name}{dense}, as in {backbone.file}"
    try:
        if as_published:
            published.load_weights(path)
        else:
            _load(published, path)
    except Exception as error:  # h5py and Keras raise many kinds for a damaged or another file
        raise UserError(f"weights '{path}': {expected}, got a file that Keras cannot use for it "
                        f"({describe(error)})") from error
    unset = dict.fromkeys(weight.path.split("/")[-2] for weight in kept
                          if not np.isfinite(np.asarray(weight, np.float32)).all())
    if unset:
        raise UserError(f"weights '{path}': {expected}, got none, NaN or infinite numbers for "
                        f"{', '.join([*unset][:MOST_LAYERS])}{', ...' * (len(unset) > MOST_LAYERS)}; the file lacks "
                        "these layers or is damaged, use another")


def _load(published: "keras.Model", path: Path) -> None:
    """Set what a file holds for the layers of an application but its classifier, which may be another or absent."""
    import keras

    kept = _kept_weights(published)
    network = keras.Model(published.input, _classifier(published).input)
    if path.suffix == ".keras":
        model = keras.saving.load_model(path, compile=False)
        if _rescalings(model) < _rescalings(published) - 1:
            raise ValueError("its preprocessing is not in the network, or not as for ImageNet's weights")
        found = model.weights
        if len(found) < len(kept):
            raise ValueError(f"{len(found)} arrays, {len(kept)} are needed")
        for weight, other in zip(kept, found, strict=False):
            weight.assign(other)  # raises ValueError for another shape
    elif path.name.endswith(".weights.h5") or not _has_names(network):
        network.load_weights(path)
    else:
        network.load_weights(path, by_name=True)


def _rescalings(model: "keras.Model") -> int:
    """Return how many layers rescale: ours has one more than Keras', unless it was made here."""
    return sum(type(layer).__name__ == "Rescaling" for layer in model._flatten_layers())


def _has_names(network: "keras.Model") -> bool:
    """Tell whether the layers have names of their own: Keras numbers others differently in each process."""
    return not any(layer.name.rstrip("0123456789").replace("_", "") == type(layer).__name__.lower()
                   for layer in network.layers if layer.weights)


def _imagenet_file(backbone: Backbone, report: Callable[[str], None]) -> tuple[Path, str]:
    """Return Keras' own file and its hash; Keras is not asked about a damaged one, since it would delete it."""
    home = os.environ.get("KERAS_HOME") or "~/.keras"
    path = Path(os.path.expanduser(home)) / "models" / backbone.file  # noqa: PTH111  Path's fails without a home
    if not path.exists():
        _download(backbone, path, report)
    found = _digest(path, backbone)
    if backbone.digest not in ("", found):
        raise UserError(f"weights \"imagenet\": '{path}' has the hash {found}, expected {backbone.digest}; it is left "
                        "as it is: move it away to have it downloaded again, or name it with --weights PATH if it is "
                        "meant")
    return path, found


def _download(backbone: Backbone, path: Path, report: Callable[[str], None]) -> None:
    """Let Keras download its weights under another name, then move them into place."""
    import keras

    n_bytes = FILE_BYTES * backbone.parameters
    require_free_space(path.parent, n_bytes, "the download of the ImageNet weights")
    report(f"Downloading {backbone.url} (about {size_text(n_bytes)})")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        got = keras.utils.get_file(f"{path.name}.part-{os.getpid()}", backbone.url, cache_subdir="models",
                                   file_hash=backbone.digest or None, cache_dir=str(path.parent.parent))
        Path(got).replace(path)
    except Exception as error:  # Keras raises the builtin Exception when there is no network
        raise UserError(f"weights \"imagenet\": the download failed ({describe(error)}); without a network, put the "
                        f"file from {backbone.url} at '{path}', or use --weights PATH") from error


def _digest(path: Path, backbone: Backbone) -> str:
    """Return the hash of a file, of the kind that Keras publishes for the backbone."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256" if len(backbone.digest) == 64 else "md5").hexdigest()


# ---------------------------------------------------------------------------- forecasts of a saved model


class ModelNotes(BaseModel):
    """What a forecast needs of the settings and counts of the run that wrote a model."""

    gauss_range: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    image_format: Literal["fits", "png"]
    backend: Literal[BACKENDS] = "tensorflow"
    backbone: str = "VGG16"
    weights: str = "unknown"
    scores_mean_nothing: bool = False
    flare_size: str = ""
    flare_window_hours: float | Literal[""] = ""
    latency_minutes: float = 0.0
    flare_scale: str = AS_REPORTED
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

    run.report(f"{notes.backbone} with weights {notes.weights}, trained on {notes.image_format} images, flares "
               f"{FlareTarget.of(notes.model_dump()).text()}")
    if notes.scores_mean_nothing:
        run.report(MEANINGLESS)
    if len(paths) == 1:
        run.report(f"No figure is drawn for a {notes.backbone} model: it has no features to show")
    odds, refused = np.full(len(paths), np.nan), {}
    model = _load_model(model_file, notes)
    head = model.layers[-1]
    network = keras.Model(model.input, head.input, name=notes.backbone)  # log odds end at 87 after the softmax
    avoid_xla(network)
    frozen = FrozenNetwork(lambda: network, 0, run.report)
    reading = InputSettings(Path.cwd(), notes.image_format, notes.gauss_range, frozen.images, n_jobs,
                            pixels=model.input_shape[1])
    endings = (".png",) if notes.image_format == "png" else (".fits", ".fits.gz")
    for path in paths:
        if not path.name.lower().endswith(endings):
            refused[path] = f"image format: the model was trained on {notes.image_format} images"
    fitting = np.flatnonzero([path not in refused for path in paths])
    for batch in reported_batches([str(paths[place]) for place in fitting], reading, run, notes.backbone,
                                  lambda name, reason, detail: refused.update({Path(name): detail or reason})):
        odds[fitting[batch.places]] = flare_log_odds(head, frozen(batch.grey))
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
        raise UserError(f"model: '{model_file}' is not a Keras model ({describe(error)})") from None
    shape = model.input_shape
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 1 or model.output_shape[1:] != (2,):
        raise UserError(f"model: '{model_file}' takes {shape} and gives {model.output_shape}, expected images like "
                        "(n, 224, 224, 1) and (n, 2) as of VGG_transfer_learning.py")
    # sizes and times of files say nothing about copies
    if notes.model_made_of.get("head") != head_digest(model.layers[-1]):
        raise UserError(f"model: the head in '{model_file}' is not the one that '{model_file}.json' is about: its "
                        "gauss_range and calibration may be those of another training; start "
                        "VGG_transfer_learning.py again, or copy the two files of one run together")
    return model
