"""Learned absolute positions, added to the token embeddings."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.scheme import Dims, InputScheme, Parameter


@SCHEMES.register("learned")
@dataclass(frozen=True)
class Learned(InputScheme):
    """A learned vector a position (Gehring et al., arXiv:1705.03122; GPT-2).

    Positions beyond the table are refused by their length before anything is compiled; one that
    only shows in a batch gives NaN and so a non-finite loss, never another position's vector.
    """

    positions: int = setting(2048, "[1, 1048576]")  # rows of the table

    def check(self, dims: Dims) -> None:
        if self.positions < 1:
            raise UserError(
                f"model.positions.learned.positions must be at least 1, got {self.positions}"
            )

    @property
    def longest(self) -> int:
        return self.positions

    @property
    def remedy(self) -> str:
        return (
            "raise model.positions.learned.positions, or train and score shorter sequences "
            "(eval.ratios sets how long the scored ones are)"
        )

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
        rows = params["table"].at[positions_BL]
        return rows.get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
