"""How good a forecast is: scores by split with intervals, calibrated probabilities, and the rows it must beat.

Every forecast of this project (SVM, boosting, VGG16) is evaluated here, in the same way. It arrives as a table of rows
(`forecast_rows`), one an image: filename, region, time, class (observed 0/1), score (rises with the chance of a flare),
decision (the classifier's own 0/1), split ("test", "validation" or "training").

Calibration and the second threshold are chosen on the validation rows, climatology on the training rows; the test rows
choose nothing. What a split cannot define (one class only, no images) is NaN: "not defined" in every output.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from general_code.evaluation.scores import (
    DECISION_SCORES,
    LEVEL,
    PROBABILITY_SCORES,
    Calibration,
    ScoredForecast,
    best_threshold,
    fit_calibration,
    score_forecast,
)
from general_code.images.names import parse_image_names
from general_code.noaa.flares import EventList, persistence
from general_code.stage.files import counted
from general_code.stage.run import StageRun

SPLITS = ("test", "validation", "training")
SPLIT_FILES = {"training": "Train", "validation": "Validation", "test": "Test"}  # begin of the files' names
PERSISTENCE_HOURS = (24, 48)
PERSISTENCE_SIZE = "C1.0"  # of flares that persistence counts where the labels do not record their smallest
NOT_AVAILABLE = "not available"
VALIDATION_THRESHOLD = "threshold chosen on validation"

# ---- the files and the images of a split


def either_spelling(path: Path) -> Path:
    """Return a path, `…_Data_by_AR…` and `…_data_by_AR…` exchanged when only the other spelling exists."""
    spellings = ("_Data_by_AR", "_data_by_AR")
    for one, other in (spellings, spellings[::-1]):
        candidate = path.with_name(path.name.replace(one, other))
        if not path.is_file() and one in path.name and candidate.is_file():
            return candidate
    return path


def split_file(folder: Path, split: str, suffix: str = "") -> Path:
    """Return the file of a split in a folder, in the spelling that exists.

    Parameters
    ----------
    folder, split, suffix : Path, str, str
        Of a stage's output, or of published files; "training", "validation" or "test"; end of the name, as `_png_224`.

    Returns
    -------
    Path
        Like `folder/Train_Data_by_AR_png_224.csv`.
    """
    return either_spelling(folder / f"{SPLIT_FILES[split]}_Data_by_AR{suffix}.csv")


def report_splits(regions: Sequence[str], classes: Sequence[int], split: Sequence[str], run: StageRun) -> None:
    """Report what each split holds, and which defines no scores.

    Parameters
    ----------
    regions, classes, split, run : sequence of length n (the first three), StageRun
        Of each image; the counts of the run get {"regions", "images", "flaring_images"} under each split's name.
    """
    regions, classes, split = (np.asarray(column) for column in (regions, classes, split))
    for name in SPLIT_FILES:
        inside = split == name
        images, flaring, distinct = int(inside.sum()), int(classes[inside].sum()), pd.unique(regions[inside]).size
        lacking = "" if 0 < flaring < images else "; one class only: no TSS, HSS or AUC" if images else "; no scores"
        run.report(f"{name}: {counted(distinct, 'regions')}, {counted(images, 'images')}, {flaring:,} with a flare"
                   f"{lacking}")
        run.counts[name] = {"regions": distinct, "images": images, "flaring_images": flaring}


# ---- a forecast and its evaluation


def flare_text(flare_size: str, window_hours: float) -> str:
    """Describe what is forecast.

    Parameters
    ----------
    flare_size, window_hours : str, float
        Smallest flare that counts ("" where not known), and within what time [h] (NaN where not known).

    Returns
    -------
    str
        Like "C1.0 or larger within 24 h".
    """
    size = f"{flare_size} or larger" if flare_size else "any labelled size"
    return size + (f" within {window_hours:g} h" if np.isfinite(window_hours) else "")


def forecast_rows(filenames: Sequence[str], truth, score, decision, split) -> pd.DataFrame:
    """Put a forecast into the table that this module evaluates.

    Parameters
    ----------
    filenames, truth, score, decision, split : array_like, shape (n,)
        Image names as in the data set, `NNNN/` in front is dropped; observed class, 0 or 1; what the decision was made
        from, finite; the classifier's own decision, 0 or 1; "test", "validation" or "training", or one text for all.

    Returns
    -------
    DataFrame
        filename, region, time, class, score, decision, split; probability NaN until `calibrate`. ValueError if a name
        gives no region or time, a split is unknown or a score not finite.
    """
    parsed = parse_image_names(filenames)  # with their folders, which may tell the region
    names = pd.Series(filenames, dtype="str").str.replace(r"^.*[/\\]", "", regex=True)
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
    DataFrame, Calibration or None
        The rows with `probability`; None and NaN where too few validation regions have images of each class.
    """
    validation = rows[rows["split"] == "validation"]
    calibration = fit_calibration(validation["class"], validation["score"], validation["region"])
    probability = np.nan if calibration is None else calibration.probability(rows["score"])
    return rows.assign(probability=probability), calibration


