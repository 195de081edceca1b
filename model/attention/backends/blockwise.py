"""Memory-linear attention in plain JAX: online softmax over blocks of keys.

FlashAttention (Dao et al., arXiv:2205.14135) with the backward pass of arXiv:2307.08691: only the
output and the log-sum-exp of each query are saved, scores are recomputed a block at a time. Blocks
that the mask or the segments hide are skipped, fully visible blocks are not masked; both are
arithmetic on the block's number, so that a length of 131072 compiles as fast as one of 1024.

Letters beside the usual: N = B * K (batch and key/value heads merged), I query blocks, J key
blocks, Q queries a block times the query heads of a group, T keys a block.
"""

import dataclasses
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lengthwise.model.attention.backends.block_pairs import (
    Kind,
    RowData,
    Static,
    pair_scores,
    visit,
)
from lengthwise.model.attention.backends.dense import MASKED
from lengthwise.model.attention.biases import Bias, FarField
from lengthwise.model.attention.mask_blocks import SegmentBlocks
from lengthwise.model.attention.masks import Mask


class _Operands(NamedTuple):
    """Differentiable operands, cut into blocks. Keys and values are transposed, as are the products
    that are their gradients, which saves transposing the weights."""

    q_INQC: jax.Array
    k_JNCT: jax.Array
    v_JNCT: jax.Array
    far_q_INQC: Any  # an array, or None without a far field
    far_k_JNCT: Any
    bias: Bias | None


