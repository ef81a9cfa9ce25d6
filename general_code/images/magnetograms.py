"""HMI line-of-sight magnetograms: FITS and PNG in and out, resized. Fields are in gauss, shape (ny, nx), north up."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import scipy.sparse

from general_code.stage.files import atomic_path, describe
from general_code.stage.run import StageRun

try:
    import fitsio
except ImportError:  # no wheel for every system; astropy reads the same values, at half the speed
    fitsio = None

PNG_ZERO_LEVEL = 128  # grey level of 0 G in the published PNG images
FITS_UNIT_GAUSS = 0.1  # BSCALE: the service delivers whole tenths of a gauss
FITS_BLANK = -(2**31)  # BLANK: the integer that stands for NaN
CONTRADICTION = "values contradict DATAMIN and DATAMAX in the header"
NOT_NORTH_UP = "not north up by CROTA2 in the header"
_ADVICE = {CONTRADICTION: "see whether BSCALE was lost or another unit is meant",
           NOT_NORTH_UP: "full-disk images are turned by 180 degrees, cut-outs of im_patch are not"}
_GAUSS = ("gauss", "g", "mx/cm^2", "mx/cm2", "mx cm-2")  # BUNIT of magnetograms


# ---------------------------------------------------------------------------- reading


class ImageOutOfReach(OSError, ValueError):
    """An image that the system does not hand over now, which says nothing about its content: try again later."""


def read_magnetogram(path: Path, remarks: list[str] | None = None) -> np.ndarray:
    """Read an image as a field.

    Parameters
    ----------
    path : Path
        `.fits` or `.fits.gz`: the first unit that is a magnetogram, in gauss; `.png`: 8-bit grey levels.
    remarks : list of str, optional
        Gets what is strange about the image but does not keep it from being used: `CONTRADICTION`, `NOT_NORTH_UP`.

    Returns
    -------
    numpy.ndarray
        float64, shape (ny, nx): gauss (NaN where the file has no value), or grey level minus 128.

    Raises
    ------
    ValueError
        Names the file and why it cannot be used: missing, empty, damaged, not a 2-D image, wrong mode.
    ImageOutOfReach
        A `ValueError`, too: no permission, too many open files, an error of the disk.
    """
    try:
        if not path.is_file():
            raise ValueError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
        if not path.stat().st_size:
            raise ValueError(f"{path}: the file is empty")
        field, header = (_read_png(path), {}) if path.suffix.lower() == ".png" else _read_fits(path)
    except OSError as error:  # e.g. in a folder that must not be entered
        raise ImageOutOfReach(f"{path}: cannot be reached ({error.strerror})") from None
    except MemoryError:
        raise ImageOutOfReach(f"{path}: cannot be read (not enough memory)") from None
    if field.ndim != 2 or not field.size:
        raise ValueError(f"{path}: expected a 2-D image, got an array of shape {field.shape}")
    if remarks is not None:
        remarks += _remarks(field, header)
    return field


def report_remarks(remarks: Iterable[str], run: StageRun) -> None:
    """Report what is strange about images, once each, with the number of images.

    Parameters
    ----------
    remarks : iterable of str
        Of all images, as `read_magnetogram` gives them.
    run : StageRun
        Prints a line, and counts.
    """
    for remark, number in sorted(Counter(remarks).items()):
        run.count(f"images {remark}", number)
        run.report(f"Warning: {number:,} images: {remark}; {_ADVICE[remark]}")


def _remarks(field: np.ndarray, header: Mapping) -> list[str]:
    """Return what contradicts the header, or what its user should know."""
    remarks = []
    stated = np.array([_number(header, "DATAMIN"), _number(header, "DATAMAX")])
    found = np.array([np.nanmin(field), np.nanmax(field)]) if np.isfinite(field).any() else np.array([np.nan, np.nan])
    beyond = (found - stated) * (-1, 1)
    # the cards of a larger image, which this is a part of, need not be reached
    total = _number(header, "TOTVALS")
    whole = np.isnan(total) or total == field.size
    if (np.abs(beyond) if whole else beyond).max() > 0.01 * np.ptp(stated) + 1:
        remarks.append(CONTRADICTION)
    turned = _number(header, "CROTA2")
    if abs((turned + 180) % 360 - 180) > 10:
        remarks.append(NOT_NORTH_UP)
    return remarks


def _number(header: Mapping, card: str) -> float:
    """Return the number of a card, NaN where there is none."""
    with suppress(Exception):  # astropy's for a card that is none are of many kinds
        return float(header.get(card))
    return np.nan


def _read_fits(path: Path) -> tuple[np.ndarray, Mapping]:
    """Return the magnetogram of a FITS file [G] and its header, by cfitsio where possible."""
    readers: list[Callable] = [_read_fits_astropy] if fitsio is None else [_read_fits_cfitsio, _read_fits_astropy]
    reason = ""
    for reader in readers:  # each refuses headers that the other reads
        try:
            with path.open("rb") as file:
                return reader(file)
        except Exception as error:  # damage leads to anything: an index, a tile, a division by zero
            if getattr(error, "errno", None) or isinstance(error, MemoryError):
                raise
            reason = reason or ("its header is no text" if isinstance(error, UnicodeDecodeError) else describe(error))
    raise ValueError(f"{path}: not a readable FITS image ({reason})")


def _read_fits_cfitsio(opened: BinaryIO) -> tuple[np.ndarray, Mapping]:
    """Return the magnetogram of a FITS file, and its header; BLANK pixels as NaN."""
    # by the name of the open file, as cfitsio takes brackets, `$`, `!` and `*` in a path for commands
    with fitsio.FITS(f"/dev/fd/{opened.fileno()}") as file:
        images, end = [], 0
        for unit in file:
            info = unit.get_info()
            end = info["data_end"]
            if unit.get_exttype(num=False) != "BINARY_TBL" and info["ndims"]:
                images.append((unit, info["dims"]))
        unit, shape = _magnetogram(images, lambda unit: unit.read_header(), opened, end)
        unit.ignore_scaling = True  # cfitsio scales to single precision what has 16 bits
        header = unit.read_header()
        return _physical(unit[(slice(None),) * len(shape)], header), header


def _read_fits_astropy(opened: BinaryIO) -> tuple[np.ndarray, Mapping]:
    """Return the magnetogram of a FITS file, and its header; BLANK pixels as NaN."""
    from astropy.io import fits  # half a second to import, needed only without fitsio

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*truncated")  # astropy warns only, and may read zeros
        with fits.open(opened, memmap=False, do_not_scale_image_data=True) as file:
            images, end = [], 0
            for unit in file:
                place = unit.fileinfo()
                end = place["datLoc"] + place["datSpan"]
                if unit.is_image and unit.shape:
                    images.append((unit, unit.shape))
            unit, _ = _magnetogram(images, lambda unit: unit.header, opened, end)
            return _physical(unit.data, unit.header), unit.header


def _physical(stored: np.ndarray, header: Mapping) -> np.ndarray:
    """Return stored numbers as the header scales them, in float64, with NaN where an integer is its BLANK."""
    scale, zero = header.get("BSCALE", 1.0), header.get("BZERO", 0.0)
    if not all(isinstance(number, int | float) for number in (scale, zero)):
        raise ValueError(f"BSCALE and BZERO: expected numbers, got '{scale}' and '{zero}'")
    field = stored.astype(np.float64)
    field *= scale
    field += zero
    blank = header.get("ZBLANK", header.get("BLANK"))
    if blank is not None and stored.dtype.kind in "iu":
        field[stored == blank] = np.nan
    return field


def _magnetogram(units: list[tuple], header_of: Callable, file: BinaryIO, end: int) -> tuple:
    """Return the unit, of those with an image, that is the magnetogram and no thumbnail, and its shape."""
    if not units:  # the last one ends at byte `end`: does the file go on?
        left = os.fstat(file.fileno()).st_size - end
        raise ValueError(f"truncated or damaged: its last {left} bytes are no whole unit" if left > 0 and end else
                         "it holds no image")

    def likeness(item: tuple) -> tuple[bool, bool, int]:
        unit, shape = item
        header = header_of(unit)
        named = str(header.get("BUNIT", "")).strip().lower() in _GAUSS or (
            "magnetogram" in f"{header.get('CONTENT', '')} {header.get('EXTNAME', '')}".lower())
        return named, len(shape) == 2, int(np.prod(shape))

    return units[0] if len(units) == 1 else max(units, key=likeness)


def _read_png(path: Path) -> np.ndarray:
    """Return the grey levels of an 8-bit PNG, minus 128."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # no image of a region has 90 million pixels
            with Image.open(path, formats=("PNG",)) as image:
                if image.mode != "L":
                    raise ValueError(f"{path}: expected an 8-bit grey PNG (mode L), got mode {image.mode}")
                return np.asarray(image, dtype=np.float64) - PNG_ZERO_LEVEL
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a PNG image") from None
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if getattr(error, "errno", None):
            raise
        raise ValueError(f"{path}: damaged PNG image ({describe(error)})") from None  # SyntaxError: a broken chunk


