"""Forecasts to compare: prediction files of any origin, and the images' truth, split and past.

A prediction file is a CSV with a header and the columns `filename` and `probability`, `decision` if it has one; where
it has `split` and `class`, as stages 5 and 7 write them, these are held against lists and labels; other columns are
passed over. Images are matched by file name without folder and extension.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from general_code.flares import peak_flux, peak_fluxes
from general_code.image_names import image_stems
from general_code.label_file import label_size, read_label_file
from general_code.noaa_text import Problem
from general_code.region_splits import RegionLists, assign_splits
from general_code.stage_files import UserError, require_file


class Forecast(NamedTuple):
    """A prediction file.

    Attributes
    ----------
    name : str
        What the table calls it.
    flare_size : str
        Smallest flare that it forecasts.
    rows : pandas.DataFrame
        By image name without folder and extension (index): `probability` (float, NaN where empty) and `decision`
        (float: 0, 1 or NaN); `split` and `class` (str) where the file has them.
    has_decision : bool
        Whether every row has a decision.
    """

    name: str
    flare_size: str
    rows: pd.DataFrame
    has_decision: bool


def read_forecast(setting: str, flare_sizes: Sequence[str]) -> Forecast:
    """Read the prediction file that an entry of the setting `predictions` names.

    Parameters
    ----------
    setting : str
        `NAME=PATH` or `NAME@SIZE=PATH`; without a size the first of `flare_sizes` is meant.
    flare_sizes : sequence of str
        Sizes that are compared.

    Returns
    -------
    Forecast
        With every row of the file.

    Raises
    ------
    UserError
        For an entry of another form, a size that is not compared, and whatever is wrong with the file, with its line.
    """
    label, equals, path = setting.partition("=")
    name, _, size = label.partition("@")
    size = size.strip() or flare_sizes[0]
    if not equals or not name.strip() or not path.strip():
        raise UserError(f"predictions: '{setting}' is not like 'image features=results/SVM/predictions_linear.csv' or "
                        "'image features@M1.0=...csv'; mend the setting")
    if size not in flare_sizes:
        raise UserError(f"predictions: '{setting}' is for flares of {size}, flare_sizes has {', '.join(flare_sizes)}; "
                        "add it there or leave the file out")
    rows = _read_predictions(require_file(Path(path.strip()), "predictions"))
    return Forecast(name.strip(), size, rows, bool(rows["decision"].notna().all()))


def _read_predictions(path: Path) -> pd.DataFrame:
    """Return probability and decision by image name; UserError with the line for a value that is none."""
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: not a CSV of predictions ({error}); expected a header with filename and "
                        "probability") from None
    table.columns = [str(name).strip() for name in table.columns]
    missing = [name for name in ("filename", "probability") if name not in table]
    if missing:
        raise UserError(f"{path}, line 1: no column {' and '.join(missing)}, got {', '.join(table)[:80]}; expected a "
                        "header with filename and probability, decision if there is one")
    if table.empty:
        raise UserError(f"{path}: a header and no row; expected one row an image")
    rows = pd.DataFrame({"probability": _numbers(path, table["probability"], "probability", "from 0 to 1, or empty")})
    decisions = table["decision"] if "decision" in table else pd.Series([""] * len(table), dtype="str")
    rows["decision"] = _numbers(path, decisions, "decision", "0 or 1")
    for name in {"split", "class"} & set(table):
        rows[name] = table[name].str.strip()
    rows.index = pd.Index(image_stems(table["filename"]))
    again = rows.index.duplicated()
    if again.any():
        line = int(np.argmax(again)) + 2
        raise UserError(f"{path}, line {line}: a second row of {rows.index[line - 2]}; expected one row an image")
    return rows


def check_origin(forecast: Forecast, images: pd.DataFrame) -> int:
    """Hold what a file says of its own images against lists and labels.

    Parameters
    ----------
    forecast : Forecast
        As `read_forecast` returns it.
    images : pandas.DataFrame
        As `read_images` returns it.

    Returns
    -------
    int
        Number of test images whose observed class in the file is not that of the labels at its flare size; 0 for a
        file without the column.

    Raises
    ------
    UserError
        When the file says of test images that they trained or validated it.
    """
    test = images[images["split"] == "test"]
    rows = forecast.rows.reindex(test.index)
    if "split" in rows:
        used = rows.index[rows["split"].isin(("training", "validation"))]
        if len(used):
            raise UserError(f"predictions: {forecast.name}: {len(used):,} of the {len(test):,} test images are no test "
                            f"images of the file ('{used[0]}' is {rows['split'][used[0]]}): it was trained with other "
                            "lists of regions; compare with its own (--split-dir), or train it again with these")
    if "class" not in rows:
        return 0
    truth = (test["peak_flux"] >= peak_flux(forecast.flare_size)).map({True: "1", False: "0"})
    return int((rows["class"].isin(("0", "1")) & (rows["class"] != truth)).sum())


def _numbers(path: Path, texts: pd.Series, column: str, expected: str) -> np.ndarray:
    """Return a column as numbers, NaN where empty."""
    texts = texts.str.strip()
    empty = texts.eq("") | texts.str.lower().eq("nan")
    numbers = pd.to_numeric(texts.where(~empty, "nan"), errors="coerce").to_numpy(float)
    good = np.isin(numbers, (0, 1)) if column == "decision" else (numbers >= 0) & (numbers <= 1)
    bad = ~(good | empty.to_numpy())
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(f"{path}, line {row + 2}: {column} '{texts.iloc[row]}' is not {expected}; mend the file")
    return numbers


def read_images(label_file: Path, flare_sizes: Sequence[str],
                lists: RegionLists) -> tuple[pd.DataFrame, list[Problem]]:
    """Return the images of a label file with their truth and split.

    Parameters
    ----------
    label_file : Path
        `filename,class` a line, class `0` or like `C4.7`.
    flare_sizes : sequence of str
        Sizes that are compared: the labels must have been made at the smallest, or below.
    lists : RegionLists
        Regions of each split.

    Returns
    -------
    pandas.DataFrame
        By image name without folder and extension (index): `filename`, `region`, `time`, `split`, `peak_flux` (of the
        largest flare in the window [W/m2], 0 without one).
    list of Problem
        Lines that are not used, regions in no list.

    Raises
    ------
    UserError
        When labels are missing, 0/1 only, made at a larger size, or none is usable.
    """
    _check_label_size(label_file, flare_sizes)
    images, problems = read_label_file(label_file)
    images["peak_flux"] = peak_fluxes(images["class"])
    images["split"] = assign_splits(images["region"], lists)
    listed = images["split"] != ""
    problems += [Problem(f"region {region}", "region in no list", f"{number:,} images") for region, number in
                 images.loc[~listed, "region"].value_counts().items()]
    images = images[listed]
    images.index = pd.Index(image_stems(images["filename"]))
    if images.empty:
        raise UserError(f"label_file: no line of {label_file} names an image of a listed region; set --label-file or "
                        "the lists of regions")
    return images[["filename", "region", "time", "split", "peak_flux"]], problems


def _check_label_size(label_file: Path, flare_sizes: Sequence[str]) -> None:
    """Raise UserError for a size that is none, or is below that of the labels (by their sidecar)."""
    try:
        smallest = min(flare_sizes, key=peak_flux)
    except ValueError as error:
        raise UserError(f"flare_sizes: {error}") from None
    made_at = label_size(label_file)
    if made_at and peak_flux(made_at) > peak_flux(smallest):
        raise UserError(f"flare_sizes: {smallest} is below {made_at}, at which {label_file} was made; make the labels "
                        f"again with --flare-size {smallest}")
