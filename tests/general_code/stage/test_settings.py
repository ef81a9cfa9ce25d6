"""Edited blocks and flags: what can be meant is converted, what cannot is one line."""

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import PositiveFloat, PositiveInt

from general_code.stage.files import UserError, is_set
from general_code.stage.run import Jobs, OptionalPath, Percent, Seed, Settings, Suffix, command_line


class UserDefinitions(Settings):
    image_dir: Path = "data/images"  # a folder
    events_dir: OptionalPath = "data/Events"  # a folder; "": none
    n_jobs: Jobs = -1  # workers
    epochs: PositiveInt = 5  # passes
    width_deg: PositiveFloat = 60.0  # width [deg]
    test_percent: Percent = 10.0  # share [%]
    as_published: bool = False  # a switch
    image_format: Literal["fits", "png"] = "fits"  # a choice
    ar_numbers: tuple[str, ...] = ()  # a list of texts
    images: tuple[Path, ...] = ()  # a list of paths
    first_date: str = ""  # a date
    suffix: Suffix = ""  # added to names
    seed: Seed = 0  # of draws


HOME = Path.home()


@pytest.mark.parametrize(("name", "edited", "meant"), [
    ("image_dir", "data/x", Path("data/x")), ("image_dir", "~/x", HOME / "x"), ("image_dir", Path("~/x"), HOME / "x"),
    ("image_dir", ".", Path(".")), ("image_dir", "run[1] a$HOME ü", Path("run[1] a$HOME ü")),
    ("events_dir", "", Path("")), ("events_dir", None, Path("")), ("events_dir", Path(""), Path("")),
    ("events_dir", "~", HOME), ("n_jobs", "4", 4), ("n_jobs", "-1", -1), ("n_jobs", 2.0, 2), ("epochs", " 7 ", 7),
    ("width_deg", "30", 30.0), ("width_deg", 30, 30.0), ("as_published", "False", False), ("as_published", "yes", True),
    ("as_published", 0, False), ("image_format", "png", "png"), ("ar_numbers", ["1158", "1166"], ("1158", "1166")),
    ("ar_numbers", "1158", ("1158",)), ("ar_numbers", 11158, ("11158",)), ("ar_numbers", [1158], ("1158",)),
    ("ar_numbers", "", ()), ("ar_numbers", [], ()), ("images", ["~/a", "b"], (HOME / "a", Path("b"))),
    ("images", "a.fits", (Path("a.fits"),)), ("first_date", 20140101, "20140101"), ("suffix", "_M1.0", "_M1.0"),
    ("epochs", 10**10, 10**10),
])
def test_an_edited_value_means_what_it_says(name, edited, meant):
    value = getattr(UserDefinitions(**{name: edited}), name)
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(("name", "edited", "message"), [
    ("image_dir", "", 'image_dir: expected a path, got ""'), ("image_dir", 5, "image_dir: expected a path, got 5"),
    ("image_dir", None, "image_dir: expected a path, got None"),
    ("n_jobs", 0, r"n_jobs: expected -1 \(all cores\) or a number from 1 to 4096, got 0"),
    ("images", [""], 'images: expected a path, got ""'),
    ("images", ["x", ""], r"images: expected text without empty entries or zero bytes, got \['x', ''\]"),
    ("suffix", "a\nb", r"suffix: expected letters that a file name may have, got 'a\\nb'"),
    ("n_jobs", "all", "n_jobs: expected a whole number, got 'all'"),
    ("epochs", 0, "epochs: expected a number above 0, got 0"), ("epochs", 2.5, "epochs: expected a whole number"),
    ("width_deg", -1, "width_deg: expected a number above 0, got -1"),
    ("width_deg", 1e15, r"width_deg: expected a number between -1e\+12 and 1e\+12, got 1000"),
    ("seed", 2**31, "seed: expected a number up to 2147483647, got 2147483648"),
    ("width_deg", math.nan, "width_deg: expected a finite number, got nan"),
    ("width_deg", "wide", "width_deg: expected a number, got 'wide'"),
    ("test_percent", 100, "test_percent: expected a number below 100, got 100"),
    ("as_published", "maybe", "as_published: expected True or False, got 'maybe'"),
    ("as_published", 2, "as_published: expected True or False, got 2"),
    ("image_format", "jpg", "image_format: expected one of fits, png, got 'jpg'"),
    ("ar_numbers", {"1158": 1}, "ar_numbers: expected a list, got"),
    ("first_date", True, "first_date: expected text, got True"),
    ("suffix", "a/b", "suffix: expected letters that a file name may have, got 'a/b'"),
    ("no_such", 1, "no_such: there is no such setting; the settings are image_dir, "),
])
def test_a_value_that_cannot_be_meant_is_one_line(name, edited, message):
    with pytest.raises(UserError, match=f"^{message}") as caught:
        UserDefinitions(**{name: edited})
    assert "\n" not in str(caught.value)


