"""A comparison of forecasts as CSV, as a table for reading (Markdown) and as one figure."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from classifier_SVM.forecast_comparison import ALWAYS, RULE, SCORES, SUBSETS, Comparison
from general_code.forecast_evaluation import NOT_AVAILABLE
from general_code.skill_figures import plot_scores
from general_code.skill_scores import NOT_DEFINED, format_score
from general_code.stage_files import atomic_write

COLUMNS = ("flare_size", "subset", "forecast", "decision_rule", "regions", "images", "flaring_images", "climatology",
           *(f"{score}{end}" for score in SCORES for end in ("", "_low", "_high")), "baseline",
           *(f"{score}_gain{end}" for score in SCORES[:2] for end in ("", "_low", "_high")))
DIFFERENCE_COLUMNS = ("flare_size", "subset", "forecast", "against",
                      *(f"{score}{end}" for score in SCORES for end in ("", "_low", "_high")))
NO_SCORE = "-"  # the forecast gives nothing to judge by this score
EXPLANATION = ("Scores of the test images, with the 95 % interval of a bootstrap over regions; that of gains and "
               "differences is from the paired bootstrap. The gain in TSS is over the baseline that is best on the "
               "training and validation images of the same subset. The decision of a file is meant for all images; the "
               "row 'threshold of the subset' is the same forecast at the threshold of largest TSS on the validation "
               "images of that subset. In the figure a bar ends at -1: a score below it says no more.")
LOWEST_SHOWN = -1.05


def write_comparison_csv(path: Path, rows: Sequence[dict], columns: Sequence[str] = COLUMNS) -> None:
    """Write one line a flare size, subset and forecast, or pair of them.

    Parameters
    ----------
    path : Path
        CSV; "not defined", "not available" and "-" stand where there is no number.
    rows : sequence of dict
        `rows` or `differences` of a `Comparison`.
    columns : sequence of str, optional
        `COLUMNS` or `DIFFERENCE_COLUMNS`.
    """
    table = pd.DataFrame([[_number(row.get(name, NOT_AVAILABLE)) for name in columns] for row in rows],
                         columns=list(columns))
    with atomic_write(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")


def comparison_text(comparison: Comparison) -> str:
    """Return the tables, one a flare size and subset, in Markdown.

    Parameters
    ----------
    comparison : Comparison
        Of one or more sizes.

    Returns
    -------
    str
        Each score with its 95 % interval, then the differences between the files.
    """
    lines = [EXPLANATION]
    differences = _groups(comparison.differences)
    for (size, subset), group in _groups(comparison.rows).items():
        if group[0]["forecast"] == NOT_AVAILABLE:
            lines += ["", f"**>= {size}, {SUBSETS[subset]}**: {NOT_AVAILABLE} without an event list"]
            continue
        first = group[0]
        lines += ["", f"**>= {size}, {SUBSETS[subset]}** {first['images']:,} images of {first['regions']:,} regions, "
                      f"{first['flaring_images']:,} with a flare; {format_score(first['climatology'])} of the training "
                      "images have one (climatology)", "",
                  "| forecast | decision | " + " | ".join(SCORES) + f" | TSS gain over {first['baseline']} |",
                  "|---|---|" + "---|" * (len(SCORES) + 1)]
        for row in group:
            cells = [row["forecast"], row["decision_rule"], *(_cell(row, score) for score in SCORES),
                     _cell(row, "TSS_gain", sign=True)]
            lines.append("| " + " | ".join(cells) + " |")
        lines += _difference_table(differences.get((size, subset), []))
    return "\n".join(lines) + "\n"


def _difference_table(pairs: Sequence[dict]) -> list[str]:
    """Return the lines of the table of differences, none without a pair."""
    if not pairs:
        return []
    lines = ["", "| difference | " + " | ".join(SCORES) + " |", "|---|" + "---|" * len(SCORES)]
    for pair in pairs:
        cells = [f"{pair['forecast']} - {pair['against']}", *(_cell(pair, score, sign=True) for score in SCORES)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw TSS and Brier skill of every forecast: a row a flare size, a column a subset.

    Parameters
    ----------
    comparison : Comparison
        Of one or more sizes.

    Returns
    -------
    matplotlib Figure
        Its titles say which forecast is best, and whether its gain over the baseline is more than chance.
    """
    groups = _groups(comparison.rows)
    sizes, subsets = list(dict.fromkeys(size for size, _ in groups)), list(SUBSETS)
    height = max(len(group) for group in groups.values())
    figure = Figure(figsize=(7 * len(subsets), len(sizes) * (1.6 + 0.6 * height)), layout="constrained")
    figure.supxlabel(textwrap.fill(EXPLANATION, 150), fontsize="small")
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


def _groups(rows: Sequence[dict]) -> dict[tuple[str, str], list[dict]]:
    """Return the rows by flare size and subset, in their order."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["flare_size"], row["subset"]), []).append(row)
    return groups


def _number(value: object) -> object:
    """Return a value as the CSV has it."""
    if value is None:
        return NO_SCORE
    return format_score(value, 6) if isinstance(value, float) else value


def _cell(row: dict, score: str, sign: bool = False) -> str:
    """Return a score with its interval."""
    value = row[score]
    if value is None or isinstance(value, str) or math.isnan(value):
        return {None: NO_SCORE}.get(value, value if isinstance(value, str) else NOT_DEFINED)
    form = "+.3f" if sign else ".3f"
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
    judged = [row for row in group if row["decision_rule"] not in (ALWAYS, RULE) and row["TSS_gain"] is not None]
    if not judged:
        return "no baseline to compare with"
    better = sum(row["TSS_gain_low"] > 0 for row in judged)
    return f"{better or 'none'} of {len(judged)} forecasts have a TSS surely above {judged[0]['baseline']} (95 % each)"
