"""Tasks over the word n-grams of a unit: collect them, or match them. Each leaves a record.

See data.prepare.contamination, which compares what they find.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from lengthwise.common.errors import UserError
from lengthwise.data.prepare.store_writer import batches
from lengthwise.data.prepare.unit_records import BUILDING, records, write_record
from lengthwise.data.prepare.unit_tasks import Progress, ScanTask
from lengthwise.data.sources import Document, Source, Unit
from lengthwise.data.sources.source import Skipped
from lengthwise.data.store.document_tables import encode_names

SCHEME = "lower case words, 64 bits"

# Class of a byte of UTF-8: no word, inside a word, first byte of a one-character word.
_OTHER, _INSIDE, _ALONE = 0, 1, 2
_CLASSES = np.zeros(256, np.uint8)
_CLASSES[[*b"0123456789abcdefghijklmnopqrstuvwxyz"]] = _INSIDE
_CLASSES[0xC3:0xE0] = _INSIDE  # the first of two bytes; below are the signs of Latin-1
_CLASSES[0xE0:0xF5] = _ALONE
_CLASSES[0xE2] = _OTHER  # dashes, quotation marks, arrows and other signs
_LONGEST = 3  # bytes that continue a character

_SLICE = 1 << 17  # bytes hashed at a time, to the end of a word
_PLACES = np.random.Generator(np.random.Philox(key=2)).integers(0, 2**64, 1 << 12, np.uint64)
_NEXT = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX = np.uint64(0xD6E8FEB86659FD93)


def ngram_hashes(contents: Sequence[str | np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all n-grams of each document, in order.

    Args:
      contents: texts, or token ids as integer arrays.
      n: words, at least 1.

    Returns: uint64 [T], of one document after the other, and how many each has, int64 [N]; 0 for
      documents of fewer than n words.
    """
    if contents and isinstance(contents[0], str):
        joined, sizes = _words_of_texts([text for text in contents if isinstance(text, str)])
    else:
        joined = np.concatenate([np.zeros(0, np.int64), *contents]).astype(np.uint64)
        joined = (joined + np.uint64(1)) * _MIX
        sizes = np.fromiter(map(len, contents), np.int64, len(contents))
    counts = np.maximum(sizes - (n - 1), 0)
    if not counts.any():
        return np.zeros(0, np.uint64), counts
    hashes = joined[: joined.size - n + 1].copy()
    for k in range(1, n):
        hashes *= _NEXT
        hashes += joined[k : joined.size - n + 1 + k]
    ends = np.cumsum(sizes)
    at = np.arange(hashes.size)
    hashes = hashes[at < np.repeat(ends - (n - 1), sizes)[: hashes.size]]  # not across documents
    hashes ^= hashes >> np.uint64(31)
    hashes *= _MIX
    return hashes ^ (hashes >> np.uint64(29)), counts


