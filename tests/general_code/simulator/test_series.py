"""The simulated series: record sets, regions and their places, images, and switches that count."""

from datetime import datetime
from pathlib import Path

import pytest

from general_code.jsoc.export_requests import Position
from general_code.simulator.series import CADENCE, Faults, SimulatedSeries, parse_record_set

DAY = datetime(2014, 1, 7)


@pytest.fixture
def series(tmp_path):
    """Records every twelve minutes of fifteen days."""
    series = SimulatedSeries(tmp_path)
    series.times = [(DAY + slot * CADENCE, 1) for slot in range(1801)]
    return series


@pytest.mark.parametrize(("text", "count"), [
    ("hmi.M_720s[2014.01.07_00:00:00_TAI-2014.01.22_00:00:00_TAI]", 1800),
    ("hmi.M_720s[2014.01.07_00:00:00_TAI-2014.01.22_00:00:00_TAI][? QUALITY >= 0 ?]{magnetogram}", 1798),
    ("hmi.m_720s[2014.01.07_00:00_TAI/1d][1][? quality >= 0 ?]", 117),
    ("hmi.M_720s[2014.01.07_00:00:00_TAI/1d@1h]", 23), ("hmi.M_720s[2014.01.07_01:00:00.000_TAI]", 0),
    ("hmi.M_720s[]", 1800), ("hmi.M_720s", 1800), ("hmi.M_720s[2015.01.07_01:00:00_TAI/9d]", 0)])
def test_record_sets(text, count, series):
    assert len(series.records(parse_record_set(text), missing=1, bad=2)) == count


@pytest.mark.parametrize("text", ["", "hmi.M_720s[2014-01-07]", "hmi.M_720s[2014.01.07_00:00:00_TAI", "a b[]"])
def test_record_sets_that_do_not_parse(text):
    with pytest.raises(ValueError, match="invalid record-set specification"):
        parse_record_set(text)


def test_images_of_a_folder_at_the_places_of_summaries(shared_data):
    series = SimulatedSeries(shared_data / "active_regions", shared_data / "noaa_raw" / "SRS")
    records = series.records(parse_record_set("hmi.M_720s[2011.02.13_00:00:00_TAI/4d]"))
    path = next((shared_data / "active_regions" / "1158").glob("*.fits"))
    assert series.cutout("1158", records[0]) is not None
    assert len(records) >= 12
    assert series.cutout("1423", records[0]) is None
    assert path.read_bytes() in {series.cutout("1158", record) for record in records}
    assert series.region_at(Position("2014.12.31_23:59:59Z", "56", "19")) == "2246"


def test_folder_without_summaries_gets_places_of_its_own(shared_data):
    series = SimulatedSeries(shared_data / "active_regions", Path(""))
    assert len(series.table) == 16
    assert {region: {series.region_at(row) for row in rows} for region, rows in series.table.items()} == {
        region: {region} for region in series.table}
    assert series.region_at(Position("2014.01.07_23:59:59Z", "0", "88")) is None


def test_counted_fault_ends():
    faults = Faults(tar_not_found=2)
    assert [faults.take("tar_not_found") for _ in range(4)] == [True, True, False, False]
    assert not faults.take("tar_html")
