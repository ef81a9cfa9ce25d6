"""Rows kept on disk: found again by name, size and time, whatever a kill did to the file."""

import os

import numpy as np
import pytest

from classifier_SVM.row_checkpoint import RowCheckpoint


def test_rows_survive_damage_to_other_lines(tmp_path):
    names = np.array([b"a.fits", b"b.fits", b"c.fits"])
    with RowCheckpoint(tmp_path / "rows", "1") as checkpoint:
        checkpoint.append(names.tolist(), [1, 2, 3], [4, 5, 6], ["one", "two\twords", "three"])
    content = (tmp_path / "rows").read_bytes()
    (tmp_path / "rows").write_bytes(content.replace(b"two", b"tvo")[:-1])
    with RowCheckpoint(tmp_path / "rows", "1") as checkpoint:
        places, letters = checkpoint.find(names, np.array([1, 2, 3]), np.array([4, 5, 6]))
        assert letters.tolist() == [b"o", b"", b"t"]
        assert (places >= 0).tolist() == [True, False, True]
        again = checkpoint.append([b"b.fits"], [2], [5], ["two\twords"])
        assert list(checkpoint.read([*again, places[0], places[2]])) == ["two\twords", "one", "three"]
        places, _ = checkpoint.find(names, np.array([1, 2, 9]), np.array([9, 5, 6]))
        assert (places >= 0).tolist() == [False, True, False]


def test_rows_are_flushed_to_the_disk_before_they_count_as_kept(tmp_path, monkeypatch):
    with RowCheckpoint(tmp_path / "rows", "1") as checkpoint:
        flushed = []
        monkeypatch.setattr("classifier_SVM.row_checkpoint.os.fsync",
                            lambda handle: flushed.append((os.fstat(handle).st_ino, (tmp_path / "rows").read_bytes())))
        checkpoint.append([b"a"], [1], [2], ["row"])
    assert [handle for handle, _ in flushed] == [(tmp_path / "rows").stat().st_ino]
    assert flushed[0][1].endswith(b"\trow\n")


@pytest.mark.parametrize("content", [b"", b"# rows of st", b"another file\nwith lines\n"])
def test_a_file_without_the_header_is_begun_anew(tmp_path, content):
    (tmp_path / "rows").write_bytes(content)
    with RowCheckpoint(tmp_path / "rows", "1") as checkpoint:
        assert checkpoint.foreign == bool(content)
        assert checkpoint.find(np.array([b"a"]), np.array([1]), np.array([2]))[0].tolist() == [-1]
        assert list(checkpoint.read(checkpoint.append([b"a"], [1], [2], ["row"]))) == ["row"]


def test_the_last_row_of_an_image_counts_and_nothing_is_no_row(tmp_path):
    with RowCheckpoint(tmp_path / "rows", "1") as checkpoint:
        assert checkpoint.append([], [], [], []) == []
        checkpoint.append([b"a", b"a"], [1, 1], [2, 2], ["old", "new"])
        places, _ = checkpoint.find(np.array([b"a"]), np.array([1]), np.array([2]))
        assert list(checkpoint.read(places)) == ["new"]
        assert checkpoint.find(np.zeros(0, "S1"), np.zeros(0, int), np.zeros(0, int))[0].size == 0


def test_every_cut_through_the_last_line_keeps_the_others(tmp_path):
    with RowCheckpoint(tmp_path / "rows", "1") as checkpoint:
        checkpoint.append([b"a"], [1], [2], ["first row"])
        whole = (tmp_path / "rows").read_bytes()
        checkpoint.append([b"b"], [1], [2], ["second row"])
    content = (tmp_path / "rows").read_bytes()
    for end in range(len(whole), len(content)):
        (tmp_path / "cut").write_bytes(content[:end])
        with RowCheckpoint(tmp_path / "cut", "1") as checkpoint:
            checkpoint.append([b"c"], [1], [2], ["third row"])
            places, _ = checkpoint.find(np.array([b"a", b"b", b"c"]), np.ones(3, int), np.full(3, 2))
            found = places >= 0
            assert found.tolist() in ([True, False, True], [True, True, True]) and (end < len(content) - 1 or found[1])
            assert list(checkpoint.read(places[[0, 2]])) == ["first row", "third row"]
