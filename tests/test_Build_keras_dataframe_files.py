"""Stage 6 as a user starts it: from stage 5's tables, from labels and lists, with the regions that are in none."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.FeaturesetTools import FEATURE_NAMES, write_feature_table
from classifier_VGG.Build_keras_dataframe_files import UserDefinitions, main
from general_code.image_names import dataset_name

SCRIPT = Path(__file__).resolve().parents[1] / "classifier_VGG" / "Build_keras_dataframe_files.py"
OUTPUTS = {"training": "Train_Data_by_AR.csv", "validation": "Validation_Data_by_AR.csv", "test": "Test_Data_by_AR.csv"}


def name(region, number, image_format="fits"):
    """Return an image's name."""
    return dataset_name(region, np.datetime64("2011-02-15T00:00") + np.timedelta64(12 * number, "m"), 1, image_format)


@pytest.fixture
def labels(tmp_path):
    """A label file of five regions in a folder of its own, and lists for two of them."""
    lines = [f"{name(region, number)},{'C4.7' if number == 0 else '0'}\n"
             for region in ("1158", "1160", "1170", "1180", "1190") for number in range(3)]
    (tmp_path / "Labels.txt").write_text("".join(lines))
    (tmp_path / "test.csv").write_text("11158\n")
    (tmp_path / "validation.csv").write_text("1160\n")
    return tmp_path


def settings(folder, **changes):
    """Return settings within a folder."""
    lists = {"test_ar_list": folder / "test.csv", "validation_ar_list": folder / "validation.csv",
             "train_ar_list": folder / "train.csv"}
    return UserDefinitions(**({"split_dir": folder / "SVM", "output_dir": folder / "VGG",
                               "label_file": folder / "Labels.txt"} | lists | changes))


def lists_in(folder, suffix=""):
    """Return the three lists written."""
    return {split: pd.read_csv(folder / "VGG" / file.replace(".csv", f"{suffix}.csv"))
            for split, file in OUTPUTS.items()}


def test_labels_are_split_by_the_lists_and_other_regions_train(labels, capsys):
    main(settings(labels))
    written = lists_in(labels)
    assert set(written["test"]["filename"].str[:4]) == {"1158"}
    assert set(written["validation"]["filename"].str[:4]) == {"1160"}
    assert set(written["training"]["filename"].str[:4]) == {"1170", "1180", "1190"}
    assert (labels / "VGG" / OUTPUTS["test"]).read_text() == (
        f"filename,class\n1158/{name('1158', 0)},1\n1158/{name('1158', 1)},0\n1158/{name('1158', 2)},0\n")
    assert "3 regions (9 images) are in no list and go to training: 1170, 1180, 1190" in capsys.readouterr().out


def test_with_a_training_list_other_regions_are_left_out_and_listed(labels, capsys):
    (labels / "train.csv").write_text("1170\n")
    main(settings(labels, suffix="_x"))
    assert set(lists_in(labels, "_x")["training"]["filename"].str[:4]) == {"1170"}
    excluded = pd.read_csv(labels / "VGG" / "Train_Data_by_AR_x.csv.excluded.csv")
    assert len(excluded) == 6
    assert set(excluded["reason"]) == {"region in no list"}
    out = capsys.readouterr().out
    assert "2 regions (6 images) are in no list and are left out: 1180, 1190" in out
    assert out.rstrip().endswith("6  region in no list")


def test_missing_lists_are_taken_from_split_dir(labels):
    (labels / "SVM").mkdir()
    for list_name in ("test.csv", "validation.csv"):
        (labels / list_name).rename(labels / "SVM" / list_name)
    main(settings(labels))
    assert set(lists_in(labels)["test"]["filename"].str[:4]) == {"1158"}


def test_five_digit_names_are_written_with_four(labels):
    (labels / "Labels.txt").write_text(f"{name('1158', 0).replace('1158', '11158', 1)},C4.7\n{name('1160', 0)},0\n")
    main(settings(labels))
    assert lists_in(labels)["test"]["filename"].tolist() == [f"1158/{name('1158', 0)}"]


