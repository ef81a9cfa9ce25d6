"""FITS and PNG in and out, and what cannot be read."""

import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from general_code import magnetograms
from general_code.magnetograms import gauss_to_grey, list_images, read_magnetogram, write_magnetogram, write_png


def test_list_images_is_sorted_and_takes_one_format(tmp_path):
    for name in ("1160/b.fits", "1158/c.FITS", "1158/a.fits", "1158/a.png", "1158/list.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "stray.fits").touch()
    assert [str(path.relative_to(tmp_path)) for path in list_images(tmp_path, "fits")] == [
        "1158/a.fits", "1158/c.FITS", "1160/b.fits"]


@pytest.fixture
def field():
    """A rectangular field in whole tenths of a gauss with a corner off the limb."""
    field = np.round(np.random.default_rng(0).normal(0, 300, (40, 70)), 1)
    field[:3, :5] = np.nan
    return field


@pytest.mark.parametrize("reader", ["_read_fits_cfitsio", "_read_fits_astropy"])
def test_what_is_written_reads_back_the_same_by_both_readers(tmp_path, field, reader):
    path = tmp_path / "a.fits"
    write_magnetogram(path, field, [("QUALITY", 1024)])
    if reader == "_read_fits_cfitsio" and magnetograms.fitsio is None:
        pytest.skip("fitsio is not installed")
    read = getattr(magnetograms, reader)(path)
    np.testing.assert_allclose(read, field, rtol=0, atol=1e-10)  # tenths times BSCALE, in double precision
    assert read.dtype == np.float64
    with fits.open(path, disable_image_compression=True) as file:
        header = file[1].header
    assert (header["ZCMPTYPE"], header["BSCALE"], header["BLANK"], header["QUALITY"]) == ("RICE_1", 0.1, -(2**31), 1024)


def test_both_readers_read_the_observed_images_alike(shared_data):
    if magnetograms.fitsio is None:
        pytest.skip("fitsio is not installed")
    for path in list_images(shared_data / "active_regions", "fits"):
        np.testing.assert_array_equal(magnetograms._read_fits_cfitsio(path), magnetograms._read_fits_astropy(path))


@pytest.mark.parametrize("unit", [fits.PrimaryHDU, fits.ImageHDU])
def test_plain_fits_images_read_too(tmp_path, field, unit):
    image = unit(field.astype(">f4"))
    fits.HDUList([image] if unit is fits.PrimaryHDU else [fits.PrimaryHDU(), image]).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(read_magnetogram(tmp_path / "a.fits"), field.astype(np.float32))


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


@pytest.mark.parametrize("reader", ["cfitsio", "astropy"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("bitpix", "compression"), [
    (bitpix, compression) for bitpix in STORED for compression in (None, "GZIP_1", "RICE_1")
    if bitpix > 0 or compression != "RICE_1"])  # which is for integers
def test_every_kind_of_number_is_read_in_double_precision_with_blank_as_nan(tmp_path, bitpix, compression, scaled,
                                                                            reader):
    if reader == "cfitsio" and magnetograms.fitsio is None:
        pytest.skip("fitsio is not installed")
    expected = write_stored(tmp_path / "a.fits", bitpix, compression, scaled)
    read = getattr(magnetograms, f"_read_fits_{reader}")(tmp_path / "a.fits")
    np.testing.assert_array_equal(read, expected)
    assert read.dtype == np.float64


def test_infinite_fields_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="expected a finite"):
        write_magnetogram(tmp_path / "a.fits", np.full((3, 3), np.inf))
    assert not list(tmp_path.iterdir())


def write_broken(path, kind):
    """Write one of the files that users come across."""
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "html":
        path.write_text("<html>not found</html>")
    elif kind == "no image":
        fits.HDUList([fits.PrimaryHDU()]).writeto(path)
    elif kind == "table":
        table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    elif kind == "cube":
        fits.PrimaryHDU(np.zeros((2, 3, 4))).writeto(path)


@pytest.mark.parametrize("reader", ["cfitsio", "astropy"])
@pytest.mark.parametrize(("kind", "reason"), [
    ("missing", "no such file"), ("folder", "a folder, not a file"), ("empty", "the file is empty"),
    ("html", "not a readable FITS image"), ("no image", "it holds no image"), ("table", "it holds no image"),
    ("cube", r"expected a 2-D image, got an array of shape \(2, 3, 4\)")])
def test_files_that_are_no_image_name_themselves_and_the_reason(tmp_path, monkeypatch, reader, kind, reason):
    if reader == "astropy":
        monkeypatch.setattr(magnetograms, "fitsio", None)
    write_broken(tmp_path / "a.fits", kind)
    with pytest.raises(ValueError, match=r"a\.fits: .*" + reason), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy warns of what is wrong before it raises
        read_magnetogram(tmp_path / "a.fits")


@pytest.mark.parametrize("reader", ["cfitsio", "astropy"])
def test_a_truncated_file_is_never_read_as_zeros(tmp_path, monkeypatch, field, reader):
    if reader == "astropy":
        monkeypatch.setattr(magnetograms, "fitsio", None)
    path = tmp_path / "a.fits"
    write_magnetogram(path, field)
    whole = path.read_bytes()
    for share in (0.2, 0.6, 0.9):
        path.write_bytes(whole[:int(share * len(whole))])
        with pytest.raises(ValueError, match="not a readable FITS image"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # see above
            read_magnetogram(path)


@pytest.mark.parametrize("reader", ["cfitsio", "astropy"])
@pytest.mark.parametrize("end", [2880 + 1440, 2 * 2880])
def test_a_file_cut_in_its_second_header_is_said_to_be_truncated(tmp_path, monkeypatch, field, reader, end):
    if reader == "astropy":
        monkeypatch.setattr(magnetograms, "fitsio", None)
    path = tmp_path / "a.fits"
    write_magnetogram(path, field, [(f"CARD{number}", number) for number in range(40)])
    path.write_bytes(path.read_bytes()[:end])
    reasons = rf"truncated or damaged: its last {end - 2880} bytes are no whole unit|Header missing END card"
    with pytest.raises(ValueError, match=reasons), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # see above
        read_magnetogram(path)


def test_a_damaged_file_does_not_spoil_the_next_one(tmp_path, field):
    """What cfitsio could not read in a header stays in its memory, and turns up in the errors of later files."""
    write_magnetogram(tmp_path / "good.fits", field)
    whole = (tmp_path / "good.fits").read_bytes()
    random = np.random.default_rng(1)
    for number in range(60):
        begin, length, letter = random.integers(0, 8640), random.integers(1, 3000), random.integers(128, 256)
        (tmp_path / "bad.fits").write_bytes(whole[:begin] + bytes([letter]) * length + whole[begin + length:])
        with suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # see above
            read_magnetogram(tmp_path / "bad.fits")
        np.testing.assert_allclose(read_magnetogram(tmp_path / "good.fits"), field, rtol=0, atol=1e-10,
                                   err_msg=f"after damaged file {number}")


def test_png_levels_are_counted_from_128(tmp_path):
    write_png(tmp_path / "a.png", np.array([[0, 128, 255]], dtype=np.uint8))
    field = read_magnetogram(tmp_path / "a.png")
    np.testing.assert_array_equal(field, [[-128, 0, 127]])
    assert field.dtype == np.float64


@pytest.mark.parametrize("mode", ["RGB", "I;16", "LA", "1"])
def test_png_of_another_mode_is_refused(tmp_path, mode):
    Image.new(mode, (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: expected an 8-bit grey PNG \(mode L\), got mode"):
        read_magnetogram(tmp_path / "a.png")


@pytest.mark.parametrize(("share", "reason"), [(0.001, "not a PNG"), (0.5, "damaged PNG")])
def test_broken_png(tmp_path, share, reason):
    path = tmp_path / "a.png"
    write_png(path, np.random.default_rng(0).integers(0, 255, (100, 100), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:max(3, int(share * path.stat().st_size))])
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


def test_a_jpeg_named_png_is_refused(tmp_path):
    Image.new("L", (40, 40)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(ValueError, match="not a PNG image"):
        read_magnetogram(tmp_path / "a.png")


def test_gauss_to_grey_rounds_half_to_even_clips_and_takes_nan_as_zero():
    field = np.array([0, 12.5, 37.5, -12.5, 25, -25, 1e5, -1e5, np.nan])
    np.testing.assert_array_equal(gauss_to_grey(field, 25.0), [128, 128, 130, 128, 129, 127, 255, 0, 128])
    for width in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="gauss_per_level: expected a number above 0"):
            gauss_to_grey(field, width)
