"""Plans: what is settled before a run that counts.

Rates are chosen on the selection split by throw-away seeds, the deviation over seeds by pilots.
Both give the plan of a question: claims with margins and directions, rates, seeds. It is committed,
and only then the runs start, so that nothing is stated after a score was seen.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.experiments.statistics.power import Design, difference_deviation
from lengthwise.experiments.text.design import RunGrid, TextClaim, TextQuestion
from lengthwise.experiments.text.row import Row
from lengthwise.experiments.text.run import main_runs, missing, pilot_runs, rate_runs


@dataclass(frozen=True)
class PlannedClaim:
    """A claim as stated, with its power."""

    claim: str
    margin: float
    unit: str
    deviation: float  # of a seed's difference between two arms, from pilots
    seeds_needed: int | None  # None: more than are looked at


@dataclass(frozen=True)
class Plan:
    """The plan of one question at one scale."""

    question: str
    exploratory: bool
    claims: tuple[PlannedClaim, ...]
    rates: Mapping[str, float]  # family -> learning rate
    seeds: tuple[int, ...]
    level: float  # selection loss at L that pilots end at, nats/token
    settings: Mapping[str, str]  # arm -> fingerprint of its run under the first seed


def choose_rates(
    grid: RunGrid, families: Sequence[str], rows: Mapping[str, Row]
) -> dict[str, float]:
    """Family -> rate with the lowest selection loss at L, mean over throw-away seeds.

    Raises:
      ValueError: a run that this needs has no row.
    """
    losses: dict[str, dict[float, list[float]]] = {}
    for run in rate_runs(grid, families):
        row = rows.get(run.settings)
        if row is None:
            raise ValueError(f"{run.arm.name}, seed {run.seed}, rate {run.rate}: not run yet")
        of_family = losses.setdefault(run.arm.family, {})
        of_family.setdefault(run.rate, []).append(row.curve[-1].nll[str(grid.length)])
    return {
        family: min(by_rate, key=lambda rate: float(np.mean(by_rate[rate])))
        for family, by_rate in losses.items()
    }


def families_of(grid: RunGrid, question: TextQuestion) -> list[str]:
    """Families of the arms that a question runs."""
    names = [*question.arms, grid.baseline_of(question).name]
    return list(dict.fromkeys(grid.arm(name).family for name in names))


def make_plan(grid: RunGrid, question: TextQuestion, rows: Mapping[str, Row]) -> Plan:
    """The plan that rates and pilots give.

    Raises:
      ValueError: one of their runs has no row.
      UserError: the question has fewer seeds than its claims need.
    """
    rates = choose_rates(grid, families_of(grid, question), rows)
    runs = pilot_runs(grid, question, rates)
    if unfinished := missing(runs, rows):
        raise ValueError(f"{len(unfinished)} pilots: not run yet")
    pilots = [
        [rows[run.settings] for run in runs if run.arm is arm] for arm in grid.pilots_of(question)
    ]
    level = float(np.mean([row.curve[-1].nll[str(grid.length)] for row in pilots[0]]))
    planned = tuple(_planned(grid, question, claim, pilots, level) for claim in question.claims)
    plan = Plan(
        question.name,
        question.exploratory,
        planned,
        rates,
        tuple(range(question.seeds)),
        level,
        _settings(grid, question, rates),
    )
    _check_seeds(grid, question, plan)
    return plan


def _planned(
    grid: RunGrid,
    question: TextQuestion,
    claim: TextClaim,
    pilots: Sequence[Sequence[Row]],
    level: float,
) -> PlannedClaim:
    paired = grid.arm(claim.better).after == grid.arm(claim.worse).after != ""
    deviation = claim_deviation(claim, pilots if paired else pilots[:1], level)
    # Pilots that agree to the last digit have no noise to plan for.
    design = Design(claim.margin, max(deviation, 1e-9), len(question.claims))
    return PlannedClaim(
        claim.text(grid.label), claim.margin, claim.measure.unit, deviation, design.seeds_needed()
    )


def claim_deviation(claim: TextClaim, pilots: Sequence[Sequence[Row]], level: float) -> float:
    """Deviation of a seed's difference between the sides of a claim.

    Args:
      pilots: rows of one arm, which say nothing of what seeds share between arms; or of two that
        start from the same weights, in the same order of seeds.
      level: selection loss that pilots ended at.
    """

    def score(row: Row) -> float:
        event = claim.measure.event
        return claim.measure.score(row) if event is None else math.log2(event(row, level).time)

    if claim.against is not None and claim.better == claim.worse:  # measures of one run: paired
        pairs = [claim.measure.score(row) - claim.against.score(row) for row in pilots[0]]
    elif len(pilots) == 2:
        pairs = [score(one) - score(other) for one, other in zip(*pilots, strict=True)]
    else:
        return difference_deviation([score(row) for row in pilots[0]])
    return float(np.std(pairs, ddof=1))


def _check_seeds(grid: RunGrid, question: TextQuestion, plan: Plan) -> None:
    if question.exploratory:
        return
    for claim in plan.claims:
        if claim.seeds_needed is None or claim.seeds_needed > question.seeds:
            needed = claim.seeds_needed or "more than 100"
            raise UserError(
                f"{grid.title}: {question.name}: {claim.claim}: {question.seeds} seeds, but at a "
                f"deviation of {claim.deviation:.3g} {claim.unit} a margin of {claim.margin:g} "
                f"needs {needed}; raise seeds or the margin, or declare it exploratory"
            )


def _settings(grid: RunGrid, question: TextQuestion, rates: Mapping[str, float]) -> dict[str, str]:
    runs = main_runs(grid, [question.name], rates)
    return {run.arm.name: run.settings for run in runs if run.seed == 0}


def plan_path(folder: Path, grid: RunGrid, question: TextQuestion) -> Path:
    """The file of a plan. folder: of all grids' rows and plans."""
    return folder / grid.title / f"{question.name}.json"


