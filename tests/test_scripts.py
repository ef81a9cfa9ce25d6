"""Every script as a user starts it: from another folder, with --help, and where its input is not."""

import ast
import importlib
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from general_code.stage.files import UserError

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
    assert result.stdout.startswith(ast.parse(script.read_text()).body[0].value.value), "the docstring as it stands"
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
    assert "class UserDefinitions(Settings):" in block
    for line in block.splitlines():
        if re.match(r"    \w+: ", line):
            assert re.fullmatch(r"    \w+: .+ = .+  # (?!(of|or|and|likewise) ).+", line), f"{script.name}: {line}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_setting_is_used(script):
    code = script.read_text().split("\n## End User Definitions\n")[1]
    for name in re.findall(r"^    (\w+): ", settings_block(script), flags=re.MULTILINE):
        used = rf"\buser\.{name}\b|[\"']{name}[\"']|\buser\.model_dump\b|\bdict\(user\)"
        assert re.search(used, code), f"{script.name}: setting {name} does nothing"


def definitions(script):
    """Return the class of a script's settings."""
    return importlib.import_module(f"{script.parent.name}.{script.stem}").UserDefinitions


def edits(field):
    """Return (edited value, what it means) for the kinds of values that users write in a block."""
    if field.annotation is Path:
        ending = Path(str(field.default)).suffix  # some outputs need theirs
        names = [f"data/x{ending}", f"run[1] a$HOME ü{ending}"]
        return [*((name, Path(name)) for name in names), (f"~/x{ending}", Path.home() / f"x{ending}")]
    if field.annotation is bool:
        return [("False", False), ("True", True), (0, False)]
    if field.annotation is int:
        return [("4", 4), (4.0, 4)]
    if field.annotation is float:
        return [("4.5", 4.5), (4, 4.0)]
    if get_origin(field.annotation) is Literal:
        return [(choice, choice) for choice in get_args(field.annotation)]
    return []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_user_may_write_in_the_block_means_what_it_says(script):
    settings = definitions(script)
    for name, field in settings.model_fields.items():
        for edited, meant in edits(field):
            value = getattr(settings(**{name: edited}), name)
            assert (value, type(value)) == (meant, type(meant)), f"{name} = {edited!r}"
        if get_origin(field.annotation) is tuple:
            listed = getattr(settings(), name)
            assert getattr(settings(**{name: [str(item) for item in listed]}), name) == listed
            if any(getattr(limit, "min_length", 0) for limit in field.metadata):
                with pytest.raises(UserError, match=f"^{name}: expected a list of at least 1, got"):
                    settings(**{name: ""})
            else:
                assert getattr(settings(**{name: ""}), name) == ()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_cannot_be_meant_in_the_block_is_one_line(script):
    settings = definitions(script)
    wrong = {Path: [5, True, "a\0b"], bool: ["maybe", 7], int: ["many", 1.5, "", None, True, 10**30],
             float: ["wide", math.nan, "", None, True, 1e30], str: [True, ["a"], "a\0b"]}
    for name, field in settings.model_fields.items():
        choice = get_origin(field.annotation) is Literal
        listed = get_origin(field.annotation) is tuple
        for value in ["no such choice"] if choice else [{"a": 1}] if listed else wrong.get(field.annotation, []):
            with pytest.raises(UserError, match=f"^{name}: .*expected") as caught:
                settings(**{name: value})
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 300


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_no_number_of_things_may_be_negative(script):
    settings = definitions(script)
    for name, field in settings.model_fields.items():
        if field.annotation in (int, float):
            with pytest.raises(UserError, match=f"^{name}: expected .*got '?-7"):
                settings(**{name: -7})


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_wrong_edit_of_the_file_itself_is_one_line(script, tmp_path):
    """The block is edited in a copy of the script, beside links to the rooms."""
    for folder in ("general_code", "classifier_SVM", "classifier_VGG"):
        (tmp_path / folder).mkdir()
        for place in (REPOSITORY / folder).iterdir():
            if place.name != "__pycache__":
                (tmp_path / folder / place.name).symlink_to(place)
    copy = tmp_path / script.parent.name / script.name
    copy.unlink()
    first = re.search(r"^    (\w+): (\w+) = .+?  #", settings_block(script), flags=re.MULTILINE)
    copy.write_text(script.read_text().replace(first[0], f"    {first[1]}: {first[2]} = {{'a': 1}}  #", 1))
    result = run(copy, folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{script.stem}: {first[1]}: expected ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_header_tells_what_is_read_written_and_how_to_start(script):
    header = ast.get_docstring(ast.parse(script.read_text()))
    for word in ("Reads", "Writes", "Usage", f"python {script.parent.name}/{script.name}"):
        assert word in header, f"{script.name}: no {word}"
    assert 'main(command_line(UserDefinitions, __doc__))' in script.read_text()


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
