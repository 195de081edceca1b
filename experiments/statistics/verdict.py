"""The decision rule for experiments, as functions of accuracies by seed.

A claim says that one arm beats another. Its effect is the difference in accuracy, mean over seeds.
The seed is the unit: the interval is Student's t over the seeds' differences. Three seeds that get
everything right under one arm and nothing under the other have no spread for t to see; so the
standard error is at least that of sampling, where each length counts one right and one wrong answer
more (Agresti and Coull 1998), and equal problems count once.

Two one-sided tests, each at half of ALPHA, each with Holm's correction over the family (1979):

- *reproduced*: the effect is at least the margin, and H0 "effect <= 0" is rejected.
- *contradicted*: H0 "effect >= margin" is rejected, and nothing keeps the effect from being seen.
  Something does where both arms are right almost never or almost always, since such a scale
  distinguishes nothing; and where a run ended before it reached the measured event.
- *not at this scale*: an arm that should have learned the trained lengths did not.
- *inconclusive*: none of these. One seed alone gives this or "not at this scale".

Where a claim was stated with it, equality is a verdict too (two one-sided tests, Schuirmann 1987):

- *equivalent*: H0 "effect <= -margin" and H0 "effect >= margin" are both rejected. It goes before
  *contradicted*, which says less. Of a claim that two arms are equal it is what was claimed, and
  *contradicted* says that the effect is surely beyond the margin, one way or the other.

A claim that the gate stops still counts in the family, so that the family is the stated one.

Letters: S seeds, K tested lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.stats import t as student

REPRODUCED = "reproduced"
INCONCLUSIVE = "inconclusive"
NOT_AT_THIS_SCALE = "not at this scale"
EQUIVALENT = "equivalent"
CONTRADICTED = "contradicted"
# The verdict of an experiment: the first of these among its claims'.
WEAKEST_FIRST = (CONTRADICTED, EQUIVALENT, NOT_AT_THIS_SCALE, INCONCLUSIVE, REPRODUCED)

GATE = 0.99  # minimum accuracy at trained lengths
ALPHA = 0.05  # both one-sided tests together


class Tested(Protocol):
    """An effect over seeds, with its one-sided tests."""

    @property
    def value(self) -> float: ...
    @property
    def seeds(self) -> int: ...
    @property
    def interval(self) -> tuple[float, float]: ...
    def p_at_most(self, bound: float) -> float: ...
    def p_at_least(self, bound: float) -> float: ...


@dataclass(frozen=True)
class Effect:
    """A difference in accuracy over seeds, with its standard error and tests."""

    value: float
    error: float  # standard error; nan with one seed
    seeds: int

    @property
    def interval(self) -> tuple[float, float]:
        """Confidence interval of level 1 - ALPHA, uncorrected; (-inf, inf) with one seed."""
        if self.seeds < 2:
            return -math.inf, math.inf
        half = float(student.ppf(1 - ALPHA / 2, self.seeds - 1)) * self.error
        return self.value - half, self.value + half

    def p_at_most(self, bound: float) -> float:
        """p-value for H0: effect <= bound; 1 with one seed."""
        return self._p(self.value - bound)

    def p_at_least(self, bound: float) -> float:
        """p-value for H0: effect >= bound; 1 with one seed."""
        return self._p(bound - self.value)

    def _p(self, distance: float) -> float:
        if self.seeds < 2:
            return 1.0
        return float(student.sf(distance / self.error, self.seeds - 1))


def effect(
    better_S: Sequence[float],
    worse_S: Sequence[float],
    better_variance_S: Sequence[float],
    worse_variance_S: Sequence[float],
) -> Effect:
    """The effect from accuracies by seed, paired by seed.

    Args:
      better_variance_S, worse_variance_S: of `sample_variance`, positive.

    Raises:
      ValueError: the counts differ, or are 0.
    """
    count = len(better_S)
    if not count or {len(worse_S), len(better_variance_S), len(worse_variance_S)} != {count}:
        raise ValueError("effect needs the same seeds of both arms, and at least one")
    difference_S = np.asarray(better_S, np.float64) - np.asarray(worse_S, np.float64)
    value = float(difference_S.mean())
    if count == 1:
        return Effect(value, math.nan, 1)
    of_seeds = float(difference_S.var(ddof=1)) / count
    of_samples = float(np.sum(better_variance_S) + np.sum(worse_variance_S)) / count**2
    return Effect(value, math.sqrt(max(of_seeds, of_samples)), count)


def sample_variance(
    right_K: Sequence[int], samples_K: Sequence[int], problems_K: Sequence[int]
) -> float:
    """Sampling variance of the mean accuracy over K lengths; above 0.

    Args:
      right_K: exact matches. samples_K: samples. problems_K: distinct ones among them.
    """
    problems = np.asarray(problems_K, np.float64)
    share = (np.divide(right_K, samples_K) * problems + 1) / (problems + 2)
    return float(np.sum(share * (1 - share) / problems)) / len(problems) ** 2


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values (1979): the i-th smallest of m times m - i, made monotone."""
    count = len(p_values)
    adjusted = [0.0] * count
    largest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


