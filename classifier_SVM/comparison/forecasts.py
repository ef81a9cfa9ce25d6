"""Scores of several forecasts of the same test images, beside the rows that use no image; as tables and as a figure.

The same regions are drawn for all forecasts, so that differences are paired. Thresholds are chosen on validation; the
baseline to beat on training and validation together; climatology and the rates of the rules come from training; the
test images choose nothing. A subset has its own baselines; a forecast with probabilities has a second row there, at the
threshold of the subset's validation images, as its own decision is meant for all images.
"""

import csv
import io
import re
import textwrap
import warnings
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from general_code.evaluation.evaluate import CLIMATOLOGY, NOT_AVAILABLE, Baseline, baselines
from general_code.evaluation.report import new_figure, plot_scores, save_figure
from general_code.evaluation.scores import ScoredForecast, best_threshold, format_score, score_forecast, skill_scores
from general_code.images.label_file import FlareTarget
from general_code.images.names import image_stems
from general_code.noaa.flares import EventList, peak_flux, persistence
from general_code.stage.files import UserError, atomic_write, counted, describe, read_lines, require_file
from general_code.stage.run import StageRun, read_sidecar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORES = ("TSS", "HSS", "AUC", "BSS")
QUIET_HOURS = 24
SUBSETS = {"all": "all test images",
           "first flare": f"no flare in the past {QUIET_HOURS} h: will there be a first one?",
           "last flare": f"a flare in the past {QUIET_HOURS} h: was it the last one?"}
NO_RULE = "climatology (no rule has skill here)"
ALWAYS, RULE, FROM_FILE = "always the more frequent class", "the rule itself", "decision of the file"
ABOVE_CLIMATOLOGY = "rate above climatology"
BASELINE_NAMES = (CLIMATOLOGY, "persistence ", "a flare >=", "rate ")  # so their names begin
OWN_THRESHOLD = "{}, threshold of the subset"  # second row of a forecast in a subset

CELLS = tuple(f"{score}{end}" for score in SCORES for end in ("", "_low", "_high"))
COLUMNS = ("flare_size", "subset", "forecast", "decision_rule", "regions", "images", "flaring_images", "climatology",
           *CELLS, "baseline", *(f"{score}_gain{end}" for score in SCORES[:2] for end in ("", "_low", "_high")))
DIFFERENCE_COLUMNS = ("flare_size", "subset", "forecast", "against", *CELLS)
RANDOM_WEIGHTS = ", RANDOM WEIGHTS"  # behind the name of a network's forecast whose scores mean nothing
NO_SCORE = "-"  # the forecast gives nothing that this score could rate
LOWEST_SHOWN = -1.05
DRAWN = ("TSS", "BSS")
FORMS = {"TSS_gain": "+.3f", "reliability": ".4f", "resolution": ".4f"}  # of cells; others ".3f"
NOTES = """\
Scores of the test images:

- In brackets: 95 % interval of a bootstrap over regions, paired for gains and differences; none for too few regions.
- The gain in TSS is over the baseline that is best on the training and validation images of the same table.
- In a table of a part of the images a forecast has a second row, with the threshold of largest TSS on the validation
  images of that part; the decisions of its file were chosen for all images.
"""

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
    label, file = named_file(setting, "predictions", "'image features=results/SVM/predictions_linear.csv' or 'image "
                             "features@M1.0=...csv'")
    name, _, size = label.partition("@")
    try:
        flux = peak_flux(size.strip().upper() or flare_sizes[0])
    except ValueError as error:
        raise UserError(f"predictions: '{setting}': {error}; correct the setting") from None
    meant = [known for known in flare_sizes if peak_flux(known) == flux]
    if not meant:
        raise UserError(f"predictions: '{setting}' is for flares of {size}, flare_sizes has {', '.join(flare_sizes)}; "
                        "add it there or remove the file")
    require_file(file, "predictions")
    shown = name.strip() + (RANDOM_WEIGHTS if _has_random_weights(file) else "")
    return Forecast(shown, meant[0], _read_predictions(file))


def named_file(entry: str, setting: str, example: str) -> tuple[str, Path]:
    """Return name and path of an entry `NAME=PATH` of a setting; UserError for one of another form."""
    name, _, path = (part.strip() for part in entry.partition("="))
    if not name or not path:
        raise UserError(f"{setting}: '{entry}' is not like {example}; correct the setting")
    return name, Path(path).expanduser()


