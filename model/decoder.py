"""The decoder: parameters, forward passes over whole rows, and over next tokens with a KV cache.

Block parameters are stacked, [layers, ...], whatever the pattern of position schemes. Parameters of
a scheme lie apart from them, under `positions`, stacked over the layers that have it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lengthwise.model.attention.masks import Mask
from lengthwise.model.cache import KVCache, constrain_cache
from lengthwise.model.layers.block import (
    Block,
    BlockContext,
    CacheSlots,
    dropout,
)
from lengthwise.model.layers.norms import normalized, residual_norm
from lengthwise.model.layers.projections import normal_param
from lengthwise.model.layers.smearing import follows, follows_in_row
from lengthwise.model.layers.stack import run_layers
from lengthwise.model.parallel.mesh import constrain_activations, row_devices
from lengthwise.model.parallel.sharding import lookup
from lengthwise.model.positions.scheme import Scheme
from lengthwise.model.spec import ModelSpec

# Numbers of a step's keys; small ones are those of dropout, 2**32 - 1 that of sampled positions.
INPUT_SCHEME_KEY, PENALTY_KEY = 2**32 - 2, 2**32 - 3


class PositionParams(nnx.Module):
    """Parameters of a position scheme: at the input, or in one layer."""

    def __init__(self, config: ModelSpec, scheme: Scheme, rngs: nnx.Rngs):
        for name, parameter in scheme.parameters(config.dims).items():
            values = parameter.init(rngs.params(), parameter.shape)
            setattr(self, name, nnx.Param(values, axes=parameter.axes))


class Decoder(nnx.Module):
    """Embedding, blocks, final norm, projection to the vocabulary."""

    def __init__(self, config: ModelSpec, rngs: nnx.Rngs):
        D, V = config.embed_dim, config.embedding_rows
        self.config = config
        self.embedding = normal_param(rngs, (V, D), D**-0.5, ("vocab", "embed"))
        stacked = nnx.vmap(lambda layer_rngs: Block(config, layer_rngs))
        self.blocks = nnx.split_rngs(splits=config.layers)(stacked)(rngs)
        self.embedding_norm = residual_norm(config) if config.embedding_norm else None
        self.final_norm = residual_norm(config)
        if not config.tie_embeddings:
            self.unembedding = normal_param(rngs, (D, V), D**-0.5, ("embed", "vocab"))
        learned = [scheme for scheme in config.schemes if scheme.parameters(config.dims)]
        if learned:
            self.positions = nnx.Dict(
                {config.key_of(s): _position_params(config, s, rngs) for s in learned}
            )

    def __call__(
        self,
        inputs_BL: jax.Array,
        *,
        positions_BL: jax.Array,
        segment_ids_BL: jax.Array | None,
        tables: dict[str, Any],
        mask: Mask,
        key: jax.Array | None,
        rows_B: jax.Array | None = None,
        last: int = 0,
    ) -> jax.Array:
        """Hidden states after the final norm, [B, L, D].

        Args:
          inputs_BL: int32 token ids.
          positions_BL: int32, what the position schemes see; masks go by index and segment. May be
            [1, L], the same in all rows, which makes a cheaper program.
          segment_ids_BL: int32, 0 for padding; None: each row is one document without padding,
            which makes a cheaper program.
          tables: see `transformer.position_tables`.
          key: of a training step, for dropout and what schemes sample; None: nothing is random.
          rows_B: int32, numbers of the rows in the batch of the step, which dropout goes by; None:
            all rows are here, in order.
          last: tokens of the rows' ends whose states are returned, [B, last, D]; 0: all. No
            devices share the rows then.
        """
        learned = self._learned()
        embedding_key = None if key is None else jax.random.fold_in(key, 0)
        x_BLD = self._embed(
            learned, tables, inputs_BL, inputs_BL, positions_BL, segment_ids_BL, key
        )
        rows_B = jnp.arange(inputs_BL.shape[0]) if rows_B is None else rows_B
        x_BLD = constrain_activations(dropout(x_BLD, self.config.dropout, embedding_key, rows_B))
        length, smeared = inputs_BL.shape[1], self.config.smeared_keys
        context = self._context(learned, tables, positions_BL, length)
        context = context._replace(
            segment_ids_BL=segment_ids_BL,
            dropout_key=key,
            rows_B=rows_B,
            follows_BL=follows_in_row(mask, length, segment_ids_BL) if smeared else None,
            backend=self._backend(tables, length, mask, segment_ids_BL is not None),
        )
        x_BLD, _ = run_layers(self.config, self.blocks, learned, x_BLD, context, mask, (), last)
        return self._outputs(x_BLD)

    def extend(
        self,
        inputs_BQ: jax.Array,
        cache: KVCache,
        first_B: jax.Array,
        *,
        tables: dict[str, Any],
        mask: Mask,
        count_B: jax.Array | None,
    ) -> tuple[jax.Array, KVCache]:
        """Hidden states after the final norm of the next Q tokens, [B, Q, D], and the cache with
        them in it.

        Args:
          first_B: int32 [B], or [1] for all rows: the slot of the first of the tokens. The slots
            before it are filled, and first_B + Q is at most the capacity, which a compiled
            function can't check.
          tables: of the longest row, see `transformer.position_tables`.
          count_B: int32, tokens of each row, where some of the next ones may be padding.
        """
        learned = self._learned()
        index_BQ = first_B[:, None] + jnp.arange(inputs_BQ.shape[1])[None]
        row_B1 = jnp.arange(cache.positions_BS.shape[0])[:, None]
        positions_BQ = cache.positions_BS[row_B1, index_BQ]
        read_BQ = inputs_BQ
        if cache.inputs_BS is not None:
            assert self.config.input_scheme is not None
            lookback = self.config.input_scheme.lookback
            all_B1 = jnp.arange(cache.rows)[:, None]
            inputs_BS = cache.inputs_BS.at[all_B1, index_BQ + lookback].set(inputs_BQ)
            before_BW = first_B[:, None] + jnp.arange(lookback)[None]
            read_BQ = jnp.concatenate([inputs_BS[all_B1, before_BW], inputs_BQ], axis=1)
            cache = dataclasses.replace(cache, inputs_BS=inputs_BS)
        x_BQD = self._embed(learned, tables, inputs_BQ, read_BQ, positions_BQ, None, None)
        context = self._context(learned, tables, positions_BQ, cache.capacity)
        context = context._replace(
            follows_BL=follows(mask, index_BQ) if self.config.smeared_keys else None,
            slots=CacheSlots(first_B, cache.positions_BS, count_B),
        )
        x_BQD, layers = run_layers(
            self.config,
            self.blocks,
            learned,
            constrain_activations(x_BQD),
            context,
            mask,
            cache.layers,
        )
        cache = dataclasses.replace(cache, layers=layers)
        return self._outputs(x_BQD), constrain_cache(cache)

    def _outputs(self, x_BLD: jax.Array) -> jax.Array:
        """What is projected to the vocabulary."""
        x_BLD = self.final_norm(x_BLD)
        scale = self.config.logit_scale
        return x_BLD if scale == 1 else x_BLD * scale

    def _learned(self) -> dict[str, Any]:
        """Parameters of the position schemes, by name of the scheme."""
        return nnx.to_pure_dict(nnx.state(self.positions)) if hasattr(self, "positions") else {}

    def _embed(
        self,
        learned: dict[str, Any],
        tables: dict[str, Any],
        inputs_BL: jax.Array,
        read_BL: jax.Array,
        positions_BL: jax.Array,
        segment_ids_BL: jax.Array | None,
        key: jax.Array | None,
    ) -> jax.Array:
        """Embeddings of the inputs, [B, L, D]. read_BL: the inputs, preceded by those that the
        scheme looks back to."""
        axes = self.embedding.get_metadata("axes")
        x_BLD = lookup(self.embedding[...], inputs_BL, axes, self.config.compute_dtype)
        if self.config.embedding_scale != 1:
            x_BLD = x_BLD * self.config.embedding_scale
        x_BLD = normalized(self.embedding_norm, x_BLD)
        scheme = self.config.input_scheme
        if scheme is None:
            return x_BLD
        added_BLD = scheme.embed(
            learned.get(self.config.key_of(scheme), {}),
            tables.get(self.config.key_of(scheme)),
            read_BL,
            positions_BL,
            segment_ids_BL,
            None if key is None else jax.random.fold_in(key, INPUT_SCHEME_KEY),
        )
        return (x_BLD + added_BLD[:, -inputs_BL.shape[1] :]).astype(x_BLD.dtype)

    def _context(
        self, learned: dict[str, Any], tables: dict[str, Any], positions_BL: jax.Array, length: int
    ) -> BlockContext:
        """Block inputs that depend on positions; length: of the longest row."""
        span = self.config.span(length)
        keys = {self.config.key_of(s): s for s in dict.fromkeys(self.config.layer_schemes)}
        shared = {
            key: s.prepare(
                {} if s.per_layer else learned.get(key, {}), tables.get(key), positions_BL, span
            )
            for key, s in keys.items()
        }
        scale_BL = None if "log_n" not in tables else _query_scale(positions_BL, tables["log_n"])
        rows_B = jnp.arange(positions_BL.shape[0])
        return BlockContext(positions_BL, scale_BL, None, shared, None, None, rows_B, None, None)

    def _backend(self, tables: dict[str, Any], length: int, mask: Mask, segmented: bool) -> str:
        """The attention backend of all layers, for rows of `length` tokens."""
        config = self.config
        if config.attention != "auto":
            return config.attention
        far = any(s.has_far_field(tables.get(config.key_of(s))) for s in config.layer_schemes)
        return config.backend(length, mask, far, segmented, row_devices())[0]

    def unembedding_weight(self) -> tuple[jax.Array, int]:
        """(the output projection, its vocabulary axis)."""
        return (
            (self.embedding[...], 0) if self.config.tie_embeddings else (self.unembedding[...], 1)
        )


def _position_params(config: ModelSpec, scheme: Scheme, rngs: nnx.Rngs) -> PositionParams:
    """Parameters of a scheme, where they are per layer stacked over the layers that have it."""
    if not config.learns_per_layer(scheme):
        return PositionParams(config, scheme, rngs)
    stacked = nnx.vmap(lambda layer_rngs: PositionParams(config, scheme, layer_rngs))
    return nnx.split_rngs(splits=config.scheme_layers(scheme))(stacked)(rngs)


def _query_scale(positions_BL: jax.Array, inverse_log: jax.Array) -> jax.Array:
    """max(1, ln n / ln log_n) of each token, the n-th of its document; float32 [B, L]."""
    return jnp.maximum(1.0, jnp.log(positions_BL.astype(jnp.float32) + 1.0) * inverse_log)
