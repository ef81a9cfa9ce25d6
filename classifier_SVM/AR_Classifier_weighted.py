"""Train a flare classifier on the features of images, split by active region, and evaluate it.

Reads
    feature_file          29 features, 0/1 class, flare class, file name (FeaturesetTools), of stage 4 or published
    label_file            `filename,class` a line, in place of `feature_file` "": the extra features are all there is
    extra_feature_file    header `filename,...`, further numbers by image, joined by file name (BuildActivityFeatures)
    the three lists       one region number a line; if none exists, a seeded draw is written to `output_dir`; with
                          `validation_start` and `test_start` the lists are made by time, and written there
    event_list            `YYYY MM DD,HHMM,NNNN,C5.7`, for the rules to beat; without it they are "not available"
    srs_dir               region summaries `YYYYMMDDSRS.txt`, for the rate of the McIntosh class, likewise

Writes to `output_dir`; {c} is the class type
    Train_Data_by_AR{suffix}.csv, Validation_…, Test_…    29 scaled features, 0/1 class, flare class, file name
    Train_Extra{suffix}.csv, …                            header; file name, scaled extra features
    Weight{suffix}.txt                                    29 lines `min range`: scaled = (value - min) / range
    ARClassifierStats_weighted_trainvaltest_{c}{suffix}.txt, .json    verdict; scores for test, validation, training
                                                          (95 % intervals over regions), beside the rules to beat
    …_model.skops, …_model.pickle                         the trained classifier; .skops loads without running code
    feature_weights_{c}{suffix}.csv                       feature,minimum,range,weight of linear classifiers: decision
                                                          value = sum of weight x (value - minimum) / range + intercept
    predictions_{c}{suffix}.csv                           filename,class,probability,decision,split
    repeats_{c}{suffix}.csv                               with `repeats`: score,one_split,mean,standard_deviation,
                                                          smallest,largest,draws, of the test images of each draw
    scores_{c}{suffix}.png, roc_…, reliability_…, feature_weights_…

Classes are weighted inversely to their frequency; hinge loss, C as in libsvm, the intercept is not penalised. rbf is
fitted to at most `max_rbf_rows`. The decision is at 0 whatever the calibration says; calibration and the second
threshold are chosen on the validation rows, and the test rows choose nothing.

A region belongs to one split: the lists', or that of a draw. By time it is the split of its first image; regions that
cross one of the two days or begin within `gap_days` after it are excluded and listed. The statistics name the split.

Usage
    python classifier_SVM/AR_Classifier_weighted.py
    python classifier_SVM/AR_Classifier_weighted.py --flare-size M1.0 --suffix _M1 --class-type gradient_boosting
    python classifier_SVM/AR_Classifier_weighted.py --validation-start 20130101 --test-start 20140101 \\
        --output-dir results/by_time

References
    Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825.
"""

import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import Field

from classifier_SVM.FeaturesetTools import (
    FEATURE_NAMES,
    FLARE_SOURCES,
    Scaling,
    fit_scaling,
    read_extra_features,
    read_feature_table,
    weight_text,
    write_feature_table,
)
from classifier_SVM.training.classifiers import CLASS_TYPES, decision_values, draw_rows, fit_classifier
from classifier_SVM.training.figures import write_weight_figure
from classifier_SVM.training.model_file import LIMITS, FlareModel, save_model
from general_code.evaluation.evaluate import SPLIT_FILES, calibrate, evaluate_forecast, forecast_rows
from general_code.evaluation.report import FigureFormat, report_splits, write_evaluation
from general_code.evaluation.splits import (
    Dates,
    Draw,
    assign_splits,
    choose_lists,
    draw_region_split,
    named_lists,
    read_region_lists,
    split_images,
)
from general_code.images.label_file import FlareTarget, label_counts, label_target, read_label_file
from general_code.images.names import NOT_A_NAME, image_stems, parse_image_names
from general_code.noaa.archive import DEFAULT_SRS_DIR, optional_summaries
from general_code.noaa.flares import (
    AS_REPORTED,
    DEFAULT_EVENT_LIST,
    NO_FLARE,
    OptionalFlareSize,
    optional_event_list,
    peak_flux,
    peak_fluxes,
)
from general_code.noaa.reports import OptionalDay, parse_day
from general_code.stage.files import (
    UserError,
    atomic_write,
    check_all,
    counted,
    is_set,
    refuse_inputs,
    require_file,
    require_folder,
    require_free_space,
    write_csv,
)
from general_code.stage.run import (
    OptionalPath,
    Percent,
    Seed,
    Settings,
    StageRun,
    Suffix,
    command_line,
    read_sidecar,
    require_address_space,
    stage_main,
    stage_run,
)


