"""What the flares of activity features were made from, and how a forecast's differ from the training's."""

from pathlib import Path

import numpy as np
import pytest

from classifier_SVM.activity.sources import compare_sources, read_flares
from classifier_SVM.FeaturesetTools import FLARE_SOURCES
from tests.classifier_SVM.activity.test_features import T, event_report

TRAINED = {"events_dir": True, "event_list": True, "event_list_delay_minutes": 60.0, "smallest_flare": "B1.3"}


def write_reports(folder, *rows):
    """Write the event report of 2014 March 10."""
    folder.mkdir()
    (folder / "20140310events.txt").write_text(event_report("10", *rows))
    return folder


@pytest.mark.parametrize("reports, listed, smallest", [
    ([("1000", "1010", "1020", "C3.0", "2001")], "", "C3.0"),
    ([("1000", "1010", "1020", "X1.5", "2001")], "2014 03 09,0005,2001,M1.0\n", "M1.0"),
    ([], "2014 03 10,0300,2001,B4.0\n2014 03 10,0400,2001,C4.0\n", "B4.0"),
    ([], "2014 03 10,0300,2001,A0.9\n2014 03 10,0400,2001,A0.0\n", "A0.9"),
])
def test_the_sources_are_counted(tmp_path, run, reports, listed, smallest):
    events_dir, event_list = tmp_path / "Events", tmp_path / "list.txt"
    if reports:
        write_reports(events_dir, *reports)
    if listed:
        event_list.write_text(listed)
    read_flares(events_dir if reports else Path(""), event_list if listed else Path(""), 45.0, run, np.array([T]))
    assert run.counts[FLARE_SOURCES] == {"events_dir": bool(reports), "event_list": bool(listed),
                                         "event_list_delay_minutes": 45.0, "smallest_flare": smallest,
                                         "flare_scale": "as_reported"}


def test_flares_count_on_the_modern_scale_and_once_where_a_list_does_not_name_the_satellite(tmp_path, run, capsys):
    events_dir = write_reports(tmp_path / "Events", ("1000", "1010", "1020", "B7.0", "2001"),
                               ("1100", "1110", "1120", "C1.0", ""))
    (tmp_path / "list.txt").write_text("2014 03 10,1010,2001,B7.0\n2014 03 09,0300,2001,C2.0\n")
    flares, _ = read_flares(events_dir, tmp_path / "list.txt", 60.0, run, np.array([T]), "modern")
    assert flares.peak_flux.tolist() == [1e-6, 1.4e-6, 2.9e-6]
    counted = run.counts[FLARE_SOURCES]
    assert (counted["flare_scale"], counted["smallest_flare"]) == ("modern", "C1.0")
    assert "flares listed without a satellite by their date" in capsys.readouterr().out


def test_a_reported_flare_that_nobody_can_time_is_excluded(tmp_path, run):
    events_dir = write_reports(tmp_path / "Events", ("1000", "////", "////", "C3.0", "2001"),
                               ("1100", "1110", "////", "C2.0", "2001"), ("1300", "////", "1350", "C2.0", "2001"))
    found, _ = read_flares(events_dir, Path(""), 60.0, run, np.array([T]))
    assert [str(time) for time in found.public] == ["2014-03-10T12:10:00", "2014-03-10T13:50:00"]
    assert ("20140310events.txt, line 3", "flare with neither end nor maximum", "C3.0 begun 2014-03-10T10:00:00",
            "flares") in run.exclusions


@pytest.mark.parametrize("changes, remarks", [
    ({}, []),
    ({"smallest_flare": "B9.9"}, []),
    ({"smallest_flare": "C1.0"}, ["flares from B1.3 on, the smallest here is C1.0: the columns of flares below C1.0"]),
    ({"smallest_flare": ""}, ["the smallest here is none"]),
    ({"event_list": False}, ["trained with an event list, the forecast is made without; set --event-list"]),
    ({"events_dir": False}, ["trained with event reports, the forecast is made without; set --events-dir"]),
    ({"event_list_delay_minutes": 5.0}, ["set --event-list-delay-minutes 60"]),
])
def test_what_differs_from_the_training_is_reported(changes, remarks):
    assert compare_sources({}, TRAINED | changes) == [], "an older model does not tell its sources"
    for text, part in zip(compare_sources(TRAINED, TRAINED | changes), remarks, strict=True):
        assert part in text


@pytest.mark.parametrize("made, covered", [("1002", [True, False]), ("1003", [True, True]), ("0959", [False, False])])
def test_a_report_of_the_images_own_day_has_to_be_made_after_the_image(tmp_path, run, made, covered):
    events_dir = write_reports(tmp_path / "Events")
    for day in ("08", "09", "10"):
        text = event_report(day, ("0900", "0910", "0920", "C3.0", "2001"))
        (events_dir / f"201403{day}events.txt").write_text(f":Created: 2014 Mar 10 {made} UT\n{text}")
    (events_dir / "20140307events.txt").write_text(event_report("07"))
    times = np.array(["2014-03-10T10:00", "2014-03-10T10:03"], dtype="datetime64[s]")
    assert read_flares(events_dir, Path(""), 60.0, run, times)[1].tolist() == covered


def test_images_whose_past_no_source_tells_are_counted(tmp_path, run):
    events_dir = write_reports(tmp_path / "Events", ("1000", "1010", "1020", "C3.0", "2001"))
    for day in ("08", "09"):
        (events_dir / f"201403{day}events.txt").write_text(event_report(day))
    times = np.array(["2014-03-10T23:59:59", "2014-03-10T23:48", "2014-03-11T00:00"], dtype="datetime64[s]")
    counted = []
    for listed in ("", "2014 03 01,0300,2001,B4.0\n2014 03 20,0400,2001,C4.0\n"):
        (tmp_path / "list.txt").write_text(listed)
        _, covered = read_flares(events_dir, tmp_path / "list.txt" if listed else Path(""), 60.0, run, times)
        assert run.counts["images with days without flare reports in their past 81 days"] == 3
        counted.append(covered.tolist())
    # 72 h before 23:48 begin on the 7th; what ends at 00:00 of the 11th is in the report of the 10th
    assert counted == [[True, False, True], [True, True, True]]
