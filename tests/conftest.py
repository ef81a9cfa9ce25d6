"""What all tests share: where the real data lies."""

import io
import signal
import tarfile
from pathlib import Path

import pytest

from general_code.evaluation import scores
from general_code.stage.run import StageRun

REPOSITORY = Path(__file__).resolve().parents[1]

# a shell starts background jobs deaf to Ctrl-C, and what they start inherits it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of observed data beside the repository; tests that need it skip without."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the observed data (../shared/data) is not here")
    return folder


@pytest.fixture(scope="session")
def noaa_archive(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `SRS` and `Events` of 2010-2018, unpacked once a session; not to be written to."""
    folder = tmp_path_factory.mktemp("noaa_archive")
    with tarfile.open(shared_data / "noaa_2010-2018.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def run() -> StageRun:
    """A run that only notes."""
    return StageRun(io.StringIO())


@pytest.fixture
def few_regions(monkeypatch):
    """Intervals for the few regions of small made-up sets."""
    monkeypatch.setattr(scores, "MIN_REGIONS", 2)
    monkeypatch.setattr(scores, "fewest_flaring", lambda *_: dict.fromkeys(scores.FEWEST_FLARING, 2))
