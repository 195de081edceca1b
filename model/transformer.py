"""The decoder, and the pure functions that the compiled steps call.

Block parameters are stacked, [layers, ...], whatever the pattern of position schemes; what a scheme
learns lies beside them, stacked over the layers that have it. Running the layers as a scan over
periods of the pattern or unrolled is a choice of execution: parameters, checkpoints and results
are the same. `init_params` and `apply` work on a
plain nested dict of arrays, since calling a compiled function of one costs far less than nnx.jit.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from errors import UserError
from model.backends.cached import CachedKeys
from model.backends.mesh import activations, devices_of_a_program
from model.cache import KVCache, held_on_devices
from model.config import ModelConfig
from model.layers import (
    Block,
    BlockContext,
    CachePlaces,
    LayerCache,
    LayerPositions,
    RMSNorm,
    dropout,
    normal_param,
)
from model.masks import Mask
from model.positions.rope_scaling import RopeScaling
from model.positions.scheme import LayerScheme, Scheme
from model.sharding import lookup, save_all_but_gathered
from model.token_losses import project, token_losses, token_scores

# Nested dict of float32 arrays. Leaves under "blocks" are [layers, ...], those under "positions"
# and the name of a scheme [layers with the scheme, ...] where each layer has its own.
Params = dict[str, Any]
# Numbers of a step's keys; small ones are those of dropout, 2**32 - 1 that of drawn positions.
_INPUT_SCHEME, _PENALTY = 2**32 - 2, 2**32 - 3
_BLOCK_INPUT = "block_input"
_REMAT = {
    "none": save_all_but_gathered,
    "dots": jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims,
    "full": jax.checkpoint_policies.nothing_saveable,
    "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[_BLOCK_INPUT],
        offload_src="device",
        offload_dst="pinned_host",
    ),
}
Tables = dict[str, Any]  # by scheme: its host tables, operands of whatever is compiled


class PositionParams(nnx.Module):
    """What a scheme learns: at the input, or in one layer."""

    def __init__(self, config: ModelConfig, scheme: Scheme, rngs: nnx.Rngs):
        for name, parameter in scheme.parameters(config.dims).items():
            values = parameter.init(rngs.params(), parameter.shape)
            setattr(self, name, nnx.Param(values, axes=parameter.axes))


class Decoder(nnx.Module):
    """Pre-norm decoder: embedding, blocks, final RMSNorm, projection to the vocabulary."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        D, V = config.embed_dim, config.vocab_size
        self.config = config
        self.embedding = normal_param(rngs, (V, D), D**-0.5, ("vocab", "embed"))
        stacked = nnx.vmap(lambda layer_rngs: Block(config, layer_rngs))
        self.blocks = nnx.split_rngs(splits=config.layers)(stacked)(rngs)
        self.final_norm = RMSNorm(D, "embed")
        if not config.tie_embeddings:
            self.unembedding = normal_param(rngs, (D, V), D**-0.5, ("embed", "vocab"))
        learned = [scheme for scheme in config.schemes if scheme.parameters(config.dims)]
        if learned:
            self.positions = nnx.Dict({s.name: _position_params(config, s, rngs) for s in learned})

    def __call__(
        self,
        inputs_BL: jax.Array,
        *,
        positions_BL: jax.Array,
        segment_ids_BL: jax.Array | None,
        tables: Tables,
        mask: Mask,
        key: jax.Array | None,
    ) -> jax.Array:
        """What is projected to the vocabulary, [B, L, D].

        inputs, positions, segment_ids: int32 [B, L]. positions may be [1, L], the same in all
        rows, and segment_ids None, each row one document without padding; both make a cheaper
        program. Positions are what the schemes see; masks go by index and segment. tables: see
        `position_tables`. key: of a training step, for dropout and what schemes draw; None:
        neither is random.
        """
        learned = self._learned()
        embedding_key = None if key is None else jax.random.fold_in(key, 0)
        x_BLD = self._embed(
            learned, tables, inputs_BL, inputs_BL, positions_BL, segment_ids_BL, key
        )
        x_BLD = activations(dropout(x_BLD, self.config.dropout, embedding_key))
        context = self._context(learned, tables, positions_BL, inputs_BL.shape[1])
        context = context._replace(segment_ids_BL=segment_ids_BL, dropout_key=key)
        x_BLD, _ = self._run_blocks(x_BLD, learned, context, mask, ())
        return self.final_norm(x_BLD)

    def extend(
        self,
        inputs_BQ: jax.Array,
        cache: KVCache,
        first_B: jax.Array,
        *,
        tables: Tables,
        mask: Mask,
    ) -> tuple[jax.Array, KVCache]:
        """What is projected to the vocabulary, [B, Q, D], of the next tokens of rows, and the cache
        with them in it.

        first_B: int32 [B], or [1] for all rows: the places of the first of them; those before them
        are filled, and first_B + Q is at most the capacity, which a compiled function can't check.
        tables: of the longest row, see `position_tables`.
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
        context = context._replace(places=CachePlaces(first_B, cache.positions_BS))
        x_BQD, layers = self._run_blocks(activations(x_BQD), learned, context, mask, cache.layers)
        cache = dataclasses.replace(cache, layers=layers)
        return self.final_norm(x_BQD), held_on_devices(cache)

    def _learned(self) -> dict[str, Any]:
        """By scheme, what it has learned."""
        return nnx.to_pure_dict(nnx.state(self.positions)) if hasattr(self, "positions") else {}

    def _embed(
        self,
        learned: dict[str, Any],
        tables: Tables,
        inputs_BL: jax.Array,
        read_BL: jax.Array,
        positions_BL: jax.Array,
        segment_ids_BL: jax.Array | None,
        key: jax.Array | None,
    ) -> jax.Array:
        """Embeddings of the inputs, [B, L, D]. read: the inputs, and before them those that a
        scheme looks back to."""
        axes = self.embedding.get_metadata("axes")
        x_BLD = lookup(self.embedding[...], inputs_BL, axes, self.config.compute_dtype)
        scheme = self.config.input_scheme
        if scheme is None:
            return x_BLD
        added_BLD = scheme.embed(
            learned.get(scheme.name, {}),
            tables.get(scheme.name),
            read_BL,
            positions_BL,
            segment_ids_BL,
            None if key is None else jax.random.fold_in(key, _INPUT_SCHEME),
        )
        return (x_BLD + added_BLD[:, -inputs_BL.shape[1] :]).astype(x_BLD.dtype)

    def _context(
        self, learned: dict[str, Any], tables: Tables, positions_BL: jax.Array, length: int
    ) -> BlockContext:
        """What blocks get to know about positions; length: of the longest row."""
        span = self.config.span(length)
        shared = {
            s.name: s.prepare(
                {} if s.per_layer else learned.get(s.name, {}),
                tables.get(s.name),
                positions_BL,
                span,
            )
            for s in dict.fromkeys(self.config.layer_schemes)
        }
        scale_BL = None if "log_n" not in tables else _query_scale(positions_BL, tables["log_n"])
        return BlockContext(positions_BL, scale_BL, shared, None, None, None)

    def _run_blocks(
        self,
        x_BLD: jax.Array,
        learned: dict[str, Any],
        context: BlockContext,
        mask: Mask,
        held: tuple[CachedKeys, ...],
    ) -> tuple[jax.Array, tuple[CachedKeys, ...]]:
        """held: the cache of each layer of a period; (): there is none."""
        config = self.config
        pattern = config.layer_schemes
        graphdef, blocks = nnx.split(self.blocks)
        own = {s.name: learned[s.name] for s in pattern if s.per_layer and s.name in learned}

        def block(
            scheme: LayerScheme,
            x_BLD: jax.Array,
            weights: Any,
            own: dict[str, Any],
            layer: Any,
            cache: LayerCache | None,
        ) -> tuple[jax.Array, CachedKeys | None]:
            positions = LayerPositions(scheme, own)
            x_BLD = checkpoint_name(x_BLD, _BLOCK_INPUT)
            return nnx.merge(graphdef, weights)(x_BLD, layer, positions, context, mask, cache)

        if config.remat != "none" or devices_of_a_program() > 1:
            block = jax.checkpoint(
                block,
                static_argnums=0,
                policy=_REMAT[config.remat],
                # A scan keeps the two passes apart by itself.
                prevent_cse=config.layer_execution != "scan",
            )

        def run(state: tuple, blocks: Any, own: dict[str, Any], first: Any) -> tuple:
            """The layers whose parameters are given, stacked; `first` is the number of the first,
            at which a period of the pattern begins."""
            x_BLD, held = state
            held = list(held)
            rows = {name: iter(_unstack(stacked)) for name, stacked in own.items()}
            for number, weights in enumerate(_unstack(blocks)):
                period, place = divmod(number, len(pattern))
                scheme = pattern[place]
                params = next(rows[scheme.name]) if scheme.name in rows else {}
                period += first // len(pattern)
                cache = LayerCache(held[place], period) if held else None
                x_BLD, kept = block(scheme, x_BLD, weights, params, first + number, cache)
                if held:
                    held[place] = kept
            return x_BLD, tuple(held)

        if config.layer_execution == "unroll":
            return run((x_BLD, held), blocks, own, 0)
        periods = config.layers // len(pattern)
        by_period = jax.tree.map(lambda x: x.reshape(periods, -1, *x.shape[1:]), (blocks, own))
        firsts = len(pattern) * jnp.arange(periods)
        state: tuple[jax.Array, tuple[CachedKeys, ...]] = jax.lax.scan(
            lambda state, xs: (run(state, *xs), None), (x_BLD, held), (*by_period, firsts)
        )[0]
        return state

    def unembedding_weight(self) -> tuple[jax.Array, int]:
        """What projects to the vocabulary, and which of its axes that is."""
        return (
            (self.embedding[...], 0) if self.config.tie_embeddings else (self.unembedding[...], 1)
        )


def _position_params(config: ModelConfig, scheme: Scheme, rngs: nnx.Rngs) -> PositionParams:
    """What a scheme learns; a layer's own is stacked over the layers that have the scheme."""
    if not config.learns_per_layer(scheme):
        return PositionParams(config, scheme, rngs)
    stacked = nnx.vmap(lambda layer_rngs: PositionParams(config, scheme, layer_rngs))
    return nnx.split_rngs(splits=config.scheme_layers(scheme))(stacked)(rngs)


