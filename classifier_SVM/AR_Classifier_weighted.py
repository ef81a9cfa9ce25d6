"""Train a flare classifier on the features of images, split by active region, and evaluate it.

Reads
    feature_file          29 features, 0/1 class, flare class, file name (FeaturesetTools), of stage 4 or published
    label_file            `filename,class` a line, in place of `feature_file` "": the extra features are all there is
    extra_feature_file    header `filename,...`, further numbers by image, joined by file name (BuildActivityFeatures)
    the three lists       one region number a line; if none exists, a seeded draw is written to `output_dir`
    event_list            `YYYY MM DD,HHMM,NNNN,C5.7`, for the persistence rows; without it they are "not available"

Writes to `output_dir`; {c} is the class type
    Train_Data_by_AR{suffix}.csv, Validation_…, Test_…    29 scaled features, 0/1 class, flare class, file name
    Train_Extra{suffix}.csv, …                            header; file name, scaled extra features
    Weight{suffix}.txt                                    29 lines `min range`: scaled = (value - min) / range
    ARClassifierStats_weighted_trainvaltest_{c}{suffix}.txt, .json    verdict; TPR, TNR, HSS, TSS, AUC, Brier, BSS
                                                          (95 % intervals over regions) for test, validation, training,
                                                          beside climatology and persistence
    …_model.skops, …_model.pickle                         the trained classifier; .skops loads without running code
    feature_weights_{c}{suffix}.csv                       feature,minimum,range,weight of linear classifiers: decision
                                                          value = sum of weight x (value - minimum) / range + intercept
    predictions_{c}{suffix}.csv                           filename,class,probability,decision,split
    scores_{c}{suffix}.png, roc_…, reliability_…, feature_weights_…

Classes are weighted inversely to their frequency; hinge loss, C as in libsvm, the intercept is not penalised. rbf is
fitted to at most `max_rbf_rows`. The decision is at 0 whatever the calibration says; calibration and the second
threshold are chosen on the validation rows, and the test rows choose nothing.

Usage
    python classifier_SVM/AR_Classifier_weighted.py
    python classifier_SVM/AR_Classifier_weighted.py --flare-size M1.0 --suffix _M1 --class-type gradient_boosting

References
    Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825.
"""

import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import Field

