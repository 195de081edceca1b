"""Mesh views: the same devices in the same order, and batches that come together again."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from train.mesh import (
    MeshConfig,
    batch_sharding,
    local_slice,
    mesh_view,
    parameter_shardings,
    parameter_spec,
    put_batch,
)

CONFIG = MeshConfig(tensor=1)


def shape_of(mesh):
    return tuple(mesh.shape.values())


@pytest.mark.parametrize(
    ("length", "batch", "tensor", "view"),
    [
        (64, 64, 1, (8, 1, 1)),
        (1024, 4, 1, (4, 2, 1)),
        (4096, 1, 1, (1, 8, 1)),
        (64, 2, 2, (2, 2, 2)),
    ],
)
def test_the_view_divides_rows_first_and_columns_with_the_rest(length, batch, tensor, view):
    mesh = mesh_view(length, batch, MeshConfig(tensor=tensor), jax.devices())
    assert shape_of(mesh) == view
    assert list(mesh.devices.flat) == jax.devices()


def test_parameters_have_one_physical_sharding_for_all_views():
    axes = {"w": ("embed", "mlp"), "stack": ("layers", "heads", "embed"), "norm": ("embed",)}
    shapes = {"w": (16, 6), "stack": (3, 4, 24), "norm": (5,)}
    abstract = {n: jax.ShapeDtypeStruct(s, np.float32) for n, s in shapes.items()}
    placed = []
    for length, batch in ((64, 64), (1024, 4), (4096, 1)):
        shardings = parameter_shardings(
            axes, abstract, mesh_view(length, batch, CONFIG, jax.devices())
        )
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
    mesh = mesh_view(64, 2, MeshConfig(tensor=2), jax.devices())
    with pytest.raises(ValueError, match="twice"):
        parameter_spec(("heads", "mlp"), (4, 4), mesh)


def test_tensor_that_does_not_divide_the_devices_is_named():
    with pytest.raises(UserError, match=r"mesh\.tensor=3"):
        mesh_view(64, 64, MeshConfig(tensor=3), jax.devices())


def test_a_bucket_that_cannot_be_spread_is_named():
    with pytest.raises(UserError, match="bucket 4"):
        mesh_view(4, 1, CONFIG, jax.devices())


@given(st.sampled_from([(64, 64), (8, 128), (4, 8), (2, 32), (1, 64)]))
def test_the_local_part_makes_the_global_array(shape):
    sharding = batch_sharding(mesh_view(shape[1], shape[0], CONFIG, jax.devices()))
    whole = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    held = local_slice(sharding, shape)
    part = whole[held.rows][:, held.columns]
    placed = put_batch({"x": part}, held, sharding, shape)["x"]
    np.testing.assert_array_equal(np.asarray(placed), whole)
    assert placed.sharding == sharding
