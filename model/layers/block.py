"""Layers of a decoder: grouped-query attention, MLP, and the residual block.

Every parameter is a float32 `nnx.Param` that carries the logical names of its dimensions in the
metadata field `axes`; `transformer.logical_axes` collects them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.backends.cached import CachedKeys, FarQueries, cached_attention
from lengthwise.model.attention.backends.ring import Ring, ring_of
from lengthwise.model.attention.masks import Mask
from lengthwise.model.attention.softplus import normalizer, unit_queries_and_keys
from lengthwise.model.layers.norms import Norm, head_norm, normalized, residual_norm
from lengthwise.model.layers.projections import MLP, bias_param, dense, normal_param
from lengthwise.model.layers.smearing import smear
from lengthwise.model.parallel.mesh import constrain_activations, preceding_columns, row_columns
from lengthwise.model.positions.scheme import LayerScheme, Terms
from lengthwise.model.spec import ModelSpec


def dropout(x: jax.Array, rate: float, key: jax.Array | None, rows_B: jax.Array) -> jax.Array:
    """Inverted dropout of [B, L, D]; off without a key or at rate 0.

    A token's mask depends on the number of its row and its column alone, whatever devices share the
    row and whatever rows are computed with it.

    rows_B: int32, numbers of the rows in the batch.
    """
    if key is None or rate == 0:
        return x
    _, L, D = x.shape

    def of_token(row: jax.Array, column: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.fold_in(key, row), column)
        return jax.random.bernoulli(own, 1 - rate, (D,))

    of_row = jax.vmap(of_token, in_axes=(None, 0))
    keep = jax.vmap(of_row, in_axes=(0, None))(rows_B, row_columns(L))
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


class CacheSlots(NamedTuple):
    """Slots of the tokens of a pass over a cache."""

    first_B: jax.Array  # int32 [B], or [1] for all rows: the slot of the first
    positions_BS: jax.Array  # of all slots, see `KVCache`
    count_B: jax.Array | None  # int32: tokens of the rows, see `CachedKeys.write`


class LayerCache(NamedTuple):
    """One layer's part of a cache: number `layer` of the stacked ones."""

    keys: CachedKeys
    layer: Any  # int


class BlockContext(NamedTuple):
    """Inputs that all blocks of a forward pass share; a scan closes over them."""

    positions_BL: jax.Array
    query_scale_BL: jax.Array | None  # a factor on queries
    follows_BL: jax.Array | None  # tokens whose keys are smeared, see `smearing`
    shared: dict[str, Any]  # by scheme: what its `prepare` made
    segment_ids_BL: jax.Array | None
    dropout_key: jax.Array | None
    rows_B: jax.Array  # numbers of the rows in the batch, for dropout
    slots: CacheSlots | None  # where there is a KV cache
    backend: str | None  # of attention, static; None where there is a cache


class LayerPositions(NamedTuple):
    """Position scheme of one layer, and its parameters in that layer."""

    scheme: LayerScheme
    key: str  # see `ModelSpec.key_of`
    params: dict[str, jax.Array]


