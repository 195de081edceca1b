"""The layers of a decoder: a scan over periods of the layer pattern, or unrolled, and
rematerialization.

Both are choices of execution: parameters, checkpoints and results are the same.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from lengthwise.model.attention.backends.cached import CachedKeys
from lengthwise.model.attention.masks import Mask
from lengthwise.model.layers.block import Block, BlockContext, LayerCache, LayerPositions
from lengthwise.model.parallel.mesh import program_devices
from lengthwise.model.parallel.sharding import save_all_but_gathered
from lengthwise.model.spec import ModelSpec

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


def run_layers(
    config: ModelSpec,
    blocks: Block,
    learned: dict[str, Any],
    x_BLD: jax.Array,
    context: BlockContext,
    mask: Mask,
    caches: tuple[CachedKeys, ...],
    last: int = 0,
) -> tuple[jax.Array, tuple[CachedKeys, ...]]:
    """Output of the last layer, [B, L, D], and the caches with the tokens written to them.

    Args:
      blocks: of all layers, parameters stacked, [layers, ...].
      learned: by key of the scheme, its parameters.
      caches: of each layer of a period; (): there are none.
      last: tokens of the rows' ends whose output is needed; 0: all. The last layer computes it for
        them alone.
    """
    pattern = config.layer_schemes
    graphdef, stacked = nnx.split(blocks)
    masks = config.layer_masks(mask)
    keys = [config.key_of(scheme) for scheme in pattern]
    per_layer = {key for key, s in zip(keys, pattern, strict=True) if s.per_layer}
    own = {key: learned[key] for key in keys if key in per_layer and key in learned}

    def block(
        place: int,
        last: int,
        x_BLD: jax.Array,
        weights: Any,
        own: dict[str, Any],
        layer: Any,
        cache: LayerCache | None,
    ) -> tuple[jax.Array, CachedKeys | None]:
        positions = LayerPositions(pattern[place], keys[place], own)
        x_BLD = checkpoint_name(x_BLD, _BLOCK_INPUT)
        return nnx.merge(graphdef, weights)(
            x_BLD, layer, positions, context, masks[place], cache, last
        )

    if config.remat != "none" or program_devices() > 1:
        block = jax.checkpoint(
            block,
            static_argnums=(0, 1),
            policy=_REMAT[config.remat],
            # A scan keeps the two passes apart by itself.
            prevent_cse=config.layer_execution != "scan",
        )

    def run(state: tuple, stacked: Any, own: dict[str, Any], first: Any, last: int = 0) -> tuple:
        """Runs consecutive layers with stacked parameters, from the number `first` on, at which
        a period of the pattern begins. last: tokens that the last of them computes; 0: all."""
        x_BLD, caches = state
        caches = list(caches)
        rows = {name: iter(_unstack(params)) for name, params in own.items()}
        layers = _unstack(stacked)
        for number, weights in enumerate(layers):
            period, place = divmod(number, len(pattern))
            params = next(rows[keys[place]]) if keys[place] in rows else {}
            period += first // len(pattern)
            cache = LayerCache(caches[place], period) if caches else None
            of_ends = last if number == len(layers) - 1 else 0
            x_BLD, updated = block(place, of_ends, x_BLD, weights, params, first + number, cache)
            if caches:
                caches[place] = updated
        return x_BLD, tuple(caches)

    if config.layer_execution == "unroll":
        return run((x_BLD, caches), stacked, own, 0, last)
    state = (x_BLD, caches)
    # The last layer is another program where it computes the ends alone, and stays out of the scan.
    periods = (config.layers - (last > 0)) // len(pattern)
    whole, rest = _split_stacks((stacked, own), periods, config.layers, keys)
    if periods:
        by_period = jax.tree.map(lambda x: x.reshape(periods, -1, *x.shape[1:]), whole)
        xs = (*by_period, len(pattern) * jnp.arange(periods))
        state, _ = jax.lax.scan(lambda state, xs: (run(state, *xs), None), state, xs)
    if rest is None:
        return state
    return run(state, rest[0], rest[1], periods * len(pattern), last)


def _split_stacks(
    stacks: tuple[Any, dict[str, Any]], periods: int, layers: int, keys: list[str]
) -> tuple[Any, Any]:
    """Stacked parameters of the first periods, and those of the layers after them; None: there
    are none."""
    if periods * len(keys) == layers:
        return stacks, None
    stacked, own = stacks

    def parts(tree: Any, count: int) -> tuple[Any, Any]:
        """The first `count` of each stack, and the rest."""
        leaves, structure = jax.tree.flatten(tree)
        split = [jax.lax.split(leaf, (count, leaf.shape[0] - count)) for leaf in leaves]
        first, rest = zip(*split, strict=True) if split else ((), ())
        return jax.tree.unflatten(structure, first), jax.tree.unflatten(structure, rest)

    whole, rest = parts(stacked, periods * len(keys))
    by_key = {key: parts(tree, periods * keys.count(key)) for key, tree in own.items()}
    return (
        (whole, {key: first for key, (first, _) in by_key.items()}),
        (rest, {key: after for key, (_, after) in by_key.items()}),
    )


def _unstack(stacked: Any) -> list[Any]:
    """Splits stacked parameters into one tree a layer.

    The gradient of a split is a concatenation; that of indexing would be a sum of zero-padded
    stacks, a pass over all parameters for each layer.
    """
    leaves, structure = jax.tree.flatten(stacked)
    layers = leaves[0].shape[0]
    split = [jax.lax.split(leaf, (1,) * layers) for leaf in leaves]
    return [
        jax.tree.unflatten(structure, [jnp.squeeze(part[layer], 0) for part in split])
        for layer in range(layers)
    ]
