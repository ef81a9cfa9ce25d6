"""Files to network input: the resize operator against scikit-image, the map to grey levels, and what is refused."""

import numpy as np
import pytest
from skimage.transform import resize

from classifier_VGG.image_input import (
    InputError,
    check_image,
    gauss_to_input,
    input_batches,
    read_input,
    read_inputs,
    resize_to_input,
)
from general_code.magnetograms import read_magnetogram, write_magnetogram, write_png

GAUSS_RANGE = 5978.7


def published_resize(image):
    """Return what the published path computes."""
    return resize(image, (224, 224), order=1, anti_aliasing=True, preserve_range=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Folder of FITS and PNG images with a broken, an empty, a small and a NaN one among them."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(5)
    for number in range(20):
        write_magnetogram(folder / f"{number:02}.fits", rng.normal(0, 400, (48 + number, 70)))
        shape = (224, 224) if number % 3 else (60 + number, 90)
        write_png(folder / f"{number:02}.png", rng.integers(0, 256, shape, dtype=np.uint8))
    for name in ("03.fits", "03.png"):
        (folder / name).write_bytes(b"neither")
    (folder / "07.fits").write_bytes((folder / "06.fits").read_bytes()[:3000])
    (folder / "07.png").write_bytes((folder / "06.png").read_bytes()[:300])
    (folder / "09.png").write_bytes(b"")
    write_magnetogram(folder / "10.fits", np.zeros((31, 200)))
    write_png(folder / "10.png", np.zeros((31, 200), np.uint8))
    field = np.zeros((40, 40))
    field[3, 4] = np.nan
    write_magnetogram(folder / "11.fits", field)
    return folder


@pytest.mark.parametrize("shape", [(600, 600), (240, 500), (460, 1167), (32, 33), (224, 300), (100, 224)])
def test_resize_equals_scikit_image(shape):
    image = np.random.default_rng(1).normal(0, 1500, shape)
    assert np.abs(resize_to_input(image) - published_resize(image)).max() < 1e-9  # the requirement is 1e-3 G


def test_resize_of_a_constant_is_that_constant_and_224_pixels_are_left_alone():
    assert np.allclose(resize_to_input(np.full((77, 333), 12.5)), 12.5, atol=1e-10)
    image = np.random.default_rng(2).normal(size=(224, 224))
    assert np.array_equal(resize_to_input(image), image)


def test_resize_of_observed_images_equals_scikit_image(shared_data):
    paths = sorted((shared_data / "active_regions" / "1158").glob("*.fits"))[:2]
    for path in paths:
        field = read_magnetogram(path)
        assert np.abs(resize_to_input(field) - published_resize(field)).max() < 1e-3


def test_gauss_becomes_grey_levels_linearly_clipped_and_not_rounded():
    field = np.array([-1e5, -GAUSS_RANGE, 0, 1, GAUSS_RANGE, 1e5])
    expected = [0, 0, 127.5, 127.5 + 127.5 / GAUSS_RANGE, 255, 255]
    assert np.allclose(gauss_to_input(field, GAUSS_RANGE), expected, atol=1e-5)
    assert gauss_to_input(field, GAUSS_RANGE).dtype == np.float32


@pytest.mark.parametrize(("image", "reason"), [
    (np.zeros((31, 100)), "smaller than 32x32"), (np.zeros((100, 31)), "smaller than 32x32"),
    (np.full((40, 40), np.nan), "NaN"), (np.where(np.eye(40) > 0, np.inf, 0), "NaN")])
def test_images_that_cannot_be_an_input(image, reason):
    with pytest.raises(InputError) as caught:
        check_image(image)
    assert reason in caught.value.reason


def test_an_image_of_32_pixels_is_accepted():
    check_image(np.zeros((32, 32)))


def test_read_input_of_fits_and_png(images):
    field = read_magnetogram(images / "00.fits")
    assert np.allclose(read_input(images / "00.fits", "fits", GAUSS_RANGE),
                       gauss_to_input(published_resize(field), GAUSS_RANGE), atol=1e-4)
    levels = read_magnetogram(images / "00.png") + 128
    assert np.allclose(read_input(images / "00.png", "png", GAUSS_RANGE), published_resize(levels), atol=1e-4)


EXPECTED_FAILURES = {"fits": {3: "image broken", 7: "image broken", 10: "smaller than 32x32 pixels", 11: "NaN pixels",
                              20: "image missing"},
                     "png": {3: "image broken", 7: "image broken", 9: "image broken", 10: "smaller than 32x32 pixels",
                             20: "image missing"}}


@pytest.mark.parametrize("image_format", ["fits", "png"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_batches_hold_every_image_but_the_unusable_in_order(images, image_format, n_jobs):
    paths = [images / f"{number:02}.{image_format}" for number in range(21)]
    batches = list(input_batches(paths, image_format, GAUSS_RANGE, 6, n_jobs))
    failures = {failure.place: failure.reason for batch in batches for failure in batch.failures}
    assert failures == EXPECTED_FAILURES[image_format]
    assert [len(batch.places) + len(batch.failures) for batch in batches] == [6, 6, 6, 3]
    places = np.concatenate([batch.places for batch in batches])
    assert places.tolist() == [place for place in range(21) if place not in failures]
    one_by_one = read_inputs([paths[place] for place in places], image_format, GAUSS_RANGE)
    assert np.array_equal(np.concatenate([batch.grey for batch in batches]), one_by_one.grey)


def test_a_batch_larger_than_a_task_is_joined_in_order(images):
    paths = [images / "00.fits"] * 20 + [images / "01.fits"] * 5
    batches = list(input_batches(paths, "fits", GAUSS_RANGE, 25, 2))
    assert len(batches) == 1
    assert batches[0].places.tolist() == list(range(25))
    assert np.array_equal(batches[0].grey[19], read_input(paths[19], "fits", GAUSS_RANGE))
    assert np.array_equal(batches[0].grey[24], read_input(paths[24], "fits", GAUSS_RANGE))


def test_no_image_gives_no_batch():
    assert list(input_batches([], "fits", GAUSS_RANGE, 4, 1)) == []
    assert list(input_batches([], "png", GAUSS_RANGE, 4, 1)) == []
