"""The route "browser": JSOC's export page, driven in Chromium as a person would.

Two traps of the page are closed. A change of the record set silently clears the processing, which then exports the
whole disk: the clause on quality is entered first, and `im_patch` has to stand in the page's own arguments before the
one click on submit. The text beside the status button is the same before and after success: only the link to the tar
counts. The tar is not downloaded by the browser.

References
----------
http://jsoc.stanford.edu/ajax/exportdata.html, as it was from 2018 to 2021.
"""

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Self
from urllib.parse import urljoin

from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    UnexpectedAlertPresentException,
    WebDriverException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from urllib3.exceptions import HTTPError

from general_code.jsoc.client import (
    REQUEST_ID,
    UNKNOWN_REQUEST_TEXT,
    ExportStatus,
    JsocService,
    Route,
    Status,
    interpret_submission,
)
from general_code.jsoc.export_requests import CutoutRequest, SummaryPositions, table_number
from general_code.jsoc.retry import OutageError, PendingRequestError, RefusedError, TransientError
from general_code.stage.files import LONGEST_MESSAGE, UserError, atomic_write

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = ("install Chromium and its driver (Debian: `make browser`, or apt-get install chromium chromium-driver; "
           "elsewhere Chrome and the chromedriver of the same version), or use --route drms")
LOOK_SECONDS = 0.05  # between looks while waiting for a condition; nothing is asked of the server

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
STATUS_TEXTS = {"is being processed": Status.PROCESSING, "waiting for processing": Status.QUEUED,
                "not found": Status.NOT_FOUND, UNKNOWN_REQUEST_TEXT: Status.NOT_FOUND, "too large": Status.TOO_LARGE,
                "Needs Intervention": Status.TOO_LARGE, "too old": Status.EXPIRED}


# ---------------------------------------------------------------------------- Chromium


def start_chromium(chromedriver: str, headless: bool, home: Path, arguments: Sequence[str] = ()) -> webdriver.Chrome:
    """Start a browser that downloads nothing and writes to `home` only; UserError says what to install."""
    driver = shutil.which(chromedriver or "chromedriver")
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if driver is None:
        sought = chromedriver or "chromedriver on the PATH"
        raise UserError(f"chromedriver: expected a program, found nothing at '{sought}'; {INSTALL}")
    if browser is None:
        raise UserError(f"route browser: no Chromium on the PATH (looked for {', '.join(BROWSERS)}); {INSTALL}")
    # what goes wrong between driver and us becomes one of our exceptions; its own warnings would repeat it
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # root may not use the sandbox, containers have a small /dev/shm
    for argument in ("--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,2000",
                     f"--user-data-dir={mkdtemp(dir=home)}", *arguments, *(("--headless=new",) if headless else ())):
        options.add_argument(argument)
    # the user's HOME may be missing or read-only, and holds settings of the user's own browser
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    try:
        chromium = webdriver.Chrome(options=options, service=Service(driver, env=environment))
    except WebDriverException as error:
        raise UserError(f"chromedriver: {driver} does not start {browser} ({_first_line(error)}); {INSTALL}") from None
    # the tar is streamed by us: a browser blocks downloads from plain http
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "deny"})
    return chromium


def _first_line(error: WebDriverException) -> str:
    """Return the message of a browser's error without its stack."""
    return (error.msg or type(error).__name__).strip().splitlines()[0]


@contextmanager
def browser_step(step: str) -> Iterator[None]:
    """Turn the browser's errors into TransientError; an alert of the page mostly says that the service is down."""
    try:
        yield
    except UnexpectedAlertPresentException as error:
        raise OutageError(f"{step}: the page says '{error.alert_text}'") from None
    except WebDriverException as error:
        raise TransientError(f"{step}: the browser says '{_first_line(error)}'") from None
    except HTTPError:
        raise TransientError(f"{step}: the browser's driver does not answer") from None


# ---------------------------------------------------------------------------- any web page


