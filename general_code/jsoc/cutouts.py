"""From a tar of JSOC's to checked images in a folder: look into the tar, extract its images, put them in place.

Nothing of a tar is trusted: it may be cut short, hold more than was asked for, or names that lead out of the folder.
"""

import re
import tarfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from general_code.images.magnetograms import ImageOutOfReach, read_magnetogram
from general_code.jsoc.client import signed_quality
from general_code.jsoc.export_requests import CutoutRequest, parse_record_time
from general_code.jsoc.retry import DamagedTarError, RefusedError, TransientError
from general_code.stage.files import describe, flush, printable

CAMERAS = 2  # of HMI: a time may have a record of each
MOST_OTHER_FILES = 50  # index.txt, index.json, index.html, proc-steps.txt, a dozen named after the request, and folders
OTHER_BYTES = 64 << 20  # most that all of them may have: the index of 2,000 records is half a megabyte
HEADER_BYTES = 256 << 10  # more than any FITS header of JSOC's
CARDS = ("NAXIS", "NAXIS1", "NAXIS2", "ZNAXIS", "ZNAXIS1", "ZNAXIS2", "QUALITY", "T_REC")
BLOCK = tarfile.BLOCKSIZE
EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)  # notes on the next member: times, long names


@dataclass
class Unpacked:
    """What a tar held."""

    images: dict[datetime, Path] = field(default_factory=dict)  # that passed their checks, by record time [TAI]
    rejected: list[tuple[str, str, str]] = field(default_factory=list)  # file name, reason, detail


# ---------------------------------------------------------------------------- the tar


def most_images(request: CutoutRequest) -> int:
    """Return the most images that a request can have: its slots count, since a query's answer may lack times."""
    return CAMERAS * request.slot_count


def _most_image_bytes(patch_pixels: int) -> int:
    """Return the most bytes that a cut-out's file may have: twice its pixels as 4-byte integers, and a header."""
    return 8 * patch_pixels**2 + HEADER_BYTES


def most_tar_bytes(request: CutoutRequest) -> int:
    """Return the most bytes that a request's tar may have, with its own blocks and the files beside the images."""
    return most_images(request) * (_most_image_bytes(request.patch_pixels) + 2 * BLOCK) + OTHER_BYTES


def unpack_cutouts(tar_path: Path, folder: Path, request: CutoutRequest) -> Unpacked:
    """Extract a tar's images into an empty folder, each checked; DamagedTarError, or RefusedError for odd members."""
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = Unpacked()
    with tar_path.open("rb") as tar:
        for member in _cutout_members(tar, tar_path.name, request):
            path = folder / PurePosixPath(member.name).name
            with path.open("xb") as file:
                _copy_bytes(tar, file, member.size)
            _sort_in(unpacked, path, request)
    return unpacked


def _members(tar: BinaryIO, name: str) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a plain tar; their bytes may be read meanwhile."""
    # not with `tarfile.open`, which a few megabytes of nonsense in extended headers keep busy for hours
    while (block := tar.read(BLOCK)) != bytes(BLOCK):  # which ends a whole tar
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError, OverflowError) as error:
            raise DamagedTarError(f"{name}: not a whole tar ({describe(error)})") from None
        if member.size < 0:
            raise DamagedTarError(f"{name}: not a whole tar (a member of {member.size} bytes)")
        next_header = tar.tell() + -(-member.size // BLOCK) * BLOCK
        yield member
        tar.seek(next_header)


def _copy_bytes(tar: BinaryIO, file: BinaryIO, size: int) -> None:
    """Copy a member's bytes to a file."""
    while size:
        chunk = tar.read(min(size, 1 << 20))
        if not chunk:
            raise DamagedTarError(f"{Path(tar.name).name}: not a whole tar (it ends within a file)")
        file.write(chunk)
        size -= len(chunk)


def _cutout_members(tar: BinaryIO, tar_name: str, request: CutoutRequest) -> Iterator[tarfile.TarInfo]:
    """Yield the FITS members, stopping at the first that cannot belong to the request."""
    images, others, other_bytes, seen = 0, 0, 0, set()
    for member in _members(tar, tar_name):
        where = f"{tar_name}: '{printable(member.name[:80])}'"
        if member.type not in EXTENSIONS:
            _refuse_unsafe(member, where)
        base = PurePosixPath(member.name).name.lower()
        is_image = member.isreg() and base.endswith(".fits")
        images, others = images + is_image, others + (not is_image)
        if images > most_images(request) or others > MOST_OTHER_FILES + images or is_image and base in seen:
            raise RefusedError(f"{where} is surplus: the request can have {most_images(request)} images and "
                               f"{MOST_OTHER_FILES} other files and folders, each once; nothing of it is used")
        seen.add(base)
        most = _most_image_bytes(request.patch_pixels) if is_image else OTHER_BYTES - other_bytes
        other_bytes += 0 if is_image else member.size
        if member.size > most:
            raise RefusedError(f"{where} unpacks to {member.size:,} bytes, expected at most {most:,} for "
                               f"{request.patch_pixels} pixels square; nothing of it is used")
        if is_image:
            yield member


