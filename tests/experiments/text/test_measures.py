"""Measures of planted rows, in closed form."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.experiments.text.measures import (
    FORMATION,
    GAIN,
    GOT_WORSE,
    SHORT,
    USEFUL,
    behind,
    loss_at,
    nll,
    until_loss,
)
from lengthwise.experiments.text.row import add_row, read_rows
from lengthwise.experiments.text.run import Run
from tests.experiments.text.planted import GRID, L, curve, row_for

RUN = Run(GRID, GRID.arm("good"), 0, 1e-3)


def row(**changes):
    return row_for(RUN, 2.0, **changes)


def test_values_are_signed_so_that_more_is_better():
    losses = {"plain": {"16": 3.0, "64": 2.0, "96": 1.9}, "yarn": {"128": 1.5}}
    one = row(nll=losses, behind={"masked": {"64": 2.5}}, short=4.0, useful=128)
    assert nll(1).score(one) == -2.0
    assert nll(1.5).score(one) == -1.9
    assert nll(2, "yarn").score(one) == -1.5
    assert (GAIN.score(one), SHORT.score(one), USEFUL.score(one)) == (0.2, -4.0, 7.0)
    assert behind("masked").score(one) == -2.5
    with pytest.raises(UserError, match=r"no loss at 256 tokens by 'plain'.*eval.lengths"):
        nll(4).score(one)
    with pytest.raises(UserError, match="short documents weren't scored"):
        SHORT.score(row(short=None))


@pytest.mark.parametrize(
    ("gains", "time", "happened", "resolution"),
    [
        ([0.0, 0.0, 0.06, 0.2], 300, True, math.log2(3 / 2)),
        ([0.06, 0.0, 0.0, 0.0], 100, True, 1.0),  # some time in the first stretch
        ([0.0, 0.049, 0.0, 0.04], 400, False, 0.0),
    ],
)
def test_formation_is_a_time_or_censored(gains, time, happened, resolution):
    points = tuple(
        type(point)(**{**vars(point), "nll": {str(L // 4): 2 + gain, str(L): 2.0}})
        for point, gain in zip(curve([2.0] * 4), gains, strict=True)
    )
    found = FORMATION.event(row(curve=points), math.nan)
    assert (found.time, found.happened) == (time, happened)
    assert found.resolution == pytest.approx(resolution)


def test_budgets_until_a_loss():
    one = row(curve=curve([3.0, 2.5, 2.0, 1.9], flops_a_token=7.0))
    for budget, time in (("tokens", 300), ("flops", 2100), ("seconds", 3)):
        found = until_loss(budget).event(one, 2.2)
        assert (found.time, found.happened) == (time, True)
        assert not until_loss(budget).event(one, 1.0).happened


@given(st.floats(100, 400))
def test_a_loss_along_training_lies_between_those_around_it(amount):
    one = row(curve=curve([3.0, 2.5, 2.0, 1.9]))
    k = min(int(amount // 100) - 1, 2)
    share = math.log(amount / (100 * (k + 1))) / math.log((k + 2) / (k + 1))
    losses = [3.0, 2.5, 2.0, 1.9]
    assert loss_at(one, "tokens", amount) == pytest.approx(
        losses[k] + share * (losses[k + 1] - losses[k])
    )


@pytest.mark.parametrize(
    ("beyond", "worse"),
    [([3, 2, 2.2], 1.0), ([3, 2, 2.05], 0.0), ([3, 2.5, 2], 0.0), ([2, 3, 2.5], 1.0)],
)
def test_getting_worse_beyond_needs_a_falling_training_loss(beyond, worse):
    points = curve([3.0, 2.5, 2.0], beyond=beyond)
    assert GOT_WORSE.value(row(curve=points)) == worse
    risen = tuple(type(p)(**{**vars(p), "loss": 1.0 + p.step}) for p in points)
    assert GOT_WORSE.value(row(curve=risen)) == 0.0


def test_rows_come_back_and_broken_ones_are_named(tmp_path):
    path = tmp_path / "deep" / "rows.jsonl"
    assert read_rows(path) == {}
    second = Run(GRID, GRID.arm("bad"), 1, 1e-3)
    one, other = row(), row_for(second, 3.0)
    for each in (one, other, one):
        add_row(path, each)
    assert read_rows(path) == {one.settings: one, other.settings: other}
    assert len(path.read_text().splitlines()) == 2
    path.write_text(path.read_text() + '{"arm": "x"}\n')
    with pytest.raises(UserError, match=r"rows.jsonl, line 3 is no row of a run"):
        read_rows(path)
