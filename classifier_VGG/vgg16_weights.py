"""Weights of VGG16 up to its second dense layer: from Keras' file, from the user's, or drawn at random.

Weights are a dict `{layer name: (kernel, bias)}` of float32 arrays with Keras' layer names, `block1_conv1`
to `fc2`. The widths need not be those of the published network: any VGG16-shaped chain is accepted.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from general_code.stage_files import UserError, describe

CONVOLUTIONS = tuple(f"block{block}_conv{number}" for block, depth in enumerate((2, 2, 3, 3, 3), start=1)
                     for number in range(1, depth + 1))
DENSE = ("fc1", "fc2")
LAYERS = CONVOLUTIONS + DENSE
BLOCK_WIDTHS = (64, 128, 256, 512, 512)  # channels of the five blocks, Simonyan and Zisserman 2015, table 1, D
DENSE_WIDTH = 4096
INPUT_SIZE = 64.0  # of grey levels minus means: random weights divide by it, so that features are of order 1
INPUT_PIXELS = 224
POOLED_PIXELS = INPUT_PIXELS // 2 ** len(BLOCK_WIDTHS)

KERAS_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{KERAS_FILE}"
KERAS_MD5 = "64373286793e3c8b2b4e3219cbf3544b"  # as Keras 3.15.1 expects

Weights = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class WeightSource:
    """Where the backbone's weights come from; nothing large is read before `load`.

    Attributes
    ----------
    description : str
        For people.
    digest : str
        Equal for equal weights; part of the key of the cache.
    random : bool
        True where scores mean nothing.
    load : callable
        Returns the `Weights`.
    """

    description: str
    digest: str
    random: bool
    load: Callable[[], Weights]


def weight_source(weights: str, seed: int, say: Callable[[str], None]) -> WeightSource:
    """Return the source that the setting `weights` names.

    Parameters
    ----------
    weights : str
        "imagenet", "random", or the path of a `.keras`, `.h5` or `.weights.h5` file.
    seed : int
        Of the random weights.
    say : callable
        Told of a download.

    Returns
    -------
    WeightSource
        See there.

    Raises
    ------
    UserError
        When there is no such file, or Keras' own file is neither here nor to be had.
    """
    if weights == "random":
        return WeightSource(f"random, seed {seed}", f"random-2-{seed}", True, lambda: random_weights(seed))
    if weights == "imagenet":
        path = imagenet_file(say)
        return WeightSource(f"ImageNet, {path}", f"md5-{KERAS_MD5}", False, lambda: read_weights(path))
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"weights: expected \"imagenet\", \"random\" or a file, got '{weights}', which is not there "
                        f"(from {Path.cwd()})")
    return WeightSource(str(path), f"md5-{_md5(path)}", False, lambda: read_weights(path))


def random_weights(seed: int, block_widths: tuple[int, ...] = BLOCK_WIDTHS, dense_width: int = DENSE_WIDTH) -> Weights:
    """Draw weights that keep the size of the signal from layer to layer (He et al. 2015); biases 0.

    Parameters
    ----------
    seed : int
        The same on every system and backend.
    block_widths : tuple of int, optional
        Channels of the five blocks.
    dense_width : int, optional
        Outputs of fc1 and fc2.

    Returns
    -------
    Weights
        For trials: forecasts made with them mean nothing.

    References
    ----------
    He et al. 2015, doi:10.1109/ICCV.2015.123
    """
    shapes, channels = {}, 3
    for name in CONVOLUTIONS:
        width = block_widths[int(name[5]) - 1]
        shapes[name], channels = (3, 3, channels, width), width
    shapes |= {"fc1": (channels * POOLED_PIXELS**2, dense_width), "fc2": (dense_width, dense_width)}
    weights = {name: _draw(shape, np.random.default_rng([seed, place])) for place, (name, shape)
               in enumerate(shapes.items())}
    weights[CONVOLUTIONS[0]][0][:] /= INPUT_SIZE
    return weights


def _draw(shape: tuple[int, ...], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a kernel of variance 2 / (inputs of a unit), and zero biases."""
    kernel = generator.standard_normal(shape, dtype=np.float32)
    kernel *= np.float32(np.sqrt(2 / np.prod(shape[:-1])))
    return kernel, np.zeros(shape[-1], np.float32)


# ---------------------------------------------------------------------------- Keras' own file


def imagenet_file(say: Callable[[str], None]) -> Path:
    """Return Keras' file of ImageNet weights, downloading it when there is none.

    Parameters
    ----------
    say : callable
        Told of the download.

    Returns
    -------
    Path
        In Keras' cache; its md5 is right.

    Raises
    ------
    UserError
        When the download fails, or a file of that name with another content is there: Keras would delete it,
        so Keras is not called then.
    """
    path = _keras_home() / "models" / KERAS_FILE
    if not path.exists():
        _download(path, say)
    found = _md5(path)
    if found != KERAS_MD5:
        raise UserError(f"weights \"imagenet\": '{path}' has md5 {found}, expected {KERAS_MD5}; it is left as it is: "
                        "move it away to have it downloaded anew, or name it with --weights PATH if it is meant")
    return path


