"""The TPU kernel: its grid against its own library's and against the mask, and interpreted runs."""

import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as stock
from jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_mask_info import (
    process_mask,
    process_mask_dkv,
)

from lengthwise.model.attention.backends.splash import mask_grids, splash_attention, splash_kernel
from lengthwise.model.attention.biases import LinearBias
from lengthwise.model.attention.mask_blocks import FULL, PARTIAL
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.parallel.mesh import use_mesh
from tests.model.attention.attention_reference import make_case, reference, visible
from tests.model.attention.test_masks import masks

MASKS = [CAUSAL, Mask(window=150, sinks=3), Mask(chunk=64, sinks=2), Mask(prefix=140)]


def stock_grids(mask, length, block):
    """What the kernel's own library makes of the mask, by looking at every pair of tokens."""
    whole = stock.MultiHeadMask([stock.NumpyMask(visible(length, mask, None))])
    return process_mask(whole, (block, block)), process_mask_dkv(whole, (block, block))


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 5), masks(20))
def test_grids_are_those_of_the_kernels_own_library(block, blocks, mask):
    for stacked, (theirs, _) in zip(
        mask_grids(mask, block * blocks, block, 1),
        stock_grids(mask, block * blocks, block),
        strict=True,
    ):
        ours = jax.tree.map(lambda x: x[0], stacked)
        np.testing.assert_array_equal(ours.block_mask, theirs.block_mask)
        np.testing.assert_array_equal(ours.data_next, theirs.data_next)
        assert ours.data_next.dtype == theirs.data_next.dtype


def shown(kernel, length):
    """The mask that the kernel applies, entry by entry, from the arguments it is called with."""
    info, function = kernel.fwd_mask_info, kernel.kwargs["mask_function"]
    block = kernel.kwargs["block_sizes"].block_q
    seen = np.zeros((length, length), bool)
    for i, classes in enumerate(info.block_mask[0].tolist()):
        for kind, j in zip(classes, info.data_next[0, i].tolist(), strict=True):
            q = info.q_sequence[i * block : (i + 1) * block, None]
            k = (j * block + np.arange(block))[None]
            if kind in (PARTIAL, FULL):
                seen[q, k] = np.asarray(function(q, k))
    return seen


@pytest.mark.parametrize("mask", [*MASKS, Mask(window=1), Mask(chunk=256)], ids=str)
@pytest.mark.parametrize("length", [384, 1024])
def test_the_kernel_shows_what_the_definition_allows(mask, length):
    index = np.arange(length)
    expected = mask.allowed(index[:, None], index[None, :])
    for ways in (1, 2) if length == 1024 else (1,):
        block = 128 if ways > 1 else {384: 384, 1024: 512}[length]
        seen = np.zeros_like(expected)
        for device in range(ways):
            grids = jax.tree.map(lambda x: x[device], mask_grids(mask, length, block, ways))  # noqa: B023
            seen |= shown(splash_kernel(mask, grids, block, 0.0, False), length)
        np.testing.assert_array_equal(seen, expected)


def test_grids_of_long_rows_are_made_in_closed_form():
    start = time.process_time()
    mask_grids(Mask(window=1024, sinks=4), 1 << 17, 512, 1)
    assert time.process_time() - start < 5  # the stock construction takes 40 s for half of it


def packed(length):
    rows = [
        np.repeat([1, 2, 3, 0], [50, 130, length - 200, 20]),
        np.repeat([0, 1], [9, length - 9]),
    ]
    return np.stack(rows).astype(np.int32)


def assert_close(actual, expected, tolerance):
    for name in ("out", "dq", "dk", "dv"):
        a, e = getattr(actual, name), getattr(expected, name)
        np.testing.assert_allclose(a, e, atol=tolerance, rtol=tolerance, err_msg=name)


