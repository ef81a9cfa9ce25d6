"""Small data sets for the tests of stage 4, and how it is started on them."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from classifier_SVM.BuildMasterFeatureSet_mp import UserDefinitions
from general_code.images.magnetograms import gauss_to_grey, write_magnetogram, write_png

IMAGES = 300
SCRIPT = Path(__file__).resolve().parents[1] / "classifier_SVM" / "BuildMasterFeatureSet_mp.py"


def field(seed: int, shape: tuple[int, int] = (40, 44)) -> np.ndarray:
    """Return a random field in whole tenths of a gauss."""
    random = np.random.default_rng(seed)
    blocks = np.kron(random.normal(scale=200, size=(shape[0] // 8 + 1, shape[1] // 8 + 1)), np.ones((8, 8)))
    return np.rint(10 * (blocks[:shape[0], :shape[1]] + random.normal(scale=30, size=shape))) / 10


def image_name(number: int, ending: str = ".fits") -> str:
    """Return the name of an image."""
    clock = f"00{number // 60:02d}{number % 60:02d}"
    return f"{1000 + number % 3}_hmi.M_720s.20110215_{clock}_TAI.1.magnetogram{ending}"


def image_number(name: str) -> int:
    """Return the number of an image from its name."""
    return 60 * int(name[27:29]) + int(name[29:31])


def image_path(folder: Path, number: int, ending: str = ".fits") -> Path:
    """Return the path of an image of `make_dataset`, its folder made."""
    name = image_name(number, ending)
    (folder / "dataset" / name[:4]).mkdir(parents=True, exist_ok=True)
    return folder / "dataset" / name[:4] / name


def make_dataset(folder: Path, images: int, image_format: str = "fits") -> Path:
    """Write a data set and its label file; return its folder."""
    for number in range(images):
        path = image_path(folder, number, f".{image_format}")
        if image_format == "png":
            write_png(path, gauss_to_grey(field(number), 10.0))
        else:
            write_magnetogram(path, field(number))
    return label_dataset(folder, images, f".{image_format}")


def label_dataset(folder: Path, images: int, ending: str = ".fits") -> Path:
    """Write the label file of a data set, every second image flaring; return its folder."""
    (folder / "Labels.txt").write_text("".join(f"{image_name(number, ending)},{'C4.7' if number % 2 else '0'}\n"
                                               for number in range(images)))
    return folder


def link_dataset(folder: Path) -> Path:
    """Write a data set of 24 images under 300 names, enough to be killed on the way; return its folder."""
    make_dataset(folder, 24)
    for number in range(24, IMAGES):
        os.link(image_path(folder, number % 24), image_path(folder, number))
    return label_dataset(folder, IMAGES)


def settings(folder: Path, output: str = "features.csv", **others) -> UserDefinitions:
    """Return settings for a folder of `make_dataset`."""
    return UserDefinitions(**({"label_file": folder / "Labels.txt", "dataset_dir": folder / "dataset",
                               "feature_file": folder / "results" / output, "n_jobs": 1} | others))


def command(folder: Path, output: str, *others: str) -> list[str]:
    """Return the command line for a folder of `make_dataset`."""
    return [sys.executable, str(SCRIPT), "--label-file", str(folder / "Labels.txt"), "--dataset-dir",
            str(folder / "dataset"), "--feature-file", str(folder / "results" / output), *others]


def start(folder: Path, output: str, cwd: Path, *others: str) -> tuple[subprocess.Popen, Path]:
    """Start stage 4 image by image; return the process once some rows are computed, and the file that keeps them."""
    rows = folder / "results" / f"{output}.rows"
    process = subprocess.Popen(command(folder, output, "--chunk-files", "1", *others), cwd=cwd, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: rows.is_file() and rows.read_bytes().count(b"\n") > 4, process)
    return process, rows


def exclusions(feature_file: Path) -> dict[str, tuple[str, str]]:
    """Return reason and detail of each input excluded."""
    with Path(f"{feature_file}.excluded.csv").open(newline="") as file:
        return {row["input"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait until a condition holds; fail when the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)