def _refuse_unsafe(member: tarfile.TarInfo, where: str) -> None:
    """Raise RefusedError for anything but a plain file, or a folder, inside the folder."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or set(member.name) & set("\\:\0"):
        raise RefusedError(f"{where}: the name leads out of the folder; nothing of it is used")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE):
        raise RefusedError(f"{where} is a link, a device or the like, expected plain files; nothing of it is used")


# ---------------------------------------------------------------------------- the images


def image_name_pattern(series: str) -> re.Pattern[str]:
    """Return the pattern of JSOC's file names for a series, in any case; its groups are time and camera."""
    return re.compile(rf"{re.escape(series)}\.(\d{{8}}_\d{{6}})_TAI\.(\d+)\.magnetogram\.fits",
                      re.IGNORECASE | re.ASCII)


def time_in_name(name: str, series: str) -> datetime | None:
    """Return the time [TAI] in a file name of JSOC's; None when the name is not one of the series."""
    match = image_name_pattern(series).fullmatch(name)
    try:
        return datetime.strptime(match[1], "%Y%m%d_%H%M%S") if match else None
    except ValueError:  # there is no such time
        return None


def _sort_in(unpacked: Unpacked, path: Path, request: CutoutRequest) -> None:
    """Enter an extracted file among the images or the rejected ones."""
    time = time_in_name(path.name, request.series)
    try:
        if time is None:
            raise ValueError("name is not one of the series", f"expected a name like {request.series}.YYYYMMDD_...")
        check_cutout(path, request, time)
        if time in unpacked.images:
            raise ValueError("second image of one time", f"{unpacked.images[time].name} is used")
    except ValueError as error:
        name = printable(path.name.encode("utf-8", "backslashreplace").decode())
        unpacked.rejected.append((name, *error.args))
        path.unlink()
    else:
        unpacked.images[time] = path


def check_cutout(path: Path, request: CutoutRequest, time: datetime) -> None:
    """Raise ValueError, with reason and detail, unless a cut-out is the one of its request and the time in its name."""
    if not request.start <= time <= request.stop:
        raise ValueError("time outside the request", f"{time} is not in {request.time_range}")
    cards = _read_cards(path)
    # no pixel is looked at before its image has the right size
    prefix = "ZNAXIS" if "ZNAXIS" in cards else "NAXIS"
    axes = [cards.get(f"{prefix}{axis}") for axis in (1, 2)]
    if cards.get(prefix) != 2 or axes != [request.patch_pixels] * 2:
        raise ValueError("wrong size", f"expected {request.patch_pixels}x{request.patch_pixels} pixels, got "
                         f"{axes[0]}x{axes[1]}")
    _check_record(cards, time)
    try:
        shape = read_magnetogram(path).shape
    except ImageOutOfReach as error:  # of the moment: too many open files, an error of the disk
        raise TransientError(f"{path.name}: {describe(error)}") from None
    except ValueError as error:
        # cfitsio repeats the path, broken after 80 characters
        text = str(error).removeprefix(f"{path}: ").partition(str(path)[:40])[0].rstrip(" :")
        raise ValueError("not a readable image", text) from None
    if shape != (request.patch_pixels, request.patch_pixels):
        raise ValueError("wrong size", f"another image, {shape[1]}x{shape[0]} pixels, is in front of the cut-out")


def _read_cards(path: Path) -> Mapping[str, object]:
    """Return the cards that matter of the image's header: extension 1, behind an empty primary unit."""
    from astropy.io import fits  # half a second to import

    try:
        # an open file, since FITS libraries interpret brackets and dollars in a path
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            header = fits.getheader(file, 1, disable_image_compression=True)
            return {name: header[name] for name in CARDS if name in header}
    except Exception as error:  # what a stranger's header makes astropy raise has no list
        raise ValueError("not a readable image", describe(error)) from None


def _check_record(cards: Mapping[str, object], time: datetime) -> None:
    """Raise ValueError unless a header says that the record has an image, and is the one of the file's name."""
    quality = signed_quality(str(cards.get("QUALITY", "")).strip())
    if quality is None:
        raise ValueError("no QUALITY in the header", f"expected a whole number, got {cards.get('QUALITY', 'nothing')}")
    if quality < 0:
        raise ValueError("QUALITY below 0", f"QUALITY {quality & 0xFFFFFFFF:#010x}")
    record_time = str(cards.get("T_REC", "")).strip()
    if not record_time:
        raise ValueError("no T_REC in the header", "expected the time of the record")
    try:
        is_same = parse_record_time(record_time) == time
    except ValueError:
        is_same = False
    if not is_same:
        raise ValueError("T_REC is not the time in the name", record_time)


# ---------------------------------------------------------------------------- the region's folder


def put_in_place(unpacked: Unpacked, folder: Path, series: str) -> None:
    """Rename checked images into the region's folder, flushed, in place of those of the same time and camera."""
    folder.mkdir(parents=True, exist_ok=True)
    names = image_name_pattern(series)
    present = {(match[1], match[2]): path for path in folder.iterdir() if (match := names.fullmatch(path.name))}
    for _, path in sorted(unpacked.images.items()):
        stamp, camera = names.fullmatch(path.name).groups()
        target = folder / f"{series}.{stamp}_TAI.{camera}.magnetogram.fits"
        other = present.get((stamp, camera), target)
        flush(path)
        path.replace(target)
        # on a file system that ignores case both names are one file
        if other.name != target.name and not other.samefile(target):
            other.unlink()
    for changed in (folder, folder.parent):
        flush(changed)
