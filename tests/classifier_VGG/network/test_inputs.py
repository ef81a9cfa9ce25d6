"""Files to network input, against scikit-image; rows on disk, found by file and whole after any interruption."""

import shutil
import threading

import hypothesis
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from hypothesis import strategies as st
from scipy.sparse import csr_array
from skimage.transform import resize

from classifier_VGG.network import inputs
from general_code.images.magnetograms import read_magnetogram, read_pixels, resize_field, write_magnetogram, write_png
from general_code.stage.files import UserError
from general_code.stage.journal import FileState
from tests.vgg_lab import refuse

GAUSS_RANGE = 5978.7
IDENTITY = {"kind": "features", "weights": "md5-1"}


def published(image, pixels=224):
    """Return an image resized as in the published code."""
    return resize(image, (pixels, pixels), order=1, anti_aliasing=True, preserve_range=True)


def grey_levels(path, pixels=224):
    """Return an image as the network's input."""
    grey = np.empty((pixels, pixels), np.float32)
    inputs.read_input(path, inputs.InputSettings(path.parent, path.suffix[1:], GAUSS_RANGE, 1, 1, pixels), grey, [])
    return grey


def as_grey(field):
    """Return grey levels of a field [G]."""
    return np.clip((field + GAUSS_RANGE) * (255 / (2 * GAUSS_RANGE)), 0, 255)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Folder of FITS and PNG images with a broken, an empty, a small and a NaN one among them."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(5)
    for number in range(20):
        write_magnetogram(folder / f"{number:02}.fits", rng.normal(0, 400, (48 + number, 70)))
        shape = (224, 224) if number % 3 else (60 + number, 90)
        write_png(folder / f"{number:02}.png", rng.integers(0, 256, shape, dtype=np.uint8))
    for ending in ("fits", "png"):
        (folder / f"03.{ending}").write_bytes(b"neither")
        (folder / f"07.{ending}").write_bytes((folder / f"06.{ending}").read_bytes()[:3000])
    (folder / "09.png").write_bytes(b"")
    write_magnetogram(folder / "10.fits", np.zeros((31, 200)))
    write_png(folder / "10.png", np.zeros((200, 31), np.uint8))
    write_magnetogram(folder / "12.fits", np.zeros((40, 16_385)))
    write_magnetogram(folder / "11.fits", np.where(np.arange(40) == 3, np.nan, np.zeros((40, 40))))
    return folder


@pytest.mark.parametrize("shape", [(600, 600), (460, 1167), (32, 32), (224, 300), (100, 224), (224, 224)])
def test_a_fits_image_is_resized_as_published(tmp_path, shape):
    write_magnetogram(tmp_path / "a.fits", np.random.default_rng(1).normal(0, 1500, shape))
    expected = as_grey(published(read_magnetogram(tmp_path / "a.fits")))
    assert np.abs(grey_levels(tmp_path / "a.fits") - expected).max() < 2e-5  # 1e-3 G; 8 bits have steps of 47 G


@hypothesis.settings(deadline=None)  # the first call compiles
@hypothesis.given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.integers(1, 40), st.integers(0, 99))
@hypothesis.example((3, 1100), 224, 0)  # its weights are made in parts
def test_a_field_is_resized_to_the_last_bit_as_by_sparse_matrices(shape, pixels, seed):
    """PNG images made before stay as they are."""
    tenths = np.random.default_rng(seed).integers(-30_000, 30_000, shape, dtype=np.int32)
    rows, columns = (csr_array(resize(np.eye(length), (pixels, length), order=1, anti_aliasing=True))
                     for length in shape)
    for field in (tenths, tenths * 0.1):
        assert np.array_equal(resize_field(field, pixels), (columns @ (rows @ field).T).T)


@pytest.mark.parametrize("gauss", [-1e5, -GAUSS_RANGE, 0, 0.1, 33.3, GAUSS_RANGE, 1e5])
@pytest.mark.parametrize(("write", "dtype"), [(write_magnetogram, np.int32), (fits.writeto, np.float64)])
def test_gauss_becomes_grey_levels_linearly_clipped_and_not_rounded(tmp_path, gauss, write, dtype):
    write(tmp_path / "a.fits", np.full((40, 40), gauss))
    assert read_pixels(tmp_path / "a.fits").values.dtype == dtype
    assert np.allclose(grey_levels(tmp_path / "a.fits"), as_grey(gauss), atol=2e-5, rtol=0)


