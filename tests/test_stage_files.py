"""Inputs that a setting names, free space, and atomic writes."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import tyro

from general_code.stage_files import (
    OptionalPath,
    UserError,
    atomic_path,
    atomic_write,
    describe,
    full_disk_is_said,
    given,
    parse_optional_path,
    require_file,
    require_folder,
    require_free_space,
    require_output,
    size_text,
)


@pytest.mark.parametrize(("text", "expected"), [("", False), ("data", True), ("/", True)])
def test_given(text, expected):
    assert given(Path(text)) is expected


@pytest.mark.parametrize(("text", "expected"), [("", Path("")), ("data", Path("data")), ("/", Path("/"))])
def test_an_optional_path_as_typed(text, expected):
    assert parse_optional_path(text) == expected
    assert given(parse_optional_path(text)) is bool(text)


@pytest.mark.parametrize("text", [".", "./", "./."])
def test_the_folder_that_one_stands_in_is_given(tmp_path, monkeypatch, text):
    @dataclass(frozen=True)
    class UserDefinitions:
        archive: OptionalPath = Path("")  # a folder

    monkeypatch.chdir(tmp_path)
    assert tyro.cli(UserDefinitions, args=["--archive", text]).archive == tmp_path
    assert not given(tyro.cli(UserDefinitions, args=["--archive", ""]).archive)
    assert not given(tyro.cli(UserDefinitions, args=[]).archive)


def test_require_folder_names_the_setting_and_what_to_do(tmp_path):
    assert require_folder(tmp_path, "srs_dir") == tmp_path
    with pytest.raises(UserError, match=r"srs_dir: expected a folder at '.*none'.*found nothing; set --srs-dir"):
        require_folder(tmp_path / "none", "srs_dir")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="found a file"):
        require_folder(tmp_path / "file", "srs_dir")


def test_require_file_refuses_nothing_a_folder_and_an_empty_file(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(UserError, match="ar_list: expected a file at .* found nothing; run the stage"):
        require_file(path, "ar_list")
    with pytest.raises(UserError, match="found a folder"):
        require_file(tmp_path, "ar_list")
    path.touch()
    with pytest.raises(UserError, match="found an empty file"):
        require_file(path, "ar_list")
    path.write_text("x")
    assert require_file(path, "ar_list") == path


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
            full_disk_is_said(tmp_path / "a.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), full_disk_is_said(tmp_path / "a.csv"):
        raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(("error", "expected"), [
    (FileNotFoundError(2, "No such file or directory", "a.txt"), "a.txt: No such file or directory"),
    (ValueError("two\n  lines"), "two lines"), (KeyError(), "KeyError")])
def test_describe_is_one_line(error, expected):
    assert describe(error) == expected


def test_atomic_write_makes_the_folder_and_leaves_one_file(tmp_path):
    path = tmp_path / "new" / "table.csv"
    with atomic_write(path) as file:
        file.write("a\né\n")
    assert path.read_bytes() == "a\né\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_an_error_while_writing_keeps_the_old_file_and_removes_the_new(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
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
