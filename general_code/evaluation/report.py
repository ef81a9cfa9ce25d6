"""What `evaluate` found, as text, JSON, predictions and figures; every stage that forecasts writes these.

Writes
------
statistics text     remarks, verdict, tables of scores for test, validation, training, each with its 95 % interval
statistics JSON     the same, and for each split the difference to persistence in TSS with its paired interval
predictions CSV     header `filename,class,probability,decision,split`: class is the observed 0/1, decision the
                    classifier's own 0/1, probability 0..1, empty where calibration is not defined; by file name
figures             scores, roc, reliability of the test images
"""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from general_code.evaluation.evaluate import PERSISTENCE_HOURS, SPLITS, flare_text
from general_code.evaluation.scores import (
    DECISION_SCORES,
    MIN_REGIONS,
    NOT_DEFINED,
    PROBABILITY_SCORES,
    format_score,
    roc_auc,
)
from general_code.stage.files import UserError, atomic_path, atomic_write, counted, write_csv
from general_code.stage.run import StageRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORES = DECISION_SCORES + PROBABILITY_SCORES
NAME_WIDTH, COLUMN_WIDTH = 50, 15  # of the tables in the statistics text
NARROWEST = 0.2  # of an axis of scores
TOO_FEW = "too few regions for an interval"
PREDICTION_COLUMNS = ["filename", "class", "probability", "decision", "split"]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#767676"


def write_evaluation(report: dict, rows: pd.DataFrame, statistics: Path, name: str, run: StageRun) -> None:
    """Write all outputs of an evaluated forecast, and report remarks, rules, scores of the test images, and verdict.

    Parameters
    ----------
    report, rows : dict, DataFrame
        As `evaluate_forecast` and `calibrate` return them.
    statistics, name, run : Path, str, StageRun
        The text file `*.txt`; beside it go the JSON (same name with `.json`), `predictions_{name}.csv` and the figures
        `scores_{name}.png`, `roc_…`, `reliability_…`.
    """
    rows = rows if rows["filename"].is_monotonic_increasing else rows.sort_values("filename", kind="stable")
    write_csv(statistics.with_name(f"predictions_{name}.csv"), rows[PREDICTION_COLUMNS])
    with atomic_write(statistics.with_name(statistics.name.removesuffix(".txt") + ".json")) as file:
        json.dump(_plain({"remarks": report["remarks"], "verdict": verdict(report)} | report), file, indent=1)
        file.write("\n")
    for kind, figure in evaluation_figures(report, rows).items():
        save_figure(figure, statistics.with_name(f"{kind}_{name}.png"))
    with atomic_write(statistics) as file:
        file.write(statistics_text(report))
    for line in [*report["remarks"], *_rules(report), f"Scores of all splits in {statistics}", *summary_lines(report)]:
        run.report(line)


# ---- text


def summary_lines(report: dict) -> list[str]:
    """Return a line a forecast of the test images, with its four scores and the interval of TSS; the verdict last."""
    lines = []
    for name, scores in report["splits"]["test"]["forecasts"].items():
        text = scores
        if not isinstance(scores, str):
            text = ", ".join(f"{score} {format_score(scores[score])}" for score in DECISION_SCORES)
            interval = scores["intervals"]["TSS"]
            text += f" ({_interval_text(interval)})" if np.isfinite(interval[0]) else ""
        lines.append(f"  test, {name}: {text}")
    return [*lines, verdict(report)]


def verdict(report: dict) -> str:
    """Return a sentence: is the forecast of the test images better than persistence?

    It "beats" a rule when the whole 95 % interval of the paired difference of TSS is above 0, "is worse than" it when
    the interval is below; else it "is not significantly above" the rule.
    """
    part = report["splits"]["test"]
    own = next(iter(part["forecasts"].values()))["TSS"]
    rules = {rule: one for rule, one in part["differences"].items() if not isinstance(one, str)}
    against = [_against(rule, one) for rule, one in rules.items() if np.isfinite(one["TSS"])]
    nothing = "" if rules else "; no persistence forecast to compare with"
    return f"Test images: TSS {format_score(own)}" + (f" {'; '.join(against)}" if against else nothing)


