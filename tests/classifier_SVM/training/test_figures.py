"""What features contribute: sums, signs, and the bars of the largest."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from classifier_SVM.training import figures
from classifier_SVM.training.classifiers import decision_values
from classifier_SVM.training.training_rows import Rows

LINEAR = SimpleNamespace(coef_=np.array([[2.0, -1.0, 0.0]]), intercept_=np.array([0.3]))


def test_effects_of_a_linear_classifier_by_hand_and_their_means_add_up():
    assert figures.feature_effects(LINEAR, np.array([[1.0, 2.0, 3.0]]), np.full(3, 0.5)).tolist() == [[1.0, -1.5, 0.0]]
    values, classes = np.random.default_rng(0).random((40, 3)), np.arange(40) % 2
    effects = figures.mean_effects(LINEAR, values, classes, values.mean(axis=0))
    scores = decision_values(LINEAR, values)
    assert effects.sum() == pytest.approx(scores[classes == 1].mean() - scores[classes == 0].mean())
    assert effects[2] == 0
    assert np.isnan(figures.mean_effects(LINEAR, np.ones((4, 3)), np.zeros(4, int), np.zeros(3))).all(), "one class"


def test_bars_are_the_largest_in_order():
    ax = figures.plot_effects(Figure().subplots(), ("a", "b", "c"), np.array([0.1, -3.0, 2.0]), most=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"]
    assert [bar.get_width() for bar in ax.patches] == [-3.0, 2.0]
    assert figures.plot_effects(Figure().subplots(), ("a",), np.array([np.nan])).get_xlim() == (-1, 1)


@pytest.mark.parametrize("classes", [[0, 1] * 5, [0] * 10])
def test_figure_is_written_also_for_one_class(tmp_path, classes):
    labels = pd.DataFrame({"region": ["1"] * 10, "class": classes})
    rows = Rows(np.random.default_rng(0).random((10, 3)), labels, (), ("a", "b", "c"))
    figures.write_weight_figure(tmp_path / "w.png", LINEAR, rows, np.full(3, 0.5), "linear SVM")
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")
