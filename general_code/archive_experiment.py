"""The archive experiment: forecasts from everything but images, on the real archive of 2010-2018, published split.

All 12-minute stamps of the published regions within 60 degrees of the centre, labelled by stage 3; activity features;
linear SVM, logistic regression and gradient boosting for flares >= C1.0 and >= M1.0 in 24 h; one table and one figure
beside climatology and persistence. The commands are those that a user types; they are printed as they run, and work
when pasted in the folder that is named first. The published sample also needs an image for each stamp: it is smaller
by about an eighth.

All settings in the commands were chosen by cross-validation over the training and validation regions
(tests/benchmarks/choose_settings.py); the test regions are opened once a row. The published event list adds the flares
below C1.0, which the reports of the archive leave out. The reports and the list are NOAA's edited ones, in which flares
were given their regions later than in real time: a forecast at the time knows somewhat less than the table says.

Reads
    archive    SRS/ and Events/ (NOAA's region summaries and event reports), or one .tar.xz with both; and
               published/ with List_of_AR_in_*.csv and eventList.txt (Boucheron et al. 2023)

Writes
    work_dir   comparison.csv, .md (tables) and .png; below it data/ and results/, what the stages write (about 5 GB)

Usage
    python general_code/archive_experiment.py --archive DIR

References
    Boucheron et al. 2023, Scientific Data 10, 825 (regions, split, event list)
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from general_code.cutout_requests import read_passages
from general_code.image_names import dataset_names
from general_code.region_splits import read_region_list
from general_code.stage_files import UserError, atomic_write, require_folder, require_free_space
from general_code.stage_run import stage_main
from general_code.work_folder import claim_work_dir, run_stages, take_file, take_reports


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    archive: Path = Path("data/archive")  # folder with SRS and Events (or a .tar.xz of both) and published/
    work_dir: Path = Path("results/archive_experiment")  # folder that gets table and figure, data/ and results/
    cadence_minutes: int = 12  # between the stamps of a region; 12 as observed, 60 for a quick look [min]
## End User Definitions


PUBLISHED = ("List_of_AR_in_Train_Data_by_AR.csv", "List_of_AR_in_Validation_data_by_AR.csv",
             "List_of_AR_in_Test_Data_by_AR.csv", "eventList.txt")
NAMES, EVENTS_PUBLISHED = "data/image_names.txt", "data/published_eventList.txt"
PARSE = "general_code/SRS_Parse.py"
LABEL = f"general_code/generate_dataset.py --image-dir {NAMES}"
FEATURES = f"classifier_SVM/BuildActivityFeatures.py --event-list {EVENTS_PUBLISHED}"
TRAIN = ("classifier_SVM/AR_Classifier_weighted.py --feature-file \"\" --extra-feature-file "
         "results/activity_features.csv --class-type {machine} --flare-size {size} --suffix _{size} --C {C}")
COMPARE = "classifier_SVM/Compare_Forecasts.py --comparison-file comparison.csv --predictions {predictions}"
FLARE_SIZES = ("C1.0", "M1.0")
MACHINES = {"linear SVM": "linear", "logistic regression": "logistic", "boosting": "gradient_boosting"}
COSTS = {"linear": 5e-5, "logistic": 3e-4, "gradient_boosting": 1.0}  # for the 876,000 training rows of 12 minutes
NEEDED_BYTES = 6e9


@stage_main
def main(user: UserDefinitions) -> None:
    """Run every stage in order and say where the table lies."""
    start = time.monotonic()
    if user.cadence_minutes < 1 or 1440 % user.cadence_minutes:
        raise UserError(f"cadence_minutes: expected minutes that divide a day, like 12, got {user.cadence_minutes}")
    archive = require_folder(user.archive, "archive")
    require_free_space(user.work_dir, NEEDED_BYTES * 12 / user.cadence_minutes, "tables of a million images")
    print(f"$ cd {user.work_dir}", flush=True)
    claim_work_dir(user.work_dir, str(archive.resolve()))
    take_archive(archive, user.work_dir / "data")
    run_stages(user.work_dir, [PARSE])
    number = write_image_names(user.work_dir, user.cadence_minutes)
    print(f"\n{NAMES}: {number:,} stamps of {user.cadence_minutes} minutes", flush=True)
    run_stages(user.work_dir, commands(user.cadence_minutes))
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes: {user.work_dir / 'comparison.md'}, .csv and .png")


def commands(cadence_minutes: int = 12) -> list[str]:
    """Return the commands that follow the list of names.

    Parameters
    ----------
    cadence_minutes : int, optional
        The cost of a row rises in proportion, as there are fewer.

    Returns
    -------
    list of str
        Script and settings, one a stage.
    """
    trained, predictions = [], []
    for size in FLARE_SIZES:
        for name, machine in MACHINES.items():
            trained.append(TRAIN.format(machine=machine, size=size, C=f"{COSTS[machine] * cadence_minutes / 12:g}"))
            predictions.append(f"\"activity features, {name}@{size}=results/SVM/predictions_{machine}_{size}.csv\"")
    return [LABEL, FEATURES, *trained, COMPARE.format(predictions=" ".join(predictions))]


def take_archive(archive: Path, data: Path) -> None:
    """Put the reports, the published lists and the published event list where the stages look for them.

    Parameters
    ----------
    archive : Path
        See the header.
    data : Path
        Gets them, as hard links where the file system can; what is there already stays.

    Raises
    ------
    UserError
        When a part is missing.
    """
    take_reports(archive, data)
    for name in PUBLISHED:
        source = archive / "published" / name
        if not source.is_file():
            raise UserError(f"archive: expected the published {name} at '{source}', found nothing; it comes with the "
                            "published data set (Boucheron et al. 2023)")
        target = data.parent / EVENTS_PUBLISHED if name == "eventList.txt" else data / name
        target.parent.mkdir(parents=True, exist_ok=True)
        take_file(source, target)


def write_image_names(work_dir: Path, cadence_minutes: int) -> int:
    """Write the names of all stamps of the regions in the lists, as stage 2 would request them.

    Parameters
    ----------
    work_dir : Path
        With `data/ARList.txt` and the lists.
    cadence_minutes : int
        Between stamps [min].

    Returns
    -------
    int
        How many.

    Raises
    ------
    UserError
        When no region of the lists is in the list of passages.
    """
    import pandas as pd

    data = work_dir / "data"
    listed = {region for name in PUBLISHED[:3] for region in read_region_list(data / name)}
    passages, _ = read_passages(data / "ARList.txt")  # what it does not use stage 1 has not written
    regions, times = [], []
    for region, first_day, days in (passage for passage in passages if passage.region in listed):
        stamps = np.arange(0, days * 1440 + 1, cadence_minutes) * np.timedelta64(60, "s")
        times.append(np.datetime64(first_day, "s") + stamps)
        regions += [region] * len(stamps)
    if not regions:
        raise UserError(f"archive: none of the {len(listed):,} regions of the published lists is in the summaries of "
                        f"'{data / 'SRS'}'; expected the summaries of 2010-2018 and their lists")
    images = pd.DataFrame({"region": regions, "time": np.concatenate(times), "camera": 1})
    with atomic_write(work_dir / NAMES) as file:
        file.writelines(f"{name[:4]}/{name}\n" for name in dataset_names(images, "fits"))
    return len(images)


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
