"""Reads of an array in memory: without a system call a row."""

import numpy as np

from lengthwise.data.store.shard_reader import ShardReader

_SHORT = 64  # mean tokens of a piece below which indexing tokens is faster than slicing pieces


class MemoryReader:
    """A stretch of an array from global position `first` on: tokens, or entries of a table."""

    def __init__(self, tokens: np.ndarray, first: int = 0):
        """`tokens`: one-dimensional, of any type."""
        self._tokens, self._first = tokens, first
        self._windows: dict[int, np.ndarray] = {}  # views by length, slow to make

    @classmethod
    def load(cls, shards: ShardReader) -> "MemoryReader":
        """Reads all shards. Raises UserError as `ShardReader.read`."""
        tokens = np.empty(shards.num_tokens, shards.dtype)
        for start, length in shards.ranges(0, shards.num_tokens):
            tokens[start : start + length] = shards.read(start, length)
        return cls(tokens)

    def read(self, start: int, length: int) -> np.ndarray:
        """Tokens [start, start + length) as a view. Raises IndexError outside the stretch."""
        begin = start - self._first
        if length < 0 or begin < 0 or begin + length > self._tokens.size:
            raise IndexError(f"tokens [{start}, {start + length}) are not in memory")
        return self._tokens[begin : begin + length]

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Entries [R] at int64 positions [R], all of them inside the stretch; a copy."""
        entries: np.ndarray = self._tokens[positions - self._first]
        return entries

    def read_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Row r: tokens [starts[r], starts[r] + length); a copy [R, length]."""
        begin = self._check(starts, length)
        if not starts.size or not length:
            return np.empty((starts.size, length), self._tokens.dtype)
        windows = self._windows.get(length)
        if windows is None:
            windows = np.lib.stride_tricks.sliding_window_view(self._tokens, length)
            self._windows[length] = windows
        rows: np.ndarray = windows[begin]
        return rows

    def read_pieces(self, starts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Ranges [starts[p], starts[p] + tokens[p]), concatenated; a copy."""
        begin = self._check(starts, tokens)
        behind = np.cumsum(tokens, dtype=np.int64)
        if starts.size and behind[-1] < _SHORT * starts.size:
            within = np.arange(behind[-1]) - np.repeat(behind - tokens, tokens)
            return self._tokens[np.repeat(begin, tokens) + within]
        ranges = zip(begin.tolist(), (begin + tokens).tolist(), strict=True)
        # The empty array gives the type where there is no piece.
        return np.concatenate([self._tokens[:0], *(self._tokens[a:b] for a, b in ranges)])

    def _check(self, starts: np.ndarray, tokens: np.ndarray | int) -> np.ndarray:
        """Where the ranges begin in the stretch. Raises IndexError for one that leaves it."""
        begin: np.ndarray = starts - self._first
        if ((begin < 0) | (begin + tokens > self._tokens.size)).any():
            raise IndexError(f"a range of tokens from {int(starts.min())} on is not in memory")
        return begin
