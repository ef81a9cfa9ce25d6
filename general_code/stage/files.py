"""Files in and out of every stage: required inputs, text lists, free space, atomic writes, and the user's errors.

Readers of a file written here see the old one or the whole new one, never half of it.
"""

import errno
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
NOT_SUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM)
LONGEST_MESSAGE = 300  # letters of a message that may come from outside
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_warned: set[str] = set()


class UserError(Exception):
    """An error the user can fix: shown as one line (what, got, expected, where, what to do)."""


def describe(error: BaseException) -> str:
    """Return the message of an exception as one printable line.

    Parameters
    ----------
    error : BaseException
        For an `OSError` the file and the system's reason are named.

    Returns
    -------
    str
        Without line breaks and control characters; the name of the class if there is no text; messages other than our
        own are cut to `LONGEST_MESSAGE` letters.
    """
    if isinstance(error, OSError) and error.strerror and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    text = printable(" ".join(str(error).split())) or type(error).__name__
    if isinstance(error, UserError) or len(text) <= LONGEST_MESSAGE:
        return text
    return text[:LONGEST_MESSAGE] + " ..."


def printable(text: str) -> str:
    """Return a line with control characters written like `\\x1b`, so that no input can steer a terminal or a log.

    Parameters
    ----------
    text : str
        One line.

    Returns
    -------
    str
        Tabs and all printable characters as they are.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def counted(number: int, plural: str) -> str:
    """Return a number with what is counted.

    Parameters
    ----------
    number, plural : int, str
        How many of what; the first word in s is its noun: no "series", which is both.

    Returns
    -------
    str
        Like "2,000 regions", "1 test image", "1 span of days".
    """
    singular = re.sub(r"ies\b|(?<=ss)es\b|s\b", lambda end: "y" if end[0] == "ies" else "", plural, count=1)
    return f"{number:,} {singular if number == 1 else plural}"


def warn_once(text: str) -> None:
    """Print a warning, what does not work here and what follows from it, at most once in a process."""
    if text not in _warned:
        _warned.add(text)
        print(f"Warning: {printable(text)}", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------- inputs


def check_all(*checks: Callable[[], object]) -> None:
    """Make all checks of a run's inputs; one UserError has the messages of all that fail.

    Parameters
    ----------
    *checks : callable
        Like `lambda: require_file(path, "label_file")`.
    """
    errors = []
    for check in checks:
        try:
            check()
        except UserError as error:
            errors.append(str(error))
    if errors:
        raise UserError("; ".join(errors))


def is_set(path: Path) -> bool:
    """Tell whether an optional path was set.

    Parameters
    ----------
    path : Path
        Of a setting of the type `OptionalPath`; empty: `Path("")`.

    Returns
    -------
    bool
        False for the empty setting.
    """
    return path != Path("")


def require_folder(path: Path, setting: str) -> Path:
    """Return `path` if it is a folder; UserError if not.

    Parameters
    ----------
    path, setting : Path, str
        The folder that a setting names, and the setting's name for the message.

    Returns
    -------
    Path
        The same path.
    """
    if path.is_dir():
        return path
    found = "a file" if path.exists() else "nothing"
    raise UserError(f"{setting}: expected a folder at '{path}' (from {Path.cwd()}), found {found}; "
                    f"set --{setting.replace('_', '-')} or start in the folder that holds it")


def require_file(path: Path, setting: str) -> Path:
    """Return `path` if it is a regular file with something in it; UserError for nothing, a folder, pipe or device.

    Parameters
    ----------
    path, setting : Path, str
        The file that a setting names, and the setting's name for the message.

    Returns
    -------
    Path
        The same path.
    """
    found = _kind(path)
    if found == "a file":
        if path.stat().st_size:
            return path
        found = "an empty file"
    raise UserError(f"{setting}: expected a file at '{path}' (from {Path.cwd()}), found {found}; "
                    f"run the stage that writes it or set --{setting.replace('_', '-')}")


def _kind(path: Path) -> str:
    """Return what stands at a path, in words."""
    try:
        return ("a file" if path.is_file() else "a folder" if path.is_dir() else
                "something that is neither a file nor a folder" if path.exists() else
                "a link to nothing" if path.is_symlink() else "nothing")
    except (OSError, ValueError) as error:  # a circle of links, a name too long
        return f"nothing ({describe(error)})"


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a text list, whatever program wrote it.

    Parameters
    ----------
    path : Path
        UTF-8, with or without byte order mark, else Latin-1; lines end as on Linux, Windows or old Macs. UserError when
        it is not a regular file, or not a text.

    Returns
    -------
    list of (int, str)
        Number from 1 and text without surrounding blanks; blank lines are skipped.
    """
    found = _kind(path)
    if found != "a file":
        raise UserError(f"expected a text file at '{path}', found {found}")
    content = path.read_bytes()
    if b"\0" in content:
        raise UserError(f"expected a text file (UTF-8), '{path}' holds zero bytes; save it as plain text or CSV")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = re.split(r"\r\n|\n|\r", text)
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


# ---------------------------------------------------------------------------- outputs


