"""Accuracies by length with intervals, and the length at which they fall."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lengthwise.eval.answers.runs import EXACT, TOKEN, Training
from lengthwise.eval.answers.score import Hits
from lengthwise.eval.statistics.bootstrap import Estimate, within_bounds
from lengthwise.eval.statistics.resampling import resample


@dataclass(frozen=True)
class LengthScore:
    """Accuracies at one length, shares in [0, 1]."""

    length: int  # in what the task counts
    in_range: bool  # a length that was trained on
    samples: int
    exact: Estimate  # answers that are right as a whole
    token: Estimate  # right tokens of the answers
    chance: float  # answers that the best constant guess has right as a whole

    def as_dict(self) -> dict[str, Any]:
        """Fields as JSON has them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Answers:
    """Accuracies at all tested lengths, ascending."""

    scores: tuple[LengthScore, ...]
    threshold: float

    @property
    def falls_at(self) -> int | None:
        """The first tested length with fewer right answers than the threshold; None: no length."""
        below = (s.length for s in self.scores if s.exact.value < self.threshold)
        return next(below, None)

    def mean_exact(self, in_range: bool) -> float | None:
        """Mean over the lengths in range or beyond; None where none was tested."""
        values = [s.exact.value for s in self.scores if s.in_range == in_range]
        return float(np.mean(values)) if values else None

    def table(self) -> str:
        """Table for a terminal: a line a length, then a summary."""
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
        """Fields as JSON has them."""
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
    chance_K: Sequence[float],
    *,
    threshold: float,
    confidence: float,
    bootstrap_samples: int,
    seed: int,
) -> Answers:
    """Summarizes samples at ascending lengths: Wilson's interval for exact match, the bootstrap
    over samples for tokens.

    trained: shortest and longest length of training. chance_K: at each length.
    """
    from scipy.stats import binomtest  # half a second, for who scores answers alone

    scores = []
    for each, chance in zip(hits, chance_K, strict=True):
        count = each.exact_N.size
        right = binomtest(int(each.exact_N.sum()), count)
        interval = right.proportion_ci(confidence, method="wilson")
        (token,) = within_bounds(
            each.hits_N[:, None].astype(np.float64),
            each.tokens_N[:, None].astype(np.float64),
            np.arange(count),
            (0.0, 1.0),
            samples=bootstrap_samples,
            confidence=confidence,
            seed=seed,
        ).estimates()
        scores.append(
            LengthScore(
                length=each.length,
                in_range=trained[0] <= each.length <= trained[1],
                samples=count,
                exact=Estimate(float(right.statistic), float(interval.low), float(interval.high)),
                token=token,
                chance=chance,
            )
        )
    return Answers(tuple(scores), threshold)


def over_seeds(
    training: Training,
    trained: tuple[int, int],
    chance_K: Sequence[float],
    *,
    threshold: float,
    confidence: float,
    bootstrap_samples: int,
    seed: int,
) -> Answers:
    """Averages over the seeds of a training, with intervals over seeds and samples: samples are
    resampled, and the mean over seeds moves as Student's t has it (eval/statistics/), so that
    they hold for seeds that were not trained. Cut to [0, 1].

    Sample i is resampled for all seeds together. That is right where all seeds have the same
    samples, and where each has its own, since then its i-th ones are independent.
    """
    exact_K, token_K = (
        resample(
            training.curves(metric), samples=bootstrap_samples, confidence=confidence, seed=seed
        ).estimates()
        for metric in (EXACT, TOKEN)
    )
    key = training.runs[0].key
    return Answers(
        tuple(
            LengthScore(
                length=length,
                in_range=trained[0] <= length <= trained[1],
                samples=key.samples * len(training.runs),
                exact=_share(exact),
                token=_share(token),
                chance=chance,
            )
            for length, exact, token, chance in zip(
                key.lengths, exact_K, token_K, chance_K, strict=True
            )
        ),
        threshold,
    )


def _share(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, max(0.0, estimate.low), min(1.0, estimate.high))
