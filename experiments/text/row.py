"""Rows of a grid: one line of JSON a finished run, in one file a grid."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.files import atomic_write
from lengthwise.experiments.statistics.survival import EventTime

MAIN, PILOT, TRIED_RATE = "main", "pilot", "rate"  # purposes of runs
BUDGETS = ("tokens", "flops", "seconds")  # of training


@dataclass(frozen=True)
class Point:
    """An evaluation during training, on the selection split. Budgets count from the first step."""

    step: int
    tokens: int
    flops: float
    seconds: float
    loss: float  # training loss, mean over the steps since the previous point
    nll: Mapping[str, float]  # context in tokens -> nats/token of the same targets

    def budget(self, name: str) -> float:
        """tokens, flops or seconds so far."""
        return float(getattr(self, name))


@dataclass(frozen=True)
class Scores:
    """What the report split says of a run. Losses are nats/token, contexts and lengths tokens."""

    corpus: str  # fingerprint
    targets: str  # fingerprint of the scored targets
    nll: Mapping[str, Mapping[str, float]]  # method -> context -> same-target NLL
    gain: tuple[float, float, float]  # from L/4 to L: value and interval by document
    useful: int  # useful length; 0: shorter than any tested
    safe: int
    behind: Mapping[str, Mapping[str, float]]  # masked | naive -> distance from a boundary -> NLL
    short: float | None  # NLL of short documents


@dataclass(frozen=True)
class Row:
    """A finished run."""

    arm: str
    seed: int
    purpose: str
    rate: float  # peak learning rate
    settings: str  # fingerprint of all settings that decide the run
    code: str  # fingerprint of the code of data, model and training
    machine: str
    length: int  # L of the grid, tokens
    hours: float  # training, and scoring if it was scored
    curve: tuple[Point, ...]
    scores: Scores | None  # None: only its training was asked for

    @property
    def scored(self) -> Scores:
        """Its scores. Raises UserError: it has none."""
        if self.scores is None:
            raise UserError(
                f"{self.arm}, seed {self.seed}: its training alone was asked for; name the arm in "
                "a question, and delete its row"
            )
        return self.scores

    def budget(self, name: str) -> float:
        """tokens, flops or seconds of its training."""
        return self.curve[-1].budget(name)

    def at_context(self, context: float, method: str = "plain") -> float:
        """Same-target NLL.

        Raises:
          UserError: the run wasn't scored like that.
        """
        try:
            return self.scored.nll[method][f"{context:g}"]
        except KeyError as error:
            raise UserError(
                f"{self.arm}, seed {self.seed}: no loss at {context:g} tokens by {method!r} was "
                "stored; add it to eval.lengths or eval.methods of the grid"
            ) from error

    def gain_at(self, point: Point) -> float:
        """Gain from L/4 to L at a point of training."""
        return point.nll[str(self.length // 4)] - point.nll[str(self.length)]

    def until(self, name: str, holds: Sequence[bool]) -> EventTime:
        """Budget until the first point at which a property holds. holds: by point."""
        budgets = [point.budget(name) for point in self.curve]
        first = next((k for k, each in enumerate(holds) if each), None)
        if first is None:
            return EventTime(budgets[-1], False)
        previous = budgets[first - 1] if first else budgets[0] / 2
        return EventTime.between(previous, budgets[first])


def read_rows(path: Path) -> dict[str, Row]:
    """Rows of a grid by the fingerprint of their settings; none where there is no file.

    Raises:
      UserError: a line that is no row.
    """
    if not path.exists():
        return {}
    rows: dict[str, Row] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = _row(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path}, line {number} is no row of a run ({error}); restore the file"
            ) from error
        rows[row.settings] = row
    return rows


def add_row(path: Path, row: Row) -> None:
    """Writes the file anew with one row more, whole or not at all; ordered, so that merges are.

    Processes take turns, by a lock on the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        rows = {**read_rows(path), row.settings: row}
        by = attrgetter("purpose", "arm", "seed", "rate")
        lines = (
            json.dumps(asdict(each), allow_nan=False) + "\n"
            for each in sorted(rows.values(), key=by)
        )
        atomic_write(path, [line.encode() for line in lines])
    finally:
        os.close(folder)


def _row(stored: dict[str, Any]) -> Row:
    curve = tuple(Point(**point) for point in stored.pop("curve"))
    scores = stored.pop("scores")
    if scores is not None:
        scores = Scores(**{**scores, "gain": tuple(scores["gain"])})
    return Row(**stored, curve=curve, scores=scores)
