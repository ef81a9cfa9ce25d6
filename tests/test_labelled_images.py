"""Images and labels find each other by name; what has no partner, or comes twice, is recorded."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from classifier_SVM.labelled_images import find_image_paths, find_labelled_images, list_image_files
from general_code.stage_files import UserError
from general_code.stage_run import stage_main, stage_run


class Run:
    """Collects exclusions as a run of a stage does."""

    def __init__(self) -> None:
        self.exclusions = []

    def exclude(self, *exclusion: str) -> None:
        self.exclusions.append(exclusion)


def make(folder: Path, files: list[str], labels: str) -> Path:
    """Write empty files and a label file."""
    for file in files:
        path = folder / "dataset" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    (folder / "Labels.txt").write_text(labels)
    return folder


def find(folder: Path, image_format: str = "fits") -> tuple[dict[str, str], list[tuple[str, ...]]]:
    """Return the class of each image found, and the exclusions."""
    run = Run()
    images = find_labelled_images(folder / "Labels.txt", folder / "dataset", image_format, run)
    found = zip(images.names.tolist(), images.flare_classes.tolist(), strict=True)
    return {name.decode(): flare_class.decode() for name, flare_class in found}, run.exclusions


@pytest.fixture(params=[1, 2, 3, 20_000], autouse=True)
def rows_a_block(request, monkeypatch):
    """Try all tests with blocks so small that their limits fall everywhere."""
    for room in ("classifier_SVM.labelled_images", "general_code.label_file"):
        monkeypatch.setattr(f"{room}._ROWS_A_BLOCK", request.param)


def test_labels_are_matched_without_extension_folder_and_order(tmp_path):
    folder = make(tmp_path, ["1000/a.fits", "1000/a-b.FITS", "1001/c.fits", "d.fits", "1000/a.png"],
                  "filename,class\nd.png,0\n1001/c.fits,m1.5\na-b,C1.0\na.fits,X10.0\n")
    assert find(folder) == ({"a-b.FITS": "C1.0", "a.fits": "X10.0", "c.fits": "M1.5", "d.fits": "0"}, [])
    assert list(find(folder)[0]) == sorted(["a-b.FITS", "a.fits", "c.fits", "d.fits"])


def test_a_region_of_five_digits_and_the_series_in_any_case_are_the_same_image(tmp_path):
    end = "20110215_00000{}_TAI.1.magnetogram"
    files = [f"1158/1158_hmi.M_720s.{end.format(1)}.fits", f"1158/11158_hmi.m_720s.{end.format(2)}.fits",
             f"1158/1158_hmi.m_720s.{end.format(3)}.FITS", f"11158/11158_hmi.M_720s.{end.format(1)}.fits"]
    labels = [f"11158_hmi.M_720s.{end.format(1)}.fits,0\n", f"1158/1158_hmi.M_720s.{end.format(2)}.png,C1.0\n",
              f"11158_HMI.M_720S.{end.format(3)},M1.0\n"]
    folder = make(tmp_path, files, "".join(labels))
    found, exclusions = find(folder)
    assert sorted(found.items()) == sorted((Path(files[number]).name, flare_class)
                                           for number, flare_class in ((3, "0"), (1, "C1.0"), (2, "M1.0")))
    assert exclusions == [(Path(files[0]).name, "image name repeated", "the one in folder '1158' is not used")]


def test_paths_of_some_images(tmp_path):
    folder = make(tmp_path, ["1000/a.FITS", "b.fits", "1001/c.png"], "")
    paths = find_image_paths(["b.png", "c", "a.fits"], folder / "dataset", "fits", Run())
    assert paths == [folder / "dataset" / "b.fits", None, folder / "dataset" / "1000" / "a.FITS"]


def test_a_folder_that_cannot_be_read_is_recorded(tmp_path, monkeypatch):
    folder = make(tmp_path, ["1000/a.fits", "1001/b.fits"], "a,0\nb,0\n")

    def scandir(path, scan=os.scandir):
        if Path(path).name == "1001":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("classifier_SVM.labelled_images.os.scandir", scandir)
    assert find(folder) == ({"a.fits": "0"}, [
        ("1001", "folder cannot be read", f"{folder / 'dataset' / '1001'}: Permission denied"),
        ("b", "label without an image")])


def test_what_has_no_partner_is_recorded(tmp_path):
    folder = make(tmp_path, [f"1000/{letter}.png" for letter in "acegi"],
                  "".join(f"{letter}.png,0\n" for letter in "hgfedcb"))
    found, exclusions = find(folder, "png")
    assert sorted(found) == ["c.png", "e.png", "g.png"]
    assert exclusions == [("a.png", "image without a label"), ("i.png", "image without a label"),
                          *((letter, "label without an image") for letter in "bdfh")]


def test_the_first_of_several_counts(tmp_path):
    folder = make(tmp_path, ["1000/a.fits", "1001/a.fits", "1001/b.fits"], "a,C1.0\nb,0\na,M1.0\na,0\n")
    found, exclusions = find(folder)
    assert found == {"a.fits": "C1.0", "b.fits": "0"}
    assert exclusions == [("a.fits", "image name repeated", "the one in folder '1001' is not used"),
                          ("a", "label repeated", "the first one counts, not M1.0"),
                          ("a", "label repeated", "the first one counts, not 0")]


def test_lines_that_are_not_labels_are_recorded_with_their_number(tmp_path):
    found, exclusions = find(make(tmp_path, ["a.fits", "b.fits"], "b,0\n\na,Z1.0\n"))
    assert found == {"b.fits": "0"}
    assert exclusions == [("Labels.txt, line 3", "label not understood",
                           "expected 'name,0' or 'name,C4.7', got 'a,Z1.0'"), ("a.fits", "image without a label")]


def test_sizes_times_and_paths_are_those_of_the_files(tmp_path):
    folder = make(tmp_path, ["1000/b.fits", "a.fits"], "")
    (folder / "dataset" / "c.fits").symlink_to(tmp_path / "nothing")
    images = list_image_files(folder / "dataset", b".fits", Run())
    expected = [folder / "dataset" / "a.fits", folder / "dataset" / "1000" / "b.fits"]
    assert images.paths(folder / "dataset", images.sizes.argsort(kind="stable")[1:]) == [str(path) for path in expected]
    assert images.sizes.tolist() == [6, 11, -1]
    assert images.times.tolist() == [*(path.stat().st_mtime_ns for path in expected), -1]


@pytest.mark.parametrize(("files", "labels", "message"), [
    (["a.png"], "a,0\n", "expected .fits images, found none"), (["a.fits"], "a\n", "Labels.txt: expected labels"),
    (["a.fits"], "b,0\n", "Labels.txt: no line names an image of")])
def test_nothing_to_work_on_is_an_error(tmp_path, files, labels, message):
    with pytest.raises(UserError, match=message):
        find(make(tmp_path, files, labels))


def test_a_stage_lists_a_name_that_is_no_text(tmp_path):
    name = "9001_hmi.M_720s.20140101_000000_TAI.1.magnetogram.fits"
    folder = make(tmp_path, [f"9001/{name}"], f"{name},0\n")
    try:
        (folder / "dataset" / "9001" / os.fsdecode(b"9002_\xff.fits")).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    stage = stage_main(lambda user: list_images(folder))
    stage(None)
    assert r"9002_\udcff.fits,image without a label" in (folder / "out.csv.excluded.csv").read_text()


def list_images(folder: Path) -> None:
    """Match images and labels as a stage does."""
    with stage_run(Settings(), folder / "out.csv", inputs=[folder / "dataset"]) as run:
        find_labelled_images(folder / "Labels.txt", folder / "dataset", "fits", run)


@dataclass(frozen=True)
class Settings:
    """Of a stage without any."""
