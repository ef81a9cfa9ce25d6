"""The classifiers: linear and rbf SVM, logistic regression, gradient boosting; fitted, and as plain numbers.

All decide at 0. SVMs and boosting weigh the classes inversely to their frequency; logistic regression does not, and
decides where its probability is above the frequency of flares in training, the threshold of largest expected TSS. In
plain form (lists of numbers, for JSON) a fitted machine gives the same values without scikit-learn.

The rbf SVM is libsvm's (gamma "scale": 1 / (columns x variance)) on at most `max_rbf_rows` rows, as its time grows with
the square of the rows. What that costs: on simulated rows of 1,570 regions (tests/benchmarks/benchmark_svm.py) TSS on
unseen regions was .528, .534, .542, .550 with 2,500, 5,000, 10,000, 20,000 rows, about .008 less for each halving, and
.558 for the linear machine on all 854,828; AUC .843, .845, .851, .856 and .856.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

CLASS_TYPES = {"linear": "linear SVM", "rbf": "rbf SVM", "logistic": "logistic regression",
               "gradient_boosting": "gradient boosting"}
# chosen by cross-validation over regions: tests/benchmarks/choose_settings.py
BOOSTING = {"max_iter": 150, "learning_rate": 0.03, "max_depth": 3, "max_features": 0.2}
ROWS_A_LEAF = 130  # a leaf has at least one in so many rows: images of a region are alike, and few regions flare
THREADS_FROM = 20_000  # rows
_KERNEL_BLOCK = 4_000_000  # entries of the kernel matrix held at once: 32 MB


class Machine(Protocol):
    """Anything with `decision_function(scaled rows)`, above 0 for a flare."""

    def decision_function(self, values: np.ndarray) -> np.ndarray:
        """Return one value a row.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            Scaled rows.

        Returns
        -------
        ndarray
            Shape (n,).
        """


@dataclass(frozen=True)
class LinearMachine:
    """Decision value: weights . x + intercept."""

    weights: np.ndarray
    intercept: float

    def decision_function(self, values: np.ndarray) -> np.ndarray:
        """Return one value a row, above 0 for a flare.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            Scaled rows.

        Returns
        -------
        ndarray
            Shape (n,).
        """
        return values @ self.weights + self.intercept


@dataclass(frozen=True)
class KernelMachine:
    """Decision value: sum_k weights_k exp(-gamma |x - vectors_k|^2) + intercept."""

    vectors: np.ndarray
    weights: np.ndarray
    gamma: float
    intercept: float

    def decision_function(self, values: np.ndarray) -> np.ndarray:
        """Return one value a row, above 0 for a flare.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            Scaled rows; worked through in blocks of bounded memory.

        Returns
        -------
        ndarray
            Shape (n,).
        """
        size = max(1, _KERNEL_BLOCK // len(self.vectors))
        lengths = (self.vectors**2).sum(axis=1)
        scores = np.empty(len(values))
        for start in range(0, len(values), size):
            block = values[start:start + size]
            kernel = 2 * (block @ self.vectors.T) - lengths - (block**2).sum(axis=1)[:, None]
            np.minimum(kernel, 0, out=kernel)  # a squared distance may round to less than 0
            kernel *= self.gamma
            scores[start:start + size] = np.exp(kernel, out=kernel) @ self.weights + self.intercept
        return scores


@dataclass(frozen=True)
class TreeMachine:
    """Decision value: baseline plus one leaf of each tree; an inner node sends x[feature] <= threshold to the left."""

    baseline: float
    trees: tuple[dict[str, np.ndarray], ...]

    def decision_function(self, values: np.ndarray) -> np.ndarray:
        """Return one value a row, above 0 for a flare.

        Parameters
        ----------
        values : ndarray, shape (n, d)
            Scaled rows, finite.

        Returns
        -------
        ndarray
            Shape (n,).
        """
        scores = np.full(len(values), self.baseline)
        for tree in self.trees:
            node, inner = np.zeros(len(values), dtype=np.intp), np.arange(len(values))
            while inner.size:
                inner = inner[tree["left"][node[inner]] >= 0]
                at = node[inner]
                go_left = values[inner, tree["feature"][at]] <= tree["threshold"][at]
                node[inner] = np.where(go_left, tree["left"][at], tree["right"][at])
            scores += tree["value"][node]
        return scores


# ---------------------------------------------------------------------------- fitting


def fit_machine(class_type: str, values: np.ndarray, classes: np.ndarray, C: float, seed: int):
    """Fit a classifier to scaled rows.

    Parameters
    ----------
    class_type : {"linear", "rbf", "logistic", "gradient_boosting"}
        Which one.
    values : ndarray, shape (n, d)
        Scaled rows.
    classes : ndarray, shape (n,)
        0 or 1, both present.
    C : float
        Cost of a row, as in libsvm; of no matter to boosting.
    seed : int
        Of boosting's binning and choice of columns.

    Returns
    -------
    estimator
        A fitted scikit-learn estimator with `decision_function`.
    """
    if class_type == "linear":
        from classifier_SVM.linear_svm import WeightedLinearSVC

        return WeightedLinearSVC(C=C).fit(values, classes)
    if class_type == "rbf":
        from sklearn.svm import SVC

        return SVC(kernel="rbf", C=C, class_weight="balanced", cache_size=1000).fit(values, classes)
    if class_type == "logistic":
        from sklearn.linear_model import LogisticRegression

        estimator = LogisticRegression(C=C, solver="newton-cholesky", max_iter=200).fit(values, classes)
        frequency = np.mean(classes)
        estimator.intercept_ -= np.log(frequency / (1 - frequency))
        return estimator
    from sklearn.ensemble import HistGradientBoostingClassifier

    with threadpool_limits(1 if len(values) < THREADS_FROM else None):  # few rows lose time on threads
        return HistGradientBoostingClassifier(
            class_weight="balanced", early_stopping=False, random_state=seed,
            min_samples_leaf=1 + len(values) // ROWS_A_LEAF, **BOOSTING).fit(values, classes)


def draw_rows(labels: pd.DataFrame, number: int, seed: int) -> np.ndarray:
    """Draw rows in proportion from every region, and there from either class.

    Parameters
    ----------
    labels : pandas.DataFrame
        With `region` and `class`.
    number : int
        How many rows, at least 1.
    seed : int
        Of the draw within a region and class.

    Returns
    -------
    ndarray of int
        Sorted numbers of rows; all of them when there are no more than `number`.
    """
    if len(labels) <= number:
        return np.arange(len(labels))
    shuffle = np.random.default_rng(seed).permutation(len(labels))
    regions, _ = pd.factorize(labels["region"], sort=True)
    order = np.lexsort((shuffle, regions, labels["class"]))
    return np.sort(order[((np.arange(number) + 0.5) * len(labels) / number).astype(np.intp)])


# ---------------------------------------------------------------------------- plain form


def plain_machine(estimator) -> Machine:
    """Return a fitted estimator of `fit_machine` as plain numbers that give the same decision values.

    Parameters
    ----------
    estimator : estimator
        As `fit_machine` returns it.

    Returns
    -------
    LinearMachine, KernelMachine or TreeMachine
        According to the estimator.
    """
    if hasattr(estimator, "coef_") and not hasattr(estimator, "dual_coef_"):
        return LinearMachine(estimator.coef_[0].copy(), float(estimator.intercept_[0]))
    if hasattr(estimator, "dual_coef_"):
        return KernelMachine(estimator.support_vectors_, estimator.dual_coef_[0], float(estimator._gamma),
                             float(estimator.intercept_[0]))
    trees = []
    for (predictor,) in estimator._predictors:
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(bool)
        trees.append({"feature": nodes["feature_idx"].astype(np.int64),
                      "threshold": np.where(leaf, 0.0, nodes["num_threshold"]),
                      "left": np.where(leaf, -1, nodes["left"].astype(np.int64)),
                      "right": np.where(leaf, -1, nodes["right"].astype(np.int64)),
                      "value": nodes["value"].astype(float)})
    return TreeMachine(float(np.ravel(estimator._baseline_prediction)[0]), tuple(trees))


def machine_to_numbers(machine: Machine) -> dict:
    """Return a plain machine as a dict for JSON.

    Parameters
    ----------
    machine : LinearMachine, KernelMachine or TreeMachine
        As `plain_machine` returns it.

    Returns
    -------
    dict
        Lists and numbers, and "kind".
    """
    if isinstance(machine, LinearMachine):
        return {"kind": "linear", "weights": machine.weights.tolist(), "intercept": machine.intercept}
    if isinstance(machine, KernelMachine):
        return {"kind": "rbf", "vectors": machine.vectors.tolist(), "weights": machine.weights.tolist(),
                "gamma": machine.gamma, "intercept": machine.intercept}
    return {"kind": "trees", "baseline": machine.baseline,
            "trees": [{name: column.tolist() for name, column in tree.items()} for tree in machine.trees]}


def machine_from_numbers(numbers: dict) -> Machine:
    """Return the machine of such a dict.

    Parameters
    ----------
    numbers : dict
        As `machine_to_numbers` returns it.

    Returns
    -------
    LinearMachine, KernelMachine or TreeMachine
        Equal to the one written.

    Raises
    ------
    ValueError
        When a part is missing, not numbers or not finite, or the nodes of a tree do not fit together.
    """
    try:
        if numbers["kind"] == "linear":
            return LinearMachine(_finite(numbers["weights"]), float(_finite(numbers["intercept"])))
        if numbers["kind"] == "rbf":
            return KernelMachine(_finite(numbers["vectors"]), _finite(numbers["weights"]),
                                 float(_finite(numbers["gamma"])), float(_finite(numbers["intercept"])))
        return TreeMachine(float(_finite(numbers["baseline"])), tuple(_tree(tree) for tree in numbers["trees"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a machine: {error}") from None


def _tree(numbers: dict) -> dict[str, np.ndarray]:
    """One tree; ValueError when a way through it would not end, as each node's children come after it."""
    kinds = {"feature": np.intp, "left": np.intp, "right": np.intp, "threshold": float, "value": float}
    tree = {name: _finite(numbers[name]).astype(kind) for name, kind in kinds.items()}
    size = tree["left"].size
    node = np.flatnonzero(tree["left"] >= 0)
    if not size or any(column.shape != (size,) for column in tree.values()) or (tree["feature"][node] < 0).any() or any(
            ((tree[side][node] <= node) | (tree[side][node] >= size)).any() for side in ("left", "right")):
        raise ValueError("not a machine: a tree whose nodes do not fit together")
    return tree


def _finite(numbers) -> np.ndarray:
    """The numbers as float64; ValueError when one is not finite."""
    array = np.asarray(numbers, dtype=float)
    if not np.isfinite(array).all():
        raise ValueError("not a machine: a number is not finite")
    return array


# ---------------------------------------------------------------------------- what a feature does


def feature_effects(machine: Machine, values: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Change of the decision value when one feature after the other is put to its typical value.

    Parameters
    ----------
    machine : Machine
        Fitted.
    values : ndarray, shape (n, d)
        Scaled rows.
    typical : ndarray, shape (d,)
        Scaled values of a typical image.

    Returns
    -------
    ndarray
        Shape (n, d): above 0 where the feature speaks for a flare, beside a typical image. For the linear machine
        exactly weight x (value - typical).
    """
    own = machine.decision_function(values)
    effects = np.empty(values.shape)
    for column in range(values.shape[1]):
        changed = values.copy()
        changed[:, column] = typical[column]
        effects[:, column] = own - machine.decision_function(changed)
    return effects
