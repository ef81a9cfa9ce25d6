"""From image files to the network's input: grey levels 0..255 of 224 x 224 pixels, one channel, not rounded.

A FITS magnetogram is resized in gauss, then -gauss_range..gauss_range is mapped linearly to 0..255 and clipped.
A PNG's grey levels are resized the same way unless it has 224 x 224 pixels already. Resizing is bilinear with
anti-aliasing as in scikit-image; since that is linear and separable, it is one sparse matrix from each side.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy import sparse

from general_code.magnetograms import PNG_ZERO_LEVEL, read_magnetogram
from general_code.worker_processes import interrupts_left_to_parent

INPUT_PIXELS = 224
SMALLEST_PIXELS = 32
GREY_LEVELS = 255
FILES_PER_TASK = 16  # 3 MB of input go back to the parent at once
VERSION = 1  # of this preprocessing: a change of numbers here makes cached features void


class InputError(ValueError):
    """An image that cannot be an input.

    Attributes
    ----------
    reason : str
        A short fixed phrase; the message has the particulars.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple:
        return type(self), (self.reason, str(self))


class Failure(NamedTuple):
    """An image left out of a batch: its place in the list of files, and why."""

    place: int
    reason: str
    detail: str


class InputBatch(NamedTuple):
    """Some images of a list: their places in it, their grey levels (n, 224, 224) float32, and what failed."""

    places: np.ndarray
    grey: np.ndarray
    failures: list[Failure]


# ---------------------------------------------------------------------------- one image


@lru_cache(maxsize=64)
def resize_operator(pixels: int) -> sparse.csr_array:
    """Return the matrix that resizes an axis to 224 pixels.

    Parameters
    ----------
    pixels : int
        Length of the axis.

    Returns
    -------
    scipy.sparse.csr_array
        float64, shape (224, pixels): what `skimage.transform.resize` (order 1, anti-aliased) does to the unit
        matrix.
    """
    from skimage.transform import resize

    operator = resize(np.eye(pixels), (INPUT_PIXELS, pixels), order=1, anti_aliasing=True, preserve_range=True)
    return sparse.csr_array(operator)


def resize_to_input(image: np.ndarray) -> np.ndarray:
    """Resize an image to the network's input.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (ny, nx), any rectangle; finite.

    Returns
    -------
    numpy.ndarray
        float64, shape (224, 224): equal to `skimage.transform.resize(image, (224, 224), order=1,
        anti_aliasing=True, preserve_range=True)` but for rounding. An image of that size is returned as it is.
    """
    rows, columns = image.shape
    image = np.asarray(image, np.float64)
    if rows != INPUT_PIXELS:
        image = resize_operator(rows) @ image
    if columns != INPUT_PIXELS:
        image = (resize_operator(columns) @ image.T).T
    return image


def check_image(image: np.ndarray) -> None:
    """Raise unless an image can be resized.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (ny, nx).

    Raises
    ------
    InputError
        For less than 32 pixels on a side, and for NaN or infinite pixels.
    """
    if min(image.shape) < SMALLEST_PIXELS:
        raise InputError("smaller than 32x32 pixels", f"{image.shape[1]} x {image.shape[0]} pixels")
    if not np.isfinite(image).all():
        missing = int(image.size - np.isfinite(image).sum())
        raise InputError("NaN pixels", f"{missing} of {image.size} pixels are NaN or infinite")


def gauss_to_input(field: np.ndarray, gauss_range: float) -> np.ndarray:
    """Map a field to grey levels.

    Parameters
    ----------
    field : numpy.ndarray
        [G].
    gauss_range : float
        -gauss_range becomes 0, gauss_range 255; what lies beyond is clipped [G].

    Returns
    -------
    numpy.ndarray
        float32, same shape.
    """
    grey = (field + gauss_range) * (GREY_LEVELS / (2 * gauss_range))
    return np.clip(grey, 0, GREY_LEVELS).astype(np.float32)


def read_input(path: Path, image_format: str, gauss_range: float) -> np.ndarray:
    """Read one image as the network's input.

    Parameters
    ----------
    path : Path
        FITS or PNG.
    image_format : {"fits", "png"}
        Which of them.
    gauss_range : float
        See `gauss_to_input`; not used for PNG.

    Returns
    -------
    numpy.ndarray
        float32, shape (224, 224).

    Raises
    ------
    InputError
        When the file is missing or broken, or `check_image` refuses it.
    """
    if not path.is_file():
        raise InputError("image missing", str(path))
    try:
        field = read_magnetogram(path)
    except (ValueError, OSError) as error:
        raise InputError("image broken", str(error)) from None
    check_image(field)
    if image_format == "fits":
        return gauss_to_input(resize_to_input(field), gauss_range)
    return resize_to_input(field + PNG_ZERO_LEVEL).astype(np.float32)


# ---------------------------------------------------------------------------- many images


