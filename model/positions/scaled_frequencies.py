"""Frequencies of RoPE under a scaling; the formulas of the kinds are in `rope_scaling`."""

import math
from collections.abc import Callable

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.model.positions.rope_scaling import RopeScaling


def scaled_frequencies(
    frequencies: np.ndarray, scaling: RopeScaling, length: int | None
) -> np.ndarray:
    """Frequencies under `scaling`, float64 [C / 2].

    Args:
      frequencies: float64 [C / 2], radians a position, fastest first: RoPE's own, or what another
        scaling made of them.
      length: tokens of the sequence; may be None unless `scaling.follows_length`.

    Raises:
      UserError: a kind that needs several channel pairs, or another number of them.
    """
    if scaling.follows_length and length is None:
        raise ValueError(f"rope scaling {scaling.kind!r} needs the length of the sequence")
    return _KINDS[scaling.kind](frequencies, scaling, length or 0)


def _linear(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    return frequencies / scaling.factor


def _ntk(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    return _raised_base(frequencies, scaling.factor)


def _dynamic(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    stretch = max(length, scaling.original_length) / scaling.original_length
    return _raised_base(frequencies, scaling.factor * stretch - (scaling.factor - 1))


def _raised_base(frequencies: np.ndarray, factor: float) -> np.ndarray:
    """theta -> theta factor^(C / (C - 2)), which is f_i -> f_i factor^(-2i / (C - 2))."""
    pairs = len(frequencies)
    if pairs < 2:
        raise UserError("rope scaling by a raised base needs at least 4 rotated channels a head")
    return frequencies * factor ** (-np.arange(pairs) / (pairs - 1))


def _turns(frequencies: np.ndarray, scaling: RopeScaling) -> np.ndarray:
    return frequencies * scaling.original_length / (2 * math.pi)


def _by_parts(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    low, high = scaling.turns
    unscaled = np.clip((_turns(frequencies, scaling) - low) / (high - low), 0, 1)
    return frequencies * (unscaled + (1 - unscaled) / scaling.factor)


def _yarn(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    low, high = scaling.turns
    pairs = len(frequencies)
    ends = (_index_of(high, frequencies, scaling), _index_of(low, frequencies, scaling))
    if scaling.truncate:
        ends = math.floor(ends[0]), math.ceil(ends[1])
    # The authors' code limits the end of the ramp by the channels, not by their pairs.
    first, last = max(ends[0], 0), min(ends[1], 2 * pairs - 1)
    interpolated = np.clip((np.arange(pairs) - first) / max(last - first, 0.001), 0, 1)
    return frequencies * (1 - interpolated + interpolated / scaling.factor)


def _index_of(turns: float, frequencies: np.ndarray, scaling: RopeScaling) -> float:
    """Fractional index of the channel pair that makes `turns` turns in L; may lie beyond the ends.

    Exact for geometric frequencies, which those of RoPE, linear and ntk are; others are taken as
    geometric between neighbours, and beyond the ends as from the first to the last.
    """
    if len(frequencies) < 2:
        raise UserError("rope scaling 'yarn' needs at least 4 rotated channels a head")
    logs = -np.log(_turns(frequencies, scaling) / turns)  # ascending; 0 at the index looked for
    slope = (logs[-1] - logs[0]) / (len(logs) - 1)
    if logs[0] >= 0:
        return float(-logs[0] / slope)
    if logs[-1] <= 0:
        return float(len(logs) - 1 - logs[-1] / slope)
    return float(np.interp(0.0, logs, np.arange(len(logs))))


def _longrope(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    beyond = length > scaling.original_length
    factors = scaling.long_factors if beyond else scaling.short_factors
    if len(factors) != len(frequencies):
        raise UserError(
            f"rope scaling 'longrope' has {len(factors)} {'long' if beyond else 'short'}_factors, "
            f"but the model rotates {len(frequencies)} channel pairs a head; give one a pair"
        )
    return frequencies / np.array(factors)


def _truncated(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    cut = 2 * math.pi / scaling.original_length
    slow = np.where(frequencies > cut / 8, cut / 16, 0.0)
    return np.where(frequencies >= cut, frequencies, slow)


def _power(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    pairs = len(frequencies)
    return frequencies * (1 - np.arange(pairs) / pairs) ** (scaling.exponent or 0.5)


def _base(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    pairs = len(frequencies)
    return np.asarray(scaling.theta ** (-np.arange(pairs) / pairs))


def _hope(frequencies: np.ndarray, scaling: RopeScaling, length: int) -> np.ndarray:
    return np.where(_turns(frequencies, scaling) >= 1, frequencies, 0.0)


_KINDS: dict[str, Callable[[np.ndarray, RopeScaling, int], np.ndarray]] = {
    "none": lambda frequencies, *_: frequencies,
    "linear": _linear,
    "ntk": _ntk,
    "dynamic": _dynamic,
    "by_parts": _by_parts,
    "yarn": _yarn,
    "llama3": _by_parts,
    "longrope": _longrope,
    "truncated": _truncated,
    "power": _power,
    "base": _base,
    "hope": _hope,
}
