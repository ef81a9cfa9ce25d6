"""The simulated export service: an HTTP server on loopback that answers as JSOC does, with a page like JSOC's."""

import itertools
import json
import shutil
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qsl, unquote, urlsplit

from general_code.simulator.exports import Answer, SimulatedExports, SimulatedQueries, failure
from general_code.simulator.series import Faults, SimulatedSeries
from general_code.stage.files import UserError

PAGE_FOLDER = Path(__file__).parent / "page"
PAGE_FILES = {"exportdata.html": "text/html", "exportdata.js": "text/javascript",
              "exportdata_patch.js": "text/javascript", "exportdata_submit.js": "text/javascript"}
STALL_SECONDS = 30.0
MAINTENANCE = b"<html>JSOC is down for maintenance.</html>"


class JsocSimulator:
    """The server, as a context manager, of an archive with its faults, which may be changed while it runs.

    Port 0 takes a free one; requests without im_patch get made-up images of `full_disk_pixels`.
    """

    def __init__(self, series: SimulatedSeries, faults: Faults | None = None, port: int = 0,
                 full_disk_pixels: int = 4096) -> None:
        self.faults = faults or Faults()
        self.received: list[tuple[str, dict[str, str]]] = []  # path and arguments of every request
        self._folder = TemporaryDirectory()
        self.exports = SimulatedExports(series, self.faults, Path(self._folder.name), full_disk_pixels)
        self.queries = SimulatedQueries(series, self.faults)
        self.port = port
        self.cgi_answers = itertools.count(1)
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> "JsocSimulator":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """Base address, like http://127.0.0.1:8901."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer from now on, with the requests of before if there were any."""
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _Handler)
        except OSError as error:
            raise UserError(f"port: {self.port} cannot be used ({error.strerror}); name another, or 0 for a free one"
                            ) from None
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
        """Return the arguments of all export requests in order of arrival, refused ones included."""
        return [arguments for _, arguments in self.received if arguments.get("op") == "exp_request"]

    def answer(self, cgi: str, arguments: Mapping[str, str]) -> Answer | None:
        """Return the answer of the CGI whose path ends in `cgi`; None when there is no such CGI."""
        if cgi == self.faults.cgi_missing:
            return None
        if cgi == "checkAddress.sh":
            return self.exports.check_address(unquote(arguments.get("address", "")))
        if cgi == "manage-request.sh":
            return self.exports.manage(arguments.get("address", ""), arguments.get("operation", ""))
        if cgi in ("jsoc_fetch", "jsocextfetch"):
            return self._fetch(arguments)
        return self.queries.answer(cgi, arguments)

    def _fetch(self, arguments: Mapping[str, str]) -> Answer:
        """Return the answer of the export CGI."""
        operation = arguments.get("op", "")
        if operation == "exp_request":
            return self.exports.submit(arguments)
        if operation == "exp_status":
            return self.exports.status(arguments.get("requestid", ""))
        if operation == "exp_repeat":
            return failure(4, "Re-Export requests temporarily disabled.")
        return failure(4, f"Invalid op '{operation}'")

    def page(self, name: str) -> bytes:
        """Return one of PAGE_FILES, with the switches for the page put in."""
        text = (PAGE_FOLDER / name).read_text(encoding="utf-8")
        text = text.replace('data-version="2021"', f'data-version="{self.faults.page_version}"')
        if self.faults.absolute_links:
            text = text.replace('data-links=""', f'data-links="http://localhost:{self.port}"')
        # renamed before the page is served: the script still has the element, but nobody finds it by its id
        return text.replace(f' id="{self.faults.page_without}"', f' data-id="{self.faults.page_without}"').encode()


class _Handler(BaseHTTPRequestHandler):
    """One HTTP request. A proxy's form of it (whole address in the first line) is understood, for mapped hosts."""

    server_version = "SimulatedJSOC/1"

    def log_message(self, *arguments: object) -> None:
        """Print nothing: `JsocSimulator.received` keeps the requests."""

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
        name = path.removeprefix("/ajax/")
        try:
            if path.startswith("/cgi-bin/"):
                self._send_cgi(path.rpartition("/")[2], arguments)
            elif path.startswith(("/SUM94/", "/moved/")):
                self._send_tar(path)
            elif path.startswith("/ajax/") and name in PAGE_FILES:
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
        refused = faults.http_status(next(self.simulator.cgi_answers))
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
        if faults.tar_host_down and not path.startswith("/moved/"):
            return self._send(b"", "text/html", 302, Location=f"http://127.0.0.1:{faults.tar_host_down}{path}")
        export = self.simulator.exports.exports.get(Path(path).stem)
        if export is None or export.tar_path is None or not path.endswith(".tar") or faults.take("tar_not_found"):
            return self._send(b"<html>404</html>", "text/html", 404)
        if faults.tar_moved and not path.startswith("/moved/"):
            return self._send(b"", "text/html", 302, Location=f"/moved/{export.number}.tar")
        if faults.take("tar_html"):
            return self._send(b"<html>please log in</html>", "text/html")
        if faults.take("tar_empty"):
            return self._send(b"", "application/x-tar")
        size = export.tar_path.stat().st_size
        if faults.take("tar_cut_at_source"):
            return self._send(export.tar_path.read_bytes()[:size // 2], "application/x-tar")
        return self._send_body(export.tar_path, size)

    def _send_body(self, path: Path, size: int) -> None:
        """Send a tar: all, or half of it and then silence or the end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-tar")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        stalled = self.simulator.faults.take("tar_stalled")
        with path.open("rb") as file:
            if stalled or self.simulator.faults.take("tar_truncated"):
                self.wfile.write(file.read(size // 2))
                self.wfile.flush()
                time.sleep(STALL_SECONDS if stalled else 0)
            else:
                shutil.copyfileobj(file, self.wfile)
