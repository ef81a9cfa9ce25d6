"""X-ray flares: classes as peak flux, the event list, labels of images, persistence.

Event list: one flare a line, `YYYY MM DD,HHMM,NNNN,C5.7`: date and UTC time of the X-ray maximum, active region,
GOES class. Image times are TAI and are compared with UTC as they stand (34 to 37 s apart), as in the published labels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from general_code.noaa_text import Problem, is_region, read_lines, region_codes
from general_code.sorted_search import range_minimum, region_time_keys, whole_seconds

CLASS_EXPONENTS = {"A": -8, "B": -7, "C": -6, "M": -5, "X": -4}  # peak flux of A1.0, B1.0, ... [10^n W/m2], 1-8 A
NO_FLARE = "0"
FLARE_CLASS = r"[ABCMX]\d{1,3}(?:\.\d*)?"  # pattern of a GOES class
AFTER_MIDNIGHT = np.timedelta64(2 * 3600, "s")  # a maximum up to here can belong to a flare that began the day before
DAY = np.timedelta64(86400, "s")
DISORDER = "dates not in order"

_EVENT = re.compile(r"(\d{4}) (\d\d) (\d\d),([ABU]?\d{4}|[ABU]?////|),(\d{4,5}|),([^,]+)")


@dataclass(frozen=True)
class EventList:
    """Flares that have a maximum and a region, in the order of the list; arrays of shape (n,).

    Attributes
    ----------
    time : numpy.ndarray
        datetime64[s], X-ray maximum, UTC, on its right day unless read `as_published`.
    region : numpy.ndarray
        str, four digits.
    flare_class : numpy.ndarray
        str, like `C5.7`.
    peak_flux : numpy.ndarray
        float64 [W/m2].
    listed_time : numpy.ndarray
        datetime64[s], as the published list dates it: by the report, the day on which the flare began.
    problems : list of Problem
        What the list, or the reports, hold besides: rows without a maximum or region, repeated, unreadable.
    reported : numpy.ndarray, optional
        datetime64[D], the days, in order, of the reports that a list was made from; None when they are not known.
    """

    time: np.ndarray
    region: np.ndarray
    flare_class: np.ndarray
    peak_flux: np.ndarray
    listed_time: np.ndarray
    problems: list[Problem] = field(default_factory=list)
    reported: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.time)

    @property
    def period(self) -> tuple[np.datetime64, np.datetime64]:
        """First and last day that the list speaks of: of its reports, else of its flares; NaT for an empty list."""
        known = self.reported is not None and len(self.reported)
        days = self.reported if known else self.time.astype("datetime64[D]")
        return (days.min(), days.max()) if len(days) else (np.datetime64("NaT", "D"),) * 2

    @property
    def after_midnight(self) -> np.ndarray:
        """Which maxima are on the day after the one in `listed_time`: bool, shape (n,)."""
        return self.time != self.listed_time

    def covers(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Tell for which spans of time the list speaks of every day: what it does not hold there has not happened.

        Parameters
        ----------
        first, last : numpy.ndarray, shape (m,)
            datetime64, the first and the last moment of each span, both included. For a forecast over N hours these
            are t and t + N h - 1 s, for persistence t - N h + 1 s and t.

        Returns
        -------
        numpy.ndarray
            bool, shape (m,): False where a day of the span has no report or, when the reports are not known, lies
            outside `period`; also where a time is missing (NaT), and for an empty list.
        """
        days = self.reported
        if days is None and len(self):
            days = np.arange(self.period[0], self.period[1] + 1)
        if days is None or not len(days):
            return np.zeros(len(first), dtype=bool)
        begin, end = (np.asarray(times).astype("datetime64[D]") for times in (first, last))
        number = np.searchsorted(days, end, side="right") - np.searchsorted(days, begin, side="left")
        return ~np.isnat(begin) & ~np.isnat(end) & (number == (end - begin).astype(np.int64) + 1)


