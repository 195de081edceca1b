"""The compiled passes that score with a decoder: one a `ScoringPass`, whatever the frequencies."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.cached_passes import CachedPasses, CacheKind
from lengthwise.eval.inference.scorer import Setting
from lengthwise.model import transformer
from lengthwise.model.attention.masks import Mask
from lengthwise.model.parallel.mesh import on_view, split_over
from lengthwise.model.parallel.zigzag import column_at, place_of
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling, compiled_in
from lengthwise.model.settings import ModelSettings

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
      seed: of positions that are drawn, and of their order where they are shuffled.
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
        self.seed = seed
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
