"""Names of magnetograms: one grammar for all stages, and the files of a folder that bear such names.

The export service delivers `hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits` (camera C = 1 or 3); in a data set the
active region NNNN stands in front, `NNNN_hmi.M_720s.…`, and images of reduced resolution may have their size behind,
`….magnetogram_224.png`. Letters are in any case, and `.fits.gz` is as good as `.fits`. Times are TAI.
"""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from general_code.stage.files import describe, printable
from general_code.stage.run import Problem

pa.set_memory_pool(pa.system_memory_pool())  # the default one keeps what columns of a million names leave behind
SERIES = "hmi.M_720s"
CAMERAS = (1, 3)
NOT_A_NAME = "not a magnetogram's file name"
ENDINGS = {"fits": (".fits", ".fits.gz"), "png": (".png",)}  # by image format
_ALL_ENDINGS = (*ENDINGS["fits"], *ENDINGS["png"])
NAMES_A_BLOCK = 50_000  # whose parts are in memory at a time
NAME_PATTERN = (r"(?is)^(?:(?:.*[/\\])?(?P<folder>[0-9]{4,5})[/\\]|.*[/\\])?(?:(?P<region>[0-9]{4,5})_)?hmi\.m_720s\."
                r"(?P<stamp>[0-9]{8}_[0-9]{4}[0-5][0-9])_tai\.(?P<camera>[0-9])\.magnetogram"
                r"(?P<ending>(?:_[0-9]+)?(?:\.fits|\.fits\.gz|\.png)?)$")


def parse_image_names(names: Sequence[str]) -> pd.DataFrame:
    """Return what many file names say: a million take about three seconds.

    Parameters
    ----------
    names : sequence of str
        With or without folders in front, with or without an extension.

    Returns
    -------
    pandas.DataFrame
        In the order of `names`: `image` (str, as `image_stems`), `region` (four digits, of the name or else of its
        folder), `folder` (its number), `time` (datetime64[s], TAI), `camera` (int8), `image_format` ("fits" or "png")
        and `ending` (e.g. `_224.png`). What a name does not say is "" (NaT, 0); others than images' have no time.
    """
    texts = _texts(names)
    parts = _parts(texts)
    ending = parts["ending"]
    kind = pc.if_else(pc.match_substring(ending, ".fits"), "fits", pc.if_else(pc.ends_with(ending, ".png"), "png", ""))
    return pd.DataFrame({
        "image": _series(_stems(texts, parts)), "region": _series(parts["region"]),
        "folder": _series(parts["folder"]), "time": _times(parts["stamp"]),
        "camera": pc.cast(pc.if_else(pc.equal(parts["camera"], ""), "0", parts["camera"]), pa.int8()).to_numpy(),
        "image_format": _series(kind), "ending": _series(ending)})


def image_stems(names: Sequence[str]) -> pd.Series:
    """Return which image each name means, in the one spelling by which images, labels and tables are matched.

    Parameters
    ----------
    names : sequence of str
        With or without folders, sizes and extensions, letters in any case.

    Returns
    -------
    pandas.Series of str
        `NNNN_hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram`; names of another form without folder and extension.
    """
    texts = _texts(names)
    return _series(_stems(texts, _parts(texts)))


def image_keys(names: Sequence[str]) -> np.ndarray:
    """Return hashes of the `image_stems` of many names, uint64; two of a million agree with a probability of 3e-8."""
    texts = _texts(names)
    blocks = [texts.slice(start, NAMES_A_BLOCK) for start in range(0, len(texts) or 1, NAMES_A_BLOCK)]
    return np.concatenate([pd.util.hash_array(image_stems(block).to_numpy(object), categorize=False)
                           for block in blocks])


def dataset_name(region: str, time: np.datetime64, camera: int, image_format: str) -> str:
    """Return the name of an image in a data set.

    Parameters
    ----------
    region, time, camera, image_format : str, numpy.datetime64, int, {"fits", "png"}
        NOAA number of four digits, TAI, 1 or 3, and the extension.

    Returns
    -------
    str
        `NNNN_hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits`.
    """
    stamp = str(np.datetime64(time, "s")).replace("-", "").replace(":", "").replace("T", "_")
    return f"{region}_{SERIES}.{stamp}_TAI.{camera}.magnetogram.{image_format}"


# ---------------------------------------------------------------------------- files


def list_images(folder: Path, image_format: str = "") -> tuple[pd.DataFrame, list[Problem]]:
    """List the images in a folder of regions' folders, and those beside these.

    Parameters
    ----------
    folder, image_format : Path, {"", "fits", "png"}
        Holds `NNNN/*.fits` or `NNNN/*.png`; the format by extension, in any case, "" takes every file.

    Returns
    -------
    pandas.DataFrame
        By folder and name, without hidden files: `source` (str, path in `folder`), `filename` (str), `bytes` and
        `modified_ns` (int64, -1 where the file cannot be reached), and the columns of `parse_image_names`.
    list of Problem
        Folders that cannot be read, and files whose names are no text.
    """
    files, problems = list_files(folder, image_format)
    return pd.concat([files, parse_image_names(files["source"])], axis=1), problems


def list_files(folder: Path, image_format: str = "") -> tuple[pd.DataFrame, list[Problem]]:
    """Return the first four columns of `list_images`, and the same problems."""
    problems: list[Problem] = []
    endings = ENDINGS.get(image_format, ("",))
    inner, files = _entries(folder, "", endings, problems)
    parts = [files]
    for name in inner:
        try:
            parts.append(_entries(folder / name, f"{name}/", endings, problems)[1])
        except OSError as error:
            problems.append(Problem(name, "folder cannot be read", describe(error), "folders"))
    return pd.concat(parts, ignore_index=True), problems


