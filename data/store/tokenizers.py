"""Tokenizers: bytes, a local `tokenizer.json`, or documents that are token ids already."""

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tokenizers

from lengthwise.common.errors import UserError

# Values of data.tokenizer beside the path of a tokenizer.json.
BYTES = "bytes"
TRAIN_BPE = "train:bpe:"  # prefix: train byte-level BPE of that vocabulary
IDS = "ids:"  # prefix: documents are token ids already; vocabulary and end of text follow


class Tokenizer(Protocol):
    """Ids lie in [0, vocab_size). `encode_batch` never returns `end_of_text`, whatever the text."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def end_of_text(self) -> int: ...

    def encode_batch(self, texts: list[Any]) -> list[np.ndarray]:
        """Encodes texts (or arrays of ids), each as a 1-D integer array."""

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of the ids without the end of text."""

    def describe(self) -> str:
        """Name and hash of the file, if any: equal means same ids for any text."""


@dataclass(frozen=True)
class ByteTokenizer:
    """Bytes: ids 0..255 are UTF-8 bytes; 256 ends a document."""

    vocab_size: int = 257
    end_of_text: int = 256

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


@dataclass(frozen=True)
class IdsTokenizer:
    """Identity, for documents that are token ids, of which the last may be the end of text."""

    vocab_size: int
    end_of_text: int

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


class FileTokenizer:
    """A `tokenizer.json` of the `tokenizers` library."""

    def __init__(self, path: Path, end_of_text_token: str) -> None:
        """Raises UserError: no such file, not a tokenizer, no end-of-text token of that name."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"cannot read data.tokenizer={str(path)!r}: {error.strerror}"
            ) from error
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises bare Exception (ValueError in places)
            raise UserError(f"{path} is not a tokenizer.json: {error}") from error
        end_of_text = self._tokenizer.token_to_id(end_of_text_token)
        if end_of_text is None:
            raise UserError(
                f"{path} has no token {end_of_text_token!r}; "
                "name its end of text in data.end_of_text_token"
            )
        # A text may spell the end of text: it must be encoded as those characters. That works for
        # special tokens alone, so it is made one where the file lists it as an ordinary token.
        self._tokenizer.add_special_tokens([end_of_text_token])
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._end_of_text = int(end_of_text)
        # Ids may have holes, so the number of tokens is not the size of the embedding table.
        self._vocab_size = max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        digest = hashlib.blake2b(content + end_of_text_token.encode("utf-8"), digest_size=8)
        self._describe = f"tokenizer.json {digest.hexdigest()}"

    @property
    def vocab_size(self) -> int:
        return self._vocab_size

    @property
    def end_of_text(self) -> int:
        return self._end_of_text

    def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        values = np.asarray(ids)
        return str(self._tokenizer.decode(values[values != self._end_of_text].tolist()))

    def describe(self) -> str:
        return self._describe


def load_tokenizer(name: str, end_of_text_token: str) -> Tokenizer:
    """Loads "bytes", "ids:VOCABULARY:END_OF_TEXT" or a file. Raises UserError as these do."""
    if name == BYTES:
        return ByteTokenizer()
    if not name.startswith(IDS):
        path = Path(name)
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


@functools.lru_cache(maxsize=2)  # loaded by every unit, in a tenth of a second
def _file_tokenizer(path: Path, end_of_text_token: str, _: int | None) -> FileTokenizer:
    """Loads a file; the last argument, its mtime, tells a rewritten one."""
    return FileTokenizer(path, end_of_text_token)


def is_file(name: str) -> bool:
    """Whether data.tokenizer names a tokenizer.json."""
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


def train_bpe(texts: Iterable[str], vocab_size: int, end_of_text_token: str) -> bytes:
    """Trains byte-level BPE (Radford et al. 2019), `vocab_size` ids at most: a `tokenizer.json`."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[end_of_text_token],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str()).encode("utf-8")
