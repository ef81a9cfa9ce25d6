"""The label file: what counts as a label, what is reported in which words, names alone, arrays of bytes."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from general_code import label_file as room
from general_code.label_file import (
    label_counts,
    label_size,
    label_window_hours,
    read_label_arrays,
    read_label_file,
)
from general_code.stage_files import UserError


@pytest.fixture(params=[1, 2, 3, 20_000], autouse=True)
def rows_a_block(request, monkeypatch):
    """Try all tests with blocks so small that their limits fall everywhere."""
    monkeypatch.setattr("general_code.label_file._ROWS_A_BLOCK", request.param)


def name(hour: int, region: str = "1158", image_format: str = "fits") -> str:
    """Return the name of an image of 1 January 2014."""
    return f"{region}_hmi.M_720s.20140101_{hour:02d}0000_TAI.1.magnetogram.{image_format}"


def written(folder: Path, text: str | bytes) -> Path:
    """Return a label file with this text."""
    path = folder / "Labels.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(("line", "filename", "flare_class"), [
    (f"{name(1)},0", name(1), "0"), (f"{name(1)},0.0", name(1), "0"), (f"{name(1)} , c4.7 ", name(1), "C4.7"),
    (f"{name(1)},C10.0", name(1), "C10.0"), (f"{name(1)},X17.2\r", name(1), "X17.2"), (f"{name(1)},M5", name(1), "M5"),
    (f"a/b\\1158/{name(1)},B1.0", name(1), "B1.0"), (f"1160/{name(1)[5:]},0", name(1, "1160"), "0"),
    (f"{name(1, image_format='PNG')},0", name(1, image_format="PNG"), "0"),
    (f"{name(1).removesuffix('.fits')},0", name(1), "0"), (f"{name(1).removesuffix('.fits')},C1.0", name(1), "C1.0"),
    (f"\ufefffilename,class\n{name(1)},0", name(1), "0"), (f"\n\n  \n{name(1)},0\n\n", name(1), "0"),
])
def test_what_is_a_label(tmp_path, line, filename, flare_class):
    table, problems = read_label_file(written(tmp_path, line))
    assert table[["filename", "class"]].to_numpy().tolist() == [[filename, flare_class]] and not problems
    assert table.loc[0, "region"] == filename[:4]
    assert table["time"].to_numpy() == np.datetime64("2014-01-01T01:00")
    names, classes, order, problems = read_label_arrays(tmp_path / "Labels.txt", b".x")
    stem = filename[5:] if "1160/" in line else filename  # bytes are not looked into for the region
    assert (names.tolist(), classes.tolist()) == ([stem.rsplit(".", 1)[0].encode() + b".x"], [flare_class.encode()])
    assert order.tolist() == [0] and not problems


@pytest.mark.parametrize(("line", "reason"), [
    (name(3), room.NOT_A_LABEL), (f"{name(3)},", room.NOT_A_LABEL), (",0", room.NOT_A_LABEL),
    (f"{name(3)},Z1.0", room.NOT_A_LABEL), (f"{name(3)},C", room.NOT_A_LABEL), (f"{name(3)},C1.0,3", room.NOT_A_LABEL),
    (f"{name(3)},C1234", room.NOT_A_LABEL), ("filename,class", room.NOT_A_LABEL),
    (f"{name(3)},1", room.NO_FLARE_CLASS), (f"{name(3)},1.0", room.NO_FLARE_CLASS)])
def test_lines_that_are_not_used_are_reported_in_the_same_words(tmp_path, line, reason):
    path = written(tmp_path, f"{name(1)},C1.0\n\n{line}\n{name(2)},0\n")
    expected = [("Labels.txt, line 3", reason, f"expected 'name,0' or 'name,C4.7', got '{line}'")]
    table, problems = read_label_file(path)
    assert (table["filename"].tolist(), problems) == ([name(1), name(2)], expected)
    names, _, _, problems = read_label_arrays(path, b".fits")
    assert (names.tolist(), problems) == ([name(1).encode(), name(2).encode()], expected)


@pytest.mark.parametrize("other", ["picture.fits", name(1)[5:], name(30)])
def test_names_that_tell_no_region_and_time(tmp_path, other):
    table, problems = read_label_file(written(tmp_path, f"{other},0\n{name(2)},0\n"))
    assert table["filename"].tolist() == [name(2)]
    assert problems == [(other, "not a magnetogram's file name", "no region and time in it (Labels.txt, line 1)")]


def test_the_first_of_several_labels_counts(tmp_path):
    lines = [f"{name(2)},C1.0", f"{name(1)},0", f"1158/{name(2, image_format='png')},M1.0", f"{name(2)},0"]
    expected = [(name(2)[:-5], "label repeated", f"the first one counts, not {label}") for label in ("M1.0", "0")]
    table, problems = read_label_file(written(tmp_path, "\n".join(lines)))
    assert table["class"].tolist() == ["C1.0", "0"] and problems == expected
    names, classes, order, problems = read_label_arrays(tmp_path / "Labels.txt", b"")
    assert classes.tolist() == [b"C1.0", b"0"] and problems == expected
    assert names[order].tolist() == sorted(names.tolist()) and order.tolist() == [1, 0]


def test_names_alone(tmp_path):
    lines = ["filename,hours", f"1160/{name(3)[5:]}", f"{name(2)},anything/else", f"{name(2)},0", ",C1.0", name(1)]
    table, problems = read_label_file(written(tmp_path, "\n".join(lines)), with_class=False)
    assert table["filename"].tolist() == [name(3, "1160"), name(2), name(1)]
    assert problems == [("Labels.txt, line 5", room.NOT_A_LABEL, "expected a file name, got ',C1.0'"),
                        (name(2)[:-5], "label repeated", "the first one counts")]


def test_bytes_that_are_no_text(tmp_path):
    path = written(tmp_path, b"1158_\xff.fits,0\n" + f"{name(1)},0\n".encode())
    table, problems = read_label_file(path)
    assert table["filename"].tolist() == [name(1)] and len(problems) == 1
    assert read_label_arrays(path, b".fits")[0].tolist() == [b"1158_\xff.fits", name(1).encode()]


@pytest.mark.parametrize(("text", "message"), [
    ("", "found an empty file"), ("filename,class\n", "no line of .* begins with the name"),
    ("a,b\n", r"\(Labels.txt, line 1: expected 'name,0'"),
    (b"\x00\xff" * 50, "no line of"), ("picture.fits,0\n", r"picture.fits: no region and time in it"),
    (f"{name(1)},0\n{name(2)},1\n", "classes 0 and 1 only"), (f"{name(2)},1\n", "classes 0 and 1 only")])
def test_a_file_that_gives_no_labels(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_label_file(written(tmp_path, text))


def test_arrays_of_a_file_without_labels(tmp_path):
    names, classes, order, problems = read_label_arrays(written(tmp_path, "a\n"), b".fits")
    assert not names.size and not classes.size and not order.size and len(problems) == 1
    with pytest.raises(UserError, match="classes 0 and 1 only"):
        read_label_arrays(written(tmp_path, "a,0\nb,1\n"), b".fits")
    for read in (read_label_file, lambda path: read_label_arrays(path, b".fits")):
        with pytest.raises(UserError, match="label_file: expected a file at"):
            read(tmp_path / "gone.txt")


def test_the_size_of_the_labels_is_told_by_sidecars(tmp_path):
    labels, table = tmp_path / "Labels.txt", tmp_path / "features.csv"
    assert label_size(labels) == label_size(table) == ""
    Path(f"{table}.json").write_text(json.dumps({"settings": {}, "counts": {"flare_size": "M1.0"}}))
    Path(f"{labels}.json").write_text(json.dumps({"settings": {"flare_size": "C1.0"}}))
    assert (label_size(labels), label_size(table)) == ("C1.0", "M1.0"), "labels may have been made anew since"
    Path(f"{labels}.json").write_text(json.dumps({"settings": {"flare_size": "large"}}))
    assert label_size(labels) == ""


@pytest.mark.parametrize(("sidecar", "hours"), [
    ({"settings": {"flare_window_hours": 24.0}}, 24.0), ({"counts": {"flare_window_hours": 12}}, 12.0),
    ({"counts": {"flare_window_hours": 6.0}, "settings": {"flare_window_hours": 24.0}}, 6.0),
    ({"counts": {"flare_window_hours": "not known"}}, np.nan), ({}, np.nan), (None, np.nan),
])
def test_window_of_the_labels(tmp_path, sidecar, hours):
    if sidecar is not None:
        (tmp_path / "Labels.txt.json").write_text(json.dumps(sidecar))
    assert label_window_hours(tmp_path / "Labels.txt") == pytest.approx(hours, nan_ok=True)


def test_what_a_stage_passes_on_of_its_labels(tmp_path):
    labels = tmp_path / "Labels.txt"
    assert label_counts(labels) == {"flare_size": ""}
    Path(f"{labels}.json").write_text(json.dumps({"settings": {"flare_size": "M1.0", "flare_window_hours": 48.0}}))
    assert label_counts(labels) == {"flare_size": "M1.0", "flare_window_hours": 48.0}


@pytest.mark.parametrize("rows_a_block", [20_000], indirect=True)
def test_a_hundred_thousand_lines_are_read_at_once(tmp_path):
    times = np.datetime_as_string(np.datetime64("2014-01-01", "s") + np.arange(100_000) * np.timedelta64(720, "s"))
    stamps = [f"{t[:4]}{t[5:7]}{t[8:10]}_{t[11:13]}{t[14:16]}00" for t in times.tolist()]
    path = written(tmp_path, "".join(f"1158_hmi.M_720s.{stamp}_TAI.1.magnetogram.fits,0\n" for stamp in stamps))
    for read in (read_label_file, lambda path: read_label_arrays(path, b".fits")):
        start = time.process_time()
        assert len(read(path)[0]) == 100_000
        assert time.process_time() - start < 2  # a quarter on an idle core
