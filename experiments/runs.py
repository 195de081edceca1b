"""What one cell gave: accuracies by length at its end, and scores and losses on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lengthwise.configs.resolve import load
from lengthwise.data.tasks.samples import TaskSamples
from lengthwise.eval.answers.hits_file import load_hits
from lengthwise.experiments.cells import ANSWERS
from lengthwise.experiments.definition import BEYOND, Cell
from lengthwise.experiments.verdict import sample_variance
from lengthwise.train.metrics.writer import read_rows


@dataclass(frozen=True)
class Scored:
    """A score in training, on the selection samples."""

    step: int
    samples: int  # trained on so far, those of hints included
    loss: float  # of training, mean over the steps since the score before
    exact: float  # exact match, mean over the selection lengths
    wrong: float  # share of wrong tokens, the same: what chooses the best checkpoint


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
    problems: tuple[int, ...]  # of each, how many of the samples differ, in what the model reads
    targets: int  # valid target tokens trained on
    flops: float  # of the model in training, analytic
    seconds: float  # wall time of the run, without its scores at the end
    curve: tuple[Scored, ...] = ()  # ascending steps
    selection: tuple[int, int] | None = None  # shortest and longest length of the curve's scores
    together: int = 1  # runs that were trained together, of whose time `seconds` is one's part

    def _places(self, where: str) -> list[int]:
        low, high = self.trained
        return [k for k, n in enumerate(self.lengths) if (low <= n <= high) != (where == BEYOND)]

    def accuracy(self, where: str) -> float:
        """Exact match, mean over tested lengths; where: BEYOND or IN_RANGE."""
        return float(np.mean([self.right[k] / self.samples[k] for k in self._places(where)]))

    def variance(self, where: str, *, drawn: bool = False) -> float:
        """Of `accuracy`, from the samples alone: of equal problems one counts, since a model gives
        them the same answer; drawn: all do, since they stand for as many of the task's problems."""
        places = self._places(where)
        counted = self.samples if drawn else self.problems
        return sample_variance(
            *([each[k] for k in places] for each in (self.right, self.samples, counted))
        )


def read_run(cell: Cell, workdir: Path) -> Run:
    """Of a finished cell."""
    hits = load_hits(workdir)
    low, high = json.loads((workdir / ANSWERS).read_bytes())["task"]["lengths"]
    rows = read_rows(workdir / "metrics.jsonl")
    train = [row for row in rows if row["kind"] == "train"]
    account = [row for row in rows if row["kind"] == "goodput"][-1]
    evals = [row for row in rows if row["kind"] == "eval"]
    return Run(
        arm=cell.arm,
        seed=cell.seed,
        changes=plain(cell.changes),
        trained=(low, high),
        lengths=tuple(each.length for each in hits),
        right=tuple(int(each.exact_N.sum()) for each in hits),
        samples=tuple(each.exact_N.size for each in hits),
        problems=different(cell, {each.length: each.exact_N.size for each in hits}),
        targets=sum(int(row["targets"]) for row in train),
        flops=float(sum(row["flops_per_second"] * row["seconds"] for row in train)),
        seconds=float(account["wall_seconds"]),
        curve=tuple(curve(train, evals)),
        selection=tuple(evals[-1]["lengths"]) if evals else None,
        together=int(account.get("runs", 1)),
    )


def different(cell: Cell, samples: Mapping[int, int]) -> tuple[int, ...]:
    """How many different samples a cell is tested on. samples: length -> how many there are."""
    made = TaskSamples(load(cell.config(), None).data.sources[0].task)
    return tuple(
        len(np.unique(made.scored("report", length, np.arange(count)).tokens, axis=0))
        for length, count in samples.items()
    )


def curve(train: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]) -> list[Scored]:
    """The scores of a run, out of its rows of training and of evaluation.

    `tokens` of a row counts from the first step on. Layout "whole" has a sample a row of a bucket.
    """
    found: list[Scored] = []
    losses: list[float] = []
    samples = tokens = 0
    steps = iter(train)
    for score in evals:
        for row in steps:
            samples += (int(row["tokens"]) - tokens) // int(row["bucket"])
            tokens = int(row["tokens"])
            losses.append(row["loss"])
            if row["step"] == score["step"]:
                break
        found.append(
            Scored(
                step=int(score["step"]),
                samples=samples,
                loss=float(np.mean(losses)),
                exact=float(score["exact_match"]),
                wrong=float(score["score"]),
            )
        )
        losses = []
    return found


def plain(changes: Any) -> Any:
    """As JSON gives it back, so that what is stored can be compared with a definition."""
    return json.loads(json.dumps(changes))


def run_from(stored: dict[str, Any]) -> Run:
    """The inverse of `dataclasses.asdict` and JSON."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    fields["curve"] = tuple(Scored(**each) for each in fields.get("curve", ()))
    return Run(**fields)
