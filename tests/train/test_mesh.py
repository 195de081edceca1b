"""Mesh views: the same devices in the same order, and batches that come together again."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding

from lengthwise.common.errors import UserError
from lengthwise.model.parallel.sharding import parameter_spec
from lengthwise.model.parallel.zigzag import column_at
from lengthwise.train.config import MeshConfig
from lengthwise.train.mesh import (
    ViewShape,
    batch_sharding,
    candidate_views,
    default_view,
    device_order,
    local_slice,
    mesh_view,
    parameter_shardings,
    put_batch,
)


@dataclasses.dataclass(frozen=True)
class FakeTpu:
    id: int
    slice_index: int
    platform: str = "tpu"


def default_mesh(length, rows, slices=1, tensor=1):
    shape = default_view(length, rows, MeshConfig(slices=slices, tensor=tensor), 8)
    return mesh_view(shape, jax.devices())


@pytest.mark.parametrize(
    ("length", "rows", "slices", "tensor", "view"),
    [
        (64, 64, 1, 1, (1, 8, 1, 1)),
        (1024, 4, 1, 1, (1, 4, 2, 1)),
        (4096, 1, 1, 1, (1, 1, 8, 1)),
        (64, 2, 1, 2, (1, 2, 2, 2)),
        (64, 2, 2, 1, (2, 1, 4, 1)),
        (64, 6, 2, 2, (2, 1, 2, 2)),
    ],
)
def test_the_view_divides_rows_first_and_columns_with_the_rest(length, rows, slices, tensor, view):
    mesh = default_mesh(length, rows, slices, tensor)
    assert tuple(mesh.shape.values()) == view
    assert list(mesh.devices.flat) == jax.devices()


def test_candidates_are_all_the_even_divisions():
    config = MeshConfig(slices=2, tensor=2)
    views = candidate_views(length=12, rows=8, config=config, devices=64)
    # 16 devices of a slice share rows and columns: 4 rows a slice, 12 tokens.
    assert views == []
    views = candidate_views(length=24, rows=8, config=config, devices=64)
    assert views == [ViewShape(2, 4, 4, 2)]  # two chunks a device
    views = candidate_views(length=16, rows=8, config=config, devices=64)
    assert views == [ViewShape(2, 4, 4, 2), ViewShape(2, 2, 8, 2)]


def test_slices_must_be_those_of_the_machine():
    devices = [FakeTpu(number, slice_index=number // 4) for number in range(8)]
    with pytest.raises(UserError, match=r"mesh\.slices=1, but the devices are on 2 slices"):
        device_order(devices, MeshConfig(slices=1, tensor=1))


def test_rows_that_slices_do_not_divide_are_named():
    with pytest.raises(UserError, match=r"bucket 64: mesh\.slices=2 does not divide 3 rows"):
        default_mesh(64, 3, slices=2)


def test_parameters_have_one_physical_sharding_for_all_views():
    axes = {"w": ("embed", "mlp"), "stack": ("layers", "heads", "embed"), "norm": ("embed",)}
    shapes = {"w": (16, 6), "stack": (3, 4, 24), "norm": (5,)}
    abstract = {n: jax.ShapeDtypeStruct(s, np.float32) for n, s in shapes.items()}
    placed = []
    for length, rows in ((64, 64), (1024, 4), (4096, 1)):
        shardings = parameter_shardings(axes, abstract, default_mesh(length, rows))
        placed.append(
            {
                name: {d.id: i for d, i in s.devices_indices_map(shapes[name]).items()}
                for name, s in shardings.items()
            }
        )
        assert not shardings["w"].is_fully_replicated
        assert shardings["norm"].is_fully_replicated  # 8 devices don't divide 5
    assert placed[0] == placed[1] == placed[2]


def test_two_dims_on_one_axis_are_refused():
    mesh = default_mesh(64, 2, tensor=2)
    with pytest.raises(ValueError, match="twice"):
        parameter_spec(("heads", "mlp"), (4, 4), mesh)


def test_slices_hold_a_copy_of_the_parameters_each():
    mesh = default_mesh(64, 8, slices=2)
    sharding = NamedSharding(mesh, parameter_spec(("embed", "mlp"), (16, 6), mesh))
    index = sharding.devices_indices_map((16, 6))
    first, second = (jax.devices()[:4], jax.devices()[4:])
    assert [index[device] for device in first] == [index[device] for device in second]
    assert len({str(index[device]) for device in first}) == 4


@pytest.mark.parametrize(
    ("slices", "tensor", "named"), [(1, 3, "tensor=3"), (3, 1, "slices=3"), (4, 4, "tensor=4")]
)
def test_what_does_not_divide_the_devices_is_named(slices, tensor, named):
    with pytest.raises(UserError, match=rf"mesh\.{named} does not divide"):
        default_mesh(64, 64, slices, tensor)


def test_a_bucket_that_cannot_be_spread_is_named():
    with pytest.raises(UserError, match="bucket 4"):
        default_mesh(4, 1)


@given(st.sampled_from([(64, 64), (8, 128), (4, 8), (2, 32), (1, 64)]))
def test_the_local_part_makes_the_global_array(shape):
    sharding = batch_sharding(default_mesh(shape[1], shape[0]))
    whole = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    held = local_slice(sharding, shape)
    part = whole[held.rows][:, held.column_numbers]
    placed = put_batch({"x": part}, held, sharding, shape)["x"]
    places = column_at(np.arange(shape[1]), shape[1], sharding.mesh.shape["context"])
    np.testing.assert_array_equal(np.asarray(placed), whole[:, places])
    assert placed.sharding == sharding


@dataclasses.dataclass(frozen=True)
class OfProcess:
    """A sharding as one of several processes sees it, which has some of the devices."""

    whole: jax.sharding.NamedSharding
    devices: frozenset

    @property
    def mesh(self):
        return self.whole.mesh

    def addressable_devices_indices_map(self, shape):
        found = self.whole.devices_indices_map(shape)
        return {device: index for device, index in found.items() if device in self.devices}


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_a_process_reads_what_its_devices_hold_and_nothing_else(processes):
    shape = (2, 64)
    sharding = batch_sharding(default_mesh(shape[1], shape[0]))
    devices = np.array(jax.devices()).reshape(processes, -1)
    held = [local_slice(OfProcess(sharding, frozenset(own)), shape) for own in devices]
    tokens = [part.rows.size * part.column_numbers.size for part in held]
    assert tokens == [shape[0] * shape[1] // processes] * processes
    assert max(len(part.columns) for part in held) == (1 if processes == 2 else 2)
