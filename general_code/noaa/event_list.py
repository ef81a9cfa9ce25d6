"""The event list of stage 3: made from NOAA's event reports, or taken as it stands.

A list made here has a sidecar `<event_list>.json` with fingerprints of the reports and of the list, so that it is made
again when the reports change, and a list from elsewhere, or edited by hand, is never replaced. The sidecar is written
first and names the list that it replaces, too: a kill between the two leaves a list that still counts as made here.
"""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from general_code.noaa.archive import DEFAULT_EVENTS_DIR, EventArchive, find_reports, read_event_archive
from general_code.noaa.flares import DISORDER, MADE_BY, EventList, ListSidecar, peak_fluxes, read_event_list
from general_code.stage.files import UserError, atomic_write, is_set
from general_code.stage.run import Problem, StageRun, read_sidecar

RULES = b"a report made during its day is not whole\n"  # lists made by other rules are made again
NO_REPORTS = sha256(RULES).hexdigest()


def obtain_event_list(event_list: Path, events_dir: Path, as_published: bool, run: StageRun,
                      satellites: bool = False) -> EventList:
    """Read the event list; make it first if it is missing or out of date.

    Parameters
    ----------
    event_list : Path
        The list; made when missing, or when this stage made it from other reports. For `as_published` a list that is
        missing or was made here is left alone, and one dated by the reports is made: `eventList_as_published.txt`.
    events_dir : Path
        Folder of event reports; the empty path: none. One that is not the default has to hold some.
    as_published : bool
        Flares keep the date of the report.
    run : StageRun
        Reports what is done.
    satellites : bool, optional
        A list that is made here names the satellites, as the modern scale asks for.

    Returns
    -------
    EventList
        Classes as reported. Its problems include those of the reports when it was made now.

    Raises
    ------
    UserError
        When there is neither a list nor a usable report.
    """
    fingerprint, missing = _reports_now(events_dir)
    path, made_from = event_list, _made_from(event_list)
    if as_published and (made_from or not path.exists()):
        path = event_list.with_name(f"{event_list.stem}_as_published{event_list.suffix}")
        made_from = _made_from(path)
    if path.exists() and not made_from:
        events = read_event_list(path, as_published)
        run.report(f"Reading {path}, as it stands{'' if as_published else _midnight_text(events)}")
        return events
    kind = {"dated_by_report": as_published, "satellites": satellites}
    if made_from and _is_current(made_from, path, fingerprint, kind):
        run.report(f"Reading {path}, " + (f"as it stands: {missing}" if missing else
                                          "made from the reports as they are now"))
        return _remembered(read_event_list(path, as_published=True), made_from)
    if missing:
        if made_from:
            raise UserError(f"event_list: a run ended while '{path}' was being made again, and {missing}, to make it "
                            f"from; set events_dir, or remove '{path}.json' to use the list as it stands")
        raise UserError(f"event_list: expected a list at '{event_list}' or event reports to make it from, found "
                        f"neither: {missing}; set event_list or events_dir")
    changed = ", which have changed, or are read otherwise now" if made_from else ""
    run.report(f"Making {path} from the reports in {events_dir}{changed}")
    return make_event_list(path, events_dir, **kind)


def make_event_list(path: Path, events_dir: Path, dated_by_report: bool = False, satellites: bool = False) -> EventList:
    """Write an event list from event reports, with its sidecar, and return it.

    As published (`dated_by_report`) it is in the order of the reports, each flare with the date of its report, on which
    it began; else in order of time, each with the date of its maximum. With `satellites` it has a fifth field.
    """
    fingerprint = reports_fingerprint(events_dir)  # taken first: a report that changes meanwhile is noticed next time
    archive = read_event_archive(events_dir)
    events = usable_flares(archive, dated_by_report)
    if not len(events):
        raise UserError(f"events_dir: no X-ray flare with a maximum and a region in {len(archive.reports):,} event "
                        f"reports (YYYYMMDDevents.txt or YYYY_events.tar.gz) in {events_dir}, {len(events.problems):,} "
                        "problems; set events_dir, or event_list to a list")
    columns = [events.time, events.region, events.flare_class] + [events.satellite] * satellites
    text = "".join(f"{event_line(*event)}\n" for event in zip(*columns, strict=True)).encode()
    content = {"origin": MADE_BY, "dated_by_report": dated_by_report, "satellites": satellites,
               "reports": len(archive.reports), "flares": len(events), "reports_sha256": fingerprint,
               "list_sha256": sha256(text).hexdigest(), "replaced_sha256": _digest(path),
               "reported_days": [str(day) for day in events.reported],
               "after_midnight_lines": (np.flatnonzero(events.after_midnight) + 1).tolist(),
               "problems": [list(problem) for problem in events.problems]}
    with atomic_write(Path(f"{path}.json")) as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    with atomic_write(path, "wb") as file:
        file.write(text)
    return events


