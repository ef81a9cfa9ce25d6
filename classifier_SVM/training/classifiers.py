"""The classifiers: linear and rbf SVM, logistic regression, gradient boosting.

All decide at 0. SVMs and boosting weigh the classes inversely to their frequency; logistic regression does not, and
decides where its probability is above the frequency of flares in training, the threshold of largest expected TSS.
The rbf SVM is libsvm's, on at most `max_rbf_rows` rows, as its time grows with their square. What that costs: on
simulated rows of 1,570 regions (tests/benchmarks/benchmark_svm.py) TSS on unseen regions was .528, .534, .542, .550
with 2,500, 5,000, 10,000, 20,000 rows, and .558 for the linear SVM on all 854,828.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

CLASS_TYPES = {"linear": "linear SVM", "rbf": "rbf SVM", "logistic": "logistic regression",
               "gradient_boosting": "gradient boosting"}
# chosen by cross-validation over regions: tests/benchmarks/choose_settings.py
BOOSTING = {"max_iter": 150, "learning_rate": 0.03, "max_depth": 3, "max_features": 0.2}
ROWS_A_LEAF = 130  # a leaf has at least one in so many rows: images of a region are alike, and few regions flare
THREADS_FROM = 20_000  # rows
KERNEL_BLOCK = 4_000_000  # entries of the kernel matrix held at once: 32 MB


def fit_classifier(class_type: str, values: np.ndarray, classes: np.ndarray, C: float, seed: int) -> Any:
    """Fit a classifier to scaled rows.

    Parameters
    ----------
    class_type, values, classes : a key of `CLASS_TYPES`, ndarray of shape (n, d), ndarray of shape (n,)
        Which one; scaled rows; 0 or 1, both present.
    C, seed : float, int
        Cost of a row, as in libsvm (boosting does without); of boosting's binning and choice of columns.

    Returns
    -------
    estimator
        A fitted scikit-learn estimator, for `decision_values`.
    """
    if class_type == "linear":
        from sklearn.exceptions import ConvergenceWarning

        from classifier_SVM.training.linear_svm import WeightedLinearSVC

        with warnings.catch_warnings():  # `duality_gap_` tells how far from the optimum it ended
            warnings.simplefilter("ignore", ConvergenceWarning)
            return WeightedLinearSVC(C=C).fit(values, classes)
    if class_type == "rbf":
        from sklearn.svm import SVC

        variance = values.var()
        gamma = 1 / (values.shape[1] * variance) if variance else 1.0  # scikit-learn's "scale", as a number
        return SVC(kernel="rbf", C=C, gamma=gamma, class_weight="balanced", cache_size=1000).fit(values, classes)
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


def decision_values(estimator: Any, values: np.ndarray) -> np.ndarray:
    """Return the decision value of each scaled row, above 0 for a flare.

    Parameters
    ----------
    estimator, values : estimator, ndarray, shape (n, d)
        As `fit_classifier` returns it; scaled rows, finite.

    Returns
    -------
    ndarray
        Shape (n,); but for the rbf SVM (1e-12) to the last digit the same whatever rows stand beside a row.
    """
    values = np.ascontiguousarray(values)  # the order in memory is the order of the sums
    if hasattr(estimator, "dual_coef_"):
        return _kernel_values(estimator, values)
    if hasattr(estimator, "coef_"):
        return np.einsum("ij,j->i", values, estimator.coef_[0]) + estimator.intercept_[0]
    return estimator.decision_function(values) if len(values) else np.empty(0)


def _kernel_values(estimator: Any, values: np.ndarray) -> np.ndarray:
    """Decision values of libsvm's estimator, by matrix products: a sixth of the time that libsvm takes."""
    from sklearn.metrics.pairwise import rbf_kernel

    vectors, scores = estimator.support_vectors_, np.empty(len(values))
    size = max(1, KERNEL_BLOCK // len(vectors))
    for start in range(0, len(values), size):
        kernel = rbf_kernel(values[start:start + size], vectors, estimator.gamma)
        scores[start:start + size] = kernel @ estimator.dual_coef_[0] + estimator.intercept_[0]
    return scores


def draw_rows(labels: pd.DataFrame, number: int, seed: int) -> np.ndarray:
    """Draw rows in proportion from every region, and there from either class.

    Parameters
    ----------
    labels, number, seed : pandas.DataFrame, int, int
        With `region` and `class`; how many rows, at least 1; of the draw within a region and class.

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
