"""The label file: one image a line, `filename,class` as stage 3 writes it, or a name alone where no class is needed.

The class is `0` or e.g. `C4.7`. A folder in front of the name, its extension, the case of letters, blank lines and a
header do not matter. Lines that are not used are reported, by every stage in the same words:

===========================  ==========================================================  ======================
reason                       line                                                        detail
===========================  ==========================================================  ======================
`NOT_A_LABEL`                not `name,0` or `name,C4.7`; without classes: no name       what was expected, got
`NO_FLARE_CLASS`             the class is 1; when it is in all flaring lines, an error   what was expected, got
`NOT_A_NAME`                 no region and time in the name                              line
`REPEATED`                   the image was named before                                  the first one counts
===========================  ==========================================================  ======================
"""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from general_code.flares import FLARE_CLASS, NO_FLARE, peak_flux
from general_code.image_names import NOT_A_NAME, SERIES, parse_image_names
from general_code.noaa_text import Problem
from general_code.stage_files import UserError, require_file
from general_code.stage_run import read_sidecar

STAGE_3_FLARE_SIZE = "C1.0"  # generate_dataset's default, where no sidecar tells
NOT_A_LABEL = "label not understood"
NO_FLARE_CLASS = "label 1 in place of a flare class"
REPEATED = "label repeated"
_ROWS_A_BLOCK = 20_000
_LABEL = re.compile(rf"0|0\.0|{FLARE_CLASS}")


def read_label_file(label_file: Path, with_class: bool = True) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the images of a label file: a million in a few seconds.

    Parameters
    ----------
    label_file : Path
        `filename,class` a line.
    with_class : bool, optional
        False: only names are wanted, what follows a comma is passed over.

    Returns
    -------
    pandas.DataFrame
        In the file's order, each image once: `filename` (str, without folder; a name without a region gets that of its
        folder, one without an extension .fits), `class` (str, `0` or e.g. `C4.7`; empty without classes), `region`
        (str), `time` (datetime64[s], TAI).
    list of Problem
        Lines that are not used.

    Raises
    ------
    UserError
        When there is no such file, no line names an image, or the classes are 0 and 1 only.
    """
    problems, parts = [], []
    for block in _blocks(_lines(require_file(label_file, "label_file"), with_class, problems, "replace")):
        parts.append(_image_table(block, label_file.name, problems))
    _refuse_binary(label_file, any((part["class"] != NO_FLARE).any() for part in parts), problems)
    if not any(map(len, parts)):
        got = f" ({problems[0].input}: {problems[0].detail})" if problems else ""
        raise UserError(f"label_file: no line of {label_file} begins with the name of an image of a region, like "
                        f"NNNN_hmi.M_720s.20140101_000000_TAI.1.magnetogram.fits{got}; set --label-file")
    table = pd.concat(parts, ignore_index=True)
    again = table.duplicated(["region", "time", "camera"])
    problems += [_repeated(name, flare_class) for name, flare_class in
                 zip(table["filename"][again], table["class"][again], strict=True)]
    return table.loc[~again, ["filename", "class", "region", "time"]].reset_index(drop=True), problems


def read_label_arrays(label_file: Path, ending: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Problem]]:
    """Read names and classes as arrays of bytes, which take a fifth of the memory; any name will do.

    Parameters
    ----------
    label_file : Path
        `filename,class` a line.
    ending : bytes
        Extension that the names get in place of their own, e.g. b".fits".

    Returns
    -------
    names, classes : numpy.ndarray
        Bytes, shape (n,), in the file's order, each name once; without folder.
    order : numpy.ndarray
        int, shape (n,): what sorts the names.
    problems : list of Problem
        Lines that are not used.

    Raises
    ------
    UserError
        When there is no such file, or the classes are 0 and 1 only.
    """
    problems, blocks = [], []
    for block in _blocks(_lines(require_file(label_file, "label_file"), True, problems, "surrogateescape")):
        blocks.append((np.array([os.fsencode(stem) + ending for _, _, stem, _, _ in block]),
                       np.array([flare_class.encode() for *_, flare_class in block])))
    _refuse_binary(label_file, any((classes != NO_FLARE.encode()).any() for _, classes in blocks), problems)
    if not blocks:
        return np.zeros(0, "S1"), np.zeros(0, "S1"), np.zeros(0, int), problems
    names, classes = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    del blocks
    order = np.argsort(names, kind="stable")
    first = _firsts(names, order)
    if not first.all():
        problems += [_repeated(os.fsdecode(names[index].removesuffix(ending)), classes[index].decode())
                     for index in order[~first]]
        kept = np.sort(order[first])
        names, classes = names[kept], classes[kept]
        order = np.argsort(names, kind="stable")
    return names, classes, order, problems


def label_size(source: Path) -> str:
    """Return the flare size at which labels were made, as sidecars tell.

    Parameters
    ----------
    source : Path
        Label file, or a table made from one: stages 4 and 6 note the size with their counts.

    Returns
    -------
    str
        A class like `C1.0`; "" where no sidecar tells.
    """
    sidecar = read_sidecar(source) or {}
    size = str(sidecar.get("counts", {}).get("flare_size") or sidecar.get("settings", {}).get("flare_size", ""))
    try:
        peak_flux(size)
    except ValueError:
        return ""
    return size


def label_window_hours(source: Path) -> float:
    """Return the window in which a flare counted when labels were made, as sidecars tell.

    Parameters
    ----------
    source : Path
        Label file, or a table made from one: stages 4 and 6 note the window with their counts.

    Returns
    -------
    float
        [h]; NaN where no sidecar tells.
    """
    sidecar = read_sidecar(source) or {}
    hours = sidecar.get("counts", {}).get("flare_window_hours") or sidecar.get("settings", {}).get("flare_window_hours")
    return float(hours) if isinstance(hours, int | float) and 0 < hours < np.inf else np.nan


def label_counts(source: Path) -> dict[str, str | float]:
    """Return what a stage notes in its counts of how the labels that it passes on were made.

    Parameters
    ----------
    source : Path
        Label file, or a table made from one.

    Returns
    -------
    dict
        flare_size, and flare_window_hours where it is known.
    """
    hours = label_window_hours(source)
    return {"flare_size": label_size(source)} | ({} if np.isnan(hours) else {"flare_window_hours": hours})


def _lines(label_file: Path, with_class: bool, problems: list[Problem],
           errors: str) -> Iterator[tuple[int, str, str, str, str]]:
    """Walk through the lines: number, folder, stem, extension, class; what is not like that goes to the problems."""
    expected = "'name,0' or 'name,C4.7'" if with_class else "a file name"
    with label_file.open(encoding="utf-8-sig", errors=errors) as file:
        for number, line in enumerate(file, start=1):
            path, _, label = line.partition(",")
            folder, stem, extension = _parts(path.strip())
            flare_class = _class(label) if with_class else ""
            if number == 1 and stem.lower() == "filename":
                continue
            if stem and flare_class is not None:
                yield number, folder, stem, extension, flare_class
            elif text := line.strip():
                reason = NO_FLARE_CLASS if stem and label.strip() in ("1", "1.0") else NOT_A_LABEL
                problems.append(Problem(f"{label_file.name}, line {number}", reason,
                                        f"expected {expected}, got {text[:100]!a}"))


def _parts(path: str) -> tuple[str, str, str]:
    """Return folder (with its slash), stem and extension of an image's path."""
    begin = max(path.rfind("/"), path.rfind("\\")) + 1
    end = path.rfind(".", begin)
    if end < 0 or path[end:].lower() not in (".fits", ".png"):
        return path[:begin], path[begin:], ""
    return path[:begin], path[begin:end], path[end:]


