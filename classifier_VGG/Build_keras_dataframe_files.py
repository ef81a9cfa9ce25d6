"""Make the lists of images that VGG_transfer_learning.py trains, validates and tests on.

Reads
    split_dir        `Train_Data_by_AR{suffix}.csv`, `Validation_...`, `Test_...` of stage 5 (29 scaled features, 0/1
                     class, flare class, file name; the published spelling `_data_by_AR` is read, too), or
    label_file       `filename,class` a line, no header, class `0` or like `C4.7` (any label but `0` is a flare), with
    the three lists  one active-region number a line; when none of them exists, or stage 5 split by time, those of
                     `split_dir` are taken

Writes to `output_dir`
    Train_Data_by_AR{suffix}.csv, Validation_Data_by_AR{suffix}.csv, Test_Data_by_AR{suffix}.csv
                     header `filename,class`; `NNNN/NNNN_hmi.M_720s.....fits|png` and 0 or 1, by name

A region in no list goes to training when there is no training list, else its images are skipped and listed.

Usage
    python classifier_VGG/Build_keras_dataframe_files.py
    python classifier_VGG/Build_keras_dataframe_files.py --label-file data/Labels.txt

References
    Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825 (the data set and its split by active region).
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from general_code.evaluation.evaluate import SPLIT_FILES, split_file
from general_code.evaluation.report import report_splits
from general_code.evaluation.splits import read_region_lists, split_images
from general_code.images.label_file import label_counts, read_label_file
from general_code.images.names import NOT_A_NAME, parse_image_names
from general_code.noaa.flares import FLARE_CLASS, NO_FLARE
from general_code.stage.files import UserError, is_set, refuse_inputs, require_file, write_csv
from general_code.stage.run import (
    OptionalPath,
    Settings,
    StageRun,
    Suffix,
    command_line,
    read_sidecar,
    stage_main,
    stage_run,
)


## User Definitions
class UserDefinitions(Settings):
    split_dir: Path = "results/SVM"  # folder with the tables of stage 5, or with its lists of regions
    suffix: Suffix = ""  # added to the tables' names, as in stage 5
    label_file: OptionalPath = ""  # labels to split by the lists; "": take the tables in split_dir
    test_ar_list: Path = "data/List_of_AR_in_Test_Data_by_AR.csv"  # regions of the test set
    validation_ar_list: Path = "data/List_of_AR_in_Validation_data_by_AR.csv"  # regions of the validation set
    train_ar_list: OptionalPath = "data/List_of_AR_in_Train_Data_by_AR.csv"  # training regions; missing: all others
    output_dir: Path = "results/VGG"  # folder of the lists of images
## End User Definitions


FEATURES = 29  # in front of class, flare class and name in the tables of stage 5


@stage_main
def main(user: UserDefinitions) -> None:
    """Write the lists of images."""
    tables = {split: split_file(user.split_dir, split, user.suffix) for split in SPLIT_FILES}
    outputs = {split: user.output_dir / f"{word}_Data_by_AR{user.suffix}.csv" for split, word in SPLIT_FILES.items()}
    inputs = [user.label_file, user.test_ar_list, user.validation_ar_list, user.train_ar_list, *tables.values()]
    refuse_inputs(outputs.values(), inputs)
    with stage_run(user, output=outputs["training"], inputs=inputs) as run:
        if is_set(user.label_file):
            images = split_labels(user, run)
            run.counts |= label_counts(user.label_file)
        else:
            images = read_tables(tables, run)
            run.counts |= stage_5_counts(user.split_dir, user.suffix)
        images = with_folders(images)
        for split, path in outputs.items():
            run.report(f"Writing {path}")
            write_csv(path, images.loc[images["split"] == split, ["filename", "class"]])
        report_splits(images["region"], images["class"], images["split"], run)


def split_labels(user: UserDefinitions, run: StageRun) -> pd.DataFrame:
    """Split the label file by the lists of regions: filename, region, class (0/1), split."""
    images, problems = read_label_file(user.label_file)
    run.exclude_all(problems)
    run.report(f"{len(images):,} labels in {user.label_file}")
    lists = read_region_lists(user.test_ar_list, user.validation_ar_list, user.train_ar_list, user.split_dir)
    if lists is None:
        raise UserError(f"test_ar_list: no list of regions at '{user.test_ar_list}', nor in split_dir "
                        f"'{user.split_dir}'; run AR_Classifier_weighted.py, which draws them, or name yours")
    run.report(f"Regions of each split: {lists.source}")
    images["split"] = split_images(images, lists, run)
    images["class"] = (images["class"] != NO_FLARE).astype(np.int8)
    return images[images["split"] != ""]


def read_tables(tables: dict[str, Path], run: StageRun) -> pd.DataFrame:
    """Read the tables of stage 5, by split: filename, region, class (0/1), split; names without region are excluded."""
    parts = []
    for split, path in tables.items():
        run.report(f"Reading {path}")
        parts.append(read_table(path).assign(split=split))
    images = pd.concat(parts, ignore_index=True)
    parsed = parse_image_names(images["filename"])
    placed = (parsed["region"] != "") & parsed["time"].notna()
    for name in images["filename"][~placed]:
        run.exclude(name, NOT_A_NAME, "no region and time in it", "images")
    return images.assign(region=parsed["region"])[placed]


def read_table(path: Path) -> pd.DataFrame:
    """Return filename and class (0/1) of a feature table; a flare class counts as 1."""
    if path.is_file() and path.stat().st_size == 0:  # a split without images
        return pd.DataFrame({"class": [], "filename": []}, dtype="str")
    with require_file(path, "split_dir").open(encoding="utf-8-sig", errors="replace") as file:
        fields = file.readline().split(",")
    if len(fields) not in (FEATURES + 2, FEATURES + 3):
        raise UserError(f"{path}: expected a table of {FEATURES} features, class, flare class and name, got "
                        f"{len(fields)} columns; lists of filename,class go into VGG_transfer_learning.py as they are")
    header = not fields[0].strip().lstrip("-")[:1].isdigit()
    names = [*map(str, range(FEATURES)), "class", "flare class", "filename"]
    names = [name for name in names if len(fields) > FEATURES + 2 or name != "flare class"]
    table = pd.read_csv(path, names=names, skiprows=int(header), usecols=["class", "filename"], dtype="str",
                        encoding="utf-8-sig", encoding_errors="replace", keep_default_na=False).fillna("")
    known = table["class"].str.fullmatch(rf"[01](\.0)?|{FLARE_CLASS}")
    if not known.all():
        raise UserError(f"{path}: class '{table['class'][~known].iloc[0]}' is not 0, 1 or like C4.7; run stage 5 again")
    return table.assign(**{"class": (~table["class"].isin(["0", "0.0"])).astype(np.int8)})


def stage_5_counts(split_dir: Path, suffix: str) -> dict[str, str | float]:
    """Return how labels and split of stage 5's tables were made: what the last run that wrote them noted, if known."""
    paths = split_dir.glob("ARClassifierStats_weighted_trainvaltest_*.txt.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        sidecar = read_sidecar(path.with_suffix("")) or {"settings": {}, "counts": {}}
        if sidecar["settings"].get("suffix") == suffix:
            split = sidecar["counts"].get("split")
            return {"flare_size": ""} | label_counts(path.with_suffix("")) | ({"split": str(split)} if split else {})
    return {"flare_size": ""}


def with_folders(images: pd.DataFrame) -> pd.DataFrame:
    """Spell names `NNNN/NNNN_hmi...`, whatever folder and digits they had, and sort by name."""
    names = images["filename"].str.replace(r"^.*[/\\]", "", regex=True).str.replace(r"^[0-9]+_", "", regex=True)
    names = images["region"] + "/" + images["region"] + "_" + names
    return images.assign(filename=names).sort_values("filename", ignore_index=True)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
