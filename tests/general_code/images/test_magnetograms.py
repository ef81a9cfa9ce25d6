"""FITS and PNG in and out, and what cannot be read."""

import errno
import gzip
import os
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import resize

from general_code.images import magnetograms
from general_code.images.magnetograms import (
    CONTRADICTION,
    FITS_BLANK,
    NOT_NORTH_UP,
    ImageOutOfReach,
    gauss_to_grey,
    read_magnetogram,
    read_pixels,
    report_remarks,
    resize_field,
    write_magnetogram,
    write_png,
)
from general_code.images.names import list_images
from general_code.stage.run import StageRun


@pytest.fixture
def field():
    """A rectangular field in whole tenths of a gauss with a corner off the limb."""
    field = np.round(np.random.default_rng(0).normal(0, 300, (40, 70)), 1)
    field[:3, :5] = np.nan
    return field


READERS = ("export", "cfitsio", "astropy")


@pytest.fixture(params=READERS[1:])
def reader(request, monkeypatch):
    """Read by one of the two readers alone."""
    if request.param == "cfitsio" and magnetograms.fitsio is None:
        pytest.skip("fitsio is not installed")
    chosen = getattr(magnetograms, f"_read_fits_{request.param}")
    for name in READERS:
        monkeypatch.setattr(magnetograms, f"_read_fits_{name}", chosen)
    return request.param


def test_what_is_written_reads_back_the_same_by_both_readers(tmp_path, field, reader):
    path = tmp_path / "a.fits"
    write_magnetogram(path, field, [("QUALITY", 1024)])
    read = read_magnetogram(path)
    np.testing.assert_allclose(read, field, rtol=0, atol=1e-10)  # tenths times BSCALE, in double precision
    assert read.dtype == np.float64
    header = fits.getheader(path, 1, disable_image_compression=True)
    assert (header["ZCMPTYPE"], header["BSCALE"], header["BLANK"], header["QUALITY"]) == ("RICE_1", 0.1, -(2**31), 1024)
    with pytest.raises(ValueError, match="expected a finite"):
        write_magnetogram(tmp_path / "b.fits", np.full((3, 3), np.inf))
    assert list(tmp_path.iterdir()) == [path]


STORED = {8: ("u1", 0, 255), 16: ("i2", -3000, -(2**15)), 32: ("i4", -(2**30), -(2**31)), -32: ("f4", -3000, np.nan),
          -64: ("f8", -3000, np.nan)}  # by BITPIX: type, smallest value, what stands for no value


def write_stored(path, bitpix, compression, scaled):
    """Write an image of one BITPIX with some pixels without a value; return the field that it holds [G]."""
    kind, low, blank = STORED[bitpix]
    stored = np.random.default_rng(1).uniform(low, abs(low) or 254, (40, 70)).astype(kind)
    stored[:3, :5] = blank
    unit = fits.CompImageHDU(stored, compression_type=compression, quantize_level=0) if compression else \
        fits.ImageHDU(stored)
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path)
    cards = {"BSCALE": 0.1, "BZERO": 12.5} if scaled else {}
    if bitpix > 0:
        cards |= {"BLANK": blank} | ({"ZBLANK": blank} if compression else {})
    with fits.open(path, mode="update", disable_image_compression=True, do_not_scale_image_data=True) as file:
        file[1].header.update(cards)
    field = stored.astype(np.float64) * cards.get("BSCALE", 1.0) + cards.get("BZERO", 0.0)
    field[:3, :5] = np.nan
    return field


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("bitpix", "compression"), [
    (bitpix, compression) for bitpix in STORED for compression in (None, "GZIP_1", "RICE_1")
    if bitpix > 0 or compression != "RICE_1"])  # which is for integers
def test_every_kind_of_number_is_read_in_double_precision_with_blank_as_nan(tmp_path, bitpix, compression, scaled,
                                                                            reader):
    expected = write_stored(tmp_path / "a.fits", bitpix, compression, scaled)
    read = read_magnetogram(tmp_path / "a.fits")
    np.testing.assert_array_equal(read, expected)
    assert read.dtype == np.float64