@lru_cache(maxsize=10_000)
def _class(label: str) -> str | None:
    """Return a label as `0` or like `C4.7`, None when it is neither."""
    label = label.strip().upper()
    if not _LABEL.fullmatch(label):
        return None
    return NO_FLARE if label == "0.0" else label


def _blocks(rows: Iterator[tuple]) -> Iterator[list[tuple]]:
    """Walk through rows in lists."""
    while block := list(islice(rows, _ROWS_A_BLOCK)):
        yield block


def _image_table(block: list[tuple[int, str, str, str, str]], source: str, problems: list[Problem]) -> pd.DataFrame:
    """Return filename, class, region, time and camera of the lines that name an image of a region."""
    numbers, folders, stems, extensions, classes = zip(*block, strict=True)
    names = [stem + (extension or ".fits") for stem, extension in zip(stems, extensions, strict=True)]
    images = parse_image_names(list(map(str.__add__, folders, names)))
    fit = ((images["region"] != "") & images["time"].notna()).to_numpy()
    for row in np.flatnonzero(~fit):
        problems.append(Problem(stems[row] + extensions[row], NOT_A_NAME,
                                f"no region and time in it ({source}, line {numbers[row]})"))
    spelled = [name if name[:4].isdigit() else f"{region}_{SERIES}{name[len(SERIES):]}"
               for name, region in zip(names, images["region"].tolist(), strict=True)]
    images["filename"], images["class"] = pd.Series(spelled, dtype="str"), pd.Series(classes, dtype="str")
    return images.loc[fit, ["filename", "class", "region", "time", "camera"]]


def _firsts(names: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Tell which of the sorted names differ from the one before; in blocks, for memory."""
    first = np.ones(names.size, bool)
    for start in range(1, names.size, _ROWS_A_BLOCK):
        block = slice(start, start + _ROWS_A_BLOCK)
        first[block] = names[order[block]] != names[order[start - 1:start + _ROWS_A_BLOCK - 1][:order[block].size]]
    return first


def _repeated(name: str, flare_class: str) -> Problem:
    """Return the problem of an image that comes again."""
    return Problem("".join(_parts(name)[:2]), REPEATED,
                   f"the first one counts, not {flare_class}" if flare_class else "the first one counts")


def _refuse_binary(label_file: Path, has_flares: bool, problems: list[Problem]) -> None:
    """Raise UserError when no line has a flare class, but some have a 1: all flaring images would be left out."""
    if not has_flares and any(problem.reason == NO_FLARE_CLASS for problem in problems):
        raise UserError(f"label_file: {label_file} has classes 0 and 1 only; expected flare classes like C4.7, as "
                        "generate_dataset writes them")
