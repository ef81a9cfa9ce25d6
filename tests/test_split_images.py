"""Images into splits: what the user is told, and what the sidecar will hold."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.split_images import choose_regions, split_rows
from classifier_SVM.training_rows import Rows
from general_code.region_splits import RegionLists
from general_code.stage_run import StageRun


@pytest.fixture
def run():
    return StageRun(io.StringIO())


def make_rows(classes=(0, 1, 0, 1, 0, 0)):
    """Two images of each of three regions."""
    labels = pd.DataFrame({"filename": [f"{n}.fits" for n in "abcdef"], "region": ["1", "1", "2", "2", "3", "3"],
                           "class": classes})
    return Rows(np.arange(12.0).reshape(6, 2), labels, (), ("x", "y"))


def test_rows_keep_their_features_through_the_split(run, capsys):
    rows, split = split_rows(make_rows(), RegionLists(("1",), ("9",), ("3",)), run)
    assert split.tolist() == ["test", "test", "training", "training"]
    assert rows.values.tolist() == [[0, 1], [2, 3], [8, 9], [10, 11]]
    assert rows.labels["filename"].tolist() == ["a.fits", "b.fits", "e.fits", "f.fits"]
    assert [name for name, *_ in run.exclusions] == ["c.fits", "d.fits"]
    assert run.counts["test"] == {"regions": 1, "images": 2, "flaring_images": 1}
    said = capsys.readouterr().out
    assert "1 regions (2 images) are in no list and are left out: 2" in said
    assert "1 of the 1 regions in the validation list have no image" in said
    assert "training: 1 regions, 2 images, 0 with a flare; one class only" in said


def test_regions_in_no_list_train_without_a_training_list(run, capsys):
    rows, split = split_rows(make_rows(), RegionLists(("1",), ("3",)), run)
    assert split.tolist() == ["test", "test", "training", "training", "validation", "validation"]
    assert "go to training: 2" in capsys.readouterr().out and not run.exclusions


def test_lists_are_drawn_where_there_are_none(tmp_path, run):
    files = tuple(tmp_path / "data" / name for name in ("test.csv", "validation.csv", "train.csv"))
    where = (10.0, 10.0), 3, tmp_path / "out", tmp_path / "out" / "stats.txt"
    drawn, texts = choose_regions(make_rows(), files, *where, run)
    assert sorted(drawn.test + drawn.validation + drawn.training) == ["1", "2", "3"]
    assert set(texts) == {tmp_path / "out" / path.name for path in files} and not list(tmp_path.iterdir())
    without = choose_regions(make_rows(), (*files[:2], Path("")), *where, run)[1]
    assert [path.name for path in without] == ["test.csv", "validation.csv"]
    Path(tmp_path, "data").mkdir()
    for path, region in zip(files, ("1111", "2222", "3333"), strict=True):
        path.write_text(f"{region}\n")
    lists, texts = choose_regions(make_rows(), files, *where, run)
    assert lists.test == ("1111",) and not texts
