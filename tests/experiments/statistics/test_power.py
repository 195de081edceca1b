"""Power: scipy's noncentral t, two one-sided tests by simulation, a table computed elsewhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nct
from scipy.stats import t as student

from lengthwise.experiments.statistics.power import Design, difference_deviation
from lengthwise.experiments.statistics.verdict import (
    ALPHA,
    EQUIVALENT,
    REPRODUCED,
    Measurement,
    effect,
    judge,
)


@pytest.mark.parametrize("seeds", [3, 4, 8, 20])
@pytest.mark.parametrize("claims", [1, 3])
def test_without_a_margin_it_is_the_noncentral_t(seeds, claims):
    critical = student.isf(ALPHA / 2 / claims, seeds - 1)
    reference = nct.sf(critical, seeds - 1, 0.7 * np.sqrt(seeds))
    design = Design(margin=1e-12, deviation=1.0, claims=claims)
    assert design.probability("reproduced", 0.7, seeds) == pytest.approx(reference, abs=1e-6)


# Two `scipy.stats.ttest_1samp` in 40,000 simulated repetitions at a margin of .02.
@pytest.mark.parametrize(
    ("deviation", "powers"),
    [(0.010, {4: 0.605, 6: 0.941}), (0.020, {4: 0.094, 8: 0.416, 12: 0.764})],
)
def test_equivalence_has_the_powers_of_simulation(deviation, powers):
    design = Design(margin=0.02, deviation=deviation)
    for seeds, power in powers.items():
        assert design.probability("equivalent", 0.0, seeds) == pytest.approx(power, abs=0.01)


def test_the_rule_itself_has_these_powers():
    """The shares of verdicts in 1,500 planted families are those that were computed."""
    rng = np.random.default_rng(0)
    design = Design(margin=0.1, deviation=0.06)
    for verdict, truth in ((REPRODUCED, 0.2), (EQUIVALENT, 0.0)):
        hits = 0
        for draws in rng.normal(truth, 0.06, (1500, 5)):
            one = effect(list(draws), [0.0] * 5, [1e-12] * 5, [1e-12] * 5)
            hits += (
                judge([Measurement(one, 0.1, (1.0,), tests_equality=True)])[0].verdict == verdict
            )
        assert hits / 1500 == pytest.approx(design.probability(verdict, truth, 5), abs=0.035)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.1, 3.0), st.sampled_from([1, 2, 6]))
def test_units_change_nothing_and_more_noise_or_claims_need_more_seeds(noise, claims):
    needed = Design(0.02, 0.02 * noise, claims).seeds_needed()
    assert needed == Design(2.0, 2.0 * noise, claims).seeds_needed()
    noisier = Design(0.02, 0.03 * noise, claims).seeds_needed()
    more = Design(0.02, 0.02 * noise, claims + 1).seeds_needed()
    assert (needed or 101) <= min(noisier or 101, more or 101)


def test_an_effect_below_the_noise_needs_more_seeds_than_are_looked_at():
    assert Design(0.001, 0.1).seeds_needed() is None
    assert Design(0.1, 0.001).seeds_needed() == 3


def test_the_deviation_is_that_of_two_independent_arms():
    assert difference_deviation([1.0, 2.0, 3.0]) == pytest.approx(2**0.5)
    with pytest.raises(ValueError, match="1 pilot runs"):
        difference_deviation([1.0])
