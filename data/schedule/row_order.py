"""Stateless infinite shuffle of a bucket's rows, epoch after epoch.

Position i of the order is a pure function of i and the keys, at the same cost for late positions
and early ones. Two shuffles: of all rows; or of the blocks of the store and then of the rows of a
window of few blocks at a time, so that reads stay within a few stretches of the store that can be
fetched ahead.

Three ways to count the N rows of an order: by row id (in the bucket), by ordinal (row ids without
the gaps between groups, [0, N)), and by position in an epoch ([0, N), what the shuffle permutes).
"""

import functools
from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.row_groups import RowGroups
from lengthwise.data.shuffle import derive_key, hash64, permute

_CHUNK_ROWS = 8192  # computed at a time, because small numpy calls cost their overhead
_CACHED_CHUNKS = 4
_CACHED_EPOCHS = 3  # block orders, 32 bytes a block each


class RowOrder:
    """The order of a set of rows: each comes once an epoch."""

    def __init__(self, groups: RowGroups, shuffle_blocks: int, key: int, block_key: int):
        """Args:
        groups: the rows; any ranges of row ids, sorted by block.
        shuffle_blocks: blocks of a window, whose rows are shuffled together; 0: all blocks.
        key: 64 bits, decides the order of rows.
        block_key: 64 bits, decides the order of blocks; orders of one key visit blocks alike.
        """
        self.rows = groups.rows
        self._key, self._block_key = key, block_key
        self._first = groups.first
        self._group_begin = np.cumsum(groups.count) - groups.count  # ordinals, [G]
        # Without gaps between groups, as in the order of a whole bucket, ids are ordinals.
        self._consecutive = bool((np.diff(groups.first) == groups.count[:-1]).all())
        self._blocks, begin = np.unique(groups.block, return_index=True)
        self._block_begin = self._group_begin[begin]
        self._block_rows = np.diff(self._block_begin, append=self.rows)
        # A single window is the full shuffle.
        self._window = shuffle_blocks if 0 < shuffle_blocks < self._blocks.size else 0
        self._epoch = functools.lru_cache(maxsize=_CACHED_EPOCHS)(self._order_blocks)

    @property
    def open_blocks(self) -> int:
        """Blocks whose rows are shuffled together."""
        return self._window or self._blocks.size

    def max_blocks(self, count: int) -> int:
        """Upper bound on the distinct blocks in any `count` consecutive positions, across epochs.

        The first and the last window may be touched by one row each. Windows between them lie
        wholly inside, with all rows of their blocks: no more blocks than the smallest ones that
        `count - 2` rows can fill. Across epochs a block may come twice and counts once.
        """
        if count < 2 or not self._window:
            return min(count, 1) * self.open_blocks
        smallest = np.cumsum(np.sort(self._block_rows))
        between = int(np.searchsorted(smallest, count - 2, side="right"))
        return min(self._blocks.size, 2 * self._window + between)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Row ids, int64 [N], at positions `index`, int64 [N], of the order: >= 0 and ascending."""
        epochs, position = np.divmod(index, self.rows)
        ordinal = np.empty(index.size, np.int64)
        begin = 0
        while begin < index.size:
            epoch = int(epochs[begin])
            end = int(np.searchsorted(epochs, epoch, side="right"))
            ordinal[begin:end] = self._ordinals(epoch, position[begin:end])
            begin = end
        if self._consecutive:
            return ordinal + self._first[0]
        group = np.searchsorted(self._group_begin, ordinal, side="right") - 1
        rows: np.ndarray = self._first[group] + ordinal - self._group_begin[group]
        return rows

    def blocks(self, begin: int, end: int) -> np.ndarray:
        """Blocks, int [N], whose rows may come at positions [begin, end), by first position."""
        if not self._window:
            return self._blocks
        parts = []
        while begin < end:
            epoch, position = divmod(begin, self.rows)
            order = self._epoch(epoch)
            window = int(np.searchsorted(order.window_begin, position, side="right")) - 1
            parts.append(order.blocks[window * self._window : (window + 1) * self._window])
            begin = epoch * self.rows + int(order.window_begin[window] + order.window_rows[window])
        blocks = self._blocks[np.concatenate(parts)] if parts else self._blocks[:0]
        _, first_use = np.unique(blocks, return_index=True)
        return blocks[np.sort(first_use)]

    def _ordinals(self, epoch: int, position: np.ndarray) -> np.ndarray:
        """Ordinals, int64 [N], of the rows at positions [N] of one epoch.

        With windows: blocks are laid out in the epoch's order and cut into windows; positions are
        permuted within their window, and the block there, with the offset in it, is the row.
        """
        key = hash64(np.array([epoch]), self._key)
        if not self._window:
            return permute(position, self.rows, key)
        order = self._epoch(epoch)
        window = np.searchsorted(order.window_begin, position, side="right") - 1
        begin = order.window_begin[window]
        rows = order.window_rows[window]
        permuted = begin + permute(position - begin, rows, hash64(window, key))
        slot = np.searchsorted(order.begin, permuted, side="right") - 1
        ordinals: np.ndarray = self._block_begin[order.blocks[slot]] + permuted - order.begin[slot]
        return ordinals

    def _order_blocks(self, epoch: int) -> "_BlockOrder":
        # By hash of the block's number, not by a permutation of those present: orders of other
        # buckets and strata, which lack some blocks, then visit the common ones in the same order.
        key = hash64(np.array([epoch]), self._block_key)
        blocks = np.argsort(hash64(self._blocks, key), kind="stable")
        begin = np.cumsum(self._block_rows[blocks]) - self._block_rows[blocks]
        window_begin = begin[:: self._window]
        window_rows = np.diff(window_begin, append=self.rows)
        return _BlockOrder(blocks, begin, window_begin, window_rows)


@dataclass(frozen=True)
class _BlockOrder:
    """The blocks of one epoch, in order; all int64."""

    blocks: np.ndarray  # [N] index into the blocks with rows
    begin: np.ndarray  # [N] first position of each
    window_begin: np.ndarray  # [windows] first position of each window
    window_rows: np.ndarray  # [windows]


class BucketOrder:
    """The order of a bucket's rows: one shuffle, or one a stratum, interleaved at fixed rates."""

    def __init__(
        self,
        groups: RowGroups,
        rates: np.ndarray | None,
        *,
        seed: int,
        length: int,
        shuffle_blocks: int,
    ):
        """Args:
        rates: int64 [strata], rows of each stratum a period; None: one shuffle of all rows.
        """
        self.rows = groups.rows
        self._groups = groups
        block_key = derive_key(seed, "blocks")
        self._orders: dict[int, RowOrder] = {}
        if rates is None:
            key = derive_key(seed, "rows", length)
            self._orders[0] = RowOrder(groups, shuffle_blocks, key, block_key)
        else:
            self._rates = rates
            for stratum in np.flatnonzero(rates).tolist():
                own = groups.stratum == stratum
                part = RowGroups(
                    groups.first[own], groups.count[own], groups.block[own], groups.stratum[own]
                )
                key = derive_key(seed, "rows", length, stratum)
                self._orders[stratum] = RowOrder(part, shuffle_blocks, key, block_key)
            self._pattern, self._slots = interleave(rates)
        self._interleaved = rates is not None
        self._chunk_rows = int(np.clip(self.rows, 64, _CHUNK_ROWS))
        self._chunk = functools.lru_cache(maxsize=_CACHED_CHUNKS)(self._make_chunk)

    @property
    def all_blocks(self) -> np.ndarray:
        """Blocks with rows of the bucket, ascending."""
        return np.unique(self._groups.block)

    @property
    def open_blocks(self) -> int:
        """Blocks whose rows are shuffled together, summed over strata."""
        return sum(order.open_blocks for order in self._orders.values())

    def max_blocks(self, count: int) -> int:
        """Upper bound on the distinct blocks in any `count` consecutive positions."""
        if not self._interleaved:
            return self._orders[0].max_blocks(count)
        bound = sum(
            order.max_blocks(self._max_rows(stratum, count))
            for stratum, order in self._orders.items()
        )
        return min(self.all_blocks.size, bound)

    def take(self, begin: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Row ids, int64 [count], and their strata, int32 [count], from position `begin` on."""
        size = self._chunk_rows
        first, last = begin // size, (begin + count - 1) // size
        chunks = [self._chunk(number) for number in range(first, last + 1)]
        begin -= first * size
        rows, strata = (
            chunks[0] if len(chunks) == 1 else map(np.concatenate, zip(*chunks, strict=True))
        )
        return rows[begin : begin + count], strata[begin : begin + count]

    def blocks(self, begin: int, count: int) -> np.ndarray:
        """Blocks whose rows may come at positions [begin, begin + count)."""
        if not self._interleaved:
            return self._orders[0].blocks(begin, begin + count)
        spans = self._spans(begin, begin + count)
        return np.unique(
            np.concatenate(
                [order.blocks(*spans[stratum]) for stratum, order in self._orders.items()]
            )
        )

    def stratum_rows(self, count: int, num_strata: int) -> np.ndarray:
        """Rows of each stratum at positions [0, count), float64 [num_strata].

        In expectation where strata are not interleaved and an epoch is unfinished.
        """
        rows = np.zeros(num_strata)
        if self._interleaved:
            for stratum, (_, end) in self._spans(0, count).items():
                rows[stratum] = end
            return rows
        np.add.at(rows, self._groups.stratum, self._groups.count * (count / self.rows))
        return rows

    def _make_chunk(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        index = np.arange(number * self._chunk_rows, (number + 1) * self._chunk_rows)
        if self._interleaved:
            strata = self._pattern[index % self._pattern.size].astype(np.int32)
            rows = np.empty(index.size, np.int64)
            spans = self._spans(int(index[0]), int(index[-1]) + 1)
            for stratum, order in self._orders.items():
                rows[strata == stratum] = order.take(np.arange(*spans[stratum]))
        else:
            rows = self._orders[0].take(index)
            if self._groups.stratum.any():
                group = np.searchsorted(self._groups.first, rows, side="right") - 1
                strata = self._groups.stratum[group].astype(np.int32)
            else:
                strata = np.zeros(rows.size, np.int32)
        rows.flags.writeable = strata.flags.writeable = False
        return rows, strata

    def _spans(self, begin: int, end: int) -> dict[int, tuple[int, int]]:
        """For each stratum, the positions of its own order that come at positions [begin, end)."""
        ends = [divmod(position, self._pattern.size) for position in (begin, end)]
        return {
            stratum: tuple(  # type: ignore[misc]
                period * int(self._rates[stratum]) + self._slots_before(stratum, within)
                for period, within in ends
            )
            for stratum in self._orders
        }

    def _max_rows(self, stratum: int, count: int) -> int:
        """Upper bound on the rows of a stratum in any `count` consecutive positions."""
        periods, rest = divmod(count, self._pattern.size)
        slots = self._slots[stratum]
        two_periods = np.concatenate([slots, slots + self._pattern.size])
        # The fullest stretch begins with a row of the stratum: moved on to it, none is lost.
        inside = np.searchsorted(two_periods, slots + rest) - np.arange(slots.size)
        return periods * slots.size + int(inside.max())

    def _slots_before(self, stratum: int, within: int) -> int:
        return int(np.searchsorted(self._slots[stratum], within))


def interleave(rates: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """A period in which each stratum comes at its rate, evenly spaced.

    Args:
      rates: int64 [strata], slots of each in a period; at least one is not 0.

    Returns:
      pattern: uint16 [sum(rates)], the stratum of each slot; for each stratum its slots, int64.
    """
    # The j-th of n slots of a stratum is due at (j + 1/2) / n of the period.
    strata = np.repeat(np.arange(rates.size, dtype=np.uint16), rates)
    item = np.arange(strata.size) - np.repeat(np.cumsum(rates) - rates, rates)
    pattern = strata[np.argsort((item + 0.5) / rates[strata], kind="stable")]
    return pattern, [np.flatnonzero(pattern == stratum) for stratum in range(rates.size)]
