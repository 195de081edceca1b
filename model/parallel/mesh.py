"""The mesh of the program that is being traced, and what compilers can't derive from it.

Not jax's own mesh of the context, which all arrays of a program would have to agree with: batches
of different lengths are on different views of the devices, parameters on one of them.

Rows are split over "slice" and "data", heads over "tensor", the columns of a row over "context", in
the order of `zigzag.py`: what is computed of whole rows needs that order, see `row_columns`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lengthwise.model.parallel.zigzag import column_at, in_row_order

_MESH: ContextVar[Mesh | None] = ContextVar("mesh", default=None)
ROWS = ("slice", "data")  # the axes that divide the rows of a batch
SHARDS = ("data", "context")  # those that divide a parameter, see model.parallel.sharding


@contextmanager
def use_mesh(mesh: Mesh) -> Iterator[None]:
    """Shards everything traced inside over a mesh with the axes of `train.mesh`."""
    token = _MESH.set(mesh)
    try:
        yield
    finally:
        _MESH.reset(token)


def on_view(abstract: Any, mesh: Mesh) -> Any:
    """A tree of `jax.ShapeDtypeStruct` with the same shardings on another view of the devices.

    A program must know one view only: a compiler that finds two names for the same devices can't
    split loops over parts of them. Arrays on any of the views are what it takes.
    """

    def renamed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        assert isinstance(leaf.sharding, NamedSharding)
        sharding = NamedSharding(mesh, leaf.sharding.spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(renamed, abstract)


def current_mesh() -> Mesh | None:
    """Mesh of the program that is being traced; None outside of `use_mesh`."""
    return _MESH.get()


def program_devices() -> int:
    """Number of devices of the program that is being traced."""
    mesh = _MESH.get()
    return 1 if mesh is None else mesh.size


def row_devices() -> int:
    """Number of devices that share the columns of a row in the program that is being traced."""
    mesh = _MESH.get()
    return 1 if mesh is None else mesh.shape["context"]


def row_columns(length: int) -> jax.Array:
    """Column of the row at each slot of the devices' order; int32 [length]."""
    return column_at(jnp.arange(length, dtype=jnp.int32), length, row_devices())


def constrain_activations(x_BLD: jax.Array) -> jax.Array:
    """Constrains [B, L, D] to rows over "slice" and "data" and columns over "context".

    Left to itself, a compiler may move activations to where the parameters are instead.
    """
    mesh = _MESH.get()
    if mesh is None or mesh.size == 1:
        return x_BLD
    sharding = NamedSharding(mesh, PartitionSpec(ROWS, "context", None))
    return jax.lax.with_sharding_constraint(x_BLD, sharding)


def whole_row(x: Any, axis: int) -> Any:
    """Gathers a tree of arrays over "context", columns (on `axis`) in row order.

    To be called inside a `shard_map`.
    """
    ways = row_devices()

    def gather(x: jax.Array) -> jax.Array:
        return in_row_order(jax.lax.all_gather(x, "context", axis=axis, tiled=True), axis, ways)

    return x if ways == 1 else jax.tree.map(gather, x)


def preceding_columns(x: jax.Array) -> jax.Array:
    """Moves [B, L, ...] on by a column: at a column is what was at the one before.

    What comes to column 0 has no meaning. Devices that share a row exchange the ends of chunks.
    """
    mesh = _MESH.get()
    if mesh is None or mesh.shape["context"] == 1:
        return jnp.concatenate([x[:, :1], x[:, :-1]], axis=1)
    ways = mesh.shape["context"]

    def on_device(columns: jax.Array, x: jax.Array) -> jax.Array:
        chunks = x.reshape(x.shape[0], 2, -1, *x.shape[2:])
        before = columns[:: chunks.shape[2]] // chunks.shape[2] - 1  # the chunks before these two
        ends = jax.lax.all_gather(chunks[:, :, -1], "context", axis=1, tiled=True)
        first = in_row_order(ends, 1, ways)[:, jnp.maximum(before, 0)]
        return jnp.concatenate([first[:, :, None], chunks[:, :, :-1]], axis=2).reshape(x.shape)

    along = PartitionSpec(None, "context")
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(PartitionSpec("context"), along),
        out_specs=along,
        axis_names={"context"},
        check_vma=False,
    )(row_columns(x.shape[1]), x)


def over_context(attend_columns: Callable, q: Any, rows: Any, whole: Any) -> jax.Array:
    """Runs `attend_columns(columns, q, rows, whole)` on each device that shares a row.

    Args:
      attend_columns: -> [B, Q, ...]; `columns` are those of its queries, int32 [Q], or None where
        no devices share a row.
      q: a tree of [B, Q, ...], split by columns.
      rows: a tree of [B or 1, L, ...], gathered to whole rows in order.
      whole: any tree, the same on all devices.
    """
    mesh = _MESH.get()
    if mesh is None or mesh.shape["context"] == 1:
        return attend_columns(None, q, rows, whole)

    def on_device(columns_Q: jax.Array, q: Any, rows: Any, whole: Any) -> jax.Array:
        return attend_columns(columns_Q, q, whole_row(rows, 1), whole)

    along = PartitionSpec(None, "context")
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(PartitionSpec("context"), along, along, PartitionSpec()),
        out_specs=along,
        axis_names={"context"},
        check_vma=False,
    )(row_columns(jax.tree.leaves(q)[0].shape[1]), q, rows, whole)


def on_each_device(attend_rows: Callable) -> Callable:
    """Maps `attend_rows(own, q, k, v, segments, row_segments)` over devices, by rows and heads.

    The returned function takes (by_device, q, k, v, segment_ids). by_device: a tree of arrays whose
    first dimension is the device of those that share a row; `own` is its part. q, k, v:
    [B, heads, L, C]; k and v come as whole rows in order. segment_ids: [B, L] or None; they come
    both for the queries and for whole rows.
    """
    mesh = _MESH.get()

    def on_device(by_device: Any, q: Any, k: Any, v: Any, ids: Any) -> jax.Array:
        own = jax.tree.map(lambda x: x[0], by_device)
        k, v = whole_row((k, v), 2)
        return attend_rows(own, q, k, v, ids, whole_row(ids, 1))

    if mesh is None or mesh.size == 1:
        return on_device
    heads = PartitionSpec(ROWS, "tensor", "context")
    columns = PartitionSpec(ROWS, "context")
    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(PartitionSpec("context"), heads, heads, heads, columns),
        out_specs=heads,
        check_vma=False,
    )
