"""ALiBi: attention with linear biases (Press et al., arXiv:2108.12409)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lengthwise.model.attention.biases import LinearBias
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import LayerScheme, Terms


@SCHEMES.register("alibi")
@dataclass(frozen=True)
class Alibi(LayerScheme):
    """Scores lose slope * distance, a fixed slope a head; nothing is learned."""

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
