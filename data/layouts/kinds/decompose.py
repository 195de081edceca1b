"""Dataset decomposition (Pouransari et al., arXiv 2405.13226).

A document's targets are cut into sequences of power-of-two lengths. A sequence starts at the token
that was the last target of the one before, so that every token after a document's first is a
target exactly once; what is shorter than the smallest bucket is a tail.

`published` is what the paper's code does instead, see `_cut_published`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.accounting import BucketAccount
from lengthwise.data.layouts.config import LAYOUTS, Layout
from lengthwise.data.layouts.documents import DocumentCell, DocumentSet
from lengthwise.data.layouts.mixture import halve, plan_halving, resolve_mixture
from lengthwise.data.layouts.packing import best_fit_decreasing
from lengthwise.data.layouts.rows import CellRows, make_pieces
from lengthwise.data.shuffle import derive_key, hash64

# First tokens of the whole sequences by length; first tokens and targets of the tails.
Cut = tuple[dict[int, np.ndarray], np.ndarray, np.ndarray]


@LAYOUTS.register("decompose")
@dataclass(frozen=True)
class Decompose(Layout):
    options = frozenset({"cut", "tails", "mixture", "shares", "document_mask"})
    bucketed = True

    @property
    def tails(self) -> str:
        return self.config.tails

    def check(self) -> None:
        super().check()
        config = self.config
        if not config.document_mask and self.tails != "pack":
            raise UserError(
                f"layout.document_mask = False is only for tails that share rows, not for "
                f"layout.tails = {self.tails!r}: set it to True or layout.tails to 'pack'"
            )
        if config.cut == "published" and (self.tails != "drop" or config.mixture != "natural"):
            raise UserError(
                "layout.cut = 'published' drops tails and takes buckets as they come: "
                "set layout.tails to 'drop' and layout.mixture to 'natural'"
            )
        resolve_mixture(config.mixture, config.shares, len(self.lengths))

    def joins_documents(self, length: int) -> bool:
        return self.tails == "pack" and length == self.lengths[0]

    @property
    def target_shares(self) -> np.ndarray | None:
        return resolve_mixture(self.config.mixture, self.config.shares, len(self.lengths))

    @property
    def two_passes(self) -> bool:
        return self.target_shares is not None

    def count(self, cell: DocumentCell) -> np.ndarray:
        """Whole sequences of each length, ascending, then the targets of the tails: int64 [K + 1].

        As longest-first and shuffled cuts make them.
        """
        targets = cell.tokens - 1
        counts = [np.count_nonzero(targets & length) for length in self.lengths[:-1]]
        tails = (targets & (self.lengths[0] - 1)).sum()
        return np.array([*counts, (targets // self.lengths[-1]).sum(), tails], np.int64)

    def plan(self, counts: np.ndarray) -> np.ndarray:
        """Number of sequences of each length that each cell halves, int64 [cells, K]."""
        shares = self.target_shares
        assert shares is not None
        tails = 0 if self.tails == "drop" else int(counts[:, -1].sum())
        return plan_halving(counts[:, :-1], self.lengths, tails, shares)

    def lay_out(
        self, cell: DocumentCell, documents: DocumentSet, seed: int, plan: np.ndarray | None
    ) -> tuple[dict[int, CellRows], int]:
        """See `Layout.lay_out`; dropped are the tokens behind a document's first in no row."""
        smallest, joined = self.lengths[0], not self.config.document_mask
        sequences, tail_starts, tail_targets = _CUTS[self.config.cut](self.lengths, cell, seed)
        if plan is not None:
            sequences = halve(sequences, plan, seed)
        if self.tails == "drop":
            tail_starts, tail_targets = tail_starts[:0], tail_targets[:0]
        if self.tails == "pack":
            # Joined, a piece takes as many places as it has tokens, and a row has L + 1.
            offsets, items = best_fit_decreasing(tail_targets + joined, smallest + joined)
            tail_starts, tail_targets = tail_starts[items], tail_targets[items]
        else:
            offsets = np.arange(tail_targets.size + 1)
        pieces = make_pieces(tail_starts, tail_targets + 1)
        rows = {length: CellRows.whole(length, whole) for length, whole in sequences.items()}
        rows[smallest] = CellRows.of(smallest, sequences[smallest], offsets, pieces, joined=joined)
        if self.tails == "drop":
            trained = sum(length * whole.size for length, whole in sequences.items())
            return rows, int((cell.tokens - 1).sum()) - trained
        return rows, 0

    @property
    def min_tokens(self) -> int:
        return self.lengths[0] + 1 if self.tails == "drop" else 2

    def notes(self, buckets: Sequence[BucketAccount], dropped: int) -> Iterator[str]:
        yield from super().notes(buckets, dropped)
        if dropped:
            targets = sum(bucket.targets for bucket in buckets)
            what = f"tails of less than {self.lengths[0]} targets"
            if self.config.cut == "published":
                what += " and the token behind every sequence"
            yield f"{dropped:,} targets ({dropped / (targets + dropped):.1%}) are dropped: {what}"


