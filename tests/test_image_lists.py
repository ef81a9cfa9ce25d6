"""The lists of stage 7: published format in, faults named with their line."""

from pathlib import Path

import pytest

from classifier_VGG.image_lists import list_name, read_image_list, read_image_lists
from general_code.stage_files import UserError, refuse_inputs
from general_code.stage_run import StageRun

NAME = "1158/1158_hmi.M_720s.20110215_000000_TAI.1.magnetogram"
OTHER = "1160/1160_hmi.M_720s.20110215_000000_TAI.1.magnetogram"


@pytest.fixture
def run(tmp_path):
    """A run that only notes."""
    with (tmp_path / "log").open("w") as log:
        yield StageRun(log)


def write(path, *rows):
    """Write a list; return its path."""
    path.write_text("filename,class\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_names_get_the_extension_of_the_format(tmp_path):
    path = write(tmp_path / "a.csv", f"{NAME}.png,1", f"{OTHER}.FITS,0")
    table = read_image_list(path, "train_file", "fits")
    assert table["filename"].tolist() == [f"{NAME}.fits", f"{OTHER}.fits"]
    assert table["class"].tolist() == [1, 0]


@pytest.mark.parametrize(("rows", "message"), [
    ([f"{NAME}.fits,2"], "line 2: the class is '2', expected 0 or 1"),
    ([f"{NAME}.fits,1", f"{OTHER}.fits,C1.0"], "line 3: the class is 'C1.0'"),
    ([f"{NAME}.fits,1", f"{NAME}.png,1"], "line 3: this image comes twice"),
    ([f"{NAME}.fits,1,3,4", f"{NAME}.fits,1"], "not a CSV|the class|twice"),
])
def test_faults_are_named_with_their_line(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        read_image_list(write(tmp_path / "a.csv", *rows), "train_file", "fits")


def test_a_list_without_its_header_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text(f"{NAME}.fits,1\n{OTHER}.fits,0\n")
    with pytest.raises(UserError, match="expected the header filename,class"):
        read_image_list(tmp_path / "a.csv", "train_file", "fits")


def test_a_missing_list_is_named_by_its_setting(tmp_path):
    with pytest.raises(UserError, match="validation_file: expected a file"):
        read_image_list(tmp_path / "none.csv", "validation_file", "fits")


def test_names_without_region_or_time_are_left_out(tmp_path, run):
    files = {"training": write(tmp_path / "a.csv", f"{NAME}.fits,1", "1158/image.fits,0"),
             "test": write(tmp_path / "b.csv", f"{OTHER}.fits,0")}
    images = read_image_lists(files, "fits", run)
    assert images["split"].tolist() == ["training", "test"]
    assert images["region"].tolist() == ["1158", "1160"]
    assert [item[0] for item in run.exclusions] == ["1158/image.fits"]


def test_a_region_in_two_lists_is_an_error_that_names_it(tmp_path, run):
    files = {"training": write(tmp_path / "a.csv", f"{NAME}.fits,1"),
             "test": write(tmp_path / "b.csv", f"{NAME.replace('000000', '001200')}.fits,0")}
    with pytest.raises(UserError, match="region 1158 is in two lists"):
        read_image_lists(files, "fits", run)


def test_lists_without_any_image_are_an_error(tmp_path, run):
    with pytest.raises(UserError, match="no image"):
        read_image_lists({"training": write(tmp_path / "a.csv")}, "fits", run)


@pytest.mark.parametrize("name", ["1158_a.fits", "any/where/1158_a.fits", "1158\\1158_a.fits"])
def test_the_name_in_a_list_has_the_regions_folder(name):
    assert list_name(name) == "1158/1158_a.fits"


def test_a_five_digit_region_is_written_with_four():
    assert list_name("11158/11158_a.fits") == "1158/1158_a.fits"


def test_five_digits_in_a_list_mean_the_same_image(tmp_path):
    path = write(tmp_path / "a.csv", f"{NAME.replace('1158', '11158')}.fits,1", f"{NAME}.fits,0")
    with pytest.raises(UserError, match="line 3: this image comes twice"):
        read_image_list(path, "train_file", "fits")


def test_no_output_may_be_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_inputs([Path("a.csv"), Path("b.csv")], [Path(""), Path("c.csv")])
    with pytest.raises(UserError, match="'b.csv' is an input of this stage and would be overwritten"):
        refuse_inputs([Path("a.csv"), Path("b.csv")], [tmp_path / "b.csv"])
