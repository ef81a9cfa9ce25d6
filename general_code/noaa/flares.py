"""X-ray flares: classes as peak flux, the event list, labels of images, persistence.

Event list: one flare a line, `YYYY MM DD,HHMM,NNNN,C5.7`: date and UTC time of the X-ray maximum, active region,
GOES class as reported; a fifth field, `G15`, is the satellite. Image times are TAI and are compared with
UTC as they stand (34 to 37 s apart), as in the published labels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BaseModel, PositiveInt

from general_code.noaa.regions import LONGEST_SPAN, is_region, region_codes, region_time_keys, whole_seconds
from general_code.stage.files import UserError, counted, is_set, read_lines
from general_code.stage.run import Problem, StageRun, read_sidecar

CLASS_EXPONENTS = {"A": -8, "B": -7, "C": -6, "M": -5, "X": -4}  # peak flux of A1.0, B1.0, ... [10^n W/m2], 1-8 A
AS_REPORTED, MODERN = FLARE_SCALES = ("as_reported", "modern")
REDUCTION, LAST_REDUCED = 0.7, 15  # classes up to those of GOES-15 are of fluxes times this
REDUCED_UNTIL = np.datetime64("2019-12-09")  # GOES-16 took over; decides for a flare whose satellite is not known
NO_FLARE = "0"
FLARE_CLASS = r"[ABCMX]\d{1,3}(?:\.\d*)?"  # pattern of a GOES class
DISORDER = "dates not in order"
MADE_BY = "made by generate_dataset from event reports"
DEFAULT_EVENT_LIST = Path("data/eventList.txt")  # need not exist where a stage can do without; another one has to
_AFTER_MIDNIGHT = np.timedelta64(2 * 3600, "s")  # a maximum up to here can belong to a flare that began the day before
_DAY = np.timedelta64(86400, "s")
_SATELLITE = re.compile(r"G(\d{1,2})")
_EVENT = re.compile(r"(\d{4}) (\d\d) (\d\d),([ABU]?\d{1,4}|[ABU]?////|),(\d{4,5}|),([^,]+)(?:,([^,]{2,3}))?")


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
        1-8 A [W/m2]; C5.7 is 5.7e-6. M1.0 and C10.0 are the same double. ValueError when it is no such class.
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


def scaled_class(flare_class: str, satellite: str, time: np.datetime64, flare_scale: str) -> str:
    """Return a reported GOES class on a scale.

    Parameters
    ----------
    flare_class, satellite, time : str, str, numpy.datetime64
        As reported, like `C1.0`; which measured it, like `G15`, else the time of the flare decides; that time.
    flare_scale : str
        "as_reported": returned as it stands; "modern", that of GOES-16 and later: a class of GOES-15 or earlier is
        divided by 0.7.

    Returns
    -------
    str
        On the modern scale to one decimal: C1.0 of GOES-15 is C1.4, and B7.0 is C1.0.

    References
    ----------
    Machol, Codrescu and Peck 2021, User's Guide for GOES-R XRS L2 Products, NOAA/NCEI, section 2.2.
    """
    if flare_scale == AS_REPORTED:
        return flare_class
    number = _SATELLITE.fullmatch(satellite)
    reduced = int(number[1]) <= LAST_REDUCED if number else time < REDUCED_UNTIL
    return _undo_reduction(flare_class) if reduced else flare_class


@cache
def _undo_reduction(flare_class: str) -> str:
    """Return a class divided by the factor of the older satellites; M1.0 rather than C10.0."""
    letter, value = flare_class[0], round(float(flare_class[1:]) / REDUCTION, 1)
    letters = "".join(CLASS_EXPONENTS)
    if value >= 10 and letter != letters[-1]:
        letter, value = letters[letters.index(letter) + 1], round(value / 10, 1)
    return f"{letter}{value:.1f}"


def _check_class(value: str) -> str:
    """Return a setting's GOES class in capitals."""
    peak_flux(value)
    return value.strip().upper()


