"""One run of a stage: how it ends, what it leaves beside its output, the lock, the progress."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from general_code.progress import progress_bar
from general_code.stage_files import UserError, atomic_write
from general_code.stage_run import read_sidecar, resolve_jobs, stage_main, stage_run

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class UserDefinitions:
    srs_dir: Path = Path("data/SRS")  # input
    number: int = 3  # a number


@pytest.mark.parametrize(("error", "message"), [
    (UserError("what, got"), "test_stage_run: what, got"),
    (FileNotFoundError(2, "No such file or directory", "x.txt"), "test_stage_run: x.txt: No such file or directory")])
def test_a_users_mistake_ends_with_one_line(error, message):
    @stage_main
    def main(user):
        raise error

    with pytest.raises(SystemExit) as caught:
        main(UserDefinitions())
    assert caught.value.code == message  # a text: Python prints it and exits with status 1


def test_a_fault_of_ours_keeps_its_traceback():
    @stage_main
    def main(user):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main(UserDefinitions())


def test_ctrl_c_says_how_to_go_on(capsys):
    @stage_main
    def main(user):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        main(UserDefinitions())
    assert caught.value.code == 130
    assert "Start the same command again" in capsys.readouterr().err


def run_stage(output):
    """Run a stage that leaves two things out."""
    with stage_run(UserDefinitions(), output, inputs=[Path("data/SRS"), Path("")]) as run:
        run.say("Reading")
        run.count("images", np.int64(7))
        run.exclude("b.fits", "NaN pixels", "12\n  of 400")
        run.exclude("a, b.fits", "NaN pixels")
        with atomic_write(output) as file:
            file.write("x\n")


def test_what_a_run_leaves_beside_its_output(tmp_path, capsys):
    output = tmp_path / "new" / "features.csv"
    run_stage(output)
    assert Path(f"{output}.excluded.csv").read_text() == (
        'input,reason,detail\n"a, b.fits",NaN pixels,\nb.fits,NaN pixels,12 of 400\n')
    sidecar = read_sidecar(output)
    assert sidecar["settings"] == {"srs_dir": "data/SRS", "number": 3}
    assert sidecar["counts"] == {"images": 7}
    assert sidecar["excluded"] == {"NaN pixels": 2}
    assert sidecar["script"] == "test_stage_run.py"
    assert set(sidecar["versions"]) >= {"python", "numpy"}
    assert sidecar["start"] <= sidecar["end"]
    assert capsys.readouterr().out.splitlines()[-1].split() == ["2", "NaN", "pixels"]
    assert "Reading" in Path(f"{output}.log").read_text()


def test_nothing_left_out_is_said(tmp_path, capsys):
    with stage_run(UserDefinitions(), tmp_path / "a"):
        pass
    assert capsys.readouterr().out == "Nothing was left out.\n"


def test_a_failed_run_keeps_the_sidecar_of_the_last_good_one_and_logs_why(tmp_path):
    output = tmp_path / "a.csv"
    run_stage(output)
    before = Path(f"{output}.json").read_bytes()
    with pytest.raises(UserError), stage_run(UserDefinitions(), output):
        raise UserError("no such column")
    assert Path(f"{output}.json").read_bytes() == before
    assert "ended by UserError: no such column" in Path(f"{output}.log").read_text()


@pytest.mark.parametrize("name", ["table.csv", "folder/../table.csv"])
def test_an_output_that_is_an_input_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "table.csv").write_text("x")
    with pytest.raises(UserError, match="is an input of this stage"), \
            stage_run(UserDefinitions(), tmp_path / name, inputs=[tmp_path / "table.csv"]):
        pass


@pytest.mark.parametrize("content", [None, "", "{", "[1]"])
def test_no_sidecar_reads_as_none(tmp_path, content):
    if content is not None:
        (tmp_path / "a.csv.json").write_text(content)
    assert read_sidecar(tmp_path / "a.csv") is None


HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
sys.path.insert(0, {repository!r})
from tests.test_stage_run import UserDefinitions
from general_code.stage_run import stage_run
with stage_run(UserDefinitions(), Path({output!r})) as run:
    run.say("held")
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_two_runs_on_one_output_and_the_lock_goes_with_a_killed_process(tmp_path):
    output = tmp_path / "a.csv"
    code = HOLD_THE_LOCK.format(repository=str(REPOSITORY), output=str(output))
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run is writing"), stage_run(UserDefinitions(), output):
            pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    with stage_run(UserDefinitions(), output):
        pass


def test_resolve_jobs():
    assert resolve_jobs(3) == 3
    assert resolve_jobs(-1) >= 1
    for wrong in (0, -2):
        with pytest.raises(UserError, match="n_jobs: expected -1"):
            resolve_jobs(wrong)


def test_progress_without_a_terminal_is_plain_lines(capsys):
    for _ in progress_bar(range(3), description="Reading", unit="files"):
        time.sleep(0.001)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert "\r" not in "".join(lines)
    assert lines[-1].startswith("Reading: 3/3 files, ")
    assert lines[-1].endswith("00:00 left")


def test_progress_that_resumes_starts_where_it_was(capsys):
    with progress_bar(total=10, description="Reading", initial=8) as bar:
        bar.update(2)
    assert "10/10" in capsys.readouterr().err


def test_the_sidecar_is_plain_json(tmp_path):
    run_stage(tmp_path / "a")
    assert json.loads((tmp_path / "a.json").read_text())["git_revision"]


def test_a_failed_run_leaves_its_exclusions(tmp_path, capsys):
    output = tmp_path / "a.csv"
    with pytest.raises(UserError, match="nothing is left"), stage_run(UserDefinitions(), output) as run:
        run.exclude("b.fits", "NaN pixels")
        raise UserError("nothing is left")
    assert Path(f"{output}.excluded.csv").read_text() == "input,reason,detail\nb.fits,NaN pixels,\n"
    assert capsys.readouterr().out.splitlines()[-1].split() == ["1", "NaN", "pixels"]
    assert read_sidecar(output) is None
    with pytest.raises(UserError, match="disk"), stage_run(UserDefinitions(), output):
        raise UserError("the disk is full")
    assert "b.fits" in Path(f"{output}.excluded.csv").read_text(), "a run that left nothing out changes nothing"
    output.write_text("of a complete run")
    with pytest.raises(UserError, match="nothing is left"), stage_run(UserDefinitions(), output) as run:
        run.exclude("c.fits", "NaN pixels")
        raise UserError("nothing is left")
    assert "b.fits" in Path(f"{output}.excluded.csv").read_text(), "it belongs to the output that is there"
    assert "c.fits" in Path(f"{output}.failed.excluded.csv").read_text()


SAY_AND_EXCLUDE = """
import sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from tests.test_stage_run import UserDefinitions
from general_code.stage_run import stage_main, stage_run
@stage_main
def main(user):
    with stage_run(user, Path({output!r})) as run:
        run.say("Reading 9002_\\udcff.fits")
        run.count("9002_\\udcff.fits", 1)
        run.exclude("9002_\\udcff.fits", "not a name", "9002_\\udcff.fits")
