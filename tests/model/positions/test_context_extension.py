"""Positions of longer contexts in short sequences: PoSE and E2-LLM."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.model.positions.context_extension import (
    clex_positions,
    e2_llm_scale,
    offset_positions,
    pose_positions,
    shifted_positions,
)
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.positions.rotation import rope_angles, rope_tables
from lengthwise.model.positions.settings import ContextExtension


@settings(max_examples=20)
@given(st.integers(0, 99), st.integers(2, 5), st.integers(0, 50))
def test_chunks_skip_forward_and_stay_within_the_target(seed, chunks, room):
    length, rows = 16, 8
    extension = ContextExtension("pose", length + room, chunks)
    plain = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    found = np.asarray(pose_positions(jax.random.key(seed), np.arange(rows), plain, extension))
    assert (found[:, 0] == 0).all()
    assert found.max() < length + room
    steps = np.diff(found, axis=1)
    assert (steps >= 1).all()
    assert ((steps > 1).sum(axis=1) <= chunks - 1).all()


def test_skips_and_cuts_are_uniform_and_each_rows_own():
    length, target, rows = 8, 13, 20_000
    plain = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), (rows, length))
    found = np.asarray(
        pose_positions(
            jax.random.key(1), np.arange(rows), plain, ContextExtension("pose", target, 2)
        )
    )
    skip = found[:, -1] - (length - 1)  # 0 ... 5
    shares = np.bincount(skip, minlength=6) / rows
    np.testing.assert_allclose(shares, 1 / 6, atol=0.015)
    cut = 1 + np.argmax(np.diff(found, axis=1) > 1, axis=1)[skip > 0]
    shares = np.bincount(cut, minlength=length)[1:] / cut.size
    np.testing.assert_allclose(shares, 1 / (length - 1), atol=0.015)


def test_every_document_of_a_packed_row_is_cut_alike():
    restarted = np.concatenate([np.arange(9), np.arange(7)])[None].astype(np.int32)
    extension = ContextExtension("pose", 40, 2)
    found = np.asarray(pose_positions(jax.random.key(0), np.arange(1), restarted, extension))[0]
    np.testing.assert_array_equal(found[9:], found[:7])


def test_rows_are_shifted_as_a_whole_by_any_offset_within_the_target():
    length, target, rows = 8, 13, 20_000
    plain = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
    found = np.asarray(shifted_positions(jax.random.key(2), np.arange(rows), plain, target))
    assert (np.diff(found, axis=1) == 1).all()
    shares = np.bincount(found[:, 0], minlength=6) / rows  # 0 ... 5, the last one included
    np.testing.assert_allclose(shares, 1 / 6, atol=0.015)


def test_scale_and_offset_keep_positions_within_the_trained_range():
    extension = ContextExtension("e2_llm", 512, 2)
    drawn = [e2_llm_scale(extension, 3, step, 64, 32) for step in range(4000)]
    scales = np.array([scale for scale, _ in drawn])
    np.testing.assert_allclose(np.bincount(scales)[1:] / scales.size, 1 / 8, atol=0.02)
    for scale in range(1, 9):
        offsets = np.array([t for g, t in drawn if g == scale])
        assert 0 <= offsets.min() < 20
        assert 64 * scale - 32 - 20 < offsets.max() <= 64 * scale - 32
    assert drawn == [e2_llm_scale(extension, 3, step, 64, 32) for step in range(4000)]
    assert drawn != [e2_llm_scale(extension, 4, step, 64, 32) for step in range(4000)]


def test_positions_of_clex_spread_over_the_longer_sequence():
    extension = ContextExtension("clex", 256, 2)
    drawn = [clex_positions(extension, 0, step, 64, 32) for step in range(2000)]
    factors = np.array([factor for factor, _ in drawn])
    np.testing.assert_allclose(np.bincount(factors)[1:] / factors.size, 1 / 4, atol=0.04)
    for factor, positions in drawn[:50]:
        assert positions.shape == (32,)
        assert (positions[0], positions[-1]) == (0, 32 * factor - 1)
        assert (np.diff(positions) >= 1).all()
    middle = np.concatenate([positions[1:-1] for factor, positions in drawn if factor == 4])
    shares = np.histogram(middle, bins=9, range=(1, 127))[0] / middle.size
    np.testing.assert_allclose(shares, 1 / 9, atol=0.01)
    again = clex_positions(extension, 0, 7, 64, 32)
    assert again[0] == drawn[7][0]
    np.testing.assert_array_equal(again[1], drawn[7][1])


def test_rope_sees_position_plus_offset_over_scale():
    positions = np.arange(9, dtype=np.int32)[None]
    moved = offset_positions(positions, np.int32(100))
    angles = rope_angles(moved, rope_tables(8, 100.0, RopeScaling("linear", 4.0)))
    for place, turned in zip(range(9), np.asarray(angles.cos[0]), strict=True):
        at = place if place < 4 else place + 100
        np.testing.assert_allclose(turned, np.cos(at / 4 * 100.0 ** (-np.arange(4) / 4)), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "target", "chunks", "word"),
    [
        ("warp", 0, 2, "unknown"),
        ("pose", 64, 2, "at least 65"),
        ("pose", 99, 1, "chunks"),
        ("shift", 64, 2, "at least 65"),
        ("pose", 2**21, 2, "beyond"),
        ("e2_llm", 127, 2, "at least 128"),
    ],
)
def test_settings_without_meaning_are_refused(kind, target, chunks, word):
    with pytest.raises(UserError, match=word):
        ContextExtension(kind, target, chunks).check(64)
