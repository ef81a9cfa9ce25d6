"""The lists of images that stage 7 trains, validates and tests on: `filename,class`, NNNN/name and 0 or 1."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from general_code.image_names import NOT_A_NAME, parse_image_names
from general_code.label_file import label_counts
from general_code.stage_files import UserError, describe, require_file
from general_code.stage_run import StageRun, read_sidecar


def read_image_list(path: Path, setting: str, image_format: str) -> pd.DataFrame:
    """Read one list.

    Parameters
    ----------
    path : Path
        CSV with the header `filename,class`.
    setting : str
        Name of the setting, for the messages.
    image_format : {"fits", "png"}
        Extension that the names get; the one in the list does not matter.

    Returns
    -------
    pandas.DataFrame
        filename (str, NNNN/name), class (int8); in the file's order.

    Raises
    ------
    UserError
        Names file and line: columns missing, a class that is not 0 or 1, a name that comes twice.
    """
    require_file(path, setting)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{setting}: '{path}' is not a CSV of filename,class ({describe(error)})") from None
    if not {"filename", "class"} <= set(table.columns):
        raise UserError(f"{setting}: '{path}' has the columns {', '.join(table.columns)[:80]}; expected the header "
                        "filename,class; make it with Build_keras_dataframe_files.py")
    _refuse(table, ~table["class"].isin(["0", "1"]), path, "the class is", "0 or 1", "class")
    stems = table["filename"].str.replace(r"\.(fits|png)$", "", case=False, regex=True)
    names = (stems + f".{image_format}").map(_four_digits)
    _refuse(table, names.duplicated(), path, "this image comes twice:", "each name once", "filename")
    return pd.DataFrame({"filename": names, "class": table["class"].astype(np.int8)})


def _four_digits(name: str) -> str:
    """Return a name in the data set's spelling, when it begins with a region's number."""
    file = PurePosixPath(name).name
    return list_name(name) if file.partition("_")[0].isdigit() else name


def _refuse(table: pd.DataFrame, wrong: pd.Series, path: Path, text: str, expected: str, column: str) -> None:
    """Raise UserError about the first row that is wrong."""
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(f"{path}, line {row + 2}: {text} '{table[column].iloc[row]}', expected {expected} "
                        f"({int(wrong.sum())} such lines); mend or remove it")


def read_image_lists(files: dict[str, Path], image_format: str, run: StageRun) -> pd.DataFrame:
    """Read the lists of all splits.

    Parameters
    ----------
    files : dict
        From split ("training", "validation", "test") to path; the settings are named after them.
    image_format : {"fits", "png"}
        See `read_image_list`.
    run : StageRun
        Told of names without region and time, which are left out.

    Returns
    -------
    pandas.DataFrame
        filename, class, split, region; in the order of the splits given, then of the files.

    Raises
    ------
    UserError
        As `read_image_list`; also when a region is in two lists, or no image is left.
    """
    tables = [read_image_list(path, setting_of(split), image_format).assign(split=split)
              for split, path in files.items()]
    images = pd.concat(tables, ignore_index=True)
    parsed = parse_image_names(images["filename"])
    unknown = (parsed["region"] == "") | parsed["time"].isna()
    for name in images["filename"][unknown]:
        run.exclude(name, NOT_A_NAME, "no region and time in it")
    images = images.assign(region=parsed["region"])[~unknown].reset_index(drop=True)
    if images.empty:
        raise UserError(f"no image in {', '.join(map(str, files.values()))} is named like "
                        "NNNN/NNNN_hmi.M_720s.YYYYMMDD_HHMMSS_TAI.1.magnetogram.fits")
    splits = images.drop_duplicates(["region", "split"])
    twice = splits[splits["region"].duplicated(keep=False)]
    if len(twice):
        region = twice["region"].iloc[0]
        lists = ", ".join(str(files[split]) for split in twice["split"][twice["region"] == region])
        raise UserError(f"region {region} is in two lists ({lists}); its images are alike, so that a test on them "
                        "would mean nothing: take it out of one")
    return images


def setting_of(split: str) -> str:
    """Return the name of the setting that holds a split's file.

    Parameters
    ----------
    split : str
        "training", "validation" or "test".

    Returns
    -------
    str
        For example "train_file".
    """
    return {"training": "train_file"}.get(split, f"{split}_file")


def list_name(name: str) -> str:
    """Return the name in a list, with the region's folder.

    Parameters
    ----------
    name : str
        Of an image in a data set, `NNNN_hmi...`, folders in front or none, five-digit regions as four digits.

    Returns
    -------
    str
        `NNNN/NNNN_hmi...`.
    """
    region, _, rest = PurePosixPath(name.replace("\\", "/")).name.partition("_")
    return f"{region[-4:]}/{region[-4:]}_{rest}"


def stage_5_label_counts(split_dir: Path, suffix: str) -> dict[str, str | float]:
    """Return how the labels of the tables that stage 5 wrote were made.

    Parameters
    ----------
    split_dir : Path
        Output folder of stage 5.
    suffix : str
        Of its files.

    Returns
    -------
    dict
        As `label_counts` returns it; of an unknown flare size where no sidecar tells, or several differ.
    """
    statistics = [path.with_suffix("") for path in split_dir.glob("ARClassifierStats_weighted_trainvaltest_*.txt.json")]
    found = [label_counts(path) for path in statistics
             if (read_sidecar(path) or {}).get("settings", {}).get("suffix") == suffix]
    return found[0] if found and all(counts == found[0] for counts in found) else {"flare_size": ""}
