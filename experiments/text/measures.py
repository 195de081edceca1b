"""Measures of runs on text: one value a run, or a time until an event."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.experiments.statistics.survival import EventTime
from lengthwise.experiments.text.row import BUDGETS, Row

FORMED = 0.05  # nats/token of gain from L/4 to L: use of context has formed
BOUNDARY = 64  # targets within so many tokens of a boundary stand behind it


@dataclass(frozen=True)
class Measure:
    """A quantity of a run, by its name in tables: a value, or the time until an event."""

    name: str
    unit: str
    value: Callable[[Row], float] | None = None
    higher_is_better: bool = False
    # (run, loss that pilots ended at) -> time, of which less is better; effects in doublings.
    event: Callable[[Row, float], EventTime] | None = None
    is_loss: bool = False  # at L, so that it can be read at equal FLOPs or seconds

    def score(self, row: Row) -> float:
        """The value of a run, signed so that larger is better."""
        assert self.value is not None
        return self.value(row) if self.higher_is_better else -self.value(row)


def nll(ratio: float, method: str = "plain") -> Measure:
    """Loss of the fixed report targets at `ratio` times L."""
    by = "" if method == "plain" else f" by {method}"
    return Measure(
        f"NLL at {ratio:g} L{by}",
        "nats/token",
        lambda row: row.at_context(ratio * row.length, method),
        is_loss=ratio == 1 and method == "plain",
    )


def _short(row: Row) -> float:
    if row.scored.short is None:
        raise UserError(f"{row.arm}, seed {row.seed}: short documents weren't scored")
    return row.scored.short


def formed(row: Row, level: float = math.nan) -> EventTime:
    """Tokens until use of context has formed; `level` plays no part."""
    return row.until("tokens", [row.gain_at(point) >= FORMED for point in row.curve])


GAIN = Measure(
    "gain from L/4 to L", "nats/token", lambda row: row.scored.gain[0], higher_is_better=True
)
SHORT = Measure("NLL of short documents", "nats/token", _short)
FORMATION = Measure(f"tokens until that gain is {FORMED:g}", "doublings", event=formed)


def _doublings(length: int) -> float:
    """0 for a length below all that were tested."""
    return math.log2(length) if length else 0.0


USEFUL = Measure(
    "useful length", "doublings", lambda row: _doublings(row.scored.useful), higher_is_better=True
)
SAFE = Measure(
    "safe length", "doublings", lambda row: _doublings(row.scored.safe), higher_is_better=True
)


def behind(mask: str, distance: int = BOUNDARY) -> Measure:
    """Loss up to `distance` tokens behind document boundaries, under the mask or without it."""
    return Measure(
        f"NLL within {distance} tokens of a boundary, {mask}",
        "nats/token",
        lambda row: row.scored.behind[mask][str(distance)],
    )


def until_loss(budget: str) -> Measure:
    """Budget until the selection loss at L is that which pilots ended at; one of BUDGETS."""
    assert budget in BUDGETS

    def event(row: Row, level: float) -> EventTime:
        return row.until(budget, [point.nll[str(row.length)] <= level for point in row.curve])

    return Measure(f"{budget} until the loss at L that pilots end at", "doublings", event=event)


def _got_worse(row: Row) -> float:
    """1 where the loss beyond L ended above its best while the training loss fell on."""
    beyond = [point.nll[str(2 * row.length)] for point in row.curve]
    best = int(np.argmin(beyond))
    fell = row.curve[-1].loss < row.curve[best].loss
    return float(fell and beyond[-1] > 1.05 * beyond[best])


GOT_WORSE = Measure(
    "NLL at 2 L rose 5 % above its best while training loss fell", "share", _got_worse
)


def loss_at(row: Row, budget: str, amount: float) -> float:
    """Selection loss at L after `amount` of a budget, interpolated in its logarithm.

    Within a learning rate schedule this is a loss before the schedule's end.
    """
    budgets = [math.log(point.budget(budget)) for point in row.curve]
    losses = [point.nll[str(row.length)] for point in row.curve]
    return float(np.interp(math.log(amount), budgets, losses))
