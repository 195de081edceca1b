"""Resamples of curves: the one code path from scores of units to intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lengthwise.eval.statistics.bootstrap import (
    ClusterBootstrap,
    Resamples,
    over_seeds,
    within_bounds,
)
from lengthwise.eval.statistics.curves import Curve


def resample(
    runs: Sequence[Curve],
    *,
    samples: int,
    confidence: float,
    seed: int,
    group: int = 0,
    opposed: bool = False,
) -> Resamples:
    """Resamples of a curve's scores at its K lengths, or of their mean over training seeds.

    Two curves of one population are resampled alike, so that their difference is one of pairs.
    A score with a best is a share, which `within_bounds` resamples.

    runs: the same curve of each training seed.
    group: of the runs; groups of other numbers have other draws of their seeds.
    opposed: to be subtracted from another that is not: the two units more that a share has are
      then a pair each way that disagrees, so that a difference is never without an interval
      (Agresti and Min 2005).
    """
    settings: dict[str, Any] = {"samples": samples, "confidence": confidence, "seed": seed}
    seeds = []
    for curve in runs:
        scores = curve.sums_NK, curve.counts_NK
        if curve.best is None:
            seeds.append(ClusterBootstrap(curve.clusters_N, **settings).ratios(*scores))
        else:
            bounds = (curve.best, 0.0) if opposed else (0.0, curve.best)
            seeds.append(within_bounds(*scores, curve.clusters_N, bounds, **settings))
    return over_seeds(seeds, seed=seed + group)


def chance_corrected(curve: Curve, scores: Resamples) -> Resamples:
    """Rescales scores to 0 at chance, 1 at perfect.

    Raises ValueError without a chance level, and FloatingPointError where chance is perfect at a
    length: there is no scale then.
    """
    if curve.chance_K is None or curve.best is None:
        raise ValueError(f"{curve.scorer}: {curve.metric} has no chance level")
    chance_K, span_K = curve.chance_K, curve.best - curve.chance_K
    if (span_K <= 0).any():
        lengths = ", ".join(str(n) for n, no in zip(curve.lengths, span_K <= 0, strict=True) if no)
        raise FloatingPointError(f"a guess gets the best score already at {lengths} tokens")
    return scores.map(lambda x: (x - chance_K) / span_K)
