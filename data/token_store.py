"""The token store: flat shards of token ids, read by checked positioned reads.

A store is a directory:
    manifest.json    what it is, with the checksums of everything below; written last
    documents.npz    offsets, splits, UTF-8 bytes and near-duplicate clusters of the documents
    names.json       their names
    tokenizer.json   the tokenizer, unless it is bytes
    shards/          token ids, little-endian, whole documents

There is no memory map: a file that shrinks under a map kills the process with SIGBUS.
"""

import bisect
import dataclasses
import hashlib
import io
import json
import os
import resource
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.splits import Split
from data.tokenizers import Tokenizer, load_tokenizer
from errors import UserError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
DOCUMENTS = "documents.npz"
NAMES = "names.json"
TOKENIZER = "tokenizer.json"
SHARDS = "shards"


@dataclass(frozen=True)
class ShardEntry:
    name: str  # path below the store
    tokens: int
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """What a store holds. `corpus_fingerprint` and `fingerprint` go into every result."""

    format_version: int
    source: str  # for people
    tokenizer: str  # Tokenizer.describe()
    end_of_text_token: str  # its name in tokenizer.json, "" for bytes
    vocab_size: int
    end_of_text: int
    dtype: str  # of the shards, little-endian: "<u2" or "<u4"
    num_documents: int
    num_tokens: int
    num_bytes: int  # UTF-8
    corpus_fingerprint: str  # texts in order and split rule; not tokenizer, sharding or workers
    fingerprint: str  # the corpus and the tokenizer
    shards: tuple[ShardEntry, ...]
    tables: dict[str, str]  # file name -> checksum
    skipped: dict[str, int]  # reason -> items of the source that are no documents
    config: dict[str, Any]  # the settings that decide what is in the store


def checksum(data: bytes | memoryview) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest little-endian unsigned type for ids in [0, vocab_size)."""
    return np.min_scalar_type(vocab_size - 1).newbyteorder("<")


class TokenStore:
    """An open store. Its arrays and reads may be shared between threads."""

    def __init__(
        self, directory: Path, manifest: Manifest, tables: dict[str, Any], files: list[int]
    ) -> None:
        """Use `open`. `files` are descriptors of the shards, in order; they are closed with it."""
        self.directory = directory
        self.manifest = manifest
        self.document_offsets: np.ndarray = tables["offsets"]  # int64 [N+1]
        self.document_splits: np.ndarray = tables["splits"]  # uint8 [N], Split
        self.document_bytes: np.ndarray = tables["bytes"]  # int64 [N]
        self.document_clusters: np.ndarray = tables["clusters"]  # int64 [N]
        self.document_names: list[str] = tables["names"]
        self._files = files
        self._dtype = np.dtype(manifest.dtype)
        # Lists, because bisect on a list is ten times faster than searchsorted for one number.
        starts = np.cumsum([0, *(shard.tokens for shard in manifest.shards)])
        self._shard_starts: list[int] = starts.tolist()
        weakref.finalize(self, _close, files)

    @classmethod
    def open(cls, directory: Path, *, verify: bool) -> "TokenStore":
        """Opens the store at `directory`; `verify` reads all shards and compares checksums.

        Raises:
          UserError: absent, unfinished or damaged store; names the damaged file.
        """
        manifest = read_manifest(directory)
        tables = _read_tables(directory, manifest)
        _allow_open_files(len(manifest.shards))
        files: list[int] = []
        try:
            for shard in manifest.shards:
                files.append(_open_shard(directory, shard, np.dtype(manifest.dtype).itemsize))
            if verify:
                _verify(directory, manifest, files)
        except BaseException:
            _close(files)
            raise
        return cls(directory, manifest, tables, files)

    def documents(self, split: Split) -> np.ndarray:
        """Ids of the documents of `split`, int64, ascending."""
        return np.flatnonzero(self.document_splits == split)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the store was made with, from the store's own copy."""
        path = self.directory / TOKENIZER if TOKENIZER in self.manifest.tables else None
        return load_tokenizer(path, self.manifest.end_of_text_token)

    def read(self, start: int, length: int) -> np.ndarray:
        """Tokens [start, start + length) of the corpus, of one document; read-only array.

        Raises:
          IndexError: the range leaves its shard, so it cannot lie within one document.
          UserError: the shard has become shorter; names it.
        """
        shard = bisect.bisect_right(self._shard_starts, start) - 1
        if (
            length < 0
            or not 0 <= shard < len(self._files)
            or start + length > self._shard_starts[shard + 1]
        ):
            raise IndexError(f"tokens [{start}, {start + length}) are not in one shard")
        size = length * self._dtype.itemsize
        offset = (start - self._shard_starts[shard]) * self._dtype.itemsize
        data = os.pread(self._files[shard], size, offset)
        if len(data) != size:
            raise UserError(
                f"{self.directory / self.manifest.shards[shard].name} gave {len(data)} of {size} "
                f"bytes at {offset}: it was damaged; delete {self.directory} and prepare again"
            )
        return np.frombuffer(data, self._dtype)


