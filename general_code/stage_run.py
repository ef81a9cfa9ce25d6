"""One run of a stage: the lock on its output, its log, progress, exclusions and sidecar, and its end.

A stage's `main` reads ::

    @stage_main
    def main(user: UserDefinitions) -> None:
        with stage_run(user, output=user.ar_list, inputs=[user.srs_dir]) as run:
            run.say("Reading the summaries")
            ...

and leaves beside its output `<output>.log`, `<output>.excluded.csv` and `<output>.json`.
"""

import csv
import dataclasses
import functools
import io
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from general_code.progress import progress_bar
from general_code.provenance import git_revision, package_versions
from general_code.stage_files import UserError, atomic_write, describe, full_disk_is_said, require_output
from general_code.worker_processes import termination_like_interrupt

UNPRINTABLE = "backslashreplace"  # what no encoding holds, as a file name that is no UTF-8, is written like \\xff


def stage_main(main: Callable) -> Callable:
    """Let a stage's `main` end with one line and status 1, not with a traceback, when the user can mend it.

    Parameters
    ----------
    main : callable
        Takes the stage's `UserDefinitions`.

    Returns
    -------
    callable
        The same, raising `SystemExit` (the line as its argument: status 1; status 130 after Ctrl-C, 143 after
        SIGTERM) in place of `UserError`, `OSError` and `KeyboardInterrupt`. Any other exception is a fault
        of ours and keeps its traceback.
    """

    @functools.wraps(main)
    def guarded(user: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=UNPRINTABLE)
        try:
            with termination_like_interrupt():
                main(user)
        except (UserError, OSError) as error:
            script = Path(getattr(sys.modules[main.__module__], "__file__", main.__module__)).stem
            raise SystemExit(f"{script}: {describe(error)}") from error
        except KeyboardInterrupt as interrupt:
            print("\nInterrupted; what is done is kept. Start the same command again to go on.", file=sys.stderr)
            raise SystemExit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)) from None

    return guarded


def resolve_jobs(n_jobs: int) -> int:
    """Return the number of worker processes that a setting asks for.

    Parameters
    ----------
    n_jobs : int
        -1: all cores this process may use; else a number from 1.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    UserError
        For 0 and numbers below -1.
    """
    if n_jobs == -1:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_jobs >= 1:
        return n_jobs
    raise UserError(f"n_jobs: expected -1 (all cores) or a number from 1, got {n_jobs}")


# ---------------------------------------------------------------------------- one run


class StageRun:
    """What a stage tells the user and the sidecar while it runs.

    Parameters
    ----------
    log : file object
        Open for appending text.

    Attributes
    ----------
    counts : dict of str to number
        What the stage counted, for the sidecar.
    exclusions : list of (str, str, str)
        Input, reason and detail of everything left out.
    """

    def __init__(self, log: IO) -> None:
        self._log = log
        self.counts: dict[str, Any] = {}
        self.exclusions: list[tuple[str, str, str]] = []

    def say(self, text: str) -> None:
        """Print a line and write it, with the time, to the log.

        Parameters
        ----------
        text : str
            One line a step.
        """
        print(text, flush=True)
        self.note(text)

    def note(self, text: str) -> None:
        """Write a line, with the time, to the log only.

        Parameters
        ----------
        text : str
            Particulars that would crowd the terminal.
        """
        self._log.write("".join(f"{_now()} {line}\n" for line in text.splitlines()))
        self._log.flush()

    def exclude(self, input: object, reason: str, detail: str = "") -> None:
        """Record an input that is left out.

        Parameters
        ----------
        input : object
            File, row or region, as text.
        reason : str
            A short fixed phrase: the closing lines count by it.
        detail : str, optional
            The particulars of this one.
        """
        self.exclusions.append((str(input), reason, " ".join(detail.split())))

    def count(self, name: str, number: float) -> None:
        """Record a number for the sidecar.

        Parameters
        ----------
        name : str
            What was counted.
        number : float
            How many.
        """
        self.counts[name] = number

    def progress(self, iterable: Iterable | None = None, *, total: int | None = None, description: str = "",
                 unit: str = "images", initial: int = 0) -> tqdm:
        """Return `progress_bar` of the same arguments.

        Parameters
        ----------
        iterable : iterable, optional
            What to walk through; else call `update` on the bar.
        total : int, optional
            Number of steps; taken from the iterable where it has a length.
        description, unit : str, optional
            What goes in front, and what is counted, in the plural.
        initial : int, optional
            Steps done in an earlier run.

        Returns
        -------
        tqdm
            Also a context manager.
        """
        return progress_bar(iterable, total=total, description=description, unit=unit, initial=initial)


