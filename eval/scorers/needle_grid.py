"""Needle grids: retrieval by length of the input and depth, or distance, of a needle.

One fact of a named key stands in noise (the task `single_key`), at an exact token. Each cell has
trials of its own, with their own keys, values and haystack. The card draws the grids; a model that
forgets shows in them as a vertical line (by length), a diagonal one (by distance) or a band in the
middle (lost there, arXiv 2307.03172).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.common.settings import setting
from lengthwise.eval.inference.scorer import Method, TargetScorer
from lengthwise.eval.prompts.candidates import Outcomes, score_prompts
from lengthwise.eval.prompts.prompt import DoesNotFit, Prompt
from lengthwise.eval.prompts.registry import TASKS
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench, BenchScorer
from lengthwise.eval.statistics.curves import (
    Curve,
    Grid,
    Group,
    ScorerResult,
    population,
)

Places = tuple[float | int, ...]  # depths (float) or distances (int)


class NeedleGrid(BenchScorer):
    """Scorer of needles by depth or distance. Raises UserError: no prompt fits the lengths."""

    axis: ClassVar[str]  # what the places are
    trials: int

    def places_of(self, lengths: Sequence[int]) -> Places:
        """Places of the needles at tested lengths."""
        raise NotImplementedError

    def reduced(self, right_NDK: np.ndarray) -> tuple[tuple[int, ...], np.ndarray, float]:
        """(lengths, sums [N, K], count of each sum) of the curve of a grid."""
        raise NotImplementedError

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self._task = TASKS["single_key"]
        self.lengths = tuple(n for n in bench.lengths if self._prompts(n, 0, 0.5) is not None)
        if not self.lengths:
            raise UserError(
                f"eval.scorers: no prompt of {self.name!r} fits {bench.lengths[-1]} tokens; leave "
                "it out or raise eval.ratios"
            )
        self.places = self.places_of(self.lengths)

    @property
    def rows(self) -> tuple[int, ...]:
        return self.lengths

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        curves: list[Curve] = []
        grids: list[Grid] = []
        cell = functools.cache(self._cell)  # methods share scorers
        total = len(methods) * len(self.places) * len(self.lengths)
        with ProgressBar(total=total, desc=f"scoring {self.name}", unit="cell") as progress:
            for method in methods:
                begin = time.perf_counter()
                cells: list[list[Outcomes | None]] = []
                for row, place in enumerate(self.places):
                    cells.append([])
                    for length in self.lengths:
                        cells[-1].append(cell(method.scorer_at(length), length, row, place))
                        progress.update()
                right_NDK = _stacked(cells, "right_PA", self.trials)
                margin_NDK = _stacked(cells, "margin_PA", self.trials)
                curves.append(self._curve(method, right_NDK, time.perf_counter() - begin))
                grids += [
                    self._grid(method, "accuracy", "accuracy", right_NDK),
                    self._grid(method, "margin", "nats", margin_NDK),
                ]
        return ScorerResult(tuple(curves), tuple(grids))

    def _cell(
        self, scorer: TargetScorer, length: int, row: int, place: float | int
    ) -> Outcomes | None:
        prompts = self._prompts(length, row, place)
        if prompts is None:
            return None
        return score_prompts(
            scorer,
            prompts,
            length,
            pad=self.bench.pad,
            tokens_per_call=self.bench.config.tokens_per_call,
        )

    def _prompts(self, length: int, row: int, place: float | int) -> list[Prompt] | None:
        """Prompts of a cell; None: they don't fit."""
        config = self.bench.config
        try:
            return self.bench.prompt_maker.prompts(
                self._task,
                length,
                self.trials,
                config.seed + 1000 * row,
                place=lambda number: place,
            )
        except DoesNotFit:
            return None

    def _grid(self, method: Method, metric: str, unit: str, scores_NDK: np.ndarray) -> Grid:
        by_chance = {"chance": self._chance, "best": 1.0} if metric == "accuracy" else {}
        return Grid(
            scorer=self.name,
            metric=metric,
            method=method.name,
            axis=self.axis,
            places=tuple(float(place) for place in self.places),
            lengths=self.lengths,
            scores_NDK=scores_NDK,
            unit=unit,
            **by_chance,
        )

    @property
    def _chance(self) -> float:
        prompts = self._prompts(self.lengths[-1], 0, 0.5)
        assert prompts is not None
        return prompts[0].chance

    def _curve(self, method: Method, right_NDK: np.ndarray, seconds: float) -> Curve:
        """Curve of the grid."""
        lengths, sums_NK, counts = self.reduced(right_NDK)
        config = self.bench.config
        return Curve.of_share(
            scorer=self.name,
            group=Group.RETRIEVAL,
            method=method.name,
            lengths=lengths,
            sums_NK=sums_NK,
            counts_NK=np.full(sums_NK.shape, counts),
            population=population(
                self.name, config.seed, self.trials, self.bench.tokenizer.describe()
            ),
            chance_K=np.full(len(lengths), self._chance),
            best=1.0,
            dispersion=self._task.dispersion,
            scope=self._task.scope,
            seconds=seconds,
        )


@SCORERS.register("needle_depth")
@dataclass
class NeedleDepth(NeedleGrid):
    """The mean over depths; a unit is a trial of a number at all depths."""

    axis = "depth (share of the input)"

    trials: int = setting(20, "[20, inf)")  # prompts a cell
    depths: int = setting(5, "[2, inf)")  # from the beginning to the end

    def places_of(self, lengths: Sequence[int]) -> Places:
        return tuple(np.linspace(0.0, 1.0, self.depths).tolist())

    def reduced(self, right_NDK: np.ndarray) -> tuple[tuple[int, ...], np.ndarray, float]:
        return self.lengths, right_NDK.sum(axis=1), float(len(self.places))


@SCORERS.register("needle_distance")
@dataclass
class NeedleDistance(NeedleGrid):
    """At the longest input, where all distances fit, against the distance."""

    axis = "distance, tokens"

    trials: int = setting(20, "[20, inf)")  # prompts a cell

    def places_of(self, lengths: Sequence[int]) -> Places:
        return tuple(length // 2 for length in lengths)

    def reduced(self, right_NDK: np.ndarray) -> tuple[tuple[int, ...], np.ndarray, float]:
        return tuple(int(place) for place in self.places), right_NDK[:, :, -1], 1.0


def _stacked(cells: list[list[Outcomes | None]], what: str, trials: int) -> np.ndarray:
    """[N, D, K] of single-part prompts; NaN where a cell can't be."""
    missing = np.full(trials, np.nan)
    return np.stack(
        [
            np.stack([missing if c is None else getattr(c, what)[:, 0] for c in row], axis=1)
            for row in cells
        ],
        axis=1,
    ).astype(np.float64)
