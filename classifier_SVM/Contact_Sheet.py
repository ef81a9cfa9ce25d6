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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from classifier_SVM.labelled_images import NO_IMAGE, find_image_paths
from general_code.flares import peak_fluxes
from general_code.label_file import read_label_file
from general_code.magnetograms import read_magnetogram
from general_code.stage_files import UserError, require_folder
from general_code.stage_run import StageRun, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    label_file: Path = Path("data/Labels.txt")  # label file of the data set
    dataset_dir: Path = Path("data/dataset")  # folder of NNNN/NNNN_*.fits or .png
    image_format: Literal["fits", "png"] = "fits"  # which of them
    figure_file: Path = Path("results/contact_sheet.png")  # the page to write
    n_images: int = 12  # pictures on the page [number]
## End User Definitions


COLUMNS = 4


@stage_main
def main(user: UserDefinitions) -> None:
    """Choose images and draw them."""
    require_folder(user.dataset_dir, "dataset_dir")
    if user.n_images < 1:
        raise UserError(f"n_images: expected a number from 1, got {user.n_images}")
    with stage_run(user, output=user.figure_file, inputs=[user.label_file, user.dataset_dir]) as run:
        labels, problems = read_label_file(user.label_file)
        for problem in problems:
            run.exclude(*problem)
        chosen = choose_images(labels, user.n_images)
        pictures = read_pictures(chosen, user, run)
        if not pictures:
            raise UserError(f"none of the {len(chosen)} images chosen from {user.label_file} can be shown from "
                            f"{user.dataset_dir}; check dataset_dir and image_format")
        draw_page(user.figure_file, pictures, user.image_format)
        run.count("images", len(pictures))
        run.say(f"Wrote {user.figure_file}: {len(pictures)} magnetograms")


def choose_images(labels: pd.DataFrame, n: int) -> pd.DataFrame:
    """Choose an image a region: those before the largest flares, and as many without a flare.

    Parameters
    ----------
    labels : pandas.DataFrame
        `filename`, `class`, `region` and `time`, as `read_label_file` returns it.
    n : int
        How many.

    Returns
    -------
    pandas.DataFrame
        At most n rows with their `peak_flux` [W/m2], flaring ones first, by peak flux; then by region.
    """
    ordered = labels.assign(peak_flux=peak_fluxes(labels["class"])).sort_values(["region", "time"])
    of_region = []
    for _, images in ordered.groupby("region"):
        flaring = images["peak_flux"].max() > 0
        of_region.append(images["peak_flux"].argmax() if flaring else len(images) // 2)
    one_each = pd.concat([images.iloc[[place]] for (_, images), place in
                          zip(ordered.groupby("region"), of_region, strict=True)])
    flaring = one_each[one_each["peak_flux"] > 0].sort_values("peak_flux", ascending=False, kind="stable")
    quiet = one_each[one_each["peak_flux"] == 0]
    n_flaring = min(len(flaring), max(n - n // 2, n - len(quiet)))
    return pd.concat([flaring[:n_flaring], quiet[:n - n_flaring]])


def read_pictures(chosen: pd.DataFrame, user: UserDefinitions,
                  run: StageRun) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Read images with their titles and neutral lines; what has no features is listed with stage 4's reason.

    Parameters
    ----------
    chosen : pandas.DataFrame
        Rows of the label table.
    user : UserDefinitions
        Folder and format.
    run : StageRun
        Takes the exclusions.

    Returns
    -------
    list of (str, numpy.ndarray, numpy.ndarray)
        Title, image, and its strong neutral line.
    """
    from classifier_SVM.feature_rows import reason_and_detail  # these take a second, which --help need not
    from classifier_SVM.magnetogram_figure import strong_neutral_line

    pictures = []
    paths = find_image_paths(chosen["filename"], user.dataset_dir, user.image_format, run)
    for row, path in zip(chosen.to_dict("records"), paths, strict=True):
        if path is None:
            run.exclude(row["filename"], NO_IMAGE)
            continue
        try:
            image = read_magnetogram(path)
            line = strong_neutral_line(image)
        except ValueError as error:
            run.exclude(path.name, *reason_and_detail(error, path))
            continue
        label = "no flare" if row["class"] == "0" else row["class"]
        pictures.append((f"{row['region']}   {row['time']:%Y-%m-%d %H:%M}   {label}", image, line))
    return pictures


def draw_page(path: Path, pictures: list[tuple[str, np.ndarray, np.ndarray]], image_format: str) -> None:
    """Draw the pictures on one page.

    Parameters
    ----------
    path : Path
        PNG.
    pictures : list of (str, numpy.ndarray, numpy.ndarray)
        As `read_pictures` returns them.
    image_format : {"fits", "png"}
        Of the images: gauss, or grey levels.
    """
    from matplotlib.figure import Figure  # see above

    from classifier_SVM.magnetogram_figure import plot_magnetogram
    from general_code.skill_figures import save_figure

    rows = -(-len(pictures) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 3.25 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for ax, (title, image, line) in zip(axes.flat, pictures, strict=False):
        plot_magnetogram(ax, image, line, image_format)
        ax.set_title(title, fontsize=9)
        ax.set(xticks=(), yticks=())
    for ax in axes.flat[len(pictures):]:
        ax.set_axis_off()
    figure.suptitle("Regions before their largest flare, and regions without: field, and strong neutral line (orange)")
    save_figure(figure, path)


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
