"""Row groups: ranges of a bucket's rows by block of the store and stratum.

A row never mixes strata (a domain x a bin of document lengths) and never leaves its block (a
contiguous stretch of the store), so that sampling weights strata and shuffling moves over blocks by
ranges of row ids alone, without a table of rows.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stratum:
    """A domain and a bin of document lengths."""

    domain: str
    min_tokens: int  # documents of at least this many tokens, up to the next bin's


@dataclass(frozen=True)
class RowGroups:
    """Ranges of row ids of one bucket, disjoint and ascending, that cover [0, rows).

    Sorted by block, then by stratum; at most one range for a pair of them, none of them empty.
    """

    first: np.ndarray  # int64 [G] first row id
    count: np.ndarray  # int64 [G] rows
    block: np.ndarray  # int32 [G] number of the block, ascending through the store
    stratum: np.ndarray  # int32 [G] index into LayoutIndex.strata

    @property
    def rows(self) -> int:
        return int(self.count.sum())

    @classmethod
    def of(cls, block: np.ndarray, stratum: np.ndarray, count: np.ndarray) -> "RowGroups":
        """From the counts of consecutive ranges [G]; drops empty ranges."""
        filled = count > 0
        count = count[filled].astype(np.int64)
        return cls(
            first=np.cumsum(count) - count,
            count=count,
            block=block[filled].astype(np.int32),
            stratum=stratum[filled].astype(np.int32),
        )
