"""Rows of numbers, one an image, kept on disk: memory-mapped, added to batch by batch, found again by file.

A cache is a folder made for one identity (weights, preprocessing, dtype ...), named by its hash:

    cache.json      the identity
    rows.bin        n rows of `width` numbers, without header
    index.csv       name,size,mtime_ns of the image of each row, written after the row is on disk

A row counts when its line in the index is whole, so a process may die at any moment: what a batch left half
written is cut off at the next start. An image that has changed (size or modification time) gets a new row.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from general_code.stage_files import UserError, atomic_write, require_free_space

SECONDS_BETWEEN_COMMITS = 5.0  # on a fast device a batch takes less time than flushing it to disk
_INDEX_LINE = re.compile(rb"([^\r\n]+),(\d+),(-?\d+)\n")


class ImageFile(NamedTuple):
    """What tells whether a file is still the one that a row was computed from."""

    name: str
    size: int
    mtime_ns: int


class RowCache:
    """A cache opened for one identity; a context manager, which holds the lock on it.

    Parameters
    ----------
    cache_dir : Path
        Holds any number of caches.
    identity : dict
        What the rows depend on, other than the image: plain values, JSON-serialisable.
    width : int
        Numbers a row.
    dtype : str
        Of the numbers on disk.

    Attributes
    ----------
    folder : Path
        This cache.
    """

    def __init__(self, cache_dir: Path, identity: dict[str, Any], width: int, dtype: str) -> None:
        self.identity = identity | {"width": width, "dtype": dtype}
        self.width, self.dtype = width, np.dtype(dtype)
        self.folder = _folder_for(cache_dir, self.identity)
        self._lock = FileLock(self.folder.parent / f".{self.folder.name}.lock", timeout=0)
        self._files: list[ImageFile] = []
        self._pending: list[ImageFile] = []
        self._committed = 0.0

    def __enter__(self) -> "RowCache":
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(f"another run uses the cache '{self.folder}'; wait for it, or set --cache-dir") from None
        if not (self.folder / "cache.json").exists():
            with atomic_write(self.folder / "cache.json") as file:
                json.dump(self.identity, file, indent=2)
        self._files = self._whole_rows()
        self._rows = (self.folder / "rows.bin").open("ab")
        self._index = (self.folder / "index.csv").open("ab")
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
        self._rows.close()
        self._index.close()
        self._lock.release()

    def __len__(self) -> int:
        return len(self._files)

    def find(self, files: Sequence[ImageFile]) -> np.ndarray:
        """Return the rows of images.

        Parameters
        ----------
        files : sequence of ImageFile
            As they are now.

        Returns
        -------
        numpy.ndarray
            int64, shape (n,): row number, -1 where there is none for this state of the file.
        """
        place = {file: row for row, file in enumerate(self._files)}
        return np.fromiter((place.get(file, -1) for file in files), np.int64, len(files))

    def append(self, files: Sequence[ImageFile], values: np.ndarray) -> None:
        """Add rows; they are kept if the process dies after the next commit, a few seconds at most.

        Parameters
        ----------
        files : sequence of ImageFile
            One a row.
        values : numpy.ndarray
            Shape (n, width).

        Raises
        ------
        ValueError
            When the shapes do not fit, a number is not finite, or too large for the dtype.
        """
        if values.shape != (len(files), self.width):
            raise ValueError(f"expected {len(files)} rows of {self.width} numbers, got shape {values.shape}")
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(values, self.dtype)
        if not np.isfinite(values).all():
            raise UserError(f"{self.folder}: NaN or infinite numbers for {files[0].name} or one after it: the weights "
                            "of the network are of no use; take another file (--weights)")
        if not np.isfinite(rows).all():
            raise UserError(f"{self.folder}: features up to {np.abs(values).max():.3g} do not fit into {self.dtype}; "
                            "use --cache-dtype float32")
        self._rows.write(rows.data)
        self._pending += files
        if time.monotonic() - self._committed > SECONDS_BETWEEN_COMMITS:
            self.commit()

    def commit(self) -> None:
        """Flush what was added to disk, rows first."""
        self._rows.flush()
        os.fsync(self._rows.fileno())
        self._index.write(b"".join(os.fsencode(f"{name},{size},{mtime}\n") for name, size, mtime in self._pending))
        self._index.flush()
        os.fsync(self._index.fileno())
        self._files += self._pending
        self._pending = []
        self._committed = time.monotonic()

    def values(self) -> np.ndarray:
        """Return all rows.

        Returns
        -------
        numpy.memmap
            Read-only, shape (len(self), width); an ordinary array when there is none.
        """
        if not self._files:
            return np.empty((0, self.width), self.dtype)
        return np.memmap(self.folder / "rows.bin", self.dtype, "r", shape=(len(self._files), self.width))

    def require_space(self, images: int) -> None:
        """Raise unless the disk has room for more rows.

        Parameters
        ----------
        images : int
            Rows to come.

        Raises
        ------
        UserError
            Says how much is needed, free and missing.
        """
        require_free_space(self.folder, images * (self.width * self.dtype.itemsize + 100),
                           f"the cache of {images:,} images in {self.dtype}")

    def _whole_rows(self) -> list[ImageFile]:
        """Return the images of all complete rows, and cut off what an interrupted run left behind."""
        index, rows, row_bytes = self.folder / "index.csv", self.folder / "rows.bin", self.width * self.dtype.itemsize
        stored = rows.stat().st_size // row_bytes if rows.exists() else 0
        files, index_bytes = _read_index(index, stored)
        for path, size in ((index, index_bytes), (rows, len(files) * row_bytes)):
            if path.exists():
                os.truncate(path, size)
        return files


def _read_index(path: Path, most: float = float("inf")) -> tuple[list[ImageFile], int]:
    """Return the images of an index up to the first line that is not whole, and the bytes they take."""
    files, n_bytes = [], 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        match = _INDEX_LINE.fullmatch(line)
        if not match or len(files) == most:
            break
        files.append(ImageFile(os.fsdecode(match[1]), int(match[2]), int(match[3])))
        n_bytes += len(line)
    return files, n_bytes


def image_files(folder: Path, names: Sequence[str]) -> list[ImageFile | None]:
    """Return the state of files.

    Parameters
    ----------
    folder : Path
        Where they are.
    names : sequence of str
        Relative to it.

    Returns
    -------
    list of ImageFile or None
        None where there is no such file. `1158/1158_...` is found as `11158/...` and `11158_...`, too.
    """
    return [next((state for spelling in _spellings(name) if (state := _state(folder, spelling))), None)
            for name in names]


def _state(folder: Path, name: str) -> ImageFile | None:
    """Return the state of one file."""
    try:
        status = (folder / name).stat()
    except (OSError, ValueError):
        return None
    return ImageFile(name, status.st_size, status.st_mtime_ns)


def _spellings(name: str) -> Iterator[str]:
    """Yield a name, then with its region in five digits, as users' own folders may have it."""
    yield name
    if match := re.fullmatch(r"(\d{4}/)(\d{4}_.*)", name):
        yield from (f"1{match[1]}{match[2]}", f"{match[1]}1{match[2]}", f"1{match[1]}1{match[2]}")


