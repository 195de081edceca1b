"""Best-fit-decreasing packing, exact, in time linear in the number of items.

Items go in by decreasing size, each into the bin with the least room that still holds it (Ding et
al., "Fewer Truncations Improve Language Modeling", arXiv 2404.10830, use the same rule). Items of
one size, and bins with the same room, are interchangeable, so whole groups are placed at once.
The layouts that call this decide what is packed: kinds/decompose.py its tails, kinds/pack.py all.
"""

import numpy as np


def best_fit_decreasing(sizes: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Packs items into bins by the best-fit-decreasing rule.

    O(N) plus one small numpy operation for each (size, room) pair that occurs, at most
    capacity^2 / 2 of them.

    Args:
      sizes: integers [N], each in [1, capacity].
      capacity: room of an empty bin, in the same unit.

    Returns:
      bin_offsets: int64 [bins + 1]; items: int64 [N]. Bin b holds the items (indices into `sizes`)
      `items[bin_offsets[b]:bin_offsets[b + 1]]`, largest first.

    Raises:
      ValueError: a size outside [1, capacity].
    """
    sizes = np.asarray(sizes)
    if sizes.size and (sizes.min() < 1 or sizes.max() > capacity):
        raise ValueError(f"item sizes must lie in [1, {capacity}]")
    # numpy's stable sort of 16-bit integers is a radix sort.
    sort_key = capacity - sizes
    order = np.argsort(sort_key.astype(np.uint16) if capacity < 2**16 else sort_key, kind="stable")
    counts = np.bincount(sizes, minlength=capacity + 1)
    bins = _Bins(sizes.size, capacity)
    for size in np.flatnonzero(counts)[::-1].tolist():
        bins.place(size, int(counts[size]))
    bin_offsets = np.zeros(bins.opened + 1, np.int64)
    np.cumsum(np.bincount(bins.bin_of_item, minlength=bins.opened), out=bin_offsets[1:])
    return bin_offsets, order[np.argsort(bins.bin_of_item, kind="stable")]


def fewest_bins(sizes: np.ndarray, capacity: int) -> int:
    """Lower bound on the bins of any packing: L2 of Martello and Toth ("Lower bounds and reduction
    procedures for the bin packing problem", 1990), at least ceil(sum / capacity).

    Items above half the capacity need a bin each; for each k, those above capacity - k take no item
    of k or more, and the items of k up to half the capacity go into what the others leave.

    Args:
      sizes: integers [N], each in [1, capacity].
    """
    count = np.bincount(sizes, minlength=capacity + 1)
    upto = np.cumsum(count)
    sum_upto = np.cumsum(count * np.arange(capacity + 1))
    half = capacity // 2
    k = np.arange(half + 1)
    large = upto[-1] - upto[half]
    room = capacity * (upto[capacity - k] - upto[half]) - (sum_upto[capacity - k] - sum_upto[half])
    below = np.where(k > 0, sum_upto[k - 1], 0)
    overflow = sum_upto[half] - below - room
    return int(large + np.maximum(0, -(-overflow // capacity)).max())


class _Bins:
    """Open bins grouped by the room left in them."""

    def __init__(self, num_items: int, capacity: int):
        self.capacity = capacity
        self.opened = 0
        self.bin_of_item = np.empty(num_items, np.int64)  # by decreasing size
        self._placed = 0
        # For each room: the ids of its bins, in arrays that are used up from the last one.
        self._groups: list[list[np.ndarray]] = [[] for _ in range(capacity + 1)]
        self._group_sizes = np.zeros(capacity + 1, np.int64)

    def place(self, size: int, count: int) -> None:
        """Places `count` items of one size, tightest bins first, opening bins for the rest."""
        for room in (size + np.flatnonzero(self._group_sizes[size:])).tolist():
            count = self._fill(room, size, count)
            if count == 0:
                return
        opening = -(-count // (self.capacity // size))
        self._add(self.capacity, np.arange(self.opened, self.opened + opening))
        self.opened += opening
        self._fill(self.capacity, size, count)

    def _fill(self, room: int, size: int, count: int) -> int:
        """Fills the bins of one group; returns the number of items left over."""
        # A bin with the least room keeps having the least room after taking an item, so it takes
        # items of this size until no more fit.
        per_bin = room // size
        full = min(int(self._group_sizes[room]), count // per_bin)
        count -= self._put(room, size, full, per_bin)
        if 0 < count < per_bin and self._group_sizes[room]:
            count -= self._put(room, size, 1, count)
        return count

    def _put(self, room: int, size: int, num_bins: int, per_bin: int) -> int:
        taken = self._take(room, num_bins)
        stop = self._placed + num_bins * per_bin
        self.bin_of_item[self._placed : stop] = np.repeat(taken, per_bin)
        self._placed = stop
        self._add(room - per_bin * size, taken)
        return num_bins * per_bin

    def _add(self, room: int, ids: np.ndarray) -> None:
        if ids.size:
            self._groups[room].append(ids)
            self._group_sizes[room] += ids.size

    def _take(self, room: int, num_bins: int) -> np.ndarray:
        group, taken, missing = self._groups[room], [np.empty(0, np.int64)], num_bins
        while missing:
            ids = group.pop()
            if ids.size > missing:
                group.append(ids[missing:])
                ids = ids[:missing]
            taken.append(ids)
            missing -= ids.size
        self._group_sizes[room] -= num_bins
        return np.concatenate(taken)
