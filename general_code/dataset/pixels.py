"""The images of a data set in their place: read once, in parallel, to count NaN pixels; made into PNG, or transferred.

Counts are kept by file, size and modification time, PNG images by source and settings: a later run reads what is new.
"""

import errno
import filecmp
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from general_code.images.magnetograms import compile_decoder, gauss_to_grey, read_pixels, resize_field, write_png
from general_code.stage.files import NOT_SUPPORTED, atomic_path, describe, remove_leftovers, require_free_space
from general_code.stage.journal import FileState, Journal
from general_code.stage.run import StageRun, parallel_results

BATCH = 32  # images a task: about half a second, so little is lost by a kill
CHUNK = 256  # transfers a step of the progress bar
ANOTHER_FILE = "another file in its place"
UNREADABLE = "unreadable image"
NO_LINK = (*NOT_SUPPORTED, errno.EXDEV, errno.EMLINK)


class PngSettings(NamedTuple):
    """Where PNG images are made, their width and height, and the width of a grey level [G]."""

    folder: Path
    pixels: int
    gauss_per_level: float


class ImageTask(NamedTuple):
    """An image to read; `png` is where to write it as PNG (None: nowhere), `replace` whether over what is there."""

    source: Path
    png: Path | None = None
    replace: bool = False


class Screened(NamedTuple):
    """What reading an image gave: NaN pixels (-1: not read), remarks, why it cannot be used, size of its PNG."""

    nan_pixels: int
    remarks: tuple[str, ...] = ()
    reason: str = ""
    detail: str = ""
    png_bytes: int = 0


# ---------------------------------------------------------------------------- reading


def screen_images(image_dir: Path, images: pd.DataFrame, counts_file: Path, n_jobs: int, run: StageRun,
                  max_nans: int = 0, png: PngSettings | None = None) -> list[Screened]:
    """Count the NaN pixels of images, and make PNG images of those with few enough.

    Parameters
    ----------
    image_dir, images : Path, pandas.DataFrame
        Folder, and its images: `source` (path in it), `bytes`, `modified_ns`; for PNG images `region` and `name`, too.
    counts_file, n_jobs, run : Path, int, StageRun
        Counts of earlier runs, added to; worker processes; reports what is reused.
    max_nans, png : int, PngSettings, optional
        No PNG is made of an image with more NaN pixels; without settings none at all.

    Returns
    -------
    list of Screened
        In the order of `images`.
    """
    rows = list(zip(images["source"], images["bytes"].tolist(), images["modified_ns"].tolist(), strict=True))
    files = [FileState(*row) for row in rows]
    with ExitStack() as open_journals:
        counts = open_journals.enter_context(Journal(counts_file, "NaN pixels of images"))
        known = [None if value is None else _from_journal(value) for value in _values(counts, files)]
        tasks = {i: ImageTask(image_dir / file.name) for i, file in enumerate(files) if known[i] is None}
        made = None
        if png:
            made = open_journals.enter_context(Journal(png.folder / "png_journal.txt", "PNG images of these files"))
            names = (images["region"] + "/" + images["name"]).tolist()
            pngs = [file._replace(name=name) for file, name in zip(files, names, strict=True)]
            wanted = [i for i, result in enumerate(known) if result is None or result.nan_pixels <= max_nans]
            tasks |= _png_tasks(image_dir, images["source"].tolist(), pngs, wanted, made=made, png=png)
        results = {i: result for i, result in enumerate(known) if result is not None and i not in tasks}
        run.report(f"Images to read: {len(tasks):,}; known from an earlier run: {len(results):,}")
        if remade := sum(task.replace for task in tasks.values()):
            run.report(f"PNG images made with other settings, now made again: {remade:,}")
        for batch in _screen_batches(tasks, max_nans, png, n_jobs, run):
            results.update(batch)
            read = [i for i in batch if batch[i].nan_pixels >= 0]
            counts.append([files[i] for i in read],
                          ["\t".join((str(batch[i].nan_pixels), *batch[i].remarks)) for i in read])
            if made:
                written = [i for i in batch if batch[i].png_bytes]
                made.append([pngs[i] for i in written], [_png_note(png, batch[i].png_bytes) for i in written])
        for journal in filter(None, (counts, made) if tasks else ()):
            journal.sort()
    return [results[i] for i in range(len(files))]


