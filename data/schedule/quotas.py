"""Step quotas of buckets: closed forms of the cycle, exact integers on every machine."""

import heapq
from dataclasses import dataclass


class Quotas:
    """Cumulative steps of each bucket, proportional to weights and non-decreasing in the cycle.

    Where each bucket's share of a cycle is at least a step: largest remainders, within one step of
    the exact share. Below that largest remainders can take back a step that a bucket had (the
    Alabama paradox); then steps are split down a binary tree of buckets, each split rounded, which
    stays within two steps of the exact share.
    """

    def __init__(self, weights: tuple[int, ...], cycle_steps: int):
        """`weights` are positive integers, one a bucket."""
        self._weights, self._cycle_steps = weights, cycle_steps
        total = sum(weights)
        scarce = any(weight * cycle_steps < total for weight in weights)
        self._tree = _tree(weights) if scarce else None

    def before(self, cycle: int) -> tuple[int, ...]:
        """Steps of each bucket in all cycles before `cycle`."""
        total = cycle * self._cycle_steps
        if self._tree is None:
            return apportion(self._weights, total)
        counts = [0] * len(self._weights)
        _split(self._tree, total, counts)
        return tuple(counts)


def apportion(weights: tuple[int, ...], total: int) -> tuple[int, ...]:
    """Counts proportional to `weights` that add up to `total`, by the largest-remainder rule."""
    whole = sum(weights)
    counts = [weight * total // whole for weight in weights]
    remainders = [weight * total % whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -remainders[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return tuple(counts)


@dataclass(frozen=True)
class _Node:
    weight: int
    bucket: int  # index, of a leaf; -1
    children: tuple["_Node", ...]  # () of a leaf


def _tree(weights: tuple[int, ...]) -> _Node:
    """Huffman tree: siblings of like weight, so that rounding errors shrink on the way down."""
    heap = [(weight, bucket, _Node(weight, bucket, ())) for bucket, weight in enumerate(weights)]
    heapq.heapify(heap)
    tie_breaker = len(weights)
    while len(heap) > 1:
        (low, _, a), (high, _, b) = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (low + high, tie_breaker, _Node(low + high, -1, (a, b))))
        tie_breaker += 1
    return heap[0][2]


def _split(node: _Node, total: int, counts: list[int]) -> None:
    if not node.children:
        counts[node.bucket] = total
        return
    a, b = node.children
    # Rounding half up never falls as the total grows, and neither does the rest.
    part = (2 * total * a.weight + node.weight) // (2 * node.weight)
    _split(a, part, counts)
    _split(b, total - part, counts)
