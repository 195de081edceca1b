"""The results of an experiment as one JSON file, from which all else is computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lengthwise.common.cores import available_cores
from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.experiments.definition import (
    BEYOND,
    CRITICAL,
    IN_RANGE,
    SAMPLES,
    Claim,
    ExperimentDefinition,
)
from lengthwise.experiments.measures import (
    Value,
    critical_complexity,
    passes_gate,
    values_by_seed,
)
from lengthwise.experiments.statistics.variance import crossed_effect
from lengthwise.experiments.statistics.verdict import (
    ClaimVerdict,
    Effect,
    Measurement,
    effect,
    judge,
    weakest,
)
from lengthwise.experiments.trial_results import (
    TrialResult,
    plain,
    read_trial,
    trial_result_from_json,
)
from lengthwise.train.config import CONFIG_VERSION

FLOOR = 0.05  # accuracy below which an arm counts as never right


@dataclass(frozen=True)
class ExperimentResults:
    """All runs of an experiment at a scale."""

    experiment: str
    scale: str
    seeds: int
    machine: str
    claims: tuple[Claim, ...]  # as stated when the experiment ran
    runs: tuple[TrialResult, ...]
    config_version: int | None = None  # of the code that trained; None: one before 3

    def of(self, arm: str) -> list[TrialResult]:
        """The runs of an arm, ordered by seed."""
        return sorted((run for run in self.runs if run.arm == arm), key=lambda run: run.seed)

    def measurement(self, experiment: ExperimentDefinition, claim: Claim) -> Measurement:
        """The effect of a claim over the seeds, with what its verdict depends on."""
        gate_values = self._gate_values(experiment, claim)
        censored = self.indistinguishable(claim)
        if experiment.crossed is not None:
            effect_of_claim = self._crossed_effect(experiment, experiment.crossed.orders, claim)
        else:
            better, worse = self._sides(experiment, claim)
            effect_of_claim = effect(
                *([value for value, _ in side] for side in (better, worse)),
                *([variance for _, variance in side] for side in (better, worse)),
            )
            if claim.where == SAMPLES and not all(map(passes_gate, self.of(claim.worse))):
                censored = "a run of the worse arm ended before it reached the gate"
        return Measurement(effect_of_claim, claim.margin, gate_values, censored)

    def _gate_values(self, experiment: ExperimentDefinition, claim: Claim) -> tuple[float, ...]:
        """Accuracy at trained lengths that must reach the gate, mean over seeds.

        Of a group, up to the level of its largest gap: a gap of what isn't learned in range says
        nothing of length.
        """
        if claim.where != CRITICAL:
            return tuple(means(self.of(arm), IN_RANGE)[0] for arm in experiment.gate_arms(claim))
        values = []
        for group in (claim.better, claim.worse):
            arms = experiment.arms_of(group)
            levels = [arm.level for arm in arms]
            by_seed = zip(*(self.of(arm.name) for arm in arms), strict=True)
            peak = max(critical_complexity(runs, levels)[0] for runs in by_seed)
            learned = [arm.name for arm in arms if arm.level <= peak]
            values.append(min(means(self.of(name), IN_RANGE)[0] for name in learned))
        return tuple(values)

    def _sides(
        self, experiment: ExperimentDefinition, claim: Claim, *, all_samples: bool = False
    ) -> tuple[list[Value], list[Value]]:
        """Values of the claim's better and worse side by seed."""

        def runs_of(name: str) -> list[list[TrialResult]]:
            arms = [self.of(arm.name) for arm in experiment.arms_of(name)]
            return [list(runs) for runs in zip(*arms, strict=True)]

        levels = {arm.name: arm.level for arm in experiment.arms}
        return values_by_seed(claim, runs_of, lambda arm: levels[arm], all_samples=all_samples)

    def _crossed_effect(
        self, experiment: ExperimentDefinition, orders: int, claim: Claim
    ) -> Effect:
        better, worse = self._sides(experiment, claim)
        tables = [
            np.reshape([value for value, _ in side], (-1, orders)) for side in (better, worse)
        ]
        # Crossed runs are scored on the same samples, which their mean doesn't average out.
        seeds = len(better)
        shared = self._sides(experiment, claim, all_samples=True)
        floor = max(
            sum(variance for side in shared for _, variance in side) / seeds,
            sum(variance for _, variance in (*better, *worse)) / seeds**2,
        )
        return crossed_effect(tables[0], tables[1], floor)

    def indistinguishable(self, claim: Claim) -> str:
        """How two arms both fail beyond the trained lengths, or both succeed; "": neither.

        The band is narrower than the smallest difference that counts, which would be seen there.
        """
        if claim.where != BEYOND:
            return ""
        band = min(FLOOR, claim.margin)
        sides = [means(self.of(arm), BEYOND)[0] for arm in (claim.better, claim.worse)]
        if max(sides) < band:
            return f"both are right in less than {band:.0%}"
        return f"both are right in more than {1 - band:.0%}" if min(sides) > 1 - band else ""

    def verdicts(
        self, experiment: ExperimentDefinition
    ) -> list[tuple[Claim, Measurement, ClaimVerdict]]:
        """Each claim with its measurement and its verdict."""
        family = [self.measurement(experiment, claim) for claim in self.claims]
        return list(zip(self.claims, family, judge(family), strict=True))

    def verdict(self, experiment: ExperimentDefinition) -> str:
        """The verdict of the experiment."""
        return weakest([verdict.verdict for _, _, verdict in self.verdicts(experiment)])


