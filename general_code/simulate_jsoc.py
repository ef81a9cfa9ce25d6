r"""A JSOC of our own on this machine: the export service's CGIs, its data links and a page like its export page.

Everything is served from the loopback interface; nothing leaves the machine. Shapes of answers, states and faults
are those of JSOC (http://jsoc.stanford.edu/jsocwiki/AjaxJsocConnect), the numbers in them are made up. The page has
the element ids and the behaviour of JSOC's pages of 2018 and 2021, in HTML and JavaScript of our own.

Reads
    image_dir    `NNNN/*.fits`, handed out as cut-outs
    srs_dir      region summaries, for the table of active regions

Writes
    nothing but temporary tars

Usage
    python general_code/simulate_archive.py
    python general_code/SRS_Parse.py --srs-dir data/simulated_archive/SRS --ar-list data/simulated_archive/ARList.txt
    python general_code/simulate_jsoc.py --image-dir data/simulated_archive/active_regions \
        --srs-dir data/simulated_archive/SRS
    (and meanwhile, from another terminal)
    python general_code/JSOC_Driver.py --base-url http://127.0.0.1:8901 --email me@example.edu --poll-seconds 1 \
        --ar-list data/simulated_archive/ARList.txt --image-dir data/simulated_download
"""

import json
import shutil
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root
from general_code.simulated_exports import SimulatedExports
from general_code.simulated_faults import Faults
from general_code.simulated_queries import SimulatedQueries
from general_code.simulated_series import SimulatedSeries
from general_code.stage_files import OptionalPath, given, require_folder
from general_code.stage_run import stage_main

PAGE_FOLDER = Path(__file__).parent / "simulated_jsoc_page"
PAGE_FILES = {"exportdata.html": "text/html", "exportdata.js": "text/javascript", "exportdata_patch.js":
              "text/javascript", "exportdata_submit.js": "text/javascript"}
