"""Scaling of features ("equalization"): the training rows run from 0 to 1 in each."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scaling:
    """The "equalization": training rows run from 0 to 1 in each feature, other rows may leave that range.

    Attributes
    ----------
    minimum, maximum : ndarray, shape (d,)
        Smallest and largest value of each feature in the training rows.
    """

    minimum: np.ndarray
    maximum: np.ndarray

    @property
    def width(self) -> np.ndarray:
        """What values are divided by: maximum minus minimum, 1 where that is 0; shape (d,)."""
        return np.where(self.maximum > self.minimum, self.maximum - self.minimum, 1.0)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return (values - minimum) / width.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            In the features' own units.

        Returns
        -------
        ndarray
            Shape (n, d), a new array, not clipped.
        """
        return (values - self.minimum) / self.width

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Tell which values lie outside the range of the training rows.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            In the features' own units.

        Returns
        -------
        ndarray
            bool, shape (n, d).
        """
        return (values < self.minimum) | (values > self.maximum)


def fit_scaling(values: np.ndarray) -> Scaling:
    """Return the scaling of the training rows.

    Parameters
    ----------
    values : ndarray, shape (n, d)
        Finite; n at least 1.

    Returns
    -------
    Scaling
        Minimum and maximum of each column.
    """
    return Scaling(values.min(axis=0), values.max(axis=0))


def weight_text(scaling: Scaling) -> str:
    """Return the text of the weight file: a line `min range` for each feature.

    Parameters
    ----------
    scaling : Scaling
        Of the 29 image features.

    Returns
    -------
    str
        Numbers that read back as the same doubles; a range of 0 is written as the 1 that is divided by.
    """
    return "".join(f"{low!r} {width!r}\n" for low, width in zip(scaling.minimum.tolist(), scaling.width.tolist(),
                                                               strict=True))
