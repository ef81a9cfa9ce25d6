"""The simulated exports: the server's order of checks, states, duplicates, tars; queries as drms and the page ask."""

import io
import tarfile
from datetime import datetime, timedelta

import drms
import pytest
from astropy.io import fits
from drms.config import ServerConfig

from general_code.simulator.exports import SURPLUS, SimulatedExports, _in_primary_unit, parse_process, write_tar
from general_code.simulator.series import Faults, Record, SimulatedSeries, made_up_cutout
from tests import jsoc_lab
from tests.jsoc_lab import simulator

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


# ---------------------------------------------------------------------------- tars

NAME = "hmi.M_720s.20110213_000000_TAI.1.magnetogram.fits"
INDEX = {"requestid": "JSOC_20110213_001", "data": [{"record": "r", "filename": NAME}]}


def members(tmp_path, kind: str) -> list[tarfile.TarInfo]:
    """Return the members of a tar with one image."""
    write_tar(tmp_path / "a.tar", {NAME: b"image"}, INDEX, kind)
    with tarfile.open(tmp_path / "a.tar") as tar:
        return tar.getmembers()


def test_members_are_below_the_current_folder(tmp_path):
    names = [member.name for member in members(tmp_path, "")]
    assert names == ["./index.json", "./index.html", "./proc-steps.txt", "./index.txt", "./JSOC_20110213_001.drmsrun",
                     "./" + NAME]


@pytest.mark.parametrize(("kind", "place", "holds"), [
    ("parent", 0, lambda member: member.name[:6] == "../../"), ("absolute", 0, lambda member: member.name[0] == "/"),
    ("symlink", 0, tarfile.TarInfo.issym), ("hardlink", 0, tarfile.TarInfo.islnk), ("device", 0, tarfile.TarInfo.ischr),
    ("folders", 0, tarfile.TarInfo.isdir), ("bomb", 0, lambda member: member.size == 64 << 20),
    ("other_time", -1, lambda member: member.name == "./" + NAME.replace(".2011", ".1911")),
    ("odd_name", -1, lambda member: member.name == "./notes.fits"), ("not_fits", -1, lambda member: member.size == 99),
    ("html", -1, lambda member: member.size == 26)])
def test_hostile_members(tmp_path, kind, place, holds):
    assert holds(members(tmp_path, kind)[place])


def test_members_that_nobody_asked_for(tmp_path):
    assert [len(members(tmp_path, kind)) for kind in ("", "repeated", "surplus", "folders")] == [
        6, 7, SURPLUS + 6, SURPLUS + 6]


def test_image_in_the_primary_unit():
    content = made_up_cutout("1158", Record(datetime(2011, 2, 13), 1, 0), 8)
    with fits.open(io.BytesIO(_in_primary_unit(content))) as file:
        assert file[0].shape == (8, 8)
        assert len(file) == 1


# ---------------------------------------------------------------------------- queries

REGION_ROWS = {"op": "rs_list", "ds": "jsoc.noaa_active_regions[][11158]", "key": "LongitudeCM"}


@pytest.fixture
def jsoc():
    with simulator(bad=[jsoc_lab.slot(8)]) as jsoc:
        yield jsoc


def client(url: str) -> drms.Client:
    """Return the client of a host."""
    return drms.Client(server=ServerConfig(
        name="sim", cgi_baseurl=url + "/cgi-bin/ajax/", cgi_show_series="show_series", cgi_jsoc_info="jsoc_info",
        cgi_jsoc_fetch="jsoc_fetch", cgi_check_address="checkAddress.sh", http_download_baseurl=url + "/"))


def test_structure(jsoc):
    structure = client(jsoc.url).info("hmi.M_720s")
    assert structure.primekeys == ["T_REC", "CAMERA"]
    assert structure.segments.dims.tolist() == ["4096x4096"]
    with pytest.raises(drms.DrmsQueryError, match="series not found"):
        client(jsoc.url).info("hmi.unknown")


def test_keywords_and_segments(jsoc):
    keys, segments = client(jsoc.url).query(
        "hmi.M_720s[2011.02.13_00:00:00_TAI/1d]", key="T_REC,QUALITY,NOTHING", seg="magnetogram", rec_index=True, n=3,
        convert_numeric=False)
    assert keys.QUALITY.tolist() == ["0x00000000", "0x00000000", "0x80000000"]
    assert keys.NOTHING.tolist() == ["Invalid KeyLink"] * 3
    assert keys.index[0] == "hmi.M_720s[2011.02.13_00:00:00_TAI][1]"
    assert segments.magnetogram.iloc[0].startswith("/SUM42/")
    last = client(jsoc.url).query("hmi.M_720s[2011.02.13_00:00:00_TAI/1d]", key="T_REC", n=-1, convert_numeric=False)
    assert last.T_REC.tolist() == ["2011.02.13_20:00:00_TAI"]


def test_nothing_found(jsoc):
    assert client(jsoc.url).query("hmi.M_720s[2001.02.13_00:00:00_TAI/1d]", key="T_REC").empty
    with pytest.raises(drms.DrmsQueryError, match="invalid record-set specification"):
        client(jsoc.url).query("hmi.M_720s[yesterday]", key="T_REC")


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
    assert jsoc.answer(cgi, arguments)[key] == value


def test_unknown_cgi(jsoc):
    assert jsoc.answer("lookdata", {}) is None


@pytest.mark.parametrize(("faults", "arguments", "key", "value"), [
    (Faults(empty_series=True), {"op": "rs_summary", "ds": "hmi.M_720s[]"}, "count", 0),
    (Faults(series_unknown=True), {"op": "rs_summary", "ds": "hmi.M_720s[]"}, "error", "series not found"),
    (Faults(table_unavailable=True), REGION_ROWS, "status", 1),
    (Faults(longitude_unknown=True), REGION_ROWS, "keywords", [{"name": "LongitudeCM", "values": ["999"]}])])
def test_faults_of_queries(faults, arguments, key, value):
    with simulator(faults) as jsoc:
        assert jsoc.answer("jsoc_info", arguments)[key] == value
