"""Side by side, trainings and ways of running one: the same documents and prompts, subtracted one
by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lengthwise.eval.card.contestants import Contestant
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.statistics.bootstrap import Estimate, Resamples
from lengthwise.eval.statistics.curves import PLAIN_CONTROL, Curve
from lengthwise.eval.statistics.resampling import chance_corrected, resample


class Difference(StrEnum):
    """How the second does beside the first, by the interval of the paired difference."""

    BETTER = "better"
    WORSE = "worse"
    NONE = "no difference detectable"


@dataclass(frozen=True)
class Comparison:
    """One primary curve of two contestants, or of two methods of one."""

    first: str  # name of a contestant, or of a method
    second: str
    scorer: str
    metric: str
    method: str
    unit: str
    lengths: tuple[int, ...]
    # How much better the second is than the first at each length, in the unit of the score: the
    # second's accuracy minus the first's (both corrected for chance), the first's loss minus the
    # second's.
    better: tuple[Estimate, ...]

    @property
    def said(self) -> tuple[Difference, ...]:
        return tuple(
            Difference.BETTER if e.low > 0 else Difference.WORSE if e.high < 0 else Difference.NONE
            for e in self.better
        )


def compare(group: Sequence[Contestant], config: EvalConfig) -> list[Comparison]:
    """Each contestant after the first against it, on every primary curve that both have."""
    first, *others = group
    mine = first.curves()
    found = []
    for number, other in enumerate(others, start=1):
        theirs = other.curves()
        for key, runs in mine.items():
            if runs[0].primary and runs[0].control == PLAIN_CONTROL and key in theirs:
                found.append(compared(first.name, other.name, number, runs, theirs[key], config))
    return found


def compare_methods(contestant: Contestant, config: EvalConfig) -> list[Comparison]:
    """Every other way of running the same weights against the plain model."""
    curves = contestant.curves()
    found = []
    for (scorer, metric, method, control), runs in curves.items():
        plain = curves.get((scorer, metric, PLAIN, control))
        if runs[0].primary and control == PLAIN_CONTROL and method != PLAIN and plain:
            # Of several seeds, each is compared with itself: both have the draws of group 0.
            found.append(compared(PLAIN, method, 0, plain, runs, config))
    return found


def compared(
    first: str,
    second: str,
    number: int,
    mine: Sequence[Curve],
    theirs: Sequence[Curve],
    config: EvalConfig,
) -> Comparison:
    curve = theirs[0]
    pair: list[Resamples] = []
    for group, runs in ((0, mine), (number, theirs)):
        scores = resample(
            runs,
            samples=config.bootstrap_samples,
            confidence=config.confidence,
            seed=config.seed,
            group=group,
            opposed=bool(pair),
        )
        pair.append(chance_corrected(curve, scores) if curve.chance_K is not None else scores)
    ahead = pair[1].minus(pair[0]) if curve.higher_is_better else pair[0].minus(pair[1])
    return Comparison(
        first=first,
        second=second,
        scorer=curve.scorer,
        metric=curve.metric,
        method=curve.method,
        unit=curve.unit,
        lengths=curve.lengths,
        better=tuple(ahead.estimates()),
    )