@dataclass(frozen=True)
class Measurement:
    """The measured effect of a claim, with its gate."""

    effect: Tested
    margin: float  # smallest effect that counts, above 0
    gate_values: tuple[float, ...]  # the least must reach the gate: accuracy in range, by gated arm
    # The reason why the claim can't be contradicted; "": it can.
    censored: str = ""
    gate: float = GATE
    tests_equality: bool = False  # whether "equivalent" is a verdict
    claims_equality: bool = False  # whether it is the claim

    @property
    def passes_gate(self) -> bool:
        return all(value >= self.gate for value in self.gate_values)

    def p_equal(self) -> float:
        """p-value for H0: the effect is as large as the margin, one way or the other."""
        if not self.tests_equality:
            return 1.0
        return max(self.effect.p_at_most(-self.margin), self.effect.p_at_least(self.margin))

    def p_against(self) -> float:
        """p-value for H0: the effect is what the claim says, the margin's size or within it."""
        if self.claims_equality:
            return min(self.effect.p_at_most(self.margin), self.effect.p_at_least(-self.margin))
        return self.effect.p_at_least(self.margin)


@dataclass(frozen=True)
class ClaimVerdict:
    """The verdict on one claim, with Holm-adjusted p-values."""

    verdict: str
    p_none: float  # H0: effect <= 0
    p_counts: float  # H0: effect >= margin; of a claimed equality: |effect| <= margin
    p_equal: float  # H0: |effect| >= margin; 1 where equality is not tested


def judge(family: Sequence[Measurement]) -> list[ClaimVerdict]:
    """The verdict on each claim of a family."""
    columns = [
        holm([p if each.passes_gate else 1.0 for p, each in zip(p_values, family, strict=True)])
        for p_values in (
            [each.effect.p_at_most(0.0) for each in family],
            [each.p_against() for each in family],
            [each.p_equal() for each in family],
        )
    ]
    return [
        ClaimVerdict(_verdict(each, *p_values), *p_values)
        for each, *p_values in zip(family, *columns, strict=True)
    ]


def _verdict(measured: Measurement, p_none: float, p_counts: float, p_equal: float) -> str:
    if not measured.passes_gate:
        return NOT_AT_THIS_SCALE
    above = measured.effect.value >= measured.margin and p_none <= ALPHA / 2
    if above and not measured.claims_equality:
        return REPRODUCED
    if measured.censored:
        return INCONCLUSIVE
    if p_equal <= ALPHA / 2:
        return EQUIVALENT
    return CONTRADICTED if p_counts <= ALPHA / 2 else INCONCLUSIVE


def weakest(verdicts: Sequence[str]) -> str:
    """The verdict of an experiment from those on its claims, at least one."""
    return min(verdicts, key=WEAKEST_FIRST.index)
