"""Seeds that a claim needs, from the standard deviation of pilot runs.

The decision rule of `experiments.statistics.verdict` is integrated over what a sample of seeds may
give: their mean is normal, their variance chi-square, independent of it. No simulation.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import fixed_quad
from scipy.stats import chi, norm
from scipy.stats import t as student

from lengthwise.experiments.statistics.verdict import ALPHA

POWER = 0.8  # share of repetitions in which the rule should find what is there
FEWEST_SEEDS = 3  # two leave one degree of freedom: an interval of nine standard deviations
MOST_SEEDS = 100  # that are looked at
_NODES = 80  # of each half of an integral


@dataclass(frozen=True)
class Design:
    """A claim to be tested, as power sees it."""

    margin: float  # smallest effect that counts
    deviation: float  # standard deviation of a seed's difference between two arms
    claims: int = 1  # of the family: the first step of Holm's correction

    def probability(self, verdict: str, truth: float, seeds: int) -> float:
        """Probability of a verdict where the effect is `truth`.

        Args:
          verdict: "reproduced", or "equivalent".
        """
        critical = float(student.isf(ALPHA / 2 / self.claims, seeds - 1))
        error = self.deviation / math.sqrt(seeds)

        def given(ratio_N: np.ndarray) -> np.ndarray:
            """Probability where the sample's deviation is `ratio` times the true one."""
            reach_N = critical * ratio_N * error
            if verdict == "reproduced":
                return norm.sf((np.maximum(self.margin, reach_N) - truth) / error)
            room_N = np.maximum(0.0, self.margin - reach_N)
            return norm.cdf((room_N - truth) / error) - norm.cdf((-room_N - truth) / error)

        spread = chi(seeds - 1, scale=1 / math.sqrt(seeds - 1))
        low, high = spread.ppf([1e-9, 1 - 1e-9])
        # The integrand has a corner where the margin takes over.
        corner = min(max(self.margin / (critical * error), low), high)
        return sum(
            float(fixed_quad(lambda x_N: given(x_N) * spread.pdf(x_N), *part, n=_NODES)[0])
            for part in ((low, corner), (corner, high))
        )

    def seeds_needed(self) -> int | None:
        """Fewest seeds that decide the claim; None: more than MOST_SEEDS.

        They find an effect of two margins, and that equal arms are equivalent, in POWER of
        repetitions each.
        """

        def decides(seeds: int) -> bool:
            found = self.probability("reproduced", 2 * self.margin, seeds)
            return min(found, self.probability("equivalent", 0.0, seeds)) >= POWER

        # Power grows with the seeds: the first that decides is found by halving.
        seeds = range(FEWEST_SEEDS, MOST_SEEDS + 1)
        first = bisect.bisect_left(seeds, True, key=decides)
        return seeds[first] if first < len(seeds) else None


def difference_deviation(values: Sequence[float]) -> float:
    """Deviation of the difference of two arms, from one value a pilot run of one arm.

    The arms count as independent of each other: what pairs seeds is not known before a run.

    Raises:
      ValueError: fewer than two pilots.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} pilot runs have no standard deviation")
    return math.sqrt(2) * float(np.std(values, ddof=1))
