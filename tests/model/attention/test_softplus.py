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


@pytest.mark.parametrize("power", [0, 15])
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
    packed = ours(q, k, v, Mask(), 15, segments)
    alone = ours(q[:, 5:10], k[:, 5:10], v[:, 5:10], Mask(), 15)
    np.testing.assert_allclose(packed[:, 5:10], alone, atol=1e-6)
    assert not np.asarray(packed[:, 10:]).any()


def test_gradients_are_finite_where_all_keys_weigh_the_same():
    q, k, v = inputs()
    loss = lambda q: ours(q, np.ones_like(k), v, Mask(), 15).sum()
    assert np.isfinite(jax.grad(loss)(jnp.zeros_like(q))).all()


def of_row(cosine, channels=64, power=15):
    """(weights, whether their Jacobian is finite) of one row of cosines, as float32 has them."""
    scores = jnp.asarray(np.log(channels) * cosine, jnp.float32)[None]
    weigh = Softplus(power)
    visible = jnp.ones_like(scores, bool)
    weights = weigh(scores, visible)
    ahead = np.random.default_rng(3).standard_normal(scores.shape)
    slope = jax.grad(lambda x: (weigh(x, visible) * ahead).sum())(scores)
    return np.asarray(weights[0], np.float64), np.asarray(slope[0], np.float64)


def exact(cosine, channels=64, power=15):
    """The paper's weights in float64, by logarithms; zeros where no key outweighs the mean."""
    weights = np.log1p(np.exp(np.log(channels) * np.log(cosine.size) * cosine))
    above = weights / weights.sum() * cosine.size - (cosine.size > 3)
    above[above <= 0] = 0
    if above.max() <= 1e-5:
        return np.zeros_like(cosine)
    shares = np.exp(power * np.log(np.maximum(above, 1e-300) / above.max()))
    return shares / shares.sum()


@pytest.mark.parametrize("spread", [0.1, 0.02, 5e-3, 1e-3, 5e-4])
@pytest.mark.parametrize("keys", [512, 2048])
def test_keys_that_weigh_almost_the_same(spread, keys):
    cosine = np.random.default_rng(keys).uniform(-spread / 2, spread / 2, keys)
    weights, slope = of_row(cosine)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(weights, exact(cosine), atol=2e-2 * exact(cosine).max())
    assert np.isfinite(slope).all()
    assert slope.any()


@pytest.mark.parametrize("keys", [1, 2, 3, 4, 512, 2048])
def test_keys_that_weigh_exactly_the_same(keys):
    weights, slope = of_row(np.full(keys, 0.3))
    expected = np.full(keys, 1 / keys if keys <= 3 else 0)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("rest", [-0.3, -0.5])
@pytest.mark.parametrize("keys", [512, 2048])
def test_one_key_outweighs_all_others(keys, rest):
    cosine = np.full(keys, rest)
    cosine[7] = 1.0
    weights, slope = of_row(cosine)
    np.testing.assert_allclose(weights, exact(cosine), atol=1e-6)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("share", [370, 373, 511])
def test_a_share_whose_power_float32_does_not_hold(share):
    """371.5 ** 15 is the largest float32."""
    scores = np.full((1, 512), -np.inf, np.float32)
    scores[0, 3] = np.log(np.expm1(share)) / np.log(512)
    scores[0, 5] = np.log(np.expm1(512 - share)) / np.log(512)
    weights = np.asarray(Softplus(15)(jnp.asarray(scores), jnp.ones((1, 512), bool)))[0]
    assert weights[3] == pytest.approx(1 / (1 + ((511 - share) / (share - 1)) ** 15), rel=1e-5)
    assert weights.sum() == pytest.approx(1, rel=1e-6)


def test_the_gradient_is_that_of_the_formula():
    cosine = np.random.default_rng(5).uniform(-0.5, 0.5, 12)
    _, slope = of_row(cosine)
    ahead = np.random.default_rng(3).standard_normal(12)
    step = 1e-6
    for key in range(12):
        moved = [exact(cosine + sign * step * np.eye(12)[key]) @ ahead for sign in (1, -1)]
        expected = (moved[0] - moved[1]) / (2 * step * np.log(64))
        assert slope[key] == pytest.approx(expected, rel=2e-3, abs=1e-4)
