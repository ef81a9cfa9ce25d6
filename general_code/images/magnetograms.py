"""HMI line-of-sight magnetograms: FITS and PNG in and out, resized. Fields are in gauss, shape (ny, nx), north up."""

import math
import os
import re
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from general_code.stage.files import atomic_path, describe
from general_code.stage.run import StageRun

try:
    import fitsio
except ImportError:  # no wheel for every system; astropy reads the same values, at half the speed
    fitsio = None

PNG_ZERO_LEVEL = 128  # grey level of 0 G in the published PNG images
FITS_UNIT_GAUSS = 0.1  # BSCALE: the service delivers whole tenths of a gauss
FITS_BLANK = -(2**31)  # BLANK: the integer that stands for NaN
LONGEST_SIDE = 16_384  # of an image to resize [pixels]: four full disks
DEFLATED = 1032  # bytes that one byte of gzip's format stands for at most
CONTRADICTION = "values contradict DATAMIN and DATAMAX in the header"
NOT_NORTH_UP = "not north up by CROTA2 in the header"
_ADVICE = {CONTRADICTION: "see whether BSCALE was lost or another unit is meant",
           NOT_NORTH_UP: "full-disk images are turned by 180 degrees, cut-outs of im_patch are not"}
_GAUSS = ("gauss", "g", "mx/cm^2", "mx/cm2", "mx cm-2")  # BUNIT of magnetograms
_END_OF_REASON = re.compile(r"(?: \(|, got |: )")
_COLUMNS = 512  # of the weights for resizing, at a time
_MEMORY_KEPT = 31 << 20  # [bytes]; the pages of an image's arrays serve the next one: 1,000 page faults fewer
_WARNINGS = threading.Lock()  # `warnings.catch_warnings` changes what all threads see


# ---------------------------------------------------------------------------- compiled functions


def kernel(function: Callable) -> Callable:
    """Have a function compiled (numba) at its first call, to run without the interpreter's lock.

    Parameters
    ----------
    function : callable
        Of arrays and numbers.

    Returns
    -------
    callable
        Its compiled code is kept where numba finds a folder: NUMBA_CACHE_DIR, beside the module, the user's cache, or
        else among the temporary files, if nobody else can write there: it is executed.
    """
    compiler = partial(numba.njit, error_model="numpy", nogil=True)
    with suppress(RuntimeError):
        return compiler(cache=True)(function)
    user = os.getuid() if hasattr(os, "getuid") else 0
    with suppress(OSError, RuntimeError):
        folder = Path(tempfile.gettempdir(), f"numba-{user}")
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid == user and not folder.stat().st_mode & 0o022:
            numba.config.CACHE_DIR = str(folder)
            return compiler(cache=True)(function)
    return compiler()(function)


# ---------------------------------------------------------------------------- reading


class ImageOutOfReach(OSError, ValueError):
    """An image that the system does not hand over now, which says nothing about its content: try again later."""


def reason_and_detail(error: ValueError, path: Path) -> tuple[str, str]:
    """Return why an image is not used, in the words of the excluded file.

    Parameters
    ----------
    error, path : ValueError, Path
        Of `read_pixels`, or of who uses the pixels; the image, with which the message may begin.

    Returns
    -------
    reason, detail : str
        The fixed phrase at the message's start, and all of it (without the path) where there is more.
    """
    message = describe(error).removeprefix(f"{path}: ")
    end = _END_OF_REASON.search(message)
    return (message[:end.start()], message) if end else (message, "")


class Pixels(NamedTuple):
    """An image as it is stored: whole numbers where the file has them."""

    values: np.ndarray  # shape (ny, nx): int32 tenths of a gauss, else float64 gauss or grey levels minus 128
    without_value: int  # number of pixels that are FITS_BLANK (int32) or NaN (float64)

    def field(self) -> np.ndarray:
        """Return float64: gauss (NaN where the file has no value), or grey levels minus 128."""
        if self.values.dtype == np.float64:
            return self.values
        field = self.values * FITS_UNIT_GAUSS
        if self.without_value:
            field[self.values == FITS_BLANK] = np.nan
        return field


