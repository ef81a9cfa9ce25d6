"""Lists of regions as published, the rules for missing and foreign ones, the seeded draw and its lists, messages."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from general_code.evaluation import splits as rs
from general_code.stage.files import UserError
from general_code.stage.run import output_lock

DEFAULTS = tuple(Path("data") / name for name in rs.LISTS.values())
ONE_EACH = {"test": "1158\n", "validation": "1429\n", "training": "1093\n"}


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
    ("NOAA_AR\n1158;\n'11429'\n1430.0,\n", ("1158", "1429", "1430")),
    ('"1158"\r"0005"\r', ("1158", "0005")),
    ("", ()),
])
def test_list_forms(tmp_path, text, expected):
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert rs.read_region_list(path) == expected


@pytest.mark.parametrize(("content", "message"), [
    *((text, r"list.csv, line 2: .* is not a region number") for text in
      (b"1158\nAR1429\n", b"1158\n123456\n", b"1158\n12.5\n", b"AR\n1158 1160\n")),
    (b"\xff\xfe\x00\x81", "expected a text file"),
])
def test_what_is_no_region_number_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        rs.read_region_list(path)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with an empty folder data, the current one."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    return tmp_path


def read(**texts):
    """Write lists in their places, by split, and read those that are there."""
    for split, text in texts.items():
        (Path("data") / rs.LISTS[split]).write_text(text)
    return rs.read_region_lists(*DEFAULTS)


def test_no_list_at_all_means_none(place):
    assert read() is None
    assert rs.read_region_lists(*DEFAULTS[:2], Path("")) is None


@pytest.mark.parametrize("spelling", ["_Data_by_AR", "_data_by_AR"])
def test_both_spellings_of_all_three_lists(place, spelling):
    for split, text in ONE_EACH.items():
        (Path("data") / re.sub("_[Dd]ata_by_AR", spelling, rs.LISTS[split])).write_text(text)
    lists = read()
    assert lists == rs.RegionLists(("1158",), ("1429",), ("1093",))
    assert lists.source.count(spelling) == 3


@pytest.mark.parametrize(("present", "named"), [
    ({"validation", "training"}, "test_ar_list"), ({"validation"}, "test_ar_list"),
    ({"training"}, "test_ar_list, validation_ar_list"), ({"test", "training"}, "validation_ar_list"),
    ({"test"}, "validation_ar_list"),
])
def test_missing_list_is_named(place, present, named):
    with pytest.raises(UserError, match=f"^{named}: no file at"):
        read(**dict.fromkeys(present, ""))


@pytest.mark.parametrize("present", [ONE_EACH, {}])
@pytest.mark.parametrize("split", ONE_EACH)
def test_a_named_list_that_does_not_exist_is_an_error(place, split, present):
    """Never "all others", and never a draw: not even where it is the only one that is named."""
    read(**present)
    files = [Path("named.csv") if name == split else path for name, path in zip(rs.LISTS, DEFAULTS, strict=True)]
    with pytest.raises(UserError, match=f"^{rs.SETTINGS[split]}: expected a list of regions at .* found nothing"):
        rs.read_region_lists(*files)
    with pytest.raises(UserError, match="test_ar_list: .*'a' .*; validation_ar_list: .*'b' .*; train_ar_list: .*'c'"):
        rs.read_region_lists(Path("a"), Path("b"), Path("c"))
    with pytest.raises(UserError, match=r"^test_ar_list: expected a list of regions at '\.' .* found a folder"):
        rs.read_region_lists(Path(), Path("b"), Path("c"))


def test_region_in_two_lists_is_named_whatever_its_digits(place):
    with pytest.raises(UserError, match="region 1158 is in two lists, test and training"):
        read(**ONE_EACH | {"training": "11158\n"})


def test_region_in_no_list_trains_only_without_a_training_list(place):
    regions = ["1158", "1429", "1093", "9999", "1158"]
    lists = read(**ONE_EACH)
    assert rs.assign_splits(regions, lists).tolist() == ["test", "validation", "training", "", "test"]
    lists = rs.read_region_lists(*DEFAULTS[:2], Path(""))
    assert lists.training is None
    assert rs.assign_splits(regions, lists).tolist() == ["test", "validation", "training", "training", "test"]


def test_lists_of_the_fallback_folder_only_when_none_is_in_its_place(place):
    lists = read(test="1158\n", validation="1429\n")
    Path("data").rename("results")
    assert rs.read_region_lists(*DEFAULTS, fallback_dir=Path("results")) == lists
    Path("data").mkdir()
    (Path("data") / rs.LISTS["test"]).write_text("1158\n")
    with pytest.raises(UserError, match="validation_ar_list"):
        rs.read_region_lists(*DEFAULTS, fallback_dir=Path("results"))


def region_images(flaring, quiet, images=3):
    """Region and class of each image; only the last image of a flaring region is followed by a flare."""
    regions = np.repeat([f"{1000 + r}" for r in range(flaring + quiet)], images)
    classes = (np.arange(regions.size) % images == images - 1) & (np.arange(regions.size) < flaring * images)
    return regions, classes


@pytest.mark.parametrize(("flaring", "quiet"), [(30, 70), (4, 12), (1, 9), (0, 5), (3, 0), (2, 2), (500, 1070)])
def test_draw_is_stratified_and_complete(flaring, quiet):
    regions, classes = region_images(flaring, quiet)
    lists = rs.draw_region_split(regions, classes, rs.Draw(seed=4))
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
    one = rs.draw_region_split(regions, classes, rs.Draw(seed=1))
    assert rs.draw_region_split(regions[order], classes[order], rs.Draw(seed=1)) == one
    assert rs.draw_region_split(regions, classes, rs.Draw(seed=2)) != one


@pytest.mark.parametrize("percents", [(90, 9), (9, 90), (49, 50), (0, 0)])
@pytest.mark.parametrize(("flaring", "quiet"), [(0, 3), (1, 2), (3, 3), (5, 8)])
def test_extreme_percents_leave_a_region_to_each_split(percents, flaring, quiet):
    lists = rs.draw_region_split(*region_images(flaring, quiet), rs.Draw(*percents))
    assert all(members for _, members in lists.items())
    with pytest.raises(UserError, match="sum below 100"):
        rs.draw_region_split(*region_images(flaring, quiet), rs.Draw(60, 40))
    with pytest.raises(UserError, match="at least 3 regions to split, one each .*, got 2 .*need 6 validation"):
        rs.draw_region_split(*region_images(1, 1), rs.Draw(*percents))


def test_unlisted_and_absent_regions_are_reported(run, capsys):
    lists = rs.RegionLists(("1158", "1429"), ("1093",))
    rs.report_unlisted(["1158", "1093", "9998", "9999", "9999"], lists, run)
    assert capsys.readouterr().out.splitlines() == [
        "2 regions (3 images) are in no list and go to training: 9998, 9999",
        "1 of the 2 regions in the test list has no image"]
    assert run.counts == {"split": "Split by region: lists ; all others train", "regions_in_no_list": 2}
    rs.report_unlisted(["1158", *(f"{n}" for n in range(2000, 2012))], rs.RegionLists(("1158",), (), ()), run)
    first_ten = ", ".join(map(str, range(2000, 2010)))
    assert capsys.readouterr().out == (f"12 regions (12 images) are in no list and are skipped: {first_ten}, …; add "
                                       "them to a list, or name other lists\n")


def test_lists_of_another_data_set_are_noticed_in_one_line(run, capsys):
    regions = ["1158", "1429"]
    rs.report_unlisted(regions, rs.RegionLists(("7001", "7002"), ("7003",), source="a, b"), run)
    assert capsys.readouterr().out.splitlines() == [
        "2 regions (2 images) are in no list and go to training: 1158, 1429",
        "ATTENTION: no image is of a region in the test or the validation list; are the lists of another data set? "
        "a, b"]
    with pytest.raises(UserError, match="none of the 2 regions of the images is in the lists a, b, c: .* another data"):
        rs.report_unlisted(regions, rs.RegionLists(("7001",), ("7002",), ("7003",), source="a, b, c"), run)


# ---- the lists of a draw

OUTPUT = Path("results/SVM")


def choose(run, images=(30, 70), files=DEFAULTS, redraw=False, **draw):
    """Choose lists for images of so many flaring and quiet regions."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    regions, classes = region_images(*images)
    images = pd.DataFrame({"region": regions, "class": classes})
    return rs.choose_lists(images, files, OUTPUT, rs.Draw(**draw), run, redraw=redraw)


