"""Which images have which label: the files of a data set matched by name with the lines of a label file.

Names are kept as arrays of bytes: a million of them take 60 MB, as strings of the language they would take 300.
"""

import os
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from general_code.label_file import read_label_arrays
from general_code.stage_files import UserError
from general_code.stage_run import StageRun

_ROWS_A_BLOCK = 20_000


@dataclass(frozen=True)
class ImageFiles:
    """Image files of a data set, all attributes but `folders` of one value an image.

    Attributes
    ----------
    names : numpy.ndarray
        Bytes (UTF-8): file names.
    folder_of : numpy.ndarray
        Place of its folder in `folders`.
    sizes, times : numpy.ndarray
        Size [bytes] and time of modification [ns], int64; -1 where the file cannot be reached.
    flare_classes : numpy.ndarray
        Bytes: label, `0` or e.g. `C4.7`; empty where there is none.
    folders : list of str
        Relative to the data set.
    """

    names: np.ndarray
    folder_of: np.ndarray
    sizes: np.ndarray
    times: np.ndarray
    flare_classes: np.ndarray
    folders: list[str]

    def __len__(self) -> int:
        return self.names.size

    def select(self, chosen: np.ndarray) -> "ImageFiles":
        """Return some of the images.

        Parameters
        ----------
        chosen : numpy.ndarray
            Indices in the order wanted, or one bool an image.

        Returns
        -------
        ImageFiles
            The same object, not a copy, where all are chosen in their order.
        """
        if chosen.all() if chosen.dtype == bool else np.array_equal(chosen, np.arange(len(self))):
            return self
        arrays = [getattr(self, field.name)[chosen] for field in fields(self)[:-1]]
        return ImageFiles(*arrays, self.folders)

    def paths(self, dataset_dir: Path, chosen: np.ndarray) -> list[str]:
        """Return the paths of some images.

        Parameters
        ----------
        dataset_dir : Path
            The data set's folder.
        chosen : numpy.ndarray
            Indices.

        Returns
        -------
        list of str
            In the order chosen.
        """
        return [str(dataset_dir / self.folders[folder] / os.fsdecode(name))
                for folder, name in zip(self.folder_of[chosen], self.names[chosen].tolist(), strict=True)]


def find_labelled_images(label_file: Path, dataset_dir: Path, image_format: str, run: StageRun) -> ImageFiles:
    """Match the images of a data set with their labels, and record what has no partner.

    Parameters
    ----------
    label_file : Path
        `filename,class` a line, class `0` or e.g. `C4.7`. The extension does not matter, a folder in front neither.
    dataset_dir : Path
        Holds `NNNN/*.fits` or `NNNN/*.png`, or the images themselves.
    image_format : {"fits", "png"}
        Which images.
    run : StageRun
        Gets the exclusions.

    Returns
    -------
    ImageFiles
        Those with a label, by name (order of its bytes), each name once.

    Raises
    ------
    UserError
        When there is no image of this format, or no label, or the classes are 0 and 1 only.
    """
    ending = f".{image_format}".encode()
    images = _once(list_image_files(dataset_dir, ending), run)
    labelled, flare_classes, order, problems = read_label_arrays(label_file, ending)
    for problem in problems:
        run.exclude(*problem)
    if not len(images) or not order.size:
        where, what = (label_file, "label") if len(images) else (dataset_dir, f"{ending.decode()} image")
        raise UserError(f"{where}: expected {what}s, found none; set --dataset-dir, --image-format and --label-file "
                        "to what generate_dataset wrote")
    keys = _with_ending(images.names, ending)
    has_label, label_used = np.zeros(len(images), bool), np.zeros(labelled.size, bool)
    for start in range(0, len(images), _ROWS_A_BLOCK):
        block = slice(start, start + _ROWS_A_BLOCK)
        label = order[np.minimum(np.searchsorted(labelled, keys[block], sorter=order), order.size - 1)]
        has_label[block] = labelled[label] == keys[block]
        images.flare_classes[block] = flare_classes[label]
        label_used[label[has_label[block]]] = True
    for name in images.names[~has_label].tolist():
        run.exclude(os.fsdecode(name), "image without a label")
    for index in order[~label_used[order]]:
        run.exclude(os.fsdecode(labelled[index].removesuffix(ending)), "label without an image")
    return images.select(has_label)


def list_image_files(dataset_dir: Path, ending: bytes) -> ImageFiles:
    """List what bears an ending, in a folder and in those in it.

    Parameters
    ----------
    dataset_dir : Path
        The folder.
    ending : bytes
        E.g. b".fits"; the case does not matter.

    Returns
    -------
    ImageFiles
        By name, then by folder.
    """
    text = os.fsdecode(ending)
    inner = sorted(entry.name for entry in os.scandir(dataset_dir)
                   if not entry.name.lower().endswith(text) and entry.is_dir())
    folders, parts = ["", *inner], []
    for number, folder in enumerate(folders):
        with os.scandir(dataset_dir / folder) as entries:
            rows = sorted((os.fsencode(entry.name), *_size_and_time(entry))
                          for entry in entries if entry.name.lower().endswith(text))
        names, sizes, times = zip(*rows, strict=True) if rows else ((), (), ())
        parts.append((np.array(names, dtype="S"), np.full(len(rows), number), np.array(sizes, np.int64),
                      np.array(times, np.int64), np.zeros(len(rows), "S8")))
    images = ImageFiles(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)), folders)
    return images.select(np.argsort(images.names, kind="stable"))


def _size_and_time(entry: os.DirEntry) -> tuple[int, int]:
    """Return size [bytes] and time of modification [ns]; -1 where the file cannot be reached."""
    try:
        status = entry.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _once(images: ImageFiles, run: StageRun) -> ImageFiles:
    """Return images with each name once; those of a later folder are recorded."""
    first = np.ones(len(images), bool)
    first[1:] = images.names[1:] != images.names[:-1]
    for index in np.flatnonzero(~first):
        run.exclude(os.fsdecode(images.names[index]), "image name repeated",
                    f"the one in folder '{images.folders[images.folder_of[index]]}' is not used")
    return images.select(first)


def _with_ending(names: np.ndarray, ending: bytes) -> np.ndarray:
    """Return names with the ending spelled as given, where its case differs."""
    if np.strings.endswith(names, ending).all():
        return names
    return np.array([name[:-len(ending)] + ending for name in names.tolist()])