def test_the_tables_of_stage_5_give_the_same_lists(labels):
    rng = np.random.default_rng(0)
    (labels / "SVM").mkdir()
    words = {"training": ("Train_Data", "1170"), "validation": ("Validation_data", "1160"),
             "test": ("Test_Data", "1158")}
    for word, region in words.values():
        table = pd.DataFrame(rng.random((3, 29)), columns=list(FEATURE_NAMES))
        table["class"], table["flare class"] = [0, 1, 0], ["0", "C4.7", "0"]
        table["filename"] = [name(region, number) for number in (2, 0, 1)]
        write_feature_table(labels / "SVM" / f"{word}_by_AR.csv", table)
    main(settings(labels, label_file=Path("")))
    for split, (_, region) in words.items():
        written = lists_in(labels)[split]
        assert written["filename"].tolist() == [f"{region}/{name(region, number)}" for number in range(3)]
        assert written["class"].tolist() == [1, 0, 0]


def test_the_size_of_the_flares_goes_with_the_lists(labels):
    (labels / "Labels.txt.json").write_text(json.dumps({"settings": {"flare_size": "M1.0"}}))
    main(settings(labels))
    sidecar = json.loads((labels / "VGG" / "Train_Data_by_AR.csv.json").read_text())
    assert sidecar["counts"]["flare_size"] == "M1.0"
    assert sidecar["counts"]["training"] == {"regions": 3, "images": 9, "flaring_images": 3}


def test_what_each_list_holds_is_said_and_which_defines_no_scores(labels, capsys):
    (labels / "Labels.txt").write_text((labels / "Labels.txt").read_text().replace(
        f"{name('1158', 0)},C4.7", f"{name('1158', 0)},0"))
    main(settings(labels))
    out = capsys.readouterr().out
    assert "training: 3 regions, 9 images, 3 with a flare\n" in out
    assert "test: 1 regions, 3 images, 0 with a flare; one class only or empty: its scores are not defined" in out


def test_a_name_without_region_is_listed(labels):
    with (labels / "Labels.txt").open("a") as file:
        file.write("picture.fits,0\n")
    main(settings(labels))
    assert "picture.fits,not a magnetogram's file name" in (
        labels / "VGG" / "Train_Data_by_AR.csv.excluded.csv").read_text()


@pytest.mark.parametrize(("damage", "message"), [
    (lambda folder: (folder / "validation.csv").write_text("1158\n"), "region 1158 is in two lists"),
    (lambda folder: (folder / "validation.csv").unlink(), "validation_ar_list: no file"),
    (lambda folder: [(folder / list_name).unlink() for list_name in ("test.csv", "validation.csv")],
     "no list of regions at .* run AR_Classifier_weighted.py"),
    (lambda folder: (folder / "Labels.txt").write_text("a,b\n"), "Labels.txt, line 1"),
    (lambda folder: (folder / "Labels.txt").unlink(), "label_file: expected a file"),
])
def test_mistakes_are_said_in_one_line(labels, damage, message):
    damage(labels)
    with pytest.raises(SystemExit, match=message) as caught:
        main(settings(labels))
    assert "\n" not in str(caught.value)
    assert not (labels / "VGG" / OUTPUTS["training"]).exists()


def test_outputs_do_not_replace_the_tables_they_come_from(labels):
    with pytest.raises(SystemExit, match="is an input of this stage and would be overwritten"):
        main(settings(labels, output_dir=labels / "SVM"))


def test_as_a_script_from_another_folder_twice_the_same_bytes(labels):
    command = [sys.executable, str(SCRIPT), "--label-file", "Labels.txt", "--test-ar-list", "test.csv",
               "--validation-ar-list", "validation.csv", "--output-dir", "VGG"]
    contents = []
    for _ in range(2):
        subprocess.run(command, cwd=labels, check=True, capture_output=True)
        contents.append([(labels / "VGG" / file).read_bytes() for file in OUTPUTS.values()])
    assert contents[0] == contents[1]