def usable_flares(archive: EventArchive, dated_by_report: bool = False, without_region: bool = False) -> EventList:
    """Return the flares that can be attributed: with a maximum and a region, repeated ones once.

    Parameters
    ----------
    archive : EventArchive
        Reports.
    dated_by_report : bool, optional
        In the order of the reports and with their dates, as in the published list.
    without_region : bool, optional
        Also those without a region, whose `region` is "".

    Returns
    -------
    EventList
        With their satellites, classes as reported (`on_scale` has others); the other flares are in `problems`.
    """
    problems = list(archive.problems)
    flares = {}
    for report in archive.reports:
        midnight = np.datetime64(report.date, "s")
        for row in report.rows:
            fault = ("flare without a maximum" if np.isnat(row.maximum) else
                     "" if row.region or without_region else "flare without a region")
            listed = midnight if fault else midnight + (row.maximum - row.maximum.astype("datetime64[D]"))
            flare = (listed if dated_by_report else row.maximum, row.region, row.flare_class)
            fault = fault or ("repeated row" if flare in flares else "")
            if fault:
                problems.append(Problem(f"{report.date:%Y%m%d}events.txt, line {row.line}", fault,
                                        f"{row.flare_class} begun {row.begin}", "flares"))
            else:
                flares[flare] = listed, row.satellite
    order = list(flares) if dated_by_report else sorted(flares, key=lambda flare: flare[0])  # stable
    times = np.array([flare[0] for flare in order], dtype="datetime64[s]")
    regions, classes = (np.array([flare[column] for flare in order], dtype=str) for column in (1, 2))
    listed = np.array([flares[flare][0] for flare in order], dtype="datetime64[s]")
    satellites = np.array([flares[flare][1] for flare in order], dtype=str)
    reported = np.array([report.date for report in archive.reports if report.whole], dtype="datetime64[D]")
    return EventList(time=times, region=regions, flare_class=classes, peak_flux=peak_fluxes(classes),
                     listed_time=listed, problems=problems, reported=reported, satellite=satellites)


def event_line(time: np.datetime64, region: str, flare_class: str, satellite: str = "") -> str:
    """Return a line of the event list, `YYYY MM DD,HHMM,NNNN,C5.7`, and `,G15` if known, the time cut to the minute."""
    day, clock = str(time.astype("datetime64[m]")).split("T")
    return f"{day.replace('-', ' ')},{clock.replace(':', '')},{region},{flare_class}{satellite and ',' + satellite}"


# ---------------------------------------------------------------------------- lists made here


def _reports_now(events_dir: Path) -> tuple[str, str]:
    """Return fingerprint and "", or why there are no reports; UserError where a user names a folder without any."""
    if not is_set(events_dir):
        return NO_REPORTS, "no events_dir is set"
    fingerprint = reports_fingerprint(events_dir)
    if fingerprint != NO_REPORTS:
        return fingerprint, ""
    if events_dir.exists() or events_dir != DEFAULT_EVENTS_DIR:
        read_event_archive(events_dir)
    return NO_REPORTS, f"there are no event reports in {events_dir}"


def _made_from(path: Path) -> dict:
    """Return the sidecar of a list that this stage made, or was about to replace; empty for any other list."""
    sidecar = read_sidecar(path, ListSidecar, MADE_BY)
    own = sidecar and _digest(path) in (sidecar["list_sha256"], sidecar["replaced_sha256"])
    return sidecar if own and path.exists() else {}


def _is_current(made_from: dict, path: Path, fingerprint: str, kind: dict[str, bool]) -> bool:
    """Tell whether a list is of this kind and made from the reports as they are now; true if there are none now."""
    if _digest(path) != made_from["list_sha256"] or made_from["dated_by_report"] != kind["dated_by_report"]:
        return False
    same = fingerprint == made_from["reports_sha256"] and made_from.get("satellites", False) == kind["satellites"]
    return same or fingerprint == NO_REPORTS


def _digest(path: Path) -> str:
    """Return a digest of a file, "" without one."""
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def reports_fingerprint(events_dir: Path) -> str:
    """Return a digest of names and contents of the event reports in a folder; `NO_REPORTS` when there are none."""
    digest = sha256(RULES)
    for where, _, content in find_reports(events_dir, "events")[0]:
        digest.update(f"{where} {sha256(content).hexdigest()}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _midnight_text(events: EventList) -> str:
    """Return what became of the maxima after midnight of a list from elsewhere."""
    if any(problem.reason == DISORDER for problem in events.problems):
        return "; its dates are not in order, so that maxima after midnight are unknown and keep theirs"
    return f"; {events.after_midnight.sum():,} maxima after midnight are put right"


def _remembered(events: EventList, made_from: dict) -> EventList:
    """Return a list made here with what its sidecar remembers of the reports."""
    listed = events.time.copy()
    listed[[line - 1 for line in made_from["after_midnight_lines"] if line <= len(listed)]] -= np.timedelta64(1, "D")
    return replace(events, listed_time=listed, problems=[Problem(*problem) for problem in made_from["problems"]])
