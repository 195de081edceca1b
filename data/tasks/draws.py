"""Random numbers of samples as pure functions of (seed, sample, use, place): counters, no state.

A number is the SplitMix64 finalizer (Steele et al., 2014) of its place under a key of all the rest,
as the data order has it (data/shuffle.py). So sample i is the same in a batch of one and of many,
whatever the widths of their arrays, on every machine.
"""

from dataclasses import dataclass

import numpy as np

from lengthwise.data.shuffle import derive_key, hash64

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True)
class Draws:
    """Random numbers of N samples, independent for different uses (names)."""

    keys_N: np.ndarray  # uint64 [N]

    @classmethod
    def of(cls, seed: int, use: str, index_N: np.ndarray) -> "Draws":
        """Draws of the samples of these numbers; `use` tells training from test samples."""
        return cls(hash64(index_N, derive_key(seed, "task", use)))

    def __len__(self) -> int:
        return self.keys_N.size

    def child(self, use: str) -> "Draws":
        """Draws of other samples, one for each of these, independent of them."""
        return Draws(hash64(self.keys_N, derive_key(0, "child", use)))

    def rows(self, which: np.ndarray) -> "Draws":
        """Draws of a subset of the samples."""
        return Draws(self.keys_N[which])

    def bits(self, use: str, places: int | np.ndarray) -> np.ndarray:
        """uint64: [N, places], or of the shape of `places`, int64 [N, ...] numbers of places."""
        keys_N = hash64(self.keys_N, derive_key(0, "bits", use))
        if isinstance(places, np.ndarray):
            return hash64(places, keys_N.reshape(-1, *(1,) * (places.ndim - 1)))
        return hash64(np.arange(places)[None], keys_N[:, None])

    def below(self, use: str, bound: int | np.ndarray, places: int | np.ndarray = 1) -> np.ndarray:
        """Uniform in [0, bound), int64, of the shape of `bits`; bound < 2^32, broadcast.

        The high half of a 64 x 32 bit product: probabilities err by bound / 2^64 at most.
        """
        bits = self.bits(use, places)
        bounds = np.asarray(bound).astype(np.uint64)
        carry = ((bits & _LOW) * bounds) >> _HALF
        scaled: np.ndarray = ((bits >> _HALF) * bounds + carry) >> _HALF
        return scaled.astype(np.int64)

    def one(self, use: str, bound: int | np.ndarray) -> np.ndarray:
        """Uniform in [0, bound), int64 [N], one a sample; bound: [N] or one for all."""
        bounds = bound[:, None] if isinstance(bound, np.ndarray) else bound
        return self.below(use, bounds)[:, 0]

    def order(self, use: str, size_N: np.ndarray | int, count: int) -> np.ndarray:
        """The first `count` of a uniform permutation of range(size) of each sample.

        By Fisher and Yates, column by column: sorting random keys takes ten times as long.

        Returns: int64 [N, count], -1 where there are no more.
        """
        size = np.full(len(self), size_N) if isinstance(size_N, int) else size_N
        left = np.maximum(size[:, None] - np.arange(count), 1)
        swaps = np.arange(count) + self.below(use, left, count)
        rows = np.arange(len(self))
        items = np.tile(np.arange(max(int(size.max(initial=0)), count)), (len(self), 1))
        for column in range(count):
            other = swaps[:, column]
            taken = items[rows, other]
            items[rows, other] = items[:, column]
            items[:, column] = taken
        return np.where(np.arange(count) < size[:, None], items[:, :count], -1)
