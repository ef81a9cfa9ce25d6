"""Activity features: values by hand, and that nothing enters before it was public."""

import csv
import json
import subprocess
import sys
import tarfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from activity_lab import EVENT_ROW, HOUR, MINUTE, THREE_DAYS, T, features, flares, reported, summary, table_of

from classifier_SVM import BuildActivityFeatures as build
from classifier_SVM.activity_features import (
    activity_features,
    activity_names,
    flares_of_list,
    flares_of_reports,
    rounded,
)
from classifier_SVM.activity_sources import FLARE_SOURCES
from classifier_SVM.extra_features import read_extra_features
from classifier_SVM.flare_history import LONGEST_H, NO_FLUX, WINDOWS_H
from general_code.flares import read_event_list
from general_code.image_names import dataset_name
from general_code.noaa_archive import read_event_archive, read_summary_archive

SCRIPT = Path(build.__file__)

# ---------------------------------------------------------------------------- flare history


def test_flare_history_by_hand():
    found = features(flares((5, 2001, 2e-6), (5.5, 2002, 9e-4), (11, 2001, 1e-5), (30, 2001, 5e-7), (71.9, 2001, 3e-6),
                            (100, 2001, 2e-4)))
    numbers = {"6h": 1, "12h": 2, "24h": 2, "48h": 2, "72h": 3, "since_appearance": 4}
    fluxes = {"6h": 2e-6, "12h": 1.2e-5, "24h": 1.2e-5, "48h": 1.2e-5, "72h": 1.5e-5, "since_appearance": 2.15e-4}
    for window, number in numbers.items():
        assert found[f"log_flares_C_{window}"] == pytest.approx(np.log1p(number))
        assert found[f"log_flux_{window}"] == pytest.approx(np.log10(fluxes[window] + NO_FLUX))
    assert found["log_flares_M_6h"] == 0 and found["log_flares_M_12h"] == pytest.approx(np.log(2))
    assert found["log_flares_M_since_appearance"] == pytest.approx(np.log(3))
    assert found["log_flares_B_24h"] == 0 and found["log_flares_B_48h"] == pytest.approx(np.log(2))
    for name, hours in (("C", 5), ("M", 11), ("B", 30)):
        assert found[f"had_{name}"] == 1 and found[f"log_hours_since_{name}"] == pytest.approx(np.log(hours))
    assert found["log_largest_flux"] == pytest.approx(np.log10(2e-4 + NO_FLUX))


@pytest.mark.parametrize("tau", WINDOWS_H)
def test_decayed_sums_by_hand(tau):
    found = features(flares((5, 2001, 2e-6), (11, 2001, 1e-5), (3, 2002, 1e-3), (100, 2001, 2e-4)))
    weights = np.exp(-np.array([5, 11, 100]) / tau)
    assert found[f"log_decayed_flares_{tau}h"] == pytest.approx(np.log1p(weights.sum()), rel=1e-6)
    flux = weights @ [2e-6, 1e-5, 2e-4]
    assert found[f"log_decayed_flux_{tau}h"] == pytest.approx(np.log10(flux + NO_FLUX), rel=1e-6)


def test_what_never_happened_has_the_stated_values():
    found = features()
    for name in "CMB":
        assert found[f"had_{name}"] == 0 and found[f"log_hours_since_{name}"] == pytest.approx(np.log(LONGEST_H))
    assert found["log_flux_24h"] == found["log_largest_flux"] == found["log_decayed_flux_6h"] == np.log10(NO_FLUX)
    assert features(flares((500, 2001, 2e-6)))["log_hours_since_C"] == pytest.approx(np.log(LONGEST_H))
    assert features(flares((500, 2001, 2e-6)))["had_C"] == 1


