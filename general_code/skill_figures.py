"""Figures of forecast scores. Each function draws into the `ax` it is given and returns it; nothing is shown.

Colours are those of Okabe and Ito, which readers with any common colour vision tell apart.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from general_code.skill_scores import format_score, reliability_curve, roc_auc
from general_code.stage_files import UserError, atomic_path

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#767676"


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure under its final name in one step, the same bytes for the same content.

    Parameters
    ----------
    figure : matplotlib Figure
        Complete.
    path : Path
        The image file to be; its suffix says the format, PNG without one.

    Raises
    ------
    UserError
        For a suffix that is no format of matplotlib's.
    """
    kind, kinds = path.suffix.lower().lstrip(".") or "png", figure.canvas.get_supported_filetypes()
    if kind not in kinds:
        raise UserError(f"figure '{path}': no format of figures is called '{kind}'; name it .png or .pdf")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150, metadata={"Software": None} if kind == "png" else None)


def plot_scores(ax: Axes, forecasts: dict[str, dict | str], scores: Sequence[str] = ("TSS", "HSS")) -> Axes:
    """Draw scores of several forecasts as dots with their 95 % intervals, one line a forecast.

    Parameters
    ----------
    ax : matplotlib Axes
        To draw into.
    forecasts : dict
        {name: {score: value, "intervals": {score: (low, high)}}}, as `score_forecast` makes them. A forecast that is
        a text ("not available") and a score that is NaN are written as such in their line; a score that a forecast
        does not have is left out.
    scores : sequence of str
        Which scores to draw, one colour each.

    Returns
    -------
    matplotlib Axes
        The same.
    """
    names = list(forecasts)
    for j, score in enumerate(scores):
        offset = 0.16 * (j - (len(scores) - 1) / 2)
        for i, name in enumerate(names):
            _draw_score(ax, i + offset, forecasts[name], score, COLOURS[j], above=j < len(scores) / 2)
        ax.plot([], [], "o", color=COLOURS[j], label=score)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("score (bar: 95 % of bootstrap samples over regions)")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(frameon=False, ncols=len(scores), loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def _draw_score(ax: Axes, y: float, forecast: dict | str, score: str, colour: str, above: bool) -> None:
    """Draw one dot with its interval, or write why there is none; nothing for a score that the forecast lacks."""
    if not isinstance(forecast, str) and score not in forecast:
        return
    value = np.nan if isinstance(forecast, str) else forecast.get(score, np.nan)
    if not np.isfinite(value):
        text = forecast if isinstance(forecast, str) else f"{score} {format_score(value)}"
        ax.text(0.01, y, text, color=colour, fontsize="x-small", va="center", transform=ax.get_yaxis_transform())
        return
    low, high = forecast["intervals"][score]
    if np.isfinite(low):
        ax.plot([low, high], [y, y], color=colour, linewidth=1.5)
    ax.plot(value, y, "o", color=colour)
    ax.annotate(f"{value:.3f}", (value, y), xytext=(0, 4 if above else -4), textcoords="offset points",
                ha="center", va="bottom" if above else "top", fontsize="x-small", color=colour)


def plot_roc(ax: Axes, curves: dict[str, tuple], points: dict[str, tuple[float, float]] | None = None) -> Axes:
    """Draw ROC curves with their areas, and decisions as points.

    Parameters
    ----------
    ax : matplotlib Axes
        To draw into.
    curves : dict
        {name: (truth, score)}; one with a single class or a NaN score is named in the legend as not defined.
    points : dict, optional
        {name: (TPR, TNR)} of yes/no forecasts; those that are not defined are left out.

    Returns
    -------
    matplotlib Axes
        The same.
    """
    from sklearn.metrics import roc_curve

    for i, (name, (truth, score)) in enumerate(curves.items()):
        area = roc_auc(truth, score)
        false_positive, true_positive = ([], []) if np.isnan(area) else roc_curve(truth, score)[:2]
        ax.plot(false_positive, true_positive, color=COLOURS[i % len(COLOURS)],
                label=f"{name} (area {format_score(area)})")
    for i, (name, (tpr, tnr)) in enumerate((points or {}).items()):
        if np.isfinite(tpr) and np.isfinite(tnr):
            ax.plot(1 - tnr, tpr, "osD^vP*"[i % 7], color=COLOURS[(i + 1) % len(COLOURS)], label=name)
    ax.plot([0, 1], [0, 1], ":", color=GREY, label="no skill")
    ax.set(xlabel="false positive rate, 1 - TNR", ylabel="true positive rate, TPR", aspect="equal",
           xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(frameon=False, loc="lower right", fontsize="small")
    return ax


def plot_reliability(ax: Axes, truth, probability, climatology: float = np.nan, bins: int = 10) -> Axes:
    """Draw the observed frequency of flares against the forecast probability, with the number of images in each bin.

    Parameters
    ----------
    ax : matplotlib Axes
        To draw into.
    truth, probability : array_like, shape (n,)
        Observed class and forecast probability; without any probability the figure says so.
    climatology : float
        Fraction of flaring images among the training rows, drawn as a line.
    bins : int
        Number of bins over 0..1.

    Returns
    -------
    matplotlib Axes
        The same.
    """
    curve = reliability_curve(truth, probability, bins)
    used = curve[curve["count"] > 0]
    ax.plot([0, 1], [0, 1], ":", color=GREY, label="perfectly reliable")
    if np.isfinite(climatology):
        ax.axhline(climatology, color=COLOURS[4], linewidth=1, label=f"climatology {climatology:.3f}")
    ax.plot(used["probability"], used["frequency"], "o-", color=COLOURS[0], label="forecast (number of images)")
    for row in used.itertuples():
        ax.annotate(f"{row.count:,}", (row.probability, row.frequency), xytext=(4, -4), textcoords="offset points",
                    fontsize="x-small", va="top", path_effects=[withStroke(linewidth=2, foreground="white")])
    if used.empty:
        ax.text(0.5, 0.5, "no probabilities: calibration not defined", ha="center", transform=ax.transAxes)
    ax.set(xlabel="forecast probability", ylabel="observed frequency", aspect="equal",
           xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(frameon=False, loc="best", fontsize="small")  # few points: no corner is always free
    return ax
