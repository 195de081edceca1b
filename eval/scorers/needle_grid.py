"""Needle grids: retrieval by length of the input and depth, or distance, of a needle.

One fact of a named key stands in noise (the task `single_key`), at an exact token. Each cell has
trials of its own, with their own keys, values and haystack. The card draws the grids; a model that
forgets shows in them as a vertical line (by length), a diagonal one (by distance) or a band in the
middle (lost there, arXiv 2307.03172).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.scorer import Method
from lengthwise.eval.prompts.assemble import PromptMaker
from lengthwise.eval.prompts.candidates import Outcomes, score_prompts
from lengthwise.eval.prompts.prompt import Prompt
from lengthwise.eval.prompts.tasks import TASKS
from lengthwise.eval.scorers.bench import Bench
from lengthwise.eval.statistics.curves import (
    Curve,
    Grid,
    Group,
    ScorerResult,
    population,
)

DEPTH, DISTANCE = "needle_depth", "needle_distance"
AXES = {DEPTH: "depth (share of the input)", DISTANCE: "distance, tokens"}


class NeedleGrid:
    """Scorer of needles by depth or distance. Raises UserError: no prompt fits the lengths."""

    def __init__(self, name: str, bench: Bench, maker: PromptMaker):
        """name: DEPTH or DISTANCE."""
        self.name = name
        self._bench, self._maker = bench, maker
        self._task = TASKS["single_key"]
        self.lengths = tuple(n for n in bench.lengths if self._prompts(n, 0, 0.5) is not None)
        if not self.lengths:
            raise UserError(
                f"eval.scorers: no prompt of {name!r} fits {bench.lengths[-1]} tokens; leave it "
                "out or raise eval.ratios"
            )
        self.places: tuple[float | int, ...]
        if name == DEPTH:
            self.places = tuple(np.linspace(0.0, 1.0, bench.config.grid_depths).tolist())
        else:
            self.places = tuple(length // 2 for length in self.lengths)

    @property
    def rows(self) -> tuple[int, ...]:
        return self.lengths

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        curves: list[Curve] = []
        grids: list[Grid] = []
        total = len(methods) * len(self.places) * len(self.lengths)
        with tqdm(total=total, desc=f"scoring {self.name}", unit="cell") as progress:
            for method in methods:
                begin = time.perf_counter()
                cells: list[list[Outcomes | None]] = []
                for row, place in enumerate(self.places):
                    cells.append([])
                    for length in self.lengths:
                        cells[-1].append(self._cell(method, length, row, place))
                        progress.update()
                right_NDK = _stacked(cells, "right_PA", self._bench.config.grid_trials)
                margin_NDK = _stacked(cells, "margin_PA", self._bench.config.grid_trials)
                curves.append(self._curve(method, right_NDK, time.perf_counter() - begin))
                grids += [
                    self._grid(method, "accuracy", "accuracy", right_NDK),
                    self._grid(method, "margin", "nats", margin_NDK),
                ]
        return ScorerResult(tuple(curves), tuple(grids))

    def _cell(self, method: Method, length: int, row: int, place: float | int) -> Outcomes | None:
        prompts = self._prompts(length, row, place)
        if prompts is None:
            return None
        return score_prompts(
            method.scorer_at(length),
            prompts,
            length,
            pad=self._bench.pad,
            tokens_per_call=self._bench.config.tokens_per_call,
        )

    def _prompts(self, length: int, row: int, place: float | int) -> list[Prompt] | None:
        """Prompts of a cell; None: they don't fit."""
        config = self._bench.config
        try:
            return self._maker.prompts(
                self._task,
                length,
                config.grid_trials,
                config.seed + 1000 * row,
                place=lambda number: place,
            )
        except UserError:
            return None

    def _grid(self, method: Method, metric: str, unit: str, scores_NDK: np.ndarray) -> Grid:
        by_chance = {"chance": self._chance, "best": 1.0} if metric == "accuracy" else {}
        return Grid(
            scorer=self.name,
            metric=metric,
            method=method.name,
            axis=AXES[self.name],
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
        """Curve of the grid.

        By depth: the mean over depths, a unit a trial of a number at all depths. By distance: at
        the longest input, where all distances fit, against the distance.
        """
        if self.name == DEPTH:
            lengths, sums_NK = self.lengths, right_NDK.sum(axis=1)
            counts = float(len(self.places))
        else:
            lengths = tuple(int(place) for place in self.places)
            sums_NK, counts = right_NDK[:, :, -1], 1.0
        config = self._bench.config
        return Curve.of_share(
            scorer=self.name,
            group=Group.RETRIEVAL,
            method=method.name,
            lengths=lengths,
            sums_NK=sums_NK,
            counts_NK=np.full(sums_NK.shape, counts),
            population=population(
                self.name, config.seed, config.grid_trials, self._bench.tokenizer.describe()
            ),
            chance_K=np.full(len(lengths), self._chance),
            best=1.0,
            dispersion=self._task.dispersion,
            scope=self._task.scope,
            seconds=seconds,
        )


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
