"""Activity features: values by hand, and that nothing enters before it was public."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.activity import features as af
from general_code.noaa.archive import EventArchive, read_event_archive, read_summary_archive
from general_code.noaa.flares import read_event_list
from general_code.noaa.regions import rotation_rate
from general_code.noaa.reports import SummaryRow, parse_event_report, parse_region_summary

T = np.datetime64("2014-03-10T12:00", "s")
MINUTE, HOUR = np.timedelta64(60, "s"), np.timedelta64(3600, "s")
EVENT_ROW = "{number:4}       {begin}   {max}      {end}  G15  5   XRA  1-8A      {name:<4}    1.9E-03   {region:<4}"


def flares(*rows):
    """Flares from (hours before T, region, peak flux)."""
    hours, regions, fluxes = zip(*rows, strict=True) if rows else ((), (), ())
    times = T - (np.array(hours, dtype=float) * 3600).astype("timedelta64[s]")
    return af.Flares(times, np.array(regions, dtype=np.int64), np.array(fluxes, dtype=float))


def summary_text(*rows):
    """A region summary."""
    return "\n".join(["I.  Regions with Sunspots.  Locations Valid at 09/2400Z",
                      "Nmbr Location  Lo  Area  Z   LL   NN Mag Type", *rows,
                      "IA. H-alpha Plages without Spots.", "None", "II. Regions Due to Return", "None", ""])


def event_report(day, *rows):
    """An event report of a day of 2014 March, with rows of (begin, max, end, class, region)."""
    lines = [EVENT_ROW.format(number=10, **dict(zip(("begin", "max", "end", "name", "region"), row, strict=True)))
             for row in rows]
    return "\n".join([f":Date: 2014 03 {day}", "#Event    Begin    Max       End", *lines, ""])


def summary(day, *rows):
    """A region summary, parsed."""
    return parse_region_summary(summary_text(*rows), day, f"{day:%Y%m%d}SRS.txt")


def table_of(*summaries, issued=None):
    """The table and days of a summary archive; `issued`: the clock of the last summary's issue, on its date."""
    rows = [row for s in summaries for row in s.rows]
    table = pd.DataFrame(rows, columns=SummaryRow._fields).astype({"region": "str", "date": "datetime64[s]"})
    if issued:
        last = summaries[-1].date
        table["issued"] = np.where(table["date"] == np.datetime64(last, "s"), np.datetime64(f"{last}T{issued}", "s"),
                                   np.datetime64("NaT", "s"))
    return table, [s.date for s in summaries]


THREE_DAYS = (
    summary(date(2014, 3, 8), "2001 N10E40   100  0010 Axx  01   02 Alpha",
            "2002 S20W10   150  0100 Hsx  02   01 Alpha"),
    summary(date(2014, 3, 9), "2001 N10E27   100  0110 Dso  05   08 Beta"),
    summary(date(2014, 3, 10), "2001 N10E14   100  0200 Fkc  12   30 Beta-Gamma-Delta"))


def features(known=None, time=T, region="2001", summaries=None):
    """The features of one image."""
    archive = table_of(*THREE_DAYS) if summaries is None else summaries
    return af.activity_features([region], np.array([time]), flares() if known is None else known, *archive).iloc[0]


def reported(end, region="2001", name="C2.0", begin="1130", peak="1140", day=date(2014, 3, 10), delay_minutes=60.0):
    """The flares of a report with one flare, and the problems."""
    text = event_report(f"{day:%d}", (begin, peak, end, name, region))
    report = parse_event_report(text, day, f"{day:%Y%m%d}events.txt")
    return af.flares_of_reports(EventArchive([report], []), delay_minutes)


# ---- flare history

