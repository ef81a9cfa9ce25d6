"""The table of the 29 features: names of its columns, one image's values, tables in and out; splits and scaling.

Splits (`general_code/region_splits.py`) and scaling (`classifier_SVM/scaling.py`) can be had from here, too.

A feature table is a CSV text without header, one row an image: the 29 features (`FEATURE_NAMES`), class (1 where
the image is followed by a flare, else 0), flare class (`0` or e.g. `C4.7`), file name. Read as well: a
header line, and the older published form of 31 columns (29 features; class or flare class; name).

Units: gradients, wavelet energies and fluxes in gauss (grey levels of a PNG), the last two summed over pixels; skewness
and kurtosis without; NL length, fragments and gradient-weighted length are counts; NL curvature in radians, NL bending
energy in square radians.
"""

import csv
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from classifier_SVM.scaling import Scaling, fit_scaling
from general_code.flares import FLARE_CLASS
from general_code.region_splits import RegionLists, assign_splits, draw_region_split, read_region_lists
from general_code.stage_files import UserError, atomic_write, require_file

__all__ = ["FEATURE_NAMES", "RegionLists", "Scaling", "assign_splits", "concatVals", "draw_region_split", "fit_scaling",
           "read_feature_table", "read_region_lists", "write_feature_table"]

_SUMMARY = ("mean", "std", "median", "min", "max")
FEATURE_NAMES = (
    *(f"gradient {name}" for name in (*_SUMMARY, "skewness", "kurtosis")),
    "NL length", "NL number of fragments", "NL gradient-weighted length",
    *(f"NL curvature {name}" for name in _SUMMARY),
    *(f"NL bending energy {name}" for name in _SUMMARY),
    *(f"wavelet energy L{level}" for level in range(1, 6)),
    "total positive flux", "total negative flux", "total signed flux", "total unsigned flux",
)
LABEL_COLUMNS = ("class", "flare class", "filename")
_FLARE_CLASS = re.compile(rf"0|0\.0|{FLARE_CLASS}")
_ROWS_A_BLOCK = 50_000


def concatVals(image: np.ndarray) -> np.ndarray:
    """Return the 29 features of an image, in the order of `FEATURE_NAMES`.

    Parameters
    ----------
    image : numpy.ndarray
        Line-of-sight field [G], or grey levels minus 128; any rectangle from 32x32 on.

    Returns
    -------
    numpy.ndarray
        float64, shape (29,), finite.

    Raises
    ------
    ValueError
        For an image that has no features; see `FunctionsP3.image_features`.
    """
    from classifier_SVM.FunctionsP3 import image_features  # loads numba, which readers of tables do not need

    return image_features(image)


# ---------------------------------------------------------------------------- reading


def read_feature_table(path: Path, setting: str = "feature_file") -> pd.DataFrame:
    """Read a feature table of either published form, with or without header.

    Parameters
    ----------
    path : Path
        CSV of 32 or 31 columns.
    setting : str, optional
        Name of the setting that holds the path, for the messages.

    Returns
    -------
    pandas.DataFrame
        In the file's order: 29 columns of float64 named as in `FEATURE_NAMES`; `class` (int8, 0 or 1);
        `flare class` (str), absent when the file has 0/1 classes only; `filename` (str).

    Raises
    ------
    UserError
        Names file and line: no such file, a missing column (also where the class column slid into its place),
        text in place of a number, NaN or infinite values, an unknown class, a name that comes twice.
    """
    header = _has_header(require_file(path, setting))
    parsed = _parse(path, header)
    values = np.empty((len(FEATURE_NAMES), parsed.num_rows))
    for number, name in enumerate(FEATURE_NAMES):
        values[number] = parsed.column(number)
        finite = np.isfinite(values[number])
        if not finite.all():
            row = int(np.argmin(finite))
            raise _row_error(path, header, row, f"'{name}' is {values[number, row]}, expected a finite number; "
                                                "remove the row or compute it again")
    labels = [parsed.column(number).to_pandas() for number in range(len(FEATURE_NAMES), parsed.num_columns)]
    table = pd.DataFrame(values.T, columns=list(FEATURE_NAMES), copy=False)
    for name, column in _labels(path, header, labels).items():
        table[name] = column
    if len(labels) == 2 and "flare class" in table and np.array_equal(values[-1], table["class"]):
        raise UserError(f"{path}: expected 29 features in its 31 columns, but the last of them is the 0/1 class of "
                        "every image: a feature column is missing; write the table again with all 32 columns")
    return table


def _has_header(path: Path) -> bool:
    """Tell whether the first line is a header: its first field is not a number. Names in another order are refused."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = [field.strip() for field in next(csv.reader(file), [""])]
    try:
        float(first[0])
        return False
    except ValueError:
        names = first[:len(FEATURE_NAMES)]
    if set(names) <= set(FEATURE_NAMES) and tuple(names) != FEATURE_NAMES:
        raise UserError(f"{path}, line 1: the header names the features in another order or not all of them; "
                        "expected the order of FEATURE_NAMES in classifier_SVM/FeaturesetTools.py")
    return True


def _parse(path: Path, header: bool) -> "pyarrow.Table":  # noqa: F821
    """Return the columns of the file as they stand: float64, then str."""
    import pyarrow
    from pyarrow import csv as arrow_csv

    features = len(FEATURE_NAMES)
    kinds = {f"f{n}": pyarrow.float64() if n < features else pyarrow.string() for n in range(features + 3)}
    width = _width(path, header)
    try:
        return arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(skip_rows=int(header), column_names=list(kinds)[:width],
                                               block_size=16 << 20),
            convert_options=arrow_csv.ConvertOptions(column_types=kinds, null_values=[], strings_can_be_null=False))
    except pyarrow.ArrowInvalid as error:
        raise _first_fault(path, header, width) or UserError(f"{path}: not a feature table ({error})") from None


def _width(path: Path, header: bool) -> int:
    """Return the number of columns of the first row; UserError unless 31 or 32."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        width = len(next((row for row in islice(rows, int(header), None) if row), []))
        if width in (31, 32):
            return width
        raise UserError(f"{path}, line {rows.line_num}: expected 32 columns (29 features, class, flare class, name) "
                        f"or 31 (29 features, class, name), got {width}; write the table again")


