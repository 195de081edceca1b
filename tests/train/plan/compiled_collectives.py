"""Compiles a program of known collectives for a TPU that is not here; prints what is counted.

A process of its own: libtpu must see its environment before jax is imported.
"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lengthwise.train.plan.collectives import traffic

ROUNDS, N, M = 5, 512, 1024


def program(part: jax.Array, whole: jax.Array) -> tuple[jax.Array, ...]:
    """Five rounds of a gathering and a sum of parts; then one of every other kind."""

    def body(carry: jax.Array, _: None) -> tuple[jax.Array, None]:
        gathered = jax.lax.all_gather(carry, "d", axis=0, tiled=True)
        carry = jax.lax.psum_scatter(gathered * 0.5, "d", scatter_dimension=0, tiled=True)
        return carry, None

    carry, _ = jax.lax.scan(body, part, None, length=ROUNDS)
    exchanged = jax.lax.all_to_all(carry, "d", 0, 0, tiled=True)
    shifted = jax.lax.ppermute(exchanged, "d", [(i, (i + 1) % 4) for i in range(4)])
    return jax.lax.psum(whole, "d"), shifted


if __name__ == "__main__":
    chip = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
    mesh = Mesh(np.array(chip.devices), ("d",))
    cut, everywhere = PartitionSpec("d"), PartitionSpec()

    def array(shape: tuple[int, ...], spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))

    split = jax.shard_map(
        program, mesh=mesh, in_specs=(cut, everywhere), out_specs=(everywhere, cut), check_vma=False
    )
    lowered = jax.jit(split).lower(array((N, M), cut), array((N, M), everywhere))
    found = traffic(lowered.compile().as_text())
    print(json.dumps({kind: dataclasses.astuple(t) for kind, t in found.items()}))
