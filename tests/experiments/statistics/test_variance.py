"""Crossed seeds: planted effects come back, the rule is the verdict's, sizes are kept."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, f_oneway

from lengthwise.experiments.statistics.variance import (
    MAX_SEEDS,
    crossed_effect,
    mean_squares,
    power,
    seeds_needed,
    shares,
    success,
)
from lengthwise.experiments.statistics.verdict import ALPHA, REPRODUCED, Measurement, effect, judge

tables = arrays(np.float64, (4, 3), elements=st.floats(0, 1))


@given(tables)
def test_mean_squares_take_the_variance_apart(value_IJ):
    rows, columns, left = mean_squares(value_IJ)
    total = 3 * rows + 2 * columns + 6 * left
    assert total == pytest.approx(float(np.sum((value_IJ - value_IJ.mean()) ** 2)), abs=1e-9)
    assert mean_squares(value_IJ.T) == pytest.approx((columns, rows, left))


def test_rows_mean_square_is_that_of_one_way_analysis():
    value_IJ = np.random.default_rng(0).random((4, 3))
    rows, columns, left = mean_squares(value_IJ)
    within = (2 * columns + 6 * left) / 8  # one way, columns count as noise
    assert rows / within == pytest.approx(f_oneway(*value_IJ).statistic)


@pytest.mark.parametrize("sizes", [(0.3, 0.0, 0.1), (0.0, 0.2, 0.2), (0.2, 0.1, 0.0)])
def test_planted_shares_come_back(sizes):
    rng = np.random.default_rng(1)
    of_rows, of_columns, of_cells = (
        size * rng.normal(size=shape)
        for size, shape in zip(sizes, [(600, 1), (1, 150), (600, 150)], strict=True)
    )
    found = shares(of_rows + of_columns + of_cells)
    wanted = np.square(sizes) / np.sum(np.square(sizes))
    assert (found.initialization, found.order, found.both) == pytest.approx(wanted, abs=0.06)


@given(tables)
def test_shares_sum_to_one_or_nothing_differs(value_IJ):
    found = shares(value_IJ)
    parts = (found.initialization, found.order, found.both)
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(1) or (sum(parts) == 0 and np.ptp(value_IJ) < 1e-6)


def test_a_table_of_one_row_is_refused():
    with pytest.raises(ValueError, match="1 x 3 runs separates no two causes"):
        mean_squares(np.ones((1, 3)))


@given(tables, tables, st.floats(1e-9, 1.0))
def test_crossed_errors_are_floored_and_no_smaller_than_of_independent_runs(better, worse, floor):
    found = crossed_effect(better, worse, floor)
    assert found.value == pytest.approx(float(np.mean(better - worse)))
    assert found.seeds == 3  # the fewer of rows and columns
    assert found.error**2 >= floor * (1 - 1e-9)
    of_runs = float(np.var(better - worse, ddof=1)) / better.size
    assert found.error**2 >= of_runs * (1 - 1e-9)


def test_runs_that_share_an_initialization_don_t_make_a_claim_surer():
    """All of the spread is in 10 initializations: 50 runs reject a true null at the level, which
    Student's t over 50 runs would not keep."""
    rng = np.random.default_rng(2)
    crossed = naive = 0
    for _ in range(1000):
        better = np.repeat(rng.normal(0, 0.2, (10, 1)), 5, axis=1)
        better = better + rng.normal(0, 0.02, (10, 5))
        worse = np.zeros_like(better)
        crossed += crossed_effect(better, worse, 1e-9).p_at_most(0.0) <= ALPHA / 2
        flat = effect(list(better.flat), list(worse.flat), [1e-9] * 50, [1e-9] * 50)
        naive += flat.p_at_most(0.0) <= ALPHA / 2
    assert crossed / 1000 <= ALPHA / 2 + 3 * math.sqrt(0.025 * 0.975 / 1000)
    assert naive / 1000 > 0.1


def test_successes_have_wilsons_interval_where_nothing_is_shared():
    table = np.full((4, 4), 0.9)
    table[np.arange(4), np.arange(4)] = 0.2
    count, share = success(table, 0.9)
    assert count == 12
    found = binomtest(12, 16).proportion_ci(1 - ALPHA, method="wilson")
    assert share.low == pytest.approx(min(found.low, share.low))
    assert share.high >= found.high
    same = success(np.ones((10, 5)), 0.9)[1]
    assert (same.low, same.high) == pytest.approx((50 / (50 + 1.959964**2), 1.0), abs=1e-5)


def test_the_share_of_successes_is_covered_where_initializations_decide():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        share = success(np.repeat(rng.random((10, 1)) < 0.5, 5, axis=1), 1)[1]
        covered += share.low <= 0.5 <= share.high
    assert covered / 400 > 0.92


def test_power_is_the_share_of_repetitions_that_the_verdict_calls_reproduced():
    difference_N, margin, floor = np.array([0.4, 0.3, -0.1, 0.2, 0.5, 0.1]), 0.1, 1e-4
    draws = np.random.default_rng([7, 4]).choice(difference_N, (200, 4))
    said = [
        judge(
            [
                Measurement(
                    effect(list(d), [0.0] * 4, [floor / 2] * 4, [floor / 2] * 4), margin, (1.0,)
                )
            ]
        )
        for d in draws
    ]
    wanted = np.mean([verdict.verdict == REPRODUCED for (verdict,) in said])
    assert power(difference_N, margin, floor, 4, 7, draws=200) == pytest.approx(wanted)
    assert power(difference_N, margin, floor, 1, 7) == 0
    assert power(np.full(6, 0.05), margin, 1e-6, 5, 7) == 0  # surely above none, and too little


def test_seeds_needed_grow_with_the_spread():
    same = np.full(50, 0.5)
    assert seeds_needed(same, 0.1, 1e-4) == 2
    spread = 0.3 + 0.3 * np.random.default_rng(3).normal(size=50)
    needed = seeds_needed(spread, 0.1, 1e-4)
    assert 5 < needed < MAX_SEEDS
    assert power(spread, 0.1, 1e-4, needed, 0) >= 0.8
    assert power(spread, 0.1, 1e-4, needed - 1, 0) < 0.8
    assert seeds_needed(spread - 0.3, 0.1, 1e-4) is None
