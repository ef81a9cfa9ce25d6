"""The published files as a way in: the README's commands, pasted where small sets of the published layout lie."""

import csv
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from general_code.images.magnetograms import gauss_to_grey, write_magnetogram, write_png
from general_code.simulator.sun import SimulatedRow, region_summary

REPOSITORY = Path(__file__).resolve().parents[1]
HEADING = "From the published files"
FIRST_DAY = datetime(2011, 2, 13)
TIMES = [FIRST_DAY + timedelta(hours=hours) for hours in (12, 30)]
# region: the hours after FIRST_DAY of its flares, and their class
REGIONS = {"1158": (20, "M6.6"), "1159": None, "1160": (31, "C2.1"), "1161": None, "1162": (13, "C9.0"), "1163": None,
           "1164": (50, "X2.2"), "1165": None, "1166": (40, "C1.0"), "1167": None}
SPLITS = {"Test": ("1162", "1163", "1164"), "Validation": ("1160", "1161", "1165"),
          "Train": ("1158", "1159", "1166", "1167")}
KINDS = {"png": {"folder": "Lat60_Lon60_Nans0_png_224", "labels": "C1.0_24hr_224_png_Labels.txt", "end": "_224.png",
                 "features": "Lat60_Lon60_Nans0_C1.0_24hr_png_224_features.csv", "lists": "_png_224"},
         "fits": {"folder": "Lat60_Lon60_Nans0", "labels": "C1.0_24hr_Labels.txt", "end": ".fits",
                  "features": "Lat60_Lon60_Nans0_C1.0_24hr_features.csv", "lists": ""}}


