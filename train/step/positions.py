"""Positions for position schemes in training; masks never use them."""

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.model.parallel.mesh import row_columns, row_devices
from lengthwise.model.parallel.zigzag import in_row_order
from lengthwise.model.positions.context_extension import (
    offset_positions,
    pose_positions,
    randomized_positions,
    shifted_positions,
    sorted_positions,
)
from lengthwise.model.positions.settings import ContextExtension
from lengthwise.model.spec import ModelSpec

_DRAW = 2**32 - 1  # number of the step's key for positions; small ones are those of dropout


def training_positions(
    model: ModelSpec,
    stretched: ContextExtension,
    positions_BL: jax.Array,
    segment_ids_BL: jax.Array | None,
    offset: jax.Array | np.int32 | None,
    drawn_L: jax.Array | np.ndarray | None,
    key: jax.Array | None,
    rows_B: jax.Array,
) -> jax.Array:
    """Positions of a step: int32 [B, L], or [1, L] where all rows have the same.

    Arrays have columns where the devices have them (model.parallel.zigzag).

    Args:
      positions_BL: index in the document.
      stretched: context extension of the phase.
      segment_ids_BL: None where each row is one stretch of a document from index 0.
      offset: scalar, see `context_extension.offset_positions`; None: nothing is moved.
      drawn_L: positions that rows get in place of theirs; None: their own.
      key: of the step; None where nothing is random.
      rows_B: int32, numbers of the rows in the batch of the step.
    """
    length = positions_BL.shape[1]
    if randomized := model.positions.randomized:
        assert key is not None
        draw = jax.random.fold_in(key, _DRAW)
        in_rows = randomized_positions(draw, length, randomized, _rows(segment_ids_BL))
        return in_rows[:, row_columns(length)]
    if drawn_L is not None:
        return sorted_positions(jnp.asarray(drawn_L), _rows(segment_ids_BL))[:, row_columns(length)]
    if stretched.kind == "pose":
        assert key is not None
        return pose_positions(jax.random.fold_in(key, _DRAW), rows_B, positions_BL, stretched)
    if stretched.kind == "shift":
        assert key is not None
        draw = jax.random.fold_in(key, _DRAW)
        return shifted_positions(draw, rows_B, positions_BL, stretched.target_length)
    if segment_ids_BL is None:
        positions_BL = row_columns(length)[None]
    return positions_BL if offset is None else offset_positions(positions_BL, offset)


def _rows(segment_ids_BL: jax.Array | None) -> jax.Array | None:
    """The segments of rows whose columns are in order."""
    return None if segment_ids_BL is None else in_row_order(segment_ids_BL, 1, row_devices())
