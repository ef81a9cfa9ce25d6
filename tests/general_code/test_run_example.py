"""The commands of the example, and of the archive experiment: valid, readable on one screen, and all that is done."""

import importlib
import re
import shlex
import subprocess

import pytest
import tyro

from general_code import archive_experiment, run_example
from general_code.run_example import DOWNLOADED, UserDefinitions
from general_code.stage.work_folder import WorkFolder

COMMANDS = [run_example.SIMULATE, run_example.SERVE.format(port=1), run_example.PARSE_SIMULATED, run_example.PARSE,
            run_example.DOWNLOAD.format(url="http://127.0.0.1:1"), *run_example.LABEL_AND_CLASSIFY,
            *run_example.NETWORK_ON_PNG, *run_example.NETWORK_ON_FITS, *run_example.WITH_ACTIVITY, run_example.REPORT,
            archive_experiment.PARSE,
            *(command for table in archive_experiment.TABLES for command in table.commands(12))]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_settings_that_the_script_knows(command):
    script, *settings = shlex.split(command)
    stage = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    tyro.cli(stage.UserDefinitions, default=stage.UserDefinitions(), args=settings)


@pytest.fixture
def commands_run(monkeypatch):
    """Let commands be noted and printed in place of being run; a simulated archive is made of names alone."""
    noted = []

    def note(folder, commands):
        for command in commands:
            folder.show_script(command)
            noted.append(command)
            if command == run_example.SIMULATE:
                images = [f"active_regions/{region}/hmi.M_720s.20300101_000000_TAI.3.magnetogram.fits"
                          for region in range(9001, 9037)]
                for name in ("SRS/2030_SRS/20300101SRS.txt", "Events/20300101events.txt", *images):
                    path = folder.path / "data" / "simulated_archive" / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(name)

    monkeypatch.setattr(WorkFolder, "run", note)
    return noted


def test_all_that_is_done_is_a_command_that_is_shown(tmp_path, commands_run, monkeypatch, capsys):
    serve = run_example.SERVE.replace("--srs-dir data/simulated_archive/SRS ", "")  # the summaries here are names alone
    monkeypatch.setattr(run_example, "SERVE", serve)
    run_example.main(UserDefinitions(work_dir=tmp_path))
    out = capsys.readouterr().out
    shown = [line for line in out.splitlines() if line.startswith("$ ")]
    assert len(shown) == len(commands_run) + 5 <= 25, "one screen"
    assert [line.split()[1] for line in shown if "python" not in line] == ["mkdir", "cp", "mkdir", "kill"]
    assert any("simulate_jsoc.py" in line and line.endswith(" &") for line in shown)
    copied = sorted(path.name for path in (tmp_path / "data" / "active_regions").iterdir())
    assert copied == [str(region) for region in range(9001, 9037) if str(region) not in DOWNLOADED]
    listed = subprocess.run(["bash", "-c", f"shopt -s nullglob; echo {run_example.OTHERS}"], cwd=tmp_path,
                            capture_output=True, text=True, check=True).stdout.split()
    assert sorted(name[-4:] for name in listed) == copied, "the pattern means the same regions"
    told, results, end = out.split("\n\n")[-3:]
    assert told.startswith("Each step above is a command")
    assert results.startswith("The pipeline ran from region summaries to forecasts in")
    assert re.fullmatch(r"What they mean:\n- The Sun of this run is simulated.*\n- VGG16 ran with random weights.*\n"
                        r"All of it on one page, for a browser: .*report\.html\n", end)


@pytest.mark.parametrize(("low", "end"), [
    (0.1, "image features and both significantly above it."), (-0.1, "none significantly above it."),
    ("not defined", "12 regions are too few to tell which is better.")])
def test_a_sentence_says_who_is_better(low, end):
    test = {"regions": 12, "forecasts": {"SVM": {"TSS": 0.6}, "persistence": {"TSS": 0.5}, "climatology": {"TSS": 0.9},
                                         "rate": "not available"},
            "differences": {"rate": "not available", "persistence": {"intervals": {"TSS": [low, 0.2]}}}}
    assert run_example.comparison_with_rules({"image features": test, "both": test}) == (
        "TSS of the linear SVM on the test images: 0.600 from image features, 0.600 from both; the best simple "
        f"rule, persistence, reaches 0.500; {end}")


def test_an_archive_of_the_user_is_copied_and_not_downloaded(tmp_path, commands_run, monkeypatch):
    archive = tmp_path / "a$HOME Übung"
    for name in ("SRS/a.txt", "Events/b.txt", "active_regions/1158/c.fits"):
        (archive / name).parent.mkdir(parents=True)
        (archive / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    run_example.main(UserDefinitions(work_dir="run[1]", archive=archive.name))
    run_example.main(UserDefinitions(work_dir="run[1]", archive=archive))
    assert (tmp_path / "run[1]" / "archive.txt").read_text(encoding="utf-8") == f"{archive}\n"
    assert (tmp_path / "run[1]" / "data" / "active_regions" / "1158" / "c.fits").is_file()
    assert not any("simulate" in command or "JSOC_Driver" in command for command in commands_run)
    with pytest.raises(SystemExit, match=r"holds data and results of .*Übung, not of a simulated archive; name"):
        run_example.main(UserDefinitions(work_dir="run[1]"))
