"""Stage 3: the data set, images with the largest flare that follows each of them.

Reads
    image_dir    `NNNN/hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits` (gauss), NNNN the active region, C the
                 camera (1 or 3), from stage 2; or published images, `NNNN_hmi.….fits` or `NNNN_hmi.…_224.png` (grey),
                 taken as they are; or a text file with one `NNNN/filename` a line, for labels alone
    srs_dir      `YYYYMMDDSRS.txt`: where each region is at 00:00 UTC of each day
    events_dir   `YYYYMMDDevents.txt`: X-ray flares; read when event_list is missing, or was made from other reports
    event_list   one flare a line: `YYYY MM DD,HHMM,NNNN,C5.7` (date and UTC of the maximum, region, GOES class)

Writes
    dataset_dir  `NNNN/NNNN_hmi.M_720s.….fits` (the files of image_dir, linked or copied) or `….png` (grey, 8 bit)
    label_file   `filename,class` a line, no header; class like `C5.7`, or `0` when no flare follows. Flaring images
                 first, by the place in event_list of the first-listed flare that follows, then by time; the others by
                 region and time
    event_list   when it is missing or out of date, with `.json`
    beside label_file: `.json` (settings, counts), `.excluded.csv` (what was excluded, and why), `.log`,
                 `dataset_summary.png` (`dataset_summary_NAME.png` beside another label file than Labels.txt),
                 `nan_counts.txt` (so that no image is read twice)

A flare counts for an image of its region when 0 < t_max - t_image - latency_minutes < flare_window_hours and its peak
flux is at least flare_size. Image times are TAI, flare times UTC (34 to 37 s behind): compared as they stand, as in the
published labels. On days without a row in the summaries, positions are interpolated between the region's neighbouring
rows.

NOAA reported the classes of GOES-8 to GOES-15, until December 2019, at 0.7 of today's. On the "modern" flare_scale they
are divided by that: C1.0 is labelled C1.4, and B7.0 is C1.0. The satellite decides, which event_list then holds as a
fifth field, `G15`; where it is not known, the date does. Classes in event_list are always as reported.

Usage
    python general_code/generate_dataset.py
    python general_code/generate_dataset.py --flare-size M1.0 --flare-window-hours 48 --label-file data/Labels_M48.txt
    python general_code/generate_dataset.py --image-dir Lat60_Lon60_Nans0_png_224 --image-format png --transfer none

References
    Boucheron et al. 2023, Scientific Data 10, 825 (the published data set, which as_published reproduces)
"""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from general_code.dataset.contents import find_images, label_dataset, report_contents, select_images
from general_code.dataset.pixels import PngSettings, screen_images, transfer_images
from general_code.images.label_file import FlareTarget
from general_code.images.magnetograms import report_remarks
from general_code.images.names import list_images, where_images_are
from general_code.noaa.archive import read_summary_archive
from general_code.noaa.event_list import obtain_event_list
from general_code.noaa.flares import AS_REPORTED, MODERN, FlareScale, FlareSize, on_scale, report_scale
from general_code.stage.files import UserError, is_set, remove_leftovers, require_folder, require_free_space, write_csv
from general_code.stage.run import (
    Jobs,
    OptionalPath,
    Settings,
    StageRun,
    command_line,
    output_lock,
    require_address_space,
    resolve_jobs,
    stage_main,
    stage_run,
)


