"""Accuracies by length with intervals, and how far they hold."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from eval.answers.score import Hits
from eval.statistics import ClusterBootstrap, Estimate


@dataclass(frozen=True)
class LengthScore:
    """One length; shares in [0, 1]."""

    length: int  # in what the task counts
    in_range: bool  # a length that was trained on
    samples: int
    exact: Estimate  # answers that are right as a whole; Wilson's interval
    token: Estimate  # right tokens of the answers; bootstrap over samples

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Answers:
    """All lengths, ascending."""

    scores: tuple[LengthScore, ...]
    threshold: float

    @property
    def falls_at(self) -> int | None:
        """The first tested length with fewer right answers than the threshold; None: no length."""
        below = (s.length for s in self.scores if s.exact.value < self.threshold)
        return next(below, None)

    def mean_exact(self, in_range: bool) -> float | None:
        """Mean over the lengths in range or beyond; None where none was tested."""
        found = [s.exact.value for s in self.scores if s.in_range == in_range]
        return float(np.mean(found)) if found else None

    def table(self) -> str:
        """For a terminal: a line a length, then what it comes to."""
        lines = [f"{'length':>8} {'exact match':>28} {'tokens right':>28}"]
        for score in self.scores:
            cells = (
                f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in (score.exact, score.token)
            )
            first, second = cells
            beyond = "" if score.in_range else "  beyond"
            lines.append(f"{score.length:>8} {first:>28} {second:>28}{beyond}")
        fell = self.falls_at
        if fell is None:
            lines.append(f"exact match is {self.threshold} or more at all tested lengths")
        else:
            lines.append(f"exact match falls under {self.threshold} at length {fell}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "threshold": self.threshold,
            "falls_at": self.falls_at,
            "mean_exact_in_range": self.mean_exact(True),
            "mean_exact_beyond": self.mean_exact(False),
            "lengths": [score.as_dict() for score in self.scores],
        }


def summarize(
    hits: Sequence[Hits],
    trained: tuple[int, int],
    *,
    threshold: float,
    confidence: float,
    bootstrap_samples: int,
    seed: int,
) -> Answers:
    """Of samples at ascending lengths.

    trained: shortest and longest length of training.
    """
    scores = []
    for each in hits:
        count = each.exact_N.size
        right = binomtest(int(each.exact_N.sum()), count)
        interval = right.proportion_ci(confidence, method="wilson")
        bootstrap = ClusterBootstrap(
            np.arange(count), samples=bootstrap_samples, confidence=confidence, seed=seed
        )
        scores.append(
            LengthScore(
                length=each.length,
                in_range=trained[0] <= each.length <= trained[1],
                samples=count,
                exact=Estimate(float(right.statistic), float(interval.low), float(interval.high)),
                token=bootstrap.ratio(each.hits_N, each.tokens_N),
            )
        )
    return Answers(tuple(scores), threshold)