@dataclass(frozen=True)
class ImageLabels:
    """Flares that follow images, as places in the event list; -1 where none does; arrays of shape (m,).

    Attributes
    ----------
    largest : numpy.ndarray
        int64, the largest flare in the window (of equal ones the first in the list).
    earliest_listed : numpy.ndarray
        int64, the flare in the window that stands first in the list.
    """

    largest: np.ndarray
    earliest_listed: np.ndarray

    def flare_classes(self, events: EventList) -> np.ndarray:
        """Return the labels.

        Parameters
        ----------
        events : EventList
            That the images were labelled with.

        Returns
        -------
        numpy.ndarray
            str, shape (m,): class of the largest flare in the window, `0` without one.
        """
        classes = np.append(events.flare_class.astype(str), NO_FLARE)
        return classes[self.largest]  # -1 takes the last


def peak_flux(flare_class: str) -> float:
    """Return the peak flux of a GOES class.

    Parameters
    ----------
    flare_class : str
        Like `C5.7` or `X17.2`.

    Returns
    -------
    float
        1-8 A [W/m2]; C5.7 is 5.7e-6. M1.0 and C10.0 are the same double.

    Raises
    ------
    ValueError
        When it is no such class.
    """
    text = flare_class.strip().upper()
    if not re.fullmatch(FLARE_CLASS, text):
        raise ValueError(f"flare class '{flare_class}' is not like C1.0: one of A B C M X, then a number")
    return float(f"{text[1:]}e{CLASS_EXPONENTS[text[0]]}")


def peak_fluxes(flare_classes: Sequence[str]) -> np.ndarray:
    """Return the peak fluxes of many classes; see `peak_flux`.

    Parameters
    ----------
    flare_classes : sequence of str
        Classes, or `0` for no flare.

    Returns
    -------
    numpy.ndarray
        float64 [W/m2], 0 for no flare.

    Raises
    ------
    ValueError
        When one of them is no class.
    """
    codes, distinct = pd.factorize(np.asarray(flare_classes, dtype=object))
    fluxes = np.array([0.0 if text == NO_FLARE else peak_flux(text) for text in distinct], dtype=float)
    return fluxes[codes] if len(codes) else np.empty(0)


# ---------------------------------------------------------------------------- event list


def read_event_list(path: Path, as_published: bool = False) -> EventList:
    """Read an event list.

    A list dated by the reports, like the published one, is put right: after repeated rows are removed, a maximum
    before 02:00 that stands behind a later one of the same date belongs to the next day. The order tells this only in
    a list whose dates never decrease; the dates of another one are left as they stand.

    Parameters
    ----------
    path : Path
        One flare a line, `YYYY MM DD,HHMM,NNNN,C5.7`.
    as_published : bool, optional
        Leave the dates as they stand.

    Returns
    -------
    EventList
        Repeated rows once. Rows without a maximum (`////`) or a region, rows that do not parse, and dates that
        decrease, are in `problems`.

    Raises
    ------
    ValueError
        When the file is empty, not a text, or holds no flare at all.
    OSError
        When it cannot be opened.
    """
    rows, problems, seen = [], [], set()
    for number, text in enumerate(read_lines(path), start=1):
        where, text = f"{path.name}, line {number}", text.strip()
        if text in seen:
            problems.append(Problem(where, "repeated row", text))
            continue
        seen.add(text)
        try:
            rows.append(_parse_event(text))
        except _LeftOut as left_out:
            problems.append(Problem(where, *left_out.args))
    if not rows:
        raise ValueError("no line is like 'YYYY MM DD,HHMM,NNNN,C5.7'")
    listed, regions, classes = (np.array(column) for column in zip(*rows, strict=True))
    times = listed
    if not as_published:
        times, disorder = _right_days(listed)
        problems += [Problem(path.name, DISORDER, detail) for detail in disorder]
    return EventList(times, regions, classes, peak_fluxes(classes), listed, problems)


class _LeftOut(Exception):
    """Reason and detail of a row that is not used."""


