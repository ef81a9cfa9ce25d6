"""Values kept on disk: found again by name, size and time, whatever a kill did to the file."""

import os

import numpy as np
import pytest

from general_code.stage.journal import FileState, Journal

FILES = [FileState("a, b ü.fits", 1, 4), FileState("b.fits", 2, 5), FileState(os.fsdecode(b"caf\xe9.fits"), 3, 6)]


def test_values_survive_damage_to_other_lines(tmp_path):
    with Journal(tmp_path / "rows", "version 1") as journal:
        journal.append(FILES, ["one", "two\twords", "three"])
    content = (tmp_path / "rows").read_bytes()
    (tmp_path / "rows").write_bytes(content.replace(b"two", b"tvo")[:-1])
    with Journal(tmp_path / "rows", "version 1") as journal:
        assert not journal.foreign
        places, letters = journal.find(FILES)
        assert letters.tolist() == [b"o", b"", b"t"]
        assert (places >= 0).tolist() == [True, False, True]
        again = journal.append([FILES[1]], ["two\twords"])
        assert list(journal.read([*again, places[0], places[2]])) == ["two\twords", "one", "three"]


def test_a_changed_file_has_no_value_and_the_order_of_the_question_counts(tmp_path):
    with Journal(tmp_path / "rows", "version 1") as journal:
        journal.append(FILES, ["one", "two", "three"])
        asked = [FILES[2], FILES[0]._replace(size=9), FILES[1], FILES[0]._replace(mtime_ns=9), FILES[0]]
        places, letters = journal.find(asked[:3])
        assert (places >= 0).tolist() == [True, False, True]
        assert letters.tolist() == [b"t", b"", b"t"]
        assert (journal.find(asked[3:4])[0] >= 0).tolist() == [False]
        assert journal.find([])[0].size == 0
        assert journal.append([], []) == []


def test_values_are_flushed_to_the_disk_before_they_count_as_kept(tmp_path, monkeypatch):
    with Journal(tmp_path / "rows", "version 1") as journal:
        flushed = []
        monkeypatch.setattr("general_code.stage.journal.os.fsync",
                            lambda handle: flushed.append((os.fstat(handle).st_ino, (tmp_path / "rows").read_bytes())))
        journal.append([FILES[1]], ["row"])
    assert [handle for handle, _ in flushed] == [(tmp_path / "rows").stat().st_ino]
    assert flushed[0][1].endswith(b"b.fits\trow\n")


@pytest.mark.parametrize("content", [b"", b"# versio", b"another file\nwith lines\n", b"# version 2\n"])
def test_a_table_made_otherwise_is_replaced(tmp_path, content):
    (tmp_path / "rows").write_bytes(content)
    with Journal(tmp_path / "rows", "version 1") as journal:
        assert journal.foreign == bool(content)
        assert journal.find(FILES)[0].tolist() == [-1, -1, -1]
        assert list(journal.read(journal.append(FILES[:1], ["row"]))) == ["row"]


def test_without_resumption_nothing_is_used(tmp_path):
    with Journal(tmp_path / "rows", "version 1") as journal:
        journal.append(FILES[:1], ["row"])
    with Journal(tmp_path / "rows", "version 1", resume=False) as journal:
        assert journal.find(FILES[:1])[0].tolist() == [-1]


def test_the_last_value_of_a_file_counts_and_sorting_keeps_it_alone(tmp_path):
    contents = []
    for order in ((0, 1, 2), (2, 1, 0)):
        with Journal(tmp_path / f"rows{order}", "version 1") as journal:
            journal.append([FILES[0]], ["old"])
            journal.append([FILES[place] for place in order], [f"new {place}" for place in order])
            journal.sort()
            assert list(journal.read(journal.find(FILES)[0])) == ["new 0", "new 1", "new 2"]
            journal.append([FILES[1]], ["newer"])
            assert list(journal.read(journal.find(FILES[1:2])[0])) == ["newer"]
            journal.sort()
        contents.append((tmp_path / f"rows{order}").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].count(b"\n") == 4


def test_every_cut_through_the_last_line_keeps_the_others(tmp_path):
    with Journal(tmp_path / "rows", "version 1") as journal:
        journal.append(FILES[:1], ["first row"])
        whole = (tmp_path / "rows").read_bytes()
        journal.append(FILES[1:2], ["second row"])
    content = (tmp_path / "rows").read_bytes()
    for end in range(len(whole), len(content)):
        (tmp_path / "cut").write_bytes(content[:end])
        with Journal(tmp_path / "cut", "version 1") as journal:
            journal.append(FILES[2:], ["third row"])
            places, _ = journal.find(FILES)
            found = (places >= 0).tolist()
            assert found in ([True, False, True], [True, True, True])
            assert end < len(content) - 1 or found[1]
            assert list(journal.read(places[[0, 2]])) == ["first row", "third row"]


@pytest.mark.parametrize(("name", "value"), [("a\tb", "x"), ("a\nb", "x"), ("a", "x\ny"), ("", "x")])
def test_what_would_not_be_read_back_is_refused(tmp_path, name, value):
    with Journal(tmp_path / "rows", "version 1") as journal, pytest.raises(ValueError, match="without line breaks"):
        journal.append([FileState(name, 1, 2)], [value])


def test_very_many_files_are_found_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("general_code.stage.journal.LINES_A_BLOCK", 7)
    files = [FileState(f"{number:04d}.fits", number, number) for number in range(50)]
    with Journal(tmp_path / "rows", "version 1") as journal:
        journal.append(files, [str(file.size) for file in files])
        places, _ = journal.find_arrays(np.array([file.name.encode() for file in files[::-1]]),
                                        np.arange(50)[::-1].copy(), np.arange(50)[::-1].copy())
        assert list(journal.read(places)) == [str(number) for number in range(50)][::-1]
