"""Functional interpolation of relative positions (FIRE; Li et al., arXiv:2310.04418)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.attention.biases import BiasFunction
from lengthwise.model.positions.distance_bias import DistanceBias, distances
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import Dims, Parameter


@SCHEMES.register("fire")
@dataclass(frozen=True)
class Fire(DistanceBias):
    """MLP(psi(distance) / psi(max(query position, threshold))) a head, psi(x) = log(1 + c x).

    FIRE (Li et al., arXiv:2310.04418): divided by the query's own position, every distance lies in
    [0, 1], whatever the length. c and the threshold are learned; one hidden layer with ReLU.
    """

    hidden: int = setting(32, "[1, inf)")  # channels of the MLP
    threshold: float = setting(512.0, "(0, inf)")  # tokens, learned from there

    def check(self, dims: Dims) -> None:
        if self.hidden < 1 or not self.threshold > 0:
            raise UserError(
                "model.positions.fire needs hidden and threshold above 0, got "
                f"{self.hidden} and {self.threshold}"
            )

    def parameters(self, dims: Dims) -> dict[str, Parameter]:
        H, F = dims.num_heads, self.hidden

        def constant(value: float) -> Any:
            return lambda key, shape: jnp.full(shape, value, jnp.float32)

        return {
            "c": Parameter((), (), constant(0.1)),
            "threshold": Parameter((), (), constant(self.threshold)),
            "input": Parameter((F,), (None,), _uniform(1.0)),
            "input_bias": Parameter((F,), (None,), _uniform(1.0)),
            "output": Parameter((F, H), (None, "score_heads"), _uniform(F**-0.5)),
            "output_bias": Parameter((H,), ("score_heads",), _uniform(F**-0.5)),
        }

    def function(self) -> BiasFunction:
        return _fire_bias


def _fire_bias(
    params: dict[str, jax.Array], q_positions_BQ: jax.Array, k_positions_BT: jax.Array
) -> jax.Array:
    p = {name: value.astype(jnp.float32) for name, value in params.items()}

    def psi(x: jax.Array) -> jax.Array:
        return jnp.log1p(jnp.abs(p["c"] * x))

    distance_BQT = jnp.abs(distances(q_positions_BQ, k_positions_BT)).astype(jnp.float32)
    own_BQ = jnp.maximum(q_positions_BQ.astype(jnp.float32), jnp.abs(p["threshold"]))
    share_BQT = psi(distance_BQT) / (psi(own_BQ)[:, :, None] + 1e-6)
    hidden_BQTF = jax.nn.relu(
        share_BQT[..., None] * p["input"][None, None, None] + p["input_bias"][None, None, None]
    )
    bias_BQTH = hidden_BQTF @ p["output"] + p["output_bias"][None, None, None]
    return jnp.moveaxis(bias_BQTH, -1, 1)


def _uniform(bound: float) -> Any:
    return lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -bound, bound)
