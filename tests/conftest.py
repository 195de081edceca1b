"""Eight virtual CPU devices for every test, and shapes that never broadcast by accident."""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
from hypothesis import HealthCheck, settings

jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile("lengthwise", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lengthwise")
