"""Learned functions of the distance between query and key, added to the scores.

Each is computed from positions, a block of queries and keys at a time (`scores.BlockBias`), so that
no array of length x length exists. Parameters are a layer's own. Distances of pairs that no query
may see can be negative: the functions are finite there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.model.attention.biases import BiasFunction, BlockBias, LinearBias
from lengthwise.model.positions.scheme import Dims, LayerScheme, Parameter, Terms


@dataclass(frozen=True)
class Alibi(LayerScheme):
    """Scores lose slope * distance, a fixed slope a head; nothing is learned."""

    name: ClassVar[str] = "alibi"
    bias: ClassVar[str | None] = "linear"

    def terms(
        self, params: dict[str, jax.Array], shared: Any, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        slopes_H = jnp.array(alibi_slopes(q_BLHC.shape[2]), jnp.float32)
        return Terms(q_BLHC, k_BLKC, LinearBias(slopes_H))


def alibi_slopes(heads: int) -> list[float]:
    """2^(-8 i / heads) for i = 1 ... heads, where `heads` is a power of two.

    Otherwise those of the power of two below it, and after them every second one of the power
    above, as in the authors' code and in Bloom.
    """
    below = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * i / below) for i in range(1, below + 1)]
    return slopes + [2 ** (-4 * i / below) for i in range(1, 2 * (heads - below), 2)]


@dataclass(frozen=True)
class RelativeScheme(LayerScheme):
    """A bias by `function`, from the layer's parameters and the positions of query and key."""

    bias: ClassVar[str | None] = "block"

    def function(self) -> BiasFunction:
        """Equal settings must give equal functions: they are static in compiled programs."""
        raise NotImplementedError

    def terms(
        self, params: dict[str, jax.Array], shared: Any, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        return Terms(q_BLHC, k_BLKC, BlockBias(self.function(), params))


def _distance(q_positions_BQ: jax.Array, k_positions_BT: jax.Array) -> jax.Array:
    """int [B, Q, T], positive for keys before the query."""
    return q_positions_BQ[:, :, None] - k_positions_BT[:, None, :]


@dataclass(frozen=True)
class T5Buckets(RelativeScheme):
    """A learned number a head and bucket of distances (T5; Raffel et al., arXiv:1910.10683).

    The first half of the buckets are the distances 0, 1, 2, ...; the others are as wide as they
    are far away, up to max_distance, from where on all share the last one. T5 has one table for
    all layers; here each layer has its own.
    """

    name: ClassVar[str] = "t5"

    buckets: int
    max_distance: int  # tokens

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
        distance_BQT = jnp.clip(_distance(q_positions_BQ, k_positions_BT), 0, scheme.max_distance)
        by_distance_HN = params["table"].astype(jnp.float32)[bucket_of].T
        return jnp.moveaxis(by_distance_HN[:, distance_BQT], 0, 1)

    return bias


KERPLE_KERNELS = ("log", "power")


@dataclass(frozen=True)
class Kerple(RelativeScheme):
    """-p log(1 + a distance), or -a distance ** p, p and a learned a head (KERPLE's two kernels).

    Chi et al., arXiv:2205.09921. What is learned are the logarithms of p and a, which keeps both
    positive, and for the power kernel, whose p must not be above 2, the log-odds of p / 2. They
    start as the paper's code does, p uniform up to 2 and a up to 1.
    """

    name: ClassVar[str] = "kerple"

    kernel: str  # one of KERPLE_KERNELS

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
    distance_BQT = jnp.abs(_distance(q_positions_BQ, k_positions_BT)).astype(jnp.float32)
    p, a = (jnp.exp(_a_head(params[name])) for name in ("log_p", "log_a"))
    return -p * jnp.log1p(a * distance_BQT[:, None])


def _kerple_power(
    params: dict[str, jax.Array], q_positions_BQ: jax.Array, k_positions_BT: jax.Array
) -> jax.Array:
    distance_BQT = jnp.abs(_distance(q_positions_BQ, k_positions_BT))
    p, a = 2 * jax.nn.sigmoid(_a_head(params["odds_p"])), jnp.exp(_a_head(params["log_a"]))
    # By the logarithm: the gradient of 0 ** p is not a number.
    log_distance = jnp.log(jnp.maximum(distance_BQT, 1).astype(jnp.float32))[:, None]
    return jnp.where(distance_BQT[:, None] > 0, -a * jnp.exp(p * log_distance), 0.0)


@dataclass(frozen=True)
class Fire(RelativeScheme):
    """MLP(psi(distance) / psi(max(query position, threshold))) a head, psi(x) = log(1 + c x).

    FIRE (Li et al., arXiv:2310.04418): divided by the query's own position, every distance lies in
    [0, 1], whatever the length. c and the threshold are learned; one hidden layer with ReLU.
    """

    name: ClassVar[str] = "fire"

    hidden: int  # channels of the hidden layer
    threshold: float  # tokens, at the start: below it positions are not stretched to [0, 1]

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

    distance_BQT = jnp.abs(_distance(q_positions_BQ, k_positions_BT)).astype(jnp.float32)
    own_BQ = jnp.maximum(q_positions_BQ.astype(jnp.float32), jnp.abs(p["threshold"]))
    share_BQT = psi(distance_BQT) / (psi(own_BQ)[:, :, None] + 1e-6)
    hidden_BQTF = jax.nn.relu(
        share_BQT[..., None] * p["input"][None, None, None] + p["input_bias"][None, None, None]
    )
    bias_BQTH = hidden_BQTF @ p["output"] + p["output_bias"][None, None, None]
    return jnp.moveaxis(bias_BQTH, -1, 1)


def _uniform(bound: float) -> Any:
    return lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def _normal(std: float) -> Any:
    return lambda key, shape: std * jax.random.normal(key, shape, jnp.float32)
