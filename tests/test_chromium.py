"""Starting a browser: what the user is told when there is none."""

import shutil

import pytest

from general_code import chromium
from general_code.stage_files import UserError


def programs(monkeypatch, **paths: str) -> None:
    """Let the PATH hold these programs only."""
    monkeypatch.setattr(chromium.shutil, "which", lambda name: paths.get(name.replace("-", "_")))


def test_no_driver(monkeypatch):
    programs(monkeypatch, chromium="/usr/bin/chromium")
    with pytest.raises(UserError, match="found nothing at 'chromedriver on the PATH'; install Chromium and its driver"):
        chromium.start_chromium("", True)


def test_no_driver_where_the_setting_says(monkeypatch):
    programs(monkeypatch, chromium="/usr/bin/chromium", chromedriver="/usr/bin/chromedriver")
    with pytest.raises(UserError, match="chromedriver: expected a program, found nothing at 'my/driver'"):
        chromium.start_chromium("my/driver", True)


def test_no_browser(monkeypatch):
    programs(monkeypatch, chromedriver="/usr/bin/chromedriver")
    with pytest.raises(UserError, match="no Chromium on the PATH .looked for chromium, .*apt-get install chromium"):
        chromium.start_chromium("", True)


@pytest.mark.skipif(not shutil.which("false"), reason="needs a program that ends at once")
def test_driver_that_is_none(monkeypatch):
    no_driver = shutil.which("false")
    programs(monkeypatch, chromedriver=no_driver, chromium=no_driver)
    with pytest.raises(UserError, match="does not start .*; install Chromium and its driver"):
        chromium.start_chromium("", True)
