"""One page of magnetograms of a data set, with their neutral lines and labels.

Of every region the image that precedes its largest flare, or else the middle one; the regions with the largest
flares and as many without any. The neutral line is drawn where feature 8 ("NL length") counts it.

Reads
    label_file    `filename,class` a line
    dataset_dir   NNNN/NNNN_*.fits [G] or *.png [grey levels]

Writes
    figure_file   PNG

Usage
    python classifier_SVM/Contact_Sheet.py --n-images 12
"""

import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import PositiveInt

from classifier_SVM.FunctionsP3 import compile_kernels, strong_neutral_line
from general_code.images.label_file import match_images, read_label_file
from general_code.images.magnetograms import read_magnetogram, reason_and_detail, report_remarks
from general_code.noaa.flares import peak_fluxes
from general_code.stage.files import UserError, require_folder
from general_code.stage.run import Settings, StageRun, command_line, require_address_space, stage_main, stage_run


## User Definitions
class UserDefinitions(Settings):
    label_file: Path = "data/Labels.txt"  # label file of the data set
    dataset_dir: Path = "data/dataset"  # folder of NNNN/NNNN_*.fits or .png
    image_format: Literal["fits", "png"] = "fits"  # which of them
    figure_file: Path = "results/contact_sheet.png"  # the page to write
    n_images: PositiveInt = 12  # pictures on the page [number]
## End User Definitions


COLUMNS = 4
TITLE = "Regions before their largest flare, and regions without: field, and strong neutral line (orange)"


@stage_main
def main(user: UserDefinitions) -> None:
    """Choose images and draw them."""
    require_address_space()
    require_folder(user.dataset_dir, "dataset_dir")
    with stage_run(user, output=user.figure_file, inputs=[user.label_file, user.dataset_dir]) as run:
        labels, problems = read_label_file(user.label_file)
        run.exclude_all(problems)
        images = images_at_hand(labels, user, run)
        chosen = choose_images(images, user.n_images)
        pictures = read_pictures(chosen, user.dataset_dir, run)
        if not pictures:
            raise UserError(f"none of the {len(chosen):,} images chosen from {user.label_file} can be shown from "
                            f"{user.dataset_dir}: {user.figure_file}.excluded.csv says why")
        draw_page(user.figure_file, pictures, user.image_format)
        run.count("images", len(pictures))
        run.report(f"Wrote {user.figure_file}: {len(pictures)} magnetograms")


def images_at_hand(labels: pd.DataFrame, user: UserDefinitions, run: StageRun) -> pd.DataFrame:
    """Return the labels whose images are in the data set, with their `source` there; regions without any are listed."""
    images = match_images(labels, user.dataset_dir, user.image_format, run)
    images = images[images["source"] != ""]
    run.report(f"{len(images):,} of {len(labels):,} labelled images are in {user.dataset_dir}")
    if images.empty:
        raise UserError(f"no .{user.image_format} image in {user.dataset_dir} is named in {user.label_file}; check "
                        "dataset_dir and image_format")
    for region in sorted(set(labels["region"]) - set(images["region"])):
        run.exclude(region, "region without an image", subject="regions")
    return images


def choose_images(images: pd.DataFrame, n: int) -> pd.DataFrame:
    """Choose one image a region, at most n: before the largest flares, by `peak_flux` [W/m2], and as many without."""
    ordered = images.assign(peak_flux=peak_fluxes(images["class"])).sort_values(["region", "time"])
    one_each = pd.concat([before_largest_flare(of_region) for _, of_region in ordered.groupby("region")])
    flaring = one_each[one_each["peak_flux"] > 0].sort_values("peak_flux", ascending=False, kind="stable")
    quiet = one_each[one_each["peak_flux"] == 0]
    n_flaring = min(len(flaring), max(n - n // 2, n - len(quiet)))
    return pd.concat([flaring[:n_flaring], quiet[:n - n_flaring]])


def before_largest_flare(images: pd.DataFrame) -> pd.DataFrame:
    """Return one row of a region's images in order of time: the first before its largest flare, else the middle one."""
    fluxes = images["peak_flux"]
    return images.iloc[[fluxes.argmax() if fluxes.max() > 0 else len(images) // 2]]


def read_pictures(chosen: pd.DataFrame, dataset_dir: Path, run: StageRun) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return title, image and strong neutral line of each; what has no features is listed with stage 4's reason."""
    compile_kernels(run.report)
    pictures, remarks = [], []
    for row in chosen.to_dict("records"):
        path = dataset_dir / row["source"]
        try:
            image = read_magnetogram(path, remarks)
            line = strong_neutral_line(image)
        except ValueError as error:
            run.exclude(path.name, *reason_and_detail(error, path), subject="images")
            continue
        label = "no flare" if row["class"] == "0" else row["class"]
        pictures.append((f"{row['region']}   {row['time']:%Y-%m-%d %H:%M}   {label}", image, line))
    report_remarks(remarks, run)
    return pictures


def draw_page(path: Path, pictures: list[tuple[str, np.ndarray, np.ndarray]], image_format: str) -> None:
    """Draw the pictures, as `read_pictures` returns them, on one page."""
    from matplotlib.figure import Figure

    from classifier_SVM.feature_table.magnetogram_figure import plot_magnetogram
    from general_code.evaluation.report import save_figure

    rows = -(-len(pictures) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 3.25 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for ax, (title, image, line) in zip(axes.flat, pictures, strict=False):
        plot_magnetogram(ax, image, line, image_format)
        ax.set_title(title, fontsize=9)
        ax.set(xticks=(), yticks=())
    for ax in axes.flat[len(pictures):]:
        ax.set_axis_off()
    figure.suptitle(TITLE)
    save_figure(figure, path)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
