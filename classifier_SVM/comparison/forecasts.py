"""Scores of several forecasts of the same test images, beside the rows that use no image; as tables and as a figure.

The same regions are drawn for all forecasts, so that differences are paired. Thresholds are chosen on validation; the
baseline to beat on training and validation together, as no rule is fitted to either; climatology comes from training;
the test images choose nothing. A subset has its own baseline and climatology; a forecast with probabilities has a
second row there, at the threshold of the subset's validation images, as its own decision is meant for all images.
"""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from general_code.evaluation.evaluate import NOT_AVAILABLE, PERSISTENCE_HOURS
from general_code.evaluation.report import new_figure, plot_scores, save_figure
from general_code.evaluation.scores import (
    NOT_DEFINED,
    ScoredForecast,
    best_threshold,
    format_score,
    score_forecast,
    skill_scores,
)
from general_code.images.names import image_stems
from general_code.noaa.flares import EventList, peak_flux, persistence
from general_code.stage.files import UserError, atomic_write, counted, describe, read_lines, require_file
from general_code.stage.run import read_sidecar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES = ("TSS", "HSS", "AUC", "BSS")
QUIET_HOURS = 24
SUBSETS = {"all": "all test images",
           "first flare": f"no flare in the past {QUIET_HOURS} h: will there be a first one?",
           "last flare": f"a flare in the past {QUIET_HOURS} h: was it the last one?"}
CLIMATOLOGY, NO_RULE = "climatology", "climatology (no rule has skill here)"
ALWAYS, RULE, FROM_FILE = "always the more frequent class", "the rule itself", "decision of the file"
NO_DIFFERENCE = (None, None, None)
OWN_THRESHOLD = "{}, threshold of the subset"  # second row of a forecast in a subset

COLUMNS = ("flare_size", "subset", "forecast", "decision_rule", "regions", "images", "flaring_images", "climatology",
           *(f"{score}{end}" for score in SCORES for end in ("", "_low", "_high")), "baseline",
           *(f"{score}_gain{end}" for score in SCORES[:2] for end in ("", "_low", "_high")))
DIFFERENCE_COLUMNS = ("flare_size", "subset", "forecast", "against",
                      *(f"{score}{end}" for score in SCORES for end in ("", "_low", "_high")))
RANDOM_WEIGHTS = ", RANDOM WEIGHTS"  # behind the name of a network's forecast whose scores mean nothing
NO_SCORE = "-"  # the forecast gives nothing that this score could rate
LOWEST_SHOWN = -1.05

# ---- prediction files of any origin


class Forecast(NamedTuple):
    """A prediction file: what the table calls it, the smallest flare that it forecasts, and its rows.

    Rows are by image (index, `image_stems`): `probability` and `decision` (float, NaN where empty), `split` (str) and
    `class` (float) where the file has them.
    """

    name: str
    flare_size: str
    rows: pd.DataFrame


def read_forecast(setting: str, flare_sizes: Sequence[str]) -> Forecast:
    """Read the prediction file that an entry of the setting `predictions` names.

    Parameters
    ----------
    setting, flare_sizes : str, sequence of str
        `NAME=PATH` or `NAME@SIZE=PATH`, and the sizes that are compared; without SIZE the first of them is meant.

    Returns
    -------
    Forecast
        With every row of the file; the name ends in `RANDOM_WEIGHTS` for a VGG model that was made with such. UserError
        for an entry of another form, a size that is not compared, and for what is wrong with the file, with its line.
    """
    label, equals, path = setting.partition("=")
    name, _, size = label.partition("@")
    if not equals or not name.strip() or not path.strip():
        raise UserError(f"predictions: '{setting}' is not like 'image features=results/SVM/predictions_linear.csv' or "
                        "'image features@M1.0=...csv'; correct the setting")
    try:
        flux = peak_flux(size.strip().upper() or flare_sizes[0])
    except ValueError as error:
        raise UserError(f"predictions: '{setting}': {error}; correct the setting") from None
    meant = [known for known in flare_sizes if peak_flux(known) == flux]
    if not meant:
        raise UserError(f"predictions: '{setting}' is for flares of {size}, flare_sizes has {', '.join(flare_sizes)}; "
                        "add it there or remove the file")
    file = require_file(Path(path.strip()).expanduser(), "predictions")
    shown = name.strip() + (RANDOM_WEIGHTS if _has_random_weights(file) else "")
    return Forecast(shown, meant[0], _read_predictions(file))


