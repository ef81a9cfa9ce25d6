"""Which images have which label: the files of a data set matched by name with the lines of a label file.

Names are kept as arrays of bytes: a million of them take 60 MB, as strings of the language they would take 300.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from general_code.image_names import SERIES, image_stems
from general_code.label_file import read_label_arrays
from general_code.stage_files import UserError, describe
from general_code.stage_run import StageRun

NO_IMAGE = "label without an image"
_ROWS_A_BLOCK = 20_000
_AFTER_REGION = f"_{SERIES}.".encode()
_IN_FRONT = re.compile(rb"\d?(\d{4})" + re.escape(_AFTER_REGION), re.IGNORECASE)


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
        When there is no image of this format, no label, or none that belong together, or the classes are 0 and 1 only.
    """
    ending = f".{image_format}".encode()
    images, keys = _once(list_image_files(dataset_dir, ending, run), ending, run)
    labelled, flare_classes, order, problems = read_label_arrays(label_file, ending)
    for problem in problems:
        run.exclude(*problem)
    if not len(images) or not order.size:
        where, what = (label_file, "label") if len(images) else (dataset_dir, f"{ending.decode()} image")
        raise UserError(f"{where}: expected {what}s, found none; set --dataset-dir, --image-format and --label-file "
                        "to what generate_dataset wrote")
    wanted = matching_names(labelled, ending)
    if wanted is not labelled:
        order = np.argsort(wanted, kind="stable")
    label_of = _places(keys, wanted, order)
    has_label, label_used = label_of >= 0, np.zeros(labelled.size, bool)
    images.flare_classes[has_label] = flare_classes[label_of[has_label]]
    label_used[label_of[has_label]] = True
    for name in images.names[~has_label].tolist():
        run.exclude(os.fsdecode(name), "image without a label")
    for index in order[~label_used[order]]:
        run.exclude(os.fsdecode(labelled[index].removesuffix(ending)), NO_IMAGE)
    if not has_label.any():
        raise UserError(f"{label_file}: no line names an image of '{dataset_dir}'; set --dataset-dir and --label-file "
                        "to what generate_dataset wrote in one run")
    return images.select(has_label)


def find_image_paths(names: Sequence[str], dataset_dir: Path, image_format: str, run: StageRun) -> list[Path | None]:
    """Return the files of some images, found as `find_labelled_images` finds them.

    Parameters
    ----------
    names : sequence of str
        Names as in a label file, without folder.
    dataset_dir : Path
        See `find_labelled_images`.
    image_format : {"fits", "png"}
        Which images.
    run : StageRun
        Gets the exclusions.

    Returns
    -------
    list of Path or None
        In the order of names; None where there is no such file.
    """
    ending = f".{image_format}".encode()
    images, keys = _once(list_image_files(dataset_dir, ending, run), ending, run)
    wanted = matching_names(np.array([os.fsencode(stem) + ending for stem in image_stems(names)]), ending)
    found = np.flatnonzero(np.isin(keys, wanted))
    paths = dict(zip(keys[found].tolist(), map(Path, images.paths(dataset_dir, found)), strict=True))
    return [paths.get(key) for key in wanted.tolist()]


def matching_names(names: np.ndarray, ending: bytes) -> np.ndarray:
    """Return names in the one spelling by which images and labels are matched.

    Parameters
    ----------
    names : numpy.ndarray
        Bytes: file names that bear the ending, without folder.
    ending : bytes
        E.g. b".fits".

    Returns
    -------
    numpy.ndarray
        Bytes: the region of four digits, `hmi.M_720s` and the ending spelled so; a name of another form differs in
        nothing but the ending. The same object where all names are spelled so.
    """
    if (np.strings.find(names, _AFTER_REGION) == 4).all() and np.strings.endswith(names, ending).all():
        return names
    spelled = (_IN_FRONT.sub(rb"\1" + _AFTER_REGION, name[:-len(ending)], count=1) + ending for name in names)
    return np.fromiter(spelled, names.dtype, names.size)


def list_image_files(dataset_dir: Path, ending: bytes, run: StageRun) -> ImageFiles:
    """List what bears an ending, in a folder and in those in it.

    Parameters
    ----------
    dataset_dir : Path
        The folder.
    ending : bytes
        E.g. b".fits"; the case does not matter.
    run : StageRun
        Gets the folders that cannot be read.

    Returns
    -------
    ImageFiles
        By name, then by folder.
    """
    text = os.fsdecode(ending)
    with os.scandir(dataset_dir) as entries:
        inner = sorted(entry.name for entry in entries if not entry.name.lower().endswith(text) and _is_folder(entry))
    folders, parts = ["", *inner], []
    for number, folder in enumerate(folders):
        try:
            rows = _files_in(dataset_dir / folder, text)
        except OSError as error:
            run.exclude(folder, "folder cannot be read", describe(error))
            continue
        names, sizes, times = zip(*rows, strict=True) if rows else ((), (), ())
        parts.append((np.array(names, dtype="S"), np.full(len(rows), number), np.array(sizes, np.int64),
                      np.array(times, np.int64), np.zeros(len(rows), "S8")))
    images = ImageFiles(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)), folders)
    return images.select(np.argsort(images.names, kind="stable"))


def _is_folder(entry: os.DirEntry) -> bool:
    """Tell whether an entry is a folder; True also where that cannot be told: the attempt to list it says why."""
    try:
        return entry.is_dir()
    except OSError:
        return True


def _files_in(folder: Path, ending: str) -> list[tuple[bytes, int, int]]:
    """Return name, size and time of what bears an ending in a folder, by name."""
    with os.scandir(folder) as entries:
        return sorted((os.fsencode(entry.name), *_size_and_time(entry))
                      for entry in entries if entry.name.lower().endswith(ending))


def _size_and_time(entry: os.DirEntry) -> tuple[int, int]:
    """Return size [bytes] and time of modification [ns]; -1 where the file cannot be reached."""
    try:
        status = entry.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _once(images: ImageFiles, ending: bytes, run: StageRun) -> tuple[ImageFiles, np.ndarray]:
    """Return images with each name once, and their `matching_names`; others of that name are recorded."""
    keys = matching_names(images.names, ending)
    first = np.zeros(len(images), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    for index in np.flatnonzero(~first):
        run.exclude(os.fsdecode(images.names[index]), "image name repeated",
                    f"the one in folder '{images.folders[images.folder_of[index]]}' is not used")
    return images.select(first), keys if first.all() else keys[first]


def _places(keys: np.ndarray, names: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return where each key stands in names, which `order` sorts; -1 where it does not. In blocks, for memory."""
    places = np.full(keys.size, -1)
    for start in range(0, keys.size, _ROWS_A_BLOCK):
        block = slice(start, start + _ROWS_A_BLOCK)
        found = order[np.minimum(np.searchsorted(names, keys[block], sorter=order), order.size - 1)]
        places[block] = np.where(names[found] == keys[block], found, -1)
    return places
