"""The worker of stage 4: images in, rows of features (or reasons) out. A pure function of its arguments."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from classifier_SVM.FunctionsP3 import image_features
from general_code.magnetograms import read_magnetogram
from general_code.stage_files import describe

LEFT_OUT, TRY_AGAIN = "!", "?"  # first letter of a row without features; TRY_AGAIN: the file may be readable later
_END_OF_REASON = re.compile(r"(?: \(|, got |: )")


def rows_of_chunk(paths: Sequence[str]) -> list[str]:
    """Return one row of text for each image.

    Parameters
    ----------
    paths : sequence of str
        Image files, FITS or PNG by their extension.

    Returns
    -------
    list of str
        In the same order: the 29 features separated by commas, each the shortest text that reads back as the same
        double; or `!reason<tab>detail` for an image that has none, `?reason<tab>detail` for a file that could not
        be reached.
    """
    return [row_of_image(Path(path)) for path in paths]


def row_of_image(path: Path) -> str:
    """Return the row of one image, see `rows_of_chunk`.

    Parameters
    ----------
    path : Path
        FITS or PNG file.

    Returns
    -------
    str
        One line without its end.
    """
    exists = os.access(path, os.F_OK)  # unlike `Path.exists`, no error in a folder that must not be entered
    if exists and not os.access(path, os.R_OK):
        return f"{TRY_AGAIN}no permission to read\t{path}"
    try:
        return ",".join(map(repr, image_features(read_magnetogram(path)).tolist()))
    except ValueError as error:
        return (LEFT_OUT if exists else TRY_AGAIN) + "\t".join(reason_and_detail(error, path))
    except (OSError, MemoryError) as error:
        return f"{TRY_AGAIN}cannot be read\t{describe(error)}"


def reason_and_detail(error: ValueError, path: Path) -> tuple[str, str]:
    """Return why an image has no features, in the words of the excluded file.

    Parameters
    ----------
    error : ValueError
        Of `read_magnetogram` or `image_features`.
    path : Path
        The image; where the message begins with it, it is left out.

    Returns
    -------
    reason, detail : str
        The fixed phrase at the message's start, and all of it where there is more.
    """
    message = describe(error).removeprefix(f"{path}: ")
    end = _END_OF_REASON.search(message)
    return (message[:end.start()], message) if end else (message, "")