def test_flares_elsewhere_include_those_of_no_region_and_not_ones_own():
    found = features(flares((5, 2001, 2e-6), (5, 2002, 4e-6), (6, -1, 2e-5), (30, 7, 1e-6), (200, 7, 1e-5),
                            (2, -1, 2e-7)))
    assert found["log_elsewhere_flares_C_24h"] == pytest.approx(np.log(3))
    assert found["log_elsewhere_flares_M_24h"] == pytest.approx(np.log(2))
    assert found["log_elsewhere_flux_24h"] == pytest.approx(np.log10(2.4e-5 + NO_FLUX))
    assert found["log_elsewhere_flares_C_72h"] == pytest.approx(np.log(4))
    assert found["log_sun_flares_C_7d"] == pytest.approx(np.log(5))
    assert found["log_sun_flares_C_27d"] == pytest.approx(np.log(6))
    assert found["log_sun_flares_B_1d"] == pytest.approx(np.log(2))


# ---------------------------------------------------------------------------- only what was public


@pytest.mark.parametrize("region, column", [
    ("2001", "had_C"), ("2001", "log_flares_C_6h"), ("2001", "log_largest_flux"),
    ("2002", "log_elsewhere_flares_C_24h"), ("", "log_elsewhere_flux_24h"),
])
def test_a_reported_flare_counts_from_its_end(region, column):
    quiet = features()
    for end, known in (("1159", True), ("1200", True), ("1201", False)):
        found = features(reported(end, region)[0])
        assert (found[column] != quiet[column]) == known, f"end {end}, image 12:00"
        assert known or found.equals(quiet), "nothing of it shows before its end"


def test_the_end_after_midnight_is_on_the_next_day():
    late, _ = reported("0010", begin="2350", peak="2358", day=date(2014, 3, 9))
    assert features(late, np.datetime64("2014-03-10T00:09", "s"))["had_C"] == 0
    assert features(late, np.datetime64("2014-03-10T00:10", "s"))["had_C"] == 1


@pytest.mark.parametrize("peak, known", [("1129", True), ("1130", True), ("1131", False)])
def test_a_flare_without_an_end_counts_from_the_delay_after_its_maximum(peak, known):
    endless, problems = reported("////", begin="1100", peak=peak, delay_minutes=30)
    assert features(endless)["had_C"] == known and not problems


def test_a_flare_with_neither_end_nor_maximum_is_listed():
    nothing, problems = reported("////", peak="////")
    assert not len(nothing.public)
    assert [problem.reason for problem in problems] == ["flare with neither end nor maximum"]
    assert problems[0].input == "20140310events.txt, line 2"
    assert len(reported("1150", peak="////")[0].public) == 1, "its end is enough"


@pytest.fixture
def image_at_issue():
    """Summaries of a region that was first listed on the image's day, and moments around that one's issue."""
    summaries = table_of(*THREE_DAYS[:2], summary(date(2014, 3, 10), "2003 N10E14   100  0200 Fkc  12   30 Beta"))
    issue = np.datetime64("2014-03-10T00:30", "s")
    return summaries, issue - MINUTE, issue


@pytest.mark.parametrize("source", ["report", "list"])
def test_a_flare_is_its_regions_own_from_the_regions_first_summary_on(tmp_path, image_at_issue, source):
    summaries, before, after = image_at_issue
    if source == "report":
        known, _ = reported("2200", "2003", "M2.0", begin="2100", peak="2130", day=date(2014, 3, 9))
    else:
        known = flares_of_list(event_list(tmp_path, "2014 03 09,2130,2003,M2.0\n"), delay_minutes=30)
    unknown = features(known, before, "2003", summaries)
    assert unknown["has_summary"] == unknown["had_M"] == unknown["log_flares_C_since_appearance"] == 0
    assert unknown["log_largest_flux"] == unknown["log_decayed_flux_72h"] == np.log10(NO_FLUX)
    assert unknown["log_elsewhere_flares_M_24h"] == pytest.approx(np.log(2)), "it is one of no known region"
    numbered = features(known, after, "2003", summaries)
    assert numbered["has_summary"] == numbered["had_M"] == 1 and numbered["log_elsewhere_flares_M_24h"] == 0
    assert numbered["log_hours_since_M"] == pytest.approx(np.log(2.5)), "its age is that since it was known itself"
    assert unknown["log_sun_flares_M_7d"] == numbered["log_sun_flares_M_7d"] == pytest.approx(np.log(2))