## User Definitions
class UserDefinitions(Settings):
    image_dir: Path = "data/active_regions"  # folder of NNNN/*.fits (or *.png), or a text file of NNNN/filename lines
    srs_dir: Path = "data/SRS"  # folder of yearly folders of region summaries, or of the summaries themselves
    events_dir: OptionalPath = "data/Events"  # folder of event reports, or of yearly folders of them; "": none
    event_list: Path = "data/eventList.txt"  # flares; made from events_dir when missing or made from others
    dataset_dir: Path = "data/dataset"  # the data set to write
    label_file: Path = "data/Labels.txt"  # the labels to write
    flare_size: FlareSize = "C1.0"  # smallest flare that counts [GOES class]
    flare_window_hours: PositiveFloat = 24.0  # length of the window in which a flare counts [h]
    latency_minutes: NonNegativeFloat = 0.0  # from the image to the begin of the window [min]
    flare_scale: FlareScale = "as_reported"  # class scale; "modern": those of GOES-15 and earlier divided by 0.7
    max_latitude_deg: PositiveFloat = 60.0  # regions this far from the equator or farther are excluded [deg]
    max_longitude_deg: PositiveFloat = 60.0  # regions this far from the central meridian or farther are excluded [deg]
    max_nans: NonNegativeInt = 0  # images with more NaN pixels are excluded [pixels]
    image_format: Literal["fits", "png"] = "fits"  # format of the data set; png: resized, 8-bit grey
    png_pixels: PositiveInt = 224  # width and height of a PNG [pixels]
    png_gauss_per_level: PositiveFloat = 25.0  # width of a grey level of a PNG, 128 is 0 G [G]
    transfer: Literal["hardlink", "copy", "symlink", "none"] = "hardlink"  # into the data set; none: labels only
    as_published: bool = False  # True: with the quirks of the published data set
    n_jobs: Jobs = -1  # worker processes; -1 = all cores
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Write the data set and its labels."""
    check_places(user)
    inputs = [user.image_dir, user.srs_dir, user.events_dir, user.event_list]
    with stage_run(user, output=user.label_file, inputs=inputs) as run, output_lock(user.dataset_dir):
        images = name_images(user, run)
        events = obtain_event_list(user.event_list, user.events_dir, user.as_published, run,
                                   satellites=user.flare_scale == MODERN)
        run.exclude_all(events.problems)
        report_scale([events], user.flare_scale, run)
        events = on_scale(events, user.flare_scale)
        images = select_by_position(images, user, run)
        images = provide_images(images, user, run)
        target = FlareTarget(user.flare_size, user.flare_window_hours, user.latency_minutes, user.flare_scale)
        labelled = label_dataset(images, events, target, user.as_published, run)
        write_csv(user.label_file, labelled[["name", "flare_class"]], header=False)
        report_other_images(labelled, user, run)
        others = "" if user.label_file.stem == "Labels" else f"_{user.label_file.stem}"
        figure = user.label_file.with_name(f"dataset_summary{others}.png")
        contents = report_contents(labelled, target, figure, run)
        run.report(f"Wrote {user.label_file}: {contents}; figure {figure}")


def check_places(user: UserDefinitions) -> None:
    """Raise UserError for settings that exclude each other, and outputs in the way of inputs or of each other."""
    if user.as_published and (user.latency_minutes or user.flare_scale != AS_REPORTED):
        raise UserError(f"as_published: the published labels have no latency and the classes as reported, got "
                        f"latency_minutes {user.latency_minutes:g} and flare_scale {user.flare_scale}; leave them at "
                        f"0 and {AS_REPORTED}, or as_published at False")
    require_folder(user.srs_dir, "srs_dir")
    dataset = os.path.realpath(user.dataset_dir)
    if user.dataset_dir.exists() and not user.dataset_dir.is_dir():
        raise UserError(f"dataset_dir: expected a folder, or nothing yet, at '{user.dataset_dir}', found a file; name "
                        "another folder")
    if user.event_list.is_dir():
        raise UserError(f"event_list: expected a file, or nothing yet, at '{user.event_list}', found a folder; the "
                        "folder of event reports is events_dir")
    for setting in ("srs_dir", "events_dir", "label_file", "event_list"):
        if is_set(getattr(user, setting)) and os.path.realpath(getattr(user, setting)) == dataset:
            raise UserError(f"dataset_dir '{user.dataset_dir}' is {setting}, too; name another folder")
    for output in ("label_file",) if user.transfer == "none" else ("label_file", "dataset_dir"):
        place = Path(os.path.realpath(getattr(user, output)))
        if user.image_dir.is_dir() and user.image_dir.resolve() in (place, *place.parents):
            raise UserError(f"{output} '{getattr(user, output)}' is, or lies in, image_dir '{user.image_dir}', which "
                            f"this stage never changes; {where_images_are(user.image_dir)}name another place")


def name_images(user: UserDefinitions, run: StageRun) -> pd.DataFrame:
    """Find the images and give each its `name` in the data set: its own, unless it is made into a PNG."""
    run.report(f"Looking for images in {user.image_dir}")
    images, problems = find_images(user.image_dir, user.image_format)
    run.exclude_all(problems)
    run.report(f"{len(images):,} images of {images['region'].nunique():,} regions")
    made = (images["image_format"] == "fits") & (user.image_format == "png")
    ending = images["ending"].where(images["image_format"] != "", images["ending"] + f".{user.image_format}")
    return images.assign(name=images["image"] + ending.where(~made, ".png"))


def select_by_position(images: pd.DataFrame, user: UserDefinitions, run: StageRun) -> pd.DataFrame:
    """Keep the images whose region is within the limits on the image's date."""
    run.report(f"Reading the region summaries in {user.srs_dir}")
    period = images["time"].min().date(), images["time"].max().date()
    archive = read_summary_archive(user.srs_dir, expected=period)
    run.exclude_all(archive.problems)
    selected = select_images(images, archive.table, user.max_latitude_deg, user.max_longitude_deg, user.as_published,
                             run=run)
    require_images(selected, user, run)
    return selected


