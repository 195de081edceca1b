"""Blockwise attention, on a CPU over a few score matrices at a time.

On a CPU the scores of a step should stay in the cache, and its products be large enough to be
shared by the cores: few matrices with large blocks, not many with small ones. docs/benchmarks.md
has what that wins for long rows. Where devices share the rows or heads, a loop over them would have
every device wait for one: there all are computed side by side.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lengthwise.model.attention.backends.blockwise import blockwise_attention
from lengthwise.model.attention.biases import FarField
from lengthwise.model.attention.masks import Mask
from lengthwise.model.parallel.mesh import program_devices

_MATRICES = 4  # a step
_BLOCK = 512  # tokens
_FROM = 1024  # tokens a row


def grouped_attention(
    q_BLHC: jax.Array,
    k_BLKC: jax.Array,
    v_BLKC: jax.Array,
    *,
    mask: Mask,
    segment_ids_BL: jax.Array | None,
    positions_BL: jax.Array,
    bias: Any,
    far: FarField | None,
    softcap: float,
    block_size: int,
    columns_Q: jax.Array | None = None,
) -> jax.Array:
    """See `blockwise_attention`: runs it on all rows and heads, or on groups of them in turn."""
    (B, L, H, _), K = q_BLHC.shape, k_BLKC.shape[2]
    run = functools.partial(blockwise_attention, mask=mask, bias=bias, softcap=softcap)
    heads = _kv_heads_at_a_time(H, K) if bias is None else K  # a bias has numbers for each head
    reach = mask.window or mask.chunk or L
    pays = jax.default_backend() == "cpu" and program_devices() == 1
    if block_size or not pays or min(L, reach) < _FROM or heads == B * K:
        return run(
            q_BLHC,
            k_BLKC,
            v_BLKC,
            segment_ids_BL=segment_ids_BL,
            positions_BL=positions_BL,
            far=far,
            block_size=block_size,
            columns_Q=columns_Q,
        )
    parts = K // heads

    def split(x_BLHC: jax.Array) -> jax.Array:
        """[B * parts, 1, L, heads of a part, C]."""
        x = x_BLHC.reshape(B, L, parts, -1, x_BLHC.shape[-1]).transpose(0, 2, 1, 3, 4)
        return x.reshape(B * parts, 1, L, -1, x.shape[-1])

    def repeated(x_BL: jax.Array) -> jax.Array:
        return jnp.repeat(jnp.broadcast_to(x_BL, (B, L)), parts, axis=0)[:, None]

    segments = None if segment_ids_BL is None else repeated(segment_ids_BL)
    far_field = None if far is None else (split(far.q_BLHC), split(far.k_BLKC))
    boundary = 0 if far is None else far.boundary

    def of_group(x: tuple) -> jax.Array:
        q, k, v, segment_ids, positions, far_qk = x
        return run(
            q,
            k,
            v,
            segment_ids_BL=segment_ids,
            positions_BL=positions,
            far=far_qk and FarField(far_qk[0], far_qk[1], boundary=boundary),
            block_size=_BLOCK,
        )

    xs = (split(q_BLHC), split(k_BLKC), split(v_BLKC), segments, repeated(positions_BL), far_field)
    out = jax.lax.map(of_group, xs)  # [B * parts, 1, L, heads of a part, C]
    return out.reshape(B, parts, L, H // parts, -1).swapaxes(1, 2).reshape(B, L, H, -1)


def _kv_heads_at_a_time(heads: int, kv_heads: int) -> int:
    """Largest divisor of `kv_heads` whose query heads are at most `_MATRICES`."""
    fits = [n for n in range(1, kv_heads + 1) if kv_heads % n == 0]
    return max((n for n in fits if n * (heads // kv_heads) <= _MATRICES), default=1)
