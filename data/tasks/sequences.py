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
    """Left-aligns sequences, as wide as the longest; int32 [N, W']."""
    filled = x_NW >= 0
    size_N = np.count_nonzero(filled, axis=1)
    out = np.full((x_NW.shape[0], int(size_N.max(initial=0))), NONE, np.int32)
    # Row by row on both sides, so that the order is kept.
    out[np.arange(out.shape[1]) < size_N[:, None]] = x_NW[filled]
    return out


def join(*blocks: np.ndarray | int) -> np.ndarray:
    """Concatenates blocks [N, W_b] row by row, left-aligned; a number is a symbol of every row."""
    rows = next(len(block) for block in blocks if isinstance(block, np.ndarray))
    full = [b if isinstance(b, np.ndarray) else constant(rows, b) for b in blocks]
    return squeeze(np.concatenate(full, axis=1))


def constant(rows: int, *symbols: int) -> np.ndarray:
    """Repeats symbols in every row; int32 [rows, number of symbols]."""
    return np.tile(np.array(symbols, np.int32), (rows, 1))


def within(size_N: np.ndarray, width: int | None = None) -> np.ndarray:
    """Mask of the columns inside sequences of these sizes; bool [N, W]."""
    wide = int(size_N.max(initial=0)) if width is None else width
    return np.arange(wide) < size_N[:, None]


def masked(x_NW: np.ndarray, size_N: np.ndarray) -> np.ndarray:
    """Truncates left-aligned sequences to these sizes; int32 [N, W]."""
    return np.where(within(size_N, x_NW.shape[1]), x_NW, NONE).astype(np.int32)


def take(x_NW: np.ndarray, places_NV: np.ndarray) -> np.ndarray:
    """Gathers symbols by column, int [N, V]; none where it is negative. int32 [N, V]."""
    symbols = np.take_along_axis(x_NW, np.maximum(places_NV, 0), axis=1)
    return np.where(places_NV >= 0, symbols, NONE).astype(np.int32)


def flip(x_NW: np.ndarray) -> np.ndarray:
    """Reverses left-aligned sequences, left-aligned."""
    places = sizes(x_NW)[:, None] - 1 - np.arange(x_NW.shape[1])
    return take(x_NW, places)


def right_aligned(x_NW: np.ndarray, width: int) -> np.ndarray:
    """Right-aligns left-aligned sequences in `width` columns."""
    places = np.arange(width) - (width - sizes(x_NW))[:, None]
    return take(x_NW, places)


def as_batch(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Pads rows of symbols: int32 [N, W], left-aligned."""
    out = np.full((len(rows), max(map(len, rows), default=0)), NONE, np.int32)
    for number, row in enumerate(rows):
        out[number, : len(row)] = row
    return out


def rows_of(x_NW: np.ndarray) -> list[list[int]]:
    """Symbols of each sequence as a list, without padding."""
    return [row[row >= 0].tolist() for row in x_NW]


def same(x_NW: np.ndarray, y_NV: np.ndarray) -> np.ndarray:
    """Whether left-aligned sequences are equal; bool [N]."""
    wide = max(x_NW.shape[1], y_NV.shape[1])
    padded = [
        np.pad(z, ((0, 0), (0, wide - z.shape[1])), constant_values=NONE) for z in (x_NW, y_NV)
    ]
    equal: np.ndarray = (padded[0] == padded[1]).all(axis=1)
    return equal
