"""Closed-form classes of blocks against the pairs of tokens they stand for."""

import time

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.model.attention.mask_blocks import (
    EMPTY,
    FULL,
    PARTIAL,
    SegmentBlocks,
    block_classes,
    key_blocks,
)
from lengthwise.model.attention.masks import CAUSAL, Mask
from tests.model.attention.attention_reference import visible
from tests.model.attention.test_masks import masks


def classes_of(seen, q_block, k_block):
    """The definition: whether none, some or all pairs of a block are visible."""
    length = len(seen)
    blocks = seen.reshape(length // q_block, q_block, length // k_block, k_block)
    any_seen, all_seen = blocks.any((1, 3)), blocks.all((1, 3))
    return np.where(all_seen, FULL, np.where(any_seen, PARTIAL, EMPTY))


@settings(max_examples=300)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), masks(24))
def test_classes_of_blocks_are_those_of_their_pairs(q_block, k_block, times, mask):
    length = q_block * k_block * times
    seen = visible(length, mask, None)
    expected = classes_of(seen, q_block, k_block)
    np.testing.assert_array_equal(block_classes(mask, length, q_block, k_block), expected)


def visited_and_full(blocks):
    """Per query block: which key blocks are visited, and which are taken for full."""
    for leading, near, stop, full_first, full_stop in np.stack(blocks, axis=1).tolist():
        yield [*range(leading), *range(near, stop)], list(range(full_first, full_stop))


def blocks_of(mask, block, i):
    return key_blocks(mask, block, jnp.asarray(i * block), jnp.asarray(i * block + block - 1))


@settings(max_examples=150)
@given(st.integers(1, 9), masks(24))
def test_exactly_the_visible_blocks_are_visited(block, mask):
    blocks = 6
    seen = visible(block * blocks, mask, None)
    expected = classes_of(seen, block, block)
    first = block * jnp.arange(blocks)
    plan = key_blocks(mask, block, first, first + block - 1)
    for row, (visited, full) in zip(expected, visited_and_full(plan), strict=True):
        visited = [j for j in visited if j < blocks]  # a prefix may be longer than the row
        assert visited == np.flatnonzero(row != EMPTY).tolist()
        assert set(full) <= set(np.flatnonzero(row == FULL)) | set(range(blocks, 99))
        if not mask.sinks:
            assert [j for j in full if j < blocks] == np.flatnonzero(row == FULL).tolist()


@settings(max_examples=150)
@given(st.integers(1, 9), masks(24), st.integers(0, 53), st.integers(1, 20))
def test_exactly_what_any_stretch_of_queries_sees_is_visited(block, mask, first, count):
    if mask.prefix:  # shows later keys: a whole block of queries at a time
        return
    blocks = 6
    first = min(first, block * blocks - 1)
    last = min(first + count, block * blocks) - 1
    seen = visible(block * blocks, mask, None)[first : last + 1]
    plan = key_blocks(mask, block, jnp.asarray([first]), jnp.asarray([last]))
    ((visited, full),) = visited_and_full(plan)
    by_block = seen.reshape(len(seen), blocks, block)
    assert visited == np.flatnonzero(by_block.any((0, 2))).tolist()
    assert set(full) <= set(np.flatnonzero(by_block.all((0, 2))))


@settings(max_examples=60)
@given(st.sampled_from([1, 3, 4]), masks(12), st.booleans(), st.data())
def test_segments_only_narrow_what_is_visited(block, mask, ascending, data):
    """Every visible pair stays visited, and what is taken for full is full, in every row."""
    blocks = 4
    ids = st.lists(st.integers(0, 3), min_size=block * blocks, max_size=block * blocks)
    rows = np.array(data.draw(st.tuples(ids, ids)), np.int32)
    if ascending:
        rows = np.sort(rows, axis=1)
    classes = [classes_of(visible(block * blocks, mask, row), block, block) for row in rows]
    narrow = SegmentBlocks.of(jnp.asarray(rows), block).narrow
    for i in range(blocks):
        plan = narrow(blocks_of(mask, block, i), jnp.asarray(i))
        ((visited, full),) = visited_and_full([np.asarray(x)[None] for x in plan])
        assert len(visited) == len(set(visited))
        for row in classes:
            assert set(np.flatnonzero(row[i] != EMPTY)) <= set(visited)
            assert {j for j in full if j < blocks} <= set(np.flatnonzero(row[i] == FULL))
        assert set(full) <= set(visited)


def test_packed_documents_are_visited_apart():
    """Sixteen documents of four blocks each: no query block visits another document."""
    ids = jnp.asarray(np.repeat(np.arange(1, 17), 32)[None])
    segments = SegmentBlocks.of(ids, 8)
    for i in range(64):
        plan = segments.narrow(blocks_of(CAUSAL, 8, i), jnp.asarray(i))
        ((visited, full),) = visited_and_full([np.asarray(x)[None] for x in plan])
        assert visited == list(range(i // 4 * 4, i + 1))
        assert full == visited[:-1]


@pytest.mark.parametrize(
    "mask", [CAUSAL, Mask(window=4096, sinks=4), Mask(chunk=8192), Mask(prefix=1000)], ids=str
)
def test_a_million_tokens_are_classed_without_walking_over_pairs(mask):
    start = time.process_time()
    classes = block_classes(mask, 1 << 20, 512, 512)
    assert time.process_time() - start < 5  # the aim is 1; walking over 2**40 pairs takes hours
    assert classes.shape == (2048, 2048)
    assert (np.diagonal(classes) != EMPTY).all()
