"""A progress bar with rate and time left; plain lines where there is no terminal."""

import sys
from collections.abc import Iterable

from tqdm import tqdm

SECONDS_BETWEEN_PLAIN_LINES = 10.0


class _PlainProgress(tqdm):
    """tqdm for logs and pipes: one plain line every few seconds in place of a bar redrawn."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg is not None:  # tqdm wants to wipe its bar
            return False
        rate = self.format_dict["rate"] or ((self.n - self.initial) / max(self.format_dict["elapsed"], 1e-9))
        left = tqdm.format_interval((self.total - self.n) / rate) if self.total and rate else "?"
        total = f"/{self.total:,}" if self.total else ""
        line = f"{self.desc}: {self.n:,}{total} {self.unit}, {rate:,.1f} {self.unit}/s, {left} left"
        print(f"{line} {self.postfix or ''}".rstrip(), file=self.fp, flush=True)
        return True

    def close(self) -> None:
        if not self.disable:
            self.display()
            self.leave = False  # that was the last line; tqdm's closing redraw would repeat it
        super().close()


def progress_bar(iterable: Iterable | None = None, *, total: int | None = None, description: str = "",
                 unit: str = "images", initial: int = 0) -> tqdm:
    """Return a progress bar with rate and time left; plain lines when there is no terminal.

    Parameters
    ----------
    iterable : iterable, optional
        What to walk through; else call `update` on the bar.
    total : int, optional
        Number of steps; taken from the iterable where it has a length.
    description : str, optional
        Goes in front.
    unit : str, optional
        What is counted, in the plural.
    initial : int, optional
        Steps done in an earlier run.

    Returns
    -------
    tqdm
        Also a context manager.
    """
    common = {"total": total, "desc": description, "unit": unit, "initial": initial}
    if sys.stderr.isatty():
        return tqdm(iterable, unit_scale=False, dynamic_ncols=True, **(common | {"unit": " " + unit}))
    return _PlainProgress(iterable, mininterval=SECONDS_BETWEEN_PLAIN_LINES, maxinterval=1e9, miniters=1, delay=1e-9,
                          **common)
