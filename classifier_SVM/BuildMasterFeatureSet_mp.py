"""Stage 4: compute the 29 features of every labelled image of a data set, on all cores or on a Dask cluster.

Reads
    label_file   a line an image, no header: filename, class (`0`, or e.g. `C4.7`: the largest flare in the window)
    dataset_dir  NNNN/*.fits [G] or NNNN/*.png [grey levels, zero at 128], any rectangle from 32x32 pixels on
Writes
    feature_file               32 columns, no header, sorted by name: 29 features as
                               FeaturesetTools.FEATURE_NAMES (gradients and wavelets in G, fluxes in G pixels, angles
                               in rad; grey levels in place of G for PNG), class 0/1, flare class, file name
    feature_file.rows          the rows image by image as they are computed: what a restart, or a run with other
                               labels or more images, need not compute again
    feature_file.excluded.csv  input, reason, detail: every image and label that was left out
    feature_file.json, .log    settings, versions, counts, times

Usage
    python classifier_SVM/BuildMasterFeatureSet_mp.py
    python classifier_SVM/BuildMasterFeatureSet_mp.py --image-format png --feature-file results/features_png.csv
    python classifier_SVM/BuildMasterFeatureSet_mp.py --dask-scheduler tcp://host:8786

References
    Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root
from classifier_SVM.chunk_runners import check_workers, dask_client, run_here, run_on_dask
from classifier_SVM.feature_rows import LEFT_OUT, TRY_AGAIN
from classifier_SVM.FunctionsP3 import FEATURE_VERSION, compile_kernels
from classifier_SVM.labelled_images import ImageFiles, find_labelled_images
from classifier_SVM.row_checkpoint import RowCheckpoint
from general_code.label_file import label_counts
from general_code.stage_files import UserError, atomic_write, require_file, require_folder, require_free_space
from general_code.stage_run import StageRun, resolve_jobs, stage_main, stage_run

## User Definitions


@dataclass(frozen=True)
class UserDefinitions:
    label_file: Path = Path("data/Labels.txt")  # label of each image, as written by generate_dataset
    dataset_dir: Path = Path("data/dataset")  # folder of the images, NNNN/*.fits or NNNN/*.png
    feature_file: Path = Path("results/features.csv")  # the table of features to be written
    image_format: Literal["fits", "png"] = "fits"  # which images of dataset_dir to use
    n_jobs: int = -1  # number of processes; -1: all cores
    dask_scheduler: str = ""  # address of a Dask cluster that computes, e.g. tcp://host:8786; "": this machine
    chunk_files: int = 256  # largest number of images given to a process at a time
    resume: bool = True  # use rows computed before (same name, size, time); False: compute all again


## End User Definitions

BYTES_A_ROW = 700  # upper bound, for the estimate of space
CHUNKS_A_WORKER = 8  # at least, so that none is idle for long while the last ones finish


@stage_main
def main(user: UserDefinitions) -> None:
    """Compute the table of features.

    Parameters
    ----------
    user : UserDefinitions
        The settings.
    """
    _check(user)
    with stage_run(user, user.feature_file, inputs=[user.label_file, user.dataset_dir]) as run:
        run.say(f"Matching the labels of {user.label_file} with the images of {user.dataset_dir}")
        images = find_labelled_images(user.label_file, user.dataset_dir, user.image_format, run)
        with RowCheckpoint(Path(f"{user.feature_file}.rows"), FEATURE_VERSION, user.resume) as checkpoint:
            if checkpoint.foreign:
                run.say(f"{checkpoint.path} holds rows of other feature definitions: not used, computing all again")
            places, letters = checkpoint.find(images.names, images.sizes, images.times)
            todo = np.flatnonzero(places < 0)
            require_free_space(user.feature_file.parent, BYTES_A_ROW * (len(images) + todo.size),
                               f"the table of {len(images):,} images and the rows of {todo.size:,} to compute")
            run.count("images labelled", len(images))
            run.count("rows computed before", len(images) - todo.size)
            if todo.size:
                run.say(f"Computing {todo.size:,} images; {len(images) - todo.size:,} were computed before")
                left_out = len(run.exclusions) + np.count_nonzero(letters == LEFT_OUT.encode())
                _compute(user, run, images, todo, checkpoint, places, left_out)
            else:
                run.say("Already finished: nothing to compute")
            written = _write_table(user.feature_file, images, checkpoint, places, run)
        run.count("rows written", written)
        run.counts |= label_counts(user.label_file)  # the label file may be another when this table is read
        run.say(f"Wrote {written:,} rows of 29 features to {user.feature_file}")


def _check(user: UserDefinitions) -> None:
    """Refuse settings that cannot work, before any work."""
    require_file(user.label_file, "label_file")
    require_folder(user.dataset_dir, "dataset_dir")
    resolve_jobs(user.n_jobs)
    if user.chunk_files < 1:
        raise UserError(f"chunk_files: expected a number from 1, got {user.chunk_files}")


def _compute(user: UserDefinitions, run: StageRun, images: ImageFiles, todo: np.ndarray,
             checkpoint: RowCheckpoint, places: np.ndarray, left_out: int) -> None:
    """Compute the rows that are missing and keep each chunk as it comes; `left_out` so far, for the progress."""
    folder, done = user.dataset_dir.resolve(), len(images) - todo.size
    with _worker_pool(user, run, images, folder, todo) as (workers, run_chunks):
        size = min(user.chunk_files, -(-todo.size // (workers * CHUNKS_A_WORKER)))
        chunks = (images.paths(folder, todo[start:start + size]) for start in range(0, todo.size, size))
        with run.progress(total=len(images), initial=done, description="Features") as bar:
            for number, rows in run_chunks(chunks):
                chunk = todo[number * size:number * size + size]
                _keep_rows(run, images, chunk, rows, checkpoint, places)
                left_out += sum(row[0] in (LEFT_OUT, TRY_AGAIN) for row in rows)
                bar.set_postfix_str(f"{left_out:,} left out", refresh=False)
                bar.update(chunk.size)


@contextmanager
def _worker_pool(user: UserDefinitions, run: StageRun, images: ImageFiles, folder: Path,
                 todo: np.ndarray) -> Iterator[tuple]:
    """Yield the number of workers and the function that computes chunks on them."""
    if user.dask_scheduler:
        run.say(f"Connecting to the Dask cluster at {user.dask_scheduler}")
        with dask_client(user.dask_scheduler) as client:
            samples = [todo[0], todo[todo.size // 2], todo[-1]]
            paths, sizes = images.paths(folder, samples), images.sizes[samples].tolist()
            workers = check_workers(client, list(zip(paths, sizes, strict=True)))
            run.say(f"The cluster has {workers} worker threads; they see this repository and the images")
            yield workers, lambda chunks: run_on_dask(chunks, client)
    else:
        workers = min(resolve_jobs(user.n_jobs), todo.size)
        compile_kernels()  # once here; the workers find the compiled code on disk
        yield workers, lambda chunks: run_here(chunks, workers)


def _keep_rows(run: StageRun, images: ImageFiles, chunk: np.ndarray, rows: list[str],
               checkpoint: RowCheckpoint, places: np.ndarray) -> None:
    """Append the rows of one chunk to the checkpoint; files that could not be reached are recorded instead."""
    kept = [(index, row) for index, row in zip(chunk.tolist(), rows, strict=True) if row[0] != TRY_AGAIN]
    where = [index for index, _ in kept]
    places[where] = checkpoint.append(images.names[where].tolist(), images.sizes[where].tolist(),
                                      images.times[where].tolist(), [row for _, row in kept])
    for index, row in zip(chunk.tolist(), rows, strict=True):
        if row[0] == TRY_AGAIN:
            _exclude(run, os.fsdecode(images.names[index]), row)


def _exclude(run: StageRun, name: str, row: str) -> None:
    """Record an image by its row without features; many have one reason, which is kept in memory once."""
    reason, detail = row[1:].split("\t")
    run.exclude(name, sys.intern(reason), detail)


def _write_table(feature_file: Path, images: ImageFiles, checkpoint: RowCheckpoint, places: np.ndarray,
                 run: StageRun) -> int:
    """Write the table of features by name and return its number of rows; images without features are recorded.

    With no row at all there is an error in place of a table, and an earlier one stays.
    """
    computed, written = np.flatnonzero(places >= 0), 0
    with atomic_write(feature_file, errors="surrogateescape") as file:
        for index, row in zip(computed, checkpoint.read(places[computed]), strict=True):
            name, flare_class = os.fsdecode(images.names[index]), images.flare_classes[index].decode()
            if row[0] == LEFT_OUT:
                _exclude(run, name, row)
                continue
            file.write(f"{row},{int(flare_class != '0')},{flare_class},{name}\n")
            written += 1
        if not written:
            raise UserError(f"feature_file: no row for '{feature_file}', not one of the {len(images):,} images with a "
                            f"label has features; mend what {feature_file}.excluded.csv names, or set --dataset-dir")
    return written


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
