"""Target mixture: moves tokens from longer to shorter buckets by halving sequences.

A sequence of L targets that starts at token p is the same as two of L/2 targets that start at p and
at p + L/2, so halving keeps every target exactly once. Nothing can be joined upward: where
documents are too short for the asked share of a long bucket, the mixture is reached as far as
possible and the caller reports the difference.
"""

import numpy as np

from data.shuffle import derive_key, hash64
from errors import UserError

MIXTURES = ("longest_first", "equal_tokens", "explicit")


def resolve_mixture(name: str, shares: tuple[float, ...], num_buckets: int) -> np.ndarray | None:
    """The asked share of targets for each bucket, shortest first; None for longest_first.

    Raises:
      UserError: an unknown name; shares where none are asked for, or that are not one non-negative
        number a bucket, or that do not add up to 1.
    """
    if name not in MIXTURES:
        raise UserError(f"unknown layout.mixture {name!r}: use one of {', '.join(MIXTURES)}")
    if name != "explicit":
        if shares:
            raise UserError(
                f"layout.shares is only for layout.mixture = 'explicit', not {name!r}: "
                "leave it empty or change the mixture"
            )
        return None if name == "longest_first" else np.full(num_buckets, 1 / num_buckets)
    asked = np.asarray(shares, np.float64)
    if asked.shape != (num_buckets,):
        raise UserError(
            f"layout.shares has {asked.size} shares for {num_buckets} buckets: "
            "give one for each bucket, shortest first"
        )
    if not (asked >= 0).all() or abs(asked.sum() - 1) > 1e-6:
        raise UserError(f"layout.shares must not be negative and must add up to 1, got {shares}")
    return asked


def reach_mixture(
    starts: dict[int, np.ndarray], tail_targets: int, shares: np.ndarray, seed: int
) -> dict[int, np.ndarray]:
    """Halves surplus sequences, from the longest bucket downward, until the shares are met.

    Each bucket's target is its share of what is left, renormalized over it and the shorter buckets,
    because a shortage above cannot be made good.

    Args:
      starts: for each length L, ascending powers of two with none left out, the int64 first tokens
        of its sequences.
      tail_targets: targets of the tails, which stay in the smallest bucket.
      shares: float64 [buckets], asked shares of all targets, shortest first.
      seed: chooses the sequences that are halved.
    """
    starts = dict(starts)
    lengths = list(starts)
    left = tail_targets + sum(length * starts[length].size for length in lengths)
    for place in range(len(lengths) - 1, 0, -1):
        length, count = lengths[place], starts[lengths[place]].size
        open_share = shares[: place + 1].sum()
        if open_share > 0:
            wanted = round(left * shares[place] / open_share / length)
            kept, halved = _split(starts[length], max(0, count - wanted), seed, length)
            starts[length] = kept
            shorter = lengths[place - 1]
            starts[shorter] = np.concatenate([starts[shorter], halved, halved + shorter])
        left -= length * starts[length].size
    return starts


def _split(starts: np.ndarray, count: int, seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The sequences that stay, and the `count` with the smallest hashes."""
    if count == 0:
        return starts, starts[:0]
    hashes = hash64(starts, derive_key(seed, "mixture", length))
    halve = hashes <= np.partition(hashes, count - 1)[count - 1]
    return starts[~halve], starts[halve]
