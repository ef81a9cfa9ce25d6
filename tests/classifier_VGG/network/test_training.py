"""The head's training: order, equality with plain Keras, and heads on disk that are resumed where they end."""

import json

import keras
import numpy as np
import pytest

from classifier_VGG.network import training
from classifier_VGG.network.vgg16 import head_digest, new_head
from general_code.evaluation.scores import skill_scores
from general_code.stage.files import UserError

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' variables under numpy 2
SETTINGS = {"weights": "md5-1", "learning_rate": 0.001}
RNG = np.random.default_rng(4)
FEATURES = np.maximum(RNG.normal(size=(300, 24)), 0).astype(np.float32)
PLACES = RNG.permutation(300)[:150]  # of the images to train on
CLASSES = (FEATURES[:, 0] + RNG.normal(0, 0.3, 300) > 0.6).astype(int)


@pytest.mark.parametrize("images", [1, 31, 32, 33, 1000, 40_000])
def test_an_order_is_a_permutation_of_its_own_for_seed_and_epoch(images):
    order = training.epoch_order(images, 3, 1)
    assert np.array_equal(np.sort(order), np.arange(images))
    assert np.array_equal(order, training.epoch_order(images, 3, 1))
    if images > 1000:
        assert not np.array_equal(order, training.epoch_order(images, 3, 2))
        assert not np.array_equal(order, training.epoch_order(images, 4, 1))


