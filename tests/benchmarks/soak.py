"""Kill the stages, damage what they read and remember, and count what goes wrong. Run by hand; not part of the tests.

A small simulated archive is taken through stages 3, 4, 5, the activity features, the comparison and a forecast once,
undisturbed. Then, in copies of that folder, until the time is up, one of:

    kill     a stage starts on what it had the first time, is killed (SIGKILL, its whole process group) at random
             moments up to three times, and started again: the bytes of all outputs have to be those of the first time
    fault    a file that a stage reads or has written is damaged or replaced by something else, and the stage started:
             no traceback, no hang, and either the bytes of the first time or a line that names the file
    fuzz     the readers of tests/test_fuzz.py get thousands of damaged files: ValueError or UserError, or a result

Counts are printed at the end, and the status is 1 when one of them is not 0. Stages are started in copies of this
process, which has their modules loaded: that is several times as fast as a new Python.

Usage
    python tests/benchmarks/soak.py --minutes 10 --seed 0
"""

import argparse
import importlib
import io
import json
import os
import random
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import redirect_stderr, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # repository root

from classifier_SVM.FunctionsP3 import compile_kernels
from general_code.stage.files import UserError
from tests.test_fuzz import READERS, sample_of

LIBRARIES = ("matplotlib.backends.backend_agg", "sklearn.linear_model", "sklearn.ensemble", "skops.io", "scipy.stats",
             "pyarrow.csv", "astropy.io.fits", "joblib")
LONGEST_S = 120  # a stage that takes longer hangs: undisturbed the longest takes a few seconds
MODEL = "results/SVM/ARClassifierStats_weighted_trainvaltest_linear_model.skops"
SPLIT = {"test_percent": 25, "validation_percent": 25}
STAGES = {  # in order: script and its settings
    "simulate": ("general_code.simulate_archive", {"archive_dir": "data", "n_regions": 8, "n_days": 8,
                                                   "cadence_hours": 24}),
    "list": ("general_code.SRS_Parse", {"first_date": "20300101"}),
    "dataset": ("general_code.generate_dataset", {}),
    "features": ("classifier_SVM.BuildMasterFeatureSet_mp", {"chunk_files": 2}),
    "classifier": ("classifier_SVM.AR_Classifier_weighted", SPLIT),
    "activity": ("classifier_SVM.BuildActivityFeatures", {}),
    "with activity": ("classifier_SVM.AR_Classifier_weighted", SPLIT | {
        "extra_feature_file": "results/activity_features.csv", "suffix": "_both", "class_type": "logistic"}),
    "compare": ("classifier_SVM.Compare_Forecasts", {"flare_sizes": ["C1.0"], "predictions": [
        "images=results/SVM/predictions_linear.csv", "both=results/SVM/predictions_logistic_both.csv"]}),
    "forecast": ("classifier_SVM.Forecast_AR", {"model": MODEL, "images": ["data/dataset"], "srs_dir": "data/SRS"}),
}
TRIED = tuple(STAGES)[2:]
RECORDS = (".json", ".rows", ".log", ".excluded.csv", ".lock", "nan_counts.txt")
NOT_COMPARED = (".json", ".log", ".lock", ".rows")  # they hold times; rows in the order in which they were done
IMAGES = ("data/active_regions", "data/dataset")
DONE = ("kill trials", "kills", "fault trials", "fuzz trials", "readings")
WRONG = ("tracebacks", "hangs", "ends without a word", "failures after a kill", "differing bytes", "wrong results")


