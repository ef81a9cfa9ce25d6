"""Training of the head epoch by epoch by Keras' `fit`: order, class weights, scores, heads on disk, and the figure.

The two modes of stage 7 differ in what is fitted: the head on cached features, or the whole model on images. Order,
batches and weights are the same, and so are the heads, within rounding.

    VGG_training{suffix}/<hash>/    a training, named by the hash of what its heads depend on but the number of epochs
        settings.json               those settings
        head_epoch_001.keras ...    the head after each epoch, with the state of its optimizer
        history.csv                 epoch,loss,TPR,TNR,TSS,HSS,val_loss,val_TPR,val_TNR,val_TSS,val_HSS

A head may have cost hours: none is deleted, and a training with other settings is in a folder of its own.
"""

import csv
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from classifier_VGG.network.inputs import BATCHES_AHEAD
from classifier_VGG.network.vgg16 import FrozenNetwork, assemble, compile_model, flare_log_odds, is_out_of_memory
from general_code.evaluation.report import COLOURS, GREY, new_figure
from general_code.evaluation.scores import format_score, skill_scores
from general_code.stage.files import UserError, atomic_path, atomic_write, describe
from general_code.stage.run import StageRun

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS_A_RUN = 32  # neighbours in the list that stay together when blocks are drawn
ROWS_A_BLOCK = 16384  # mixed with one another: what is read from disk meanwhile stays in memory
SCORES = ("loss", "TPR", "TNR", "TSS", "HSS")
HISTORY_COLUMNS = ("epoch", *SCORES, *(f"val_{name}" for name in SCORES))
SAME = 5e-4  # scores that agree to the three digits shown offer no choice


# ---------------------------------------------------------------------------- one epoch


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of the training images in an epoch, a permutation of 0..images-1 (int64).

    Each seed and epoch has an order of its own; mixing is complete up to 16,384 images.
    """
    generator = np.random.default_rng([seed, epoch])
    runs = generator.permutation(-(-images // ROWS_A_RUN))
    order = (runs[:, np.newaxis] * ROWS_A_RUN + np.arange(ROWS_A_RUN)).ravel()
    order = order[order < images]
    for start in range(0, images, ROWS_A_BLOCK):
        generator.shuffle(order[start:start + ROWS_A_BLOCK])
    return order


def class_weights(classes: np.ndarray) -> dict[int, float]:
    """Return the weights of the two classes, both present: 1 for no flare, N0/N1 for a flare."""
    flares = int(np.sum(classes))
    return {0: 1.0, 1: (len(classes) - flares) / flares}


def batches(read: Callable[[np.ndarray], np.ndarray], places: np.ndarray, classes: np.ndarray,
            batch_size: int, workers: int) -> "keras.utils.PyDataset":
    """Return batches of inputs and one-hot classes of the images at some places, in that order, the last one smaller.

    `read` makes the model's inputs from places; `classes` are those of all images. More than one worker read ahead.
    An error of ours is kept in `refusal`, as TensorFlow makes it one of its own.
    """
    import keras

    class Batches(keras.utils.PyDataset):
        refusal = None

        def __len__(self) -> int:
            return -(-len(places) // batch_size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            chosen = places[index * batch_size:(index + 1) * batch_size]
            try:
                return read(chosen), np.eye(2, dtype=np.float32)[classes[chosen]]
            except UserError as error:
                self.refusal = error
                raise

    return Batches(workers=workers, max_queue_size=workers)


class HeadTrainer:
    """What trains a head and applies it, in one of the two modes.

    `read` makes the inputs of what is fitted from places (k,) among all images: features (k, width) in float16 or
    float32, or images (k, pixels, pixels, 1). `classes` are those of all images, shape (n,). `backbone` is the network
    that the images go through; None for features. `run` shows the progress of what goes through the network.
    """

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], classes: np.ndarray, batch_size: int, run: StageRun,
                 backbone: FrozenNetwork | None = None) -> None:
        self._read, self._classes, self._batch_size, self._run = read, classes, batch_size, run
        self.backbone = backbone
        self._whole_model = functools.lru_cache(maxsize=1)(lambda head: assemble(backbone.model, head))

    def train_epoch(self, head: "keras.Model", places: np.ndarray, seed: int, epoch: int) -> dict[str, float]:
        """Fit the head for an epoch on the images at some places; return loss, TPR, TNR, TSS, HSS while training."""
        import keras

        classes = self._classes[places]
        order = places[epoch_order(len(places), seed, epoch)]
        workers = 1 if self.backbone is None else BATCHES_AHEAD
        data = batches(self._read, order, self._classes, self._batch_size, workers=workers)
        fitted = {"x": data, "shuffle": False, "verbose": 0, "class_weight": class_weights(classes)}
        if self.backbone is None:
            logs = head.fit(**fitted).history
        else:
            with self._run.progress(total=len(data), description=f"epoch {epoch}", unit="batches") as bar:
                count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update(1))
                try:
                    logs = self._whole_model(head).fit(**fitted, callbacks=[count]).history
                except Exception as error:
                    if not data.refusal and is_out_of_memory(error):
                        raise UserError(f"batch_size: the device has no memory for training on {self._batch_size} "
                                        "images at a time; set --batch-size to fewer, or --mode cached") from error
                    raise data.refusal or error from None
        return {"loss": float(logs["loss"][0])} | _scores_of_rates(logs["TPR"][0], logs["TNR"][0], classes)

    def record(self, head: "keras.Model", training: np.ndarray, validation: np.ndarray, seed: int,
               epoch: int) -> dict[str, float]:
        """Fit the head for an epoch and evaluate it; return the epoch's record, `HISTORY_COLUMNS` without epoch."""
        before = self.train_epoch(head, training, seed, epoch)
        after = set_scores(self._classes[validation], self.log_odds(head, validation), self._classes[training])
        return before | {f"val_{name}": value for name, value in after.items()}

    def log_odds(self, head: "keras.Model", places: np.ndarray) -> np.ndarray:
        """Return the log of the ratio of the probabilities, flare to no flare, of the images at some places.

        float64, shape (len(places),).
        """
        batch = self._batch_size if self.backbone is None else self.backbone.images
        odds, starts = [np.empty(0)], range(0, len(places), batch)
        if self.backbone is not None:
            starts = self._run.progress(starts, description="network", unit="batches")
        for start in starts:
            inputs = self._read(places[start:start + batch])
            if self.backbone is not None:
                inputs = self.backbone(inputs[..., 0])
            odds.append(flare_log_odds(head, inputs))
        return np.concatenate(odds)


