"""The two modes of stage 7: features cached once, or images through the whole model in each epoch.

Both say which images can be used, train an epoch, and give the log odds of images.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd

from classifier_VGG.backbone_cache import ImageFile, RowCache
from classifier_VGG.head_training import HeadTrainer, class_weights, epoch_order, flare_log_odds
from classifier_VGG.image_input import INPUT_PIXELS, input_batches, png_decoder
from classifier_VGG.image_rows import InputSettings, files_there, fill, lacking, rows_in
from classifier_VGG.vgg16_network import assemble, backbone_outputs
from general_code.stage_run import StageRun

IMAGES_A_CALL = 1024  # between two lines on disk


class CachedFeatures:
    """The backbone once per image, then the head alone.

    Parameters
    ----------
    images : pandas.DataFrame
        filename, class.
    cache : RowCache
        Open; its rows are outputs of fc2.
    settings : InputSettings
        How to read images.
    backbone : callable
        Returns the network; called only when the cache lacks an image that can be read.
    run : StageRun
        Told of progress and of images left out.

    Attributes
    ----------
    usable : numpy.ndarray
        bool, shape (n,): images that are not left out.
    files : list of ImageFile or None
        State of each image's file.
    """

    def __init__(self, images: pd.DataFrame, cache: RowCache, settings: InputSettings,
                 backbone: Callable[[], keras.Model], run: StageRun) -> None:
        network = functools.cache(backbone)
        self.files, missing = lacking(images, cache, settings, run)
        fill(cache, missing, settings, lambda grey: backbone_outputs(network(), grey), "VGG16", run)
        self.batch_size = settings.batch_size
        self._classes = images["class"].to_numpy()
        self._rows, self._features = rows_in(cache, self.files), cache.values()
        self._trainer: HeadTrainer | None = None
        self.usable = self._rows >= 0

    def train_epoch(self, head: keras.Model, places: np.ndarray, seed: int, epoch: int) -> dict[str, float]:
        """Train the head for an epoch.

        Parameters
        ----------
        head : keras.Model
            Compiled.
        places : numpy.ndarray
            int64: the training images among all images.
        seed, epoch : int
            See `epoch_order`.

        Returns
        -------
        dict
            loss, TPR, TNR, TSS, HSS while training.
        """
        if self._trainer is None or self._trainer.head is not head:
            self._trainer = HeadTrainer(head, self._features, self.batch_size)
        classes = self._classes[places]
        return self._trainer.train_epoch(self._rows[places], classes, class_weights(classes),
                                         epoch_order(len(places), seed, epoch))

    def log_odds(self, head: keras.Model, places: np.ndarray) -> np.ndarray:
        """Return what the model says of images.

        Parameters
        ----------
        head : keras.Model
            From features to two probabilities.
        places : numpy.ndarray
            int64: which of all images.

        Returns
        -------
        numpy.ndarray
            float64, shape (len(places),): log of the ratio of the probabilities, flare to no flare.
        """
        return flare_log_odds(head, self._features, self._rows[places])


class EndToEnd:
    """Images through backbone and head in every epoch, by Keras' own `fit`: the published way.

    FITS images are resized once and kept on disk as float32; PNG are decoded each time.

    Parameters
    ----------
    images : pandas.DataFrame
        filename, class.
    cache : RowCache or None
        Open; its rows are 224 x 224 grey levels. None for PNG.
    settings, run
        As in `CachedFeatures`.
    backbone : callable
        Returns the network; called when there is something to compute.

    Attributes
    ----------
    usable : numpy.ndarray
        bool, shape (n,): images that are not left out.
    files : list of ImageFile or None
        State of each image's file.
    """

    def __init__(self, images: pd.DataFrame, cache: RowCache | None, settings: InputSettings,
                 backbone: Callable[[], keras.Model], run: StageRun) -> None:
        self._backbone, self.batch_size, self._run = functools.cache(backbone), settings.batch_size, run
        self._classes = images["class"].to_numpy()
        self._head, self._model = None, None
        if cache is None:
            self.files = files_there(images, settings, run)
            self._read, self.usable = _png_reader(self.files, settings, run)
        else:
            self.files, missing = lacking(images, cache, settings, run)
            fill(cache, missing, settings, lambda grey: grey.reshape(len(grey), cache.width), "resizing", run)
            rows, values = rows_in(cache, self.files), cache.values()
            self.usable = rows >= 0
            self._read = lambda places: values[rows[places]].reshape(-1, INPUT_PIXELS, INPUT_PIXELS)

    def train_epoch(self, head: keras.Model, places: np.ndarray, seed: int, epoch: int) -> dict[str, float]:
        """Train the head for an epoch by Keras' fit on the whole model.

        Parameters
        ----------
        head : keras.Model
            Compiled.
        places : numpy.ndarray
            int64: the training images among all images.
        seed, epoch : int
            See `epoch_order`.

        Returns
        -------
        dict
            loss, TPR, TNR, TSS, HSS while training.
        """
        if self._head is not head:
            self._head, self._model = head, assemble(self._backbone(), head)
        order = places[epoch_order(len(places), seed, epoch)]
        batches = _ImageBatches(self._read, order, self._classes, self.batch_size)
        with self._run.progress(total=len(batches), description=f"epoch {epoch}", unit="batches") as bar:
            count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: bar.update(1))
            history = self._model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[count],
                                      class_weight=class_weights(self._classes[places])).history
        return {name: float(values[0]) for name, values in history.items()}

    def log_odds(self, head: keras.Model, places: np.ndarray) -> np.ndarray:
        """Return what the model says of images, each through the whole network.

        Parameters
        ----------
        head : keras.Model
            From features to two probabilities.
        places : numpy.ndarray
            int64: which of all images.

        Returns
        -------
        numpy.ndarray
            float64, shape (len(places),): log of the ratio of the probabilities, flare to no flare.
        """
        odds = [np.empty(0)]
        with self._run.progress(total=len(places), description="VGG16") as bar:
            for start in range(0, len(places), self.batch_size):
                chosen = places[start:start + self.batch_size]
                features = backbone_outputs(self._backbone(), self._read(chosen))
                odds.append(flare_log_odds(head, features, np.arange(len(features))))
                bar.update(len(chosen))
        return np.concatenate(odds)

    def kept_log_odds(self, head: keras.Model, places: np.ndarray, cache: RowCache) -> np.ndarray:
        """Return what `log_odds` does, computed once per image.

        Parameters
        ----------
        head : keras.Model
            From features to two probabilities.
        places : numpy.ndarray
            int64: which of all images.
        cache : RowCache
            Open, of this head; its rows are one number.

        Returns
        -------
        numpy.ndarray
            float64, shape (len(places),).
        """
        files = [self.files[place] for place in places]
        missing = np.flatnonzero(cache.find(files) < 0)
        for start in range(0, len(missing), IMAGES_A_CALL):
            part = missing[start:start + IMAGES_A_CALL]
            cache.append([files[number] for number in part], self.log_odds(head, places[part])[:, np.newaxis])
        cache.commit()
        return cache.values()[cache.find(files), 0]


class _ImageBatches(keras.utils.PyDataset):
    """Batches of images and one-hot classes in a given order; the last one may be smaller."""

    def __init__(self, read: Callable, order: np.ndarray, classes: np.ndarray, batch_size: int) -> None:
        super().__init__()
        self._read, self._order, self._classes, self._batch_size = read, order, classes, batch_size

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        places = self._order[index * self._batch_size:(index + 1) * self._batch_size]
        return self._read(places)[..., np.newaxis], np.eye(2, dtype=np.float32)[self._classes[places]]


def _png_reader(files: list[ImageFile | None], settings: InputSettings, run: StageRun) -> tuple[Callable, np.ndarray]:
    """Read every PNG once to find those that cannot be used; return a reader of batches, and what is usable."""
    import tensorflow as tf

    places = [place for place, file in enumerate(files) if file is not None]
    paths = [settings.dataset_dir / files[place].name for place in places]
    usable, texts = np.zeros(len(files), bool), np.full(len(files), "", object)
    usable[places], texts[places] = True, [str(path) for path in paths]
    with run.progress(total=len(paths), description="checking images") as bar:
        for batch in input_batches(paths, "png", settings.gauss_range, settings.batch_size, settings.n_jobs):
            for failure in batch.failures:
                usable[places[failure.place]] = False
                run.exclude(files[places[failure.place]].name, failure.reason, failure.detail)
            bar.update(len(batch.places) + len(batch.failures))
    decode = tf.function(png_decoder(), reduce_retracing=True)
    return (lambda chosen: decode(tf.constant(texts[chosen])).numpy()), usable
