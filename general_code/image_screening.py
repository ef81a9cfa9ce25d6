"""The pixels of many images, read once and in parallel: NaN counted, PNG images made in the same pass.

Counts are kept by file, size and modification time, PNG images by the file they came from and their settings, so that
another choice of limits, or a run after a kill, reads only what is new.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse
from joblib import Parallel, delayed

from general_code.magnetograms import gauss_to_grey, read_magnetogram, write_png
from general_code.stage_run import StageRun
from general_code.work_journal import WorkJournal
from general_code.worker_processes import interrupts_left_to_parent

BATCH = 32  # images a task: about half a second, so little is lost by a kill
NAN_COLUMNS = ("file", "bytes", "modified_ns", "nan_pixels")
PNG_COLUMNS = ("file", "source_bytes", "source_modified_ns", "png_pixels", "png_gauss_per_level", "png_bytes")
ANOTHER_FILE = "another file in its place"
UNREADABLE = "unreadable image"


@dataclass(frozen=True)
class PngOutput:
    """Where and how PNG images are made.

    Attributes
    ----------
    folder : Path
        The data set.
    pixels : int
        Width and height.
    gauss_per_level : float
        Width of a grey level [G].
    journal : WorkJournal
        PNG images of earlier runs, with `PNG_COLUMNS`.
    """

    folder: Path
    pixels: int
    gauss_per_level: float
    journal: WorkJournal


class ImageTask(NamedTuple):
    """An image to read; `png` is where to write it as PNG (None: nowhere), `replace` whether over what is there."""

    source: Path
    png: Path | None = None
    replace: bool = False


class Screened(NamedTuple):
    """What reading an image gave: its NaN pixels (-1: not read); a reason when it cannot be used; size of its PNG."""

    nan_pixels: int
    reason: str = ""
    detail: str = ""
    png_bytes: int = 0


def screen_images(image_dir: Path, sources: Sequence[str], journal: WorkJournal, n_jobs: int, run: StageRun,
                  max_nans: int = 0, png: PngOutput | None = None, names: Sequence[str] = ()) -> list[Screened]:
    """Count the NaN pixels of images, and make PNG images of those with few enough.

    Parameters
    ----------
    image_dir : Path
        Folder of the images.
    sources : sequence of str, shape (m,)
        Their paths in it.
    journal : WorkJournal
        Counts of earlier runs, with `NAN_COLUMNS`; added to.
    n_jobs : int
        Worker processes; the result does not depend on their number.
    run : StageRun
        For progress, and to say what is reused.
    max_nans : int, optional
        No PNG is made of an image with more NaN pixels.
    png : PngOutput, optional
        Without, no PNG is made.
    names : sequence of str, shape (m,), optional
        PNG files, `NNNN/name`, in `png.folder`.

    Returns
    -------
    list of Screened
        In the order of `sources`.
    """
    stamps = [_stamp(image_dir / source) for source in sources]
    results: dict[int, Screened] = {}
    tasks: dict[int, ImageTask] = {}
    for i, (source, stamp) in enumerate(zip(sources, stamps, strict=True)):
        count = journal.done.get(source)
        nans = int(count[2]) if count and count[:2] == stamp else None
        task = ImageTask(image_dir / source)
        if png and (nans is None or nans <= max_nans):
            task = _png_task(task, png, names[i], stamp)
        if nans is None or task.png:
            tasks[i] = task
        else:
            results[i] = Screened(nans)
    _say_plan(run, tasks, results, sum(source in journal.done and journal.done[source][:2] != stamp
                                       for source, stamp in zip(sources, stamps, strict=True)))
    if tasks:
        with journal.recording(), png.journal.recording() if png else nullcontext():
            for batch in _screen_batches(tasks, max_nans, png, n_jobs, run):
                results.update(batch)
                _note(batch, journal, sources, stamps)
                if png:
                    _note_png(batch, png, names, stamps)
    return [results[i] for i in range(len(sources))]


def screen_image(task: ImageTask, max_nans: int = 0, pixels: int = 0, gauss_per_level: float = 1.0) -> Screened:
    """Read an image, count its NaN pixels, and write it as PNG if that is asked for and they are few enough.

    Parameters
    ----------
    task : ImageTask
        What to read and write.
    max_nans : int, optional
        Most NaN pixels of an image that becomes a PNG.
    pixels : int, optional
        Width and height of the PNG.
    gauss_per_level : float, optional
        Width of a grey level [G].

    Returns
    -------
    Screened
        An image that cannot be read, or whose PNG's place another image has, gives the reason.
    """
    try:
        field = read_magnetogram(task.source)
    except (ValueError, OSError) as error:
        return Screened(-1, UNREADABLE, str(error))
    nans = int(np.count_nonzero(np.isnan(field)))
    if task.png is None or nans > max_nans:
        return Screened(nans)
    grey = gauss_to_grey(resize_field(np.nan_to_num(field), pixels), gauss_per_level)
    if task.replace or not os.path.lexists(task.png):
        write_png(task.png, grey)
    elif not _holds(task.png, grey):
        return Screened(nans, ANOTHER_FILE, f"{task.png} is not this image with these settings; remove it to have it "
                                            "made, or name another dataset_dir")
    return Screened(nans, png_bytes=task.png.stat().st_size)


def resize_field(field: np.ndarray, pixels: int) -> np.ndarray:
    """Return a field resized to a square, bilinear with anti-aliasing.

    Parameters
    ----------
    field : numpy.ndarray
        Shape (ny, nx), without NaN.
    pixels : int
        Width and height of the result.

    Returns
    -------
    numpy.ndarray
        float64, shape (pixels, pixels): `skimage.transform.resize(order=1, anti_aliasing=True)` to 1e-10 of the
        largest value, by the same operation as a sparse matrix for each axis, ten times as fast.
    """
    rows, columns = _resize_matrix(field.shape[0], pixels), _resize_matrix(field.shape[1], pixels)
    return np.asarray((columns @ (rows @ field).T).T)


@lru_cache(maxsize=64)
def _resize_matrix(length: int, pixels: int) -> scipy.sparse.csr_array:
    """Return the matrix that resizes a column: what skimage makes of the unit columns, as resizing is linear."""
    from skimage.transform import resize

    return scipy.sparse.csr_array(resize(np.eye(length), (pixels, length), order=1, anti_aliasing=True))


def _stamp(path: Path) -> tuple[str, str]:
    """Return size and modification time as text; "0" for a file that is gone, which will be found unreadable."""
    try:
        status = path.stat()
    except OSError:
        return "0", "0"
    return str(status.st_size), str(status.st_mtime_ns)


def _say_plan(run: StageRun, tasks: dict[int, ImageTask], results: dict[int, Screened], changed: int) -> None:
    """Say what is read, what is known, and which earlier work is not used."""
    run.say(f"Images to read: {len(tasks):,}; known from an earlier run: {len(results):,}")
    if changed:
        run.say(f"Changed since an earlier run, whose counts are not used: {changed:,}")
    if remade := sum(task.replace for task in tasks.values()):
        run.say(f"PNG images made with other settings or from other files, now made again: {remade:,}")


def _png_task(task: ImageTask, png: PngOutput, name: str, stamp: tuple[str, str]) -> ImageTask:
    """Return the task with its PNG, unless that is made already, from this file with these settings."""
    target = png.folder / name
    made = png.journal.done.get(name)
    try:
        ours = made is not None and made[-1] == str(target.stat().st_size)
    except OSError:
        return task._replace(png=target)
    wanted = (*stamp, str(png.pixels), str(png.gauss_per_level))
    return task if ours and made[:4] == wanted else task._replace(png=target, replace=ours)


def _holds(path: Path, grey: np.ndarray) -> bool:
    """Tell whether a PNG holds these grey levels."""
    try:
        return np.array_equal(gauss_to_grey(read_magnetogram(path), 1.0), grey)
    except (ValueError, OSError):
        return False


def _screen_batches(tasks: dict[int, ImageTask], max_nans: int, png: PngOutput | None, n_jobs: int,
                    run: StageRun) -> Iterator[dict[int, Screened]]:
    """Yield results as they come, in any order."""
    settings = (max_nans, png.pixels, png.gauss_per_level) if png else (max_nans,)
    items = list(tasks.items())
    batches = [dict(items[start:start + BATCH]) for start in range(0, len(items), BATCH)]
    jobs = min(n_jobs, len(batches))
    with interrupts_left_to_parent():  # the call starts the processes
        work = Parallel(n_jobs=jobs, return_as="generator_unordered")(
            delayed(_screen_batch)(batch, settings) for batch in batches)
    with run.progress(total=len(items), description="Reading images") as bar:
        for results in work:
            yield results
            bar.update(len(results))


def _screen_batch(tasks: dict[int, ImageTask], settings: tuple) -> dict[int, Screened]:
    """Return the results of some images, by their place."""
    return {i: screen_image(task, *settings) for i, task in tasks.items()}


def _note(batch: dict[int, Screened], journal: WorkJournal, sources: Sequence[str],
          stamps: Sequence[tuple[str, str]]) -> None:
    """Write down the NaN counts of a batch."""
    journal.record([(sources[i], *stamps[i], str(result.nan_pixels)) for i, result in batch.items()
                    if result.nan_pixels >= 0])


def _note_png(batch: dict[int, Screened], png: PngOutput, names: Sequence[str],
              stamps: Sequence[tuple[str, str]]) -> None:
    """Write down the PNG images of a batch."""
    png.journal.record([(names[i], *stamps[i], str(png.pixels), str(png.gauss_per_level), str(result.png_bytes))
                        for i, result in batch.items() if result.png_bytes])
