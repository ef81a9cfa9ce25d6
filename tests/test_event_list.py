"""The event list: made from reports, made again when they change, left alone when it is somebody else's."""

import json
from pathlib import Path

import numpy as np
import pytest

from general_code import event_list
from general_code.event_list import (
    event_line,
    list_state,
    make_event_list,
    obtain_event_list,
    optional_event_list,
    published_name,
    usable_flares,
)
from general_code.flares import peak_flux, read_event_list
from general_code.noaa_archive import read_event_archive
from general_code.stage_files import UserError, atomic_write

TITLE = "#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#"


class Said:
    """Keeps what a run says."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def write_report(folder: Path, day: str, *flares: tuple[str, str, str, str]) -> None:
    """Write an event report with flares of (begin, max, class, region)."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"4080       {begin}   {maximum}      2359  G15  5   XRA  1-8A      {flare_class:<8}1.9E-03   {region:4}"
            for begin, maximum, flare_class, region in flares]
    (folder / f"{day}events.txt").write_text("\n\n".join([TITLE, *(rows or ["NO EVENT REPORTS."])]) + "\n")


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


def test_list_has_the_maxima_on_their_days_in_order_of_time(tmp_path: Path, events_dir: Path):
    path = tmp_path / "eventList.txt"
    events = make_event_list(path, events_dir)
    assert path.read_text().splitlines() == MADE
    assert events.after_midnight.tolist() == [False, False, True]
    assert [(problem.reason, problem.input) for problem in events.problems] == [
        ("flare without a region", "20100504events.txt, line 7"),
        ("flare without a maximum", "20100504events.txt, line 9"),
        ("flare without a region", "20100504events.txt, line 11"),
        ("repeated row", "20100505events.txt, line 5")]


def test_list_as_published_keeps_the_reports_dates_and_order(tmp_path: Path, events_dir: Path):
    path = tmp_path / "list.txt"
    make_event_list(path, events_dir, dated_by_report=True)
    assert path.read_text().splitlines() == AS_PUBLISHED
    assert (read_event_list(path).time[1]) == np.datetime64("2010-05-05T00:23:00")  # put right when read


