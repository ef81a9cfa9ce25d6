"""HMI line-of-sight magnetograms: FITS and PNG in and out. Fields are in gauss, shape (ny, nx), north up."""

import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from general_code.stage_files import atomic_path, describe

try:
    import fitsio
except ImportError:  # no wheel for every system; astropy reads the same values, at half the speed
    fitsio = None

PNG_ZERO_LEVEL = 128  # grey level of 0 G in the published PNG images
FITS_UNIT_GAUSS = 0.1  # BSCALE: the service delivers whole tenths of a gauss
FITS_BLANK = -(2**31)  # BLANK: the integer that stands for NaN
_UNREADABLE = (OSError, ValueError, TypeError, IndexError, KeyError, Warning)  # what the readers raise for damage


def list_images(folder: Path, image_format: str) -> list[Path]:
    """Return the image files of a data set, by region and name.

    Parameters
    ----------
    folder : Path
        Holds `NNNN/*.fits` or `NNNN/*.png`.
    image_format : {"fits", "png"}
        Which of them; the extension's case does not matter.

    Returns
    -------
    list of Path
        Sorted. Whatever bears the extension counts, also what turns out not to be an image.
    """
    return sorted(path for region in folder.iterdir() if region.is_dir()
                  for path in region.iterdir() if path.suffix.lower() == f".{image_format}")


# ---------------------------------------------------------------------------- reading


def read_magnetogram(path: Path) -> np.ndarray:
    """Read an image as a field.

    Parameters
    ----------
    path : Path
        `.fits`: the first extension with an image, in gauss; `.png`: 8-bit grey levels.

    Returns
    -------
    numpy.ndarray
        float64, shape (ny, nx): gauss (NaN where the file has no value), or grey level minus 128.

    Raises
    ------
    ValueError
        Names the file and why it cannot be used: missing, out of reach, empty, damaged, not a 2-D image, wrong mode.
    """
    try:
        if not path.is_file():
            raise ValueError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
        if not path.stat().st_size:
            raise ValueError(f"{path}: the file is empty")
    except OSError as error:  # e.g. in a folder that must not be entered
        raise ValueError(f"{path}: cannot be reached ({error.strerror})") from None
    reader = _read_png if path.suffix.lower() == ".png" else _read_fits
    field = reader(path)
    if field.ndim != 2 or not field.size:
        raise ValueError(f"{path}: expected a 2-D image, got an array of shape {field.shape}")
    return field


def _read_fits(path: Path) -> np.ndarray:
    """Return the first image of a FITS file [G], by cfitsio where it is at hand."""
    reader = _read_fits_astropy if fitsio is None else _read_fits_cfitsio
    with suppress(*_UNREADABLE):
        return reader(path)
    try:  # once more: cfitsio also fails over messages that a damaged file before this one left in its memory
        return reader(path)
    except _UNREADABLE as error:
        reason = "its header is no text" if isinstance(error, UnicodeDecodeError) else describe(error)
        raise ValueError(f"{path}: not a readable FITS image ({reason})") from None


def _read_fits_cfitsio(path: Path) -> np.ndarray:
    """Return the first image of a FITS file; BLANK pixels as NaN."""
    end = 0
    with fitsio.FITS(str(path)) as file:
        for unit in file:
            info = unit.get_info()
            if unit.get_exttype(num=False) != "BINARY_TBL" and info["ndims"]:
                unit.ignore_scaling = True  # cfitsio scales to single precision what has 16 bits
                return _physical(unit[(slice(None),) * info["ndims"]], unit.read_header())
            end = info["data_end"]
    raise _no_image(path, end)


def _read_fits_astropy(path: Path) -> np.ndarray:
    """Return the first image of a FITS file; BLANK pixels as NaN."""
    from astropy.io import fits  # half a second to import, needed only without fitsio

    end = 0
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*truncated")  # astropy warns only, and may read zeros
        with fits.open(path, memmap=False, do_not_scale_image_data=True) as file:
            for unit in file:
                if unit.is_image and unit.data is not None:
                    return _physical(unit.data, unit.header)
                place = unit.fileinfo()
                end = place["datLoc"] + place["datSpan"]
    raise _no_image(path, end)


def _physical(stored: np.ndarray, header: Mapping) -> np.ndarray:
    """Return stored numbers as the header scales them, in float64, with NaN where an integer is its BLANK."""
    field = stored.astype(np.float64)
    field *= header.get("BSCALE", 1.0)
    field += header.get("BZERO", 0.0)
    blank = header.get("ZBLANK", header.get("BLANK"))
    if blank is not None and stored.dtype.kind in "iu":
        field[stored == blank] = np.nan
    return field


def _no_image(path: Path, end: int) -> ValueError:
    """Return the error for a file in which no unit before the byte `end`, where the last one ends, is an image."""
    left = path.stat().st_size - end
    return ValueError(f"truncated or damaged: its last {left} bytes are no whole unit" if left else
                      "it holds no image")


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
        raise ValueError(f"{path}: damaged PNG image ({describe(error)})") from None  # SyntaxError: a broken chunk


# ---------------------------------------------------------------------------- writing


def write_magnetogram(path: Path, field: np.ndarray, header: Iterable[tuple[str, object]] = ()) -> None:
    """Write a field as the export service delivers it: an empty primary unit, then Rice-compressed integers.

    Parameters
    ----------
    path : Path
        The `.fits` file to be.
    field : numpy.ndarray
        Shape (ny, nx) [G]; rounded to whole tenths; NaN becomes BLANK.
    header : iterable of (str, value), optional
        Further cards of the image's header, e.g. T_REC, QUALITY.

    Raises
    ------
    ValueError
        When the field is not 2-D or holds infinite values.

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
        Width of a level [G], above 0.

    Returns
    -------
    numpy.ndarray
        uint8: `round(128 + field / gauss_per_level)`, half to even, clipped to 0..255.

    Raises
    ------
    ValueError
        When the width is not above 0.
    """
    if not gauss_per_level > 0:
        raise ValueError(f"gauss_per_level: expected a number above 0, got {gauss_per_level}")
    return np.clip(np.rint(PNG_ZERO_LEVEL + np.nan_to_num(field) / gauss_per_level), 0, 255).astype(np.uint8)


def write_png(path: Path, grey: np.ndarray) -> None:
    """Write grey levels as an 8-bit PNG.

    Parameters
    ----------
    path : Path
        The `.png` file to be.
    grey : numpy.ndarray
        uint8, shape (ny, nx).
    """
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(grey).save(temporary, format="PNG")
