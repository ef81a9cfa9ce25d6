"""The activity features of an image: everything but its pixels that was known when it was taken.

Columns `activity_names()`, all finite: the flares of the region and of the Sun, the region's last public summary, and
the Sun's. Nothing that became public after the image's time enters. A flare is its region's own once a summary has
given the region its number; before that it is a flare of no known region, like those elsewhere on the Sun. A region
that is in no summary has no flares of its own.
"""

import functools
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd

from general_code.noaa.archive import RECURRENCE_DAYS, EventArchive
from general_code.noaa.flares import AS_REPORTED, EventList, on_scale, peak_flux, scaled_class
from general_code.noaa.regions import KEY_BITS, region_codes, region_time_keys, rotation_rate
from general_code.noaa.reports import SummaryRow
from general_code.stage.run import Problem

C1, M1 = 1e-6, 1e-5  # peak flux of C1.0 and M1.0 [W/m2], 1-8 A
WINDOWS_H = (6, 12, 24, 48, 72)
NO_FLUX = 1e-7  # stands for no flare in a logarithm of a flux [W/m2]
LONGEST_H, SHORTEST_H = 240.0, 1.0  # hours since a flare are kept between these; never: LONGEST_H
ELSEWHERE_H, SUN_DAYS = (24, 72), (7, 27, 81)  # a week, a rotation, three rotations
NO_REGION = -1
ISSUED_AFTER = np.timedelta64(1800, "s")  # a summary is issued at 00:30, not before
OLDEST_H = 240.0  # ages of a summary and of a region's number are kept below this [h]; about a passage is 320 h
MCINTOSH = {"zurich": "ABHCDEF", "penumbra": "xrsahk", "compactness": "xoic"}  # by rising flare rate
MAGNETIC = {"alpha": ("Alpha",), "beta": ("Beta",), "beta_gamma": ("Beta-Gamma", "Gamma"),
            "beta_delta": ("Beta-Delta", "Gamma-Delta", "Delta"), "beta_gamma_delta": ("Beta-Gamma-Delta",)}
SIZES = ("area", "extent", "spots")
MEAN_DAYS = 27  # a rotation
DECIMALS = 5  # of the features in files and models
RECURRENCE = np.timedelta64(RECURRENCE_DAYS, "D")
HOUR = np.timedelta64(3600, "s")


def activity_features(regions: Sequence[str], times: np.ndarray, flares: "Flares", summaries: pd.DataFrame,
                      days: Sequence[date]) -> pd.DataFrame:
    """Return the activity features of images.

    Parameters
    ----------
    regions, times : sequence of str, numpy.ndarray, shape (m,)
        NOAA numbers, four digits; datetime64[s], TAI, compared with the reports' UTC as it stands.
    flares : Flares
        With the moments at which they became public.
    summaries, days : pandas.DataFrame, sequence of datetime.date
        `table` and `days` of `read_summary_archive`.

    Returns
    -------
    pandas.DataFrame
        float32, shape (m, n), columns `activity_names()`, rows in the order of the images, no value NaN or infinite.
    """
    region, time = region_codes(regions), np.asarray(times, "datetime64[s]")
    order = np.lexsort((time, region))  # neighbours in memory are neighbours in time: several times as fast
    region, time = region[order], time[order]
    table: dict[str, np.ndarray] = {}
    state = _region_state(region, time, summaries)
    numbered = np.where(state["has_summary"] > 0, region, NO_REGION)  # no flare is a region's own before its number
    for columns in (_region_history(numbered, time, flares), _sun_history(numbered, time, flares), state,
                    _sun_state(time, summaries, days)):
        for name, values in columns.items():
            table[name] = np.empty(len(order), dtype=np.float32)
            table[name][order] = values
    return pd.DataFrame(table)


