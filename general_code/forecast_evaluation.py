"""How good a forecast is: scores by split with intervals, calibrated probabilities, and the rows it must beat.

Every forecast of this project (SVM, boosting, VGG16) is judged here, in the same way. It arrives as a table of rows
(`forecast_rows`), one an image: filename, region, time, class (observed 0/1), score (rises with the chance of a flare),
decision (the classifier's own 0/1), split ("test", "validation" or "training").

Calibration and the second threshold are chosen on the validation rows, climatology on the training rows; the test rows
choose nothing. What a split cannot define (one class only, no images) is NaN: "not defined" in every output.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from general_code.flares import EventList, persistence
from general_code.forecast_calibration import Calibration, fit_calibration
from general_code.image_names import parse_image_names
from general_code.region_bootstrap import paired_bootstrap, region_bootstrap
from general_code.skill_scores import (
    DECISION_SCORES,
    PROBABILITY_SCORES,
    best_threshold,
    brier_score,
    brier_skill_score,
    roc_auc,
    skill_scores,
)

SPLITS = ("test", "validation", "training")
PERSISTENCE_HOURS = (24, 48)
NOT_AVAILABLE = "not available"
VALIDATION_THRESHOLD = "threshold chosen on validation"


def flare_text(flare_size: str, window_hours: float) -> str:
    """Say what is forecast.

    Parameters
    ----------
    flare_size : str
        Smallest flare that counts; "" where that is not known.
    window_hours : float
        Within which it counts [h]; NaN where that is not known.

    Returns
    -------
    str
        Like "C1.0 or larger within 24 h".
    """
    size = f"{flare_size} or larger" if flare_size else "any labelled size"
    return size + (f" within {window_hours:g} h" if np.isfinite(window_hours) else "")


def forecast_rows(filenames: Sequence[str], truth, score, decision, split) -> pd.DataFrame:
    """Put a forecast into the table that this module judges.

    Parameters
    ----------
    filenames : sequence of str, length n
        Image names as in the data set; `NNNN/` in front is dropped.
    truth : array_like, shape (n,)
        Observed class, 0 or 1.
    score : array_like, shape (n,)
        What the decision was made from, finite; log-odds or SVM decision value.
    decision : array_like, shape (n,)
        The classifier's own decision, 0 or 1.
    split : str or sequence of str
        "test", "validation" or "training", one for all or one a row.

    Returns
    -------
    DataFrame
        filename, region, time, class, score, decision, split; probability NaN until `calibrate`.

    Raises
    ------
    ValueError
        If a name gives no region or time, a split is unknown or a score not finite.
    """
    names = pd.Series(filenames, dtype="str").str.replace(r"^.*[/\\]", "", regex=True)
    parsed = parse_image_names(names)
    rows = pd.DataFrame({"filename": names, "region": parsed["region"], "time": parsed["time"],
                         "class": np.asarray(truth, dtype=np.int8), "score": np.asarray(score, dtype=float),
                         "decision": np.asarray(decision, dtype=np.int8), "probability": np.nan, "split": split})
    unplaced = (rows["region"] == "") | rows["time"].isna()
    if unplaced.any():
        raise ValueError(f"{names[unplaced].iloc[0]}: the name gives no region and time ({unplaced.sum()} such rows)")
    if not rows["split"].isin(SPLITS).all():
        raise ValueError(f"split: expected one of {SPLITS}, got {sorted(set(rows['split']) - set(SPLITS))}")
    if not np.isfinite(rows["score"]).all():
        raise ValueError(f"score: expected finite numbers, got {rows['score'][~np.isfinite(rows['score'])].iloc[0]}")
    return rows


def calibrate(rows: pd.DataFrame) -> tuple[pd.DataFrame, Calibration | None]:
    """Add the probability that the validation rows calibrate; the decision is not touched.

    Parameters
    ----------
    rows : DataFrame
        As `forecast_rows` makes it.

    Returns
    -------
    rows : DataFrame
        With `probability`; NaN in every row when the calibration is not defined.
    calibration : Calibration or None
        None where not defined.
    """
    validation = rows[rows["split"] == "validation"]
    calibration = fit_calibration(validation["class"], validation["score"])
    probability = np.nan if calibration is None else calibration.probability(rows["score"])
    return rows.assign(probability=probability), calibration


def evaluate_forecast(rows: pd.DataFrame, forecast: str, decision_rule: str, calibration: Calibration | None,
                      flare_size: str, events: EventList | None = None, remarks: Sequence[str] = (),
                      draws: int = 1000, seed: int = 0, window_hours: float = np.nan) -> dict:
    """Judge a forecast on the three splits, beside climatology and persistence.

    Parameters
    ----------
    rows : DataFrame
        As `calibrate` returns it.
    forecast, decision_rule : str
        Name of the forecast ("linear SVM") and of the origin of its decision ("decision at 0").
    calibration : Calibration or None
        As `calibrate` returns it.
    flare_size : str
        Smallest flare that counts ("C1.0"), for persistence.
    events : EventList, optional
        As `flares.read_event_list` returns it; without it persistence is "not available".
    remarks : sequence of str, optional
        Sentences for the reader of the statistics, which begin with them.
    draws, seed : int
        Bootstrap samples over regions, and their seed.
    window_hours : float, optional
        Horizon of the labels: a flare within so many hours counts [h]; NaN where it is not known.

    Returns
    -------
    dict
        remarks, forecast, decision_rule, flare_size, flare_window_hours, climatology, calibration,
        validation_threshold, bootstrap and splits: {split: {regions, images, flaring_images, forecasts: {name: {score:
        value, intervals: {...}}}, differences: {persistence: {"TSS": own minus its, intervals: {...}}}}}. Undefined
        scores are NaN; persistence without an event list is the text "not available".
    """
    training, validation = (rows[rows["split"] == split] for split in ("training", "validation"))
    climatology = float(training["class"].mean()) if len(training) else np.nan
    threshold = best_threshold(validation["class"], validation["score"])
    common = {"climatology": climatology, "draws": draws, "seed": seed}
    report = {"remarks": list(remarks), "forecast": forecast, "decision_rule": decision_rule, "flare_size": flare_size,
              "flare_window_hours": window_hours, "climatology": climatology, "validation_threshold": threshold,
              "calibration": None if calibration is None else {"slope": calibration.slope,
                                                               "intercept": calibration.intercept},
              "bootstrap": {"unit": "region", "samples": draws, "level": 0.95, "seed": seed},
              "images_outside_event_list": _outside(rows, events), "splits": {}}
    names = f"{forecast}, {decision_rule}", f"{forecast}, {VALIDATION_THRESHOLD}"
    for split in SPLITS:
        report["splits"][split] = _judge_split(rows[rows["split"] == split], names, threshold, flare_size, events,
                                               common)
    return report


def _judge_split(part: pd.DataFrame, names: tuple[str, str], threshold: float, flare_size: str,
                 events: EventList | None, common: dict) -> dict:
    """What `evaluate_forecast` reports of one split; the names are those of the two decisions."""
    own, second = names
    rules = _persistence_decisions(part, flare_size, events)
    forecasts = {own: score_forecast(part, part["decision"], part["probability"], **common, score=part["score"]),
                 second: _threshold_row(part, threshold, common)}
    for name in PROBABILITY_SCORES:  # the same scores and probabilities: the same values and intervals
        _copy_score(forecasts[own], forecasts[second], name)
    forecasts |= _baseline_forecasts(part, rules, **common)
    differences = {rule: NOT_AVAILABLE if flared is None else
                   _difference(part, flared, forecasts[own]["TSS"] - forecasts[rule]["TSS"], common)
                   for rule, flared in rules.items()}
    return {"regions": part["region"].nunique(), "images": len(part), "flaring_images": int(part["class"].sum()),
            "forecasts": forecasts, "differences": differences}


def score_forecast(rows: pd.DataFrame, decision=None, probability=None, climatology: float = np.nan,
                   draws: int = 1000, seed: int = 0, score=None) -> dict:
    """All scores of one forecast of one split, each with its 95 % interval.

    Parameters
    ----------
    rows : DataFrame
        With class and region.
    decision, probability : array_like, shape (n,), optional
        What is missing has no scores.
    climatology : float
        Fraction of flaring training images.
    draws, seed : int
        Bootstrap samples over regions, and their seed.
    score : array_like, shape (n,), optional
        What AUC is computed from: defined also where the probability is not; without it the probability.

    Returns
    -------
    dict
        Value of each score, and "intervals": {score: (low, high)}.
    """
    truth, scores = rows["class"].to_numpy(), {}
    score = probability if score is None else score
    if decision is not None:
        decision = np.asarray(decision, dtype=int)
        scores |= skill_scores(truth, decision)
    if score is not None:
        scores["AUC"] = roc_auc(truth, score)
    if probability is not None:
        probability = np.asarray(probability, dtype=float)
        scores |= {"Brier": brier_score(truth, probability),
                   "BSS": brier_skill_score(truth, probability, climatology)}
    intervals = region_bootstrap(truth, rows["region"], decision, probability, climatology, draws, seed, score=score)
    return scores | {"intervals": intervals}


def _persistence_decisions(rows: pd.DataFrame, flare_size: str, events: EventList | None) -> dict:
    """Decision of each persistence rule by its name, None without an event list."""
    regions, times = rows["region"].to_numpy(), rows["time"].to_numpy()
    return {f"persistence {hours} h": None if events is None else persistence(regions, times, events, hours, flare_size)
            for hours in PERSISTENCE_HOURS}


def _baseline_forecasts(rows: pd.DataFrame, rules: dict, climatology: float, draws: int,
                        seed: int) -> dict[str, dict | str]:
    """The rows without any image that every table needs: climatology, persistence over 24 h and 48 h."""
    forecasts = {"climatology": _climatology_row(rows, climatology, draws, seed)}
    return forecasts | {rule: NOT_AVAILABLE if flared is None else
                        score_forecast(rows, flared, None, climatology, draws, seed) for rule, flared in rules.items()}


def _difference(rows: pd.DataFrame, flared, value: float, common: dict) -> dict:
    """The forecast's TSS minus that of a rule, with the interval of the paired bootstrap."""
    forecasts = ({"decision": rows["decision"].to_numpy(dtype=int)}, {"decision": np.asarray(flared, dtype=int)})
    intervals = paired_bootstrap(rows["class"].to_numpy(), rows["region"], *forecasts, **common)
    return {"TSS": value, "intervals": {"TSS": intervals["TSS"]}}


