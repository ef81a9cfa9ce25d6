"""From image files to the network's input, and rows of numbers that are kept on disk, one an image.

The input is grey levels 0..255 of the network's size (224 x 224 pixels for VGG16), one channel, not rounded: a FITS
magnetogram is resized in gauss, then -gauss_range..gauss_range is mapped linearly to 0..255 and clipped; a PNG's grey
levels are resized the same way unless it has this size already. Resizing is bilinear with anti-aliasing.

What is computed from an image once (features, log odds) is a row of a cache, a folder of

    rows.bin        n rows of `width` numbers, without header
    index.tsv       a journal: name, size and modification time of each image, and its row

named by the hash of what the rows depend on. A row counts when its line in the journal is whole, and the line is
written after the row is on disk, so that a process may die at any moment. An image that has changed gets a new row.
"""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from general_code.images.magnetograms import (
    FITS_UNIT_GAUSS,
    PNG_ZERO_LEVEL,
    compile_decoder,
    read_pixels,
    reason_and_detail,
    report_remarks,
    resize_field,
)
from general_code.stage.files import UserError, counted, require_free_space
from general_code.stage.journal import FileState, Journal
from general_code.stage.run import StageRun, output_lock

SMALLEST_PIXELS = 32
GREY_LEVELS = 255
BATCHES_AHEAD = 2  # read while the network computes
PREPROCESSING_VERSION = 1  # a change of the numbers that `read_input` gives makes all caches void
INDEX_BYTES = 130  # of an image's line in the journal
SECONDS_BETWEEN_COMMITS = 5.0  # on a fast device a batch takes less time than flushing it to disk


class InputBatch(NamedTuple):
    """Some images of a list: their places in it, their grey levels (n, pixels, pixels) float32, and what is wrong."""

    places: np.ndarray
    grey: np.ndarray
    failures: list[tuple[int, str, str]]  # place, reason, detail of images that cannot be used
    remarks: list[str]  # what is strange about images, as `read_pixels` says


@dataclass(frozen=True)
class InputSettings:
    """How images are read: the settings of stage 7 with the same names."""

    dataset_dir: Path
    image_format: str
    gauss_range: float
    batch_size: int
    n_jobs: int
    pixels: int = 224  # height and width of the network's input


# ---------------------------------------------------------------------------- reading


def read_input(path: Path, settings: InputSettings, grey: np.ndarray, remarks: list[str]) -> None:
    """Fill `grey`, float32 of shape (pixels, pixels), with an image as the network's input.

    Raises ValueError for less than 32 x 32 pixels, NaN or infinite ones, what `read_pixels` or `resize_field` refuses.
    """
    values, without_value = read_pixels(path, remarks)
    if min(values.shape) < SMALLEST_PIXELS:
        raise ValueError(f"smaller than {SMALLEST_PIXELS}x{SMALLEST_PIXELS}: got {values.shape[0]}x{values.shape[1]} "
                         "pixels")
    infinite = 0 if values.dtype == np.int32 else int(np.isinf(values).sum())
    for name, number in (("NaN", without_value), ("infinite", infinite)):
        if number:
            raise ValueError(f"{name} pixels: {number} of {values.size}")
    scale, zero = 1.0, PNG_ZERO_LEVEL
    if settings.image_format == "fits":
        unit = FITS_UNIT_GAUSS if values.dtype == np.int32 else 1.0
        scale, zero = unit * GREY_LEVELS / (2 * settings.gauss_range), GREY_LEVELS / 2
    np.clip(resize_field(values, settings.pixels) * scale + zero, 0, GREY_LEVELS, out=grey)


