"""Probabilities from the scores of a classifier: Platt's sigmoid, fitted to the validation rows.

References
----------
Platt 1999, Advances in Large Margin Classifiers, p. 61 (with its targets for few rows).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Calibration:
    """Platt's sigmoid: probability = 1 / (1 + exp(-(slope score + intercept))); a slope of 0 says that
    the score carries no information on the validation rows."""

    slope: float
    intercept: float

    def probability(self, score) -> np.ndarray:
        """Probability of a flare for each score.

        Parameters
        ----------
        score : array_like
            Of the forecast.

        Returns
        -------
        ndarray
            Same shape, in 0..1, rising with the score.
        """
        from scipy.special import expit

        return expit(self.slope * np.asarray(score, dtype=float) + self.intercept)


def fit_calibration(truth, score) -> Calibration | None:
    """Fit Platt's sigmoid, its slope kept from falling below 0.

    Parameters
    ----------
    truth, score : array_like, shape (n,)
        Observed class and score of the validation rows.

    Returns
    -------
    Calibration or None
        None (not defined) with fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression

    truth, score = np.asarray(truth), np.asarray(score, dtype=float)
    flaring, quiet = int(truth.sum()), int(truth.size - truth.sum())
    if not flaring or not quiet:
        return None
    target = np.where(truth == 1, (flaring + 1) / (flaring + 2), 1 / (quiet + 2))
    centre, width = score.mean(), score.std() or 1.0
    standard = np.tile((score - centre) / width, 2)[:, None]
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        standard, np.repeat([1, 0], truth.size), sample_weight=np.concatenate([target, 1 - target]))
    slope = model.coef_[0, 0] / width
    if slope <= 0 or np.ptp(score) == 0:
        mean = target.mean()
        return Calibration(0.0, float(np.log(mean / (1 - mean))))
    return Calibration(float(slope), float(model.intercept_[0] - slope * centre))
