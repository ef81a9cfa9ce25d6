"""The event list of stage 3: made from NOAA's event reports, or taken as it stands.

A list made here has a sidecar `<event_list>.json` with fingerprints of the reports and of the list, so that it is made
again when the reports change, and a list from elsewhere, or edited by hand, is never replaced. The sidecar is written
first and knows the list that it replaces, too: a kill between the two leaves a list that still counts as made here.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from general_code.flares import DISORDER, EventList, peak_fluxes, read_event_list
from general_code.noaa_archive import EventArchive, find_reports, missing_days, read_event_archive
from general_code.noaa_text import Problem, is_region
from general_code.stage_files import UserError, atomic_write, given
from general_code.stage_run import StageRun, read_sidecar

MADE_BY = "made by generate_dataset from event reports"
NO_REPORTS = hashlib.sha256().hexdigest()


class ListState(NamedTuple):
    """What there is at an event list's path: whether this stage made it, and from the reports as they are now."""

    exists: bool
    made_here: bool
    up_to_date: bool


def obtain_event_list(event_list: Path, events_dir: Path, as_published: bool, run: StageRun) -> EventList:
    """Read the event list, making it first where that is called for.

    Parameters
    ----------
    event_list : Path
        The list; made when missing, or when this stage made it from other reports. For `as_published` a list that is
        missing or was made here is left alone, and one dated by the reports is made under another name.
    events_dir : Path
        `YYYYMMDDevents.txt`, in yearly folders or in one.
    as_published : bool
        Flares keep the date of the report.
    run : StageRun
        Told what is done.

    Returns
    -------
    EventList
        Its problems include those of the reports when it was made now.

    Raises
    ------
    UserError
        When there is neither a list nor a usable report.
    """
    path = event_list
    state = list_state(path, events_dir, dated_by_report=False)
    if as_published and (state.made_here or not state.exists):
        path = published_name(event_list)
        state = list_state(path, events_dir, dated_by_report=True)
    if state.exists and (not state.made_here or state.up_to_date):
        events = _read_list(path, as_published, state.made_here)
        run.say(f"Reading {path}, " + ("made from the reports as they are now" if state.made_here else
                                       "as it stands" + ("" if as_published else _midnight_text(events))))
        return events
    has_reports = given(events_dir) and events_dir.is_dir()
    if state.made_here and not has_reports:
        raise UserError(f"event_list: '{path}' was being made anew when a run ended, and events_dir '{events_dir}', "
                        f"which it is made from, is not there; set events_dir, or remove '{path}.json' to use the list "
                        "as it stands")
    if not has_reports:
        raise UserError(f"event_list: expected a list at '{event_list}' or event reports in events_dir '{events_dir}' "
                        "to make it from, found neither; set one of them")
    run.say(f"Making {path} from the reports in {events_dir}" + (", which have changed" if state.exists else ""))
    return make_event_list(path, events_dir, as_published)


def optional_event_list(event_list: Path, run: StageRun) -> EventList | None:
    """Read an event list that a stage can do without; say what is missing then.

    Parameters
    ----------
    event_list : Path
        The setting; empty, or a file that need not exist.
    run : StageRun
        Told of the flares, or of what is not available.

    Returns
    -------
    EventList or None
        None without a list. One that was made from reports knows their days.

    Raises
    ------
    UserError
        When there is a list that cannot be read.
    """
    if not given(event_list) or not event_list.is_file():
        at = f" at '{event_list}'" if given(event_list) else ""
        run.say(f"No event list{at}: persistence is not available")
        return None
    try:
        events = read_event_list(event_list)
    except ValueError as error:
        raise UserError(f"event_list: {event_list}: {error}; mend it, or --event-list \"\" for none") from None
    run.say(f"{len(events):,} flares in {event_list}, {len(events.problems):,} rows of it without use")
    return replace(events, reported=_reported_days(event_list))


