"""The whole chain once, on a small simulated archive: each stage finds what the one before it wrote."""

import csv
import re
from pathlib import Path

from general_code.images.label_file import label_target
from general_code.stage.work_folder import WorkFolder

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = [
    "general_code/simulate_archive.py --archive-dir data --n-regions 8 --n-days 8 --cadence-hours 24",
    "general_code/SRS_Parse.py --first-date 20300101",
    "general_code/generate_dataset.py",
    "classifier_SVM/BuildMasterFeatureSet_mp.py",
    "classifier_SVM/AR_Classifier_weighted.py --test-percent 25 --validation-percent 25",
    "classifier_VGG/Build_keras_dataframe_files.py",
    "classifier_VGG/VGG_transfer_learning.py --weights random --epochs 2",
    "general_code/Report.py",
]


def rows(path):
    """Return a CSV file's rows."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_the_stages_find_each_others_files_with_no_path_set(tmp_path):
    WorkFolder(tmp_path, "a simulated archive").run(COMMANDS)
    data, results = tmp_path / "data", tmp_path / "results"
    regions = {row[0] for row in rows(data / "ARList.txt")}
    labels = dict(rows(data / "Labels.txt"))
    assert {name[:4] for name in labels} <= regions
    assert set(labels.values()) > {"0"}, "there are flares"

    features = rows(results / "features.csv")
    assert {row[31] for row in features} == set(labels)
    assert all(row[30] == labels[row[31]] and row[29] == str(int(row[30] != "0")) for row in features)

    assert {label_target(results / name).size for name in ("features.csv", "VGG/Train_Data_by_AR.csv")} == {"C1.0"}

    splits = {split: {row[31] for row in rows(results / "SVM" / f"{split}_Data_by_AR.csv")}
              for split in ("Train", "Validation", "Test")}
    assert set().union(*splits.values()) == set(labels)
    assert sum(map(len, splits.values())) == len(labels)
    regions_of = {split: {name[:4] for name in names} for split, names in splits.items()}
    assert not regions_of["Train"] & regions_of["Test"], "no region is in two splits"

    for split, names in splits.items():
        table = rows(results / "VGG" / f"{split}_Data_by_AR.csv")
        assert table[0] == ["filename", "class"]
        assert {row[0] for row in table[1:]} == {f"{name[:4]}/{name}" for name in names}

    for predictions in (results / "SVM" / "predictions_linear.csv", results / "VGG" / "predictions_VGG.csv"):
        table = rows(predictions)
        assert table[0] == ["filename", "class", "probability", "decision", "split"]
        assert {Path(row[0]).name for row in table[1:]} == set(labels)
    scores = (results / "SVM" / "ARClassifierStats_weighted_trainvaltest_linear.txt").read_text()
    assert all(re.search(rf"\b{score}\b", scores) for score in ("TPR", "TNR", "TSS", "HSS"))

    page = (results / "report.html").read_text()
    assert all(name in page for name in ("linear SVM", "VGG16", "roc_VGG.png", "total unsigned flux"))
    assert rows(results / "report.html.excluded.csv") == [["input", "reason", "detail"]], "all that is there is read"