def _has_random_weights(predictions: Path) -> bool:
    """Tell whether the sidecar of the VGG model beside its predictions says that its weights are random."""
    suffix = re.fullmatch(r"predictions_VGG(.*)\.csv", predictions.name)
    sidecar = read_sidecar(predictions.with_name(f"VGG_model{suffix[1]}.keras")) if suffix else None
    return bool(sidecar and sidecar["counts"].get("scores_mean_nothing"))


def _read_predictions(path: Path) -> pd.DataFrame:
    """Return probability and decision by image name; UserError with the line for a value that is none."""
    table, separator = read_table(path, read_lines(path), ("filename", "probability"), "expected a header with "
                                  "filename and probability, decision if there is one, then one row an image")
    texts = pd.DataFrame({name: table[name].str.strip().str.lower() if name in table else "" for name in (
        "probability", "decision")}, table.index)
    if separator == ";":  # a spreadsheet that separates by ";" may write 0,25
        texts["probability"] = texts["probability"].str.replace(",", ".")
    rows = texts.apply(pd.to_numeric, errors="coerce")
    usable = pd.DataFrame({"probability": rows["probability"].between(0, 1), "decision": rows["decision"].isin((0, 1))})
    refuse_unusable(path, texts, ~usable & ~texts.isin(["", "nan"]), "probabilities from 0 to 1, or empty, and "
                    "decisions 0 or 1")
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


def read_table(path: Path, lines: Sequence[tuple[int, str]], needed: Sequence[str],
               expected: str) -> tuple[pd.DataFrame, str]:
    """Return the texts of a CSV of any program by line (index), columns in lower case, and the separator.

    UserError, which ends in what is expected, without a row or a needed column, and for rows longer than the header.
    """
    if len(lines) < 2:
        raise UserError(f"{path}: no row; {expected}")
    numbers, texts = zip(*lines, strict=True)
    separator = max(",;\t", key=texts[0].count)
    try:
        with warnings.catch_warnings(record=True, action="always", category=pd.errors.ParserWarning) as longer:
            table = pd.read_csv(io.StringIO("\n".join(texts)), sep=separator, dtype="str", keep_default_na=False,
                                skipinitialspace=True, index_col=False)
    except pd.errors.ParserError as error:
        raise UserError(f"{path}: not a CSV ({describe(error)}); {expected}") from None
    for number, row in zip(numbers, csv.reader(texts, delimiter=separator) if longer else (), strict=False):
        if any(row[table.shape[1]:]):  # empty columns at the end do no harm, 0,25 for 0.25 would be read as 0
            raise UserError(f"{path}, line {number}: more values than columns; {expected}; write 0.25, not 0,25, or "
                            "separate by semicolons")
    table = table.fillna("").rename(columns=lambda name: name.strip().lower()).set_axis(numbers[1:len(table) + 1])
    missing = [name for name in needed if list(table).count(name) != 1]
    if missing:
        raise UserError(f"{path}, line {numbers[0]}: column {' and '.join(missing)} is missing or there twice, got "
                        f"{', '.join(table)[:80]}; {expected}")
    return table, separator


def refuse_unusable(path: Path, texts: pd.DataFrame, bad: pd.DataFrame, expected: str) -> None:
    """Raise a UserError that names the first bad value of a table and its line, the index, if there is one."""
    if bad.any(axis=None):
        row, column = np.argwhere(bad.to_numpy())[0]
        raise UserError(f"{path}, line {texts.index[row]}: {texts.columns[column]} '{texts.iloc[row, column]}' cannot "
                        f"be used; expected {expected}; correct the file")


# ---- the comparison


class Candidate(NamedTuple):
    """A forecast of all images: arrays of shape (n,), NaN where it has no value, None where it has none at all."""

    name: str
    decision_rule: str
    probability: np.ndarray | None
    decision: np.ndarray | None
    kind: str = "forecast"  # or "baseline" (uses no image), "own threshold" (a file's, in a subset)


class Comparison(NamedTuple):
    """Evaluated forecasts of one or more flare sizes: the lines of the two tables that Compare_Forecasts.py writes.

    A score that a forecast does not have is None, one that is not defined NaN.
    """

    rows: list[dict]
    differences: list[dict]

    def write(self, scores: Path, differences: Path, text: Path, figure: Path, heading: str = "") -> str:
        """Write the tables as CSV and, after a heading, in Markdown, and the figures; return what the screen shows.

        `figure` is that of the first size; beside it stand those of the other sizes and subsets. The screen shows the
        heading and the tables of all test images.
        """
        write_table(scores, self.rows, COLUMNS)
        write_table(differences, self.differences, DIFFERENCE_COLUMNS)
        with atomic_write(text) as file:
            file.write(heading + comparison_text(self))
        for end, drawn in comparison_figures(self).items():
            save_figure(drawn, figure.with_name(f"{figure.stem}{end}{figure.suffix}"))
        return heading + comparison_text(self, ["all"])


