"""Staging: copies blocks of the store to local disk ahead of the steps that read them.

On network storage a random read waits for a request of its own, and a stretch of a few megabytes
costs about as much. With `sampling.shuffle_blocks` a step's rows come from a few blocks, which the
schedule knows: a thread copies them, and reads fall to the copy where there is one.
"""

import errno
import mmap
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.store.memory_reader import MemoryReader

_STEPS_AHEAD = 4096  # at most, of the steps whose blocks are copied


class BlockSource(Protocol):
    """Source of the copies, such as data.store.shard_reader.ShardReader."""

    dtype: np.dtype

    def ranges(self, begin: int, end: int) -> Iterator[tuple[int, int]]: ...
    def read(self, start: int, length: int) -> np.ndarray: ...
    def read_rows(self, starts: np.ndarray, length: int) -> np.ndarray: ...
    def read_pieces(self, starts: np.ndarray, tokens: np.ndarray) -> np.ndarray: ...


class StagedReader:
    """Reader of a store that prefers local copies of blocks."""

    def __init__(
        self,
        source: BlockSource,
        block_offsets: np.ndarray,
        blocks_of_step: Callable[[int], np.ndarray],
        *,
        directory: Path,
        capacity: int,
        steps: range,
    ):
        """Starts copying.

        Args:
          block_offsets: int64 [blocks + 1], the tokens of each block.
          blocks_of_step: blocks [N] that a step reads.
          directory: on a local disk; made when absent.
          capacity: copies at a time.
          steps: consecutive steps that will read.

        Raises:
          UserError: the directory cannot be written, or has no room for the copies.
        """
        self._source, self._offsets, self._blocks_of_step = source, block_offsets, blocks_of_step
        self._directory, self._capacity = directory, capacity
        self._done, self._end = steps.start - 1, steps.stop
        self._copies: dict[int, MemoryReader] = {}
        self._last_step: dict[int, int] = {}  # of each copy: the last known step that reads it
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        check_room(directory, capacity, block_offsets, source)
        self._thread = threading.Thread(target=self._run, name="staging", daemon=True)
        self._thread.start()

    def read_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """See ShardReader.read_rows. Raises what copying raised."""
        rows = np.empty((starts.size, length), self._source.dtype)
        for where, reader in self._parts(starts):
            rows[where] = reader.read_rows(starts[where], length)
        return rows

    def read_pieces(self, starts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """See ShardReader.read_pieces. Raises what copying raised."""
        flat = np.empty(int(tokens.sum()), self._source.dtype)
        begin = np.cumsum(tokens) - tokens
        for where, reader in self._parts(starts):
            part = reader.read_pieces(starts[where], tokens[where])
            count = tokens[where].astype(np.int64)
            at = np.repeat(begin[where] - (np.cumsum(count) - count), count)
            flat[at + np.arange(part.size)] = part
        return flat

    def finished(self, step: int) -> None:
        """Tells that no read of `step` or an earlier one is under way or will come."""
        with self._changed:
            self._done = max(self._done, step)
            self._changed.notify_all()

    def close(self) -> None:
        """Stops copying and frees the disk."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._copies.clear()

    def _parts(self, starts: np.ndarray) -> Iterator[tuple[np.ndarray, BlockSource]]:
        """Readers, each with the indices of its reads among [R]."""
        if self._error is not None:
            raise self._error
        blocks = np.searchsorted(self._offsets, starts, side="right") - 1
        elsewhere = np.ones(starts.size, bool)
        for block in np.unique(blocks).tolist():
            # Holding the copy keeps it open, should it be dropped in the meantime.
            copy = self._copies.get(block)
            if copy is not None:
                here = blocks == block
                elsewhere &= ~here
                yield np.flatnonzero(here), copy  # type: ignore[misc]
        if elsewhere.any():
            yield np.flatnonzero(elsewhere), self._source

    def _run(self) -> None:
        try:
            step = self._done + 1
            while step < self._end and self._wait(self._is_near, step):
                blocks = self._blocks_of_step(step).tolist()
                # Before room is made for the others: what this step needs stays.
                self._last_step |= {block: step for block in blocks if block in self._copies}
                for block in blocks:
                    if block not in self._copies and not self._stage(block, step):
                        return
                step = max(step, self._done) + 1  # copying may lag behind
        except BaseException as error:  # raised again by the next read
            self._error = error

    def _stage(self, block: int, step: int) -> bool:
        """Copies a block of a step as soon as there is room, unless the step is past by then.

        False: closed in the meantime.
        """
        if not self._wait(lambda: self._done >= step or self._has_room()):
            return False
        if self._done >= step:
            return True
        copy = self._copy(block)
        if copy is None:
            return False
        self._last_step[block] = step
        self._copies[block] = copy
        return True

    def _is_near(self, step: int) -> bool:
        return step - self._done <= _STEPS_AHEAD

    def _has_room(self) -> bool:
        """Whether there is room for another copy; drops the one idle the longest to make it."""
        if len(self._copies) < self._capacity:
            return True
        idle = min(self._copies, key=self._last_step.__getitem__)
        if self._last_step[idle] > self._done:
            return False
        del self._copies[idle], self._last_step[idle]
        return True

    def _wait(self, ready: Callable[..., bool], *arguments: int) -> bool:
        """Waits until it is ready; False: closed in the meantime."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or ready(*arguments))
            return not self._closed

    def _copy(self, block: int) -> MemoryReader | None:
        begin, end = int(self._offsets[block]), int(self._offsets[block + 1])
        try:
            # The file has no name: it takes its room with it when the process dies, however that
            # may be, and as nobody can shrink it, it can be mapped.
            with tempfile.TemporaryFile(dir=self._directory) as file:
                for start, length in self._source.ranges(begin, end):
                    if self._closed:
                        return None
                    file.write(self._source.read(start, length).tobytes())
                file.flush()
                mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except OSError as error:
            raise _cannot_write(self._directory, error) from error
        return MemoryReader(np.frombuffer(mapped, self._source.dtype), begin)


def check_room(
    directory: Path, capacity: int, block_offsets: np.ndarray, source: BlockSource
) -> None:
    """Raises UserError when `directory` cannot be written, or has no room for the copies."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise _cannot_write(directory, error) from error
    largest = np.sort(np.diff(block_offsets))[-capacity:]
    needed = int(largest.sum()) * source.dtype.itemsize
    if needed > free:
        raise UserError(
            f"train.stage_blocks = {capacity} blocks are {needed / 1e9:.1f} GB, but {directory} "
            f"has only {free / 1e9:.1f} GB left: stage fewer, or choose another "
            "train.stage_directory"
        )


def _cannot_write(directory: Path, error: OSError) -> UserError:
    advice = "choose another train.stage_directory"
    if error.errno == errno.ENOSPC:
        advice = "free some room, lower train.stage_blocks or " + advice
    return UserError(f"cannot stage blocks in {directory}: {error.strerror}; {advice}")
