"""The quantities that claims compare: one value a seed, larger is better, with its variance.

The rule of `experiments.statistics.verdict` then applies to all of them. The variance is a lower
bound of that over seeds: the sampling variance of an accuracy; of a quantity that is only known in
steps, the rounding variance, a twelfth of the squared step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from lengthwise.experiments.definition import BEYOND, CRITICAL, FALL, GAP, IN_RANGE, SAMPLES, Claim
from lengthwise.experiments.statistics.verdict import GATE
from lengthwise.experiments.trial_results import TrialResult

# A value and its variance.
Value = tuple[float, float]

_ROUNDING = 1 / 12  # variance of rounding to whole numbers


def accuracy(run: TrialResult, where: str, all_samples: bool) -> Value:
    return run.accuracy(where), run.variance(where, all_samples=all_samples)


def gap(run: TrialResult) -> float:
    """Scylla's generalization gap (arXiv 2410.01769): max(accuracy in range - beyond, 0)."""
    return max(run.accuracy(IN_RANGE) - run.accuracy(BEYOND), 0.0)


def negative_gap(run: TrialResult, all_samples: bool) -> Value:
    """-gap, of which larger is better."""
    variances = (run.variance(where, all_samples=all_samples) for where in (IN_RANGE, BEYOND))
    return -gap(run), sum(variances)


def passes_gate(run: TrialResult) -> bool:
    """Whether accuracy on the selection samples ever reached GATE."""
    return any(each.exact >= GATE for each in run.curve)


def doublings(run: TrialResult) -> Value:
    """-log2 of the samples until accuracy on the selection samples first reaches GATE.

    Where it never does, all samples: a lower bound. Known to the step between two evaluations.

    Raises:
      ValueError: the run has no evaluations during training.
    """
    if not run.curve:
        raise ValueError(f"{run.arm}, seed {run.seed}: no scores in training")
    samples = [each.samples for each in run.curve]
    passes = (k for k, each in enumerate(run.curve) if each.exact >= GATE)
    k = next(passes, len(samples) - 1)
    previous = samples[k - 1] if k else samples[0] / 2
    return -math.log2(samples[k]), _ROUNDING * math.log2(samples[k] / previous) ** 2


def critical_complexity(runs: Sequence[TrialResult], levels: Sequence[int]) -> Value:
    """Scylla's critical complexity: the lowest level with the largest gap.

    Without any gap it is one above the highest level. runs: of one seed, one a level.
    """
    ordered = sorted(zip(levels, runs, strict=True), key=lambda pair: pair[0])
    gaps = [gap(run) for _, run in ordered]
    if max(gaps) == 0:
        return float(ordered[-1][0] + 1), _ROUNDING
    return float(ordered[int(np.argmax(gaps))][0]), _ROUNDING


def values_by_seed(
    claim: Claim,
    runs_of: Callable[[str], list[list[TrialResult]]],
    level: Callable[[str], int],
    *,
    all_samples: bool,
) -> tuple[list[Value], list[Value]]:
    """The compared quantity of the claim's better and worse side, by seed.

    Args:
      runs_of: name of an arm or a group -> its runs, a list a seed.
      level: name of an arm -> its level of complexity.
      all_samples: see `TrialResult.variance`.
    """
    better, worse = runs_of(claim.better), runs_of(claim.worse)
    if claim.where == CRITICAL:
        sides = [
            [critical_complexity(runs, [level(run.arm) for run in runs]) for runs in side]
            for side in (better, worse)
        ]
        return sides[0], sides[1]
    better_runs, worse_runs = ([runs[0] for runs in side] for side in (better, worse))
    if claim.where == FALL:
        return (
            [accuracy(run, IN_RANGE, all_samples) for run in better_runs],
            [accuracy(run, BEYOND, all_samples) for run in worse_runs],
        )
    value: Callable[[TrialResult], Value] = {
        BEYOND: lambda run: accuracy(run, BEYOND, all_samples),
        IN_RANGE: lambda run: accuracy(run, IN_RANGE, all_samples),
        GAP: lambda run: negative_gap(run, all_samples),
        SAMPLES: doublings,
    }[claim.where]
    return [value(run) for run in better_runs], [value(run) for run in worse_runs]
