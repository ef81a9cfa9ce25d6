"""The archive experiment: its stamps are those of stage 2, its archive complete."""

import pytest

from general_code import archive_experiment as experiment
from general_code.stage.files import UserError
from general_code.stage.work_folder import WorkFolder


@pytest.mark.parametrize("table", experiment.TABLES, ids=lambda table: table.folder)
def test_what_is_trained_is_compared(table):
    *_, compare = table.commands(12)
    trained = [c for c in table.commands(12) if "AR_Classifier_weighted" in c]
    assert len(trained) == len(table.sizes) * len(table.forecasts)
    for command in trained:
        classifier, suffix = command.split("--class-type ")[1].split()[0], command.split("--suffix ")[1].split()[0]
        assert f"predictions_{classifier}{suffix}.csv" in compare


def test_a_coarser_cadence_gives_every_row_more_weight():
    fine, coarse = (next(c for c in experiment.PUBLISHED.commands(m) if "linear" in c) for m in (12, 60))
    costs = [float(command.split("--C ")[1]) for command in (fine, coarse)]
    assert costs[1] == pytest.approx(5 * costs[0])


def write_stamps(folder, passages, *lists):
    """Write the names of the stamps of passages whose regions are in the lists; return how many."""
    (folder / "data").mkdir()
    (folder / "data" / "ARList.txt").write_text(passages)
    for name, regions in zip(experiment.LISTS, lists, strict=True):
        (folder / "data" / name).write_text(regions, encoding="utf-8")
    regions = experiment.published_regions(folder, list(experiment.LISTS))
    return experiment.write_image_names(experiment.wanted_passages(folder, experiment.PUBLISHED, regions), folder, 12)


def test_stamps_are_those_that_stage_2_requests(tmp_path):
    passages = "1064,20100501,3\n1065,20100503,2\n1066,20100503,4\n"
    assert write_stamps(tmp_path, passages, "1064\n", "1066\n", "") == 3 * 120 + 1 + 4 * 120 + 1
    lines = (tmp_path / experiment.NAMES).read_text().split()
    for number, time in ((0, "20100501_000000"), (1, "20100501_001200"), (360, "20100504_000000")):
        assert lines[number] == f"1064/1064_hmi.M_720s.{time}_TAI.1.magnetogram.fits"
    assert not any(line.startswith("1065") for line in lines), "it is in no list"


@pytest.mark.parametrize(("regions", "message"), [
    ("12001\n", "none of the 1 regions of the published lists"),
    ("\ufeff1064\nnumber\n", "Train_Data_by_AR.csv, line 2: 'number' is not a region number")])
def test_lists_that_give_no_stamps(tmp_path, regions, message):
    with pytest.raises(UserError, match=message):
        write_stamps(tmp_path, "1064,20100501,3\n", regions, regions, regions)


def make_archive(folder, *parts):
    """Make an archive with one region in each list, and empty reports."""
    for part in parts:
        (folder / part).mkdir(parents=True)
        (folder / part / "report.txt").write_text("as NOAA wrote it")
    if "published" in parts:
        for name in (*experiment.LISTS, experiment.EVENT_LIST):
            (folder / "published" / name.replace("_data_", "_Data_")).write_text("1064\n")


def test_a_folder_takes_one_archive_only(tmp_path, monkeypatch):
    monkeypatch.setattr(WorkFolder, "run", lambda folder, commands: (folder.path / "data/ARList.txt").write_text(
        "1064,20100501,3\n"))
    for archive in ("a", "b"):
        make_archive(tmp_path / archive, "SRS", "Events", "published")
    work_dir = tmp_path / "work"
    for _ in range(2):
        experiment.main(experiment.UserDefinitions(archive=tmp_path / "a", work_dir=work_dir))
    with pytest.raises(SystemExit, match=r"holds data and results of .*a, not of .*b"):
        experiment.main(experiment.UserDefinitions(archive=tmp_path / "b", work_dir=work_dir))
    assert (work_dir / experiment.EVENTS_PUBLISHED).is_file()
    assert not (work_dir / "data" / "eventList.txt").exists(), "stage 3 makes it, from the reports"
    assert (work_dir / "data" / "List_of_AR_in_Validation_Data_by_AR.csv").is_file(), "either spelling is taken"


@pytest.mark.parametrize("folders, missing", [
    (("published",), "expected SRS in"), (("published", "SRS"), "expected Events in"),
    (("SRS", "Events"), "expected the published List_of_AR_in_Train")])
def test_what_an_archive_lacks_is_named_before_anything_is_copied(tmp_path, folders, missing):
    make_archive(tmp_path / "archive", *folders)
    work_dir = tmp_path / "work"
    with pytest.raises(SystemExit, match=missing):
        experiment.main(experiment.UserDefinitions(archive=tmp_path / "archive", work_dir=work_dir))
    assert not list(work_dir.glob("data/*"))


def test_a_cadence_that_does_not_divide_a_day_is_refused(tmp_path):
    with pytest.raises(UserError, match="cadence_minutes: expected minutes that divide a day, like 12, got 7"):
        experiment.UserDefinitions(work_dir=tmp_path, cadence_minutes=7)
