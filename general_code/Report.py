"""One page that shows a run: data set, features, scores beside the baselines, test images, settings and versions.

It shows what some or all stages left in `results_dir`, `data_dir` and the folders directly below them, whether one
forecast or several. The page is one HTML file with its pictures inside: it needs no network, prints, and fits a phone.

Reads
    results_dir, data_dir    the sidecars `<output>.json` of the stages, and what they lie beside: figures (.png, .svg),
                             statistics JSON, `predictions_….csv`, feature tables, tables of comparisons (.md), and
                             forecasts of new images (.csv)
    dataset_dir              magnetograms of the test images shown, NNNN/NNNN_*.fits [G] or *.png [grey levels]

Writes
    report_file              HTML; beside it `.json`, `.excluded.csv` (what could not be read) and `.log`

Usage
    python general_code/Report.py
    python general_code/Report.py --results-dir results/my_experiment --report-file my_experiment.html
    python general_code/Report.py --data-dir .    (in the folder of archive_experiment.py, whose table is there)
"""

import base64
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from pydantic import BaseModel, PositiveInt

from general_code.evaluation.scores import roc_auc
from general_code.images.label_file import FlareTarget
from general_code.images.magnetograms import read_magnetogram
from general_code.images.names import ENDINGS, parse_image_names
from general_code.stage.files import UserError, atomic_write, counted, describe, is_set, require_folder
from general_code.stage.run import OptionalPath, Problem, Settings, StageRun, command_line, stage_main, stage_run


## User Definitions
class UserDefinitions(Settings):
    results_dir: Path = "results"  # folder of what stages 4 to 7 and the scripts beside them wrote
    data_dir: Path = "data"  # folder of what stages 1 to 3 wrote
    dataset_dir: OptionalPath = ""  # images of the data set; "": where the stages noted that they were
    report_file: Path = "results/report.html"  # the page to write
    n_images: PositiveInt = 4  # test images of a kind that are shown of each forecast [number]
## End User Definitions


TEMPLATE = Path(__file__).resolve().parent / "report_page" / "report.html"
FIGURE_TYPES = {"png": "image/png", "svg": "image/svg+xml", "pdf": ""}  # "": a page cannot show it
THUMBNAIL = 260  # width of a test image [pixels]
SHOWN_FIELD = {"fits": 500.0, "png": 20.0}  # where the grey scale ends: gauss, or grey levels of 25 G
ARCSEC_A_PIXEL = 0.5  # of HMI
BAR_ARCSEC = 60.0  # length of the scale bar
MOST_ROWS = 20  # of a table of forecasts
BINS = 40  # of a distribution
NOT_DEFINED = "not defined"


