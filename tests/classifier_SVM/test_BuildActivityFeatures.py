"""The script: its defaults, other inputs, mistakes, and the table."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classifier_SVM import BuildActivityFeatures as build
from classifier_SVM.activity.features import activity_names, rounded
from classifier_SVM.FeaturesetTools import FLARE_SOURCES, read_extra_features
from general_code.images.names import dataset_name
from general_code.stage.files import UserError
from tests.classifier_SVM.activity.test_features import HOUR, T, event_report, summary_text


@pytest.fixture
def place(tmp_path):
    """A folder with a label file, reports of two days, a summary and an event list."""
    data = tmp_path / "data"
    (data / "SRS" / "2014_SRS").mkdir(parents=True)
    (data / "Events").mkdir()
    times = [T - 12 * HOUR, T, T + HOUR]
    names = [dataset_name(region, t, 1, "fits") for region in ("2002", "2001") for t in times]
    (data / "Labels.txt").write_text("".join(f"{name},0\n" for name in names) + "picture.fits,0\n")
    (data / "SRS" / "2014_SRS" / "20140310SRS.txt").write_text(
        summary_text("2001 N10E14   100  0200 Fkc  12   30 Beta-Gamma-Delta"))
    for day, *rows in (("06",), ("07",), ("08",), ("09", ("2350", "0005", "0020", "M1.0", "2001")),
                       ("10", ("1000", "1010", "1201", "C3.0", ""))):
        (data / "Events" / f"201403{day}events.txt").write_text(event_report(day, *rows))
    (data / "eventList.txt").write_text(
        "2014 03 05,0000,2099,C1.0\n2014 03 09,0005,2001,M1.0\n2014 03 10,0300,2001,B4.0\n")
    return tmp_path


def run(place):
    return subprocess.run([sys.executable, build.__file__], cwd=place, capture_output=True, text=True)


def rows_of(path):
    return pd.read_csv(path, dtype="str").set_index("filename", drop=False).to_dict("index")


def test_the_script_with_its_defaults(place):
    result = run(place)
    assert result.returncode == 0, result.stderr
    output = place / "results" / "activity_features.csv"
    rows = rows_of(output)
    assert list(rows) == sorted(rows) and len(rows) == 6
    assert list(next(iter(rows.values()))) == ["filename", *activity_names()]
    noon = rows[dataset_name("2001", T, 1, "fits")]
    assert float(noon["log_hours_since_M"]) == pytest.approx(np.log(12 - 20 / 60), abs=1e-5), "known at its end"
    assert float(noon["log_flares_M_24h"]) == pytest.approx(np.log(2), abs=1e-5), "the list's is the same flare"
    assert noon["had_B"] == "1", "the list adds what the reports leave out"
    assert noon["log_elsewhere_flares_C_24h"] == "0"
    assert rows[dataset_name("2001", T + HOUR, 1, "fits")]["log_elsewhere_flares_C_24h"] != "0"
    read = read_extra_features(output)
    assert read.shape[1] == len(activity_names()) and np.isfinite(read.to_numpy()).all()
    assert "picture.fits,not a magnetogram's file name" in Path(f"{output}.excluded.csv").read_text()
    counts = json.loads(Path(f"{output}.json").read_text())["counts"]
    assert counts["images"] == 6
    assert counts[FLARE_SOURCES] == {"events_dir": True, "event_list": True, "event_list_delay_minutes": 60.0,
                                     "smallest_flare": "B4.0", "flare_scale": "as_reported"}
    first = output.read_bytes()
    run(place)
    assert output.read_bytes() == first


def test_the_event_list_alone_and_a_list_of_names(place, monkeypatch):
    monkeypatch.chdir(place)
    names = place / "names.txt"
    names.write_text("2001/hmi.m_720s.20140310_120000_TAI.1.magnetogram.fits\n" * 2)
    build.main(build.UserDefinitions(events_dir=Path(""), label_file=names, event_list_delay_minutes=540.0))
    rows = rows_of(place / "results" / "activity_features.csv")
    assert list(rows) == ["2001_hmi.m_720s.20140310_120000_TAI.1.magnetogram.fits"], "as the list spells it"
    row = next(iter(rows.values()))
    assert row["had_B"] == "1" and float(row["log_hours_since_B"]) == 0, "03:00 and 540 minutes: just now"
    assert "label repeated" in (place / "results" / "activity_features.csv.excluded.csv").read_text()


def test_images_whose_past_is_not_covered_are_named(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (place / "data" / "Events" / "20140308events.txt").unlink()
    late = dataset_name("2001", T + 50 * HOUR, 1, "fits")
    with (place / "data" / "Labels.txt").open("a") as file:
        file.write(f"{late},0\n")
    build.main(build.UserDefinitions())
    said = capsys.readouterr().out
    for missing in ("flare reports of all the past 72 h", "a region summary of the past 48 h"):
        assert f"ATTENTION: 1 image without {missing}, whose rows count what is missing as quiet (named in" in said
        assert f"without {missing}: {late}" in (place / "results" / "activity_features.csv.log").read_text()
    assert late in rows_of(place / "results" / "activity_features.csv")
    build.main(build.UserDefinitions(event_list=Path("")))  # all within the first 72 h after a gap
    assert "ATTENTION: 7 images without flare reports of all the past 72 h" in capsys.readouterr().out
    (place / "data" / "Labels.txt").write_text(f"{late.replace('20140312', '20150312')},0\n")
    with pytest.raises(SystemExit, match="found none that cover them; get the reports of these days"):
        build.main(build.UserDefinitions())


@pytest.mark.parametrize("settings, message", [
    ({"events_dir": Path(""), "event_list": Path("")}, "found neither"),
    ({"label_file": Path("data/eventList.txt")}, "no line of"),
    ({"label_file": Path("nothing.txt")}, "found nothing"),
    ({"srs_dir": Path("data/Events")}, "no region summaries; srs_dir and events_dir seem to be swapped"),
    ({"event_list_delay_minutes": -1.0}, "expected a number from 0"),
    ({"events_dir": Path("Evnts")}, "events_dir: expected a folder at 'Evnts'"),
    ({"event_list": Path("list.txt")}, "event_list: expected a file at 'list.txt'"),
    ({"extra_feature_file": Path("data/Labels.txt")}, "is an input"),
])
def test_mistakes_end_in_one_line(place, monkeypatch, settings, message):
    monkeypatch.chdir(place)
    with pytest.raises((SystemExit, UserError), match=message) as end:
        build.main(build.UserDefinitions(**settings))
    assert "\n" not in str(end.value)
    assert not (place / "results" / "activity_features.csv").exists()


def test_a_forecast_computes_what_the_training_read(tmp_path):
    values = np.float32(10.0 ** np.random.default_rng(0).uniform(-4, 2.4, 1000))
    names = pd.Series([f"{i}.fits" for i in range(1000)])
    build.write_activity_table(tmp_path / "a.csv", names, pd.DataFrame({"x": values}))
    assert np.array_equal(read_extra_features(tmp_path / "a.csv")["x"], rounded(values))
