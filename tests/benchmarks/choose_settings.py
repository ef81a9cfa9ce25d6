"""Choose the settings of the archive experiment by cross-validation over regions; the test regions are not read.

The training and validation regions of the published split are drawn into folds; each fold is forecast by classifiers
that were trained on the other folds (scaling and all), and calibrated (Platt) on the other folds' own such forecasts.
The scores are those of all forecasts together: Brier skill against the frequency of the other folds, and TSS of the
classifier's decision at 0. Costs are those of a training with 876,000 rows; with fewer rows each weighs more.

Chosen by the Brier skill at both sizes, as it rates the whole forecast and depends on no threshold; settings that
differ by less than .003 are taken as alike. Brier skill for >= C1.0 and >= M1.0:
    every 4 h     linear SVM, C 1.5e-5 .325 .262, 5e-5 .328 .262, 1.5e-4 .327 .259
                  logistic regression, C 9e-5 .332 .260, 3e-4 .334 .263, 9e-4 .334 .263; boosting .330 .244
    every 12 h    boosting .326 .259; max_iter 75 .320 .253, 300 .325 .240; learning_rate 0.015 .319 .256,
                  0.06 .324 .240; max_depth 2 .323 .254, 4 .326 .256; max_features 0.1 .327 .260, 0.5 .323 .257;
                  ROWS_A_LEAF 40 .326 .256, 400 .326 .257
                  logistic regression .332 .278, its mean with boosting .331 .275
So linear SVM 5e-5, logistic regression 3e-4, boosting as it stands, for which no change helps; the mean is not used.

Usage
    python general_code/archive_experiment.py --archive DIR     (its stages up to the activity features are enough)
    python tests/benchmarks/choose_settings.py --work-dir results/archive_experiment    (--hours 12: a quick look)
"""

import os

if __name__ == "__main__":  # several threads gain little with so few rows, and lose much where the cores are busy
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))  # repository root

from classifier_SVM.FeaturesetTools import fit_scaling
from classifier_SVM.training import classifiers
from general_code.archive_experiment import COSTS, LISTS, PUBLISHED
from general_code.evaluation.scores import fit_calibration, skill_scores
from general_code.evaluation.splits import read_region_list
from general_code.images.label_file import read_label_file
from general_code.images.names import image_stems
from general_code.noaa.flares import peak_flux, peak_fluxes

EXPERIMENT_ROWS = 876_000  # training rows of 12 minutes, for which COSTS are
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the costs
BOOSTING = {"max_iter": (75, 300), "learning_rate": (0.015, 0.06), "max_depth": (2, 4), "max_features": (0.1, 0.5),
            "ROWS_A_LEAF": (40, 400)}  # tried one at a time around their values
LIST_NAMES = LISTS[:2]  # of the training and the validation regions


