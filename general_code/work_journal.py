"""A table that is appended to while work goes on, so that a killed run starts where it was.

Lines are `key,value,value,...`; of two lines with one key the later counts. A line cut short by a kill is passed over.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from general_code.stage_files import atomic_write


class WorkJournal:
    """What is done, by key.

    Parameters
    ----------
    path : Path
        The file; made at the first record. A file with another header is not used, and replaced.
    columns : sequence of str
        Names of key and values, written as the header.

    Attributes
    ----------
    done : dict of str to tuple of str
        Values by key.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.header = ",".join(columns)
        self.done: dict[str, tuple[str, ...]] = {}
        self._width = len(columns)
        self._new = 0
        self._whole = False
        for line in self._lines():
            key, *values = line.rsplit(",", self._width - 1)  # a key may hold commas
            if len(values) == self._width - 1:
                self.done[key] = tuple(values)

    def _lines(self) -> list[str]:
        """Return the whole lines below the right header; none when there is no such file."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []
        header, *lines = text.split("\n")
        if header != self.header or not lines:
            return []
        self._whole = not lines[-1]
        return lines[:-1]  # what follows the last line end was cut short

    @contextmanager
    def recording(self) -> Iterator["WorkJournal"]:
        """Keep what `record` is told while the block runs; sort the file at its end, also after an interruption.

        Yields
        ------
        WorkJournal
            This one, ready for `record`.
        """
        if not self._whole:  # missing, cut short by a kill, or of another form
            self._write_sorted()
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as self._file:
                yield self
        finally:
            if self._new:
                self._write_sorted()
            self._new = 0

    def record(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Append rows, and flush them to the system.

        Parameters
        ----------
        rows : sequence of tuple of str
            Key and values; only the key may hold commas.
        """
        for key, *values in rows:
            self.done[key] = tuple(values)
        self._file.writelines(",".join(row) + "\n" for row in rows)
        self._file.flush()
        self._new += len(rows)

    def _write_sorted(self) -> None:
        """Write the whole table by key: its bytes do not depend on the order of the work."""
        with atomic_write(self.path) as file:
            file.write(self.header + "\n")
            file.writelines(",".join((key, *self.done[key])) + "\n" for key in sorted(self.done))
