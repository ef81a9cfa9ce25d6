"""TPR, TNR, TSS and HSS counted over a set, against hand-made tables and the shared scores."""

from itertools import product

import keras
import numpy as np
import pytest

from classifier_VGG.set_metrics import HSS, TNR, TPR, TSS, set_metrics
from general_code.skill_scores import scores_from_counts, skill_scores

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' variables under numpy 2


def one_hot(classes):
    """Return classes as two columns."""
    return np.eye(2, dtype=np.float32)[np.asarray(classes)]


def test_scores_of_a_table_by_hand():
    truth = one_hot([1] * 4 + [0] * 6)
    forecast = one_hot([1, 1, 1, 0] + [1, 1, 0, 0, 0, 0])
    expected = {"TPR": 3 / 4, "TNR": 4 / 6, "TSS": 3 / 4 + 4 / 6 - 1, "HSS": 2 * (3 * 4 - 1 * 2) / (4 * 5 + 5 * 6)}
    for metric in set_metrics():
        metric.update_state(truth, forecast)
        assert float(metric.result()) == pytest.approx(expected[metric.name], abs=1e-6)


def test_batches_of_any_size_are_counted_not_averaged():
    rng = np.random.default_rng(3)
    truth, probability = rng.integers(0, 2, 1000), rng.random(1000)
    expected = skill_scores(truth, (probability > 0.5).astype(int))
    for metric in set_metrics():
        for part in np.split(np.arange(1000), [1, 3, 700]):
            metric.update_state(one_hot(truth[part]), np.stack([1 - probability, probability], axis=1)[part])
        assert float(metric.result()) == pytest.approx(expected[metric.name], abs=1e-5)
        metric.reset_state()
        assert np.isnan(float(metric.result()))


def test_every_table_has_the_scores_that_the_project_defines_or_none():
    metrics = set_metrics()
    for counts in product((0, 1, 2), repeat=4):
        expected = scores_from_counts(counts)
        for metric in metrics:
            for variable, count in zip((metric.hits, metric.misses, metric.false_alarms, metric.correct_rejections),
                                       counts, strict=True):
                variable.assign(count)
            assert float(metric.result()) == pytest.approx(float(expected[metric.name]), abs=1e-6, nan_ok=True), counts


def test_class_weights_do_not_touch_the_scores():
    metric = TPR()
    metric.update_state(one_hot([1, 1]), one_hot([1, 0]), sample_weight=[100.0, 1.0])
    assert float(metric.result()) == 0.5


def test_metrics_are_registered_and_restored_by_name():
    for metric in (TPR, TNR, TSS, HSS):
        assert keras.saving.get_registered_name(metric) == f"flares>{metric.__name__}"
        assert type(keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric()))) is metric
