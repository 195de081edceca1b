"""Scores of trainings over their seeds, and paired comparisons between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthwise.common.files import write_figures
from lengthwise.eval.answers.runs import EXACT, Training
from lengthwise.eval.answers.summary import Answers, over_seeds, summarize
from lengthwise.eval.card.comparison import Comparison, compare_curves
from lengthwise.eval.config import EvalConfig

COMPARISON = Path("eval") / "comparison.json"  # in a work directory


@dataclass(frozen=True)
class TrainingScores:
    """Scores of a training, for tables and pictures."""

    name: str
    claim: str  # what its scores speak of
    answers: Answers
    # Exact match of each seed at each length; of one seed what `answers` has.
    seeds: tuple[tuple[float, ...], ...]


def score_training(
    training: Training, trained: tuple[int, int], chance_K: Sequence[float], config: EvalConfig
) -> TrainingScores:
    """Summarizes one training; trained and chance_K as in `summarize`."""
    settings: dict[str, Any] = {
        "threshold": config.answers.threshold,
        "confidence": config.confidence,
        "bootstrap_samples": config.bootstrap_samples,
        "seed": config.seed,
    }
    if len(training.runs) == 1:
        answers = summarize(training.runs[0].hits, trained, chance_K, **settings)
    else:
        answers = over_seeds(training, trained, chance_K, **settings)
    seeds = tuple(tuple(float(each.exact_N.mean()) for each in run.hits) for run in training.runs)
    return TrainingScores(training.name, training.claim, answers, seeds)


def compare_trainings(group: Sequence[Training], config: EvalConfig) -> list[Comparison]:
    """Compares every other training with the first, by exact match."""
    mine, *others = group
    return [
        compare_curves(
            mine.name, other.name, number, mine.curves(EXACT), other.curves(EXACT), config
        )
        for number, other in enumerate(others, start=1)
    ]


def save_comparison(
    scored: Sequence[TrainingScores], comparisons: Sequence[Comparison], path: Path
) -> None:
    """Writes strict JSON, whole or not at all."""
    write_figures(
        path,
        {
            "trainings": [
                {"name": each.name, "seeds": len(each.seeds), **each.answers.as_dict()}
                for each in scored
            ],
            "comparisons": [
                {**dataclasses.asdict(each), "said": [str(outcome) for outcome in each.outcomes]}
                for each in comparisons
            ],
        },
    )
