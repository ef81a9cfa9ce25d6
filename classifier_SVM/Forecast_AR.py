"""Forecast whether active regions will flare, from their images and a trained model.

Reads
    model          `…_model.skops` or `.pickle` of AR_Classifier_weighted, or a `.keras` of VGG_transfer_learning.
                   Opening a pickle runs what is in it: only name one that you trust; a .skops holds the same.
    images         FITS [G] or 8-bit PNG magnetograms, folders of them, or lists of them (.txt, .csv): one name a line,
                   which is looked for as it stands, beside the list, and in `dataset_dir`
    srs_dir, events_dir, event_list    NOAA's archives, for a model that was trained with activity features

Writes
    forecast_file  results/forecast.csv, of a VGG16 model results/forecast_VGG.csv, if not named: CSV with header, one
                   row an image, by path:
      filename                 path of the image
      region, time             as its name tells (TAI), or empty
      probability              calibrated probability of a flare, 0..1; empty where not defined
      decision                 the classifier's own 0/1, by the sign of the decision value: classes are balanced in
                               training, so that it may be 1 at a probability well below 0.5; the run says from which
      decision_value           what it decides by: above 0 is a flare
      outside_training_range   features beyond those of the training images: the forecast is an extrapolation
      refused                  why there is no forecast (then all before is empty)
    beside it      for one image and a model of features a figure (`.png`; one of an earlier run is removed), `.json`
                   (settings, counts), `.excluded.csv` (refusals), `.log`
Refused is an image without features, also for a model of activity features alone, and one whose past the archives do
not cover (region summary of the last 48 h, flares of 72 h). The run ends with status 1 when no image was forecast. It
warns of regions that the model was trained on, as far as the `predictions_….csv` beside the model tells. Flares of the
archives count on the scale of the flares that the model was trained with; `.json` names what is forecast: smallest
flare, window, latency, scale.

Usage
    python classifier_SVM/Forecast_AR.py --images data/dataset/1158
    python classifier_SVM/Forecast_AR.py --model my_model.pickle --images x.fits y.fits
    python classifier_SVM/Forecast_AR.py --images results/VGG/Test_Data_by_AR.csv
"""

import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import NonNegativeFloat

from classifier_SVM.activity.features import NO_FLARES, activity_features, activity_names, rounded
from classifier_SVM.activity.sources import LATEST_SUMMARY_H, compare_sources, read_flares
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, FLARE_SOURCES
from classifier_SVM.training.figures import contributions, plot_contributions
from classifier_SVM.training.model_file import FlareModel, load_model
from general_code.images.label_file import FlareTarget, label_target, read_label_file
from general_code.images.magnetograms import read_magnetogram, report_remarks
from general_code.images.names import parse_image_names
from general_code.noaa.archive import SummaryArchive, read_summary_archive
from general_code.noaa.flares import AS_REPORTED, REDUCED_UNTIL, REDUCTION
from general_code.noaa.regions import region_positions
from general_code.stage.files import UserError, counted, is_set, printable, refuse_inputs, require_file, write_csv
from general_code.stage.run import (
    Jobs,
    OptionalPath,
    Problem,
    Settings,
    StageRun,
    command_line,
    parallel_results,
    read_sidecar,
    require_address_space,
    resolve_jobs,
    stage_main,
    stage_run,
)


## User Definitions
class UserDefinitions(Settings):
    model: Path = "results/SVM/ARClassifierStats_weighted_trainvaltest_linear_model.skops"  # .skops, .pickle or .keras
    images: tuple[Path, ...] = ()  # FITS or PNG files, folders of them, or lists of them (.txt, .csv)
    dataset_dir: OptionalPath = "data/dataset"  # where the images of a list are, NNNN/NNNN_*; "": beside the list
    forecast_file: OptionalPath = ""  # output, figures beside it; "": results/forecast.csv, of VGG16 forecast_VGG.csv
    srs_dir: OptionalPath = ""  # region summaries: for activity features, and to check where on the disk a region is
    events_dir: OptionalPath = ""  # event reports, for a model with activity features
    event_list: OptionalPath = ""  # flares besides those of the reports; "": none
    event_list_delay_minutes: NonNegativeFloat = 60.0  # a listed flare is known so long after its maximum [min]
    n_jobs: Jobs = -1  # processes; -1: all cores