FlareSize = Annotated[str, AfterValidator(_check_class)]  # type of a setting: a GOES class
FlareScale = Literal["as_reported", "modern"]  # type of a setting: one of `FLARE_SCALES`
OptionalFlareSize = Annotated[str, AfterValidator(lambda value: value and _check_class(value))]  # or ""


# ---------------------------------------------------------------------------- event list


@dataclass(frozen=True)
class EventList:
    """Flares that have a maximum and a region, in the order of the list; arrays of shape (n,)."""

    time: np.ndarray  # datetime64[s], X-ray maximum, UTC, on its right day unless read `as_published`
    region: np.ndarray  # str, four digits
    flare_class: np.ndarray  # str, like `C5.7`, on the scale that was asked for
    peak_flux: np.ndarray  # float64 [W/m2]
    listed_time: np.ndarray  # datetime64[s], as the published list dates it: by the day on which the flare began
    problems: list[Problem] = field(default_factory=list)  # rows of the list, or of the reports, that are not used
    reported: np.ndarray | None = None  # datetime64[D], in order: days of the reports it was made from, if known
    satellite: np.ndarray | None = None  # str, like `G15`, "" where not known; None: of none

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


def on_scale(events: EventList, flare_scale: str) -> EventList:
    """Return flares with classes and peak fluxes on a scale.

    Parameters
    ----------
    events, flare_scale : EventList, str
        Flares as reported; one of `FLARE_SCALES`.

    Returns
    -------
    EventList
        The same flares in the same order, with their classes as `scaled_class` returns them.
    """
    if flare_scale == AS_REPORTED or not len(events):
        return events
    satellites = [""] * len(events) if events.satellite is None else events.satellite
    flares = zip(events.flare_class, satellites, events.time, strict=True)
    classes = np.array([scaled_class(*flare, flare_scale) for flare in flares])
    return replace(events, flare_class=classes, peak_flux=peak_fluxes(classes))


def report_scale(lists: Sequence[EventList], flare_scale: str, run: StageRun) -> None:
    """Report what the modern scale makes of lists as reported, and the small flares that they seem to lack for it.

    Parameters
    ----------
    lists, flare_scale, run : sequence of EventList, str, StageRun
        Lists that are used together; one of `FLARE_SCALES`; gets the lines, none for classes as reported.
    """
    if flare_scale == AS_REPORTED:
        return
    known = all(events.satellite is not None and all(map(_SATELLITE.fullmatch, events.satellite)) for events in lists)
    run.report(f"Modern scale: classes of GOES-{LAST_REDUCED} and earlier are divided by {REDUCTION}"
               + ("" if known else f"; flares listed without a satellite by their date, before {REDUCED_UNTIL}"))
    if min((events.peak_flux.min() for events in lists if len(events)), default=0.0) >= peak_flux("C1.0"):
        run.report("ATTENTION: no flare below C1.0 is known: those that GOES-15 and earlier reported as B7.0 to B9.9, "
                   "C1.0 and larger on the modern scale, seem to be missing; get reports or a list that hold them")


def optional_event_list(event_list: Path, run: StageRun, without: str = "persistence is not available",
                        flare_scale: str = AS_REPORTED) -> EventList | None:
    """Read an event list that a stage can do without, and report it.

    Parameters
    ----------
    event_list, run : Path, StageRun
        The setting, empty for none; reports the number of flares, or what follows from having none.
    without, flare_scale : str, optional
        What follows; scale of the classes, one of `FLARE_SCALES`.

    Returns
    -------
    EventList or None
        None without a list. UserError when the list cannot be read, is a folder, or has another name than the default
        and is not there.
    """
    if event_list.is_file():
        events = read_event_list(event_list)
        unused = f"{counted(len(events.problems), 'rows')} not used" if events.problems else "all rows used"
        run.report(f"{len(events):,} flares in {event_list}, {unused}")
        report_scale([events], flare_scale, run)
        return on_scale(events, flare_scale)
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
        One flare a line, `YYYY MM DD,HHMM,NNNN,C5.7`, and maybe its satellite, `,G15`. As spreadsheets write
        it, too: separated by semicolons or tabs, quoted, under a header, times without leading zeros.
    as_published : bool, optional
        Leave the dates as they stand.

    Returns
    -------
    EventList
        Repeated rows once, classes as reported. Rows without a maximum (`////`) or a region, rows that do not parse,
        and dates that decrease, are in `problems`. One that was made from reports knows their days. UserError when the
        file is not a text or holds no flare at all.
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
    listed, regions, classes, satellites = (np.array(column) for column in zip(*rows, strict=True))
    times = listed
    if not as_published:
        times, disorder = _right_days(listed)
        problems += [Problem(path.name, DISORDER, detail, "lists") for detail in disorder]
    return EventList(time=times, region=regions, flare_class=classes, peak_flux=peak_fluxes(classes),
                     listed_time=listed, problems=problems, reported=_reported_days(path), satellite=satellites)


