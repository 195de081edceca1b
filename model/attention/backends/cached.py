"""Attention of new tokens to a KV cache: online softmax over blocks of the cache.

Blocks of the cache that the mask hides from all queries are skipped, and so are those behind the
last query: time follows the visible blocks, memory the size of one. The slot of the first
query is an operand, so that one program serves every slot.

Forward only. Every visited block is masked: unlike in `blockwise`, queries begin at any slot, which
may differ by row.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lengthwise.model.attention.backends.dense import MASKED
from lengthwise.model.attention.backends.ring import Ring
from lengthwise.model.attention.biases import Bias, ContextBias
from lengthwise.model.attention.mask_blocks import key_blocks
from lengthwise.model.attention.masks import Mask

_CONTEXTUAL_SCORES = 2**24  # of queries with a whole cache that exist at a time, under CoPE


class CachedKeys(NamedTuple):
    """Keys and values of some layers, [layers, B, K, S, C]; S: the capacity in tokens.

    Keys are as the position scheme made them; far_k: those for far pairs, None where there are none
    (biases.FarField). plain_k: before they were smeared, None where they aren't: the next token's
    key takes its part of them, at whatever slot a pass begins.
    """

    k: jax.Array
    v: jax.Array
    far_k: jax.Array | None
    plain_k: jax.Array | None

    def write(
        self,
        layer: jax.Array | int,
        first_B: jax.Array,
        new: "CachedKeys",
        ring: Ring | None,
        count_B: jax.Array | None,
    ) -> "CachedKeys":
        """A cache with a layer's keys and values of the tokens first_B, first_B + 1, ...

        The caller must keep tokens below the capacity: a compiled function can't check it.

        Args:
          new: [B, Q, K, C] each.
          first_B: int32 [B], or [1] where all rows begin at one token.
          count_B: int32 [B], tokens of each row: later ones are not written to a ring, where they
            would take the slots of real ones; None: all are real.
        """
        if ring is None:
            return jax.tree.map(partial(_write, layer, first_B), self, new)
        rows, tokens = new.v.shape[:2]
        index_BQ = jnp.broadcast_to(_index(first_B, tokens), (rows, tokens))
        slots_BQ = ring.slots(index_BQ)
        if count_B is not None:
            slots_BQ = jnp.where(index_BQ < count_B[:, None], slots_BQ, self.v.shape[3])
        return jax.tree.map(partial(_scatter, layer, slots_BQ), self, new)

    def plain_key_before(
        self, layer: jax.Array | int, first_B: jax.Array, rows: int, ring: Ring | None
    ) -> jax.Array:
        """Keys before they were smeared of the tokens first_B - 1, [rows, 1, K, C].

        Where first_B is 0 they have no meaning.
        """
        assert self.plain_k is not None
        slot_B = jnp.broadcast_to(jnp.maximum(first_B - 1, 0), rows)
        slot_B = slot_B if ring is None else ring.slots(slot_B)
        return self.plain_k[layer, jnp.arange(rows), :, slot_B][:, None]


def _write(
    layer: jax.Array | int, first_B: jax.Array, cache: jax.Array, new: jax.Array
) -> jax.Array:
    new = new.astype(cache.dtype)
    if first_B.shape[0] == 1:
        slots = (layer, 0, 0, first_B[0], 0)
        return jax.lax.dynamic_update_slice(cache, new.swapaxes(1, 2)[None], slots)
    index_BQ = _index(first_B, new.shape[1])
    row_B1 = jnp.arange(new.shape[0])[:, None]
    return cache.at[layer, row_B1, :, index_BQ].set(new, mode="drop", unique_indices=True)


def _scatter(
    layer: jax.Array | int, slots_BQ: jax.Array, cache: jax.Array, new: jax.Array
) -> jax.Array:
    row_B1 = jnp.arange(new.shape[0])[:, None]
    return cache.at[layer, row_B1, :, slots_BQ].set(new.astype(cache.dtype), mode="drop")


class FarQueries(NamedTuple):
    """Queries to keys that are `boundary` or more tokens away; see biases.FarField."""

    q_BQHC: jax.Array
    boundary: int


def cached_attention(
    q_BQHC: jax.Array,
    cache: CachedKeys,
    layer: jax.Array | int,
    *,
    first_B: jax.Array,
    mask: Mask,
    positions_BS: jax.Array,
    bias: Bias | ContextBias | None,
    far: FarQueries | None,
    softcap: float,
    block: int,
    ring: Ring | None,
) -> jax.Array:
    """Attention output [B, Q, H, C] of the tokens first_B, first_B + 1, ... of each row.

    Their own keys are in the cache already. The causal mask hides slots behind a query: they may
    hold anything finite.

    Args:
      first_B: int32 [B], or [1] where all rows begin at one slot.
      mask: without a prefix.
      positions_BS: int [B or 1, S], what the bias sees.
      block: tokens of the cache, and queries, at a time; divides S where S is longer.
      ring: where tokens are, None: token i in slot i.
    """
    if mask.prefix:
        raise ValueError("a cache has no keys of later tokens, which a prefix shows")
    B, Q, H, _ = q_BQHC.shape
    K, S = cache.k.shape[2:4]
    contextual = isinstance(bias, ContextBias)
    most = max(1, _CONTEXTUAL_SCORES // (B * H * S)) if contextual else block
    q_block = min(Q, block, most)
    blocks = -(-Q // q_block)

    def in_blocks(x_BQHC: jax.Array) -> jax.Array:
        x = jnp.pad(x_BQHC, ((0, 0), (0, blocks * q_block - Q), (0, 0), (0, 0)))
        x = x.reshape(B, blocks, q_block, K, H // K, -1)
        return x.transpose(1, 0, 3, 4, 2, 5)

    shared: dict[str, Any] = {"cache": cache, "layer": layer, "mask": mask, "softcap": softcap}
    run: Callable[..., jax.Array]
    if isinstance(bias, ContextBias):
        run = partial(_contextual, **shared, bias=bias)
    else:
        run = partial(
            _online,
            **shared,
            positions_BS=positions_BS,
            bias=bias,
            boundary=None if far is None else far.boundary,
            key_block=min(block, S),
            tokens_BS=None if ring is None else ring.tokens(first_B + Q - 1),
        )
    firsts_IB = first_B[None] + q_block * jnp.arange(blocks)[:, None]
    xs = (firsts_IB, in_blocks(q_BQHC), None if far is None else in_blocks(far.q_BQHC))
    if blocks == 1:
        out = run(*jax.tree.map(lambda x: x[0], xs))[None]
    else:
        out = jax.lax.map(lambda xs: run(*xs), xs)
    out = out.transpose(1, 0, 4, 2, 3, 5).reshape(B, blocks * q_block, H, -1)
    return out[:, :Q].astype(q_BQHC.dtype)


def _online(
    first_B: jax.Array,
    q_BKGQC: jax.Array,
    far_q_BKGQC: jax.Array | None,
    *,
    cache: CachedKeys,
    layer: jax.Array | int,
    mask: Mask,
    positions_BS: jax.Array,
    bias: Bias | None,
    boundary: int | None,
    softcap: float,
    key_block: int,
    tokens_BS: jax.Array | None,
) -> jax.Array:
    """One block of queries, float32 [B, K, G, Q, C]; the keys block by block.

    tokens_BS: int32 [B or 1, S], tokens of the slots of a ring, of which all are visited.
    """
    B, K, G, Q, _ = q_BKGQC.shape
    S, C = cache.v.shape[3:]
    q_index_BQ = _index(first_B, Q)
    # Queries that pad a block may lie behind the last slot.
    last = positions_BS.shape[1] - 1
    lowest, highest = q_index_BQ.min(), jnp.minimum(q_index_BQ.max(), last)
    visited = key_blocks(mask, key_block, lowest, highest)
    if tokens_BS is not None:
        visited = visited._replace(leading=0, near=0, stop=S // key_block)
    q_positions_BQ = _at(positions_BS, q_index_BQ)
    q_NQC, far_q_NQC = _merged(q_BKGQC), None if far_q_BKGQC is None else _merged(far_q_BKGQC)

    def keys(array: jax.Array, j: jax.Array) -> jax.Array:
        part = jax.lax.dynamic_slice(
            array, (layer, 0, 0, j * key_block, 0), (1, B, K, key_block, array.shape[-1])
        )
        return part.reshape(B * K, key_block, -1)

    def grouped(x_NQT: jax.Array) -> jax.Array:
        return x_NQT.reshape(B, K, G, Q, key_block)

    def visit(n: jax.Array, carry: tuple) -> tuple:
        highest_NQ, total_NQ, sum_NQC = carry
        j = jnp.where(n < visited.leading, n, visited.near + n - visited.leading)
        k_index_BT = j * key_block + jnp.arange(key_block)[None]
        if tokens_BS is not None:
            k_index_BT = jax.lax.dynamic_slice_in_dim(tokens_BS, j * key_block, key_block, axis=1)
        scores = grouped(_product("nqc,ntc->nqt", q_NQC, keys(cache.k, j)))
        if boundary is not None and far_q_NQC is not None and cache.far_k is not None:
            far_scores = grouped(_product("nqc,ntc->nqt", far_q_NQC, keys(cache.far_k, j)))
            beyond_BQT = q_index_BQ[:, :, None] - k_index_BT[:, None] >= boundary
            scores = jnp.where(beyond_BQT[:, None, None], far_scores, scores)
        if softcap:
            scores = softcap * jnp.tanh(scores / softcap)
        if bias is not None:
            if tokens_BS is None:
                k_positions = jax.lax.dynamic_slice_in_dim(
                    positions_BS, j * key_block, key_block, axis=1
                )
            else:
                k_positions = _at(positions_BS, jnp.clip(k_index_BT, 0, last))
            added = bias(q_positions_BQ, k_positions)
            scores = scores + added.reshape(-1, K, G, Q, key_block)
        visible_BQT = mask.allowed(q_index_BQ[:, :, None], k_index_BT[:, None])
        scores = jnp.where(visible_BQT[:, None, None], scores, MASKED)
        scores_NQT = scores.reshape(B * K, G * Q, key_block)
        new_NQ = jnp.maximum(highest_NQ, scores_NQT.max(-1))
        weights_NQT = jnp.exp(scores_NQT - new_NQ[..., None])
        rescale_NQ = jnp.exp(highest_NQ - new_NQ)
        v_NTC = keys(cache.v, j)
        added_NQC = _product("nqt,ntc->nqc", weights_NQT.astype(v_NTC.dtype), v_NTC)
        return (
            new_NQ,
            total_NQ * rescale_NQ + weights_NQT.sum(-1),
            sum_NQC * rescale_NQ[..., None] + added_NQC,
        )

    rows = (B * K, G * Q)
    start = (jnp.full(rows, MASKED), jnp.zeros(rows), jnp.zeros((*rows, C)))
    count = visited.leading + visited.stop - visited.near
    # Invariant: after a query's first visible key its running maximum is a real score. Until then
    # it is MASKED, and masked keys get the weight exp(0) = 1; the next rescaling by
    # exp(MASKED - score) = 0 removes them. Every query sees itself, so that one comes.
    _, total_NQ, sum_NQC = jax.lax.fori_loop(0, count, visit, start)
    return (sum_NQC / total_NQ[..., None]).reshape(B, K, G, Q, C)


def _contextual(
    first_B: jax.Array,
    q_BKGQC: jax.Array,
    far_q_BKGQC: None,
    *,
    cache: CachedKeys,
    layer: jax.Array | int,
    mask: Mask,
    softcap: float,
    bias: ContextBias,
) -> jax.Array:
    """One block of queries with all keys at once, as CoPE needs them; see backends.contextual."""
    k_BKSC, v_BKSC = (
        jax.lax.dynamic_index_in_dim(array, layer, keepdims=False) for array in (cache.k, cache.v)
    )
    Q, C = q_BKGQC.shape[-2:]
    q_index_BQ = _index(first_B, Q)
    k_index = jnp.arange(k_BKSC.shape[2])[None, None]
    visible = mask.allowed(q_index_BQ[:, :, None], k_index)[:, None, None]
    scores = _product("bkgqc,bksc->bkgqs", q_BKGQC * C**-0.5, k_BKSC)
    if softcap:
        scores = softcap * jnp.tanh(scores / softcap)
    scores = jnp.where(visible, scores + bias(q_BKGQC, scores, visible), MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v_BKSC.dtype)
    return _product("bkgqs,bksc->bkgqc", weights, v_BKSC)


def _merged(q_BKGQC: jax.Array) -> jax.Array:
    """Queries divided by sqrt(C), [B * K, G * Q, C]."""
    B, K, G, Q, C = q_BKGQC.shape
    return (q_BKGQC * C**-0.5).reshape(B * K, G * Q, C)


def _index(first_B: jax.Array, count: int) -> jax.Array:
    return first_B[:, None] + jnp.arange(count)[None]


def _at(x_BS: jax.Array, index_BQ: jax.Array) -> jax.Array:
    """[B or 1, Q], either argument with one row or all."""
    return x_BS[jnp.arange(x_BS.shape[0])[:, None], index_BQ]


def _product(equation: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)
