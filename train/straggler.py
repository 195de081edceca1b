"""Which process holds up the others.

Steps are as long on all processes, since they wait for each other in collectives. What tells them
apart is the time that each spends itself: on reading, dispatching and logging, not on waiting for
its device. A device that is slow itself can't be told by this.
"""

import numpy as np


def straggler_figures(seconds_P: np.ndarray) -> dict[str, float]:
    """For a row: the median of the processes' own seconds a step, the slowest, and its ratio.

    Args:
      seconds_P: own seconds a step of each process, above zero.
    """
    median = float(np.median(seconds_P))
    slowest = int(np.argmax(seconds_P))
    return {
        "host_seconds": median,
        "slowest_process": slowest,
        "slowest_over_median": float(seconds_P[slowest]) / median,
    }
