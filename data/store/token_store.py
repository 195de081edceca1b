"""The token store: flat shards of token ids, read by checked positioned reads.

A store is a directory:
    manifest.json    what it is, with the checksums of itself and all below; written last
    documents/       a flat array a file: offsets, splits, bytes, clusters, domains, groups, names
    tokenizer.json   the tokenizer, unless it is bytes
    shards/          token ids, little-endian, whole documents
"""

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from lengthwise.common.errors import UserError
from lengthwise.data.store.document_tables import (
    NameTable,
    TableEntry,
    check_size,
    read_file,
    read_table,
    table_path,
)
from lengthwise.data.store.memory_reader import MemoryReader
from lengthwise.data.store.shard_reader import ShardEntry, ShardReader, damaged
from lengthwise.data.store.splits import Split
from lengthwise.data.store.tokenizers import Tokenizer, load_tokenizer

FORMAT_VERSION = 4
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
SHARDS = "shards"


@dataclass(frozen=True)
class Manifest:
    """Contents of a store. `corpus_fingerprint` and `fingerprint` go into every result."""

    format_version: int
    source: str  # description
    tokenizer: str  # Tokenizer.describe()
    end_of_text_token: str  # its name in tokenizer.json, "" for bytes
    vocab_size: int
    end_of_text: int
    begin_of_text: int | None  # the first token of each document; None: of its text
    dtype: str  # of the shards, little-endian: "<u2" or "<u4"
    num_documents: int
    num_tokens: int
    num_bytes: int  # UTF-8; of token ids, 4 each
    domains: tuple[str, ...]  # names, indexed by `document_domains`
    # Texts in order, their domains and the split rule; not tokenizer, sharding or workers.
    corpus_fingerprint: str
    fingerprint: str  # the corpus, the tokenizer and the token before each document
    shards: tuple[ShardEntry, ...]
    tables: dict[str, TableEntry]  # the other files, by path below the store
    skipped: dict[str, int]  # reason -> number of skipped items of the source
    bad_records: tuple[str, ...]  # messages of the first ones that were skipped
    unknown_text: dict[str, Any]  # documents, characters, examples without a token; {}: none
    contamination: dict[str, dict[str, Any]]  # evaluation set -> contamination.SetOverlap
    config: dict[str, Any]  # the settings that decide its contents

    @property
    def token_meaning(self) -> dict[str, Any]:
        """What gives ids their meaning, as JSON: equal means the same ids for any document."""
        return {
            "tokenizer": self.tokenizer,
            "vocab_size": self.vocab_size,
            "end_of_text": self.end_of_text,
            "begin_of_text": self.begin_of_text,
        }


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest little-endian unsigned type for ids in [0, vocab_size)."""
    return np.min_scalar_type(vocab_size - 1).newbyteorder("<")


class TokenStore:
    """An open store. Its arrays and reads may be shared between threads.

    A table of the documents is read, and its checksum compared, at first use, which raises
    UserError naming it where it is damaged.
    """

    def __init__(self, directory: Path, manifest: Manifest, shards: ShardReader) -> None:
        """Use `open`."""
        self.directory = directory
        self.manifest = manifest
        self.shards = shards

    @classmethod
    def open(cls, directory: Path, *, verify: bool) -> "TokenStore":
        """Opens the store at `directory`; `verify` reads all of it and compares checksums.

        Raises:
          UserError: absent, unfinished or damaged store; names the damaged file.
        """
        manifest = read_manifest(directory)
        for name, entry in manifest.tables.items():
            check_size(directory, name, entry)
        shards = ShardReader(directory, manifest.shards, np.dtype(manifest.dtype))
        if verify:
            for name, entry in manifest.tables.items():
                read_file(directory, name, entry)
            shards.verify()
        return cls(directory, manifest, shards)

    @functools.cached_property
    def document_offsets(self) -> np.ndarray:
        """First token of each document, then the number of tokens; int64 [N+1]."""
        return self._table("offsets")

    @functools.cached_property
    def document_splits(self) -> np.ndarray:
        """Split of each document, uint8 [N]."""
        return self._table("splits")

    @functools.cached_property
    def document_bytes(self) -> np.ndarray:
        """UTF-8 bytes of each document's text (of token ids, 4 each), int64 [N]."""
        return self._table("bytes")

    @functools.cached_property
    def document_clusters(self) -> np.ndarray:
        """Near-duplicate cluster of each document, int64 [N]."""
        return self._table("clusters")

    @functools.cached_property
    def document_domains(self) -> np.ndarray:
        """Index into `manifest.domains` of each document, uint16 [N]."""
        return self._table("domains")

    @functools.cached_property
    def document_groups(self) -> np.ndarray:
        """Hash of each document's (domain, group), uint64 [N]; 0: related to no other document."""
        return self._table("groups")

    @functools.cached_property
    def document_names(self) -> NameTable:
        """Names of the documents."""
        return NameTable(self._table("name_offsets"), self._table("names"))

    def _table(self, name: str) -> np.ndarray:
        return read_table(self.directory, name, self.manifest.tables[table_path(name)])

    def documents(self, split: Split) -> np.ndarray:
        """Ids of the documents of `split`, int64, ascending."""
        return np.flatnonzero(self.document_splits == split)

    def read(self, start: int, length: int) -> np.ndarray:
        """Tokens [start, start + length) of the corpus, of one document; see ShardReader."""
        return self.shards.read(start, length)

    @functools.cached_property
    def in_memory(self) -> MemoryReader:
        """All tokens, read at first use."""
        return MemoryReader.load(self.shards)

    def tokenizer(self) -> Tokenizer:
        """The store's tokenizer, from its own copy."""
        return load_tokenizer(self.tokenizer_file, self.manifest.end_of_text_token)

    @property
    def tokenizer_file(self) -> str:
        """Path of the store's copy of a tokenizer.json; without one, the name of its tokenizer."""
        own_copy = TOKENIZER in self.manifest.tables
        return str(self.directory / TOKENIZER) if own_copy else self.manifest.tokenizer


