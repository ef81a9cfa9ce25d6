"""Scores of yes/no and probability forecasts, their calibration, and their uncertainty by a bootstrap over regions.

A score that is not defined (no flaring image, no quiet image, no probability) is NaN, and `format_score` prints it as
"not defined"; it is never 0. Images of one region are alike: intervals come from samples of whole regions, and without
`MIN_REGIONS` regions of each class that a score counts there is no interval and no calibration.

References
----------
Heidke 1926, Geografiska Annaler 8, 301 (HSS); Bloomfield et al. 2012, ApJL 747, L41 (TSS);
Brier 1950, Monthly Weather Review 78, 1; Platt 1999, Advances in Large Margin Classifiers, 61 (calibration).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    recall_score,
    roc_auc_score,
)
from sklearn.utils import check_consistent_length

DECISION_SCORES = ("TPR", "TNR", "HSS", "TSS")
PROBABILITY_SCORES = ("AUC", "Brier", "BSS")
NOT_DEFINED = "not defined"
MIN_REGIONS = 6  # with images of each class that a score counts: k signs alike have a chance of 2 * 2**-k, below .05
LEVEL = 0.95  # share of the bootstrap samples inside an interval


def skill_scores(truth, decision) -> dict[str, float]:
    """True positive and negative rate, Heidke and true skill score of yes/no forecasts.

    Parameters
    ----------
    truth, decision : array_like, shape (n,)
        Observed and forecast class, 0 or 1.

    Returns
    -------
    dict of str to float
        "TPR", "TNR", "HSS", "TSS"; NaN where a score is not defined (one class only: HSS, TSS, a rate). ValueError if
        the lengths differ or a value is neither 0 nor 1.
    """
    truth, decision = _classes(truth, "truth"), _classes(decision, "decision")
    check_consistent_length(truth, decision)
    if not truth.size:
        return dict.fromkeys(DECISION_SCORES, np.nan)
    # four weighted rows in place of a million: the same scores, a hundred times faster
    cells, weights = ([0, 0, 1, 1], [0, 1, 0, 1]), confusion_matrix(truth, decision, labels=[0, 1]).ravel()
    rates = {name: recall_score(*cells, pos_label=side, sample_weight=weights, zero_division=np.nan)
             for name, side in (("TPR", 1), ("TNR", 0))}
    if np.isnan(list(rates.values())).any():
        return rates | {"HSS": np.nan, "TSS": np.nan}
    return rates | {"HSS": float(cohen_kappa_score(*cells, sample_weight=weights)),
                    "TSS": float(balanced_accuracy_score(*cells, sample_weight=weights, adjusted=True))}


def brier_scores(truth, probability, climatology: float) -> dict[str, float]:
    """Brier score, and its skill against a constant forecast: 1 is perfect, 0 no better than climatology.

    Parameters
    ----------
    truth, probability, climatology : array_like of shape (n,) (the first two), float
        Observed class, 0 or 1; its forecast probability, or NaN; fraction of flaring images among the training rows.

    Returns
    -------
    dict of str to float
        "Brier", the mean squared difference, NaN if empty or a probability is NaN; "BSS", also NaN where climatology is
        without error or NaN.
    """
    truth, probability = _with_truth(truth, probability)
    own, reference = (np.nan if not truth.size or np.isnan(values).any() else
                      float(brier_score_loss(truth, values, pos_label=1))
                      for values in (probability, np.full(truth.size, climatology)))
    return {"Brier": own, "BSS": float(1 - _ratio(own, reference))}


def roc_auc(truth, score) -> float:
    """Area under the ROC curve: the chance that a flaring image scores higher than a quiet one, ties counting half.

    Parameters
    ----------
    truth, score : array_like, shape (n,)
        Observed class, 0 or 1, and anything that rises with the chance of a flare.

    Returns
    -------
    float
        NaN with one class only, and where a score is NaN.
    """
    truth, score = _with_truth(truth, score)
    if truth.sum() in (0, truth.size) or np.isnan(score).any():
        return np.nan
    return float(roc_auc_score(truth, score))


def best_threshold(truth, score) -> float:
    """Threshold of largest TSS for the decision `score > threshold`, midway between two neighbouring scores.

    Parameters
    ----------
    truth, score : array_like, shape (n,)
        Observed class, 0 or 1, and anything that rises with the chance of a flare.

    Returns
    -------
    float
        The lowest of equally good thresholds; NaN with one class only, with one score only, or where a score is NaN.
    """
    truth, score = _with_truth(truth, score)
    if truth.sum() in (0, truth.size) or np.isnan(score).any() or np.ptp(score) == 0:
        return np.nan
    order = np.argsort(score, kind="stable")
    ordered, flares = score[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.diff(ordered))  # last row of each run of equal scores, without the highest run
    missed, quiet = flares[last], last + 1 - flares[last]
    best = last[np.argmax(quiet / (truth.size - flares[-1]) - missed / flares[-1])]
    low, high = ordered[best], ordered[best + 1]
    middle = low + (high - low) / 2
    return float(middle if middle < high else low)  # between adjacent doubles there is no middle


def format_score(score: float | None, decimals: int = 3) -> str:
    """Write a score.

    Parameters
    ----------
    score, decimals : float or None, int
        What to write, with so many places.

    Returns
    -------
    str
        "not defined" for NaN and None.
    """
    return NOT_DEFINED if score is None or not np.isfinite(score) else f"{score:.{decimals}f}"


# ---- calibration


@dataclass(frozen=True)
class Calibration:
    """Platt's sigmoid, 1 / (1 + exp(-(slope score + intercept))), of slope 0 where the score tells nothing."""

    slope: float
    intercept: float

    def probability(self, score) -> np.ndarray:
        """Return the probability of a flare for each score, in 0..1, rising with the score."""
        return expit(self.slope * np.asarray(score, dtype=float) + self.intercept)


