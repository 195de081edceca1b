"""Layout indices, in memory or on disk: written whole or not at all, opened without reading all.

An index is a directory:
    index.json             strata, accounting, fingerprint, sizes, checksums of the tables
    groups.npz             row groups, segment counts and blocks, which are small
    rows-L.bin             for each length L: 8 bytes a row
    pieces-L.bin           12 bytes a piece
"""

import contextlib
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import xxhash

from lengthwise.common.array_file import load_arrays
from lengthwise.common.errors import UserError
from lengthwise.common.files import TEMPORARY
from lengthwise.data.layouts.accounting import Accounting, BucketAccount
from lengthwise.data.layouts.config import LayoutConfig
from lengthwise.data.layouts.index import (
    PIECE,
    ROW,
    BucketIndex,
    SegmentCounts,
)
from lengthwise.data.layouts.row_groups import RowGroups, Stratum
from lengthwise.data.layouts.tally import BucketSummary, Summary
from lengthwise.data.store.memory_reader import MemoryReader
from lengthwise.data.store.shard_reader import ShardEntry, ShardReader

INDEX = "index.json"
GROUPS = "groups.npz"


@dataclass(frozen=True)
class LayoutIndex:
    """A layout of some documents: the index of each bucket and the accounting of its tokens."""

    config: LayoutConfig
    buckets: dict[int, BucketIndex]  # by length, ascending; empty ones included
    strata: tuple[Stratum, ...]  # indexed by RowGroups.stratum
    block_offsets: np.ndarray  # int64 [blocks + 1] token range of each block, whole documents
    accounting: Accounting
    fingerprint: str  # digest of all rows in order

    @property
    def joined(self) -> bool:
        """Whether the pieces of a row are one text, shifted as a whole into inputs and targets."""
        return not self.config.document_mask

    @property
    def bucket_groups(self) -> dict[int, RowGroups]:
        return {length: bucket.groups for length, bucket in self.buckets.items()}


class IndexWriter(Protocol):
    """Collects the tables of an index, block by block."""

    def __enter__(self) -> "IndexWriter": ...

    def __exit__(self, *_: object) -> None: ...

    def append(self, length: int, entries: np.ndarray, pieces: np.ndarray) -> None:
        """Appends rows and pieces to the tables of a bucket."""

    def finish(self, config: LayoutConfig, summary: Summary) -> LayoutIndex:
        """Returns the index, once all is appended."""


class IndexMemory:
    """Writer of an index in memory."""

    def __init__(self) -> None:
        self._tables: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {}

    def __enter__(self) -> "IndexMemory":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def append(self, length: int, entries: np.ndarray, pieces: np.ndarray) -> None:
        of_bucket = self._tables.setdefault(length, ([], []))
        of_bucket[0].append(entries)
        of_bucket[1].append(pieces)

    def finish(self, config: LayoutConfig, summary: Summary) -> LayoutIndex:
        tables = {
            length: (MemoryReader(np.concatenate(entries)), MemoryReader(np.concatenate(pieces)))
            for length, (entries, pieces) in self._tables.items()
        }
        return _layout(config, summary, tables)


