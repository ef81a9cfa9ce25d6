"""Lists of images: what counts as a label, which words report what is not used, and which files the names mean."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from general_code.images import label_file as room
from general_code.images.label_file import (
    FlareTarget,
    find_labelled_images,
    label_counts,
    label_target,
    match_images,
    read_image_lists,
    read_label_file,
    read_list,
)
from general_code.stage.files import UserError
from general_code.stage.run import StageRun


@pytest.fixture
def run(tmp_path):
    """A run that only notes."""
    with (tmp_path / "log").open("w") as log:
        yield StageRun(log)


def name(hour: int, region: str = "1158", image_format: str = "fits") -> str:
    """Return the name of an image of 1 January 2014."""
    return f"{region}_hmi.M_720s.20140101_{hour:02d}0000_TAI.1.magnetogram.{image_format}"


def written(folder: Path, text: str | bytes, file: str = "Labels.txt") -> Path:
    """Return a list with this text."""
    path = folder / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def shown(problems) -> list[tuple[str, str, str]]:
    """Return input, reason and detail."""
    return [tuple(problem[:3]) for problem in problems]


@pytest.mark.parametrize(("line", "filename", "flare_class"), [
    (f"{name(1)},0", name(1), "0"), (f"{name(1)},0.0", name(1), "0"), (f"{name(1)} , c4.7 ", name(1), "C4.7"),
    (f"{name(1)},C10.0", name(1), "C10.0"), (f"{name(1)},X17.2\r", name(1), "X17.2"), (f"{name(1)},M5", name(1), "M5"),
    (f"a/b\\1158/{name(1)},B1.0", name(1), "B1.0"), (f"1160/{name(1)[5:]},0", name(1, "1160"), "0"),
    (f"{name(1, image_format='PNG')},0", name(1, image_format="PNG"), "0"),
    (f"{name(1).removesuffix('.fits')},0", name(1), "0"), (f"{name(1).removesuffix('.fits')},C1.0", name(1), "C1.0"),
    (f"{name(1).replace('.fits', '_224.png')},0", name(1).replace(".fits", "_224.png"), "0"),
    (f"\ufefffilename,class\n{name(1)},0", name(1), "0"), (f"\n\n  \n{name(1)},0\n\n", name(1), "0"),
    (f"Image name;Label\r\n{name(1)};C4.7\r\n", name(1), "C4.7"), (f'"{name(1)}","C4.7"', name(1), "C4.7"),
    (f"'{name(1)}'\t'0'", name(1), "0"), (f"{name(1)};C4.7;;", name(1), "C4.7"),
    (f"Bob's data/1158\\{name(1)},M1.0", name(1), "M1.0"), (f"{name(1)},0\r{name(1)},0.00", name(1), "0")])
def test_what_is_a_label(tmp_path, line, filename, flare_class):
    table, problems = read_label_file(written(tmp_path, line))
    assert table[["filename", "class"]].to_numpy().tolist() == [[filename, flare_class]]
    assert not [problem for problem in problems if problem.reason != room.REPEATED]
    assert table.loc[0, "region"] == filename[:4] and table.loc[0, "image"].startswith(filename[:4])
    assert table["time"].to_numpy() == np.datetime64("2014-01-01T01:00")
    path = line.strip("\"'\n").replace("\\", "/")
    assert table.loc[0, "listed"] in path


@pytest.mark.parametrize(("line", "reason"), [
    (name(3), room.NOT_A_LABEL), (f"{name(3)},", room.NOT_A_LABEL), (",0", room.NOT_A_LABEL),
    (f"{name(3)},Z1.0", room.NOT_A_LABEL), (f"{name(3)},C", room.NOT_A_LABEL), (f"{name(3)},C1.0,3", room.NOT_A_LABEL),
    (f"{name(3)},C1234", room.NOT_A_LABEL), ("filename,class", room.NOT_A_LABEL),
    (f"{name(3)},1", room.NO_FLARE_CLASS), (f"{name(3)},1.0", room.NO_FLARE_CLASS)])
def test_lines_that_are_not_used_are_reported_in_the_same_words(tmp_path, line, reason):
    path = written(tmp_path, f"{name(1)},C1.0\n\n{line}\n{name(2)},0\n")
    for any_name in (False, True):
        table, problems = read_label_file(path, any_name=any_name)
        assert table["filename"].tolist() == [name(1), name(2)]
        assert shown(problems) == [
            ("Labels.txt, line 3", reason, f"expected 'name,0' or 'name,C4.7', got '{line.rstrip(',')}'")]


@pytest.mark.parametrize("other", ["picture.fits", name(1)[5:], name(30), "1158_é.fits"])
def test_names_that_tell_no_region_and_time(tmp_path, other):
    path = written(tmp_path, f"{other},0\n{name(2)},0\n")
    table, problems = read_label_file(path)
    assert table["filename"].tolist() == [name(2)]
    assert shown(problems) == [
        (other, "not a magnetogram's file name", "no region and time in it (Labels.txt, line 1)")]
    assert read_label_file(path, any_name=True)[0]["filename"].tolist() == [other, name(2)]


def test_the_first_of_several_labels_counts(tmp_path):
    lines = [f"{name(2)},C1.0", f"{name(1)},0", f"1158/{name(2, image_format='png')},M1.0", f"{name(2)},0"]
    table, problems = read_label_file(written(tmp_path, "\n".join(lines)))
    assert table["class"].tolist() == ["C1.0", "0"]
    assert shown(problems) == [(name(2)[:-5], "label repeated", f"the first one counts, not {label}")
                               for label in ("M1.0", "0")]


def test_names_alone(tmp_path):
    lines = ["filename,hours", f"1160/{name(3)[5:]}", f"{name(2)},anything/else", f"{name(2)},0", ",C1.0", name(1)]
    table, problems = read_label_file(written(tmp_path, "\n".join(lines)), classes="")
    assert table["filename"].tolist() == [name(3, "1160"), name(2), name(1)]
    assert table["listed"].tolist() == [lines[1], name(2), name(1)]
    assert shown(problems) == [("Labels.txt, line 5", room.NOT_A_LABEL, "expected a file name, got ',C1.0'"),
                               (name(2)[:-5], "label repeated", "the first one counts")]


@pytest.mark.parametrize(("text", "message"), [
    (None, "label_file: expected a file at"), ("", "found an empty file"), ("filename,class\n", "no image in"),
    ("a,b\n", r"\(Labels.txt, line 1: expected 'name,0'"), (b"\x00\xff" * 50, "zero bytes"),
    ("picture.fits,0\n", r"picture.fits: no region and time in it"),
    (f"{name(1)},0\n{name(2)},1\n", "classes 0 and 1 only"), (f"{name(2)},1\n", "classes 0 and 1 only")])
def test_a_file_that_gives_no_labels(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_label_file(tmp_path / "gone.txt" if text is None else written(tmp_path, text))


def test_a_hundred_thousand_lines_are_read_at_once(tmp_path):
    stamps = pd.date_range("2014-01-01", periods=100_000, freq="720s").strftime("%Y%m%d_%H%M%S")
    path = written(tmp_path, "".join(f"1158_hmi.M_720s.{stamp}_TAI.1.magnetogram.fits,0\n" for stamp in stamps))
    start = time.process_time()
    assert len(read_label_file(path)[0]) == 100_000
    assert time.process_time() - start < 3  # half a second on an idle core


def test_lines_of_a_list_as_they_stand_with_bytes_that_are_no_utf8(tmp_path):
    table = read_list(written(tmp_path, b"file;class\r\n\r\n a/b c.fits ;\"1\";\r\nx\r\n1158_\xff.fits,0\n"))
    assert table[["line", "rest"]].to_numpy().tolist() == [[3, "1"], [4, ""], [5, "0"]]
    assert table["path"].tolist()[:2] == ["a/b c.fits", "x"] and table["path"][2].startswith("1158_")
    assert read_list(written(tmp_path, "\n")).empty


def image_list(folder: Path, file: str, *rows: str) -> Path:
    """Write a list of stage 7 with its header; return its path."""
    return written(folder, "filename,class\n" + "".join(f"{row}\n" for row in rows), file)


def test_lists_of_all_splits(tmp_path, run):
    files = {"training": image_list(tmp_path, "a.csv", f"1158/{name(1)},1", f"1158\\{name(2)};0.0", "1158/image.fits,0",
                                    f"11158_{name(3)[5:]},1.0", f"{name(4)},2", f"{name(1, image_format='png')},0"),
             "validation": image_list(tmp_path, "v.csv"),
             "test": written(tmp_path, f'"{name(1, "1160")}","1"\r\n', "t.csv")}
    images = read_image_lists(files, run)
    assert images["split"].tolist() == ["training"] * 3 + ["test"]
    assert images["class"].tolist() == [1, 0, 1, 1] and images["class"].dtype == np.int8
    assert images["image"].tolist() == [name(hour, region)[:-5] for hour, region in ((1, "1158"), (2, "1158"),
                                                                                     (3, "1158"), (1, "1160"))]
    assert shown(run.exclusions) == [
        ("a.csv, line 6", room.NOT_A_LABEL, f"expected 'name,0' or 'name,1', got '{name(4)},2'"),
        ("1158/image.fits", "not a magnetogram's file name", "no region and time in it (a.csv, line 4)"),
        (name(1)[:-5], "label repeated", "the first one counts, not 0")]


@pytest.mark.parametrize(("rows", "message"), [
    ([f"{name(1)},1", f"{name(2)},C1.0"], r"train_file: .*a\.csv, line 3: expected 0 or 1, got the flare class 'C1.0'"),
    ([f"{name(1)},2"], r"train_file: no line of .*expected 'name,0' or 'name,1'"),
    ([], r"no image in .*a\.csv, .*t\.csv; make the")])
def test_a_list_of_another_kind_and_missing_ones_are_errors(tmp_path, run, rows, message):
    with pytest.raises(UserError, match=message):
        read_image_lists({"training": image_list(tmp_path, "a.csv", *rows), "test": image_list(tmp_path, "t.csv")}, run)
    with pytest.raises(UserError, match="train_file: expected a file .*; validation_file: expected a file"):
        read_image_lists({"training": tmp_path / "no.csv", "validation": tmp_path / "none.csv"}, run)


def test_a_region_in_two_lists_is_an_error_that_names_it(tmp_path, run):
    files = {"training": image_list(tmp_path, "a.csv", f"{name(1)},1"),
             "test": image_list(tmp_path, "b.csv", f"{name(2)},0")}
    with pytest.raises(UserError, match=r"region 1158 is in two lists \(.*a.csv, .*b.csv\)"):
        read_image_lists(files, run)


def make(folder: Path, files: list[str], labels: str) -> Path:
    """Write files that hold their names, and a label file."""
    for file in files:
        path = folder / "dataset" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    written(folder, labels)
    return folder


def find(folder: Path, run, image_format: str = "fits") -> tuple[dict[str, str], list[tuple[str, ...]]]:
    """Return the class of each image found, and the exclusions."""
    images = find_labelled_images(folder / "Labels.txt", folder / "dataset", image_format, run)
    assert images["filename"].is_monotonic_increasing and list(images.index) == list(range(len(images)))
    for row in images.itertuples():
        path = folder / "dataset" / row.source
        assert (path.name, path.stat().st_size, path.stat().st_mtime_ns) == (row.filename, row.bytes, row.modified_ns)
    return dict(zip(images["filename"], images["class"], strict=True)), sorted(shown(run.exclusions))


def test_labels_are_matched_without_extension_folder_and_order(tmp_path, run):
    folder = make(tmp_path, ["1000/a.fits", "1000/a-b.FITS", "1001/c.fits", "d.fits", "1000/a.png", "e.fits.gz"],
                  "filename,class\nd.png,0\n1001/c.fits,m1.5\na-b,C1.0\na.fits,X10.0\ne.fits,0\n")
    assert find(folder, run) == (
        {"a-b.FITS": "C1.0", "a.fits": "X10.0", "c.fits": "M1.5", "d.fits": "0", "e.fits.gz": "0"}, [])


def test_images_are_matched_by_region_time_and_camera(tmp_path, run):
    first, second, third, fourth = (f"20110215_00000{second}_TAI.1.magnetogram" for second in range(4))
    files = [f"1158/1158_hmi.M_720s.{first}.fits", f"1158/11158_hmi.m_720s.{second}.fits",
             f"1158/1158_hmi.m_720s.{third}.FITS", f"11158/11158_hmi.M_720s.{first}.fits",
             f"1158/hmi.M_720s.{fourth}_64.fits"]
    labels = [f"11158_hmi.M_720s.{first}.fits,0\n", f"1158/1158_hmi.M_720s.{second}_224.png,C1.0\n",
              f"11158_HMI.M_720S.{third},M1.0\n", f"1158_hmi.M_720s.{fourth}.fits,X1.0\n"]
    found, exclusions = find(make(tmp_path, files, "".join(labels)), run)
    assert found == {Path(files[i]).name: label for i, label in ((3, "0"), (1, "C1.0"), (2, "M1.0"), (4, "X1.0"))}
    assert exclusions == [(files[0], "second file of an image", "the first one is used")]


def test_very_many_names_are_matched_by_blocks(tmp_path, run, monkeypatch):
    for module in ("names", "label_file"):
        monkeypatch.setattr(f"general_code.images.{module}.NAMES_A_BLOCK", 2)
    folder = make(tmp_path, [f"1000/{letter}.fits" for letter in "abcde"], "e,0\nb,C1.0\nx\na,0\nb,0\nd,0\nc,0\n")
    found, exclusions = find(folder, run)
    assert found == {f"{letter}.fits": "C1.0" if letter == "b" else "0" for letter in "abcde"}
    assert [row[1] for row in exclusions] == ["label not understood", "label repeated"]


def test_what_has_no_partner_is_recorded(tmp_path, run):
    folder = make(tmp_path, [f"1000/{letter}.png" for letter in "acegi"],
                  "".join(f"{letter}.png,0\n" for letter in "hgfedcb") + "e,C1.0\nx,Z\n")
    found, exclusions = find(folder, run, "png")
    assert sorted(found) == ["c.png", "e.png", "g.png"]
    assert exclusions == sorted([
        ("a.png", "image without a label", ""), ("i.png", "image without a label", ""),
        *((f"{letter}.png", "label without an image", "") for letter in "bdfh"),
        ("e", "label repeated", "the first one counts, not C1.0"),
        ("Labels.txt, line 9", "label not understood", "expected 'name,0' or 'name,C4.7', got 'x,Z'")])
    assert {problem.subject for problem in run.exclusions} == {"images", "labels"}


@pytest.mark.parametrize(("files", "labels", "message"), [
    (["a.png"], "a,0\n", r"dataset_dir: expected \.fits images in .*there are \.png images; set --image-format png"),
    (["set/1158/a.fits"], "a,0\n", r"found none; NNNN folders are in '.*set'; set --dataset-dir"),
    (["a.fits"], "a\n", "label_file: no line of .*Labels.txt"), (["a.fits"], "b,0\n", "no line names an image of"),
    (["a.fits"], "a,0\nb,1\n", "classes 0 and 1 only")])
def test_nothing_to_work_on_is_an_error(tmp_path, run, files, labels, message):
    with pytest.raises(UserError, match=message):
        find(make(tmp_path, files, labels), run)


def test_files_of_some_images(tmp_path, run):
    dataset = make(tmp_path, ["1000/a.FITS", "b.fits", "1001/c.png"], "") / "dataset"
    table = pd.DataFrame({"image": ["b", "c", "a", "b"], "n": range(4)}, index=[7, 8, 9, 1])
    found = match_images(table, dataset, "fits", run)
    assert found["source"].tolist() == ["b.fits", "", "1000/a.FITS", "b.fits"]
    assert found["bytes"].tolist() == [6, -1, 11, 6] and found["modified_ns"].tolist()[1] == -1
    assert found[["image", "n"]].equals(table)
    with pytest.raises(UserError, match=r"expected \.png images in .*1000', found none"):
        match_images(table, dataset / "1000", "png", run)


@pytest.mark.parametrize(("sidecar", "size", "hours"), [
    ({"settings": {"flare_size": "C1.0", "flare_window_hours": 24.0}}, "C1.0", 24.0),
    ({"settings": {}, "counts": {"flare_size": "M1.0", "flare_window_hours": 12}}, "M1.0", 12.0),
    ({"counts": {"flare_window_hours": 6.0}, "settings": {"flare_window_hours": 24.0, "flare_size": "large"}}, "", 6.0),
    ({"counts": {"flare_window_hours": "not known"}}, "", np.nan), ({}, "", np.nan), (None, "", np.nan)])
def test_size_and_window_of_labels_stand_in_sidecars(tmp_path, sidecar, size, hours):
    labels = tmp_path / "Labels.txt"
    if sidecar is not None:
        written(tmp_path, json.dumps(sidecar), "Labels.txt.json")
    assert label_target(labels)[:2] == (size, pytest.approx(hours, nan_ok=True))
    assert label_counts(labels) == {"flare_size": size, "latency_minutes": 0, "flare_scale": "as_reported"} | (
        {} if np.isnan(hours) else {"flare_window_hours": hours})


@pytest.mark.parametrize(("sidecar", "latency", "scale"), [
    ({"settings": {"latency_minutes": 60.0, "flare_scale": "modern"}}, 60.0, "modern"),
    ({"counts": {"latency_minutes": 0.5, "flare_scale": "modern"}}, 0.5, "modern"),
    ({"settings": {"flare_size": "C1.0"}}, 0.0, "as_reported"), (None, 0.0, "as_reported"),
    ({"settings": {"flare_scale": "old"}}, 0.0, "as_reported"),
    ({"counts": {"latency_minutes": -1}}, 0.0, "as_reported")])
def test_latency_and_scale_of_labels_stand_in_sidecars_and_older_ones_have_none(tmp_path, sidecar, latency, scale):
    if sidecar is not None:
        written(tmp_path, json.dumps(sidecar), "Labels.txt.json")
    target = label_target(tmp_path / "Labels.txt")
    assert target[2:] == (latency, scale)
    assert FlareTarget.of(target.counts()).counts() == target.counts(), "what is noted is read again"


@pytest.mark.parametrize(("target", "text"), [
    (FlareTarget(), "any labelled size"), (FlareTarget("C1.0"), "C1.0 or larger"),
    (FlareTarget("M1.0", 0.5), "M1.0 or larger within 0.5 h"), (FlareTarget("", 24.0), "any labelled size within 24 h"),
    (FlareTarget("C1.0", 24.0, 60.0), "C1.0 or larger within 24 h, from 60 min after the image"),
    (FlareTarget("C1.0", 24.0, scale="modern"), "C1.0 or larger within 24 h, modern scale")])
def test_text_of_a_target(target, text):
    assert target.text() == text


@pytest.mark.parametrize(("file", "known"), [
    ("C1.0_24hr_224_png_Labels.txt", ("C1.0", 24)), ("M1.0_48hr_Labels.txt", ("M1.0", 48)),
    ("Lat60_Lon60_Nans0_C1.0_24hr_png_224_features.csv", ("C1.0", 24, 60, 60)),
    ("lat45_lon70_x1_0.5hr.csv", ("X1", 0.5, 45, 70)), ("Train_Data_by_AR_png_224.csv", ("",)), ("C1.0.txt", ("",))])
def test_size_and_window_are_read_from_published_names_where_no_sidecar_tells(tmp_path, file, known):
    names = ("flare_size", "flare_window_hours", "max_latitude_deg", "max_longitude_deg")
    assert label_counts(tmp_path / file) == dict(zip(names, known, strict=False)) | {
        "latency_minutes": 0, "flare_scale": "as_reported"}
    written(tmp_path, json.dumps({"settings": {"flare_size": "M5.0"}}), f"{file}.json")
    assert label_counts(tmp_path / file)["flare_size"] == "M5.0"


@pytest.mark.parametrize(("labels", "notes"), [
    ("1158_a.png,0\nb_224.PNG,0\n", 2), ("1158_a.fits,0\nb.png,0\n", 0)])
def test_a_list_of_the_other_format_is_noted_in_one_line(tmp_path, run, capsys, labels, notes):
    folder = make(tmp_path, ["1158/1158_a.fits"], labels)
    find(folder, run)
    match_images(read_label_file(folder / "Labels.txt", any_name=True)[0], folder / "dataset", "fits", run)
    assert capsys.readouterr().out.count(f"the list names .png images; those of {folder}/dataset are .fits") == notes