def _scores_of_rates(tpr: float, tnr: float, classes: np.ndarray) -> dict[str, float]:
    """Return the four scores from two of them, in float32, and the classes they were counted on, both present."""
    flares, quiet = int(np.sum(classes)), int(np.sum(classes == 0))
    hits, rejections = round(tpr * flares), round(tnr * quiet)
    cells = hits, flares - hits, rejections, quiet - rejections
    return skill_scores(np.repeat([1, 1, 0, 0], cells), np.repeat([1, 0, 0, 1], cells))


def set_scores(classes: np.ndarray, log_odds: np.ndarray, training: np.ndarray | None = None) -> dict[str, float]:
    """Return loss and scores of a set after an epoch, from classes and log odds of a flare; nan where not defined.

    The loss is the mean cross-entropy, weighted as Keras' in training if the classes of the training images, both
    present, are given.
    """
    signed = np.where(classes == 1, log_odds, -log_odds)
    weights = {0: 1.0, 1: 1.0} if training is None else class_weights(training)
    losses = np.logaddexp(0, -signed) * np.where(classes == 1, weights[1], weights[0])
    loss = float(losses.mean()) if len(classes) else float("nan")
    return {"loss": loss} | skill_scores(classes, log_odds > 0)


# ---------------------------------------------------------------------------- heads on disk


