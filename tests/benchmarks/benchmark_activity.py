"""Time and memory of the activity features of the whole archive, on one core; limit 60 s without the writing.

All 12-minute stamps of the published region list (1.4 million), with the region summaries and event reports of
2010-2018 and the published event list beside the repository.

Usage
    python tests/benchmarks/benchmark_activity.py
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_NUM_THREADS"), "1")

import resource
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # repository root
sys.path.insert(0, str(Path(__file__).resolve().parent))

from benchmark_labels import SHARED_DATA, write_names

from classifier_SVM import BuildActivityFeatures as build
from classifier_SVM.activity.features import activity_features, activity_names

LIMIT_S = 60.0


def main() -> None:
    """Time every step and print a table; exit with 1 when the limit is passed."""
    if not SHARED_DATA.is_dir():
        sys.exit(f"benchmark_activity: the observed data is not at {SHARED_DATA}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    run = SimpleNamespace(report=lambda text: None, exclude=lambda *row: None, exclude_all=lambda rows: None,
                          count=lambda *pair: None, counts={})
    seconds = {}

    def timed(step, function, *arguments):
        start = time.perf_counter(), time.process_time()
        result = function(*arguments)
        seconds[step] = time.perf_counter() - start[0], time.process_time() - start[1]
        return result

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with tarfile.open(SHARED_DATA / "noaa_2010-2018.tar.xz") as tar:
            tar.extractall(place, filter="data")
        number = write_names(SHARED_DATA / "published" / "ARList.txt", place / "names.txt")
        user = build.UserDefinitions(events_dir=place / "Events",
                                     event_list=SHARED_DATA / "published" / "eventList.txt")
        images = timed("read the names", build.read_image_names, place / "names.txt", run)
        summaries = timed("read the summaries", build.read_summary_archive, place / "SRS")
        flares, _ = timed("read the flares", build.read_flares, user.events_dir, user.event_list,
                       user.event_list_delay_minutes, run, images["time"].to_numpy())
        table = timed("compute", activity_features, images["region"], images["time"].to_numpy(), flares,
                      summaries.table, summaries.days)
        timed("write", build.write_activity_table, place / "activity.csv", images["filename"], table)
    report(number, len(activity_names()), seconds)


def report(number: int, columns: int, seconds: dict[str, tuple[float, float]]) -> None:
    """Print the table."""
    totals = [sum(pair[i] for step, pair in seconds.items() if step != "write") for i in (0, 1)]
    print(f"{number:,} images, {columns} activity features, one core")
    print(f"{'step':<22}{'wall [s]':>10}{'CPU [s]':>10}")
    for step, (wall, cpu) in seconds.items():
        print(f"{step:<22}{wall:>10.1f}{cpu:>10.1f}")
    print(f"{'all but the writing':<22}{totals[0]:>10.1f}{totals[1]:>10.1f}   limit {LIMIT_S:.0f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")
    if totals[1] > LIMIT_S:  # CPU time: what an idle core needs
        sys.exit("benchmark_activity: over the limit")


if __name__ == "__main__":
    main()