class IndexFiles:
    """Writer of an index in a directory, which appears when it is complete.

    Removes first what killed writers left. None of them is alive: a writer's process has the lock
    of the work directory.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._temporary = directory.with_name(f"{directory.name}.{secrets.token_hex(4)}{TEMPORARY}")
        self._files: dict[str, BinaryIO] = {}
        self._digests: dict[str, xxhash.xxh3_128] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "IndexFiles":
        try:
            for leftover in self._directory.parent.glob(f"*{TEMPORARY}"):
                shutil.rmtree(leftover)
            self._temporary.mkdir(parents=True)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def append(self, length: int, entries: np.ndarray, pieces: np.ndarray) -> None:
        try:
            for kind, array in (("rows", entries), ("pieces", pieces)):
                self._write(_table_name(kind, length), array.view(np.uint8).data)
        except OSError as error:
            raise self._failed(error) from error

    def finish(self, config: LayoutConfig, summary: Summary) -> LayoutIndex:
        try:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            checksums = {name: digest.hexdigest() for name, digest in self._digests.items()}
            _write_summary(self._temporary, summary, checksums)
            os.rename(self._temporary, self._directory)
        except OSError as error:
            raise self._failed(error) from error
        return open_index(self._directory, config, verify=False)

    def _write(self, name: str, content: memoryview) -> None:
        if name not in self._files:
            self._files[name] = self._open.enter_context((self._temporary / name).open("xb"))
            self._digests[name] = xxhash.xxh3_128()
        self._files[name].write(content)
        self._digests[name].update(content)

    def _failed(self, error: OSError) -> UserError:
        return UserError(
            f"{self._directory} could not be written ({error.strerror or error}); make room or "
            "choose another --workdir, then start again"
        )


def has_index(directory: Path) -> bool:
    return (directory / INDEX).exists()


def open_index(directory: Path, config: LayoutConfig, *, verify: bool) -> LayoutIndex:
    """Opens an index that `IndexFiles` wrote.

    Args:
      config: settings of the same rows; its window may be another.
      verify: whether to read all of it and compare checksums.

    Raises:
      UserError: it is damaged; names the file.
    """
    try:
        summary, checksums = _read_summary(directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{directory / INDEX} is damaged ({error}); delete {directory} and start again"
        ) from error
    tables = {}
    for length, bucket in summary.buckets.items():
        sizes = {"rows": (ROW, bucket.groups.rows), "pieces": (PIECE, bucket.pieces)}
        readers = []
        for kind, (dtype, size) in sizes.items():
            name = _table_name(kind, length)
            shard = ShardEntry(name, size, checksums[name])
            readers.append(ShardReader(directory, [shard], dtype, remedy="start again"))
        tables[length] = readers
        if verify:
            for reader in readers:
                reader.verify()
    return _layout(config, summary, tables)


def _table_name(kind: str, length: int) -> str:
    return f"{kind}-{length}.bin"


def _layout(config: LayoutConfig, summary: Summary, tables: dict[int, Any]) -> LayoutIndex:
    return LayoutIndex(
        config=config,
        buckets={
            length: BucketIndex(
                length, bucket.segmented, bucket.groups, bucket.segments, *tables[length]
            )
            for length, bucket in summary.buckets.items()
        },
        strata=summary.strata,
        block_offsets=summary.block_offsets,
        accounting=summary.accounting,
        fingerprint=summary.fingerprint,
    )


def _write_summary(directory: Path, summary: Summary, checksums: dict[str, str]) -> None:
    arrays = {"block_offsets": summary.block_offsets}
    for length, bucket in summary.buckets.items():
        for name, array in asdict(bucket.groups).items():
            arrays[f"{length}/{name}"] = array
        sizes = [of.targets.size for of in bucket.segments]
        arrays[f"{length}/segment_stratum"] = np.repeat(np.arange(len(sizes)), sizes)
        for name in ("targets", "count"):
            arrays[f"{length}/segment_{name}"] = np.concatenate(
                [getattr(of, name) for of in bucket.segments]
            )
    np.savez(directory / GROUPS, **arrays)  # type: ignore[arg-type]
    facts = {
        "strata": [asdict(stratum) for stratum in summary.strata],
        "buckets": {
            str(length): {"segmented": bucket.segmented, "pieces": bucket.pieces}
            for length, bucket in summary.buckets.items()
        },
        "accounting": asdict(summary.accounting),
        "fingerprint": summary.fingerprint,
        "checksums": checksums,
    }
    (directory / INDEX).write_text(json.dumps(facts, indent=1) + "\n")


def _read_summary(directory: Path) -> tuple[Summary, dict[str, str]]:
    facts = json.loads((directory / INDEX).read_bytes())
    accounting = facts["accounting"]
    accounting["buckets"] = tuple(BucketAccount(**bucket) for bucket in accounting["buckets"])
    accounting["notes"] = tuple(accounting["notes"])
    strata = tuple(Stratum(**stratum) for stratum in facts["strata"])
    arrays = load_arrays(directory / GROUPS)
    buckets = {}
    for length, bucket in facts["buckets"].items():
        names = ("first", "count", "block", "stratum")
        groups = RowGroups(*(arrays[f"{length}/{name}"] for name in names))
        stratum, targets, count = (
            arrays[f"{length}/segment_{name}"] for name in ("stratum", "targets", "count")
        )
        segments = tuple(
            SegmentCounts(targets[stratum == number], count[stratum == number])
            for number in range(len(strata))
        )
        buckets[int(length)] = BucketSummary(
            bucket["segmented"], groups, segments, bucket["pieces"]
        )
    block_offsets = arrays["block_offsets"]
    account = Accounting(**accounting)
    summary = Summary(strata, block_offsets, buckets, account, facts["fingerprint"])
    tables = [_table_name(kind, length) for length in buckets for kind in ("rows", "pieces")]
    return summary, {table: facts["checksums"][table] for table in tables}
