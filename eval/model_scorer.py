"""A trained decoder as a `Scorer`: one executable per `ScoringPass`, whatever the frequencies."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from errors import UserError
from eval.cached_model import CachedModel
from eval.cached_passes import CachedPasses, CacheKind
from eval.cached_scorer import CachedScorer, ContinuationScorer
from eval.generation import GREEDY, generate
from eval.scorer import Setting, TargetScores
from model import transformer
from model.backends.mesh import on_view, split_over
from model.columns import column_at, place_of
from model.masks import Mask
from model.positions.rope_scaling import UNSCALED, RopeScaling, compiled_in
from model.settings import ModelSettings

Executable = Callable[..., tuple[jax.Array, jax.Array]]


class ScoringPass(NamedTuple):
    """What an executable is compiled for."""

    length: int  # tokens
    mask: Mask
    scaling: RopeScaling  # see model.positions.rope_scaling.compiled_in
    segmented: bool  # attention within segments, which are then an operand


def scoring_pass(
    length: int, setting: Setting, trained: RopeScaling, *, segmented: bool = False
) -> ScoringPass:
    """What runs a model, trained under a scaling, in a setting at a length."""
    return ScoringPass(length, setting.mask, compiled_in(setting.scaling, trained), segmented)


class ScoringExecutables:
    """Compiled scoring passes of one architecture; parameters and RoPE tables are operands.

    Args:
      tokens_per_call: tokens of a device batch; its rows are tokens_per_call / length.
      data_sharding: (batch, length) -> where such an array lives.
      chunk: rows that are longer are scored so many tokens at a time over a cache; 0: none are.
      longest: tokens of the longest rows that will be scored over a cache, best known before: all
        lengths up to it share one program.
      pad: an id that may stand behind a row's tokens.
    """

    def __init__(
        self,
        model: ModelSettings,
        vocab_size: int,
        platform: str,
        abstract_params: object,
        tokens_per_call: int,
        data_sharding: Callable[[int, int], NamedSharding],
        seed: int,
        *,
        chunk: int,
        longest: int,
        pad: int,
    ):
        self.chunk = chunk
        self.longest = longest
        self.pad = pad
        self.tokens_per_call = tokens_per_call
        self.cached = CachedPasses(model, vocab_size, platform, abstract_params, data_sharding)
        self._model = model
        self._vocab_size = vocab_size
        self._platform = platform
        self._abstract_params = abstract_params
        self._data_sharding = data_sharding
        self._seed = seed
        self._compiled: dict[ScoringPass, Executable] = {}

    @property
    def randomized(self) -> int:
        """The range that positions are drawn from; 0: they count up from 0."""
        return self._model.positions.randomized

    def batch_size(self, length: int) -> int:
        return max(1, self.tokens_per_call // length)

    def in_parts(self, length: int) -> bool:
        """Whether rows of a length are scored part by part, over a cache of keys and values."""
        return 0 < self.chunk < length

    def row_kind(self, length: int, setting: Setting, trained: RopeScaling) -> CacheKind:
        """The cache that rows are scored over part by part.

        Raises:
          UserError: this model can't run over a cache; names the field to change.
        """
        capacity = -(-max(self.longest, length) // self.chunk) * self.chunk
        batch = self.cached.rows(self.batch_size(capacity))
        try:
            return self.cached.kind(batch, capacity, setting, trained, length)
        except UserError as error:
            raise UserError(
                f"{error}; rows of {length} tokens are longer than eval.chunk={self.chunk}, "
                "0 scores them whole"
            ) from error

    def prepare(self, length: int, setting: Setting, trained: RopeScaling) -> None:
        """Compiles what scores rows of a length in a setting."""
        if self.in_parts(length):
            kind = self.row_kind(length, setting, trained)
            self.cached.score(kind, self.chunk, by_row=False)
        else:
            self.compile(scoring_pass(length, setting, trained))

    def compile(self, key: ScoringPass) -> Executable:
        """The executable, compiled on first use."""
        if key not in self._compiled:
            self._compiled[key] = self._compile(key)
        return self._compiled[key]

    def _compile(self, key: ScoringPass) -> Executable:
        length = key.length
        shape = (self.batch_size(length), length)
        sharding = self._data_sharding(*shape)
        model = self._model.resolve(
            self._vocab_size,
            self._platform,
            length,
            key.mask,
            key.scaling,
            segmented=key.segmented,
            row_devices=sharding.mesh.shape["context"],
        )
        everywhere = NamedSharding(sharding.mesh, PartitionSpec())

        def scores(
            params: transformer.Params,
            inputs_BL: jax.Array,
            targets_BL: jax.Array,
            positions_BL: jax.Array,
            tables: transformer.Tables,
            segment_ids_BL: jax.Array | None,
        ) -> tuple[jax.Array, jax.Array]:
            return transformer.target_scores(
                model,
                params,
                inputs_BL,
                targets_BL,
                positions_BL=positions_BL,
                segment_ids_BL=segment_ids_BL,
                tables=tables,
                mask=key.mask,
                key=None,
            )

        tokens = jax.ShapeDtypeStruct(shape, np.int32, sharding=sharding)
        tables = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
            self.tables(key.scaling, UNSCALED, length),
        )
        segments = tokens if key.segmented else None
        compiled = jax.jit(scores, out_shardings=everywhere)
        assert isinstance(sharding.mesh, Mesh)
        with split_over(sharding.mesh):
            return compiled.lower(
                on_view(self._abstract_params, sharding.mesh),
                tokens,
                tokens,
                tokens,
                tables,
                segments,
            ).compile()

    def tables(self, scaling: RopeScaling, trained: RopeScaling, length: int) -> transformer.Tables:
        model = self._model.resolve(self._vocab_size, self._platform, length)
        return transformer.position_tables(model, scaling, trained, length)

    def place(self, array_BL: np.ndarray) -> jax.Array:
        sharding = self._data_sharding(*array_BL.shape)
        placed_BL = array_BL[:, self._places(sharding, array_BL.shape[1], column_at)]
        return jax.make_array_from_callback(
            array_BL.shape, sharding, lambda index: placed_BL[index].astype(np.int32)
        )

    def in_order(self, scores_BL: jax.Array) -> np.ndarray:
        """Scores on the host, columns in the order of the row."""
        sharding = self._data_sharding(*scores_BL.shape)
        return np.asarray(scores_BL)[:, self._places(sharding, scores_BL.shape[1], place_of)]

    @staticmethod
    def _places(sharding: NamedSharding, length: int, order: Callable) -> np.ndarray:
        return order(np.arange(length), length, sharding.mesh.shape["context"])

    def bind(self, params: object, trained: RopeScaling) -> "BoundModel":
        """A scorer factory for one checkpoint.

        trained: the scaling under which its parameters were trained; a tested one comes on top.
        """
        return BoundModel(self, params, trained, self._seed)


class BoundModel:
    """`eval.scorer.ScorerFactory` over given parameters."""

    def __init__(
        self, executables: ScoringExecutables, params: object, trained: RopeScaling, seed: int
    ):
        self._executables = executables
        self._params = params
        self._trained = trained
        self._seed = seed
        self._scorers: dict[Setting, BoundScorer] = {}

    def __call__(self, setting: Setting) -> "BoundScorer":
        """See `ScorerFactory`. Equal settings give the same object, so that it is scored once."""
        if setting not in self._scorers:
            self._scorers[setting] = BoundScorer(self, setting)
        return self._scorers[setting]

    def by_document(self, tokens: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """The plain model as `eval.scorer.DocumentScorer`."""
        return self._run(Setting(), tokens, segments=segments[:, :-1]).nats

    def cached(self, setting: Setting) -> CachedModel:
        """The checkpoint in a setting, to be run over a cache of keys and values."""
        executables = self._executables

        def positions(start: int, rows: int, length: int) -> np.ndarray:
            within = np.ones((rows if setting.shuffled else 1, length), np.int64)
            rng = np.random.default_rng([self._seed, start])
            ids = self._positions(within, rng)
            return rng.permuted(ids, axis=1) if setting.shuffled else ids

        return CachedModel(
            executables.cached,
            self._params,
            setting,
            self._trained,
            positions,
            executables.tokens_per_call,
            executables.pad,
            executables.longest,
        )

    def continuations(self, setting: Setting) -> ContinuationScorer | None:
        """None where the model can't run over a cache."""
        can = self._executables.cached.refusal(setting.mask) is None
        return CachedScorer(self.cached(setting)) if can else None

    def score(
        self, setting: Setting, tokens: np.ndarray, positions: np.ndarray | None
    ) -> TargetScores:
        """Of rows at once or, where they are long, part by part; with given position ids at
        once."""
        executables = self._executables
        if positions is not None or not executables.in_parts(tokens.shape[1] - 1):
            return self._run(setting, tokens, positions=positions)
        kind = executables.row_kind(tokens.shape[1] - 1, setting, self._trained)
        return CachedScorer(self.cached(setting)).score_rows(kind, tokens, executables.chunk)

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
        tables = self._executables.tables(setting.scaling, self._trained, reach)
        key = scoring_pass(length, setting, self._trained, segmented=segments is not None)
        run = self._executables.compile(key)
        batch = self._executables.batch_size(length)
        place = self._executables.place
        pending = []
        for start in range(0, rows, batch):
            # Padding rows repeat the last one; what they score is cut off below.
            held = np.minimum(np.arange(start, start + batch), rows - 1)
            part = tokens[held]
            within = np.ones((batch, length), np.int64) if segments is None else segments[held]
            rng = np.random.default_rng([self._seed, start])
            ids = self._positions(within, rng) if positions is None else positions[held]
            if setting.shuffled:
                ids = rng.permuted(ids, axis=1)
            pending.append(
                run(
                    self._params,
                    place(part[:, :-1]),
                    place(part[:, 1:]),
                    place(ids),
                    tables,
                    place(within) if key.segmented else None,
                )
            )
        in_order = self._executables.in_order
        nats, greedy = (
            np.concatenate([in_order(batch[i]) for batch in pending])[:rows] for i in (0, 1)
        )
        return TargetScores(nats, greedy)

    def _positions(self, segments_BL: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What the position schemes see, [B, L]: counted from the start of each segment."""
        batch, length = segments_BL.shape
        columns_L = np.arange(length)
        opens_BL = np.diff(segments_BL, axis=1, prepend=0) != 0
        if self._executables.randomized:  # one draw for a batch, as in training
            drawn_L = rng.choice(self._executables.randomized, length, replace=False)
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
    """`eval.scorer.TargetScorer` of a checkpoint; it `eval.cached_scorer.SharesPrefixes`."""

    def __init__(self, model: BoundModel, setting: Setting):
        self._model = model
        self._setting = setting

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        return self.targets(tokens).nats

    def targets(self, tokens: np.ndarray, positions: np.ndarray | None = None) -> TargetScores:
        """See `TargetScorer`. Raises UserError for positions that the model has none of."""
        return self._model.score(self._setting, tokens, positions)

    def written(self, prompts: Sequence[np.ndarray], tokens: int) -> list[np.ndarray]:
        """See `TargetScorer`."""
        model = self._model.cached(self._setting)
        return generate(
            model, prompts, sampling=GREEDY, max_tokens=tokens, seed=0, end_of_text=model.pad
        )

    @functools.cached_property
    def continuations(self) -> ContinuationScorer | None:
        return self._model.continuations(self._setting)
