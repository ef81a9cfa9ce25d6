"""Unpacking of a tar, checks of the images, and their place."""

import io
import tarfile
from datetime import date, datetime
from pathlib import Path

import pytest

from general_code.cutout_archive import check_cutout, image_name_pattern, put_in_place, unpack_cutouts
from general_code.cutout_requests import CutoutRequest, Passage
from general_code.jsoc_faults import DamagedTarError, RefusedError
from general_code.simulated_series import Record, made_up_cutout

REQUEST = CutoutRequest(Passage("1158", date(2011, 2, 13), 1), patch_pixels=24)
NAME = "hmi.M_720s.20110213_{:02d}0000_TAI.1.magnetogram.fits"


def image(hour: int, pixels: int = 24, quality: int = 0) -> bytes:
    """Return a cut-out of the first day."""
    return made_up_cutout("1158", Record(datetime(2011, 2, 13, hour), 1, quality), pixels)


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
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", members), tmp_path / "in", REQUEST, 2)
    assert sorted(unpacked.images) == [datetime(2011, 2, 13, 0), datetime(2011, 2, 13, 4)]
    assert unpacked.rejected == []
    assert len(list((tmp_path / "in").iterdir())) == 2


@pytest.mark.parametrize(("name", "content", "reason"), [
    (NAME.format(0), image(0, pixels=30), "wrong size"),
    (NAME.format(0), image(0, quality=-(2**31)), "QUALITY below 0"),
    (NAME.format(4), image(0), "T_REC is not the time in the name"),
    (NAME.format(0), image(0)[:4000], "not a readable image"), (NAME.format(0), b"", "not a readable image"),
    (NAME.format(0), b"<html>", "not a readable image"), (NAME.format(99), image(0), "not a readable image"),
    (NAME.format(0).replace("0213", "0215"), image(0), "time outside the request"),
    ("aia.fits", image(0), "name is not one of the series")])
def test_images_that_do_not_pass(name, content, reason, tmp_path):
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", {"./" + name: content, "./" + NAME.format(8): image(8)}),
                              tmp_path / "in", REQUEST, 7)
    assert list(unpacked.images) == [datetime(2011, 2, 13, 8)]
    assert [row[:2] for row in unpacked.rejected] == [(name, reason)]
    assert str(tmp_path) not in unpacked.rejected[0][2]


def test_second_image_of_a_time_is_rejected(tmp_path):
    other_camera = NAME.format(0).replace(".1.", ".3.")
    unpacked = unpack_cutouts(make_tar(tmp_path / "a.tar", {NAME.format(0): image(0), other_camera: image(0)}),
                              tmp_path / "in", REQUEST, 7)
    assert [row[:2] for row in unpacked.rejected] == [(other_camera, "second image of one time")]


@pytest.mark.parametrize(("name", "message"), [
    ("../" + NAME.format(0), "leads out of the folder"), ("a/../../" + NAME.format(0), "leads out of the folder"),
    ("/" + NAME.format(0), "leads out of the folder"), ("..\\" + NAME.format(0), "leads out of the folder"),
    ("C:/" + NAME.format(0), "leads out of the folder"), ("x/" + NAME.format(4), "surplus")])
def test_names_that_must_not_be_used(name, message, tmp_path):
    members = {"./" + NAME.format(4): image(4), name: image(0)}
    (tmp_path / "work").mkdir()
    with pytest.raises(RefusedError, match=message + ".*nothing of it is used"):
        unpack_cutouts(make_tar(tmp_path / "a.tar", members), tmp_path / "work" / "in", REQUEST, 7)
    assert not list(tmp_path.glob("*.fits"))
    assert not list((tmp_path / "work").glob("*.fits"))


def test_surplus_is_refused_at_the_first(tmp_path):
    members = {f"./{NAME.format(hour)}": image(hour) for hour in range(8)}
    with pytest.raises(RefusedError, match=r"20110213_030000_TAI.* is surplus: the request can have 3 images"):
        unpack_cutouts(make_tar(tmp_path / "a.tar", members), tmp_path / "in", REQUEST, 3)
    assert len(list((tmp_path / "in").iterdir())) == 3  # of eight; the caller removes the folder


def test_too_many_helpers(tmp_path):
    members = {f"./notes{number}.txt": b"" for number in range(60)}
    with pytest.raises(RefusedError, match="'./notes50.txt' is surplus"):
        unpack_cutouts(make_tar(tmp_path / "a.tar", members), tmp_path / "in", REQUEST, 3)


def test_member_larger_than_an_image_can_be(tmp_path):
    path = make_tar(tmp_path / "a.tar", {"./" + NAME.format(0): bytes(1 << 20)})
    with pytest.raises(RefusedError, match="unpacks to 1,048,576 bytes, expected at most 266,752 for 24 pixels"):
        unpack_cutouts(path, tmp_path / "in", REQUEST, 7)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(kind, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo("./" + NAME.format(0))
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(RefusedError, match="is a link, a device or the like"):
        unpack_cutouts(tmp_path / "a.tar", tmp_path / "in", REQUEST, 7)


@pytest.mark.parametrize("cut", [0, 100, 1024, 5000, -11000])
def test_tar_that_is_not_whole(cut, tmp_path):
    path = make_tar(tmp_path / "a.tar", {f"./{NAME.format(hour)}": image(hour) for hour in range(4)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamagedTarError, match="not a whole tar"):
        unpack_cutouts(path, tmp_path / "in", REQUEST, 7)


def test_compressed_tar_is_not_taken(tmp_path):
    path = make_tar(tmp_path / "a.tar", {"./" + NAME.format(0): image(0)}, mode="w:gz")
    path.write_bytes(path.read_bytes() + bytes(1024))
    with pytest.raises(DamagedTarError):
        unpack_cutouts(path, tmp_path / "in", REQUEST, 7)


def test_zeros_are_an_empty_tar(tmp_path):
    (tmp_path / "a.tar").write_bytes(bytes(10240))
    assert unpack_cutouts(tmp_path / "a.tar", tmp_path / "in", REQUEST, 7).images == {}


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
                              tmp_path / "in", REQUEST, 7)
    put_in_place(unpacked, folder, REQUEST.series)
    assert sorted(path.name for path in folder.iterdir()) == [NAME.format(0), NAME.format(4), "notes.txt"]
    assert (folder / NAME.format(0)).read_bytes() == image(0)


def test_names_of_other_series():
    assert image_name_pattern("hmi.M_45s").fullmatch("HMI.m_45s.20110213_000000_TAI.3.magnetogram.fits")
    assert not image_name_pattern("hmi.M_45s").fullmatch(NAME.format(0))