## End User Definitions


PARALLEL_FROM = 8  # images; fewer are done before other processes have started
MOST_LINES = 20  # images that get a line on the terminal
NO_PLACE = ("the activity features need region and time, as in "
            "NNNN_hmi.M_720s.YYYYMMDD_HHMMSS_TAI.1.magnetogram.fits")
BEYOND = "the region is further out on the disk than any that the model was trained on"
STALE = (f"the region's latest summary is missing, or more than {LATEST_SUMMARY_H} h older than the image; get the "
         "summaries of its days for srs_dir")
NOT_COVERED = ("the event reports or list do not cover all of the 72 h before the image; get the reports of its days "
               "for events_dir")
NEAR_REAL_TIME = re.compile(r"(hmi\.M_720s)_nrt(?=\.)", re.IGNORECASE)  # series of images within the hour
SHOWN_FEATURES = 7  # bars of the figure
LISTS = (".txt", ".csv", ".lst")  # endings of files that name images
FORMATS = {".fits": "fits", ".fits.gz": "fits", ".png": "png"}
COLUMNS = ("filename", "region", "time", "probability", "decision", "decision_value", "outside_training_range",
           "refused")


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the forecast."""
    require_address_space()
    files, problems = find_image_files(user.images, user.dataset_dir)
    require_file(user.model, "model")
    loaded = None if user.model.suffix == ".keras" else load_model(user.model)
    if not is_set(user.forecast_file):
        user = user.model_copy(update={"forecast_file": Path(f"results/forecast{'' if loaded else '_VGG'}.csv")})
    check_outputs(user.forecast_file, [user.model, *files])
    with stage_run(user, output=user.forecast_file, inputs=[user.model, *user.images]) as run:
        run.exclude_all(problems)
        remove_earlier_figure(user.forecast_file)
        if loaded is None:
            from classifier_VGG.network.vgg16 import forecast_with_vgg

            table = forecast_with_vgg(user.model, files, run, resolve_jobs(user.n_jobs))
        else:
            table = forecast_from_features(user, *loaded, files, run)
        table = add_names(table, files)
        report_target(loaded[0].target if loaded else label_target(user.model), table["time"], run)
        if provisional := sum(NEAR_REAL_TIME.search(path.name) is not None for path in files):
            run.report(f"ATTENTION: {counted(provisional, 'images')} of the near-real-time series, which is calibrated "
                       "otherwise than the final one that models are trained on")
        if known := known_regions(user.model, table["region"][table["refused"] == ""]):
            run.report(f"ATTENTION: the model was trained or calibrated on images of region{'s' * (len(known) > 1)} "
                       f"{', '.join(known[:10])}{', …' * (len(known) > 10)}: those forecasts test nothing")
        for row in table[table["refused"] != ""].itertuples():
            run.exclude(row.filename, "image refused", row.refused, subject="images")
        write_csv(user.forecast_file, table[list(COLUMNS)])
        report_forecasts(table, user.forecast_file, run)
    if (table["refused"] != "").all():
        raise UserError(f"0 of {len(table):,} images forecast; the reasons are in {user.forecast_file}")


# ---------------------------------------------------------------------------- files


def find_image_files(images: Sequence[Path], dataset_dir: Path) -> tuple[list[Path], list[Problem]]:
    """Return the files named, missing ones too, in folders and on lists, sorted, each once; and the odd lines."""
    if not images:
        raise UserError("images: expected FITS or PNG files, folders or lists of them, got none; set --images x.fits")
    files: set[Path] = set()
    problems: list[Problem] = []
    for path in images:
        if path.suffix.lower() in LISTS:
            inside, unused = listed_files(path, dataset_dir)
            problems += unused
        else:
            inside = [file for file in path.rglob("*") if format_of(file)] if path.is_dir() else [path]
        if not inside:
            raise UserError(f"images: no FITS or PNG file in the folder '{path}'")
        files.update(inside)
    if not any(file.is_file() for file in files):
        more = f" and {len(files) - 1:,} other places" if len(files) > 1 else ""
        raise UserError(f"images: expected FITS or PNG files, folders or lists of them, found nothing at '{min(files)}'"
                        f"{more}; set --images, or --dataset-dir for the names of a list")
    return sorted(files), problems


def listed_files(path: Path, dataset_dir: Path) -> tuple[list[Path], list[Problem]]:
    """Return the files that a list names, as they stand, beside the list or in the data set, and lines of no use."""
    table, problems = read_label_file(path, setting="images", classes="", any_name=True)
    folders = [Path(), path.parent] + ([dataset_dir] if is_set(dataset_dir) else [])
    files = []
    for row in table.itertuples():
        places = [folder / name for folder in folders for name in (row.listed, f"{row.region}/{row.filename}")]
        files.append(next(filter(Path.is_file, places), places[0]))
    return files, problems


def parse_files(files: Sequence[Path]) -> pd.DataFrame:
    """Return what the images' names say, as `parse_image_names`; near-real-time names as those of the final series."""
    return parse_image_names([NEAR_REAL_TIME.sub(r"\1", str(path)) for path in files])


