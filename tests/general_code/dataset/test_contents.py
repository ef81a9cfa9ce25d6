"""Which images a data set is made of, by which rule, their labels in the published order, and the summary."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from general_code.dataset.contents import (
    class_counts,
    find_images,
    label_dataset,
    plot_classes,
    plot_positions,
    plot_times,
    report_contents,
    select_images,
    summary_table,
)
from general_code.images.label_file import FlareTarget
from general_code.noaa.flares import EventList
from general_code.stage.files import UserError
from tests.general_code.images.test_names import make_files
from tests.general_code.noaa.test_flares import event_list


def name(clock: str = "060000", camera: int = 1, extension: str = "fits", day: str = "20110213") -> str:
    """Return a file name as the export service gives it."""
    return f"hmi.M_720s.{day}_{clock}_TAI.{camera}.magnetogram.{extension}"


def test_folder_of_regions(tmp_path: Path):
    make_files(tmp_path, f"1158/{name()}", f"1158/1158_{name('061200')}", f"1158/11158_{name('062400')}",
          f"12673/{name(camera=3)}", f"1158/{name(camera=2)}", "1158/notes.txt", f"1158/{name('070000')}.gz",
          f"1158/1159_{name('080000')}", "1158/hmi.m_720s.20110213_060000_TAI.1.magnetogram.fits",
          f"1158/{name(extension='png')}", f"1158/{name(day='20110230')}", f"misc/{name()}", "README",
          "download_ledger.csv", "download_ledger.csv.json", "1158_missing_records.csv", "export_page_timeout.png",
          "1158/.writing-x", "missing_records.csv", f"._{name()}")
    images, problems = find_images(tmp_path, "fits")
    assert images[["region", "camera"]].values.tolist() == [["1158", 1]] * 4 + [["2673", 3]]
    assert images["source"].tolist()[3:] == [f"1158/{name('070000')}.gz", f"12673/{name(camera=3)}"]
    wrong = "not a magnetogram's file name"
    assert {problem.input: problem.reason for problem in problems} == {
        f"1158/{name(camera=2)}": wrong, "1158/notes.txt": wrong, f"1158/{name(extension='png')}": wrong,
        f"1158/{name(day='20110230')}": wrong, "README": wrong, "missing_records.csv": wrong,
        f"1158/1159_{name('080000')}": "folder and file name give different regions",
        "1158/hmi.m_720s.20110213_060000_TAI.1.magnetogram.fits": "second file of an image",
        f"misc/{name()}": "image without a region"}
    details = {problem.input: problem.detail for problem in problems}
    assert "there is no time 20110230" in details[f"1158/{name(day='20110230')}"]
    assert "camera 2" in details[f"1158/{name(camera=2)}"]
    assert details[f"1158/{name(extension='png')}"] == "a .png file, expected .fits"


def test_png_images_are_taken_where_there_are_no_others(tmp_path: Path):
    published = f"1158/1158_{name()[:-5]}_224.png"
    images, problems = find_images(make_files(tmp_path, published), "png")
    assert images[["source", "ending"]].values.tolist() == [[published, "_224.png"]] and not problems
    assert find_images(make_files(tmp_path, f"1158/{name('070000')}"), "png")[0]["ending"].tolist() == [".fits"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_list(tmp_path: Path, end):
    lines = [f"\ufefffilename;class{end}1158/{name('061200')}", "", f"1158\\{name()}", name(), "rubbish",
             f"1158_{name('062400', extension='png')};0", f"1158/{name()}", f'"1158/{name("063600")[:-5]}"']
    (tmp_path / "names.txt").write_bytes(end.join(lines).encode())
    images, problems = find_images(tmp_path / "names.txt", "fits")
    assert images["source"].tolist() == [f"1158\\{name()}", f"1158/{name('061200')}",
                                         f"1158_{name('062400', extension='png')}", f"1158/{name('063600')[:-5]}"]
    assert {problem.input: problem.reason for problem in problems} == {
        name(): "image without a region", "rubbish": "not a magnetogram's file name",
        f"1158/{name()}": "second file of an image"}


@pytest.mark.parametrize(("content", "message"), [
    (b"", "image_dir: no image like"), (b"rubbish\n", "image_dir: no image like"),
    (b"\xff\xfe\x00", "expected a text file")])
def test_nothing_to_use(tmp_path: Path, content, message):
    with pytest.raises(UserError, match="no image like"):
        find_images(tmp_path, "fits")
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        find_images(tmp_path / "names.txt", "fits")


def images_at(*times: str, region: str = "1158") -> pd.DataFrame:
    """Return images of a region, named by their time."""
    frame = pd.DataFrame({"source": times, "time": times, "region": region, "camera": np.int8(1)})
    return frame.astype({"time": "datetime64[s]", "region": "str"})


ROWS = pd.DataFrame({"region": pd.Series(["1158"] * 3, dtype="str"),
                     "date": np.array(["2011-02-12", "2011-02-14", "2011-02-15"], "datetime64[s]"),
                     "latitude": [-20.0, -20.0, -20.0], "longitude": [-59.0, -33.0, 60.0],
                     "carrington_longitude": [3.0, 3.0, 83.0]})


@pytest.mark.parametrize(("latitude", "longitude", "kept"), [
    (60, 60, False), (59.9, -59.9, True), (0, 0, True), (60.1, 0, False), (-60, 0, False), (0, 60, False),
    (0, -60, False), (0, 75, False)])
def test_limits_themselves_are_out(run, latitude, longitude, kept):
    rows = ROWS[1:2].assign(latitude=float(latitude), longitude=float(longitude))
    assert len(select_images(images_at("2011-02-14T06:00"), rows, 60.0, 60.0, False, run)) == kept
    assert [problem.reason for problem in run.exclusions] == ([] if kept else ["outside the limits"])


def test_hole_is_interpolated_and_outside_the_passage_there_is_no_position(run):
    times = ("2011-02-11T23:48", "2011-02-12T00:00", "2011-02-13T12:00", "2011-02-14T12:00", "2011-02-15T12:00",
             "2011-02-16T00:00")
    kept = select_images(images_at(*times), ROWS, 60.0, 60.0, False, run)
    assert kept["source"].tolist() == list(times[1:4])
    assert kept["has_row"].tolist() == [True, False, True]
    assert kept["longitude"][1] == pytest.approx(-46.1, abs=0.1)
    assert [problem[:2] for problem in run.exclusions] == [
        (times[0], "no position"), (times[5], "no position"), (times[4], "outside the limits")]
    assert run.counts == {"images_without_position": 2, "images_outside_by_interpolated_position": 0}


@pytest.mark.parametrize(("times", "kept", "excluded"), [
    (["11T23:48", "13T12:00", "14T00:00", "15T12:00", "16T00:00"], 3,
     [("16T00:00", "last image of a region, at 00:00:00"), ("15T12:00", "outside the limits")]),
    (["13T12:00", "14T00:12"], 2, []), (["13T12:00", "13T23:48"], 2, [])])
def test_as_published_keeps_days_without_a_row_and_drops_a_last_midnight(run, times, kept, excluded):
    times = [f"2011-02-{time}" for time in times]
    assert select_images(images_at(*times), ROWS, 60.0, 60.0, True, run)["source"].tolist() == times[:kept]
    assert [problem[:2] for problem in run.exclusions] == [(f"2011-02-{time}", reason) for time, reason in excluded]


def test_as_published_the_interpolated_position_of_a_hole_does_not_bind_and_each_region_has_its_last(run):
    rows = ROWS.assign(longitude=[-80.0, -70.0, 0.0], carrington_longitude=[342.0, 326.0, 23.0])
    images = images_at("2011-02-13T12:00")
    assert len(select_images(images, rows, 60.0, 60.0, True, run)) == 1
    assert len(select_images(images, rows, 60.0, 60.0, False, run)) == 0
    assert run.counts == {"images_without_position": 0, "images_outside_by_interpolated_position": 1}
    images = pd.concat([images_at("2011-02-14T00:00"),
                        images_at("2011-02-14T00:00", "2011-02-14T00:12", region="1159")], ignore_index=True)
    assert select_images(images, ROWS, 60.0, 60.0, True, run)["region"].tolist() == ["1159", "1159"]


def images_of(*rows: tuple[str, str]) -> pd.DataFrame:
    """Return images of (region, time), named by their place."""
    frame = pd.DataFrame(rows, columns=["region", "time"]).astype({"region": "str", "time": "datetime64[s]"})
    return frame.assign(name=[f"image{i}" for i in range(len(rows))], camera=np.int8(1))


def labels(run, images: pd.DataFrame, events: EventList, window: float = 24.0) -> list[tuple[str, str]]:
    """Return names and labels in the order of the label file."""
    labelled = label_dataset(images, events, FlareTarget("C1.0", window), False, run)
    return list(zip(labelled["name"], labelled["flare_class"], strict=True))


def test_order_is_by_the_earliest_listed_flare_not_by_the_largest(run):
    events = event_list(("2011-01-02T10:00", "0002", "C1.0"), ("2011-01-01T10:00", "0001", "C1.5"),
                        ("2011-01-02T12:00", "0002", "X1.0"), ("2011-01-02T11:00", "0001", "M2.0"))
    frame = images_of(("0001", "2011-01-01T09:00"), ("0001", "2011-01-01T12:00"), ("0002", "2011-01-02T11:00"),
                      ("0002", "2011-01-02T09:00"), ("0001", "2011-01-03"), ("0000", "2011-01-01"))
    assert labels(run, frame, events) == [("image3", "X1.0"), ("image0", "C1.5"), ("image2", "X1.0"),
                                          ("image1", "M2.0"), ("image5", "0"), ("image4", "0")]


@pytest.mark.parametrize(("first", "scale", "warned"), [
    ("2019-12-01", "as_reported", True), ("2019-12-09", "as_reported", False), ("2019-12-01", "modern", False)])
def test_images_on_both_sides_of_a_change_of_scale_are_warned_of(run, capsys, first, scale, warned):
    images = images_of(("2753", first), ("2758", "2020-03-08"))
    label_dataset(images, event_list(("2020-03-08T10:00", "2758", "C1.0")), FlareTarget("C1.0", 24.0, 0.0, scale),
                  False, run)
    assert ("until which reported classes were 0.7 of today's: C1.0 means two" in capsys.readouterr().out) == warned


@pytest.mark.parametrize(("reported", "window", "lacking"), [
    (None, 24, 2),  # flares from the 2nd to the 3rd: the 1st is unknown, and so is what follows the 3rd
    (["01", "02", "03", "04"], 24, 0), (["01", "03", "04"], 24, 1), (["01", "02", "03"], 24, 1), (["02"], 24, 2),
    (["01", "02", "03"], 12, 0), (["01", "02", "03", "04"], 72, 1), (["01", "02", "03", "04"], 1e30, 3)])
def test_images_with_a_day_without_a_report_in_their_window_are_warned_of(run, capsys, reported, window, lacking):
    events = event_list(("2011-01-02", "0001", "M1.0"), ("2011-01-03", "0001", "M1.0"))
    if reported:
        events = replace(events, reported=np.array([f"2011-01-{day}" for day in reported], "datetime64[D]"))
    labels(run, images_of(("0001", "2011-01-01"), ("0001", "2011-01-02"), ("0001", "2011-01-03T12:00")), events, window)
    assert run.counts["images_with_unreported_days"] == lacking
    assert (f"Warning: {lacking} images have a day without a report" in capsys.readouterr().out) == (lacking > 0)


LABELS = np.array(["0", "0", "C1.0", "M9.9", "X10.0", "C2.0"])
REGIONS = np.array(["0001", "0002", "0001", "0001", "0003", "0001"])
TIMES = np.array(["2011-01-05", "2011-01-06", "2011-01-31", "2011-02-01", "2011-04-01", "2011-04-02"], "datetime64[s]")


def test_counts_by_letter_and_their_table():
    counts = class_counts(LABELS, REGIONS, "C1.0")
    lines = summary_table(counts, 3).splitlines()
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "none >= C1.0 2 33.33% 2", "C 2 33.33% 1", "M 1 16.67% 1", "X 1 16.67% 1", "all 6 100% 3"]
    assert len({len(line) for line in lines}) == 1
    quiet = class_counts(np.array(["0"]), np.array(["0001"]), "C1.0")
    assert quiet["images"].to_dict() == {"0": 1, "C": 0, "M": 0, "X": 0}
    assert list(class_counts(np.array(["B1.0"]), np.array(["0001"]), "B1.0").index) == ["0", "B", "C", "M", "X"]
    larger = class_counts(np.array(["0", "0"]), np.array(["0001", "0002"]), "M1.0")
    assert larger["name"].tolist() == ["none >= M1.0", "M", "X"], "no row for a class that does not count"


def test_figures_show_months_positions_and_classes():
    counts = class_counts(LABELS, REGIONS, "C1.0")
    months = plot_times(Figure().subplots(), TIMES, LABELS, counts["name"])
    assert np.max([patch.get_data().values for patch in months.patches], axis=0).tolist() == [3, 1, 0, 2]
    days = plot_times(Figure().subplots(), np.datetime64("2030-01-30T12:00") + np.arange(4) * np.timedelta64(12, "h"),
                      np.array(["0", "C1.0", "0", "0"]), counts["name"])
    assert np.max([patch.get_data().values for patch in days.patches], axis=0).tolist() == [1, 2, 1]
    assert "per day" in days.get_title() and "per month" in months.get_title()
    classes = plot_classes(Figure().subplots(), counts)
    assert [bar.get_height() for bar in classes.patches] == [2, 2, 1, 1]
    disk = plot_positions(Figure().subplots(), np.array([0.0, np.nan, 30.0]), np.array([0.0, np.nan, -30.0]))
    density = disk.images[0].get_array()
    assert density.sum() == 2 and "2 images" in disk.get_title()
    rows, columns = np.nonzero(density.filled(0))
    assert columns.min() < 25 <= columns.max()  # east is left
    assert rows.max() > 34  # north is up


@pytest.mark.parametrize(("n", "longitude"), [(1, 0.0), (6, 50.0), (6, np.nan)])
def test_the_contents_are_reported_and_drawn_with_the_same_bytes_each_time(tmp_path: Path, run, n, longitude):
    labelled = pd.DataFrame({"region": REGIONS[:n], "time": TIMES[:n], "latitude": longitude * 0,
                             "longitude": np.full(n, longitude), "flare_class": LABELS[:n]})
    for figure in ("a.png", "b.png"):
        closing = report_contents(labelled, FlareTarget("C1.0", 24.0), tmp_path / figure, run)
    assert closing == ("1 image, 0.0%" if n == 1 else "6 images, 66.7%") + " with a flare >= C1.0 within 24 h"
    assert run.counts["images"] == n and run.counts["images_none"] == min(n, 2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 1000
