"""The activity features of an image: everything but its pixels that was known when it was taken.

Columns `activity_names()`, all finite: flare history of the region and of the Sun (`flare_history`), the region's last
public summary and the Sun's (`region_state`). Nothing that became public after the image's time enters. A flare is its
region's own once a summary has given the region its number; before that it is a flare of no known region, like those
elsewhere on the Sun. A region that is in no summary has no flares of its own.
"""

import functools
from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from classifier_SVM.flare_history import NO_REGION, Flares, region_history, sun_history
from classifier_SVM.region_state import region_state, sun_state
from general_code.flares import EventList, peak_flux
from general_code.noaa_archive import EventArchive
from general_code.noaa_reports import SummaryRow
from general_code.noaa_text import Problem, is_region

DECIMALS = 5  # of the features in files and models
_SAME_CLOCK = np.timedelta64(1, "D")


def activity_features(regions: Sequence[str], times: np.ndarray, flares: Flares, summaries: pd.DataFrame,
                      days: Sequence[date]) -> pd.DataFrame:
    """Return the activity features of images.

    Parameters
    ----------
    regions : sequence of str, shape (m,)
        NOAA numbers, four digits.
    times : numpy.ndarray, shape (m,)
        datetime64[s], TAI, compared with the reports' UTC as it stands.
    flares : Flares
        With the moments at which they became public.
    summaries : pandas.DataFrame
        `table` of `read_summary_archive`.
    days : sequence of datetime.date
        `days` of `read_summary_archive`.

    Returns
    -------
    pandas.DataFrame
        float32, shape (m, n), columns `activity_names()`, rows in the order of the images, no value NaN or infinite.
    """
    region, time = pd.to_numeric(pd.Series(regions)).to_numpy(np.int64), np.asarray(times, "datetime64[s]")
    order = np.lexsort((time, region))  # neighbours in memory are neighbours in time: several times as fast
    region, time = region[order], time[order]
    table: dict[str, np.ndarray] = {}
    state = region_state(region, time, summaries)
    numbered = np.where(state["has_summary"] > 0, region, NO_REGION)
    for columns in (region_history(numbered, time, flares), sun_history(numbered, time, flares), state,
                    sun_state(time, summaries, days)):
        for name, values in columns.items():
            table[name] = np.empty(len(order), dtype=np.float32)
            table[name][order] = values
    return pd.DataFrame(table)


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


@functools.cache
def activity_names() -> tuple[str, ...]:
    """Return the names of the columns of `activity_features`."""
    nobody = pd.DataFrame({name: [] for name in SummaryRow._fields}).astype({"date": "datetime64[s]"})
    return tuple(activity_features([], np.empty(0, "datetime64[s]"), _flares([]), nobody, []))


def flares_of_reports(archive: EventArchive, delay_minutes: float) -> tuple[Flares, list[Problem]]:
    """Return the flares of event reports, public at their end; repeated rows once.

    Parameters
    ----------
    archive : EventArchive
        As `read_event_archive` returns it.
    delay_minutes : float
        A flare without an end is public so long after its maximum [min].

    Returns
    -------
    Flares
        By the time at which they became public.
    list of Problem
        Flares with neither end nor maximum: nobody can say when they were known; they are left out.
    """
    rows, problems, delay = set(), [], _seconds(delay_minutes)
    for report in archive.reports:
        for row in report.rows:
            public = row.maximum + delay if np.isnat(row.end) else row.end
            region = int(row.region) if is_region(row.region, np.datetime64(row.report_date, "s")) else NO_REGION
            if np.isnat(public):
                problems.append(Problem(f"{row.report_date:%Y%m%d}events.txt, line {row.line}",
                                        "flare with neither end nor maximum", f"{row.flare_class} begun {row.begin}"))
            else:
                rows.add((public, region, peak_flux(row.flare_class), row.maximum))
    ordered = sorted(rows, key=lambda row: (row[0], row[1], row[2]))
    return _flares([row[:3] for row in ordered]), problems


def flares_of_list(events: EventList, delay_minutes: float, but: EventList | None = None) -> Flares:
    """Return the flares of an event list, public a stated delay after their maximum.

    Parameters
    ----------
    events : EventList
        As `read_event_list` returns it.
    delay_minutes : float
        From maximum to when the flare is taken to be known [min].
    but : EventList, optional
        Flares to leave out because they are known already: those of the same region and class whose maximum has the
        same time of day and is at most a day apart (a list can date a maximum after midnight by its begin).

    Returns
    -------
    Flares
        Those that are left, in the order of the list.
    """
    delay = _seconds(delay_minutes)
    known: set[tuple] = set()
    if but is not None:
        known = {(region, name, time + shift * _SAME_CLOCK)
                 for region, name, time in zip(but.region, but.flare_class, but.time, strict=True)
                 for shift in (-1, 0, 1)}
    flares = zip(events.region, events.flare_class, events.time, events.peak_flux, strict=True)
    return _flares([(time + delay, int(region), flux) for region, name, time, flux in flares
                    if (region, name, time) not in known])


def join_flares(first: Flares, second: Flares) -> Flares:
    """Return the flares of two sources together.

    Parameters
    ----------
    first, second : Flares
        Without common ones.

    Returns
    -------
    Flares
        One after the other.
    """
    return Flares(*(np.concatenate(columns) for columns in zip(first, second, strict=True)))


def _seconds(minutes: float) -> np.timedelta64:
    """Return a length in whole seconds."""
    return np.timedelta64(round(minutes * 60), "s")


def _flares(rows: list[tuple]) -> Flares:
    """Return rows of public time, region and peak flux as arrays."""
    public, region, flux = zip(*rows, strict=True) if rows else ((), (), ())
    return Flares(np.array(public, dtype="datetime64[s]"), np.array(region, dtype=np.int64),
                  np.array(flux, dtype=float))
