"""The rule: closed forms, scipy as a reference, planted results for each verdict."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_rel

from lengthwise.experiments.statistics.verdict import (
    ALPHA,
    CONTRADICTED,
    EQUIVALENT,
    GATE,
    INCONCLUSIVE,
    NOT_AT_THIS_SCALE,
    REPRODUCED,
    Effect,
    Measurement,
    effect,
    holm,
    judge,
    sample_variance,
    weakest,
)

_TINY = [1e-9] * 3  # variance of samples that decides nothing
shares = st.floats(0, 1)
p_values = st.lists(shares, min_size=1, max_size=8)


def test_holm_by_hand():
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1: .04, .06, .06, .04; none below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


@given(p_values)
def test_holm_rejects_what_its_steps_reject(found):
    level = 0.05
    rejected = set()
    for rank, place in enumerate(sorted(range(len(found)), key=lambda i: found[i])):
        if found[place] * (len(found) - rank) > level:
            break
        rejected.add(place)
    assert {i for i, p in enumerate(holm(found)) if p <= level} == rejected


@given(p_values)
def test_holm_is_between_no_correction_and_bonferroni(found):
    for before, after in zip(found, holm(found), strict=True):
        assert before <= after <= min(1.0, len(found) * before)


@given(st.permutations(range(5)), st.lists(shares, min_size=5, max_size=5, unique=True))
def test_holm_does_not_go_by_the_order_of_claims(order, found):
    assert [holm(found)[i] for i in order] == holm([found[i] for i in order])


def test_the_effect_is_students_paired_t():
    better, worse = [0.9, 0.97, 0.8, 0.85], [0.5, 0.62, 0.55, 0.4]
    found = effect(better, worse, [1e-9] * 4, [1e-9] * 4)
    reference = ttest_rel(better, worse)
    interval = reference.confidence_interval(1 - ALPHA)
    assert found.interval == pytest.approx((interval.low, interval.high))
    assert 2 * found.p_at_most(0.0) == pytest.approx(reference.pvalue)
    other = ttest_rel(better, worse, alternative="less")
    assert found.p_at_least(0.0) == pytest.approx(other.pvalue)


def test_seeds_that_agree_are_no_surer_than_their_samples():
    variance = sample_variance([256] * 4, [256] * 4, [256] * 4)
    share = 257 / 258
    assert variance == pytest.approx(share * (1 - share) / 256 / 4)
    found = effect([1.0] * 3, [0.0] * 3, [variance] * 3, [variance] * 3)
    assert found.error == pytest.approx(math.sqrt(2 * variance / 3))
    assert 0 < found.p_at_most(0.0) < 1e-4


def test_equal_problems_count_once():
    assert sample_variance([256] * 4, [256] * 4, [1] * 4) == pytest.approx(2 / 9 / 4)
    # Half of 256 samples, that are 8 problems: as 4 of 8.
    assert sample_variance([128], [256], [8]) == sample_variance([4], [8], [8])


def test_arms_that_are_alike_reproduce_but_do_not_contradict():
    equal = planted([0.01, 0.02, 0.01], [0.01, 0.01, 0.02])
    assert judge([equal])[0].verdict == CONTRADICTED
    assert judge([replace(equal, censored="both fail")])[0].verdict == INCONCLUSIVE
    apart = planted([1.0, 0.99, 1.0], [0.5, 0.52, 0.49])
    assert judge([replace(apart, censored="a lower bound")])[0].verdict == REPRODUCED


def test_each_seed_must_stand_on_both_sides():
    with pytest.raises(ValueError, match="same seeds"):
        effect([1.0, 1.0], [0.0], [1e-9] * 2, [1e-9])


def planted(better, worse, *, gate_values=(1.0, 1.0), margin=0.1):
    return Measurement(effect(better, worse, _TINY, _TINY), margin, gate_values)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (planted([1.0, 0.99, 1.0], [0.5, 0.52, 0.49]), REPRODUCED),
        (planted([0.5, 0.52, 0.49], [1.0, 0.99, 1.0]), CONTRADICTED),
        (planted([0.50, 0.51, 0.50], [0.49, 0.51, 0.50]), CONTRADICTED),  # equal: no such effect
        (planted([1.0, 0.2, 0.9], [0.5, 0.4, 0.6]), INCONCLUSIVE),
        # Surely above none, but less than counts, and not surely so.
        (planted([0.60, 0.58, 0.59], [0.5, 0.5, 0.5]), INCONCLUSIVE),
        (
            planted([1.0, 0.99, 1.0], [0.5, 0.52, 0.49], gate_values=(1.0, 0.98)),
            NOT_AT_THIS_SCALE,
        ),
        (planted([1.0, 0.99, 1.0], [0.5, 0.52, 0.49], gate_values=(GATE, GATE)), REPRODUCED),
    ],
)
def test_planted_results(measured, verdict):
    assert judge([measured])[0].verdict == verdict


@pytest.mark.parametrize(
    ("better", "claimed", "verdict"),
    [
        ([0.01, -0.01, 0.0], False, EQUIVALENT),
        ([0.01, -0.01, 0.0], True, EQUIVALENT),
        ([-0.50, -0.51, -0.52], False, CONTRADICTED),  # surely the other way round
        ([-0.50, -0.51, -0.52], True, CONTRADICTED),
        ([0.50, 0.51, 0.52], False, REPRODUCED),
        ([0.50, 0.51, 0.52], True, CONTRADICTED),
        ([0.1, -0.1, 0.0], True, INCONCLUSIVE),
        ([0.09, 0.08, 0.10], True, INCONCLUSIVE),  # above none, but how far
    ],
)
def test_equality_is_a_verdict_where_it_was_stated(better, claimed, verdict):
    measured = replace(planted(better, [0.0] * 3), tests_equality=True, claims_equality=claimed)
    assert judge([measured])[0].verdict == verdict
    assert judge([replace(measured, gate_values=(0.5,))])[0].verdict == NOT_AT_THIS_SCALE


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4, unique=True), st.floats(0.01, 1))
def test_two_one_sided_tests_are_where_the_interval_lies(differences, margin):
    found = effect(differences, [0.0] * 4, [1e-9] * 4, [1e-9] * 4)
    low, high = found.interval
    reference = max(
        ttest_1samp(differences, -margin, alternative="greater").pvalue,
        ttest_1samp(differences, margin, alternative="less").pvalue,
    )
    measured = Measurement(found, margin, (1.0,), tests_equality=True, claims_equality=True)
    assert measured.p_equal() == pytest.approx(reference, abs=1e-6)
    if min(abs(low + margin), abs(high - margin)) > 1e-6:
        assert (judge([measured])[0].verdict == EQUIVALENT) == (-margin < low and high < margin)


def test_one_seed_settles_nothing():
    one = Measurement(effect([1.0], [0.0], [1e-9], [1e-9]), 0.1, (1.0,))
    assert judge([one])[0].verdict == INCONCLUSIVE
    assert one.effect.interval == (-math.inf, math.inf)


def test_a_family_asks_more_of_each_claim():
    """p between ALPHA / 4 and ALPHA / 2: enough alone, not beside another, even a gated claim."""
    one = Measurement(Effect(value=0.5, error=0.1, seeds=3), 0.1, (1.0,))
    assert ALPHA / 4 < one.effect.p_at_most(0.0) < ALPHA / 2
    assert judge([one])[0].verdict == REPRODUCED
    assert judge([one, replace(one, gate_values=(0.5,))])[0].verdict == INCONCLUSIVE


accuracies = st.lists(shares, min_size=3, max_size=3)


@given(accuracies, accuracies, st.floats(0.01, 0.5), st.floats(0.9, 1))
def test_alone_the_rule_is_where_the_interval_lies(better, worse, margin, gate):
    measured = planted(better, worse, gate_values=(gate,), margin=margin)
    found, (low, high) = measured.effect, measured.effect.interval
    (verdict,) = judge([measured])
    if gate < GATE:
        expected = NOT_AT_THIS_SCALE
    elif low > 0 and found.value >= margin:
        expected = REPRODUCED
    else:
        expected = CONTRADICTED if high < margin else INCONCLUSIVE
    if min(abs(low), abs(high - margin), abs(found.value - margin)) > 1e-9:
        assert verdict.verdict == expected


def test_false_claims_are_rarely_reproduced():
    """Two arms alike, three seeds, a family of four: any verdict of 1,000 families is wrong in at
    most ALPHA / 2 of them, within what chance allows."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(1000):
        draws = rng.normal(0.5, 0.2, (4, 2, 3))
        family = [planted(list(b), list(w), margin=1e-6) for b, w in draws]
        wrong += any(verdict.verdict == REPRODUCED for verdict in judge(family))
    assert wrong / 1000 < ALPHA / 2 + 3 * math.sqrt(0.025 * 0.975 / 1000)


def test_an_experiment_is_its_weakest_claim():
    assert weakest([REPRODUCED, REPRODUCED]) == REPRODUCED
    assert weakest([REPRODUCED, INCONCLUSIVE]) == INCONCLUSIVE
    assert weakest([INCONCLUSIVE, NOT_AT_THIS_SCALE]) == NOT_AT_THIS_SCALE
    assert weakest([NOT_AT_THIS_SCALE, CONTRADICTED, REPRODUCED]) == CONTRADICTED
