"""What the tests of the download share: a simulated JSOC with two small regions, settings, the driver in one call."""

import csv
import dataclasses
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

from general_code import JSOC_Driver, region_download
from general_code.download_ledger import DownloadLedger, LedgerLine
from general_code.jsoc_faults import Patience
from general_code.jsoc_service import JsocService
from general_code.simulate_jsoc import JsocSimulator
from general_code.simulated_faults import Faults
from general_code.simulated_series import SimulatedSeries

os.environ["no_proxy"] = "127.0.0.1,localhost"  # a proxy of the machine knows nothing of the simulator

PIXELS = 24
PASSAGES = {"1158": (date(2011, 2, 13), 1), "1429": (date(2012, 3, 3), 1)}
IMAGES_A_REGION = 7  # one every four hours, both midnights
# short pauses, but limits that a busy machine does not reach; tests of a limit set their own
QUICK = Patience(poll_seconds=0.02, max_attempts=3, outage_seconds=60, request_seconds=60, foreign_seconds=60,
                 timeout_seconds=60)


def simulator(faults: Faults | None = None, **series) -> JsocSimulator:
    """Return a simulated JSOC with the regions 1158 and 1429, to be entered."""
    archive = SimulatedSeries(**({"passages": PASSAGES, "cadence": timedelta(hours=4)} | series))
    return JsocSimulator(archive, faults or Faults(delay_seconds=0.0), full_disk_pixels=64)


def settings(folder: Path, url: str, **changes) -> JSOC_Driver.UserDefinitions:
    """Return settings for a run in a folder, with the list of one region."""
    ar_list = folder / "ARList.txt"
    if not ar_list.exists():
        ar_list.write_text("1158,20110213,1\n")
    common = {"ar_list": ar_list, "image_dir": folder / "images", "email": "me@inst.edu", "base_url": url,
              "srs_dir": Path(""), "patch_pixels": PIXELS, "poll_seconds": 0.02, "max_attempts": 3}
    return JSOC_Driver.UserDefinitions(**(common | changes))


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port of this machine that nobody answers at, and nobody else takes meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listening
        yield taken.getsockname()[1]


def be_quick(monkeypatch, **changes) -> None:
    """Let the driver's patience be counted in seconds."""
    patience = dataclasses.replace(QUICK, **changes)

    def open_service(user, max_attempts):
        return JsocService(user.base_url, user.email, dataclasses.replace(patience, max_attempts=max_attempts))

    monkeypatch.setattr(JSOC_Driver, "open_service", open_service)


def at_state(monkeypatch, state: str, act: Callable[[], object]) -> None:
    """Let something happen when a region of this process first gets a state in the ledger."""
    update, waiting = DownloadLedger.update, [act]

    def watched_update(self, region, **changes):
        line = update(self, region, **changes)
        if changes.get("state") == state and waiting:
            waiting.pop()()
        return line

    monkeypatch.setattr(DownloadLedger, "update", watched_update)


def ledger_line(user: JSOC_Driver.UserDefinitions, region: str = "1158") -> LedgerLine:
    """Return a region's line of the ledger on disk."""
    return DownloadLedger(user.image_dir / "download_ledger.csv")[region]


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


# ---------------------------------------------------------------------------- kill -9

MOMENTS = [("before", "submitting"), ("after", "submitting"), ("before", "requested"), ("after", "requested"),
           ("in", "download_tar"), ("before", "downloaded"), ("after", "downloaded"), ("in", "put_in_place"),
           ("in", "missing_records"), ("before", "done"), ("after", "done")]


def run_killed(user: JSOC_Driver.UserDefinitions, moment: str, target: str) -> int | None:
    """Run the driver in a process of its own that kills itself (-9) at a moment.

    Parameters
    ----------
    user : UserDefinitions
        Of the run.
    moment, target : str
        "before" or "after" the ledger has a state; "in" a function of region_download.

    Returns
    -------
    int or None
        The exit code.
    """
    forkserver = "forkserver" in multiprocessing.get_all_start_methods()  # imports everything once
    context = multiprocessing.get_context("forkserver" if forkserver else "spawn")
    if forkserver:
        context.set_forkserver_preload(["jsoc_lab"])
    process = context.Process(target=_run_until_killed, args=(user, moment, target))
    process.start()
    process.join(60)
    code = process.exitcode
    if user.route == "browser":
        os.killpg(process.pid, signal.SIGKILL)  # its browser, which kill -9 has left behind
    process.close()
    return code


def _run_until_killed(user: JSOC_Driver.UserDefinitions, moment: str, target: str) -> None:
    """Run the driver with a death in it."""
    os.setsid()
    update = DownloadLedger.update

    def die(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_update(self, region, **changes):
        hit = changes.get("state") == target
        if hit and moment == "before":
            die()
        line = update(self, region, **changes)
        if hit and moment == "after":
            die()
        return line

    DownloadLedger.update = dying_update
    if moment == "in":
        setattr(region_download, target, die)
    JSOC_Driver.main(user)
