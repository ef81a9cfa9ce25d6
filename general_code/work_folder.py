"""A folder in which the stages run: the commands, and the archive whose reports and images they find there."""

import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from general_code.provenance import REPOSITORY
from general_code.stage_files import UserError, atomic_write, describe
from general_code.worker_processes import interrupts_left_to_parent


def run_stages(work_dir: Path, commands: list[str]) -> None:
    """Run commands in a folder, each printed first; stop at the first that fails.

    Parameters
    ----------
    work_dir : Path
        Where they start.
    commands : list of str
        Script, relative to the repository, and settings.

    Raises
    ------
    UserError
        Names the command that failed; it has said why itself.
    """
    up = Path(os.path.relpath(REPOSITORY, work_dir.resolve())).as_posix()
    for command in commands:
        print(f"\n$ python {up}/{command}", flush=True)
        script, *settings = shlex.split(command)
        stage = None
        try:
            with interrupts_left_to_parent():
                stage = subprocess.Popen([sys.executable, REPOSITORY / script, *settings], cwd=work_dir)
            status = stage.wait()
        except KeyboardInterrupt:
            if stage is not None:
                stage.terminate()  # it ends its own workers and says so
                stage.wait()
            raise
        if status:
            raise UserError(f"stopped at {script}, which says above why; the same command goes on from there")


# ---------------------------------------------------------------------------- the archive


def claim_work_dir(work_dir: Path, archive: str) -> None:
    """Note the archive of a folder, so that two of them are not mixed in it.

    Parameters
    ----------
    work_dir : Path
        Where the stages run.
    archive : str
        The folder of the archive, or `SIMULATED`.

    Raises
    ------
    UserError
        When the folder holds another archive's data.
    """
    note, data = work_dir / "archive.txt", work_dir / "data"
    earlier = note.read_text(encoding="utf-8").strip() if note.is_file() else "an archive that is not noted"
    if earlier != archive and data.is_dir() and any(data.iterdir()):
        raise UserError(f"work_dir: '{work_dir}' holds data and results of {earlier}, not of {archive}; name another "
                        "work_dir, or remove that one")
    with atomic_write(note) as file:
        file.write(f"{archive}\n")


def take_archive(archive: Path, data: Path, leave_out: tuple[str, ...]) -> None:
    """Put an archive's reports and images where the stages look for them.

    Parameters
    ----------
    archive : Path
        Holds `active_regions`, and `SRS` and `Events` or one .tar.xz with both.
    data : Path
        Gets them, as hard links where the file system can.
    leave_out : tuple of str
        Regions whose images are not taken.

    Raises
    ------
    UserError
        When a part is missing.
    """
    images = archive / "active_regions"
    if not images.is_dir():
        raise UserError(f"archive: expected the folders active_regions, SRS and Events in '{archive}', active_regions "
                        "is not there")
    take_reports(archive, data)
    for folder in sorted(images.iterdir()):
        if folder.is_dir() and folder.name not in leave_out:
            shutil.copytree(folder, data / "active_regions" / folder.name, copy_function=take_file, dirs_exist_ok=True)


def take_reports(archive: Path, data: Path) -> None:
    """Put NOAA's reports where the stages look for them; what is there already stays.

    Parameters
    ----------
    archive : Path
        Holds `SRS` and `Events`, or one .tar.xz with both.
    data : Path
        Gets them, as hard links where the file system can.

    Raises
    ------
    UserError
        When a part is missing, or the .tar.xz is none.
    """
    packed = sorted(archive.glob("*.tar.xz"))
    if packed and not (archive / "SRS").is_dir():
        try:
            with tarfile.open(packed[0]) as tar:
                tar.extractall(data, filter=_missing_only)
        except (tarfile.TarError, EOFError, lzma.LZMAError) as error:
            raise UserError(f"archive: '{packed[0]}' cannot be unpacked ({describe(error)}); get it again") from None
    for name in ("SRS", "Events"):
        if (archive / name).is_dir():
            shutil.copytree(archive / name, data / name, copy_function=take_file, dirs_exist_ok=True)
        elif not packed or not (data / name).is_dir():
            raise UserError(f"archive: expected the folders SRS and Events, or a .tar.xz of both, in '{archive}'; "
                            f"{name} is not there. NOAA's archive is ftp://ftp.swpc.noaa.gov/pub/warehouse")


def take_file(source: Path, target: Path) -> None:
    """Hard-link a file, copy it where that cannot be; a file that is there already stays.

    Parameters
    ----------
    source : Path
        An existing file.
    target : Path
        Its folder exists.
    """
    if Path(target).exists():
        return
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _missing_only(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Return a member of an archive to unpack, None for one that is there whole."""
    target = Path(folder) / member.name
    if member.isfile() and target.is_file() and target.stat().st_size == member.size:
        return None
    return tarfile.data_filter(member, folder)
