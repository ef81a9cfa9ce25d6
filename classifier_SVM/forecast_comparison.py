"""Scores of several forecasts of the same test images, beside the rows that use no image, and their differences.

The same regions are drawn for all forecasts, so that differences are paired. Thresholds are chosen on validation; the
baseline to beat on training and validation together, as no rule is fitted to either; climatology comes from training;
the test images choose nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from classifier_SVM.forecast_files import Forecast
from general_code.flares import EventList, peak_flux, persistence
from general_code.forecast_evaluation import NOT_AVAILABLE, PERSISTENCE_HOURS
from general_code.region_bootstrap import bootstrap_scores, percentile_interval
from general_code.skill_scores import best_threshold, brier_skill_score, roc_auc, skill_scores

SCORES = ("TSS", "HSS", "AUC", "BSS")
QUIET_HOURS = 24
SUBSETS = {"all": "all test images",
           "first flare": f"no flare in the past {QUIET_HOURS} h: will there be a first one?",
           "last flare": f"a flare in the past {QUIET_HOURS} h: was it the last one?"}
ALWAYS, RULE, FROM_FILE = "always the commoner class", "the rule itself", "decision of the file"


class Candidate(NamedTuple):
    """A forecast of all images; arrays of shape (n,), NaN where it has no value.

    Attributes
    ----------
    name, decision_rule : str
        Of the forecast, and where its decision comes from.
    probability, decision : numpy.ndarray or None
        float; None where the forecast has none at all.
    baseline : bool
        Whether it is a row that uses no image and no training but counting.
    """

    name: str
    decision_rule: str
    probability: np.ndarray | None
    decision: np.ndarray | None
    baseline: bool = False


def compare_forecasts(images: pd.DataFrame, forecasts: Sequence[Forecast], flare_size: str, events: EventList | None,
                      smaller_sizes: Sequence[str] = (), draws: int = 1000,
                      seed: int = 0) -> tuple[list[dict], dict[str, int]]:
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
    list of dict
        One row a subset and forecast: subset, forecast, decision_rule, regions, images, flaring_images, climatology;
        TSS, HSS, AUC, BSS, each with _low and _high (95 %); baseline and, against it, TSS_gain, HSS_gain with _low and
        _high. A score that a forecast does not have is None, one that is not defined NaN.
    dict of str to int
        Number of test images that a forecast lacks, by its name: they are left out for all.
    """
    chosen = [f for f in forecasts if f.flare_size == flare_size]
    truth = (images["peak_flux"] >= peak_flux(flare_size)).to_numpy().astype(int)
    split = images["split"].to_numpy()
    recent = None if events is None else _flared(images, events, QUIET_HOURS, flare_size)
    common, lacking = split == "test", {}
    candidates = _baselines(images, flare_size, smaller_sizes, events)
    for forecast in chosen:
        candidate, present = _candidate(forecast, images, truth, split == "validation")
        candidates.append(candidate)
        lacking[forecast.name] = int((~present & (split == "test")).sum())
        common &= present
    baseline = _best_baseline(candidates, truth, split != "test")
    rows = []
    for subset in SUBSETS:
        if subset != "all" and recent is None:
            rows.append({"flare_size": flare_size, "subset": subset, "forecast": NOT_AVAILABLE})
            continue
        inside = np.ones(len(images), bool) if subset == "all" else recent == (subset == "last flare")
        rows += [{"flare_size": flare_size, "subset": subset} | row for row in
                 _score_subset(candidates, baseline, images["region"].to_numpy(), truth, common & inside,
                               (split == "training") & inside, draws, seed)]
    return rows, lacking


def _flared(images: pd.DataFrame, events: EventList, hours: float, flare_size: str) -> np.ndarray:
    """Tell for which images the region flared in the past hours."""
    return persistence(images["region"].to_numpy(), images["time"].to_numpy(), events, hours, flare_size)


