"""How long the features take, beside plain library calls and beside one `scipy.signal.convolve2d`, in one run.

Usage
    python tests/benchmarks/benchmark_features.py
    python tests/benchmarks/benchmark_features.py --images 300 --table-rows 100000

Figures are meant for idle cores: the best of several runs for an image, one run for the stage. Images are observed
ones (../shared/data) where they are at hand, else a simulated field.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import fitsio
import joblib
import numpy as np
import pandas as pd
import psutil
import scipy
from scipy.signal import convolve2d
from skimage.transform import resize

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))  # repository root
from classifier_SVM import FunctionsP3 as compiled
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, read_feature_table, write_feature_table
from general_code.dataset.pixels import ImageTask, screen_image
from general_code.images import magnetograms
from general_code.images.magnetograms import gauss_to_grey, read_magnetogram, read_pixels, write_magnetogram, write_png
from general_code.stage.run import Settings, command_line
from tests import plain_features as plain

## User Definitions


class UserDefinitions(Settings):
    images: int = 1500  # number of 600x600 files that the stage is timed on, from 3
    table_rows: int = 950_047  # rows of the table that is written and read
    repeats: int = 15  # runs of each function, of which the best counts


## End User Definitions

SCRIPT = REPOSITORY / "classifier_SVM" / "BuildMasterFeatureSet_mp.py"
SHARED = REPOSITORY.parent / "shared" / "data" / "active_regions"
START = ("import classifier_SVM.BuildMasterFeatureSet_mp\n"
         "from classifier_SVM.FunctionsP3 import compile_kernels; compile_kernels()")


def main(user: UserDefinitions) -> None:
    """Print the tables."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; scipy {scipy.__version__}, numpy {np.__version__}")
    fields = square_fields()
    compiled.compile_kernels()
    print_features(fields[0], user.repeats)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_dataset(folder, fields, user.images)
        print_decoding(folder, paths, fields[0], user.repeats)
        print_stage(folder, paths, fields, user.repeats)
        print_table(folder, user.table_rows)


def square_fields() -> list[np.ndarray]:
    """Return fields of 600x600 pixels [G]."""
    fields = [read_magnetogram(path) for path in sorted(SHARED.glob("*/*.fits"))] if SHARED.is_dir() else []
    fields = [field for field in fields if field.shape == (600, 600) and np.isfinite(field).all()]
    if fields:
        print(f"{len(fields)} observed fields of 600x600 pixels")
        return fields
    print("a simulated field of 600x600 pixels")
    random = np.random.default_rng(0)
    coarse = resize(random.normal(scale=400, size=(40, 40)), (600, 600), order=3)
    return [np.rint(10 * (coarse + random.normal(scale=10, size=(600, 600)))) / 10]


