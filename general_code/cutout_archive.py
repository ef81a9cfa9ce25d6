"""From a tar of JSOC's to checked images in a folder: look into the tar, check, put in place.

Nothing of a tar is trusted: it may be cut short, hold more than was asked for, or names that lead out of the folder.
"""

import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from general_code.cutout_requests import CutoutRequest, parse_record_time
from general_code.jsoc_faults import DamagedTarError, RefusedError
from general_code.jsoc_service import signed_quality
from general_code.magnetograms import read_magnetogram

MOST_HELPER_FILES = 50  # index.txt, index.json, index.html, proc-steps.txt and a dozen named after the request
HELPER_BYTES = 64 << 20  # most that all of them may have: the index of 2,000 records is half a megabyte
HEADER_BYTES = 256 << 10  # more than any FITS header of JSOC's


@dataclass
class Unpacked:
    """What a tar held.

    Attributes
    ----------
    images : dict of datetime to Path
        Images that passed their checks, by record time (TAI).
    rejected : list of (file name, reason, detail)
        Images that did not.
    """

    images: dict[datetime, Path] = field(default_factory=dict)
    rejected: list[tuple[str, str, str]] = field(default_factory=list)


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


def _most_image_bytes(patch_pixels: int) -> int:
    """Return the most bytes that a cut-out's file may have: twice its pixels as 4-byte integers, and a header."""
    return 8 * patch_pixels**2 + HEADER_BYTES


def most_tar_bytes(images: int, patch_pixels: int) -> int:
    """Return the most bytes that a tar of cut-outs may have.

    Parameters
    ----------
    images : int
        Number of cut-outs.
    patch_pixels : int
        Width and height of each.

    Returns
    -------
    int
        With the tar's own blocks and the files beside the images.
    """
    return images * (_most_image_bytes(patch_pixels) + 1024) + HELPER_BYTES


# ---------------------------------------------------------------------------- unpacking and checks


def unpack_cutouts(tar_path: Path, folder: Path, request: CutoutRequest, most_images: int) -> Unpacked:
    """Unpack the images of a tar into an empty folder of their own and check each.

    Parameters
    ----------
    tar_path : Path
        As downloaded.
    folder : Path
        Made; nothing is written outside of it.
    request : CutoutRequest
        Gives series, times and size that the images must have.
    most_images : int
        Number of records that the request can have.

    Returns
    -------
    Unpacked
        See there.

    Raises
    ------
    DamagedTarError
        It is no tar, or cut short.
    RefusedError
        A member leads out of the folder, is a link or device, is surplus, or unpacks to more than it can have; nothing
        of the tar is used then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = Unpacked()
    names = image_name_pattern(request.series)
    _require_end_of_tar(tar_path)
    try:
        # "r:" takes plain tars only, so that nothing can swell by decompression
        with tarfile.open(tar_path, "r:") as tar:
            for member in _safe_members(tar, folder, request, most_images):
                path = folder / PurePosixPath(member.name).name
                member.name = path.name
                tar.extract(member, folder, filter="data")
                _sort_in(unpacked, path, names, request)
    except (tarfile.ReadError, EOFError) as error:
        raise DamagedTarError(f"{tar_path.name}: not a whole tar ({error or 'it ends early'})") from None
    except tarfile.TarError as error:
        raise RefusedError(f"{tar_path.name}: {error}; nothing of it is used") from None
    return unpacked


def _require_end_of_tar(path: Path) -> None:
    """Raise DamagedTarError unless the file ends in the two empty blocks of a tar; tarfile would not miss them."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1024))
        if size < 1024 or file.read().strip(b"\0"):
            raise DamagedTarError(f"{path.name}: not a whole tar ({size:,} bytes, without a tar's end)")


def _safe_members(tar: tarfile.TarFile, folder: Path, request: CutoutRequest,
                  most_images: int) -> Iterator[tarfile.TarInfo]:
    """Yield the FITS members, stopping at the first that cannot belong to the request."""
    images, helpers, helper_bytes, seen = 0, 0, 0, set()
    name = Path(str(tar.name)).name
    for member in tar:
        if member.isdir():
            continue
        _refuse_unsafe(member, folder, name)
        is_image = member.name.lower().endswith(".fits")
        images, helpers = images + is_image, helpers + (not is_image)
        base = PurePosixPath(member.name).name.lower()
        if images > most_images or helpers > MOST_HELPER_FILES or base in seen:
            raise RefusedError(f"{name}: '{member.name[:80]}' is surplus: the request can have {most_images} images, "
                               "each once; nothing of it is used")
        seen.add(base)
        most = _most_image_bytes(request.patch_pixels) if is_image else HELPER_BYTES - helper_bytes
        helper_bytes += 0 if is_image else member.size
        if member.size > most:
            raise RefusedError(f"{name}: '{member.name[:80]}' unpacks to {member.size:,} bytes, expected at most "
                               f"{most:,} for {request.patch_pixels} pixels square; nothing of it is used")
        if is_image:
            yield member


