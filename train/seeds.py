"""What each random choice of a run follows."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Seeds:
    """The seeds of a run; the samples of a task have one of their own, data.task.seed."""

    initialization: int  # of the parameters
    order: int  # of the data: which rows a step trains on, and what a layout draws
    buckets: int  # of which bucket a step trains on
    dropout: int  # of all that a step draws: dropout, and positions where they are random

    @classmethod
    def following(cls, seed: int, own: Mapping[str, int | None]) -> "Seeds":
        """Those that `own` names; the others follow: buckets the order, all else `seed`."""
        given = {name: value for name, value in own.items() if value is not None}
        order = given.get("order", seed)
        return cls(
            **{"initialization": seed, "order": order, "buckets": order, "dropout": seed, **given}
        )

    @property
    def of_parameters(self) -> str:
        """Names what but the data decides a run's parameters."""
        if self.initialization == self.dropout:
            return f"seed{self.initialization}"
        return f"seed{self.initialization}-dropout{self.dropout}"
