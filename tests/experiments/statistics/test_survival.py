"""Survival times: the log-rank test by hand, restricted means in closed form, planted arms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from lengthwise.experiments.statistics.survival import EventTime, survival_effect
from lengthwise.experiments.statistics.verdict import (
    ALPHA,
    INCONCLUSIVE,
    REPRODUCED,
    Measurement,
    judge,
)


def formed(*times):
    return [EventTime(time, True, 0.1) for time in times]


def logrank_by_hand(first, second):
    """z of the log-rank test (Mantel 1966): observed less expected events of `first`."""
    observed = expected = variance = 0.0
    everyone = [*first, *second]
    for time in sorted({each.time for each in everyone if each.happened}):
        at_risk = sum(each.time >= time for each in everyone)
        of_first = sum(each.time >= time for each in first)
        events = sum(each.happened and each.time == time for each in everyone)
        observed += sum(each.happened and each.time == time for each in first)
        share = of_first / at_risk
        expected += events * share
        if at_risk > 1:
            variance += events * share * (1 - share) * (at_risk - events) / (at_risk - 1)
    return (observed - expected) / math.sqrt(variance)


def test_the_test_is_mantels():
    first = [*formed(1.0, 2.0, 2.5), EventTime(8.0, False)]
    second = [*formed(2.0, 5.0), EventTime(8.0, False), EventTime(8.0, False)]
    p = survival_effect(first, second).p_at_most(0.0)
    assert p == pytest.approx(norm.sf(logrank_by_hand(first, second)))


def test_means_are_restricted_to_the_budget_of_all():
    """A run that ended at 4 hides what the others did later."""
    first = formed(1.0, 2.0)
    for later in (*formed(16.0), EventTime(8.0, False)):
        found = survival_effect(first, [EventTime(4.0, False), later])
        assert found.value == pytest.approx((2 + 2) / 2 - (0 + 1) / 2)
    same = survival_effect(first, [EventTime(4.0, False), EventTime(4.0, False)])
    assert (found.value, found.p_at_most(0.0)) == (same.value, same.p_at_most(0.0))


@given(
    st.lists(st.tuples(st.floats(1, 100), st.booleans()), min_size=3, max_size=6),
    st.floats(0.01, 100),
)
def test_the_unit_of_time_and_the_order_of_seeds_change_nothing(runs, unit):
    first = [EventTime(time, happened) for time, happened in runs]
    second = [EventTime(2 * time, True) for time, _ in runs]
    found = survival_effect(first, second)
    scaled = survival_effect(
        *([EventTime(unit * e.time, e.happened) for e in side] for side in (first, second))
    )
    assert scaled.value == pytest.approx(found.value, abs=1e-9)
    turned = survival_effect(first[::-1], second[::-1])
    assert turned.p_at_most(0.0) == pytest.approx(found.p_at_most(0.0))


def test_runs_that_never_form_count_as_such():
    early, never = formed(*[1.0 + i / 100 for i in range(8)]), [EventTime(16.0, False)] * 8
    found = survival_effect(early, never)
    assert found.value == pytest.approx(4, abs=0.1)
    assert judge([Measurement(found, 1.0, (1.0,), "a run ended before")])[0].verdict == REPRODUCED
    none = survival_effect(never, never)
    assert none.p_at_most(0.0) == 1.0
    verdict = judge([Measurement(none, 1.0, (1.0,), "a run ended before", tests_equality=True)])
    assert verdict[0].verdict == INCONCLUSIVE


def test_arms_alike_are_rarely_told_apart():
    rng = np.random.default_rng(0)
    wrong = 0
    for draws in rng.exponential(1.0, (600, 2, 10)):
        sides = [[EventTime(min(t, 2.0), bool(t < 2.0)) for t in side] for side in draws]
        wrong += survival_effect(*sides).p_at_most(0.0) <= ALPHA / 2
    assert wrong / 600 < ALPHA / 2 + 3 * math.sqrt(0.025 * 0.975 / 600)
