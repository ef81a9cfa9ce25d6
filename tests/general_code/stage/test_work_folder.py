"""The folder in which the stages run: one archive, commands that work when pasted, files that stay."""

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from unittest.mock import Mock

import pytest

from general_code.stage import work_folder
from general_code.stage.files import UserError
from general_code.stage.work_folder import WorkFolder
from tests.general_code.images.test_names import make_files

REPOSITORY = Path(__file__).resolve().parents[3]
REPORTS = ("SRS/2030_SRS/20300101SRS.txt", "Events/20300101events.txt")


def pack(packed, folder, *names, mode="w:xz"):
    """Pack files of a folder."""
    with tarfile.open(packed, mode) as tar:
        for name in names:
            tar.add(folder / name, arcname=name)


def taken(folder):
    """Return the files in the folder's data."""
    return sorted(str(path.relative_to(folder / "data")) for path in (folder / "data").rglob("*") if path.is_file())


def test_it_stops_at_the_first_stage_that_fails(tmp_path):
    with pytest.raises(UserError, match="stopped at general_code/SRS_Parse.py"):
        WorkFolder(tmp_path, "a").run(["general_code/SRS_Parse.py", "general_code/generate_dataset.py"])


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_an_interruption_ends_the_stage_that_runs(tmp_path):
    script = tmp_path / "stage.py"
    script.write_text("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    code = (f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\nfrom pathlib import Path\n"
            "from general_code.stage.work_folder import WorkFolder\nfrom general_code.stage.run import stage_main\n"
            f"stage_main(lambda user: WorkFolder(Path({str(tmp_path)!r}), 'a').run([{str(script)!r}]))(None)")
    example = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True)
    while example.stdout.readline() not in ("started\n", ""):
        pass
    example.terminate()
    example.communicate(timeout=60)  # waits for the end of all that hold the pipe: the stage, too
    assert example.returncode == 143


