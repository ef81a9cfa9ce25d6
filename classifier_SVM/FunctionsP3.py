"""The 29 magnetic-complexity features of a magnetogram.

The work is done by compiled kernels: feature_kernels.py (pixels), contour_kernels.py and neutral_line_kernels.py
(neutral line). HMI fields are whole tenths of a gauss and PNG images whole grey levels; such images are computed in
whole numbers, so that every sum is exact and ties at level 0 are decided alike on every machine. Other images are
computed in float64.

References
----------
Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825.
Al-Ghraibah, Boucheron and McAteer 2015, A&A 579, A64.
"""

from typing import NamedTuple

import numpy as np

from classifier_SVM.contour_kernels import trace_neutral_line
from classifier_SVM.feature_kernels import (
    TENTHS_TOLERANCE,
    central_moments,
    flux_sums,
    haar_level,
    sobel_magnitude,
    whole_numbers,
)
from classifier_SVM.neutral_line_kernels import STEP_ANGLES, mask_counts, walk_contours

FEATURE_VERSION = "1"  # of the definitions: raise it when a value changes, and tables are computed again
SMALLEST_SIDE = 32  # pixels; 5 wavelet levels
WAVELET_LEVELS = 5
STRONGEST_FIELD = 1e30  # beyond it the fourth moment leaves the range of float64
_SAMPLE, _RANKS_AROUND = 4096, 128  # the median lies within 4 standard deviations of a random sample's
_IN_UNITS = np.r_[0:5, 20:29]  # features that scale with the field, unlike counts, angles and shapes


class Field(NamedTuple):
    """An image in the units that its features are computed in.

    Attributes
    ----------
    pixels : numpy.ndarray
        int32 (whole tenths of a gauss, whole grey levels) or float64, shape (ny, nx).
    per_unit : float
        Number of them in a unit of the image: 10 for tenths of a gauss, else 1.
    smoothable : numpy.ndarray
        What the neutral line's box sum adds up; `pixels` itself or, near whole tenths, these.
    """

    pixels: np.ndarray
    per_unit: float
    smoothable: np.ndarray


def image_features(image: np.ndarray) -> np.ndarray:
    """Return the 29 features of an image, in the order of `FeaturesetTools.FEATURE_NAMES`.

    Parameters
    ----------
    image : numpy.ndarray
        Line-of-sight field [G], or grey levels minus 128; any rectangle from 32x32 on.

    Returns
    -------
    numpy.ndarray
        float64, shape (29,), finite; see `gradient_features` (7), `neutral_line_features` (13),
        `wavelet_features` (5) and `flux_features` (4).

    Raises
    ------
    ValueError
        Not 2-D, empty, smaller than 32x32, NaN or infinite pixels, constant, not numbers, or with values so
        small or large that a feature is not a finite number.
    """
    field = prepare(image)
    gradient, magnitude = gradient_features(field.pixels)
    neutral_line = neutral_line_features(field.smoothable, magnitude)
    features = np.concatenate((gradient, neutral_line, wavelet_features(field.pixels), flux_features(field.pixels)))
    features[_IN_UNITS] /= field.per_unit
    if not np.isfinite(features).all():
        raise ValueError("features not finite: the field's values are too small or too large to take their powers")
    return features


def prepare(image: np.ndarray) -> Field:
    """Check an image and bring it to whole numbers where it has them.

    Parameters
    ----------
    image : numpy.ndarray
        Real numbers, shape (ny, nx), both at least 32.

    Returns
    -------
    Field
        See there.

    Raises
    ------
    ValueError
        Not 2-D, empty, smaller than 32x32, NaN or infinite pixels, constant, or not numbers.
    """
    image = np.asarray(image)
    if image.ndim != 2 or image.dtype.kind not in "fiub":
        raise ValueError(f"not a 2-D image of numbers: got {image.dtype} of shape {image.shape}")
    if not image.size:
        raise ValueError(f"empty image: got shape {image.shape}")
    if min(image.shape) < SMALLEST_SIDE:
        raise ValueError(f"smaller than {SMALLEST_SIDE}x{SMALLEST_SIDE}: got {image.shape[0]}x{image.shape[1]} pixels")
    image = np.ascontiguousarray(image, dtype=np.float64)
    whole = np.empty(image.shape, np.int32)
    grey_levels = bool((image[0] == np.rint(image[0])).all())
    for factor in (1.0, 10.0) if grey_levels else (10.0,):
        near, exact, same = whole_numbers(image, factor, whole)
        if exact:
            break
    if not near:
        _require_finite(image)
    if same:
        raise ValueError(f"constant image: all {image.size} pixels are {image[0, 0]:g}")
    if exact and near:
        return Field(whole, factor, whole)
    return Field(image, 1.0, whole if near else _rounded_tenths(image))


def _require_finite(image: np.ndarray) -> None:
    """Raise ValueError for pixels that are not finite numbers, or too large to take their fourth power."""
    for name, wrong in (("NaN", np.isnan(image)), ("infinite", np.isinf(image))):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(f"{name} pixels: {wrong.sum()} of {image.size}, the first at row {row}, column {column}")
    if np.abs(image).max() > STRONGEST_FIELD:
        raise ValueError(f"values too large: got up to {np.abs(image).max():g}, expected below {STRONGEST_FIELD:g}")


def _rounded_tenths(image: np.ndarray) -> np.ndarray:
    """Return whole tenths too large for the kernels' integers as float64, which holds them exactly; else the image."""
    tenths = np.rint(10 * image)
    return tenths if (np.abs(10 * image - tenths) < TENTHS_TOLERANCE).all() else image


