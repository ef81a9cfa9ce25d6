"""The columns beside the 29 features: read, and written by split.

An extra feature file is a CSV with a header: `filename`, then one column a feature, numbers throughout. It is joined to
the images by file name without folder and extension, so that FITS and PNG images share one.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from classifier_SVM.FeaturesetTools import FEATURE_NAMES, number_texts
from general_code.image_names import image_stems
from general_code.stage_files import UserError, atomic_write, require_file

_ROWS_A_BLOCK = 50_000


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
