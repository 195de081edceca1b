"""Contextual positions (CoPE; Golovneva et al., arXiv:2405.18719)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.attention.biases import ContextBias
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import Dims, LayerScheme, Parameter, Terms


@SCHEMES.register("cope")
@dataclass(frozen=True)
class Cope(LayerScheme):
    """A key's position is the sum of the query's gates on the keys from it to the query.

    p_ij = sum over k = j ... i of sigmoid(q_i k_k / sqrt(C)), and the score gains q_i e[p_ij], e
    interpolated between learned vectors. As in the authors' code, heads share e, which starts at
    zero, and positions end at the last vector, so that any length can be computed.
    """

    reads_positions: ClassVar[bool] = False
    bias: ClassVar[str | None] = "context"

    positions: int = setting(64, "[2, inf)")  # learned vectors; later positions have the last one

    def check(self, dims: Dims) -> None:
        if self.positions < 2:
            raise UserError(
                f"model.positions.cope.positions must be at least 2, got {self.positions}"
            )

    def parameters(self, dims: Dims) -> dict[str, Parameter]:
        shape = (self.positions, dims.head_dim)
        zeros = lambda key, shape: jnp.zeros(shape, jnp.float32)
        return {"vectors": Parameter(shape, (None, None), zeros)}

    def token_flops(self, dims: Dims) -> int:
        return 2 * dims.num_heads * dims.head_dim * self.positions

    def terms(
        self, params: dict[str, jax.Array], shared: Any, q_BLHC: jax.Array, k_BLKC: jax.Array
    ) -> Terms:
        return Terms(q_BLHC, k_BLKC, ContextBias(params["vectors"]))