def format_of(path: Path) -> str:
    """Return "fits" or "png" by the ending of a file's name, "" for another."""
    return next((kind for ending, kind in FORMATS.items() if path.name.lower().endswith(ending)), "")


def check_outputs(forecast_file: Path, inputs: Sequence[Path]) -> None:
    """Raise UserError when the figure or another file beside the forecast would replace the model or an image."""
    if forecast_file.suffix.lower() != ".csv":
        raise UserError(f"forecast_file: expected a name that ends in .csv, got '{forecast_file}'")
    refuse_inputs([forecast_file, forecast_file.with_suffix(".png"), Path(f"{forecast_file}.json")], inputs)


def remove_earlier_figure(forecast_file: Path) -> None:
    """Remove the figure that an earlier run of this script notes as its own: it shows another forecast."""
    noted = (read_sidecar(forecast_file) or {}).get("counts", {}).get("figure", "")
    figure = forecast_file.with_suffix(".png")
    if noted == figure.name:
        figure.unlink(missing_ok=True)


# ---------------------------------------------------------------------------- forecasts from features


def forecast_from_features(user: UserDefinitions, model: FlareModel, remarks: list[str], files: list[Path],
                           run: StageRun) -> pd.DataFrame:
    """Forecast by a model of features; draw the figure when there is one image."""
    for remark in remarks:
        run.report(f"ATTENTION: {remark}")
    flares_named = is_set(user.events_dir) or is_set(user.event_list)
    if model.extra_feature_names and not (is_set(user.srs_dir) and flares_named):
        raise UserError(f"model: trained with {len(model.extra_feature_names)} activity features; name the archives "
                        "they are computed from, --srs-dir and --events-dir (or --event-list)")
    run.report(f"Forecast: flares of {model.flares}; {decision_rule(model)}")
    features, reasons = image_features_of(files, model, user.n_jobs, run)
    if is_set(user.srs_dir):
        activity, more = features_of_archives(user, model, files, run)
        features, reasons = np.hstack([features, activity]), np.where(reasons == "", more, reasons)
    used = reasons == ""
    forecasts = forecast_rows(model, features[used]).set_index(np.flatnonzero(used))
    table = pd.DataFrame({"refused": reasons}).join(forecasts)
    if len(files) == 1 and used[0]:
        figure = user.forecast_file.with_suffix(".png")
        write_image_figure(figure, files[0], model, features[0], table.iloc[0])
        run.counts["figure"] = figure.name
        run.report(f"Figure: {figure}")
    return table


