"""Worker processes that leave a user's Ctrl-C to the process that started them."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
