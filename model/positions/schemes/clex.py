"""RoPE whose frequencies are learned as a function of the length (CLEX; arXiv:2310.16450).

The logarithms x of the frequencies follow an ordinary differential equation from t = 1, the trained
length, to t, how many times as long the sequence is:

    dx/dt = W_down silu(W_up (x + ln n(t))) + d ln n / dt,

where n(t) are the frequencies of NTK-aware scaling by the factor 2 t - 1, as in the authors' code.
W_down starts at zero, and so the model as NTK-aware scaling. In training t is sampled each step and
the sequence's tokens have positions spread over t times its length (phase.positions.kind "clex").
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.rotation import RopeAngles, rotate
from lengthwise.model.positions.scheme import Dims, LayerScheme, Parameter, Terms

_STEPS = 4  # of the classical Runge-Kutta method in a unit of t
_LOW = 1024


@SCHEMES.register("clex")
@dataclass(frozen=True)
class Clex(LayerScheme):
    """One set of frequencies for all layers, shaped by a layer of `hidden` channels."""

    per_layer: ClassVar[bool] = False

    theta: float = setting(10_000.0, "(1, inf)")  # base of the wavelengths up to original_length
    original_length: int = setting(512, "[1, inf)")  # tokens, best the training length
    # lengths up to so many times it have learned frequencies
    max_factor: int = setting(16, "[1, inf)")
    hidden: int = setting(64, "[1, inf)")  # channels of what is learned

    def check(self, dims: Dims) -> None:
        if dims.head_dim % 2 or dims.head_dim < 4:
            raise UserError(f"model.head_dim must be even and at least 4, got {dims.head_dim}")

    def parameters(self, dims: Dims) -> dict[str, Parameter]:
        pairs = dims.head_dim // 2

        def up(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0) * shape[0] ** -0.5

        def down(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jnp.zeros(shape, jnp.float32)

        return {
            "up": Parameter((pairs, self.hidden), (None, None), up),
            "down": Parameter((self.hidden, pairs), (None, None), down),
        }

    def tables(self, dims: Dims, scaling: Any, trained: Any, length: int) -> np.float32:
        """t: length / original length, rounded up."""
        return np.float32(min(max(-(-length // self.original_length), 1), self.max_factor))

    def prepare(
        self,
        params: dict[str, jax.Array],
        tables: jax.Array,
        positions_BL: jax.Array,
        span: int,
    ) -> RopeAngles:
        return learned_angles(positions_BL, self.frequencies(params, tables))

    def terms(
        self, params: dict[str, jax.Array], shared: RopeAngles, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        return Terms(rotate(q_BLHC, shared), rotate(k_BLKC, shared))

    def frequencies(self, params: dict[str, jax.Array], t: jax.Array | float) -> jax.Array:
        """Radians per position of each channel pair at t; float32 [C / 2]."""
        pairs = params["up"].shape[0]
        exponent = jnp.arange(pairs, dtype=jnp.float32) / (pairs - 1)
        start = -jnp.log(self.theta) * jnp.arange(pairs, dtype=jnp.float32) / pairs

        def analytic(t: jax.Array) -> jax.Array:
            """Integral of d ln n / dt from 1 to t, which needs no numbers."""
            return -exponent * jnp.log(2 * t - 1)

        def slope(learned: jax.Array, t: jax.Array) -> jax.Array:
            x = start + learned + analytic(t)
            hidden = jax.nn.silu((x + start + analytic(t)) @ params["up"])
            return hidden @ params["down"]

        def step(learned: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
            # Steps that lie beyond t have no width.
            begin = 1 + number / _STEPS
            width = jnp.clip(t - begin, 0, 1 / _STEPS)
            k1 = slope(learned, begin)
            k2 = slope(learned + width / 2 * k1, begin + width / 2)
            k3 = slope(learned + width / 2 * k2, begin + width / 2)
            k4 = slope(learned + width * k3, begin + width)
            return learned + width / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        numbers = jnp.arange(_STEPS * (self.max_factor - 1), dtype=jnp.float32)
        learned, _ = jax.lax.scan(step, jnp.zeros_like(start), numbers)
        return jnp.exp(start + learned + analytic(jnp.asarray(t, jnp.float32)))


def learned_angles(positions_BL: jax.Array, frequencies_P: jax.Array) -> RopeAngles:
    """cos and sin of position * frequency, for float32 frequencies and positions up to 2^20.

    A float32 product would be off by 0.03 rad there. The position, and twice the leading bits of
    the frequency, are split off so that their products are exact, or small; gradients flow through
    what is left of the frequency.
    """
    leading_P = _leading(frequencies_P)
    second_P = _leading(frequencies_P - leading_P)
    rest_P = frequencies_P - leading_P - second_P
    low_BL1 = (positions_BL % _LOW)[..., None].astype(jnp.float32)
    high_BL1 = (positions_BL - positions_BL % _LOW)[..., None].astype(jnp.float32)
    wide = (1,) * positions_BL.ndim + (-1,)
    leading, second, rest = (x.reshape(wide) for x in (leading_P, second_P, rest_P))
    small = low_BL1 * second + (low_BL1 + high_BL1) * rest  # below 1 rad
    cos, sin = jnp.cos(small), jnp.sin(small)
    for angle in (low_BL1 * leading, high_BL1 * leading, high_BL1 * second):
        next_cos, next_sin = jnp.cos(angle), jnp.sin(angle)
        cos, sin = cos * next_cos - sin * next_sin, sin * next_cos + cos * next_sin
    return RopeAngles(cos, sin)


def _leading(x: jax.Array) -> jax.Array:
    """The 12 leading bits, a constant to gradients."""
    return jax.lax.stop_gradient(jax.lax.reduce_precision(x, 8, 11))
