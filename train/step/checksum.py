"""Checksums of arrays, to compare runs and verify checkpoints bit by bit."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

_ODD = 2654435761  # 2**32 / the golden ratio: neighbours get unlike weights


def array_checksum(array: jax.Array) -> jax.Array:
    """uint32 that changes with any bit of a number of up to 32 bits: sum of bits x odd weight.

    Integer addition is associative, so that the order in which devices reduce doesn't matter; the
    weights come from indices, not from a flattened copy, so that a sharded array stays sharded.
    """
    if jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(array, jnp.uint32)
    position = jnp.zeros(array.shape, jnp.uint32)
    for axis, size in enumerate(array.shape):
        index = jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
        position = position * jnp.uint32(size) + index
    return jnp.sum(bits * ((position * jnp.uint32(_ODD)) | jnp.uint32(1)), dtype=jnp.uint32)


def checksum(tree: Any) -> jax.Array:
    """One uint32 for all arrays of a tree."""
    total = jnp.uint32(0)
    for number, leaf in enumerate(jax.tree.leaves(tree)):
        total += array_checksum(leaf) * jnp.uint32(2 * number + 1)
    return total


def named_checksums(tree: Any) -> dict[str, int]:
    """{dotted name: checksum} of the jax arrays of a tree, whatever their shardings."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = [leaf for _, leaf in leaves]
    sums = np.asarray(_every_checksum(arrays[0].sharding)(arrays))
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return dict(zip(names, map(int, sums), strict=True))


@functools.cache
def _every_checksum(sharding: jax.sharding.Sharding) -> Callable[[list[jax.Array]], jax.Array]:
    """The checksums of arrays on the devices of `sharding`, for each process to read."""

    def every(leaves: list[jax.Array]) -> jax.Array:
        return jnp.stack([array_checksum(leaf) for leaf in leaves])

    everywhere = None
    if isinstance(sharding, NamedSharding):
        everywhere = NamedSharding(sharding.mesh, PartitionSpec())
    return jax.jit(every, out_shardings=everywhere)
