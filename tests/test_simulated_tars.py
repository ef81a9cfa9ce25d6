"""The simulated tars."""

import io
import tarfile
from datetime import datetime

from astropy.io import fits

from general_code.simulated_faults import Faults
from general_code.simulated_series import Record, made_up_cutout
from general_code.simulated_tars import SURPLUS, _in_primary_unit, write_tar

NAME = "hmi.M_720s.20110213_000000_TAI.1.magnetogram.fits"
INDEX = {"requestid": "JSOC_20110213_001", "data": [{"record": "r", "filename": NAME}]}


def members(tmp_path, kind: str) -> list[tarfile.TarInfo]:
    """Return the members of a tar with one image."""
    with tarfile.open(write_tar(tmp_path / "a.tar", {NAME: b"image"}, INDEX, Faults(hostile_member=kind))) as tar:
        return tar.getmembers()


def test_members_are_below_the_current_folder(tmp_path):
    names = [member.name for member in members(tmp_path, "")]
    assert names == ["./index.json", "./index.html", "./proc-steps.txt", "./index.txt", "./JSOC_20110213_001.drmsrun",
                     "./" + NAME]


def test_hostile_members(tmp_path):
    assert members(tmp_path, "parent")[0].name.startswith("../../")
    assert members(tmp_path, "absolute")[0].name.startswith("/")
    assert members(tmp_path, "symlink")[0].issym()
    assert members(tmp_path, "hardlink")[0].islnk()
    assert members(tmp_path, "device")[0].ischr()
    assert members(tmp_path, "bomb")[0].size == 64 << 20
    assert members(tmp_path, "other_time")[-1].name == "./" + NAME.replace(".2011", ".1911")
    assert members(tmp_path, "odd_name")[-1].name == "./notes.fits"
    assert members(tmp_path, "not_fits")[-1].size == 99
    assert len(members(tmp_path, "repeated")) == 7
    assert len(members(tmp_path, "surplus")) == len(members(tmp_path, "folders")) == SURPLUS + 6
    assert members(tmp_path, "folders")[0].isdir()
    assert members(tmp_path, "html")[-1].size == 26


def test_image_in_the_primary_unit():
    content = made_up_cutout("1158", Record(datetime(2011, 2, 13), 1, 0), 8)
    with fits.open(io.BytesIO(_in_primary_unit(content))) as file:
        assert file[0].shape == (8, 8)
        assert len(file) == 1
