"""The flares that NOAA made public, for the activity features: where they are from, and which past they cover."""

from datetime import timedelta
from pathlib import Path

import numpy as np

from classifier_SVM.activity.features import C1, HOUR, SUN_DAYS, WINDOWS_H, Flares, flares_of_list, flares_of_reports
from classifier_SVM.FeaturesetTools import FLARE_SOURCES, SOURCE_KEYS
from general_code.noaa.archive import DEFAULT_EVENTS_DIR, EventArchive, read_event_archive
from general_code.noaa.event_list import usable_flares
from general_code.noaa.flares import (
    AS_REPORTED,
    CLASS_EXPONENTS,
    EventList,
    on_scale,
    optional_event_list,
    peak_flux,
    report_scale,
)
from general_code.stage.files import UserError, counted, is_set
from general_code.stage.run import StageRun

NO_END_DELAY_MINUTES = 60.0  # from the maximum of a flare without an end to its being known
LATEST_SUMMARY_H = 48  # a region's last summary may be so much older than its image [h]


def read_flares(events_dir: Path, event_list: Path, event_list_delay_minutes: float, run: StageRun,
                times: np.ndarray, flare_scale: str = AS_REPORTED) -> tuple[Flares, np.ndarray]:
    """Return the flares of the event reports, of the event list what the reports do not hold, or the list alone.

    Parameters
    ----------
    events_dir, event_list : Path
        Folder of event reports, of which the default need not be there, and further flares; "": none.
    event_list_delay_minutes : float
        A listed flare is known so long after its maximum [min].
    run : StageRun
        Reports what is used, and excludes what cannot be; its counts get `FLARE_SOURCES`: `events_dir` and `event_list`
        (whether they were used), `event_list_delay_minutes`, `smallest_flare` (its class, "" without a flare),
        `flare_scale`.
    times : numpy.ndarray, shape (m,)
        datetime64[s], of images.
    flare_scale : str, optional
        Of the classes, one of `FLARE_SCALES`.

    Returns
    -------
    Flares, numpy.ndarray
        With the moments at which they became public; bool, shape (m,): are the image's past 72 h in the reports or
        within the list.

    Raises
    ------
    UserError
        When there are neither reports nor a list.
    """
    archive = EventArchive([], [])
    if is_set(events_dir) and (events_dir.exists() or events_dir != DEFAULT_EVENTS_DIR):
        archive = read_event_archive(events_dir)
    listed = optional_event_list(event_list, run, "the flares are those of the event reports")
    if listed is None and not archive.reports:
        folder, file = (path if is_set(path) else "" for path in (events_dir, event_list))
        raise UserError(f"events_dir, event_list: expected event reports in '{folder}' or a list at '{file}' (from "
                        f"{Path.cwd()}), found neither; set one of them")
    sources, parts = [], []
    if archive.reports:
        sources.append(usable_flares(archive))
        reported, untimed = flares_of_reports(archive, event_list_delay_minutes, flare_scale)
        parts.append(reported)
        run.exclude_all(archive.problems + untimed)
        first, last = archive.reports[0].date, archive.reports[-1].date + timedelta(1)
        run.report(f"{len(reported.public):,} flares of the reports in {events_dir}, {first} to {last}, "
                   f"{int((reported.region < 0).sum()):,} without a region; known at their end")
    if listed is not None:
        run.exclude_all(listed.problems)
        known = sources[0] if sources else None
        parts.append(flares_of_list(listed, event_list_delay_minutes, known, flare_scale))
        sources.append(listed)
        run.report(f"{len(parts[-1].public):,} flares of {event_list}{' alone' * (len(parts) > 1)}; taken as known "
                   f"{event_list_delay_minutes:g} min after their maximum")
    report_scale(sources, flare_scale, run)
    covered = _report_coverage(times, sources, archive, run)
    flares = Flares(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    run.count("flares", len(flares.public))
    smallest = _class_name(min(flares.peak_flux[flares.peak_flux > 0], default=0.0))  # A0.0 is reported, too
    used = bool(archive.reports), listed is not None, event_list_delay_minutes, smallest, flare_scale
    run.counts[FLARE_SOURCES] = dict(zip(SOURCE_KEYS, used, strict=True))
    return flares, covered


def read_solar_flares(events_dir: Path, flare_scale: str,
                      run: StageRun) -> tuple[EventList, np.ndarray, np.ndarray]:
    """Return all flares of the event reports, those without a region included.

    Parameters
    ----------
    events_dir, flare_scale, run : Path, str, StageRun
        Folder of event reports; one of `FLARE_SCALES`; reports the number, and excludes what cannot be used.

    Returns
    -------
    EventList, numpy.ndarray, numpy.ndarray
        By time of maximum; when each became public, and its peak flux [W/m2], in another order.
    """
    archive = read_event_archive(events_dir)
    events = on_scale(usable_flares(archive, without_region=True), flare_scale)
    run.exclude_all(events.problems)
    run.report(f"{len(events):,} flares of the whole Sun in the reports in {events_dir}")
    known, _ = flares_of_reports(archive, NO_END_DELAY_MINUTES, flare_scale)
    return events, known.public, known.peak_flux


def _report_coverage(times: np.ndarray, sources: list[EventList], archive: EventArchive, run: StageRun) -> np.ndarray:
    """Return for which images the sources speak of the past 72 h; report gaps in the weeks before.

    A flare that ends at 00:00 began, and is reported, the day before. A report of the image's own day may be made
    before that day ends, but not before the image.
    """
    last = times - np.timedelta64(1, "s")
    days = times.astype("datetime64[D]")
    for report in (report for report in archive.reports if not report.whole):
        enough = (days == np.datetime64(report.date)) & (times <= report.until)
        last[enough] = np.datetime64(report.date, "s") - np.timedelta64(1, "s")
    covered, far = (np.logical_or.reduce([
        source.covers(times - 24 * days * HOUR + np.timedelta64(1, "s"), last) for source in sources])
        for days in (WINDOWS_H[-1] // 24, SUN_DAYS[-1]))
    outside = int((~far).sum())
    run.count(f"images with days without flare reports in their past {SUN_DAYS[-1]} days", outside)
    if outside:
        run.report(f"ATTENTION: {counted(outside, 'images')} with days in the past {SUN_DAYS[-1]} that have no whole "
                   "event report and lie outside the event list: they count as quiet in the columns that look back so "
                   "far")
    return covered


def _class_name(flux: float) -> str:
    """Return a peak flux [W/m2] as GOES class, like A0.9 where it is below A1.0, and "" for none."""
    letter = max((letter for letter, exponent in CLASS_EXPONENTS.items() if float(f"1e{exponent}") <= flux),
                 key=CLASS_EXPONENTS.get, default="A")
    return f"{letter}{flux / float(f'1e{CLASS_EXPONENTS[letter]}'):.1f}" if flux else ""


def compare_sources(trained: dict, used: dict) -> list[str]:
    """Return how the flares of a forecast differ from those that its model was trained with.

    Parameters
    ----------
    trained, used : dict
        `FLARE_SOURCES` of the counts: of the extra features trained with, and of the forecast.

    Returns
    -------
    list of str
        A sentence a difference that changes the features; none where `trained` is empty, as in older files. The scale
        does not differ: a forecast takes that of the training.
    """
    if not set(SOURCE_KEYS[:-1]) <= set(trained):  # an earlier version did not note the scale
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
    small = [one["smallest_flare"] != "" and peak_flux(one["smallest_flare"]) < C1 for one in (trained, used)]
    if small[0] and not small[1]:
        remarks.append(f"trained with flares from {trained['smallest_flare']} on, the smallest here is "
                       f"{used['smallest_flare'] or 'none'}: the columns of flares below C1.0 count as quiet; "
                       "name an event list or reports that hold them")
    return remarks
