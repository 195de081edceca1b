"""Mesh views: the same devices in the same order, reshaped for each bucket.

A short bucket has many rows, so that all devices divide its batch; a long bucket has few, so that
the rest of the devices divide the sequence. Parameters are sharded over the *flattened* (data,
context) axes, hence physically alike under every view: changing bucket moves no parameter byte.
Slices, which a slow network joins, divide the rows and hold a copy of the parameters each.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lengthwise.common.errors import UserError
from lengthwise.model.parallel.mesh import ROWS
from lengthwise.model.parallel.sharding import parameter_spec
from lengthwise.model.parallel.zigzag import column_at
from lengthwise.train.config import MeshConfig

AXES = ("slice", "data", "context", "tensor")


@dataclasses.dataclass(frozen=True)
class ViewShape:
    """Devices along each axis of a mesh view."""

    slices: int
    data: int
    context: int
    tensor: int

    @property
    def row_shards(self) -> int:
        """Number of shards of a batch's rows."""
        return self.slices * self.data

    @property
    def devices(self) -> int:
        return self.slices * self.data * self.context * self.tensor

    def __str__(self) -> str:
        slices = f"{self.slices} slices x " if self.slices > 1 else ""
        return f"{slices}data {self.data} x context {self.context} x tensor {self.tensor}"


def device_order(devices: Sequence[jax.Device], config: MeshConfig) -> list[jax.Device]:
    """The one order of the devices that all views reshape: slice by slice.

    Inside a slice of TPUs, devices that are neighbours in the order are near each other in the
    machine, those of a tensor group nearest. Elsewhere the order is as given.

    Raises:
      UserError: the devices can't be divided as configured, or lie on another number of slices.
    """
    config.shared(len(devices))
    if devices[0].platform != "tpu":
        return list(devices)
    by_slice: dict[int, list[jax.Device]] = {}
    for device in devices:
        by_slice.setdefault(getattr(device, "slice_index", 0), []).append(device)
    if len(by_slice) != config.slices:
        raise UserError(
            f"mesh.slices={config.slices}, but the devices are on {len(by_slice)} slices; "
            f"set mesh.slices={len(by_slice)}"
        )
    shape = (len(devices) // config.slices // config.tensor, config.tensor)
    ordered: list[jax.Device] = []
    for _, members in sorted(by_slice.items()):
        grid = mesh_utils.create_device_mesh(shape, members, allow_split_physical_axes=True)
        ordered += list(grid.flat)
    return ordered


def mesh_view(shape: ViewShape, devices: Sequence[jax.Device]) -> Mesh:
    """The devices, in the order of `device_order`, as a mesh of this shape."""
    grid = np.asarray(devices).reshape(shape.slices, shape.data, shape.context, shape.tensor)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def candidate_views(length: int, rows: int, config: MeshConfig, devices: int) -> list[ViewShape]:
    """Every view that divides `rows` rows of `length` tokens evenly, the most row shards first.

    rows: those that are computed at a time, a microbatch.

    Raises:
      UserError: the devices can't be divided as configured.
    """
    shared = config.shared(devices)
    views = []
    for data in range(shared, 0, -1):
        context = shared // data
        whole = shared % data == 0 and rows % (config.slices * data) == 0
        if whole and (context == 1 or length % (2 * context) == 0):  # see model.parallel.zigzag
            views.append(ViewShape(config.slices, data, context, config.tensor))
    return views


def default_view(length: int, rows: int, config: MeshConfig, devices: int) -> ViewShape:
    """The view with the most row shards: of `rows` rows of `length` tokens computed at a time.

    Raises:
      UserError: the devices can't be divided over this bucket.
    """
    views = candidate_views(length, rows, config, devices)
    if not views and rows % config.slices:
        raise UserError(
            f"bucket {length}: mesh.slices={config.slices} does not divide {rows} rows; "
            "raise tokens_per_step (of scoring: eval.tokens_per_call)"
        )
    if not views:
        raise UserError(
            f"bucket {length} with {rows} rows at a time can't be spread over {devices} devices: "
            f"{length} tokens can't be divided in two chunks for each of those that share a row; "
            "raise tokens_per_step or use fewer devices"
        )
    return views[0]


def parameter_shardings(axes: object, abstract: object, mesh: Mesh) -> object:
    """Shardings for a tree of parameters.

    Args:
      axes: tree of tuples of logical dim names, of the structure of `abstract`.
      abstract: tree of `jax.ShapeDtypeStruct`.
    """

    def sharding(leaf: jax.ShapeDtypeStruct, names: tuple[str | None, ...]) -> NamedSharding:
        return NamedSharding(mesh, parameter_spec(names, leaf.shape, mesh))

    return jax.tree.map(sharding, abstract, axes)  # a tuple of names is a leaf of `abstract`


def abstract_like(tree: object, shardings: object) -> object:
    """ShapeDtypeStructs of `tree` with `shardings`."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Sharding of [batch, length] arrays: rows over slices and data, columns over context.

    The columns are in the order of `model.parallel.zigzag`.
    """
    return NamedSharding(mesh, PartitionSpec(ROWS, "context"))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def put_everywhere(tree: Any, mesh: Mesh) -> Any:
    """Replicates host arrays, equal on all processes, over all devices."""

    def put(array: Any) -> jax.Array:
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, replicated(mesh), lambda index: host[index])

    return jax.tree.map(put, tree)


