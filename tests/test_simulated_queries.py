"""The simulated queries, through the real drms client and as the page asks."""

import drms
import jsoc_lab
import pytest
from drms.config import ServerConfig
from jsoc_lab import simulator

from general_code.simulated_faults import Faults

REGION_ROWS = {"op": "rs_list", "ds": "jsoc.noaa_active_regions[][11158]", "key": "LongitudeCM"}


@pytest.fixture
def jsoc():
    with simulator(bad=[jsoc_lab.slot(8)]) as jsoc:
        yield jsoc


def client(url: str, **config: str) -> drms.Client:
    """Return the client of a host."""
    return drms.Client(server=ServerConfig(
        name="sim", cgi_baseurl=url + "/cgi-bin/ajax/", cgi_show_series="show_series", cgi_jsoc_info="jsoc_info",
        cgi_jsoc_fetch="jsoc_fetch", cgi_check_address="checkAddress.sh", http_download_baseurl=url + "/", **config))


def test_series(jsoc):
    assert client(jsoc.url).series("m_720s") == ["hmi.M_720s"]
    assert client(jsoc.url).series("aia") == []
    wrapped = client(jsoc.url, cgi_show_series_wrapper="showextseries", show_series_wrapper_dbhost="hmidb2")
    assert wrapped.series("hmi") == ["hmi.M_720s"]
    assert wrapped.series("hmi", full=True).name.tolist() == ["hmi.M_720s"]


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


def test_individual_files_of_a_request_without_tar(jsoc, tmp_path):
    export = client(jsoc.url).export("hmi.M_720s[2011.02.13_00:00:00_TAI/8h]", method="url", protocol="fits",
                                     email="me@inst.edu", filenamefmt="hmi.m_720s.{T_REC:A}.{CAMERA}.{segment}")
    assert export.wait(sleep=0)
    rows = export.download(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "hmi.m_720s.20110213_000000_TAI.1.magnetogram.fits", "hmi.m_720s.20110213_040000_TAI.1.magnetogram.fits"]
    assert rows.download.notna().all()


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