class ListSidecar(BaseModel):
    """What the sidecar of a list that was made from event reports tells."""

    origin: str
    dated_by_report: bool
    reports_sha256: str
    list_sha256: str
    replaced_sha256: str
    reported_days: list[date]
    after_midnight_lines: list[PositiveInt]
    satellites: bool = False
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


def _parse_event(text: str) -> tuple[np.datetime64, str, str, str]:
    """Return listed time, region, class and satellite of a line; ValueError(reason, detail) without a flare to use."""
    match = _EVENT.fullmatch(text)
    if match is None:
        raise ValueError("row does not parse", f"'{text[:60]}' is not like YYYY MM DD,HHMM,NNNN,C5.7")
    year, month, day, clock, region, flare_class, satellite = match.groups(default="")
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
    return date + np.timedelta64(hours * 3600 + minutes * 60, "s"), region[-4:], flare_class.upper(), satellite.upper()


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
                 window_hours: float, latency_minutes: float = 0.0) -> ImageLabels:
    """Find the flares that follow images: of the region, of at least a size, 0 < t_max - t_image - latency < window.

    Parameters
    ----------
    regions, times : sequence of str, numpy.ndarray, shape (m,)
        Active region and time (datetime64[s]) of each image; one without a time (NaT) has no flare.
    events, flare_size : EventList, str
        In any order; smallest class that counts, by peak flux.
    window_hours, latency_minutes : float, the second optional
        Length of the forecast window [h]; from the image to its begin [min].

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
    latency = int(min(round(latency_minutes * 60, 6), LONGEST_SPAN))  # down to a whole second, as times are
    begin = np.searchsorted(images, flares - whole_seconds(window_hours, latency_minutes), side="right", sorter=order)
    end = np.searchsorted(images, flares - latency, side="left", sorter=order)
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
    regions, times : sequence of str, numpy.ndarray, shape (m,)
        Active region and time (datetime64[s]) of each image; no flare where there is no time (NaT).
    events, hours, flare_size : EventList, float, str
        In any order; how far to look back [h]; smallest class that counts, by peak flux.

    Returns
    -------
    numpy.ndarray
        bool, shape (m,).
    """
    return past_flares(regions, times, events, hours, flare_size) > 0


def past_flares(regions: Sequence[str], times: np.ndarray, events: EventList, hours: float,
                flare_size: str) -> np.ndarray:
    """Return how many flares of at least a size the region had with their maxima in (t - hours, t].

    Parameters
    ----------
    regions, times, events, hours, flare_size : sequence of str, numpy.ndarray, EventList, float, str
        As `persistence` takes them.

    Returns
    -------
    numpy.ndarray
        int64, shape (m,).
    """
    strong = events.peak_flux >= peak_flux(flare_size)
    keys = np.sort(_keys(events.region[strong], events.time[strong]))
    end = _keys(regions, times)
    return np.searchsorted(keys, end, side="right") - np.searchsorted(keys, end - whole_seconds(hours), side="right")


def _keys(regions: Sequence[str], times: np.ndarray) -> np.ndarray:
    """Return `region_time_keys` of regions as they are written."""
    return region_time_keys(region_codes(regions), times)