@dataclasses.dataclass(frozen=True)
class LocalSlice:
    """Part of a [batch, length] array on the devices of this process."""

    rows: np.ndarray  # sorted row numbers
    columns: tuple[slice, ...]  # ascending stretches: two where devices share rows, see columns

    @property
    def column_numbers(self) -> np.ndarray:
        return np.concatenate([np.arange(part.start, part.stop) for part in self.columns])


def local_slice(sharding: NamedSharding, shape: tuple[int, int]) -> LocalSlice:
    """Rows and columns that this process must read."""
    rows: set[int] = set()
    columns: set[int] = set()
    ways = sharding.mesh.shape["context"]
    column_at_place = column_at(np.arange(shape[1]), shape[1], ways)
    for index in sharding.addressable_devices_indices_map(shape).values():
        assert index is not None  # only for devices of other processes, which are not addressable
        row_slice, column_slice = index
        rows.update(range(*row_slice.indices(shape[0])))
        columns.update(column_at_place[column_slice].tolist())
    column_numbers = np.array(sorted(columns))
    ends = np.flatnonzero(np.diff(column_numbers) > 1) + 1
    stretches = tuple(
        slice(int(part[0]), int(part[-1]) + 1) for part in np.split(column_numbers, ends)
    )
    return LocalSlice(np.array(sorted(rows), np.int64), stretches)


def put_batch(
    arrays: Mapping[str, np.ndarray],
    local: LocalSlice,
    sharding: NamedSharding,
    shape: tuple[int, int],
) -> dict[str, jax.Array]:
    """Global arrays of `shape` from this process's part of them, whose columns are in order.

    local: rows and columns of `arrays`.
    """
    ways = sharding.mesh.shape["context"]
    # Where each of this process's places has its column among those that were read.
    columns = column_at(np.arange(shape[1]), shape[1], ways)
    column_at_place = np.asarray(np.searchsorted(local.column_numbers, columns))
    row_number = {int(row): i for i, row in enumerate(local.rows)}

    def place(array: np.ndarray) -> jax.Array:
        def shard(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            low, high, _ = index[0].indices(shape[0])
            first = row_number[low]
            part = array[first : first + high - low]
            return part if ways == 1 else part[:, column_at_place[index[1]]]

        return jax.make_array_from_callback(shape, sharding, shard)

    return {name: place(array) for name, array in arrays.items()}