def run(case, mask, softcap=0.0, slopes=None, positions=None):
    """(out, dq, dk, dv, d_slopes) of the interpreted kernel."""

    def loss(q, k, v, slopes):
        out = splash_attention(
            q,
            k,
            v,
            mask=mask,
            segment_ids_BL=None if case.segments is None else jnp.asarray(case.segments),
            positions_BL=jnp.arange(q.shape[1])[None] if positions is None else positions,
            bias=None if slopes is None else LinearBias(slopes),
            softcap=softcap,
            interpret=True,
        )
        if case.segments is not None:
            out = jnp.where((case.segments > 0)[:, :, None, None], out, 0)
        return jnp.sum(out * case.d_out), out

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))
    (dq, dk, dv, d_slopes), out = gradient(case.q, case.k, case.v, slopes)
    return SimpleNamespace(out=out, dq=dq, dk=dk, dv=dv, d_slopes=d_slopes)


@pytest.mark.parametrize(
    ("mask", "length", "kv_heads", "softcap", "biased", "packed_rows"),
    [
        (MASKS[0], 300, 2, 0.0, True, True),
        (MASKS[1], 300, 1, 1.5, False, True),
        (MASKS[2], 256, 4, 0.0, True, False),
        (Mask(prefix=240), 230, 2, 1.5, False, False),  # it ends in the padding
        (MASKS[3], 230, 4, 0.0, True, True),
    ],
    ids=str,
)
def test_outputs_and_gradients_match_float64(mask, length, kv_heads, softcap, biased, packed_rows):
    case = make_case(0, 2, length, 4, kv_heads, 16, packed(length) if packed_rows else None)
    slopes = np.array([0.5, 0.3, 0.07, 0.001], np.float32) if biased else None
    bias = None
    if biased:
        distance = np.arange(length)[None, :] - np.arange(length)[:, None]
        bias = np.broadcast_to(slopes[:, None, None] * distance, (2, 4, length, length))
    expected = reference(case, mask, softcap=softcap, bias_BHLL=bias)
    assert_close(run(case, mask, softcap, slopes), expected, 5e-5 if biased else 2e-5)


@pytest.mark.parametrize("far", [False, True])
def test_a_linear_bias_rides_on_the_head_dimension(far):
    """Positions up to 2**17, with slopes that bfloat16 can't hold."""
    length, slopes = 200, np.array([0.3, 0.001], np.float32)
    case = make_case(1, 1, length, 2, 1, 16, None)
    rng = np.random.default_rng(2)
    positions = np.sort(rng.choice(1 << 17 if far else length, length, replace=False))[None]
    distance = (positions[:, None, :] - positions[:, :, None]).astype(np.float64)[:, None]
    bias = slopes.astype(np.float64)[None, :, None, None] * distance
    expected = reference(case, CAUSAL, bias_BHLL=bias)
    actual = run(case, CAUSAL, slopes=slopes, positions=jnp.asarray(positions))
    # A sum near slope * position is rounded to 24 bits: 39321 to 0.002.
    assert_close(actual, expected, 4e-3 if far else 5e-5)
    if not far:
        d_slopes = (expected.d_bias * distance).sum((0, 2, 3))
        np.testing.assert_allclose(actual.d_slopes, d_slopes, rtol=1e-3)


@pytest.mark.parametrize("packed_rows", [False, True])
def test_rows_and_heads_are_split_over_the_mesh(packed_rows):
    """Eight devices, four rows by two heads: what one device computes, from any other view."""
    case = make_case(3, 4, 128, 4, 2, 8, None)
    segments = np.repeat([[1, 2]], 4, axis=0).repeat(64, axis=1) if packed_rows else None
    asked = {"mask": Mask(window=99), "softcap": 0.0, "bias": LinearBias(jnp.ones(4))}

    def out(q, k, v):
        ids = None if segments is None else jnp.asarray(segments)
        index = jnp.arange(128)[None]
        return splash_attention(
            q, k, v, segment_ids_BL=ids, positions_BL=index, interpret=True, **asked
        )

    expected = jax.jit(out)(case.q, case.k, case.v)
    mesh = jax.make_mesh(
        (1, 4, 1, 2), ("slice", "data", "context", "tensor"), (jax.sharding.AxisType.Auto,) * 4
    )
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data", None, "tensor"))
    split = [jax.device_put(x, sharding) for x in (case.q, case.k, case.v)]
    with use_mesh(mesh):
        actual = jax.jit(out)(*split)
    assert len({shard.device for shard in actual.addressable_shards}) == 8
    assert actual.addressable_shards[0].data.size == actual.size // 8
    np.testing.assert_allclose(actual, expected, atol=1e-6)
