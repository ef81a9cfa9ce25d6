"""Scores of yes/no and probability forecasts; their uncertainty is in `region_bootstrap`.

A score that is not defined (no flaring image, no quiet image, no probability) is NaN, and
`format_score` prints it as "not defined"; it is never 0.

References
----------
Heidke 1926, Geografiska Annaler 8, 301 (HSS); Bloomfield et al. 2012, ApJL 747, L41 (TSS);
Brier 1950, Monthly Weather Review 78, 1.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

DECISION_SCORES = ("TPR", "TNR", "HSS", "TSS")
PROBABILITY_SCORES = ("AUC", "Brier", "BSS")
NOT_DEFINED = "not defined"


def confusion_counts(truth, decision) -> np.ndarray:
    """Count true positives, false negatives, false positives and true negatives.

    Parameters
    ----------
    truth, decision : array_like, shape (n,)
        Observed and forecast class, 0 or 1.

    Returns
    -------
    ndarray, shape (4,), int64
        TP, FN, FP, TN; all zero for empty input.

    Raises
    ------
    ValueError
        If the lengths differ or a value is neither 0 nor 1.
    """
    truth, decision = check_classes(truth, "truth"), check_classes(decision, "decision")
    check_same_length(truth, decision)
    return np.bincount(3 - 2 * truth - decision, minlength=4)


def scores_from_counts(counts) -> dict[str, np.ndarray]:
    """TPR, TNR, HSS and TSS from counts.

    Parameters
    ----------
    counts : array_like, shape (..., 4)
        TP, FN, FP, TN along the last axis; weighted counts may be fractional.

    Returns
    -------
    dict of str to ndarray, shape (...)
        NaN where the denominator of a score is zero; HSS and TSS also where only one class was observed.
    """
    tp, fn, fp, tn = np.moveaxis(np.asarray(counts, dtype=float), -1, 0)
    tpr, tnr = ratio(tp, tp + fn), ratio(tn, tn + fp)
    hss = ratio(2 * (tp * tn - fn * fp), (tp + fn) * (fn + tn) + (tp + fp) * (fp + tn))
    tss = tpr + tnr - 1
    return {"TPR": tpr, "TNR": tnr, "HSS": np.where(np.isnan(tss), np.nan, hss)[()], "TSS": tss}


def skill_scores(truth, decision) -> dict[str, float]:
    """True positive and negative rate, Heidke and true skill score of yes/no forecasts.

    Parameters
    ----------
    truth, decision : array_like, shape (n,)
        Observed and forecast class, 0 or 1.

    Returns
    -------
    dict of str to float
        "TPR", "TNR", "HSS", "TSS"; NaN where a score is not defined (one class only: HSS, TSS, a rate).

    Raises
    ------
    ValueError
        If the lengths differ or a value is neither 0 nor 1.
    """
    return {name: float(score) for name, score in scores_from_counts(confusion_counts(truth, decision)).items()}


def brier_score(truth, probability) -> float:
    """Mean squared difference between forecast probability and outcome; NaN if empty or a probability is NaN.

    Parameters
    ----------
    truth : array_like, shape (n,)
        Observed class, 0 or 1.
    probability : array_like, shape (n,)
        Forecast probability of class 1, or NaN.

    Returns
    -------
    float
        0 is perfect.
    """
    truth, probability = check_classes(truth, "truth"), np.asarray(probability, dtype=float)
    check_same_length(truth, probability)
    return float(np.mean((probability - truth) ** 2)) if truth.size else np.nan


def brier_skill_score(truth, probability, climatology: float) -> float:
    """Brier score against that of a constant forecast: 1 is perfect, 0 no better than climatology.

    Parameters
    ----------
    truth, probability : array_like, shape (n,)
        As for `brier_score`.
    climatology : float
        Fraction of flaring images among the training rows.

    Returns
    -------
    float
        NaN where the Brier score is, and where climatology is itself without error or NaN.
    """
    reference = brier_score(truth, np.full(np.shape(truth), climatology))
    return float(1 - ratio(brier_score(truth, probability), reference))


def roc_auc(truth, score) -> float:
    """Area under the ROC curve: the chance that a flaring image scores higher than a quiet one, ties counting half.

    Parameters
    ----------
    truth : array_like, shape (n,)
        Observed class, 0 or 1.
    score : array_like, shape (n,)
        Anything that rises with the chance of a flare.

    Returns
    -------
    float
        NaN with one class only, and where a score is NaN.
    """
    truth, score = check_classes(truth, "truth"), np.asarray(score, dtype=float)
    check_same_length(truth, score)
    positives = int(truth.sum())
    if positives in (0, truth.size) or np.isnan(score).any():
        return np.nan
    ranks = rankdata(score)
    return float((ranks[truth == 1].sum() - positives * (positives + 1) / 2) / positives / (truth.size - positives))


def best_threshold(truth, score) -> float:
    """Threshold of largest TSS for the decision `score > threshold`, midway between two neighbouring scores.

    Parameters
    ----------
    truth : array_like, shape (n,)
        Observed class, 0 or 1.
    score : array_like, shape (n,)
        Anything that rises with the chance of a flare.

    Returns
    -------
    float
        The lowest of equally good thresholds; NaN with one class only, with one score only, or where a score is NaN.
    """
    truth, score = check_classes(truth, "truth"), np.asarray(score, dtype=float)
    check_same_length(truth, score)
    if truth.sum() in (0, truth.size) or np.isnan(score).any() or np.ptp(score) == 0:
        return np.nan
    order = np.argsort(score, kind="stable")
    ordered, flares = score[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.diff(ordered))  # last row of each run of equal scores, without the highest run
    missed, quiet = flares[last], last + 1 - flares[last]
    best = last[np.argmax(quiet / (truth.size - flares[-1]) - missed / flares[-1])]
    low, high = ordered[best], ordered[best + 1]
    middle = low + (high - low) / 2
    return float(middle if middle < high else low)


def reliability_curve(truth, probability, bins: int = 10) -> pd.DataFrame:
    """Observed frequency of flares by forecast probability, in bins of equal width.

    Parameters
    ----------
    truth, probability : array_like, shape (n,)
        Observed class and forecast probability; rows without a probability (NaN) are left out.
    bins : int
        Number of bins over 0..1; the last includes 1.

    Returns
    -------
    DataFrame
        One row a bin: low, high, count, probability (mean forecast), frequency (observed); NaN in an empty bin.
    """
    truth, probability = check_classes(truth, "truth"), np.asarray(probability, dtype=float)
    check_same_length(truth, probability)
    known = np.isfinite(probability)
    index = np.minimum((probability[known] * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    edges = np.arange(bins + 1) / bins
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "count": count,
                         "probability": ratio(np.bincount(index, probability[known], bins), count),
                         "frequency": ratio(np.bincount(index, truth[known], bins), count)})


def format_score(score: float, decimals: int = 3) -> str:
    """Write a score.

    Parameters
    ----------
    score : float or None
        NaN and None are not defined.
    decimals : int, optional
        Number of places.

    Returns
    -------
    str
        The number, or "not defined".
    """
    return NOT_DEFINED if score is None or not np.isfinite(score) else f"{score:.{decimals}f}"


def check_classes(values, what: str) -> np.ndarray:
    """Check a column of classes.

    Parameters
    ----------
    values : array_like
        The column.
    what : str
        Its name, for the message.

    Returns
    -------
    ndarray
        int64, shape (n,), each 0 or 1.

    Raises
    ------
    ValueError
        When it is not one-dimensional, or a value is neither 0 nor 1.
    """
    values = np.asarray(values)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise ValueError(f"{what}: expected a list of 0 and 1, got shape {values.shape}, "
                         f"values like {list(values.ravel()[:3])}")
    return values.astype(np.int64)


def check_same_length(first, second) -> None:
    """Raise ValueError when two columns differ in length.

    Parameters
    ----------
    first, second : sequence
        The columns.
    """
    if len(first) != len(second):
        raise ValueError(f"the columns differ in length: {len(first)} and {len(second)} rows")


def ratio(numerator, denominator) -> np.ndarray:
    """Divide, without a warning.

    Parameters
    ----------
    numerator, denominator : array_like
        Of shapes that broadcast.

    Returns
    -------
    ndarray
        float64, NaN where the denominator is zero.
    """
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return np.divide(numerator, denominator, out=np.full(np.broadcast(numerator, denominator).shape, np.nan),
                     where=denominator != 0)
