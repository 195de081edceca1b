"""Target mixture: moves tokens from longer to shorter buckets by halving sequences.

A sequence of L targets that starts at token p is the same as two of L/2 targets that start at p and
at p + L/2, so halving keeps every target exactly once. Nothing can be joined upward: where
documents are too short for the asked share of a long bucket, the mixture is reached as far as
possible and the caller reports the difference.
"""

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.shuffle import derive_key, hash64

MIXTURES = ("natural", "equal_tokens", "explicit")


def resolve_mixture(name: str, shares: tuple[float, ...], num_buckets: int) -> np.ndarray | None:
    """The asked share of targets for each bucket, shortest first; None for natural.

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
        return None if name == "natural" else np.full(num_buckets, 1 / num_buckets)
    asked = np.asarray(shares, np.float64)
    if asked.shape != (num_buckets,):
        raise UserError(
            f"layout.shares has {asked.size} shares for {num_buckets} buckets: "
            "give one for each bucket, shortest first"
        )
    if not (asked >= 0).all() or abs(asked.sum() - 1) > 1e-6:
        raise UserError(f"layout.shares must not be negative and must add up to 1, got {shares}")
    return asked


def plan_halving(
    counts: np.ndarray, lengths: tuple[int, ...], tail_targets: int, shares: np.ndarray
) -> np.ndarray:
    """How many sequences of each cell are halved so that the shares are met over all cells.

    From the longest bucket downward, surplus sequences are halved into the next shorter one. Each
    bucket's aim is its share of what is left, renormalized over it and the shorter buckets, because
    a shortage above cannot be made good. Every cell halves in proportion to what it holds.

    Args:
      counts: int64 [cells, K] sequences of each length in each cell.
      lengths: [K], ascending powers of two with none left out.
      tail_targets: targets of the tails, which stay in the smallest bucket.
      shares: float64 [K], asked shares of all targets, shortest first.

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
            halved[:, place] = _spread(surplus, counts[:, place])
            counts[:, place] -= halved[:, place]
            counts[:, place - 1] += 2 * halved[:, place]
        left -= length * int(counts[:, place].sum())
    return halved


def halve(starts: dict[int, np.ndarray], halved: np.ndarray, seed: int) -> dict[int, np.ndarray]:
    """Halves sequences of one cell, from the longest down.

    Args:
      starts: for each length L, ascending, the int64 first tokens of its sequences.
      halved: int64 [K] how many sequences of each length; of those that come from above too.
      seed: chooses them.
    """
    starts = dict(starts)
    lengths = list(starts)
    for place in range(len(lengths) - 1, 0, -1):
        length, shorter = lengths[place], lengths[place - 1]
        kept, halves = _split(starts[length], int(halved[place]), seed, length)
        starts[length] = kept
        starts[shorter] = np.concatenate([starts[shorter], halves, halves + shorter])
    return starts


def _spread(total: int, held: np.ndarray) -> np.ndarray:
    """Integers that add up to `total`, in proportion to `held` and nowhere above it."""
    everything = max(1, int(held.sum()))
    # Python's integers, as the products may pass 2^63.
    reached = [0, *(total * upto // everything for upto in np.cumsum(held).tolist())]
    return np.diff(np.array(reached, np.int64))


def _split(starts: np.ndarray, count: int, seed: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The sequences that stay, and the `count` with the smallest hashes."""
    if count == 0:
        return starts, starts[:0]
    hashes = hash64(starts, derive_key(seed, "mixture", length))
    halve = hashes <= np.partition(hashes, count - 1)[count - 1]
    return starts[~halve], starts[halve]