def compare_forecasts(images: pd.DataFrame, forecasts: Sequence[Forecast], target: FlareTarget,
                      events: EventList | None, summaries: pd.DataFrame | None, *, run: StageRun, draws: int,
                      seed: int = 0) -> Comparison:
    """Score all forecasts of one flare size on the test images that all of them have.

    Parameters
    ----------
    images, forecasts, target : pandas.DataFrame, sequence of Forecast, FlareTarget
        By image (index, `image_stems`): `region`, `time`, `split`, `peak_flux` (in the window [W/m2], 0 for none);
        forecasts, of which those of other sizes are skipped; what the labels count, with the smallest flare that does.
    events, summaries : EventList or None, pandas.DataFrame or None
        For the `baselines` and the subsets, "not available" without; the table of `read_summary_archive`.
    run, draws, seed : StageRun, int, int
        Excludes test images that a forecast lacks; bootstrap samples over regions, and their seed.

    Returns
    -------
    Comparison
        Of this size. UserError when no test image has all forecasts.
    """
    found = Comparison([], [])
    truth = (images["peak_flux"] >= peak_flux(target.size)).to_numpy().astype(int)
    regions, times, split = (images[name].to_numpy() for name in ("region", "time", "split"))
    recent = None if events is None else persistence(regions, times, events, QUIET_HOURS, target.size)
    candidates, common = _candidates(forecasts, images, truth, target.size, run)
    for subset in SUBSETS:
        key = {"flare_size": target.size, "subset": subset}
        if subset != "all" and recent is None:
            found.rows.append(key | {"forecast": NOT_AVAILABLE})
            continue
        inside = np.ones(len(images), bool) if subset == "all" else recent == (subset == "last flare")
        own = [] if subset == "all" else _own_thresholds(candidates, truth, (split == "validation") & inside)
        training = (split == "training") & inside
        climatology = float(truth[training].mean()) if training.any() else np.nan
        rules = [_rule(*rule) for rule in baselines(
            regions, times, training, truth, target=target, events=events, summaries=summaries).items()]
        test = common & inside
        evaluated = _evaluate([*rules, *candidates, *own], regions, truth, test,
                              {"climatology": climatology, "draws": draws, "seed": seed})
        size = key | {"regions": len(np.unique(regions[test])), "images": int(test.sum()),
                      "flaring_images": int(truth[test].sum()), "climatology": climatology}
        best, label = _best_baseline(rules, truth, (split != "test") & inside)
        found.rows.extend(size | row for row in _score_rows(evaluated, best, label))
        found.differences.extend(key | row for row in _difference_rows(evaluated))
    return found


def _rule(name: str, rule: Baseline | None) -> Candidate:
    """Return what takes no image."""
    decision, probability = rule or Baseline()
    kind = ALWAYS if name == CLIMATOLOGY else RULE if probability is None else ABOVE_CLIMATOLOGY
    return Candidate(name, kind, probability, decision, "baseline")


def _candidates(forecasts: Sequence[Forecast], images: pd.DataFrame, truth: np.ndarray, size: str,
                run: StageRun) -> tuple[list[Candidate], np.ndarray]:
    """Return the prediction files' forecasts of a size, and which test images all of them have."""
    test, validation = ((images["split"] == split).to_numpy() for split in ("test", "validation"))
    common, candidates = test.copy(), []
    for name, _, rows in (forecast for forecast in forecasts if forecast.flare_size == size):
        place = rows.index.get_indexer(images.index)
        common &= place >= 0
        if lacking := int((test & (place < 0)).sum()):
            run.exclude(f"{name}, {size}", "test images without this forecast", f"{lacking:,}, skipped for all",
                        "forecasts")
        probability, decision = (np.where(place >= 0, rows[column].to_numpy()[place], np.nan)
                                 for column in ("probability", "decision"))
        candidates.append(Candidate(name, FROM_FILE, probability, decision) if rows["decision"].notna().all() else
                          _at_best_threshold(name, probability, truth, validation, "validation"))
    if not common.any():
        raise UserError(f"predictions: no test image has all forecasts of flares >= {size}; compare fewer files, or "
                        "check their names of images and the lists of regions")
    run.count(f"test images compared, {size}", int(common.sum()))
    return candidates, common


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
    scores = {row.name: skill_scores(truth[known], row.decision[known])["TSS"] for row in rules
              if row.name != CLIMATOLOGY and row.decision is not None}
    best = max((name for name in scores if scores[name] > 0), key=scores.get, default=CLIMATOLOGY)
    return best, NO_RULE if scores and best == CLIMATOLOGY else best


