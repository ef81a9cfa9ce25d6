"""Stage 5 at the size of the published data set: time, memory and objective of its classifiers, reading and writing.

The rows are simulated (29 skewed, correlated columns, two of them exactly dependent; 1,570 regions whose images are
alike), since the published feature table is not part of the repository. Each size runs in a process of its own, so
that the peak memory is its own. The smallest of `--repeats` times is given. liblinear's hinge method does not converge
at these sizes: it gets 1,000 passes over the rows, 100 beyond 100,000 rows, and its objective shows how far that leads.
Ends with status 1 when the objective of 20,000 rows is more than 1e-4 above libsvm's.

Usage
    python tests/benchmarks/benchmark_svm.py
    python tests/benchmarks/benchmark_svm.py --quick
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))  # repository root

TRAINING_ROWS, ALL_ROWS, REGIONS = 759_357, 950_047, 1_570
SIZES = (5_000, 20_000, 100_000, TRAINING_ROWS)
LARGEST_LIBSVM, TOLERANCE = 20_000, 1e-4
LIBLINEAR_PASSES = {5_000: 1_000, 20_000: 1_000, 100_000: 1_000, TRAINING_ROWS: 100}


def simulated_rows(rows, regions=REGIONS, seed=0):
    """Scaled features (n, 29), class, region number: a region's images share most of their activity."""
    rng = np.random.default_rng(seed)
    region = np.sort(rng.integers(0, regions, rows))
    mixing = rng.normal(size=(6, 29))
    latent = rng.normal(size=(regions, 6))[region] + 0.4 * rng.normal(size=(rows, 6))
    values = np.exp(0.4 * (latent @ mixing) + 0.3 * rng.normal(size=(rows, 29)))
    values[:, 28] = values[:, 26] + values[:, 25]
    values[:, 27] = values[:, 26] - values[:, 25]
    tendency = latent @ rng.normal(size=6) + 0.7 * (latent[:, 0] * latent[:, 1]) + rng.normal(0, 2.0, rows)
    classes = (tendency > np.quantile(tendency, 0.8035)).astype(int)
    return (values - values.min(axis=0)) / np.ptp(values, axis=0), classes, region


def objective(rows, classes, weights, intercept):
    """The weighted hinge problem at C = 1, as libsvm states it."""
    cost = np.where(classes == 1, 0.5 / classes.mean(), 0.5 / (1 - classes.mean()))
    return weights @ weights / 2 + cost @ np.maximum(0, 1 - (2 * classes - 1) * (rows @ weights + intercept))


def fit_once(solver, size, decisions):
    """Time, objective, gap and memory of one fit, printed as JSON for the calling process; decision values saved."""
    from sklearn.svm import SVC, LinearSVC

    from classifier_SVM.training.linear_svm import WeightedLinearSVC

    rows, classes, _ = simulated_rows(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    estimator = {"ours": WeightedLinearSVC(), "SVC": SVC(kernel="linear", class_weight="balanced"),
                 "LinearSVC": LinearSVC(loss="hinge", class_weight="balanced",
                                        max_iter=LIBLINEAR_PASSES[size])}[solver]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LinearSVC says that it did not converge: the objective shows it
        estimator.fit(rows, classes)
    seconds = time.perf_counter() - start
    found = objective(rows, classes, estimator.coef_[0], estimator.intercept_[0])
    gap = getattr(estimator, "duality_gap_", np.nan) / found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(decisions, rows @ estimator.coef_[0] + estimator.intercept_[0])
    print(json.dumps({"seconds": seconds, "objective": found, "gap": gap, "GB": peak / 1e6, "before": before / 1e6}))


def in_a_process(solver, size, repeats):
    """The fastest of several fits, each in a process of its own; with its decision values."""
    with tempfile.TemporaryDirectory() as folder:
        decisions = Path(folder) / "decisions.npy"
        command = [sys.executable, __file__, "--fit", solver, str(size), str(decisions)]
        runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                for _ in range(repeats)]
        return min(runs, key=lambda run: run["seconds"]) | {"decisions": np.load(decisions)}


def linear_table(sizes, repeats):
    """Print fit time, objective, certificate and peak memory at each size, beside libsvm and liblinear."""
    print(f"{'rows':>8} {'solver':>10} {'fit [s]':>9} {'objective':>16} {'relative gap':>13} {'peak [GB]':>10}")
    for size in sizes:
        runs = {}
        for solver in ("ours", "SVC", "LinearSVC"):
            if solver == "SVC" and size > LARGEST_LIBSVM:
                continue
            runs[solver] = run = in_a_process(solver, size, repeats if solver == "ours" else 1)
            passes = f"  {LIBLINEAR_PASSES[size]:,} passes" if solver == "LinearSVC" else ""
            print(f"{size:>8,} {solver:>10} {run['seconds']:>9.2f} {run['objective']:>16.6f} {run['gap']:>13.1e} "
                  f"{run['GB']:>10.2f}{passes}", flush=True)
        if "SVC" in runs:
            compare_with_libsvm(size, runs["ours"], runs["SVC"])


