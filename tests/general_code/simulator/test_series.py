"""The simulated series: record sets, regions and their places, images, and switches that count."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from general_code.images.magnetograms import read_magnetogram
from general_code.jsoc.export_requests import Position
from general_code.simulator.series import NO_IMAGE, Faults, Record, SimulatedSeries, made_up_cutout, parse_record_set

DAY = datetime(2014, 1, 7)
SERIES = SimulatedSeries(passages={"1944": (date(2014, 1, 7), 15)}, missing=[DAY + timedelta(minutes=12)],
                         bad=[DAY + timedelta(minutes=24)])


@pytest.mark.parametrize(("text", "count"), [
    ("hmi.M_720s[2014.01.07_00:00:00_TAI-2014.01.22_00:00:00_TAI]", 1800),
    ("hmi.M_720s[2014.01.07_00:00:00_TAI-2014.01.22_00:00:00_TAI][? QUALITY >= 0 ?]{magnetogram}", 1799),
    ("hmi.m_720s[2014.01.07_00:00_TAI/1d][1][? quality >= 0 ?]", 118),
    ("hmi.M_720s[2014.01.07_00:00:00_TAI/1d@1h]", 24), ("hmi.M_720s[2014.01.07_01:00:00_TAI]", 1),
    ("hmi.M_720s[]", 1800), ("hmi.M_720s", 1800), ("hmi.M_720s[2015.01.07_01:00:00_TAI/9d]", 0)])
def test_record_sets(text, count):
    assert len(SERIES.records(parse_record_set(text))) == count


@pytest.mark.parametrize("text", ["", "hmi.M_720s[2014-01-07]", "hmi.M_720s[2014.01.07_00:00:00_TAI", "a b[]"])
def test_record_sets_that_do_not_parse(text):
    with pytest.raises(ValueError, match="invalid record-set specification"):
        parse_record_set(text)


def test_record_without_image_has_bit_31():
    records = SERIES.records(parse_record_set("hmi.M_720s[2014.01.07_00:00:00_TAI/1h]"))
    assert [record.quality for record in records] == [0, NO_IMAGE, 0, 0]


def test_regions_are_told_apart_by_their_places():
    series = SimulatedSeries(passages={"1944": (date(2014, 1, 7), 15), "1945": (date(2014, 1, 7), 15)})
    assert {series.region_at(row) for row in series.table["1945"]} == {"1945"}
    assert {series.region_at(row) for row in series.table["1944"]} == {"1944"}
    assert series.region_at(Position("2014.01.07_23:59:59Z", "0", "88")) is None


def test_made_up_image_is_as_jsoc_delivers_them(tmp_path):
    from astropy.io import fits

    path = tmp_path / "hmi.fits"
    path.write_bytes(made_up_cutout("1944", Record(DAY + timedelta(minutes=12), 3, NO_IMAGE), 32))
    with fits.open(path) as file:
        assert file[0].data is None
        assert file[1].shape == (32, 32)
        cards = file[1].header
        assert (cards["T_REC"], cards["CAMERA"], cards["QUALITY"]) == ("2014.01.07_00:12:00_TAI", 3, NO_IMAGE)
    field = read_magnetogram(path)
    np.testing.assert_allclose(field, np.round(field, 1), atol=1e-6)  # whole tenths of a gauss


def test_images_of_a_folder_at_the_places_of_summaries(shared_data):
    series = SimulatedSeries(shared_data / "active_regions", shared_data / "noaa_raw" / "SRS")
    records = series.records(parse_record_set("hmi.M_720s[2011.02.13_00:00:00_TAI/4d]"))
    path = next((shared_data / "active_regions" / "1158").glob("*.fits"))
    assert series.cutout("1158", records[0], 600) is not None
    assert len(records) >= 12
    assert series.cutout("1423", records[0], 600) is None
    assert path.read_bytes() in {series.cutout("1158", record, 600) for record in records}
    assert series.region_at(Position("2014.12.31_23:59:59Z", "56", "19")) == "2246"


def test_folder_without_summaries_gets_places_of_its_own(shared_data):
    series = SimulatedSeries(shared_data / "active_regions", Path(""))
    assert len(series.table) == 16
    assert {region: {series.region_at(row) for row in rows} for region, rows in series.table.items()} == {
        region: {region} for region in series.table}


def test_counted_fault_ends():
    faults = Faults(tar_not_found=2)
    assert [faults.take("tar_not_found") for _ in range(4)] == [True, True, False, False]
    assert not faults.take("tar_html")


def test_every_third_answer():
    faults = Faults(bad_gateway_every=3, bad_gateway=1)
    assert [faults.http_status(number) for number in range(1, 8)] == [502, 0, 502, 0, 0, 502, 0]


def test_failures_by_status():
    faults = Faults(forbidden=1, server_errors=1, too_many_requests=1)
    assert [faults.http_status(1) for _ in range(4)] == [403, 429, 500, 0]


def test_no_fault_by_default():
    faults = Faults()
    assert not any(faults.http_status(number) for number in range(1, 10))
