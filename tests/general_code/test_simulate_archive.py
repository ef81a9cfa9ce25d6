"""The simulated archive: files as the real archives have them, and the same every time."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from general_code import simulate_archive
from general_code.images.magnetograms import read_magnetogram
from general_code.images.names import parse_image_names
from general_code.simulate_archive import UserDefinitions
from general_code.simulator import sun
from general_code.stage.files import UserError

SMALL = {"n_regions": 2, "n_days": 4, "cadence_hours": 24.0, "n_jobs": 1}


@pytest.fixture(scope="module", autouse=True)
def coarse_maps():
    """Let the flares of a region take a thousandth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sun, "MAP_STEP_DEG", 0.5)
        yield


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A small archive."""
    folder = tmp_path_factory.mktemp("archive")
    simulate_archive.main(UserDefinitions(archive_dir=folder, **SMALL))
    return folder


def test_images_are_as_the_service_delivers_them(archive):
    images = sorted((archive / "active_regions").glob("*/*.fits"))
    assert len(images) >= 3
    assert set(parse_image_names([path.name for path in images])["camera"]) == {3}
    for path in images[:4]:
        field = read_magnetogram(path)
        assert field.shape == (600, 600)
        tenths = field[np.isfinite(field)] * 10
        np.testing.assert_allclose(tenths, np.rint(tenths), atol=1e-6)


def test_reports_have_noaas_columns(archive):
    summaries = sorted(archive.glob("SRS/2030_SRS/*SRS.txt"))
    assert [path.name for path in summaries] == ["20300101SRS.txt", "20300102SRS.txt", "20300104SRS.txt"]
    assert "I.  Regions with Sunspots.  Locations Valid at 31/2400Z\n" in summaries[0].read_text()
    rows = [line for path in summaries for line in path.read_text().splitlines() if re.match(r"\d{4} [NS]", line)]
    assert rows
    for row in rows:
        assert re.fullmatch(r"\d{4} [NS]\d\d[EW]\d\d   \d{3}  \d{4} [A-Z][a-z]{2}  \d\d   \d\d [A-Z][A-Za-z-]+", row)
    assert len(list(archive.glob("Events/2030_events/*events.txt"))) == 4


def test_the_same_settings_make_the_same_archive_and_a_second_run_has_nothing_to_do(archive, tmp_path, capsys):
    simulate_archive.main(UserDefinitions(archive_dir=tmp_path, **SMALL))
    names = sorted(path.relative_to(archive) for path in archive.rglob("*.fits"))
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.fits"))
    assert all((archive / name).read_bytes() == (tmp_path / name).read_bytes() for name in names[:3])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.fits")}
    simulate_archive.main(UserDefinitions(archive_dir=tmp_path, **SMALL))
    assert "nothing to do" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.fits")}


def test_other_settings_replace_an_archive_but_never_somebody_elses(archive, tmp_path):
    small = SMALL | {"n_regions": 1, "n_days": 2}
    simulate_archive.main(UserDefinitions(archive_dir=tmp_path, **small))
    simulate_archive.main(UserDefinitions(archive_dir=tmp_path, **(small | {"first_date": "20310101"})))
    assert [path.name for path in (tmp_path / "SRS").iterdir()] == ["2031_SRS"]
    observed = tmp_path / "data" / "SRS" / "20110213SRS.txt"
    observed.parent.mkdir(parents=True)
    observed.write_text("as NOAA wrote it")
    with pytest.raises(SystemExit, match="data/SRS' was not written by simulate_archive.*name another folder"):
        simulate_archive.main(UserDefinitions(archive_dir=tmp_path / "data", **small))
    assert observed.read_text() == "as NOAA wrote it"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["SRS"]


@pytest.mark.parametrize(("wrong", "message"), [
    ({"n_regions": 0}, "n_regions: expected a number from 1, got 0"),
    ({"cadence_hours": 0.0}, "cadence_hours: expected a number from 0.2, got 0.0"),
    ({"first_date": "20300230"}, "first_date: there is no date 20300230")])
def test_settings_that_make_no_archive(tmp_path, wrong, message):
    with pytest.raises(UserError, match=message):
        UserDefinitions(archive_dir=tmp_path, **(SMALL | wrong))


def test_a_date_that_file_names_cannot_have_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="first_date: expected a year from 1000 to 9900"):
        simulate_archive.main(UserDefinitions(archive_dir=tmp_path, **(SMALL | {"first_date": "99991230"})))


def test_it_runs_anywhere_without_a_home_and_with_a_notebooks_backend(tmp_path):
    environment = {"PATH": os.environ["PATH"], "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    command = [sys.executable, simulate_archive.__file__, "--archive-dir", "run[1]/a$HOME Übung", "--n-regions", "1",
               "--n-days", "2", "--cadence-hours", "24", "--n-jobs", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "run[1]" / "a$HOME Übung").glob("active_regions/9001/*.fits"))) >= 2
