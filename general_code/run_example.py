"""Run the whole pipeline, stage by stage, in a folder of its own.

Without `archive`: on a small archive of a simulated Sun, with two regions downloaded from a simulated export
service by the real client. With `archive`: on that folder's `active_regions`, `SRS` and `Events` (or packed
reports), without the download. Each step is printed as a command before it runs; pasted in the same order, the
commands do the same.

Reads
    archive/active_regions, archive/SRS, archive/Events   as the stages do; nothing in them is changed
                                                          (SRS and Events also as yearly .tar.gz or one .tar.xz)

Writes
    work_dir/data, work_dir/results                       what the stages write
    work_dir/archive.txt                                  the archive that they started from

Usage
    python general_code/run_example.py --work-dir results/example
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from general_code.stage.files import UserError, is_set, require_folder
from general_code.stage.run import OptionalPath, Settings, command_line, stage_main
from general_code.stage.work_folder import WorkFolder


## User Definitions
class UserDefinitions(Settings):
    work_dir: Path = "results/example"  # folder that gets data/ and results/
    archive: OptionalPath = ""  # folder with active_regions, SRS and Events; "" = simulate one
## End User Definitions


# few images, but of enough regions for probabilities and intervals: six of each class in a split
SIMULATE = "general_code/simulate_archive.py --archive-dir data/simulated_archive --n-regions 36 --cadence-hours 12"
DOWNLOADED = ("9035", "9036")  # the last two of the 36 regions from 9001 on
OTHERS = "data/simulated_archive/active_regions/90{0?,1?,2?,3[0-4]}"  # for a shell
SERVE = ("general_code/simulate_jsoc.py --image-dir data/simulated_archive/active_regions "
         "--srs-dir data/simulated_archive/SRS --port {port}")
PARSE_SIMULATED = "general_code/SRS_Parse.py --first-date 20300101"
PARSE = "general_code/SRS_Parse.py"
DOWNLOAD = ("general_code/JSOC_Driver.py --email me@example.edu --base-url {url} "
            f"--ar-numbers {' '.join(DOWNLOADED)} --poll-seconds 1")
LABEL_AND_CLASSIFY = [
    "general_code/generate_dataset.py",
    "classifier_SVM/BuildMasterFeatureSet_mp.py",
    "classifier_SVM/AR_Classifier_weighted.py --test-percent 33 --validation-percent 33",
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
EXTRA = "--extra-feature-file results/activity_features.csv"
WITH_ACTIVITY = [
    "classifier_SVM/BuildActivityFeatures.py",
    f"classifier_SVM/AR_Classifier_weighted.py --feature-file \"\" {EXTRA} --suffix _activity",
    f"classifier_SVM/AR_Classifier_weighted.py {EXTRA} --suffix _both",
    "classifier_SVM/Compare_Forecasts.py --flare-sizes C1.0 --predictions "
    "\"image features=results/SVM/predictions_linear.csv\" "
    "\"activity features=results/SVM/predictions_linear_activity.csv\" "
    "\"both=results/SVM/predictions_linear_both.csv\"",
]
REPORT = "general_code/Report.py"
STATISTICS = "results/SVM/ARClassifierStats_weighted_trainvaltest_linear{}.json"
INPUTS = {"image features": "", "activity features": "_activity", "both": "_both"}  # with the suffix of their files
FIGURES = ("dataset_summary", "contact_sheet", "scores", "roc", "reliability", "feature_weights", "training_curves",
           "comparison")


@stage_main
def main(user: UserDefinitions) -> None:
    """Run every stage in order and report where the results are."""
    start = time.monotonic()
    if is_set(user.archive):
        archive = require_folder(user.archive, "archive").resolve()
        folder = WorkFolder(user.work_dir, str(archive))
        folder.copy_archive(archive, ["active_regions"])
        folder.run([PARSE, *LABEL_AND_CLASSIFY, *NETWORK_ON_FITS, *WITH_ACTIVITY, REPORT])
    else:
        folder = WorkFolder(user.work_dir, "a simulated archive")
        folder.run([SIMULATE])
        copy_simulated_archive(folder)
        with export_service(folder) as url:
            folder.run([PARSE_SIMULATED, DOWNLOAD.format(url=url)])
        folder.run([*LABEL_AND_CLASSIFY, *NETWORK_ON_PNG, *WITH_ACTIVITY, REPORT])
    print_results(user.work_dir, time.monotonic() - start, simulated=not is_set(user.archive))


def copy_simulated_archive(folder: WorkFolder) -> None:
    """Put the simulated reports, and the images but for those to download, where the stages look for them."""
    archive = Path("data/simulated_archive")
    folder.copy(archive, ["SRS", "Events"])
    images = folder.path / archive / "active_regions"
    others = sorted(path.name for path in images.iterdir() if path.name not in DOWNLOADED)
    folder.copy(archive / "active_regions", others, "data/active_regions", shown=OTHERS)


@contextmanager
def export_service(folder: WorkFolder) -> Iterator[str]:
    """Serve the simulated images as the export service does, on this machine alone; yield the service's address."""
    with folder.started(SERVE.format(port=0), stdout=subprocess.PIPE) as service:
        line = service.stdout.readline()  # names the address once it listens
        if "http://" not in line:
            raise UserError("the simulated export service did not start; see above")
        url = "http://" + line.split("http://")[1].split()[0]
        folder.show_script(SERVE.format(port=url.rpartition(":")[2]), end=" &")
        print(line, end="", flush=True)
        yield url
        folder.show("kill $!")