def test_a_split_is_drawn_once_and_used_by_every_later_run(place, run, capsys):
    first = choose(run)
    assert "drawing 10 % test and 10 % validation regions, seed 0, into results/SVM" in capsys.readouterr().out
    written = {path.name: path.read_bytes() for path in OUTPUT.glob("[!.]*")}
    assert set(written) == {*rs.LISTS.values(), "drawn_split.json"}
    lists = choose(run, images=(30, 72))
    assert choose(run, test_percent=30.0, seed=5) == lists == first
    assert lists.text() == first.text() == (
        "Split by region: drawn with test_percent 10.0, validation_percent 10.0, seed 0")
    said = capsys.readouterr().out.splitlines()
    assert "results/SVM/List_of_AR_in_Test_Data_by_AR.csv" in said[0] and said[0].endswith("made by an earlier run")
    assert said[1].endswith("made by an earlier run; this run's test_percent 30, seed 5 would need --redraw")
    assert {path.name: path.read_bytes() for path in OUTPUT.glob("[!.]*")} == written
    assert rs.read_region_lists(*DEFAULTS, fallback_dir=OUTPUT) == first, "stage 6 and the comparison take them, too"
    rs.report_unlisted(region_images(30, 72)[0], lists, run)
    advice = "2 regions (6 images) are in no list and are skipped: 1100, 1101; set redraw in AR_Classifier"
    assert advice in capsys.readouterr().out


