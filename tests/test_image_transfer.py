"""Images brought into a data set: never over a different file, never half a file."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from general_code import image_transfer, stage_files
from general_code.image_screening import ANOTHER_FILE, UNREADABLE
from general_code.image_transfer import place_image, remove_leftovers, transfer_images
from general_code.stage_files import UserError
from tests.test_image_screening import Run


def sources_in(tmp_path: Path, number: int = 3) -> tuple[list[Path], list[Path]]:
    """Write some files and return them with where they are to go."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(number):
        (folder / f"{i}.fits").write_bytes(bytes([i]) * 100)
    return ([folder / f"{i}.fits" for i in range(number)],
            [tmp_path / "out" / "1158" / f"{i}.fits" for i in range(number)])


@pytest.mark.parametrize("transfer", ["hardlink", "copy", "symlink"])
def test_images_are_placed_and_a_second_run_changes_nothing(tmp_path: Path, transfer):
    sources, targets = sources_in(tmp_path)
    for _ in range(2):
        assert transfer_images(sources, targets, transfer, 2, Run()) == [("", "")] * 3
        assert [target.read_bytes() for target in targets] == [source.read_bytes() for source in sources]
    assert sources[0].samefile(targets[0]) == (transfer != "copy")
    assert targets[0].is_symlink() == (transfer == "symlink")
    if transfer == "copy":
        assert targets[0].stat().st_mtime_ns == sources[0].stat().st_mtime_ns
    assert sorted(path.name for path in targets[0].parent.iterdir()) == ["0.fits", "1.fits", "2.fits"]


@pytest.mark.parametrize("transfer", ["hardlink", "copy", "symlink"])
@pytest.mark.parametrize("content", [b"different", bytes([0]) * 99 + b"x"])
def test_different_file_is_never_overwritten(tmp_path: Path, transfer, content):
    sources, targets = sources_in(tmp_path)
    targets[0].parent.mkdir(parents=True)
    targets[0].write_bytes(content)
    outcome = transfer_images(sources, targets, transfer, 1, Run())
    assert [reason for reason, _ in outcome] == [ANOTHER_FILE, "", ""]
    assert str(targets[0]) in outcome[0][1]
    assert targets[0].read_bytes() == content


@pytest.mark.parametrize("transfer", ["hardlink", "copy", "symlink"])
def test_equal_file_of_another_time_is_the_image(tmp_path: Path, transfer):
    sources, targets = sources_in(tmp_path, 1)
    targets[0].parent.mkdir(parents=True)
    shutil.copyfile(sources[0], targets[0])
    os.utime(targets[0], ns=(0, 0))
    assert place_image(sources[0], targets[0], transfer) == "placed"
    assert how(sources[0], targets[0]) == transfer


def how(source: Path, target: Path) -> str:
    """Return in which way an image is in its place."""
    return "symlink" if target.is_symlink() else "hardlink" if target.samefile(source) else "copy"


@pytest.mark.parametrize("before", ["hardlink", "copy", "symlink"])
@pytest.mark.parametrize("transfer", ["hardlink", "copy", "symlink"])
def test_another_transfer_brings_the_images_anew(tmp_path: Path, before, transfer):
    sources, targets = sources_in(tmp_path)
    transfer_images(sources, targets, before, 1, Run())
    assert transfer_images(sources, targets, transfer, 1, Run()) == [("", "")] * 3
    assert [how(*pair) for pair in zip(sources, targets, strict=True)] == [transfer] * 3
    assert [target.read_bytes() for target in targets] == [source.read_bytes() for source in sources]
    assert len(list(targets[0].parent.iterdir())) == 3, "no temporary file is left"
    assert not any(source.is_symlink() for source in sources)


@pytest.mark.parametrize("transfer", ["hardlink", "copy", "symlink"])
@pytest.mark.parametrize("link", ["folder", "source"])
def test_a_data_set_that_is_the_source_by_a_link_is_left_alone(tmp_path: Path, transfer, link):
    sources, targets = sources_in(tmp_path, 1)
    if link == "folder":
        targets[0].parent.parent.mkdir()
        targets[0].parent.symlink_to(sources[0].parent)
    else:
        targets[0].parent.mkdir(parents=True)
        sources[0].rename(targets[0])
        sources[0].symlink_to(targets[0])
    before = targets[0].stat()
    assert place_image(sources[0], targets[0], transfer) == "placed"
    assert os.path.samestat(targets[0].lstat(), before)
    assert targets[0].read_bytes() == bytes(100)


