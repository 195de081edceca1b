"""Buckets weighed by the sequences that remain."""

from dataclasses import dataclass

from lengthwise.data.schedule.curriculum import CURRICULA, Curriculum


@CURRICULA.register("natural")
@dataclass(frozen=True)
class Natural(Curriculum):
    def odds(self, num_buckets: int) -> None:
        return None