def test_neighbours_in_the_list_do_not_share_a_batch():
    order = training.epoch_order(100_000, 0, 0)
    shared = [64 - len(np.unique(order[start:start + 64] // 32)) for start in range(0, 99_968, 64)]
    assert np.mean(shared) < 6  # a batch of 64 from a block of 512 runs of 32: 3.8 expected


@pytest.mark.parametrize("batch_size", [4, 64, 150, 400])
def test_training_takes_the_steps_of_adam_by_hand(run, batch_size):
    """Softmax and weighted cross-entropy: the gradient is forecast minus truth."""
    head = new_head(24, 1, 1e-2)
    weights = {0: 1.0, 1: np.mean(CLASSES[PLACES] == 0) / np.mean(CLASSES[PLACES])}
    values = [array.astype(np.float64) for array in head.get_weights()]
    first, second, step = [0.0, 0.0], [0.0, 0.0], 0
    trainer = training.HeadTrainer(lambda chosen: FEATURES[chosen], CLASSES, batch_size, run)
    for epoch in range(1, 4):
        record = trainer.train_epoch(head, PLACES, 0, epoch)
        order, losses, decisions = PLACES[training.epoch_order(150, 0, epoch)], [], []
        for start in range(0, 150, batch_size):
            chosen = order[start:start + batch_size]
            logits = FEATURES[chosen] @ values[0] + values[1]
            forecast = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            truth, weight = np.eye(2)[CLASSES[chosen]], np.array([weights[label] for label in CLASSES[chosen]])
            losses += (-np.log((forecast * truth).sum(axis=1)) * weight).tolist()
            decisions += forecast.argmax(axis=1).tolist()
            error = (forecast - truth) * weight[:, np.newaxis] / len(chosen)
            step += 1
            for number, gradient in enumerate((FEATURES[chosen].T @ error, error.sum(axis=0))):
                first[number] = 0.9 * first[number] + 0.1 * gradient
                second[number] = 0.999 * second[number] + 0.001 * gradient**2
                rate = 1e-2 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                values[number] -= rate * first[number] / (np.sqrt(second[number]) + 1e-7)
        assert record["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
        expected = skill_scores(CLASSES[order], np.array(decisions))
        assert {name: record[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    for one, two in zip(head.get_weights(), values, strict=True):
        assert np.abs(one - two).max() < 1e-5
    assert int(head.optimizer.iterations.numpy()) == step
    odds = np.diff(FEATURES[PLACES] @ values[0] + values[1], axis=1)[:, 0]
    assert np.allclose(trainer.log_odds(head, PLACES), odds, atol=1e-4)
    assert trainer.log_odds(head, PLACES[:0]).shape == (0,)


def test_scores_of_a_set_have_keras_loss_and_are_nan_where_not_defined():
    classes, odds = np.array([0, 1, 1, 0]), np.array([-2.0, 3.0, -0.5, 1.0])
    scores = training.set_scores(classes, odds)
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(classes, odds)
    assert scores["loss"] == pytest.approx(float(expected), rel=1e-5)
    weighted = keras.losses.BinaryCrossentropy(from_logits=True)(classes[:, None], odds[:, None], [1.0, 4.0, 4.0, 1.0])
    as_in_training = training.set_scores(classes, odds, np.array([0, 0, 0, 0, 1]))  # four quiet images a flaring one
    assert as_in_training["loss"] == pytest.approx(float(weighted), rel=1e-5)
    assert (scores["TPR"], scores["TNR"], scores["TSS"]) == (0.5, 0.5, 0.0)
    assert all(np.isnan(value) for value in training.set_scores(np.empty(0, int), np.empty(0)).values())
    scores = training.set_scores(np.array([0, 0]), np.array([1.0, -1.0]))
    assert scores["TNR"] == 0.5
    assert all(np.isnan(scores[name]) for name in ("TPR", "TSS", "HSS"))


# ---------------------------------------------------------------------------- heads on disk


def record(score):
    """Return an epoch's record."""
    return dict.fromkeys(training.HISTORY_COLUMNS[1:], 0.1 + 0.2) | {"val_TSS": score}


def resumed(tmp_path, run, epochs=5, **changes):
    """Return checkpoints of the same or changed settings and the head to continue from."""
    checkpoints = training.Checkpoints(tmp_path, SETTINGS | changes)
    return checkpoints, checkpoints.resume(epochs, run)


@pytest.fixture
def three_epochs(tmp_path, run):
    """Checkpoints of three epochs."""
    checkpoints, head = resumed(tmp_path, run)
    assert head is None
    for seed in range(3):
        checkpoints.save(new_head(6, seed, 0.001), record(0.1 * seed))
    return checkpoints


def test_a_training_continues_after_its_last_epoch_with_adam(tmp_path, run, three_epochs, capsys):
    again, head = resumed(tmp_path, run)
    assert again.history == three_epochs.history
    assert type(head.optimizer) is keras.optimizers.Adam
    assert head.optimizer.built
    assert head_digest(head) == head_digest(new_head(6, 2, 0.001))
    assert "Continuing after epoch 3" in capsys.readouterr().out


def test_fewer_epochs_use_the_first_heads_and_keep_the_others(tmp_path, run, three_epochs, capsys):
    assert [item["epoch"] for item in resumed(tmp_path, run, epochs=2)[0].history] == [1, 2]
    assert "1 heads of this training after epoch 2 are kept and not used" in capsys.readouterr().out
    assert resumed(tmp_path, run, epochs=3)[0].history == three_epochs.history


@pytest.mark.parametrize(("lost", "usable"), [(3, 2), (1, 0), ("last record", 2), ("history", 0), ("columns", 0),
                                              ("too long", 0), ("a gap", 0), ("no text", 0)])
def test_an_epoch_that_was_not_finished_is_repeated(tmp_path, run, three_epochs, lost, usable, capsys):
    history = three_epochs.folder / "history.csv"
    text = history.read_text()
    if isinstance(lost, int):
        three_epochs.head_file(lost).unlink()
    else:
        history.write_text({"last record": text[:text.index("\n3,") + 1], "history": "", "no text": "\udcff",
                            "columns": text.replace("HSS", "Heidke"), "too long": text + "4," + "1" * 200_000,
                            "a gap": text.replace("\n2,", "\n4,")}[lost], errors="surrogateescape")
    again, head = resumed(tmp_path, run)
    assert len(again.history) == usable
    assert (head is None) == (usable == 0)
    damaged = lost in ("columns", "too long", "a gap", "no text")
    assert ("history.csv is damaged and not used (" in capsys.readouterr().out) == damaged


def test_a_damaged_head_is_trained_again_from_the_one_before(tmp_path, run, three_epochs, capsys):
    third = three_epochs.head_file(3)
    third.write_bytes(third.read_bytes()[:900])
    again, head = resumed(tmp_path, run)
    assert len(again.history) == 2
    assert head_digest(head) == head_digest(new_head(6, 1, 0.001))
    assert "head_epoch_003.keras cannot be read" in capsys.readouterr().out
    with pytest.raises(UserError, match="epoch_003.keras cannot be read .*; remove it and start again"):
        again.load(3)
    again.save(new_head(6, 7, 0.001), record(np.nan))
    scores = [item["val_TSS"] for item in resumed(tmp_path, run)[0].history]
    assert scores == pytest.approx([0.0, 0.1, np.nan], nan_ok=True)


def test_other_settings_have_heads_of_their_own_and_the_others_are_named(tmp_path, run, three_epochs, capsys):
    other, head = resumed(tmp_path, run, learning_rate=0.1)
    assert head is None
    other.save(new_head(6, 9, 0.1), record(0.7))
    assert (f"The heads in {three_epochs.folder} are not used: they were trained with other settings or images "
            "(learning_rate)") in capsys.readouterr().out
    assert resumed(tmp_path, run)[0].history == three_epochs.history
    (other.folder / "settings.json").write_text("{")
    resumed(tmp_path, run)
    assert "settings or images (unknown)" in capsys.readouterr().out
    assert json.loads((three_epochs.folder / "settings.json").read_text()) == SETTINGS


@pytest.mark.parametrize(("scores", "best", "text"), [
    ([0.1, 0.3, 0.2], 2, "the one of largest validation TSS (0.300); the epochs' values range from 0.100 to 0.300"),
    ([np.nan, -0.1, 0.2], 3, "range from -0.100 to 0.200"),
    ([0.0, 0.0], 1, "Epoch 1 of 2: the validation TSS is 0.000 in all epochs, no choice is possible"),
    ([0.3], 1, "Epoch 1 of 1: validation TSS 0.300"),
    ([np.nan, np.nan], 2, "Epoch 2, the last one: the validation TSS is not defined")])
def test_the_epoch_of_largest_validation_tss_is_taken(scores, best, text):
    epoch, choice = training.best_epoch([record(score) for score in scores])
    assert epoch == best
    assert text in choice
    assert ("noisy" in choice) == ("range" in choice)


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_the_axis_of_the_curves_has_whole_epochs(epochs):
    history = [{"epoch": epoch} | record(0.1) for epoch in range(1, epochs + 1)]
    figure = training.training_figure(history, 1, "")
    figure.canvas.draw()
    for ax in figure.axes:
        low, high = ax.get_xlim()
        assert [tick for tick in ax.get_xticks() if low <= tick <= high] == list(range(1, epochs + 1))