class Attention(nnx.Module):
    """Causal grouped-query attention (Ainslie et al., 2305.13245) under a position scheme."""

    def __init__(self, config: ModelSpec, rngs: nnx.Rngs):
        D, C = config.embed_dim, config.head_dim
        q_dim, kv_dim = config.num_heads * C, config.num_kv_heads * C
        self.config = config
        self.query = normal_param(rngs, (D, q_dim), D**-0.5, ("embed", "heads"))
        self.key = normal_param(rngs, (D, kv_dim), D**-0.5, ("embed", "kv_heads"))
        self.value = normal_param(rngs, (D, kv_dim), D**-0.5, ("embed", "kv_heads"))
        self.output = normal_param(
            rngs, (q_dim, D), config.output_std * q_dim**-0.5, ("heads", "embed")
        )
        biased = config.block.attention_bias
        self.query_bias = bias_param(q_dim, "heads") if biased != "none" else None
        self.key_bias = bias_param(kv_dim, "kv_heads") if biased != "none" else None
        self.value_bias = bias_param(kv_dim, "kv_heads") if biased != "none" else None
        self.output_bias = bias_param(D, "embed") if biased == "all" else None
        if config.smeared_keys:
            self.key_gate = nnx.Param(jnp.zeros(config.num_kv_heads, jnp.float32), axes=(None,))
        self.query_norm = head_norm(config, config.num_heads, "heads")
        self.key_norm = head_norm(config, config.num_kv_heads, "kv_heads")

    def __call__(
        self,
        x_BLD: jax.Array,
        positions: LayerPositions,
        context: BlockContext,
        mask: Mask,
        cache: LayerCache | None,
        last: int,
    ) -> tuple[jax.Array, CachedKeys | None]:
        """Attention output, [B, L, D], and the cache with the tokens' keys and values in it.

        With a cache, tokens see the earlier ones in it, otherwise those of their row.
        last: tokens of the rows' ends that the output is of alone, [B, last, D]; 0: all.
        """
        config = self.config
        B, L, _ = x_BLD.shape
        q_BLHC = self._heads(x_BLD, self.query, self.query_bias, self.query_norm)
        k_BLKC = self._heads(x_BLD, self.key, self.key_bias, self.key_norm)
        v_BLKC = self._heads(x_BLD, self.value, self.value_bias, None)
        plain_k_BLKC = k_BLKC if config.smeared_keys else None
        if config.smeared_keys:
            k_BLKC = self._smeared(k_BLKC, context, mask, cache)
        if config.qk_norm == "head":
            q_BLHC = normalized(self.query_norm, q_BLHC)
            k_BLKC = normalized(self.key_norm, k_BLKC)
        if config.attention_weights != "softmax":
            q_BLHC, k_BLKC = unit_queries_and_keys(q_BLHC, k_BLKC)
        if config.block.attention_scale:
            # All backends scale by 1 / sqrt(C). A weight can't hold this: a norm would undo it.
            q_BLHC = q_BLHC * (config.block.attention_scale * config.head_dim**0.5)
        if context.query_scale_BL is not None:
            q_BLHC = (q_BLHC * context.query_scale_BL[:, :, None, None]).astype(q_BLHC.dtype)
        shared = context.shared.get(positions.key)
        terms = positions.scheme.terms(positions.params, shared, q_BLHC, k_BLKC)
        if cache is not None:
            out_BLHC, updated = self._over_cache(terms, v_BLKC, plain_k_BLKC, context, mask, cache)
            return dense(out_BLHC.reshape(B, L, -1), self.output, self.output_bias), updated
        assert context.backend is not None
        terms = terms.of_last(last)
        out_BLHC = attend(
            terms.q_BLHC,
            terms.k_BLKC,
            v_BLKC,
            mask=mask,
            segment_ids_BL=context.segment_ids_BL,
            positions_BL=context.positions_BL,
            bias=terms.bias,
            far=terms.far,
            normalizer=normalizer(config.attention_weights),
            backend=context.backend,
            softcap=config.attention_softcap,
            block_size=config.attention_block,
        )
        return dense(out_BLHC.reshape(*out_BLHC.shape[:2], -1), self.output, self.output_bias), None

    def _heads(
        self, x_BLD: jax.Array, weight: nnx.Param, bias: nnx.Param | None, norm: Norm | None
    ) -> jax.Array:
        """A projection of x by head, [B, L, H or K, C]; normed, where that goes over all heads."""
        projected = dense(x_BLD, weight, bias)
        if self.config.qk_norm == "full":
            projected = normalized(norm, projected)
        return projected.reshape(*x_BLD.shape[:2], -1, self.config.head_dim)

    def _smeared(
        self, k_BLKC: jax.Array, context: BlockContext, mask: Mask, cache: LayerCache | None
    ) -> jax.Array:
        """Keys mixed with those of the preceding tokens of the row, in the cache or not."""
        assert context.follows_BL is not None
        if cache is None:
            before_BLKC = preceding_columns(k_BLKC)
        else:
            assert context.slots is not None
            ring, first_B = self._ring(cache, context.slots, mask), context.slots.first_B
            rows = k_BLKC.shape[0]
            last_B1KC = cache.keys.plain_key_before(cache.layer, first_B, rows, ring)
            before_BLKC = jnp.concatenate([last_B1KC, k_BLKC[:, :-1]], axis=1)
        return smear(k_BLKC, before_BLKC, self.key_gate[...], context.follows_BL)

    def _ring(self, cache: LayerCache, slots: CacheSlots, mask: Mask) -> Ring | None:
        """Where the layer's cache has the tokens."""
        capacity, block = slots.positions_BS.shape[1], self.config.cache_block
        return ring_of(mask, cache.keys.v.shape[3], capacity, block)

    def _over_cache(
        self,
        terms: Terms,
        v_BLKC: jax.Array,
        plain_k_BLKC: jax.Array | None,
        context: BlockContext,
        mask: Mask,
        cache: LayerCache,
    ) -> tuple[jax.Array, CachedKeys]:
        assert context.slots is not None
        first_B, positions_BS, count_B = context.slots
        ring = self._ring(cache, context.slots, mask)
        if ring is not None:
            ring.check(mask, v_BLKC.shape[1])
        far = terms.far
        new = CachedKeys(terms.k_BLKC, v_BLKC, None if far is None else far.k_BLKC, plain_k_BLKC)
        updated = cache.keys.write(cache.layer, first_B, new, ring, count_B)
        out_BLHC = cached_attention(
            terms.q_BLHC,
            updated,
            cache.layer,
            first_B=first_B,
            mask=mask,
            positions_BS=positions_BS,
            bias=terms.bias,
            far=None if far is None else FarQueries(far.q_BLHC, far.boundary),
            softcap=self.config.attention_softcap,
            block=self.config.cache_block,
            ring=ring,
        )
        return out_BLHC, updated


