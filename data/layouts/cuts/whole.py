"""Length bucketing of one cell: each document whole, in the shortest bucket that holds it.

A sample of a task must not be cut: what is behind a cut could not be known.
"""

import numpy as np

from lengthwise.data.layouts.config import LayoutConfig
from lengthwise.data.layouts.documents import Cell
from lengthwise.data.layouts.rows import Rows, make_pieces


def whole(config: LayoutConfig, cell: Cell) -> tuple[dict[int, Rows], int]:
    """The rows of each length, padded; documents longer than the longest bucket are dropped.

    Returns: the rows, and how many targets are dropped.
    """
    targets = cell.tokens - 1
    lengths = np.array(config.lengths, np.int64)
    bucket = np.searchsorted(lengths, targets)
    rows = {}
    for number, length in enumerate(config.lengths):
        here = (bucket == number) & (targets > 0)
        full, short = here & (targets == length), here & (targets < length)
        pieces = make_pieces(cell.starts[short], targets[short] + 1)
        offsets = np.arange(pieces.size + 1)
        rows[length] = Rows.of(length, cell.starts[full], offsets, pieces, joined=False)
    return rows, int(targets[bucket == lengths.size].sum())
