"""Where chunks of images are computed: processes of this machine, or a Dask cluster. Results come as they are done."""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from classifier_SVM.feature_rows import rows_of_chunk
from classifier_SVM.FunctionsP3 import FEATURE_VERSION
from general_code.stage_files import UserError
from general_code.worker_processes import interrupts_left_to_parent

REPOSITORY = Path(__file__).resolve().parents[1]
SECONDS_TO_CONNECT = 30


def run_here(chunks: Sequence[list[str]], jobs: int) -> Iterator[tuple[int, list[str]]]:
    """Compute chunks in processes of this machine.

    Parameters
    ----------
    chunks : sequence of list of str
        Paths of images.
    jobs : int
        Number of processes; with 1 all is done in this one.

    Yields
    ------
    (int, list of str)
        Number of a chunk and its rows, in order of completion.

    Raises
    ------
    UserError
        When a process was killed from outside; what came before is kept by the caller.
    """
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
    try:
        with interrupts_left_to_parent():  # the call starts the processes
            results = parallel(joblib.delayed(_numbered_rows)(number, paths, os.getpid())
                               for number, paths in enumerate(chunks))
        yield from results
    except TerminatedWorkerError:
        raise UserError("a worker process was killed, by the system for want of memory or by somebody; what is done is "
                        "kept: start the same command again, with a smaller --n-jobs if memory is short") from None


def _numbered_rows(number: int, paths: list[str], parent: int) -> tuple[int, list[str]]:
    """Compute one chunk, in a process that ends when the one that started it is killed."""
    if os.getpid() != parent:
        _leave_with_parent(parent)
    return number, rows_of_chunk(paths)


@functools.cache
def _leave_with_parent(parent: int) -> None:
    """Watch the parent from a thread: after a kill -9 nobody else would end this process for minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# ---------------------------------------------------------------------------- Dask


@contextmanager
def dask_client(scheduler: str) -> Iterator["distributed.Client"]:  # noqa: F821
    """Connect to a Dask cluster.

    Parameters
    ----------
    scheduler : str
        Its address, e.g. tcp://host:8786.

    Yields
    ------
    distributed.Client
        With at least one worker.

    Raises
    ------
    UserError
        No scheduler at the address, or no worker at the scheduler; the block's work was given up, e.g. because a
        chunk's worker died several times, or lost its scheduler.
    """
    import distributed  # a second to import, needed only here
    from distributed.comm.addressing import parse_address, parse_host_port

    try:
        kind, place = parse_address(scheduler)
        if kind != "inproc":
            parse_host_port(place)  # a client of a malformed address would wait a minute at its end
        client = distributed.Client(scheduler, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(f"dask_scheduler: no Dask scheduler answers at '{scheduler}' ({type(error).__name__}); "
                        "start one (`dask scheduler`) and give its address, e.g. tcp://host:8786") from None
    with _loss_is_said(scheduler), client:
        try:
            client.wait_for_workers(1, timeout=SECONDS_TO_CONNECT)
        except TimeoutError:
            raise UserError(f"dask_scheduler: the cluster at '{scheduler}' has no workers; start some with "
                            f"`dask worker {scheduler}`") from None
        yield client


@contextmanager
def _loss_is_said(scheduler: str) -> Iterator[None]:
    """Turn what ends work on a cluster into one line; the library would log a lost connection with a traceback."""
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except KilledWorker as error:
        raise UserError(f"the Dask cluster gave up: {error}; what is done is kept, start the same command "
                        "again") from None
    except (CancelledError, CommClosedError) as error:
        raise UserError(f"dask_scheduler: the connection to '{scheduler}' was lost ({type(error).__name__}); what is "
                        "done is kept: start the cluster, then the same command again") from None
    finally:
        logger.setLevel(level)


def check_workers(client: "distributed.Client", images: Sequence[tuple[str, int]]) -> int:  # noqa: F821
    """Check that all workers see this repository and the images, and let them load the compiled kernels.

    Parameters
    ----------
    client : distributed.Client
        See `dask_client`.
    images : sequence of (str, int)
        Absolute path and size [bytes] of some of the images.

    Returns
    -------
    int
        Number of threads that the workers have together.

    Raises
    ------
    UserError
        Names the worker, and what to share with it.
    """
    from distributed.comm.addressing import get_address_host

    of_host = {get_address_host(worker): worker for worker in client.nthreads()}
    for workers in (list(of_host.values()), None):  # one a host compiles the kernels; the others find them on disk
        answers = client.run(_worker_check(str(REPOSITORY)), list(images), FEATURE_VERSION, workers=workers)
        for worker, fault in sorted(answers.items()):
            if fault:
                raise UserError(f"Dask worker {worker}: {fault}")
    return sum(client.nthreads().values())


def run_on_dask(chunks: Sequence[list[str]], client: "distributed.Client") -> Iterator[tuple[int, list[str]]]:  # noqa: F821
    """Compute chunks on a Dask cluster; a chunk whose worker dies is computed by another.

    Parameters
    ----------
    chunks : sequence of list of str
        Absolute paths of images.
    client : distributed.Client
        See `dask_client`.

    Yields
    ------
    (int, list of str)
        As `run_here`.
    """
    from joblib._dask import DaskDistributedBackend

    class ClusterBackend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(super().effective_n_jobs(n_jobs), 2)  # for one, joblib would compute in this process

    rows_there = _worker_rows(str(REPOSITORY))
    with joblib.parallel_config(backend=ClusterBackend(client=client)):
        parallel = joblib.Parallel(n_jobs=-1, return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(rows_there)(number, paths) for number, paths in enumerate(chunks))


def _worker_rows(repository: str) -> Callable:
    """Return the worker as a local function: it travels by value, so a worker need not have the repository imported."""

    def rows_there(number: int, paths: list[str]) -> tuple[int, list[str]]:
        import sys

        if repository not in sys.path:
            sys.path.insert(0, repository)
        from classifier_SVM.feature_rows import rows_of_chunk

        return number, rows_of_chunk(paths)

    return rows_there


def _worker_check(repository: str) -> Callable:
    """Return the check that each worker runs, as a local function: it answers with a fault, or with nothing."""

    def fault_there(images: list[tuple[str, int]], version: str) -> str:
        import sys
        from pathlib import Path

        if repository not in sys.path:
            sys.path.insert(0, repository)
        try:
            from classifier_SVM.FunctionsP3 import FEATURE_VERSION, compile_kernels
        except ImportError as error:
            return (f"cannot import this repository from '{repository}' ({error}); share that folder with the workers "
                    "under the same path, and give them the same Python environment")
        if version != FEATURE_VERSION:
            return f"has another version of the repository at '{repository}'; start the workers again after an update"
        for path, size in images:
            if not Path(path).is_file() or Path(path).stat().st_size != size:
                return f"does not see the image '{path}'; share dataset_dir with the workers under the same path"
        compile_kernels()
        return ""

    return fault_there
