"""Stage 3: the data set, images with the largest flare that follows each of them.

Reads
    image_dir    `NNNN/hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits` (gauss), NNNN the active region, C the
                 camera (1 or 3), from stage 2; or a text file with one `NNNN/filename` a line (then no image is opened
                 or copied, and only labels are made)
    srs_dir      `YYYYMMDDSRS.txt`: where each region is at 00:00 UTC of each day
    events_dir   `YYYYMMDDevents.txt`: X-ray flares; read when event_list is missing, or was made from other reports
    event_list   one flare a line: `YYYY MM DD,HHMM,NNNN,C5.7` (date and UTC of the maximum, region, GOES class)

Writes
    dataset_dir  `NNNN/NNNN_hmi.M_720s.….fits` (the files of image_dir, linked or copied) or `….png` (grey, 8 bit)
    label_file   `filename,class` a line, no header; class like `C5.7`, or `0` when no flare follows. Flaring images
                 first, by the place in event_list of the first-listed flare that follows, then by time; the others by
                 region and time
    event_list   when it is missing or out of date, with `.json`
    beside label_file: `.json` (settings, counts), `.excluded.csv` (what was left out, and why), `.log`,
                 `dataset_summary.png` (`dataset_summary_NAME.png` beside another label file than Labels.txt),
                 `nan_counts.csv` (so that no image is read twice)

A flare counts for an image of its region when 0 < t_max - t_image < flare_window_hours and its peak flux is at least
flare_size. Image times are TAI, flare times UTC (34 to 37 s behind): compared as they stand, as in the published
labels. On days without a row in the summaries, positions are interpolated between the region's neighbouring rows.

Usage
    python general_code/generate_dataset.py
    python general_code/generate_dataset.py --flare-size M1.0 --flare-window-hours 48 --label-file data/Labels_M48.txt

References
    Boucheron et al. 2023, Scientific Data 10, 825 (the published data set, which as_published reproduces)
"""

import math
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

import pandas as pd

