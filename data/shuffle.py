"""Stateless randomness for the data order: keys, hashes and permutations.

Everything here is integer arithmetic on uint64, so the order it gives is the same on every machine
and with every numpy. `permute` is the generalized Feistel network of Black and Rogaway ("Ciphers
with Arbitrary Finite Domains", 2002), vectorized: `grain.experimental.index_shuffle` does the same
for one index a call, at 4 to 30 microseconds each with the interpreter lock held, which is too slow
for batches of thousands of rows.
"""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
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


def permute(index: np.ndarray, size: int | np.ndarray, key: int | np.ndarray) -> np.ndarray:
    """Applies a random permutation of `range(size)` to each index.

    Args:
      index: int64 [N], each in [0, size).
      size: number of elements permuted, 1 to 2^62: one for all, or one for each index [N].
      key: selects the permutation: one for all, which is faster, or one for each index [N].

    Returns: int64 [N], each in [0, size).
    """
    # The network works on pairs (high, low) of Z_rows x Z_columns, a set hardly larger than `size`;
    # walking along a cycle until it comes back below `size` restricts it to range(size).
    result = np.asarray(index).astype(np.uint64)
    sizes = np.atleast_1d(np.asarray(size)).astype(np.uint64)
    rows = _root_above(sizes)
    columns = (sizes + rows - _ONE) // rows
    keys = np.atleast_1d(np.asarray(key).astype(np.uint64))
    walking = np.arange(result.size)
    while walking.size:
        of_each = [a if a.size == 1 else a[walking] for a in (keys, rows, columns, sizes)]
        image = _feistel(result[walking], *of_each[:3])
        result[walking] = image
        walking = walking[image >= of_each[3]]
    return result.astype(np.int64)


def _root_above(sizes: np.ndarray) -> np.ndarray:
    """isqrt(size - 1) + 1 of each, exactly."""
    root = np.sqrt((sizes - _ONE).astype(np.float64)).astype(np.uint64)
    root -= root * root > sizes - _ONE  # rounded up in float64
    root += (root + _ONE) * (root + _ONE) <= sizes - _ONE
    return root + _ONE


def _feistel(x: np.ndarray, keys: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Each argument uint64 [N], or [1] for all; the arithmetic is in place, for speed."""
    high, low = np.divmod(x, columns)
    for round_number in range(_ROUNDS):
        even = round_number % 2 == 0
        moving, other, size = (high, low, rows) if even else (low, high, columns)
        hashed = _mix(other ^ _mix(keys + np.full_like(keys, round_number + 1) * _GOLDEN))
        hashed -= hashed // size * size  # numpy divides by one number five times faster than %
        moving += hashed
        # Modulo size: where nothing is to be taken off, the difference wraps to a huge number.
        np.minimum(moving, moving - size, out=moving)
    high *= columns
    high += low
    return high


def _mix(x: np.ndarray) -> np.ndarray:
    x = x ^ (x >> np.uint64(30))
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
