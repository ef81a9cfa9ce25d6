"""Linear support vector machine for very many rows and few columns, with a certificate of its optimum.

The problem is that of libsvm's `SVC(kernel="linear")`: minimise over w and b

    P(w, b) = ||w||^2 / 2 + sum_i c_i max(0, 1 - y_i (w x_i + b)),    c_i = C x weight of the class of row i,

y = -1 or 1, the intercept b not penalised. libsvm's time grows faster than the square of the rows; liblinear's dual
hinge method does not converge here and penalises the intercept. The primal problem has few unknowns: the hinge is
rounded over a width `delta` and the rounded problem solved by Newton's method with exact line search; its slopes are a
feasible point of the dual problem, whose value bounds the optimum from below. `delta` shrinks until the duality gap is
within the tolerance. A large C is followed upward from a small one: at once the steps can lead astray. The intercept
of the weights found is then exact, and where it is not unique the middle of the optimal ones, as libsvm's rule is.

References
----------
Chapelle 2007, Neural Computation 19, 1155 (primal Newton method); Nesterov 2005, Mathematical Programming 103, 127
(smoothing and the gap); Chang and Lin 2011, ACM TIST 2, 27 (libsvm).
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

FIRST_DELTA = 1.0  # width of the rounded hinge [margins]
WARM_DELTA = 0.1  # of a start near the optimum
SHRINK = 0.3  # factor of the width from one round to the next
FOLLOW_FROM = 2e3  # mean cost of a row, beyond which it is followed upward
FOLLOW_FACTOR = 10.0
FOLLOW_TOLERANCE = 1e-3  # of the optima on the way
NEWTON_STEPS = 30  # a round; 3 to 8 are usual
WARM_START_ROWS = 20_000  # beyond 4 times as many, every n-th row gives the first guess
BLOCK_ROWS = 50_000  # rows of a block of the Hessian: bounds the copy of the rows on the margin


@dataclass(frozen=True)
class Solution:
    """Optimum of the hinge problem as far as it was found."""

    weights: np.ndarray  # shape (d,)
    intercept: float
    objective: float  # P(w, b), with the exact hinge, not the rounded one
    gap: float  # objective minus the dual value: the objective is at most this much above the optimum
    steps: int  # Newton steps


class WeightedLinearSVC(ClassifierMixin, BaseEstimator):
    """Two-class linear SVM with hinge loss, as `SVC(kernel="linear", class_weight="balanced")`.

    Parameters
    ----------
    C, class_weight : float, {"balanced", dict, None}
        Cost of a row on the wrong side, as in libsvm, above 0, and factor on it by class; "balanced": number of rows /
        (2 x rows of the class).
    tol, max_iter : float, int
        Largest duality gap, as a fraction of the objective; most Newton steps, a warning when they do not suffice.

    Once fitted it has `objective_`, `duality_gap_` (see `Solution`) and `n_iter_`, the Newton steps of all rounds."""

    def __init__(self, C=1.0, class_weight="balanced", tol=1e-6, max_iter=500):
        self.C = C
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X, y):
        """Fit to rows X, shape (n, n_features), finite, and classes y, shape (n,); ValueError unless two classes."""
        X, y = validate_data(self, X, y, dtype=np.float64, order="C")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if type_of_target(y, input_name="y", raise_unknown=True) != "binary":
            raise ValueError("Only binary classification is supported. The type of the target is "
                             f"{type_of_target(y)}.")
        if len(self.classes_) != 2:
            raise ValueError(f"expected rows of 2 classes, got one class only: {self.classes_[0]}")
        if not self.C > 0 or not self.tol > 0:
            raise ValueError(f"expected C and tol above 0, got C={self.C}, tol={self.tol}")
        weight = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        centre = X.mean(axis=0)  # an offset of the columns is the intercept's, and would spoil the steps' accuracy
        with threadpool_limits(1, user_api="blas"):  # products this narrow lose time on threads, and digits vary
            solution = minimise_hinge(X - centre, 2.0 * codes - 1, self.C * weight[codes], self.tol, self.max_iter)
        if solution.gap > self.tol * max(solution.objective, np.finfo(float).tiny):
            remedy = "raise max_iter" if solution.steps >= self.max_iter else "scale the columns, e.g. to 0..1"
            warnings.warn(f"duality gap {solution.gap:.3g} of the objective {solution.objective:.6g} after "
                          f"{solution.steps} steps; {remedy}", ConvergenceWarning, stacklevel=2)
        self.coef_ = solution.weights[None]
        self.intercept_ = np.array([solution.intercept - centre @ solution.weights])
        self.objective_, self.duality_gap_, self.n_iter_ = solution.objective, solution.gap, solution.steps
        return self

    def decision_function(self, X):
        """Distance from the margin's middle for rows X, shape (n, n_features); above 0: the second class."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return X @ self.coef_[0] + self.intercept_[0]

    def predict(self, X):
        """Class of each row of X, shape (n, n_features)."""
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(int)]

    def __sklearn_tags__(self):
        """Two classes only."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def minimise_hinge(rows, y, cost, tol: float = 1e-6, max_iter: int = 500) -> Solution:
    """Minimise P(w, b) to a duality gap of `tol` times the objective.

    Parameters
    ----------
    rows, y, cost : ndarray, shape (n, d), (n,), (n,)
        float64, finite; -1 or 1, both present; c_i, above 0.
    tol, max_iter : float, int
        Gap to stop at; largest number of Newton steps, for each cost on the way.

    Returns
    -------
    Solution
        The best found; its gap says whether the tolerance was reached.
    """
    theta, delta, steps = np.zeros(rows.shape[1] + 1), FIRST_DELTA, 0
    if cost.mean() > FOLLOW_FROM:
        guess = minimise_hinge(rows, y, cost / FOLLOW_FACTOR, max(tol, FOLLOW_TOLERANCE), max_iter)
        theta, delta, steps = np.append(guess.weights, guess.intercept), WARM_DELTA, guess.steps
        max_iter += steps
    elif len(rows) > 4 * WARM_START_ROWS:
        theta, delta, steps = _first_guess(rows, y, cost, max_iter)
    best, dual = None, -np.inf
    while True:
        theta, taken = _newton_round(rows, y, cost, theta, delta,
                                     max_steps=min(NEWTON_STEPS, max_iter - steps))
        steps += taken
        objective, bound = _certificate(rows, y, cost, theta, delta)
        dual = max(dual, bound)
        if best is None or objective < best[0]:
            best = objective, theta
        if best[0] - dual <= tol * best[0] or steps >= max_iter or delta < 1e-12:
            return _with_best_intercept(rows, y, cost, best[1][:-1], dual=dual, steps=max(steps, 1))
        delta *= SHRINK


def _with_best_intercept(rows, y, cost, weights, dual, steps) -> Solution:
    """The solution of given weights: the losses' sum is least at one bend, or everywhere between two neighbours."""
    scores = rows @ weights
    bends = y - scores  # where each row's loss begins or ends as the intercept rises
    order = np.argsort(bends, kind="stable")
    bends, slope = bends[order], np.cumsum(cost[order]) - cost[y > 0].sum()  # slope of the losses' sum after each bend
    rounding = 1e-9 * cost.sum()
    first = int(np.argmax(slope >= -rounding))
    last = first + int(slope[first] <= rounding)
    intercept = (bends[first] + bends[last]) / 2
    objective = weights @ weights / 2 + cost @ np.maximum(1 - y * (scores + intercept), 0)
    return Solution(weights, float(intercept), float(objective), float(max(objective - dual, 0.0)), steps)


