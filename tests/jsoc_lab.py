"""What the tests of the download share: a simulated JSOC with two small regions, settings, the driver in one call."""

import atexit
import csv
import dataclasses
import functools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from general_code import JSOC_Driver
from general_code.images.magnetograms import write_magnetogram
from general_code.jsoc import download as region_download
from general_code.jsoc.client import JsocService
from general_code.jsoc.export_requests import record_time
from general_code.jsoc.ledger import DownloadLedger, LedgerLine
from general_code.jsoc.retry import RetryPolicy
from general_code.simulator.series import Faults, SimulatedSeries
from general_code.simulator.server import JsocSimulator

os.environ["no_proxy"] = "127.0.0.1,localhost"  # a proxy of this computer knows nothing of the simulator

NOWHERE = "http://127.0.0.1:9"  # nobody answers there
PIXELS = 24
PASSAGES = {"1158": (date(2011, 2, 13), 1), "1429": (date(2012, 3, 3), 1)}
NAME = "hmi.M_720s.{:%Y%m%d_%H%M%S}_TAI.1.magnetogram.fits"
IMAGES_A_REGION = 7  # one every four hours, both midnights
# short pauses, but limits that a busy machine does not reach; tests of a limit set their own
QUICK = RetryPolicy(poll_seconds=0.02, max_attempts=3, longest_poll_seconds=0.1, outage_seconds=60, request_seconds=60,
                    foreign_seconds=60, timeout_seconds=60)


def image(time: datetime, pixels: int = PIXELS, quality: int = 0) -> bytes:
    """Return a cut-out as JSOC delivers them: a bipole."""
    return _undated_image(pixels, quality).replace(record_time(datetime(2000, 1, 1)).encode(),
                                                   record_time(time).encode())


@functools.cache
def _undated_image(pixels: int, quality: int) -> bytes:
    """Return a cut-out of the year 2000."""
    y, x = np.mgrid[:pixels, :pixels] / pixels - 0.5
    field = 800 * (np.exp(-((x - 0.15) ** 2 + y**2) / 0.01) - np.exp(-((x + 0.15) ** 2 + y**2) / 0.01))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.fits"
        cards = [("T_REC", record_time(datetime(2000, 1, 1))), ("QUALITY", quality), ("CAMERA", 1)]
        write_magnetogram(path, field, cards)
        return path.read_bytes()


@functools.cache
def series(minutes: int = 240) -> SimulatedSeries:
    """Return an archive of the regions 1158 and 1429, with an image every so many minutes."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    for region, (first_day, days) in PASSAGES.items():
        (Path(folder.name) / region).mkdir()
        for minute in range(0, days * 1440 + 1, minutes):
            stamp = datetime.combine(first_day, datetime.min.time()) + timedelta(minutes=minute)
            (Path(folder.name) / region / NAME.format(stamp)).write_bytes(image(stamp))
    return SimulatedSeries(Path(folder.name))


def simulator(faults: Faults | None = None, minutes: int = 240) -> JsocSimulator:
    """Return a simulated JSOC with that archive, to be entered."""
    return JsocSimulator(series(minutes), dataclasses.replace(faults or Faults()))  # a copy: they count down


def settings(folder: Path, url: str, **changes) -> JSOC_Driver.UserDefinitions:
    """Return settings for a run in a folder, with the list of one region."""
    ar_list = folder / "ARList.txt"
    if not ar_list.exists():
        ar_list.write_text("1158,20110213,1\n")
    common = {"ar_list": ar_list, "image_dir": folder / "images", "email": "me@inst.edu", "base_url": url,
              "srs_dir": Path(""), "patch_pixels": PIXELS, "poll_seconds": 0.02, "max_attempts": 3}
    return JSOC_Driver.UserDefinitions(**(common | changes))


@contextmanager
def started(folder: Path, faults: Faults | None = None, *, both: bool = False,
            **changes) -> Iterator[tuple[JsocSimulator, JSOC_Driver.UserDefinitions]]:
    """Start a simulated JSOC, and give it with settings for a run in a folder, of one region or of both."""
    with simulator(faults) as jsoc:
        user = settings(folder, jsoc.url, **changes)
        if both:
            user.ar_list.write_text("1158,20110213,1\n1429,20120303,1\n")
        yield jsoc, user


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port of this machine that nobody answers at, and nobody else takes meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listening
        yield taken.getsockname()[1]


def be_quick(monkeypatch, **changes) -> None:
    """Let the driver wait for fractions of a second."""
    policy = dataclasses.replace(QUICK, **changes)

    def open_service(user, max_attempts):
        return JsocService(user.base_url, user.email, dataclasses.replace(policy, max_attempts=max_attempts))

    monkeypatch.setattr(JSOC_Driver, "open_service", open_service)


def at_state(monkeypatch, state: str, act: Callable[[], object], before: bool = False) -> None:
    """Let something happen when a region of this process first gets a state in the ledger, or just before."""
    update, waiting = DownloadLedger.update, [act]

    def watched_update(self, region, **changes):
        hit = changes.get("state") == state and waiting
        if hit and before:
            waiting.pop()()
        line = update(self, region, **changes)
        if hit and not before:
            waiting.pop()()
        return line

    monkeypatch.setattr(DownloadLedger, "update", watched_update)


def ledger_line(user: JSOC_Driver.UserDefinitions, region: str = "1158") -> LedgerLine:
    """Return a region's line of the ledger on disk."""
    return DownloadLedger(user.image_dir)[region]


