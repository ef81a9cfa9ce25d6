"""Lists of a draw as files: written when the run is done, replacing only what an earlier run noted as its own."""

import json
import re

import numpy as np
import pytest

from general_code.drawn_lists import drawn_list_files, write_drawn_lists
from general_code.region_splits import draw_region_split, read_region_list, read_region_lists
from general_code.stage_files import UserError

NAMES = {"test": "test.csv", "validation": "Validation_data.csv", "training": "train.csv"}


@pytest.fixture
def draws():
    """Two draws of the same regions."""
    regions = np.arange(1000, 1100).astype(str)
    return [draw_region_split(regions, np.arange(100) < 30, seed=seed) for seed in (1, 2)]


def test_drawn_lists_replace_only_what_a_sidecar_names(tmp_path, draws):
    first, second = draws
    files = drawn_list_files(first, tmp_path, NAMES, tmp_path / "stats.txt")
    assert not list(tmp_path.iterdir()), "a run that fails later leaves no lists"
    digests = write_drawn_lists(files)
    assert read_region_lists(*(tmp_path / name for name in NAMES.values())) == first
    assert drawn_list_files(first, tmp_path, NAMES, tmp_path / "stats.txt") == files  # equal content needs no sidecar
    refusal = re.escape("exists and was not drawn for 'stats.txt'")
    with pytest.raises(UserError, match=refusal):
        drawn_list_files(second, tmp_path, NAMES, tmp_path / "stats.txt")
    (tmp_path / "stats.txt.json").write_text(json.dumps({"counts": {"drawn_lists": digests}}))
    write_drawn_lists(drawn_list_files(second, tmp_path, NAMES, tmp_path / "stats.txt"))
    assert read_region_list(tmp_path / "test.csv") == second.test
    with pytest.raises(UserError, match=refusal):  # the sidecar names the first draw, not this content
        drawn_list_files(first, tmp_path, NAMES, tmp_path / "stats.txt")
