"""Pixels read once: NaN counts, PNG images, what is reused and what is not."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.transform import resize

from general_code import image_screening
from general_code.image_screening import (
    ANOTHER_FILE,
    NAN_COLUMNS,
    PNG_COLUMNS,
    UNREADABLE,
    ImageTask,
    PngOutput,
    Screened,
    resize_field,
    screen_image,
    screen_images,
)
from general_code.magnetograms import write_magnetogram
from general_code.progress import progress_bar
from general_code.work_journal import WorkJournal


class Run:
    """Says nothing aloud, shows no progress."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    progress = staticmethod(progress_bar)


def write_field(path: Path, nans: int = 0, shape=(40, 50), seed: int = 0) -> np.ndarray:
    """Write a field with some NaN pixels and return it."""
    field = np.round(np.random.default_rng(seed).normal(0, 500, shape), 1)
    field.flat[:nans] = np.nan
    path.parent.mkdir(parents=True, exist_ok=True)
    write_magnetogram(path, field)
    return field


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Three images with 0, 3 and 0 NaN pixels, one broken file and one that is gone."""
    for i, nans in enumerate((0, 3, 0)):
        write_field(tmp_path / "in" / "1158" / f"{i}.fits", nans, seed=i)
    (tmp_path / "in" / "1158" / "3.fits").write_bytes(b"SIMPLE  = T")
    return [f"1158/{i}.fits" for i in range(5)]


def journal(tmp_path: Path) -> WorkJournal:
    """Return the journal of NaN counts as it is on disk."""
    return WorkJournal(tmp_path / "nan_counts.csv", NAN_COLUMNS)


def png_output(tmp_path: Path, pixels: int = 16, gauss_per_level: float = 25.0) -> PngOutput:
    """Return where PNG images go, with the journal as it is on disk."""
    (tmp_path / "out" / "1158").mkdir(parents=True, exist_ok=True)
    return PngOutput(tmp_path / "out", pixels, gauss_per_level,
                     WorkJournal(tmp_path / "out" / "png_journal.csv", PNG_COLUMNS))


def png_names(images: list[str]) -> list[str]:
    """Return the names of the PNG images."""
    return [image.replace(".fits", ".png") for image in images]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_nan_counts_and_reasons(tmp_path: Path, images, n_jobs, monkeypatch):
    monkeypatch.setattr(image_screening, "BATCH", 2)
    results = screen_images(tmp_path / "in", images, journal(tmp_path), n_jobs, Run())
    assert [result.nan_pixels for result in results] == [0, 3, 0, -1, -1]
    assert [result.reason for result in results] == ["", "", "", UNREADABLE, UNREADABLE]
    assert "3.fits" in results[3].detail
    assert "no such file" in results[4].detail
    assert len(journal(tmp_path).done) == 3


def test_second_run_reads_only_what_is_new_or_changed(tmp_path: Path, images, monkeypatch):
    screen_images(tmp_path / "in", images, journal(tmp_path), 1, Run())
    read = []
    monkeypatch.setattr(image_screening, "screen_image",
                        lambda task, *settings: read.append(task.source.name) or Screened(7))
    before = (tmp_path / "in" / images[0]).stat()
    os.utime(tmp_path / "in" / images[0], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    run = Run()
    results = screen_images(tmp_path / "in", images[:3], journal(tmp_path), 1, run)
    assert read == ["0.fits"]
    assert [result.nan_pixels for result in results] == [7, 3, 0]
    assert run.lines == ["Images to read: 1; known from an earlier run: 2",
                         "Changed since an earlier run, whose counts are not used: 1"]


@pytest.mark.parametrize("shape", [(40, 50), (600, 600), (16, 16), (33, 8), (224, 100)])
def test_resize_is_that_of_skimage(shape):
    field = np.random.default_rng(1).normal(0, 500, shape)
    expected = resize(field, (16, 16), order=1, anti_aliasing=True)
    assert resize_field(field, 16) == pytest.approx(expected, abs=1e-9)


def test_png_is_the_resized_field_in_levels(tmp_path: Path):
    field = write_field(tmp_path / "a.fits", shape=(60, 60))
    result = screen_image(ImageTask(tmp_path / "a.fits", tmp_path / "a.png"), 0, 16, 20.0)
    expected = np.clip(np.rint(128 + resize(field, (16, 16), order=1, anti_aliasing=True) / 20), 0, 255)
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.size) == ("L", (16, 16))
        assert np.array_equal(np.asarray(image), expected)
    assert result == Screened(0, png_bytes=(tmp_path / "a.png").stat().st_size)


def test_nan_becomes_zero_gauss_in_a_png(tmp_path: Path):
    write_magnetogram(tmp_path / "a.fits", np.full((16, 16), np.nan))
    assert screen_image(ImageTask(tmp_path / "a.fits", tmp_path / "a.png"), 256, 16, 25.0).nan_pixels == 256
    with Image.open(tmp_path / "a.png") as image:
        assert (np.asarray(image) == 128).all()


def test_png_images_are_made_once_and_again_with_other_settings(tmp_path: Path, images):
    images = images[:3]
    first = screen_images(tmp_path / "in", images, journal(tmp_path), 1, Run(), 0, png_output(tmp_path),
                          png_names(images))
    assert [result.png_bytes > 0 for result in first] == [True, False, True]  # the second has NaN pixels
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "1158").iterdir()}
    run = Run()
    screen_images(tmp_path / "in", images, journal(tmp_path), 1, run, 0, png_output(tmp_path), png_names(images))
    assert run.lines == ["Images to read: 0; known from an earlier run: 3"]
    screen_images(tmp_path / "in", images, journal(tmp_path), 1, run, 3, png_output(tmp_path), png_names(images))
    assert "Images to read: 1" in run.lines[-1]  # more NaN allowed: one more PNG
    screen_images(tmp_path / "in", images, journal(tmp_path), 1, run, 0, png_output(tmp_path, gauss_per_level=10.0),
                  png_names(images))
    assert "Images to read: 2" in run.lines[-2]
    assert run.lines[-1].endswith("now made again: 2")
    assert all((tmp_path / "out" / "1158" / name).stat().st_mtime_ns != stamp for name, stamp in stamps.items())


def test_another_file_in_a_png_s_place_is_kept_and_reported(tmp_path: Path, images):
    foreign = tmp_path / "out" / "1158" / "0.png"
    foreign.parent.mkdir(parents=True)
    Image.new("L", (16, 16), 7).save(foreign)
    content = foreign.read_bytes()
    results = screen_images(tmp_path / "in", images[:3], journal(tmp_path), 1, Run(), 0, png_output(tmp_path),
                            png_names(images))
    assert [result.reason for result in results] == [ANOTHER_FILE, "", ""]
    assert foreign.read_bytes() == content


def test_png_without_a_record_is_taken_over_when_it_is_the_same(tmp_path: Path, images):
    screen_images(tmp_path / "in", images[:1], journal(tmp_path), 1, Run(), 0, png_output(tmp_path), png_names(images))
    (tmp_path / "out" / "png_journal.csv").unlink()
    results = screen_images(tmp_path / "in", images[:1], journal(tmp_path), 1, Run(), 0, png_output(tmp_path),
                            png_names(images))
    assert results[0].reason == ""
    assert len(png_output(tmp_path).journal.done) == 1


def test_png_of_another_size_than_noted_is_not_taken_for_the_one_made(tmp_path: Path, images):
    screen_images(tmp_path / "in", images[:1], journal(tmp_path), 1, Run(), 0, png_output(tmp_path), png_names(images))
    changed = tmp_path / "out" / "1158" / "0.png"
    Image.new("L", (16, 16), 7).save(changed)
    content = changed.read_bytes()
    results = screen_images(tmp_path / "in", images[:1], journal(tmp_path), 1, Run(), 0, png_output(tmp_path),
                            png_names(images))
    assert [result.reason for result in results] == [ANOTHER_FILE]
    assert changed.read_bytes() == content
