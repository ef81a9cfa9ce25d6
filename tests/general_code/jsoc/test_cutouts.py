"""Unpacking of a tar, checks of the images, and their place."""

import io
import os
import shutil
import tarfile
import time
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from general_code.jsoc import cutouts
from general_code.jsoc.export_requests import CutoutRequest, Passage
from general_code.jsoc.retry import DamagedTarError, RefusedError
from tests import jsoc_lab

REQUEST = CutoutRequest(Passage("1158", date(2011, 2, 13), 1), patch_pixels=24)
NAME = "hmi.M_720s.20110213_{:02d}0000_TAI.1.magnetogram.fits"


def image(hour: int, **changes: int) -> bytes:
    """Return a cut-out of the first day."""
    return jsoc_lab.image(datetime(2011, 2, 13, hour), **changes)


def altered(**cards: object) -> bytes:
    """Return the first cut-out with other cards in its header; None takes one out."""
    with fits.open(io.BytesIO(image(0)), disable_image_compression=True) as file, io.BytesIO() as other:
        for name, value in cards.items():
            file[1].header.pop(name) if value is None else file[1].header.set(name, value)
        file.writeto(other)
        return other.getvalue()


def primary_unit(behind: bool) -> bytes:
    """Return a file with an image, and the header of a magnetogram, in its primary unit; a cut-out `behind` or not."""
    with fits.open(io.BytesIO(image(0))) as file, io.BytesIO() as other:
        front = fits.PrimaryHDU(np.zeros((40, 50), np.int16))
        front.header.update({"T_REC": "2011.02.13_00:00:00_TAI", "BUNIT": "Gauss"})
        fits.HDUList([front, file[1]] if behind else [front]).writeto(other)
        return other.getvalue()


def make_tar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE, mode: str = "w") -> Path:
    """Write a tar of members of one kind."""
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(content), kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    return path


def unpack(folder: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> cutouts.Unpacked:
    """Write a tar and unpack it beside it."""
    return cutouts.unpack_cutouts(make_tar(folder / "a.tar", members, kind), folder / "in", REQUEST)


def test_images_are_taken_and_other_files_skipped(tmp_path):
    other_camera = NAME.format(0).replace(".1.", ".3.")
    members = {"./index.txt": b"# JSOC", "./" + NAME.format(0): image(0), "./proc-steps.txt": b"",
               "./" + NAME.format(4).replace("M_720s", "m_720s"): image(4), "./JSOC_20110213_001.drmsrun": b"",
               other_camera: image(0)}
    unpacked = unpack(tmp_path, members)
    assert sorted(unpacked.images) == [datetime(2011, 2, 13, 0), datetime(2011, 2, 13, 4)]
    assert [row[:2] for row in unpacked.rejected] == [(other_camera, "second image of one time")]
    assert len(list((tmp_path / "in").iterdir())) == 2


@pytest.mark.parametrize(("name", "content", "reason"), [
    (NAME.format(0), image(0, pixels=30), "wrong size"),
    (NAME.format(0), image(0, quality=-(2**31)), "QUALITY below 0"),
    (NAME.format(4), image(0), "T_REC is not the time in the name"),
    (NAME.format(0), image(0)[:4000], "not a readable image"), (NAME.format(0), b"", "not a readable image"),
    (NAME.format(0), b"<html>", "not a readable image"), (NAME.format(99), image(0), "name is not one of the series"),
    (NAME.format(0), primary_unit(False), "not a readable image"), (NAME.format(0), primary_unit(True), "wrong size"),
    (NAME.format(0), altered(QUALITY=None), "no QUALITY in the header"),
    (NAME.format(0), altered(QUALITY="NaN"), "no QUALITY in the header"),
    (NAME.format(0), altered(T_REC=None), "no T_REC in the header"),
    (NAME.format(0), altered(T_REC="MISSING"), "T_REC is not the time in the name"),
    (NAME.format(0).replace("0213", "0215"), image(0), "time outside the request"),
    ("aia.fits", image(0), "name is not one of the series")])
def test_images_that_do_not_pass(name, content, reason, tmp_path):
    unpacked = unpack(tmp_path, {"./" + name: content, "./" + NAME.format(8): image(8)})
    assert list(unpacked.images) == [datetime(2011, 2, 13, 8)]
    assert [row[:2] for row in unpacked.rejected] == [(name, reason)]
    assert str(tmp_path) not in unpacked.rejected[0][2]


def test_cause_of_an_unreadable_image_is_kept_without_its_path(tmp_path):
    folder = tmp_path / ("a_folder_with_a_name_that_is_longer_than_a_line_of_cfitsio_" * 2)
    unpacked = cutouts.unpack_cutouts(make_tar(tmp_path / "a.tar", {NAME.format(0): b"<html>"}), folder, REQUEST)
    ((_, _, detail),) = unpacked.rejected
    assert "FITSIO status" in detail or "SIMPLE" in detail  # by cfitsio, by astropy
    assert "/" not in detail.replace("unit/", "")


def test_size_is_looked_at_before_the_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("general_code.jsoc.cutouts.read_magnetogram", lambda path: pytest.fail("pixels were read"))
    unpacked = unpack(tmp_path, {NAME.format(0): image(0, pixels=30)})
    assert unpacked.rejected[0][1:] == ("wrong size", "expected 24x24 pixels, got 30x30")


@pytest.mark.parametrize(("members", "kind", "message"), [
    *[([name], tarfile.REGTYPE, "the name leads out of the folder") for name in (
        "../" + NAME.format(0), "a/../../" + NAME.format(0), "/" + NAME.format(0), "..\\" + NAME.format(0),
        "C:/" + NAME.format(0))],
    ([f"./{NAME.format(0)}", f"x/{NAME.format(0)}"], tarfile.REGTYPE, "'x/hmi.* is surplus"),
    ([f"./notes{number}.txt" for number in range(60)], tarfile.REGTYPE, "'./notes50.txt' is surplus"),
    ([f"./folder{number}" for number in range(60)], tarfile.DIRTYPE, "'./folder50' is surplus"),
    (["./", "./more", "../../evil"], tarfile.DIRTYPE, "'../../evil': the name leads out of the folder"),
    (["/evil"], tarfile.DIRTYPE, "leads out of the folder"),
    *[(["./" + NAME.format(0)], kind, "is a link, a device or the like") for kind in (
        tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE)]])
def test_members_that_must_not_be_there(members, kind, message, tmp_path):
    (tmp_path / "work").mkdir()
    with pytest.raises(RefusedError, match=message + ".*nothing of it is used"):
        unpack(tmp_path / "work", dict.fromkeys(members, b""), kind)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"a.tar", "in"}


