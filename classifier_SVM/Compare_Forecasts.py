"""Compare forecasts on the same test images, beside the rows that use no image; and with official ones of the disk.

Every table begins with climatology, persistence over 24 h and 48 h (for M1.0 also "a flare >= C1.0 in the past", a
better rule), and the rates by past flares and by McIntosh class. Two further tables: images after 24 quiet hours (a
first flare?), and within 24 h of a flare (was it the last?). With `disk_forecasts` a table of the whole disk, day by
day, stands first. Intervals are from a bootstrap over regions (the disk: over blocks of 27 days), paired for gains and
differences.

Reads
    label_file      `filename,class` a line, class `0` or e.g. `C4.7`: the truth at every flare size
    predictions     CSV files with a header and the columns `filename`, `probability` (0 to 1, or empty) and, if there
                    is one, `decision` (0/1), separated by commas, semicolons or tabs; images are matched by region,
                    time and camera. Without a flare size in its name it is for the first of flare_sizes
    lists of regions, event_list, srs_dir    as for AR_Classifier_weighted.py; the whole disk needs a split by time
    disk_forecasts  official probabilities of a flare anywhere on the disk, two forms: CSV with the columns issue_time
                    (ISO, UTC), window_hours, flare_size, probability (0 to 1, or percent); or a line an issue: year
                    month day hour minute, percentages >= M1.0 of day 1, 2, ..., then >= X1.0 (Murray et al. 2017)
    events_dir      event reports, for disk_forecasts: all flares of the Sun

TSS and HSS rate `decision` where a file has one in every row, else `probability` above the threshold of largest TSS on
its validation rows; the table names which. With an empty probability on a test image a forecast has no AUC and no BSS.
A test image that one file lacks is skipped for all. A subset has its own climatology, baseline and, for each file with
probabilities, a second row at the threshold of largest TSS on its validation images.

Writes
    comparison_file    CSV: flare_size, subset, forecast, decision_rule, regions, images, flaring_images, climatology;
                       TSS, HSS, AUC, BSS; baseline (of largest TSS on training and validation), TSS_gain, HSS_gain
                       over it. Every score and gain has _low and _high (95 %)
    ..._differences.csv    flare_size, subset, forecast, against (a file named before it), differences of the scores
    ..._disk.csv       flare_size, window_hours, forecast, against (a forecast: the scores are differences; "-": its
                       own), days, flaring_days, first_day, last_day, climatology; BSS, AUC, Brier, TSS; reliability,
                       resolution, uncertainty; BSS_of_these_days (against their own frequency)
    beside it          the tables for reading (`.md`); figures: `.png` (first size, all test images), ..._M1.0.png,
                       ..._C1.0_first_flare.png, ..., ..._disk.png; `.json`, `.excluded.csv`, `.log`

Usage
    python classifier_SVM/Compare_Forecasts.py --predictions "image features=results/SVM/predictions_linear.csv" \\
        "mine@M1.0=my_forecast.csv"
    python classifier_SVM/Compare_Forecasts.py --predictions "mine@M1.0=results/SVM/predictions_logistic_M1.0.csv" \\
        --disk-forecasts SWPC=SWPC_fcast.txt "Met Office=IFF_fcast.txt"

References
    Barnes et al. 2016, ApJ 829, 89 (comparing forecasts on common data); Leka et al. 2019, ApJ 881, 101 (changes of
    state); Murray et al. 2017, Space Weather 15, 577 (official forecasts).
"""

import sys
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import AfterValidator, Field, PositiveInt

from classifier_SVM.activity.sources import read_solar_flares
from classifier_SVM.comparison.forecasts import (
    BASELINE_NAMES,
    RANDOM_WEIGHTS,
    Comparison,
    Forecast,
    compare_forecasts,
    read_forecast,
)
from classifier_SVM.comparison.full_disk import (
    USUAL_WINDOW_H,
    DiskForecast,
    SolarFlares,
    compare_disk,
    read_disk_forecast,
)
from general_code.evaluation.report import FigureFormat
from general_code.evaluation.splits import IN_NO_LIST, RegionLists, assign_splits, read_region_lists, report_unlisted
from general_code.images.label_file import FlareTarget, label_target, read_label_file
from general_code.noaa.archive import DEFAULT_SRS_DIR, optional_summaries
from general_code.noaa.flares import (
    DEFAULT_EVENT_LIST,
    MODERN,
    REDUCED_UNTIL,
    FlareSize,
    optional_event_list,
    peak_flux,
    peak_fluxes,
)
from general_code.stage.files import UserError, check_all, counted, is_set, refuse_inputs, require_file, require_folder
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


