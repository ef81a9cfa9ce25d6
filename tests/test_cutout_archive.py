"""Unpacking of a tar, checks of the images, and their place."""

import io
import os
import tarfile
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from general_code import cutout_archive
from general_code.cutout_archive import images_in_place, put_in_place, unpack_cutouts
from general_code.cutout_checks import check_cutout, image_name_pattern, time_in_name
from general_code.cutout_requests import CutoutRequest, Passage
from general_code.jsoc_faults import DamagedTarError, RefusedError
from general_code.simulated_series import Record, made_up_cutout
from general_code.simulated_tars import _in_primary_unit

REQUEST = CutoutRequest(Passage("1158", date(2011, 2, 13), 1), patch_pixels=24)
NAME = "hmi.M_720s.20110213_{:02d}0000_TAI.1.magnetogram.fits"


def image(hour: int, pixels: int = 24, quality: int = 0) -> bytes:
    """Return a cut-out of the first day."""
    return made_up_cutout("1158", Record(datetime(2011, 2, 13, hour), 1, quality), pixels)


def altered(**cards: object) -> bytes:
    """Return the first cut-out with other cards in its header; None takes one out."""
    with fits.open(io.BytesIO(image(0)), disable_image_compression=True) as file, io.BytesIO() as other:
        for name, value in cards.items():
            file[1].header.pop(name) if value is None else file[1].header.set(name, value)
        file.writeto(other)
        return other.getvalue()


def two_images() -> bytes:
    """Return the first cut-out behind an image of another size in the primary unit."""
    with fits.open(io.BytesIO(image(0))) as file, io.BytesIO() as other:
        fits.HDUList([fits.PrimaryHDU(np.zeros((4, 5), np.int16)), file[1]]).writeto(other)
        return other.getvalue()


def make_tar(path: Path, members: dict[str, bytes], **options) -> Path:
    """Write a tar of plain files."""
    with tarfile.open(path, **({"mode": "w"} | options)) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


# ---------------------------------------------------------------------------- unpacking


def test_images_are_taken_and_helpers_passed_over(tmp_path):
    members = {"./index.txt": b"# JSOC", "./" + NAME.format(0): image(0), "./proc-steps.txt": b"",
               "./" + NAME.format(4).replace("M_720s", "m_720s"): image(4), "./JSOC_20110213_001.drmsrun": b""}
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", members), tmp_path / "in", REQUEST)
    assert sorted(unpacked.images) == [datetime(2011, 2, 13, 0), datetime(2011, 2, 13, 4)]
    assert unpacked.rejected == []
    assert len(list((tmp_path / "in").iterdir())) == 2


@pytest.mark.parametrize(("name", "content", "reason"), [
    (NAME.format(0), image(0, pixels=30), "wrong size"),
    (NAME.format(0), image(0, quality=-(2**31)), "QUALITY below 0"),
    (NAME.format(4), image(0), "T_REC is not the time in the name"),
    (NAME.format(0), image(0)[:4000], "not a readable image"), (NAME.format(0), b"", "not a readable image"),
    (NAME.format(0), b"<html>", "not a readable image"), (NAME.format(99), image(0), "name is not one of the series"),
    (NAME.format(0), _in_primary_unit(image(0)), "not a readable image"), (NAME.format(0), two_images(), "wrong size"),
    (NAME.format(0), altered(QUALITY=None), "no QUALITY in the header"),
    (NAME.format(0), altered(QUALITY="NaN"), "no QUALITY in the header"),
    (NAME.format(0), altered(T_REC=None), "no T_REC in the header"),
    (NAME.format(0), altered(T_REC="MISSING"), "T_REC is not the time in the name"),
    (NAME.format(0).replace("0213", "0215"), image(0), "time outside the request"),
    ("aia.fits", image(0), "name is not one of the series")])
def test_images_that_do_not_pass(name, content, reason, tmp_path):
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", {"./" + name: content, "./" + NAME.format(8): image(8)}),
                              tmp_path / "in", REQUEST)
    assert list(unpacked.images) == [datetime(2011, 2, 13, 8)]
    assert [row[:2] for row in unpacked.rejected] == [(name, reason)]
    assert str(tmp_path) not in unpacked.rejected[0][2]


