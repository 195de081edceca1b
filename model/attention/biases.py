"""Biases and far fields: changes to attention scores beyond rotating queries and keys."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

# (params, q_positions [B, Q], k_positions [B, T]) -> float32 [B or 1, heads, Q, T], added to the
# scores. Traceable, hashable, without state; it is called once a block, also on pairs that the mask
# hides.
BiasFunction = Callable[[Any, jax.Array, jax.Array], jax.Array]

# (scores, visible) -> weights; float32 [..., Q, T], bool broadcastable to it. Hashable.
Normalizer = Callable[[jax.Array, jax.Array], jax.Array]


@flax.struct.dataclass
class LinearBias:
    """slope * (key position - query position), a slope a head (ALiBi, arXiv:2108.12409)."""

    slopes_H: jax.Array  # float32, positive: far keys lose

    def __call__(self, q_positions_BQ: jax.Array, k_positions_BT: jax.Array) -> jax.Array:
        """The bias, float32 [B, H, Q, T]; exact for integer positions below 2**24."""
        distance_BQT = k_positions_BT[:, None, :] - q_positions_BQ[:, :, None]
        slopes_H = self.slopes_H.astype(jnp.float32)
        return slopes_H[None, :, None, None] * distance_BQT.astype(jnp.float32)[:, None]


@flax.struct.dataclass
class BlockBias:
    """A bias that `function` computes from positions, a block of queries and keys at a time.

    Gradients reach `params`; they don't reach positions.
    """

    function: BiasFunction = flax.struct.field(pytree_node=False)
    params: Any  # a pytree of arrays

    def __call__(self, q_positions_BQ: jax.Array, k_positions_BT: jax.Array) -> jax.Array:
        """The bias, float32 [B or 1, H, Q, T]."""
        return self.function(self.params, q_positions_BQ, k_positions_BT)


Bias = LinearBias | BlockBias  # of positions alone


@flax.struct.dataclass
class ContextBias:
    """q e[p], where p counts the keys from one to the query by gates (CoPE, arXiv:2405.18719)."""

    vectors_NC: jax.Array  # e at the positions 0 ... N - 1, in between interpolated

    def __call__(self, q: jax.Array, scores: jax.Array, visible: jax.Array) -> jax.Array:
        """The bias, float32 like the scores.

        q: [..., Q, C]; scores: of the queries with all L keys, [..., Q, L]; visible: broadcastable
        to them: keys that are not visible don't count.
        """
        gates = jnp.where(visible, jax.nn.sigmoid(scores), 0)
        last = self.vectors_NC.shape[0] - 1
        position = jnp.minimum(jax.lax.cumsum(gates, axis=gates.ndim - 1, reverse=True), last)
        below = jnp.floor(position)
        at_vectors = jnp.einsum(
            "...c,nc->...n", q, self.vectors_NC.astype(q.dtype), preferred_element_type=jnp.float32
        )
        low, high = (
            jnp.take_along_axis(at_vectors, index.astype(jnp.int32), axis=-1)
            for index in (below, jnp.ceil(position))
        )
        return low + (position - below) * (high - low)


@flax.struct.dataclass
class FarField:
    """Other queries and keys for the pairs whose *indices* are `boundary` or more apart.

    The distance ceiling of LM-Infinite (arXiv:2308.16137) and the shifted positions of STRING
    (arXiv:2410.18745) rotate the same vectors by other angles there.
    """

    q_BLHC: jax.Array
    k_BLKC: jax.Array
    boundary: int = flax.struct.field(pytree_node=False)  # tokens, at least 1
