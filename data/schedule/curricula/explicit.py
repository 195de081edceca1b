"""The odds of phase.curriculum.odds."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.schedule.curriculum import CURRICULA, Curriculum


@CURRICULA.register("explicit")
@dataclass(frozen=True)
class Explicit(Curriculum):
    takes_odds: ClassVar[bool] = True

    def odds(self, num_buckets: int) -> np.ndarray:
        """See `Curriculum.odds`. Raises UserError unless they are one positive number a bucket."""
        odds = np.asarray(self.config.odds, np.float64)
        if odds.shape != (num_buckets,) or not (np.isfinite(odds) & (odds > 0)).all():
            raise UserError(
                f"curriculum.odds = {self.config.odds} must be {num_buckets} positive numbers, "
                "one for each bucket, shortest first"
            )
        return odds
