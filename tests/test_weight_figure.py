"""What features contribute: sums, signs, and the bars of the largest."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from classifier_SVM import weight_figure as wf
from classifier_SVM.machines import LinearMachine
from classifier_SVM.training_rows import Rows

MACHINE = LinearMachine(np.array([2.0, -1.0, 0.0]), 0.3)


def test_effects_of_a_linear_machine_sum_to_the_difference_of_the_mean_decisions():
    rng = np.random.default_rng(0)
    values, classes = rng.random((40, 3)), np.arange(40) % 2
    effects = wf.mean_effects(MACHINE, values, classes, values.mean(axis=0))
    scores = MACHINE.decision_function(values)
    assert effects.sum() == pytest.approx(scores[classes == 1].mean() - scores[classes == 0].mean())
    assert effects[2] == 0


def test_one_class_has_no_effects():
    assert np.isnan(wf.mean_effects(MACHINE, np.ones((4, 3)), np.zeros(4, int), np.zeros(3))).all()


def test_bars_are_the_largest_in_order():
    ax = wf.plot_effects(Figure().subplots(), ("a", "b", "c"), np.array([0.1, -3.0, 2.0]), most=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"]
    assert [bar.get_width() for bar in ax.patches] == [-3.0, 2.0]


@pytest.mark.parametrize("classes", [[0, 1] * 5, [0] * 10])
def test_figure_is_written_also_for_one_class(tmp_path, classes):
    labels = pd.DataFrame({"region": ["1"] * 10, "class": classes})
    rows = Rows(np.random.default_rng(0).random((10, 3)), labels, (), ("a", "b", "c"))
    wf.write_weight_figure(tmp_path / "w.png", MACHINE, rows, np.full(3, 0.5), "linear SVM", 0)
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")