def _evaluate(candidates: Sequence[Candidate], regions: np.ndarray, truth: np.ndarray, test: np.ndarray,
              common: dict) -> list[tuple[Candidate, ScoredForecast]]:
    """Return every forecast with its scores on some test images; of values of which one is missing there are none."""
    evaluated = []
    for row in candidates:
        decision, probability = (None if values is None or np.isnan(values[test]).any() else values[test]
                                 for values in (row.decision, row.probability))
        evaluated.append((row, score_forecast(truth[test], regions[test], decision, probability, **common)))
    return evaluated


def _score_rows(evaluated: Sequence[tuple[Candidate, ScoredForecast]], baseline: str, label: str) -> list[dict]:
    """Return a row a forecast: its scores, and its gain in TSS and HSS over the baseline, which the table labels."""
    against, rows = next(scored for row, scored in evaluated if row.name == baseline), []
    for row, scored in evaluated:
        gain = with_intervals(scored, SCORES[:2], against, "_gain")
        rows.append({"forecast": row.name, "decision_rule": row.decision_rule, "baseline": label}
                    | with_intervals(scored, SCORES) | (dict.fromkeys(gain) if scored is against else gain))
        if "TSS" not in scored.scores:
            rows[-1] |= dict.fromkeys(SCORES[:2], NOT_AVAILABLE if row.kind == "baseline" else np.nan)
    return rows


def _difference_rows(evaluated: Sequence[tuple[Candidate, ScoredForecast]]) -> list[dict]:
    """Return a row a pair of files: the differences of all scores, the later named minus the earlier."""
    return [{"forecast": row.name, "against": other.name} | with_intervals(scored, SCORES, against)
            for kind in ("forecast", "own threshold")
            for (other, against), (row, scored) in combinations([one for one in evaluated if one[0].kind == kind], 2)]


def with_intervals(scored: ScoredForecast, names: Sequence[str], against: ScoredForecast | None = None,
                   ending: str = "") -> dict:
    """Return scores, or differences from those of another forecast, with their intervals; None without the score."""
    row, intervals = {}, scored.intervals() if against is None else {}
    for name in names:
        values = (None, None, None)
        if name in scored.scores and (against is None or name in against.scores):
            values = scored.difference(against, name) if against else (scored.scores[name], *intervals[name])
        row |= {f"{name}{ending}{end}": value for end, value in zip(("", "_low", "_high"), values, strict=True)}
    return row


# ---- the tables and the figure


def write_table(path: Path, rows: Sequence[dict], columns: Sequence[str]) -> None:
    """Write a CSV; what a row lacks is "not available", a score that it cannot have "-"."""
    table = pd.DataFrame([[_text(row.get(name, NOT_AVAILABLE)) for name in columns] for row in rows],
                         columns=list(columns))
    with atomic_write(path) as file:  # pyarrow would put quotes around every text, for the comma in some
        table.to_csv(file, index=False, lineterminator="\n")


def comparison_text(comparison: Comparison, subsets: Sequence[str] = tuple(SUBSETS)) -> str:
    """Return the tables, one a flare size and subset, in Markdown: scores with intervals, then the differences."""
    lines, differences = [NOTES], _groups(comparison.differences)
    for (size, subset), group in _groups(comparison.rows).items():
        first, title = group[0], f"**>= {size}, {SUBSETS[subset]}**"
        if subset not in subsets:
            continue
        if first["forecast"] == NOT_AVAILABLE:
            lines += [f"{title}: {NOT_AVAILABLE} without an event list", ""]
            continue
        lines += score_tables(
            f"{title} {counted(first['images'], 'images')} of {counted(first['regions'], 'regions')}, "
            f"{first['flaring_images']:,} with a flare; climatology, the rate of the training images: "
            f"{format_score(first['climatology'])}", group, differences.get((size, subset), []), SCORES,
            {"decision": "decision_rule"} | {score: score for score in SCORES}
            | {f"TSS gain over {first['baseline']}": "TSS_gain"})
        lines += [f"{_verdict(group)}.", ""]
    return "\n".join(lines)


