"""Training of the softmax head on cached features: many steps a call, blocks of bounded memory.

Both ways of training (cached, end to end) see the images in `epoch_order`, which depends on seed and epoch
alone: runs of neighbouring rows are drawn at random and mixed within a block, so that a cache far larger than
the memory is read in pieces of some hundred kB.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from general_code.skill_scores import skill_scores

ROWS_A_RUN = 32  # neighbours in the list that stay together when blocks are drawn
ROWS_A_BLOCK = 16384  # mixed with one another; 134 MB of 4096 float16 numbers
ROWS_A_CALL = 1024  # 16 MB in float32: larger pieces leave the processor's cache


def epoch_order(images: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of the training images in an epoch.

    Parameters
    ----------
    images : int
        Number of them.
    seed, epoch : int
        Each epoch has an order of its own.

    Returns
    -------
    numpy.ndarray
        int64, a permutation of 0..images-1; complete mixing up to 16,384 images.
    """
    generator = np.random.default_rng([seed, epoch])
    runs = generator.permutation(-(-images // ROWS_A_RUN))
    order = (runs[:, np.newaxis] * ROWS_A_RUN + np.arange(ROWS_A_RUN)).ravel()
    order = order[order < images]
    for start in range(0, images, ROWS_A_BLOCK):
        generator.shuffle(order[start:start + ROWS_A_BLOCK])
    return order


def class_weights(classes: np.ndarray) -> dict[int, float]:
    """Return the weights of the two classes.

    Parameters
    ----------
    classes : numpy.ndarray
        0 or 1, both present.

    Returns
    -------
    dict
        1 for no flare, N0/N1 for a flare.
    """
    flares = int(np.sum(classes))
    return {0: 1.0, 1: (len(classes) - flares) / flares}


class HeadTrainer:
    """Trains a head on rows of a feature array.

    Parameters
    ----------
    head : keras.Model
        Compiled, its optimizer built.
    features : numpy.ndarray
        Shape (rows, width), float16 or float32, memory-mapped or not.
    batch_size : int
        Images a step.
    """

    def __init__(self, head: keras.Model, features: np.ndarray, batch_size: int) -> None:
        self.head, self.features, self.batch_size = head, features, batch_size
        self._steps = _steps_function(head, batch_size)

    def train_epoch(self, rows: np.ndarray, classes: np.ndarray, weights: dict[int, float],
                    order: np.ndarray) -> dict[str, float]:
        """Take one step for each batch of the order; the last one may be smaller.

        Parameters
        ----------
        rows : numpy.ndarray
            int64, shape (n,): the row of each training image in `features`.
        classes : numpy.ndarray
            Shape (n,), 0 or 1.
        weights : dict
            See `class_weights`.
        order : numpy.ndarray
            Shape (n,): a permutation.

        Returns
        -------
        dict
            loss (weighted, mean over the images) and TPR, TNR, TSS, HSS while training, as Keras' fit counts them.
        """
        of_class, truth = np.array([weights[0], weights[1]], np.float32), classes[order]
        one_hot, weight = np.eye(2, dtype=np.float32)[truth], of_class[truth]
        total, probabilities, begin = 0.0, np.empty_like(one_hot), 0
        for values in _ahead(self._pieces(rows[order])):
            piece = slice(begin, begin + len(values))
            loss, probabilities[piece] = self._steps(values, one_hot[piece], weight[piece])
            total, begin = total + float(loss), piece.stop
        return {"loss": total / len(order)} | skill_scores(truth, probabilities.argmax(axis=1))

    def _pieces(self, rows: np.ndarray) -> Iterator[Any]:
        """Yield the rows as float32 tensors of whole batches; each block is read in its order on disk."""
        import tensorflow as tf

        piece = max(ROWS_A_CALL // self.batch_size, 1) * self.batch_size
        block = max(ROWS_A_BLOCK // piece, 1) * piece
        width, dtype = self.features.shape[1], self.features.dtype
        stored = np.empty((min(block, len(rows)), width), dtype)  # arrays used again: new ones cost page faults
        shuffled, single = np.empty((piece, width), dtype), np.empty((piece, width), np.float32)
        for start in range(0, len(rows), block):
            wanted = rows[start:start + block]
            by_row = np.argsort(wanted, kind="stable")
            place = np.empty_like(by_row)
            place[by_row] = np.arange(len(wanted))
            np.take(self.features, wanted[by_row], axis=0, out=stored[:len(wanted)], mode="clip")
            for begin in range(0, len(wanted), piece):
                part = place[begin:begin + piece]
                half = np.take(stored, part, axis=0, out=shuffled[:len(part)], mode="clip")
                yield tf.constant(as_float32(half, single[:len(part)]))


def _ahead(pieces: Iterator[Any], depth: int = 2) -> Iterator[Any]:
    """Yield what an iterator gives, prepared by another thread while the piece before is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, pieces, None) for _ in range(depth))
        while (piece := coming.popleft().result()) is not None:
            coming.append(thread.submit(next, pieces, None))
            yield piece


def as_float32(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return numbers in float32, three times faster than numpy's cast from float16.

    Parameters
    ----------
    values : numpy.ndarray
        float32, or float16 and finite.
    out : numpy.ndarray
        float32, same shape: filled for float16.

    Returns
    -------
    numpy.ndarray
        The same numbers exactly: `values` if they are float32, else `out`.
    """
    if values.dtype == np.float32:
        return values
    bits = out.view(np.int32)
    np.left_shift(values.view(np.int16), 13, out=bits, dtype=np.int32)  # fraction and exponent come into place
    bits &= np.int32(-0x70000001)  # clears what the sign's extension left in the exponent
    out *= np.float32(2.0**112)  # float32 counts its exponent from 127, float16 from 15
    return out


def flare_log_odds(head: keras.Model, features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return what a head says of rows of features.

    Parameters
    ----------
    head : keras.Model
        From features to two probabilities.
    features : numpy.ndarray
        Shape (any, width).
    rows : numpy.ndarray
        int64, shape (n,).

    Returns
    -------
    numpy.ndarray
        float64, shape (n,): logarithm of the ratio of the probabilities (flare / no flare).
    """
    kernel, bias = head.get_weights()
    difference, odds = kernel[:, 1] - kernel[:, 0], np.empty(len(rows))
    single = np.empty((min(ROWS_A_CALL, len(rows)), features.shape[1]), np.float32)
    for start in range(0, len(rows), ROWS_A_CALL):
        values = features[rows[start:start + ROWS_A_CALL]]
        odds[start:start + ROWS_A_CALL] = as_float32(values, single[:len(values)]) @ difference
    return odds + (float(bias[1]) - float(bias[0]))


def set_scores(classes: np.ndarray, log_odds: np.ndarray) -> dict[str, float]:
    """Return loss and scores of a set after an epoch.

    Parameters
    ----------
    classes : numpy.ndarray
        Shape (n,), 0 or 1.
    log_odds : numpy.ndarray
        Of a flare, shape (n,).

    Returns
    -------
    dict
        loss (cross-entropy, unweighted mean), TPR, TNR, TSS, HSS; nan where not defined.
    """
    signed = np.where(classes == 1, log_odds, -log_odds)
    loss = float(np.logaddexp(0, -signed).mean()) if len(classes) else float("nan")
    return {"loss": loss} | skill_scores(classes, log_odds > 0)


def _steps_function(head: keras.Model, batch_size: int) -> Any:
    """Return the compiled function that takes all steps of a piece in one call.

    The gradient is written out: that of a softmax with cross-entropy is forecast minus truth, and as
    (g^T x)^T it takes a fifth of the time of x^T g for a kernel of two columns.
    """
    import tensorflow as tf

    kernel, bias = (variable.value for variable in head.trainable_variables)

    def step(values: Any, one_hot: Any, weight: Any) -> tuple:
        """Take one step; return the weighted losses' sum and the probabilities before it."""
        logits = tf.matmul(values, kernel) + bias
        probability = tf.nn.softmax(logits)
        loss = tf.nn.softmax_cross_entropy_with_logits(one_hot, logits) * weight
        gradient = (probability - one_hot) * (weight / tf.cast(tf.shape(weight)[0], tf.float32))[:, tf.newaxis]
        of_kernel = tf.transpose(tf.matmul(gradient, values, transpose_a=True))
        head.optimizer.apply([of_kernel, tf.reduce_sum(gradient, axis=0)], head.trainable_variables)
        return tf.reduce_sum(tf.cast(loss, tf.float64)), probability

    @tf.function(reduce_retracing=True)
    def steps(values: Any, one_hot: Any, weight: Any) -> tuple:
        """Walk through a piece; return the losses' sum and all probabilities."""
        images = tf.shape(values)[0]
        number = -(-images // batch_size)
        parts = tf.TensorArray(tf.float32, number, infer_shape=False, element_shape=(None, 2))

        def body(i: Any, total: Any, parts: Any) -> tuple:
            part = slice(i * batch_size, tf.minimum((i + 1) * batch_size, images))
            loss, probability = step(values[part], one_hot[part], weight[part])
            return i + 1, total + loss, parts.write(i, probability)

        start = (0, tf.constant(0.0, tf.float64), parts)
        _, total, parts = tf.while_loop(lambda i, *_: i < number, body, start, parallel_iterations=1)
        return total, parts.concat()

    return steps
