"""How often the 95 % intervals of full-disk forecasts hold the truth: a bootstrap over rotations of simulated days.

A day's chance of a flare has an activity of its rotation and one that lasts for days; "ours" and "official" know them
in part, the second is too high. Truth is the score of 6,000 rotations; from 250 samples of each number of rotations
comes the share of intervals that hold it, +- .014, for each score and for the difference of both.

Found: .92 to .98 for 20 to 150 rotations, of all scores and differences of M1.0 (23 % of the days) and X1.0 (3 %), but
for the BSS of X1.0 itself: .83 to .88. Hence `FEWEST_BLOCKS` and `RARE` of full_disk.py.

Usage
    python tests/benchmarks/disk_coverage.py    # about 5 minutes
"""

import sys
from pathlib import Path

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # repository root

from classifier_SVM.comparison.full_disk import BLOCK_DAYS, SCORES
from general_code.evaluation.scores import score_forecast

POPULATION, SAMPLES, DRAWS = 6000, 250, 400
RATES = {"M1.0": -1.6, "X1.0": -4.2}  # mean logit of a day's chance
BLOCKS = (20, 34, 150)


def simulate(base, draw):
    """Return truth (0/1) and the two forecasts, each of shape (rotations, days)."""
    rotation = 0.9 * draw.normal(size=(POPULATION, 1))
    noise = draw.normal(size=(3, POPULATION, BLOCK_DAYS))
    days = lfilter([0.6], [1, -0.8], noise[0], axis=1)
    truth = draw.random(days.shape) < expit(base + rotation + days)
    ours = expit(base + 0.8 * rotation + 0.7 * days + 0.3 * noise[1])
    official = expit(base + 0.6 + 0.7 * rotation + 0.5 * days + 0.6 * noise[2])
    return truth.astype(int), ours, official


def scored(parts, climatology, draws, seed):
    """Return the scores of both forecasts."""
    truth, *forecasts = (part.ravel() for part in parts)
    blocks = np.repeat(np.arange(len(parts[0])), BLOCK_DAYS)
    return [score_forecast(truth, blocks, p > climatology, p, climatology=climatology, draws=draws, seed=seed,
                           fewest=10) for p in forecasts]


def main():
    """Print a line a size and number of rotations."""
    draw = np.random.default_rng(0)
    for size, base in RATES.items():
        parts = simulate(base, draw)
        climatology = parts[0].mean()
        true = scored(parts, climatology, 0, 0)
        for n in BLOCKS:
            hits = {name: np.zeros(2) for name in SCORES}
            for seed in range(SAMPLES):
                rows = draw.integers(0, POPULATION, n)
                own, other = scored([part[rows] for part in parts], climatology, DRAWS, seed)
                for name, hit in hits.items():
                    low, high = own.intervals()[name]
                    hit[0] += low <= true[0].scores[name] <= high
                    _, low, high = own.difference(other, name)
                    hit[1] += low <= true[0].scores[name] - true[1].scores[name] <= high
            shares = ", ".join(f"{name} {hit[0] / SAMPLES:.3f} / {hit[1] / SAMPLES:.3f}" for name, hit in hits.items())
            print(f">= {size} ({climatology:.3f} of the days), {n} rotations, own / difference: {shares}", flush=True)


if __name__ == "__main__":
    main()
