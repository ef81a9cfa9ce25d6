"""What the flares that were public at an image's time say: the region's own, and those elsewhere on the Sun.

All by sorting, running sums and bisection: a million images against ten thousand flares take seconds. A flare counts
from the moment at which it is public, that moment included: for a flare from an event report its end.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from general_code.sorted_search import KEY_BITS, region_time_keys

C1, M1 = 1e-6, 1e-5  # peak flux of C1.0 and M1.0 [W/m2], 1-8 A
WINDOWS_H = (6, 12, 24, 48, 72)
SINCE_APPEARANCE = "since_appearance"
NO_FLUX = 1e-7  # stands for no flare in a logarithm of a flux [W/m2]
LONGEST_H, SHORTEST_H = 240.0, 1.0  # hours since a flare are kept between these; never: LONGEST_H
ELSEWHERE_H, SUN_DAYS = (24, 72), (7, 27, 81)  # a week, a rotation, three rotations
NO_REGION = -1


class Flares(NamedTuple):
    """X-ray flares, in any order; arrays of shape (n,).

    Attributes
    ----------
    public : numpy.ndarray
        datetime64[s], UTC, when the flare became known.
    region : numpy.ndarray
        int64, NOAA number 0..9999, -1 for a flare of no known region.
    peak_flux : numpy.ndarray
        float64 [W/m2].
    """

    public: np.ndarray
    region: np.ndarray
    peak_flux: np.ndarray

    def select(self, chosen: np.ndarray) -> "Flares":
        """Return some of the flares.

        Parameters
        ----------
        chosen : numpy.ndarray, shape (n,)
            bool.

        Returns
        -------
        Flares
            Those where it is True.
        """
        return Flares(*(column[chosen] for column in self))


class _Timeline:
    """Flares sorted by key, with running sums, and where the images stand among them."""

    def __init__(self, keys: np.ndarray, flux: np.ndarray, images: np.ndarray, first: np.ndarray) -> None:
        """Sort the flares; `images` are the images' keys, `first` the earliest key that can concern each."""
        order = np.argsort(keys, kind="stable")
        self.keys, self.flux, self.images = keys[order], flux[order], images
        self.total = np.concatenate([[0.0], np.cumsum(self.flux)])
        self.start = np.searchsorted(self.keys, first, side="left")
        self.end = np.searchsorted(self.keys, images, side="right")

    def window(self, hours: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Return number and summed flux of the flares in the past hours (None: all)."""
        low = self.start
        if hours is not None:
            low = np.maximum(low, np.searchsorted(self.keys, self.images - int(hours * 3600), side="right"))
        number = self.end - low
        return number, np.where(number > 0, self.total[self.end] - self.total[low], 0.0)

    def hours_since_last(self) -> np.ndarray:
        """Return the hours since the last flare, infinite where there was none."""
        if not len(self.keys):
            return np.full(len(self.images), np.inf)
        last = self.keys[np.maximum(self.end - 1, 0)]
        return np.where(self.end > self.start, (self.images - last) / 3600, np.inf)


def region_history(region: np.ndarray, time: np.ndarray, flares: Flares) -> dict[str, np.ndarray]:
    """Return the flare history of each image's region.

    Parameters
    ----------
    region : numpy.ndarray, shape (m,)
        int64, NOAA number; -1 while the region has none: no flare is its own then.
    time : numpy.ndarray, shape (m,)
        datetime64[s].
    flares : Flares
        Of all regions.

    Returns
    -------
    dict of str to numpy.ndarray
        Columns of shape (m,), finite. Numbers n of flares as ln(1 + n), fluxes F as log10(F + NO_FLUX), hours since
        the last flare as ln(hours) between SHORTEST_H and LONGEST_H with a 0/1 column for whether there was one.
    """
    images, first = region_time_keys(region, time), region_time_keys(region, np.zeros(len(region), "datetime64[s]"))
    own = flares.select(flares.region >= 0)
    classes = {"C": own.select(own.peak_flux >= C1), "M": own.select(own.peak_flux >= M1),
               "B": own.select(own.peak_flux < C1)}
    lines = {name: _Timeline(region_time_keys(f.region, f.public), f.peak_flux, images, first)
             for name, f in classes.items()}
    columns: dict[str, np.ndarray] = {}
    for name, line in lines.items():
        for label, hours in _windows():
            number, flux = line.window(hours)
            columns[f"log_flares_{name}_{label}"] = np.log1p(number)
            if name == "C":
                columns[f"log_flux_{label}"] = np.log10(flux + NO_FLUX)
        hours = line.hours_since_last()
        columns[f"log_hours_since_{name}"] = np.log(np.clip(hours, SHORTEST_H, LONGEST_H))
        columns[f"had_{name}"] = np.isfinite(hours).astype(float)
    return columns | _decayed(lines["C"]) | _largest(lines["C"])


def sun_history(region: np.ndarray, time: np.ndarray, flares: Flares) -> dict[str, np.ndarray]:
    """Return how active the rest of the Sun was, flares without a region included, and the whole Sun over weeks.

    Parameters
    ----------
    region : numpy.ndarray, shape (m,)
        int64, NOAA number; -1 while the region has none: every flare is one elsewhere then.
    time : numpy.ndarray, shape (m,)
        datetime64[s].
    flares : Flares
        Of all regions, and of none.

    Returns
    -------
    dict of str to numpy.ndarray
        Columns of shape (m,), finite, in the same units.
    """
    own = flares.select(flares.region >= 0)
    first = region_time_keys(region, np.zeros(len(region), "datetime64[s]"))
    moments = np.asarray(time, "datetime64[s]").astype(np.int64)
    columns: dict[str, np.ndarray] = {}
    for name, smallest in (("C", C1), ("M", M1)):
        strong, own_strong = flares.select(flares.peak_flux >= smallest), own.select(own.peak_flux >= smallest)
        sun = _Timeline(strong.public.astype("datetime64[s]").astype(np.int64), strong.peak_flux, moments,
                        np.zeros(len(moments), np.int64))
        here = _Timeline(region_time_keys(own_strong.region, own_strong.public), own_strong.peak_flux,
                         region_time_keys(region, time), first)
        for hours in ELSEWHERE_H:
            (number, flux), (own_number, own_flux) = sun.window(hours), here.window(hours)
            columns[f"log_elsewhere_flares_{name}_{hours}h"] = np.log1p(number - own_number)
            if name == "C":
                columns[f"log_elsewhere_flux_{hours}h"] = np.log10(np.maximum(flux - own_flux, 0) + NO_FLUX)
        for days in SUN_DAYS:
            columns[f"log_sun_flares_{name}_{days}d"] = np.log1p(sun.window(24 * days)[0])
    weak = np.sort(flares.public[flares.peak_flux < C1].astype("datetime64[s]").astype(np.int64))
    for days in (1, 27):
        number = np.searchsorted(weak, moments, "right") - np.searchsorted(weak, moments - 86400 * days, "right")
        columns[f"log_sun_flares_B_{days}d"] = np.log1p(number)
    return columns


def _windows() -> Iterable[tuple[str, int | None]]:
    """Return names and lengths [h] of the windows of the past."""
    return [*((f"{hours}h", hours) for hours in WINDOWS_H), (SINCE_APPEARANCE, None)]


def _decayed(line: _Timeline) -> dict[str, np.ndarray]:
    """Return number and flux of the region's flares, each weighted by exp(-age / tau), for tau of every window."""
    taus = 3600.0 * np.array(WINDOWS_H)
    values = np.stack([np.ones_like(line.flux), line.flux])[:, :, None]  # (2, n, 1)
    sums = np.zeros((2, len(line.keys) + 1, len(taus)))  # the last is that of no flare
    same = np.diff(line.keys >> KEY_BITS, prepend=-9) == 0
    for i in range(len(line.keys)):
        sums[:, i] = values[:, i]
        if same[i]:
            sums[:, i] += sums[:, i - 1] * np.exp((line.keys[i - 1] - line.keys[i]) / taus)
    flared = line.end > line.start
    last = np.where(flared, line.end - 1, len(line.keys))
    age = np.where(flared, line.images - np.append(line.keys, 0)[last], 0)
    columns: dict[str, np.ndarray] = {}
    for j, hours in enumerate(WINDOWS_H):
        fading = np.exp(-age / taus[j])
        columns[f"log_decayed_flares_{hours}h"] = np.log1p(sums[0, last, j] * fading)
        columns[f"log_decayed_flux_{hours}h"] = np.log10(sums[1, last, j] * fading + NO_FLUX)
    return columns


def _largest(line: _Timeline) -> dict[str, np.ndarray]:
    """Return the largest peak flux of the region so far."""
    largest = np.zeros(len(line.keys) + 1)
    regions = line.keys >> KEY_BITS
    for i, flux in enumerate(line.flux):
        largest[i] = max(flux, largest[i - 1]) if i and regions[i] == regions[i - 1] else flux
    last = np.where(line.end > line.start, line.end - 1, len(line.keys))
    return {"log_largest_flux": np.log10(largest[last] + NO_FLUX)}
