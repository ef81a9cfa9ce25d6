"""Scores of yes/no and probability forecasts, their calibration, and their uncertainty by a bootstrap over regions.

A score that is not defined (no flaring image, no quiet image, no probability) is NaN, and `format_score` prints it as
"not defined"; it is never 0. Images of one region are alike: intervals come from samples of whole regions.

A percentile interval of few regions is too narrow. It is widened as Student's t is against the normal distribution, by
the effective number of regions, and each score has an interval only from `fewest_flaring` regions with a flare on:
there it held the score of a large population in 93 to 97 % of simulated cases (tests/benchmarks/interval_coverage.py).

References
----------
Heidke 1926, Geografiska Annaler 8, 301 (HSS); Bloomfield et al. 2012, ApJL 747, L41 (TSS);
Brier 1950, Monthly Weather Review 78, 1; Murphy 1973, Journal of Applied Meteorology 12, 595 (its three terms);
Platt 1999, Advances in Large Margin Classifiers, 61 (calibration); Hesterberg 2015, American Statistician 69, 371
(widened percentile intervals); Kish 1965, Survey Sampling (effective number).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    recall_score,
    roc_auc_score,
)
from sklearn.utils import check_consistent_length

DECISION_SCORES = ("TPR", "TNR", "HSS", "TSS")
FREQUENCY_SCORES = ("precision", "bias")
PROBABILITY_SCORES = ("AUC", "PR area", "Brier", "BSS", "BSS over flare count")
BRIER_TERMS = ("reliability", "resolution", "uncertainty")  # without interval: the first is biased in small samples
NOT_DEFINED = "not defined"
MIN_REGIONS = 6  # with images of each class that is needed: k signs alike have a chance of 2 * 2**-k, below .05
LEVEL = 0.95  # of the intervals
# regions with a flare from which on an interval covers 93 to 97 %, by tests/benchmarks/interval_coverage.py; TNR: quiet
FEWEST_FLARING = {"TPR": 10, "TNR": 15, "HSS": 20, "TSS": 8, "precision": 20, "bias": 8, "AUC": 8, "PR area": 60,
                  "Brier": 8, "BSS": 60, "BSS over flare count": 10}
RARE, FEWEST_RARE = 0.25, {"PR area": 120, "BSS": 120}  # where a smaller fraction of the regions flares
PAIRED = {"BSS": "BSS over flare count"}  # a difference of two skills needs as few regions as the skill over a forecast
DRAWS = 10_000  # of regions; from seed to seed, ends of intervals vary by .001 (C1.0) to .004 (M1.0, 157 regions)
DRAWS_A_BLOCK = 500  # that are in memory at a time
BINS, BAR_DRAWS = 10, 1000  # of the reliability diagram
RANKS = 200  # levels of a score from which the areas of samples are computed


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
    cells, weights = ([0, 0, 1, 1], [0, 1, 0, 1]), np.bincount(2 * truth + decision, minlength=4)
    rates = {name: recall_score(*cells, pos_label=side, sample_weight=weights, zero_division=np.nan)
             for name, side in (("TPR", 1), ("TNR", 0))}
    if np.isnan(list(rates.values())).any():
        return rates | {"HSS": np.nan, "TSS": np.nan}
    return rates | {"HSS": float(cohen_kappa_score(*cells, sample_weight=weights)),
                    "TSS": float(balanced_accuracy_score(*cells, sample_weight=weights, adjusted=True))}


def _frequency_scores(truth, decision) -> dict[str, float]:
    """Return precision (NaN where no flare is forecast) and bias, flares forecast / observed (NaN where none is)."""
    truth, decision = _classes(truth, "truth"), _classes(decision, "decision")
    hits, forecast = (truth * decision).sum(), decision.sum()
    return {"precision": float(_ratio(hits, forecast)), "bias": float(_ratio(forecast, truth.sum()))}


def brier_scores(truth, probability, climatology: float, count_rate=None) -> dict[str, float]:
    """Brier score, its skill against other forecasts (1 is perfect, 0 no better than they are), and its three terms.

    Parameters
    ----------
    truth, probability : array_like, shape (n,)
        Observed class, 0 or 1; its forecast probability, or NaN.
    climatology, count_rate : float, array_like of shape (n,), optional
        Fraction of flaring images among the training rows; probabilities from the number of past flares.

    Returns
    -------
    dict of str to float
        "Brier", the mean squared difference; "BSS" against climatology; with a count rate, "BSS over flare count";
        `BRIER_TERMS`, from bins of .1: Brier = reliability - resolution + uncertainty, but for the spread of the
        probabilities within a bin. NaN if empty or a probability is NaN, a skill also where the other forecast is
        without error or NaN.
    """
    truth, probability = _with_truth(truth, probability)

    def brier(values):
        known = truth.size and not np.isnan(values).any()
        return float(brier_score_loss(truth, values, pos_label=1)) if known else np.nan

    own = brier(probability)
    found = {"Brier": own, "BSS": float(1 - _ratio(own, brier(np.full(truth.size, climatology))))}
    if count_rate is not None:
        found["BSS over flare count"] = float(1 - _ratio(own, brier(count_rate)))
    if np.isnan(own):
        return found | dict.fromkeys(BRIER_TERMS, np.nan)
    curve = reliability_curve(truth, probability).dropna(subset="frequency")
    share, rate = curve["count"] / truth.size, truth.mean()
    return found | {"reliability": float((share * (curve["probability"] - curve["frequency"]) ** 2).sum()),
                    "resolution": float((share * (curve["frequency"] - rate) ** 2).sum()),
                    "uncertainty": float(rate * (1 - rate))}


def reliability_curve(truth, probability, regions: Sequence[str] | None = None) -> pd.DataFrame:
    """Observed frequency of flares by forecast probability, its uncertainty by a bootstrap over regions.

    Parameters
    ----------
    truth, probability, regions : array_like, shape (n,), the last optional
        Observed class, 0 or 1; its forecast probability, rows of NaN are skipped; region, for the uncertainty.

    Returns
    -------
    DataFrame
        A row for each of `BINS` bins of equal width: `frequency` and mean `probability`, NaN in an empty bin, and
        `count`, the number of images. With regions: `regions`, their number, `low` and `high`, the ends of the 95 %
        interval of the frequency, NaN below `MIN_REGIONS` regions.
    """
    rows = pd.DataFrame({"frequency": np.asarray(truth, float), "probability": np.asarray(probability, float)})
    known = rows["probability"].notna().to_numpy()
    rows = rows[known]
    place = np.minimum((rows["probability"].to_numpy() * BINS).astype(int), BINS - 1)
    grouped = rows.groupby(place)
    curve = grouped.mean().assign(count=grouped.size()).reindex(range(BINS)).fillna({"count": 0}).astype({"count": int})
    if regions is None:
        return curve
    codes, names = pd.factorize(np.asarray(regions)[known], sort=True)
    images, flaring = (np.bincount(codes * BINS + place, weights, len(names) * BINS).reshape(-1, BINS)
                       for weights in (None, rows["frequency"]))
    curve = curve.assign(regions=np.count_nonzero(images, axis=0), low=np.nan, high=np.nan)
    if (curve["regions"] >= MIN_REGIONS).any():
        frequency = np.concatenate([_ratio(weights @ flaring, weights @ images)
                                    for weights in _region_weights(len(names), BAR_DRAWS, seed=0)])
        for i in np.flatnonzero(curve["regions"] >= MIN_REGIONS):
            curve.loc[i, ["low", "high"]] = _interval(frequency[:, i], _tail(_effective_number(images[:, i])))
    return curve


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
    regions = np.asarray(regions)
    if min(pd.unique(regions[truth == side]).size for side in (0, 1)) < MIN_REGIONS:
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
    """The scores that a forecast has, NaN where not defined, and those of samples of its regions.

    `samples` have shape (draws,); `tails` are the shares of samples below and above an interval, NaN: no interval.
    """

    scores: dict[str, float]
    samples: dict[str, np.ndarray]
    tails: dict[str, float]

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of each score that has samples."""
        return {name: _interval(samples, self.tails[name]) for name, samples in self.samples.items()}

    def difference(self, other: "ScoredForecast", name: str) -> tuple[float, float, float]:
        """Return a score minus that of another forecast of the same images, and its 95 % interval (paired samples)."""
        interval = _interval(self.samples[name] - other.samples[name], self.tails[PAIRED.get(name, name)])
        return self.scores[name] - other.scores[name], *interval


