"""Attention under CoPE, whose positions depend on the scores themselves.

A query's positions are sums over its keys from the nearest to the farthest, so that a block of
queries needs its scores with all keys at once. They are computed a block of queries at a time and
again in the backward pass: memory is block x length, not length x length.
"""

import math

import jax
import jax.numpy as jnp

from lengthwise.model.attention.backends.dense import MASKED
from lengthwise.model.attention.biases import ContextBias
from lengthwise.model.attention.masks import Mask


def contextual_attention(
    q_BLHC: jax.Array,
    k_BLKC: jax.Array,
    v_BLKC: jax.Array,
    *,
    mask: Mask,
    segment_ids_BL: jax.Array | None,
    bias: ContextBias,
    softcap: float,
    block: int,
    columns_Q: jax.Array | None = None,
) -> jax.Array:
    """Attention output [B, Q, H, C]; see `biases.ContextBias`.

    Keys, values and segments are of whole rows, queries of the columns `columns_Q` of them, two
    stretches of one length; None: of all, in order. block: queries computed at a time,
    at most. Queries of segment 0 get finite values without meaning.
    """
    B, Q, H, C = q_BLHC.shape
    L, K = k_BLKC.shape[1:3]
    block = min(block, Q) if columns_Q is None else math.gcd(block, Q // 2)
    padding = -Q % block
    blocks = (Q + padding) // block
    first_I = block * jnp.arange(blocks) if columns_Q is None else columns_Q[::block]
    q = jnp.pad(q_BLHC, ((0, 0), (0, padding), (0, 0), (0, 0)))
    q_IBKGQC = q.reshape(B, blocks, block, K, H // K, C).transpose(1, 0, 3, 4, 2, 5)
    q_segments = None
    if segment_ids_BL is not None:
        own_BQ = segment_ids_BL if columns_Q is None else segment_ids_BL[:, columns_Q]
        padded = jnp.pad(own_BQ, ((0, 0), (0, padding)))
        q_segments = padded.reshape(B, blocks, block).swapaxes(0, 1)
    k_index = jnp.arange(L)[None, None, :]

    @jax.checkpoint
    def of_block(
        first: jax.Array, q_BKGQC: jax.Array, segments_BQ: jax.Array | None, bias: ContextBias
    ) -> jax.Array:
        q_index = (first + jnp.arange(block))[None, :, None]
        if segments_BQ is None or segment_ids_BL is None:
            visible = mask.allowed(q_index, k_index)
        else:
            visible = mask.allowed(
                q_index, k_index, segments_BQ[:, :, None], segment_ids_BL[:, None, :]
            )
        visible = visible[:, None, None]
        scores = jnp.einsum(
            "bkgqc,blkc->bkgql", q_BKGQC * C**-0.5, k_BLKC, preferred_element_type=jnp.float32
        )
        if softcap:
            scores = softcap * jnp.tanh(scores / softcap)
        scores = jnp.where(visible, scores + bias(q_BKGQC, scores, visible), MASKED)
        weights = jax.nn.softmax(scores, axis=-1).astype(v_BLKC.dtype)
        return jnp.einsum("bkgql,blkc->bkgqc", weights, v_BLKC)

    def step(_: None, xs: tuple) -> tuple[None, jax.Array]:
        return None, of_block(*xs, bias)

    xs = (first_I, q_IBKGQC, q_segments)
    out_IBKGQC = jax.lax.scan(step, None, xs)[1]
    out = out_IBKGQC.transpose(1, 0, 4, 2, 3, 5).reshape(B, Q + padding, H, -1)
    return out[:, :Q]
