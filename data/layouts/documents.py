"""Documents to lay out, by block and stratum: those of one split of a store."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.row_groups import Stratum
from lengthwise.data.shuffle import hash64
from lengthwise.data.store.document_tables import table_path
from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import TokenStore


class DocumentSet(Protocol):
    """A subset of the N documents of a store; its tables are read at first use."""

    @property
    def fingerprint(self) -> str:
        """Digest of the documents, known without reading any table: part of an index's key."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains."""

    @property
    def offsets(self) -> np.ndarray:
        """First token of each document of the store, then the number of tokens; int64 [N + 1]."""

    def select(self, first: int, last: int) -> np.ndarray:
        """Ids of the subset's documents in [first, last), int64, ascending."""

    def domain_of(self, ids: np.ndarray) -> np.ndarray:
        """Index into `domains` of each document, by ids [n]."""

    def group_of(self, ids: np.ndarray) -> np.ndarray:
        """Group of each document, uint64 [n], by ids [n]; 0: related to no other document."""


class SplitDocuments:
    """Documents of a split of a token store, or a share of them."""

    def __init__(self, store: TokenStore, split: Split, share: float = 1.0, seed: int = 0):
        """Args:
        share: of the documents, in (0, 1]. Which ones goes by the seed; a smaller share is part of
          a larger one.
        """
        self._store, self._split = store, split
        self._share, self._seed = share, seed
        self.domains = store.manifest.domains
        # Which document is of which domain or group is no part of the store's fingerprint.
        tables = [
            store.manifest.tables[table_path(name)].checksum for name in ("domains", "groups")
        ]
        self.fingerprint = f"{store.manifest.fingerprint} {split.name} {self.domains} {tables}"
        if share < 1:
            self.fingerprint += f" share {share} of seed {seed}"

    @property
    def offsets(self) -> np.ndarray:
        return self._store.document_offsets

    def select(self, first: int, last: int) -> np.ndarray:
        ids = first + np.flatnonzero(self._store.document_splits[first:last] == self._split)
        if self._share == 1:
            return ids
        drawn: np.ndarray = hash64(ids.astype(np.uint64), self._seed) < self._share * 2.0**64
        return ids[drawn]

    def domain_of(self, ids: np.ndarray) -> np.ndarray:
        return self._store.document_domains[ids]

    def group_of(self, ids: np.ndarray) -> np.ndarray:
        return self._store.document_groups[ids]


@dataclass(frozen=True)
class DocumentCell:
    """Documents of one block and stratum; a row never mixes cells."""

    block: int
    stratum: int
    ids: np.ndarray  # int64 [n] of the store
    starts: np.ndarray  # int64 [n] first token
    tokens: np.ndarray  # int64 [n] end-of-text included


class Blocks:
    """Blocks of a store and the strata of their documents."""

    def __init__(self, documents: DocumentSet, block_tokens: int, length_bins: tuple[int, ...]):
        """Args:
          block_tokens: a document belongs to the block in which it starts.
          length_bins: tokens at which bins begin, ascending; a first bin begins at 0.

        Raises:
          UserError: bins that are not ascending and positive.
        """
        if list(length_bins) != sorted({bin for bin in length_bins if bin > 0}):
            raise UserError(f"length bins {length_bins} must be positive and ascend")
        self._documents = documents
        self._bins = np.array(length_bins, np.int64)
        self.strata = tuple(
            Stratum(domain, tokens) for domain in documents.domains for tokens in (0, *length_bins)
        )
        offsets = documents.offsets
        marks = np.arange(-(-int(offsets[-1]) // block_tokens) + 1) * block_tokens
        # First document of each block, then the number of documents.
        self._first = np.searchsorted(offsets[:-1], marks)
        self.offsets = offsets[self._first]  # int64 [blocks + 1] token range of each block

    def __len__(self) -> int:
        return self._first.size - 1

    def cells(self, block: int) -> Iterator[DocumentCell]:
        """The non-empty cells of a block, by stratum.

        Raises:
          ValueError: a document without tokens, which no token store has.
        """
        ids = self._documents.select(int(self._first[block]), int(self._first[block + 1]))
        starts = self._documents.offsets[ids]
        tokens = self._documents.offsets[ids + 1] - starts
        if (tokens < 1).any():
            raise ValueError("a document without tokens: each ends in end-of-text")
        if len(self.strata) == 1:
            if ids.size:
                yield DocumentCell(block, 0, ids, starts, tokens)
            return
        bins = np.searchsorted(self._bins, tokens, side="right")
        domains = self._documents.domain_of(ids).astype(np.int64)
        stratum = domains * (self._bins.size + 1) + bins
        for number in np.unique(stratum).tolist():
            of = stratum == number
            yield DocumentCell(block, number, ids[of], starts[of], tokens[of])