def test_image_larger_than_a_cutout_can_be(tmp_path):
    with pytest.raises(RefusedError, match="unpacks to 266,753 bytes, expected at most 266,752 for 24 pixels square"):
        unpack(tmp_path, {NAME.format(0): bytes(266_753)})


def test_surplus_is_refused_at_the_first(tmp_path, monkeypatch):
    assert cutouts.most_images(REQUEST) == 2 * 121  # one of each camera at each time
    monkeypatch.setattr(cutouts, "most_images", lambda request: 3)
    with pytest.raises(RefusedError, match=r"20110213_030000_TAI.* is surplus: the request can have 3 images"):
        unpack(tmp_path, {f"./{NAME.format(hour)}": image(hour) for hour in range(8)})
    assert len(list((tmp_path / "in").iterdir())) == 3  # of eight; the caller removes the folder


@pytest.mark.parametrize(("cut", "mode"), [
    (0, "w"), (100, "w"), (1024, "w"), (5000, "w"), (-11000, "w"), (None, "w:gz")])
def test_tar_that_is_cut_short_or_compressed(cut, mode, tmp_path):
    path = make_tar(tmp_path / "a.tar", {f"./{NAME.format(hour)}": image(hour) for hour in range(4)}, mode=mode)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamagedTarError, match="not a whole tar"):
        cutouts.unpack_cutouts(path, tmp_path / "in", REQUEST)


def test_zeros_are_an_empty_tar(tmp_path):
    (tmp_path / "a.tar").write_bytes(bytes(10240))
    assert cutouts.unpack_cutouts(tmp_path / "a.tar", tmp_path / "in", REQUEST).images == {}


def header(name: str = "./a.txt", size: int | bytes = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a member's header, with a size that need not be a number, and its right sum."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("content", [
    header(size=b"\xff" * 12), header(size=b"\x80" + b"\xff" * 11), header(size=b"-1".ljust(12, b"\0")),
    header(size=b"nan".ljust(12, b"\0")), header(kind=b"S"), header(size=8**11 - 1, kind=b"x"),
    header(kind=b"x", size=512) * 3000, header(kind=b"L") * 99, header(size=60 << 20, kind=b"x") + b"1" * (60 << 20),
    header(size=60 << 20, kind=b"g") + b"11 a=123456\n" * (5 << 20), header("a\nb.fits"), header("\x1b[31m.fits"),
    header("x" * 95 + ".fits"), header("x" * 94 + "\udcff.fits"), b"x" * 512, header()[:-1]],
    ids=lambda content: f"{content[124:136]!r}{content[156:157]!r}{len(content)}")