def collect(
    experiment: ExperimentDefinition, scale: str, seeds: int, directory: Path, device: str
) -> ExperimentResults:
    """The results of finished trials below `directory`. device: their hardware, in words."""
    runs = [read_trial(trial, directory / trial.name) for trial in experiment.trials(scale, seeds)]
    cores = available_cores()
    machine = f"{device}, {cores} processor core{'s' * (cores > 1)}"
    return ExperimentResults(
        experiment.name,
        scale,
        seeds,
        machine,
        experiment.claims_at(scale),
        tuple(runs),
        CONFIG_VERSION,
    )


def save(results: ExperimentResults, path: Path) -> None:
    write_json(path, asdict(results))


def read(
    path: Path, experiments: dict[str, ExperimentDefinition]
) -> tuple[ExperimentDefinition, ExperimentResults]:
    """Stored results and the definition of their experiment.

    Raises:
      UserError: the file is missing or broken, or the experiment has changed since: its claims
        would not have been stated beforehand.
    """
    try:
        stored = json.loads(path.read_bytes())
        runs = tuple(trial_result_from_json(run) for run in stored.pop("runs"))
        claims = tuple(Claim(**claim) for claim in stored.pop("claims"))
        results = ExperimentResults(claims=claims, runs=runs, **stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} holds no results of an experiment ({error})") from error
    if results.experiment not in experiments:
        raise UserError(f"{path} is of {results.experiment!r}, which is no experiment")
    experiment = experiments[results.experiment]
    changes = [plain(trial.changes) for trial in experiment.trials(results.scale, results.seeds)]
    claims_now = experiment.claims_at(results.scale)
    if results.claims != claims_now or changes != [run.changes for run in results.runs]:
        raise UserError(
            f"{path} is of other settings or claims than {results.experiment} has now; rerun it "
            f"(python -m lengthwise.experiments.run {results.experiment} --scale={results.scale} "
            "--publish)"
        )
    return experiment, results


def means(runs: Sequence[TrialResult], where: str) -> tuple[float, float, float]:
    """(mean, smallest, largest) accuracy over seeds."""
    accuracies = [run.accuracy(where) for run in runs]
    return float(np.mean(accuracies)), min(accuracies), max(accuracies)