def blockwise_attention(
    q_BLHC: jax.Array,
    k_BLKC: jax.Array,
    v_BLKC: jax.Array,
    *,
    mask: Mask,
    segment_ids_BL: jax.Array | None,
    positions_BL: jax.Array,
    bias: Bias | None,
    far: FarField | None,
    softcap: float,
    block_size: int,
    columns_Q: jax.Array | None = None,
) -> jax.Array:
    """Attention output [B, Q, H, C]; any length, padded to whole blocks inside.

    Keys, values, segments and positions ([B or 1, L]) are of whole rows, queries of the columns
    `columns_Q` of them, two stretches of one length; None: of all, in order.
    block_size: tokens, or 0 for `choose_block`. Queries of segment 0 get finite values without
    meaning.
    """
    B, Q, H, _ = q_BLHC.shape
    L, K = k_BLKC.shape[1:3]
    block = min(block_size or choose_block(B * H, mask), Q)
    if columns_Q is not None:
        block = math.gcd(block, Q // 2)  # of one stretch each
    padding = -L % block
    blocks = (Q + padding) // block
    numbers_I = jnp.arange(blocks) if columns_Q is None else columns_Q[::block] // block
    # Padded keys come after every real query, so the causal mask hides them; a prefix must not
    # reach them.
    mask = dataclasses.replace(mask, prefix=min(mask.prefix, L))

    def queries(x_BLHC: jax.Array) -> jax.Array:
        x_BLHC = jnp.pad(x_BLHC * x_BLHC.shape[-1] ** -0.5, ((0, 0), (0, padding), (0, 0), (0, 0)))
        x = x_BLHC.reshape(B, blocks, block, K, H // K, -1).transpose(1, 0, 3, 4, 2, 5)
        return x.reshape(blocks, B * K, H // K * block, -1)

    def keys(x_BLKC: jax.Array) -> jax.Array:
        x_BLKC = jnp.pad(x_BLKC, ((0, 0), (0, padding), (0, 0), (0, 0)))
        x = x_BLKC.reshape(B, -1, block, K, x_BLKC.shape[-1]).transpose(1, 0, 3, 4, 2)
        return x.reshape(-1, B * K, x_BLKC.shape[-1], block)

    operands = _Operands(
        queries(q_BLHC),
        keys(k_BLKC),
        keys(v_BLKC),
        None if far is None else queries(far.q_BLHC),
        None if far is None else keys(far.k_BLKC),
        bias,
    )
    rows = RowData(numbers_I, None, None, None)
    if bias is not None:
        rows = rows._replace(positions_BL=jnp.pad(positions_BL, ((0, 0), (0, padding))))
    if segment_ids_BL is not None:
        segment_ids_BL = jnp.pad(segment_ids_BL, ((0, 0), (0, padding)))
        blocks_of_segments = SegmentBlocks.of(segment_ids_BL, block)
        rows = rows._replace(segment_ids_BL=segment_ids_BL, segment_blocks=blocks_of_segments)
    boundary = None if far is None else far.boundary
    out = _attention(Static(mask, softcap, boundary, block, K), operands, rows)
    out = out.reshape(blocks, B, K, H // K, block, -1).transpose(1, 0, 4, 2, 3, 5)
    return out.reshape(B, Q + padding, H, -1)[:, :Q]


def choose_block(matrices: int, mask: Mask) -> int:
    """Block size in tokens, for `matrices` = batch * heads score matrices side by side.

    Few matrices need large blocks to fill a step of the loop, many keep the cache with small ones.
    Measured as training steps on a CPU: 512 is a quarter faster than 128 with 4 matrices, 128 a
    tenth faster than 256 with 16, and nothing is won by other sizes with 64. A window or chunk is
    visited in whole blocks: large ones would mostly be masked.
    """
    reach = mask.window or mask.chunk or 2048
    return min(max(2048 // matrices, 128), max(reach // 4, 128), 512)


def _product(equation: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(static: Static, operands: _Operands, rows: RowData) -> jax.Array:
    return _forward(static, operands, rows)[0]


def _forward(static: Static, operands: _Operands, rows: RowData) -> tuple[jax.Array, tuple]:
    _, k_JNCT, v_JNCT, _, far_k_JNCT, bias = operands

    def query_block(_: None, xs: tuple) -> tuple[None, tuple]:
        i, q_NQC, far_q_NQC = xs

        def key_block(kind: Kind, j: jax.Array, carry: tuple) -> tuple:
            highest_NQ, total_NQ, sum_NQC = carry
            near_NQT = _product("nqc,nct->nqt", q_NQC, k_JNCT[j]) if kind.near else None
            far_NQT = _product("nqc,nct->nqt", far_q_NQC, far_k_JNCT[j]) if kind.far else None
            scores_NQT = pair_scores(static, kind, rows, i, j, near_NQT, far_NQT, bias)
            new_NQ = jnp.maximum(highest_NQ, scores_NQT.max(-1))
            weights_NQT = jnp.exp(scores_NQT - new_NQ[..., None])
            rescale_NQ = jnp.exp(highest_NQ - new_NQ)
            added_NQC = _product("nqt,nct->nqc", weights_NQT.astype(v_JNCT.dtype), v_JNCT[j])
            return (
                new_NQ,
                total_NQ * rescale_NQ + weights_NQT.sum(-1),
                sum_NQC * rescale_NQ[..., None] + added_NQC,
            )

        rows_NQ, C = q_NQC.shape[:2], v_JNCT.shape[2]
        start = (jnp.full(rows_NQ, MASKED), jnp.zeros(rows_NQ), jnp.zeros((*rows_NQ, C)))
        highest_NQ, total_NQ, sum_NQC = visit(static, rows, i, key_block, start)
        total_NQ = jnp.where(total_NQ > 0, total_NQ, 1)  # padding that visits no block
        out_NQC = (sum_NQC / total_NQ[..., None]).astype(q_NQC.dtype)
        return None, (out_NQC, highest_NQ + jnp.log(total_NQ))

    _, (out_INQC, logsumexp_INQ) = jax.lax.scan(
        query_block, None, (rows.numbers_I, operands.q_INQC, operands.far_q_INQC)
    )
    return out_INQC, (operands, rows, out_INQC, logsumexp_INQ)


def _backward(static: Static, saved: tuple, d_out_INQC: jax.Array) -> tuple:
    operands, rows, out_INQC, logsumexp_INQ = saved
    delta_INQ = jnp.sum(d_out_INQC.astype(jnp.float32) * out_INQC.astype(jnp.float32), axis=-1)
    _, k_JNCT, v_JNCT, _, far_k_JNCT, bias = operands
    dtype = operands.q_INQC.dtype

    def query_block(carry: tuple, xs: tuple) -> tuple[tuple, tuple]:
        i, q_NQC, far_q_NQC, d_out_NQC, logsumexp_NQ, delta_NQ = xs
        # Transposed once for all key blocks: the form of these products that runs fastest.
        q_NCQ, far_q_NCQ, d_out_NCQ = (_transpose(x) for x in (q_NQC, far_q_NQC, d_out_NQC))

        def key_block(kind: Kind, j: jax.Array, carry: tuple) -> tuple:
            d_q, d_far_q, d_k, d_far_k, d_v, d_bias = carry
            near_NQT = _product("nqc,nct->nqt", q_NQC, k_JNCT[j]) if kind.near else None
            far_NQT = _product("nqc,nct->nqt", far_q_NQC, far_k_JNCT[j]) if kind.far else None
            scores_NQT, pull = jax.vjp(
                partial(pair_scores, static, kind, rows, i, j), near_NQT, far_NQT, bias
            )
            weights_NQT = jnp.exp(scores_NQT - logsumexp_NQ[..., None])
            d_weights_NQT = _product("nqc,nct->nqt", d_out_NQC, v_JNCT[j])
            d_near_NQT, d_far_NQT, d_bias_added = pull(
                weights_NQT * (d_weights_NQT - delta_NQ[..., None])
            )
            d_v = d_v.at[j].add(_product("ncq,nqt->nct", d_out_NCQ, weights_NQT.astype(dtype)))
            if kind.near:
                d_near_NQT = d_near_NQT.astype(dtype)
                d_q += _product("nqt,nct->nqc", d_near_NQT, k_JNCT[j])
                d_k = d_k.at[j].add(_product("ncq,nqt->nct", q_NCQ, d_near_NQT))
            if kind.far:
                d_far_NQT = d_far_NQT.astype(dtype)
                d_far_q += _product("nqt,nct->nqc", d_far_NQT, far_k_JNCT[j])
                d_far_k = d_far_k.at[j].add(_product("ncq,nqt->nct", far_q_NCQ, d_far_NQT))
            d_bias = jax.tree.map(jnp.add, d_bias, d_bias_added)
            return d_q, d_far_q, d_k, d_far_k, d_v, d_bias

        d_q, d_far_q, *carry = visit(
            static, rows, i, key_block, (_zeros(q_NQC), _zeros(far_q_NQC), *carry)
        )
        return tuple(carry), (d_q.astype(dtype), _cast(d_far_q, dtype))

    start = (_zeros(k_JNCT), _zeros(far_k_JNCT), _zeros(v_JNCT), jax.tree.map(jnp.zeros_like, bias))
    xs = (
        rows.numbers_I,
        operands.q_INQC,
        operands.far_q_INQC,
        d_out_INQC,
        logsumexp_INQ,
        delta_INQ,
    )
    (d_k, d_far_k, d_v, d_bias), (d_q, d_far_q) = jax.lax.scan(query_block, start, xs)
    d_k, d_far_k, d_v = (_cast(x, dtype) for x in (d_k, d_far_k, d_v))
    return _Operands(d_q, d_k, d_v, d_far_q, d_far_k, d_bias), None


def _zeros(x: Any) -> Any:
    return None if x is None else jnp.zeros(x.shape, jnp.float32)


def _transpose(x_NQC: Any) -> Any:
    return None if x_NQC is None else jnp.swapaxes(x_NQC, 1, 2)


def _cast(x: Any, dtype: jnp.dtype) -> Any:
    return None if x is None else x.astype(dtype)


_attention.defvjp(_forward, _backward)
