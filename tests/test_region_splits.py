"""Lists of regions as published, the rules for missing and foreign ones, the seeded draw, what the user is told."""

import io

import numpy as np
import pytest

from general_code import region_splits as rs
from general_code.stage_files import UserError
from general_code.stage_run import StageRun

NAMES = {"test": "test.csv", "validation": "Validation_data.csv", "training": "train.csv"}


def write_lists(folder, test="1158\n", validation="1429\n", training="1093\n"):
    """Write the lists that are not None; return the three paths."""
    paths = [folder / name for name in NAMES.values()]
    for path, text in zip(paths, (test, validation, training), strict=True):
        if text is not None:
            path.write_text(text)
    return paths


def test_published_lists(shared_data):
    folder = shared_data / "published"
    lists = rs.read_region_lists(*(folder / f"List_of_AR_in_{name}_by_AR.csv"
                                   for name in ("Test_Data", "Validation_Data", "Train_Data")))  # other spelling
    assert [len(members) for _, members in lists.items()] == [157, 157, 1256]
    assert lists.test[:2] == ("1864", "2334")


@pytest.mark.parametrize(("text", "expected"), [
    ("1158\n2334\n", ("1158", "2334")),
    ("11158\r\n12334\r\n", ("1158", "2334")),
    ("\ufeff1158\n\n  1158 \n", ("1158",)),
    ("", ()),
])
def test_list_forms(tmp_path, text, expected):
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert rs.read_region_list(path) == expected


@pytest.mark.parametrize("text", ["1158\nAR1429\n", "1158\n123456\n", "1158\n12.5\n"])
def test_foreign_numbers_are_refused_with_their_line(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"list.csv, line 2: .* is not a region number"):
        rs.read_region_list(path)


def test_binary_list_is_refused(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="not a text"):
        rs.read_region_list(path)


def test_no_list_at_all_means_none(tmp_path):
    assert rs.read_region_lists(*write_lists(tmp_path, None, None, None)) is None


@pytest.mark.parametrize(("missing", "named"), [
    ({"test": None}, "test_ar_list"),
    ({"validation": None}, "validation_ar_list"),
    ({"test": None, "training": None}, "test_ar_list"),
    ({"validation": None, "training": None}, "validation_ar_list"),
    ({"test": None, "validation": None}, "test_ar_list"),
])
def test_missing_list_is_named(tmp_path, missing, named):
    with pytest.raises(UserError, match=f"^{named}: no file at"):
        rs.read_region_lists(*write_lists(tmp_path, **missing))


def test_region_in_two_lists_is_named_whatever_its_digits(tmp_path):
    with pytest.raises(UserError, match="region 1158 is in two lists, test and training"):
        rs.read_region_lists(*write_lists(tmp_path, training="11158\n"))


def test_region_in_no_list_trains_only_without_a_training_list(tmp_path):
    regions = ["1158", "1429", "1093", "9999", "1158"]
    lists = rs.read_region_lists(*write_lists(tmp_path))
    assert rs.assign_splits(regions, lists).tolist() == ["test", "validation", "training", "", "test"]
    assert rs.unlisted_regions(regions, lists) == ["9999"]
    paths = write_lists(tmp_path)
    paths[2].unlink()
    lists = rs.read_region_lists(*paths)
    assert lists.training is None
    assert rs.assign_splits(regions, lists).tolist() == ["test", "validation", "training", "training", "test"]
    assert rs.unlisted_regions(regions, lists) == ["1093", "9999"]


def test_lists_of_the_fallback_folder_only_when_none_is_at_hand(tmp_path):
    paths = write_lists(tmp_path)
    elsewhere = [tmp_path / "data" / path.name for path in paths]
    assert rs.read_region_lists(*elsewhere, fallback_dir=tmp_path) == rs.read_region_lists(*paths)
    elsewhere[0].parent.mkdir()
    elsewhere[0].write_text("1158\n")
    with pytest.raises(UserError, match="validation_ar_list"):
        rs.read_region_lists(*elsewhere, fallback_dir=tmp_path)


