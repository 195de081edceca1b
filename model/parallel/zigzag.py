"""Zig-zag order of a row's columns on the devices that share it.

A row is cut into two chunks a device, and device d of n holds the chunks d and 2 n - 1 - d: under a
causal mask every device then has the same number of pairs to compute. A slot is an index in that
order; with one device slots and columns are the same.
"""

from typing import Any

import jax.numpy as jnp

Array = Any  # numpy or jax array


def column_at(slot: Array, length: int, ways: int) -> Array:
    """Column of the row at a slot; ints of any shape.

    length: columns; where ways > 1, a multiple of 2 * ways.
    """
    if ways == 1:
        return slot
    chunk = length // (2 * ways)
    part, within = slot // chunk, slot % chunk
    device, second = part // 2, part % 2
    return (device + second * (2 * ways - 1 - 2 * device)) * chunk + within


def slot_of(column: Array, length: int, ways: int) -> Array:
    """Slot of a column of the row: the inverse of `column_at`."""
    if ways == 1:
        return column
    chunk = length // (2 * ways)
    part, within = column // chunk, column % chunk
    second = part >= ways
    device = part + second * (2 * ways - 1 - 2 * part)
    return (2 * device + second) * chunk + within


def in_row_order(x: Array, axis: int, ways: int) -> Array:
    """Reorders an axis from slots of whole rows to columns; a jax array.

    By slices: chunks move as they are.
    """
    if ways == 1:
        return x
    shape = x.shape
    parts = x.reshape(*shape[:axis], ways, 2, shape[axis] // (2 * ways), *shape[axis + 1 :])
    first = jnp.take(parts, 0, axis=axis + 1)
    second = jnp.flip(jnp.take(parts, 1, axis=axis + 1), axis=axis)
    return jnp.concatenate([first, second], axis=axis).reshape(shape)
