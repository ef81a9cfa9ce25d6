"""The classifiers: decision values are scikit-learn's and the same for each batch, the draw is in proportion."""

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.training import classifiers
from classifier_SVM.training.classifiers import decision_values, draw_rows, fit_classifier
from tests.classifier_SVM.training.test_linear_svm import complexity_like_rows


@pytest.fixture(scope="module", params=list(classifiers.CLASS_TYPES))
def fitted(request):
    rows, classes = complexity_like_rows(600, columns=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(classifiers.BOOSTING, "max_iter", 20)
        return request.param, fit_classifier(request.param, rows, classes, C=1.0, seed=0), rows, classes


def test_decision_values_are_scikit_learns(fitted):
    _, estimator, rows, _ = fitted
    beyond = np.vstack([rows, rows * 1.7 - 0.3])
    found = decision_values(estimator, beyond)
    assert found == pytest.approx(estimator.decision_function(beyond), abs=1e-9)
    assert ((found > 0) == estimator.predict(beyond)).all()


def test_an_image_alone_has_the_value_that_it_has_among_others_in_any_order_of_memory(fitted):
    class_type, estimator, rows, _ = fitted
    together = decision_values(estimator, rows)
    assert np.array_equal(decision_values(estimator, np.asfortranarray(rows)), together)
    alone = np.concatenate([decision_values(estimator, row[None]) for row in rows[:100]])
    assert alone == pytest.approx(together[:100], abs=1e-11 if class_type == "rbf" else 0)
    assert decision_values(estimator, rows[:0]).shape == (0,)


def test_kernel_in_blocks_is_the_same(monkeypatch):
    rows, classes = complexity_like_rows(300, columns=4)
    estimator = fit_classifier("rbf", rows, classes, 1.0, 0)
    whole = decision_values(estimator, rows)
    monkeypatch.setattr(classifiers, "KERNEL_BLOCK", 7 * len(estimator.support_vectors_))
    assert decision_values(estimator, rows) == pytest.approx(whole, abs=1e-12)


def test_draw_is_in_proportion_by_region_and_class():
    regions = np.repeat(["1000", "1001", "1002", "1003"], [400, 300, 200, 100])
    classes = (np.arange(1000) % 10 == 0).astype(int)
    labels = pd.DataFrame({"region": regions, "class": classes})
    chosen = draw_rows(labels, 100, seed=1)
    assert len(set(chosen)) == 100 and (np.diff(chosen) > 0).all()
    drawn = labels.iloc[chosen]
    assert drawn["region"].value_counts().to_dict() == pytest.approx(
        {"1000": 40, "1001": 30, "1002": 20, "1003": 10}, abs=1)
    assert drawn["class"].sum() == pytest.approx(10, abs=1)
    assert not np.array_equal(chosen, draw_rows(labels, 100, seed=2))
    assert np.array_equal(draw_rows(labels, 1000, seed=1), np.arange(1000))
