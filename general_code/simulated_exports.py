"""The simulated JSOC's exports: requests, their states, and the tars that they end in.

References
----------
http://jsoc.stanford.edu/jsocwiki/AjaxJsocConnect (jsoc_fetch: export requests and their status).
"""

import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from general_code.cutout_requests import Position, parse_record_time, record_time
from general_code.simulated_faults import Faults
from general_code.simulated_series import Record, SimulatedSeries, parse_record_set, records_with_faults
from general_code.simulated_tars import write_tar

FULL_DISK_MEGABYTES = 15  # of one full-disk record; the size limit is judged on it, times sizeratio
LARGEST_MEGABYTES = 100_000
ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,6}")
PENDING_TEXT = ("User {address} has 1 pending export requests ({number}); please wait until at least one request has "
                "completed before submitting a new one.")
FOREIGN_REQUEST = "JSOC_20200101_999"


@dataclass
class Export:
    """One accepted request."""

    number: str
    address: str
    fingerprint: tuple
    records: list[Record]
    process: dict[str, str]
    series: str
    file_name_format: str
    method: str
    submitted: float
    looks: int = 0
    forgotten: bool = False
    cancelled: bool = False
    tar_path: Path | None = None
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Path of the request's folder at the server."""
        return f"/SUM94/D{int(self.number.split('_')[2]):09d}/S00000"


