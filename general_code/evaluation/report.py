"""What `evaluate` found, as text, JSON, predictions and figures; every stage that forecasts writes these.

Writes
------
statistics text     remarks, verdict, tables of scores for test, validation, training, each with its 95 % interval
statistics JSON     the same, and for each split the gain over every rule, in TSS and BSS, with its paired interval
predictions CSV     header `filename,class,probability,decision,split`: class is the observed 0/1, decision the
                    classifier's own 0/1, probability 0..1, empty where calibration is not defined; by file name
figures             scores, roc, reliability of the test images, the last where they have probabilities
"""

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from general_code.evaluation.evaluate import (
    CLASS_RATE,
    CLIMATOLOGY,
    COUNT_HOURS,
    COUNT_RATE,
    PERSISTENCE_SIZE,
    SPLIT_FILES,
    SPLITS,
    VALIDATION_THRESHOLD,
)
from general_code.evaluation.scores import (
    BRIER_TERMS,
    DECISION_SCORES,
    FREQUENCY_SCORES,
    MIN_REGIONS,
    NOT_DEFINED,
    PROBABILITY_SCORES,
    fewest_flaring,
    format_score,
    reliability_curve,
    roc_auc,
)
from general_code.stage.files import UserError, atomic_path, atomic_write, counted, write_csv
from general_code.stage.run import StageRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FigureFormat = Literal["png", "pdf", "svg"]
HEADINGS = {"BSS over flare count": "BSS / count"}  # of the tables, where the name is too long
COLUMN_WIDTH = 15  # of the tables in the statistics text
NARROWEST = 0.2  # of an axis of scores
TOO_FEW = "too few regions for an interval"
PREDICTION_COLUMNS = ["filename", "class", "probability", "decision", "split"]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#767676"


def write_evaluation(report: dict, rows: pd.DataFrame, statistics: Path, name: str, run: StageRun, *,
                     figure_format: FigureFormat = "png") -> None:
    """Write all outputs of an evaluated forecast, and report remarks, rules, scores of the test images, and verdict.

    Parameters
    ----------
    report, rows : dict, DataFrame
        As `evaluate_forecast` and `calibrate` return them.
    statistics, name, run : Path, str, StageRun
        The text file `*.txt`; beside it go the JSON (same name with `.json`), `predictions_{name}.csv` and the figures
        `scores_{name}.png`, `roc_…`, `reliability_…`.
    figure_format : {"png", "pdf", "svg"}, optional
        Of the figures.
    """
    rows = rows if rows["filename"].is_monotonic_increasing else rows.sort_values("filename", kind="stable")
    write_csv(statistics.with_name(f"predictions_{name}.csv"), rows[PREDICTION_COLUMNS])
    with atomic_write(statistics.with_name(statistics.name.removesuffix(".txt") + ".json")) as file:
        json.dump(_plain({"remarks": report["remarks"], "verdict": verdict(report)} | report), file, indent=1)
        file.write("\n")
    figures = evaluation_figures(report, rows)
    for kind, figure in figures.items():
        save_figure(figure, statistics.with_name(f"{kind}_{name}.{figure_format}"))
    if "reliability" not in figures:
        statistics.with_name(f"reliability_{name}.{figure_format}").unlink(missing_ok=True)  # of an earlier run
        run.report("No reliability figure: the test images have no probabilities")
    with atomic_write(statistics) as file:
        file.write(statistics_text(report))
    for line in [*report["remarks"], *_rules(report), f"Scores of all splits in {statistics}", *summary_lines(report)]:
        run.report(line)


# ---- text


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


def summary_lines(report: dict) -> list[str]:
    """Return a line a forecast of the test images, with its four scores and the interval of TSS; the verdict last."""
    lines = []
    for name, scores in report["splits"]["test"]["forecasts"].items():
        text = scores
        if not isinstance(scores, str):
            text = ", ".join(f"{score} {format_score(scores[score])}" for score in DECISION_SCORES)
            interval = _interval_text(scores["intervals"]["TSS"])
            text += f" ({interval})" if interval else ""
        lines.append(f"  test, {name}: {text}")
    return [*lines, verdict(report)]


def verdict(report: dict) -> str:
    """Return a sentence: what does the forecast of the test images gain over the best rule without an image?

    This primary comparison is decided by the 95 % interval of the paired difference in TSS: above 0, below 0, or
    neither. The rule is the best on training and validation images.
    """
    part, best = report["splits"]["test"], report["best_rule"]
    text = f"Test images: TSS {format_score(next(iter(part['forecasts'].values()))['TSS'])}"
    if all(isinstance(difference, str) for difference in part["differences"].values()):
        return f"{text}; no rule to compare with"
    gain = _gains(report).get(best)
    return f"{text}; primary comparison: {gain}" if gain else text


