"""One head an epoch on disk, their history, and the way back into a training that was interrupted.

    head_VGG{suffix}_epoch_001.keras ...    the head after each epoch, with the state of its optimizer
    training{suffix}.json                   what the training depends on, and the record of every epoch
    history{suffix}.csv                     epoch,loss,TPR,TNR,TSS,HSS,val_loss,val_TPR,val_TNR,val_TSS,val_HSS: the
                                            epochs in use
    other_training{suffix}_.../             a training of other settings or images, set aside
    other_training{suffix}_unknown.../      heads whose training{suffix}.json is missing or cannot be read

A head may have cost hours: none is deleted. Those of another training are moved aside, and back when the settings are
again theirs; those of unknown settings are kept for the user; those after the last epoch wanted stay where they are.
"""

import hashlib
import json
import re
from itertools import chain, count
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import pandas as pd

import classifier_VGG.set_metrics  # noqa: F401  registers the metrics that the saved heads name
from classifier_VGG.output_files import head_file, output_files
from general_code.skill_scores import format_score
from general_code.stage_files import UserError, atomic_path, atomic_write, describe
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

    Attributes
    ----------
    history : list of dict
        Records of the epochs in use.
    """

    def __init__(self, output_dir: Path, suffix: str, identity: dict[str, Any]) -> None:
        self.output_dir, self.suffix, self.identity = output_dir, suffix, identity
        files = output_files(output_dir, suffix)
        self.state_file, self.history_file = files["training"], files["history"]
        self.history: list[dict[str, float]] = []
        self._records: list[dict[str, float]] = []

    def resume(self, epochs: int, run: StageRun) -> keras.Model | None:
        """Find out where to go on, and set aside what is not of this training.

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
        found = _read_json(self.state_file)
        if found.get("identity") != self.identity:
            self._set_aside(found, run)
        self._bring_back(run)
        state = _read_json(self.state_file)
        self._records = [{name: float("nan") if value is None else value for name, value in record.items()}
                         for record in state.get("records", []) if state.get("identity") == self.identity]
        head = self._last_usable(epochs, run)
        self._write_records()
        if head is not None:
            run.say(f"Going on after epoch {len(self.history)}: its head is there")
        if later := [epoch for epoch in self._heads() if epoch > max(epochs, len(self.history))]:
            run.say(f"{len(later)} heads of this training after epoch {epochs} are kept and not used")
        return head

    def save(self, head: keras.Model, record: dict[str, float]) -> None:
        """Keep an epoch: the head first, then its record.

        Parameters
        ----------
        head : keras.Model
            Compiled.
        record : dict
            `HISTORY_COLUMNS` without epoch.
        """
        epoch = len(self.history) + 1
        with atomic_path(self._head(epoch)) as path:
            head.save(path)
        self.history.append({"epoch": epoch} | record)
        self._records = self.history + self._records[epoch:]
        self._write_records()

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

        Raises
        ------
        UserError
            When the file is damaged.
        """
        try:
            return keras.saving.load_model(self._head(epoch))
        except (ValueError, OSError, KeyError, TypeError, BadZipFile) as error:
            raise UserError(f"{self._head(epoch)} cannot be read ({describe(error)}); remove it and start again: "
                            "training goes on from the epoch before") from None

    def _last_usable(self, epochs: int, run: StageRun) -> keras.Model | None:
        """Fill the history from the records as far as there are heads, and load the last of them."""
        for epoch, record in enumerate(self._records[:epochs], start=1):
            if set(record) != set(HISTORY_COLUMNS) or record["epoch"] != epoch or not self._head(epoch).is_file():
                break
            self.history.append(record)
        while self.history:
            try:
                return self.load(len(self.history))
            except UserError as error:  # the one before it may serve
                run.say(f"{str(error).partition(';')[0]}: its epoch is done again")
                self.history.pop()
        return None

    def _head(self, epoch: int) -> Path:
        """Return the path of an epoch's head."""
        return head_file(self.output_dir, self.suffix, epoch)

    def _heads(self) -> dict[int, Path]:
        """Return the heads that there are, by epoch."""
        name = re.compile(rf"head_VGG{re.escape(self.suffix)}_epoch_(\d{{3,}})\.keras")
        found = {int(match[1]): path for path in self.output_dir.glob("head_VGG*.keras")
                 if (match := name.fullmatch(path.name))}
        return dict(sorted(found.items()))

    def _set_aside(self, state: dict[str, Any], run: StageRun) -> None:
        """Move what another training left; its state last, so that a kill in between is made good."""
        heads, other = self._heads(), state.get("identity")
        if not heads and not state.get("records"):
            return
        why, folder, reused = "are of unknown settings", self._folder("unknown"), isinstance(other, dict)
        if reused:
            differing = [name for name in self.identity if other.get(name) != self.identity[name]]
            why, folder = f"were trained with other settings or images ({', '.join(differing)})", self._folder_of(other)
            reused = not any((folder / path.name).exists() for path in heads.values())
        folder = folder if reused else _free_folder(folder)  # a head of the same name there is another one: it stays
        fate = f"they are moved to {folder}, and used again with those settings" if reused else f"kept in {folder}"
        run.say(f"The {len(heads)} heads in {self.output_dir} are not used: they {why}; {fate}")
        folder.mkdir(exist_ok=True)
        for path in (*heads.values(), self.history_file, self.state_file):
            if path.exists():
                path.replace(folder / path.name)

    def _bring_back(self, run: StageRun) -> None:
        """Move this training back from where it was set aside; its state first, so that a kill is made good."""
        folder = self._folder_of(self.identity)
        if folder.is_dir():
            run.say(f"The training of these settings is taken back from {folder}")
            for path in sorted(folder.iterdir(), key=lambda path: path.name != self.state_file.name):
                path.replace(self.output_dir / path.name)
            folder.rmdir()

    def _folder_of(self, identity: dict[str, Any]) -> Path:
        """Return the folder for a training that is set aside."""
        return self._folder(hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12])

    def _folder(self, key: str) -> Path:
        """Return the folder of a key."""
        return self.output_dir / f"other_training{self.suffix}_{key}"

    def _write_records(self) -> None:
        """Write the state with all records, and the history of the epochs in use."""
        records = [{name: None if value != value else value for name, value in record.items()}  # JSON has no NaN
                   for record in self._records]
        with atomic_write(self.state_file) as file:
            json.dump({"identity": self.identity, "records": records}, file, indent=2, allow_nan=False)
        with atomic_write(self.history_file) as file:
            pd.DataFrame(self.history, columns=list(HISTORY_COLUMNS)).to_csv(file, index=False, lineterminator="\n")


def head_digest(head: keras.Layer) -> str:
    """Return a hash of a head's weights.

    Parameters
    ----------
    head : keras.Layer
        From features to two probabilities: a model of that one layer, or the last layer of an assembled model.

    Returns
    -------
    str
        Equal for heads that forecast alike.
    """
    return hashlib.sha256(b"".join(array.tobytes() for array in head.get_weights())).hexdigest()


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
    return epoch, (f"Epoch {epoch} of {len(history)}, the one of largest validation TSS ({format_score(max(defined))});"
                   f" the epochs' values range from {format_score(min(defined))} to {format_score(max(defined))}, and "
                   "since a split holds few independent regions, this choice is noisy")


def _free_folder(wanted: Path) -> Path:
    """Return a folder that does not exist: the one wanted, or with _2, _3, ... after its name."""
    candidates = (wanted.with_name(f"{wanted.name}_{number}") for number in count(2))
    return next(folder for folder in chain([wanted], candidates) if not folder.exists())


def _read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object, an empty one when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