## User Definitions
class UserDefinitions(Settings):
    feature_file: OptionalPath = "results/features.csv"  # feature table; "": train on the extra features alone
    label_file: Path = "data/Labels.txt"  # labels, read only when feature_file is ""
    extra_feature_file: OptionalPath = ""  # further features by file name; "": none
    output_dir: Path = "results/SVM"  # folder of all outputs
    suffix: Suffix = ""  # added to the names of the outputs
    class_type: Literal["linear", "rbf", "logistic", "gradient_boosting"] = "linear"  # the classifier
    flare_size: OptionalFlareSize = ""  # smallest flare that counts, e.g. M1.0; "": the table's 0/1 column
    test_ar_list: Path = "data/List_of_AR_in_Test_Data_by_AR.csv"  # regions of the test set
    validation_ar_list: Path = "data/List_of_AR_in_Validation_data_by_AR.csv"  # regions of the validation set
    train_ar_list: OptionalPath = "data/List_of_AR_in_Train_Data_by_AR.csv"  # training; missing: all others
    test_percent: Percent = 10.0  # regions drawn for the test set when none of the lists exists [%]
    validation_percent: Percent = 10.0  # regions drawn for the validation set, likewise [%]
    validation_start: OptionalDay = ""  # split by time: validation regions begin on it, YYYYMMDD; "": lists or a draw
    test_start: OptionalDay = ""  # split by time: test regions begin on it, YYYYMMDD; "": lists or a draw
    gap_days: Annotated[int, Field(ge=0, le=9999)] = 27  # by time: regions that begin so soon after are skipped [d]
    redraw: bool = False  # True: make the lists again, in place of those made before in output_dir
    repeats: Annotated[int, Field(ge=0, le=9999)] = 0  # draws with seeds from seed on, for the spread of the scores
    seed: Seed = 0  # random numbers of the draws and the bootstrap
    C: Annotated[float, Field(gt=0, le=1e12)] = 1.0  # cost of a row on the wrong side, as in libsvm; larger fits closer
    max_rbf_rows: Annotated[int, Field(ge=2)] = 20000  # training rows of the rbf SVM; more are drawn by region
    event_list: OptionalPath = "data/eventList.txt"  # flares for the rules to beat, as persistence; "": none
    srs_dir: OptionalPath = "data/SRS"  # region summaries, for the rate of the McIntosh class; "": none
    figure_format: FigureFormat = "png"  # png, pdf or svg; figures that earlier runs left in another format stay
## End User Definitions


BYTES_A_NUMBER = 24  # of text, file names and classes included
SAMPLE_ROWS = 1000  # that the effects of the features are averaged over
ROWS_A_BLOCK = 50_000  # that are scaled at once, where all would be a copy of the table
GAIN = "TSS gain over the best rule"
LARGEST_GAP = 1e-3  # of the objective: beyond it the linear SVM is not the one that was asked for


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    require_address_space()
    outputs = output_paths(user)
    lists = user.test_ar_list, user.validation_ar_list, user.train_ar_list
    inputs = [user.feature_file, user.label_file, user.extra_feature_file, user.event_list, user.srs_dir, *lists]
    refuse_inputs(outputs.values(), inputs)
    check_inputs(user, lists)
    with stage_run(user, output=outputs["statistics"], inputs=inputs) as run:
        rows = read_features(user, run)
        past = {"events": optional_event_list(user.event_list, run, flare_scale=target_of(user).scale),
                "summaries": optional_summaries(user.srs_dir, run)}
        regions = choose_lists(rows.labels, lists, user.output_dir, how_to_split(user), run, redraw=user.redraw)
        split = split_images(rows.labels, regions, run)
        report_splits(rows.labels["region"], rows.labels["class"], split, run)
        training = np.flatnonzero(split == "training")
        used = rows_to_fit(user, rows.labels, training, user.seed)  # before the draws, which may take hours
        draws = repeat_splits(user, rows, past, run)
        scaling = scale_rows(rows, training)  # after them: no second copy of all rows
        estimator = train(user, rows, used, len(training), run)
        if (split == "").any():
            rows, split = rows.where(split != ""), split[split != ""]
        run.report("Forecasting all rows, scores with bootstrap over regions")
        scores = decision_values(estimator, rows.values)
        report, forecast, calibration = evaluate(
            user, forecast_rows(rows.labels["filename"], rows.labels["class"], scores, scores > 0, split), past,
            remarks=[regions.text()])
        report["split"] = regions.settings
        run.report(f"Forecast: flares of {report['flares']}")
        run.counts |= target_of(user).counts()
        add_spread(report, draws, outputs["repeats"], run)
        write_split_tables(outputs, rows, split, scaling, run)
        model = make_model(user, rows, split, estimator=estimator, scaling=scaling, calibration=calibration,
                           validation_threshold=report["validation_threshold"])
        save_model(outputs["model"], model)
        write_weights(outputs, model, rows.where(split != "test"))
        write_evaluation(report, forecast, outputs["statistics"], f"{user.class_type}{user.suffix}", run,
                         figure_format=user.figure_format)