def require_output(output: Path, inputs: Sequence[Path] = ()) -> None:
    """Create the folder of an output, unless the stage must not or cannot write there.

    Parameters
    ----------
    output, inputs : Path, sequence of Path
        UserError when the output is an input, a folder, a pipe or device, or a file in an input's folder that no stage
        wrote (a stage's output has its log beside it), or when the system does not allow files there.
    """
    refuse_inputs([output], inputs)
    for path in filter(is_set, inputs):
        inside = Path(os.path.realpath(path)) in Path(os.path.realpath(output)).parents
        if inside and output.is_file() and not Path(f"{output}.log").exists():
            raise UserError(f"'{output}' is a file of '{path}', which this stage reads and never changes; name "
                            "another output")
    if output.is_dir():
        raise UserError(f"'{output}' is a folder, expected a file to write; name a file, in this folder or another")
    for path in (output, *(Path(f"{output}{ending}") for ending in (".log", ".json", ".excluded.csv"))):
        if (found := _kind(path)) not in ("a file", "nothing"):  # opening a pipe would wait forever
            raise UserError(f"'{path}' cannot be written: expected a file or nothing yet, found {found}; remove it, or "
                            "name another output")
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
    outputs, inputs : iterable of Path
        All that will be written; what is read, of which the empty path is skipped.
    """
    read = {os.path.realpath(path) for path in inputs if is_set(path)}  # `resolve` raises for a circle of links
    for path in outputs:
        if os.path.realpath(path) in read:
            raise UserError(f"'{path}' is an input of this stage and would be overwritten; choose another name, suffix "
                            "or folder for the outputs")


def require_free_space(folder: Path, needed_bytes: float, purpose: str) -> None:
    """Raise UserError, with what is needed, free and missing, unless the disk of `folder` has room.

    Parameters
    ----------
    folder : Path
        Need not exist yet: the nearest folder above it counts.
    needed_bytes, purpose : float, str
        Estimate [bytes]; what the space is for, e.g. "the copy of 44 images".
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
        Size [bytes].

    Returns
    -------
    str
        In GB, below a tenth of one in MB.
    """
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.2f} MB"


@contextmanager
def report_disk_full(output: Path) -> Iterator[None]:
    """Turn the error of a full disk or quota, which names no file, into a UserError that says what to do."""
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
        The file to write. Its folder is created.

    Yields
    ------
    Path
        Same folder and suffixes; removed if the block raises. The file is flushed to disk before it is renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_temporary_prefix()}{secrets.token_hex(4)}-{path.name}")
    temporary.touch(exist_ok=False)  # with the permissions that a new file gets here
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path, mode: str = "w", **options: Any) -> Iterator[IO]:
    """Open a file for writing so that readers see the old one or the whole new one, never half of it.

    Parameters
    ----------
    path, mode : Path, {"w", "wb"}
        The file to write, whose folder is created; text or bytes.
    **options
        Passed to `open`. Text is UTF-8 with "\\n" line ends unless they say otherwise.

    Yields
    ------
    file object
        Written to a temporary name, flushed to disk, renamed when the block ends without an error.
    """
    if "b" not in mode:
        options = {"encoding": "utf-8", "newline": "\n"} | options
    with atomic_path(path) as temporary, temporary.open(mode, **options) as file:
        yield file


def _temporary_prefix() -> str:
    """Return how names of this process's temporary files begin."""
    return f".writing-{re.sub('[^A-Za-z0-9]', '', socket.gethostname())}-{os.getpid()}-"


def remove_leftovers(folder: Path) -> None:
    """Remove what this machine's killed processes were writing into a folder.

    Parameters
    ----------
    folder : Path
        Temporary files of running processes, and of other machines that share the folder, stay.
    """
    host = re.escape(_temporary_prefix().rsplit("-", 2)[0])
    for path in folder.glob(".writing-*"):
        match = re.match(rf"{host}-(\d{{1,9}})-", path.name)
        if match and not _runs(int(match[1])):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Tell whether a process of this machine exists."""
    if os.name != "posix":
        return True  # there, asking would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it belongs to another user
    return True


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk.

    Parameters
    ----------
    path : Path
        Where the system cannot flush it, that is skipped: with a warning for a file.
    """
    folder = path.is_dir()
    if folder and os.name != "posix":
        return
    try:
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        if not folder:
            warn_once(f"'{path.parent}' cannot be flushed to disk ({error.strerror}): a power cut may lose what was "
                      "written last")


def write_csv(path: Path, table: Any, header: bool = True) -> None:
    """Write a table as CSV, atomically and with the same bytes on every system.

    Parameters
    ----------
    path, table : Path, pandas.DataFrame or pyarrow.Table
        Floats are written with the shortest text that reads back as the same double; NaN, None and null as nothing.
    header : bool, optional
        Whether the first line holds the names of the columns.
    """
    import pyarrow  # half a second to import, which scripts without tables need not spend
    from pyarrow import compute, csv

    if not isinstance(table, pyarrow.Table):
        table = pyarrow.Table.from_pandas(table, preserve_index=False)
    texts = [column for column in table.columns
             if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)]
    # arrow quotes all texts or none: readers of `filename,class` lists expect none
    awkward = any(compute.any(compute.match_substring_regex(column, '[",\r\n]')).as_py() for column in texts)
    options = csv.WriteOptions(include_header=header, quoting_style="needed" if awkward else "none",
                               quoting_header="none")
    with atomic_write(path, "wb") as file:
        csv.write_csv(table, file, options)
