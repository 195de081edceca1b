"""Relative position buckets (T5; Raffel et al., arXiv:1910.10683)."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.attention.biases import BiasFunction
from lengthwise.model.positions.distance_bias import DistanceBias, distances
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import Dims, Parameter


@SCHEMES.register("t5")
@dataclass(frozen=True)
class T5Buckets(DistanceBias):
    """A learned number a head and bucket of distances (T5; Raffel et al., arXiv:1910.10683).

    The first half of the buckets are the distances 0, 1, 2, ...; the others are as wide as they
    are far away, up to max_distance, from where on all share the last one. T5 has one table for
    all layers; here each layer has its own.
    """

    buckets: int = setting(32, "[2, inf)")  # of distances
    max_distance: int = setting(128, "[1, inf)")  # tokens, from where on all share the last bucket

    def check(self, dims: Dims) -> None:
        if self.buckets < 2 or self.max_distance <= self.buckets // 2:
            raise UserError(
                "model.positions.t5 needs at least 2 buckets and a max_distance beyond half of "
                f"them, got {self.buckets} and {self.max_distance}"
            )

    def parameters(self, dims: Dims) -> dict[str, Parameter]:
        shape = (self.buckets, dims.num_heads)
        return {"table": Parameter(shape, (None, "score_heads"), _normal(dims.embed_dim**-0.5))}

    def function(self) -> BiasFunction:
        return _t5_function(self)


def t5_buckets(buckets: int, max_distance: int) -> np.ndarray:
    """The bucket of each distance 0 ... max_distance, where the last bucket has been reached."""
    exact = buckets // 2
    distance = np.arange(max_distance + 1)
    # In float64: a distance that lies on the edge of two buckets must not fall to rounding.
    position = np.log(np.maximum(distance, 1) / exact) / math.log(max_distance / exact)
    wide = exact + np.floor(position * (buckets - exact) + 1e-9).astype(np.int32)
    return np.where(distance < exact, distance, np.minimum(wide, buckets - 1))


@cache
def _t5_function(scheme: T5Buckets) -> BiasFunction:
    bucket_of = t5_buckets(scheme.buckets, scheme.max_distance)

    def bias(
        params: dict[str, jax.Array], q_positions_BQ: jax.Array, k_positions_BT: jax.Array
    ) -> jax.Array:
        distance_BQT = jnp.clip(distances(q_positions_BQ, k_positions_BT), 0, scheme.max_distance)
        by_distance_HN = params["table"].astype(jnp.float32)[bucket_of].T
        return jnp.moveaxis(by_distance_HN[:, distance_BQT], 0, 1)

    return bias


def _normal(std: float) -> Any:
    return lambda key, shape: std * jax.random.normal(key, shape, jnp.float32)
