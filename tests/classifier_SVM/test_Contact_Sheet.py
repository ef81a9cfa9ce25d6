"""The page of magnetograms: which images it shows, and the neutral line on them."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from classifier_SVM import Contact_Sheet
from classifier_SVM.Contact_Sheet import UserDefinitions, choose_images
from classifier_SVM.feature_table.magnetogram_figure import pixel_size, read_picture
from classifier_SVM.FeaturesetTools import FEATURE_NAMES
from classifier_SVM.FunctionsP3 import image_features, strong_neutral_line
from general_code.images.label_file import read_label_file
from general_code.images.magnetograms import gauss_to_grey, write_magnetogram, write_png
from general_code.stage.run import StageRun
from tests.classifier_SVM.test_Forecast_AR import bipole
from tests.feature_dataset import exclusions

NAME = "{}_hmi.M_720s.20300101_{:02d}0000_TAI.1.magnetogram{}"


def make_settings(folder, *labels, **others):
    """Return settings for a data set in a folder, its label file written: class by region and hour."""
    (folder / "dataset").mkdir(exist_ok=True)
    (folder / "Labels.txt").write_text("".join(f"{NAME.format(region, hour, '.fits')},{label}\n"
                                               for region, hour, label in labels))
    return UserDefinitions(label_file=folder / "Labels.txt", dataset_dir=folder / "dataset",
                           figure_file=folder / "page.png", **others)


def orange_pixels(figure):
    """Return how many pixels of a figure are of the neutral line."""
    with Image.open(figure) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    return (abs(pixels - (230, 159, 0)) < 40).all(axis=2).sum()


@pytest.mark.parametrize(("cards", "arcsec"), [
    ({"CDELT1": 0.5043, "CUNIT1": "arcsec", "CTYPE1": "HPLN-TAN"}, 0.5043), ({"CDELT1": -0.6}, 0.6),
    ({"CDELT1": 0.0002, "CUNIT1": "deg", "CTYPE1": "HPLN-TAN"}, 0.72),
    ({"CDELT1": 0.03, "CUNIT1": "degree", "CTYPE1": "CRLN-CEA"}, 0.503), ({"CDELT1": 0.0}, None), ({}, None)])
def test_the_scale_bar_is_that_of_the_header(tmp_path, cards, arcsec):
    path = tmp_path / "x.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(bipole(), fits.Header(cards))]).writeto(path)
    size, assumed = pixel_size(path, 80)
    assert size == pytest.approx(arcsec or 0.5, abs=0.001) and bool(assumed) == (arcsec is None)
    assert pixel_size(Path("x.PNG"), 300) == (1.0, "a PNG image is a cut-out of 600 pixels")


def test_the_line_drawn_has_the_pixels_that_feature_8_counts_but_those_of_noise(tmp_path):
    noise = np.rint(np.random.default_rng(0).normal(0, 100, (80, 80))) / 10
    for name, field in (("noise.fits", noise), ("bipole.fits", bipole())):
        write_magnetogram(tmp_path / name, field)
    assert strong_neutral_line(noise).sum() > 50 and not read_picture(tmp_path / "noise.fits").line.any()
    line = read_picture(tmp_path / "bipole.fits").line
    assert line.sum() == image_features(bipole())[FEATURE_NAMES.index("NL length")]
    assert abs(np.median(np.nonzero(line)[1]) - 40) < 4, "it runs between the polarities"
    without = np.full((40, 40), 100.0)
    without[0, 0] = 99.0
    assert not strong_neutral_line(without).any()


def test_each_region_once_before_its_largest_flare_and_quiet_ones_at_their_middle(tmp_path):
    settings = make_settings(
        tmp_path, ("9001", 0, "C1.0"), ("9001", 1, "M9.0"), ("9001", 2, "M1.0"), ("9002", 0, "X10.0"),
        ("9003", 0, "0"), ("9003", 1, "0"), ("9003", 2, "0"), ("9004", 0, "0"), ("9005", 0, "C2.0"))
    labels, _ = read_label_file(settings.label_file)
    chosen = choose_images(labels, 4)
    assert [(row["region"], row["class"], row["time"].hour) for row in chosen.to_dict("records")] == [
        ("9002", "X10.0", 0), ("9001", "M9.0", 1), ("9003", "0", 1), ("9004", "0", 0)]
    assert len(choose_images(labels, 12)) == 5


def test_titles_say_what_is_no_flare(tmp_path):
    settings = make_settings(tmp_path, ("9001", 0, "M1.0"), ("9002", 3, "0"))
    for region, hour in (("9001", 0), ("9002", 3)):
        write_magnetogram(settings.dataset_dir / NAME.format(region, hour, ".fits"), bipole())
    labels = read_label_file(settings.label_file)[0]
    pictures = Contact_Sheet.read_pictures(labels.assign(source=labels["filename"]), settings.dataset_dir,
                                           "none >= M1.0", StageRun(io.StringIO()))
    assert [title for title, _ in pictures] == ["AR 9001: M1.0\n2030-01-01 00:00",
                                                "AR 9002: none >= M1.0\n2030-01-01 03:00"]


def test_the_page_from_a_notebook(tmp_path):
    settings = make_settings(tmp_path, ("9001", 0, "C1.0"), ("19002", 0, "0"), ("9003", 0, "0"), ("9004", 0, "C2.0"),
                             ("9005", 0, "0"))
    holed, even = bipole(), np.full((40, 40), 7.0)
    holed[3, 4] = np.nan
    for region, field in (("9001", bipole()), ("9002", bipole()), ("9004", holed), ("9005", even)):
        write_magnetogram(settings.dataset_dir / NAME.format(region, 0, ".fits"), field)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings if isinstance(value, Path)]
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run([sys.executable, Contact_Sheet.__file__, *flags], cwd=tmp_path, text=True,
                          capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "4 of 5 labelled images are in" in done.stdout and orange_pixels(settings.figure_file) > 50
    excluded = {name[:4]: reason for name, (reason, _) in exclusions(settings.figure_file).items()}
    assert excluded == {"9003": "region without an image", "9004": "NaN pixels", "9005": "constant image"}


def test_published_png_images(tmp_path):
    settings = make_settings(tmp_path, ("9001", 0, "C1.0"), ("9002", 3, "0"), image_format="png")
    levels = gauss_to_grey(bipole(3000.0), 25.0)
    for region, hour in (("9001", 0), ("9002", 3)):
        write_png(settings.dataset_dir / region / NAME.format(region, hour, "_224.png"), levels)
    Contact_Sheet.main(settings)
    assert orange_pixels(settings.figure_file) > 50 and not exclusions(settings.figure_file)


@pytest.mark.parametrize(("label", "image", "message"), [
    ("big", None, r"Contact_Sheet: .*Labels\.txt, line 1: .*big"),
    ("0", None, "expected .fits images in .*, found none"),
    ("0", np.zeros((40, 40)), "none of the 1 images chosen from .* can be shown from .*: .*csv says why")])
def test_nothing_to_show_is_an_error(tmp_path, label, image, message):
    settings = make_settings(tmp_path, ("9001", 0, label))
    if image is not None:
        write_magnetogram(settings.dataset_dir / NAME.format("9001", 0, ".fits"), image)
    with pytest.raises(SystemExit, match=message):
        Contact_Sheet.main(settings)
