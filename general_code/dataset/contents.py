"""What a data set holds: images of a folder or a list, where their regions are, their labels, and a summary."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from general_code.images.label_file import FlareTarget, read_list
from general_code.images.names import CAMERAS, NOT_A_NAME, SERIES, list_images, parse_image_names, where_images_are
from general_code.noaa.flares import (
    AS_REPORTED,
    NO_FLARE,
    REDUCED_UNTIL,
    REDUCTION,
    EventList,
    ImageLabels,
    label_images,
)
from general_code.noaa.regions import region_codes, region_positions, whole_seconds
from general_code.stage.files import UserError, atomic_path, counted
from general_code.stage.run import Problem, StageRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASS_COLOURS = {"0": "#bbbbbb", "A": "#dddddd", "B": "#88ccee", "C": "#0077bb", "M": "#ee7733", "X": "#aa3377"}
ALWAYS_SHOWN = "CMX"  # where they count
MONTHS_BY_DAY = 3  # a data set of so many months or fewer is counted by day
# what stage 2 keeps beside the regions' folders: ledger, sidecars, log; lists of what is missing; pages as they were
OTHER_FILES = r"download_ledger\.csv.*|\d{4}_missing_records\.csv|export_page_.*\.(?:png|html)"


def find_images(image_dir: Path, image_format: str) -> tuple[pd.DataFrame, list[Problem]]:
    """Return the images of a folder, or those that a text file names.

    Parameters
    ----------
    image_dir, image_format : Path, {"fits", "png"}
        Folder of `NNNN/*.fits` (or, without any, of `NNNN/*.png`), or a text file with one `NNNN/filename` a line,
        UserError without any image; format of the data set: PNG images cannot become FITS.

    Returns
    -------
    pandas.DataFrame, list of Problem
        By region, time and camera, each image once: `source` (str, `NNNN/filename` as it stands), and the columns of
        `parse_image_names`; of a folder also `bytes` and `modified_ns`. What was excluded: foreign files, names that
        do not parse, second files of an image.
    """
    if image_dir.is_dir():
        files, problems = list_images(image_dir)
        files = files[~files["source"].str.fullmatch(OTHER_FILES)].reset_index(drop=True)
        formats = ("fits",) if (files["image_format"] == "fits").any() or image_format == "fits" else ("png",)
    elif image_dir.is_file():
        lines = read_list(image_dir)
        files = parse_image_names(lines["path"]).assign(source=lines["path"])
        formats, problems = ("fits", "png", ""), []
    else:
        raise UserError(f"image_dir: expected a folder of NNNN/*.fits, or a text file of NNNN/filename lines, at "
                        f"'{image_dir}' (from {Path.cwd()}), found nothing; set --image-dir")
    images, unusable = usable_names(files, formats)
    problems += unusable
    if images.empty:
        examples = "; ".join(f"{problem.input}: {problem.detail or problem.reason}" for problem in problems[:2])
        hint = where_images_are(image_dir, formats[0]) if image_dir.is_dir() else ""
        raise UserError(f"image_dir: no image like NNNN/{SERIES}.YYYYMMDD_HHMMSS_TAI.1.magnetogram.{formats[0]} in "
                        f"{image_dir}{' (' + examples + ')' if examples else ''}; {hint}set --image-dir")
    return images, problems


def usable_names(files: pd.DataFrame, formats: tuple[str, ...]) -> tuple[pd.DataFrame, list[Problem]]:
    """Return the files whose names say region, time and camera, each image once, by these; and why others do not."""
    well_named = files["time"].notna() & files["camera"].isin(CAMERAS) & files["image_format"].isin(formats)
    named = well_named & (files["region"] != "")
    agreeing = named & ((files["folder"] == files["region"]) | (files["folder"] == ""))
    problems = [Problem(file.source, NOT_A_NAME, _name_fault(file, formats), "images")
                for file in files[~well_named].itertuples()]
    for excluded, reason, detail in (
            (well_named & ~named, "image without a region", "neither folder nor name begins with a NOAA number"),
            (named & ~agreeing, "folder and file name give different regions", "expected one and the same")):
        problems += [Problem(source, reason, detail, "images") for source in files["source"][excluded]]
    images = files[agreeing].sort_values("image", kind="stable")  # files of one image stay in their order
    again = images["image"] == images["image"].shift()
    problems += [Problem(source, "second file of an image", "the first is used", "images")
                 for source in images["source"][again]]
    return images[~again].reset_index(drop=True), problems


def _name_fault(file: NamedTuple, formats: tuple[str, ...]) -> str:
    """Return what is wrong with the name of a file that is no image to use."""
    name = file.source.replace("\\", "/").rpartition("/")[2]
    if not file.camera:
        return f"file name '{name}' is not like NNNN_{SERIES}.YYYYMMDD_HHMMSS_TAI.1.magnetogram.fits"
    if pd.isna(file.time):
        return f"file name '{name}': there is no time {file.image.split('.')[2].removesuffix('_TAI')}"
    if file.camera not in CAMERAS:
        return f"camera {file.camera}, expected 1 or 3"
    return f"a .{file.image_format} file, expected .{formats[0]}"


# ---------------------------------------------------------------------------- positions


def select_images(images: pd.DataFrame, table: pd.DataFrame, max_latitude: float, max_longitude: float,
                  as_published: bool, run: StageRun) -> pd.DataFrame:
    """Keep the images whose region is within the limits at 00:00 of the image's date.

    Parameters
    ----------
    images, table : pandas.DataFrame
        `source`, `region` and `time`, by region and time; rows of the region summaries.
    max_latitude, max_longitude : float
        [deg]; a position at the limit is out.
    as_published, run : bool, StageRun
        The limits bind only on days whose summary lists the region, and a region's last image is out if of 00:00:00;
        counts and reports images without a position, or with an interpolated one.

    Returns
    -------
    pandas.DataFrame
        The rows kept, with `latitude` and `longitude` [deg], north and west positive, NaN where there is none, and
        `has_row` (bool): the summary of the day lists the region, so the position is not interpolated.
    """
    positions = region_positions(images["region"], images["time"].to_numpy(), table)
    images = images.assign(latitude=positions.latitude, longitude=positions.longitude, has_row=positions.has_row)
    if as_published:
        images.loc[~images["has_row"], ["latitude", "longitude"]] = np.nan
        midnight = images["time"] == images["time"].dt.normalize()
        refused = ~images["region"].duplicated(keep="last") & midnight
        reason = ("last image of a region, at 00:00:00", "not in the published data set either")
    else:
        refused = images["latitude"].isna()
        reason = ("no position", "before the first or after the last row of its region")
    for source in images["source"][refused]:
        run.exclude(source, *reason, "images")
    # a missing position compares as False: it is not outside
    outside = ~refused & ((images["latitude"].abs() >= max_latitude) | (images["longitude"].abs() >= max_longitude))
    columns = (images.loc[outside, name].tolist() for name in ("source", "latitude", "longitude"))
    run.exclusions += [Problem(source, "outside the limits", f"latitude {latitude:.1f}, longitude {longitude:.1f}",
                               "images") for source, latitude, longitude in zip(*columns, strict=True)]
    kept = images[~refused & ~outside].reset_index(drop=True)
    if as_published:
        run.report(f"{(~kept['has_row']).sum():,} images kept without a row on their day, as published")
        return kept
    run.count("images_without_position", int(refused.sum()))
    run.count("images_outside_by_interpolated_position", int((outside & ~images["has_row"]).sum()))
    run.report(f"Excluded without a position: {refused.sum():,} images, by an interpolated one: "
               f"{(outside & ~images['has_row']).sum():,} (the published data set has both); positions interpolated: "
               f"{(~kept['has_row']).sum():,} of those kept")
    return kept


# ---------------------------------------------------------------------------- labels


def label_dataset(images: pd.DataFrame, events: EventList, target: FlareTarget, as_published: bool,
                  run: StageRun) -> pd.DataFrame:
    """Label the images of a data set.

    Parameters
    ----------
    images, events, target : pandas.DataFrame, EventList, FlareTarget
        `region`, `time` [TAI] and `camera`, shape (m,); flares, on the scale of the target; which of them count.
    as_published, run : bool, StageRun
        Flares have the dates of their reports: no label depends on the days of maxima after midnight. Reports the
        images with a day without a report in their window, and the labels that those maxima change.

    Returns
    -------
    pandas.DataFrame
        The images with `flare_class` (str), in the order of the label file.
    """
    run.report(f"Labelling {len(images):,} images with {len(events):,} flares, {events.period[0]} to "
               f"{events.period[1]}")
    times = images["time"].to_numpy().astype("datetime64[s]")
    rule = target.size, target.window_hours, target.latency_minutes
    labels = label_images(images["region"], times, events, *rule)
    classes = labels.flare_classes(events)
    _report_coverage(times, events, target, run)
    if target.scale == AS_REPORTED and times.min() < REDUCED_UNTIL <= times.max():
        run.report(f"ATTENTION: images before and after {REDUCED_UNTIL}, until which reported classes were {REDUCTION} "
                   f"of today's: {target.size} means two fluxes; set flare_scale to modern to label by one")
    if not as_published:
        listed = replace(events, time=events.listed_time)
        as_listed = label_images(images["region"], times, listed, *rule).flare_classes(listed)
        changed = int((classes != as_listed).sum())
        run.count("flares_after_midnight", int(events.after_midnight.sum()))
        run.count("labels_changed_by_midnight_rule", changed)
        run.report(f"Maxima after midnight: {events.after_midnight.sum():,} flares are on the day after their report; "
                   f"labels that therefore differ from the published rule: {changed:,}")
    order = label_order(images, labels)
    return images.assign(flare_class=pd.Series(classes, dtype="str")).iloc[order].reset_index(drop=True)


def label_order(images: pd.DataFrame, labels: ImageLabels) -> np.ndarray:
    """Return the published order: flaring images by their first-listed flare, the rest by region; both then by time."""
    regions = region_codes(images["region"])
    flaring = labels.earliest_listed >= 0
    group = np.where(flaring, labels.earliest_listed, regions)
    return np.lexsort((images["camera"].to_numpy(), images["time"].to_numpy(), group, ~flaring))


def _report_coverage(times: np.ndarray, events: EventList, target: FlareTarget, run: StageRun) -> None:
    """Warn of images whose label may be too low because a report is missing."""
    begin = times + np.timedelta64(whole_seconds(0, target.latency_minutes), "s")
    end = times + np.timedelta64(whole_seconds(target.window_hours, target.latency_minutes) - 1, "s")
    lacking = int((~events.covers(begin, end)).sum())
    run.count("images_with_unreported_days", lacking)
    if lacking:
        kind = "flares" if events.reported is None else "reports"
        run.report(f"Warning: {lacking:,} images have a day without a report in their window: their label is a lower "
                   f"limit; {kind} are known from {events.period[0]} to {events.period[1]}")


# ---------------------------------------------------------------------------- summary


def report_contents(labelled: pd.DataFrame, target: FlareTarget, figure: Path, run: StageRun) -> str:
    """Print the table of images and regions by label, count them for the sidecar, and draw the figure.

    Parameters
    ----------
    labelled, target : pandas.DataFrame, FlareTarget
        `region`, `time`, `latitude`, `longitude` and `flare_class`; what counts.
    figure, run : Path, StageRun
        The image file to write; prints and counts.

    Returns
    -------
    str
        The contents in a few words, for the closing line.
    """
    counts = class_counts(labelled["flare_class"].to_numpy().astype(str), labelled["region"].to_numpy(),
                          target.size)
    flaring = int((labelled["flare_class"] != NO_FLARE).sum())
    n_regions = int(labelled["region"].nunique())
    for name, number in (("images", len(labelled)), ("regions", n_regions), ("flaring_images", flaring)):
        run.count(name, number)
    for letter, row in counts.iterrows():
        run.count(f"images_{'none' if letter == NO_FLARE else letter}", int(row["images"]))
    share = f"{flaring / len(labelled):.1%}"
    counted_flare = f"flare >= {target.size} within {target.window_hours:g} h{target.conditions()}"
    images, of_regions = counted(len(labelled), "images"), counted(n_regions, "regions")
    save_summary_figure(figure, labelled, counts, f"{share} of {images} of {of_regions} precede a {counted_flare}")
    run.report(summary_table(counts, n_regions))
    return f"{images}, {share} with a {counted_flare}"


def class_counts(labels: np.ndarray, regions: np.ndarray, size: str) -> pd.DataFrame:
    """Count images and regions (those with at least one such image) by the letter of the label, and name each.

    The letter is `0` for no flare of the size that counts; smaller classes cannot be there and are not shown.
    """
    letters = np.asarray(labels).astype("U1")
    frame = pd.DataFrame({"letter": letters, "region": np.asarray(regions)})
    counts = frame.groupby("letter")["region"].agg(images="size", regions="nunique")
    shown = [letter for letter in CLASS_COLOURS
             if letter in (NO_FLARE, *counts.index) or letter in ALWAYS_SHOWN and letter >= size[0]]
    return counts.reindex(shown, fill_value=0).assign(
        name=[f"none >= {size}" if letter == NO_FLARE else letter for letter in shown])


def summary_table(counts: pd.DataFrame, n_regions: int) -> str:
    """Return the lines of images and regions by label; one of the `n_regions` regions can stand in several of them."""
    total = int(counts["images"].sum())
    lines = [f"{'largest flare in the window':<28}{'images':>12}{'share':>8}{'regions':>10}"]
    for _, row in counts.iterrows():
        lines.append(f"{row['name']:<28}{row['images']:>12,}{row['images'] / total:>8.2%}{row['regions']:>10,}")
    return "\n".join([*lines, f"{'all':<28}{total:>12,}{1:>8.0%}{n_regions:>10,}"])


def save_summary_figure(path: Path, labelled: pd.DataFrame, counts: pd.DataFrame, title: str) -> None:
    """Draw images by time and label, positions on the disk (but for NaN), and classes."""
    from matplotlib.figure import Figure  # slow to import, and with a notebook's backend possible only in a run

    figure = Figure(figsize=(8.3, 7.4))  # no automatic layout: it draws everything twice
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.12, top=0.9, wspace=0.45, hspace=0.4)
    axes = figure.subplot_mosaic([["times", "times"], ["disk", "classes"]], width_ratios=(1.2, 1),
                                 height_ratios=(1, 1.3))
    plot_times(axes["times"], labelled["time"].to_numpy(), labelled["flare_class"].to_numpy().astype(str),
               counts["name"])
    plot_positions(axes["disk"], labelled["latitude"].to_numpy(), labelled["longitude"].to_numpy())
    plot_classes(axes["classes"], counts)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, metadata={"Software": None} if path.suffix == ".png" else None)


def plot_times(ax: "Axes", times: np.ndarray, labels: np.ndarray, names: pd.Series) -> "Axes":
    """Draw stacked bars of images per month, or day, by the letter of the label, with its name; return the axes."""
    from matplotlib.dates import ConciseDateFormatter, date2num

    times = np.asarray(times)
    short = np.ptp(times.astype("datetime64[M]").astype(np.int64)) < MONTHS_BY_DAY
    unit, name_of_unit = ("D", "day") if short else ("M", "month")
    bins = times.astype(f"datetime64[{unit}]").astype(np.int64)
    letters = np.asarray(labels).astype("U1")
    span = np.arange(bins.min(), bins.max() + 1)
    edges = date2num(np.append(span, span[-1] + 1).astype(f"datetime64[{unit}]"))
    base = np.zeros(len(span))
    for letter, name in names.items():
        height = np.bincount(bins[letters == letter] - span[0], minlength=len(span))
        if height.any():
            ax.stairs(base + height, edges, baseline=base, fill=True, color=CLASS_COLOURS[letter], label=name)
        base += height
    ax.set(ylabel="images", title=f"Images per {name_of_unit}, by the largest flare that follows")
    ax.set_ylim(top=1.25 * base.max())
    ax.legend(ncols=len(CLASS_COLOURS), loc="upper right")
    ax.xaxis_date()
    ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))
    return ax


def plot_positions(ax: "Axes", latitude: np.ndarray, longitude: np.ndarray) -> "Axes":
    """Draw where on the disk images are, seen from above the equator (orthographic, B0 = 0), and return the axes."""
    from matplotlib.patches import Circle
    from matplotlib.ticker import MaxNLocator

    known = ~np.isnan(latitude)
    y = np.sin(np.radians(latitude[known]))
    x = np.cos(np.radians(latitude[known])) * np.sin(np.radians(longitude[known]))
    density, _, _ = np.histogram2d(y, x, bins=50, range=((-1, 1), (-1, 1)))
    decades = density.max() > 10  # which a log scale needs
    image = ax.imshow(np.where(density > 0, density, np.nan), origin="lower", extent=(-1, 1, -1, 1), cmap="cividis",
                      norm="log" if decades else None)
    ax.add_patch(Circle((0, 0), 1, fill=False, color="black", linewidth=0.8))
    ax.figure.colorbar(image, ax=ax, label="images", shrink=0.8, ticks=None if decades else MaxNLocator(integer=True))
    ax.set(xlabel="east - west [solar radii]", ylabel="south - north [solar radii]", xlim=(-1.05, 1.05),
           ylim=(-1.05, 1.05), title=f"Positions of {known.sum():,} images", aspect="equal")
    return ax


def plot_classes(ax: "Axes", counts: pd.DataFrame) -> "Axes":
    """Draw images by the letter of the label, with the number of their regions, and return the axes."""
    names = counts["name"].str.replace(" ", "\n", n=1)
    bars = ax.bar(names, counts["images"], color=[CLASS_COLOURS[letter] for letter in counts.index])
    texts = [f"{row.images:,}\n{row.regions:,} reg." for row in counts.itertuples()]
    ax.bar_label(bars, texts, padding=2)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set(ylim=(0, max(counts["images"].max(), 1) * 1.2), xlabel="largest flare in the window", ylabel="images",
           title="Classes")
    return ax
