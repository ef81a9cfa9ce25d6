"""What each feature does to a classifier's decisions, as figures: to all of them, and to that of one image."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier_SVM.training.classifiers import decision_values
from general_code.evaluation.report import COLOURS, GREY, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 40
ORDERS = 16  # and as many backwards, in which features are put in
FOR_A_FLARE, AGAINST = COLOURS[1], COLOURS[0]


def effects_of_one_deviation(estimator: Any, values: np.ndarray) -> np.ndarray:
    """Change of the decision value when one feature after the other grows by a standard deviation, shape (d,).

    Mean over the rows, each moved by half a deviation to both sides: above 0 where more of a feature speaks for a
    flare. For a linear classifier weight times standard deviation.
    """
    deviations = values.std(axis=0)
    effects = np.empty(len(deviations))
    for column, deviation in enumerate(deviations):
        lower, upper = values.copy(), values.copy()
        lower[:, column] -= deviation / 2
        upper[:, column] += deviation / 2
        effects[column] = np.mean(decision_values(estimator, upper) - decision_values(estimator, lower))
    return effects


def contributions(estimator: Any, own: np.ndarray, typical: np.ndarray) -> tuple[float, np.ndarray]:
    """What each feature of an image adds to the decision value of a typical image.

    Parameters
    ----------
    estimator, own, typical : estimator, ndarray of shape (d,), ndarray of shape (d,)
        As `fit_classifier` returns it; scaled values of the image, and of a typical one.

    Returns
    -------
    base, added : float, ndarray
        Decision value of the typical image, and shape (d,): base plus all of them is the image's decision value. A
        feature's share is what its own value changes, on average over orders in which the features are put in
        (Shapley values, from a fixed sample of orders); for a linear classifier weight times (own - typical).
    """
    random = np.random.default_rng(0)
    forwards = [random.permutation(len(own)) for _ in range(ORDERS)]
    added = np.zeros(len(own))
    for order in [*forwards, *(one[::-1] for one in forwards)]:
        rows = np.tile(typical, (len(own) + 1, 1))
        for step, column in enumerate(order, start=1):
            rows[step:, column] = own[column]
        decisions = decision_values(estimator, rows)
        added[order] += np.diff(decisions) / (2 * ORDERS)
    return float(decisions[0]), added


def plot_effects(ax: "Axes", names: tuple[str, ...], effects: np.ndarray, most: int = MOST_BARS) -> "Axes":
    """Draw the signed contributions of features as bars, at most so many, the largest on top."""
    order = np.argsort(-np.abs(effects))[:most]
    ax.barh(range(len(order)), effects[order], color=[FOR_A_FLARE if e > 0 else AGAINST for e in effects[order]])
    ax.set_yticks(range(len(order)), [names[i].replace("_", " ") for i in order])
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.axvline(0, color=GREY, linewidth=0.8)
    if not np.nan_to_num(effects).any():
        ax.set_xlim(-1, 1)
        ax.text(0.5, 0.5, "no contribution", ha="center", transform=ax.transAxes)
    ax.grid(axis="x", alpha=0.3)
    return ax


def plot_contributions(ax: "Axes", names: tuple[str, ...], base: float, added: np.ndarray, most: int) -> "Axes":
    """Draw how a decision value adds up: the typical image, the largest contributions one by one, the rest, the sum.

    Parameters
    ----------
    ax, names, base, added : matplotlib.axes.Axes, tuple of str, float, ndarray of shape (d,)
        Where to draw; names of the features; as `contributions` returns them.
    most : int
        How many features have a bar of their own.

    Returns
    -------
    matplotlib.axes.Axes
        The one given.
    """
    order = np.argsort(-np.abs(added), kind="stable")
    own, rest = order[:most], order[most:]
    steps = [(base, "mean training image", GREY)]
    steps += [(added[i], names[i].replace("_", " "), FOR_A_FLARE if added[i] > 0 else AGAINST) for i in own]
    if len(rest):
        steps.append((added[rest].sum(), f"the other {len(rest)} features", GREY))
    ends = np.cumsum([step for step, *_ in steps])
    steps.append((ends[-1], "this image", "black"))
    ends = np.append(ends, ends[-1])
    for row, (end, (step, _, colour)) in enumerate(zip(ends, steps, strict=True)):
        ax.barh(row, step, left=end - step, color=colour)
        ax.annotate(f"{step:+.2f}", (max(end, end - step), row), (3, 0), textcoords="offset points", va="center",
                    fontsize="small", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    ax.vlines(ends[:-1], np.arange(len(ends) - 1), np.arange(len(ends) - 1) + 1, color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(steps)), [label for _, label, _ in steps])
    ax.set_ylim(len(steps) - 0.4, -0.6)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.use_sticky_edges = False
    ax.margins(x=0.2)
    return ax


def write_weight_figure(path: Path, estimator: Any, values: np.ndarray, names: tuple[str, ...], title: str) -> None:
    """Write the figure of what more of each feature does to the decision.

    Parameters
    ----------
    path, estimator : Path, estimator
        Of the figure; as `fit_classifier` returns it.
    values, names, title : ndarray of shape (n, d), tuple of str, str
        Scaled rows that the effects are averaged over, not of the test set; their columns; what the classifier is
        called.
    """
    effects = effects_of_one_deviation(estimator, values)
    figure = new_figure(8.3, 1.6 + 0.22 * min(len(effects), MOST_BARS))
    ax = plot_effects(figure.subplots(), names, effects)
    ax.set_xlabel("←  fewer flares        more flares  →\n"
                  "change of the decision value when the feature grows by one standard deviation")
    shown = f"the {MOST_BARS} largest of {len(effects)}; " if len(effects) > MOST_BARS else ""
    figure.suptitle(f"{title}: what an increase in each feature does to the forecast\n"
                    f"({shown}features are correlated: a single bar does not show a cause)")
    save_figure(figure, path)
