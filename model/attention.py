"""The one entry to attention, and the dense reference behind it."""

import jax
import jax.numpy as jnp

from errors import UserError
from model.masks import Mask

BACKENDS = ("dense",)

_MASKED = -1e30  # finite, so that a row that sees nothing gives no NaN


def choose_backend(requested: str, platform: str, length: int) -> tuple[str, str]:
    """Resolves "auto" for one sequence length: (backend, the reason in words)."""
    if requested in BACKENDS:
        return requested, "asked for"
    if requested != "auto":
        known = ", ".join(("auto", *BACKENDS))
        raise UserError(f"unknown attention backend {requested!r}; known: {known}")
    return "dense", "the only one"


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
    """Attention output [B, L, H, C]."""
    if backend == "dense":
        return dense_attention(
            q_BLHC, k_BLKC, v_BLKC, mask=mask, segment_ids_BL=segment_ids_BL, softcap=softcap
        )
    raise ValueError(f"attention backend {backend!r} is not one of {BACKENDS}")


def dense_attention(
    q_BLHC: jax.Array,
    k_BLKC: jax.Array,
    v_BLKC: jax.Array,
    *,
    mask: Mask,
    segment_ids_BL: jax.Array | None,
    softcap: float | None,
) -> jax.Array:
    """The whole score matrix at once: the reference, and the fastest path for short rows."""
    B, L, H, C = q_BLHC.shape
    K = k_BLKC.shape[2]
    G = H // K
    q = q_BLHC.reshape(B, L, K, G, C).transpose(0, 2, 3, 1, 4).reshape(B * K, G * L, C)
    k = k_BLKC.transpose(0, 2, 1, 3).reshape(B * K, L, C)
    v = v_BLKC.transpose(0, 2, 1, 3).reshape(B * K, L, C)
    scores = jnp.einsum("nqc,nkc->nqk", q * C**-0.5, k, preferred_element_type=jnp.float32)
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
    scores = scores.reshape(B, K, G, L, L)
    scores = jnp.where(visible, scores, _MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype).reshape(B * K, G * L, L)
    out = jnp.einsum("nqk,nkc->nqc", weights, v)
    out = out.reshape(B, K, G, L, C).transpose(0, 3, 1, 2, 4).reshape(B, L, H, C)
    if segment_ids_BL is not None:
        out = jnp.where((segment_ids_BL > 0)[:, :, None, None], out, 0)
    return out