def _query_scale(positions_BL: jax.Array, inverse_log: jax.Array) -> jax.Array:
    """max(1, ln n / ln log_n) of each token, the n-th of its document; float32 [B, L]."""
    return jnp.maximum(1.0, jnp.log(positions_BL.astype(jnp.float32) + 1.0) * inverse_log)


def _unstack(stacked: Any) -> list[Any]:
    """One tree a layer. The gradient of a split is a concatenation; that of indexing would be a
    sum of zero-padded stacks, a pass over all parameters for each layer."""
    leaves, structure = jax.tree.flatten(stacked)
    layers = leaves[0].shape[0]
    split = [jax.lax.split(leaf, (1,) * layers) for leaf in leaves]
    return [
        jax.tree.unflatten(structure, [jnp.squeeze(part[layer], 0) for part in split])
        for layer in range(layers)
    ]


@cache
def _abstract(config: ModelConfig) -> Decoder:
    return nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))


def init_params(config: ModelConfig, seed: int | jax.Array) -> Params:
    """Initial parameters, float32; a pure function that may be compiled (seed may be traced)."""
    decoder = Decoder(config, nnx.Rngs(params=jax.random.key(seed)))
    return nnx.to_pure_dict(nnx.state(decoder, nnx.Param))


def position_penalty(config: ModelConfig, params: Params, key: jax.Array, length: int) -> Any:
    """What the schemes add to the loss of a training step, in nats/token; 0 where they don't.

    key: of the step; length: of its sequences.
    """
    own_key = jax.random.fold_in(key, _PENALTY)
    learned = params.get("positions", {})
    added = [s.penalty(learned.get(s.name, {}), own_key, length) for s in config.schemes]
    return sum(x for x in added if x is not None)