def _gains(report: dict) -> dict[str, str]:
    """Return the gain in TSS over each rule, test images, and on which side of 0 its interval is."""
    texts = {}
    for rule, difference in report["splits"]["test"]["differences"].items():
        if isinstance(difference, str) or not np.isfinite(difference.get("TSS", np.nan)):
            continue
        low, high = difference["intervals"]["TSS"]
        side = "above 0" if low > 0 else "below 0" if high < 0 else "includes 0"
        interval = f"95 % interval {low:+.3f}..{high:+.3f}, {side}" if np.isfinite(low) else TOO_FEW
        texts[rule] = f"gain {difference['TSS']:+.3f} over {rule} ({interval})"
    return texts


def statistics_text(report: dict) -> str:
    """Return the report as a text for reading."""
    others = [gain for rule, gain in _gains(report).items() if rule != report["best_rule"]]
    lines = [*report["remarks"], verdict(report), *(f"  other rules: {gain}" for gain in others), "",
             f"Forecast: {report['forecast']}; flares: {report['flares']}", *_rules(report), *_explanations(report)]
    for split in SPLITS:
        part = report["splits"][split]
        lines += ["", f"{split}: {counted(part['regions'], 'regions')}, {part['flaring_regions']:,} with a flare; "
                      f"{counted(part['images'], 'images')}, {part['flaring_images']:,} with a flare"]
        lines += score_table(part["forecasts"], DECISION_SCORES + FREQUENCY_SCORES)
        # the threshold chosen on validation has the same probabilities
        rated = {name: scores for name, scores in part["forecasts"].items() if VALIDATION_THRESHOLD not in name
                 and (name in (COUNT_RATE, CLASS_RATE) or "AUC" in scores)}
        lines += ["", *score_table(rated, PROBABILITY_SCORES + BRIER_TERMS)]
        lines += [] if split == "training" else _without_interval(part)
    if "repeats" in report:
        lines += ["", *report["repeats"]["text"]]
    return "\n".join(lines) + "\n"


def _explanations(report: dict) -> list[str]:
    """Return lines that say what the rows and columns of the tables are."""
    outside, size = report["images_outside_event_list"], report["persistence_flare_size"]
    lines = [f"Climatology: {format_score(report['climatology'])}, the fraction of flaring training images",
             "Persistence: not available, there is no event list" if outside is None else
             f"Persistence: a flare of {size} or larger in the hours before the image"]
    if outside:
        lines.append(f"  {counted(outside, 'images')} with a day without known flares or reports in the {COUNT_HOURS} "
                     "h before, which counts as quiet")
    lines += [f"{COUNT_RATE}: the rate of flares after so many flares >= {PERSISTENCE_SIZE} of the region",
              f"{CLASS_RATE}: the rate of flares of the region's class in the last public summary"]
    if isinstance(report["splits"]["test"]["forecasts"][CLASS_RATE], str):
        lines[-1] += "; needs region summaries (srs_dir)"
    return [*lines, "  both are fitted on training images, and forecast a flare where they are above climatology",
            "Primary comparison: with the rule of largest TSS on training and validation images",
            f"Second lines in the tables: 95 % intervals of {report['bootstrap']['samples']:,} bootstrap samples over "
            "regions,",
            "  widened for few flaring regions; training images have none, the forecast was fitted to them",
            "Precision: hits / flares forecast; bias: flares forecast / observed",
            "PR area: average precision; without skill it is the rate of flares",
            f"BSS: skill over climatology; BSS / count: over the {COUNT_RATE}",
            "Brier = reliability - resolution + uncertainty, in bins of .1"]


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
    sign = "-" if calibration["intercept"] < 0 else "+"
    sigmoid = f"1 / (1 + exp(-({calibration['slope']:.6g} score {sign} {abs(calibration['intercept']):.6g})))"
    if calibration["slope"] == 0:
        return f"{sigmoid}, the same for all images: on validation, flares do not rise with the score"
    return f"{sigmoid}, calibrated on validation (Platt); the decision does not use it"


def score_table(forecasts: dict[str, dict | str], names: Sequence[str]) -> list[str]:
    """Return the lines of a table: a heading, then values and intervals of each forecast; "-" for a score it lacks."""
    rows = [("forecast", [HEADINGS.get(name, name) for name in names])]
    for forecast, scores in forecasts.items():
        if isinstance(scores, str):
            rows.append((forecast, [scores]))
            continue
        rows.append((forecast, [format_score(scores[name], 3 + (name in BRIER_TERMS)) if name in scores else "-"
                                for name in names]))
        known = scores["intervals"]
        ranges = [_interval_text(known[name], "-") if name in known and np.isfinite(scores[name]) else ""
                  for name in names]
        rows += [("", ranges)] if any(text not in ("", "-") for text in ranges) else []
    width = max(len(name) for name, _ in rows) + 1
    return [(f"{name:<{width}}" + "".join(f"{cell:>{COLUMN_WIDTH}}" for cell in cells)).rstrip()
            for name, cells in rows]