def input_batches(names: Sequence[str], settings: InputSettings) -> Iterator[InputBatch]:
    """Read images batch by batch, in order, ahead of the consumer, in threads.

    They share the cores for FITS as the export service writes it, and PNG; other FITS is read by one at a time.
    """
    compile_decoder()
    size, ahead = settings.batch_size, deque()
    most = BATCHES_AHEAD + 2 * settings.n_jobs // size  # the threads have work although batches are small
    pool = ThreadPoolExecutor(settings.n_jobs)
    try:
        for first in range(0, len(names), size):
            some = names[first:first + size]
            grey = np.empty((len(some), settings.pixels, settings.pixels), np.float32)
            ahead.append((first, grey, pool.map(partial(_outcome, settings), some, grey)))
            if len(ahead) > most:
                yield _finished_batch(*ahead.popleft())
        while ahead:
            yield _finished_batch(*ahead.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _outcome(settings: InputSettings, name: str, grey: np.ndarray) -> tuple[str, str, list[str]]:
    """Read an image into `grey`; return reason and detail where it cannot be used, else "", and the remarks."""
    path, remarks = settings.dataset_dir / name, []
    try:
        read_input(path, settings, grey, remarks)
    except ValueError as error:
        return *reason_and_detail(error, path), []
    return "", "", remarks


def _finished_batch(first: int, grey: np.ndarray, outcomes: Iterable[tuple[str, str, list[str]]]) -> InputBatch:
    """Wait for the images of a batch."""
    results = list(outcomes)
    used = np.array([not reason for reason, *_ in results])
    failures = [(place, reason, detail) for place, (reason, detail, _) in enumerate(results, start=first) if reason]
    return InputBatch(first + np.flatnonzero(used), grey if used.all() else grey[used], failures,
                      [remark for *_, remarks in results for remark in remarks])


def reported_batches(names: Sequence[str], settings: InputSettings, run: StageRun, description: str,
                     refuse: Callable[[str, str, str], None] | None = None) -> Iterator[InputBatch]:
    """Yield the batches of `input_batches` with a progress bar.

    `refuse` takes name, reason and detail of an image that cannot be used; None: it is recorded as excluded.
    """
    remarks = []
    refuse = refuse or partial(run.exclude, subject="images")
    with run.progress(total=len(names), description=description) as bar:
        for batch in input_batches(names, settings):
            for place, reason, detail in batch.failures:
                refuse(names[place], reason, detail)
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
        self.row_bytes = self.width * self.dtype.itemsize
        with ExitStack() as opened:
            opened.enter_context(output_lock(self.folder))
            self._journal = opened.enter_context(Journal(self.folder / "index.tsv", self._made_with))
            self.damaged = self._journal.foreign  # the folder's name says what made the rows
            self._rows = opened.enter_context((self.folder / "rows.bin").open("ab"))
            self._stored = self._rows.tell() // self.row_bytes
            self._rows.truncate(self._stored * self.row_bytes)  # a kill left part of a row
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


def fill_rows(images: pd.DataFrame, cache: RowCache, settings: InputSettings,
              rows_of: Callable[[np.ndarray], np.ndarray], run: StageRun) -> np.ndarray:
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
        From grey levels (n, pixels, pixels) to n rows; not called for a batch of which nothing can be read.
    run : StageRun
        Records the images that cannot be used.

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
    if cache.damaged:
        run.report(f"Cache {cache.folder}: the first line of its index.tsv is damaged; it is made again")
    missing = [file for file, row in zip(files, rows, strict=True) if row < 0]
    run.report(f"Cache {cache.folder}: {len(files) - len(missing):,} of {len(files):,} images are in it, "
               f"{len(missing):,} to compute")
    if not missing:
        return rows
    _report_other_caches(cache, run)
    require_free_space(cache.folder, len(missing) * (cache.row_bytes + INDEX_BYTES),
                       f"the cache of {counted(len(missing), 'images')} in {cache.dtype}")
    with ThreadPoolExecutor(1) as writer:  # writes while the network computes the next batch
        written = writer.submit(cache.commit)
        for batch in reported_batches([file.name for file in missing], settings, run, "network"):
            if len(batch.places):
                computed = rows_of(batch.grey)
                written.result()
                written = writer.submit(cache.append, [missing[place] for place in batch.places], computed)
        written.result()
    return cache.find(files)


def image_reader(images: pd.DataFrame, settings: InputSettings,
                 run: StageRun) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Read images once to find those that can be used, and return what reads them again.

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
    read : callable
        From places (k,) of images that can be used to grey levels (k, pixels, pixels, 1); UserError where one no
        longer can.
    usable : numpy.ndarray
        bool, shape (n,).
    """
    names, usable = images["source"].to_numpy(), np.zeros(len(images), bool)
    for batch in reported_batches(names, settings, run, "checking images"):
        usable[batch.places] = True
    pool = ThreadPoolExecutor(settings.n_jobs, "images")  # its threads end with `read`

    def read(places: np.ndarray) -> np.ndarray:
        grey = np.empty((len(places), settings.pixels, settings.pixels), np.float32)
        batch = _finished_batch(0, grey, pool.map(partial(_outcome, settings), names[places], grey))
        for place, reason, detail in batch.failures:
            raise UserError(f"{names[places[place]]}: {detail or reason}; it could be read when this run began; start "
                            "again")
        return batch.grey[..., np.newaxis]

    return read, usable


def _report_other_caches(cache: RowCache, run: StageRun) -> None:
    """Report the caches beside one that might be thought to be used."""
    kind = cache.folder.name.partition("_")[0]
    for old in sorted([*cache.folder.parent.glob(f"{kind}_*/cache.json"), *cache.folder.parent.glob("inputs_*/*.bin")]):
        run.report(f"Cache {old.parent}: made by version 0.2.0; not used, remove it")
    if number := len({*cache.folder.parent.glob(f"{kind}_*/index.tsv")} - {cache.folder / "index.tsv"}):
        run.report(f"{counted(number, 'other caches')} in {cache.folder.parent}, made with other settings or weights, "
                   "not used; the first line of each index.tsv says what made it")