def test_redraw_draws_again_but_never_over_a_list_that_was_changed(place, run):
    first = choose(run)
    second = choose(run, seed=1, redraw=True)
    assert second != first and choose(run) == second
    assert json.loads((OUTPUT / "drawn_split.json").read_text())["settings"]["seed"] == 1
    with (OUTPUT / rs.LISTS["test"]).open("a") as file:
        file.write("9999\n")
    with pytest.raises(UserError, match="Test_Data_by_AR.csv' was changed since this stage wrote it"):
        choose(run, redraw=True)
    assert "9999" in choose(run).test and choose(run).text().startswith("Split by region: lists results/SVM/List_of_AR")


def test_two_runs_do_not_draw_at_once(place, run):
    OUTPUT.mkdir(parents=True)
    with output_lock(OUTPUT / rs.DRAW_RECORD), pytest.raises(UserError, match="another run is writing"):
        choose(run)


def test_redraw_leaves_lists_of_the_user_alone(place, run):
    read(test="1000\n", validation="1001\n")
    assert choose(run).training is None
    with pytest.raises(UserError, match="^redraw: .* were not drawn by this stage"):
        choose(run, redraw=True)
    assert not list(OUTPUT.iterdir())


# ---- by time

DAYS = rs.Dates("2013-01-01", "2014-01-01", 27)
SPANS = {"1001": ("2012-03-01", "2012-03-10"), "1002": ("2012-12-25", "2012-12-31 23:48"),
         "1003": ("2012-12-25", "2013-01-01"), "1004": ("2013-01-01", "2013-01-08"),
         "1005": ("2013-01-27 23:48", "2013-02-05"), "1006": ("2013-01-28", "2013-02-05"),
         "1007": ("2013-12-31 12:00", "2014-01-09"), "1008": ("2014-01-05", "2014-01-09"),
         "1009": ("2014-06-01", "2014-06-09")}


def spans_of_images(spans=SPANS):
    """First and last image of each region, the later ones first."""
    rows = [(region, 0, pd.Timestamp(day)) for region, days in spans.items() for day in days]
    return pd.DataFrame(rows[::-1], columns=["region", "class", "time"])


def choose_by_time(run, spans=SPANS, redraw=False, **change):
    OUTPUT.mkdir(parents=True, exist_ok=True)
    return rs.choose_lists(spans_of_images(spans), DEFAULTS, OUTPUT, DAYS._replace(**change), run, redraw=redraw)


def test_a_region_is_in_the_split_of_its_first_image_or_excluded_for_one_reason():
    images = spans_of_images()
    lists = rs.split_by_time(images["region"], images["time"], DAYS)
    assert lists == rs.RegionLists(test=("1009",), validation=("1006",), training=("1001", "1002"))
    assert lists.left_out == {
        "1003": "region crosses 2013-01-01", "1004": "region begins within 27 days after 2013-01-01",
        "1005": "region begins within 27 days after 2013-01-01", "1007": "region crosses 2014-01-01",
        "1008": "region begins within 27 days after 2014-01-01"}
    without_gap = rs.split_by_time(images["region"], images["time"], DAYS._replace(gap_days=0))
    assert without_gap.validation == ("1004", "1005", "1006") and list(without_gap.left_out) == ["1003", "1007"]
    for change, lacking in (({"test_start": "2020-01-01"}, "test"), ({"validation_start": "2010-01-01"}, "training")):
        with pytest.raises(UserError, match=f"no region is left for {lacking}; the images are from 2012-03-01 to 2014"):
            rs.split_by_time(images["region"], images["time"], DAYS._replace(**change))
    with pytest.raises(UserError, match="gap_days is 900: choose other days, or a smaller --gap-days$"):
        rs.split_by_time(images["region"], images["time"], DAYS._replace(gap_days=900))
    with pytest.raises(UserError, match="choose other days$"):
        rs.split_by_time(images["region"], images["time"], DAYS._replace(test_start="2020-01-01"))
    assert lists.text() == (
        "Split by time: training before 2013-01-01, validation from 2013-01-01, test from 2014-01-01, by the first "
        "image of a region; without regions that cross one of the days or begin within 27 days after it")