@functools.cache
def activity_names() -> tuple[str, ...]:
    """Return the names of the columns of `activity_features`.

    Returns
    -------
    tuple of str
        In the order of the columns.
    """
    nobody = pd.DataFrame({name: [] for name in SummaryRow._fields}).astype({"date": "datetime64[s]"})
    return tuple(activity_features([], np.empty(0, "datetime64[s]"), _flares([]), nobody, []))


def rounded(values: np.ndarray) -> np.ndarray:
    """Return features as files and models hold them.

    Parameters
    ----------
    values : numpy.ndarray
        float32 or float64, of any shape.

    Returns
    -------
    numpy.ndarray
        float64, to `DECIMALS` decimals: the text in a file reads back as the same number; no -0.
    """
    return np.round(np.asarray(values, dtype=np.float64), DECIMALS) + 0.0


# ---- flares and when they became known

class Flares(NamedTuple):
    """X-ray flares, in any order; arrays of shape (n,)."""

    public: np.ndarray  # datetime64[s], UTC, when the flare became known
    region: np.ndarray  # int64, NOAA number 0..9999, -1 for a flare of no known region
    peak_flux: np.ndarray  # float64 [W/m2]

    def select(self, chosen: np.ndarray) -> "Flares":
        """Return the flares where `chosen`, bool, shape (n,), is True."""
        return Flares(*(column[chosen] for column in self))


def flares_of_reports(archive: EventArchive, delay_minutes: float,
                      flare_scale: str = AS_REPORTED) -> tuple[Flares, list[Problem]]:
    """Return the flares of event reports by the time at which they became public, and those that nobody can time.

    A flare is public at its end, one without an end `delay_minutes` after its maximum; repeated rows count once.

    Parameters
    ----------
    archive, delay_minutes, flare_scale : EventArchive, float, str
        Reports; [min]; scale of the peak fluxes, one of `FLARE_SCALES`.

    Returns
    -------
    Flares, list of Problem
        By the time at which they became public; flares with neither end nor maximum.
    """
    rows, problems, delay = set(), [], np.timedelta64(round(delay_minutes * 60), "s")
    for report in archive.reports:
        for row in report.rows:
            public = row.maximum + delay if np.isnat(row.end) else row.end
            region = int(row.region) if row.region else NO_REGION
            if np.isnat(public):
                problems.append(Problem(f"{row.report_date:%Y%m%d}events.txt, line {row.line}",
                                        "flare with neither end nor maximum", f"{row.flare_class} begun {row.begin}",
                                        "flares"))
            else:
                day = np.datetime64(row.report_date)
                flare_class = scaled_class(row.flare_class, row.satellite, day, flare_scale)
                rows.add((public, region, peak_flux(flare_class), row.maximum))
    ordered = sorted(rows, key=lambda row: row[:3])
    return _flares([row[:3] for row in ordered]), problems


def flares_of_list(events: EventList, delay_minutes: float, known: EventList | None = None,
                   flare_scale: str = AS_REPORTED) -> Flares:
    """Return the flares of an event list, public `delay_minutes` after their maximum, but for those known already.

    A known flare has the same region, class and time of maximum, give or take a day: lists may date it by its begin.
    Both lists are as reported, the peak fluxes returned on the scale.
    """
    delay, day = np.timedelta64(round(delay_minutes * 60), "s"), np.timedelta64(1, "D")
    twice = set()
    if known is not None:
        twice = {(region, name, time + shift * day)
                 for region, name, time in zip(known.region, known.flare_class, known.time, strict=True)
                 for shift in (-1, 0, 1)}
    fluxes = on_scale(events, flare_scale).peak_flux
    flares = zip(events.region, events.flare_class, events.time, fluxes, strict=True)
    return _flares([(time + delay, int(region), flux) for region, name, time, flux in flares
                    if (region, name, time) not in twice])


def _flares(rows: list[tuple]) -> Flares:
    """Return rows of public time, region and peak flux as arrays."""
    public, region, flux = zip(*rows, strict=True) if rows else ((), (), ())
    return Flares(np.array(public, dtype="datetime64[s]"), np.array(region, dtype=np.int64),
                  np.array(flux, dtype=float))


