"""The two passes over a unit of the corpus; each leaves a record of its results.

scan: names, sizes, hashes of the contents and MinHash signatures. From these come clusters, splits
and what is dropped, and so the texts that a tokenizer may be trained on. tokenize: the shards.
Where the second needs nothing that the first finds out, one reading serves both. A record is
written after everything it speaks of.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from lengthwise.common.errors import UserError
from lengthwise.data.prepare.near_duplicates import NUM_HASHES, SCHEME, signatures
from lengthwise.data.prepare.unit_records import (
    BUILDING,
    is_done,
    read_record,
    write_record,
)
from lengthwise.data.sources import Document, Skipped, Source, Unit
from lengthwise.data.store.document_tables import encode_names, write_file
from lengthwise.data.store.shard_reader import ShardEntry
from lengthwise.data.store.token_store import FORMAT_VERSION, SHARDS, token_dtype
from lengthwise.data.store.tokenizers import load_tokenizer

MAX_TOKENS = 2**31 - 1  # of a document, its end included: layouts count in 32 bits
_BATCH_SIZE = 1 << 20  # characters or ids that are worked on at once


@dataclass(frozen=True)
class ScanTask:
    source: Source
    unit: Unit
    directory: Path  # of the store
    vocab_size: int  # of documents that are token ids; 0: they are texts
    minhash: bool  # whether near-duplicates will be looked for

    @property
    def record(self) -> Path:
        return self.directory / BUILDING / f"scan-{self.unit.index:05d}.npz"

    @property
    def key(self) -> str:
        how = SCHEME if self.minhash else ""
        return f"{FORMAT_VERSION} {how} {self.vocab_size} {self.unit.key}"


@dataclass(frozen=True)
class TokenizeTask:
    scan: ScanTask
    tokenizer: str  # as load_tokenizer takes it
    end_of_text_token: str
    description: str  # Tokenizer.describe()
    shard_tokens: int
    skip_empty: bool
    dropped: bytes  # np.packbits of a mask of documents to leave out; b"": none

    @property
    def unit(self) -> Unit:
        return self.scan.unit

    @property
    def record(self) -> Path:
        return self.scan.directory / BUILDING / f"tokenize-{self.unit.index:05d}.npz"

    @property
    def key(self) -> str:
        dropped = xxhash.xxh3_64_hexdigest(self.dropped)
        return f"{self.scan.key} {self.description} {self.shard_tokens} {self.skip_empty} {dropped}"


@dataclass(frozen=True)
class Progress:
    file_bytes: int
    documents: int
    tokens: int


def text_of(document: Document) -> str:
    assert isinstance(document.content, str), "the source was made for texts"
    return document.content


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Consecutive documents in batches of bounded size."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.content)
        if size >= _BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def scan_unit(task: ScanTask) -> Progress:
    """Writes the scan record of a unit. Raises UserError as the source does."""
    scan = _Scan(task)
    for batch in batches(task.source.documents(task.unit, scan.skipped)):
        scan.add(batch)
    scan.finish()
    return Progress(task.unit.num_bytes, len(scan.names), 0)


def tokenize_unit(task: TokenizeTask) -> Progress:
    """Writes the shards of a scanned unit, then its record.

    Raises:
      UserError: the documents are no longer those that were scanned; one without tokens or with
        too many; as the source does.
    """
    scanned = read_record(task.scan, "digests")
    assert scanned is not None, "a unit is scanned before it is tokenized"
    tokens = _Tokens(task)
    expected, count = scanned["digests"], 0
    for batch in batches(task.scan.source.documents(task.unit, Skipped())):
        digests = b"".join(_digest(content) for content in _contents(task.scan, batch))
        # Checked before tokenizing: the mask of dropped documents is that of the scanned ones.
        if digests != expected[count : count + len(batch)].tobytes():
            raise _changed(task)
        tokens.add(batch)
        count += len(batch)
    if count != len(expected):
        raise _changed(task)
    return tokens.finish()


def scan_and_tokenize_unit(task: TokenizeTask) -> Progress:
    """Both passes in one reading. Raises UserError as `tokenize_unit` does."""
    scan, tokens = _Scan(task.scan), _Tokens(task)
    for batch in batches(task.scan.source.documents(task.unit, scan.skipped)):
        scan.add(batch)
        tokens.add(batch)
    scan.finish()
    return tokens.finish()


def is_scanned_and_tokenized(task: TokenizeTask) -> bool:
    return is_done(task.scan) and is_done(task)


def _changed(task: TokenizeTask) -> UserError:
    """Error of a unit that changed since its scan; removes the record, to have it scanned again."""
    task.scan.record.unlink()
    names = ", ".join(list(dict.fromkeys(part.name for part in task.unit.parts))[:2])
    return UserError(f"the corpus changed during preparation (near {names}); run again")


def _contents(task: ScanTask, batch: Sequence[Document]) -> list[bytes]:
    """Bytes of each document for hashing: its UTF-8, or its ids in 4 bytes each.

    Raises UserError naming the document of an id outside the vocabulary.
    """
    if not task.vocab_size:
        return [text_of(document).encode("utf-8") for document in batch]
    for document in batch:
        ids = np.asarray(document.content)
        outside = (ids < 0) | (ids >= task.vocab_size)
        if outside.any():
            position = int(np.argmax(outside))
            raise UserError(
                f"{document.name}: id {ids[position]} at position {position} is outside the "
                f"vocabulary of {task.vocab_size}; correct data.tokenizer or the data"
            )
    return [np.asarray(document.content).astype("<u4").tobytes() for document in batch]


def _digest(content: bytes) -> bytes:
    return xxhash.xxh3_128_digest(content)


def _group_hash(domain: str, group: str) -> int:
    """Hash of a domain's group; 0 for none."""
    return xxhash.xxh3_64_intdigest(f"{domain}\0{group}".encode("utf-8", "replace")) if group else 0


