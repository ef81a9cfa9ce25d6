"""Compare forecasts on the same test images, beside the rows that use no image: one table, one figure.

Every table begins with climatology and persistence over 24 h and 48 h (for M1.0 also "a flare >= C1.0 in the past", a
better rule than flares of M1.0 themselves). Scores with intervals from a bootstrap over regions, gains over the best
baseline from the paired bootstrap; also where the region's state changes: images after 24 quiet hours (will there be a
first flare?), and images within 24 h of a flare (was it the last?).

Reads
    label_file      `filename,class` a line, class `0` or e.g. `C4.7`: the truth at every flare size
    predictions     CSV files with a header and the columns `filename`, `probability` (0 to 1, or empty) and, if there
                    is one, `decision` (0/1); images are matched by name without folder and extension. A file that is
                    named without a flare size forecasts flares of the first of flare_sizes
    lists of regions, event_list    as for AR_Classifier_weighted.py

TSS and HSS judge `decision` where a file has one in every row, else `probability` above the threshold of largest TSS on
its validation rows; the table names which. With an empty probability on a test image a forecast has no AUC and no BSS.
A test image that one file lacks is left out for all. The climatology of a subset is that of its training images, its
baseline the best rule on its training and validation images; there each file with probabilities has a second row, at
the threshold of largest TSS on the validation images of the subset.

Writes
    comparison_file    CSV with header: flare_size, subset, forecast, decision_rule, regions, images, flaring_images,
                       climatology, then TSS, HSS, AUC, BSS, each with _low and _high (95 %); baseline (of largest TSS
                       on training and validation), TSS_gain, HSS_gain over it with _low and _high
    ..._differences.csv    flare_size, subset, forecast, against (a file named before it), then the differences of TSS,
                       HSS, AUC, BSS, forecast minus against, each with _low and _high (95 %, paired bootstrap)
    beside it          the tables for reading (`.md`), the figure (`.png`), `.json`, `.excluded.csv`, `.log`

Usage
    python classifier_SVM/Compare_Forecasts.py --predictions "image features=results/SVM/predictions_linear.csv" \
        "mine@M1.0=my_forecast.csv"

References
    Barnes et al. 2016, ApJ 829, 89 (comparing forecasts on common data); Leka et al. 2019, ApJ 881, 101 (changes of
    state).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from classifier_SVM.comparison_report import (
    DIFFERENCE_COLUMNS,
    comparison_figure,
    comparison_text,
    write_comparison_csv,
)
from classifier_SVM.forecast_comparison import Comparison, compare_forecasts
from classifier_SVM.forecast_files import Forecast, check_origin, read_forecast, read_images
from general_code.event_list import optional_event_list
from general_code.flares import EventList, peak_flux
from general_code.region_splits import read_region_lists
from general_code.skill_figures import save_figure
from general_code.stage_files import OptionalPath, UserError, atomic_write, given, refuse_inputs
from general_code.stage_run import StageRun, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings; every one can be overridden for one run, e.g. `--flare-sizes M1.0`."""

    label_file: Path = Path("data/Labels.txt")  # truth: classes of the largest flare in the window
    flare_sizes: tuple[str, ...] = ("C1.0", "M1.0")  # smallest flares that count, one table each
    predictions: tuple[str, ...] = ("SVM=results/SVM/predictions_linear.csv",)  # NAME=FILE, or e.g. NAME@M1.0=FILE
    test_ar_list: Path = Path("data/List_of_AR_in_Test_Data_by_AR.csv")  # regions of the test set
    validation_ar_list: Path = Path("data/List_of_AR_in_Validation_data_by_AR.csv")  # of the validation set
    train_ar_list: Path = Path("data/List_of_AR_in_Train_Data_by_AR.csv")  # training regions; missing: all others
    split_dir: Path = Path("results/SVM")  # where the lists are taken from when none of them is in its place
    event_list: OptionalPath = Path("data/eventList.txt")  # flares, for persistence and the state changes; "": none
    bootstrap_samples: int = 1000  # samples of regions for the intervals
    seed: int = 0  # of the bootstrap
    comparison_file: Path = Path("results/comparison.csv")  # output
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    _check_settings(user)
    forecasts = [read_forecast(entry, user.flare_sizes) for entry in user.predictions]
    _check_names(forecasts)
    lists = read_region_lists(user.test_ar_list, user.validation_ar_list, user.train_ar_list, user.split_dir)
    if lists is None:
        raise UserError(f"test_ar_list: expected lists of regions like '{user.test_ar_list}' or, of the same names, in "
                        f"split_dir '{user.split_dir}' (from {Path.cwd()}), found none; set them")
    with stage_run(user, output=user.comparison_file, inputs=_inputs(user)) as run:
        run.say(f"Reading the truth, {user.label_file}")
        images, problems = read_images(user.label_file, user.flare_sizes, lists)
        for problem in problems:
            run.exclude(*problem)
        events = optional_event_list(user.event_list, run)
        found = compare_all(user, images, forecasts, events, run)
        scores, differences, text, figure = _outputs(user)
        write_comparison_csv(scores, found.rows)
        write_comparison_csv(differences, found.differences, DIFFERENCE_COLUMNS)
        with atomic_write(text) as file:
            file.write(comparison_text(found))
        save_figure(comparison_figure(found), figure)
        run.say(comparison_text(found.subset("all")))
        run.say(f"Tables in {text}, figure in {figure}")


