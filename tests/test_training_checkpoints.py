"""Heads and history on disk: resumed where they end, refused when they are of another training."""

import contextlib
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from classifier_VGG.training_checkpoints import HISTORY_COLUMNS, Checkpoints, best_epoch
from classifier_VGG.vgg16_network import new_head
from general_code.stage_files import UserError
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


def test_fewer_epochs_use_the_first_heads_and_keep_the_others(tmp_path, run, three_epochs, capsys):
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    again.resume(2, run)
    assert [item["epoch"] for item in again.history] == [1, 2]
    assert pd.read_csv(again.history_file)["epoch"].tolist() == [1, 2]
    assert "1 heads of this training after epoch 2 are kept and not used" in capsys.readouterr().out
    third = Checkpoints(tmp_path, "_x", IDENTITY)
    third.resume(3, run)
    assert third.history == three_epochs.history, "going back to three epochs trains nothing"


def test_more_than_999_epochs_are_resumed_at_the_last(tmp_path, run):
    new_head(6, 0, 0.001).save(tmp_path / "head_VGG_x_epoch_1001.keras")
    for epoch in range(1, 1001):
        (tmp_path / f"head_VGG_x_epoch_{epoch:03}.keras").touch()
    records = [{"epoch": epoch} | record(0.5) for epoch in range(1, 1002)]
    (tmp_path / "training_x.json").write_text(json.dumps({"identity": IDENTITY, "records": records}))
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    assert again.resume(1002, run) is not None
    assert len(again.history) == 1001
    assert len(list(tmp_path.glob("head_VGG_x_epoch_*.keras"))) == 1001


@pytest.mark.parametrize("lost", ["head", "last record", "state"])
def test_an_epoch_that_was_not_finished_is_done_again(tmp_path, run, three_epochs, lost):
    if lost == "head":
        (tmp_path / "head_VGG_x_epoch_003.keras").unlink()
    elif lost == "last record":
        state = json.loads(three_epochs.state_file.read_text())
        three_epochs.state_file.write_text(json.dumps(state | {"records": state["records"][:2]}))
    else:
        three_epochs.state_file.unlink()
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    head = again.resume(5, run)
    assert len(again.history) == (0 if lost == "state" else 2)
    assert (head is None) == (lost == "state")


def test_a_damaged_head_is_trained_again_from_the_one_before(tmp_path, run, three_epochs, capsys):
    third = tmp_path / "head_VGG_x_epoch_003.keras"
    third.write_bytes(third.read_bytes()[:900])
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    head = again.resume(5, run)
    assert len(again.history) == 2
    assert np.array_equal(head.get_weights()[0], new_head(6, 1, 0.001).get_weights()[0])
    assert "epoch_003.keras cannot be read" in capsys.readouterr().out
    with pytest.raises(UserError, match="epoch_003.keras cannot be read .*; remove it and start again"):
        again.load(3)


def test_heads_of_other_settings_are_set_aside_and_used_again_with_theirs(tmp_path, run, three_epochs, capsys):
    other = Checkpoints(tmp_path, "_x", IDENTITY | {"learning_rate": 0.1})
    assert other.resume(5, run) is None
    assert not other.history
    text = capsys.readouterr().out
    assert "The 3 heads in" in text
    assert "other settings or images (learning_rate); they are moved to" in text
    (folder,) = tmp_path.glob("other_training_x_*")
    assert len(list(folder.glob("head_VGG_x_epoch_*.keras"))) == 3
    other.save(new_head(6, 9, 0.1), record(0.7))
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    again.resume(5, run)
    assert again.history == three_epochs.history
    assert "is taken back from" in capsys.readouterr().out
    (folder,) = tmp_path.glob("other_training_x_*")
    assert [path.name for path in folder.glob("*.keras")] == ["head_VGG_x_epoch_001.keras"]


