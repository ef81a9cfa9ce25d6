"""The table and the figure at the end of stage 3."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from general_code.dataset_summary import (
    class_counts,
    plot_classes,
    plot_months,
    plot_positions,
    save_summary_figure,
    summary_table,
)

LABELS = np.array(["0", "0", "C1.0", "M9.9", "X10.0", "C2.0"])
REGIONS = np.array(["0001", "0002", "0001", "0001", "0003", "0001"])
TIMES = np.array(["2011-01-05", "2011-01-06", "2011-01-31", "2011-02-01", "2011-04-01", "2011-04-02"], "datetime64[s]")


def test_counts_by_letter():
    counts = class_counts(LABELS, REGIONS)
    assert counts["images"].to_dict() == {"0": 2, "C": 2, "M": 1, "X": 1}
    assert counts["regions"].to_dict() == {"0": 2, "C": 1, "M": 1, "X": 1}
    assert class_counts(np.array(["0"]), np.array(["0001"]))["images"].to_dict() == {"0": 1, "C": 0, "M": 0, "X": 0}
    assert list(class_counts(np.array(["B1.0"]), np.array(["0001"])).index) == ["0", "B", "C", "M", "X"]


def test_table():
    lines = summary_table(class_counts(LABELS, REGIONS), 3).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["no", "flare", "2", "33.33%", "2"], ["C", "2", "33.33%", "1"], ["M", "1", "16.67%", "1"],
        ["X", "1", "16.67%", "1"], ["all", "6", "100%", "3"]]
    assert len({len(line) for line in lines}) == 1


def test_months_are_stacked_to_the_number_of_images():
    ax = plot_months(Figure().subplots(), TIMES, LABELS)
    tops = np.max([patch.get_data().values for patch in ax.patches], axis=0)
    assert tops.tolist() == [3, 1, 0, 2]


def test_positions_and_classes():
    ax = plot_positions(Figure().subplots(), np.array([0.0, np.nan, 30.0]), np.array([0.0, np.nan, -30.0]))
    density = ax.images[0].get_array()
    assert density.sum() == 2
    rows, columns = np.nonzero(density.filled(0))
    assert columns.min() < 25 <= columns.max()  # east is left
    assert rows.max() > 34  # north is up
    assert "2 images" in ax.get_title()
    assert [bar.get_height() for bar in plot_classes(Figure().subplots(), class_counts(LABELS, REGIONS)).patches] == [
        2, 2, 1, 1]


@pytest.mark.parametrize("n", [1, 6])
def test_figure_is_the_same_bytes_each_time(tmp_path: Path, n):
    for name in ("a.png", "b.png"):
        save_summary_figure(tmp_path / name, TIMES[:n], np.zeros(n), np.linspace(-50, 50, n), LABELS[:n],
                            class_counts(LABELS[:n], REGIONS[:n]), "title")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 1000


def test_figure_without_any_position(tmp_path: Path):
    save_summary_figure(tmp_path / "a.png", TIMES, np.full(6, np.nan), np.full(6, np.nan), LABELS,
                        class_counts(LABELS, REGIONS), "title")
    assert (tmp_path / "a.png").exists()