STALL_SECONDS = 30.0
MAINTENANCE = b"<html>JSOC is down for maintenance.</html>"


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings of the simulator."""

    image_dir: OptionalPath = Path("")  # folder of NNNN/*.fits to hand out
    srs_dir: OptionalPath = Path("")  # region summaries for the table of active regions; "" makes positions up
    port: int = 8901  # on 127.0.0.1; 0 takes a free one
    faults: Faults = field(default_factory=Faults)  # what shall go wrong
## End User Definitions


class JsocSimulator:
    """The server, as a context manager.

    Parameters
    ----------
    series : SimulatedSeries
        The archive.
    faults : Faults, optional
        Switches, which may be changed while the server runs.
    port : int, optional
        0: a free one.
    full_disk_pixels : int, optional
        Size of the images that a request without im_patch gets.

    Attributes
    ----------
    url : str
        Like http://127.0.0.1:8901.
    received : list of (str, dict)
        Path and arguments of every request, in order.
    exports : SimulatedExports
        The queue.
    """

    def __init__(self, series: SimulatedSeries, faults: Faults | None = None, port: int = 0,
                 full_disk_pixels: int = 4096) -> None:
        self.faults = faults or Faults()
        self.received: list[tuple[str, dict[str, str]]] = []
        self._folder = TemporaryDirectory()
        self.exports = SimulatedExports(series, self.faults, Path(self._folder.name), full_disk_pixels)
        self.queries = SimulatedQueries(series, self.faults)
        self.port = port
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "JsocSimulator":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer from now on, with the requests of before if there were any."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _Handler)
        self._server.simulator = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, as if the service were down."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def submissions(self) -> list[dict[str, str]]:
        """Return the arguments of all export requests that arrived.

        Returns
        -------
        list of dict of str to str
            In order of arrival, refused ones included.
        """
        return [arguments for _, arguments in self.received if arguments.get("op") == "exp_request"]

    def answer(self, cgi: str, arguments: dict[str, str]) -> dict[str, Any] | None:
        """Return a CGI's answer.

        Parameters
        ----------
        cgi : str
            Last part of its path.
        arguments : dict of str to str
            Of the GET or the form.

        Returns
        -------
        dict or None
            The JSON object; None when there is no such CGI.
        """
        if cgi == self.faults.cgi_missing:
            return None
        if cgi == "checkAddress.sh":
            return self.exports.check_address(unquote(arguments.get("address", "")))
        if cgi == "manage-request.sh":
            return self.exports.manage(arguments.get("address", ""), arguments.get("operation", ""))
        if cgi in ("jsoc_fetch", "jsocextfetch"):
            return self._fetch(arguments)
        return self.queries.answer(cgi, arguments)

    def _fetch(self, arguments: dict[str, str]) -> dict[str, Any]:
        """Return the answer of the export CGI."""
        operation = arguments.get("op", "")
        if operation == "exp_request":
            return self.exports.submit(arguments)
        if operation == "exp_status":
            return self.exports.status(arguments.get("requestid", ""))
        if operation == "exp_repeat":
            return {"status": 4, "error": "Re-Export requests temporarily disabled."}
        return {"status": 4, "error": f"Invalid op '{operation}'"}

    def page(self, name: str) -> bytes:
        """Return a file of the export page, with the switches for it put in.

        Parameters
        ----------
        name : str
            One of PAGE_FILES.

        Returns
        -------
        bytes
            UTF-8.
        """
        text = (PAGE_FOLDER / name).read_text(encoding="utf-8")
        text = text.replace('data-version="2021"', f'data-version="{self.faults.page_version}"')
        if self.faults.absolute_links:
            text = text.replace('data-links=""', f'data-links="http://localhost:{self.port}"')
        # taken out before the page is served: the script still has the element, whoever looks for its id has not
        return text.replace(f' id="{self.faults.page_without}"', f' data-id="{self.faults.page_without}"').encode()


class _Handler(BaseHTTPRequestHandler):
    """One HTTP request. A proxy's form of it (whole address in the first line) is understood, for mapped hosts."""

    server_version = "SimulatedJSOC/1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing: `JsocSimulator.received` keeps the requests."""

    @property
    def simulator(self) -> JsocSimulator:
        """The server's owner."""
        return self.server.simulator

    def do_GET(self) -> None:
        """Answer a GET."""
        address = urlsplit(self.path)
        self._answer(address.path, dict(parse_qsl(address.query, keep_blank_values=True)))

    def do_POST(self) -> None:
        """Answer a form."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("latin-1")
        self._answer(urlsplit(self.path).path, dict(parse_qsl(body, keep_blank_values=True)))

    def _answer(self, path: str, arguments: dict[str, str]) -> None:
        """Send what belongs to a path."""
        self.simulator.received.append((path, arguments))
        try:
            if path.startswith("/cgi-bin/"):
                self._send_cgi(path.rpartition("/")[2], arguments)
            elif path.startswith(("/SUM94/", "/moved/")):
                self._send_tar(path)
            elif path.startswith("/ajax/") and path.removeprefix("/ajax/") in PAGE_FILES:
                name = path.removeprefix("/ajax/")
                closed = name.endswith(".html") and self.simulator.faults.take("page_html")
                self._send(MAINTENANCE if closed else self.simulator.page(name), PAGE_FILES[name])
            else:
                self._send(b"<html>not found</html>", "text/html", 404)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has gone

    def _send(self, body: bytes, kind: str, status: int = 200, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_cgi(self, cgi: str, arguments: dict[str, str]) -> None:
        """Send a CGI's JSON, or what a switch puts in its place."""
        faults = self.simulator.faults
        refused = faults.http_status()
        if refused:
            return self._send(b"<html>sorry</html>", "text/html", refused)
        if faults.take("cgi_stalled"):
            time.sleep(STALL_SECONDS)
        if faults.take("html_answers"):
            return self._send(MAINTENANCE, "text/html")
        content = self.simulator.answer(cgi, arguments)
        if content is None:
            return self._send(b"<html>not found</html>", "text/html", 404)
        if arguments.get("op") == "exp_request" and "requestid" in content and faults.take("lost_answers"):
            return self.connection.close()
        return self._send(json.dumps(content).encode(), "application/json")

    def _send_tar(self, path: str) -> None:
        """Send a tar, or what a switch puts in its place."""
        faults = self.simulator.faults
        name = path.rpartition("/")[2]
        for export in self.simulator.exports.exports.values():  # the files of a request without tar
            if name in export.files and path.startswith(export.folder):
                return self._send(export.files[name], "image/fits")
        if faults.tar_host_down and not path.startswith("/moved/"):
            return self._send(b"", "text/html", 302, Location=f"http://127.0.0.1:{faults.tar_host_down}{path}")
        export = self.simulator.exports.exports.get(Path(path).stem)
        if export is None or export.tar_path is None or not path.endswith(".tar") or faults.take("tar_not_found"):
            return self._send(b"<html>404</html>", "text/html", 404)
        if faults.tar_moved and not path.startswith("/moved/"):
            return self._send(b"", "text/html", 302, Location=f"/moved/{export.number}.tar")
        if faults.take("tar_html"):
            return self._send(b"<html>please log in</html>", "text/html")
        size = export.tar_path.stat().st_size
        if faults.take("tar_empty"):
            return self._send(b"", "application/x-tar")
        if faults.take("tar_cut_at_source"):
            return self._send(export.tar_path.read_bytes()[:size // 2], "application/x-tar")
        self.send_response(200)
        self.send_header("Content-Type", "application/x-tar")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        return self._send_body(export.tar_path, size)

    def _send_body(self, path: Path, size: int) -> None:
        """Send a tar's bytes: all, or half of them and then silence or the end."""
        stalled = self.simulator.faults.take("tar_stalled")
        with path.open("rb") as file:
            if stalled or self.simulator.faults.take("tar_truncated"):
                self.wfile.write(file.read(size // 2))
                self.wfile.flush()
                time.sleep(STALL_SECONDS if stalled else 0)
            else:
                shutil.copyfileobj(file, self.wfile)


@stage_main
def main(user: UserDefinitions) -> None:
    """Serve until Ctrl-C."""
    for setting in ("image_dir", "srs_dir"):
        if given(getattr(user, setting)) or setting == "image_dir":
            require_folder(getattr(user, setting), setting)
    series = SimulatedSeries(user.image_dir, user.srs_dir)
    with JsocSimulator(series, user.faults, user.port) as simulator:
        images = sum(map(len, series.files.values()))
        print(f"Simulated JSOC at {simulator.url} with {len(series.files)} regions, {images} images; Ctrl-C ends it",
              flush=True)
        with suppress(KeyboardInterrupt):  # the usual end of a service
            threading.Event().wait()


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
