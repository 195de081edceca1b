"""Same-target loss at lengths of one's own choice, for `eval.during`.

The losses of training stand at the training length and twice that alone. A model that makes use of
its context shows it below: from when on, needs the loss at a fraction of the training length too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lengthwise.common.settings import setting
from lengthwise.eval.inference.scorer import Method
from lengthwise.eval.losses.context_gain import same_target_curves, score_targets
from lengthwise.eval.losses.scorable import room
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench, BenchScorer
from lengthwise.eval.statistics.curves import ScorerResult


@SCORERS.register("target_nll")
@dataclass
class TargetNll(BenchScorer):
    """Scorer of the same target tokens under more or less text before them.

    Raises UserError: too few documents that are as long as the longest length.
    """

    lengths: tuple[int, ...] = setting((), "[1, inf)")  # tokens; (): the tested ones

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        self._rows = tuple(sorted(set(self.lengths))) or tuple(bench.lengths)
        # Up to L_train a row scores a part of a block: its first targets lie further back.
        self._targets = bench.targets(
            max(room(bench.config, length, bench.l_train) for length in self._rows)
        )

    @property
    def rows(self) -> tuple[int, ...]:
        return self._rows

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        begin = time.perf_counter()
        bench = self.bench
        scored = score_targets(methods, self._rows, self._targets, bench.l_train, bench.config)
        curves = same_target_curves(scored, methods, self._rows, time.perf_counter() - begin)
        return ScorerResult(tuple(replace(curve, scorer=self.name) for curve in curves))
