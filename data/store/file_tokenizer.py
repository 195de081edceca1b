"""The tokenizer of a `tokenizer.json`, and byte-level BPE trained as one."""

import copy
import functools
import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from lengthwise.common.errors import UserError
from lengthwise.common.library_errors import reading
from lengthwise.common.texts import BYTE_ORDER_MARK
from lengthwise.data.store.long_words import LongWords

_BYTES = frozenset(tokenizers.pre_tokenizers.ByteLevel.alphabet())
_BYTE_TOKENS = frozenset(f"<0x{byte:02X}>" for byte in range(256))
# Cuts a text that spells the name of a byte's token within that name.
_WITHIN_BYTE_TOKENS = {
    "type": "Split",
    "pattern": {"Regex": "<(?=0x[+0-9A-Fa-f][0-9A-Fa-f]>)"},
    "behavior": "MergedWithPrevious",
    "invert": False,
}


class FileTokenizer:
    """A `tokenizer.json` of the `tokenizers` library.

    A text that spells a special token, or that of a byte, is encoded as its characters, by every
    model type. Of the file's options those that would make other documents of texts aren't taken:
    truncation, padding, templates, dropout.
    """

    def __init__(self, path: Path, end_of_text_token: str) -> None:
        """Raises UserError: no such file, not a tokenizer, no end-of-text token of that name."""
        try:
            text = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"cannot read data.tokenizer={str(path)!r}: {error.strerror}"
            ) from error
        text = text.removeprefix(BYTE_ORDER_MARK)
        with reading(f"{path} is not a tokenizer.json", "tokenizers"):
            try:
                content = {"added_tokens": [], **json.loads(text)}
                hidden = _hide(content, {end_of_text_token, *_special_tokens(content)})
                _keep_bytes_apart(content)
            except (ValueError, LookupError, TypeError, AttributeError):
                tokenizers.Tokenizer.from_buffer(text)  # which says what is missing
                raise
            self._tokenizer = _load(content)
        end_of_text = self._tokenizer.token_to_id(hidden[end_of_text_token])
        if end_of_text is None:
            raise UserError(
                f"{path} has no token {end_of_text_token!r}; "
                "name its end of text in data.end_of_text_token"
            )
        # Decoding leaves out special tokens, and the file may list it as an ordinary one.
        self._tokenizer.add_special_tokens([hidden[end_of_text_token]])
        self._path = path
        # Of a large file a hundred megabytes, in every process.
        self._incomplete = None if _is_complete(content) else content
        ids = ((name, self._tokenizer.token_to_id(new)) for name, new in hidden.items())
        # Special tokens by the names that the file gives them.
        self.special_tokens = {name: int(number) for name, number in ids if number is not None}
        self._end_of_text = int(end_of_text)
        # Ids may have holes, so the number of tokens is not the size of the embedding table.
        vocab = self._tokenizer.get_vocab(with_added_tokens=True)
        self._vocab_size = max(vocab.values()) + 1
        shown = {new: name for name, new in hidden.items()}
        if twice := _same_id(vocab):
            number, names = twice[0], sorted(shown.get(name, name) for name in twice[1:])
            raise UserError(
                f"{path}: the tokens {names[0]!r} and {names[1]!r} have the same id {number}: "
                "give each its own, and have the special ones in the vocabulary too"
            )
        for token in content["added_tokens"]:
            listed, number = token["id"], vocab[token["content"]]
            if listed != number:  # the library counts on from the vocabulary
                name = shown.get(token["content"], token["content"])
                raise UserError(
                    f"{path}: the added token {name!r} has the id {listed}, but would be encoded "
                    f"as {number}: have it in model.vocab too, with the id that it was trained with"
                )
        digest = hashlib.blake2b(text + end_of_text_token.encode("utf-8"), digest_size=8)
        self._describe = f"tokenizer.json {digest.hexdigest()}"

    @property
    def vocab_size(self) -> int:
        return self._vocab_size

    @property
    def end_of_text(self) -> int:
        return self._end_of_text

    def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
        # Such as an unknown word, and no token for unknown words.
        with reading(f"{self._path} can't encode a text", "tokenizers"):
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encodings]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        values = np.asarray(ids)
        with reading(f"{self._path} can't decode tokens", "tokenizers"):
            return str(self._tokenizer.decode(values[values != self._end_of_text].tolist()))

    def describe(self) -> str:
        return self._describe

    def unknown(self, text: str) -> list[str]:
        """See `Tokenizer`; by a copy of the tokenizer that marks what its model would drop."""
        if self._incomplete is None:
            return []
        with reading(f"{self._path} can't encode a text", "tokenizers"):
            marking, mark = self._marking
            encoding = marking.encode(text, add_special_tokens=False)
        covered = np.zeros(len(text) + 1, np.bool_)
        covered[-1] = True
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            covered[start:end] = number != mark
        blank = np.fromiter(map(str.isspace, text), np.bool_, len(text))
        covered[:-1] |= blank
        edges = np.flatnonzero(np.diff(np.concatenate([[True], covered]).astype(np.int8)))
        stretches = [text[a:b] for a, b in edges.reshape(-1, 2).tolist()]
        normalizer = marking.normalizer
        # What normalization removes, such as accents, is left out on purpose.
        return [s for s in stretches if normalizer is None or normalizer.normalize_str(s).strip()]

    @functools.cached_property
    def _marking(self) -> tuple[tokenizers.Tokenizer, int]:
        """A tokenizer that gives a token for unknown text where this one has none, and its id."""
        content = copy.deepcopy(self._incomplete)
        assert content is not None
        model = content["model"]
        name = _unspellable()
        if isinstance(model["vocab"], list):
            if model.get("unk_id") is None:
                model["unk_id"] = len(model["vocab"])
                model["vocab"].append([name, min(score for _, score in model["vocab"])])
            return _load(content), int(model["unk_id"])
        if model.get("unk_token") not in model["vocab"]:
            model["unk_token"] = name
            # The library gives added tokens ids behind those of the vocabulary.
            model["vocab"][name] = self._vocab_size + len(content["added_tokens"])
        return _load(content), int(model["vocab"][model["unk_token"]])


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