class Note(BaseModel):
    """What has to be in a sidecar."""

    script: str
    settings: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    excluded: dict[str, int] = {}
    versions: dict[str, str] = {}
    git_revision: str = ""
    start: str = ""
    end: str = ""

    @property
    def environment(self) -> str:
        """What the stage ran with, in a line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"revision {self.git_revision}: {versions}"


class Split(BaseModel):
    """What is reported of a split: any scores of any forecasts."""

    regions: int
    images: int
    flaring_images: int
    forecasts: dict[str, dict[str, Any] | str]
    differences: dict[str, dict[str, Any] | str] = {}


class Statistics(BaseModel, extra="allow"):
    """What has to be in the statistics of a forecast."""

    forecast: str
    splits: dict[str, Split]
    remarks: list[str] = []
    verdict: str = ""


class Found(NamedTuple):
    """What the stages left, by path of the main output, or of the statistics JSON."""

    notes: dict[Path, Note]
    statistics: dict[Path, Statistics]

    def of(self, script: str) -> dict[Path, Note]:
        """Return the outputs of a script."""
        return {path: note for path, note in self.notes.items() if note.script == script}


@stage_main
def main(user: UserDefinitions) -> None:
    """Gather what the stages left and write the page."""
    found, problems = find_outputs([user.results_dir, user.data_dir])
    if not found.notes and not found.statistics:
        raise UserError(f"results_dir, data_dir: expected what the stages wrote in '{user.results_dir}' or "
                        f"'{user.data_dir}' (from {Path.cwd()}), found no notes of a stage (*.json); run the "
                        "stages, or general_code/run_example.py, or set --results-dir and --data-dir")
    if is_set(user.dataset_dir):
        require_folder(user.dataset_dir, "dataset_dir")
    with stage_run(user, output=user.report_file, inputs=[user.results_dir, user.data_dir]) as run:
        run.exclude_all(problems)
        text = render(describe_run(found, user, run))
        with atomic_write(user.report_file, errors="backslashreplace") as file:
            file.write(text)
        run.counts |= {"outputs": len(found.notes), "forecasts": len(found.statistics)}
        run.report(f"Wrote {user.report_file} ({len(text) / 1e6:.1f} MB, for a browser): it shows "
                   f"{counted(len(found.notes), 'outputs')} and {counted(len(found.statistics), 'forecasts')}")


def find_outputs(folders: Sequence[Path]) -> tuple[Found, list[Problem]]:
    """Return what the stages noted in these folders and directly below, in order of time, and what cannot be read."""
    found, problems = Found({}, {}), []
    for folder in folders:
        if not folder.is_dir():
            problems.append(Problem(str(folder), "no such folder", subject="folders"))
        for path in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                kinds = [kind for key, kind in (("script", Note), ("splits", Statistics)) if key in content]
                noted = kinds[0].model_validate(content) if kinds else None
            except (OSError, ValueError, TypeError, RecursionError) as error:
                problems.append(Problem(str(path), "cannot be read; run its stage again", describe(error), "files"))
                continue
            if isinstance(noted, Statistics):
                found.statistics[path] = noted
            elif noted is not None and noted.script != Path(__file__).name:
                found.notes[Path(str(path).removesuffix(".json"))] = noted
    order = sorted(found.notes.items(), key=lambda item: (item[1].start, str(item[0])))
    return Found(dict(order), found.statistics), problems


def describe_run(found: Found, user: UserDefinitions, run: StageRun) -> dict[str, Any]:
    """Return all that the page shows."""
    archives = [folder.absolute().parent / "archive.txt" for folder in (user.results_dir, user.data_dir)]
    origin = next((path.read_text(encoding="utf-8", errors="replace").strip() for path in archives if path.is_file()),
                  "")  # as run_example and archive_experiment write it
    return {
        "folder": "/".join(user.results_dir.absolute().parts[-2:]), "origin": origin,
        "simulated": origin == "a simulated archive" or bool(found.of("simulate_archive.py")),
        "datasets": [describe_dataset(path, note, run) for path, note in found.of("generate_dataset.py").items()],
        "contact_sheets": [figures(path.parent, [path.stem], run) for path in found.of("Contact_Sheet.py")],
        "features": [table for path, note in found.of("BuildMasterFeatureSet_mp.py").items()
                     if (table := describe_features(path, note, run))],
        "forecasts": [describe_forecast(path, found, user, run) for path in found.statistics],
        "comparisons": [describe_comparison(path, found, run) for path in found.of("Compare_Forecasts.py")],
        "new_images": [table for path in found.of("Forecast_AR.py") if (table := describe_new_images(path, run))],
        "exclusions": [(note.script, path, reason, number) for path, note in found.notes.items()
                       for reason, number in note.excluded.items()],
        "stages": found.notes}


def render(page: dict[str, Any]) -> str:
    """Return the page as HTML; every text is escaped."""
    jinja = Environment(loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    jinja.filters |= {"cell": cell, "interval": interval, "score_names": score_names}
    return jinja.get_template(TEMPLATE.name).render(page, not_defined=NOT_DEFINED)


# ---------------------------------------------------------------------------- data set and features


def describe_dataset(path: Path, note: Note, run: StageRun) -> dict[str, Any]:
    """Return note and figure of a label file."""
    name = "" if path.stem == "Labels" else f"_{path.stem}"  # as stage 3 does
    return {"path": path, "note": note, "target": target_text(note.settings),
            "figures": figures(path.parent, [f"dataset_summary{name}"], run)}


def target_text(noted: dict[str, Any]) -> str:
    """Describe the flares that count, of what a stage noted; a number that was not defined is not known."""
    texts = ("flare_size", "flare_scale")
    known = {name: value for name, value in noted.items() if isinstance(value, str) == (name in texts)}
    return FlareTarget.of(known).text()


def describe_features(path: Path, note: Note, run: StageRun) -> dict[str, Any] | None:
    """Return, for each column of a feature table, its distributions before a flare and not, and how they differ."""
    with listed(path, run):
        table = pd.read_csv(path, header=None, engine="pyarrow")
        flaring = table[table.columns[-3]].to_numpy() == 1
        values = table[table.columns[:-3]].to_numpy(dtype=float)
        names = note.counts.get("features", [f"feature {i + 1}" for i in range(values.shape[1])])
        rows = [describe_feature(str(name), column, flaring) for name, column in zip(names, values.T, strict=True)]
        rows.sort(key=lambda row: -abs(row["area"] - 0.5) if np.isfinite(row["area"]) else 0.0)
        return {"path": path, "images": len(values), "flaring": int(flaring.sum()), "rows": rows}
    return None


def describe_feature(name: str, values: np.ndarray, flaring: np.ndarray) -> dict[str, Any]:
    """Return medians, the area under the ROC curve of a feature alone, and the outlines of two histograms."""
    quiet, before = values[~flaring], values[flaring]
    low, high = np.percentile(values, (1, 99))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    outlines = [outline(np.histogram(np.clip(part, edges[0], edges[-1]), edges)[0]) for part in (quiet, before)]
    medians = [float(np.median(part)) if len(part) else np.nan for part in (quiet, before)]
    return {"name": name, "medians": medians, "area": roc_auc(flaring, values), "outlines": outlines}


def outline(counts: np.ndarray) -> str:
    """Return a histogram as the points of an SVG polygon, 100 wide and 24 high."""
    heights = 24 - 23 * counts / max(counts.max(), 1)
    steps = [f"{100 * (i + end) / len(counts):.1f},{y:.1f}" for i, y in enumerate(heights) for end in (0, 1)]
    return " ".join(["0,24", *steps, "100,24"])


# ---------------------------------------------------------------------------- forecasts


def describe_forecast(path: Path, found: Found, user: UserDefinitions, run: StageRun) -> dict[str, Any]:
    """Return scores, figures and test images of an evaluated forecast."""
    statistics = found.statistics[path]
    begin, _, end = path.stem.partition("trainvaltest")
    network = begin.startswith("VGG")
    name = f"VGG{end}" if network else end.removeprefix("_")  # of its predictions and figures
    drawn = [f"scores_{name}", f"roc_{name}", f"reliability_{name}",
             f"training_curves{end}" if network else f"feature_weights_{name}"]
    note = found.notes.get(path.with_name(f"VGG_model{end}.keras") if network else path.with_suffix(".txt"))
    settings = note.settings if note else {}
    predictions = path.with_name(f"predictions_{name}.csv")
    inputs = ("dataset_dir",) if network else ("feature_file", "extra_feature_file")
    return {"path": path, "title": f"{path.parent.name}/{name}", "statistics": statistics,
            "inputs": [settings[key] for key in inputs if settings.get(key)],
            "target": target_text(statistics.model_extra), "skill": skill(statistics),
            "figures": figures(path.parent, drawn, run, settings.get("figure_format", "")),
            "images": shown_images(predictions, dataset_folder(settings, found, user), user.n_images, run)}


def score_names(forecasts: dict[str, dict[str, Any] | str]) -> list[str]:
    """Return every score that one of the forecasts has, TSS first: a narrow page shows the first columns."""
    rows = [row for row in forecasts.values() if isinstance(row, dict)]
    scores = [score for score in dict.fromkeys(chain(*rows)) if score != "intervals"]
    return sorted(scores, key=lambda score: score != "TSS")


def skill(statistics: Statistics) -> list[tuple[str, float, Any]]:
    """Return name, TSS and interval of a forecast's own decision, then of the baselines; nothing without its TSS."""
    forecasts = statistics.splits["test"].forecasts if "test" in statistics.splits else {}
    rows = [(name, row["TSS"], row.get("intervals", {}).get("TSS")) for name, row in forecasts.items()
            if isinstance(row, dict) and isinstance(row.get("TSS"), int | float)]
    if not rows or rows[0][0] != next(iter(forecasts)):
        return []
    return [rows[0], *(row for row in rows[1:] if not row[0].startswith(f"{statistics.forecast},"))]