def read_pixels(path: Path, remarks: list[str] | None = None) -> Pixels:
    """Read an image as whole numbers where it has them; many threads may do so at a time.

    Parameters
    ----------
    path, remarks : Path, list of str
        `.fits` or `.fits.gz`: the first unit that is a magnetogram; `.png`: 8-bit grey levels. The remarks get what is
        strange about the image but does not keep it from being used: `CONTRADICTION`, `NOT_NORTH_UP`.

    Returns
    -------
    Pixels
        int32 for a FITS image of whole tenths of a gauss (BSCALE 0.1, BZERO 0), as the export service delivers it, else
        float64. ValueError, with the file, for one that cannot be used: missing, empty, damaged, not a 2-D image, wrong
        mode; `ImageOutOfReach` where the system does not hand it over.
    """
    try:
        if not path.is_file():
            raise ValueError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
        if not path.stat().st_size:
            raise ValueError(f"{path}: the file is empty")
        _keep_memory()
        values, header = (_read_png(path), {}) if path.suffix.lower() == ".png" else _read_fits(path)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"{path}: expected a 2-D image, got an array of shape {values.shape}")
        low, high, without_value = _extent(values)
    except OSError as error:  # e.g. in a folder that must not be entered
        raise ImageOutOfReach(f"{path}: cannot be reached ({error.strerror})") from None
    except MemoryError:
        raise ImageOutOfReach(f"{path}: cannot be read (not enough memory)") from None
    if remarks is not None:
        unit = FITS_UNIT_GAUSS if values.dtype == np.int32 else 1.0
        remarks += _remarks(unit * float(low), unit * float(high), values.size, header)
    return Pixels(values, without_value)


@cache
def _keep_memory() -> None:
    """Have the C library keep what this process frees from now on: it does so after freeing a large block."""
    np.empty(_MEMORY_KEPT, np.uint8)


def read_magnetogram(path: Path, remarks: list[str] | None = None) -> np.ndarray:
    """Read an image as a field.

    Parameters
    ----------
    path, remarks : Path, list of str
        As for `read_pixels`, whose errors it has, too.

    Returns
    -------
    numpy.ndarray
        float64, shape (ny, nx): gauss (NaN where the file has no value), or grey level minus 128.
    """
    return read_pixels(path, remarks).field()


def report_remarks(remarks: Iterable[str], run: StageRun) -> None:
    """Report what is strange about images, once each, with the number of images.

    Parameters
    ----------
    remarks, run : iterable of str, StageRun
        Of all images, as `read_magnetogram` gives them; prints a line, and counts.
    """
    for remark, number in sorted(Counter(remarks).items()):
        run.count(f"images {remark}", number)
        run.report(f"Warning: {number:,} images: {remark}; {_ADVICE[remark]}")


def _extent(values: np.ndarray) -> tuple[float, float, int]:
    """Return the smallest and the largest value, as `Pixels` holds them, and the number of pixels without one."""
    whole = values.dtype == np.int32
    low, high = values.min(), values.max()
    if low > FITS_BLANK if whole else low == low:  # no value is the smallest of integers, and NaN the least of floats
        return low, high, 0
    present = values[values > FITS_BLANK] if whole else values[~np.isnan(values)]
    if not present.size:
        return np.nan, np.nan, values.size
    return present.min(), present.max(), values.size - present.size


def _remarks(low: float, high: float, pixels: int, header: Mapping) -> list[str]:
    """Return what contradicts the header, or what its user should know; nothing is said of a number that is NaN."""
    remarks = []
    smallest, largest = _number(header, "DATAMIN"), _number(header, "DATAMAX")
    beyond = [smallest - low, high - largest]
    total = _number(header, "TOTVALS")
    if np.isnan(total) or total == pixels:  # the cards of a larger image, which this is a part of, need not be reached
        beyond += [low - smallest, largest - high]
    if any(difference > 0.01 * abs(largest - smallest) + 1 for difference in beyond):
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
    """Return the magnetogram of a FITS file (tenths or gauss, see `Pixels`) and its header."""
    # each reads what those before it do not; all agree on what they read
    readers = [_read_fits_export, *([] if fitsio is None else [_read_fits_cfitsio]), _read_fits_astropy]
    reasons = []
    for reader in readers:
        try:
            with path.open("rb", buffering=0) as file:
                return reader(file)
        except Exception as error:  # damage leads to anything: an index, a tile, a division by zero
            if getattr(error, "errno", None) or isinstance(error, MemoryError):
                raise
            reasons.append("its header is no text" if isinstance(error, UnicodeDecodeError) else describe(error))
    raise ValueError(f"{path}: not a readable FITS image ({reasons[1]})")  # the first reads but one kind of file


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

    with _WARNINGS, warnings.catch_warnings():
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
    """Return stored integers if they are whole tenths of a gauss, all else as the header scales it, in float64."""
    scale, zero = header.get("BSCALE", 1.0), header.get("BZERO", 0.0)
    if not all(isinstance(number, int | float) for number in (scale, zero)):
        raise ValueError(f"BSCALE and BZERO: expected numbers, got '{scale}' and '{zero}'")
    blank = header.get("ZBLANK", header.get("BLANK"))
    if stored.dtype.newbyteorder("=") == np.int32 and (scale, zero, blank) == (FITS_UNIT_GAUSS, 0, FITS_BLANK):
        return stored.astype(np.int32, order="C", copy=False)
    field = stored.astype(np.float64)
    field *= scale
    field += zero
    if blank is not None and stored.dtype.kind in "iu":
        field[stored == blank] = np.nan
    return field


