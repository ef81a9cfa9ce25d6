"""Scores by hand and their edge cases; calibration; the bootstrap against resampled rows, and what it must not do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

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
    found = ss._frequency_scores(truth, decision)
    assert found["precision"] == pytest.approx(tp / (tp + fp) if tp + fp else np.nan, nan_ok=True)
    assert found["bias"] == pytest.approx((tp + fp) / (tp + fn) if tp + fn else np.nan, nan_ok=True)
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


def test_constant_forecast_has_no_skill(few_regions):
    assert ss.skill_scores(TRUTH, np.zeros(50, int))["TSS"] == 0
    assert ss.brier_scores(TRUTH, np.full(50, 0.2), 0.2)["BSS"] == pytest.approx(0)
    truth, regions, _, _ = forecasts()
    samples = ss.score_forecast(truth, regions, None, np.full(truth.size, 0.3), climatology=0.3, draws=20).samples
    assert samples["AUC"] == pytest.approx(0.5) and samples["BSS"] == pytest.approx(0)


def test_terms_of_the_brier_score_by_hand():
    """Two bins: forecasts of 0.1 with 1 flare in 4 images, of 0.8 with 3 in 4; all 8 images have 4."""
    truth, probability = [1, 0, 0, 0, 1, 1, 1, 0], [0.1] * 4 + [0.8] * 4
    found = ss.brier_scores(truth, probability, 0.5)
    assert found["reliability"] == pytest.approx((0.15**2 + 0.05**2) / 2)
    assert found["resolution"] == pytest.approx(0.25**2) and found["uncertainty"] == 0.25
    assert found["Brier"] == pytest.approx(found["reliability"] - found["resolution"] + found["uncertainty"])


def test_skill_over_a_rate_that_knows_more_than_climatology():
    truth, regions, decision, probability = forecasts()
    found = ss.score_forecast(truth, regions, decision, probability, count_rate=probability / 2, draws=0)
    own, other = (ss.brier_scores(truth, p, 0.2)["Brier"] for p in (probability, probability / 2))
    assert found.scores["BSS over flare count"] == pytest.approx(1 - own / other)
    assert np.isnan(list(found.intervals().values())).all(), "no draws"
    assert "BSS over flare count" not in ss.score_forecast(truth, regions, decision, probability, draws=0).scores


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
    for columns in (([0, 1, 1], probability), ([], [])):
        assert np.isnan(list(ss.brier_scores(*columns, 0.5, columns[1]).values())).all()
    assert np.isnan(ss.roc_auc([0, 1, 1], probability))
    assert np.isnan(ss.brier_scores([0, 1, 1], [0.1, 0.2, 0.3], np.nan)["BSS"])
    assert np.isnan(ss.brier_scores([0, 0], [0.1, 0.2], 0)["BSS"]), "climatology makes no error"


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


@pytest.mark.parametrize(("ranks", "error"), [(1000, 1e-6), (120, 0.02)])
def test_bootstrap_equals_scores_of_resampled_rows(few_regions, monkeypatch, ranks, error):
    """Exactly, where each score has a level of its own; else but for the areas, nearly."""
    monkeypatch.setattr(ss, "RANKS", ranks)
    truth, regions, decision, probability = forecasts(n_regions=8)
    rate = np.full(truth.size, 0.3)
    found = ss.score_forecast(truth, regions, decision, probability, climatology=0.2, count_rate=rate, draws=20, seed=5)
    names = np.unique(regions)
    drawn = np.random.default_rng(5).integers(0, 8, (20, 8))
    weights = [np.bincount(row, minlength=8) for row in drawn]
    everything = np.arange(truth.size)
    for draw, times in enumerate([None, *weights], start=-1):
        rows = everything if draw < 0 else np.concatenate(
            [np.tile(np.flatnonzero(regions == names[i]), times[i]) for i in range(8)])
        expected = ss.skill_scores(truth[rows], decision[rows]) | ss._frequency_scores(truth[rows], decision[rows])
        expected |= ss.brier_scores(truth[rows], probability[rows], 0.2, rate[rows])
        expected = {name: value for name, value in expected.items() if name not in ss.BRIER_TERMS}
        areas = {"AUC": ss.roc_auc(truth[rows], probability[rows])}
        areas["PR area"] = average_precision_score(truth[rows], probability[rows])
        for name, value in (expected | areas).items():
            sample = found.scores[name] if draw < 0 else found.samples[name][draw]
            assert sample == pytest.approx(value, nan_ok=True, abs=error if name in areas else 1e-9), name


def test_bootstrap_is_over_regions_not_images():
    """Copying every image tenfold adds no information: the interval stays as wide."""
    columns = forecasts()
    once, tenfold = (ss.score_forecast(*(np.repeat(column, times) for column in columns), climatology=0.2, draws=500)
                     for times in (1, 10))
    for name, interval in once.intervals().items():
        assert tenfold.intervals()[name] == pytest.approx(interval, nan_ok=True, rel=1e-3)
    low, high = once.intervals()["TSS"]
    assert low < once.scores["TSS"] < high


def test_paired_differences():
    truth, regions, decision, probability = forecasts()
    one, two, other = (ss.score_forecast(truth, regions, decision, draws=99, seed=s).samples["TSS"] for s in (1, 1, 2))
    assert np.array_equal(one, two) and not np.array_equal(one, other), "the seed decides what is drawn"
    good = ss.score_forecast(truth, regions, decision, probability, climatology=0.2, count_rate=probability, draws=99)
    assert set(good.samples) == set(good.scores) - set(ss.BRIER_TERMS) == set(ss.FEWEST_FLARING)
    known = [name for name, interval in good.intervals().items() if np.isfinite(interval).all()]
    assert "TSS" in known and all(good.difference(good, name) == (0, 0, 0) for name in known)
    value, low, high = good.difference(ss.score_forecast(truth, regions, np.zeros_like(decision), draws=99), "TSS")
    assert 0 < low < value < high


@pytest.mark.parametrize(("flaring", "quiet", "defined"), [
    (1, 0, set()), (0, 20, set()), (5, 20, set()), (6, 20, {"TNR"}), (10, 5, set()),
    (8, 6, {"TSS", "AUC", "Brier", "bias"}), (70, 300, set(ss.FEWEST_FLARING) - {"BSS", "PR area"}),
    (20, 6, set(ss.FEWEST_FLARING) - {"TNR", "BSS", "PR area"}), (70, 200, set(ss.FEWEST_FLARING)),
    (200, 200, set(ss.FEWEST_FLARING)),
])
def test_too_few_regions_define_no_interval(flaring, quiet, defined):
    """Regions whose images are all flaring, or all quiet; half of the images are forecast to flare."""
    regions = np.repeat(np.arange(flaring + quiet), 4)
    truth, decision = (regions < flaring).astype(int), np.arange(regions.size) % 2
    probability = np.linspace(0.1, 0.9, regions.size)
    found = ss.score_forecast(truth, regions, decision, probability, climatology=0.3, count_rate=probability, draws=50)
    assert {name for name, interval in found.intervals().items() if np.isfinite(interval).all()} == defined
    assert np.isfinite(ss.score_forecast(truth, regions, decision, draws=50, fewest=1).intervals()["TSS"][0]) == (
        flaring * quiet > 1), "a caller's own number of groups, as of days of the whole disk"


def test_intervals_of_few_regions_are_widened():
    """Student's t for 9 degrees of freedom is 2.26, times sqrt(10 / 9): 0.86 % of a normal distribution are beyond."""
    assert ss._tail(1e6) == pytest.approx(0.025, abs=1e-5)
    assert ss._tail(10) == pytest.approx(0.0086, abs=1e-4)
    assert ss._effective_number(np.array([5, 5, 0, 5])) == 3 and ss._effective_number(np.array([9, 1])) < 1.3


