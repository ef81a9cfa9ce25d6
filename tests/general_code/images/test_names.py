"""What names of magnetograms say, how a data set spells them, and which files of a folder bear them."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from general_code.images.names import image_stems, list_images, parse_image_names, where_images_are

TIME = np.datetime64("2011-02-15T01:12:00", "s")
STEM = "hmi.M_720s.20110215_011200_TAI.1.magnetogram"


@pytest.mark.parametrize(("name", "region", "folder", "camera", "ending"), [
    (f"{STEM}.fits", "", "", 1, ".fits"), (f"1158/{STEM}.fits", "1158", "1158", 1, ".fits"),
    (f"1158/1159_{STEM}.fits", "1159", "1158", 1, ".fits"), (f"11158_{STEM}.png", "1158", "", 1, ".png"),
    (f"a/b\\11158\\{STEM}.png", "1158", "1158", 1, ".png"), (f"x1158/{STEM}.fits", "", "", 1, ".fits"),
    (f"0005/{STEM.upper()}.FITS", "0005", "0005", 1, ".fits"),
    (f"1158/{STEM.replace('M_7', 'm_7').replace('.1.', '.3.')}.fits", "1158", "1158", 3, ".fits"),
    (f"{'long/' * 30}1158/{STEM}.fits", "1158", "1158", 1, ".fits"), (f"images/{STEM}.fits", "", "", 1, ".fits"),
    (f"1158/1158_{STEM}_224.png", "1158", "1158", 1, "_224.png"), (f"1158_{STEM}_64.FITS", "1158", "", 1, "_64.fits"),
    (f"1158_{STEM}.Fits.GZ", "1158", "", 1, ".fits.gz"), (f"1158_{STEM}", "1158", "", 1, ""),
    (f"Büro (neu)/1158/1158_{STEM}_224", "1158", "1158", 1, "_224"),
    (f"a\nb/1158/{STEM}.fits", "1158", "1158", 1, ".fits")])
def test_what_names_say(name, region, folder, camera, ending):
    row = parse_image_names([name]).iloc[0]
    assert (row["region"], row["folder"], row["camera"], row["ending"]) == (region, folder, camera, ending)
    assert row["time"] == TIME
    assert row["image_format"] == ("png" if "png" in ending else "fits" if "fits" in ending else "")
    assert row["image"] == f"{region}{'_' if region else ''}{STEM.replace('.1.', f'.{camera}.')}"


@pytest.mark.parametrize("name", [
    "", "x", "readme.txt", f"{STEM}.fit", f"{STEM}.png.gz", f"158_{STEM}.fits", f"111158_{STEM}.fits",
    f"abc_{STEM}.fits", f"x{STEM}.fits", STEM.replace("_TAI", "_UTC") + ".fits", STEM.replace("720", "45") + ".fits",
    f"é{STEM}.fits", STEM.replace("2011", "2O11") + ".fits", STEM.replace("2011", "２０１１") + ".fits",
    STEM.replace(".1.", ".12.") + ".fits", STEM.replace(".1.", ".") + ".fits", f"1158_x/1158x_{STEM}.fits",
    STEM.replace("011200", "011260") + ".fits", f"{STEM}_.png", f"{STEM}_a.png", f"{STEM}.fits\n",
    f"\udcff{STEM}.fits"])
def test_what_is_no_name(name):
    table = parse_image_names([name, f"1158/{STEM}.fits"])
    assert table["time"].isna().tolist() == [True, False]
    assert table.loc[0, ["region", "folder", "camera", "image_format", "ending"]].tolist() == ["", "", 0, "", ""]


def test_times_that_do_not_exist():
    stamps = ["20110229_000000", "20111301_000000", "20110200_000000", "20110213_240000", "20110213_006000",
              "20110431_000000", "00000000_000000"]
    assert parse_image_names([STEM.replace("20110215_011200", stamp) for stamp in stamps])["time"].isna().all()


def test_types_of_the_columns_also_without_names():
    for names in ([], [f"{STEM}.fits", "x"], pd.Series([f"{STEM}.fits"], dtype="str")):
        table = parse_image_names(names)
        assert len(table) == len(names)
        assert table["time"].dtype == "datetime64[s]" and table["camera"].dtype == np.int8
        assert all(table[name].dtype == "str" for name in ("image", "region", "folder", "image_format", "ending"))


@pytest.mark.parametrize(("name", "image"), [
    (f"1158/1158_{STEM.replace('M_7', 'm_7')}.fits", f"1158_{STEM}"), (f"1158_{STEM}.PNG", f"1158_{STEM}"),
    (f"11158/11158_{STEM}.png", f"1158_{STEM}"), (f"x/1158/{STEM}.fits.gz", f"1158_{STEM}"),
    (f"1158_{STEM.upper()}_224.png", f"1158_{STEM}"), (f"1158_{STEM}", f"1158_{STEM}"),
    ("a/b\\c-d.FITS", "c-d"), ("a.fits.gz", "a"), ("a.tar", "a.tar"), ("", "")])
def test_images_match_by_region_time_and_camera_whatever_the_spelling(name, image):
    assert image_stems([name]).tolist() == [image]


def make_files(folder: Path, *names: str) -> Path:
    """Write files that hold their own names; return their folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_files_of_a_folder_by_folder_and_name(tmp_path):
    make_files(tmp_path, "1160/b.fits", "1158/c.FITS", "1158/a.fits", "1158/a.png", "1158/list.txt", "stray.fits",
          "x.fits.gz", "1158/.writing-a.fits", ".hidden/a.fits", "1158/deep/er.fits", "._stray.fits")
    files, problems = list_images(tmp_path, "fits")
    assert files["source"].tolist() == ["stray.fits", "x.fits.gz", "1158/a.fits", "1158/c.FITS", "1160/b.fits"]
    assert files["filename"].tolist() == ["stray.fits", "x.fits.gz", "a.fits", "c.FITS", "b.fits"]
    assert files["bytes"].tolist() == [len(name) for name in files["source"]] and not problems
    assert files["modified_ns"].tolist() == [(tmp_path / name).stat().st_mtime_ns for name in files["source"]]
    assert list_images(tmp_path, "png")[0]["source"].tolist() == ["1158/a.png"]
    assert len(list_images(tmp_path)[0]) == 7


