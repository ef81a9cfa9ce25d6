"""One run of a stage: its settings, lock, log, progress, exclusions and sidecar, and how it ends.

A script reads ::

    ## User Definitions
    class UserDefinitions(Settings):
        srs_dir: Path = "data/SRS"  # folder of region summaries
        ar_list: Path = "data/ARList.txt"  # the list to write
    ## End User Definitions

    @stage_main
    def main(user: UserDefinitions) -> None:
        with stage_run(user, output=user.ar_list, inputs=[user.srs_dir]) as run:
            run.report("Reading the summaries")
            ...

    if __name__ == "__main__":
        main(command_line(UserDefinitions, __doc__))

and leaves beside its output `<output>.log`, `<output>.excluded.csv` and `<output>.json`.
"""

import builtins
import csv
import functools
import importlib.metadata
import io
import json
import math
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import IO, Annotated, Any, Literal, NamedTuple, get_args, get_origin

import tyro
from filelock import FileLock, Timeout
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails
from tqdm import tqdm
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from general_code.stage.files import (
    UserError,
    atomic_write,
    counted,
    describe,
    is_set,
    printable,
    remove_leftovers,
    report_disk_full,
    require_output,
    warn_once,
)

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("astropy", "dask", "drms", "fitsio", "jax", "joblib", "keras", "numba", "numpy", "pandas", "pyarrow",
            "pydantic", "scikit-image", "scikit-learn", "scipy", "selenium", "skops", "tensorflow", "tensorflow-cpu",
            "torch")
UNPRINTABLE = "backslashreplace"  # a file name that is not UTF-8 is written like \\xff
MOST_JOBS = 4096
SECONDS_BETWEEN_PLAIN_LINES = 10.0
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = min([16, CORES, *(int(text) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
                            if (text := os.environ.get(name, "")).isdecimal())])  # of numerical libraries
ADDRESS_SPACE = 1e9  # that every script reserves [bytes]
COMPUTING_SPACE = 2.2e9 + 0.15e9 * THREADS  # that numba, scikit-learn and their threads reserve [bytes]
LARGEST = 1e12  # number that a setting may be, as seconds or "no limit"
NOT_IN_A_FILE_NAME = '/\\:*?"<>|[]'


# ---------------------------------------------------------------------------- settings


class _MissingSetting(UserError, AttributeError):
    """A line of the block was removed or misspelt; also what `hasattr` expects."""


def _missing_setting(name: str, found: Iterable[str]) -> _MissingSetting:
    """Return the error for a setting that the script uses and the block lacks, with the name it may stand under."""
    advice = "".join(f"is it the line `{near}`? " for near in get_close_matches(name, found, 1))
    return _MissingSetting(f"{name}: this setting is missing in the User Definitions; {advice}put its line back (found "
                           f"{', '.join(found)})")


def _settings_used(module: str) -> set[str]:
    """Return the settings that a script uses, by its text: a misspelt line is found before any work."""
    try:
        text = Path(sys.modules[module].__file__).read_text(encoding="utf-8")
    except (KeyError, AttributeError, OSError, TypeError):  # not from a file
        return set()
    _, block, rest = text.partition("## End User Definitions")
    return {name for name in re.findall(r"\buser\.([A-Za-z]\w*)", rest) if block and not hasattr(Settings, name)}


class _Block(dict):
    """The names of a block while it is read: a word that means nothing is a value without quotes."""

    def __missing__(self, name: str) -> Any:
        frame = sys._getframe(1)
        if not name.startswith("__") and name not in frame.f_globals and not hasattr(builtins, name):
            raise SystemExit(f"{_script_name()}: User Definitions, line {frame.f_lineno}: {name} is not known; "
                             f"expected True or False, a number, or text in quotes, as \"{name}\"")
        raise KeyError(name)  # Python goes on to look among the script's names


