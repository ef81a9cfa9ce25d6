"""From image files to the network's input, and rows of numbers that are kept on disk, one an image.

The input is grey levels 0..255 of 224 x 224 pixels, one channel, not rounded: a FITS magnetogram is resized in gauss,
then -gauss_range..gauss_range is mapped linearly to 0..255 and clipped; a PNG's grey levels are resized the same way
unless it has 224 x 224 pixels already. Resizing is bilinear with anti-aliasing.

What is computed from an image once (features, resized images, log odds) is a row of a cache, a folder of

    rows.bin        n rows of `width` numbers, without header
    index.tsv       a journal: name, size and modification time of each image, and its row

named by the hash of what the rows depend on. A row counts when its line in the journal is whole, and the line is
written after the row is on disk, so that a process may die at any moment. An image that has changed gets a new row.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from general_code.images.magnetograms import (
    PNG_ZERO_LEVEL,
    ImageOutOfReach,
    read_magnetogram,
    report_remarks,
    resize_field,
)
from general_code.stage.files import UserError, require_free_space
from general_code.stage.journal import FileState, Journal
from general_code.stage.run import StageRun, output_lock, parallel_results

INPUT_PIXELS = 224
SMALLEST_PIXELS = 32
GREY_LEVELS = 255
PREPROCESSING_VERSION = 1  # a change of the numbers that `read_input` gives makes all caches void
INDEX_BYTES = 130  # of an image's line in the journal
SECONDS_BETWEEN_COMMITS = 5.0  # on a fast device a batch takes less time than flushing it to disk


class InputError(ValueError):
    """An image that cannot be an input: the reason (a short fixed phrase) and the detail."""


class InputBatch(NamedTuple):
    """Some images of a list: their places in it, their grey levels (n, 224, 224) float32, and what is wrong."""

    places: np.ndarray
    grey: np.ndarray
    failures: list[tuple[int, str, str]]  # place, reason, detail of images that cannot be used
    remarks: list[str]  # what is strange about images, as `read_magnetogram` says


@dataclass(frozen=True)
class InputSettings:
    """How images are read: the settings of stage 7 with the same names."""

    dataset_dir: Path
    image_format: str
    gauss_range: float
    batch_size: int
    n_jobs: int

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the network's input depends on, other than the file."""
        gauss = {"gauss_range": self.gauss_range} if self.image_format == "fits" else {}
        return {"image_format": self.image_format, "preprocessing_version": PREPROCESSING_VERSION} | gauss


# ---------------------------------------------------------------------------- reading


def gauss_to_input(field: np.ndarray, gauss_range: float) -> np.ndarray:
    """Return a field [G] as float32 grey levels: -gauss_range becomes 0, gauss_range 255, the rest is clipped."""
    grey = (field + gauss_range) * (GREY_LEVELS / (2 * gauss_range))
    return np.clip(grey, 0, GREY_LEVELS).astype(np.float32)


def read_input(path: Path, image_format: str, gauss_range: float, remarks: list[str] | None = None) -> np.ndarray:
    """Return an image as the network's input, float32 of shape (224, 224); gauss_range is not used for PNG.

    Any rectangle of 32 x 32 pixels or more is accepted. Raises InputError for a smaller one, one with NaN or infinite
    pixels, and a file that is missing or cannot be read. `remarks` are those of `read_magnetogram`.
    """
    try:
        field = read_magnetogram(path, remarks)
    except ImageOutOfReach as error:  # of the moment: the next run tries again
        raise InputError("image out of reach", str(error)) from None
    except ValueError as error:
        raise InputError("image broken" if path.exists() else "image missing", str(error)) from None
    if min(field.shape) < SMALLEST_PIXELS:
        raise InputError("smaller than 32x32 pixels", f"{field.shape[1]} x {field.shape[0]} pixels")
    if missing := int(field.size - np.isfinite(field).sum()):
        raise InputError("NaN pixels", f"{missing} of {field.size} pixels are NaN or infinite")
    if image_format == "png":
        field = field + PNG_ZERO_LEVEL
    if field.shape != (INPUT_PIXELS, INPUT_PIXELS):
        field = resize_field(field, INPUT_PIXELS)
    return gauss_to_input(field, gauss_range) if image_format == "fits" else field.astype(np.float32)


