"""Block pairs of blockwise attention: the visited ones, and the scores of one.

A query block visits its key blocks in four ranges (`visit`): leading blocks of sinks, partly
visible ones, full ones, and partly visible ones again. Only full ones skip the mask; a far field
parts them into all far, mixed and all near. Letters: see `blockwise`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lengthwise.model.attention.backends.dense import MASKED
from lengthwise.model.attention.biases import Bias
from lengthwise.model.attention.mask_blocks import SegmentBlocks, key_blocks
from lengthwise.model.attention.masks import Mask


class Static(NamedTuple):
    """Static arguments of one compiled program."""

    mask: Mask
    softcap: float
    boundary: int | None  # of the far field
    block: int  # tokens
    kv_heads: int


class RowData(NamedTuple):
    """Index, segment and position of the tokens of the rows."""

    numbers_I: jax.Array  # of the blocks of queries, in the row
    segment_ids_BL: jax.Array | None
    segment_blocks: SegmentBlocks | None
    positions_BL: jax.Array | None


class Kind(NamedTuple):
    """Class of a block pair; static, so that each class has a loop of its own."""

    near: bool  # some (query, key) pairs are nearer than the far field
    far: bool  # some (query, key) pairs are in the far field
    masked: bool  # some (query, key) pairs may be hidden


def pair_scores(
    static: Static,
    kind: Kind,
    rows: RowData,
    i: jax.Array,
    j: jax.Array,
    near_NQT: Any,
    far_NQT: Any,
    bias: Bias | None,
) -> jax.Array:
    """Scores, float32 [N, Q, T], of query block i and key block j from products of their vectors.

    near, far: float32 [N, Q, T], or None where `kind` has none.
    """
    block = static.block
    index = jnp.arange(block)
    q_index, k_index = i * block + index[:, None], j * block + index[None, :]

    N, Q, T = (near_NQT if kind.near else far_NQT).shape

    def grouped(x: jax.Array) -> jax.Array:
        return x.reshape(-1, static.kv_heads, Q // block, block, T)

    if not kind.far:
        scores = grouped(near_NQT)
    elif not kind.near:
        scores = grouped(far_NQT)
    else:
        assert static.boundary is not None
        beyond = (q_index - k_index >= static.boundary)[None, None, None]
        scores = jnp.where(beyond, grouped(far_NQT), grouped(near_NQT))
    if static.softcap:
        scores = static.softcap * jnp.tanh(scores / static.softcap)
    if bias is not None:
        assert rows.positions_BL is not None
        q_positions, k_positions = (_slice(rows.positions_BL, block, n) for n in (i, j))
        scores = scores + grouped(bias(q_positions, k_positions))
    if kind.masked:
        if rows.segment_ids_BL is None:
            visible = static.mask.allowed(q_index, k_index)[None, None, None]
        else:
            q_segments, k_segments = (_slice(rows.segment_ids_BL, block, n) for n in (i, j))
            visible = static.mask.allowed(
                q_index[None], k_index[None], q_segments[:, :, None], k_segments[:, None, :]
            )[:, None, None]
        scores = jnp.where(visible, scores, MASKED)
    return scores.reshape(N, Q, T)


def visit(static: Static, rows: RowData, i: jax.Array, body: Callable[..., Any], carry: Any) -> Any:
    """Folds `carry = body(kind, j, carry)` over the key blocks j that query block i visits.

    Each visible pair is in one visited block, and once. Order doesn't matter to the online softmax,
    so that the blocks with a mask, which may lie in several ranges, share one loop at the end.
    """
    first_q = i * static.block
    blocks = key_blocks(static.mask, static.block, first_q, first_q + static.block - 1)
    if rows.segment_blocks is not None:
        blocks = rows.segment_blocks.narrow(blocks, i)
    full_first, full_stop = blocks.full_first, blocks.full_stop
    edges = [(jnp.zeros_like(i), blocks.leading), (blocks.near, full_first)]
    if static.boundary is not None:
        # Key blocks before `far_stop` are in the far field of every query, those before
        # `mixed_stop` of some query.
        far_stop = (i * static.block - static.boundary + 1) // static.block
        mixed_stop = ((i + 1) * static.block - 1 - static.boundary) // static.block + 1
        far_stop = jnp.clip(far_stop, full_first, full_stop)
        mixed_stop = jnp.clip(mixed_stop, far_stop, full_stop)
        far = partial(body, Kind(near=False, far=True, masked=False))
        carry = jax.lax.fori_loop(full_first, far_stop, far, carry)
        edges.append((far_stop, mixed_stop))
        full_first = mixed_stop
    edges.append((full_stop, blocks.stop))
    near = partial(body, Kind(near=True, far=False, masked=False))
    carry = jax.lax.fori_loop(full_first, full_stop, near, carry)
    kind = Kind(near=True, far=static.boundary is not None, masked=True)
    count = sum(stop - start for start, stop in edges)
    return jax.lax.fori_loop(0, count, lambda n, c: body(kind, _nth(edges, n), c), carry)


def _nth(ranges: list[tuple[jax.Array, jax.Array]], n: jax.Array) -> jax.Array:
    """The n-th number of the concatenated ranges."""
    number = n
    for start, stop in ranges:
        inside = (n >= 0) & (n < stop - start)
        number = jnp.where(inside, start + n, number)
        n = n - (stop - start)
    return number


def _slice(x_BL: jax.Array, block: int, i: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x_BL, i * block, block, axis=1)