@pytest.mark.parametrize(("card", "readable"), [
    ("CROTA2  = nan", True), ("DATAMIN = -nan", True), ("DATAMAX =", True), ("OBSERVER= 'J\xfcrgen'", True),
    ("HISTORY \xff\xfe", True), ("lower   = 3", True), ("A B     = 3", True), ("CROTA2  = 1,5", True),
    ("BSCALE  = 'x'", False), ("BSCALE  =", False), ("BZERO   = 0,1", False)])
def test_a_card_that_is_none_is_ignored_unless_it_scales_the_pixels(tmp_path, field, card, readable):
    fits.PrimaryHDU(field, fits.Header([("STRANGE", 1)])).writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    place = content.index(b"STRANGE =")
    (tmp_path / "a.fits").write_bytes(content[:place] + card.ljust(80).encode("latin-1") + content[place + 80:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy warns of the card
        with nullcontext() if readable else pytest.raises(ValueError, match="BSCALE and BZERO: expected numbers, got"):
            np.testing.assert_array_equal(read_magnetogram(tmp_path / "a.fits", []), field)


@contextmanager
def refused(reason):
    """Expect an error with this reason, whatever astropy warns of before it."""
    with pytest.raises(ValueError, match=reason), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


TABLE = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])


@pytest.mark.parametrize(("write", "reason"), [
    (lambda path: None, "no such file"), (Path.mkdir, "a folder, not a file"), (Path.touch, "the file is empty"),
    (lambda path: path.write_text("<html>not found</html>"), "not a readable FITS image"),
    (lambda path: fits.PrimaryHDU().writeto(path), "it holds no image"),
    (lambda path: fits.HDUList([fits.PrimaryHDU(), TABLE]).writeto(path), "it holds no image"),
    (lambda path: fits.PrimaryHDU(np.zeros((2, 3, 4))).writeto(path), r"expected a 2-D image, .* shape \(2, 3, 4\)")])
def test_files_that_are_no_image_name_themselves_and_the_reason(tmp_path, reader, write, reason):
    write(tmp_path / "a.fits")
    with refused(r"a\.fits: .*" + reason):
        read_magnetogram(tmp_path / "a.fits")


@pytest.mark.parametrize("ending", [".fits", ".fits.gz"])
def test_a_truncated_file_is_never_read_as_zeros(tmp_path, field, reader, ending):
    path = tmp_path / f"a{ending}"
    write_magnetogram(tmp_path / "whole.fits", field)
    whole = (tmp_path / "whole.fits").read_bytes()
    if ending == ".fits.gz":
        whole = gzip.compress(whole)
    for share in (0.2, 0.6, 0.9):
        path.write_bytes(whole[:int(share * len(whole))])
        with refused("not a readable FITS image"):
            read_magnetogram(path)


@pytest.mark.parametrize("end", [2880 + 1440, 2 * 2880])
def test_a_file_cut_in_its_second_header_is_truncated(tmp_path, field, reader, end):
    path = tmp_path / "a.fits"
    write_magnetogram(path, field, [(f"CARD{number}", number) for number in range(40)])
    path.write_bytes(path.read_bytes()[:end])
    with refused(rf"truncated or damaged: its last {end - 2880} bytes are no whole unit|Header missing END card"):
        read_magnetogram(path)


def test_a_damaged_file_does_not_spoil_the_next_one(tmp_path, field, reader):
    """What cfitsio could not read in a header stays in its memory, and turns up in the errors of later files."""
    write_magnetogram(tmp_path / "good.fits", field)
    whole = (tmp_path / "good.fits").read_bytes()
    random = np.random.default_rng(1)
    for number in range(60):
        begin, length, letter = random.integers(0, 8640), random.integers(1, 3000), random.integers(128, 256)
        (tmp_path / "bad.fits").write_bytes(whole[:begin] + bytes([letter]) * length + whole[begin + length:])
        with suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_magnetogram(tmp_path / "bad.fits")
        np.testing.assert_allclose(read_magnetogram(tmp_path / "good.fits"), field, rtol=0, atol=1e-10,
                                   err_msg=f"after damaged file {number}")