class _SettingsClass(type(BaseModel)):
    """Makes the class of a block in which a user may have deleted the type of a setting."""

    @classmethod
    def __prepare__(mcs, *args: Any, **options: Any) -> dict[str, Any]:
        return _Block()

    def __new__(mcs, name: str, bases: tuple, namespace: dict, **options: Any) -> type:
        typed = namespace.setdefault("__annotations__", {})
        untyped = [key for key, value in namespace.items()
                   if not key.startswith(("_", "model_")) and key not in typed and not callable(value)]
        for key in untyped:  # lists and paths can be told by their names; a choice or a limit is lost with its type
            if key in _LISTS:
                typed[key] = _LISTS[key]
            elif key.endswith(("_dir", "_file", "_list")):
                typed[key] = OptionalPath
        try:
            return super().__new__(mcs, name, bases, namespace, **options)
        except PydanticUserError:
            lost = [key for key in untyped if key not in typed]
            missing = _settings_used(namespace["__module__"]).difference(typed, lost)
            meant = "".join(f"did you mean {name}? " for key in lost for name in get_close_matches(key, missing, 1))
            raise SystemExit(f"{_script_name()}: {', '.join(lost)}: expected a line `name: type = value`, got no type; "
                             f"{meant}write the setting as it was delivered and change the value only") from None


class Settings(BaseModel, metaclass=_SettingsClass):
    """Base of every `UserDefinitions`: immutable; text becomes a path, a number, a list or a choice where it can.

    The block as edited and the flags of one run are checked alike, before any work. The types state the limits
    (`PositiveInt`, `Annotated[float, Field(gt=0, le=90)]`). UserError for a value that cannot be meant, and for a
    setting that does not exist or was removed from the block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, coerce_numbers_to_str=True,
                              allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            lines = (printable(_error_line(type(self), details)) for details in error.errors())
            raise UserError("; ".join(lines)) from None

    def changed(self, **values: Any) -> "Settings":
        """Return these settings with some values changed, checked like the others."""
        return type(self)(**(dict(self) | values))

    def noted(self) -> dict[str, Any]:
        """Return the settings for the sidecar, an optional path that is not set as ""."""
        return {name: "" if value == Path("") and _OPTIONAL in type(self).model_fields[name].metadata else value
                for name, value in self}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            return super().__getattr__(name)
        raise _missing_setting(name, self.__dict__)

    @field_validator("*", mode="before")
    @classmethod
    def _read_text(cls, value: Any, info: Any) -> Any:
        """Take one text or number for a list of one, "" for an empty list; no "" for a path, no True for a number."""
        field = cls.model_fields[info.field_name]
        if isinstance(value, bool) and field.annotation in (int, float):
            raise ValueError(f"expected {_EXPECTED[field.annotation.__name__]}, got {value}")
        items = value if isinstance(value, list | tuple) else [value]
        if any("\0" in str(item) for item in items) or len(items) > 1 and "" in items:
            raise ValueError(f"expected text without empty entries or zero bytes, got {value!r}")
        if get_origin(field.annotation) is tuple and isinstance(value, str | int | Path):
            return () if value == "" else (value,)
        paths = get_args(field.annotation)[:1] == (Path,)  # of a list; one text is what a block says for no items
        if "" in items and (paths or field.annotation is Path and _OPTIONAL not in field.metadata):
            raise ValueError('expected a path, got ""')
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _check_value(cls, value: Any) -> Any:
        """Expand `~` in paths; refuse numbers that no setting can mean."""
        if isinstance(value, int | float) and abs(value) > LARGEST:
            raise ValueError(f"expected a number between {-LARGEST:g} and {LARGEST:g}, got {value}")
        paths = value if isinstance(value, tuple) else (value,)
        try:
            paths = tuple(item.expanduser() if isinstance(item, Path) else item for item in paths)
        except RuntimeError:
            raise ValueError(f"expected a path, got {value}, and this user has no home folder") from None
        return paths if isinstance(value, tuple) else paths[0]


def command_line(settings: type[Settings], description: str) -> Any:
    """Return a script's settings: the block as edited, overridden by the flags of this run.

    Parameters
    ----------
    settings, description : type of Settings, str
        The script's `UserDefinitions`, the comments of whose lines are the help; the script's docstring.

    Returns
    -------
    Settings
        Validated. SystemExit with one line (status 1) for a value that cannot be meant; status 2 for a flag that does
        not exist.
    """
    _print_any_text()
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(description, flush=True)  # as it stands: tyro would join its lines
        for name in sorted(_settings_used(settings.__module__).difference(settings.model_fields)):
            raise _missing_setting(name, settings.model_fields)
        return tyro.cli(settings, default=settings(), description="", registry=_text_flags())
    except UserError as error:
        raise SystemExit(f"{_script_name()}: {error}") from None
    except BrokenPipeError:  # the help, piped into a pager that was left
        os._exit(0)  # the interpreter would try again to write it


def _text_flags() -> ConstructorRegistry:
    """Let flags reach the settings as text, so that there is one place that converts and one that complains."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def as_text(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        if info.type is bool:  # stays --flag, --no-flag
            return None
        if get_origin(info.type) is Literal:
            metavar = "{" + ",".join(map(str, get_args(info.type))) + "}"
        elif info.type in (int, float, str, Path):
            metavar = info.type.__name__.upper()
        else:
            return None
        return PrimitiveConstructorSpec(nargs=1, metavar=metavar, instance_from_str=lambda texts: texts[0],
                                        is_instance=lambda value: True, str_from_instance=_flag_text)

    return registry


