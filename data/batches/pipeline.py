"""The input pipeline: host batches of consecutive steps, assembled a few steps ahead in threads."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import grain  # never beside other threads: while it loads, imports of all are lazy
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path
from lengthwise.data.batches.assemble import assemble_stretches
from lengthwise.data.batches.staging import StagedReader, check_room
from lengthwise.data.config import ReadingConfig
from lengthwise.data.layouts import LayoutIndex
from lengthwise.data.schedule.schedule import Schedule
from lengthwise.data.store.shard_reader import RangeReader
from lengthwise.data.store.token_store import TokenStore

# From a bucket's length L: this process's rows of the batch, indices in [0, B), and its columns, in
# ascending stretches of [0, L).
LocalSlices = Callable[[int], tuple[np.ndarray, Sequence[slice]]]


@dataclass(frozen=True)
class HostBatch:
    """The part of one step's batch on this process."""

    step: int  # data step of the phase, from 0
    length: int  # L, the bucket
    rows: np.ndarray  # int64 [B] row ids of the whole batch in the bucket
    strata: np.ndarray  # int32 [B] stratum of each row of the whole batch
    arrays: dict[str, np.ndarray]  # see assemble; this process's rows and columns


def check_reading(
    config: ReadingConfig, store: TokenStore, layout: LayoutIndex, schedule: Schedule
) -> None:
    """Raises UserError when blocks cannot be staged as configured."""
    if not config.stage_directory:
        return
    if not schedule.shuffle_blocks:
        raise UserError(
            "train.stage_directory needs sampling.shuffle_blocks of every phase: with the full "
            "shuffle each batch reads from all blocks"
        )
    if config.stage_blocks < schedule.open_blocks:
        raise UserError(
            f"train.stage_blocks = {config.stage_blocks}, but batches are read from up to "
            f"{schedule.open_blocks} blocks at a time (sampling.shuffle_blocks a bucket and "
            f"stratum, more where a batch crosses into the next ones): stage at least "
            f"these, better {2 * schedule.open_blocks}"
        )
    directory = user_path(config.stage_directory, "train.stage_directory")
    check_room(directory, config.stage_blocks, layout.block_offsets, store.shards)


def where_read(config: ReadingConfig, store: TokenStore) -> str:
    """Line for the terminal on where `store_batches` reads tokens."""
    size = store.manifest.num_tokens * store.shards.dtype.itemsize
    memory = f"of {config.memory_bytes / 1e6:,.0f} MB (train.memory_bytes)"
    if config.stage_directory:
        line = (
            f"tokens: copies of {config.stage_blocks} blocks at most in {config.stage_directory}, "
            "and the shards where a copy isn't there yet"
        )
        if size <= config.memory_bytes:
            line += (
                f"; the store's {size / 1e6:,.1f} MB would fit into memory {memory}: "
                "train.stage_directory='' reads them there"
            )
        return line
    if size <= config.memory_bytes:
        return f"tokens: all {size / 1e6:,.1f} MB in memory, at most {memory}; nothing is staged"
    return (
        f"tokens: the shards, {size / 1e6:,.1f} MB, beyond the memory {memory}; nothing is staged"
    )


def store_batches(
    store: TokenStore,
    layout: LayoutIndex,
    schedule: Schedule,
    config: ReadingConfig,
    steps: range,
    local_slices: LocalSlices,
) -> Iterator[HostBatch]:
    """`batches` from memory, from local copies or from the shards, as `config` says."""
    if not config.stage_directory:
        size = store.manifest.num_tokens * store.shards.dtype.itemsize
        reader = store.in_memory if size <= config.memory_bytes else store.shards
        yield from batches(reader, layout, schedule, config, steps, local_slices)
        return
    staged = StagedReader(
        store.shards,
        layout.block_offsets,
        schedule.blocks,
        directory=user_path(config.stage_directory, "train.stage_directory"),
        capacity=config.stage_blocks,
        steps=steps,
    )
    try:
        for batch in batches(staged, layout, schedule, config, steps, local_slices):
            staged.finished(batch.step)
            yield batch
    finally:
        staged.close()


def bucketed_batches(
    reader: RangeReader,
    layout: LayoutIndex,
    schedule: Schedule,
    steps: range,
    local_slices: LocalSlices | None = None,
    config: ReadingConfig | None = None,
) -> grain.IterDataset:
    """The batches of consecutive steps as a Grain data set of `HostBatch`.

    A batch depends on its step alone, so that the state of an iterator is how many were taken:
    `get_state` and `set_state`, or Grain's checkpointing.

    Args:
      local_slices: the part of a bucket's batch that this process reads; None: all of it.
      config: threads that read, and batches ahead; None: the defaults.
    """

    def make(step: int) -> HostBatch:
        draw = schedule.draw(step)
        local_rows, stretches = (local_slices or _whole(schedule))(draw.length)
        rows = draw.rows[local_rows]
        window = layout.config.kind.window_at(step)
        arrays = assemble_stretches(reader, layout, draw.length, rows, stretches, window)
        return HostBatch(step, draw.length, draw.rows, draw.strata, arrays)

    config = config or ReadingConfig()
    options = grain.ReadOptions(
        num_threads=config.reader_threads, prefetch_buffer_size=config.prefetch
    )
    dataset = grain.MapDataset.range(steps.start, steps.stop)
    return dataset.map(make).to_iter_dataset(options)


def _whole(schedule: Schedule) -> LocalSlices:
    """All of a batch."""
    return lambda length: (np.arange(schedule.batch_sizes[length]), [slice(0, length)])


def batches(
    reader: RangeReader,
    layout: LayoutIndex,
    schedule: Schedule,
    config: ReadingConfig,
    steps: range,
    local_slices: LocalSlices,
) -> Iterator[HostBatch]:
    """The batches of consecutive steps, in order; see `bucketed_batches`.

    Exceptions of threads are raised here. Closing or dropping the iterator stops the threads.
    """
    iterator = iter(bucketed_batches(reader, layout, schedule, steps, local_slices, config))
    try:
        yield from iterator
    finally:
        iterator.close()