def published_name(event_list: Path) -> Path:
    """Return the name for a list dated by the reports.

    Parameters
    ----------
    event_list : Path
        Like `eventList.txt`.

    Returns
    -------
    Path
        Like `eventList_as_published.txt`.
    """
    return event_list.with_name(f"{event_list.stem}_as_published{event_list.suffix}")


def list_state(path: Path, events_dir: Path, dated_by_report: bool) -> ListState:
    """Tell what there is at an event list's path.

    Parameters
    ----------
    path : Path
        Of the list.
    events_dir : Path
        Reports as they are now; when there are none, a list made here counts as up to date.
    dated_by_report : bool
        Which of the two kinds of list is meant to be there.

    Returns
    -------
    ListState
        See there.
    """
    if not path.exists():
        return ListState(False, False, False)
    sidecar = read_sidecar(path) or {}
    content = _sha256(path.read_bytes())
    own = [sidecar.get(name) for name in ("list_sha256", "replaced_sha256")]
    if sidecar.get("origin") != MADE_BY or content not in own:
        return ListState(True, False, False)
    # version 0.1 did not note the days: such a list is made anew
    same_kind = (content == own[0] and sidecar["dated_by_report"] == dated_by_report and "reported_days" in sidecar)
    fingerprint = reports_fingerprint(events_dir) if given(events_dir) else NO_REPORTS
    same_reports = fingerprint in (sidecar.get("reports_sha256"), NO_REPORTS)
    return ListState(True, True, same_kind and same_reports)


