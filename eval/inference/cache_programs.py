"""Programs over a cache of keys and values: make, fill, score, decode.

Where a pass begins is an operand, so that one program fills a cache of any length, chunk by chunk.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from lengthwise.eval.inference.programs import Definition, View, abstract
from lengthwise.model import transformer
from lengthwise.model.attention.masks import Mask
from lengthwise.model.cache import KVCache, cache_shardings, empty_cache
from lengthwise.model.decode import Sampling, decode
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.token_losses import forward_scores


class CacheKind(NamedTuple):
    """Shape of a cache and of the attention over it: the key of its programs."""

    batch: int  # rows
    capacity: int  # tokens a row
    mask: Mask
    scaling: RopeScaling  # see model.positions.rope_scaling.static_scaling
    own_positions: bool  # each row has positions of its own
    # tokens of a pass, at most, by which layers with a window forget; 0: they keep all
    step: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """One column, of which no device can have a part: each row is left to one device."""
        return self.batch, 1


class NewCache(NamedTuple):
    """positions int32 [B or 1, capacity] -> a cache without tokens."""

    kind: CacheKind

    @property
    def shape(self) -> tuple[int, int]:
        return self.kind.shape

    def define(self, view: View) -> Definition:
        cache = _abstract_cache(self.kind, view)
        make = functools.partial(_new_cache, self.kind, view)
        return Definition(make, (cache.positions_BS,), _shardings(cache))


class FillCache(NamedTuple):
    """(params, cache, inputs int32 [B, tokens], first [1], count [B], tables) -> cache.

    count: tokens of each row, behind which there is padding."""

    kind: CacheKind
    tokens: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.kind.shape

    def define(self, view: View) -> Definition:
        kind, model = self.kind, view.architecture.model

        def fill(
            params: transformer.Params,
            cache: KVCache,
            inputs_BQ: jax.Array,
            first_B: jax.Array,
            count_B: jax.Array,
            tables: transformer.Tables,
        ) -> KVCache:
            return transformer.extend(
                model,
                params,
                inputs_BQ,
                cache,
                first_B,
                tables=tables,
                mask=kind.mask,
                count_B=count_B,
            )[2]

        cache, inputs = _abstract_cache(kind, view), view.ints(kind.batch, self.tokens)
        rows = view.ints(1), view.ints(kind.batch)
        operands = (view.params, cache, inputs, *rows, view.like(_tables(kind, view)))
        return Definition(fill, operands, _shardings(cache), donated=(1,))


class ScoreChunk(NamedTuple):
    """(params, cache, inputs, targets int32 [B, tokens], first, tables) -> (cache, nats
    [B, tokens], whether targets are the likeliest tokens)."""

    kind: CacheKind
    tokens: int
    by_row: bool  # `first` is int32 [B], otherwise [1]

    @property
    def shape(self) -> tuple[int, int]:
        return self.kind.shape

    def define(self, view: View) -> Definition:
        kind, model = self.kind, view.architecture.model

        def score(
            params: transformer.Params,
            cache: KVCache,
            inputs_BQ: jax.Array,
            targets_BQ: jax.Array,
            first_B: jax.Array,
            tables: transformer.Tables,
        ) -> tuple[KVCache, jax.Array, jax.Array]:
            x_BQD, (weight, vocab_axis), cache = transformer.extend(
                model, params, inputs_BQ, cache, first_B, tables=tables, mask=kind.mask
            )
            with jax.named_scope("loss"):
                nats_BQ, likeliest_BQ = forward_scores(
                    x_BQD, targets_BQ, weight, vocab_axis, model.logit_softcap
                )
            return cache, nats_BQ, likeliest_BQ

        cache, tokens = _abstract_cache(kind, view), view.ints(kind.batch, self.tokens)
        first = view.ints(kind.batch if self.by_row else 1)
        operands = (view.params, cache, tokens, tokens, first, view.like(_tables(kind, view)))
        out = (_shardings(cache), view.whole, view.whole)
        return Definition(score, operands, out, donated=(1,))


class Decode(NamedTuple):
    """(params, cache, last, length, row, seed, tables, drawn[, seen]) -> (tokens, cache); see
    `model.decode.decode`. `seen` is there where there is a repetition penalty."""

    kind: CacheKind
    sampling: Sampling
    max_tokens: int
    end_of_text: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.kind.shape

    def define(self, view: View) -> Definition:
        kind = self.kind
        run = functools.partial(
            decode,
            view.architecture.model,
            mask=kind.mask,
            sampling=self.sampling,
            max_tokens=self.max_tokens,
            end_of_text=self.end_of_text,
        )
        cache, rows = _abstract_cache(kind, view), view.ints(kind.batch)
        seed = jax.ShapeDtypeStruct((), np.uint32, sharding=view.whole)
        drawn = jax.ShapeDtypeStruct((), np.int32, sharding=view.whole)
        tables = view.like(_tables(kind, view))
        operands: tuple[Any, ...] = view.params, cache, rows, rows, rows, seed, tables, drawn
        if self.sampling.repetition_penalty != 1:
            shape = (kind.batch, view.architecture.model.vocab_size)
            operands += (jax.ShapeDtypeStruct(shape, np.bool_, sharding=view.whole),)
        return Definition(run, operands, (view.whole, _shardings(cache)), donated=(1,))


def _tables(kind: CacheKind, view: View) -> transformer.Tables:
    """Tables of the shapes that the programs take."""
    # That there are positions for the real length, `Inference.cache_kind` has seen to.
    return view.architecture.tables(kind.scaling, UNSCALED, 1)


def _new_cache(kind: CacheKind, view: View, positions_BS: jax.Array) -> KVCache:
    model = view.architecture.model
    tables = _tables(kind, view)
    return empty_cache(model, tables, kind.batch, positions_BS, kind.mask, kind.step)


def _abstract_cache(kind: CacheKind, view: View) -> KVCache:
    rows = kind.batch if kind.own_positions else 1
    positions_BS = jax.ShapeDtypeStruct((rows, kind.capacity), np.int32)
    make = functools.partial(_new_cache, kind, view)
    cache: KVCache = jax.eval_shape(make, positions_BS)
    placed: KVCache = jax.tree.map(abstract, cache, cache_shardings(cache, view.mesh))
    return placed


def _shardings(cache: KVCache) -> Any:
    return jax.tree.map(lambda x: x.sharding, cache)