class SimulatedExports:
    """The queue of exports.

    Parameters
    ----------
    series : SimulatedSeries
        The archive.
    faults : Faults
        Switches.
    folder : Path
        For the tars.
    full_disk_pixels : int
        Size of the made-up images that a request without im_patch gets.
    """

    def __init__(self, series: SimulatedSeries, faults: Faults, folder: Path, full_disk_pixels: int = 4096) -> None:
        self.series, self.faults, self.folder, self.full_disk_pixels = series, faults, folder, full_disk_pixels
        self.exports: dict[str, Export] = {}
        self._lock = threading.RLock()

    # ------------------------------------------------------------------------ addresses

    def check_address(self, address: str) -> dict[str, Any]:
        """Return what checkAddress says.

        Parameters
        ----------
        address : str
            A user's, decoded.

        Returns
        -------
        dict
            `status` 2 for a registered address, and `msg`.
        """
        if not ADDRESS.fullmatch(address):
            return {"status": -2, "msg": "Not a valid email address."}
        if self.faults.unregistered:
            return {"status": 4, "msg": "email address has been neither validated nor registered"}
        if self.faults.address_pending:
            return {"status": 3, "msg": "Email-address registration is pending. Please wait and try again later."}
        return {"status": 2, "msg": "Email address is valid and registered.", "user_id": 7}

    def pending(self, address: str) -> str:
        """Return the number of the request that an address has pending.

        Parameters
        ----------
        address : str
            A user's; upper and lower case are the same.

        Returns
        -------
        str
            "" without one.
        """
        if self.faults.take("foreign_pending"):
            return FOREIGN_REQUEST
        return next((export.number for export in self.exports.values() if export.address.lower() == address.lower()
                     and not export.cancelled and not self._complete(export)), "")

    def manage(self, address: str, operation: str) -> dict[str, str]:
        """Return what manage-request says of an address's pending request, or cancel that.

        Parameters
        ----------
        address : str
            A user's.
        operation : str
            `cancel`, or `check`.

        Returns
        -------
        dict of str to str
            `status`, here a text: 1 for none, 2 for one, 3 for a cancelled one; and `msg`.
        """
        number = self.pending(address)
        if not number:
            return {"status": "1", "msg": f"no existing export request for export user {address}"}
        if operation != "cancel":
            return {"status": "2", "msg": f"existing export request for export user {address} [ request_id={number} ]"}
        if number in self.exports:
            self.exports[number].cancelled = True
        return {"status": "3", "msg": f"canceled {number}"}

    # ------------------------------------------------------------------------ submission

    def submit(self, arguments: dict[str, str]) -> dict[str, Any]:
        """Return the answer to an export request, after the server's checks in the server's order.

        Parameters
        ----------
        arguments : dict of str to str
            Of `op=exp_request`: `ds`, `notify`, `process`, `method`, `protocol`, `filenamefmt`, `sizeratio`.

        Returns
        -------
        dict
            `status` 2 and `requestid` when it is accepted, else a status of failure and `error`.
        """
        with self._lock:
            address = arguments.get("notify", "")
            refusal = self._refuse_address(address) or self._injected_refusal()
            if refusal:
                return refusal
            try:
                wanted = parse_record_set(arguments.get("ds", ""))
            except ValueError:
                return _failure(4, f"Bad record-set query '{arguments.get('ds', '')}'.\n")
            if wanted.series.lower() != "hmi.m_720s" or self.faults.series_unknown:
                return _failure(4, f"Cannot export series '{wanted.series}' - it does not exist.\n")
            process = parse_process(arguments)
            records = records_with_faults(self.series, wanted, self.faults)
            size = len(records) * FULL_DISK_MEGABYTES * float(arguments.get("sizeratio", 1))
            if size > LARGEST_MEGABYTES or self.faults.too_large:
                return {"status": 3, "requestid": "VOID", "count": len(records), "size": round(size), "wait": 0,
                        "error": f"Request exceeds max byte limit of {LARGEST_MEGABYTES}MB",
                        "contact": "jsoc_help@jsoc.stanford.edu"}
            if arguments.get("method") == "url_quick" and arguments.get("protocol", "as-is") == "as-is":
                return _quick(wanted.series, records)
            export = self._accept(arguments, address, wanted.series, process, records)
            return self._queued(export, round(size) or 1)

    def _refuse_address(self, address: str) -> dict[str, Any] | None:
        """Return the answer to an address that may not submit now."""
        checked = self.check_address(address)
        if checked["status"] != 2:
            return _failure(4, f"Cannot process your request. {checked['msg']}")
        if self.faults.take("busy_host"):
            return _failure(7, "There are too many requests from 127.0.0.1; please wait until one or more requests "
                               "have completed before submitting a new one.")
        number = self.pending(address)
        return _failure(7, PENDING_TEXT.format(address=address, number=number)) if number else None

    def _injected_refusal(self) -> dict[str, Any] | None:
        """Return the refusal that a switch asks for."""
        if self.faults.take("hash_errors"):
            return _failure(4, "Cant save new export-request hash.")
        if self.faults.refusal:
            return _failure(4, self.faults.refusal)
        if self.faults.offline_files:
            return _failure(25, "One or more data files are offline; please try again later.")
        return None

    def _accept(self, arguments: dict[str, str], address: str, series: str, process: dict[str, str],
                records: list[Record]) -> Export:
        """Return the export of a request; of an identical one the old export, if that is not deleted."""
        fingerprint = (tuple(records), tuple(process.items()),
                       *(arguments.get(name, "") for name in ("filenamefmt", "protocol", "method")))
        for export in self.exports.values():
            if export.fingerprint == fingerprint and not export.forgotten and not export.cancelled:
                return export
        number = f"JSOC_{datetime.now(UTC):%Y%m%d}_{len(self.exports) + 1:03d}"
        export = Export(number, address, fingerprint, records, process, series,
                        arguments.get("filenamefmt", "{seriesname}.{recnum:%d}.{segment}"),
                        arguments.get("method", "url"), time.monotonic(),
                        forgotten=self.faults.take("lost_requests"))
        self.exports[number] = export
        return export

    def _queued(self, export: Export, size: int, code: int = 2) -> dict[str, Any]:
        """Return the answer for a request that waits."""
        code = 12 if self.faults.test_mode else code
        return {"status": code, "requestid": export.number, "method": export.method, "protocol": "fits", "wait": 10,
                "rcount": len(export.records), "size": size}

    # ------------------------------------------------------------------------ status

    def status(self, number: str) -> dict[str, Any]:
        """Return the answer to exp_status.

        Parameters
        ----------
        number : str
            Of the request.

        Returns
        -------
        dict
            `status` 0, `tarfile` and the index when it is complete, 1 or 2 before, else a failure and `error`.
        """
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
                return _failure(4, "Export program failed: jsoc_export_as_fits") | {"requestid": number}
            return self._index(export)

    def _unknown(self, number: str) -> dict[str, Any]:
        """Return the answer for a request that the server does not know, in the words of its age."""
        if self.faults.not_found_text:
            return _failure(4, f"invalid export DRMS record for ID `%s`{number}")
        return _failure(6, f"RequestID {number} not found") | {"requestid": number}

    def _complete(self, export: Export) -> bool:
        """Tell whether a request's time is up."""
        return time.monotonic() - export.submitted >= self.faults.delay_seconds

    def _index(self, export: Export) -> dict[str, Any]:
        """Return a complete request's index.json, in which every value is a text, and make its tar."""
        files = self._files(export)
        if not files:
            return _failure(4, "No input data found within 2-hours of t_ref") | {"requestid": export.number}
        index = {"version": "0.5", "requestid": export.number, "method": export.method, "protocol": "fits",
                 "count": str(len(files)), "size": str(sum(map(len, files.values())) // 2**20 or 1),
                 "exptime": f"{datetime.now(UTC):%Y.%m.%d_%H:%M:%S}_UT", "dir": export.folder, "status": "0",
                 "keywords": "**IN FITS FILES**",
                 "data": [{"record": f"{export.series.lower()}_mod[][1][{export.number}]", "filename": name}
                          for name in files]}
        if not export.method.endswith("-tar"):
            export.files = files
            return index
        if export.tar_path is None:
            export.tar_path = write_tar(self.folder / f"{export.number}.tar", files, index, self.faults)
        tar = {} if self.faults.take("no_tarfile") else {"tarfile": f"{export.folder}/{export.number}.tar"}
        return index | tar

    def _files(self, export: Export) -> dict[str, bytes]:
        """Return names and contents of the FITS files of a request."""
        patch = export.process
        full_disk = not patch or self.faults.full_disk
        region = self.series.region_at(Position(patch["t_ref"], patch["x"], patch["y"])) if patch else "0001"
        files = {}
        for record in export.records:
            outside = patch and not (parse_record_time(patch["t_start"]) <= record.time
                                     <= parse_record_time(patch["t_stop"]))
            if outside or region is None:
                continue
            content = (self.series.cutout(region, record, int(patch["width"])) if not full_disk
                       else self.series.full_disk(record, self.full_disk_pixels))
            if content is not None:
                if self.faults.bad_quality_served:
                    content = re.sub(rb"QUALITY = +\d+", b"QUALITY = %20d" % -(2**31), content, count=1)
                files[self._file_name(export, record)] = content
        return files

    def _file_name(self, export: Export, record: Record) -> str:
        """Return a file's name by the request's pattern."""
        stamp = re.sub("[.:]", "", record_time(record.time))
        return (export.file_name_format.replace("{T_REC:A}", stamp).replace("{CAMERA}", str(record.camera))
                .replace("{segment}", "magnetogram") + ".fits")


def _quick(series: str, records: list[Record]) -> dict[str, Any]:
    """Return the answer to url_quick: at once, without a request; its files are not served here."""
    rows = [{"record": f"{series}[{record_time(record.time)}][{record.camera}]{{magnetogram}}",
             "filename": "/SUM42/D1/S00000/magnetogram.fits"} for record in records]
    if not rows:
        return _failure(4, "There are no files in this RecordSet")
    return {"rcount": len(rows), "count": len(rows), "size": FULL_DISK_MEGABYTES * len(rows), "dir": "", "data": rows,
            "requestid": "", "method": "url_quick", "protocol": "as-is", "wait": 0, "status": 0}


def _failure(code: int, text: str) -> dict[str, Any]:
    """Return the answer of a failure."""
    return {"status": code, "error": text}


def parse_process(arguments: dict[str, str]) -> dict[str, str]:
    """Return the arguments of im_patch in a request, none without; both spellings of the parameter are accepted.

    Parameters
    ----------
    arguments : dict of str to str
        `process` = `n=0|im_patch,k=v,…` (the page) or `process=n` = `0|im_patch,k=v,…` (drms).

    Returns
    -------
    dict of str to str
        In the order given.
    """
    text = next((f"{name}={value}" for name, value in arguments.items() if name.startswith("process")), "")
    for step in text.split("|"):
        program, *options = step.split(",")
        if program == "im_patch":
            return dict(option.split("=", 1) for option in options)
    return {}