class Page:
    """A page in the browser, by the ids of its elements; what was not as expected is kept in the folder `evidence`."""

    def __init__(self, browser: webdriver.Chrome, timeout_seconds: float, evidence: Path) -> None:
        self.browser, self.timeout_seconds, self.evidence = browser, timeout_seconds, evidence

    def open(self, url: str) -> None:
        """Open an address; OutageError without an answer, or with one of the host in front of the service (5xx)."""
        with browser_step(f"opening {url}"):
            try:
                self.browser.get(url)
            except WebDriverException as error:
                if "net::ERR_" in (error.msg or ""):
                    raise OutageError(f"opening {url}: {_first_line(error)}") from None
                raise
            status = self.browser.execute_script(
                "return performance.getEntriesByType('navigation')[0].responseStatus")
        if status and status >= 500:
            raise OutageError(f"opening {url}: HTTP status {status}")

    def element(self, name: str) -> WebElement:
        """Return an element; UserError without it, OutageError when the page has no landmarks either."""
        try:
            found = self.browser.find_element(By.ID, name)
            if found is None:  # the driver's answer when an alert comes up at this moment
                raise StaleElementReferenceException(f"'{name}' could not be looked for")
            return found
        except NoSuchElementException:
            if not any(self.browser.find_elements(By.ID, landmark) for landmark in LANDMARKS):
                kept = self.keep_evidence("other")
                raise OutageError(f"another page came in place of the one at {self.browser.current_url} (of a proxy or "
                                  f"of maintenance, or the page has moved?); see {kept}.png and .html, and use "
                                  "--route drms if it stays") from None
            kept = self.keep_evidence(name)
            raise UserError(f"the page at {self.browser.current_url} has no element '{name}': it is not the export "
                            f"page of 2018 to 2021 that this route knows; see {kept}.png and .html, and use --route "
                            "drms") from None

    def label(self, name: str) -> str:
        """Return an element's value, else what is written in it: at most 300 letters that every encoding holds."""
        element = self.element(name)
        text = element.get_attribute("value") or element.text
        if text is None:  # as in `element`
            raise StaleElementReferenceException(f"'{name}' could not be read")
        return text.strip()[:LONGEST_MESSAGE].encode("utf-8", "replace").decode()

    def type_in(self, name: str, text: str) -> None:
        """Replace the text of a field, and leave it: the page looks at it only then."""
        self.browser.execute_script("arguments[0].select()", self.element(name))
        self.element(name).send_keys(text + Keys.TAB)

    def click(self, name: str) -> None:
        """Click an element once it is shown and enabled."""
        self.until(lambda: self.element(name).is_displayed() and self.element(name).is_enabled(),
                   f"'{name}' to be enabled")
        self.element(name).click()

    def until(self, condition: Callable[[], object], what: str) -> object:
        """Wait until a condition returns something true, and return that; else TransientError with `what`."""
        wait = WebDriverWait(self.browser, self.timeout_seconds, LOOK_SECONDS, (StaleElementReferenceException,))
        try:
            return wait.until(lambda browser: condition())
        except TimeoutException:
            kept = self.keep_evidence("timeout")
            raise TransientError(f"the page did not come to {what} within {self.timeout_seconds:g} s; "
                                 f"see {kept}.png and .html") from None

    def keep_evidence(self, name: str) -> Path:
        """Save a screenshot and the source of the page as `export_page_<name>`; return the path without extension."""
        path = self.evidence / f"export_page_{name}"
        with atomic_write(path.with_suffix(".png"), "wb") as file:
            file.write(self.browser.get_screenshot_as_png())
        with atomic_write(path.with_suffix(".html"), errors="backslashreplace") as file:
            file.write(self.browser.page_source)
        return path


# ---------------------------------------------------------------------------- the export page


