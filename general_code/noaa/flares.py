"""X-ray flares: classes as peak flux, the event list, labels of images, persistence.

Event list: one flare a line, `YYYY MM DD,HHMM,NNNN,C5.7`: date and UTC time of the X-ray maximum, active region,
GOES class. Image times are TAI and are compared with UTC as they stand (34 to 37 s apart), as in the published labels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BaseModel, PositiveInt

from general_code.noaa.regions import is_region, region_codes, region_time_keys, whole_seconds
from general_code.stage.files import UserError, is_set, read_lines
from general_code.stage.run import Problem, StageRun, read_sidecar

CLASS_EXPONENTS = {"A": -8, "B": -7, "C": -6, "M": -5, "X": -4}  # peak flux of A1.0, B1.0, ... [10^n W/m2], 1-8 A
NO_FLARE = "0"
FLARE_CLASS = r"[ABCMX]\d{1,3}(?:\.\d*)?"  # pattern of a GOES class
DISORDER = "dates not in order"
MADE_BY = "made by generate_dataset from event reports"
DEFAULT_EVENT_LIST = Path("data/eventList.txt")  # need not exist where a stage can do without; another one has to
_AFTER_MIDNIGHT = np.timedelta64(2 * 3600, "s")  # a maximum up to here can belong to a flare that began the day before
_DAY = np.timedelta64(86400, "s")
_EVENT = re.compile(r"(\d{4}) (\d\d) (\d\d),([ABU]?\d{1,4}|[ABU]?////|),(\d{4,5}|),([^,]+)")


# ---------------------------------------------------------------------------- classes


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
    """Return the peak fluxes of many classes.

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


def _check_class(value: str) -> str:
    """Return a setting's GOES class in capitals."""
    peak_flux(value)
    return value.strip().upper()


FlareSize = Annotated[str, AfterValidator(_check_class)]  # type of a setting: a GOES class
OptionalFlareSize = Annotated[str, AfterValidator(lambda value: value and _check_class(value))]  # or ""


# ---------------------------------------------------------------------------- event list


