"""Extra features read and written."""

import numpy as np
import pandas as pd
import pytest

from classifier_SVM import extra_features as ef
from general_code.stage_files import UserError


def test_extra_features_by_name(tmp_path):
    path = tmp_path / "extra.csv"
    path.write_text("hours,filename,flares\n1.5,1158/1158_a.fits,2\n-3,1158_b.png,0\n")
    extra = ef.read_extra_features(path)
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
        ef.read_extra_features(path)


def test_written_extra_features_read_back_exactly(tmp_path):
    values = np.random.default_rng(1).normal(size=(6, 2)) ** 5
    names = pd.Series([f"1158_{i}.fits" for i in range(6)])
    ef.write_extra_features(tmp_path / "Train_Extra.csv", names, values, ("x", "y"))
    assert (tmp_path / "Train_Extra.csv").read_text().startswith("filename,x,y\n1158_0.fits,")
    assert np.array_equal(ef.read_extra_features(tmp_path / "Train_Extra.csv").to_numpy(), values)
    ef.write_extra_features(tmp_path / "empty.csv", names[:0], values[:0], ("x", "y"))
    assert (tmp_path / "empty.csv").read_text() == "filename,x,y\n"
