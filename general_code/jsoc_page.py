"""The route "browser": JSOC's export page, driven in Chromium as a person would.

Two traps of the page are closed. A change of the record set silently clears the processing, which then exports the
whole disk: the clause on quality is entered first, and `im_patch` has to stand in the page's own arguments before the
one click on submit. The text beside the status button is the same before and after success: only the link to the tar
counts. The tar is not downloaded by the browser.

References
----------
http://jsoc.stanford.edu/ajax/exportdata.html, as it was from 2018 to 2021.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urljoin

from selenium.common.exceptions import UnexpectedAlertPresentException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from urllib3.exceptions import HTTPError

from general_code.chromium import Page, browser_step, start_chromium
from general_code.cutout_requests import CutoutRequest, Position
from general_code.export_positions import SummaryPositions, table_number
from general_code.jsoc_export import (
    EXPIRED,
    FAILED,
    NOT_FOUND,
    PENDING,
    PROCESSING,
    QUEUED,
    SUCCESS,
    TOO_LARGE,
    ExportStatus,
    judge_submission,
)
from general_code.jsoc_faults import OutageError, PendingRequestError, RefusedError, TransientError
from general_code.jsoc_service import REQUEST_ID, JsocService, SeriesRecord
from general_code.stage_files import UserError

PAGE = "ajax/exportdata.html"
LANDMARKS = ("ExportRecordSet", "ExportButton", "StatusRequestID", "ResetPageButton")  # of the page in all versions
UNSET = "NotSpecified"
FOUND = "found"
NO_POSITION = re.compile("noRecords|noRegion|Not Found")  # in the region's field, where there is no position
MAINTENANCE = re.compile("maintenance|unavailable|temporar", re.IGNORECASE)  # in a page that takes another's place
CHECK_LABELS = ("check parameters", "Check Params for Export")  # 2020 on, before
SUBMIT_LABELS = ("submit", "Submit Export Request")  # 2020 on, before
ARGUMENTS = ("im_patch", "t=0", "r=0", "c=0", "locunits=stony", "boxunits=pixels")  # that the page has to send
CLICK = """const [button, labels] = arguments, label = button.value.trim();
if (button.disabled || !labels.includes(label)) { return label || "(nothing)"; }
button.click();
return "";"""  # what the button says if it is not that; in one go, since the page may turn it to "cancel" at any time
STATUS_TEXTS = (("is being processed", PROCESSING), ("waiting for processing", QUEUED), ("not found", NOT_FOUND),
                ("too large", TOO_LARGE), ("Needs Intervention", TOO_LARGE), ("too old", EXPIRED))


class BrowserRoute:
    """Submits requests and looks at them on the export page.

    Parameters
    ----------
    service : JsocService
        Host, address and patience.
    summaries : SummaryPositions
        Positions for regions that the page does not find.
    say : callable
        Told what is unusual, in one line.
    evidence : Path
        Folder for screenshots and sources of pages that were not as expected.
    chromedriver : str
        Path of the driver; "" = the one on the PATH.
    headless : bool
        Without a window.
    arguments : sequence of str, optional
        Further switches of Chromium.
    """

    name = "browser"

    def __init__(self, service: JsocService, summaries: SummaryPositions, say: Callable[[str], None], evidence: Path,
                 chromedriver: str = "", headless: bool = True, arguments: Sequence[str] = ()) -> None:
        self.service, self.summaries, self.say, self.evidence = service, summaries, say, evidence
        self._start = lambda: start_chromium(chromedriver, headless, arguments)
        self._status_number = ""

    def __enter__(self) -> "BrowserRoute":
        self.page = Page(self._start(), self.service.patience.timeout_seconds, self.evidence, LANDMARKS)
        return self

    def __exit__(self, *error: object) -> None:
        self._quit()

    def _quit(self) -> None:
        """End the browser, if it is still there."""
        with suppress(WebDriverException, HTTPError):
            self.page.browser.quit()

    def answers(self) -> bool:
        """Tell whether the export page, or a page that is there to stay, answers.

        Returns
        -------
        bool
            False when nobody answers, and for a page that speaks of maintenance.

        Raises
        ------
        BlockedError
            When this machine is refused.
        """
        try:
            text = self.service.get_text(PAGE)
        except OutageError:
            return False
        except TransientError:
            return True  # HTTP 404, 410: waiting for a day brings no page back
        return any(landmark in text for landmark in LANDMARKS) or not MAINTENANCE.search(text)

    def submit(self, request: CutoutRequest, records: Sequence[SeriesRecord], process: str,
               submitting: Callable[[str], object]) -> str:
        """Fill the page in and click on submit once.

        Parameters
        ----------
        request : CutoutRequest
            Gives record set, region and size.
        records : sequence of SeriesRecord
            Not needed: the page finds the first and last record.
        process : str
            Not needed: the page finds the position.
        submitting : callable
            Called with the page's arguments of im_patch just before the click.

        Returns
        -------
        str
            JSOC's number of the request.

        Raises
        ------
        PendingRequestError, RefusedError, TransientError
            As `judge_submission` says, or the page.
        PageChangedError, UserError
            When the page lacks an element, or does not know the address.
        """
        self._open()
        with browser_step(f"export page, region {request.region}"):
            self._enter_record_set(request)
            self._enter_patch(request)
            self._enter_address()
            options = self._check(request)
            submitting(options)
            return self._click_submit()

    def status(self, request_id: str) -> ExportStatus:
        """Look at a request once, on the page's form for it.

        Parameters
        ----------
        request_id : str
            JSOC's number.

        Returns
        -------
        ExportStatus
            Code of the page's text; the address of the tar where the page links one.

        Raises
        ------
        TransientError
            When the page does not come to an answer.
        """
        page = self.page
        try:
            with browser_step(f"status of {request_id}"):
                if self._status_number != request_id:
                    self._open()  # a fresh page: the one that submitted would ask the server every second
                    page.type_in("StatusRequestID", request_id)
                    self._status_number = request_id
                else:
                    page.click("StatusButton")
                page.until(lambda: "Processing" not in page.label("StatusButton") and self._status_text(),
                           f"an answer for {request_id}")
                return self._read_status()
        except TransientError:
            self._status_number = ""
            raise

    def _open(self) -> None:
        """Open the page afresh, in a new browser if the old one is gone, and wait until it is built."""
        self._status_number = ""
        try:
            self.page.browser.current_url  # noqa: B018 (asked for its exception)
        except (WebDriverException, HTTPError):
            self._quit()
            self.page.browser = self._start()
        self.page.open(urljoin(self.service.base_url, PAGE))
        with browser_step("export page"):
            self.page.until(lambda: self.page.element("ResetPageButton").is_enabled(), "being built")

    # ------------------------------------------------------------------------ the request form, in its order

    def _enter_record_set(self, request: CutoutRequest) -> None:
        """Enter method and record set, the clause on quality included, and open the processing of im_patch."""
        page = self.page
        Select(page.element("ExportMethod")).select_by_visible_text("url-tar")
        page.type_in("ExportRecordSet", request.record_set)
        page.until(lambda: re.fullmatch(r"[\d,]+", page.label("RSCountPlace")),
                   f"a number of records of {request.record_set}")
        page.until(lambda: not page.element("ProcessingWaitMessage").is_displayed(), "the end of ProcessingWaitMessage")
        page.click("ProcessingCheckbox")
        page.click("OptionImPatch")
        page.until(lambda: page.label("ImTStart") not in ("", UNSET), "ImTStart filled in")

    def _enter_patch(self, request: CutoutRequest) -> None:
        """Enter region and size."""
        page = self.page
        with _alert_of_region():
            page.type_in("ImNOAA", str(table_number(request.region)))
        answer = page.until(self._answer_of_region, "a position in ImX")
        if answer != FOUND:
            self._enter_position(request, str(answer))
        for field in ("ImWide", "ImHigh"):
            page.type_in(field, str(request.patch_pixels))
        page.until(lambda: page.label("ImVerify") == "OK to submit", "'OK to submit' in ImVerify")

    def _answer_of_region(self) -> str:
        """Return FOUND, or what stands in the region's field in place of a position; "" while there is no answer."""
        with _alert_of_region():
            if self.page.label("ImX") != UNSET:
                return FOUND
            said = self.page.label("ImNOAA")
            return said if NO_POSITION.search(said) else ""
        return ""  # once the alert is closed the page writes "Not Found"

    def _enter_position(self, request: CutoutRequest, answer: str) -> None:
        """Enter the position of the region summaries, where the page finds none and says so in its answer."""
        position: Position | None = self.summaries.position(request.passage)
        if position is None:
            raise RefusedError(f"no position of region {request.region} on the export page ('{answer}') nor in the "
                               "region summaries (srs_dir)")
        self.say(f"{request.region}: position from the region summaries, since the page did not find it")
        for field, text in zip(("ImTRef", "ImX", "ImY"), position, strict=True):
            self.page.type_in(field, text)

    def _enter_address(self) -> None:
        """Enter the address and wait until the page will let its parameters be checked."""
        page = self.page
        page.type_in("ExportNotify", self.service.email)
        page.until(lambda: page.label("ExportNotifyMsg") or page.label("ExportCheckButton") in CHECK_LABELS
                   or page.label("ExportButton") == "cancel", "an answer on the address")
        answer = page.label("ExportNotifyMsg")
        if answer == "UNREGISTERED":  # a click on the check button would now register the address
            raise UserError(f"email: the export page says {answer} of {self.service.email}; register it again at "
                            f"{self.service.base_url}ajax/register_email.html, and start again: what is done is kept")
        if answer not in ("", "REGISTERED"):
            raise TransientError(f"the page says {answer} of {self.service.email}")

    def _check(self, request: CutoutRequest) -> str:
        """Let the page check its parameters; return its arguments of im_patch, which must be those of the request."""
        page = self.page
        page.until(lambda: page.label("ExportCheckButton") in CHECK_LABELS or self._pending(), "the check button")
        if not self._pending():
            page.element("ExportCheckButton").click()
            page.until(lambda: self._may_submit() or self._pending(), "the submit button")
        if self._pending():
            raise self._pending_error()
        arguments, size = str(page.browser.execute_script("return ExportProcessingArgs")), request.patch_pixels
        expected = (*ARGUMENTS, f"width={size}", f"height={size}")
        lacking = [each for each in expected if each not in re.split("[,|]", arguments)]
        if lacking or request.record_set != page.label("ExportRecordSet"):
            kept = page.keep_evidence("arguments")
            raise TransientError(f"nothing was submitted: the page would send '{arguments}', which lacks "
                                 f"{', '.join(lacking) or 'the record set'}; see {kept}.png and .html")
        return arguments.partition("im_patch,")[2]

    def _may_submit(self) -> bool:
        """Tell whether the page offers to submit."""
        return self.page.label("ExportButton") in SUBMIT_LABELS and self.page.element("ExportButton").is_enabled()

    def _pending(self) -> bool:
        """Tell whether the page offers to cancel a pending request; a click would do it."""
        return self.page.label("ExportButton") == "cancel"

    def _pending_error(self) -> PendingRequestError:
        """Return what the page says of the pending request."""
        return PendingRequestError("", self.page.label("ExportButtonMsg") or "the page says a request is pending")

    def _click_submit(self) -> str:
        """Click on submit, once, and return the number that the page gives."""
        page = self.page
        instead = page.browser.execute_script(CLICK, page.element("ExportButton"), SUBMIT_LABELS)
        if instead == "cancel":
            raise self._pending_error()
        if instead:
            raise TransientError(f"nothing was submitted: the page's button says '{instead}', expected 'submit'")
        try:
            page.until(lambda: REQUEST_ID.fullmatch(page.label("RequestIdPlace")) or page.label("ExportStatus"),
                       "a number of the request")
        except WebDriverException as error:
            if not getattr(error, "alert_text", ""):
                raise
            if REQUEST_ID.fullmatch(page.label("RequestIdPlace")):
                return page.label("RequestIdPlace")  # the alert was about something later
            raise OutageError(f"export page: '{error.alert_text}' {page.label('ExportStatus')}") from None
        number, text = page.label("RequestIdPlace"), f"{page.label('ExportStatus')} {page.label('ExportButtonMsg')}"
        if REQUEST_ID.fullmatch(number):
            return number
        if "Export Failure, Problem" in text:
            raise OutageError(f"export page: {text}")
        return judge_submission(_submission_code(text), "", text)

    # ------------------------------------------------------------------------ the status form

    def _status_text(self) -> str:
        """Return all that the page says of a request."""
        texts = [self.page.label(name) for name in ("StatusValue", "StatusStatus", "StatusOther")]
        return " ".join(text for text in texts if text)

    def _read_status(self) -> ExportStatus:
        """Return what the page says of a request."""
        text = self._status_text()
        if self.page.label("StatusValue") == "Success":
            links = self.page.browser.find_elements(By.CSS_SELECTOR, "#TarFileLocation a")
            return ExportStatus(SUCCESS, links[0].get_attribute("href") if links else "", text)
        return ExportStatus(next((code for part, code in STATUS_TEXTS if part in text), FAILED), "", text)


@contextmanager
def _alert_of_region() -> Iterator[None]:
    """Let the page's alert that it cannot look a region up pass: the browser has closed it."""
    try:
        yield
    except UnexpectedAlertPresentException as error:
        if "NOAA" not in (error.alert_text or ""):
            raise


def _submission_code(text: str) -> int:
    """Return the status code behind the page's words for a refusal."""
    if "Request Rejected" in text or "pending export requests" in text or "too many requests" in text:
        return PENDING
    return TOO_LARGE if "Needs Intervention" in text else FAILED