class _Scan:
    """Scan record of a unit in the making."""

    def __init__(self, task: ScanTask) -> None:
        self._task = task
        self.names: list[str] = []
        self.skipped = Skipped()
        self._sizes: list[int] = []
        self._groups: list[int] = []
        self._digests = [b""]
        self._signatures = [np.zeros((0, NUM_HASHES), np.uint16)]

    def add(self, batch: Sequence[Document]) -> None:
        contents = _contents(self._task, batch)
        domains = self._task.source.domains
        self.names += [document.name for document in batch]
        self._groups += [_group_hash(domains[d.domain], d.group) for d in batch]
        self._sizes += map(len, contents)
        self._digests += map(_digest, contents)
        if self._task.minhash:
            self._signatures.append(signatures(contents))

    def finish(self) -> None:
        names, name_sizes = encode_names(self.names)
        arrays = {
            "names": names,
            "name_sizes": name_sizes,
            "bytes": np.array(self._sizes, np.int64),
            "domains": np.full(len(self.names), self._task.unit.domain, np.uint16),
            "groups": np.array(self._groups, np.uint64),
            "digests": np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, 16),
            "signatures": np.concatenate(self._signatures),
        }
        facts = {"skipped": self.skipped, "bad_records": self.skipped.bad_records}
        write_record(self._task, facts, arrays)


class _Tokens:
    """Shards of a unit in the making."""

    def __init__(self, task: TokenizeTask) -> None:
        # The old record goes first: it must never stand beside shards that it does not describe.
        task.record.unlink(missing_ok=True)
        self._task = task
        self._tokenizer = load_tokenizer(task.tokenizer, task.end_of_text_token)
        if self._tokenizer.describe() != task.description:
            raise UserError(f"{task.tokenizer} changed during preparation; run again")
        self._dtype = token_dtype(self._tokenizer.vocab_size)
        self._dropped = np.unpackbits(np.frombuffer(task.dropped, np.uint8))
        self._lengths: list[int] = []
        self._skipped: Counter[str] = Counter()
        self._shards: list[ShardEntry] = []
        self._pending: list[np.ndarray] = []  # documents of the shard to come
        self._pending_tokens = 0

    def add(self, batch: Sequence[Document]) -> None:
        first = len(self._lengths)
        dropped = self._dropped[first : first + len(batch)].tolist() or [0] * len(batch)
        remaining = [document for document, drop in zip(batch, dropped, strict=True) if not drop]
        encoded = iter(self._tokenizer.encode_batch([document.content for document in remaining]))
        for document, drop in zip(batch, dropped, strict=True):
            self._lengths.append(0 if drop else self._add(document, next(encoded)))

    def _add(self, document: Document, ids: np.ndarray) -> int:
        """Adds a document; returns its tokens, end included; 0 where it has none."""
        end = self._tokenizer.end_of_text
        if (ids == end).any():
            if self._task.scan.vocab_size:
                raise UserError(
                    f"{document.name}: id {end}, the end of text of {self._task.description}, at "
                    f"position {int(np.argmax(ids == end))}, but it may only be the last id of a "
                    "document; cut the document there or correct data.tokenizer"
                )
            raise UserError(
                f"{document.name}: end-of-text tokens inside under {self._task.description}, "
                "perhaps for unknown words; use another tokenizer"
            )
        if not ids.size and not self._task.skip_empty:
            raise UserError(
                f"{document.name}: a document with no tokens under {self._task.description}; "
                "remove it or set data.empty_documents='skip'"
            )
        if not ids.size:
            self._skipped["no tokens"] += 1
            return 0
        if ids.size + 1 > MAX_TOKENS:
            raise UserError(
                f"{document.name}: a document of {ids.size + 1:,} tokens, but {MAX_TOKENS:,} is "
                "the most; cut it into several"
            )
        tokens = np.empty(ids.size + 1, self._dtype)
        tokens[:-1] = ids
        tokens[-1] = end
        if self._pending and self._pending_tokens + tokens.size > self._task.shard_tokens:
            self._flush()
        self._pending.append(tokens)
        self._pending_tokens += tokens.size
        return tokens.size

    def _flush(self) -> None:
        name = f"{SHARDS}/{self._task.unit.index:05d}-{len(self._shards):03d}.bin"
        entry = write_file(self._task.scan.directory / name, (d.data for d in self._pending))
        self._shards.append(ShardEntry(name, self._pending_tokens, entry.checksum))
        self._pending, self._pending_tokens = [], 0

    def finish(self) -> Progress:
        if self._pending:
            self._flush()
        write_record(
            self._task,
            {"shards": [dataclasses.asdict(s) for s in self._shards], "skipped": self._skipped},
            {"lengths": np.array(self._lengths, np.int64)},
        )
        return Progress(self._task.unit.num_bytes, len(self._lengths), sum(self._lengths))
