"""From a tar of JSOC's to checked images in a folder: look into the tar, take its images out, put them in place.

Nothing of a tar is trusted: it may be cut short, hold more than was asked for, or names that lead out of the folder.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from general_code.cutout_checks import check_cutout, image_name_pattern, time_in_name
from general_code.cutout_requests import CutoutRequest
from general_code.jsoc_faults import DamagedTarError, RefusedError
from general_code.stage_files import flush

CAMERAS = 2  # of HMI: a time may have a record of each
MOST_HELPERS = 50  # index.txt, index.json, index.html, proc-steps.txt, a dozen named after the request, and folders
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


def most_images(request: CutoutRequest) -> int:
    """Return the most images that a request can have.

    Parameters
    ----------
    request : CutoutRequest
        Its slots count, not what a query has answered: that may lack times.

    Returns
    -------
    int
        One a slot and camera.
    """
    return CAMERAS * request.slot_count


def _most_image_bytes(patch_pixels: int) -> int:
    """Return the most bytes that a cut-out's file may have: twice its pixels as 4-byte integers, and a header."""
    return 8 * patch_pixels**2 + HEADER_BYTES


def most_tar_bytes(request: CutoutRequest) -> int:
    """Return the most bytes that a request's tar may have.

    Parameters
    ----------
    request : CutoutRequest
        Gives number and size of the cut-outs.

    Returns
    -------
    int
        With the tar's own blocks and the files beside the images.
    """
    return most_images(request) * (_most_image_bytes(request.patch_pixels) + 1024) + HELPER_BYTES


# ---------------------------------------------------------------------------- unpacking


def unpack_cutouts(tar_path: Path, folder: Path, request: CutoutRequest) -> Unpacked:
    """Unpack the images of a tar into an empty folder of their own and check each.

    Parameters
    ----------
    tar_path : Path
        As downloaded.
    folder : Path
        Made; nothing is written outside of it.
    request : CutoutRequest
        Gives series, times and size that the images must have.

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
    _require_end_of_tar(tar_path)
    try:
        # "r:" takes plain tars only, so that nothing can swell by decompression
        with tarfile.open(tar_path, "r:") as tar:
            for member in _safe_members(tar, folder, request):
                path = folder / PurePosixPath(member.name).name
                member.name = path.name
                tar.extract(member, folder, filter="data")
                _sort_in(unpacked, path, request)
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


def _safe_members(tar: tarfile.TarFile, folder: Path, request: CutoutRequest) -> Iterator[tarfile.TarInfo]:
    """Yield the FITS members, stopping at the first that cannot belong to the request; folders count as helpers."""
    images, helpers, helper_bytes, seen = 0, 0, 0, set()
    name = Path(str(tar.name)).name
    for member in tar:
        _refuse_unsafe(member, folder, name)
        is_image = member.isreg() and member.name.lower().endswith(".fits")
        images, helpers = images + is_image, helpers + (not is_image)
        base = PurePosixPath(member.name).name.lower()
        if images > most_images(request) or helpers > MOST_HELPERS or base in seen:
            raise RefusedError(f"{name}: '{member.name[:80]}' is surplus: the request can have {most_images(request)} "
                               f"images and {MOST_HELPERS} other files and folders, each once; nothing of it is used")
        seen.add(base)
        most = _most_image_bytes(request.patch_pixels) if is_image else HELPER_BYTES - helper_bytes
        helper_bytes += 0 if is_image else member.size
        if member.size > most:
            raise RefusedError(f"{name}: '{member.name[:80]}' unpacks to {member.size:,} bytes, expected at most "
                               f"{most:,} for {request.patch_pixels} pixels square; nothing of it is used")
        if is_image:
            yield member


def _refuse_unsafe(member: tarfile.TarInfo, folder: Path, tar_name: str) -> None:
    """Raise RefusedError for anything but a plain file, or a folder, inside the folder."""
    parts = PurePosixPath(member.name).parts
    inside = not PurePosixPath(member.name).is_absolute() and ".." not in parts and "\\" not in member.name
    if not inside or ":" in member.name:
        raise RefusedError(f"{tar_name}: the name '{member.name[:80]}' leads out of the folder; nothing of it is used")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise RefusedError(f"{tar_name}: '{member.name[:80]}' is a link, a device or the like, expected plain files; "
                           "nothing of it is used")
    tarfile.data_filter(member, str(folder))


def _sort_in(unpacked: Unpacked, path: Path, request: CutoutRequest) -> None:
    """Enter an extracted file among the images or the rejected ones."""
    time = time_in_name(path.name, request.series)
    try:
        if time is None:
            raise ValueError("name is not one of the series", f"expected a name like {request.series}.YYYYMMDD_…")
        check_cutout(path, request, time)
        if time in unpacked.images:
            raise ValueError("second image of one time", f"{unpacked.images[time].name} is used")
    except ValueError as error:
        unpacked.rejected.append((path.name, *error.args))
        path.unlink()
    else:
        unpacked.images[time] = path


# ---------------------------------------------------------------------------- the region's folder


def put_in_place(unpacked: Unpacked, folder: Path, series: str) -> None:
    """Rename checked images into their folder, one spelling of the name a time; on disk when this returns.

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
        flush(path)
        path.replace(target)
        if other.name != target.name and not other.samefile(target):
            other.unlink()
    for changed in (folder, folder.parent):
        flush(changed)


def images_in_place(folder: Path) -> int:
    """Return the number of images in a region's folder.

    Parameters
    ----------
    folder : Path
        Need not exist.

    Returns
    -------
    int
        Of FITS files; empty ones, as a machine that lost its power may leave them, are none.
    """
    return sum(path.stat().st_size > 0 for path in folder.glob("*.fits"))