def require_images(images: pd.DataFrame, user: UserDefinitions, run: StageRun) -> None:
    """Raise UserError when no image is left, with the reasons counted."""
    if images.empty:
        reasons = Counter(problem.reason for problem in run.exclusions if problem.subject == "images")
        listed = ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common())
        raise UserError(f"no image of {user.image_dir} is left within {user.max_latitude_deg} degrees of latitude, "
                        f"{user.max_longitude_deg} of longitude and {user.max_nans} NaN pixels ({listed}); widen "
                        "max_latitude_deg, max_longitude_deg or max_nans, or see that srs_dir covers the images' dates")


def provide_images(images: pd.DataFrame, user: UserDefinitions, run: StageRun) -> pd.DataFrame:
    """Read the images, and put those that can be used into the data set; return these."""
    if user.image_dir.is_file():
        run.report(f"{user.image_dir} is a list of names: no image is opened or copied, max_nans is not checked")
        return images
    require_address_space()
    are_png = (images["image_format"] == "png").any()
    if are_png:
        run.report("The images are PNG: taken as they are; png_pixels and png_gauss_per_level are not used")
    png = None
    if user.image_format == "png" and user.transfer != "none" and not are_png:
        png = PngSettings(user.dataset_dir, user.png_pixels, user.png_gauss_per_level)
        make_room_for_png(images, user)
    jobs = resolve_jobs(user.n_jobs)
    screened = screen_images(user.image_dir, images, user.label_file.with_name("nan_counts.txt"), jobs, run,
                             max_nans=user.max_nans, png=png)
    faults = [(result.reason, result.detail) if result.reason or result.nan_pixels <= user.max_nans else
              ("NaN pixels", f"{result.nan_pixels:,} NaN pixels, at most {user.max_nans:,} allowed")
              for result in screened]
    run.count("images_screened", len(screened))
    report_remarks([remark for result in screened for remark in result.remarks], run)
    images = without_faults(images, faults, run)
    if png is None and user.transfer != "none":
        sources = [user.image_dir / source for source in images["source"]]
        places = [user.dataset_dir / region / name
                  for region, name in zip(images["region"], images["name"], strict=True)]
        images = without_faults(images, transfer_images(sources, places, user.transfer, jobs, run), run)
    require_images(images, user, run)
    return images


def make_room_for_png(images: pd.DataFrame, user: UserDefinitions) -> None:
    """Make the folders of PNG images, where there is room for those not there yet: at most a byte a pixel."""
    missing = 0
    for region, rows in images.groupby("region"):
        folder = user.dataset_dir / region
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        missing += int((~rows["name"].isin(present)).sum())
    require_free_space(user.dataset_dir, missing * user.png_pixels**2, f"PNG images ({len(images):,} in all)")
    for region in images["region"].unique():
        (user.dataset_dir / region).mkdir(parents=True, exist_ok=True)
        remove_leftovers(user.dataset_dir / region)


def without_faults(images: pd.DataFrame, faults: list[tuple[str, str]], run: StageRun) -> pd.DataFrame:
    """Record the images that have a reason and its detail, and return the others."""
    for source, (reason, detail) in zip(images["source"], faults, strict=True):
        if reason:
            run.exclude(source, reason, detail, "images")
    return images[[not reason for reason, _ in faults]].reset_index(drop=True)


def report_other_images(labelled: pd.DataFrame, user: UserDefinitions, run: StageRun) -> None:
    """Report how many images in the data set's folder the label file does not name, as an earlier run leaves them."""
    if user.transfer == "none" or not user.image_dir.is_dir():
        return
    found, _ = list_images(user.dataset_dir)
    found = found.loc[found["time"].notna(), ["image"]].merge(labelled[["image", "name"]], on="image", how="left")
    others = int(found["name"].isna().sum())
    run.count("images_in_dataset_dir_without_label", others)
    if others:
        run.report(f"{others:,} files in {user.dataset_dir} are not in this label file (an earlier run's)")


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
