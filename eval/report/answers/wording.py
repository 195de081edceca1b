"""Wording of the scores of answers: sentences and table cells."""

from __future__ import annotations

from collections.abc import Sequence

from lengthwise.eval.answers.trainings import TrainingScores
from lengthwise.eval.card.comparison import Comparison, Difference
from lengthwise.eval.report.estimate_text import IntervalCell
from lengthwise.eval.statistics.bootstrap import Estimate


def headline(scored: TrainingScores, trained: tuple[int, int]) -> list[str]:
    """Outcome of a training in sentences, the first of which stands alone."""
    answers = scored.answers
    scores, fell = answers.scores, answers.falls_at
    lengths = f"{trained[0]} to {trained[1]}" if trained[0] < trained[1] else str(trained[0])
    if fell is None:
        first = (
            f"Exact match is {answers.threshold:g} or more at all tested lengths, "
            f"{scores[0].length} to {scores[-1].length}; trained on lengths {lengths}."
        )
    else:
        exact = next(score.exact for score in scores if score.length == fell)
        first = (
            f"Exact match falls under {answers.threshold:g} at length {fell}: "
            f"{exact.value:.3f} {interval(exact)}; trained on lengths {lengths}."
        )
    means = [
        f"{mean:.3f} over the tested lengths {where}"
        for where, mean in (
            ("that were trained", answers.mean_exact(True)),
            ("that were not", answers.mean_exact(False)),
        )
        if mean is not None
    ]
    return [first, f"Mean exact match: {', '.join(means)}."]


def share_cell(estimate: Estimate) -> IntervalCell:
    """A share with its interval."""
    return IntervalCell(f"{estimate.value:.3f}", interval(estimate), "")


def interval(estimate: Estimate) -> str:
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"


def mean_text(mean: float | None) -> str:
    """A mean over lengths, which may not have been tested."""
    return "not tested" if mean is None else f"{mean:.3f}"


def comparison_lines(
    scored: Sequence[TrainingScores], comparisons: Sequence[Comparison]
) -> list[str]:
    """Lines for a terminal: a table of each training of several seeds, a sentence a comparison."""
    tables = [
        f"{each.name}, {each.claim}:\n{each.answers.table()}"
        for each in scored
        if len(each.seeds) > 1
    ]
    return [*tables, *map(_sentence, comparisons)]


def _sentence(comparison: Comparison) -> str:
    """Sentence on the lengths at which the second is better or worse than the first."""
    parts = []
    for kind in (Difference.BETTER, Difference.WORSE):
        outcomes_K = zip(comparison.lengths, comparison.outcomes, strict=True)
        lengths = [length for length, outcome in outcomes_K if outcome == kind]
        if lengths:
            parts.append(f"{kind} at {_listed(lengths)}")
    outcome = " and ".join(parts) if parts else f"{Difference.NONE} at any length"
    return f"{comparison.second} beside {comparison.first}, exact match: {outcome}"


def _listed(lengths: list[int]) -> str:
    return f"length{'s' * (len(lengths) > 1)} {', '.join(map(str, lengths))}"