def score_tables(title: str, rows: Sequence[dict], pairs: Sequence[dict], scores: Sequence[str],
                 columns: dict[str, str]) -> list[str]:
    """Return the lines of two tables in Markdown: columns (heading: key) of forecasts, and differences of scores."""
    table = [[row["forecast"], *(_cell(row, key, FORMS.get(key, ".3f")) for key in columns.values())]
             for row in rows]
    lines = [title, "", *_markdown_table(["forecast", *columns], table), ""]
    if pairs:
        lines += [*_markdown_table(["difference", *scores], [
            [f"{pair['forecast']} - {pair['against']}", *(_cell(pair, score, "+.3f") for score in scores)]
            for pair in pairs]), ""]
    return lines


def comparison_figures(comparison: Comparison) -> dict[str, "Figure"]:
    """Draw TSS and Brier skill of all forecasts, a figure a flare size and subset, by the end of its file's name.

    The first, of all test images of the first size, has the end "", the others like "_M1.0" and "_C1.0_first_flare".
    """
    figures = {}
    for (size, subset), group in _groups(comparison.rows).items():
        end = f"_{size}{'' if subset == 'all' else '_' + subset.replace(' ', '_')}" if figures else ""
        if group[0]["forecast"] != NOT_AVAILABLE:
            figures[end] = _figure(f">= {size}: {SUBSETS[subset]}", group)
    return figures


def _figure(title: str, group: Sequence[dict]) -> "Figure":
    """Draw the scores of one table; one below -1 is a mark at the edge, with its value."""
    figure = new_figure(7, 1.8 + 0.55 * len(group))
    ax = plot_rows(figure.subplots(), group, 34)
    ax.set_xlim(max(ax.get_xlim()[0], LOWEST_SHOWN), max(ax.get_xlim()[1], 0.2))
    for place, row in enumerate(group):
        outside = [f"{name} {row[name]:.1f}" for name in DRAWN if isinstance(row[name], float) and row[name] < -1]
        ax.text(0.01, place, "".join(f"\u25c4 {text}" for text in outside), va="center", fontsize="small",
                transform=ax.get_yaxis_transform())
    ends = [row[f"{name}_low"] for row in group for name in DRAWN if isinstance(row[name], float)]
    known = [end is not None and np.isfinite(end) for end in ends]
    ax.set_xlabel("score" + ", bar: 95 % interval" * any(known) + " (where there are regions enough)"
                  * (any(known) and not all(known)))
    figure.suptitle(f"{title}\n{textwrap.fill(_verdict(group), 70)}", fontsize="medium")
    return figure


def _groups(rows: Sequence[dict]) -> dict[tuple[str, str], list[dict]]:
    """Return the rows by flare size and subset, in their order."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["flare_size"], row["subset"]), []).append(row)
    return groups


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its columns aligned for reading as text."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [" | ".join(map(str.ljust, row, widths)) for row in (header, ["-" * width for width in widths], *rows)]
    return [f"| {line} |" for line in lines]


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
    low, high = row.get(f"{score}_low", np.nan), row.get(f"{score}_high", np.nan)
    if np.isnan(value):
        return format_score(value)
    return f"{value:{form}}" if np.isnan(low) else f"{value:{form}} ({low:{form}} to {high:{form}})"


def plot_rows(ax: "Axes", rows: Sequence[dict], width: int) -> "Axes":
    """Draw the scores of a table, the names broken at a width [letters]; what has no value stays out of the drawing."""
    bars = {textwrap.fill(row["forecast"], width): NOT_AVAILABLE if row["TSS"] == NOT_AVAILABLE else
            {score: row[score] for score in DRAWN if row[score] is not None} | {
                "intervals": {score: (row[f"{score}_low"], row[f"{score}_high"]) for score in DRAWN}} for row in rows}
    return plot_scores(ax, bars, DRAWN)


def _verdict(group: Sequence[dict]) -> str:
    """Return a sentence: how many forecasts beat the baseline beyond chance; none is picked by its test score."""
    rated = [row for row in group if not row["forecast"].startswith(BASELINE_NAMES) and row["TSS_gain"] is not None]
    if not rated:
        return "no TSS to compare with that of a baseline"
    if all(np.isnan(row["TSS_gain_low"]) for row in rated):
        return "too few regions to tell which forecast is better"
    better = sum(row["TSS_gain_low"] > 0 for row in rated)
    return (f"Gain in TSS over \"{rated[0]['baseline']}\": 95 % interval above 0 for {better or 'none'} of "
            f"{counted(len(rated), 'forecasts')}")
