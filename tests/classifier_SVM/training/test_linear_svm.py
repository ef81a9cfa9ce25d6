"""The linear SVM against libsvm, its certificate, the estimator's contract, degenerate columns."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from classifier_SVM.training import linear_svm
from classifier_SVM.training.linear_svm import WeightedLinearSVC, minimise_hinge


def complexity_like_rows(n, seed=0, columns=29, flaring=0.2):
    """Skewed, correlated columns scaled to 0..1, two of them exactly dependent on a third, as the 29 features are."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 6)) @ rng.normal(size=(6, columns)) + rng.normal(size=(n, columns))
    rows = np.exp(0.3 * latent)
    rows[:, -1] = rows[:, -2] + rows[:, -3]
    chance = latent @ rng.normal(size=columns) / 8 + rng.normal(0, 1.5, n)
    rows = (rows - rows.min(axis=0)) / np.ptp(rows, axis=0)
    return rows, (chance > np.quantile(chance, 1 - flaring)).astype(int)


def hinge_objective(rows, classes, weights, intercept, C=1.0):
    """The problem as libsvm states it, written out a second time."""
    share = np.where(classes == 1, 0.5 / classes.mean(), 0.5 / (1 - classes.mean()))
    loss = np.maximum(0, 1 - (2 * classes - 1) * (rows @ weights + intercept))
    return weights @ weights / 2 + C * share @ loss


@pytest.mark.parametrize(("n", "C"), [(300, 1.0), (3000, 1.0), (3000, 0.01), (1000, 100.0)])
def test_as_good_as_libsvm(n, C):
    rows, classes = complexity_like_rows(n)
    ours = WeightedLinearSVC(C=C).fit(rows, classes)
    libsvm = SVC(kernel="linear", class_weight="balanced", C=C, tol=1e-4).fit(rows, classes)
    reference = hinge_objective(rows, classes, libsvm.coef_[0], libsvm.intercept_[0], C)
    found = hinge_objective(rows, classes, ours.coef_[0], ours.intercept_[0], C)
    assert found == pytest.approx(ours.objective_)
    assert found <= reference * (1 + 1e-6)
    differ = ours.predict(rows) != libsvm.predict(rows)
    assert np.abs(libsvm.decision_function(rows)[differ]).max(initial=0) < 0.01


@pytest.mark.parametrize("C", [1e-3, 1e-4])
def test_intercept_is_libsvms_where_it_is_not_unique(C):
    rows, classes = complexity_like_rows(3000)
    ours = WeightedLinearSVC(C=C).fit(rows, classes)
    libsvm = SVC(kernel="linear", class_weight="balanced", C=C, tol=1e-5).fit(rows, classes)
    away = hinge_objective(rows, classes, ours.coef_[0], ours.intercept_[0] + 0.1, C)
    assert away == pytest.approx(ours.objective_, rel=1e-9), "any intercept near it is as good"
    expected = libsvm.decision_function(rows)
    assert ours.decision_function(rows) == pytest.approx(expected, abs=1e-6)
    assert (ours.predict(rows) == libsvm.predict(rows))[np.abs(expected) > 1e-6].all()


def test_intercept_is_exact_for_the_weights_found():
    """Stopped early, the intercept is still the best for the weights of that moment."""
    rows, classes = complexity_like_rows(1000)
    rough = WeightedLinearSVC(tol=0.05).fit(rows, classes)
    around = [hinge_objective(rows, classes, rough.coef_[0], rough.intercept_[0] + step)
              for step in (0, *np.linspace(-0.2, 0.2, 41))]
    assert around[0] <= min(around) * (1 + 1e-12) and around[0] == pytest.approx(rough.objective_)


@pytest.mark.parametrize("offset", [1e3, -1e5])
def test_an_offset_of_the_columns_changes_the_intercept_alone(offset):
    rows, classes = complexity_like_rows(1000)
    plain, moved = (WeightedLinearSVC().fit(values, classes) for values in (rows, rows + offset))
    assert moved.objective_ == pytest.approx(plain.objective_, rel=1e-6)
    assert moved.duality_gap_ <= 1e-6 * moved.objective_
    assert moved.decision_function(rows + offset) == pytest.approx(plain.decision_function(rows), abs=1e-2)


