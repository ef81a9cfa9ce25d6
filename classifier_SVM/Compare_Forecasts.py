"""Compare forecasts on the same test images, beside the rows that use no image: one table, one figure.

Every table begins with climatology and persistence over 24 h and 48 h (for M1.0 also "a flare >= C1.0 in the past", a
better rule). Intervals are from a bootstrap over regions, gains over the best baseline from the paired bootstrap. Two
further tables: images after 24 quiet hours (a first flare?), and within 24 h of a flare (was it the last?).

Reads
    label_file      `filename,class` a line, class `0` or e.g. `C4.7`: the truth at every flare size
    predictions     CSV files with a header and the columns `filename`, `probability` (0 to 1, or empty) and, if there
                    is one, `decision` (0/1), separated by commas, semicolons or tabs; images are matched by region,
                    time and camera. Without a flare size in its name it is for the first of flare_sizes
    lists of regions, event_list    as for AR_Classifier_weighted.py

TSS and HSS rate `decision` where a file has one in every row, else `probability` above the threshold of largest TSS on
its validation rows; the table names which. With an empty probability on a test image a forecast has no AUC and no BSS.
A test image that one file lacks is skipped for all. A subset has its own climatology, baseline and, for each file with
probabilities, a second row at the threshold of largest TSS on its validation images.

Writes
    comparison_file    CSV with header: flare_size, subset, forecast, decision_rule, regions, images, flaring_images,
                       climatology, then TSS, HSS, AUC, BSS, each with _low and _high (95 %); baseline (of largest TSS
                       on training and validation), TSS_gain, HSS_gain over it with _low and _high
    ..._differences.csv    flare_size, subset, forecast, against (a file named before it), then the differences of TSS,
                       HSS, AUC, BSS, forecast minus against, each with _low and _high (95 %, paired bootstrap)
    beside it          the tables for reading (`.md`), the figure (`.png`), `.json`, `.excluded.csv`, `.log`

Usage
    python classifier_SVM/Compare_Forecasts.py --predictions "image features=results/SVM/predictions_linear.csv" \\
        "mine@M1.0=my_forecast.csv"

References
    Barnes et al. 2016, ApJ 829, 89 (comparing forecasts on common data); Leka et al. 2019, ApJ 881, 101 (changes of
    state).
"""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import AfterValidator, Field, PositiveInt

from classifier_SVM.comparison.forecasts import (
    RANDOM_WEIGHTS,
    Comparison,
    Forecast,
    compare_forecasts,
    read_forecast,
    write_comparison,
)
from general_code.evaluation.evaluate import flare_text
from general_code.evaluation.splits import RegionLists, assign_splits, read_region_lists, report_unlisted
from general_code.images.label_file import label_size, label_window_hours, read_label_file
from general_code.noaa.flares import (
    DEFAULT_EVENT_LIST,
    EventList,
    FlareSize,
    optional_event_list,
    peak_flux,
    peak_fluxes,
)
from general_code.stage.files import UserError, check_all, counted, is_set, refuse_inputs, require_file
from general_code.stage.run import OptionalPath, Seed, Settings, StageRun, command_line, stage_main, stage_run


def check_csv(path: Path) -> Path:
    """Return a path that ends in .csv."""
    if path.suffix.lower() != ".csv":
        raise ValueError(f"expected a name that ends in .csv, got '{path}'")
    return path


def check_distinct(sizes: tuple[str, ...]) -> tuple[str, ...]:
    """Return flare sizes, each once."""
    if len({peak_flux(size) for size in sizes}) < len(sizes):
        raise ValueError(f"expected different sizes like C1.0 M1.0, got {' '.join(sizes)}")
    return sizes


FlareSizes = Annotated[tuple[FlareSize, ...], Field(min_length=1), AfterValidator(check_distinct)]
CsvPath = Annotated[Path, AfterValidator(check_csv)]


