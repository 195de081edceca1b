"""Times until an event, with runs that ended before it: censored, never dropped.

Two arms are compared up to the budget that all their runs had, tau. The effect is the difference of
restricted means: the mean over seeds of min(time, tau) in doublings, which is well defined however
many runs are censored at tau (Royston and Parmar 2013). H0 "no difference" is tested by the
log-rank test, which takes censored runs as such.

Letter: S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import CensoredData, logrank

from lengthwise.experiments.statistics.verdict import Effect, effect


@dataclass(frozen=True)
class EventTime:
    """The time of one run until an event, or until its end."""

    time: float  # above 0
    happened: bool  # False: censored, the run ended at `time` without the event
    resolution: float = 0.0  # in doublings: the event lies this much before `time`, at most

    @classmethod
    def between(cls, previous: float, time: float) -> EventTime:
        """An event that was seen at `time`, and not yet at `previous`."""
        return cls(time, True, math.log2(time / previous))

    def until(self, end: float) -> EventTime:
        """The same run as one that ends at `end`, at the latest."""
        return self if self.time <= end else EventTime(end, False)


@dataclass(frozen=True)
class SurvivalEffect:
    """How much earlier an event comes, in doublings; see the module's text."""

    restricted: Effect  # of restricted means
    p_earlier: float  # log-rank, one-sided; H0: it comes no earlier

    @property
    def value(self) -> float:
        return self.restricted.value

    @property
    def seeds(self) -> int:
        return self.restricted.seeds

    @property
    def interval(self) -> tuple[float, float]:
        """Student's interval of the difference of restricted means."""
        return self.restricted.interval

    def p_at_most(self, bound: float) -> float:
        """The log-rank test where the bound is 0; else Student's t over restricted means."""
        return self.p_earlier if bound == 0 else self.restricted.p_at_most(bound)

    def p_at_least(self, bound: float) -> float:
        return self.restricted.p_at_least(bound)


def survival_effect(earlier_S: Sequence[EventTime], later_S: Sequence[EventTime]) -> SurvivalEffect:
    """The effect "the event comes earlier in the first arm", paired by seed.

    Raises:
      ValueError: the numbers of seeds differ, or are 0.
    """
    ends = [each.time for each in (*earlier_S, *later_S) if not each.happened]
    tau = min(ends, default=math.inf)
    sides = [[each.until(tau) for each in side] for side in (earlier_S, later_S)]
    doublings = [[-math.log2(each.time) for each in side] for side in sides]
    # Rounding is uniform over the step between two evaluations; it keeps the error above 0.
    variances = [[max(each.resolution, 1e-6) ** 2 / 12 for each in side] for side in sides]
    restricted = effect(*doublings, *variances)
    if restricted.seeds < 2 or not any(each.happened for side in sides for each in side):
        return SurvivalEffect(restricted, 1.0)
    test = logrank(*map(_censored, sides), alternative="greater")
    return SurvivalEffect(restricted, float(np.nan_to_num(test.pvalue, nan=1.0)))


def _censored(side: Sequence[EventTime]) -> CensoredData:
    return CensoredData.right_censored(
        [each.time for each in side], [not each.happened for each in side]
    )