def decision_rule(model: FlareModel) -> str:
    """Describe what the decision rests on, and why its probability is low where it is."""
    rule = "decision 1 where the decision value is above 0"
    if model.calibration is None:
        return f"{rule}; no probabilities, as their calibration is not defined"
    probability = model.probability(np.zeros(1))[0]
    if model.calibration.slope == 0:
        return f"{rule}; probability {probability:.3f} for every image, as the validation images showed no skill"
    reason = ": flares, though rare, count as much as quiet images" if probability < 0.5 else ""
    return f"{rule}, which is at a probability of {probability:.3f}{reason}"


def image_features_of(files: list[Path], model: FlareModel, n_jobs: int,
                      run: StageRun) -> tuple[np.ndarray, np.ndarray]:
    """Compute the image features of each file that the model uses (29 or none), and why a file is refused, or ""."""
    from classifier_SVM.FunctionsP3 import compile_kernels

    compile_kernels(run.report)
    run.report(f"Computing the features of {counted(len(files), 'images')}")
    jobs = resolve_jobs(n_jobs) if len(files) >= PARALLEL_FROM else 1
    # a worker that is kept from an earlier call may stand in another folder
    tasks = ((path.absolute(), model.image_format, model.limits) for path in files)
    results = parallel_results(features_of_file, tasks, jobs, ordered=True)
    found = list(run.progress(results, total=len(files), description="Features"))
    report_remarks([remark for *_, remarks in found for remark in remarks], run)
    features = np.array([values for values, *_ in found])
    return features[:, :len(model.feature_names)], np.array([reason for _, reason, _ in found], dtype=object)


def features_of_file(path: Path, image_format: str, limits: dict[str, float]) -> tuple[np.ndarray, str, list[str]]:
    """Return the 29 features of an image file (NaN where there are none), why there are none, and what is strange.

    Format ("" takes either) and limits, as far as known, are those of the images that the model was trained on."""
    from classifier_SVM.FunctionsP3 import image_features  # loads numba

    features, reason, remarks = np.full(len(FEATURE_NAMES), np.nan), "", []
    if image_format and not format_of(path):
        return features, f"no magnetogram by its name; expected {', '.join(FORMATS)}", remarks
    if image_format and format_of(path) != image_format:
        return features, f"the model was trained on .{image_format} images, whose features have another unit", remarks
    smallest, largest = (limits.get(name, beyond) for name, beyond in (("smallest_side", 0), ("largest_side", np.inf)))
    try:
        image = read_magnetogram(path, remarks)
        if smallest <= min(image.shape) and max(image.shape) <= largest:
            features = image_features(image)
        else:
            reason = (f"image of {image.shape[0]}x{image.shape[1]} pixels; the model was trained on images with sides "
                      f"of {smallest:g} to {largest:g} pixels")
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
    return features, reason, remarks


def features_of_archives(user: UserDefinitions, model: FlareModel, files: list[Path],
                         run: StageRun) -> tuple[np.ndarray, np.ndarray]:
    """Return the activity features that the model uses, and why region or archives refuse an image, or ""."""
    names = list(model.extra_feature_names)
    foreign = [name for name in names if name not in activity_names()]
    if foreign:
        raise UserError(f"model: trained with the extra feature '{foreign[0]}', which this program cannot compute for "
                        "an image; it computes those of BuildActivityFeatures.py")
    images = parse_files(files)
    placed = ((images["region"] != "") & images["time"].notna()).to_numpy()
    features = np.full((len(files), len(names)), np.nan)
    reasons = np.full(len(files), NO_PLACE if names else "", dtype=object)
    if not placed.any():
        return features, reasons
    regions, times = images["region"][placed], images["time"][placed]
    summaries = read_summary_archive(user.srs_dir)
    run.exclude_all(summaries.problems)
    run.report(f"{len(summaries.days):,} summaries of {summaries.days[0]} to {summaries.days[-1]}, {user.srs_dir}")
    reasons[placed] = np.where(beyond_limits(model, regions, times, summaries, run), BEYOND, "")
    if names:
        sources = user.events_dir, user.event_list, user.event_list_delay_minutes
        flares, covered = read_flares(*sources, run, times.to_numpy(), flare_scale=model.feature_scale)
        activity = activity_features(regions, times.to_numpy(), flares, summaries.table, summaries.days)
        features[placed] = rounded(activity[names].to_numpy())  # as stage 5 read them
        # a gap in the archives would count as quiet
        stale = (activity["has_summary"] == 0) | (activity["summary_age_h"] > LATEST_SUMMARY_H)
        reasons[placed] = np.select([reasons[placed] != "", stale, ~covered], [reasons[placed], STALE, NOT_COVERED], "")
        for remark in compare_sources(model.flare_sources, run.counts[FLARE_SOURCES]):
            run.report(f"ATTENTION: {remark}")
    return features, reasons


