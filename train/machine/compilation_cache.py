"""On-disk cache of compiled programs, so that a restarted run compiles nothing twice."""

import hashlib
import os
import platform
import zlib
from pathlib import Path

import jax
import zstandard
from jax.experimental.compilation_cache import compilation_cache

OFF = "off"
_LOOKED_AT = "looked-at"  # a file beside the programs: when they were last found whole
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # how its frames begin


def enable_compilation_cache(requested: str, workdir: Path) -> str:
    """Enables jax's compilation cache; returns a line that says where it is.

    All programs are kept, those too that are compiled within jax's limit of a second: a start has a
    dozen of them.

    Args:
      requested: `train.compilation_cache`: a directory or gs:// address, "off", or empty for the
        environment's JAX_COMPILATION_CACHE_DIR or else `workdir`/compiled.
    """
    location = requested or os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(workdir / "compiled")
    directory = None if location == OFF else location.rstrip("/")
    if directory is not None and jax.default_backend() == "cpu":
        # A program may use instructions that the processor of another machine has not.
        directory = f"{directory}/{_processor()}"
    if directory is not None and "://" not in directory:
        _remove_cut_programs(Path(directory))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if directory != jax.config.values["jax_compilation_cache_dir"]:
        compilation_cache.reset_cache()  # jax opens a directory once a process
        jax.config.update("jax_compilation_cache_dir", directory)
    return f"compiled programs: {directory or 'not kept'}"


def _remove_cut_programs(directory: Path) -> None:
    """Removes programs whose writing a kill or a full disk cut short.

    jax would never write them again, and compile them at every start, with a warning.
    """
    looked_at = directory / _LOOKED_AT
    since = looked_at.stat().st_mtime if looked_at.exists() else 0.0
    newer = [path for path in directory.glob("*-cache") if path.stat().st_mtime >= since]
    for path in newer:
        if not _is_whole(path.read_bytes()):
            path.unlink(missing_ok=True)
    if newer:
        looked_at.touch()


def _is_whole(compressed: bytes) -> bool:
    try:
        if compressed.startswith(_ZSTANDARD):
            zstandard.ZstdDecompressor().decompress(compressed)
        else:
            zlib.decompress(compressed)
    except (zstandard.ZstdError, zlib.error):
        return False
    return True


def _processor() -> str:
    """Name of this processor's instruction set."""
    cpuinfo = Path("/proc/cpuinfo")
    described = platform.processor()
    if cpuinfo.exists():  # on Linux; "flags" on x86, "Features" on ARM
        lines = cpuinfo.read_text().splitlines()
        described = next((s for s in lines if s.startswith(("flags", "Features"))), described)
    digest = hashlib.blake2b(described.encode(), digest_size=6).hexdigest()
    return f"cpu-{platform.machine()}-{digest}"
