"""The mesh that a program is split over while it is traced: what compilers can't find out.

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
def split_over(mesh: Mesh) -> Iterator[None]:
    """What is traced inside is split over a mesh with the axes of `train.mesh`."""
    token = _MESH.set(mesh)
    try:
        yield
    finally:
        _MESH.reset(token)


def on_view(abstract: Any, mesh: Mesh) -> Any:
    """A tree of `jax.ShapeDtypeStruct` on another view of the same devices, spread as before.

    A program must know one view only: a compiler that finds two names for the same devices can't
    split loops over parts of them. Arrays on any of the views are what it takes.
    """

    def renamed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        assert isinstance(leaf.sharding, NamedSharding)
        sharding = NamedSharding(mesh, leaf.sharding.spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(renamed, abstract)


def split_mesh() -> Mesh | None:
    """The mesh that what is being traced is split over."""
    return _MESH.get()


def devices_of_a_program() -> int:
    """Devices over which what is being traced is split."""
    mesh = _MESH.get()
    return 1 if mesh is None else mesh.size


def row_devices() -> int:
    """Devices that share the columns of a row, in what is being traced."""
    mesh = _MESH.get()
    return 1 if mesh is None else mesh.shape["context"]


def row_columns(length: int) -> jax.Array:
    """int32 [length]: the column of the row that each place has, in what is being traced."""
    return column_at(jnp.arange(length, dtype=jnp.int32), length, row_devices())


def activations(x_BLD: jax.Array) -> jax.Array:
    """The same array, held to rows over slices and data and columns over context.

    Left to itself, a compiler may move activations to where the parameters are instead.
    """
    mesh = _MESH.get()
    if mesh is None or mesh.size == 1:
        return x_BLD
    held = NamedSharding(mesh, PartitionSpec(ROWS, "context", None))
    return jax.lax.with_sharding_constraint(x_BLD, held)


def whole_row(x: Any, axis: int) -> Any:
    """Gathered over "context" and in row order: a tree of arrays whose `axis` has the columns.

    For the inside of a `shard_map`.
    """
    ways = row_devices()

    def gather(x: jax.Array) -> jax.Array:
        return in_row_order(jax.lax.all_gather(x, "context", axis=axis, tiled=True), axis, ways)

    return x if ways == 1 else jax.tree.map(gather, x)


def over_context(attend_columns: Callable, q: Any, rows: Any, whole: Any) -> jax.Array:
    """`attend_columns(columns, q, rows, whole)` on each device that shares a row.

    It is given the columns of its queries, int32 [Q], or None where no devices share a row; q, a
    tree of [B, Q, ...], has those alone, `rows`, a tree of [B or 1, L, ...], is gathered to whole
    rows in their order, and `whole`, any tree, is what all devices have. It gives [B, Q, ...].
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
    """`attend_rows(own, q, k, v, segments, row_segments)`, a device with its rows and heads each.

    The function returned takes (by_device, q, k, v, segment_ids). by_device: a tree of arrays whose
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
