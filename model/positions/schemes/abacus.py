"""Abacus embeddings: places of digits in their numbers (McLeish et al., arXiv:2405.17399)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import Dims, InputScheme, Parameter


@SCHEMES.register("abacus")
@dataclass(frozen=True)
class Abacus(InputScheme):
    """A learned vector for a digit's place in its number: 1 for the first digit, then 2, 3, ...

    Other tokens have the place 0. Data should write numbers with the least significant digit first,
    so that a place has one value. In training all places of a step are offset by one number sampled
    from 0 ... max_offset, so that those of longer numbers are learned too; not at evaluation.
    Numbers are runs of digit tokens, as in the authors' code, and end where their document does.
    One that is longer than the table gives NaN and so a non-finite loss.
    """

    reads_positions: ClassVar[bool] = False
    random: ClassVar[bool] = True

    # ids of "0" ... "9"; bytes have these
    digit_tokens: tuple[int, ...] = setting(tuple(range(48, 58)), "[0, inf)")
    max_offset: int = setting(99, "[0, inf)")  # places of a training step are moved by up to this
    positions: int = setting(1024, "[2, inf)")  # rows of the table

    def check(self, dims: Dims) -> None:
        if not self.digit_tokens:
            raise UserError("model.positions.abacus.digit_tokens is empty; give the digits' ids")
        if self.max_offset < 0 or self.positions < self.max_offset + 2:
            raise UserError(
                f"model.positions.abacus.positions={self.positions} has no room for a digit after "
                f"max_offset={self.max_offset}"
            )

    @property
    def lookback(self) -> int:
        return self.positions  # a number that is longer has NaN anyway

    def parameters(self, dims: Dims) -> dict[str, Parameter]:
        std = dims.embed_dim**-0.5  # as the token embeddings

        def init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return std * jax.random.normal(key, shape, jnp.float32)

        return {"table": Parameter((self.positions, dims.embed_dim), (None, "embed"), init)}

    def embed(
        self,
        params: dict[str, jax.Array],
        tables: Any,
        inputs_BL: jax.Array,
        positions_BL: jax.Array,
        segment_ids_BL: jax.Array | None,
        key: jax.Array | None,
    ) -> jax.Array:
        place_BL = digit_places(inputs_BL, jnp.array(self.digit_tokens), segment_ids_BL)
        if key is not None:
            offset = jax.random.randint(key, (), 0, self.max_offset + 1)
            place_BL = jnp.where(place_BL > 0, place_BL + offset, 0)
        return params["table"].at[place_BL].get(mode="fill", fill_value=jnp.nan)


def digit_places(
    tokens_BL: jax.Array, digit_tokens: jax.Array, segment_ids_BL: jax.Array | None
) -> jax.Array:
    """int32 [B, L]: 1 for the first of consecutive digits of a segment, 2 for the next; 0 else."""
    digit_BL = jnp.isin(tokens_BL, digit_tokens)
    goes_on_BL = jnp.pad(digit_BL[:, :-1], ((0, 0), (1, 0)))
    if segment_ids_BL is not None:
        before_BL = jnp.pad(segment_ids_BL[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        goes_on_BL &= segment_ids_BL == before_BL
    index_L = jnp.arange(tokens_BL.shape[1])
    start_BL = jax.lax.cummax(jnp.where(digit_BL & goes_on_BL, 0, index_L[None]), axis=1)
    return jnp.where(digit_BL, index_L[None] - start_BL + 1, 0)
