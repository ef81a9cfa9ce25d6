"""The journal of work done: kept through kills, in a fixed order at the end."""

from pathlib import Path

import pytest

from general_code.work_journal import WorkJournal

COLUMNS = ("file", "bytes", "nans")


def test_records_are_kept_and_sorted(tmp_path: Path):
    path = tmp_path / "deep" / "journal.csv"
    with WorkJournal(path, COLUMNS).recording() as journal:
        journal.record([("b", "1", "2"), ("a, with a comma", "3", "4")])
        assert path.read_text() == "file,bytes,nans\nb,1,2\na, with a comma,3,4\n"
        journal.record([("b", "5", "6")])
    assert path.read_text() == "file,bytes,nans\na, with a comma,3,4\nb,5,6\n"
    assert WorkJournal(path, COLUMNS).done == {"a, with a comma": ("3", "4"), "b": ("5", "6")}


@pytest.mark.parametrize(("content", "done"), [
    ("file,bytes,nans\na,1,2\nb,3", {"a": ("1", "2")}),
    ("file,bytes,nans\na,1,2\nb,3,4", {"a": ("1", "2")}),  # the last number may be cut, too
    ("file,bytes,nans\na,1,2\nrubbish\n", {"a": ("1", "2")}),
    ("file,bytes\na,1\n", {}), ("", {}), ("file,bytes,nans", {}),
])
def test_file_cut_short_or_of_another_form(tmp_path: Path, content, done):
    path = tmp_path / "journal.csv"
    path.write_text(content)
    journal = WorkJournal(path, COLUMNS)
    assert journal.done == done
    with journal.recording():
        journal.record([("z", "8", "9")])
    assert WorkJournal(path, COLUMNS).done == done | {"z": ("8", "9")}


def test_interruption_keeps_what_is_done(tmp_path: Path):
    path = tmp_path / "journal.csv"
    with pytest.raises(KeyboardInterrupt), WorkJournal(path, COLUMNS).recording() as journal:
        journal.record([("b", "1", "2")])
        raise KeyboardInterrupt
    assert WorkJournal(path, COLUMNS).done == {"b": ("1", "2")}


def test_nothing_recorded_changes_nothing(tmp_path: Path):
    path = tmp_path / "journal.csv"
    path.write_text("file,bytes,nans\nb,1,2\na,1,2\n")
    with WorkJournal(path, COLUMNS).recording():
        pass
    assert path.read_text() == "file,bytes,nans\nb,1,2\na,1,2\n"