def run_stage(name: str, folder: Path, n_jobs: int, kill_after: float = LONGEST_S) -> tuple[int | None, str]:
    """Run a stage in a process group that is killed after some seconds; return status (None: killed) and output."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _run_in_child(name, folder, n_jobs, output.fileno())
        status = None
        while status is None and time.monotonic() - start < kill_after:
            ended, code = os.waitpid(child, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if ended else None
            time.sleep(0.01)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
        if status is None:
            os.waitpid(child, 0)
        output.seek(0)
        return status, output.read().decode(errors="replace")


def _run_in_child(name: str, folder: Path, n_jobs: int, output: int) -> None:
    """Do what a new Python would do with a script, and leave."""
    status = 70
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        module, settings = importlib.import_module(STAGES[name][0]), STAGES[name][1]
        sys.argv = [module.__file__]
        jobs = {"n_jobs": n_jobs} if "n_jobs" in module.UserDefinitions.model_fields else {}
        module.main(module.UserDefinitions(**settings | jobs))
        status = 0
    except (SystemExit, UserError) as end:
        print(end, file=sys.stderr)
        status = end.code if isinstance(getattr(end, "code", None), int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def copy(source: Path, target: Path) -> None:
    """Copy a work folder; images, which no stage changes, as links."""
    for path in sorted(source.rglob("*")):
        inside = target / path.relative_to(source)
        if path.is_dir():
            inside.mkdir(parents=True, exist_ok=True)
        elif str(path.relative_to(source)).startswith(IMAGES):
            os.link(path, inside)
        else:
            shutil.copy2(path, inside)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the outputs in a folder that have to have the same bytes every time."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
            and not path.is_symlink() and not path.name.endswith(NOT_COMPARED) and "active_regions" not in path.parts}


def difference(found: dict[str, bytes], expected: dict[str, bytes], skipped: str = "") -> str:
    """Return the first name whose bytes differ, or that one of the two lacks."""
    names = sorted((expected.keys() | found.keys()) - {skipped})
    return next((name for name in names if found.get(name) != expected.get(name)), "")


def damaged(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return a kind of damage, and bytes that have it."""
    place = draw.randrange(len(data) + 1)
    kinds = {
        "cut": lambda: data[:place],
        "flipped": lambda: bytes(b ^ (draw.random() < 0.01) * draw.randrange(1, 256) for b in data[:300_000]),
        "empty": lambda: b"", "zeros": lambda: data[:place] + bytes(100) + data[place:],
        "not UTF-8": lambda: data[:place] + b"\xff\xfe\x80" + data[place:],
        "long field": lambda: data[:place] + b"x" * 200_000 + data[place:],
        "another table": lambda: b"a,b\n" * 1000, "null": lambda: b"null", "a list": lambda: b"[[], {}]",
        "a huge number": lambda: b"9" * 5000, "not finite": lambda: b'{"settings": {"seed": NaN}, "counts": 1e999}',
        "deep": lambda: b"[" * 100_000, "deep table": lambda: b'{"counts":' * 50_000,
        "other types": lambda: _other_types(data, draw), "controls": lambda: data[:place] + b"\x1b[2J\r" + data[place:]}
    kind = draw.choice(list(kinds))
    return kind, kinds[kind]()


def _other_types(data: bytes, draw: random.Random) -> bytes:
    """Return a JSON text with values of other types, or lines with fields of other tables."""

    def change(value: object) -> object:
        if draw.random() < 0.2:
            return draw.choice([None, [], {}, "text", -1, 10**400, 1e300, True, ["a", 1], {"a": {}}, "\ud800", [[[]]]])
        if isinstance(value, dict):
            return {key: change(inner) for key, inner in value.items()}
        return [change(inner) for inner in value] if isinstance(value, list) else value

    with suppress(ValueError):
        return json.dumps(change(json.loads(data))).encode()
    return b"\n".join(draw.choice([line, line, line, b",".join(line.split(b",")[::-1]), b"nan,inf,-1,1e999,,"])
                      for line in data[:100_000].split(b"\n"))


def replace(path: Path, draw: random.Random) -> str:
    """Put something that is not a regular file into a file's place; return what."""
    path.unlink()
    kinds = {"nothing": lambda: None, "folder": path.mkdir, "pipe": lambda: os.mkfifo(path),
             "socket": lambda: os.mknod(path, stat.S_IFSOCK | 0o600),
             "loop of links": lambda: path.symlink_to(path.name), "device": lambda: path.symlink_to("/dev/zero")}
    kind = draw.choice(list(kinds))
    kinds[kind]()
    return kind


