"""Pictures of magnetograms with the neutral line that the features count."""

import numpy as np
from matplotlib.axes import Axes

from classifier_SVM.contour_kernels import trace_neutral_line
from classifier_SVM.FunctionsP3 import gradient_features, prepare
from classifier_SVM.neutral_line_kernels import STRONG

NEUTRAL_LINE_COLOUR = "#E69F00"  # orange of the Okabe-Ito palette: seen on grey by all


def strong_neutral_line(image: np.ndarray) -> np.ndarray:
    """Return the pixels that feature 8 ("NL length") counts.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (ny, nx), finite: field [G], or grey levels minus 128.

    Returns
    -------
    numpy.ndarray
        bool, shape (ny, nx): on the neutral line, with a gradient of at least 0.2 times the largest on it.

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
        mask.reshape(-1)[pixels[on_line >= STRONG * on_line.max()]] = True
    return mask


def plot_magnetogram(ax: Axes, image: np.ndarray, title: str, largest: float = 500.0) -> Axes:
    """Draw a magnetogram in grey with its strong neutral line on top.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    image : numpy.ndarray
        Shape (ny, nx), finite: field [G], or grey levels minus 128.
    title : str
        Above the picture.
    largest : float, optional
        White; its negative is black. In the image's unit.

    Returns
    -------
    matplotlib.axes.Axes
        The same.
    """
    ax.imshow(image, cmap="gray", vmin=-largest, vmax=largest, origin="lower", interpolation="nearest")
    rows, columns = np.nonzero(strong_neutral_line(image))
    ax.scatter(columns, rows, s=2.0, c=NEUTRAL_LINE_COLOUR, linewidths=0)
    ax.set_title(title, fontsize=9)
    ax.set_xticks(())
    ax.set_yticks(())
    return ax