@pytest.mark.parametrize("place", ["run[1]", "a$HOME", "(x)", "Dropbox (Uni)", "mit Umlaut ü", "!a", "-a", "*", "a+b",
                                   "~", "a%20b", "mem:", "x.gz"])
def test_any_path_is_a_path(tmp_path, monkeypatch, field, reader, place):
    """cfitsio takes brackets, `$`, `!`, `+n` and more in a path for commands."""
    path = tmp_path / place / f"{place}.fits"
    write_magnetogram(path, field)
    np.testing.assert_allclose(read_magnetogram(path), field, rtol=0, atol=1e-10)
    monkeypatch.chdir(path.parent)
    np.testing.assert_allclose(read_magnetogram(Path(path.name)), field, rtol=0, atol=1e-10)
    write_png(path.with_suffix(".png"), np.full((3, 4), 130, np.uint8))
    assert (read_magnetogram(Path(f"{place}.png")) == 2).all()


@pytest.mark.parametrize("name", ["a.fits.gz", "a.FITS.GZ", "a.fits"])
def test_compressed_files_are_read_whatever_their_name(tmp_path, field, reader, name):
    write_magnetogram(tmp_path / "plain.fits", field)
    (tmp_path / name).write_bytes(gzip.compress((tmp_path / "plain.fits").read_bytes()))
    np.testing.assert_allclose(read_magnetogram(tmp_path / name), field, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("units", "wanted"), [
    ([((8, 8), {}), ((40, 70), {})], 1), ([((80, 80), {}), ((40, 70), {"BUNIT": "Gauss"})], 1),
    ([((80, 80), {}), ((40, 70), {"CONTENT": "MAGNETOGRAM"}), ((40, 70), {"BUNIT": "Gauss"})], 1),
    ([((8, 8), {"BUNIT": "Gauss"}), ((40, 70), {"BUNIT": "Mx/cm^2"})], 1), ([((3, 40, 70), {}), ((40, 70), {})], 1),
    ([((40, 70), {}), ((40, 70), {})], 0)])
@pytest.mark.parametrize(("primary", "compressed"), [(None, False), (None, True), (np.zeros((8, 8), np.uint8), True)])
def test_the_magnetogram_is_read_and_no_thumbnail_before_it(tmp_path, reader, units, wanted, primary, compressed):
    images = [fits.CompImageHDU(np.full(shape, number, np.int32), fits.Header(cards), compression_type="RICE_1")
              if compressed else fits.ImageHDU(np.full(shape, float(number)), fits.Header(cards))
              for number, (shape, cards) in enumerate(units)]
    fits.HDUList([fits.PrimaryHDU(primary), *images]).writeto(tmp_path / "a.fits")
    read = read_magnetogram(tmp_path / "a.fits")
    assert read.shape == units[wanted][0] and (read == wanted).all()


@pytest.mark.skipif(magnetograms.fitsio is None, reason="there is but one reader without fitsio")
@pytest.mark.parametrize("refusing", ["cfitsio", "astropy"])
def test_what_one_reader_refuses_the_other_reads(tmp_path, monkeypatch, field, refusing):
    write_magnetogram(tmp_path / "a.fits", field)
    for name in ("export", refusing):
        monkeypatch.setattr(magnetograms, f"_read_fits_{name}", Mock(side_effect=OSError("a header I do not like")))
    np.testing.assert_allclose(read_magnetogram(tmp_path / "a.fits"), field, rtol=0, atol=1e-10)


