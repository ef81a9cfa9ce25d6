"""What the figures show: the drawn values, and words where a value is not defined."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from general_code import skill_figures as sf
from general_code.skill_figures import save_figure
from general_code.stage_files import UserError


def axes():
    return Figure().subplots()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_scores_are_drawn_with_intervals_and_words():
    good = {"TSS": 0.5, "HSS": np.nan, "intervals": {"TSS": (0.4, 0.6), "HSS": (np.nan, np.nan)}}
    ax = sf.plot_scores(axes(), {"SVM": good, "persistence 24 h": "not available"})
    assert any(np.array_equal(line.get_xdata(), [0.4, 0.6]) for line in ax.lines)
    assert "0.500" in texts(ax) and "HSS not defined" in texts(ax) and "not available" in texts(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SVM", "persistence 24 h"]


def test_roc_curve_area_and_points():
    ax = sf.plot_roc(axes(), {"SVM": ([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8]), "none": ([0, 0], [1.0, 2.0])},
                     {"rule": (0.7, 0.8), "empty": (np.nan, 0.5)})
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "SVM (area 1.000)" in legend and "none (area not defined)" in legend
    assert "rule" in legend and "empty" not in legend


def test_reliability_shows_counts_and_says_when_there_is_nothing():
    ax = sf.plot_reliability(axes(), [0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], climatology=0.2)
    assert texts(ax) == ["2", "2"]
    assert np.array_equal(ax.lines[2].get_ydata(), [0.5, 1.0])
    assert all(text.get_path_effects() for text in ax.texts), "counts stand out from the lines"
    ax = sf.plot_reliability(axes(), [0, 1], [np.nan, np.nan])
    assert texts(ax) == ["no probabilities: calibration not defined"]


def test_saved_figures_are_equal_byte_for_byte(tmp_path):
    for name in ("a.png", "b.png"):
        figure = Figure()
        sf.plot_roc(figure.subplots(), {"SVM": ([0, 1], [0.1, 0.9])})
        sf.save_figure(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_figure_without_a_suffix_is_a_png_and_a_foreign_one_is_refused(tmp_path):
    figure = Figure()
    save_figure(figure, tmp_path / "scores")
    assert (tmp_path / "scores").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="no format of figures is called 'txt'"):
        save_figure(figure, tmp_path / "scores.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]
