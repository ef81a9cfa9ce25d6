"""A simple Sun for trials: active regions that emerge, shear and decay, their fields as seen from Earth, their flares.

A region is a set of Gaussian flux patches on the sphere: one or several bipoles whose polarities separate
(and, in complexes, slide along each other), with plage around them. What Earth sees is the radial field times
the cosine of the heliocentric angle, with noise and without a value off the limb. Flares come at a rate that
grows with the flux close to the polarity inversion line, so that magnetic complexity carries a signal, and
with peak fluxes of a power law. Summaries and event reports have NOAA's formats. Nothing here is meant to pass
for the Sun in detail. Times are days since the archive's start.

References
----------
Schrijver 2007, ApJ 655, L117 (flux near high-gradient polarity inversion lines); Crosby, Aschwanden & Dennis 1993,
Sol. Phys. 143, 275 (peak-flux distribution); Howard 1996, ARA&A 34, 75 (tilt of bipoles).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from general_code.noaa.regions import rotation_rate

IMAGE_PIXELS = 600
ARCSEC_PER_PIXEL = 0.5043
SOLAR_RADIUS_ARCSEC = 967.0
SOLAR_RADIUS_PIXELS = SOLAR_RADIUS_ARCSEC / ARCSEC_PER_PIXEL
NOISE_GAUSS = 5.0  # of a 720 s line-of-sight image, away from strong fields
NETWORK_GAUSS = 3.0  # of the small mixed-polarity elements outside of active regions
TEXTURE_PIXELS = 2.5  # size (sigma) of small-scale structure
INTERMITTENCY = 0.25  # how much it modulates the field of a region
CARRINGTON_DEG_PER_DAY = 13.1988  # synodic
MAP_HALF_WIDTH_DEG, MAP_STEP_DEG = 20.0, 0.06  # the heliographic map of a region that images are taken from
STRONG_FIELD_GAUSS = 150.0  # both polarities above it mark an inversion line that counts
FLUX_SCALE = 1.2e4  # inversion-line flux [G x map cells] at which a region flares once a day
RATE_EXPONENT = 1.2
LARGEST_RATE_PER_DAY = 12.0
SMALLEST_PEAK_FLUX, LARGEST_PEAK_FLUX = 3e-7, 6e-4  # W/m2; N(>F) goes as 1/F between them
UNATTRIBUTED_FLARES = 0.05  # share of flares whose report names no region
LIMB_DEG = 84.0  # images are taken out to this distance from the central meridian
MISSING_IMAGES = 0.02  # share
SPOT_FRACTION = 0.25  # of the full field: below it a region has no spots and is not in section I
AREA_PER_PATCH_GAUSS = 0.09  # millionths of the hemisphere per gauss of peak field in large patches
EVENT_HEADER = """\
:Product: {date:%Y%m%d}events.txt
:Created: {created:%Y %b %d} 0357 UT
:Date: {date:%Y %m %d}
# Simulated; no report of NOAA
#
#
# Missing data: ////
# Updated every 5 minutes.
#                            Edited Events for {date:%Y %b %d}
#
#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#
#-------------------------------------------------------------------------------

"""
SUMMARY_HEADER = """\
:Product: {date:%m%d}SRS.txt
:Issued: {date:%Y %b %d} 0030 UTC
# Simulated; no report of NOAA
#
#
Joint USAF/NOAA Solar Region Summary
SRS Number {day_of_year} Issued at 0030Z on {date:%d %b %Y}
Report compiled from data received at SWO on {before:%d %b}
I.  Regions with Sunspots.  Locations Valid at {before:%d}/2400Z
Nmbr Location  Lo  Area  Z   LL   NN Mag Type
"""
SUMMARY_END = """\
IA. H-alpha Plages without Spots.  Locations Valid at {before:%d}/2400Z {before:%b}
Nmbr  Location  Lo
None
II. Regions Due to Return {date:%d %b} to {return_date:%d %b}
Nmbr Lat    Lo
None
"""


@dataclass(frozen=True)
class SimulatedRegion:
    """One active region; `patches` holds, a row each: x, y [deg], their speeds [deg/day], sigma [deg], peak [G]."""

    latitude_deg: float  # north positive
    meridian_day: float  # when it crosses the central meridian
    emergence_day: float  # when its first flux appears
    rise_days: float  # time constant of its growth
    decay_days: float  # time constant of its decay
    complexity: int  # 0 a bipole, 1 two bipoles, 2 interleaved and shearing ones
    patches: np.ndarray
    seed: int  # for the noise of its images


class SimulatedRow(NamedTuple):
    """A region's row in section I of a day's summary, valid at 00:00 of the day."""

    region: str
    day: int
    text: str


class SimulatedFlare(NamedTuple):
    """One X-ray flare; times in minutes since the archive's start, region "" where the report names none."""

    begin: int
    maximum: int
    end: int
    region: str
    peak_flux: float  # 1-8 Angstrom [W/m2]