def position_tables(
    config: ModelConfig, scaling: RopeScaling, trained: RopeScaling, length: int
) -> Tables:
    """The host tables of the decoder's position schemes, see `Scheme.tables`, and "log_n" where
    queries are scaled by it: 1 / ln log_n.

    Raises:
      UserError: a scaling of RoPE for a decoder without RoPE.
    """
    turns = scaling.kind != "none" or scaling.far is not None
    if turns and not any(s.scalable for s in config.schemes):
        raise UserError(
            f"rope scaling {scaling.kind!r} has no meaning for the position scheme "
            f"{config.position_scheme!r}; leave it 'none'"
        )
    made = {s.name: s.tables(config.dims, scaling, trained, length) for s in config.schemes}
    if log_n := scaling.log_n or trained.log_n:
        made["log_n"] = np.float32(1 / math.log(log_n))
    return {name: tables for name, tables in made.items() if tables is not None}


def apply(config: ModelConfig, params: Params, inputs_BL: jax.Array, **context: Any) -> jax.Array:
    """Logits [B, L, V], float32; `context` are the keywords of `Decoder.__call__`.

    `config` may differ in its execution fields from the one that made the parameters.
    """
    decoder = nnx.merge(nnx.graphdef(_abstract(config)), params)
    x_BLD = decoder(inputs_BL, **context)
    x_ND = x_BLD.reshape(-1, x_BLD.shape[-1])
    weight, vocab_axis = decoder.unembedding_weight()
    logits_NV = project(x_ND, weight, vocab_axis, config.logit_softcap)
    return logits_NV.reshape(*x_BLD.shape[:2], -1)