def _outputs(user: UserDefinitions) -> tuple[Path, Path, Path, Path]:
    """Return the files that are written: scores, differences, text, figure."""
    file = user.comparison_file
    return file, file.with_name(f"{file.stem}_differences.csv"), file.with_suffix(".md"), file.with_suffix(".png")


def _inputs(user: UserDefinitions) -> list[Path]:
    """Return the files that are read."""
    return [user.label_file, user.event_list, user.test_ar_list, user.validation_ar_list, user.train_ar_list,
            *(Path(entry.partition("=")[2].strip()) for entry in user.predictions)]


def _check_settings(user: UserDefinitions) -> None:
    """Raise UserError for settings that cannot be."""
    if not user.flare_sizes or len(set(user.flare_sizes)) < len(user.flare_sizes):
        raise UserError(f"flare_sizes: expected different sizes like C1.0 M1.0, got '{' '.join(user.flare_sizes)}'")
    if user.bootstrap_samples < 1 or user.seed < 0:
        raise UserError("expected bootstrap_samples from 1 and seed from 0, got "
                        f"bootstrap_samples={user.bootstrap_samples}, seed={user.seed}")
    if user.event_list.is_dir() and given(user.event_list):
        raise UserError(f"event_list: expected a file, '{user.event_list}' is a folder; name a list, or \"\" for none")
    if user.comparison_file.suffix != ".csv":
        raise UserError(f"comparison_file: expected a name that ends in .csv, got '{user.comparison_file}'")
    refuse_inputs(_outputs(user), _inputs(user))


def _check_names(forecasts: list[Forecast]) -> None:
    """Raise UserError when two forecasts of a size have one name, or that of a baseline."""
    taken = set()
    for forecast in forecasts:
        key = (forecast.name, forecast.flare_size)
        if key in taken or forecast.name == "climatology" or forecast.name.startswith("persistence "):
            raise UserError(f"predictions: the name '{forecast.name}' is taken; give every forecast its own")
        taken.add(key)


def compare_all(user: UserDefinitions, images, forecasts: list[Forecast], events: EventList | None,
                run: StageRun) -> Comparison:
    """Compare the forecasts at every flare size.

    Parameters
    ----------
    user : UserDefinitions
        flare_sizes, bootstrap_samples, seed.
    images : pandas.DataFrame
        As `read_images` returns it.
    forecasts : list of Forecast
        Of all sizes.
    events : EventList or None
        For persistence.
    run : StageRun
        Told how many images are compared, and which forecasts lack how many.

    Returns
    -------
    Comparison
        Of all sizes.

    Raises
    ------
    UserError
        When a forecast shares no test image with the others, or was trained on test images.
    """
    for forecast in forecasts:
        if differing := check_origin(forecast, images):
            run.say(f"ATTENTION: {forecast.name}: the column class of its file differs from the labels at "
                    f"{forecast.flare_size} in {differing:,} test images; is it a forecast of another flare size "
                    f"({forecast.name}@SIZE=FILE)?")
            run.count(f"test images of another class in the file, {forecast.name}, {forecast.flare_size}", differing)
        foreign = int((~forecast.rows.index.isin(images.index)).sum())
        if foreign:
            run.exclude(f"{forecast.name}, {forecast.flare_size}", "forecast without a label", f"{foreign:,} images")
    total = Comparison([], [], {})
    for size in user.flare_sizes:
        run.say(f"Scoring the forecasts of flares >= {size}")
        smaller = [other for other in user.flare_sizes if peak_flux(other) < peak_flux(size)]
        found = compare_forecasts(images, forecasts, size, events, smaller, user.bootstrap_samples, user.seed)
        for name, number in found.lacking.items():
            if number:
                run.exclude(f"{name}, {size}", "test images without this forecast", f"{number:,}, left out for all")
        if not found.rows[0]["images"]:
            raise UserError(f"predictions: no test image has all forecasts of flares >= {size}; compare fewer files, "
                            "or check their names of images and the lists of regions")
        run.count(f"test images compared, {size}", found.rows[0]["images"])
        total.rows.extend(found.rows)
        total.differences.extend(found.differences)
    return total


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
