"""KV cache of a decoder: layout, capacity, sharding, and the models that can't have one.

A row's token i has its keys in slot i, whatever the lengths of other rows: the causal mask hides
slots behind a row's last token until they are written. Layers that see a window or a chunk alone
keep its last tokens, and sinks, where it is known how many tokens a pass has: see `Ring`.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lengthwise.model.attention.backends.cached import CachedKeys
from lengthwise.model.attention.backends.ring import ring_slots
from lengthwise.model.attention.masks import CAUSAL, Mask
from lengthwise.model.parallel.mesh import ROWS, current_mesh
from lengthwise.model.positions.scheme import LayerScheme
from lengthwise.model.spec import ModelSpec

_NO_TOKEN = -1  # stands before the first token of a row


@flax.struct.dataclass
class KVCache:
    """Keys, values and positions of up to S tokens a row.

    By layer of a period of the layer pattern: the k-th has those of the k-th layer of each period.
    """

    layers: tuple[CachedKeys, ...]  # arrays [periods, B, K, S, C], or with fewer slots
    positions_BS: jax.Array  # int32 [B or 1, S]: what the position schemes see in each slot
    # Ids, int32 [B, lookback + S]; None where no scheme reads a token's neighbours.
    inputs_BS: jax.Array | None

    @property
    def capacity(self) -> int:
        return self.positions_BS.shape[1]

    @property
    def rows(self) -> int:
        return self.layers[0].k.shape[1]


def cache_refusal(config: ModelSpec, mask: Mask) -> str | None:
    """Why a model can't run on chunks of a row over a cache, in words; None: it can."""
    if mask.prefix:
        return f"under the mask {mask} tokens see later ones, which are not there yet"
    if config.attention_weights != "softmax":
        return (
            f"the weights of model.attention_weights={config.attention_weights!r} are made of "
            "whole rows of scores"
        )
    return None


def cache_capacity(config: ModelSpec, length: int) -> int:
    """Smallest capacity in tokens for rows of `length` tokens."""
    block = config.cache_block
    return length if length <= block else -(-length // block) * block


def empty_cache(
    config: ModelSpec,
    tables: dict[str, Any],
    batch: int,
    positions_BS: jax.Array,
    mask: Mask = CAUSAL,
    step: int = 0,
) -> KVCache:
    """A new cache for rows of up to S tokens, to be called inside a compiled function.

    Args:
      tables: see `transformer.position_tables`; of the longest row.
      positions_BS: int32 [B or 1, S], what schemes see: best arange(S). S: see `cache_capacity`.
      mask: of the passes.
      step: tokens of a pass, at most, and by how many it begins before the end of the tokens so
        far; 0: unknown, so that no layer forgets.

    Raises ValueError for an S that blocks don't divide.
    """
    S = positions_BS.shape[1]
    if cache_capacity(config, S) != S:
        raise ValueError(f"a capacity of {S} tokens is no multiple of {config.cache_block}")
    masks = config.layer_masks(mask)
    lookback = 0 if config.input_scheme is None else config.input_scheme.lookback

    def layer(place: int) -> CachedKeys:
        scheme = config.layer_schemes[place]
        slots = S
        if scheme.bias != "context":  # which counts all keys back from the query
            slots = ring_slots(masks[place], S, step, config.cache_block)
        return jax.tree.map(
            lambda one: jnp.zeros(
                (config.layers_at(place), batch, one.shape[2], slots, one.shape[3]), one.dtype
            ),
            _one_token(config, scheme, tables.get(config.key_of(scheme))),
        )

    inputs_BS = jnp.full((batch, lookback + S), _NO_TOKEN, jnp.int32) if lookback else None
    cache = KVCache(tuple(map(layer, range(len(config.layer_schemes)))), positions_BS, inputs_BS)
    return constrain_cache(cache)


def constrain_cache(cache: KVCache) -> KVCache:
    """Constrains a cache to `cache_shardings` on the mesh that is being traced over."""
    mesh = current_mesh()
    if mesh is None or mesh.size == 1:
        return cache
    constrained: KVCache = jax.lax.with_sharding_constraint(cache, cache_shardings(cache, mesh))
    return constrained


def cache_shardings(cache: KVCache, mesh: Mesh) -> Any:
    """Shardings of the arrays of a cache: rows as those of a batch, key/value heads on "tensor".

    cache: arrays or `jax.ShapeDtypeStruct`; mesh: a view of the devices (train.mesh) on which no
    devices share a row.
    """
    if mesh.shape["context"] > 1:
        raise ValueError("devices share the rows of this view; a cache needs whole rows")

    def keys(x: Any) -> NamedSharding:
        heads = "tensor" if x.shape[2] % mesh.shape["tensor"] == 0 else None
        return NamedSharding(mesh, PartitionSpec(None, ROWS, heads, None, None))

    def rows(x: Any) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(ROWS if x.shape[0] > 1 else None, None))

    layers, *others = jax.tree.map(keys, cache.layers), cache.positions_BS, cache.inputs_BS
    return KVCache(layers, *jax.tree.map(rows, others))


def _one_token(config: ModelSpec, scheme: LayerScheme, tables: Any) -> CachedKeys:
    """Cache entry of one token of one row in one layer, `jax.ShapeDtypeStruct` [1, 1, K, C]."""

    def keys(params: dict[str, jax.Array], q: jax.Array, kv: jax.Array, tables: Any) -> CachedKeys:
        positions_BL = jnp.zeros((1, 1), jnp.int32)
        shared = scheme.prepare(params, tables, positions_BL, config.span(1))
        terms = scheme.terms(params, shared, q, kv)
        far_k_BLKC = None if terms.far is None else terms.far.k_BLKC
        return CachedKeys(terms.k_BLKC, kv, far_k_BLKC, kv if config.smeared_keys else None)

    def of(*shape: int, dtype: Any = config.compute_dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    C = config.head_dim
    params = {n: of(*p.shape, dtype=np.float32) for n, p in scheme.parameters(config.dims).items()}
    entry: CachedKeys = jax.eval_shape(
        keys, params, of(1, 1, config.num_heads, C), of(1, 1, config.num_kv_heads, C), tables
    )
    return entry