def input_batches(paths: Sequence[Path], image_format: str, gauss_range: float, batch_size: int,
                  n_jobs: int) -> Iterator[InputBatch]:
    """Read images batch by batch, ahead of the consumer.

    Parameters
    ----------
    paths : sequence of Path
        Files in the order wanted.
    image_format : {"fits", "png"}
        FITS are read and resized in parallel processes, PNG by tf.data.
    gauss_range : float
        See `gauss_to_input`.
    batch_size : int
        Files a batch; those that fail are missing in it.
    n_jobs : int
        Worker processes for FITS.

    Yields
    ------
    InputBatch
        In the order of `paths`.
    """
    if image_format == "png":
        yield from _png_batches(paths, gauss_range, batch_size)
    else:
        yield from _fits_batches(paths, gauss_range, batch_size, n_jobs)


def read_inputs(paths: Sequence[Path], image_format: str, gauss_range: float, first_place: int = 0) -> InputBatch:
    """Read some images one after the other.

    Parameters
    ----------
    paths : sequence of Path
        Files.
    image_format : {"fits", "png"}
        Which of them.
    gauss_range : float
        See `gauss_to_input`.
    first_place : int, optional
        Place of the first file in the list that this is a part of.

    Returns
    -------
    InputBatch
        The images that could be read, and the failures.
    """
    places, images, failures = [], [], []
    for place, path in enumerate(paths, start=first_place):
        try:
            images.append(read_input(path, image_format, gauss_range))
            places.append(place)
        except InputError as error:
            failures.append(Failure(place, error.reason, str(error)))
    grey = np.stack(images) if images else np.empty((0, INPUT_PIXELS, INPUT_PIXELS), np.float32)
    return InputBatch(np.array(places, np.int64), grey, failures)


def _fits_batches(paths: Sequence[Path], gauss_range: float, batch_size: int, n_jobs: int) -> Iterator[InputBatch]:
    """Yield batches of FITS images from worker processes, in order."""
    step = min(FILES_PER_TASK, batch_size)
    starts = [(batch, start) for batch in range(0, len(paths), batch_size)
              for start in range(batch, min(batch + batch_size, len(paths)), step)]
    tasks = (delayed(read_inputs)(paths[start:min(start + step, batch + batch_size)], "fits", gauss_range, start)
             for batch, start in starts)
    with interrupts_left_to_parent():  # the call starts the processes
        parts = Parallel(n_jobs=min(n_jobs, max(len(starts), 1)), return_as="generator", batch_size=1,
                         pre_dispatch=f"2*n_jobs+{-(-batch_size // step)}")(tasks)
    waiting: list[InputBatch] = []
    for (batch, start), part in zip(starts, parts, strict=True):
        waiting.append(part)
        if start + step >= min(batch + batch_size, len(paths)):
            yield _joined(waiting)
            waiting = []


def _joined(parts: list[InputBatch]) -> InputBatch:
    """Return consecutive parts as one batch."""
    if len(parts) == 1:
        return parts[0]
    return InputBatch(np.concatenate([part.places for part in parts]), np.concatenate([part.grey for part in parts]),
                      [failure for part in parts for failure in part.failures])


def _png_batches(paths: Sequence[Path], gauss_range: float, batch_size: int) -> Iterator[InputBatch]:
    """Yield batches of PNG images decoded by tf.data; one that fails is read again image by image."""
    import tensorflow as tf

    if not paths:
        return
    data = tf.data.Dataset.from_tensor_slices([str(path) for path in paths]).batch(batch_size)
    data = data.map(png_decoder(), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)
    batches = iter(data)
    for start in range(0, len(paths), batch_size):
        try:
            grey = next(batches).numpy()
        except tf.errors.OpError:  # the next batch is not touched by it
            yield read_inputs(paths[start:start + batch_size], "png", gauss_range, start)
        else:
            yield InputBatch(np.arange(start, start + len(grey)), grey, [])


def png_decoder() -> Callable[[Any], Any]:
    """Return the function that decodes a batch of PNG files within a TensorFlow graph.

    Returns
    -------
    callable
        Takes a string tensor of n paths, returns float32 (n, 224, 224); raises an error of TensorFlow's when
        one of them is missing, broken, not 8-bit grey or smaller than 32 x 32 pixels.
    """
    import tensorflow as tf

    def resized(image: np.ndarray) -> np.ndarray:
        check_image(image)
        return resize_to_input(image).astype(np.float32)

    def decode(path: Any) -> Any:
        content = tf.io.read_file(path)
        # the header's bit depth and colour type (PNG specification, IHDR): decode_png would convert in silence
        with tf.control_dependencies([tf.debugging.assert_equal(tf.strings.substr(content, 24, 2), b"\x08\x00")]):
            image = tf.io.decode_png(content)[..., 0]
        fits = tf.reduce_all(tf.shape(image) == INPUT_PIXELS)
        image = tf.cond(fits, lambda: tf.cast(image, tf.float32),
                        lambda: tf.numpy_function(resized, [image], tf.float32))
        return tf.ensure_shape(image, (INPUT_PIXELS, INPUT_PIXELS))

    return lambda paths: tf.map_fn(decode, paths, fn_output_signature=tf.float32)
