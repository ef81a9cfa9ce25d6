"""The order of the label file, its bytes, and what is said about midnight and coverage."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from general_code.dataset_labels import label_and_write, label_order
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
    regions, classes = (np.array([row[i] for row in rows], "U5") for i in (2, 3))
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
                               "as_published": False} | changes))


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


def test_images_outside_the_period_of_the_list_are_warned_of(tmp_path: Path):
    events = event_list(("2011-01-03", "2011-01-03", "0001", "M1.0"))
    run = Run()
    label_and_write(images(("0001", "2011-01-02"), ("0001", "2011-01-03")), events, settings(tmp_path), run)
    assert run.counts["images_outside_event_list"] == 1
    assert any(line.startswith("Warning: 1 images lie outside") for line in run.lines)