def test_a_copy_stays_where_hard_links_are_not_possible(tmp_path: Path, monkeypatch):
    sources, targets = sources_in(tmp_path)
    transfer_images(sources, targets, "copy", 1, Run())
    before = [target.stat().st_ino for target in targets]
    monkeypatch.setattr(os, "link", refuse_link(errno.EPERM))
    run = Run()
    transfer_images(sources, targets, "hardlink", 1, run)
    assert [target.stat().st_ino for target in targets] == before
    assert "3 images were copied" in run.lines[0]


def refuse_link(number: int):
    """Return what a file system says that makes no hard links."""
    def refuse(*_):
        raise OSError(number, "not here")
    return refuse


def test_link_to_a_file_that_has_moved_is_renewed(tmp_path: Path):
    sources, targets = sources_in(tmp_path, 1)
    targets[0].parent.mkdir(parents=True)
    targets[0].symlink_to(tmp_path / "gone")
    assert place_image(sources[0], targets[0], "symlink") == "placed"
    assert targets[0].read_bytes() == sources[0].read_bytes()


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_hard_link_that_is_not_possible_becomes_a_copy(tmp_path: Path, monkeypatch, number):
    monkeypatch.setattr(os, "link", refuse_link(number))
    sources, targets = sources_in(tmp_path)
    run = Run()
    assert transfer_images(sources, targets, "hardlink", 1, run) == [("", "")] * 3
    assert not sources[0].samefile(targets[0])
    assert "3 images were copied" in run.lines[0]


def test_unreadable_source_is_reported_and_the_rest_placed(tmp_path: Path):
    sources, targets = sources_in(tmp_path)
    sources[1].unlink()
    outcome = transfer_images(sources, targets, "copy", 1, Run())
    assert [reason for reason, _ in outcome] == ["", UNREADABLE, ""]
    assert "No such file" in outcome[1][1]


def test_disk_that_gets_full_leaves_no_partial_file_and_says_how_much_is_missing(tmp_path: Path, monkeypatch):
    sources, targets = sources_in(tmp_path)
    copyfile = shutil.copyfile

    def full(source, target):
        if Path(source) == sources[1]:
            Path(target).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return copyfile(source, target)

    monkeypatch.setattr(image_transfer.shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"is full: .* MB still to write, .* [GM]B missing"):
        transfer_images(sources, targets, "copy", 1, Run())
    assert {path.name for path in targets[0].parent.iterdir()} <= {"0.fits", "2.fits"}
    monkeypatch.undo()
    assert transfer_images(sources, targets, "copy", 1, Run()) == [("", "")] * 3


@pytest.mark.parametrize(("transfer", "number"), [("copy", 0), ("hardlink", errno.EXDEV), ("hardlink", errno.EPERM),
                                                  ("hardlink", errno.EMLINK)])
def test_too_little_room_is_said_before_anything_is_copied(tmp_path: Path, monkeypatch, transfer, number):
    sources, targets = sources_in(tmp_path)
    monkeypatch.setattr(stage_files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 999, 1))
    if transfer == "hardlink":
        monkeypatch.setattr(os, "link", refuse_link(number))
    with pytest.raises(UserError, match="copies of 3 images: .* missing"):
        transfer_images(sources, targets, transfer, 1, Run())
    assert list(targets[0].parent.iterdir()) == []


def test_room_is_asked_for_the_links_that_become_copies_and_for_no_links(tmp_path: Path, monkeypatch):
    sources, targets = sources_in(tmp_path)
    monkeypatch.setattr(stage_files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 999, 1))
    for transfer in ("symlink", "hardlink"):
        transfer_images(sources, targets, transfer, 1, Run())
        with pytest.raises(UserError, match="copies of 3 images: .* missing"):
            transfer_images(sources, targets, "copy", 1, Run())
    monkeypatch.undo()
    transfer_images(sources, targets, "copy", 1, Run())
    monkeypatch.setattr(stage_files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 1000, 0))
    assert transfer_images(sources, targets, "copy", 1, Run()) == [("", "")] * 3


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path):
    (tmp_path / ".writing-abc-1.fits").touch()
    (tmp_path / "1.fits").touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1.fits"]