def test_lists_by_time_go_before_those_that_nobody_named(place, run, capsys):
    """Stage 6 and the comparison, and stage 5 without days, take them from the folder; data/ has lists, too."""
    read(**ONE_EACH)
    lists = choose_by_time(run)
    assert lists.drawn_in == OUTPUT and f"{lists.text()}; lists in results/SVM\n" in capsys.readouterr().out
    later = rs.read_region_lists(*DEFAULTS, fallback_dir=OUTPUT)
    assert later == lists == choose(run) == rs.read_region_lists(*DEFAULTS[:2], Path(""), fallback_dir=OUTPUT)
    assert (later.text(), later.left_out, later.drawn_in) == (lists.text(), lists.left_out, OUTPUT)
    assert ("(split by time; the lists in data are not used: to use them, take another folder or move "
            "results/SVM/drawn_split.json away)") in capsys.readouterr().out
    with pytest.raises(UserError, match="^redraw: the lists data/List_.* exist and go before drawn ones"):
        choose(run, redraw=True)
    Path("own.csv").write_text("1158\n")
    assert rs.read_region_lists(Path("own.csv"), *DEFAULTS[1:], fallback_dir=OUTPUT).test == ("1158",)
    (OUTPUT / rs.LISTS["training"]).write_text("1001\n1002\n1008\n")
    assert "1008" not in choose(run).left_out, "who lists it by hand uses it"
    for name in rs.LISTS.values():
        (OUTPUT / name).unlink()
    assert choose(run).source.startswith("data/"), "the record alone is no split"


def test_other_days_never_reuse_lists_and_replace_them_only_when_told(place, run, capsys):
    choose_by_time(run)
    for change in ({"gap_days": 20}, {"test_start": "2014-02-01"}):
        with pytest.raises(UserError, match="lists of regions in 'results/SVM' were made otherwise, by time: training "
                                            "before 2013-01-01, .* within 27 days after it; set redraw"):
            choose_by_time(run, **change)
    assert choose_by_time(run, gap_days=0, redraw=True).left_out == choose(run).left_out
    choose(run, redraw=True)
    with pytest.raises(UserError, match="were made otherwise, by region: drawn with test_percent"):
        choose_by_time(run)
    choose_by_time(run, redraw=True)
    capsys.readouterr()
    more = SPANS | {"1010": ("2014-07-01", "2014-07-02")}
    assert choose_by_time(run, spans=more).test == choose(run).test == ("1009", "1010")
    assert "same days had other regions, as it had other images: replaced" in capsys.readouterr().out
    (OUTPUT / rs.LISTS["test"]).write_text("1009\n")
    with pytest.raises(UserError, match="Test_Data_by_AR.csv' was changed since this stage wrote it"):
        choose_by_time(run, redraw=True)


def test_lists_of_the_user_in_the_output_folder_are_not_overwritten(place, run):
    OUTPUT.mkdir(parents=True)
    for split, text in ONE_EACH.items():
        (OUTPUT / rs.LISTS[split]).write_text(text)
    with pytest.raises(UserError, match="or is none of its own; it is not overwritten"):
        choose_by_time(run, redraw=True)
    assert (OUTPUT / rs.LISTS["test"]).read_text() == ONE_EACH["test"]


def test_what_a_split_by_time_leaves_out_is_reported_and_excluded_with_its_reason(place, run, capsys):
    lists, images = choose_by_time(run), spans_of_images(SPANS | {"1234": ("2012-01-01", "2012-01-02")})
    capsys.readouterr()
    split = rs.split_images(images.assign(filename=images["region"] + ".fits"), lists, run)
    assert (split == rs.assign_splits(images["region"], lists)).all() and (split == "").sum() == 12
    assert capsys.readouterr().out.splitlines() == [
        "Excluded by the split by time: 5 regions, 10 images; region begins within 27 days after 2013-01-01: 2 (4); "
        "region begins within 27 days after 2014-01-01: 1 (2); region crosses 2013-01-01: 1 (2); region crosses "
        "2014-01-01: 1 (2)",
        "1 region (2 images) is in no list and is skipped: 1234; start AR_Classifier_weighted.py with the days of the "
        "split again, or name other lists"]
    assert run.counts["split"] == lists.text() and sum(run.counts["regions_left_out"].values()) == 5
    reasons = {problem.input: problem.reason for problem in run.exclusions}
    assert reasons == {f"{region}.fits": reason for region, reason in lists.left_out.items()} | {
        "1234.fits": "region in no list"} and len(run.exclusions) == 12


def test_a_damaged_record_is_as_none(place, run):
    choose_by_time(run)
    (OUTPUT / "drawn_split.json").write_text('{"settings": {"test_start": []}, "left_out": ["1003"]}')
    lists = rs.read_region_lists(*DEFAULTS, fallback_dir=OUTPUT)
    assert lists.drawn_in is None and not lists.left_out and lists.test == ("1009",)
