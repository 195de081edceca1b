"""Dense attention over the full score matrix: the reference for all other backends."""

import jax
import jax.numpy as jnp

from lengthwise.model.attention.biases import Bias, FarField, Normalizer
from lengthwise.model.attention.masks import Mask

MASKED = -1e30  # finite: a query that sees nothing gets a finite output, which `attend` zeroes


def dense_attention(
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
    normalizer: Normalizer | None,
    columns_Q: jax.Array | None = None,
) -> jax.Array:
    """Attention output [B, Q, H, C] by way of all Q x L scores.

    Keys, values, segments and positions ([B or 1, L]) are of whole rows, queries of the columns
    `columns_Q` of them; None: of all, in order.
    A batched matmul with one batch dimension and no repeated keys is the form that XLA's CPU
    backend runs fastest. Queries of segment 0 get finite values without meaning.
    """
    B, Q, H, _ = q_BLHC.shape
    L, K = k_BLKC.shape[1:3]
    k_index = jnp.arange(L)
    q_index = k_index if columns_Q is None else columns_Q

    def of_queries(x_BL: jax.Array) -> jax.Array:
        return x_BL if columns_Q is None else x_BL[:, columns_Q]

    scores = _products(q_BLHC, k_BLKC)
    if far is not None:
        beyond = q_index[:, None] - k_index[None, :] >= far.boundary
        scores = jnp.where(beyond[None, None, None], _products(far.q_BLHC, far.k_BLKC), scores)
    if softcap:
        scores = softcap * jnp.tanh(scores / softcap)
    if bias is not None:
        scores += bias(of_queries(positions_BL), positions_BL).reshape(-1, K, H // K, Q, L)
    if segment_ids_BL is None:
        visible = mask.allowed(q_index[:, None], k_index[None, :])[None, None, None]
    else:
        visible = mask.allowed(
            q_index[None, :, None],
            k_index[None, None, :],
            of_queries(segment_ids_BL)[:, :, None],
            segment_ids_BL[:, None, :],
        )[:, None, None]
    if normalizer is None:
        weights = jax.nn.softmax(jnp.where(visible, scores, MASKED), axis=-1)
    else:
        weights = normalizer(scores, visible)
    weights_NQL = weights.astype(v_BLKC.dtype).reshape(B * K, -1, L)
    v_NLC = v_BLKC.transpose(0, 2, 1, 3).reshape(B * K, L, -1)
    out_NQC = jnp.einsum("nqk,nkc->nqc", weights_NQL, v_NLC)
    return out_NQC.reshape(B, K, H // K, Q, -1).transpose(0, 3, 1, 2, 4).reshape(B, Q, H, -1)


def _products(q_BLHC: jax.Array, k_BLKC: jax.Array) -> jax.Array:
    """q k^T / sqrt(C), float32 [B, K, H / K, Q, L]."""
    B, Q, _, C = q_BLHC.shape
    L, K = k_BLKC.shape[1:3]
    q_NQC = q_BLHC.reshape(B, Q, K, -1, C).transpose(0, 2, 3, 1, 4).reshape(B * K, -1, C)
    k_NLC = k_BLKC.transpose(0, 2, 1, 3).reshape(B * K, L, C)
    products = jnp.einsum(
        "nqc,nkc->nqk", q_NQC * C**-0.5, k_NLC, preferred_element_type=jnp.float32
    )
    return products.reshape(B, K, -1, Q, L)
