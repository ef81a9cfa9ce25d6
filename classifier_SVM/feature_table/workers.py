"""The rows of stage 4: computed by processes of this computer or a Dask cluster, kept as they come, and written."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from classifier_SVM.FeaturesetTools import FEATURE_VERSION
from classifier_SVM.FunctionsP3 import compile_kernels, image_features
from general_code.images.magnetograms import ImageOutOfReach, read_pixels, reason_and_detail
from general_code.stage.files import UserError, atomic_write, counted, describe
from general_code.stage.journal import FileState, Journal
from general_code.stage.run import StageRun, parallel_results, resolve_jobs

EXCLUDED, TRY_AGAIN = "!", "?"  # first letter of a row without features; TRY_AGAIN: the file may be readable later
REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS_TO_CONNECT = 30

Results = Iterator[tuple[int, list[str], list[str]]]  # as `worker_pool` describes them


@contextmanager
def worker_pool(n_jobs: int, dask_scheduler: str, samples: Sequence[tuple[str, int]],
                report: Callable[[str], object]) -> Iterator[tuple[int, Callable[[Iterable[list[str]]], Results]]]:
    """Start the workers, their kernels compiled.

    Parameters
    ----------
    n_jobs, dask_scheduler : int, str
        Number of processes of this computer, -1 for all its cores; address of the cluster that computes in their place,
        e.g. tcp://host:8786, "" for none.
    samples, report : sequence of (str, int), callable
        Absolute path and size [bytes] of some images, which the cluster's workers have to see; takes a line for the
        user.

    Yields
    ------
    workers : int
        Their number.
    run_chunks : callable
        Takes lists of images' absolute paths; yields a list's number, rows (`row_of_image`) and remarks, as it is done.
        UserError for no scheduler, no workers, workers that do not see the files or, within the block, were lost.
    """
    if not dask_scheduler:
        compile_kernels(report)  # once here; the processes find the compiled code on disk
        workers = resolve_jobs(n_jobs)
        yield workers, lambda chunks: parallel_results(numbered_rows, enumerate(chunks), workers)
        return
    report(f"Connecting to the Dask cluster at {dask_scheduler}; its workers load the feature kernels, or compile them")
    with dask_client(dask_scheduler) as client:
        workers = check_workers(client, samples)
        report(f"The cluster has {counted(workers, 'worker threads')}; they see this repository and the images")
        yield workers, lambda chunks: run_on_dask(chunks, client)


# ---------------------------------------------------------------------------- one image


def row_of_image(path: Path, remarks: list[str]) -> str:
    """Return the 29 features as exact text, a tab and `rowsxcolumns`; `remarks` gets what is strange about the image.

    In their place `!reason<tab>detail` for an image without features, `?reason<tab>detail` for a file out of reach.
    """
    try:
        pixels = read_pixels(path, remarks)
        rows, columns = pixels.values.shape
        return ",".join(map(repr, image_features(pixels).tolist())) + f"\t{rows}x{columns}"
    except ImageOutOfReach as error:
        letter, reason = TRY_AGAIN, reason_and_detail(error, path)
    except ValueError as error:
        letter, reason = EXCLUDED if os.access(path, os.F_OK) else TRY_AGAIN, reason_and_detail(error, path)
    except (OSError, MemoryError) as error:
        letter, reason = TRY_AGAIN, ("cannot be read", describe(error))
    return letter + "\t".join(reason)


def numbered_rows(number: int, paths: Sequence[str]) -> tuple[int, list[str], list[str]]:
    """Return a chunk's number, its rows in order and what is strange about its images."""
    remarks: list[str] = []
    return number, [row_of_image(Path(path), remarks) for path in paths], remarks


# ---------------------------------------------------------------------------- many images