def test_headers_that_are_nonsense(content, tmp_path):
    (tmp_path / "a.tar").write_bytes(content + b"".join((header("./" + NAME.format(0), len(image(0))), image(0),
                                                         bytes(-len(image(0)) % 512), bytes(1024))))
    start = time.monotonic()
    try:
        unpacked = cutouts.unpack_cutouts(tmp_path / "a.tar", tmp_path / "in", REQUEST)
        assert all(name.isprintable() for name, _, _ in unpacked.rejected)
    except (DamagedTarError, RefusedError) as error:
        assert str(error).isprintable()
    assert time.monotonic() - start < 5


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 40_000), st.binary(max_size=80)), max_size=6), cut=st.integers(0, 999))
def test_damage_to_a_tar_is_never_more_than_a_damaged_or_refused_tar(changes, cut, tmp_path):
    content = bytearray(make_tar(tmp_path / "a.tar", {NAME.format(hour): image(hour) for hour in (0, 4)}).read_bytes())
    for place, data in changes:
        content[place:place + len(data)] = data
    (tmp_path / "a.tar").write_bytes(bytes(content[:max(0, len(content) - cut)]) + bytes(1024))
    shutil.rmtree(tmp_path / "in", ignore_errors=True)
    with suppress(DamagedTarError, RefusedError):
        cutouts.unpack_cutouts(tmp_path / "a.tar", tmp_path / "in", REQUEST)


# ---------------------------------------------------------------------------- check and place


@pytest.mark.parametrize(("region", "time"), [("1158", datetime(2011, 2, 13, 6)), ("1374", datetime(2011, 12, 17, 6))])
def test_real_images(region, time, shared_data):
    (path,) = (shared_data / "active_regions" / region).glob(f"*{time:%Y%m%d_%H%M%S}*")
    request = CutoutRequest(Passage(region, time.date(), 1))
    if region == "1374":  # a cut-out as im_patch delivers them; T_REC with milliseconds
        cutouts.check_cutout(path, request, time)
    else:  # a SHARP patch: rectangular
        with pytest.raises(ValueError, match="wrong size") as caught:
            cutouts.check_cutout(path, request, time)
        assert caught.value.args[1] == "expected 600x600 pixels, got 744x377"


def test_place_has_one_spelling_a_time(tmp_path):
    folder = tmp_path / "1158"
    folder.mkdir()
    (folder / NAME.format(0).replace("M_720s", "m_720s")).write_bytes(b"old")
    (folder / "notes.txt").write_text("kept")
    unpacked = unpack(tmp_path, {NAME.format(hour): image(hour) for hour in (0, 4)})
    cutouts.put_in_place(unpacked, folder, REQUEST.series)
    assert sorted(path.name for path in folder.iterdir()) == [NAME.format(0), NAME.format(4), "notes.txt"]
    assert (folder / NAME.format(0)).read_bytes() == image(0)


def test_images_are_on_disk_before_they_are_in_place(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync

    def noted_fsync(handle: int) -> None:
        flushed.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    unpacked = unpack(tmp_path, {NAME.format(hour): image(hour) for hour in (0, 4)})
    cutouts.put_in_place(unpacked, tmp_path / "1158", REQUEST.series)
    expected = {path.stat().st_ino for path in (tmp_path / "1158").iterdir()}
    if os.name == "posix":
        expected |= {tmp_path.stat().st_ino, (tmp_path / "1158").stat().st_ino}
    assert expected <= set(flushed)


@pytest.mark.parametrize(("name", "series", "time"), [
    (NAME.format(4), "hmi.M_720s", datetime(2011, 2, 13, 4)), (NAME.format(99), "hmi.M_720s", None),
    ("notes.fits", "hmi.M_720s", None), (NAME.format(0), "hmi.M_45s", None),
    ("HMI.m_45s.20110213_000000_TAI.3.magnetogram.fits", "hmi.M_45s", datetime(2011, 2, 13))])
def test_times_in_names(name, series, time):
    assert cutouts.time_in_name(name, series) == time
