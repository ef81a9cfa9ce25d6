"""Platt's sigmoid: known answers, separable scores, scores that fall with flares."""

import numpy as np
import pytest

from general_code.forecast_calibration import fit_calibration


def test_calibration_recovers_a_known_sigmoid():
    rng = np.random.default_rng(1)
    score = rng.normal(0, 2, 200_000)
    truth = (rng.random(score.size) < 1 / (1 + np.exp(-(0.7 * score - 1.2)))).astype(int)
    found = fit_calibration(truth, score)
    assert found.slope == pytest.approx(0.7, abs=0.02)
    assert found.intercept == pytest.approx(-1.2, abs=0.03)


def test_calibration_of_separable_scores_stays_finite():
    found = fit_calibration([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0])
    assert 0 < found.slope < 50
    assert found.probability([-2.0])[0] > 0 and found.probability([2.0])[0] < 1


def test_score_that_falls_with_flares_gives_the_constant_rate():
    found = fit_calibration([1, 1, 0, 0, 0, 0], [-3.0, -2.0, 1.0, 2.0, 3.0, 2.0])
    assert found.slope == 0
    assert found.probability([-5.0, 5.0]) == pytest.approx([1 / 3, 1 / 3], abs=0.06)
