"""The simulated CGIs: the server's order of checks, states, duplicates, tars; queries as drms and the page ask."""

import io
import tarfile

import drms
import pytest
from drms.config import ServerConfig

from general_code.simulator.series import Faults, full_disk_image
from general_code.simulator.server import SimulatedExports, parse_process
from tests import jsoc_lab
from tests.jsoc_lab import simulator

PATCH = ("im_patch,t_start=2011.02.13_00:00:00_TAI,t_stop=2011.02.14_00:00:00_TAI,t_ref=2011.02.13_23:59:59Z,x=-7,"
         "y=-30,width=24,height=24")
FORM = {"ds": "hmi.M_720s[2011.02.13_00:00:00_TAI-2011.02.14_00:00:00_TAI]", "notify": "me@inst.edu",
        "method": "url-tar", "protocol": "fits", "process": "n=0|" + PATCH,
        "filenamefmt": "hmi.M_720s.{T_REC:A}.{CAMERA}.{segment}"}


@pytest.fixture
def exports():
    return SimulatedExports(jsoc_lab.series(), Faults())


def test_both_spellings_of_the_process():
    page, client = parse_process({"process": "n=0|" + PATCH}), parse_process({"process=n": "0|" + PATCH})
    assert page == client
    assert page["t_ref"] == "2011.02.13_23:59:59Z"
    assert parse_process({"process": "n=0|no_op"}) == {}
    assert parse_process({}) == {}


