"""The page of magnetograms: which images it shows, and the neutral line on them."""

import numpy as np
import pytest
from PIL import Image

from classifier_SVM import Contact_Sheet
from classifier_SVM.Contact_Sheet import UserDefinitions, choose_images
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, concatVals
from classifier_SVM.magnetogram_figure import strong_neutral_line
from general_code.label_file import read_label_file
from general_code.magnetograms import write_magnetogram
from tests.feature_dataset import exclusions


@pytest.fixture
def bipole():
    """Two Gaussian patches of opposite sign with noise [G]."""
    y, x = np.mgrid[:64, :96]
    field = sum(peak * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 128)
                for peak, x0, y0 in ((500, 38, 30), (-500, 58, 34)))
    return np.round(field + np.random.default_rng(0).normal(0, 3, field.shape), 1)


def test_the_line_drawn_has_the_pixels_that_feature_8_counts(bipole):
    line = strong_neutral_line(bipole)
    assert line.sum() == concatVals(bipole)[FEATURE_NAMES.index("NL length")]
    rows, columns = np.nonzero(line)
    assert abs(np.median(columns) - 48) < 4, "it runs between the polarities"


def test_no_contour_no_line():
    field = np.full((40, 40), 100.0)
    field[0, 0] = 99.0
    assert not strong_neutral_line(field).any()


def label_file(folder, labels):
    """Write a label file: class by region and hour."""
    path = folder / "Labels.txt"
    path.write_text("".join(f"{region}_hmi.M_720s.20300101_{hour:02d}0000_TAI.1.magnetogram.fits,{label}\n"
                            for region, hour, label in labels))
    return path


def test_each_region_once_before_its_largest_flare_and_quiet_ones_at_their_middle(tmp_path):
    labels, _ = read_label_file(label_file(tmp_path, [
        ("9001", 0, "C1.0"), ("9001", 1, "M9.0"), ("9001", 2, "M1.0"), ("9002", 0, "X10.0"), ("9003", 0, "0"),
        ("9003", 1, "0"), ("9003", 2, "0"), ("9004", 0, "0"), ("9005", 0, "C2.0")]))
    chosen = choose_images(labels, 4)
    assert [(row["region"], row["class"], row["time"].hour) for row in chosen.to_dict("records")] == [
        ("9002", "X10.0", 0), ("9001", "M9.0", 1), ("9003", "0", 1), ("9004", "0", 0)]
    assert len(choose_images(labels, 12)) == 5


def test_a_label_file_with_a_word_for_a_class(tmp_path):
    with pytest.raises(SystemExit, match=r"Contact_Sheet: .*Labels\.txt, line 1: .*big"):
        (tmp_path / "dataset").mkdir()
        Contact_Sheet.main(UserDefinitions(label_file=label_file(tmp_path, [("9001", 0, "big")]),
                                           dataset_dir=tmp_path / "dataset", figure_file=tmp_path / "a.png"))


def test_the_page(tmp_path, bipole):
    labels = label_file(tmp_path, [("9001", 0, "C1.0"), ("9002", 0, "0"), ("9003", 0, "0"), ("9004", 0, "C2.0"),
                                   ("9005", 0, "0")])
    labels.write_text(labels.read_text().replace("9002_hmi", "19002_hmi"))
    holed, even = bipole.copy(), np.full((40, 40), 7.0)
    holed[3, 4] = np.nan
    places = {"9001": "9001/9001_{}.FITS", "9002": "9002_{}.fits", "9004": "9004/9004_{}.fits",
              "9005": "9005/9005_{}.fits"}
    for region, field in (("9001", bipole), ("9002", bipole), ("9004", holed), ("9005", even)):
        path = tmp_path / "dataset" / places[region].format("hmi.M_720s.20300101_000000_TAI.1.magnetogram")
        write_magnetogram(path.with_suffix(".fits"), field)
        path.with_suffix(".fits").rename(path)
    figure = tmp_path / "page.png"
    settings = UserDefinitions(label_file=labels, dataset_dir=tmp_path / "dataset", figure_file=figure)
    Contact_Sheet.main(settings)
    with Image.open(figure) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    orange = (abs(pixels - (230, 159, 0)) < 40).all(axis=2)
    assert orange.sum() > 50
    left_out = {name[:4]: reason for name, (reason, _) in exclusions(figure).items()}
    assert left_out == {"9003": "label without an image", "9004": "NaN pixels", "9005": "constant image"}


def test_nothing_to_show_is_an_error(tmp_path):
    (tmp_path / "dataset").mkdir()
    with pytest.raises(SystemExit, match="none of the 1 images chosen from .* can be shown"):
        Contact_Sheet.main(UserDefinitions(label_file=label_file(tmp_path, [("9001", 0, "0")]),
                                           dataset_dir=tmp_path / "dataset", figure_file=tmp_path / "a.png"))