USUAL_SIZES = ("C1.0", "M1.0")  # those below that of the labels are skipped; others, which a user named, are not
FlareSizes = Annotated[tuple[FlareSize, ...], Field(min_length=1), AfterValidator(check_distinct)]
CsvPath = Annotated[Path, AfterValidator(check_csv)]


## User Definitions
class UserDefinitions(Settings):
    label_file: Path = "data/Labels.txt"  # truth: classes of the largest flare in the window
    flare_sizes: FlareSizes = ("C1.0", "M1.0")  # smallest flares that count, one table each
    predictions: tuple[str, ...] = ("SVM=results/SVM/predictions_linear.csv",)  # NAME=FILE, or e.g. NAME@M1.0=FILE
    test_ar_list: Path = "data/List_of_AR_in_Test_Data_by_AR.csv"  # regions of the test set
    validation_ar_list: Path = "data/List_of_AR_in_Validation_data_by_AR.csv"  # regions of the validation set
    train_ar_list: OptionalPath = "data/List_of_AR_in_Train_Data_by_AR.csv"  # training regions; missing: all others
    split_dir: Path = "results/SVM"  # where the lists are taken from when none of them is in its place
    event_list: OptionalPath = "data/eventList.txt"  # flares, for persistence and the state changes; "": none
    disk_forecasts: tuple[str, ...] = ()  # official forecasts of the whole disk, NAME=FILE
    srs_dir: OptionalPath = "data/SRS"  # region summaries, for the rate of the McIntosh class; "": none
    events_dir: Path = "data/Events"  # event reports, all flares of the Sun; read for disk_forecasts alone
    bootstrap_samples: PositiveInt = 10_000  # samples of regions, or of blocks of 27 days, for the intervals
    seed: Seed = 0  # seed of the bootstrap
    comparison_file: CsvPath = "results/comparison.csv"  # output
    figure_format: FigureFormat = "png"  # png, pdf or svg; figures that earlier runs left in another format stay
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Compare the forecasts."""
    path, kind = user.comparison_file, user.figure_format
    outputs = [path.with_name(path.stem + end) for end in (
        ".csv", "_differences.csv", ".md", f".{kind}", "_disk.csv", f"_disk.{kind}")]
    files = [(setting, Path(entry.partition("=")[2].strip()).expanduser())
             for setting in ("predictions", "disk_forecasts") for entry in getattr(user, setting)]
    inputs = [user.label_file, user.event_list, user.srs_dir, user.test_ar_list, user.validation_ar_list,
              user.train_ar_list, *(path for _, path in files)]
    refuse_inputs(outputs, inputs)
    check_inputs(user, files)
    user, skipped = with_known_sizes(user)
    forecasts, official = read_forecasts(user)
    lists = read_lists(user)
    with stage_run(user, output=user.comparison_file, inputs=[*inputs, *[user.events_dir] * bool(official)]) as run:
        if skipped:
            run.report(f"Flares >= {', '.join(skipped)} are skipped: the labels are of larger ones only")
        images = read_images(user.label_file, user.flare_sizes, lists, run)
        listed = images[images["split"] != ""]
        for forecast in forecasts:
            check_forecast(forecast, listed, run)
        targets = read_targets(user, run)
        events = optional_event_list(user.event_list, run, flare_scale=targets[0].scale)
        summaries = optional_summaries(user.srs_dir, run)
        options = {"run": run, "draws": user.bootstrap_samples, "seed": user.seed}
        sizes = [compare_forecasts(listed, forecasts, target, events, summaries, **options) for target in targets]
        heading = f"{lists.text()}\n\n"
        if official:
            report_official(official, targets[0].scale, run)
            flares = SolarFlares(*read_solar_flares(user.events_dir, targets[0].scale, run))
            heading += compare_disk(images, forecasts, official, targets, flares, **options).write(*outputs[4:])
        found = Comparison(*(list(chain(*tables)) for tables in zip(*sizes, strict=True)))
        run.report(found.write(*outputs[:4], heading))
        run.report(f"Tables in {outputs[2]}, figure in {outputs[3]}" + f", whole disk in {outputs[5]}" * bool(official))


def check_inputs(user: UserDefinitions, forecasts: list[tuple[str, Path]]) -> None:
    """Raise one UserError that names all inputs that are missing."""
    files = [("label_file", user.label_file), *forecasts]
    files += [] if user.event_list == DEFAULT_EVENT_LIST else [("event_list", user.event_list)]
    folders = [partial(require_folder, user.events_dir, "events_dir")] * bool(user.disk_forecasts)
    if is_set(user.srs_dir) and user.srs_dir != DEFAULT_SRS_DIR:
        folders.append(partial(require_folder, user.srs_dir, "srs_dir"))
    check_all(*(partial(require_file, path, setting) for setting, path in files if is_set(path)), *folders,
              partial(read_lists, user))


def with_known_sizes(user: UserDefinitions) -> tuple[UserDefinitions, list[str]]:
    """Return the settings without the usual sizes that the labels do not know, and these."""
    size = label_target(user.label_file).size
    skipped = [usual for usual in user.flare_sizes if size and peak_flux(usual) < peak_flux(size)]
    if user.flare_sizes != USUAL_SIZES or not skipped:
        return user, []
    known = tuple(usual for usual in user.flare_sizes if usual not in skipped)
    return user.changed(flare_sizes=known or (size,)), skipped


def read_forecasts(user: UserDefinitions) -> tuple[list[Forecast], list[DiskForecast]]:
    """Read all forecasts; UserError when two of a table have one name, or one that of a baseline."""
    forecasts = [read_forecast(entry, user.flare_sizes) for entry in user.predictions]
    official = [read_disk_forecast(entry) for entry in user.disk_forecasts]
    taken = {("truth", size) for size in user.flare_sizes}  # a column beside the forecasts
    for setting, name, size in [*(("predictions", one.name, one.flare_size) for one in forecasts),
                                *(("disk_forecasts", one.name, size) for size in user.flare_sizes for one in official)]:
        if (name, size) in taken or name.startswith(BASELINE_NAMES):
            raise UserError(f"{setting}: the name '{name}' is taken; give every forecast its own")
        taken.add((name, size))
    return forecasts, official


def read_targets(user: UserDefinitions, run: StageRun) -> list[FlareTarget]:
    """Return what the labels count, once with each flare size."""
    target = label_target(user.label_file)
    if user.disk_forecasts and np.isnan(target.window_hours):
        run.report(f"ATTENTION: the labels do not record their window: it is taken as {USUAL_WINDOW_H:g} h")
        target = target._replace(window_hours=USUAL_WINDOW_H)
    return [target._replace(size=size) for size in user.flare_sizes]


def report_official(official: list[DiskForecast], flare_scale: str, run: StageRun) -> None:
    """Report how the official forecasts were read, and where they mean other classes than the labels."""
    for one in official:
        run.report(f"{one.name}: {counted(len(one.rows), 'forecasts')}, probabilities: {one.unit}")
    old = [one.name for one in official if len(one.rows) and one.rows["issue_time"].min() < REDUCED_UNTIL]
    if flare_scale == MODERN and old:
        run.report(f"ATTENTION: the labels have the modern scale, but {' and '.join(old)} forecast classes as reported "
                   "until 2019-12-09, which are 0.7 of it: the comparison is not fair to them; label without "
                   "--flare-scale modern")


def read_lists(user: UserDefinitions) -> RegionLists:
    """Read the lists of regions, from `split_dir` when none is in its place."""
    lists = read_region_lists(user.test_ar_list, user.validation_ar_list, user.train_ar_list, user.split_dir)
    if lists is None:
        raise UserError(f"test_ar_list: expected lists of regions like '{user.test_ar_list}' or, of the same names, in "
                        f"split_dir '{user.split_dir}' (from {Path.cwd()}), found none; set them")
    return lists


def read_images(label_file: Path, flare_sizes: tuple[str, ...], lists: RegionLists, run: StageRun) -> pd.DataFrame:
    """Read the images of the label file by name, with peak flux and split ("": none); UserError without a truth."""
    smallest, target = min(flare_sizes, key=peak_flux), label_target(label_file)
    if target.size and peak_flux(target.size) > peak_flux(smallest):
        raise UserError(f"flare_sizes: {smallest} is below {target.size}, at which {label_file} was made; set "
                        f"--flare-sizes {target.size}, or make the labels again with --flare-size {smallest}")
    run.report(f"Regions of each split: {lists.source}\nReading the labels, {label_file}: flares of {target.text()}")
    images, problems = read_label_file(label_file)
    run.exclude_all(problems)
    report_unlisted(images["region"], lists, run)
    images["peak_flux"] = peak_fluxes(images["class"])
    images["split"] = assign_splits(images["region"], lists)
    for region, number in images.loc[images["split"] == "", "region"].value_counts().items():
        run.exclude(f"region {region}", lists.left_out.get(region, IN_NO_LIST), counted(number, "images"), "regions")
    return images.set_index("image")[["region", "time", "split", "peak_flux"]]


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


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