class Soak:
    """The folders, the random numbers and the counts of one run."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw, self.counts = folder, random.Random(seed), Counter()
        for name in (*LIBRARIES, *(module for module, _ in STAGES.values())):
            importlib.import_module(name)
        compile_kernels(print)  # once, and not in every copy of this process
        self.before = {}  # folder before each stage, and the bytes and seconds after it
        work = folder / "first"
        work.mkdir(parents=True)
        for name in STAGES:
            copy(work, folder / name)
            start = time.monotonic()
            status, text = run_stage(name, work, n_jobs=1)
            if status != 0:
                raise SystemExit(f"the undisturbed run failed at {name}: {text[-2000:]}")
            self.before[name] = folder / name, contents(work), time.monotonic() - start
        self.work = work

    def note(self, what: str, trial: str, text: str = "") -> None:
        """Count something that is wrong, and print it."""
        self.counts[what] += 1
        print(f"{what.upper()}: {trial}\n    {text[-1500:].strip()}", flush=True)

    def check(self, status: int | None, text: str, trial: str) -> bool:
        """Count tracebacks, hangs and odd ends; return whether there was none."""
        kind = "tracebacks" if "Traceback (most recent" in text or status not in (0, 1, None) else ""
        kind = kind or ("hangs" if status is None else "ends without a word" if not text.strip() else "")
        if kind:
            self.note(kind, trial, text)
        return not kind

    def kill(self) -> None:
        """Kill a stage on its way, and let it finish."""
        name, jobs = self.draw.choice(TRIED), self.draw.choice((1, 1, 2))
        before, expected, seconds = self.before[name]
        work = self.folder / "killed"
        copy(before, work)
        for moment in (moments := [self.draw.uniform(0, seconds) for _ in range(self.draw.randint(1, 3))]):
            self.counts["kills"] += run_stage(name, work, jobs, kill_after=moment)[0] is None
        status, text = run_stage(name, work, jobs)
        trial = f"{name}, {jobs} jobs, killed after {', '.join(f'{moment:.2f} s' for moment in moments)}"
        if self.check(status, text, trial):
            if status:
                self.note("failures after a kill", trial, text)
            elif differing := difference(contents(work), expected):
                self.note("differing bytes", f"{trial}: {differing}", text)

    def fault(self) -> None:
        """Damage a file and start a stage."""
        name, work = self.draw.choice(TRIED), self.folder / "damaged"
        copy(self.work, work)
        files = sorted(path for path in work.rglob("*") if path.is_file())
        few = [path for path in files if path.parent.name in ("data", "results", "SVM")]  # no images and reports
        path = self.draw.choice(few if self.draw.random() < 0.8 else files)
        shown = str(path.relative_to(work))
        if self.draw.random() < 0.3:
            kind = replace(path, self.draw)
        else:
            kind, data = damaged(path.read_bytes(), self.draw)
            path.unlink()  # it may be a link to the image of all copies
            path.write_bytes(data)
        status, text = run_stage(name, work, n_jobs=1)
        trial = f"{name} with {shown}: {kind}"
        sound = self.check(status, text, trial) and status == 0
        differing = difference(contents(work), contents(self.work), shown) if sound else ""
        notes = text + "".join(file.read_text(errors="replace") for file in work.rglob("*.excluded.csv")
                               if file.is_file() and file != path)
        plausible = kind in ("cut", "flipped", "other types") and not shown.endswith(RECORDS)
        if differing and path.name not in notes and not plausible:
            self.note("wrong results", f"{trial}: {differing} differs", text)

    def fuzz(self) -> None:
        """Give a reader damaged files for a while."""
        name = self.draw.choice(list(READERS))
        place = self.folder / "fuzzed"
        place.mkdir(exist_ok=True)
        sample = sample_of(name, place)
        for _ in range(100):
            kind, data = damaged(sample, self.draw)
            (place / name).write_bytes(data)
            self.counts["readings"] += 1
            start = time.monotonic()
            try:
                with redirect_stderr(io.StringIO()), suppress(UserError, ValueError):
                    READERS[name][1](place / name)
            except Exception:
                self.note("tracebacks", f"reader of {name}: {kind}", traceback.format_exc())
            if time.monotonic() - start > 10:
                self.note("hangs", f"reader of {name}: {kind}")


def main() -> None:
    """Run until the time is up."""
    parser = argparse.ArgumentParser(description="Kill and damage stages; see the head of this file.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("kill", "fault", "fuzz"), help="one kind of trial alone")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), options.seed)
        times = (f"{name} {seconds:.1f} s" for name, (*_, seconds) in soak.before.items())
        print(f"Undisturbed: {chr(44).join(times)}", flush=True)
        end = time.monotonic() + 60 * options.minutes
        while time.monotonic() < end:
            trial = options.only or soak.draw.choice(("kill", "fault", "fault", "fuzz"))
            soak.counts[f"{trial} trials"] += 1
            getattr(soak, trial)()
            for name in ("killed", "damaged"):
                shutil.rmtree(Path(folder, name), ignore_errors=True)
    for name in DONE + WRONG:
        print(f"{soak.counts[name]:>8,}  {name}")
    raise SystemExit(int(any(soak.counts[name] for name in WRONG)))


if __name__ == "__main__":
    main()
