"""Weights of VGG16 up to its second dense layer: read from a file, or drawn at random.

Weights are a dict `{layer name: (kernel, bias)}` of float32 arrays with Keras' layer names, `block1_conv1`
to `fc2`. The widths need not be those of the published network: any VGG16-shaped chain is accepted.
"""

import hashlib
import re
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

Weights = dict[str, tuple[np.ndarray, np.ndarray]]


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
    weights = {name: _draw(shape, np.random.default_rng([seed, place])) for place, (name, shape)
               in enumerate(kernel_shapes(block_widths, dense_width).items())}
    weights[CONVOLUTIONS[0]][0][:] /= INPUT_SIZE
    return weights


def kernel_shapes(block_widths: tuple[int, ...] = BLOCK_WIDTHS,
                  dense_width: int = DENSE_WIDTH) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the kernels by layer; a bias has the length of its kernel's last axis.

    Parameters
    ----------
    block_widths, dense_width : optional
        As in `random_weights`.

    Returns
    -------
    dict
        From input to fc2.
    """
    shapes, channels = {}, 3
    for name in CONVOLUTIONS:
        width = block_widths[int(name[5]) - 1]
        shapes[name], channels = (3, 3, channels, width), width
    return shapes | {"fc1": (channels * POOLED_PIXELS**2, dense_width), "fc2": (dense_width, dense_width)}


def _draw(shape: tuple[int, ...], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a kernel of variance 2 / (inputs of a unit), and zero biases."""
    kernel = generator.standard_normal(shape, dtype=np.float32)
    kernel *= np.float32(np.sqrt(2 / np.prod(shape[:-1])))
    return kernel, np.zeros(shape[-1], np.float32)


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
        When the file cannot be read, layers are missing (the "notop" file lacks fc1 and fc2), shapes do not fit one
        another, fc1 and fc2 differ in width (another top's layers then), or a number is NaN or infinite.
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


def weights_digest(weights: Weights) -> str:
    """Return a hash of the numbers, whatever the file that they came in.

    Parameters
    ----------
    weights : Weights
        float32.

    Returns
    -------
    str
        Equal for equal weights.
    """
    digest = hashlib.sha256()
    for name, pair in weights.items():
        for array in pair:
            digest.update(f"{name} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
    return f"sha256-{digest.hexdigest()}"


def _check_chain(weights: Weights, path: Path) -> None:
    """Raise UserError unless every layer takes what the one before it gives, and all numbers are finite."""
    channels = 3
    for name, (kernel, bias) in weights.items():
        inputs = channels * POOLED_PIXELS**2 if name == "fc1" else channels
        expected = (3, 3, inputs) if name in CONVOLUTIONS else (inputs,)
        if kernel.shape[:-1] != expected or bias.shape != kernel.shape[-1:]:
            raise UserError(f"weights '{path}': {name} has a kernel of shape {kernel.shape}, expected "
                            f"({', '.join(map(str, expected))}, outputs)")
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):  # a ReLU makes 0 of NaN: nothing would show
            raise UserError(f"weights '{path}': NaN or infinite numbers in {name}; the file is damaged, use another")
        channels = kernel.shape[-1]
    widths = [weights[name][0].shape[-1] for name in DENSE]
    if widths[0] != widths[1]:
        raise UserError(f"weights '{path}': the dense layers after the convolutions have {widths[0]} and {widths[1]} "
                        "outputs, expected VGG16's fc1 and fc2 of equal width: this file has another top")
