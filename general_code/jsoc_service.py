"""What both routes ask of JSOC besides the export itself: addresses, records, positions.

Queries go through the drms package, the two CGIs that it leaves out through plain GETs. Every fault becomes one of
the exceptions of jsoc_faults.py.

References
----------
http://jsoc.stanford.edu/jsocwiki/AjaxJsocConnect (the CGIs and their answers).
"""

import json
import re
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode, urljoin
from urllib.request import Request, urlopen

import drms
from drms.config import ServerConfig

from general_code.cutout_requests import CutoutRequest, Position, parse_record_time
from general_code.export_positions import nearest_to_meridian, table_number
from general_code.jsoc_faults import BlockedError, OutageError, Patience, RefusedError, TransientError, network_step
from general_code.stage_files import UserError, describe

REGION_TABLE = "jsoc.noaa_active_regions"
REQUEST_ID = re.compile(r"JSOC_\d{8}_\d{3,}(?:_X)?(?:_IN)?")
USER_AGENT = "Magnetogram-Active-Regions-downloader"


class SeriesRecord(NamedTuple):
    """A record of the full-disk series: time (TAI) and QUALITY (signed; None where the table has no number)."""

    time: datetime
    quality: int | None


def signed_quality(text: str) -> int | None:
    """Return QUALITY as the signed number that it is.

    Parameters
    ----------
    text : str
        Hexadecimal (`0x80000000`) or decimal.

    Returns
    -------
    int or None
        32 bits, negative where bit 31 is set: the record has no image. None for MISSING and other text.

    References
    ----------
    http://jsoc.stanford.edu/doc/data/hmi/Quality_Bits/QUALITY.txt
    """
    try:
        value = int(text, 0)
    except ValueError:
        return None
    return value - 2**32 if value >= 2**31 else value


def _status_of(answer: dict[str, Any]) -> int | None:
    """Return the status code in an answer, a number or its text; None without one."""
    text = str(answer.get("status"))
    return int(text) if re.fullmatch(r"-?\d+", text) else None


class JsocService:
    """The queries of one JSOC host.

    Parameters
    ----------
    base_url : str
        Like http://jsoc.stanford.edu.
    email : str
        Registered address of the user.
    patience : Patience
        Timeouts.
    """

    def __init__(self, base_url: str, email: str, patience: Patience) -> None:
        self.base_url = base_url.rstrip("/") + "/"
        self.email = email
        self.patience = patience
        cgi = urljoin(self.base_url, "cgi-bin/ajax/")
        self.client = drms.Client(server=ServerConfig(
            name="JSOC-Driver", cgi_baseurl=cgi, cgi_show_series="show_series", cgi_jsoc_info="jsoc_info",
            cgi_jsoc_fetch="jsoc_fetch", cgi_check_address="checkAddress.sh", http_download_baseurl=self.base_url))

    def get_text(self, path: str) -> str:
        """Return what the host has at a path.

        Parameters
        ----------
        path : str
            Below the base address, with its query.

        Returns
        -------
        str
            The body of the answer.

        Raises
        ------
        BlockedError, OutageError, TransientError
            As `network_step` says.
        """
        request = Request(urljoin(self.base_url, path), headers={"User-Agent": USER_AGENT})
        with network_step(path.partition("?")[0]), urlopen(request, timeout=self.patience.timeout_seconds) as answer:
            return answer.read().decode("latin-1")

    def _get_json(self, cgi: str, **arguments: str) -> dict[str, Any]:
        """Return the JSON object that one of the CGIs answers a GET with; TransientError when there is none."""
        with network_step(cgi):
            content = json.loads(self.get_text(f"cgi-bin/ajax/{cgi}?{urlencode(arguments)}"))
        if not isinstance(content, dict):
            raise TransientError(f"{cgi}: the answer is not a JSON object")
        return content

    def answers(self) -> bool:
        """Tell whether the service is at work.

        Returns
        -------
        bool
            True only for a proper answer on the user's address, whatever it says: a page of maintenance is none.
        """
        try:
            return _status_of(self._ask_for_address()) is not None
        except TransientError:
            return False

    def _ask_for_address(self) -> dict[str, Any]:
        """Return what the service says of the user's address, which it decodes twice; registers nobody."""
        return self._get_json("checkAddress.sh", address=quote_plus(self.email), checkonly="1")

    def check_address(self) -> None:
        """Ask whether the user's address is registered; registers nobody (checkonly=1).

        Raises
        ------
        UserError
            When it is not, or its registration is not confirmed: says what to do.
        TransientError
            When there is no proper answer.
        """
        answer = self._ask_for_address()
        status = _status_of(answer)
        if status == 2:
            return
        told = f"JSOC says '{answer.get('msg', 'nothing')}' (status {answer.get('status')})"
        todo = ("confirm the mail that JSOC has sent and start again" if status == 3 else
                f"register it once at {self.base_url}ajax/register_email.html, or correct --email")
        raise UserError(f"email: {self.email} is not registered for exports: {told}; {todo}")

    def pending_request(self) -> str:
        """Return the number of the request that the address has pending.

        Returns
        -------
        str
            Like JSOC_20240107_012; "" when none is pending or the service cannot tell.

        Raises
        ------
        OutageError
            When there is no answer.
        """
        try:
            answer = self._get_json("manage-request.sh", address=self.email, operation="check", H="hmidb2")
        except OutageError:
            raise
        except (TransientError, BlockedError):  # a service without this CGI tells it at the submission
            return ""
        found = REQUEST_ID.search(str(answer.get("msg", "")))
        return found[0] if _status_of(answer) == 2 and found else ""

    def records(self, request: CutoutRequest) -> list[SeriesRecord]:
        """Return the records that the full-disk series has in the range of a request, those without image included.

        Parameters
        ----------
        request : CutoutRequest
            Its time range is queried.

        Returns
        -------
        list of SeriesRecord
            In order of time; one a time, of the records of two cameras one with an image.

        Raises
        ------
        RefusedError
            When the series does not exist.
        TransientError
            When there is no proper answer.
        """
        table = self._query(request.time_range, "T_REC,QUALITY")
        records: dict[datetime, SeriesRecord] = {}
        for text, quality in zip(table.get("T_REC", ()), table.get("QUALITY", ()), strict=True):
            try:
                record = SeriesRecord(parse_record_time(text), signed_quality(quality))
            except ValueError:
                continue  # MISSING
            other = records.setdefault(record.time, record)
            if other.quality is not None and other.quality < 0:
                records[record.time] = record
        return [records[record_time] for record_time in sorted(records)]

    def position(self, region: str) -> Position | None:
        """Return a region's position from the service's table of active regions.

        Parameters
        ----------
        region : str
            Four digits.

        Returns
        -------
        Position or None
            None when the table does not have the region.

        Raises
        ------
        RefusedError
            When the table cannot be queried.
        TransientError
            When there is no proper answer.
        """
        keys = ["ObservationTime", "LongitudeCM", "LatitudeHG"]
        table = self._query(f"{REGION_TABLE}[][{table_number(region)}]", ",".join(keys))
        columns = [table.get(key, ()) for key in keys]
        return nearest_to_meridian(Position(*row) for row in zip(*columns, strict=True))

    def _query(self, record_set: str, keys: str) -> dict[str, list[str]]:
        """Return keyword values as text: drms 0.9 turns QUALITY into NaN or an unsigned number."""
        try:
            with network_step(f"query of {record_set}"):
                return self.client.query(record_set, key=keys, convert_numeric=False).to_dict("list")
        except drms.DrmsQueryError as error:
            raise RefusedError(f"query of {record_set}: {describe(error)}") from None
