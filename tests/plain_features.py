"""The 29 features by plain library calls, definition by definition: what the compiled kernels are held to."""

import numpy as np
import pywt
from scipy.ndimage import label
from scipy.signal import convolve2d
from scipy.stats import kurtosis, skew
from skimage.measure import find_contours

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
BOX = np.ones((10, 10))


def summary(values: np.ndarray) -> list[float]:
    """Return mean, std, median, min and max."""
    return [np.mean(values), np.std(values), np.median(values), np.min(values), np.max(values)]


def gradient_magnitude(image: np.ndarray) -> np.ndarray:
    """Return the Sobel gradient's magnitude."""
    return np.sqrt(convolve2d(image, SOBEL, mode="same") ** 2 + convolve2d(image, SOBEL.T, mode="same") ** 2)


def gradient_features(magnitude: np.ndarray) -> list[float]:
    """Return features 1-7."""
    pixels = magnitude.ravel()
    return [*summary(pixels), skew(pixels), kurtosis(pixels)]


def smoothed_map(image: np.ndarray) -> np.ndarray:
    """Return the 10x10 box sum: of whole tenths where the image has them."""
    tenths = np.rint(10 * image)
    if (np.abs(10 * image - tenths) < 1e-6).all():
        return np.rint(convolve2d(tenths, BOX, mode="same"))
    return convolve2d(image, BOX, mode="same")


def angles_along(contour: np.ndarray) -> np.ndarray:
    """Return the angle at each point of a contour."""
    pixels = np.rint(contour).astype(int)
    angles = []
    for here, there in zip(pixels, np.roll(pixels, -1, axis=0), strict=True):
        row_step, column_step = there - here
        if row_step != 0:
            angles.append(np.arctan(column_step / row_step))
        else:
            angles.append(3 * np.pi / 2 if column_step < 0 else np.pi / 2)
    return np.array(angles)


def neutral_line_features(image: np.ndarray, magnitude: np.ndarray) -> list[float]:
    """Return features 8-20."""
    contours = find_contours(smoothed_map(image), 0)
    if not contours:
        return [0.0] * 13
    mask = np.zeros(image.shape, bool)
    for contour in contours:
        mask[tuple(np.rint(contour).astype(int).T)] = True
    strong = mask & (magnitude >= 0.2 * magnitude[mask].max())
    angles = [angles_along(contour) for contour in contours]
    energies = [np.mean((angle - np.roll(angle, -1)) ** 2) for angle in angles]
    return [strong.sum(), label(strong, np.ones((3, 3)))[1], mask.sum(), *summary(np.concatenate(angles)),
            *summary(energies)]


def wavelet_features(image: np.ndarray) -> list[float]:
    """Return features 21-25."""
    _, *coarsest_first = pywt.wavedec2(image, "haar", level=5)
    return [sum(np.abs(band).sum() for band in level) for level in reversed(coarsest_first)]


def flux_features(image: np.ndarray) -> list[float]:
    """Return features 26-29."""
    positive, negative = image[image > 0].sum(), image[image < 0].sum()
    return [positive, negative, positive + negative, positive - negative]


def image_features(image: np.ndarray) -> np.ndarray:
    """Return the 29 features."""
    magnitude = gradient_magnitude(image)
    return np.array([*gradient_features(magnitude), *neutral_line_features(image, magnitude),
                     *wavelet_features(image), *flux_features(image)], dtype=float)