def read_inputs(paths: Sequence[Path], image_format: str, gauss_range: float, first_place: int = 0) -> InputBatch:
    """Read some images one after the other.

    Parameters
    ----------
    paths : sequence of Path
        FITS or PNG files.
    image_format : {"fits", "png"}
        Which of them.
    gauss_range : float
        -gauss_range..gauss_range of a FITS image become 0..255 [G].
    first_place : int, optional
        Place of the first file in the list that this is a part of.

    Returns
    -------
    InputBatch
        The images that can be used, in order, and why the others cannot.
    """
    places, images, failures, remarks = [], [], [], []
    for place, path in enumerate(paths, start=first_place):
        try:
            images.append(read_input(path, image_format, gauss_range, remarks))
            places.append(place)
        except InputError as error:
            failures.append((place, *error.args))
    grey = np.stack(images) if images else np.empty((0, INPUT_PIXELS, INPUT_PIXELS), np.float32)
    return InputBatch(np.array(places, np.int64), grey, failures, remarks)


def input_batches(names: Sequence[str], settings: InputSettings) -> Iterator[InputBatch]:
    """Read images batch by batch in other processes, ahead of the consumer; the batches are in order."""
    size, paths = settings.batch_size, [settings.dataset_dir / name for name in names]
    starts = range(0, len(paths), size)
    tasks = ((paths[start:start + size], settings.image_format, settings.gauss_range, start) for start in starts)
    yield from parallel_results(read_inputs, tasks, max(min(settings.n_jobs, len(starts)), 1), ordered=True)


def reported_batches(names: Sequence[str], settings: InputSettings, run: StageRun,
                     description: str) -> Iterator[InputBatch]:
    """Yield the batches of `input_batches` with a progress bar; record what is wrong with images."""
    remarks = []
    with run.progress(total=len(names), description=description) as bar:
        for batch in input_batches(names, settings):
            for place, reason, detail in batch.failures:
                run.exclude(names[place], reason, detail, subject="images")
            remarks += batch.remarks
            yield batch
            bar.update(len(batch.places) + len(batch.failures))
    report_remarks(remarks, run)


# ---------------------------------------------------------------------------- rows kept on disk


class RowCache:
    """The rows that were computed for one identity; a context manager, which holds the lock on them.

    The identity is the "kind" of the rows and what they depend on other than the image; a row has `width` numbers.
    """

    def __init__(self, cache_dir: Path, identity: dict[str, Any], width: int, dtype: str) -> None:
        self.width, self.dtype = width, np.dtype(dtype)
        self._made_with = json.dumps(identity | {"width": width, "dtype": dtype}, sort_keys=True)
        key = hashlib.sha256(self._made_with.encode()).hexdigest()[:12]
        self.folder = cache_dir / f"{identity['kind']}_{key}"

    def __enter__(self) -> "RowCache":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._row_bytes = self.width * self.dtype.itemsize
        with ExitStack() as opened:
            opened.enter_context(output_lock(self.folder))
            self._journal = opened.enter_context(Journal(self.folder / "index.tsv", self._made_with))
            self._rows = opened.enter_context((self.folder / "rows.bin").open("ab"))
            self._stored = self._rows.tell() // self._row_bytes
            self._rows.truncate(self._stored * self._row_bytes)  # a kill left part of a row
            self._pending: list[FileState] = []
            self._committed = time.monotonic()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with self._opened:
            self.commit()

    def find(self, files: Sequence[FileState]) -> np.ndarray:
        """Return the row of each image, int64 of shape (n,): -1 where there is none for this state of the file."""
        self.commit()
        places, _ = self._journal.find(files)
        rows = np.full(len(files), -1, np.int64)
        there = places >= 0
        rows[there] = [int(row) for row in self._journal.read(places[there].tolist())]
        return np.where(rows < self._stored, rows, -1)  # a damaged disk may have lost the end of the rows

    def append(self, files: Sequence[FileState], values: np.ndarray) -> None:
        """Add rows, shape (n, width); they survive a kill after the next commit, a few seconds at most.

        Raises UserError when a number is not finite, or too large for the dtype.
        """
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(values, self.dtype).reshape(len(files), self.width)
        if not np.isfinite(values).all():
            raise UserError(f"{self.folder}: NaN or infinite numbers for {files[0].name} or one after it: the weights "
                            "of the network are unusable; take another file (--weights)")
        if not np.isfinite(rows).all():
            raise UserError(f"{self.folder}: features up to {np.abs(values).max():.3g} do not fit into {self.dtype}; "
                            "use --cache-dtype float32")
        self._rows.write(rows.data)
        self._pending += files
        if time.monotonic() - self._committed > SECONDS_BETWEEN_COMMITS:
            self.commit()

    def commit(self) -> None:
        """Wait until what was added is on disk: the rows, then their lines."""
        if self._pending:
            self._rows.flush()
            os.fsync(self._rows.fileno())
            end = self._stored + len(self._pending)
            self._journal.append(self._pending, [str(row) for row in range(self._stored, end)])
            self._stored, self._pending = end, []
        self._committed = time.monotonic()

    def values(self) -> np.ndarray:
        """Return all rows, shape (n, width), memory-mapped and read-only."""
        self.commit()
        if not self._stored:
            return np.empty((0, self.width), self.dtype)
        return np.memmap(self.folder / "rows.bin", self.dtype, "r", shape=(self._stored, self.width))

    def require_space(self, images: int) -> None:
        """Raise UserError unless the disk has room for the rows of so many images."""
        require_free_space(self.folder, images * (self._row_bytes + INDEX_BYTES),
                           f"the cache of {images:,} images in {self.dtype}")


