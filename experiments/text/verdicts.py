"""Verdicts on the claims of a question, from the rows of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from lengthwise.common.errors import UserError
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.experiments.statistics.survival import survival_effect
from lengthwise.experiments.statistics.verdict import (
    ALPHA,
    ClaimVerdict,
    Measurement,
    Tested,
    effect,
    judge,
)
from lengthwise.experiments.text.design import MIN_GAIN, RunGrid, TextClaim, TextQuestion
from lengthwise.experiments.text.measures import FORMATION, Measure, loss_at
from lengthwise.experiments.text.plan import Plan
from lengthwise.experiments.text.row import BUDGETS, Row
from lengthwise.experiments.text.run import Run, main_runs, missing

_EXACT = 1e-12  # variance that decides nothing: the scores of a run have no sampling of their own


@dataclass(frozen=True)
class QuestionResults:
    """All rows of a question, by arm; each arm's are ordered by seed."""

    grid: RunGrid
    question: TextQuestion
    plan: Plan
    rows: Mapping[str, tuple[Row, ...]]

    @property
    def baseline(self) -> tuple[Row, ...]:
        return self.rows[self.grid.baseline_of(self.question).name]

    def verdicts(self) -> list[tuple[TextClaim, Measurement, ClaimVerdict]]:
        """Each claim with its measurement and its verdict."""
        family = [self.measurement(claim) for claim in self.question.claims]
        return list(zip(self.question.claims, family, judge(family), strict=True))

    def measurement(self, claim: TextClaim) -> Measurement:
        """The effect of a claim over the seeds, with what its verdict depends on."""
        forming = claim.measure is FORMATION
        return Measurement(
            self.effect(claim, claim.matched),
            claim.margin,
            # A claim about when use of context forms is one about runs that have none.
            () if forming else tuple(map(_gate_value, self.baseline)),
            self._censored(claim),
            gate=MIN_GAIN,
            tests_equality=True,
            claims_equality=claim.equal,
        )

    def effect(self, claim: TextClaim, matched: str) -> Tested:
        """The effect of a claim at equal tokens, FLOPs or seconds."""
        better, worse = self.rows[claim.better], self.rows[claim.worse]
        if (event := claim.measure.event) is not None:
            sides = [[event(row, self.plan.level) for row in side] for side in (better, worse)]
            return survival_effect(sides[0], sides[1])
        if matched == "tokens":
            against: Measure = claim.against or claim.measure
            values = [
                [claim.measure.score(row) for row in better],
                [against.score(row) for row in worse],
            ]
        else:
            amount = min(row.budget(matched) for row in (*better, *worse))
            values = [[-loss_at(row, matched, amount) for row in side] for side in (better, worse)]
        floor = [_EXACT] * len(better)
        return effect(values[0], values[1], floor, floor)

    def _censored(self, claim: TextClaim) -> str:
        event = claim.measure.event
        if event is None:
            return ""
        sides = (*self.rows[claim.better], *self.rows[claim.worse])
        ended = sum(not event(row, self.plan.level).happened for row in sides)
        return f"{ended} of {len(sides)} runs ended before" if ended else ""

    def by_budget(self, claim: TextClaim) -> dict[str, Tested]:
        """The effect on the loss at L by budget that is made equal; {} of other measures."""
        if not claim.measure.is_loss or claim.against is not None:
            return {}
        return {budget: self.effect(claim, budget) for budget in BUDGETS}

    def share(self, arm: str, measure: Measure) -> tuple[int, int, Estimate]:
        """(runs of which a measure is 1, all runs, their share with Wilson's interval)."""
        assert measure.value is not None
        hits = sum(measure.value(row) > 0.5 for row in self.rows[arm])
        test = binomtest(hits, len(self.rows[arm]))
        interval = test.proportion_ci(1 - ALPHA, method="wilson")
        share = Estimate(float(test.statistic), float(interval.low), float(interval.high))
        return hits, len(self.rows[arm]), share


def _gate_value(row: Row) -> float:
    """The gain from L/4 to L, or its lower bound where that is not above 0."""
    value, low, _ = row.scored.gain
    return value if low > 0 else min(value, low)


def results_of(
    grid: RunGrid, question: TextQuestion, plan: Plan, rows: Mapping[str, Row]
) -> QuestionResults | list[Run]:
    """The results of a question; or the runs that they lack.

    Raises:
      UserError: rows of different corpora or targets.
    """
    runs = main_runs(grid, [question.name], plan.rates)
    if unfinished := missing(runs, rows):
        return unfinished
    by_arm: dict[str, list[Row]] = {}
    for run in runs:
        by_arm.setdefault(run.arm.name, []).append(rows[run.settings])
    _check_alike(grid, question, [row for of_arm in by_arm.values() for row in of_arm])
    ordered = {
        arm: tuple(sorted(of_arm, key=lambda row: row.seed)) for arm, of_arm in by_arm.items()
    }
    return QuestionResults(grid, question, plan, ordered)


def _check_alike(grid: RunGrid, question: TextQuestion, rows: Sequence[Row]) -> None:
    first = rows[0]
    for row in rows:
        one, other = row.scored, first.scored
        if (one.corpus, one.targets) != (other.corpus, other.targets):
            raise UserError(
                f"{grid.title}: {question.name}: {row.arm}, seed {row.seed}, was scored on other "
                f"documents or targets than {first.arm}, seed {first.seed}; train it again on the "
                "same corpus, and delete its row"
            )