def test_a_file_that_the_system_does_not_hand_over_may_be_tried_again(tmp_path, monkeypatch, field):
    write_magnetogram(tmp_path / "a.fits", field)
    write_png(tmp_path / "a.png", np.zeros((3, 4), np.uint8))

    refuse = Mock(side_effect=OSError(errno.EMFILE, "Too many open files", "a"))
    monkeypatch.setattr("pathlib.Path.open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    for name in ("a.fits", "a.png"):
        with pytest.raises(ImageOutOfReach, match=rf"{name}: cannot be reached \(Too many open files\)"):
            read_magnetogram(tmp_path / name)


@pytest.mark.parametrize(("cards", "remarks"), [
    ({}, []), ({"DATAMIN": -500.0, "DATAMAX": 1500.0, "CROTA2": 0.01}, []), ({"CROTA2": 179.93}, [NOT_NORTH_UP]),
    ({"CROTA2": -180.0}, [NOT_NORTH_UP]), ({"CROTA2": 359.9}, []), ({"CROTA2": "north"}, []),
    ({"DATAMIN": -50.0, "DATAMAX": 150.0}, [CONTRADICTION]),
    ({"DATAMIN": -5000.0, "DATAMAX": 15000.0}, [CONTRADICTION]),
    ({"DATAMIN": -5000.0, "DATAMAX": 15000.0, "TOTVALS": 16_777_216}, []),  # of the whole disk
    ({"DATAMIN": -5000.0, "DATAMAX": 15000.0, "TOTVALS": 2800}, [CONTRADICTION]), ({"DATAMAX": 3.0}, []),
    ({"DATAMIN": -50.0, "DATAMAX": 150.0, "TOTVALS": 16_777_216, "CROTA2": 180.0}, [CONTRADICTION, NOT_NORTH_UP])])
def test_what_contradicts_the_header_is_reported_once_with_the_count(tmp_path, reader, capsys, cards, remarks):
    field = np.linspace(-500, 1500, 2800).reshape(40, 70)
    write_magnetogram(tmp_path / "a.fits", field, cards.items())
    found = []
    for _ in range(3):
        read_magnetogram(tmp_path / "a.fits", found)
    assert found == remarks * 3
    with (tmp_path / "log").open("w") as log:
        report_remarks(found, StageRun(log))
    assert [line[:20] for line in capsys.readouterr().out.splitlines()] == ["Warning: 3 images: "[:20] + remark[:1]
                                                                            for remark in sorted(remarks)]


def read_by(name: str, path: Path) -> np.ndarray:
    """Return what one reader reads."""
    with path.open("rb", buffering=0) as file:
        return getattr(magnetograms, f"_read_fits_{name}")(file)[0]


def assert_read_alike(path: Path) -> None:
    """Hold the readers to each other, bit for bit."""
    for name in READERS[:1 if magnetograms.fitsio is None else 2]:
        np.testing.assert_array_equal(read_by(name, path), read_by("astropy", path), strict=True)


def rice(pixels: np.ndarray, block: int, slack: int) -> np.ndarray:
    """Return pixels in RICE_1 as FITS Standard 4.0, 10.4.1 says, with codes up to `slack` bits longer than the best."""
    differences = np.diff(pixels.astype(np.int64), prepend=pixels[0]).astype(np.int32).astype(np.int64)
    folded = [2 * d if d >= 0 else -2 * d - 1 for d in differences.tolist()]
    bits = f"{int(pixels[0]) & 0xFFFFFFFF:032b}"
    for start in range(0, len(folded), block):
        part = folded[start:start + block]
        low = min(max(max(part).bit_length() - slack, 0), 25) if any(part) else -1
        bits += f"{low + 1:05b}"
        if low == 25:
            bits += "".join(f"{d:032b}" for d in part)
        elif low >= 0:
            bits += "".join("0" * (d >> low) + f"{d & (1 << low) - 1 | 1 << low:b}" for d in part)
    bits += "0" * (-len(bits) % 8)
    return np.frombuffer(int(bits, 2).to_bytes(len(bits) // 8, "big"), np.uint8)


def write_tiles(path: Path, stored: np.ndarray, tile_rows: int = 1, block: int = 32, slack: int = 4) -> bytes:
    """Write a FITS image of int32 tenths of a gauss from its tiles; return the file's content."""
    tiles = [*(rice(stored[i:i + tile_rows].ravel(), block, slack) for i in range(0, len(stored), tile_rows)), None]
    column = fits.Column("COMPRESSED_DATA", "1PB()", array=np.array(tiles, object)[:-1])
    unit = fits.BinTableHDU.from_columns([column])
    unit.header.update({
        "ZIMAGE": True, "ZBITPIX": 32, "ZNAXIS": 2, "ZNAXIS1": stored.shape[1], "ZNAXIS2": stored.shape[0],
        "ZTILE1": stored.shape[1], "ZTILE2": tile_rows, "ZCMPTYPE": "RICE_1", "ZNAME1": "BLOCKSIZE", "ZVAL1": block,
        "ZNAME2": "BYTEPIX", "ZVAL2": 4, "BLANK": FITS_BLANK, "BSCALE": 0.1, "BZERO": 0.0})
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path, overwrite=True)
    return path.read_bytes()


ROWS = {"noise": lambda random, n: random.normal(0, 3000, n), "quiet": lambda random, n: random.normal(0, 0.3, n),
        "no value": lambda random, n: np.full(n, FITS_BLANK),
        "any": lambda random, n: random.integers(-(2**31), 2**31, n),
        "extreme": lambda random, n: random.choice([-(2**31) + 1, 2**31 - 1, 0, 1], n)}


def rows(kinds: list[str], columns: int, seed: int) -> np.ndarray:
    """Return an image of rows of some kinds."""
    random = np.random.default_rng(seed)
    return np.array([np.rint(ROWS[kind](random, columns)) for kind in kinds]).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(kinds=st.lists(st.sampled_from(sorted(ROWS)), min_size=1, max_size=7), columns=st.integers(1, 100),
       tile_rows=st.integers(1, 7), block=st.sampled_from([16, 32]), slack=st.integers(0, 8), seed=st.integers(0, 99))
def test_every_coding_of_any_pixels_is_read_alike(tmp_path_factory, kinds, columns, tile_rows, block, slack, seed):
    stored, path = rows(kinds, columns, seed), tmp_path_factory.getbasetemp() / "tiles.fits"
    write_tiles(path, stored, min(tile_rows, len(kinds)), block, slack)
    np.testing.assert_array_equal(read_by("export", path), stored, strict=True)
    assert_read_alike(path)


def test_observed_images_are_read_alike(shared_data):
    for source in list_images(shared_data / "active_regions", "fits")[0]["source"]:
        assert_read_alike(shared_data / "active_regions" / source)


def test_what_is_written_here_is_read_by_the_decoder_alone_as_whole_tenths(tmp_path, monkeypatch, field):
    for name in READERS[1:]:
        monkeypatch.setattr(magnetograms, f"_read_fits_{name}", None)
    write_magnetogram(tmp_path / "a.fits", field, [("DATAMIN", -900.5), ("T_REC", "2012.01.01_00:00:00_TAI")])
    pixels = read_pixels(tmp_path / "a.fits")
    assert (pixels.values.dtype, pixels.without_value) == (np.int32, 15) and (pixels.values[:3, :5] == FITS_BLANK).all()
    expected = np.where(np.isnan(field), np.nan, np.rint(np.nan_to_num(field) * 10) * 0.1 + 0.0)
    np.testing.assert_array_equal(pixels.field(), expected)


def test_a_file_with_a_wrong_bit_is_read_as_by_the_general_libraries_or_not_at_all(tmp_path):
    whole = write_tiles(tmp_path / "a.fits", rows(sorted(ROWS), 12, 1))
    end = len(whole.rstrip(b"\0"))
    every = [(byte, bit) for byte in range(end) for bit in (range(8) if byte >= 5760 else [byte % 8])]
    reference = "cfitsio" if magnetograms.fitsio else "astropy"
    for byte, bit in every:
        (tmp_path / "a.fits").write_bytes(whole[:byte] + bytes([whole[byte] ^ 1 << bit]) + whole[byte + 1:])
        values = None
        with suppress(ValueError, KeyError, TypeError):
            values = read_by("export", tmp_path / "a.fits")
        if values is not None:
            np.testing.assert_array_equal(values, read_by(reference, tmp_path / "a.fits"), f"{byte} {bit}", strict=True)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    for length in reversed(range(len(write_tiles(tmp_path / "a.fits", rows(sorted(ROWS), 12, 1))))):
        os.truncate(tmp_path / "a.fits", length)
        with pytest.raises((ValueError, KeyError)):
            read_by("export", tmp_path / "a.fits")


@pytest.mark.parametrize("cards", [{"ZNAXIS1": 10**9, "ZTILE1": 10**9}, {"ZNAXIS2": 10**9, "NAXIS2": 10**9},
                                   {"ZNAXIS2": 10**9, "ZTILE2": 10**9, "NAXIS2": 1}, {"ZNAXIS2": 10**9}])
def test_a_header_that_promises_more_than_the_file_holds_costs_no_memory(tmp_path, cards):
    content = write_tiles(tmp_path / "a.fits", rows(sorted(ROWS), 12, 1))
    for name, value in cards.items():
        place = content.index(f"{name:8s}=".encode())
        content = content[:place] + f"{name:8s}= {value:20d}".encode().ljust(80) + content[place + 80:]
    (tmp_path / "a.fits").write_bytes(content)
    tracemalloc.start()
    with refused("not a readable FITS image"):
        read_pixels(tmp_path / "a.fits")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize("place", [(2**31 - 1, 0), (8, 2**31 - 1), (2**31 - 1, 2**31 - 1), (-8, 0), (8, -8), (3, 0)])
def test_a_tile_outside_the_file_is_refused(tmp_path, place):
    content = write_tiles(tmp_path / "a.fits", rows(sorted(ROWS), 12, 1))
    (tmp_path / "a.fits").write_bytes(content[:5760] + struct.pack(">ii", *place) + content[5768:])
    with pytest.raises(ValueError, match="not as the export service writes it"):
        read_by("export", tmp_path / "a.fits")


def test_threads_read_what_one_reads_and_change_no_warnings(tmp_path, field):
    write_magnetogram(tmp_path / "a.fits", field)
    (tmp_path / "b.fits").write_bytes((tmp_path / "a.fits").read_bytes() + bytes(2880))  # not for the decoder
    write_png(tmp_path / "c.png", np.zeros((40, 70), np.uint8))
    paths, filters = [tmp_path / name for name in ("a.fits", "b.fits", "c.png")] * 20, list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        for path, read in zip(paths, pool.map(read_magnetogram, paths), strict=True):
            np.testing.assert_array_equal(read, read_magnetogram(path))
    assert warnings.filters == filters


@pytest.mark.parametrize("shape", [(40, 50), (600, 600), (16, 16), (33, 8), (224, 100)])
def test_resize_is_that_of_skimage(shape):
    field = np.random.default_rng(1).normal(0, 500, shape)
    expected = resize(field, (16, 16), order=1, anti_aliasing=True)
    assert resize_field(field, 16) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("mode", "kind", "share", "reason"), [
    *((mode, "PNG", 1, r"expected an 8-bit grey PNG \(mode L\), got mode") for mode in ("RGB", "I;16", "LA", "1")),
    ("L", "JPEG", 1, "not a PNG image"), ("L", "PNG", 0.001, "not a PNG"), ("L", "PNG", 0.5, "damaged PNG")])
def test_png_of_another_kind_and_a_broken_one_are_refused(tmp_path, mode, kind, share, reason):
    path = tmp_path / "a.png"
    Image.effect_noise((100, 100), 100).convert(mode).save(path, format=kind)
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"a\.png: {reason}"):
        read_magnetogram(path)


@pytest.mark.parametrize("side", [60_000, 10_000])
def test_a_png_of_impossible_size_is_refused_unread(tmp_path, side):
    """The library raises an error for the larger one, and only warns of the other."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(bytes(100)))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks))
    with pytest.raises(ValueError, match=rf"a\.png: damaged PNG image \(Image size \({side**2} pixels\)"):
        read_magnetogram(tmp_path / "a.png")


def test_grey_levels_are_counted_from_128_rounded_half_to_even_clipped_and_nan_is_zero(tmp_path):
    field = np.array([[0, 12.5, 37.5, -12.5, 25, -25, 1e5, -1e5, np.nan]])
    levels = gauss_to_grey(field, 25.0)
    np.testing.assert_array_equal(levels, [[128, 128, 130, 128, 129, 127, 255, 0, 128]])
    write_png(tmp_path / "a.png", levels)
    read = read_magnetogram(tmp_path / "a.png")
    np.testing.assert_array_equal(read, [[0, 0, 2, 0, 1, -1, 127, -128, 0]])
    assert read.dtype == np.float64
    for width in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="gauss_per_level: expected a number above 0"):
            gauss_to_grey(field, width)
