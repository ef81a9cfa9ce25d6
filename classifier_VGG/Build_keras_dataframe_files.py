"""Make the lists of images that VGG_transfer_learning.py trains, validates and tests on.

Reads
    split_dir        `Train_Data_by_AR{suffix}.csv`, `Validation_...`, `Test_...` of stage 5 (29 scaled features, 0/1
                     class, flare class, file name; the published spelling `Validation_data` is read, too), or
    label_file       `filename,class` a line, no header, class `0` or like `C4.7` (any label but `0` is a flare), with
    the three lists  one active-region number a line; when none of them exists, those of `split_dir` are taken

Writes to `output_dir`
    Train_Data_by_AR{suffix}.csv, Validation_Data_by_AR{suffix}.csv, Test_Data_by_AR{suffix}.csv
                     header `filename,class`; `NNNN/NNNN_hmi.M_720s.....fits|png` and 0 or 1, by name

A region in no list goes to training when there is no training list, else its images are left out and listed.

Usage
    python classifier_VGG/Build_keras_dataframe_files.py
    python classifier_VGG/Build_keras_dataframe_files.py --label-file data/Labels.txt

References
    Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825 (the data set and its split by active region).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root
from classifier_SVM.FeaturesetTools import read_feature_table
from classifier_VGG.image_lists import list_name, stage_5_label_counts
from general_code.flares import NO_FLARE
from general_code.image_names import NOT_A_NAME, parse_image_names
from general_code.label_file import label_counts, read_label_file
from general_code.region_splits import (
    SPLIT_FILES,
    assign_splits,
    either_spelling,
    read_region_lists,
    say_splits,
    say_unlisted,
)
from general_code.stage_files import OptionalPath, UserError, atomic_write, given, refuse_inputs
from general_code.stage_run import StageRun, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings; every one can be overridden for one run, e.g. `--suffix _M1`."""

    split_dir: Path = Path("results/SVM")  # folder with the tables of stage 5, or with its lists of regions
    suffix: str = ""  # of the tables' names, as in stage 5
    label_file: OptionalPath = Path("")  # labels to split by the lists; "": take the tables in split_dir
    test_ar_list: Path = Path("data/List_of_AR_in_Test_Data_by_AR.csv")  # regions of the test set
    validation_ar_list: Path = Path("data/List_of_AR_in_Validation_data_by_AR.csv")  # regions of the validation set
    train_ar_list: Path = Path("data/List_of_AR_in_Train_Data_by_AR.csv")  # training regions; missing: all others
    output_dir: Path = Path("results/VGG")  # folder of the lists of images
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    names = {split: f"{word}_Data_by_AR{user.suffix}.csv" for split, word in SPLIT_FILES.items()}
    tables = {split: either_spelling(user.split_dir / name) for split, name in names.items()}
    outputs = {split: user.output_dir / name for split, name in names.items()}
    inputs = [user.label_file, user.test_ar_list, user.validation_ar_list, user.train_ar_list, *tables.values()]
    refuse_inputs(outputs.values(), inputs)
    with stage_run(user, output=outputs["training"], inputs=inputs) as run:
        if given(user.label_file):
            images = split_labels(user, run)
            run.counts |= label_counts(user.label_file)
        else:
            images = read_tables(tables, run)
            run.counts |= stage_5_label_counts(user.split_dir, user.suffix)
        images = with_folders(images, run)
        for split, path in outputs.items():
            run.say(f"Writing {path}")
            with atomic_write(path) as file:
                images.loc[images["split"] == split, ["filename", "class"]].to_csv(file, index=False,
                                                                                   lineterminator="\n")
        say_splits(images["filename"].str[:4], images["class"], images["split"], run)


def read_tables(tables: dict[str, Path], run: StageRun) -> pd.DataFrame:
    """Read names and classes from the tables of stage 5.

    Parameters
    ----------
    tables : dict of str to Path
        From split to file.
    run : StageRun
        Told what is read.

    Returns
    -------
    pandas.DataFrame
        filename, class, split.
    """
    parts = []
    for split, path in tables.items():
        run.say(f"Reading {path}")
        parts.append(read_feature_table(path, "split_dir")[["filename", "class"]].assign(split=split))
    return pd.concat(parts, ignore_index=True)


def split_labels(user: UserDefinitions, run: StageRun) -> pd.DataFrame:
    """Split the label file by the lists of regions.

    Parameters
    ----------
    user : UserDefinitions
        label_file, the three lists, split_dir.
    run : StageRun
        Told of regions in no list, and of lines that are not used.

    Returns
    -------
    pandas.DataFrame
        filename, class, split.
    """
    images, problems = read_label_file(user.label_file)
    for problem in problems:
        run.exclude(*problem)
    run.say(f"{len(images):,} labels in {user.label_file}")
    lists = read_region_lists(user.test_ar_list, user.validation_ar_list, user.train_ar_list, user.split_dir)
    if lists is None:
        raise UserError(f"test_ar_list: no list of regions at '{user.test_ar_list}', nor in split_dir "
                        f"'{user.split_dir}'; run AR_Classifier_weighted.py, which draws them, or name yours")
    say_unlisted(images["region"], lists, run)
    split = assign_splits(images["region"], lists)
    for name in images["filename"][split == ""]:
        run.exclude(name, "region in no list")
    flaring = (images["class"] != NO_FLARE).astype("int8")
    return pd.DataFrame({"filename": images["filename"], "class": flaring, "split": split})[split != ""]


def with_folders(images: pd.DataFrame, run: StageRun) -> pd.DataFrame:
    """Put the region's folder in front of each name; leave out names without region and time.

    Parameters
    ----------
    images : pandas.DataFrame
        filename, class, split.
    run : StageRun
        Told of what is left out.

    Returns
    -------
    pandas.DataFrame
        The same columns, by name.
    """
    parsed = parse_image_names(images["filename"])
    placed = ((parsed["region"] != "") & parsed["time"].notna()).to_numpy()
    for name in images["filename"][~placed]:
        run.exclude(name, NOT_A_NAME, "no region and time in it")
    images = images[placed].copy()
    images["filename"] = [list_name(name) for name in images["filename"]]
    return images.sort_values("filename", ignore_index=True)


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
