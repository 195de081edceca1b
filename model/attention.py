"""The one entry to attention, the choice of a backend, and the dense reference."""

import jax
import jax.numpy as jnp

from errors import UserError
from model.blockwise import MASKED, blockwise_attention
from model.masks import Mask

BACKENDS = ("dense", "blockwise")

# Lengths from which blockwise serves "auto". On CPU measured as whole training steps (3 layers of
# 256 channels, 4096 tokens, both backends in turn; `python -m benchmarks.step_time` with an
# explicit --config.model.attention repeats it): level with dense up to 128, 0.8 of its time at 256,
# 0.6 at 512 and ever less beyond. Elsewhere not measured: there the memory of the scores sets it
# (a gigabyte a row at 4096 with 16 heads).
_BLOCKWISE_FROM = {"cpu": 128}
_BLOCKWISE_FROM_ELSEWHERE = 4096


def choose_backend(requested: str, platform: str, length: int) -> tuple[str, str]:
    """Resolves `requested` for rows of `length` tokens: (backend, the reason in words).

    platform: as `jax.Device.platform` has it. Raises UserError for an unknown backend.
    """
    if requested in BACKENDS:
        return requested, "asked for"
    if requested != "auto":
        known = ", ".join(("auto", *BACKENDS))
        raise UserError(f"unknown attention backend {requested!r}; known: {known}")
    threshold = _BLOCKWISE_FROM.get(platform, _BLOCKWISE_FROM_ELSEWHERE)
    if length < threshold:
        return "dense", f"length {length} is below {threshold}, where blockwise pays on {platform}"
    return "blockwise", f"length {length} is at least {threshold}, where it pays on {platform}"


def attend(
    q_BLHC: jax.Array,
    k_BLKC: jax.Array,
    v_BLKC: jax.Array,
    *,
    mask: Mask,
    segment_ids_BL: jax.Array | None,
    backend: str,
    softcap: float | None,
    block_size: int,
) -> jax.Array:
    """softmax(q k^T / sqrt(C)) v under the mask; [B, L, H, C] in q's dtype.

    Query head h reads key/value head h // (H / K). softcap: scores -> cap * tanh(scores / cap)
    (Gemma 2, arXiv:2408.00118). segment_ids: int [B, L], 0 for padding, whose output is zero;
    None: each row is one document. backend: resolved, one of BACKENDS; block_size: tokens, for
    the blockwise one, or 0: chosen from batch and heads. Raises ValueError for a backend or shape
    that cannot be served.
    """
    H, K = q_BLHC.shape[2], k_BLKC.shape[2]
    if H % K:
        raise ValueError(f"{H} query heads cannot share {K} key/value heads")
    if backend == "dense":
        out_BLHC = dense_attention(
            q_BLHC, k_BLKC, v_BLKC, mask=mask, segment_ids_BL=segment_ids_BL, softcap=softcap
        )
    elif backend == "blockwise":
        out_BLHC = blockwise_attention(
            q_BLHC,
            k_BLKC,
            v_BLKC,
            mask=mask,
            segment_ids_BL=segment_ids_BL,
            softcap=softcap,
            block_size=block_size,
        )
    else:
        raise ValueError(f"attention backend {backend!r} is not one of {', '.join(BACKENDS)}")
    if segment_ids_BL is None:
        return out_BLHC
    return jnp.where((segment_ids_BL > 0)[:, :, None, None], out_BLHC, 0)


def dense_attention(
    q_BLHC: jax.Array,
    k_BLKC: jax.Array,
    v_BLKC: jax.Array,
    *,
    mask: Mask,
    segment_ids_BL: jax.Array | None,
    softcap: float | None,
) -> jax.Array:
    """The whole score matrix at once, [B * K, G * L, L]: the reference for every other backend.

    A batched matmul with one batch dimension and no repeated keys is the form that XLA's CPU
    backend runs fastest. Queries of segment 0 get finite values without meaning.
    """
    B, L, H, C = q_BLHC.shape
    K = k_BLKC.shape[2]
    q_NQC = q_BLHC.reshape(B, L, K, -1, C).transpose(0, 2, 3, 1, 4).reshape(B * K, -1, C)
    k_NLC = k_BLKC.transpose(0, 2, 1, 3).reshape(B * K, L, C)
    v_NLC = v_BLKC.transpose(0, 2, 1, 3).reshape(B * K, L, C)
    scores = jnp.einsum("nqc,nkc->nqk", q_NQC * C**-0.5, k_NLC, preferred_element_type=jnp.float32)
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    index = jnp.arange(L)
    if segment_ids_BL is None:
        visible = mask.allowed(index[:, None], index[None, :])[None, None, None]
    else:
        visible = mask.allowed(
            index[None, :, None],
            index[None, None, :],
            segment_ids_BL[:, :, None],
            segment_ids_BL[:, None, :],
        )[:, None, None]
    scores = jnp.where(visible, scores.reshape(B, K, H // K, L, L), MASKED)
    weights_NQL = jax.nn.softmax(scores, axis=-1).astype(v_NLC.dtype).reshape(B * K, -1, L)
    out_NQC = jnp.einsum("nqk,nkc->nqc", weights_NQL, v_NLC)
    return out_NQC.reshape(B, K, H // K, L, C).transpose(0, 3, 1, 2, 4).reshape(B, L, H, C)
