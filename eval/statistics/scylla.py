"""Critical complexity and the generalization gap, after Scylla (arXiv 2410.01769).

A task comes in levels of complexity, and at each in examples like those that were trained on and in
others. The gap at a level is max(accuracy in distribution - accuracy out of it, 0). It rises while
a model gets by on what it remembers and falls where it fails at both: the level of the largest gap
is the critical complexity, up to which the model relies on what it saw.

It is named if there is a gap at all: the lower bound of one of K levels lies above zero, at a K-th
of the error that one interval has (Bonferroni, the first step of Holm). By intervals as they are,
some level would seem to have a gap the more often the more levels are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.eval.statistics.bootstrap import Estimate, Resamples, within_bounds


@dataclass(frozen=True)
class Scylla:
    """Accuracies and generalization gap of a task over its levels of complexity."""

    levels: tuple[int, ...]
    in_distribution: tuple[Estimate, ...]  # accuracy at each level
    out_of_distribution: tuple[Estimate, ...]
    gap: tuple[Estimate, ...]  # max(in - out, 0)
    # Level of the largest gap, the lowest of equals, with the interval of levels. None: no level
    # has a gap by its lower bound for all levels together, so that nothing critical can be named.
    critical: int | None
    critical_low: int | None
    critical_high: int | None
    censored: bool  # the largest gap is at the highest level: the true peak may lie beyond

    def __str__(self) -> str:
        if self.critical is None:
            return "no generalization gap is detectable at any level"
        peak = self.gap[self.levels.index(self.critical)]
        beyond = ", the highest tested" if self.censored else ""
        return (
            f"critical complexity {self.critical} [{self.critical_low}, {self.critical_high}]"
            f"{beyond}, with a generalization gap of {peak.value:.0%} "
            f"[{peak.low:.0%}, {peak.high:.0%}]"
        )


def scylla(
    levels: Sequence[int],
    inside_NK: np.ndarray,
    outside_MK: np.ndarray,
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> Scylla:
    """Estimates the gap from N examples in distribution and M out of it, at K ascending levels.

    Examples are resampled, the two kinds by themselves. A score is 0 to 1: right or wrong, or the
    share of an example's parts. Raises ValueError: levels that don't ascend, or shapes that don't
    fit them.
    """
    if list(levels) != sorted(set(levels)) or not levels:
        raise ValueError(f"levels {levels} are not ascending")
    if inside_NK.shape[1:] != (len(levels),) or outside_MK.shape[1:] != (len(levels),):
        raise ValueError(f"{inside_NK.shape} and {outside_MK.shape} scores at {len(levels)} levels")
    shares = [
        _resample(scores, samples, confidence, seed + number)
        for number, scores in enumerate((inside_NK, outside_MK))
    ]
    difference = shares[0].minus(shares[1])
    gap = difference.map(lambda x: np.maximum(x, 0))
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    critical = low = high = None
    # By the difference itself: cut at zero, no bound would lie below.
    if (np.quantile(difference.draws_SK, tails[0] / len(levels), axis=0) > 0).any():
        peak_S = np.argmax(gap.draws_SK, axis=1)
        critical = levels[int(np.argmax(gap.value_K))]
        low, high = (levels[int(k)] for k in np.quantile(peak_S, tails, method="inverted_cdf"))
    return Scylla(
        levels=tuple(levels),
        in_distribution=tuple(shares[0].estimates()),
        out_of_distribution=tuple(shares[1].estimates()),
        gap=tuple(gap.estimates()),
        critical=critical,
        critical_low=low,
        critical_high=high,
        censored=critical == levels[-1],
    )


def _resample(scores_NK: np.ndarray, samples: int, confidence: float, seed: int) -> Resamples:
    return within_bounds(
        scores_NK,
        np.ones_like(scores_NK, dtype=np.float64),
        np.arange(len(scores_NK)),
        (0.0, 1.0),
        samples=samples,
        confidence=confidence,
        seed=seed,
    )
