"""Batch assembly: reads the pieces of rows and lays them out in arrays, all rows at once.

B rows of L columns, of which a process assembles R rows and W columns [begin, end); P pieces, or
spans of them, in row order. `raw` is the tokens of all spans, concatenated.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.data.batches.answers import answers_only
from lengthwise.data.layouts import LayoutIndex, Pieces
from lengthwise.data.store.shard_reader import RangeReader

# Inputs, targets, segment ids and positions.
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

# Mean tokens of a piece below which masks over tokens beat a Python loop over pieces; also the row
# length up to which it pays to read whole rows apart from the others.
_SHORT = 128


def assemble(
    reader: RangeReader,
    layout: LayoutIndex,
    length: int,
    rows: np.ndarray,
    columns: slice,
    window: int | None = None,
) -> dict[str, np.ndarray]:
    """Reads rows of a bucket into arrays.

    Args:
      length: L, the bucket.
      rows: int64 [R] row ids in the bucket.
      columns: contiguous columns of the L.
      window: tokens of the segments into which segments are split (Layout.window_at); None: whole.

    Returns: int32 arrays [R, W], read-only: constant ones are shared between batches.
      inputs, targets: tokens; 0 at padding. A target is the token after its input in the same
        document (in the same text, when joined).
      segment_ids: 0 at padding, 1.. for the pieces of a row. A target is valid where it is > 0.
        Joined rows are one segment. With a window: 1 + the column at which the segment begins.
      positions: index in the piece; index in the row when joined; 0 at padding. They restart at
        each window.

    Raises:
      IndexError: a row that the bucket does not have.
      ValueError: columns with a stride.
    """
    bucket = layout.buckets[length]
    begin, end, stride = columns.indices(length)
    if stride != 1:
        raise ValueError(f"columns must be contiguous, got {columns}")
    first, whole = bucket.starts(rows)
    assemble_pieces = _joined_rows if layout.joined else _segmented_rows
    if whole.all():
        arrays = _whole_rows(reader, first, begin, end)
    elif length > _SHORT or 2 * np.count_nonzero(whole) < rows.size:
        # A whole row is also a row of one piece; reading two kinds apart would cost more here.
        arrays = assemble_pieces(reader, bucket.pieces(rows), begin, end)
    else:
        arrays = _merge_rows(
            np.flatnonzero(whole),
            _whole_rows(reader, first[whole], begin, end),
            np.flatnonzero(~whole),
            assemble_pieces(reader, bucket.pieces(rows[~whole]), begin, end),
        )
    if window is not None:
        arrays = _split_segments(arrays, begin, end, window)
    return dict(zip(("inputs", "targets", "segment_ids", "positions"), arrays, strict=True))


def assemble_stretches(
    reader: RangeReader,
    layout: LayoutIndex,
    length: int,
    rows: np.ndarray,
    stretches: Sequence[slice],
    window: int | None = None,
) -> dict[str, np.ndarray]:
    """`assemble` over several stretches of columns, concatenated.

    Where the layout trains answers alone, other targets are data.batches.answers.NO_TARGET.
    """
    if layout.config.targets == "answers":
        # All L columns: an answer may begin in columns of another process.
        row = assemble(reader, layout, length, rows, slice(0, length), window)
        row["targets"] = answers_only(row["inputs"], row["targets"], row["positions"])
        local = np.concatenate([np.arange(length)[columns] for columns in stretches])
        return row if local.size == length else {n: array[:, local] for n, array in row.items()}
    parts = [assemble(reader, layout, length, rows, columns, window) for columns in stretches]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _whole_rows(reader: RangeReader, first: np.ndarray, begin: int, end: int) -> Arrays:
    """Rows of one piece of L + 1 tokens, by first token, int64 [R]."""
    tokens = reader.read_rows(first + begin, end - begin + 1)
    return *_shift(tokens), *_full_rows(first.size, begin, end)


def _merge_rows(a_rows: np.ndarray, a: Arrays, b_rows: np.ndarray, b: Arrays) -> Arrays:
    """Arrays of all rows from those of disjoint sets of rows, by index."""
    arrays = np.empty((4, a_rows.size + b_rows.size, a[0].shape[1]), np.int32)
    for array, of_a, of_b in zip(arrays, a, b, strict=True):
        array[a_rows], array[b_rows] = of_a, of_b
    return arrays[0], arrays[1], arrays[2], arrays[3]


def _shift(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, int32 [R, W], from tokens [R, W + 1]."""
    return tokens[:, :-1].astype(np.int32), tokens[:, 1:].astype(np.int32)


