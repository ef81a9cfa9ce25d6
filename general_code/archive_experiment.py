"""The archive experiment: forecasts from everything but images, on the real archive of 2010-2018, published split.

All 12-minute stamps of the published regions within 60 degrees of the centre, labelled by stage 3; activity features;
linear SVM, logistic regression and gradient boosting for flares >= C1.0 and >= M1.0 in 24 h; one table and one figure
beside climatology and persistence. Each step is printed as a command before it runs, but for the list of stamps, which
this script writes. The published sample also needs an image for each stamp: it is smaller by about a seventh.

All settings in the commands were chosen by cross-validation over the training and validation regions
(tests/benchmarks/choose_settings.py); the test regions are opened once a row. The published event list adds the flares
below C1.0, which the archive's reports do not have. Reports and list are NOAA's edited ones, in which flares were given
their regions later than in real time: a forecast at the time knows somewhat less than the table says.

Reads
    archive    SRS/ and Events/ (NOAA's region summaries and event reports), or yearly .tar.gz, or one .tar.xz with
               both; and published/ with List_of_AR_in_*.csv and eventList.txt (Boucheron et al. 2023)

Writes
    work_dir   comparison.csv, .md (tables) and .png; below it data/ and results/, what the stages write (about 5 GB)

Usage
    python general_code/archive_experiment.py --archive DIR

References
    Boucheron et al. 2023, Scientific Data 10, 825 (regions, split, event list)
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import AfterValidator

from general_code.evaluation.splits import read_region_list
from general_code.images.names import dataset_name
from general_code.jsoc.export_requests import read_passages
from general_code.stage.files import UserError, atomic_write, require_folder, require_free_space
from general_code.stage.run import Settings, command_line, stage_main
from general_code.stage.work_folder import WorkFolder


def _check_cadence(minutes: int) -> int:
    """Return minutes that divide a day."""
    if minutes < 1 or 1440 % minutes:
        raise ValueError(f"expected minutes that divide a day, like 12, got {minutes}")
    return minutes


DivisorOfDay = Annotated[int, AfterValidator(_check_cadence)]


## User Definitions
class UserDefinitions(Settings):
    archive: Path = "data/archive"  # folder with SRS and Events (or packed ones) and published/
    work_dir: Path = "results/archive_experiment"  # folder that gets table and figure, data/ and results/
    cadence_minutes: DivisorOfDay = 12  # between the stamps of a region; 12 as observed, 60 for a quick look [min]
## End User Definitions


LISTS = ("List_of_AR_in_Train_Data_by_AR.csv", "List_of_AR_in_Validation_data_by_AR.csv",
         "List_of_AR_in_Test_Data_by_AR.csv")
EVENT_LIST = "eventList.txt"
NAMES = "data/image_names.txt"
EVENTS_PUBLISHED = f"data/published/{EVENT_LIST}"  # elsewhere than stage 3's own list
PARSE = "general_code/SRS_Parse.py"
LABEL = f"general_code/generate_dataset.py --image-dir {NAMES}"
FEATURES = f"classifier_SVM/BuildActivityFeatures.py --event-list {EVENTS_PUBLISHED}"
TRAIN = ("classifier_SVM/AR_Classifier_weighted.py --feature-file \"\" --extra-feature-file "
         "results/activity_features.csv --class-type {classifier} --flare-size {size} --suffix _{size} --C {C}")
COMPARE = "classifier_SVM/Compare_Forecasts.py --comparison-file comparison.csv --predictions {predictions}"
FLARE_SIZES = ("C1.0", "M1.0")
CLASSIFIERS = {"linear SVM": "linear", "logistic regression": "logistic", "boosting": "gradient_boosting"}
COSTS = {"linear": 5e-5, "logistic": 3e-4, "gradient_boosting": 1.0}  # for the 876,000 training rows of 12 minutes
NEEDED_BYTES = 6e9


@stage_main
def main(user: UserDefinitions) -> None:
    """Run every stage in order and report where the table is."""
    start = time.monotonic()
    archive = require_folder(user.archive, "archive").resolve()
    *lists, event_list = published_files(archive / "published")
    require_free_space(user.work_dir, NEEDED_BYTES * 12 / user.cadence_minutes, "tables of a million images")
    folder = WorkFolder(user.work_dir, str(archive))
    folder.copy_archive(archive, [])
    folder.copy(archive / "published", lists)
    folder.copy(archive / "published", [event_list], "data/published")
    folder.run([PARSE])
    number = write_image_names(user.work_dir, lists, user.cadence_minutes)
    print(f"\n{NAMES}: {number:,} stamps of {user.cadence_minutes} minutes", flush=True)
    folder.run(commands(user.cadence_minutes))
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes: {user.work_dir / 'comparison.md'}, .csv and .png")


def published_files(folder: Path) -> list[str]:
    """Return the names of the published lists of regions, in either spelling, and of the event list, the last."""
    there = {path.name.lower(): path.name for path in folder.iterdir()} if folder.is_dir() else {}
    for name in (*LISTS, EVENT_LIST):
        if name.lower() not in there:
            raise UserError(f"archive: expected the published {name} in '{folder}', found nothing; it comes with the "
                            "published data set (Boucheron et al. 2023)")
    return [there[name.lower()] for name in (*LISTS, EVENT_LIST)]


def write_image_names(work_dir: Path, lists: list[str], cadence_minutes: int) -> int:
    """Write the names of all stamps of the regions in the lists, as stage 2 would request them; return how many."""
    data = work_dir / "data"
    listed = {region for name in lists for region in read_region_list(data / name)}
    passages, _ = read_passages(data / "ARList.txt")  # what it does not use, stage 1 has not written
    wanted = [passage for passage in passages if passage.region in listed]
    if not wanted:
        raise UserError(f"archive: none of the {len(listed):,} regions of the published lists is in the summaries of "
                        f"'{data / 'SRS'}'; expected the summaries of 2010-2018 and their lists")
    number = 0
    with atomic_write(work_dir / NAMES) as file:
        for region, first_day, days in wanted:
            offsets = np.arange(0, days * 1440 + 1, cadence_minutes) * np.timedelta64(60, "s")
            for time_stamp in np.datetime64(first_day, "s") + offsets:
                file.write(f"{region}/{dataset_name(region, time_stamp, 1, 'fits')}\n")
            number += len(offsets)
    return number


def commands(cadence_minutes: int = 12) -> list[str]:
    """Return the commands that follow the list of stamps; the fewer the rows, the higher the cost of each."""
    trained, predictions = [], []
    for size in FLARE_SIZES:
        for name, classifier in CLASSIFIERS.items():
            cost = f"{COSTS[classifier] * cadence_minutes / 12:g}"
            trained.append(TRAIN.format(classifier=classifier, size=size, C=cost))
            predictions.append(f"\"activity features, {name}@{size}=results/SVM/predictions_{classifier}_{size}.csv\"")
    return [LABEL, FEATURES, *trained, COMPARE.format(predictions=" ".join(predictions))]


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
