"""Rotary position embedding (Su et al., arXiv:2104.09864), exact up to 2^20 positions.

Convention: half-split ("rotate_half", as in Llama and GPT-NeoX): channel i is paired with channel
i + C/2 and turned by the angle position * theta^(-2i/C).

A float32 product position * frequency is off by 0.03 rad at 2^20. So a position is split into
high * 1024 + low, cos and sin of both parts come from float64 host tables, and the angle addition
formulas join them. The tables are operands of the compiled step, never constants: another scaling
or theta reuses the same executable.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.model.attention.biases import FarField
from lengthwise.model.positions.rope_scaling import (
    UNSCALED,
    FarPositions,
    RopeScaling,
    scaled_frequencies,
)
from lengthwise.model.positions.scheme import MAX_POSITION, Dims, LayerScheme, Terms

_LOW = 1024


@flax.struct.dataclass
class RopeTables:
    """cos and sin of frequency * low and of frequency * 1024 * high; float32 host arrays."""

    cos_low: np.ndarray  # [1024, C/2]
    sin_low: np.ndarray
    cos_high: np.ndarray  # [1025, C/2]
    sin_high: np.ndarray
    far: FarPositions | None = flax.struct.field(pytree_node=False, default=None)


class RopeAngles(NamedTuple):
    """cos and sin of every token's angles, shared by all layers; float32 [B, L, C/2]."""

    cos: jax.Array
    sin: jax.Array


def rope_frequencies(
    head_dim: int,
    theta: float,
    scaling: RopeScaling,
    trained: RopeScaling = UNSCALED,
    *,
    length: int | None = None,
) -> np.ndarray:
    """Radians per position of each channel pair; float64 [head_dim / 2].

    trained: the scaling that the model was trained with, on which `scaling` comes on top.
    length: tokens of the sequence; needed where a scaling follows it.
    """
    if head_dim < 2 or head_dim % 2:
        raise UserError(f"RoPE needs an even head_dim, got {head_dim}")
    frequencies = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    for applied in (trained, scaling):
        frequencies = scaled_frequencies(frequencies, applied, length)
    return frequencies


