"""Draw the figures of docs/features.md, and the forecast on README's first page.

Everything is simulated: a complex and a simple active region at the centre of the disk, and for the forecast the test
image of `make example` of largest probability (a flare followed, no feature beyond those of the training images).

Reads
    example_dir    what `make example` leaves: data/dataset, results/SVM

Writes (in docs_dir)
    features_gradient.png, features_neutral_line.png, features_wavelet.png, features_flux.png    for docs/features.md
    forecast.png                                                                                 for README.md

Prints the 29 features of the two regions, as they stand in docs/features.md.

Usage
    make example
    python docs/make_figures.py
"""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle
from scipy import ndimage

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from classifier_SVM.FeaturesetTools import FEATURE_NAMES
from classifier_SVM.FunctionsP3 import gradient_magnitude, image_features, strong_neutral_line
from general_code.evaluation.report import COLOURS, new_figure, save_figure
from general_code.simulator.sun import ARCSEC_PER_PIXEL, draw_region, line_of_sight_field
from general_code.stage.files import is_set, require_file
from general_code.stage.run import OptionalPath, Settings, command_line, stage_main

if TYPE_CHECKING:
    from matplotlib.axes import Axes


## User Definitions
class UserDefinitions(Settings):
    docs_dir: Path = "docs"  # where the figures go
    example_dir: OptionalPath = "results/example"  # folder of `make example`; "": no forecast is drawn
## End User Definitions


COMPLEX, SIMPLE = (11, 2), (3, 0)  # seed and complexity of the two regions
AGE_DAYS = 4.0  # since emergence
SHOWN = slice(150, 450)  # of the image's 600 pixels, in either direction
STEPS_SHOWN = 44  # pixels of the picture of a contour's steps
GREY_LIMIT = 500.0  # where the grey scale ends [G]
COLUMNS = 900  # of a figure: a page shows 830 of them


@stage_main
def main(user: UserDefinitions) -> None:
    """Draw the figures, and print the features of the two regions."""
    complex_region, simple_region = simulated_field(*COMPLEX), simulated_field(*SIMPLE)
    numbers = image_features(complex_region)
    values = dict(zip(FEATURE_NAMES, numbers, strict=True))
    for name, draw in (("gradient", draw_gradient), ("neutral_line", draw_neutral_line), ("wavelet", draw_wavelet),
                       ("flux", draw_flux)):
        save(draw(complex_region, values), user.docs_dir / f"features_{name}.png")
    print("\n".join(table_of_values(numbers, image_features(simple_region))))
    if is_set(user.example_dir):
        draw_forecast(user.example_dir, user.docs_dir / "forecast.png")


def simulated_field(seed: int, complexity: int) -> np.ndarray:
    """Return the field of a region at the centre of the disk [G], shape (600, 600), in whole tenths as HMI's."""
    rng = np.random.default_rng(seed)
    region = draw_region(rng, AGE_DAYS)
    while region.complexity != complexity:
        region = draw_region(rng, AGE_DAYS)
    region = replace(region, latitude_deg=0.0, meridian_day=AGE_DAYS, emergence_day=0.0, rise_days=1.0)
    return np.rint(10 * line_of_sight_field(region, AGE_DAYS)) / 10


def save(figure, path: Path) -> None:
    """Save a figure at the size that a page shows it, with a line that says what is shown."""
    figure.supxlabel("shown: the central quarter of the image; numbers: of the whole image", fontsize=10)
    save_figure(figure, path)
    reduce(path)


def reduce(path: Path) -> None:
    """Make a PNG smaller: fewer columns, and no more bytes than they need."""
    from PIL import Image

    with Image.open(path) as image:
        size = COLUMNS, round(image.height * COLUMNS / image.width)
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.save(path, optimize=True)


def table_of_values(values: np.ndarray, others: np.ndarray) -> Iterable[str]:
    """Yield a line a feature: number, name, its values for the complex and the simple region."""
    for number, (name, value, other) in enumerate(zip(FEATURE_NAMES, values, others, strict=True), start=1):
        yield f"{number:2} | {name:26} | {value:.4g} | {other:.4g}"


# ---------------------------------------------------------------------------- pictures