def _baselines(images: pd.DataFrame, flare_size: str, smaller_sizes: Sequence[str],
               events: EventList | None) -> list[Candidate]:
    """Return climatology (its probability is that of the subset's training images), persistence, and its like."""
    rows = [Candidate("climatology", ALWAYS, None, None, True)]
    for size in (flare_size, *smaller_sizes):
        for hours in PERSISTENCE_HOURS:
            name = f"persistence {hours} h" if size == flare_size else f"a flare >= {size} in the past {hours} h"
            decision = None if events is None else _flared(images, events, hours, size).astype(float)
            rows.append(Candidate(name, RULE, None, decision, True))
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
    known = validation & np.isfinite(probability)
    threshold = best_threshold(truth[known], probability[known])
    if np.isnan(threshold):
        return Candidate(forecast.name, "no decision, no threshold from validation", probability, None), present
    decision = np.where(np.isfinite(probability), probability > threshold, np.nan)
    return Candidate(forecast.name, f"threshold {threshold:.4f}, chosen on validation", probability, decision), present


def _best_baseline(candidates: Sequence[Candidate], truth: np.ndarray, known: np.ndarray) -> str:
    """Return the baseline of largest TSS on the known images, which train none; climatology if none is better."""
    best, largest = "climatology", 0.0
    for row in candidates:
        if row.baseline and row.decision is not None:
            score = skill_scores(truth[known], row.decision[known].astype(int))["TSS"]
            if score > largest:
                best, largest = row.name, score
    return best


def _score_subset(candidates: Sequence[Candidate], baseline: str, regions: np.ndarray, truth: np.ndarray,
                  test: np.ndarray, training: np.ndarray, draws: int, seed: int) -> list[dict]:
    """Return a row of scores of every forecast on some test images."""
    climatology = float(truth[training].mean()) if training.any() else np.nan
    rows, samples = [], {}
    for row in (_at_climatology(c, climatology) for c in candidates):
        columns = {"decision": _complete(row.decision, test), "probability": _complete(row.probability, test)}
        scores = dict.fromkeys(SCORES)
        if columns["decision"] is not None:
            columns["decision"] = columns["decision"].astype(int)
            scores |= {name: value for name, value in skill_scores(truth[test], columns["decision"]).items()
                       if name in SCORES}
        elif row.baseline:
            scores |= dict.fromkeys(SCORES[:2], NOT_AVAILABLE)
        else:
            scores |= dict.fromkeys(SCORES[:2], np.nan)
        if columns["probability"] is not None:
            scores |= {"AUC": roc_auc(truth[test], columns["probability"]),
                       "BSS": brier_skill_score(truth[test], columns["probability"], climatology)}
        samples[row.name] = bootstrap_scores(truth[test], regions[test], **columns, climatology=climatology,
                                             draws=draws, seed=seed)
        rows.append({"forecast": row.name, "decision_rule": row.decision_rule,
                     "regions": len(np.unique(regions[test])), "images": int(test.sum()),
                     "flaring_images": int(truth[test].sum()), "climatology": climatology} | scores)
    return [row | _intervals(row, samples, baseline, rows) for row in rows]


def _at_climatology(row: Candidate, climatology: float) -> Candidate:
    """Return the climatology row with the frequency of this subset; others as they are."""
    if row.name != "climatology" or np.isnan(climatology):
        return row
    return row._replace(probability=np.float64(climatology), decision=np.float64(climatology > 0.5))


def _complete(values: np.ndarray | None, test: np.ndarray) -> np.ndarray | None:
    """Return the values of the test images, None where there is none or one is missing."""
    if values is None:
        return None
    values = np.broadcast_to(values, test.shape)[test]
    return None if np.isnan(values).any() else values


def _intervals(row: dict, samples: dict, baseline: str, rows: list[dict]) -> dict:
    """Return the 95 % intervals of a row's scores, and of its gain in TSS and HSS over the baseline."""
    own, reference = samples[row["forecast"]], samples[baseline]
    columns: dict = {"baseline": baseline}
    for name in SCORES:
        columns[f"{name}_low"], columns[f"{name}_high"] = percentile_interval(own.get(name, []))
    against = next(other for other in rows if other["forecast"] == baseline)
    for name in SCORES[:2]:
        both = name in own and name in reference and row["forecast"] != baseline
        columns[f"{name}_gain"] = row[name] - against[name] if both else None
        interval = percentile_interval(own[name] - reference[name]) if both else (np.nan, np.nan)
        columns[f"{name}_gain_low"], columns[f"{name}_gain_high"] = interval
    return columns
