"""The index of a bucket: where the tokens of each row lie in the store.

A row that is one piece of L + 1 tokens costs 8 bytes: its first token. Any other row is a reference
to its pieces, 12 bytes each. The entries lie in memory or in files (data.layouts.index).
"""

import os
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.row_groups import RowGroups


class Table(Protocol):
    """A read-only array of fixed-size entries; may be read by several threads."""

    @property
    def size(self) -> int:
        """Entries."""

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Entries [R] at int64 indices [R] in [0, size)."""

    def ranges(self, first: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Entries of ranges [R], one range behind the other."""


class ArrayTable:
    """Entries in memory."""

    def __init__(self, array: np.ndarray):
        self._array = array

    @property
    def size(self) -> int:
        return self._array.size

    def take(self, indices: np.ndarray) -> np.ndarray:
        return self._array[indices]

    def ranges(self, first: np.ndarray, count: np.ndarray) -> np.ndarray:
        behind = np.cumsum(count)
        within = np.arange(behind[-1] if count.size else 0) - np.repeat(behind - count, count)
        return self._array[np.repeat(first, count) + within]


class FileTable:
    """Entries of a file, which stays open as long as this object lives."""

    def __init__(self, path: Path, dtype: np.dtype, size: int):
        """Raises UserError when the file cannot be read or has another size."""
        self._path, self._dtype, self._size = path, dtype, size
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        weakref.finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size != size * dtype.itemsize:
            raise self._damaged()

    @property
    def size(self) -> int:
        return self._size

    def take(self, indices: np.ndarray) -> np.ndarray:
        width = self._dtype.itemsize
        return self._read((index * width, width) for index in indices.tolist())

    def ranges(self, first: np.ndarray, count: np.ndarray) -> np.ndarray:
        width = self._dtype.itemsize
        places = zip((first * width).tolist(), (count * width).tolist(), strict=True)
        return self._read(places)

    def _read(self, places: Iterable[tuple[int, int]]) -> np.ndarray:
        parts = []
        for offset, size in places:
            part = os.pread(self._file, size, offset)
            if len(part) != size:
                raise self._damaged()
            parts.append(part)
        return np.frombuffer(b"".join(parts), self._dtype)

    def _damaged(self) -> UserError:
        return UserError(f"{self._path} was damaged; delete {self._path.parent} and start again")


PIECE = np.dtype([("start", "<i8"), ("tokens", "<i4")])  # first token in the store, how many
ROW = np.dtype("<i8")
_COUNT_BITS = 21  # of a reference: a row of the longest bucket, 2^20 tokens, all pieces of one


@dataclass(frozen=True)
class Pieces:
    """The pieces of R rows. Those of row r are [offsets[r], offsets[r + 1])."""

    offsets: np.ndarray  # int64 [R + 1]
    start: np.ndarray  # int64 [P] position in the store of the piece's first token
    # int32 [P] tokens read for the piece. Not joined: n + 1 tokens give n inputs and n targets.
    # Joined: T tokens of all pieces of a row give T - 1 inputs and targets, T <= L + 1.
    tokens: np.ndarray


@dataclass(frozen=True)
class SegmentCounts:
    """How many segments of one stratum hold so many targets (of which none is padding)."""

    targets: np.ndarray  # int64 [K] ascending, without repeats
    count: np.ndarray  # int64 [K]


@dataclass(frozen=True)
class BucketIndex:
    """One bucket: rows, each a list of pieces, which are token ranges of single documents."""

    length: int  # L
    segmented: bool  # rows may hold several segments: its step needs the document mask
    groups: RowGroups
    segments: tuple[SegmentCounts, ...]  # of each stratum
    entries: Table  # ROW [rows]: >= 0: first token of a whole row; < 0: a reference to pieces
    piece_table: Table  # PIECE [all pieces of rows that are not whole]

    @property
    def rows(self) -> int:
        return self.entries.size

    def starts(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where whole rows lie.

        Args:
          rows: int64 [R] row ids.

        Returns:
          int64 [R] the first token of each whole row, -1 for the others; bool [R] whether a row is
          whole, which is one piece of L + 1 tokens.

        Raises:
          IndexError: a row that the bucket does not have.
        """
        entries = self._entries(rows)
        return np.maximum(entries, -1), entries >= 0

    def pieces(self, rows: np.ndarray) -> Pieces:
        """The pieces of rows, whole or not, int64 [R]. Raises IndexError as `starts` does."""
        entries = self._entries(rows)
        whole = entries >= 0
        first, count = parse_references(entries)
        count[whole] = 1
        offsets = np.zeros(entries.size + 1, np.int64)
        np.cumsum(count, out=offsets[1:])
        found = np.empty(offsets[-1], PIECE)
        found["start"][offsets[:-1][whole]] = entries[whole]
        found["tokens"][offsets[:-1][whole]] = self.length + 1
        inside = np.repeat(~whole, count)
        found[inside] = self.piece_table.ranges(first[~whole], count[~whole])
        start, tokens = (np.ascontiguousarray(found[name]) for name in ("start", "tokens"))
        return Pieces(offsets, start, tokens)

    def _entries(self, rows: np.ndarray) -> np.ndarray:
        if rows.size and (rows.min() < 0 or rows.max() >= self.rows):
            raise IndexError(f"bucket {self.length} has {self.rows} rows")
        return self.entries.take(rows)


def make_references(first_piece: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Entries of rows that are not whole: int64 [R], all negative."""
    return -1 - ((first_piece << _COUNT_BITS) | (count - 1))


def shift_references(entries: np.ndarray, pieces: int) -> None:
    """Moves the references among `entries`, in place, by a number of pieces."""
    entries[entries < 0] -= pieces << _COUNT_BITS


def parse_references(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First piece and number of pieces, int64 [R]; meaningless where entries are not negative."""
    packed = -1 - entries
    return packed >> _COUNT_BITS, (packed & ((1 << _COUNT_BITS) - 1)) + 1
