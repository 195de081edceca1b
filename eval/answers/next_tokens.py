"""The likeliest next token behind each token of rows: what greedy decoding would say there."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lengthwise.data.tasks.symbols import END
from lengthwise.eval.inference.scoring_executables import ScoringExecutables
from lengthwise.model import transformer
from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.config import ModelConfig
from lengthwise.model.parallel.mesh import on_view, split_over
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling, compiled_in
from lengthwise.model.settings import ModelSettings


class Rows(NamedTuple):
    """What next tokens are asked of; sizes and numbers decide positions that are drawn."""

    tokens: np.ndarray  # int [R, W], left-aligned, with -1 behind them
    sizes: np.ndarray  # int [R]: tokens of each row once its answer stands in it
    numbers: np.ndarray  # int [R]: the number of each among the samples of its length


# -> the likeliest token behind each, int32 [R, W]; whatever behind the rows.
NextTokens = Callable[[Rows], np.ndarray]


def padded_length(tokens: int) -> int:
    """Tokens of the rows that so many are scored in: a power of two, so that programs are few."""
    return 1 << (tokens - 1).bit_length()


class NextTokenPrograms:
    """A compiled program a shape and kind of RoPE scaling; the parameters are an operand.

    Args:
      executables: those of the same model, whose batches and placements are used.
    """

    def __init__(
        self,
        executables: ScoringExecutables,
        model: ModelSettings,
        vocab_size: int,
        platform: str,
        abstract_params: object,
        data_sharding: Callable[[int, int], NamedSharding],
        seed: int,
    ):
        self._executables = executables
        self._model, self._vocab_size, self._platform = model, vocab_size, platform
        self._abstract_params = abstract_params
        self._data_sharding = data_sharding
        self._seed = seed
        self._compiled: dict[tuple[int, int, RopeScaling], Callable] = {}

    def check(self, length: int) -> None:
        """Raises UserError when the model has no positions or attention for rows of a length."""
        self._resolve(self._executables.batch_size(length), length, UNSCALED)

    def _resolve(self, rows: int, length: int, scaling: RopeScaling) -> ModelConfig:
        devices = self._data_sharding(rows, length).mesh.shape["context"]
        return self._model.resolve(
            self._vocab_size, self._platform, length, CAUSAL, scaling, row_devices=devices
        )

    def batch_size(self, rows: int, length: int) -> int:
        """Rows of a device batch that are computed for so many."""
        return min(self._executables.batch_size(length), padded_length(rows))

    def compile(self, rows: int, length: int, trained: RopeScaling) -> Callable:
        """The program for a `batch_size` of rows, compiled on first use."""
        scaling = compiled_in(UNSCALED, trained)
        key, shape = (rows, length, scaling), (rows, length)
        if key in self._compiled:
            return self._compiled[key]
        model = self._resolve(rows, length, scaling)
        sharding = self._data_sharding(*shape)
        everywhere = NamedSharding(sharding.mesh, PartitionSpec())

        def likeliest(
            params: transformer.Params,
            inputs_BL: jax.Array,
            positions_BL: jax.Array,
            tables: transformer.Tables,
        ) -> jax.Array:
            logits_BLV = transformer.apply(
                model,
                params,
                inputs_BL,
                positions_BL=positions_BL,
                segment_ids_BL=None,
                tables=tables,
                mask=CAUSAL,
                key=None,
            )
            return logits_BLV.argmax(axis=-1).astype(np.int32)

        tokens = jax.ShapeDtypeStruct(shape, np.int32, sharding=sharding)
        tables = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
            self._executables.tables(scaling, UNSCALED, length),
        )
        assert isinstance(sharding.mesh, Mesh)
        with split_over(sharding.mesh):
            self._compiled[key] = (
                jax.jit(likeliest, out_shardings=everywhere)
                .lower(on_view(self._abstract_params, sharding.mesh), tokens, tokens, tables)
                .compile()
            )
        return self._compiled[key]

    def bind(self, params: object, trained: RopeScaling) -> NextTokens:
        """The next tokens of one checkpoint, trained under a scaling."""

        def next_tokens(asked: Rows) -> np.ndarray:
            rows, width = asked.tokens.shape
            length = padded_length(width)
            batch = self.batch_size(rows, length)
            run = self.compile(batch, length, trained)
            tables = self._executables.tables(UNSCALED, trained, length)
            padded = np.full((rows, length), END, np.int32)
            padded[:, :width] = np.where(asked.tokens >= 0, asked.tokens, END)
            positions = self._positions(asked, length)
            pending = []
            for start in range(0, rows, batch):
                # Rows that fill up the batch repeat the last one; they are cut off below.
                part = np.minimum(np.arange(start, start + batch), rows - 1)
                place = self._executables.place
                pending.append(run(params, place(padded[part]), place(positions[part]), tables))
            in_order = [self._executables.in_order(found) for found in pending]
            return np.concatenate(in_order)[:rows, :width]

        return next_tokens

    def _positions(self, asked: Rows, length: int) -> np.ndarray:
        """What the position schemes see, [R, length].

        Drawn ones are a row's own, as many as it has tokens, as in training; what is left of the
        draw stands behind it. A row that is decoded has those of the whole row from the start.
        """
        largest = self._executables.randomized
        if not largest:
            return np.broadcast_to(np.arange(length), (len(asked.sizes), length))
        positions = np.empty((len(asked.sizes), length), np.int64)
        for row, (size, number) in enumerate(zip(asked.sizes, asked.numbers, strict=True)):
            drawn = np.random.default_rng([self._seed, size, number]).permutation(largest)[:length]
            positions[row] = *np.sort(drawn[:size]), *np.sort(drawn[size:])
        return positions
