"""Prompts under teacher forcing: is the answer likelier than every distractor, and by how much."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from data.tokenizers import Tokenizer
from errors import UserError
from eval.cached_scorer import score_continuations
from eval.config import EvalConfig
from eval.curves import Curve, Group, Scored, population
from eval.methods import PLAIN
from eval.prompts.assemble import PromptMaker
from eval.prompts.diagnosis import diagnose
from eval.prompts.prompt import Control, Prompt, PromptTask
from eval.prompts.tasks import CANDIDATES, TASKS
from eval.scorer import Scorer
from eval.statistics import ClusterBootstrap, Estimate


@dataclass(frozen=True)
class Cell:
    """One task at one length under one control."""

    task: str
    dispersion: str
    scope: str
    control: str
    length: int  # tokens of the plain prompt with its answer
    prompts: int
    chance: float
    accuracy: Estimate  # share of prompts whose answer is likelier than every distractor
    margin: Estimate  # nats by which it is likelier than the best distractor, mean

    @property
    def corrected(self) -> float:
        """Accuracy on a scale from 0 at chance to 1."""
        return (self.accuracy.value - self.chance) / (1 - self.chance)

    def as_dict(self) -> dict[str, object]:
        return {**dataclasses.asdict(self), "chance_corrected_accuracy": self.corrected}


def margins(scorer: Scorer, prompts: Sequence[Prompt], length: int, pad: int) -> np.ndarray:
    """[P] nats by which each answer is likelier than its best distractor."""
    candidates = [(prompt.answer, *prompt.distractors) for prompt in prompts]
    prefixes = [prompt.tokens for prompt in prompts]
    scored = score_continuations(scorer, prefixes, candidates, length, pad)
    sums = [[each.sum(dtype=np.float64) for each in one] for one in scored]
    return np.array([min(distractors) - answer for answer, *distractors in sums])


class PromptTasks:
    """The tasks of `eval.tasks` at the tested contexts.

    Raises UserError: a name is unknown, a task fits no context, the tokenizer has no text.
    """

    def __init__(
        self, config: EvalConfig, tokenizer: Tokenizer, lengths: Sequence[int], l_train: int
    ):
        for name in config.tasks:
            if name not in TASKS:
                raise UserError(
                    f"eval.tasks holds {name!r}, which is unknown; choose among {', '.join(TASKS)}"
                )
        self._config = config
        self._maker = PromptMaker(tokenizer, l_train)
        self._pad = tokenizer.end_of_text
        self._tokenizer = tokenizer.describe()
        self._lengths = {name: self._fitting(TASKS[name], lengths) for name in config.tasks}
        self.left_out = [
            f"eval.tasks {name}: no prompt fits {missing} tokens"
            for name, fitting in self._lengths.items()
            if (missing := ", ".join(str(n) for n in lengths if n not in fitting))
        ]

    def _fitting(self, task: PromptTask, lengths: Sequence[int]) -> list[int]:
        config = self._config
        fitting = [n for n in lengths if self._maker.fits(task, n, config.prompts, config.seed)]
        if not fitting:
            raise UserError(
                f"eval.tasks: no prompt of {task.name!r} fits {max(lengths)} tokens; leave it out "
                "or raise eval.ratios"
            )
        return fitting

    def run(self, scorer: Scorer) -> tuple[list[Cell], list[str], Scored]:
        """Every task at every context it fits, with its controls; what that says, in words; and
        the same by prompt."""
        cells: list[Cell] = []
        curves: list[Curve] = []
        said: list[str] = []
        total = sum(len(fitting) for fitting in self._lengths.values())
        with tqdm(total=total, desc="scoring tasks", unit="cell") as progress:
            for name, fitting in self._lengths.items():
                task = TASKS[name]
                begin = time.perf_counter()
                margins_of: dict[Control, list[np.ndarray]] = {c: [] for c in task.controls}
                for length in fitting:
                    row = {}
                    for control in task.controls:
                        row[control], margin_P = self._cell(task, length, control, scorer)
                        margins_of[control].append(margin_P)
                    cells += row.values()
                    said.append(_sentence(task, length, row))
                    progress.update()
                curves += self._curves(task, margins_of, time.perf_counter() - begin)
        return cells, said, Scored(tuple(curves), left_out=tuple(self.left_out))

    def _cell(
        self, task: PromptTask, length: int, control: Control, scorer: Scorer
    ) -> tuple[Cell, np.ndarray]:
        """The cell, and [P] the margins behind it."""
        config = self._config
        prompts = self._maker.prompts(task, length, config.prompts, config.seed, control)
        margin_P = margins(scorer, prompts, length, self._pad)
        bootstrap = ClusterBootstrap(
            np.arange(len(prompts)),
            samples=config.bootstrap_samples,
            confidence=config.confidence,
            seed=config.seed,
        )
        ones_P = np.ones(len(prompts))
        cell = Cell(
            task=task.name,
            dispersion=task.dispersion,
            scope=task.scope,
            control=control,
            length=length,
            prompts=len(prompts),
            chance=prompts[0].chance,
            accuracy=bootstrap.ratio((margin_P > 0).astype(np.float64), ones_P),
            margin=bootstrap.ratio(margin_P, ones_P),
        )
        return cell, margin_P

    def _curves(
        self, task: PromptTask, margins_of: dict[Control, list[np.ndarray]], seconds: float
    ) -> list[Curve]:
        """Accuracy and margin of each control. seconds: of all, in equal shares over controls."""
        lengths = self._lengths[task.name]
        asked = (task.name, self._config.seed, self._config.prompts, self._tokenizer)
        curves = []
        for control, margins_K in margins_of.items():
            margin_PK = np.stack(margins_K, axis=1)
            prompts = len(margin_PK)
            shared: dict[str, Any] = {
                "scorer": task.name,
                "group": Group.SYNTHESIS if task.scope == "high" else Group.RETRIEVAL,
                "method": PLAIN,
                "control": str(control),
                "higher_is_better": True,
                "lengths": tuple(lengths),
                "counts_NK": np.ones_like(margin_PK),
                "clusters_N": np.arange(prompts),
                "population": population(*asked),
                "dispersion": task.dispersion,
                "scope": task.scope,
            }
            curves += [
                Curve(
                    metric="accuracy",
                    unit="accuracy",
                    primary=True,
                    sums_NK=(margin_PK > 0).astype(np.float64),
                    chance_K=np.full(len(lengths), 1 / CANDIDATES),
                    best=1.0,
                    seconds=seconds / len(margins_of),
                    **shared,
                ),
                Curve(metric="margin", unit="nats", primary=False, sums_NK=margin_PK, **shared),
            ]
        return curves


def _sentence(task: PromptTask, length: int, row: dict[Control, Cell]) -> str:
    plain = row[Control.PLAIN]
    return (
        f"{task.name} at {length} tokens: right {plain.accuracy.value:.0%} "
        f"[{plain.accuracy.low:.0%}, {plain.accuracy.high:.0%}] of the time, by chance "
        f"{plain.chance:.0%}: "
        + diagnose({c: cell.accuracy.low > cell.chance for c, cell in row.items()})
    )