NO_FLARES = _flares([])


# ---- history of flares

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

    def last(self) -> np.ndarray:
        """Return the place of the last flare, that behind all flares where there was none."""
        return np.where(self.end > self.start, self.end - 1, len(self.keys))

    def hours_since_last(self) -> np.ndarray:
        """Return the hours since the last flare, infinite where there was none."""
        since = (self.images - np.append(self.keys, 0)[self.last()]) / 3600
        return np.where(self.end > self.start, since, np.inf)


def _region_history(region: np.ndarray, time: np.ndarray, flares: Flares) -> dict[str, np.ndarray]:
    """Return the flare history of each image's region (int64, -1 while it has no number).

    Numbers n of flares as ln(1 + n), fluxes F as log10(F + NO_FLUX), hours since the last flare as ln(hours) between
    SHORTEST_H and LONGEST_H with a 0/1 column for whether there was one.
    """
    images, first = region_time_keys(region, time), region_time_keys(region, np.zeros(len(region), "datetime64[s]"))
    own = flares.select(flares.region >= 0)
    classes = {"C": own.select(own.peak_flux >= C1), "M": own.select(own.peak_flux >= M1),
               "B": own.select(own.peak_flux < C1)}
    lines = {name: _Timeline(region_time_keys(f.region, f.public), f.peak_flux, images, first)
             for name, f in classes.items()}
    windows = {f"{hours}h": hours for hours in WINDOWS_H} | {"since_appearance": None}
    columns: dict[str, np.ndarray] = {}
    for name, line in lines.items():
        for label, hours in windows.items():
            number, flux = line.window(hours)
            columns[f"log_flares_{name}_{label}"] = np.log1p(number)
            if name == "C":
                columns[f"log_flux_{label}"] = np.log10(flux + NO_FLUX)
        hours = line.hours_since_last()
        columns[f"log_hours_since_{name}"] = np.log(np.clip(hours, SHORTEST_H, LONGEST_H))
        columns[f"had_{name}"] = np.isfinite(hours).astype(float)
    return columns | _decayed(lines["C"]) | _largest(lines["C"])


def _sun_history(region: np.ndarray, time: np.ndarray, flares: Flares) -> dict[str, np.ndarray]:
    """Return, in the same units, the flares elsewhere (those of no region included), and those of the Sun in weeks."""
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


def _decayed(line: _Timeline) -> dict[str, np.ndarray]:
    """Return number and flux of the region's flares, each weighted by exp(-age / tau), for tau of every window."""
    taus = 3600.0 * np.array(WINDOWS_H)
    values = np.stack([np.ones_like(line.flux), line.flux])[:, :, None]  # (2, n, 1)
    sums = np.zeros((2, len(line.keys) + 1, len(taus)))  # the last is that of no flare
    same = np.diff(line.keys >> KEY_BITS, prepend=-9) == 0
    for i in range(len(line.keys)):  # what is left of all flares at the time of each
        sums[:, i] = values[:, i]
        if same[i]:
            sums[:, i] += sums[:, i - 1] * np.exp((line.keys[i - 1] - line.keys[i]) / taus)
    last = line.last()
    age = np.where(line.end > line.start, line.images - np.append(line.keys, 0)[last], 0)
    columns: dict[str, np.ndarray] = {}
    for j, hours in enumerate(WINDOWS_H):
        fading = np.exp(-age / taus[j])
        columns[f"log_decayed_flares_{hours}h"] = np.log1p(sums[0, last, j] * fading)
        columns[f"log_decayed_flux_{hours}h"] = np.log10(sums[1, last, j] * fading + NO_FLUX)
    return columns


def _largest(line: _Timeline) -> dict[str, np.ndarray]:
    """Return the largest peak flux of the region so far."""
    largest = pd.Series(line.flux).groupby(line.keys >> KEY_BITS).cummax()
    return {"log_largest_flux": np.log10(np.append(largest, 0.0)[line.last()] + NO_FLUX)}


