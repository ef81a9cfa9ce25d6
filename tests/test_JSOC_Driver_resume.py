"""Stage 2 by the route "drms": killed at each state of the ledger, interrupted, and started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsoc_lab
import pytest
from jsoc_lab import MOMENTS, be_quick, excluded, images, ledger_line, run_killed, settings, simulator

from general_code import JSOC_Driver
from general_code.JSOC_Driver import main
from general_code.simulated_faults import Faults

SCRIPT = Path(JSOC_Driver.__file__)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    be_quick(monkeypatch)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with simulator(bad=[jsoc_lab.slot(8)]) as jsoc:
        user = settings(tmp_path_factory.mktemp("uninterrupted"), jsoc.url)
        main(user)
    return images(user), excluded(user)


@pytest.mark.parametrize(("moment", "target"), MOMENTS)
def test_kill_and_resume(moment, target, tmp_path, uninterrupted):
    with simulator(Faults(delay_seconds=0.1), bad=[jsoc_lab.slot(8)]) as jsoc:
        user = settings(tmp_path, jsoc.url)
        assert run_killed(user, moment, target) == -signal.SIGKILL
        main(user)
        # JSOC has made one export, whether or not the driver had learnt its number
        assert len(jsoc.exports.exports) == 1
        answered = ("requested", "downloaded", "done", "download_tar", "put_in_place", "missing_records")
        if target in answered and (moment, target) != ("before", "requested"):
            assert len(jsoc.submissions()) == 1
    assert (images(user), excluded(user)) == uninterrupted
    assert not (user.image_dir / ".incoming").exists()


def test_interruption_leaves_no_half_written_file(tmp_path):
    with simulator(Faults(delay_seconds=60)) as jsoc:
        user = settings(tmp_path, jsoc.url)
        run = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--ar-list", str(user.ar_list), "--image-dir", str(user.image_dir),
             "--email", "me@inst.edu", "--base-url", jsoc.url, "--patch-pixels", "24"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not any(arguments.get("op") == "exp_status" for _, arguments in jsoc.received):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 130, errors
        assert "Traceback" not in errors
        jsoc.faults.delay_seconds = 0.0
        main(user)
        assert len(jsoc.submissions()) == 1
    assert ledger_line(user).state == "done"
