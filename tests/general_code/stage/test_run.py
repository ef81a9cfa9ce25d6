"""One run of a stage: how it ends, what it leaves beside its output, the lock, the progress."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from general_code.stage.files import UserError, atomic_write
from general_code.stage.run import (
    Settings,
    git_revision,
    interrupts_left_to_parent,
    parallel_results,
    progress_bar,
    read_sidecar,
    require_address_space,
    resolve_jobs,
    stage_main,
    stage_run,
    termination_like_interrupt,
)

REPOSITORY = Path(__file__).resolve().parents[3]


class UserDefinitions(Settings):
    srs_dir: Path = Path("data/SRS")  # input
    number: int = 3  # a number


def fail(error):
    """Run a script that meets an error."""
    @stage_main
    def main(user):
        raise error

    main(UserDefinitions())


@pytest.mark.parametrize(("error", "ending", "said"), [
    (UserError("what, got"), "test_run: what, got", ""),  # a text: Python prints it and exits with status 1
    (FileNotFoundError(2, "No such file or directory", "x.txt"), "test_run: x.txt: No such file or directory", ""),
    (KeyboardInterrupt(), 130, "Start the same command again")])
def test_a_users_mistake_ends_with_one_line_and_ctrl_c_says_how_to_go_on(capsys, error, ending, said):
    with pytest.raises(SystemExit) as caught:
        fail(error)
    assert caught.value.code == ending
    assert said in capsys.readouterr().err


def test_short_memory_is_one_line_and_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(SystemExit, match="not enough memory .Unable to allocate 20 GiB"):
        fail(MemoryError("Unable to allocate 20 GiB"))
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())


def run_stage(output):
    """Run a stage that excludes two images."""
    with stage_run(UserDefinitions(), output, inputs=[Path("data/SRS"), Path("")]) as run:
        run.report("Reading")
        run.count("images", np.int64(7))
        run.exclude("b.fits", "NaN pixels", "12\n  of 400", subject="images")
        run.exclude("a, b.fits", "NaN pixels", subject="images")
        run.exclude("20140101", "summary missing", subject="passes of days")
        with atomic_write(output) as file:
            file.write("x\n")


def test_what_a_run_leaves_beside_its_output(tmp_path, capsys):
    output = tmp_path / "new" / "features.csv"
    run_stage(output)
    assert Path(f"{output}.excluded.csv").read_text() == (
        'input,reason,detail\n20140101,summary missing,\n"a, b.fits",NaN pixels,\nb.fits,NaN pixels,12 of 400\n')
    sidecar = read_sidecar(output)
    assert sidecar["settings"] == {"srs_dir": "data/SRS", "number": 3}
    assert sidecar["counts"] == {"images": 7}
    assert sidecar["excluded"] == {"NaN pixels": 2, "summary missing": 1}
    assert sidecar["script"] == "test_run.py"
    assert set(sidecar["versions"]) >= {"python", "numpy"}
    assert sidecar["start"] <= sidecar["end"] and sidecar["git_revision"]
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"Excluded 2 images, 1 pass of days, listed in {output}.excluded.csv:", "          2  NaN pixels",
        "          1  summary missing"]
    assert "Reading" in Path(f"{output}.log").read_text()


def test_a_run_without_exclusions_says_so(tmp_path, capsys):
    with stage_run(UserDefinitions(), tmp_path / "a"):
        pass
    assert capsys.readouterr().out == "Nothing was excluded.\n"


def test_a_failed_run_keeps_the_sidecar_of_the_last_good_one_and_logs_why(tmp_path):
    output = tmp_path / "a.csv"
    run_stage(output)
    before = Path(f"{output}.json").read_bytes()
    with pytest.raises(UserError), stage_run(UserDefinitions(), output):
        raise UserError("no such column")
    assert Path(f"{output}.json").read_bytes() == before
    assert "ended by UserError: no such column" in Path(f"{output}.log").read_text()


@pytest.mark.parametrize(("name", "message"), [
    *((name, "is an input of this stage") for name in ("table.csv", "folder/../table.csv")),
    ("loop", "loop' cannot be written: expected a file or nothing yet, found a link")])
def test_an_output_that_is_an_input_or_a_circle_of_links_is_refused(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "table.csv").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=message), \
            stage_run(UserDefinitions(), tmp_path / name, inputs=[tmp_path / "table.csv", tmp_path / "loop" / "a"]):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"settings": {}, "counts": 3}',
                                     b"9" * 5000, b"null", b'{"settings": {"label_file": 1}}',
                                     b'{"counts": {"image_pixels": 3}}', b'{"counts": {"flare_sources": {"a": []}}}'])
def test_a_damaged_sidecar_is_not_used_and_reported(tmp_path, content, capsys):
    (tmp_path / "a.csv.json").write_bytes(content)
    assert read_sidecar(tmp_path / "a.csv") is None
    assert "a.csv.json' is damaged and not used" in capsys.readouterr().err


def test_what_is_not_a_regular_file_is_no_sidecar(tmp_path, capsys):
    os.mkfifo(tmp_path / "a.csv.json")
    assert read_sidecar(tmp_path / "a.csv") is None
    assert "not used (it is not a regular file)" in capsys.readouterr().err


def test_too_small_an_address_space_ends_in_one_line(tmp_path, monkeypatch):
    for limit, needed, message in ((999_999_999, 0, "0.99 GB.* 1.00 GB"), (1_809_999_999, 1.811e9, "1.80 .* 1.82 GB")):
        monkeypatch.setattr("resource.getrlimit", lambda kind, limit=limit: (limit, -1))
        with pytest.raises(SystemExit, match=rf"limited to {message}; raise the limit"):
            stage_main(lambda user, needed=needed: require_address_space(needed))(UserDefinitions())
    monkeypatch.setattr("resource.getrlimit", lambda kind: (-1, -1))
    stage_main(lambda user: None)(UserDefinitions())


def test_no_sidecar_is_no_warning_nor_is_what_was_not_noted(tmp_path, capsys):
    assert read_sidecar(tmp_path / "a.csv") is None
    (tmp_path / "b.csv.json").write_text('{"settings": {"label_file": null}, "counts": null, "script": "x"}')
    assert read_sidecar(tmp_path / "b.csv") == {"settings": {}, "counts": {}, "script": "x"}
    assert capsys.readouterr().err == ""


STAGE = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(REPOSITORY)!r})
from general_code.stage.files import atomic_write
from general_code.stage.run import interrupts_left_to_parent, stage_main, stage_run
from tests.general_code.stage.test_run import UserDefinitions
"""


