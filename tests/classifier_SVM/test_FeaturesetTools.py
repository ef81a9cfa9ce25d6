"""Feature tables: both published forms, the errors a reader must name, exact numbers; scaling; extra features."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifier_SVM.FeaturesetTools import (
    FEATURE_NAMES,
    fit_scaling,
    read_extra_features,
    read_feature_table,
    weight_text,
    write_feature_table,
)
from general_code.stage.files import UserError


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


def make_rows() -> list[list[str]]:
    """Return the cells of the table as Python spells them."""
    return [[*map(repr, row[:29]), *map(str, row[29:])] for row in make_table().itertuples(index=False)]


def as_csv(rows: list[list[str]]) -> str:
    """Return cells as CSV."""
    return "".join(",".join(row) + "\n" for row in rows)


def read_text(folder: Path, text: str) -> pd.DataFrame:
    """Read a feature table of a text."""
    (folder / "features.csv").write_bytes(text.encode())
    return read_feature_table(folder / "features.csv")


HEADER = ",".join([*FEATURE_NAMES, "class", "flare class", "filename"]) + "\n"


@pytest.mark.parametrize("dropped", [[], ["flare class"]])
def test_a_table_reads_back_as_it_was_written(tmp_path, dropped):
    table = make_table(60).drop(columns=dropped)
    table.iloc[0, :6] = [0.0, -0.0, 1e-5, 1e22, 5e-324, 1.7976931348623157e308]
    write_feature_table(tmp_path / "features.csv", table)
    assert (tmp_path / "features.csv").read_text().count("\n") == 60
    pd.testing.assert_frame_equal(read_feature_table(tmp_path / "features.csv"), table, check_exact=True)


@pytest.mark.parametrize("without", [29, 30])
def test_the_older_form_has_one_label_column(tmp_path, without):
    table = read_text(tmp_path, as_csv([row[:without] + row[without + 1:] for row in make_rows()]))
    assert table["class"].tolist() == [0, 1, 0, 1]
    assert ("flare class" in table) == (without == 29)
    assert without == 30 or table["flare class"].tolist() == ["0", "C4.7", "0", "C4.7"]


@pytest.mark.parametrize("header", ["", HEADER, ",".join(f"column{number}" for number in range(32)) + "\n"])
@pytest.mark.parametrize("change", [
    lambda text: text, lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace(",", ";"), lambda text: text.replace("\n", "\n\n"),
    lambda text: text.replace(",1,", ",1.0,").replace("C4.7", " c4.7"),
    lambda text: text.replace("C4.7", '"C4.7"').replace("1000_hmi", r"1000\1000_hmi")])
def test_tables_from_other_hands_are_read_alike(tmp_path, change, header):
    table = read_text(tmp_path, change(header + as_csv(make_rows())))
    pd.testing.assert_frame_equal(table.drop(columns="filename"), make_table().drop(columns="filename"))


@pytest.mark.parametrize("missing", [0, 13, 28])
def test_a_table_without_one_feature_is_not_taken_for_the_older_form(tmp_path, missing):
    """Its class would be read as the 29th feature, the truth among the features."""
    with pytest.raises(UserError, match="a feature column is missing"):
        read_text(tmp_path, as_csv([row[:missing] + row[missing + 1:] for row in make_rows()]))


@pytest.mark.parametrize(("row", "column", "text", "message"), [
    (2, 4, "nan", "line {line}: 'gradient max' is 'nan', expected a finite number"),
    (1, 28, "-inf", "line {line}: 'total unsigned flux' is '-inf'"),
    (3, 0, "abc", "line {line}: 'gradient mean' is 'abc', expected a number"),
    (1, 7, "", "line {line}: 'NL length' is '', expected a number"),
    (1, 29, "2", "line {line}: 'class' is '2', expected 0 or 1"),
    (2, 30, "Z1.0", "line {line}: 'flare class' is 'Z1.0', expected 0 or like C4.7"),
    (0, 31, "", "line {line}: 'filename' is ''"),
    (3, 31, "1001_hmi.M_720s.20110215_000000_TAI.1.magnetogram.fits", "line {line}: 'filename' is '1001_.*' again"),
    (3, 31, "11001_hmi.m_720s.20110215_000000_TAI.1.magnetogram_224.png", "{line}: 'filename' is '11001_.*each image"),
])
def test_a_wrong_cell_is_named_with_its_line(tmp_path, row, column, text, message):
    rows = make_rows()
    rows[row][column] = text
    for header in ("", HEADER + "\n"):  # a blank line counts, too
        with pytest.raises(UserError, match=message.format(line=row + 1 + header.count("\n"))):
            read_text(tmp_path, header + as_csv(rows))


@pytest.mark.parametrize(("text", "message"), [
    (as_csv([row[:30] for row in make_rows()]), "line 1: expected 32 columns .* got 30"),
    (as_csv([*make_rows()[:2], make_rows()[2][1:]]), "line 3: expected 32 columns as in the first row, got 31"),
    (HEADER, "got 0"), ("\n\n", "got 0"),
    (",".join([*FEATURE_NAMES[::-1], "class,flare class,filename\n"]) + as_csv(make_rows()), "line 1.*another order"),
])
def test_a_missing_column_no_rows_and_a_header_in_another_order(tmp_path, text, message):
    with pytest.raises(UserError, match="feature_file: expected a file"):
        read_feature_table(tmp_path / "none.csv")
    with pytest.raises(UserError, match=message):
        read_text(tmp_path, text)


DAMAGE = st.sampled_from([b"", b"\x00", b"\xff\xfe", b'"', b",,", b"\n", b"\r", b"nan", b"-inf", b"1e999", b"9" * 5000,
                          b"x" * 200_000, b"\xef\xbb\xbf", b";" * 40, " \u2028\ud800".encode("utf-8", "surrogatepass")])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2500), st.integers(0, 60), DAMAGE), min_size=1, max_size=4), st.booleans())
def test_a_damaged_table_is_read_or_refused_in_one_line(tmp_path, changes, extra):
    path, content = tmp_path / "features.csv", as_csv(make_rows()).encode()
    if extra:
        content = ("filename,x\n" + as_csv([[row[31], row[0]] for row in make_rows()])).encode()
    for place, length, text in changes:
        content = content[:place] + text + content[place + length:]
    path.write_bytes(content)
    try:
        read = (read_extra_features if extra else read_feature_table)(path)
    except UserError as error:
        assert len(str(error)) < 2000 and "\n" not in str(error)
    else:
        assert np.isfinite(read.select_dtypes("number")).all(axis=None)


def test_scaling_by_hand_without_clipping():
    scaling = fit_scaling(np.array([[1.0, 5.0, -2.0], [3.0, 5.0, 6.0]]))
    assert scaling.width.tolist() == [2.0, 1.0, 8.0]  # the constant column is divided by 1
    assert scaling.apply(np.array([[2.0, 5.0, 6.0], [5.0, 7.0, -10.0]])).tolist() == [[0.5, 0, 1], [2, 2, -1]]
    scaling = fit_scaling(np.random.default_rng(0).normal(size=(5, 29)) ** 3)
    written = np.loadtxt(weight_text(scaling).splitlines())
    assert np.array_equal(written, np.column_stack([scaling.minimum, scaling.width])), "to the last digit"


def test_outside_is_decided_on_the_values_themselves():
    values = np.random.default_rng(0).normal(size=(500, 3)) * [1e-9, 1, 1e9]
    scaling = fit_scaling(values)
    assert not scaling.outside(values).any()
    beyond = np.array([np.nextafter(scaling.maximum, np.inf), np.nextafter(scaling.minimum, -np.inf)])
    assert scaling.outside(beyond).all()
    constant = fit_scaling(np.full((3, 1), 4.0))
    assert constant.outside(np.array([[4.0], [4.5]])).ravel().tolist() == [False, True]


def test_extra_features_by_name(tmp_path):
    path = tmp_path / "extra.csv"
    path.write_text("hours,filename,flares\n1.5,1158/1158_a.fits,2\n-3,1158_b.png,0\n")
    extra = read_extra_features(path)
    assert extra.index.tolist() == ["1158_a", "1158_b"] and list(extra) == ["hours", "flares"]
    assert extra.to_numpy().tolist() == [[1.5, 2], [-3, 0]]


@pytest.mark.parametrize(("text", "message"), [
    ("name,hours\na.fits,1\n", "expected a header with one column 'filename'"),
    ("filename\na.fits\n", "at least one feature"),
    ("filename,total signed flux\na.fits,1\n", "'total signed flux' .* is an image feature"),
    ("filename,x,x\na.fits,1,2\n", "column 'x'"),
    ("filename,x\na.fits,1\nb.fits,many\n", "many"),
    ("filename,x\na.fits,1\nb.fits,\n", "row 2 below the header: 'b.fits' has no finite number in column 'x'"),
    ("filename,x\na.fits,inf\n", "row 1 .* no finite number"),
    ("filename,x\na.fits,1\na.fits,2\n", "'a.fits' comes twice"),
    ("filename,x\na.fits,1,3\n", "Expected 2 columns, got 3"),
])
def test_bad_extra_features(tmp_path, text, message):
    path = tmp_path / "extra.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_extra_features(path)