from general_code.dataset_images import provide_images
from general_code.dataset_labels import label_and_write, report_dataset
from general_code.dataset_selection import add_positions, as_published_selection, within_limits
from general_code.event_list import obtain_event_list
from general_code.flares import peak_flux
from general_code.image_inventory import find_images
from general_code.noaa_archive import missing_days, read_summary_archive
from general_code.stage_files import OptionalPath, UserError, given, require_folder
from general_code.stage_run import StageRun, output_lock, resolve_jobs, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    image_dir: Path = Path("data/active_regions")  # folder of NNNN/*.fits, or a text file of NNNN/filename lines
    srs_dir: Path = Path("data/SRS")  # folder of yearly folders of region summaries, or of the summaries themselves
    events_dir: OptionalPath = Path("data/Events")  # folder of event reports, or of yearly folders of them; "": none
    event_list: Path = Path("data/eventList.txt")  # flares; made from events_dir when missing or made from others
    dataset_dir: Path = Path("data/dataset")  # the data set to write
    label_file: Path = Path("data/Labels.txt")  # the labels to write
    flare_size: str = "C1.0"  # smallest flare that counts [GOES class]
    flare_window_hours: float = 24.0  # how long after the image a flare counts [h]
    max_latitude_deg: float = 60.0  # regions at this distance from the equator, or farther, are left out [deg]
    max_longitude_deg: float = 60.0  # regions this far from the central meridian, or farther, are left out [deg]
    max_nans: int = 0  # images with more NaN pixels are left out [pixels]
    image_format: Literal["fits", "png"] = "fits"  # of the data set; png: resized, 8-bit grey
    png_pixels: int = 224  # width and height of a PNG [pixels]
    png_gauss_per_level: float = 25.0  # width of a grey level of a PNG, 128 is 0 G [G]
    transfer: Literal["hardlink", "copy", "symlink", "none"] = "hardlink"  # FITS into the data set; none: labels only
    as_published: bool = False  # True: with the quirks of the published data set
    n_jobs: int = -1  # worker processes; -1 = all cores
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Write the data set and its labels."""
    check_settings(user)
    inputs = [user.image_dir, user.srs_dir, user.events_dir, user.event_list]
    with stage_run(user, output=user.label_file, inputs=inputs) as run, output_lock(user.dataset_dir):
        run.say(f"Looking for images in {user.image_dir}")
        images, problems = find_images(user.image_dir)
        for problem in problems:
            run.exclude(*problem)
        run.say(f"{len(images):,} images of {images['region'].nunique():,} regions")
        events = obtain_event_list(user.event_list, user.events_dir, user.as_published, run)
        for problem in events.problems:
            run.exclude(*problem)
        images = select_by_position(images, user, run)
        images = provide_images(images, user, run)
        refuse_nothing(images, user, run)
        labelled = label_and_write(images, events, user, run)
        report_dataset(labelled, user, run)


def check_settings(user: UserDefinitions) -> None:
    """Raise UserError for a setting that cannot be meant.

    Parameters
    ----------
    user : UserDefinitions
        Settings.

    Raises
    ------
    UserError
        Names the setting, what it is and what was expected.
    """
    try:
        peak_flux(user.flare_size)
    except ValueError as error:
        raise UserError(f"flare_size: {error}") from None
    for name, least, exclusive in (("flare_window_hours", 0, True), ("max_latitude_deg", 0, True),
                                   ("max_longitude_deg", 0, True), ("max_nans", 0, False), ("png_pixels", 1, False),
                                   ("png_gauss_per_level", 0, True)):
        value = getattr(user, name)
        if not math.isfinite(value) or value < least or (exclusive and value == least):
            raise UserError(f"{name}: expected a number {'above' if exclusive else 'from'} {least}, got {value}")
    resolve_jobs(user.n_jobs)
    require_folder(user.srs_dir, "srs_dir")
    check_places(user)


def check_places(user: UserDefinitions) -> None:
    """Raise UserError for outputs that stand in the way of inputs or of each other.

    Parameters
    ----------
    user : UserDefinitions
        Settings.

    Raises
    ------
    UserError
        Names the setting and what it was found to be.
    """
    dataset = user.dataset_dir.resolve()
    if user.dataset_dir.exists() and not user.dataset_dir.is_dir():
        raise UserError(f"dataset_dir: expected a folder, or nothing yet, at '{user.dataset_dir}', found a file; name "
                        "another folder")
    if user.event_list.is_dir():
        raise UserError(f"event_list: expected a file, or nothing yet, at '{user.event_list}', found a folder; the "
                        "folder of event reports is events_dir")
    for setting in ("srs_dir", "events_dir", "label_file", "event_list"):
        if given(getattr(user, setting)) and getattr(user, setting).resolve() == dataset:
            raise UserError(f"dataset_dir '{user.dataset_dir}' is {setting}, too; name another folder")
    for output in ("dataset_dir", "label_file"):
        place = getattr(user, output)
        if user.image_dir.is_dir() and user.image_dir.resolve() in (place.resolve(), *place.resolve().parents):
            raise UserError(f"{output} '{place}' is, or lies in, image_dir '{user.image_dir}', which this stage never "
                            "changes; name another place")


def select_by_position(images: pd.DataFrame, user: UserDefinitions, run: StageRun) -> pd.DataFrame:
    """Keep the images whose region is within the limits on the image's date.

    Parameters
    ----------
    images : pandas.DataFrame
        From `find_images`.
    user : UserDefinitions
        Limits, and whether as published.
    run : StageRun
        Told what is left out.

    Returns
    -------
    pandas.DataFrame
        With `latitude`, `longitude` and `has_row`.
    """
    run.say(f"Reading the region summaries in {user.srs_dir}")
    archive = read_summary_archive(user.srs_dir)
    if archive.table.empty:
        raise UserError(f"srs_dir: no region in section I of {len(archive.days):,} summaries (YYYYMMDDSRS.txt) in "
                        f"{user.srs_dir}; set --srs-dir")
    first, last = images["time"].min().date(), images["time"].max().date()
    for problem in archive.problems + missing_days(archive.days, first, last, "SRS"):
        run.exclude(*problem)
    images = add_positions(images, archive.table)
    if user.as_published:
        selected = as_published_selection(images, user.max_latitude_deg, user.max_longitude_deg, run)
        run.say(f"{(~selected['has_row']).sum():,} images kept without a row on their day, as published")
    else:
        selected = within_limits(images, user.max_latitude_deg, user.max_longitude_deg, run)
        run.say(f"Left out without a position: {run.counts['images_without_position']:,} images, by an interpolated "
                f"one: {run.counts['images_outside_by_interpolated_position']:,} (the published data set has both); "
                f"positions interpolated: {(~selected['has_row']).sum():,} of those kept")
    refuse_nothing(selected, user, run)
    return selected


def refuse_nothing(images: pd.DataFrame, user: UserDefinitions, run: StageRun) -> None:
    """Raise UserError when no image is left, with the reasons counted.

    Parameters
    ----------
    images : pandas.DataFrame
        What is left.
    user : UserDefinitions
        The limits, for the message.
    run : StageRun
        Knows what was left out.

    Raises
    ------
    UserError
        When `images` is empty.
    """
    if not images.empty:
        return
    reasons = Counter(reason for input, reason, _ in run.exclusions if "magnetogram" in input.lower())
    listed = ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common())
    raise UserError(f"no image of {user.image_dir} is left within {user.max_latitude_deg} degrees of latitude, "
                    f"{user.max_longitude_deg} of longitude and {user.max_nans} NaN pixels ({listed}); widen "
                    "max_latitude_deg, max_longitude_deg or max_nans, or see that srs_dir covers the images' dates")


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
