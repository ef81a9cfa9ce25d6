"""The archive experiment: forecasts from everything but images, on the real archive, beside rules and forecasters.

Each table stands in a folder of its own, and is made where the archive has its data:

published    the published test regions; stamps every 12 minutes; linear SVM, logistic regression, gradient boosting
by_time      trained on regions before 2013, validated on those of 2013, tested on those of 2014-2018
official     the days of official forecasts of the whole disk (forecasts/), flares >= M1.0; trained on the time before
cycle25      trained on 2010 to mid-2014, validated on what follows to 2018, tested from 2019 on; with the classes of
             GOES-8 to -15 as reported, and (cycle25_modern) on the scale of their successors

All with activity features of regions within 60 degrees of the centre (official: of all on the disk), labelled by
stage 3, for flares >= C1.0 and >= M1.0 in 24 h. Each step is printed as a command before it runs, but for the lists of
stamps, which this script writes. The published sample also needs an image for each stamp: it is smaller by a seventh.

All settings in the commands were chosen on training and validation regions (tests/benchmarks/choose_settings.py); the
test regions are opened once a row. The published event list adds the flares below C1.0, which reports may not have.
Reports and list are NOAA's edited ones, in which flares were given their regions later than in real time: a forecast at
the time knows somewhat less than the table says.

Reads
    archive    SRS/ and Events/ (NOAA's region summaries and event reports), or yearly .tar.gz, or one .tar.xz with
               both; and published/ with List_of_AR_in_*.csv and eventList.txt (Boucheron et al. 2023); if there is one,
               forecasts/ with files `*_fcast.txt` (Murray et al. 2017) or `.csv`, as Compare_Forecasts.py reads them

Writes
    work_dir   for each table a folder with comparison.csv, .md (tables) and .png, in it data/ and results/, what the
               stages write (about 6 GB); that of `published` is work_dir itself

Usage
    python general_code/archive_experiment.py --archive DIR

References
    Boucheron et al. 2023, Scientific Data 10, 825 (regions, split, event list); Murray et al. 2017, Space Weather 15,
    577 (official forecasts)
"""

import shlex
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import AfterValidator

from general_code.evaluation.splits import read_region_list
from general_code.images.names import dataset_name
from general_code.jsoc.export_requests import Passage, read_passages
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
FEATURES = "classifier_SVM/BuildActivityFeatures.py"
TRAIN = ("classifier_SVM/AR_Classifier_weighted.py --feature-file \"\" --extra-feature-file "
         "results/activity_features.csv --class-type {classifier} --flare-size {size} --suffix _{size} --C {C}")
COMPARE = "classifier_SVM/Compare_Forecasts.py --comparison-file comparison.csv"
CLASSIFIERS = {"linear SVM": "linear", "logistic regression": "logistic", "boosting": "gradient_boosting"}
COSTS = {"linear": 5e-5, "logistic": 3e-4, "gradient_boosting": 1.0}  # for the 876,000 training rows of 12 minutes
OFFICIAL_NAMES = {"SWPC": "NOAA/SWPC", "IFF": "UK Met Office"}  # of files like SWPC_fcast.txt
COARSE_MINUTES = 240  # between the stamps of the tables beside the published one
GAP = timedelta(days=27)  # gap_days of stage 5: regions that begin so soon after the first test day test nothing
NEEDED_BYTES = 6e9


class Table(NamedTuple):
    """One table: its folder in `work_dir`, its stamps, and what its commands have besides their common settings."""

    folder: str
    forecasts: tuple[str, ...] = tuple(CLASSIFIERS)
    sizes: tuple[str, ...] = ("C1.0", "M1.0")
    label: str = ""
    features: str = ""
    train: str = ""
    compare: str = ""
    first_test_day: date = date.min  # the table is made when regions begin a `GAP` after it or later
    last_day: date = date.max  # regions that begin later are not in the table

    def commands(self, cadence_minutes: int) -> list[str]:
        """Return the commands that follow the list of stamps; the fewer the rows, the higher the cost of each."""
        trained, predictions = [], []
        for size in self.sizes:
            for name in self.forecasts:
                classifier = CLASSIFIERS[name]
                cost = f"{COSTS[classifier] * cadence_minutes / 12:g}"
                trained.append(TRAIN.format(classifier=classifier, size=size, C=cost) + self.train)
                file = f"results/SVM/predictions_{classifier}_{size}.csv"
                predictions.append(f"\"activity features, {name}@{size}={file}\"")
        compare = f"{COMPARE} --flare-sizes {' '.join(self.sizes)} --predictions {' '.join(predictions)}{self.compare}"
        return [LABEL + self.label, FEATURES + self.features, *trained, compare]


PUBLISHED = Table("", features=f" --event-list {EVENTS_PUBLISHED}")
BY_TIME = Table("by_time", ("linear SVM", "logistic regression"), first_test_day=date(2014, 1, 1),
                last_day=date(2018, 12, 31), train=" --validation-start 20130101 --test-start 20140101")