def test_a_link_to_nothing_and_a_folder_named_like_an_image_are_files(tmp_path):
    (tmp_path / "1158" / "b.fits").mkdir(parents=True)
    (tmp_path / "1158" / "a.fits").symlink_to(tmp_path / "nothing")
    files, _ = list_images(tmp_path, "fits")
    assert files.loc[0, ["source", "bytes", "modified_ns"]].tolist() == ["1158/a.fits", -1, -1]
    assert files["source"].tolist()[1:] == ["1158/b.fits"]


def test_a_folder_that_cannot_be_read_is_reported(tmp_path, monkeypatch):
    make_files(tmp_path, "1000/a.fits", "1001/b.fits")

    def scandir(path, scan=os.scandir):
        if Path(path).name == "1001":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("general_code.images.names.os.scandir", scandir)
    files, problems = list_images(tmp_path, "fits")
    assert files["source"].tolist() == ["1000/a.fits"]
    assert [problem[:3] for problem in problems] == [
        ("1001", "folder cannot be read", f"{tmp_path / '1001'}: Permission denied")]


@pytest.mark.parametrize(("file", "hint"), [
    ("1158/a.png", "there are .png images; set --image-format png"),
    ("set/1158/a.fits", r"NNNN folders are in '.*set'"),
    ("set/11158/a.png", r"NNNN folders are in '.*set'"), ("set/other/a.fits", "^$"),
    ("SRS/2011/20110213SRS.txt", "^$"), ("notes.txt", "^$")])
def test_where_images_may_be(tmp_path, file, hint):
    make_files(tmp_path, file)
    assert list_images(tmp_path, "fits")[0].empty
    assert re.search(hint, where_images_are(tmp_path, "fits"))


def test_a_folder_one_level_too_deep_is_told_by_its_number(tmp_path):
    make_files(tmp_path, "1158/hmi.M_720s.20110213_000000_TAI.1.magnetogram.fits")
    assert "is a region's number: name the folder above" in where_images_are(tmp_path / "1158")
    make_files(tmp_path, "2011/20110213SRS.txt")
    assert where_images_are(tmp_path / "2011") == ""
