"""Inference with one architecture: device batches and the programs that they run in."""

import sys
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.cache_programs import CacheKind, ScoreChunk
from lengthwise.eval.inference.programs import Architecture, Definition, Programs, View
from lengthwise.eval.inference.scorer import Setting, rows_per_call
from lengthwise.model import transformer
from lengthwise.model.attention.masks import Mask
from lengthwise.model.cache import cache_capacity, cache_refusal
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling, static_scaling
from lengthwise.model.receptive_field import receptive_columns

# Targets of a row, at most, that are scored without the last layer's states of the other tokens:
# their attention is dense.
_ENDS = 64
_CPU_TOKENS = 2048  # a device


class ScoreRows(NamedTuple):
    """(params, inputs int32 [B, L], targets [B, T], positions [B, L], tables, segments [B, L] or
    None) -> (nats float32 [B, T], whether targets are the likeliest tokens)."""

    batch: int  # rows
    length: int  # tokens
    mask: Mask
    scaling: RopeScaling  # see model.positions.rope_scaling.static_scaling
    segmented: bool  # attention within segments, which are then an operand
    last: int = 0  # T, targets at the rows' ends; 0: all

    @property
    def shape(self) -> tuple[int, int]:
        return self.batch, self.length

    def define(self, view: View) -> Definition:
        model = view.architecture.model
        model.check(self.length, self.mask, self.scaling, self.segmented, view.row_devices)

        def scores(
            params: transformer.Params,
            inputs_BL: jax.Array,
            targets_BT: jax.Array,
            positions_BL: jax.Array,
            tables: transformer.Tables,
            segment_ids_BL: jax.Array | None,
        ) -> tuple[jax.Array, jax.Array]:
            return transformer.target_scores(
                model,
                params,
                inputs_BL,
                targets_BT,
                positions_BL=positions_BL,
                segment_ids_BL=segment_ids_BL,
                tables=tables,
                mask=self.mask,
                key=None,
                last=self.last,
            )

        tokens = view.ints(*self.shape)
        targets = view.ints(self.batch, self.last or self.length)
        tables = view.like(view.architecture.tables(self.scaling, UNSCALED, self.length))
        segments = tokens if self.segmented else None
        operands = (view.params, tokens, targets, tokens, tables, segments)
        return Definition(scores, operands, view.whole)


def device_tokens() -> int:
    """Tokens of the largest device batch that pays.

    A CPU is fastest where activations stay in its cache (docs/benchmarks.md).
    """
    return _CPU_TOKENS * jax.device_count() if jax.default_backend() == "cpu" else sys.maxsize


@dataclass(frozen=True)
class Batching:
    """Division of rows into device batches."""

    tokens_per_call: int  # of the rows of a device batch, and of a cache
    seed: int  # of positions that are drawn, and of their order where they are shuffled, row by row
    pad: int  # an id that may stand behind a row's tokens
    chunk: int = 0  # longer rows are scored so many tokens at a time over a cache; 0: none are
    # Tokens of the longest rows that will be scored over a cache, best known before: all lengths up
    # to it share one program.
    longest: int = 0
    at_once: int = sys.maxsize  # tokens of whole rows that one program computes, at most

    def rows(self, length: int) -> int:
        """Rows of a device batch of whole rows of `length` tokens."""
        return rows_per_call(min(self.tokens_per_call, self.at_once), length)

    def cached_rows(self, capacity: int) -> int:
        """Rows of a cache of `capacity` tokens a row, of which few are computed at a time."""
        return rows_per_call(self.tokens_per_call, capacity)

    def chunked(self, length: int) -> bool:
        """Whether so many columns are too many for one pass."""
        return 0 < self.chunk < length


