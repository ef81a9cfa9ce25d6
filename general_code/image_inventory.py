"""Which images there are: a folder of regions' folders, or a text file with one `NNNN/filename` a line."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from general_code.image_names import (
    FORMATS,
    NO_REGION,
    NOT_A_NAME,
    SERIES,
    parse_image_name,
    parse_name_columns,
    region_texts,
)
from general_code.noaa_text import Problem
from general_code.stage_files import UserError

CAMERAS = (1, 3)
# what stage 2 keeps beside the regions' folders: ledger, sidecars, log; lists of what is missing; pages as they were
OTHER_FILES = re.compile(r"\..*|download_ledger\.csv.*|\d{4}_missing_records\.csv|export_page_.*\.(png|html)")


def find_images(image_dir: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Return the images of a folder, or those that a text file names.

    Parameters
    ----------
    image_dir : Path
        Folder of `NNNN/*.fits`, or a text file with one `NNNN/filename` a line (then no image is opened).

    Returns
    -------
    pandas.DataFrame
        By region, time and camera: `source` (str, `NNNN/filename` as it stands), `region` (str, four digits),
        `time` (datetime64[s], TAI) and `camera` (int8).
    list of Problem
        What was left out: foreign files, names that do not parse, second files of an image.

    Raises
    ------
    UserError
        When there is no image at all.
    """
    if image_dir.is_dir():
        sources, problems = _names_in_folder(image_dir)
        images, unparsed = parse_sources(sources, extensions=("fits",))
    elif image_dir.is_file():
        sources, problems = _names_in_text(image_dir), []
        images, unparsed = parse_sources(sources, extensions=("fits", "png"))
    else:
        raise UserError(f"image_dir: expected a folder of NNNN/*.fits, or a text file of NNNN/filename lines, at "
                        f"'{image_dir}' (from {Path.cwd()}), found nothing; set --image-dir")
    if images.empty:
        examples = "; ".join(f"{p.input}: {p.detail or p.reason}" for p in (problems + unparsed)[:2])
        raise UserError(f"image_dir: no image like NNNN/{SERIES}.YYYYMMDD_HHMMSS_TAI.1.magnetogram.fits in "
                        f"{image_dir}{' (' + examples + ')' if examples else ''}; set --image-dir")
    return images, problems + unparsed


def parse_sources(sources: list[str], extensions: tuple[str, ...]) -> tuple[pd.DataFrame, list[Problem]]:
    """Return region, time and camera of images by their names.

    Parameters
    ----------
    sources : list of str
        `NNNN/filename`; the region may stand in front of the file name in place of, or besides, the folder's.
    extensions : tuple of str
        Formats that are accepted.

    Returns
    -------
    pandas.DataFrame
        As in `find_images`.
    list of Problem
        Names that do not parse, name two regions or none, or an image that another file has already.
    """
    columns = parse_name_columns(sources)
    accepted = np.isin(columns.image_format, [FORMATS.index(extension) for extension in extensions])
    well_named = ~np.isnat(columns.time) & np.isin(columns.camera, CAMERAS) & accepted
    region = np.where(columns.region == NO_REGION, columns.folder, columns.region)
    named = well_named & (region != NO_REGION)
    agreeing = named & ((columns.folder == region) | (columns.folder == NO_REGION))
    problems = [Problem(sources[i], NOT_A_NAME, _name_fault(sources[i])) for i in np.flatnonzero(~well_named)]
    problems += [Problem(sources[i], "image without a region", "neither folder nor name begins with a NOAA number")
                 for i in np.flatnonzero(well_named & ~named)]
    problems += [Problem(sources[i], "folder and file name give different regions", "expected one and the same")
                 for i in np.flatnonzero(named & ~agreeing)]
    order = np.lexsort((columns.camera, columns.time, region))  # stable: files of one image stay in their order
    order = order[agreeing[order]]
    same = np.zeros(len(order), dtype=bool)
    same[1:] = np.all([column[order][1:] == column[order][:-1] for column in (region, columns.time, columns.camera)],
                      axis=0)
    problems += [Problem(sources[i], "second file of an image", "the first is used") for i in order[same]]
    order = order[~same]
    images = pd.DataFrame({"source": pd.Series([sources[i] for i in order.tolist()], dtype=object),
                           "region": pd.Series(region_texts(region[order]), dtype=object),  # faster than "str"
                           "time": columns.time[order], "camera": columns.camera[order]})
    return images, problems


def _names_in_folder(image_dir: Path) -> tuple[list[str], list[Problem]]:
    """Return `NNNN/filename` of the files in regions' folders, and what else lies there."""
    sources, problems = [], []
    with os.scandir(image_dir) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir() and entry.name.isdigit() and len(entry.name) in (4, 5):
                with os.scandir(entry.path) as files:
                    sources += [f"{entry.name}/{file.name}" for file in files if not file.name.startswith(".")]
            elif not OTHER_FILES.fullmatch(entry.name):
                problems.append(Problem(entry.name, "not a region's folder", "expected folders named by NOAA number"))
    return sorted(sources), problems


def _names_in_text(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank."""
    try:
        return [line for line in map(str.strip, path.read_text(encoding="utf-8-sig").split("\n")) if line]
    except UnicodeDecodeError:
        raise UserError(f"image_dir: {path} is not a text file with one NNNN/filename a line; set --image-dir to "
                        "such a file or to a folder of NNNN/*.fits") from None


def _name_fault(source: str) -> str:
    """Return what is wrong with the name of a file that is no image to use."""
    name = source.replace("\\", "/").rpartition("/")[2]
    try:
        image = parse_image_name(name)
    except ValueError as error:
        return str(error)
    if image.camera not in CAMERAS:
        return f"camera {image.camera}, expected 1 or 3"
    return f"a .{image.image_format} file, expected .fits"