@dataclass(frozen=True)
class EventList:
    """Flares that have a maximum and a region, in the order of the list; arrays of shape (n,)."""

    time: np.ndarray  # datetime64[s], X-ray maximum, UTC, on its right day unless read `as_published`
    region: np.ndarray  # str, four digits
    flare_class: np.ndarray  # str, like `C5.7`
    peak_flux: np.ndarray  # float64 [W/m2]
    listed_time: np.ndarray  # datetime64[s], as the published list dates it: by the day on which the flare began
    problems: list[Problem] = field(default_factory=list)  # rows of the list, or of the reports, that are not used
    reported: np.ndarray | None = None  # datetime64[D], in order: days of the reports it was made from, if known

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

        `first` and `last`, datetime64, shape (m,), are the first and last moment of each span: for a forecast over N
        hours t and t + N h - 1 s, for persistence t - N h + 1 s and t. False where a day has no report or, when the
        reports are not known, lies outside `period`; also where a time is missing (NaT), and for an empty list.
        """
        days = self.reported
        if days is None and len(self):
            days = np.arange(self.period[0], self.period[1] + 1)
        if days is None or not len(days):
            return np.zeros(len(first), dtype=bool)
        begin, end = (np.asarray(times).astype("datetime64[D]") for times in (first, last))
        number = np.searchsorted(days, end, side="right") - np.searchsorted(days, begin, side="left")
        return ~np.isnat(begin) & ~np.isnat(end) & (number == (end - begin).astype(np.int64) + 1)


def optional_event_list(event_list: Path, run: StageRun,
                        without: str = "persistence is not available") -> EventList | None:
    """Read an event list that a stage can do without, and report it.

    Parameters
    ----------
    event_list : Path
        The setting; empty for none.
    run : StageRun
        Reports the number of flares, or what follows from having none.
    without : str, optional
        What follows.

    Returns
    -------
    EventList or None
        None without a list.

    Raises
    ------
    UserError
        When the list cannot be read, is a folder, or has another name than the default and is not there.
    """
    if event_list.is_file():
        events = read_event_list(event_list)
        unused = f"{len(events.problems):,} rows not used" if events.problems else "all rows used"
        run.report(f"{len(events):,} flares in {event_list}, {unused}")
        return events
    if is_set(event_list) and (event_list.exists() or event_list != DEFAULT_EVENT_LIST):
        found = "a folder" if event_list.is_dir() else "nothing"
        raise UserError(f"event_list: expected a file at '{event_list}' (from {Path.cwd()}), found {found}; name a "
                        "list, or \"\" for none")
    run.report(f"No event list{f' at {event_list}' if is_set(event_list) else ''}: {without}")
    return None


def read_event_list(path: Path, as_published: bool = False) -> EventList:
    """Read an event list.

    A list dated by the reports, like the published one, is put right: after repeated rows are removed, a maximum
    before 02:00 that stands behind a later one of the same date belongs to the next day. The order tells this only in
    a list whose dates never decrease; the dates of another one are left as they stand.

    Parameters
    ----------
    path : Path
        One flare a line, `YYYY MM DD,HHMM,NNNN,C5.7`. As spreadsheets write it, too: separated by semicolons or tabs,
        quoted, under a header, times without leading zeros.
    as_published : bool, optional
        Leave the dates as they stand.

    Returns
    -------
    EventList
        Repeated rows once. Rows without a maximum (`////`) or a region, rows that do not parse, and dates that
        decrease, are in `problems`. One that was made from reports knows their days.

    Raises
    ------
    UserError
        When the file is not a text or holds no flare at all.
    """
    rows, problems, seen = [], [], set()
    for place, (number, line) in enumerate(read_lines(path)):
        where, text = f"{path.name}, line {number}", _with_commas(line)
        if place == 0 and not re.search(r"\d", text):
            continue  # a header
        if text in seen:
            problems.append(Problem(where, "repeated row", text, "flares"))
            continue
        seen.add(text)
        try:
            rows.append(_parse_event(text))
        except ValueError as reason_and_detail:
            problems.append(Problem(where, *reason_and_detail.args, "flares"))
    if not rows:
        got = f" ({problems[0].input}: {problems[0].detail})" if problems else ""
        raise UserError(f"event_list: no line of {path} is like 'YYYY MM DD,HHMM,NNNN,C5.7'{got}; fix it, or set "
                        "--event-list")
    listed, regions, classes = (np.array(column) for column in zip(*rows, strict=True))
    times = listed
    if not as_published:
        times, disorder = _right_days(listed)
        problems += [Problem(path.name, DISORDER, detail, "lists") for detail in disorder]
    return EventList(time=times, region=regions, flare_class=classes, peak_flux=peak_fluxes(classes),
                     listed_time=listed, problems=problems, reported=_reported_days(path))


class ListSidecar(BaseModel):
    """What the sidecar of a list that was made from event reports tells."""

    origin: str
    dated_by_report: bool
    reports_sha256: str
    list_sha256: str
    replaced_sha256: str
    reported_days: list[date]
    after_midnight_lines: list[PositiveInt]
    problems: list[tuple[str, str, str, str]]


def _reported_days(event_list: Path) -> np.ndarray | None:
    """Return the days of the reports that a list was made from, as its sidecar tells; None for any other list."""
    sidecar = read_sidecar(event_list, ListSidecar, MADE_BY)
    if sidecar is None or sidecar["list_sha256"] != sha256(event_list.read_bytes()).hexdigest():
        return None
    return np.array(sidecar["reported_days"], dtype="datetime64[D]")


def _with_commas(line: str) -> str:
    """Return a row with commas between its fields, without quotes."""
    return ",".join(part.strip(" \"'") for part in re.split("[,;\t]", line.rstrip(",;\t")))


def _parse_event(text: str) -> tuple[np.datetime64, str, str]:
    """Return listed time, region and class of a line; ValueError(reason, detail) without a flare to use."""
    match = _EVENT.fullmatch(text)
    if match is None:
        raise ValueError("row does not parse", f"'{text[:60]}' is not like YYYY MM DD,HHMM,NNNN,C5.7")
    year, month, day, clock, region, flare_class = match.groups()
    try:
        date = np.datetime64(f"{year}-{month}-{day}", "s")
        peak_flux(flare_class)
    except ValueError as error:
        raise ValueError("row does not parse", f"'{text}': {error}") from None
    digits = clock.lstrip("ABU").zfill(4)
    if not clock or not digits.isdigit():
        raise ValueError("flare without a maximum", text)
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError("row does not parse", f"'{text}': there is no time {clock}")
    if not is_region(region, date):
        raise ValueError("flare without a region", text)
    return date + np.timedelta64(hours * 3600 + minutes * 60, "s"), region[-4:], flare_class.upper()


def _right_days(listed: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the times with the days of maxima after midnight put right by the order within each date, or why not."""
    dates = listed.astype("datetime64[D]")
    if (falls := np.flatnonzero(dates[1:] < dates[:-1])).size:
        return listed, [f"a flare of {dates[falls[0] + 1]} stands behind one of {dates[falls[0]]}; maxima after "
                        "midnight keep their dates"]
    latest = pd.Series(listed).groupby(dates).cummax().to_numpy()
    early = listed - dates < _AFTER_MIDNIGHT
    return np.where(early & (listed < latest), listed + _DAY, listed), []


# ---------------------------------------------------------------------------- labels and persistence


@dataclass(frozen=True)
class ImageLabels:
    """Flares that follow images, as places in the event list; -1 where none does; int64 arrays of shape (m,)."""

    largest: np.ndarray  # the largest flare in the window; of equal ones the first in the list
    earliest_listed: np.ndarray  # the flare in the window that stands first in the list

    def flare_classes(self, events: EventList) -> np.ndarray:
        """Return the labels: str, shape (m,), class of the largest flare of `events` in the window, `0` without one."""
        classes = np.append(events.flare_class.astype(str), NO_FLARE)
        return classes[self.largest]  # -1 takes the last


def label_images(regions: Sequence[str], times: np.ndarray, events: EventList, flare_size: str,
                 window_hours: float) -> ImageLabels:
    """Find the flares that follow images: of the region, of at least a size, 0 < t_max - t_image < window.

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
    images = _keys(regions, times)
    order = np.argsort(images, kind="stable")
    strong = np.flatnonzero(events.peak_flux >= peak_flux(flare_size))
    flares = _keys(events.region[strong], events.time[strong])
    # the images that a flare labels are neighbours among those sorted by region and time
    begin = np.searchsorted(images, flares - whole_seconds(window_hours), side="right", sorter=order)
    end = np.searchsorted(images, flares, side="left", sorter=order)
    by_size = np.lexsort((-strong, events.peak_flux[strong]))
    by_place = np.arange(len(strong))[::-1]
    columns = []
    for flares_in_turn in (by_size, by_place):  # the one that counts writes last
        found = np.full(len(images), -1, dtype=np.int64)
        for i in flares_in_turn:
            found[order[begin[i]:end[i]]] = strong[i]
        columns.append(found)
    return ImageLabels(*columns)


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
