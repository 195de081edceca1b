import itertools
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.data.layouts.packing import best_fit_decreasing, fewest_bins


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


@given(problem=problems())
def test_the_bound_is_below_every_packing_and_above_the_sum(problem: tuple[list[int], int]) -> None:
    sizes, capacity = problem
    bound = fewest_bins(np.array(sizes, np.int64), capacity)
    assert -(-sum(sizes) // capacity) <= bound <= len(reference_loads(sizes, capacity))
    assert bound >= sum(size > capacity / 2 for size in sizes)


@pytest.mark.parametrize(
    ("sizes", "bins"),
    [([6, 6, 6, 5, 5], 4), ([7, 7, 4, 4, 4], 4), ([9, 9, 2, 2], 3), ([10], 1), ([], 0)],
)
def test_the_bound_knows_what_does_not_fit_together(sizes: list[int], bins: int) -> None:
    assert fewest_bins(np.array(sizes, np.int64), 10) == bins
    assert len(reference_loads(sizes, 10)) == bins


@pytest.mark.parametrize("capacity", [256, 2048, 8192])
def test_a_million_documents_of_the_web_waste_less_than_a_row_in_ten_thousand(
    capacity: int,
) -> None:
    targets = np.random.default_rng(0).lognormal(5.55, 1.3, 1_000_000).astype(np.int64)
    rest = targets % capacity
    rest = rest[rest > 0]
    rows = (targets // capacity).sum() + best_fit_decreasing(rest, capacity)[0].size - 1
    assert rows <= 1.0001 * np.ceil(targets.sum() / capacity)


@pytest.mark.parametrize("capacity", [512, 2048, 8192])
def test_the_standard_library_packs_within_a_ten_thousandth_or_two_rows(capacity: int) -> None:
    root = Path(sysconfig.get_paths()["stdlib"])
    targets = np.array(
        [p.stat().st_size for p in root.rglob("*.py") if "site-packages" not in str(p)]
    )
    rest = targets % capacity
    rest = rest[rest > 0]
    whole = int((targets // capacity).sum())
    fewest = whole + fewest_bins(rest, capacity)
    rows = whole + best_fit_decreasing(rest, capacity)[0].size - 1
    assert rows <= fewest + max(2, 1e-4 * fewest)


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
