"""CLEX's learned frequencies against the differential equation in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.positions.rotation import rope_frequencies
from lengthwise.model.positions.scheme import Dims
from lengthwise.model.positions.schemes.clex import Clex, learned_angles

CHANNELS, THETA = 16, 1e4
DIMS = Dims(embed_dim=16, num_heads=1, num_kv_heads=1, head_dim=CHANNELS)
SCHEME = Clex(theta=THETA, original_length=64, max_factor=8, hidden=12)


def weights():
    rng = np.random.default_rng(0)
    pairs = CHANNELS // 2
    up = rng.standard_normal((pairs, 12)) * 0.3
    down = rng.standard_normal((12, pairs)) * 0.02
    return {"up": up.astype(np.float32), "down": down.astype(np.float32)}


def reference(params, t, steps=4000):
    """Euler's midpoint method on the whole equation, as the paper and its code write it."""
    up, down = (params[name].astype(np.float64) for name in ("up", "down"))
    index = np.arange(0, CHANNELS, 2)
    x = -np.log(THETA) * index / CHANNELS

    def slope(x, at):
        alpha = 2 * at - 1
        ntk = 1 / (THETA * alpha ** (CHANNELS / (CHANNELS - 2))) ** (index / CHANNELS)
        change = (
            -2
            * index
            / (CHANNELS - 2)
            / (THETA ** (index / CHANNELS) * alpha ** (index / (CHANNELS - 2) + 1))
        )
        hidden = (x + np.log(ntk)) @ up
        return hidden / (1 + np.exp(-hidden)) @ down + change / ntk

    width = (t - 1) / steps
    for step in range(steps):
        at = 1 + step * width
        x = x + width * slope(x + width / 2 * slope(x, at), at + width / 2)
    return np.exp(x)


@pytest.mark.parametrize("t", [1, 2, 5, 8])
def test_frequencies_solve_the_papers_equation(t):
    params = weights()
    found = jax.jit(SCHEME.frequencies)(params, np.float32(t))
    np.testing.assert_allclose(found, reference(params, t), rtol=1e-5)


def test_it_starts_as_ntk_aware_scaling():
    params = {
        name: made.init(jax.random.key(0), made.shape)
        for name, made in SCHEME.parameters(DIMS).items()
    }
    for t in (1, 4):
        scaling = RopeScaling("ntk", 2 * t - 1) if t > 1 else UNSCALED
        expected = rope_frequencies(CHANNELS, THETA, scaling)
        np.testing.assert_allclose(SCHEME.frequencies(params, t), expected, rtol=1e-5)
    learns = jax.grad(lambda p: SCHEME.frequencies(p, 4.0)[3])(params)
    assert np.abs(learns["down"]).max() > 0


@pytest.mark.parametrize(("length", "t"), [(1, 1), (64, 1), (65, 2), (256, 4), (10_000, 8)])
def test_t_follows_the_length(length, t):
    assert SCHEME.tables(DIMS, UNSCALED, UNSCALED, length) == t


def test_angles_are_exact_up_to_two_to_the_twentieth_and_have_gradients():
    frequencies = np.array([1.0, 0.7310585, 0.01234567, 1.1e-4], np.float32)
    ends = [0, 1, 1023, 1024, 2**20 - 1, 2**20]
    drawn = np.random.default_rng(0).integers(0, 2**20, 500)
    positions = np.concatenate((ends, drawn)).astype(np.int32)[None]
    angles = jax.jit(learned_angles)(positions, frequencies)
    exact = positions[0, :, None] * frequencies.astype(np.float64)
    turned_back = (np.asarray(angles.cos[0]) + 1j * np.asarray(angles.sin[0])) * np.exp(-1j * exact)
    assert np.abs(np.angle(turned_back)).max() < 1e-5
    assert np.abs(np.abs(turned_back) - 1).max() < 1e-5
    few = jnp.array([[3, 5000]])
    change = jax.jacobian(lambda f: learned_angles(few, f).sin)(jnp.asarray(frequencies))
    for n, position in enumerate((3, 5000)):
        expected = position * np.cos(position * frequencies.astype(np.float64))
        found = np.diagonal(np.asarray(change[0, n]))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * position)