from classifier_SVM.FeaturesetTools import FLARE_SOURCES, Scaling, fit_scaling, weight_text, write_feature_table
from classifier_SVM.training.classifiers import CLASS_TYPES, decision_values, draw_rows, fit_classifier
from classifier_SVM.training.figures import write_weight_figure
from classifier_SVM.training.model_file import LIMITS, FlareModel, save_model
from classifier_SVM.training.training_rows import Rows, read_rows
from general_code.evaluation.evaluate import (
    SPLIT_FILES,
    calibrate,
    evaluate_forecast,
    flare_text,
    forecast_rows,
    report_splits,
)
from general_code.evaluation.report import write_evaluation
from general_code.evaluation.scores import Calibration
from general_code.evaluation.splits import (
    Draw,
    RegionLists,
    assign_splits,
    choose_lists,
    read_region_lists,
    report_unlisted,
)
from general_code.images.label_file import label_counts, label_size, label_window_hours
from general_code.noaa.flares import DEFAULT_EVENT_LIST, OptionalFlareSize, optional_event_list
from general_code.stage.files import (
    UserError,
    atomic_write,
    check_all,
    counted,
    is_set,
    refuse_inputs,
    require_file,
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
    test_percent: Percent = 10.0  # of the regions, for a draw when none of the lists exists [%]
    validation_percent: Percent = 10.0  # of the regions, for a draw [%]
    redraw: bool = False  # True: draw the regions again, in place of the lists drawn before into output_dir
    seed: Seed = 0  # of the draws and the bootstrap
    C: Annotated[float, Field(gt=0, le=1e12)] = 1.0  # cost of a row on the wrong side, as in libsvm; larger fits closer
    max_rbf_rows: Annotated[int, Field(ge=2)] = 20000  # training rows of the rbf SVM; more are drawn by region
    event_list: OptionalPath = "data/eventList.txt"  # flares for the persistence rows; "": none
## End User Definitions


BYTES_A_NUMBER = 24  # of text, file names and classes included
LARGEST_GAP = 1e-3  # of the objective: beyond it the linear SVM is not the one that was asked for


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    require_address_space()
    outputs = output_paths(user)
    lists = user.test_ar_list, user.validation_ar_list, user.train_ar_list
    inputs = [user.feature_file, user.label_file, user.extra_feature_file, user.event_list, *lists]
    refuse_inputs(outputs.values(), inputs)
    check_inputs(user, lists)
    with stage_run(user, output=outputs["statistics"], inputs=inputs) as run:
        rows = read_features(user, run)
        events = optional_event_list(user.event_list, run)
        draw = Draw(user.test_percent, user.validation_percent, user.seed, user.redraw)
        regions = choose_lists(rows.labels["region"], rows.labels["class"], list_files=lists,
                               output_dir=user.output_dir, draw=draw, run=run)
        rows, split = split_rows(rows, regions, run)
        rows, scaling = scale_rows(rows, split == "training")
        estimator = train(user, rows.where(split == "training"), run)
        run.report("Forecasting all rows, scores with bootstrap over regions")
        scores = decision_values(estimator, rows.values)
        forecast, calibration = calibrate(forecast_rows(rows.labels["filename"], rows.labels["class"], scores,
                                                        scores > 0, split))
        report = evaluate(user, forecast, calibration, events, run)
        write_split_tables(outputs, rows, split, scaling, run)
        model = make_model(user, rows, split, estimator=estimator, scaling=scaling, calibration=calibration,
                           threshold=report["validation_threshold"])
        save_model(outputs["model"], model)
        write_weights(outputs, model, rows.where(split != "test"))
        write_evaluation(report, forecast, outputs["statistics"], f"{user.class_type}{user.suffix}", run)


def output_paths(user: UserDefinitions) -> dict[str, Path]:
    """Return the paths of the outputs by what they hold."""
    kind = f"{user.class_type}{user.suffix}"
    stem = f"ARClassifierStats_weighted_trainvaltest_{kind}"
    names = {"statistics": f"{stem}.txt", "model": f"{stem}_model", "weights": f"Weight{user.suffix}.txt",
             "predictions": f"predictions_{kind}.csv", "weight_figure": f"feature_weights_{kind}.png",
             "linear_weights": f"feature_weights_{kind}.csv"}
    for split, word in SPLIT_FILES.items():
        names |= {split: f"{word}_Data_by_AR{user.suffix}.csv", f"{split} extra": f"{word}_Extra{user.suffix}.csv"}
    return {key: user.output_dir / name for key, name in names.items()}


def check_inputs(user: UserDefinitions, lists: tuple[Path, Path, Path]) -> None:
    """Raise one UserError that names all inputs that are missing."""
    files = {"feature_file": user.feature_file, "extra_feature_file": user.extra_feature_file}
    files |= {} if is_set(user.feature_file) else {"label_file": user.label_file}
    files |= {} if user.event_list == DEFAULT_EVENT_LIST else {"event_list": user.event_list}
    check_all(*(partial(require_file, path, setting) for setting, path in files.items() if is_set(path)),
              partial(read_region_lists, *lists, user.output_dir))


def source_of(user: UserDefinitions) -> Path:
    """Return the file that names images and classes."""
    return user.feature_file if is_set(user.feature_file) else user.label_file


def flares_of(user: UserDefinitions) -> tuple[str, float]:
    """Return smallest flare that counts, "" where not known, and window [h], NaN where not known: in all outputs."""
    return user.flare_size or label_size(source_of(user)), label_window_hours(source_of(user))


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
    report_older_table(user.feature_file, run)
    return rows


def report_older_table(feature_file: Path, run: StageRun) -> None:
    """Warn when the labels that stage 4 put into the table were written again since."""
    sidecar = Path(f"{feature_file}.json")
    labels = Path((read_sidecar(feature_file) or {"settings": {}})["settings"].get("label_file", ""))
    if is_set(feature_file) and labels.is_file() and labels.stat().st_mtime > sidecar.stat().st_mtime:
        run.report(f"ATTENTION: {labels} was written after {feature_file}, whose labels may be others; start "
                   "BuildMasterFeatureSet_mp.py again to use the new ones")


def split_rows(rows: Rows, lists: RegionLists, run: StageRun) -> tuple[Rows, np.ndarray]:
    """Return the rows of regions in a list, and the split of each: "test", "validation" or "training"."""
    report_unlisted(rows.labels["region"], lists, run)
    split = assign_splits(rows.labels["region"], lists)
    for name in rows.labels["filename"][split == ""]:
        run.exclude(name, "region in no list", subject="images")
    rows, split = rows.where(split != ""), split[split != ""]
    report_splits(rows.labels["region"], rows.labels["class"], split, run)
    return rows, split


def scale_rows(rows: Rows, training: np.ndarray) -> tuple[Rows, Scaling]:
    """Scale all rows by the range of the training rows, which must hold two classes."""
    classes = rows.labels["class"][training]
    if not 0 < classes.sum() < len(classes):
        raise UserError(f"training: expected images with and without a flare, got {int(classes.sum()):,} with and "
                        f"{int(len(classes) - classes.sum()):,} without; check lists and flare_size, or add images")
    scaling = fit_scaling(rows.values[training])
    return replace(rows, values=scaling.apply(rows.values)), scaling


def train(user: UserDefinitions, training: Rows, run: StageRun) -> Any:
    """Fit the classifier to the scaled training rows."""
    used = np.arange(len(training.labels))
    if user.class_type == "rbf" and len(used) > user.max_rbf_rows:
        used = draw_rows(training.labels, user.max_rbf_rows, user.seed)
        run.report(f"ATTENTION: the rbf SVM is fitted to {len(used):,} of the {len(training.labels):,} training rows, "
                   "drawn in proportion from every region (max_rbf_rows); its time grows with the square of the rows")
    run.report(f"Fitting the {CLASS_TYPES[user.class_type]} to {counted(len(used), 'rows')}")
    classes = training.labels["class"].to_numpy()[used]
    if classes.min() == classes.max():
        raise UserError(f"max_rbf_rows {user.max_rbf_rows}: the drawn rows hold one class only; raise it")
    values = training.values if len(used) == len(training.values) else training.values[used]  # no copy of all
    estimator = fit_classifier(user.class_type, values, classes, user.C, user.seed)
    run.count("rows fitted", len(used))
    if user.class_type == "linear":
        share = estimator.duality_gap_ / estimator.objective_
        if share > LARGEST_GAP:
            raise UserError(f"C: the linear SVM did not converge with C {user.C:g}: relative duality gap {share:.1e}, "
                            f"allowed {LARGEST_GAP:g}; take a smaller C")
        run.report(f"Objective {estimator.objective_:.8g}, at most {share:.1e} of it above the optimum (relative "
                   f"duality gap), {counted(estimator.n_iter_, 'steps')}")
        run.counts |= {"objective": estimator.objective_, "relative duality gap": share}
    return estimator


def evaluate(user: UserDefinitions, forecast: pd.DataFrame, calibration: Calibration | None, events: Any,
             run: StageRun) -> dict:
    """Evaluate the forecast at the size and window of its labels, as far as they are known."""
    size, hours = flares_of(user)
    run.counts |= {"flare_size": size, "flare_window_hours": hours if np.isfinite(hours) else ""}
    run.report(f"Forecast: flares of {flare_text(size, hours)}")
    return evaluate_forecast(forecast, CLASS_TYPES[user.class_type], "decision at 0", calibration, size, events=events,
                             seed=user.seed, window_hours=hours)


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


def make_model(user: UserDefinitions, rows: Rows, split: np.ndarray, estimator: Any, scaling: Scaling,
               calibration: Calibration | None, threshold: float) -> FlareModel:
    """Put together all that a forecast from the classifier needs."""
    endings = set(rows.labels["filename"].str.extract(r"\.(fits|png)(?:\.gz)?$", flags=re.IGNORECASE)[0].str.lower())
    sidecar = read_sidecar(user.extra_feature_file) if is_set(user.extra_feature_file) else None
    return FlareModel(
        class_type=user.class_type, estimator=estimator, scaling=scaling, feature_names=rows.image_names,
        extra_feature_names=rows.extra_names, typical=rows.values[split == "training"].mean(axis=0),
        calibration=calibration, validation_threshold=threshold,
        flare_size=flares_of(user)[0], flare_window_hours=flares_of(user)[1],
        image_format=endings.pop() if rows.image_names and endings in ({"fits"}, {"png"}) else "",
        limits=dataset_limits(source_of(user)),
        flare_sources=(sidecar or {"counts": {}})["counts"].get(FLARE_SOURCES, {}))


def dataset_limits(source: Path) -> dict[str, float]:
    """Return the limits of the images, as far as the sidecar of their table, or of their labels, tells."""
    pixels = (read_sidecar(source) or {"counts": {}})["counts"].get("image_pixels", ())
    known = label_counts(source) | dict(zip(LIMITS[2:], pixels, strict=False))
    return {name: float(known[name]) for name in LIMITS if isinstance(known.get(name), int | float)}


def write_weights(outputs: dict[str, Path], model: FlareModel, rows: Rows) -> None:
    """Write each feature's contribution: a figure, and the table of weights with which a linear classifier decides."""
    write_weight_figure(outputs["weight_figure"], model.estimator, rows, model.typical, CLASS_TYPES[model.class_type])
    if model.class_type in ("linear", "logistic"):
        table = pd.DataFrame({"feature": model.names, "minimum": model.scaling.minimum, "range": model.scaling.width,
                              "weight": model.estimator.coef_[0]})
        table.loc[len(table)] = "intercept", np.nan, np.nan, model.estimator.intercept_[0]
        write_csv(outputs["linear_weights"], table)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