def where_images_are(folder: Path, image_format: str = "") -> str:
    """Look for what a user meant by a folder in which no image was found.

    Parameters
    ----------
    folder, image_format : Path, {"", "fits", "png"}
        Without images of this format or with a label, in itself and in its folders: there may be the other format.

    Returns
    -------
    str
        In front of an error's advice, e.g. "NNNN folders are in 'x/y'; "; "" when there is no clue.
    """
    if re.fullmatch(r"\d{4,5}", folder.resolve().name) and any(list_images(folder)[0]["image_format"] != ""):
        return "the name of the folder is a region's number: name the folder above; "
    other = {"fits": "png", "png": "fits"}.get(image_format)
    if other and len(list_files(folder, other)[0]):
        return f"there are .{other} images; set --image-format {other}; "
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        with suppress(OSError):
            # years of NOAA's reports are numbers, too, so that an image has to be seen
            if any(re.fullmatch(r"\d{4,5}/.*", source) and source.lower().endswith(_ALL_ENDINGS)
                   for source in list_files(path)[0]["source"]):
                return f"NNNN folders are in '{path}'; "
    return ""


def _entries(folder: Path, prefix: str, endings: tuple[str, ...],
             problems: list[Problem]) -> tuple[list[str], pd.DataFrame]:
    """Return the folders in a folder, and its files of some endings with size and time, each by name."""
    inner, rows = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.lower()
            if entry.name.startswith("."):
                continue
            if (readable := _readable(entry.name)) != entry.name:
                problems.append(Problem(prefix + readable, NOT_A_NAME, "letters that are no text in it", "images"))
            elif name.endswith(_ALL_ENDINGS) or not _is_folder(entry):
                if name.endswith(endings):
                    rows.append((entry.name, *_size_and_time(entry)))
            else:
                inner.append(entry.name)
    rows.sort()
    names, sizes, times = zip(*rows, strict=True) if rows else ((), (), ())
    files = pd.DataFrame({"source": pd.Series([prefix + name for name in names], dtype="str"),
                          "filename": pd.Series(names, dtype="str"), "bytes": np.array(sizes, np.int64),
                          "modified_ns": np.array(times, np.int64)})
    return sorted(inner), files


def _is_folder(entry: os.DirEntry) -> bool:
    """Tell whether an entry is a folder; True also where that is not known: the attempt to list it says why."""
    try:
        return entry.is_dir()
    except OSError:
        return True


def _size_and_time(entry: os.DirEntry) -> tuple[int, int]:
    """Return size [bytes] and time of modification [ns]; -1 where the file cannot be reached."""
    try:
        status = entry.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


# ---------------------------------------------------------------------------- columns of text


def _readable(name: str) -> str:
    """Return a name with what is no text in it, as lone surrogates and line breaks, written like `\\udcff`."""
    return printable(name.encode("utf-8", "backslashreplace").decode()).replace("\t", "\\t")


def _texts(names: Iterable[str]) -> pa.Array:
    """Return names as one Arrow array, which takes a fifth of the memory of a list."""
    if isinstance(names, pd.Series):
        names = names.array
    try:
        texts = pa.array(names, pa.string())
    except UnicodeEncodeError:
        texts = pa.array(map(_readable, names), pa.string())
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def _parts(texts: pa.Array) -> dict[str, pa.Array]:
    """Return the named parts of names, "" where a name does not have them; the region of the folder where it must."""
    matches = pc.extract_regex(texts, NAME_PATTERN)
    names = [field.name for field in matches.type]
    parts = {name: pc.fill_null(part, "") for name, part in zip(names, matches.flatten(), strict=True)}
    parts["folder"] = pc.utf8_slice_codeunits(parts["folder"], -4)
    parts["region"] = pc.utf8_slice_codeunits(parts["region"], -4)
    parts["region"] = pc.if_else(pc.equal(parts["region"], ""), parts["folder"], parts["region"])
    parts["ending"] = pc.utf8_lower(parts["ending"])
    return parts


def _stems(texts: pa.Array, parts: dict[str, pa.Array]) -> pa.Array:
    """Return names in the one spelling; those of another form without folder and extension."""
    prefix = pc.if_else(pc.equal(parts["region"], ""), "", pc.binary_join_element_wise(parts["region"], "_", ""))
    pieces = (prefix, f"{SERIES}.", parts["stamp"], "_TAI.", parts["camera"], ".magnetogram")
    stems = pc.binary_join_element_wise(*pieces, "")
    other = pc.equal(parts["stamp"], "")
    bare = pc.replace_substring_regex(texts.filter(other), r"(?is)^.*[/\\]|(?:\.fits|\.fits\.gz|\.png)$", "")
    return pc.replace_with_mask(stems, other, bare)


def _times(stamps: pa.Array) -> np.ndarray:
    """Return times, NaT where there is none: datetime64[s]. Each is converted once, as regions and cameras share it."""
    encoded = stamps.dictionary_encode()
    times = pd.to_datetime(_series(encoded.dictionary), format="%Y%m%d_%H%M%S", errors="coerce")
    return times.to_numpy("datetime64[s]")[encoded.indices.to_numpy()]


def _series(texts: pa.Array) -> pd.Series:
    """Return a column of text."""
    return pd.Series(texts, dtype="str")
