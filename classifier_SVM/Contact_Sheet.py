"""One page of magnetograms of a data set, with their neutral lines and labels.

Of every region the last image that its largest flare follows, or else the middle one; the regions with the largest
flares and as many without any. The neutral line is drawn where feature 8 ("NL length") counts it and the gradient is
above noise. Scale bars are in arcsec.

Reads
    label_file    `filename,class` a line
    dataset_dir   NNNN/NNNN_*.fits [G] or *.png [grey levels]

Writes
    figure_file   PNG, or PDF or SVG by its suffix

Usage
    python classifier_SVM/Contact_Sheet.py --n-images 12
"""

import sys
from pathlib import Path
from typing import Literal

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import PositiveInt

from classifier_SVM.feature_table.magnetogram_figure import (
    GREY_SCALE,
    NOISE_GRADIENT,
    Picture,
    plot_magnetogram,
    read_picture,
)
from classifier_SVM.FunctionsP3 import compile_kernels
from general_code.images.label_file import label_target, match_images, read_label_file
from general_code.images.magnetograms import reason_and_detail, report_remarks
from general_code.noaa.flares import peak_fluxes
from general_code.stage.files import UserError, require_folder
from general_code.stage.run import Settings, StageRun, command_line, require_address_space, stage_main, stage_run


## User Definitions
class UserDefinitions(Settings):
    label_file: Path = "data/Labels.txt"  # label file of the data set
    dataset_dir: Path = "data/dataset"  # folder of NNNN/NNNN_*.fits or .png
    image_format: Literal["fits", "png"] = "fits"  # which of them
    figure_file: Path = "results/contact_sheet.png"  # the page to write; .pdf and .svg, too
    n_images: PositiveInt = 12  # pictures on the page [number]
## End User Definitions


COLUMNS = 4
TITLE = "Active regions before their largest flare ({}), and regions without one"
LINE = ("Orange: neutral line where the gradient is at least a fifth of the largest on the line, and above noise "
        f"({NOISE_GRADIENT:g} G per arcsec).")


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
        target = label_target(user.label_file)
        quiet = f"none >= {target.size}" if target.size else "no flare"
        pictures = read_pictures(chosen, user.dataset_dir, quiet, run)
        if not pictures:
            raise UserError(f"none of the {len(chosen):,} images chosen from {user.label_file} can be shown from "
                            f"{user.dataset_dir}: {user.figure_file}.excluded.csv says why")
        draw_page(user.figure_file, pictures, target.text())
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
    """Return one row of a region's images in order of time: the last before its largest flare, else the middle one."""
    fluxes = images["peak_flux"]
    place = len(images) - 1 - fluxes[::-1].argmax() if fluxes.max() > 0 else len(images) // 2
    return images.iloc[[place]]


def read_pictures(chosen: pd.DataFrame, dataset_dir: Path, quiet: str, run: StageRun) -> list[tuple[str, Picture]]:
    """Return title (quiet without a flare) and picture of each; one without features is listed with its reason."""
    compile_kernels(run.report)
    pictures, remarks = [], []
    for row in chosen.to_dict("records"):
        path = dataset_dir / row["source"]
        try:
            picture = read_picture(path, remarks)
        except ValueError as error:
            run.exclude(path.name, *reason_and_detail(error, path), subject="images")
            continue
        label = quiet if row["class"] == "0" else row["class"]
        pictures.append((f"AR {row['region']}: {label}\n{row['time']:%Y-%m-%d %H:%M}", picture))
    report_remarks(remarks, run)
    return pictures


def draw_page(path: Path, pictures: list[tuple[str, Picture]], flares: str) -> None:
    """Draw the pictures, as `read_pictures` returns them, on one page; flares say what the labels count."""
    from general_code.evaluation.report import new_figure, save_figure

    rows = -(-len(pictures) // COLUMNS)
    figure = new_figure(3 * COLUMNS, 3.5 * rows + 1.1)
    figure.get_layout_engine().set(h_pad=0.1)
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for ax, (title, picture) in zip(axes.flat, pictures, strict=False):
        plot_magnetogram(ax, picture, fontsize=12).set_title(title, fontsize=13)
        if not picture.line.any():
            ax.text(0.03, 0.97, "no neutral line\nabove noise", color="white", fontsize=12, va="top",
                    transform=ax.transAxes)
    for ax in axes.flat[len(pictures):]:
        ax.set_axis_off()
    figure.suptitle(TITLE.format(flares), fontsize=16)
    limit, unit = GREY_SCALE[pictures[0][1].kind]
    assumed = sorted({picture.assumed for _, picture in pictures} - {""})
    figure.supxlabel(f"{LINE}\nGrey scale: from {-limit:g} (black) to +{limit:g} {unit} (white). Scale bars in arcsec"
                     + "".join(f"; assumed: {text}" for text in assumed) + ".", fontsize=13)
    save_figure(figure, path)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