def show(ax: "Axes", image: np.ndarray, title: str, limit: float = GREY_LIMIT, **options) -> "Axes":
    """Draw the middle of an image in grey, without ticks."""
    options = {"cmap": "gray", "vmin": -limit, "vmax": limit} | options
    ax.imshow(image[SHOWN, SHOWN], origin="lower", interpolation="antialiased", **options)
    ax.set(xticks=(), yticks=())
    ax.set_title(title, fontsize=11)
    return ax


def add_scale_bar(ax: "Axes", arcsec: int = 50) -> None:
    """Draw a scale bar into the lower left corner of a picture in pixels, on top of all else."""
    ax.add_patch(Rectangle((5, 5), 20 + arcsec / ARCSEC_PER_PIXEL, 38, facecolor="0.2", zorder=3))
    ax.plot([15, 15 + arcsec / ARCSEC_PER_PIXEL], [14, 14], color="white", linewidth=3, zorder=4)
    ax.text(15, 20, f"{arcsec}″", color="white", fontsize=11, zorder=4)


def draw_gradient(field: np.ndarray, values: dict[str, float]):
    """Draw the gradient's magnitude and the distribution of its values."""
    magnitude = gradient_magnitude(field)
    figure = new_figure(8.3, 3.5)
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    add_scale_bar(show(axes[0], field, "field B"))
    show(axes[1], magnitude, "gradient M", vmin=0, vmax=1500, cmap="gray_r")
    axes[2].hist(magnitude.ravel(), bins=np.linspace(0, magnitude.max(), 80), color="0.6", log=True)
    for colour, name in zip(COLOURS[:3], ("median", "mean", "max"), strict=True):
        axes[2].axvline(values[f"gradient {name}"], color=colour, label=f"{name} {values[f'gradient {name}']:,.0f} G")
    axes[2].set(xlabel="M [G]", ylabel="pixels")
    title = (f"std {values['gradient std']:,.0f} G\nskewness {values['gradient skewness']:.1f}\n"
             f"kurtosis {values['gradient kurtosis']:.0f}")
    axes[2].legend(loc="upper center", title=title, frameon=False, fontsize="small", title_fontsize="small")
    return figure


def draw_neutral_line(field: np.ndarray, values: dict[str, float]):
    """Draw the whole neutral line, its strong part by fragments, and the steps of one contour."""
    from skimage.measure import find_contours

    smooth = ndimage.uniform_filter(field, 10, mode="constant", origin=0)
    contours = find_contours(smooth, 0)
    strong = strong_neutral_line(field)
    figure = new_figure(8.3, 3.3)
    left, middle, right = figure.subplots(1, 3)
    add_scale_bar(show(left, field, f"neutral line: {values['NL gradient-weighted length']:,.0f} pixels"))
    start = SHOWN.start
    for contour in contours:
        left.plot(contour[:, 1] - start, contour[:, 0] - start, color=COLOURS[5], linewidth=0.7)
    fragments, number = ndimage.label(strong, np.ones((3, 3)))
    show(middle, field, f"strong: {values['NL length']:.0f} pixels, {number} fragments")
    rows, columns = np.nonzero(strong)
    middle.scatter(columns - start, rows - start, s=5, c=[COLOURS[1:6][i % 5] for i in fragments[strong]])
    for ax in (left, middle):
        ax.set(xlim=(0, SHOWN.stop - start - 1), ylim=(0, SHOWN.stop - start - 1))
    draw_steps(right, field, contours, strong)
    return figure