def output_paths(user: UserDefinitions) -> dict[str, Path]:
    """Return the paths of the outputs by what they hold."""
    kind = f"{user.class_type}{user.suffix}"
    stem = f"ARClassifierStats_weighted_trainvaltest_{kind}"
    names = {"statistics": f"{stem}.txt", "model": f"{stem}_model", "weights": f"Weight{user.suffix}.txt",
             "predictions": f"predictions_{kind}.csv", "weight_figure": f"feature_weights_{kind}.{user.figure_format}",
             "linear_weights": f"feature_weights_{kind}.csv", "repeats": f"repeats_{kind}.csv"}
    for split, word in SPLIT_FILES.items():
        names |= {split: f"{word}_Data_by_AR{user.suffix}.csv", f"{split} extra": f"{word}_Extra{user.suffix}.csv"}
    return {key: user.output_dir / name for key, name in names.items()}


def check_inputs(user: UserDefinitions, lists: tuple[Path, Path, Path]) -> None:
    """Raise one UserError that names all inputs that are missing."""
    files = {"feature_file": user.feature_file, "extra_feature_file": user.extra_feature_file}
    files |= {} if is_set(user.feature_file) else {"label_file": user.label_file}
    files |= {} if user.event_list == DEFAULT_EVENT_LIST else {"event_list": user.event_list}
    required = is_set(user.srs_dir) and user.srs_dir != DEFAULT_SRS_DIR
    check_all(*(partial(require_file, path, setting) for setting, path in files.items() if is_set(path)),
              *([partial(require_folder, user.srs_dir, "srs_dir")] if required else []),
              partial(how_to_split, user),
              *([] if user.test_start else [partial(read_region_lists, *lists, user.output_dir)]))


def how_to_split(user: UserDefinitions) -> Draw | Dates:
    """Return how lists of regions are made, where they are; UserError for one day, wrong order, and beside lists."""
    start, test = user.validation_start, user.test_start
    if not (start or test):
        return Draw(user.test_percent, user.validation_percent, user.seed)
    if not (start and test):
        raise UserError(f"validation_start, test_start: a split by time needs both days, got '{start}' and '{test}'; "
                        "set both, or neither to use lists of regions")
    if named := named_lists((user.test_ar_list, user.validation_ar_list, user.train_ar_list)):
        raise UserError(f"{', '.join(named)}: expected the default beside validation_start {start} and test_start "
                        f"{test}, which split by time; set the days, or name the lists, not both")
    if test <= start:
        raise UserError(f"test_start: expected a day after {start}, validation_start, got {test}")
    return Dates(f"{parse_day(start)}", f"{parse_day(test)}", user.gap_days)


def source_of(user: UserDefinitions) -> Path:
    """Return the file that names images and classes."""
    return user.feature_file if is_set(user.feature_file) else user.label_file


def target_of(user: UserDefinitions) -> FlareTarget:
    """Return the flares that the labels count, in all outputs."""
    target = label_target(source_of(user))
    return target._replace(size=user.flare_size or target.size)


# ---- the rows


