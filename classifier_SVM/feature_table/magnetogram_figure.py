"""A magnetogram as a picture, with the neutral line of the features on top."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEUTRAL_LINE_COLOUR = "#E69F00"  # orange of the Okabe-Ito palette: seen on grey by all
SHOWN_FIELD = {"fits": (500.0, "G"), "png": (20.0, "grey levels")}  # where the grey scale ends; 25 G a level


def plot_magnetogram(ax: "Axes", image: np.ndarray, line: np.ndarray, image_format: str) -> "Axes":
    """Draw a magnetogram in grey with pixels of its neutral line on top.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    image, line, image_format : numpy.ndarray, numpy.ndarray, {"fits", "png"}
        Shape (ny, nx), finite: field [G], or grey levels minus 128; bool, as `FunctionsP3.strong_neutral_line` returns
        it; which of the two units.

    Returns
    -------
    matplotlib.axes.Axes
        The one given.
    """
    limit, _ = SHOWN_FIELD[image_format]
    ax.imshow(image, cmap="gray", vmin=-limit, vmax=limit, origin="lower", interpolation="nearest")
    rows, columns = np.nonzero(line)
    ax.scatter(columns, rows, s=2.0, c=NEUTRAL_LINE_COLOUR, linewidths=0)
    return ax