def other_caches(cache: RowCache, wanted: Sequence[ImageFile]) -> list[str]:
    """Describe the caches of the same kind that lie beside one and might be thought to be used.

    Parameters
    ----------
    cache : RowCache
        The one in use.
    wanted : sequence of ImageFile
        Images that it lacks.

    Returns
    -------
    list of str
        One for each cache that holds some of them, differs in its weights alone, or cannot be read: its folder and
        why it is not used. The last one counts the others.
    """
    texts, others = [], 0
    same_kind = cache.folder.parent.glob(f"{_kind(cache.identity)}_*/cache.json")
    for folder in sorted({path.parent for path in same_kind} - {cache.folder}):
        if (other := _identity_of(folder)) is None:
            texts.append(f"cache {folder}: its cache.json is damaged, so that nobody knows what made it; remove it")
            continue
        differing = [name for name in cache.identity if other.get(name) != cache.identity[name]]
        held = len(set(_read_index(folder / "index.csv")[0]) & set(wanted))
        if held or differing == ["weights"]:
            particulars = "; ".join(f"{name} {other.get(name)}, here {cache.identity[name]}" for name in differing)
            texts.append(f"cache {folder}, which holds {held:,} of them: made with other settings ({particulars})")
        else:
            others += 1
    return texts + ([f"{others} more caches in {cache.folder.parent}, which hold none of them"] if others else [])


def _kind(identity: dict[str, Any]) -> str:
    """Return what the rows of a cache are, with which its folder's name begins."""
    return identity.get("kind", "rows")


def _folder_for(cache_dir: Path, identity: dict[str, Any]) -> Path:
    """Return the folder of an identity; the next free name when another cache lies in its place."""
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    first = cache_dir / f"{_kind(identity)}_{key}"
    folder, number = first, 1
    while folder.exists() and any(folder.iterdir()) and _identity_of(folder) != identity:
        number += 1
        folder = first.with_name(f"{first.name}_{number}")
    return folder


def _identity_of(folder: Path) -> dict[str, Any] | None:
    """Return the identity noted in a cache's folder, None when it cannot be read."""
    try:
        content = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None

