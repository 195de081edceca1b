"""Base of the schemes that add a learned function of the distance of query and key to the scores.

Each is computed from positions, a block of queries and keys at a time (`biases.BlockBias`), so that
no array of length x length exists. Parameters are a layer's own. Distances of pairs that no query
may see can be negative: the functions are finite there.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from lengthwise.model.attention.biases import BiasFunction, BlockBias
from lengthwise.model.positions.scheme import LayerScheme, Terms


@dataclass(frozen=True)
class DistanceBias(LayerScheme):
    """A bias by `function`, from the layer's parameters and the positions of query and key."""

    bias: ClassVar[str | None] = "block"

    def function(self) -> BiasFunction:
        """The bias function; equal settings must give equal ones, which are static in programs."""
        raise NotImplementedError

    def terms(
        self, params: dict[str, jax.Array], shared: Any, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        return Terms(q_BLHC, k_BLKC, BlockBias(self.function(), params))


def distances(q_positions_BQ: jax.Array, k_positions_BT: jax.Array) -> jax.Array:
    """int [B, Q, T], positive for keys before the query."""
    return q_positions_BQ[:, :, None] - k_positions_BT[:, None, :]
