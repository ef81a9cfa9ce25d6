"""A Chromium under Selenium, and a web page whose elements are waited for, never slept for.

Elements are found again at each use: the page replaces them as it goes on.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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
from selenium.webdriver.support.ui import WebDriverWait
from urllib3.exceptions import HTTPError

from general_code.jsoc_faults import OutageError, TransientError
from general_code.stage_files import UserError, atomic_write

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = ("install Chromium and its driver (Debian: `make browser`, or apt-get install chromium chromium-driver; "
           "elsewhere Chrome and the chromedriver of the same version), or use --route drms")
LOOK_SECONDS = 0.05  # from look to look while waiting for a condition; nothing is asked of the server


class PageChangedError(UserError):
    """The page is not the one that this program knows."""


class AlertError(OutageError):
    """The page showed an alert, which is closed by now: mostly that the service did not answer it."""


def start_chromium(chromedriver: str, headless: bool, arguments: Sequence[str] = ()) -> webdriver.Chrome:
    """Start a browser that downloads nothing by itself.

    Parameters
    ----------
    chromedriver : str
        Path of the driver; "" = the one on the PATH.
    headless : bool
        Without a window.
    arguments : sequence of str, optional
        Further switches of Chromium.

    Returns
    -------
    selenium.webdriver.Chrome
        To be ended with `quit()`.

    Raises
    ------
    UserError
        When there is no browser or no driver, or they do not start: says what to install.
    """
    driver = shutil.which(chromedriver or "chromedriver")
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if driver is None:
        sought = chromedriver or "chromedriver on the PATH"
        raise UserError(f"chromedriver: expected a program, found nothing at '{sought}'; {INSTALL}")
    if browser is None:
        raise UserError(f"route browser: no Chromium on the PATH (looked for {', '.join(BROWSERS)}); {INSTALL}")
    # what goes wrong between driver and us becomes one of our exceptions; its own warnings would be told twice
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # root may not use the sandbox, containers have a small /dev/shm
    for argument in ("--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,2000", *arguments,
                     *(("--headless=new",) if headless else ())):
        options.add_argument(argument)
    try:
        chromium = webdriver.Chrome(options=options, service=Service(driver))
    except WebDriverException as error:
        raise UserError(f"chromedriver: {driver} does not start {browser} ({_first_line(error)}); {INSTALL}") from None
    # the tar is streamed by us: a browser blocks downloads from plain http
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "deny"})
    return chromium


def _first_line(error: WebDriverException) -> str:
    """Return the message of a browser's error without its stack."""
    return (error.msg or type(error).__name__).strip().splitlines()[0]