def _without_interval(part: dict) -> list[str]:
    """Return a line that says which scores have no interval for want of regions, or none."""
    lacking = {name for scores in part["forecasts"].values() if not isinstance(scores, str)
               for name, (low, _) in scores["intervals"].items() if np.isfinite(scores[name]) and not np.isfinite(low)}
    limits: dict[int, list[str]] = {}
    for name, number in fewest_flaring(part["flaring_regions"], part["regions"]).items():
        if name in lacking:
            limits.setdefault(number, []).append(name)
    if not limits:
        return []
    texts = [f"{', '.join(names)} {number}" for number, names in limits.items()]
    return [f"{TOO_FEW} that covers 95 %; needed are so many regions with a flare (TNR: without), and {MIN_REGIONS} of "
            f"the other class: {'; '.join(texts)}"]


def _interval_text(interval: tuple[float, float], without: str = "") -> str:
    """Return the interval as `low..high`; nothing where the score is the same in all samples, as of climatology."""
    low, high = interval
    if low == high:
        return ""
    return f"{low:.3f}..{high:.3f}" if np.isfinite(low) else without


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
    """Save a figure under its final name in one step, as PNG, PDF and SVG the same bytes for the same content.

    Parameters
    ----------
    figure, path : matplotlib Figure, Path
        What to save and where; the suffix says the format, PNG without one, and UserError for an unknown one.
    """
    kind, kinds = path.suffix.lower().lstrip(".") or "png", figure.canvas.get_supported_filetypes()
    if kind not in kinds:
        raise UserError(f"figure '{path}': no format of figures is called '{kind}'; name it .png or .pdf")
    from matplotlib import rc_context

    dated = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}  # or named by version
    with atomic_path(path) as temporary, rc_context({"svg.hashsalt": "figure"}):
        figure.savefig(temporary, format=kind, dpi=150, metadata={dated[kind]: None} if kind in dated else None)


