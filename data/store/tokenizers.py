"""Tokenizers: bytes, a local `tokenizer.json`, or documents that are token ids already."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.hub import HUB, hub_file
from lengthwise.common.paths import user_path

# Values of data.tokenizer beside the path of a tokenizer.json.
BYTES = "bytes"
TRAIN_BPE = "train:bpe:"  # prefix: train byte-level BPE of that vocabulary
IDS = "ids:"  # prefix: documents are token ids already; vocabulary and end of text follow
# Values of data.begin_with beside the name of a special token.
NO_TOKEN, END_OF_TEXT = "none", "end_of_text"


class Tokenizer(Protocol):
    """Ids lie in [0, vocab_size). What spells a special token is text, for `encode_batch` too."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def end_of_text(self) -> int: ...

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Ids of special tokens by name; empty where they have none."""

    def encode_batch(self, texts: list[Any]) -> list[np.ndarray]:
        """Encodes texts (or arrays of ids), each as a 1-D integer array."""

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of the ids without the end of text."""

    def describe(self) -> str:
        """Name and hash of the file, if any: equal means same ids for any text."""

    def unknown(self, text: Any) -> list[str]:
        """Stretches of the text that become an unknown token or none at all, in order.

        Blanks are no such text, and neither is what the tokenizer's normalization removes.
        """


@dataclass(frozen=True)
class ByteTokenizer:
    """Bytes: ids 0..255 are UTF-8 bytes; 256 ends a document."""

    vocab_size: int = 257
    end_of_text: int = 256
    special_tokens: ClassVar[Mapping[str, int]] = MappingProxyType({})

    def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode("utf-8"), np.uint8) for text in texts]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Ids cut inside a character give U+FFFD there."""
        values = np.asarray(ids)
        return (
            values[values != self.end_of_text].astype(np.uint8).tobytes().decode(errors="replace")
        )

    def describe(self) -> str:
        return BYTES

    def unknown(self, text: str) -> list[str]:
        return []


@dataclass(frozen=True)
class IdsTokenizer:
    """Identity, for documents that are token ids, of which the last may be the end of text."""

    vocab_size: int
    end_of_text: int
    special_tokens: ClassVar[Mapping[str, int]] = MappingProxyType({})

    def encode_batch(self, texts: list[np.ndarray]) -> list[np.ndarray]:
        return [
            ids[:-1] if ids.size and ids[-1] == self.end_of_text else ids
            for ids in map(np.asarray, texts)
        ]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The ids as numbers: their text is unknown."""
        values = np.asarray(ids)
        return " ".join(map(str, values[values != self.end_of_text].tolist()))

    def describe(self) -> str:
        return f"{IDS}{self.vocab_size}:{self.end_of_text}"

    def unknown(self, text: Any) -> list[str]:
        return []


def load_tokenizer(name: str, end_of_text_token: str) -> Tokenizer:
    """Loads "bytes", "ids:VOCABULARY:END_OF_TEXT", "hf:NAME" or a file. Raises UserError as these
    do."""
    if name == BYTES:
        return ByteTokenizer()
    if not name.startswith(IDS):
        path = tokenizer_path(name)
        status = path.stat() if path.exists() else None
        return _file_tokenizer(path, end_of_text_token, status and status.st_mtime_ns)
    numbers = name.removeprefix(IDS).split(":")
    if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
        vocab_size, end_of_text = map(int, numbers)
        if end_of_text < vocab_size <= 1 << 31:
            return IdsTokenizer(vocab_size, end_of_text)
    raise UserError(
        f"data.tokenizer={name!r}: {IDS} wants a vocabulary size and the id of the end of text "
        "below it, for example ids:50257:50256"
    )


def tokenizer_path(name: str) -> Path:
    """The local tokenizer.json of a path or of a name of the hub. Raises UserError as these do."""
    if name.startswith(HUB):
        return hub_file(name, "tokenizer.json", "data.tokenizer")
    return user_path(name, "data.tokenizer")


@functools.lru_cache(maxsize=2)  # loaded by every unit, in a tenth of a second
def _file_tokenizer(path: Path, end_of_text_token: str, _: int | None) -> Tokenizer:
    """Loads a file; the last argument, its mtime, tells a rewritten one."""
    # Its library takes a tenth of a second, for who has such a file alone.
    from lengthwise.data.store.file_tokenizer import FileTokenizer

    return FileTokenizer(path, end_of_text_token)


def begin_of_text(tokenizer: Tokenizer, name: str) -> int | None:
    """Id that data.begin_with=`name` puts before each document; None: none.

    Raises UserError: the tokenizer has no such special token.
    """
    if name == NO_TOKEN:
        return None
    if name == END_OF_TEXT:
        return tokenizer.end_of_text
    names = tokenizer.special_tokens
    if isinstance(tokenizer, IdsTokenizer) and name.isdecimal():
        names = {name: int(name)} if int(name) < tokenizer.vocab_size else {}
    if name not in names:
        raise UserError(
            f"data.begin_with={name!r}: {tokenizer.describe()} has no special token of that name; "
            f"choose among {', '.join((NO_TOKEN, END_OF_TEXT, *sorted(names)))}",
            advice={"data.begin_with": END_OF_TEXT},
        )
    return names[name]


def is_file(name: str) -> bool:
    """Whether data.tokenizer names a tokenizer.json, here or on the hub."""
    return name != BYTES and not name.startswith((TRAIN_BPE, IDS))


def trained_vocab_size(name: str) -> int | None:
    """V of "train:bpe:V"; None for any other name. Raises UserError for an impossible V."""
    if not name.startswith(TRAIN_BPE):
        return None
    size = name.removeprefix(TRAIN_BPE)
    if not size.isdecimal() or int(size) < 257:
        raise UserError(
            f"data.tokenizer={name!r}: {TRAIN_BPE} wants a vocabulary size of at least 257 "
            "(256 bytes and the end of text)"
        )
    return int(size)