def test_flare_history_by_hand():
    found = features(flares((5, 2001, 2e-6), (5.5, 2002, 9e-4), (11, 2001, 1e-5), (30, 2001, 5e-7), (71.9, 2001, 3e-6),
                            (100, 2001, 2e-4)))
    numbers = {"6h": 1, "12h": 2, "24h": 2, "48h": 2, "72h": 3, "since_appearance": 4}
    fluxes = {"6h": 2e-6, "12h": 1.2e-5, "24h": 1.2e-5, "48h": 1.2e-5, "72h": 1.5e-5, "since_appearance": 2.15e-4}
    for window, number in numbers.items():
        assert found[f"log_flares_C_{window}"] == pytest.approx(np.log1p(number))
        assert found[f"log_flux_{window}"] == pytest.approx(np.log10(fluxes[window] + af.NO_FLUX))
    assert found["log_flares_M_6h"] == 0 and found["log_flares_M_12h"] == pytest.approx(np.log(2))
    assert found["log_flares_M_since_appearance"] == pytest.approx(np.log(3))
    assert found["log_flares_B_24h"] == 0 and found["log_flares_B_48h"] == pytest.approx(np.log(2))
    for name, hours in (("C", 5), ("M", 11), ("B", 30)):
        assert found[f"had_{name}"] == 1 and found[f"log_hours_since_{name}"] == pytest.approx(np.log(hours))
    assert found["log_largest_flux"] == pytest.approx(np.log10(2e-4 + af.NO_FLUX))


@pytest.mark.parametrize("tau", af.WINDOWS_H)
def test_decayed_sums_by_hand(tau):
    found = features(flares((5, 2001, 2e-6), (11, 2001, 1e-5), (3, 2002, 1e-3), (100, 2001, 2e-4)))
    weights = np.exp(-np.array([5, 11, 100]) / tau)
    assert found[f"log_decayed_flares_{tau}h"] == pytest.approx(np.log1p(weights.sum()), rel=1e-6)
    flux = weights @ [2e-6, 1e-5, 2e-4]
    assert found[f"log_decayed_flux_{tau}h"] == pytest.approx(np.log10(flux + af.NO_FLUX), rel=1e-6)


def test_what_never_happened_has_the_stated_values():
    found = features()
    for name in "CMB":
        assert found[f"had_{name}"] == 0 and found[f"log_hours_since_{name}"] == pytest.approx(np.log(af.LONGEST_H))
    assert found["log_flux_24h"] == found["log_largest_flux"] == found["log_decayed_flux_6h"] == np.log10(af.NO_FLUX)
    old = features(flares((500, 2001, 2e-6)))
    assert old["log_hours_since_C"] == pytest.approx(np.log(af.LONGEST_H)) and old["had_C"] == 1


def test_flares_elsewhere_include_those_of_no_region_and_not_ones_own():
    found = features(flares((5, 2001, 2e-6), (5, 2002, 4e-6), (6, -1, 2e-5), (30, 7, 1e-6), (200, 7, 1e-5),
                            (2, -1, 2e-7)))
    assert found["log_elsewhere_flares_C_24h"] == pytest.approx(np.log(3))
    assert found["log_elsewhere_flares_M_24h"] == pytest.approx(np.log(2))
    assert found["log_elsewhere_flux_24h"] == pytest.approx(np.log10(2.4e-5 + af.NO_FLUX))
    assert found["log_elsewhere_flares_C_72h"] == pytest.approx(np.log(4))
    assert found["log_sun_flares_C_7d"] == pytest.approx(np.log(5))
    assert found["log_sun_flares_C_27d"] == pytest.approx(np.log(6))
    assert found["log_sun_flares_B_1d"] == pytest.approx(np.log(2))


# ---- only what was public

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


@pytest.mark.parametrize("peak, known", [("1129", True), ("1130", True), ("1131", False)])
def test_a_flare_without_an_end_counts_from_the_delay_after_its_maximum(tmp_path, peak, known):
    found, problems = reported("////", begin="1100", peak=peak, delay_minutes=30)
    listed = af.flares_of_list(event_list(tmp_path, f"2014 03 10,{peak},2001,C2.0\n"), delay_minutes=30)
    assert not problems
    for one in (found, listed):
        assert features(one)["had_C"] == known
        assert features(one).equals(features()) != known


