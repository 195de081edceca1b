"""The scanned corpus, before tokenization: documents, clusters, splits, dropped documents."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.data.prepare import near_duplicates
from lengthwise.data.prepare.store_writer import text_of
from lengthwise.data.prepare.unit_records import RecordedTask, column, columns, is_done, records
from lengthwise.data.prepare.unit_tasks import Progress, ScanTask
from lengthwise.data.prepare.worker_pool import Map
from lengthwise.data.sources import Skipped, Unit
from lengthwise.data.sources.source import PLACES
from lengthwise.data.store import splits


class UnitTask(RecordedTask, Protocol):
    @property
    def unit(self) -> Unit: ...


AnyTask = TypeVar("AnyTask", bound=UnitTask)
FindEdges = Callable[[Sequence[ScanTask], np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class SplitRule:
    """Settings that decide, with the texts, the split of each document."""

    selection_share: float
    report_share: float
    seed: int
    near_duplicate_threshold: float
    duplicates: str  # one of data.config.DUPLICATES


@dataclass(frozen=True)
class ScannedCorpus:
    """The N documents of the corpus, in order."""

    num_bytes: np.ndarray  # int64 [N], UTF-8; of token ids, 4 each
    clusters: np.ndarray  # int64 [N]
    dropped: np.ndarray  # bool [N]: documents left out of the store
    splits: np.ndarray  # uint8 [N], of those that are not dropped
    skipped: Counter[str]  # reason -> number of skipped items of the source
    bad_records: tuple[str, ...]  # messages of the first ones
    fingerprint: str  # digest of texts, their order, their domains and the split rule


def run_units(
    pool: Map,
    work: Callable[[AnyTask], Progress],
    tasks: Sequence[AnyTask],
    what: str,
    done: Callable[[AnyTask], bool] = is_done,
) -> None:
    """Runs the unfinished tasks; shows documents/s, tokens/s and the time left."""
    left = [task for task in tasks if not done(task)]
    total = sum(task.unit.num_bytes for task in tasks)
    finished = total - sum(task.unit.num_bytes for task in left)
    documents = tokens = 0
    with ProgressBar(total=total, initial=finished, desc=what, unit="B", unit_scale=True) as bar:
        for progress in pool(work, left):
            documents += progress.documents
            tokens += progress.tokens
            seconds = max(bar.format_dict["elapsed"], 1e-3)
            rates = {"documents/s": f"{documents / seconds:,.0f}"}
            if tokens:
                rates["tokens/s"] = f"{tokens / seconds:,.0f}"
            bar.set_postfix(rates, refresh=False)
            bar.update(progress.file_bytes)


def local_edges(scans: Sequence[ScanTask], copies: np.ndarray, threshold: float) -> np.ndarray:
    """`near_duplicate_edges` of the scanned documents, in this process."""
    return near_duplicates.near_duplicate_edges(column(scans, "signatures"), copies, threshold)


def corpus_of(scans: Sequence[ScanTask], rule: SplitRule, find_edges: FindEdges) -> ScannedCorpus:
    """Gathers the corpus from scanned units. Raises UserError as splits do, or if it is empty."""
    scanned = columns(scans, "bytes", "digests")
    num_bytes, digests = scanned["bytes"], scanned["digests"]
    bad_records = tuple(m for record in records(scans) for m in record["bad_records"])[:PLACES]
    if not num_bytes.size:
        why = f"; the first of the bad records: {bad_records[0]}" if bad_records else ""
        raise UserError(f"the corpus is empty: {scans[0].source.describe()} has no documents{why}")
    copies = near_duplicates.first_copies(digests)
    edges = np.zeros((0, 2), np.int64)
    if rule.near_duplicate_threshold:
        edges = find_edges(scans, copies, rule.near_duplicate_threshold)
    clusters = near_duplicates.clusters_of(copies, edges)
    ids = np.arange(num_bytes.size)
    exact = copies != ids
    _, first = np.unique(clusters, return_index=True)
    near = (first[clusters] != ids) & ~exact
    skipped = sum((Counter(record["skipped"]) for record in records(scans)), Counter())
    dropped = np.zeros(num_bytes.size, np.bool_)
    if rule.duplicates != "keep":
        dropped |= exact
        skipped["exact copies"] += int(exact.sum())
    if rule.duplicates == "drop_near":
        dropped |= near
        skipped["near-duplicates"] += int(near.sum())
    remaining = ~dropped
    # Numbered anew: every one of the clusters that are split has a document.
    _, remaining_clusters = np.unique(clusters[remaining], return_inverse=True)
    document_splits = np.zeros(num_bytes.size, np.uint8)
    document_splits[remaining] = splits.assign_splits(
        num_bytes[remaining],
        remaining_clusters,
        digests[remaining],
        selection_share=rule.selection_share,
        report_share=rule.report_share,
        seed=rule.seed,
    )
    digest = hashlib.blake2b(digests.tobytes(), digest_size=8)
    digest.update(column(scans, "domains").astype("<u2").tobytes())
    how = (splits.RULE, near_duplicates.SCHEME, rule, tuple(scans[0].source.domains))
    digest.update(repr(how).encode())
    return ScannedCorpus(
        num_bytes=num_bytes,
        clusters=clusters,
        dropped=dropped,
        splits=document_splits,
        skipped=+skipped,
        bad_records=bad_records,
        fingerprint=digest.hexdigest(),
    )


def without(corpus: ScannedCorpus, contaminated: np.ndarray) -> ScannedCorpus:
    """The corpus without the documents of a mask, bool [N]; splits stay as they are."""
    fingerprint = corpus.fingerprint.encode() + np.packbits(contaminated).tobytes()
    changes: dict[str, Any] = {}
    if contaminated.any():
        changes["fingerprint"] = hashlib.blake2b(fingerprint, digest_size=8).hexdigest()
    return dataclasses.replace(
        corpus,
        dropped=corpus.dropped | contaminated,
        skipped=corpus.skipped + Counter(contaminated=int(contaminated.sum())),
        **changes,
    )


def train_tokenizer(
    scans: Sequence[ScanTask], corpus: ScannedCorpus, vocab_size: int, end_of_text_token: str
) -> bytes:
    """Trains a byte-level BPE `tokenizer.json` on the train split alone."""

    trained_on = ((corpus.splits == splits.Split.TRAIN) & ~corpus.dropped).tolist()

    def train_texts() -> Iterator[str]:
        documents = (
            document for scan in scans for document in scan.source.documents(scan.unit, Skipped())
        )
        # Tokenizing detects a corpus that has changed since the scan.
        for document, trains in zip(documents, trained_on, strict=False):
            bar.update()
            if trains:
                yield text_of(document)

    with ProgressBar(
        total=len(corpus.num_bytes), desc="training tokenizer", unit="document"
    ) as bar:
        from lengthwise.data.store.file_tokenizer import train_bpe

        return train_bpe(train_texts(), vocab_size, end_of_text_token)