def _first_fault(path: Path, header: bool, width: int) -> UserError | None:
    """Return the error for the first row that is too short, too long or holds text for a number."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        for row in islice(rows, int(header), None):
            if row and len(row) != width:
                return UserError(f"{path}, line {rows.line_num}: expected {width} columns as in the first row, "
                                 f"got {len(row)}; write the table again")
            for name, text in zip(FEATURE_NAMES, row, strict=False):
                try:
                    float(text)
                except ValueError:
                    return UserError(f"{path}, line {rows.line_num}: '{name}' is '{text}', expected a number; "
                                     "remove the row or compute it again")
    return None


def _row_error(path: Path, header: bool, row: int, text: str) -> UserError:
    """Return the error for a row of the table (0 is the first), with its line in the file."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        filled = (rows.line_num for fields in rows if fields)
        line = next(islice(filled, int(row) + int(header), None), row)
    return UserError(f"{path}, line {line}: {text}")


def _labels(path: Path, header: bool, columns: list[pd.Series]) -> pd.DataFrame:
    """Return class, flare class (where there is one) and name, each checked."""
    columns = [column.str.strip() for column in columns]
    codes, names = columns[0], columns[-1]
    labels = pd.DataFrame(index=names.index)
    flare_classes = columns[1] if len(columns) == 3 else None
    if len(columns) == 2 and not codes.isin(["0", "1", "0.0", "1.0"]).all():
        flare_classes, codes = codes, codes.isin(["0", "0.0"]).map({True: "0", False: "1"})
    numbers = codes.map({"0": 0, "1": 1, "0.0": 0, "1.0": 1})
    _refuse(path, header, numbers.isna(), "class", codes, "0 or 1")
    labels["class"] = numbers.astype(np.int8)
    if flare_classes is not None:
        known = {text: bool(_FLARE_CLASS.fullmatch(text)) for text in flare_classes.unique()}
        _refuse(path, header, ~flare_classes.map(known).astype(bool), "flare class", flare_classes, "0 or like C4.7")
        labels["flare class"] = flare_classes.replace("0.0", "0")
    _refuse(path, header, names == "", "filename", names, "the image's file name")
    _refuse(path, header, names.duplicated(), "filename", names, "each image once")
    labels["filename"] = names
    return labels


def _refuse(path: Path, header: bool, wrong: pd.Series, column: str, values: pd.Series, expected: str) -> None:
    """Raise UserError for the first wrong value of a column."""
    if wrong.any():
        row = int(np.argmax(wrong.to_numpy()))
        again = " again" if values.iloc[:row].eq(values.iloc[row]).any() else ""
        raise _row_error(path, header, row, f"'{column}' is '{values.iloc[row]}'{again}, expected {expected}; "
                                            "put it right or remove the row")


# ---------------------------------------------------------------------------- writing


def number_texts(values: np.ndarray) -> "pyarrow.Array":  # noqa: F821
    """Return the shortest texts that read back as the same doubles, spelled as Python spells them.

    Parameters
    ----------
    values : numpy.ndarray
        float64, shape (n,).

    Returns
    -------
    pyarrow.Array
        n strings, equal to `repr` of each value.
    """
    import pyarrow
    from pyarrow import compute

    texts = pyarrow.array(values).cast(pyarrow.string())
    size = np.abs(values)
    whole = (values == np.rint(values)) & (size < 1e10)
    if whole.any():  # Arrow writes 5, Python 5.0
        texts = compute.if_else(pyarrow.array(whole), compute.binary_join_element_wise(texts, "", ".0"), texts)
    other = ((size < 1e-4) & ~whole) | (size >= 1e10) | ~np.isfinite(values)  # the two choose exponents differently
    if other.any():
        texts = compute.replace_with_mask(texts, pyarrow.array(other), pyarrow.array(map(repr, values[other].tolist())))
    return texts


def write_feature_table(path: Path, table: pd.DataFrame, header: bool = False) -> None:
    """Write a feature table as published: 32 columns, or 31 where it has no flare classes.

    Parameters
    ----------
    path : Path
        The file to be; written beside and renamed.
    table : pandas.DataFrame
        Columns as `read_feature_table` returns them, in any order; rows stay in theirs.
    header : bool, optional
        Whether to begin with a line of column names.
    """
    from pyarrow import compute

    label_columns = [column for column in LABEL_COLUMNS if column in table]
    with atomic_write(path) as file:
        if header:
            file.write(",".join([*FEATURE_NAMES, *label_columns]) + "\n")
        for start in range(0, len(table), _ROWS_A_BLOCK):
            block = table.iloc[start:start + _ROWS_A_BLOCK]
            columns = [number_texts(block[name].to_numpy(dtype=np.float64)) for name in FEATURE_NAMES]
            columns += [block[name].astype(str).tolist() for name in label_columns]
            file.writelines(f"{row}\n" for row in compute.binary_join_element_wise(*columns, ",").to_pylist())
