"""The simulated JSOC's exports: addresses, requests and their states, the tars that they end in; and its queries.

References
----------
http://jsoc.stanford.edu/jsocwiki/AjaxJsocConnect (jsoc_fetch: export requests and their status; jsoc_info).
"""

import io
import json
import re
import tarfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from general_code.images.names import SERIES
from general_code.jsoc.export_requests import UNKNOWN_LONGITUDE, Position, parse_record_time, record_time
from general_code.simulator.series import (
    NO_IMAGE,
    Faults,
    Record,
    SimulatedSeries,
    made_up_cutout,
    parse_record_set,
    records_with_faults,
)

Answer = dict[str, Any]  # the JSON object of a CGI

FULL_DISK_MEGABYTES = 15  # of one full-disk record; the size limit is applied to it, times sizeratio
LARGEST_MEGABYTES = 100_000
ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
PENDING_TEXT = ("User {address} has 1 pending export requests ({number}); please wait until at least one request has "
                "completed before submitting a new one.")
FOREIGN_REQUEST = "JSOC_20200101_999"
SURPLUS = 300  # members more than asked for: a request of one day at 12 minutes has 121 times, of two cameras
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


# ---------------------------------------------------------------------------- exports


@dataclass
class Export:
    """One accepted request."""

    number: str
    arguments: Mapping[str, str]
    records: list[Record]
    submitted: float
    forgotten: bool
    looks: int = 0
    cancelled: bool = False
    tar_path: Path | None = None

    @property
    def method(self) -> str:
        """How the files are to be delivered."""
        return self.arguments.get("method", "url")

    @property
    def folder(self) -> str:
        """Path of the request's folder at the server."""
        return f"/SUM94/D{int(self.number.split('_')[2]):09d}/S00000"


