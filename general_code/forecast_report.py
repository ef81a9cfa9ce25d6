"""What `forecast_evaluation` found, as text, JSON, predictions and figures; every stage that forecasts writes these.

Writes
------
statistics text     remarks, verdict, tables of scores for test, validation, training, each with its 95 % interval
statistics JSON     the same numbers, and for each split "differences": TSS minus that of persistence, with the interval
                    of the paired bootstrap; "not defined" and "not available" where the text says so
predictions CSV     header `filename,class,probability,decision,split`: class is the observed 0/1, decision the
                    classifier's own 0/1, probability 0..1, empty where calibration is not defined; by file name
figures             scores, roc, reliability of the test images
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from general_code.forecast_evaluation import PERSISTENCE_HOURS, SPLITS, flare_text
from general_code.region_bootstrap import MIN_REGIONS
from general_code.skill_figures import plot_reliability, plot_roc, plot_scores, save_figure
from general_code.skill_scores import DECISION_SCORES, NOT_DEFINED, PROBABILITY_SCORES, format_score
from general_code.stage_files import atomic_write

SCORES = DECISION_SCORES + PROBABILITY_SCORES
NAME_WIDTH, COLUMN_WIDTH = 50, 15
TOO_FEW = "too few regions for an interval"
PREDICTION_COLUMNS = ("filename", "class", "probability", "decision", "split")


def statistics_text(report: dict) -> str:
    """The report as a text for reading.

    Parameters
    ----------
    report : dict
        As `evaluate_forecast` returns it.

    Returns
    -------
    str
        Several lines, ending in a line break.
    """
    calibration, threshold = report["calibration"], report["validation_threshold"]
    sigmoid = NOT_DEFINED if calibration is None else (
        f"1 / (1 + exp(-({calibration['slope']:.6g} score + {calibration['intercept']:.6g})))")
    flares = flare_text(report["flare_size"], report["flare_window_hours"])
    lines = [*report["remarks"], verdict(report), "",
             f"Forecast: {report['forecast']}; flares: {flares}",
             f"Decision: {report['decision_rule']}; threshold chosen on validation (largest TSS): score > "
             f"{NOT_DEFINED if np.isnan(threshold) else format(threshold, '.6g')}",
             f"Probability: {sigmoid}, Platt's calibration on the validation images; the decision does not use it",
             f"Climatology: {format_score(report['climatology'])}, the fraction of flaring training images",
             f"Second lines: 95 % intervals of {report['bootstrap']['samples']} bootstrap samples over regions"]
    if report["images_outside_event_list"]:
        lines.append(f"Persistence: {report['images_outside_event_list']:,} images have a day without known flares or "
                     f"reports in the {max(PERSISTENCE_HOURS)} h before them, and count as quiet then")
    for split in SPLITS:
        part = report["splits"][split]
        lines += ["", f"{split}: {part['regions']:,} regions, {part['images']:,} images, "
                      f"{part['flaring_images']:,} with a flare"]
        lines += score_table(part["forecasts"])
        if _without_interval(part["forecasts"]):
            lines.append(f"{TOO_FEW}: it takes {MIN_REGIONS} with images of each class that the score counts")
    return "\n".join(lines) + "\n"


def summary_lines(report: dict) -> list[str]:
    """Return the verdict on the test images in few words, for the terminal.

    Parameters
    ----------
    report : dict
        As `evaluate_forecast` returns it.

    Returns
    -------
    list of str
        A line a forecast, with its four scores and the interval of TSS; the verdict last.
    """
    lines = []
    for name, scores in report["splits"]["test"]["forecasts"].items():
        if isinstance(scores, str):
            lines.append(f"  test, {name}: {scores}")
            continue
        interval = f" ({_interval(scores['intervals']['TSS'])})" if np.isfinite(scores["TSS"]) else ""
        values = ", ".join(f"{score} {format_score(scores[score])}" for score in DECISION_SCORES)
        lines.append(f"  test, {name}: {values}{interval}")
    return [*lines, verdict(report)]


def verdict(report: dict) -> str:
    """Say whether the forecast of the test images is better than persistence.

    Parameters
    ----------
    report : dict
        As `evaluate_forecast` returns it.

    Returns
    -------
    str
        A sentence. "beats" a rule says that the whole 95 % interval of the paired difference of TSS is above 0, "is
        worse than" that it is below, "is not surely above" neither.
    """
    part = report["splits"]["test"]
    own = next(iter(part["forecasts"].values()))["TSS"]
    against = [_against(rule, one) for rule, one in part["differences"].items()
               if not isinstance(one, str) and np.isfinite(one["TSS"])]
    if not against:
        return f"Test images: TSS {format_score(own)}; no persistence forecast to compare with"
    return f"Test images: TSS {format_score(own)} {'; '.join(against)}"


def _against(rule: str, difference: dict) -> str:
    """The verdict against one persistence rule, from the paired difference."""
    low, high = difference["intervals"]["TSS"]
    if not np.isfinite(low):
        return f"cannot be told from {rule} (difference {difference['TSS']:+.3f}, {TOO_FEW})"
    verb = "beats" if low > 0 else "is worse than" if high < 0 else "is not surely above"
    return f"{verb} {rule} (difference {difference['TSS']:+.3f}, 95 %: {low:+.3f}..{high:+.3f})"


def score_table(forecasts: dict[str, dict | str]) -> list[str]:
    """Lines of a table of scores: a heading, then value and interval lines of each forecast.

    Parameters
    ----------
    forecasts : dict
        {name: as `score_forecast`, or a text such as "not available"}.

    Returns
    -------
    list of str
        A score that the forecast does not have is "-", one that is NaN "not defined".
    """
    lines = [f"{'forecast':<{NAME_WIDTH}}" + "".join(f"{name:>{COLUMN_WIDTH}}" for name in SCORES)]
    for name, scores in forecasts.items():
        if isinstance(scores, str):
            lines.append(f"{name:<{NAME_WIDTH}}{scores:>{COLUMN_WIDTH}}")
            continue
        values = [format_score(scores[s]) if s in scores else "-" for s in SCORES]
        ranges = [_interval(scores["intervals"][s]) if np.isfinite(scores.get(s, np.nan)) else "" for s in SCORES]
        lines.append(f"{name:<{NAME_WIDTH}}" + "".join(f"{v:>{COLUMN_WIDTH}}" for v in values))
        if any(ranges):
            lines.append(f"{'':<{NAME_WIDTH}}" + "".join(f"{r:>{COLUMN_WIDTH}}" for r in ranges))
    return lines


def _without_interval(forecasts: dict[str, dict | str]) -> bool:
    """Tell whether a score is defined and its interval is not: there are too few regions."""
    return any(np.isfinite(scores[name]) and not np.isfinite(interval[0]) for scores in forecasts.values()
               if not isinstance(scores, str) for name, interval in scores["intervals"].items())


def write_evaluation(report: dict, rows: pd.DataFrame, statistics: Path, predictions: Path,
                     figure_suffix: str) -> None:
    """Write all outputs of a judged forecast.

    Parameters
    ----------
    report : dict
        As `evaluate_forecast` returns it.
    rows : DataFrame
        As `calibrate` returns it.
    statistics : Path
        The text file `*.txt`; beside it go the JSON (same name with `.json`) and the figures.
    predictions : Path
        The CSV file.
    figure_suffix : str
        Figures are named `scores_{figure_suffix}.png`, `roc_…`, `reliability_…`.
    """
    write_predictions(predictions, rows)
    with atomic_write(statistics.with_name(statistics.name.removesuffix(".txt") + ".json")) as file:
        json.dump(plain({"remarks": report["remarks"], "verdict": verdict(report)} | report), file, indent=1)
        file.write("\n")
    for name, figure in evaluation_figures(report, rows).items():
        save_figure(figure, statistics.with_name(f"{name}_{figure_suffix}.png"))
    with atomic_write(statistics) as file:
        file.write(statistics_text(report))


def write_predictions(path: Path, rows: pd.DataFrame) -> None:
    """Write `filename,class,probability,decision,split`, sorted by file name; probability empty where NaN.

    Parameters
    ----------
    path : Path
        The CSV file.
    rows : DataFrame
        With those columns.
    """
    import pyarrow
    from pyarrow import csv

    rows = rows if rows["filename"].is_monotonic_increasing else rows.sort_values("filename", kind="stable")
    table = pyarrow.table({name: pyarrow.array(rows[name], from_pandas=True) for name in PREDICTION_COLUMNS})
    with atomic_write(path, "wb") as file:
        file.write((",".join(PREDICTION_COLUMNS) + "\n").encode())
        csv.write_csv(table, file, csv.WriteOptions(include_header=False, quoting_style="none"))


def evaluation_figures(report: dict, rows: pd.DataFrame) -> dict[str, Figure]:
    """Figures of the test images.

    Parameters
    ----------
    report : dict
        As `evaluate_forecast` returns it.
    rows : DataFrame
        As `calibrate` returns it.

    Returns
    -------
    dict of str to Figure
        "scores", "roc" and "reliability".
    """
    test, part = rows[rows["split"] == "test"], report["splits"]["test"]
    size = f"{part['images']:,} test images of {part['regions']:,} regions"
    points = {name: (s["TPR"], s["TNR"]) for name, s in part["forecasts"].items()
              if not isinstance(s, str) and name != "climatology" and "TPR" in s}
    figures = {name: Figure(figsize=shape, layout="constrained")
               for name, shape in (("scores", (9, 4)), ("roc", (6, 6)), ("reliability", (6, 6)))}
    plot_scores(figures["scores"].subplots(), part["forecasts"])
    plot_roc(figures["roc"].subplots(), {report["forecast"]: (test["class"], test["score"])}, points)
    plot_reliability(figures["reliability"].subplots(), test["class"], test["probability"], report["climatology"])
    flares = flare_text(report["flare_size"], report["flare_window_hours"])
    title = verdict(report).replace("; ", ";\n")
    figures["scores"].suptitle(f"{title}\n{size}, flares {flares}", fontsize="medium")
    figures["roc"].suptitle(f"{report['forecast']}: flares told from quiet\n{size}", fontsize="medium")
    figures["reliability"].suptitle(f"{report['forecast']}: do the probabilities hold?\n{size}", fontsize="medium")
    return figures


def _interval(interval: tuple[float, float]) -> str:
    """The interval as `low..high`."""
    low, high = interval
    return f"{low:.3f}..{high:.3f}" if np.isfinite(low) else NOT_DEFINED


def plain(value):
    """Make a value fit for strict JSON.

    Parameters
    ----------
    value : object
        Numbers, texts, and dicts, lists, tuples and arrays of them.

    Returns
    -------
    object
        With numpy numbers as Python's, and NaN and None as "not defined".
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return NOT_DEFINED
    return value
