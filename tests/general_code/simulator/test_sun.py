"""The simulated Sun: its physics in outline, and reports with NOAA's columns."""

from datetime import datetime

import numpy as np
import pytest

from general_code.simulator import sun
from general_code.simulator.sun import SimulatedFlare, SimulatedSun


@pytest.fixture
def region():
    """A region with interleaved bipoles on the northern hemisphere."""
    rng = np.random.default_rng(3)
    while True:
        region = sun.draw_region(rng, 10.0)
        if region.complexity == 2 and region.latitude_deg > 0:
            return region


def test_a_region_rotates_from_east_to_west_about_thirteen_degrees_a_day(region):
    distance = [sun.central_meridian_distance(region, region.meridian_day + step) for step in (-1, 0, 1)]
    assert distance[1] == 0
    assert 12.5 < distance[2] < 13.8
    assert distance[0] == -distance[2]


def test_a_region_emerges_and_decays(region):
    ages = np.arange(-1, 40)
    share = np.array([sun.emerged_fraction(region, region.emergence_day + age) for age in ages])
    assert share[0] == share[1] == 0
    peak = int(share.argmax())
    assert 0.5 < share[peak] < 1
    assert (np.diff(share[2:peak]) > 0).all()
    assert (np.diff(share[peak:]) < 0).all()


def test_pixels_off_the_limb_have_no_value_and_others_have(region):
    day = region.meridian_day
    assert np.isfinite(sun.line_of_sight_field(region, day)).all()
    at_limb = sun.line_of_sight_field(region, day + 6.0)
    assert np.isnan(at_limb[:, -1]).all()  # west is to the right
    assert np.isfinite(at_limb[300, 300])


def test_the_line_of_sight_field_is_foreshortened(region):
    near, far = (np.nanstd(sun.line_of_sight_field(region, region.meridian_day + step)) for step in (0.0, 4.5))
    assert far < 0.8 * near


def test_interleaved_polarities_have_more_inversion_line_flux_and_flare_more(region):
    day = region.emergence_day + 3
    field = sun.radial_field(region, day)
    assert sun.inversion_line_flux(np.abs(field)) == 0
    assert sun.inversion_line_flux(field) > 1e4
    assert sun.flare_rate(region, day) > 0.3
    assert sun.flare_rate(region, region.emergence_day - 1) == 0


def test_peak_fluxes_follow_the_power_law():
    fluxes = sun.draw_peak_fluxes(np.random.default_rng(0), 100_000)
    assert fluxes.min() >= 3e-7
    assert fluxes.max() <= 6e-4
    # N(>F) = F0/F but for the cut at the upper end: 0.3 and 0.03 for C1.0 and M1.0
    assert (fluxes > 1e-6).mean() == pytest.approx(0.3, abs=0.01)
    assert (fluxes > 1e-5).mean() == pytest.approx(0.03, abs=0.003)


def test_regions_are_numbered_as_they_appear_with_four_digits(monkeypatch):
    monkeypatch.setattr(sun, "MAP_STEP_DEG", 0.5)  # for speed
    drawn = SimulatedSun(np.random.default_rng(1), n_regions=4, n_days=6, first_region=19_998)
    assert list(drawn.regions) == ["9998", "9999", "0000", "0001"]
    first_days = [min(row.day for row in drawn.rows if row.region == region) for region in drawn.regions]
    assert first_days == sorted(first_days)


@pytest.mark.parametrize(("peak_flux", "flare_class"), [
    (1e-6, "C1.0"), (9.99e-7, "B9.9"), (3e-7, "B3.0"), (1.23e-5, "M1.2"), (5.99e-4, "X5.9"), (1.2e-3, "X12.0")])
def test_an_event_row_has_eighty_columns(peak_flux, flare_class):
    text = sun.event_report(datetime(2030, 1, 1), [SimulatedFlare(5, 70, 1500, "9001", peak_flux)])
    row = text.splitlines()[-1]
    assert len(row) == 80
    assert (row[11:15], row[18:22], row[28:32], row[43:46], row[76:80]) == ("0005", "0110", "0100", "XRA", "9001")
    assert row[58:63].strip() == flare_class
    assert float(row[66:73]) > 0


def test_a_day_without_flares_says_so():
    assert sun.event_report(datetime(2030, 1, 1), []).endswith("\nNO EVENT REPORTS.\n")
