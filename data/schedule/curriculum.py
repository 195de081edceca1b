"""Curricula: odds of the buckets.

The curricula are those of Pouransari et al. (arXiv 2405.13226, Algorithm 1 and table 4).
"""

from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError

CURRICULA = (
    "natural",
    "uniform",
    "grow_linear",
    "grow_p2",
    "grow_p100",
    "shrink_p100",
    "explicit",
)


@dataclass(frozen=True)
class CurriculumConfig:
    name: str = "grow_p2"  # natural | uniform | grow_linear | grow_p2 | grow_p100 | ...
    odds: tuple[float, ...] = ()  # explicit: odds a bucket, shortest first
    cycles: int = 4  # cycles of the token budget

    def __post_init__(self) -> None:
        if self.name not in CURRICULA:
            raise UserError(
                f"unknown curriculum.name {self.name!r}: use one of {', '.join(CURRICULA)}"
            )


def bucket_odds(config: CurriculumConfig, num_buckets: int) -> np.ndarray | None:
    """Odds of each bucket, shortest first; None for natural, which weighs by what remains.

    Raises:
      UserError: explicit odds that are not one positive number a bucket.
    """
    ranks = np.arange(num_buckets, dtype=np.float64)
    named = {
        "natural": None,
        "uniform": np.ones(num_buckets),
        "grow_linear": num_buckets - ranks,
        "grow_p2": 2.0 ** (num_buckets - 1 - ranks),
        "grow_p100": 100.0 ** (num_buckets - 1 - ranks),
        "shrink_p100": 100.0**ranks,
    }
    if config.name in named:
        if config.odds:
            raise UserError(
                f"curriculum.odds is only for curriculum.name = 'explicit', not {config.name!r}"
            )
        return named[config.name]
    odds = np.asarray(config.odds, np.float64)
    if odds.shape != (num_buckets,) or not (np.isfinite(odds) & (odds > 0)).all():
        raise UserError(
            f"curriculum.odds = {config.odds} must be {num_buckets} positive numbers, "
            "one for each bucket, shortest first"
        )
    return odds
