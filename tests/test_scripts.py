"""Every script as a user starts it: from another folder, with --help, and where its input is not."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path for folder in ("general_code", "classifier_SVM", "classifier_VGG")
                 for path in (REPOSITORY / folder).glob("*.py") if "\n## User Definitions\n" in path.read_text())
STAGES = ("SRS_Parse", "JSOC_Driver", "generate_dataset", "BuildMasterFeatureSet_mp", "AR_Classifier_weighted",
          "Build_keras_dataframe_files", "VGG_transfer_learning")
NEEDS_NO_INPUT = ("simulate_archive", "simulate_jsoc", "run_example")


def run(script, *arguments, folder):
    """Start a script as a user does."""
    return subprocess.run([sys.executable, script, *arguments], cwd=folder, capture_output=True, text=True, timeout=120,
                          env=os.environ | {"COLUMNS": "120"})


def settings_block(script):
    """Return the text between the two markers."""
    return script.read_text().split("\n## User Definitions\n")[1].split("\n## End User Definitions\n")[0]


def test_all_stages_are_here():
    assert {path.stem for path in SCRIPTS} >= set(STAGES)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_shows_every_setting_with_its_comment(script, tmp_path):
    result = run(script, "--help", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    shown = " ".join(re.sub(r"[^\w ]", " ", result.stdout).split())
    for line in settings_block(script).splitlines():
        setting = re.match(r"    (\w+): .*  # (.+)$", line)
        if setting:
            assert f"--{setting[1].replace('_', '-')}" in result.stdout
            words = re.sub(r"[^\w ]", " ", setting[2]).split()
            assert " ".join(words[:3]) in shown, f"--help does not show the comment of {setting[1]}"
    assert not list(tmp_path.iterdir()), "--help writes nothing"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_settings_are_one_line_each_with_a_comment(script):
    block = settings_block(script)
    assert "@dataclass(frozen=True)\nclass UserDefinitions:" in block
    for line in block.splitlines():
        if re.match(r"    \w+: ", line):
            assert re.fullmatch(r"    \w+: .+ = .+  # .+", line), f"{script.name}: {line}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_setting_is_used(script):
    text = script.read_text()
    modules = re.findall(r"^from ((?:general_code|classifier_\w+)\.\w+) import", text, flags=re.MULTILINE)
    used_in = text + "".join((REPOSITORY / f"{name.replace('.', '/')}.py").read_text() for name in modules)
    for name in re.findall(r"^    (\w+): ", settings_block(script), flags=re.MULTILINE):
        assert re.search(rf"\buser\.{name}\b|\bvars\(user\)", used_in), f"{script.name}: setting {name} does nothing"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_header_tells_what_is_read_written_and_how_to_start(script):
    header = ast.get_docstring(ast.parse(script.read_text()))
    for word in ("Reads", "Writes", "Usage", f"python {script.parent.name}/{script.name}"):
        assert word in header, f"{script.name}: no {word}"
    assert 'main(tyro.cli(UserDefinitions, description=__doc__))' in script.read_text()


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.stem not in NEEDS_NO_INPUT],
                         ids=lambda path: path.stem)
def test_in_an_empty_folder_a_script_says_in_one_line_what_is_missing(script, tmp_path):
    result = run(script, folder=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith(f"{script.stem}: ")
    assert len(message) > 40


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_setting_that_does_not_exist_is_refused(script, tmp_path):
    result = run(script, "--no-such-setting", "1", folder=tmp_path)
    assert result.returncode == 2
    assert "no-such-setting" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
