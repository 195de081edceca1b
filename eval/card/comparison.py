"""Paired comparisons of trainings, and of methods of running one: scores of the same documents and
prompts, subtracted one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lengthwise.eval.card.contestants import Contestant
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.statistics.bootstrap import Estimate, Resamples, resampling
from lengthwise.eval.statistics.curves import PLAIN_CONTROL, Curve
from lengthwise.eval.statistics.resampling import chance_corrected, resample


class Difference(StrEnum):
    """Outcome for the second, by the interval of the paired difference."""

    BETTER = "better"
    WORSE = "worse"
    NONE = "no difference detectable"


@dataclass(frozen=True)
class Comparison:
    """Difference of one primary curve between two contestants, or two methods of one."""

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
    def outcomes(self) -> tuple[Difference, ...]:
        return tuple(
            Difference.BETTER if e.low > 0 else Difference.WORSE if e.high < 0 else Difference.NONE
            for e in self.better
        )


def compare(group: Sequence[Contestant], config: EvalConfig) -> tuple[list[Comparison], list[str]]:
    """Compares every other contestant with the first, on the primary curves that they share.

    Returns: the comparisons; and those that there are none of, since a figure is not finite.
    """
    first, *others = group
    mine = first.curves()
    comparisons: list[Comparison] = []
    left_out: list[str] = []
    for number, other in enumerate(others, start=1):
        theirs = other.curves()
        for key, runs in mine.items():
            if runs[0].primary and runs[0].control == PLAIN_CONTROL and key in theirs:
                pair = (first.name, other.name, number, runs, theirs[key])
                _add(comparisons, left_out, pair, config)
    return comparisons, left_out


def compare_methods(
    contestant: Contestant, config: EvalConfig
) -> tuple[list[Comparison], list[str]]:
    """Compares every other method of running the same weights with the plain model, as `compare`
    does."""
    curves = contestant.curves()
    comparisons: list[Comparison] = []
    left_out: list[str] = []
    for (scorer, metric, method, control), runs in curves.items():
        plain = curves.get((scorer, metric, PLAIN, control))
        if runs[0].primary and control == PLAIN_CONTROL and method != PLAIN and plain:
            # Of several seeds, each is compared with itself: both have the draws of group 0.
            _add(comparisons, left_out, (PLAIN, method, 0, plain, runs), config)
    return comparisons, left_out


def _add(
    comparisons: list[Comparison],
    left_out: list[str],
    pair: tuple[str, str, int, Sequence[Curve], Sequence[Curve]],
    config: EvalConfig,
) -> None:
    try:
        comparisons.append(compare_curves(*pair, config))
    except FloatingPointError as error:
        first, second, _, _, (curve, *_) = pair
        left_out.append(f"{curve.scorer}, {second} beside {first}: {error}")


def compare_curves(
    first: str,
    second: str,
    number: int,
    mine: Sequence[Curve],
    theirs: Sequence[Curve],
    config: EvalConfig,
) -> Comparison:
    """Compares the curve of one training with that of another, each by its seeds.

    number: of the second among the contestants; its seeds are drawn apart from the first's.
    """
    curve = theirs[0]
    pair: list[Resamples] = []
    for group, runs in ((0, mine), (number, theirs)):
        scores = resample(
            runs,
            **resampling(config),
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
