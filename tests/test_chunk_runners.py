"""Workers that die or see nothing: processes of this machine, and a real Dask cluster of two of them."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from classifier_SVM.BuildMasterFeatureSet_mp import main
from classifier_SVM.chunk_runners import check_workers, dask_client, run_on_dask
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


def test_the_workers_are_checked_before_they_compute(dataset, monkeypatch):
    def refuse(client, images):
        assert client == "client" and [Path(path).stat().st_size for path, _ in images] == [size for _, size in images]
        raise UserError("not these workers")

    room = "classifier_SVM.BuildMasterFeatureSet_mp"
    monkeypatch.setattr(f"{room}.dask_client", lambda address: nullcontext("client"))
    monkeypatch.setattr(f"{room}.check_workers", refuse)
    monkeypatch.setattr(f"{room}.run_on_dask", None)
    with pytest.raises(SystemExit, match="not these workers"):
        main(settings(dataset, "none.csv", dask_scheduler="tcp://127.0.0.1:9"))


def test_one_worker_a_host_compiles_before_the_others_start():
    class Client:
        asked = []

        def nthreads(self):
            return {"tcp://10.0.0.1:1": 2, "tcp://10.0.0.1:2": 2, "tcp://10.0.0.2:1": 3}

        def run(self, check, images, version, workers):
            self.asked.append(workers)
            assert check(images, version) == ""
            return dict.fromkeys(workers or self.nthreads(), "")

    assert check_workers(Client(), []) == 7
    first, then = Client.asked
    assert sorted(worker.rpartition(":")[0] for worker in first) == ["tcp://10.0.0.1", "tcp://10.0.0.2"]
    assert then is None


def thread_of_chunk(repository):
    """Return a worker that answers with the name of its thread in place of rows."""

    def rows_there(number, paths):
        import threading

        return number, [threading.current_thread().name]

    return rows_there


@pytest.mark.filterwarnings("ignore:`apply_async` is deprecated:DeprecationWarning")  # joblib's own backend calls it
def test_a_single_thread_of_a_cluster_computes_there_and_what_ends_its_work_is_one_line(monkeypatch):
    from distributed import LocalCluster
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    monkeypatch.setattr("classifier_SVM.chunk_runners._worker_rows", thread_of_chunk)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, processes=False,
                      silence_logs=50) as cluster:
        with dask_client(cluster.scheduler_address) as client:
            rows = dict(run_on_dask([[]] * 5, client))
        assert sorted(rows) == list(range(5)) and all("Dask" in name for name, in rows.values())
        for loss in (FutureCancelledError("rows", "scheduler-connection-lost"), CommClosedError("closed")):
            with pytest.raises(UserError, match="connection to '.*' was lost .*what is done is kept"), \
                    dask_client(cluster.scheduler_address):
                raise loss


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