@pytest.mark.parametrize("state", [None, "", "{", "[]", '{"records": []}', '{"identity": "old", "records": [1]}'])
def test_heads_whose_state_is_lost_are_kept_each_time(tmp_path, run, three_epochs, capsys, state):
    first = (tmp_path / "head_VGG_x_epoch_001.keras").read_bytes()
    kept = [first]
    for folder in ("other_training_x_unknown", "other_training_x_unknown_2"):
        if state is None:
            three_epochs.state_file.unlink()
        else:
            three_epochs.state_file.write_text(state)
        again = Checkpoints(tmp_path, "_x", IDENTITY)
        assert again.resume(5, run) is None
        text = capsys.readouterr().out
        assert f"they are of unknown settings; kept in {tmp_path / folder}\n" in text
        assert "used again" not in text
        assert (tmp_path / folder / "head_VGG_x_epoch_001.keras").read_bytes() == kept[-1]
        again.save(new_head(6, 7, 0.001), record(0.1))
        kept.append((tmp_path / "head_VGG_x_epoch_001.keras").read_bytes())
    assert kept[0] != kept[1]
    assert (tmp_path / "other_training_x_unknown" / "head_VGG_x_epoch_001.keras").read_bytes() == first
    assert len(list(tmp_path.rglob("head_VGG_x_epoch_*.keras"))) == 3 + 1 + 1


def test_a_head_set_aside_is_not_replaced_by_another_of_its_name(tmp_path, run, three_epochs, capsys):
    other = IDENTITY | {"learning_rate": 0.1}
    Checkpoints(tmp_path, "_x", other).resume(5, run)
    (folder,) = tmp_path.glob("other_training_x_*")
    heads = {path.name: path.read_bytes() for path in folder.glob("*.keras")}
    (tmp_path / "head_VGG_x_epoch_001.keras").write_bytes(b"of the user")
    (tmp_path / "training_x.json").write_bytes((folder / "training_x.json").read_bytes())
    capsys.readouterr()
    Checkpoints(tmp_path, "_x", other).resume(5, run)
    assert f"(learning_rate); kept in {folder}_2\n" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.glob("*.keras")} == heads
    assert (tmp_path / f"{folder.name}_2" / "head_VGG_x_epoch_001.keras").read_bytes() == b"of the user"


@pytest.mark.parametrize("moves", range(1, 6))
def test_a_kill_while_heads_are_moved_loses_none(tmp_path, run, three_epochs, monkeypatch, moves):
    real, done = Path.replace, []

    def die(path, target):
        if "epoch" in path.name and not path.name.startswith(".") or "other_training" in str(target):
            if len(done) == moves:
                raise KeyboardInterrupt
            done.append(path)
        return real(path, target)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, "replace", die)
        Checkpoints(tmp_path, "_x", IDENTITY | {"learning_rate": 0.1}).resume(5, run)
        Checkpoints(tmp_path, "_x", IDENTITY).resume(5, run)
    Checkpoints(tmp_path, "_x", IDENTITY | {"learning_rate": 0.1}).resume(5, run)
    again = Checkpoints(tmp_path, "_x", IDENTITY)
    again.resume(5, run)
    assert again.history == three_epochs.history


def test_heads_of_another_suffix_are_left_alone(tmp_path, run, three_epochs):
    for suffix in ("", "_x_epoch"):
        Checkpoints(tmp_path, suffix, IDENTITY | {"learning_rate": 0.1}).resume(5, run)
    assert len(list(tmp_path.glob("head_VGG_x_epoch_00?.keras"))) == 3


def test_scores_that_are_not_defined_survive(tmp_path, run):
    Checkpoints(tmp_path, "", IDENTITY).save(new_head(6, 0, 0.001), record(np.nan))
    again = Checkpoints(tmp_path, "", IDENTITY)
    again.resume(1, run)
    assert np.isnan(again.history[0]["val_TSS"])
    assert "NaN" not in again.state_file.read_text()


@pytest.mark.parametrize(("scores", "best"), [([0.1, 0.3, 0.2], 2), ([0.3, 0.3], 1), ([np.nan, -0.1], 2)])
def test_the_epoch_of_largest_validation_tss_is_taken_and_said_to_be_noisy(scores, best):
    epoch, text = best_epoch([record(score) for score in scores])
    assert epoch == best
    assert f"from {np.nanmin(scores):.3f} to {np.nanmax(scores):.3f}" in text
    assert "noisy" in text


def test_without_a_validation_tss_the_last_epoch_is_taken():
    epoch, text = best_epoch([record(np.nan), record(np.nan)])
    assert epoch == 2
    assert "not defined" in text
