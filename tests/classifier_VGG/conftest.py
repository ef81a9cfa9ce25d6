"""Fixtures of the tests of stages 6 and 7."""

import pytest

from general_code.stage.run import StageRun
from tests.vgg_lab import narrow


@pytest.fixture(scope="module", autouse=True)
def narrow_network():
    """Use the narrow network everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch)
        yield


@pytest.fixture
def run(tmp_path):
    """A run that only notes."""
    with (tmp_path / "log").open("w") as log:
        yield StageRun(log)
