"""Sums over the blocks of a layout: row groups, segments, accounting, fingerprint."""

import hashlib
from dataclasses import dataclass

import numpy as np

from lengthwise.data.layouts.accounting import Accounting, BucketAccount
from lengthwise.data.layouts.config import Layout
from lengthwise.data.layouts.documents import Blocks
from lengthwise.data.layouts.index import PIECE, SegmentCounts, shift_references
from lengthwise.data.layouts.row_groups import RowGroups, Stratum
from lengthwise.data.layouts.rows import CellRows


@dataclass(frozen=True)
class BucketPart:
    """Rows of one bucket and block, by stratum; references count from 0."""

    entries: np.ndarray  # int64 [R]
    pieces: np.ndarray  # PIECE [P]
    strata: np.ndarray  # int32 [S] ascending
    rows: np.ndarray  # int64 [S] of each stratum
    segments: tuple[np.ndarray, ...]  # of each: int64 [n], number of segments of 0, 1, ... targets
    document_context: int
    several: bool

    @classmethod
    def of(cls, length: int, cells: list[tuple[int, CellRows]]) -> "BucketPart":
        entries, segments, pieces = [], [], 0
        for _, rows in cells:
            shift_references(rows.entries, pieces)
            pieces += rows.pieces.size
            entries.append(rows.entries)
            whole = np.count_nonzero(rows.entries >= 0)
            counts = np.bincount(rows.segment_targets, minlength=length + 1 if whole else 0)
            if whole:
                counts[length] += whole
            segments.append(counts)
        return cls(
            entries=np.concatenate([np.zeros(0, np.int64), *entries]),
            pieces=np.concatenate([np.zeros(0, PIECE), *(rows.pieces for _, rows in cells)]),
            strata=np.array([stratum for stratum, _ in cells], np.int32),
            rows=np.array([part.size for part in entries], np.int64),
            segments=tuple(segments),
            document_context=sum(rows.document_context for _, rows in cells),
            several=any(rows.several for _, rows in cells),
        )


@dataclass(frozen=True)
class BlockRows:
    """Rows of one block, all buckets."""

    block: int
    buckets: dict[int, BucketPart]  # by length
    documents: int
    tokens: int
    dropped: int  # targets in no row


@dataclass(frozen=True)
class BucketSummary:
    """Facts of a bucket that are stored beside its index."""

    segmented: bool
    groups: RowGroups
    segments: tuple[SegmentCounts, ...]  # of each stratum
    pieces: int  # entries of the table of pieces


@dataclass(frozen=True)
class Summary:
    """Facts of a layout that are stored beside its index."""

    strata: tuple[Stratum, ...]
    block_offsets: np.ndarray  # int64 [blocks + 1]
    buckets: dict[int, BucketSummary]
    accounting: Accounting
    fingerprint: str


class _BucketTally:
    def __init__(self, num_strata: int):
        self.groups: list[tuple[int, int, int]] = []  # block, stratum, rows
        self.segments = [np.zeros(0, np.int64) for _ in range(num_strata)]
        self.pieces = self.rows = self.document_context = 0
        self.several = False
        self.digests = hashlib.blake2b(), hashlib.blake2b()

    def add(self, part: BucketPart, block: int) -> None:
        for stratum, rows, counts in zip(
            part.strata.tolist(), part.rows.tolist(), part.segments, strict=True
        ):
            self.groups.append((block, stratum, rows))
            sums = self.segments[stratum]
            if sums.size < counts.size:
                sums = np.pad(sums, (0, counts.size - sums.size))
                self.segments[stratum] = sums
            sums[: counts.size] += counts
        self.rows += part.entries.size
        self.pieces += part.pieces.size
        self.document_context += part.document_context
        self.several |= part.several
        for digest, array in zip(self.digests, (part.entries, part.pieces), strict=True):
            digest.update(array.view(np.uint8).data)

    def targets(self) -> int:
        return sum(int((counts * np.arange(counts.size)).sum()) for counts in self.segments)

    def context(self) -> int:
        """Sum over targets of the tokens before them in their segment."""
        total = 0
        for counts in self.segments:
            targets = np.arange(counts.size)
            total += int((counts * (targets * (targets + 1) // 2)).sum())
        return total

    def summary(self, layout: Layout) -> BucketSummary:
        block, stratum, rows = np.array(self.groups, np.int64).reshape(-1, 3).T
        sizes = [np.flatnonzero(counts) for counts in self.segments]
        return BucketSummary(
            segmented=layout.segmented(self.several),
            groups=RowGroups.of(block, stratum, rows),
            segments=tuple(
                SegmentCounts(targets, counts[targets])
                for targets, counts in zip(sizes, self.segments, strict=True)
            ),
            pieces=self.pieces,
        )


class Tally:
    """Sums over the blocks added so far."""

    def __init__(self, layout: Layout, strata: tuple[Stratum, ...]):
        self._layout, self._strata = layout, strata
        self._buckets = {length: _BucketTally(len(strata)) for length in layout.lengths}
        self._documents = self._tokens = self._dropped = 0

    def pieces(self, length: int) -> int:
        """Number of pieces of a bucket."""
        return self._buckets[length].pieces

    def add(self, rows: BlockRows) -> None:
        """Adds a block, whose references count from the bucket's first piece."""
        for length, part in rows.buckets.items():
            self._buckets[length].add(part, rows.block)
        self._documents += rows.documents
        self._tokens += rows.tokens
        self._dropped += rows.dropped

    def summary(self, blocks: Blocks) -> Summary:
        """Raises UserError when there is no row."""
        if not any(bucket.rows for bucket in self._buckets.values()):
            raise self._layout.no_rows(self._documents, self._tokens, self._dropped)
        config = self._layout.config
        digest = hashlib.blake2b(config.name.encode(), digest_size=8)
        for length, bucket in self._buckets.items():
            digest.update(f"{length} {bucket.rows} {config.document_mask}".encode())
            for part in bucket.digests:
                digest.update(part.digest())
        return Summary(
            strata=self._strata,
            block_offsets=blocks.offsets,
            buckets={n: bucket.summary(self._layout) for n, bucket in self._buckets.items()},
            accounting=self._account(),
            fingerprint=digest.hexdigest(),
        )

    def _account(self) -> Accounting:
        shares = self._layout.target_shares
        targets = {length: bucket.targets() for length, bucket in self._buckets.items()}
        total = sum(targets.values())
        accounts = tuple(
            BucketAccount(
                length=length,
                sequences=bucket.rows,
                tokens=bucket.rows * length,
                targets=targets[length],
                reached=targets[length] / total,
                asked=None if shares is None else float(shares[number]),
            )
            for number, (length, bucket) in enumerate(self._buckets.items())
        )
        return Accounting(
            layout=self._layout.name,
            documents=self._documents,
            document_tokens=self._tokens,
            possible_targets=total + self._dropped,
            buckets=accounts,
            mean_context=sum(bucket.context() for bucket in self._buckets.values()) / total,
            mean_document_context=sum(b.document_context for b in self._buckets.values()) / total,
            notes=tuple(self._layout.notes(accounts, self._dropped)),
        )