class Checkpoints:
    """The heads of a training and the records of its epochs (`history`), below the folder of all of a suffix.

    The settings are what the heads depend on other than the number of epochs, plain values.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._settings = settings
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = folder / key
        self.history: list[dict[str, float]] = []
        self._later: list[dict[str, float]] = []

    def resume(self, epochs: int, run: StageRun) -> "keras.Model | None":
        """Return the head after the last usable epoch, whose records are in `history`; None to start from none."""
        self._report_other_trainings(run)
        records = self._records(run)
        self.history, self._later = records[:epochs], records[epochs:]
        if self._later:
            run.report(f"{len(self._later)} heads of this training after epoch {epochs} are kept and not used")
        while self.history:
            epoch = len(self.history)
            try:
                head = self.load(epoch)
            except UserError as error:  # the one before it may be usable
                run.report(f"{str(error).partition(';')[0]}: its epoch is repeated")
                self._later = [self.history.pop(), *self._later]
            else:
                run.report(f"Continuing after epoch {epoch}: its head is in {self.folder}")
                return head
        return None

    def save(self, head: "keras.Model", record: dict[str, float]) -> None:
        """Keep an epoch, `HISTORY_COLUMNS` without epoch: the head first, then its record."""
        epoch = len(self.history) + 1
        if epoch == 1:
            with atomic_write(self.folder / "settings.json") as file:
                json.dump(self._settings, file, indent=2)
        with atomic_path(self.head_file(epoch)) as path:
            head.save(path)
        self.history.append({"epoch": epoch} | record)
        self._later = self._later[1:]
        self.write_history(self.folder / "history.csv", self._later)

    def load(self, epoch: int) -> "keras.Model":
        """Return an epoch's head, with its optimizer's state; UserError when the file is damaged."""
        import keras

        try:
            head = keras.saving.load_model(self.head_file(epoch))
            compile_model(head, head.optimizer)
            return head
        except Exception as error:  # Keras raises many kinds for a damaged file
            raise UserError(f"{self.head_file(epoch)} cannot be read ({describe(error)}); remove it and start again: "
                            "training continues from the epoch before") from None

    def write_history(self, path: Path, further: Sequence[dict[str, float]] = ()) -> None:
        """Write the records of the epochs in use, and further ones; nan as nothing."""
        with atomic_write(path) as file:
            records = pd.DataFrame([*self.history, *further], columns=list(HISTORY_COLUMNS))
            records.to_csv(file, index=False, lineterminator="\n")

    def head_file(self, epoch: int) -> Path:
        """Return the path of an epoch's head."""
        return self.folder / f"head_epoch_{epoch:03d}.keras"

    def _records(self, run: StageRun) -> list[dict[str, float]]:
        """Return the records of the epochs from the first on that have a head."""
        path = self.folder / "history.csv"
        if not path.is_file():
            return []
        try:
            with path.open(encoding="utf-8", newline="") as file:
                records = [{name: float(text or "nan") for name, text in row.items()} for row in csv.DictReader(file)]
            for number, record in enumerate(records, start=1):
                if tuple(record) != HISTORY_COLUMNS or record["epoch"] != number:
                    raise ValueError(f"line {number + 1} is no record of epoch {number}")
                record["epoch"] = number
        except (OSError, ValueError, TypeError, csv.Error) as error:
            run.report(f"{path} is damaged and not used ({describe(error)}): training starts again")
            return []
        missing = (place for place in range(len(records)) if not self.head_file(place + 1).is_file())
        return records[:next(missing, len(records))]

    def _report_other_trainings(self, run: StageRun) -> None:
        """Report the trainings beside this one, and which settings were others there."""
        for path in sorted(self.folder.parent.glob("*/settings.json")):
            if path.parent != self.folder:
                try:
                    other = json.loads(path.read_text(encoding="utf-8"))
                    differing = [name for name in self._settings if other.get(name) != self._settings[name]]
                except (OSError, ValueError, AttributeError, RecursionError):
                    differing = ["unknown"]
                run.report(f"The heads in {path.parent} are not used: they were trained with other settings or images "
                           f"({', '.join(differing)})")


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
    low, high = min(defined), max(defined)
    epoch = scores.index(high) + 1
    text = f"Epoch {epoch} of {len(history)}"
    if len(history) == 1:
        return epoch, f"{text}: validation TSS {format_score(high)}"
    if high - low < SAME:
        return epoch, f"{text}: the validation TSS is {format_score(high)} in all epochs, no choice is possible"
    return epoch, (f"{text}, the one of largest validation TSS ({format_score(high)}); the epochs' values range from "
                   f"{format_score(low)} to {format_score(high)}, and since a split holds few independent regions, "
                   "this choice is noisy")


# ---------------------------------------------------------------------------- figure


def plot_curves(ax: "Axes", history: Sequence[dict[str, float]], names: Sequence[str], best: int) -> "Axes":
    """Draw quantities by epoch, training dashed and validation solid, and mark the epoch taken; nan is skipped."""
    from matplotlib.ticker import MaxNLocator

    epochs = [record["epoch"] for record in history]
    for colour, width, name in zip(COLOURS, (3.0, 1.2), names, strict=False):  # equal curves: both are seen
        ax.plot(epochs, [record[name] for record in history], "o--", color=colour, alpha=0.6, markersize=2 * width,
                linewidth=width, label=f"{name}, training")
        ax.plot(epochs, [record[f"val_{name}"] for record in history], "o-", color=colour, markersize=2 * width,
                linewidth=width, label=f"{name}, validation")
    ax.axvline(best, color=GREY, linewidth=0.8, linestyle=":", label=f"epoch taken: {best}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(0.5, len(epochs) + 0.5)
    ax.set_xlabel("epoch")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize="small")
    return ax


def training_figure(history: Sequence[dict[str, float]], best: int, title: str) -> "Figure":
    """Draw the training curves.

    Parameters
    ----------
    history : sequence of dict
        Records with `HISTORY_COLUMNS`.
    best : int
        Epoch chosen.
    title : str
        The figure's message.

    Returns
    -------
    matplotlib Figure
        Loss on the left, TSS and HSS on the right.
    """
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    plot_curves(left, history, ("loss",), best).set_ylabel("cross-entropy, weighted by class")
    plot_curves(right, history, ("TSS", "HSS"), best).set_ylabel("skill score")
    figure.suptitle(title, fontsize="medium")
    return figure