def test_cause_of_an_unreadable_image_is_kept_without_its_path(tmp_path):
    folder = tmp_path / ("a_folder_with_a_name_that_is_longer_than_a_line_of_cfitsio_" * 2)
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", {NAME.format(0): b"<html>"}), folder, REQUEST)
    ((_, _, detail),) = unpacked.rejected
    assert "FITSIO status" in detail or "SIMPLE" in detail  # by cfitsio, by astropy
    assert "/" not in detail.replace("unit/", "")


def test_size_is_looked_at_before_the_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("general_code.cutout_checks.read_magnetogram", lambda path: pytest.fail("pixels were read"))
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", {NAME.format(0): image(0, pixels=30)}), tmp_path / "in",
                              REQUEST)
    assert unpacked.rejected[0][1:] == ("wrong size", "expected 24x24 pixels, got 30x30")


def test_second_image_of_a_time_is_rejected(tmp_path):
    other_camera = NAME.format(0).replace(".1.", ".3.")
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", {NAME.format(0): image(0), other_camera: image(0)}),
                              tmp_path / "in", REQUEST)
    assert [row[:2] for row in unpacked.rejected] == [(other_camera, "second image of one time")]


@pytest.mark.parametrize(("name", "message"), [
    ("../" + NAME.format(0), "leads out of the folder"), ("a/../../" + NAME.format(0), "leads out of the folder"),
    ("/" + NAME.format(0), "leads out of the folder"), ("..\\" + NAME.format(0), "leads out of the folder"),
    ("C:/" + NAME.format(0), "leads out of the folder"), ("x/" + NAME.format(4), "surplus")])
def test_names_that_must_not_be_used(name, message, tmp_path):
    members = {"./" + NAME.format(4): image(4), name: image(0)}
    (tmp_path / "work").mkdir()
    with pytest.raises(RefusedError, match=message + ".*nothing of it is used"):
        unpack_cutouts(make_tar(tmp_path / "a.tar", members), tmp_path / "work" / "in", REQUEST)
    assert not list(tmp_path.glob("*.fits"))
    assert not list((tmp_path / "work").glob("*.fits"))


def test_surplus_is_refused_at_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(cutout_archive, "most_images", lambda request: 3)
    members = {f"./{NAME.format(hour)}": image(hour) for hour in range(8)}
    with pytest.raises(RefusedError, match=r"20110213_030000_TAI.* is surplus: the request can have 3 images"):
        unpack_cutouts(make_tar(tmp_path / "a.tar", members), tmp_path / "in", REQUEST)
    assert len(list((tmp_path / "in").iterdir())) == 3  # of eight; the caller removes the folder


def test_a_request_can_have_an_image_of_each_camera_at_each_time():
    assert cutout_archive.most_images(REQUEST) == 2 * 121


@pytest.mark.parametrize(("names", "message"), [
    ([f"./folder{number}" for number in range(60)], "'./folder50' is surplus"),
    (["./", "./more", "../../evil"], "'../../evil' leads out of the folder"), (["/evil"], "leads out of the folder")])