def read_rows(work_dir: Path, hours: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, peak flux of the largest flare and region of the stamps every so many hours; no test region."""
    import pyarrow
    from pyarrow import compute, csv

    chosen = pyarrow.array([region for name in LIST_NAMES for region in read_region_list(work_dir / "data" / name)])
    clocks = pyarrow.array([f"{hour:02}0000" for hour in range(0, 24, hours)])
    path, blocks = work_dir / "results" / "activity_features.csv", []
    with path.open() as file:
        columns = dict.fromkeys(file.readline().rstrip("\n").split(","), pyarrow.float32()) | {
            "filename": pyarrow.string()}
    with csv.open_csv(path, convert_options=csv.ConvertOptions(column_types=columns)) as reader:
        for batch in reader:  # NNNN_hmi.M_720s.YYYYMMDD_HHMMSS_TAI...
            region, clock = (compute.utf8_slice_codeunits(batch["filename"], *place) for place in ((0, 4), (25, 31)))
            blocks.append(batch.filter(compute.and_(compute.is_in(region, chosen), compute.is_in(clock, clocks))))
    table = pyarrow.Table.from_batches(blocks).to_pandas()
    labels, _ = read_label_file(work_dir / "data" / "Labels.txt")
    classes = pd.Series(labels["class"].to_numpy(), index=image_stems(labels["filename"]))
    flux = peak_fluxes(classes.reindex(image_stems(table["filename"])).to_numpy())
    return table.drop(columns="filename").to_numpy(float), flux, table["filename"].str[:4].to_numpy()


def folds_of(regions: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Return the fold of each row; the rows of a region have one."""
    codes, names = pd.factorize(regions, sort=True)
    return (np.random.default_rng(seed).permutation(len(names)) % number)[codes]


def out_of_fold(values: np.ndarray, classes: np.ndarray, folds: np.ndarray, class_type: str, cost: float) -> np.ndarray:
    """Return the decision value of each row from a classifier that was trained on the other folds."""
    scores = np.empty(len(values))
    for fold in np.unique(folds):
        training = folds != fold
        scaling = fit_scaling(values[training])
        weight, rows = cost * EXPERIMENT_ROWS / training.sum(), scaling.apply(values[training])
        estimator = classifiers.fit_classifier(class_type, rows, classes[training], weight, 0)
        scores[~training] = classifiers.decision_values(estimator, scaling.apply(values[~training]))
    return scores


def evaluate(scores: np.ndarray, classes: np.ndarray, regions: np.ndarray, folds: np.ndarray) -> tuple[float, float]:
    """Return TSS at 0 and Brier skill; each fold is calibrated, and compared with the frequency, of the other folds."""
    probability, frequency = np.empty(len(scores)), np.empty(len(scores))
    for fold in np.unique(folds):
        other = folds != fold
        calibration = fit_calibration(classes[other], scores[other], regions[other])
        probability[~other] = calibration.probability(scores[~other])
        frequency[~other] = classes[other].mean()
    skill = 1 - np.mean((probability - classes) ** 2) / np.mean((frequency - classes) ** 2)
    return skill_scores(classes, (scores > 0).astype(int))["TSS"], skill


def trials() -> Iterator[tuple[str, Callable]]:
    """Give the name of each setting and the function that forecasts with it."""
    for class_type in ("linear", "logistic"):
        for factor in FACTORS:
            cost = COSTS[class_type] * factor
            yield f"{class_type}, C {cost:.2g}", lambda *data, kind=class_type, c=cost: out_of_fold(*data, kind, c)
    yield "gradient_boosting", lambda *data: boosted(*data)
    for name, values in BOOSTING.items():
        for value in values:
            yield f"gradient_boosting, {name} {value:g}", lambda *data, n=name, v=value: boosted(*data, **{n: v})
    yield "mean of logistic and boosting", lambda *data: (
        boosted(*data) + out_of_fold(*data, "logistic", COSTS["logistic"])) / 2


def boosted(values: np.ndarray, classes: np.ndarray, folds: np.ndarray, ROWS_A_LEAF: int = classifiers.ROWS_A_LEAF,
            **settings: float) -> np.ndarray:
    """Return the out-of-fold decision values of boosting with some settings changed."""
    with mock.patch.dict(classifiers.BOOSTING, settings), mock.patch.object(classifiers, "ROWS_A_LEAF", ROWS_A_LEAF):
        return out_of_fold(values, classes, folds, "gradient_boosting", COSTS["gradient_boosting"])


def main() -> None:
    """Try every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=Path("results/archive_experiment"),
                        help="of the archive experiment")
    parser.add_argument("--hours", type=int, default=4, help="between the stamps of a region, a divisor of 24")
    parser.add_argument("--folds", type=int, default=5)
    user = parser.parse_args()
    values, flux, regions = read_rows(user.work_dir, user.hours)
    folds = folds_of(regions, user.folds)
    print(f"{len(values):,} rows every {user.hours} h of {len(np.unique(regions)):,} training and validation regions, "
          f"{values.shape[1]} features, {user.folds} folds\n\n| setting | "
          + " | ".join(f"TSS >= {size} | Brier skill >= {size}" for size in PUBLISHED.sizes) + " | seconds |\n|---|"
          + "---|" * (2 * len(PUBLISHED.sizes) + 1), flush=True)
    for name, forecast in trials():
        start, cells = time.perf_counter(), []
        for size in PUBLISHED.sizes:
            classes = (flux >= peak_flux(size)).astype(int)
            scores = forecast(values, classes, folds)
            cells += [f"{score:.4f}" for score in evaluate(scores, classes, regions, folds)]
        print(f"| {name} | {' | '.join(cells)} | {time.perf_counter() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