def screen_image(task: ImageTask, max_nans: int = 0, png: PngSettings | None = None) -> Screened:
    """Read an image, count its NaN pixels, and write it as PNG if that is asked for and they are few enough."""
    try:
        image = read_pixels(task.source, remarks := [])
    except ValueError as error:
        return Screened(-1, (), UNREADABLE, str(error))
    nans = image.without_value
    if task.png is None or nans > max_nans:
        return Screened(nans, tuple(remarks))
    field = image.field()
    if nans or field is image.values:  # else from integers, all of them finite
        np.nan_to_num(field, copy=False)
    try:
        grey = gauss_to_grey(resize_field(field, png.pixels), png.gauss_per_level)
    except ValueError as error:
        return Screened(nans, tuple(remarks), UNREADABLE, str(error))
    if task.replace or not os.path.lexists(task.png):
        write_png(task.png, grey)
    elif not _holds(task.png, grey):
        detail = f"{task.png} is not this image with these settings; remove it, or name another dataset_dir"
        return Screened(nans, tuple(remarks), ANOTHER_FILE, detail)
    return Screened(nans, tuple(remarks), png_bytes=task.png.stat().st_size)


def _values(journal: Journal, files: list[FileState]) -> list[str | None]:
    """Return the value that a journal has of each file, None where it has none."""
    places, _ = journal.find(files)
    known = np.flatnonzero(places >= 0).tolist()
    values = dict(zip(known, journal.read(places[known].tolist()), strict=True))
    return [values.get(i) for i in range(len(files))]


def _from_journal(value: str) -> Screened:
    """Return what an earlier run noted of an image: its NaN pixels and remarks."""
    nan_pixels, *remarks = value.split("\t")
    return Screened(int(nan_pixels), tuple(remarks))


def _png_tasks(image_dir: Path, sources: Sequence[str], pngs: list[FileState], wanted: Sequence[int], made: Journal,
               png: PngSettings) -> dict[int, ImageTask]:
    """Return what has to be read to make the PNG images that are not made already, from these files as they are."""
    tasks = {}
    for i, note in zip(wanted, _values(made, [pngs[i] for i in wanted]), strict=True):
        target = png.folder / pngs[i].name
        try:
            found = target.stat().st_size
        except OSError:
            found = -1
        ours = note is not None and note.rpartition(" ")[2] == str(found)
        if not ours or note != _png_note(png, found):
            tasks[i] = ImageTask(image_dir / sources[i], target, replace=ours)
    return tasks


def _png_note(png: PngSettings, size: int) -> str:
    """Return what the journal keeps of a PNG: its settings and its size [bytes]."""
    return f"{png.pixels} {png.gauss_per_level} {size}"


def _holds(path: Path, grey: np.ndarray) -> bool:
    """Tell whether a PNG holds these grey levels."""
    try:
        return np.array_equal(gauss_to_grey(read_pixels(path).values, 1.0), grey)
    except ValueError:
        return False


def _screen_batches(tasks: dict[int, ImageTask], max_nans: int, png: PngSettings | None, n_jobs: int,
                    run: StageRun) -> Iterator[dict[int, Screened]]:
    """Yield results as they come, in any order."""
    if not tasks:
        return
    compile_decoder()
    items = sorted(tasks.items())
    batches = [(dict(items[start:start + BATCH]), max_nans, png) for start in range(0, len(items), BATCH)]
    with run.progress(total=len(items), description="Reading images") as bar:
        for results in parallel_results(_screen_batch, batches, min(n_jobs, len(batches))):
            yield results
            bar.update(len(results))


def _screen_batch(tasks: dict[int, ImageTask], max_nans: int, png: PngSettings | None) -> dict[int, Screened]:
    """Return the results of some images, by their place."""
    return {i: screen_image(task, max_nans, png) for i, task in tasks.items()}


