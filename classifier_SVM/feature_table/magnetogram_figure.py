"""A magnetogram as a picture: field in grey, scale bar, and the neutral line of the features where it is no noise."""

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from classifier_SVM.FunctionsP3 import gradient_magnitude, strong_neutral_line
from general_code.images.magnetograms import read_magnetogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEUTRAL_LINE_COLOUR = "#E69F00"  # orange of the Okabe-Ito palette: seen on grey by all
GREY_SCALE = {"fits": (500.0, "G"), "png": (20.0, "grey levels")}  # where it ends
GAUSS_PER_UNIT = {"fits": 1.0, "png": 25.0}  # of the published PNG images, about
HMI_ARCSEC = 0.5  # per pixel of an image without CDELT1
DEGREE_ON_THE_SUN = 960 * math.pi / 180  # [arcsec], at the centre of the disk
PUBLISHED_PIXELS = 600  # side of the cut-outs that the published PNG images were made of
NOISE_GRADIENT = 50.0  # [G/arcsec]: noise of 10 G/pixel and the quiet network stay below it
SOBEL_WEIGHT = 8.0  # the features' gradient is so many times that per pixel
BAR_LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500)  # [arcsec]
LARGEST_BAR = 0.35  # of the picture's width


class Picture(NamedTuple):
    """What is drawn of an image."""

    image: np.ndarray  # field [G], or grey levels minus 128; shape (ny, nx)
    line: np.ndarray  # bool, where the neutral line is drawn
    arcsec: float  # per pixel
    kind: str  # "fits" or "png"
    assumed: str  # what the scale bar takes for granted where the file does not tell its scale, else ""


def read_picture(path: Path, remarks: list[str] | None = None) -> Picture:
    """Read an image with what is drawn on it.

    Parameters
    ----------
    path, remarks : Path, list of str
        As for `read_magnetogram`, whose errors it has, and those of an image without features.

    Returns
    -------
    Picture
        The line has the pixels that feature 8 ("NL length") counts, where the gradient is above `NOISE_GRADIENT`:
        that feature is relative to the largest gradient on the line, and without an active region that is noise.
    """
    kind = "png" if path.suffix.lower() == ".png" else "fits"
    image = read_magnetogram(path, remarks)
    line = strong_neutral_line(image)
    gradient = gradient_magnitude(image)
    arcsec, assumed = pixel_size(path, image.shape[1])
    line &= gradient * GAUSS_PER_UNIT[kind] / (SOBEL_WEIGHT * arcsec) >= NOISE_GRADIENT
    return Picture(image, line, arcsec, kind, assumed)


def pixel_size(path: Path, columns: int) -> tuple[float, str]:
    """Return the size of a pixel [arcsec], and what was assumed for it where the file does not tell, else ""."""
    if path.suffix.lower() == ".png":
        return HMI_ARCSEC * PUBLISHED_PIXELS / columns, f"a PNG image is a cut-out of {PUBLISHED_PIXELS} pixels"
    from astropy.io import fits  # half a second to import

    with suppress(Exception), fits.open(path) as units:  # astropy's errors are of many kinds
        header = next(unit.header for unit in units if "CDELT1" in unit.header)
        size = abs(float(header["CDELT1"]))
        if str(header.get("CUNIT1", "")).strip().lower().startswith("deg"):
            on_the_sky = str(header.get("CTYPE1", "")).startswith("HPLN")  # or on a map of the Sun, as SHARP's CEA
            size *= 3600 if on_the_sky else DEGREE_ON_THE_SUN
        if 0 < size < np.inf:
            return size, ""
    return HMI_ARCSEC, f"a pixel is {HMI_ARCSEC:g}″"


def plot_magnetogram(ax: "Axes", picture: Picture, fontsize: float = 8.0) -> "Axes":
    """Draw a magnetogram in grey with its neutral line and a scale bar.

    Parameters
    ----------
    ax, picture, fontsize : matplotlib.axes.Axes, Picture, float
        Where to draw; as `read_picture` returns it; of the scale bar [points].

    Returns
    -------
    matplotlib.axes.Axes
        The one given, without ticks.
    """
    from matplotlib.patheffects import withStroke

    limit, _ = GREY_SCALE[picture.kind]
    ax.imshow(picture.image, cmap="gray", vmin=-limit, vmax=limit, origin="lower", interpolation="antialiased")
    rows, columns = np.nonzero(picture.line)
    ax.scatter(columns, rows, s=3.0, c=NEUTRAL_LINE_COLOUR, linewidths=0)
    height, width = picture.image.shape
    fitting = [one for one in BAR_LENGTHS if one <= LARGEST_BAR * width * picture.arcsec]
    length = max(fitting, default=BAR_LENGTHS[0])
    outline = [withStroke(linewidth=3, foreground="black")]
    x, y = 0.05 * width, 0.06 * height
    ax.plot([x, x + length / picture.arcsec], [y, y], color="white", linewidth=2, path_effects=outline)
    ax.annotate(f"{length}″", (x, y), (0, 4), textcoords="offset points", color="white",
                fontsize=fontsize, path_effects=outline)
    ax.set(xticks=(), yticks=())
    return ax
