"""Compiles splash for TPUs that are not here.

    python -m tests.model.attention.tpu_compiler '[case, ...]'

A case is a dict of the fields of `Case`. Prints a JSON list with, for each, the bytes of temporary
memory, or what the compiler said. A process of its own, one at a time on a machine: libtpu allows
no other, and must see its environment before jax is imported.
"""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

TOPOLOGIES = {"v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2", "v5p-128": "v5p:4x4x4"}
ROOT = Path(__file__).parents[3]
LIBRARY = ROOT / ".libtpu" / "libtpu" / "libtpu.so"  # where `make test` installs it
LOCK = Path(tempfile.gettempdir()) / "lengthwise-libtpu.lock"
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nobody here has a TPU that others would wait for
    "TPU_LIBRARY_PATH": str(LIBRARY),
}


@dataclass(frozen=True)
class Case:
    """A forward and backward pass for one kind of TPU."""

    chip: str  # a key of TOPOLOGIES
    mask: dict[str, int]  # fields of Mask
    bias: str | None = None  # None or "linear"
    softcap: float = 0.0
    segments: bool = False
    length: int = 1024
    head_dim: int = 128
    dtype: str = "bfloat16"
    mesh: tuple[int, int, int] = (1, 1, 1)  # devices that share rows, columns and heads


def compile_cases(cases: list[Case]) -> list[str | int]:
    """Bytes of temporaries, or the compiler's complaint, a case; waits for other processes."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.model.attention.tpu_compiler",
                json.dumps([*map(asdict, cases)]),
            ],
            env={**os.environ, **ENVIRONMENT},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def _compile(case: Case) -> str | int:
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

    from lengthwise.model.attention.attention import attend
    from lengthwise.model.attention.biases import LinearBias
    from lengthwise.model.attention.masks import Mask
    from lengthwise.model.parallel.mesh import use_mesh

    chip = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGIES[case.chip])
    rows, columns, heads = case.mesh
    held = chip.devices[: rows * columns * heads]
    devices = np.array(held).reshape(1, rows, columns, heads)
    mesh = Mesh(devices, ("slice", "data", "context", "tensor"), axis_types=(AxisType.Auto,) * 4)

    def loss(q, k, v, slopes, segment_ids):
        out = attend(
            q,
            k,
            v,
            mask=Mask(**case.mask),
            segment_ids_BL=segment_ids if case.segments else None,
            bias=LinearBias(slopes) if case.bias else None,
            softcap=case.softcap,
            backend="splash",
            block_size=0,
        )
        return out.astype(jnp.float32).sum()

    def array(shape, dtype, *axes):
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    q, kv = (
        array((2, case.length, n, case.head_dim), case.dtype, "data", "context", "tensor")
        for n in (4, 2)
    )
    slopes, ids = array((4,), "float32"), array((2, case.length), "int32", "data", "context")
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3) if case.bias else (0, 1, 2)))
    try:
        with use_mesh(mesh):
            compiled = gradient.lower(q, kv, kv, slopes, ids).compile()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]
    if "tpu_custom_call" not in compiled.as_text():
        return "the program has no kernel in it"
    return compiled.memory_analysis().temp_size_in_bytes


if __name__ == "__main__":
    print(json.dumps([_compile(Case(**case)) for case in json.loads(sys.argv[1])]))
