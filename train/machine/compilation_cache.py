"""On-disk cache of compiled programs, so that a restarted run compiles nothing twice."""

import hashlib
import os
import platform
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

OFF = "off"


def enable_compilation_cache(requested: str, workdir: Path) -> str:
    """Enables jax's compilation cache; returns a line that says where it is.

    Args:
      requested: `train.compilation_cache`: a directory or gs:// address, "off", or empty for the
        environment's JAX_COMPILATION_CACHE_DIR or else `workdir`/compiled.
    """
    location = requested or os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(workdir / "compiled")
    directory = None if location == OFF else location.rstrip("/")
    if directory is not None and jax.default_backend() == "cpu":
        # A program may use instructions that the processor of another machine has not.
        directory = f"{directory}/{_processor()}"
    if directory != jax.config.values["jax_compilation_cache_dir"]:
        compilation_cache.reset_cache()  # jax opens a directory once a process
        jax.config.update("jax_compilation_cache_dir", directory)
    return f"compiled programs: {directory or 'not kept'}"


def _processor() -> str:
    """Name of this processor's instruction set."""
    cpuinfo = Path("/proc/cpuinfo")
    described = platform.processor()
    if cpuinfo.exists():  # on Linux; "flags" on x86, "Features" on ARM
        lines = cpuinfo.read_text().splitlines()
        described = next((s for s in lines if s.startswith(("flags", "Features"))), described)
    digest = hashlib.blake2b(described.encode(), digest_size=6).hexdigest()
    return f"cpu-{platform.machine()}-{digest}"
