"""Tasks of units: what a pass over a unit of the corpus depends on, and where its record lies."""

from dataclasses import dataclass
from pathlib import Path

import xxhash

from lengthwise.data.prepare.near_duplicates import SCHEME
from lengthwise.data.prepare.unit_records import BUILDING
from lengthwise.data.sources import Source, Unit
from lengthwise.data.store.token_store import FORMAT_VERSION


@dataclass(frozen=True)
class ScanTask:
    source: Source
    unit: Unit
    directory: Path  # of the store
    vocab_size: int  # of documents that are token ids; 0: they are texts
    minhash: bool  # whether near-duplicates will be looked for

    @property
    def record(self) -> Path:
        return self.directory / BUILDING / f"scan-{self.unit.index:05d}.record"

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
    allow_unknown: bool  # text that the tokenizer has no token for
    begin: int | None  # the token before each document
    dropped: bytes  # np.packbits of a mask of documents to leave out; b"": none

    @property
    def unit(self) -> Unit:
        return self.scan.unit

    @property
    def record(self) -> Path:
        return self.scan.directory / BUILDING / f"tokenize-{self.unit.index:05d}.record"

    @property
    def key(self) -> str:
        dropped = xxhash.xxh3_64_hexdigest(self.dropped)
        how = f"{self.shard_tokens} {self.skip_empty} {self.allow_unknown} {self.begin}"
        return f"{self.scan.key} {self.description} {how} {dropped}"


@dataclass(frozen=True)
class Progress:
    file_bytes: int
    documents: int
    tokens: int
