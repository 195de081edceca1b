"""Pure functions of the decoder, for compiled steps.

Parameters are a plain nested dict of arrays: calling a compiled function of one costs far less than
nnx.jit.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
from flax import nnx

from lengthwise.common.errors import UserError
from lengthwise.model.attention.masks import Mask
from lengthwise.model.cache import KVCache
from lengthwise.model.decoder import PENALTY_KEY, Decoder
from lengthwise.model.positions.rope_scaling import RopeScaling, check_on_top
from lengthwise.model.spec import ModelSpec
from lengthwise.model.token_losses import project, token_losses, token_scores

# Nested dict of float32 arrays. Leaves under "blocks" are [layers, ...], those under "positions"
# and the name of a scheme [layers with the scheme, ...] where each layer has its own.
Params = dict[str, Any]
Tables = dict[str, Any]  # by scheme: its host tables, operands of whatever is compiled


@cache
def _abstract(config: ModelSpec) -> Decoder:
    return nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))


def init_params(config: ModelSpec, seed: int | jax.Array) -> Params:
    """Initial parameters, float32; a pure function that may be compiled (seed may be traced)."""
    decoder = Decoder(config, nnx.Rngs(params=jax.random.key(seed)))
    return nnx.to_pure_dict(nnx.state(decoder, nnx.Param))


def position_penalty(config: ModelSpec, params: Params, key: jax.Array, length: int) -> Any:
    """Auxiliary loss of the position schemes in a training step, in nats/token; 0 without one.

    key: of the step; length: of its sequences.
    """
    own_key = jax.random.fold_in(key, PENALTY_KEY)
    learned = params.get("positions", {})
    added = [s.penalty(learned.get(config.key_of(s), {}), own_key, length) for s in config.schemes]
    return sum(x for x in added if x is not None)


def position_tables(
    config: ModelSpec, scaling: RopeScaling, trained: RopeScaling, length: int
) -> Tables:
    """Host tables of the position schemes by name, see `Scheme.tables`; beside them "log_n",
    1 / ln log_n, where queries are scaled by it.

    scaling comes on top of `trained`, that on top of model.rope_scaling.

    Raises:
      UserError: a scaling of RoPE for a decoder without RoPE, or one that the model's own leaves
        no meaning.
    """
    for added in (trained, scaling):
        check_on_top(config.rope_scaling, added)
    turns = scaling.kind != "none" or scaling.far is not None
    if turns and not any(s.scalable for s in config.schemes):
        raise UserError(
            f"rope scaling {scaling.kind!r} has no meaning for the position scheme "
            f"{config.position_scheme!r}; leave it 'none'"
        )
    made = {
        config.key_of(s): s.tables(config.dims, scaling, trained, length) for s in config.schemes
    }
    if log_n := scaling.log_n or trained.log_n:
        made["log_n"] = np.float32(1 / math.log(log_n))
    return {name: tables for name, tables in made.items() if tables is not None}


def apply(config: ModelSpec, params: Params, inputs_BL: jax.Array, **context: Any) -> jax.Array:
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
    config: ModelSpec,
    params: Params,
    inputs_BL: jax.Array,
    targets_BL: jax.Array,
    **context: Any,
) -> tuple[jax.Array, jax.Array]:
    """NLL of each target in nats and the log-partition of its logits, float32 [B, L]; see `apply`.

    All logits never exist at a time, see `model.token_losses`.
    """
    return _of_targets(token_losses, config, params, inputs_BL, targets_BL, context)


def target_scores(
    config: ModelSpec,
    params: Params,
    inputs_BL: jax.Array,
    targets_BL: jax.Array,
    **context: Any,
) -> tuple[jax.Array, jax.Array]:
    """Nats of each target, float32 [B, L], and whether it is the likeliest token, bool [B, L].

    See `target_losses`. With the keyword `last` of `Decoder.__call__` the targets are those of the
    last tokens, [B, last], and so are the results.
    """
    return _of_targets(token_scores, config, params, inputs_BL, targets_BL, context)


def _of_targets(
    by_token: Callable[..., tuple[jax.Array, jax.Array]],
    config: ModelSpec,
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
    config: ModelSpec,
    params: Params,
    inputs_BQ: jax.Array,
    cache: KVCache,
    first_B: jax.Array,
    *,
    tables: Tables,
    mask: Mask,
    count_B: jax.Array | None = None,
) -> tuple[jax.Array, tuple[jax.Array, int], KVCache]:
    """A pass over the next Q tokens of rows; see `Decoder.extend`.

    Returns hidden states [B, Q, D], (output projection, its vocabulary axis), and the cache with
    the tokens in it. Donate the cache to the compiled function that calls this
    (`donate_argnums`), or it is copied.
    """
    # There is no backward pass to recompute for.
    config = dataclasses.replace(config, remat="none")
    decoder = nnx.merge(nnx.graphdef(_abstract(config)), params)
    x_BQD, cache = decoder.extend(
        inputs_BQ, cache, first_B, tables=tables, mask=mask, count_B=count_B
    )
    return x_BQD, decoder.unembedding_weight(), cache


def logical_axes(config: ModelSpec) -> dict[str, Any]:
    """Logical names of the parameters' dimensions; tuples in a tree like the parameters.

    Names: "layers", "embed", "heads" and "kv_heads" (heads and their channels, merged), "mlp",
    "vocab", and None for a dimension that is never split.
    """
    flat = nnx.to_flat_state(nnx.state(_abstract(config), nnx.Param))
    stacked = {("positions", config.key_of(s)) for s in config.layer_schemes if s.per_layer}
    axes = {
        path: (("layers",) if path[0] == "blocks" or path[:2] in stacked else ())
        + variable.get_metadata("axes")
        for path, variable in flat
    }
    return nnx.traversals.unflatten_mapping(axes)
