"""Contract of the parts of a method, and their registry.

A part is a frozen dataclass whose fields are its settings, 0 for what follows from the lengths:
"yarn:factor=4,low_turns=2". To add one: a file in `kinds/`, and nothing else.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Registry
from lengthwise.model.attention.masks import Mask

METHODS: "Registry[type[Part]]" = Registry("method", "lengthwise.eval.methods.kinds")

# Parts of one group exclude each other.
FREQUENCIES, MASK, DISTANCES, QUERIES = "frequencies", "mask", "distances", "queries"


class Lengths(NamedTuple):
    """What the settings of a part may follow, in tokens but for the multiplier."""

    context: int  # of the row, beyond l_train
    l_train: int
    longest: int  # the largest distance, plus one, that masks and maps of distances leave
    multiplier: float  # of eval.multipliers
    sinks: int  # eval.sinks


@dataclass(frozen=True)
class Part:
    """One part of a method."""

    name: ClassVar[str]
    group: ClassVar[str]
    title: ClassVar[str]  # in tables
    phrase: ClassVar[str]  # in a sentence after "with"
    note: ClassVar[str]  # what it does
    needs_rope: ClassVar[bool] = True

    @property
    def by_factor(self) -> bool:
        """Whether it has a factor that eval.multipliers are candidates of."""
        return False

    def longest(self, lengths: Lengths) -> int:
        """The largest distance, plus one, that it leaves of `lengths.longest`."""
        return lengths.longest

    def scaling(self, lengths: Lengths) -> dict[str, Any]:
        """Fields of `RopeScaling`."""
        return {}

    def mask(self, lengths: Lengths) -> Mask | None:
        """None: it has none."""
        return None


def refuse(part: Part, field: str, why: str) -> UserError:
    """The error about a setting of a part."""
    return UserError(f"method {part.name!r}: {field}={getattr(part, field)!r} {why}")