def fill_rows(images: pd.DataFrame, cache: RowCache, settings: InputSettings,
              rows_of: Callable[[np.ndarray], np.ndarray], run: StageRun, description: str) -> np.ndarray:
    """Return the rows of images in a cache, after adding those that it lacks.

    Parameters
    ----------
    images : pandas.DataFrame
        source (path in the data set), bytes, modified_ns.
    cache : RowCache
        Open.
    settings : InputSettings
        How to read images.
    rows_of : callable
        From grey levels (n, 224, 224) to n rows; not called for a batch of which nothing can be read.
    run : StageRun
        Records the images that cannot be used.
    description : str
        For the progress bar.

    Returns
    -------
    numpy.ndarray
        int64, shape (n,): -1 for an image that cannot be used.

    Raises
    ------
    UserError
        When the disk has no room for the rows.
    """
    files = [FileState(*state) for state in zip(images["source"], images["bytes"].tolist(),
                                                images["modified_ns"].tolist(), strict=True)]
    rows = cache.find(files)
    missing = [file for file, row in zip(files, rows, strict=True) if row < 0]
    run.report(f"Cache {cache.folder}: {len(files) - len(missing):,} of {len(files):,} images are in it, "
               f"{len(missing):,} to compute")
    if not missing:
        return rows
    _report_other_caches(cache, run)
    cache.require_space(len(missing))
    for batch in reported_batches([file.name for file in missing], settings, run, description):
        if len(batch.places):
            cache.append([missing[place] for place in batch.places], rows_of(batch.grey))
    return cache.find(files)


def usable_images(images: pd.DataFrame, settings: InputSettings, run: StageRun) -> np.ndarray:
    """Read images once to find those that can be used.

    Parameters
    ----------
    images : pandas.DataFrame
        source (path in the data set).
    settings : InputSettings
        How to read images.
    run : StageRun
        Records the images that cannot be used.

    Returns
    -------
    numpy.ndarray
        bool, shape (n,).
    """
    usable = np.zeros(len(images), bool)
    for batch in reported_batches(images["source"].tolist(), settings, run, "checking images"):
        usable[batch.places] = True
    return usable


def _report_other_caches(cache: RowCache, run: StageRun) -> None:
    """Report the caches beside one that might be thought to be used."""
    kind = cache.folder.name.partition("_")[0]
    others = sorted({path for path in cache.folder.parent.glob(f"{kind}_*") if path.is_dir()} - {cache.folder})
    old = [path for path in others if (path / "cache.json").exists()]
    for path in old:
        run.report(f"Cache {path}: made by version 0.2.0; it is not used, remove it")
    if number := len(others) - len(old):
        run.report(f"{number} other caches in {cache.folder.parent} were made with other settings or weights and are "
                   "not used; each has what it was made with in the first line of its index.tsv")