def write_plan(path: Path, plan: Plan) -> None:
    write_json(path, asdict(plan))


def read_plan(path: Path, grid: RunGrid, question: TextQuestion) -> Plan | None:
    """The plan of a question; None where there is none yet.

    Raises:
      UserError: it is of other settings or claims than the question has now.
    """
    if not path.exists():
        return None
    stored: dict[str, Any] = json.loads(path.read_bytes())
    claims = tuple(PlannedClaim(**claim) for claim in stored.pop("claims"))
    plan = Plan(claims=claims, seeds=tuple(stored.pop("seeds")), **stored)
    stated = [(claim.text(grid.label), claim.margin) for claim in question.claims]
    same = (
        stated == [(claim.claim, claim.margin) for claim in claims]
        and plan.seeds == tuple(range(question.seeds))
        and plan.exploratory == question.exploratory
        and plan.settings == _settings(grid, question, plan.rates)
    )
    if not same:
        raise UserError(
            f"{path} is of other settings or claims than {question.name} has now; restore them. "
            "A design that is stated after runs were seen is another one: with another name"
        )
    return plan


def check_committed(path: Path) -> None:
    """Checks that git has the plan as it is, so that its commit dates it.

    Raises:
      UserError: it hasn't.
    """
    git = ["git", "-C", str(path.parent)]
    for check in (["ls-files", "--error-unmatch"], ["diff", "--quiet", "HEAD"]):
        done = subprocess.run([*git, *check, "--", path.name], capture_output=True, check=False)
        if done.returncode:
            raise UserError(
                f"{path} isn't committed: margins, rates and seeds are settled before a run that "
                f"counts; read it, then git add {path} and git commit"
            )


def is_edge(grid: RunGrid, family: str, rate: float) -> bool:
    """Whether a rate is the smallest or largest that was tried: a better one may lie beyond."""
    return rate in (min(grid.rates[family]), max(grid.rates[family]))
