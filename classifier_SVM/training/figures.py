"""What each feature contributes to a classifier's decisions, as a figure."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier_SVM.training.classifiers import decision_values, draw_rows
from classifier_SVM.training.training_rows import Rows
from general_code.evaluation.report import COLOURS, GREY, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLE_ROWS = 2000  # images that the contributions are averaged over, drawn in proportion from every region
MOST_BARS = 40


def feature_effects(estimator: Any, values: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Change of the decision value when one feature after the other is set to its typical value.

    Parameters
    ----------
    estimator, values, typical : estimator, ndarray of shape (n, d), ndarray of shape (d,)
        As `fit_classifier` returns it; scaled rows; scaled values of a typical image.

    Returns
    -------
    ndarray
        Shape (n, d): above 0 where the feature speaks for a flare; for the linear SVM weight x (value - typical).
    """
    own = decision_values(estimator, values)
    effects = np.empty(values.shape)
    for column in range(values.shape[1]):
        changed = values.copy()
        changed[:, column] = typical[column]
        effects[:, column] = own - decision_values(estimator, changed)
    return effects


def mean_effects(estimator: Any, values: np.ndarray, classes: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Return the mean `feature_effects` of flaring images minus that of quiet ones; NaN with one class."""
    if classes.min() == classes.max():
        return np.full(values.shape[1], np.nan)
    effects = feature_effects(estimator, values, typical)
    return effects[classes == 1].mean(axis=0) - effects[classes == 0].mean(axis=0)


def plot_effects(ax: "Axes", names: tuple[str, ...], effects: np.ndarray, most: int = MOST_BARS) -> "Axes":
    """Draw signed contributions as bars, the largest on top.

    Parameters
    ----------
    ax, names, effects : matplotlib.axes.Axes, tuple of str, ndarray of shape (d,)
        Where to draw; names of the features and their contributions.
    most : int, optional
        How many features to draw at most.

    Returns
    -------
    matplotlib.axes.Axes
        The one given.
    """
    order = np.argsort(-np.abs(effects))[:most]
    ax.barh(range(len(order)), effects[order], color=[COLOURS[1] if e > 0 else COLOURS[0] for e in effects[order]])
    ax.set_yticks(range(len(order)), [names[i] for i in order], fontsize="small")
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.axvline(0, color=GREY, linewidth=0.8)
    if not np.nan_to_num(effects).any():
        ax.set_xlim(-1, 1)
        ax.text(0.5, 0.5, "no contribution", ha="center", transform=ax.transAxes)
    ax.grid(axis="x", alpha=0.3)
    return ax


def write_weight_figure(path: Path, estimator: Any, rows: Rows, typical: np.ndarray, title: str) -> None:
    """Write the figure of what each feature contributes.

    Parameters
    ----------
    path, estimator : Path, estimator
        Of the PNG; as `fit_classifier` returns it.
    rows, typical, title : Rows, ndarray of shape (d,), str
        Scaled training and validation rows, of which a sample is used; scaled values of a typical image; what the
        classifier is called.
    """
    sample = rows.where(draw_rows(rows.labels, SAMPLE_ROWS, seed=0))
    effects = mean_effects(estimator, sample.values, sample.labels["class"].to_numpy(), typical)
    figure = new_figure(8, 1.6 + 0.22 * min(len(effects), MOST_BARS))
    ax = plot_effects(figure.subplots(), rows.names, effects)
    ax.set_xlabel("mean contribution to the decision value: flaring minus quiet images")
    first = rows.names[int(np.nanargmax(np.abs(effects)))] if np.isfinite(effects).any() else "no feature"
    figure.suptitle(f"{title}: '{first}' separates flaring from quiet images most\n"
                    "(features overlap: a single bar is not a cause)", fontsize="medium")
    save_figure(figure, path)