def evaluation_figures(report: dict, rows: pd.DataFrame) -> dict[str, "Figure"]:
    """Draw scores, ROC curve and, where there are probabilities, reliability of the test images."""
    test, part = rows[rows["split"] == "test"], report["splits"]["test"]
    size = (f"{counted(part['images'], 'test images')} of {counted(part['regions'], 'regions')}, flares "
            f"{report['flares']}")
    points = {name: (s["TPR"], s["TNR"]) for name, s in part["forecasts"].items()
              if not isinstance(s, str) and name != CLIMATOLOGY}
    figures = {"scores": new_figure(9, 1.8 + 0.46 * len(part["forecasts"])), "roc": new_figure(6, 7.4)}
    plot_scores(figures["scores"].subplots(), part["forecasts"])
    plot_roc(figures["roc"].subplots(), {report["forecast"]: (test["class"], test["score"])}, points)
    if test["probability"].notna().any():
        figures["reliability"] = new_figure(6, 6.8)
        plot_reliability(figures["reliability"].subplots(), test["class"], test["probability"], report["climatology"],
                         test["region"])
    result, _, comparison = verdict(report).removeprefix("Test images: ").partition("; ")
    titles = {"scores": f"{size}: {result}\n{comparison[:1].upper()}{comparison[1:]}".rstrip(),
              "roc": f"{report['forecast']}: flares forecast against false alarms (ROC curve)\n{size}",
              "reliability": f"{report['forecast']}: do flares come as often as forecast?\n{size}"}
    for name, figure in figures.items():
        lines = re.sub(r"(?<=\d) (?=[%h])", "\N{NO-BREAK SPACE}", titles[name]).split("\n")
        text = "\n".join(textwrap.fill(line, 110 if name == "scores" else 64) for line in lines)
        figure.suptitle(text.replace("\N{NO-BREAK SPACE}", " "), fontsize="medium")
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
        For titles and the like.
    """
    names = list(forecasts)
    known = {name: forecast for name, forecast in forecasts.items() if not isinstance(forecast, str)}
    bars = [np.ptp(forecast["intervals"][score]) > 0 for forecast in known.values() for score in scores
            if np.isfinite(forecast.get(score, np.nan))]  # a score that is not defined has no interval
    for j, score in enumerate(scores):
        offset = 0.16 * (j - (len(scores) - 1) / 2)
        for i, name in enumerate(names):
            if score in known.get(name, ()):
                _draw_score(ax, i + offset, known[name], score, COLOURS[j], above=j < len(scores) / 2)
        ax.plot([], [], "o", color=COLOURS[j], label=score)
    for i, name in enumerate(names):
        if name not in known:
            ax.text(0.01, i, forecasts[name], color=GREY, va="center", transform=ax.get_yaxis_transform())
    ax.axvline(0, color=GREY, linewidth=0.8)
    if np.ptp(ax.get_xlim()) < NARROWEST:  # nothing but zeros, or nothing at all
        ax.set_xlim(-1, 1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("score" + " (bar: 95 % interval, bootstrap over regions)" * any(bars))
    ax.grid(axis="x", alpha=0.3)
    ax.legend(frameon=False, ncols=len(scores), loc="lower right", bbox_to_anchor=(1, 1))
    return ax


def _draw_score(ax: "Axes", y: float, forecast: dict, score: str, colour: str, *, above: bool) -> None:
    """Draw one dot with its interval, or write that the score is not defined."""
    value, side = forecast[score], "bottom" if above else "top"
    if not np.isfinite(value):
        ax.text(0.01, y, f"{score} {format_score(value)}", color=colour, fontsize="small", va=side,
                transform=ax.get_yaxis_transform())
        return
    low, high = forecast["intervals"][score]
    if np.isfinite(low):
        ax.plot([low, high], [y, y], color=colour, linewidth=1.5)
    ax.plot(value, y, "o", color=colour)
    ax.annotate(f"{value:.3f}", (value, y), xytext=(0, 4 if above else -4), textcoords="offset points",
                ha="center", va=side, fontsize="small", color=colour)


def plot_roc(ax: "Axes", curves: dict[str, tuple], points: dict[str, tuple[float, float]]) -> None:
    """Draw ROC curves {name: (truth, score)} with their areas, and yes/no forecasts {name: (TPR, TNR)} as points."""
    from sklearn.metrics import roc_curve

    for i, (name, (truth, score)) in enumerate(curves.items()):
        area = roc_auc(truth, score)
        false_positive, true_positive = ([], []) if np.isnan(area) else roc_curve(truth, score)[:2]
        ax.plot(false_positive, true_positive, color=COLOURS[i % len(COLOURS)],
                label=f"{name} (area {format_score(area)})")
    for i, (name, (tpr, tnr)) in enumerate(points.items()):
        if np.isfinite(tpr) and np.isfinite(tnr):
            ax.plot(1 - tnr, tpr, "osD^vP*X"[i % 8], color=COLOURS[(i + 1) % len(COLOURS)], label=name)
    ax.plot([0, 1], [0, 1], ":", color=GREY, label="no skill")
    ax.set(xlabel="false positive rate, 1 - TNR", ylabel="true positive rate, TPR", aspect="equal",
           xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.11), fontsize="small")  # off the curves


def plot_reliability(ax: "Axes", truth, probability, climatology: float = np.nan,
                     regions: Sequence[str] | None = None) -> None:
    """Draw the observed frequency of flares against the forecast probability, with the number of images in each bin.

    With the region of each image, also the number of regions, and 95 % intervals by a bootstrap over regions.
    """
    from matplotlib.patheffects import withStroke

    curve = reliability_curve(truth, probability, regions)
    used = curve[curve["count"] > 0]
    ax.plot([0, 1], [0, 1], ":", color=GREY, label="perfectly reliable")
    if np.isfinite(climatology):
        ax.axhline(climatology, color=COLOURS[4], linewidth=1, label=f"climatology {climatology:.3f}")
    label, numbers = "forecast (number of images", [f"{count:,}" for count in used["count"]]
    if regions is not None:
        ax.vlines(used["probability"], used["low"], used["high"], color=COLOURS[0], linewidth=1.2)
        label += ", of regions" + "; bar: 95 % interval" * bool(used["low"].notna().any())
        numbers = [f"{text}, {number}" for text, number in zip(numbers, used["regions"], strict=True)]
    ax.plot(used["probability"], used["frequency"], "o-", color=COLOURS[0], label=f"{label})")
    for text, row in zip(numbers, used.itertuples(), strict=True):
        ax.annotate(text, (row.probability, row.frequency), xytext=(4, -4), textcoords="offset points",
                    fontsize="small", va="top", path_effects=[withStroke(linewidth=3, foreground="white")])
    ax.set(xlabel="forecast probability", ylabel="observed frequency", aspect="equal",
           xlim=(-0.04, 1.12), ylim=(-0.08, 1.04))  # with room for the numbers
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.11), fontsize="small")
