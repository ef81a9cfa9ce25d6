"""The table of the 29 features: names of its columns, reading, writing and scaling; and the columns beside them.

A feature table is a CSV text without header, one row an image: the 29 features (`FEATURE_NAMES`), class (1 where
the image is followed by a flare, else 0), flare class (`0` or e.g. `C4.7`), file name. Also read are a header line,
the older published form of 31 columns (29 features; class or flare class; name), and ";" in place of ",".
Units: gradients in gauss (grey levels of a PNG), wavelet energies and fluxes in gauss summed over pixels, NL length,
fragments and gradient-weighted length in numbers, NL curvature in radians, NL bending energy in square radians.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from general_code.images.names import image_stems
from general_code.noaa.flares import FLARE_CLASS
from general_code.stage.files import UserError, describe, require_file, write_csv

FEATURE_VERSION = "1"  # of the definitions: raise it when a value changes, and tables are computed again
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
FLARE_SOURCES = "flare_sources"  # under this name the sidecar of an extra feature file notes where its flares are from
SOURCE_KEYS = ("events_dir", "event_list", "event_list_delay_minutes", "smallest_flare", "flare_scale")
_COLUMNS = "32 columns (29 features, class, flare class, name) or 31 (29 features, class, name)"
_FLARE_CLASS = re.compile(rf"0|0\.0|{FLARE_CLASS}")


# ---------------------------------------------------------------------------- scaling ("equalization")


@dataclass(frozen=True)
class Scaling:
    """The "equalization": training rows run from 0 to 1 in each feature, other rows may leave that range."""

    minimum: np.ndarray  # of each feature in the training rows, shape (d,)
    maximum: np.ndarray

    @property
    def width(self) -> np.ndarray:
        """What values are divided by: maximum minus minimum, 1 where that is 0; shape (d,)."""
        return np.where(self.maximum > self.minimum, self.maximum - self.minimum, 1.0)

    def apply(self, values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return (values - minimum) / width for rows of shape (n, d) in the features' own units, not clipped.

        `out` takes the result, `values` itself to scale them in place: a million rows of 119 columns are a gigabyte.
        """
        scaled = np.subtract(values, self.minimum, out=out)
        scaled /= self.width
        return scaled

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Tell which values, shape (n, d), lie outside the range of the training rows."""
        return (values < self.minimum) | (values > self.maximum)


def fit_scaling(values: np.ndarray) -> Scaling:
    """Return the scaling of the training rows.

    Parameters
    ----------
    values : ndarray, shape (n, d)
        Finite; n at least 1.

    Returns
    -------
    Scaling
        Minimum and maximum of each column.
    """
    return Scaling(values.min(axis=0), values.max(axis=0))


def weight_text(scaling: Scaling) -> str:
    """Return the text of the weight file: a line `min range` for each feature.

    Parameters
    ----------
    scaling : Scaling
        Of the 29 image features.

    Returns
    -------
    str
        Numbers that read back as the same doubles; a range of 0 is written as the 1 that is divided by.
    """
    rows = zip(scaling.minimum.tolist(), scaling.width.tolist(), strict=True)
    return "".join(f"{low!r} {width!r}\n" for low, width in rows)


# ---------------------------------------------------------------------------- the feature table


def write_feature_table(path: Path, table: pd.DataFrame) -> None:
    """Write a feature table as published: 32 columns, or 31 where it has no flare classes.

    Parameters
    ----------
    path, table : Path, pandas.DataFrame
        The CSV file; columns as `read_feature_table` returns them, in any order, rows stay in theirs.
    """
    columns = [*FEATURE_NAMES, *(column for column in LABEL_COLUMNS if column in table)]
    write_csv(path, table[columns], header=False)


def read_feature_table(path: Path, setting: str = "feature_file") -> pd.DataFrame:
    """Read a feature table of either published form, with or without header.

    Parameters
    ----------
    path, setting : Path, str
        CSV of 32 or 31 columns; name of the setting that holds the path, for the messages.

    Returns
    -------
    pandas.DataFrame
        In the file's order: 29 columns of float64 named as in `FEATURE_NAMES`; `class` (int8, 0 or 1);
        `flare class` (str), absent when the file has 0/1 classes only; `filename` (str). UserError, with the line, for
        a missing column, text for a number, NaN, infinity, an unknown class, an image twice.
    """
    form = _form_of(require_file(path, setting), setting)
    parsed = _parse(form)
    values = np.empty((len(FEATURE_NAMES), parsed.num_rows))
    for number, name in enumerate(FEATURE_NAMES):
        values[number] = parsed.column(number)
        _refuse(form, ~np.isfinite(values[number]), name, values[number], "a finite number")
    labels = [parsed.column(number).to_pandas() for number in range(len(FEATURE_NAMES), form.width)]
    table = pd.DataFrame(values.T, columns=list(FEATURE_NAMES), copy=False)
    for name, column in _labels(form, labels).items():
        table[name] = column
    if len(labels) == 2 and "flare class" in table and np.array_equal(values[-1], table["class"]):
        raise UserError(f"{path}: expected 29 features in its 31 columns, but the last of them is the 0/1 class of "
                        "every image: a feature column is missing; write the table again with all 32 columns")
    return table


class _Form(NamedTuple):
    """How a feature table is written."""

    path: Path
    delimiter: str
    header: bool
    width: int  # number of columns

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Return line number and fields of the rows below the header, without blank lines."""
        return islice(_filled_rows(self.path, self.delimiter), int(self.header), None)


