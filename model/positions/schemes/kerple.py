"""Kernelized relative positions (KERPLE; Chi et al., arXiv:2205.09921)."""

from collections.abc import Callable
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

KERPLE_KERNELS = ("log", "power")


@SCHEMES.register("kerple")
@dataclass(frozen=True)
class Kerple(DistanceBias):
    """-p log(1 + a distance), or -a distance ** p, p and a learned a head (KERPLE's two kernels).

    Chi et al., arXiv:2205.09921. What is learned are the logarithms of p and a, which keeps both
    positive, and for the power kernel, whose p must not be above 2, the log-odds of p / 2. They
    start as the paper's code does, p uniform up to 2 and a up to 1.
    """

    kernel: str = setting("log", choices=("log", "power"))  # log | power

    def check(self, dims: Dims) -> None:
        if self.kernel not in KERPLE_KERNELS:
            raise UserError(
                f"model.positions.kerple.kernel={self.kernel!r} is unknown; choose one of "
                f"{', '.join(KERPLE_KERNELS)}"
            )

    def parameters(self, dims: Dims) -> dict[str, Parameter]:
        def uniform(high: float, inverse: Callable[[jax.Array], jax.Array]) -> Any:
            def init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
                return inverse(jax.random.uniform(key, shape, jnp.float32, 0.01, high))

            return init

        shape, axes = (dims.num_heads,), ("score_heads",)
        log_a = Parameter(shape, axes, uniform(1.0, jnp.log))
        if self.kernel == "log":
            return {"log_p": Parameter(shape, axes, uniform(2.0, jnp.log)), "log_a": log_a}
        # Log-odds of a uniform share of 2; 0.99 keeps them finite.
        odds_p = Parameter(shape, axes, uniform(0.99, jax.scipy.special.logit))
        return {"odds_p": odds_p, "log_a": log_a}

    def function(self) -> BiasFunction:
        return _kerple_log if self.kernel == "log" else _kerple_power


def _a_head(x_H: jax.Array) -> jax.Array:
    return x_H.astype(jnp.float32)[None, :, None, None]


def _kerple_log(
    params: dict[str, jax.Array], q_positions_BQ: jax.Array, k_positions_BT: jax.Array
) -> jax.Array:
    distance_BQT = jnp.abs(distances(q_positions_BQ, k_positions_BT)).astype(jnp.float32)
    p, a = (jnp.exp(_a_head(params[name])) for name in ("log_p", "log_a"))
    return -p * jnp.log1p(a * distance_BQT[:, None])


def _kerple_power(
    params: dict[str, jax.Array], q_positions_BQ: jax.Array, k_positions_BT: jax.Array
) -> jax.Array:
    distance_BQT = jnp.abs(distances(q_positions_BQ, k_positions_BT))
    p, a = 2 * jax.nn.sigmoid(_a_head(params["odds_p"])), jnp.exp(_a_head(params["log_a"]))
    # By the logarithm: the gradient of 0 ** p is not a number.
    log_distance = jnp.log(jnp.maximum(distance_BQT, 1).astype(jnp.float32))[:, None]
    return jnp.where(distance_BQT[:, None] > 0, -a * jnp.exp(p * log_distance), 0.0)
