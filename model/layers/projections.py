"""Matrices of a decoder with their biases, and the MLP made of them."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from lengthwise.model.parallel.sharding import matmul
from lengthwise.model.spec import ModelSpec


def normal_param(rngs: nnx.Rngs, shape: tuple[int, ...], std: float, axes: tuple) -> nnx.Param:
    return nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32), axes=axes)


def dense(x_BLD: jax.Array, weight: nnx.Param, bias: nnx.Param | None = None) -> jax.Array:
    """x @ weight + bias, in x's dtype."""
    y_BLF = matmul(x_BLD, weight[...], weight.get_metadata("axes"))
    return y_BLF if bias is None else y_BLF + bias[...].astype(y_BLF.dtype)[None, None]


def bias_param(dim: int, axis: str) -> nnx.Param:
    return nnx.Param(jnp.zeros((dim,), jnp.float32), axes=(axis,))


_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
}


class MLP(nnx.Module):
    """Gated, (act(x gate) * (x up)) down (Shazeer, 2002.05202), or plain, act(x up) down."""

    def __init__(self, config: ModelSpec, rngs: nnx.Rngs):
        D, F = config.embed_dim, config.mlp_dim
        gated, biased = config.block.mlp == "gated", config.block.mlp_bias
        self.activation = config.block.activation
        self.gate = normal_param(rngs, (D, F), D**-0.5, ("embed", "mlp")) if gated else None
        self.up = normal_param(rngs, (D, F), D**-0.5, ("embed", "mlp"))
        self.down = normal_param(rngs, (F, D), config.output_std * F**-0.5, ("mlp", "embed"))
        self.gate_bias = bias_param(F, "mlp") if gated and biased else None
        self.up_bias = bias_param(F, "mlp") if biased else None
        self.down_bias = bias_param(D, "embed") if biased else None

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        read = self.up if self.gate is None else self.gate
        bias = self.up_bias if self.gate is None else self.gate_bias
        hidden_BLF = _ACTIVATIONS[self.activation](dense(x_BLD, read, bias))
        if self.gate is not None:
            hidden_BLF = hidden_BLF * dense(x_BLD, self.up, self.up_bias)
        return dense(hidden_BLF, self.down, self.down_bias)
