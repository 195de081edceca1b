"""From a source to an open token store: made when missing, continued when interrupted."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from data import near_duplicates, splits, token_store
from data.atomic_write import TEMPORARY, atomic_write
from data.corpora import make_source
from data.store_writer import (
    BUILDING,
    Progress,
    ScanTask,
    TokenizeTask,
    npz_bytes,
    read_record,
    scan_unit,
    tokenize_unit,
)
from data.token_store import Manifest, ShardEntry, TokenStore, checksum, token_dtype
from data.tokenizers import Tokenizer, load_tokenizer, train_bpe, trained_vocab_size
from data.worker_pool import Map, choose_workers, worker_pool
from errors import UserError

LOCK = "lock"
_NOT_CONTENT = ("workers", "verify")  # settings that leave the same store

Task = TypeVar("Task", ScanTask, TokenizeTask)


@dataclass(frozen=True)
class DataConfig:
    """What the token store is made of."""

    source: str  # "stdlib", "text" or "jsonl"
    path: str  # text: a folder; jsonl: a file, a glob or a folder; stdlib: ""
    pattern: str  # text: glob of the files below path, such as "*.txt"
    field: str  # jsonl: the field of the text
    empty_documents: str  # "error" or "skip": what a document with no tokens is
    tokenizer: str  # "bytes", the path of a tokenizer.json, or "train:bpe:VOCABULARY_SIZE"
    end_of_text_token: str  # its name in tokenizer.json, such as "<|endoftext|>"
    shard_tokens: int  # most tokens in a shard, except for one document that is longer
    workers: int  # processes; 0: as many cores as the corpus is worth
    selection_share: float  # of the bytes, in [0, 1)
    report_share: float  # of the bytes, in [0, 1)
    split_seed: int
    near_duplicate_threshold: float  # Jaccard index of 16-byte windows, in (0, 1]
    verify: bool  # read all shards and compare checksums at each start


def prepare(config: DataConfig, directory: Path) -> TokenStore:
    """Opens the store at `directory`, after making it when it is missing.

    One process at a time prepares; others wait for it. Killed at any moment, the next call keeps
    the units that were finished and still are what the source holds.

    Raises:
      UserError: impossible settings, missing, empty or broken corpus, a store of other settings
        or a damaged one at `directory`, no room to write.
    """
    _check(config)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {directory}: {error.strerror}") from error
    with _locked(directory):
        if not (directory / token_store.MANIFEST).exists():
            _make(config, directory)
        _check_same(config, directory)
        # Also after a kill between the manifest and the end of tidying up.
        if (directory / BUILDING).exists():
            _tidy(directory)
    return TokenStore.open(directory, verify=config.verify)


def _check(config: DataConfig) -> None:
    splits.check_shares(config.selection_share, config.report_share)
    trained_vocab_size(config.tokenizer)
    if config.shard_tokens < 1:
        raise UserError(f"data.shard_tokens={config.shard_tokens} must be positive")
    if not 0 < config.near_duplicate_threshold <= 1:
        raise UserError(
            f"data.near_duplicate_threshold={config.near_duplicate_threshold} must be above 0 "
            "and at most 1"
        )


def _content(config: DataConfig) -> dict[str, Any]:
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if name not in _NOT_CONTENT}


def _check_same(config: DataConfig, directory: Path) -> None:
    manifest = token_store.read_manifest(directory)
    for name, wanted in _content(config).items():
        if manifest.config.get(name) != wanted:
            raise UserError(
                f"{directory} holds a token store with data.{name}={manifest.config.get(name)!r}, "
                f"not {wanted!r}; choose another directory or delete this one"
            )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with open(directory / LOCK, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that prepares {directory}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(config: DataConfig, directory: Path) -> None:
    source = make_source(
        config.source, config.path, config.pattern, config.field, config.empty_documents
    )
    units = source.units()
    (directory / BUILDING).mkdir(exist_ok=True)
    (directory / token_store.SHARDS).mkdir(exist_ok=True)
    scans = [ScanTask(source, unit, directory) for unit in units]
    num_bytes = sum(unit.num_bytes for unit in units)
    with worker_pool(choose_workers(config.workers, len(units), num_bytes)) as pool:
        corpus = _scan(config, scans, pool)
        tokenizer_path = _provide_tokenizer(config, directory, scans, corpus)
        tokenizer = load_tokenizer(tokenizer_path, config.end_of_text_token)
        tasks = [
            TokenizeTask(
                scan,
                tokenizer_path,
                config.end_of_text_token,
                tokenizer.describe(),
                config.shard_tokens,
                config.empty_documents == "skip",
            )
            for scan in scans
        ]
        written = _run(pool, tokenize_unit, tasks, "tokenizing")
    _finish(config, directory, source.describe(), tokenizer_path, tokenizer, corpus, written)


@dataclass(frozen=True)
class _Corpus:
    """The scanned documents in order, N of them."""

    names: list[str]
    num_bytes: np.ndarray  # int64 [N]
    clusters: np.ndarray  # int64 [N]
    splits: np.ndarray  # uint8 [N]
    skipped: Counter[str]
    fingerprint: str


def _scan(config: DataConfig, scans: list[ScanTask], pool: Map) -> _Corpus:
    records = _run(pool, scan_unit, scans, "scanning")
    names = [name for record in records for name in record["names"]]
    if not names:
        raise UserError(f"the corpus is empty: {scans[0].source.describe()} has no documents")
    num_bytes = np.concatenate([record["bytes"] for record in records])
    digests = np.concatenate([record["digests"] for record in records])
    signatures = np.concatenate([record["signatures"] for record in records])
    clusters = near_duplicates.cluster_near_duplicates(signatures, config.near_duplicate_threshold)
    document_splits = splits.assign_splits(
        num_bytes,
        clusters,
        digests,
        selection_share=config.selection_share,
        report_share=config.report_share,
        seed=config.split_seed,
    )
    rule = (
        splits.RULE,
        near_duplicates.SCHEME,
        config.near_duplicate_threshold,
        config.selection_share,
        config.report_share,
        config.split_seed,
    )
    fingerprint = hashlib.blake2b(digests.tobytes() + repr(rule).encode(), digest_size=8)
    skipped: Counter[str] = sum((Counter(record["skipped"]) for record in records), Counter())
    return _Corpus(names, num_bytes, clusters, document_splits, skipped, fingerprint.hexdigest())


def _run(pool: Map, work: Any, tasks: Sequence[Task], what: str) -> list[dict[str, Any]]:
    """Does what has no record yet; the records of all tasks, in order."""
    done = [read_record(task.record, task.key) is not None for task in tasks]
    left = [task for task, is_done in zip(tasks, done, strict=True) if not is_done]
    units = [task.unit if isinstance(task, ScanTask) else task.scan.unit for task in tasks]
    total = sum(unit.num_bytes for unit in units)
    finished = sum(unit.num_bytes for unit, is_done in zip(units, done, strict=True) if is_done)
    documents = tokens = 0
    with tqdm(total=total, initial=finished, desc=what, unit="B", unit_scale=True) as bar:
        progress: Progress
        for progress in pool(work, left):
            documents += progress.documents
            tokens += progress.tokens
            seconds = max(bar.format_dict["elapsed"], 1e-3)
            rates = {"documents/s": f"{documents / seconds:,.0f}"}
            if tokens:
                rates["tokens/s"] = f"{tokens / seconds:,.0f}"
            bar.set_postfix(rates, refresh=False)
            bar.update(progress.file_bytes)
    records = []
    for task in tasks:
        record = read_record(task.record, task.key)
        if record is None:
            raise UserError(f"{task.record} disappeared during preparation; run again")
        records.append(record)
    return records


def _provide_tokenizer(
    config: DataConfig, directory: Path, scans: list[ScanTask], corpus: _Corpus
) -> Path | None:
    """Path of the tokenizer.json to use, None for bytes; trains one where that is asked."""
    if config.tokenizer == "bytes":
        return None
    vocab_size = trained_vocab_size(config.tokenizer)
    if vocab_size is None:
        return Path(config.tokenizer)
    wanted = f"{corpus.fingerprint}-{vocab_size}-{config.end_of_text_token}"
    name = hashlib.blake2b(wanted.encode(), digest_size=8).hexdigest()
    path = directory / BUILDING / f"tokenizer-{name}.json"
    if not path.exists():

        def train_texts() -> Iterator[str]:
            documents = (
                document
                for scan in scans
                for document in scan.source.documents(scan.unit, Counter())
            )
            # Held-out text must not shape the vocabulary. A corpus that has changed since the
            # scan is found when it is tokenized.
            for document, split in zip(documents, corpus.splits, strict=False):
                bar.update()
                if split == splits.Split.TRAIN:
                    yield document.text

        with tqdm(total=len(corpus.names), desc="training tokenizer", unit="document") as bar:
            trained = train_bpe(train_texts(), vocab_size, config.end_of_text_token)
        atomic_write(path, [trained])
    return path


def _finish(
    config: DataConfig,
    directory: Path,
    source: str,
    tokenizer_path: Path | None,
    tokenizer: Tokenizer,
    corpus: _Corpus,
    written: list[dict[str, Any]],
) -> None:
    """Writes the tables and, last, the manifest."""
    lengths = np.concatenate([record["lengths"] for record in written])
    kept = lengths > 0
    if not kept.any():
        raise UserError(f"the corpus is empty: no document has a token under {config.tokenizer}")
    names = [name for name, keep in zip(corpus.names, kept, strict=True) if keep]
    tables = {
        token_store.DOCUMENTS: npz_bytes(
            {
                "offsets": np.concatenate([[0], np.cumsum(lengths[kept])]),
                "splits": corpus.splits[kept],
                "bytes": corpus.num_bytes[kept],
                "clusters": corpus.clusters[kept],
            }
        ),
        token_store.NAMES: json.dumps(names, indent=0).encode("ascii"),
    }
    if tokenizer_path is not None:
        tables[token_store.TOKENIZER] = tokenizer_path.read_bytes()
    for name, content in tables.items():
        atomic_write(directory / name, [content])
    skipped = sum((Counter(record["skipped"]) for record in written), corpus.skipped)
    fingerprint = f"{corpus.fingerprint} {tokenizer.describe()}".encode()
    manifest = Manifest(
        format_version=token_store.FORMAT_VERSION,
        source=source,
        tokenizer=tokenizer.describe(),
        end_of_text_token=config.end_of_text_token if tokenizer_path else "",
        vocab_size=tokenizer.vocab_size,
        end_of_text=tokenizer.end_of_text,
        dtype=token_dtype(tokenizer.vocab_size).str,
        num_documents=len(names),
        num_tokens=int(lengths.sum()),
        num_bytes=int(corpus.num_bytes[kept].sum()),
        corpus_fingerprint=corpus.fingerprint,
        fingerprint=hashlib.blake2b(fingerprint, digest_size=8).hexdigest(),
        shards=tuple(ShardEntry(**shard) for record in written for shard in record["shards"]),
        tables={name: checksum(content) for name, content in tables.items()},
        skipped=dict(sorted(skipped.items())),
        config=_content(config),
    )
    atomic_write(directory / token_store.MANIFEST, [token_store.manifest_bytes(manifest)])


def _tidy(directory: Path) -> None:
    """Removes what a finished store does not name."""
    manifest = token_store.read_manifest(directory)
    named = {directory / shard.name for shard in manifest.shards}
    for path in (directory / token_store.SHARDS).iterdir():
        if path not in named:
            path.unlink()
    for path in directory.glob(f"*{TEMPORARY}"):
        path.unlink()
    shutil.rmtree(directory / BUILDING)
