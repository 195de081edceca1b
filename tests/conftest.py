"""Eight virtual CPU devices, one cache of compiled programs, no accidental broadcasting."""

import atexit
import os
import shutil
import tempfile

# Before jax is imported, and inherited by the processes that tests start. The same tiny steps are
# compiled by many tests; the cache lives as long as the test session.
_CACHE = tempfile.mkdtemp(prefix="lengthwise-compiled-")
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# LLVM leaves out what takes longest: these programs run for less time than they compile. The passes
# over HLO stay. `make test-all` compiles as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
from hypothesis import HealthCheck, settings

jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile("lengthwise", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lengthwise")
