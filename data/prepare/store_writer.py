"""The two passes over a unit of the corpus; each leaves a record of its results.

scan: names, sizes, hashes of the contents and MinHash signatures. From these come clusters, splits
and what is dropped, and so the texts that a tokenizer may be trained on. tokenize: the shards.
Where the second needs nothing that the first finds out, one reading serves both. A record is
written after everything it speaks of.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import xxhash

from lengthwise.common.errors import UserError
from lengthwise.data.prepare.near_duplicates import NUM_HASHES, signatures
from lengthwise.data.prepare.token_shards import TokenShards
from lengthwise.data.prepare.unit_records import is_done, read_record, write_record
from lengthwise.data.prepare.unit_tasks import Progress, ScanTask, TokenizeTask
from lengthwise.data.sources import Document, Skipped
from lengthwise.data.store.document_tables import encode_names

_BATCH_SIZE = 1 << 20  # characters or ids that are worked on at once


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
    tokens = TokenShards(task)
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
    scan, tokens = _Scan(task.scan), TokenShards(task)
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