def print_results(work_dir: Path, seconds: float, simulated: bool) -> None:
    """Print where results and figures are, and what they mean."""
    print("\nEach step above is a command, shown after a $: pasted in the same order, with .venv activated, these\n"
          "commands do the same.")
    print(f"\nThe pipeline ran from region summaries to forecasts in {seconds / 60:.1f} minutes. Its results:")
    figures = [path for path in work_dir.rglob("*.png") if path.name.startswith(FIGURES)]
    for path in [*sorted(figures), *sorted(work_dir.glob("results/*/*Stats*.txt"))]:
        print(f"  {path}")
    print("\nWhat they mean:")
    if simulated:
        print("- The Sun of this run is simulated: the scores show that the pipeline works, not how well flares can be "
              "forecast.")
    tests = {inputs: json.loads(path.read_text(encoding="utf-8"))["splits"]["test"] for inputs, suffix in INPUTS.items()
             if (path := work_dir / STATISTICS.format(suffix)).is_file()}
    if tests:
        print(f"- {comparison_with_rules(tests)}")
    print("- VGG16 ran with random weights, to keep this short: its scores mean nothing.\n"
          f"All of it on one page, for a browser: {work_dir / 'results' / 'report.html'}")


def comparison_with_rules(tests: dict[str, dict[str, Any]]) -> str:
    """Say in a sentence how the SVMs and the best rule do on the test images, of which the statistics are given."""
    skill = {inputs: next(iter(test["forecasts"].values()))["TSS"] for inputs, test in tests.items()}
    first = next(iter(tests.values()))
    rules = {name: row["TSS"] for name, row in first["forecasts"].items() if name in first["differences"]
             and isinstance(row, dict)}
    rule = max(rules, key=rules.__getitem__)
    lowest = {inputs: test["differences"][rule]["intervals"]["TSS"][0] for inputs, test in tests.items()}
    better = [inputs for inputs, low in lowest.items() if isinstance(low, float) and low > 0]
    end = f"{' and '.join(better) or 'none'} significantly above it"
    if not any(isinstance(low, float) for low in lowest.values()):
        end = f"{first['regions']} regions are too few to tell which is better"
    return ("TSS of the linear SVM on the test images: "
            + ", ".join(f"{value:.3f} from {inputs}" for inputs, value in skill.items())
            + f"; the best simple rule, {rule}, reaches {rules[rule]:.3f}; {end}.")


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
