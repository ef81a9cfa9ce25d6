"""What a data set holds: a table for the terminal, a figure, and the numbers for the sidecar."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from general_code.stage_files import atomic_path

CLASS_COLOURS = {"0": "#bbbbbb", "A": "#dddddd", "B": "#88ccee", "C": "#0077bb", "M": "#ee7733", "X": "#aa3377"}
CLASS_NAMES = {"0": "no flare", "A": "A", "B": "B", "C": "C", "M": "M", "X": "X"}
ALWAYS_SHOWN = ("0", "C", "M", "X")


def class_counts(labels: np.ndarray, regions: np.ndarray) -> pd.DataFrame:
    """Count images and regions by the letter of the label.

    Parameters
    ----------
    labels : numpy.ndarray, shape (m,)
        Flare classes, `0` for none.
    regions : numpy.ndarray, shape (m,)
        Active region of each image.

    Returns
    -------
    pandas.DataFrame
        By letter (`0` for none): `images`, and `regions` with at least one such image; A and B where there are any.
    """
    letters = np.asarray(labels).astype("U1")
    frame = pd.DataFrame({"letter": letters, "region": np.asarray(regions)})
    counts = frame.groupby("letter")["region"].agg(images="size", regions="nunique")
    shown = [letter for letter in CLASS_NAMES if letter in ALWAYS_SHOWN or letter in counts.index]
    return counts.reindex(shown, fill_value=0)


def summary_table(counts: pd.DataFrame, n_regions: int) -> str:
    """Return the table of images and regions by label, ready to print.

    Parameters
    ----------
    counts : pandas.DataFrame
        From `class_counts`.
    n_regions : int
        Regions in the whole data set: one region can stand in several rows.

    Returns
    -------
    str
        Several lines.
    """
    total = int(counts["images"].sum())
    lines = [f"{'largest flare in the window':<28}{'images':>12}{'share':>8}{'regions':>10}"]
    for letter, row in counts.iterrows():
        lines.append(f"{CLASS_NAMES[letter]:<28}{row['images']:>12,}{row['images'] / total:>8.2%}{row['regions']:>10,}")
    return "\n".join([*lines, f"{'all':<28}{total:>12,}{1:>8.0%}{n_regions:>10,}"])


def save_summary_figure(path: Path, times: np.ndarray, latitude: np.ndarray, longitude: np.ndarray,
                        labels: np.ndarray, counts: pd.DataFrame, title: str) -> None:
    """Draw images per month by label, positions on the disk, and classes.

    Parameters
    ----------
    path : Path
        The image file to be.
    times : numpy.ndarray, shape (m,)
        datetime64[s], TAI.
    latitude, longitude : numpy.ndarray, shape (m,)
        Heliographic [deg], north and west positive; images at NaN are not drawn on the disk.
    labels : numpy.ndarray, shape (m,)
        Flare classes, `0` for none.
    counts : pandas.DataFrame
        From `class_counts`.
    title : str
        Of the figure.
    """
    figure = Figure(figsize=(14, 4.6))  # no automatic layout: it draws everything twice
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.12, top=0.84, wspace=0.3)
    months, disk, classes = figure.subplots(1, 3, width_ratios=(1.8, 1.2, 1.0))
    plot_months(months, times, labels)
    plot_positions(disk, latitude, longitude)
    plot_classes(classes, counts)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, metadata={"Software": None} if path.suffix == ".png" else None)


def plot_months(ax: Axes, times: np.ndarray, labels: np.ndarray) -> Axes:
    """Draw stacked bars of images per month by the letter of the label.

    Parameters
    ----------
    ax : matplotlib Axes
        To draw into.
    times : numpy.ndarray, shape (m,)
        datetime64[s], TAI.
    labels : numpy.ndarray, shape (m,)
        Flare classes, `0` for none.

    Returns
    -------
    matplotlib Axes
        The same.
    """
    months = np.asarray(times).astype("datetime64[M]").astype(np.int64)
    letters = np.asarray(labels).astype("U1")
    span = np.arange(months.min(), months.max() + 1)
    edges = date2num(np.append(span, span[-1] + 1).astype("datetime64[M]"))
    base = np.zeros(len(span))
    for letter, name in CLASS_NAMES.items():
        height = np.bincount(months[letters == letter] - span[0], minlength=len(span))
        if height.any():
            ax.stairs(base + height, edges, baseline=base, fill=True, color=CLASS_COLOURS[letter], label=name)
        base += height
    ax.set(xlabel="month", ylabel="images a month", title="Images per month, by the largest flare that follows")
    ax.set_ylim(top=1.12 * base.max())
    ax.legend(ncols=len(CLASS_NAMES), loc="upper right")
    ax.xaxis_date()
    ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))
    return ax


def plot_positions(ax: Axes, latitude: np.ndarray, longitude: np.ndarray) -> Axes:
    """Draw where on the disk the images are, seen from above the equator (orthographic, B0 = 0).

    Parameters
    ----------
    ax : matplotlib Axes
        To draw into.
    latitude, longitude : numpy.ndarray, shape (m,)
        Heliographic [deg], north and west positive; NaN is not drawn.

    Returns
    -------
    matplotlib Axes
        The same.
    """
    known = ~np.isnan(latitude)
    y = np.sin(np.radians(latitude[known]))
    x = np.cos(np.radians(latitude[known])) * np.sin(np.radians(longitude[known]))
    density, _, _ = np.histogram2d(y, x, bins=50, range=((-1, 1), (-1, 1)))
    image = ax.imshow(np.where(density > 0, density, np.nan), origin="lower", extent=(-1, 1, -1, 1), cmap="cividis",
                      norm="log" if density.max() > 10 else None)  # a log scale needs a decade
    ax.add_patch(Circle((0, 0), 1, fill=False, color="black", linewidth=0.8))
    ax.figure.colorbar(image, ax=ax, label="images", shrink=0.8)
    ax.set(xlabel="east - west [solar radii]", ylabel="south - north [solar radii]", xlim=(-1.05, 1.05),
           ylim=(-1.05, 1.05), title=f"Positions of {known.sum():,} images", aspect="equal")
    return ax


def plot_classes(ax: Axes, counts: pd.DataFrame) -> Axes:
    """Draw images by the letter of the label, with the number of their regions.

    Parameters
    ----------
    ax : matplotlib Axes
        To draw into.
    counts : pandas.DataFrame
        From `class_counts`.

    Returns
    -------
    matplotlib Axes
        The same.
    """
    names = [CLASS_NAMES[letter] for letter in counts.index]
    bars = ax.bar(names, counts["images"], color=[CLASS_COLOURS[letter] for letter in counts.index])
    texts = [f"{row.images:,}\n{row.regions:,} reg." for row in counts.itertuples()]
    ax.bar_label(bars, texts, padding=2, fontsize=8)
    ax.set_yscale("symlog", linthresh=1)
    ax.set(ylim=(0, max(counts["images"].max(), 1) * 30), xlabel="largest flare in the window", ylabel="images",
           title="Classes")
    return ax
