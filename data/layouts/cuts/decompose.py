"""Dataset decomposition (Pouransari et al., arXiv 2405.13226) of one cell; also `pack` and `pad`.

A document's targets are cut into sequences of power-of-two lengths. A sequence starts at the token
that was the last target of the one before, so that every token after a document's first is a
target exactly once; what is shorter than the smallest bucket is a tail. `pack` and `pad` are the
case of a single bucket, where all that is not cut off a longer document is a tail.

`published` is what the paper's code does instead, see `_cut_published`.
"""

from collections.abc import Callable

import numpy as np

from lengthwise.data.layouts.config import LayoutConfig
from lengthwise.data.layouts.cuts.packing import best_fit_decreasing
from lengthwise.data.layouts.documents import Cell
from lengthwise.data.layouts.mixture import halve
from lengthwise.data.layouts.rows import Rows, make_pieces
from lengthwise.data.shuffle import derive_key, hash64

# First tokens of the whole sequences by length; first tokens and targets of the tails.
Cut = tuple[dict[int, np.ndarray], np.ndarray, np.ndarray]


def sequence_counts(config: LayoutConfig, cell: Cell) -> np.ndarray:
    """Whole sequences of each length, ascending, then the targets of the tails: int64 [K + 1].

    As longest-first and shuffled cuts make them.
    """
    targets = cell.tokens - 1
    counts = [np.count_nonzero(targets & length) for length in config.lengths[:-1]]
    tails = (targets & (config.lengths[0] - 1)).sum()
    return np.array([*counts, (targets // config.largest_bucket).sum(), tails], np.int64)


def decompose(
    config: LayoutConfig, cell: Cell, halved: np.ndarray | None, seed: int
) -> tuple[dict[int, Rows], int]:
    """The rows of each length.

    Args:
      halved: int64 [K] how many sequences of each length are halved (data.mixture); None: none.

    Returns: the rows, and how many tokens behind a document's first are no target of any.
    """
    tails = {"pack": "pack", "pad": "pad"}.get(config.name, config.tails)
    smallest, joined = config.lengths[0], not config.document_mask
    sequences, tail_starts, tail_targets = _CUTS[config.cut](config, cell, seed)
    if halved is not None:
        sequences = halve(sequences, halved, seed)
    if tails == "drop":
        tail_starts, tail_targets = tail_starts[:0], tail_targets[:0]
    if tails == "pack":
        # Joined, a piece takes as many places as it has tokens, and a row has L + 1.
        offsets, items = best_fit_decreasing(tail_targets + joined, smallest + joined)
        tail_starts, tail_targets = tail_starts[items], tail_targets[items]
    else:
        offsets = np.arange(tail_targets.size + 1)
    pieces = make_pieces(tail_starts, tail_targets + 1)
    rows = {
        length: Rows.of(length, whole, np.zeros(1, np.int64), pieces[:0], joined=joined)
        for length, whole in sequences.items()
    }
    rows[smallest] = Rows.of(smallest, sequences[smallest], offsets, pieces, joined=joined)
    if tails == "drop":
        held = sum(length * whole.size for length, whole in sequences.items())
        return rows, int((cell.tokens - 1).sum()) - held
    return rows, 0


def _cut_longest_first(config: LayoutConfig, cell: Cell, seed: int) -> Cut:
    targets, starts = cell.tokens - 1, cell.starts
    sequences = {}
    for length in config.lengths[:-1]:
        # A document has a sequence of 2^k targets where bit k of its targets is set, behind all
        # that the higher bits stand for.
        chosen = np.flatnonzero(targets & length)
        sequences[length] = starts[chosen] + (targets[chosen] & -(2 * length))
    sequences[config.largest_bucket] = _repeat_whole(starts, targets, config.largest_bucket)
    tails = targets & (config.lengths[0] - 1)
    tailed = np.flatnonzero(tails)
    tails = tails[tailed]
    return sequences, starts[tailed] + targets[tailed] - tails, tails


def _repeat_whole(starts: np.ndarray, targets: np.ndarray, length: int) -> np.ndarray:
    """First tokens of as many sequences of `length` targets as fit, from each start on."""
    counts = targets // length
    long = np.flatnonzero(counts)
    starts, counts = starts[long], counts[long]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + length * within


def _cut_shuffled(config: LayoutConfig, cell: Cell, seed: int) -> Cut:
    """Longest-first's pieces of each document, its tail included, in random order.

    The control for longest-first, which puts heads of documents into long buckets and their ends
    into short ones.
    """
    targets = cell.tokens - 1
    sizes = np.array([*config.lengths, 1])
    counts = [(targets & length) // length for length in config.lengths[:-1]]
    tails = targets & (config.lengths[0] - 1)
    counts += [targets // config.largest_bucket, (tails > 0).astype(np.int64)]
    count = np.stack(counts, axis=1)  # [n, K + 1]
    per_document = count.sum(axis=1)
    document = np.repeat(np.arange(targets.size), per_document)
    kind = np.repeat(np.tile(np.arange(sizes.size), targets.size), count.ravel())
    piece_targets = np.where(kind == sizes.size - 1, tails[document], sizes[kind])
    first = np.cumsum(per_document) - per_document
    number = np.arange(document.size) - first[document]
    # A document has fewer pieces than tokens, so that no two pieces share this number.
    random = hash64(cell.starts[document] + number, derive_key(seed, "cut"))
    order = np.lexsort((random, document))  # the documents stay in place
    kind, piece_targets = kind[order], piece_targets[order]
    before = np.cumsum(piece_targets) - piece_targets
    starts = cell.starts[document] + before - before[first[document]]
    sequences = {length: starts[kind == place] for place, length in enumerate(config.lengths)}
    tail = kind == sizes.size - 1
    return sequences, starts[tail], piece_targets[tail]


def _cut_published(config: LayoutConfig, cell: Cell, seed: int) -> Cut:
    """The cut of the paper's public code (apple/ml-dataset-decomposition).

    From the start of the document: k = floor(log2(tokens left - 1)); the first 2^k + 1 tokens are a
    sequence; none of them is read again, so that the first token behind it is no target. Where k is
    beyond the largest of n buckets, it is drawn with odds 1 : 2 : 4 : ... from the largest to the
    smallest. What is shorter than the smallest bucket is dropped.
    """
    position, left = cell.starts, cell.tokens - 1
    draws = 2 ** len(config.lengths) - 1
    key = derive_key(seed, "published")
    found: dict[int, list[np.ndarray]] = {length: [] for length in config.lengths}
    while True:
        active = np.flatnonzero(left >= config.lengths[0])
        if not active.size:
            break
        position, left = position[active], left[active]
        length = np.left_shift(1, floor_log2(left))
        draw = (hash64(position, key) % np.uint64(draws)).astype(np.int64) + 1
        drawn = config.largest_bucket >> floor_log2(draw)
        length = np.where(length > config.largest_bucket, drawn, length)
        for each, starts in found.items():
            starts.append(position[length == each])
        position, left = position + length + 1, left - length - 1
    empty = np.zeros(0, np.int64)
    sequences = {length: np.concatenate([empty, *starts]) for length, starts in found.items()}
    return sequences, empty, empty


def floor_log2(values: np.ndarray) -> np.ndarray:
    """Of positive int64 below 2^53; np.log2 would round 2^49 - 1 up."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1


_CUTS: dict[str, Callable[[LayoutConfig, Cell, int], Cut]] = {
    "longest_first": _cut_longest_first,
    "shuffled": _cut_shuffled,
    "published": _cut_published,
}