@pytest.mark.parametrize("source", ["report", "list"])
@pytest.mark.parametrize("issued, since_flare", [(None, 2.5), ("00:45", 2.75)])
def test_a_flare_is_its_regions_own_from_the_regions_first_summary_on(tmp_path, source, issued, since_flare):
    first = summary(date(2014, 3, 10), "2003 N10E14   100  0200 Fkc  12   30 Beta")
    summaries, issue = table_of(*THREE_DAYS[:2], first, issued=issued), np.datetime64(f"2014-03-10T{issued or '00:30'}")
    if source == "report":
        known, _ = reported("2200", "2003", "M2.0", begin="2100", peak="2130", day=date(2014, 3, 9))
    else:
        known = af.flares_of_list(event_list(tmp_path, "2014 03 09,2130,2003,M2.0\n"), delay_minutes=30)
    unknown, numbered = (features(known, time, "2003", summaries) for time in (issue - MINUTE, issue))
    assert unknown["has_summary"] == unknown["had_M"] == unknown["log_flares_C_since_appearance"] == 0
    assert unknown["log_largest_flux"] == unknown["log_decayed_flux_72h"] == np.log10(af.NO_FLUX)
    assert unknown["log_elsewhere_flares_M_24h"] == pytest.approx(np.log(2)), "it is one of no known region"
    assert numbered["has_summary"] == numbered["had_M"] == 1 and numbered["log_elsewhere_flares_M_24h"] == 0
    assert numbered["log_hours_since_M"] == pytest.approx(np.log(since_flare)), "its age is since its end"
    assert unknown["log_sun_flares_M_7d"] == numbered["log_sun_flares_M_7d"] == pytest.approx(np.log(2))


def event_list(tmp_path, text):
    (tmp_path / "events.txt").write_text(text)
    return read_event_list(tmp_path / "events.txt")


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
    together = af.activity_features(regions, times, known, *summaries)
    assert tuple(together) == af.activity_names() and np.isfinite(together.to_numpy()).all()
    assert together.to_numpy().dtype == np.float32
    for i in (0, 17, 199):
        assert features(known, times[i], regions[i], summaries).equals(together.iloc[i].rename(0))


def test_on_the_real_archive_the_past_alone_decides(noaa_archive):
    summaries = read_summary_archive(noaa_archive / "SRS" / "2011_SRS")
    known, problems = af.flares_of_reports(read_event_archive(noaa_archive / "Events" / "2011_events"), 60.0)
    assert len(known.public) > 200 and (known.region < 0).any() and not problems
    before, after = np.datetime64("2011-02-15T02:05", "s"), np.datetime64("2011-02-15T02:06", "s")
    columns = ["log_hours_since_M", "log_largest_flux"]
    arguments = (known, summaries.table, summaries.days)
    quiet, flared = (af.activity_features(["1158"], np.array([t]), *arguments).iloc[0] for t in (before, after))
    assert (quiet[columns] != flared[columns]).all(), "the X2.2 flare of 01:44, maximum 01:56, ended at 02:06"
    assert flared["log_largest_flux"] == pytest.approx(np.log10(2.2e-4 + af.NO_FLUX))


# ---- region summaries

def test_the_summary_by_hand():
    found = features()
    assert found["zurich_rank"] == 7 and found["zurich_F"] == 1 and found["zurich_E"] == 0
    assert found["penumbra_k"] == found["compactness_c"] == found["magnetic_beta_gamma_delta"] == 1
    assert found[["penumbra_rank", "compactness_rank", "magnetic_rank"]].tolist() == [6, 4, 5]
    assert [found[f"log_{name}"] for name in ("area", "extent", "spots")] == pytest.approx(np.log1p([200, 12, 30]))
    assert [found["change_1_area"], found["change_2_area"]] == pytest.approx(np.log1p([90, 190]))
    assert found["change_1_zurich"] == 6 - 4 and found["change_2_magnetic"] == 4
    assert found["has_summary_1_before"] == found["has_summary_2_before"] == 1
    assert found["latitude"] == 10 and found["longitude"] == pytest.approx(-14 + rotation_rate(10) / 2)
    assert found["centre_distance"] == pytest.approx(
        np.degrees(np.arccos(np.cos(np.radians(10)) * np.cos(np.radians(found["longitude"])))), rel=1e-5)
    assert found["first_longitude"] == -40 and found["emerged_on_disk"] == 1
    assert found["summary_age_h"] == 12 and found["region_age_h"] == 2 * 24 + 11.5 and found["first_day"] == 0
    assert found["log_sun_regions"] == pytest.approx(np.log(2)) and found["log_sun_area"] == pytest.approx(np.log(201))
    assert found["log_sun_area_27d"] == pytest.approx(np.log1p((110 + 110 + 200) / 3))


