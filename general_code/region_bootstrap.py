"""Uncertainty of forecast scores by a bootstrap over active regions.

The bootstrap draws regions, not images: the images of one region are strongly correlated, so 100,000
images of 157 regions are 157 independent things. Two forecasts of the same images see the same samples
(same regions and seed): their difference is the paired bootstrap.

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


def bootstrap_scores(truth, regions: Sequence[str], decision=None, probability=None,
                     climatology: float = np.nan, draws: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
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
        Forecast probability; without it AUC, Brier and BSS are left out, where it has NaN they are NaN.
    climatology : float
        Fraction of flaring images among the training rows, for BSS.
    draws, seed : int
        Number of samples and seed of the draw.

    Returns
    -------
    dict of str to ndarray, shape (draws,)
        NaN where a sample leaves a score undefined.
    """
    truth = check_classes(truth, "truth")
    check_same_length(truth, regions)
    codes, names = pd.factorize(np.asarray(regions), sort=True)
    if not truth.size:
        wanted = (DECISION_SCORES * (decision is not None)) + (PROBABILITY_SCORES * (probability is not None))
        return {name: np.full(draws, np.nan) for name in wanted}
    equal = np.full(len(names), 1 / len(names))
    weights = np.random.default_rng(seed).multinomial(len(names), equal, draws).astype(float)
    scores = {}
    if decision is not None:
        decision = check_classes(decision, "decision")
        check_same_length(truth, decision)
        counts = np.bincount(codes * 4 + 3 - 2 * truth - decision, minlength=4 * len(names)).reshape(-1, 4)
        scores.update(scores_from_counts(weights @ counts))
    if probability is not None:
        scores.update(_bootstrap_probability_scores(truth, codes, np.asarray(probability, float), climatology, weights))
    return scores


def region_bootstrap(truth, regions: Sequence[str], decision=None, probability=None, climatology: float = np.nan,
                     draws: int = 1000, seed: int = 0, level: float = 0.95) -> dict[str, tuple[float, float]]:
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

    Returns
    -------
    dict of str to (float, float)
        Lower and upper end; NaN where fewer than half of the samples define the score.
    """
    samples = bootstrap_scores(truth, regions, decision, probability, climatology, draws, seed)
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
        The forecasts of the same images: {"decision": ..., "probability": ...}, either may be missing.
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
    one, two = (bootstrap_scores(truth, regions, f.get("decision"), f.get("probability"), climatology, draws, seed)
                for f in (first, second))
    return {name: percentile_interval(one[name] - two[name], level) for name in one if name in two}


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


def _bootstrap_probability_scores(truth, codes, probability, climatology, weights) -> dict[str, np.ndarray]:
    """AUC, Brier and BSS of each sample of regions (weights: how often each region was drawn)."""
    check_same_length(truth, probability)
    if np.isnan(probability).any():
        return {name: np.full(len(weights), np.nan) for name in PROBABILITY_SCORES}
    n = weights.shape[1]
    images = weights @ np.bincount(codes, minlength=n)
    brier = weights @ np.bincount(codes, (probability - truth) ** 2, n) / images
    reference = weights @ np.bincount(codes, (climatology - truth) ** 2, n) / images
    wins, flaring = _region_pairs(truth, codes, probability, n), np.bincount(codes, truth, n)
    pairs = (weights @ flaring) * (images - weights @ flaring)
    auc = ratio(np.einsum("dr,rs,ds->d", weights, wins, weights, optimize=True), pairs)
    return {"AUC": auc, "Brier": brier, "BSS": 1 - ratio(brier, reference)}


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
