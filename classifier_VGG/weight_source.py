"""Where the weights of VGG16 come from: Keras' ImageNet file, the user's file, or random numbers.

A file is read when its weights are needed. What else has to be known of it (the digest that caches go by, the width)
is kept in `weights.json` beside the caches, under the file's md5: a rerun does not read half a GB of numbers.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from classifier_VGG.vgg16_weights import (
    KERAS_FILE,
    Weights,
    kernel_shapes,
    random_weights,
    read_weights,
    weights_digest,
)
from general_code.stage_files import UserError, atomic_write, describe, require_free_space

KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{KERAS_FILE}"
KERAS_MD5 = "64373286793e3c8b2b4e3219cbf3544b"  # as Keras 3.15.1 expects
KERAS_BYTES = 553_467_096
FLOAT32_BYTES = 4
MEANINGLESS = "THE WEIGHTS ARE RANDOM: THIS IS A TRIAL, ITS SCORES AND FORECASTS MEAN NOTHING"


class WeightNote(NamedTuple):
    """What has to be known of weights that are not read.

    Attributes
    ----------
    digest : str
        Equal for equal weights; part of the key of the cache.
    width : int
        Outputs of fc2.
    n_bytes : int
        Of all numbers in float32.
    """

    digest: str
    width: int
    n_bytes: int


@dataclass(frozen=True)
class WeightSource:
    """Where the backbone's weights come from.

    Attributes
    ----------
    description : str
        For people.
    note : WeightNote
        What is known without reading them.
    random : bool
        True where scores mean nothing.
    load : callable
        Returns the `Weights`; reads or draws them at the first call.
    """

    description: str
    note: WeightNote
    random: bool
    load: Callable[[], Weights]


def weight_source(weights: str, seed: int, notes: Path, say: Callable[[str], None]) -> WeightSource:
    """Return the source that the setting `weights` names.

    Parameters
    ----------
    weights : str
        "imagenet", "random", or the path of a `.keras`, `.h5` or `.weights.h5` file.
    seed : int
        Of the random weights.
    notes : Path
        JSON of what is known of files by md5; made or added to for a file that is new.
    say : callable
        Told of a download.

    Returns
    -------
    WeightSource
        See there.

    Raises
    ------
    UserError
        When there is no such file, it cannot serve, or Keras' own file is neither here nor to be had.
    """
    if weights == "random":
        return WeightSource(f"random, seed {seed}", _random_note(seed), True,
                            functools.cache(lambda: random_weights(seed)))
    if weights == "imagenet":
        path = imagenet_file(say)
        return _from_file(path, f"ImageNet, {path}", KERAS_MD5, notes)
    path = Path(weights)
    if not path.is_file():
        raise UserError(f"weights: expected \"imagenet\", \"random\" or a file, got '{weights}', which is not there "
                        f"(from {Path.cwd()})")
    return _from_file(path, str(path), _md5(path), notes)


def _random_note(seed: int) -> WeightNote:
    """Return what is known of random weights before they are drawn; the 2 is the version of the draw."""
    shapes = kernel_shapes()
    numbers = sum(functools.reduce(int.__mul__, shape) + shape[-1] for shape in shapes.values())
    return WeightNote(f"random-2-{seed}", shapes["fc2"][-1], FLOAT32_BYTES * numbers)


def _from_file(path: Path, description: str, md5: str, notes: Path) -> WeightSource:
    """Return the source of a file, which is read now if nothing is known of it."""
    load = functools.cache(lambda: read_weights(path))
    known = _read_notes(notes)
    try:
        note = WeightNote(**known[md5])
    except (KeyError, TypeError):
        weights = load()
        note = WeightNote(weights_digest(weights), weights["fc2"][1].size,
                          sum(array.nbytes for pair in weights.values() for array in pair))
        with atomic_write(notes) as file:
            json.dump(known | {md5: note._asdict()}, file, indent=2)
    return WeightSource(description, note, False, load)


def _read_notes(path: Path) -> dict:
    """Return the notes; none when they cannot be read, since they can be made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


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

    require_free_space(path.parent, KERAS_BYTES, "the download of the ImageNet weights")
    say(f"Downloading {KERAS_URL} ({KERAS_BYTES / 1e6:.0f} MB)")
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
