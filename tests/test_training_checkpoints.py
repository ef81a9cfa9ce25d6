"""Heads and history on disk: resumed where they end, refused when they are of another training."""

import keras
import numpy as np
import pandas as pd
import pytest

from classifier_VGG.training_checkpoints import HISTORY_COLUMNS, Checkpoints, best_epoch
from classifier_VGG.vgg16_network import new_head
from general_code.stage_run import StageRun

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' variables under numpy 2
IDENTITY = {"weights": "md5-1", "learning_rate": 0.001}


@pytest.fixture
def run(tmp_path):
    """A run that only notes."""
    with (tmp_path / "log").open("w") as log:
        yield StageRun(log)


def record(score):
    """Return an epoch's record."""
    return dict.fromkeys(HISTORY_COLUMNS[1:], 0.25) | {"val_TSS": score}


@pytest.fixture
def three_epochs(tmp_path, run):
    """Checkpoints of three epochs."""
    checkpoints = Checkpoints(tmp_path, "_x", IDENTITY)
    assert checkpoints.resume(5, run) is None
    for seed in range(3):
        checkpoints.save(new_head(6, seed, 0.001), record(0.1 * seed))
    return checkpoints


def test_a_training_goes_on_after_its_last_epoch_with_adam(tmp_path, run, three_epochs, capsys):
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    head = again.resume(5, run)
    assert again.history == three_epochs.history
    assert type(head.optimizer) is keras.optimizers.Adam
    assert head.optimizer.built
    saved = new_head(6, 2, 0.001)
    assert all(np.array_equal(*pair) for pair in zip(head.get_weights(), saved.get_weights(), strict=True))
    assert "Going on after epoch 3" in capsys.readouterr().out


def test_the_history_has_the_published_scores(tmp_path, three_epochs):
    table = pd.read_csv(three_epochs.history_file)
    assert tuple(table.columns) == HISTORY_COLUMNS
    assert table["epoch"].tolist() == [1, 2, 3]
    assert three_epochs.history_file.name == "history_x.csv"


def test_fewer_epochs_use_the_first_heads(tmp_path, run, three_epochs):
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    again.resume(2, run)
    assert [item["epoch"] for item in again.history] == [1, 2]
    assert not again.head_file(3).exists()


@pytest.mark.parametrize("lost", ["head", "history line", "history"])
def test_an_epoch_that_was_not_finished_is_done_again(tmp_path, run, three_epochs, lost):
    if lost == "head":
        three_epochs.head_file(3).unlink()
    elif lost == "history line":
        lines = three_epochs.history_file.read_text().splitlines(keepends=True)
        three_epochs.history_file.write_text("".join(lines[:3]))
    else:
        three_epochs.history_file.unlink()
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    head = again.resume(5, run)
    assert len(again.history) == (0 if lost == "history" else 2)
    assert (head is None) == (lost == "history")


def test_a_damaged_head_is_trained_again_from_the_one_before(tmp_path, run, three_epochs, capsys):
    three_epochs.head_file(3).write_bytes(three_epochs.head_file(3).read_bytes()[:900])
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    head = again.resume(5, run)
    assert len(again.history) == 2
    assert np.array_equal(head.get_weights()[0], new_head(6, 1, 0.001).get_weights()[0])
    assert "epoch_003.keras cannot be read" in capsys.readouterr().out
    again.history_file.write_text("something,else\n1,2\n")
    assert Checkpoints(tmp_path, "_x", IDENTITY).resume(5, run) is None


def test_heads_of_other_settings_are_not_used_and_the_message_says_which(tmp_path, run, three_epochs, capsys):
    again = Checkpoints(tmp_path, "_x", IDENTITY | {"learning_rate": 0.1})
    assert again.resume(5, run) is None
    assert not again.history
    assert "3 heads" in (text := capsys.readouterr().out)
    assert "other settings or images (learning_rate)" in text


def test_heads_of_another_suffix_are_left_alone(tmp_path, run, three_epochs):
    other = Checkpoints(tmp_path, "", IDENTITY | {"learning_rate": 0.1})
    other.resume(5, run)
    assert all(three_epochs.head_file(epoch).exists() for epoch in (1, 2, 3))


@pytest.mark.parametrize(("scores", "best"), [([0.1, 0.3, 0.2], 2), ([0.3, 0.3], 1), ([np.nan, -0.1], 2)])
def test_the_epoch_of_largest_validation_tss_is_taken_and_said_to_be_noisy(scores, best):
    epoch, text = best_epoch([record(score) for score in scores])
    assert epoch == best
    assert "noisy" in text


def test_without_a_validation_tss_the_last_epoch_is_taken():
    epoch, text = best_epoch([record(np.nan), record(np.nan)])
    assert epoch == 2
    assert "not defined" in text