def draw_steps(ax: "Axes", field: np.ndarray, contours: list[np.ndarray], strong: np.ndarray) -> None:
    """Draw the contour with most strong pixels as steps from pixel to pixel, coloured by their angle."""
    def n_strong(contour: np.ndarray) -> int:
        pixels = np.rint(contour).astype(int)
        return strong[pixels[:, 0], pixels[:, 1]].sum()

    pixels = np.rint(max(contours, key=n_strong)).astype(int)
    top, beside = pixels[pixels[:, 0].argmax()]
    ax.imshow(field, cmap="gray", vmin=-GREY_LIMIT, vmax=GREY_LIMIT, origin="lower")
    steps = np.diff(pixels, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sideways = np.where(steps[:, 1] < 0, 1.5 * np.pi, 0.5 * np.pi)
        angles = np.where(steps[:, 0] != 0, np.arctan(steps[:, 1] / steps[:, 0]), sideways)
    moved = np.abs(steps).sum(axis=1) > 0
    arrows = ax.quiver(*pixels[:-1][moved, ::-1].T, *steps[moved, ::-1].T, angles[moved], angles="xy",
                       scale_units="xy", scale=1, cmap="plasma", width=0.015)
    half = STEPS_SHOWN / 2
    ax.set(xlim=(beside - half, beside + half), ylim=(top - 1.6 * half, top + 0.4 * half), xticks=(), yticks=())
    ax.set_title("steps of a contour", fontsize=11)
    ax.figure.colorbar(arrows, ax=ax, label="angle [rad]", shrink=0.7)


def draw_wavelet(field: np.ndarray, values: dict[str, float]):
    """Draw at each of the five scales where the absolute detail coefficients are."""
    figure = new_figure(8.3, 5.7)
    axes = figure.subplots(2, 3).ravel()
    add_scale_bar(show(axes[0], field, "field B"))
    pixels = field
    for level, ax in enumerate(axes[1:], start=1):
        rows, columns = (side + side % 2 for side in pixels.shape)
        padded = np.pad(pixels, ((0, rows - pixels.shape[0]), (0, columns - pixels.shape[1])), mode="edge")
        a, b, c, d = padded[::2, ::2], padded[::2, 1::2], padded[1::2, ::2], padded[1::2, 1::2]
        detail = (np.abs(a - b + c - d) + np.abs(a + b - c - d) + np.abs(a - b - c + d)) / 2
        pixels = (a + b + c + d) / 2
        large = np.kron(detail, np.ones((2**level, 2**level)))[:600, :600]
        energy = values[f"wavelet energy L{level}"] / 1e6
        show(ax, large, f"L{level}, {2**level * ARCSEC_PER_PIXEL:.0f}″: {energy:.2f} MG", vmin=0,
             vmax=np.percentile(large[SHOWN, SHOWN], 99.7), cmap="gray_r")
    return figure


def draw_flux(field: np.ndarray, values: dict[str, float]):
    """Draw what the four sums add up."""
    figure = new_figure(8.3, 3.6)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    add_scale_bar(show(left, field, "field B"))
    show(middle, np.abs(field), "|B|", vmin=0, cmap="gray_r")
    names = ("positive", "negative", "signed", "unsigned")
    sums = [values[f"total {name} flux"] / 1e6 for name in names]
    bars = right.barh(names, sums, color=[COLOURS[0], COLOURS[1], "0.5", "black"])
    right.bar_label(bars, [f"{value:+.1f}" for value in sums], padding=3)
    right.axvline(0, color="black", linewidth=0.8)
    right.margins(x=0.25)
    right.invert_yaxis()
    right.set(xlabel="sum over the image [MG pixels]")
    return figure


def draw_forecast(example: Path, path: Path) -> None:
    """Draw the forecast for the test image of largest probability that a flare followed, within the training range."""
    predictions = require_file(example / "results/SVM/predictions_linear.csv", "example_dir")
    with predictions.open(newline="") as file:
        names = [row["filename"] for row in csv.DictReader(file) if row["split"] == "test" and row["class"] == "1"]
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder, "images.txt")
        chosen.write_text("\n".join(names))
        forecast(example, chosen, Path(folder, "all.csv"))
        with Path(folder, "all.csv").open(newline="") as file:
            inside = [row for row in csv.DictReader(file) if row["probability"] and not row["outside_training_range"]]
        best = max(inside, key=lambda row: float(row["probability"]))
        forecast(example, Path(best["filename"]), Path(folder, "one.csv"))
        path.write_bytes(Path(folder, "one.png").read_bytes())
    reduce(path)


def forecast(example: Path, images: Path, table: Path) -> None:
    """Run Forecast_AR on images, or a list of them, in the folder of the example."""
    subprocess.run([sys.executable, REPOSITORY / "classifier_SVM/Forecast_AR.py", "--images", images,
                    "--forecast-file", table], cwd=example, check=True)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
