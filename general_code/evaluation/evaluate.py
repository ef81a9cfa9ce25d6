"""How good a forecast is: scores by split with intervals, calibrated probabilities, and the rules it must beat.

Every forecast of this project (SVM, boosting, VGG16) is evaluated here, in the same way. It arrives as a table of rows
(`forecast_rows`), one an image: filename, region, time, class (observed 0/1), score (rises with the chance of a flare),
decision (the classifier's own 0/1), split ("test", "validation" or "training").

Calibration and the second threshold are chosen on the validation rows, climatology and the rates of the rules on the
training rows, the rule to beat on training and validation rows; the test rows choose nothing. What a split cannot
define (one class only, no images) is NaN: "not defined" in every output.

References
----------
McIntosh 1990, Solar Physics 125, 251 (classes of regions); Bloomfield et al. 2012, ApJL 747, L41 (flare rates of them).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from general_code.evaluation.scores import (
    DECISION_SCORES,
    DRAWS,
    FREQUENCY_SCORES,
    LEVEL,
    PROBABILITY_SCORES,
    Calibration,
    ScoredForecast,
    best_threshold,
    fit_calibration,
    score_forecast,
    skill_scores,
)
from general_code.images.label_file import FlareTarget
from general_code.images.names import parse_image_names
from general_code.noaa.flares import EventList, past_flares, peak_flux, persistence

SPLITS = ("test", "validation", "training")
SPLIT_FILES = {"training": "Train", "validation": "Validation", "test": "Test"}  # begin of the files' names
PERSISTENCE_HOURS = (24, 48)
PERSISTENCE_SIZE = "C1.0"  # of flares that persistence counts where the labels do not record their smallest
COUNT_HOURS = 72  # in which the flares of a region are counted
CLIMATOLOGY, COUNT_RATE, CLASS_RATE = "climatology", f"rate by C flares in {COUNT_HOURS} h", "rate of McIntosh class"
SUMMARY_ISSUED = np.timedelta64(1800, "s")  # a region summary is public at 00:30 of its date, not before
SAME_REGION = np.timedelta64(60, "D")  # a number that was away for longer is another region's
SHRINKING_REGIONS = 5  # a class of so many regions is taken half at its own rate, half at that of the coarser class
NOT_AVAILABLE = "not available"
VALIDATION_THRESHOLD = "threshold chosen on validation"

# ---- the files of a split


def either_spelling(path: Path) -> Path:
    """Return a path, `…_Data_by_AR…` and `…_data_by_AR…` exchanged when only the other spelling exists."""
    spellings = ("_Data_by_AR", "_data_by_AR")
    for one, other in (spellings, spellings[::-1]):
        candidate = path.with_name(path.name.replace(one, other))
        if not path.is_file() and one in path.name and candidate.is_file():
            return candidate
    return path


def split_file(folder: Path, split: str, suffix: str = "") -> Path:
    """Return the file of a split in a folder, in the spelling that exists, like `folder/Train_Data_by_AR_png_224.csv`.

    Parameters
    ----------
    folder, split, suffix : Path, str, str
        Of a stage's output, or of published files; "training", "validation" or "test"; end of the name, as `_png_224`.

    Returns
    -------
    Path
        Which need not exist.
    """
    return either_spelling(folder / f"{SPLIT_FILES[split]}_Data_by_AR{suffix}.csv")


# ---- a forecast and its evaluation


def forecast_rows(filenames: Sequence[str], truth, score, decision, split) -> pd.DataFrame:
    """Put a forecast into the table that this module evaluates.

    Parameters
    ----------
    filenames, truth, score, decision, split : array_like, shape (n,)
        Image names as in the data set, `NNNN/` in front is dropped; observed class, 0 or 1; what the decision was made
        from; the classifier's own decision, 0 or 1; "test", "validation" or "training", or one text for all.

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


class Baseline(NamedTuple):
    """A forecast without an image: its decision (0/1) and its probability, shape (n,), None for what it has not."""

    decision: np.ndarray | None = None
    probability: np.ndarray | None = None


