"""The compiled features against plain library calls, the golden table, known answers and bad images."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import find_contours
from skimage.transform import resize

from classifier_SVM import FunctionsP3
from classifier_SVM.FeaturesetTools import FEATURE_NAMES
from classifier_SVM.FunctionsP3 import LARGEST_WHOLE, image_features
from general_code.images import magnetograms
from general_code.images.magnetograms import FITS_BLANK, Pixels, gauss_to_grey, read_magnetogram, read_pixels
from tests import plain_features

REPOSITORY = Path(__file__).resolve().parents[2]


def noise(kind: str, shape: tuple[int, int] = (45, 38), seed: int = 0) -> np.ndarray:
    """Return a random image: smooth enough to have neutral lines of some length."""
    random = np.random.default_rng(seed)
    image = np.kron(random.normal(scale=300, size=(shape[0] // 8 + 1, shape[1] // 8 + 1)), np.ones((8, 8)))
    image = image[:shape[0], :shape[1]] + random.normal(scale=60, size=shape)
    tenths = np.rint(10 * image) / 10
    return {"tenths": tenths, "grey levels": np.rint(np.clip(image / 10, -128, 127)), "any": image,
            "near tenths": tenths + random.uniform(-5e-8, 5e-8, shape), "huge": 1e4 * tenths,
            "quiet": np.rint(random.normal(scale=0.7, size=shape))}[kind]


def assert_same_features(computed: np.ndarray, expected: np.ndarray) -> None:
    """Hold the features to 1e-9 relative, feature 4 to 1e-9 of an absolute: it is zero up to rounding.

    Different orders of summation leave about 1e-14; a tie decided differently would show at 1e-5 and above.
    """
    tolerance = np.where(np.arange(29) == 3, 1e-9, 1e-9 * np.abs(expected))
    wrong = [f"{name}: {a!r}, expected {b!r}" for name, a, b, most in
             zip(FEATURE_NAMES, computed, expected, tolerance, strict=True) if not abs(a - b) <= most]
    assert not wrong


@pytest.fixture(scope="session")
def golden(shared_data) -> list[tuple[Path, np.ndarray]]:
    """Return image and features of the golden table."""
    table = pd.read_csv(shared_data / "golden_features.csv", header=None)
    return [(shared_data / "active_regions" / row[29][:4] / row[29][5:], np.array(row[:29], dtype=float))
            for row in table.itertuples(index=False)]


def test_golden_features_of_48_magnetograms(golden):
    assert len(golden) == 48
    for path, expected in golden:
        assert_same_features(image_features(read_magnetogram(path)), expected)


def test_pixels_as_they_were_read_have_the_same_features(golden):
    for path, _ in golden[::8]:
        assert (image_features(read_pixels(path)) == image_features(read_magnetogram(path))).all()
    tenths = np.rint(10 * noise("tenths")).astype(np.int32)
    for values in (tenths, 10 * tenths, 2 * LARGEST_WHOLE + tenths, tenths[:, ::-1]):
        pixels = Pixels(values, 0)
        assert (image_features(pixels) == image_features(pixels.field())).all()
    tenths[7, 9] = FITS_BLANK
    for values, message in ((tenths, "NaN pixels: 1 of 1710, the first at row 7, column 9"), (0 * tenths, "constant"),
                            (tenths[:, :31], "smaller than 32x32: got 45x31 pixels")):
        with pytest.raises(ValueError, match=message):
            image_features(Pixels(values, int((values == FITS_BLANK).sum())))


@pytest.mark.parametrize("side", [0, 224])
def test_png_images_made_from_the_golden_ones(golden, side):
    for path, _ in golden:
        field = read_magnetogram(path)
        if side:
            field = resize(field, (side, side), order=1, anti_aliasing=True)
        image = gauss_to_grey(field, 25.0) - 128.0
        assert_same_features(image_features(image), plain_features.image_features(image))


@pytest.mark.parametrize("kind", ["tenths", "grey levels", "any", "near tenths", "quiet", "huge"])
@pytest.mark.parametrize("shape", [(32, 32), (33, 57), (64, 34), (31 + 32, 97), (150, 41)])
def test_random_images(kind, shape):
    for seed in range(3):
        image = noise(kind, shape, seed)
        assert_same_features(image_features(image), plain_features.image_features(image))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(32, 70), st.integers(32, 70), st.integers(1, 40))
def test_whole_numbers_full_of_ties(seed, rows, columns, largest):
    image = np.random.default_rng(seed).integers(-largest, largest + 1, (rows, columns)).astype(float)
    image[5:25, 8:] = 0  # the box sum is zero inside
    assert_same_features(image_features(image), plain_features.image_features(image))


def test_tenths_so_small_that_ties_abound():
    """A gradient of exactly 0.2 times the largest is decided by rounding in the plain version: 8 and 9 are excluded."""
    image = noise("quiet", (80, 90)) / 10
    computed, expected = image_features(image), plain_features.image_features(image)
    expected[7:9] = computed[7:9]
    assert_same_features(computed, expected)
    assert (computed[7:20] == image_features(10 * image)[7:20]).all()  # as exact as the whole numbers


@pytest.mark.parametrize("kind", ["quiet", "huge"])
@pytest.mark.parametrize(("deviation", "whole"), [(5e-7, True), (2e-6, False)])
def test_pixels_count_as_whole_tenths_within_the_tolerance(kind, deviation, whole):
    """Inside, a box sum that is zero without the deviations is zero; outside, their sign decides."""
    image = noise(kind, (80, 90))
    image[5:40, 8:60] = 0
    random = np.random.default_rng(2)
    near = image + deviation / 10 * random.choice([-1, 1], image.shape) * random.uniform(0.8, 1, image.shape)
    assert_same_features(image_features(near), plain_features.image_features(near))
    assert (image_features(near)[10:20] == image_features(image)[10:20]).all() == whole


@pytest.mark.parametrize("change", [np.asfortranarray, lambda image: np.repeat(image, 2, axis=1)[:, ::2],
                                    lambda image: image.astype(np.int16), lambda image: image.astype(np.float32)])
def test_layout_and_type_of_the_array_do_not_matter(change):
    image = noise("grey levels")
    assert (image_features(change(image)) == image_features(image)).all()
    assert (image == noise("grey levels")).all()


def traced(field: np.ndarray) -> list[list[int]]:
    """Return the pixels of each contour of a field."""
    path, ranges = FunctionsP3._trace_neutral_line(field, False)
    return [path[first:end].tolist() for first, end in ranges]


def found(field: np.ndarray) -> list[list[int]]:
    """Return the same by scikit-image."""
    return [(np.rint(contour).astype(int) @ [field.shape[1], 1]).tolist() for contour in find_contours(field, 0.0)]


MAPS = {
    "signs": lambda random, shape: random.integers(-1, 2, shape),
    "small whole numbers": lambda random, shape: random.integers(-3, 4, shape),
    "mostly zero": lambda random, shape: random.choice([0, 0, 0, 0, 1, -1], shape),
    "no zeros": lambda random, shape: random.choice([-2, -1, 1, 2], shape),
    "plateaus": lambda random, shape: np.kron(random.integers(-1, 2, shape), np.ones((3, 3))),
    "real numbers": lambda random, shape: random.normal(size=shape),
    "beyond rounding": lambda random, shape: random.choice([0, 1e-17, -1e-17, 1, -1, 1e-300, -1e-300, 5.0], shape),
}


@pytest.mark.parametrize("kind", MAPS)
def test_contours_are_those_of_find_contours_in_their_order(kind):
    random = np.random.default_rng(3)
    for shape in [*random.integers(2, 13, (500, 2)), (300, 310)]:  # the last one with thousands of contours
        field = MAPS[kind](random, tuple(shape))
        field = field.astype(np.int32 if kind != "real numbers" and kind != "beyond rounding" else np.float64)
        assert traced(field) == found(field), field.tolist()


def test_segments_are_linked_in_one_step_where_that_is_clear():
    """In `find_contours`, the later of two contours that begin at one point hides the other: linked in turn."""
    random, found_clear = np.random.default_rng(8), set()
    for shape in random.integers(4, 40, (200, 2)):
        field = random.choice([0, -2, 3, 1, -1], tuple(shape)).astype(np.int32)
        crossings, segments = FunctionsP3._segments(field, False)
        numbers = FunctionsP3._unite_corners(crossings.reshape(-1), field.shape[1])
        following, _, clear = FunctionsP3._link(segments, numbers)
        in_turn, _ = FunctionsP3._link_in_turn(segments, numbers)
        closing = in_turn == len(segments)  # or the end of an open one
        assert not clear or ((following == in_turn) | closing)[:-1].all()
        found_clear.add(clear)
    assert found_clear == {True, False}


def test_box_sum_of_whole_numbers_is_exact():
    field = np.random.default_rng(5).integers(-50_000, 50_000, (37, 41)).astype(np.int32)
    padded = np.pad(field, ((5, 4), (5, 4)))
    sums, padded_row = np.zeros(41, np.int32), np.zeros((2, 50), np.int32)
    for i in range(37):
        FunctionsP3._box_sum_row(field, i, True, padded_row, sums)
        assert sums.tolist() == [padded[i:i + 10, j:j + 10].sum() for j in range(41)]


def test_a_bipole_has_one_straight_neutral_line():
    image = np.full((40, 60), -100.0)
    image[:, 30:] = 100.0
    values = dict(zip(FEATURE_NAMES, image_features(image), strict=True))
    assert values["total positive flux"] == 100 * 40 * 30 == -values["total negative flux"]
    assert values["total signed flux"] == 0 and values["total unsigned flux"] == 2 * 100 * 40 * 30
    assert values["NL length"] == values["NL gradient-weighted length"] == 40
    assert values["NL number of fragments"] == 1
    # 39 steps straight along the rows, and the open contour's closing step back: atan(0) each
    assert [values[f"NL curvature {name}"] for name in ("mean", "std", "median", "min", "max")] == [0] * 5
    assert values["NL bending energy max"] == 0
    assert values["gradient max"] == 8 * 100 and values["gradient min"] == 0
    assert [values[f"wavelet energy L{level}"] for level in range(1, 4)] == [0, 10 * 400, 5 * 400]
    assert (image_features(np.abs(noise("tenths")) + 1)[7:20] == 0).all(), "without a neutral line"


def test_sign_flips_and_turns():
    image = noise("any", (64, 96))
    values, flipped = image_features(image), image_features(-image)
    assert_same_features(flipped, np.r_[values[:7], flipped[7:20], values[20:25], -values[[26, 25, 27]], values[28]])
    same = np.r_[0:3, 4:7, 20:29]
    for turned in (image[::-1], image[:, ::-1], image.T):
        assert image_features(turned)[same] == pytest.approx(values[same], rel=1e-9)


@pytest.mark.parametrize(("down", "right", "angle"), [
    (1, 0, 0), (-1, 0, 0), (1, 1, np.pi / 4), (-1, -1, np.pi / 4), (1, -1, -np.pi / 4), (-1, 1, -np.pi / 4),
    (0, 1, np.pi / 2), (0, -1, 3 * np.pi / 2), (0, 0, np.pi / 2), (2, 7, np.arctan(3.5)), (0, -9, 3 * np.pi / 2)])
def test_angles_by_hand(down, right, angle):
    assert FunctionsP3._step_angle(down, right) == pytest.approx(angle, abs=1e-15)


def test_bending_energy_by_hand():
    # (0,0) -> (0,1) -> (1,1) -> back: angles pi/2, 0, pi/4
    path = np.array([0, 1, 11], np.int32)
    counts, closing, energies = FunctionsP3._walk_contours(path, np.array([[0, 3]]), 10)
    assert counts.sum() == 2 and closing[0] == pytest.approx(np.pi / 4)
    assert energies[0] == pytest.approx(((np.pi / 2) ** 2 + 2 * (np.pi / 4) ** 2) / 3)


def test_the_median_does_not_hang_on_the_sample():
    image = np.zeros((128, 64))
    image[:, ::2] = noise("tenths", (128, 32))  # sampled at every second pixel: the bracket is far off
    image[:, 1::2] = 5000
    assert_same_features(image_features(image), plain_features.image_features(image))
    image = noise("any")
    gradients = np.sort(FunctionsP3.gradient_magnitude(image), axis=None)
    for between, below in ((gradients[:2], 0), (gradients[-2:], gradients.size - 2)):  # bracket below, above the median
        assert FunctionsP3._median(image, between.copy(), below) == np.median(gradients)


def test_moments_do_not_hang_on_the_sample():
    """Every 8th pixel is looked at first, here without a gradient along the rows: far from the mean."""
    image = 1000 * abs(np.arange(256) % 16 - 8.0) + np.random.default_rng(0).normal(size=(128, 256))
    assert_same_features(image_features(image), plain_features.image_features(image))


@pytest.mark.parametrize("kind", ["tenths", "any"])
def test_gradient_of_every_pixel_up_to_the_edges(kind):
    image = noise(kind)
    for part in (image, image[:2], image[:, :1], image[:1, :1]):
        expected = plain_features.gradient_magnitude(part)
        assert FunctionsP3.gradient_magnitude(part.copy()) == pytest.approx(expected, rel=1e-12, abs=1e-9)


def with_pixel(value: float) -> np.ndarray:
    """Return an image with one pixel set."""
    image = noise("tenths")
    image[7, 9] = value
    return image


@pytest.mark.parametrize(("image", "message"), [
    (with_pixel(np.nan), "NaN pixels: 1 of 1710, the first at row 7, column 9"),
    (with_pixel(np.inf), "infinite pixels: 1 of 1710"),
    (with_pixel(-np.inf), "infinite pixels: 1 of 1710"),
    (with_pixel(1e40), "values too large"),
    (np.full((40, 40), np.nan), "NaN pixels: 1600 of 1600"),
    (np.full((40, 40), -3.7), "constant image: all 1600 pixels are -3.7"),
    (np.full((40, 40), 0.123456789), "constant image"),
    (np.zeros((0, 50)), "empty image"),
    (np.zeros((1, 1)), "smaller than 32x32: got 1x1 pixels"),
    (np.zeros((31, 600)), "smaller than 32x32: got 31x600 pixels"),
    (np.zeros((50, 50, 3)), "not a 2-D image of numbers"),
    (np.full((50, 50), "x"), "not a 2-D image of numbers"),
    (np.zeros((50, 50), complex), "not a 2-D image of numbers"),
    (noise("any") * 1e-200, "features not finite"),
])
def test_bad_images_are_refused_with_the_reason(image, message):
    with pytest.raises(ValueError, match=message):
        image_features(image)


def test_largest_whole_numbers_stay_exact():
    image = np.full((64, 64), LARGEST_WHOLE / 10)
    image[::2, ::2] *= -1
    image[:32] = -LARGEST_WHOLE / 10
    assert_same_features(image_features(image), plain_features.image_features(image))
    assert_same_features(image_features(10.5 * image), plain_features.image_features(10.5 * image))


def test_the_same_lines_run_without_the_compiler():
    script = ("import numpy as np; from classifier_SVM.FunctionsP3 import image_features\n"
              "random = np.random.default_rng(6)\n"
              "for image in (np.rint(random.normal(scale=300, size=(33, 40))), random.normal(size=(33, 40))):\n"
              "    print(*map(repr, image_features(image).tolist()))")
    texts = [subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=REPOSITORY, check=True, text=True,
                            capture_output=True, env=os.environ | {"NUMBA_DISABLE_JIT": flag}).stdout for flag in "10"]
    values = [np.array(text.split(), dtype=float) for text in texts]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12, atol=1e-12)


@pytest.fixture
def read_only_install(tmp_path):
    """Return a folder with a copy of the modules beside which nothing can be written, and a home that is no folder."""
    for module in (FunctionsP3, magnetograms):
        room = (tmp_path / "install" / Path(module.__file__).relative_to(REPOSITORY)).parent
        room.mkdir(parents=True)
        shutil.copy(module.__file__, room)
        (room / "__pycache__").touch()
    (tmp_path / "home").touch()
    return tmp_path


def compile_there(folder: Path, script: str = "FunctionsP3.compile_kernels(print)") -> str:
    """Return what the kernels announce in a process whose temporary folder is `tmp`."""
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, "-c", f"from classifier_SVM import FunctionsP3; {script}"], check=True,
                          cwd=folder / "install", text=True, capture_output=True, env=environment).stdout


def test_the_first_compilation_is_announced_and_kept_by_a_read_only_install_without_a_home(read_only_install):
    assert compile_there(read_only_install) == FunctionsP3.COMPILING + "\n"
    assert list((read_only_install / "tmp").glob("numba-*/**/*.nbc"))
    assert compile_there(read_only_install) == "", "found on disk by the next process"


def test_compiled_code_is_not_kept_where_others_write(read_only_install):
    folder = read_only_install / "tmp" / f"numba-{os.getuid()}"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    script = "FunctionsP3._flux_sums(FunctionsP3.np.eye(2)); print(len(FunctionsP3._flux_sums.stats.cache_misses))"
    assert compile_there(read_only_install, script) == "1\n"
    assert not list(folder.iterdir())
