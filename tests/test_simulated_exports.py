"""The simulated queue of exports: the server's order of checks, states, duplicates."""

from datetime import timedelta

import jsoc_lab
import pytest

from general_code.simulated_exports import SimulatedExports, parse_process
from general_code.simulated_faults import Faults
from general_code.simulated_series import SimulatedSeries

PATCH = ("im_patch,t_start=2011.02.13_00:00:00_TAI,t_stop=2011.02.14_00:00:00_TAI,t_ref=2011.02.13_23:59:59Z,x=-7,"
         "y=-30,width=24,height=24")
FORM = {"ds": "hmi.M_720s[2011.02.13_00:00:00_TAI-2011.02.14_00:00:00_TAI]", "notify": "me@inst.edu",
        "method": "url-tar", "protocol": "fits", "process": "n=0|" + PATCH,
        "filenamefmt": "hmi.M_720s.{T_REC:A}.{CAMERA}.{segment}"}


@pytest.fixture
def exports(tmp_path):
    series = SimulatedSeries(passages=jsoc_lab.PASSAGES, cadence=timedelta(hours=4))
    return SimulatedExports(series, Faults(delay_seconds=0.0), tmp_path, full_disk_pixels=64)


def test_both_spellings_of_the_process():
    page, client = parse_process({"process": "n=0|" + PATCH}), parse_process({"process=n": "0|" + PATCH})
    assert page == client
    assert page["t_ref"] == "2011.02.13_23:59:59Z"
    assert parse_process({"process": "n=0|no_op"}) == {}
    assert parse_process({}) == {}


@pytest.mark.parametrize(("changes", "status", "error"), [
    ({"notify": ""}, 4, "Cannot process your request. Not a valid email address."),
    ({"ds": "hmi.M_720s["}, 4, "Bad record-set query"), ({"ds": "aia.lev1[]"}, 4, "it does not exist"),
    ({"ds": "hmi.M_720s[]", "sizeratio": "1e9"}, 3, "Request exceeds max byte limit of 100000MB")])
def test_refusals(changes, status, error, exports):
    answer = exports.submit(FORM | changes)
    assert answer["status"] == status
    assert error in answer["error"]


def test_one_request_an_address_and_duplicates(exports):
    exports.faults.delay_seconds = 60
    first = exports.submit(FORM)
    assert (first["status"], first["rcount"]) == (2, 7)
    second = exports.submit(FORM | {"notify": "ME@inst.edu"})
    assert second["status"] == 7
    assert f"({first['requestid']})" in second["error"]
    assert exports.manage("me@inst.edu", "check")["status"] == "2"
    exports.faults.delay_seconds = 0.0
    assert exports.manage("me@inst.edu", "check")["status"] == "1"
    assert exports.submit(FORM)["requestid"] == first["requestid"]
    assert exports.submit(FORM | {"protocol": "FITS,compress Rice"})["requestid"] != first["requestid"]


def test_cancelled_request_is_gone(exports):
    exports.faults.delay_seconds = 60
    number = exports.submit(FORM)["requestid"]
    assert exports.manage("me@inst.edu", "cancel") == {"status": "3", "msg": f"canceled {number}"}
    assert exports.status(number)["status"] == 6


def test_index_is_all_text(exports):
    index = exports.status(exports.submit(FORM)["requestid"])
    assert {type(value) for key, value in index.items() if key != "data"} == {str}
    assert (index["status"], index["count"], index["keywords"]) == ("0", "7", "**IN FITS FILES**")
    assert index["data"][0]["filename"] == "hmi.M_720s.20110213_000000_TAI.1.magnetogram.fits"
    assert index["tarfile"] == f"{index['dir']}/{index['requestid']}.tar"


def test_no_region_at_the_place(exports):
    answer = exports.status(exports.submit(FORM | {"process": "n=0|" + PATCH.replace("x=-7", "x=50")})["requestid"])
    assert answer["error"] == "No input data found within 2-hours of t_ref"


def test_without_im_patch_the_whole_disk_comes(exports):
    number = exports.submit(FORM | {"process": "n=0|no_op"})["requestid"]
    exports.status(number)
    assert exports.exports[number].tar_path.stat().st_size > 7 * 64 * 64


def test_url_quick_answers_at_once(exports):
    answer = exports.submit(FORM | {"method": "url_quick", "protocol": "as-is", "process": "n=0"})
    assert (answer["status"], answer["requestid"], len(answer["data"])) == (0, "", 7)
    assert exports.exports == {}
