"""The event list: made from reports, made again when they change, left alone when it is somebody else's."""

import json
from pathlib import Path

import numpy as np
import pytest

from general_code.noaa import event_list
from general_code.noaa.archive import read_event_archive
from general_code.noaa.event_list import make_event_list, obtain_event_list, usable_flares
from general_code.noaa.flares import EventList, on_scale, optional_event_list, peak_flux, read_event_list
from general_code.stage.files import UserError, atomic_write
from tests.general_code.noaa.test_archive import Reports, pack

TITLE = "#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#"


def write_report(folder: Path, day: str, *flares: tuple[str, str, str, str]) -> None:
    """Write an event report with flares of (begin, max, class, region)."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"4080       {begin}   {maximum}      2359  G15  5   XRA  1-8A      {flare_class:<8}1.9E-03   {region:4}"
            for begin, maximum, flare_class, region in flares]
    (folder / f"{day}events.txt").write_text("\n\n".join([TITLE, *(rows or ["NO EVENT REPORTS."])]) + "\n")


def obtain(path: Path, events_dir: Path, as_published: bool = False,
           satellites: bool = False) -> tuple[EventList, str]:
    """Return an event list and what is reported."""
    run = Reports()
    events = obtain_event_list(path, events_dir, as_published, run, satellites)
    return events, "\n".join(run.lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the list is to be."""
    return tmp_path / "eventList.txt"


@pytest.fixture
def events_dir(tmp_path: Path) -> Path:
    """Two days of reports with every oddity."""
    folder = tmp_path / "Events"
    write_report(folder / "2010_events", "20100504", ("2210", "2330", "C2.0", "1070"), ("2350", "0023", "M1.0", "1069"),
                 ("2300", "2310", "C1.0", "    "), ("2300", "////", "C1.5", "1069"), ("0100", "0110", "B1.0", "0000"))
    write_report(folder / "2010_events", "20100505", ("0010", "0020", "X10.0", "1069"),
                 ("0010", "0020", "X10.0", "1069"))
    return folder


MADE = ["2010 05 04,2330,1070,C2.0", "2010 05 05,0020,1069,X10.0", "2010 05 05,0023,1069,M1.0"]
AS_PUBLISHED = ["2010 05 04,2330,1070,C2.0", "2010 05 04,0023,1069,M1.0", "2010 05 05,0020,1069,X10.0"]


def test_list_has_the_maxima_on_their_days_in_order_of_time(path: Path, events_dir: Path):
    events = make_event_list(path, events_dir)
    assert path.read_text().splitlines() == MADE
    assert events.after_midnight.tolist() == [False, False, True]
    sidecar = json.loads(Path(f"{path}.json").read_text())
    assert (sidecar["reports"], sidecar["flares"], sidecar["after_midnight_lines"]) == (2, 3, [3])
    assert [(problem.reason, problem.input) for problem in events.problems] == [
        ("flare without a region", "20100504events.txt, line 7"),
        ("flare without a maximum", "20100504events.txt, line 9"),
        ("flare without a region", "20100504events.txt, line 11"), ("repeated row", "20100505events.txt, line 5")]


