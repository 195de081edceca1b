"""Distances that many tokens count as, against the rotation by each pair's own distance."""

import jax
import numpy as np
import pytest

from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.positions.scheme import Dims
from lengthwise.model.positions.schemes.rope import Rope

LENGTH, HEADS, CHANNELS, THETA = 20, 2, 8, 100.0
SCHEME = Rope(theta=THETA, rotary_share=1.0)
DIMS = Dims(embed_dim=16, num_heads=HEADS, num_kv_heads=HEADS, head_dim=CHANNELS)


def ceiling(distance):
    """LM-Infinite: min(d, 6)."""
    return min(distance, 6)


def string(distance):
    """Equation 5 of arXiv:2410.18745 with S = 7, W = 2."""
    return distance - 7 + 2 if distance >= 7 else distance


def inputs():
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 1, LENGTH, HEADS, CHANNELS)).astype(np.float32)


def grouped(i, j):
    """SelfExtend with W = 7, G = 3: floor(7 / 3) = 2."""
    return i // 3 - j // 3 + 7 - 2 if i - j >= 7 else i - j


def leaky(i, j):
    """Leaky ReRoPE with w = 5, k = 2.5."""
    return 5 + (i - j - 5) / 2.5 if i - j >= 5 else i - j


def by_distance(counts_as):
    return lambda i, j: counts_as(i - j)


def reference(q, k, v, mask, counts_as, segments=None):
    """Pair by pair; counts_as: (position of the query, of the key) -> distance."""
    q, k, v = (np.asarray(x[0], np.float64) for x in (q, k, v))
    half = CHANNELS // 2
    frequencies = THETA ** (-2.0 * np.arange(half) / CHANNELS)
    pair = lambda x: x[:half] + 1j * x[half:]
    out = np.zeros_like(q)
    for h in range(HEADS):
        for i in range(LENGTH):
            same = [j for j in range(i + 1) if segments is None or segments[i] == segments[j]]
            keys = [j for j in same if mask.allowed(i, j)]
            turns = [np.exp(1j * frequencies * counts_as(i, j)) for j in keys]
            scores = [
                (pair(q[i, h]) * pair(k[j, h]).conj() * turn).sum().real
                for j, turn in zip(keys, turns, strict=True)
            ]
            weights = np.exp(np.array(scores) / np.sqrt(CHANNELS))
            out[i, h] = weights / weights.sum() @ v[keys, h]
    return out[None]


def ours(q, k, v, mask, scaling, backend, positions, segments=None):
    tables = SCHEME.tables(DIMS, scaling, UNSCALED, LENGTH)
    terms = SCHEME.terms({}, SCHEME.prepare({}, tables, positions, LENGTH), q, k)
    return attend(
        terms.q_BLHC,
        terms.k_BLKC,
        v,
        mask=mask,
        segment_ids_BL=segments,
        far=terms.far,
        backend=backend,
        softcap=0.0,
        block_size=4,
    )


CASES = [
    (RopeScaling("none", ceiling=6), Mask(window=6, sinks=2), by_distance(ceiling)),
    (RopeScaling("none", ceiling=6), Mask(), by_distance(ceiling)),
    (RopeScaling("none", shift=7, shift_kept=2), Mask(), by_distance(string)),
    (RopeScaling("none", near=7, grouped=3), Mask(), grouped),
    (RopeScaling("none", near=5, leak=2.5), Mask(window=12, sinks=1), leaky),
    (RopeScaling("none"), Mask(), lambda i, j: i - j),
]


@pytest.mark.parametrize("backend", ["dense", "blockwise"])
@pytest.mark.parametrize(("scaling", "mask", "counts_as"), CASES)
def test_far_pairs_are_rotated_by_the_distance_they_count_as(scaling, mask, counts_as, backend):
    q, k, v = inputs()
    positions = np.arange(LENGTH, dtype=np.int32)[None]
    expected = reference(q, k, v, mask, counts_as)
    found = jax.jit(ours, static_argnums=(3, 4, 5))(q, k, v, mask, scaling, backend, positions)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if scaling.far is not None:
        off_by_one = reference(
            q, k, v, mask, lambda i, j: counts_as(i, j) + (counts_as(i, j) != i - j)
        )
        assert np.abs(found - off_by_one).max() > 1e-3  # which a table that is shifted would be


def test_documents_in_a_packed_row_keep_their_own_distances():
    q, k, v = inputs()
    lengths = (9, 11)
    positions = np.concatenate([np.arange(n) for n in lengths])[None].astype(np.int32)
    segments = np.repeat([1, 2], lengths)
    expected = reference(q, k, v, Mask(), by_distance(string), segments)
    scaling = RopeScaling("none", shift=7, shift_kept=2)
    found = ours(q, k, v, Mask(), scaling, "dense", positions, segments[None])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_tested_far_positions_take_the_place_of_the_trained():
    tested, trained = RopeScaling("none", ceiling=5), RopeScaling("none", shift=7, shift_kept=2)
    assert SCHEME.tables(DIMS, tested, trained, LENGTH).far == tested.far
    assert SCHEME.tables(DIMS, UNSCALED, trained, LENGTH).far == trained.far
