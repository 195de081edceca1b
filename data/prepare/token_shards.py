"""The shards of a unit in the making: its documents as tokens, each with begin and end of text."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.prepare.unit_records import write_record
from lengthwise.data.prepare.unit_tasks import Progress, TokenizeTask
from lengthwise.data.sources import Document
from lengthwise.data.store.document_tables import write_file
from lengthwise.data.store.shard_reader import ShardEntry
from lengthwise.data.store.token_store import SHARDS, token_dtype
from lengthwise.data.store.tokenizers import load_tokenizer

EXAMPLES = 5  # of unknown text
_EXAMPLE_CHARACTERS = 30
MAX_TOKENS = 2**31 - 1  # of a document, its end included: layouts count in 32 bits


@dataclass
class UnknownText:
    """Text of documents that the tokenizer has no token for."""

    documents: int = 0
    characters: int = 0
    examples: list[str] = field(default_factory=list)  # distinct, EXAMPLES at most

    def add(self, documents: int, characters: int, examples: Iterable[str]) -> None:
        self.documents += documents
        self.characters += characters
        new = dict.fromkeys([*self.examples, *examples])
        self.examples = list(itertools.islice(new, EXAMPLES))


def merged_unknown_text(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The `UnknownText` of all units as a dict; empty: there is none."""
    whole = UnknownText()
    for part in parts:
        whole.add(**part)
    return dataclasses.asdict(whole) if whole.documents else {}


class TokenShards:
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
        self._unknown = UnknownText()
        self._shards: list[ShardEntry] = []
        self._pending: list[np.ndarray] = []  # documents of the shard to come
        self._pending_tokens = 0

    def add(self, batch: Sequence[Document]) -> None:
        first = len(self._lengths)
        dropped = self._dropped[first : first + len(batch)].tolist() or [0] * len(batch)
        remaining = [document for document, drop in zip(batch, dropped, strict=True) if not drop]
        for document in remaining:
            self._check_known(document)
        encoded = iter(self._tokenizer.encode_batch([document.content for document in remaining]))
        for document, drop in zip(batch, dropped, strict=True):
            self._lengths.append(0 if drop else self._add(document, next(encoded)))

    def _check_known(self, document: Document) -> None:
        """Counts text that the tokenizer has no token for. Raises UserError where none may be."""
        if not (unknown := self._tokenizer.unknown(document.content)):
            return
        characters = sum(map(len, unknown))
        examples = [stretch[:_EXAMPLE_CHARACTERS] for stretch in unknown]
        if not self._task.allow_unknown:
            raise UserError(
                f"{document.name}: {characters:,} characters have no token under "
                f"{self._task.description}, such as {examples[0]!r}; use another tokenizer, or set "
                "data.unknown_text='allow' to count them and let it replace or drop them",
                advice={"data.unknown_text": "allow"},
            )
        self._unknown.add(1, characters, examples)

    def _add(self, document: Document, ids: np.ndarray) -> int:
        """Adds a document; returns its tokens, begin and end included; 0 where it has none."""
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
        begin = self._task.begin
        # Documents that are ids may begin with it already.
        begun = bool(self._task.scan.vocab_size) and ids[0] == begin
        first = [] if begin is None or begun else [begin]
        size = len(first) + ids.size + 1
        if size > MAX_TOKENS:
            raise UserError(
                f"{document.name}: a document of {size:,} tokens, but {MAX_TOKENS:,} is the most; "
                "cut it into several"
            )
        tokens = np.empty(size, self._dtype)
        tokens[: len(first)] = first
        tokens[len(first) : -1] = ids
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
            {
                "shards": [dataclasses.asdict(s) for s in self._shards],
                "skipped": self._skipped,
                "unknown_text": dataclasses.asdict(self._unknown),
            },
            {"lengths": np.array(self._lengths, np.int64)},
        )
        return Progress(self._task.unit.num_bytes, len(self._lengths), sum(self._lengths))
