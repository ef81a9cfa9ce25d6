"""The order of the label file, its bytes, and what is said about midnight and coverage."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from general_code.dataset_labels import label_and_write, label_order, summary_figure_name
from general_code.flares import EventList, ImageLabels, peak_fluxes


class Run:
    """Keeps what is said and counted."""

    def __init__(self):
        self.lines, self.counts = [], {}

    def say(self, text):
        self.lines.append(text)

    def count(self, name, number):
        self.counts[name] = number


def event_list(*rows: tuple[str, str, str, str]) -> EventList:
    """Return an event list of (time, listed time, region, class)."""
    times, listed = (np.array([row[i] for row in rows], "datetime64[s]") for i in (0, 1))
    regions, classes = (np.array([row[i] for row in rows], str) for i in (2, 3))
    return EventList(times, regions, classes, peak_fluxes(classes), listed)


def images(*rows: tuple[str, str]) -> pd.DataFrame:
    """Return images of (region, time), named by their place."""
    return pd.DataFrame({"name": [f"image{i}" for i in range(len(rows))],
                         "region": pd.Series([row[0] for row in rows], dtype="str"),
                         "time": np.array([row[1] for row in rows], "datetime64[s]"),
                         "camera": np.ones(len(rows), np.int8)})


def settings(tmp_path: Path, **changes) -> SimpleNamespace:
    """Return the settings that labelling looks at."""
    return SimpleNamespace(**({"label_file": tmp_path / "Labels.txt", "flare_size": "C1.0", "flare_window_hours": 24.0,
                               "as_published": False, "transfer": "hardlink", "image_dir": tmp_path,
                               "dataset_dir": tmp_path / "dataset"} | changes))


def test_flaring_images_by_place_of_their_flare_then_time_then_the_rest_by_region_and_time():
    frame = images(("0002", "2011-01-02"), ("0002", "2011-01-01"), ("0001", "2011-01-02"), ("0001", "2011-01-01"),
                   ("0003", "2011-01-02"), ("0003", "2011-01-01"))
    labels = ImageLabels(np.array([5, 5, -1, -1, 3, 4]), np.array([5, 2, -1, -1, 3, 3]))
    assert label_order(frame, labels).tolist() == [1, 5, 4, 0, 3, 2]


def test_order_is_by_the_earliest_listed_flare_not_by_the_largest(tmp_path: Path):
    events = event_list(("2011-01-02T10:00", "2011-01-02T10:00", "0002", "C1.0"),
                        ("2011-01-01T10:00", "2011-01-01T10:00", "0001", "C1.5"),
                        ("2011-01-02T12:00", "2011-01-02T12:00", "0002", "X1.0"),
                        ("2011-01-02T11:00", "2011-01-02T11:00", "0001", "M2.0"))
    frame = images(("0001", "2011-01-01T09:00"), ("0001", "2011-01-01T12:00"), ("0002", "2011-01-02T11:00"),
                   ("0002", "2011-01-02T09:00"), ("0001", "2011-01-03"), ("0000", "2011-01-01"))
    label_and_write(frame, events, settings(tmp_path), Run())
    assert (tmp_path / "Labels.txt").read_text().splitlines() == [
        "image3,X1.0", "image0,C1.5", "image2,X1.0", "image1,M2.0", "image5,0", "image4,0"]


def test_midnight_rule_is_counted(tmp_path: Path):
    events = event_list(("2011-01-03T00:23", "2011-01-02T00:23", "0001", "M1.0"),
                        ("2011-01-05T12:00", "2011-01-05T12:00", "0001", "C1.0"))
    frame = images(("0001", "2011-01-01T12:00"), ("0001", "2011-01-02T12:00"), ("0001", "2011-01-05T11:00"))
    run = Run()
    labelled = label_and_write(frame, events, settings(tmp_path), run)
    assert labelled["flare_class"].tolist() == ["M1.0", "C1.0", "0"]
    assert run.counts["labels_changed_by_midnight_rule"] == 2  # one gained, one lost
    assert run.counts["flares_after_midnight"] == 1


@pytest.mark.parametrize(("reported", "window", "lacking"), [
    (None, 24, 2),  # flares from the 2nd to the 3rd: the 1st is unknown, and so is what follows the 3rd
    (["01", "02", "03", "04"], 24, 0), (["01", "03", "04"], 24, 1), (["01", "02", "03"], 24, 1), (["02"], 24, 2),
    (["01", "02", "03"], 12, 0), (["01", "02", "03", "04"], 72, 1),
])
def test_images_with_a_day_without_a_report_in_their_window_are_warned_of(tmp_path: Path, reported, window, lacking):
    events = event_list(("2011-01-02", "2011-01-02", "0001", "M1.0"), ("2011-01-03", "2011-01-03", "0001", "M1.0"))
    if reported:
        events = replace(events, reported=np.array([f"2011-01-{day}" for day in reported], "datetime64[D]"))
    run = Run()
    frame = images(("0001", "2011-01-01"), ("0001", "2011-01-02"), ("0001", "2011-01-03T12:00"))
    label_and_write(frame, events, settings(tmp_path, flare_window_hours=window), run)
    assert run.counts["images_with_unreported_days"] == lacking
    assert any(line.startswith(f"Warning: {lacking} images have a day without a report") for line in run.lines) == (
        lacking > 0)


def test_windows_longer_than_any_record_and_classes_of_any_length(tmp_path: Path):
    events = event_list(("2011-01-03", "2011-01-03", "0001", "X13.37"), ("2011-01-03", "2011-01-03", "0002", "C1.0"))
    labelled = label_and_write(images(("0001", "2011-01-02"), ("0003", "2011-01-02")), events,
                               settings(tmp_path, flare_window_hours=1e30), Run())
    assert labelled["flare_class"].tolist() == ["X13.37", "0"]
    assert (tmp_path / "Labels.txt").read_text() == "image0,X13.37\nimage1,0\n"


@pytest.mark.parametrize(("name", "figure"), [("Labels.txt", "dataset_summary.png"),
                                              ("Labels_M48.txt", "dataset_summary_Labels_M48.png")])
def test_each_label_file_has_its_figure(name, figure):
    assert summary_figure_name(Path("data") / name) == figure