def _parse_event(text: str) -> tuple[np.datetime64, str, str]:
    """Return listed time, region and class of a line; `_LeftOut` when there is no flare to use in it."""
    match = _EVENT.fullmatch(text)
    if match is None:
        raise _LeftOut("row does not parse", f"'{text}' is not like YYYY MM DD,HHMM,NNNN,C5.7")
    year, month, day, clock, region, flare_class = match.groups()
    try:
        date = np.datetime64(f"{year}-{month}-{day}", "s")
        peak_flux(flare_class)
    except ValueError as error:
        raise _LeftOut("row does not parse", f"'{text}': {error}") from None
    if not clock[-4:].isdigit():
        raise _LeftOut("flare without a maximum", text)
    hours, minutes = int(clock[-4:-2]), int(clock[-2:])
    if hours > 23 or minutes > 59:
        raise _LeftOut("row does not parse", f"'{text}': there is no time {clock}")
    if not is_region(region, date):
        raise _LeftOut("flare without a region", text)
    return date + np.timedelta64(hours * 3600 + minutes * 60, "s"), region[-4:], flare_class.upper()


def _right_days(listed: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the times with the days of maxima after midnight put right by the order within each date, or why not."""
    dates = listed.astype("datetime64[D]")
    if (falls := np.flatnonzero(dates[1:] < dates[:-1])).size:
        return listed, [f"a flare of {dates[falls[0] + 1]} stands behind one of {dates[falls[0]]}; maxima after "
                        "midnight keep their dates"]
    latest = pd.Series(listed).groupby(dates).cummax().to_numpy()
    early = listed - dates < AFTER_MIDNIGHT
    return np.where(early & (listed < latest), listed + DAY, listed), []


# ---------------------------------------------------------------------------- labels and persistence


def label_images(regions: Sequence[str], times: np.ndarray, events: EventList, flare_size: str,
                 window_hours: float) -> ImageLabels:
    """Find the flares that follow images: of the region, of at least a size, 0 < t_max - t_image < window.

    By sorting and bisection: a million images against ten thousand flares take about a second.

    Parameters
    ----------
    regions : sequence of str, shape (m,)
        Active region of each image.
    times : numpy.ndarray, shape (m,)
        datetime64[s]; an image without a time (NaT) has no flare.
    events : EventList
        In any order.
    flare_size : str
        Smallest class that counts, by peak flux.
    window_hours : float
        Length of the forecast window [h].

    Returns
    -------
    ImageLabels
        Places in `events`.
    """
    strong = np.flatnonzero(events.peak_flux >= peak_flux(flare_size))
    keys = _keys(events.region[strong], events.time[strong])
    order = np.argsort(keys, kind="stable")
    keys, places = keys[order], strong[order]
    start = _keys(regions, times)
    left = np.searchsorted(keys, start, side="right")
    right = np.searchsorted(keys, start + whole_seconds(window_hours), side="left")
    by_size = np.lexsort((np.arange(len(events)), -events.peak_flux))  # largest first, then by place
    rank = np.empty(len(events), dtype=np.int64)
    rank[by_size] = np.arange(len(events))
    best = range_minimum(rank[places], left, right)
    return ImageLabels(np.where(best < 0, -1, np.append(by_size, -1)[best]), range_minimum(places, left, right))


def persistence(regions: Sequence[str], times: np.ndarray, events: EventList, hours: float,
                flare_size: str) -> np.ndarray:
    """Tell whether the region had a flare of at least a size with its maximum in (t - hours, t].

    Parameters
    ----------
    regions : sequence of str, shape (m,)
        Active region of each image.
    times : numpy.ndarray, shape (m,)
        datetime64[s]; False where there is no time (NaT).
    events : EventList
        In any order.
    hours : float
        How far to look back [h].
    flare_size : str
        Smallest class that counts, by peak flux.

    Returns
    -------
    numpy.ndarray
        bool, shape (m,).
    """
    strong = events.peak_flux >= peak_flux(flare_size)
    keys = np.sort(_keys(events.region[strong], events.time[strong]))
    end = _keys(regions, times)
    return np.searchsorted(keys, end, side="right") > np.searchsorted(keys, end - whole_seconds(hours), side="right")


def _keys(regions: Sequence[str], times: np.ndarray) -> np.ndarray:
    """Return `region_time_keys` of regions as they are written."""
    return region_time_keys(region_codes(regions), times)