@dataclass(frozen=True)
class Rows:
    """Features and labels of n images, sorted by file name."""

    values: np.ndarray  # float64, shape (n, d), in the features' own units: the image features, then the extra ones
    labels: pd.DataFrame  # filename, region, time, class (0/1 at the flare size), flare class where it is known
    image_names: tuple[str, ...]  # of the first columns of `values`: the 29 image features, or none
    extra_names: tuple[str, ...]  # of the further columns

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of `values`."""
        return self.image_names + self.extra_names

    def where(self, chosen: np.ndarray) -> "Rows":
        """Return the rows of a mask, or of row numbers, their labels numbered from 0."""
        labels = self.labels.iloc[chosen].reset_index(drop=True)
        return Rows(self.values[chosen], labels, self.image_names, self.extra_names)


def read_features(user: UserDefinitions, run: StageRun) -> Rows:
    """Read features and classes, and report how many."""
    more = f" and {user.extra_feature_file}" if is_set(user.extra_feature_file) else ""
    run.report(f"Reading {source_of(user)}{more}")
    rows = read_rows(user.feature_file, user.label_file, user.extra_feature_file, user.flare_size, run)
    flaring = int(rows.labels["class"].sum())
    run.report(f"{counted(len(rows.labels), 'images')} of {counted(rows.labels['region'].nunique(), 'regions')}, "
               f"{flaring:,} with a flare ({user.flare_size or 'any label but 0'}), "
               f"{counted(len(rows.names), 'features')}")
    run.count("images", len(rows.labels))
    run.count("images with a flare", flaring)
    report_mismatches(user, run)
    return rows


def report_mismatches(user: UserDefinitions, run: StageRun) -> None:
    """Warn when the labels in the table were written again since, or the extra features are on another scale."""
    sidecar = Path(f"{user.feature_file}.json")
    labels = Path((read_sidecar(user.feature_file) or {"settings": {}})["settings"].get("label_file", ""))
    if is_set(user.feature_file) and labels.is_file() and labels.stat().st_mtime > sidecar.stat().st_mtime:
        run.report(f"ATTENTION: {labels} was written after {user.feature_file}, whose labels may be others; start "
                   "BuildMasterFeatureSet_mp.py again to use the new ones")
    sources, scale = flare_sources(user), target_of(user).scale
    other = sources.get("flare_scale", AS_REPORTED)
    if sources and other != scale:
        run.report(f"ATTENTION: the flare classes of the labels are {scale}, those of the extra features {other}; make "
                   f"{user.extra_feature_file} again with --flare-scale {scale}")


def flare_sources(user: UserDefinitions) -> dict[str, bool | float | str]:
    """Return where the flares of the extra features are from, as far as their sidecar tells."""
    sidecar = read_sidecar(user.extra_feature_file) if is_set(user.extra_feature_file) else None
    return (sidecar or {"counts": {}})["counts"].get(FLARE_SOURCES, {})


def read_rows(feature_file: Path, label_file: Path, extra_feature_file: Path, flare_size: str, run: StageRun) -> Rows:
    """Read the images with their features and classes, at least one; those without region, time or features go out.

    Without a feature table ("") the images are those of the labels. The flare size "" takes the 0/1 column, or any
    label but `0`. UserError for what the readers refuse, labels made at a larger size, and when nothing remains.
    """
    source = feature_file if is_set(feature_file) else label_file
    if is_set(feature_file):
        table = read_feature_table(feature_file)
    elif is_set(extra_feature_file):
        table = read_labels(label_file, run)
    else:
        raise UserError("feature_file and extra_feature_file: expected at least one of them, got neither; set one")
    table["class"] = classes_at(table, flare_size, source)
    if not table["filename"].is_monotonic_increasing:
        table = table.sort_values("filename", kind="stable", ignore_index=True)
    table = with_regions(table, run)
    image_names, extra_names = FEATURE_NAMES if is_set(feature_file) else (), ()
    blocks = [table[list(image_names)].to_numpy(dtype=np.float64)]
    if is_set(extra_feature_file):
        extra, found = join_extra_features(table["filename"], read_extra_features(extra_feature_file), run)
        table, extra_names = table[found], tuple(extra.columns)
        blocks = [blocks[0][found], extra.to_numpy(dtype=np.float64)]
    if not len(table):
        raise UserError(f"{source}: no image is left to train on; see the reasons in the excluded file")
    labels = table[[name for name in ("filename", "region", "time", "class", "flare class") if name in table]]
    # rows one after the other in memory, as the classifiers take them without a further copy
    return Rows(np.ascontiguousarray(np.hstack(blocks)), labels.reset_index(drop=True), image_names, extra_names)


def classes_at(table: pd.DataFrame, flare_size: str, source: Path) -> np.ndarray:
    """Return which images flare, 0 or 1; UserError where `source`, the table's file, has no classes or larger ones."""
    if not flare_size:
        return table["class"].to_numpy(dtype=np.int8)
    if "flare class" not in table:
        raise UserError(f"flare_size: {source} has 0/1 classes only and cannot be cut at {flare_size}; use "
                        "--flare-size \"\", or a table with flare classes")
    made_at = label_target(source).size
    if made_at and peak_flux(made_at) > peak_flux(flare_size):
        raise UserError(f"flare_size: the labels in {source} were made at {made_at}, smaller flares count as none; "
                        f"expected {made_at} or larger, got {flare_size}; label again with --flare-size {flare_size}")
    return (peak_fluxes(table["flare class"].to_numpy()) >= peak_flux(flare_size)).astype(np.int8)