def _load(content: dict[str, Any]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_buffer(json.dumps(content).encode("utf-8"))
    tokenizer.encode_special_tokens = True
    if LongWords.needed(content["model"]):
        before = [tokenizer.pre_tokenizer] if tokenizer.pre_tokenizer else []
        cutting = tokenizers.pre_tokenizers.PreTokenizer.custom(LongWords(content["model"]))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([*before, cutting])
    return tokenizer


def _is_complete(content: dict[str, Any]) -> bool:
    """Whether there are tokens for any text: bytes or a fallback to them."""
    model, vocab = content["model"], content["model"]["vocab"]
    known = {piece for piece, _ in vocab} if isinstance(vocab, list) else vocab.keys()
    if model.get("byte_fallback"):
        return bool(known >= _BYTE_TOKENS)
    steps = json.dumps([content.get("pre_tokenizer"), content.get("normalizer")])
    is_bpe = "merges" in model and not model.get("continuing_subword_prefix")
    return is_bpe and '"type": "ByteLevel"' in steps and bool(known >= _BYTES)


def _special_tokens(content: dict[str, Any]) -> set[str]:
    return {token["content"] for token in content["added_tokens"] if token["special"]}


def _same_id(vocab: dict[str, int]) -> tuple[int, str, str] | None:
    """The first id that two tokens have, with their names."""
    known: dict[int, str] = {}
    for name, number in vocab.items():
        if (other := known.setdefault(number, name)) != name:
            return number, other, name
    return None


def _unspellable() -> str:
    """A name of a token that no text can spell, since it is another one in each process."""
    return f"\ufdd0{uuid.uuid4().hex}\ufdd1"


def _hide(content: dict[str, Any], names: set[str]) -> dict[str, str]:
    """Renames tokens in the content of a file, so that texts can't spell them; returns new names.

    The library's own option for that takes them from the added tokens alone: models that look up
    words, pieces or merges in the vocabulary find them there all the same.
    """
    hidden = {name: _unspellable() for name in sorted(names)}
    content |= {"truncation": None, "padding": None, "post_processor": None}
    for token in content["added_tokens"]:
        token["content"] = hidden.get(token["content"], token["content"])
    model = content["model"]
    if isinstance(model["vocab"], list):
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in model["vocab"]]
    else:
        for name in names & model["vocab"].keys():
            model["vocab"][hidden[name]] = model["vocab"].pop(name)
        model["unk_token"] = hidden.get(model.get("unk_token"), model.get("unk_token"))
    if "merges" in model:
        model["dropout"] = None
        prefix = len(model.get("continuing_subword_prefix") or "")
        pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        model["merges"] = [[a, b] for a, b in pairs if not names & {a, b, a + b[prefix:]}]
    return hidden


def _keep_bytes_apart(content: dict[str, Any]) -> None:
    """Has a text that spells the token of a byte, such as <0x41>, encoded as characters.

    Decoding makes a byte of that token, whoever meant it. BPE makes none of a text, unless it
    merges up to it or looks whole words up.
    """
    if '"type": "ByteFallback"' not in json.dumps(content.get("decoder")):
        return
    model, before = content["model"], content.get("pre_tokenizer")
    is_looked_up = "merges" not in model or model.get("ignore_merges")
    if not (is_looked_up or any(a + b in _BYTE_TOKENS for a, b in model["merges"])):
        return
    steps = [*([before] if before else []), _WITHIN_BYTE_TOKENS]
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
