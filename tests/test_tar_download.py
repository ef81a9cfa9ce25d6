"""Download of a tar from a simulated JSOC: whole, or not at all."""

import hashlib
from datetime import date

import pytest
from jsoc_lab import closed_port, simulator

from general_code.cutout_archive import most_tar_bytes
from general_code.cutout_requests import CutoutRequest, Passage
from general_code.jsoc_faults import DamagedTarError, OutageError, RefusedError, TransientError
from general_code.tar_download import download_tar, host_answers, sha256_of

REQUEST = CutoutRequest(Passage("1158", date(2011, 2, 13), 1), patch_pixels=24)


@pytest.fixture
def tar_url():
    """A complete export's address at a simulated JSOC, and the simulator."""
    with simulator() as jsoc:
        ds = f"{REQUEST.time_range}[? QUALITY >= 0 ?]"
        process = "n=0|im_patch,t_start=2011.02.13_00:00:00_TAI,t_stop=2011.02.14_00:00:00_TAI,t_ref=" \
                  "2011.02.13_23:59:59Z,x=-7,y=-30,width=24,height=24"
        number = jsoc.exports.submit({"ds": ds, "notify": "me@inst.edu", "process": process, "method": "url-tar",
                                      "filenamefmt": REQUEST.file_name_format})["requestid"]
        yield jsoc, jsoc.url + jsoc.exports.status(number)["tarfile"]


def test_download_gives_the_digest(tar_url, tmp_path):
    jsoc, url = tar_url
    digest = download_tar(url, tmp_path / "a.tar", most_tar_bytes(REQUEST), 20)
    content = (tmp_path / "a.tar").read_bytes()
    assert digest == hashlib.sha256(content).hexdigest() == sha256_of(tmp_path / "a.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    assert sha256_of(tmp_path / "b.tar") == ""


@pytest.mark.parametrize(("switch", "error", "message"), [
    ("tar_truncated", DamagedTarError, r"a.tar: [\d,]+ of [\d,]+ bytes arrived"),
    ("tar_html", OutageError, "a web page came in place of the tar"),
    ("tar_not_found", TransientError, "HTTP status 404"), ("tar_stalled", OutageError, "timed out")])
def test_download_that_fails_leaves_nothing(switch, error, message, tar_url, tmp_path):
    timeout = 0.3 if switch == "tar_stalled" else 20
    jsoc, url = tar_url
    setattr(jsoc.faults, switch, 1)
    with pytest.raises(error, match=message):
        download_tar(url, tmp_path / "a.tar", most_tar_bytes(REQUEST), timeout)
    assert not list(tmp_path.iterdir())


def test_host_of_a_tar(tar_url):
    jsoc, url = tar_url
    assert host_answers(url, 20)
    jsoc.faults.tar_not_found = 1
    assert host_answers(url, 20)
    with closed_port() as port:
        jsoc.faults.tar_host_down = port  # the address leads on to a host that is down
        assert not host_answers(url, 20)


def test_room_for_the_tar_and_its_images_is_asked_for(tar_url, tmp_path, monkeypatch):
    _, url = tar_url
    asked = []
    monkeypatch.setattr("general_code.tar_download.require_free_space", lambda *arguments: asked.append(arguments))
    download_tar(url, tmp_path / "a.tar", most_tar_bytes(REQUEST), 20)
    assert asked == [(tmp_path, 2 * (tmp_path / "a.tar").stat().st_size, "a.tar and its images")]


def test_download_larger_than_the_request_can_be(tar_url, tmp_path):
    _, url = tar_url
    with pytest.raises(RefusedError, match="the tar has .* bytes, the request can have at most 1,000"):
        download_tar(url, tmp_path / "a.tar", 1000, 20)


def test_download_without_a_length_is_stopped_when_it_is_too_large(tar_url, tmp_path, monkeypatch):
    _, url = tar_url
    monkeypatch.setattr("general_code.tar_download._announced_bytes", lambda answer, most: None)
    with pytest.raises(RefusedError, match="more than the 1,000 bytes"):
        download_tar(url, tmp_path / "a.tar", 1000, 20)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a.tar", "/SUM94/a.tar"])
def test_addresses_that_are_not_of_the_web(url, tmp_path):
    with pytest.raises(RefusedError, match="neither http nor https"):
        download_tar(url, tmp_path / "a.tar", 1000, 20)