def _filled_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of the lines that are not blank."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter)
        try:
            yield from ((rows.line_num, row) for row in rows if row)
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: {error}; write the table again") from None


def _form_of(path: Path, setting: str) -> _Form:
    """Return how a table is written, by its first lines: a header is one whose first field is not a number."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        delimiter = ";" if file.readline().count(";") >= 30 else ","
    rows = islice(_filled_rows(path, delimiter), 2)
    line, fields = next(rows, (1, [""]))
    names = [field.strip() for field in fields[:len(FEATURE_NAMES)]]
    if len(fields) == 2:
        raise UserError(f"{setting}: {path} is a list of images with their labels, no feature table; give it as "
                        "--label-file, with --feature-file \"\" and --extra-feature-file")
    header = not _is_number(names[0])
    if header:
        if set(names) <= set(FEATURE_NAMES) and tuple(names) != FEATURE_NAMES:
            raise UserError(f"{path}, line 1: the header names the features in another order or not all of them; "
                            "expected the order of FEATURE_NAMES in classifier_SVM/FeaturesetTools.py")
        line, fields = next(rows, (line, []))
    if len(fields) not in (31, 32):
        raise UserError(f"{path}, line {line}: expected {_COLUMNS}, got {len(fields)}; write the table again")
    return _Form(path, delimiter, header, len(fields))


def _is_number(text: str) -> bool:
    """Tell whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(form: _Form) -> "pyarrow.Table":  # noqa: F821
    """Return the columns of the file as they stand: float64, then str."""
    import pyarrow
    from pyarrow import csv as arrow_csv

    kinds = {f"f{n}": pyarrow.float64() if n < len(FEATURE_NAMES) else pyarrow.string() for n in range(form.width)}
    read_options = arrow_csv.ReadOptions(skip_rows=int(form.header), column_names=list(kinds), block_size=16 << 20)
    try:
        return arrow_csv.read_csv(
            form.path, read_options=read_options,
            parse_options=arrow_csv.ParseOptions(delimiter=form.delimiter),
            convert_options=arrow_csv.ConvertOptions(column_types=kinds, null_values=[], strings_can_be_null=False))
    except (pyarrow.ArrowException, UnicodeError) as error:
        raise _first_fault(form) or UserError(f"{form.path}: not a feature table ({describe(error)})") from None


def _first_fault(form: _Form) -> UserError | None:
    """Return the error for the first row that is too short, too long or holds text for a number."""
    for line, row in form.rows():
        if len(row) != form.width:
            return UserError(f"{form.path}, line {line}: expected {form.width} columns as in the first row, got "
                             f"{len(row)}; write the table again")
        for name, text in zip(FEATURE_NAMES, row, strict=False):
            if not _is_number(text):
                return UserError(f"{form.path}, line {line}: '{name}' is '{text:.100}', expected a number; "
                                 "remove the row or compute it again")
    return None