def test_bars_of_the_reliability_diagram():
    truth, regions, _, probability = forecasts()
    found = ss.reliability_curve(truth, probability, regions)
    curve = ss.reliability_curve(truth, probability)
    assert found[list(curve)].equals(curve)
    enough = found["regions"] >= ss.MIN_REGIONS
    assert enough.any() and np.isnan(found.loc[~enough, ["low", "high"]].to_numpy()).all()
    assert ((found["low"] <= curve["frequency"]) & (curve["frequency"] <= found["high"]))[enough].all()
    one = ss.reliability_curve([1], [np.nan], ["1158"])
    assert (one["count"] == 0).all() and (one["regions"] == 0).all() and one["low"].isna().all(), "no probability"
    assert found["regions"].iloc[3] == len(set(regions[(probability >= 0.3) & (probability < 0.4)]))


def test_bootstrap_without_images_or_probabilities():
    assert np.isnan(ss.score_forecast([], [], [], [], draws=50).intervals()["TSS"]).all()
    truth, regions, _, probability = forecasts()
    found = ss.score_forecast(truth, regions, None, np.full(truth.size, np.nan), probability, draws=50)
    assert found.scores["AUC"] == ss.roc_auc(truth, probability), "of the score, where there is no probability"
    assert np.isfinite(found.intervals()["AUC"]).all() and np.isnan(found.samples["Brier"]).all()