# ---------------------------------------------------------------------------- writing


def write_magnetogram(path: Path, field: np.ndarray, header: Iterable[tuple[str, object]] = ()) -> None:
    """Write a field as the export service delivers it: an empty primary unit, then Rice-compressed integers.

    Parameters
    ----------
    path : Path
        The `.fits` file to write.
    field : numpy.ndarray
        Shape (ny, nx) [G], finite or NaN (else a ValueError); rounded to whole tenths; NaN becomes BLANK.
    header : iterable of (str, value), optional
        Further cards of the image's header, e.g. T_REC, QUALITY.

    References
    ----------
    Pence et al. 2010, A&A 524, A42 (FITS standard 3.0); Pence et al. 2009, PASP 121, 414 (Rice compression).
    """
    from astropy.io import fits

    if field.ndim != 2 or np.isinf(field).any():
        raise ValueError(f"{path}: expected a finite (or NaN) 2-D field, got shape {field.shape}")
    tenths = np.where(np.isnan(field), FITS_BLANK, np.rint(np.nan_to_num(field) / FITS_UNIT_GAUSS)).astype(np.int32)
    with atomic_path(path) as temporary:
        units = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(tenths, compression_type="RICE_1")])
        units.writeto(temporary, overwrite=True)
        # opened as the table it is, since astropy would scale the pixels again
        with fits.open(temporary, mode="update", disable_image_compression=True) as file:
            cards = file[1].header
            cards.update({"BLANK": FITS_BLANK, "ZBLANK": FITS_BLANK, "BZERO": 0.0, "BSCALE": FITS_UNIT_GAUSS,
                          "BUNIT": "Gauss"})
            cards.update(dict(header))