def test_a_later_first_summary_hides_the_flare_a_minute_longer(image_at_issue):
    (table, days), _, issue = image_at_issue
    known = flares((20, 2003, 2e-5))
    for late, own in ((0 * MINUTE, 1), (MINUTE, 0)):
        issued = table["date"].to_numpy("datetime64[s]") + 30 * MINUTE + late
        assert features(known, issue, "2003", (table.assign(issued=issued), days))["had_M"] == own


def test_the_flares_of_a_region_that_is_in_no_summary_are_never_its_own():
    found = features(flares((5, 2009, 2e-6), (50, 2009, 2e-5)), region="2009")
    assert found["had_C"] == found["had_M"] == 0
    assert found["log_elsewhere_flares_C_72h"] == pytest.approx(np.log(3))


def event_list(tmp_path, text):
    (tmp_path / "events.txt").write_text(text)
    return read_event_list(tmp_path / "events.txt")


@pytest.mark.parametrize("peak, known", [("1129", True), ("1130", True), ("1131", False)])
def test_a_listed_flare_counts_from_the_delay_after_its_maximum(tmp_path, peak, known):
    listed = flares_of_list(event_list(tmp_path, f"2014 03 10,{peak},2001,C2.0\n"), delay_minutes=30)
    assert features(listed).equals(features()) != known


@pytest.fixture(scope="module")
def archive():
    """Many flares and summaries of some regions, drawn at random."""
    draw = np.random.default_rng(3)
    days = [date(2014, 3, n) for n in range(1, 29)]


    def row(region):
        letters = "".join(draw.choice(list(part)) for part in ("ABCDEFH", "xrsahk", "xoic"))
        latitude, longitude, area, extent, spots = draw.integers(1, 60, 5)
        return f"{region} N{latitude:02}W{longitude:02}   100  {area * 10:04} {letters}  {extent:02}   {spots:02} Beta"

    regions = (2001, 2002, 2003)
    summaries = [summary(day, *(row(region) for region in regions if draw.random() < 0.8)) for day in days]
    rows = zip(draw.uniform(-400, 400, 600), draw.choice([-1, *regions], 600), 10 ** draw.uniform(-7, -4, 600),
               strict=True)
    return flares(*rows), table_of(*summaries)


def test_the_future_changes_nothing(archive):
    known, (table, days) = archive
    for hours in range(-150, 150, 17):
        time = T + hours * HOUR
        past = known.select(known.public <= time)
        issued = [day for day in days if np.datetime64(day, "s") + 30 * MINUTE <= time]
        before = table[table["date"].to_numpy() + 30 * MINUTE <= time]
        for region in ("2001", "2003"):
            everything = features(known, time, region, (table, days))
            # running sums round differently, by far less than the numbers show
            assert features(past, time, region, (before, issued)).to_numpy() == pytest.approx(everything, abs=1e-5)


def test_rows_do_not_depend_on_their_company(archive):
    known, summaries = archive
    draw = np.random.default_rng(1)
    times = T + draw.integers(-200, 200, 200) * HOUR
    regions = draw.choice(["2001", "2002", "2003", "2004"], 200)
    together = activity_features(regions, times, known, *summaries)
    assert tuple(together) == activity_names() and np.isfinite(together.to_numpy()).all()
    assert together.to_numpy().dtype == np.float32
    for i in (0, 17, 199):
        assert features(known, times[i], regions[i], summaries).equals(together.iloc[i].rename(0))


# ---------------------------------------------------------------------------- the script


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
        "I.  Regions with Sunspots.  Locations Valid at 09/2400Z\nNmbr Location  Lo  Area  Z   LL   NN Mag Type\n"
        "2001 N10E14   100  0200 Fkc  12   30 Beta-Gamma-Delta\nIA. H-alpha Plages\nNone\nII. Regions Due\nNone\n")
    for day, row in (("09", ("2350", "0005", "0020", "M1.0", "2001")), ("10", ("1000", "1010", "1201", "C3.0", ""))):
        row = EVENT_ROW.format(number=10, **dict(zip(("begin", "max", "end", "name", "region"), row, strict=True)))
        (data / "Events" / f"201403{day}events.txt").write_text(
            f":Product: 201403{day}events.txt\n:Date: 2014 03 {day}\n#Event    Begin    Max       End\n\n{row}\n")
    (data / "eventList.txt").write_text("2014 03 09,0005,2001,M1.0\n2014 03 10,0300,2001,B4.0\n")
    return tmp_path


