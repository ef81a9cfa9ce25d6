"""The figure of a training: loss and scores by epoch."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from general_code.skill_figures import COLOURS, GREY


def plot_curves(ax: Axes, history: Sequence[dict[str, float]], names: Sequence[str], best: int) -> Axes:
    """Draw quantities by epoch, training dashed and validation in full.

    Parameters
    ----------
    ax : matplotlib Axes
        Drawn into.
    history : sequence of dict
        Records with epoch, and each name with and without `val_`; nan is left out.
    names : sequence of str
        What to draw.
    best : int
        Epoch to mark.

    Returns
    -------
    matplotlib Axes
        The same.
    """
    epochs = [record["epoch"] for record in history]
    for colour, name in zip(COLOURS, names, strict=False):
        ax.plot(epochs, [record[name] for record in history], "o--", color=colour, alpha=0.6, markersize=3,
                label=f"{name}, training")
        ax.plot(epochs, [record[f"val_{name}"] for record in history], "o-", color=colour, markersize=4,
                label=f"{name}, validation")
    ax.axvline(best, color=GREY, linewidth=0.8, linestyle=":")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize="small")
    return ax


def training_figure(history: Sequence[dict[str, float]], best: int, title: str) -> Figure:
    """Draw the training curves.

    Parameters
    ----------
    history : sequence of dict
        As `history.csv`.
    best : int
        Epoch chosen.
    title : str
        The figure's message.

    Returns
    -------
    matplotlib Figure
        Loss on the left, TSS and HSS on the right.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_curves(left, history, ("loss",), best).set_ylabel("cross-entropy (training: weighted by class)")
    plot_curves(right, history, ("TSS", "HSS"), best).set_ylabel("skill score")
    figure.suptitle(title, fontsize="medium")
    return figure