def score_forecast(truth, regions: Sequence[str], decision=None, probability=None, score=None, *,
                   climatology: float = np.nan, count_rate=None, draws: int = DRAWS, seed: int = 0,
                   fewest: int | None = None) -> ScoredForecast:
    """All scores of a forecast, and those of samples: as many regions as it has, with replacement, all images of each.

    Parameters
    ----------
    truth, regions : array_like, shape (n,)
        Observed class, 0 or 1, and region of each image.
    decision, probability, score : array_like, shape (n,), optional
        Forecast class, for TPR, TNR, HSS, TSS, precision, bias; forecast probability, for `brier_scores` (NaN where one
        is NaN); what AUC and PR area are computed from, else the probability. Without them: without these scores.
    climatology, count_rate : float, array_like of shape (n,), optional
        As `brier_scores` takes them.
    draws, seed, fewest : int, int, int or None
        Number of samples, 0 for scores alone, and seed of the draw: the same regions are drawn whatever the forecast;
        number of regions from which on there are intervals, in place of `FEWEST_FLARING`.

    Returns
    -------
    ScoredForecast
        Samples are NaN where they leave a score undefined, and where no score has regions enough for an interval; their
        areas are those of `RANKS` levels of the score. ValueError if the lengths differ or a class is neither 0 nor 1.
    """
    ranking = probability if score is None else score
    scores: dict[str, float] = {}
    if decision is not None:
        scores |= skill_scores(truth, decision) | _frequency_scores(truth, decision)
    if ranking is not None:
        scores["AUC"] = area = roc_auc(truth, ranking)
        scores["PR area"] = area if np.isnan(area) else float(average_precision_score(truth, ranking))
    if probability is not None:
        scores |= brier_scores(truth, probability, climatology, count_rate)
    truth = _classes(truth, "truth")
    check_consistent_length(truth, regions)
    codes, names = pd.factorize(np.asarray(regions), sort=True)
    tails = _tails(truth, codes, len(names), fewest)
    samples = {name: np.full(draws, np.nan) for name in scores if name in FEWEST_FLARING}
    if not draws or np.isnan(list(tails.values())).all():
        return ScoredForecast(scores, samples, tails)
    sums = _region_sums(truth, codes, decision, {"own": probability, "climatology": climatology, "count": count_rate})
    ranks = None if ranking is None else _rank_counts(truth, codes, np.asarray(ranking, float))
    blocks = [_sample_scores(weights, sums, ranks) for weights in _region_weights(len(names), draws, seed)]
    samples = {name: np.concatenate([block[name] for block in blocks]) for name in samples}
    if ranks is not None:  # the samples know the score by level only
        whole = _sample_scores(np.ones((1, len(names))), sums, ranks)
        samples |= {name: samples[name] + scores[name] - whole[name] for name in ("AUC", "PR area")}
    return ScoredForecast(scores, samples, tails)