def test_the_folder_that_one_stands_in_is_not_the_empty_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert UserDefinitions(events_dir=".").events_dir == tmp_path
    assert [is_set(UserDefinitions(events_dir=path).events_dir) for path in ("", "data", "/")] == [False, True, True]


def test_settings_cannot_be_changed_but_copied_with_changes():
    user = UserDefinitions(epochs=3)
    with pytest.raises(UserError, match="epochs: expected"):
        user.changed(epochs=-1)
    assert user.changed(n_jobs=2) == UserDefinitions(epochs=3, n_jobs=2)
    assert pickle.loads(pickle.dumps(user)) == user
    with pytest.raises(ValueError, match="frozen"):
        user.epochs = 4


def test_a_setting_that_was_removed_is_named():
    with pytest.raises(UserError, match="n_workers: this setting is missing in the User Definitions"):
        _ = UserDefinitions().n_workers


@pytest.mark.parametrize("flag", ["--epochs=0", "--image-format=jpg", "--n-jobs=x", "--width-deg=nan", "--image-dir="])
def test_flags_and_the_block_are_refused_alike(flag, monkeypatch):
    name, text = flag.removeprefix("--").split("=")
    with pytest.raises(UserError) as edited:
        UserDefinitions(**{name.replace("-", "_"): text})
    monkeypatch.setattr(sys, "argv", ["Script.py", flag])
    with pytest.raises(SystemExit) as typed:
        command_line(UserDefinitions, "A script.")
    assert str(typed.value) == f"Script: {edited.value}"


def test_flags_override_the_block(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["S.py", "--ar-numbers", "1158", "1166", "--events-dir", "", "--as-published"])
    expected = UserDefinitions(ar_numbers=("1158", "1166"), events_dir="", as_published=True)
    assert command_line(UserDefinitions, "A script.") == expected


def test_lists_and_paths_are_understood_without_their_type():
    class Edited(Settings):
        ar_numbers = ["1158", 1166]
        images = "~/a.fits"
        events_dir = ""
        srs_dir = "~/SRS"

    user = Edited()
    assert (user.ar_numbers, user.images, user.srs_dir) == (("1158", "1166"), (HOME / "a.fits",), HOME / "SRS")
    assert user.noted() == {"ar_numbers": ("1158", "1166"), "events_dir": "", "srs_dir": HOME / "SRS",
                            "images": (HOME / "a.fits",)}


@pytest.mark.parametrize(("line", "message"), [
    ("resume: bool = yes", "User Definitions, line 5: yes is not known; expected True or False, a number, or text in"),
    ("image_dir: str = data", "User Definitions, line 5: data is not known; expected True or False, a number, or text"),
    ("image_format = 'jpg'", "image_format: expected a line `name: type = value`, got no type; write the setting"),
    ("njobs = -1", "njobs: expected a line `name: type = value`, got no type; did you mean n_jobs? write the setting"),
    ("njobs: int = -1", "n_jobs: this setting is missing in the User Definitions; is it the line `njobs`? put its"),
    ("number: int = -1", "n_jobs: this setting is missing in the User Definitions; put its line back (found number)")])
def test_a_choice_without_its_type_and_a_misspelt_setting_are_one_line(tmp_path, line, message):
    script = tmp_path / "Script.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(Path(__file__).resolve().parents[3])!r})\n"
                      "from general_code.stage.run import Settings, command_line\n"
                      f"class UserDefinitions(Settings):\n    {line}\n## End User Definitions\n"
                      "command_line(UserDefinitions, 'A script.')\ndef main(user):\n    print(user.n_jobs)\n")
    result = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"Script: {message}")
