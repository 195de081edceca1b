"""Concatenate-and-chunk: documents concatenated and cut every L tokens."""

from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.config import LAYOUTS, Layout
from lengthwise.data.layouts.documents import DocumentCell, DocumentSet
from lengthwise.data.layouts.rows import CellRows, make_pieces
from lengthwise.data.shuffle import derive_key, hash64


@LAYOUTS.register("concat_and_chunk")
@dataclass(frozen=True)
class ConcatAndChunk(Layout):
    options = frozenset({"document_mask", "join_order"})

    def joins_documents(self, length: int) -> bool:
        return True

    @property
    def min_tokens(self) -> int:
        return self.config.largest_bucket + 1

    def lay_out(
        self, cell: DocumentCell, documents: DocumentSet, seed: int, plan: np.ndarray | None
    ) -> tuple[dict[int, CellRows], int]:
        """See `Layout.lay_out`; what does not fill the last row is dropped.

        Without a document mask a row is L + 1 tokens of the concatenated text, with a stride of L,
        and a document's first token is a target too. With one, the targets of the documents are
        concatenated: each piece is shifted on its own.
        """
        length, joined = self.config.largest_bucket, not self.config.document_mask
        order = np.argsort(self._order_keys(cell, documents, seed), kind="stable")
        starts, sizes = cell.starts[order], cell.tokens[order] - (not joined)
        # Columns below count in the concatenation of these sizes: tokens if joined, else targets.
        ends = np.cumsum(sizes)
        possible = max(0, int(sizes.sum()) - joined)
        begin = np.arange(possible // length) * length
        end = begin + length + joined
        first = np.searchsorted(ends, begin, side="right")
        last = np.searchsorted(ends, end, side="left")
        whole = first == last
        inside = starts[first[whole]] + begin[whole] - (ends - sizes)[first[whole]]

        begin, end, first = begin[~whole], end[~whole], first[~whole]
        count = last[~whole] - first + 1
        offsets = np.zeros(count.size + 1, np.int64)
        np.cumsum(count, out=offsets[1:])
        row = np.repeat(np.arange(count.size), count)
        document = first[row] + np.arange(row.size) - offsets[row]
        document_begin = (ends - sizes)[document]
        piece_begin = np.maximum(document_begin, begin[row])
        tokens = np.minimum(ends[document], end[row]) - piece_begin + (not joined)
        trained = tokens > (not joined)  # a document of end-of-text alone has no target
        offsets = np.concatenate([[0], np.cumsum(trained)])[offsets]
        piece_starts = starts[document] + piece_begin - document_begin
        pieces = make_pieces(piece_starts[trained], tokens[trained])
        rows = CellRows.of(length, inside, offsets, pieces, joined=joined)
        return {length: rows}, possible - length * whole.size

    def _order_keys(self, cell: DocumentCell, documents: DocumentSet, seed: int) -> np.ndarray:
        """uint64 [n]: documents are concatenated by ascending key; equal keys in store order."""
        keys = hash64(cell.ids, derive_key(seed, "concat"))
        if self.config.join_order == "random":
            return keys
        groups = documents.group_of(cell.ids)
        return np.where(groups == 0, keys, hash64(groups, derive_key(seed, "groups")))