def _has_random_weights(predictions: Path) -> bool:
    """Tell whether the sidecar of the VGG model beside its predictions says that its weights are random."""
    suffix = re.fullmatch(r"predictions_VGG(.*)\.csv", predictions.name)
    sidecar = read_sidecar(predictions.with_name(f"VGG_model{suffix[1]}.keras")) if suffix else None
    return bool(sidecar and sidecar["counts"].get("scores_mean_nothing"))


def _read_predictions(path: Path) -> pd.DataFrame:
    """Return probability and decision by image name; UserError with the line for a value that is none."""
    lines = read_lines(path)
    if len(lines) < 2:
        raise UserError(f"{path}: no row; expected a header with filename and probability, then one row an image")
    numbers, lines = zip(*lines, strict=True)
    separator = max(",;\t", key=lines[0].count)
    try:
        with warnings.catch_warnings(action="ignore", category=pd.errors.ParserWarning):  # empty columns at the end
            table = pd.read_csv(io.StringIO("\n".join(lines)), sep=separator, dtype="str", keep_default_na=False,
                                skipinitialspace=True, index_col=False)
    except pd.errors.ParserError as error:
        raise UserError(f"{path}: not a CSV of predictions ({describe(error)}); expected one row an image") from None
    table = table.fillna("").rename(columns=lambda name: name.strip().lower()).set_axis(numbers[1:len(table) + 1])
    missing = [name for name in ("filename", "probability") if name not in table]
    if missing:
        raise UserError(f"{path}, line {numbers[0]}: no column {' and '.join(missing)}, got {', '.join(table)[:80]}; "
                        "expected a header with filename and probability, decision if there is one")
    probability = table["probability"]
    if separator == ";":  # a spreadsheet that separates by ";" may write 0,25
        probability = probability.str.replace(",", ".")
    decision = table["decision"] if "decision" in table else pd.Series("", index=table.index, dtype="str")
    rows = pd.DataFrame({"probability": _numbers(path, probability, "probability", "from 0 to 1, or empty"),
                         "decision": _numbers(path, decision, "decision", "0 or 1")})
    if "split" in table:
        rows["split"] = table["split"].str.strip().str.lower().to_numpy()
    if "class" in table:
        rows["class"] = pd.to_numeric(table["class"], errors="coerce").to_numpy(float)
    rows.index = pd.Index(image_stems(table["filename"].str.strip()))
    again = rows.index.duplicated()
    if again.any():
        row = int(np.argmax(again))
        raise UserError(f"{path}, line {table.index[row]}: a second row of {rows.index[row]}; expected one an image")
    return rows


def _numbers(path: Path, texts: pd.Series, column: str, expected: str) -> np.ndarray:
    """Return a column as numbers, NaN where empty; the index of the texts is their line."""
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(float)
    good = np.isin(numbers, (0, 1)) if column == "decision" else (numbers >= 0) & (numbers <= 1)
    bad = ~good & ~texts.str.strip().str.lower().isin(["", "nan"]).to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"{path}, line {texts.index[row]}: {column} '{texts.iloc[row]}' is not {expected}; correct the "
                        "file")
    return numbers


# ---- the comparison


class Candidate(NamedTuple):
    """A forecast of all images: arrays of shape (n,), NaN where it has no value, None where it has none at all."""

    name: str
    decision_rule: str
    probability: np.ndarray | None
    decision: np.ndarray | None
    kind: str = "forecast"  # or "baseline" (uses no image), "own threshold" (a file's, in a subset)


