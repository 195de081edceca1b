"""Length bucketing: each document whole, in the shortest bucket that holds it.

A sample of a task must not be cut: the tokens behind a cut could not be predicted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.accounting import BucketAccount
from lengthwise.data.layouts.config import LAYOUTS, Layout
from lengthwise.data.layouts.documents import DocumentCell, DocumentSet
from lengthwise.data.layouts.rows import CellRows, make_pieces


@LAYOUTS.register("whole")
@dataclass(frozen=True)
class Whole(Layout):
    bucketed = True

    def joins_documents(self, length: int) -> bool:
        return False

    def lay_out(
        self, cell: DocumentCell, documents: DocumentSet, seed: int, plan: np.ndarray | None
    ) -> tuple[dict[int, CellRows], int]:
        """See `Layout.lay_out`; documents that don't fit the largest bucket are dropped."""
        targets = cell.tokens - 1
        lengths = np.array(self.lengths, np.int64)
        bucket = np.searchsorted(lengths, targets)
        rows = {}
        for number, length in enumerate(self.lengths):
            here = (bucket == number) & (targets > 0)
            full, short = here & (targets == length), here & (targets < length)
            pieces = make_pieces(cell.starts[short], targets[short] + 1)
            offsets = np.arange(pieces.size + 1)
            rows[length] = CellRows.of(length, cell.starts[full], offsets, pieces, joined=False)
        return rows, int(targets[bucket == lengths.size].sum())

    def no_rows(self, documents: int, tokens: int, dropped: int) -> UserError:
        if not dropped:
            return super().no_rows(documents, tokens, dropped)
        return UserError(
            f"layout whole: no training document fits into layout.largest_bucket = "
            f"{self.config.largest_bucket}; raise it"
        )

    def notes(self, buckets: Sequence[BucketAccount], dropped: int) -> Iterator[str]:
        # Buckets may well be empty: a task has samples of a few lengths.
        if dropped:
            yield (
                f"{dropped:,} targets are dropped: those of documents longer than "
                f"{self.config.largest_bucket + 1} tokens"
            )
