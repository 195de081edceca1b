"""Short buckets first, more or less so."""

from dataclasses import dataclass

import numpy as np

from lengthwise.data.schedule.curriculum import CURRICULA, Curriculum


@CURRICULA.register("grow_linear")
@dataclass(frozen=True)
class GrowLinear(Curriculum):
    """Odds K, K - 1 ... 1."""

    def odds(self, num_buckets: int) -> np.ndarray:
        return np.arange(num_buckets, 0, -1, dtype=np.float64)


@CURRICULA.register("grow_p2")
@dataclass(frozen=True)
class GrowBy2(Curriculum):
    """Each bucket has twice the odds of the next longer one."""

    def odds(self, num_buckets: int) -> np.ndarray:
        return 2.0 ** np.arange(num_buckets - 1, -1, -1)


@CURRICULA.register("grow_p100")
@dataclass(frozen=True)
class GrowBy100(Curriculum):
    """Each bucket has 100 times the odds of the next longer one."""

    def odds(self, num_buckets: int) -> np.ndarray:
        return 100.0 ** np.arange(num_buckets - 1, -1, -1)
