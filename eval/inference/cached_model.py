"""A checkpoint in one setting, run over a cache of keys and values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.cache_programs import CacheKind, FillCache, NewCache
from lengthwise.eval.inference.inference import Inference
from lengthwise.eval.inference.programs import View
from lengthwise.eval.inference.scorer import Setting
from lengthwise.model.cache import KVCache
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.transformer import Tables

PREFIX_CHUNK = 256  # tokens of prefixes that are filled in at a time, at most
_SHARED = 4096  # tokens: up to here rows of different lengths have caches of one capacity


@dataclass(frozen=True)
class CachedModel:
    """A checkpoint in one setting, in device batches of rows over a cache."""

    inference: Inference
    params: object
    setting: Setting
    trained: RopeScaling  # under which the parameters were trained
    # (numbers of rows, tokens) -> what schemes see, int [rows, tokens]
    positions: Callable[[Sequence[int], int], np.ndarray]
    longest: int  # tokens of the longest row that is expected; 0: unknown

    @property
    def pad(self) -> int:
        """Padding id behind a row's tokens, where the causal model can't see it."""
        return self.inference.batching.pad

    def capacity(self, least: int) -> int:
        """Capacity of `least` tokens or more, from a small set: each is compiled for."""
        expected = max(least, min(self.longest, _SHARED))
        return min(power_of_two(expected), -(-expected // _SHARED) * _SHARED)

    def kind(self, rows: int, capacity: int, length: int, step: int = 1) -> CacheKind:
        """Kind of a cache for `rows` rows or a few more, see `Inference.cache_kind`.

        step: tokens of the passes behind the filled prefix, at most.
        """
        step = max(step, PREFIX_CHUNK)
        return self.inference.cache_kind(rows, capacity, self.setting, self.trained, length, step)

    def view(self, kind: CacheKind) -> View:
        """The mesh view of a cache and of the arrays [B, tokens] that go with it."""
        return self.inference.architecture.view(*kind.shape)

    def tables(self, length: int) -> Tables:
        """Position tables of rows of `length` tokens."""
        return self.inference.architecture.tables(self.setting.scaling, self.trained, length)

    def steady_tables(self, shortest: int, longest: int) -> Tables:
        """Position tables of rows that are `shortest` tokens long and grow to `longest`.

        Raises:
          UserError: positions of short rows are others than those of long ones, so that what was
            put into a cache would be wrong as a row grows.
        """
        tables = self.tables(longest)
        if not jax.tree.all(jax.tree.map(np.array_equal, tables, self.tables(shortest))):
            raise UserError(
                f"the positions of rows of {shortest} tokens are others than those of {longest}, "
                "since the scaling (or CLEX) follows the length; a row that grows can't keep its "
                "cache: keep within one length (of model.rope_scaling: its original_length), or "
                "use a scaling that doesn't"
            )
        return tables

    def new_cache(self, kind: CacheKind, numbers: Sequence[int], lengths: Sequence[int]) -> KVCache:
        """A cache without tokens.

        numbers, lengths: of each row: the number that its draws depend on, and its tokens, at most.
        Position ids are edge-padded to the capacity, so that padding slots have valid ones.
        """
        if not kind.own_positions:
            numbers, lengths = [0], [max(lengths)]
        positions_BS = np.empty((len(numbers), kind.capacity), np.int32)
        for ids_S, number, length in zip(positions_BS, numbers, lengths, strict=True):
            (ids_L,) = self.positions([number], length)
            ids_S[:length] = ids_L[: kind.capacity]
            ids_S[length:] = ids_L[-1]
        placed_BS = self.view(kind).place(positions_BS) if kind.own_positions else positions_BS
        cache: KVCache = self.inference.programs.get(NewCache(kind))(placed_BS)
        return cache

    def fill(
        self, kind: CacheKind, cache: KVCache, rows: Sequence[np.ndarray], tables: Tables
    ) -> KVCache:
        """Puts the tokens of each row into the cache, which is donated; returns the filled one.

        rows: int [n] each, of any lengths, none included.
        """
        longest, count = max(map(len, rows)), np.array(list(map(len, rows)), np.int32)
        chunk = min(PREFIX_CHUNK, kind.capacity)
        run, place = self.inference.programs.get(FillCache(kind, chunk)), self.view(kind).place
        for first in range(0, longest, chunk):
            # A last chunk that would go beyond the capacity begins earlier: filling in the same
            # tokens again changes nothing.
            first = min(first, kind.capacity - chunk)
            part = np.full((kind.batch, chunk), self.pad, np.int32)
            for row, tokens in enumerate(rows):
                here = tokens[first : first + chunk]
                part[row, : len(here)] = here
            cache = run(self.params, cache, place(part), np.array([first], np.int32), count, tables)
        return cache


def batch_rows(start: int, batch: int, rows: int) -> np.ndarray:
    """Row numbers of a batch, int [batch]; those that fill it up repeat the last row."""
    return np.minimum(np.arange(start, start + batch), rows - 1)


def power_of_two(least: int) -> int:
    """The least power of two that is not below."""
    return 1 << (least - 1).bit_length()
