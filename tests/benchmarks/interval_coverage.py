"""How often 95 % intervals hold the score of the whole population, by number of regions: the origin of FEWEST_FLARING.

A large population of made-up regions, each with its own rate of flares, like the published ones in prevalence, regions
with a flare, and skill: C1.0 (20 % of the images, 75 of 157 regions) and M1.0 (3 %, 15 of 157). Test sets are drawn
from it with replacement; `score_forecast` makes the intervals, and the score of the population is the truth. An
interval of the right width covers it in 95 % of the sets. The forecast is a logistic regression, the rule to beat "a
flare >= C1.0 in the past 24 h", the rate that by number of past flares. A star marks what FEWEST_FLARING lets through
(in more than half of the sets); those have to cover .93 to .97, to the accuracy of the number of sets (.011 for 400 of
them). The limits of BSS and PR area are larger than these regions ask for: drawn from the published regions of
2010-2018, in whose M flares a few regions have the largest part, intervals of BSS covered .92 (C1.0, 34 flaring
regions), .96 (C1.0, 66), .85 (M1.0, 15), .90 (M1.0, 76) and .93 (M1.0, 124).

    python tests/benchmarks/interval_coverage.py [--sets 400] [--regions 157 40 20] [--sizes C1.0 M1.0]

References
----------
Hesterberg 2015, American Statistician 69, 371 (widened percentile intervals and their coverage).
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # repository root

from sklearn.linear_model import LogisticRegression

from general_code.evaluation import scores as ss

STEPS = 62  # images of a region at most, every 4 h
DAY, PAST = 6, 18  # in steps: the window of a forecast, and 72 h
POPULATION = 8000


def make_population(seed: int = 1) -> dict[str, pd.DataFrame]:
    """Return the images of all regions at C1.0 and M1.0: region, truth, decision, probability, rule, rate."""
    rng = np.random.default_rng(seed)
    activity = rng.normal(0, 1, (POPULATION, 1))  # of a region: most never flare, few flare daily
    steps = PAST + STEPS + DAY
    course = np.empty((POPULATION, steps))  # its rise and fall, with a memory of 60 h
    course[:, 0] = rng.normal(0, 1, POPULATION)
    memory = np.exp(-4 / 60)
    for i in range(1, steps):
        course[:, i] = memory * course[:, i - 1] + np.sqrt(1 - memory**2) * rng.normal(0, 1, POPULATION)
    log_rate = np.minimum(-4.4 + 2.1 * activity + 0.8 * course, 1.1)  # of C flares in 4 h
    small = rng.poisson(np.exp(log_rate))
    large = rng.binomial(small, np.clip(0.03 * np.exp(activity - 1), 0, 0.5))  # that are M flares, too
    seen = np.arange(STEPS) < rng.integers(12, STEPS, POPULATION)[:, None]
    past = np.log1p(in_steps(small, -PAST, 0))
    known = log_rate[:, PAST:PAST + STEPS] + rng.normal(0, 1.6, (POPULATION, 1)) + rng.normal(0, 0.5, past.shape)
    regions = np.broadcast_to(np.arange(POPULATION)[:, None], past.shape)[seen]
    tables = {}
    for size, flares in (("C1.0", small), ("M1.0", large)):
        truth = (in_steps(flares, 0, DAY) > 0)[seen].astype(int)
        own, rate = (LogisticRegression().fit(values, truth).predict_proba(values)[:, 1]
                     for values in (np.stack([known[seen], past[seen]], axis=1), past[seen][:, None]))
        tables[size] = pd.DataFrame({"region": regions, "truth": truth, "decision": (own > truth.mean()).astype(int),
                                     "probability": own, "rule": (in_steps(small, -DAY, 0) > 0)[seen].astype(int),
                                     "rate": rate})
    return tables


def in_steps(flares: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the number of flares from `first` to before `last` steps after each image."""
    total = np.concatenate([np.zeros((len(flares), 1), int), flares.cumsum(axis=1)], axis=1)
    images = PAST + np.arange(STEPS)
    return total[:, images + last] - total[:, images + first]


def scores_and_gains(images: pd.DataFrame, climatology: float, draws: int) -> dict[str, tuple[float, float, float]]:
    """Return value and interval of each score, of the gain in TSS over the rule, and of that in BSS over the rate."""
    common = {"climatology": climatology, "draws": draws}
    columns = images["truth"].to_numpy(), images["region"].to_numpy()
    own = ss.score_forecast(*columns, images["decision"], images["probability"], count_rate=images["rate"], **common)
    rule = ss.score_forecast(*columns, images["rule"], **common)
    rate = ss.score_forecast(*columns, None, images["rate"], **common)
    found = {name: (own.scores[name], *interval) for name, interval in own.intervals().items()}
    return found | {"TSS gain": own.difference(rule, "TSS"), "BSS gain": own.difference(rate, "BSS")}


def coverage(images: pd.DataFrame, regions: int, sets: int, seed: int = 2) -> tuple[float, dict[str, float]]:
    """Return the median number of flaring regions in test sets, and the share of intervals that hold the truth."""
    rng, climatology = np.random.default_rng(seed), images["truth"].mean()
    truth = {name: value for name, (value, *_) in scores_and_gains(images, climatology, 0).items()}
    rows = images.groupby("region").indices
    names, held, flaring = list(rows), [], []
    for _ in range(sets):
        drawn = rng.choice(names, regions)
        one = images.iloc[np.concatenate([rows[name] for name in drawn])]
        one = one.assign(region=np.repeat(np.arange(regions), [len(rows[name]) for name in drawn]))  # twice is two
        flaring.append(one.groupby("region")["truth"].max().sum())
        held.append({name: np.nan if np.isnan(low) else low <= truth[name] <= high
                     for name, (_, low, high) in scores_and_gains(one, climatology, 400).items()})
    return float(np.median(flaring)), pd.DataFrame(held).astype(float).mean().to_dict()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=400)
    parser.add_argument("--regions", type=int, nargs="+", default=[157, 40, 20])
    parser.add_argument("--sizes", nargs="+", default=["C1.0", "M1.0"])
    options = parser.parse_args()
    start, tables, lowest = time.perf_counter(), make_population(), dict.fromkeys(ss.FEWEST_FLARING, 2)
    limits = ss.fewest_flaring
    for size in options.sizes:
        for regions in options.regions:
            ss.fewest_flaring = lambda *_: lowest
            flaring, shares = coverage(tables[size], regions, options.sets)
            allowed = limits(int(flaring), regions)
            texts = []
            for name, share in shares.items():
                score = name.removesuffix(" gain")
                limit = allowed[score if score == name else ss.PAIRED.get(score, score)]
                number = regions if name == "TNR" else flaring
                texts.append(f"{name} {share:.3f}{'*' * (number >= limit)}")
            print(f"{size}, {regions} regions, {flaring:.0f} flaring: {', '.join(texts)}", flush=True)
    print(f"{time.perf_counter() - start:.0f} s; * printed by the stages")


if __name__ == "__main__":
    main()
