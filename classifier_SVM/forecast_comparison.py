"""Scores of several forecasts of the same test images, beside the rows that use no image, and their differences.

The same regions are drawn for all forecasts, so that differences are paired. Thresholds are chosen on validation; the
baseline to beat on training and validation together, as no rule is fitted to either; climatology comes from training;
the test images choose nothing. In a subset of the images the baseline and the climatology are those of the subset, and
each forecast with probabilities has a second row: its decision is meant for all images, so the row beside it decides at
the threshold of largest TSS on the subset's validation images.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from classifier_SVM.forecast_files import Forecast
from general_code.flares import EventList, peak_flux, persistence
from general_code.forecast_evaluation import NOT_AVAILABLE, PERSISTENCE_HOURS
from general_code.region_bootstrap import bootstrap_scores, difference_intervals, percentile_interval
from general_code.skill_scores import best_threshold, brier_skill_score, roc_auc, skill_scores

SCORES = ("TSS", "HSS", "AUC", "BSS")
QUIET_HOURS = 24
SUBSETS = {"all": "all test images",
           "first flare": f"no flare in the past {QUIET_HOURS} h: will there be a first one?",
           "last flare": f"a flare in the past {QUIET_HOURS} h: was it the last one?"}
CLIMATOLOGY, NO_RULE = "climatology", "climatology (no rule has skill here)"
ALWAYS, RULE, FROM_FILE = "always the commoner class", "the rule itself", "decision of the file"
NO_DIFFERENCE = (None, None, None)
OWN_THRESHOLD = "{}, threshold of the subset"  # second row of a forecast in a subset


class Candidate(NamedTuple):
    """A forecast of all images; arrays of shape (n,), NaN where it has no value.

    Attributes
    ----------
    name, decision_rule : str
        Of the forecast, and where its decision comes from.
    probability, decision : numpy.ndarray or None
        float; None where the forecast has none at all.
    kind : {"baseline", "forecast", "own threshold"}
        A row that uses no image and no training but counting; a file's; the same at the threshold of a subset.
    """

    name: str
    decision_rule: str
    probability: np.ndarray | None
    decision: np.ndarray | None
    kind: str = "forecast"


class _Judged(NamedTuple):
    """A candidate on some test images: its columns in the table, its scores, and their bootstrap samples."""

    name: str
    kind: str
    described: dict
    scores: dict
    samples: dict[str, np.ndarray]


class Comparison(NamedTuple):
    """Forecasts of one or more flare sizes, judged.

    Attributes
    ----------
    rows : list of dict
        One a flare size, subset and forecast: flare_size, subset, forecast, decision_rule, regions, images,
        flaring_images, climatology; TSS, HSS, AUC, BSS, each with _low and _high (95 %); baseline and, against it,
        TSS_gain, HSS_gain with _low and _high. A score that a forecast does not have is None, one that is not defined
        NaN.
    differences : list of dict
        One a flare size, subset and pair of files: flare_size, subset, forecast, against (the one named before it), and
        the difference of TSS, HSS, AUC, BSS, forecast minus against, with _low and _high of the paired bootstrap; both
        with the decision of the file, or both at the threshold of the subset.
    lacking : dict of str to int
        Number of test images that a forecast lacks, by its name: they are left out for all.
    """

    rows: list[dict]
    differences: list[dict]
    lacking: dict[str, int]

    def subset(self, name: str) -> "Comparison":
        """Return what concerns one of the `SUBSETS`.

        Parameters
        ----------
        name : str
            Its key.

        Returns
        -------
        Comparison
            With the same `lacking`.
        """
        rows, differences = ([row for row in table if row["subset"] == name] for table in self[:2])
        return Comparison(rows, differences, self.lacking)


def compare_forecasts(images: pd.DataFrame, forecasts: Sequence[Forecast], flare_size: str, events: EventList | None,
                      smaller_sizes: Sequence[str] = (), draws: int = 1000, seed: int = 0) -> Comparison:
    """Score all forecasts of one flare size on the test images that all of them have.

    Parameters
    ----------
    images : pandas.DataFrame
        As `read_images` returns it.
    forecasts : sequence of Forecast
        Those of other sizes are passed over.
    flare_size : str
        Smallest flare that counts.
    events : EventList or None
        For persistence and the subsets; "not available" without.
    smaller_sizes : sequence of str
        For each a rule more: a flare of that size in the past. Small flares tell of large ones better than large ones.
    draws, seed : int
        Bootstrap samples over regions, and their seed.

    Returns
    -------
    Comparison
        Of this size.
    """
    truth = (images["peak_flux"] >= peak_flux(flare_size)).to_numpy().astype(int)
    split = images["split"].to_numpy()
    recent = None if events is None else _flared(images, events, QUIET_HOURS, flare_size)
    common, found = split == "test", Comparison([], [], {})
    candidates = _baselines(images, flare_size, smaller_sizes, events)
    for forecast in (f for f in forecasts if f.flare_size == flare_size):
        candidate, present = _candidate(forecast, images, truth, split == "validation")
        candidates.append(candidate)
        found.lacking[forecast.name] = int((~present & (split == "test")).sum())
        common &= present
    for subset in SUBSETS:
        key = {"flare_size": flare_size, "subset": subset}
        if subset != "all" and recent is None:
            found.rows.append(key | {"forecast": NOT_AVAILABLE})
            continue
        inside = np.ones(len(images), bool) if subset == "all" else recent == (subset == "last flare")
        own = [] if subset == "all" else _own_thresholds(candidates, truth, (split == "validation") & inside)
        training = (split == "training") & inside
        judged = _judge(candidates + own, images["region"].to_numpy(), truth, common & inside,
                        float(truth[training].mean()) if training.any() else np.nan, draws, seed)
        best, label = _best_baseline(candidates, truth, (split != "test") & inside)
        found.rows.extend(key | row for row in _score_rows(judged, best, label))
        found.differences.extend(key | row for row in _difference_rows(judged))
    return found


def _flared(images: pd.DataFrame, events: EventList, hours: float, flare_size: str) -> np.ndarray:
    """Tell for which images the region flared in the past hours."""
    return persistence(images["region"].to_numpy(), images["time"].to_numpy(), events, hours, flare_size)


def _baselines(images: pd.DataFrame, flare_size: str, smaller_sizes: Sequence[str],
               events: EventList | None) -> list[Candidate]:
    """Return climatology (its probability is that of the subset's training images), persistence, and its like."""
    rows = [Candidate(CLIMATOLOGY, ALWAYS, None, None, "baseline")]
    for size in (flare_size, *smaller_sizes):
        for hours in PERSISTENCE_HOURS:
            name = f"persistence {hours} h" if size == flare_size else f"a flare >= {size} in the past {hours} h"
            decision = None if events is None else _flared(images, events, hours, size).astype(float)
            rows.append(Candidate(name, RULE, None, decision, "baseline"))
    return rows


def _candidate(forecast: Forecast, images: pd.DataFrame, truth: np.ndarray,
               validation: np.ndarray) -> tuple[Candidate, np.ndarray]:
    """Return a prediction file's forecast of the images, and which images it has."""
    place = forecast.rows.index.get_indexer(images.index)
    present = place >= 0
    probability, decision = (np.where(present, forecast.rows[name].to_numpy()[place], np.nan)
                             for name in ("probability", "decision"))
    if forecast.has_decision:
        return Candidate(forecast.name, FROM_FILE, probability, decision), present
    return _at_best_threshold(forecast.name, probability, truth, validation, "validation"), present


def _at_best_threshold(name: str, probability: np.ndarray, truth: np.ndarray, validation: np.ndarray,
                       origin: str) -> Candidate:
    """Return a forecast that decides at the threshold of largest TSS on some images, which `origin` names."""
    known = validation & np.isfinite(probability)
    threshold = best_threshold(truth[known], probability[known])
    if np.isnan(threshold):
        return Candidate(name, f"no decision, no threshold from {origin}", probability, None)
    decision = np.where(np.isfinite(probability), probability > threshold, np.nan)
    return Candidate(name, f"threshold {threshold:.4f}, chosen on {origin}", probability, decision)


def _own_thresholds(candidates: Sequence[Candidate], truth: np.ndarray, validation: np.ndarray) -> list[Candidate]:
    """Return the second rows of the forecasts with probabilities; AUC and BSS stand in the first."""
    rows = [_at_best_threshold(OWN_THRESHOLD.format(c.name), c.probability, truth, validation,
                               "validation images of the subset")
            for c in candidates if c.kind == "forecast" and np.isfinite(c.probability).any()]
    return [row._replace(probability=None, kind="own threshold") for row in rows]


def _best_baseline(candidates: Sequence[Candidate], truth: np.ndarray, known: np.ndarray) -> tuple[str, str]:
    """Return the baseline of largest TSS on the known images, which train none, and what the table calls it."""
    best, largest = CLIMATOLOGY, 0.0
    rules = [row for row in candidates if row.kind == "baseline" and row.decision is not None]
    for row in rules:
        score = skill_scores(truth[known], row.decision[known].astype(int))["TSS"]
        if score > largest:
            best, largest = row.name, score
    return best, NO_RULE if rules and best == CLIMATOLOGY else best


def _judge(candidates: Sequence[Candidate], regions: np.ndarray, truth: np.ndarray, test: np.ndarray,
           climatology: float, draws: int, seed: int) -> list[_Judged]:
    """Return the scores of every forecast on some test images, and their bootstrap samples."""
    size = {"regions": len(np.unique(regions[test])), "images": int(test.sum()),
            "flaring_images": int(truth[test].sum()), "climatology": climatology}
    judged = []
    for row in (_at_climatology(c, climatology) for c in candidates):
        columns = {"decision": _complete(row.decision, test), "probability": _complete(row.probability, test)}
        scores = dict.fromkeys(SCORES)
        if columns["decision"] is not None:
            columns["decision"] = columns["decision"].astype(int)
            decided = skill_scores(truth[test], columns["decision"])
            scores |= {name: decided[name] for name in SCORES[:2]}
        else:
            scores |= dict.fromkeys(SCORES[:2], NOT_AVAILABLE if row.kind == "baseline" else np.nan)
        if columns["probability"] is not None:
            scores |= {"AUC": roc_auc(truth[test], columns["probability"]),
                       "BSS": brier_skill_score(truth[test], columns["probability"], climatology)}
        samples = bootstrap_scores(truth[test], regions[test], **columns, climatology=climatology, draws=draws,
                                   seed=seed)
        described = {"forecast": row.name, "decision_rule": row.decision_rule} | size
        judged.append(_Judged(row.name, row.kind, described, scores, samples))
    return judged


def _at_climatology(row: Candidate, climatology: float) -> Candidate:
    """Return the climatology row with the frequency of this subset; others as they are."""
    if row.name != CLIMATOLOGY or np.isnan(climatology):
        return row
    return row._replace(probability=np.float64(climatology), decision=np.float64(climatology > 0.5))


def _complete(values: np.ndarray | None, test: np.ndarray) -> np.ndarray | None:
    """Return the values of the test images, None where there is none or one is missing."""
    if values is None:
        return None
    values = np.broadcast_to(values, test.shape)[test]
    return None if np.isnan(values).any() else values


def _score_rows(judged: Sequence[_Judged], baseline: str, label: str) -> list[dict]:
    """Return a row a forecast: its scores, and its gain in TSS and HSS over the baseline, which the table labels."""
    against, rows = next(row for row in judged if row.name == baseline), []
    for row in judged:
        columns = row.described | {"baseline": label}
        for name in SCORES:
            low, high = percentile_interval(row.samples[name]) if name in row.samples else (None, None)
            columns |= {name: row.scores[name], f"{name}_low": low, f"{name}_high": high}
        for name in SCORES[:2]:
            gain = NO_DIFFERENCE if row is against else _difference(row, against, name)
            columns |= dict(zip((f"{name}_gain", f"{name}_gain_low", f"{name}_gain_high"), gain, strict=True))
        rows.append(columns)
    return rows


def _difference_rows(judged: Sequence[_Judged]) -> list[dict]:
    """Return a row a pair of files: the differences of all scores, the later named minus the earlier."""
    rows = []
    for kind in ("forecast", "own threshold"):
        for against, row in combinations([row for row in judged if row.kind == kind], 2):
            columns = {"forecast": row.name, "against": against.name}
            for name in SCORES:
                columns |= dict(zip((name, f"{name}_low", f"{name}_high"), _difference(row, against, name),
                                    strict=True))
            rows.append(columns)
    return rows


def _difference(row: _Judged, against: _Judged, name: str) -> tuple:
    """Return the difference of a score that both have, else None, and its interval."""
    if name not in row.samples or name not in against.samples:
        return NO_DIFFERENCE
    value = row.scores[name] - against.scores[name]
    return value, *difference_intervals({name: row.samples[name]}, {name: against.samples[name]})[name]
