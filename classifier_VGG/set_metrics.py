"""TPR, TNR, TSS and HSS as Keras metrics, counted over the whole set and not averaged over batches.

A score whose denominator is 0 is nan: not defined.
"""

from typing import Any

import keras
from keras import ops


class SetMetric(keras.metrics.Metric):
    """Counts of a 2 x 2 contingency table, added up batch by batch; a subclass makes a score of them.

    Parameters
    ----------
    name : str, optional
        The class's name where None.
    dtype : str, optional
        Counts are exact up to 2^24 images in float32.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(name=name or type(self).__name__, dtype=dtype)
        self.hits, self.misses, self.false_alarms, self.correct_rejections = (
            self.add_weight(name=count, shape=(), initializer="zeros")
            for count in ("hits", "misses", "false_alarms", "correct_rejections"))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Parameters
        ----------
        y_true : tensor
            One-hot, shape (n, 2): no flare, flare.
        y_pred : tensor
            Probabilities of the same shape; the larger one decides, and no flare in a tie.
        sample_weight : None
            Not used: every image counts once.
        """
        flare = ops.cast(ops.argmax(y_true, axis=-1), self.dtype)
        forecast = ops.cast(ops.argmax(y_pred, axis=-1), self.dtype)
        hits = ops.sum(flare * forecast)
        self.hits.assign_add(hits)
        self.misses.assign_add(ops.sum(flare) - hits)
        self.false_alarms.assign_add(ops.sum(forecast) - hits)
        self.correct_rejections.assign_add(ops.sum((1 - flare) * (1 - forecast)))


@keras.saving.register_keras_serializable(package="flares")
class TPR(SetMetric):
    """True positive rate, hits / flares."""

    def result(self) -> Any:
        """Return the score so far; nan without a flare."""
        return self.hits / (self.hits + self.misses)


@keras.saving.register_keras_serializable(package="flares")
class TNR(SetMetric):
    """True negative rate, correct rejections / quiet images."""

    def result(self) -> Any:
        """Return the score so far; nan without a quiet image."""
        return self.correct_rejections / (self.correct_rejections + self.false_alarms)


@keras.saving.register_keras_serializable(package="flares")
class TSS(SetMetric):
    """True skill statistic, TPR + TNR - 1."""

    def result(self) -> Any:
        """Return the score so far; nan when one class is absent."""
        return (self.hits / (self.hits + self.misses)
                + self.correct_rejections / (self.correct_rejections + self.false_alarms) - 1)


@keras.saving.register_keras_serializable(package="flares")
class HSS(SetMetric):
    """Heidke skill score, 2 (TP TN - FN FP) / ((TP + FN)(FN + TN) + (TP + FP)(FP + TN))."""

    def result(self) -> Any:
        """Return the score so far; nan when images and forecasts are all of one and the same class."""
        tp, fn, fp, tn = (count + 0.0 for count in (self.hits, self.misses, self.false_alarms,
                                                    self.correct_rejections))
        return 2 * (tp * tn - fn * fp) / ((tp + fn) * (fn + tn) + (tp + fp) * (fp + tn))


def set_metrics() -> list[SetMetric]:
    """Return fresh metrics.

    Returns
    -------
    list of SetMetric
        TPR, TNR, TSS, HSS.
    """
    return [TPR(), TNR(), TSS(), HSS()]