def test_a_png_image_of_224_pixels_is_left_alone_and_another_is_resized(images):
    resized, kept = (read_magnetogram(images / name) + 128 for name in ("00.png", "01.png"))
    assert np.array_equal(grey_levels(images / "01.png"), kept)
    assert np.allclose(grey_levels(images / "00.png"), published(resized), atol=1e-4)
    assert np.allclose(grey_levels(images / "01.png", 299), published(kept, 299), atol=1e-4), "another network's size"


@pytest.mark.parametrize("image_format", ["fits", "png"])
@pytest.mark.parametrize(("n_jobs", "pixels"), [(1, 224), (2, 299)])
def test_batches_hold_every_image_but_the_unusable_in_order(images, run, image_format, n_jobs, pixels):
    names = [f"{number:02}.{image_format}" for number in range(21)]
    settings = inputs.InputSettings(images, image_format, GAUSS_RANGE, 6, n_jobs, pixels)
    batches = list(inputs.input_batches(names, settings))
    failures = {place: reason for batch in batches for place, reason, _ in batch.failures}
    assert failures == {10: "smaller than 32x32", 20: "no such file"} | (
        {3: "not a readable FITS image", 7: "not a readable FITS image", 11: "NaN pixels",
         12: "larger than 16,384x16,384"} if image_format == "fits"
        else {3: "not a PNG image", 7: "damaged PNG image", 9: "the file is empty"})
    assert [len(batch.places) + len(batch.failures) for batch in batches] == [6, 6, 6, 3]
    places = np.concatenate([batch.places for batch in batches])
    assert places.tolist() == [place for place in range(21) if place not in failures]
    one_by_one = [grey_levels(images / names[place], pixels) for place in places]
    assert np.array_equal(np.concatenate([batch.grey for batch in batches]), one_by_one)
    read, usable = inputs.image_reader(pd.DataFrame({"source": names}), settings, run)
    assert np.array_equal(np.flatnonzero(usable), places)
    assert np.array_equal(read(places[::-1])[..., 0], one_by_one[::-1])
    assert [problem[1] for problem in run.exclusions] == list(failures.values())


def test_reading_runs_ahead_but_not_far_and_stops_with_its_consumer(images, monkeypatch):
    started = []
    monkeypatch.setattr(inputs, "read_input", lambda path, *_: started.append(path.name))
    batches = inputs.input_batches(["a"] * 100, inputs.InputSettings(images, "png", GAUSS_RANGE, 10, 2))
    next(batches)
    batches.close()
    assert 10 <= len(started) <= 30
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


# ---------------------------------------------------------------------------- rows on disk


FOUR = np.random.default_rng(0).random((4, 4), dtype=np.float32)


def files(*names):
    """Return made-up file states."""
    return [FileState(name, 100, 7) for name in names]


def opened(folder, identity=IDENTITY, dtype="float32"):
    """Return a cache of rows of four numbers."""
    return inputs.RowCache(folder, identity, 4, dtype)


def test_rows_are_found_again_by_name_size_and_time(tmp_path):
    with opened(tmp_path) as cache:
        cache.append(files("a,1", "b"), FOUR[:2])
        cache.append(files("c"), FOUR[2:3])
    with opened(tmp_path) as cache:
        assert cache.find(files("c", "a,1", "d")).tolist() == [2, 0, -1]
        assert cache.find([FileState("b", 100, 8)]).tolist() == cache.find([FileState("b", 101, 7)]).tolist() == [-1]
        assert np.array_equal(cache.values(), FOUR[:3])
        assert not cache.values().flags.writeable


@pytest.mark.parametrize(("file", "damage", "kept"), [
    ("rows.bin", lambda whole: whole + b"half a", True), ("rows.bin", lambda whole: whole + b"two more" * 4, True),
    ("rows.bin", lambda whole: whole[:20], False), ("index.tsv", lambda whole: whole + b"c,10", True),
    ("index.tsv", lambda whole: whole + whole.splitlines(keepends=True)[-1], True),
    ("index.tsv", lambda whole: whole.replace(b"\tb\t", b"\tx\t"), False)])