# ---------------------------------------------------------------------------- transfer: never over another file


def transfer_images(sources: Sequence[Path], targets: Sequence[Path], transfer: str, n_jobs: int,
                    run: StageRun) -> list[tuple[str, str]]:
    """Put images into a data set without a change; raise UserError when the disk has too little room.

    Parameters
    ----------
    sources, targets, transfer : sequence of Path (the first two, of one length), {"hardlink", "copy", "symlink"}
        From where to where, and how; a link that is not possible, as across file systems, becomes a copy. What is there
        already stays as it is.
    n_jobs, run : int, StageRun
        Threads; reports how many became copies.

    Returns
    -------
    list of (str, str)
        Reason and detail of each image that is not in its place; "" where it is.
    """
    for folder in sorted({target.parent for target in targets}):
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
    _require_room(sources, targets, transfer)
    outcomes: list[tuple[str, str]] = []
    with run.progress(total=len(sources), description=f"Transfer ({transfer})") as bar, \
            ThreadPoolExecutor(n_jobs) as pool:
        for start in range(0, len(sources), CHUNK):
            pairs = sources[start:start + CHUNK], targets[start:start + CHUNK]
            outcomes += pool.map(place_image, *pairs, [transfer] * len(pairs[0]))
            bar.update(len(pairs[0]))
    copies = outcomes.count(("copied", ""))
    if copies and transfer != "copy":
        run.report(f"Warning: {copies:,} images were copied: {transfer}s from {sources[0].parent} to "
                   f"{targets[0].parent} are not possible (another file system, or not permitted)")
    return [("", "") if outcome == ("copied", "") else outcome for outcome in outcomes]


def place_image(source: Path, target: Path, transfer: str) -> tuple[str, str]:
    """Put one image into its place; return ("", "") when it is there, ("copied", ""), or reason and detail."""
    try:
        with source.open("rb"):
            pass
    except OSError as error:
        return UNREADABLE, describe(error)
    if target.is_symlink() and not target.exists():
        target.unlink()  # a link to a file that has moved
    if os.path.lexists(target):
        if _same_content(source, target):
            return "", ""
        return ANOTHER_FILE, f"{target} is not {source}; remove it to have it replaced, or name another dataset_dir"
    if transfer != "copy" and _link(source, target, transfer):
        return "", ""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        status = source.stat()
        with suppress(OSError):  # some shares refuse it; a later run then compares the content
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    return "copied", ""


def _link(source: Path, target: Path, transfer: str) -> bool:
    """Link an image into its place under a temporary name first; False where that is not possible."""
    make: Callable[[Path, Path], None] = os.link if transfer == "hardlink" else os.symlink
    temporary = target.with_name(f".writing-{target.name}")
    temporary.unlink(missing_ok=True)  # of a killed run; a lock on the data set keeps other runs off it
    try:
        make(source.resolve(), temporary)
        temporary.replace(target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        return False
    return True


def _same_content(source: Path, target: Path) -> bool:
    """Tell whether two files are one, or copies by size and modification time, or equal byte for byte."""
    ours, theirs = source.stat(), target.stat()
    if os.path.samestat(ours, theirs):
        return True
    if not target.is_file() or ours.st_size != theirs.st_size:
        return False
    return ours.st_mtime_ns == theirs.st_mtime_ns or filecmp.cmp(source, target, shallow=False)


def _require_room(sources: Sequence[Path], targets: Sequence[Path], transfer: str) -> None:
    """Raise UserError when copies would not fit; whether links are possible is tried with the first image."""
    todo = [(source, target) for source, target in zip(sources, targets, strict=True)
            if source.exists() and not target.exists()]
    if not todo:
        return
    trial = todo[0][1].with_name(".writing-trial")
    if transfer != "copy" and _link(todo[0][0], trial, transfer):
        trial.unlink()
        return
    missing = sum(source.stat().st_size for source, _ in todo)
    require_free_space(targets[0].parent, missing, f"copies of {len(todo):,} images")
