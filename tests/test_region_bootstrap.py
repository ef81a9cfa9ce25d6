"""The bootstrap over regions against resampled rows, and what it must not do."""

import numpy as np
import pytest

from general_code import region_bootstrap as rb
from general_code import skill_scores as ss


def forecasts(n_regions=40, images=30, seed=3):
    """Regions with a flare rate of their own, and a forecast of some skill."""
    rng = np.random.default_rng(seed)
    regions = np.repeat([f"{1000 + r}" for r in range(n_regions)], images)
    truth = (rng.random(regions.size) < np.repeat(rng.beta(0.3, 1, n_regions), images)).astype(int)
    probability = np.clip(0.25 + 0.4 * truth + rng.normal(0, 0.25, truth.size), 0, 1)
    return truth, regions, (probability > 0.5).astype(int), probability


def test_bootstrap_equals_scores_of_resampled_rows():
    truth, regions, decision, probability = forecasts(n_regions=8)
    samples = rb.bootstrap_scores(truth, regions, decision, probability, climatology=0.2, draws=20, seed=5)
    names = np.unique(regions)
    weights = np.random.default_rng(5).multinomial(8, np.full(8, 1 / 8), 20)
    for draw, times in enumerate(weights):
        rows = np.concatenate([np.tile(np.flatnonzero(regions == names[i]), times[i]) for i in range(8)])
        expected = ss.skill_scores(truth[rows], decision[rows])
        expected["AUC"] = ss.roc_auc(truth[rows], probability[rows])
        expected["Brier"] = ss.brier_score(truth[rows], probability[rows])
        expected["BSS"] = ss.brier_skill_score(truth[rows], probability[rows], 0.2)
        for name, value in expected.items():
            assert samples[name][draw] == pytest.approx(value, nan_ok=True), name


def test_a_constant_forecast_has_an_area_of_one_half():
    truth, regions, _, _ = forecasts()
    samples = rb.bootstrap_scores(truth, regions, None, np.full(truth.size, 0.3), 0.3, draws=20)
    assert samples["AUC"] == pytest.approx(0.5) and samples["BSS"] == pytest.approx(0)


def test_bootstrap_is_over_regions_not_images():
    """Copying every image tenfold adds no information: the interval stays as wide."""
    truth, regions, decision, probability = forecasts()
    once = rb.region_bootstrap(truth, regions, decision, probability, 0.2)
    tenfold = rb.region_bootstrap(*(np.repeat(a, 10) for a in (truth, regions, decision, probability)), 0.2)
    for name, interval in once.items():
        assert tenfold[name] == pytest.approx(interval)
    low, high = once["TSS"]
    assert low < ss.skill_scores(truth, decision)["TSS"] < high


def test_paired_difference_of_equal_forecasts_is_zero():
    truth, regions, decision, probability = forecasts()
    forecast = {"decision": decision, "probability": probability}
    differences = rb.paired_bootstrap(truth, regions, forecast, forecast, 0.2)
    assert set(differences) == {"TPR", "TNR", "HSS", "TSS", "AUC", "Brier", "BSS"}
    assert all(interval == (0, 0) for interval in differences.values())


def test_paired_difference_sees_a_better_forecast():
    truth, regions, decision, _ = forecasts()
    worse = {"decision": np.zeros_like(decision)}
    low, high = rb.paired_bootstrap(truth, regions, {"decision": decision}, worse)["TSS"]
    assert 0 < low < high


def test_difference_of_samples_is_the_paired_bootstrap():
    truth, regions, decision, _ = forecasts()
    other = (truth + decision) // 2
    one, two = (rb.bootstrap_scores(truth, regions, d) for d in (decision, other))
    paired = rb.paired_bootstrap(truth, regions, {"decision": decision}, {"decision": other})
    assert rb.difference_intervals(one, two) == paired
    assert rb.difference_intervals(one, {"TSS": two["TSS"]}) == {"TSS": paired["TSS"]}


@pytest.mark.parametrize(("flaring", "quiet", "defined"), [
    (1, 0, set()), (0, 1, set()), (3, 3, {"Brier", "BSS"}), (1, 6, {"TNR", "Brier", "BSS"}),
    (6, 1, {"TPR", "Brier", "BSS"}), (5, 5, {"Brier", "BSS"}),
    (6, 6, {"TPR", "TNR", "HSS", "TSS", "AUC", "Brier", "BSS"}),
])
def test_too_few_regions_define_no_interval(flaring, quiet, defined):
    """Regions whose images are all flaring, or all quiet; half of the images are forecast to flare."""
    regions = np.repeat(np.arange(flaring + quiet), 4)
    truth, decision = (regions < flaring).astype(int), np.arange(regions.size) % 2
    probability = np.linspace(0.1, 0.9, regions.size)
    found = rb.region_bootstrap(truth, regions, decision, probability, 0.3)
    assert {name for name, interval in found.items() if np.isfinite(interval).all()} == defined


def test_area_comes_from_the_score_where_there_is_one():
    truth, regions, decision, probability = forecasts()
    expected = rb.bootstrap_scores(truth, regions, None, probability)["AUC"]
    found = rb.bootstrap_scores(truth, regions, None, np.full(truth.size, np.nan), score=probability)
    assert np.array_equal(found["AUC"], expected) and np.isnan(found["Brier"]).all()
    assert set(rb.bootstrap_scores(truth, regions, score=probability)) == {"AUC"}


def test_bootstrap_of_one_class_or_nothing_is_undefined():
    interval = rb.region_bootstrap([0] * 7, ["1", *"123456"], [0, 1] + [0] * 5, np.linspace(0.1, 0.3, 7), 0.1)
    assert np.isnan(interval["TSS"]).all() and np.isnan(interval["AUC"]).all()
    assert np.isfinite(interval["TNR"]).all()
    assert np.isnan(rb.region_bootstrap([], [], [], [])["TSS"]).all()


def test_bootstrap_is_repeatable():
    truth, regions, decision, _ = forecasts()
    one, two, other = (rb.bootstrap_scores(truth, regions, decision, seed=s)["TSS"] for s in (1, 1, 2))
    assert np.array_equal(one, two, equal_nan=True)
    assert not np.array_equal(one, other, equal_nan=True)
