"""The simulated archive: its physics in outline, its formats, and that it is the same every time."""

import re
from datetime import datetime

import numpy as np
import pytest

from general_code import simulate_archive, simulated_reports, simulated_sun
from general_code.image_names import parse_image_name
from general_code.magnetograms import list_images, read_magnetogram
from general_code.simulate_archive import UserDefinitions
from general_code.simulated_reports import SimulatedFlare

SMALL = {"n_regions": 3, "n_days": 4, "cadence_hours": 24.0, "n_jobs": 1}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A small archive."""
    folder = tmp_path_factory.mktemp("archive")
    simulate_archive.main(UserDefinitions(archive_dir=folder, **SMALL))
    return folder


@pytest.fixture
def region():
    """A region with interleaved bipoles on the northern hemisphere."""
    rng = np.random.default_rng(3)
    while True:
        region = simulated_sun.draw_region(rng, 10.0)
        if region.complexity == 2 and region.latitude_deg > 0:
            return region


def test_images_are_as_the_service_delivers_them(archive):
    images = list_images(archive / "active_regions", "fits")
    assert len(images) >= 3
    for path in images[:4]:
        field = read_magnetogram(path)
        assert field.shape == (600, 600)
        assert parse_image_name(path.name).camera == 3
        tenths = field[np.isfinite(field)] * 10
        np.testing.assert_allclose(tenths, np.rint(tenths), atol=1e-6)


def test_reports_have_noaas_columns(archive):
    summaries = sorted(archive.glob("SRS/2030_SRS/*SRS.txt"))
    assert [path.name for path in summaries] == ["20300101SRS.txt", "20300102SRS.txt", "20300104SRS.txt"]
    assert "I.  Regions with Sunspots.  Locations Valid at 31/2400Z\n" in summaries[0].read_text()
    rows = [line for path in summaries for line in path.read_text().splitlines() if re.match(r"\d{4} [NS]", line)]
    assert rows
    for row in rows:
        assert re.fullmatch(r"\d{4} [NS]\d\d[EW]\d\d   \d{3}  \d{4} [A-Z][a-z]{2}  \d\d   \d\d [A-Z][A-Za-z-]+", row)
    assert len(list(archive.glob("Events/2030_events/*events.txt"))) == 4


@pytest.mark.parametrize(("peak_flux", "flare_class"), [
    (1e-6, "C1.0"), (9.99e-7, "B9.9"), (3e-7, "B3.0"), (1.23e-5, "M1.2"), (5.99e-4, "X5.9"), (1.2e-3, "X12.0")])
def test_an_event_row_has_eighty_columns(peak_flux, flare_class):
    text = simulated_reports.event_report(datetime(2030, 1, 1), [SimulatedFlare(5, 70, 1500, "9001", peak_flux)])
    row = text.splitlines()[-1]
    assert len(row) == 80
    assert (row[11:15], row[18:22], row[28:32], row[43:46], row[76:80]) == ("0005", "0110", "0100", "XRA", "9001")
    assert row[58:63].strip() == flare_class
    assert float(row[66:73]) > 0


def test_a_day_without_flares_says_so():
    assert simulated_reports.event_report(datetime(2030, 1, 1), []).endswith("\nNO EVENT REPORTS.\n")


def test_the_same_settings_make_the_same_archive_and_a_second_run_has_nothing_to_do(archive, tmp_path, capsys):
    simulate_archive.main(UserDefinitions(archive_dir=tmp_path, **SMALL))
    names = sorted(path.relative_to(archive) for path in archive.rglob("*.fits"))
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.fits"))
    assert all((archive / name).read_bytes() == (tmp_path / name).read_bytes() for name in names[:3])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.fits")}
    simulate_archive.main(UserDefinitions(archive_dir=tmp_path, **SMALL))
    assert "nothing to do" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.fits")}


@pytest.mark.parametrize("wrong", [{"n_regions": 0}, {"cadence_hours": 0.0}, {"cadence_hours": float("nan")},
                                   {"first_date": "20300230"}])
def test_settings_that_make_no_archive(tmp_path, wrong):
    with pytest.raises(SystemExit, match="expected"):
        simulate_archive.main(UserDefinitions(archive_dir=tmp_path, **(SMALL | wrong)))


def test_a_region_rotates_from_east_to_west_about_thirteen_degrees_a_day(region):
    distance = [simulated_sun.central_meridian_distance(region, region.meridian_day + step) for step in (-1, 0, 1)]
    assert distance[1] == 0
    assert 12.5 < distance[2] < 13.8
    assert distance[0] == -distance[2]


def test_a_region_emerges_and_decays(region):
    ages = np.arange(-1, 40)
    share = np.array([simulated_sun.emerged_fraction(region, region.emergence_day + age) for age in ages])
    assert share[0] == share[1] == 0
    peak = int(share.argmax())
    assert 0.5 < share[peak] < 1
    assert (np.diff(share[2:peak]) > 0).all()
    assert (np.diff(share[peak:]) < 0).all()


def test_pixels_off_the_limb_have_no_value_and_others_have(region):
    day = region.meridian_day
    assert np.isfinite(simulated_sun.line_of_sight_field(region, day)).all()
    at_limb = simulated_sun.line_of_sight_field(region, day + 6.0)
    assert np.isnan(at_limb[:, -1]).all()  # west is to the right
    assert np.isfinite(at_limb[300, 300])


def test_the_line_of_sight_field_is_foreshortened(region):
    day = region.meridian_day
    near, far = (np.nanstd(simulated_sun.line_of_sight_field(region, day + step)) for step in (0.0, 4.5))
    assert far < 0.8 * near


def test_interleaved_polarities_have_more_inversion_line_flux_and_flare_more(region):
    day = region.emergence_day + 3
    field = simulated_sun.radial_field(region, day)
    assert simulated_sun.inversion_line_flux(np.abs(field)) == 0
    assert simulated_sun.inversion_line_flux(field) > 1e4
    assert simulated_sun.flare_rate(region, day) > 0.3
    assert simulated_sun.flare_rate(region, region.emergence_day - 1) == 0


def test_peak_fluxes_follow_the_power_law():
    fluxes = simulated_sun.draw_peak_fluxes(np.random.default_rng(0), 100_000)
    assert fluxes.min() >= 3e-7
    assert fluxes.max() <= 6e-4
    # N(>F) = F0/F but for the cut at the upper end: 0.3 and 0.03 for C1.0 and M1.0
    assert (fluxes > 1e-6).mean() == pytest.approx(0.3, abs=0.01)
    assert (fluxes > 1e-5).mean() == pytest.approx(0.03, abs=0.003)