def best(function: Callable, repeats: int) -> float:
    """Return the shortest time of some runs [ms]."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


# ---------------------------------------------------------------------------- one image


def print_features(field: np.ndarray, repeats: int) -> None:
    """Print ms an image for each group of features, compiled and plain, and the share of one convolution."""
    small = gauss_to_grey(resize(field, (224, 224), order=1, anti_aliasing=True), 25.0) - 128.0
    print(f"\n{'ms an image':32s}{'600x600':>10s}{'plain':>10s}{'224x224':>10s}{'plain':>10s}")
    columns = [column for image in (field, small) for column in (compiled_times(image, repeats), plain_times(image))]
    for group in columns[0]:
        print(f"{group:32s}" + "".join(f"{column[group]:10.2f}" for column in columns))
    convolutions = [best(lambda image=image: convolve2d(image, np.full((10, 10), 0.01), mode="same"), repeats)
                    for image in (field, small)]
    print(f"{'scipy.signal.convolve2d, 10x10':32s}{convolutions[0]:10.2f}{'':10s}{convolutions[1]:10.2f}")
    shares = [columns[2 * n]["all 29"] / convolutions[n] for n in range(2)]
    print(f"{'all 29 / convolve2d':32s}{shares[0]:10.3f}{'':10s}{shares[1]:10.3f}")
    as_read = compiled.Pixels(np.rint(10 * field).astype(np.int32), 0)
    share = best(lambda: compiled.image_features(as_read), repeats) / convolutions[0]
    print(f"{'  of whole tenths as read':32s}{share:10.3f}     (to reach 0.05)")


def compiled_times(image: np.ndarray, repeats: int) -> dict[str, float]:
    """Return ms of each group of compiled features."""
    pixels, _, smoothable = compiled._prepare(image)
    return {"checks, whole numbers": best(lambda: compiled._prepare(image), repeats),
            "1-7 gradient": best(lambda: compiled.gradient_features(pixels), repeats),
            "8-20 neutral line": best(lambda: compiled.neutral_line_features(smoothable, pixels), repeats),
            "21-25 wavelets": best(lambda: compiled.wavelet_features(pixels), repeats),
            "26-29 flux": best(lambda: compiled.flux_features(pixels), repeats),
            "all 29": best(lambda: compiled.image_features(image), repeats)}


def plain_times(image: np.ndarray) -> dict[str, float]:
    """Return ms of each group of features by plain library calls."""
    magnitude = plain.gradient_magnitude(image)
    return {"checks, whole numbers": float("nan"),
            "1-7 gradient": best(lambda: plain.gradient_features(plain.gradient_magnitude(image)), 3),
            "8-20 neutral line": best(lambda: plain.neutral_line_features(image, magnitude), 3),
            "21-25 wavelets": best(lambda: plain.wavelet_features(image), 3),
            "26-29 flux": best(lambda: plain.flux_features(image), 3),
            "all 29": best(lambda: plain.image_features(image), 3)}


# ---------------------------------------------------------------------------- files and the stage


def make_dataset(folder: Path, fields: list[np.ndarray], images: int) -> list[Path]:
    """Write the fields under many names; return the paths."""
    (folder / "dataset" / "1000").mkdir(parents=True)
    sources = [folder / f"{number}.fits" for number in range(len(fields))]
    for source, field in zip(sources, fields, strict=True):
        write_magnetogram(source, field)
    clocks = [f"{n // 3600:02d}{n // 60 % 60:02d}{n % 60:02d}" for n in range(images)]
    paths = [folder / "dataset" / "1000" / f"1000_hmi.M_720s.20110215_{clock}_TAI.1.magnetogram.fits"
             for clock in clocks]
    for number, path in enumerate(paths):
        shutil.copy(sources[number % len(sources)], path)
    return paths


def print_decoding(folder: Path, paths: list[Path], field: np.ndarray, repeats: int) -> None:
    """Print ms to read one file, and how many a second stage 3 screens beside what the general libraries allow."""
    write_png(folder / "small.png", gauss_to_grey(resize(field, (224, 224), order=1, anti_aliasing=True), 25.0))
    times = {"read FITS 600x600 to int32 [ms]": best(lambda: read_pixels(paths[0]), repeats),
             "the same by fitsio [ms]": best(lambda: fitsio.FITS(paths[0])[1].read(), repeats)}
    with patch.multiple(magnetograms, _read_fits_export=None, fitsio=None):
        times["the same by astropy [ms]"] = best(lambda: read_pixels(paths[0]), repeats)
    times["read PNG 224x224 [ms]"] = best(lambda: read_pixels(folder / "small.png"), repeats)
    times["screen an image in stage 3 [ms]"] = best(lambda: screen_image(ImageTask(paths[0])), repeats)
    with patch.multiple(magnetograms, _read_fits_export=None):
        times["the same without the decoder [ms]"] = best(lambda: screen_image(ImageTask(paths[0])), repeats)
    print()
    for name, time_ms in times.items():
        print(f"{name:34s}{time_ms:8.2f}")
    ours, theirs = list(times.values())[:2]
    print(f"{'read, of fitsio':34s}{ours / theirs:8.3f}     (to reach .15)")


def print_stage(folder: Path, paths: list[Path], fields: list[np.ndarray], repeats: int) -> None:
    """Print rates of the whole stage on 1 and 2 workers, beside what decoding alone reaches.

    The rate without start-up comes from two runs, of all the files and of a third of them: what both spend alike (start
    of the processes, imports, kernels from disk) drops out.
    """
    start = min(run(sys.executable, "-c", START)[0] for _ in range(3))
    decoding = [decode_rate(paths, jobs) for jobs in (1, 2)]
    part = max(len(paths) // 3, 1)
    few, many = ([time_stage(folder, paths[:images], jobs) for jobs in (1, 2)] for images in (part, len(paths)))
    wall = [len(paths) / seconds for seconds, _ in many]
    rates = [(len(paths) - part) / (all_files[0] - some[0]) for all_files, some in zip(many, few, strict=True)]
    as_read = [compiled.Pixels(np.rint(10 * field).astype(np.int32), 0) for field in fields]
    kernels = np.mean([best(lambda image=image: compiled.image_features(image), repeats) for image in as_read]) / 1e3
    tables = [(folder / f"{len(paths)}_{jobs}.csv").read_bytes() for jobs in (1, 2)]
    print(f"{'start-up, kernels from disk [s]':32s}{start:10.2f}     (to reach 3)")
    print(f"\n{len(paths)} FITS files of 600x600{'1 worker':>18s}{'2 workers':>10s}{'share':>8s}")
    for name, pair in (("decoding alone [images/s]", decoding), ("the stage, wall [images/s]", wall),
                       ("  without start-up [images/s]", rates)):
        print(f"{name:32s}{pair[0]:10.1f}{pair[1]:10.1f}{pair[1] / (2 * pair[0]):8.2f}")
    for name, pair in (("wall", wall), ("without start-up", rates)):
        print(f"{f'stage / (decoding + kernels), {name}':48s}{1 / pair[0] / (1 / decoding[0] + kernels):6.2f}"
              "     (to reach 1.15)")
        print(f"{f'stage, 2 workers / 1 worker, {name}':48s}{pair[1] / pair[0]:6.2f}     (to reach 1.8, or "
              f"{0.95 * decoding[1] / decoding[0]:.2f}: 0.95 of decoding)")
    print(f"{'largest process [MB]':32s}{many[0][1]:10.0f}{many[1][1]:10.0f}     (to reach 400)")
    print(f"{'equal bytes':32s}{'yes' if tables[0] == tables[1] else 'NO':>10s}")


def time_stage(folder: Path, paths: list[Path], jobs: int) -> tuple[float, float]:
    """Run the stage on some of the files; return its time [s] and the size of its largest process [MB]."""
    labels = folder / f"Labels_{len(paths)}.txt"
    labels.write_text("".join(f"{path.name},0\n" for path in paths))
    return run(sys.executable, str(SCRIPT), "--label-file", str(labels), "--dataset-dir", str(folder / "dataset"),
               "--feature-file", str(folder / f"{len(paths)}_{jobs}.csv"), "--n-jobs", str(jobs))


def decode_rate(paths: list[Path], jobs: int) -> float:
    """Return how many files a second are decoded, on workers that have read one file before."""
    with joblib.Parallel(n_jobs=jobs) as workers:
        workers(joblib.delayed(decode)(paths[:1]) for _ in range(jobs))
        start = time.perf_counter()
        workers(joblib.delayed(decode)(paths[k::8]) for k in range(8))
    return len(paths) / (time.perf_counter() - start)


def decode(paths: list[Path]) -> None:
    """Read files."""
    for path in paths:
        read_pixels(path)


def run(*command: str) -> tuple[float, float]:
    """Run a command; return its time [s] and the size of its largest process [MB]."""
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            peak = max(peak, *(member.memory_info().rss / 1e6 for member in family))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - start, peak


def print_table(folder: Path, rows: int) -> None:
    """Print the time to write and to read a table of features."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.lognormal(5, 3, (rows, 29)), columns=list(FEATURE_NAMES))
    table["class"], table["flare class"] = 1, "C4.7"
    table["filename"] = [f"1000_hmi.M_720s.{number:015d}_TAI.1.magnetogram.fits" for number in range(rows)]
    writing = best(lambda: write_feature_table(folder / "table.csv", table), 1) / 1e3
    reading = best(lambda: read_feature_table(folder / "table.csv"), 2) / 1e3
    print(f"\ntable of {rows:,} x 32: {writing:.1f} s to write, {reading:.1f} s to read (to reach 10)")


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