# every region on the disk on 1 January 2014, the first day of the forecasts, began after the gap of 27 days
OFFICIAL = Table("official", ("logistic regression",), ("M1.0",), first_test_day=date(2013, 11, 20),
                 last_day=date(2018, 12, 31), label=" --max-latitude-deg 90 --max-longitude-deg 120",
                 train=" --validation-start 20130101 --test-start 20131120")
CYCLE25 = Table("cycle25", ("linear SVM", "logistic regression"), first_test_day=date(2019, 1, 1),
                train=" --validation-start 20140701 --test-start 20190101")
MODERN = CYCLE25._replace(folder="cycle25_modern", label=" --flare-scale modern", features=" --flare-scale modern")
TABLES = (PUBLISHED, BY_TIME, OFFICIAL, CYCLE25, MODERN)


@stage_main
def main(user: UserDefinitions) -> None:
    """Run every stage in order for every table, and report where the tables are."""
    start = time.monotonic()
    archive = require_folder(user.archive, "archive").resolve()
    *lists, event_list = published_files(archive / "published")
    require_free_space(user.work_dir, NEEDED_BYTES * 12 / user.cadence_minutes, "tables of a million images")
    folder = WorkFolder(user.work_dir, str(archive))
    folder.copy_archive(archive, [])
    folder.copy(archive / "published", lists)
    folder.copy(archive / "published", [event_list], "data/published")
    folder.run([PARSE])
    passages = wanted_passages(user.work_dir, PUBLISHED, published_regions(user.work_dir, lists))
    tables = [run_table(PUBLISHED, folder, passages, user.cadence_minutes)]
    official = official_forecasts(archive / "forecasts")
    for table in (BY_TIME, *[OFFICIAL._replace(compare=official)] * bool(official), CYCLE25, MODERN):
        passages = wanted_passages(user.work_dir, table)
        if passages[-1].first_day - table.first_test_day >= GAP:
            inner = WorkFolder(user.work_dir / table.folder, str(archive))
            inner.copy(Path("../data"), ["SRS", "Events"])
            tables.append(run_table(table, inner, passages, max(user.cadence_minutes, COARSE_MINUTES)))
    print(f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes; tables (.md, .csv) and figures (.png):")
    print("\n".join(f"  {path}" for path in tables))


def published_files(folder: Path) -> list[str]:
    """Return the names of the published lists of regions, in either spelling, and of the event list, the last."""
    there = {path.name.lower(): path.name for path in folder.iterdir()} if folder.is_dir() else {}
    for name in (*LISTS, EVENT_LIST):
        if name.lower() not in there:
            raise UserError(f"archive: expected the published {name} in '{folder}', found nothing; it comes with the "
                            "published data set (Boucheron et al. 2023)")
    return [there[name.lower()] for name in (*LISTS, EVENT_LIST)]


def published_regions(work_dir: Path, lists: list[str]) -> set[str]:
    """Return the regions of the published lists."""
    return {region for name in lists for region in read_region_list(work_dir / "data" / name)}


def official_forecasts(folder: Path) -> str:
    """Return the setting that names the files of official forecasts in a folder, "" where there are none."""
    files = sorted([*folder.glob("*_fcast.txt"), *folder.glob("*.csv")])
    names = [f"{OFFICIAL_NAMES.get(path.stem.partition('_')[0], path.stem)}={path}" for path in files]
    return f" --disk-forecasts {shlex.join(names)}" if names else ""


def run_table(table: Table, folder: WorkFolder, passages: Sequence[Passage], cadence_minutes: int) -> Path:
    """Write the list of stamps, run the stages, and return where the table is."""
    number = write_image_names(passages, folder.path, cadence_minutes)
    print(f"\n{NAMES}: {number:,} stamps of {cadence_minutes} minutes", flush=True)
    folder.run(table.commands(cadence_minutes))
    return folder.path / "comparison.md"


def wanted_passages(work_dir: Path, table: Table, regions: set[str] | None = None) -> list[Passage]:
    """Return the regions of a table, by first day; UserError when there are none."""
    passages, _ = read_passages(work_dir / "data" / "ARList.txt")  # what it does not use, stage 1 has not written
    wanted = [passage for passage in passages if passage.first_day <= table.last_day
              and (regions is None or passage.region in regions)]
    if not wanted:
        of = "" if regions is None else f" of the {len(regions):,} regions of the published lists"
        raise UserError(f"archive: none{of} is in the summaries of '{work_dir / 'data' / 'SRS'}'; expected the "
                        "summaries of 2010-2018 and their lists")
    return sorted(wanted, key=lambda passage: passage.first_day)


def write_image_names(passages: Sequence[Passage], work_dir: Path, cadence_minutes: int) -> int:
    """Write the names of all stamps of regions, as stage 2 would request them; return how many."""
    number = 0
    with atomic_write(work_dir / NAMES) as file:
        for region, first_day, days in passages:
            offsets = np.arange(0, days * 1440 + 1, cadence_minutes) * np.timedelta64(60, "s")
            for time_stamp in np.datetime64(first_day, "s") + offsets:
                file.write(f"{region}/{dataset_name(region, time_stamp, 1, 'fits')}\n")
            number += len(offsets)
    return number


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
