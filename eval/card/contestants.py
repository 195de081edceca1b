"""Contestants of a card: trainings, each with the checkpoints of one or several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path
from lengthwise.eval.losses.curve_file import Evaluation, load_evaluation
from lengthwise.eval.statistics.curves import Curve

Key = tuple[str, str, str, str]  # scorer, metric, method, control


@dataclass(frozen=True)
class Contestant:
    """One training: its checkpoints differ by their seed alone."""

    evaluations: tuple[Evaluation, ...]

    @property
    def first(self) -> Evaluation:
        return self.evaluations[0]

    @property
    def name(self) -> str:
        others = len(self.evaluations) - 1
        return (
            self.first.name
            + (f" and {others} more seeds" if others > 1 else "")
            + (" and another seed" if others == 1 else "")
        )

    @property
    def claim(self) -> str:
        """Scope of its scores: one checkpoint is no evidence of the training behind it."""
        count = len(self.evaluations)
        return "this checkpoint" if count == 1 else f"this training ({count} seeds)"

    def curves(self) -> dict[Key, list[Curve]]:
        """Curves of all seeds by key; those that a seed lacks are left out."""
        each = [{curve.key: curve for curve in e.scored.curves} for e in self.evaluations]
        return {
            key: [curves[key] for curves in each]
            for key in each[0]
            if all(key in curves for curves in each)
        }


def load_others(
    directories: Sequence[str],
    workdir: Path,
    training: str,
    seed: int,
    fingerprint: str,
    tokens: Mapping[str, Any],
) -> list[Evaluation]:
    """Loads the evaluations that eval.compare names, before that of `workdir` is made.

    training, seed, fingerprint, tokens: of `workdir`'s run, as its `Evaluation` will have them.

    Raises UserError: a directory is `workdir` or was not scored, a checkpoint would stand there
    twice, or a corpus or tokenizer is another one.
    """
    for directory in directories:
        if user_path(directory, "eval.compare").resolve() == workdir.resolve():
            raise UserError(
                f"eval.compare names {directory}, the work directory itself, which is on its card "
                "in any case; leave it out"
            )
    others = [load_evaluation(user_path(directory, "eval.compare")) for directory in directories]
    _check_distinct(workdir.resolve().name, training, seed, fingerprint, tokens, others)
    return others


def contestants(evaluations: Sequence[Evaluation]) -> list[Contestant]:
    """Groups seeds of one training, in the order in which they come.

    Raises UserError: scores of different corpora, of different targets or prompts, of one
    checkpoint twice.
    """
    first, *others = evaluations
    corpus = first.identity.corpus_fingerprint
    _check_distinct(first.name, first.training, first.seed, corpus, first.tokens, others)
    reference = {curve.key: curve for curve in first.scored.curves}
    for other in others:
        _check_comparable(first, other, reference)
    trainings = dict.fromkeys(e.training for e in evaluations)
    return [Contestant(tuple(e for e in evaluations if e.training == t)) for t in trainings]


def _check_distinct(
    name: str,
    training: str,
    seed: int,
    fingerprint: str,
    tokens: Mapping[str, Any],
    others: Sequence[Evaluation],
) -> None:
    """Checks what needs no scores of the first evaluation."""
    seen: dict[tuple[str, int], str] = {(training, seed): name}
    for other in others:
        theirs = other.identity.corpus_fingerprint
        if theirs != fingerprint:
            raise UserError(
                f"eval.compare: {other.name!r} and {name!r} are of different corpora "
                f"(fingerprints {theirs} and {fingerprint}), so their scores are not comparable; "
                "leave it out"
            )
        for field, mine in tokens.items():
            if other.tokens.get(field) != mine:
                raise UserError(
                    f"eval.compare: {other.name!r} and {name!r} are of different tokens "
                    f"({field}: {other.tokens.get(field)!r} and {mine!r}), so that losses a token "
                    "are not comparable; leave it out"
                )
        who = (other.training, other.seed)
        if who in seen:
            raise UserError(
                f"eval.compare: {other.name!r} and {seen[who]!r} are the same training with the "
                "same seed; name each run once"
            )
        seen[who] = other.name


def _check_comparable(first: Evaluation, other: Evaluation, reference: dict[Key, Curve]) -> None:
    common = [curve for curve in other.scored.curves if curve.key in reference]
    if not common:
        raise UserError(
            f"eval.compare: {other.name!r} and {first.name!r} have no score in common; score both "
            "with the same eval.methods and eval.tasks"
        )
    for curve in common:
        same = reference[curve.key]
        if (curve.population, curve.lengths) != (same.population, same.lengths):
            raise UserError(
                f"eval.compare: {other.name!r} was scored on other targets, prompts or lengths "
                f"than {first.name!r} ({' '.join(filter(None, curve.key))}); score both again with "
                "the same eval settings"
            )
