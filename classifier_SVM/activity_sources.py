"""What NOAA made public, for the activity features: region summaries and flares, read and said what is lacking."""

import functools
from datetime import timedelta
from pathlib import Path

import numpy as np

from classifier_SVM.activity_features import flares_of_list, flares_of_reports, join_flares
from classifier_SVM.flare_history import C1, WINDOWS_H, Flares
from general_code.event_list import usable_flares
from general_code.flares import CLASS_EXPONENTS, EventList, peak_flux, read_event_list
from general_code.noaa_archive import (
    EventArchive,
    SummaryArchive,
    missing_days,
    read_event_archive,
    read_summary_archive,
)
from general_code.stage_files import UserError, given, require_folder
from general_code.stage_run import StageRun

FLARE_SOURCES = "flare_sources"  # key of the counts in a sidecar
SOURCE_KEYS = ("events_dir", "event_list", "event_list_delay_minutes", "smallest_flare")


def read_summaries(srs_dir: Path, run: StageRun) -> SummaryArchive:
    """Return the region summaries of a folder.

    Parameters
    ----------
    srs_dir : Path
        With yearly folders, or the summaries themselves.
    run : StageRun
        Told what could not be used, and which days are missing.

    Returns
    -------
    SummaryArchive
        With at least one day.

    Raises
    ------
    UserError
        When there is no summary.
    """
    archive = read_summary_archive(require_folder(srs_dir, "srs_dir"))
    if not archive.days:
        raise UserError(f"srs_dir: no region summary (YYYYMMDDSRS.txt) in {srs_dir}; set --srs-dir")
    first, last = min(archive.days), max(archive.days)
    for problem in [*archive.problems, *missing_days(archive.days, first, last, "SRS")]:
        run.exclude(*problem)
    run.say(f"{len(archive.days):,} summaries of {first} to {last}, {archive.table['region'].nunique():,} regions")
    return archive


def read_flares(events_dir: Path, event_list: Path, event_list_delay_minutes: float, run: StageRun,
                times: np.ndarray | None = None) -> Flares:
    """Return the flares of the event reports, of the event list what the reports do not hold, or the list alone.

    Parameters
    ----------
    events_dir : Path
        Folder of event reports; "" or a folder that is not there: none.
    event_list : Path
        Flares beside those of the reports; "" or a file that is not there: none.
    event_list_delay_minutes : float
        A listed flare is known so long after its maximum [min].
    run : StageRun
        Told what is used, and what could not be; its counts get `FLARE_SOURCES`: `events_dir` and `event_list` (whether
        they were used), `event_list_delay_minutes`, `smallest_flare` (its class, "" without a flare).
    times : numpy.ndarray, shape (m,), optional
        datetime64[s], of images: the run is told how many have days in their past of which no source speaks.

    Returns
    -------
    Flares
        With the moments at which they became public.

    Raises
    ------
    UserError
        When there are neither reports nor a list.
    """
    archive = read_event_archive(events_dir) if given(events_dir) and events_dir.is_dir() else None
    has_list = given(event_list) and event_list.is_file()
    if not has_list and (archive is None or not archive.reports):
        raise UserError(f"events_dir, event_list: expected event reports in '{events_dir}' or a list at "
                        f"'{event_list}' (from {Path.cwd()}), found neither; set one of them")
    sources, parts = [], []
    if archive is not None and archive.reports:
        sources.append(usable_flares(archive))
        parts.append(_reported_flares(archive, events_dir, event_list_delay_minutes, run))
    if has_list:
        listed = _read_list(event_list, run)
        parts.append(flares_of_list(listed, event_list_delay_minutes, *sources))
        sources.append(listed)
        run.say(f"{len(parts[-1].public):,} flares of {event_list}{' alone' * (len(parts) > 1)}; taken as known "
                f"{event_list_delay_minutes:g} min after their maximum")
    if times is not None:
        _say_coverage(times, sources, run)
    flares = functools.reduce(join_flares, parts)
    run.count("flares", len(flares.public))
    smallest = _class_name(min(flares.peak_flux, default=0.0))
    run.counts[FLARE_SOURCES] = dict(zip(
        SOURCE_KEYS, (len(sources) > has_list, has_list, event_list_delay_minutes, smallest), strict=True))
    return flares