class SimulatedSun:
    """An archive drawn by `rng`: regions by number, as they appear, listed twice or more; rows by day; flares."""

    def __init__(self, rng: np.random.Generator, n_regions: int, n_days: int, first_region: int) -> None:
        drawn = []
        while len(drawn) < n_regions:
            region = draw_region(rng, n_days)
            days = [day for day in range(n_days) if summary_row("", region, day) is not None]
            if len(days) >= 2:
                drawn.append((days[0], region))
        drawn.sort(key=lambda item: (item[0], item[1].meridian_day))
        self.regions = {f"{(first_region + i) % 10_000:04d}": region for i, (_, region) in enumerate(drawn)}
        rows = [summary_row(number, region, day) for day in range(n_days) for number, region in self.regions.items()]
        self.rows = [row for row in rows if row is not None]
        self.flares = sorted((flare for row in self.rows for flare in draw_flares(rng, self.regions[row.region], row)),
                             key=lambda flare: (flare.maximum, flare.region))

    def region_summary(self, day: int, date: datetime) -> str:
        """Return the text of a day's region summary, by the day's number and its date."""
        return region_summary(date, [row for row in self.rows if row.day == day])

    def event_report(self, day: int, date: datetime) -> str:
        """Return the text of a day's event report, by the day's number and its date."""
        return event_report(date, [flare for flare in self.flares if max(0, flare.begin // 1440) == day])

    def image_times(self, rng: np.random.Generator, cadence_hours: float) -> list[tuple[str, float]]:
        """Return region and day of each image: from a region's first row to the day after its last, but for a few."""
        images = []
        for number, region in self.regions.items():
            listed = [row.day for row in self.rows if row.region == number]
            days = np.arange(listed[0], listed[-1] + 1 + 1e-9, cadence_hours / 24)
            images += [(number, float(day)) for day in days if abs(central_meridian_distance(region, day)) < LIMB_DEG]
        return [image for image in images if rng.random() >= MISSING_IMAGES]


# ---------------------------------------------------------------------------- regions


def draw_region(rng: np.random.Generator, n_days: float) -> SimulatedRegion:
    """Draw a region that is on the visible disk at some time of an archive of `n_days`."""
    hemisphere = rng.choice((-1, 1))
    meridian_day = rng.uniform(-2.0, n_days + 2.0)
    complexity = int(rng.choice(3, p=(0.4, 0.3, 0.3)))
    return SimulatedRegion(
        latitude_deg=float(hemisphere * rng.uniform(6.0, 28.0)), meridian_day=float(meridian_day),
        emergence_day=float(meridian_day + rng.uniform(-8.0, 2.0)), rise_days=float(rng.uniform(0.8, 2.0)),
        decay_days=float(rng.uniform(2.0, 7.0)), complexity=complexity,
        patches=_draw_patches(rng, hemisphere, complexity), seed=int(rng.integers(2**31)))


def _draw_patches(rng: np.random.Generator, hemisphere: int, complexity: int) -> np.ndarray:
    """Return the flux patches of a region: leading and following polarity of each bipole, then plage."""
    leading_sign = -hemisphere  # Hale's law for one cycle
    size = rng.uniform(0.6, 1.0)
    patches = _bipole(rng, hemisphere, (0.0, 0.0), rng.uniform(2.0, 3.5), leading_sign * size)
    if complexity == 1:
        centre = (rng.uniform(-1.5, 1.5), rng.uniform(0.7, 1.6))
        patches += _bipole(rng, hemisphere, centre, 1.8, -leading_sign * 0.7 * size)
    if complexity == 2:  # opposite order close by: the two inner polarities meet, and slide along each other
        centre = (rng.uniform(-0.5, 0.5), rng.uniform(0.3, 0.8))
        patches += _bipole(rng, hemisphere, centre, 1.5, -leading_sign * size, shear=rng.uniform(0.2, 0.5))
    for _ in range(40):
        x, y = rng.normal(0.0, (3.5, 1.8))
        sign = leading_sign if x + rng.normal(0, 1.5) > 0 else -leading_sign
        patches.append((x, y, *rng.normal(0, 0.1, 2), rng.uniform(0.1, 0.4), sign * rng.uniform(50, 300)))
    return np.array(patches)


def _bipole(rng: np.random.Generator, hemisphere: int, centre: tuple[float, float], separation: float,
            strength: float, *, shear: float = 0.0) -> list[tuple[float, ...]]:
    """Return a compact leading (west) patch with the sign of `strength`, and five scattered following ones."""
    tilt = np.deg2rad(rng.normal(6.0, 6.0)) * -hemisphere  # Joy's law: the leading polarity nearer the equator
    half = separation / 2 * np.array((np.cos(tilt), np.sin(tilt)))
    field = rng.uniform(1400, 2200) * strength
    width = 0.5 * abs(strength)
    leading = (centre[0] + half[0], centre[1] + half[1], 0.15, shear, width, field)
    following = [(centre[0] - half[0] + rng.normal(0, 0.5), centre[1] - half[1] + rng.normal(0, 0.4), -0.15, -shear,
                  0.6 * width, -field / 1.8) for _ in range(5)]  # together the same flux
    return [leading, *following]


def central_meridian_distance(region: SimulatedRegion, day: float) -> float:
    """Return a region's distance from the central meridian, west positive [deg]; beyond 90 it is behind the limb."""
    return float(rotation_rate(region.latitude_deg) * (day - region.meridian_day))


def emerged_fraction(region: SimulatedRegion, day: float) -> float:
    """Return the share of a region's peak field that is there: 0 before emergence, below 1 afterwards."""
    age = day - region.emergence_day
    if age <= 0:
        return 0.0
    decay = np.exp(-max(0.0, age - 3 * region.rise_days) / region.decay_days)
    return float((1 - np.exp(-age / region.rise_days)) * decay)


# ---------------------------------------------------------------------------- fields


def radial_field(region: SimulatedRegion, day: float) -> np.ndarray:
    """Return the radial field [G] on a plane heliographic map, 20 degrees to each side: rows northwards, columns west.

    Its patches have moved at their speeds since emergence, for at most six days.
    """
    axis = np.arange(-MAP_HALF_WIDTH_DEG, MAP_HALF_WIDTH_DEG + MAP_STEP_DEG / 2, MAP_STEP_DEG)
    x, y, x_speed, y_speed, width, peak = region.patches.T
    age = min(max(day - region.emergence_day, 0.0), 6.0)
    columns = np.exp(-((axis[:, None] - (x + age * x_speed)) ** 2) / (2 * width**2))
    rows = np.exp(-((axis[:, None] - (y + age * y_speed)) ** 2) / (2 * width**2))
    return (rows * (peak * emerged_fraction(region, day))) @ columns.T


def simulated_image(region: SimulatedRegion, day: float, time: datetime) -> tuple[np.ndarray, list[tuple[str, object]]]:
    """Return a cut-out of a region with the keywords that the export service writes into it.

    Parameters
    ----------
    region, day, time : SimulatedRegion, float, datetime
        At the centre of the image; days since the archive's start, and the same as a date, TAI.

    Returns
    -------
    field, header : numpy.ndarray, list of (str, object)
        Shape (600, 600) [G], north up, west to the right, NaN off the limb; keywords and values.
    """
    latitude, longitude = np.deg2rad((region.latitude_deg, central_meridian_distance(region, day)))
    centre = (IMAGE_PIXELS + 1) / 2
    header = [
        ("T_REC", f"{time:%Y.%m.%d_%H:%M:%S}_TAI"), ("DATE-OBS", f"{time:%Y-%m-%dT%H:%M:%S}"),
        ("TELESCOP", "SIMULATED"), ("CAMERA", 3), ("CONTENT", "MAGNETOGRAM"), ("QUALITY", 0),
        ("RSUN_OBS", SOLAR_RADIUS_ARCSEC), ("CRLT_OBS", 0.0),
        ("CTYPE1", "HPLN-TAN"), ("CTYPE2", "HPLT-TAN"), ("CUNIT1", "arcsec"), ("CUNIT2", "arcsec"),
        ("CRPIX1", centre - SOLAR_RADIUS_PIXELS * np.sin(longitude) * np.cos(latitude)),
        ("CRPIX2", centre - SOLAR_RADIUS_PIXELS * np.sin(latitude)),
        ("CRVAL1", 0.0), ("CRVAL2", 0.0), ("CDELT1", ARCSEC_PER_PIXEL), ("CDELT2", ARCSEC_PER_PIXEL), ("CROTA2", 0.0)]
    return line_of_sight_field(region, day), header


def line_of_sight_field(region: SimulatedRegion, day: float) -> np.ndarray:
    """Return the field that an observer at Earth sees of a region [G], as in `simulated_image`."""
    latitude = np.deg2rad(region.latitude_deg)
    longitude = np.deg2rad(central_meridian_distance(region, day))
    offset = np.arange(IMAGE_PIXELS) - (IMAGE_PIXELS - 1) / 2
    x = (np.sin(longitude) * np.cos(latitude) + offset / SOLAR_RADIUS_PIXELS)[None, :]
    y = (np.sin(latitude) + offset / SOLAR_RADIUS_PIXELS)[:, None]
    cosine = np.sqrt(np.where(x**2 + y**2 < 1, 1 - x**2 - y**2, np.nan))  # of the heliocentric angle

    # where each pixel looks on the map of the radial field
    rows = np.rad2deg(np.arcsin(np.clip(y, -1, 1)) - latitude) + 0 * x
    columns = np.rad2deg(np.arctan2(x, cosine) - longitude) * np.cos(latitude)
    places = (np.stack((rows, columns)) + MAP_HALF_WIDTH_DEG) / MAP_STEP_DEG
    field = ndimage.map_coordinates(radial_field(region, day), np.nan_to_num(places, nan=-1e3), order=1)

    grains, texture = _small_scale(region.seed, day)
    network = NETWORK_GAUSS * texture**3  # few strong elements, many weak ones
    return (field * (1 + INTERMITTENCY * texture) + network) * cosine + NOISE_GAUSS * grains


def _small_scale(seed: int, day: float) -> tuple[np.ndarray, np.ndarray]:
    """Return white noise and structure of a few pixels' size, of unit variance; the same for one region and time."""
    rng = np.random.default_rng((seed, round((day + 1e4) * 1440)))
    grains, texture = rng.standard_normal((2, IMAGE_PIXELS, IMAGE_PIXELS), dtype=np.float32)
    texture = ndimage.gaussian_filter(texture, TEXTURE_PIXELS, truncate=3)
    return grains, texture * (2 * np.sqrt(np.pi) * TEXTURE_PIXELS)


# ---------------------------------------------------------------------------- flares


def draw_flares(rng: np.random.Generator, region: SimulatedRegion, row: SimulatedRow) -> list[SimulatedFlare]:
    """Draw the flares of a region on a day on which it is listed, at the rate of each quarter of the day."""
    flares = []
    for quarter in range(4):
        day = row.day + quarter / 4
        n = rng.poisson(flare_rate(region, day) / 4)
        for peak_flux in draw_peak_fluxes(rng, n):
            maximum = round((day + rng.uniform(0, 0.25)) * 1440)
            begin = maximum - int(rng.integers(4, 25))
            end = maximum + int(rng.integers(4, 60))
            number = "" if rng.random() < UNATTRIBUTED_FLARES else row.region
            flares.append(SimulatedFlare(begin, maximum, end, number, float(peak_flux)))
    return flares


def flare_rate(region: SimulatedRegion, day: float) -> float:
    """Return how many flares of 3e-7 W/m2 and more a region has a day."""
    if not emerged_fraction(region, day):
        return 0.0
    flux = inversion_line_flux(radial_field(region, day))
    return min(LARGEST_RATE_PER_DAY, (flux / FLUX_SCALE) ** RATE_EXPONENT)


def inversion_line_flux(field: np.ndarray) -> float:
    """Return the unsigned flux [G x map cells] where strong fields of both signs lie within a quarter of a degree."""
    rows, columns = np.nonzero(np.abs(field) > STRONG_FIELD_GAUSS)
    if not len(rows):
        return 0.0
    near = 4  # map cells
    south, east = max(rows.min() - near, 0), max(columns.min() - near, 0)
    field = field[south:rows.max() + near + 1, east:columns.max() + near + 1]
    positive = ndimage.maximum_filter(field, 2 * near + 1) > STRONG_FIELD_GAUSS
    negative = ndimage.minimum_filter(field, 2 * near + 1) < -STRONG_FIELD_GAUSS
    return float(np.abs(field[positive & negative]).sum())


def draw_peak_fluxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw `n` peak fluxes [W/m2], N(>F) proportional to 1/F between B3.0 and X6.0."""
    share = rng.uniform(SMALLEST_PEAK_FLUX / LARGEST_PEAK_FLUX, 1.0, n)
    return SMALLEST_PEAK_FLUX / share


# ---------------------------------------------------------------------------- reports


def summary_row(number: str, region: SimulatedRegion, day: int) -> SimulatedRow | None:
    """Return a region's row of a day's summary, rounded as in the originals; None off the disk or without spots."""
    longitude = central_meridian_distance(region, day)
    fraction = emerged_fraction(region, day)
    if abs(longitude) > 90 or fraction < SPOT_FRACTION:
        return None
    large = region.patches[np.abs(region.patches[:, 5]) > 200]
    area = max(10, round(float(np.abs(large[:, 5]).sum()) * fraction * AREA_PER_PATCH_GAUSS / 10) * 10)
    extent = max(1, round(float(np.ptp(large[:, 0]))))
    magnetic = ("Beta", "Beta-Gamma", "Beta-Gamma-Delta")[region.complexity]
    mcintosh = ("Bxo" if area < 100 else "Dso", "Dai", "Ekc")[region.complexity]
    place = (f"{'N' if region.latitude_deg >= 0 else 'S'}{abs(region.latitude_deg):02.0f}"
             f"{'E' if longitude < 0 else 'W'}{abs(longitude):02.0f}")
    carrington = round(longitude - CARRINGTON_DEG_PER_DAY * day) % 360
    spots = max(1, area // 20)
    return SimulatedRow(number, day, f"{number:4} {place}   {carrington:03d}  {area:04d} {mcintosh}  {extent:02d}   "
                                     f"{spots:02d} {magnetic}")


def region_summary(date: datetime, rows: Sequence[SimulatedRow]) -> str:
    """Return the text of the summary issued on a day; "None" stands in section I when there are no rows."""
    fields = {"date": date, "day_of_year": date.timetuple().tm_yday, "before": date - timedelta(days=1),
              "return_date": date + timedelta(days=2)}
    body = "".join(f"{row.text}\n" for row in rows) or "None\n"
    return SUMMARY_HEADER.format(**fields) + body + SUMMARY_END.format(**fields)


def event_report(date: datetime, flares: Sequence[SimulatedFlare]) -> str:
    """Return the report of the flares that begin on a day; a time after midnight has the next day's clock."""
    header = EVENT_HEADER.format(date=date, created=date + timedelta(days=3))
    rows = [_event_row(10 * (i + 1), flare) for i, flare in enumerate(flares)]
    return header + ("\n".join(rows) or "NO EVENT REPORTS.\n")


def _event_row(event: int, flare: SimulatedFlare) -> str:
    """Return an XRA row and its line end."""
    begin, maximum, end = (f"{minute % 1440 // 60:02d}{minute % 60:02d}"
                           for minute in (max(0, flare.begin), flare.maximum, flare.end))
    energy = flare.peak_flux * 60 * (flare.end - flare.begin) / 2  # a triangle in time [J/m2]
    return (f"{event:04d}       {begin}   {maximum}      {end}  G18  5   XRA  1-8A      "
            f"{_flare_class(flare.peak_flux):<5}   {energy:.1E}   {flare.region:4}\n")


def _flare_class(peak_flux: float) -> str:
    """Return a peak flux [W/m2] as a class with one decimal, cut as the reports cut it."""
    decade = min(4, max(0, int(np.floor(np.log10(peak_flux) + 8 + 1e-9))))
    return f"{'ABCMX'[decade]}{np.floor(peak_flux / 10.0 ** (decade - 8) * 10 + 1e-9) / 10:.1f}"