def _first_guess(rows, y, cost, max_iter) -> tuple[np.ndarray, float, int]:
    """Solution for evenly spaced rows of each class, the width of the hinge to go on with, and the steps it took."""
    chosen = np.sort(np.concatenate([_every(np.flatnonzero(y == side), WARM_START_ROWS // 2) for side in (-1, 1)]))
    share = np.where(y[chosen] > 0, cost[y > 0].sum() / cost[chosen][y[chosen] > 0].sum(),
                     cost[y < 0].sum() / cost[chosen][y[chosen] < 0].sum())
    guess = minimise_hinge(rows[chosen], y[chosen], cost[chosen] * share, 1e-4, max_iter)
    return np.append(guess.weights, guess.intercept), WARM_DELTA, guess.steps


def _every(indices, number) -> np.ndarray:
    """At most `number` evenly spaced indices."""
    return indices[np.linspace(0, len(indices) - 1, min(number, len(indices))).astype(np.intp)]


def _newton_round(rows, y, cost, theta, delta, max_steps) -> tuple[np.ndarray, int]:
    """Minimise the rounded problem of one width from `theta`; returns the minimum and the steps taken."""
    slack = 1 - y * (rows @ theta[:-1] + theta[-1])
    for step in range(max_steps):
        slope = cost * np.clip(slack / delta, 0, 1)  # minus the derivative by the margin: the dual variables
        signed = slope * y
        gradient = np.append(theta[:-1] - rows.T @ signed, -signed.sum())
        direction = _newton_direction(rows, cost, slack, delta, gradient)
        decrement = -(gradient @ direction)
        if decrement <= 1e-9 * (slope @ slack + theta[:-1] @ theta[:-1]) + 1e-300:
            return theta, step
        change = -y * (rows @ direction[:-1] + direction[-1])
        length = _line_search(theta[:-1], direction[:-1], slack, change, cost=cost, delta=delta)
        theta, slack = theta + length * direction, slack + length * change
    return theta, max_steps


def _newton_direction(rows, cost, slack, delta, gradient) -> np.ndarray:
    """Minus the gradient over the Hessian of the rounded problem; only rows on the rounded part are curved."""
    size = gradient.size
    hessian = np.zeros((size, size))
    curved = np.flatnonzero((slack > 0) & (slack < delta))
    for start in range(0, curved.size, BLOCK_ROWS):
        index = curved[start:start + BLOCK_ROWS]
        block = np.column_stack([rows[index], np.ones(index.size)])
        hessian += (block * (cost[index] / delta)[:, None]).T @ block
    diagonal = np.append(np.ones(size - 1), 0.0)
    floor = 1e-13 * (np.trace(hessian) + size)  # keeps the intercept's curvature from vanishing
    hessian[np.diag_indices(size)] += diagonal + floor
    try:
        return -solve(hessian, gradient, assume_a="pos")
    except LinAlgError:
        return -gradient / np.abs(hessian).sum(axis=1)


def _line_search(weights, direction, slack, change, cost, delta) -> float:
    """Step length that minimises the rounded problem along a line: the root of its derivative, which rises."""
    def derivative(length):
        slope = np.clip((slack + length * change) / delta, 0, 1)
        return weights @ direction + length * (direction @ direction) + (cost * slope) @ change

    start = derivative(0.0)
    low, high, at_low, at_high = 0.0, 1.0, start, derivative(1.0)
    while at_high < 0 and high < 2**40:
        low, high, at_low, at_high = high, 2 * high, at_high, derivative(2 * high)
    for _ in range(30):
        if min(abs(at_low), abs(at_high)) <= 0.05 * abs(start):
            break
        secant = (low * at_high - high * at_low) / (at_high - at_low)
        middle = np.clip(secant, 0.9 * low + 0.1 * high, 0.1 * low + 0.9 * high)
        value = derivative(middle)
        low, high, at_low, at_high = (middle, high, value, at_high) if value < 0 else (low, middle, at_low, value)
    return low if abs(at_low) < abs(at_high) else high


def _certificate(rows, y, cost, theta, delta) -> tuple[float, float]:
    """The exact objective at `theta`, and the dual value of its slopes made feasible: a lower bound of the optimum."""
    slack = 1 - y * (rows @ theta[:-1] + theta[-1])
    objective = theta[:-1] @ theta[:-1] / 2 + cost @ np.maximum(slack, 0)
    slope = cost * np.clip(slack / delta, 0, 1)
    above, below = slope[y > 0].sum(), slope[y < 0].sum()
    if above == 0 or below == 0:
        return objective, 0.0
    slope[y > 0 if above > below else y < 0] *= min(above, below) / max(above, below)  # sum of y x slope must be 0
    total = rows.T @ (slope * y)
    return objective, slope.sum() - total @ total / 2
