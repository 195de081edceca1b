"""The order of a row's columns on the devices that share it.

A row is cut into two chunks a device, and device d of n holds the chunks d and 2 n - 1 - d: under a
causal mask every device then has the same number of pairs to compute (the zig-zag order). With one
device the order is that of the row.
"""

from typing import Any

import jax.numpy as jnp

Array = Any  # numpy or jax array


def column_at(place: Array, length: int, ways: int) -> Array:
    """The column of the row that lies at a place; ints of any shape.

    length: columns; where ways > 1, a multiple of 2 * ways.
    """
    if ways == 1:
        return place
    chunk = length // (2 * ways)
    part, within = place // chunk, place % chunk
    device, second = part // 2, part % 2
    return (device + second * (2 * ways - 1 - 2 * device)) * chunk + within


def place_of(column: Array, length: int, ways: int) -> Array:
    """The place at which a column of the row lies: the inverse of `column_at`."""
    if ways == 1:
        return column
    chunk = length // (2 * ways)
    part, within = column // chunk, column % chunk
    second = part >= ways
    device = part + second * (2 * ways - 1 - 2 * part)
    return (2 * device + second) * chunk + within


def in_row_order(x: Array, axis: int, ways: int) -> Array:
    """A jax array whose axis has the places of whole rows, with the columns in order instead.

    By slices: chunks move as they are.
    """
    if ways == 1:
        return x
    shape = x.shape
    parts = x.reshape(*shape[:axis], ways, 2, shape[axis] // (2 * ways), *shape[axis + 1 :])
    first = jnp.take(parts, 0, axis=axis + 1)
    second = jnp.flip(jnp.take(parts, 1, axis=axis + 1), axis=axis)
    return jnp.concatenate([first, second], axis=axis).reshape(shape)