# ---- region summaries

def _issue_times(summaries: pd.DataFrame) -> np.ndarray:
    """Return when each row's summary became public: the time of issue, 00:30 of the date at the earliest."""
    regular = summaries["date"].to_numpy("datetime64[s]") + ISSUED_AFTER
    return np.fmax(regular, summaries["issued"].to_numpy("datetime64[s]")) if "issued" in summaries else regular


def _region_state(region: np.ndarray, time: np.ndarray, summaries: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what the last summary public at each image's time says of its region (int64).

    Before a region's first summary, and from 60 days after its last, all columns are 0. Changes are 0 where the region
    has no earlier summary. `has_summary`, `has_summary_1_before`, `has_summary_2_before` tell.
    """
    rows = _sorted_rows(summaries)
    place = np.searchsorted(rows["key"].to_numpy(), region_time_keys(region, time), side="right") - 1
    # a number that has been away for longer is another region's
    recent = np.asarray(time, "datetime64[s]") - rows["date"].to_numpy("datetime64[s]")[place] <= RECURRENCE
    known = (rows["number"].to_numpy()[place] == region) & recent
    columns = {"has_summary": known.astype(float)}
    columns |= {name: np.where(known, values, 0.0) for name, values in _classes_and_sizes(rows, place).items()}
    for lag in (1, 2):
        columns |= _changes(rows, place, known, lag)
    return columns | _position_and_age(rows, place, known, time)


def _sun_state(time: np.ndarray, summaries: pd.DataFrame, days: Sequence[date]) -> dict[str, np.ndarray]:
    """Return number, spots and area of all regions in the last summary, and their means over the last rotation.

    As ln(1 + value); 0 before the first summary. `days` are those with a summary, be it one without regions.
    """
    days = np.unique(np.asarray(days, dtype="datetime64[D]")).astype("datetime64[s]")
    columns = {}
    sizes = summaries.assign(regions=1.0)[["date", "regions", "spots", "area"]].fillna(0.0)
    totals = sizes.groupby("date").sum().reindex(days, fill_value=0.0)
    means = totals.rolling(MEAN_DAYS, min_periods=1).mean()
    # a summary counts only after that of the day before
    issued = summaries.assign(public=_issue_times(summaries)).groupby("date")["public"].max().reindex(days)
    public = np.maximum.accumulate(np.fmax(days + ISSUED_AFTER, issued.to_numpy("datetime64[s]")))
    place = np.searchsorted(public, np.asarray(time, "datetime64[s]"), side="right")
    for name in totals:
        columns[f"log_sun_{name}"] = np.log1p(np.append(0.0, totals[name])[place])
        columns[f"log_sun_{name}_{MEAN_DAYS}d"] = np.log1p(np.append(0.0, means[name])[place])
    return columns


def _sorted_rows(summaries: pd.DataFrame) -> pd.DataFrame:
    """Return one row a region and day, by region and date, with ranks of classes and largest sizes so far.

    `key` sorts by region and time of issue; no row's time is before that of the day before. The first row is that of
    no region (-1), where the images without a summary find themselves.
    """
    nowhere = {"region": "-1", "date": np.datetime64(0, "s"), "mcintosh": "", "magnetic_type": ""}
    numbers = dict.fromkeys(("latitude", "longitude", *SIZES), 0.0)
    rows = pd.DataFrame([nowhere | numbers]).assign(public=np.datetime64(0, "s"))
    if len(summaries):
        rows = pd.concat([rows, summaries.assign(public=_issue_times(summaries))[list(rows)]], ignore_index=True)
    rows["number"] = pd.to_numeric(rows["region"]).astype(np.int64)
    rows = rows.drop_duplicates(["number", "date"]).sort_values(["number", "date"], ignore_index=True)
    rows["public"] = rows.groupby("number")["public"].cummax()
    rows["key"] = region_time_keys(rows["number"], rows["public"].to_numpy())
    # places of the classes in their lists, -1 where the summary gives none
    for part, (name, letters) in enumerate(MCINTOSH.items()):
        ranks = {letter: rank for rank, letter in enumerate(letters)}
        rows[name] = rows["mcintosh"].str[part].map(ranks).fillna(-1).astype(float)
    magnetic = {name: rank for rank, names in enumerate(MAGNETIC.values()) for name in names}
    rows["magnetic"] = rows["magnetic_type"].map(magnetic).fillna(-1).astype(float)
    groups = rows.groupby("number")
    rows[list(SIZES)] = groups[list(SIZES)].ffill().fillna(0.0)
    for name in ("area", "spots"):
        rows[f"largest_{name}"] = rows.groupby("number")[name].cummax()
    for name in ("public", "longitude"):
        rows[f"first_{name}"] = groups[name].transform("first")
    return rows


def _classes_and_sizes(rows: pd.DataFrame, place: np.ndarray) -> dict[str, np.ndarray]:
    """Return the classes, as rank from 1 (0: none given) and as 0/1 columns, and the sizes as ln(1 + size)."""
    columns: dict[str, np.ndarray] = {}
    for name, classes in (MCINTOSH | {"magnetic": MAGNETIC}).items():
        rank = rows[name].to_numpy()[place]
        columns[f"{name}_rank"] = rank + 1
        columns |= {f"{name}_{label}": (rank == i).astype(float) for i, label in enumerate(classes)}
    for name in (*SIZES, "largest_area", "largest_spots"):
        columns[f"log_{name}"] = np.log1p(rows[name].to_numpy())[place]
    return columns


def _changes(rows: pd.DataFrame, place: np.ndarray, known: np.ndarray, lag: int) -> dict[str, np.ndarray]:
    """Return the changes since the region's summary `lag` before, sizes as sign(d) ln(1 + |d|)."""
    columns: dict[str, np.ndarray] = {}
    same = (rows["number"] == rows["number"].shift(lag)).to_numpy()
    columns[f"has_summary_{lag}_before"] = (known & same[place]).astype(float)
    for name in (*SIZES, "zurich", "compactness", "magnetic"):
        change = np.where(same, rows[name].diff(lag), 0.0)
        if name in SIZES:
            change = np.sign(change) * np.log1p(np.abs(change))
        columns[f"change_{lag}_{name}"] = np.where(known, change[place], 0.0)
    return columns


def _position_and_age(rows: pd.DataFrame, place: np.ndarray, known: np.ndarray, time: np.ndarray) -> dict:
    """Return the place on the disk at the image's time [deg], and ages of summary and region [h]."""
    time = np.asarray(time, "datetime64[s]")
    age = (time - rows["date"].to_numpy("datetime64[s]")[place]) / HOUR
    latitude, first = rows["latitude"].to_numpy()[place], rows["first_longitude"].to_numpy()[place]
    longitude = rows["longitude"].to_numpy()[place] + rotation_rate(latitude) * np.minimum(age, OLDEST_H) / 24
    since = (time - rows["first_public"].to_numpy("datetime64[s]")[place]) / HOUR
    cosine = np.cos(np.radians(latitude)) * np.cos(np.radians(np.clip(longitude, -180, 180)))
    columns = {"latitude": latitude, "longitude": longitude, "absolute_latitude": np.abs(latitude),
               "absolute_longitude": np.abs(longitude), "east_of_40": np.clip(-longitude - 40, 0, None),
               "centre_distance": np.degrees(np.arccos(cosine)), "first_longitude": first,
               "emerged_on_disk": first > -60, "summary_age_h": np.clip(age, 0, OLDEST_H),
               "region_age_h": np.clip(since, 0, OLDEST_H), "log_region_age": np.log1p(np.clip(since, 0, OLDEST_H)),
               "first_day": since < 24}
    return {name: np.where(known, values, 0).astype(float) for name, values in columns.items()}
