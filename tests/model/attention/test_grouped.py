"""Few matrices at a time give what all together give, and only where that pays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.backends import grouped
from lengthwise.model.attention.biases import FarField, LinearBias
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.parallel.mesh import use_mesh
from tests.model.attention.attention_reference import make_case, reference
from tests.model.attention.test_attention import LENGTH, packed_segments

MASKS = [CAUSAL, Mask(window=30), Mask(prefix=13)]


@pytest.fixture
def in_small_groups(monkeypatch):
    """Long rows and large blocks, for tests; which calls of the blockwise backend there are."""
    monkeypatch.setattr(grouped, "_FROM", 16)
    monkeypatch.setattr(grouped, "_BLOCK", 8)
    shapes = []

    def spied(q, *rest, **asked):
        shapes.append((q.shape, asked["block_size"]))
        return blockwise(q, *rest, **asked)

    blockwise = grouped.blockwise_attention
    monkeypatch.setattr(grouped, "blockwise_attention", spied)
    return shapes


def run(case, mask, *, bias=None, boundary=None, far_q=None, far_k=None):
    """(out, gradients of q, k, v, far q, far k)."""

    def loss(q, k, v, far_q, far_k):
        out = grouped.grouped_attention(
            q,
            k,
            v,
            mask=mask,
            segment_ids_BL=None if case.segments is None else jnp.asarray(case.segments),
            positions_BL=jnp.arange(q.shape[1])[None],
            bias=bias,
            far=None if boundary is None else FarField(far_q, far_k, boundary),
            softcap=1.5,
            block_size=0,
        )
        if case.segments is not None:
            out = jnp.where((case.segments > 0)[:, :, None, None], out, 0)
        return jnp.sum(out * case.d_out), out

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3, 4), has_aux=True))
    far = (case.q, case.k) if far_q is None else (far_q, far_k)
    gradients, out = gradient(case.q, case.k, case.v, *far)
    return (out, *gradients)


@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "part"), [(8, 4, 4), (6, 1, 6), (3, 3, 3)])
def test_groups_of_heads_match_float64(mask, heads, kv_heads, part, in_small_groups):
    case = make_case(0, 2, LENGTH, heads, kv_heads, 4, packed_segments(LENGTH))
    actual = run(case, mask)[:4]
    for a, e in zip(actual, reference(case, mask, softcap=1.5)[:4], strict=True):
        np.testing.assert_allclose(a, e, atol=1e-5, rtol=1e-5)
    assert set(in_small_groups) == {((1, LENGTH, part, 4), 8)}


def test_a_far_field_and_a_bias_go_with_their_heads(in_small_groups):
    case = make_case(1, 2, LENGTH, 8, 2, 4, None)
    far = make_case(2, 2, LENGTH, 8, 2, 4, None)
    expected = reference(case, CAUSAL, softcap=1.5, far_q=far.q, far_k=far.k, boundary=9)
    actual = run(case, CAUSAL, boundary=9, far_q=far.q, far_k=far.k)
    for a, e in zip(actual, expected[:6], strict=True):
        np.testing.assert_allclose(a, e, atol=1e-5, rtol=1e-5)

    slopes = np.linspace(0.1, 0.8, 8, dtype=np.float32)
    distance = np.arange(LENGTH)[None, :] - np.arange(LENGTH)[:, None]
    bias = np.broadcast_to(slopes[:, None, None] * distance, (2, 8, LENGTH, LENGTH))
    expected = reference(case, CAUSAL, softcap=1.5, bias_BHLL=bias)
    actual = run(case, CAUSAL, bias=LinearBias(jnp.asarray(slopes)))[:4]
    for a, e in zip(actual, expected[:4], strict=True):
        np.testing.assert_allclose(a, e, atol=1e-5, rtol=1e-5)
    assert {shape for shape, _ in in_small_groups} == {(1, LENGTH, 4, 4), (1, LENGTH, 8, 4)}


def test_short_rows_narrow_windows_and_split_programs_stay_whole(in_small_groups):
    case = make_case(3, 2, LENGTH, 8, 4, 4, None)
    run(case, Mask(window=10))
    mesh = jax.make_mesh(
        (4, 1, 2), ("data", "context", "tensor"), (jax.sharding.AxisType.Auto,) * 3
    )
    with use_mesh(mesh):
        run(case, CAUSAL)
    run(make_case(3, 2, 15, 8, 4, 4, None), CAUSAL)
    assert {shape[0] for shape, _ in in_small_groups} == {2}
