"""Likeliest next token behind each token of rows: the choice of greedy decoding."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from lengthwise.data.tasks.symbols import END
from lengthwise.eval.inference.cached_model import batch_rows
from lengthwise.eval.inference.inference import Inference
from lengthwise.eval.inference.programs import Definition, Program, View
from lengthwise.model import transformer
from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling, static_scaling


class TokenRows(NamedTuple):
    """Rows to continue; sizes and numbers seed positions that are drawn."""

    tokens: np.ndarray  # int [R, W], left-aligned, with -1 behind them
    sizes: np.ndarray  # int [R]: tokens of each row once its answer stands in it
    numbers: np.ndarray  # int [R]: the number of each among the samples of its length


# -> the likeliest token behind each, int32 [R, W]; whatever behind the rows.
NextTokens = Callable[[TokenRows], np.ndarray]


def padded_length(tokens: int) -> int:
    """Row length for `tokens` tokens: a power of two, so that programs are few."""
    return 1 << (tokens - 1).bit_length()


class LikeliestTokens(NamedTuple):
    """(params, inputs, positions int32 [B, L], tables) -> the likeliest next tokens [B, L]."""

    batch: int  # rows
    length: int  # tokens
    scaling: RopeScaling  # see model.positions.rope_scaling.static_scaling

    @property
    def shape(self) -> tuple[int, int]:
        return self.batch, self.length

    def check(self, view: View) -> None:
        """Raises UserError: the model has no positions or attention for rows of this length."""
        model = view.architecture.model
        model.check(self.length, CAUSAL, self.scaling, row_devices=view.row_devices)

    def define(self, view: View) -> Definition:
        self.check(view)

        def likeliest(
            params: transformer.Params,
            inputs_BL: jax.Array,
            positions_BL: jax.Array,
            tables: transformer.Tables,
        ) -> jax.Array:
            logits_BLV = transformer.apply(
                view.architecture.model,
                params,
                inputs_BL,
                positions_BL=positions_BL,
                segment_ids_BL=None,
                tables=tables,
                mask=CAUSAL,
                key=None,
            )
            return logits_BLV.argmax(axis=-1).astype(np.int32)

        tokens = view.ints(*self.shape)
        tables = view.like(view.architecture.tables(self.scaling, UNSCALED, self.length))
        return Definition(likeliest, (view.params, tokens, tokens, tables), view.whole)


class NextTokenScorer:
    """Next tokens of rows by the programs of `inference`, one a shape and kind of RoPE scaling."""

    def __init__(self, inference: Inference):
        self._inference = inference

    def check(self, length: int) -> None:
        """Raises UserError when the model has no positions or attention for rows of a length."""
        program = LikeliestTokens(self._inference.batching.rows(length), length, UNSCALED)
        program.check(self._inference.architecture.view(*program.shape))

    def batch_size(self, rows: int, length: int) -> int:
        """Device batch size for `rows` rows of `length` tokens."""
        return min(self._inference.batching.rows(length), padded_length(rows))

    def compile(self, batch: int, length: int, trained: RopeScaling) -> Program:
        """The program for a batch of `batch_size` rows, compiled on first use."""
        scaling = static_scaling(UNSCALED, trained)
        return self._inference.programs.get(LikeliestTokens(batch, length, scaling))

    def bind(self, params: object, trained: RopeScaling) -> NextTokens:
        """The next tokens of one checkpoint, trained under a scaling."""

        def next_tokens(rows: TokenRows) -> np.ndarray:
            count, width = rows.tokens.shape
            length = padded_length(width)
            batch = self.batch_size(count, length)
            run = self.compile(batch, length, trained)
            tables = self._inference.architecture.tables(UNSCALED, trained, length)
            view = self._inference.architecture.view(batch, length)
            padded = np.full((count, length), END, np.int32)
            padded[:, :width] = np.where(rows.tokens >= 0, rows.tokens, END)
            positions = self._positions(rows, length)
            pending = []
            for start in range(0, count, batch):
                # Rows that fill up the batch repeat the last one; they are cut off below.
                some = batch_rows(start, batch, count)
                arrays = view.place(padded[some]), view.place(positions[some])
                pending.append(run(params, *arrays, tables))
            in_order = [view.in_order(tokens) for tokens in pending]
            return np.concatenate(in_order)[:count, :width]

        return next_tokens

    def _positions(self, rows: TokenRows, length: int) -> np.ndarray:
        """Position ids for the position schemes, [R, length].

        Drawn ones are a row's own, as many as it has tokens, as in training; what is left of the
        draw stands behind it. A row that is decoded has those of the whole row from the start.
        """
        largest, seed = self._inference.randomized, self._inference.batching.seed
        if not largest:
            return np.broadcast_to(np.arange(length), (len(rows.sizes), length))
        positions = np.empty((len(rows.sizes), length), np.int64)
        for row, (size, number) in enumerate(zip(rows.sizes, rows.numbers, strict=True)):
            ids = np.random.default_rng([seed, size, number]).permutation(largest)[:length]
            positions[row] = *np.sort(ids[:size]), *np.sort(ids[size:])
        return positions