def baselines(regions: Sequence[str], times: np.ndarray, training: np.ndarray, truth: np.ndarray, target: FlareTarget,
              events: EventList | None = None, summaries: pd.DataFrame | None = None) -> dict[str, Baseline | None]:
    """Return the forecasts without an image that a forecast must beat; nothing is fitted but on training rows.

    Parameters
    ----------
    regions, times, training, truth : array_like, shape (n,)
        Region and time (datetime64) of each image, whether it trains (bool), and its observed class, 0 or 1.
    target, events, summaries : FlareTarget, EventList or None, DataFrame or None
        What the classes count; flares on the scale of the target; the table of `read_summary_archive`.

    Returns
    -------
    dict of str to Baseline or None
        Climatology; persistence (24, 48 h); where flares larger than C1.0 are forecast, a flare >= C1.0 in the past
        24, 48 h; the rate by number of flares >= C1.0 in the past 72 h and that of the McIntosh class in the last
        public summary, which forecast a flare above climatology. None without the events or summaries that one needs;
        neither decision nor probability without training rows.
    """
    truth, size = np.asarray(truth, dtype=np.int64), target.size or PERSISTENCE_SIZE
    rate = truth[training].mean() if np.any(training) else np.nan
    found: dict[str, Baseline | None] = {
        CLIMATOLOGY: Baseline() if np.isnan(rate) else Baseline(
            np.full(truth.size, int(rate > 0.5)), np.full(truth.size, rate))}
    rules = {f"persistence {hours} h": (hours, size) for hours in PERSISTENCE_HOURS}
    if peak_flux(size) > peak_flux(PERSISTENCE_SIZE):
        rules |= {f"a flare >= {PERSISTENCE_SIZE} in the past {hours} h": (hours, PERSISTENCE_SIZE)
                  for hours in PERSISTENCE_HOURS}
    for name, rule in rules.items():
        found[name] = None if events is None else Baseline(persistence(regions, times, events, *rule).astype(np.int8))
    found |= {COUNT_RATE: None if events is None else Baseline(), CLASS_RATE: None if summaries is None else Baseline()}
    fitted = {}
    if events is not None and np.any(training):
        number = past_flares(regions, times, events, COUNT_HOURS, PERSISTENCE_SIZE)
        fitted[COUNT_RATE] = _count_rate(number, truth, training)
    if summaries is not None and np.any(training):
        classes = _mcintosh_classes(regions, times, summaries)
        fitted[CLASS_RATE] = _class_rate(classes, regions, truth, training)
    return found | {name: Baseline((probability > rate).astype(np.int8), probability)
                    for name, probability in fitted.items()}


