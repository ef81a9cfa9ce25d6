"""The rows of a cache that belong to images: which are there, and adding those that are not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from classifier_VGG.backbone_cache import ImageFile, RowCache, image_files, other_caches
from classifier_VGG.image_input import VERSION, input_batches
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
    files = files_there(images, settings, run)
    there = [file for file in files if file is not None]
    missing = [file for file, row in zip(there, cache.find(there), strict=True) if row < 0]
    run.say(f"Cache {cache.folder}: {len(there) - len(missing):,} of {len(there):,} images are in it, "
            f"{len(missing):,} to compute")
    for text in other_caches(cache, missing) if missing else []:
        run.say(f"Not used: {text}")
    cache.require_space(len(missing))
    run.count("images_from_cache", len(there) - len(missing))
    return files, missing


def files_there(images: pd.DataFrame, settings: InputSettings, run: StageRun) -> list[ImageFile | None]:
    """Return the state of each image's file; leave out those that are not there.

    Parameters
    ----------
    images : pandas.DataFrame
        filename.
    settings : InputSettings
        Where they are.
    run : StageRun
        Told of files that are missing.

    Returns
    -------
    list of ImageFile or None
        None where there is none.
    """
    files = image_files(settings.dataset_dir, images["filename"])
    for name, file in zip(images["filename"], files, strict=True):
        if file is None:
            run.exclude(name, "image missing", f"not in {settings.dataset_dir}")
    return files


def fill(cache: RowCache, missing: list[ImageFile], settings: InputSettings,
         rows_of: Callable[[np.ndarray], np.ndarray], description: str, run: StageRun) -> None:
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
        From grey levels (n, 224, 224) to n rows; not called for a batch of which nothing can be read, so that images
        that are of no use cost a rerun no network.
    description : str
        For the progress bar.
    run : StageRun
        Told of progress and of images left out.
    """
    if not missing:
        return
    paths = [settings.dataset_dir / file.name for file in missing]
    batches = input_batches(paths, settings.image_format, settings.gauss_range, settings.batch_size, settings.n_jobs)
    with run.progress(total=len(paths), description=description) as bar:
        for batch in batches:
            if len(batch.places):
                cache.append([missing[place] for place in batch.places], rows_of(batch.grey))
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
