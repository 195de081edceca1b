"""Dry run: compiles the programs of scorers without parameters.

Running a scorer on this model compiles all of its programs, so that nothing is left to compile once
training has begun.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from lengthwise.eval.inference.cached_model import power_of_two
from lengthwise.eval.inference.cached_scorer import CachedScorer, Continuation, ContinuationScorer
from lengthwise.eval.inference.inference import Inference
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.scorer import Setting, TargetScores
from lengthwise.model.positions.rope_scaling import RopeScaling


class DryModel:
    """`ScorerFactory` that compiles and returns constant scores.

    trained: the scaling under which parameters are trained.
    """

    def __init__(self, inference: Inference, trained: RopeScaling):
        self._inference = inference
        self._trained = trained

    def __call__(self, setting: Setting) -> DryScorer:
        return DryScorer(self._inference, setting, self._trained)


class DryScorer:
    """`TargetScorer` whose loss falls along the row, as fits expect."""

    def __init__(self, inference: Inference, setting: Setting, trained: RopeScaling):
        self._inference, self._setting, self._trained = inference, setting, trained

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        return self.targets(tokens).nats

    def targets(self, tokens: np.ndarray, positions: np.ndarray | None = None) -> TargetScores:
        """See `TargetScorer`."""
        rows, length = tokens.shape[0], tokens.shape[1] - 1
        if positions is None:
            self._inference.prepare(length, self._setting, self._trained)
        else:
            program = self._inference.score_rows(length, self._setting, self._trained)
            self._inference.programs.get(program)
        return losses_that_fall(rows, length)

    def generate(self, prompts: Sequence[np.ndarray], tokens: int) -> list[np.ndarray]:
        """Raises NotImplementedError: nothing is generated while training."""
        raise NotImplementedError

    @functools.cached_property
    def continuations(self) -> ContinuationScorer | None:
        """See `cached_scorer.SharesPrefixes`."""
        model = BoundModel(self._inference, None, self._trained)
        can = model.continuations(self._setting) is not None
        return _DryContinuations(model.cached(self._setting)) if can else None


def losses_that_fall(rows: int, length: int) -> TargetScores:
    """Scores [rows, length] of a falling loss, no target the likeliest."""
    nats_L = 1 / np.sqrt(np.arange(1, length + 1, dtype=np.float32))
    return TargetScores(np.tile(nats_L, (rows, 1)), np.zeros((rows, length), bool))


class _DryContinuations(CachedScorer):
    """Compiles the programs of the batches that `CachedScorer` would run."""

    def _continued(
        self,
        prefixes: list[np.ndarray],
        continuations: list[Sequence[np.ndarray]],
        capacity: int,
        width: int,
        length: int | None,
    ) -> list[list[Continuation]]:
        longest = max(
            len(p) - 1 + len(c) for p, cs in zip(prefixes, continuations, strict=True) for c in cs
        )
        kind = self._model.kind(power_of_two(len(prefixes)), capacity, longest)
        self._model.prepare(kind, width)
        return [
            [Continuation(np.zeros(len(c), np.float32), np.zeros(len(c), bool)) for c in each]
            for each in continuations
        ]