def beyond_limits(model: FlareModel, regions: pd.Series, times: pd.Series, summaries: SummaryArchive,
                  run: StageRun) -> np.ndarray:
    """Tell which regions are further from the disk's centre, at 00:00 of the day, than any of the training.

    Without a row of the day, as where the summaries end the day before, the region has moved on from its last."""
    where = region_positions(regions, times, summaries.table)
    midnights = times.to_numpy("datetime64[D]")
    moved = activity_features(regions, midnights, NO_FLARES, summaries.table, summaries.days)
    recent = (moved["has_summary"] > 0) & (moved["summary_age_h"] <= LATEST_SUMMARY_H)
    beyond, unknown = np.zeros(len(times), bool), np.zeros(len(times), bool)
    for name, value in (("latitude", where.latitude), ("longitude", where.longitude)):
        value = np.where(np.isnan(value), moved[name].where(recent), value)
        limit = model.limits.get(f"max_{name}_deg", np.inf)
        beyond |= np.abs(value) >= limit
        unknown |= np.isnan(value) & np.isfinite(limit)
    if unknown.any():
        run.report(f"ATTENTION: no summary tells where the region of {counted(int(unknown.sum()), 'images')} is: "
                   "whether it is further out than those of the training is not known")
    return beyond


def known_regions(model: Path, regions: pd.Series) -> list[str]:
    """Return which regions a model was trained or calibrated on, as far as the predictions beside it tell."""
    from pyarrow import ArrowException, csv

    kind = model.stem.removeprefix("ARClassifierStats_weighted_trainvaltest_").removesuffix("_model")
    if model.suffix == ".keras":
        kind = re.sub("^VGG_model", "VGG", model.stem)
    columns = csv.ConvertOptions(include_columns=["filename", "split"])
    try:
        table = csv.read_csv(model.with_name(f"predictions_{kind}.csv"), convert_options=columns).to_pandas()
    except (OSError, ValueError, ArrowException):  # a copy of the model alone, or another file of this name
        return []
    table = table.astype("str")
    names = table["filename"][table["split"].isin(["training", "validation"])]
    return sorted(set(regions) & set(parse_image_names(names)["region"]) - {""})


def forecast_rows(model: FlareModel, features: np.ndarray) -> pd.DataFrame:
    """Forecast from features in their own units, shape (n, d): the columns of the output from `probability` on."""
    scores = model.decision_function(features)
    outside = ["; ".join(np.array(model.names)[row]) for row in model.scaling.outside(features)]
    return pd.DataFrame({"probability": model.probability(scores), "decision": (scores > 0).astype(int),
                         "decision_value": scores, "outside_training_range": pd.Series(outside, dtype="str")})


# ---------------------------------------------------------------------------- what the user gets


def report_target(target: FlareTarget, times: pd.Series, run: StageRun) -> None:
    """Count what is forecast, and warn where its classes as reported may mean other fluxes than those of the images."""
    run.counts |= target.counts()
    late = int((pd.to_datetime(times) >= REDUCED_UNTIL).sum())
    if late and target.scale == AS_REPORTED:
        run.report(f"ATTENTION: {counted(late, 'images')} of {REDUCED_UNTIL} or later; before that day classes were "
                   f"reported at {REDUCTION} of today's, so that C1.0 of a model trained on earlier images is C1.4; "
                   "train one with labels and features of flare_scale modern, unless all its images are as late")