@pytest.mark.parametrize(("changes", "status", "error"), [
    ({"notify": ""}, 4, "Cannot process your request. Not a valid email address."),
    ({"notify": "me@inst"}, 4, "Not a valid email address."),
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
    check = {"address": "me@inst.edu", "operation": "check"}
    assert exports.manage(check)["status"] == "2"
    exports.faults.delay_seconds = 0.0
    assert exports.manage(check)["status"] == "1"
    assert exports.submit(FORM)["requestid"] == first["requestid"]
    exports.faults.delay_seconds = 60
    other = exports.submit(FORM | {"notify": "you@inst.edu", "protocol": "FITS,compress Rice"})["requestid"]
    assert other != first["requestid"]
    cancelled = exports.manage({"address": "you@inst.edu", "operation": "cancel"})
    assert cancelled == {"status": "3", "msg": f"canceled {other}"}
    assert exports.status(other)["status"] == 6


@pytest.mark.parametrize("first_image", ["", "../../evil.fits"])
def test_complete_export(first_image, exports):
    exports.faults.first_image = first_image
    number = exports.submit(FORM)["requestid"]
    index = exports.status(number)
    assert {type(value) for key, value in index.items() if key != "data"} == {str}
    assert (index["status"], index["count"], index["keywords"]) == ("0", "7", "**IN FITS FILES**")
    assert index["tarfile"] == f"{index['dir']}/{number}.tar"
    images = [row["filename"] for row in index["data"]]
    assert images[0] == (first_image or "hmi.M_720s.20110213_000000_TAI.1.magnetogram.fits")
    with tarfile.open(fileobj=io.BytesIO(exports.exports[number].tar)) as tar:
        assert tar.getnames() == [f"./{name}" for name in (
            "index.json", "index.html", "proc-steps.txt", "index.txt", f"{number}.drmsrun", *images)]


def test_no_region_at_the_place_and_whole_disks_without_im_patch(exports):
    answer = exports.status(exports.submit(FORM | {"process": "n=0|" + PATCH.replace("x=-7", "x=50")})["requestid"])
    assert answer["error"] == "No input data found within 2-hours of t_ref"
    number = exports.submit(FORM | {"process": "n=0|no_op"})["requestid"]
    exports.status(number)
    with tarfile.open(fileobj=io.BytesIO(exports.exports[number].tar)) as tar:
        assert tar.extractfile(tar.getmembers()[-1]).read() == full_disk_image()


# ---------------------------------------------------------------------------- queries

REGION_ROWS = {"op": "rs_list", "ds": "jsoc.noaa_active_regions[][11158]", "key": "LongitudeCM"}


@pytest.fixture
def jsoc():
    with simulator(Faults(bad_records=1)) as jsoc:
        yield jsoc


def client(url: str) -> drms.Client:
    """Return the client of a host."""
    return drms.Client(server=ServerConfig(
        name="sim", cgi_baseurl=url + "/cgi-bin/ajax/", cgi_show_series="show_series", cgi_jsoc_info="jsoc_info",
        cgi_jsoc_fetch="jsoc_fetch", cgi_check_address="checkAddress.sh", http_download_baseurl=url + "/"))


def test_series_keywords_and_segments(jsoc):
    structure = client(jsoc.url).info("hmi.M_720s")
    assert structure.primekeys == ["T_REC", "CAMERA"]
    assert structure.segments.dims.tolist() == ["4096x4096"]
    keys, segments = client(jsoc.url).query(
        "hmi.M_720s[2011.02.13_00:00:00_TAI/1d]", key="T_REC,QUALITY,NOTHING", seg="magnetogram", rec_index=True, n=3,
        convert_numeric=False)
    assert keys.QUALITY.tolist() == ["0x00000000"] * 3
    assert keys.NOTHING.tolist() == ["Invalid KeyLink"] * 3
    assert keys.index[0] == "hmi.M_720s[2011.02.13_00:00:00_TAI][1]"
    assert segments.magnetogram.iloc[0].startswith("/SUM42/")
    last = client(jsoc.url).query("hmi.M_720s[2011.02.13_00:00:00_TAI/1d]", key="T_REC,QUALITY", n=-1,
                                  convert_numeric=False)
    assert last.values.tolist() == [["2011.02.13_20:00:00_TAI", "0x80000000"]]


def test_nothing_found(jsoc):
    assert client(jsoc.url).query("hmi.M_720s[2001.02.13_00:00:00_TAI/1d]", key="T_REC").empty
    for record_set, message in (("hmi.M_720s[yesterday]", "invalid record-set specification"),
                                ("hmi.unknown[]", "series not found")):
        with pytest.raises(drms.DrmsQueryError, match=message):
            client(jsoc.url).query(record_set, key="T_REC")


def test_tar_through_drms_itself(jsoc, tmp_path):
    patch = {"t_start": "2011.02.13_00:00:00_TAI", "t_stop": "2011.02.14_00:00:00_TAI", "t_ref": "2011.02.13_23:59:59Z",
             "x": -7, "y": -30, "width": 24, "height": 24}
    export = client(jsoc.url).export("hmi.M_720s[2011.02.13_00:00:00_TAI/8h]", method="url-tar", protocol="fits",
                                     email="me@inst.edu", process={"im_patch": patch})
    assert export.wait(sleep=0)
    rows = export.download(str(tmp_path))
    assert [path.suffix for path in tmp_path.iterdir()] == [".tar"]
    assert rows.download[0].name == f"{export.id}.tar"
    # the client builds the names from the series name in lower case
    assert export.data.filename[0] == "hmi.m_720s.20110213_000000_TAI.1.magnetogram.fits"


@pytest.mark.parametrize(("cgi", "arguments", "key", "value"), [
    ("drms_parserecset", {"spec": "hmi.M_720s[2011.02.13_00:00:00_TAI][? QUALITY >= 0 ?]"}, "errMsg", None),
    ("drms_parserecset", {"spec": "hmi.M_720s["}, "subsets", None),
    ("series_info", {"series": "hmi.M_720s"}, "errMsg", None),
    ("series_info", {"series": "hmi.x"}, "errMsg", "series hmi.x does not exist"),
    ("jsoc_info", {"op": "rs_summary", "ds": "hmi.M_720s[2011.02.13_00:00:00_TAI/1d]"}, "count", 6),
    ("jsoc_info", {"op": "nonsense", "ds": "hmi.M_720s[]"}, "error", "Bad QUERY_STRING"),
    ("jsoc_info_jsoc2", {"op": "rs_list", "ds": "su_rsb.NOAA_ActiveRegions[][11158]", "key": "LatitudeHG"}, "count", 1),
    ("jsoc_info_jsoc2", {"op": "rs_list", "ds": "su_rsb.NOAA_ActiveRegions[][11159]", "key": "LatitudeHG"}, "count", 0),
    ("checkAddress.sh", {"address": "me%40inst.observatory"}, "status", 2),
    ("jsoc_fetch", {"op": "exp_repeat"}, "error", "Re-Export requests temporarily disabled."),
    ("jsoc_fetch", {"op": "what"}, "status", 4)])
def test_shapes_of_answers(cgi, arguments, key, value, jsoc):
    assert jsoc.exports.answer(cgi, arguments)[key] == value


def test_unknown_cgi(jsoc):
    assert jsoc.exports.answer("lookdata", {}) is None


@pytest.mark.parametrize(("faults", "arguments", "key", "value"), [
    (Faults(missing_slots=14), {"op": "rs_summary", "ds": "hmi.M_720s[]"}, "count", 0),
    (Faults(series_unknown=True), {"op": "rs_summary", "ds": "hmi.M_720s[]"}, "error", "series not found"),
    (Faults(table_unavailable=True), REGION_ROWS, "status", 1),
    (Faults(longitude_unknown=True), REGION_ROWS, "keywords", [{"name": "LongitudeCM", "values": ["999"]}])])
def test_faults_of_queries(faults, arguments, key, value):
    with simulator(faults) as jsoc:
        assert jsoc.exports.answer("jsoc_info", arguments)[key] == value
