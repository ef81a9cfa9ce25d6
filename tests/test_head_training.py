"""The head's training on cached rows: order, exact conversion, equality with Keras' own fit, bounded pieces."""

import keras
import numpy as np
import pytest

from classifier_VGG import head_training
from classifier_VGG.head_training import (
    HeadTrainer,
    as_float32,
    class_weights,
    epoch_order,
    flare_log_odds,
    set_scores,
)
from classifier_VGG.vgg16_network import new_head

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' variables under numpy 2


@pytest.fixture
def rows():
    """Features of 150 images in a larger array, their places in it and their classes."""
    rng = np.random.default_rng(4)
    features = np.maximum(rng.normal(size=(300, 24)), 0).astype(np.float32)
    places = rng.permutation(300)[:150]
    return features, places, (features[places, 0] + rng.normal(0, 0.3, 150) > 0.6).astype(int)


@pytest.mark.parametrize("images", [1, 31, 32, 33, 1000, 40_000])
def test_an_order_is_a_permutation_of_its_own_for_seed_and_epoch(images):
    order = epoch_order(images, 3, 1)
    assert np.array_equal(np.sort(order), np.arange(images))
    assert np.array_equal(order, epoch_order(images, 3, 1))
    if images > 1000:
        assert not np.array_equal(order, epoch_order(images, 3, 2))
        assert not np.array_equal(order, epoch_order(images, 4, 1))


def test_neighbours_in_the_list_do_not_share_a_batch():
    order = epoch_order(100_000, 0, 0)
    shared = [64 - len(np.unique(order[start:start + 64] // 32)) for start in range(0, 99_968, 64)]
    assert np.mean(shared) < 6  # a batch of 64 from a block of 512 runs of 32: 3.8 expected


def test_every_float16_becomes_the_same_float32():
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    numbers = numbers[np.isfinite(numbers)]
    converted = as_float32(numbers, np.empty(numbers.shape, np.float32))
    assert np.array_equal(converted, numbers.astype(np.float32))
    assert np.array_equal(np.signbit(converted), np.signbit(numbers))


def test_class_weights_are_one_and_the_ratio_of_the_numbers():
    assert class_weights(np.array([0, 0, 0, 1])) == {0: 1.0, 1: 3.0}


@pytest.mark.parametrize("batch_size", [16, 64, 150, 400])
def test_training_equals_keras_fit(rows, batch_size):
    features, places, classes = rows
    head, twin = (new_head(24, 1, 1e-2) for _ in range(2))
    twin.jit_compile = False
    trainer, weights = HeadTrainer(head, features, batch_size), class_weights(classes)
    for epoch in range(1, 4):
        order = epoch_order(150, 0, epoch)
        record = trainer.train_epoch(places, classes, weights, order)
        fitted = twin.fit(features[places][order], np.eye(2)[classes][order], batch_size, 1, shuffle=False,
                          class_weight=weights, verbose=0).history
        assert record["loss"] == pytest.approx(fitted["loss"][0], rel=1e-5)
        for name in ("TPR", "TNR", "TSS", "HSS"):
            assert record[name] == pytest.approx(fitted[name][0], abs=1e-6)
    for one, two in zip(head.get_weights(), twin.get_weights(), strict=True):
        assert np.abs(one - two).max() < 1e-6
    assert int(head.optimizer.iterations.numpy()) == 3 * -(-150 // batch_size)


def test_pieces_and_blocks_do_not_change_the_result(rows, monkeypatch):
    features, places, classes = rows
    heads = []
    for rows_a_call, rows_a_block in ((1024, 16384), (32, 64)):
        monkeypatch.setattr(head_training, "ROWS_A_CALL", rows_a_call)
        head = new_head(24, 1, 1e-2)
        order = np.random.default_rng(0).permutation(150)
        monkeypatch.setattr(head_training, "ROWS_A_BLOCK", rows_a_block)
        HeadTrainer(head, features, 16).train_epoch(places, classes, class_weights(classes), order)
        heads.append(head.get_weights())
    assert all(np.allclose(one, two, atol=1e-7) for one, two in zip(*heads, strict=True))


def test_float16_features_give_nearly_the_same_head(rows):
    features, places, classes = rows
    probabilities = []
    for dtype in (np.float32, np.float16):
        head, stored = new_head(24, 1, 1e-2), features.astype(dtype)
        for epoch in range(5):
            order = epoch_order(150, 0, epoch)
            HeadTrainer(head, stored, 16).train_epoch(places, classes, class_weights(classes), order)
        probabilities.append(1 / (1 + np.exp(-flare_log_odds(head, stored, places))))
    assert 0 < np.abs(probabilities[0] - probabilities[1]).max() < 2e-3


def test_log_odds_are_those_of_the_heads_probabilities(rows):
    features, places, _ = rows
    head = new_head(24, 2, 1e-3)
    probability = head.predict_on_batch(features[places])
    assert np.allclose(flare_log_odds(head, features, places), np.log(probability[:, 1] / probability[:, 0]), atol=1e-4)
    assert flare_log_odds(head, features, np.empty(0, int)).shape == (0,)


def test_an_error_while_reading_reaches_the_caller(rows):
    features, places, classes = rows
    trainer = HeadTrainer(new_head(24, 1, 1e-2), features, 16)
    trainer.features = None
    with pytest.raises(AttributeError):
        trainer.train_epoch(places, classes, class_weights(classes), epoch_order(150, 0, 1))


def test_scores_of_a_set_are_those_of_keras_losses():
    classes, odds = np.array([0, 1, 1, 0]), np.array([-2.0, 3.0, -0.5, 1.0])
    probability = 1 / (1 + np.exp(-odds))
    expected = keras.losses.CategoricalCrossentropy()(np.eye(2)[classes], np.stack([1 - probability, probability], 1))
    scores = set_scores(classes, odds)
    assert scores["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert (scores["TPR"], scores["TNR"], scores["TSS"]) == (0.5, 0.5, 0.0)


def test_scores_of_no_image_are_not_defined():
    assert all(np.isnan(value) for value in set_scores(np.empty(0, int), np.empty(0)).values())


def test_scores_of_one_class_are_not_defined():
    scores = set_scores(np.array([0, 0]), np.array([1.0, -1.0]))
    assert scores["TNR"] == 0.5
    assert all(np.isnan(scores[name]) for name in ("TPR", "TSS", "HSS"))