def rope_tables(
    head_dim: int,
    theta: float,
    scaling: RopeScaling,
    trained: RopeScaling = UNSCALED,
    *,
    length: int | None = None,
) -> RopeTables:
    """Tables for positions 0 .. 2^20, computed in float64 on the host; see rope_frequencies.

    The scalings' temperature is in the high tables, and so in every product of the two parts.
    """
    frequencies = rope_frequencies(head_dim, theta, scaling, trained, length=length)
    temperature = trained.temperature * scaling.temperature
    low = np.arange(_LOW)[:, None] * frequencies
    high = (_LOW * np.arange(MAX_POSITION // _LOW + 1))[:, None] * frequencies
    return RopeTables(
        cos_low=np.cos(low).astype(np.float32),
        sin_low=np.sin(low).astype(np.float32),
        cos_high=(temperature * np.cos(high)).astype(np.float32),
        sin_high=(temperature * np.sin(high)).astype(np.float32),
        far=scaling.far or trained.far,
    )


def rope_angles(positions_BL: jax.Array, tables: RopeTables) -> RopeAngles:
    """cos and sin at integer positions, to 1e-5 rad (measured: 2e-7) up to 2^20.

    A position outside the tables, which a compiled function cannot refuse, gives NaN angles and so
    a non-finite loss, never a wrong angle. Raises UserError for a length beyond 2^20.
    """
    length = positions_BL.shape[-1]
    if length > MAX_POSITION:
        raise UserError(f"sequence length {length} is beyond the RoPE tables ({MAX_POSITION})")
    # Floor division: a negative position has a negative `high`, which `at` fills with NaN.
    high, low = positions_BL // _LOW, positions_BL % _LOW

    def at(table: np.ndarray, index: jax.Array) -> jax.Array:
        return (
            jnp.asarray(table)
            .at[index]
            .get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        )

    cos_low, sin_low = at(tables.cos_low, low), at(tables.sin_low, low)
    cos_high, sin_high = at(tables.cos_high, high), at(tables.sin_high, high)
    return RopeAngles(
        cos=cos_high * cos_low - sin_high * sin_low,
        sin=sin_high * cos_low + cos_high * sin_low,
    )


def rotate(x_BLHC: jax.Array, angles: RopeAngles) -> jax.Array:
    """Turns each channel pair (i, i + R/2) by its token's angle; in float32, returns x's dtype.

    The angles of R/2 pairs turn the first R channels; the others stay.
    """
    cos, sin = angles.cos[:, :, None, :], angles.sin[:, :, None, :]
    rotary = 2 * cos.shape[-1]
    first, second = jnp.split(x_BLHC[..., :rotary].astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)
    turned = turned.astype(x_BLHC.dtype)
    if rotary == x_BLHC.shape[-1]:
        return turned
    return jnp.concatenate((turned, x_BLHC[..., rotary:]), axis=-1)


@flax.struct.dataclass
class RopeShared:
    """Angles of all layers; those for pairs from `boundary` tokens apart on, where they differ."""

    near: RopeAngles
    far_q: RopeAngles | None
    far_k: RopeAngles | None
    boundary: int = flax.struct.field(pytree_node=False)


@dataclass(frozen=True)
class Rope(LayerScheme):
    """Turns queries and keys, so that their product depends on the distance alone."""

    name: ClassVar[str] = "rope"
    scalable: ClassVar[bool] = True

    theta: float  # base of the wavelengths
    rotary_share: float  # share of a head's channels that are turned: the first ones; 1: all

    def rotary_dim(self, head_dim: int) -> int:
        """Channels that are turned, rounded down to whole pairs (GPT-NeoX, arXiv:2204.06745)."""
        return 2 * int(head_dim * self.rotary_share / 2)

    def check(self, dims: Dims) -> None:
        if dims.head_dim % 2:
            raise UserError(f"model.head_dim must be even for RoPE, got {dims.head_dim}")
        if not self.theta > 1:
            raise UserError(f"model.positions.rope.theta must be above 1, got {self.theta}")
        if not 0 < self.rotary_share <= 1 or self.rotary_dim(dims.head_dim) < 2:
            raise UserError(
                f"model.positions.rope.rotary_share={self.rotary_share} must turn between 2 and "
                f"all {dims.head_dim} channels of a head"
            )

    def tables(
        self, dims: Dims, scaling: RopeScaling, trained: RopeScaling, length: int
    ) -> RopeTables:
        rotary_dim = self.rotary_dim(dims.head_dim)
        return rope_tables(rotary_dim, self.theta, scaling, trained, length=length)

    def has_far_field(self, tables: RopeTables) -> bool:
        return tables.far is not None

    def prepare(
        self,
        params: dict[str, jax.Array],
        tables: RopeTables,
        positions_BL: jax.Array,
        span: int,
    ) -> RopeShared:
        near = rope_angles(positions_BL, tables)
        far = tables.far
        if far is None:
            return RopeShared(near, None, None, 0)
        if far.ceiling:
            far_q = rope_angles(jnp.full_like(positions_BL, far.kept), tables)
            far_k = rope_angles(jnp.zeros_like(positions_BL), tables)
            return RopeShared(near, far_q, far_k, far.boundary)
        # A query that has far keys is at `boundary` or later.
        shifted_BL = jnp.maximum(positions_BL - far.boundary + far.kept, 0)
        return RopeShared(near, rope_angles(shifted_BL, tables), near, far.boundary)

    def terms(
        self, params: dict[str, jax.Array], shared: RopeShared, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        q_near, k_near = rotate(q_BLHC, shared.near), rotate(k_BLKC, shared.near)
        if shared.far_q is None or shared.far_k is None:
            return Terms(q_near, k_near)
        q_far, k_far = rotate(q_BLHC, shared.far_q), rotate(k_BLKC, shared.far_k)
        return Terms(q_near, k_near, far=FarField(q_far, k_far, shared.boundary))
