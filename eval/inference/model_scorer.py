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

    def by_document(
        self, tokens: np.ndarray, segments: np.ndarray, *, first_row: int = 0
    ) -> np.ndarray:
        """Scores with the plain model, as a `DocumentScorer`."""
        last = tokens.shape[1] - 1
        segments = segments[:, :-1]
        return self._run(Setting(), tokens, last=last, first_row=first_row, segments=segments).nats

    def cached(self, setting: Setting) -> CachedModel:
        """The checkpoint in a setting, to be run over a cache of keys and values."""

        def positions(numbers: Sequence[int], length: int) -> np.ndarray:
            return self._positions(np.ones((len(numbers), length), np.int64), numbers, setting)

        longest = self._inference.batching.longest
        return CachedModel(
            self._inference, self._params, setting, self._trained, positions, longest
        )

    def continuations(self, setting: Setting) -> ContinuationScorer | None:
        """Scorer of continuations; None where the model can't run over a cache."""
        can = self._inference.cache_refusal(setting.mask) is None
        return CachedScorer(self.cached(setting)) if can else None

    def score(
        self,
        setting: Setting,
        tokens: np.ndarray,
        positions: np.ndarray | None,
        *,
        last: int,
        first_row: int,
    ) -> TargetScores:
        """Scores whole rows or, where they are long and have no position ids of their own, rows in
        chunks; see `ScoresEnds`."""
        inference, length = self._inference, tokens.shape[1] - 1
        if positions is not None or not inference.chunked(length, setting, self._trained, last):
            return self._run(setting, tokens, last=last, first_row=first_row, positions=positions)
        kind, chunk = inference.row_kind(length, setting, self._trained), inference.batching.chunk
        scorer = CachedScorer(self.cached(setting))
        return scorer.score_rows(kind, tokens, chunk, first_row=first_row).of_last(last)

    def _run(
        self,
        setting: Setting,
        tokens: np.ndarray,
        *,
        last: int,
        first_row: int,
        segments: np.ndarray | None = None,
        positions: np.ndarray | None = None,
    ) -> TargetScores:
        """Scores of the last targets of rows, in device batches of one size."""
        rows, length = tokens.shape[0], tokens.shape[1] - 1
        reach = length if positions is None else max(length, int(positions.max()) + 1)
        tables = self._inference.architecture.tables(setting.scaling, self._trained, reach)
        program = self._inference.score_rows(
            length, setting, self._trained, last=last, segmented=segments is not None
        )
        columns = None
        if segments is None:
            columns = self._inference.columns(length, setting, self._trained, last)
        inputs = slice(length) if columns is None else columns
        computed = program.last or program.length
        run, batch = self._inference.programs.get(program), program.batch
        view = self._inference.architecture.view(*program.shape)
        place = view.place
        pending = []
        for start in range(0, rows, batch):
            # Padding rows repeat the last one; what they score is cut off below.
            some = batch_rows(start, batch, rows)
            part = tokens[some]
            within = np.ones((batch, length), np.int64) if segments is None else segments[some]
            if positions is None:
                ids = self._positions(within, (first_row + some).tolist(), setting)
            else:
                ids = positions[some]
            pending.append(
                run(
                    self._params,
                    place(part[:, inputs]),
                    place(part[:, -computed:]),
                    place(ids[:, inputs]),
                    tables,
                    place(within) if program.segmented else None,
                )
            )
        nats, greedy = (
            np.concatenate([view.in_order(batch[i]) for batch in pending])[:rows] for i in (0, 1)
        )
        return TargetScores(nats, greedy).of_last(last)

    def _positions(
        self, segments_BL: np.ndarray, numbers: Sequence[int], setting: Setting
    ) -> np.ndarray:
        """Position ids for the position schemes, [B, L], counted from the start of each segment.

        numbers: of the rows; what is drawn for one depends on nothing else.
        """
        length = segments_BL.shape[1]
        columns_L = np.arange(length)
        opens_BL = np.diff(segments_BL, axis=1, prepend=0) != 0
        positions_BL = columns_L - np.maximum.accumulate(np.where(opens_BL, columns_L, 0), axis=1)
        randomized = self._inference.randomized
        if not randomized and not setting.shuffled:
            return positions_BL
        for ids_L, opens_L, number in zip(positions_BL, opens_BL, numbers, strict=True):
            rng = np.random.default_rng([self._inference.batching.seed, number])
            if randomized:
                drawn_L = rng.choice(np.arange(randomized), length, replace=False)
                # Each document of a row has a part of it, sorted.
                ids_L[:] = drawn_L[np.lexsort((drawn_L, np.cumsum(opens_L)))]
            if setting.shuffled:
                rng.shuffle(ids_L)
        return positions_BL


class BoundScorer:
    """`TargetScorer` of a checkpoint that `ScoresEnds` and `cached_scorer.SharesPrefixes`."""

    def __init__(self, model: BoundModel, setting: Setting):
        self._model = model
        self._setting = setting

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        return self.targets(tokens).nats

    def targets(self, tokens: np.ndarray, positions: np.ndarray | None = None) -> TargetScores:
        """See `TargetScorer`. Raises UserError for positions that the model has none of."""
        return self.ends(tokens, positions, last=tokens.shape[1] - 1, first_row=0)

    def ends(
        self, tokens: np.ndarray, positions: np.ndarray | None, *, last: int, first_row: int
    ) -> TargetScores:
        """See `ScoresEnds`. Raises UserError for positions that the model has none of."""
        return self._model.score(self._setting, tokens, positions, last=last, first_row=first_row)

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
