"""The rows that a layout makes of one cell, before they are stored."""

from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.index import PIECE, make_references


@dataclass(frozen=True)
class CellRows:
    """Rows of one bucket as data.layouts.index stores them; references count from 0."""

    entries: np.ndarray  # int64 [R]
    pieces: np.ndarray  # PIECE [P]
    runs: np.ndarray  # int64 [Q] targets of each segment of the rows that are not whole
    document_context: int  # sum over targets of the tokens of their own document in the context
    several: bool  # a row may hold pieces of several documents

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
        """Whole rows [W] by first token, then rows of pieces.

        Args:
          offsets: int64 [R + 1] into `pieces`.
        """
        count = np.diff(offsets)
        tokens = pieces["tokens"].astype(np.int64)
        runs = tokens - 1
        if joined:
            runs = np.add.reduceat(tokens, offsets[:-1]) - 1 if count.size else tokens
        context = whole.size * length * (length + 1) // 2 + int((tokens * (tokens - 1) // 2).sum())
        return cls(
            entries=np.concatenate([whole, make_references(offsets[:-1], count)]),
            pieces=pieces,
            runs=runs,
            document_context=context,
            several=bool((count > 1).any()),
        )


def make_pieces(start: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """PIECE [P]."""
    pieces = np.empty(start.size, PIECE)
    pieces["start"], pieces["tokens"] = start, tokens
    return pieces
