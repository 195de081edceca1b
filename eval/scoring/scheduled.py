"""Scheduled scorers: scores of checkpoints during training.

On the selection split and at most at twice the training length, since stopping and the best
checkpoint may be chosen by it: the report's documents and prompts are other ones, scored once.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from lengthwise.data.store.splits import Split
from lengthwise.eval.inference.scorer import Method, ScorerFactory
from lengthwise.eval.losses.methods import PLAIN, method, plain_method, setting
from lengthwise.eval.prompts.registry import task_names
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench
from lengthwise.eval.scoring.factory import LeftOut, make_scorers
from lengthwise.eval.statistics.bootstrap import resampling
from lengthwise.eval.statistics.curves import PLAIN_CONTROL, Curve
from lengthwise.eval.statistics.resampling import resample


class ScheduledScorers:
    """Scorers of eval.during, for the plain model or, beyond the training length, by
    eval.during_method. A figure is named scorer@length, with the task's own name where RULER's was
    given.

    Raises UserError: an unknown name, or a scorer that these settings don't serve.
    """

    def __init__(self, bench: Bench):
        names = bench.config.during
        scorers = tuple(name for name in names if name in SCORERS)
        tasks = task_names(
            [name for name in names if name not in SCORERS], "eval.during", SCORERS.names()
        )
        names = (*scorers, *tasks)
        lengths = (bench.l_train, 2 * bench.l_train)
        self._config = dataclasses.replace(
            bench.config,
            scorers=scorers,
            tasks=tasks,
            prompting=(),
            generate=False,
            seed=bench.config.seed + 1,  # other prompts than the report's
        )
        selection = dataclasses.replace(
            bench, config=self._config, lengths=lengths, split=Split.SELECTION, controls=False
        )
        self._scorers = make_scorers(selection)
        self._l_train = bench.l_train
        self._method(None)  # a wrong one is told of before anything is computed
        # Tasks that can't be asked, and why.
        self.left_out = {
            each.name: each.reason for each in self._scorers if isinstance(each, LeftOut)
        }
        # All that there may be; a scorer may have no score at one of the lengths.
        self.names = tuple(
            f"{name}@{length}" for name in names if name not in self.left_out for length in lengths
        )

    def figures(self, make_scorer: ScorerFactory) -> dict[str, dict[str, Any]]:
        """Scores a checkpoint: scorer@length -> value, low, high, unit, seconds, ..."""
        figures: dict[str, dict[str, Any]] = {}
        for scorer in self._scorers:
            begin = time.perf_counter()
            curves = scorer([self._method(make_scorer)]).curves
            seconds = time.perf_counter() - begin
            for curve in curves:
                if curve.primary and curve.control == PLAIN_CONTROL:
                    figures |= self._of_curve(curve, seconds)
        return figures

    def _method(self, make_scorer: Any) -> Method:
        """How the model is run; figures don't name it."""
        name, config, l_train = self._config.during_method, self._config, self._l_train
        if name in ("", PLAIN):
            return plain_method(make_scorer)
        setting(name, 1.0, l_train + 1, l_train, config.sinks, "eval.during_method")
        found = method(name, 1.0, l_train, config.sinks, make_scorer)
        return dataclasses.replace(found, name=PLAIN)

    def _of_curve(self, curve: Curve, seconds: float) -> dict[str, dict[str, Any]]:
        """Figures of a curve, with the intervals that the card would give them."""
        scores = resample(
            [curve],
            **resampling(self._config),
        )
        return {
            f"{curve.scorer}@{length}": {
                **dataclasses.asdict(estimate),
                "metric": curve.metric,
                "unit": curve.unit,
                "higher_is_better": curve.higher_is_better,
                "seconds": seconds,
            }
            for length, estimate in zip(curve.lengths, scores.estimates(), strict=True)
        }