def read_labels(label_file: Path, run: StageRun) -> pd.DataFrame:
    """Return the images of a label file with `class` 0 or 1 and `flare class`."""
    table, problems = read_label_file(label_file)
    run.exclude_all(problems)
    return table[["filename"]].assign(**{
        "class": (table["class"] != NO_FLARE).astype(np.int8), "flare class": table["class"]})


def with_regions(table: pd.DataFrame, run: StageRun) -> pd.DataFrame:
    """Add region and time of each image; exclude names that give no region and time."""
    parsed = parse_image_names(table["filename"])
    placed = ((parsed["region"] != "") & parsed["time"].notna()).to_numpy()
    for name in table["filename"][~placed]:
        run.exclude(name, NOT_A_NAME, "no region and time in it", subject="images")
    return table.assign(region=parsed["region"].to_numpy(), time=parsed["time"].to_numpy())[placed]


def join_extra_features(filenames: pd.Series, extra: pd.DataFrame, run: StageRun) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the extra features of the images that have them, and which images these are."""
    keys = image_stems(filenames)
    places = extra.index.get_indexer(keys)
    found = places >= 0
    for name in filenames[~found]:
        run.exclude(name, "no row in the extra feature file", subject="images")
    for name in extra.index.difference(pd.Index(keys)):
        run.exclude(name, "extra features without an image", subject="rows")
    return extra.iloc[places[found]], found


# ---- training


def scale_rows(rows: Rows, training: np.ndarray) -> Scaling:
    """Scale all rows in place by the range of the training rows, given by their numbers."""
    scaling = fit_scaling(rows.values[training])
    scaling.apply(rows.values, out=rows.values)
    return scaling


def rows_to_fit(user: UserDefinitions, labels: pd.DataFrame, training: np.ndarray, seed: int) -> np.ndarray:
    """Return the numbers of the rows that are fitted: all training rows, but for the rbf SVM at most max_rbf_rows."""
    if user.class_type == "rbf" and len(training) > user.max_rbf_rows:
        training = training[draw_rows(labels.iloc[training], user.max_rbf_rows, seed)]
    flaring = int(labels["class"].iloc[training].sum())
    if not 0 < flaring < len(training):
        raise UserError(f"training: expected images with and without a flare, got {flaring:,} with and "
                        f"{len(training) - flaring:,} without; check lists, flare_size and max_rbf_rows, or add images")
    return training


def train(user: UserDefinitions, rows: Rows, used: np.ndarray, training_rows: int, run: StageRun) -> Any:
    """Fit the classifier to scaled rows, given by their numbers, and report how well."""
    if len(used) < training_rows:
        run.report(f"ATTENTION: the rbf SVM is fitted to {len(used):,} of the {training_rows:,} training rows, "
                   "drawn in proportion from every region (max_rbf_rows); its time grows with the square of the rows")
    run.report(f"Fitting the {CLASS_TYPES[user.class_type]} to {counted(len(used), 'rows')}")
    estimator = fit(user, rows.values[used], rows.labels["class"].to_numpy()[used], user.seed)
    run.count("rows fitted", len(used))
    if user.class_type == "linear":
        share = estimator.duality_gap_ / estimator.objective_
        run.report(f"Objective {estimator.objective_:.8g}, at most {share:.1e} of it above the optimum (relative "
                   f"duality gap), {counted(estimator.n_iter_, 'steps')}")
        run.counts |= {"objective": estimator.objective_, "relative duality gap": share}
    return estimator


def fit(user: UserDefinitions, values: np.ndarray, classes: np.ndarray, seed: int) -> Any:
    """Fit the classifier to scaled rows; UserError where it did not converge."""
    estimator = fit_classifier(user.class_type, values, classes, user.C, seed)
    if user.class_type == "linear" and (share := estimator.duality_gap_ / estimator.objective_) > LARGEST_GAP:
        raise UserError(f"C: the linear SVM did not converge with C {user.C:g}: relative duality gap {share:.1e}, "
                        f"allowed {LARGEST_GAP:g}; take a smaller C")
    return estimator


def evaluate(user: UserDefinitions, forecast: pd.DataFrame, past: dict[str, Any],
             **options: Any) -> tuple[dict, pd.DataFrame, Any]:
    """Return the evaluation of a forecast, the calibrated forecast, and its calibration.

    `past` is what the rules to beat know of the past: the events and summaries, or None.
    """
    rows, calibration = calibrate(forecast)
    report = evaluate_forecast(rows, CLASS_TYPES[user.class_type], "decision at 0", calibration, target_of(user),
                               seed=user.seed, **past, **options)
    return report, rows, calibration


# ---- repeated splits


def repeat_splits(user: UserDefinitions, rows: Rows, past: dict[str, Any], run: StageRun) -> list[dict]:
    """Train and evaluate on further draws of all regions, each as a run with its seed would on its own."""
    found, regions, classes = [], rows.labels["region"], rows.labels["class"]
    if not user.repeats:
        return found
    run.report(f"Repeated splits: {counted(user.repeats, 'draws')} of the regions, {user.test_percent:g} % test and "
               f"{user.validation_percent:g} % validation, seeds from {user.seed}")
    for seed in run.progress(range(user.seed, user.seed + user.repeats), description="Repeated splits", unit="draws"):
        split = assign_splits(regions, draw_region_split(regions, classes, Draw(
            user.test_percent, user.validation_percent, seed)))
        scores = scores_of_draw(user, rows, np.flatnonzero(split == "training"), seed)
        forecast = rows.labels.assign(score=scores, decision=(scores > 0).astype(np.int8), split=split)
        report, _, _ = evaluate(user, forecast, past, draws=0)
        found.append({"seed": seed} | scores_of(report))
        run.note(", ".join(f"{name} {value:.4g}" for name, value in found[-1].items()))
    return found


def scores_of_draw(user: UserDefinitions, rows: Rows, training: np.ndarray, seed: int) -> np.ndarray:
    """Return the decision values of all rows, of a classifier fitted to the training rows; `rows` are not scaled.

    A million rows of 119 columns are a gigabyte: besides them only the training rows stand in memory, scaled in place.
    """
    used = rows_to_fit(user, rows.labels, training, seed)
    values = rows.values[training]
    scaling = fit_scaling(values)
    values = values if len(used) == len(training) else rows.values[used]
    estimator = fit(user, scaling.apply(values, out=values), rows.labels["class"].to_numpy()[used], seed)
    del values
    return np.concatenate([decision_values(estimator, scaling.apply(rows.values[start:start + ROWS_A_BLOCK]))
                           for start in range(0, len(rows.values), ROWS_A_BLOCK)])


def scores_of(report: dict) -> dict[str, float]:
    """Return the scores of the test images at the classifier's own decision, and the gain in TSS over the best rule."""
    test = report["splits"]["test"]
    scores = {name: value for name, value in next(iter(test["forecasts"].values())).items() if name != "intervals"}
    best = test["differences"].get(report["best_rule"], {"TSS": np.nan})
    return scores | {GAIN: best["TSS"]}


