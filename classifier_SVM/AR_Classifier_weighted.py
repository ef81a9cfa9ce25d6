"""Train a flare classifier on the features of images, split by active region, and judge it.

Reads
    feature_file          29 features, 0/1 class, flare class, file name (FeaturesetTools), of stage 4 or Dryad
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
    …_model.pickle, …_model.json                          the trained machine; the JSON loads without pickle
    predictions_{c}{suffix}.csv                           filename,class,probability,decision,split
    scores_{c}{suffix}.png, roc_…, reliability_…, feature_weights_…

Classes are weighted inversely to their frequency; hinge loss, C as in libsvm, the intercept is not penalised.
linear: the exact optimum over all training rows (linear_svm.py), seconds. rbf: libsvm on at most `max_rbf_rows`.
gradient_boosting: scikit-learn's histogram boosting. The decision is at 0 whatever the calibration says; calibration
and the second threshold are chosen on the validation rows, and the test rows choose nothing.

Usage
    python classifier_SVM/AR_Classifier_weighted.py
    python classifier_SVM/AR_Classifier_weighted.py --flare-size M1.0 --suffix _M1 --class-type gradient_boosting

References
    Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from classifier_SVM.activity_sources import FLARE_SOURCES
from classifier_SVM.extra_features import write_extra_features
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, write_feature_table
from classifier_SVM.machines import CLASS_TYPES, Machine, draw_rows, fit_machine, plain_machine
from classifier_SVM.model_file import FlareModel, current_versions, save_model
from classifier_SVM.scaling import Scaling, fit_scaling, weight_text
from classifier_SVM.split_images import choose_regions, split_rows
from classifier_SVM.training_rows import Rows, read_rows
from classifier_SVM.weight_figure import write_weight_figure
from general_code.drawn_lists import write_drawn_lists
from general_code.event_list import optional_event_list
from general_code.flares import EventList
from general_code.forecast_calibration import Calibration
from general_code.forecast_evaluation import calibrate, evaluate_forecast, flare_text, forecast_rows
from general_code.forecast_report import summary_lines, write_evaluation
from general_code.label_file import STAGE_3_FLARE_SIZE, label_size, label_window_hours
from general_code.region_splits import SPLIT_FILES
from general_code.stage_files import OptionalPath, UserError, atomic_write, given, refuse_inputs, require_free_space
from general_code.stage_run import StageRun, read_sidecar, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings; every one can be overridden for one run, e.g. `--flare-size M1.0`."""

    feature_file: OptionalPath = Path("results/features.csv")  # feature table; "": train on the extra features alone
    label_file: Path = Path("data/Labels.txt")  # labels, read only when feature_file is ""
    extra_feature_file: OptionalPath = Path("")  # further features by file name; "": none
    output_dir: Path = Path("results/SVM")  # folder of all outputs
    suffix: str = ""  # added to the names of the outputs
    class_type: Literal["linear", "rbf", "logistic", "gradient_boosting"] = "linear"  # the classifier
    flare_size: str = ""  # smallest flare that counts, e.g. M1.0; "": the table's 0/1 column (any label but 0)
    test_ar_list: Path = Path("data/List_of_AR_in_Test_Data_by_AR.csv")  # regions of the test set
    validation_ar_list: Path = Path("data/List_of_AR_in_Validation_data_by_AR.csv")  # regions of the validation set
    train_ar_list: OptionalPath = Path("data/List_of_AR_in_Train_Data_by_AR.csv")  # training; missing: all others
    test_percent: float = 10.0  # of the regions, for a draw when none of the lists exists [%]
    validation_percent: float = 10.0  # of the regions, for a draw [%]
    seed: int = 0  # of the draws and the bootstrap
    C: float = 1.0  # cost of a row on the wrong side, as in libsvm; larger fits closer
    max_rbf_rows: int = 20000  # training rows of the rbf SVM; more are drawn by region
    event_list: OptionalPath = Path("data/eventList.txt")  # flares for the persistence rows; "": none
## End User Definitions


BYTES_A_NUMBER = 24  # of text, file names and classes included


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    inputs = [user.feature_file, user.label_file, user.extra_feature_file, user.event_list, user.test_ar_list,
              user.validation_ar_list, user.train_ar_list]
    _check_settings(user, inputs)
    with stage_run(user, output=_outputs(user)["statistics"], inputs=inputs) as run:
        rows = _read_features(user, run)
        events = optional_event_list(user.event_list, run)
        lists, drawn = choose_regions(rows, (user.test_ar_list, user.validation_ar_list, user.train_ar_list),
                                      (user.test_percent, user.validation_percent), user.seed, user.output_dir,
                                      _outputs(user)["statistics"], run)
        rows, split = split_rows(rows, lists, run)
        training = split == "training"
        _check_training(rows.labels["class"][training])
        scaling = fit_scaling(rows.values[training])
        _say_foreign_weights(user, rows, scaling, run)
        rows = replace(rows, values=scaling.apply(rows.values))
        machine, estimator = _train(user, rows.where(training), run)
        forecast, calibration, report = _judge(user, rows, split, machine, estimator, events, run)
        _write_split_tables(user, rows, split, scaling, run)
        _write_model(user, rows, split, FlareModel(
            user.class_type, machine, scaling, rows.image_names, rows.extra_names, rows.values[training].mean(axis=0),
            calibration, report["validation_threshold"], run.counts["flare_size"], report["flare_window_hours"],
            _image_format(rows), _flare_sources(user.extra_feature_file), current_versions()), estimator)
        _write_scores(user, report, forecast, run)
        if drawn:
            run.counts["drawn_lists"] = write_drawn_lists(drawn)


