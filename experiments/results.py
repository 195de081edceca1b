"""What the runs of an experiment gave, in one JSON file: all else is computed from it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomic_write import write_json
from errors import UserError
from eval.answers.hits_file import load_hits
from experiments.cells import ANSWERS
from experiments.definition import BEYOND, IN_RANGE, Cell, Claim, Experiment
from experiments.verdict import Measured, Verdict, effect, judge, sample_variance, weakest
from train.metrics import read_rows


@dataclass(frozen=True)
class Run:
    """One cell, trained and scored."""

    arm: str
    seed: int
    changes: dict[str, Any]  # from configs/task.py
    trained: tuple[int, int]  # shortest and longest length
    lengths: tuple[int, ...]  # tested ones, K of them
    right: tuple[int, ...]  # wholly right answers of each
    samples: tuple[int, ...]  # of each
    targets: int  # valid target tokens trained on
    flops: float  # of the model in training, analytic
    seconds: float  # wall time of the run, without its scores at the end

    def _places(self, where: str) -> list[int]:
        low, high = self.trained
        return [k for k, n in enumerate(self.lengths) if (low <= n <= high) != (where == BEYOND)]

    def accuracy(self, where: str) -> float:
        """Exact match, mean over tested lengths; `where` as of a claim."""
        return float(np.mean([self.right[k] / self.samples[k] for k in self._places(where)]))

    def variance(self, where: str) -> float:
        """Of `accuracy`, from the samples alone."""
        places = self._places(where)
        return sample_variance([self.right[k] for k in places], [self.samples[k] for k in places])


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

    def measured(self, claim: Claim) -> Measured:
        better, worse = self.of(claim.better), self.of(claim.worse)
        gated = tuple(
            float(np.mean([run.accuracy(IN_RANGE) for run in self.of(arm)])) for arm in claim.gated
        )
        where = claim.where
        found = effect(
            *([run.accuracy(where) for run in runs] for runs in (better, worse)),
            *([run.variance(where) for run in runs] for runs in (better, worse)),
        )
        return Measured(found, claim.margin, gated)

    def judged(self) -> list[tuple[Claim, Measured, Verdict]]:
        """Each claim with what was measured and its verdict."""
        family = [self.measured(claim) for claim in self.claims]
        return list(zip(self.claims, family, judge(family), strict=True))

    def verdict(self) -> str:
        """Of the experiment."""
        return weakest([verdict.verdict for _, _, verdict in self.judged()])


def collect(
    experiment: Experiment, scale: str, seeds: int, directory: Path, device: str
) -> Results:
    """Of finished cells below `directory`. device: what they ran on, in words."""
    runs = [_run_of(cell, directory / cell.name) for cell in experiment.cells(scale, seeds)]
    machine = f"{device}, {os.cpu_count()} processor cores"
    return Results(experiment.name, scale, seeds, machine, experiment.claims, tuple(runs))


def _run_of(cell: Cell, workdir: Path) -> Run:
    hits = load_hits(workdir)
    low, high = json.loads((workdir / ANSWERS).read_bytes())["task"]["lengths"]
    rows = read_rows(workdir / "metrics.jsonl")
    train = [row for row in rows if row["kind"] == "train"]
    account = [row for row in rows if row["kind"] == "goodput"][-1]
    return Run(
        arm=cell.arm,
        seed=cell.seed,
        changes=plain(cell.changes),
        trained=(low, high),
        lengths=tuple(each.length for each in hits),
        right=tuple(int(each.exact_N.sum()) for each in hits),
        samples=tuple(each.exact_N.size for each in hits),
        targets=sum(int(row["targets"]) for row in train),
        flops=float(sum(row["flops_per_second"] * row["seconds"] for row in train)),
        seconds=float(account["wall_seconds"]),
    )


def plain(changes: Any) -> Any:
    """As JSON gives it back, so that what is stored can be compared with a definition."""
    return json.loads(json.dumps(changes))


def save(results: Results, path: Path) -> None:
    write_json(path, asdict(results))


def read(path: Path, experiments: dict[str, Experiment]) -> tuple[Experiment, Results]:
    """Stored results with the experiment that they are of.

    Raises UserError: no such file, a broken one, or results of an experiment that was changed
    since: its claims would not have been stated beforehand.
    """
    try:
        stored = json.loads(path.read_bytes())
        runs = tuple(_run_from(run) for run in stored.pop("runs"))
        claims = tuple(Claim(**claim) for claim in stored.pop("claims"))
        results = Results(claims=claims, runs=runs, **stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} holds no results of an experiment ({error})") from error
    if results.experiment not in experiments:
        raise UserError(f"{path} is of {results.experiment!r}, which is no experiment")
    experiment = experiments[results.experiment]
    wanted = [plain(cell.changes) for cell in experiment.cells(results.scale, results.seeds)]
    if results.claims != experiment.claims or wanted != [run.changes for run in results.runs]:
        raise UserError(
            f"{path} is of other settings or claims than {results.experiment} has now; rerun it "
            f"(python -m experiments.run {results.experiment} --scale={results.scale} --publish)"
        )
    return experiment, results


def _run_from(stored: dict[str, Any]) -> Run:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    return Run(**fields)


def means(runs: Sequence[Run], where: str) -> tuple[float, float, float]:
    """(mean, least, largest) accuracy over seeds."""
    found = [run.accuracy(where) for run in runs]
    return float(np.mean(found)), min(found), max(found)
