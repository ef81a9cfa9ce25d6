"""Scores by hand and their edge cases; calibration; the bootstrap against resampled rows, and what it must not do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from general_code.evaluation import scores as ss

TRUTH = [1] * 10 + [0] * 40


def test_published_row_is_reproduced():
    """VGG16 of the published notebook on 21,542 flaring and 73,215 quiet images."""
    truth, hits, rejections = np.repeat([1, 0], [21542, 73215]), round(0.7345 * 21542), round(0.7980 * 73215)
    decision = np.repeat([1, 0, 1, 0], [hits, 21542 - hits, 73215 - rejections, rejections])
    scores = ss.skill_scores(truth, decision)
    assert scores["TSS"] == pytest.approx(0.5325, abs=1e-4)
    assert scores["HSS"] == pytest.approx(0.4636, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_scores_are_those_of_the_definitions(rows):
    truth, decision = (np.array(column, dtype=int) for column in zip(*rows, strict=True))
    tp, fn, fp, tn = (int(((truth == t) & (decision == d)).sum()) for t, d in ((1, 1), (1, 0), (0, 1), (0, 0)))
    scores = ss.skill_scores(truth, decision)
    assert scores["TPR"] == pytest.approx(tp / (tp + fn) if tp + fn else np.nan, nan_ok=True)
    assert scores["TNR"] == pytest.approx(tn / (tn + fp) if tn + fp else np.nan, nan_ok=True)
    assert scores["TSS"] == pytest.approx(scores["TPR"] + scores["TNR"] - 1, abs=1e-12, nan_ok=True)
    if tp + fn and tn + fp:
        heidke = 2 * (tp * tn - fn * fp) / ((tp + fn) * (fn + tn) + (tp + fp) * (fp + tn))
        assert scores["HSS"] == pytest.approx(heidke, abs=1e-12)


@pytest.mark.parametrize(("truth", "decision", "undefined"), [
    ([], [], {"TPR", "TNR", "HSS", "TSS"}),
    ([1, 1], [1, 0], {"TNR", "HSS", "TSS"}),
    ([0, 0], [1, 0], {"TPR", "HSS", "TSS"}),
    ([0, 0], [0, 0], {"TPR", "HSS", "TSS"}),
])
def test_undefined_scores_are_nan_never_zero(truth, decision, undefined):
    scores = ss.skill_scores(truth, decision)
    assert {name for name, score in scores.items() if np.isnan(score)} == undefined
    assert ss.format_score(scores["TSS"]) == ss.format_score(None) == "not defined"


def test_constant_forecast_has_no_skill():
    assert ss.skill_scores(TRUTH, np.zeros(50, int))["TSS"] == 0
    assert ss.brier_scores(TRUTH, np.full(50, 0.2), 0.2)["BSS"] == pytest.approx(0)
    truth, regions, _, _ = forecasts()
    samples = ss.score_forecast(truth, regions, None, np.full(truth.size, 0.3), climatology=0.3, draws=20).samples
    assert samples["AUC"] == pytest.approx(0.5) and samples["BSS"] == pytest.approx(0)


@pytest.mark.parametrize(("truth", "decision", "message"), [
    ([0, 1], [0], "inconsistent numbers"),
    ([0, 2], [0, 1], "truth: expected a list of 0 and 1"),
    ([0, 1], [0, np.nan], "decision: expected a list of 0 and 1"),
])
def test_bad_columns_are_refused(truth, decision, message):
    with pytest.raises(ValueError, match=message):
        ss.skill_scores(truth, decision)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=2, max_size=60))
def test_probability_scores_are_those_of_the_definitions(rows):
    truth, probability = np.array([r[0] for r in rows], int), np.array([r[1] for r in rows]) / 10
    found = ss.brier_scores(truth, probability, 0.3)
    assert found["Brier"] == pytest.approx(np.mean((probability - truth) ** 2))
    assert found["BSS"] == pytest.approx(1 - found["Brier"] / np.mean((0.3 - truth) ** 2))
    flaring, quiet = probability[truth == 1][:, None], probability[truth == 0]
    wins = (np.sign(flaring - quiet) + 1) / 2
    assert ss.roc_auc(truth, probability) == pytest.approx(wins.mean() if wins.size else np.nan, nan_ok=True)


def test_missing_probability_leaves_the_scores_undefined():
    probability = [0.1, np.nan, 0.9]
    assert np.isnan(list(ss.brier_scores([0, 1, 1], probability, 0.5).values())).all()
    assert np.isnan(ss.roc_auc([0, 1, 1], probability))
    assert np.isnan(ss.brier_scores([0, 1, 1], [0.1, 0.2, 0.3], np.nan)["BSS"])
    assert np.isnan(ss.brier_scores([0, 0], [0.1, 0.2], 0)["BSS"]), "climatology makes no error"
    assert np.isnan(ss.brier_scores([], [], 0.5)["Brier"])


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


# ---- calibration

def test_calibration_recovers_a_known_sigmoid():
    rng = np.random.default_rng(1)
    score = rng.normal(0, 2, 200_000)
    truth = (rng.random(score.size) < 1 / (1 + np.exp(-(0.7 * score - 1.2)))).astype(int)
    found = ss.fit_calibration(truth, score, rng.integers(0, 50, score.size))
    assert found.slope == pytest.approx(0.7, abs=0.02)
    assert found.intercept == pytest.approx(-1.2, abs=0.03)


def test_calibration_of_separable_scores_stays_finite(few_regions):
    found = ss.fit_calibration([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0], range(4))
    assert 0 < found.slope < 50
    assert found.probability([-2.0])[0] > 0 and found.probability([2.0])[0] < 1


def test_score_that_falls_with_flares_gives_the_constant_rate(few_regions):
    found = ss.fit_calibration([1, 1, 0, 0, 0, 0], [-3.0, -2.0, 1.0, 2.0, 3.0, 2.0], range(6))
    assert found.slope == 0
    assert found.probability([-5.0, 5.0]) == pytest.approx([1 / 3, 1 / 3], abs=0.06)


@pytest.mark.parametrize(("flaring", "quiet", "defined"), [(6, 6, True), (5, 6, False), (6, 5, False), (0, 6, False),
                                                           (0, 0, False)])
def test_calibration_takes_six_regions_of_each_class(flaring, quiet, defined):
    """Images do not help: each region has four, and nothing but one class."""
    regions = np.repeat(np.arange(flaring + quiet), 4)
    truth = (regions < flaring).astype(int)
    found = ss.fit_calibration(truth, truth + np.arange(truth.size) % 4, regions)
    assert (found is not None) == defined


# ---- bootstrap

def forecasts(n_regions=40, images=30, seed=3):
    """Regions with a flare rate of their own, and a forecast of some skill."""
    rng = np.random.default_rng(seed)
    regions = np.repeat([f"{1000 + r}" for r in range(n_regions)], images)
    truth = (rng.random(regions.size) < np.repeat(rng.beta(0.3, 1, n_regions), images)).astype(int)
    probability = np.clip(0.25 + 0.4 * truth + rng.normal(0, 0.25, truth.size), 0, 1)
    return truth, regions, (probability > 0.5).astype(int), probability


def test_bootstrap_equals_scores_of_resampled_rows():
    truth, regions, decision, probability = forecasts(n_regions=8)
    found = ss.score_forecast(truth, regions, decision, probability, climatology=0.2, draws=20, seed=5)
    names = np.unique(regions)
    weights = np.random.default_rng(5).multinomial(8, np.full(8, 1 / 8), 20)
    everything = np.arange(truth.size)
    for draw, times in enumerate([None, *weights], start=-1):
        rows = everything if draw < 0 else np.concatenate(
            [np.tile(np.flatnonzero(regions == names[i]), times[i]) for i in range(8)])
        expected = ss.skill_scores(truth[rows], decision[rows]) | ss.brier_scores(truth[rows], probability[rows], 0.2)
        expected["AUC"] = ss.roc_auc(truth[rows], probability[rows])
        for name, value in expected.items():
            sample = found.scores[name] if draw < 0 else found.samples[name][draw]
            assert sample == pytest.approx(value, nan_ok=True), name


def test_bootstrap_is_over_regions_not_images():
    """Copying every image tenfold adds no information: the interval stays as wide."""
    columns = forecasts()
    once, tenfold = (ss.score_forecast(*(np.repeat(column, times) for column in columns), climatology=0.2)
                     for times in (1, 10))
    for name, interval in once.intervals().items():
        assert tenfold.intervals()[name] == pytest.approx(interval)
    low, high = once.intervals()["TSS"]
    assert low < once.scores["TSS"] < high


def test_paired_differences():
    truth, regions, decision, probability = forecasts()
    one, two, other = (ss.score_forecast(truth, regions, decision, seed=s).samples["TSS"] for s in (1, 1, 2))
    assert np.array_equal(one, two) and not np.array_equal(one, other), "the seed decides what is drawn"
    good = ss.score_forecast(truth, regions, decision, probability, climatology=0.2)
    assert set(good.scores) == set(good.samples) == {"TPR", "TNR", "HSS", "TSS", "AUC", "Brier", "BSS"}
    assert all(good.difference(good, name) == (0, 0, 0) for name in good.scores)
    value, low, high = good.difference(ss.score_forecast(truth, regions, np.zeros_like(decision)), "TSS")
    assert 0 < low < value < high


@pytest.mark.parametrize(("flaring", "quiet", "defined"), [
    (1, 0, set()), (0, 1, set()), (3, 3, {"Brier", "BSS"}), (1, 6, {"TNR", "Brier", "BSS"}),
    (6, 1, {"TPR", "Brier", "BSS"}), (0, 7, {"TNR", "Brier", "BSS"}), (5, 5, {"Brier", "BSS"}),
    (6, 6, {"TPR", "TNR", "HSS", "TSS", "AUC", "Brier", "BSS"}),
])
def test_too_few_regions_define_no_interval(flaring, quiet, defined):
    """Regions whose images are all flaring, or all quiet; half of the images are forecast to flare."""
    regions = np.repeat(np.arange(flaring + quiet), 4)
    truth, decision = (regions < flaring).astype(int), np.arange(regions.size) % 2
    probability = np.linspace(0.1, 0.9, regions.size)
    found = ss.score_forecast(truth, regions, decision, probability, climatology=0.3).intervals()
    assert {name for name, interval in found.items() if np.isfinite(interval).all()} == defined


def test_bootstrap_without_images_or_probabilities():
    assert np.isnan(ss.score_forecast([], [], [], []).intervals()["TSS"]).all()
    truth, regions, _, probability = forecasts()
    found = ss.score_forecast(truth, regions, None, np.full(truth.size, np.nan), probability)
    assert found.scores["AUC"] == ss.roc_auc(truth, probability), "of the score, where there is no probability"
    assert np.isfinite(found.intervals()["AUC"]).all() and np.isnan(found.samples["Brier"]).all()
