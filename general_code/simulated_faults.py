"""The faults that the simulated JSOC can show: one switch for every failure that users of the real one report.

The reports are those of the issue trackers of drms and SunPy.

References
----------
https://github.com/sunpy/drms/issues, https://github.com/sunpy/sunpy/issues
"""

import threading
from dataclasses import dataclass
from typing import Literal

HostileMember = Literal["", "parent", "absolute", "symlink", "hardlink", "device", "surplus", "repeated", "bomb",
                        "other_time", "not_fits", "html", "primary_unit", "odd_name", "folders"]
HTTP_STATUS = {"forbidden": 403, "too_many_requests": 429, "server_errors": 500, "bad_gateway": 502}  # by switch


@dataclass
class Faults:
    """Switches of the simulator; a number counts down: so many times, then all is well."""

    # the service
    forbidden: int = 0  # CGI answers that are HTTP 403
    too_many_requests: int = 0  # CGI answers that are HTTP 429
    server_errors: int = 0  # CGI answers that are HTTP 500
    bad_gateway: int = 0  # CGI answers that are HTTP 502
    bad_gateway_every: int = 0  # every so many-th CGI answer is HTTP 502; 0 = none
    cgi_stalled: int = 0  # CGI answers that come after a long silence
    html_answers: int = 0  # CGI answers that are a web page
    cgi_missing: str = ""  # name of a CGI that is HTTP 404 for good
    unregistered: bool = False  # no address is registered
    address_pending: bool = False  # registrations are waiting for their confirmation
    # submission
    lost_answers: int = 0  # requests that are accepted, but the connection ends without an answer
    hash_errors: int = 0  # status 4 "Cant save new export-request hash."
    foreign_pending: int = 0  # times that the address is told of a pending request of another program
    busy_host: int = 0  # status 7 without a number: too many requests from this machine
    too_large: bool = False  # status 3
    refusal: str = ""  # status 4 with this text
    offline_files: bool = False  # status 25
    test_mode: bool = False  # status 12 in place of 2
    # status
    delay_seconds: float = 0.2  # until a request is complete
    not_found_polls: int = 0  # looks at each request that are answered with status 6
    not_found_text: bool = False  # as newer servers: status 4 in place of 6
    lost_requests: int = 0  # requests that the service forgets
    expired: int = 0  # looks that are answered with status 5
    export_fails: bool = False  # status 4 in place of 0
    no_tarfile: int = 0  # looks at a complete request without the tar's name
    # the tar on its way
    tar_not_found: int = 0  # HTTP 404
    tar_truncated: int = 0  # body shorter than Content-Length
    tar_stalled: int = 0  # silence in mid-body
    tar_html: int = 0  # a web page in place of the tar
    tar_empty: int = 0  # no byte
    tar_cut_at_source: int = 0  # cut short, with a Content-Length to match
    tar_moved: bool = False  # HTTP 302 to another path
    tar_host_down: int = 0  # HTTP 302 to this port of the machine, where nobody may answer; 0 = none
    absolute_links: bool = False  # the page links the tar with another host's name
    # the tar's content
    hostile_member: HostileMember = ""  # a member that must not be used
    full_disk: bool = False  # whole images in place of cut-outs
    bad_quality_served: bool = False  # records with bit 31 of QUALITY are served
    # series and table
    missing_slots: int = 0  # the first records of a range are not there
    bad_records: int = 0  # the last records of a range have bit 31 of QUALITY set: no image
    missing_values: int = 0  # records, from the second of a range, whose keywords are MISSING in a query
    both_cameras: bool = False  # a record of each camera at each time
    empty_series: bool = False  # no record in any range
    series_unknown: bool = False  # "series not found"
    table_unavailable: bool = False  # the table of active regions cannot be queried
    region_unknown: bool = False  # the table has no row of the region
    longitude_unknown: bool = False  # the table has rows with longitude 999 only
    # the page
    page_version: Literal["2021", "2018"] = "2021"  # which year's behaviour
    page_without: str = ""  # id of an element that the page does not have
    page_html: int = 0  # times that another web page, of maintenance, comes in its place

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._answers = 0

    def take(self, name: str) -> bool:
        """Tell whether a counted fault is due now, and count it down.

        Parameters
        ----------
        name : str
            Of the switch.

        Returns
        -------
        bool
            False once it is at 0.
        """
        with self._lock:
            left = getattr(self, name)
            if left > 0:
                setattr(self, name, left - 1)
            return left > 0

    def http_status(self) -> int:
        """Return the HTTP status of failure that this CGI answer is to have.

        Returns
        -------
        int
            By `bad_gateway_every`, else by the switch of a status, which is counted down; 0 for none.
        """
        with self._lock:
            self._answers += 1
            periodic = self.bad_gateway_every > 0 and self._answers % self.bad_gateway_every == 0
        return 502 if periodic else next((status for name, status in HTTP_STATUS.items() if self.take(name)), 0)
