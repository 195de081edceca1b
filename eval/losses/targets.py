"""Choice of held-out documents and of the target tokens in them.

Position is confounded with content: text deep inside a document differs from its opening. So
every context length is scored on the *same target tokens*, only with more or less text before
them. A block of T consecutive targets ends at token `end`; for a context of c tokens the row is
tokens [end-c, end], c inputs of which only the last T predictions count. Those targets have
between c-T+1 and c preceding tokens, never more than c, so that c = L_train stays within the
positions seen in training: it is truncation to L_train. A row may end earlier in the block and
score fewer of its targets (see eval/config.py, targets_per_row), which narrows that range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.store.splits import Split
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.statistics.curves import population


class DocumentSource(Protocol):
    """Interface of data.store.token_store.TokenStore that evaluation reads."""

    @property
    def document_offsets(self) -> np.ndarray: ...  # int64 [N+1] global token positions
    @property
    def document_clusters(self) -> np.ndarray: ...  # int [N] near-duplicate cluster per document
    @property
    def document_bytes(self) -> np.ndarray: ...  # int64 [N] UTF-8 bytes of each text; ids: 4 each
    @property
    def document_domains(self) -> np.ndarray: ...  # int [N] number of each document's domain
    def documents(self, split: Split) -> np.ndarray: ...  # int64 document ids
    def read(self, start: int, length: int) -> np.ndarray: ...  # tokens of one document


@dataclass(frozen=True)
class Targets:
    """Documents and target blocks, the same for every context and method."""

    source: DocumentSource
    split: Split
    longest_context: int  # tokens
    targets_per_block: int  # tokens, T
    documents_N: np.ndarray  # int64 document ids, ascending
    starts_N: np.ndarray  # int64 global position of each document's first token
    clusters_N: np.ndarray  # near-duplicate cluster of each document
    block_document_R: np.ndarray  # int64 index into documents_N
    block_end_R: np.ndarray  # int64 global position of the block's last target

    @property
    def num_clusters(self) -> int:
        return len(np.unique(self.clusters_N))

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the target tokens and of their documents."""
        where = (self.split.name, self.longest_context, self.targets_per_block)
        return population(*where, self.documents_N, self.block_end_R)

    def of(self, documents: np.ndarray) -> Targets:
        """Subset that lies in `documents`, int64 ids."""
        inside_N = np.isin(self.documents_N, documents)
        blocks_R = self.in_documents(documents)
        number_N = np.cumsum(inside_N) - 1
        return dataclasses.replace(
            self,
            documents_N=self.documents_N[inside_N],
            starts_N=self.starts_N[inside_N],
            clusters_N=self.clusters_N[inside_N],
            block_document_R=number_N[self.block_document_R[blocks_R]],
            block_end_R=self.block_end_R[blocks_R],
        )

    def in_documents(self, documents: np.ndarray) -> np.ndarray:
        """Mask of the blocks that lie in `documents`, bool [R]."""
        return np.isin(self.documents_N, documents)[self.block_document_R]

    def row_ends(self, per_row: int) -> np.ndarray:
        """[R * T / per_row] global positions of the last target of each row, block by block."""
        first = per_row - self.targets_per_block
        return (self.block_end_R[:, None] + np.arange(first, 1, per_row)).ravel()

    def rows(self, ends: np.ndarray, context: int) -> np.ndarray:
        """[rows, context+1] int64: the tokens up to and including each row's last target."""
        return self._read(ends - context, context + 1)

    def openings(self, documents: slice, length: int) -> np.ndarray:
        """[N, length+1] int64: the first tokens of each document."""
        return self._read(self.starts_N[documents], length + 1)

    def _read(self, starts: np.ndarray, length: int) -> np.ndarray:
        return np.stack([self.source.read(int(start), length) for start in starts]).astype(np.int64)


def choose_targets(
    source: DocumentSource, split: Split, longest_context: int, config: EvalConfig
) -> Targets:
    """Chooses documents of `split` with room for `longest_context`, and target blocks in each.

    At most `config.documents`, seeded, documents of different near-duplicate clusters first; in
    each at most `config.blocks` non-overlapping blocks that all have `longest_context` tokens of
    their own document before their last target. The blocks of a document depend on the seed and
    its id alone, not on which other documents are there.

    Raises UserError when fewer than `config.min_documents` clusters have a document that long.
    """
    ids = source.documents(split)
    long_enough = _long_enough(source, ids, longest_context)
    if len(np.unique(source.document_clusters[long_enough])) < config.min_documents:
        raise UserError(_too_few(source, split, longest_context, config))
    chosen = seeded_choice(source, split, long_enough, config.documents, config.seed)
    return targets_in(source, split, chosen, longest_context, config)


