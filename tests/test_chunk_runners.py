"""Workers that die or see nothing: processes of this machine, and a real Dask cluster of two of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from classifier_SVM.BuildMasterFeatureSet_mp import main
from classifier_SVM.chunk_runners import check_workers, dask_client
from general_code.stage_files import UserError
from tests.feature_dataset import command, image_name, link_dataset, settings, wait_for


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Return the folder of a data set that is not to be changed."""
    return link_dataset(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def undisturbed(dataset) -> bytes:
    """Return the table that one process makes without interruption."""
    main(settings(dataset, "undisturbed.csv"))
    return (dataset / "results" / "undisturbed.csv").read_bytes()


def test_a_killed_worker_is_one_line_and_loses_nothing(dataset, undisturbed, monkeypatch, tmp_path):
    process = subprocess.Popen(command(dataset, "worker.csv", "--n-jobs", "2", "--chunk-files", "1"), cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rows = dataset / "results" / "worker.csv.rows"
    wait_for(lambda: rows.is_file() and rows.read_bytes().count(b"\n") > 2, process)
    killed = kill_a_worker(process.pid)
    _, errors = process.communicate(timeout=120)
    assert killed and process.returncode == 1
    assert "a worker process was killed" in errors and "Traceback" not in errors
    main(settings(dataset, "worker.csv"))
    assert (dataset / "results" / "worker.csv").read_bytes() == undisturbed


def kill_a_worker(parent: int) -> bool:
    """Kill a process that the run started for computing; tell whether there was one."""
    import psutil

    for child in psutil.Process(parent).children(recursive=True):
        if "resource_tracker" not in " ".join(child.cmdline()):
            child.kill()
            return True
    return False


# ---------------------------------------------------------------------------- a Dask cluster


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Return a cluster of two worker processes that start in another folder."""
    from distributed import LocalCluster

    monkeypatch.chdir(tmp_path)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                      silence_logs=50) as running:
        yield running


def test_on_dask_with_a_worker_killed_on_the_way_the_bytes_are_the_same(dataset, undisturbed, cluster, tmp_path):
    rows = dataset / "results" / "dask.csv.rows"
    process = subprocess.Popen(command(dataset, "dask.csv", "--dask-scheduler", cluster.scheduler_address,
                                       "--chunk-files", "1"), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: rows.is_file() and rows.read_bytes().count(b"\n") > 1, process)
    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "2 worker threads" in output
    assert (dataset / "results" / "dask.csv").read_bytes() == undisturbed


def test_workers_that_do_not_see_the_files_are_named_before_the_start(dataset, cluster, tmp_path):
    image = dataset / "dataset" / image_name(1)[:4] / image_name(1)
    with dask_client(cluster.scheduler_address) as client:
        assert check_workers(client, [(str(image), image.stat().st_size)]) == 2
        with pytest.raises(UserError, match="Dask worker tcp.*does not see the image.*share dataset_dir"):
            check_workers(client, [(str(tmp_path / "none.fits"), 1)])
        client.run(hide_repository)
        with pytest.raises(UserError, match="cannot import this repository.*share that folder"):
            check_workers(client, [])


def hide_repository() -> None:
    """Make a worker of a cluster unable to import stage 4."""
    sys.modules["classifier_SVM.FunctionsP3"] = None


def test_no_scheduler_and_no_workers_are_one_line(dataset, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr("classifier_SVM.chunk_runners.SECONDS_TO_CONNECT", 0.5)
    with pytest.raises(SystemExit, match="no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        main(settings(dataset, "none.csv", dask_scheduler="tcp://127.0.0.1:9"))
    with LocalCluster(n_workers=0, dashboard_address=None, processes=False) as empty, \
            pytest.raises(SystemExit, match="has no workers; start some with"):
        main(settings(dataset, "none.csv", dask_scheduler=empty.scheduler_address))


@pytest.mark.parametrize("address", ["nonsense", "tcp://host", "tcp:/host:8786"])
def test_an_address_without_a_port_is_refused_at_once(address):
    with pytest.raises(UserError, match="no Dask scheduler answers at"), dask_client(address):
        pass
