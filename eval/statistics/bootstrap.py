"""Document-clustered bootstrap intervals.

Tokens of one document are not independent, and neither are near-duplicate documents, so whole
clusters of documents are resampled (Efron and Tibshirani 1993, chapter 8; Field and Welsh 2007
for clusters). The estimates are ratios of sums (total nats over total tokens), and the ratio is
formed inside each resample, so that clusters of unequal size count by their tokens.

Percentile intervals are a little too narrow when there are few clusters (with 20 of them a
nominal 95 % covers about 92 to 94 %); results say how many clusters stand behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lengthwise.eval.config import EvalConfig


@dataclass(frozen=True)
class Estimate:
    """Point estimate and its interval, in the unit of the value."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Resamples:
    """K statistics, and their values in each of S bootstrap resamples.

    A function of them has an interval, since it is computed in each resample. Two that were
    resampled alike (same clusters, same seed) are compared in pairs by their difference.
    """

    value_K: np.ndarray
    draws_SK: np.ndarray
    confidence: float  # coverage of the intervals, in (0, 1)

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Resamples:
        """function: [..., K] -> [..., K'], of the numbers and of every resample of them."""
        return Resamples(function(self.value_K), function(self.draws_SK), self.confidence)

    def minus(self, other: Resamples) -> Resamples:
        """The paired difference."""
        return Resamples(
            self.value_K - other.value_K, self.draws_SK - other.draws_SK, self.confidence
        )

    def at(self, k: int) -> Resamples:
        """The k-th number alone, which has K = 1."""
        return self.map(lambda x: x[..., [k]])

    def estimates(self) -> list[Estimate]:
        """The numbers with their percentile intervals.

        Every interval of results and card comes from here. Raises FloatingPointError where a
        number or a resample of it is not finite, such as a ratio of which some resample divides by
        zero: it has no interval, and whoever asked leaves it out.
        """
        if not np.isfinite(self.value_K).all():
            raise FloatingPointError("the score is not finite")
        wrong_S = ~np.isfinite(self.draws_SK).all(axis=1)
        if wrong_S.any():
            raise FloatingPointError(
                f"{wrong_S.sum():,} of {len(wrong_S):,} resamples are not finite"
            )
        tails = ((1 - self.confidence) / 2, (1 + self.confidence) / 2)
        low_K, high_K = np.quantile(self.draws_SK, tails, axis=0)
        return [
            Estimate(float(value), float(low), float(high))
            for value, low, high in zip(self.value_K, low_K, high_K, strict=True)
        ]


def over_seeds(runs: Sequence[Resamples], seed: int) -> Resamples:
    """Mean over training seeds, with an interval that covers untrained seeds.

    runs: the same units under each seed, resampled alike. Documents are resampled for all seeds
    together, since all read the same ones (Owen 2007, the pigeonhole bootstrap: resampled for each
    seed by itself, what is easy or hard about them would average out). Seeds are so few that
    resampling them would be far too narrow; instead their mean moves as Student's t has it, with
    one degree of freedom fewer than there are seeds, alike at all lengths. One run is itself.
    """
    count = len(runs)
    if count == 1:
        return runs[0]
    value_RK = np.stack([run.value_K for run in runs])
    draws_SK = np.mean([run.draws_SK for run in runs], axis=0)
    apart_RK = value_RK - value_RK.mean(axis=0)
    rng = np.random.default_rng(seed)
    normal_SR = rng.standard_normal((len(draws_SK), count))
    spread_S = np.sqrt(rng.chisquare(count - 1, len(draws_SK)) / (count - 1))
    moved_SK = normal_SR @ apart_RK / np.sqrt(count * (count - 1)) / spread_S[:, None]
    return Resamples(value_RK.mean(axis=0), draws_SK + moved_SK, runs[0].confidence)