def add_spread(report: dict, draws: list[dict], path: Path, run: StageRun) -> None:
    """Write mean and spread of each score over the draws, beside the one split, and add them to the report."""
    if not draws:
        if path.is_file():
            run.report(f"{path} is of an earlier run with repeats, and stays as it is")
        return
    table = spread_of_draws(draws, scores_of(report))
    write_csv(path, table.reset_index())
    heading = (f"Repeated splits: test images of {counted(len(draws), 'draws')} of the regions, seeds "
               f"{draws[0]['seed']} to {draws[-1]['seed']}, each with its own training and best rule")
    text, short = (f"{heading}\n" + part.rename_axis(None).to_string(float_format="{:.3f}".format, na_rep="not defined")
                   for part in (table, table.loc[["TSS", GAIN]]))
    report["repeats"] = {"text": text.split("\n"), "draws": draws}
    run.report(short)


def spread_of_draws(draws: list[dict], one_split: dict[str, float]) -> pd.DataFrame:
    """Return a row a score; `draws` is in how many it is defined, the others (NaN) do not count."""
    found = pd.DataFrame(draws, columns=list(one_split), dtype=float)
    return pd.DataFrame({"one_split": pd.Series(one_split), "mean": found.mean(), "standard_deviation": found.std(),
                         "smallest": found.min(), "largest": found.max(), "draws": found.count()},
                        index=pd.Index(list(one_split), name="score"))