def _interval(samples: np.ndarray, tail: float) -> tuple[float, float]:
    """Return what is between two tails of the samples that are defined; NaN when fewer than half of them are."""
    known = samples[np.isfinite(samples)]
    if known.size == 0 or 2 * known.size < samples.size or np.isnan(tail):
        return np.nan, np.nan
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def fewest_flaring(flaring: int, regions: int) -> dict[str, int]:
    """Return the number of regions with a flare (TNR: without) from which on each score has an interval.

    Parameters
    ----------
    flaring, regions : int
        Number of regions with a flare, and of all: scores of rare flares need more.

    Returns
    -------
    dict of str to int
        `FEWEST_FLARING`, with `FEWEST_RARE` where less than the fraction `RARE` of the regions flare.
    """
    return FEWEST_FLARING | (FEWEST_RARE if flaring < RARE * regions else {})


def _tails(truth: np.ndarray, codes: np.ndarray, n: int, fewest: int | None) -> dict[str, float]:
    """Return the share of samples beyond each end of a score's interval, NaN where there are too few regions."""
    images = {side: np.bincount(codes[truth == side], minlength=n) for side in (0, 1)}  # of each region
    has = {side: np.count_nonzero(numbers) for side, numbers in images.items()}
    tails = {}
    for name, limit in fewest_flaring(has[1], n).items():
        side = 0 if name == "TNR" else 1
        enough = has[side] >= limit and has[1 - side] >= MIN_REGIONS if fewest is None else n >= fewest
        # the Brier score rests on the quiet images, too
        number = has[1] if name == "Brier" else _effective_number(images[side])
        tails[name] = _tail(number) if enough else np.nan
    return tails


def _effective_number(images: np.ndarray) -> float:
    """Return Kish's effective number of regions with so many images each."""
    return float(_ratio(images.sum() ** 2, (images ** 2).sum()))


