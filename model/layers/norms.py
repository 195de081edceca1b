"""Norms of a decoder: of the residual stream, and of queries and keys."""

import jax
import jax.numpy as jnp
from flax import nnx

from lengthwise.model.config import BlockConfig
from lengthwise.model.spec import ModelSpec


class Norm(nnx.Module):
    """RMSNorm (Zhang & Sennrich, 1910.07467) or LayerNorm (Ba et al., 1607.06450) over the last
    dimension, in float32."""

    def __init__(self, dim: int, axis: str | None, block: BlockConfig, centered: bool):
        self.block = block
        self.scale = nnx.Param(jnp.full((dim,), 1 - block.norm_offset, jnp.float32), axes=(axis,))
        if centered:
            self.bias = nnx.Param(jnp.zeros((dim,), jnp.float32), axes=(axis,))

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        last = (1,) * (x.ndim - 1) + (-1,)
        if hasattr(self, "bias"):
            x32 = x32 - jnp.mean(x32, axis=-1, keepdims=True)
        mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
        scale = self.scale[...].reshape(last)
        if self.block.norm_offset:
            scale = self.block.norm_offset + scale
        y = x32 * jax.lax.rsqrt(mean_square + self.block.norm_epsilon) * scale
        if hasattr(self, "bias"):
            y = y + self.bias[...].reshape(last)
        return y.astype(x.dtype)


def residual_norm(config: ModelSpec) -> Norm:
    """A norm of the residual stream."""
    return Norm(config.embed_dim, "embed", config.block, config.block.norm == "layer")


def head_norm(config: ModelSpec, heads: int, axis: str) -> Norm | None:
    """The norm of queries or keys: of a head, or of all at once; None where there is none."""
    if config.qk_norm == "none":
        return None
    if config.qk_norm == "head":
        return Norm(config.head_dim, None, config.block, False)
    return Norm(heads * config.head_dim, axis, config.block, False)


def normalized(norm: Norm | None, x_BLD: jax.Array) -> jax.Array:
    return x_BLD if norm is None else norm(x_BLD)