def _against(rule: str, difference: dict) -> str:
    """Return the verdict against one persistence rule, from the paired difference."""
    low, high = difference["intervals"]["TSS"]
    if not np.isfinite(low):
        return f"shows no significant difference from {rule} (difference {difference['TSS']:+.3f}, {TOO_FEW})"
    verb = "beats" if low > 0 else "is worse than" if high < 0 else "is not significantly above"
    return f"{verb} {rule} (difference {difference['TSS']:+.3f}, 95 %: {low:+.3f}..{high:+.3f})"


def statistics_text(report: dict) -> str:
    """Return the report as a text for reading."""
    outside, hours = report["images_outside_event_list"], max(PERSISTENCE_HOURS)
    lines = [*report["remarks"], verdict(report), "",
             f"Forecast: {report['forecast']}; flares: {_flares(report)}", *_rules(report),
             f"Climatology: {format_score(report['climatology'])}, the fraction of flaring training images",
             "Persistence: not available, there is no event list" if outside is None else
             f"Persistence: a flare of {report['persistence_flare_size']} or larger in the hours before the image"
             + (f"; {counted(outside, 'images')} with a day without known flares or reports in the {hours} h before, "
                "which counts as quiet" if outside else ""),
             f"Second lines, where there are any: 95 % intervals of {report['bootstrap']['samples']:,} bootstrap "
             "samples over regions"]
    for split in SPLITS:
        part = report["splits"][split]
        lines += ["", f"{split}: {counted(part['regions'], 'regions')}, {counted(part['images'], 'images')}, "
                      f"{part['flaring_images']:,} with a flare"]
        lines += score_table(part["forecasts"])
        if _without_interval(part["forecasts"]):
            lines.append(f"{TOO_FEW}: it needs {MIN_REGIONS} of each class that the score counts")
    return "\n".join(lines) + "\n"


def _flares(report: dict) -> str:
    """Describe what is forecast."""
    return flare_text(report["flare_size"], report["flare_window_hours"])


def _rules(report: dict) -> list[str]:
    """Return two lines: where the decisions and the probabilities come from, or why there are none."""
    threshold, part = report["validation_threshold"], report["splits"]["validation"]
    reason = ("no images there" if not part["images"] else "one class only there"
              if part["flaring_images"] in (0, part["images"]) else "all scores there are equal")
    chosen = f"{NOT_DEFINED}: {reason}" if np.isnan(threshold) else f"score > {threshold:.6g}"
    return [f"Decision: {report['decision_rule']}; threshold chosen on validation (largest TSS): {chosen}",
            f"Probability: {_calibration_text(report['calibration'])}"]


def _calibration_text(calibration: dict | None) -> str:
    """Return where the probabilities come from, or why there are none."""
    if calibration is None:
        return (f"{NOT_DEFINED}; calibration needs {MIN_REGIONS} validation regions with flaring images and as many "
                "with quiet ones")
    sigmoid = f"1 / (1 + exp(-({calibration['slope']:.6g} score + {calibration['intercept']:.6g})))"
    if calibration["slope"] == 0:
        return f"{sigmoid}, the same for all images: on validation, flares do not rise with the score"
    return f"{sigmoid}, Platt's calibration on the validation images; the decision does not use it"


def score_table(forecasts: dict[str, dict | str]) -> list[str]:
    """Return the lines of a table: a heading, then values and intervals of each forecast; "-" for a score it lacks."""
    rows = [("forecast", SCORES)]
    for name, scores in forecasts.items():
        if isinstance(scores, str):
            rows.append((name, [scores]))
            continue
        rows.append((name, [format_score(scores[s]) if s in scores else "-" for s in SCORES]))
        ranges = [_interval_text(scores["intervals"][s]) if np.isfinite(scores.get(s, np.nan)) else "" for s in SCORES]
        rows += [("", ranges)] if any(ranges) else []
    return [f"{name:<{NAME_WIDTH}}" + "".join(f"{cell:>{COLUMN_WIDTH}}" for cell in cells) for name, cells in rows]


