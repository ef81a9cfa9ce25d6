"""TPR, TNR, TSS and HSS as Keras metrics, counted over the whole set and not averaged over batches.

They are defined as in `general_code.skill_scores`, which counts what the stage reports; these are what a saved model
carries and what Keras' own `fit` and `evaluate` show. A score that is not defined is nan.
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
        """Return the score so far; nan when one class is absent."""
        tp, fn, fp, tn = (count + 0.0 for count in (self.hits, self.misses, self.false_alarms,
                                                    self.correct_rejections))
        score = 2 * (tp * tn - fn * fp) / ((tp + fn) * (fn + tn) + (tp + fp) * (fp + tn))
        return ops.where(ops.minimum(tp + fn, fp + tn) > 0, score, float("nan"))


def set_metrics() -> list[SetMetric]:
    """Return fresh metrics.

    Returns
    -------
    list of SetMetric
        TPR, TNR, TSS, HSS.
    """
    return [TPR(), TNR(), TSS(), HSS()]