def exclude_odd_names(images: pd.DataFrame, run: StageRun) -> pd.DataFrame:
    """Keep the images whose names can stand in a table as they are, and have a time that exists.

    Parameters
    ----------
    images, run : pandas.DataFrame, StageRun
        With a column `filename`; gets the others.

    Returns
    -------
    pandas.DataFrame
        The rows that are left.
    """
    names = images["filename"]
    stamps = pc.extract_regex(pa.array(names), r"(?i)hmi\.m_720s\.(?P<stamp>\p{Nd}{8}_\p{Nd}{6})_TAI")
    stamps = pd.Series(pc.struct_field(stamps, "stamp"), names.index, dtype="str")
    stated = stamps.drop_duplicates().dropna()
    no_time = stated[pd.to_datetime(stated, format="%Y%m%d_%H%M%S", errors="coerce").isna()]
    odd = {"file name with a comma, semicolon or quote": names.str.contains('[",;]'),
           "no such time": stamps.isin(no_time)}
    for reason, chosen in odd.items():
        for name in names[chosen]:
            run.exclude(name, reason, subject="images")
    return images[~np.any(list(odd.values()), axis=0)]


def keep_rows(images: pd.DataFrame, rows: list[str], journal: Journal, run: StageRun) -> list[int]:
    """Append the rows of some images to the journal.

    Parameters
    ----------
    images, rows : pandas.DataFrame, list of str
        `filename`, `bytes` and `modified_ns`; of `row_of_image`, in the same order.
    journal, run : Journal, StageRun
        Get the rows, and the files that could not be read.

    Returns
    -------
    list of int
        Places in the journal; -1 for files that could not be read.
    """
    files = map(FileState, images["filename"], images["bytes"], images["modified_ns"])
    kept = [(file, row) for file, row in zip(files, rows, strict=True) if row[0] != TRY_AGAIN]
    places = iter(journal.append(*zip(*kept, strict=True)) if kept else ())
    for name, row in zip(images["filename"], rows, strict=True):
        if row[0] == TRY_AGAIN:
            _exclude(run, name, row)
    return [-1 if row[0] == TRY_AGAIN else next(places) for row in rows]


def _exclude(run: StageRun, name: str, row: str) -> None:
    """Record an image by its row without features; many have one reason, which is kept in memory once."""
    reason, detail = row[1:].split("\t", 1)
    run.exclude(name, sys.intern(reason), detail, subject="images")


def write_table(feature_file: Path, images: pd.DataFrame, journal: Journal, places: np.ndarray, run: StageRun) -> int:
    """Write the table of features by name; for none UserError, an earlier table stays.

    Parameters
    ----------
    feature_file, images : Path, pandas.DataFrame
        The table; `filename` and `class`.
    journal, places, run : Journal, numpy.ndarray, StageRun
        The rows; the place of each image's row, -1 for none; gets the images without features, and the sizes.

    Returns
    -------
    int
        Number of rows.
    """
    computed, written, sizes = np.flatnonzero(places >= 0), 0, set()
    labelled = images[["filename", "class"]].iloc[computed].itertuples(index=False, name=None)
    with atomic_write(feature_file) as file:
        for (name, flare_class), row in zip(labelled, journal.read(places[computed]), strict=True):
            if row[0] == EXCLUDED:
                _exclude(run, name, row)
                continue
            features, _, size = row.partition("\t")
            file.write(f"{features},{int(flare_class != '0')},{flare_class},{name}\n")
            written += 1
            sizes.add(size)
        if not written:
            raise UserError(f"feature_file: no row for '{feature_file}': 0 of {counted(len(images), 'images')} with a "
                            f"label gave features; fix what {feature_file}.excluded.csv names, or set --dataset-dir")
    sides = [int(side) for size in sizes for side in size.split("x") if side]
    if sides:  # unknown in rows of version 0.2.0
        run.counts["image_pixels"] = [min(sides), max(sides)]
    return written


# ---------------------------------------------------------------------------- a Dask cluster


