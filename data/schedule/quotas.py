"""How many of the first steps each bucket gets: closed forms, exact integers on every machine."""

import heapq
from dataclasses import dataclass


class Quotas:
    """Steps of each bucket in the first cycles, in proportion to weights; they never fall.

    Where every bucket is owed at least a step a cycle they are shared out by largest remainders,
    within one step of the exact share. Largest remainders can take back a step that a bucket had
    (the Alabama paradox) where less than one is owed a cycle; there steps are halved down a tree of
    buckets, each half rounded, which stays within two steps of the exact share.
    """

    def __init__(self, weights: tuple[int, ...], cycle_steps: int):
        """`weights` are positive integers, one a bucket."""
        self._weights, self._cycle_steps = weights, cycle_steps
        everything = sum(weights)
        scarce = any(weight * cycle_steps < everything for weight in weights)
        self._tree = _tree(weights) if scarce else None

    def before(self, cycle: int) -> tuple[int, ...]:
        """Steps of each bucket in all cycles before this one."""
        total = cycle * self._cycle_steps
        if self._tree is None:
            return apportion(self._weights, total)
        counts = [0] * len(self._weights)
        _halve(self._tree, total, counts)
        return tuple(counts)


def apportion(weights: tuple[int, ...], total: int) -> tuple[int, ...]:
    """Counts that add up to `total` and follow the weights, by the largest-remainder rule."""
    everything = sum(weights)
    counts = [weight * total // everything for weight in weights]
    remainders = [weight * total % everything for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: -remainders[place])
    for place in by_remainder[: total - sum(counts)]:
        counts[place] += 1
    return tuple(counts)


@dataclass(frozen=True)
class _Node:
    weight: int
    place: int  # of a leaf; -1
    halves: tuple["_Node", ...]  # () of a leaf


def _tree(weights: tuple[int, ...]) -> _Node:
    """A Huffman tree: halves of like weight, so that errors of rounding shrink on the way down."""
    heap = [(weight, place, _Node(weight, place, ())) for place, weight in enumerate(weights)]
    heapq.heapify(heap)
    made = len(weights)
    while len(heap) > 1:
        (low, _, a), (high, _, b) = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (low + high, made, _Node(low + high, -1, (a, b))))
        made += 1
    return heap[0][2]


def _halve(node: _Node, total: int, counts: list[int]) -> None:
    if not node.halves:
        counts[node.place] = total
        return
    a, b = node.halves
    # Rounding half up never falls as the total grows, and neither does the rest.
    part = (2 * total * a.weight + node.weight) // (2 * node.weight)
    _halve(a, part, counts)
    _halve(b, total - part, counts)
