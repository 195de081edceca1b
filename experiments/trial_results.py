"""The result of one trial: accuracy by length at its end, and its training curve."""

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
from lengthwise.experiments.definition import BEYOND, Trial
from lengthwise.experiments.statistics.verdict import sample_variance
from lengthwise.experiments.trials import ANSWERS
from lengthwise.train.metrics.writer import read_rows


@dataclass(frozen=True)
class SelectionScore:
    """An evaluation during training, on the selection samples."""

    step: int
    samples: int  # trained on so far, hints included
    loss: float  # training loss, mean over the steps since the previous evaluation
    exact: float  # exact match, mean over the selection lengths
    wrong: float  # token error rate, mean over the same; selects the best checkpoint


@dataclass(frozen=True)
class TrialResult:
    """A trained and scored trial."""

    arm: str
    seed: int
    changes: dict[str, Any]  # differences from configs/task.py
    trained: tuple[int, int]  # shortest and longest length
    lengths: tuple[int, ...]  # [K] tested lengths
    right: tuple[int, ...]  # [K] exact matches
    samples: tuple[int, ...]  # [K]
    problems: tuple[int, ...]  # [K] distinct samples, as token sequences
    targets: int  # valid target tokens trained on
    flops: float  # model FLOPs of training, analytic
    seconds: float  # wall time without the final scoring
    curve: tuple[SelectionScore, ...] = ()  # ascending steps
    selection: tuple[int, int] | None = None  # shortest and longest length of the curve's scores
    together: int = 1  # runs trained in one program; `seconds` is one's share of its time

    def _columns(self, where: str) -> list[int]:
        low, high = self.trained
        return [k for k, n in enumerate(self.lengths) if (low <= n <= high) != (where == BEYOND)]

    def accuracy(self, where: str) -> float:
        """Exact match, mean over the tested lengths BEYOND or IN_RANGE."""
        return float(np.mean([self.right[k] / self.samples[k] for k in self._columns(where)]))

    def variance(self, where: str, *, all_samples: bool = False) -> float:
        """Sampling variance of `accuracy`.

        Equal problems count once, since a model answers them alike; with `all_samples` each
        counts, since each is an independent draw from the task's problems.
        """
        columns = self._columns(where)
        counted = self.samples if all_samples else self.problems
        return sample_variance(
            *([each[k] for k in columns] for each in (self.right, self.samples, counted))
        )


def read_trial(trial: Trial, workdir: Path) -> TrialResult:
    """The result of a finished trial, from its work directory."""
    hits = load_hits(workdir)
    low, high = json.loads((workdir / ANSWERS).read_bytes())["task"]["lengths"]
    rows = read_rows(workdir / "metrics.jsonl")
    train = [row for row in rows if row["kind"] == "train"]
    account = [row for row in rows if row["kind"] == "goodput"][-1]
    evals = [row for row in rows if row["kind"] == "eval"]
    return TrialResult(
        arm=trial.arm,
        seed=trial.seed,
        changes=plain(trial.changes),
        trained=(low, high),
        lengths=tuple(each.length for each in hits),
        right=tuple(int(each.exact_N.sum()) for each in hits),
        samples=tuple(each.exact_N.size for each in hits),
        problems=distinct_samples(trial, {each.length: each.exact_N.size for each in hits}),
        targets=sum(int(row["targets"]) for row in train),
        flops=float(sum(row["flops_per_second"] * row["seconds"] for row in train)),
        seconds=float(account["wall_seconds"]),
        curve=tuple(curve(train, evals)),
        selection=tuple(evals[-1]["lengths"]) if evals else None,
        together=int(account.get("runs", 1)),
    )


def distinct_samples(trial: Trial, samples: Mapping[int, int]) -> tuple[int, ...]:
    """[K] numbers of distinct test samples. samples: length -> number of samples, K entries."""
    task_samples = TaskSamples(load(trial.config(), None).data.sources[0].task)
    return tuple(
        len(np.unique(task_samples.scored("report", length, np.arange(count)).tokens, axis=0))
        for length, count in samples.items()
    )


def curve(
    train: Sequence[Mapping[str, Any]], evals: Sequence[Mapping[str, Any]]
) -> list[SelectionScore]:
    """The training curve from metrics rows of kinds "train" and "eval".

    `tokens` of a row counts from the first step. Layout "whole" has one sample a row of a bucket.
    """
    scores: list[SelectionScore] = []
    losses: list[float] = []
    samples = tokens = 0
    steps = iter(train)
    for evaluation in evals:
        for row in steps:
            samples += (int(row["tokens"]) - tokens) // int(row["bucket"])
            tokens = int(row["tokens"])
            losses.append(row["loss"])
            if row["step"] == evaluation["step"]:
                break
        scores.append(
            SelectionScore(
                step=int(evaluation["step"]),
                samples=samples,
                loss=float(np.mean(losses)),
                exact=float(evaluation["exact_match"]),
                wrong=float(evaluation["score"]),
            )
        )
        losses = []
    return scores


def plain(changes: Any) -> Any:
    """`changes` as JSON returns them: comparable with stored ones."""
    return json.loads(json.dumps(changes))


def trial_result_from_json(stored: dict[str, Any]) -> TrialResult:
    """The inverse of `dataclasses.asdict` followed by JSON."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    fields["curve"] = tuple(SelectionScore(**each) for each in fields.get("curve", ()))
    return TrialResult(**fields)
