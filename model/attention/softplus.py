"""Softplus attention in place of the softmax (Gao & Spratling, arXiv:2501.13428).

LSSA, length-scaled softplus attention: with queries and keys of length 1,

    A_ij = softplus(ln C ln N_i q_i . k_j), each row divided by its sum,

where C is the number of channels a head and N_i that of keys that query i sees. LSSAR re-weights
them, ReLU(A_ij N_i - O_i)^power, each row divided by its sum, which keeps the keys that weigh more
than the mean and sharpens them; O_i = 1, but 0 in the first three rows, where that would leave too
few.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

POWERS = {"lssa": 0, "lssar": 15}  # exponent of the re-weighting, as in the paper; 0: none
_PLAIN_ROWS = 3  # rows with O = 0: queries that see at most so many keys
_FLOOR = 1e-5  # of a row's largest A_ij N_i - O_i: what is less may be rounding, no difference


@dataclass(frozen=True)
class Softplus:
    """Normalizer of `model.attention.attention.attend`; scores from `unit_queries_and_keys`."""

    power: int  # of the re-weighting; 0: none, which is LSSA

    def __call__(self, scores: jax.Array, visible: jax.Array) -> jax.Array:
        """Weights, float32 [..., Q, T], 0 where not visible.

        All are 0 for a query that sees nothing, and, under re-weighting, for one whose visible keys
        weigh the same, to a hundred-thousandth of their mean.
        """
        visible = jnp.broadcast_to(visible, scores.shape)
        seen = jnp.sum(visible, axis=-1, keepdims=True).astype(jnp.float32)
        positive = jax.nn.softplus(jnp.log(jnp.maximum(seen, 1.0)) * scores)
        weights = _row_shares(jnp.where(visible, positive, 0.0))
        if not self.power:
            return weights
        offset = jnp.where(seen > _PLAIN_ROWS, 1.0, 0.0)
        return _power_shares(jax.nn.relu(weights * seen - offset), self.power)


def normalizer(kind: str) -> Softplus | None:
    """Normalizer for `attend` by `model.attention_weights`; None for the softmax."""
    return None if kind == "softmax" else Softplus(POWERS[kind])


def _row_shares(weights: jax.Array) -> jax.Array:
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1.0)


def _power_shares(weights: jax.Array, power: int) -> jax.Array:
    """weights ** power, each row divided by its sum.

    The largest is 1 before it is raised, so that float32 neither under- nor overflows. Shares
    don't depend on that divisor, nor do their gradients, which is why it has none.
    """
    largest = jax.lax.stop_gradient(jnp.max(weights, axis=-1, keepdims=True))
    differs = largest > _FLOOR
    raised = jnp.where(differs, weights / jnp.where(differs, largest, 1.0), 0.0) ** power
    return raised / jnp.where(differs, jnp.sum(raised, axis=-1, keepdims=True), 1.0)


def unit_queries_and_keys(q_BLHC: jax.Array, k_BLKC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Queries and keys whose scaled product, q k / sqrt(C), is ln C times the cosine."""
    channels = q_BLHC.shape[-1]
    return _unit(q_BLHC) * (channels**0.5 * jnp.log(channels)), _unit(k_BLKC)


def _unit(x: jax.Array) -> jax.Array:
    x32 = x.astype(jnp.float32)
    square = jnp.sum(jnp.square(x32), axis=-1, keepdims=True)
    return (x32 * jax.lax.rsqrt(square + 1e-12)).astype(x.dtype)
