"""How much of a result is chance, from runs whose initialization and order of the data are crossed.

I initializations, each with the same J orders of the data: an accuracy is a table [I, J]. From its
analysis of variance come the share of each of the two, and of what neither alone explains; from
resampling its cells, how many seeds a claim needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from scipy.stats import t as student

from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.experiments.verdict import ALPHA, Effect

POWER = 0.8  # share of repetitions in which a claim's test should succeed
MOST_SEEDS = 50  # looked at for that
_DRAWS = 2000


@dataclass(frozen=True)
class Shares:
    """Of the variance between runs; they sum to 1, or are all 0 where no two runs differ."""

    initialization: float
    order: float
    both: float  # the two together beyond each alone, with the chance of the tested samples


def mean_squares(value_IJ: np.ndarray) -> tuple[float, float, float]:
    """Of rows, of columns and of what is left, in a two-way layout with one value a cell.

    ValueError: fewer than two rows or columns.
    """
    rows, columns = value_IJ.shape
    if min(rows, columns) < 2:
        raise ValueError(f"a table of {rows} x {columns} runs tells no two causes apart")
    of_rows, of_columns = value_IJ.mean(axis=1), value_IJ.mean(axis=0)
    left_IJ = value_IJ - of_rows[:, None] - of_columns + value_IJ.mean()
    return (
        float(columns * of_rows.var(ddof=1)),
        float(rows * of_columns.var(ddof=1)),
        float(np.sum(left_IJ**2) / ((rows - 1) * (columns - 1))),
    )


def shares(value_IJ: np.ndarray) -> Shares:
    """Components of variance by the method of moments, those below zero taken as zero."""
    rows, columns = value_IJ.shape
    of_rows, of_columns, left = mean_squares(value_IJ)
    parts = np.array([max(of_rows - left, 0.0) / columns, max(of_columns - left, 0.0) / rows, left])
    total = parts.sum()
    if total <= np.finfo(np.float64).eps:
        return Shares(0.0, 0.0, 0.0)
    return Shares(*(float(part) for part in parts / total))


def crossed_effect(better_IJ: np.ndarray, worse_IJ: np.ndarray, of_samples: float) -> Effect:
    """A difference in accuracy over crossed runs, in pairs of a cell.

    Runs of a row or of a column are not independent: the variance of the mean is that of the random
    effects, (rows + columns - left) / (I J) in mean squares, and not less than any of the three
    alone gives. Its degrees of freedom are of the fewer of rows and columns, which is cautious.

    of_samples: variance of the mean difference from the tested samples alone, a floor.
    """
    apart_IJ = np.asarray(better_IJ, np.float64) - np.asarray(worse_IJ, np.float64)
    found = mean_squares(apart_IJ)
    rows, columns, left = found
    variance = max(rows + columns - left, *found) / apart_IJ.size
    error = math.sqrt(max(variance, of_samples))
    return Effect(float(apart_IJ.mean()), error, min(apart_IJ.shape))


def success(values_IJ: np.ndarray, threshold: float) -> tuple[int, Estimate]:
    """(crossed runs at or above the threshold, their share with an interval).

    It is Wilson's, as if runs were independent, widened to that of crossed random effects: runs of
    one initialization may fail together, and then fifty of them say little more than ten.
    """
    hit_IJ = np.asarray(values_IJ) >= threshold
    found = binomtest(int(hit_IJ.sum()), hit_IJ.size)
    wilson = found.proportion_ci(1 - ALPHA, method="wilson")
    low, high = crossed_effect(hit_IJ, np.zeros(hit_IJ.shape), 0.0).interval
    share = float(found.statistic)
    return int(hit_IJ.sum()), Estimate(
        share, max(0.0, min(low, wilson.low)), min(1.0, max(high, wilson.high))
    )


def power(
    apart_N: np.ndarray, margin: float, floor: float, seeds: int, seed: int, draws: int = _DRAWS
) -> float:
    """Share of repetitions with so many seeds in which a claim alone would be reproduced.

    A repetition draws seeds from the runs at hand, with replacement, and applies the rule of
    `experiments.verdict` to them as if it had been run with these alone.

    apart_N: the differences of N runs. floor: variance of one difference from the tested samples.
    """
    if seeds < 2:
        return 0.0  # one seed settles nothing
    rng = np.random.default_rng([seed, seeds])
    drawn_DS = rng.choice(apart_N, (draws, seeds))
    mean_D = drawn_DS.mean(axis=1)
    error_D = np.sqrt(np.maximum(drawn_DS.var(axis=1, ddof=1), floor) / seeds)
    rejected_D = student.sf(mean_D / error_D, seeds - 1) <= ALPHA / 2
    return float(np.mean(rejected_D & (mean_D >= margin)))


def seeds_needed(apart_N: np.ndarray, margin: float, floor: float, seed: int = 0) -> int | None:
    """The fewest seeds from which on the power is POWER, up to MOST_SEEDS; None: it never is."""
    for seeds in range(MOST_SEEDS, 1, -1):
        if power(apart_N, margin, floor, seeds, seed) < POWER:
            return seeds + 1 if seeds < MOST_SEEDS else None
    return 2