def add_names(table: pd.DataFrame, files: list[Path]) -> pd.DataFrame:
    """Add path, region and time of each image; decisions as whole numbers."""
    parsed = parse_files(files)
    times = parsed["time"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    shown = [printable(str(path).encode(errors="backslashreplace").decode()) for path in files]  # it may be no text
    return table.reset_index(drop=True).assign(
        filename=shown, region=parsed["region"], time=times,
        decision=table["decision"].astype("Int64").array)


def report_forecasts(table: pd.DataFrame, forecast_file: Path, run: StageRun) -> None:
    """Report the forecasts and refusals, the first of them image by image."""
    refused = table["refused"] != ""
    run.count("images", len(table))
    run.count("forecasts", int((~refused).sum()))
    for kind, rows in (("forecasts", table[~refused]), ("refusals", table[refused])):
        for row in rows.head(MOST_LINES).itertuples():
            run.report(f"{row.filename}: {f'refused, {row.refused}' if row.refused else forecast_text(row)}")
        if len(rows) > MOST_LINES:
            run.report(f"... and {len(rows) - MOST_LINES:,} more {kind} in {forecast_file}")
    run.report(f"{int((~refused).sum()):,} of {len(table):,} images forecast, "
               f"a flare for {int(table['decision'].sum()):,} of them; {forecast_file}")


def forecast_text(row) -> str:
    """Return a row of the table as text."""
    probability = f"{row.probability:.3f}" if np.isfinite(row.probability) else "not defined"
    outside = row.outside_training_range.count(";") + 1 if row.outside_training_range else 0
    warning = f"; {outside} features outside the training range: an extrapolation" if outside else ""
    return f"probability {probability}, decision {row.decision}{warning}"


def image_title(image: Path) -> str:
    """Return region and time, as far as the image's name tells, and whether it is of the near-real-time series."""
    named = parse_files([image]).iloc[0]
    region = f"AR {named['region']}" if named["region"] else "region not known"
    time = "" if pd.isna(named["time"]) else f", {named['time']:%Y-%m-%d %H:%M} TAI"
    return region + time + ("\n(near-real-time image)" if NEAR_REAL_TIME.search(image.name) else "")


def write_image_figure(path: Path, image: Path, model: FlareModel, features: np.ndarray, forecast: pd.Series) -> None:
    """Write the figure of one image: magnetogram, neutral line, probability, and how the decision adds up."""
    from classifier_SVM.feature_table.magnetogram_figure import GREY_SCALE, plot_magnetogram, read_picture
    from general_code.evaluation.report import new_figure, save_figure

    figure = new_figure(9.0, 4.5)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    picture = read_picture(image)
    plot_magnetogram(left, picture, fontsize=12).set_title(image_title(image))
    limit, unit = GREY_SCALE[picture.kind]
    notes = ["orange: strong neutral line" if picture.line.any() else "no neutral line above noise",
             f"grey: -{limit:g} to {limit:g} {unit}"] + [f"assumed: {picture.assumed}"] * bool(picture.assumed)
    lines = ["; ".join(notes[:2]), *notes[2:], *textwrap.wrap(image.name, 60)]
    left.set_xlabel("\n".join(lines), fontsize="small")
    base, added = contributions(model.estimator, model.scaling.apply(features[None])[0], model.typical)
    plot_contributions(right, model.names, base, added, SHOWN_FEATURES)
    probability, threshold = forecast["probability"], model.probability(np.zeros(1))[0]
    defined = np.isfinite(probability)
    right.set_xlabel("decision value; above 0: flare forecast"
                     + f"\n(0 is a probability of {threshold:.0%})" * bool(defined))
    right.set_title("how the forecast adds up")
    outside = [name for name in forecast["outside_training_range"].split("; ") if name]
    if outside:
        figure.supxlabel(f"ATTENTION: {len(outside)} of {len(added)} features lie outside the training range "
                         f"({', '.join(outside[:2])}{', …' * (len(outside) > 2)})", fontsize="medium")
    figure.suptitle(f"Flare of {model.flares}: {'yes' if forecast['decision'] else 'no'}, probability "
                    f"{f'{probability:.0%}' if defined else 'not defined'}", fontsize="x-large")
    save_figure(figure, path)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
