"""Settings of a curriculum, the contract of curricula, and their registry.

A curriculum is one file in data/schedule/curricula, or one of a user's.
"""

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Components, Registry
from lengthwise.common.settings import components

CURRICULA: Registry[Any] = Registry("curriculum", "lengthwise.data.schedule.curricula")


@dataclass(frozen=True)
class CurriculumConfig:
    """Raises UserError for a curriculum or a setting of one that there is none of."""

    # natural | uniform | grow_linear | grow_p2 | grow_p100 | shrink_p100 | explicit
    name: str = "grow_p2"
    odds: tuple[float, ...] = ()  # explicit: odds a bucket, shortest first
    cycles: int = 4  # cycles of the token budget
    curricula: Components[Any] = components(CURRICULA, "phase.curriculum")

    def __post_init__(self) -> None:
        chosen = self.chosen
        if self.odds and not chosen.takes_odds:
            raise UserError(
                f"curriculum.odds is only for curriculum.name = 'explicit', not {self.name!r}"
            )

    @functools.cached_property
    def chosen(self) -> "Curriculum":
        """The curriculum that `name` names, with its settings."""
        curriculum: Curriculum = self.curricula.make(self.name, "phase.curriculum.name")
        object.__setattr__(curriculum, "config", self)
        return curriculum


class Curriculum(ABC):
    """Odds of the buckets, by which a schedule draws them; a frozen dataclass of its settings."""

    config: CurriculumConfig  # the settings that all curricula share
    takes_odds: ClassVar[bool] = False  # whether config.odds means something

    @abstractmethod
    def odds(self, num_buckets: int) -> np.ndarray | None:
        """Odds of each bucket, shortest first, positive float64 [K].

        None: weighed by what remains.
        """
