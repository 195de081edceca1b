"""A tokenizer.json of any model type, with options and damage of any kind."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers, processors

from lengthwise.app.bad_input.case import KINDS, Case, SilentLossError
from lengthwise.app.bad_input.corpus import prepared
from lengthwise.app.bad_input.damage import damaged
from lengthwise.data.store.tokenizers import load_tokenizer

END = "<|endoftext|>"
TEXTS = (
    "a plain text",
    "",
    "é 日本語 \U0001f600",
    f"{END} is spelled",
    "\0\ufeff\u2028",
    "a" * 600,
)
_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    "",
    [],
    {},
    [[]],
    {"type": "Nothing"},
    "\ud83d",
    2**64,
)
# Of the same type, which reaches further into a library.
_NEAR: dict[type, tuple[Any, ...]] = {
    int: (0, 1, 2, 97, 2**31, 2**32 - 1, 2**62),
    float: (0.0, -1e308, 1e308, 5e-324),
    str: ("", "a", "ab", " ", "▁", END, "<0x0A>", "\0", "é" * 99),
    bool: (True, False),
}
_WORDS = ["a", "plain", "text", "hello"]
_LETTERS = [chr(i) for i in range(32, 127)]
_BYTES = pre_tokenizers.ByteLevel.alphabet()


def _level(pieces: list[str]) -> dict[str, int]:
    return {piece: number for number, piece in enumerate(dict.fromkeys([*pieces, END, "[UNK]"]))}


def _models(rng: np.random.Generator) -> tuple[str, dict[str, Any], bool]:
    """(name, model, whether it is made of byte-level pieces)"""
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    bpe = {"type": "BPE", "vocab": _level([*_BYTES, "ab"]), "merges": [["a", "b"]]}
    choices: list[tuple[str, dict[str, Any], bool]] = [
        ("byte-level BPE", bpe, True),
        ("BPE with ignore_merges", {**bpe, "ignore_merges": True}, True),
        (
            "BPE with byte fallback",
            {"type": "BPE", "vocab": _level(fallback), "merges": [], "byte_fallback": True},
            False,
        ),
        ("BPE without unk", {"type": "BPE", "vocab": _level(_LETTERS), "merges": []}, False),
        (
            "Unigram",
            {
                "type": "Unigram",
                "vocab": [[each, -1.0 - i] for i, each in enumerate(["[UNK]", END, *_LETTERS])],
                "unk_id": 0,
            },
            False,
        ),
        ("WordLevel", {"type": "WordLevel", "vocab": _level(_WORDS), "unk_token": "[UNK]"}, False),
        (
            "WordLevel without unk",
            {"type": "WordLevel", "vocab": _level(_WORDS), "unk_token": "?"},
            False,
        ),
        (
            "WordPiece",
            {
                "type": "WordPiece",
                "vocab": _level([*_LETTERS, *(f"##{each}" for each in _LETTERS)]),
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
            },
            False,
        ),
    ]
    return choices[int(rng.integers(len(choices)))]


def _section(name: str, *options: Any) -> list[Any]:
    """What a file has in its section `name` for options of the library, and for none."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({END: 0}, unk_token=END))
    sections = [None]
    for option in options:
        setattr(tokenizer, name, option)
        sections.append(json.loads(tokenizer.to_str())[name])
    return sections


_NORMALIZERS = _section(
    "normalizer",
    normalizers.NFKC(),
    normalizers.Lowercase(),
    normalizers.Prepend("▁"),
    normalizers.Replace(" ", "▁"),
    normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
)
_BYTE_LEVEL = _section("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False))[1]
_SPLITS = _section(
    "pre_tokenizer",
    pre_tokenizers.Whitespace(),
    pre_tokenizers.Digits(individual_digits=True),
    pre_tokenizers.Metaspace(),
)
_DECODERS = _section(
    "decoder", *(of() for of in (decoders.ByteFallback, decoders.Fuse, decoders.Metaspace))
)
_POST = _section(
    "post_processor",
    processors.ByteLevel(),
    processors.TemplateProcessing(f"{END} $A", f"{END} $A $B", [(END, 0)]),
)
_TRUNCATION = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}


def _content(rng: np.random.Generator) -> tuple[str, dict[str, Any], bool]:
    """(in words, the file, whether decoding gives back any text)"""

    def one(options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    words, model, byte_level = _models(rng)
    end = model["vocab"][END] if isinstance(model["vocab"], dict) else 1
    flags = {
        flag: bool(rng.integers(2)) for flag in ("single_word", "lstrip", "rstrip", "normalized")
    }
    token = {"id": end, "content": END, "special": bool(rng.integers(2)), **flags}
    content = {
        "version": "1.0",
        "truncation": one(
            (None, {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0})
        ),
        "padding": None,
        "added_tokens": one(([token], [])),
        "normalizer": None if byte_level else one(_NORMALIZERS),
        "pre_tokenizer": _BYTE_LEVEL if byte_level else one(_SPLITS),
        "post_processor": one(_POST),
        "decoder": _BYTE_LEVEL if byte_level else one(_DECODERS),
        "model": model,
    }
    return words, copy.deepcopy(content), byte_level


def _mutated(rng: np.random.Generator, content: Any) -> str:
    """Puts an odd value in place of one of the file's, or takes one away; says which."""
    where: list[str] = []
    while True:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = keys[int(rng.integers(len(keys)))]
        where.append(str(key))
        inner = content[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            content = inner
            continue
        if rng.random() < 0.3:
            del content[key]
            return f"without {'.'.join(where)}"
        odd = _NEAR.get(type(inner), _ODD) if rng.random() < 0.8 else _ODD
        content[key] = odd[int(rng.integers(len(odd)))]
        return f"{'.'.join(where)}={content[key]!r}"


@KINDS.register("tokenizers")
def tokenizer_file(seed: int, folder: Path) -> Case:
    """Encodes, decodes and prepares texts with it. Byte-level pieces give back any text."""
    rng = np.random.default_rng(seed)
    what, content, lossless = _content(rng)
    odds = rng.random()
    if odds > 0.3:
        what += f", {_mutated(rng, content)}"
    raw = json.dumps(content).encode()
    if odds > 0.85:
        how, raw = damaged(rng, raw)
        what += f", {how}"
    path = folder / "tokenizer.json"
    path.write_bytes(raw)
    (folder / "texts").mkdir()
    for number, text in enumerate(TEXTS):
        (folder / "texts" / f"{number}.txt").write_text(text)

    def run() -> None:
        tokenizer = load_tokenizer(str(path), END)
        encoded = tokenizer.encode_batch(list(TEXTS))
        decoded = [tokenizer.decode(ids) for ids in encoded]
        if lossless and odds <= 0.3 and decoded != list(TEXTS):
            raise SilentLossError(f"decoded as {decoded}")
        skips = {"empty_documents": "skip", "tokenizer": str(path), "unknown_text": "allow"}
        prepared(folder, source="text", path=str(folder / "texts"), **skips)

    return Case(what, run)