def _flag_text(value: Any) -> list[str]:
    """Return what a user would type for a value: nothing for the empty path."""
    return ["" if isinstance(value, Path) and not is_set(value) else str(value)]


def _print_any_text() -> None:
    """Let a terminal that lacks a letter show its number in place of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=UNPRINTABLE)


def _script_name() -> str:
    """Return the name of the script that was started."""
    return Path(sys.argv[0]).stem


def _optional_path(value: Any) -> Any:
    """Return `Path("")` for none; since that equals `Path(".")`, the folder "." is given in full."""
    if value is None or value == "":
        return Path("")
    if not isinstance(value, str | os.PathLike):
        return value  # pydantic complains
    return value if is_set(Path(value)) or value == Path("") else Path.cwd()


def _check_jobs(value: int) -> int:
    """Return a number of workers."""
    if value == -1 or 1 <= value <= MOST_JOBS:
        return value
    raise ValueError(f"expected -1 (all cores) or a number from 1 to {MOST_JOBS}, got {value}")


def _check_suffix(value: str) -> str:
    """Return a text that can stand in a file name."""
    if set(value) & set(NOT_IN_A_FILE_NAME) or not value.isprintable():
        raise ValueError(f"expected letters that a file name may have, got '{value}'")
    return value


_OPTIONAL = BeforeValidator(_optional_path)
OptionalPath = Annotated[Path, _OPTIONAL]  # "" or None: none, which is `Path("")`
Jobs = Annotated[int, AfterValidator(_check_jobs)]  # worker processes; -1: all cores
Percent = Annotated[float, Field(gt=0, lt=100)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]  # of random numbers, as libraries take it
Suffix = Annotated[str, AfterValidator(_check_suffix)]  # added to names of files

_LISTS = {"ar_numbers": tuple[str, ...], "predictions": tuple[str, ...], "disk_forecasts": tuple[str, ...],
          "images": tuple[Path, ...]}
_EXPECTED = {"int": "a whole number", "float": "a number", "finite": "a finite number", "bool": "True or False",
             "path": "a path", "string": "text", "tuple": "a list"}
_LIMITS = {"greater_than": ("above", "gt"), "greater_than_equal": ("from", "ge"), "less_than": ("below", "lt"),
           "less_than_equal": ("up to", "le")}


def _error_line(settings: type[Settings], details: ErrorDetails) -> str:
    """Return setting, what was expected and what was found, from one of pydantic's errors."""
    name, kind, got = details["loc"][0], details["type"], details["input"]
    if kind == "extra_forbidden":
        return f"{name}: there is no such setting; the settings are {', '.join(settings.model_fields)}"
    if kind == "value_error":
        return f"{name}: {details['ctx']['error']}"
    if kind == "literal_error":
        expected = "one of " + ", ".join(map(str, get_args(settings.model_fields[name].annotation)))
    elif kind in _LIMITS:
        word, key = _LIMITS[kind]
        expected = f"a number {word} {details['ctx'][key]:.12g}"
    elif kind == "too_short":
        expected = f"a list of at least {details['ctx']['min_length']}"
    else:
        expected = _EXPECTED.get(kind.split("_")[0], details["msg"])
    return f"{name}: expected {expected}, got {str(got) if isinstance(got, Path) else repr(got)}"


