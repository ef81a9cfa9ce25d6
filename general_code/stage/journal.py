"""The one table that work leaves behind while it goes on, so that a killed run continues where it stopped.

A line belongs to a file in the state in which it was used: name, size and modification time, and a value (features, a
count of NaN pixels, a row of a cache). Of two lines for one file the later counts. Each line carries its checksum:
what a kill or a disk damaged is skipped. The header says what made the values; a table made otherwise is not used.
"""

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, Self

import numpy as np

from general_code.stage.files import atomic_write

LINES_A_BLOCK = 20_000  # looked up at a time
_LINE = re.compile(rb"([0-9a-f]{8})\t((\d{1,18})\t(-?\d{1,19})\t([^\t\n]+)\t([^\n]*))\n")


class FileState(NamedTuple):
    """A file as it was when it was used."""

    name: str
    size: int  # [bytes]
    mtime_ns: int  # modification time [ns]


class Journal:
    """Values by file, on disk as soon as they are appended; a context manager that closes the file.

    The table at `path` is created if it does not exist. Its header is `made_with`, a line of what the values depend on
    besides the files: a table made with something else is replaced (then `foreign`). `resume=False` starts empty.
    """

    def __init__(self, path: Path, made_with: str, resume: bool = True) -> None:
        self.path = path
        self._header = f"# {made_with}\n".encode()
        found = _first_line(path)
        self.foreign = bool(found) and found != self._header
        path.parent.mkdir(parents=True, exist_ok=True)
        start_empty = not resume or found != self._header
        self._file: IO[bytes] = path.open("wb+" if start_empty else "rb+")
        if start_empty:
            self._file.write(self._header)
        self._end_last_line()
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def append(self, files: Sequence[FileState], values: Sequence[str]) -> list[int]:
        """Add lines and wait until they are on disk; return the place of each, for `read`.

        ValueError for what would not be read back as it is: names have no tabs and line breaks, values no line breaks.
        """
        place = self._file.seek(0, os.SEEK_END)
        lines = [_line(file, value) for file, value in zip(files, values, strict=True)]
        self._file.write(b"".join(lines))
        self._flush()
        return [place + int(offset) for offset in np.cumsum([0, *(len(line) for line in lines)])[:-1]]

    def find(self, files: Sequence[FileState]) -> tuple[np.ndarray, np.ndarray]:
        """Look files up, in any order, without keeping the table in memory.

        Returns, shape (n,), the place of each file's line, for `read` (int64), -1 where there is none for this name,
        size and time; and the first letter of each value (bytes), empty where there is none.
        """
        return self.find_arrays((os.fsencode(file.name) for file in files),
                                np.array([file.size for file in files], dtype=np.int64),
                                np.array([file.mtime_ns for file in files], dtype=np.int64))

    def find_arrays(self, names: Iterable[bytes], sizes: np.ndarray,
                    times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look very many files up as `find` does: names, each once, in the order of sizes [bytes] and times [ns]."""
        names = np.concatenate([np.empty(0, "S1"), *map(np.array, _blocks(names))])  # a list of all takes twice as much
        order = np.argsort(names)
        places, letters = np.full(names.size, -1, np.int64), np.zeros(names.size, "S1")
        for block in _blocks(self._whole_lines() if names.size else []):
            keys = np.array([name for name, *_ in block])
            where = order[np.minimum(np.searchsorted(names, keys, sorter=order), names.size - 1)]
            for index, (name, size, time, place, letter) in zip(where.tolist(), block, strict=True):
                if names[index] == name and (sizes[index], times[index]) == (size, time):
                    places[index] = place
                    letters[index] = letter
        return places, letters

    def read(self, places: Iterable[int]) -> Iterator[str]:
        """Yield the values of the lines at places that `append` or `find` returned."""
        self._file.flush()
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place)
                yield file.readline()[:-1].split(b"\t", 4)[4].decode()

    def sort(self) -> None:
        """Rewrite the table by name, each file once: its bytes then do not depend on the order of the work."""
        latest = {}
        for name, size, time, place, _ in self._whole_lines():
            latest[name] = (FileState(os.fsdecode(name), size, time), place)
        files = [latest[name][0] for name in sorted(latest)]
        values = list(self.read(latest[name][1] for name in sorted(latest)))
        self._file.close()
        with atomic_write(self.path, "wb") as file:
            file.write(self._header + b"".join(map(_line, files, values)))
        self._file = self.path.open("rb+")

    def _whole_lines(self) -> Iterator[tuple[bytes, int, int, int, bytes]]:
        """Yield name, size, time and place of the undamaged lines, and the first letter of their values."""
        self._file.flush()
        with self.path.open("rb") as file:
            place = len(file.readline())
            for line in file:
                match = _LINE.fullmatch(line)
                if match and int(match[1], 16) == zlib.crc32(match[2]):
                    yield match[5], int(match[3]), int(match[4]), place, match[6][:1]
                place += len(line)

    def _end_last_line(self) -> None:
        """Close a line that a kill cut short, so that the next one starts on its own."""
        end = self._file.seek(0, os.SEEK_END)
        self._file.seek(end - 1)
        if self._file.read(1) != b"\n":
            self._file.write(b"\n")

    def _flush(self) -> None:
        """Hand everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())


def _first_line(path: Path) -> bytes:
    """Return the first line of a file, empty without one."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.readline(10_000)


def _line(file: FileState, value: str) -> bytes:
    """Return a line with its checksum."""
    content = b"%d\t%d\t%b\t%b" % (file.size, file.mtime_ns, os.fsencode(file.name), value.encode())
    line = b"%08x\t%b\n" % (zlib.crc32(content), content)
    match = _LINE.fullmatch(line)
    if not match or match[5] != os.fsencode(file.name):
        raise ValueError(f"expected a name without tabs and line breaks and a value without line breaks, got "
                         f"{file.name!r} and {value!r}")
    return line


def _blocks(items: Iterable) -> Iterator[list]:
    """Yield items in lists of at most `LINES_A_BLOCK`."""
    items = iter(items)
    while block := list(islice(items, LINES_A_BLOCK)):
        yield block
