"""Rows of one cell, as a layout returns them."""

from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.index import PIECE, make_references


@dataclass(frozen=True)
class CellRows:
    """Rows of one bucket in the format of data.layouts.index; references count from 0."""

    entries: np.ndarray  # int64 [R]
    pieces: np.ndarray  # PIECE [P]
    segment_targets: np.ndarray  # int64 [Q] of each segment of the rows that are not whole
    document_context: int  # sum over targets of context tokens of their own document
    several: bool  # some row has several pieces

    @classmethod
    def whole(cls, length: int, starts: np.ndarray) -> "CellRows":
        """Rows of `length` targets of one document each, from their first tokens, int64 [R]."""
        pieces = np.empty(0, PIECE)
        return cls.of(length, starts, np.zeros(1, np.int64), pieces, joined=False)

    @classmethod
    def of(
        cls,
        length: int,
        whole: np.ndarray,
        offsets: np.ndarray,
        pieces: np.ndarray,
        *,
        joined: bool,
    ) -> "CellRows":
        """From whole rows, int64 first tokens, and rows of pieces, in this order.

        Args:
          offsets: int64 [R + 1] range of each row in `pieces`.
          joined: see LayoutIndex.joined.
        """
        count = np.diff(offsets)
        tokens = pieces["tokens"].astype(np.int64)
        segment_targets = tokens - 1
        if joined:
            segment_targets = np.add.reduceat(tokens, offsets[:-1]) - 1 if count.size else tokens
        context = whole.size * length * (length + 1) // 2 + int((tokens * (tokens - 1) // 2).sum())
        return cls(
            entries=np.concatenate([whole, make_references(offsets[:-1], count)]),
            pieces=pieces,
            segment_targets=segment_targets,
            document_context=context,
            several=bool((count > 1).any()),
        )


def make_pieces(start: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """PIECE [P] from first tokens and sizes, int64 [P]."""
    pieces = np.empty(start.size, PIECE)
    pieces["start"], pieces["tokens"] = start, tokens
    return pieces
