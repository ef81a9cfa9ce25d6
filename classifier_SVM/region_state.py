"""What the daily region summaries said when an image was taken: the region's class, size and place, and the Sun's.

A summary counts from its time of issue, that moment included: 00:30 UTC of its date, or later where it says so, as a
corrected one does; its positions are those of 00:00. One that was issued before an earlier day's waits for that one.

References
----------
McIntosh 1990, Solar Physics 125, 251 (the three parts of the class);
Snodgrass and Ulrich 1990, ApJ 351, 309 (rotation).
"""

import numpy as np
import pandas as pd

from general_code.sorted_search import region_time_keys

ISSUED_AFTER = np.timedelta64(1800, "s")  # a summary is issued at 00:30, not before
OLDEST_H = 240.0  # ages of a summary and of a region's number are kept below this [h]; about a passage is 320 h
ZURICH, PENUMBRA, COMPACTNESS = "ABHCDEF", "xrsahk", "xoic"  # by rising flare rate
MAGNETIC = (("Alpha",), ("Beta",), ("Beta-Gamma", "Gamma"), ("Beta-Delta", "Gamma-Delta", "Delta"),
            ("Beta-Gamma-Delta",))
SIZES = ("area", "extent", "spots")
MEAN_DAYS = 27  # a rotation


def rotation_rate(latitude: np.ndarray) -> np.ndarray:
    """Return the rate at which a region moves in longitude from the central meridian.

    Parameters
    ----------
    latitude : array_like
        Heliographic [deg].

    Returns
    -------
    numpy.ndarray
        Synodic [deg/day], 13.7 at the equator.
    """
    squared = np.sin(np.radians(latitude)) ** 2
    return 14.713 - 2.396 * squared - 1.787 * squared**2 - 0.9856


def issue_times(summaries: pd.DataFrame) -> np.ndarray:
    """Return when each row's summary became public.

    Parameters
    ----------
    summaries : pandas.DataFrame, n rows
        With `date` and, where the archive tells, `issued` (datetime64, NaT where a summary does not say).

    Returns
    -------
    numpy.ndarray
        datetime64[s], shape (n,): the time of issue, 00:30 of the date at the earliest.
    """
    regular = summaries["date"].to_numpy("datetime64[s]") + ISSUED_AFTER
    return np.fmax(regular, summaries["issued"].to_numpy("datetime64[s]")) if "issued" in summaries else regular