def _words_of_texts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all words, uint64 [W], and the words of each text, int64 [N]."""
    encoded = [text.lower().encode("utf-8") for text in texts]
    bytes_u8 = np.frombuffer(b"\n".join(encoded), np.uint8)
    classes = _CLASSES[bytes_u8]
    if not all(text.isascii() for text in texts):
        continues = (bytes_u8 & 0xC0) == 0x80
        for _ in range(_LONGEST):
            classes[1:] |= continues[1:] & (classes[:-1] > 0)
    inside = classes > 0
    begins = classes == _ALONE
    begins[1:] |= inside[1:] & ~inside[:-1]
    begins[:1] |= inside[:1]
    starts = np.flatnonzero(begins)
    ends = np.cumsum([len(text) + 1 for text in encoded])
    sizes = np.diff(np.searchsorted(starts, ends), prepend=0)
    if not starts.size:
        return np.zeros(0, np.uint64), sizes
    # Cut between words, not inside one.
    first = np.unique(np.searchsorted(starts, np.arange(0, bytes_u8.size, _SLICE)))
    cuts = starts[first[first < starts.size]]
    hashes = []
    for start, stop in itertools.pairwise([*cuts.tolist(), bytes_u8.size]):
        own = starts[np.searchsorted(starts, start) : np.searchsorted(starts, stop)] - start
        places = np.arange(stop - start) - np.repeat(own, np.diff(own, append=stop - start))
        values = _PLACES[places & (_PLACES.size - 1)]
        values *= bytes_u8[start:stop] * inside[start:stop]
        hashes.append(np.add.reduceat(values, own))
    return np.concatenate(hashes), sizes


@dataclass(frozen=True)
class CollectTask:
    """Collects the n-grams of the evaluation documents of a unit."""

    source: Source
    unit: Unit
    directory: Path
    name: str  # of the source, for the name of the record
    ngram: int
    mask: bytes  # np.packbits of the documents; b"": all

    @property
    def record(self) -> Path:
        return self.directory / BUILDING / f"{self.name}-{self.unit.index:05d}.record"

    @property
    def key(self) -> str:
        mask = xxhash.xxh3_64_hexdigest(self.mask)
        return f"{SCHEME} {self.ngram} {self.unit.key} {mask}"


@dataclass(frozen=True)
class MatchTask:
    """Matches n-grams of the evaluation sets with the training documents of a unit."""

    scan: ScanTask
    ngram: int
    mask: bytes  # np.packbits of the training documents
    part: int  # of the evaluation sets' n-grams
    ngrams: str  # hash of the file of n-grams
    by_document: bool  # whether to record the document of each hit

    @property
    def unit(self) -> Unit:
        return self.scan.unit

    @property
    def record(self) -> Path:
        folder = self.scan.directory / BUILDING
        return folder / f"match-{self.part:03d}-{self.unit.index:05d}.record"

    @property
    def key(self) -> str:
        mask = xxhash.xxh3_64_hexdigest(self.mask)
        return f"{SCHEME} {self.ngram} {self.unit.key} {mask} {self.ngrams} {self.by_document}"


def collect_unit(task: CollectTask) -> Progress:
    """Writes the record of a CollectTask. Raises UserError as the source does."""
    names: list[str] = []
    hashes, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for batch, _ in _masked_batches(task.source, task.unit, task.mask):
        batch_hashes, number = ngram_hashes([document.content for document in batch], task.ngram)
        hashes.append(batch_hashes)
        counts.append(number)
        names += [document.name for document in batch]
    text, name_sizes = encode_names(names)
    arrays = {"names": text, "name_sizes": name_sizes}
    arrays |= {"hashes": np.concatenate(hashes), "counts": np.concatenate(counts)}
    write_record(task, {}, arrays)
    return Progress(task.unit.num_bytes, len(names), 0)


def match_unit(task: MatchTask) -> Progress:
    """Writes the record of a MatchTask: `hits`, sorted pairs document * 2^32 + n-gram of the part.

    Raises UserError as the source does.
    """
    ngrams = np.fromfile(ngrams_path(task.scan.directory, task.part), "<u8")
    hits = [np.zeros(0, np.int64)]
    documents = 0
    for batch, numbers in _masked_batches(task.scan.source, task.unit, task.mask):
        hashes, counts = ngram_hashes([document.content for document in batch], task.ngram)
        order = np.argsort(hashes)  # neighbours in the table are searched one after the other
        hashes = hashes[order]
        at = np.minimum(np.searchsorted(ngrams, hashes), ngrams.size - 1)
        hit = ngrams[at] == hashes
        owners = np.repeat(numbers if task.by_document else numbers * 0, counts)[order[hit]]
        hits.append(np.unique((owners << 32) | at[hit]))
        documents += len(batch)
    write_record(task, {}, {"hits": np.unique(np.concatenate(hits))})
    return Progress(task.unit.num_bytes, documents, 0)


def packed_by_unit(scans: Sequence[ScanTask], mask: np.ndarray) -> list[bytes]:
    """np.packbits of each unit's part of a mask of all documents, bool [N]."""
    sizes = [record["bytes"].size for record in records(scans, "bytes")]
    return [np.packbits(own).tobytes() for own in np.split(mask, np.cumsum(sizes)[:-1])]


def ngrams_path(directory: Path, part: int) -> Path:
    """The file of the n-grams of a part: uint64, sorted, each once."""
    return directory / BUILDING / f"ngrams-{part:03d}.bin"


def _masked_batches(
    source: Source, unit: Unit, packed: bytes
) -> Iterator[tuple[list[Document], np.ndarray]]:
    """Batches of the masked documents of a unit, and their numbers in it."""
    mask = np.unpackbits(np.frombuffer(packed, np.uint8)).astype(np.bool_)
    first = 0
    for batch in batches(source.documents(unit, Skipped())):
        own = mask[first : first + len(batch)] if packed else np.ones(len(batch), np.bool_)
        if own.size < len(batch):
            raise UserError(f"the corpus changed during preparation (near {batch[0].name})")
        chosen = np.flatnonzero(own)
        if chosen.size:
            yield [batch[i] for i in chosen.tolist()], first + chosen
        first += len(batch)
