"""What the runs of an experiment gave, in one JSON file: all else is computed from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lengthwise.common.cores import available_cores
from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.experiments.definition import BEYOND, IN_RANGE, SAMPLES, Claim, Experiment
from lengthwise.experiments.measures import Value, knew, measured_by_seed
from lengthwise.experiments.runs import Run, plain, read_run, run_from
from lengthwise.experiments.variance import crossed_effect
from lengthwise.experiments.verdict import Measured, Verdict, effect, judge, weakest

FLOOR = 0.05  # right answers, up to which an arm is as good as never right


@dataclass(frozen=True)
class Results:
    """All runs of an experiment at a scale."""

    experiment: str
    scale: str
    seeds: int
    machine: str
    claims: tuple[Claim, ...]  # as they stood when the experiment was run
    runs: tuple[Run, ...]

    def of(self, arm: str) -> list[Run]:
        """The runs of an arm by seed."""
        return sorted((run for run in self.runs if run.arm == arm), key=lambda run: run.seed)

    def measured(self, experiment: Experiment, claim: Claim) -> Measured:
        gated = tuple(
            float(np.mean([run.accuracy(IN_RANGE) for run in self.of(arm)]))
            for arm in experiment.gated(claim)
        )

        def by_seed(name: str) -> list[list[Run]]:
            arms = [self.of(arm.name) for arm in experiment.named(name)]
            return [list(runs) for runs in zip(*arms, strict=True)]

        levels = {arm.name: arm.level for arm in experiment.arms}
        open_above = self.alike(claim)

        def sides(*, drawn: bool) -> tuple[list[Value], list[Value]]:
            return measured_by_seed(claim, by_seed, lambda arm: levels[arm], drawn=drawn)

        better, worse = sides(drawn=False)
        if experiment.crossed is not None:
            tables = [
                np.reshape([value for value, _ in side], (-1, experiment.crossed.orders))
                for side in (better, worse)
            ]
            # Crossed runs are scored on the same samples, which their mean doesn't average out.
            seeds = len(better)
            floor = max(
                sum(variance for side in sides(drawn=True) for _, variance in side) / seeds,
                sum(variance for _, variance in (*better, *worse)) / seeds**2,
            )
            return Measured(
                crossed_effect(tables[0], tables[1], floor), claim.margin, gated, open_above
            )
        found = effect(
            *([value for value, _ in side] for side in (better, worse)),
            *([variance for _, variance in side] for side in (better, worse)),
        )
        if claim.where == SAMPLES and not all(map(knew, self.of(claim.worse))):
            open_above = "a run of the worse arm ended before it knew them"
        return Measured(found, claim.margin, gated, open_above)

    def alike(self, claim: Claim) -> str:
        """How two arms both fail beyond the trained lengths, or both don't; "": neither.

        Within less than the smallest difference that counts: else it could be seen there.
        """
        if claim.where != BEYOND:
            return ""
        band = min(FLOOR, claim.margin)
        sides = [means(self.of(arm), BEYOND)[0] for arm in (claim.better, claim.worse)]
        if max(sides) < band:
            return f"both are right in less than {band:.0%}"
        return f"both are right in more than {1 - band:.0%}" if min(sides) > 1 - band else ""

    def judged(self, experiment: Experiment) -> list[tuple[Claim, Measured, Verdict]]:
        """Each claim with what was measured and its verdict."""
        family = [self.measured(experiment, claim) for claim in self.claims]
        return list(zip(self.claims, family, judge(family), strict=True))

    def verdict(self, experiment: Experiment) -> str:
        """Of the experiment."""
        return weakest([verdict.verdict for _, _, verdict in self.judged(experiment)])


def collect(
    experiment: Experiment, scale: str, seeds: int, directory: Path, device: str
) -> Results:
    """Of finished cells below `directory`. device: what they ran on, in words."""
    runs = [read_run(cell, directory / cell.name) for cell in experiment.cells(scale, seeds)]
    cores = available_cores()
    machine = f"{device}, {cores} processor core{'s' * (cores > 1)}"
    return Results(experiment.name, scale, seeds, machine, experiment.claims_at(scale), tuple(runs))


def save(results: Results, path: Path) -> None:
    write_json(path, asdict(results))


def read(path: Path, experiments: dict[str, Experiment]) -> tuple[Experiment, Results]:
    """Stored results with the experiment that they are of.

    Raises UserError: no such file, a broken one, or results of an experiment that was changed
    since: its claims would not have been stated beforehand.
    """
    try:
        stored = json.loads(path.read_bytes())
        runs = tuple(run_from(run) for run in stored.pop("runs"))
        claims = tuple(Claim(**claim) for claim in stored.pop("claims"))
        results = Results(claims=claims, runs=runs, **stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} holds no results of an experiment ({error})") from error
    if results.experiment not in experiments:
        raise UserError(f"{path} is of {results.experiment!r}, which is no experiment")
    experiment = experiments[results.experiment]
    wanted = [plain(cell.changes) for cell in experiment.cells(results.scale, results.seeds)]
    claims_now = experiment.claims_at(results.scale)
    if results.claims != claims_now or wanted != [run.changes for run in results.runs]:
        raise UserError(
            f"{path} is of other settings or claims than {results.experiment} has now; rerun it "
            f"(python -m lengthwise.experiments.run {results.experiment} --scale={results.scale} "
            "--publish)"
        )
    return experiment, results


def means(runs: Sequence[Run], where: str) -> tuple[float, float, float]:
    """(mean, least, largest) accuracy over seeds."""
    found = [run.accuracy(where) for run in runs]
    return float(np.mean(found)), min(found), max(found)