def read_manifest(directory: Path) -> Manifest:
    """Reads the manifest. Raises UserError where it is absent, damaged or of another version."""
    path = directory / MANIFEST
    try:
        fields = json.loads(path.read_bytes())
        version = fields["format_version"]
        if version != FORMAT_VERSION:
            raise UserError(
                f"{path} has format {version}, this version reads {FORMAT_VERSION}; "
                f"delete {directory} and prepare again"
            )
        if fields.pop("checksum") != _checksum(fields):
            raise damaged(path, directory, "wrong checksum")
        fields["shards"] = tuple(ShardEntry(**shard) for shard in fields["shards"])
        fields["tables"] = {name: TableEntry(**file) for name, file in fields["tables"].items()}
        fields["domains"] = tuple(fields["domains"])
        fields["bad_records"] = tuple(fields["bad_records"])
        return Manifest(**fields)
    except FileNotFoundError as error:
        raise UserError(
            f"no finished token store in {directory}; make it with --mode=prepare"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, directory, str(error)) from error


def manifest_bytes(manifest: Manifest) -> bytes:
    fields = dataclasses.asdict(manifest)
    content = json.dumps({**fields, "checksum": _checksum(fields)}, indent=1)
    return (content + "\n").encode("ascii")


def _checksum(fields: dict[str, Any]) -> str:
    """Checksum of all fields of a manifest but the checksum itself."""
    return xxhash.xxh3_128_hexdigest(json.dumps(fields, sort_keys=True).encode("ascii"))


def summary(store: TokenStore) -> list[str]:
    """Lines for a terminal: documents and tokens by domain and split, near-duplicates, path."""
    domains = store.manifest.domains
    lengths = np.diff(store.document_offsets)
    subsets = [
        *(("domain", name, store.document_domains == i) for i, name in enumerate(domains)),
        *(("split", split.name.lower(), store.document_splits == split) for split in Split),
    ]
    lines = [
        f"{kind} {name}: {np.count_nonzero(own):,} documents, {int(lengths[own].sum()):,} tokens"
        for kind, name, own in subsets
    ]
    sizes = np.unique(store.document_clusters, return_counts=True)[1]
    sizes = sizes[sizes > 1]
    # Without a threshold exact copies alone are looked for.
    what = (
        "near-duplicates" if store.manifest.config["near_duplicate_threshold"] else "exact copies"
    )
    lines.append(f"{what}: {sizes.size:,} clusters of {int(sizes.sum()):,} documents together")
    return [*lines, f"store: {store.directory}"]
