"""Retention of checkpoints: which of them stay when another one is saved."""

from collections.abc import Callable
from typing import Any

from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    EveryNSteps,
    LatestN,
    PreservationPolicy,
)


def retention(keep_every: int, score: Callable[[Any], float]) -> AnyPreservationPolicy:
    """The last two, the one with the lowest score, and those at multiples of `keep_every` steps.

    Args:
      keep_every: 0: none besides.
      score: of the metrics of a checkpoint.
    """
    policies: list[PreservationPolicy] = [
        LatestN(2),
        BestN(
            n=1,
            get_metric_fn=lambda metrics: -score(metrics),
            keep_checkpoints_without_metrics=False,
        ),
    ]
    if keep_every:
        policies.append(EveryNSteps(keep_every))
    return AnyPreservationPolicy(policies)
