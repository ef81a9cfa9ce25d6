"""File names of magnetograms: what they say, one or a million at a time, and how they are spelled in a data set.

A file is named `hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits` as the export service delivers it
(letters in any case; camera C = 1 or 3) and `NNNN_hmi.M_720s.…` in a data set, NNNN the active region.
Times are TAI.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from general_code.noaa_text import region_number

SERIES = "hmi.M_720s"
NOT_A_NAME = "not a magnetogram's file name"
IMAGE_NAME = re.compile(
    r"(?:(?P<region>\d{4,5})_)?hmi\.m_720s\.(?P<date>\d{8})_(?P<clock>\d{6})_TAI\.(?P<camera>\d)\.magnetogram"
    r"\.(?P<image_format>fits|png)", re.IGNORECASE)
NO_REGION = -1
LONGEST_NAME = 80  # of a path only the end matters: `/NNNNN/NNNNN_` and the 49 characters of the longest file name
_NAME = "hmi.m_720s.########_######_tai.#.magnetogram.{}"  # "#" stands for a digit; letters in any case
_DATE = _NAME.index("########")
_CLOCK = _NAME.index("_######_") + 1
_CAMERA = _NAME.index(".#.") + 1
FORMATS = ("", "fits", "png")  # by `NameColumns.image_format`
_SLASHES = np.frombuffer(b"/\\", np.uint8)


class ImageName(NamedTuple):
    """What the name of a magnetogram file says.

    Attributes
    ----------
    region : str or None
        NOAA number of the active region, four digits; None where the name has none.
    time : numpy.datetime64
        TAI, to the second.
    camera : int
        1 or 3.
    image_format : {"fits", "png"}
        The extension.
    """

    region: str | None
    time: np.datetime64
    camera: int
    image_format: str


def parse_image_name(name: str) -> ImageName:
    """Return region, time, camera and format of a magnetogram's file name.

    Parameters
    ----------
    name : str
        Without folders; letters in any case; four- or five-digit region in front, or none.

    Returns
    -------
    ImageName
        See there.

    Raises
    ------
    ValueError
        When the name is not of that form, or its time does not exist.
    """
    match = IMAGE_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"file name '{name}' is not like NNNN_{SERIES}.YYYYMMDD_HHMMSS_TAI.1.magnetogram.fits")
    date, clock = match["date"], match["clock"]
    try:
        time = np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}", "s")
    except ValueError:
        raise ValueError(f"file name '{name}': there is no time {date}_{clock}") from None
    region = region_number(match["region"]) if match["region"] else None
    return ImageName(region, time, int(match["camera"]), match["image_format"].lower())


def dataset_name(region: str, time: np.datetime64, camera: int, image_format: str) -> str:
    """Return the name of an image in a data set.

    Parameters
    ----------
    region : str
        NOAA number, four digits.
    time : numpy.datetime64
        TAI.
    camera : int
        1 or 3.
    image_format : {"fits", "png"}
        The extension.

    Returns
    -------
    str
        `NNNN_hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits`.
    """
    stamp = re.sub("[-:]", "", str(np.datetime64(time, "s"))).replace("T", "_")
    return f"{region}_{SERIES}.{stamp}_TAI.{camera}.magnetogram.{image_format}"


def dataset_names(images: pd.DataFrame, image_format: str) -> np.ndarray:
    """Return the names of many images in a data set: as `dataset_name`, a million in a second.

    Parameters
    ----------
    images : pandas.DataFrame
        `region`, `time` and `camera`, shape (m,).
    image_format : {"fits", "png"}
        The extension.

    Returns
    -------
    numpy.ndarray
        object (str), shape (m,): `NNNN_hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits`.
    """
    times, places = np.unique(images["time"].to_numpy().astype("datetime64[s]"), return_inverse=True)
    stamps = [f"{m[:4]}{m[5:7]}{m[8:10]}_{m[11:13]}{m[14:16]}{m[17:]}" for m in np.datetime_as_string(times).tolist()]
    end = f".magnetogram.{image_format}"
    rows = zip(images["region"].tolist(), places.tolist(), images["camera"].tolist(), strict=True)
    return np.array([f"{region}_{SERIES}.{stamps[place]}_TAI.{camera}{end}" for region, place, camera in rows],
                    dtype=object)


def image_stems(names: Sequence[str]) -> pd.Series:
    """Return image names without folder and extension, by which tables are joined, in one spelling.

    Parameters
    ----------
    names : sequence of str
        File names, with or without a folder; only .fits and .png, in any case, are extensions.

    Returns
    -------
    pandas.Series of str
        In the same order; the series spelled `hmi.M_720s`, the region in front of it with four digits.
    """
    extension = r"\.(?:[Ff][Ii][Tt][Ss]|[Pp][Nn][Gg])$"  # spelled out: ignoring the case costs thrice the time
    stems = pd.Series(names, dtype="str").str.replace(rf"^.*[/\\]|{extension}", "", regex=True)
    stems = stems.str.replace("hmi.m_720s", "hmi.M_720s", regex=False)
    return stems.str.replace(r"^\d(?=\d{4}_hmi\.)", "", regex=True)


# ---------------------------------------------------------------------------- a million names


def parse_image_names(names: Sequence[str]) -> pd.DataFrame:
    """Parse many names at once: a million take about a second.

    Parameters
    ----------
    names : sequence of str
        File names; folders in front are passed over, and a folder `NNNN/` gives the region where the
        name has none.

    Returns
    -------
    pandas.DataFrame
        In the order of `names`: `region` (str, "" where there is none), `time` (datetime64[s], TAI; NaT
        where the name does not parse), `camera` (int8, 0 where it does not parse), `image_format` (str).
    """
    columns = parse_name_columns(names)
    region = np.where(columns.region == NO_REGION, columns.folder, columns.region)
    return pd.DataFrame({"region": pd.Series(region_texts(region), dtype="str"), "time": columns.time,
                         "camera": columns.camera,
                         "image_format": pd.Series(np.array(FORMATS, dtype=object)[columns.image_format], dtype="str")})


class NameColumns(NamedTuple):
    """What many file names say; arrays of shape (m,).

    Attributes
    ----------
    region : numpy.ndarray
        int16, number in front of the file name, modulo 10,000; -1 where there is none.
    folder : numpy.ndarray
        int16, number of the folder that holds the file; -1 where there is none.
    time : numpy.ndarray
        datetime64[s], TAI; NaT where the name is not a magnetogram's, or has a time that does not exist.
    camera : numpy.ndarray
        int8; 0 where the name is not a magnetogram's.
    image_format : numpy.ndarray
        int8, place in `FORMATS`; 0 where the name is not a magnetogram's.
    """

    region: np.ndarray
    folder: np.ndarray
    time: np.ndarray
    camera: np.ndarray
    image_format: np.ndarray


def parse_name_columns(names: Sequence[str]) -> NameColumns:
    """Parse `NNNN/hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits` and its variants, a million in about a second.

    Parameters
    ----------
    names : sequence of str, shape (m,)
        File names, with or without folders and `NNNN_` in front; four or five digits; letters in any case.

    Returns
    -------
    NameColumns
        In the order of `names`.
    """
    encoded = np.array([name[-LONGEST_NAME:].encode("ascii", "replace") for name in names], dtype=np.bytes_)
    columns = NameColumns(np.full(len(encoded), NO_REGION, np.int16), np.full(len(encoded), NO_REGION, np.int16),
                          np.full(len(encoded), np.datetime64("NaT"), "datetime64[s]"),
                          np.zeros(len(encoded), np.int8), np.zeros(len(encoded), np.int8))
    lengths = np.strings.str_len(encoded)
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        letters = encoded[chosen].view(np.uint8).reshape(len(chosen), -1)[:, :length]
        for image_format in (1, 2):
            _fill_columns(columns, chosen, letters, image_format)
    return columns


def region_texts(regions: np.ndarray) -> np.ndarray:
    """Return numbers of regions as NOAA's texts write them.

    Parameters
    ----------
    regions : numpy.ndarray
        int, shape (m,), 0 to 9999, or -1 for none.

    Returns
    -------
    numpy.ndarray
        object (str), shape (m,): four digits, "" for none.
    """
    return _all_region_texts()[regions]


@cache
def _all_region_texts() -> np.ndarray:
    """Return the texts of all regions; the last is that of -1."""
    return np.array([*(f"{number:04d}" for number in range(10000)), ""], dtype=object)


def _fill_columns(columns: NameColumns, chosen: np.ndarray, letters: np.ndarray, image_format: int) -> None:
    """Write into `columns` what the rows of `letters`, names of one length, say if they are of one format."""
    template = np.frombuffer(_NAME.format(FORMATS[image_format]).encode(), np.uint8)
    start = letters.shape[1] - len(template)
    if start < 0:
        return
    matching = np.flatnonzero(_matches(letters[:, start:], template))
    front, tail, rows = letters[matching, :start], letters[matching, start:], chosen[matching]
    region, folder, clear = _numbers_in_front(front)
    columns.region[rows], columns.folder[rows] = region, folder
    columns.time[rows] = np.where(clear, _times(tail), np.datetime64("NaT"))
    columns.camera[rows] = np.where(clear, tail[:, _CAMERA] - ord("0"), 0)
    columns.image_format[rows] = np.where(clear, image_format, 0)


def _matches(tail: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Tell which rows are like the template: bool, shape (n,)."""
    matching = np.ones(len(tail), dtype=bool)
    for column, wanted in enumerate(template):
        if wanted == ord("#"):
            matching &= _is_digit(tail[:, column])
        elif ord("a") <= wanted <= ord("z"):
            matching &= (tail[:, column] | 0x20) == wanted  # as a small letter
        else:
            matching &= tail[:, column] == wanted
    return matching


