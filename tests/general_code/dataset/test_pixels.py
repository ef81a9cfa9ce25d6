"""Pixels read once: NaN counts, PNG images, what is reused; and images transferred, never over a different file."""

import errno
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.transform import resize

from general_code.dataset import pixels
from general_code.dataset.pixels import (
    ANOTHER_FILE,
    UNREADABLE,
    ImageTask,
    PngSettings,
    Screened,
    place_image,
    screen_image,
    screen_images,
    transfer_images,
)
from general_code.images.magnetograms import CONTRADICTION, write_magnetogram
from general_code.images.names import list_images
from general_code.stage import files as stage_files
from general_code.stage.files import UserError
from general_code.stage.run import progress_bar
from tests.general_code.noaa.test_archive import Reports


class Run(Reports):
    """Keeps what is reported."""

    progress = staticmethod(progress_bar)


def write_field(path: Path, nans: int = 0, shape=(40, 50), seed: int = 0, header=()) -> np.ndarray:
    """Write a field with some NaN pixels and return it."""
    field = np.round(np.random.default_rng(seed).normal(0, 500, shape), 1)
    field.flat[:nans] = np.nan
    path.parent.mkdir(parents=True, exist_ok=True)
    write_magnetogram(path, field, header)
    return field


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three images with 0, 3 and 0 NaN pixels, a broken file and one that is gone."""
    for i, nans in enumerate((0, 3, 0)):
        write_field(tmp_path / "in" / "1158" / f"{i}.fits", nans, seed=i)
    (tmp_path / "in" / "1158" / "3.fits").write_bytes(b"SIMPLE  = T")
    return tmp_path


def screen(folder: Path, n: int = 3, run: Run | None = None, jobs: int = 1, **options) -> list[Screened]:
    """Screen the first n images, of five, as files and journals are on disk."""
    images = list_images(folder / "in", "fits")[0][["source", "bytes", "modified_ns"]]
    images = pd.concat([images, pd.DataFrame({"source": ["1158/4.fits"], "bytes": [-1], "modified_ns": [-1]})])[:n]
    images = images.assign(region="1158", name=[f"{i}.png" for i in range(n)])
    (folder / "out" / "1158").mkdir(parents=True, exist_ok=True)
    return screen_images(folder / "in", images, folder / "nan_counts.txt", jobs, run or Run(), **options)


def png(folder: Path, gauss_per_level: float = 25.0) -> PngSettings:
    """Return where PNG images go."""
    return PngSettings(folder / "out", 16, gauss_per_level)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_nan_counts_and_reasons(folder, n_jobs, monkeypatch):
    monkeypatch.setattr(pixels, "BATCH", 2)
    results = screen(folder, 5, jobs=n_jobs)
    assert [result.nan_pixels for result in results] == [0, 3, 0, -1, -1]
    assert [result.reason for result in results] == ["", "", "", UNREADABLE, UNREADABLE]
    assert "3.fits" in results[3].detail and "no such file" in results[4].detail
    assert len((folder / "nan_counts.txt").read_text().splitlines()) == 1 + 3


def test_second_run_reads_only_what_is_new_or_changed(folder, monkeypatch):
    write_field(folder / "in" / "1158" / "2.fits", header=[("DATAMIN", 0.0), ("DATAMAX", 1.0)])
    assert screen(folder)[2].remarks == (CONTRADICTION,)
    read, changed = [], folder / "in" / "1158" / "0.fits"
    monkeypatch.setattr(pixels, "screen_image", lambda task, *settings: read.append(task.source.name) or Screened(7))
    os.utime(changed, ns=(0, changed.stat().st_mtime_ns + 1))
    run = Run()
    results = screen(folder, run=run)
    assert read == ["0.fits"]
    assert [(result.nan_pixels, result.remarks) for result in results] == [(7, ()), (3, ()), (0, (CONTRADICTION,))]
    assert run.lines == ["Images to read: 1; known from an earlier run: 2"]


@pytest.mark.parametrize("nans", [0, 2, 3600])
def test_png_is_the_resized_field_in_levels_with_nan_as_zero_gauss(tmp_path: Path, nans):
    field = np.nan_to_num(write_field(tmp_path / "a.fits", nans, shape=(60, 60)))
    result = screen_image(ImageTask(tmp_path / "a.fits", tmp_path / "a.png"), nans, PngSettings(tmp_path, 16, 20.0))
    expected = np.clip(np.rint(128 + resize(field, (16, 16), order=1, anti_aliasing=True) / 20), 0, 255)
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.size) == ("L", (16, 16))
        assert np.array_equal(np.asarray(image), expected)
    assert result == Screened(nans, png_bytes=(tmp_path / "a.png").stat().st_size)


def test_no_png_is_made_of_an_image_too_long_to_resize(tmp_path: Path):
    write_magnetogram(tmp_path / "a.fits", np.zeros((32, 16_385)))
    result = screen_image(ImageTask(tmp_path / "a.fits", tmp_path / "a.png"), 0, PngSettings(tmp_path, 16, 20.0))
    assert result == Screened(0, (), "unreadable image", "larger than 16,384x16,384: got 32x16385 pixels")


def test_png_images_are_made_once_and_again_with_other_settings(folder):
    first = screen(folder, png=png(folder))
    assert [result.png_bytes > 0 for result in first] == [True, False, True]  # the second has NaN pixels
    stamps = {path.name: path.stat().st_mtime_ns for path in (folder / "out" / "1158").iterdir()}
    run = Run()
    screen(folder, run=run, png=png(folder))
    assert run.lines == ["Images to read: 0; known from an earlier run: 3"]
    screen(folder, run=run, max_nans=3, png=png(folder))
    assert "Images to read: 1" in run.lines[-1]  # more NaN allowed: one more PNG
    screen(folder, run=run, png=png(folder, gauss_per_level=10.0))
    assert "Images to read: 2" in run.lines[-2]
    assert run.lines[-1].endswith("now made again: 2")
    assert all((folder / "out" / "1158" / name).stat().st_mtime_ns != stamp for name, stamp in stamps.items())


@pytest.mark.parametrize("before", [False, True], ids=["found there", "made, then changed"])
def test_another_file_in_a_png_s_place_is_kept_and_reported(folder, before):
    foreign = folder / "out" / "1158" / "0.png"
    foreign.parent.mkdir(parents=True)
    if before:
        screen(folder, png=png(folder))
    Image.new("L", (16, 16), 7).save(foreign)
    content = foreign.read_bytes()
    assert [result.reason for result in screen(folder, png=png(folder))] == [ANOTHER_FILE, "", ""]
    assert foreign.read_bytes() == content


def test_png_without_a_record_is_taken_over_when_it_is_the_same(folder):
    screen(folder, 1, png=png(folder))
    journal, made = folder / "out" / "png_journal.txt", folder / "out" / "1158" / "0.png"
    noted, before = journal.read_bytes(), made.stat().st_mtime_ns
    journal.unlink()
    assert screen(folder, 1, png=png(folder))[0].reason == ""
    assert (journal.read_bytes(), made.stat().st_mtime_ns) == (noted, before)


TRANSFERS = ("hardlink", "copy", "symlink")


def sources_in(tmp_path: Path, number: int = 3) -> tuple[list[Path], list[Path]]:
    """Write some files and return them with where they are to go."""
    folder = tmp_path / "from"
    folder.mkdir()
    for i in range(number):
        (folder / f"{i}.fits").write_bytes(bytes([i]) * 100)
    return ([folder / f"{i}.fits" for i in range(number)],
            [tmp_path / "out" / "1158" / f"{i}.fits" for i in range(number)])


def how(source: Path, target: Path) -> str:
    """Return in which way an image is in its place."""
    return "symlink" if target.is_symlink() else "hardlink" if target.samefile(source) else "copy"


def refuse_link(number: int):
    """Return what a file system answers that makes no links."""
    return Mock(side_effect=OSError(number, "not here"))


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_images_are_placed_and_a_second_run_changes_nothing(tmp_path: Path, transfer):
    sources, targets = sources_in(tmp_path)
    for again in (transfer, *TRANSFERS):  # what is there stays as it is, in whatever way
        assert transfer_images(sources, targets, again, 2, Run()) == [("", "")] * 3
        assert [target.read_bytes() for target in targets] == [source.read_bytes() for source in sources]
        assert [how(*pair) for pair in zip(sources, targets, strict=True)] == [transfer] * 3
    assert targets[0].stat().st_mtime_ns == sources[0].stat().st_mtime_ns
    assert sorted(path.name for path in targets[0].parent.iterdir()) == ["0.fits", "1.fits", "2.fits"]


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("content", [b"different", bytes([0]) * 99 + b"x"])
def test_different_file_is_never_overwritten_and_the_rest_placed(tmp_path: Path, transfer, content):
    sources, targets = sources_in(tmp_path)
    targets[0].parent.mkdir(parents=True)
    targets[0].write_bytes(content)
    sources[1].unlink()
    outcome = transfer_images(sources, targets, transfer, 1, Run())
    assert [reason for reason, _ in outcome] == [ANOTHER_FILE, UNREADABLE, ""] and "No such file" in outcome[1][1]
    assert str(targets[0]) in outcome[0][1] and targets[0].read_bytes() == content


@pytest.mark.parametrize("transfer", TRANSFERS)
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
    assert place_image(sources[0], targets[0], transfer) == ("", "")
    assert os.path.samestat(targets[0].lstat(), before)
    assert targets[0].read_bytes() == bytes(100)


def test_link_to_a_file_that_has_moved_is_renewed(tmp_path: Path):
    sources, targets = sources_in(tmp_path, 1)
    targets[0].parent.mkdir(parents=True)
    targets[0].symlink_to(tmp_path / "gone")
    (targets[0].parent / ".writing-0.fits").touch()  # of a killed run
    assert place_image(sources[0], targets[0], "symlink") == ("", "")
    assert targets[0].read_bytes() == sources[0].read_bytes() and len(list(targets[0].parent.iterdir())) == 1


@pytest.mark.parametrize("transfer", ["hardlink", "symlink"])
@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS,
                                    errno.EINVAL, errno.EACCES])
def test_link_that_is_not_possible_becomes_a_copy_with_one_warning(tmp_path: Path, monkeypatch, transfer, number):
    monkeypatch.setattr(os, "link" if transfer == "hardlink" else "symlink", refuse_link(number))
    monkeypatch.setattr(os, "utime", refuse_link(errno.EPERM))
    sources, targets = sources_in(tmp_path)
    run = Run()
    for _ in range(2):
        assert transfer_images(sources, targets, transfer, 1, run) == [("", "")] * 3
        assert [how(*pair) for pair in zip(sources, targets, strict=True)] == ["copy"] * 3
    assert len(run.lines) == 1 and f"Warning: 3 images were copied: {transfer}s from" in run.lines[0]


def test_disk_that_gets_full_leaves_no_partial_file(tmp_path: Path, monkeypatch):
    sources, targets = sources_in(tmp_path)

    def full(source, target):
        target.write_bytes(source.read_bytes())
        if source == sources[1]:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(pixels.shutil, "copyfile", full)
        transfer_images(sources, targets, "copy", 1, Run())
    assert {path.name for path in targets[0].parent.iterdir()} <= {"0.fits", "2.fits"}
    assert transfer_images(sources, targets, "copy", 1, Run()) == [("", "")] * 3


@pytest.mark.parametrize(("transfer", "number"), [("copy", 0), ("hardlink", errno.EXDEV), ("symlink", errno.EPERM)])
def test_room_is_looked_for_before_anything_is_copied_and_not_for_links_and_what_is_there(tmp_path: Path, monkeypatch,
                                                                                         transfer, number):
    sources, targets = sources_in(tmp_path)
    monkeypatch.setattr(stage_files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 999, 1))
    with monkeypatch.context() as patch, pytest.raises(UserError, match="copies of 3 images: .* missing"):
        if number:
            patch.setattr(os, "link" if transfer == "hardlink" else "symlink", refuse_link(number))
        transfer_images(sources, targets, transfer, 1, Run())
    assert list(targets[0].parent.iterdir()) == []
    for possible in ("symlink", "hardlink", "copy"):
        assert transfer_images(sources, targets, possible, 1, Run()) == [("", "")] * 3
