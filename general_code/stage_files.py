"""Files in and out of every stage: required inputs, free space, atomic writes, and the user's mistakes.

Readers of a file written here see the old one or the whole new one, never half of it.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

from tyro.constructors import PrimitiveConstructorSpec

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class UserError(ValueError):
    """A mistake that the user can mend: shown as one line (what, got, expected, where, what to do)."""


def describe(error: BaseException) -> str:
    """Return the message of an exception as one line.

    Parameters
    ----------
    error : BaseException
        For an `OSError` the file and the system's reason are named.

    Returns
    -------
    str
        Without line breaks; the class's name where the exception has no text.
    """
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


# ---------------------------------------------------------------------------- settings and inputs


def given(path: Path) -> bool:
    """Tell whether an optional path was set.

    Parameters
    ----------
    path : Path
        Of a setting of the type `OptionalPath`, empty by `Path("")`.

    Returns
    -------
    bool
        False for the empty setting.
    """
    return path != Path("")


def parse_optional_path(text: str) -> Path:
    """Return the path in a setting that may be empty.

    Parameters
    ----------
    text : str
        As typed; "" is the empty setting.

    Returns
    -------
    Path
        `Path("")` for the empty setting, which equals `Path(".")`: the folder "." is therefore given in full.
    """
    return Path(text) if given(Path(text)) or not text else Path.cwd()


def _optional_path_text(path: Path) -> list[str]:
    """Return what `--help` shows and a user types for a path: nothing for the empty one."""
    return [str(path) if given(path) else ""]


# the type of a setting `name: OptionalPath = Path("")`, which a user can leave empty
OptionalPath = Annotated[Path, PrimitiveConstructorSpec(
    nargs=1, metavar="PATH", instance_from_str=lambda texts: parse_optional_path(texts[0]),
    is_instance=lambda value: isinstance(value, Path), str_from_instance=_optional_path_text)]


def require_folder(path: Path, setting: str) -> Path:
    """Return `path` if it is a folder.

    Parameters
    ----------
    path : Path
        The folder that a setting names.
    setting : str
        Name of that setting, for the message.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    UserError
        When there is no such folder.
    """
    if path.is_dir():
        return path
    found = "a file" if path.exists() else "nothing"
    raise UserError(f"{setting}: expected a folder at '{path}' (from {Path.cwd()}), found {found}; "
                    f"set --{setting.replace('_', '-')} or start in the folder that holds it")


def require_file(path: Path, setting: str) -> Path:
    """Return `path` if it is a file with something in it.

    Parameters
    ----------
    path : Path
        The file that a setting names.
    setting : str
        Name of that setting, for the message.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    UserError
        When there is no such file, or an empty one.
    """
    if path.is_file():
        if path.stat().st_size:
            return path
        found = "an empty file"
    else:
        found = "a folder" if path.exists() else "nothing"
    raise UserError(f"{setting}: expected a file at '{path}' (from {Path.cwd()}), found {found}; "
                    f"run the stage that writes it or set --{setting.replace('_', '-')}")


def require_output(output: Path, inputs: Sequence[Path] = ()) -> None:
    """Make the folder of an output, unless the stage must not or cannot write there.

    Parameters
    ----------
    output : Path
        The file that a stage is going to write.
    inputs : sequence of Path, optional
        Files and folders that it reads; the empty path is skipped.

    Raises
    ------
    UserError
        When the output is an input, a folder, or a file in an input's folder that no stage wrote (a stage's output
        has its log beside it), or when the system does not allow files there.
    """
    refuse_inputs([output], inputs)
    for path in filter(given, inputs):
        if path.resolve() in output.resolve().parents and output.is_file() and not Path(f"{output}.log").exists():
            raise UserError(f"'{output}' is a file of '{path}', which this stage reads and never changes; name "
                            "another output")
    if output.is_dir():
        raise UserError(f"'{output}' is a folder, expected a file to write; name a file, in this folder or another")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(prefix=".writing-", dir=output.parent):
            pass
    except OSError as error:
        raise UserError(f"'{output}' cannot be written: folder '{output.parent}' ({error.strerror}); name an output in "
                        "a folder that you may write to") from None


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise UserError when an output of a stage is one of its inputs.

    Parameters
    ----------
    outputs : iterable of Path
        All that will be written.
    inputs : iterable of Path
        What is read; the empty path is skipped.

    Raises
    ------
    UserError
        Names the first such file.
    """
    read = {path.resolve() for path in inputs if given(path)}
    for path in outputs:
        if path.resolve() in read:
            raise UserError(f"'{path}' is an input of this stage and would be overwritten; take another name, suffix "
                            "or folder for the outputs")


def require_free_space(folder: Path, needed_bytes: float, purpose: str) -> None:
    """Raise unless the disk of `folder` has room.

    Parameters
    ----------
    folder : Path
        Need not exist yet: the nearest folder above it counts.
    needed_bytes : float
        Estimate [bytes].
    purpose : str
        What the space is for, e.g. "the copy of 44 images".

    Raises
    ------
    UserError
        Says how much is needed, free and missing.
    """
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UserError(f"not enough space in {folder} for {purpose}: {size_text(needed_bytes)} needed, "
                        f"{size_text(free)} free, {size_text(needed_bytes - free)} missing; free some or choose "
                        "another folder")


def size_text(n_bytes: float) -> str:
    """Return a size for people.

    Parameters
    ----------
    n_bytes : float
        [bytes].

    Returns
    -------
    str
        In GB, below a tenth of one in MB.
    """
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.2f} MB"


@contextmanager
def full_disk_is_said(output: Path) -> Iterator[None]:
    """Turn the system's error for a full disk, which names no file, into one that says what to do.

    Parameters
    ----------
    output : Path
        What the block writes.

    Yields
    ------
    None
        While the block runs.

    Raises
    ------
    UserError
        In place of an `OSError` for a full disk or quota.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise UserError(f"the disk is full, or your share of it: no room to write '{error.filename or output}'; free "
                        "some and start again, what is done is kept") from None


# ---------------------------------------------------------------------------- atomic writes


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` and rename it into place at the end.

    Parameters
    ----------
    path : Path
        The file to be. Its folder is made.

    Yields
    ------
    Path
        Same folder and suffixes; removed if the block raises. The file is flushed to disk before it is renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix="-" + path.name, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path, mode: str = "w", **options: Any) -> Iterator[IO]:
    """Open a file for writing so that readers see the old one or the whole new one, never half of it.

    Parameters
    ----------
    path : Path
        The file to be. Its folder is made.
    mode : {"w", "wb"}
        As in `open`.
    **options
        As in `open`. Text is UTF-8 with "\\n" line ends unless said otherwise.

    Yields
    ------
    file object
        Written to a temporary name, flushed to disk, renamed when the block ends without an error.
    """
    if "b" not in mode:
        options = {"encoding": "utf-8", "newline": "\n"} | options
    with atomic_path(path) as temporary, temporary.open(mode, **options) as file:
        yield file


def _umask() -> int:
    """Return the process's file mode mask, which mkstemp ignores."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk.

    Parameters
    ----------
    path : Path
        A folder is passed over where the system cannot flush one.
    """
    folder = path.is_dir()
    if folder and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