@functools.lru_cache(maxsize=64)
def _full_rows(rows: int, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Segment ids and positions of rows of one segment without padding; shared, read-only."""
    segment_ids = np.ones((rows, end - begin), np.int32)
    positions = np.tile(np.arange(begin, end, dtype=np.int32), (rows, 1))
    segment_ids.flags.writeable = positions.flags.writeable = False
    return segment_ids, positions


def _joined_rows(reader: RangeReader, pieces: Pieces, begin: int, end: int) -> Arrays:
    """Rows whose T <= L + 1 tokens are one text, shifted as a whole: T - 1 targets, then padding.

    The W columns need W + 1 tokens, so spans are clipped to [begin, end + 1) of the text.
    """
    spans = _clip(pieces, pieces.tokens, begin, end + 1)
    raw = reader.read_pieces(spans.start, spans.size)
    rows, width = pieces.offsets.size - 1, end - begin
    row_tokens = np.bincount(spans.row, spans.size, rows).astype(np.int64)
    if (row_tokens == width + 1).all():
        return *_shift(raw.reshape(rows, width + 1)), *_full_rows(rows, begin, end)
    tokens = np.zeros((rows, width + 1), raw.dtype)
    at = 0
    for row, count in enumerate(row_tokens.tolist()):
        tokens[row, :count] = raw[at : at + count]
        at += count
    inputs, targets = _shift(tokens)
    segment_ids, positions = (array.copy() for array in _full_rows(rows, begin, end))
    for row in np.flatnonzero(row_tokens <= width).tolist():
        # The last token of the text is a target only: as an input it would have none.
        padding = max(0, int(row_tokens[row]) - 1)
        for array in (inputs, segment_ids, positions):
            array[row, padding:] = 0
    return inputs, targets, segment_ids, positions


def _segmented_rows(reader: RangeReader, pieces: Pieces, begin: int, end: int) -> Arrays:
    """Rows of pieces that are each shifted on their own, so that no target is another document's.

    n + 1 tokens of a piece are n inputs and n targets: a piece takes n columns, and each span reads
    one token more than it has columns.
    """
    spans = _clip(pieces, pieces.tokens - 1, begin, end)
    raw = reader.read_pieces(spans.start, spans.size + 1)
    rows, width = pieces.offsets.size - 1, end - begin
    valid = np.bincount(spans.row, spans.size, rows).astype(np.int64)  # [R] columns before padding
    lay_out = _lay_out_by_span if raw.size > _SHORT * spans.size.size else _lay_out_by_token
    inputs, targets, segment_ids, positions = lay_out(raw, spans, valid, rows, width)
    return inputs, targets, segment_ids, positions


def _lay_out_by_token(
    raw: np.ndarray, spans: "_ClippedSpans", valid: np.ndarray, rows: int, width: int
) -> np.ndarray:
    """Inputs, targets, segment ids and positions by masks over all tokens: int32 [4, R, W]."""
    # Of a span's n + 1 tokens in `raw` all but the last are inputs, all but the first targets.
    is_input, is_target = np.ones(raw.size, bool), np.ones(raw.size, bool)
    ends = np.cumsum(spans.size + 1)
    is_input[ends - 1] = False
    is_target[ends - spans.size - 1] = False
    # Spans are in row order and padding is at the end of a row, so that a boolean index of the
    # array visits columns in the order of `raw`.
    is_valid = np.arange(width) < valid[:, None]
    arrays = np.zeros((4, rows, width), np.int32)
    arrays[0][is_valid] = raw[is_input]
    arrays[1][is_valid] = raw[is_target]
    arrays[2][is_valid] = np.repeat(spans.number.astype(np.int32), spans.size)
    column_ends = np.cumsum(spans.size)
    first = column_ends - spans.size - spans.position
    arrays[3][is_valid] = np.arange(int(spans.size.sum())) - np.repeat(first, spans.size)
    return arrays


def _lay_out_by_span(
    raw: np.ndarray, spans: "_ClippedSpans", valid: np.ndarray, rows: int, width: int
) -> np.ndarray:
    """`_lay_out_by_token` by one copy a span, at the speed of memory: int32 [4, R, W]."""
    arrays = np.empty((4, rows, width), np.int32)
    inputs, targets, segment_ids, positions = arrays.reshape(4, -1)
    counter = np.arange(int((spans.position + spans.size).max()), dtype=np.int32)
    # Columns of all rows, flat: those of the spans before, and the padding of the rows before.
    padding_before = np.cumsum(width - valid) - (width - valid)
    column = np.cumsum(spans.size) - spans.size + padding_before[spans.row]
    source = np.cumsum(spans.size + 1) - spans.size - 1  # in `raw`, one token more a span
    copies = (column, source, spans.number, spans.position, spans.size)
    for to, at, number, first, size in zip(*(c.tolist() for c in copies), strict=True):
        inputs[to : to + size] = raw[at : at + size]
        targets[to : to + size] = raw[at + 1 : at + 1 + size]
        segment_ids[to : to + size] = number
        positions[to : to + size] = counter[first : first + size]
    for row in np.flatnonzero(valid < width).tolist():
        arrays[:, row, int(valid[row]) :] = 0
    return arrays


def _split_segments(arrays: Arrays, begin: int, end: int, window: int) -> Arrays:
    """Splits segments into segments of `window` tokens.

    A split segment gets the column at which it begins as its id, which is unique in a row and needs
    no count of the segments before it, in columns that another process may have.
    """
    inputs, targets, segment_ids, positions = arrays
    size = np.int32(window)
    restarted = positions - positions // size * size  # numpy's % takes five times as long
    beginning = np.arange(begin, end, dtype=np.int32) - restarted
    return inputs, targets, np.where(segment_ids > 0, beginning + np.int32(1), 0), restarted


@dataclass(frozen=True)
class _ClippedSpans:
    """Pieces clipped to a range of columns, empty ones dropped; all [P], in row order."""

    row: np.ndarray  # index of the row
    number: np.ndarray  # of the piece in its row, from 1 on
    position: np.ndarray  # in the piece, of the span's first column
    start: np.ndarray  # in the store, of the span's first token
    size: np.ndarray  # columns


def _clip(pieces: Pieces, sizes: np.ndarray, begin: int, end: int) -> _ClippedSpans:
    """Clips pieces that take `sizes` columns each, int [P], to columns [begin, end)."""
    ends = np.cumsum(sizes, dtype=np.int64)
    row = np.repeat(np.arange(pieces.offsets.size - 1), np.diff(pieces.offsets))
    row_begin = np.concatenate([[0], ends])[pieces.offsets[:-1]]
    column = ends - sizes - row_begin[row]  # of each piece, in its row
    low, high = np.maximum(column, begin), np.minimum(column + sizes, end)
    inside = np.flatnonzero(high > low)
    row, position = row[inside], (low - column)[inside]
    return _ClippedSpans(
        row=row,
        number=inside - pieces.offsets[row] + 1,
        position=position,
        start=pieces.start[inside] + position,
        size=(high - low)[inside],
    )
