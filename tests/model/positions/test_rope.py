import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.positions.rotation import MAX_POSITION, rope_angles, rope_tables, rotate

PLAIN = RopeScaling("none", 1.0)


def exact_angles(positions, head_dim, theta, stretch=1.0):
    """float64 position * frequency; its own error at 2^20 is 1e-10 rad."""
    pairs = np.arange(head_dim // 2)
    return positions[:, None] / stretch * theta ** (-2.0 * pairs / head_dim)


def angle_error(angles, expected):
    """Largest difference of angles in rad, from cos and sin."""
    cos, sin = np.asarray(angles.cos[0], np.float64), np.asarray(angles.sin[0], np.float64)
    turned_back = (cos + 1j * sin) * np.exp(-1j * expected)
    assert np.abs(np.abs(turned_back) - 1).max() < 1e-6
    return np.abs(np.angle(turned_back)).max()


def sample_positions():
    ends = [0, 1, 1023, 1024, 1025, MAX_POSITION - 1024, MAX_POSITION - 1, MAX_POSITION]
    drawn = np.random.default_rng(0).integers(0, MAX_POSITION, 4000)
    return np.concatenate((ends, drawn)).astype(np.int32)


@pytest.mark.parametrize("theta", [1e4, 5e5])
def test_angles_are_exact_up_to_two_to_the_twentieth(theta):
    positions = sample_positions()
    angles = jax.jit(rope_angles)(positions[None], rope_tables(64, theta, PLAIN))
    assert angle_error(angles, exact_angles(positions, 64, theta)) < 1e-6


def test_linear_scaling_divides_positions():
    positions = sample_positions()
    angles = rope_angles(positions[None], rope_tables(32, 1e4, RopeScaling("linear", 8.0)))
    assert angle_error(angles, exact_angles(positions, 32, 1e4, stretch=8.0)) < 1e-6


def test_ntk_scaling_raises_the_base():
    positions = sample_positions()
    angles = rope_angles(positions[None], rope_tables(32, 1e4, RopeScaling("ntk", 4.0)))
    assert angle_error(angles, exact_angles(positions, 32, 1e4 * 4.0 ** (32 / 30))) < 1e-6


@pytest.mark.parametrize("order", [("linear", "ntk"), ("ntk", "linear")])
def test_a_scaling_comes_on_top_of_the_trained_one(order):
    trained, tested = (
        RopeScaling(kind, factor) for kind, factor in zip(order, (4.0, 2.0), strict=True)
    )
    factor = {"ntk": 1.0, "linear": 1.0} | dict(zip(order, (4.0, 2.0), strict=True))
    positions = sample_positions()
    angles = rope_angles(positions[None], rope_tables(32, 1e4, tested, trained))
    base = 1e4 * factor["ntk"] ** (32 / 30)
    expected = exact_angles(positions, 32, base, stretch=factor["linear"])
    assert angle_error(angles, expected) < 1e-6


def test_ntk_leaves_the_fastest_channel_and_slows_the_slowest_by_the_factor():
    plain, ntk = (rope_tables(16, 1e4, s) for s in (PLAIN, RopeScaling("ntk", 4.0)))
    np.testing.assert_array_equal(plain.sin_low[:, 0], ntk.sin_low[:, 0])
    np.testing.assert_allclose(
        np.arcsin(plain.sin_low[100, -1]), 4 * np.arcsin(ntk.sin_low[100, -1]), rtol=1e-5
    )


def test_rotation_is_complex_multiplication_of_the_two_halves():
    x = np.random.default_rng(1).standard_normal((2, 7, 3, 16)).astype(np.float32)
    positions = np.array([[0, 1, 2, 3, 4, 5, 6], [9, 7, 5, 1000, 5000, 70000, 0]], np.int32)
    turned = rotate(jnp.asarray(x), rope_angles(positions, rope_tables(16, 1e4, PLAIN)))
    pairs = x[..., :8].astype(np.float64) + 1j * x[..., 8:]
    angles = np.stack([exact_angles(row, 16, 1e4) for row in positions])
    expected = pairs * np.exp(1j * angles)[:, :, None]
    np.testing.assert_allclose(
        turned, np.concatenate((expected.real, expected.imag), -1), atol=2e-6
    )


def test_another_scaling_reuses_the_executable():
    traces = []

    @jax.jit
    def angles(positions, tables):
        traces.append(1)
        return rope_angles(positions, tables)

    positions = np.arange(16, dtype=np.int32)[None]
    results = [
        angles(positions, rope_tables(8, theta, scaling)).sin
        for theta, scaling in (
            (1e4, PLAIN),
            (1e4, RopeScaling("linear", 4.0)),
            (1e6, RopeScaling("ntk", 2.0)),
        )
    ]
    assert len(traces) == 1
    assert not np.allclose(results[0], results[1])


def test_positions_outside_the_tables_are_refused_or_not_a_number():
    tables = rope_tables(8, 1e4, PLAIN)
    too_long = jax.ShapeDtypeStruct((1, MAX_POSITION + 1), jnp.int32)
    with pytest.raises(UserError, match="1048577"):
        jax.eval_shape(rope_angles, too_long, tables)
    angles = jax.jit(rope_angles)(np.array([[0, 2**21, -1]], np.int32), tables)
    assert np.isnan(angles.cos[0, :, 0]).tolist() == [False, True, True]


@pytest.mark.parametrize(("kind", "factor"), [("warp", 2.0), ("linear", 0.0), ("none", 2.0)])
def test_scalings_without_meaning_are_refused(kind, factor):
    with pytest.raises(UserError):
        RopeScaling(kind, factor)
