"""A folder in which the stages run: the commands, printed as a user types them, and the archive they start from."""

import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from general_code.stage.files import UserError, atomic_path, atomic_write, describe, require_output
from general_code.stage.run import REPOSITORY, interrupts_left_to_parent

YEARLY = {"SRS": "_srs.tar.gz", "Events": "_events.tar.gz"}  # ends of the names of NOAA's packed years
PACKED = (".tar.xz", ".tar.gz", ".tgz", ".tar")


class WorkFolder:
    """A folder in which the stages run; what is done there is printed before, as commands that work when pasted.

    The folder at `path` is made; UserError when it cannot be written. `archive`, the archive's folder or a word for a
    simulated one, is noted in `archive.txt`: UserError for a folder that holds the data of another.
    """

    def __init__(self, path: Path, archive: str) -> None:
        self.path = path
        data, note = path / "data", path / "archive.txt"
        self.show(f"mkdir -p {shlex.quote(str(data))} && cd {shlex.quote(str(path))}")
        require_output(data / "ARList.txt")
        coding = {"encoding": "utf-8", "errors": "surrogateescape"}  # a path need not be UTF-8
        earlier = note.read_text(**coding).rstrip("\n") if note.is_file() else "an archive that is not noted"
        if earlier != archive and any(data.iterdir()):
            raise UserError(f"work_dir: '{path}' holds data and results of {earlier}, not of {archive}; name another "
                            "work_dir, or remove that one")
        with atomic_write(note, **coding) as file:
            file.write(f"{archive}\n")

    def show(self, command: str) -> None:
        """Print a command for a shell."""
        print(f"\n$ {command}", flush=True)

    def show_script(self, command: str, end: str = "") -> None:
        """Print the command that starts a script of the repository, like `python ../../general_code/SRS_Parse.py`."""
        script, *settings = command.split(" ", 1)
        path = Path(os.path.relpath(REPOSITORY, self.path.resolve()), script).as_posix()
        self.show(" ".join(["python", shlex.quote(path), *settings]) + end)

    def run(self, commands: Sequence[str]) -> None:
        """Run scripts, given relative to the repository with their settings; UserError at the first that fails."""
        for command in commands:
            self.show_script(command)
            with self.started(command) as stage:
                status = stage.wait()
            if status:
                raise UserError(f"stopped at {command.split()[0]}, which says above why; once that is fixed, the same "
                                "command continues from there")

    @contextmanager
    def started(self, command: str, stdout: int | None = None) -> Iterator[subprocess.Popen]:
        """Start a script for the length of the block; it is ended if it still runs then, also after Ctrl-C."""
        script, *settings = shlex.split(command)
        process = None
        try:
            with interrupts_left_to_parent():
                process = subprocess.Popen([sys.executable, REPOSITORY / script, *settings], cwd=self.path,
                                           stdout=stdout, text=True)
            yield process
        finally:
            if process is not None:
                with process:  # waits for its end and closes its pipe
                    if process.poll() is None:
                        process.terminate()  # it ends its own workers and reports that

    def copy(self, folder: Path, names: Sequence[str], target: str = "data", shown: str = "") -> None:
        """Copy files and folders as `cp -rn` does, but as hard links where possible: what is there already stays.

        `shown`, if given, stands for them in the printed command, as a pattern does.
        """
        make = "" if target == "data" else f"mkdir -p {target} && "
        self.show(f"{make}cp -rn {shown or shlex.join(str(folder / name) for name in names)} {target}")
        for source in (self.path / folder / name for name in names):
            inside = (Path(place, file) for place, _, files in os.walk(source, followlinks=True) for file in files)
            for path in [source] if source.is_file() else inside:
                _copy_file(path, self.path / target / path.relative_to(source.parent))

    def copy_archive(self, archive: Path, names: Sequence[str]) -> None:
        """Copy NOAA's reports to `data/SRS` and `data/Events`, and other files and folders of an archive to `data`.

        Reports are folders of these names, or yearly `YYYY_SRS.tar.gz` and `YYYY_events.tar.gz`, which the stages read
        as they are, or one packed file with both folders (the last by name), which is unpacked. UserError before
        anything is copied when a part is missing.
        """
        reports = {name: _find_reports(archive, name) for name in ("SRS", "Events")}
        for name in names:
            if not (archive / name).exists():
                raise _missing(archive, name)
        for name, found in reports.items():
            if found == [name]:
                self.copy(archive, found)
            elif found[0].lower().endswith(YEARLY[name]):
                self.copy(archive, found, f"data/{name}")
            else:
                self._unpack(archive / found[0], name)
        if names:
            self.copy(archive, names)

    def _unpack(self, packed: Path, name: str) -> None:
        """Unpack the files of an archive's folder that are not there yet."""
        self.show(f"tar -xkf {shlex.quote(str(packed))} -C data {name}")
        data = self.path / "data"
        try:
            with tarfile.open(packed) as tar:
                members = [member for member in tar if Path(member.name).parts[:1] == (name,)]
                tar.extractall(data, members, filter=_missing_only)
        except (tarfile.TarError, EOFError, lzma.LZMAError) as error:
            raise UserError(f"archive: '{packed}' cannot be unpacked ({describe(error)}); get it again") from None
        if not members:
            raise UserError(f"archive: expected a folder {name} in '{packed}', found none; unpack it, and name the "
                            "folder that holds SRS and Events")


def _find_reports(archive: Path, name: str) -> list[str]:
    """Return what in an archive holds its reports: the folder, the files of years, or one packed file."""
    if (archive / name).is_dir():
        return [name]
    files = sorted(path.name for path in archive.iterdir() if path.is_file())
    years = [file for file in files if file.lower().endswith(YEARLY[name])]
    packed = [file for file in files if file.lower().endswith(PACKED)
              and not file.lower().endswith(tuple(YEARLY.values()))]
    if not years and not packed:
        raise _missing(archive, name)
    return years or packed[-1:]  # of several, the latest by name, like that of 2010-2023


def _missing(folder: Path, name: str) -> UserError:
    """Return the error for an archive without one of its parts, which may lie one folder deeper."""
    deeper = next((path for path in sorted(folder.glob("*/")) if (path / name).exists()), None)
    if deeper:
        advice = f"it is in '{deeper}': name that folder"
    elif name in YEARLY:
        advice = "NOAA's reports are at ftp://ftp.swpc.noaa.gov/pub/warehouse; yearly .tar.gz or one .tar.xz will do"
    else:
        advice = f"name the folder that holds {name}, SRS and Events"
    return UserError(f"archive: expected {name} in '{folder}', found nothing; {advice}")


def _copy_file(source: Path, target: Path) -> None:
    """Hard-link a file, copy it where that cannot be; a file that is there already stays."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _missing_only(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Return a member of an archive to unpack, None for one that is there whole."""
    target = Path(folder) / member.name
    if member.isfile() and target.is_file() and target.stat().st_size == member.size:
        return None
    return tarfile.data_filter(member, folder)