def _tail(number: float) -> float:
    """Return the share of samples below a widened percentile interval: .025 for many regions, less for few."""
    number = max(number, 2.0)
    width = np.sqrt(number / (number - 1)) * stats.t.ppf((1 + LEVEL) / 2, number - 1)
    return float(stats.norm.cdf(-width))


@functools.lru_cache(maxsize=2)
def _region_weights(n: int, draws: int, seed: int) -> list[np.ndarray]:
    """Return how often each region is in each sample, in blocks of shape (samples, n); the same for all forecasts."""
    rng, blocks = np.random.default_rng(seed), []
    for start in range(0, draws, DRAWS_A_BLOCK):
        drawn = rng.integers(0, n, (min(DRAWS_A_BLOCK, draws - start), n))
        drawn += n * np.arange(len(drawn))[:, None]
        blocks.append(np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.uint16))
    return blocks


def _region_sums(truth, codes, decision, probabilities: dict) -> dict[str, np.ndarray]:
    """Return what the scores of samples are made of, summed for each region."""
    n = int(codes.max()) + 1
    sums = {"images": np.bincount(codes, minlength=n)}
    if decision is not None:
        cells = np.bincount(codes * 4 + 3 - 2 * truth - _classes(decision, "decision"), minlength=4 * n).reshape(n, 4)
        sums |= dict(zip(("tp", "fn", "fp", "tn"), cells.T, strict=True))
    for name, probability in probabilities.items():
        if probability is not None:
            sums[name] = np.bincount(codes, (np.asarray(probability, float) - truth) ** 2, n)
    return sums


def _rank_counts(truth, codes, score) -> np.ndarray:
    """Return the number of flaring and of quiet images of each region at each level of the score, highest first.

    Levels are the distinct scores or, of more than `RANKS`, steps with as many images each: float32, shape (n, 2, m).
    """
    edges = np.unique(score)
    if len(edges) > RANKS:
        edges = np.unique(np.quantile(score, np.arange(1, RANKS + 1) / RANKS, method="higher"))
    n, m = int(codes.max()) + 1, len(edges)
    level = m - 1 - np.searchsorted(edges, score)
    counts = np.bincount((codes * 2 + 1 - truth) * m + level, minlength=2 * n * m)
    return counts.reshape(n, 2, m).astype(np.float32)


def _sample_scores(weights: np.ndarray, sums: dict[str, np.ndarray], ranks: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return all scores of samples of regions, NaN where a sample does not define one."""
    total = dict(zip(sums, (weights.astype(float) @ np.stack(list(sums.values()), axis=1)).T, strict=True))
    found = {}
    if "tp" in total:
        tp, fn, fp, tn = (total[name] for name in ("tp", "fn", "fp", "tn"))
        found = {"TPR": _ratio(tp, tp + fn), "TNR": _ratio(tn, tn + fp), "precision": _ratio(tp, tp + fp),
                 "bias": _ratio(tp + fp, tp + fn)}
        found["TSS"] = found["TPR"] + found["TNR"] - 1
        heidke = _ratio(2 * (tp * tn - fn * fp), (tp + fn) * (fn + tn) + (tp + fp) * (fp + tn))
        found["HSS"] = np.where(np.isnan(found["TSS"]), np.nan, heidke)
    if "own" in total:
        found |= {"Brier": total["own"] / total["images"], "BSS": 1 - _ratio(total["own"], total["climatology"])}
        if "count" in total:
            found["BSS over flare count"] = 1 - _ratio(total["own"], total["count"])
    return found if ranks is None else found | _sample_areas(weights, ranks)


def _sample_areas(weights: np.ndarray, ranks: np.ndarray) -> dict[str, np.ndarray]:
    """Return the areas under the ROC and the precision-recall curve of samples of regions."""
    n, _, m = ranks.shape
    counts = (weights.astype(np.float32) @ ranks.reshape(n, 2 * m)).astype(float)
    flaring, quiet = counts[:, :m], counts[:, m:]
    hits, alarms = flaring.cumsum(axis=1), quiet.cumsum(axis=1)
    flares, others = hits[:, -1], alarms[:, -1]
    precision = np.nan_to_num(_ratio(hits, hits + alarms))  # nothing is forecast at the highest levels of a sample
    return {"AUC": 1 - _ratio((flaring * (alarms - quiet / 2)).sum(axis=1), flares * others),
            "PR area": np.where(others > 0, _ratio((flaring * precision).sum(axis=1), flares), np.nan)}


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