class _Evaluated(NamedTuple):
    """A candidate on some test images: its first columns in the table, and its scores."""

    name: str
    kind: str
    described: dict
    scored: ScoredForecast


class Comparison(NamedTuple):
    """Evaluated forecasts of one or more flare sizes: the lines of the two tables that Compare_Forecasts.py writes.

    A score that a forecast does not have is None, one that is not defined NaN. `lacking` counts the test images that a
    forecast lacks, by its name: they are skipped for all.
    """

    rows: list[dict]
    differences: list[dict]
    lacking: dict[str, int]

    def subset(self, name: str) -> "Comparison":
        """Return what concerns one of the `SUBSETS`."""
        rows, differences = ([row for row in table if row["subset"] == name] for table in self[:2])
        return Comparison(rows, differences, self.lacking)


def compare_forecasts(images: pd.DataFrame, forecasts: Sequence[Forecast], flare_size: str, events: EventList | None,
                      smaller_sizes: Sequence[str] = (), draws: int = 1000, seed: int = 0) -> Comparison:
    """Score all forecasts of one flare size on the test images that all of them have.

    Parameters
    ----------
    images, forecasts, flare_size : pandas.DataFrame, sequence of Forecast, str
        By image (index, `image_stems`): `region`, `time`, `split`, `peak_flux` (in the window [W/m2], 0 for none);
        forecasts, of which those of other sizes are skipped; the smallest flare that counts.
    events, smaller_sizes : EventList or None, sequence of str
        For persistence and the subsets, "not available" without; a flare of each such size in the past is a rule, too.
    draws, seed : int
        Bootstrap samples over regions, and their seed.

    Returns
    -------
    Comparison
        Of this size.
    """
    truth = (images["peak_flux"] >= peak_flux(flare_size)).to_numpy().astype(int)
    split = images["split"].to_numpy()
    columns = images["region"].to_numpy(), images["time"].to_numpy()
    recent = None if events is None else persistence(*columns, events, QUIET_HOURS, flare_size)
    common, found = split == "test", Comparison([], [], {})
    candidates = _rules(images, flare_size, smaller_sizes, events)
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
        climatology = float(truth[training].mean()) if training.any() else np.nan
        evaluated = _evaluate([_constant(climatology, len(images)), *candidates, *own], images["region"].to_numpy(),
                              truth, common & inside, {"climatology": climatology, "draws": draws, "seed": seed})
        best, label = _best_baseline(candidates, truth, (split != "test") & inside)
        found.rows.extend(key | row for row in _score_rows(evaluated, best, label))
        found.differences.extend(key | row for row in _difference_rows(evaluated))
    return found


def _constant(climatology: float, n: int) -> Candidate:
    """Return the forecast of the training frequency for everyone."""
    if np.isnan(climatology):
        return Candidate(CLIMATOLOGY, ALWAYS, None, None, "baseline")
    return Candidate(CLIMATOLOGY, ALWAYS, np.full(n, climatology), np.full(n, float(climatology > 0.5)), "baseline")


def _rules(images: pd.DataFrame, flare_size: str, smaller_sizes: Sequence[str],
           events: EventList | None) -> list[Candidate]:
    """Return persistence, and its like for smaller flares."""
    rows = []
    columns = images["region"].to_numpy(), images["time"].to_numpy()
    for size in (flare_size, *smaller_sizes):
        for hours in PERSISTENCE_HOURS:
            name = f"persistence {hours} h" if size == flare_size else f"a flare >= {size} in the past {hours} h"
            decision = None if events is None else persistence(*columns, events, hours, size).astype(float)
            rows.append(Candidate(name, RULE, None, decision, "baseline"))
    return rows


