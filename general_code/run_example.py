"""Run the whole pipeline, stage by stage, in a folder of its own.

Without `archive`: on a small archive of a simulated Sun, with two regions downloaded from a simulated export
service by the real client. With `archive`: on that folder's `active_regions`, `SRS` and `Events` (or the
.tar.xz of the latter two), without the download. The commands are those that a user types; they are printed as
they run, and work when pasted in the folder that is named first.

Reads
    archive/active_regions, archive/SRS, archive/Events   as the stages do; nothing in them is changed

Writes
    work_dir/data, work_dir/results                       what the stages write
    work_dir/archive.txt                                  the archive that they started from

Usage
    python general_code/run_example.py --work-dir results/example
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from general_code.provenance import REPOSITORY
from general_code.stage_files import OptionalPath, UserError, given, require_folder, require_output
from general_code.stage_run import stage_main
from general_code.work_folder import claim_work_dir, run_stages, take_archive


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    work_dir: Path = Path("results/example")  # folder that gets data/ and results/
    archive: OptionalPath = Path("")  # folder with active_regions, SRS and Events; "" = simulate one
## End User Definitions


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
SAME_SPLIT = ("--test-ar-list results/SVM/List_of_AR_in_Test_Data_by_AR.csv "
              "--validation-ar-list results/SVM/List_of_AR_in_Validation_data_by_AR.csv")
EXTRA = "--extra-feature-file results/activity_features.csv"
WITH_ACTIVITY = [
    "classifier_SVM/BuildActivityFeatures.py",
    f"classifier_SVM/AR_Classifier_weighted.py --feature-file \"\" {EXTRA} --suffix _activity {SAME_SPLIT}",
    f"classifier_SVM/AR_Classifier_weighted.py {EXTRA} --suffix _both {SAME_SPLIT}",
]
COMPARE = ["classifier_SVM/Compare_Forecasts.py --flare-sizes C1.0 --predictions "
           "\"image features=results/SVM/predictions_linear.csv\" "
           "\"activity features=results/SVM/predictions_linear_activity.csv\" "
           "\"both=results/SVM/predictions_linear_both.csv\""]
N_DOWNLOADED = 2
SIMULATED = "a simulated archive"
FIGURES = ("dataset_summary", "contact_sheet", "scores", "roc", "reliability", "feature_weights", "training_curves",
           "comparison")


@stage_main
def main(user: UserDefinitions) -> None:
    """Run every stage in order and say where the results lie."""
    start = time.monotonic()
    require_output(user.work_dir / "data" / "ARList.txt")
    print(f"$ cd {user.work_dir}", flush=True)
    if given(user.archive):
        claim_work_dir(user.work_dir, str(require_folder(user.archive, "archive").resolve()))
        take_archive(user.archive, user.work_dir / "data", leave_out=())
        run_stages(user.work_dir, [PARSE, *LABEL_AND_CLASSIFY, *NETWORK_ON_FITS, *WITH_ACTIVITY, *COMPARE])
    else:
        claim_work_dir(user.work_dir, SIMULATED)
        run_stages(user.work_dir, [SIMULATE])
        archive = user.work_dir / "data" / "simulated_archive"
        downloaded = smallest_regions(archive / "active_regions", N_DOWNLOADED)
        take_archive(archive, user.work_dir / "data", leave_out=downloaded)
        with export_service(archive) as url:
            run_stages(user.work_dir, [PARSE_SIMULATED, DOWNLOAD.format(url=url, regions=" ".join(downloaded))])
        run_stages(user.work_dir, [*LABEL_AND_CLASSIFY, *NETWORK_ON_PNG, *WITH_ACTIVITY, *COMPARE])
    print_results(user.work_dir, time.monotonic() - start)


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
