"""Rows of features kept image by image, on disk as soon as they are computed.

A text file beside the feature table, only ever appended to. First line: what the rows are, with the version of the
feature definitions. Then one line an image: checksum, name, size [bytes], modification time [ns], row, separated by
tabs. A line that a kill cut short fails its checksum and is passed over.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Self

import numpy as np


class RowCheckpoint:
    """Rows by image name, size and modification time; see the module.

    Parameters
    ----------
    path : Path
        The file; made when it does not exist.
    version : str
        Of the feature definitions.
    resume : bool
        False: begin anew, whatever the file holds.

    Attributes
    ----------
    foreign : bool
        Whether a file was found that was made with another version, and not used.
    """

    def __init__(self, path: Path, version: str, resume: bool = True) -> None:
        self.path = path
        self._header = f"# rows of stage 4, feature definitions {version}\n".encode()
        found = self._first_line()
        self.foreign = bool(found) and found != self._header
        fresh = not resume or found != self._header
        self._file: IO[bytes] = path.open("wb+" if fresh else "rb+")
        if fresh:
            self._file.write(self._header)
        self._end_last_line()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _first_line(self) -> bytes:
        """Return the first line, empty without a file."""
        if not self.path.is_file():
            return b""
        with self.path.open("rb") as file:
            return file.readline(200)

    def _end_last_line(self) -> None:
        """Go to the end, and close a line that a kill cut short, so that the next one begins on its own."""
        end = self._file.seek(0, os.SEEK_END)
        self._file.seek(end - 1)
        if self._file.read(1) != b"\n":
            self._file.write(b"\n")

    def flush(self) -> None:
        """Hand everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def append(self, names: Sequence[bytes], sizes: Sequence[int], times: Sequence[int],
               rows: Sequence[str]) -> list[int]:
        """Write rows and wait until the disk has them.

        Parameters
        ----------
        names, sizes, times, rows : sequences of the same length
            File name, size [bytes], modification time [ns] and text of each image.

        Returns
        -------
        list of int
            Where each line begins, for `read`.
        """
        place = self._file.seek(0, os.SEEK_END)
        lines = [_sealed(b"%b\t%d\t%d\t%b" % (name, size, time, row.encode()))
                 for name, size, time, row in zip(names, sizes, times, rows, strict=True)]
        self._file.write(b"".join(lines))
        self.flush()
        return [place, *(place + np.cumsum([len(line) for line in lines[:-1]], dtype=int)).tolist()] if lines else []

    def find(self, names: np.ndarray, sizes: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the rows of images begin, and with which letter.

        Parameters
        ----------
        names : numpy.ndarray
            Bytes, sorted, each once.
        sizes, times : numpy.ndarray
            Size [bytes] and modification time [ns] of each.

        Returns
        -------
        places : numpy.ndarray
            int64, one an image: for `read`; -1 where there is no row for this name, size and time.
        letters : numpy.ndarray
            Bytes: first letter of each row, empty where there is none.
        """
        places, letters = np.full(names.size, -1, np.int64), np.zeros(names.size, "S1")
        for block in _blocks(self._whole_lines()):
            keys = np.array([key[0] for key in block])
            where = np.minimum(np.searchsorted(names, keys), max(names.size - 1, 0))
            for index, (name, size, time, place, letter) in zip(where.tolist(), block, strict=True):
                if names.size and names[index] == name and (sizes[index], times[index]) == (size, time):
                    places[index], letters[index] = place, letter
        return places, letters

    def _whole_lines(self) -> Iterator[tuple[bytes, int, int, int, bytes]]:
        """Walk through name, size, time and place of the lines that are whole, and the first letter of their rows."""
        place = len(self._header)
        with self.path.open("rb") as file:
            file.seek(place)
            for line in file:
                parts = line.rstrip(b"\n").split(b"\t", 4)
                if len(parts) == 5 and line == _sealed(line[9:-1]):
                    yield parts[1], int(parts[2]), int(parts[3]), place, parts[4][:1]
                place += len(line)

    def read(self, places: Iterable[int]) -> Iterator[str]:
        """Walk through the rows that begin at the places.

        Parameters
        ----------
        places : iterable of int
            From `append` or `find`.

        Yields
        ------
        str
            The row as it was appended.
        """
        self.flush()
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place)
                yield file.readline().decode().rstrip("\n").split("\t", 4)[4]


def _sealed(content: bytes) -> bytes:
    """Return checksum, tab, content, line end."""
    return b"%08x\t%s\n" % (zlib.crc32(content), content)


def _blocks(items: Iterable, size: int = 20_000) -> Iterator[list]:
    """Walk through items in lists of at most `size`."""
    block = []
    for item in items:
        block.append(item)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block
