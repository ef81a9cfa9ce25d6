"""Make the lists of images that VGG_transfer_learning.py trains, validates and tests on.

Reads
-----
split_dir        `Train_Data_by_AR{suffix}.csv`, `Validation_...`, `Test_...` of stage 5 (29 scaled features, 0/1 class,
                 flare class, file name; the published spelling `Validation_data` is read, too), or
label_file       `filename,class` a line, without header, class `0` or like `C4.7` (any label but `0` is a flare), with
the three lists  one active-region number a line; when none of them exists, those of `split_dir` are taken

Writes to `output_dir`
------
Train_Data_by_AR{suffix}.csv, Validation_Data_by_AR{suffix}.csv, Test_Data_by_AR{suffix}.csv
                 header `filename,class`; `NNNN/NNNN_hmi.M_720s.....fits|png` and 0 or 1, by name

A region in no list goes to training when there is no training list, else its images are left out and listed.

Usage
-----
    python classifier_VGG/Build_keras_dataframe_files.py
    python classifier_VGG/Build_keras_dataframe_files.py --label-file data/Labels.txt

References
----------
Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825 (the data set and its split by active region).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root
from classifier_SVM.FeaturesetTools import read_feature_table
from classifier_SVM.region_splits import (
    RegionLists,
    assign_splits,
    either_spelling,
    read_region_lists,
    unlisted_regions,
)
from classifier_VGG.image_lists import list_name, stage_5_flare_size
from general_code.flares import NO_FLARE
from general_code.image_names import NOT_A_NAME, parse_image_names
from general_code.label_file import label_size, read_label_file
from general_code.stage_files import UserError, atomic_write, given
from general_code.stage_run import StageRun, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings; every one can be overridden for one run, e.g. `--suffix _M1`."""

    split_dir: Path = Path("results/SVM")  # folder with the tables of stage 5, or with its lists of regions
    suffix: str = ""  # of the tables' names, as in stage 5
    label_file: Path = Path("")  # labels to split by the lists; "": take the tables in split_dir
    test_ar_list: Path = Path("data/List_of_AR_in_Test_Data_by_AR.csv")  # regions of the test set
    validation_ar_list: Path = Path("data/List_of_AR_in_Validation_data_by_AR.csv")  # regions of the validation set
    train_ar_list: Path = Path("data/List_of_AR_in_Train_Data_by_AR.csv")  # training regions; missing: all others
    output_dir: Path = Path("results/VGG")  # folder of the lists of images
## End User Definitions


FILES = {"training": "Train_Data_by_AR", "validation": "Validation_Data_by_AR", "test": "Test_Data_by_AR"}


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    tables = {split: either_spelling(user.split_dir / f"{name}{user.suffix}.csv") for split, name in FILES.items()}
    outputs = {split: user.output_dir / f"{name}{user.suffix}.csv" for split, name in FILES.items()}
    inputs = [user.label_file, user.test_ar_list, user.validation_ar_list, user.train_ar_list, *tables.values()]
    refuse_inputs(outputs, inputs)
    with stage_run(user, output=outputs["training"], inputs=inputs) as run:
        if given(user.label_file):
            images = split_labels(user, run)
            run.counts["flare_size"] = label_size(user.label_file)
        else:
            images = read_tables(tables, run)
            run.counts["flare_size"] = stage_5_flare_size(user.split_dir, user.suffix)
        images = with_folders(images, run)
        for split, path in outputs.items():
            write_list(images[images["split"] == split], path, split, run)


def refuse_inputs(outputs: dict[str, Path], inputs: list[Path]) -> None:
    """Raise UserError when an output is an input.

    Parameters
    ----------
    outputs : dict of str to Path
        What will be written.
    inputs : list of Path
        What is read; the empty path is skipped.
    """
    read = {path.resolve() for path in inputs if given(path)}
    for path in outputs.values():
        if path.resolve() in read:
            raise UserError(f"output_dir: '{path}' is an input of this stage and would be overwritten; name another "
                            "folder than split_dir")


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


def say_unlisted(regions: pd.Series, lists: RegionLists, run: StageRun) -> None:
    """Say which regions are in no list and where their images go.

    Parameters
    ----------
    regions : pandas.Series
        Of each image.
    lists : RegionLists
        As read.
    run : StageRun
        Told.
    """
    unlisted = unlisted_regions(regions, lists)
    run.counts["regions_in_no_list"] = len(unlisted)
    if unlisted:
        where = "go to training" if lists.training is None else "are left out"
        more = ", …" if len(unlisted) > 10 else ""
        run.say(f"{len(unlisted):,} regions ({int(regions.isin(unlisted).sum()):,} images) are in no list and {where}: "
                f"{', '.join(unlisted[:10])}{more}")


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


def write_list(images: pd.DataFrame, path: Path, split: str, run: StageRun) -> None:
    """Write one list and say what it holds.

    Parameters
    ----------
    images : pandas.DataFrame
        filename, class; may be empty.
    path : Path
        The CSV to be.
    split : str
        For the message.
    run : StageRun
        Told.
    """
    with atomic_write(path) as file:
        images[["filename", "class"]].to_csv(file, index=False, lineterminator="\n")
    flares, regions = int(images["class"].sum()), images["filename"].str[:4].nunique()
    remark = "" if 0 < flares < len(images) else "; one class only or empty: its scores will not be defined"
    run.say(f"{path}: {split}, {len(images):,} images of {regions:,} regions, {flares:,} with a flare{remark}")
    run.counts[split] = {"images": len(images), "regions": regions, "flaring": flares}


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
