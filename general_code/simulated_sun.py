"""A simple Sun for trials: active regions that emerge, shear and decay, their fields as seen from Earth, their flares.

A region is a set of Gaussian flux patches on the sphere: one or several bipoles whose polarities separate
(and, in complexes, slide along each other), with plage around them. What Earth sees is the radial field times
the cosine of the heliocentric angle, with noise and without a value off the limb. Flares come at a rate that
grows with the flux close to the polarity inversion line, so that magnetic complexity carries a signal, and
with peak fluxes of a power law. Nothing here is meant to pass for the Sun in detail.

References
----------
Snodgrass & Ulrich 1990, ApJ 351, 309 (rotation of magnetic features); Schrijver 2007, ApJ 655, L117 (flux near
high-gradient polarity inversion lines); Crosby, Aschwanden & Dennis 1993, Sol. Phys. 143, 275 (peak-flux
distribution); Howard 1996, ARA&A 34, 75 (tilt of bipoles).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

IMAGE_PIXELS = 600
ARCSEC_PER_PIXEL = 0.5043
SOLAR_RADIUS_ARCSEC = 967.0
SOLAR_RADIUS_PIXELS = SOLAR_RADIUS_ARCSEC / ARCSEC_PER_PIXEL
NOISE_GAUSS = 5.0  # of a 720 s line-of-sight image, away from strong fields
NETWORK_GAUSS = 3.0  # of the small mixed-polarity elements outside of active regions
TEXTURE_PIXELS = 2.5  # size (sigma) of small-scale structure
INTERMITTENCY = 0.25  # how much it modulates the field of a region
EARTH_MOTION_DEG_PER_DAY = 0.9856
MAP_HALF_WIDTH_DEG, MAP_STEP_DEG = 20.0, 0.06  # the heliographic map of a region that images are taken from
STRONG_FIELD_GAUSS = 150.0  # both polarities above it mark an inversion line that counts
FLUX_SCALE = 1.2e4  # inversion-line flux [G x map cells] at which a region flares once a day
RATE_EXPONENT = 1.2
LARGEST_RATE_PER_DAY = 12.0
SMALLEST_PEAK_FLUX, LARGEST_PEAK_FLUX = 3e-7, 6e-4  # W/m2; N(>F) goes as 1/F between them


@dataclass(frozen=True)
class SimulatedRegion:
    """One active region.

    Attributes
    ----------
    latitude_deg : float
        North positive.
    meridian_day : float
        When it crosses the central meridian [days since the archive's start].
    emergence_day : float
        When its first flux appears [days since the archive's start].
    rise_days, decay_days : float
        Time constants of growth and decay [days].
    complexity : int
        0 a bipole, 1 two bipoles, 2 interleaved and shearing ones.
    patches : numpy.ndarray
        Shape (n, 6): x and y from the centre [deg], their speeds [deg/day], width (sigma) [deg], peak field [G].
    seed : int
        For the noise of its images.
    """

    latitude_deg: float
    meridian_day: float
    emergence_day: float
    rise_days: float
    decay_days: float
    complexity: int
    patches: np.ndarray
    seed: int


def draw_region(rng: np.random.Generator, n_days: float) -> SimulatedRegion:
    """Draw a region at random.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    n_days : float
        Length of the archive [days].

    Returns
    -------
    SimulatedRegion
        It is on the visible disk at some time of the archive.
    """
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
    patches = _bipole(rng, (0.0, 0.0), rng.uniform(2.0, 3.5), leading_sign, size, hemisphere)
    if complexity == 1:
        patches += _bipole(rng, (rng.uniform(-1.5, 1.5), rng.uniform(0.7, 1.6)), 1.8, -leading_sign, 0.7 * size,
                           hemisphere)
    if complexity == 2:  # opposite order close by: the two inner polarities meet, and slide along each other
        patches += _bipole(rng, (rng.uniform(-0.5, 0.5), rng.uniform(0.3, 0.8)), 1.5, -leading_sign, size, hemisphere,
                           shear=rng.uniform(0.2, 0.5))
    for _ in range(40):
        x, y = rng.normal(0.0, (3.5, 1.8))
        sign = leading_sign if x + rng.normal(0, 1.5) > 0 else -leading_sign
        patches.append((x, y, *rng.normal(0, 0.1, 2), rng.uniform(0.1, 0.4), sign * rng.uniform(50, 300)))
    return np.array(patches)


def _bipole(rng: np.random.Generator, centre: tuple[float, float], separation: float, leading_sign: int, size: float,
            hemisphere: int, shear: float = 0.0) -> list[tuple[float, ...]]:
    """Return a compact leading (west) and five scattered following patches of equal flux."""
    tilt = np.deg2rad(rng.normal(6.0, 6.0)) * -hemisphere  # Joy's law: the leading polarity nearer the equator
    half = separation / 2 * np.array((np.cos(tilt), np.sin(tilt)))
    field, width = rng.uniform(1400, 2200) * size, 0.5 * size
    leading = (centre[0] + half[0], centre[1] + half[1], 0.15, shear, width, leading_sign * field)
    following = [(centre[0] - half[0] + rng.normal(0, 0.5), centre[1] - half[1] + rng.normal(0, 0.4), -0.15, -shear,
                  0.6 * width, -leading_sign * field / 1.8) for _ in range(5)]
    return [leading, *following]


# ---------------------------------------------------------------------------- where and how large


def central_meridian_distance(region: SimulatedRegion, day: float) -> float:
    """Return a region's distance from the central meridian.

    Parameters
    ----------
    region : SimulatedRegion
        Rotates at the synodic rate of its latitude.
    day : float
        Days since the archive's start.

    Returns
    -------
    float
        West positive [deg].
    """
    sine2 = np.sin(np.deg2rad(region.latitude_deg)) ** 2
    rate = 14.713 - 2.396 * sine2 - 1.787 * sine2**2 - EARTH_MOTION_DEG_PER_DAY
    return float(rate * (day - region.meridian_day))


def emerged_fraction(region: SimulatedRegion, day: float) -> float:
    """Return the share of a region's field that is there.

    Parameters
    ----------
    region : SimulatedRegion
        Grows towards its patches' peak field, then decays.
    day : float
        Days since the archive's start.

    Returns
    -------
    float
        0 before emergence, below 1 afterwards.
    """
    age = day - region.emergence_day
    if age <= 0:
        return 0.0
    decay = np.exp(-max(0.0, age - 3 * region.rise_days) / region.decay_days)
    return float((1 - np.exp(-age / region.rise_days)) * decay)


# ---------------------------------------------------------------------------- fields


def radial_field(region: SimulatedRegion, day: float) -> np.ndarray:
    """Return the radial field of a region on a plane heliographic map.

    Parameters
    ----------
    region : SimulatedRegion
        Its patches have moved at their speeds since emergence.
    day : float
        Days since the archive's start.

    Returns
    -------
    numpy.ndarray
        Shape (n, n) [G], rows from south to north, columns from east to west, 20 degrees to each side.
    """
    axis = np.arange(-MAP_HALF_WIDTH_DEG, MAP_HALF_WIDTH_DEG + MAP_STEP_DEG / 2, MAP_STEP_DEG)
    x, y, x_speed, y_speed, width, peak = region.patches.T
    age = min(max(day - region.emergence_day, 0.0), 6.0)
    columns = np.exp(-((axis[:, None] - (x + age * x_speed)) ** 2) / (2 * width**2))
    rows = np.exp(-((axis[:, None] - (y + age * y_speed)) ** 2) / (2 * width**2))
    return (rows * (peak * emerged_fraction(region, day))) @ columns.T


def line_of_sight_field(region: SimulatedRegion, day: float) -> np.ndarray:
    """Return the cut-out that an observer at Earth takes of a region.

    Parameters
    ----------
    region : SimulatedRegion
        At the centre of the image.
    day : float
        Days since the archive's start.

    Returns
    -------
    numpy.ndarray
        Shape (600, 600) [G], north up, west to the right; NaN off the limb.
    """
    latitude = np.deg2rad(region.latitude_deg)
    longitude = np.deg2rad(central_meridian_distance(region, day))
    offset = np.arange(IMAGE_PIXELS) - (IMAGE_PIXELS - 1) / 2
    x = (np.sin(longitude) * np.cos(latitude) + offset / SOLAR_RADIUS_PIXELS)[None, :]
    y = (np.sin(latitude) + offset / SOLAR_RADIUS_PIXELS)[:, None]
    cosine = np.sqrt(np.where(x**2 + y**2 < 1, 1 - x**2 - y**2, np.nan))  # of the heliocentric angle
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


def inversion_line_flux(field: np.ndarray) -> float:
    """Return the unsigned flux close to strong polarity inversion lines.

    Parameters
    ----------
    field : numpy.ndarray
        Radial field on the heliographic map [G].

    Returns
    -------
    float
        Sum of the absolute field where strong fields of both signs lie within a quarter of a degree [G x map cells].
    """
    near = np.ones((9, 9), dtype=bool)
    positive = ndimage.maximum_filter(field, footprint=near) > STRONG_FIELD_GAUSS
    negative = ndimage.minimum_filter(field, footprint=near) < -STRONG_FIELD_GAUSS
    return float(np.abs(field[positive & negative]).sum())


def flare_rate(region: SimulatedRegion, day: float) -> float:
    """Return how often a region flares.

    Parameters
    ----------
    region : SimulatedRegion
        Its field sets the rate.
    day : float
        Days since the archive's start.

    Returns
    -------
    float
        Flares of 3e-7 W/m2 and more a day.
    """
    if not emerged_fraction(region, day):
        return 0.0
    flux = inversion_line_flux(radial_field(region, day))
    return min(LARGEST_RATE_PER_DAY, (flux / FLUX_SCALE) ** RATE_EXPONENT)


def draw_peak_fluxes(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw peak fluxes of flares.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    n : int
        How many.

    Returns
    -------
    numpy.ndarray
        Shape (n,) [W/m2]: N(>F) proportional to 1/F between B3.0 and X6.0.
    """
    share = rng.uniform(SMALLEST_PEAK_FLUX / LARGEST_PEAK_FLUX, 1.0, n)
    return SMALLEST_PEAK_FLUX / share
