"""Concatenate-and-chunk of one cell: documents one behind the other, cut every L tokens."""

import numpy as np

from lengthwise.data.layouts.config import LayoutConfig
from lengthwise.data.layouts.documents import Cell, Documents
from lengthwise.data.layouts.rows import Rows, make_pieces
from lengthwise.data.shuffle import derive_key, hash64


def concatenate(
    config: LayoutConfig, cell: Cell, documents: Documents, seed: int
) -> tuple[dict[int, Rows], int]:
    """The rows of the one length; what does not fill the last row is dropped.

    Without a document mask a row is L + 1 tokens of the joined text, with a stride of L, and a
    document's first token is a target too. With one, what is joined are the targets of the
    documents: each piece is shifted on its own.

    Returns: the rows, and how many targets are dropped.
    """
    length, joined = config.largest_bucket, not config.document_mask
    order = np.argsort(_order_keys(config, cell, documents, seed), kind="stable")
    starts, sizes = cell.starts[order], cell.tokens[order] - (not joined)
    ends = np.cumsum(sizes)  # of the documents in what is joined
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
    held = tokens > (not joined)  # not a document of end-of-text alone, which has no target
    offsets = np.concatenate([[0], np.cumsum(held)])[offsets]
    pieces = make_pieces((starts[document] + piece_begin - document_begin)[held], tokens[held])
    rows = Rows.of(length, inside, offsets, pieces, joined=joined)
    return {length: rows}, possible - length * whole.size


def _order_keys(config: LayoutConfig, cell: Cell, documents: Documents, seed: int) -> np.ndarray:
    """uint64 [n]: documents are joined by ascending key, those of one key as the store has them."""
    alone = hash64(cell.ids, derive_key(seed, "concat"))
    if config.join_order == "random":
        return alone
    groups = documents.group_of(cell.ids)
    return np.where(groups == 0, alone, hash64(groups, derive_key(seed, "groups")))
