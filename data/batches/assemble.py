"""The arrays of a batch: reads the pieces of rows and lays them out, all rows at once."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.data.batches.answers import answers_only
from lengthwise.data.layouts import LayoutIndex, Pieces
from lengthwise.data.store.shard_reader import RangeReader

# Inputs, targets, segment ids and positions.
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

# Tokens of a piece, on average, below which going token by token is faster than piece by piece; and
# of a row, up to which whole rows are better read apart.
_SHORT = 128


def assemble(
    reader: RangeReader,
    layout: LayoutIndex,
    length: int,
    rows: np.ndarray,
    columns: slice,
    window: int | None = None,
) -> dict[str, np.ndarray]:
    """Reads rows of a bucket.

    Args:
      length: L, the bucket.
      rows: int64 [R] row ids in the bucket.
      columns: which of the L positions, contiguous.
      window: splits segments into segments of so many tokens (Layout.window_at); None: not.

    Returns: int32 arrays [R, columns], to be read only: constant ones are shared between batches.
      inputs, targets: tokens; 0 at padding. The target at an index is the token after its input in
        the same document (the same text, when joined).
      segment_ids: 0 for padding, 1.. for the pieces of a row. A target is valid where it is > 0.
        Joined rows are one segment. With a window: 1 + the column at which the segment begins.
      positions: index in the piece; index in the row when joined; 0 at padding. They restart where
        a window does.

    Raises:
      IndexError: a row that the bucket does not have.
      ValueError: columns with a stride.
    """
    bucket = layout.buckets[length]
    begin, end, stride = columns.indices(length)
    if stride != 1:
        raise ValueError(f"columns must be contiguous, got {columns}")
    first, whole = bucket.starts(rows)
    in_pieces = _joined if layout.joined else _segments
    if whole.all():
        arrays = _whole(reader, first, begin, end)
    elif length > _SHORT or 2 * np.count_nonzero(whole) < rows.size:
        arrays = in_pieces(reader, bucket.pieces(rows), begin, end)
    else:
        arrays = _merged(
            np.flatnonzero(whole),
            _whole(reader, first[whole], begin, end),
            np.flatnonzero(~whole),
            in_pieces(reader, bucket.pieces(rows[~whole]), begin, end),
        )
    if window is not None:
        arrays = _split(arrays, begin, end, window)
    return dict(zip(("inputs", "targets", "segment_ids", "positions"), arrays, strict=True))


def assemble_stretches(
    reader: RangeReader,
    layout: LayoutIndex,
    length: int,
    rows: np.ndarray,
    stretches: Sequence[slice],
    window: int | None = None,
) -> dict[str, np.ndarray]:
    """As `assemble`, of several stretches of columns, one after the other.

    Where the layout trains answers alone, other targets are data.answers.NO_TARGET.
    """
    if layout.config.targets == "answers":
        # Whole rows: where an answer begins may lie in columns that this process does not hold.
        row = assemble(reader, layout, length, rows, slice(0, length), window)
        row["targets"] = answers_only(row["inputs"], row["targets"], row["positions"])
        held = np.concatenate([np.arange(length)[columns] for columns in stretches])
        return row if held.size == length else {n: array[:, held] for n, array in row.items()}
    parts = [assemble(reader, layout, length, rows, columns, window) for columns in stretches]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _whole(reader: RangeReader, first: np.ndarray, begin: int, end: int) -> Arrays:
    """Rows of one piece of L + 1 tokens."""
    tokens = reader.read_rows(first + begin, end - begin + 1)
    return *_shifted(tokens), *_constants(first.size, begin, end)


def _merged(some: np.ndarray, of_some: Arrays, rest: np.ndarray, of_rest: Arrays) -> Arrays:
    """Arrays of all rows from those of some, at these places, and of the rest."""
    arrays = np.empty((4, some.size + rest.size, of_some[0].shape[1]), np.int32)
    for array, a, b in zip(arrays, of_some, of_rest, strict=True):
        array[some], array[rest] = a, b
    return arrays[0], arrays[1], arrays[2], arrays[3]


def _shifted(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tokens[:, :-1].astype(np.int32), tokens[:, 1:].astype(np.int32)


@functools.lru_cache(maxsize=64)
def _constants(rows: int, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Segments and positions of rows that are one segment without padding; shared, read-only."""
    segment_ids = np.ones((rows, end - begin), np.int32)
    positions = np.tile(np.arange(begin, end, dtype=np.int32), (rows, 1))
    segment_ids.flags.writeable = positions.flags.writeable = False
    return segment_ids, positions