def compare_sources(trained: dict, used: dict) -> list[str]:
    """Return how the flares of a forecast differ from those that its model was trained with.

    Parameters
    ----------
    trained, used : dict
        `FLARE_SOURCES` of the counts, of the training's extra feature file and of the forecast.

    Returns
    -------
    list of str
        A sentence a difference that changes the features; none where `trained` is empty, as in older files.
    """
    if not trained:
        return []
    remarks = []
    words = {True: "with", False: "without"}
    for setting, text in (("events_dir", "event reports"), ("event_list", "an event list")):
        if trained[setting] != used[setting]:
            remarks.append(f"trained {words[trained[setting]]} {text}, the forecast is made {words[used[setting]]}; "
                           f"set --{setting.replace('_', '-')} as for the training")
    delays = [sources["event_list_delay_minutes"] for sources in (trained, used)]
    if trained["event_list"] and used["event_list"] and delays[0] != delays[1]:
        remarks.append(f"trained with listed flares known {delays[0]:g} min after their maximum, the forecast takes "
                       f"{delays[1]:g} min; set --event-list-delay-minutes {delays[0]:g}")
    if _has_small(trained) and not _has_small(used):
        remarks.append(f"trained with flares from {trained['smallest_flare']} on, the smallest here is "
                       f"{used['smallest_flare'] or 'none'}: the columns of flares below C1.0 count as quiet; "
                       "name an event list or reports that hold them")
    return remarks


def _has_small(sources: dict) -> bool:
    """Tell whether there are flares below C1.0."""
    return sources["smallest_flare"] != "" and peak_flux(sources["smallest_flare"]) < C1


def _class_name(flux: float) -> str:
    """Return a peak flux [W/m2] as GOES class, "" for none."""
    letters = [letter for letter, exponent in CLASS_EXPONENTS.items() if float(f"1e{exponent}") <= flux]
    return f"{letters[-1]}{flux / float(f'1e{CLASS_EXPONENTS[letters[-1]]}'):.1f}" if letters else ""


def _reported_flares(archive: EventArchive, events_dir: Path, delay_minutes: float, run: StageRun) -> Flares:
    """Return the flares of event reports; say how many, and exclude what cannot be used."""
    flares, untimed = flares_of_reports(archive, delay_minutes)
    days = [report.date for report in archive.reports]
    for problem in [*archive.problems, *missing_days(days, min(days), max(days), "events"), *untimed]:
        run.exclude(*problem)
    run.say(f"{len(flares.public):,} flares of the reports in {events_dir}, {min(days)} to {max(days) + timedelta(1)}, "
            f"{int((flares.region < 0).sum()):,} without a region; known at their end")
    return flares


def _say_coverage(times: np.ndarray, sources: list[EventList], run: StageRun) -> None:
    """Say how many images have days in their past of which neither reports nor list speak: these count as quiet."""
    hours = WINDOWS_H[-1]
    past = times - np.timedelta64(hours * 3600 - 1, "s")
    outside = len(times) - int(np.logical_or.reduce([source.covers(past, times) for source in sources]).sum())
    run.count("images with days without flare reports in their past", outside)
    if outside:
        run.say(f"{outside:,} images have days in their past {hours} h that have no event report and lie outside the "
                "event list: they count as quiet")


def _read_list(event_list: Path, run: StageRun) -> EventList:
    """Return an event list, its unusable rows excluded."""
    try:
        events = read_event_list(event_list)
    except ValueError as error:
        raise UserError(f"event_list: {event_list}: {error}; set --event-list, or \"\" for none") from None
    for problem in events.problems:
        run.exclude(*problem)
    return events
