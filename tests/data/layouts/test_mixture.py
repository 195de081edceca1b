import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.mixture import halve, plan_halving, resolve_mixture

LENGTHS = (4, 8, 16, 32)


def sequences(counts: list[int]) -> dict[int, np.ndarray]:
    """Sequences that lie one behind the other in one long text."""
    starts, at = {}, 0
    for length, count in zip(LENGTHS, counts, strict=True):
        starts[length] = at + length * np.arange(count)
        at += length * count
    return starts


def reach(
    cells: list[dict[int, np.ndarray]], tail: int, shares: np.ndarray, seed: int
) -> list[dict[int, np.ndarray]]:
    held = np.array([[starts.size for starts in cell.values()] for cell in cells])
    halved = plan_halving(held, LENGTHS, tail, shares)
    return [halve(cell, of_cell, seed) for cell, of_cell in zip(cells, halved, strict=True)]


def targets(starts: dict[int, np.ndarray]) -> np.ndarray:
    ranges = [np.arange(s, s + length) for length, of in starts.items() for s in of]
    return np.sort(np.concatenate([np.empty(0, np.int64), *ranges]))


counts = st.lists(st.integers(0, 40), min_size=4, max_size=4)
weights = st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any)


@given(counts=counts, weights=weights, tail=st.integers(0, 300), seed=st.integers(0, 99))
def test_shares_are_met_from_the_longest_down_and_no_target_is_lost(
    counts: list[int], weights: list[int], tail: int, seed: int
) -> None:
    before = sequences(counts)
    shares = np.array(weights) / sum(weights)
    (after,) = reach([before], tail, shares, seed)
    np.testing.assert_array_equal(targets(after), targets(before))
    left = tail + targets(before).size
    inherited = 0  # sequences halved into the bucket from above
    for place in (3, 2, 1):
        length = LENGTHS[place]
        available, kept = counts[place] + inherited, after[length].size
        open_share = shares[: place + 1].sum()
        if open_share == 0:
            assert kept == available
        else:
            # A bucket keeps what it may, to the nearest sequence, and no less unless it has less.
            wanted = left * shares[place] / open_share / length
            assert kept <= wanted + 0.5 + 1e-9
            assert kept >= min(available, wanted - 0.5 - 1e-9)
        inherited = 2 * (available - kept)
        left -= kept * length
    assert after[4].size == counts[0] + inherited


@given(cells=st.lists(counts, min_size=1, max_size=6), weights=weights, tail=st.integers(0, 300))
def test_cells_halve_in_proportion_and_add_up_to_one(
    cells: list[list[int]], weights: list[int], tail: int
) -> None:
    shares = np.array(weights) / sum(weights)
    together = np.sum(cells, axis=0)
    halved = plan_halving(np.array(cells), LENGTHS, tail, shares)
    (whole,) = plan_halving(together[None], LENGTHS, tail, shares)
    np.testing.assert_array_equal(halved.sum(axis=0), whole)
    held = np.array(cells)
    for place in (3, 2, 1):
        assert (halved[:, place] <= held[:, place]).all()
        share = whole[place] / max(1, held[:, place].sum())
        assert np.abs(halved[:, place] - share * held[:, place]).max() < 1
        held[:, place - 1] += 2 * halved[:, place]


def test_long_documents_reach_equal_tokens() -> None:
    (after,) = reach([sequences([0, 0, 0, 4000])], 0, np.full(4, 0.25), seed=0)
    assert {length: of.size * length for length, of in after.items()} == dict.fromkeys(
        LENGTHS, 32000
    )


def test_the_seed_chooses_evenly_which_sequences_are_halved() -> None:
    before = sequences([0, 0, 0, 4000])
    chosen = [reach([before], 0, np.full(4, 0.25), seed)[0][32] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert not np.array_equal(chosen[0], chosen[2])
    # 1,000 of 4,000 stay; a fair choice leaves 500 +- 14 of them in the first half.
    assert 430 < np.count_nonzero(chosen[0] < 2000 * 32) < 570


@pytest.mark.parametrize(
    ("name", "shares", "says"),
    [
        ("equal", (), "natural, equal_tokens, explicit"),
        ("equal_tokens", (0.25,) * 4, "only for layout.mixture = 'explicit'"),
        ("explicit", (0.5, 0.5), "2 shares for 4 buckets"),
        ("explicit", (0.5, 0.5, 0.5, 0.5), "add up to 1"),
        ("explicit", (-0.5, 0.5, 0.5, 0.5), "must not be negative"),
        ("explicit", (float("nan"), 0.0, 0.5, 0.5), "must not be negative"),
    ],
)
def test_says_what_is_wrong_with_a_mixture(name: str, shares: tuple[float, ...], says: str) -> None:
    with pytest.raises(UserError, match=says):
        resolve_mixture(name, shares, 4)


def test_named_mixtures() -> None:
    assert resolve_mixture("natural", (), 4) is None
    np.testing.assert_array_equal(resolve_mixture("equal_tokens", (), 4), np.full(4, 0.25))