def gauss_to_grey(field: np.ndarray, gauss_per_level: float) -> np.ndarray:
    """Return a field as 8-bit grey levels.

    Parameters
    ----------
    field : numpy.ndarray
        [G]; NaN counts as 0 G.
    gauss_per_level : float
        Width of a level [G]; a ValueError unless above 0.

    Returns
    -------
    numpy.ndarray
        uint8: `round(128 + field / gauss_per_level)`, half to even, clipped to 0..255.
    """
    if not gauss_per_level > 0:
        raise ValueError(f"gauss_per_level: expected a number above 0, got {gauss_per_level}")
    return np.clip(np.rint(PNG_ZERO_LEVEL + np.nan_to_num(field) / gauss_per_level), 0, 255).astype(np.uint8)


def write_png(path: Path, grey: np.ndarray) -> None:
    """Write grey levels as an 8-bit PNG.

    Parameters
    ----------
    path : Path
        The `.png` file to write.
    grey : numpy.ndarray
        uint8, shape (ny, nx).
    """
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(grey).save(temporary, format="PNG")


# ---------------------------------------------------------------------------- resizing


def resize_field(field: np.ndarray, pixels: int) -> np.ndarray:
    """Return a field resized to a square, bilinear with anti-aliasing.

    Parameters
    ----------
    field : numpy.ndarray
        Shape (ny, nx), without NaN.
    pixels : int
        Width and height of the result.

    Returns
    -------
    numpy.ndarray
        float64, shape (pixels, pixels): `skimage.transform.resize(order=1, anti_aliasing=True)` to 1e-10 of the
        largest value, by the same operation as a sparse matrix for each axis, ten times as fast.
    """
    rows, columns = _resize_matrix(field.shape[0], pixels), _resize_matrix(field.shape[1], pixels)
    return np.asarray((columns @ (rows @ field).T).T)


@lru_cache(maxsize=64)
def _resize_matrix(length: int, pixels: int) -> scipy.sparse.csr_array:
    """Return the matrix that resizes a column: what skimage does to the unit columns, as resizing is linear."""
    from skimage.transform import resize

    return scipy.sparse.csr_array(resize(np.eye(length), (pixels, length), order=1, anti_aliasing=True))