main(UserDefinitions(srs_dir=Path("\\udcff")))
"""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_no_encoding_holds_are_spelled_out(tmp_path, encoding):
    output = tmp_path / "a.csv"
    code = SAY_AND_EXCLUDE.format(repository=str(REPOSITORY), output=str(output))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                            env=os.environ | {"PYTHONIOENCODING": encoding})
    assert result.returncode == 0, result.stderr
    assert "Reading 9002_\\udcff.fits" in result.stdout
    assert "Reading 9002_\\udcff.fits" in Path(f"{output}.log").read_text()
    assert "9002_\\udcff.fits,not a name,9002_\\udcff.fits" in Path(f"{output}.excluded.csv").read_text()
    assert read_sidecar(output)["counts"] == {"9002_\udcff.fits": 1}


HOLD_WORKERS = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {repository!r})
from joblib import Parallel, delayed
from general_code.stage_files import atomic_write
from general_code.stage_run import stage_main
from general_code.worker_processes import interrupts_left_to_parent
def work(i):
    Path(str(i)).touch()
    time.sleep(600)
@stage_main
def main(user):
    with atomic_write(Path("half")) as file:
        with interrupts_left_to_parent():
            results = Parallel(n_jobs=2, return_as="generator_unordered")(delayed(work)(i) for i in range(2))
        while not all(Path(str(i)).exists() for i in range(2)):
            time.sleep(0.01)
        print("started", flush=True)
        list(results)
main(None)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM is POSIX")
def test_sigterm_ends_a_run_like_ctrl_c_with_its_workers(tmp_path):
    code = HOLD_WORKERS.format(repository=str(REPOSITORY))
    stage = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             cwd=tmp_path)
    assert stage.stdout.readline() == "started\n"
    stage.terminate()
    _, errors = stage.communicate(timeout=60)  # waits for the end of all that hold the pipes: the workers, too
    assert stage.returncode == 143, errors
    assert "Start the same command again" in errors and "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"], "no half-written file"
