"""The label file of a data set, and what is said about it at the end."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from general_code.flares import NO_FLARE, EventList, ImageLabels, label_images
from general_code.image_names import IMAGE_NAME
from general_code.noaa_text import region_codes
from general_code.sorted_search import whole_seconds
from general_code.stage_files import atomic_write
from general_code.stage_run import StageRun

if TYPE_CHECKING:
    from general_code.generate_dataset import UserDefinitions


def label_and_write(images: pd.DataFrame, events: EventList, user: "UserDefinitions", run: StageRun) -> pd.DataFrame:
    """Label the images and write the label file.

    Parameters
    ----------
    images : pandas.DataFrame
        `name`, `region`, `time`, `camera`.
    events : EventList
        Flares.
    user : UserDefinitions
        Of generate_dataset.py.
    run : StageRun
        Told how many labels depend on the days of maxima after midnight.

    Returns
    -------
    pandas.DataFrame
        The images with `flare_class`, in the order of the label file.
    """
    run.say(f"Labelling {len(images):,} images with {len(events):,} flares, {events.period[0]} to {events.period[1]}")
    times = images["time"].to_numpy().astype("datetime64[s]")
    labels = label_images(images["region"], times, events, user.flare_size, user.flare_window_hours)
    classes = labels.flare_classes(events)
    _say_coverage(times, events, user.flare_window_hours, run)
    if not user.as_published:
        _say_midnight(images["region"], times, classes, events, user, run)
    order = label_order(images, labels)
    labelled = images.assign(flare_class=pd.Series(classes, dtype=object)).iloc[order].reset_index(drop=True)
    write_labels(user.label_file, labelled["name"], labelled["flare_class"])
    if user.transfer != "none" and user.image_dir.is_dir():
        _say_others(user.dataset_dir, labelled["name"], run)
    return labelled


def label_order(images: pd.DataFrame, labels: ImageLabels) -> np.ndarray:
    """Return the order of the label file.

    Parameters
    ----------
    images : pandas.DataFrame
        `region`, `time`, `camera`, shape (m,).
    labels : ImageLabels
        Of the same images.

    Returns
    -------
    numpy.ndarray
        int64, shape (m,): flaring images by the place in the event list of the first-listed flare in the window, then
        by time; the others by region and time.
    """
    regions = region_codes(images["region"])
    flaring = labels.earliest_listed >= 0
    group = np.where(flaring, labels.earliest_listed, regions)
    return np.lexsort((images["camera"].to_numpy(), images["time"].to_numpy(), group, ~flaring))


def write_labels(path: Path, names: pd.Series, flare_classes: pd.Series) -> None:
    """Write `filename,class` lines.

    Parameters
    ----------
    path : Path
        The label file to be.
    names, flare_classes : pandas.Series
        str, of equal length.
    """
    with atomic_write(path) as file:
        file.writelines(f"{name},{flare_class}\n"
                        for name, flare_class in zip(names.tolist(), flare_classes.tolist(), strict=True))


def summary_figure_name(label_file: Path) -> str:
    """Return the name of the figure that is drawn beside a label file.

    Parameters
    ----------
    label_file : Path
        Several can lie in one folder.

    Returns
    -------
    str
        `dataset_summary.png` for `Labels.txt`, like `dataset_summary_Labels_M48.png` for others.
    """
    return f"dataset_summary{'' if label_file.stem == 'Labels' else '_' + label_file.stem}.png"


def report_dataset(labelled: pd.DataFrame, user: "UserDefinitions", run: StageRun) -> None:
    """Print the table of images and regions by label, and draw the figure of `summary_figure_name`.

    Parameters
    ----------
    labelled : pandas.DataFrame
        From `label_and_write`.
    user : UserDefinitions
        Of generate_dataset.py.
    run : StageRun
        Told the counts.
    """
    from general_code.dataset_summary import class_counts, save_summary_figure, summary_table  # matplotlib is slow

    labels = labelled["flare_class"].to_numpy().astype(str)
    counts = class_counts(labels, labelled["region"].to_numpy())
    flaring = int((labels != NO_FLARE).sum())
    n_regions = int(labelled["region"].nunique())
    for name, number in (("images", len(labelled)), ("regions", n_regions), ("flaring_images", flaring)):
        run.count(name, number)
    for letter, row in counts.iterrows():
        run.count(f"images_{'none' if letter == NO_FLARE else letter}", int(row["images"]))
    figure = user.label_file.with_name(summary_figure_name(user.label_file))
    title = (f"{flaring / len(labelled):.1%} of {len(labelled):,} images of {n_regions:,} regions precede a flare "
             f">= {user.flare_size} within {user.flare_window_hours:g} h")
    save_summary_figure(figure, labelled["time"].to_numpy(), labelled["latitude"].to_numpy(),
                        labelled["longitude"].to_numpy(), labels, counts, title)
    run.say(summary_table(counts, n_regions))
    run.say(f"Wrote {user.label_file}: {len(labelled):,} images, {title.split(' images')[0].split(' of ')[0]} with a "
            f"flare >= {user.flare_size} within {user.flare_window_hours:g} h; figure {figure}")


def _say_coverage(times: np.ndarray, events: EventList, window_hours: float, run: StageRun) -> None:
    """Warn of images whose label may be too low for want of reports."""
    end = times + np.timedelta64(whole_seconds(window_hours) - 1, "s")
    lacking = int((~events.covers(times, end)).sum())
    run.count("images_with_unreported_days", lacking)
    if lacking:
        kind = "flares" if events.reported is None else "reports"
        run.say(f"Warning: {lacking:,} images have a day without a report in their window: their label is a lower "
                f"limit; {kind} are known from {events.period[0]} to {events.period[1]}")


def _say_midnight(regions: pd.Series, times: np.ndarray, classes: np.ndarray, events: EventList,
                  user: "UserDefinitions", run: StageRun) -> None:
    """Say how many labels the dates of the reports would have given otherwise."""
    listed = replace(events, time=events.listed_time)
    as_listed = label_images(regions, times, listed, user.flare_size, user.flare_window_hours).flare_classes(listed)
    changed = int((classes != as_listed).sum())
    run.count("flares_after_midnight", int(events.after_midnight.sum()))
    run.count("labels_changed_by_midnight_rule", changed)
    run.say(f"Maxima after midnight: {events.after_midnight.sum():,} flares are on the day after their report's; "
            f"labels that differ for it from the published rule: {changed:,}")


def _say_others(dataset_dir: Path, names: pd.Series, run: StageRun) -> None:
    """Say how many images in the data set's folder the label file does not name, as an earlier run leaves them."""
    named = {name.rpartition(".")[0] for name in names.tolist()}  # whichever format it has there
    others = sum(path.stem not in named and IMAGE_NAME.fullmatch(path.name) is not None
                 for folder in (dataset_dir.iterdir() if dataset_dir.is_dir() else ()) if folder.is_dir()
                 for path in folder.iterdir())
    run.count("images_in_dataset_dir_without_label", others)
    if others:
        run.say(f"{others:,} files in {dataset_dir} are not in this label file (an earlier run's)")