def test_list_is_made_once_and_again_when_reports_change(path: Path, events_dir: Path, monkeypatch):
    (first, made), (again, read) = obtain(path, events_dir), obtain(path, events_dir)
    assert (made.split()[0], read.split()[0]) == ("Making", "Reading")
    for name in ("time", "region", "flare_class", "peak_flux", "listed_time", "reported"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert first.problems == again.problems
    write_report(events_dir, "20100506", ("1000", "1010", "C3.0", "1069"))
    events, line = obtain(path, events_dir)
    assert len(events) == 4 and "which have changed" in line
    report = events_dir / "2010_events" / "20100504events.txt"
    report.write_text(report.read_text().replace("C2.0", "C2.1"))
    assert "which have changed" in obtain(path, events_dir)[1], "a report changed inside"
    assert len(obtain(path, Path(""))[0]) == 4, "used when the reports are gone"
    monkeypatch.setattr(event_list, "RULES", b"another")
    assert "or are read otherwise now" in obtain(path, events_dir)[1]


def test_a_list_is_made_from_packed_reports_and_again_when_they_change(tmp_path: Path, path: Path, events_dir: Path):
    reports = sorted((events_dir / "2010_events").iterdir())
    for files, flares in ((reports, 3), (reports[:1], 2)):
        pack(tmp_path / "packed" / "2010_events.tar.gz", *files)
        events, line = obtain(path, tmp_path / "packed")
        assert len(events) == flares and line.startswith("Making")
        assert obtain(path, tmp_path / "packed")[1].startswith("Reading")


def test_list_from_elsewhere_or_edited_is_never_replaced(path: Path, events_dir: Path, capsys):
    path.write_text("2010 05 04,2330,1070,C2.0\n2010 05 04,0023,1069,M1.0\n")
    Path(f"{path}.json").write_text('["a file of the user"]')
    assert obtain(path, events_dir)[0].after_midnight.tolist() == [False, True]
    assert obtain(path, events_dir, True)[0].after_midnight.tolist() == [False, False]
    assert capsys.readouterr().err == ""
    make_event_list(path, events_dir)
    path.write_text(path.read_text() + "2010 06 04,2330,1077,C2.0\n")
    events, line = obtain(path, events_dir)
    assert len(events) == 4 and "as it stands" in line


def test_as_published_keeps_the_reports_dates_and_order_under_another_name(path: Path, events_dir: Path):
    make_event_list(path, events_dir, dated_by_report=True)
    assert path.read_text().splitlines() == AS_PUBLISHED
    assert read_event_list(path).time[1] == np.datetime64("2010-05-05T00:23:00")  # put right when read
    obtain(path, events_dir)  # a list of the other kind is made again
    events, _ = obtain(path, events_dir, True)
    assert path.read_text().splitlines() == MADE
    assert path.with_name("eventList_as_published.txt").read_text().splitlines() == AS_PUBLISHED
    assert not events.after_midnight.any()
    assert (obtain(path, events_dir, True)[0].time == events.time).all()


def test_a_list_has_the_satellites_where_they_are_asked_for_only(path: Path, events_dir: Path):
    made, _ = obtain(path, events_dir, satellites=True)
    assert path.read_text().splitlines() == [f"{line},G15" for line in MADE]
    again, line = obtain(path, events_dir, satellites=True)
    assert line.startswith("Reading") and (again.satellite == made.satellite).all()
    assert again.flare_class.tolist() == ["C2.0", "X10.0", "M1.0"], "as reported"
    assert obtain(path, Path(""))[1].endswith("as it stands: no events_dir is set"), "there is nothing to make it from"
    assert obtain(path, events_dir)[1].startswith("Making") and path.read_text().splitlines() == MADE
    assert obtain(path, Path(""), satellites=True)[1].startswith("Reading")


def test_flares_without_a_region_are_there_for_the_whole_disk(events_dir: Path):
    archive = read_event_archive(events_dir)
    events = usable_flares(archive, without_region=True)
    assert list(zip(events.region, events.flare_class, strict=True)) == [
        ("", "B1.0"), ("", "C1.0"), ("1070", "C2.0"), ("1069", "X10.0"), ("1069", "M1.0")]
    assert on_scale(events, "modern").flare_class.tolist() == ["B1.4", "C1.4", "C2.9", "X14.3", "M1.4"]


@pytest.mark.parametrize(("reports", "message"), [
    (None, "to make it from, found neither: no events_dir is set"), ("", "events_dir: expected a folder"),
    ("20100504", "no X-ray flare with a maximum and a region")])
def test_neither_list_nor_flares(path: Path, events_dir: Path, monkeypatch, reports, message):
    monkeypatch.chdir(events_dir)  # reports that are not named are not those where the user stands
    if reports:
        write_report(path.with_name("reports"), reports)
    with pytest.raises(UserError, match=message):
        obtain(path, path.with_name("reports") if reports is not None else Path(""))


@pytest.mark.parametrize("made", [True, False])
def test_a_named_folder_has_to_hold_reports_and_the_usual_one_may_be_missing(path: Path, events_dir: Path, monkeypatch,
                                                                             made):
    if made:
        make_event_list(path, events_dir)
    else:
        path.write_text("2010 05 04,2330,1070,C2.0\n")
    summaries, empty = path.with_name("SRS"), path.with_name("empty")
    for folder in (summaries, empty):
        folder.mkdir()
    (summaries / "20100504SRS.txt").write_text("")
    for folder, message in ((path.with_name("gone"), "expected a folder"), (empty, "found none; set --events-dir"),
                            (summaries, "seem to be swapped")):
        with pytest.raises(UserError, match=f"events_dir: .*{message}"):
            obtain(path, folder)
    monkeypatch.chdir(empty)
    said = obtain(path, Path("data/Events"))[1]
    assert "as it stands" in said and (not made or said.endswith("there are no event reports in data/Events"))


def test_against_the_published_list(noaa_archive: Path, shared_data: Path, tmp_path: Path):
    made = make_event_list(tmp_path / "eventList.txt", noaa_archive / "Events")
    published = read_event_list(shared_data / "published" / "eventList.txt")

    def rows(events, chosen, *columns):
        """Return the chosen flares as text."""
        chosen = chosen & (events.time < np.datetime64("2018-12-16"))
        return set(zip(*(getattr(events, name)[chosen].astype(str).tolist() for name in columns), strict=True))

    described = "listed_time", "region", "flare_class"
    strong, published_strong = (events.peak_flux >= peak_flux("C1.0") for events in (made, published))
    ours, theirs = rows(made, strong, *described), rows(published, published_strong, *described)
    assert (len(ours), len(theirs)) == (7570, 7568)
    # three flares of 2013-12-31 and one of 2014-12-31 stand in only one of the two: last days of yearly archives
    assert sorted(map(" ".join, ours - theirs)) == [
        "2013-12-31T02:40:00 1936 C5.6", "2013-12-31T05:32:00 1938 C2.0", "2013-12-31T07:40:00 1936 C2.2"]
    assert theirs - ours == {("2014-12-31T23:39:00", "2253", "C1.2")}
    reasons = [problem.reason for problem in made.problems]
    assert (reasons.count("flare without a region"), reasons.count("flare without a maximum")) == (930, 7)
    assert made.after_midnight.sum() == 57
    assert (made.after_midnight & (made.peak_flux >= peak_flux("M1.0"))).sum() == 6
    found = rows(published, published.after_midnight & published_strong, "time", "region")
    assert len(found) == 55
    assert found < rows(made, made.after_midnight, "time", "region")  # none wrongly


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("write", [0, 1])
def test_after_a_kill_at_either_write_the_list_is_made_again(path: Path, events_dir: Path, monkeypatch, fresh, write):
    if not fresh:
        make_event_list(path, events_dir)
        write_report(events_dir, "20100506", ("1000", "1010", "C3.0", "1069"))

    def files():
        """Return the list and its sidecar, as they are."""
        return {name: name.read_bytes() for name in path.parent.glob("eventList*")}

    before, writes = files(), [atomic_write] * write

    def killed(*arguments):
        if not writes:
            raise KeyboardInterrupt
        return writes.pop()(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(event_list, "atomic_write", killed)
        obtain(path, events_dir)
    assert (files() == before) is (write == 0)
    if not fresh and write:
        edited = path.with_name("edited.txt")
        edited.write_text(path.read_text().replace("C2.0", "C2.1"))
        edited.with_name("edited.txt.json").write_bytes(Path(f"{path}.json").read_bytes())
        assert "as it stands" in obtain(edited, events_dir)[1], "edited after the kill, it is somebody else's"
    events, line = obtain(path, events_dir)
    assert len(events) == (3 if fresh else 4) and line.startswith("Making")
    assert "made from the reports as they are now" in obtain(path, events_dir)[1]


def test_days_with_a_report_are_kept_with_the_list_and_those_without_listed(path: Path, events_dir: Path):
    write_report(events_dir, "20100508", ("1000", "1010", "C3.0", "1069"))
    cut_off = events_dir / "20100507events.txt"
    cut_off.write_text(f"{TITLE}\n4080       1000   1010      2359  G15  5   XRA  1-8A      C3")
    made = make_event_list(path, events_dir)
    assert made.reported.astype(str).tolist() == ["2010-05-04", "2010-05-05", "2010-05-08"]
    assert ("20100506events.txt", "missing day") in [problem[:2] for problem in made.problems]
    assert made.period == (np.datetime64("2010-05-04"), np.datetime64("2010-05-08"))
    assert (optional_event_list(path, Reports()).reported == made.reported).all()
    path.write_text(path.read_text().replace("C2.0", "C2.1"))
    assert optional_event_list(path, Reports()).reported is None


def test_a_list_whose_dates_are_not_in_order_keeps_them(path: Path, events_dir: Path):
    path.write_text("2010 05 05,2330,1070,C2.0\n2010 05 04,2330,1070,C2.0\n2010 05 04,0023,1069,M1.0\n")
    events, line = obtain(path, events_dir)
    assert not events.after_midnight.any() and "after midnight are unknown" in line
    assert events.problems == [("eventList.txt", "dates not in order", "a flare of 2010-05-04 stands behind one of "
                                "2010-05-05; maxima after midnight keep their dates", "lists")]
