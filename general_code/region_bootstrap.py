"""Uncertainty of forecast scores by a bootstrap over active regions.

The bootstrap draws regions, not images: the images of one region are strongly correlated, so 100,000
images of 157 regions are 157 independent things. Two forecasts of the same images see the same samples
(same regions and seed): their difference is the paired bootstrap.

Below `MIN_REGIONS` regions with flaring images the samples cannot tell the true positive rate at 95 % (2 regions, and
two forecasts that are equally good differ "surely" in a third of all cases), nor without as many regions with quiet
images the true negative rate; what rests on both needs both. Such a score has no interval: NaN.

References
----------
Efron and Tibshirani 1993, An Introduction to the Bootstrap.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from general_code.skill_scores import (
    DECISION_SCORES,
    PROBABILITY_SCORES,
    check_classes,
    check_same_length,
    ratio,
    scores_from_counts,
)

MIN_REGIONS = 6  # with images of each class that a score counts: k signs alike have a chance of 2 * 2**-k, below .05


def bootstrap_scores(truth, regions: Sequence[str], decision=None, probability=None, climatology: float = np.nan,
                     draws: int = 1000, seed: int = 0, score=None) -> dict[str, np.ndarray]:
    """Scores of `draws` samples of as many regions as there are, drawn with replacement, all images of each.

    Parameters
    ----------
    truth : array_like, shape (n,)
        Observed class, 0 or 1.
    regions : sequence of str, length n
        Region of each image.
    decision : array_like, shape (n,), optional
        Forecast class; without it TPR, TNR, HSS and TSS are left out.
    probability : array_like, shape (n,), optional
        Forecast probability; without it Brier and BSS are left out, where it has NaN they are NaN.
    climatology : float
        Fraction of flaring images among the training rows, for BSS.
    draws, seed : int
        Number of samples and seed of the draw.
    score : array_like, shape (n,), optional
        What AUC is computed from, as `roc_auc`; the probability where there is no score, no AUC without both.

    Returns
    -------
    dict of str to ndarray, shape (draws,)
        NaN where a sample leaves a score undefined, throughout where there are too few regions for it.
    """
    truth = check_classes(truth, "truth")
    check_same_length(truth, regions)
    codes, names = pd.factorize(np.asarray(regions), sort=True)
    score = probability if score is None else score
    wanted = DECISION_SCORES * (decision is not None) + PROBABILITY_SCORES[:1] * (score is not None) + (
        PROBABILITY_SCORES[1:] * (probability is not None))
    known = _scores_with_enough_regions(truth, codes, len(names))
    scores = {name: np.full(draws, np.nan) for name in wanted}
    if not known:
        return scores
    weights = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), draws) * 1.0
    found = {}
    if decision is not None:
        found |= _bootstrap_decision_scores(truth, codes, check_classes(decision, "decision"), weights)
    if score is not None:
        found["AUC"] = _bootstrap_auc(truth, codes, np.asarray(score, float), weights)
    if probability is not None:
        found |= _bootstrap_brier_scores(truth, codes, np.asarray(probability, float), climatology, weights)
    return scores | {name: samples for name, samples in found.items() if name in known}


def _scores_with_enough_regions(truth, codes, n) -> set[str]:
    """Scores that the bootstrap can tell about, by the number of regions with flaring and with quiet images."""
    flaring, quiet = (np.unique(codes[truth == side]).size >= MIN_REGIONS for side in (1, 0))
    known = {name for name, enough in (("TPR", flaring), ("TNR", quiet)) if enough}
    if n >= MIN_REGIONS:
        known |= {"Brier", "BSS"}
    if flaring and quiet:
        known |= {"HSS", "TSS", "AUC"}
    return known


def region_bootstrap(truth, regions: Sequence[str], decision=None, probability=None, climatology: float = np.nan,
                     draws: int = 1000, seed: int = 0, level: float = 0.95,
                     score=None) -> dict[str, tuple[float, float]]:
    """Interval of each score that holds `level` of the bootstrap samples.

    Parameters
    ----------
    truth : array_like, shape (n,)
        Observed class, 0 or 1.
    regions : sequence of str, length n
        Region of each image.
    decision, probability : array_like, shape (n,), optional
        Forecast; see `bootstrap_scores`.
    climatology : float
        Fraction of flaring images among the training rows, for BSS.
    draws, seed : int
        Number of samples and seed of the draw.
    level : float
        Share of the samples inside the interval.
    score : array_like, shape (n,), optional
        For AUC; see `bootstrap_scores`.

    Returns
    -------
    dict of str to (float, float)
        Lower and upper end; NaN where fewer than half of the samples define the score, and with too few regions.
    """
    samples = bootstrap_scores(truth, regions, decision, probability, climatology, draws, seed, score)
    return {name: percentile_interval(values, level) for name, values in samples.items()}


def paired_bootstrap(truth, regions: Sequence[str], first: dict, second: dict, climatology: float = np.nan,
                     draws: int = 1000, seed: int = 0, level: float = 0.95) -> dict[str, tuple[float, float]]:
    """Interval of the difference, first minus second, of each score that both forecasts have.

    Parameters
    ----------
    truth : array_like, shape (n,)
        Observed class, 0 or 1.
    regions : sequence of str, length n
        Region of each image.
    first, second : dict
        The forecasts of the same images: {"decision": ..., "probability": ..., "score": ...}; any may be missing.
    climatology : float
        Fraction of flaring images among the training rows, for BSS.
    draws, seed : int
        Number of samples and seed of the draw.
    level : float
        Share of the samples inside the interval.

    Returns
    -------
    dict of str to (float, float)
        An interval that excludes 0 says that the forecasts differ.
    """
    one, two = (bootstrap_scores(truth, regions, **forecast, climatology=climatology, draws=draws, seed=seed)
                for forecast in (first, second))
    return difference_intervals(one, two, level)


def difference_intervals(first: dict[str, np.ndarray], second: dict[str, np.ndarray],
                         level: float = 0.95) -> dict[str, tuple[float, float]]:
    """Interval of the difference, first minus second, from the samples of two forecasts.

    Parameters
    ----------
    first, second : dict of str to ndarray, shape (draws,)
        As `bootstrap_scores` returns them for the same images, draws and seed: the same regions in each sample.
    level : float
        Share of the samples inside the interval.

    Returns
    -------
    dict of str to (float, float)
        Of each score that both have; NaN where it is not defined, as in `region_bootstrap`.
    """
    return {name: percentile_interval(first[name] - second[name], level) for name in first if name in second}


def percentile_interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Central interval of the samples that are defined.

    Parameters
    ----------
    samples : ndarray, shape (draws,)
        NaN where not defined.
    level : float
        Share of the samples inside the interval.

    Returns
    -------
    (float, float)
        Lower and upper end; NaN when fewer than half of the samples are defined.
    """
    samples = np.asarray(samples, dtype=float)
    known = samples[np.isfinite(samples)]
    if known.size == 0 or 2 * known.size < samples.size:
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _bootstrap_decision_scores(truth, codes, decision, weights) -> dict[str, np.ndarray]:
    """TPR, TNR, HSS and TSS of each sample of regions (weights: how often each region was drawn)."""
    check_same_length(truth, decision)
    counts = np.bincount(codes * 4 + 3 - 2 * truth - decision, minlength=4 * weights.shape[1]).reshape(-1, 4)
    return scores_from_counts(weights @ counts)


def _bootstrap_brier_scores(truth, codes, probability, climatology, weights) -> dict[str, np.ndarray]:
    """Brier and BSS of each sample of regions."""
    check_same_length(truth, probability)
    n = weights.shape[1]
    images = weights @ np.bincount(codes, minlength=n)
    brier = weights @ np.bincount(codes, (probability - truth) ** 2, n) / images
    reference = weights @ np.bincount(codes, (climatology - truth) ** 2, n) / images
    return {"Brier": brier, "BSS": 1 - ratio(brier, reference)}


def _bootstrap_auc(truth, codes, score, weights) -> np.ndarray:
    """AUC of each sample of regions."""
    check_same_length(truth, score)
    if np.isnan(score).any():
        return np.full(len(weights), np.nan)
    n = weights.shape[1]
    wins, flaring = _region_pairs(truth, codes, score, n), np.bincount(codes, truth, n)
    pairs = (weights @ flaring) * (weights @ np.bincount(codes, minlength=n) - weights @ flaring)
    return ratio(np.einsum("dr,rs,ds->d", weights, wins, weights, optimize=True), pairs)


def _region_pairs(truth, codes, score, n) -> np.ndarray:
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
