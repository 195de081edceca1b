import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.packing import best_fit_decreasing


def reference_loads(sizes: list[int], capacity: int) -> list[int]:
    """The rule one item at a time."""
    rooms: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [place for place, room in enumerate(rooms) if room >= size]
        if fitting:
            rooms[min(fitting, key=rooms.__getitem__)] -= size
        else:
            rooms.append(capacity - size)
    return sorted(capacity - room for room in rooms)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[int], int]:
    capacity = draw(st.integers(1, 70))
    return draw(st.lists(st.integers(1, capacity), max_size=120)), capacity


@given(problem=problems())
def test_equals_the_rule_one_item_at_a_time(problem: tuple[list[int], int]) -> None:
    sizes, capacity = problem
    offsets, items = best_fit_decreasing(np.array(sizes, np.int64), capacity)
    np.testing.assert_array_equal(np.sort(items), np.arange(len(sizes)))
    loads = [sum(sizes[i] for i in items[a:b]) for a, b in itertools.pairwise(offsets)]
    assert all(0 < load <= capacity for load in loads)
    assert sorted(loads) == reference_loads(sizes, capacity)
    assert len(loads) <= 2 * sum(sizes) / capacity + 1


def test_tails_of_a_corpus_pack_within_one_percent_of_full_bins() -> None:
    documents = np.random.default_rng(0).lognormal(6, 1.5, 20_000).astype(np.int64)
    tails = documents % 64
    tails = tails[tails > 0]
    offsets, _ = best_fit_decreasing(tails, 64)
    assert offsets.size - 1 <= 1.01 * tails.sum() / 64 + 1


@pytest.mark.parametrize("capacity", [64, 1000, 70_000])
def test_many_items_equal_the_rule(capacity: int) -> None:
    sizes = np.random.default_rng(1).integers(1, capacity // 2, 400)
    offsets, items = best_fit_decreasing(sizes, capacity)
    loads = np.add.reduceat(sizes[items], offsets[:-1])
    assert sorted(loads) == reference_loads(sizes.tolist(), capacity)


@pytest.mark.parametrize("sizes", [[0, 3], [9]])
def test_rejects_sizes_that_no_bin_can_hold(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="item sizes"):
        best_fit_decreasing(np.array(sizes), 8)