class Block(nnx.Module):
    """Residual block; dropout on what attention and MLP add to the residual stream."""

    def __init__(self, config: ModelSpec, rngs: nnx.Rngs):
        self.config = config
        before = config.block.norm_placement != "post"
        after = config.block.norm_placement != "pre"
        self.attention_norm = residual_norm(config) if before else None
        self.attention = Attention(config, rngs)
        self.attention_post_norm = residual_norm(config) if after else None
        self.mlp_norm = residual_norm(config) if before else None
        self.mlp = MLP(config, rngs)
        self.mlp_post_norm = residual_norm(config) if after else None

    def __call__(
        self,
        x_BLD: jax.Array,
        layer: Any,
        positions: LayerPositions,
        context: BlockContext,
        mask: Mask,
        cache: LayerCache | None,
        last: int,
    ) -> tuple[jax.Array, CachedKeys | None]:
        """See `Attention.__call__`."""
        attention_key, mlp_key = block_keys(context.dropout_key, layer)
        read_BLD = normalized(self.attention_norm, x_BLD)
        attended, updated = self.attention(read_BLD, positions, context, mask, cache, last)
        x_BLD = x_BLD[:, -last:]  # all of them where it is 0
        attended = self._added(attended, self.attention_post_norm, attention_key, context.rows_B)
        y_BLD = constrain_activations(x_BLD + attended)
        read_BLD = normalized(self.mlp_norm, x_BLD if self.config.block.parallel else y_BLD)
        added = self._added(self.mlp(read_BLD), self.mlp_post_norm, mlp_key, context.rows_B)
        return constrain_activations(y_BLD + added), updated

    def _added(
        self, branch_BLD: jax.Array, norm: Norm | None, key: jax.Array | None, rows_B: jax.Array
    ) -> jax.Array:
        """What a branch adds to the residual stream, of its output."""
        branch_BLD = dropout(normalized(norm, branch_BLD), self.config.dropout, key, rows_B)
        scale = self.config.block.residual_scale
        return branch_BLD if scale == 1 else branch_BLD * scale


def block_keys(key: jax.Array | None, layer: Any) -> tuple[jax.Array | None, jax.Array | None]:
    """Keys of a block's two dropouts; number 0 of `key` is the embedding's."""
    if key is None:
        return None, None
    return jax.random.fold_in(key, 2 * layer + 1), jax.random.fold_in(key, 2 * layer + 2)