def _count_rate(number: np.ndarray, truth: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the rate of flares by the number of past ones, a logistic function of ln(1 + n)."""
    from sklearn.linear_model import LogisticRegression

    if np.ptp(truth[training]) == 0:
        return np.full(truth.size, float(truth[training][0]))
    # equal rows in one, with their number as weight
    pairs, weights = np.unique(2 * number[training] + truth[training], return_counts=True)
    model = LogisticRegression(C=np.inf).fit(np.log1p(pairs // 2)[:, None], pairs % 2, sample_weight=weights)
    distinct, place = np.unique(number, return_inverse=True)
    return model.predict_proba(np.log1p(distinct)[:, None])[place, 1]


def _mcintosh_classes(regions: Sequence[str], times: np.ndarray, summaries: pd.DataFrame) -> pd.Series:
    """Return the class (three letters) of each image's region in the last summary that was public, "" without one."""
    public = summaries["date"].to_numpy("datetime64[s]") + SUMMARY_ISSUED
    if "issued" in summaries:
        public = np.fmax(public, summaries["issued"].to_numpy("datetime64[s]"))
    rows = pd.DataFrame({"region": summaries["region"].astype("str"), "public": public,
                         "mcintosh": summaries["mcintosh"].to_numpy()}).sort_values("public", kind="stable")
    images = pd.DataFrame({"region": pd.Series(regions, dtype="str"), "time": np.asarray(times, "datetime64[s]")})
    known = images.dropna().sort_values("time", kind="stable")
    found = pd.merge_asof(known, rows, left_on="time", right_on="public", by="region",
                          tolerance=pd.Timedelta(SAME_REGION))
    return found["mcintosh"].set_axis(known.index).reindex(images.index).fillna("").astype("str")


def _class_rate(classes: pd.Series, regions: Sequence[str], truth: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the rate of flares of the class: a rare one's is near its Zurich letter's, a rare letter's climatology."""
    inside = np.asarray(training, dtype=bool)
    weight = SHRINKING_REGIONS * inside.sum() / pd.unique(np.asarray(regions)[inside]).size  # in images
    rate = np.full(truth.size, truth[inside].mean())
    for letters in (1, 3):
        codes, names = pd.factorize(classes.str[:letters])
        images = np.bincount(codes[inside], minlength=len(names))
        flaring = np.bincount(codes[inside], truth[inside], len(names))
        rate = (flaring[codes] + weight * rate) / (images[codes] + weight)
    return rate


def evaluate_forecast(rows: pd.DataFrame, forecast: str, decision_rule: str, calibration: Calibration | None,
                      target: FlareTarget, events: EventList | None = None, summaries: pd.DataFrame | None = None,
                      remarks: Sequence[str] = (), draws: int = DRAWS, seed: int = 0) -> dict:
    """Evaluate a forecast on the three splits, beside all `baselines`.

    Parameters
    ----------
    rows, forecast, decision_rule : DataFrame, str, str
        As `calibrate` returns it; names of the forecast ("linear SVM") and of its decision ("decision at 0").
    calibration, target : Calibration or None, FlareTarget
        As `calibrate` returns it; what the classes count. Where its size is not known, persistence counts flares of
        `PERSISTENCE_SIZE` or larger, and a remark says so.
    events, summaries, remarks, draws, seed : EventList or None, DataFrame or None, sequence of str, int, int
        As `baselines` takes them; begin of the statistics; bootstrap samples over regions, for the intervals of test
        and validation images (0: none), and their seed.

    Returns
    -------
    dict
        What was given and chosen, `best_rule` (of largest TSS on training and validation rows, None without), and
        splits: {split: {regions, flaring_regions, images, flaring_images, forecasts: {name: {score: value, intervals:
        {...}}}, differences: {rule: {score: own minus its, intervals: {...}}}}}, of TSS and, where the rule has
        probabilities, BSS. Undefined scores are NaN; a rule without events or summaries is the text "not available".
    """
    training, validation = (rows[rows["split"] == split] for split in ("training", "validation"))
    climatology = float(training["class"].mean()) if len(training) else np.nan
    threshold = best_threshold(validation["class"], validation["score"])
    unknown = [] if target.size else ["The labels do not record their smallest flare size" + (
        f": persistence counts flares of {PERSISTENCE_SIZE} or larger" if events is not None else "")]
    rules = baselines(rows["region"].to_numpy(), rows["time"].to_numpy(), (rows["split"] == "training").to_numpy(),
                      rows["class"].to_numpy(), target=target, events=events, summaries=summaries)
    report = {"remarks": [*remarks, *unknown], "forecast": forecast, "decision_rule": decision_rule,
              "flares": target.text(), **target.counts(), "persistence_flare_size": target.size or PERSISTENCE_SIZE,
              "climatology": climatology, "validation_threshold": threshold,
              "calibration": None if calibration is None else {"slope": calibration.slope,
                                                               "intercept": calibration.intercept},
              "bootstrap": {"unit": "region", "samples": draws, "level": LEVEL, "seed": seed},
              "images_outside_event_list": _outside(rows, events), "best_rule": _best_rule(rows, rules), "splits": {}}
    names = f"{forecast}, {decision_rule}", f"{forecast}, {VALIDATION_THRESHOLD}"
    for split in SPLITS:
        inside = (rows["split"] == split).to_numpy()
        part_rules = {name: rule and Baseline(*(None if column is None else column[inside] for column in rule))
                      for name, rule in rules.items()}
        report["splits"][split] = _evaluate_split(rows[inside], names, threshold, part_rules, {
            "climatology": climatology, "draws": 0 if split == "training" else draws, "seed": seed})
    return report


def _best_rule(rows: pd.DataFrame, rules: dict[str, Baseline | None]) -> str | None:
    """Return the rule of largest TSS on training and validation rows, the first of equal ones; None without a TSS."""
    chosen = (rows["split"] != "test").to_numpy()
    truth = rows["class"].to_numpy()[chosen]
    skill = pd.Series({name: skill_scores(truth, rule.decision[chosen])["TSS"] for name, rule in rules.items()
                       if name != CLIMATOLOGY and rule is not None and rule.decision is not None}, dtype=float).dropna()
    return None if skill.empty else str(skill.idxmax())


def _evaluate_split(part: pd.DataFrame, names: tuple[str, str], threshold: float, rules: dict[str, Baseline | None],
                    common: dict) -> dict:
    """Return what is reported of one split; the names are those of the two decisions, the rules those to beat."""
    columns = part["class"].to_numpy(), part["region"]
    if (counts := rules[COUNT_RATE]) is not None:
        common = common | {"count_rate": counts.probability}
    own = score_forecast(*columns, part["decision"], part["probability"], part["score"], **common)
    chosen = _undefined(DECISION_SCORES + FREQUENCY_SCORES) if np.isnan(threshold) else score_forecast(
        *columns, part["score"] > threshold, **common)
    # the same scores and probabilities: what does not depend on the decision is own's
    second = ScoredForecast(*(its | mine for its, mine in zip(own, chosen, strict=True)))
    forecasts: dict[str, ScoredForecast | str] = {names[0]: own, names[1]: second}
    for name, rule in rules.items():
        if rule is None:
            forecasts[name] = NOT_AVAILABLE
        elif rule.decision is None:  # no training images
            forecasts[name] = _undefined(DECISION_SCORES + FREQUENCY_SCORES + PROBABILITY_SCORES)
        else:
            forecasts[name] = score_forecast(*columns, *rule, **common)
    differences = {name: NOT_AVAILABLE if rule is None else _difference(own, forecasts[name])
                   for name, rule in rules.items() if name != CLIMATOLOGY}
    return {"regions": part["region"].nunique(), "images": len(part), "flaring_images": int(part["class"].sum()),
            "flaring_regions": part.loc[part["class"] == 1, "region"].nunique(),
            "forecasts": {name: one if isinstance(one, str) else one.scores | {"intervals": one.intervals()}
                          for name, one in forecasts.items()},
            "differences": differences}


def _difference(own: ScoredForecast, other: ScoredForecast) -> dict:
    """Return what a forecast gains over another one in TSS and, if both have it, in BSS, with the paired intervals."""
    found = {name: own.difference(other, name) for name in ("TSS", "BSS")
             if name in own.samples and name in other.samples}
    return {name: value for name, (value, _, _) in found.items()} | {
        "intervals": {name: (low, high) for name, (_, low, high) in found.items()}}


def _undefined(names: Sequence[str]) -> ScoredForecast:
    """Return a forecast whose scores are not defined."""
    return ScoredForecast(dict.fromkeys(names, np.nan), {name: np.array([np.nan]) for name in names},
                          dict.fromkeys(names, np.nan))


def _outside(rows: pd.DataFrame, events: EventList | None) -> int | None:
    """Return the number of images before which the list lacks a day that the rules ask for; None without a list."""
    if events is None:
        return None
    times = rows["time"].to_numpy("datetime64[s]")
    past = np.timedelta64(COUNT_HOURS * 3600 - 1, "s")
    return int((~events.covers(times - past, times)).sum())