class SimulatedExports:
    """The queue of exports, with their tars in `folder`; requests without im_patch get images of `full_disk_pixels`."""

    def __init__(self, series: SimulatedSeries, faults: Faults, folder: Path, full_disk_pixels: int = 4096) -> None:
        self.series, self.faults, self.folder, self.full_disk_pixels = series, faults, folder, full_disk_pixels
        self.exports: dict[str, Export] = {}
        self._lock = threading.RLock()

    def check_address(self, address: str) -> Answer:
        """Return what checkAddress answers: `status` 2 for a registered address, and `msg`."""
        if not ADDRESS.fullmatch(address):
            return {"status": -2, "msg": "Not a valid email address."}
        if self.faults.unregistered:
            return {"status": 4, "msg": "email address has been neither validated nor registered"}
        if self.faults.address_pending:
            return {"status": 3, "msg": "Email-address registration is pending. Please wait and try again later."}
        return {"status": 2, "msg": "Email address is valid and registered.", "user_id": 7}

    def pending(self, address: str) -> str:
        """Return the number of the request that an address, in upper or lower case, has pending; "" without one."""
        if self.faults.take("foreign_pending"):
            return FOREIGN_REQUEST
        return next((export.number for export in self.exports.values()
                     if export.arguments.get("notify", "").lower() == address.lower()
                     and not export.cancelled and not self._complete(export)), "")

    def manage(self, address: str, operation: str) -> dict[str, str]:
        """Return what manage-request answers of a pending request, which `cancel` cancels: `status` is a text here."""
        number = self.pending(address)
        if not number:
            return {"status": "1", "msg": f"no existing export request for export user {address}"}
        if operation != "cancel":
            return {"status": "2", "msg": f"existing export request for export user {address} [ request_id={number} ]"}
        if number in self.exports:
            self.exports[number].cancelled = True
        return {"status": "3", "msg": f"canceled {number}"}

    # ------------------------------------------------------------------------ submission

    def submit(self, arguments: Mapping[str, str]) -> Answer:
        """Return the answer to `op=exp_request` after the server's checks, in the server's order."""
        with self._lock:
            address = arguments.get("notify", "")
            refusal = self._refuse_address(address) or self._injected_refusal()
            if refusal:
                return refusal
            try:
                wanted = parse_record_set(arguments.get("ds", ""))
            except ValueError:
                return failure(4, f"Bad record-set query '{arguments.get('ds', '')}'.\n")
            if wanted.series.lower() != SERIES.lower() or self.faults.series_unknown:
                return failure(4, f"Cannot export series '{wanted.series}' - it does not exist.\n")
            records = records_with_faults(self.series, wanted, self.faults)
            size = len(records) * FULL_DISK_MEGABYTES * float(arguments.get("sizeratio", 1))
            if size > LARGEST_MEGABYTES or self.faults.too_large:
                return {"status": 3, "requestid": "VOID", "count": len(records), "size": round(size), "wait": 0,
                        "error": f"Request exceeds max byte limit of {LARGEST_MEGABYTES}MB",
                        "contact": "jsoc_help@jsoc.stanford.edu"}
            return self._queued(self._accept(arguments, records), round(size) or 1)

    def _refuse_address(self, address: str) -> Answer | None:
        """Return the answer to an address that may not submit now."""
        checked = self.check_address(address)
        if checked["status"] != 2:
            return failure(4, f"Cannot process your request. {checked['msg']}")
        if self.faults.take("busy_host"):
            return failure(7, "There are too many requests from 127.0.0.1; please wait until one or more requests "
                              "have completed before submitting a new one.")
        number = self.pending(address)
        return failure(7, PENDING_TEXT.format(address=address, number=number)) if number else None

    def _injected_refusal(self) -> Answer | None:
        """Return the refusal that a switch asks for."""
        if self.faults.take("hash_errors"):
            return failure(4, "Cant save new export-request hash.")
        if self.faults.refusal:
            return failure(4, self.faults.refusal)
        if self.faults.offline_files:
            return failure(25, "One or more data files are offline; please try again later.")
        return None

    def _accept(self, arguments: Mapping[str, str], records: list[Record]) -> Export:
        """Return the export of a request; of an identical one the old export, if that is not deleted."""
        for export in self.exports.values():
            same = export.records == records and _asks_for(export.arguments) == _asks_for(arguments)
            if same and not export.forgotten and not export.cancelled:
                return export
        number = f"JSOC_{datetime.now(UTC):%Y%m%d}_{len(self.exports) + 1:03d}"
        self.exports[number] = Export(number, arguments, records, time.monotonic(), self.faults.take("lost_requests"))
        return self.exports[number]

    def _queued(self, export: Export, size: int, code: int = 2) -> Answer:
        """Return the answer for a request that waits."""
        code = 12 if self.faults.test_mode else code
        return {"status": code, "requestid": export.number, "method": export.method, "protocol": "fits", "wait": 10,
                "rcount": len(export.records), "size": size}

    # ------------------------------------------------------------------------ status

    def status(self, number: str) -> Answer:
        """Return the answer to exp_status: `status` 0, `tarfile` and index when it is complete, 1 or 2 before."""
        with self._lock:
            export = self.exports.get(number)
            if export is None or export.forgotten or export.cancelled:
                return self._unknown(number)
            export.looks += 1
            if export.looks <= self.faults.not_found_polls:
                return self._unknown(number)
            if not self._complete(export):
                return self._queued(export, 1, code=2 if export.looks == 1 else 1) | {"rcount": 0, "wait": -1}
            if self.faults.take("expired"):
                export.forgotten = True
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
        index = {"version": "0.5", "requestid": export.number, "method": export.method, "protocol": "fits",
                 "count": str(len(files)), "size": str(sum(map(len, files.values())) // 2**20 or 1),
                 "exptime": f"{datetime.now(UTC):%Y.%m.%d_%H:%M:%S}_UT", "dir": export.folder, "status": "0",
                 "keywords": "**IN FITS FILES**",
                 "data": [{"record": f"{SERIES.lower()}_mod[][1][{export.number}]", "filename": name}
                          for name in files]}
        if not export.method.endswith("-tar") or self.faults.take("no_tarfile"):
            return index
        if export.tar_path is None:
            export.tar_path = self.folder / f"{export.number}.tar"
            write_tar(export.tar_path, files, index, self.faults.hostile_member)
        return index | {"tarfile": f"{export.folder}/{export.number}.tar"}

    def _files(self, export: Export) -> dict[str, bytes]:
        """Return names and contents of the FITS files of a request: cut-outs, or whole disks without im_patch."""
        patch = parse_process(export.arguments)
        pattern = export.arguments.get("filenamefmt", "{seriesname}.{recnum:%d}.{segment}")
        region = self.series.region_at(Position(patch["t_ref"], patch["x"], patch["y"])) if patch else "0001"
        files = {}
        for record in export.records:
            outside = patch and not (parse_record_time(patch["t_start"]) <= record.time
                                     <= parse_record_time(patch["t_stop"]))
            if outside or region is None:
                continue
            if patch and not self.faults.full_disk:
                content = self.series.cutout(region, record, int(patch["width"]))
            else:
                content = made_up_cutout("0001", record, self.full_disk_pixels)
            if content is not None:
                if self.faults.bad_quality_served:
                    content = re.sub(rb"QUALITY = +\d+", b"QUALITY = %20d" % NO_IMAGE, content, count=1)
                files[_file_name(pattern, record)] = content
        return files


def _asks_for(arguments: Mapping[str, str]) -> tuple:
    """Return what two identical requests of the same records share."""
    return (*parse_process(arguments).items(), *(arguments.get(name) for name in ("filenamefmt", "protocol", "method")))


def _file_name(pattern: str, record: Record) -> str:
    """Return a file's name by the request's pattern."""
    stamp = re.sub("[.:]", "", record_time(record.time))
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


# ---------------------------------------------------------------------------- tars


def write_tar(path: Path, files: dict[str, bytes], index: Mapping[str, Any], hostile: str = "") -> None:
    """Write a request's tar as JSOC does: members below `./`, the index's files and images; one hostile, if asked."""
    lines = "\n".join(f"{row['record']}\t{row['filename']}" for row in index["data"])
    texts = {"index.json": json.dumps(index), "index.html": "<html></html>", "proc-steps.txt": "im_patch\n",
             "index.txt": f"# JSOC \nrequestid={index['requestid']}\n# PROCESSING\n# DATA\n{lines}\n",
             f"{index['requestid']}.drmsrun": "#!/bin/sh\n"}
    first = next(iter(files))
    with tarfile.open(path, "w") as tar:
        replacement = _replacement(hostile, first, files[first])
        if replacement:
            files = {name: content for name, content in files.items() if name != first} | replacement
        elif hostile:
            _add_hostile(tar, hostile, first, files[first])
        for name, content in ({name: text.encode() for name, text in texts.items()} | files).items():
            _add(tar, f"./{name}", content)


def _add(tar: tarfile.TarFile, path: str, content: bytes = b"", **attributes: Any) -> None:
    """Add a member to a tar."""
    member = tarfile.TarInfo(path)
    member.size = len(content)
    for name, value in attributes.items():
        setattr(member, name, value)
    tar.addfile(member, io.BytesIO(content))


def _replacement(kind: str, name: str, content: bytes) -> dict[str, bytes]:
    """Return what stands in the place of an image; nothing for the kinds that come beside it."""
    if kind == "primary_unit":
        return {name: _in_primary_unit(content)}
    return {"other_time": {_other_year(name): content}, "odd_name": {"notes.fits": content},
            "not_fits": {name: b"x" * 99}, "html": {name: b"<html>please log in</html>"}}.get(kind, {})


def _add_hostile(tar: tarfile.TarFile, kind: str, name: str, content: bytes) -> None:
    """Add the member, or the many, of a kind that must not be used, in front of the others."""
    other_year = "./" + _other_year(name)
    if kind == "surplus":
        members = [(f"./{number}_{name}", b"", {}) for number in range(SURPLUS)]
    elif kind == "folders":
        members = [(f"./folder{number}", b"", {"type": tarfile.DIRTYPE}) for number in range(SURPLUS)]
    else:
        members = [{
            "parent": (f"../../{name}", content, {}), "absolute": (f"/somewhere/{name}", content, {}),
            "symlink": (other_year, b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
            "hardlink": (other_year, b"", {"type": tarfile.LNKTYPE, "linkname": "../../secret"}),
            "device": (other_year, b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
            "repeated": (f"./more/{name}", content, {}), "bomb": (other_year, bytes(64 << 20), {})}[kind]]
    for path, data, attributes in members:
        _add(tar, path, data, **attributes)


def _other_year(name: str) -> str:
    """Return the name of an image a century earlier, which nobody has asked for."""
    return name.replace(".20", ".19", 1)


def _in_primary_unit(content: bytes) -> bytes:
    """Return a FITS file with the pixels of another in its primary unit, where JSOC has none."""
    from astropy.io import fits  # half a second to import

    with fits.open(io.BytesIO(content)) as file, io.BytesIO() as other:
        fits.PrimaryHDU(file[1].data).writeto(other)
        return other.getvalue()


# ---------------------------------------------------------------------------- queries


class SimulatedQueries:
    """Answers of the CGIs that only read `series`, and its `faults`."""

    def __init__(self, series: SimulatedSeries, faults: Faults) -> None:
        self.series, self.faults = series, faults

    def answer(self, cgi: str, arguments: Mapping[str, str]) -> Answer | None:
        """Return the answer of the CGI whose path ends in `cgi`; None when it is none of these."""
        if cgi in ("jsoc_info", "jsocextinfo", "jsoc_info_jsoc2"):
            return self._info(arguments)
        if cgi == "drms_parserecset":
            return self._parse(arguments.get("spec", ""))
        if cgi == "series_info":
            return self._series_info(arguments.get("series", ""))
        return None

    def _info(self, arguments: Mapping[str, str]) -> Answer:
        """Return the answer of jsoc_info."""
        operation, text = arguments.get("op"), arguments.get("ds", "")
        name = re.split(r"[\[{]", text)[0].lower()
        if name in REGION_TABLES and operation == "rs_list":
            return self._region_rows(text, arguments)
        if name != SERIES.lower() or self.faults.series_unknown:
            return failure(1, "series not found")
        if operation == "series_struct":
            return STRUCTURE
        try:
            records = records_with_faults(self.series, parse_record_set(text), self.faults)
        except ValueError as error:
            return failure(1, str(error))
        if operation == "rs_summary":
            return {"count": len(records), "runtime": 0.0123, "status": 0}
        if operation == "rs_list":
            return _record_rows(records, arguments, self.faults.missing_values)
        return failure(1, "Bad QUERY_STRING")

    def _region_rows(self, text: str, arguments: Mapping[str, str]) -> Answer:
        """Return the rows of a region in the table of active regions."""
        if self.faults.table_unavailable:
            return failure(1, "series not found")
        number = re.findall(r"\[(\d+)\]", text)
        rows = self.series.table.get(f"{int(number[-1]) % 10000:04d}", []) if number else []
        if not rows or self.faults.region_unknown:
            return {"count": 0, "runtime": 0.01, "status": 0}
        unknown = f"{UNKNOWN_LONGITUDE:g}" if self.faults.longitude_unknown else None
        columns = {"ObservationTime": [row.t_ref for row in rows], "LatitudeHG": [row.y for row in rows],
                   "LongitudeCM": [unknown or row.x for row in rows]}
        keys = _keywords(arguments.get("key", "").split(","), columns, len(rows))
        return {"keywords": keys, "segments": [], "links": [], "count": len(rows), "runtime": 0.02, "status": 0}

    def _parse(self, text: str) -> Answer:
        """Return the answer of the record-set parser."""
        try:
            wanted = parse_record_set(text)
        except ValueError:
            return {"spec": text, "atfile": False, "hasfilts": None, "nsubsets": None, "subsets": None,
                    "errMsg": f"unable to parse {text}"}
        filters = "".join(f"[{part}]" for part in wanted.filters)
        subset = {"spec": text, "settype": "drms", "seriesname": wanted.series, "filter": filters,
                  "seriesns": wanted.series.partition(".")[0], "segments": None, "autobang": False}
        return {"spec": text, "atfile": False, "hasfilts": bool(wanted.filters), "nsubsets": 1, "subsets": [subset],
                "errMsg": None}

    def _series_info(self, name: str) -> Answer:
        """Return the answer of series_info."""
        if name.lower() != SERIES.lower() or self.faults.series_unknown:
            return {"errMsg": f"series {name} does not exist"}
        return {"errMsg": None, name.lower(): {
            "attributes": {"drmsprimekey": ["T_REC_index", "CAMERA"]},
            "keywords": {"t_rec": {"data-type": "time", "constant-value": "na"}},
            "segments": {"magnetogram": {"segment-number": 0, "number-axes": 2}}}}


def _keywords(names: Sequence[str], columns: Mapping[str, list[str]], n_rows: int) -> list[Answer]:
    """Return the keywords asked for, a column each, all as text."""
    return [{"name": name, "values": columns.get(name, ["Invalid KeyLink"] * n_rows)} for name in names]


def _record_rows(records: list[Record], arguments: Mapping[str, str], missing_values: int) -> Answer:
    """Return keywords and segments of records by column; from the second record on, some are MISSING."""
    if "n" in arguments and int(arguments["n"]):
        count = int(arguments["n"])
        records = records[:count] if count > 0 else records[count:]
    if not records:
        return {"count": 0, "runtime": 0.01, "status": 0}
    names = [f"{SERIES}[{record_time(record.time)}][{record.camera}]" for record in records]
    columns = {"T_REC": [record_time(record.time) for record in records],
               "CAMERA": [str(record.camera) for record in records], "*spec*": names,
               "QUALITY": [f"{record.quality & 0xFFFFFFFF:#010x}" for record in records]}
    for name in ("T_REC", "QUALITY"):
        columns[name][1:1 + missing_values] = ["MISSING"] * len(records[1:1 + missing_values])
    columns |= {name: [value] * len(records) for name, value in CONSTANTS.items()}
    keys = _keywords([key for key in arguments.get("key", "").split(",") if key], columns, len(records))
    answer = {"keywords": keys, "segments": [], "links": [], "count": len(records), "runtime": 0.02, "status": 0}
    if arguments.get("seg"):
        answer["segments"] = [{"name": name, "values": [f"/SUM42/D1/S00000/{name}.fits"] * len(records),
                               "dims": ["4096x4096"] * len(records)} for name in arguments["seg"].split(",")]
    if arguments.get("R") == "1":
        answer["recinfo"] = [{"name": name, "online": 1} for name in names]
    return answer
