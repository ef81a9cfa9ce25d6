"""Time and memory of the labels of the whole archive, and the shares of flaring images beside the published ones.

Names of all 12-minute images of the published region list (1.4 million) go through generate_dataset.py as a text list,
on one core, with the region summaries and event reports of 2010-2018 beside the repository.

Usage
    python tests/benchmarks/benchmark_labels.py
    python tests/benchmarks/benchmark_labels.py --as-published
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
SPLITS = {"training": "List_of_AR_in_Train_Data_by_AR.csv", "validation": "List_of_AR_in_Validation_data_by_AR.csv",
          "test": "List_of_AR_in_Test_Data_by_AR.csv"}
PUBLISHED = {"training": (1256, 759357, 149249, 23395), "validation": (157, 95933, 19791, 2816),
             "test": (157, 94757, 21542, 3312)}  # regions, images, >= C1.0, >= M1.0


def write_names(region_list: Path, path: Path, every: int = 1) -> int:
    """Write the names of all (or every n-th) 12-minute images of a region list, 120 X + 1 a region; return how many."""
    number = 0
    with path.open("w") as file:
        for line in region_list.read_text().split():
            region, first, days = line.split(",")
            start = np.datetime64(f"{first[:4]}-{first[4:6]}-{first[6:]}", "s")
            times = start + np.arange(0, 120 * int(days) + 1, every) * np.timedelta64(720, "s")
            for text in np.datetime_as_string(times).tolist():
                stamp = text.replace("-", "").replace(":", "").replace("T", "_")
                file.write(f"{region}/hmi.M_720s.{stamp}_TAI.1.magnetogram.fits\n")
            number += len(times)
    return number


def split_table(label_file: Path, published_dir: Path) -> pd.DataFrame:
    """Return regions, images and shares of flaring images by published split, beside the published numbers."""
    labels = pd.read_csv(label_file, names=["name", "label"], dtype="str")
    labels["region"] = labels["name"].str[:4]
    letter = labels["label"].str[0]
    labels["flare"], labels["strong"] = letter != "0", letter.isin(["M", "X"])
    rows = []
    for split, name in SPLITS.items():
        regions = (published_dir / name).read_text().split()
        chosen = labels[labels["region"].isin(regions)]
        n_regions, n_images, n_flare, n_strong = PUBLISHED[split]
        rows.append((split, chosen["region"].nunique(), n_regions, len(chosen), n_images, chosen["flare"].sum(),
                     n_flare, chosen["flare"].mean(), n_flare / n_images, chosen["strong"].sum(), n_strong,
                     chosen["strong"].mean(), n_strong / n_images))
    columns = ["split", "regions", "published", "images", "published", ">= C1.0", "published", "share C", "published",
               ">= M1.0", "published", "share M", "published"]
    return pd.DataFrame(rows, columns=columns)


def run_stage(names: Path, archive: Path, out: Path, *arguments: str) -> tuple[float, float, float]:
    """Run the stage on a text list, and return wall time [s], CPU time [s] and peak memory [GB]."""
    script = REPOSITORY / "general_code" / "generate_dataset.py"
    start = time.monotonic()
    process = subprocess.Popen([
        sys.executable, script, "--image-dir", names, "--srs-dir", archive / "SRS", "--events-dir", archive / "Events",
        "--event-list", out / "eventList.txt", "--dataset-dir", out / "dataset", "--label-file", out / "Labels.txt",
        "--n-jobs", "1", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("the stage failed")
    peak = usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, peak


def main() -> None:
    """Print the tables."""
    if not SHARED_DATA.is_dir():
        raise SystemExit("the observed data (../shared/data) is not here")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with tarfile.open(SHARED_DATA / "noaa_2010-2018.tar.xz") as archive:
            archive.extractall(work, filter="data")
        number = write_names(SHARED_DATA / "published" / "ARList.txt", work / "names.txt")
        print(f"{number:,} names, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else '?'} cores, "
              "one used")
        for title in ("first run, makes the event list", "second run"):
            wall, cpu, peak = run_stage(work / "names.txt", work, work / "out", *sys.argv[1:])
            print(f"{title:<34} {wall:6.1f} s wall {cpu:6.1f} s CPU {peak:6.2f} GB")
        print(split_table(work / "out" / "Labels.txt", SHARED_DATA / "published").to_string(
            index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
