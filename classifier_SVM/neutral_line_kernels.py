"""Compiled measures of the traced neutral line: the angles along its contours, and the counts of its mask.

Plain versions: tests/plain_features.py. Tracing: contour_kernels.py.
"""

import math

import numpy as np

from classifier_SVM.feature_kernels import kernel

# Angle of the step between neighbouring pixels, by 3 * (row step + 1) + column step + 1: atan(column / row step); in a
# row 3 pi / 2 to the left, else pi / 2
STEP_ANGLES = math.pi * np.array([0.25, 0, -0.25, 1.5, 0.5, 0.5, -0.25, 0, 0.25])
STRONG = 0.2  # share of the largest gradient on the mask from which a pixel counts
_PIXEL, _NEXT = 0, 1  # columns of `points`


@kernel
def walk_contours(points, firsts, columns):
    """Walk along the contours for the angles between their pixels.

    Parameters
    ----------
    points, firsts : numpy.ndarray
        See `trace_neutral_line`.
    columns : int
        nx of the image, at least 4.

    Returns
    -------
    counts : numpy.ndarray
        int64, shape (9,): how often each of `STEP_ANGLES` comes, last steps left out.
    closing : numpy.ndarray
        float64, shape (contours,): the angle of each contour's step from its last point to its first.
    energies : numpy.ndarray
        float64, shape (contours,): bending energies.
    """
    counts = np.zeros(STEP_ANGLES.size, np.int64)
    closing, energies = np.empty(firsts.size), np.empty(firsts.size)
    for k in range(firsts.size):
        pixel = first_pixel = points[firsts[k], _PIXEL]
        following = points[firsts[k], _NEXT]
        length, energy, first_angle, angle = 1, 0.0, 0.0, 0.0
        while following >= 0:
            step = points[following, _PIXEL] - pixel
            down = int(step > 1) - int(step < -1)
            code = 3 * (down + 1) + step - down * columns + 1
            counts[code] += 1
            turned = STEP_ANGLES[code] - angle
            if length == 1:
                turned, first_angle = 0.0, STEP_ANGLES[code]
            energy += turned * turned
            angle = STEP_ANGLES[code]
            pixel, following = points[following, _PIXEL], points[following, _NEXT]
            length += 1
        closing[k] = step_angle(first_pixel // columns - pixel // columns, first_pixel % columns - pixel % columns)
        energy += (angle - closing[k]) ** 2 + (closing[k] - first_angle) ** 2
        energies[k] = energy / length
    return counts, closing, energies


@kernel
def step_angle(down, right):
    """Return the angle of a step.

    Parameters
    ----------
    down, right : int
        Row and column step.

    Returns
    -------
    float
        atan(right / down); without a row step 3 pi/2 to the left, else pi/2.
    """
    if down != 0:
        return math.atan(right / down)
    return 1.5 * math.pi if right < 0 else 0.5 * math.pi


@kernel
def mask_counts(points, magnitude):
    """Count the pixels of the neutral-line mask, the strong ones among them, and the fragments of these.

    Parameters
    ----------
    points : numpy.ndarray
        See `trace_neutral_line`; at least one.
    magnitude : numpy.ndarray
        float64, shape (ny, nx): gradient.

    Returns
    -------
    strong, fragments, pixels : int
        Pixels of at least 0.2 times the largest gradient on the mask; their 8-connected components; all pixels.
    """
    rows, columns = magnitude.shape
    mask = np.zeros((rows + 2) * (columns + 2), np.uint8)  # a frame of zeros spares the tests at the edges
    pixels = np.empty(points.shape[0], np.int64)
    gradients = np.empty(points.shape[0])
    number, largest = 0, 0.0
    for k in range(points.shape[0]):
        i, j = points[k, _PIXEL] // columns, points[k, _PIXEL] % columns
        framed = (i + 1) * (columns + 2) + j + 1
        if mask[framed] == 0:
            mask[framed] = 1
            pixels[number], gradients[number] = framed, magnitude[i, j]
            largest = max(largest, gradients[number])
            number += 1
    strong = 0
    for k in range(number):
        if gradients[k] >= STRONG * largest:
            mask[pixels[k]] = 2
            pixels[strong] = pixels[k]
            strong += 1
    return strong, _fragments(mask, pixels[:strong], columns + 2), number


@kernel
def _fragments(mask, pixels, stride):
    """Count the 8-connected components of the pixels, which are marked 2, by filling one after the other."""
    fragments = 0
    stack = np.empty(pixels.size, np.int64)
    for pixel in pixels:
        if mask[pixel] != 2:
            continue
        fragments += 1
        stack[0], waiting, mask[pixel] = pixel, 1, 1
        while waiting > 0:
            waiting -= 1
            center = stack[waiting]
            for above in (-stride, 0, stride):
                for neighbour in range(center + above - 1, center + above + 2):
                    if mask[neighbour] == 2:
                        mask[neighbour] = 1
                        stack[waiting] = neighbour
                        waiting += 1
    return fragments
