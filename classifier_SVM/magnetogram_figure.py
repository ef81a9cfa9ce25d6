"""Pictures of magnetograms with the neutral line of the features."""

import numpy as np
from matplotlib.axes import Axes

from classifier_SVM.contour_kernels import trace_neutral_line
from classifier_SVM.FunctionsP3 import gradient_features, prepare
from classifier_SVM.neutral_line_kernels import STRONG

NEUTRAL_LINE_COLOUR = "#E69F00"  # orange of the Okabe-Ito palette: seen on grey by all
SHOWN_FIELD = {"fits": (500.0, "G"), "png": (20.0, "grey levels")}  # where the grey scale ends; 25 G a level


def strong_neutral_line(image: np.ndarray) -> np.ndarray:
    """Return the pixels of the neutral line that feature 8 ("NL length") counts: the rest fills the quiet Sun.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (ny, nx): field [G], or grey levels minus 128.

    Returns
    -------
    numpy.ndarray
        bool, shape (ny, nx): where the gradient is at least 0.2 times the largest on the line.

    Raises
    ------
    ValueError
        For an image that has no features; see `FunctionsP3.prepare`.
    """
    field = prepare(image)
    _, magnitude = gradient_features(field.pixels)
    points, _ = trace_neutral_line(field.smoothable, True)
    mask = np.zeros(image.shape, dtype=bool)
    pixels = points[:, 0]
    if pixels.size:
        on_line = magnitude.reshape(-1)[pixels]
        pixels = pixels[on_line >= STRONG * on_line.max()]
    mask.reshape(-1)[pixels] = True
    return mask


def plot_magnetogram(ax: Axes, image: np.ndarray, line: np.ndarray, image_format: str) -> Axes:
    """Draw a magnetogram in grey with pixels of its neutral line on top.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    image : numpy.ndarray
        Shape (ny, nx), finite: field [G], or grey levels minus 128.
    line : numpy.ndarray
        bool, shape (ny, nx); see `strong_neutral_line`.
    image_format : {"fits", "png"}
        Which of the two units.

    Returns
    -------
    matplotlib.axes.Axes
        The same.
    """
    limit, _ = SHOWN_FIELD[image_format]
    ax.imshow(image, cmap="gray", vmin=-limit, vmax=limit, origin="lower", interpolation="nearest")
    rows, columns = np.nonzero(line)
    ax.scatter(columns, rows, s=2.0, c=NEUTRAL_LINE_COLOUR, linewidths=0)
    return ax
