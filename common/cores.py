"""How many processor cores this process may use."""

import os


def available_cores() -> int:
    """Those of the process's affinity, which containers and `taskset` limit; macOS has none."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
