"""The index of a bucket: the ranges of store tokens of each row.

A row that is one piece of L + 1 tokens costs 8 bytes: its first token. Any other row is a reference
to its pieces, 12 bytes each. Both tables lie in memory or in files.
"""

import functools
from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.row_groups import RowGroups
from lengthwise.data.store.memory_reader import MemoryReader
from lengthwise.data.store.shard_reader import ShardReader

Table = MemoryReader | ShardReader

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
    """Histogram of the segments of one stratum by their targets (padding is no target)."""

    targets: np.ndarray  # int64 [K] ascending, without repeats
    count: np.ndarray  # int64 [K]


@dataclass(frozen=True)
class BucketIndex:
    """Rows of one bucket, each a list of pieces, which are token ranges of single documents."""

    length: int  # L
    segmented: bool  # rows may have several segments: its step needs segment ids
    groups: RowGroups
    segments: tuple[SegmentCounts, ...]  # of each stratum
    entries: Table  # ROW [rows]: >= 0: first token of a whole row; < 0: a reference to pieces
    piece_table: Table  # PIECE [all pieces of rows that are not whole]

    @functools.cached_property
    def rows(self) -> int:
        return self.groups.rows

    def starts(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First tokens of whole rows.

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
        """Pieces of rows, whole or not, by row ids, int64 [R]. Raises IndexError as `starts`."""
        entries = self._entries(rows)
        whole = entries >= 0
        first, count = parse_references(entries)
        count[whole] = 1
        offsets = np.zeros(entries.size + 1, np.int64)
        np.cumsum(count, out=offsets[1:])
        pieces = np.empty(offsets[-1], PIECE)
        pieces["start"][offsets[:-1][whole]] = entries[whole]
        pieces["tokens"][offsets[:-1][whole]] = self.length + 1
        inside = np.repeat(~whole, count)
        pieces[inside] = self.piece_table.read_pieces(first[~whole], count[~whole])
        start, tokens = (np.ascontiguousarray(pieces[name]) for name in ("start", "tokens"))
        return Pieces(offsets, start, tokens)

    def _entries(self, rows: np.ndarray) -> np.ndarray:
        if rows.size and (rows.min() < 0 or rows.max() >= self.rows):
            raise IndexError(f"bucket {self.length} has {self.rows} rows")
        return self.entries.take(rows)


def make_references(first_piece: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Entries of rows that are not whole, int64 [R], all negative."""
    return -1 - ((first_piece << _COUNT_BITS) | (count - 1))


def shift_references(entries: np.ndarray, pieces: int) -> None:
    """Moves the references among `entries`, in place, by a number of pieces."""
    entries[entries < 0] -= pieces << _COUNT_BITS


def parse_references(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First piece and number of pieces, int64 [R]; meaningless for entries of whole rows."""
    packed = -1 - entries
    return packed >> _COUNT_BITS, (packed & ((1 << _COUNT_BITS) - 1)) + 1