def test_what_an_interruption_left_is_not_used(tmp_path, file, damage, kept):
    with opened(tmp_path) as cache:
        cache.append(files("a", "b"), FOUR[:2])
    path = cache.folder / file
    path.write_bytes(damage(path.read_bytes()))
    with opened(tmp_path) as cache:
        assert cache.find(files("a", "b", "c")).tolist() == [0, 1 if kept else -1, -1]
        cache.append(files("c"), FOUR[2:3])
        assert np.array_equal(cache.values()[cache.find(files("a", "c"))], FOUR[[0, 2]])


@pytest.mark.parametrize(("seconds", "kept"), [(0, [0, 1, -1]), (1e6, [-1, -1, -1])])
def test_a_process_that_dies_loses_what_it_added_after_the_last_commit(tmp_path, monkeypatch, seconds, kept):
    monkeypatch.setattr(inputs, "SECONDS_BETWEEN_COMMITS", seconds)
    with opened(tmp_path) as cache:
        cache.append(files("a"), FOUR[:1])
        cache.append(files("b"), FOUR[1:2])
        shutil.copytree(cache.folder, tmp_path / "killed" / cache.folder.name)  # the disk as a kill would leave it
    with opened(tmp_path / "killed") as cache:
        assert cache.find(files("a", "b", "c")).tolist() == kept
        if seconds == 0:
            assert np.array_equal(cache.values(), FOUR[:2])


@pytest.mark.parametrize(("number", "message"), [
    (1e6, "--cache-dtype float32"), (np.nan, "NaN or infinite numbers for b .*--weights")])
def test_float16_rounds_and_refuses_what_is_too_large_or_no_number(tmp_path, number, message):
    with opened(tmp_path, dtype="float16") as cache:
        cache.append(files("a"), FOUR[:1])
        with pytest.raises(UserError, match=message):
            cache.append(files("b"), np.full((1, 4), number, np.float32))
        assert np.array_equal(cache.values(), FOUR[:1].astype(np.float16))


def test_two_runs_do_not_write_one_cache(tmp_path):
    with opened(tmp_path), pytest.raises(UserError, match="another run"), opened(tmp_path):
        pass


@pytest.fixture
def fill(images, tmp_path, run):
    """Fill a cache with four numbers of four images, of which number 3 is broken; return rows, numbers, folder."""
    table = pd.DataFrame({"source": [f"{number:02}.fits" for number in range(4)], "bytes": 1, "modified_ns": 7})
    settings = inputs.InputSettings(images, "fits", GAUSS_RANGE, 2, 1)

    def fill_some(identity=IDENTITY, count=4):
        with opened(tmp_path, identity) as cache:
            rows = inputs.fill_rows(table[:count], cache, settings, lambda grey: grey[:, 0, :4], run)
            return rows.tolist(), cache.values().copy(), cache.folder

    return fill_some


def test_only_what_is_missing_is_computed(fill, run, capsys):
    rows, numbers, _ = fill(count=2)
    assert rows == [0, 1]
    rows, again, _ = fill()
    assert rows == [0, 1, 2, -1]
    assert np.array_equal(again[:2], numbers)
    assert [problem[:2] for problem in run.exclusions] == [("03.fits", "not a readable FITS image")]
    out = capsys.readouterr().out
    assert "0 of 2 images are in it, 2 to compute" in out
    assert "2 of 4 images are in it, 2 to compute" in out


def test_an_index_of_another_kind_is_reported_and_made_again(fill, capsys):
    _, numbers, folder = fill()
    (folder / "index.tsv").write_bytes(b"\xff\n" + (folder / "index.tsv").read_bytes())
    rows, again, _ = fill()
    assert f"Cache {folder}: the first line of its index.tsv is damaged" in capsys.readouterr().out
    assert np.array_equal(again[rows[:3]], numbers)


def test_what_the_writer_refuses_ends_the_run(fill, monkeypatch):
    monkeypatch.setattr(inputs.RowCache, "append", lambda *_: refuse())
    with pytest.raises(AssertionError):
        fill()


def test_caches_of_other_settings_are_named_and_kept(fill, capsys):
    _, _, first = fill()
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    fill(IDENTITY | {"gauss": 2})
    assert f"1 other cache in {first.parent}, made with other settings" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
