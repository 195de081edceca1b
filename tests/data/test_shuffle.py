import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from lengthwise.data.shuffle import derive_key, hash64, permute

keys = st.integers(0, 2**64 - 1)


@given(size=st.integers(1, 700), key=keys)
def test_permute_is_a_permutation(size: int, key: int) -> None:
    np.testing.assert_array_equal(np.sort(permute(np.arange(size), size, key)), np.arange(size))


@given(size=st.integers(2**33, 2**62), key=keys, data=st.data())
def test_permute_stays_in_huge_ranges_and_never_collides(
    size: int, key: int, data: st.DataObject
) -> None:
    index = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=30, unique=True))
    moved = permute(np.array(index), size, key)
    assert moved.min() >= 0
    assert moved.max() < size
    assert np.unique(moved).size == len(index)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_orders_are_equally_likely(size: int) -> None:
    trials = 24_000
    trial_keys = np.repeat(np.arange(trials), size)
    orders = permute(np.tile(np.arange(size), trials), size, trial_keys).reshape(trials, size)
    codes = orders @ (size ** np.arange(size))
    possible = [np.dot(p, size ** np.arange(size)) for p in itertools.permutations(range(size))]
    counts = [np.count_nonzero(codes == code) for code in possible]
    assert sum(counts) == trials
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("size", [6, 10, 17, 40])
def test_where_two_go_is_uniform(size: int) -> None:
    trials = 100_000
    moved = permute(np.tile([0, size - 1], trials), size, np.repeat(np.arange(trials), 2))
    first, second = moved.reshape(trials, 2).T
    counts = np.bincount(first * size + second, minlength=size * size).reshape(size, size)
    assert (np.diag(counts) == 0).all()
    assert chisquare(counts[~np.eye(size, dtype=bool)]).pvalue > 1e-4


def test_a_key_for_each_index_gives_what_each_key_gives_alone() -> None:
    index, size, per_index = np.arange(50) % 10, 10, np.arange(50) // 10
    alone = np.concatenate([permute(np.arange(10), 10, key) for key in range(5)])
    np.testing.assert_array_equal(permute(index, size, per_index), alone)


@given(key=keys, values=st.lists(st.integers(0, 2**63 - 1), unique=True, min_size=2))
def test_hashes_do_not_collide_and_depend_on_the_key(key: int, values: list[int]) -> None:
    hashes = hash64(np.array(values), key)
    assert np.unique(hashes).size == len(values)
    assert (hashes != hash64(np.array(values), key ^ 1)).any()


def test_hash_bits_are_balanced() -> None:
    hashes = hash64(np.arange(20_000), 7)
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    # Six standard deviations of a fair coin.
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(20_000)


def test_keys_differ_by_seed_and_use() -> None:
    derived = {derive_key(seed, use, n) for seed in range(3) for use in "ab" for n in range(3)}
    assert len(derived) == 18
    # The data order of a run must not change between versions.
    assert derive_key(0, "rows", 64) == derive_key(np.int64(0), "rows", 64)