def _numbers_in_front(front: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return region and folder of what stands before the names, and whether nothing else touches the name."""
    end = front.shape[1]
    nothing = np.full(len(front), NO_REGION, np.int16)
    if end == 0:
        return nothing, nothing, np.ones(len(front), dtype=bool)
    slash = np.isin(front[:, end - 1], _SLASHES)
    underscore = front[:, end - 1] == ord("_")
    folder = np.where(slash, _number_before(front, end - 1), NO_REGION)
    region, clear = nothing.copy(), slash.copy()
    for digits in (4, 5):
        begin = end - 1 - digits
        number = np.where(underscore, _number_before(front, end - 1, digits), NO_REGION)
        found = number != NO_REGION
        region[found], clear = number[found], clear | found
        if begin > 0:
            folder = np.where(found, _number_before(front, begin - 1), folder)
    return region, folder.astype(np.int16), clear


def _number_before(front: np.ndarray, end: int, digits: int = 0) -> np.ndarray:
    """Return the number of four or five digits that ends before column `end` and fills its part of the path, or -1."""
    number = np.full(len(front), NO_REGION, np.int16)
    for length in (digits,) if digits else (4, 5):
        begin = end - length
        if begin < 0:
            continue
        part = front[:, begin:end]
        whole = _is_digit(part).all(axis=1)
        if begin > 0:
            whole &= np.isin(front[:, begin - 1], _SLASHES)
        number[whole] = _integers(part[whole][:, -4:])
    return number


def _times(tail: np.ndarray) -> np.ndarray:
    """Return the times in names, NaT where there is no such time: datetime64[s], shape (n,)."""
    year, month, day = (_integers(tail[:, _DATE + a:_DATE + b]) for a, b in ((0, 4), (4, 6), (6, 8)))
    hour, minute, second = (_integers(tail[:, _CLOCK + a:_CLOCK + a + 2]) for a in (0, 2, 4))
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    exists = ((month >= 1) & (month <= 12) & (day >= 1) & (days.astype("datetime64[M]") == months)
              & (hour < 24) & (minute < 60) & (second < 60))
    times = days.astype("datetime64[s]") + (hour * 3600 + minute * 60 + second)
    return np.where(exists, times, np.datetime64("NaT"))


def _is_digit(letters: np.ndarray) -> np.ndarray:
    """Tell which characters are digits."""
    return (letters >= ord("0")) & (letters <= ord("9"))


def _integers(digits: np.ndarray) -> np.ndarray:
    """Return the numbers that rows of digits spell: int64, shape (n,)."""
    powers = 10 ** np.arange(digits.shape[1] - 1, -1, -1)
    return (digits.astype(np.int64) - ord("0")) @ powers
