"""The figures of docs/features.md, and the numbers that stand there beside them."""

import importlib
import re
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"
LARGEST_FILE = 250_000  # bytes


def test_the_figures_and_numbers_of_the_features(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(DOCS)
    script = importlib.import_module("make_figures")
    script.main(script.UserDefinitions(docs_dir=tmp_path, example_dir=""))
    drawn = sorted(path.name for path in tmp_path.glob("*.png"))
    assert drawn == sorted(path.name for path in DOCS.glob("features_*.png"))
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as new, Image.open(DOCS / path.name) as shown:
            assert new.size == shown.size and new.width == script.COLUMNS
    computed = {row[0]: row[2:] for row in (re.split(r" *\| *", line.strip())
                                            for line in capsys.readouterr().out.splitlines()[:29])}
    text = (DOCS / "features.md").read_text()
    stated = re.findall(r"^\| (\d+) \|.*\| ([-\d.,e]+) \| ([-\d.,e]+) \|$", text, re.MULTILINE)
    assert len(stated) == 19, "all but the ten in two rows of five"
    for number, *values in stated:
        for value, here in zip(values, computed[number], strict=True):
            assert float(value.replace(",", "")) == pytest.approx(float(here), rel=0.02, abs=0.06), number


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.png")), ids=lambda path: path.name)
def test_figures_of_the_pages_are_small_and_used(path):
    assert path.stat().st_size <= LARGEST_FILE
    pages = "".join(page.read_text() for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"])
    assert path.name in pages
