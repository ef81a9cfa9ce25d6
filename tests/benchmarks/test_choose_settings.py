"""The choice of the archive experiment's settings: regions kept apart, the test regions not read."""

import numpy as np
import pytest

from general_code.archive_experiment import COSTS, LISTS
from general_code.images.names import dataset_name
from tests.benchmarks import choose_settings

REGIONS = {"training": ("1001", "1002"), "validation": ("1003",), "test": ("1004",)}


@pytest.fixture
def work_dir(tmp_path):
    """Features and labels of four regions, a stamp every 2 h for a day; the test region's numbers cannot be read."""
    (tmp_path / "data").mkdir()
    (tmp_path / "results").mkdir()
    for name, members in zip(LISTS, REGIONS.values(), strict=False):
        (tmp_path / "data" / name).write_text("".join(f"1{region}\n" for region in members))
    features, labels = ["filename,log_flares,had_C\n"], []
    for region in sum(REGIONS.values(), ()):
        for hour in range(0, 24, 2):
            name = dataset_name(region, np.datetime64(f"2014-03-01T{hour:02}:00", "s"), 1, "fits")
            features.append(f"{name},{hour if hour else 0.69315},{region[-1]}\n")
            labels.append(f"{name},{'M1.0' if hour == 8 else '0'}\n")
    (tmp_path / "results" / "activity_features.csv").write_text("".join(features))
    (tmp_path / "data" / "Labels.txt").write_text("".join(labels))
    return tmp_path


def test_rows_of_training_and_validation_regions_only(work_dir):
    values, flux, regions = choose_settings.read_rows(work_dir, 4)
    assert list(regions) == ["1001"] * 6 + ["1002"] * 6 + ["1003"] * 6
    assert values[:6, 0] == pytest.approx([0.69315, 4, 8, 12, 16, 20]) and set(values[:, 1]) == {1, 2, 3}
    assert list(np.flatnonzero(flux)) == [2, 8, 14]


def test_a_region_is_in_one_fold():
    regions = np.repeat(["1001", "1002", "1003", "1004"], 5)
    folds = choose_settings.folds_of(regions, 3)
    assert set(folds) == {0, 1, 2} and len(set(zip(regions, folds, strict=True))) == 4


def test_a_fold_is_forecast_and_calibrated_by_the_others():
    draw = np.random.default_rng(0)
    values, folds = draw.normal(size=(300, 2)), np.repeat([0, 1, 2], 100)
    classes = (values[:, 0] + 0.3 * draw.normal(size=300) > 0.5).astype(int)
    scores = choose_settings.out_of_fold(values, classes, folds, "logistic", COSTS["logistic"])
    changed = choose_settings.out_of_fold(values, np.where(folds == 1, 1 - classes, classes), folds, "logistic",
                                          COSTS["logistic"])
    assert np.array_equal(scores[folds == 1], changed[folds == 1]), "its own classes do not matter"
    regions = np.arange(300).astype(str)
    tss, skill = choose_settings.evaluate(scores, classes, regions, folds)
    assert tss > 0.7 and skill > 0.5
    assert choose_settings.evaluate(draw.permutation(scores), classes, regions, folds)[1] < 0.1


def test_every_setting_is_tried_beside_the_one_in_use():
    names = [name for name, _ in choose_settings.trials()]
    assert len(set(names)) == len(names)
    for name in ("linear, C 5e-05", "logistic, C 0.0003", "gradient_boosting", "mean of logistic and boosting"):
        assert name in names
