"""The rule by which an experiment is judged, as functions of accuracies by seed.

A comparison claims that one arm is better than another. Its effect is the mean over seeds of the
difference in accuracy. The seed is the unit: the interval is Student's t over the seeds'
differences. Three seeds that all get everything right under one arm and nothing under the other
have no spread that t could see; so the standard error is never below that of the samples alone,
where each length counts one right and one wrong answer more (Agresti and Coull 1998), and equal
problems count once.

Two one-sided tests, each at half of ALPHA, each corrected over the family by Holm (1979):

- *reproduced*: the effect is at least the smallest that counts, and "it is none or the other way
  round" is rejected.
- *contradicted*: "the effect is at least the smallest that counts" is rejected, and the effect is
  not open above. It is where both arms are as good as never right, or as good as always, since such
  a scale tells nothing apart; and where a run ended before what is measured was reached.
- *not at this scale*: an arm that should have learned the trained lengths did not.
- *inconclusive*: none of these. One seed alone is always that, or not at this scale.

A comparison that the gate stops still counts in the family, so that the family is the stated one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

REPRODUCED = "reproduced"
INCONCLUSIVE = "inconclusive"
NOT_AT_THIS_SCALE = "not at this scale"
CONTRADICTED = "contradicted"
# An experiment is what the first of these is that one of its comparisons is.
WEAKEST_FIRST = (CONTRADICTED, NOT_AT_THIS_SCALE, INCONCLUSIVE, REPRODUCED)

GATE = 0.99  # least accuracy at trained lengths
ALPHA = 0.05  # of both one-sided tests together


@dataclass(frozen=True)
class Effect:
    """A difference in accuracy over seeds, with what its tests need."""

    value: float
    error: float  # standard error; nan with one seed
    seeds: int

    @property
    def interval(self) -> tuple[float, float]:
        """Covers 1 - ALPHA, uncorrected. (-inf, inf) with one seed."""
        if self.seeds < 2:
            return -math.inf, math.inf
        half = float(student.ppf(1 - ALPHA / 2, self.seeds - 1)) * self.error
        return self.value - half, self.value + half

    def p_at_most(self, bound: float) -> float:
        """p-value of "the true effect is at most `bound`"; 1 with one seed."""
        return self._p(self.value - bound)

    def p_at_least(self, bound: float) -> float:
        """p-value of "the true effect is at least `bound`"; 1 with one seed."""
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
    """Of accuracies by seed, in pairs of a seed.

    The variances are those of `sample_variance`, positive. ValueError where counts differ or are 0.
    """
    count = len(better_S)
    if not count or {len(worse_S), len(better_variance_S), len(worse_variance_S)} != {count}:
        raise ValueError("effect needs the same seeds of both arms, and at least one")
    apart_S = np.asarray(better_S, np.float64) - np.asarray(worse_S, np.float64)
    value = float(apart_S.mean())
    if count == 1:
        return Effect(value, math.nan, 1)
    of_seeds = float(apart_S.var(ddof=1)) / count
    of_samples = float(np.sum(better_variance_S) + np.sum(worse_variance_S)) / count**2
    return Effect(value, math.sqrt(max(of_seeds, of_samples)), count)


def sample_variance(
    right_K: Sequence[int], samples_K: Sequence[int], problems_K: Sequence[int]
) -> float:
    """Variance of the mean accuracy over K lengths, from samples alone; never 0.

    problems_K: how many of the samples of each length are different problems.
    """
    problems = np.asarray(problems_K, np.float64)
    share = (np.divide(right_K, samples_K) * problems + 1) / (problems + 2)
    return float(np.sum(share * (1 - share) / problems)) / len(problems) ** 2


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: a hypothesis is rejected at a level where its own is at most the level.

    Holm 1979: the i-th smallest of m is multiplied by m - i, and none may be below one before it.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    largest = 0.0
    for rank, place in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


@dataclass(frozen=True)
class Measured:
    """What a comparison came to."""

    effect: Effect
    margin: float  # the smallest effect that counts, above 0
    gated: tuple[float, ...]  # mean accuracies at trained lengths, of the arms that must know them
    # Why it can be reproduced but not contradicted; "": it can be.
    open_above: str = ""


@dataclass(frozen=True)
class Verdict:
    """Of one comparison. p-values are Holm's: of "none or the other way round", of "it counts"."""

    verdict: str
    p_none: float
    p_counts: float


def judge(family: Sequence[Measured]) -> list[Verdict]:
    """The verdict of each comparison of a family."""
    passes = [min(each.gated) >= GATE for each in family]
    none, counts = (
        holm([p if passed else 1.0 for p, passed in zip(found, passes, strict=True)])
        for found in (
            [each.effect.p_at_most(0.0) for each in family],
            [each.effect.p_at_least(each.margin) for each in family],
        )
    )
    verdicts = []
    for each, passed, p_none, p_counts in zip(family, passes, none, counts, strict=True):
        if not passed:
            said = NOT_AT_THIS_SCALE
        elif each.effect.value >= each.margin and p_none <= ALPHA / 2:
            said = REPRODUCED
        elif p_counts <= ALPHA / 2 and not each.open_above:
            said = CONTRADICTED
        else:
            said = INCONCLUSIVE
        verdicts.append(Verdict(said, p_none, p_counts))
    return verdicts


def weakest(verdicts: Sequence[str]) -> str:
    """The verdict of an experiment from those of its comparisons, at least one."""
    return min(verdicts, key=WEAKEST_FIRST.index)
