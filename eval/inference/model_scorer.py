"""Scorers of a checkpoint, over the compiled programs of its architecture."""

import functools
from collections.abc import Sequence

import numpy as np

from lengthwise.eval.inference import generation
from lengthwise.eval.inference.cached_model import CachedModel, batch_rows
from lengthwise.eval.inference.cached_scorer import CachedScorer, ContinuationScorer
from lengthwise.eval.inference.inference import Inference
from lengthwise.eval.inference.scorer import Setting, TargetScores
from lengthwise.model.positions.rope_scaling import RopeScaling


class BoundModel:
    """`ScorerFactory` of one checkpoint.

    trained: the scaling under which its parameters were trained; a tested one comes on top.
    """

    def __init__(self, inference: Inference, params: object, trained: RopeScaling):
        self._inference = inference
        self._params = params
        self._trained = trained
        self._scorers: dict[Setting, BoundScorer] = {}

    def __call__(self, setting: Setting) -> "BoundScorer":
        """See `ScorerFactory`. Equal settings give the same object, so that it is scored once."""
        if setting not in self._scorers:
            self._scorers[setting] = BoundScorer(self, setting)
        return self._scorers[setting]

    def by_document(self, tokens: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """Scores with the plain model, as a `DocumentScorer`."""
        return self._run(Setting(), tokens, segments=segments[:, :-1]).nats

    def cached(self, setting: Setting) -> CachedModel:
        """The checkpoint in a setting, to be run over a cache of keys and values."""

        def positions(start: int, rows: int, length: int) -> np.ndarray:
            within = np.ones((rows if setting.shuffled else 1, length), np.int64)
            rng = np.random.default_rng([self._inference.batching.seed, start])
            ids = self._positions(within, rng)
            return rng.permuted(ids, axis=1) if setting.shuffled else ids

        longest = self._inference.batching.longest
        return CachedModel(
            self._inference, self._params, setting, self._trained, positions, longest
        )

    def continuations(self, setting: Setting) -> ContinuationScorer | None:
        """Scorer of continuations; None where the model can't run over a cache."""
        can = self._inference.cache_refusal(setting.mask) is None
        return CachedScorer(self.cached(setting)) if can else None

    def score(
        self, setting: Setting, tokens: np.ndarray, positions: np.ndarray | None
    ) -> TargetScores:
        """Scores whole rows or, where they are long and have no position ids of their own, rows in
        chunks."""
        batching = self._inference.batching
        if positions is not None or not batching.chunked(tokens.shape[1] - 1):
            return self._run(setting, tokens, positions=positions)
        kind = self._inference.row_kind(tokens.shape[1] - 1, setting, self._trained)
        return CachedScorer(self.cached(setting)).score_rows(kind, tokens, batching.chunk)

    def _run(
        self,
        setting: Setting,
        tokens: np.ndarray,
        *,
        segments: np.ndarray | None = None,
        positions: np.ndarray | None = None,
    ) -> TargetScores:
        """Scores of tokens[:, 1:], in device batches of one size."""
        rows, length = tokens.shape[0], tokens.shape[1] - 1
        reach = length if positions is None else max(length, int(positions.max()) + 1)
        tables = self._inference.architecture.tables(setting.scaling, self._trained, reach)
        program = self._inference.score_rows(
            length, setting, self._trained, segmented=segments is not None
        )
        run, batch = self._inference.programs.get(program), program.batch
        view = self._inference.architecture.view(*program.shape)
        place = view.place
        pending = []
        for start in range(0, rows, batch):
            # Padding rows repeat the last one; what they score is cut off below.
            some = batch_rows(start, batch, rows)
            part = tokens[some]
            within = np.ones((batch, length), np.int64) if segments is None else segments[some]
            rng = np.random.default_rng([self._inference.batching.seed, start])
            ids = self._positions(within, rng) if positions is None else positions[some]
            if setting.shuffled:
                ids = rng.permuted(ids, axis=1)
            pending.append(
                run(
                    self._params,
                    place(part[:, :-1]),
                    place(part[:, 1:]),
                    place(ids),
                    tables,
                    place(within) if program.segmented else None,
                )
            )
        nats, greedy = (
            np.concatenate([view.in_order(batch[i]) for batch in pending])[:rows] for i in (0, 1)
        )
        return TargetScores(nats, greedy)

    def _positions(self, segments_BL: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Position ids for the position schemes, [B, L], counted from the start of each segment."""
        batch, length = segments_BL.shape
        columns_L = np.arange(length)
        opens_BL = np.diff(segments_BL, axis=1, prepend=0) != 0
        if self._inference.randomized:  # one draw for a batch, as in training
            drawn_L = rng.choice(self._inference.randomized, length, replace=False)
            drawn_BL = np.broadcast_to(drawn_L, (batch, length))
            # Each document of a row has a part of it, sorted.
            order_BL = np.lexsort((drawn_BL, np.cumsum(opens_BL, axis=1)), axis=1)
            positions_BL = np.take_along_axis(drawn_BL, order_BL, axis=1)
        else:
            positions_BL = columns_L - np.maximum.accumulate(
                np.where(opens_BL, columns_L, 0), axis=1
            )
        return positions_BL


class BoundScorer:
    """`TargetScorer` of a checkpoint that `cached_scorer.SharesPrefixes`."""

    def __init__(self, model: BoundModel, setting: Setting):
        self._model = model
        self._setting = setting

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        return self.targets(tokens).nats

    def targets(self, tokens: np.ndarray, positions: np.ndarray | None = None) -> TargetScores:
        """See `TargetScorer`. Raises UserError for positions that the model has none of."""
        return self._model.score(self._setting, tokens, positions)

    def generate(self, prompts: Sequence[np.ndarray], tokens: int) -> list[np.ndarray]:
        """See `TargetScorer`."""
        model = self._model.cached(self._setting)
        return generation.generate(
            model,
            prompts,
            sampling=generation.GREEDY,
            max_tokens=tokens,
            seed=0,
            end_of_text=model.pad,
        )

    @functools.cached_property
    def continuations(self) -> ContinuationScorer | None:
        return self._model.continuations(self._setting)
