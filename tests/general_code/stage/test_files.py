"""Inputs that a setting names, free space, and atomic writes."""

import errno
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow
import pytest

from general_code.stage.files import (
    UserError,
    atomic_path,
    atomic_write,
    describe,
    read_lines,
    remove_leftovers,
    report_disk_full,
    require_file,
    require_folder,
    require_free_space,
    require_output,
    size_text,
    write_csv,
)


def test_what_is_required_names_the_setting_and_what_to_do(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(UserError, match=r"srs_dir: expected a folder at '.*none'.*found nothing; set --srs-dir"):
        require_folder(tmp_path / "none", "srs_dir")
    with pytest.raises(UserError, match="ar_list: expected a file at .* found nothing; run the stage"):
        require_file(path, "ar_list")
    path.touch()
    with pytest.raises(UserError, match="found an empty file"):
        require_file(path, "ar_list")
    path.write_text("x")
    with pytest.raises(UserError, match="found a file"):
        require_folder(path, "srs_dir")
    assert (require_folder(tmp_path, "srs_dir"), require_file(path, "ar_list")) == (tmp_path, path)


def test_an_output_is_no_folder_and_lies_where_files_can_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a folder, expected a file to write"):
        require_output(tmp_path)
    with pytest.raises(UserError, match="cannot be written: folder .*file"):
        require_output(tmp_path / "file" / "list.txt")
    assert (tmp_path / "file").read_text() == "x"
    require_output(tmp_path / "new" / "list.txt")
    assert list(tmp_path.rglob("*")) == [tmp_path / "file", tmp_path / "new"]


def test_a_file_of_an_input_folder_is_written_only_where_a_stage_made_it(tmp_path):
    source = tmp_path / "SRS"
    source.mkdir()
    report, own = source / "20140101SRS.txt", source / "ARList.txt"
    for path in (report, own, source / "ARList.txt.log"):
        path.write_text("x")
    with pytest.raises(UserError, match="which this stage reads and never changes"):
        require_output(report, [source])
    require_output(own, [source])
    require_output(source / "another.txt", [Path(""), source])


def test_free_space_is_asked_of_a_folder_that_is_still_to_be_made(tmp_path):
    require_free_space(tmp_path / "not" / "yet", 1.0, "a byte")
    with pytest.raises(UserError, match=r"for the copy: 1000000000\.00 GB needed, .* GB free, .* GB missing"):
        require_free_space(tmp_path / "not" / "yet", 1e18, "the copy")


@pytest.mark.parametrize(("n_bytes", "text"), [(2e6, "2.00 MB"), (99e6, "99.00 MB"), (5.7e11, "570.00 GB")])
def test_sizes_are_for_people(n_bytes, text):
    assert size_text(n_bytes) == text


def test_a_full_disk_is_said_and_other_errors_pass(tmp_path):
    with pytest.raises(UserError, match="disk is full.* no room to write '.*a.csv'; free some"), \
            report_disk_full(tmp_path / "a.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), report_disk_full(tmp_path / "a.csv"):
        raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(("error", "expected"), [
    (FileNotFoundError(2, "No such file or directory", "a.txt"), "a.txt: No such file or directory"),
    (ValueError("two\n  lines"), "two lines"), (KeyError(), "KeyError"), (UserError("y" * 1000), "y" * 1000),
    (ValueError("a\n\x1b[31m" + "x" * 1000), "a \\x1b[31m" + "x" * 290 + " ...")])  # from outside
def test_describe_is_one_line_and_what_comes_from_outside_is_short(error, expected):
    assert describe(error) == expected


def test_readers_see_the_old_file_until_the_new_one_is_whole_and_after_an_error(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with atomic_write(path) as file:
        file.write("a\né\n")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == [path]
    with atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_bytes() == "a\né\n".encode()
    assert path.read_text() == "new"


def test_atomic_path_keeps_the_suffix_that_libraries_look_at(tmp_path):
    with atomic_path(tmp_path / "scores.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")
    assert (tmp_path / "scores.png").read_bytes() == b"x"


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_the_file_has_the_mode_that_the_user_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a") as file:
            file.write("x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_table_is_written_plainly_and_quoted_only_where_it_must_be(tmp_path):
    table = pd.DataFrame({"filename": ["a.fits", "b ü.fits", "c.fits"], "class": [1, 0, 1], "probability":
                          [0.1, math.nan, 1e-20], "note": ["x", None, ""]})
    write_csv(tmp_path / "new" / "table.csv", table)
    assert (tmp_path / "new" / "table.csv").read_bytes() == (
        "filename,class,probability,note\na.fits,1,0.1,x\nb ü.fits,0,,\nc.fits,1,1e-20,\n").encode()
    write_csv(tmp_path / "bare.csv", pyarrow.table({"x": [0.1 + 0.2, -1e300]}), header=False)
    assert (tmp_path / "bare.csv").read_text().split() == ["0.30000000000000004", "-1e+300"]
    table["note"] = ["with, comma", 'with "quotes"', "plain"]
    write_csv(tmp_path / "quoted.csv", table)
    assert pd.read_csv(tmp_path / "quoted.csv")["note"].tolist() == table["note"].tolist()
    write_csv(tmp_path / "empty.csv", pd.DataFrame({"filename": pd.Series(dtype=str), "class": pd.Series(dtype=int)}))
    assert (tmp_path / "empty.csv").read_text() == "filename,class\n"


@pytest.mark.parametrize(("content", "expected"), [
    (b"\xef\xbb\xbf1158\r\n\r\n 1166 \r\n", [(1, "1158"), (3, "1166")]), (b"a\rb", [(1, "a"), (2, "b")]),
    (b"", []), ("caf\xe9\n".encode("latin-1"), [(1, "caf\xe9")]), ("ü,1\n".encode(), [(1, "ü,1")])])
def test_lists_of_other_programs_are_read_alike(tmp_path, content, expected):
    (tmp_path / "list.txt").write_bytes(content)
    assert read_lines(tmp_path / "list.txt") == expected


def test_what_is_no_text_file_is_refused_at_once(tmp_path):
    (tmp_path / "image.fits").write_bytes(b"SIMPLE\0")
    with pytest.raises(UserError, match="holds zero bytes"):
        read_lines(tmp_path / "image.fits")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    for name, found in (("pipe", "neither a file nor a folder"), ("loop", "nothing|a link"),
                        ("gone", "a link to nothing"),
                        (".", "a folder"), ("none", "nothing"), ("x" * 300, "nothing")):
        with pytest.raises(UserError, match=f"found .*{found}"):
            read_lines(tmp_path / name)
        with pytest.raises(UserError, match=f"srs_list: expected a file .*found .*{found}"):
            require_file(tmp_path / name, "srs_list")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_that_cannot_be_flushed_is_kept_and_an_io_error_is_not_hidden(tmp_path, monkeypatch, number):
    def fail(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("general_code.stage.files.os.fsync", fail)
    with atomic_write(tmp_path / "a") as file:
        file.write("x")
    assert (tmp_path / "a").read_text() == "x"
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output"), atomic_write(tmp_path / "b") as file:
        file.write("x")


@pytest.mark.parametrize("ending", ["", ".log", ".json", ".excluded.csv"])
def test_a_pipe_in_place_of_an_output_is_refused_at_once(tmp_path, ending):
    os.mkfifo(tmp_path / f"a.csv{ending}")
    with pytest.raises(UserError, match=f"a.csv{ending}' cannot be written: expected a file .* found something"):
        require_output(tmp_path / "a.csv")


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path):
    code = (f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[3])!r})\nimport os\n"
            "from pathlib import Path\nfrom general_code.stage.files import atomic_write\n"
            f"with atomic_write(Path({str(tmp_path)!r}) / 'table.csv') as file:\n    os.kill(os.getpid(), 9)\n")
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = tmp_path.iterdir()
    others = [tmp_path / ".writing-otherhost-1-x-table.csv", tmp_path / ".writing-mine", tmp_path / "table.csv.part"]
    for path in others:
        path.touch()
    with atomic_write(tmp_path / "running.csv"):
        remove_leftovers(tmp_path)
        assert not left.exists()
        assert len(list(tmp_path.glob(".writing-*-running.csv"))) == 1
    assert all(path.exists() for path in others)