## User Definitions
class UserDefinitions(Settings):
    label_file: Path = "data/Labels.txt"  # truth: classes of the largest flare in the window
    flare_sizes: FlareSizes = ("C1.0", "M1.0")  # smallest flares that count, one table each
    predictions: tuple[str, ...] = ("SVM=results/SVM/predictions_linear.csv",)  # NAME=FILE, or e.g. NAME@M1.0=FILE
    test_ar_list: Path = "data/List_of_AR_in_Test_Data_by_AR.csv"  # regions of the test set
    validation_ar_list: Path = "data/List_of_AR_in_Validation_data_by_AR.csv"  # of the validation set
    train_ar_list: OptionalPath = "data/List_of_AR_in_Train_Data_by_AR.csv"  # training regions; missing: all others
    split_dir: Path = "results/SVM"  # where the lists are taken from when none of them is in its place
    event_list: OptionalPath = "data/eventList.txt"  # flares, for persistence and the state changes; "": none
    bootstrap_samples: PositiveInt = 1000  # samples of regions for the intervals
    seed: Seed = 0  # of the bootstrap
    comparison_file: CsvPath = "results/comparison.csv"  # output
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Compare the forecasts."""
    scores = user.comparison_file
    outputs = scores, *(scores.with_name(scores.stem + end) for end in ("_differences.csv", ".md", ".png"))
    predictions = [Path(entry.partition("=")[2].strip()).expanduser() for entry in user.predictions]
    inputs = [user.label_file, user.event_list, user.test_ar_list, user.validation_ar_list, user.train_ar_list,
              *predictions]
    refuse_inputs(outputs, inputs)
    check_inputs(user, predictions)
    forecasts = read_forecasts(user)
    lists = read_lists(user)
    with stage_run(user, output=scores, inputs=inputs) as run:
        images = read_images(user.label_file, user.flare_sizes, lists, run)
        for forecast in forecasts:
            check_forecast(forecast, images, run)
        found = compare_all(user, images, forecasts, optional_event_list(user.event_list, run), run)
        run.report(write_comparison(found, *outputs))
        run.report(f"Tables in {outputs[2]}, figure in {outputs[3]}")


def check_inputs(user: UserDefinitions, predictions: list[Path]) -> None:
    """Raise one UserError that names all inputs that are missing."""
    files = [("label_file", user.label_file), *(("predictions", path) for path in predictions)]
    files += [] if user.event_list == DEFAULT_EVENT_LIST else [("event_list", user.event_list)]
    check_all(*(partial(require_file, path, setting) for setting, path in files if is_set(path)),
              partial(read_lists, user))


def read_forecasts(user: UserDefinitions) -> list[Forecast]:
    """Read the prediction files; UserError when two of a size have one name, or one that of a baseline."""
    forecasts = [read_forecast(entry, user.flare_sizes) for entry in user.predictions]
    taken = set()
    for forecast in forecasts:
        key = (forecast.name, forecast.flare_size)
        if key in taken or forecast.name == "climatology" or forecast.name.startswith("persistence "):
            raise UserError(f"predictions: the name '{forecast.name}' is taken; give every forecast its own")
        taken.add(key)
    return forecasts


def read_lists(user: UserDefinitions) -> RegionLists:
    """Read the lists of regions, from `split_dir` when none is in its place."""
    lists = read_region_lists(user.test_ar_list, user.validation_ar_list, user.train_ar_list, user.split_dir)
    if lists is None:
        raise UserError(f"test_ar_list: expected lists of regions like '{user.test_ar_list}' or, of the same names, in "
                        f"split_dir '{user.split_dir}' (from {Path.cwd()}), found none; set them")
    return lists


def read_images(label_file: Path, flare_sizes: tuple[str, ...], lists: RegionLists, run: StageRun) -> pd.DataFrame:
    """Read the images of the label file by name, with split and peak flux; UserError when labels give no truth."""
    smallest, made_at = min(flare_sizes, key=peak_flux), label_size(label_file)
    if made_at and peak_flux(made_at) > peak_flux(smallest):
        raise UserError(f"flare_sizes: {smallest} is below {made_at}, at which {label_file} was made; make the labels "
                        f"again with --flare-size {smallest}")
    run.report(f"Regions of each split: {lists.source}\nReading the labels, {label_file}: flares of "
               f"{flare_text(made_at, label_window_hours(label_file))}")
    images, problems = read_label_file(label_file)
    run.exclude_all(problems)
    report_unlisted(images["region"], lists, run)
    images["peak_flux"] = peak_fluxes(images["class"])
    images["split"] = assign_splits(images["region"], lists)
    listed = images["split"] != ""
    for region, number in images.loc[~listed, "region"].value_counts().items():
        run.exclude(f"region {region}", "region in no list", counted(number, "images"), "regions")
    return images[listed].set_index("image")[["region", "time", "split", "peak_flux"]]


def check_forecast(forecast: Forecast, images: pd.DataFrame, run: StageRun) -> None:
    """Report what in a file contradicts the labels, and its images without one; UserError if test images trained it."""
    if forecast.name.endswith(RANDOM_WEIGHTS):
        run.report(f"ATTENTION: {forecast.name}: its scores mean nothing")
    test = images[images["split"] == "test"]
    rows = forecast.rows.reindex(test.index)
    used = rows.index[rows["split"].str.startswith(("train", "val"), na=False)] if "split" in rows else ()
    if len(used):
        raise UserError(f"predictions: {forecast.name}: {len(used):,} of the {len(test):,} test images are no test "
                        f"images of the file ('{used[0]}' is {rows['split'][used[0]]}): it was trained with other "
                        "lists of regions; compare with its own (--split-dir), or train it again with these")
    truth = test["peak_flux"] >= peak_flux(forecast.flare_size)
    differing = int((rows["class"].isin((0, 1)) & (rows["class"] != truth)).sum()) if "class" in rows else 0
    if differing:
        run.report(f"ATTENTION: {forecast.name}: the column class of its file differs from the labels at "
                   f"{forecast.flare_size} in {differing:,} test images; is it a forecast of another flare size "
                   f"({forecast.name}@SIZE=FILE)?")
        run.count(f"test images of another class in the file, {forecast.name}, {forecast.flare_size}", differing)
    foreign = int((~forecast.rows.index.isin(images.index)).sum())
    if foreign:
        run.exclude(f"{forecast.name}, {forecast.flare_size}", "forecast without a label",
                    counted(foreign, "images"), "forecasts")


def compare_all(user: UserDefinitions, images: pd.DataFrame, forecasts: list[Forecast], events: EventList | None,
                run: StageRun) -> Comparison:
    """Compare the forecasts at every flare size; UserError when no test image has all of them."""
    total = Comparison([], [], {})
    for size in user.flare_sizes:
        run.report(f"Scoring the forecasts of flares >= {size}")
        smaller = [other for other in user.flare_sizes if peak_flux(other) < peak_flux(size)]
        found = compare_forecasts(images, forecasts, size, events, smaller, draws=user.bootstrap_samples,
                                  seed=user.seed)
        for name, number in found.lacking.items():
            if number:
                run.exclude(f"{name}, {size}", "test images without this forecast", f"{number:,}, skipped for all",
                            "forecasts")
        if not found.rows[0]["images"]:
            raise UserError(f"predictions: no test image has all forecasts of flares >= {size}; compare fewer files, "
                            "or check their names of images and the lists of regions")
        run.count(f"test images compared, {size}", found.rows[0]["images"])
        total.rows.extend(found.rows)
        total.differences.extend(found.differences)
    return total


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
