"""How documents become sequences: an index into the token store, no token is copied.

`decompose` is dataset decomposition (Pouransari et al., arXiv 2405.13226) with three differences:
tails are kept instead of dropped, a sequence starts at the token that was the last target of the
one before, so that every token after a document's first is a target exactly once, and documents
longer than the largest bucket are cut longest first.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from data.accounting import Accounting, BucketAccount
from data.mixture import reach_mixture, resolve_mixture
from data.packing import best_fit_decreasing
from data.shuffle import derive_key, hash64
from errors import UserError

LAYOUTS = ("decompose", "concat_and_chunk")
TAILS = ("pack", "pad")


@dataclass(frozen=True)
class LayoutConfig:
    """Raises UserError when a field has no meaning."""

    name: str  # one of LAYOUTS
    smallest_bucket: int  # tokens, a power of two; decompose only
    largest_bucket: int  # tokens, a power of two; the one length of concat_and_chunk
    tails: str  # one of TAILS; decompose only
    mixture: str  # one of data.mixture.MIXTURES; decompose only
    shares: tuple[float, ...]  # explicit mixture: share of targets a bucket, shortest first

    def __post_init__(self) -> None:
        if self.name not in LAYOUTS:
            raise UserError(f"unknown layout.name {self.name!r}: use one of {', '.join(LAYOUTS)}")
        if self.tails not in TAILS:
            raise UserError(f"unknown layout.tails {self.tails!r}: use one of {', '.join(TAILS)}")
        for field in ("smallest_bucket", "largest_bucket"):
            length = getattr(self, field)
            if length < 1 or length & (length - 1):
                raise UserError(f"layout.{field} = {length} must be a power of two")
        if self.smallest_bucket > self.largest_bucket:
            raise UserError(
                f"layout.smallest_bucket = {self.smallest_bucket} is above "
                f"layout.largest_bucket = {self.largest_bucket}: exchange them"
            )
        resolve_mixture(self.mixture, self.shares, len(self.lengths))

    @property
    def lengths(self) -> tuple[int, ...]:
        """The bucket lengths, ascending."""
        if self.name == "concat_and_chunk":
            return (self.largest_bucket,)
        exponents = range(self.smallest_bucket.bit_length(), self.largest_bucket.bit_length() + 1)
        return tuple(2 ** (exponent - 1) for exponent in exponents)


@dataclass(frozen=True)
class BucketIndex:
    """One bucket: rows, each a list of pieces, which are token ranges of the store."""

    length: int  # L
    row_offsets: np.ndarray  # int64 [rows + 1] into the pieces
    piece_start: np.ndarray  # int64 [P] global position of the piece's first token
    # int32 [P] tokens read for the piece. Not joined: n + 1 tokens give n inputs and n targets.
    # Joined: the pieces of a row add up to L + 1 tokens.
    piece_tokens: np.ndarray
    segmented: bool  # rows may hold several documents or padding: its step needs the document mask

    @property
    def rows(self) -> int:
        return self.row_offsets.size - 1


@dataclass(frozen=True)
class Layout:
    name: str
    buckets: dict[int, BucketIndex]  # by length, ascending; empty ones included
    joined: bool  # the pieces of a row follow each other as one text
    accounting: Accounting
    fingerprint: str  # of the index itself: equal means the same rows with the same ids

    @property
    def bucket_rows(self) -> dict[int, int]:
        return {length: bucket.rows for length, bucket in self.buckets.items()}


def build_layout(
    config: LayoutConfig, document_offsets: np.ndarray, document_ids: np.ndarray, seed: int
) -> Layout:
    """Lays out the given documents.

    Args:
      document_offsets: int64 [N + 1] global token positions of all documents of the store.
      document_ids: int64 [n] the documents to use (a split).
      seed: chooses which sequences a mixture halves, and the order in which documents are joined.

    Raises:
      UserError: no documents, or none long enough for a single sequence.
      ValueError: a document without tokens, which a token store never holds.
    """
    document_ids = np.sort(np.asarray(document_ids, np.int64))
    starts = np.asarray(document_offsets)[document_ids]
    tokens = np.asarray(document_offsets)[document_ids + 1] - starts
    if (tokens < 1).any():
        raise ValueError("a document without tokens: each ends in end-of-text")
    if config.name == "decompose":
        buckets, possible = _decompose(config, starts, tokens, seed), int((tokens - 1).sum())
    else:
        buckets, possible = _concat_and_chunk(config, starts, tokens, document_ids, seed)
    if not any(bucket.rows for bucket in buckets.values()):
        needed = 2 if config.name == "decompose" else config.largest_bucket + 1
        raise UserError(
            f"layout {config.name}: the {document_ids.size} training documents hold "
            f"{int(tokens.sum())} tokens, too few for one sequence (at least {needed} needed): "
            "use more or longer documents, or smaller buckets"
        )
    joined = config.name == "concat_and_chunk"
    accounting = _account(config, buckets, tokens, possible, joined)
    return Layout(config.name, buckets, joined, accounting, _fingerprint(config.name, buckets))


def _decompose(
    config: LayoutConfig, starts: np.ndarray, tokens: np.ndarray, seed: int
) -> dict[int, BucketIndex]:
    targets = tokens - 1
    sequences: dict[int, np.ndarray] = {}
    for length in tqdm(config.lengths, desc="layout", unit="bucket", delay=2, leave=False):
        if length == config.largest_bucket:
            counts = targets // length
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            sequences[length] = np.repeat(starts, counts) + length * within
        else:
            # Longest first: a document has a sequence of 2^k targets where bit k of its targets is
            # set, behind all that the higher bits stand for.
            chosen = (targets & length) != 0
            sequences[length] = starts[chosen] + (targets[chosen] & -(2 * length))
    tail_targets = targets & (config.smallest_bucket - 1)
    tailed = tail_targets > 0
    tail_starts = (starts + (targets & -config.smallest_bucket))[tailed]
    tail_targets = tail_targets[tailed]
    shares = resolve_mixture(config.mixture, config.shares, len(config.lengths))
    if shares is not None:
        sequences = reach_mixture(sequences, int(tail_targets.sum()), shares, seed)
    buckets = {length: _whole_rows(length, first) for length, first in sequences.items()}
    if tail_targets.size:
        smallest = config.smallest_bucket
        if config.tails == "pack":
            offsets, items = best_fit_decreasing(tail_targets, smallest)
        else:
            offsets, items = np.arange(tail_targets.size + 1), np.arange(tail_targets.size)
        whole = buckets[smallest]
        buckets[smallest] = BucketIndex(
            length=smallest,
            row_offsets=np.concatenate([whole.row_offsets, whole.rows + offsets[1:]]),
            piece_start=np.concatenate([whole.piece_start, tail_starts[items]]),
            piece_tokens=np.concatenate(
                [whole.piece_tokens, (tail_targets[items] + 1).astype(np.int32)]
            ),
            segmented=True,
        )
    return buckets


def _whole_rows(length: int, starts: np.ndarray) -> BucketIndex:
    """Rows of one piece that fills them."""
    return BucketIndex(
        length=length,
        row_offsets=np.arange(starts.size + 1),
        piece_start=starts,
        piece_tokens=np.broadcast_to(np.int32(length + 1), starts.shape),
        segmented=False,
    )


def _concat_and_chunk(
    config: LayoutConfig,
    starts: np.ndarray,
    tokens: np.ndarray,
    document_ids: np.ndarray,
    seed: int,
) -> tuple[dict[int, BucketIndex], int]:
    """Rows of L + 1 tokens with stride L; also how many targets all documents joined have."""
    length = config.largest_bucket
    order = np.argsort(hash64(document_ids, derive_key(seed, "concat")), kind="stable")
    starts, tokens = starts[order], tokens[order]
    ends = np.cumsum(tokens)  # of the documents in the joined text
    possible = max(0, int(tokens.sum()) - 1)
    rows = possible // length
    row_begin = np.arange(rows) * length
    first = np.searchsorted(ends, row_begin, side="right")
    last = np.searchsorted(ends, row_begin + length, side="right")
    row_offsets = np.zeros(rows + 1, np.int64)
    np.cumsum(last - first + 1, out=row_offsets[1:])
    row = np.repeat(np.arange(rows), np.diff(row_offsets))
    document = first[row] + np.arange(row.size) - row_offsets[row]
    document_begin = (ends - tokens)[document]
    begin = np.maximum(document_begin, row_begin[row])
    end = np.minimum(ends[document], row_begin[row] + length + 1)
    bucket = BucketIndex(
        length=length,
        row_offsets=row_offsets,
        piece_start=starts[document] + (begin - document_begin),
        piece_tokens=(end - begin).astype(np.int32),
        segmented=False,
    )
    return {length: bucket}, possible


def _account(
    config: LayoutConfig,
    buckets: dict[int, BucketIndex],
    tokens: np.ndarray,
    possible: int,
    joined: bool,
) -> Accounting:
    asked = resolve_mixture(config.mixture, config.shares, len(buckets)) if not joined else None
    targets, own_context, context = {}, 0, 0
    for length, bucket in buckets.items():
        pieces = bucket.piece_tokens.astype(np.int64)
        targets[length] = bucket.rows * length if joined else int(pieces.sum()) - pieces.size
        # The k-th token of a piece has k - 1 tokens of its own document before it.
        own_context += int((pieces * (pieces - 1) // 2).sum())
        context += bucket.rows * length * (length + 1) // 2
    total = sum(targets.values())
    notes = []
    accounts = []
    for place, (length, bucket) in enumerate(buckets.items()):
        share = targets[length] / total
        ask = None if asked is None else float(asked[place])
        accounts.append(
            BucketAccount(length, bucket.rows, bucket.rows * length, targets[length], share, ask)
        )
        if bucket.rows == 0 and ask != 0:
            notes.append(f"bucket {length} is empty: no document is long enough")
        if ask is not None and share < ask - 0.01:
            notes.append(
                f"bucket {length} holds {share:.1%} of the targets instead of {ask:.1%}: "
                "documents are too short for this mixture"
            )
    return Accounting(
        layout=config.name,
        documents=tokens.size,
        document_tokens=int(tokens.sum()),
        possible_targets=possible,
        buckets=tuple(accounts),
        mean_context=(context if joined else own_context) / total,
        mean_document_context=own_context / total,
        notes=tuple(notes),
    )


def _fingerprint(name: str, buckets: dict[int, BucketIndex]) -> str:
    digest = hashlib.blake2b(name.encode(), digest_size=8)
    for length, bucket in buckets.items():
        digest.update(f"{length} {bucket.rows} {bucket.piece_start.size}".encode())
        for array in (bucket.row_offsets, bucket.piece_start, bucket.piece_tokens):
            for begin in range(0, array.size, 2**22):
                digest.update(np.ascontiguousarray(array[begin : begin + 2**22], "<i8").tobytes())
    return digest.hexdigest()
