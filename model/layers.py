"""Layers of a decoder: RMSNorm, grouped-query attention, SwiGLU, and the residual block.

Every parameter is a float32 `nnx.Param` that carries the logical names of its dimensions in the
metadata field `axes`; `transformer.logical_axes` collects them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from lengthwise.model.attention.attention import attend
from lengthwise.model.attention.backends.cached import CachedKeys, FarQueries, cached_attention
from lengthwise.model.attention.masks import Mask
from lengthwise.model.attention.softplus import normalizer, unit_queries_and_keys
from lengthwise.model.parallel.mesh import constrain_activations, preceding_columns, row_columns
from lengthwise.model.parallel.sharding import matmul
from lengthwise.model.positions.scheme import LayerScheme, Terms
from lengthwise.model.smearing import smear
from lengthwise.model.spec import ModelSpec


def normal_param(rngs: nnx.Rngs, shape: tuple[int, ...], std: float, axes: tuple) -> nnx.Param:
    return nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32), axes=axes)


def dense(x_BLD: jax.Array, weight: nnx.Param) -> jax.Array:
    """x @ weight, in x's dtype."""
    return matmul(x_BLD, weight[...], weight.get_metadata("axes"))


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


class RMSNorm(nnx.Module):
    """x / rms(x) * scale over the last dimension, in float32 (Zhang & Sennrich, 1910.07467)."""

    def __init__(self, dim: int, axis: str | None):
        self.scale = nnx.Param(jnp.ones((dim,), jnp.float32), axes=(axis,))

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
        scale = self.scale[...].reshape((1,) * (x.ndim - 1) + (-1,))
        return (x32 * jax.lax.rsqrt(mean_square + 1e-6) * scale).astype(x.dtype)


class CacheSlots(NamedTuple):
    """Slots of the tokens of a pass over a cache."""

    first_B: jax.Array  # int32 [B], or [1] for all rows: the slot of the first
    positions_BS: jax.Array  # of all slots, see `KVCache`


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
            rngs, (q_dim, D), config.residual_scale * q_dim**-0.5, ("heads", "embed")
        )
        if config.smeared_keys:
            self.key_gate = nnx.Param(jnp.zeros(config.num_kv_heads, jnp.float32), axes=(None,))
        if config.qk_norm:
            self.query_norm = RMSNorm(C, None)
            self.key_norm = RMSNorm(C, None)

    def __call__(
        self,
        x_BLD: jax.Array,
        positions: LayerPositions,
        context: BlockContext,
        mask: Mask,
        cache: LayerCache | None,
    ) -> tuple[jax.Array, CachedKeys | None]:
        """Attention output, [B, L, D], and the cache with the tokens' keys and values in it.

        With a cache, tokens see the earlier ones in it, otherwise those of their row.
        """
        config = self.config
        B, L, _ = x_BLD.shape
        q_BLHC = dense(x_BLD, self.query).reshape(B, L, config.num_heads, config.head_dim)
        k_BLKC = dense(x_BLD, self.key).reshape(B, L, config.num_kv_heads, config.head_dim)
        v_BLKC = dense(x_BLD, self.value).reshape(B, L, config.num_kv_heads, config.head_dim)
        plain_k_BLKC = k_BLKC if config.smeared_keys else None
        if config.smeared_keys:
            k_BLKC = self._smeared(k_BLKC, context, cache)
        if config.qk_norm:
            q_BLHC, k_BLKC = self.query_norm(q_BLHC), self.key_norm(k_BLKC)
        if config.attention_weights != "softmax":
            q_BLHC, k_BLKC = unit_queries_and_keys(q_BLHC, k_BLKC)
        if context.query_scale_BL is not None:
            q_BLHC = (q_BLHC * context.query_scale_BL[:, :, None, None]).astype(q_BLHC.dtype)
        shared = context.shared.get(positions.scheme.name)
        terms = positions.scheme.terms(positions.params, shared, q_BLHC, k_BLKC)
        if cache is not None:
            out_BLHC, updated = self._over_cache(terms, v_BLKC, plain_k_BLKC, context, mask, cache)
            return dense(out_BLHC.reshape(B, L, -1), self.output), updated
        assert context.backend is not None
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
        return dense(out_BLHC.reshape(B, L, -1), self.output), None

    def _smeared(
        self, k_BLKC: jax.Array, context: BlockContext, cache: LayerCache | None
    ) -> jax.Array:
        """Keys mixed with those of the preceding tokens of the row, in the cache or not."""
        assert context.follows_BL is not None
        before_BLKC = preceding_columns(k_BLKC)
        if cache is not None:
            assert context.slots is not None
            rows = k_BLKC.shape[0]
            last_B1KC = cache.keys.plain_key_before(cache.layer, context.slots.first_B, rows)
            before_BLKC = jnp.concatenate([last_B1KC, k_BLKC[:, :-1]], axis=1)
        return smear(k_BLKC, before_BLKC, self.key_gate[...], context.follows_BL)

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
        first_B, positions_BS = context.slots
        far = terms.far
        new = CachedKeys(terms.k_BLKC, v_BLKC, None if far is None else far.k_BLKC, plain_k_BLKC)
        updated = cache.keys.write(cache.layer, first_B, new)
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
        )
        return out_BLHC, updated


class MLP(nnx.Module):
    """SwiGLU: (silu(x gate) * (x up)) down (Shazeer, 2002.05202)."""

    def __init__(self, config: ModelSpec, rngs: nnx.Rngs):
        D, F = config.embed_dim, config.mlp_dim
        self.gate = normal_param(rngs, (D, F), D**-0.5, ("embed", "mlp"))
        self.up = normal_param(rngs, (D, F), D**-0.5, ("embed", "mlp"))
        self.down = normal_param(rngs, (F, D), config.residual_scale * F**-0.5, ("mlp", "embed"))

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        return dense(jax.nn.silu(dense(x_BLD, self.gate)) * dense(x_BLD, self.up), self.down)


class Block(nnx.Module):
    """Pre-norm residual block; dropout on what attention and MLP add to the residual."""

    def __init__(self, config: ModelSpec, rngs: nnx.Rngs):
        self.config = config
        self.attention_norm = RMSNorm(config.embed_dim, "embed")
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm(config.embed_dim, "embed")
        self.mlp = MLP(config, rngs)

    def __call__(
        self,
        x_BLD: jax.Array,
        layer: Any,
        positions: LayerPositions,
        context: BlockContext,
        mask: Mask,
        cache: LayerCache | None,
    ) -> tuple[jax.Array, CachedKeys | None]:
        """See `Attention.__call__`."""
        attention_key, mlp_key = block_keys(context.dropout_key, layer)
        attended, updated = self.attention(
            self.attention_norm(x_BLD), positions, context, mask, cache
        )
        rate, rows_B = self.config.dropout, context.rows_B
        x_BLD = constrain_activations(x_BLD + dropout(attended, rate, attention_key, rows_B))
        added = self.mlp(self.mlp_norm(x_BLD))
        return constrain_activations(x_BLD + dropout(added, rate, mlp_key, rows_B)), updated


def block_keys(key: jax.Array | None, layer: Any) -> tuple[jax.Array | None, jax.Array | None]:
    """Keys of a block's two dropouts; number 0 of `key` is the embedding's."""
    if key is None:
        return None, None
    return jax.random.fold_in(key, 2 * layer + 1), jax.random.fold_in(key, 2 * layer + 2)
