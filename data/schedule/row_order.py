"""In which order the rows of a bucket come: endless, epoch after epoch, without memory.

Any stretch of the order costs the same, however late it lies. Two shuffles: over all rows, or over
blocks of the store and then over the rows of a few blocks at a time, so that reads stay within a
few stretches of the store that can be fetched ahead.
"""

import functools
from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.row_groups import RowGroups
from lengthwise.data.shuffle import derive_key, hash64, permute

_CHUNK_ROWS = 8192  # ordered at a time, because small numpy calls cost their overhead
_CHUNKS_KEPT = 4
_EPOCHS_KEPT = 3  # orders of blocks, 32 bytes a block each


class RowOrder:
    """The order of some rows of a bucket: over an epoch each comes once."""

    def __init__(self, groups: RowGroups, shuffle_blocks: int, key: int, block_key: int):
        """Args:
        groups: the rows; any ranges of row ids, sorted by block.
        shuffle_blocks: blocks whose rows are mixed at a time; 0: all rows are mixed.
        key: decides the order of rows.
        block_key: decides the order of blocks; orders with one key visit blocks alike.
        """
        self.rows = groups.rows
        self._key, self._block_key = key, block_key
        self._first = groups.first
        self._before = np.cumsum(groups.count) - groups.count  # rows of the groups before each
        self._consecutive = bool((np.diff(groups.first) == groups.count[:-1]).all())
        self._blocks, begin = np.unique(groups.block, return_index=True)
        self._block_before = self._before[begin]
        self._block_rows = np.diff(self._block_before, append=self.rows)
        # A single window is the full shuffle.
        self._window = shuffle_blocks if 0 < shuffle_blocks < self._blocks.size else 0
        self._epoch = functools.lru_cache(maxsize=_EPOCHS_KEPT)(self._order_blocks)

    @property
    def open_blocks(self) -> int:
        """Blocks whose rows are mixed at a time."""
        return self._window or self._blocks.size

    def most_blocks(self, count: int) -> int:
        """More blocks than these never come into `count` consecutive places of any epochs."""
        if count < 2 or not self._window:
            return min(count, 1) * self.open_blocks
        # The first and the last window may be touched by a row each; those between are wholly
        # inside, so all their rows are among the others. Across epochs a block may come twice, but
        # the different ones still have so many rows.
        smallest = np.cumsum(np.sort(self._block_rows))
        between = int(np.searchsorted(smallest, count - 2, side="right"))
        return min(self._blocks.size, 2 * self._window + between)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Row ids at places [N] of the order, each at least 0 and ascending; int64 [N]."""
        epochs, within = np.divmod(index, self.rows)
        ordinal = np.empty(index.size, np.int64)
        begin = 0
        while begin < index.size:
            epoch = int(epochs[begin])
            end = int(np.searchsorted(epochs, epoch, side="right"))
            ordinal[begin:end] = self._ordinals(epoch, within[begin:end])
            begin = end
        if self._consecutive:
            return ordinal + self._first[0]
        group = np.searchsorted(self._before, ordinal, side="right") - 1
        rows: np.ndarray = self._first[group] + ordinal - self._before[group]
        return rows

    def blocks(self, begin: int, end: int) -> np.ndarray:
        """The blocks [N] whose rows may come at places [begin, end), in order of first need."""
        if not self._window:
            return self._blocks
        parts = []
        while begin < end:
            epoch, within = divmod(begin, self.rows)
            order = self._epoch(epoch)
            window = int(np.searchsorted(order.window_before, within, side="right")) - 1
            parts.append(order.blocks[window * self._window : (window + 1) * self._window])
            begin = epoch * self.rows + int(order.window_before[window] + order.window_rows[window])
        found = self._blocks[np.concatenate(parts)] if parts else self._blocks[:0]
        _, place = np.unique(found, return_index=True)
        return found[np.sort(place)]

    def _ordinals(self, epoch: int, within: np.ndarray) -> np.ndarray:
        """Numbers of the rows, counted in order of the groups, at places of one epoch."""
        key = hash64(np.array([epoch]), self._key)
        if not self._window:
            return permute(within, self.rows, key)
        order = self._epoch(epoch)
        window = np.searchsorted(order.window_before, within, side="right") - 1
        first = order.window_before[window]
        # Places in the row order of the permuted blocks.
        moved = first + permute(within - first, order.window_rows[window], hash64(window, key))
        place = np.searchsorted(order.before, moved, side="right") - 1
        ordinals: np.ndarray = self._block_before[order.blocks[place]] + moved - order.before[place]
        return ordinals

    def _order_blocks(self, epoch: int) -> "_BlockOrder":
        # By hash, so that orders of other buckets and strata, which lack some blocks, agree.
        key = hash64(np.array([epoch]), self._block_key)
        blocks = np.argsort(hash64(self._blocks, key), kind="stable")
        before = np.cumsum(self._block_rows[blocks]) - self._block_rows[blocks]
        window_before = before[:: self._window]
        window_rows = np.diff(window_before, append=self.rows)
        return _BlockOrder(blocks, before, window_before, window_rows)


@dataclass(frozen=True)
class _BlockOrder:
    blocks: np.ndarray  # int64, places among the blocks with rows, in the order of an epoch
    before: np.ndarray  # int64, rows of the blocks before each
    window_before: np.ndarray  # int64, rows of the windows of blocks before each
    window_rows: np.ndarray  # int64


class BucketOrder:
    """The order of a bucket's rows: of all of them, or of its strata at fixed rates."""

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
        rates: int64 [strata], rows of each stratum a period; None: strata as they come.
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
                held = groups.stratum == stratum
                part = RowGroups(
                    groups.first[held], groups.count[held], groups.block[held], groups.stratum[held]
                )
                key = derive_key(seed, "rows", length, stratum)
                self._orders[stratum] = RowOrder(part, shuffle_blocks, key, block_key)
            self._pattern, self._rank = spread(rates)
        self._mixed = rates is not None
        self._chunk_rows = int(np.clip(self.rows, 64, _CHUNK_ROWS))
        self._chunk = functools.lru_cache(maxsize=_CHUNKS_KEPT)(self._make_chunk)

    @property
    def all_blocks(self) -> np.ndarray:
        return np.unique(self._groups.block)

    @property
    def open_blocks(self) -> int:
        """Blocks whose rows are mixed at a time, of all strata."""
        return sum(order.open_blocks for order in self._orders.values())

    def most_blocks(self, count: int) -> int:
        """More blocks than these never come into `count` consecutive places."""
        if not self._mixed:
            return self._orders[0].most_blocks(count)
        found = sum(
            order.most_blocks(self._most_rows(stratum, count))
            for stratum, order in self._orders.items()
        )
        return min(self.all_blocks.size, found)

    def take(self, begin: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Row ids, int64 [count], and their strata, int32 [count], at places from `begin` on."""
        size = self._chunk_rows
        first, last = begin // size, (begin + count - 1) // size
        chunks = [self._chunk(number) for number in range(first, last + 1)]
        begin -= first * size
        rows, strata = (
            chunks[0] if len(chunks) == 1 else map(np.concatenate, zip(*chunks, strict=True))
        )
        return rows[begin : begin + count], strata[begin : begin + count]

    def blocks(self, begin: int, count: int) -> np.ndarray:
        """The blocks whose rows may come at places [begin, begin + count)."""
        if not self._mixed:
            return self._orders[0].blocks(begin, begin + count)
        spans = self._spans(begin, begin + count)
        return np.unique(
            np.concatenate(
                [order.blocks(*spans[stratum]) for stratum, order in self._orders.items()]
            )
        )

    def drawn(self, count: int, num_strata: int) -> np.ndarray:
        """Rows of each stratum at places [0, count), float64 [num_strata]; see Schedule."""
        found = np.zeros(num_strata)
        if self._mixed:
            for stratum, (_, end) in self._spans(0, count).items():
                found[stratum] = end
            return found
        np.add.at(found, self._groups.stratum, self._groups.count * (count / self.rows))
        return found

    def _make_chunk(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        index = np.arange(number * self._chunk_rows, (number + 1) * self._chunk_rows)
        if self._mixed:
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
        """For each stratum, which of its own rows come at places [begin, end)."""
        ends = [divmod(place, self._pattern.size) for place in (begin, end)]
        return {
            stratum: tuple(  # type: ignore[misc]
                period * int(self._rates[stratum]) + self._rank_before(stratum, within)
                for period, within in ends
            )
            for stratum in self._orders
        }

    def _most_rows(self, stratum: int, count: int) -> int:
        """How many of `count` consecutive places a stratum has at most."""
        periods, rest = divmod(count, self._pattern.size)
        places = self._rank[stratum]
        twice = np.concatenate([places, places + self._pattern.size])
        # Most are in a stretch that begins with one of them.
        inside = np.searchsorted(twice, places + rest) - np.arange(places.size)
        return periods * places.size + int(inside.max())

    def _rank_before(self, stratum: int, within: int) -> int:
        return int(np.searchsorted(self._rank[stratum], within))


def spread(rates: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """A period in which each stratum comes at its rate, spread evenly.

    Args:
      rates: int64 [strata], how often each comes; at least one is not 0.

    Returns:
      pattern: uint16 [sum(rates)], the stratum at each place; for each stratum its places, int64.
    """
    # The j-th of n items stands at (j + 1/2) / n of the period.
    strata = np.repeat(np.arange(rates.size, dtype=np.uint16), rates)
    item = np.arange(strata.size) - np.repeat(np.cumsum(rates) - rates, rates)
    pattern = strata[np.argsort((item + 0.5) / rates[strata], kind="stable")]
    return pattern, [np.flatnonzero(pattern == stratum) for stratum in range(rates.size)]
