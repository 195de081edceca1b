"""Runs on a task, and trainings: runs that differ by their seeds alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.eval.answers.score import Hits
from lengthwise.eval.statistics.curves import Curve, Group, population

EXACT, TOKEN = "exact match", "right tokens"


@dataclass(frozen=True)
class RunKey:
    """Identity of a run and of its test: training, seeds, task, lengths, samples."""

    name: str  # for people
    training: str  # fingerprint of all that decides the training but seeds
    seeds: tuple[int, int]  # of the training, of the samples
    task: str
    lengths: tuple[int, ...]  # tested, in what the task counts
    samples: int  # of each length


@dataclass(frozen=True)
class TaskRun:
    """Scored answers of one run."""

    key: RunKey
    hits: tuple[Hits, ...]  # at each length

    def curve(self, metric: str) -> Curve:
        """Curve of EXACT or TOKEN. Chance is left at 0, so that differences are of the shares."""
        tokens_NK = np.stack([each.tokens_N for each in self.hits], axis=1).astype(np.float64)
        hits_NK = np.stack([each.hits_N for each in self.hits], axis=1).astype(np.float64)
        exact = metric == EXACT
        key = self.key
        return Curve.of_share(
            scorer=key.task,
            metric=metric,
            group=Group.SYNTHESIS,
            method="plain",
            primary=exact,
            lengths=key.lengths,
            sums_NK=(hits_NK == tokens_NK).astype(np.float64) if exact else hits_NK,
            counts_NK=np.ones_like(tokens_NK) if exact else tokens_NK,
            population=population(key.task, key.seeds[1], key.samples),
            chance_K=np.zeros(len(key.lengths)),
        )


@dataclass(frozen=True)
class Training:
    """Runs of one training, at least one, a seed each."""

    runs: tuple[TaskRun, ...]

    @property
    def name(self) -> str:
        first, others = self.runs[0].key.name, len(self.runs) - 1
        if not others:
            return first
        return f"{first} and another seed" if others == 1 else f"{first} and {others} more seeds"

    @property
    def claim(self) -> str:
        """Scope of its scores: one checkpoint is no evidence of the training behind it."""
        count = len(self.runs)
        return "this checkpoint" if count == 1 else f"this training ({count} seeds)"

    def curves(self, metric: str) -> list[Curve]:
        """The curve of each seed."""
        return [run.curve(metric) for run in self.runs]


def check_comparable(keys: Sequence[RunKey]) -> None:
    """Raises UserError: runs on another task than the first, asked otherwise, or named twice."""
    first = keys[0]
    seen = {(first.training, first.seeds): first.name}
    for other in keys[1:]:
        if other.task != first.task:
            raise UserError(
                f"eval.compare: {other.name!r} is a run on {other.task}, {first.name!r} one on "
                f"{first.task}; leave it out"
            )
        if (other.lengths, other.samples) != (first.lengths, first.samples):
            raise UserError(
                f"eval.compare: {other.name!r} was scored at other lengths, or on another number "
                f"of samples, than {first.name!r}; score it with the same eval.answers"
            )
        who = (other.training, other.seeds)
        if who in seen:
            raise UserError(
                f"eval.compare: {other.name!r} and {seen[who]!r} are the same training with the "
                "same seed; name each run once"
            )
        seen[who] = other.name


def trainings(runs: Sequence[TaskRun]) -> list[Training]:
    """Groups seeds of one training, in the order in which they come.

    Raises UserError as `check_comparable`.
    """
    check_comparable([run.key for run in runs])
    order = dict.fromkeys(run.key.training for run in runs)
    return [Training(tuple(r for r in runs if r.key.training == each)) for each in order]