@contextmanager
def dask_client(scheduler: str) -> Iterator["distributed.Client"]:  # noqa: F821
    """Connect to a Dask cluster with at least one worker; what ends the block's work there is one line."""
    import distributed  # a second to import, needed only here
    from distributed.comm import CommClosedError
    from distributed.comm.addressing import parse_address, parse_host_port

    try:
        kind, place = parse_address(scheduler)
        if kind != "inproc":
            parse_host_port(place)  # a client of a malformed address would wait a minute at its end
        client = distributed.Client(scheduler, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(f"dask_scheduler: no Dask scheduler answers at '{scheduler}' ({type(error).__name__}); "
                        "start one (`dask scheduler`) and give its address, e.g. tcp://host:8786") from None
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)  # the library logs a lost connection with a traceback
    try:
        with client:
            try:
                client.wait_for_workers(1, timeout=SECONDS_TO_CONNECT)
            except TimeoutError:
                raise UserError(f"dask_scheduler: the cluster at '{scheduler}' has no workers; start some with "
                                f"`dask worker {scheduler}`") from None
            yield client
    except distributed.KilledWorker as error:
        raise UserError(f"the Dask cluster gave up: {error}; what is done is kept, start the same command "
                        "again") from None
    except (CancelledError, CommClosedError) as error:
        raise UserError(f"dask_scheduler: the connection to '{scheduler}' was lost ({type(error).__name__}); what is "
                        "done is kept: start the cluster, then the same command again") from None
    finally:
        log.setLevel(level)


def check_workers(client: "distributed.Client", images: Sequence[tuple[str, int]]) -> int:  # noqa: F821
    """Check that all workers see this repository and the images, with their kernels compiled; return their threads."""
    from distributed.comm.addressing import get_address_host

    of_host = {get_address_host(worker): worker for worker in client.nthreads()}
    for workers in (list(of_host.values()), None):  # one a host compiles the kernels; the others find them on disk
        answers = client.run(_there("worker_fault"), list(images), FEATURE_VERSION, workers=workers, on_error="return")
        for worker, fault in sorted(answers.items()):
            if isinstance(fault, ImportError):
                fault = (f"cannot import this repository from '{REPOSITORY}' ({fault}); share that folder with the "
                         "workers under the same path, and give them the same Python environment")
            if fault:
                raise UserError(f"Dask worker {worker}: {fault}")
    return sum(client.nthreads().values())


def worker_fault(images: list[tuple[str, int]], version: str) -> str:
    """Return why this process cannot compute the images of another one, "" where it can: its kernels are compiled."""
    if version != FEATURE_VERSION:
        return f"has another version of the repository at '{REPOSITORY}'; start the workers again after an update"
    for path, size in images:
        if not Path(path).is_file() or Path(path).stat().st_size != size:
            return f"does not see the image '{path}'; share dataset_dir with the workers under the same path"
    compile_kernels()
    return ""


def run_on_dask(chunks: Iterable[list[str]], client: "distributed.Client") -> Results:  # noqa: F821
    """Compute chunks on a Dask cluster; a chunk whose worker dies is computed by another."""
    from joblib._dask import DaskDistributedBackend

    class ClusterBackend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(super().effective_n_jobs(n_jobs), 2)  # for one, joblib would compute in this process

    numbered_rows = _there("numbered_rows")
    with joblib.parallel_config(backend=ClusterBackend(client=client)):
        parallel = joblib.Parallel(n_jobs=-1, return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(numbered_rows)(number, paths) for number, paths in enumerate(chunks))


def _there(name: str) -> Callable:
    """Return a function of this module that travels by value: a worker need not have imported the repository."""
    repository = str(REPOSITORY)

    def call(*arguments: Any) -> Any:
        import importlib
        import sys

        if repository not in sys.path:
            sys.path.insert(0, repository)
        return getattr(importlib.import_module("classifier_SVM.feature_table.workers"), name)(*arguments)

    return call
