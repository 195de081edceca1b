"""Sinusoidal absolute positions, added to the token embeddings."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.positions.rotation import RopeTables, rope_angles, rope_tables
from lengthwise.model.positions.scheme import Dims, InputScheme


@SCHEMES.register("sinusoidal")
@dataclass(frozen=True)
class Sinusoidal(InputScheme):
    """sin and cos of position * theta^(-2i/D), alternating (Vaswani et al., arXiv:1706.03762).

    Times D^(-1/2), the scale of the token embeddings, which the paper multiplies by D^(1/2)
    instead. The angles are RoPE's, exact up to 2^20 positions.
    """

    theta: float = setting(10_000.0, "(1, inf)")  # base of the wavelengths

    def check(self, dims: Dims) -> None:
        if dims.embed_dim % 2:
            raise UserError(
                f"model.embed_dim must be even for sinusoidal positions, got {dims.embed_dim}"
            )

    def tables(
        self, dims: Dims, scaling: RopeScaling, trained: RopeScaling, length: int
    ) -> RopeTables:
        return rope_tables(dims.embed_dim, self.theta, UNSCALED)

    def embed(
        self,
        params: dict[str, jax.Array],
        tables: RopeTables,
        inputs_BL: jax.Array,
        positions_BL: jax.Array,
        segment_ids_BL: jax.Array | None,
        key: jax.Array | None,
    ) -> jax.Array:
        angles = rope_angles(positions_BL, tables)
        pairs = jnp.stack((angles.sin, angles.cos), axis=-1)
        vectors = pairs.reshape(*positions_BL.shape, -1)
        return vectors * vectors.shape[-1] ** -0.5
