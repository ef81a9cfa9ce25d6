"""Whether a cut-out that JSOC delivered is the one that was asked for: by its name, its header and its pixels."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from general_code.cutout_requests import CutoutRequest, parse_record_time
from general_code.jsoc_service import signed_quality
from general_code.magnetograms import read_magnetogram


def image_name_pattern(series: str) -> re.Pattern[str]:
    """Return the pattern of JSOC's file names for a series.

    Parameters
    ----------
    series : str
        Like hmi.M_720s.

    Returns
    -------
    re.Pattern
        Its groups are time (`YYYYMMDD_HHMMSS`) and camera; upper and lower case are the same to it.
    """
    return re.compile(rf"{re.escape(series)}\.(\d{{8}}_\d{{6}})_TAI\.(\d+)\.magnetogram\.fits", re.IGNORECASE)


def time_in_name(name: str, series: str) -> datetime | None:
    """Return the time in a file name of JSOC's.

    Parameters
    ----------
    name : str
        Without folders.
    series : str
        Like hmi.M_720s.

    Returns
    -------
    datetime or None
        TAI; None when the name is not one of the series, or has a time that does not exist.
    """
    match = image_name_pattern(series).fullmatch(name)
    try:
        return datetime.strptime(match[1], "%Y%m%d_%H%M%S") if match else None
    except ValueError:
        return None


def check_cutout(path: Path, request: CutoutRequest, time: datetime) -> None:
    """Check a cut-out against its request, first by its header, then by its pixels.

    Parameters
    ----------
    path : Path
        FITS file.
    request : CutoutRequest
        Size and time range.
    time : datetime
        In the file's name [TAI].

    Raises
    ------
    ValueError
        Reason and detail: outside the request's range, unreadable, of another size, without QUALITY or T_REC, QUALITY
        below 0, T_REC of another time.
    """
    if not request.start <= time <= request.stop:
        raise ValueError("time outside the request", f"{time} is not in {request.time_range}")
    try:
        cards = _read_cards(path)
    except (OSError, ValueError, IndexError) as error:  # fitsio's has its cause in the first line, then the path
        raise ValueError("not a readable image", _without_path(str(error).partition("\n")[0], path)) from None
    _check_size(cards, request.patch_pixels)
    _check_cards(cards, time)
    try:
        shape = read_magnetogram(path).shape
    except ValueError as error:
        raise ValueError("not a readable image", _without_path(str(error), path)) from None
    if shape != (request.patch_pixels, request.patch_pixels):
        raise ValueError("wrong size", f"another image, {shape[1]}x{shape[0]} pixels, is in front of the cut-out")


def _check_size(cards: Mapping[str, object], pixels: int) -> None:
    """Raise ValueError unless a header's image has the size of the request; no pixel is looked at for it."""
    prefix = "ZNAXIS" if "ZNAXIS" in cards else "NAXIS"
    size = [cards.get(f"{prefix}{axis + 1}") for axis in range(int(cards.get(prefix) or 0))]
    if size != [pixels, pixels]:
        got = "x".join(map(str, size)) or "none"
        raise ValueError("wrong size", f"expected {pixels}x{pixels} pixels, got {got}")


def _check_cards(cards: Mapping[str, object], time: datetime) -> None:
    """Raise ValueError unless a header says that the record has an image, and is the one of the file's name."""
    quality = signed_quality(str(cards.get("QUALITY", "")).strip())
    if quality is None:
        got = cards.get("QUALITY", "nothing")
        raise ValueError("no QUALITY in the header", f"expected a whole number, got {got}")
    if quality < 0:
        raise ValueError("QUALITY below 0", f"QUALITY {quality & 0xFFFFFFFF:#010x}")
    record_time = str(cards.get("T_REC", "")).strip()
    if not record_time:
        raise ValueError("no T_REC in the header", "expected the time of the record")
    try:
        same = parse_record_time(record_time) == time
    except ValueError:
        same = False
    if not same:
        raise ValueError("T_REC is not the time in the name", record_time)


def _without_path(text: str, path: Path) -> str:
    """Return a reader's words without the temporary file's path, which cfitsio breaks after 80 characters."""
    return text.removeprefix(f"{path}: ").partition(str(path)[:40])[0].rstrip(" :")


def _read_cards(path: Path) -> Mapping[str, object]:
    """Return the cards of the image's header: extension 1, behind an empty primary unit."""
    try:
        import fitsio
    except ImportError:  # no wheel for every system
        from astropy.io import fits

        return fits.getheader(path, 1)
    return fitsio.read_header(str(path), ext=1)
