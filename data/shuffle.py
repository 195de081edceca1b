"""Stateless randomness for the data order: keys, hashes and permutations without memory.

Everything here is integer arithmetic on uint64, so the order it gives is the same on every machine
and with every numpy. `permute` is the generalized Feistel network of Black and Rogaway ("Ciphers
with Arbitrary Finite Domains", 2002), vectorized: `grain.experimental.index_shuffle` does the same
for one index a call, at 4 to 30 microseconds each with the interpreter lock held, which is too slow
for batches of thousands of rows.
"""

import hashlib
import math

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = 16  # fewer are visibly uneven for a handful of rows


def derive_key(seed: int, *words: int | str) -> int:
    """A 64-bit key for one use of `seed`; `words` name the use and keep uses independent."""
    digest = hashlib.blake2b(repr((int(seed), *words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def hash64(values: np.ndarray, key: int | np.ndarray) -> np.ndarray:
    """A uint64 hash of each integer in `values`; for a fixed key different values never collide.

    Args:
      values: integers of any shape.
      key: one 64-bit key, or one for each value (broadcast).
    """
    # The splitmix64 finalizer (Steele et al., 2014) on both, so that neighbouring keys differ.
    keys = _mix(np.atleast_1d(np.asarray(key)).astype(np.uint64) + _GOLDEN)
    hashed: np.ndarray = _mix(np.asarray(values).astype(np.uint64) ^ keys)
    return hashed


def permute(index: np.ndarray, size: int, key: int | np.ndarray) -> np.ndarray:
    """Where a random permutation of `range(size)` sends each index.

    Args:
      index: int64 [N], each in [0, size).
      size: number of elements permuted, 1 to 2^62.
      key: selects the permutation: one for all, or one for each index [N].

    Returns: int64 [N], each in [0, size).
    """
    # The network works on pairs (high, low) of Z_rows x Z_columns, a set hardly larger than `size`;
    # walking along a cycle until it comes back below `size` restricts it to range(size).
    rows = math.isqrt(size - 1) + 1
    columns = -(-size // rows)
    result = np.asarray(index).astype(np.uint64)
    keys = np.broadcast_to(np.asarray(key).astype(np.uint64), result.shape)
    walking = np.arange(result.size)
    while walking.size:
        moved = _feistel(result[walking], keys[walking], np.uint64(rows), np.uint64(columns))
        result[walking] = moved
        walking = walking[moved >= np.uint64(size)]
    return result.astype(np.int64)


def _feistel(x: np.ndarray, keys: np.ndarray, rows: np.uint64, columns: np.uint64) -> np.ndarray:
    high, low = np.divmod(x, columns)
    for round_number in range(_ROUNDS):
        round_keys = keys + np.full_like(keys, round_number) * _GOLDEN
        if round_number % 2 == 0:
            high = (high + hash64(low, round_keys) % rows) % rows
        else:
            low = (low + hash64(high, round_keys) % columns) % columns
    mixed: np.ndarray = high * columns + low
    return mixed


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ (x >> np.uint64(31))
    return mixed