def evaluate_forecast(rows: pd.DataFrame, forecast: str, decision_rule: str, calibration: Calibration | None,
                      flare_size: str, events: EventList | None = None, remarks: Sequence[str] = (),
                      draws: int = 1000, seed: int = 0, window_hours: float = np.nan) -> dict:
    """Evaluate a forecast on the three splits, beside climatology and persistence.

    Parameters
    ----------
    rows, forecast, decision_rule : DataFrame, str, str
        As `calibrate` returns it; names of the forecast ("linear SVM") and of its decision ("decision at 0").
    calibration, flare_size : Calibration or None, str
        As `calibrate` returns it; smallest flare that counts ("C1.0"), "" where the labels do not record it:
        persistence then counts flares of `PERSISTENCE_SIZE` or larger, and a remark says so.
    events, remarks, draws, seed, window_hours : EventList or None, sequence of str, int, int, float
        Without events persistence is "not available"; the statistics begin with the remarks; bootstrap samples over
        regions, and their seed; a flare within so many hours counts [h], NaN where not known.

    Returns
    -------
    dict
        What was given and chosen, and splits: {split: {regions, images, flaring_images, forecasts: {name: {score:
        value, intervals: {...}}}, differences: {persistence: {"TSS": own minus its, intervals: {...}}}}}. Undefined
        scores are NaN; persistence without an event list is the text "not available".
    """
    training, validation = (rows[rows["split"] == split] for split in ("training", "validation"))
    climatology = float(training["class"].mean()) if len(training) else np.nan
    threshold = best_threshold(validation["class"], validation["score"])
    unknown = [] if flare_size else ["The labels do not record their smallest flare size" + (
        f": persistence counts flares of {PERSISTENCE_SIZE} or larger" if events is not None else "")]
    report = {"remarks": [*remarks, *unknown], "forecast": forecast, "decision_rule": decision_rule,
              "flare_size": flare_size, "flare_window_hours": window_hours,
              "persistence_flare_size": flare_size or PERSISTENCE_SIZE,
              "climatology": climatology, "validation_threshold": threshold,
              "calibration": None if calibration is None else {"slope": calibration.slope,
                                                               "intercept": calibration.intercept},
              "bootstrap": {"unit": "region", "samples": draws, "level": LEVEL, "seed": seed},
              "images_outside_event_list": _outside(rows, events), "splits": {}}
    for split in SPLITS:
        part = rows[rows["split"] == split]
        rules = {f"persistence {hours} h": None if events is None else persistence(
            part["region"].to_numpy(), part["time"].to_numpy(), events, hours, report["persistence_flare_size"])
            for hours in PERSISTENCE_HOURS}
        names = f"{forecast}, {decision_rule}", f"{forecast}, {VALIDATION_THRESHOLD}"
        report["splits"][split] = _evaluate_split(part, names, threshold, rules, {
            "climatology": climatology, "draws": draws, "seed": seed})
    return report


def _evaluate_split(part: pd.DataFrame, names: tuple[str, str], threshold: float, rules: dict, common: dict) -> dict:
    """Return what is reported of one split; the names are those of the two decisions, the rules those to beat."""
    columns = part["class"].to_numpy(), part["region"]
    own = score_forecast(*columns, part["decision"], part["probability"], part["score"], **common)
    second = _undefined(DECISION_SCORES) if np.isnan(threshold) else score_forecast(
        *columns, part["score"] > threshold, **common)
    for name in PROBABILITY_SCORES:  # the same scores and probabilities: the same values and intervals
        second.scores[name], second.samples[name] = own.scores[name], own.samples[name]
    forecasts = {names[0]: own, names[1]: second, "climatology": _climatology_row(part, common)}
    forecasts |= {rule: NOT_AVAILABLE if flared is None else score_forecast(*columns, flared, **common)
                  for rule, flared in rules.items()}
    differences = {}
    for rule in rules:
        differences[rule] = NOT_AVAILABLE
        if rules[rule] is not None:
            value, *interval = own.difference(forecasts[rule], "TSS")
            differences[rule] = {"TSS": value, "intervals": {"TSS": tuple(interval)}}
    return {"regions": part["region"].nunique(), "images": len(part), "flaring_images": int(part["class"].sum()),
            "forecasts": {name: one if isinstance(one, str) else one.scores | {"intervals": one.intervals()}
                          for name, one in forecasts.items()},
            "differences": differences}


def _climatology_row(part: pd.DataFrame, common: dict) -> ScoredForecast:
    """Score the training frequency as everyone's probability; NaN without training rows."""
    climatology = common["climatology"]
    if np.isnan(climatology):
        return _undefined(DECISION_SCORES + PROBABILITY_SCORES)
    always = np.full(len(part), int(climatology > 0.5))
    return score_forecast(part["class"].to_numpy(), part["region"], always, np.full(len(part), climatology), **common)


def _undefined(names: Sequence[str]) -> ScoredForecast:
    """Return a forecast whose scores are not defined."""
    return ScoredForecast(dict.fromkeys(names, np.nan), {name: np.array([np.nan]) for name in names})


def _outside(rows: pd.DataFrame, events: EventList | None) -> int | None:
    """Return the number of images before which the list lacks a day that persistence asks for; None without a list."""
    if events is None:
        return None
    times = rows["time"].to_numpy("datetime64[s]")
    past = np.timedelta64(max(PERSISTENCE_HOURS) * 3600 - 1, "s")
    return int((~events.covers(times - past, times)).sum())