def _candidate(forecast: Forecast, images: pd.DataFrame, truth: np.ndarray,
               validation: np.ndarray) -> tuple[Candidate, np.ndarray]:
    """Return a prediction file's forecast of the images, and which images it has."""
    place = forecast.rows.index.get_indexer(images.index)
    present = place >= 0
    probability, decision = (np.where(present, forecast.rows[name].to_numpy()[place], np.nan)
                             for name in ("probability", "decision"))
    if forecast.rows["decision"].notna().all():
        return Candidate(forecast.name, FROM_FILE, probability, decision), present
    return _at_best_threshold(forecast.name, probability, truth, validation, "validation"), present


def _at_best_threshold(name: str, probability: np.ndarray, truth: np.ndarray, validation: np.ndarray,
                       origin: str) -> Candidate:
    """Return a forecast that decides at the threshold of largest TSS on some images, which `origin` names."""
    known = validation & np.isfinite(probability)
    threshold = best_threshold(truth[known], probability[known])
    if np.isnan(threshold):
        reason = ("no probabilities" if not known.any() else "one class only" if np.ptp(truth[known]) == 0 else
                  "all probabilities are equal")
        return Candidate(name, f"no decision, no threshold from {origin}: {reason}", probability, None)
    decision = np.where(np.isfinite(probability), probability > threshold, np.nan)
    return Candidate(name, f"threshold {threshold:.4f}, chosen on {origin}", probability, decision)


def _own_thresholds(candidates: Sequence[Candidate], truth: np.ndarray, validation: np.ndarray) -> list[Candidate]:
    """Return the second rows of the forecasts with probabilities; AUC and BSS stand in the first."""
    rows = [_at_best_threshold(OWN_THRESHOLD.format(c.name), c.probability, truth, validation,
                               "validation images of the subset")
            for c in candidates if c.kind == "forecast" and np.isfinite(c.probability).any()]
    return [row._replace(probability=None, kind="own threshold") for row in rows]


def _best_baseline(rules: Sequence[Candidate], truth: np.ndarray, known: np.ndarray) -> tuple[str, str]:
    """Return the baseline of largest TSS on the known images, which train none, and what the table calls it."""
    best, largest = CLIMATOLOGY, 0.0
    rules = [row for row in rules if row.kind == "baseline" and row.decision is not None]
    for row in rules:
        score = skill_scores(truth[known], row.decision[known])["TSS"]
        if score > largest:
            best, largest = row.name, score
    return best, NO_RULE if rules and best == CLIMATOLOGY else best


def _evaluate(candidates: Sequence[Candidate], regions: np.ndarray, truth: np.ndarray, test: np.ndarray,
              common: dict) -> list[_Evaluated]:
    """Return the scores of every forecast on some test images; of values of which one is missing there are none."""
    size = {"regions": len(np.unique(regions[test])), "images": int(test.sum()),
            "flaring_images": int(truth[test].sum()), "climatology": common["climatology"]}
    evaluated = []
    for row in candidates:
        decision, probability = (None if values is None or np.isnan(values[test]).any() else values[test]
                                 for values in (row.decision, row.probability))
        described = {"forecast": row.name, "decision_rule": row.decision_rule} | size
        if decision is None:
            described |= dict.fromkeys(SCORES[:2], NOT_AVAILABLE if row.kind == "baseline" else np.nan)
        scored = score_forecast(truth[test], regions[test], decision, probability, **common)
        evaluated.append(_Evaluated(row.name, row.kind, described, scored))
    return evaluated


def _score_rows(evaluated: Sequence[_Evaluated], baseline: str, label: str) -> list[dict]:
    """Return a row a forecast: its scores, and its gain in TSS and HSS over the baseline, which the table labels."""
    against, rows = next(row for row in evaluated if row.name == baseline), []
    for row in evaluated:
        columns, intervals = row.described | {"baseline": label}, row.scored.intervals()
        for name in SCORES:
            low, high = intervals.get(name, (None, None))
            columns |= {name: row.scored.scores.get(name, columns.get(name)), f"{name}_low": low, f"{name}_high": high}
        for name in SCORES[:2]:
            gain = NO_DIFFERENCE if row is against else _difference(row, against, name)
            columns |= dict(zip((f"{name}_gain", f"{name}_gain_low", f"{name}_gain_high"), gain, strict=True))
        rows.append(columns)
    return rows


