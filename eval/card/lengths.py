"""Effective lengths: how far a score holds, and where a fitted curve crosses a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.eval.statistics.bootstrap import Resamples
from lengthwise.eval.statistics.reach import Reach, reach

ABSOLUTE = 0.856  # share of the way from chance to perfect; RULER's 85.6 % (arXiv 2404.06654)
RELATIVE = 0.85  # share of the score at the shortest tested length (NoLiMa, arXiv 2502.05167)
SAFE_NATS = 0.02  # nats/token by which a length may be worse than L_train and still be safe


@dataclass(frozen=True)
class CrossingPoint:
    """A length in tokens, or on which side of all tested lengths it lies."""

    tokens: float | None  # None where `censored`
    censored: str  # "below": shorter than all tested lengths; "above": longer; or empty


@dataclass(frozen=True)
class Crossing:
    """Length at which a monotone fit falls below a threshold, with its interval."""

    value: CrossingPoint
    low: CrossingPoint
    high: CrossingPoint


def absolute_length(lengths: Sequence[int], corrected: Resamples) -> Reach:
    """L_eff(ABSOLUTE): the lower bounds of the corrected score stay at or above it."""
    return reach(lengths, [e.low >= ABSOLUTE for e in corrected.estimates()])


def relative_length(lengths: Sequence[int], corrected: Resamples) -> Reach:
    """The longest length that keeps RELATIVE of the score at the shortest one, by lower bounds.

    The two scores are compared within each resample. A model whose score at the shortest length is
    not above chance has nothing to keep: its length is below all.
    """
    margin = corrected.map(lambda x: x - RELATIVE * x[..., :1]).estimates()
    solved = corrected.estimates()[0].low > 0
    return reach(lengths, [solved and e.low >= 0 for e in margin])


def safe_length(lengths: Sequence[int], l_train: int, worse: Resamples) -> Reach:
    """The longest length whose loss is surely at most SAFE_NATS above that of the plain model at
    L_train, beginning with L_train itself, where another method may be worse.

    worse: NLL at each length minus NLL of the plain model at L_train, in pairs.
    """
    safe = [e.high <= SAFE_NATS for e in worse.estimates()]
    return _from_l_train(lengths, l_train, safe)


def useful_length(lengths: Sequence[int], l_train: int, worse: Resamples) -> Reach:
    """The longest length whose loss is surely below that of truncation to L_train, which itself is
    as useful as can be. A windowed model is safe for ever and useful never.

    worse: as for `safe_length`.
    """
    useful = [e.high < 0 or n == l_train for n, e in zip(lengths, worse.estimates(), strict=True)]
    return _from_l_train(lengths, l_train, useful)


def _from_l_train(lengths: Sequence[int], l_train: int, holds: Sequence[bool]) -> Reach:
    """Reach from L_train on, which itself holds where it was not tested."""
    at = {l_train: True} | {
        n: success for n, success in zip(lengths, holds, strict=True) if n >= l_train
    }
    return reach(list(at), list(at.values()))


def crossing(lengths: Sequence[int], scores: Resamples, threshold: float) -> Crossing:
    """Threshold crossing of the isotonic fit to a falling curve, interpolated in log2 length.

    Least squares under the constraint that the score never rises with length (Barlow et al. 1972),
    in each resample anew; every length has the same units, so all weigh the same. Unlike L_eff by
    lower bounds, its value does not move with the number of units, only its interval does.
    """
    log2_K = np.log2(np.asarray(lengths, np.float64))
    value = _crossed(log2_K, scores.value_K, threshold)
    crossed_S = np.array([_crossed(log2_K, row, threshold) for row in scores.draws_SK])
    tails = ((1 - scores.confidence) / 2, (1 + scores.confidence) / 2)
    # Draws beyond the tested lengths are infinite: quantiles are draws, not means of two.
    low, high = np.quantile(crossed_S, tails, method="inverted_cdf")
    return Crossing(_point(value), _point(low), _point(high))


def _crossed(log2_K: np.ndarray, score_K: np.ndarray, threshold: float) -> float:
    """Crossing as log2 of the length; -inf: below at the first length, inf: below at none."""
    from scipy.optimize import isotonic_regression  # a third of a second, for who draws alone

    fit_K = isotonic_regression(score_K, increasing=False).x
    below = int(np.searchsorted(-fit_K, -threshold, side="right"))  # first with fit < threshold
    if below == 0:
        return -np.inf
    if below == len(fit_K):
        return np.inf
    before, after = fit_K[below - 1], fit_K[below]
    share = (before - threshold) / (before - after)
    return float(log2_K[below - 1] + share * (log2_K[below] - log2_K[below - 1]))


def _point(log2: float) -> CrossingPoint:
    if np.isfinite(log2):
        return CrossingPoint(float(2**log2), "")
    return CrossingPoint(None, "above" if log2 > 0 else "below")
