"""What names of magnetograms say, one at a time and by the million, and how a data set spells them."""

import numpy as np
import pandas as pd
import pytest

from general_code.image_names import (
    FORMATS,
    NO_REGION,
    ImageName,
    dataset_name,
    dataset_names,
    image_stems,
    parse_image_name,
    parse_image_names,
    parse_name_columns,
    region_texts,
)

TIME = np.datetime64("2011-02-15T01:12:00", "s")
GOOD_NAMES = [
    ("hmi.M_720s.20110215_011200_TAI.1.magnetogram.fits", ImageName(None, TIME, 1, "fits")),
    ("hmi.m_720s.20110215_011200_TAI.3.magnetogram.fits", ImageName(None, TIME, 3, "fits")),
    ("1158_hmi.M_720s.20110215_011200_TAI.1.magnetogram.png", ImageName("1158", TIME, 1, "png")),
    ("11158_HMI.M_720S.20110215_011200_tai.1.MAGNETOGRAM.FITS", ImageName("1158", TIME, 1, "fits")),
]
BAD_NAMES = ["", "readme.txt", "hmi.M_720s.20110215_011200_TAI.1.magnetogram.fits.gz",
             "hmi.M_720s.2011_TAI.1.magnetogram.fits", "hmi.M_720s.20110215_011200_TAI.magnetogram.fits",
             "158_hmi.M_720s.20110215_011200_TAI.1.magnetogram.fits"]
NO_TIME = ["hmi.M_720s.20110229_011200_TAI.1.magnetogram.fits", "hmi.M_720s.20110215_251200_TAI.1.magnetogram.fits"]


@pytest.mark.parametrize(("name", "expected"), GOOD_NAMES)
def test_names_that_parse(name, expected):
    assert parse_image_name(name) == expected


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_do_not_parse_say_what_is_expected(name):
    with pytest.raises(ValueError, match=r"is not like NNNN_hmi\.M_720s\.YYYYMMDD"):
        parse_image_name(name)


@pytest.mark.parametrize("name", NO_TIME)
def test_times_that_do_not_exist(name):
    with pytest.raises(ValueError, match="there is no time"):
        parse_image_name(name)


def test_many_names_agree_with_one_at_a_time():
    names = [name for name, _ in GOOD_NAMES] + BAD_NAMES + NO_TIME
    table = parse_image_names(names)
    times = table["time"].to_numpy()
    for i, name in enumerate(names):
        try:
            expected = parse_image_name(name)
        except ValueError:
            assert np.isnat(times[i]), name
            continue
        row = table.loc[i]
        assert (row["region"] or None, times[i], row["camera"], row["image_format"]) == expected
    assert table["time"].dtype == "datetime64[s]"


@pytest.mark.parametrize(("path", "region"), [
    ("1158/hmi.M_720s.20110215_011200_TAI.1.magnetogram.fits", "1158"),
    ("a/b/11158/hmi.M_720s.20110215_011200_TAI.1.magnetogram.fits", "1158"),
    ("1158/1160_hmi.M_720s.20110215_011200_TAI.1.magnetogram.fits", "1160"),
    ("images/hmi.M_720s.20110215_011200_TAI.1.magnetogram.fits", "")])
def test_the_folder_gives_the_region_where_the_name_has_none(path, region):
    table = parse_image_names([path])
    assert table.loc[0, "region"] == region
    assert table.loc[0, "time"] == TIME


def test_dataset_name_reads_back():
    name = dataset_name("0001", TIME, 3, "png")
    assert name == "0001_hmi.M_720s.20110215_011200_TAI.3.magnetogram.png"
    assert parse_image_name(name) == ("0001", TIME, 3, "png")


def test_many_names_in_the_data_set_are_spelled_as_one():
    times = np.datetime64("2011-02-13T06:00", "s") + np.array([12, 0, 12]) * np.timedelta64(60, "s")
    images = pd.DataFrame({"region": ["1158", "0005", "0005"], "time": times, "camera": [3, 1, 1]})
    names = dataset_names(images, "png").tolist()
    assert names[0] == "1158_hmi.M_720s.20110213_061200_TAI.3.magnetogram.png"
    assert names == [dataset_name(row.region, row.time, row.camera, "png") for row in images.itertuples()]


