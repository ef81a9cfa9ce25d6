"""Signals: workers leave a user's Ctrl-C to the process that started them, and SIGTERM ends a run like Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_left_to_parent() -> Iterator[None]:
    """Start worker processes, inside the block, that Ctrl-C does not reach, be it during their first imports.

    A terminal sends Ctrl-C to all processes of a command. Children inherit that a signal is ignored; this process heeds
    it again after the block (a moment: press once more if it fell in there), and ends its workers.

    Yields
    ------
    None
        In a thread other than the main one nothing is changed: only that one may.
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
    """Let SIGTERM, as `kill` and batch systems send it, raise `KeyboardInterrupt` inside the block.

    Half-written files are then removed and worker processes ended, which the signal's own way leaves behind. A second
    one is passed over meanwhile.

    Yields
    ------
    None
        In a thread other than the main one nothing is changed: only that one may.

    Raises
    ------
    KeyboardInterrupt
        With the signal's number, where Ctrl-C gives none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, once."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt(number)
