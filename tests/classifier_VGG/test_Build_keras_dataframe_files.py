"""Stage 6 as a user starts it: from stage 5's tables, from labels and lists, with the regions that are in none."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.FeaturesetTools import FEATURE_NAMES, write_feature_table
from classifier_VGG.Build_keras_dataframe_files import UserDefinitions, main
from general_code.evaluation import splits
from general_code.images.names import dataset_name

LISTS = {split: Path("data") / file for split, file in splits.LISTS.items()}
OUTPUTS = {"training": "Train_Data_by_AR.csv", "validation": "Validation_Data_by_AR.csv", "test": "Test_Data_by_AR.csv"}


def name(region, number, image_format="fits"):
    """Return an image's name."""
    return dataset_name(region, np.datetime64("2011-02-15T00:00") + np.timedelta64(12 * number, "m"), 1, image_format)


@pytest.fixture
def labels(tmp_path, monkeypatch):
    """A label file of five regions in the current folder, and lists for two of them."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    lines = [f"{name(region, number)},{'C4.7' if number == 0 else '0'}\n"
             for region in ("1158", "1160", "1170", "1180", "1190") for number in range(3)]
    (tmp_path / "Labels.txt").write_text("".join(lines))
    LISTS["test"].write_text("11158\n")
    LISTS["validation"].write_text("1160\n")
    return tmp_path


def settings(folder, **changes):
    """Return settings within a folder."""
    return UserDefinitions(**({"split_dir": folder / "SVM", "output_dir": folder / "VGG",
                               "label_file": folder / "Labels.txt"} | changes))


def lists_in(folder, suffix=""):
    """Return the three lists written."""
    return {split: pd.read_csv(folder / "VGG" / file.replace(".csv", f"{suffix}.csv"))
            for split, file in OUTPUTS.items()}


@pytest.mark.parametrize("folder", ["data", "SVM"])
def test_labels_are_split_by_the_lists_or_those_of_split_dir_and_other_regions_train(labels, capsys, folder):
    Path("data").rename(folder)
    main(settings(labels))
    written = lists_in(labels)
    assert set(written["test"]["filename"].str[:4]) == {"1158"}
    assert set(written["validation"]["filename"].str[:4]) == {"1160"}
    assert set(written["training"]["filename"].str[:4]) == {"1170", "1180", "1190"}
    assert (labels / "VGG" / OUTPUTS["test"]).read_text() == (
        f"filename,class\n1158/{name('1158', 0)},1\n1158/{name('1158', 1)},0\n1158/{name('1158', 2)},0\n")
    assert "3 regions (9 images) are in no list and go to training: 1170, 1180, 1190" in capsys.readouterr().out
    before = [(labels / "VGG" / file).read_bytes() for file in OUTPUTS.values()]
    main(settings(labels))
    assert before == [(labels / "VGG" / file).read_bytes() for file in OUTPUTS.values()]


def test_with_a_training_list_other_regions_are_skipped_and_listed(labels, capsys):
    LISTS["training"].write_text("1170\n")
    main(settings(labels, suffix="_x"))
    assert set(lists_in(labels, "_x")["training"]["filename"].str[:4]) == {"1170"}
    excluded = pd.read_csv(labels / "VGG" / "Train_Data_by_AR_x.csv.excluded.csv")
    assert len(excluded) == 6
    assert set(excluded["reason"]) == {"region in no list"}
    out = capsys.readouterr().out
    assert "2 regions (6 images) are in no list and are skipped: 1180, 1190; add them to a list" in out
    assert out.rstrip().endswith("6  region in no list")


def test_the_tables_of_stage_5_give_the_same_lists(labels):
    (labels / "SVM").mkdir()
    regions = {"Train_Data": "1170", "Validation_data": "1160", "Test_Data": "1158"}
    for word, region in regions.items():
        table = pd.DataFrame(0.5, index=range(3), columns=list(FEATURE_NAMES))
        table["class"], table["flare class"] = [0, 1, 0], ["0", "C4.7", "0"]
        table["filename"] = [name(region, number) for number in (2, 0, 1)]
        write_feature_table(labels / "SVM" / f"{word}_by_AR.csv", table)
    for kind, size in (("rbf", "C1.0"), ("linear", "M1.0")):  # the tables are of the later run
        sidecar = labels / "SVM" / f"ARClassifierStats_weighted_trainvaltest_{kind}.txt.json"
        sidecar.write_text(json.dumps({"settings": {"suffix": ""}, "counts": {"split": "by time", "flare_size": size}}))
        os.utime(sidecar, (1e9 + (kind == "linear"),) * 2)
    main(settings(labels, label_file=""))
    counts = json.loads((labels / "VGG" / "Train_Data_by_AR.csv.json").read_text())["counts"]
    assert counts["split"] == "by time" and counts["flare_size"] == "M1.0"
    for written, region in zip(lists_in(labels).values(), regions.values(), strict=True):
        assert written["filename"].tolist() == [f"{region}/{name(region, number)}" for number in range(3)]
        assert written["class"].tolist() == [1, 0, 0]
    (labels / "SVM" / "Test_Data_by_AR.csv").write_text("")  # a split without images
    main(settings(labels, label_file=""))
    assert lists_in(labels)["test"].empty and len(lists_in(labels)["training"]) == 3


def test_what_each_list_holds_is_reported_and_how_its_labels_were_made(labels, capsys):
    (labels / "Labels.txt").write_text((labels / "Labels.txt").read_text().replace(
        f"{name('1158', 0)},C4.7", f"{name('1158', 0)},0") + "picture.fits,0\n")
    (labels / "Labels.txt.json").write_text(json.dumps({"settings": {"flare_size": "M1.0"}}))
    main(settings(labels))
    table = labels / "VGG" / "Train_Data_by_AR.csv"
    assert "picture.fits,not a magnetogram's file name" in Path(f"{table}.excluded.csv").read_text()
    counts = json.loads(Path(f"{table}.json").read_text())["counts"]
    assert counts["flare_size"] == "M1.0"
    assert counts["training"] == {"regions": 3, "images": 9, "flaring_images": 3}
    out = capsys.readouterr().out
    assert "training: 3 regions, 9 images, 3 with a flare\n" in out
    assert "test: 1 region, 3 images, 0 with a flare; one class only: no TSS, HSS or AUC" in out


@pytest.mark.parametrize(("changes", "message"), [
    ({"output_dir": "SVM", "split_dir": "SVM"}, "is an input of this stage and would be overwritten"),
    ({"train_ar_list": "mine.csv"}, "train_ar_list: expected a list of regions at 'mine.csv' .*, found nothing"),
    ({"validation_ar_list": LISTS["test"]}, "region 1158 is in two lists"),
    ({"label_file": LISTS["test"]}, "List_of_AR_in_Test_Data_by_AR.csv, line 1"),
    ({"label_file": "nowhere"}, "label_file: expected a file"),
])
def test_mistakes_end_in_one_line(labels, changes, message):
    with pytest.raises(SystemExit, match=message) as caught:
        main(settings(labels, **changes))
    assert "\n" not in str(caught.value)
    assert not (labels / "VGG" / OUTPUTS["training"]).exists()


def test_lists_of_another_data_set_and_no_list_at_all(labels):
    for number, path in enumerate(LISTS.values(), start=7000):
        path.write_text(f"{number}\n")
    with pytest.raises(SystemExit, match="none of the 5 regions of the images is in .*: they are of another data set"):
        main(settings(labels))
    Path("data").rename("elsewhere")
    with pytest.raises(SystemExit, match=r"no list of regions at .* run AR_Classifier_weighted.py"):
        main(settings(labels))


def test_published_names(labels):
    """Sizes in names, spellings of lists, labels from Windows: names are as the images have them, four digits."""
    names = [f"{name(region, 0, 'png')[:-4]}_224.png" for region in ("1158", "1160", "1170")]
    LISTS["test"].rename("data/List_of_AR_in_Test_data_by_AR.csv")
    LISTS["validation"].rename("data/List_of_AR_in_Validation_Data_by_AR.csv")
    (labels / "Labels.txt").write_text("".join(f"1158\\1{file};C4.7\r\n\r\n" for file in names), encoding="utf-8-sig")
    main(settings(labels, suffix="_png_224"))
    assert [part["filename"].tolist() for part in lists_in(labels, "_png_224").values()] == [
        [f"{file[:4]}/{file}"] for file in reversed(names)]


@pytest.mark.parametrize(("content", "message"), [
    ("filename,class\na.png,1\n", "lists of filename,class go into VGG_transfer_learning.py as they are"),
    (",".join(["0.5"] * 29 + ["Q", "0", "a.png"]) + "\n", "class 'Q' is not 0, 1 or like C4.7"),
    (",".join(["0.5"] * 29 + ["1", "a.png"]) + "\n0.5\n", "class '' is not 0, 1 or like C4.7"),
])
def test_files_that_are_no_tables_of_stage_5(labels, content, message):
    Path("SVM").mkdir()
    for file in OUTPUTS.values():
        (Path("SVM") / file).write_text(content)
    with pytest.raises(SystemExit, match=message) as caught:
        main(settings(labels, label_file=""))
    assert "\n" not in str(caught.value)