@contextmanager
def stage_run(user: Any, output: Path, inputs: Sequence[Path] = ()) -> Iterator[StageRun]:
    """Run a stage's body with the lock on its output held; write the exclusions and the sidecar at its end.

    A run that ends by a `UserError` leaves its exclusions, too: they may be why.

    Parameters
    ----------
    user : dataclass
        The stage's settings, for the sidecar.
    output : Path
        The stage's main output; the stage writes it inside the block.
    inputs : sequence of Path, optional
        Files and folders that the stage reads; the empty path is skipped.

    Yields
    ------
    StageRun
        See there.

    Raises
    ------
    UserError
        When the output is one of the inputs or cannot be written, or another run holds its lock.
    """
    require_output(output, inputs)
    start = _now()
    with full_disk_is_said(output), output_lock(output), \
            Path(f"{output}.log").open("a", encoding="utf-8", errors=UNPRINTABLE) as log:
        log.write(f"{start} started {' '.join(sys.argv)}\n")
        run = StageRun(log)
        try:
            yield run
        except BaseException as error:
            log.write(f"{_now()} ended by {type(error).__name__}: {describe(error)}\n")
            if isinstance(error, UserError) and run.exclusions:
                # what belongs to an earlier, complete output stays as it is
                failed = output.with_name(f"{output.name}.failed") if output.is_file() else output
                with suppress(OSError):  # as on a full disk; the error at hand says more
                    _write_exclusions(failed, run.exclusions)
                    _say_exclusions(run, failed)
            raise
        _write_exclusions(output, run.exclusions)
        _write_sidecar(Path(f"{output}.json"), user, run, start)
        _say_exclusions(run, output)


def read_sidecar(output: Path) -> dict[str, Any] | None:
    """Return what a stage noted beside its output.

    Parameters
    ----------
    output : Path
        The main output; the sidecar is `<output>.json`.

    Returns
    -------
    dict or None
        None when there is no sidecar or it cannot be read.
    """
    try:
        content = json.loads(Path(f"{output}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@contextmanager
def output_lock(output: Path) -> Iterator[None]:
    """Hold a lock of the operating system on an output: it goes with the process, however that ends.

    Parameters
    ----------
    output : Path
        File or folder; the lock is a hidden file beside it.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    UserError
        When another run holds it, or the folder cannot be written.
    """
    lock = FileLock(output.parent / f".{output.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another run is writing '{output}'; wait for it, or name another output") from None
    except OSError as error:
        raise UserError(f"'{output}' cannot be written: folder '{output.parent}' ({error.strerror}); name an output in "
                        "a folder that you may write to") from None
    try:
        yield
    finally:
        lock.release()


def _write_exclusions(output: Path, exclusions: list[tuple[str, str, str]]) -> None:
    """Write what was left out, in a fixed order."""
    with atomic_write(Path(f"{output}.excluded.csv"), errors=UNPRINTABLE) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("input", "reason", "detail"))
        writer.writerows(sorted(exclusions))


def _say_exclusions(run: StageRun, output: Path) -> None:
    """Close the run with the number of exclusions by reason."""
    if not run.exclusions:
        run.say("Nothing was left out.")
        return
    run.say(f"Left out {len(run.exclusions):,}, listed in {output}.excluded.csv:")
    for reason, number in sorted(Counter(reason for _, reason, _ in run.exclusions).items()):
        run.say(f"  {number:>9,}  {reason}")


def _write_sidecar(path: Path, user: Any, run: StageRun, start: str) -> None:
    """Write settings, versions, git revision, counts and times."""
    content = {
        "script": Path(getattr(sys.modules[type(user).__module__], "__file__", "")).name,
        "settings": dataclasses.asdict(user),
        "versions": package_versions(),
        "git_revision": git_revision(),
        "counts": run.counts,
        "excluded": dict(sorted(Counter(reason for _, reason, _ in run.exclusions).items())),
        "start": start,
        "end": _now(),
    }
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, default=_plain)
        file.write("\n")


def _plain(value: Any) -> Any:
    """Return numpy numbers as Python's, and paths as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
