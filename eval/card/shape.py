"""The shape of a curve over lengths: areas within and beyond L_train, retention, sudden drops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.eval.statistics.bootstrap import Estimate, Resamples

GROWTH = 1.5  # of the length, over which a drop is sudden


@dataclass(frozen=True)
class Areas:
    """Mean scores over log2 of the length: the area under the curve a doubling.

    None where no stretch of the tested lengths lies there. retention: beyond / within; None also
    where the score within is not surely above zero, or is zero in a resample, which then has no
    ratio.
    """

    within: Estimate | None
    beyond: Estimate | None
    retention: Estimate | None
    why_no_retention: str = ""  # empty: there is one


@dataclass(frozen=True)
class Drop:
    """Significant fall of a score from one tested length to the next."""

    start: int  # tokens
    end: int  # tokens, the shortest tested length that is at least GROWTH times `start`
    fall: Estimate  # of the score, positive


def areas(lengths: Sequence[int], l_train: int, scores: Resamples) -> Areas:
    """Trapezoids over log2 length, split at L_train, where the score is interpolated if need be."""
    log2_K, split = np.log2(np.asarray(lengths, np.float64)), float(np.log2(l_train))
    within = _area_of(scores, log2_K, log2_K[0], min(split, log2_K[-1]))
    beyond = _area_of(scores, log2_K, max(split, log2_K[0]), log2_K[-1])
    (inside,) = within.estimates() if within else (None,)
    (outside,) = beyond.estimates() if beyond else (None,)
    if not (within and inside):
        why = "no two tested lengths lie up to the training length"
    elif not (beyond and outside):
        why = "no tested length lies beyond the training length"
    elif inside.low <= 0:
        why = "the score up to the training length is not surely above zero"
    else:
        try:
            return Areas(inside, outside, _ratio(beyond, within))
        except FloatingPointError as error:
            why = f"the score up to the training length may be zero: {error}"
    return Areas(inside, outside, None, why)


def _ratio(over: Resamples, under: Resamples) -> Estimate:
    """One number over another. Raises FloatingPointError where a resample divides by zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = Resamples(
            over.value_K / under.value_K, over.draws_SK / under.draws_SK, over.confidence
        )
    return ratio.estimates()[0]


def _area_of(scores: Resamples, log2_K: np.ndarray, start: float, end: float) -> Resamples | None:
    if end <= start:
        return None
    weight_K = trapezoid_weights(log2_K, start, end) / (end - start)
    return scores.map(lambda x: (x @ weight_K)[..., None])


def trapezoid_weights(x_K: np.ndarray, start: float, end: float) -> np.ndarray:
    """[K] w such that w @ y is the integral over [start, end], within x, of y joined by lines."""
    knots = np.unique(np.concatenate([[start, end], x_K[(x_K > start) & (x_K < end)]]))
    # Row j: how the value at knot j is interpolated from the K values.
    at_JK = np.stack([np.interp(knots, x_K, one) for one in np.eye(len(x_K))], axis=1)
    widths = np.diff(knots)
    weight_K: np.ndarray = widths @ (at_JK[1:] + at_JK[:-1]) / 2
    return weight_K


def sudden_drops(
    lengths: Sequence[int], scores: Resamples, *, higher_is_better: bool
) -> tuple[Drop, ...]:
    """Finds falls of the score over a growth of the length by half, or the smallest tested growth
    above that: those whose lower bound, in pairs, is above zero."""
    sign = 1 if higher_is_better else -1
    drops = []
    for k, start in enumerate(lengths):
        later = next((j for j in range(k + 1, len(lengths)) if lengths[j] >= GROWTH * start), None)
        if later is None:
            break
        (fall,) = scores.map(_fall(k, later, sign)).estimates()
        if fall.low > 0:
            drops.append(Drop(start, lengths[later], fall))
    return tuple(drops)


def _fall(k: int, later: int, sign: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: sign * (x[..., [k]] - x[..., [later]])
