"""The decoder, and the pure functions that the compiled steps call.

Block parameters are stacked, [layers, ...]. Running them as a scan or unrolled is a choice of
execution: parameters, checkpoints and results are the same. `init_params` and `apply` work on a
plain nested dict of arrays, since calling a compiled function of one costs far less than nnx.jit.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from model.config import ModelConfig
from model.layers import Block, BlockContext, RMSNorm, dropout, normal_param
from model.masks import Mask
from model.positions.rope import RopeTables, rope_angles

Params = dict[str, Any]  # nested dict of float32 arrays; leaves under "blocks" are [layers, ...]


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

    def __call__(
        self,
        inputs_BL: jax.Array,
        *,
        positions_BL: jax.Array,
        segment_ids_BL: jax.Array | None,
        rope: RopeTables,
        mask: Mask,
        dropout_key: jax.Array | None,
    ) -> jax.Array:
        """Logits [B, L, V], float32.

        inputs, positions, segment_ids: int32 [B, L]. segment_ids None: each row is one document
        without padding, which makes a cheaper program. dropout_key None: no dropout.
        """
        config = self.config
        embedding_key = None if dropout_key is None else jax.random.fold_in(dropout_key, 0)
        x_BLD = self.embedding[...].astype(config.compute_dtype)[inputs_BL]
        x_BLD = dropout(x_BLD, config.dropout, embedding_key)
        context = BlockContext(rope_angles(positions_BL, rope), segment_ids_BL, dropout_key)
        x_BLD = self._run_blocks(x_BLD, context, mask)
        return self._logits(self.final_norm(x_BLD))

    def _run_blocks(self, x_BLD: jax.Array, context: BlockContext, mask: Mask) -> jax.Array:
        config = self.config
        graphdef, stacked = nnx.split(self.blocks)

        def run(x_BLD: jax.Array, weights: Any, layer: Any) -> jax.Array:
            return nnx.merge(graphdef, weights)(x_BLD, layer, context, mask)

        if config.remat == "full":
            run = jax.checkpoint(run)
        if config.layer_execution == "scan":
            layers = jnp.arange(config.layers)
            return jax.lax.scan(lambda x, wl: (run(x, *wl), None), x_BLD, (stacked, layers))[0]
        for layer, weights in enumerate(_unstack(stacked, config.layers)):
            x_BLD = run(x_BLD, weights, layer)
        return x_BLD

    def _logits(self, x_BLD: jax.Array) -> jax.Array:
        if self.config.tie_embeddings:
            weight, contracting = self.embedding[...], 1
        else:
            weight, contracting = self.unembedding[...], 0
        flat_ND = x_BLD.reshape(-1, x_BLD.shape[-1])
        logits_NV = jax.lax.dot_general(
            flat_ND,
            weight.astype(x_BLD.dtype),
            (((1,), (contracting,)), ((), ())),
            preferred_element_type=jnp.float32,
        )
        logits_BLV = logits_NV.reshape(*x_BLD.shape[:2], -1)
        cap = self.config.logit_softcap
        return logits_BLV if cap is None else cap * jnp.tanh(logits_BLV / cap)


def _unstack(stacked: Any, layers: int) -> list[Any]:
    """One tree a layer. The gradient of a split is a concatenation; that of indexing would be a
    sum of zero-padded stacks, a pass over all parameters for each layer."""
    leaves, structure = jax.tree.flatten(stacked)
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


def apply(
    config: ModelConfig,
    params: Params,
    inputs_BL: jax.Array,
    *,
    positions_BL: jax.Array,
    segment_ids_BL: jax.Array | None,
    rope: RopeTables,
    mask: Mask,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """Logits [B, L, V], float32: `Decoder.__call__` as a pure function of the parameters.

    `config` may differ in its execution fields from the one that made the parameters.
    """
    decoder = nnx.merge(nnx.graphdef(_abstract(config)), params)
    return decoder(
        inputs_BL,
        positions_BL=positions_BL,
        segment_ids_BL=segment_ids_BL,
        rope=rope,
        mask=mask,
        dropout_key=dropout_key,
    )


def logical_axes(config: ModelConfig) -> dict[str, Any]:
    """The logical name of each parameter's dimensions; tuples in a tree like the parameters.

    Names: "layers", "embed", "heads" and "kv_heads" (heads and their channels, merged), "mlp",
    "vocab", and None for a dimension that is never split.
    """
    flat = nnx.to_flat_state(nnx.state(_abstract(config), nnx.Param))
    axes = {
        path: (("layers",) if path[0] == "blocks" else ()) + variable.get_metadata("axes")
        for path, variable in flat
    }
    return nnx.traversals.unflatten_mapping(axes)