def dataset_folder(settings: dict[str, Any], found: Found, user: UserDefinitions) -> Path | None:
    """Return the folder of a forecast's images: as set, or noted here or by a stage with the same table or labels."""
    same = [note.settings for key in ("feature_file", "label_file") for note in found.notes.values()
            if settings.get(key) and note.settings.get(key) == settings[key]]
    noted = [one["dataset_dir"] for one in [settings, *same] if one.get("dataset_dir")]
    if is_set(user.dataset_dir) or not noted:
        return user.dataset_dir if is_set(user.dataset_dir) else None
    # what a stage noted is relative to where it started: above the results, or here
    places = (place / noted[0] for place in (*user.results_dir.absolute().parents, Path.cwd()))
    return next(filter(Path.is_dir, places), None)


def shown_images(predictions: Path, folder: Path | None, number: int, run: StageRun) -> dict[str, Any]:
    """Return the most and the least certain test images, one a region, with pictures."""
    kinds, lacking = [], "cannot be read" if predictions.is_file() else "is missing"
    with listed(predictions, run):
        table = pd.read_csv(predictions, dtype={"filename": str, "probability": float})
        rated = table[(table["split"] == "test") & table["probability"].notna()].reset_index(drop=True)
        named = rated.assign(**parse_image_names(rated["filename"])[["region", "time"]])
        lacking = "holds no probabilities of test images"
        test = named[named["time"].notna()].sort_values("filename", kind="stable")
        keys = {"Highest probability of a flare": -test["probability"],
                "Lowest probability of a flare": test["probability"],
                "Least certain: closest to one half": (test["probability"] - 0.5).abs()}
        for title, key in keys.items() if len(test) else ():
            chosen = test.loc[key.sort_values(kind="stable").index].drop_duplicates("region").head(number)
            kinds.append((title, [row | {"picture": thumbnail(row, folder, run)} for row in chosen.to_dict("records")]))
    return {"kinds": kinds, "lacking": lacking, "file": predictions.name, "folder": folder.name if folder else ""}


