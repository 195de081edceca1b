"""Compiled passes of one architecture over a cache of keys and values.

Where a pass begins is an operand, so that one program fills a cache of any length, part by part.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.scorer import Setting
from lengthwise.model import transformer
from lengthwise.model.attention.masks import Mask
from lengthwise.model.cache import (
    KVCache,
    cache_capacity,
    cache_refusal,
    cache_shardings,
    empty_cache,
)
from lengthwise.model.config import ModelConfig
from lengthwise.model.decode import Sampling, decode
from lengthwise.model.parallel.mesh import ROWS, on_view, split_over
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling, compiled_in
from lengthwise.model.settings import ModelSettings
from lengthwise.model.token_losses import target_scores

Program = Callable[..., Any]


class CacheKind(NamedTuple):
    """What programs over a cache are compiled for."""

    batch: int  # rows
    capacity: int  # tokens a row
    mask: Mask
    scaling: RopeScaling  # see model.positions.rope_scaling.compiled_in
    own_positions: bool  # each row has positions of its own


class CachedPasses:
    """Programs by what they are compiled for; parameters and tables are operands.

    Args:
      data_sharding: (batch, length) -> where such an array lives.
    """

    def __init__(
        self,
        model: ModelSettings,
        vocab_size: int,
        platform: str,
        abstract_params: object,
        data_sharding: Callable[[int, int], NamedSharding],
    ):
        self._model = model
        self._vocab_size = vocab_size
        self._platform = platform
        self._abstract_params = abstract_params
        self._data_sharding = data_sharding
        self._compiled: dict[tuple, Program] = {}

    def rows(self, wanted: int) -> int:
        """The least batch of at least `wanted` rows that leaves each row to one device."""
        for rows in range(wanted, wanted + jax.device_count()):
            try:
                self._data_sharding(rows, 1)  # of one column no device can have a part
            except UserError:
                continue
            return rows
        raise ValueError(f"there is no mesh view for {wanted} whole rows or a few more")

    def refusal(self, mask: Mask) -> str | None:
        """See `model.cache.cache_refusal`."""
        return cache_refusal(self._some_config, mask)

    def kind(
        self, batch: int, capacity: int, setting: Setting, trained: RopeScaling, length: int
    ) -> CacheKind:
        """For rows of up to `length` tokens, and what fills them up to a capacity of `capacity`.

        Raises:
          UserError: the model can't run over a cache, or has no positions for that length.
        """
        config = self._config(length)
        reason = self.refusal(setting.mask)
        if reason is not None:
            raise UserError(f"this model can't run over a cache of keys and values: {reason}")
        scaling = compiled_in(setting.scaling, trained)
        capacity = cache_capacity(config, capacity)
        return CacheKind(batch, capacity, setting.mask, scaling, setting.shuffled)

    def tables(self, scaling: RopeScaling, trained: RopeScaling, length: int) -> transformer.Tables:
        """For rows of `length` tokens."""
        return transformer.position_tables(self._config(length), scaling, trained, length)

    def steady_tables(
        self, scaling: RopeScaling, trained: RopeScaling, shortest: int, longest: int
    ) -> transformer.Tables:
        """For rows that are `shortest` tokens long and grow to `longest`.

        Raises:
          UserError: positions of short rows are others than those of long ones, so that what was
            put into a cache would be wrong as a row grows.
        """
        tables = self.tables(scaling, trained, longest)
        before = self.tables(scaling, trained, shortest)
        if not jax.tree.all(jax.tree.map(np.array_equal, tables, before)):
            raise UserError(
                f"the positions of rows of {shortest} tokens are others than those of {longest}, "
                "since the scaling (or CLEX) follows the length; a row that grows can't keep its "
                "cache: keep within one length, or use a scaling that doesn't"
            )
        return tables

    def prepare_empty(self, kind: CacheKind) -> Program:
        """positions int32 [B or 1, capacity] -> a cache without tokens."""
        return self._program(("empty", kind), self._compile_empty)

    def empty(self, kind: CacheKind, positions_BL: np.ndarray) -> KVCache:
        """A cache without tokens. positions: int [B or 1, L]; places behind have the last one's,
        so that whatever fills a row up has a position that there is."""
        missing = kind.capacity - positions_BL.shape[1]
        positions_BS = np.pad(positions_BL, ((0, 0), (0, missing)), mode="edge").astype(np.int32)
        placed_BS = self.place(kind, positions_BS) if kind.own_positions else positions_BS
        cache: KVCache = self.prepare_empty(kind)(placed_BS)
        return cache

    def place(self, kind: CacheKind, array_BL: np.ndarray) -> jax.Array:
        """An array of a batch's rows on the devices."""
        rows = _Operands.of(self._mesh(kind)).rows
        return jax.make_array_from_callback(
            array_BL.shape, rows, lambda index: array_BL[index].astype(np.int32)
        )

    def fill(self, kind: CacheKind, tokens: int) -> Program:
        """(params, cache, inputs [B, tokens], first, tables) -> cache."""
        return self._program(("fill", kind, tokens), self._compile_fill)

    def score(self, kind: CacheKind, tokens: int, *, by_row: bool) -> Program:
        """(params, cache, inputs, targets [B, tokens], first, tables) -> (cache, nats [B, tokens],
        whether targets are the likeliest tokens).

        by_row: `first` is int32 [B], otherwise [1].
        """
        return self._program(("score", kind, tokens, by_row), self._compile_score)

    def decode(
        self, kind: CacheKind, sampling: Sampling, max_tokens: int, end_of_text: int
    ) -> Program:
        """(params, cache, last, length, row, seed, tables) -> (tokens, cache); see
        `model.decode.decode`."""
        key = ("decode", kind, sampling, max_tokens, end_of_text)
        return self._program(key, self._compile_decode)

    def _program(self, key: tuple, compile_it: Callable[..., Program]) -> Program:
        if key not in self._compiled:
            with split_over(self._mesh(key[1])):
                self._compiled[key] = compile_it(*key[1:])
        return self._compiled[key]

    def _config(self, length: int) -> ModelConfig:
        return self._model.resolve(self._vocab_size, self._platform, length)

    def _mesh(self, kind: CacheKind) -> Mesh:
        mesh = self._data_sharding(kind.batch, 1).mesh
        assert isinstance(mesh, Mesh)
        return mesh

    def _tables_of(self, kind: CacheKind) -> transformer.Tables:
        """Some tables of the shapes that the programs take."""
        return transformer.position_tables(self._some_config, kind.scaling, UNSCALED, 1)

    @functools.cached_property
    def _some_config(self) -> ModelConfig:
        # That there are positions for the real length, `kind` has seen to.
        return self._config(1)

    def _empty(self, kind: CacheKind, positions_BS: jax.Array) -> KVCache:
        return empty_cache(self._some_config, self._tables_of(kind), kind.batch, positions_BS)

    def _abstract_cache(self, kind: CacheKind) -> KVCache:
        rows = kind.batch if kind.own_positions else 1
        positions_BS = jax.ShapeDtypeStruct((rows, kind.capacity), np.int32)
        cache: KVCache = jax.eval_shape(functools.partial(self._empty, kind), positions_BS)
        places = cache_shardings(cache, self._mesh(kind))
        abstract: KVCache = jax.tree.map(_placed, cache, places)
        return abstract

    def _compile_empty(self, kind: CacheKind) -> Program:
        cache = self._abstract_cache(kind)
        held = jax.tree.map(lambda x: x.sharding, cache)
        make = jax.jit(functools.partial(self._empty, kind), out_shardings=held)
        return make.lower(cache.positions_BS).compile()

    def _compile_fill(self, kind: CacheKind, tokens: int) -> Program:
        def fill(
            params: transformer.Params,
            cache: KVCache,
            inputs_BQ: jax.Array,
            first_B: jax.Array,
            tables: transformer.Tables,
        ) -> KVCache:
            return transformer.extend(
                self._some_config, params, inputs_BQ, cache, first_B, tables=tables, mask=kind.mask
            )[2]

        operands = _Operands.of(self._mesh(kind))
        cache = self._abstract_cache(kind)
        held = jax.tree.map(lambda x: x.sharding, cache)
        return (
            jax.jit(fill, donate_argnums=1, out_shardings=held)
            .lower(
                on_view(self._abstract_params, self._mesh(kind)),
                cache,
                operands.ints(kind.batch, tokens),
                operands.everywhere(1),
                operands.like(self._tables_of(kind)),
            )
            .compile()
        )

    def _compile_score(self, kind: CacheKind, tokens: int, by_row: bool) -> Program:
        def score(
            params: transformer.Params,
            cache: KVCache,
            inputs_BQ: jax.Array,
            targets_BQ: jax.Array,
            first_B: jax.Array,
            tables: transformer.Tables,
        ) -> tuple[KVCache, jax.Array, jax.Array]:
            config = self._some_config
            x_BQD, (weight, vocab_axis), cache = transformer.extend(
                config, params, inputs_BQ, cache, first_B, tables=tables, mask=kind.mask
            )
            with jax.named_scope("loss"):
                nats_BQ, likeliest_BQ = target_scores(
                    x_BQD, targets_BQ, weight, vocab_axis, config.logit_softcap
                )
            return cache, nats_BQ, likeliest_BQ

        operands = _Operands.of(self._mesh(kind))
        cache = self._abstract_cache(kind)
        held = jax.tree.map(lambda x: x.sharding, cache)
        out = (held, operands.whole, operands.whole)
        return (
            jax.jit(score, donate_argnums=1, out_shardings=out)
            .lower(
                on_view(self._abstract_params, self._mesh(kind)),
                cache,
                operands.ints(kind.batch, tokens),
                operands.ints(kind.batch, tokens),
                operands.everywhere(kind.batch if by_row else 1),
                operands.like(self._tables_of(kind)),
            )
            .compile()
        )

    def _compile_decode(
        self, kind: CacheKind, sampling: Sampling, max_tokens: int, end_of_text: int
    ) -> Program:
        run = functools.partial(
            decode,
            self._some_config,
            mask=kind.mask,
            sampling=sampling,
            max_tokens=max_tokens,
            end_of_text=end_of_text,
        )
        operands = _Operands.of(self._mesh(kind))
        rows = operands.everywhere(kind.batch)
        cache = self._abstract_cache(kind)
        held = jax.tree.map(lambda x: x.sharding, cache)
        return (
            jax.jit(run, donate_argnums=1, out_shardings=(operands.whole, held))
            .lower(
                on_view(self._abstract_params, self._mesh(kind)),
                cache,
                rows,
                rows,
                rows,
                jax.ShapeDtypeStruct((), np.uint32, sharding=operands.whole),
                operands.like(self._tables_of(kind)),
            )
            .compile()
        )


class _Operands(NamedTuple):
    """What programs are lowered for, as `jax.ShapeDtypeStruct`."""

    rows: NamedSharding  # of arrays [B, L]
    whole: NamedSharding  # of what every device has

    @classmethod
    def of(cls, mesh: Mesh) -> "_Operands":
        return cls(
            NamedSharding(mesh, PartitionSpec(ROWS, None)), NamedSharding(mesh, PartitionSpec())
        )

    def ints(self, batch: int, tokens: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, tokens), np.int32, sharding=self.rows)

    def everywhere(self, size: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((size,), np.int32, sharding=self.whole)

    def like(self, arrays: Any) -> Any:
        return jax.tree.map(lambda x: _placed(x, self.whole), arrays)


def _placed(x: Any, place: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