def region_state(region: np.ndarray, time: np.ndarray, summaries: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what the last summary public at each image's time says of its region.

    Parameters
    ----------
    region : numpy.ndarray, shape (m,)
        int64, NOAA number.
    time : numpy.ndarray, shape (m,)
        datetime64[s].
    summaries : pandas.DataFrame
        `table` of `read_summary_archive`.

    Returns
    -------
    dict of str to numpy.ndarray
        Columns of shape (m,), finite. Before a region's first summary all are 0; changes are 0 where the region has no
        earlier summary: `has_summary`, `has_summary_1_before`, `has_summary_2_before` tell.
    """
    rows = _sorted_rows(summaries)
    place = np.searchsorted(rows["key"].to_numpy(), region_time_keys(region, time), side="right") - 1
    known = rows["number"].to_numpy()[place] == region
    columns = {"has_summary": known.astype(float)}
    columns |= {name: np.where(known, values, 0.0) for name, values in _classes_and_sizes(rows, place).items()}
    for lag in (1, 2):
        columns |= _changes(rows, place, known, lag)
    return columns | _position_and_age(rows, place, known, time)


def sun_state(time: np.ndarray, summaries: pd.DataFrame, days: np.ndarray) -> dict[str, np.ndarray]:
    """Return number, spots and area of all regions in the last summary, and their means over the last rotation.

    Parameters
    ----------
    time : numpy.ndarray, shape (m,)
        datetime64[s].
    summaries : pandas.DataFrame
        As for `region_state`.
    days : array_like of dates
        Days with a summary, be it one without regions.

    Returns
    -------
    dict of str to numpy.ndarray
        Columns of shape (m,), ln(1 + value); 0 before the first summary.
    """
    days = np.unique(np.asarray(days, dtype="datetime64[D]")).astype("datetime64[s]")
    columns = {}
    sizes = summaries.assign(regions=1.0)[["date", "regions", "spots", "area"]].fillna(0.0)
    totals = sizes.groupby("date").sum().reindex(days, fill_value=0.0)
    means = totals.rolling(MEAN_DAYS, min_periods=1).mean()
    issued = summaries.assign(public=issue_times(summaries)).groupby("date")["public"].max().reindex(days)
    public = np.maximum.accumulate(np.fmax(days + ISSUED_AFTER, issued.to_numpy("datetime64[s]")))
    place = np.searchsorted(public, np.asarray(time, "datetime64[s]"), side="right")
    for name in totals:
        columns[f"log_sun_{name}"] = np.log1p(np.append(0.0, totals[name])[place])
        columns[f"log_sun_{name}_{MEAN_DAYS}d"] = np.log1p(np.append(0.0, means[name])[place])
    return columns


def _sorted_rows(summaries: pd.DataFrame) -> pd.DataFrame:
    """Return one row a region and day, by region and date, with ranks of classes and largest sizes so far.

    `key` sorts by region and time of issue; no row's time is before that of the day before.

    The first row is that of no region (-1), where the images without a summary find themselves.
    """
    nowhere = {"region": "-1", "date": np.datetime64(0, "s"), "mcintosh": "", "magnetic_type": ""}
    numbers = dict.fromkeys(("latitude", "longitude", *SIZES), 0.0)
    rows = pd.DataFrame([nowhere | numbers]).assign(public=np.datetime64(0, "s"))
    if len(summaries):
        rows = pd.concat([rows, summaries.assign(public=issue_times(summaries))[list(rows)]], ignore_index=True)
    rows["number"] = pd.to_numeric(rows["region"]).astype(np.int64)
    rows = rows.drop_duplicates(["number", "date"]).sort_values(["number", "date"], ignore_index=True)
    rows["public"] = rows.groupby("number")["public"].cummax()
    rows["key"] = region_time_keys(rows["number"], rows["public"].to_numpy())
    rows = _with_ranks(rows)
    groups = rows.groupby("number")
    rows[list(SIZES)] = groups[list(SIZES)].ffill().fillna(0.0)
    for name in ("area", "spots"):
        rows[f"largest_{name}"] = rows.groupby("number")[name].cummax()
    for name in ("public", "longitude"):
        rows[f"first_{name}"] = groups[name].transform("first")
    return rows


def _with_ranks(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the places of the classes in their lists, -1 where the summary gives none."""
    magnetic = {name: rank for rank, names in enumerate(MAGNETIC) for name in names}
    for part, (name, letters) in enumerate((("zurich", ZURICH), ("penumbra", PENUMBRA), ("compactness", COMPACTNESS))):
        ranks = {letter: rank for rank, letter in enumerate(letters)}
        rows[name] = rows["mcintosh"].str[part].map(ranks).fillna(-1).astype(float)
    return rows.assign(magnetic=rows["magnetic_type"].map(magnetic).fillna(-1).astype(float))


def _classes_and_sizes(rows: pd.DataFrame, place: np.ndarray) -> dict[str, np.ndarray]:
    """Return the classes, as rank from 1 (0: none given) and as 0/1 columns, and the sizes as ln(1 + size)."""
    columns: dict[str, np.ndarray] = {}
    labels = {"zurich": ZURICH, "penumbra": PENUMBRA, "compactness": COMPACTNESS,
              "magnetic": ("alpha", "beta", "beta_gamma", "beta_delta", "beta_gamma_delta")}
    for name, classes in labels.items():
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
    age = (time - rows["date"].to_numpy("datetime64[s]")[place]) / np.timedelta64(3600, "s")
    latitude, first = rows["latitude"].to_numpy()[place], rows["first_longitude"].to_numpy()[place]
    longitude = rows["longitude"].to_numpy()[place] + rotation_rate(latitude) * np.minimum(age, OLDEST_H) / 24
    since = (time - rows["first_public"].to_numpy("datetime64[s]")[place]) / np.timedelta64(3600, "s")
    cosine = np.cos(np.radians(latitude)) * np.cos(np.radians(np.clip(longitude, -180, 180)))
    columns = {"latitude": latitude, "longitude": longitude, "absolute_latitude": np.abs(latitude),
               "absolute_longitude": np.abs(longitude), "east_of_40": np.clip(-longitude - 40, 0, None),
               "centre_distance": np.degrees(np.arccos(cosine)), "first_longitude": first,
               "emerged_on_disk": first > -60, "summary_age_h": np.clip(age, 0, OLDEST_H),
               "region_age_h": np.clip(since, 0, OLDEST_H), "log_region_age": np.log1p(np.clip(since, 0, OLDEST_H)),
               "first_day": since < 24}
    return {name: np.where(known, values, 0).astype(float) for name, values in columns.items()}