def require_address_space(needed_bytes: float = COMPUTING_SPACE) -> None:
    """Raise UserError where this process may not have the address space that libraries reserve: they hang or crash.

    Parameters
    ----------
    needed_bytes : float, optional
        [bytes]
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit not in (resource.RLIM_INFINITY, -1) and limit < needed_bytes:
        had, needed = math.floor(limit / 1e7) / 100, math.ceil(needed_bytes / 1e7) / 100  # never seem to be equal
        raise UserError(f"not enough memory: this process is limited to {had:.2f} GB of address space (ulimit -v, or "
                        f"the batch system), of which libraries reserve up to {needed:.2f} GB; raise the limit")


def resolve_jobs(n_jobs: int) -> int:
    """Return the number of workers that a setting asks for.

    Parameters
    ----------
    n_jobs : int
        -1: all cores that this process may use (affinity, and the quota of its container); else a number from 1.

    Returns
    -------
    int
        At least 1.
    """
    if n_jobs != -1:
        return n_jobs
    from joblib import cpu_count  # a quarter of a second to import

    return max(1, cpu_count())


# ---------------------------------------------------------------------------- one run


def stage_main(main: Callable) -> Callable:
    """Let a script's `main` end with one line and status 1, not with a traceback, when the user can fix the error.

    Parameters
    ----------
    main : callable
        Takes the script's `UserDefinitions`.

    Returns
    -------
    callable
        The same, raising `SystemExit` (the line as its argument: status 1; status 130 after Ctrl-C, 143 after
        SIGTERM, 129 after SIGHUP) in place of `UserError`, `OSError`, `MemoryError` and `KeyboardInterrupt`. Any
        other exception is a bug and keeps its traceback.
    """

    @functools.wraps(main)
    def guarded(user: Any) -> None:
        # a notebook's backend fails the import of matplotlib, which keras imports, too
        os.environ["MPLBACKEND"] = "agg"
        _print_any_text()
        script = Path(getattr(sys.modules[main.__module__], "__file__", main.__module__)).stem
        try:
            with termination_like_interrupt():
                require_address_space(ADDRESS_SPACE)
                main(user)
        except (UserError, OSError) as error:
            raise SystemExit(f"{script}: {describe(error)}") from error
        except MemoryError as error:
            raise SystemExit(f"{script}: not enough memory ({describe(error)}); what is done is kept: close other "
                             "programs, lower n_jobs, or use a machine with more") from error
        except KeyboardInterrupt as interrupt:
            print("\nInterrupted; what is done is kept. Start the same command again to go on.", file=sys.stderr)
            raise SystemExit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)) from None

    return guarded


class Problem(NamedTuple):
    """An input, or a line of it, that was excluded or not used whole; in the order `StageRun.exclude` takes it."""

    input: str
    reason: str
    detail: str = ""
    subject: str = ""  # what was excluded, in the plural: images, flares, days, ...


class StageRun:
    """What a stage reports to the user and the sidecar while it runs: `counts` and `exclusions` go there."""

    def __init__(self, log: IO) -> None:
        self._log = log
        self.counts: dict[str, Any] = {}
        self.exclusions: list[Problem] = []

    def report(self, text: str) -> None:
        """Print a line, and write it with the time to the log."""
        print("\n".join(map(printable, text.split("\n"))), flush=True)
        self.note(text)

    def note(self, text: str) -> None:
        """Write particulars that would crowd the terminal, with the time, to the log only."""
        self._log.write("".join(f"{_now()} {printable(line)}\n" for line in text.splitlines()))
        self._log.flush()

    def exclude(self, input: object, reason: str, detail: str = "", subject: str = "") -> None:
        """Record an input (file, row or region) that is excluded.

        `reason` is a short fixed phrase by which the closing lines count, `detail` has the particulars; `subject` is
        what was excluded, in the plural ("images", "flares", "days").
        """
        self.exclusions.append(Problem(printable(str(input)), reason, printable(" ".join(detail.split())), subject))

    def exclude_all(self, problems: Iterable[Problem]) -> None:
        """Record what a reader could not use."""
        for problem in problems:
            self.exclude(*problem)

    def count(self, name: str, number: float) -> None:
        """Record a number for the sidecar."""
        self.counts[name] = number

    def progress(self, iterable: Iterable | None = None, **options: Any) -> tqdm:
        """Return `progress_bar` of the same arguments."""
        return progress_bar(iterable, **options)


@contextmanager
def stage_run(user: Settings, output: Path, inputs: Sequence[Path] = ()) -> Iterator[StageRun]:
    """Run a stage's body with the lock on its output held; write the exclusions and the sidecar at its end.

    A run that ends by a `UserError` leaves its exclusions, too: they may be why. It is one when the output is one of
    the inputs or cannot be written, or when another run holds its lock.

    Parameters
    ----------
    user, output : Settings, Path
        The stage's settings, for the sidecar; its main output, which it writes inside the block.
    inputs : sequence of Path, optional
        Files and folders that the stage reads; the empty path is skipped.

    Yields
    ------
    StageRun
        For reports, counts and exclusions.
    """
    require_output(output, inputs)
    start = _now()
    with report_disk_full(output), output_lock(output), \
            Path(f"{output}.log").open("a", encoding="utf-8", errors=UNPRINTABLE) as log:
        remove_leftovers(output.parent)
        log.write(f"{start} started {printable(' '.join(sys.argv))}\n")
        run = StageRun(log)
        try:
            yield run
        except BaseException as error:
            log.write(f"{_now()} ended by {type(error).__name__}: {describe(error)}\n")
            if isinstance(error, UserError) and run.exclusions:
                # what belongs to an earlier, complete output stays as it is
                failed = output.with_name(f"{output.name}.failed") if output.is_file() else output
                with suppress(OSError):  # as on a full disk; the error at hand matters more
                    _write_exclusions(failed, run.exclusions)
                    _report_exclusions(run, failed)
            raise
        _write_exclusions(output, run.exclusions)
        _write_sidecar(Path(f"{output}.json"), user, run, start)
        _report_exclusions(run, output)


@contextmanager
def output_lock(output: Path) -> Iterator[None]:
    """Hold a lock of the operating system on an output: it goes with the process, however that ends.

    UserError when another run holds it. Where the file system has no locks (NFS without its daemon, Lustre, object
    stores) this is warned of once, and the block runs without.

    Parameters
    ----------
    output : Path
        File or folder; the lock is a hidden file beside it.

    Yields
    ------
    None
        While the lock is held.
    """
    # a soft lock, a file that outlives a killed process, would block every later run
    lock = FileLock(output.parent / f".{output.name}.lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another run is writing '{output}'; wait for it, or name another output") from None
    except (OSError, NotImplementedError) as error:
        warn_once(f"files in '{output.parent}' cannot be locked ({getattr(error, 'strerror', None) or error}): do not "
                  "start two runs on one output there")
    try:
        yield
    finally:
        lock.release()


# ---------------------------------------------------------------------------- exclusions and the sidecar


def _write_exclusions(output: Path, exclusions: list[Problem]) -> None:
    """Write what was excluded, in a fixed order."""
    with atomic_write(Path(f"{output}.excluded.csv"), errors=UNPRINTABLE) as file:
        writer = csv.writer(file, lineterminator="\n")  # not arrow's, which would quote all texts or none
        writer.writerow(Problem._fields[:3])
        writer.writerows(sorted(problem[:3] for problem in exclusions))


def _report_exclusions(run: StageRun, output: Path) -> None:
    """Close the run with the number of exclusions, by what was excluded and why."""
    if not run.exclusions:
        run.report("Nothing was excluded.")
        return
    subjects = Counter(problem.subject or "inputs" for problem in run.exclusions)
    listed = ", ".join(counted(number, subject) for subject, number in subjects.most_common())
    run.report(f"Excluded {listed}, listed in {output}.excluded.csv:")
    for reason, number in sorted(Counter(problem.reason for problem in run.exclusions).items()):
        run.report(f"  {number:>9,}  {reason}")


def _write_sidecar(path: Path, user: Settings, run: StageRun, start: str) -> None:
    """Write settings, versions, git revision, counts and times."""
    content = {
        "script": Path(getattr(sys.modules[type(user).__module__], "__file__", "")).name,
        "settings": user.noted(),
        "versions": package_versions(),
        "git_revision": git_revision(),
        "counts": run.counts,
        "excluded": dict(sorted(Counter(problem.reason for problem in run.exclusions).items())),
        "start": start,
        "end": _now(),
    }
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, default=_plain)
        file.write("\n")


class _Noted(BaseModel):
    """What stages read again of the settings and counts of a stage; the rest is for people."""

    label_file: str = ""
    image_format: str = ""
    gauss_range: Annotated[float, Field(gt=0)] = 1.0
    flare_window_hours: float | Literal[""] = ""
    latency_minutes: Annotated[float, Field(ge=0)] = 0.0
    flare_scale: Literal["as_reported", "modern"] = "as_reported"
    image_pixels: list[float] = []
    flare_sources: dict[str, bool | float | str] = {}
    calibration: dict[str, float] = {}
    model_made_of: dict = {}
    scores_mean_nothing: bool = False


class Sidecar(BaseModel):
    """What has to be in a sidecar, of which types."""

    settings: _Noted = _Noted()
    counts: _Noted = _Noted()


def read_sidecar(output: Path, schema: type[BaseModel] = Sidecar, made_by: str = "") -> dict[str, Any] | None:
    """Return what a stage noted beside its output.

    Parameters
    ----------
    output : Path
        The main output; the sidecar is `<output>.json`.
    schema : type of pydantic.BaseModel, optional
        What it has to fit.
    made_by : str, optional
        What has to stand in it: without that it is somebody else's file of this name, as if there were none.

    Returns
    -------
    dict or None
        With dictionaries under "settings" and "counts"; what is null was not noted. None without a sidecar; None and a
        warning for a damaged one.
    """
    path = Path(f"{output}.json")
    if not os.path.lexists(path):
        return None
    try:
        if not path.is_file():
            raise ValueError("it is not a regular file")
        content = path.read_bytes()
        if made_by.encode() not in content:
            return None
        content = json.loads(content, object_hook=lambda noted: {k: v for k, v in noted.items() if v is not None})
        schema.model_validate(content)
        return {"settings": {}, "counts": {}} | content
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
    except (OSError, ValueError, RecursionError) as error:
        reason = describe(error)
    warn_once(f"'{path}' is damaged and not used ({reason}); run the stage that writes it again")
    return None


def _plain(value: Any) -> Any:
    """Return numpy numbers as Python's, and paths as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change a number."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def git_revision() -> str:
    """Return the commit of this repository: forty digits, "+" if files differ from it; "unknown" without git."""
    # the checkout may belong to another user; a commit hook's GIT_DIR would name another repository
    command = ["git", "-c", f"safe.directory={REPOSITORY.as_posix()}", "describe", "--always", "--abbrev=40",
               "--dirty=+", "--exclude=*"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        described = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True,
                                   timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


# ---------------------------------------------------------------------------- progress


class _PlainProgress(tqdm):
    """tqdm for logs and pipes: one plain line every few seconds instead of a bar redrawn, none if nothing is done."""

    shown: tuple = ()  # what the last line said

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg is not None:  # tqdm wants to wipe its bar
            return False
        # of this run alone, from its start: tqdm's own rate is that of the last seconds
        rate = (self.n - self.initial) / max(self.format_dict["elapsed"], 1e-9)
        left = tqdm.format_interval((self.total - self.n) / rate) if self.total and rate else "?"
        total = f"/{self.total:,}" if self.total else ""
        line = f"{self.desc}: {self.n:,}{total} {self.unit}, {rate:,.1f} {self.unit}/s, {left} left"
        line = f"{line} {self.postfix or ''}".rstrip()
        if self.n > self.initial and (self.n, self.postfix) != self.shown:
            print(line, file=self.fp, flush=True)
        self.shown = self.n, self.postfix
        return True

    def close(self) -> None:
        if not self.disable:
            self.display()
            self.leave = False  # that was the last line; tqdm's closing redraw would repeat it
        super().close()


def progress_bar(iterable: Iterable | None = None, *, total: int | None = None, description: str = "",
                 unit: str = "images", initial: int = 0) -> tqdm:
    """Return a progress bar (a context manager) with rate and time left; plain lines when there is no terminal.

    Takes what to go through, or `total` steps for `update`; `description` stands in front, `unit` is what is counted,
    in the plural; `initial` steps were done in an earlier run and do not count for the rate.
    """
    common = {"total": total, "desc": description, "unit": unit, "initial": initial}
    if sys.stderr.isatty():
        return tqdm(iterable, unit_scale=False, dynamic_ncols=True, **(common | {"unit": " " + unit}))
    return _PlainProgress(iterable, mininterval=SECONDS_BETWEEN_PLAIN_LINES, maxinterval=1e9, miniters=1, delay=1e-9,
                          **common)


# ---------------------------------------------------------------------------- worker processes and signals


def parallel_results(work: Callable, tasks: Iterable[tuple], n_jobs: int, ordered: bool = False) -> Iterator:
    """Call a function with each of the tasks' arguments, in processes of this computer.

    Parameters
    ----------
    work, tasks, n_jobs : callable, iterable of tuple, int
        A function at the top of a module; its arguments, taken as they are needed; number of processes, 1 is this one.
    ordered : bool, optional
        Whether results come in the order of the tasks; else as they are done.

    Yields
    ------
    object
        What `work` returned. UserError when a process was killed from outside; what came before is the caller's.
    """
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator" if ordered else "generator_unordered",
                               batch_size=1, pre_dispatch="2*n_jobs")
    try:
        with interrupts_left_to_parent():  # the call starts the processes
            results = parallel(joblib.delayed(_work_for)(os.getpid(), work, *task) for task in tasks)
        yield from results
    except TerminatedWorkerError:
        raise UserError("a worker process was killed, by the system when memory ran short or by somebody; what is done "
                        "is kept: start the same command again, with a smaller --n-jobs if memory is short") from None


def _work_for(parent: int, work: Callable, *task: Any) -> Any:
    """Call a function, in a process that ends when the one that started it is killed."""
    if os.getpid() != parent:
        _exit_when_parent_dies(parent)
    return work(*task)


@functools.cache
def _exit_when_parent_dies(parent: int) -> None:
    """Watch the parent from a thread: after a kill -9 nobody else would end this process for minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def interrupts_left_to_parent() -> Iterator[None]:
    """Start worker processes, inside the block, that Ctrl-C does not reach, not even during their first imports.

    A terminal sends Ctrl-C to all processes of a command; children inherit that a signal is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def termination_like_interrupt() -> Iterator[None]:
    """Let SIGTERM (`kill`, batch systems) and SIGHUP (a closed terminal) raise `KeyboardInterrupt` in the block.

    Half-written files are then removed and worker processes ended; a second signal meanwhile is ignored. The exception
    has the signal's number, which that of Ctrl-C has not. In a thread other than the main one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # nohup's wish, that the end of the terminal be ignored, is respected
    before = {number: signal.signal(number, _interrupt) for number in numbers
              if signal.getsignal(number) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, once."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt(number)