class BrowserRoute(Route):
    """Submits requests and looks at them on the export page; `summaries` has positions that the page does not find."""

    name = "browser"

    def __init__(self, service: JsocService, summaries: SummaryPositions, report: Callable[[str], None],
                 evidence: Path, *, chromedriver: str = "", headless: bool = True) -> None:
        self.service, self.summaries, self.report, self.evidence = service, summaries, report, evidence
        self._home = TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._start = lambda: start_chromium(chromedriver, headless, Path(self._home.name))
        self._status_number = ""

    def __enter__(self) -> Self:
        self.page = Page(self._start(), self.service.policy.timeout_seconds, self.evidence)
        return self

    def __exit__(self, *error: object) -> None:
        self._quit()
        self._home.cleanup()

    def _quit(self) -> None:
        """End the browser, if it is still there."""
        with suppress(WebDriverException, HTTPError):
            self.page.browser.quit()

    def is_up(self) -> bool:
        """Tell whether the export page answers, or a page that is there to stay: not one that speaks of maintenance."""
        try:
            text = self.service.get_text(urljoin(self.service.base_url, PAGE))
        except OutageError:
            return False
        except TransientError:
            return True  # HTTP 404, 410: waiting for a day brings no page back
        return any(landmark in text for landmark in LANDMARKS) or not MAINTENANCE.search(text)

    def submit(self, request: CutoutRequest, records: Sequence, process: str,
               submitting: Callable[[str], object]) -> str:
        """Fill the page in and click on submit once; the page itself finds the records and the position."""
        self._open()
        with browser_step(f"export page, region {request.region}"):
            self._enter_record_set(request)
            self._enter_patch(request)
            self._enter_address()
            options = self._check(request)
            submitting(options)
            return self._click_submit()

    def status(self, request_id: str) -> ExportStatus:
        """Look at a request once, on the page's form for it."""
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
            answer = self.page.label("ImNOAA")
            return answer if NO_POSITION.search(answer) else ""
        return ""  # once the alert is closed the page writes "Not Found"

    def _enter_position(self, request: CutoutRequest, answer: str) -> None:
        """Enter the position of the region summaries, where the page finds none and says so in its answer."""
        position = self.summaries.position(request.passage)
        if position is None:
            raise RefusedError(f"no position of region {request.region} on the export page ('{answer}') nor in the "
                               "region summaries (srs_dir)")
        self.report(f"{request.region}: position from the region summaries, since the page did not find it")
        for field, text in zip(("ImTRef", "ImX", "ImY"), position, strict=True):
            self.page.type_in(field, text)

    def _enter_address(self) -> None:
        """Enter the address and wait until the page will let its parameters be checked."""
        page = self.page
        page.type_in("ExportNotify", self.service.email)
        page.until(lambda: self._none_pending() and (page.label("ExportNotifyMsg")
                                                     or page.label("ExportCheckButton") in CHECK_LABELS),
                   "an answer on the address")
        answer = page.label("ExportNotifyMsg")
        if answer == "UNREGISTERED":  # a click on the check button would now register the address
            raise UserError(f"email: the export page says {answer} of {self.service.email}; register it again at "
                            f"{self.service.base_url}ajax/register_email.html, and start again: what is done is kept")
        if answer not in ("", "REGISTERED"):
            raise TransientError(f"the page says {answer} of {self.service.email}")

    def _check(self, request: CutoutRequest) -> str:
        """Let the page check its parameters; return its arguments of im_patch, which must be those of the request."""
        page = self.page
        page.until(lambda: self._none_pending() and page.label("ExportCheckButton") in CHECK_LABELS, "the check button")
        page.element("ExportCheckButton").click()
        page.until(lambda: self._none_pending() and page.label("ExportButton") in SUBMIT_LABELS
                   and page.element("ExportButton").is_enabled(), "the submit button")
        arguments, size = str(page.browser.execute_script("return ExportProcessingArgs")), request.patch_pixels
        expected = (*ARGUMENTS, f"width={size}", f"height={size}")
        lacking = [each for each in expected if each not in re.split("[,|]", arguments)]
        if lacking or request.record_set != page.label("ExportRecordSet"):
            kept = page.keep_evidence("arguments")
            raise TransientError(f"nothing was submitted: the page would send '{arguments}', which lacks "
                                 f"{', '.join(lacking) or 'the record set'}; see {kept}.png and .html")
        return arguments.partition("im_patch,")[2]

    def _none_pending(self) -> bool:
        """Return True; PendingRequestError when the page offers to cancel a pending request, as a click would."""
        if self.page.label("ExportButton") == "cancel":
            raise PendingRequestError("", self.page.label("ExportButtonMsg") or "the page says a request is pending")
        return True

    def _click_submit(self) -> str:
        """Click on submit, once, and return the number that the page gives."""
        page = self.page
        instead = page.browser.execute_script(CLICK, page.element("ExportButton"), SUBMIT_LABELS)
        if instead and self._none_pending():
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
        return interpret_submission(_submission_code(text), "", text)

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
            return ExportStatus(Status.SUCCESS, links[0].get_attribute("href") if links else "", text)
        codes = [code for part, code in STATUS_TEXTS.items() if part in text]
        return ExportStatus(codes[0] if codes else Status.FAILED, "", text)


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
        return Status.PENDING
    return Status.TOO_LARGE if "Needs Intervention" in text else Status.FAILED
