"""Feature tables: both published forms, the faults a reader must name, and numbers that read back the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier_SVM.FeaturesetTools import (
    FEATURE_NAMES,
    concatVals,
    number_texts,
    read_feature_table,
    write_feature_table,
)
from general_code.stage_files import UserError


def make_table(rows: int = 4) -> pd.DataFrame:
    """Return a table of random features over many magnitudes."""
    random = np.random.default_rng(1)
    values = random.normal(size=(rows, 29)) * 10.0 ** random.integers(-20, 20, size=(rows, 29))
    table = pd.DataFrame(values, columns=list(FEATURE_NAMES))
    table["class"] = np.arange(rows, dtype=np.int8) % 2
    table["flare class"] = pd.Series(["C4.7" if flare else "0" for flare in table["class"]], dtype="str")
    names = [f"{1000 + row}_hmi.M_720s.20110215_000000_TAI.1.magnetogram.fits" for row in range(rows)]
    table["filename"] = pd.Series(names, dtype="str")
    return table


def rows_of(table: pd.DataFrame) -> list[list[str]]:
    """Return the cells of the table as Python spells them."""
    return [[*map(repr, row[:29]), *map(str, row[29:])] for row in table.itertuples(index=False)]


def write_rows(path: Path, rows: list[list[str]], header: str = "") -> Path:
    """Write cells as CSV."""
    path.write_text(header + "".join(",".join(row) + "\n" for row in rows))
    return path


def test_there_are_29_names_each_once():
    assert len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 29
    assert FEATURE_NAMES[9] == "NL gradient-weighted length" and FEATURE_NAMES[25] == "total positive flux"


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("dropped", [[], ["flare class"]])
def test_a_table_reads_back_as_it_was_written(tmp_path, header, dropped):
    table = make_table().drop(columns=dropped)
    write_feature_table(tmp_path / "features.csv", table, header)
    pd.testing.assert_frame_equal(read_feature_table(tmp_path / "features.csv"), table)


def test_the_text_is_the_one_that_python_writes(tmp_path):
    write_feature_table(tmp_path / "features.csv", make_table())
    expected = "".join(",".join(row) + "\n" for row in rows_of(make_table()))
    assert (tmp_path / "features.csv").read_bytes() == expected.encode()


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_numbers_are_spelled_as_python_spells_them(values):
    assert number_texts(np.array(values)).to_pylist() == [repr(value) for value in values]


def test_spelling_at_the_turns_of_notation():
    values = [0.0, -0.0, 1e-4, 9.999e-5, 1e10, 9999999999.5, 1e15, 1e16, 1e22, 5e-324, 1.7976931348623157e308, 0.3]
    assert number_texts(np.array(values)).to_pylist() == [repr(value) for value in values]


def test_the_older_form_with_flare_classes_gives_both_labels(tmp_path):
    rows = [row[:29] + row[30:] for row in rows_of(make_table())]
    table = read_feature_table(write_rows(tmp_path / "old.csv", rows))
    assert table["class"].tolist() == [0, 1, 0, 1]
    assert table["flare class"].tolist() == ["0", "C4.7", "0", "C4.7"]


def test_the_older_form_with_numbers_has_no_flare_classes(tmp_path):
    rows = [row[:30] + row[31:] for row in rows_of(make_table())]
    table = read_feature_table(write_rows(tmp_path / "old.csv", rows))
    assert "flare class" not in table and table["class"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("missing", [0, 13, 28])
def test_a_table_without_one_feature_is_not_taken_for_the_older_form(tmp_path, missing):
    """Its class would be read as the 29th feature, the truth among the features."""
    rows = [row[:missing] + row[missing + 1:] for row in rows_of(make_table())]
    with pytest.raises(UserError, match="a feature column is missing"):
        read_feature_table(write_rows(tmp_path / "features.csv", rows))


def test_any_header_line_is_passed_over(tmp_path):
    header = ",".join(f"column{number}" for number in range(32)) + "\n"
    assert len(read_feature_table(write_rows(tmp_path / "features.csv", rows_of(make_table()), header))) == 4


def test_a_header_in_another_order_is_refused(tmp_path):
    header = ",".join([*FEATURE_NAMES[::-1], "class", "flare class", "filename"]) + "\n"
    with pytest.raises(UserError, match="line 1.*another order"):
        read_feature_table(write_rows(tmp_path / "features.csv", rows_of(make_table()), header))


@pytest.mark.parametrize(("row", "column", "text", "message"), [
    (2, 4, "nan", "line 3: 'gradient max' is nan, expected a finite number"),
    (1, 28, "-inf", "line 2: 'total unsigned flux' is -inf"),
    (3, 0, "abc", "line 4: 'gradient mean' is 'abc', expected a number"),
    (1, 7, "", "line 2: 'NL length' is '', expected a number"),
    (1, 29, "2", "line 2: 'class' is '2', expected 0 or 1"),
    (2, 30, "Z1.0", "line 3: 'flare class' is 'Z1.0', expected 0 or like C4.7"),
    (0, 31, "", "line 1: 'filename' is ''"),
    (3, 31, "1001_hmi.M_720s.20110215_000000_TAI.1.magnetogram.fits", "line 4: 'filename' is '1001_.*' again"),
])
def test_a_wrong_cell_is_named_with_its_line(tmp_path, row, column, text, message):
    rows = rows_of(make_table())
    rows[row][column] = text
    with pytest.raises(UserError, match=message):
        read_feature_table(write_rows(tmp_path / "features.csv", rows))


def test_lines_are_counted_with_header_and_blank_lines(tmp_path):
    rows = rows_of(make_table())
    rows[2][3] = "nan"
    header = ",".join([*FEATURE_NAMES, "class", "flare class", "filename"]) + "\n\n"
    with pytest.raises(UserError, match="line 5: 'gradient min' is nan"):
        read_feature_table(write_rows(tmp_path / "features.csv", rows, header))


def test_a_missing_column_is_named_with_its_line(tmp_path):
    rows = rows_of(make_table())
    with pytest.raises(UserError, match="line 1: expected 32 columns .* got 30"):
        read_feature_table(write_rows(tmp_path / "short.csv", [row[:30] for row in rows]))
    del rows[2][11]
    with pytest.raises(UserError, match="line 3: expected 32 columns as in the first row, got 31"):
        read_feature_table(write_rows(tmp_path / "features.csv", rows))


def test_no_file_and_no_rows(tmp_path):
    with pytest.raises(UserError, match="feature_file: expected a file"):
        read_feature_table(tmp_path / "none.csv")
    with pytest.raises(UserError, match="got 0"):
        read_feature_table(write_rows(tmp_path / "header.csv", [], ",".join(FEATURE_NAMES) + "\n"))


def test_concatVals_returns_the_values_in_the_order_of_the_names():
    image = np.round(np.random.default_rng(2).normal(scale=200, size=(40, 33)), 1)
    values = concatVals(image)
    assert values.shape == (29,) and values.dtype == np.float64
    assert values[FEATURE_NAMES.index("total positive flux")] == pytest.approx(image[image > 0].sum())
    assert values[FEATURE_NAMES.index("gradient max")] == values[:7].max()
