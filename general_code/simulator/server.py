"""The simulated JSOC: its CGIs (queries, exports with their states and tars) and its page, served on loopback.

References
----------
http://jsoc.stanford.edu/jsocwiki/AjaxJsocConnect (jsoc_fetch: export requests and their status; jsoc_info).
"""

import io
import itertools
import json
import re
import tarfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from general_code.images.names import SERIES
from general_code.jsoc.export_requests import UNKNOWN_LONGITUDE, Position
from general_code.simulator.series import (
    Faults,
    Record,
    RecordSet,
    SimulatedSeries,
    full_disk_image,
    parse_record_set,
    parse_time,
)
from general_code.stage.files import UserError

Answer = dict[str, Any]  # the JSON object of a CGI

FULL_DISK_MEGABYTES = 15  # of one full-disk record; the size limit is applied to it, times sizeratio
LARGEST_MEGABYTES = 100_000
ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
ADDRESS_TEXTS = {2: "Email address is valid and registered.",
                 3: "Email-address registration is pending. Please wait and try again later.",
                 4: "email address has been neither validated nor registered"}
PENDING_TEXT = ("User {address} has 1 pending export requests ({number}); please wait until at least one request has "
                "completed before submitting a new one.")
FOREIGN_REQUEST = "JSOC_20200101_999"
PAGE_FOLDER = Path(__file__).parent / "page"
PAGE_FILES = {"exportdata.html": "text/html", "exportdata.js": "text/javascript",
              "exportdata_patch.js": "text/javascript", "exportdata_submit.js": "text/javascript"}
STALL_SECONDS = 30.0
MAINTENANCE = b"<html>JSOC is down for maintenance.</html>"
REGION_TABLES = ("jsoc.noaa_active_regions", "su_rsb.noaa_activeregions")
CONSTANTS = {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "LVL_NUM": "Invalid KeyLink", "T_REC_step": "720.000000",
             "CDELT1": "0.504", "CAR_ROT": "2106", "CRLN_OBS": "45.0", "CRLT_OBS": "-6.7", "*online*": "Y",
             "*size*": "15000000"}
STRUCTURE = {
    "note": "line-of-sight magnetogram with a cadence of 720 seconds.", "retention": 10000, "stagingretention": 3,
    "unitsize": 120, "archive": 1, "tapegroup": 1001, "primekeys": ["T_REC", "CAMERA"],
    "primekeysinfo": [{"name": "T_REC", "slotted": 1, "step": "720.000000"}, {"name": "CAMERA", "slotted": 0}],
    "dbindex": ["T_REC_index", "CAMERA"],
    "keywords": [{"name": "T_REC", "type": "time", "recscope": "variable", "defval": "-4712.01.01_11:59_TAI",
                  "units": "TAI", "note": "nominal time"},
                 {"name": "CAMERA", "type": "int", "recscope": "variable", "defval": "1", "units": "none", "note": ""},
                 {"name": "QUALITY", "type": "int", "recscope": "variable", "defval": "-2147483648", "units": "none",
                  "note": "QUALITY index"}],
    "segments": [{"name": "magnetogram", "type": "int", "units": "Gauss", "protocol": "fits", "dims": "4096x4096",
                  "note": "magnetogram"}],
    "links": [], "runtime": 0.013, "status": 0}


def failure(code: int, text: str) -> Answer:
    """Return the answer of a failure."""
    return {"status": code, "error": text}


@dataclass
class Export:
    """One accepted request; one that is gone was forgotten, deleted or cancelled."""

    number: str
    arguments: Mapping[str, str]
    method: str  # how the files are to be delivered
    records: list[Record]
    submitted: float
    gone: bool
    looks: int = 0
    tar: bytes = b""


