"""What a classifier is trained on: classes at a flare size, joined features, what is excluded or refused."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.AR_Classifier_weighted import read_rows
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, write_feature_table
from general_code.stage.files import UserError
from general_code.stage.run import StageRun
from tests.general_code.evaluation.test_evaluate import image_names

NONE = Path("")


@pytest.fixture
def run():
    return StageRun(io.StringIO())


def feature_table(n_regions=3, images=2, flare_classes=("0", "C4.7", "M1.0"), seed=0):
    """A feature table whose flare classes repeat; class 1 for any label but 0."""
    names = image_names(n_regions, images)
    table = pd.DataFrame(np.random.default_rng(seed).random((len(names), 29)), columns=list(FEATURE_NAMES))
    labels = np.resize(flare_classes, len(names))
    return table.assign(**{"class": (labels != "0").astype(int), "flare class": labels, "filename": names})


@pytest.fixture
def written(tmp_path):
    write_feature_table(tmp_path / "features.csv", feature_table())
    return tmp_path / "features.csv"


def test_rows_are_sorted_by_name_with_their_regions(written, run):
    table = feature_table().sample(frac=1, random_state=2)
    write_feature_table(written, table)
    rows = read_rows(written, NONE, NONE, "", run)
    assert rows.labels["filename"].tolist() == sorted(table["filename"])
    assert rows.labels["region"].tolist() == ["1900", "1900", "1901", "1901", "1902", "1902"]
    expected = table.sort_values("filename")[list(FEATURE_NAMES)].to_numpy()
    assert np.array_equal(rows.values, expected)


@pytest.mark.parametrize(("size", "expected"), [("", [0, 1, 1] * 2), ("C1.0", [0, 1, 1] * 2), ("C5", [0, 0, 1] * 2),
                                                ("M1.0", [0, 0, 1] * 2), ("C10.0", [0, 0, 1] * 2), ("X1", [0] * 6)])
def test_classes_by_peak_flux(written, run, size, expected):
    rows = read_rows(written, NONE, NONE, size, run)
    assert rows.labels["class"].tolist() == expected


def test_no_flare_size_takes_the_0_1_column_as_it_stands(written, run):
    write_feature_table(written, feature_table().assign(**{"class": 0}))
    assert [read_rows(written, NONE, NONE, size, run).labels["class"].sum() for size in ("", "C1.0")] == [0, 4]
    write_feature_table(written, feature_table().drop(columns="flare class"))
    assert read_rows(written, NONE, NONE, "", run).labels["class"].sum() == 4
    with pytest.raises(UserError, match=r"features.csv has 0/1 classes only and cannot be cut at M1.0"):
        read_rows(written, NONE, NONE, "M1.0", run)


def test_labels_made_at_a_larger_size_are_refused(written, run):
    Path(f"{written}.json").write_text(json.dumps({"counts": {"flare_size": "M1.0"}}))
    with pytest.raises(UserError, match=r"were made at M1.0, .* got C1.0; label again"):
        read_rows(written, NONE, NONE, "C1.0", run)
    assert read_rows(written, NONE, NONE, "M5.0", run).labels["class"].sum() == 0


def test_names_without_region_or_time_are_excluded(written, run):
    table = feature_table()
    table.loc[1, "filename"] = "picture.fits"
    write_feature_table(written, table)
    assert len(read_rows(written, NONE, NONE, "", run).labels) == 5
    assert [entry[:3] for entry in run.exclusions] == [
        ("picture.fits", "not a magnetogram's file name", "no region and time in it")]


def test_extra_features_are_joined_by_name_and_lonely_rows_listed(written, run, tmp_path):
    names = image_names(3, 2)
    text = "".join(f"{name.replace('.fits', '.png')},{i}\n" for i, name in enumerate(names[1:]))
    (tmp_path / "extra.csv").write_text("filename,number\n" + text + "0001_x.png,9\n")
    rows = read_rows(written, NONE, tmp_path / "extra.csv", "", run)
    assert rows.names == (*FEATURE_NAMES, "number")
    assert rows.values[:, -1].tolist() == [0, 1, 2, 3, 4]
    assert rows.labels["filename"].tolist() == names[1:]
    assert [entry[:3] for entry in run.exclusions] == [(names[0], "no row in the extra feature file", ""),
                                                       ("0001_x", "extra features without an image", "")]
    (tmp_path / "extra.csv").write_text("filename,number\n0001_x.png,9\n")
    with pytest.raises(UserError, match="no image is left to train on"):
        read_rows(written, NONE, tmp_path / "extra.csv", "", run)


def test_extra_features_alone(run, tmp_path):
    names = image_names(2, 2)
    (tmp_path / "Labels.txt").write_text("".join(map("{},{}\n".format, names, ["0", "C1.2", "0", "M2"])))
    (tmp_path / "extra.csv").write_text("filename,number\n" + "".join(map("{},{}\n".format, names, range(4))))
    rows = read_rows(NONE, tmp_path / "Labels.txt", tmp_path / "extra.csv", "M1.0", run)
    assert rows.values.tolist() == [[0], [1], [2], [3]] and rows.image_names == ()
    assert rows.labels["class"].tolist() == [0, 0, 0, 1]
    with pytest.raises(UserError, match="expected at least one of them, got neither"):
        read_rows(NONE, tmp_path / "Labels.txt", NONE, "", run)


def test_label_lines_that_are_not_used_are_listed(run, tmp_path):
    names = image_names(1, 3)
    (tmp_path / "Labels.txt").write_text(f"{names[0]},C1.0\n{names[1]},many\n{names[2]},0\n{names[0]},0\n")
    (tmp_path / "extra.csv").write_text("filename,number\n" + "".join(map("{},{}\n".format, names, range(3))))
    rows = read_rows(NONE, tmp_path / "Labels.txt", tmp_path / "extra.csv", "", run)
    assert rows.labels["class"].tolist() == [1, 0] and rows.labels["flare class"].tolist() == ["C1.0", "0"]
    assert [reason for _, reason, *_ in run.exclusions] == ["label not understood", "label repeated",
                                                           "extra features without an image"]
