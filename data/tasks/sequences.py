"""Batches of sequences of different lengths, as padded arrays.

A batch of sequences is an integer array [N, W] whose entries are symbols (ids from 0 on); -1 is no
symbol. In a *left-aligned* batch all of -1 stand behind the sequences. Arrays with holes are what
formats build, block beside block; `squeeze` takes the holes out.
"""

from collections.abc import Sequence

import numpy as np

NONE = -1  # no symbol


def sizes(x_NW: np.ndarray) -> np.ndarray:
    """Symbols of each sequence, int64 [N]."""
    return np.count_nonzero(x_NW >= 0, axis=1)


def squeeze(x_NW: np.ndarray) -> np.ndarray:
    """The same sequences left-aligned, as wide as the longest; int32 [N, W']."""
    held = x_NW >= 0
    size_N = np.count_nonzero(held, axis=1)
    out = np.full((x_NW.shape[0], int(size_N.max(initial=0))), NONE, np.int32)
    # Row by row on both sides, so that the order is kept.
    out[np.arange(out.shape[1]) < size_N[:, None]] = x_NW[held]
    return out


def join(*blocks: np.ndarray | int) -> np.ndarray:
    """Blocks [N, W_b] one behind the other, left-aligned; a number is that symbol in every row."""
    rows = next(len(block) for block in blocks if isinstance(block, np.ndarray))
    full = [b if isinstance(b, np.ndarray) else constant(rows, b) for b in blocks]
    return squeeze(np.concatenate(full, axis=1))


def constant(rows: int, *symbols: int) -> np.ndarray:
    """These symbols in every row; int32 [rows, number of symbols]."""
    return np.tile(np.array(symbols, np.int32), (rows, 1))


def within(size_N: np.ndarray, width: int | None = None) -> np.ndarray:
    """Which columns lie inside of sequences of these sizes; bool [N, W]."""
    wide = int(size_N.max(initial=0)) if width is None else width
    return np.arange(wide) < size_N[:, None]


def masked(x_NW: np.ndarray, size_N: np.ndarray) -> np.ndarray:
    """Left-aligned sequences of these sizes, from arrays that go on behind them; int32 [N, W]."""
    return np.where(within(size_N, x_NW.shape[1]), x_NW, NONE).astype(np.int32)


def take(x_NW: np.ndarray, places_NV: np.ndarray) -> np.ndarray:
    """Symbols at places of each row; none where the place is negative. int32 [N, V]."""
    found = np.take_along_axis(x_NW, np.maximum(places_NV, 0), axis=1)
    return np.where(places_NV >= 0, found, NONE).astype(np.int32)


def flip(x_NW: np.ndarray) -> np.ndarray:
    """Left-aligned sequences the other way round, left-aligned."""
    places = sizes(x_NW)[:, None] - 1 - np.arange(x_NW.shape[1])
    return take(x_NW, places)


def right_aligned(x_NW: np.ndarray, width: int) -> np.ndarray:
    """Left-aligned sequences moved to the end of `width` columns, at least as wide as they."""
    places = np.arange(width) - (width - sizes(x_NW))[:, None]
    return take(x_NW, places)


def as_batch(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """int32 [N, W], left-aligned, of rows of symbols."""
    out = np.full((len(rows), max(map(len, rows), default=0)), NONE, np.int32)
    for number, row in enumerate(rows):
        out[number, : len(row)] = row
    return out


def rows_of(x_NW: np.ndarray) -> list[list[int]]:
    """The symbols of each sequence, holes left out."""
    return [row[row >= 0].tolist() for row in x_NW]


def same(x_NW: np.ndarray, y_NV: np.ndarray) -> np.ndarray:
    """Whether left-aligned sequences are equal; bool [N]."""
    wide = max(x_NW.shape[1], y_NV.shape[1])
    padded = [
        np.pad(z, ((0, 0), (0, wide - z.shape[1])), constant_values=NONE) for z in (x_NW, y_NV)
    ]
    equal: np.ndarray = (padded[0] == padded[1]).all(axis=1)
    return equal