def test_list_is_made_once_and_again_when_reports_change(tmp_path: Path, events_dir: Path):
    path, said = tmp_path / "eventList.txt", Said()
    first = obtain_event_list(path, events_dir, False, said)
    again = obtain_event_list(path, events_dir, False, said)
    assert [line.split()[0] for line in said.lines] == ["Making", "Reading"]
    for name in ("time", "region", "flare_class", "peak_flux", "listed_time"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert (first.problems, first.period) == (again.problems, again.period)
    write_report(events_dir, "20100506", ("1000", "1010", "C3.0", "1069"))
    assert len(obtain_event_list(path, events_dir, False, said)) == 4
    assert "which have changed" in said.lines[-1]


def test_list_from_elsewhere_or_edited_is_never_replaced(tmp_path: Path, events_dir: Path):
    path, said = tmp_path / "eventList.txt", Said()
    path.write_text("2010 05 04,2330,1070,C2.0\n2010 05 04,0023,1069,M1.0\n")
    events = obtain_event_list(path, events_dir, False, said)
    assert events.after_midnight.tolist() == [False, True]
    assert obtain_event_list(path, events_dir, True, said).after_midnight.tolist() == [False, False]
    make_event_list(path, events_dir)
    path.write_text(path.read_text() + "2010 06 04,2330,1077,C2.0\n")
    assert len(obtain_event_list(path, events_dir, False, said)) == 4
    assert all("as it stands" in line for line in said.lines)


def test_as_published_makes_its_list_under_another_name(tmp_path: Path, events_dir: Path):
    path, said = tmp_path / "eventList.txt", Said()
    obtain_event_list(path, events_dir, False, said)
    events = obtain_event_list(path, events_dir, True, said)
    assert path.read_text().splitlines() == MADE
    assert (tmp_path / "eventList_as_published.txt").read_text().splitlines() == AS_PUBLISHED
    assert not events.after_midnight.any()
    assert (obtain_event_list(path, events_dir, True, said).time == events.time).all()
    assert published_name(Path("a/b.txt")) == Path("a/b_as_published.txt")


def test_list_made_here_is_used_when_the_reports_are_gone(tmp_path: Path, events_dir: Path):
    path = tmp_path / "eventList.txt"
    make_event_list(path, events_dir)
    assert len(obtain_event_list(path, tmp_path / "gone", False, Said())) == 3


@pytest.mark.parametrize("reports", [None, "20100504", "README"])
def test_neither_list_nor_flares(tmp_path: Path, reports):
    folder = tmp_path / "Events"
    if reports:
        write_report(folder, reports)
    with pytest.raises(UserError, match="found neither|no X-ray flare with a maximum and a region"):
        obtain_event_list(tmp_path / "eventList.txt", folder, False, Said())


def test_list_that_is_no_list(tmp_path: Path):
    (tmp_path / "eventList.txt").write_text("hello\n")
    with pytest.raises(UserError, match="eventList.txt: no line is like"):
        obtain_event_list(tmp_path / "eventList.txt", tmp_path / "Events", False, Said())


def test_missing_report_days_are_listed(tmp_path: Path):
    write_report(tmp_path, "20100504", ("1000", "1010", "C3.0", "1069"))
    write_report(tmp_path, "20100507")
    events = usable_flares(read_event_archive(tmp_path))
    assert [problem.input for problem in events.problems] == ["20100505events.txt to 20100506events.txt"]
    assert events.period == (np.datetime64("2010-05-04"), np.datetime64("2010-05-07"))


def test_event_line_of_ten_and_above():
    assert event_line(np.datetime64("2017-09-06T12:02:00"), "2673", "X10.0") == "2017 09 06,1202,2673,X10.0"


def test_against_the_published_list(noaa_archive: Path, shared_data: Path, tmp_path: Path):
    made = make_event_list(tmp_path / "eventList.txt", noaa_archive / "Events")
    published = read_event_list(shared_data / "published" / "eventList.txt")

    def rows(events, times):
        """Return what is at least C1.0 and within the published period."""
        strong = (events.peak_flux >= peak_flux("C1.0")) & (events.time < np.datetime64("2018-12-16"))
        return set(zip(times[strong].tolist(), events.region[strong].tolist(), events.flare_class[strong].tolist(),
                       strict=True))

    ours, theirs = rows(made, made.listed_time), rows(published, published.listed_time)
    assert (len(ours), len(theirs)) == (7570, 7568)
    # three flares of 2013-12-31 and one of 2014-12-31 stand in only one of the two: last days of yearly archives
    assert sorted(f"{time:%Y-%m-%d %H:%M} {region} {flare_class}" for time, region, flare_class in ours - theirs) == [
        "2013-12-31 02:40 1936 C5.6", "2013-12-31 05:32 1938 C2.0", "2013-12-31 07:40 1936 C2.2"]
    assert [f"{time:%Y-%m-%d %H:%M} {region} {flare_class}" for time, region, flare_class in theirs - ours] == [
        "2014-12-31 23:39 2253 C1.2"]
    reasons = [problem.reason for problem in made.problems]
    assert (reasons.count("flare without a region"), reasons.count("flare without a maximum")) == (930, 7)
    assert made.after_midnight.sum() == 57
    assert (made.after_midnight & (made.peak_flux >= peak_flux("M1.0"))).sum() == 6
    moved = {(time, region) for time, region, after in
             zip(made.time.tolist(), made.region.tolist(), made.after_midnight, strict=True) if after}
    found = {(time, region) for time, region, after, flux in
             zip(published.time.tolist(), published.region.tolist(), published.after_midnight, published.peak_flux,
                 strict=True) if after and flux >= peak_flux("C1.0")}
    assert len(found) == 55
    assert found < moved  # none wrongly


def test_sidecar_says_what_the_list_was_made_from(tmp_path: Path, events_dir: Path):
    make_event_list(tmp_path / "eventList.txt", events_dir)
    sidecar = json.loads((tmp_path / "eventList.txt.json").read_text())
    assert (sidecar["reports"], sidecar["flares"], sidecar["after_midnight_lines"]) == (2, 3, [3])


def made_and_changed(tmp_path: Path, events_dir: Path) -> Path:
    """Return a list made here whose reports have changed since."""
    path = tmp_path / "eventList.txt"
    make_event_list(path, events_dir)
    write_report(events_dir, "20100506", ("1000", "1010", "C3.0", "1069"))
    return path


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("write", [0, 1])
def test_a_kill_at_either_write_leaves_a_list_that_is_made_again(tmp_path: Path, events_dir: Path, monkeypatch, fresh,
                                                                  write):
    path = tmp_path / "eventList.txt" if fresh else made_and_changed(tmp_path, events_dir)
    before = {name.name: name.read_bytes() for name in tmp_path.glob("eventList*")}
    writes = []

    def killed(target, *arguments):
        writes.append(target)
        if len(writes) > write:
            raise KeyboardInterrupt
        return atomic_write(target, *arguments)

    monkeypatch.setattr(event_list, "atomic_write", killed)
    with pytest.raises(KeyboardInterrupt):
        obtain_event_list(path, events_dir, False, Said())
    monkeypatch.undo()
    after = {name.name: name.read_bytes() for name in tmp_path.glob("eventList*")}
    assert (after == before) is (write == 0)
    said = Said()
    assert len(obtain_event_list(path, events_dir, False, said)) == (3 if fresh else 4)
    assert "Making" in said.lines[0]
    obtain_event_list(path, events_dir, False, said)
    assert "made from the reports as they are now" in said.lines[1]


def test_a_list_edited_after_a_kill_is_somebody_else_s(tmp_path: Path, events_dir: Path, monkeypatch):
    path = made_and_changed(tmp_path, events_dir)
    monkeypatch.setattr(event_list, "atomic_write", lambda target, *mode: atomic_write(target, *mode)
                        if target.suffix == ".json" else pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        obtain_event_list(path, events_dir, False, Said())
    monkeypatch.undo()
    path.write_text(path.read_text().replace("C2.0", "C2.1"))
    said = Said()
    obtain_event_list(path, events_dir, False, said)
    assert "as it stands" in said.lines[0]


def test_a_report_that_changes_inside_makes_the_list_again(tmp_path: Path, events_dir: Path):
    path = tmp_path / "eventList.txt"
    make_event_list(path, events_dir)
    report = events_dir / "2010_events" / "20100504events.txt"
    report.write_text(report.read_text().replace("C2.0", "C2.1"))
    said = Said()
    obtain_event_list(path, events_dir, False, said)
    assert "which have changed" in said.lines[0]


def test_a_list_of_the_other_kind_is_made_again(tmp_path: Path, events_dir: Path):
    path = tmp_path / "eventList.txt"
    make_event_list(path, events_dir, dated_by_report=True)
    assert list_state(path, events_dir, dated_by_report=True).up_to_date
    assert not list_state(path, events_dir, dated_by_report=False).up_to_date
    obtain_event_list(path, events_dir, False, Said())
    assert path.read_text().splitlines() == MADE


def test_days_with_a_report_are_kept_with_the_list(tmp_path: Path, events_dir: Path):
    write_report(events_dir, "20100508", ("1000", "1010", "C3.0", "1069"))
    cut_off = events_dir / "20100507events.txt"
    cut_off.write_text(f"{TITLE}\n4080       1000   1010      2359  G15  5   XRA  1-8A      C3")
    path = tmp_path / "eventList.txt"
    made = make_event_list(path, events_dir)
    assert made.reported.astype(str).tolist() == ["2010-05-04", "2010-05-05", "2010-05-08"]
    for events in (obtain_event_list(path, events_dir, False, Said()), optional_event_list(path, Said())):
        assert (events.reported == made.reported).all()
    path.write_text(path.read_text().replace("C2.0", "C2.1"))
    assert optional_event_list(path, Said()).reported is None


def test_a_list_whose_dates_are_not_in_order_keeps_them(tmp_path: Path):
    path, said = tmp_path / "eventList.txt", Said()
    path.write_text("2010 05 05,2330,1070,C2.0\n2010 05 04,2330,1070,C2.0\n2010 05 04,0023,1069,M1.0\n")
    events = obtain_event_list(path, tmp_path / "Events", False, said)
    assert not events.after_midnight.any()
    assert events.problems == [("eventList.txt", "dates not in order", "a flare of 2010-05-04 stands behind one of "
                                "2010-05-05; maxima after midnight keep their dates")]
    assert "cannot be told" in said.lines[0]


def test_a_list_whose_sidecar_knows_no_days_is_made_again(tmp_path: Path, events_dir: Path):
    path, said = tmp_path / "eventList.txt", Said()
    obtain_event_list(path, events_dir, False, said)
    sidecar = json.loads(Path(f"{path}.json").read_text())
    del sidecar["reported_days"]
    Path(f"{path}.json").write_text(json.dumps(sidecar))
    assert optional_event_list(path, said).reported is None
    assert obtain_event_list(path, events_dir, False, said).reported is not None
    assert said.lines[-1].startswith("Making")


def test_reports_that_are_not_named_are_not_those_where_the_user_stands(tmp_path: Path, events_dir: Path, monkeypatch):
    monkeypatch.chdir(events_dir)
    with pytest.raises(UserError, match="found neither"):
        obtain_event_list(tmp_path / "eventList.txt", Path(""), False, Said())