def test_a_region_without_a_row_today_keeps_its_last_one():
    found = features(region="2002")
    assert found["has_summary"] == 1 and found["summary_age_h"] == 60
    assert found["log_area"] == pytest.approx(np.log(101))
    assert found["has_summary_1_before"] == 0 and found["change_1_area"] == 0
    late = features(region="2002", time=T + 1000 * HOUR)
    assert late["summary_age_h"] == late["region_age_h"] == af.OLDEST_H


@pytest.mark.parametrize("region, hours", [("2003", 0), ("2001", 24 * 61)])  # the number of another region by then
def test_an_unknown_region_has_zeros_and_its_flares_are_never_its_own(region, hours):
    known = flares((5 - hours, int(region), 2e-6), (50 - hours, int(region), 2e-5))
    found = features(known, region=region, time=T + hours * HOUR)
    assert found["had_C"] == found["had_M"] == 0 and found["log_elsewhere_flares_C_72h"] == pytest.approx(np.log(3))
    assert (found.loc["has_summary":"log_sun_regions"].iloc[:-1] == 0).all()
    assert found["log_sun_regions"] > 0


def test_fields_that_a_summary_leaves_empty():
    found = features(summaries=table_of(summary(date(2014, 3, 10), "2001 N10E14   100  0200 Qxx  12   30 Strange")))
    assert found["zurich_rank"] == found["penumbra_rank"] == found["magnetic_rank"] == 0
    assert found["log_area"] == pytest.approx(np.log(201))


# ---- time of issue

@pytest.mark.parametrize("issued, clock, area", [
    (None, "00:29", 110), (None, "00:30", 200), (None, "00:31", 200),
    ("00:45", "00:30", 110), ("00:45", "00:44", 110), ("00:45", "00:45", 200), ("00:05", "00:29", 110)])
def test_a_summary_counts_from_its_issue_and_not_before_half_past_midnight(issued, clock, area):
    summaries = table_of(*THREE_DAYS, issued=issued)
    found = features(time=np.datetime64(f"2014-03-10T{clock}", "s"), summaries=summaries)
    assert found["log_area"] == pytest.approx(np.log1p(area)) == found["log_sun_area"]


def test_a_summary_waits_for_that_of_the_day_before():
    (table, days), late = table_of(*THREE_DAYS), np.datetime64("2014-03-10T08:00", "s")
    issued = np.where(table["date"] == np.datetime64("2014-03-09"), late, np.datetime64("NaT", "s"))
    for hours, area in ((-1, 10), (0, 200)):
        found = features(time=late + hours * HOUR, summaries=(table.assign(issued=issued), days))
        assert found["log_area"] == pytest.approx(np.log1p(area))
        assert found["log_sun_area"] == pytest.approx(np.log1p(area if hours == 0 else 110))


def test_the_age_of_a_region_counts_from_the_issue_of_its_first_summary():
    found = features(summaries=table_of(THREE_DAYS[0], issued="03:00"))
    assert found["region_age_h"] == 2 * 24 + 9 and found["summary_age_h"] == 60


# ---- place on the disk

@pytest.mark.parametrize("longitude, emerged, east", [
    ("E61", 0, 21), ("E60", 0, 20), ("E59", 1, 19), ("E40", 1, 0), ("W10", 1, 0)])
def test_a_region_first_seen_west_of_60_east_emerged_on_the_disk(longitude, emerged, east):
    today = table_of(summary(date(2014, 3, 10), f"2001 N10{longitude}   100  0110 Dso  05   08 Beta"))
    found = features(time=np.datetime64("2014-03-10T00:30", "s"), summaries=today)
    assert found["emerged_on_disk"] == emerged
    turned = rotation_rate(10) / 48  # since 00:00
    assert found["east_of_40"] == pytest.approx(max(east - turned, 0), abs=1e-5)
