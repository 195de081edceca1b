"""Fully sharded parameters (FSDP, arXiv:2304.11277): placement, and matmuls and lookups with them.

A parameter is sharded over the flattened (data, context) axes: a computation gathers it, in the
dtype of the matmuls, and its gradient is reduce-scattered back to the shards.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

from lengthwise.model.parallel.mesh import ROWS, SHARDS, current_mesh

# The one place where logical dims of parameters meet mesh axes. "slice" is in none of them: the
# network between slices carries gradients once a step, and no parameters.
LOGICAL_TO_MESH: Mapping[str | None, tuple[str, ...] | str | None] = {
    None: None,
    "layers": None,
    "vocab": None,
    "embed": SHARDS,
    "heads": "tensor",
    "kv_heads": "tensor",
    "mlp": "tensor",
    "score_heads": "tensor",  # one number a query head, not its channels
}


def parameter_spec(
    axes: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh
) -> PartitionSpec:
    """Sharding of a parameter with logical dims `axes`.

    A dim that its mesh axes don't divide stays whole: small norms and heads are replicated.

    Raises:
      ValueError: two dims of one parameter ask for the same mesh axis, or ranks differ.
    """
    if len(axes) != len(shape):
        raise ValueError(f"logical axes {axes} do not fit the shape {shape}")
    entries: list[tuple[str, ...] | str | None] = []
    used: set[str] = set()
    for name, size in zip(axes, shape, strict=True):
        target = LOGICAL_TO_MESH[name]
        names = (target,) if isinstance(target, str) else (target or ())
        if used & set(names):
            raise ValueError(f"logical axes {axes} use the mesh axis {used & set(names)} twice")
        ways = math.prod(mesh.shape[n] for n in names)
        if ways > 1 and size % ways == 0:
            entries.append(target)
            used |= set(names)
        else:
            entries.append(None)
    return PartitionSpec(*entries)


def matmul(x_BLD: jax.Array, weight: jax.Array, axes: tuple[str | None, ...]) -> jax.Array:
    """x @ weight in x's dtype, [B, L, E]: each device gathers the weight for its own tokens.

    The gradient of the weight is reduce-scattered to its shards. Left to itself, a compiler
    gathers once for every matmul with the weight, and all-reduces whole gradients.

    axes: the logical dims of the weight, [D, E].
    """

    def on_device(x_BLD: jax.Array, part: jax.Array, cut: int | None) -> jax.Array:
        weight = part if cut is None else jax.lax.all_gather(part, SHARDS, axis=cut, tiled=True)
        # Flattened: XLA's CPU backend is 1.5 times faster on a 2-D matmul than on a batched one.
        flat = x_BLD.reshape(-1, x_BLD.shape[-1]) @ weight
        return flat.reshape(*x_BLD.shape[:-1], -1)

    weight = weight.astype(x_BLD.dtype)
    mesh = current_mesh()
    if mesh is None or mesh.size == 1:
        return on_device(x_BLD, weight, None)
    sharded = [entry == SHARDS for entry in parameter_spec(axes, weight.shape, mesh)]
    cut = sharded.index(True) if any(sharded) else None
    tokens = PartitionSpec(ROWS, "context")
    return jax.shard_map(
        functools.partial(on_device, cut=cut),
        mesh=mesh,
        in_specs=(tokens, PartitionSpec(*(SHARDS if s else None for s in sharded))),
        out_specs=tokens,
        axis_names={*ROWS, "context"},
        check_vma=False,
    )(x_BLD, weight)


def lookup(table: jax.Array, ids_BL: jax.Array, axes: tuple[str | None, ...], dtype: Any) -> Any:
    """table[ids] in `dtype`, [B, L, D].

    Devices gather the table, or, where that is more, all ids, and send their channels of each
    token to the device that has its id.

    axes: the logical dims of the table, [V, D].
    """
    table = table.astype(dtype)
    mesh = current_mesh()
    if mesh is None or mesh.size == 1:
        return table[ids_BL]
    V, D = table.shape
    if parameter_spec(axes, table.shape, mesh)[1] != SHARDS:
        return table[ids_BL]

    def on_device(part: jax.Array, ids_BL: jax.Array) -> jax.Array:
        if ids_BL.size >= V:
            return jax.lax.all_gather(part, SHARDS, axis=1, tiled=True)[ids_BL]
        ids_SN = jax.lax.all_gather(ids_BL.reshape(-1), SHARDS)
        channels = jax.lax.all_to_all(part[ids_SN], SHARDS, split_axis=0, concat_axis=0)
        return channels.swapaxes(0, 1).reshape(*ids_BL.shape, D)

    tokens = PartitionSpec(ROWS, "context")
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(PartitionSpec(None, SHARDS), tokens),
        out_specs=tokens,
        axis_names={*ROWS, "context"},
        check_vma=False,
    )(table, ids_BL)


def save_all_but_gathered(primitive: Any, *_: Any, **__: Any) -> bool:
    """Policy of `jax.checkpoint` that saves everything but gathered parameters."""
    return bool(primitive.name != "all_gather")
