"""Workers that die or see nothing: processes of this computer, and a real Dask cluster of two of them."""

import os
import signal
import sys

import psutil
import pytest

from classifier_SVM.BuildMasterFeatureSet_mp import main
from classifier_SVM.feature_table.workers import check_workers, dask_client, run_on_dask
from general_code.stage.files import UserError
from tests.feature_dataset import image_path, settings, start


def test_a_killed_worker_is_one_line_and_loses_nothing(dataset, undisturbed, monkeypatch, tmp_path):
    process, _ = start(dataset, "worker.csv", tmp_path, "--n-jobs", "2")
    next(child for child in psutil.Process(process.pid).children(recursive=True)
         if "resource_tracker" not in " ".join(child.cmdline())).kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "a worker process was killed" in errors and "Traceback" not in errors
    main(settings(dataset, "worker.csv"))
    assert (dataset / "results" / "worker.csv").read_bytes() == undisturbed


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Return a cluster of two worker processes that start in another folder."""
    from distributed import LocalCluster

    monkeypatch.chdir(tmp_path)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                      silence_logs=50) as running:
        yield running


def test_on_dask_with_a_worker_killed_on_the_way_the_bytes_are_the_same(dataset, undisturbed, cluster, tmp_path):
    process, _ = start(dataset, "dask.csv", tmp_path, "--dask-scheduler", cluster.scheduler_address)
    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "2 worker threads" in output
    assert (dataset / "results" / "dask.csv").read_bytes() == undisturbed


def test_workers_that_do_not_see_the_files_are_named_before_the_start(dataset, cluster, tmp_path):
    image = image_path(dataset, 1)
    with dask_client(cluster.scheduler_address) as client:
        assert check_workers(client, [(str(image), image.stat().st_size)]) == 2
        with pytest.raises(UserError, match="Dask worker tcp.*does not see the image.*share dataset_dir"):
            check_workers(client, [(str(tmp_path / "none.fits"), 1)])
        client.run(lambda: sys.modules.update({"classifier_SVM.feature_table.workers": None}))
        with pytest.raises(UserError, match="cannot import this repository.*share that folder"):
            check_workers(client, [])


def test_one_worker_a_host_compiles_before_the_others_start():
    class Client:
        asked = []

        def nthreads(self):
            return {"tcp://10.0.0.1:1": 2, "tcp://10.0.0.1:2": 2, "tcp://10.0.0.2:1": 3}

        def run(self, check, images, version, workers, on_error):
            self.asked.append(workers)
            assert check(images, version) == ""
            return dict.fromkeys(workers or self.nthreads(), "")

    assert check_workers(Client(), []) == 7
    first, then = Client.asked
    assert sorted(worker.rpartition(":")[0] for worker in first) == ["tcp://10.0.0.1", "tcp://10.0.0.2"]
    assert then is None


@pytest.mark.filterwarnings("ignore:`apply_async` is deprecated:DeprecationWarning")  # joblib's own backend calls it
def test_a_single_thread_of_a_cluster_computes_there_and_what_ends_its_work_is_one_line(monkeypatch):
    from distributed import LocalCluster
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    def name_of_thread(number, paths):
        import threading

        return number, threading.current_thread().name

    monkeypatch.setattr("classifier_SVM.feature_table.workers._there", lambda name: name_of_thread)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, processes=False,
                      silence_logs=50) as cluster:
        with dask_client(cluster.scheduler_address) as client:
            rows = dict(run_on_dask([[]] * 5, client))
        assert sorted(rows) == list(range(5)) and all("Dask" in name for name in rows.values())
        for loss in (FutureCancelledError("rows", "scheduler-connection-lost"), CommClosedError("closed")):
            with pytest.raises(UserError, match="connection to '.*' was lost .*what is done is kept"), \
                    dask_client(cluster.scheduler_address):
                raise loss


def test_no_scheduler_and_no_workers_are_one_line(dataset, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr("classifier_SVM.feature_table.workers.SECONDS_TO_CONNECT", 0.5)
    with pytest.raises(SystemExit, match="no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        main(settings(dataset, "none.csv", dask_scheduler="tcp://127.0.0.1:9"))
    for address in ("nonsense", "tcp://host", "tcp:/host:8786"):  # refused at once
        with pytest.raises(UserError, match="no Dask scheduler answers at"), dask_client(address):
            pass
    with LocalCluster(n_workers=0, dashboard_address=None, processes=False) as empty, \
            pytest.raises(SystemExit, match="has no workers; start some with"):
        main(settings(dataset, "none.csv", dask_scheduler=empty.scheduler_address))
