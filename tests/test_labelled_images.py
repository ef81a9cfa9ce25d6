"""Images and labels find each other by name; what has no partner, or comes twice, is recorded."""

from pathlib import Path

import pytest

from classifier_SVM.labelled_images import find_labelled_images, list_image_files
from general_code.stage_files import UserError


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
    images = list_image_files(folder / "dataset", b".fits")
    expected = [folder / "dataset" / "a.fits", folder / "dataset" / "1000" / "b.fits"]
    assert images.paths(folder / "dataset", images.sizes.argsort(kind="stable")[1:]) == [str(path) for path in expected]
    assert images.sizes.tolist() == [6, 11, -1]
    assert images.times.tolist() == [*(path.stat().st_mtime_ns for path in expected), -1]


@pytest.mark.parametrize(("files", "labels", "message"), [
    (["a.png"], "a,0\n", "expected .fits images, found none"), (["a.fits"], "a\n", "Labels.txt: expected labels")])
def test_nothing_to_work_on_is_an_error(tmp_path, files, labels, message):
    with pytest.raises(UserError, match=message):
        find(make(tmp_path, files, labels))