def _keras_home() -> Path:
    """Return the folder where Keras keeps downloads."""
    if home := os.environ.get("KERAS_HOME"):
        return Path(home).expanduser()
    return Path("~/.keras").expanduser()


def _download(path: Path, say: Callable[[str], None]) -> None:
    """Let Keras download its weights to a folder of its own, then move them into place."""
    import keras

    say(f"Downloading {KERAS_URL} (553 MB)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        got = keras.utils.get_file(f"{KERAS_FILE}.part-{os.getpid()}", KERAS_URL, file_hash=KERAS_MD5,
                                   cache_dir=str(path.parent.parent), cache_subdir="models")
        Path(got).replace(path)
    except Exception as error:  # Keras raises the builtin Exception when the network is away
        raise UserError(f"weights \"imagenet\": the download failed ({describe(error)}); without a network, put the "
                        f"file from {KERAS_URL} at '{path}', or use --weights PATH") from error


def _md5(path: Path) -> str:
    """Return the md5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


# ---------------------------------------------------------------------------- weight files


def read_weights(path: Path) -> Weights:
    """Read VGG16 weights from a file that Keras wrote.

    Parameters
    ----------
    path : Path
        A whole model (`.keras`, `.h5`) or weights alone (`.h5`, `.weights.h5`), with any top layer or none.

    Returns
    -------
    Weights
        float32; what follows fc2 is dropped.

    Raises
    ------
    UserError
        When the file cannot be read, layers are missing (the "notop" file lacks fc1 and fc2), or shapes do not
        fit one another.
    """
    try:
        found = _from_model(path) if path.suffix == ".keras" else _from_hdf5(path)
    except UserError:
        raise
    except Exception as error:  # h5py and Keras raise many kinds for a damaged file
        raise UserError(f"weights '{path}': not a Keras model or weight file ({describe(error)})") from error
    missing = [name for name in LAYERS if name not in found]
    if missing:
        raise UserError(f"weights '{path}': layers {', '.join(missing)} are missing; expected VGG16 with its dense "
                        f"layers fc1 and fc2, as in {KERAS_FILE}")
    weights = {name: found[name] for name in LAYERS}
    _check_chain(weights, path)
    return weights


def _from_model(path: Path) -> Weights:
    """Return the weights of a `.keras` model's layers by name."""
    import keras

    import classifier_VGG.set_metrics  # noqa: F401  registers the metrics that a saved model may name

    layers = keras.saving.load_model(path, compile=False)._flatten_layers(include_self=False, recursive=True)
    return {layer.name: tuple(np.asarray(array, np.float32) for array in layer.get_weights())
            for layer in layers if len(layer.get_weights()) == 2}


def _from_hdf5(path: Path) -> Weights:
    """Return the arrays of an HDF5 file by layer name, in Keras' old or new arrangement."""
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    arrays = {name: array for name, array in arrays.items() if "optimizer" not in name}
    found: Weights = {}
    for layer in LAYERS:
        of_layer = [array for name, array in arrays.items() if re.search(rf"(^|/){layer}(/|_W|_b)", name)]
        kernels = [array for array in of_layer if array.ndim > 1]
        biases = [array for array in of_layer if array.ndim == 1]
        if kernels and biases:
            found[layer] = kernels[0].astype(np.float32), biases[0].astype(np.float32)
    return found or _by_number(arrays)


def _by_number(arrays: dict[str, np.ndarray]) -> Weights:
    """Return the layers of a `.weights.h5`, where they are `layers/conv2d`, `layers/conv2d_1`, ... in order."""
    found: Weights = {}
    for kind, names in (("conv2d", CONVOLUTIONS), ("dense", DENSE)):
        for number, name in enumerate(names):
            group = f"layers/{kind}" + (f"_{number}" if number else "") + "/vars"
            if f"{group}/0" in arrays and f"{group}/1" in arrays:
                found[name] = arrays[f"{group}/0"].astype(np.float32), arrays[f"{group}/1"].astype(np.float32)
    return found


def _check_chain(weights: Weights, path: Path) -> None:
    """Raise UserError unless every layer takes what the one before it gives."""
    channels = 3
    for name, (kernel, bias) in weights.items():
        inputs = channels * POOLED_PIXELS**2 if name == "fc1" else channels
        expected = (3, 3, inputs) if name in CONVOLUTIONS else (inputs,)
        if kernel.shape[:-1] != expected or bias.shape != kernel.shape[-1:]:
            raise UserError(f"weights '{path}': {name} has a kernel of shape {kernel.shape}, expected "
                            f"({', '.join(map(str, expected))}, outputs)")
        channels = kernel.shape[-1]
