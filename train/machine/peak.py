"""Matmul peak of a device, and the machine facts that go into a report."""

import dataclasses
import functools
import platform
import time
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.cores import available_cores

# Dense bf16 FLOP/s of a chip, from the vendors' data sheets, by jax's `device_kind`.
PUBLISHED_BF16 = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
}

_SECONDS = 0.25


@dataclasses.dataclass(frozen=True)
class Peak:
    """Peak FLOP/s of one device and the source of the figure."""

    flops_per_second: float
    source: str


def device_peak(device: jax.Device, compute_dtype: str) -> Peak:
    """The published figure for bf16 on a known chip, else the measured one."""
    if compute_dtype == "bfloat16" and device.device_kind in PUBLISHED_BF16:
        return Peak(PUBLISHED_BF16[device.device_kind], f"published bf16, {device.device_kind}")
    return Peak(
        measured_matmul_peak(device, compute_dtype),
        f"measured {compute_dtype} matmul, {device.device_kind}",
    )


@functools.cache
def measured_matmul_peak(device: jax.Device, dtype: str, repeats: int = 5) -> float:
    """Best FLOP/s of a square matmul over `repeats` runs, or fewer where two take a quarter of a
    second: a start waits for them. Measured once a process."""
    size = 2048 if device.platform == "cpu" else 8192
    operand = jax.device_put(np.full((size, size), 0.5, np.float32), device).astype(dtype)

    def product(a: jax.Array) -> jax.Array:
        return jnp.matmul(a, a)

    compiled = jax.jit(product).lower(operand).compile()
    compiled(operand).block_until_ready()
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < repeats and sum(seconds) < _SECONDS):
        start = time.perf_counter()
        compiled(operand).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def machine_facts(peak: Peak) -> dict[str, str]:
    """Hardware and package versions recorded with a run."""
    devices = jax.devices()
    return {
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": str(jax.process_count()),
        "matmul peak of a device": f"{peak.flops_per_second / 1e9:,.0f} GFLOP/s ({peak.source})",
        "host": f"{platform.system()} {platform.machine()}, {available_cores()} cores",
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "flax", "optax", "orbax-checkpoint", "grain")},
    }