def _difference_rows(evaluated: Sequence[_Evaluated]) -> list[dict]:
    """Return a row a pair of files: the differences of all scores, the later named minus the earlier."""
    rows = []
    for kind in ("forecast", "own threshold"):
        for against, row in combinations([row for row in evaluated if row.kind == kind], 2):
            columns = {"forecast": row.name, "against": against.name}
            for name in SCORES:
                columns |= dict(zip((name, f"{name}_low", f"{name}_high"), _difference(row, against, name),
                                    strict=True))
            rows.append(columns)
    return rows


def _difference(row: _Evaluated, against: _Evaluated, name: str) -> tuple:
    """Return the difference of a score that both have, and its interval; else nothing."""
    both = name in row.scored.scores and name in against.scored.scores
    return row.scored.difference(against.scored, name) if both else NO_DIFFERENCE


# ---- the tables and the figure


def write_comparison(comparison: Comparison, scores: Path, differences: Path, text: Path, figure: Path) -> str:
    """Write a comparison.

    Parameters
    ----------
    comparison, scores, differences, text, figure : Comparison, Path (the others)
        Of one or more sizes; CSV of the rows and of the differences, tables in Markdown, figure. Where there is no
        number, the tables have "not defined", "not available" or "-".

    Returns
    -------
    str
        The tables of all test images.
    """
    for path, rows, columns in ((scores, comparison.rows, COLUMNS),
                                (differences, comparison.differences, DIFFERENCE_COLUMNS)):
        table = pd.DataFrame([[_text(row.get(name, NOT_AVAILABLE)) for name in columns] for row in rows],
                             columns=list(columns))
        with atomic_write(path) as file:  # pyarrow would put quotes around every text, for the comma in some
            table.to_csv(file, index=False, lineterminator="\n")
    with atomic_write(text) as file:
        file.write(comparison_text(comparison))
    save_figure(comparison_figure(comparison), figure)
    return comparison_text(comparison.subset("all"))


def comparison_text(comparison: Comparison) -> str:
    """Return the tables, one a flare size and subset, in Markdown: scores with intervals, then the differences."""
    lines = [_explanation(comparison)]
    differences = _groups(comparison.differences)
    for (size, subset), group in _groups(comparison.rows).items():
        if group[0]["forecast"] == NOT_AVAILABLE:
            lines += ["", f"**>= {size}, {SUBSETS[subset]}**: {NOT_AVAILABLE} without an event list"]
            continue
        first = group[0]
        lines += ["", f"**>= {size}, {SUBSETS[subset]}** {counted(first['images'], 'images')} of "
                      f"{counted(first['regions'], 'regions')}, {first['flaring_images']:,} with a flare; "
                      f"{format_score(first['climatology'])} of the training images have one (climatology)", ""]
        lines += _markdown(["forecast", "decision", *SCORES, f"TSS gain over {first['baseline']}"], [
            [row["forecast"], row["decision_rule"], *(_cell(row, score) for score in SCORES),
             _cell(row, "TSS_gain", "+.3f")] for row in group])
        if pairs := differences.get((size, subset)):
            lines += ["", *_markdown(["difference", *SCORES], [
                [f"{pair['forecast']} - {pair['against']}", *(_cell(pair, score, "+.3f") for score in SCORES)]
                for pair in pairs])]
    return "\n".join(lines) + "\n"