def _joined(reader: RangeReader, pieces: Pieces, begin: int, end: int) -> Arrays:
    """Rows whose T <= L + 1 tokens are one text, shifted as a whole: T - 1 targets, padding."""
    held = _clip(pieces, pieces.tokens, begin, end + 1)
    raw = reader.read_pieces(held.start, held.size)
    rows, width = pieces.offsets.size - 1, end - begin
    of_row = np.bincount(held.row, held.size, rows).astype(np.int64)
    if (of_row == width + 1).all():
        return *_shifted(raw.reshape(rows, width + 1)), *_constants(rows, begin, end)
    tokens = np.zeros((rows, width + 1), raw.dtype)
    at = 0
    for row, count in enumerate(of_row.tolist()):
        tokens[row, :count] = raw[at : at + count]
        at += count
    inputs, targets = _shifted(tokens)
    segment_ids, positions = (array.copy() for array in _constants(rows, begin, end))
    for row in np.flatnonzero(of_row <= width).tolist():
        padding = max(0, int(of_row[row]) - 1)
        for array in (inputs, segment_ids, positions):
            array[row, padding:] = 0
    return inputs, targets, segment_ids, positions


def _segments(reader: RangeReader, pieces: Pieces, begin: int, end: int) -> Arrays:
    """Rows of pieces that are each shifted on their own, so that no target is another document's.

    n + 1 tokens of a piece are n inputs and n targets.
    """
    held = _clip(pieces, pieces.tokens - 1, begin, end)
    raw = reader.read_pieces(held.start, held.size + 1)
    rows, width = pieces.offsets.size - 1, end - begin
    of_row = np.bincount(held.row, held.size, rows).astype(np.int64)
    lay_out = _long_segments if raw.size > _SHORT * held.size.size else _short_segments
    inputs, targets, segment_ids, positions = lay_out(raw, held, of_row, rows, width)
    return inputs, targets, segment_ids, positions


def _short_segments(
    raw: np.ndarray, held: "_Held", of_row: np.ndarray, rows: int, width: int
) -> np.ndarray:
    """Token by token: int32 [4, rows, width]."""
    # Places in `raw`, which has a token more a piece than there are targets.
    is_input, is_target = np.ones(raw.size, bool), np.ones(raw.size, bool)
    ends = np.cumsum(held.size + 1)
    is_input[ends - 1] = False
    is_target[ends - held.size - 1] = False
    valid = np.arange(width) < of_row[:, None]
    behind = np.cumsum(held.size)
    arrays = np.zeros((4, rows, width), np.int32)
    arrays[0][valid] = raw[is_input]
    arrays[1][valid] = raw[is_target]
    arrays[2][valid] = np.repeat(held.number.astype(np.int32), held.size)
    first = behind - held.size - held.position
    arrays[3][valid] = np.arange(int(held.size.sum())) - np.repeat(first, held.size)
    return arrays


def _long_segments(
    raw: np.ndarray, held: "_Held", of_row: np.ndarray, rows: int, width: int
) -> np.ndarray:
    """Piece by piece, at the speed of memory: int32 [4, rows, width]."""
    arrays = np.empty((4, rows, width), np.int32)
    inputs, targets, segment_ids, positions = arrays.reshape(4, -1)
    running = np.arange(int((held.position + held.size).max()), dtype=np.int32)
    padding_before = np.cumsum(width - of_row) - (width - of_row)
    place = np.cumsum(held.size) - held.size + padding_before[held.row]
    at = np.cumsum(held.size + 1) - held.size - 1  # in `raw`, with a token more a piece
    columns = (place, at, held.number, held.position, held.size)
    for to, source, number, first, size in zip(*(c.tolist() for c in columns), strict=True):
        inputs[to : to + size] = raw[source : source + size]
        targets[to : to + size] = raw[source + 1 : source + 1 + size]
        segment_ids[to : to + size] = number
        positions[to : to + size] = running[first : first + size]
    for row in np.flatnonzero(of_row < width).tolist():
        arrays[:, row, int(of_row[row]) :] = 0
    return arrays


def _split(arrays: Arrays, begin: int, end: int, window: int) -> Arrays:
    """Segments split into segments of `window` tokens."""
    inputs, targets, segment_ids, positions = arrays
    size = np.int32(window)
    restarted = positions - positions // size * size  # numpy's % takes five times as long
    beginning = np.arange(begin, end, dtype=np.int32) - restarted
    return inputs, targets, np.where(segment_ids > 0, beginning + np.int32(1), 0), restarted


@dataclass(frozen=True)
class _Held:
    """Parts of pieces that lie in some columns, those without any left out; all [P]."""

    row: np.ndarray  # place of its row
    number: np.ndarray  # of the piece in its row, from 1 on
    position: np.ndarray  # in the piece, of the part's first column
    start: np.ndarray  # position in the store of the part's first token
    size: np.ndarray  # columns


def _clip(pieces: Pieces, sizes: np.ndarray, begin: int, end: int) -> _Held:
    """The parts in columns [begin, end) of pieces that take `sizes` columns each."""
    ends = np.cumsum(sizes, dtype=np.int64)
    row = np.repeat(np.arange(pieces.offsets.size - 1), np.diff(pieces.offsets))
    at = ends - sizes - np.concatenate([[0], ends])[pieces.offsets[:-1]][row]
    low, high = np.maximum(at, begin), np.minimum(at + sizes, end)
    held = np.flatnonzero(high > low)
    row, position = row[held], (low - at)[held]
    return _Held(
        row=row,
        number=held - pieces.offsets[row] + 1,
        position=position,
        start=pieces.start[held] + position,
        size=(high - low)[held],
    )