def excluded(user: JSOC_Driver.UserDefinitions) -> list[list[str]]:
    """Return the rows of the file of exclusions."""
    with (user.image_dir / "download_ledger.csv.excluded.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def images(user: JSOC_Driver.UserDefinitions, region: str = "1158") -> dict[str, bytes]:
    """Return the files of a region's folder by name."""
    return {path.name: path.read_bytes() for path in sorted((user.image_dir / region).glob("*"))}


def slot(hour: int) -> datetime:
    """Return a time on the first day of region 1158."""
    return datetime(2011, 2, 13) + timedelta(hours=hour)


def write_summary(folder: Path, name: str, issued: str, location: str) -> None:
    """Write a region summary with region 1158."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(
        f":Product: {name}\n:Issued: {issued}\nI.  Regions with Sunspots.  Locations Valid at 13/2400Z\n"
        f"Nmbr Location  Lo  Area  Z   LL   NN Mag Type\n1158 {location}   033  0080 Dsi  06   12 Beta-Gamma\n"
        "IA. H-alpha Plages without Spots.\nII. Regions Due to Return\n")


# ---------------------------------------------------------------------------- the script in a process of its own


def start_script(user: JSOC_Driver.UserDefinitions, *more: str) -> subprocess.Popen:
    """Start the script in the folder of its list."""
    arguments = ["--ar-list", "ARList.txt", "--image-dir", "images", "--email", user.email, "--base-url", user.base_url,
                 "--patch-pixels", str(PIXELS), *more]
    return subprocess.Popen([sys.executable, JSOC_Driver.__file__, *arguments], cwd=user.ar_list.parent, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, at most two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_look(jsoc: JsocSimulator) -> None:
    """Wait until somebody has looked at a request."""
    wait_until(lambda: any(arguments.get("op") == "exp_status" for _, arguments in jsoc.received))


MOMENTS = [("before", "submitting"), ("after", "submitting"), ("before", "requested"), ("after", "requested"),
           ("before", "downloaded"), ("after", "downloaded"), ("in", "put_in_place"), ("before", "done"),
           ("after", "done")]


def run_killed(user: JSOC_Driver.UserDefinitions, moment: str, target: str) -> int | None:
    """Run the driver in a process of its own that kills itself (-9) at a moment; return its exit code.

    The moment is "before" or "after" the ledger has the state `target`, or "in" the function `target` of download.py.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.jsoc_lab"])  # imports everything once
    process = context.Process(target=_run_until_killed, args=(user, moment, target))
    process.start()
    process.join(60)
    code = process.exitcode
    process.close()
    return code


def _run_until_killed(user: JSOC_Driver.UserDefinitions, moment: str, target: str) -> None:
    """Run the driver with a death in it."""
    def die(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "in":
        setattr(region_download, target, die)
    else:
        at_state(pytest.MonkeyPatch(), target, die, before=moment == "before")
    JSOC_Driver.main(user)