def thumbnail(row: dict[str, Any], folder: Path | None, run: StageRun) -> dict[str, Any] | None:
    """Return a small grey picture of a magnetogram, north up, with the length of its scale bar [percent of width]."""
    stem = re.sub(r"(\.fits|\.fits\.gz|\.png)$", "", Path(row["filename"]).name, flags=re.IGNORECASE)
    names = [Path(row["filename"]).name, *(stem + ending for ending in chain(*ENDINGS.values()))]
    path = next((path for name in names if folder and (path := folder / row["region"] / name).is_file()), None)
    if path is None:
        return None
    with listed(path, run):
        field = read_magnetogram(path)
        kind = "png" if path.suffix.lower() == ".png" else "fits"
        grey = np.clip(127.5 * (1 + np.nan_to_num(field) / SHOWN_FIELD[kind]), 0, 255).astype(np.uint8)[::-1]
        height = max(1, round(THUMBNAIL * field.shape[0] / field.shape[1]))
        content = io.BytesIO()
        Image.fromarray(grey).resize((THUMBNAIL, height)).save(content, "JPEG", quality=85)
        bar = 100 * BAR_ARCSEC / (ARCSEC_A_PIXEL * field.shape[1]) if kind == "fits" else 0
        return {"uri": data_uri(content.getvalue(), "image/jpeg"), "width": THUMBNAIL, "height": height,
                "bar": bar if bar < 90 else 0}
    return None


