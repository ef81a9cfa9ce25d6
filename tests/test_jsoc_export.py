"""The route "drms": what a submission's answer means, and where positions come from."""

import drms
import jsoc_lab
import pytest
from jsoc_lab import QUICK, simulator

from general_code.cutout_requests import CutoutRequest, Passage, Position
from general_code.jsoc_export import FAILED, DrmsRoute, ExportStatus, find_position, is_unknown, judge_submission
from general_code.jsoc_faults import BlockedError, OutageError, PendingRequestError, RefusedError, TransientError
from general_code.jsoc_service import JsocService
from general_code.simulated_faults import Faults
from general_code.stage_files import UserError

REQUEST = CutoutRequest(Passage("1158", *jsoc_lab.PASSAGES["1158"]), patch_pixels=24)
PENDING = ("User ok@example.edu has 1 pending export requests (JSOC_20240107_011); please wait until at least one "
           "request has completed before submitting a new one.")


class Summaries:
    """Summaries with one position, or none."""

    def __init__(self, position: Position | None = None) -> None:
        self.found = position

    def position(self, passage: Passage) -> Position | None:
        """Return it."""
        return self.found


@pytest.mark.parametrize("code", [0, 1, 2, 12])
def test_accepted(code):
    assert judge_submission(code, "JSOC_20240107_012", "") == "JSOC_20240107_012"
    assert judge_submission(code, "JSOC_20240107_1012_X_IN", "") == "JSOC_20240107_1012_X_IN"


@pytest.mark.parametrize(("code", "number", "text", "error", "message"), [
    (2, "", "", TransientError, "accepted without a number"),
    (2, "VOID", "", TransientError, "accepted without a number"),
    (3, "VOID", "Request exceeds max byte limit of 100000MB", RefusedError, "too large .*100000MB.*shorten"),
    (4, "", "Cant save new export-request hash.", TransientError, "hash"),
    (4, "", "Cannot export series 'x' - it does not exist.\n", RefusedError, "does not exist"),
    (6, "", "", TransientError, "accepted without a number"),
    (7, "", PENDING, PendingRequestError, "JSOC_20240107_011"),
    (4, "", "Cannot process your request. email address has been neither validated nor registered", UserError,
     "email: JSOC takes no requests of this address: .*neither validated nor registered; register it again"),
    (25, "", "One or more data files are offline; …", RefusedError, "offline"),
    (99, "", "", RefusedError, "no reason given")])
def test_refused(code, number, text, error, message):
    with pytest.raises(error, match=message) as caught:
        judge_submission(code, number, text)
    if error is PendingRequestError:
        assert caught.value.request_id == "JSOC_20240107_011"


@pytest.mark.parametrize(("status", "unknown"), [
    (ExportStatus(6, "", ""), True), (ExportStatus(4, "", "invalid export DRMS record for ID `%s`JSOC_1"), True),
    (ExportStatus(4, "", "Export program failed"), False), (ExportStatus(2, "", ""), False)])
def test_unknown_requests(status, unknown):
    assert is_unknown(status) is unknown


def test_statuses_through_drms():
    with simulator(Faults(delay_seconds=60)) as jsoc:
        service = JsocService(jsoc.url, "me@inst.edu", QUICK)
        notes, sent = [], []
        route = DrmsRoute(service, Summaries(), print, notes.append)
        number = route.submit(REQUEST, service.records(REQUEST), "", sent.append)
        assert "op=exp_request" in notes[0]
        assert sent[0].startswith("t_start=2011.02.13_00:00:00_TAI,")
        assert route.status(number) == (2, "", "")
        jsoc.faults.test_mode = True
        assert route.status(number).code == 12
        jsoc.faults.delay_seconds = 0.0
        assert route.status(number) == (0, f"{jsoc.url}/SUM94/D000000001/S00000/{number}.tar", "")
        jsoc.faults.no_tarfile = 1
        assert route.status(number) == (0, "", "")
        jsoc.faults.export_fails = True
        assert route.status(number).text.startswith("Export program failed")
        assert route.status("JSOC_20110213_999").code == 6
    with pytest.raises(OutageError):
        route.status(number)
    assert drms.logger.propagate  # as before


