"""The archive experiment: its commands are valid, its stamps those of stage 2, its archive complete."""

import importlib
import shlex
from pathlib import Path

import pytest
import tyro

from general_code import archive_experiment as experiment
from general_code.stage_files import UserError


@pytest.mark.parametrize("command", [experiment.PARSE, *experiment.commands()])
def test_every_command_has_settings_that_the_script_knows(command):
    script, *settings = shlex.split(command)
    stage = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    user = tyro.cli(stage.UserDefinitions, args=settings)
    assert not hasattr(user, "flare_size") or user.flare_size in experiment.FLARE_SIZES


def test_what_is_trained_is_compared():
    *_, compare = experiment.commands()
    trained = [c for c in experiment.commands() if "AR_Classifier_weighted" in c]
    assert len(trained) == len(experiment.FLARE_SIZES) * len(experiment.MACHINES)
    for command in trained:
        machine, suffix = command.split("--class-type ")[1].split()[0], command.split("--suffix ")[1].split()[0]
        assert f"predictions_{machine}{suffix}.csv" in compare


def test_a_coarser_cadence_gives_every_row_more_weight():
    fine, coarse = (next(c for c in experiment.commands(m) if "linear" in c) for m in (12, 60))
    costs = [float(command.split("--C ")[1]) for command in (fine, coarse)]
    assert costs[1] == pytest.approx(5 * costs[0])


def test_stamps_are_those_that_stage_2_requests(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "ARList.txt").write_text("1064,20100501,3\n1065,20100503,2\n1066,20100503,4\n")
    for name, regions in zip(experiment.PUBLISHED[:3], ("1064\n", "1066\n", ""), strict=True):
        (data / name).write_text(regions)
    assert experiment.write_image_names(tmp_path, 12) == 3 * 120 + 1 + 4 * 120 + 1
    lines = (tmp_path / experiment.NAMES).read_text().split()
    assert lines[0] == "1064/1064_hmi.M_720s.20100501_000000_TAI.1.magnetogram.fits"
    assert lines[1] == "1064/1064_hmi.M_720s.20100501_001200_TAI.1.magnetogram.fits"
    assert lines[360] == "1064/1064_hmi.M_720s.20100504_000000_TAI.1.magnetogram.fits"
    assert not any(line.startswith("1065") for line in lines), "it is in no list"


def test_stamps_need_a_region_of_the_lists(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "ARList.txt").write_text("1064,20100501,3\n")
    for name in experiment.PUBLISHED[:3]:
        (data / name).write_text("12001\n")
    with pytest.raises(UserError, match="none of the 1 regions of the published lists"):
        experiment.write_image_names(tmp_path, 12)


def test_a_fault_in_a_list_is_named_with_its_line(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "ARList.txt").write_text("1064,20100501,3\n")
    for name in experiment.PUBLISHED[:3]:
        (data / name).write_text("\ufeff1064\nnumber\n", encoding="utf-8")
    with pytest.raises(UserError, match="Train_Data_by_AR.csv, line 2: 'number' is not a region number"):
        experiment.write_image_names(tmp_path, 12)


def test_a_folder_takes_one_archive_only(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "run_stages", lambda work_dir, commands: (work_dir / "data/ARList.txt").write_text(
        "1064,20100501,3\n"))
    for archive in ("a", "b"):
        for part in ("SRS", "Events", "published"):
            (tmp_path / archive / part).mkdir(parents=True)
        for name in experiment.PUBLISHED:
            (tmp_path / archive / "published" / name).write_text("1064\n")
    work_dir = tmp_path / "work"
    for _ in range(2):
        experiment.main(experiment.UserDefinitions(tmp_path / "a", work_dir))
    with pytest.raises(SystemExit, match=r"holds data and results of .*a, not of .*b"):
        experiment.main(experiment.UserDefinitions(tmp_path / "b", work_dir))


def test_a_real_archive_is_put_in_place(shared_data, tmp_path):
    experiment.take_archive(shared_data, tmp_path / "data")
    assert len(list((tmp_path / "data" / "SRS").rglob("*SRS.txt"))) == 3166
    assert (tmp_path / experiment.EVENTS_PUBLISHED).read_text().startswith("2010 05 01,0139,1067,C5.7")
    assert not (tmp_path / "data" / "eventList.txt").exists(), "stage 3 makes it, from the reports"


@pytest.mark.parametrize("folders, missing", [((), "SRS is not there"), (("SRS",), "Events is not there"),
                                              (("SRS", "Events"), "the published List_of_AR_in_Train")])
def test_what_an_archive_lacks_is_named(tmp_path, folders, missing):
    for name in folders:
        (tmp_path / "archive" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=missing):
        experiment.take_archive(tmp_path / "archive", tmp_path / "data")


def test_a_cadence_that_does_not_divide_a_day_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="minutes that divide a day"):
        experiment.main(experiment.UserDefinitions(work_dir=Path(tmp_path), cadence_minutes=7))