class Page:
    """A page in the browser, by the ids of its elements.

    Parameters
    ----------
    browser : selenium.webdriver.Chrome
        Its window is used.
    timeout_seconds : float
        Longest wait for one condition.
    evidence : Path
        Folder for screenshots and sources of pages that were not as expected.
    landmarks : sequence of str
        Ids of elements: a page that has none of them is no version of the page, but something in its place.
    """

    def __init__(self, browser: webdriver.Chrome, timeout_seconds: float, evidence: Path,
                 landmarks: Sequence[str]) -> None:
        self.browser, self.timeout_seconds, self.evidence = browser, timeout_seconds, evidence
        self.landmarks = landmarks

    def open(self, url: str) -> None:
        """Open an address.

        Parameters
        ----------
        url : str
            Of the page.

        Raises
        ------
        OutageError
            When there is no answer, or one of the machine in front of the service (5xx).
        """
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
        """Return an element of the page.

        Parameters
        ----------
        name : str
            Its id.

        Returns
        -------
        selenium.webdriver.remote.webelement.WebElement
            As it is now.

        Raises
        ------
        PageChangedError
            When the page has none; screenshot and source are kept.
        OutageError
            When it has none of the landmarks either.
        """
        try:
            found = self.browser.find_element(By.ID, name)
            if found is None:  # the driver's answer when an alert comes up at this moment
                raise StaleElementReferenceException(f"'{name}' could not be looked for")
            return found
        except NoSuchElementException:
            if not any(self.browser.find_elements(By.ID, landmark) for landmark in self.landmarks):
                kept = self.keep_evidence("other")
                raise OutageError(f"another page came in place of the one at {self.browser.current_url} (of a proxy or "
                                  f"of maintenance, or the page has moved?); see {kept}.png and .html, and use "
                                  "--route drms if it stays") from None
            kept = self.keep_evidence(name)
            raise PageChangedError(f"the page at {self.browser.current_url} has no element '{name}': it is not the "
                                   f"export page of 2018 to 2021 that this route knows; see {kept}.png and .html, and "
                                   "use --route drms") from None

    def label(self, name: str) -> str:
        """Return the text on an element.

        Parameters
        ----------
        name : str
            Its id.

        Returns
        -------
        str
            A field's or button's value, else what is written in the element; without white space around it.
        """
        element = self.element(name)
        text = element.get_attribute("value") or element.text
        if text is None:  # as in `element`
            raise StaleElementReferenceException(f"'{name}' could not be read")
        return text.strip()

    def type_in(self, name: str, text: str) -> None:
        """Put a text in a field in place of what is there, and leave it: the page looks at it only then.

        Parameters
        ----------
        name : str
            Id of the field.
        text : str
            To type.
        """
        self.browser.execute_script("arguments[0].select()", self.element(name))
        self.element(name).send_keys(text + Keys.TAB)

    def click(self, name: str) -> None:
        """Click an element once it is shown and enabled.

        Parameters
        ----------
        name : str
            Its id.

        Raises
        ------
        TransientError
            When it is not enabled in time.
        """
        self.until(lambda: self.element(name).is_displayed() and self.element(name).is_enabled(),
                   f"'{name}' to be enabled")
        self.element(name).click()

    def until(self, condition: Callable[[], object], what: str) -> object:
        """Wait for a condition.

        Parameters
        ----------
        condition : callable
            Returns something true when it is met.
        what : str
            For the message: what was waited for.

        Returns
        -------
        object
            What the condition returned.

        Raises
        ------
        TransientError
            When it is not met in time; screenshot and source are kept.
        """
        wait = WebDriverWait(self.browser, self.timeout_seconds, LOOK_SECONDS, (StaleElementReferenceException,))
        try:
            return wait.until(lambda browser: condition())
        except TimeoutException:
            kept = self.keep_evidence("timeout")
            raise TransientError(f"the page did not come to {what} within {self.timeout_seconds:g} s; "
                                 f"see {kept}.png and .html") from None

    def keep_evidence(self, name: str) -> Path:
        """Save a screenshot and the source of the page.

        Parameters
        ----------
        name : str
            Of what went wrong: `export_page_<name>.png` and `.html` are written.

        Returns
        -------
        Path
            Of the two files, without extension.
        """
        path = self.evidence / f"export_page_{name}"
        with atomic_write(path.with_suffix(".png"), "wb") as file:
            file.write(self.browser.get_screenshot_as_png())
        with atomic_write(path.with_suffix(".html")) as file:
            file.write(self.browser.page_source)
        return path


@contextmanager
def browser_step(step: str) -> Iterator[None]:
    """Turn the browser's errors into TransientError, and an alert of the page into AlertError.

    Parameters
    ----------
    step : str
        What is being done, for the message.

    Yields
    ------
    None
        While the step is done.

    Raises
    ------
    AlertError
        When the page showed an alert; the browser has closed it.
    TransientError
        For every other fault of the browser or its driver.
    """
    try:
        yield
    except UnexpectedAlertPresentException as error:
        raise AlertError(f"{step}: the page says '{error.alert_text}'") from None
    except WebDriverException as error:
        raise TransientError(f"{step}: the browser says '{_first_line(error)}'") from None
    except HTTPError:
        raise TransientError(f"{step}: the browser's driver does not answer") from None