# ---- outputs


def write_split_tables(outputs: dict[str, Path], rows: Rows, split: np.ndarray, scaling: Scaling,
                       run: StageRun) -> None:
    """Write the scaled tables of each split, image and extra features apart, and the weight file."""
    folder, images = outputs["weights"].parent, len(rows.image_names)
    require_free_space(folder, BYTES_A_NUMBER * rows.values.size, "the tables of the splits")
    run.report(f"Writing the tables of the splits to {folder}")
    for name in SPLIT_FILES:
        part = rows.where(split == name)
        values = pd.DataFrame(part.values, columns=list(rows.names))
        if images:
            write_feature_table(outputs[name], values[list(rows.image_names)].join(part.labels))
        if rows.extra_names:
            write_csv(outputs[f"{name} extra"], part.labels[["filename"]].join(values[list(rows.extra_names)]))
    if not images:
        run.report(f"No image features: {outputs['training'].name}, … and {outputs['weights'].name} are not written")
        return
    text = weight_text(Scaling(scaling.minimum[:images], scaling.maximum[:images]))
    if outputs["weights"].is_file() and outputs["weights"].read_text(encoding="utf-8", errors="replace") != text:
        run.report(f"{outputs['weights']} was of another table or split: not used, replaced")
    with atomic_write(outputs["weights"]) as file:
        file.write(text)


def make_model(user: UserDefinitions, rows: Rows, split: np.ndarray, **fitted: Any) -> FlareModel:
    """Put together all that a forecast needs; `fitted` are estimator, scaling, calibration and validation_threshold."""
    names = rows.labels["filename"] if rows.image_names else pd.Series(dtype="str")
    ends = names.str[-8:].drop_duplicates()  # a few to match, not a million
    endings = set(ends.str.extract(r"\.(fits|png)(?:\.gz)?$", flags=re.IGNORECASE)[0].str.lower())
    target = target_of(user)
    return FlareModel(
        **fitted, class_type=user.class_type, feature_names=rows.image_names, extra_feature_names=rows.extra_names,
        typical=rows.values[split == "training"].mean(axis=0),
        **target.counts() | {"flare_window_hours": target.window_hours},
        image_format=endings.pop() if endings in ({"fits"}, {"png"}) else "",
        limits=dataset_limits(source_of(user)),
        flare_sources=flare_sources(user))


def dataset_limits(source: Path) -> dict[str, float]:
    """Return the limits of the images, as far as the sidecar of their table, or of their labels, tells."""
    pixels = (read_sidecar(source) or {"counts": {}})["counts"].get("image_pixels", ())
    known = label_counts(source) | dict(zip(LIMITS[2:], pixels, strict=False))
    return {name: float(known[name]) for name in LIMITS if isinstance(known.get(name), int | float)}


def write_weights(outputs: dict[str, Path], model: FlareModel, rows: Rows) -> None:
    """Write each feature's contribution: a figure, and the table of weights with which a linear classifier decides."""
    sample = rows.values[draw_rows(rows.labels, SAMPLE_ROWS, seed=0)]
    write_weight_figure(outputs["weight_figure"], model.estimator, sample, rows.names, CLASS_TYPES[model.class_type])
    if model.class_type in ("linear", "logistic"):
        table = pd.DataFrame({"feature": model.names, "minimum": model.scaling.minimum, "range": model.scaling.width,
                              "weight": model.estimator.coef_[0]})
        table.loc[len(table)] = "intercept", np.nan, np.nan, model.estimator.intercept_[0]
        write_csv(outputs["linear_weights"], table)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