@pytest.mark.skipif(os.name != "posix", reason="a shell is needed")
@pytest.mark.parametrize("name", ["plain", "run[1]", "a$HOME", "two words", "Übung", "it's"])
def test_what_is_printed_works_when_pasted(tmp_path, capsys, name):
    archive = make_files(tmp_path / "my archive" / name, *REPORTS)
    folder = WorkFolder(tmp_path / name, str(archive))
    folder.copy_archive(archive, ["SRS"])
    folder.show_script("general_code/SRS_Parse.py --help")
    commands = [line.removeprefix("$ ") for line in capsys.readouterr().out.splitlines() if line.startswith("$ ")]
    assert commands[0].startswith("mkdir -p ")
    copied = taken(folder.path)
    assert copied == sorted(REPORTS)
    shutil.rmtree(folder.path)
    commands[-1] = commands[-1].replace("python", shlex.quote(sys.executable), 1)
    done = subprocess.run(["sh", "-e", "-c", "\n".join(commands)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "SRS_Parse.py [-h]" in done.stdout
    assert taken(folder.path) == copied


def test_a_copy_changes_nothing_that_is_there(tmp_path):
    archive = make_files(tmp_path / "archive", *REPORTS, "active_regions/9001/a.fits")
    folder = WorkFolder(tmp_path / "work", str(archive))
    kept = make_files(folder.path / "data", "active_regions/9002/b.fits")
    (kept / "SRS" / "2030_SRS").mkdir(parents=True)
    (kept / REPORTS[0]).write_text("as changed here")
    for _ in range(2):  # a second time finds everything there
        folder.copy_archive(archive, ["active_regions"])
    assert taken(folder.path) == sorted([*REPORTS, "active_regions/9001/a.fits", "active_regions/9002/b.fits"])
    assert (kept / REPORTS[0]).read_text() == "as changed here"
    assert (archive / REPORTS[0]).read_text() == REPORTS[0]


def test_without_hard_links_files_are_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(work_folder.os, "link", Mock(side_effect=PermissionError(1, "Operation not permitted")))
    archive = make_files(tmp_path / "archive", *REPORTS)
    folder = WorkFolder(tmp_path / "work", str(archive))
    folder.copy_archive(archive, [])
    assert taken(folder.path) == sorted(REPORTS)
    assert (folder.path / "data" / REPORTS[0]).read_text() == REPORTS[0]


def test_packed_reports_are_unpacked_once(tmp_path):
    packed = make_files(tmp_path / "packed", *REPORTS)
    (tmp_path / "archive").mkdir()
    pack(tmp_path / "archive" / "noaa.tar.xz", packed, *REPORTS)
    folder = WorkFolder(tmp_path / "work", "a")
    folder.copy_archive(tmp_path / "archive", [])
    assert taken(folder.path) == sorted(REPORTS)
    first, second = (folder.path / "data" / name for name in REPORTS)
    first.write_text("x" * len(REPORTS[0]))  # of the same size: it stays
    second.write_text("cut off")
    folder.copy_archive(tmp_path / "archive", [])
    assert first.read_text() == "x" * len(REPORTS[0])
    assert second.read_text() == REPORTS[1]


def test_packed_years_are_copied_as_they_are(tmp_path):
    archive = make_files(tmp_path / "archive", "2030_SRS.tar.gz", "2031_SRS.tar.gz", "2030_events.tar.gz")
    folder = WorkFolder(tmp_path / "work", "a")
    folder.copy_archive(archive, [])
    assert taken(folder.path) == ["Events/2030_events.tar.gz", "SRS/2030_SRS.tar.gz", "SRS/2031_SRS.tar.gz"]


@pytest.mark.parametrize(("names", "message"), [
    (["a.txt"], "expected SRS in .*archive', found nothing; NOAA's reports are at"),
    ([REPORTS[0]], "expected Events in .*, found nothing"),
    (REPORTS, "expected active_regions in .*, found nothing; name the folder that holds active_regions, SRS and Ev"),
    (["noaa/SRS/a", "noaa/Events/b"], "expected SRS in .*; it is in '.*noaa': name that folder"),
    (["noaa.tar.xz", "active_regions/9001/a"], "noaa.tar.xz' cannot be unpacked"),
])
def test_an_archive_of_another_shape_is_refused_in_one_line(tmp_path, names, message):
    archive = make_files(tmp_path / "archive", *names)
    folder = WorkFolder(tmp_path / "work", str(archive))
    with pytest.raises(UserError, match=message) as caught:
        folder.copy_archive(archive, ["active_regions"])
    assert "\n" not in str(caught.value)
    assert not taken(folder.path), "nothing is copied before all is there"
    WorkFolder(tmp_path / "work", "the right one")


def test_a_packed_file_without_the_folders_is_refused(tmp_path):
    pack(make_files(tmp_path / "archive", "a.txt") / "all.tar.gz", tmp_path / "archive", "a.txt", mode="w:gz")
    with pytest.raises(UserError, match="expected a folder SRS in .*all.tar.gz', found none; unpack it"):
        WorkFolder(tmp_path / "work", "a").copy_archive(tmp_path / "archive", [])


def test_a_folder_takes_one_archive_only(tmp_path):
    for archive in ("a mistyped one", *["the right one\udcff"] * 2):  # nothing was copied; a path need not be UTF-8
        WorkFolder(tmp_path, archive)
    (tmp_path / "data" / "ARList.txt").write_text("1158,20110213,1\n")
    with pytest.raises(UserError, match="holds data and results of the right one.*, not of another; name"):
        WorkFolder(tmp_path, "another")
    (tmp_path / "archive.txt").unlink()
    with pytest.raises(UserError, match="of an archive that is not noted, not of another"):
        WorkFolder(tmp_path, "another")
    with pytest.raises(UserError, match="cannot be written: folder .*ARList.txt"):
        WorkFolder(tmp_path / "data" / "ARList.txt", "another")