def _outputs(user: UserDefinitions) -> dict[str, Path]:
    """Return the paths of the outputs by what they hold."""
    stem = f"ARClassifierStats_weighted_trainvaltest_{user.class_type}{user.suffix}"
    names = {"statistics": f"{stem}.txt", "model": f"{stem}_model", "weights": f"Weight{user.suffix}.txt",
             "predictions": f"predictions_{user.class_type}{user.suffix}.csv",
             "weight_figure": f"feature_weights_{user.class_type}{user.suffix}.png"}
    names |= {split: f"{word}_Data_by_AR{user.suffix}.csv" for split, word in SPLIT_FILES.items()}
    names |= {f"{split} extra": f"{word}_Extra{user.suffix}.csv" for split, word in SPLIT_FILES.items()}
    return {key: user.output_dir / name for key, name in names.items()}


def _check_settings(user: UserDefinitions, inputs: list[Path]) -> None:
    """Raise UserError for settings that cannot be, and for an output that is an input."""
    if user.seed < 0:
        raise UserError(f"seed: expected a number from 0, got {user.seed}")
    if not 0 < user.C < float("inf") or user.max_rbf_rows < 2:
        raise UserError(f"expected a finite C above 0 and max_rbf_rows from 2, got C={user.C}, "
                        f"max_rbf_rows={user.max_rbf_rows}")
    if set(user.suffix) & set('/\\:*?"<>|'):
        raise UserError(f"suffix: expected letters that a file name may have, got '{user.suffix}'")
    if given(user.event_list) and user.event_list.is_dir():
        raise UserError(f"event_list: expected a file, '{user.event_list}' is a folder; name a list, or \"\" for none")
    refuse_inputs(_outputs(user).values(), inputs)


def _read_features(user: UserDefinitions, run: StageRun) -> Rows:
    """Read features and labels, say how many."""
    source = user.feature_file if given(user.feature_file) else user.label_file
    run.say(f"Reading {source}" + (f" and {user.extra_feature_file}" if given(user.extra_feature_file) else ""))
    rows = read_rows(user.feature_file, user.label_file, user.extra_feature_file, user.flare_size, run)
    flaring = int(rows.labels["class"].sum())
    run.say(f"{len(rows.labels):,} images of {rows.labels['region'].nunique():,} regions, {flaring:,} with a flare "
            f"({user.flare_size or 'any label but 0'}), {len(rows.names)} features")
    run.count("images", len(rows.labels))
    run.count("images with a flare", flaring)
    return rows


def _check_training(classes) -> None:
    """Raise UserError unless the training rows hold two classes."""
    if not 0 < classes.sum() < len(classes):
        raise UserError(f"training: expected images with and without a flare, got {int(classes.sum()):,} with and "
                        f"{int(len(classes) - classes.sum()):,} without; check lists and flare_size, or add images")


def _say_foreign_weights(user: UserDefinitions, rows: Rows, scaling: Scaling, run: StageRun) -> None:
    """Say when the weight file of an earlier run belongs to another table: it is replaced, never used."""
    path = _outputs(user)["weights"]
    if path.is_file() and (not rows.image_names or path.read_bytes() != _image_weights(scaling).encode()):
        fate = "replaced" if rows.image_names else "left as it is"
        run.say(f"{path} is of another table or split: not used, {fate}")


def _image_weights(scaling: Scaling) -> str:
    """Return the weight file's text: the scaling of the 29 image features."""
    images = slice(len(FEATURE_NAMES))
    return weight_text(Scaling(scaling.minimum[images], scaling.maximum[images]))


