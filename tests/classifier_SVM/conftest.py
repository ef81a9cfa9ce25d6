"""A data set of stage 4 that several tests run on."""

from pathlib import Path

import pytest

from classifier_SVM.BuildMasterFeatureSet_mp import main
from tests.feature_dataset import link_dataset, settings


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """Return the folder of a data set that is not to be changed."""
    return link_dataset(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="session")
def undisturbed(dataset) -> bytes:
    """Return the table that one process makes without interruption."""
    main(settings(dataset, "undisturbed.csv"))
    return (dataset / "results" / "undisturbed.csv").read_bytes()