def start(code, *arguments, **options):
    """Start Python on code of a stage."""
    return subprocess.Popen([sys.executable, "-c", STAGE + code, *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


HOLD_THE_LOCK = """
with stage_run(UserDefinitions(), Path(sys.argv[1])) as run:
    run.report("held")
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_two_runs_on_one_output_and_the_lock_goes_with_a_killed_process(tmp_path):
    output = tmp_path / "a.csv"
    other = start(HOLD_THE_LOCK, output)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another run is writing"), stage_run(UserDefinitions(), output):
            pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    with stage_run(UserDefinitions(), output):
        pass


def test_resolve_jobs(monkeypatch):
    assert resolve_jobs(3) == 3
    assert 1 <= resolve_jobs(-1) <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # as a batch system sets it
    assert resolve_jobs(-1) == 1


def test_progress_without_a_terminal_is_plain_lines(capsys):
    for _ in progress_bar(range(3), description="Reading", unit="files"):
        time.sleep(0.001)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert "\r" not in "".join(lines)
    assert lines[-1].startswith("Reading: 3/3 files, ")
    assert lines[-1].endswith("00:00 left")
    with progress_bar(total=10, description="Reading", initial=8) as bar:
        bar.update(2)
    assert "10/10" in capsys.readouterr().err, "what resumes starts where it was"
    progress_bar(total=0, description="Reading").close()
    assert capsys.readouterr().err == "", "nothing is said where nothing is done"
    with progress_bar(total=2, description="Reading") as bar:
        bar.update(2)
        bar.refresh()
    assert capsys.readouterr().err.count("2/2") == 1, "the last line is not repeated"


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
@stage_main
def main(user):
    with stage_run(user, Path(sys.argv[1])) as run:
        run.report("Reading 9002_\\udcff.fits")
        run.count("9002_\\udcff.fits", 1)
        run.exclude("9002_\\udcff.fits", "not a name", "9002_\\udcff.fits")
main(UserDefinitions(srs_dir=Path("\\udcff")))
"""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_no_encoding_holds_are_spelled_out(tmp_path, encoding):
    output = tmp_path / "a.csv"
    stage = start(SAY_AND_EXCLUDE, output, env=os.environ | {"PYTHONIOENCODING": encoding})
    said, errors = stage.communicate()
    assert stage.returncode == 0, errors
    assert "Reading 9002_\\udcff.fits" in said
    assert "Reading 9002_\\udcff.fits" in Path(f"{output}.log").read_text()
    assert "9002_\\udcff.fits,not a name,9002_\\udcff.fits" in Path(f"{output}.excluded.csv").read_text()
    assert read_sidecar(output)["counts"] == {"9002_\udcff.fits": 1}


HOLD_WORKERS = """
from joblib import Parallel, delayed
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
    stage = start(HOLD_WORKERS, cwd=tmp_path)
    assert stage.stdout.readline() == "started\n"
    stage.terminate()
    _, errors = stage.communicate(timeout=60)  # waits for the end of all that hold the pipes: the workers, too
    assert stage.returncode == 143, errors
    assert "Start the same command again" in errors and "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"], "no half-written file"


# ---- signals

@pytest.mark.skipif(os.name != "posix", reason="signals are inherited on POSIX")
def test_children_started_inside_ignore_the_signal_and_others_do_not():
    ask = [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"]
    with interrupts_left_to_parent():
        inside = subprocess.check_output(ask, text=True)
    assert (inside, subprocess.check_output(ask, text=True)) == ("True\n", "False\n")


def test_the_parent_heeds_it_again_after_the_block_also_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="x"), interrupts_left_to_parent():
        raise ValueError("x")
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_changed():
    def look():
        with interrupts_left_to_parent():
            return signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor() as pool:
        assert pool.submit(look).result() is signal.getsignal(signal.SIGINT)


@pytest.mark.skipif(os.name != "posix", reason="SIGHUP is POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_kill_or_a_closed_terminal_interrupts_once_and_the_handler_of_before_is_back(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as interrupt, termination_like_interrupt():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # does not disturb what is put in order now
    assert interrupt.value.args == (number,)
    assert signal.getsignal(number) is before


# ---- machines as people have them

@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_without_locks_is_warned_of_once_and_used(tmp_path, monkeypatch, capsys, error):
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(error, os.strerror(error))))
    for name in ("a.csv", "b.csv"):
        run_stage(tmp_path / name)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "cannot be locked" in line]
    assert len(warnings) == 1
    assert read_sidecar(tmp_path / "b.csv")["counts"] == {"images": 7}


def test_no_control_character_reaches_terminal_log_or_error(tmp_path, capsys):
    with stage_run(UserDefinitions(), tmp_path / "a") as run:
        run.report("server says \x1b[2J\x07\u202e ü\tend\nsecond line")
    expected = "server says \\x1b[2J\\x07\\u202e ü\tend"
    assert capsys.readouterr().out.splitlines()[:2] == [expected, "second line"]
    assert expected in (tmp_path / "a.log").read_text()


def test_the_revision_is_found_in_a_checkout_of_another_user(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for this test
    monkeypatch.setenv("GIT_DIR", str(tmp_path))  # as in a commit hook
    known = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True,
                           env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")})
    if known.returncode:
        pytest.skip("not a git checkout")
    assert git_revision().rstrip("+") == known.stdout.strip()


@pytest.mark.parametrize("jobs", [1, 2])
def test_work_in_processes_comes_back(jobs):
    assert sorted(parallel_results(divmod, ((n, 3) for n in range(9)), jobs)) == [divmod(n, 3) for n in range(9)]


def test_a_killed_worker_process_is_one_line():
    with pytest.raises(UserError, match="a worker process was killed, .*start the same command again"):
        list(parallel_results(os._exit, [(1,), (1,)], 2))