def fit_calibration(truth, score, regions: Sequence[str]) -> Calibration | None:
    """Fit Platt's sigmoid, its slope kept from falling below 0.

    Parameters
    ----------
    truth, score, regions : array_like, shape (n,)
        Observed class, score and region of the validation rows.

    Returns
    -------
    Calibration or None
        None (not defined) unless `MIN_REGIONS` regions have flaring rows, and as many quiet ones.
    """
    from sklearn.linear_model import LogisticRegression

    truth, score = _with_truth(truth, score)
    if min(_regions_by_class(truth, np.asarray(regions))) < MIN_REGIONS:
        return None
    flaring, quiet = int(truth.sum()), int(truth.size - truth.sum())
    # Platt's targets keep the sigmoid of separable scores finite; each row counts as both classes in these parts
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


# ---- uncertainty


class ScoredForecast(NamedTuple):
    """The scores that a forecast has, NaN where not defined, and those of samples of its regions, shape (draws,)."""

    scores: dict[str, float]
    samples: dict[str, np.ndarray]

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of each score."""
        return {name: _interval(samples) for name, samples in self.samples.items()}

    def difference(self, other: "ScoredForecast", name: str) -> tuple[float, float, float]:
        """Return a score minus that of another forecast of the same images, and its 95 % interval (paired samples)."""
        interval = _interval(self.samples[name] - other.samples[name])
        return self.scores[name] - other.scores[name], *interval


def score_forecast(truth, regions: Sequence[str], decision=None, probability=None, score=None, *,
                   climatology: float = np.nan, draws: int = 1000, seed: int = 0) -> ScoredForecast:
    """All scores of a forecast, and those of samples: as many regions as it has, with replacement, all images of each.

    Parameters
    ----------
    truth, regions : array_like, shape (n,)
        Observed class, 0 or 1, and region of each image.
    decision, probability, score : array_like, shape (n,), optional
        Forecast class, for TPR, TNR, HSS, TSS; forecast probability, for Brier and BSS (NaN where one is NaN); what AUC
        is computed from, else the probability. Without them the forecast does not have these scores.
    climatology, draws, seed : float, int, int
        Fraction of flaring images among the training rows, for BSS; number of samples and seed of the draw: the same
        regions are drawn whatever the forecast.

    Returns
    -------
    ScoredForecast
        Samples are NaN where they leave a score undefined, and with fewer than `MIN_REGIONS` regions of its classes.
        ValueError if the lengths differ or a class is neither 0 nor 1.
    """
    ranking, scores = probability if score is None else score, {}
    if decision is not None:
        scores |= skill_scores(truth, decision)
    if ranking is not None:
        scores["AUC"] = roc_auc(truth, ranking)
    if probability is not None:
        scores |= brier_scores(truth, probability, climatology)
    truth = _classes(truth, "truth")
    check_consistent_length(truth, regions)
    codes, names = pd.factorize(np.asarray(regions), sort=True)
    samples = {name: np.full(draws, np.nan) for name in scores}
    known = _scores_with_enough_regions(truth, codes, len(names))
    if not known:
        return ScoredForecast(scores, samples)
    # how often each region is in each sample
    weights = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), draws) * 1.0
    found = {}
    if decision is not None:
        found |= _bootstrap_decision_scores(truth, codes, _classes(decision, "decision"), weights)
    if ranking is not None:
        found["AUC"] = _bootstrap_auc(truth, codes, np.asarray(ranking, float), weights)
    if probability is not None:
        found |= _bootstrap_brier_scores(truth, codes, np.asarray(probability, float), climatology, weights)
    return ScoredForecast(scores, samples | {name: values for name, values in found.items() if name in known})


def _interval(samples: np.ndarray) -> tuple[float, float]:
    """Return the central interval of the samples that are defined; NaN when fewer than half of them are."""
    known = samples[np.isfinite(samples)]
    if known.size == 0 or 2 * known.size < samples.size:
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _scores_with_enough_regions(truth: np.ndarray, codes: np.ndarray, n: int) -> set[str]:
    """Return the scores for which there are regions enough, counted by class."""
    flaring, quiet = (number >= MIN_REGIONS for number in _regions_by_class(truth, codes))
    known = {name for name, enough in (("TPR", flaring), ("TNR", quiet)) if enough}
    if n >= MIN_REGIONS:
        known |= {"Brier", "BSS"}
    if flaring and quiet:
        known |= {"HSS", "TSS", "AUC"}
    return known


def _regions_by_class(truth: np.ndarray, regions: np.ndarray) -> tuple[int, int]:
    """Return the number of regions with flaring images, and of those with quiet ones."""
    return pd.unique(regions[truth == 1]).size, pd.unique(regions[truth == 0]).size


def _bootstrap_decision_scores(truth, codes, decision, weights) -> dict[str, np.ndarray]:
    """TPR, TNR, HSS and TSS of each sample of regions."""
    counts = np.bincount(codes * 4 + 3 - 2 * truth - decision, minlength=4 * weights.shape[1]).reshape(-1, 4)
    tp, fn, fp, tn = (weights @ counts).T
    tpr, tnr = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    tss = tpr + tnr - 1
    hss = _ratio(2 * (tp * tn - fn * fp), (tp + fn) * (fn + tn) + (tp + fp) * (fp + tn))
    return {"TPR": tpr, "TNR": tnr, "HSS": np.where(np.isnan(tss), np.nan, hss), "TSS": tss}


def _bootstrap_brier_scores(truth, codes, probability, climatology, weights) -> dict[str, np.ndarray]:
    """Brier and BSS of each sample of regions."""
    n = weights.shape[1]
    images = weights @ np.bincount(codes, minlength=n)
    brier = weights @ np.bincount(codes, (probability - truth) ** 2, n) / images
    reference = weights @ np.bincount(codes, (climatology - truth) ** 2, n) / images
    return {"Brier": brier, "BSS": 1 - _ratio(brier, reference)}


def _bootstrap_auc(truth, codes, score, weights) -> np.ndarray:
    """AUC of each sample of regions."""
    if np.isnan(score).any():
        return np.full(len(weights), np.nan)
    n = weights.shape[1]
    wins, flaring = _region_pairs(truth, codes, score, n), np.bincount(codes, truth, n)
    pairs = (weights @ flaring) * (weights @ np.bincount(codes, minlength=n) - weights @ flaring)
    return _ratio(np.einsum("dr,rs,ds->d", weights, wins, weights, optimize=True), pairs)


def _region_pairs(truth, codes, score, n: int) -> np.ndarray:
    """Matrix (n, n): won comparisons of the flaring images of region r with the quiet ones of s, ties counting half."""
    if np.ptp(score) == 0:  # a constant forecast, like climatology: ties throughout
        return np.outer(np.bincount(codes, truth, n), np.bincount(codes, 1 - truth, n)) / 2
    order = np.argsort(score, kind="stable")
    truth, codes, score = truth[order], codes[order], score[order]
    flaring, flaring_codes = score[truth == 1], codes[truth == 1]
    by_region = np.argsort(codes[truth == 0], kind="stable")
    quiet = np.split(score[truth == 0][by_region], np.cumsum(np.bincount(codes[truth == 0], minlength=n))[:-1])
    wins = np.zeros((n, n))
    for s, below in enumerate(quiet):
        if below.size:
            won = np.searchsorted(below, flaring, "left") + np.searchsorted(below, flaring, "right")
            wins[:, s] = np.bincount(flaring_codes, won, n) / 2
    return wins


# ---- columns


def _classes(values, what: str) -> np.ndarray:
    """Return a column of classes as int64; ValueError when a value is neither 0 nor 1."""
    values = np.asarray(values)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise ValueError(f"{what}: expected a list of 0 and 1, got shape {values.shape}, "
                         f"values like {list(values.ravel()[:3])}")
    return values.astype(np.int64)


def _with_truth(truth, values) -> tuple[np.ndarray, np.ndarray]:
    """Return observed classes and a column of numbers, checked."""
    truth, values = _classes(truth, "truth"), np.asarray(values, dtype=float)
    check_consistent_length(truth, values)
    return truth, values


def _ratio(numerator, denominator) -> np.ndarray:
    """Divide; NaN where the denominator is zero."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return np.divide(numerator, denominator, out=np.full(np.broadcast(numerator, denominator).shape, np.nan),
                     where=denominator != 0)
