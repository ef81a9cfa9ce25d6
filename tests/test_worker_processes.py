"""Workers that Ctrl-C does not reach."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from general_code.worker_processes import interrupts_left_to_parent, termination_like_interrupt

ASK = "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"


def ask():
    """Return what a new process says."""
    return subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(os.name != "posix", reason="signals are inherited on POSIX")
def test_children_started_inside_ignore_the_signal_and_others_do_not():
    with interrupts_left_to_parent():
        inside = ask()
    assert (inside, ask()) == ("True", "False")


def test_the_parent_heeds_it_again_after_the_block_also_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="x"), interrupts_left_to_parent():
        raise ValueError("x")
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_changed():
    seen = []

    def look():
        with interrupts_left_to_parent():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_sigterm_interrupts_once_and_the_handler_of_before_is_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as interrupt, termination_like_interrupt():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # does not disturb what is put in order now
    assert interrupt.value.args == (signal.SIGTERM,)
    assert signal.getsignal(signal.SIGTERM) is before
