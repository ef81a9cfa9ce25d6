"""Classes as numbers, the event list with its oddities, labels against nested loops, persistence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from general_code.noaa.flares import (
    EventList,
    FlareSize,
    OptionalFlareSize,
    label_images,
    optional_event_list,
    peak_flux,
    peak_fluxes,
    persistence,
    read_event_list,
    scaled_class,
)
from general_code.stage.files import UserError
from general_code.stage.run import Settings
from tests.general_code.noaa.test_archive import Reports


@pytest.mark.parametrize(("flare_class", "flux"), [
    ("C5.7", 5.7e-6), ("A1.0", 1e-8), ("B9.9", 9.9e-7), ("M1", 1e-5), ("X9.3", 9.3e-4), ("X17.2", 17.2e-4),
    ("x28", 28e-4), (" C1.0 ", 1e-6), ("X10.", 1e-3)])
def test_peak_flux(flare_class, flux):
    assert peak_flux(flare_class) == pytest.approx(flux, rel=1e-15)


def test_classes_compare_by_flux_not_as_text():
    order = ["A9.9", "B1.0", "B9.9", "C1.0", "C9.9", "M1.0", "M9.9", "X1.0", "X9.3", "X10.0", "X17.2"]
    assert (np.diff(peak_fluxes(order)) > 0).all()
    assert peak_flux("C10.0") == peak_flux("M1.0")
    assert peak_fluxes(["0", "C1.0", "0"]).tolist() == [0, 1e-6, 0]
    assert peak_fluxes([]).shape == (0,)


@pytest.mark.parametrize("text", ["", "C", "5.7", "D1.0", "C-1", "C1.0.0", "CC1", "1.0C", "C1,0", "0"])
def test_what_is_no_class(text):
    class Sizes(Settings):
        flare_size: FlareSize = "C1.0"
        cut: OptionalFlareSize = ""

    with pytest.raises(ValueError, match="not like C1.0"):
        peak_flux(text)
    with pytest.raises(ValueError, match="Q1.0"):
        peak_fluxes(["0", "Q1.0"])
    for setting in ("flare_size", "cut")[:1 + bool(text)]:
        with pytest.raises(UserError, match=f"^{setting}: flare class '.*' is not like C1.0"):
            Sizes(**{setting: text})
    assert Sizes(flare_size="m5").flare_size == "M5" and Sizes().cut == ""


def test_a_list_that_is_named_has_to_be_there(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Reports()
    assert optional_event_list(Path(""), run) is optional_event_list(Path("data/eventList.txt"), run, "so what") is None
    assert run.lines == ["No event list: persistence is not available", "No event list at data/eventList.txt: so what"]
    for path, found in ((tmp_path, "a folder"), (tmp_path / "list.txt", "nothing")):
        with pytest.raises(UserError, match=f"event_list: expected a file at '{path}' .* found {found}"):
            optional_event_list(path, run)


def written(tmp_path: Path, *lines: str) -> Path:
    """Return an event list with these lines."""
    path = tmp_path / "eventList.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(("line", "reason"), [
    ("2011 04 11,////,1190,C2.5", "flare without a maximum"), ("2011 02 20,,1162,C1.4", "flare without a maximum"),
    ("2010 05 03,1341,0000,B1.5", "flare without a region"), ("2010 05 03,1341,,C1.5", "flare without a region"),
    *((line, "row does not parse") for line in (
        "2010 02 30,1341,1066,C1.5", "2010 05 03,2460,1066,C1.5", "2010 05 03,1341,1066,Z1.5",
        "2010 05 03,1341,106,C1.5", "nonsense"))])
def test_row_that_is_not_used_is_listed_with_its_line(tmp_path: Path, line, reason):
    events = read_event_list(written(tmp_path, "2010 05 01,0139,1067,C5.7", line))
    assert len(events) == 1
    assert [(problem.input, problem.reason) for problem in events.problems] == [("eventList.txt, line 2", reason)]


def test_oddities_that_are_read(tmp_path: Path):
    path = written(tmp_path, "2002 06 20,0100,0000,C1.0", "2011 03 05,U0908,11165,C2.2", "2017 09 06,1202,2673,X13.37")
    events = read_event_list(path)
    assert events.region.tolist() == ["0000", "1165", "2673"]  # 0000 was region 10000 in summer 2002
    assert str(events.time[1]) == "2011-03-05T09:08:00"
    assert (events.flare_class[2], events.peak_flux[2]) == ("X13.37", 13.37e-4)
    labels = label_images(["2673"], events.time[2:] - 60, events, "C1.0", 24)
    assert labels.flare_classes(events).tolist() == ["X13.37"]  # six characters are not cut
    assert events.period == (np.datetime64("2002-06-20"), np.datetime64("2017-09-06"))


def test_repeated_rows_count_once(tmp_path: Path):
    lines = ["2010 12 31,0100,1001,C1.0", "2010 12 31,1200,1001,C2.0"]
    events = read_event_list(written(tmp_path, *lines, *lines, f"{lines[0]}  "))
    assert len(events) == 2
    assert [problem.reason for problem in events.problems] == ["repeated row"] * 3
    assert not events.after_midnight.any(), "repeats are removed before the midnight rule"


@pytest.mark.parametrize(("times", "later"), [  # times in the list, of one date; which of them are on the next day
    (["2330", "0023"], [0, 1]), (["0023", "2330"], [0, 0]), (["0023"], [0]), (["1000", "0159"], [0, 1]),
    (["1000", "0200"], [0, 0]), (["2330", "0023", "0031"], [0, 1, 1]), (["0100", "1200", "2350", "0005"], [0, 0, 0, 1]),
    (["0010", "0010"], [0, 0])])
def test_midnight_rule(tmp_path: Path, times, later):
    lines = ["2010 05 03,2359,1001,C1.0"] + [
        f"2010 05 04,{time},{1069 + i},B1.6" for i, time in enumerate(times)] + ["2010 05 05,0001,1001,C1.0"]
    path = written(tmp_path, *lines)
    events = read_event_list(path)
    assert events.after_midnight.tolist() == [False, *map(bool, later), False]
    assert (events.time - events.listed_time == np.array([0, *later, 0]) * np.timedelta64(1, "D")).all()
    published = read_event_list(path, as_published=True)
    assert published.time.tolist() == published.listed_time.tolist() == events.listed_time.tolist()


@pytest.mark.parametrize(("content", "message"), [
    ("", "no line of .* is like"), ("x", "no line of"), ("2011 04 11,////,1190,C2.5", "line 1: 2011 04 11,////"),
    ("\0", "zero bytes")])
def test_list_without_a_flare(tmp_path: Path, content, message):
    with pytest.raises(UserError, match=message):
        read_event_list(written(tmp_path, *content.splitlines()))


@pytest.mark.parametrize("rewrite", [
    lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text, lambda text: text.replace(",", ";"),
    lambda text: text.replace(",", "\t"), lambda text: "date,time,region,class\n" + text.replace("\n", "\n\n"),
    lambda text: text.replace(",", '","').replace("\n", '"\n').replace("2011", '"2011'),
    lambda text: text.replace(",0023,", ",23,").replace(",0908,", ",908 ,"), lambda text: text.replace("\n", ",,\n"),
], ids=["CRLF", "BOM", "semicolons", "tabs", "header and blank lines", "quotes", "numbers", "empty columns"])
def test_lists_that_spreadsheets_wrote(tmp_path: Path, rewrite):
    path = written(tmp_path, "2011 03 05,0908,1165,C2.2", "2011 03 06,2330,1165,M1.1", "2011 03 06,0023,1165,X10.0",
                   "2011 03 07,////,1165,C1.0")
    expected = read_event_list(path)
    path.write_bytes(rewrite(path.read_text()).encode())
    events = read_event_list(path)
    assert (len(events), events.after_midnight.tolist()) == (3, [False, False, True])
    for name in ("time", "region", "flare_class"):
        assert getattr(events, name).tolist() == getattr(expected, name).tolist()
    assert [(each.reason, each.detail) for each in events.problems] == [
        ("flare without a maximum", "2011 03 07,////,1165,C1.0")]


def test_published_list(shared_data: Path):
    events = read_event_list(shared_data / "published" / "eventList.txt")
    reasons = [problem.reason for problem in events.problems]
    assert (len(events), reasons.count("repeated row"), reasons.count("flare without a maximum"),
            reasons.count("flare without a region"), len(reasons)) == (11954, 62, 7, 1, 70)
    assert (events.after_midnight & (events.peak_flux >= peak_flux("M1.0"))).sum() == 6


def event_list(*rows: tuple[str, str, str]) -> EventList:
    """Return an event list of (time, region, class)."""
    times = np.array([row[0] for row in rows], dtype="datetime64[s]")
    regions, classes = (np.array([row[i] for row in rows], dtype=str) for i in (1, 2))
    return EventList(times, regions, classes, peak_fluxes(classes), times)


FLARES = event_list(("2011-02-14T17:26", "1158", "C7.0"), ("2011-02-15T01:56", "1158", "X2.2"),
                    ("2011-02-15T01:56", "1161", "M1.0"), ("2011-02-14T20:00", "1158", "C7.0"))


@pytest.mark.parametrize(("region", "time", "window", "size", "expected"), [
    ("1158", "2011-02-14T12:00", 24, "C1.0", "X2.2"), ("11158", "2011-02-14T12:00", 24, "C1.0", "X2.2"),
    ("1158", "2011-02-14T12:00", 8, "C1.0", "C7.0"), ("1158", "2011-02-14T12:00", 8.0001, "C7.0", "C7.0"),
    ("1158", "2011-02-14T12:00", 24, "C7.1", "X2.2"), ("1158", "2011-02-14T12:00", 8, "C7.1", "0"),
    ("1158", "2011-02-15T01:56", 24, "C1.0", "0"),  # t_max - t_image = 0 does not count
    ("1158", "2011-02-14T01:56", 24, "X1.0", "0"),  # nor does the window's end
    ("1158", "2011-02-15T01:55:59", 24, "C1.0", "X2.2"), ("1158", "2011-02-14T01:56:01", 24, "X1.0", "X2.2"),
    ("1158", "2011-02-14T01:56", 24.001, "X1.0", "X2.2"), ("1161", "2011-02-14T12:00", 24, "C1.0", "M1.0"),
    ("1160", "2011-02-14T12:00", 24, "C1.0", "0"), ("1158", "NaT", 24, "C1.0", "0"),
    ("1158", "2011-01-01T00:00", 10000, "C1.0", "X2.2")])
def test_label(region, time, window, size, expected):
    labels = label_images([region], np.array([time], "datetime64[s]"), FLARES, size, window)
    assert labels.flare_classes(FLARES).tolist() == [expected]


def test_earliest_listed_flare_goes_by_the_list_not_by_time_or_size_and_of_equal_flares_the_first_listed_labels():
    images = np.array(["2011-02-14T12:00", "2011-02-14T18:00"], "datetime64[s]")
    for window, earliest in ((24, [0, 1]), (5.5, [0, 3])):
        assert label_images(["1158"] * 2, images, FLARES, "C1.0", window).earliest_listed.tolist() == earliest
    flares = event_list(("2011-02-15T02:00", "1158", "M1.0"), ("2011-02-15T01:00", "1158", "C10.0"))
    assert label_images(["1158"], images[1:], flares, "C1.0", 24).flare_classes(flares).tolist() == ["M1.0"]


@pytest.mark.parametrize(("time", "latency", "expected"), [
    ("2011-02-14T01:56", 0, "C7.0"), ("2011-02-14T01:56", 1, "X2.2"),
    ("2011-02-15T01:47:48", 8.2, "0"), ("2011-02-15T01:47:47", 8.2, "X2.2"),  # 492 s, though 8.2 x 60 is a bit less
    ("2011-02-14T01:55:59", 0.01, "C7.0"), ("2011-02-14T01:55:59", 0.02, "X2.2"),  # 0.6 s and 1.2 s
    ("2011-02-15T01:26", 30, "0"), ("2011-02-15T01:26", 29.99, "X2.2"), ("2011-02-15T01:26", 1e300, "0"),
    ("2011-02-12T01:00", 48 * 60, "C7.0"), ("2011-02-12T02:00", 48 * 60, "X2.2")])
def test_a_flare_counts_from_the_latency_on_for_a_whole_window(time, latency, expected):
    labels = label_images(["1158"], np.array([time], "datetime64[s]"), FLARES, "C1.0", 24, latency)
    assert labels.flare_classes(FLARES).tolist() == [expected]


@pytest.mark.parametrize(("flare_class", "satellite", "time", "modern"), [
    ("C1.0", "G15", "2015-01-01", "C1.4"), ("B7.0", "G15", "2015-01-01", "C1.0"), ("B6.9", "G13", "2015-01-01", "B9.9"),
    ("M7.0", "G08", "2003-01-01", "X1.0"), ("X9.3", "G15", "2017-09-06", "X13.3"), ("M3.5", "G8", "2003-01-01", "M5.0"),
    ("C1.0", "G15", "2020-01-25", "C1.4"), ("C1.0", "G16", "2019-12-01", "C1.0"), ("C1.0", "G18", "2023-01-01", "C1.0"),
    ("C1.0", "", "2019-12-08T23:59", "C1.4"), ("C1.0", "SDO", "2019-12-09", "C1.0"),
    ("A9.9", "", "2012-01-01", "B1.4")])
def test_classes_up_to_goes_15_are_divided_on_the_modern_scale(flare_class, satellite, time, modern):
    """The satellite decides; where it is not known, the day on which GOES-16 took over."""
    flare = flare_class, satellite, np.datetime64(time)
    assert scaled_class(*flare, "modern") == modern and scaled_class(*flare, "as_reported") == flare_class


def test_a_list_is_read_on_either_scale_with_and_without_satellites(tmp_path: Path, capsys):
    lines = "2011 02 14,1726,1158,C1.0,G15", "2011 02 14,1926,1158,B6.9", "2020 01 25,1726,2757,C1.0", \
        "2020 01 25,1926,2757,C1.0,G15", "2020 01 26,0000,2757,C1.0,SDO"
    path = written(tmp_path, *lines)
    assert read_event_list(path).flare_class.tolist() == ["C1.0", "B6.9", "C1.0", "C1.0", "C1.0"]
    run = Reports()
    events = optional_event_list(path, run, flare_scale="modern")
    assert events.flare_class.tolist() == ["C1.4", "B9.9", "C1.0", "C1.4", "C1.0"]
    assert events.peak_flux.tolist() == peak_fluxes(events.flare_class).tolist()
    assert run.lines[1:] == ["Modern scale: classes of GOES-15 and earlier are divided by 0.7; flares listed without a "
                             "satellite by their date, before 2019-12-09"]
    optional_event_list(written(tmp_path, lines[0]), run, flare_scale="modern")
    assert "ATTENTION: no flare below C1.0 is known: those that GOES-15" in run.lines[-1]
    assert "date" not in run.lines[-2], "the satellite of every flare is known"


@pytest.mark.parametrize(("window", "latency"), [(1.5, 0), (24, 0), (72, 90), (1000, 0)])
@pytest.mark.parametrize("size", ["B1.0", "C1.0", "M5.0"])
def test_labels_and_persistence_agree_with_nested_loops(window, latency, size):
    rng = np.random.default_rng(3)
    n, m, start = 300, 400, np.datetime64("2012-01-01", "s")
    classes = np.array([f"{letter}{number:.1f}" for letter, number in
                        zip(rng.choice(list("BCMX"), n), rng.uniform(1, 12, n), strict=True)])
    regions = rng.choice(["1001", "1002", "1003"], n)
    times = start + rng.integers(0, 60 * 24 * 30, n) * np.timedelta64(60, "s")
    events = EventList(times, regions, classes, peak_fluxes(classes), times)
    image_regions = rng.choice(["1001", "1002", "1003", "1004"], m)
    image_times = start + rng.integers(0, 60 * 24 * 30, m) * np.timedelta64(60, "s")
    expected, first, before = [], [], []
    for region, time in zip(image_regions, image_times, strict=True):
        after = (times - time) / np.timedelta64(3600, "s")
        strong = (regions == region) & (events.peak_flux >= peak_flux(size))
        following = np.flatnonzero(strong & (after > latency / 60) & (after < window + latency / 60))
        expected.append(classes[max(following, key=lambda i: events.peak_flux[i])] if len(following) else "0")
        first.append(following[0] if len(following) else -1)
        before.append((strong & (after > -window) & (after <= 0)).any())
    labels = label_images(image_regions, image_times, events, size, window, latency)
    assert peak_fluxes(labels.flare_classes(events)).tolist() == peak_fluxes(expected).tolist()
    assert labels.earliest_listed.tolist() == first
    assert persistence(image_regions, image_times, events, window, size).tolist() == before


@pytest.mark.parametrize(("time", "hours", "expected"), [
    ("2011-02-15T01:56", 1, True), ("2011-02-15T01:55:59", 1, False), ("2011-02-15T02:55:59", 1, True),
    ("2011-02-15T02:56", 1, False), ("2011-02-15T02:56", 1.01, True), ("2011-02-17T01:55", 48, True),
    ("NaT", 48, False)])
def test_persistence_includes_now_and_not_the_far_end(time, hours, expected):
    times = np.array([time], "datetime64[s]")
    assert persistence(["1158"], times, FLARES, hours, "M1.0").tolist() == [expected]
    assert persistence(["1234"], times, FLARES, hours, "M1.0").tolist() == [False]


def test_no_flares_and_no_images():
    nothing = event_list()
    time = np.array(["2011-02-15"], "datetime64[s]")
    assert label_images(["1158"], time, nothing, "C1.0", 24).flare_classes(nothing).tolist() == ["0"]
    assert not persistence(["1158"], time, nothing, 24, "C1.0").any()
    assert label_images([], time[:0], FLARES, "C1.0", 24).flare_classes(FLARES).shape == (0,)
    assert not nothing.covers(time, time).any() and np.isnat(nothing.period).all()


@pytest.mark.parametrize(("first", "last", "covered"), [
    ("2011-02-14", "2011-02-14T23:59:59", True), ("2011-02-14", "2011-02-15", False),
    ("2011-02-13T23:59:59", "2011-02-14", False), ("2011-02-16", "2011-02-17", True),
    ("2011-02-14", "2011-02-16", False), ("2011-02-18", "2011-02-18", False), ("NaT", "2011-02-14", False),
    ("2011-02-14", "NaT", False)])
def test_a_span_is_covered_when_every_day_of_it_has_a_report(first, last, covered):
    days = np.array(["2011-02-14", "2011-02-16", "2011-02-17"], "datetime64[D]")
    events = replace(FLARES, reported=days)
    spans = [np.array([time], "datetime64[s]") for time in (first, last)]
    assert events.covers(*spans).tolist() == [covered]


def test_without_known_reports_a_list_covers_its_flares_days():
    days = np.array(["2011-02-13", "2011-02-14", "2011-02-15", "2011-02-16"], "datetime64[s]")
    assert FLARES.covers(days, days).tolist() == [False, True, True, False]


@pytest.mark.parametrize("hours", [1e9, 1e30])
def test_windows_of_any_length_stay_within_a_region(hours):
    times = np.array(["2011-02-14T12:00", "2011-02-16"], "datetime64[s]")
    for region, labels, before in (("1158", ["X2.2", "0"], [False, True]), ("1160", ["0", "0"], [False, False])):
        assert label_images([region] * 2, times, FLARES, "C1.0", hours).flare_classes(FLARES).tolist() == labels
        assert persistence([region] * 2, times, FLARES, hours, "C1.0").tolist() == before