def region_images(flaring, quiet, images=3):
    """Region and class of each image; only the last image of a flaring region is followed by a flare."""
    regions = np.repeat([f"{1000 + r}" for r in range(flaring + quiet)], images)
    classes = (np.arange(regions.size) % images == images - 1) & (np.arange(regions.size) < flaring * images)
    return regions, classes


@pytest.mark.parametrize(("flaring", "quiet"), [(30, 70), (4, 12), (1, 9), (0, 5), (3, 0), (2, 2), (500, 1070)])
def test_draw_is_stratified_and_complete(flaring, quiet):
    regions, classes = region_images(flaring, quiet)
    lists = rs.draw_region_split(regions, classes, 10, 10, seed=4)
    members = [set(part) for _, part in lists.items()]
    assert set.union(*members) == set(regions) and sum(map(len, members)) == flaring + quiet
    assert all(members)
    flares = set(regions[classes])
    for part in members[:2]:
        assert abs(len(part) - (flaring + quiet) / 10) <= 1.5
        assert abs(len(part & flares) - flaring / 10) <= 1
        assert not (flaring >= 3 and not part & flares)


def test_draw_depends_on_seed_and_regions_not_on_row_order():
    regions, classes = region_images(30, 70)
    order = np.random.default_rng(0).permutation(regions.size)
    one = rs.draw_region_split(regions, classes, seed=1)
    assert rs.draw_region_split(regions[order], classes[order], seed=1) == one
    assert rs.draw_region_split(regions, classes, seed=2) != one


@pytest.mark.parametrize("percents", [(90, 9), (9, 90), (49, 50), (0, 0)])
@pytest.mark.parametrize(("flaring", "quiet"), [(0, 3), (1, 2), (3, 3), (5, 8)])
def test_extreme_percents_leave_a_region_to_each_split(percents, flaring, quiet):
    lists = rs.draw_region_split(*region_images(flaring, quiet), *percents)
    assert all(members for _, members in lists.items())


@pytest.mark.parametrize(("settings", "message"), [
    ({"test_percent": 60, "validation_percent": 40}, "sum below 100"),
    ({"test_percent": -1}, "from 0"),
    ({"test_percent": float("nan")}, "from 0"),
])
def test_impossible_percents(settings, message):
    with pytest.raises(UserError, match=message):
        rs.draw_region_split(*region_images(3, 3), **settings)


def test_too_few_regions():
    with pytest.raises(UserError, match="at least 3 regions to split, got 2"):
        rs.draw_region_split(*region_images(1, 1))


@pytest.fixture
def run():
    return StageRun(io.StringIO())


def test_unlisted_and_absent_regions_are_said(run, capsys):
    lists = rs.RegionLists(("1158", "1429"), ("1093",))
    rs.say_unlisted(["1158", "9998", "9999", "9999"], lists, run)
    assert capsys.readouterr().out.splitlines() == [
        "2 regions (3 images) are in no list and go to training: 9998, 9999",
        "1 of the 2 regions in the test list have no image", "1 of the 1 regions in the validation list have no image"]
    assert run.counts == {"regions_in_no_list": 2}
    rs.say_unlisted([f"{n}" for n in range(2000, 2012)], rs.RegionLists((), (), ()), run)
    said = capsys.readouterr().out
    first_ten = ", ".join(map(str, range(2000, 2010)))
    assert said == f"12 regions (12 images) are in no list and are left out: {first_ten}, …\n"


def test_splits_are_said_and_counted(run, capsys):
    rs.say_splits(["1158", "1158", "1429"], [0, 1, 0], ["training", "training", "test"], run)
    assert capsys.readouterr().out.splitlines() == [
        "training: 1 regions, 2 images, 1 with a flare",
        "validation: 0 regions, 0 images, 0 with a flare; one class only or empty: its scores are not defined",
        "test: 1 regions, 1 images, 0 with a flare; one class only or empty: its scores are not defined"]
    assert run.counts["training"] == {"regions": 1, "images": 2, "flaring_images": 1}
