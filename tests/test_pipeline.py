"""The whole chain once, on a small simulated archive: each stage finds what the one before it wrote."""

import csv
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from general_code import run_example, work_folder
from general_code.label_file import label_size
from general_code.stage_files import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = [
    "general_code/simulate_archive.py --archive-dir data --n-regions 8 --n-days 8 --cadence-hours 24",
    "general_code/SRS_Parse.py --first-date 20300101",
    "general_code/generate_dataset.py",
    "classifier_SVM/BuildMasterFeatureSet_mp.py",
    "classifier_SVM/AR_Classifier_weighted.py --test-percent 25 --validation-percent 25",
    "classifier_VGG/Build_keras_dataframe_files.py",
    "classifier_VGG/VGG_transfer_learning.py --weights random --epochs 2",
]


def rows(path):
    """Return a CSV file's rows."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_the_stages_find_each_others_files_with_no_path_set(tmp_path):
    work_folder.run_stages(tmp_path, COMMANDS)
    data, results = tmp_path / "data", tmp_path / "results"
    regions = {row[0] for row in rows(data / "ARList.txt")}
    labels = dict(rows(data / "Labels.txt"))
    assert {name[:4] for name in labels} <= regions
    assert set(labels.values()) > {"0"}, "there are flares"

    features = rows(results / "features.csv")
    assert {row[31] for row in features} == set(labels)
    assert all(row[30] == labels[row[31]] and row[29] == str(int(row[30] != "0")) for row in features)

    assert {label_size(results / name) for name in ("features.csv", "VGG/Train_Data_by_AR.csv")} == {"C1.0"}

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


def test_the_example_stops_at_the_first_stage_that_fails(tmp_path):
    with pytest.raises(UserError, match="stopped at general_code/SRS_Parse.py"):
        work_folder.run_stages(tmp_path, ["general_code/SRS_Parse.py", "general_code/generate_dataset.py"])


@pytest.mark.parametrize(("parts", "missing"), [(("SRS", "active_regions"), "Events"), (("SRS",), "active_regions")])
def test_an_archive_without_a_part_is_refused(tmp_path, parts, missing):
    for part in parts:
        (tmp_path / "archive" / part).mkdir(parents=True)
    with pytest.raises(SystemExit, match=f"{missing} is not there"):
        run_example.main(run_example.UserDefinitions(work_dir=tmp_path / "work", archive=tmp_path / "archive"))


def test_a_folder_takes_one_archive_only(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(run_example, "run_stages", lambda work_dir, commands: ran.append(work_dir))
    monkeypatch.chdir(tmp_path)
    for archive in ("a", "b"):
        for part in ("SRS", "Events", "active_regions"):
            (tmp_path / archive / part).mkdir(parents=True)
    run_example.main(run_example.UserDefinitions(work_dir=Path("work"), archive=Path("a")))
    run_example.main(run_example.UserDefinitions(work_dir=Path("work"), archive=tmp_path / "a"))
    assert (tmp_path / "work" / "archive.txt").read_text() == f"{tmp_path / 'a'}\n"
    for other in (Path("b"), Path("")):
        with pytest.raises(SystemExit, match=f"holds data and results of {tmp_path / 'a'}, not of (.*b|a simulated)"):
            run_example.main(run_example.UserDefinitions(work_dir=Path("work"), archive=other))
    assert len(ran) == 2


def test_an_archive_that_was_refused_leaves_the_folder_free(tmp_path):
    (tmp_path / "work" / "data").mkdir(parents=True)
    work_folder.claim_work_dir(tmp_path / "work", "a mistyped one")
    work_folder.claim_work_dir(tmp_path / "work", "the right one")
    assert (tmp_path / "work" / "archive.txt").read_text() == "the right one\n"
    (tmp_path / "work" / "data" / "ARList.txt").write_text("1158,20110213,1\n")
    (tmp_path / "work" / "archive.txt").unlink()
    with pytest.raises(UserError, match="holds data and results of an archive that is not noted, not of the right one"):
        work_folder.claim_work_dir(tmp_path / "work", "the right one")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_an_interruption_of_the_example_ends_the_stage_that_runs(tmp_path):
    script = tmp_path / "stage.py"
    script.write_text("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    code = (f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\nfrom pathlib import Path\n"
            "from general_code import work_folder\nfrom general_code.stage_run import stage_main\n"
            f"stage_main(lambda user: work_folder.run_stages(Path({str(tmp_path)!r}), [{str(script)!r}]))(None)")
    example = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True)
    while example.stdout.readline() not in ("started\n", ""):
        pass
    example.terminate()
    example.communicate(timeout=60)  # waits for the end of all that hold the pipe: the stage, too
    assert example.returncode == 143


def test_taking_an_archive_leaves_out_regions_and_changes_nothing(tmp_path):
    for name in ("SRS/2030_SRS/20300101SRS.txt", "Events/20300101events.txt", "active_regions/9001/a.fits",
                 "active_regions/9002/b.fits"):
        (tmp_path / "archive" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "archive" / name).write_text(name)
    for _ in range(2):  # a second time finds everything there
        work_folder.take_archive(tmp_path / "archive", tmp_path / "data", leave_out=("9002",))
    taken = sorted(str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*.*"))
    assert taken == ["Events/20300101events.txt", "SRS/2030_SRS/20300101SRS.txt", "active_regions/9001/a.fits"]
    assert (tmp_path / "archive" / "active_regions" / "9002" / "b.fits").exists()


def test_a_work_dir_that_is_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit, match="cannot be written: folder .*file"):
        run_example.main(run_example.UserDefinitions(work_dir=tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "x"


def test_packed_reports_are_unpacked_once(tmp_path):
    report = tmp_path / "data" / "SRS" / "20300101SRS.txt"
    for folder in ("SRS", "Events"):
        (tmp_path / "packed" / folder).mkdir(parents=True)
        (tmp_path / "packed" / folder / f"20300101{folder}.txt").write_text("as NOAA wrote it")
    (tmp_path / "archive").mkdir()
    with tarfile.open(tmp_path / "archive" / "noaa.tar.xz", "w:xz") as tar:
        for folder in ("SRS", "Events"):
            tar.add(tmp_path / "packed" / folder, arcname=folder)
    work_folder.take_reports(tmp_path / "archive", tmp_path / "data")
    assert report.read_text() == "as NOAA wrote it"
    report.write_text("as changed here.")  # of the same size: it stays
    (tmp_path / "data" / "Events" / "20300101Events.txt").write_text("cut off")
    work_folder.take_reports(tmp_path / "archive", tmp_path / "data")
    assert report.read_text() == "as changed here."
    assert (tmp_path / "data" / "Events" / "20300101Events.txt").read_text() == "as NOAA wrote it"


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "noaa.tar.xz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="noaa.tar.xz' cannot be unpacked"):
        work_folder.take_reports(tmp_path, tmp_path / "data")
