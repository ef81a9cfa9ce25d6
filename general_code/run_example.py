"""Run the whole pipeline, stage by stage, in a folder of its own.

Without `archive`: on a small archive of a simulated Sun, with two regions downloaded from a simulated export
service by the real client. With `archive`: on that folder's `active_regions`, `SRS` and `Events` (or the
.tar.xz of the latter two), without the download. The commands are those that a user types; they are printed as
they run, and work when pasted in the folder that is named first.

Reads
    archive/active_regions, archive/SRS, archive/Events   as the stages do; nothing in them is changed

Writes
    work_dir/data, work_dir/results                       what the stages write

Usage
    python general_code/run_example.py --work-dir results/example
"""

import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from general_code.stage_files import UserError, describe, given, require_folder, require_output
from general_code.stage_run import stage_main


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    work_dir: Path = Path("results/example")  # folder that gets data/ and results/
    archive: Path = Path("")  # folder with active_regions, SRS and Events; "" = simulate one
## End User Definitions


REPOSITORY = Path(__file__).resolve().parents[1]
SIMULATE = "general_code/simulate_archive.py --archive-dir data/simulated_archive --cadence-hours 8"
PARSE_SIMULATED = "general_code/SRS_Parse.py --first-date 20300101"
PARSE = "general_code/SRS_Parse.py"
DOWNLOAD = ("general_code/JSOC_Driver.py --email me@example.edu --base-url {url} --ar-numbers {regions} "
            "--poll-seconds 1")
LABEL_AND_CLASSIFY = [
    "general_code/generate_dataset.py",
    "classifier_SVM/BuildMasterFeatureSet_mp.py",
    "classifier_SVM/AR_Classifier_weighted.py --test-percent 20 --validation-percent 20",
    "classifier_SVM/Contact_Sheet.py",
]
NETWORK_ON_PNG = [  # close to the meridian, to keep the number of images small
    "general_code/generate_dataset.py --image-format png --max-longitude-deg 10 --dataset-dir data/dataset_png "
    "--label-file data/Labels_png.txt",
    "classifier_VGG/Build_keras_dataframe_files.py --label-file data/Labels_png.txt",
    "classifier_VGG/VGG_transfer_learning.py --dataset-dir data/dataset_png --image-format png --weights random",
]
NETWORK_ON_FITS = [
    "classifier_VGG/Build_keras_dataframe_files.py",
    "classifier_VGG/VGG_transfer_learning.py --weights random",
]
COMPARE = ["classifier_SVM/Compare_Forecasts.py --flare-sizes C1.0"]
N_DOWNLOADED = 2
FIGURES = ("dataset_summary", "contact_sheet", "scores", "roc", "reliability", "feature_weights", "training_curves",
           "comparison")


@stage_main
def main(user: UserDefinitions) -> None:
    """Run every stage in order and say where the results lie."""
    start = time.monotonic()
    require_output(user.work_dir / "data" / "ARList.txt")
    print(f"$ cd {user.work_dir}", flush=True)
    if given(user.archive):
        take_archive(require_folder(user.archive, "archive"), user.work_dir / "data", leave_out=())
        run_stages(user.work_dir, [PARSE, *LABEL_AND_CLASSIFY, *NETWORK_ON_FITS, *COMPARE])
    else:
        run_stages(user.work_dir, [SIMULATE])
        archive = user.work_dir / "data" / "simulated_archive"
        downloaded = smallest_regions(archive / "active_regions", N_DOWNLOADED)
        take_archive(archive, user.work_dir / "data", leave_out=downloaded)
        with export_service(archive) as url:
            run_stages(user.work_dir, [PARSE_SIMULATED, DOWNLOAD.format(url=url, regions=" ".join(downloaded))])
        run_stages(user.work_dir, [*LABEL_AND_CLASSIFY, *NETWORK_ON_PNG, *COMPARE])
    print_results(user.work_dir, time.monotonic() - start)


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
        if subprocess.run([sys.executable, REPOSITORY / script, *settings], cwd=work_dir).returncode:
            raise UserError(f"stopped at {script}, which says above why; the same command goes on from there")


# ---------------------------------------------------------------------------- the archive


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
    take_reports(archive, data)
    images = archive / "active_regions"
    if not images.is_dir():
        raise UserError(f"archive: expected the folders active_regions, SRS and Events in '{archive}', active_regions "
                        "is not there")
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


def smallest_regions(folder: Path, n: int) -> tuple[str, ...]:
    """Return the regions with the fewest images.

    Parameters
    ----------
    folder : Path
        Holds a folder a region.
    n : int
        How many.

    Returns
    -------
    tuple of str
        Sorted.
    """
    sizes = sorted((len(list(region.iterdir())), region.name) for region in folder.iterdir())
    return tuple(sorted(name for _, name in sizes[:n]))


@contextmanager
def export_service(archive: Path) -> Iterator[str]:
    """Serve an archive's images as the export service does, on this machine alone.

    Parameters
    ----------
    archive : Path
        Holds `active_regions` and `SRS`.

    Yields
    ------
    str
        The service's address.
    """
    command = [sys.executable, REPOSITORY / "general_code" / "simulate_jsoc.py", "--port", "0",
               "--image-dir", archive / "active_regions", "--srs-dir", archive / "SRS"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = service.stdout.readline()  # says the address once it listens
        if "http://" not in line:
            raise UserError("the simulated export service did not start; see above")
        yield "http://" + line.split("http://")[1].split()[0]
    finally:
        service.terminate()
        service.wait()


# ---------------------------------------------------------------------------- the end


def print_results(work_dir: Path, seconds: float) -> None:
    """Say where results and figures lie.

    Parameters
    ----------
    work_dir : Path
        Where the stages ran.
    seconds : float
        What it took [s].
    """
    print(f"\nThe pipeline ran from region summaries to forecasts in {seconds / 60:.1f} minutes. Its results:")
    for path in sorted(work_dir.rglob("*")):
        if path.suffix == ".png" and path.name.startswith(FIGURES):
            print(f"  {path}")
    for path in sorted(work_dir.glob("results/*/*Stats*.txt")):
        print(f"  {path}")


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
