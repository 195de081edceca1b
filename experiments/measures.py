"""What claims compare: a value of each seed of an arm, the larger the better, and how sure it is.

The rule of `experiments.verdict` then holds for all of them. Each value comes with a variance below
which that over seeds is never taken: of the samples where it is an accuracy, of rounding (a twelfth
of the square of a step) where it can only be told in steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from lengthwise.experiments.definition import BEYOND, CRITICAL, FALL, GAP, IN_RANGE, SAMPLES, Claim
from lengthwise.experiments.runs import Run
from lengthwise.experiments.verdict import GATE

# A value and its variance.
Value = tuple[float, float]

_ROUNDING = 1 / 12  # variance of what is rounded to whole numbers


def accuracy(run: Run, where: str, drawn: bool) -> Value:
    return run.accuracy(where), run.variance(where, drawn=drawn)


def gap(run: Run) -> float:
    """Scylla's (arXiv 2410.01769): max(accuracy in range - accuracy beyond, 0)."""
    return max(run.accuracy(IN_RANGE) - run.accuracy(BEYOND), 0.0)


def closeness(run: Run, drawn: bool) -> Value:
    """The gap with its sign turned, so that a smaller gap is better."""
    return -gap(run), run.variance(IN_RANGE, drawn=drawn) + run.variance(BEYOND, drawn=drawn)


def knew(run: Run) -> bool:
    """Whether the selection samples were ever 99 % right."""
    return any(each.exact >= GATE for each in run.curve)


def doublings(run: Run) -> Value:
    """-log2 of the samples after which the selection samples were first 99 % right.

    Where they never were, it is that of all samples: a lower bound of what is needed. Told to the
    step between two scores. ValueError: a run without scores on the way.
    """
    if not run.curve:
        raise ValueError(f"{run.arm}, seed {run.seed}: no scores in training")
    seen = [each.samples for each in run.curve]
    passed = (k for k, each in enumerate(run.curve) if each.exact >= GATE)
    place = next(passed, len(seen) - 1)
    before = seen[place - 1] if place else seen[0] / 2
    return -math.log2(seen[place]), _ROUNDING * math.log2(seen[place] / before) ** 2


def critical(runs: Sequence[Run], levels: Sequence[int]) -> Value:
    """Scylla's critical complexity: the level of the largest gap, the lowest of equals.

    runs: of one seed, one a level. Where no level has a gap, it is above the highest one.
    """
    ordered = sorted(zip(levels, runs, strict=True), key=lambda pair: pair[0])
    gaps = [gap(run) for _, run in ordered]
    if max(gaps) == 0:
        return float(ordered[-1][0] + 1), _ROUNDING
    return float(ordered[int(np.argmax(gaps))][0]), _ROUNDING


def measured_by_seed(
    claim: Claim,
    of: Callable[[str], list[list[Run]]],
    level: Callable[[str], int],
    *,
    drawn: bool,
) -> tuple[list[Value], list[Value]]:
    """Of the better side and of the worse one, by seed.

    of: name of an arm or a group -> its runs, a list a seed. level: of an arm. drawn: see
    `Run.variance`.
    """
    better, worse = of(claim.better), of(claim.worse)
    if claim.where == CRITICAL:
        sides = [
            [critical(runs, [level(run.arm) for run in runs]) for runs in side]
            for side in (better, worse)
        ]
        return sides[0], sides[1]
    one = [[runs[0] for runs in side] for side in (better, worse)]
    if claim.where == FALL:
        return (
            [accuracy(run, IN_RANGE, drawn) for run in one[0]],
            [accuracy(run, BEYOND, drawn) for run in one[1]],
        )
    value: Callable[[Run], Value] = {
        BEYOND: lambda run: accuracy(run, BEYOND, drawn),
        IN_RANGE: lambda run: accuracy(run, IN_RANGE, drawn),
        GAP: lambda run: closeness(run, drawn),
        SAMPLES: doublings,
    }[claim.where]
    return [value(run) for run in one[0]], [value(run) for run in one[1]]
