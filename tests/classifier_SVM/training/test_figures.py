"""What features contribute: sums, signs, and the bars of the largest."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from classifier_SVM.training import figures
from general_code.evaluation.report import save_figure

LINEAR = SimpleNamespace(coef_=np.array([[2.0, -1.0, 0.0]]), intercept_=np.array([0.3]))


class Product:
    """A classifier whose features work together: the decision value is the product of two of three."""

    def decision_function(self, values):
        return values[:, 0] * values[:, 1] - 1


def test_effect_of_one_deviation_by_hand():
    values = np.array([[0.0, 5.0, 1.0], [4.0, 1.0, 1.0]])  # standard deviations 2, 2, 0
    assert figures.effects_of_one_deviation(LINEAR, values).tolist() == pytest.approx([4.0, -2.0, 0.0])
    assert figures.effects_of_one_deviation(Product(), values).tolist() == pytest.approx([6.0, 4.0, 0.0])


def test_contributions_by_hand_and_their_sum():
    own, typical = np.array([1.0, 2.0, 3.0]), np.full(3, 0.5)
    base, added = figures.contributions(LINEAR, own, typical)
    assert (base, added.tolist()) == (pytest.approx(0.8), pytest.approx([1.0, -1.5, 0.0]))
    base, added = figures.contributions(Product(), np.array([3.0, 2.0, 7.0]), np.ones(3))
    assert base + added.sum() == pytest.approx(5) == Product().decision_function(np.array([[3.0, 2.0, 7.0]]))[0]
    assert added.tolist() == pytest.approx([3.0, 2.0, 0.0]), "mean over both orders: (2 + 4) / 2 and (1 + 3) / 2"


def test_the_bars_of_a_decision_add_up():
    added = np.array([0.1, -3.0, 2.0, 0.2])
    ax = figures.plot_contributions(Figure().subplots(), ("a", "b", "c", "d"), 0.5, added, most=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "mean training image", "b", "c", "the other 2 features", "this image"]
    ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
    assert ends == pytest.approx([0.5, -2.5, -0.5, -0.2, -0.2])
    assert [bar.get_x() for bar in ax.patches] == pytest.approx([0, 0.5, -2.5, -0.5, 0])
    ax = figures.plot_contributions(Figure().subplots(), ("a",), 0.5, np.array([0.5]), most=2)
    assert len(ax.patches) == 3, "no bar for no other features"


def test_bars_are_the_largest_in_order():
    ax = figures.plot_effects(Figure().subplots(), ("a", "b", "c"), np.array([0.1, -3.0, 2.0]), most=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"]
    assert [bar.get_width() for bar in ax.patches] == [-3.0, 2.0]
    assert figures.plot_effects(Figure().subplots(), ("a",), np.array([np.nan])).get_xlim() == (-1, 1)


def test_more_features_than_bars_are_said_and_names_are_words(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.append(figure))
    estimator = SimpleNamespace(coef_=np.ones((1, 50)), intercept_=np.zeros(1))
    names = tuple(f"log_flares_{i}" for i in range(50))
    figures.write_weight_figure(tmp_path, estimator, np.eye(50), names, "linear SVM")
    assert "the 40 largest of 50;" in drawn[0].get_suptitle()
    assert drawn[0].axes[0].get_yticklabels()[0].get_text().startswith("log flares ")


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_a_figure_has_the_same_bytes_in_every_run(tmp_path, ending):
    for name in ("one", "two"):
        figure = Figure()
        figures.plot_effects(figure.subplots(), ("a", "b"), np.array([0.1, -3.0]))
        save_figure(figure, tmp_path / f"{name}.{ending}")
        time.sleep(1.1 if ending == "pdf" else 0)  # PDF dates are of whole seconds
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
