"""What a run was made on: the part of a result that others can't see."""

import platform
from importlib.metadata import version

import jax

from cores import available_cores
from train.peak import Peak


def machine_facts(peak: Peak) -> dict[str, str]:
    """Device, host, and the versions that decide speed and numbers."""
    devices = jax.devices()
    return {
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": str(jax.process_count()),
        "matmul peak of a device": f"{peak.flops_per_second / 1e9:,.0f} GFLOP/s ({peak.source})",
        "host": f"{platform.system()} {platform.machine()}, {available_cores()} cores",
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "flax", "optax", "orbax-checkpoint", "grain")},
    }