def test_names_match_whatever_folder_extension_and_digits_of_the_region():
    stems = image_stems(["1158/1158_hmi.m_720s.20110215_000000_TAI.1.magnetogram.fits",
                         "1158_hmi.M_720s.20110215_000000_TAI.1.magnetogram.PNG",
                         "11158/11158_hmi.M_720s.20110215_000000_TAI.1.magnetogram.png"])
    assert stems[0] == stems[1] == stems[2] == "1158_hmi.M_720s.20110215_000000_TAI.1.magnetogram"


# ---------------------------------------------------------------------------- a million names


STEM = "hmi.M_720s.20110213_061200_TAI.1.magnetogram"


@pytest.mark.parametrize(("name", "region", "folder"), [
    (f"{STEM}.fits", -1, -1), (f"1158/{STEM}.fits", -1, 1158), (f"1158/1159_{STEM}.fits", 1159, 1158),
    (f"11158_{STEM}.fits", 1158, -1), (f"a/b\\11158\\{STEM}.png", -1, 1158), (f"x1158/{STEM}.fits", -1, -1),
    (f"0005/{STEM.upper()}.FITS", -1, 5), ("1158/" + STEM.replace("M_7", "m_7") + ".fits", -1, 1158),
    (f"{'long/' * 30}1158/{STEM}.fits", -1, 1158),
])
def test_region_and_folder(name, region, folder):
    columns = parse_name_columns([name])
    assert (columns.region[0], columns.folder[0], columns.camera[0]) == (region, folder, 1)
    assert columns.time[0] == np.datetime64("2011-02-13T06:12:00")
    assert FORMATS[columns.image_format[0]] == name.rsplit(".", 1)[1].lower()


@pytest.mark.parametrize("name", [
    "", "x", f"{STEM}.fit", f"{STEM}.fits.gz", f"158_{STEM}.fits", f"111158_{STEM}.fits", f"abc_{STEM}.fits",
    f"x{STEM}.fits", STEM.replace("_TAI", "_UTC") + ".fits", STEM.replace("720", "45") + ".fits", f"é{STEM}.fits",
    STEM.replace("2011", "2O11") + ".fits", STEM.replace(".1.", ".12.") + ".fits", f"1158_x/1158x_{STEM}.fits",
])
def test_what_is_no_name(name):
    columns = parse_name_columns([name, f"1158/{STEM}.fits"])
    assert np.isnat(columns.time).tolist() == [True, False]
    assert (columns.camera[0], columns.image_format[0]) == (0, 0)


@pytest.mark.parametrize("stamp", ["20110229_000000", "20111301_000000", "20110200_000000", "20110213_240000",
                                   "20110213_006000", "20110213_000060", "20110431_000000"])
def test_time_that_does_not_exist(stamp):
    name = STEM.replace("20110213_061200", stamp) + ".fits"
    assert np.isnat(parse_name_columns([name]).time[0])
    with pytest.raises(ValueError, match="no time"):
        parse_image_name(name)


def test_agreement_with_the_single_parser():
    rng = np.random.default_rng(0)
    names = [f"{rng.choice(['', '1158_', '12673_', '0005_'])}{rng.choice(['hmi.M', 'HMI.m'])}_720s."
             f"{rng.integers(2009, 2027)}{rng.integers(0, 14):02d}{rng.integers(0, 33):02d}_"
             f"{rng.integers(0, 25):02d}{rng.integers(0, 61):02d}00_TAI.{rng.integers(1, 4)}.magnetogram."
             f"{rng.choice(['fits', 'png'])}" for _ in range(500)]
    table = parse_image_names(names)
    for name, row in zip(names, table.itertuples(), strict=True):
        try:
            image = parse_image_name(name)
        except ValueError:
            assert pd.isna(row.time)
            continue
        assert (row.region, row.camera, row.image_format) == (image.region or "", image.camera, image.image_format)
        assert np.datetime64(row.time, "s") == image.time


def test_no_names():
    assert parse_name_columns([]).region.shape == (0,)
    assert NO_REGION == -1


def test_regions_have_four_digits():
    assert region_texts(np.array([5, 1158, NO_REGION])).tolist() == ["0005", "1158", ""]
