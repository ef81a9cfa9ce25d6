"""Scaling, and the columns beside the 29 features: read, joined by file name, written by split.

An extra feature file is a CSV with a header: `filename`, then one column a feature, numbers throughout. It is joined to
the images by file name without folder and extension, so that FITS and PNG images share one.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from classifier_SVM.FeaturesetTools import FEATURE_NAMES, number_texts
from general_code.image_names import image_stems
from general_code.stage_files import UserError, atomic_write, require_file

SPLIT_FILES = {"training": "Train", "validation": "Validation", "test": "Test"}
_ROWS_A_BLOCK = 50_000


@dataclass(frozen=True)
class Scaling:
    """The "equalization": training rows run from 0 to 1 in each feature, other rows may leave that range.

    Attributes
    ----------
    minimum, maximum : ndarray, shape (d,)
        Smallest and largest value of each feature in the training rows.
    """

    minimum: np.ndarray
    maximum: np.ndarray

    @property
    def width(self) -> np.ndarray:
        """What values are divided by: maximum minus minimum, 1 where that is 0; shape (d,)."""
        return np.where(self.maximum > self.minimum, self.maximum - self.minimum, 1.0)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return (values - minimum) / width.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            In the features' own units.

        Returns
        -------
        ndarray
            Shape (n, d), a new array, not clipped.
        """
        return (values - self.minimum) / self.width

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Tell which values lie outside the range of the training rows.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            In the features' own units.

        Returns
        -------
        ndarray
            bool, shape (n, d).
        """
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
    return "".join(f"{low!r} {width!r}\n" for low, width in zip(scaling.minimum.tolist(), scaling.width.tolist(),
                                                               strict=True))


# ---------------------------------------------------------------------------- extra features


def read_extra_features(path: Path) -> pd.DataFrame:
    """Read an extra feature file.

    Parameters
    ----------
    path : Path
        CSV with a header, a column `filename` and numbers in all others.

    Returns
    -------
    pandas.DataFrame
        float64, in the file's order, indexed by file name without folder and extension.

    Raises
    ------
    UserError
        Names file and column or row: no `filename`, no other column, a name of one of the 29 features, text in a
        number, an empty or infinite value, a file name that comes twice.
    """
    import pyarrow
    from pyarrow import csv

    require_file(path, "extra_feature_file")
    try:
        header = csv.open_csv(path).schema.names
        _check_columns(path, header)
        kinds = {name: pyarrow.string() if name == "filename" else pyarrow.float64() for name in header}
        options = csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=False)
        table = csv.read_csv(path, convert_options=options)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"extra_feature_file: {path}: {error}; expected a header, 'filename' and numbers") from None
    columns = [name for name in header if name != "filename"]
    values = pd.DataFrame({name: table.column(name).to_numpy() for name in columns})
    names = table.column("filename").to_pandas().astype("str")
    _refuse(path, names, names.duplicated() | (names == ""), "comes twice or is empty")
    for column in columns:
        _refuse(path, names, ~np.isfinite(values[column]), f"has no finite number in column '{column}'")
    values.index = pd.Index(image_stems(names), name="filename")
    return values


def _check_columns(path: Path, header: list[str]) -> None:
    """Raise UserError unless there is one `filename` and features of other names than the 29."""
    if header.count("filename") != 1 or len(header) < 2:
        raise UserError(f"extra_feature_file: {path}: expected a header with one column 'filename' and at least one "
                        f"feature, got {','.join(header[:4])}...")
    repeated = sorted({name for name in header if header.count(name) > 1 or name in FEATURE_NAMES or not name.strip()})
    if repeated:
        raise UserError(f"extra_feature_file: {path}: column '{repeated[0]}' is empty, comes twice or is an image "
                        "feature; give each column a name of its own")


def _refuse(path: Path, names: pd.Series, wrong: pd.Series, reason: str) -> None:
    """Raise UserError for the first wrong row."""
    if wrong.any():
        row = int(np.argmax(wrong.to_numpy()))
        raise UserError(f"extra_feature_file: {path}, row {row + 1} below the header: '{names[row]}' {reason}; "
                        "put it right or remove the row")


def write_extra_features(path: Path, filenames: pd.Series, values: np.ndarray, names: tuple[str, ...]) -> None:
    """Write scaled extra features: header `filename,...`, one row an image.

    Parameters
    ----------
    path : Path
        The CSV file.
    filenames : pandas.Series
        Of length n.
    values : ndarray, shape (n, d)
        Scaled.
    names : tuple of str
        Of the columns.
    """
    from pyarrow import compute

    with atomic_write(path) as file:
        file.write(",".join(("filename", *names)) + "\n")
        for start in range(0, len(filenames), _ROWS_A_BLOCK):
            rows = slice(start, start + _ROWS_A_BLOCK)
            columns = [filenames.iloc[rows].tolist(), *(number_texts(column) for column in values[rows].T.copy())]
            file.writelines(f"{row}\n" for row in compute.binary_join_element_wise(*columns, ",").to_pylist())
