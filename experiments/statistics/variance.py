"""Variance components of runs with crossed initialization and data order, and power analysis.

Letters: I initializations, each with the same J data orders (accuracies are tables [I, J]); N runs;
D resampled repetitions; S seeds of one. The analysis of variance of a table gives the share of each
factor and of their interaction; resampling its entries gives the seeds that a claim needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from scipy.stats import t as student

from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.experiments.statistics.verdict import ALPHA, Effect

POWER = 0.8  # share of repetitions in which the test of a claim should succeed
MAX_SEEDS = 50  # of the power analysis
_DRAWS = 2000


@dataclass(frozen=True)
class Shares:
    """Shares of the variance between runs; their sum is 1, or 0 where no two runs differ."""

    initialization: float
    order: float
    both: float  # interaction, with the sampling variance of the test set


def mean_squares(value_IJ: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of rows, columns and residual in a two-way layout with one value an entry.

    Raises:
      ValueError: fewer than two rows or columns.
    """
    rows, columns = value_IJ.shape
    if min(rows, columns) < 2:
        raise ValueError(f"a table of {rows} x {columns} runs separates no two causes")
    row_I, column_J = value_IJ.mean(axis=1), value_IJ.mean(axis=0)
    residual_IJ = value_IJ - row_I[:, None] - column_J + value_IJ.mean()
    return (
        float(columns * row_I.var(ddof=1)),
        float(rows * column_J.var(ddof=1)),
        float(np.sum(residual_IJ**2) / ((rows - 1) * (columns - 1))),
    )


def shares(value_IJ: np.ndarray) -> Shares:
    """Variance components by the method of moments, negative ones clipped to 0."""
    rows, columns = value_IJ.shape
    of_rows, of_columns, residual = mean_squares(value_IJ)
    row_part, column_part = (of_rows - residual) / columns, (of_columns - residual) / rows
    parts = np.array([max(row_part, 0.0), max(column_part, 0.0), residual])
    total = parts.sum()
    if total <= np.finfo(np.float64).eps:
        return Shares(0.0, 0.0, 0.0)
    return Shares(*(float(part) for part in parts / total))


def crossed_effect(better_IJ: np.ndarray, worse_IJ: np.ndarray, floor: float) -> Effect:
    """The difference in accuracy over crossed runs, paired by table entry.

    Runs of one row or column are dependent: the variance of the mean is that of the random effects,
    (rows + columns - residual) / (I J) in mean squares, and at least that of each of the three
    alone. Degrees of freedom are those of the smaller of I and J, which is conservative.

    Args:
      floor: sampling variance of the mean difference, a lower bound.
    """
    difference_IJ = np.asarray(better_IJ, np.float64) - np.asarray(worse_IJ, np.float64)
    squares = mean_squares(difference_IJ)
    rows, columns, residual = squares
    variance = max(rows + columns - residual, *squares) / difference_IJ.size
    error = math.sqrt(max(variance, floor))
    return Effect(float(difference_IJ.mean()), error, min(difference_IJ.shape))


def success(values_IJ: np.ndarray, threshold: float) -> tuple[int, Estimate]:
    """(number of crossed runs at or above the threshold, their share with an interval).

    The interval is Wilson's, for independent runs, widened to that of crossed random effects: runs
    of one initialization may fail together, and then fifty of them say little more than ten.
    """
    hit_IJ = np.asarray(values_IJ) >= threshold
    test = binomtest(int(hit_IJ.sum()), hit_IJ.size)
    wilson = test.proportion_ci(1 - ALPHA, method="wilson")
    low, high = crossed_effect(hit_IJ, np.zeros(hit_IJ.shape), 0.0).interval
    share = float(test.statistic)
    return int(hit_IJ.sum()), Estimate(
        share, max(0.0, min(low, wilson.low)), min(1.0, max(high, wilson.high))
    )


def power(
    difference_N: np.ndarray,
    margin: float,
    floor: float,
    seeds: int,
    seed: int,
    draws: int = _DRAWS,
) -> float:
    """Share of repetitions with `seeds` seeds in which a single claim would be reproduced.

    A repetition draws seeds from the N runs with replacement and applies the rule of
    `experiments.statistics.verdict` to them.

    Args:
      difference_N: difference of each pair of runs.
      floor: sampling variance of one difference.
    """
    if seeds < 2:
        return 0.0  # one seed settles nothing
    rng = np.random.default_rng([seed, seeds])
    sample_DS = rng.choice(difference_N, (draws, seeds))
    mean_D = sample_DS.mean(axis=1)
    error_D = np.sqrt(np.maximum(sample_DS.var(axis=1, ddof=1), floor) / seeds)
    rejected_D = student.sf(mean_D / error_D, seeds - 1) <= ALPHA / 2
    return float(np.mean(rejected_D & (mean_D >= margin)))


def seeds_needed(
    difference_N: np.ndarray, margin: float, floor: float, seed: int = 0
) -> int | None:
    """The fewest seeds from which on power is at least POWER; None: more than MAX_SEEDS."""
    for seeds in range(MAX_SEEDS, 1, -1):
        if power(difference_N, margin, floor, seeds, seed) < POWER:
            return seeds + 1 if seeds < MAX_SEEDS else None
    return 2
