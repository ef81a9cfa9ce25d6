"""The three classifiers: their plain form gives the same values, the draw is in proportion, effects add up."""

import json

import numpy as np
import pandas as pd
import pytest
from test_linear_svm import complexity_like_rows

from classifier_SVM import machines as mc

TREE = {"feature": [0, 0, 0], "threshold": [0.5, 0, 0], "left": [1, -1, -1], "right": [2, -1, -1], "value": [0, -1, 1]}


def test_a_tree_by_hand():
    machine = mc.machine_from_numbers({"kind": "trees", "baseline": 0.25, "trees": [TREE, TREE]})
    assert machine.decision_function(np.array([[0.4], [0.5], [0.6]])).tolist() == [-1.75, -1.75, 2.25]


@pytest.fixture(scope="module", params=list(mc.CLASS_TYPES))
def fitted(request):
    rows, classes = complexity_like_rows(600, columns=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(mc.BOOSTING, "max_iter", 20)
        return mc.fit_machine(request.param, rows, classes, C=1.0, seed=0), rows, classes


def test_plain_form_gives_scikit_learns_values(fitted):
    estimator, rows, _ = fitted
    beyond = np.vstack([rows, rows * 1.7 - 0.3])
    found = mc.plain_machine(estimator).decision_function(beyond)
    assert found == pytest.approx(estimator.decision_function(beyond), abs=1e-9)
    assert ((found > 0) == estimator.predict(beyond)).all()


def test_plain_form_survives_json(fitted):
    estimator, rows, _ = fitted
    machine = mc.plain_machine(estimator)
    read = mc.machine_from_numbers(json.loads(json.dumps(mc.machine_to_numbers(machine))))
    assert np.array_equal(read.decision_function(rows), machine.decision_function(rows))


def test_machines_learn(fitted):
    estimator, rows, classes = fitted
    decision = estimator.predict(rows)
    assert decision[classes == 1].mean() - decision[classes == 0].mean() > 0.15


def test_kernel_in_blocks_is_the_same(monkeypatch):
    rows, classes = complexity_like_rows(300, columns=4)
    machine = mc.plain_machine(mc.fit_machine("rbf", rows, classes, 1.0, 0))
    whole = machine.decision_function(rows)
    monkeypatch.setattr(mc, "_KERNEL_BLOCK", 7 * len(machine.vectors))
    assert machine.decision_function(rows) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("damage", [
    {"kind": "linear", "weights": [1.0]}, {"kind": "linear", "weights": [1.0, float("nan")], "intercept": 0},
    {"kind": "rbf", "vectors": "x", "weights": [1], "gamma": 1, "intercept": 0}, {"kind": "trees"}, {}, [],
])
def test_damaged_numbers_are_refused(damage):
    with pytest.raises(ValueError):
        mc.machine_from_numbers(damage)


def test_draw_is_in_proportion_by_region_and_class():
    regions = np.repeat(["1000", "1001", "1002", "1003"], [400, 300, 200, 100])
    classes = (np.arange(1000) % 10 == 0).astype(int)
    labels = pd.DataFrame({"region": regions, "class": classes})
    chosen = mc.draw_rows(labels, 100, seed=1)
    assert len(set(chosen)) == 100 and (np.diff(chosen) > 0).all()
    drawn = labels.iloc[chosen]
    assert drawn["region"].value_counts().to_dict() == pytest.approx(
        {"1000": 40, "1001": 30, "1002": 20, "1003": 10}, abs=1)
    assert drawn["class"].sum() == pytest.approx(10, abs=1)
    assert not np.array_equal(chosen, mc.draw_rows(labels, 100, seed=2))
    assert np.array_equal(mc.draw_rows(labels, 1000, seed=1), np.arange(1000))


def test_effects_of_the_linear_machine_add_up():
    machine = mc.LinearMachine(np.array([2.0, -1.0, 0.5]), 0.25)
    values, typical = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), np.array([0.5, 0.5, 0.5])
    effects = mc.feature_effects(machine, values, typical)
    assert effects[0].tolist() == [1.0, -1.5, 1.25]
    total = machine.decision_function(values) - machine.decision_function(typical[None])
    assert effects.sum(axis=1) == pytest.approx(total)