def figures(folder: Path, names: Sequence[str], run: StageRun, form: str = "") -> list[dict[str, Any]]:
    """Return the figures of these names, in a format or any; one that cannot be read is listed, a PDF only named."""
    pictures = []
    for path in (folder / f"{name}.{ending}" for name in names for ending in ([form] if form else FIGURE_TYPES)):
        with listed(path, run):
            if not path.is_file():
                continue
            kind, wide = FIGURE_TYPES[path.suffix[1:]], False
            if path.suffix == ".png":
                with Image.open(path) as picture:
                    wide = picture.width > 1.5 * picture.height
            pictures.append({"path": path, "wide": wide, "uri": kind and data_uri(path.read_bytes(), kind)})
    return pictures


def data_uri(content: bytes, kind: str) -> str:
    """Return a picture as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@contextmanager
def listed(path: Path, run: StageRun) -> Iterator[None]:
    """List a file that cannot be read in the block."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, Image.DecompressionBombError) as error:
        run.exclude(path, "cannot be read; run its stage again", describe(error), subject="files")


def describe_comparison(path: Path, found: Found, run: StageRun) -> dict[str, Any]:
    """Return tables and figures of a comparison."""
    blocks: list[tuple[str, Any]] = []
    with listed(path.with_suffix(".md"), run):
        blocks += markdown_blocks(path.with_suffix(".md").read_text(encoding="utf-8").splitlines())
    others = tuple(other.stem for other in found.notes if other.stem.startswith(f"{path.stem}_"))
    drawn = {file.stem for file in path.parent.glob("*.*") if f"{file.stem}_".startswith(f"{path.stem}_")
             and not (others and file.stem.startswith(others))}
    form = found.notes[path].settings.get("figure_format", "")
    return {"path": path, "blocks": blocks, "figures": figures(path.parent, sorted(drawn), run, form)}


def markdown_blocks(lines: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield ("table", rows of texts, the head first) and ("text", parts, of which every second is bold)."""
    for is_table, group in groupby(lines, key=lambda line: line.startswith("|")):
        if is_table:
            rows = [[part.strip() for part in line.strip().strip("|").split("|")] for line in group]
            yield "table", [row for row in rows if set("".join(row)) - set("-: ")]
        else:
            yield from (("text", line.lstrip("# ").split("**")) for line in group if line.strip())


def describe_new_images(path: Path, run: StageRun) -> dict[str, Any] | None:
    """Return the first rows of a table of forecasts, by falling probability, and the figure of a single image."""
    with listed(path, run):
        table = pd.read_csv(path, dtype={"filename": str, "region": str, "decision": "Int64"})
        table["filename"] = [Path(name).name for name in table["filename"]]
        first = table.sort_values("probability", ascending=False, kind="stable").head(MOST_ROWS)
        rows = first.astype(object).where(first.notna(), "").to_numpy().tolist()
        return {"path": path, "number": len(table), "head": list(table), "rows": rows,
                "figures": figures(path.parent, [path.stem], run)}
    return None


def cell(value: Any) -> str:
    """Return a value as a table shows it: three decimals, thousands with commas, lists and dictionaries in words."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole = abs(value) < 1e15 and (abs(value) >= 1e3 or value == round(value))
        form = ",.0f" if whole else ".3f" if abs(value) >= 1e-3 else ".4g"
        return NOT_DEFINED if np.isnan(value) else f"{value:{form}}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) or "none"
    return str(value)


def interval(ends: Any) -> str:
    """Return the two ends of an interval, or nothing where there is none."""
    numbers = isinstance(ends, list | tuple) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends)
    return f"{ends[0]:.3f} to {ends[1]:.3f}" if numbers else ""


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