def _without_interval(forecasts: dict[str, dict | str]) -> bool:
    """Tell whether a score is defined and its interval is not: there are too few regions."""
    return any(np.isfinite(scores[name]) and not np.isfinite(interval[0]) for scores in forecasts.values()
               if not isinstance(scores, str) for name, interval in scores["intervals"].items())


def _interval_text(interval: tuple[float, float]) -> str:
    """Return the interval as `low..high`."""
    low, high = interval
    return f"{low:.3f}..{high:.3f}" if np.isfinite(low) else NOT_DEFINED


def _plain(value):
    """Return a value fit for strict JSON: numpy numbers as Python's, NaN and None as "not defined"."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return NOT_DEFINED
    return value


# ---- figures (matplotlib is imported when one is drawn: slow, and MPLBACKEND may name a backend that is not there)


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure that needs no display.

    Parameters
    ----------
    width, height : float
        Its size [inch].

    Returns
    -------
    matplotlib Figure
        For `save_figure`.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: Path) -> None:
    """Save a figure under its final name in one step, the same bytes for the same content.

    Parameters
    ----------
    figure, path : matplotlib Figure, Path
        What to save and where; the suffix says the format, PNG without one, and UserError for an unknown one.
    """
    kind, kinds = path.suffix.lower().lstrip(".") or "png", figure.canvas.get_supported_filetypes()
    if kind not in kinds:
        raise UserError(f"figure '{path}': no format of figures is called '{kind}'; name it .png or .pdf")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150, metadata={"Software": None} if kind == "png" else None)


def evaluation_figures(report: dict, rows: pd.DataFrame) -> dict[str, "Figure"]:
    """Draw scores, ROC curve and reliability of the test images."""
    test, part = rows[rows["split"] == "test"], report["splits"]["test"]
    size = f"{counted(part['images'], 'images')} of {counted(part['regions'], 'regions')}, flares {_flares(report)}"
    points = {name: (s["TPR"], s["TNR"]) for name, s in part["forecasts"].items()
              if not isinstance(s, str) and name != "climatology"}
    figures = {"scores": new_figure(9, 4), "roc": new_figure(6, 6), "reliability": new_figure(6, 6)}
    plot_scores(figures["scores"].subplots(), part["forecasts"])
    plot_roc(figures["roc"].subplots(), {report["forecast"]: (test["class"], test["score"])}, points)
    plot_reliability(figures["reliability"].subplots(), test["class"], test["probability"], report["climatology"])
    sentence = "\n".join(textwrap.fill(part, 90) for part in verdict(report).replace("; ", ";\n").split("\n"))
    titles = {"scores": sentence, "roc": f"{report['forecast']}: ROC curve, test images",
              "reliability": f"{report['forecast']}: reliability of the probabilities, test images"}
    for name, figure in figures.items():
        figure.suptitle(f"{titles[name]}\n{size}", fontsize="medium")
    return figures


def plot_scores(ax: "Axes", forecasts: dict[str, dict | str], scores: Sequence[str] = ("TSS", "HSS")) -> "Axes":
    """Draw scores of several forecasts as dots with their 95 % intervals, one line a forecast.

    Parameters
    ----------
    ax, forecasts, scores : matplotlib Axes, dict, sequence of str
        {name: {score: value, "intervals": {score: (low, high)}}}, and which scores to draw. A forecast that is a text
        ("not available") and a NaN are written as such; a score that a forecast does not have is not drawn.

    Returns
    -------
    matplotlib Axes
        The same axes.
    """
    names = list(forecasts)
    for j, score in enumerate(scores):
        offset = 0.16 * (j - (len(scores) - 1) / 2)
        for i, name in enumerate(names):
            _draw_score(ax, i + offset, forecasts[name], score, COLOURS[j], above=j < len(scores) / 2)
        ax.plot([], [], "o", color=COLOURS[j], label=score)
    ax.axvline(0, color=GREY, linewidth=0.8)
    if np.ptp(ax.get_xlim()) < NARROWEST:  # nothing but zeros, or nothing at all
        ax.set_xlim(-1, 1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("score (bar: 95 % of bootstrap samples over regions)")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(frameon=False, ncols=len(scores), loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def _draw_score(ax: "Axes", y: float, forecast: dict | str, score: str, colour: str, *, above: bool) -> None:
    """Draw one dot with its interval, or write why there is none; nothing for a score that the forecast lacks."""
    if not isinstance(forecast, str) and score not in forecast:
        return
    value = np.nan if isinstance(forecast, str) else forecast[score]
    if not np.isfinite(value):
        text = forecast if isinstance(forecast, str) else f"{score} {format_score(value)}"
        ax.text(0.01, y, text, color=colour, fontsize="x-small", va="center", transform=ax.get_yaxis_transform())
        return
    low, high = forecast["intervals"][score]
    if np.isfinite(low):
        ax.plot([low, high], [y, y], color=colour, linewidth=1.5)
    ax.plot(value, y, "o", color=colour)
    ax.annotate(f"{value:.3f}", (value, y), xytext=(0, 4 if above else -4), textcoords="offset points",
                ha="center", va="bottom" if above else "top", fontsize="x-small", color=colour)


def plot_roc(ax: "Axes", curves: dict[str, tuple], points: dict[str, tuple[float, float]]) -> "Axes":
    """Draw ROC curves {name: (truth, score)} with their areas, and yes/no forecasts {name: (TPR, TNR)} as points."""
    from sklearn.metrics import roc_curve

    for i, (name, (truth, score)) in enumerate(curves.items()):
        area = roc_auc(truth, score)
        false_positive, true_positive = ([], []) if np.isnan(area) else roc_curve(truth, score)[:2]
        ax.plot(false_positive, true_positive, color=COLOURS[i % len(COLOURS)],
                label=f"{name} (area {format_score(area)})")
    for i, (name, (tpr, tnr)) in enumerate(points.items()):
        if np.isfinite(tpr) and np.isfinite(tnr):
            ax.plot(1 - tnr, tpr, "osD^vP*"[i % 7], color=COLOURS[(i + 1) % len(COLOURS)], label=name)
    ax.plot([0, 1], [0, 1], ":", color=GREY, label="no skill")
    ax.set(xlabel="false positive rate, 1 - TNR", ylabel="true positive rate, TPR", aspect="equal",
           xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(frameon=False, loc="lower right", fontsize="small")
    return ax


def plot_reliability(ax: "Axes", truth, probability, climatology: float = np.nan) -> "Axes":
    """Draw the observed frequency of flares against the forecast probability, with the number of images in each bin."""
    from matplotlib.patheffects import withStroke

    curve = reliability_curve(truth, probability)
    used = curve[curve["count"] > 0]
    ax.plot([0, 1], [0, 1], ":", color=GREY, label="perfectly reliable")
    if np.isfinite(climatology):
        ax.axhline(climatology, color=COLOURS[4], linewidth=1, label=f"climatology {climatology:.3f}")
    ax.plot(used["probability"], used["frequency"], "o-", color=COLOURS[0], label="forecast (number of images)")
    for row in used.itertuples():
        ax.annotate(f"{row.count:,}", (row.probability, row.frequency), xytext=(4, -4), textcoords="offset points",
                    fontsize="x-small", va="top", path_effects=[withStroke(linewidth=2, foreground="white")])
    if used.empty:
        text = "no probabilities: calibration not defined" if len(truth) else "no images"
        ax.text(0.5, 0.5, text, ha="center", transform=ax.transAxes)
    ax.set(xlabel="forecast probability", ylabel="observed frequency", aspect="equal",
           xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(frameon=False, loc="best", fontsize="small")  # few points: no corner is always free
    return ax


def reliability_curve(truth, probability, bins: int = 10) -> pd.DataFrame:
    """Return count, mean `probability` and observed `frequency` in bins of equal width over 0..1, NaN if empty."""
    rows = pd.DataFrame({"frequency": np.asarray(truth, float), "probability": np.asarray(probability, float)})
    rows = rows[rows["probability"].notna()]
    grouped = rows.groupby(np.minimum((rows["probability"] * bins).astype(int), bins - 1))
    return grouped.mean().assign(count=grouped.size()).reindex(range(bins)).fillna({"count": 0}).astype({"count": int})