def within_bounds(
    sums_NK: np.ndarray,
    counts_NK: np.ndarray,
    clusters_N: np.ndarray,
    bounds: tuple[float, float],
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> Resamples:
    """`ClusterBootstrap.ratios` of bounded scores, with two pseudo-units.

    The resamples have two units more, one at each bound: where all units agree, resampling them
    says that nothing is uncertain, after 20 prompts as after 20,000 (Agresti and Coull 1998 add as
    many to a share; Agresti and Min 2005 to a difference of pairs). The values have none.

    bounds: the one unit more that stands last, then the other. Only who resamples two scores as
    pairs cares which is which.
    """
    count_1K = counts_NK.mean(axis=0, keepdims=True)
    last, first = bounds
    bootstrap = ClusterBootstrap(
        np.concatenate([clusters_N, clusters_N.max() + np.array([1, 2])]),
        samples=samples,
        confidence=confidence,
        seed=seed,
    )
    draws_SK = bootstrap.ratios(
        np.concatenate([sums_NK, first * count_1K, last * count_1K]),
        np.concatenate([counts_NK, count_1K, count_1K]),
    ).draws_SK
    return Resamples(sums_NK.sum(axis=0) / counts_NK.sum(axis=0), draws_SK, confidence)


def resampling(config: EvalConfig) -> dict[str, Any]:
    """Keyword arguments of `ClusterBootstrap` and what is built on it, as the config sets them."""
    return {
        "samples": config.bootstrap_samples,
        "confidence": config.confidence,
        "seed": config.seed,
    }


class ClusterBootstrap:
    """Bootstrap over clusters; all statistics share one draw of resampling weights."""

    def __init__(self, clusters_N: np.ndarray, *, samples: int, confidence: float, seed: int):
        """clusters_N: cluster id per document. samples: resamples. confidence: in (0, 1).

        Raises ValueError with fewer than two clusters: no interval can be formed.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence {confidence} is not between 0 and 1")
        _, self.group_N = np.unique(np.asarray(clusters_N), return_inverse=True)
        self.num_clusters = int(self.group_N.max()) + 1 if self.group_N.size else 0
        if self.num_clusters < 2:
            raise ValueError(f"{self.num_clusters} cluster(s): an interval needs at least 2")
        self.confidence = confidence
        # Drawing G clusters with replacement = multinomial counts: how often each one was drawn.
        probabilities = np.full(self.num_clusters, 1 / self.num_clusters)
        rng = np.random.default_rng(seed)
        self.weights_SG = rng.multinomial(self.num_clusters, probabilities, size=samples)

    def ratio(self, sums_N: np.ndarray, counts_N: np.ndarray) -> Estimate:
        """sum(sums) / sum(counts) over documents, with its percentile interval.

        sums_N: per document, for instance nats. counts_N: per document, for instance tokens,
        all positive (ValueError otherwise: a resample could have nothing to divide by).
        """
        sums_NK, counts_NK = np.asarray(sums_N)[:, None], np.asarray(counts_N)[:, None]
        (estimate,) = self.ratios(sums_NK, counts_NK).estimates()
        return estimate

    def ratios(self, sums_NK: np.ndarray, counts_NK: np.ndarray) -> Resamples:
        """`ratio` for K columns at once, resampled together."""
        counts_NK = np.asarray(counts_NK, np.float64)
        sums_NK = np.asarray(sums_NK, np.float64)
        if len(sums_NK) != len(self.group_N) or sums_NK.shape != counts_NK.shape:
            raise ValueError(f"{sums_NK.shape} sums, {counts_NK.shape} counts: one per document")
        if not (counts_NK > 0).all():
            raise ValueError("a document has no targets")
        return Resamples(
            sums_NK.sum(axis=0) / counts_NK.sum(axis=0),
            (self.weights_SG @ self._by_cluster(sums_NK))
            / (self.weights_SG @ self._by_cluster(counts_NK)),
            self.confidence,
        )

    def _by_cluster(self, numbers_NK: np.ndarray) -> np.ndarray:
        """[G, K] sums over the documents of each cluster."""
        sums_GK = np.zeros((self.num_clusters, numbers_NK.shape[1]))
        np.add.at(sums_GK, self.group_N, numbers_NK)
        return sums_GK