def targets_in(
    source: DocumentSource,
    split: Split,
    documents: np.ndarray,
    longest_context: int,
    config: EvalConfig,
) -> Targets:
    """Target blocks in given documents of a split, ids that are long enough; see choose_targets."""
    documents = np.unique(documents)
    starts = source.document_offsets[documents]
    ends = [
        start + _block_ends(int(document), int(length), longest_context, config)
        for document, start, length in zip(
            documents, starts, source.document_offsets[documents + 1] - starts, strict=True
        )
    ]
    return Targets(
        source=source,
        split=split,
        longest_context=longest_context,
        targets_per_block=config.targets_per_block,
        documents_N=documents,
        starts_N=starts,
        clusters_N=source.document_clusters[documents],
        block_document_R=np.repeat(np.arange(len(documents)), [len(e) for e in ends]),
        block_end_R=np.concatenate(ends),
    )


def choose_by_domain(
    targets: Targets, domains: Sequence[str], config: EvalConfig
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Chooses documents for each domain.

    A domain has the documents that are among `targets` already and, where those are fewer than an
    equal share of `config.documents` (at least `config.min_documents`), more of the same split, by
    the same seeded choice. A domain needs `config.min_documents` clusters, as a split does.

    Returns: domain -> int64 ids, ascending; a sentence for each domain that has too few.
    """
    source, longest = targets.source, targets.longest_context
    ids = source.documents(targets.split)
    ids = _long_enough(source, ids, longest)
    share = max(config.min_documents, config.documents // len(domains))
    chosen: dict[str, np.ndarray] = {}
    left_out = []
    for number, name in enumerate(domains):
        mine = ids[source.document_domains[ids] == number]
        clusters = len(np.unique(source.document_clusters[mine]))
        if clusters < config.min_documents:
            left_out.append(
                f"{name} has {clusters} independent documents of at least {longest + 1} tokens in "
                f"the {targets.split.name.lower()} split; eval.min_documents is "
                f"{config.min_documents}"
            )
            continue
        more = seeded_choice(source, targets.split, mine, share, config.seed)
        there = np.intersect1d(targets.documents_N, mine)
        chosen[name] = there if len(there) >= share else np.union1d(there, more)
    return chosen, tuple(left_out)


def seeded_choice(
    source: DocumentSource, split: Split, ids: np.ndarray, most: int, seed: int
) -> np.ndarray:
    """Chooses at most `most` of the documents `ids`, of different near-duplicate clusters first."""
    order = np.random.default_rng([seed, int(split)]).permutation(len(ids))
    rank = _rank_within(source.document_clusters[ids[order]])
    return np.sort(ids[order[np.argsort(rank, kind="stable")][:most]])


def _long_enough(source: DocumentSource, ids: np.ndarray, context: int) -> np.ndarray:
    offsets = source.document_offsets
    return ids[offsets[ids + 1] - offsets[ids] >= context + 1]


def _block_ends(document: int, length: int, context: int, config: EvalConfig) -> np.ndarray:
    """Last targets of the blocks, as indices in the document: multiples of T apart, distinct."""
    rng = np.random.default_rng([config.seed, document])
    room = length - 1 - context  # the last target may stand anywhere in [context, length - 1]
    slots = room // config.targets_per_block + 1
    offset = rng.integers(room % config.targets_per_block + 1)
    picked = rng.permutation(slots)[: config.blocks]
    return np.sort(context + offset + picked * config.targets_per_block)


def _rank_within(clusters: np.ndarray) -> np.ndarray:
    """0 for the first document of its cluster in the given order, 1 for the second, ..."""
    by_cluster = np.argsort(clusters, kind="stable")
    ordered = clusters[by_cluster]
    first = np.searchsorted(ordered, ordered)
    rank = np.empty(len(clusters), np.int64)
    rank[by_cluster] = np.arange(len(clusters)) - first
    return rank


def _too_few(source: DocumentSource, split: Split, context: int, config: EvalConfig) -> str:
    ids = source.documents(split)
    tokens = source.document_offsets[ids + 1] - source.document_offsets[ids]
    clusters = source.document_clusters[ids]
    groups, index = np.unique(clusters, return_inverse=True)
    longest = np.zeros(len(groups), np.int64)
    np.maximum.at(longest, index, tokens)
    have = int((longest >= context + 1).sum())
    message = (
        f"the {split.name.lower()} split has {have} independent documents of at least "
        f"{context + 1} tokens, but eval.min_documents is {config.min_documents}: "
    )
    if len(groups) < config.min_documents:
        return message + f"it has only {len(groups)} in all; use a larger corpus"
    enough = int(np.sort(longest)[-config.min_documents]) - 1
    return message + (
        f"a longest context of {enough} tokens would have enough; "
        "lower eval.ratios or use longer documents"
    )