def _climatology_row(rows: pd.DataFrame, climatology: float, draws: int, seed: int) -> dict:
    """Scores of the training frequency as everyone's probability; NaN without training rows."""
    if np.isnan(climatology):
        return _undefined(DECISION_SCORES + PROBABILITY_SCORES)
    always = np.full(len(rows), int(climatology > 0.5))
    return score_forecast(rows, always, np.full(len(rows), climatology), climatology, draws, seed)


def _undefined(names: Sequence[str]) -> dict:
    """A forecast whose scores are not defined."""
    return dict.fromkeys(names, np.nan) | {"intervals": dict.fromkeys(names, (np.nan, np.nan))}


def _threshold_row(rows: pd.DataFrame, threshold: float, common: dict) -> dict:
    """Scores of the decision at the threshold of largest validation TSS; NaN where there is none."""
    if np.isnan(threshold):
        return _undefined(DECISION_SCORES)
    return score_forecast(rows, rows["score"] > threshold, None, **common)


def _copy_score(source: dict, target: dict, name: str) -> None:
    """Copy a score and its interval from one forecast to another."""
    target[name] = source[name]
    target["intervals"][name] = source["intervals"][name]


def _outside(rows: pd.DataFrame, events: EventList | None) -> int | None:
    """Number of images with a day in the time of persistence of which the list knows nothing; None without a list."""
    if events is None:
        return None
    times = rows["time"].to_numpy("datetime64[s]")
    past = np.timedelta64(max(PERSISTENCE_HOURS) * 3600 - 1, "s")
    return int((~events.covers(times - past, times)).sum())