def target_losses(
    config: ModelConfig,
    params: Params,
    inputs_BL: jax.Array,
    targets_BL: jax.Array,
    **context: Any,
) -> tuple[jax.Array, jax.Array]:
    """Nats of each target and the log-partition of its logits, float32 [B, L]; see `apply`.

    All logits never exist at a time, see `model.token_losses`.
    """
    return _of_targets(token_losses, config, params, inputs_BL, targets_BL, context)


def target_scores(
    config: ModelConfig,
    params: Params,
    inputs_BL: jax.Array,
    targets_BL: jax.Array,
    **context: Any,
) -> tuple[jax.Array, jax.Array]:
    """Nats of each target, float32 [B, L], and whether it is the likeliest token, bool [B, L].

    See `target_losses`.
    """
    return _of_targets(token_scores, config, params, inputs_BL, targets_BL, context)


def _of_targets(
    by_token: Callable[..., tuple[jax.Array, jax.Array]],
    config: ModelConfig,
    params: Params,
    inputs_BL: jax.Array,
    targets_BL: jax.Array,
    context: dict[str, Any],
) -> tuple[jax.Array, jax.Array]:
    decoder = nnx.merge(nnx.graphdef(_abstract(config)), params)
    x_BLD = decoder(inputs_BL, **context)
    weight, vocab_axis = decoder.unembedding_weight()
    with jax.named_scope("loss"):
        return by_token(x_BLD, targets_BL, weight, vocab_axis, config.logit_softcap)


def extend(
    config: ModelConfig,
    params: Params,
    inputs_BQ: jax.Array,
    cache: KVCache,
    first_B: jax.Array,
    *,
    tables: Tables,
    mask: Mask,
) -> tuple[jax.Array, tuple[jax.Array, int], KVCache]:
    """A pass over the next tokens of rows; see `Decoder.extend`.

    Returns what is projected to the vocabulary [B, Q, D], what projects it and which of that's axes
    is the vocabulary, and the cache with the tokens in it. Give the cache away to the compiled
    function that calls this (`donate_argnums`), or it is copied.
    """
    # What is recomputed in a backward pass has no meaning here.
    config = dataclasses.replace(config, remat="none")
    decoder = nnx.merge(nnx.graphdef(_abstract(config)), params)
    x_BQD, cache = decoder.extend(inputs_BQ, cache, first_B, tables=tables, mask=mask)
    return x_BQD, decoder.unembedding_weight(), cache


def logical_axes(config: ModelConfig) -> dict[str, Any]:
    """The logical name of each parameter's dimensions; tuples in a tree like the parameters.

    Names: "layers", "embed", "heads" and "kv_heads" (heads and their channels, merged), "mlp",
    "vocab", and None for a dimension that is never split.
    """
    flat = nnx.to_flat_state(nnx.state(_abstract(config), nnx.Param))
    stacked = {("positions", s.name) for s in config.layer_schemes if s.per_layer}
    axes = {
        path: (("layers",) if path[0] == "blocks" or path[:2] in stacked else ())
        + variable.get_metadata("axes")
        for path, variable in flat
    }
    return nnx.traversals.unflatten_mapping(axes)
