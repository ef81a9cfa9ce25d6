"""Forecasts of the whole disk: files, the chance from regions, the fit, the days that can be scored."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.activity.sources import read_solar_flares
from classifier_SVM.comparison import full_disk as fd
from classifier_SVM.comparison.forecasts import Forecast
from general_code.evaluation.scores import brier_scores, roc_auc, skill_scores
from general_code.images.label_file import FlareTarget
from general_code.images.names import dataset_name
from general_code.stage.files import UserError
from general_code.stage.run import StageRun
from tests.classifier_SVM.activity.test_features import event_report
from tests.general_code.noaa.test_flares import event_list

TARGET = FlareTarget("M1.0", 24.0)
FIRST, TEST_FROM, END = (pd.Timestamp(day) for day in ("2013-01-01", "2013-12-01", "2014-10-01"))
DAYS = pd.date_range(FIRST, END)
RATES = (0.4, 0.02)  # of flares a day, of an active and of a quiet region


def time(text):
    return np.datetime64(f"2014-01-{text}", "s")


def images_of(*rows):
    """Images (region, "DDTHH:MM" of January 2014, probability), and their forecast."""
    table = pd.DataFrame(rows, columns=["region", "time", "probability"]).assign(split="test")
    table["time"] = np.array([time(text) for text in table["time"]])
    return table[["region", "time", "split"]], Forecast("mine", "M1.0", table[["probability"]].dropna())


def make_sun():
    """Regions of ten days, a new one every five, with their true probabilities, and the flares of the whole Sun."""
    draw, images, flares = np.random.default_rng(0), [], []
    for number, start in enumerate(DAYS[:-10:5]):
        region, rate = str(1000 + number), RATES[draw.random() >= 0.5]
        split = "training" if start + pd.Timedelta(10, "D") <= TEST_FROM else "test" if start >= TEST_FROM else ""
        for day in DAYS[DAYS.get_loc(start):][:10]:
            images += [(region, day + pd.Timedelta(hours, "h"), split, rate) for hours in (0, 12, 20)]
            if draw.random() < rate:
                flares.append((day + pd.Timedelta(10, "h"), region, "M2.0"))
    flares += [(day + pd.Timedelta(15, "h"), "", "M1.0") for day in DAYS if draw.random() < 0.05]
    table = pd.DataFrame(images, columns=["region", "time", "split", "probability"])
    table.index = pd.Index([dataset_name(row.region, row.time.to_datetime64(), 1, "fits").removesuffix(".fits")
                            for row in table.itertuples()])
    forecast = Forecast("mine", "M1.0", table.loc[table["split"] != "", ["probability"]])
    events = replace(event_list(*[(str(moment).replace(" ", "T"), *rest) for moment, *rest in sorted(flares)]),
                     reported=pd.date_range(FIRST - pd.Timedelta(9, "D"), END).to_numpy("datetime64[D]"))
    return table[["region", "time", "split"]], forecast, fd.SolarFlares(events, events.time, events.peak_flux)


def official(name="office", shift=0.0, start=FIRST):
    """Forecasts of 30 % or 10 % in turn, issued at 00:30."""
    days = pd.date_range(start, END)
    rows = pd.DataFrame({"issue_time": days + pd.Timedelta(30, "min"), "window_hours": 24.0, "flare_size": 1e-5,
                         "probability": np.where(np.arange(len(days)) % 2, 0.3, 0.1) + shift})
    return fd.DiskForecast(name, rows, "percent")


IMAGES, FORECAST, FLARES = make_sun()


def compare(*forecasts, images=IMAGES, mine=FORECAST, flares=FLARES, run=None, draws=200):
    run = run or StageRun(io.StringIO())
    return fd.compare_disk(images, [mine], forecasts or (official(),), [TARGET], flares, run=run, draws=draws)


def rows_of(found):
    """Scores by forecast, and differences by pair."""
    return ({row["forecast"]: row for row in found.rows},
            {(row["forecast"], row["against"]): row for row in found.differences})


@pytest.fixture(scope="module")
def found():
    return compare(official(), official("other", 0.2, start=pd.Timestamp("2014-01-05")))


# ---- files

def test_the_compiled_text_has_the_first_day_of_each_half(tmp_path):
    text = "2014 01 02 00 30 60 50 40 15 10 05\n2014 01 01 13 42 70 60 50 20 15 10\n2014 01 02 00 30 9 9 9 9 9 9\n"
    (tmp_path / "f.txt").write_text(text, encoding="utf-8-sig", newline="\r\n")
    _, rows, unit = fd.read_disk_forecast(f" office = {tmp_path / 'f.txt'}")
    assert rows["issue_time"].astype(str).tolist() == ["2014-01-01 13:42:00"] * 2 + ["2014-01-02 00:30:00"] * 2
    assert rows["probability"].tolist() == [0.7, 0.2, 0.6, 0.15] and "2 that repeat a time" in unit
    assert rows["flare_size"].tolist() == [1e-5, 1e-4] * 2 and set(rows["window_hours"]) == {24.0}


@pytest.mark.parametrize("text, unit", [
    ("issue_time,window_hours,flare_size,probability\n2014-01-01T00:30Z,24,M1.0,25\n2014-01-02 00:30,24,m1.0,1\n",
     "percent, as some exceed 1"),
    ("Probability;flare_size;issue_time;window_hours;note\n0,25;M1.0;2014-01-01T00:30;24;x\n.01;M1;2014-01-02T00:30;24;\n",
     "0 to 1")])
def test_tables_are_in_percent_or_from_0_to_1(tmp_path, text, unit):
    (tmp_path / "f.csv").write_text(text)
    forecast = fd.read_disk_forecast(f"office={tmp_path / 'f.csv'}")
    assert forecast.unit == unit and forecast.rows["probability"].tolist() == [0.25, 0.01]
    assert forecast.rows["issue_time"].iloc[0] == pd.Timestamp("2014-01-01 00:30")


def test_the_official_files_are_read(shared_data):
    for name, days in (("SWPC", 542), ("IFF", 524)):
        forecast = fd.read_disk_forecast(f"{name}={shared_data / 'forecasts' / f'{name}_fcast.txt'}")
        assert len(fd._of_the_day(forecast, TARGET)) == days


HEADER = "issue_time,window_hours,flare_size,probability\n"


@pytest.mark.parametrize("text, message", [
    ("\n", "no row; expected a CSV"), (HEADER, "no row"),
    ("issue_time,probability\n1,2\n", "column window_hours and flare_size is missing or there twice"),
    (f"{HEADER}2014-13-01,24,M1.0,.1\n", "line 2: issue_time '2014-13-01' cannot be used; expected times like"),
    (f"{HEADER}2014-01-01,24,Q,.1\n", "flare_size 'Q'"), (f"{HEADER}2014-01-01,24,M1,-.1\n", "probability '-.1'"),
    (f"{HEADER}2014-01-01,24,M1,30\n2014-01-02,24,M1,.3\n", "line 3: probability '.3' .*all percentages of 1 or more"),
    (f"{HEADER}2014-01-01,24,M1,0\n2014-01-02,24,M1,1\n", "line 3: probability '1'"),
    (f"{HEADER}2014-01-01,24,M1,0,25\n", "line 2: more values than columns; .*0.25, not 0,25"),
    (f"{HEADER}2014-01-01,24,M1,130\n", "probability '130'"), (f"{HEADER}2014-01-01,24,M1,\n", "probability ''"),
    ("2014 01 01 00 30 60 50 10\n", "line 1: .* cannot be used; expected a CSV"),
    ("2014,01,01,00,30,60,10\n", "line 1: .* separated by blanks"),
    ("2014 01 01 00 30 60 10\n2014 01 32 00 30 60 10\n", "line 2"), ("2014 01 01 00 30 60 101\n", "line 1"),
    ("2014 01 01 00 30 60 10\n2014 01 02 00 30 60\n", "line 2")])
def test_a_faulty_file_is_named_with_its_line(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        fd.read_disk_forecast("office=f.txt")
    with pytest.raises(UserError, match="is not like 'SWPC=SWPC_fcast.txt'"):
        fd.read_disk_forecast("f.txt")


def test_a_day_has_the_first_issue_from_midnight_to_three():
    issues = [f"2014-01-{text}" for text in ("01 01:00", "01 02:59", "02 03:01", "03 12:00", "04 00:00")]
    forecast = official()._replace(rows=official().rows[:5].assign(issue_time=pd.to_datetime(issues)))
    assert fd._of_the_day(forecast, TARGET).index.day.tolist() == [1, 4]
    assert fd._of_the_day(forecast, TARGET).iloc[0] == 0.1
    assert fd._of_the_day(forecast, TARGET._replace(window_hours=48.0)).empty


# ---- what is known at the issue

DAY = pd.DatetimeIndex(["2014-01-03"])


def test_flares_of_the_whole_sun_have_those_without_a_region(tmp_path):
    rows = ("1130", "1140", "1150", "M1.0", ""), ("1230", "1240", "1250", "C2.0", "2001")
    (tmp_path / "20140310events.txt").write_text(event_report("10", *rows))
    run = StageRun(io.StringIO())
    events, public, flux = read_solar_flares(tmp_path, "modern", run)
    assert events.region.tolist() == ["", "2001"] and events.flare_class[0] == "M1.4", "GOES-15: / .7"
    assert public.astype(str).tolist() == ["2014-03-10T11:50:00", "2014-03-10T12:50:00"]
    assert flux[0] == events.peak_flux[0] and not run.exclusions


@pytest.mark.parametrize("rows, quiet, latency", [(*case, 0.0) for case in (
    ([("1001", "03T00:00", 0.5), ("1002", "02T20:00", 0.2)], np.log(0.5 * 0.8)),  # 4 h before is recent enough
    ([("1001", "02T12:00", 0.9), ("1001", "03T00:00", 0.5), ("1001", "03T00:12", 0.7)], np.log(0.5)),
    ([("1001", "02T19:59", 0.5), ("1002", "03T00:00", 0.2)], np.log(0.8)),  # its last image: it has left the disk
    ([("1001", "02T19:59", 0.5), ("1001", "03T04:00", 0.5)], np.nan),  # on the disk, without an image in time
    ([("1001", "03T00:00", None), ("1002", "03T00:00", 0.2)], np.nan),  # on the disk, without a forecast
    ([("1001", "01T12:00", 0.5), ("1001", "05T00:00", 0.5)], 0.0),  # behind the limb
    ([("1001", "01T00:00", 0.5)], np.nan))] + [  # after all images nothing is known
    ([("1001", "02T23:00", 0.5), ("1001", "02T23:30", 0.9), ("1001", "05T00:00", 0.9)], np.log(0.5), 60.0)])
def test_the_chance_of_a_quiet_disk_is_that_of_the_last_images_of_all_regions(rows, quiet, latency):
    found = fd.quiet_of_regions(*images_of(*rows), DAY, latency)
    assert found == pytest.approx([quiet], nan_ok=True)


def test_flares_fade_with_their_age():
    known = np.array([time("02T18:00"), time("03T00:01"), time("02T00:00"), time("02T12:00")])
    flares = FLARES._replace(public=known, peak_flux=np.array([1e-5, 1e-4, 2e-6, 5e-7]))
    expected = [np.log1p(10 * np.exp(-6 / tau) + 2 * np.exp(-24 / tau) + np.exp(-12 / tau) / 2) for tau in fd.FADING_H]
    expected.append(np.log1p(np.exp(-12 / 96)))  # flares below C1.0, by number
    assert fd.solar_activity(DAY, flares)[0] == pytest.approx(expected, rel=1e-4)


def test_the_truth_of_a_day_is_that_of_its_window():
    images, _ = images_of(("1001", "01T00:00", 0.5), ("1001", "04T12:00", 0.5))
    images["split"] = "training"
    events = replace(event_list((time("02T00:00"), "", "M1.0"), (time("03T23:59"), "1001", "X1.0"),
                                (time("04T10:00"), "1001", "C9.9")),
                     reported=np.arange("2013-12-29", "2014-01-07", dtype="datetime64[D]"))
    days = fd.known_days(images, pd.Timestamp("2014-01-07"), TARGET, events)
    assert dict(zip(days.index.day, days["truth"], strict=True)) == {
        1: False, 2: False, 3: True, 4: False, 5: False, 6: False, 7: False}, "at 0 and 24 h is outside"
    assert days.index.day[days["recent"]].tolist() == [2, 4], "a flare at the issue is known"
    assert days.index.day[days["covered"]].tolist() == [2, 3, 4, 5, 6], "four days before, and the window"
    assert days.index.day[days["fitted"]].tolist() == [2, 3] and days.index.day[days["later"]].tolist() == [5, 6, 7]


# ---- the fit and the comparison

def test_the_rate_of_flares_of_no_region_is_found_where_no_region_tells_anything():
    draw = np.random.default_rng(1)
    truth, flux = draw.random(2000) < 0.1, np.zeros((2000, 4))
    probability, text = fd.disk_probability(np.zeros(2000), flux, truth, np.arange(2000) < 1500)
    assert probability == pytest.approx(truth[:1500].mean(), abs=1e-3)
    assert f"fitted on 1,500 days\n  chance of a flare from the rest of the disk: {truth[:1500].mean():.3f}" in text


def test_the_probability_is_that_of_the_days_fitted_and_of_no_other():
    draw = np.random.default_rng(2)
    quiet, flux = np.log(1 - 0.6 * draw.random(900)), draw.random((900, 4))
    truth, fitted = draw.random(900) > np.exp(quiet), np.arange(900) < 600
    quiet[700] = np.nan
    found, _ = fd.disk_probability(quiet, flux, truth, fitted)
    assert np.isnan(found[700]) and np.corrcoef(found[fitted], quiet[fitted])[0, 1] < -0.9
    again, _ = fd.disk_probability(quiet, flux, np.where(fitted, truth, ~truth), fitted)
    np.testing.assert_array_equal(again, found)
    with pytest.raises(UserError, match="expected 100 days .* in the 4 h before 00:00 UT, 10 .*, got 99, "):
        fd.disk_probability(quiet, flux, truth, np.arange(900) < 99)


def test_scores_of_every_row_are_those_of_the_definitions(found):
    table = found.drawn["M1.0"]
    assert list(table) == ["climatology", "persistence 24 h", "office", "other", "mine", "truth"]
    assert table.index[0] == pd.Timestamp("2014-01-05"), "common dates only"
    truth, rows = table["truth"].to_numpy(), rows_of(found)[0]
    for name, row in rows.items():
        p, climatology = table[name], row["climatology"]
        expected = brier_scores(truth, p, climatology) | {
            "AUC": roc_auc(truth, p), "TSS": skill_scores(truth, (p > climatology).astype(int))["TSS"]}
        assert {score: row[score] for score in expected} == pytest.approx(expected)
        assert row["BSS_of_these_days"] == pytest.approx(1 - row["Brier"] / row["uncertainty"])
        assert row["days"] == len(table) and row["flaring_days"] == truth.sum()
    assert rows["climatology"]["BSS"] == 0 and rows["office"]["climatology"] == rows["other"]["climatology"]
    assert rows["mine"]["BSS"] > rows["office"]["BSS"] > rows["persistence 24 h"]["BSS"]


def test_differences_are_those_of_all_pairs_of_forecasts_with_intervals_of_the_same_blocks(found):
    rows, pairs = rows_of(found)
    assert list(pairs) == [("other", "office"), ("mine", "office"), ("mine", "other")]
    for (name, against), pair in pairs.items():
        assert pair["BSS"] == pytest.approx(rows[name]["BSS"] - rows[against]["BSS"])
        assert pair["BSS_low"] <= pair["BSS"] <= pair["BSS_high"]
    pairs = rows_of(compare(official(), official("twin"), draws=50))[1]
    assert all(pairs["twin", "office"][f"BSS{end}"] == 0 for end in ("", "_low", "_high"))


def test_brier_skill_has_no_interval_of_its_own_where_flares_are_rare():
    days = pd.date_range(FIRST, periods=540)
    table = pd.DataFrame({"climatology": 0.05, "persistence": 0.0, "a": 0.1, "b": 0.2,
                          "truth": (np.arange(540) % 27 == 0).astype(int)}, days)
    rows, pairs = fd._table_rows(table, TARGET, 50, 0)
    assert all(np.isnan(row["BSS_low"]) and np.isfinite(row["Brier_low"]) for row in rows)
    assert np.isfinite(pairs[-1]["BSS_low"]) and pairs[-1]["against"] == "a"


def test_what_happens_on_scored_days_moves_no_probability(found):
    late = FLARES.events.time >= np.datetime64("2014-01-05T00:00:01")
    moved = replace(FLARES.events, time=np.where(late, FLARES.events.time + np.timedelta64(2, "D"), FLARES.events.time))
    again = compare(official(), official("other", 0.2, start=pd.Timestamp("2014-01-05")),
                    flares=FLARES._replace(events=moved)).drawn["M1.0"]
    before = found.drawn["M1.0"]
    both = again.index.intersection(before.index)
    assert (again["truth"][both] != before["truth"][both]).any()
    pd.testing.assert_series_equal(again["mine"][both], before["mine"][both])


def test_days_that_cannot_be_scored_are_listed_by_reason():
    run = StageRun(io.StringIO())
    found = compare(official(), official("other", start=pd.Timestamp("2013-11-01")), run=run)
    reasons = {problem.reason: problem.detail for problem in run.exclusions}
    assert set(reasons) == {"day without all official forecasts", "day without a forecast of every region",
                            "day not after the training and validation images"}
    assert reasons["day without all official forecasts"] == "304 days, 2013-01-01 to 2013-10-31"
    unlisted = IMAGES["time"][IMAGES["split"] == ""]
    assert found.drawn["M1.0"].index[0] > unlisted.max(), "a region in no list is on the disk until then"


EARLY = official()._replace(rows=official().rows[:-9])
MIXED = IMAGES.assign(split=np.where(IMAGES["region"].astype(int) % 2, "training", "test"))
UNREPORTED = replace(FLARES.events, reported=FLARES.events.reported[:300])


@pytest.mark.parametrize("changes, message", [
    ({"images": IMAGES.assign(split="test")}, "no day of the training and validation images has event reports"),
    ({"flares": FLARES._replace(events=UNREPORTED)},
     "no day from 2013-01-01 to 2014-10-01 can be compared at M1.0 .*day without event reports"),
    ({"images": MIXED, "office": EARLY}, "630: day not after the training and validation images.*split by time"),
    ({"office": official()._replace(rows=official().rows.assign(window_hours=48.0))},
     "expected forecasts of flares >= M1.0 over 24 h, issued from 00:00 to 03:00")])
def test_without_a_day_to_compare_the_error_says_why(changes, message):
    with pytest.raises(UserError, match=message):
        compare(changes.pop("office", official()), **changes)


def test_a_forecast_that_cannot_be_fitted_is_reported_and_other_sizes_are_skipped():
    log = io.StringIO()
    test_rows = FORECAST._replace(rows=FORECAST.rows[(IMAGES["split"] == "test").reindex(FORECAST.rows.index)])
    found = compare(mine=test_rows, run=StageRun(log))
    assert "ATTENTION: mine is not in the table of flares >= M1.0 on the whole disk: expected" in log.getvalue()
    assert list(rows_of(found)[0]) == ["climatology", "persistence 24 h", "office"]
    assert len(compare(mine=FORECAST._replace(flare_size="C1.0")).rows) == 3


def test_tables_and_figure_say_what_is_compared(found, tmp_path):
    files = [tmp_path / name for name in ("rows.csv", "disk.png")]
    text = found.write(*files)
    rows = pd.read_csv(files[0], keep_default_na=False)
    assert tuple(rows) == fd.DISK_COLUMNS and (rows["against"] == "-").tolist() == [True] * 5 + [False] * 3
    assert (rows.astype(str) != "").all(axis=None) and "not available" not in rows.to_string()
    assert "in a known region or not" in text and "| mine - other " in text
    assert f"{len(found.drawn['M1.0']):,} days from 2014-01-05 to " in text and "; climatology 0." in text
    assert files[1].stat().st_size > 10000
    figure = fd.disk_figure(found)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["persistence 24 h", "office", "other", "mine"]
