"""What each feature contributes to a classifier, as a figure."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from classifier_SVM.machines import Machine, draw_rows, feature_effects
from classifier_SVM.training_rows import Rows
from general_code.skill_figures import COLOURS, GREY, save_figure

SAMPLE_ROWS = 2000  # images that the contributions are averaged over, drawn in proportion from every region
MOST_BARS = 40


def mean_effects(machine: Machine, values: np.ndarray, classes: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """What each feature adds to the decision value of flaring images beyond that of quiet ones.

    Parameters
    ----------
    machine : Machine
        Fitted.
    values : ndarray, shape (n, d)
        Scaled rows.
    classes : ndarray, shape (n,)
        0 or 1.
    typical : ndarray, shape (d,)
        Scaled values of a typical image.

    Returns
    -------
    ndarray
        Shape (d,): mean `feature_effects` of the flaring minus that of the quiet rows; NaN with one class. For the
        linear machine they sum to the difference of the mean decision values.
    """
    if classes.min() == classes.max():
        return np.full(values.shape[1], np.nan)
    effects = feature_effects(machine, values, typical)
    return effects[classes == 1].mean(axis=0) - effects[classes == 0].mean(axis=0)


def plot_effects(ax: Axes, names: tuple[str, ...], effects: np.ndarray, most: int = MOST_BARS) -> Axes:
    """Draw signed contributions as bars, the largest on top.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        To draw into.
    names : tuple of str
        Of the features.
    effects : ndarray, shape (d,)
        Contributions.
    most : int, optional
        How many features to draw at most.

    Returns
    -------
    matplotlib.axes.Axes
        The same.
    """
    order = np.argsort(-np.abs(effects))[:most]
    ax.barh(range(len(order)), effects[order], color=[COLOURS[1] if e > 0 else COLOURS[0] for e in effects[order]])
    ax.set_yticks(range(len(order)), [names[i] for i in order], fontsize="small")
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.grid(axis="x", alpha=0.3)
    return ax


def write_weight_figure(path: Path, machine: Machine, rows: Rows, typical: np.ndarray, class_type: str,
                        seed: int) -> None:
    """Write the figure of what each feature contributes.

    Parameters
    ----------
    path : Path
        The PNG to be.
    machine : Machine
        Fitted.
    rows : Rows
        Scaled training and validation rows; a sample of them is used.
    typical : ndarray, shape (d,)
        Scaled values of a typical image.
    class_type : str
        For the title.
    seed : int
        Of the sample.
    """
    sample = rows.where(draw_rows(rows.labels, SAMPLE_ROWS, seed))
    effects = mean_effects(machine, sample.values, sample.labels["class"].to_numpy(), typical)
    figure = Figure(figsize=(8, 1.6 + 0.22 * min(len(effects), MOST_BARS)), layout="constrained")
    ax = plot_effects(figure.subplots(), rows.names, effects)
    ax.set_xlabel("decision value of flaring images less that of quiet ones, by feature")
    first = rows.names[int(np.nanargmax(np.abs(effects)))] if np.isfinite(effects).any() else "no feature"
    figure.suptitle(f"{class_type}: '{first}' tells flaring images from quiet ones most\n"
                    "(features overlap: a single bar is no cause)", fontsize="medium")
    save_figure(figure, path)