def _labels(form: _Form, columns: list[pd.Series]) -> pd.DataFrame:
    """Return class, flare class (where there is one) and name, each checked."""
    columns = [column.str.strip() for column in columns]
    codes, names = columns[0], columns[-1]
    flare_classes = columns[1].str.upper() if len(columns) == 3 else None
    if len(columns) == 2 and not codes.isin(["0", "1", "0.0", "1.0"]).all():
        flare_classes = codes.str.upper()
        codes = codes.isin(["0", "0.0"]).map({True: "0", False: "1"})
    numbers = codes.map({"0": 0, "1": 1, "0.0": 0, "1.0": 1})
    _refuse(form, numbers.isna(), "class", codes, "0 or 1")
    labels = pd.DataFrame({"class": numbers.astype(np.int8)})
    if flare_classes is not None:
        known = {text: bool(_FLARE_CLASS.fullmatch(text)) for text in flare_classes.unique()}
        _refuse(form, ~flare_classes.map(known).astype(bool), "flare class", flare_classes, "0 or like C4.7")
        labels["flare class"] = flare_classes.replace("0.0", "0")
    _refuse(form, names == "", "filename", names, "the image's file name")
    _refuse(form, image_stems(names).duplicated(), "filename", names, "each image once")
    labels["filename"] = names
    return labels


def _refuse(form: _Form, wrong: Any, column: str, values: Any, expected: str) -> None:
    """Raise UserError, with the line in the file, for the first wrong value of a column."""
    wrong, values = np.asarray(wrong), np.asarray(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        again = " again" if (values[:row] == values[row]).any() else ""
        line, _ = next(islice(form.rows(), row, None), (row, []))
        raise UserError(f"{form.path}, line {line}: '{column}' is '{str(values[row])[:100]}'{again}, expected "
                        f"{expected}; correct or remove the row")


# ---------------------------------------------------------------------------- columns beside the 29 features


def read_extra_features(path: Path) -> pd.DataFrame:
    """Read an extra feature file.

    Parameters
    ----------
    path : Path
        CSV with a header, a column `filename` and numbers in all others.

    Returns
    -------
    pandas.DataFrame
        float64, in the file's order, indexed by `image_stems` of the file names. UserError, with column or row, for no
        `filename` or other column, a name of the 29, no finite number, a file name twice.
    """
    import pyarrow
    from pyarrow import csv

    require_file(path, "extra_feature_file")
    try:
        header = csv.open_csv(path).schema.names
        _check_columns(path, header)
        kinds = {name: pyarrow.string() if name == "filename" else pyarrow.float64() for name in header}
        options = csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=False)
        values = csv.read_csv(path, convert_options=options).to_pandas()
    except (pyarrow.ArrowException, UnicodeError) as error:
        raise UserError(f"extra_feature_file: {path}: {describe(error)}; expected a header, 'filename' and "
                        "numbers") from None
    names = values.pop("filename").astype("str")
    values.index = pd.Index(image_stems(names), name="filename")
    wrong = {"comes twice or is empty": values.index.duplicated() | (names == "").to_numpy()}
    wrong |= {f"has no finite number in column '{name}'": ~np.isfinite(values[name].to_numpy()) for name in values}
    for reason, rows in wrong.items():
        if rows.any():
            row = int(np.argmax(rows))
            raise UserError(f"extra_feature_file: {path}, row {row + 1} below the header: '{names[row]:.100}' "
                            f"{reason}; correct or remove the row")
    return values


def _check_columns(path: Path, header: list[str]) -> None:
    """Raise UserError unless there is one `filename` and features of other names than the 29."""
    if header.count("filename") != 1 or len(header) < 2:
        raise UserError(f"extra_feature_file: {path}: expected a header with one column 'filename' and at least one "
                        f"feature, got {','.join(header[:4])[:100]}...")
    wrong = sorted({name for name in header if header.count(name) > 1 or name in FEATURE_NAMES or not name.strip()})
    if wrong:
        raise UserError(f"extra_feature_file: {path}: column '{wrong[0]:.100}' is empty, comes twice or is an image "
                        "feature; give each column a name of its own")