def compile_kernels() -> None:
    """Compile the kernels for both kinds of pixels, or load them from the disk, by using each once."""
    ramp = np.sin(np.arange(SMALLEST_SIDE**2)).reshape(SMALLEST_SIDE, SMALLEST_SIDE)
    for image in (np.rint(100 * ramp), ramp):
        image_features(image)


# ---------------------------------------------------------------------------- groups of features


def gradient_features(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features 1-7: mean, std, median, min, max, skewness and excess kurtosis of the gradient's magnitude.

    Parameters
    ----------
    pixels : numpy.ndarray
        int32 or float64, shape (ny, nx); zero outside.

    Returns
    -------
    features : numpy.ndarray
        Shape (7,), in units of the pixels (Sobel sums, not divided by the kernel's weight). Population std, biased
        moments; skewness and kurtosis are NaN where the gradient is the same everywhere.
    magnitude : numpy.ndarray
        float64, shape (ny, nx).
    """
    magnitude = np.empty(pixels.shape)
    number = magnitude.size
    total, smallest, largest = sobel_magnitude(pixels, magnitude)
    mean = total / number
    low, high = _bracket_of_median(magnitude.reshape(-1))
    between = np.empty(number + 1)
    *powers, below, inside = central_moments(magnitude, mean, low, high, between)
    second, third, fourth = (power / number for power in powers)
    median = _median(magnitude, between[:inside], below)
    shape = (third / second**1.5, fourth / second**2 - 3) if second**2 > 0 else (np.nan, np.nan)
    return np.array([mean, np.sqrt(second), median, smallest, largest, *shape]), magnitude


def neutral_line_features(smoothable: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Return features 8-20: the neutral line's pixels, fragments, curvature and bending energy.

    The published names of 8 and 10 do not say what they hold: "NL length" counts the mask's pixels of at least 0.2
    times the largest gradient on the mask, "NL gradient-weighted length" all its pixels.

    Parameters
    ----------
    smoothable : numpy.ndarray
        int32 or float64, shape (ny, nx), in any unit: see `Field`.
    magnitude : numpy.ndarray
        float64, shape (ny, nx): gradient, see `gradient_features`.

    Returns
    -------
    numpy.ndarray
        Shape (13,): three counts; mean, std, median, min and max of the angles [rad] of all contour points pooled,
        and of the bending energies [rad^2] of the contours. Zeros where there is no contour.
    """
    points, firsts = trace_neutral_line(smoothable, True)
    if not firsts.size:
        return np.zeros(13)
    counts, closing, energies = walk_contours(points, firsts, smoothable.shape[1])
    angles = np.concatenate((STEP_ANGLES, closing))
    times = np.concatenate((counts, np.ones(closing.size, np.int64)))
    return np.concatenate((mask_counts(points, magnitude), _summary(angles, times),
                           _summary(energies, np.ones(energies.size, np.int64))))


def wavelet_features(pixels: np.ndarray) -> np.ndarray:
    """Return features 21-25: sums of the absolute Haar detail coefficients, finest level first.

    Parameters
    ----------
    pixels : numpy.ndarray
        int32 or float64, shape (ny, nx), at least 32x32; odd sides are continued by repeating the last pixel.

    Returns
    -------
    numpy.ndarray
        Shape (5,), in units of the pixels.
    """
    energies = np.empty(WAVELET_LEVELS)
    for level in range(WAVELET_LEVELS):
        rows, columns = pixels.shape
        sums = np.empty(((rows + 1) // 2, (columns + 1) // 2), pixels.dtype)
        energies[level] = haar_level(pixels, sums) / 2 ** (level + 1)
        pixels = sums
    return energies


def flux_features(pixels: np.ndarray) -> np.ndarray:
    """Return features 26-29: total positive, negative, signed and unsigned flux.

    Parameters
    ----------
    pixels : numpy.ndarray
        int32 or float64, shape (ny, nx).

    Returns
    -------
    numpy.ndarray
        Shape (4,), in units of the pixels times pixels.
    """
    positive, negative = flux_sums(pixels)
    return np.array([positive, negative, positive + negative, positive - negative])


def _bracket_of_median(values: np.ndarray) -> tuple[float, float]:
    """Return two values with the median between them, all but certainly: from an evenly spaced sample."""
    sample = values[::max(values.size // _SAMPLE, 1)].copy()
    middle = sample.size // 2
    ranks = [max(middle - _RANKS_AROUND, 0), min(middle + _RANKS_AROUND, sample.size - 1)]
    sample.partition(ranks)
    return sample[ranks[0]], sample[ranks[1]]


def _median(values: np.ndarray, between: np.ndarray, below: int) -> float:
    """Return the median from the values of the bracket, or from all where the bracket missed it."""
    ranks = [(values.size - 1) // 2 - below, values.size // 2 - below]
    if ranks[0] < 0 or ranks[1] >= between.size:
        return float(np.median(values))
    between.partition(ranks)
    return (between[ranks[0]] + between[ranks[1]]) / 2


def _summary(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return mean, std, median, min and max of values that come `times` times each."""
    present = times > 0
    values, times = values[present], times[present]
    order = np.argsort(values)
    values, times = values[order], times[order]
    number = times.sum()
    mean = (values * times).sum() / number
    variance = (times * (values - mean) ** 2).sum() / number
    middle = np.searchsorted(np.cumsum(times), [(number - 1) // 2, number // 2], side="right")
    return np.array([mean, np.sqrt(variance), values[middle].sum() / 2, values[0], values[-1]])
