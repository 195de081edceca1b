"""Rotation of channel pairs by their tokens' angles, exact up to 2^20 positions.

Convention: half-split ("rotate_half", as in Llama and GPT-NeoX): channel i is paired with channel
i + C/2 and turned by the angle position * theta^(-2i/C).

A float32 product position * frequency is off by 0.03 rad at 2^20. So a position is split into
high * 1024 + low, cos and sin of both parts come from float64 host tables, and the angle addition
formulas join them. The tables are operands of the compiled step, never constants: another scaling
or theta reuses the same executable.
"""

import dataclasses
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.model.positions.rope_scaling import UNSCALED, FarPositions, RopeScaling
from lengthwise.model.positions.scaled_frequencies import scaled_frequencies
from lengthwise.model.positions.settings import MAX_POSITION

_LOW = 1024


@flax.struct.dataclass
class RopeTables:
    """cos and sin of frequency * low and of frequency * 1024 * high; float32 host arrays."""

    cos_low: np.ndarray  # [1024, C/2]
    sin_low: np.ndarray
    cos_high: np.ndarray  # [1025, C/2]
    sin_high: np.ndarray
    far: FarPositions | None = flax.struct.field(pytree_node=False, default=None)
    leaking: "LeakTables | None" = None  # for the far pairs of a leak


@flax.struct.dataclass
class LeakTables:
    """Positions of far pairs under a leak k from the distance w on: i / k + w (1 - 1 / k) of
    queries, j / k of keys."""

    tables: RopeTables  # of the frequencies divided by k
    # cos and sin of frequency * w (1 - 1 / k), float32 [C/2]
    offset: tuple[np.ndarray, np.ndarray]


class RopeAngles(NamedTuple):
    """cos and sin of the angles of each token, shared by all layers; float32 [B, L, C/2]."""

    cos: jax.Array
    sin: jax.Array


def rope_frequencies(
    head_dim: int,
    theta: float,
    scaling: RopeScaling,
    trained: RopeScaling = UNSCALED,
    *,
    own: RopeScaling = UNSCALED,
    length: int | None = None,
) -> np.ndarray:
    """RoPE frequencies: radians per position of each channel pair; float64 [head_dim / 2].

    trained: the scaling of the phase that the model was trained in, on which `scaling` comes on
      top, as it does itself on the model's own, `own`.
    length: tokens of the sequence; needed where a scaling follows it.
    """
    if head_dim < 2 or head_dim % 2:
        raise UserError(f"RoPE needs an even head_dim, got {head_dim}")
    frequencies = theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    for applied in (own, trained, scaling):
        frequencies = scaled_frequencies(frequencies, applied, length)
    return frequencies


def rope_tables(
    head_dim: int,
    theta: float,
    scaling: RopeScaling,
    trained: RopeScaling = UNSCALED,
    *,
    own: RopeScaling = UNSCALED,
    length: int | None = None,
) -> RopeTables:
    """Tables for positions 0 .. 2^20, computed in float64 on the host; see rope_frequencies.

    The scalings' temperature is in the high tables, and so in every product of the two parts.
    """
    frequencies = rope_frequencies(head_dim, theta, scaling, trained, own=own, length=length)
    temperature = own.temperature * trained.temperature * scaling.temperature
    source = scaling if scaling.far else trained
    tables = _tables(frequencies, temperature)
    leaking = None
    if source.leak:
        offset = frequencies * source.near * (1 - 1 / source.leak)
        turned = np.cos(offset).astype(np.float32), np.sin(offset).astype(np.float32)
        leaking = LeakTables(_tables(frequencies / source.leak, temperature), turned)
    return dataclasses.replace(tables, far=source.far, leaking=leaking)


def _tables(frequencies: np.ndarray, temperature: float) -> RopeTables:
    low = np.arange(_LOW)[:, None] * frequencies
    high = (_LOW * np.arange(MAX_POSITION // _LOW + 1))[:, None] * frequencies
    return RopeTables(
        cos_low=np.cos(low).astype(np.float32),
        sin_low=np.sin(low).astype(np.float32),
        cos_high=(temperature * np.cos(high)).astype(np.float32),
        sin_high=(temperature * np.sin(high)).astype(np.float32),
    )


def far_angles(positions_BL: jax.Array, tables: RopeTables) -> tuple[RopeAngles, RopeAngles]:
    """Angles of queries and keys for pairs `tables.far.boundary` tokens or more apart."""
    far = tables.far
    assert far is not None
    if far.kind == "leak":
        assert tables.leaking is not None
        keys = rope_angles(positions_BL, tables.leaking.tables)
        cos, sin = (jnp.asarray(x)[None, None] for x in tables.leaking.offset)
        queries = RopeAngles(keys.cos * cos - keys.sin * sin, keys.sin * cos + keys.cos * sin)
        return queries, keys
    if far.kind == "ceiling":
        of_queries, of_keys = jnp.full_like(positions_BL, far.counted_as), positions_BL * 0
    elif far.kind == "grouped":
        of_keys = positions_BL // far.group
        of_queries = of_keys + far.counted_as
    else:
        # A query that has far keys is at `boundary` or later.
        of_keys = positions_BL
        of_queries = jnp.maximum(positions_BL - far.boundary + far.counted_as, 0)
    return rope_angles(of_queries, tables), rope_angles(of_keys, tables)


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
    """Rotates each channel pair (i, i + R/2) by its token's angle; in float32, returns x's dtype.

    The angles of R/2 pairs rotate the first R channels; the others stay.
    """
    cos, sin = angles.cos[:, :, None, :], angles.sin[:, :, None, :]
    rotary = 2 * cos.shape[-1]
    first, second = jnp.split(x_BLHC[..., :rotary].astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)
    rotated = rotated.astype(x_BLHC.dtype)
    if rotary == x_BLHC.shape[-1]:
        return rotated
    return jnp.concatenate((rotated, x_BLHC[..., rotary:]), axis=-1)
