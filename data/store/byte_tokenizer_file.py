"""The byte tokenizer as a tokenizer.json, for those who read nothing else."""

from typing import Any

from lengthwise.data.store.tokenizers import ByteTokenizer

_END = "<|endoftext|>"
BYTE_TOKENS = {ByteTokenizer.end_of_text: _END}  # special tokens by id


def byte_tokenizer() -> dict[str, Any]:
    """BPE without merges over the characters that stand for bytes (Radford et al. 2019): ids are
    those of `ByteTokenizer`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    characters |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    end = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ByteTokenizer.end_of_text, "content": _END, **end, "special": True}
        ],
        "normalizer": None,
        "pre_tokenizer": level | {"use_regex": False},
        "post_processor": None,
        "decoder": level | {"use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {characters[byte]: byte for byte in range(256)},
            "merges": [],
        },
    }