def _cut_longest_first(lengths: tuple[int, ...], cell: DocumentCell, seed: int) -> Cut:
    targets, starts = cell.tokens - 1, cell.starts
    sequences = {}
    for length in lengths[:-1]:
        # A document has a sequence of 2^k targets where bit k of its targets is set, behind all
        # that the higher bits stand for.
        chosen = np.flatnonzero(targets & length)
        sequences[length] = starts[chosen] + (targets[chosen] & -(2 * length))
    sequences[lengths[-1]] = _repeat_whole(starts, targets, lengths[-1])
    tails = targets & (lengths[0] - 1)
    own = np.flatnonzero(tails)  # documents with a tail
    tails = tails[own]
    return sequences, starts[own] + targets[own] - tails, tails


def _repeat_whole(starts: np.ndarray, targets: np.ndarray, length: int) -> np.ndarray:
    """First tokens of all the sequences of `length` targets that fit behind each start."""
    counts = targets // length
    long = np.flatnonzero(counts)
    starts, counts = starts[long], counts[long]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + length * within


def _cut_shuffled(lengths: tuple[int, ...], cell: DocumentCell, seed: int) -> Cut:
    """Longest-first's pieces of each document, tail included, in random order.

    The control for longest-first, which puts heads of documents into long buckets and their ends
    into short ones.
    """
    targets = cell.tokens - 1
    sizes = np.array([*lengths, 1])
    counts = [(targets & length) // length for length in lengths[:-1]]
    tails = targets & (lengths[0] - 1)
    counts += [targets // lengths[-1], (tails > 0).astype(np.int64)]
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
    sequences = {length: starts[kind == place] for place, length in enumerate(lengths)}
    tail = kind == sizes.size - 1
    return sequences, starts[tail], piece_targets[tail]


def _cut_published(lengths: tuple[int, ...], cell: DocumentCell, seed: int) -> Cut:
    """The cut of the paper's public code (apple/ml-dataset-decomposition).

    From the start of the document: k = floor(log2(tokens left - 1)); the first 2^k + 1 tokens are a
    sequence; none of them is read again, so that the first token behind it is no target. Where k is
    beyond the largest of n buckets, it is drawn with odds 1 : 2 : 4 : ... from the largest to the
    smallest. What is shorter than the smallest bucket is dropped.
    """
    position, left = cell.starts, cell.tokens - 1
    draws = 2 ** len(lengths) - 1
    key = derive_key(seed, "published")
    chunks: dict[int, list[np.ndarray]] = {length: [] for length in lengths}
    while True:
        active = np.flatnonzero(left >= lengths[0])
        if not active.size:
            break
        position, left = position[active], left[active]
        length = np.left_shift(1, floor_log2(left))
        draw = (hash64(position, key) % np.uint64(draws)).astype(np.int64) + 1
        random_length = lengths[-1] >> floor_log2(draw)
        length = np.where(length > lengths[-1], random_length, length)
        for each, starts in chunks.items():
            starts.append(position[length == each])
        position, left = position + length + 1, left - length - 1
    empty = np.zeros(0, np.int64)
    sequences = {length: np.concatenate([empty, *starts]) for length, starts in chunks.items()}
    return sequences, empty, empty


def floor_log2(values: np.ndarray) -> np.ndarray:
    """floor(log2) of positive int64 below 2^53; np.log2 would round 2^49 - 1 up."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1


_CUTS: dict[str, Callable[[tuple[int, ...], DocumentCell, int], Cut]] = {
    "longest_first": _cut_longest_first,
    "shuffled": _cut_shuffled,
    "published": _cut_published,
}
