"""Target mixture: moves tokens from longer to shorter buckets by halving sequences.

A sequence of L targets that starts at token p is the same as two of L/2 targets that start at p and
at p + L/2, so halving keeps every target exactly once. Sequences are never joined: where
documents are too short for the requested share of a long bucket, it gets as much as there is, and
the caller reports the difference.
"""

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.shuffle import derive_key, hash64

MIXTURES = ("natural", "equal_tokens", "explicit")


def resolve_mixture(name: str, shares: tuple[float, ...], num_buckets: int) -> np.ndarray | None:
    """Requested share of targets of each bucket, shortest first: float64 [K]; None for natural.

    Raises:
      UserError: an unknown name; shares beside another mixture than explicit; shares that are not
        one non-negative number a bucket, or do not add up to 1.
    """
    if name not in MIXTURES:
        raise UserError(f"unknown layout.mixture {name!r}: use one of {', '.join(MIXTURES)}")
    if name != "explicit":
        if shares:
            raise UserError(
                f"layout.shares is only for layout.mixture = 'explicit', not {name!r}: "
                "leave it empty or change the mixture"
            )
        return None if name == "natural" else np.full(num_buckets, 1 / num_buckets)
    requested = np.asarray(shares, np.float64)
    if requested.shape != (num_buckets,):
        raise UserError(
            f"layout.shares has {requested.size} shares for {num_buckets} buckets: "
            "give one for each bucket, shortest first"
        )
    if not (requested >= 0).all() or abs(requested.sum() - 1) > 1e-6:
        raise UserError(f"layout.shares must not be negative and must add up to 1, got {shares}")
    return requested


def plan_halving(
    counts: np.ndarray, lengths: tuple[int, ...], tail_targets: int, shares: np.ndarray
) -> np.ndarray:
    """Numbers of sequences that each cell halves so that all cells together meet the shares.

    From the longest bucket downward, surplus sequences are halved into the next shorter one. Each
    bucket's aim is its share of what is left, renormalized over it and the shorter buckets, because
    a shortage above cannot be made good. Cells halve in proportion to their sequences.

    Args:
      counts: int64 [cells, K] sequences of each length in each cell.
      lengths: [K], ascending powers of two with none left out.
      tail_targets: targets of the tails, which stay in the smallest bucket.
      shares: float64 [K], requested shares of all targets, shortest first.

    Returns: int64 [cells, K].
    """
    counts = counts.copy()
    halved = np.zeros_like(counts)
    left = tail_targets + int((counts.sum(axis=0) * np.array(lengths)).sum())
    for place in range(len(lengths) - 1, 0, -1):
        length, count = lengths[place], int(counts[:, place].sum())
        open_share = shares[: place + 1].sum()
        if open_share > 0:
            surplus = max(0, count - round(left * shares[place] / open_share / length))
            halved[:, place] = _apportion(surplus, counts[:, place])
            counts[:, place] -= halved[:, place]
            counts[:, place - 1] += 2 * halved[:, place]
        left -= length * int(counts[:, place].sum())
    return halved


def halve(starts: dict[int, np.ndarray], halved: np.ndarray, seed: int) -> dict[int, np.ndarray]:
    """Halves sequences of one cell, from the longest down.

    Args:
      starts: for each length L, ascending, the int64 first tokens of its sequences.
      halved: int64 [K] number of sequences of each length to halve, halves of longer ones included.
      seed: seed of their choice.
    """
    starts = dict(starts)
    lengths = list(starts)
    for place in range(len(lengths) - 1, 0, -1):
        length, shorter = lengths[place], lengths[place - 1]
        starts[length], halves = _split(starts[length], int(halved[place]), seed, length)
        starts[shorter] = np.concatenate([starts[shorter], halves, halves + shorter])
    return starts


def _apportion(total: int, counts: np.ndarray) -> np.ndarray:
    """Integers that add up to `total`, proportional to `counts` and nowhere above them."""
    whole = max(1, int(counts.sum()))
    # Python's integers, as the products may pass 2^63.
    cumulative = [0, *(total * upto // whole for upto in np.cumsum(counts).tolist())]
    return np.diff(np.array(cumulative, np.int64))


def _split(starts: np.ndarray, count: int, seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits off the `count` sequences with the smallest hashes: (others, those)."""
    if count == 0:
        return starts, starts[:0]
    hashes = hash64(starts, derive_key(seed, "mixture", length))
    smallest = hashes <= np.partition(hashes, count - 1)[count - 1]
    return starts[~smallest], starts[smallest]