def reports_fingerprint(events_dir: Path) -> str:
    """Return a digest of names and contents of the event reports in a folder.

    Parameters
    ----------
    events_dir : Path
        `YYYYMMDDevents.txt`, in yearly folders or in one; need not exist.

    Returns
    -------
    str
        Hexadecimal; `NO_REPORTS` when there are none.
    """
    digest = hashlib.sha256()
    for _, path in find_reports(events_dir, "events")[0]:
        try:
            content = _sha256(path.read_bytes())
        except OSError:
            content = "unreadable"
        digest.update(f"{path.relative_to(events_dir).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def make_event_list(path: Path, events_dir: Path, dated_by_report: bool = False) -> EventList:
    """Write the event list of a folder of reports, and its sidecar.

    Parameters
    ----------
    path : Path
        The list to be.
    events_dir : Path
        `YYYYMMDDevents.txt`, in yearly folders or in one.
    dated_by_report : bool, optional
        As published: in the order of the reports, each flare with the date of its report, on which it began. Else
        in order of time, each with the date of its maximum.

    Returns
    -------
    EventList
        What was written.

    Raises
    ------
    UserError
        When the reports hold no flare with a maximum and a region.
    """
    fingerprint = reports_fingerprint(events_dir)  # taken first: a report that changes meanwhile is noticed next time
    archive = read_event_archive(events_dir)
    events = usable_flares(archive, dated_by_report)
    if not len(events):
        raise UserError(f"events_dir: no X-ray flare with a maximum and a region in {len(archive.reports):,} event "
                        f"reports (YYYYMMDDevents.txt) in {events_dir}, {len(events.problems):,} problems; set "
                        "events_dir, or event_list to a list")
    text = "".join(f"{event_line(*event)}\n"
                   for event in zip(events.time, events.region, events.flare_class, strict=True)).encode()
    content = {"origin": MADE_BY, "dated_by_report": dated_by_report, "reports": len(archive.reports),
               "reports_sha256": fingerprint, "list_sha256": _sha256(text),
               "replaced_sha256": _sha256(path.read_bytes()) if path.is_file() else "", "flares": len(events),
               "reported_days": [str(day) for day in events.reported],
               "after_midnight_lines": (np.flatnonzero(events.after_midnight) + 1).tolist(),
               "problems": [list(problem) for problem in events.problems]}
    with atomic_write(Path(f"{path}.json")) as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    with atomic_write(path, "wb") as file:
        file.write(text)
    return events


def usable_flares(archive: EventArchive, dated_by_report: bool = False) -> EventList:
    """Return the flares that can be attributed: with a maximum and a region, repeated ones once.

    Parameters
    ----------
    archive : EventArchive
        Reports.
    dated_by_report : bool, optional
        See `make_event_list`.

    Returns
    -------
    EventList
        The others are in `problems`.
    """
    days = [report.date for report in archive.reports]
    problems = archive.problems + (missing_days(days, days[0], days[-1], "events") if days else [])
    flares = {}
    for report in archive.reports:
        name = f"{report.date:%Y%m%d}events.txt"
        midnight = np.datetime64(report.date, "s")
        for row in report.rows:
            fault = ("flare without a maximum" if np.isnat(row.maximum) else
                     "" if is_region(row.region, midnight) else "flare without a region")
            listed = midnight if fault else midnight + (row.maximum - row.maximum.astype("datetime64[D]"))
            flare = (listed if dated_by_report else row.maximum, row.region, row.flare_class)
            fault = fault or ("repeated row" if flare in flares else "")
            if fault:
                problems.append(Problem(f"{name}, line {row.line}", fault, f"{row.flare_class} begun {row.begin}"))
            else:
                flares[flare] = listed
    order = list(flares) if dated_by_report else sorted(flares, key=lambda flare: flare[0])  # stable
    times = np.array([flare[0] for flare in order], dtype="datetime64[s]")
    regions, classes = (np.array([flare[column] for flare in order], dtype=str) for column in (1, 2))
    listed = np.array([flares[flare] for flare in order], dtype="datetime64[s]")
    reported = np.array([report.date for report in archive.reports if report.whole], dtype="datetime64[D]")
    return EventList(times, regions, classes, peak_fluxes(classes), listed, problems, reported)


def event_line(time: np.datetime64, region: str, flare_class: str) -> str:
    """Return a line of the event list.

    Parameters
    ----------
    time : numpy.datetime64
        Of the maximum; cut to the minute.
    region : str
        Four digits.
    flare_class : str
        Like `C5.7`.

    Returns
    -------
    str
        `YYYY MM DD,HHMM,NNNN,C5.7`.
    """
    day, clock = str(time.astype("datetime64[m]")).split("T")
    return f"{day.replace('-', ' ')},{clock.replace(':', '')},{region},{flare_class}"


def _midnight_text(events: EventList) -> str:
    """Say what became of the maxima after midnight of a list from elsewhere."""
    if any(problem.reason == DISORDER for problem in events.problems):
        return "; its dates are not in order, so that maxima after midnight cannot be told and keep theirs"
    return f"; {events.after_midnight.sum():,} maxima after midnight are put right"


def _read_list(path: Path, as_published: bool, made_here: bool) -> EventList:
    """Return a list as it stands; one made here with what its sidecar remembers of the reports."""
    try:
        events = read_event_list(path, as_published or made_here)
    except ValueError as error:
        raise UserError(f"event_list: {path}: {error}; set event_list, or remove the file to have it made") from None
    if not made_here:
        return events
    sidecar = read_sidecar(path) or {}
    listed = events.time.copy()
    listed[np.array(sidecar["after_midnight_lines"], dtype=int) - 1] -= np.timedelta64(1, "D")
    problems = [Problem(*problem) for problem in sidecar["problems"]]
    return replace(events, listed_time=listed, problems=problems, reported=_reported_days(path))


def _reported_days(path: Path) -> np.ndarray | None:
    """Return the days of the reports that a list was made from, None for a list from elsewhere."""
    sidecar = read_sidecar(path) or {}
    if "reported_days" not in sidecar or sidecar.get("list_sha256") != _sha256(path.read_bytes()):
        return None
    return np.array(sidecar["reported_days"], dtype="datetime64[D]")


def _sha256(data: bytes) -> str:
    """Return a digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