class Inference:
    """One architecture in device batches; parameters and position tables are operands."""

    def __init__(self, architecture: Architecture, batching: Batching):
        self.architecture = architecture
        self.batching = batching
        self.programs = Programs(architecture)

    @property
    def randomized(self) -> int:
        """Range that position ids are drawn from; 0: they count up from 0."""
        return self.architecture.model.positions.randomized

    def score_rows(
        self,
        length: int,
        setting: Setting,
        trained: RopeScaling,
        *,
        last: int | None = None,
        segmented: bool = False,
    ) -> ScoreRows:
        """Program that scores the last targets of whole rows in a setting, on top of the scaling of
        the training; all targets where it is None or they are many."""
        scaling = static_scaling(setting.scaling, trained)
        if not segmented and (columns := self.columns(length, setting, trained, last)) is not None:
            length = len(columns)
        batch = self.batching.rows(length)
        few = last if last is not None and last <= min(_ENDS, length - 1) else 0
        if few and self.architecture.view(batch, length).row_devices > 1:
            few = 0  # the ends of rows would be the work of one device
        return ScoreRows(batch, length, setting.mask, scaling, segmented, few)

    def columns(
        self, length: int, setting: Setting, trained: RopeScaling, last: int | None
    ) -> np.ndarray | None:
        """Columns of rows of one document that the last targets depend on, int [n]; None: all."""
        # A far field goes by distances in the row, which leaving out columns would change.
        far = setting.scaling.far or trained.far
        if last is None or far is not None:
            return None
        several = self.architecture.view(self.batching.rows(length), length).mesh.size > 1
        return receptive_columns(self.architecture.model, setting.mask, length, last, several)

    def chunked(
        self, length: int, setting: Setting, trained: RopeScaling, last: int | None
    ) -> bool:
        """Whether rows are scored chunk by chunk, over a cache of keys and values."""
        columns = self.columns(length, setting, trained, last)
        return self.batching.chunked(length if columns is None else len(columns))

    def check_rows(self, length: int, setting: Setting, *, segmented: bool = False) -> None:
        """Raises UserError: no positions, or no attention, for whole rows of a length."""
        view = self.architecture.view(self.batching.rows(length), length)
        model = self.architecture.model
        model.check(length, setting.mask, setting.scaling, segmented, view.row_devices)

    def cache_refusal(self, mask: Mask) -> str | None:
        """See `model.cache.cache_refusal`."""
        return cache_refusal(self.architecture.model, mask)

    def cache_kind(
        self,
        rows: int,
        capacity: int,
        setting: Setting,
        trained: RopeScaling,
        length: int,
        step: int,
    ) -> CacheKind:
        """Kind of a cache for `rows` rows or a few more, of up to `length` tokens padded to
        `capacity`, written `step` tokens at a time at most.

        Raises:
          UserError: the model can't run over a cache, or has no positions for that length.
        """
        self.architecture.model.check_length(length)
        reason = self.cache_refusal(setting.mask)
        if reason is not None:
            raise UserError(f"this model can't run over a cache of keys and values: {reason}")
        scaling = static_scaling(setting.scaling, trained)
        capacity = cache_capacity(self.architecture.model, capacity)
        batch = self._whole_rows(rows)
        own_positions = setting.shuffled or self.randomized > 0
        masks = self.architecture.model.layer_masks(setting.mask)
        step = step if any(mask.limited for mask in masks) else 0
        return CacheKind(batch, capacity, setting.mask, scaling, own_positions, step)

    def row_kind(self, length: int, setting: Setting, trained: RopeScaling) -> CacheKind:
        """Kind of the cache over which rows are scored chunk by chunk.

        Raises:
          UserError: this model can't run over a cache; names the field to change.
        """
        chunk = self.batching.chunk
        capacity = -(-max(self.batching.longest, length) // chunk) * chunk
        try:
            rows = self.batching.cached_rows(capacity)
            return self.cache_kind(rows, capacity, setting, trained, length, chunk)
        except UserError as error:
            raise UserError(
                f"{error}; rows of {length} tokens are longer than eval.chunk={chunk}, "
                "0 scores them whole"
            ) from error

    def prepare(
        self, length: int, setting: Setting, trained: RopeScaling, last: int | None = None
    ) -> None:
        """Compiles the program that scores the last targets of rows of a length in a setting.

        last: targets of each row; None: all.
        """
        if self.chunked(length, setting, trained, last):
            kind = self.row_kind(length, setting, trained)
            self.programs.get(ScoreChunk(kind, self.batching.chunk, by_row=False))
        else:
            self.programs.get(self.score_rows(length, setting, trained, last=last))

    def _whole_rows(self, requested: int) -> int:
        """The least batch of at least `requested` rows that leaves each row to one device."""
        for rows in range(requested, requested + jax.device_count()):
            try:
                self.architecture.view(rows, 1)  # of one column no device can have a part
            except UserError:
                continue
            return rows
        raise ValueError(f"there is no mesh view for {requested} whole rows or a few more")