def _refuse_unsafe(member: tarfile.TarInfo, folder: Path, tar_name: str) -> None:
    """Raise RefusedError for anything but a plain file inside the folder."""
    parts = PurePosixPath(member.name).parts
    inside = not PurePosixPath(member.name).is_absolute() and ".." not in parts and "\\" not in member.name
    if not inside or ":" in member.name:
        raise RefusedError(f"{tar_name}: the name '{member.name[:80]}' leads out of the folder; nothing of it is used")
    if not member.isreg() or member.issparse():
        raise RefusedError(f"{tar_name}: '{member.name[:80]}' is a link, a device or the like, expected plain files; "
                           "nothing of it is used")
    tarfile.data_filter(member, str(folder))


def _sort_in(unpacked: Unpacked, path: Path, names: re.Pattern[str], request: CutoutRequest) -> None:
    """Enter an extracted file among the images or the rejected ones."""
    match = names.fullmatch(path.name)
    try:
        if match is None:
            raise ValueError("name is not one of the series", f"expected a name like {request.series}.YYYYMMDD_…")
        time = datetime.strptime(match[1], "%Y%m%d_%H%M%S")
        check_cutout(path, request, time)
        if time in unpacked.images:
            raise ValueError("second image of one time", f"{unpacked.images[time].name} is used")
    except ValueError as error:
        # a reader's own words name the temporary folder
        known = len(error.args) == 2
        reason, detail = error.args if known else ("not a readable image", str(error).removeprefix(f"{path}: "))
        unpacked.rejected.append((path.name, reason, detail if known else detail.partition(" (")[0]))
        path.unlink()
    else:
        unpacked.images[time] = path


def check_cutout(path: Path, request: CutoutRequest, time: datetime) -> None:
    """Open a cut-out and check it against its request.

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
        Reason and detail: outside the request's range, unreadable, of another size, QUALITY below 0, T_REC of another
        time.
    """
    if not request.start <= time <= request.stop:
        raise ValueError("time outside the request", f"{time} is not in {request.time_range}")
    field = read_magnetogram(path)
    size = (request.patch_pixels, request.patch_pixels)
    if field.shape != size:
        raise ValueError("wrong size", f"expected {size[0]}x{size[1]} pixels, got {field.shape[1]}x{field.shape[0]}")
    header = _read_cards(path)
    quality = signed_quality(str(header.get("QUALITY", "")))
    if quality is not None and quality < 0:
        raise ValueError("QUALITY below 0", f"QUALITY {quality & 0xFFFFFFFF:#010x}")
    record_time = str(header.get("T_REC", "")).strip()
    if record_time and parse_record_time(record_time) != time:
        raise ValueError("T_REC is not the time in the name", record_time)


def _read_cards(path: Path) -> Mapping[str, object]:
    """Return the cards of the image's header: extension 1, behind an empty primary unit."""
    try:
        import fitsio
    except ImportError:  # no wheel for every system
        from astropy.io import fits

        return fits.getheader(path, 1)
    return fitsio.read_header(str(path), ext=1)


def put_in_place(unpacked: Unpacked, folder: Path, series: str) -> None:
    """Rename checked images into their folder, one spelling of the name a time.

    Parameters
    ----------
    unpacked : Unpacked
        Images on the same file system.
    folder : Path
        Of the region; made. An image of the same time that lies there is replaced, however its name is spelled.
    series : str
        As the names shall spell it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = image_name_pattern(series)
    present = {(match[1], match[2]): path for path in folder.iterdir() if (match := names.fullmatch(path.name))}
    for _, path in sorted(unpacked.images.items()):
        stamp, camera = names.fullmatch(path.name).groups()
        target = folder / f"{series}.{stamp}_TAI.{camera}.magnetogram.fits"
        other = present.get((stamp, camera), target)
        path.replace(target)
        if other.name != target.name and not other.samefile(target):
            other.unlink()
