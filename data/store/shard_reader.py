"""Positioned, checked reads of a long array in files; may be shared between threads.

The array is the tokens of a store, or a table of a layout index: a position is a token or an entry.
There is no memory map: a file that shrinks under a map kills the process with SIGBUS.
"""

import bisect
import os
import resource
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import xxhash

from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar

_READ_BYTES = 8 << 20  # of one read of a long range


@dataclass(frozen=True)
class ShardEntry:
    """A file with consecutive entries of the array."""

    name: str  # path below the directory
    tokens: int  # entries
    checksum: str


class RangeReader(Protocol):
    """Reads of a one-dimensional array by position; may be called from several threads."""

    def read_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Row r: entries [starts[r], starts[r] + length); [R, length]."""

    def read_pieces(self, starts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Ranges [starts[p], starts[p] + tokens[p]), concatenated; [sum(tokens)]."""


def damaged(path: Path, directory: Path, what: str, remedy: str = "prepare again") -> UserError:
    """The error of a broken file `path` in `directory`; `remedy` makes the directory anew."""
    return UserError(
        f"{path} is damaged ({what}); copy it again, or delete {directory} and {remedy}"
    )


class ShardReader:
    """The shards of an array as one; its files close with it."""

    def __init__(
        self,
        directory: Path,
        shards: Sequence[ShardEntry],
        dtype: np.dtype,
        remedy: str = "prepare again",
    ) -> None:
        """Opens all shards.

        Args:
          remedy: what to do, once the directory is deleted, to have it made again.

        Raises:
          UserError: a shard is absent or has the wrong size; names it. Or there are more shards
            than this process may open.
        """
        self.directory = directory
        self.shards = tuple(shards)
        self.dtype = dtype
        self._remedy = remedy
        _allow_open_files(len(shards))
        self._files: list[int] = []
        weakref.finalize(self, _close, self._files)
        for shard in shards:
            self._files.append(_open_shard(directory, shard, dtype.itemsize, remedy))
        # Also as a list: bisect on a list is ten times faster than searchsorted for one number.
        self._starts = np.cumsum([0, *(shard.tokens for shard in shards)], dtype=np.int64)
        self._starts_list: list[int] = self._starts.tolist()
        # By shard; the last is that of positions before the first shard (-1) or behind the last.
        self._ends = np.append(self._starts[1:], np.iinfo(np.int64).min)

    @property
    def num_tokens(self) -> int:
        return self._starts_list[-1]

    def ranges(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Splits [begin, end) into reads (start, length) of bounded size, each of one shard."""
        most = _READ_BYTES // self.dtype.itemsize
        while begin < end:
            shard = bisect.bisect_right(self._starts_list, begin) - 1
            length = min(most, end - begin, self._starts_list[shard + 1] - begin)
            yield begin, length
            begin += length

    def read(self, start: int, length: int) -> np.ndarray:
        """Entries [start, start + length), of one shard; read-only array.

        Raises:
          IndexError: the range leaves its shard, so it cannot lie within one document.
          UserError: the shard has become shorter, or can't be read any more; names it.
        """
        shard = bisect.bisect_right(self._starts_list, start) - 1
        if (
            length < 0
            or not 0 <= shard < len(self._files)
            or start + length > self._starts_list[shard + 1]
        ):
            raise IndexError(f"tokens [{start}, {start + length}) are not in one shard")
        size = length * self.dtype.itemsize
        offset = (start - self._starts_list[shard]) * self.dtype.itemsize
        try:
            data = os.pread(self._files[shard], size, offset)
        except OSError as error:
            raise self._unreadable(shard, error) from error
        if len(data) != size:
            raise self._short(shard, len(data), size, offset)
        return np.frombuffer(data, self.dtype)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Entries [R] at int64 positions [R]. Raises as `read`."""
        return self.read_rows(positions, 1)[:, 0]

    def read_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Ranges of one length: row r is entries [starts[r], starts[r] + length).

        Args:
          starts: int64 [R].
          length: entries of each, at least 0.

        Returns: `dtype` [R, length], read-only.

        Raises: as `read`.
        """
        tokens = np.broadcast_to(np.int64(length), len(starts))
        return self._read_all(starts, tokens).reshape(len(starts), length)

    def read_pieces(self, starts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Ranges [starts[p], starts[p] + tokens[p]), concatenated.

        Args:
          starts, tokens: integers [P].

        Returns: `dtype` [sum(tokens)], read-only.

        Raises: as `read`.
        """
        return self._read_all(starts, tokens)

    def _read_all(self, starts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        shards = np.searchsorted(self._starts, starts, side="right") - 1
        inside = (starts + tokens <= self._ends[shards]) & (tokens >= 0)
        if not inside.all():
            bad = int(np.argmin(inside))
            first = int(starts[bad])
            raise IndexError(f"tokens [{first}, {first + int(tokens[bad])}) are not in one shard")
        # In file order, so that the kernel's readahead helps.
        order = np.argsort(starts, kind="stable")
        shards = shards[order]
        offsets = ((starts[order] - self._starts[shards]) * self.dtype.itemsize).tolist()
        sizes = (tokens[order] * np.int64(self.dtype.itemsize)).tolist()
        files = [self._files[shard] for shard in shards.tolist()]
        parts: list[bytes] = []
        try:
            # A loop in C: for short rows Python's would take as long as the system calls.
            parts.extend(map(os.pread, files, sizes, offsets))
        except OSError as error:
            raise self._unreadable(int(shards[len(parts)]), error) from error
        got = list(map(len, parts))
        if got != sizes:
            at = next(i for i, size in enumerate(sizes) if got[i] != size)
            raise self._short(int(shards[at]), got[at], sizes[at], offsets[at])
        inverse = np.empty_like(order)
        inverse[order] = np.arange(order.size)
        return np.frombuffer(b"".join([parts[place] for place in inverse.tolist()]), self.dtype)

    def verify(self) -> None:
        """Reads all shards and compares checksums.

        Raises:
          UserError: names the first shard that differs.
        """
        for number, shard in enumerate(ProgressBar(self.shards, "checksums", delay=2)):
            digest = xxhash.xxh3_128()
            offset = 0
            while block := os.pread(self._files[number], 1 << 22, offset):
                digest.update(block)
                offset += len(block)
            if digest.hexdigest() != shard.checksum:
                path = self.directory / shard.name
                raise damaged(path, self.directory, "wrong checksum", self._remedy)

    def _short(self, shard: int, got: int, size: int, offset: int) -> UserError:
        return UserError(
            f"{self.directory / self.shards[shard].name} gave {got} of {size} bytes at {offset}: "
            f"it was damaged; copy it again, or delete {self.directory} and {self._remedy}"
        )

    def _unreadable(self, shard: int, error: OSError) -> UserError:
        return UserError(
            f"cannot read {self.directory / self.shards[shard].name}: {error.strerror}; "
            "check the disk or mount it is on, then start again"
        )


def _allow_open_files(shards: int) -> None:
    """Raises the soft limit of open files where the shards need it (macOS starts at 256)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = shards + 256  # files that the rest of the process may have open
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UserError(
            f"the store has {shards} shards but this process may open only {hard} files; "
            "raise the limit (ulimit -n) or prepare again with larger data.shard_tokens"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _open_shard(directory: Path, shard: ShardEntry, itemsize: int, remedy: str) -> int:
    path = directory / shard.name
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise damaged(path, directory, str(error.strerror), remedy) from error
    size = os.fstat(file).st_size
    if size != shard.tokens * itemsize:
        os.close(file)
        raise damaged(path, directory, f"{size} bytes, not {shard.tokens * itemsize}", remedy)
    return file


def _close(files: list[int]) -> None:
    while files:
        os.close(files.pop())