def blocks(text):
    """Return the commands in each fenced block below the heading, up to the next one of its rank."""
    section = re.split(rf"^#+ {HEADING}$|^\*\*{HEADING}\*\*", text, maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^#{2,3} ", section, maxsplit=1, flags=re.MULTILINE)[0]
    fenced = re.findall(r"^```\w*\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    lines = [block.replace("\\\n", " ").splitlines() for block in fenced]
    return [[line for line in block if line.startswith("python ")] for block in lines]


README_BLOCKS = blocks((REPOSITORY / "README.md").read_text(encoding="utf-8"))


def flare_class(region, time):
    """Return the label of an image: the flare that follows within 24 hours, or 0."""
    if REGIONS[region] is None:
        return "0"
    hours, size = REGIONS[region]
    return size if timedelta(0) < FIRST_DAY + timedelta(hours=hours) - time < timedelta(hours=24) else "0"


def field_of(region, time, pixels):
    """Return a bipole, steeper where a flare follows, in noise."""
    rng = np.random.default_rng(int(region) * 100 + time.hour)
    y, x = np.mgrid[:pixels, :pixels] / pixels - 0.5
    gap = 0.04 if flare_class(region, time) != "0" else 0.2
    spots = np.exp(-((x - gap) ** 2 + y**2) / 0.004) - np.exp(-((x + gap) ** 2 + y**2) / 0.004)
    return 1500 * spots + rng.normal(0, 15, (pixels, pixels))


def write_lines(path, lines):
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_published_set(data, kind):
    """Write images, labels, feature table, lists of images and of regions, and event list, as they are published."""
    names = KINDS[kind]
    images = {}
    for region in REGIONS:
        for time in TIMES:
            name = f"{region}_hmi.M_720s.{time:%Y%m%d_%H%M%S}_TAI.1.magnetogram{names['end']}"
            images[name] = flare_class(region, time)
            path = data / names["folder"] / region / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "png":
                write_png(path, gauss_to_grey(field_of(region, time, 224), 25.0))
            else:
                write_magnetogram(path, field_of(region, time, 64))
    write_lines(data / names["labels"], (f"{name},{size}" for name, size in images.items()))
    rng = np.random.default_rng(0)
    write_lines(data / names["features"], (
        ",".join([*(f"{value:.6g}" for value in rng.normal(size != "0", 1, 29)), f"{int(size != '0')}", size, name])
        for name, size in images.items()))
    for split, regions in SPLITS.items():
        write_lines(data / f"List_of_AR_in_{split}_{'data' if split == 'Validation' else 'Data'}_by_AR.csv", regions)
        write_lines(data / f"{split}_Data_by_AR{names['lists']}.csv", ["filename,class", *(
            f"{name[:4]}/{name},{int(size != '0')}" for name, size in images.items() if name[:4] in regions)])
    flares = sorted((FIRST_DAY + timedelta(hours=flare[0]), region, flare[1])
                    for region, flare in REGIONS.items() if flare)
    write_lines(data / "eventList.txt", (f"{time:%Y %m %d,%H%M},{region},{size}" for time, region, size in flares))
    return images


def write_summaries(folder):
    """Write the region summaries that stage 3 needs, with all regions near the centre."""
    for day in range(-1, 4):
        date = FIRST_DAY + timedelta(days=day)
        rows = [SimulatedRow(region, day, f"{region} N10W{10 + 13 * (day - 1):02d}   100  0100 Dso  05   05 Beta"
                             if day > 0 else f"{region} N10E{10 - 13 * day:02d}   100  0100 Dso  05   05 Beta")
                for region in REGIONS]
        write_lines(folder / f"{date:%Y}_SRS" / f"{date:%Y%m%d}SRS.txt", [region_summary(date, rows)])


def paste(command, folder):
    """Run a line of the README where a user stands; the network's weights are drawn, not downloaded."""
    if "VGG_transfer_learning" in command:
        command += " --weights random --epochs 1"
    done = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=folder, capture_output=True, text=True,
                          timeout=600, env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def table(path):
    """Return a CSV file's rows."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.skipif(os.name != "posix", reason="the folders of the scripts are linked")
def test_every_command_of_the_readme_runs_on_the_published_files(tmp_path):
    folders = [tmp_path / kind for kind in KINDS]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor() as pool:  # both sets at a time: most of it is waiting for imports
        list(pool.map(run_commands_of_the_readme, folders, KINDS))


def run_commands_of_the_readme(tmp_path, kind):
    """Run the README's commands for one kind of images in a folder, and check what they leave there."""
    block = next((block for block in README_BLOCKS if f"data/{KINDS[kind]['folder']} " in " ".join(block)), None)
    assert block, f"README.md, '{HEADING}', has no commands for data/{KINDS[kind]['folder']}"
    for name in ("general_code", "classifier_SVM", "classifier_VGG"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    data, results = tmp_path / "data", tmp_path / "results"
    images = write_published_set(data, kind)
    write_summaries(data / "SRS")
    before = {path: path.read_bytes() for path in data.rglob("*.*")}
    used = {Path(shlex.split(command)[1]).stem: paste(command, tmp_path) for command in block}
    assert all(path.read_bytes() == content for path, content in before.items()), "published files stay as they are"

    expected = {"BuildMasterFeatureSet_mp", "AR_Classifier_weighted", "VGG_transfer_learning", "Forecast_AR",
                "generate_dataset"}
    if kind == "png":
        expected |= {"Build_keras_dataframe_files", "Compare_Forecasts", "Contact_Sheet"}
        assert (results / "contact_sheet.png").is_file()
        assert {row[2] for row in table(results / "comparison.csv")[1:]} >= {"SVM", "VGG16, RANDOM WEIGHTS"}
        for split, regions in SPLITS.items():
            assert {row[0] for row in table(results / "VGG" / f"{split}_Data_by_AR_lists.csv")[1:]} == {
                f"{name[:4]}/{name}" for name in images if name[:4] in regions}
    assert used.keys() == expected

    assert [row[31] for row in table(results / "features.csv")] == sorted(images)
    for predictions in ("SVM/predictions_linear_published", "SVM/predictions_linear", "VGG/predictions_VGG"):
        rows = table(results / f"{predictions}.csv")[1:]
        assert {Path(row[0]).name for row in rows} == set(images), predictions
        assert {row[0][:4] for row in rows if row[4] == "test"} == set(SPLITS["Test"])
    assert len(table(results / "forecast.csv")) == 1 + len(TIMES)
    (labels,) = data.glob("M1.0_48hr_*Labels.txt")
    assert {row[0] for row in table(labels)} == set(images), "names as the image files have them"
    assert {row[1] for row in table(labels)} == {"0", "M6.6", "X2.2"}
