"""The mesh that kernels are split over while a program is traced: compilers split no kernel.

Not jax's own mesh of the context, which all arrays of a program would have to agree with: batches
of different lengths are on different views of the devices, parameters on one of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
from jax.sharding import Mesh, PartitionSpec

_MESH: ContextVar[Mesh | None] = ContextVar("mesh", default=None)


@contextmanager
def split_over(mesh: Mesh) -> Iterator[None]:
    """Kernels traced inside have rows split over "slice" and "data", heads over "tensor"."""
    token = _MESH.set(mesh)
    try:
        yield
    finally:
        _MESH.reset(token)


def devices_of_a_program() -> int:
    """Devices over which what is being traced is split."""
    mesh = _MESH.get()
    return 1 if mesh is None else mesh.size


def on_each_device(attend_rows: Callable) -> Callable:
    """`attend_rows(q, k, v, segment_ids)`, each device with its rows and heads.

    q, k, v: [B, heads, L, C]; segment_ids: a tree of [B, L], or None.
    """
    mesh = _MESH.get()
    if mesh is None or mesh.size == 1:
        return attend_rows
    rows = PartitionSpec(("slice", "data"))
    heads = PartitionSpec(*rows, "tensor")
    return jax.shard_map(
        attend_rows,
        mesh=mesh,
        in_specs=(heads, heads, heads, rows),
        out_specs=heads,
        check_vma=False,
    )