def test_optimum_by_hand():
    """Rows at -1 and 1: the widest margin is w = 1, b = 0 (all of C), or w = 2 C x cost when C is small."""
    rows, classes = np.array([[-1.0], [1.0]]), np.array([0, 1])
    fitted = WeightedLinearSVC(C=10).fit(rows, classes)
    assert fitted.coef_[0, 0] == pytest.approx(1, abs=1e-5) and fitted.intercept_[0] == pytest.approx(0, abs=1e-5)
    assert fitted.objective_ == pytest.approx(0.5, abs=1e-5)
    assert WeightedLinearSVC(C=0.1).fit(rows, classes).coef_[0, 0] == pytest.approx(0.2, abs=1e-5)
    # w = 0.02; the losses' sum is flat while both rows are inside the margin, for b in -0.98..0.98 about 0.04
    fitted = WeightedLinearSVC(C=0.01).fit(np.array([[-3.0], [-1.0]]), classes)
    assert fitted.coef_[0, 0] == pytest.approx(0.02) and fitted.intercept_[0] == pytest.approx(0.04)


def test_certificate_bounds_the_optimum():
    """No weights near the found ones lie below objective minus gap; a looser tolerance gives a larger, valid gap."""
    rows, classes = complexity_like_rows(2000)
    loose, exact = (WeightedLinearSVC(tol=tol).fit(rows, classes) for tol in (1e-2, 1e-8))
    assert exact.duality_gap_ <= 1e-8 * exact.objective_
    assert exact.duality_gap_ < loose.duality_gap_ <= 1e-2 * loose.objective_
    assert loose.objective_ - loose.duality_gap_ <= exact.objective_ <= loose.objective_


def test_warm_start_of_many_rows_does_not_change_the_optimum_and_its_steps_count(monkeypatch):
    rows, classes = complexity_like_rows(90_000, columns=5)
    weight, rounds, newton_round = np.where(classes == 1, 2.5, 0.6), [], linear_svm._newton_round

    def noted(*arguments, **more):
        rounds.append(newton_round(*arguments, **more))
        return rounds[-1]

    monkeypatch.setattr(linear_svm, "_newton_round", noted)
    fitted = minimise_hinge(rows, 2.0 * classes - 1, weight, tol=1e-6)
    assert fitted.steps == sum(steps for _, steps in rounds) and fitted.gap <= 1e-6 * fitted.objective
    order = np.random.default_rng(1).permutation(90_000)
    shuffled = minimise_hinge(rows[order], 2.0 * classes[order] - 1, weight[order], tol=1e-6)
    assert shuffled.objective == pytest.approx(fitted.objective, rel=2e-6)


@pytest.mark.parametrize("case", ["constant column", "equal columns", "all rows equal", "separable"])
def test_degenerate_rows(case):
    rows, classes = complexity_like_rows(200, columns=4)
    column = {"constant column": 0.5, "equal columns": rows[:, 0], "all rows equal": 0.25, "separable": classes}[case]
    rows[:, 1] = column
    if case == "all rows equal":
        rows[:] = column
    fitted = WeightedLinearSVC().fit(rows, classes)
    assert np.isfinite(fitted.coef_).all() and np.isfinite(fitted.intercept_).all()
    assert fitted.duality_gap_ <= 1e-6 * fitted.objective_
    assert case != "separable" or (fitted.predict(rows) == classes).all()


@pytest.mark.parametrize("C", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_a_large_cost_is_followed_upward_to_the_optimum(C, noise):
    """From zero the steps went astray here: the objective was 97 times that of no weights at all (C 1e6, noise)."""
    rng = np.random.default_rng(0)
    rows = rng.random((500, 29)) ** 2
    chance = rows @ rng.normal(size=29) + rng.normal(0, noise, 500)
    fitted = WeightedLinearSVC(C=C).fit(rows, (chance > np.quantile(chance, 0.8)).astype(int))
    assert fitted.duality_gap_ <= 1e-6 * fitted.objective_ and fitted.objective_ < 0.1 * C * 500


def test_one_class_and_bad_parameters_are_refused():
    rows, classes = complexity_like_rows(50)
    with pytest.raises(ValueError, match="one class only: 0"):
        WeightedLinearSVC().fit(rows, np.zeros(50, int))
    with pytest.raises(ValueError, match="C and tol above 0"):
        WeightedLinearSVC(C=0).fit(rows, classes)


def test_a_warning_names_what_keeps_it_from_the_optimum():
    rows, classes = complexity_like_rows(500)
    with pytest.warns(ConvergenceWarning, match="duality gap .* after 2 steps; raise max_iter"):
        WeightedLinearSVC(max_iter=2).fit(rows, classes)
    with pytest.warns(ConvergenceWarning, match="steps; scale the columns, e.g. to 0..1"):
        WeightedLinearSVC(C=1e3, max_iter=10**6).fit(rows * np.append(1e9, np.ones(28)), classes)


@parametrize_with_checks([WeightedLinearSVC()])
def test_scikit_learn_contract(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # some checks set max_iter so low on purpose
        check(estimator)