def comparison_figure(comparison: Comparison) -> "Figure":
    """Draw TSS and Brier skill of all forecasts: a row a flare size, a column a subset."""
    groups = _groups(comparison.rows)
    sizes, subsets = list(dict.fromkeys(size for size, _ in groups)), list(SUBSETS)
    height = max(len(group) for group in groups.values())
    figure = new_figure(7 * len(subsets), len(sizes) * (1.6 + 0.6 * height))
    figure.supxlabel(textwrap.fill(f"{_explanation(comparison)} A bar ends at -1: a score below it says no more.", 150),
                     fontsize="small")
    axes = figure.subplots(len(sizes), len(subsets), squeeze=False)  # a subset has rows of its own
    for (size, subset), group in groups.items():
        ax = axes[sizes.index(size)][subsets.index(subset)]
        if group[0]["forecast"] == NOT_AVAILABLE:
            ax.text(0.5, 0.5, f"{NOT_AVAILABLE} without an event list", ha="center", transform=ax.transAxes)
            ax.set_title(f">= {size}: {SUBSETS[subset]}", fontsize="medium")
            continue
        plot_scores(ax, {textwrap.fill(row["forecast"], 40): _for_plot(row) for row in group}, ("TSS", "BSS"))
        ax.set_xlim(left=max(ax.get_xlim()[0], LOWEST_SHOWN))
        verdict = textwrap.fill(_verdict(group), 55)
        ax.set_title(f">= {size}: {SUBSETS[subset]}\n{verdict}", fontsize="medium", pad=28)
    return figure


def _explanation(comparison: Comparison) -> str:
    """Return how to read the tables, of what is in them."""
    text = ("Scores of the test images, with the 95 % interval of a bootstrap over regions; that of gains and "
            "differences is from the paired bootstrap.")
    if any(row.get("baseline") not in (None, "climatology") for row in comparison.rows):
        text += (" The gain in TSS is over the baseline that is best on the training and validation images of the same "
                 "subset.")
    if any("threshold of the subset" in row["forecast"] for row in comparison.rows):
        text += (" The decision of a file is meant for all images; the row 'threshold of the subset' is the same "
                 "forecast at the threshold of largest TSS on the validation images of that subset.")
    return text


def _groups(rows: Sequence[dict]) -> dict[tuple[str, str], list[dict]]:
    """Return the rows by flare size and subset, in their order."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["flare_size"], row["subset"]), []).append(row)
    return groups


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(header)} |", "|---" * len(header) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _text(value: object) -> str:
    """Return a value as the CSV has it."""
    if value is None:
        return NO_SCORE
    return format_score(value, 6) if isinstance(value, float) else str(value)


def _cell(row: dict, score: str, form: str = ".3f") -> str:
    """Return a score with its interval."""
    value = row[score]
    if value is None or isinstance(value, str):
        return value or NO_SCORE
    if math.isnan(value):
        return NOT_DEFINED
    low, high = row[f"{score}_low"], row[f"{score}_high"]
    return f"{value:{form}}" if math.isnan(low) else f"{value:{form}} ({low:{form}} to {high:{form}})"


def _for_plot(row: dict) -> dict | str:
    """Return a row in the form that `plot_scores` takes: what has no value stays out of the drawing."""
    if row["TSS"] == NOT_AVAILABLE:
        return NOT_AVAILABLE
    return {score: row[score] for score in SCORES if row[score] is not None} | {
        "intervals": {score: (row[f"{score}_low"], row[f"{score}_high"]) for score in SCORES}}


def _verdict(group: Sequence[dict]) -> str:
    """Return a sentence: how many forecasts beat the baseline beyond chance; none is picked by its test score."""
    rated = [row for row in group if row["decision_rule"] not in (ALWAYS, RULE) and row["TSS_gain"] is not None]
    if not rated:
        return "no TSS to compare with that of a baseline"
    if all(math.isnan(row["TSS_gain_low"]) for row in rated):
        return "too few regions to tell which forecast is better"
    better = sum(row["TSS_gain_low"] > 0 for row in rated)
    return (f"{better or 'none'} of {len(rated)} forecasts have a TSS significantly above {rated[0]['baseline']} "
            "(95 % each)")
