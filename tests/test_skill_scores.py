"""Scores by hand and their edge cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from general_code import skill_scores as ss

TRUTH = [1] * 10 + [0] * 40
DECISION = [1] * 8 + [0] * 2 + [1] * 10 + [0] * 30  # TP 8, FN 2, FP 10, TN 30


def test_scores_by_hand():
    assert ss.confusion_counts(TRUTH, DECISION).tolist() == [8, 2, 10, 30]
    scores = ss.skill_scores(TRUTH, DECISION)
    assert scores["TPR"] == pytest.approx(0.8)
    assert scores["TNR"] == pytest.approx(0.75)
    assert scores["TSS"] == pytest.approx(0.55)
    assert scores["HSS"] == pytest.approx(2 * (8 * 30 - 2 * 10) / (10 * 32 + 18 * 40))


def test_published_row_is_reproduced():
    """VGG16 of the published notebook on 21,542 flaring and 73,215 quiet images."""
    tp, tn = 0.7345 * 21542, 0.7980 * 73215
    scores = ss.scores_from_counts([tp, 21542 - tp, 73215 - tn, tn])
    assert scores["TSS"] == pytest.approx(0.5325, abs=1e-4)
    assert scores["HSS"] == pytest.approx(0.4636, abs=1e-3)


@pytest.mark.parametrize(("truth", "decision", "undefined"), [
    ([], [], {"TPR", "TNR", "HSS", "TSS"}),
    ([1, 1], [1, 0], {"TNR", "HSS", "TSS"}),
    ([0, 0], [1, 0], {"TPR", "HSS", "TSS"}),
    ([0, 0], [0, 0], {"TPR", "HSS", "TSS"}),
])
def test_undefined_scores_are_nan_never_zero(truth, decision, undefined):
    scores = ss.skill_scores(truth, decision)
    assert {name for name, score in scores.items() if np.isnan(score)} == undefined
    assert ss.format_score(scores["TSS"]) == "not defined"


def test_constant_forecast_has_no_skill():
    assert ss.skill_scores(TRUTH, np.zeros(50, int))["TSS"] == 0
    assert ss.brier_skill_score(TRUTH, np.full(50, 0.2), 0.2) == pytest.approx(0)


@pytest.mark.parametrize(("truth", "decision", "message"), [
    ([0, 1], [0], "differ in length"),
    ([0, 2], [0, 1], "truth: expected a list of 0 and 1"),
    ([0, 1], [0, np.nan], "decision: expected a list of 0 and 1"),
])
def test_bad_columns_are_refused(truth, decision, message):
    with pytest.raises(ValueError, match=message):
        ss.skill_scores(truth, decision)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=2, max_size=60))
def test_probability_scores_agree_with_scikit_learn(rows):
    truth, probability = np.array([r[0] for r in rows], int), np.array([r[1] for r in rows]) / 10
    assert ss.brier_score(truth, probability) == pytest.approx(brier_score_loss(truth, probability, pos_label=1))
    if truth.min() < truth.max():
        assert ss.roc_auc(truth, probability) == pytest.approx(roc_auc_score(truth, probability))
    else:
        assert np.isnan(ss.roc_auc(truth, probability))


def test_missing_probability_leaves_the_scores_undefined():
    probability = [0.1, np.nan, 0.9]
    assert np.isnan(ss.brier_score([0, 1, 1], probability))
    assert np.isnan(ss.roc_auc([0, 1, 1], probability))
    assert np.isnan(ss.brier_skill_score([0, 1, 1], probability, 0.5))
    assert np.isnan(ss.brier_skill_score([0, 1, 1], [0.1, 0.2, 0.3], np.nan))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=2, max_size=40))
def test_best_threshold_is_the_best_of_all(rows):
    truth, score = np.array([r[0] for r in rows], int), np.array([r[1] for r in rows], float)
    threshold = ss.best_threshold(truth, score)
    if truth.min() == truth.max() or np.ptp(score) == 0:
        assert np.isnan(threshold)
        return
    found = ss.skill_scores(truth, score > threshold)["TSS"]
    between = np.unique(score)[:-1]
    assert found == pytest.approx(max(ss.skill_scores(truth, score > t)["TSS"] for t in between))
    assert threshold not in score


def test_best_threshold_between_adjacent_doubles():
    low = 1.0
    high = np.nextafter(low, 2)
    assert ((np.array([low, high]) > ss.best_threshold([0, 1], [low, high])) == [False, True]).all()


def test_reliability_counts_and_frequencies():
    curve = ss.reliability_curve([0, 1, 1, 0, 1], [0.05, 0.05, 1.0, 0.95, np.nan], bins=10)
    assert curve["count"].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert curve.frequency[0] == 0.5 and curve.frequency[9] == 0.5
    assert curve.probability[9] == pytest.approx(0.975)
    assert np.isnan(curve.frequency[4])