def read_manifest(directory: Path) -> Manifest:
    """Raises UserError when there is none, or none that this version reads."""
    path = directory / MANIFEST
    try:
        fields = json.loads(path.read_bytes())
        version = fields["format_version"]
        if version != FORMAT_VERSION:
            raise UserError(
                f"{path} has format {version}, this version reads {FORMAT_VERSION}; "
                f"delete {directory} and prepare again"
            )
        fields["shards"] = tuple(ShardEntry(**shard) for shard in fields["shards"])
        return Manifest(**fields)
    except FileNotFoundError as error:
        raise UserError(
            f"no finished token store in {directory}; make it with --mode=prepare"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, directory, str(error)) from error


def manifest_bytes(manifest: Manifest) -> bytes:
    return (json.dumps(dataclasses.asdict(manifest), indent=1) + "\n").encode("ascii")


def _damaged(path: Path, directory: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged ({what}); delete {directory} and prepare again")


def _read_tables(directory: Path, manifest: Manifest) -> dict[str, Any]:
    contents = {}
    for name, expected in manifest.tables.items():
        try:
            contents[name] = (directory / name).read_bytes()
        except OSError as error:
            raise _damaged(directory / name, directory, str(error.strerror)) from error
        if checksum(contents[name]) != expected:
            raise _damaged(directory / name, directory, "wrong checksum")
    with np.load(io.BytesIO(contents[DOCUMENTS])) as arrays:
        return {**arrays, "names": json.loads(contents[NAMES])}


def _allow_open_files(shards: int) -> None:
    """Raises the soft limit of open files where the shards need it (macOS starts at 256)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = shards + 256  # what the rest of the process may have open
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise UserError(
            f"the store has {shards} shards but this process may open only {hard} files; "
            "raise the limit (ulimit -n) or prepare again with larger data.shard_tokens"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _open_shard(directory: Path, shard: ShardEntry, itemsize: int) -> int:
    path = directory / shard.name
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _damaged(path, directory, str(error.strerror)) from error
    size = os.fstat(file).st_size
    if size != shard.tokens * itemsize:
        os.close(file)
        raise _damaged(path, directory, f"{size} bytes, not {shard.tokens * itemsize}")
    return file


def _verify(directory: Path, manifest: Manifest, files: list[int]) -> None:
    for shard, file in zip(tqdm(manifest.shards, "checksums", delay=2), files, strict=True):
        digest = hashlib.blake2b(digest_size=16)
        offset = 0
        while block := os.pread(file, 1 << 22, offset):
            digest.update(block)
            offset += len(block)
        if digest.hexdigest() != shard.checksum:
            raise _damaged(directory / shard.name, directory, "wrong checksum")


def _close(files: list[int]) -> None:
    while files:
        os.close(files.pop())
