"""Small data sets for the tests of stage 4, and how it is started on them."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from classifier_SVM.BuildMasterFeatureSet_mp import UserDefinitions
from general_code.magnetograms import gauss_to_grey, write_magnetogram, write_png

IMAGES = 300
SCRIPT = Path(__file__).resolve().parents[1] / "classifier_SVM" / "BuildMasterFeatureSet_mp.py"


def field(seed: int, shape: tuple[int, int] = (40, 44)) -> np.ndarray:
    """Return a random field in whole tenths of a gauss."""
    random = np.random.default_rng(seed)
    blocks = np.kron(random.normal(scale=200, size=(shape[0] // 8 + 1, shape[1] // 8 + 1)), np.ones((8, 8)))
    return np.rint(10 * (blocks[:shape[0], :shape[1]] + random.normal(scale=30, size=shape))) / 10


def image_name(number: int, image_format: str = "fits") -> str:
    """Return the name of an image."""
    return f"{1000 + number % 3}_hmi.M_720s.20110215_{number:06d}_TAI.1.magnetogram.{image_format}"


def make_dataset(folder: Path, images: int, image_format: str = "fits") -> Path:
    """Write a data set and its label file; return its folder."""
    lines = []
    for number in range(images):
        name = image_name(number, image_format)
        path = folder / "dataset" / name[:4] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if image_format == "png":
            write_png(path, gauss_to_grey(field(number), 10.0))
        else:
            write_magnetogram(path, field(number))
        lines.append(f"{name},{'C4.7' if number % 2 else '0'}\n")
    (folder / "Labels.txt").write_text("".join(lines))
    return folder


def link_dataset(folder: Path) -> Path:
    """Write a data set of 24 images under 300 names, enough to be killed on the way; return its folder."""
    make_dataset(folder, 24)
    lines = []
    for number in range(IMAGES):
        name, source = image_name(number), image_name(number % 24)
        path = folder / "dataset" / name[:4] / name
        if not path.exists():
            os.link(folder / "dataset" / source[:4] / source, path)
        lines.append(f"{name},{'C4.7' if number % 2 else '0'}\n")
    (folder / "Labels.txt").write_text("".join(lines))
    return folder


def settings(folder: Path, output: str = "features.csv", **others) -> UserDefinitions:
    """Return settings for a folder of `make_dataset`."""
    return UserDefinitions(**({"label_file": folder / "Labels.txt", "dataset_dir": folder / "dataset",
                               "feature_file": folder / "results" / output, "n_jobs": 1} | others))


def command(folder: Path, output: str, *others: str) -> list[str]:
    """Return the command line for a folder of `make_dataset`."""
    return [sys.executable, str(SCRIPT), "--label-file", str(folder / "Labels.txt"), "--dataset-dir",
            str(folder / "dataset"), "--feature-file", str(folder / "results" / output), *others]


def exclusions(feature_file: Path) -> dict[str, tuple[str, str]]:
    """Return reason and detail of each input left out."""
    with Path(f"{feature_file}.excluded.csv").open(newline="") as file:
        return {row["input"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait until a condition holds; fail when the process ends before."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)
