"""Long buckets first."""

from dataclasses import dataclass

import numpy as np

from lengthwise.data.schedule.curriculum import CURRICULA, Curriculum


@CURRICULA.register("shrink_p100")
@dataclass(frozen=True)
class ShrinkBy100(Curriculum):
    """Each bucket has 100 times the odds of the next shorter one."""

    def odds(self, num_buckets: int) -> np.ndarray:
        return 100.0 ** np.arange(num_buckets)