def compare_with_libsvm(size, ours, libsvm):
    """Print how objective and predictions differ from libsvm's; exit when the objective is above it."""
    excess = ours["objective"] / libsvm["objective"] - 1
    differ = (ours["decisions"] > 0) != (libsvm["decisions"] > 0)
    farthest = np.abs(libsvm["decisions"][differ]).max(initial=0)
    print(f"{size:>8,} ours beside SVC: objective {excess:+.1e} of it, {differ.sum():,} predictions differ, none "
          f"farther than {farthest:.1e} from 0 (1 is the margin)", flush=True)
    if excess > TOLERANCE:
        raise SystemExit(f"the objective of {size:,} rows is {excess:.1e} of it above libsvm's, allowed {TOLERANCE}")


def rbf_table(rows, classes, region, sizes):
    """Print what fewer rows cost the rbf SVM: scores on regions that it did not see, beside the linear SVM."""
    from classifier_SVM.training.classifiers import decision_values, draw_rows, fit_classifier
    from general_code.evaluation.scores import roc_auc, skill_scores

    held_out = region % 10 == 0
    labels = pd.DataFrame({"region": region[~held_out].astype(str), "class": classes[~held_out]})
    values, truth = rows[~held_out], classes[held_out]
    print(f"\n{'SVM':>8} {'rows':>8} {'fit [s]':>9} {'forecast [s]':>13} {'TSS':>7} {'AUC':>7}")
    for kind, size in [("linear", len(values)), *(("rbf", size) for size in sizes)]:
        chosen = draw_rows(labels, size, seed=0)
        start = time.perf_counter()
        estimator = fit_classifier(kind, values[chosen], labels["class"].to_numpy()[chosen], 1.0, 0)
        fitted = time.perf_counter()
        scores = decision_values(estimator, rows[held_out])
        done = time.perf_counter()
        print(f"{kind:>8} {len(chosen):>8,} {fitted - start:>9.1f} {done - fitted:>13.1f} "
              f"{skill_scores(truth, scores > 0)['TSS']:>7.4f} {roc_auc(truth, scores):>7.4f}", flush=True)


def table_times(rows, classes, region, folder):
    """Print the times of writing and reading the whole feature table, of its splits, and of a whole run of stage 5."""
    from classifier_SVM.FeaturesetTools import FEATURE_NAMES, fit_scaling, read_feature_table, write_feature_table

    minutes = pd.to_datetime("2012-01-01") + pd.to_timedelta(np.arange(len(rows)) * 12, unit="min")
    names = [f"{1000 + r}_hmi.M_720s.{stamp}_TAI.1.magnetogram.fits"
             for r, stamp in zip(region, minutes.strftime("%Y%m%d_%H%M%S"), strict=True)]
    table = pd.DataFrame(rows * 1e5, columns=list(FEATURE_NAMES))
    table = table.assign(**{"class": classes, "flare class": np.where(classes == 1, "C2.0", "0"), "filename": names})
    start = time.perf_counter()
    write_feature_table(folder / "features.csv", table)
    written = time.perf_counter()
    read_feature_table(folder / "features.csv")
    done = time.perf_counter()
    print(f"\n{len(rows):,} x 32: written in {written - start:.1f} s, read in {done - written:.1f} s")
    table[list(FEATURE_NAMES)] = fit_scaling(rows).apply(rows)
    start = time.perf_counter()
    for split, parts in (("Train", range(8)), ("Validation", [8]), ("Test", [9])):
        write_feature_table(folder / f"{split}.csv", table[np.isin(region % 10, parts)])
    done = time.perf_counter()
    print(f"scaled tables of the three splits: written in {done - start:.1f} s", flush=True)
    script = REPOSITORY / "classifier_SVM" / "AR_Classifier_weighted.py"
    subprocess.run([sys.executable, script, "--feature-file", "features.csv"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)
    print(f"whole run of stage 5 on it: {time.perf_counter() - done:.0f} s", flush=True)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes only, to try the script")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fit", nargs=3, help=argparse.SUPPRESS)
    user = parser.parse_args()
    if user.fit:
        fit_once(user.fit[0], int(user.fit[1]), user.fit[2])
        return
    linear_table(SIZES[:1] if user.quick else SIZES, user.repeats)
    rows, classes, region = simulated_rows(20_000 if user.quick else ALL_ROWS)
    rbf_table(rows, classes, region, (1_000, 2_000) if user.quick else (2_500, 5_000, 10_000, 20_000))
    with tempfile.TemporaryDirectory() as folder:
        table_times(rows, classes, region, Path(folder))


if __name__ == "__main__":
    main()
