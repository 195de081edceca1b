"""From steps to host batches: reads the rows a schedule draws, a few steps ahead in threads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import grain
import numpy as np

from data.curriculum import Schedule
from data.layouts import BucketIndex, Layout

# For a bucket's length L: which rows of the batch (indices in [0, B)) and which columns (of L)
# this process holds.
LocalSlices = Callable[[int], tuple[np.ndarray, slice]]


class TokenReader(Protocol):
    """What the pipeline needs of a token store; must be safe to call from several threads."""

    def read(self, start: int, length: int) -> np.ndarray:
        """Tokens [start, start + length) of one document, by global position."""


@dataclass(frozen=True)
class HostBatch:
    """One step's batch, as far as this process holds it."""

    step: int
    length: int  # L, the bucket
    rows: np.ndarray  # int64 [B] row ids of the whole batch in the bucket
    arrays: dict[str, np.ndarray]  # see assemble; local rows and columns only


def assemble(
    store: TokenReader, layout: Layout, length: int, rows: np.ndarray, columns: slice
) -> dict[str, np.ndarray]:
    """Reads rows of a bucket.

    Args:
      length: L, the bucket.
      rows: int64 [R] row ids in the bucket.
      columns: which of the L positions, contiguous.

    Returns: int32 arrays [R, columns]:
      inputs, targets: tokens; 0 at padding. The target at an index is the token after its input in
        the same document (the same text, when joined).
      segment_ids: 0 for padding, 1.. for the pieces of a row. A target is valid where it is > 0.
        Joined rows are one segment.
      positions: index in the piece; index in the row when joined; 0 at padding.

    Raises:
      IndexError: a row that the bucket does not have.
      ValueError: columns with a stride.
    """
    bucket = layout.buckets[length]
    begin, end, stride = columns.indices(length)
    if stride != 1:
        raise ValueError(f"columns must be contiguous, got {columns}")
    if rows.size and (rows.min() < 0 or rows.max() >= bucket.rows):
        raise IndexError(f"bucket {length} has {bucket.rows} rows")
    if bucket.segmented:
        return _assemble_segmented(store, bucket, rows, begin, end)
    read = _read_joined if layout.joined else _read_whole
    tokens = np.empty((rows.size, end - begin + 1), np.int32)
    read(store, bucket, rows, begin, tokens)
    shape = (rows.size, end - begin)
    return {
        "inputs": np.ascontiguousarray(tokens[:, :-1]),
        "targets": np.ascontiguousarray(tokens[:, 1:]),
        "segment_ids": np.ones(shape, np.int32),
        "positions": np.tile(np.arange(begin, end, dtype=np.int32), (rows.size, 1)),
    }


def _read_whole(
    store: TokenReader, bucket: BucketIndex, rows: np.ndarray, begin: int, tokens: np.ndarray
) -> None:
    """Rows of one piece: one read a row."""
    starts = bucket.piece_start[bucket.row_offsets[rows]] + begin
    width = tokens.shape[1]
    for row, start in enumerate(starts.tolist()):
        tokens[row] = store.read(start, width)


def _read_joined(
    store: TokenReader, bucket: BucketIndex, rows: np.ndarray, begin: int, tokens: np.ndarray
) -> None:
    """Rows whose pieces follow each other and add up to L + 1 tokens."""
    width = tokens.shape[1]
    for row, row_id in enumerate(rows.tolist()):
        at = -begin  # where the piece starts, from the first column asked for
        for start, size in _pieces(bucket, row_id):
            first, last = max(0, at), min(width, at + size)
            if first < last:
                tokens[row, first:last] = store.read(start + first - at, last - first)
            at += size


def _assemble_segmented(
    store: TokenReader, bucket: BucketIndex, rows: np.ndarray, begin: int, end: int
) -> dict[str, np.ndarray]:
    """Rows of pieces shifted one by one, so that no target is another document's."""
    width = end - begin
    names = ("inputs", "targets", "segment_ids", "positions")
    arrays = {name: np.zeros((rows.size, width), np.int32) for name in names}
    inputs, targets, segment_ids, positions = arrays.values()
    for row, row_id in enumerate(rows.tolist()):
        at = -begin
        for segment, (start, size) in enumerate(_pieces(bucket, row_id), 1):
            first, last = max(0, at), min(width, at + size - 1)
            if first < last:
                tokens = store.read(start + first - at, last - first + 1)
                inputs[row, first:last] = tokens[:-1]
                targets[row, first:last] = tokens[1:]
                segment_ids[row, first:last] = segment
                positions[row, first:last] = np.arange(first - at, last - at)
            at += size - 1
    return arrays


def _pieces(bucket: BucketIndex, row: int) -> Iterator[tuple[int, int]]:
    """First token and number of tokens of each piece of a row."""
    pieces = slice(bucket.row_offsets[row], bucket.row_offsets[row + 1])
    starts, sizes = bucket.piece_start[pieces].tolist(), bucket.piece_tokens[pieces].tolist()
    return zip(starts, sizes, strict=True)


def batches(
    store: TokenReader,
    layout: Layout,
    schedule: Schedule,
    *,
    start_step: int,
    num_steps: int,
    local_slices: LocalSlices,
    num_threads: int,
    prefetch: int,
) -> Iterator[HostBatch]:
    """The batches of steps start_step, start_step + 1, ... (`num_steps` of them), in order.

    A batch depends on its step alone. What a thread raises is raised here. Closing the iterator,
    or dropping it, stops the threads.

    Args:
      local_slices: the part of a bucket's batch that this process holds.
      num_threads: reading threads; 0 reads in the caller's.
      prefetch: batches held ahead, 2 to 8 (Grain's default of 500 would fill the memory).
    """

    def make(step: int) -> HostBatch:
        draw = schedule.draw(step)
        local_rows, columns = local_slices(draw.length)
        arrays = assemble(store, layout, draw.length, draw.rows[local_rows], columns)
        return HostBatch(step, draw.length, draw.rows, arrays)

    steps = grain.MapDataset.range(start_step, start_step + num_steps)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    iterator = iter(steps.map(make).to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        iterator.close()