class SimulatedExports:
    """The CGIs of a simulated archive with its faults, and the queue of its exports with their tars."""

    def __init__(self, series: SimulatedSeries, faults: Faults) -> None:
        self.series, self.faults = series, faults
        self.exports: dict[str, Export] = {}
        self._lock = threading.Lock()  # requests are answered in threads

    def answer(self, cgi: str, arguments: Mapping[str, str]) -> Answer | None:
        """Return the answer of the CGI whose path ends in `cgi`; None when there is no such CGI."""
        known = {"checkAddress.sh": self.check_address, "manage-request.sh": self.manage, "jsoc_fetch": self._fetch,
                 "jsocextfetch": self._fetch, "jsoc_info": self._info, "jsocextinfo": self._info,
                 "jsoc_info_jsoc2": self._info, "drms_parserecset": self._parse, "series_info": self._series_info}
        if cgi not in known or cgi == self.faults.cgi_missing:
            return None
        with self._lock:
            return known[cgi](arguments)

    # ------------------------------------------------------------------------ addresses

    def check_address(self, arguments: Mapping[str, str]) -> Answer:
        """Return what checkAddress answers: `status` 2 for a registered address, and `msg`."""
        if not ADDRESS.fullmatch(unquote(arguments.get("address", ""))):
            return {"status": -2, "msg": "Not a valid email address."}
        return {"status": self.faults.address_status, "msg": ADDRESS_TEXTS[self.faults.address_status]}

    def manage(self, arguments: Mapping[str, str]) -> Answer:
        """Return what manage-request answers of a pending request, which `cancel` cancels: `status` is a text here."""
        address = arguments.get("address", "")
        number = self.pending(address)
        if not number:
            return {"status": "1", "msg": f"no existing export request for export user {address}"}
        if arguments.get("operation") != "cancel":
            return {"status": "2", "msg": f"existing export request for export user {address} [ request_id={number} ]"}
        if number in self.exports:
            self.exports[number].gone = True
        return {"status": "3", "msg": f"canceled {number}"}

    def pending(self, address: str) -> str:
        """Return the number of the request that an address, in upper or lower case, has pending; "" without one."""
        if self.faults.take("foreign_pending"):
            return FOREIGN_REQUEST
        return next((export.number for export in self.exports.values()
                     if export.arguments.get("notify", "").lower() == address.lower()
                     and not export.gone and not self._complete(export)), "")

    # ------------------------------------------------------------------------ submission

    def _fetch(self, arguments: Mapping[str, str]) -> Answer:
        """Return the answer of the export CGI."""
        operation = arguments.get("op", "")
        if operation == "exp_request":
            return self.submit(arguments)
        if operation == "exp_status":
            return self.status(arguments.get("requestid", ""))
        if operation == "exp_repeat":
            return failure(4, "Re-Export requests temporarily disabled.")
        return failure(4, f"Invalid op '{operation}'")

    def submit(self, arguments: Mapping[str, str]) -> Answer:
        """Return the answer to `op=exp_request` after the server's checks, in the server's order."""
        if refusal := self._refuse(arguments.get("notify", "")):
            return refusal
        try:
            wanted = parse_record_set(arguments.get("ds", ""))
        except ValueError:
            return failure(4, f"Bad record-set query '{arguments.get('ds', '')}'.\n")
        if not self._has(wanted.series):
            return failure(4, f"Cannot export series '{wanted.series}' - it does not exist.\n")
        records = self._records(wanted)
        size = len(records) * FULL_DISK_MEGABYTES * float(arguments.get("sizeratio", 1))
        if size > LARGEST_MEGABYTES or self.faults.too_large:
            return {"status": 3, "requestid": "VOID", "count": len(records), "size": round(size), "wait": 0,
                    "error": f"Request exceeds max byte limit of {LARGEST_MEGABYTES}MB",
                    "contact": "jsoc_help@jsoc.stanford.edu"}
        return self._queued(self._accept(arguments, records), round(size) or 1)

    def _refuse(self, address: str) -> Answer | None:
        """Return the answer to an address that may not submit now, or the refusal that a switch asks for."""
        checked = self.check_address({"address": address})
        if checked["status"] != 2:
            return failure(4, f"Cannot process your request. {checked['msg']}")
        if self.faults.take("busy_host"):
            return failure(7, "There are too many requests from 127.0.0.1; please wait until one or more requests "
                              "have completed before submitting a new one.")
        if number := self.pending(address):
            return failure(7, PENDING_TEXT.format(address=address, number=number))
        if self.faults.take("hash_errors"):
            return failure(4, "Cant save new export-request hash.")
        return failure(4, self.faults.refusal) if self.faults.refusal else None

    def _accept(self, arguments: Mapping[str, str], records: list[Record]) -> Export:
        """Return the export of a request; of an identical one the old export, if that is not gone."""
        for export in self.exports.values():
            if not export.gone and export.records == records and _asks_for(export.arguments) == _asks_for(arguments):
                return export
        number = f"JSOC_{datetime.now(UTC):%Y%m%d}_{len(self.exports) + 1:03d}"
        method, forgotten = arguments.get("method", "url"), self.faults.take("lost_requests")
        self.exports[number] = Export(number, arguments, method, records, time.monotonic(), gone=forgotten)
        return self.exports[number]

    def _queued(self, export: Export, size: int, code: int = 2) -> Answer:
        """Return the answer for a request that waits."""
        code = 12 if self.faults.test_mode else code
        return {"status": code, "requestid": export.number, "method": export.method, "protocol": "fits", "wait": 10,
                "rcount": len(export.records), "size": size}

    # ------------------------------------------------------------------------ status

    def status(self, number: str) -> Answer:
        """Return the answer to exp_status: `status` 0, `tarfile` and index when it is complete, 1 or 2 before."""
        export = self.exports.get(number)
        if export is None or export.gone:
            return self._unknown(number)
        export.looks += 1
        if export.looks <= self.faults.not_found_polls:
            return self._unknown(number)
        if not self._complete(export):
            return self._queued(export, 1, code=2 if export.looks == 1 else 1) | {"rcount": 0, "wait": -1}
        if self.faults.take("expired"):
            export.gone = True
            return {"status": 5, "requestid": number, "wait": 999999,
                    "error": "Request was completed but is now deleted, 7 day limit exceeded"}
        if self.faults.export_fails:
            return failure(4, "Export program failed: jsoc_export_as_fits") | {"requestid": number}
        return self._index(export)

    def _unknown(self, number: str) -> Answer:
        """Return the answer for a request that the server does not know, in the words of its age."""
        if self.faults.not_found_text:
            return failure(4, f"invalid export DRMS record for ID `%s`{number}")
        return failure(6, f"RequestID {number} not found") | {"requestid": number}

    def _complete(self, export: Export) -> bool:
        """Return whether a request's time is up."""
        return time.monotonic() - export.submitted >= self.faults.delay_seconds

    def _index(self, export: Export) -> Answer:
        """Return a complete request's index.json, in which every value is a text, and make its tar."""
        files = self._files(export)
        if not files:
            return failure(4, "No input data found within 2-hours of t_ref") | {"requestid": export.number}
        folder = f"/SUM94/D{int(export.number.split('_')[2]):09d}/S00000"
        index = {"version": "0.5", "requestid": export.number, "method": export.method, "protocol": "fits",
                 "count": str(len(files)), "size": str(sum(map(len, files.values())) // 2**20 or 1),
                 "exptime": f"{datetime.now(UTC):%Y.%m.%d_%H:%M:%S}_UT", "dir": folder, "status": "0",
                 "keywords": "**IN FITS FILES**",
                 "data": [{"record": f"{SERIES.lower()}_mod[][1][{export.number}]", "filename": name}
                          for name in files]}
        if not export.method.endswith("-tar") or self.faults.take("no_tarfile"):
            return index
        export.tar = export.tar or make_tar(files, index)
        return index | {"tarfile": f"{folder}/{export.number}.tar"}

    def _files(self, export: Export) -> dict[str, bytes]:
        """Return names and contents of the FITS files of a request: cut-outs, or whole disks without im_patch."""
        patch = parse_process(export.arguments)
        pattern = export.arguments.get("filenamefmt", "{seriesname}.{recnum:%d}.{segment}")
        region = self.series.region_at(Position(patch["t_ref"], patch["x"], patch["y"])) if patch else "0001"
        files = {}
        for record in export.records:
            outside = patch and not parse_time(patch["t_start"]) <= record.time <= parse_time(patch["t_stop"])
            if outside or region is None:
                continue
            is_whole = not patch or self.faults.full_disk
            content = full_disk_image() if is_whole else self.series.cutout(region, record)
            if content is not None:
                name = _file_name(pattern, record)
                files[name if files else self.faults.first_image or name] = content
        return files

    # ------------------------------------------------------------------------ queries

    def _has(self, series: str) -> bool:
        """Tell whether the archive has a series: the final one, or the same images in near real time."""
        return series.lower() in (SERIES.lower(), f"{SERIES}_nrt".lower()) and not self.faults.series_unknown

    def _records(self, wanted: RecordSet) -> list[Record]:
        """Return the records of a set."""
        return self.series.records(wanted, self.faults.missing_slots, self.faults.bad_records)

    def _info(self, arguments: Mapping[str, str]) -> Answer:
        """Return the answer of jsoc_info."""
        operation, text = arguments.get("op"), arguments.get("ds", "")
        name = re.split(r"[\[{]", text)[0]
        if name.lower() in REGION_TABLES and operation == "rs_list":
            return self._region_rows(text, arguments)
        if not self._has(name):
            return failure(1, "series not found")
        if operation == "series_struct":
            return STRUCTURE
        try:
            records = self._records(parse_record_set(text))
        except ValueError as error:
            return failure(1, str(error))
        if operation == "rs_summary":
            return {"count": len(records), "runtime": 0.0123, "status": 0}
        return _record_rows(records, arguments) if operation == "rs_list" else failure(1, "Bad QUERY_STRING")

    def _region_rows(self, text: str, arguments: Mapping[str, str]) -> Answer:
        """Return the rows of a region in the table of active regions."""
        if self.faults.table_unavailable:
            return failure(1, "series not found")
        number = re.findall(r"\[(\d+)\]", text)
        rows = self.series.table.get(f"{int(number[-1]) % 10000:04d}", []) if number else []
        if self.faults.region_unknown:
            rows = []
        unknown = f"{UNKNOWN_LONGITUDE:g}" if self.faults.longitude_unknown else None
        return _rows({"ObservationTime": [row.t_ref for row in rows], "LatitudeHG": [row.y for row in rows],
                      "LongitudeCM": [unknown or row.x for row in rows]}, len(rows), arguments)

    def _parse(self, arguments: Mapping[str, str]) -> Answer:
        """Return the answer of the record-set parser."""
        text = arguments.get("spec", "")
        answer = {"spec": text, "atfile": False, "hasfilts": None, "nsubsets": None, "subsets": None, "errMsg": None}
        try:
            wanted = parse_record_set(text)
        except ValueError:
            return answer | {"errMsg": f"unable to parse {text}"}
        filters = "".join(f"[{part}]" for part in wanted.filters)
        subset = {"spec": text, "settype": "drms", "seriesname": wanted.series, "filter": filters,
                  "seriesns": wanted.series.partition(".")[0], "segments": None, "autobang": False}
        return answer | {"hasfilts": bool(wanted.filters), "nsubsets": 1, "subsets": [subset]}

    def _series_info(self, arguments: Mapping[str, str]) -> Answer:
        """Return the answer of series_info."""
        name = arguments.get("series", "")
        if not self._has(name):
            return {"errMsg": f"series {name} does not exist"}
        return {"errMsg": None, name.lower(): {
            "attributes": {"drmsprimekey": ["T_REC_index", "CAMERA"]},
            "keywords": {"t_rec": {"data-type": "time", "constant-value": "na"}},
            "segments": {"magnetogram": {"segment-number": 0, "number-axes": 2}}}}


# ---------------------------------------------------------------------------- parts of requests and answers


def _asks_for(arguments: Mapping[str, str]) -> tuple:
    """Return what two identical requests of the same records share."""
    return (*parse_process(arguments).items(), *(arguments.get(name) for name in ("filenamefmt", "protocol", "method")))


def _file_name(pattern: str, record: Record) -> str:
    """Return a file's name by the request's pattern."""
    stamp = re.sub("[.:]", "", record.t_rec)
    return (pattern.replace("{T_REC:A}", stamp).replace("{CAMERA}", str(record.camera))
            .replace("{segment}", "magnetogram") + ".fits")


def parse_process(arguments: Mapping[str, str]) -> dict[str, str]:
    """Return the arguments of im_patch in a request, none without.

    Both spellings are accepted: `process` = `n=0|im_patch,k=v,…` (page) and `process=n` = `0|im_patch,k=v,…` (drms).
    """
    text = next((f"{name}={value}" for name, value in arguments.items() if name.startswith("process")), "")
    for step in text.split("|"):
        program, *options = step.split(",")
        if program == "im_patch":
            return dict(option.split("=", 1) for option in options)
    return {}


def make_tar(files: Mapping[str, bytes], index: Mapping[str, Any]) -> bytes:
    """Return a request's tar as JSOC makes it: members below `./`, first the index's files, then the images."""
    lines = "\n".join(f"{row['record']}\t{row['filename']}" for row in index["data"])
    texts = {"index.json": json.dumps(index), "index.html": "<html></html>", "proc-steps.txt": "im_patch\n",
             "index.txt": f"# JSOC \nrequestid={index['requestid']}\n# PROCESSING\n# DATA\n{lines}\n",
             f"{index['requestid']}.drmsrun": "#!/bin/sh\n"}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in ({name: text.encode() for name, text in texts.items()} | files).items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def _rows(columns: Mapping[str, list[str]], count: int, arguments: Mapping[str, str]) -> Answer:
    """Return the keywords asked for, a column each, all as text."""
    if not count:
        return {"count": 0, "runtime": 0.01, "status": 0}
    keywords = [{"name": name, "values": columns.get(name, ["Invalid KeyLink"] * count)}
                for name in arguments.get("key", "").split(",") if name]
    return {"keywords": keywords, "segments": [], "links": [], "count": count, "runtime": 0.02, "status": 0}


def _record_rows(records: list[Record], arguments: Mapping[str, str]) -> Answer:
    """Return keywords and segments of records by column."""
    if limit := int(arguments.get("n", 0)):
        records = records[:limit] if limit > 0 else records[limit:]
    count, names = len(records), [f"{SERIES}[{record.t_rec}][{record.camera}]" for record in records]
    columns = {name: [value] * count for name, value in CONSTANTS.items()} | {
        "T_REC": [record.t_rec for record in records], "*spec*": names,
        "CAMERA": [str(record.camera) for record in records],
        "QUALITY": [f"{record.quality & 0xFFFFFFFF:#010x}" for record in records]}
    answer = _rows(columns, count, arguments)
    if count and arguments.get("seg"):
        answer["segments"] = [{"name": name, "values": [f"/SUM42/D1/S00000/{name}.fits"] * count,
                               "dims": ["4096x4096"] * count} for name in arguments["seg"].split(",")]
    if count and arguments.get("R") == "1":
        answer["recinfo"] = [{"name": name, "online": 1} for name in names]
    return answer


# ---------------------------------------------------------------------------- the server


class JsocSimulator:
    """The server, as a context manager, of an archive with its faults, which may be changed while it runs."""

    def __init__(self, series: SimulatedSeries, faults: Faults, port: int = 0) -> None:
        self.faults = faults
        self.port = port  # 0 takes a free one
        self.received: list[tuple[str, dict[str, str]]] = []  # path and arguments of every request
        self.cgi_answers = itertools.count(1)
        self.exports = SimulatedExports(series, faults)

    def __enter__(self) -> "JsocSimulator":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

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
        self.server.simulator.received.append((path, arguments))
        name = path.removeprefix("/ajax/")
        try:
            if path.startswith("/cgi-bin/"):
                self._send_cgi(path.rpartition("/")[2], arguments)
            elif path.startswith(("/SUM94/", "/moved/")):
                self._send_tar(path)
            elif path.startswith("/ajax/") and name in PAGE_FILES:
                closed = name.endswith(".html") and self.server.simulator.faults.take("page_html")
                self._send(MAINTENANCE if closed else self.server.simulator.page(name), PAGE_FILES[name])
            else:
                self._send(b"<html>not found</html>", "text/html", 404)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has gone

    def _send(self, body: bytes, kind: str, status: int = 200, **headers: str) -> None:
        """Send a whole answer."""
        self._send_head(kind, len(body), status, **headers)
        self.wfile.write(body)

    def _send_head(self, kind: str, size: int, status: int = 200, **headers: str) -> None:
        """Send the head of an answer with `size` bytes."""
        self.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(size)} | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def _send_cgi(self, cgi: str, arguments: dict[str, str]) -> None:
        """Send a CGI's JSON, or what a switch puts in its place."""
        faults, number = self.server.simulator.faults, next(self.server.simulator.cgi_answers)
        if faults.take("http_errors") or faults.http_error_every and number % faults.http_error_every == 0:
            return self._send(b"<html>sorry</html>", "text/html", faults.http_status)
        if faults.take("cgi_stalled"):
            time.sleep(STALL_SECONDS)
        if faults.take("html_answers"):
            return self._send(MAINTENANCE, "text/html")
        content = self.server.simulator.exports.answer(cgi, arguments)
        if content is None:
            return self._send(b"<html>not found</html>", "text/html", 404)
        if arguments.get("op") == "exp_request" and "requestid" in content and faults.take("lost_answers"):
            return self.connection.close()
        return self._send(json.dumps(content).encode(), "application/json")

    def _send_tar(self, path: str) -> None:
        """Send a tar, or what a switch puts in its place."""
        faults = self.server.simulator.faults
        if faults.tar_host_down and not path.startswith("/moved/"):
            return self._send(b"", "text/html", 302, Location=f"http://127.0.0.1:{faults.tar_host_down}{path}")
        export = self.server.simulator.exports.exports.get(Path(path).stem)
        if export is None or not export.tar or not path.endswith(".tar") or faults.take("tar_not_found"):
            return self._send(b"<html>404</html>", "text/html", 404)
        if faults.tar_moved and not path.startswith("/moved/"):
            return self._send(b"", "text/html", 302, Location=f"/moved/{export.number}.tar")
        if faults.take("tar_html"):
            return self._send(b"<html>please log in</html>", "text/html")
        content = export.tar
        if faults.take("tar_cut_at_source"):
            content = content[:len(content) // 2]
        self._send_head("application/x-tar", len(content))
        stalled = faults.take("tar_stalled")
        if stalled or faults.take("tar_truncated"):
            content = content[:len(content) // 2]
        self.wfile.write(content)
        if stalled:
            time.sleep(STALL_SECONDS)
        return None