def _train(user: UserDefinitions, training: Rows, run: StageRun) -> tuple[Machine, Any]:
    """Fit the classifier to the scaled training rows; return it in plain form and as scikit-learn fits it."""
    used = np.arange(len(training.labels))
    if user.class_type == "rbf" and len(used) > user.max_rbf_rows:
        used = draw_rows(training.labels, user.max_rbf_rows, user.seed)
        run.say(f"ATTENTION: the rbf SVM is fitted to {len(used):,} of the {len(training.labels):,} training rows, "
                "drawn in proportion from every region (max_rbf_rows); its time grows with the square of the rows")
    run.say(f"Fitting the {CLASS_TYPES[user.class_type]} to {len(used):,} rows")
    classes = training.labels["class"].to_numpy()[used]
    if classes.min() == classes.max():
        raise UserError(f"max_rbf_rows {user.max_rbf_rows}: the drawn rows hold one class only; raise it")
    values = training.values if len(used) == len(training.values) else training.values[used]
    estimator = fit_machine(user.class_type, values, classes, user.C, user.seed)
    run.counts["rows fitted"] = len(used)
    if user.class_type == "linear":
        run.say(f"Objective {estimator.objective_:.8g}, at most {estimator.duality_gap_ / estimator.objective_:.1e} of "
                f"it above the optimum (duality gap), {estimator.n_iter_} steps")
        run.counts |= {"objective": estimator.objective_, "duality gap": estimator.duality_gap_}
    return plain_machine(estimator), estimator


def _write_split_tables(user: UserDefinitions, rows: Rows, split: np.ndarray, scaling: Scaling, run: StageRun) -> None:
    """Write the scaled tables of each split, image and extra features apart, and the weight file."""
    paths, images = _outputs(user), len(rows.image_names)
    require_free_space(user.output_dir, BYTES_A_NUMBER * rows.values.size, "the tables of the splits")
    run.say(f"Writing the tables of the splits to {user.output_dir}")
    if not images:
        run.say(f"No image features: {paths['training'].name}, … and {paths['weights'].name} are not written")
    for name in SPLIT_FILES:
        part = rows.where(split == name)
        if images:
            table = part.labels.drop(columns="region")
            for number, feature in enumerate(rows.image_names):
                table[feature] = part.values[:, number]
            write_feature_table(paths[name], table)
        if rows.extra_names:
            write_extra_features(paths[f"{name} extra"], part.labels["filename"], part.values[:, images:],
                                 rows.extra_names)
    if images:
        with atomic_write(paths["weights"]) as file:
            file.write(_image_weights(scaling))


def _judge(user: UserDefinitions, rows: Rows, split: np.ndarray, machine: Machine, estimator: Any,
           events: EventList | None, run: StageRun) -> tuple[pd.DataFrame, Calibration | None, dict]:
    """Forecast all rows and judge the forecast."""
    run.say("Forecasting all rows, calibrating on validation, scores with bootstrap over regions")
    fast = machine if user.class_type == "rbf" else estimator  # the same values; libsvm's own are slower, trees faster
    scores = fast.decision_function(rows.values)
    forecast = forecast_rows(rows.labels["filename"], rows.labels["class"], scores, scores > 0, split)
    forecast, calibration = calibrate(forecast)
    source = user.feature_file if given(user.feature_file) else user.label_file
    size, hours = user.flare_size or label_size(source), label_window_hours(source)
    run.counts |= {"flare_size": size, "flare_window_hours": hours if np.isfinite(hours) else ""}
    run.say(f"Forecast: flares of {flare_text(size or STAGE_3_FLARE_SIZE, hours)}")
    remarks = [] if size else ["No sidecar tells from which size on flares were labelled: persistence counts those of "
                               f"{STAGE_3_FLARE_SIZE} or larger"]
    return forecast, calibration, evaluate_forecast(
        forecast, CLASS_TYPES[user.class_type], "decision at 0", calibration, size or STAGE_3_FLARE_SIZE, events,
        remarks, seed=user.seed, window_hours=hours)


def _image_format(rows: Rows) -> str:
    """What the image features were computed from, as the names' extension tells; "" where it does not."""
    if not rows.image_names:
        return ""
    endings = set(rows.labels["filename"].str.extract(r"\.([^.]+)$")[0].str.lower())
    return endings.pop() if endings in ({"fits"}, {"png"}) else ""


def _flare_sources(extra_feature_file: Path) -> dict:
    """What the flares in the extra features were read from, as the sidecar of that file tells; empty without one."""
    if not given(extra_feature_file):
        return {}
    return (read_sidecar(extra_feature_file) or {}).get("counts", {}).get(FLARE_SOURCES, {})


def _write_model(user: UserDefinitions, rows: Rows, split: np.ndarray, model: FlareModel, estimator: Any) -> None:
    """Write the model, and the figure of what each feature contributes to it."""
    paths = _outputs(user)
    save_model(paths["model"], model, estimator)
    write_weight_figure(paths["weight_figure"], model.machine, rows.where(split != "test"), model.typical,
                        CLASS_TYPES[user.class_type], user.seed)


def _write_scores(user: UserDefinitions, report: dict, forecast: pd.DataFrame, run: StageRun) -> None:
    """Write predictions, statistics and figures; say what the forecast is worth."""
    paths = _outputs(user)
    write_evaluation(report, forecast, paths["statistics"], paths["predictions"], f"{user.class_type}{user.suffix}")
    for line in [*report["remarks"], f"Scores of all splits in {paths['statistics']}", *summary_lines(report)]:
        run.say(line)


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
