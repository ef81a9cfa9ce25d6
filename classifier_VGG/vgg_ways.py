"""The two ways through the frozen network: features cached once, or images through the whole model each epoch.

Both say which images can be used, train an epoch, and give the log odds of images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from classifier_VGG.backbone_cache import ImageFile, RowCache, image_files, other_caches
from classifier_VGG.head_training import HeadTrainer, class_weights, epoch_order, flare_log_odds
from classifier_VGG.image_input import INPUT_PIXELS, VERSION, InputBatch, input_batches, png_decoder
from classifier_VGG.vgg16_network import assemble, backbone_outputs
from general_code.stage_run import StageRun


@dataclass(frozen=True)
class InputSettings:
    """How images are read: the settings of stage 7 with the same names."""

    dataset_dir: Path
    image_format: str
    gauss_range: float
    batch_size: int
    n_jobs: int

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the network's input depends on, other than the file."""
        gauss = {"gauss_range": self.gauss_range} if self.image_format == "fits" else {}
        return {"image_format": self.image_format, "preprocessing_version": VERSION} | gauss


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
        Returns the network; called only when the cache lacks an image.
    run : StageRun
        Told of progress and of images left out.

    Attributes
    ----------
    usable : numpy.ndarray
        bool, shape (n,): images that are not left out.
    files : list of ImageFile or None
        State of each image's file.
    width : int
        Number of features.
    """

    def __init__(self, images: pd.DataFrame, cache: RowCache, settings: InputSettings,
                 backbone: Callable[[], keras.Model], run: StageRun) -> None:
        def rows_of(batch: InputBatch) -> np.ndarray:
            return backbone_outputs(network, batch.grey)

        self.files, missing = lacking(images, cache, settings, run)
        if missing:
            network = backbone()
            fill(cache, missing, settings, rows_of, "VGG16", run)
        self.batch_size, self.width = settings.batch_size, cache.width
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
    backbone : keras.Model
        The network.

    Attributes
    ----------
    usable : numpy.ndarray
        bool, shape (n,): images that are not left out.
    files : list of ImageFile or None
        State of each image's file.
    width : int
        Number of features.
    """

    def __init__(self, images: pd.DataFrame, cache: RowCache | None, settings: InputSettings,
                 backbone: keras.Model, run: StageRun) -> None:
        self._backbone, self.batch_size = backbone, settings.batch_size
        self._classes = images["class"].to_numpy()
        self._head, self._model = None, None
        self.width = backbone.output_shape[-1]
        if cache is None:
            self.files = _files_there(images, settings, run)
            self._read, self.usable = _png_reader(self.files, settings, run)
        else:
            self.files, missing = lacking(images, cache, settings, run)
            if missing:
                fill(cache, missing, settings, lambda batch: batch.grey.reshape(len(batch.grey), -1), "resizing", run)
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
            self._head, self._model = head, assemble(self._backbone, head)
        order = places[epoch_order(len(places), seed, epoch)]
        batches = _ImageBatches(self._read, order, self._classes, self.batch_size)
        history = self._model.fit(batches, epochs=1, shuffle=False, verbose=0,
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
        starts = range(0, len(places), self.batch_size)
        parts = (backbone_outputs(self._backbone, self._read(places[start:start + self.batch_size]))
                 for start in starts)
        return np.concatenate([np.empty(0), *(flare_log_odds(head, part, np.arange(len(part))) for part in parts)])


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


# ---------------------------------------------------------------------------- images and rows


def lacking(images: pd.DataFrame, cache: RowCache, settings: InputSettings,
            run: StageRun) -> tuple[list[ImageFile | None], list[ImageFile]]:
    """Compare images with a cache; say what is in it, and leave out files that are not there.

    Parameters
    ----------
    images : pandas.DataFrame
        filename.
    cache : RowCache
        Open.
    settings : InputSettings
        How to read images.
    run : StageRun
        Told.

    Returns
    -------
    list of ImageFile or None
        State of each image's file, None where there is none.
    list of ImageFile
        Those without a row.

    Raises
    ------
    UserError
        When the disk has no room for them.
    """
    files = _files_there(images, settings, run)
    there = [file for file in files if file is not None]
    missing = [file for file, row in zip(there, cache.find(there), strict=True) if row < 0]
    run.say(f"Cache {cache.folder}: {len(there) - len(missing):,} of {len(there):,} images are in it, "
            f"{len(missing):,} to compute")
    for text in other_caches(cache):
        run.say(f"Not used: {text}")
    cache.require_space(len(missing))
    run.count("images_from_cache", len(there) - len(missing))
    return files, missing


def _files_there(images: pd.DataFrame, settings: InputSettings, run: StageRun) -> list[ImageFile | None]:
    """Return the state of each image's file; leave out those that are not there."""
    files = image_files(settings.dataset_dir, images["filename"])
    for name, file in zip(images["filename"], files, strict=True):
        if file is None:
            run.exclude(name, "image missing", f"not in {settings.dataset_dir}")
    return files


def fill(cache: RowCache, missing: list[ImageFile], settings: InputSettings,
         rows_of: Callable[[InputBatch], np.ndarray], description: str, run: StageRun) -> None:
    """Add rows for images, batch by batch.

    Parameters
    ----------
    cache : RowCache
        Open.
    missing : list of ImageFile
        What to add.
    settings : InputSettings
        How to read images.
    rows_of : callable
        From a batch of images to their rows.
    description : str
        For the progress bar.
    run : StageRun
        Told of progress and of images left out.
    """
    paths = [settings.dataset_dir / file.name for file in missing]
    batches = input_batches(paths, settings.image_format, settings.gauss_range, settings.batch_size, settings.n_jobs)
    with run.progress(total=len(paths), description=description) as bar:
        for batch in batches:
            cache.append([missing[place] for place in batch.places], rows_of(batch))
            for failure in batch.failures:
                run.exclude(missing[failure.place].name, failure.reason, failure.detail)
            bar.update(len(batch.places) + len(batch.failures))
    cache.commit()


def rows_in(cache: RowCache, files: list[ImageFile | None]) -> np.ndarray:
    """Return the rows of files.

    Parameters
    ----------
    cache : RowCache
        Open.
    files : list of ImageFile or None
        As `lacking` returns them.

    Returns
    -------
    numpy.ndarray
        int64, shape (n,): -1 where there is no file, or it could not be used.
    """
    rows = np.full(len(files), -1, np.int64)
    there = [place for place, file in enumerate(files) if file is not None]
    rows[there] = cache.find([files[place] for place in there])
    return rows
