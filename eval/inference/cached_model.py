"""A checkpoint in one setting, run over a cache of keys and values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.eval.inference.cached_passes import CachedPasses, CacheKind
from lengthwise.eval.inference.scorer import Setting
from lengthwise.model.cache import KVCache
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.transformer import Tables

PREFIX_CHUNK = 256  # tokens of prefixes that are filled in at a time, at most
_SHARED = 4096  # tokens: up to here rows of different lengths have caches of one capacity


@dataclass(frozen=True)
class CachedModel:
    passes: CachedPasses
    params: object
    setting: Setting
    trained: RopeScaling  # under which the parameters were trained
    # (number of a batch's first row, rows, tokens) -> what schemes see, int [rows or 1, tokens]
    positions: Callable[[int, int, int], np.ndarray]
    tokens_per_call: int
    pad: int  # an id that fills up rows behind their tokens, where the model can't see it
    longest: int  # tokens of the longest row that is expected; 0: unknown

    def capacity(self, least: int) -> int:
        """A capacity of `least` tokens or more, of few different ones: each is compiled for."""
        expected = max(least, min(self.longest, _SHARED))
        return min(power_of_two(expected), -(-expected // _SHARED) * _SHARED)

    def most_rows(self, capacity: int) -> int:
        """Rows of a cache at a time."""
        return max(1, self.tokens_per_call // capacity)

    def kind(self, rows: int, capacity: int, length: int) -> CacheKind:
        """A cache for `rows` rows or a few more, see `CachedPasses.kind`."""
        batch = self.passes.rows(rows)
        return self.passes.kind(batch, capacity, self.setting, self.trained, length)

    def prepare(self, kind: CacheKind, width: int) -> None:
        """Compiles what scores continuations of up to `width` tokens."""
        self.passes.prepare_empty(kind)
        self.passes.fill(kind, min(PREFIX_CHUNK, kind.capacity))
        self.passes.score(kind, width, by_row=True)

    def tables(self, length: int) -> Tables:
        return self.passes.tables(self.setting.scaling, self.trained, length)

    def steady_tables(self, shortest: int, longest: int) -> Tables:
        """See `CachedPasses.steady_tables`."""
        return self.passes.steady_tables(self.setting.scaling, self.trained, shortest, longest)

    def empty(self, kind: CacheKind, start: int, length: int) -> KVCache:
        """A cache without tokens, for rows of up to `length`; start: the number of the first."""
        return self.passes.empty(kind, self.positions(start, kind.batch, length))

    def filled(
        self, kind: CacheKind, cache: KVCache, rows: Sequence[np.ndarray], tables: Tables
    ) -> KVCache:
        """The cache with the tokens of each row, which may have other lengths, or none."""
        longest = max(map(len, rows))
        chunk = min(PREFIX_CHUNK, kind.capacity)
        for first in range(0, longest, chunk):
            # A last part that would go beyond the capacity begins earlier: filling in the same
            # tokens again changes nothing.
            first = min(first, kind.capacity - chunk)
            part = np.full((kind.batch, chunk), self.pad, np.int32)
            for row, tokens in enumerate(rows):
                here = tokens[first : first + chunk]
                part[row, : len(here)] = here
            place = np.array([first], np.int32)
            fill = self.passes.fill(kind, chunk)
            cache = fill(self.params, cache, self.passes.place(kind, part), place, tables)
        return cache


def batch_rows(start: int, batch: int, rows: int) -> np.ndarray:
    """The rows of a batch; those that fill it up repeat the last one."""
    return np.minimum(np.arange(start, start + batch), rows - 1)


def power_of_two(least: int) -> int:
    """The least power of two that is not below."""
    return 1 << (least - 1).bit_length()