def run(place, *arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], cwd=place, capture_output=True, text=True)


def rows_of(path):
    with path.open(newline="") as file:
        return {row["filename"]: row for row in csv.DictReader(file)}


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
                                     "smallest_flare": "B4.0"}
    first = output.read_bytes()
    run(place)
    assert output.read_bytes() == first


def test_the_event_list_alone_and_a_list_of_names(place, monkeypatch):
    monkeypatch.chdir(place)
    names = place / "names.txt"
    names.write_text("2001/hmi.m_720s.20140310_120000_TAI.1.magnetogram.fits\n" * 2)
    build.main(build.UserDefinitions(events_dir=Path(""), label_file=names, event_list_delay_minutes=540.0))
    rows = rows_of(place / "results" / "activity_features.csv")
    assert list(rows) == [dataset_name("2001", T, 1, "fits")]
    row = next(iter(rows.values()))
    assert row["had_B"] == "1" and float(row["log_hours_since_B"]) == 0, "03:00 and 540 minutes: just now"
    assert "label repeated" in (place / "results" / "activity_features.csv.excluded.csv").read_text()


@pytest.mark.parametrize("settings, message", [
    ({"events_dir": Path(""), "event_list": Path("")}, "found neither"),
    ({"label_file": Path("data/eventList.txt")}, "no line of"),
    ({"label_file": Path("nothing.txt")}, "found nothing"),
    ({"srs_dir": Path("data/Events")}, "no region summary"),
    ({"event_list_delay_minutes": -1.0}, "expected 0 or more"),
    ({"extra_feature_file": Path("data/Labels.txt")}, "is an input"),
])
def test_mistakes_end_in_one_line(place, monkeypatch, settings, message):
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit, match=message) as end:
        build.main(build.UserDefinitions(**settings))
    assert "\n" not in str(end.value)
    assert not (place / "results" / "activity_features.csv").exists()


def test_on_the_real_archive_the_past_alone_decides(shared_data, tmp_path):
    with tarfile.open(shared_data / "noaa_2010-2018.tar.xz") as tar:
        members = [m for m in tar.getmembers() if Path(m.name).name.startswith(("201101", "201102", "201103"))]
        tar.extractall(tmp_path, members=members, filter="data")
    summaries, events = read_summary_archive(tmp_path / "SRS"), read_event_archive(tmp_path / "Events")
    known, problems = flares_of_reports(events, 60.0)
    assert len(known.public) > 200 and (known.region < 0).any() and not problems
    before, after = np.datetime64("2011-02-15T02:05", "s"), np.datetime64("2011-02-15T02:06", "s")
    columns = ["log_hours_since_M", "log_largest_flux"]
    arguments = (known, summaries.table, summaries.days)
    quiet, flared = (activity_features(["1158"], np.array([t]), *arguments).iloc[0] for t in (before, after))
    assert (quiet[columns] != flared[columns]).all(), "the X2.2 flare of 01:44, maximum 01:56, ended at 02:06"
    assert flared["log_largest_flux"] == pytest.approx(np.log10(2.2e-4 + NO_FLUX))


def test_a_forecast_computes_what_the_training_read(tmp_path):
    values = np.float32(10.0 ** np.random.default_rng(0).uniform(-4, 2.4, 1000))
    names = pd.Series([f"{i}.fits" for i in range(1000)])
    build.write_activity_table(tmp_path / "a.csv", names, pd.DataFrame({"x": values}))
    assert np.array_equal(read_extra_features(tmp_path / "a.csv")["x"], rounded(values))
