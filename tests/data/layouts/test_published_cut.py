"""The cut of arXiv 2405.13226's public code against a loop over its rules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.data.layouts import LayoutIndex
from lengthwise.data.layouts.kinds.decompose import floor_log2
from tests.data.layouts.layout_cases import PUBLISHED, build, changed, rows_of


def chunks(length: int, choices: list[int], smallest: int, largest: int) -> list[tuple[int, int]]:
    """Where each chunk of a document starts, and its k: the published loop, literally.

    `choices` are what the random draws gave, in order.
    """
    found, position = [], 0
    while True:
        remaining = length - position
        if remaining < 2:
            return found
        k = int(np.floor(np.log2(remaining - 1)))
        if k < smallest:
            return found
        if k > largest:
            k = choices.pop(0)
        found.append((position, k))
        position += 2**k + 1


def found_chunks(layout: LayoutIndex) -> list[tuple[int, int]]:
    return sorted((p[0][0], length.bit_length() - 1) for length, _, p in rows_of(layout))


@given(lengths=st.lists(st.integers(1, 128), min_size=1, max_size=30))
def test_equals_the_loop_where_nothing_is_drawn(lengths: list[int]) -> None:
    lengths = [*lengths, 100]
    expected, start = [], 0
    for length in lengths:
        expected += [(start + position, k) for position, k in chunks(length, [], 3, 6)]
        start += length
    layout = build(PUBLISHED, lengths)
    assert found_chunks(layout) == expected
    targets = sum(2**k for _, k in expected)
    assert layout.accounting.targets == targets
    assert layout.accounting.possible_targets == sum(lengths) - len(lengths)


@given(length=st.integers(129, 5000), seed=st.integers(0, 9))
def test_long_documents_follow_the_loop_with_their_draws(length: int, seed: int) -> None:
    found = found_chunks(build(PUBLISHED, [length], seed))
    drawn = [k for position, k in found if length - position - 1 >= 128]
    assert chunks(length, drawn, 3, 6) == found


def test_draws_have_the_published_odds() -> None:
    """p(13..8) = 1, 2, 4, 8, 16, 32 of 63."""
    config = changed(cut="published", tails="drop", smallest_bucket=256, largest_bucket=8192)
    length = 1 << 22
    found = found_chunks(build(config, [length], seed=1))
    drawn = np.array([k for position, k in found if length - position - 1 >= 2**14])
    shares = [np.mean(drawn == k) for k in range(13, 7, -1)]
    assert drawn.size > 5000
    np.testing.assert_allclose(shares, np.array([1, 2, 4, 8, 16, 32]) / 63, atol=0.02)
    assert found_chunks(build(config, [length], seed=2)) != found


def test_a_document_up_to_the_smallest_bucket_is_thrown_away() -> None:
    layout = build(PUBLISHED, [8, 8, 9, 64])
    assert found_chunks(layout) == [(16, 3), (25, 5), (58, 4), (75, 3)]
    assert any("dropped" in note for note in layout.accounting.notes)


@pytest.mark.parametrize("power", [40, 49])
def test_powers_of_two_are_exact(power: int) -> None:
    # log2(2^49 - 1) rounds to 49: the cut must not.
    values = np.array([2**power - 1, 2**power, 2**power + 1])
    assert floor_log2(values).tolist() == [power - 1, power, power]
