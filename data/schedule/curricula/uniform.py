"""Equal odds."""

from dataclasses import dataclass

import numpy as np

from lengthwise.data.schedule.curriculum import CURRICULA, Curriculum


@CURRICULA.register("uniform")
@dataclass(frozen=True)
class Uniform(Curriculum):
    def odds(self, num_buckets: int) -> np.ndarray:
        return np.ones(num_buckets)
