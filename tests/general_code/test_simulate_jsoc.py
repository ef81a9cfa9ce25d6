"""The simulated JSOC as a server, and its command line."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from general_code import simulate_jsoc
from general_code.JSOC_Driver import main
from general_code.simulator.series import Faults
from tests.jsoc_lab import closed_port, settings, simulator

SCRIPT = Path(simulate_jsoc.__file__)


def get(url: str) -> bytes:
    """Return the body at an address."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


def test_files_of_the_page_and_what_is_not_there():
    with simulator() as jsoc:
        assert jsoc._server.server_address[0] == "127.0.0.1"
        for name in ("exportdata.html", "exportdata.js", "exportdata_patch.js", "exportdata_submit.js"):
            assert len(get(f"{jsoc.url}/ajax/{name}")) > 1000
        for path in ("/", "/ajax/../simulate_jsoc.py", "/ajax/%2e%2e/simulate_jsoc.py", "/SUM94/a.tar",
                     "/cgi-bin/ajax/lookdata"):
            with pytest.raises(HTTPError, match="404") as caught:
                get(jsoc.url + path)
            caught.value.close()


def test_switches_of_the_page():
    with simulator(Faults(page_version="2018", page_without="ImNOAA", absolute_links=True)) as jsoc:
        text = get(jsoc.url + "/ajax/exportdata.html")
        assert b'data-version="2018" data-links="http://localhost:%d"' % jsoc.port in text
        assert b' id="ImX"' in text
        assert b' id="ImNOAA"' not in text
        jsoc.faults.page_html = 1
        assert b"maintenance" in get(jsoc.url + "/ajax/exportdata.html")
        assert b' id="ImX"' in get(jsoc.url + "/ajax/exportdata.html")


def test_command_line_serves_a_folder_to_the_driver(tmp_path, shared_data):
    images = tmp_path / "run[1] a$HOME" / "1374"
    images.mkdir(parents=True)
    (path,) = (shared_data / "active_regions" / "1374").glob("*20111217_060000*")
    (images / path.name).write_bytes(path.read_bytes())
    server = subprocess.Popen([sys.executable, str(SCRIPT), "--image-dir", "run[1] a$HOME", "--port", "0",
                               "--faults.http-errors", "1"],
                              cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        assert "with 1 region, 1 image;" in line
        (tmp_path / "ARList.txt").write_text("1374,20111217,1\n")
        user = settings(tmp_path, line.split()[3], patch_pixels=600)
        main(user)
        assert (user.image_dir / "1374" / path.name).read_bytes() == path.read_bytes()
    finally:
        os.kill(server.pid, signal.SIGINT)
        _, errors = server.communicate(timeout=20)
    assert server.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("image_dir", "message"), [
    ("nowhere", "image_dir: expected a folder at 'nowhere'"),
    ("empty", r"image_dir: expected images NNNN/hmi.M_720s.\*.fits in 'empty'"),
    ("archive", r"port: \d+ cannot be used \(Address already in use\); name another")])
def test_what_cannot_be_served(tmp_path, monkeypatch, image_dir, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "archive" / "1158").mkdir(parents=True)
    (tmp_path / "archive" / "1158" / "hmi.M_720s.20110213_000000_TAI.1.magnetogram.fits").write_text("an image")
    with closed_port() as port, pytest.raises(SystemExit, match=message):
        simulate_jsoc.main(simulate_jsoc.UserDefinitions(image_dir=image_dir, port=port))