def test_folders_in_a_tar(names, message, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
    with pytest.raises(RefusedError, match=message):
        unpack_cutouts(tmp_path / "a.tar", tmp_path / "in", REQUEST)


def test_too_many_helpers(tmp_path):
    members = {f"./notes{number}.txt": b"" for number in range(60)}
    with pytest.raises(RefusedError, match="'./notes50.txt' is surplus"):
        unpack_cutouts(make_tar(tmp_path / "a.tar", members), tmp_path / "in", REQUEST)


def test_member_larger_than_an_image_can_be(tmp_path):
    path = make_tar(tmp_path / "a.tar", {"./" + NAME.format(0): bytes(1 << 20)})
    with pytest.raises(RefusedError, match="unpacks to 1,048,576 bytes, expected at most 266,752 for 24 pixels"):
        unpack_cutouts(path, tmp_path / "in", REQUEST)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(kind, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo("./" + NAME.format(0))
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(RefusedError, match="is a link, a device or the like"):
        unpack_cutouts(tmp_path / "a.tar", tmp_path / "in", REQUEST)


@pytest.mark.parametrize("cut", [0, 100, 1024, 5000, -11000])
def test_tar_that_is_not_whole(cut, tmp_path):
    path = make_tar(tmp_path / "a.tar", {f"./{NAME.format(hour)}": image(hour) for hour in range(4)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamagedTarError, match="not a whole tar"):
        unpack_cutouts(path, tmp_path / "in", REQUEST)


def test_compressed_tar_is_not_taken(tmp_path):
    path = make_tar(tmp_path / "a.tar", {"./" + NAME.format(0): image(0)}, mode="w:gz")
    path.write_bytes(path.read_bytes() + bytes(1024))
    with pytest.raises(DamagedTarError):
        unpack_cutouts(path, tmp_path / "in", REQUEST)


def test_zeros_are_an_empty_tar(tmp_path):
    (tmp_path / "a.tar").write_bytes(bytes(10240))
    assert unpack_cutouts(tmp_path / "a.tar", tmp_path / "in", REQUEST).images == {}


# ---------------------------------------------------------------------------- check and place


@pytest.mark.parametrize(("region", "time"), [("1158", datetime(2011, 2, 13, 6)), ("1374", datetime(2011, 12, 17, 6))])
def test_real_images(region, time, shared_data):
    (path,) = (shared_data / "active_regions" / region).glob(f"*{time:%Y%m%d_%H%M%S}*")
    request = CutoutRequest(Passage(region, time.date(), 1))
    if region == "1374":  # a cut-out as im_patch delivers them; T_REC with milliseconds
        check_cutout(path, request, time)
    else:  # a SHARP patch: rectangular
        with pytest.raises(ValueError, match="wrong size") as caught:
            check_cutout(path, request, time)
        assert caught.value.args[1] == "expected 600x600 pixels, got 744x377"


def test_place_has_one_spelling_a_time(tmp_path):
    folder = tmp_path / "1158"
    folder.mkdir()
    (folder / NAME.format(0).replace("M_720s", "m_720s")).write_bytes(b"old")
    (folder / "notes.txt").write_text("kept")
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", {NAME.format(hour): image(hour) for hour in (0, 4)}),
                              tmp_path / "in", REQUEST)
    put_in_place(unpacked, folder, REQUEST.series)
    assert sorted(path.name for path in folder.iterdir()) == [NAME.format(0), NAME.format(4), "notes.txt"]
    assert (folder / NAME.format(0)).read_bytes() == image(0)


def test_images_are_on_disk_before_they_are_in_place(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync

    def noted_fsync(handle: int) -> None:
        flushed.append(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", {NAME.format(hour): image(hour) for hour in (0, 4)}),
                              tmp_path / "in", REQUEST)
    put_in_place(unpacked, tmp_path / "1158", REQUEST.series)
    expected = {path.stat().st_ino for path in (tmp_path / "1158").iterdir()}
    if os.name == "posix":
        expected |= {tmp_path.stat().st_ino, (tmp_path / "1158").stat().st_ino}
    assert expected <= set(flushed)


def test_empty_files_are_no_images(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"x")
    (tmp_path / "b.fits").write_bytes(b"")
    assert images_in_place(tmp_path) == 1
    assert images_in_place(tmp_path / "nowhere") == 0


def test_times_in_names():
    assert time_in_name(NAME.format(4), "hmi.M_720s") == datetime(2011, 2, 13, 4)
    assert time_in_name(NAME.format(99), "hmi.M_720s") is None
    assert time_in_name("notes.fits", "hmi.M_720s") is None


def test_names_of_other_series():
    assert image_name_pattern("hmi.M_45s").fullmatch("HMI.m_45s.20110213_000000_TAI.3.magnetogram.fits")
    assert not image_name_pattern("hmi.M_45s").fullmatch(NAME.format(0))