def test_address_of_a_request_is_noted_even_when_it_fails():
    with simulator() as jsoc:
        service, notes = JsocService(jsoc.url, "me@inst.edu", QUICK), []
        route, records = DrmsRoute(service, Summaries(), print, notes.append), service.records(REQUEST)

        def close_gateway(options: str) -> None:
            jsoc.faults.bad_gateway = 9

        with pytest.raises(OutageError):
            route.submit(REQUEST, records, "", close_gateway)
    (note,) = notes
    assert note.startswith(f"1158: sending {jsoc.url}/cgi-bin/ajax/jsoc_fetch?op=exp_request")
    assert drms.logger.propagate


def test_machine_that_is_blocked_stops_everything():
    with simulator(Faults(forbidden=1)) as jsoc, pytest.raises(BlockedError):
        DrmsRoute(JsocService(jsoc.url, "me@inst.edu", QUICK), Summaries(), print, print).status("JSOC_20110213_001")


def test_answer_without_the_expected_fields(monkeypatch):
    with simulator() as jsoc:
        monkeypatch.setattr(jsoc, "answer", lambda cgi, arguments: {"status": None})
        route = DrmsRoute(JsocService(jsoc.url, "me@inst.edu", QUICK), Summaries(), print, print)
        with pytest.raises(TransientError, match="the answer is not one of JSOC's"):
            route.status("JSOC_20110213_001")


def test_repetition_is_to_the_letter():
    with simulator() as jsoc:
        service = JsocService(jsoc.url, "me@inst.edu", QUICK)
        route = DrmsRoute(service, Summaries(), print, print)
        sent = []
        number = route.submit(REQUEST, service.records(REQUEST), "", sent.append)
        jsoc.faults.region_unknown = True  # the table may change meanwhile
        assert route.submit(REQUEST, service.records(REQUEST), sent[0], sent.append) == number
        assert sent[0] == sent[1]
        assert len(jsoc.exports.exports) == 1


@pytest.mark.parametrize(("faults", "from_table"), [
    (Faults(), True), (Faults(bad_gateway=1), True), (Faults(bad_gateway=99), False),
    (Faults(region_unknown=True), False), (Faults(longitude_unknown=True), False),
    (Faults(table_unavailable=True), False)])
def test_position_from_table_or_summaries(faults, from_table):
    other = Position("2011.02.13_23:59:59Z", "3", "-20")
    with simulator(faults) as jsoc:
        said = []
        service = JsocService(jsoc.url, "me@inst.edu", QUICK)
        position = find_position(service, Summaries(other), REQUEST.passage, said.append)
        assert (position == other) is not from_table
        if not from_table:
            assert "position from the region summaries" in said[-1]
            with pytest.raises((RefusedError, TransientError)):
                find_position(service, Summaries(), REQUEST.passage, said.append)


def test_a_table_that_is_not_public_leaves_the_summaries(monkeypatch):
    other = Position("2011.02.13_23:59:59Z", "3", "-20")
    with simulator(Faults(forbidden=1)) as jsoc:
        service = JsocService(jsoc.url, "me@inst.edu", QUICK)
        assert find_position(service, Summaries(other), REQUEST.passage, print) == other
        jsoc.faults.forbidden = 1
        with pytest.raises(BlockedError):
            find_position(service, Summaries(), REQUEST.passage, print)


@pytest.mark.parametrize(("text", "kind"), [
    ("Cannot process your request. email address has been neither validated nor registered", UserError),
    ("Cannot process your request. the database does not answer", TransientError)])
def test_an_address_that_could_not_be_checked_may_pass(text, kind):
    with pytest.raises(kind):
        judge_submission(FAILED, "", text)
