"""Curves as resamples: the one way from scores of units to intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.curves import Curve
from eval.statistics import ClusterBootstrap, Resamples, over_seeds


def resample(
    runs: Sequence[Curve], *, samples: int, confidence: float, seed: int, group: int = 0
) -> Resamples:
    """The scores of a curve at its K lengths; of several training seeds, their mean.

    Two curves of one population are resampled alike, so that their difference is one of pairs.
    A score with a best and a chance comes with two units more in the resamples, one perfect and one
    zero: where all units agree, resampling them says that nothing is uncertain, after 20 prompts
    as after 20,000 (Agresti and Coull 1998 add as many to a share). The value itself has none.

    runs: the same curve of each training seed.
    group: of the runs; groups of other numbers have other draws of their seeds.
    """
    drawn = []
    for curve in runs:
        sums_NK, counts_NK, clusters_N = curve.sums_NK, curve.counts_NK, curve.clusters_N
        if curve.best is not None:
            count_1K = counts_NK.mean(axis=0, keepdims=True)
            sums_NK = np.concatenate([sums_NK, curve.best * count_1K, 0 * count_1K])
            counts_NK = np.concatenate([counts_NK, count_1K, count_1K])
            more = clusters_N.max() + np.array([1, 2])
            clusters_N = np.concatenate([clusters_N, more])
        bootstrap = ClusterBootstrap(clusters_N, samples=samples, confidence=confidence, seed=seed)
        draws_SK = bootstrap.ratios(sums_NK, counts_NK).draws_SK
        value_K = curve.sums_NK.sum(axis=0) / curve.counts_NK.sum(axis=0)
        drawn.append(Resamples(value_K, draws_SK, confidence))
    return over_seeds(drawn, seed=seed + group)


def chance_corrected(curve: Curve, scores: Resamples) -> Resamples:
    """0 at chance, 1 at the perfect score, at each length. ValueError: the curve has no chance."""
    if curve.chance_K is None or curve.best is None:
        raise ValueError(f"{curve.scorer}: {curve.metric} has no chance level")
    chance_K, span_K = curve.chance_K, curve.best - curve.chance_K
    return scores.map(lambda x: (x - chance_K) / span_K)
