"""Rules that end a phase before its steps: conditions on the figures of an evaluation.

    end={"conditions": ("passkey@1024 >= 0.99", "in_range_score <= before + 0.01")}

ends a phase at the first evaluation at which both hold. A condition compares a figure, or the
difference of two, with a number: `target_nll@64 - target_nll@256 >= 0.05`. Figures are those of a
row of kind "eval": NAME@LENGTH of eval.during, score, in_range_score, gain. `before` is what stands
on the left as it was in the last evaluation before the phase.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lengthwise.common.errors import UserError

_FIGURE = r"[A-Za-z_]\w*(?:@\d+)?"
_NUMBER = r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?"
_CONDITION = re.compile(
    rf"\s*({_FIGURE})(?:\s*-\s*({_FIGURE}))?\s*(>=|<=)\s*(?:(before)\s*([-+]))?\s*({_NUMBER})\s*"
)


@dataclasses.dataclass(frozen=True)
class Condition:
    """figure - subtracted >= number, or <=."""

    figure: str
    subtracted: str  # a second figure; empty: none
    at_least: bool
    relative: bool  # whether the number is added to the value before the phase
    number: float

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Raises UserError: it is no condition."""
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise UserError(
                f"phase.end.conditions holds {text!r}; write FIGURE >= NUMBER, FIGURE - FIGURE >= "
                "NUMBER or FIGURE <= before + NUMBER, such as 'passkey@1024 >= 0.99'"
            )
        figure, subtracted, relation, before, sign, number = match.groups()
        value = -float(number) if sign == "-" else float(number)
        return cls(figure, subtracted or "", relation == ">=", before is not None, value)

    @property
    def left(self) -> str:
        """Its left side."""
        return f"{self.figure} - {self.subtracted}" if self.subtracted else self.figure

    def value(self, evaluation: Mapping[str, Any]) -> float:
        """The left side in a row of kind "eval". Raises UserError: it has no such figure."""
        minuend = _figure(self.figure, evaluation)
        return minuend - _figure(self.subtracted, evaluation) if self.subtracted else minuend

    def holds(self, evaluation: Mapping[str, Any], before: float | None) -> bool:
        """Whether it holds; never, where it needs a value before that there is none of."""
        if self.relative and before is None:
            return False
        limit = self.number + (before or 0.0) * self.relative
        value = self.value(evaluation)
        return value >= limit if self.at_least else value <= limit


def _figure(name: str, evaluation: Mapping[str, Any]) -> float:
    scores = evaluation.get("scores", {})
    if name in scores:
        return float(scores[name]["value"])
    numbers = {n: x for n, x in evaluation.items() if isinstance(x, float)}
    if name not in numbers:
        raise UserError(
            f"phase.end.conditions: {name!r} was not scored; name one of "
            f"{', '.join((*scores, *numbers))}, or a scorer in eval.during"
        )
    return numbers[name]


@dataclasses.dataclass(frozen=True)
class PhaseEndConfig:
    """When a phase ends before its steps."""

    # The phase ends at the first evaluation at which all hold: ("passkey@1024 >= 0.99",
    # "in_range_score <= before + 0.01", "target_nll@64 - target_nll@256 >= 0.05"), figures of
    # eval.during on the selection split; before: at the last evaluation before it. Empty: by steps.
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.conditions:
            Condition.parse(text)

    @property
    def parsed(self) -> tuple[Condition, ...]:
        return tuple(map(Condition.parse, self.conditions))

    @property
    def looks_back(self) -> bool:
        """Whether it needs an evaluation where the phase begins."""
        return any(condition.relative for condition in self.parsed)


class PhaseEnds:
    """The phases that rules have ended, and what the current one is compared with."""

    def __init__(self, configs: Sequence[PhaseEndConfig]):
        self._configs = configs
        self.ends: dict[int, int] = {}  # phase number -> steps of the run done when it ended
        self._before: dict[str, float] = {}  # left side of a condition -> value before the phase

    def reached(self, phase: int, evaluation: Mapping[str, Any]) -> bool:
        """Whether the conditions of a phase hold at an evaluation in it."""
        conditions = self._configs[phase].parsed
        return bool(conditions) and all(
            each.holds(evaluation, self._before.get(each.left)) for each in conditions
        )

    def end(self, phase: int, step: int) -> None:
        """Records that a rule has ended a phase after so many steps of the run."""
        self.ends[phase] = step

    def begin(self, phase: int, evaluation: Mapping[str, Any]) -> None:
        """Records the evaluation that the conditions of a phase look back to, if there is one."""
        if phase < len(self._configs):
            relative = (each for each in self._configs[phase].parsed if each.relative)
            self._before = {each.left: each.value(evaluation) for each in relative}

    def state(self) -> dict[str, Any]:
        """The JSON part of a checkpoint."""
        return {"ends": [list(each) for each in self.ends.items()], "before": dict(self._before)}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Restores `state`; None: of a checkpoint from before there were rules."""
        self.ends = ends_of(state)
        self._before = dict(state["before"]) if state else {}


def ends_of(state: Mapping[str, Any] | None) -> dict[int, int]:
    """`PhaseEnds.ends` of its `state`; none, of a checkpoint from before there were rules."""
    return dict(state["ends"]) if state else {}
