"""LSSA and LSSAR against the paper's formula, a row at a time in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.masks import Mask
from lengthwise.model.attention.softplus import Softplus, unit_queries_and_keys
from tests.model.attention.attention_reference import softplus_weights

LENGTH, HEADS, KV_HEADS, CHANNELS = 12, 4, 2, 8


def inputs():
    rng = np.random.default_rng(0)
    q = rng.standard_normal((1, LENGTH, HEADS, CHANNELS)).astype(np.float32)
    k, v = rng.standard_normal((2, 1, LENGTH, KV_HEADS, CHANNELS)).astype(np.float32)
    return q, k, v


def reference(q, k, v, visible, power):
    q, k, v = (np.asarray(x[0], np.float64) for x in (q, k, v))
    out = np.zeros(q.shape)
    for h in range(HEADS):
        g = h // (HEADS // KV_HEADS)
        for i in range(LENGTH):
            keys = np.flatnonzero(visible[i])
            cosine = k[keys, g] @ q[i, h]
            cosine /= np.linalg.norm(k[keys, g], axis=-1) * np.linalg.norm(q[i, h])
            out[i, h] = softplus_weights(cosine, CHANNELS, power) @ v[keys, g]
    return out[None]


def ours(q, k, v, mask, power, segments=None):
    q, k = unit_queries_and_keys(jnp.asarray(q), jnp.asarray(k))
    return attend(
        q,
        k,
        v,
        mask=mask,
        segment_ids_BL=segments,
        backend="dense",
        softcap=0.0,
        block_size=0,
        normalizer=Softplus(power),
    )


@pytest.mark.parametrize("power", [0.0, 15.0])
@pytest.mark.parametrize("mask", [Mask(), Mask(window=5)])
def test_weights_are_the_papers(power, mask):
    q, k, v = inputs()
    index = np.arange(LENGTH)
    visible = mask.allowed(index[:, None], index[None])
    expected = reference(q, k, v, visible, power)
    np.testing.assert_allclose(ours(q, k, v, mask, power), expected, atol=2e-5)


def test_a_document_in_a_packed_row_is_as_alone():
    """Its first rows, where the offset is 0, and its number of keys are its own."""
    q, k, v = inputs()
    segments = np.repeat([1, 2, 0], [5, 5, 2])[None]
    packed = ours(q, k, v, Mask(), 15.0, segments)
    alone = ours(q[:, 5:10], k[:, 5:10], v[:, 5:10], Mask(), 15.0)
    np.testing.assert_allclose(packed[:, 5:10], alone, atol=1e-6)
    assert not np.asarray(packed[:, 10:]).any()


def test_gradients_are_finite_where_all_keys_weigh_the_same():
    q, k, v = inputs()
    loss = lambda q: ours(q, np.ones_like(k), v, Mask(), 15.0).sum()
    assert np.isfinite(jax.grad(loss)(jnp.zeros_like(q))).all()
