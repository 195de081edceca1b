"""Splits: whole clusters, the shares asked for, nothing but texts and seed decides."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.store.splits import Split, assign_splits, strata_of_clusters

SHARE = 0.08


def corpus(seed: int, num_documents: int, num_clusters: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, num_clusters, num_documents)
    clusters[:num_clusters] = np.arange(num_clusters)
    base = np.exp(rng.normal(8, 2, num_clusters)) + 1
    num_bytes = (base[clusters] * rng.uniform(0.9, 1.0, num_documents)).astype(np.int64) + 1
    digests = [
        hashlib.blake2b(bytes([seed]) + i.to_bytes(4)).digest() for i in range(num_documents)
    ]
    return num_bytes, clusters, np.array([list(d[:16]) for d in digests], np.uint8)


def split(
    documents: tuple[np.ndarray, ...],
    seed: int = 0,
    selection: float = SHARE,
    report: float = SHARE,
) -> np.ndarray:
    return assign_splits(*documents, selection_share=selection, report_share=report, seed=seed)


@given(
    seed=st.integers(0, 255),
    num_clusters=st.integers(3, 60),
    extra=st.integers(0, 60),
    selection=st.sampled_from([0.0, 0.02, 0.08, 0.3, 0.49]),
    report=st.sampled_from([0.0, 0.05, 0.4, 0.49]),
    split_seed=st.integers(-(2**63), 2**63 - 1),
)
def test_no_cluster_is_on_two_sides_and_no_asked_side_is_empty(
    seed: int, num_clusters: int, extra: int, selection: float, report: float, split_seed: int
) -> None:
    documents = corpus(seed, num_clusters + extra, num_clusters)
    splits = split(documents, split_seed, selection, report)
    for cluster in range(num_clusters):
        assert len(set(splits[documents[1] == cluster])) == 1
    assert (splits == Split.TRAIN).any()
    assert (splits == Split.SELECTION).any() == (selection > 0)
    assert (splits == Split.REPORT).any() == (report > 0)


@pytest.mark.parametrize("seed", range(6))
def test_shares_are_met_in_every_stratum(seed: int) -> None:
    documents = corpus(seed, 5_000, 4_000)
    num_bytes, clusters, _ = documents
    splits = split(documents, seed)
    mass = np.bincount(clusters, weights=num_bytes)
    longest = np.zeros(4_000, np.int64)
    np.maximum.at(longest, clusters, num_bytes)
    strata = strata_of_clusters(longest, SHARE)
    assert len(set(strata)) > 5
    for stratum in set(strata):
        inside = strata[clusters] == stratum
        total = num_bytes[inside].sum()
        # A cut falls inside one cluster, which goes to the side that has its middle.
        heaviest = mass[(strata == stratum) & (mass <= SHARE * total)].max()
        for side in (Split.SELECTION, Split.REPORT):
            held = num_bytes[inside & (splits == side)].sum()
            assert abs(held - SHARE * total) <= heaviest / 2 + 1
    for side in (Split.SELECTION, Split.REPORT):
        assert abs(num_bytes[splits == side].sum() / num_bytes.sum() - SHARE) < 0.01


def test_order_of_documents_and_numbers_of_clusters_do_not_matter() -> None:
    num_bytes, clusters, digests = corpus(1, 600, 400)
    splits = split((num_bytes, clusters, digests))
    rng = np.random.default_rng(0)
    order = rng.permutation(600)
    renamed = rng.permutation(400)[clusters]
    np.testing.assert_array_equal(
        split((num_bytes[order], renamed[order], digests[order])), splits[order]
    )


def test_seed_decides_and_repeats() -> None:
    documents = corpus(2, 1_000, 900)
    np.testing.assert_array_equal(split(documents, 5), split(documents, 5))
    held = split(documents, 5) > 0
    other = split(documents, 6) > 0
    assert (held & other).sum() < 0.5 * held.sum()


def test_one_more_document_moves_few_others() -> None:
    num_bytes, clusters, digests = corpus(3, 3_001, 3_001)
    whole = split((num_bytes, clusters, digests))
    without = split((num_bytes[:-1], clusters[:-1], digests[:-1]))
    assert (whole[:-1] != without).sum() <= 4


def test_a_family_heavier_than_a_quota_is_trained_on() -> None:
    num_bytes = np.full(200, 1_000, np.int64)
    clusters = np.concatenate([np.zeros(40, np.int64), np.arange(1, 161)])
    digests = corpus(4, 200, 200)[2]
    for seed in range(20):
        splits = split((num_bytes, clusters, digests), seed)
        assert (splits[:40] == Split.TRAIN).all()
        assert 15 <= (splits == Split.SELECTION).sum() <= 17
        assert 15 <= (splits == Split.REPORT).sum() <= 17


def test_neighbours_of_a_heavy_family_are_trained_on_too() -> None:
    num_bytes = np.full(1_000, 1_000, np.int64)
    clusters = np.maximum(np.arange(1_000) - 899, 0)
    digests = corpus(6, 1_000, 1_000)[2]
    splits = split((num_bytes, clusters, digests))
    assert 35 <= (splits[900:] == Split.TRAIN).sum() <= 45


def test_three_documents_fill_three_splits() -> None:
    num_bytes, clusters = np.array([300, 300, 400]), np.arange(3)
    for seed in range(20):
        documents = num_bytes, clusters, corpus(seed, 3, 3)[2]
        assert sorted(split(documents, 0, 0.49, 0.49)) == [0, 1, 2]


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=300), st.floats(0.02, 0.5))
def test_strata_are_ranges_of_powers_with_enough_clusters(sizes: list[int], share: float) -> None:
    longest = np.array(sizes)
    strata = strata_of_clusters(longest, share)
    powers = [size.bit_length() - 1 for size in sizes]
    for power in set(powers):
        assert len({s for s, p in zip(strata, powers, strict=True) if p == power}) == 1
    assert (np.diff(strata[np.argsort(longest, kind="stable")]) >= 0).all()
    counts = np.bincount(strata)
    if len(sizes) >= 1 / share:
        assert counts.min() >= 1 / share
    else:
        assert len(counts) == 1


def test_too_few_documents_leave_splits_empty() -> None:
    assert set(split(corpus(5, 10, 2))) == {Split.TRAIN, Split.REPORT}
    assert set(split(corpus(5, 10, 2), 0, 0.1, 0.0)) == {Split.TRAIN, Split.SELECTION}
    assert not split(corpus(5, 10, 1)).any()


def test_impossible_requests() -> None:
    documents = corpus(5, 10, 2)
    assert set(split(documents, 0, 0.1, 0.0)) == {Split.TRAIN, Split.SELECTION}
    assert not split(documents, 0, 0.0, 0.0).any()
    for selection, report, message in (
        (-0.1, 0.1, "selection_share=-0.1 must be"),
        (0.1, 1.0, "report_share=1.0 must be"),
        (0.5, 0.5, "leave nothing to train on"),
    ):
        with pytest.raises(UserError, match=message):
            split(documents, 0, selection, report)