def _magnetogram(units: list[tuple], header_of: Callable, file: BinaryIO, end: int) -> tuple:
    """Return the unit, of those with an image, that is the magnetogram and no thumbnail, and its shape."""
    size = os.fstat(file.fileno()).st_size
    if not units:  # the last one ends at byte `end`: does the file go on?
        raise ValueError(f"truncated or damaged: its last {size - end} bytes are no whole unit" if 0 < end < size else
                         "it holds no image")

    def likeness(item: tuple) -> tuple[bool, bool, int]:
        unit, shape = item
        header = header_of(unit)
        named = str(header.get("BUNIT", "")).strip().lower() in _GAUSS or (
            "magnetogram" in f"{header.get('CONTENT', '')} {header.get('EXTNAME', '')}".lower())
        return named, len(shape) == 2, math.prod(shape)

    unit, shape = units[0] if len(units) == 1 else max(units, key=likeness)
    with Path(file.name).open("rb") as whole:
        gzipped = whole.read(2) == b"\x1f\x8b"
    if math.prod(shape) > size * DEFLATED ** (1 + gzipped):  # memory that no such file can fill
        raise ValueError(f"{shape[-1]}x{shape[0]} pixels are not in {size} bytes")
    return unit, shape


def _read_png(path: Path) -> np.ndarray:
    """Return the grey levels of an 8-bit PNG, minus 128."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # no image of a region has 90 million pixels
            image = Image.open(path, formats=("PNG",))  # reads the head alone
        with image:
            if image.mode != "L":
                raise ValueError(f"{path}: expected an 8-bit grey PNG (mode L), got mode {image.mode}")
            return np.asarray(image, dtype=np.float64) - PNG_ZERO_LEVEL
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a PNG image") from None
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if getattr(error, "errno", None):
            raise
        raise ValueError(f"{path}: damaged PNG image ({describe(error)})") from None  # SyntaxError: a broken chunk


# ---------------------------------------------------------------------------- the export service's own format
# An empty unit, then a table of one column whose rows are tiles: whole rows of 32-bit integers, compressed by RICE_1.
# FITS Standard 4.0, sections 7.3 (tables), 10.1 (tiles) and 10.4.1 (Rice). What differs in anything is refused here,
# and read by the general libraries, at a tenth of the speed.

_UNIT_BLOCK = 2880  # bytes; headers and data end at multiples of it
_HEAD = 16 * _UNIT_BLOCK  # both headers end before
_FIRST_CARDS = ["XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS"]
_FIXED_CARDS = {"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "GCOUNT": 1, "TFIELDS": 1, "TTYPE1": "COMPRESSED_DATA",
                "ZIMAGE": True, "ZCMPTYPE": "RICE_1", "ZBITPIX": 32, "ZNAXIS": 2, "ZNAME1": "BLOCKSIZE",
                "ZNAME2": "BYTEPIX", "ZVAL2": 4}
_CARDS = {name.encode() for name in (
    *_FIRST_CARDS, *_FIXED_CARDS, "SIMPLE", "TFORM1", "ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2", "ZVAL1", "ZTENSION",
    "ZSIMPLE", "ZEXTEND", "ZPCOUNT", "ZGCOUNT", "ZHECKSUM", "ZDATASUM", "BSCALE", "BZERO", "BLANK", "ZBLANK", "DATAMIN",
    "DATAMAX", "TOTVALS", "CROTA2")}
_STRANGE = (b"Z", b"THEAP", b"TSCAL", b"TZERO", b"TNULL", b"TDIM")  # how other cards begin that say what the bytes mean
_CARD = re.compile(rb"(?=.{8}= )([A-Z0-9_-]+) *= +(?:'((?:[^']|'')*?) *'|([TF])|([+-]?(?:0|[1-9][0-9]*))|"
                   rb"([+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=E))(?:E[+-]?[0-9]+)?|-?nan)|) *(?:/.*)?|"
                   rb"(?:COMMENT |HISTORY |CONTINUE|        ).*")  # name; text, logical value, whole or other number
_TEXT = bytes(range(32, 127))
_MOST_PIXELS = 52  # of a byte: five bits may stand for 32 pixels
_PADDING = 128  # bytes beyond the last tile: the decoder looks for its end once a block, up to 70 of them later
_VERBATIM = 25  # number of low bits that stands for differences as they are
_WINDOW = 57  # bits that eight bytes hold from any bit of the first


def compile_decoder() -> None:
    """Compile what reads and resizes images, or load it from the disk, before threads or processes would all do so."""
    _decode_tiles(np.zeros(_PADDING, np.uint8), np.zeros((0, 2), np.int64), 32, np.zeros((0, 1), np.int32))
    weights = np.zeros(1, np.int64), np.zeros((1, 1))
    for kind in (np.int32, np.float64):
        _resize(np.zeros((1, 1), kind), weights, weights, np.empty((1, 1)))


def _read_fits_export(opened: BinaryIO) -> tuple[np.ndarray, Mapping]:
    """Return the magnetogram of a file as the export service writes it, and its cards; ValueError for any other."""
    head = opened.read(_HEAD)
    primary, begin = _cards(head, 0)
    _require(list(primary.items())[:3] == [("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)])
    cards, begin = _cards(head, begin)
    _require(list(cards)[:8] == _FIRST_CARDS and all(cards[name] == value for name, value in _FIXED_CARDS.items()))
    columns, rows, tile_rows, tiles = (cards[name] for name in ("ZNAXIS1", "ZNAXIS2", "ZTILE2", "NAXIS2"))
    _require(0 < columns == cards["ZTILE1"] and 0 < tile_rows <= rows and tiles == -(-rows // tile_rows))
    _require(columns * rows <= _MOST_PIXELS * cards["PCOUNT"] and cards["ZVAL1"] in (16, 32))
    _require(cards.get("BLANK", cards.get("ZBLANK")) == cards.get("ZBLANK", cards.get("BLANK")))
    data, bounds = _tile_bytes(opened, begin, cards)
    values = np.empty((tiles, tile_rows * columns), np.int32)
    whole = rows // tile_rows  # the last tile may have fewer rows
    _require(_decode_tiles(data, bounds[:whole], cards["ZVAL1"], values[:whole]))
    _require(_decode_tiles(data, bounds[whole:], cards["ZVAL1"], values[whole:, :rows % tile_rows * columns]))
    return _physical(values.reshape(-1)[:rows * columns].reshape(rows, columns), cards), cards


def _require(condition: bool) -> None:
    """Raise ValueError for a file of another kind."""
    if not condition:
        raise ValueError("not as the export service writes it")


def _cards(head: bytes, begin: int) -> tuple[dict[str, str | int | float], int]:
    """Return what the cards of the header at a byte say, in their order, and where the header ends."""
    cards, place = {}, begin
    for place in range(begin, len(head), 80):
        if head.startswith(b"END ", place):
            break
        name, value = _card(head[place:place + 80])
        if name:
            _require(name not in cards)
            cards[name] = value
    end = -(-(place + 80) // _UNIT_BLOCK) * _UNIT_BLOCK
    _require(head[place:end].strip() == b"END" and not head[begin:end].translate(None, _TEXT))
    return cards, end


@lru_cache(maxsize=4096)  # most cards of a file are those of the one before
def _card(line: bytes) -> tuple[str, str | int | float | None]:
    """Return name and value of a card, an empty name where it is none of `_CARDS`."""
    card = _CARD.fullmatch(line)
    _require(card is not None)
    name, text, logical, whole, number = card.groups()
    if name not in _CARDS:
        _require(name is None or not name.startswith(_STRANGE))
        return "", None
    _require(any(card.groups()[1:]))
    return name.decode(), (int(whole) if whole else float(number) if number else text.decode() if text else
                           logical == b"T")


def _tile_bytes(opened: BinaryIO, begin: int, cards: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of the table at a byte of a file, padded, and where each tile begins and ends in them."""
    kind = {"P": ">i4", "Q": ">i8"}[re.fullmatch(r"1?([PQ])B(?:\(\d+\))?", cards["TFORM1"])[1]]  # of length and offset
    _require(cards["NAXIS1"] == 2 * np.dtype(kind).itemsize)
    tiles, table = cards["NAXIS2"], cards["NAXIS1"] * cards["NAXIS2"]
    size = table + cards["PCOUNT"]
    _require(begin + -(-size // _UNIT_BLOCK) * _UNIT_BLOCK == os.fstat(opened.fileno()).st_size)
    data = np.empty(size + _PADDING, np.uint8)
    data[size:] = 0
    opened.seek(begin)
    _require(opened.readinto(data[:size]) == size)
    lengths, offsets = data[:table].view(kind).reshape(tiles, 2).T.astype(np.int64)
    _require(lengths.min() >= 4 and offsets.min() >= 0 and max(lengths.max(), lengths.sum()) <= cards["PCOUNT"])
    _require((cards["PCOUNT"] - lengths - offsets).min() >= 0)
    return data, table + np.stack([offsets, offsets + lengths], axis=1)


@intrinsic
def _leading_zeros(typing_context, window):
    """Return the number of zero bits before the first 1 of a uint64, 64 for zero."""
    def generate(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
    return types.int64(types.uint64), generate


@kernel
def _window(data, bit):
    """Return the bits from one on at the top of a uint64, `_WINDOW` at least."""
    byte = np.uint64(bit >> 3)
    window = np.uint64(0)
    for k in range(8):  # compiled to one instruction
        window = window << np.uint64(8) | np.uint64(data[byte + np.uint64(k)])
    return window << np.uint64(bit & 7)


@kernel
def _next_pixel(value, zeros, window, low_bits):
    """Return the pixel after `value`; of its difference, zeros were counted, and a 1 and the low bits are on top."""
    n = np.uint64(low_bits)
    folded = np.uint32((np.uint64(zeros) - np.uint64(1) << n) + (window >> np.uint64(63) - n))
    return np.int32(value + np.int32(folded >> np.uint32(1) ^ np.uint32(0) - (folded & np.uint32(1))))


@kernel
def _four_pixels(window, low_bits, value, row, i):
    """Decode four pixels to a row from i on; return their number of bits, and the last: void if above `_WINDOW`."""
    length = 4 * (low_bits + 1)
    for k in range(4):
        zeros = _leading_zeros(window)
        length += zeros
        window <<= np.uint64(zeros & 63)
        value = _next_pixel(value, zeros, window, low_bits)
        window <<= np.uint64(low_bits + 1)
        row[i + k] = value
    return length, value


@kernel
def _any_pixels(data, bit, end, coding, row):
    """Decode pixels of any coding (low bits, pixel before) to a row; return the bit after them, and the last."""
    low_bits, value = coding
    for i in range(row.size):
        if low_bits == _VERBATIM:
            value = _next_pixel(value, 1, _window(data, bit), 31)
            bit += 32
        elif low_bits >= 0:
            zeros = 0
            run = _WINDOW
            while run == _WINDOW and bit <= end:
                run = min(_leading_zeros(_window(data, bit)), _WINDOW)
                zeros += run
                bit += run
            value = _next_pixel(value, zeros, _window(data, bit), low_bits)
            bit += 1 + low_bits
        if bit > end:
            break
        row[i] = value
    return bit, value


@kernel
def _decode_tiles(data, bounds, block, values):
    """Decode the bytes between bounds to a row of values each; tell whether all rows took just these bytes.

    A pixel's place and value depend on the one before; so two tiles are decoded side by side, for the processor to do
    one while it waits for the other, and four pixels from one load, where their bits fit.
    """
    tiles, pixels = values.shape
    for tile in range(0, tiles, 2):
        other = min(tile + 1, tiles - 1)  # beside an odd one, itself
        row_a, row_b = values[tile], values[other]
        bit_a, bit_b = 8 * bounds[tile, 0], 8 * bounds[other, 0]
        end_a, end_b = 8 * bounds[tile, 1], 8 * bounds[other, 1]
        value_a = np.int32(_window(data, bit_a) >> np.uint64(32))
        value_b = np.int32(_window(data, bit_b) >> np.uint64(32))
        bit_a, bit_b = bit_a + 32, bit_b + 32
        for begin in range(0, pixels, block):
            low_a = np.int64(_window(data, bit_a) >> np.uint64(59)) - 1  # -1: the block repeats one pixel
            low_b = np.int64(_window(data, bit_b) >> np.uint64(59)) - 1
            bit_a, bit_b = bit_a + 5, bit_b + 5
            if max(low_a, low_b) > _VERBATIM:
                return False
            i, end = begin, min(begin + block, pixels)
            while min(low_a, low_b) >= 0 and max(low_a, low_b) < _VERBATIM and i + 4 <= end:
                length_a, last_a = _four_pixels(_window(data, bit_a), low_a, value_a, row_a, i)
                length_b, last_b = _four_pixels(_window(data, bit_b), low_b, value_b, row_b, i)
                if max(length_a, length_b) > _WINDOW:
                    break
                bit_a, bit_b = bit_a + length_a, bit_b + length_b
                value_a, value_b = last_a, last_b
                i += 4
            if i < end:
                bit_a, value_a = _any_pixels(data, bit_a, end_a, (low_a, value_a), row_a[i:end])
                bit_b, value_b = _any_pixels(data, bit_b, end_b, (low_b, value_b), row_b[i:end])
            if bit_a > end_a or bit_b > end_b:
                return False
        if bit_a <= end_a - 8 or bit_b <= end_b - 8:
            return False
    return True


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
    """Return a field resized to a square, bilinear with anti-aliasing, without the interpreter's lock.

    Parameters
    ----------
    field : numpy.ndarray
        Shape (ny, nx), finite; float64, or the int32 of `Pixels`; a ValueError for a side above 16,384.
    pixels : int
        Width and height of the result.

    Returns
    -------
    numpy.ndarray
        float64, shape (pixels, pixels): `skimage.transform.resize(order=1, anti_aliasing=True)` to 1e-10 of the
        largest value, by the same weighted sums along each axis.
    """
    if max(field.shape) > LONGEST_SIDE:
        raise ValueError(f"larger than {LONGEST_SIDE:,}x{LONGEST_SIDE:,}: got {field.shape[0]}x{field.shape[1]} pixels")
    resized = np.empty((pixels, pixels))
    if field.dtype != np.int32:
        field = field.astype(np.float64, copy=False)
    _resize(np.ascontiguousarray(field), _weights(field.shape[0], pixels), _weights(field.shape[1], pixels), resized)
    return resized


@lru_cache(maxsize=64)
def _weights(length: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first place and the weights, shape (pixels, n), of the sums that resize a column.

    They are what skimage does to the unit columns, as resizing is linear; a part of them at a time, to save memory.
    """
    from skimage.transform import resize

    parts = (np.eye(length, min(_COLUMNS, length - start), -start) for start in range(0, length, _COLUMNS))
    matrix = np.hstack([resize(part, (pixels, part.shape[1]), order=1, anti_aliasing=True) for part in parts])
    first, last = (matrix != 0).argmax(axis=1), length - 1 - (matrix[:, ::-1] != 0).argmax(axis=1)
    number = int((last - first).max()) + 1
    first = np.minimum(first, length - number)
    return first, np.take_along_axis(matrix, first[:, np.newaxis] + np.arange(number), axis=1)


@kernel
def _resize(field, down, across, resized):
    """Fill `resized` with the weighted sums along the columns, then the rows, of a field."""
    first, weights = down
    first_across, weights_across = across
    row = np.empty(field.shape[1])
    for i in range(resized.shape[0]):
        row[:] = 0.0
        for k in range(weights.shape[1]):
            weight, place = weights[i, k], np.uint64(first[i] + k)  # unsigned: no place counts from the end
            for j in range(row.size):
                row[j] += weight * field[place, j]
        for j in range(resized.shape[1]):
            total = 0.0
            for k in range(weights_across.shape[1]):
                total += weights_across[j, k] * row[np.uint64(first_across[j] + k)]
            resized[i, j] = total
