"""The seeds of a run: what each random choice follows."""

import dataclasses

from lengthwise.common.settings import setting


@dataclasses.dataclass(frozen=True)
class Seeds:
    """The seeds of a run; the samples of a task have one of their own, data.task.seed."""

    initialization: int  # of the parameters
    order: int  # of the data: which rows a step trains on, and what a layout draws
    buckets: int  # of which bucket a step trains on
    dropout: int  # of all that a step draws: dropout, and positions where they are random

    @property
    def of_parameters(self) -> str:
        """Names what but the data decides a run's parameters."""
        if self.initialization == self.dropout:
            return f"seed{self.initialization}"
        return f"seed{self.initialization}-dropout{self.dropout}"


@dataclasses.dataclass(frozen=True)
class SeedsConfig:
    """Seeds that are chosen apart from the run's."""

    initialization: int | None = setting(None, "[0, 4294967296)")  # of the parameters; None: seed
    order: int | None = setting(None, "[0, 4294967296)")  # of the data; None: seed
    # of which bucket a step trains on; None: as order
    buckets: int | None = setting(None, "[0, 4294967296)")
    # of dropout and of randomly drawn positions; None: seed
    dropout: int | None = setting(None, "[0, 4294967296)")

    def following(self, seed: int) -> Seeds:
        """The seeds of a run: buckets follow the order, all else that is open `seed`."""
        own = {name: value for name, value in vars(self).items() if value is not None}
        order = own.get("order", seed)
        return Seeds(
            **{"initialization": seed, "order": order, "buckets": order, "dropout": seed, **own}
        )
