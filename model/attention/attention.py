"""Scaled dot-product attention: the one entry to all backends."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lengthwise.model.attention.backends.blockwise import choose_block
from lengthwise.model.attention.backends.contextual import contextual_attention
from lengthwise.model.attention.backends.cudnn import cudnn_attention
from lengthwise.model.attention.backends.dense import dense_attention
from lengthwise.model.attention.backends.grouped import grouped_attention
from lengthwise.model.attention.backends.splash import splash_attention
from lengthwise.model.attention.backends.support import Request, refusal
from lengthwise.model.attention.biases import (
    Bias,
    BlockBias,
    ContextBias,
    FarField,
    LinearBias,
    Normalizer,
)
from lengthwise.model.attention.masks import Mask
from lengthwise.model.parallel.mesh import over_context, row_devices


def attend(
    q_BLHC: jax.Array,
    k_BLKC: jax.Array,
    v_BLKC: jax.Array,
    *,
    mask: Mask,
    segment_ids_BL: jax.Array | None,
    backend: str,
    softcap: float,
    block_size: int,
    positions_BL: jax.Array | None = None,
    bias: Bias | ContextBias | None = None,
    far: FarField | None = None,
    normalizer: Normalizer | None = None,
) -> jax.Array:
    """softmax(q k^T / sqrt(C) + bias) v under the mask; [B, L, H, C] in q's dtype.

    Query head h reads key/value head h // (H / K). Queries and keys may have another number of
    channels than values; the output has that of the values. Fewer queries than keys are those of
    the last tokens of the rows: they are few, and computed densely.

    Args:
      mask: over indices in the row and segments, never over positions.
      segment_ids_BL: int [B, L], 0 for padding, whose output is zero; None: each row is one
        document.
      backend: resolved, one of BACKENDS.
      softcap: scores -> cap * tanh(scores / cap) (Gemma 2, arXiv:2408.00118), before the bias;
        0: off.
      block_size: tokens, for the blockwise backend, or 0: chosen from batch and heads.
      positions_BL: [B or 1, L], what the bias sees; None: indices in the row.
      bias: added to the scores.
      far: queries and keys of the pairs that are far apart, in place of q and k.
      normalizer: makes weights of the scores in place of the softmax; it must give 0 where a key
        is not visible.

    Raises ValueError for what the backend can't serve, with the reason, and for shapes that don't
    fit.
    """
    (B, Q, H, _), (L, K) = q_BLHC.shape, k_BLKC.shape[1:3]
    if H % K:
        raise ValueError(f"{H} query heads cannot share {K} key/value heads")
    if far is not None and far.boundary < 1:
        raise ValueError(f"a far field begins 1 or more tokens away, not {far.boundary}")
    if positions_BL is None:
        positions_BL = jnp.arange(L)[None]
    elif positions_BL.shape not in ((B, L), (1, L)):
        raise ValueError(f"positions have the shape {positions_BL.shape}, not {(B, L)}")
    if Q < L and row_devices() > 1:
        raise ValueError(f"devices share the rows of {L} tokens; queries of the last {Q} alone")
    kinds = {LinearBias: "linear", BlockBias: "block", ContextBias: "context"}
    kind = None if bias is None else kinds[type(bias)]
    request = Request(
        mask=mask,
        bias=kind,
        far=far is not None,
        normalizer=normalizer is not None,
        softcap=softcap > 0,
        segments=segment_ids_BL is not None,
        head_dim=max(q_BLHC.shape[-1], v_BLKC.shape[-1]),
        dtype=q_BLHC.dtype.name,
        length=L,
        row_devices=row_devices(),
    )
    backend = "dense" if Q < L else backend
    reason = refusal(backend, request)
    if reason is not None:
        raise ValueError(f"attention backend {backend!r} can't serve this request: {reason}")
    if backend == "splash":
        assert not isinstance(bias, BlockBias | ContextBias)
        out_BLHC = splash_attention(
            q_BLHC,
            k_BLKC,
            v_BLKC,
            mask=mask,
            segment_ids_BL=segment_ids_BL,
            positions_BL=positions_BL,
            bias=bias,
            softcap=softcap,
        )
    elif backend == "cudnn":
        out_BLHC = cudnn_attention(q_BLHC, k_BLKC, v_BLKC, mask=mask)
    else:
        run = functools.partial(
            _attend_columns,
            mask=mask,
            softcap=softcap,
            backend=backend,
            block_size=block_size,
            boundary=None if far is None else far.boundary,
            normalizer=normalizer,
        )
        far_q, far_k = (None, None) if far is None else (far.q_BLHC, far.k_BLKC)
        rows = (k_BLKC, v_BLKC, far_k, segment_ids_BL, positions_BL)
        if Q < L:
            out_BLHC = run(jnp.arange(L - Q, L), (q_BLHC, far_q), rows, bias)
        else:
            out_BLHC = over_context(run, (q_BLHC, far_q), rows, bias)
    if segment_ids_BL is None:
        return out_BLHC
    return jnp.where((segment_ids_BL[:, L - Q :] > 0)[:, :, None, None], out_BLHC, 0)


def _attend_columns(
    columns_Q: jax.Array | None,
    queries: tuple,
    rows: tuple,
    bias: Bias | ContextBias | None,
    *,
    mask: Mask,
    softcap: float,
    backend: str,
    block_size: int,
    boundary: int | None,
    normalizer: Normalizer | None,
) -> jax.Array:
    """Attention of the queries of some columns to whole rows; see `over_context`."""
    (q_BQHC, far_q_BQHC), (k_BLKC, v_BLKC, far_k_BLKC, segment_ids_BL, positions_BL) = queries, rows
    (B, Q, H, _) = q_BQHC.shape
    options: dict[str, Any] = {
        "mask": mask,
        "segment_ids_BL": segment_ids_BL,
        "softcap": softcap,
        "columns_Q": columns_Q,
    }
    if isinstance(bias, ContextBias):
        block = Q if backend == "dense" else block_size or choose_block(B * H, mask)
        return contextual_attention(q_BQHC, k_BLKC, v_BLKC, **options, bias=bias, block=block)
    far = None if boundary is None else FarField(far_q_BQHC, far_k_BLKC, boundary)
    options |= {"positions_BL": positions_BL, "bias": bias, "far": far}
    if backend == "dense":
        return dense_attention(q_BQHC, k_BLKC, v_BLKC, **options, normalizer=normalizer)
    return grouped_attention(q_BQHC, k_BLKC, v_BLKC, **options, block_size=block_size)
