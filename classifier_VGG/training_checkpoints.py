"""One head an epoch on disk, their history, and the way back into a training that was interrupted.

    head_VGG{suffix}_epoch_001.keras ...    the head after each epoch, with the state of its optimizer
    history{suffix}.csv                     epoch,loss,TPR,TNR,TSS,HSS,val_loss,val_TPR,val_TNR,val_TSS,val_HSS
    training{suffix}.json                   what the training depends on; heads of another are not used
"""

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import pandas as pd

import classifier_VGG.set_metrics  # noqa: F401  registers the metrics that the saved heads name
from general_code.stage_files import atomic_path, atomic_write, describe
from general_code.stage_run import StageRun

SCORES = ("loss", "TPR", "TNR", "TSS", "HSS")
HISTORY_COLUMNS = ("epoch", *SCORES, *(f"val_{name}" for name in SCORES))


class Checkpoints:
    """The checkpoints of one training.

    Parameters
    ----------
    output_dir : Path
        Where they are.
    suffix : str
        Of the names.
    identity : dict
        What the heads depend on, other than the number of epochs: plain values.
    """

    def __init__(self, output_dir: Path, suffix: str, identity: dict[str, Any]) -> None:
        self.output_dir, self.suffix, self.identity = output_dir, suffix, identity
        self.history: list[dict[str, float]] = []

    @property
    def history_file(self) -> Path:
        """Path of the history."""
        return self.output_dir / f"history{self.suffix}.csv"

    def head_file(self, epoch: int) -> Path:
        """Return the path of an epoch's head.

        Parameters
        ----------
        epoch : int
            From 1.

        Returns
        -------
        Path
            It need not exist.
        """
        return self.output_dir / f"head_VGG{self.suffix}_epoch_{epoch:03d}.keras"

    def resume(self, epochs: int, run: StageRun) -> keras.Model | None:
        """Find out where to go on, and remove what is not of this training.

        Parameters
        ----------
        epochs : int
            Number wanted.
        run : StageRun
            Told what is used and what is not.

        Returns
        -------
        keras.Model or None
            The head after the last usable epoch, whose records are in `history`; None to begin anew.
        """
        state = self.output_dir / f"training{self.suffix}.json"
        known = _read_json(state)
        heads = sorted(self.output_dir.glob(f"head_VGG{self.suffix}_epoch_[0-9][0-9][0-9].keras"))
        if known != self.identity:
            if heads:
                differing = [name for name in self.identity if (known or {}).get(name) != self.identity[name]]
                run.say(f"The {len(heads)} heads in {self.output_dir} are not used: they were trained with other "
                        f"settings or images ({', '.join(differing)})")
            self._remove(heads)
            with atomic_write(state) as file:
                json.dump(self.identity, file, indent=2)
            return None
        head = self._last_usable(epochs, run)
        self._remove([path for path in heads if path > self.head_file(len(self.history))])
        if head is not None:
            run.say(f"Going on after epoch {len(self.history)}: its head is there")
        return head

    def save(self, head: keras.Model, record: dict[str, float]) -> None:
        """Keep an epoch: the head first, then its line of the history.

        Parameters
        ----------
        head : keras.Model
            Compiled.
        record : dict
            `HISTORY_COLUMNS` without epoch.
        """
        epoch = len(self.history) + 1
        with atomic_path(self.head_file(epoch)) as path:
            head.save(path)
        self.history.append({"epoch": epoch} | record)
        with atomic_write(self.history_file) as file:
            pd.DataFrame(self.history, columns=list(HISTORY_COLUMNS)).to_csv(file, index=False, lineterminator="\n")

    def load(self, epoch: int) -> keras.Model:
        """Return an epoch's head.

        Parameters
        ----------
        epoch : int
            From 1.

        Returns
        -------
        keras.Model
            Compiled, with its optimizer's state.
        """
        return keras.saving.load_model(self.head_file(epoch))

    def _last_usable(self, epochs: int, run: StageRun) -> keras.Model | None:
        """Fill the history from disk as far as it is complete, and load the last head of it."""
        try:
            records = pd.read_csv(self.history_file).to_dict("records")
        except (OSError, ValueError):
            records = []
        for epoch, record in enumerate(records[:epochs], start=1):
            if set(record) != set(HISTORY_COLUMNS) or record["epoch"] != epoch or not self.head_file(epoch).is_file():
                break
            self.history.append(record)
        while self.history:
            try:
                return self.load(len(self.history))
            except (ValueError, OSError, KeyError, TypeError, BadZipFile) as error:  # damaged: the one before it
                run.say(f"{self.head_file(len(self.history))} cannot be read ({describe(error)}): its epoch is done "
                        "again")
                self.history.pop()
        return None

    def _remove(self, heads: list[Path]) -> None:
        """Delete heads that a further run would confuse with its own."""
        for path in heads:
            path.unlink()


def best_epoch(history: list[dict[str, float]]) -> tuple[int, str]:
    """Choose the epoch by validation TSS.

    Parameters
    ----------
    history : list of dict
        At least one record.

    Returns
    -------
    int
        The first of the largest `val_TSS`; the last epoch where that is nowhere defined.
    str
        The choice in words.
    """
    scores = [record["val_TSS"] for record in history]
    defined = [score for score in scores if score == score]
    if not defined:
        return len(history), (f"Epoch {len(history)}, the last one: the validation TSS is not defined (no image, or "
                              "one class only)")
    epoch = scores.index(max(defined)) + 1
    return epoch, (f"Epoch {epoch} of {len(history)}, the one of largest validation TSS ({max(defined):.3f}); the "
                   f"epochs' values range from {min(defined):.3f}, and since a split holds few independent regions, "
                   "this choice is noisy")


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, None when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
